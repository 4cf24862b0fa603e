"""Which slave a packet goes by, in the modes that keep a flow together. bond_xmit_hash() in bond_main.c."""

from __future__ import annotations

from struct import Struct

from pysock.core.skb_data import skb_header_pointer
from pysock.uapi.if_ether import ETH_HLEN, ETH_P_IP, ETH_P_IPV6
from pysock.uapi.in_ import IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff

LAYER2, LAYER34, LAYER23 = range(3)
_PORTS = (IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_UDPLITE)
_V4 = Struct("<2I")  # words as a little-endian machine reads them, which is what Linux does on most
_V6 = Struct("<8I")
_WORD = Struct("<I")


def xmit_hash(skb: SkBuff, policy: int) -> int:
    """A number that is the same for all packets of a flow; ``skb.data`` is at the Ethernet header."""
    frame = skb_header_pointer(skb, 0, ETH_HLEN)
    if frame is None:
        return 0
    ethernet = frame[5] ^ frame[11] ^ (frame[12] << 8 | frame[13])
    if policy == LAYER2:
        return ethernet
    found = _addresses(skb)
    if found is None:
        return ethernet
    words, ports = found
    value = ports if policy == LAYER34 else ethernet
    for word in words:
        value ^= word
    value ^= value >> 16
    value ^= value >> 8
    return value >> 1 if policy == LAYER34 else value  # ports are often even


def _addresses(skb: SkBuff) -> tuple[tuple[int, ...], int] | None:
    """The addresses of an IP packet as words, and its ports as one, 0 for a fragment or what has none."""
    if skb.protocol == ETH_P_IP:
        ip = skb_header_pointer(skb, ETH_HLEN, 20)
        if ip is None:
            return None
        whole = not (ip[6] & 0x3F or ip[7])
        return _V4.unpack_from(ip, 12), _ports(skb, ip[9], ETH_HLEN + ((ip[0] & 0xF) << 2)) if whole else 0
    if skb.protocol == ETH_P_IPV6:
        ip = skb_header_pointer(skb, ETH_HLEN, 40)
        if ip is not None:
            return _V6.unpack_from(ip, 8), _ports(skb, ip[6], ETH_HLEN + 40)
    return None


def _ports(skb: SkBuff, protocol: int, at: int) -> int:
    if protocol not in _PORTS:
        return 0
    ports = skb_header_pointer(skb, at, 4)
    word: int = 0 if ports is None else _WORD.unpack(ports)[0]
    return word
