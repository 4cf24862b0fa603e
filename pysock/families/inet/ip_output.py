"""IP output: from a transport's segment to the device (RFC 791, net/ipv4/ip_output.c).

`xmit_segment` is the path of connected sockets: everything constant in the header (version, TOS, TTL, protocol,
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
from pysock.core.netfilter import NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING, NFPROTO_IPV4
from pysock.core.skb_copy import skb_clone
from pysock.core.skbuff import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SkBuff, consume_skb, finished_skb, skb_push_data
from pysock.core.sock_ext import NO_PACING_LIMIT
from pysock.core.sockopt_set import SOCK_TX_TSTAMP
from pysock.families.inet import ip_options, route
from pysock.families.inet.addr import is_multicast
from pysock.families.inet.devinet import is_member, routes_multicasts
from pysock.families.inet.fib import RTN_BROADCAST, RTN_MULTICAST
from pysock.families.inet.ip_fragment import df_of, fragment, socket_mtu
from pysock.families.inet.route import Rtable
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.if_packet import PACKET_LOOPBACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.mibs import IpMib
    from pysock.core.netdevice import NetDevice
    from pysock.core.sock import Sock
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.net import InetNet

#: version+IHL and TOS | total length | identification | flags, TTL, protocol | checksum | addresses
_pack = Struct("!2sHH4sH8s").pack
HEADER_LEN = 20
#: ``skb.cb`` of a multicast that this host has forwarded (IPSKB_FORWARDED).
FORWARDED = "IPSKB_FORWARDED"


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


def rebuild_route(sk: InetSock) -> Rtable:
    """Route a connected socket anew and recompute its header template (inet_sk_rebuild_header)."""
    rt = route.output_for(sk, sk.daddr, sk.saddr, sk.bound_dev_if)
    return use_route(sk, rt)


def use_route(sk: InetSock, rt: Rtable) -> Rtable:
    """Send a connected socket's packets over ``rt`` from now on; by a detour, which it returns then, if they are not
    like everybody's.
    """
    if rt.inner is None and (sk.ip_options or needs_detour(sk, rt.dev)):
        rt = route.detour(rt)
    sk.dst = rt
    ttl = sk.ttl if sk.ttl >= 0 else rt.hoplimit or sk.inet.default_ttl
    sk.ip_header = build_header_template(sk.protocol, sk.tos, ttl, df_of(sk, rt), sk.saddr, sk.daddr)
    return rt


def needs_detour(sk: Sock, dev: NetDevice) -> bool:
    """Whether options of ``sk`` must go with its packets over ``dev``: SO_PRIORITY, SO_MARK, SO_TIMESTAMPING; or they
    are paced.
    """
    return bool(sk.priority or sk.mark or sk.flags & SOCK_TX_TSTAMP) or is_paced(sk, dev)


def is_paced(sk: Sock, dev: NetDevice) -> bool:
    """Whether packets over ``dev`` leave at a rate: SO_MAX_PACING_RATE, or a queueing discipline that sees to it."""
    ext = sk.ext
    if ext is not None and ext.pacing_rate != NO_PACING_LIMIT:
        return True
    return dev.qdisc is not None and dev.qdisc.by_socket


def xmit_segment(
    sk: InetSock, header: bytes, n: int, frags: tuple[bytes | memoryview, ...], csum_offset: int, gso_size: int
) -> int:
    """Put a connected socket's IP header in front of ``header``, its transport's, and ``n`` bytes of payload, and send
    it. The transport checksum is left to the device (CHECKSUM_PARTIAL). 0, or a negative errno.
    """
    inet = sk.inet
    rt = sk.dst
    template = sk.ip_header
    if rt is None or template is None or rt.generation != inet.fib.generation:
        try:
            rt = rebuild_route(sk)
        except OSError as exc:
            inet.mibs.ip.OutNoRoutes += 1
            return -(exc.errno or errno.ENETUNREACH)
        template = sk.ip_header
        assert template is not None
    first, middle, addresses, total = template
    size = HEADER_LEN + len(header) + n
    length = size if size <= 0xFFFF else 0
    ident = sk.ip_id = (sk.ip_id + 1) & 0xFFFF
    inet.mibs.ip.OutRequests += 1
    ip = _pack(first, length, ident, middle, 0xFFFF - (total + length + ident) % 0xFFFF, addresses)
    hh = rt.hh
    if hh is None or (size > rt.mtu and not gso_size):
        skb = finished_skb(ip + header, 0, HEADER_LEN, n, frags, ETH_P_IP, rt.dev, csum_offset, gso_size)
        skb.mac_header = -1
        if sk.ip_options:
            ip_options.insert(inet, skb, sk.ip_options, rt.saddr)
        neigh = (rt.inner or rt).neigh
        if neigh is not None:
            neigh.hint_progress(id(sk), sk.progress())
        if rt.inner is not None:
            stamp(sk, skb, rt.dev)
        return local_out(inet, rt, skb, socket_mtu(sk, rt), sk)
    # neigh_hh_output() in the same step: one concatenation instead of two.
    offset = len(hh)
    skb = finished_skb(
        hh + ip + header, offset, offset + HEADER_LEN, n, frags, ETH_P_IP, rt.dev, csum_offset, gso_size
    )
    xmit = rt.xmit
    return xmit(skb)


def put_header(skb: SkBuff, rt: Rtable, header: bytes) -> None:
    """Put a finished IP header in front of ``skb``, which is at its transport header; nothing of the link layer yet."""
    skb.head = header + skb.head[skb.data :]
    skb.data = skb.network_header = 0
    skb.transport_header = len(header)
    skb.len += len(header)
    skb.protocol = ETH_P_IP
    skb.dev = rt.dev


def local_out(
    inet: InetNet, rt: Rtable, skb: SkBuff, mtu: int = 0, sk: Sock | None = None, loop: bool = True
) -> int:
    """Send a packet of our own, its data at a finished IP header, the long way (ip_local_out, ip_output): LOCAL_OUT,
    our own copy of a multicast unless ``loop`` is False, `finish_output`. Answers as that, or -EPERM from a hook.
    """
    if rt.inner is not None:
        if sk is not None:
            skb.sk = sk
        if inet.nf is not None:
            return inet.nf.run(
                NFPROTO_IPV4, NF_INET_LOCAL_OUT, skb, None, rt.dev, lambda skb: _output(inet, rt, skb, mtu, loop), sk
            )
    return _output(inet, rt, skb, mtu, loop)


def stamp(sk: Sock, skb: SkBuff, dev: NetDevice) -> None:
    """Give a connection's packet what `needs_detour` speaks of, for the queueing disciplines and the hooks."""
    if sk.priority:
        skb.priority = sk.priority
    if sk.mark:
        skb.mark = sk.mark
    skb.sk = sk
    sk.prot.departs(sk, skb, is_paced(sk, dev))


