"""IP output: from a transport's segment to the device (RFC 8200; net/ipv6/ip6_output.c).

`queue_xmit` is the path of connected sockets: everything constant in the header is packed once a route and kept on the
socket's `FlowPart`; a packet adds its length. Datagram sockets, ICMPv6 and neighbour discovery go through
`send_datagram`, which chains extension headers in and, where a packet does not fit, fragments (fragment.py).

A payload length of 0 on a super-segment means "longer than the field can say": such packets exist only between hosts
whose devices take them whole. Linux puts a jumbo payload option behind the header of those (its BIG TCP); here they
have the 40 bytes that every other segment has, and captures show neither, since they cut them.

Not here: jumbograms on a wire (RFC 2675; a longer datagram is EMSGSIZE), automatic flow labels.
"""

from __future__ import annotations

import errno
from functools import lru_cache
from struct import Struct

from pysock.core.dev import netif_rx
from pysock.core.dev_xmit import NET_XMIT_CN
from pysock.core.netfilter import NF_INET_FORWARD, NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING, NFPROTO_IPV6
from pysock.core.skb_copy import skb_clone
from pysock.core.skbuff import (
    CHECKSUM_NONE,
    CHECKSUM_UNNECESSARY,
    SkBuff,
    consume_skb,
    skb_release_data,
)
from pysock.families.inet.fib import RTN_MULTICAST
from pysock.families.inet.ip_output import needs_detour, stamp
from pysock.families.inet.route import detour
from pysock.families.inet.v6part import V6Part
from pysock.families.inet6 import route
from pysock.families.inet6.addr import SCOPE_NODELOCAL
from pysock.families.inet6.devconf import is_member
from pysock.families.inet6.net import Inet6Net
from pysock.families.inet6.route import Rt6
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.if_packet import PACKET_LOOPBACK
from pysock.uapi.in_ import IPPROTO_DSTOPTS, IPPROTO_HOPOPTS, IPPROTO_ROUTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.route import Rtable

#: version, traffic class and flow label | payload length | next header, hop limit, addresses
_pack = Struct("!4sH34s").pack
HEADER_LEN = 40
MAX_PAYLOAD = 0xFFFF


class FlowPart(V6Part):
    """What the output path reads of an AF_INET6 socket: ``sk.pinet6``; the sockets' class adds their options.

    ``hop_limit`` -1: the route's; ``tclass`` and ``flow_label`` (20 bits) as they are sent. ``ip6_header`` caches the
    constant parts of the header of a connected socket, whose route is in ``sk.dst``.
    """

    __slots__ = ("flow_label", "hop_limit", "inet6", "ip6_header", "prefs", "tclass")

    def __init__(self, inet6: Inet6Net) -> None:
        V6Part.__init__(self)
        self.inet6 = inet6
        self.hop_limit = -1
        self.tclass = self.flow_label = self.prefs = 0
        self.ip6_header: tuple[bytes, bytes] | None = None


@lru_cache(maxsize=4096)
def build_header_template(
    next_header: int, tclass: int, flow_label: int, hop_limit: int, saddr: bytes, daddr: bytes
) -> tuple[bytes, bytes]:
    """The constant parts of a header: (the 4 bytes before the length, the 34 behind it)."""
    first = (6 << 28 | tclass << 20 | flow_label).to_bytes(4, "big")
    return first, bytes((next_header, hop_limit)) + saddr + daddr


def rebuild_route(sk: InetSock) -> Rt6:
    """Route a connected socket anew and recompute its header template (inet6_sk_rebuild_header). OSError as
    `route.output`.
    """
    part = sk.pinet6
    assert isinstance(part, FlowPart)
    rt = route.output_for(sk, part.daddr, part.saddr, sk.bound_dev_if, part.flow_label, part.prefs)
    if rt.inner is None and needs_detour(sk, rt.dev):
        rt = detour(rt)
    sk.dst = rt
    hop_limit = part.hop_limit if part.hop_limit >= 0 else rt.hop_limit
    part.ip6_header = build_header_template(
        sk.protocol, part.tclass, part.flow_label, hop_limit, part.saddr, part.daddr
    )
    return rt


