"""Extension headers as they arrive: hop-by-hop and destination options, routing headers (RFC 8200 4;
net/ipv6/exthdrs.c). Fragments are reassembly.py's.

A handler finds ``skb.data`` at its header and ``network_header`` set. It answers (next header, where that is named,
counted from the IPv6 header) with ``skb.data`` behind its header, or None: the packet is gone, counted and perhaps
answered. Where headers lie is remembered in the packet's `Ip6Cb`, for sockets that asked to see them.

Every option has its fate in its number's upper two bits when we don't know it (RFC 8200 4.2). No routing header is
followed: type 0 is forbidden (RFC 5095), others are off by default on Linux; with no segments left most are skipped. AH
and ESP are unknown protocols here.
"""

from __future__ import annotations

from pysock.core.skb_data import pskb_may_pull, pskb_trim
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.families.inet6 import icmp6, reassembly
from pysock.families.inet6.ip6_cb import need_cb
from pysock.uapi.if_packet import PACKET_HOST
from pysock.uapi.in_ import IPPROTO_DSTOPTS, IPPROTO_FRAGMENT, IPPROTO_ROUTING
from pysock.wire.icmpv6 import PARAMPROB
from pysock.wire.ipv6 import OPT_JUMBO, OPT_PAD1, OPT_PADN, OPT_ROUTER_ALERT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeAlias

    from pysock.families.inet6.net import Inet6Net

    Handler: TypeAlias = Callable[[Inet6Net, SkBuff, int], "tuple[int, int] | None"]
    #: (namespace, packet, offset of the option from the IPv6 header) -> whether the packet goes on
    Option: TypeAlias = Callable[[Inet6Net, SkBuff, int], bool]

# Codes of a parameter problem
HDR_FIELD: Final = 0
UNK_OPTION: Final = 2

#: RPL source routes (RFC 6554) and segment routing (RFC 8754): Linux drops them without a word unless told to follow.
_SWITCHED_OFF: Final = (3, 4)
MAX_OPTIONS: Final = 8  # net.ipv6.max_hbh_opts_number, max_dst_opts_number
_MAX_PADDING: Final = 7


def _pull_header(inet6: Inet6Net, skb: SkBuff) -> int:
    """Make the header at ``skb.data`` linear; its size, or 0: too short, counted and freed."""
    if pskb_may_pull(skb, 8):
        size = (skb.head[skb.data + 1] + 1) << 3
        if pskb_may_pull(skb, size):
            return size
    inet6.mibs.ip6.InHdrErrors += 1
    kfree_skb(skb, "IP_INHDR")
    return 0


def _step(skb: SkBuff, size: int) -> tuple[int, int]:
    """Go behind the header at ``skb.data``."""
    at = skb.data
    skb.data = skb.transport_header = at + size
    skb.len -= size
    return skb.head[at], at - skb.network_header


def hop_by_hop(inet6: Inet6Net, skb: SkBuff) -> tuple[int, int] | None:
    """The hop-by-hop options, which come first (ipv6_parse_hopopts)."""
    size = _pull_header(inet6, skb)
    if not size:
        return None
    need_cb(skb).hop = skb.data - skb.network_header
    if not _options(inet6, skb, size, _HOP_OPTIONS):
        inet6.mibs.ip6.InHdrErrors += 1
        kfree_skb(skb, "IP_INHDR")
        return None
    return _step(skb, size)


def destination_options(inet6: Inet6Net, skb: SkBuff, nhoff: int) -> tuple[int, int] | None:
    """ipv6_destopt_rcv()."""
    size = _pull_header(inet6, skb)
    if not size:
        return None
    need_cb(skb).dst1 = skb.data - skb.network_header
    if not _options(inet6, skb, size, {}):
        inet6.mibs.ip6.InHdrErrors += 1
        kfree_skb(skb, "IP_INHDR")
        return None
    return _step(skb, size)


