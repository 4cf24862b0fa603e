"""IP output: from a transport's segment to the device (RFC 791, net/ipv4/ip_output.c).

`queue_xmit` is the path of connected sockets: everything constant in the header (version, TOS, TTL, protocol,
addresses, and their checksum) is computed once a route and kept on the socket; a packet adds its length, its
identification and the rest of the sum. `push_pending` style sends of datagram sockets and ICMP go through
`send_datagram`.

An IPv4 length of 0 on a super-segment means "longer than the field can say" (BIG TCP, as Linux since 6.3): such packets
exist only between hosts whose devices take them whole.
"""

from __future__ import annotations

import errno
from functools import lru_cache
from struct import Struct

from pysock.core.dev import netif_rx
from pysock.core.dev_xmit import NET_XMIT_CN
from pysock.core.errors import err
from pysock.core.skb_copy import skb_clone
from pysock.core.skbuff import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SkBuff, consume_skb
from pysock.families.inet import route
from pysock.families.inet.addr import is_multicast
from pysock.families.inet.devinet import is_member
from pysock.families.inet.fib import RTN_BROADCAST, RTN_MULTICAST
from pysock.families.inet.route import Rtable
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.if_packet import PACKET_LOOPBACK
from pysock.uapi.in_ import IP_PMTUDISC_DONT, IP_PMTUDISC_OMIT
from pysock.wire.ipv4 import DF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.net import InetNet

#: version+IHL and TOS | total length | identification | flags, TTL, protocol | checksum | addresses
_pack = Struct("!2sHH4sH8s").pack
HEADER_LEN = 20


@lru_cache(maxsize=4096)
def build_header_template(
    protocol: int, tos: int, ttl: int, frag: int, saddr: bytes, daddr: bytes
) -> tuple[bytes, bytes, bytes, int]:
    """The constant parts of a header and their sum: (first two bytes, flags to protocol, addresses, sum)."""
    first = bytes((0x45, tos))
    middle = bytes((frag >> 8, frag & 0xFF, ttl, protocol))
    addresses = saddr + daddr
    # The sum of 16-bit words is the number they spell, modulo 65535 (wire.checksum).
    return first, middle, addresses, int.from_bytes(first + middle + addresses, "big") % 0xFFFF


def df_of(sk: InetSock) -> int:
    """DF, or 0 for a socket that lets its datagrams be fragmented (ip_dont_fragment)."""
    return 0 if sk.pmtudisc in (IP_PMTUDISC_DONT, IP_PMTUDISC_OMIT) else DF


def rebuild_route(sk: InetSock) -> Rtable:
    """Route a connected socket anew and recompute its header template (inet_sk_rebuild_header)."""
    inet = sk.inet
    rt = route.output(inet, sk.daddr, sk.saddr, sk.bound_dev_if)
    sk.dst = rt
    ttl = sk.ttl if sk.ttl >= 0 else inet.default_ttl
    sk.ip_header = build_header_template(sk.protocol, sk.tos, ttl, df_of(sk), sk.saddr, sk.daddr)
    return rt


def queue_xmit(sk: InetSock, skb: SkBuff) -> int:
    """ip_queue_xmit(): put a connected socket's IP header in front of ``skb`` and send it. 0, or a negative errno."""
    inet = sk.inet
    rt = sk.dst
    header = sk.ip_header
    if rt is None or header is None or rt.generation != inet.fib.generation:
        try:
            rt = rebuild_route(sk)
        except OSError as exc:
            inet.mibs.ip.OutNoRoutes += 1
            consume_skb(skb)
            return -(exc.errno or errno.ENETUNREACH)
        header = sk.ip_header
        assert header is not None
    first, middle, addresses, total = header
    length = skb.len + HEADER_LEN
    skb.len = length
    if length > 0xFFFF:
        length = 0
    ident = sk.ip_id = (sk.ip_id + 1) & 0xFFFF
    hh = rt.hh
    inet.mibs.ip.OutRequests += 1
    if hh is None or (skb.len > rt.mtu and not skb.gso_size):
        skb.len -= HEADER_LEN
        return _queue_xmit_slow(inet, rt, skb, header, ident)
    # neigh_hh_output() in the same step: one concatenation instead of two.
    skb.head = (
        hh + _pack(first, length, ident, middle, 0xFFFF - (total + length + ident) % 0xFFFF, addresses) + skb.head
    )
    offset = len(hh)
    skb.len += offset
    skb.mac_header = 0
    skb.network_header = offset
    skb.transport_header = offset + HEADER_LEN
    skb.protocol = ETH_P_IP
    skb.dev = rt.dev
    return rt.xmit(skb)


