"""IPv6 input: from a received frame to the transport that it is for (RFC 8200; net/ipv6/ip6_input.c).

The handler that `make_ip6_rcv` makes is the ETH_P_IPV6 packet type. The common segment (TCP right behind the fixed
header, whole, of a known connection) takes one straight line: checks, early demultiplexing, transport; UDP has one of
its own in udp6_input. Everything else goes to `_rcv_slow`: the header is validated, the hop-by-hop options read, the
destination routed, and `deliver` walks the other extension headers (exthdrs.py, reassembly.py) to the transport.

Nothing that arrives may raise: a bad packet is counted where Linux counts it, answered with an ICMPv6 error where the
RFC wants one, and freed.
"""

from __future__ import annotations

from pysock.core.netfilter import NF_INET_LOCAL_IN, NF_INET_PRE_ROUTING, NFPROTO_IPV6, netfilter_of
from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import pskb_may_pull, pskb_trim
from pysock.core.skbuff import SkBuff, consume_skb, kfree_skb, skb_pull, skb_push
from pysock.families.inet.fib import RTN_LOCAL, RTN_MULTICAST, RTN_UNICAST
from pysock.families.inet6 import exthdrs, icmp6, ndisc_proxy
from pysock.families.inet6.addr import ANY6, LOOPBACK6, SCOPE_NODELOCAL, is_linklocal
from pysock.families.inet6.devconf import find_address, idev_of, is_member
from pysock.families.inet6.route import Rt6, input_type
from pysock.uapi.if_ import IFF_LOOPBACK
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.if_packet import PACKET_LOOPBACK, PACKET_OTHERHOST
from pysock.uapi.in_ import IPPROTO_HOPOPTS, IPPROTO_NONE
from pysock.wire.icmpv6 import DEST_UNREACH, NOROUTE, PARAMPROB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.netfilter import Netfilter
    from pysock.families.inet6.net import Inet6Net

IPPROTO_TCP = 6
UNK_NEXTHDR = 1
ADDR_UNREACH = 3
# Constant slices cost half of written ones.
_ETH_HEADER = slice(14, 58)
_LENGTH = slice(4, 6)
_DEMUX_KEY = slice(8, 44)


def make_ip6_rcv(inet6: Inet6Net) -> Callable[[SkBuff], None]:
    """The ETH_P_IPV6 handler of one namespace, with its tables bound (ipv6_rcv)."""
    mibs = inet6.mibs.ip6
    demux = inet6.early_demux.get
    protos = inet6.protos
    udp_early = inet6.udp_early

    def ip6_rcv(skb: SkBuff) -> None:
        """Check the IPv6 header, and find the connection that the packet is for."""
        mibs.InReceives += 1
        head = skb.head
        off = skb.data
        header: bytes = head[_ETH_HEADER] if off == 14 else head[off : off + 44]  # type: ignore[assignment]  # see below
        if (
            type(head) is not bytes
            or skb.len - skb.data_len < 60
            or header[6] != IPPROTO_TCP
            or header[0] & 0xF0 != 0x60
            or ((header[4] << 8) | header[5] != skb.len - 40 and not (skb.gso_size and header[_LENGTH] == b"\0\0"))
            or header[8] == 0xFE  # link-local: the device counts
            or (not header[8] and not skb.dev.flags & IFF_LOOPBACK)  # type: ignore[union-attr]  # ::1 from outside?
            or (skb.ext is not None and skb.ext.pkt_type)
            or inet6.raw_deliver is not None
        ):
            if udp_early is None or not udp_early(skb, header):
                _rcv_slow(inet6, skb)
            return
        sk = demux(header[_DEMUX_KEY])
        if sk is None:
            _rcv_slow(inet6, skb)
            return
        skb.network_header = off
        mibs.InDelivers += 1
        off += 40
        skb.transport_header = skb.data = off
        skb.len -= 40
        skb.sk = sk
        protos[IPPROTO_TCP](skb)

    return ip6_rcv


