"""IP input: from a received frame to the transport that it is for (RFC 791, RFC 1122 3.2; net/ipv4/ip_input.c).

`ip_rcv` is the ETH_P_IP packet type. The common datagram (20-byte header, whole, not a fragment, TCP or UDP, for a
socket seen before) takes one straight line: header, early demultiplexing, transport; UDP has one of its own in
udp_input. The headers of a flow differ in three fields only, so it is a comparison with the last one's constant bytes
and a sum of four numbers that says whether one is good. Everything else goes to `_rcv_slow`. Nothing that arrives may
raise: a bad datagram is counted where Linux counts it and freed.
"""

from __future__ import annotations

from functools import partial
from struct import Struct

from pysock.core.netfilter import NF_INET_LOCAL_IN, NF_INET_PRE_ROUTING, NFPROTO_IPV4, netfilter_of
from pysock.core.skb_data import pskb_may_pull, pskb_trim
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.families.inet import icmp, ip_forward, ip_options_rcv
from pysock.families.inet.devinet import in_device, is_member, routes_multicasts
from pysock.families.inet.fib import RTN_BROADCAST, RTN_LOCAL, RTN_MULTICAST, RTN_UNICAST
from pysock.families.inet.ip_reasm import reasm_of
from pysock.families.inet.route import Rtable, flow_in, input_type
from pysock.families.inet.udp import table_of
from pysock.families.inet.udp_input import make_early
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.if_packet import PACKET_OTHERHOST
from pysock.uapi.in_ import IPPROTO_IGMP, IPPROTO_TCP, IPPROTO_UDP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.net import InetNet

#: version+IHL, TOS | total length | identification | flags, TTL, protocol | checksum | addresses, and the ports behind
_unpack = Struct("!2sHH4sH12s").unpack_from
_MIN_LINEAR = 28  # an IP header without options and the shortest transport header, UDP's
_KNOWN_LIMIT = 512
_UNKNOWN = (b"", b"", 0, False)
_int = int.from_bytes


def make_ip_rcv(inet: InetNet) -> Callable[[SkBuff], None]:
    """The ETH_P_IP handler of one namespace, with its tables bound (ip_rcv)."""
    mibs = inet.mibs.ip
    demux = inet.early_demux.get
    protos = inet.protos
    udp_early = make_early(table_of(inet))
    #: By addresses and ports: the other constant bytes of that flow's headers, and what `_describe` says of them.
    known: dict[bytes, tuple[bytes, bytes, int, bool]] = {}
    find = known.get

    def ip_rcv(skb: SkBuff) -> None:
        """Check the IP header, and find the connection that the datagram is for."""
        ext = skb.ext
        if ext is not None and ext.pkt_type == PACKET_OTHERHOST:
            _not_ours(skb)
            return
        mibs.InReceives += 1
        length = skb.len
        if length - skb.data_len < _MIN_LINEAR or inet.raw_deliver is not None:
            _rcv_slow(inet, skb)
            return
        off = skb.data
        first, total, ident, middle, check, key = _unpack(skb.head, off)
        constant_first, constant_middle, constant, is_tcp = find(key) or _UNKNOWN
        if first != constant_first or middle != constant_middle:
            flow = _describe(first, middle, key)
            if flow is None:
                _rcv_slow(inet, skb)
                return
            if len(known) >= _KNOWN_LIMIT:
                known.clear()
            known[key] = flow
            _, _, constant, is_tcp = flow
        if (total != length and (total or not skb.gso_size)) or (constant + total + ident + check) % 0xFFFF:
            _rcv_slow(inet, skb)
        elif is_tcp:
            sk = demux(key)
            if sk is None:
                _route_input(inet, skb, off, 20)
                return
            mibs.InDelivers += 1
            off += 20
            skb.transport_header = skb.data = off
            skb.len = length - 20
            skb.sk = sk
            protos[IPPROTO_TCP](skb)
        elif not udp_early(skb, key):
            _route_input(inet, skb, off, 20)

    return ip_rcv


