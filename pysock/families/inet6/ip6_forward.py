"""Forwarding (RFC 8200 3; ip6_forward in net/ipv6/ip6_output.c): a router sends on what is not for it.

What leaves by the link that it came in by is redirected (redirect.py).
"""

from __future__ import annotations

from pysock.core.gso import gso_fits
from pysock.core.skb_copy import skb_cow_head
from pysock.core.skbuff import SkBuff, kfree_skb, skb_push
from pysock.families.inet6 import icmp6, ip6_output, ip6_ra, redirect, route
from pysock.families.inet6.addr import ANY6, is_linklocal, is_multicast
from pysock.families.inet6.ip6_cb import cb_of
from pysock.families.inet6.multipath6 import flow_in
from pysock.wire.icmpv6 import DEST_UNREACH, NOROUTE, PKT_TOOBIG, TIME_EXCEED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet6.net import Inet6Net

_NOT_NEIGHBOUR = 2


def forward(inet6: Inet6Net, skb: SkBuff, saddr: bytes, daddr: bytes) -> None:
    """Send the received packet on; ``network_header`` is at its IPv6 header. Takes the reference."""
    mibs = inet6.mibs.ip6
    if skb.pkt_type:
        mibs.InDiscards += 1
        kfree_skb(skb, "NOT_SPECIFIED")
        return
    if ip6_ra.take(inet6, skb):
        return
    hop_limit = skb.head[skb.network_header + 7]
    if hop_limit <= 1:
        icmp6.send(inet6, skb, TIME_EXCEED, 0, 0)
        mibs.InHdrErrors += 1
        kfree_skb(skb, "IP_INHDR")
        return
    try:
        rt = route.output(inet6, daddr, saddr, flow=flow_in(inet6, skb))
    except OSError:
        mibs.InNoRoutes += 1
        icmp6.send(inet6, skb, DEST_UNREACH, NOROUTE, 0)
        kfree_skb(skb, "IP_INNOROUTES")
        return
    if saddr == ANY6 or is_multicast(saddr) or saddr == bytes(15) + b"\1":
        mibs.InAddrErrors += 1
        kfree_skb(skb, "IP_INADDRERRORS")
        return
    if is_linklocal(saddr) and rt.dev is not skb.dev:
        icmp6.send(inet6, skb, DEST_UNREACH, _NOT_NEIGHBOUR, 0)
        mibs.InAddrErrors += 1
        kfree_skb(skb, "IP_INADDRERRORS")
        return
    came_in = skb.dev
    if rt.dev is came_in:
        cb = cb_of(skb)
        if cb is None or not cb.routing:
            redirect.send(inet6, skb, rt, saddr, daddr)
    size = skb.len + skb.data - skb.network_header
    if size > rt.mtu and not (skb.gso_size and gso_fits(skb, skb.network_header, skb.data, rt.mtu)):
        icmp6.send(inet6, skb, PKT_TOOBIG, 0, rt.mtu)
        mibs.InTooBigErrors += 1
        mibs.FragFails += 1
        kfree_skb(skb, "PKT_TOO_BIG")
        return
    skb_push(skb, skb.data - skb.network_header)
    skb_cow_head(skb, 0)
    assert isinstance(skb.head, bytearray)
    skb.head[skb.network_header + 7] = hop_limit - 1
    mibs.OutForwDatagrams += 1
    ip6_output.finish(inet6, rt, b"", skb, ip6_output.HEADER_LEN, came_in=came_in)