def queue_xmit(sk: InetSock, skb: SkBuff) -> int:
    """inet6_csk_xmit(): put a connected socket's IPv6 header before ``skb`` and send it. 0, or a negative errno."""
    part: FlowPart = sk.pinet6  # type: ignore[assignment]  # every socket that sends IPv6 has one
    inet6 = part.inet6
    rt = sk.dst
    header = part.ip6_header
    if rt is None or header is None or rt.generation != inet6.fib6.generation:
        try:
            rt = rebuild_route(sk)
        except OSError as exc:
            inet6.mibs.ip6.OutNoRoutes += 1
            consume_skb(skb)
            return -(exc.errno or errno.ENETUNREACH)
        header = part.ip6_header
        assert header is not None
    first, rest = header
    length = skb.len
    hh = rt.hh
    inet6.mibs.ip6.OutRequests += 1
    if hh is None or (length + HEADER_LEN > rt.mtu and not skb.gso_size):
        assert isinstance(rt, Rt6)
        return _queue_xmit_slow(sk, rt, skb, _pack(first, length if length <= MAX_PAYLOAD else 0, rest))
    # neigh_hh_output() in the same step: one concatenation instead of two.
    skb.head = hh + _pack(first, length if length <= MAX_PAYLOAD else 0, rest) + skb.head
    offset = len(hh)
    skb.len = length + offset + HEADER_LEN
    skb.mac_header = 0
    skb.network_header = offset
    skb.transport_header = offset + HEADER_LEN
    skb.protocol = ETH_P_IPV6
    skb.dev = rt.dev
    return rt.xmit(skb)


def _queue_xmit_slow(sk: InetSock, rt: Rt6, skb: SkBuff, header: bytes) -> int:
    """A detour, a next hop that is not resolved, or a packet that does not fit (its sender lowers the MSS)."""
    part = sk.pinet6
    assert isinstance(part, FlowPart)
    inet6 = part.inet6
    if rt.inner is not None:
        stamp(sk, skb, rt.dev)
    if skb.len + HEADER_LEN > rt.mtu and not skb.gso_size:
        inet6.mibs.ip6.FragFails += 1
        consume_skb(skb)
        return -errno.EMSGSIZE
    return finish(inet6, rt, header, skb, HEADER_LEN)


def chain_headers(
    protocol: int, hopopts: bytes = b"", dstopts0: bytes = b"", routing: bytes = b"", dstopts: bytes = b""
) -> tuple[int, bytes]:
    """Extension headers in RFC 8200's order (4.1), each with its "next header" byte put right, behind the IPv6 header's
    next header. ``dstopts0`` are the options for the first destinations and count only with ``routing``.
    """
    chain = b""
    nexthdr = protocol
    for kind, header in ((IPPROTO_DSTOPTS, dstopts), (IPPROTO_ROUTING, routing),
                         (IPPROTO_DSTOPTS, dstopts0 if routing else b""), (IPPROTO_HOPOPTS, hopopts)):  # fmt: skip
        if header:
            chain = bytes((nexthdr,)) + header[1:] + chain
            nexthdr = kind
    return nexthdr, chain


def send_datagram(
    inet6: Inet6Net,
    rt: Rt6,
    protocol: int,
    payload: SkBuff,
    *,
    tclass: int = 0,
    hoplimit: int | None = None,
    flowlabel: int = 0,
    hopopts: bytes = b"",
    dstopts0: bytes = b"",
    routing: bytes = b"",
    dstopts: bytes = b"",
    dontfrag: bool = False,
    loop: bool = True,
    mtu: int = 0,
) -> int:
    """Send one datagram over ``rt``: ``payload`` holds the transport header and data. 0, or a negative errno.

    ``hoplimit`` None: the route's. The extension headers are whole, as on the wire but for their "next header" byte;
    see `chain_headers`. ``dontfrag`` is IPV6_DONTFRAG: what does not fit is EMSGSIZE instead of fragmented. ``loop`` is
    IPV6_MULTICAST_LOOP. ``mtu`` (0: the route's) is for sockets that want smaller packets, never below 1280. A
    datagram beyond 65535 bytes is EMSGSIZE. CHECKSUM_PARTIAL is fine.
    """
    if hoplimit is None:
        hoplimit = rt.hop_limit
    nexthdr = protocol
    head = b""
    if hopopts or routing or dstopts:
        nexthdr, head = chain_headers(protocol, hopopts, dstopts0, routing, dstopts)
    length = payload.len + len(head)
    mibs = inet6.mibs.ip6
    if length > MAX_PAYLOAD:
        consume_skb(payload)
        return -errno.EMSGSIZE
    mibs.OutRequests += 1
    first, rest = build_header_template(nexthdr, tclass, flowlabel, hoplimit, rt.saddr, rt.daddr)
    header = _pack(first, length, rest) + head
    limit = min(mtu, rt.mtu) if mtu else rt.mtu
    if length + HEADER_LEN > limit and not payload.gso_size:
        if dontfrag:
            mibs.FragFails += 1
            consume_skb(payload)
            return -errno.EMSGSIZE
        return finish(inet6, rt, header, payload, len(header), loop, mtu=limit)
    return finish(inet6, rt, header, payload, len(header), loop)


def send_packet(inet6: Inet6Net, rt: Rt6, packet: SkBuff, loop: bool = True) -> int:
    """Send a packet that brings its own IPv6 header (IPV6_HDRINCL). EMSGSIZE when it does not fit."""
    mibs = inet6.mibs.ip6
    mibs.OutRequests += 1
    if packet.len > rt.mtu:
        mibs.FragFails += 1
        consume_skb(packet)
        return -errno.EMSGSIZE
    return finish(inet6, rt, b"", packet, HEADER_LEN, loop)


