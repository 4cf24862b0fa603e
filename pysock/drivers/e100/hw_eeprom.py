"""A 93C46 serial EEPROM: 64 words of 16 bits behind four wires.

A command is a start bit, two bits of opcode and six of address, clocked in on EEDI at rising edges of EESK while EECS
is up; a read is clocked out on EEDO after a zero bit, by which drivers find out how many address bits the part has.
Writes and erasures need the write-enable command first. A write takes no time.
"""

from __future__ import annotations

from pysock.drivers.e100.regs import EECS, EEDI, EEDO, EEPROM_CONTROLLER, EEPROM_SUM, EEPROM_WORDS, EESK

ADDRESS_BITS = 6
_COMMAND_BITS = 3 + ADDRESS_BITS


def image(mac: bytes) -> list[int]:
    """The words of a card with the address ``mac``, checksum included."""
    words = [0] * EEPROM_WORDS
    for at in range(3):
        words[at] = int.from_bytes(mac[2 * at : 2 * at + 2], "little")
    words[3] = 0x0203  # both speeds, both duplexes
    words[EEPROM_CONTROLLER] = 0x0201
    words[6] = 0x4701  # an 82555 at address 1
    words[10] = 0x40C0
    words[11] = 0x000C
    words[12] = 0x8086
    words[-1] = (EEPROM_SUM - sum(words)) & 0xFFFF
    return words


class Eeprom:
    """The part. ``words`` is its content."""

    __slots__ = ("_bits", "_clocked", "_out", "_pins", "_writable", "words")

    def __init__(self, words: list[int]) -> None:
        self.words = words
        self._pins = EEDO
        self._bits = 0  # what was shifted in since the start bit, start bit included
        self._clocked = 0  # how many
        self._out: list[int] = []  # what is still to be shifted out
        self._writable = False

    def read_pins(self) -> int:
        """The control register: what the driver set, and EEDO."""
        return self._pins

    def set_pins(self, value: int) -> None:
        before, value = self._pins, value & (EESK | EECS | EEDI)
        self._pins = value | before & EEDO
        if not value & EECS:
            if before & EECS:
                self._deselected()
            self._bits = self._clocked = 0
            self._out = []
            self._pins |= EEDO  # pulled up
        elif value & EESK and not before & EESK:
            self._clock(1 if value & EEDI else 0)

    def _clock(self, bit: int) -> None:
        if self._out:
            self._drive(self._out.pop(0))
            return
        if not self._clocked and not bit:
            return  # waits for the start bit
        if self._clocked < _COMMAND_BITS + 16:
            self._bits = self._bits << 1 | bit
            self._clocked += 1
        if self._clocked == _COMMAND_BITS and self._bits >> ADDRESS_BITS == 0b110:
            word = self.words[self._bits & (EEPROM_WORDS - 1)]
            self._drive(0)
            self._out = [word >> shift & 1 for shift in range(15, -1, -1)]

    def _drive(self, bit: int) -> None:
        self._pins = self._pins & ~EEDO | (EEDO if bit else 0)

    def _deselected(self) -> None:
        """The falling edge of EECS starts what was asked for, other than a read."""
        if self._clocked == _COMMAND_BITS:
            opcode, address = self._bits >> ADDRESS_BITS, self._bits & (EEPROM_WORDS - 1)
            if opcode == 0b100 and address >> 4 in (0b11, 0b00):
                self._writable = address >> 4 == 0b11
            elif opcode == 0b111 and self._writable:
                self.words[address] = 0xFFFF
        elif self._clocked == _COMMAND_BITS + 16 and self._bits >> 16 + ADDRESS_BITS == 0b101 and self._writable:
            self.words[self._bits >> 16 & (EEPROM_WORDS - 1)] = self._bits & 0xFFFF
