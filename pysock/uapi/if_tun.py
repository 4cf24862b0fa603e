"""Numbers of the universal TUN/TAP device: ioctls, flags, offloads (``<linux/if_tun.h>``), and virtio_net_hdr's, which
travels in front of each packet (``<linux/virtio_net.h>``; virtio 1.2, 5.1.6).

The ioctl numbers are those of the asm-generic encoding: x86, ARM, RISC-V, s390; not of MIPS, PowerPC, SPARC.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

TUNSETPERSIST: Final = 0x400454CB
TUNSETIFF: Final = 0x400454CA
TUNSETOWNER: Final = 0x400454CC
TUNGETFEATURES: Final = 0x800454CF
TUNGETIFF: Final = 0x800454D2
TUNSETOFFLOAD: Final = 0x400454D0
TUNSETVNETHDRSZ: Final = 0x400454D8

# ifr_flags of TUNSETIFF
IFF_TUN: Final = 0x0001  # IP packets
IFF_TAP: Final = 0x0002  # Ethernet frames
IFF_MULTI_QUEUE: Final = 0x0100
IFF_NO_PI: Final = 0x1000  # no 4 bytes of flags and protocol in front
IFF_VNET_HDR: Final = 0x4000  # but a virtio_net_hdr

# What the kernel may hand us (TUNSETOFFLOAD)
TUN_F_CSUM: Final = 0x01  # packets whose checksum is left to us
TUN_F_TSO4: Final = 0x02
TUN_F_TSO6: Final = 0x04
TUN_F_TSO_ECN: Final = 0x08
TUN_F_USO4: Final = 0x20  # Linux 6.2
TUN_F_USO6: Final = 0x40

VIRTIO_NET_HDR_F_NEEDS_CSUM: Final = 1
VIRTIO_NET_HDR_F_DATA_VALID: Final = 2

VIRTIO_NET_HDR_GSO_NONE: Final = 0
VIRTIO_NET_HDR_GSO_TCPV4: Final = 1
VIRTIO_NET_HDR_GSO_TCPV6: Final = 4
VIRTIO_NET_HDR_GSO_UDP_L4: Final = 5
VIRTIO_NET_HDR_GSO_ECN: Final = 0x80
