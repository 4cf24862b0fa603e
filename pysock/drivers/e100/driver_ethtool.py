"""What an e100 tells ethtool(8), and lets be changed (e100_ethtool_ops of e100.c)."""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.ethtool_ops import EthtoolOps
from pysock.core.ethtool_types import DrvInfo, LinkSettings, RingParam, WolInfo
from pysock.drivers.e100 import driver_access as hw
from pysock.drivers.e100 import driver_selftest, driver_watch, regs
from pysock.drivers.e100.driver_nic import RX_RING, TX_RING
from pysock.uapi import ethtool as et

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.drivers.e100.driver_nic import E100Nic

_EEPROM_MAGIC: Final = 0x1234
_PHY_REGS: Final = 0x1D  # as many as Linux dumps
_NET_STATS: Final = (
    "rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped",
    "multicast", "collisions", "rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors",
    "rx_fifo_errors", "rx_missed_errors", "tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors",
    "tx_heartbeat_errors", "tx_window_errors",
)  # fmt: skip
#: The chip's own: ethtool's name, and the data sheet's.
_CHIP_STATS: Final = {
    "tx_deferred": "tx_deferred",
    "tx_single_collisions": "tx_single_collision",
    "tx_multi_collisions": "tx_multiple_collisions",
    "tx_flow_control_pause": "tx_pause",
    "rx_flow_control_pause": "rx_pause",
    "rx_flow_control_unsupported": "rx_unsupported_control",
    "rx_short_frame_errors": "rx_short_frames",
}
#: Link modes by their bits in MII_ADVERTISE and MII_LPA.
_MODES: Final = (
    (0x0020, et.LINK_10_HALF),
    (0x0040, et.LINK_10_FULL),
    (0x0080, et.LINK_100_HALF),
    (0x0100, et.LINK_100_FULL),
    (0x0400, et.LINK_PAUSE),
)
_SPEEDS: Final = et.LINK_10_HALF | et.LINK_10_FULL | et.LINK_100_HALF | et.LINK_100_FULL


