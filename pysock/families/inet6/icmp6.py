"""ICMPv6 (RFC 4443; net/ipv6/icmp.c): echo replies, errors that arrive, errors that we send; the way in of neighbour
and multicast listener discovery.

    in:   rcv -> checks -> _HANDLERS[type]: echo | ping sockets | `errors[protocol]` of the transport | ndisc | mcast
    out:  send (errors about a received packet), transmit (any message)

Errors are never sent about ICMPv6 errors, about what did not come to one host (but for "packet too big" and unknown
options), or to an address that is not one host's (RFC 4443 2.4 e); they quote what fits 1280 bytes, and are limited
(icmp6_rate.py). "Packet too big" lowers the path MTU of the route here, before the transport hears of it.
"""

from __future__ import annotations

from functools import partial

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.skb_data import pskb_may_pull, skb_checksum, skb_copy_bits
from pysock.core.skbuff import CHECKSUM_NONE, SkBuff, consume_skb, kfree_skb
from pysock.families.inet6 import ip6_output, route
from pysock.families.inet6.addr import ANY6, is_multicast, needs_scope
from pysock.families.inet6.devconf import find_address
from pysock.families.inet6.icmp6_rate import Icmp6Net, icmp6_of
from pysock.uapi.if_ import IFF_LOOPBACK
from pysock.uapi.if_packet import PACKET_HOST
from pysock.uapi.in6 import IPV6_MIN_MTU
from pysock.uapi.in_ import IPPROTO_ICMPV6
from pysock.wire import ipv6
from pysock.wire.checksum import finish, fold, pseudo_v6
from pysock.wire.icmpv6 import (
    ECHO_REPLY,
    ECHO_REQUEST,
    ERROR_LIMIT,
    HEADER,
    HEADER_SIZE,
    MLD2_REPORT,
    MLD_DONE,
    MLD_QUERY,
    MLD_REPORT,
    NEIGHBOUR_ADVERT,
    NEIGHBOUR_SOLICIT,
    PARAMPROB,
    PKT_TOOBIG,
    REDIRECT,
    ROUTER_ADVERT,
    ROUTER_SOLICIT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet6.net import Inet6Net
    from pysock.families.inet6.route import Rt6

_UNK_OPTION: Final = 2
_HEADERS: Final = 40
_NDISC: Final = (ROUTER_SOLICIT, ROUTER_ADVERT, NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT, REDIRECT)
_MLD: Final = (MLD_QUERY, MLD_REPORT, MLD_DONE, MLD2_REPORT)
#: net.ipv6.route.mtu_expires
MTU_LIFETIME: Final = 600 * NSEC_PER_SEC


def setup(inet6: Inet6Net) -> None:
    """Give a namespace its ICMPv6."""
    inet6.state["icmp6"] = Icmp6Net(inet6)
    inet6.protos[IPPROTO_ICMPV6] = partial(rcv, inet6)


# --- out ------------------------------------------------------------------------------------------------------


def send(inet6: Inet6Net, skb: SkBuff, type: int, code: int, info: int) -> None:
    """Tell the sender of the received packet ``skb`` of an error (icmp6_send), unless it must not be told.

    ``network_header`` is at its IPv6 header; ``info`` is the second word of the message: the MTU, or the pointer.
    ``skb`` stays the caller's.
    """
    at = skb.network_header
    dev = skb.dev
    head = skb.head
    if dev is None or at < 0 or at + _HEADERS > skb.data + skb.len - skb.data_len:
        return
    saddr, daddr = bytes(head[at + 8 : at + 24]), bytes(head[at + 24 : at + 40])
    source = daddr
    if is_multicast(daddr) or skb.pkt_type != PACKET_HOST:
        unknown_option = type == PARAMPROB and code == _UNK_OPTION and head[at + info] >> 6 == 2
        if type != PKT_TOOBIG and not unknown_option:
            return
        source = ANY6
    elif find_address(inet6.net, daddr) is None:
        source = ANY6
    if saddr == ANY6 or is_multicast(saddr) or _is_error(skb, at):
        return
    icmp = icmp6_of(inet6)
    if not icmp.global_allow(dev, type):
        return
    rt = route_back(inet6, saddr, source, dev)
    if rt is None:
        inet6.mibs.ip6.OutNoRoutes += 1
        inet6.mibs.icmp6.OutRateLimitHost += 1  # so says icmpv6_xrlim_allow(), which looks first
        return
    if not icmp.peer_allow(rt, type):
        return
    size = min(skb.len + skb.data - at, IPV6_MIN_MTU - _HEADERS - HEADER_SIZE)
    message = HEADER.pack(type, code, 0, info) + skb_copy_bits(skb, at - skb.data, size)
    transmit(inet6, rt, message)


def _is_error(skb: SkBuff, at: int) -> bool:
    """Is the packet an ICMPv6 error, or may it be one (is_ineligible)?"""
    packet = skb_copy_bits(skb, at - skb.data, skb.len + skb.data - at)
    offset, protocol, fragment = ipv6.skip_extensions(packet[6], packet, _HEADERS)
    if offset < 0 or protocol != IPPROTO_ICMPV6 or (fragment and offset >= len(packet)):
        return False
    return offset >= len(packet) or packet[offset] < ERROR_LIMIT


def route_back(inet6: Inet6Net, daddr: bytes, saddr: bytes, dev: NetDevice) -> Rt6 | None:
    """A route to where something on ``dev`` came from, over the same device if possible; None: there is none."""
    oif = 0 if dev.flags & IFF_LOOPBACK else dev.ifindex
    try:
        return route.output(inet6, daddr, saddr, oif)
    except OSError:
        pass
    if oif and not needs_scope(daddr):
        try:
            return route.output(inet6, daddr, saddr)
        except OSError:
            pass
    return None


def transmit(
    inet6: Inet6Net,
    rt: Rt6,
    message: bytes,
    *,
    hoplimit: int | None = None,
    tclass: int = 0,
    hopopts: bytes = b"",
    loop: bool = True,
) -> int:
    """Send ``message``, whose checksum field is 0, over ``rt``; counts it. 0, or a negative errno."""
    pseudo = pseudo_v6(rt.saddr, rt.daddr, IPPROTO_ICMPV6, len(message))
    skb = SkBuff(message, 0, len(message))
    check = finish(skb_checksum(skb, 0, len(message)) + pseudo)
    skb.head = message[:2] + check.to_bytes(2, "big") + message[4:]
    inet6.mibs.icmp6_out(message[0])
    return ip6_output.send_datagram(
        inet6, rt, IPPROTO_ICMPV6, skb, tclass=tclass, hoplimit=hoplimit, hopopts=hopopts, loop=loop
    )


# --- in -------------------------------------------------------------------------------------------------------


def rcv(inet6: Inet6Net, skb: SkBuff) -> None:
    """The handler of protocol 58 (icmpv6_rcv): ``skb.data`` at the ICMPv6 header, ``network_header`` at IPv6's."""
    mib = inet6.mibs.icmp6
    mib.InMsgs += 1
    at = skb.network_header
    saddr, daddr = bytes(skb.head[at + 8 : at + 24]), bytes(skb.head[at + 24 : at + 40])
    if skb.ip_summed == CHECKSUM_NONE:
        pseudo = pseudo_v6(saddr, daddr, IPPROTO_ICMPV6, skb.len)
        if fold(skb_checksum(skb, 0, skb.len) + pseudo) != 0xFFFF:
            mib.InCsumErrors += 1
            _bad(inet6, skb, "ICMP_CSUM")
            return
    if not pskb_may_pull(skb, HEADER_SIZE):
        _bad(inet6, skb, "PKT_TOO_SMALL")
        return
    kind = skb.head[skb.data]
    inet6.mibs.icmp6_in(kind)
    if kind == ECHO_REQUEST:
        _echo(inet6, skb, saddr, daddr)
    elif kind == ECHO_REPLY:
        if inet6.echo_reply is not None:
            inet6.echo_reply(skb)
    elif kind < ERROR_LIMIT:
        _error(inet6, skb, saddr)
    elif kind in _NDISC:
        from pysock.families.inet6 import ndisc

        ndisc.rcv(inet6, skb, saddr, daddr)
    elif kind in _MLD:
        from pysock.families.inet6 import mcast

        mcast.rcv(inet6, skb, saddr, daddr)
    consume_skb(skb)


def _bad(inet6: Inet6Net, skb: SkBuff, reason: str) -> None:
    inet6.mibs.icmp6.InErrors += 1
    kfree_skb(skb, reason)


def _echo(inet6: Inet6Net, skb: SkBuff, saddr: bytes, daddr: bytes) -> None:
    """Give back what was sent (icmpv6_echo_reply, RFC 4443 4.2); from the address asked, unless that was a group."""
    icmp = icmp6_of(inet6)
    many = is_multicast(daddr)
    if icmp.echo_ignore_all or (many and icmp.echo_ignore_multicast) or saddr == ANY6:
        return
    assert skb.dev is not None
    rt = route_back(inet6, saddr, ANY6 if many else daddr, skb.dev)
    if rt is None or not icmp.peer_allow(rt, ECHO_REPLY):
        return
    head = skb.head
    rest = HEADER.unpack_from(head, skb.data)[3]
    at = skb.network_header
    tclass = (head[at] & 0xF) << 4 | head[at + 1] >> 4
    message = HEADER.pack(ECHO_REPLY, 0, 0, rest) + skb_copy_bits(skb, HEADER_SIZE, skb.len - HEADER_SIZE)
    transmit(inet6, rt, message, tclass=tclass)


def _error(inet6: Inet6Net, skb: SkBuff, offender: bytes) -> None:
    """Find out whose packet it is about, and tell that transport (icmpv6_notify)."""
    kind, code, _, info = HEADER.unpack_from(skb.head, skb.data)
    quoted = skb_copy_bits(skb, HEADER_SIZE, skb.len - HEADER_SIZE)
    dev = skb.dev
    assert dev is not None
    if len(quoted) < _HEADERS or quoted[0] >> 4 != 6:
        inet6.mibs.icmp6.InErrors += 1
        return
    offset, protocol, _ = ipv6.skip_extensions(quoted[6], quoted, _HEADERS)
    if offset < 0 or len(quoted) < offset + 8:
        inet6.mibs.icmp6.InErrors += 1
        return
    if kind == PKT_TOOBIG and find_address(inet6.net, quoted[8:24]) is not None:
        route.update_pmtu(inet6, quoted[24:40], info, MTU_LIFETIME)
    if inet6.raw_error is not None:
        inet6.raw_error(protocol, quoted, offset, kind, code, info, offender, dev)
    handler = inet6.errors.get(protocol)
    if handler is not None:
        handler(quoted, offset, kind, code, info, offender, dev)
