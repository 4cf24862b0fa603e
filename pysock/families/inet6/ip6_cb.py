"""What IPv6 input notes of a packet with extension headers, in ``skb.cb`` (struct inet6_skb_parm)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff


class Ip6Cb:
    """Offsets of extension headers from the IPv6 header, 0: there is none. ``dst0`` are the destination options in
    front of a routing header, ``dst1`` those behind it or without one. ``frag_max_size`` is the size of the largest
    fragment that the packet came in, IPv6 header included, 0 if it was whole; ``fragmented`` that it had a fragment
    header. ``forwarded``: this host has routed it to its group (IP6SKB_FORWARDED). ``router_alert``: it has that
    option, with the value ``alert``.
    """

    __slots__ = (
        "alert", "dst0", "dst1", "forwarded", "frag_max_size", "fragmented", "hop", "router_alert", "routing",
    )  # fmt: skip

    def __init__(self) -> None:
        self.alert = self.hop = self.dst0 = self.routing = self.dst1 = self.frag_max_size = 0
        self.fragmented = self.router_alert = self.forwarded = False


def cb_of(skb: SkBuff) -> Ip6Cb | None:
    """The notes on a received packet; None for the common one, which has no extension headers."""
    cb = skb.cb
    return cb if isinstance(cb, Ip6Cb) else None


def need_cb(skb: SkBuff) -> Ip6Cb:
    """The notes, made now if there were none."""
    cb = skb.cb
    if not isinstance(cb, Ip6Cb):
        cb = skb.cb = Ip6Cb()
    return cb
