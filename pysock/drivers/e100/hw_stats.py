"""The chip's event counters and their dump to memory (SDM 6.3.2.2)."""

from __future__ import annotations

from struct import pack

from pysock.drivers.e100.regs import (
    DUMP_DONE,
    DUMP_RESET_DONE,
    STAT_NAMES,
    STATS_EXTENDED,
    STATS_STANDARD,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.e100.hw_card import E100Card

_INDEX = {name: at for at, name in enumerate(STAT_NAMES)}
#: The two that every frame counts in.
TX_GOOD = _INDEX["tx_good"]
RX_GOOD = _INDEX["rx_good"]


class Statistics:
    """``counts`` in the order of regs.STAT_NAMES, ``address`` where dumps go."""

    __slots__ = ("address", "counts")

    def __init__(self) -> None:
        self.counts = [0] * len(STAT_NAMES)
        self.address = 0

    def add(self, name: str) -> None:
        self.counts[_INDEX[name]] += 1

    def shared_wire(self, collisions: int, deferred: bool, aborted: bool) -> None:
        """What a frame met with on a wire that others use, too."""
        if deferred and not collisions:
            self.add("tx_deferred")
        self.counts[_INDEX["tx_total_collisions"]] += collisions
        if aborted:
            self.add("tx_max_collisions")
        elif collisions:
            self.add("tx_single_collision" if collisions == 1 else "tx_multiple_collisions")

    def dump(self, card: E100Card, reset: bool) -> None:
        """Write all counters, then the word that says so. BusError for a bad address."""
        n = STATS_EXTENDED if card.config.extended_stats else STATS_STANDARD
        done = DUMP_RESET_DONE if reset else DUMP_DONE
        card.dma.write(self.address, pack(f"<{n + 1}I", *(count & 0xFFFF_FFFF for count in self.counts[:n]), done))
        if reset:
            self.counts = [0] * len(STAT_NAMES)
