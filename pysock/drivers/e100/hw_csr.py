"""The register block as it is seen from the bus: which register lies where, and how wide (SDM 6.3)."""

from __future__ import annotations

from pysock.core.pci import PciBar
from pysock.drivers.e100 import regs
from pysock.drivers.e100.regs import CUC_RESUME, EEPROM_CTRL, SCB_ACK, SCB_COMMAND, SCB_MASK, SCB_POINTER, SCB_STATUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.e100.hw_card import E100Card


class Csr(PciBar):
    """BAR 0. Registers may be read and written at any width that holds them; a card without power reads as ones."""

    __slots__ = ("_card", "_latches")
    size = regs.CSR_SIZE

    def __init__(self, card: E100Card) -> None:
        self._card = card
        self._latches = bytearray(0x40)  # those that only remember, byte by byte

    # -- reading -------------------------------------------------------------------------------------------

    def read8(self, offset: int) -> int:
        card = self._card
        if not card.powered:
            return 0xFF
        if offset == SCB_ACK:
            return card.ack
        if offset == SCB_COMMAND:
            return card.command
        if offset == EEPROM_CTRL:
            return card.eeprom.pins
        if offset == SCB_STATUS:
            return card.cu.state | card.ru.state
        return self._dword(offset & ~3) >> 8 * (offset & 3) & 0xFF

    def read16(self, offset: int) -> int:
        return self.read8(offset) | self.read8(offset + 1) << 8

    def read32(self, offset: int) -> int:
        if not self._card.powered:
            return 0xFFFF_FFFF
        if offset & 3:
            return self.read16(offset) | self.read16(offset + 2) << 16
        return self._dword(offset)

    def _dword(self, offset: int) -> int:
        card = self._card
        if offset == SCB_STATUS:
            return card.cu.state | card.ru.state | card.ack << 8 | card.command << 16 | card.mask << 24
        if offset == regs.MDI_CTRL:
            return card.mdi
        if offset == EEPROM_CTRL & ~3:
            return card.eeprom.pins << 16
        if offset == regs.FLOW_THRESHOLD & ~3:
            paused = regs.FC_PAUSED if card.cu.paused else 0
            return self._latches[regs.FLOW_THRESHOLD] << 8 | paused << 16
        if offset == regs.GENERAL_STATUS & ~3:
            phy = card.phy
            return (phy.link | phy.fast << 1 | phy.full << 2) << 8
        if offset < len(self._latches):
            return int.from_bytes(self._latches[offset : offset + 4], "little")
        return 0

    # -- writing -------------------------------------------------------------------------------------------

    def write8(self, offset: int, value: int) -> None:
        card = self._card
        if not card.powered:
            return
        if offset == SCB_COMMAND:
            if value == CUC_RESUME:  # the most frequent one has no argument
                card.scb_command(value, 0)
            else:
                pointer = int.from_bytes(self._latches[SCB_POINTER : SCB_POINTER + 4], "little")
                card.scb_command(value & 0xFF, pointer)
            return
        value &= 0xFF
        if offset == SCB_MASK:
            card.set_mask(value)
        elif offset == SCB_ACK:
            card.acknowledge(value)
        elif offset == EEPROM_CTRL:
            card.eeprom.set_pins(value)
        elif offset == regs.FLOW_CONTROL:
            card.flow_command(value)
        elif 0 <= offset < len(self._latches):
            self._latches[offset] = value
            if offset == regs.PORT + 3:
                self._port()
            elif offset == regs.MDI_CTRL + 3:
                card.mdi_cycle(int.from_bytes(self._latches[regs.MDI_CTRL : regs.MDI_CTRL + 4], "little"))

    def write16(self, offset: int, value: int) -> None:
        # High byte first: masks before commands, and the last byte of a wide register counts.
        if offset == SCB_COMMAND:
            self.write8(offset + 1, value >> 8)
            self.write8(offset, value)
        else:
            self.write8(offset, value)
            self.write8(offset + 1, value >> 8)

    def write32(self, offset: int, value: int) -> None:
        card = self._card
        if offset == SCB_STATUS and card.powered and not value & 0xFF_0000:  # interrupts alone, no command
            card.ack &= ~(value >> 8)
            card.set_mask(value >> 24 & 0xFF)
            return
        if offset == SCB_POINTER and card.powered:
            self._latches[4:8] = (value & 0xFFFF_FFFF).to_bytes(4, "little")
            return
        for at in range(4):
            self.write8(offset + at, value >> 8 * at)

    def _port(self) -> None:
        value = int.from_bytes(self._latches[regs.PORT : regs.PORT + 4], "little")
        self._card.port_command(value & 15, value & ~15)