def setup(inet6: Inet6Net) -> None:
    """Start to receive; while there are netfilter hooks, without the fast path."""
    net = inet6.net
    fast = make_ip6_rcv(inet6)

    def slow(skb: SkBuff) -> None:
        inet6.mibs.ip6.InReceives += 1
        _rcv_slow(inet6, skb)

    def hooks_changed(active: bool) -> None:
        inet6.nf = netfilter_of(net) if active else None
        old, new = (fast, slow) if active else (slow, fast)
        handlers = net.ptype_base[ETH_P_IPV6]
        net.ptype_base[ETH_P_IPV6] = tuple(new if handler is old else handler for handler in handlers)
        inet6.fib6.flush()  # every route is made anew, as a detour or not

    net.ptype_base[ETH_P_IPV6] = (*net.ptype_base.get(ETH_P_IPV6, ()), fast)
    netfilter_of(net).watch(NFPROTO_IPV6, hooks_changed)


def _rcv_slow(inet6: Inet6Net, skb: SkBuff) -> None:
    """Every packet in full (ip6_rcv_core)."""
    mibs = inet6.mibs.ip6
    dev = skb.dev
    assert dev is not None
    kind = skb.pkt_type
    if kind == PACKET_OTHERHOST:
        kfree_skb(skb, "OTHERHOST")
        return
    idev = idev_of(dev)
    if idev is None or idev.conf.disable_ipv6:
        mibs.InDiscards += 1
        kfree_skb(skb, "IPV6DISABLED")
        return
    if not pskb_may_pull(skb, 40):
        mibs.InHdrErrors += 1
        kfree_skb(skb, "PKT_TOO_SMALL")
        return
    header = bytes(skb.head[skb.data : skb.data + 40])
    if header[0] >> 4 != 6 or not _sane_addresses(header[8:24], header[24:40], dev.flags, kind):
        mibs.InHdrErrors += 1
        kfree_skb(skb, "IP_INHDR")
        return
    skb.network_header = skb.data
    length = int.from_bytes(header[4:6], "big")
    nexthdr = header[6]
    if length or (nexthdr != IPPROTO_HOPOPTS and not skb.gso_size):
        if length + 40 > skb.len:
            mibs.InTruncatedPkts += 1
            kfree_skb(skb, "PKT_TOO_SMALL")
            return
        if length + 40 < skb.len:
            pskb_trim(skb, length + 40)  # link-layer padding
    skb.data = skb.transport_header = skb.network_header + 40
    skb.len -= 40
    nhoff = 6
    if nexthdr == IPPROTO_HOPOPTS:
        found = exthdrs.hop_by_hop(inet6, skb)
        if found is None:
            return
        nexthdr, nhoff = found
    if inet6.nf is None:
        _route_input(inet6, skb, header[8:24], header[24:40], nexthdr, nhoff)
        return

    def accepted(skb: SkBuff) -> None:
        addresses = bytes(skb.head[skb.network_header + 8 : skb.network_header + 40])
        _route_input(inet6, skb, addresses[:16], addresses[16:], nexthdr, nhoff)

    _ask(inet6.nf, NF_INET_PRE_ROUTING, skb, accepted)


def _ask(nf: Netfilter, point: int, skb: SkBuff, accepted: Callable[[SkBuff], None]) -> None:
    """Show the packet to the hooks with its data at the IPv6 header, and go on as far behind it as we are."""
    size = skb.data - skb.network_header
    skb_push(skb, size)

    def pull(skb: SkBuff) -> int:
        skb.network_header = skb.data
        skb_pull(skb, size)
        skb.transport_header = skb.data
        accepted(skb)
        return 0

    nf.run(NFPROTO_IPV6, point, skb, skb.dev, None, pull)


def _sane_addresses(saddr: bytes, daddr: bytes, dev_flags: int, pkt_type: int) -> bool:
    """RFC 4291: ::1 stays on loopback (2.5.3), groups of node scope too and scope 0 is reserved (2.7), a group is no
    source.
    """
    inside = dev_flags & IFF_LOOPBACK != 0
    if not inside and LOOPBACK6 in (saddr, daddr):
        return False
    if daddr[0] == 0xFF:
        scope = daddr[1] & 0xF
        if not scope or (scope == SCOPE_NODELOCAL and not inside and pkt_type != PACKET_LOOPBACK):
            return False
    return saddr[0] != 0xFF


