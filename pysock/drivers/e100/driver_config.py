"""What the driver tells the chip to be: the CONFIGURE block and the address filters. e100.c, by function name."""

from __future__ import annotations

from pysock.drivers.e100 import regs
from pysock.uapi.if_ import IFF_ALLMULTI, IFF_PROMISC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.drivers.e100.driver_nic import E100Nic


def configure_block(nic: E100Nic) -> bytes:
    """The settings for the device as it is (e100_configure)."""
    dev = nic.dev
    block = bytearray(regs.CONFIG_BYTES)
    late = nic.revision >= regs.REVISION_82558
    block[0] = regs.CONFIG_BYTES
    block[1] = 0x08  # receive FIFO limit
    block[6] = 0x12 if late else 0x32  # direct receive DMA; from the 82558 on also the counters of pause frames
    block[7] = 0x07  # no runts; three tries after an underrun
    block[8] = 0x01  # MII
    block[10] = 0x2E  # frames bring their source address; 7 bytes of preamble
    block[12] = 0x60  # the usual gap
    block[14] = 0xF2
    block[15] = 0x48
    block[17] = 0x40  # quanta of the pauses that we ask for, high byte
    block[18] = 0xFA if late else 0xF2  # pad; from the 82558 on long frames, for a VLAN tag
    block[19] = 0xB8 if late and nic.pause else 0x84  # the PHY knows the duplex; pause frames as it negotiated
    if late and not nic.wake:
        block[19] |= 0x02  # magic packets are nothing special
    block[20] = 0x3F
    block[21] = 0x05
    if promiscuous(dev):
        block[15] |= 0x01
    if all_multicast(dev):
        block[21] |= 0x08
    return bytes(block)


def promiscuous(dev: NetDevice) -> bool:
    """Whether every frame is wanted: asked for, or the one way to hear secondary addresses."""
    return bool(dev.flags & IFF_PROMISC or dev.uc)


def all_multicast(dev: NetDevice) -> bool:
    return bool(dev.flags & IFF_ALLMULTI) or len(dev.mc) > regs.MC_MAX


def multicast_block(dev: NetDevice) -> bytes:
    """The list for MULTICAST SETUP (e100_multi): its size in bytes, then the addresses."""
    addresses = b"".join(list(dev.mc)[: regs.MC_MAX])
    return len(addresses).to_bytes(2, "little") + addresses