def _queue_xmit_slow(
    inet: InetNet, rt: Rtable, skb: SkBuff, header: tuple[bytes, bytes, bytes, int], ident: int
) -> int:
    """A next hop that is not resolved, or a packet that does not fit."""
    if rt.hh is None:
        inet.mibs.ip.OutDiscards += 1
        consume_skb(skb)
        return -errno.EHOSTUNREACH
    inet.mibs.ip.FragFails += 1
    consume_skb(skb)
    return -errno.EMSGSIZE


def send_datagram(
    inet: InetNet,
    rt: Rtable,
    protocol: int,
    payload: SkBuff,
    *,
    tos: int = 0,
    ttl: int | None = None,
    frag: int = 0,
    ident: int | None = None,
    loop: bool = True,
) -> int:
    """Send one datagram over ``rt``: ``payload`` holds the transport header and data. 0, or a negative errno.

    ``frag`` may be DF; ``loop`` is IP_MULTICAST_LOOP. A datagram larger than the MTU is EMSGSIZE with DF; without it,
    it would be fragmented here, which is not supported yet: also EMSGSIZE, counted in FragFails.
    """
    length = payload.len + HEADER_LEN
    if length > 0xFFFF:
        consume_skb(payload)
        return -errno.EMSGSIZE
    if ttl is None:
        ttl = 1 if is_multicast(rt.daddr) else inet.default_ttl
    if ident is None:
        ident = inet.ids.getrandbits(16)
    first, middle, addresses, total = build_header_template(protocol, tos, ttl, frag, rt.saddr, rt.daddr)
    header = _pack(first, length, ident, middle, 0xFFFF - (total + length + ident) % 0xFFFF, addresses)
    return send_packet(inet, rt, header, payload, loop)


def send_packet(inet: InetNet, rt: Rtable, header: bytes, payload: SkBuff, loop: bool = True) -> int:
    """Put a finished IP ``header`` in front of ``payload`` and send it over ``rt``. 0, or a negative errno."""
    mibs = inet.mibs.ip
    mibs.OutRequests += 1
    length = payload.len + len(header)
    hh = rt.hh
    if length > rt.mtu:
        mibs.FragFails += 1
        consume_skb(payload)
        return -errno.EMSGSIZE
    if hh is None:
        mibs.OutDiscards += 1
        consume_skb(payload)
        return -errno.EHOSTUNREACH
    offset = len(hh)
    payload.head = hh + header + payload.head
    payload.len = length + offset
    payload.mac_header = 0
    payload.network_header = offset
    payload.transport_header = offset + len(header)
    payload.protocol = ETH_P_IP
    payload.dev = rt.dev
    if rt.type in (RTN_BROADCAST, RTN_MULTICAST) and not loop_back(rt, payload, offset, loop):
        consume_skb(payload)
        return 0
    result = rt.xmit(payload)
    if result > 0:
        if result == NET_XMIT_CN:
            return 0
        mibs.OutDiscards += 1
        return -errno.ENOBUFS
    return result


def loop_back(rt: Rtable, skb: SkBuff, offset: int, loop: bool) -> bool:
    """Give our own host its copy of a finished broadcast, or of a multicast it is a member of (ip_mc_output).

    ``offset`` is the length of the link-layer header. A loopback device needs no help. False when the datagram must not
    leave the host: a multicast with a TTL of zero (RFC 1112 6.1).
    """
    if rt.loopback:
        return True
    if rt.type == RTN_MULTICAST and not (loop and is_member(rt.dev, rt.daddr)):
        return skb.head[offset + 8] != 0
    copy = skb_clone(skb)
    copy.mac_header = 0
    copy.data = copy.network_header = offset
    copy.len -= offset
    copy.pkt_type = PACKET_LOOPBACK
    copy.dst = rt  # not routed again: with a source of our own it would be a martian
    if copy.ip_summed == CHECKSUM_NONE:
        copy.ip_summed = CHECKSUM_UNNECESSARY
    netif_rx(copy)
    return skb.head[offset + 8] != 0


def checked(result: int) -> None:
    """Raise the negative errno that an output function returned."""
    if result < 0:
        raise err(-result)