def routing(inet6: Inet6Net, skb: SkBuff, nhoff: int) -> tuple[int, int] | None:
    """ipv6_rthdr_rcv(): at its final destination the header is skipped, elsewhere refused."""
    size = _pull_header(inet6, skb)
    if not size:
        return None
    mibs = inet6.mibs.ip6
    at = skb.data
    head = skb.head
    daddr_first = head[skb.network_header + 24]
    if daddr_first == 0xFF or skb.pkt_type != PACKET_HOST:
        mibs.InAddrErrors += 1
        kfree_skb(skb, "IP_INADDRERRORS")
        return None
    if head[at + 2] in _SWITCHED_OFF:
        mibs.InDiscards += 1  # Linux counts it nowhere
        kfree_skb(skb, "NOT_SPECIFIED")
        return None
    if head[at + 3]:
        mibs.InHdrErrors += 1
        icmp6.send(inet6, skb, PARAMPROB, HDR_FIELD, at + 2 - skb.network_header)
        kfree_skb(skb, "IP_INHDR")
        return None
    cb = need_cb(skb)
    cb.routing = at - skb.network_header
    cb.dst0, cb.dst1 = cb.dst1, 0
    return _step(skb, size)


HANDLERS: Final[dict[int, Handler]] = {
    IPPROTO_ROUTING: routing,
    IPPROTO_DSTOPTS: destination_options,
    IPPROTO_FRAGMENT: reassembly.rcv,
}


# --- options ------------------------------------------------------------------------------------------------------


def _options(inet6: Inet6Net, skb: SkBuff, size: int, known: dict[int, Option]) -> bool:
    """Do what the options of the header at ``skb.data`` say (ip6_parse_tlv). False: the packet is to be dropped."""
    head = skb.head
    at = skb.data + 2
    end = skb.data + size
    count = padding = 0
    while at < end:
        kind = head[at]
        if kind == OPT_PAD1:
            at += 1
            padding += 1
            if padding > _MAX_PADDING:
                return False
            continue
        if at + 2 > end or at + 2 + head[at + 1] > end:
            return False
        length = head[at + 1]
        if kind == OPT_PADN:
            padding += length + 2
            if padding > _MAX_PADDING or any(head[at + 2 : at + 2 + length]):
                return False
        else:
            count += 1
            if count > MAX_OPTIONS:
                return False
            handler = known.get(kind)
            if not (_unknown if handler is None else handler)(inet6, skb, at - skb.network_header):
                return False
            padding = 0
        at += 2 + length
    return True


def _unknown(inet6: Inet6Net, skb: SkBuff, offset: int) -> bool:
    """An option that we don't know: skip it, or drop the packet, and perhaps say so (ip6_tlvopt_unknown)."""
    network = skb.network_header
    action = skb.head[network + offset] >> 6
    if action == 0:
        return True
    if action == 2 or (action == 3 and skb.head[network + 24] != 0xFF):
        icmp6.send(inet6, skb, PARAMPROB, UNK_OPTION, offset)
    return False


def _router_alert(inet6: Inet6Net, skb: SkBuff, offset: int) -> bool:
    """RFC 2711; MLD messages have it."""
    at = skb.network_header + offset
    if skb.head[at + 1] != 2:
        return False
    cb = need_cb(skb)
    cb.router_alert = True
    cb.alert = int.from_bytes(skb.head[at + 2 : at + 4], "big")
    return True


def _jumbo(inet6: Inet6Net, skb: SkBuff, offset: int) -> bool:
    """RFC 2675: a length beyond 65535, in place of the header's, which is 0 then."""
    at = skb.network_header + offset
    head = skb.head
    if head[at + 1] != 4 or offset & 3 != 2:
        return False
    length = int.from_bytes(head[at + 2 : at + 6], "big")
    if length <= 0xFFFF:
        icmp6.send(inet6, skb, PARAMPROB, HDR_FIELD, offset + 2)
        return False
    if head[skb.network_header + 4] or head[skb.network_header + 5]:
        icmp6.send(inet6, skb, PARAMPROB, HDR_FIELD, offset)
        return False
    if length > skb.len:
        return False
    pskb_trim(skb, length)
    return True


_HOP_OPTIONS: Final[dict[int, Option]] = {OPT_ROUTER_ALERT: _router_alert, OPT_JUMBO: _jumbo}
