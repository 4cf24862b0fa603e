"""ICMP (RFC 792, RFC 1122 3.2.2; net/ipv4/icmp.c): echo and timestamp replies, errors that arrive, errors that we send.

    in:   rcv -> checks -> _HANDLERS[type]: reply | ping sockets | `errors[protocol]` of the transport that is meant
    out:  send (errors about a received datagram), _reply

Errors are never sent about ICMP errors, broadcasts, multicasts or later fragments (RFC 1122 3.2.2), quote at most what
fits 576 bytes (RFC 1812 4.3.2.3), and are limited for each destination and in all, but not on loopback (icmp_rate.py).

A redirect changes the route here; "fragmentation needed" is for the transports to believe, which know whether the
quoted datagram was theirs (nexthop.py).
"""

from __future__ import annotations

from functools import partial

from pysock.core.skb_data import pskb_may_pull, skb_checksum, skb_copy_bits
from pysock.core.skbuff import CHECKSUM_NONE, SkBuff, consume_skb, kfree_skb
from pysock.families.inet import icmp_rate, ip_options, ping, route
from pysock.families.inet.addr import ANY, is_multicast
from pysock.families.inet.fib import RTN_BROADCAST, RTN_LOCAL
from pysock.families.inet.icmp_rate import IcmpNet, icmp_of
from pysock.families.inet.ip_output import send_datagram, send_packet
from pysock.families.inet.nexthop import redirect
from pysock.uapi.if_packet import PACKET_HOST
from pysock.uapi.in_ import IPPROTO_ICMP
from pysock.wire import ipv4
from pysock.wire.checksum import checksum
from pysock.wire.icmp import (
    DEST_UNREACH,
    ECHO_REQUEST,
    ECHOREPLY,
    ERRORS,
    EXC_TTL,
    FRAG_NEEDED,
    HEADER,
    HEADER_SIZE,
    HOST_UNREACH,
    NET_UNREACH,
    PARAMETERPROB,
    PORT_UNREACH,
    PROT_UNREACH,
    REDIRECT,
    SOURCE_QUENCH,
    TIME_EXCEEDED,
    TIMESTAMP,
    TIMESTAMPREPLY,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet.net import InetNet

__all__ = [
    "DEST_UNREACH", "EXC_TTL", "FRAG_NEEDED", "HOST_UNREACH", "NET_UNREACH", "PARAMETERPROB", "PORT_UNREACH",
    "PROT_UNREACH", "REDIRECT", "SOURCE_QUENCH", "TIME_EXCEEDED", "icmp_of", "offender", "rcv", "send", "setup",
]  # fmt: skip

NR_ICMP_TYPES: Final = 18
#: The longest error we send, IP header included (RFC 1812 4.3.2.3).
_MAX_ERROR: Final = 576
_IP_HEADER: Final = 20
_LAST_REDIRECT: Final = 3  # for a network or a host, and a type of service
_TOS_MASK: Final = 0x1E
_PREC_INTERNETCONTROL: Final = 0xC0
_MSEC_PER_DAY: Final = 86_400_000


def offender(inet: InetNet) -> bytes:
    """Who sent the ICMP error that is being handled: 4 bytes (SO_EE_OFFENDER)."""
    return icmp_of(inet).offender


def setup(inet: InetNet) -> None:
    """Give a namespace its ICMP."""
    inet.state["icmp"] = IcmpNet(inet)
    inet.protos[IPPROTO_ICMP] = partial(rcv, inet)


# --- out ------------------------------------------------------------------------------------------------------


def send(inet: InetNet, skb: SkBuff, type: int, code: int, info: int) -> None:
    """Tell the sender of the received datagram ``skb`` of an error (icmp_send), unless it must not be told.

    ``network_header`` is at its IP header; ``info`` is the second word of the message. ``skb`` stays the caller's.
    """
    at = skb.network_header
    head = skb.head
    dev = skb.dev
    if dev is None or at < 0 or (skb.ext is not None and skb.ext.pkt_type != PACKET_HOST):
        return
    header = bytes(head[at : at + _IP_HEADER])
    saddr, daddr = header[12:16], header[16:20]
    if header[6] & 0x1F or header[7] or is_multicast(daddr) or saddr == ANY:
        return
    entry = inet.fib.lookup(daddr)
    if daddr == b"\xff\xff\xff\xff" or (entry is not None and entry.type == RTN_BROADCAST):
        return
    if type in ERRORS and header[9] == IPPROTO_ICMP:
        quoted = skb_copy_bits(skb, at + (header[0] & 15) * 4 - skb.data, 1) if _reaches(skb, at, header) else b""
        if not quoted or quoted[0] > NR_ICMP_TYPES or quoted[0] in ERRORS:
            return  # about an ICMP error, or something that may be one
    icmp = icmp_of(inet)
    if not icmp_rate.global_allow(icmp, dev, type, code):
        return
    source = daddr if entry is not None and entry.type == RTN_LOCAL else ANY
    try:
        rt = route.output(inet, saddr, source)
    except OSError:
        inet.mibs.icmp.OutErrors += 1
        return
    if not icmp_rate.peer_allow(icmp, rt, type, code):
        return
    size = min(skb.len + skb.data - at, _MAX_ERROR - _IP_HEADER - HEADER_SIZE)
    message = HEADER.pack(type, code, 0, info) + skb_copy_bits(skb, at - skb.data, size)
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    inet.mibs.icmp_out(type)
    tos = (header[1] & _TOS_MASK) | _PREC_INTERNETCONTROL
    send_datagram(inet, rt, IPPROTO_ICMP, SkBuff(message, 0, len(message)), tos=tos)


def _reaches(skb: SkBuff, at: int, header: bytes) -> bool:
    return at + (header[0] & 15) * 4 < skb.data + skb.len


def _reply(inet: InetNet, skb: SkBuff, type: int, rest: int, payload: tuple[bytes | memoryview, ...], n: int) -> None:
    """Answer a query: ``payload`` (``n`` bytes together) travels by reference (icmp_reply)."""
    head = skb.head
    at = skb.network_header
    saddr, daddr = bytes(head[at + 12 : at + 16]), bytes(head[at + 16 : at + 20])
    entry = inet.fib.lookup(daddr)
    source = daddr if entry is not None and entry.type == RTN_LOCAL else ANY
    try:
        rt = route.output(inet, saddr, source)
    except OSError:
        inet.mibs.icmp.OutErrors += 1
        return
    if not icmp_rate.peer_allow(icmp_of(inet), rt, type, 0):
        return
    answer = SkBuff(HEADER.pack(type, 0, 0, rest), 0, HEADER_SIZE + n, n, payload)
    check = skb_checksum(answer, 0, answer.len) ^ 0xFFFF
    answer.head = HEADER.pack(type, 0, check, rest)
    inet.mibs.icmp_out(type)
    size = (head[at] & 15) * 4
    if size > _IP_HEADER:
        options = ip_options.echo(bytes(head[at : at + size]))
        ttl = rt.hoplimit or inet.default_ttl
        ident = inet.ids.getrandbits(16)
        plain = ipv4.build(rt.saddr, rt.daddr, IPPROTO_ICMP, tos=head[at + 1], ident=ident, ttl=ttl)
        send_packet(inet, rt, ip_options.with_options(inet, plain, options, rt.saddr, answer.len), answer)
        return
    send_datagram(inet, rt, IPPROTO_ICMP, answer, tos=head[at + 1])


# --- in -------------------------------------------------------------------------------------------------------


def rcv(inet: InetNet, skb: SkBuff) -> None:
    """The handler of protocol 1 (icmp_rcv): ``skb.data`` at the ICMP header, ``network_header`` at IP's."""
    mib = inet.mibs.icmp
    mib.InMsgs += 1
    if skb.ip_summed == CHECKSUM_NONE and skb_checksum(skb, 0, skb.len) != 0xFFFF:
        mib.InCsumErrors += 1
        _bad(inet, skb, "ICMP_CSUM")
        return
    if not pskb_may_pull(skb, HEADER_SIZE):
        _bad(inet, skb, "PKT_TOO_SMALL")
        return
    head = skb.head
    at = skb.data
    kind = head[at]
    inet.mibs.icmp_in(kind)
    if kind > NR_ICMP_TYPES:
        _bad(inet, skb, "UNHANDLED_PROTO")
        return
    daddr = bytes(head[skb.network_header + 16 : skb.network_header + 20])
    entry = inet.fib.lookup(daddr)
    if is_multicast(daddr) or daddr == b"\xff\xff\xff\xff" or (entry is not None and entry.type == RTN_BROADCAST):
        # RFC 1122 3.2.2.6, 3.2.2.8: such queries may be ignored; nothing else is meant for everybody.
        if kind not in (ECHO_REQUEST, TIMESTAMP, 17, 18) or (
            kind in (ECHO_REQUEST, TIMESTAMP) and icmp_of(inet).echo_ignore_broadcasts
        ):
            _bad(inet, skb, "INVALID_PROTO")
            return
    if kind == ECHO_REQUEST:
        _echo(inet, skb)
    elif kind == ECHOREPLY:
        ping.rcv(inet, skb)
        return
    elif kind in ERRORS:
        _error(inet, skb)
    elif kind == TIMESTAMP:
        _timestamp(inet, skb)
    consume_skb(skb)


def _bad(inet: InetNet, skb: SkBuff, reason: str) -> None:
    inet.mibs.icmp.InErrors += 1
    kfree_skb(skb, reason)


def _echo(inet: InetNet, skb: SkBuff) -> None:
    """Give back what was sent (icmp_echo, RFC 1122 3.2.2.6)."""
    if icmp_of(inet).echo_ignore_all:
        return
    rest = HEADER.unpack_from(skb.head, skb.data)[3]
    n = skb.len - HEADER_SIZE
    linear = n - skb.data_len
    start = skb.data + HEADER_SIZE
    payload = skb.frags
    if skb.ext is not None and skb.ext.frag_list:
        payload = (skb_copy_bits(skb, HEADER_SIZE, n),)
    elif linear:
        payload = (bytes(skb.head[start : start + linear]), *payload)
    _reply(inet, skb, ECHOREPLY, rest, payload, n)


def _timestamp(inet: InetNet, skb: SkBuff) -> None:
    """When it came and when the answer left, in ms since midnight UT (icmp_timestamp, RFC 1122 3.2.2.8)."""
    if skb.len < HEADER_SIZE + 4:
        inet.mibs.icmp.InErrors += 1
        return
    rest = HEADER.unpack_from(skb.head, skb.data)[3]
    now = (inet.kernel.clock.time_ns() // 1_000_000 % _MSEC_PER_DAY).to_bytes(4, "big")
    _reply(inet, skb, TIMESTAMPREPLY, rest, (skb_copy_bits(skb, HEADER_SIZE, 4) + now + now,), 12)


def _error(inet: InetNet, skb: SkBuff) -> None:
    """Find out whose datagram it is about, and tell that transport (icmp_unreach, icmp_socket_deliver)."""
    kind, code, _, rest = HEADER.unpack_from(skb.head, skb.data)
    quoted = skb_copy_bits(skb, HEADER_SIZE, skb.len - HEADER_SIZE)
    header_len = (quoted[0] & 15) * 4 if quoted else 0
    if len(quoted) < _IP_HEADER or header_len < _IP_HEADER or len(quoted) < header_len + 8:
        inet.mibs.icmp.InErrors += 1
        return
    info = 0
    if kind == DEST_UNREACH and code == FRAG_NEEDED:
        info = rest & 0xFFFF
    elif kind == PARAMETERPROB:
        info = rest >> 24
    icmp = icmp_of(inet)
    at = skb.network_header
    icmp.offender = bytes(skb.head[at + 12 : at + 16])
    if kind == REDIRECT:
        info = rest
        entry = inet.fib.lookup(quoted[12:16])
        if code <= _LAST_REDIRECT and skb.dev is not None and entry is not None and entry.type == RTN_LOCAL:
            redirect(inet, skb.dev, quoted[16:20], icmp.offender, rest.to_bytes(4, "big"))
    protocol = quoted[9]
    if icmp.raw_error is not None:
        icmp.raw_error(quoted, header_len, kind, code, info)
    handler = inet.errors.get(protocol)
    if handler is not None:
        handler(quoted, header_len, kind, code, info)
