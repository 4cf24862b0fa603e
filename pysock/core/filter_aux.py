"""What a BPF program reads besides the linear bytes of its packet: bytes in fragments or before the data (SKF_NET_OFF,
SKF_LL_OFF), and what the stack knows about the packet (SKF_AD_*).

Both functions return -1 for "there is no such thing", which ends the program with 0.
"""

from __future__ import annotations

from pysock.core.skb_data import skb_copy_bits, skb_header_pointer
from pysock.uapi import filter as bpf
from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.skbuff import SkBuff

_TCP: Final = 6
#: Header lengths that the payload offset skips, by IP protocol (__skb_get_poff).
_HEADERS: Final = {17: 8, 1: 8, 58: 8, 2: 8, 132: 12, 136: 8, 33: 12}


def load(skb: SkBuff, offset: int, size: int) -> int:
    """``size`` bytes at ``offset`` as a number, most significant first (bpf_skb_load_helper_*)."""
    if offset < 0x80000000:
        if offset + size > skb.len:
            return -1
        return int.from_bytes(skb_copy_bits(skb, offset, size), "big")
    # Before the data lie headers that were parsed already; only the linear part counts
    # (bpf_internal_load_pointer_neg_helper).
    if offset >= bpf.SKF_NET_OFF:
        start = skb.network_header + offset - bpf.SKF_NET_OFF
        known = skb.network_header >= 0
    else:
        start = skb.mac_header + offset - bpf.SKF_LL_OFF
        known = skb.mac_header >= 0 and offset >= bpf.SKF_LL_OFF
    if not known or start + size > skb.data + skb.len - skb.data_len:
        return -1
    return int.from_bytes(skb.head[start : start + size], "big")


def ancillary(skb: SkBuff, kind: int, a: int, x: int) -> int:
    """The value of SKF_AD_`kind`. ``a`` and ``x`` are the program's registers, which two of them ask for."""
    if kind in (bpf.SKF_AD_NLATTR, bpf.SKF_AD_NLATTR_NEST):
        return _find_attribute(skb, a, x, kind == bpf.SKF_AD_NLATTR_NEST)
    return _VALUES[kind](skb)


def _ifindex(skb: SkBuff) -> int:
    return -1 if skb.dev is None else skb.dev.ifindex


def _hatype(skb: SkBuff) -> int:
    return -1 if skb.dev is None else skb.dev.type


def _vlan_tag(skb: SkBuff) -> int:
    return skb.vlan_tci or 0


def _vlan_present(skb: SkBuff) -> int:
    return int(skb.vlan_tci is not None)


def _vlan_tpid(skb: SkBuff) -> int:
    return 0 if skb.vlan_tci is None else skb.need_ext().vlan_proto


def _random(skb: SkBuff) -> int:
    if skb.sk is not None:
        return skb.sk.kernel.random("bpf").getrandbits(32)
    return 0 if skb.dev is None else skb.dev.net.kernel.random("bpf").getrandbits(32)


def _payload_offset(skb: SkBuff) -> int:
    """skb_get_poff(): where the transport's payload starts, counted from the data; 0 when that cannot be told."""
    if skb.network_header < 0:
        return 0
    start = skb.network_header - skb.data
    header = skb.head[skb.network_header : skb.network_header + 40]
    if skb.protocol == ETH_P_IP and len(header) >= 20:
        protocol, offset = header[9], start + (header[0] & 15) * 4
        if (header[6] << 8 | header[7]) & 0x1FFF:
            return max(offset, 0)
    elif skb.protocol == ETH_P_IPV6 and len(header) == 40:
        protocol, offset = header[6], start + 40
    else:
        return 0
    if protocol == _TCP:
        at = skb.data + offset + 12
        raw = skb_header_pointer(skb, offset + 12, 1) if offset >= 0 else skb.head[at : at + 1]
        return max(offset + max(raw[0] >> 4, 5) * 4, 0) if raw else max(offset, 0)
    return max(offset + _HEADERS.get(protocol, 0), 0)


def _find_attribute(skb: SkBuff, start: int, kind: int, nested: bool) -> int:
    """The offset of a netlink attribute of type ``kind`` among those at ``start``, or inside the one there; 0 without
    one (bpf_skb_get_nlattr).
    """
    size = skb.len
    if skb.data_len or size < 4 or start > size - 4:
        return 0
    data = memoryview(skb.head)[skb.data : skb.data + size]
    end = size
    if nested:
        length = int.from_bytes(data[start : start + 2], "little")
        if length > size - start:
            return 0
        end = start + length
        start += 4
    while end - start >= 4:
        length = int.from_bytes(data[start : start + 2], "little")
        if not 4 <= length <= end - start:
            return 0
        if int.from_bytes(data[start + 2 : start + 4], "little") & 0x3FFF == kind:
            return start
        start += length + 3 & ~3
    return 0


_VALUES: Final[dict[int, Callable[[SkBuff], int]]] = {
    bpf.SKF_AD_PROTOCOL: lambda skb: skb.protocol,
    bpf.SKF_AD_PKTTYPE: lambda skb: 0 if skb.ext is None else skb.ext.pkt_type & 7,
    bpf.SKF_AD_IFINDEX: _ifindex,
    bpf.SKF_AD_MARK: lambda skb: skb.mark,
    bpf.SKF_AD_QUEUE: lambda skb: skb.queue_mapping,
    bpf.SKF_AD_HATYPE: _hatype,
    bpf.SKF_AD_RXHASH: lambda skb: skb.hash,
    bpf.SKF_AD_CPU: lambda skb: 0,
    bpf.SKF_AD_VLAN_TAG: _vlan_tag,
    bpf.SKF_AD_VLAN_TAG_PRESENT: _vlan_present,
    bpf.SKF_AD_PAY_OFFSET: _payload_offset,
    bpf.SKF_AD_RANDOM: _random,
    bpf.SKF_AD_VLAN_TPID: _vlan_tpid,
}
