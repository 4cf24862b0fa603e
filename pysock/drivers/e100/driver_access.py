"""The driver's grip on the hardware: resets, commands, EEPROM, PHY. Everything goes through the register window.

Nothing here waits on a clock: a register is looked at PATIENCE times, and a chip that has not answered by then is
taken for dead. e100.c, by function name.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.drivers.e100 import regs
from pysock.drivers.e100.regs import EECS, EEDI, EEDO, EEPROM_CTRL, EESK, SCB_COMMAND, SCB_MASK, SCB_POINTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.dma import DmaMemory
    from pysock.core.pci import PciBar

PATIENCE = 100


def exec_cmd(csr: PciBar, command: int, pointer: int | None = None) -> bool:
    """Give a unit a command (e100_exec_cmd). False when the chip has not even taken the one before."""
    for _ in range(PATIENCE):
        if not csr.read8(SCB_COMMAND):
            break
    else:
        return False
    if pointer is not None:
        csr.write32(SCB_POINTER, pointer)
    csr.write8(SCB_COMMAND, command)
    return True


def disable_irq(csr: PciBar) -> None:
    csr.write8(SCB_MASK, regs.MASK_ALL)


def enable_irq(csr: PciBar) -> None:
    csr.write8(SCB_MASK, 0)


def hw_reset(csr: PciBar) -> None:
    """Stop both units, then forget everything (e100_hw_reset). It comes out with its interrupts masked."""
    csr.write32(regs.PORT, regs.PORT_SELECTIVE_RESET)
    csr.write32(regs.PORT, regs.PORT_RESET)
    disable_irq(csr)


def self_test(csr: PciBar, dma: DmaMemory) -> None:
    """Have the chip test itself (e100_self_test). ENXIO when it does not answer or finds something."""
    area = dma.alloc(16)
    try:
        dma.write(area, b"\0\0\0\0\xff\xff\xff\xff")
        csr.write32(regs.PORT, area | regs.PORT_SELFTEST)
        disable_irq(csr)
        answer = dma.read(area, 8)
        if answer[:4] == b"\0\0\0\0" or any(answer[4:]):
            raise err(errno.ENXIO, "e100: self-test failed")
    finally:
        dma.free(area)


# --- EEPROM -----------------------------------------------------------------------------------------------------------


def _send(csr: PciBar, bits: int, count: int) -> int:
    """Clock ``count`` bits out, the highest first; the level of EEDO after the last."""
    for at in range(count - 1, -1, -1):
        pins = EECS | (EEDI if bits >> at & 1 else 0)
        csr.write8(EEPROM_CTRL, pins)
        csr.write8(EEPROM_CTRL, pins | EESK)
    return csr.read8(EEPROM_CTRL) & EEDO


def eeprom_address_bits(csr: PciBar) -> int:
    """How wide the part's addresses are: it answers the last bit with a zero. ENXIO when it never does."""
    csr.write8(EEPROM_CTRL, EECS)
    _send(csr, 0b110, 3)
    width = 0
    while _send(csr, 0, 1):
        width += 1
        if width > 8:
            csr.write8(EEPROM_CTRL, 0)
            raise err(errno.ENXIO, "e100: no EEPROM")
    csr.write8(EEPROM_CTRL, 0)
    return width + 1


def eeprom_read(csr: PciBar, width: int, address: int, count: int = 1) -> list[int]:
    """``count`` words: most parts go on with the next one for as long as they are clocked."""
    write, read = csr.write8, csr.read8
    write(EEPROM_CTRL, EECS)
    _send(csr, 0b110 << width | address, 3 + width)
    bits = 0
    for _ in range(16 * count):
        write(EEPROM_CTRL, EECS)
        write(EEPROM_CTRL, EECS | EESK)
        bits = bits << 1 | (1 if read(EEPROM_CTRL) & EEDO else 0)
    write(EEPROM_CTRL, 0)
    return [bits >> 16 * at & 0xFFFF for at in range(count - 1, -1, -1)]


def eeprom_load(csr: PciBar) -> list[int]:
    """All words (e100_eeprom_load). EAGAIN, as in Linux, when their sum is wrong."""
    width = eeprom_address_bits(csr)
    words = eeprom_read(csr, width, 0, 1 << width)
    if sum(words) & 0xFFFF != regs.EEPROM_SUM:  # wrong, or a part that reads only one
        words = [eeprom_read(csr, width, address)[0] for address in range(1 << width)]
    if sum(words) & 0xFFFF != regs.EEPROM_SUM:
        raise err(errno.EAGAIN, "e100: the EEPROM's checksum is wrong")
    return words


def eeprom_write(csr: PciBar, address: int, word: int) -> None:
    """Program one word, and nothing else: the checksum is the caller's (e100_eeprom_write)."""
    width = eeprom_address_bits(csr)
    for bits, count in (
        (0b10011 << width - 2, 3 + width),
        ((0b101 << width | address) << 16 | word, 19 + width),
        (0b10000 << width - 2, 3 + width),
    ):
        csr.write8(EEPROM_CTRL, EECS)
        _send(csr, bits, count)
        csr.write8(EEPROM_CTRL, 0)


# --- PHY --------------------------------------------------------------------------------------------------------------


def mdio(csr: PciBar, phy: int, register: int, direction: int, value: int = 0) -> int:
    """One MDI cycle: 16 bits, or 0xFFFF, as of a PHY that is not there, when the interface is dead (mdio_ctrl)."""
    csr.write32(regs.MDI_CTRL, phy << 21 | register << 16 | direction | value)
    for _ in range(PATIENCE):
        answer = csr.read32(regs.MDI_CTRL)
        if answer & regs.MDI_READY:
            return answer & 0xFFFF
    return 0xFFFF


def mdio_read(csr: PciBar, phy: int, register: int) -> int:
    return mdio(csr, phy, register, regs.MDI_READ)


def mdio_write(csr: PciBar, phy: int, register: int, value: int) -> None:
    mdio(csr, phy, register, regs.MDI_WRITE, value)


def find_phy(csr: PciBar) -> int:
    """The first address that answers, number 1 tried first (e100_phy_init). EAGAIN when none does."""
    addresses: tuple[int, ...] = (1, 0, *range(2, 32))
    for address in addresses:
        if mdio_read(csr, address, regs.MII_BMSR) not in (0, 0xFFFF):
            return address
    raise err(errno.EAGAIN, "e100: no PHY")