def _output(inet: InetNet, rt: Rtable, skb: SkBuff, mtu: int, loop: bool) -> int:
    if rt.type in (RTN_BROADCAST, RTN_MULTICAST) and not loop_back(rt, skb, 0, loop):
        consume_skb(skb)
        return 0
    return finish_output(inet, rt, skb, mtu)


def finish_output(inet: InetNet, rt: Rtable, skb: SkBuff, mtu: int = 0) -> int:
    """Send ``skb``, its data at a finished IP header, over ``rt``, in fragments if it is longer than ``mtu`` (0: the
    route's) (ip_finish_output). Takes the reference. 0, or what `NetDevice.queue_xmit` says, or -EMSGSIZE with DF.
    """
    inner = rt.inner
    if inner is not None:
        if inet.nf is not None:
            return inet.nf.run(
                NFPROTO_IPV4, NF_INET_POST_ROUTING, skb, None, rt.dev,
                lambda skb: finish_output(inet, inner, skb, mtu), skb.sk,
            )  # fmt: skip
        rt = inner
    mtu = mtu or rt.mtu
    if skb.len > mtu and not skb.gso_size:
        return fragment(inet, rt, skb, mtu)
    hh = rt.hh
    if hh is None:
        return route.neigh_output(inet, rt, skb)
    skb_push_data(skb, hh)
    skb.mac_header = skb.data
    return rt.xmit(skb)


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
    mtu: int = 0,
    options: bytes = b"",
) -> int:
    """Send one datagram over ``rt``: ``payload`` holds the transport header and data. 0, or a negative errno.

    ``frag`` may be DF; ``loop`` is IP_MULTICAST_LOOP. A datagram larger than ``mtu`` (0: the route's) is EMSGSIZE with
    DF; without it, it is sent in fragments. ``options`` are IP's.
    """
    length = payload.len + HEADER_LEN
    if length + len(options) > 0xFFFF:
        consume_skb(payload)
        return -errno.EMSGSIZE
    if ttl is None:
        ttl = 1 if is_multicast(rt.daddr) else rt.hoplimit or inet.default_ttl
    if ident is None:
        ident = inet.ids.getrandbits(16)
    first, middle, addresses, total = build_header_template(protocol, tos, ttl, frag, rt.saddr, rt.daddr)
    header = _pack(first, length, ident, middle, 0xFFFF - (total + length + ident) % 0xFFFF, addresses)
    if options:
        header = ip_options.with_options(inet, header, options, rt.saddr, payload.len)
    return send_packet(inet, rt, header, payload, loop, mtu)


def send_packet(inet: InetNet, rt: Rtable, header: bytes, payload: SkBuff, loop: bool = True, mtu: int = 0) -> int:
    """Put a finished IP ``header`` in front of ``payload`` and send it over ``rt``. 0, or a negative errno."""
    mibs = inet.mibs.ip
    mibs.OutRequests += 1
    length = payload.len + len(header)
    hh = rt.hh
    if hh is None or length > (mtu or rt.mtu):
        put_header(payload, rt, header)
        return _result(mibs, local_out(inet, rt, payload, mtu, payload.sk, loop))
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
    return _result(mibs, rt.xmit(payload))


def _result(mibs: IpMib, result: int) -> int:
    """What a sender hears of what the device said: 0, or a negative errno."""
    if result > 0:
        if result == NET_XMIT_CN:
            return 0
        mibs.OutDiscards += 1
        return -errno.ENOBUFS
    return result


def loop_back(rt: Rtable, skb: SkBuff, offset: int, loop: bool) -> bool:
    """Give our own host its copy of a finished broadcast, or of a multicast that it is a member of or routes
    (ip_mc_output).

    ``offset`` is the length of the link-layer header. A loopback device needs no help. False when the datagram must not
    leave the host: a multicast with a TTL of zero (RFC 1112 6.1).
    """
    if rt.loopback:
        return True
    if rt.type == RTN_MULTICAST and not (
        loop and (is_member(rt.dev, rt.daddr) or (routes_multicasts(rt.dev, rt.daddr) and skb.cb is not FORWARDED))
    ):
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
