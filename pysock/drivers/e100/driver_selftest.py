"""The driver's self test: link, EEPROM, and with the device off the network the chip's own test and two loopbacks.

e100_diag_test(), e100_loopback_test().
"""

from __future__ import annotations

from pysock.core.skbuff import SkBuff
from pysock.drivers.e100 import driver_access as hw
from pysock.drivers.e100 import driver_config, driver_watch, regs
from pysock.drivers.e100.driver_rx import RxRing
from pysock.drivers.e100.driver_tx import TxRing
from pysock.uapi.if_ether import ETH_DATA_LEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.drivers.e100.driver_nic import E100Nic

NAMES: Final = (
    "Link test     (on/offline)",
    "Eeprom test   (on/offline)",
    "Self test        (offline)",
    "Mac loopback     (offline)",
    "Phy loopback     (offline)",
)


def run(nic: E100Nic, offline: bool) -> list[int]:
    """A number for each name, 0 for good. ``offline`` takes the device down meanwhile if it is up."""
    csr = nic.csr
    linked = hw.mdio_read(csr, nic.phy, regs.MII_BMSR) & regs.BMSR_LSTATUS
    results = [0 if linked else 1, _fails(lambda: bool(hw.eeprom_load(csr))), 0, 0, 0]
    if offline:
        up = nic.rx is not None
        nic.down()
        results[2] = _fails(lambda: _chip(nic))
        results[3] = _fails(lambda: _loopback(nic, phy=False))
        results[4] = _fails(lambda: _loopback(nic, phy=True))
        hw.hw_reset(csr)
        if up:
            driver_watch.start(nic)
    return results


def _fails(test: Callable[[], bool]) -> int:
    try:
        return 0 if test() else 1
    except OSError as exc:
        return exc.errno or 1


def _chip(nic: E100Nic) -> bool:
    hw.self_test(nic.csr, nic.dma)
    return True


def _loopback(nic: E100Nic, phy: bool) -> bool:
    """Whether a frame that the MAC or the PHY turns round comes back as it was sent. Nobody listens for interrupts."""
    csr, dma = nic.csr, nic.dma
    hw.hw_reset(csr)
    rx = RxRing(csr, dma, 2)
    tx = TxRing(csr, dma, 8, 0xE0)
    control = hw.mdio_read(csr, nic.phy, regs.MII_BMCR)
    try:
        if phy:
            hw.mdio_write(csr, nic.phy, regs.MII_BMCR, regs.BMCR_LOOPBACK | regs.BMCR_SPEED100 | regs.BMCR_FULLDPLX)
        block = bytearray(driver_config.configure_block(nic))
        if not phy:
            block[10] |= 0x40
        frame = nic.dev.dev_addr * 2 + b"\xff" * ETH_DATA_LEN
        sent = (
            hw.exec_cmd(csr, regs.CUC_LOAD_BASE, 0)
            and hw.exec_cmd(csr, regs.RUC_LOAD_BASE, 0)
            and tx.command(regs.OP_CONFIGURE, bytes(block))
            and tx.command(regs.OP_IAS, nic.dev.dev_addr)
            and rx.start()
            and tx.send(SkBuff(frame, 0, len(frame)), nic.dev)
        )
        return sent and rx.peek() == frame
    finally:
        if phy:
            hw.mdio_write(csr, nic.phy, regs.MII_BMCR, control)
        hw.hw_reset(csr)
        tx.free(nic.dev)
        rx.free()