class E100Ethtool(EthtoolOps):
    """One for each device."""

    __slots__ = ("nic",)

    def __init__(self, nic: E100Nic) -> None:
        self.nic = nic

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        return DrvInfo("e100", bus_info=self.nic.pdev.name)

    def get_link(self, dev: NetDevice) -> bool:
        return hw.mdio_read(self.nic.csr, self.nic.phy, regs.MII_BMSR) & regs.BMSR_LSTATUS != 0

    def get_msglevel(self, dev: NetDevice) -> int:
        return self.nic.msg_enable

    def set_msglevel(self, dev: NetDevice, level: int) -> None:
        self.nic.msg_enable = level

    # -- counters and registers ------------------------------------------------------------------------------

    def get_strings(self, dev: NetDevice, stringset: int) -> Sequence[str]:
        if stringset == et.ETH_SS_STATS:
            return (*_NET_STATS, *_CHIP_STATS)
        if stringset == et.ETH_SS_TEST:
            return driver_selftest.NAMES
        raise err(errno.EOPNOTSUPP)

    def get_ethtool_stats(self, dev: NetDevice) -> Sequence[int]:
        """The device's counters, and the chip's of a dump made now."""
        stats = dev.get_stats()
        hard = self.nic.hard
        return [*(getattr(stats, name) for name in _NET_STATS), *(hard[name] for name in _CHIP_STATS.values())]

    def get_regs(self, dev: NetDevice) -> tuple[int, bytes]:
        """The SCB, the PHY's registers, the last one first, and what the chip's DUMP command writes if the device is up
        (e100_get_regs).
        """
        nic = self.nic
        csr = nic.csr
        words = [csr.read32(regs.SCB_STATUS)]
        words += [hw.mdio_read(csr, nic.phy, register) for register in range(_PHY_REGS - 1, -1, -1)]
        return 1 << 24 | nic.revision, b"".join(word.to_bytes(4, "little") for word in words) + self._dump()

    def _dump(self) -> bytes:
        nic = self.nic
        if nic.tx is None:
            return bytes(regs.DUMP_BYTES)
        area = nic.dma.alloc(regs.DUMP_BYTES)
        try:
            nic.command(regs.OP_DUMP, area.to_bytes(4, "little"))
            return nic.dma.read(area, regs.DUMP_BYTES)
        finally:
            nic.dma.free(area)

    # -- EEPROM ----------------------------------------------------------------------------------------------

    def get_eeprom_len(self, dev: NetDevice) -> int:
        return 2 * len(self.nic.eeprom)

    def get_eeprom(self, dev: NetDevice, offset: int, length: int) -> tuple[int, bytes]:
        return _EEPROM_MAGIC, self._content()[offset : offset + length]

    def set_eeprom(self, dev: NetDevice, magic: int, offset: int, data: bytes) -> None:
        """Program the words that change, and the checksum. The address in it counts from the next probe on."""
        if magic != _EEPROM_MAGIC:
            raise err(errno.EINVAL)
        nic = self.nic
        content = bytearray(self._content())
        content[offset : offset + len(data)] = data
        words = [int.from_bytes(content[at : at + 2], "little") for at in range(0, len(content), 2)]
        words[-1] = (regs.EEPROM_SUM - sum(words[:-1])) & 0xFFFF
        for address, word in enumerate(words):
            if word != nic.eeprom[address]:
                hw.eeprom_write(nic.csr, address, word)
        nic.eeprom = words

    def _content(self) -> bytes:
        return b"".join(word.to_bytes(2, "little") for word in self.nic.eeprom)

    # -- the link --------------------------------------------------------------------------------------------

    def get_link_ksettings(self, dev: NetDevice) -> LinkSettings:
        """What the PHY says (mii_ethtool_get_link_ksettings)."""
        nic = self.nic
        csr, phy = nic.csr, nic.phy
        control = hw.mdio_read(csr, phy, regs.MII_BMCR)
        status = hw.mdio_read(csr, phy, regs.MII_82555_STATUS)
        negotiates = control & regs.BMCR_ANENABLE != 0
        always = et.LINK_TP | et.LINK_MII
        partner = hw.mdio_read(csr, phy, regs.MII_LPA)
        return LinkSettings(
            speed=100 if status & 2 else 10,
            duplex=et.DUPLEX_FULL if status & 1 else et.DUPLEX_HALF,
            port=et.PORT_MII,
            phy_address=phy,
            autoneg=et.AUTONEG_ENABLE if negotiates else et.AUTONEG_DISABLE,
            mdio_support=1,  # clause 22
            transceiver=et.XCVR_INTERNAL,
            supported=_SPEEDS | et.LINK_AUTONEG | always,
            advertising=_modes(hw.mdio_read(csr, phy, regs.MII_ADVERTISE))
            | (et.LINK_AUTONEG if negotiates else 0)
            | always,
            lp_advertising=_modes(partner) | (et.LINK_AUTONEG if partner & 0x4000 else 0),
        )

    def set_link_ksettings(self, dev: NetDevice, settings: LinkSettings) -> None:
        """Negotiate for some modes, or be told one (mii_ethtool_set_link_ksettings)."""
        nic = self.nic
        csr, phy = nic.csr, nic.phy
        if settings.port not in (et.PORT_TP, et.PORT_MII) or settings.phy_address != phy:
            raise err(errno.EINVAL)
        if settings.autoneg == et.AUTONEG_ENABLE:
            if not settings.advertising & _SPEEDS:
                raise err(errno.EINVAL)
            offered = hw.mdio_read(csr, phy, regs.MII_ADVERTISE)
            for bit, mode in _MODES[:4]:
                offered = offered | bit if settings.advertising & mode else offered & ~bit
            hw.mdio_write(csr, phy, regs.MII_ADVERTISE, offered)
            hw.mdio_write(csr, phy, regs.MII_BMCR, regs.BMCR_ANENABLE | regs.BMCR_ANRESTART)
        else:
            if settings.speed not in (10, 100) or settings.duplex not in (et.DUPLEX_HALF, et.DUPLEX_FULL):
                raise err(errno.EINVAL)
            fast = regs.BMCR_SPEED100 if settings.speed == 100 else 0
            full = regs.BMCR_FULLDPLX if settings.duplex == et.DUPLEX_FULL else 0
            hw.mdio_write(csr, phy, regs.MII_BMCR, fast | full)
        nic.configure()

    def nway_reset(self, dev: NetDevice) -> None:
        """mii_nway_restart()."""
        nic = self.nic
        control = hw.mdio_read(nic.csr, nic.phy, regs.MII_BMCR)
        if not control & regs.BMCR_ANENABLE:
            raise err(errno.EINVAL)
        hw.mdio_write(nic.csr, nic.phy, regs.MII_BMCR, control | regs.BMCR_ANRESTART)

    def get_wol(self, dev: NetDevice) -> WolInfo:
        nic = self.nic
        can = nic.revision >= regs.REVISION_82558
        return WolInfo(et.WAKE_MAGIC if can else 0, et.WAKE_MAGIC if nic.wake else 0)

    def set_wol(self, dev: NetDevice, wol: WolInfo) -> None:
        """EOPNOTSUPP for anything but magic packets."""
        if wol.wolopts & ~self.get_wol(dev).supported:
            raise err(errno.EOPNOTSUPP)
        self.nic.wake = wol.wolopts != 0
        self.nic.configure()

    # -- rings, test -----------------------------------------------------------------------------------------

    def get_ringparam(self, dev: NetDevice) -> RingParam:
        nic = self.nic
        return RingParam(
            rx_max_pending=RX_RING[2], tx_max_pending=TX_RING[2], rx_pending=nic.rx_count, tx_pending=nic.tx_count
        )

    def set_ringparam(self, dev: NetDevice, ring: RingParam) -> None:
        """Too few become as many as there must be. A device that is up goes down and comes up with the new rings."""
        if ring.rx_mini_pending or ring.rx_jumbo_pending:
            raise err(errno.EINVAL)
        nic = self.nic
        up = nic.rx is not None
        nic.down()
        nic.rx_count = max(ring.rx_pending, RX_RING[1])
        nic.tx_count = max(ring.tx_pending, TX_RING[1])
        if up:
            driver_watch.start(nic)

    def self_test(self, dev: NetDevice, flags: int) -> tuple[int, Sequence[int]]:
        results = driver_selftest.run(self.nic, flags & et.ETH_TEST_FL_OFFLINE != 0)
        return flags | (et.ETH_TEST_FL_FAILED if any(results) else 0), results


def _modes(register: int) -> int:
    return sum(mode for bit, mode in _MODES if register & bit)