def _route_input(inet6: Inet6Net, skb: SkBuff, saddr: bytes, daddr: bytes, nexthdr: int, nhoff: int) -> None:
    """Whose is it (ip6_rcv_finish, ip6_route_input)? ``skb.data`` is behind the headers that were read."""
    mibs = inet6.mibs.ip6
    dev = skb.dev
    assert dev is not None
    rt = skb.dst
    kind = rt.type if isinstance(rt, Rt6) else input_type(inet6, saddr, daddr, dev)
    if kind == RTN_LOCAL:
        _local_in(inet6, skb, nexthdr, nhoff)
    elif kind == RTN_MULTICAST:
        mibs.InMcastPkts += 1
        ours = is_member(dev, daddr)
        mroute = inet6.mroute
        if mroute is not None and mroute.wants(skb, daddr):
            from pysock.families.inet6.ip6mr import is_mld

            if is_mld(skb, nexthdr):
                ours = True
            elif ours:
                mroute.input(skb_clone(skb), saddr, daddr)
            else:
                mroute.input(skb, saddr, daddr)
                return
        if ours:
            _local_in(inet6, skb, nexthdr, nhoff)
        else:
            kfree_skb(skb, "IP_INADDRERRORS")
    elif kind == RTN_UNICAST:
        if inet6.forwarding:
            if inet6.nd.proxies:
                verdict = ndisc_proxy.check(inet6, skb, daddr, nexthdr)
                if verdict == ndisc_proxy.INPUT:
                    _local_in(inet6, skb, nexthdr, nhoff)
                    return
                if verdict == ndisc_proxy.REFUSE:
                    mibs.InDiscards += 1
                    icmp6.send(inet6, skb, DEST_UNREACH, ADDR_UNREACH, 0)
                    kfree_skb(skb, "NOT_SPECIFIED")
                    return
            from pysock.families.inet6.ip6_forward import forward

            forward(inet6, skb, saddr, daddr)
            return
        mibs.InAddrErrors += 1
        kfree_skb(skb, "IP_INADDRERRORS")
    else:
        if daddr == ANY6:
            mibs.InAddrErrors += 1
        else:
            mibs.InNoRoutes += 1
        icmp6.send(inet6, skb, DEST_UNREACH, NOROUTE, 0)
        kfree_skb(skb, "IP_INNOROUTES")


def _local_in(inet6: Inet6Net, skb: SkBuff, nexthdr: int, nhoff: int) -> None:
    """ip6_input()."""
    if inet6.nf is None:
        deliver(inet6, skb, nexthdr, nhoff)
    else:
        _ask(inet6.nf, NF_INET_LOCAL_IN, skb, lambda skb: deliver(inet6, skb, nexthdr, nhoff))


def deliver(inet6: Inet6Net, skb: SkBuff, nexthdr: int, nhoff: int) -> None:
    """Walk the extension headers from ``nexthdr`` on and hand the packet to its transport (ip6_protocol_deliver_rcu).

    ``skb.data`` is at the header that ``nexthdr`` names; ``nhoff`` is where, from the IPv6 header, that name stands.
    """
    mibs = inet6.mibs.ip6
    while True:
        skb.transport_header = skb.data
        raw = inet6.raw_deliver
        taken = raw is not None and raw(skb, nexthdr)
        handler = inet6.protos.get(nexthdr)
        if handler is not None:
            mibs.InDelivers += 1
            handler(skb)
            return
        extension = exthdrs.HANDLERS.get(nexthdr)
        if extension is None:
            break
        found = extension(inet6, skb, nhoff)
        if found is None:
            return
        nexthdr, nhoff = found
    if taken or nexthdr == IPPROTO_NONE:
        mibs.InDelivers += 1
        consume_skb(skb)
        return
    mibs.InUnknownProtos += 1
    icmp6.send(inet6, skb, PARAMPROB, UNK_NEXTHDR, nhoff)
    kfree_skb(skb, "IP_NOPROTO")


def incoming_index(inet6: Inet6Net, skb: SkBuff) -> int:
    """The device that a received packet came in on, for scope ids and IPV6_PKTINFO (inet6_iif): what we send to a
    link-local address of our own travels over loopback and counts as come in on the device that has the address.
    """
    dev = skb.dev
    if dev is None:
        return 0
    if dev.flags & IFF_LOOPBACK:
        at = skb.network_header
        daddr = bytes(skb.head[at + 24 : at + 40])
        if is_linklocal(daddr):
            ifa = find_address(inet6.net, daddr)
            if ifa is not None:
                return ifa.dev.ifindex
    return dev.ifindex
