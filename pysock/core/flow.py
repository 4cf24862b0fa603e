"""Flows: what tells the packets of one conversation from those of others, and a number for it.

Queueing disciplines keep flows apart by it, receive steering sends them to a CPU (rps.py), devices with several queues
to one of these. Source: net/core/flow_dissector.c.
"""

from __future__ import annotations

from zlib import crc32

from pysock.core.skb_data import skb_header_pointer
from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6
from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP
from pysock.wire import ipv4, ipv6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff

_PORTS = 4
_GOLDEN_RATIO = 0x61C88647  # hash_32()
_FRAGMENTED = 0x3FFF  # more fragments, or an offset


def flow_bytes(skb: SkBuff) -> bytes:
    """What tells the flow of ``skb`` from others: addresses, protocol, and ports where they are in the packet
    (skb_flow_dissect). For what is not IP, the frame's addresses and type.
    """
    start = skb.network_header
    at = start - skb.data
    if at >= 0 and skb.protocol == ETH_P_IP:
        head = skb.head
        if (
            skb.len - skb.data_len >= at + ipv4.HEADER_SIZE + _PORTS
            and head[start] == 0x45
            and head[start + 9] in (IPPROTO_TCP, IPPROTO_UDP)
            and not (head[start + 6] & 0x3F or head[start + 7])
        ):  # the usual packet: addresses and ports side by side
            return bytes(head[start + 9 : start + 10] + head[start + 12 : start + 24])
        fixed = skb_header_pointer(skb, at, ipv4.HEADER_SIZE)
        if fixed is not None:
            key = bytes(fixed[9:10] + fixed[12:20])
            if fixed[9] not in (IPPROTO_TCP, IPPROTO_UDP) or (fixed[6] << 8 | fixed[7]) & _FRAGMENTED:
                return key
            return key + bytes(skb_header_pointer(skb, at + (fixed[0] & 15) * 4, _PORTS) or b"")
    elif at >= 0 and skb.protocol == ETH_P_IPV6:
        chain = skb_header_pointer(skb, at, skb.len - skb.data_len - at)
        if chain is not None and len(chain) >= ipv6.HEADER_SIZE:
            size, protocol, fragment = ipv6.skip_extensions(chain[6], chain, ipv6.HEADER_SIZE)
            key = bytes((protocol,)) + bytes(chain[8:40])
            if protocol not in (IPPROTO_TCP, IPPROTO_UDP) or fragment:
                return key
            return key + bytes(skb_header_pointer(skb, at + size, _PORTS) or b"")
    return bytes(skb_header_pointer(skb, 0, min(max(at, 0), 14)) or b"")


def flow_hash(skb: SkBuff, perturbation: int = 0) -> int:
    """A 32-bit hash of the flow, the same in every run (skb_get_hash_perturb)."""
    return crc32(flow_bytes(skb), perturbation)


def skb_get_hash(skb: SkBuff) -> int:
    """The packet's flow hash, computed once and then kept in skb.hash; never 0. ``network_header`` is set."""
    found = skb.hash
    if not found:
        # The upper bits decide (reciprocal_scale), and ports that follow each other differ little there in a CRC.
        found = skb.hash = flow_hash(skb) * _GOLDEN_RATIO & 0xFFFFFFFF or 1
    return found


def reciprocal_scale(hash: int, n: int) -> int:
    """One of ``n`` for a 32-bit number: its place in the whole range (Linux does the same; a modulus it avoids)."""
    return hash * n >> 32