def setup(inet: InetNet) -> None:
    """Start to receive; while there are netfilter hooks, without the fast path."""
    net = inet.net
    fast = make_ip_rcv(inet)

    def slow(skb: SkBuff) -> None:
        if skb.pkt_type == PACKET_OTHERHOST:
            _not_ours(skb)
            return
        inet.mibs.ip.InReceives += 1
        _rcv_slow(inet, skb)

    def hooks_changed(active: bool) -> None:
        inet.nf = netfilter_of(net) if active else None
        old, new = (fast, slow) if active else (slow, fast)
        handlers = net.ptype_base[ETH_P_IP]
        net.ptype_base[ETH_P_IP] = tuple(new if handler is old else handler for handler in handlers)
        inet.fib.flush()  # every route is made anew, as a detour or not

    net.ptype_base[ETH_P_IP] = (*net.ptype_base.get(ETH_P_IP, ()), fast)
    netfilter_of(net).watch(NFPROTO_IPV4, hooks_changed)


def dev_in(skb: SkBuff) -> NetDevice:
    """Where a received packet came in."""
    assert skb.dev is not None
    return skb.dev


def _not_ours(skb: SkBuff) -> None:
    """A frame for another station, which a promiscuous device or a hub let through."""
    assert skb.dev is not None
    skb.dev.stats.rx_otherhost_dropped += 1
    kfree_skb(skb, "OTHERHOST")


def _describe(first: bytes, middle: bytes, key: bytes) -> tuple[bytes, bytes, int, bool] | None:
    """For the headers of a TCP or UDP flow that are plain (no options, no fragment): the constant bytes, the sum of the
    constant words, whether it is TCP. The other words make the sum a multiple of 65535 if the checksum is right.
    """
    protocol = middle[3]
    if first[0] != 0x45 or middle[0] & 0x3F or middle[1] or protocol not in (IPPROTO_TCP, IPPROTO_UDP):
        return None
    return first, middle, _int(first + middle + key[:8], "big") % 0xFFFF, protocol == IPPROTO_TCP


def _rcv_slow(inet: InetNet, skb: SkBuff) -> None:
    """Every datagram in full: validate, find out whose it is, deliver or forward (ip_rcv_core, ip_rcv_finish)."""
    mibs = inet.mibs.ip
    if not pskb_may_pull(skb, 20):
        mibs.InHdrErrors += 1
        kfree_skb(skb, "PKT_TOO_SMALL")
        return
    head = skb.head
    off = skb.data
    header_len = (head[off] & 15) * 4
    if head[off] >> 4 != 4 or header_len < 20 or not pskb_may_pull(skb, header_len):
        mibs.InHdrErrors += 1
        kfree_skb(skb, "IP_INHDR")
        return
    head = skb.head
    off = skb.data
    if _int(head[off : off + header_len], "big") % 0xFFFF:
        inet.mibs.ipext.InCsumErrors += 1
        mibs.InHdrErrors += 1
        kfree_skb(skb, "IP_CSUM")
        return
    length = (head[off + 2] << 8) | head[off + 3]
    if length == 0 and skb.len > 0xFFFF and skb.gso_size:
        length = skb.len  # BIG TCP
    if length > skb.len or length < header_len:
        mibs.InHdrErrors += 1
        kfree_skb(skb, "PKT_TOO_SMALL")
        return
    if length < skb.len:
        pskb_trim(skb, length)  # link-layer padding
    skb.network_header = off
    if inet.nf is None:
        _route_input(inet, skb, off, header_len)
    else:
        inet.nf.run(NFPROTO_IPV4, NF_INET_PRE_ROUTING, skb, dev_in(skb), None, partial(_pre_routed, inet))


def _pre_routed(inet: InetNet, skb: SkBuff) -> int:
    """All hooks accepted; one may have moved the header."""
    off = skb.network_header = skb.data
    _route_input(inet, skb, off, (skb.head[off] & 15) * 4)
    return 0


