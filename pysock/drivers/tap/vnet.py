"""struct virtio_net_hdr (virtio 1.2, 5.1.6): what a packet left to the device, in front of the packet.

    u8 flags | u8 gso_type | u16 hdr_len | u16 gso_size | u16 csum_start | u16 csum_offset      host byte order

    NEEDS_CSUM, csum_start, csum_offset  <->  CHECKSUM_PARTIAL, csum_start, csum_offset
    DATA_VALID                            ->  CHECKSUM_UNNECESSARY
    gso_type, gso_size                   <->  gso_type, gso_size

Offsets count from the first byte of the frame, in sk_buffs from that of the head. Source: virtio_net_hdr_from_skb() and
virtio_net_hdr_to_skb() in include/linux/virtio_net.h.
"""

from __future__ import annotations

from struct import Struct

from pysock.core.gso import SKB_GSO_TCP_ECN, SKB_GSO_TCPV4, SKB_GSO_TCPV6, SKB_GSO_UDP_L4
from pysock.core.skbuff import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY
from pysock.drivers.tap.chardev import VNET_HDR_SIZE
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.if_tun import (
    VIRTIO_NET_HDR_F_DATA_VALID,
    VIRTIO_NET_HDR_F_NEEDS_CSUM,
    VIRTIO_NET_HDR_GSO_ECN,
    VIRTIO_NET_HDR_GSO_NONE,
    VIRTIO_NET_HDR_GSO_TCPV4,
    VIRTIO_NET_HDR_GSO_TCPV6,
    VIRTIO_NET_HDR_GSO_UDP_L4,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.skbuff import SkBuff

HEADER: Final = Struct("=BBHHHH")
NO_OFFLOAD: Final = bytes(VNET_HDR_SIZE)
_pack: Final = HEADER.pack
_unpack: Final = HEADER.unpack_from

_TO_SKB: Final = {
    VIRTIO_NET_HDR_GSO_TCPV4: SKB_GSO_TCPV4,
    VIRTIO_NET_HDR_GSO_TCPV6: SKB_GSO_TCPV6,
    VIRTIO_NET_HDR_GSO_UDP_L4: SKB_GSO_UDP_L4,
}


def from_skb(skb: SkBuff) -> bytes:
    """The header for a packet to send; ``skb.data`` is at the first byte of the frame."""
    if skb.ip_summed != CHECKSUM_PARTIAL:
        return NO_OFFLOAD
    start = skb.csum_start - skb.data
    if not skb.gso_size:
        return _pack(VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, 0, 0, start, skb.csum_offset)
    headers = skb.len - skb.data_len
    return _pack(VIRTIO_NET_HDR_F_NEEDS_CSUM, _gso_type(skb), headers, skb.gso_size, start, skb.csum_offset)


def _gso_type(skb: SkBuff) -> int:
    kind = skb.gso_type
    if kind & SKB_GSO_UDP_L4:
        return VIRTIO_NET_HDR_GSO_UDP_L4
    ecn = VIRTIO_NET_HDR_GSO_ECN if kind & SKB_GSO_TCP_ECN else 0
    if kind & SKB_GSO_TCPV6 or (not kind & SKB_GSO_TCPV4 and skb.protocol == ETH_P_IPV6):
        return VIRTIO_NET_HDR_GSO_TCPV6 | ecn
    return VIRTIO_NET_HDR_GSO_TCPV4 | ecn


def to_skb(skb: SkBuff) -> bool:
    """Read the header that ``skb`` starts with, take it off and set what it says. False for one that makes no sense:
    offsets outside the packet, a GSO type we did not ask for, a packet without contents.
    """
    if skb.len <= VNET_HDR_SIZE:
        return False
    at = skb.data
    flags, gso_type, _, gso_size, csum_start, csum_offset = _unpack(skb.head, at)
    at += VNET_HDR_SIZE
    skb.data = at
    skb.len -= VNET_HDR_SIZE
    if flags & VIRTIO_NET_HDR_F_NEEDS_CSUM:
        if csum_start + csum_offset + 2 > skb.len:
            return False
        skb.ip_summed = CHECKSUM_PARTIAL
        skb.transport_header = at + csum_start  # which is where csum_start is, unless it is set
        skb.csum_offset = csum_offset
    elif flags & VIRTIO_NET_HDR_F_DATA_VALID:
        skb.ip_summed = CHECKSUM_UNNECESSARY
    if gso_type != VIRTIO_NET_HDR_GSO_NONE:
        kind = _TO_SKB.get(gso_type & ~VIRTIO_NET_HDR_GSO_ECN)
        if kind is None or not gso_size or not flags & VIRTIO_NET_HDR_F_NEEDS_CSUM:
            return False
        skb.gso_size = gso_size
        if kind == SKB_GSO_UDP_L4 or gso_type & VIRTIO_NET_HDR_GSO_ECN:
            skb.gso_type = kind | (SKB_GSO_TCP_ECN if gso_type & VIRTIO_NET_HDR_GSO_ECN else 0)
    return True
