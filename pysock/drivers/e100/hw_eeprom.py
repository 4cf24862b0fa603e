"""A 93C46 serial EEPROM: 64 words of 16 bits behind four wires.

A command is a start bit, two bits of opcode and six of address, clocked in on EEDI at rising edges of EESK while EECS
is up; a read is clocked out on EEDO after a zero bit, by which drivers find out how many address bits the part has. Who
goes on clocking gets the next words, too, after the last one the first.
Writes and erasures need the write-enable command first. A write takes no time.
"""

from __future__ import annotations

from pysock.drivers.e100.regs import EECS, EEDI, EEDO, EEPROM_CONTROLLER, EEPROM_SUM, EEPROM_WORDS, EESK

ADDRESS_BITS = 6
_COMMAND_BITS = 3 + ADDRESS_BITS
_INPUTS = EESK | EECS | EEDI


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
    """The part. ``words`` is its content, ``pins`` the control register: what the driver set, and EEDO."""

    __slots__ = ("_at", "_bits", "_clocked", "_out", "_writable", "pins", "words")

    def __init__(self, words: list[int]) -> None:
        self.words = words
        self.pins = EEDO
        self._bits = 0  # what was shifted in since the start bit, start bit included
        self._clocked = 0  # how many
        self._out = ""  # what a read shifts out, as binary digits, again and again
        self._at = 0  # the next of them
        self._writable = False

    def set_pins(self, value: int) -> None:
        before = self.pins
        pins = value & _INPUTS | before & EEDO
        if self._out and pins & EECS:  # a read goes on
            if pins & EESK and not before & EESK:
                at = self._at
                pins = pins | EEDO if self._out[at] == "1" else pins & ~EEDO
                self._at = at + 1 if at + 1 < len(self._out) else 0
            self.pins = pins
            return
        self.pins = pins
        if not pins & EECS:
            if before & EECS:
                self._deselected()
            self._bits = self._clocked = self._at = 0
            self._out = ""
            self.pins |= EEDO  # pulled up
        elif pins & EESK and not before & EESK:
            self._clock(1 if pins & EEDI else 0)

    def _clock(self, bit: int) -> None:
        if not self._clocked and not bit:
            return  # waits for the start bit
        if self._clocked < _COMMAND_BITS + 16:
            self._bits = self._bits << 1 | bit
            self._clocked += 1
        if self._clocked == _COMMAND_BITS and self._bits >> ADDRESS_BITS == 0b110:
            first = self._bits & (EEPROM_WORDS - 1)
            self.pins &= ~EEDO
            self._out = "".join(f"{word:016b}" for word in (*self.words[first:], *self.words[:first]))

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