def _route_input(inet: InetNet, skb: SkBuff, off: int, header_len: int) -> None:
    mibs = inet.mibs.ip
    head = skb.head
    dev = skb.dev
    assert dev is not None
    rt = skb.dst
    if isinstance(rt, Rtable):
        kind = rt.type  # a copy of our own broadcast or multicast (ip_mc_output)
    else:
        if header_len == 20 and ip_forward.forward_known(inet, skb, off, header_len):
            return
        flow = None if inet.fib.plain else flow_in(skb, off)
        igmp = head[off + 9] == IPPROTO_IGMP
        kind = input_type(inet, bytes(head[off + 12 : off + 16]), bytes(head[off + 16 : off + 20]), dev, flow, igmp)
        if header_len > 20 and kind > 0:
            skb, kind = ip_options_rcv.receive(inet, skb, off, header_len, kind)
            if not kind:
                return
    if kind in (RTN_LOCAL, RTN_BROADCAST):
        if kind == RTN_BROADCAST:
            inet.mibs.ipext.InBcastPkts += 1
        _local_deliver(inet, skb, off, header_len, kind)
    elif kind == RTN_MULTICAST:
        _multicast_input(inet, skb, off, header_len)
    elif not kind or not in_device(dev).conf.forwarding:
        mibs.InAddrErrors += 1
        kfree_skb(skb, "IP_INADDRERRORS")
    elif kind == RTN_UNICAST:
        ip_forward.forward(inet, skb, off, header_len)
    else:
        ip_forward.unreachable(inet, skb, kind)


def _multicast_input(inet: InetNet, skb: SkBuff, off: int, header_len: int) -> None:
    """A datagram for a group: is one of ours in it, and do we route it (ip_route_input_mc)?"""
    dev = dev_in(skb)
    head = skb.head
    group = bytes(head[off + 16 : off + 20])
    source = None if head[off + 9] == IPPROTO_IGMP else bytes(head[off + 12 : off + 16])
    ours = is_member(dev, group, source)
    mroute = inet.mroute if routes_multicasts(dev, group) else None
    if not ours and mroute is None:
        in_device(dev).unwanted += 1
        kfree_skb(skb, "NOT_SPECIFIED")
        return
    inet.mibs.ipext.InMcastPkts += 1
    if mroute is None or mroute.input(skb, off, header_len, ours):
        _local_deliver(inet, skb, off, header_len, RTN_MULTICAST)


def _local_deliver(inet: InetNet, skb: SkBuff, off: int, header_len: int, kind: int) -> None:
    """ip_local_deliver(): fragments wait for the others, then it is whole."""
    head = skb.head
    if head[off + 6] & 0x3F or head[off + 7]:
        whole = reasm_of(inet).defrag(skb)
        if whole is None:
            return
        skb = whole
        off = skb.data
    if inet.nf is None:
        _deliver(inet, skb, off, header_len, kind)
        return

    def accepted(skb: SkBuff) -> int:
        _deliver(inet, skb, skb.data, (skb.head[skb.data] & 15) * 4, kind)
        return 0

    inet.nf.run(NFPROTO_IPV4, NF_INET_LOCAL_IN, skb, dev_in(skb), None, accepted)


def _deliver(inet: InetNet, skb: SkBuff, off: int, header_len: int, kind: int) -> None:
    """Raw sockets get copies, then the transport gets the datagram (ip_local_deliver_finish)."""
    mibs = inet.mibs.ip
    head = skb.head
    protocol = head[off + 9]
    skb.data = skb.transport_header = off + header_len
    skb.len -= header_len
    taken = False
    raw = inet.raw_deliver
    if raw is not None:
        taken = raw(skb, protocol)
    handler = inet.protos.get(protocol)
    if handler is not None:
        mibs.InDelivers += 1
        handler(skb)
    elif taken:
        mibs.InDelivers += 1
        kfree_skb(skb, "NOT_SPECIFIED")
    else:
        mibs.InUnknownProtos += 1
        if kind == RTN_LOCAL:
            icmp.send(inet, skb, icmp.DEST_UNREACH, icmp.PROT_UNREACH, 0)
        kfree_skb(skb, "IP_NOPROTO")
