"""What a card can be told to do wrong. All of it happens in the chip; the driver only sees what the chip then does."""

from __future__ import annotations


class Faults:
    """Set a field to break something; numbers count down as they are used up.

    drop_interrupts   so many times the chip pulls its line and nobody hears it: the line stays low, the cause stays set
    glitches          so many interrupts come with a spurious one
    stall_cu          the command unit fetches no more commands (until a reset, unless stall_sticks)
    stall_scb         commands written to the SCB are never taken (until a reset, unless stall_sticks)
    stall_sticks      a reset does not help
    corrupt_cb        before so many command blocks, the next link in memory is overwritten with garbage
    corrupt_rfd       the same for receive frame descriptors
    garbage_count     so many received frames get an actual count that is larger than any buffer
    overruns          so many received frames find the bus too slow
    slow_bus          bytes that the transmit FIFO lacks before the bus delivers: a threshold below it underruns
    """

    __slots__ = (
        "corrupt_cb", "corrupt_rfd", "drop_interrupts", "garbage_count", "glitches", "overruns", "slow_bus",
        "stall_cu", "stall_scb", "stall_sticks",
    )  # fmt: skip

    def __init__(self) -> None:
        self.drop_interrupts = self.glitches = 0
        self.stall_cu = self.stall_scb = self.stall_sticks = False
        self.corrupt_cb = self.corrupt_rfd = self.garbage_count = 0
        self.overruns = 0
        self.slow_bus = 0

    def was_reset(self) -> None:
        """The driver reset the chip: what a reset cures is cured."""
        if not self.stall_sticks:
            self.stall_cu = self.stall_scb = False
