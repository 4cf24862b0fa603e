"""Which packets say who is in which group: queries and reports of IGMP (RFC 3376) and MLD (RFC 3810)."""

from __future__ import annotations

from pysock.core.skb_data import skb_header_pointer
from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6
from pysock.uapi.in_ import IPPROTO_ICMPV6, IPPROTO_IGMP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff

QUERY, REPORT = 1, 2
_IGMP_KINDS = {0x11: QUERY, 0x12: REPORT, 0x16: REPORT, 0x17: REPORT, 0x22: REPORT}
_MLD_KINDS = {130: QUERY, 131: REPORT, 132: REPORT, 143: REPORT}


def membership(skb: SkBuff) -> int:
    """Whether a multicast packet is a query or a report of who is in a group: QUERY, REPORT, or 0."""
    if skb.protocol == ETH_P_IP:
        head = skb_header_pointer(skb, 0, 20)
        if head is not None and head[9] == IPPROTO_IGMP:
            kind = skb_header_pointer(skb, (head[0] & 0xF) << 2, 1)
            return _IGMP_KINDS.get(kind[0], 0) if kind is not None else 0
    elif skb.protocol == ETH_P_IPV6:
        # RFC 3810 5: behind a hop-by-hop header of eight bytes with the router alert
        head = skb_header_pointer(skb, 0, 49)
        if head is not None and head[6] == 0 and head[40] == IPPROTO_ICMPV6 and head[41] == 0:
            return _MLD_KINDS.get(head[48], 0)
    return 0