def finish(
    inet6: Inet6Net,
    rt: Rt6,
    header: bytes,
    payload: SkBuff,
    transport: int,
    loop: bool = True,
    came_in: NetDevice | None = None,
    mtu: int = 0,
) -> int:
    """Put ``header`` in front of ``payload`` and give the packet to the next hop (ip6_finish_output), past the
    netfilter hooks, which see it whole; then it is cut into fragments of ``mtu`` bytes (0: it fits). ``transport`` is
    the offset of the transport header in the packet, ``came_in`` where one came in that is forwarded. 0, or a negative
    errno.
    """
    if payload.shinfo is not None:
        skb_release_data(payload)
    payload.head = header + payload.head[payload.data :] if payload.data else header + payload.head
    added = len(header) - payload.data
    if payload.ext is not None and payload.ext.csum_start >= 0:
        payload.ext.csum_start += added
    payload.data = 0
    payload.len += len(header)
    payload.network_header = 0
    payload.transport_header = transport
    payload.protocol = ETH_P_IPV6
    payload.dev = rt.dev
    if rt.inner is None:
        return finish_accepted(inet6, rt, payload, loop, mtu)
    return _long_way(inet6, rt, rt.inner, payload, loop, came_in, mtu)


def _long_way(
    inet6: Inet6Net, rt: Rt6, inner: Rtable, skb: SkBuff, loop: bool, came_in: NetDevice | None, mtu: int
) -> int:
    """Over a detour: LOCAL_OUT or FORWARD, then POST_ROUTING, then ``inner``."""
    assert isinstance(inner, Rt6)

    def accepted(skb: SkBuff) -> int:
        return finish_accepted(inet6, inner, skb, loop, mtu)

    nf = inet6.nf
    if nf is None:
        return accepted(skb)

    def routed(skb: SkBuff) -> int:
        return nf.run(NFPROTO_IPV6, NF_INET_POST_ROUTING, skb, None, rt.dev, accepted, skb.sk)

    point = NF_INET_LOCAL_OUT if came_in is None else NF_INET_FORWARD
    return nf.run(NFPROTO_IPV6, point, skb, came_in, rt.dev, routed, skb.sk)


def finish_accepted(inet6: Inet6Net, rt: Rt6, payload: SkBuff, loop: bool, mtu: int = 0) -> int:
    """Give ``payload``, a finished packet at its IPv6 header, to the next hop (ip6_finish_output2), in fragments if it
    is longer than ``mtu`` (0: it is not). 0, or a negative errno.
    """
    if mtu and payload.len > mtu:
        from pysock.families.inet6.fragment import fragment

        return fragment(inet6, rt, payload, mtu, loop)
    mibs = inet6.mibs.ip6
    if rt.type == RTN_MULTICAST:
        mibs.OutMcastPkts += 1
        if not loop_back(rt, payload, loop):
            consume_skb(payload)
            return 0
        if payload.shinfo is not None:
            skb_release_data(payload)
    hh = rt.hh
    if hh is None:
        result = route.resolve_and_send(inet6, rt, payload)
    else:
        payload.head = hh + payload.head
        offset = len(hh)
        payload.len += offset
        payload.mac_header = 0
        payload.network_header = offset
        payload.transport_header += offset
        if payload.ext is not None and payload.ext.csum_start >= 0:
            payload.ext.csum_start += offset
        result = rt.xmit(payload)
    if result > 0:
        if result == NET_XMIT_CN:
            return 0
        mibs.OutDiscards += 1
        return -errno.ENOBUFS
    return result


def _routed(skb: SkBuff, rt: Rt6) -> bool:
    """Whether a multicast of our own is to come back, so that this host can send it on as a router."""
    mroute = rt.dev.net.get(Inet6Net).mroute
    return mroute is not None and mroute.wants(skb, rt.daddr)


def loop_back(rt: Rt6, skb: SkBuff, loop: bool) -> bool:
    """Give our own host its copy of a finished multicast that it is a member of. False when the packet must not leave
    the host: hop limit 0, or a group of node scope. What this host routes comes back too. ``skb.data`` is at the IPv6
    header.
    """
    if rt.loopback:
        return True
    if loop and (is_member(rt.dev, rt.daddr) or _routed(skb, rt)):
        copy = skb_clone(skb)
        copy.pkt_type = PACKET_LOOPBACK
        copy.dst = rt
        if copy.ip_summed == CHECKSUM_NONE:
            copy.ip_summed = CHECKSUM_UNNECESSARY
        netif_rx(copy)
    return skb.head[7] != 0 and rt.daddr[1] & 0xF > SCOPE_NODELOCAL
