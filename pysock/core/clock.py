"""Where time comes from.

Every instant in pysock is an ``int`` of nanoseconds. ``monotonic_ns`` orders events and drives timers,
``time_ns`` is the wall clock that programs and captures see. A Kernel owns one clock; nothing else in the
package asks the operating system for the time.

* `RealClock` follows the machine.
* `VirtualClock` stands still until everybody who takes part is waiting; then `core.wait` moves it to the next
  timer. It starts at a fixed date, so that two runs with one seed see the same instants.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object  # importing typing costs 5 ms

NSEC_PER_SEC = 1_000_000_000
NSEC_PER_MSEC = 1_000_000
NSEC_PER_USEC = 1_000

#: 2026-01-01T00:00:00Z: where virtual wall clocks start unless told otherwise.
VIRTUAL_EPOCH_NS = 1_767_225_600 * NSEC_PER_SEC

#: What a virtual monotonic clock shows at boot. Not zero, so that "0" can keep meaning "never".
VIRTUAL_BOOT_NS = NSEC_PER_SEC

#: An instant after every other one.
NEVER = 1 << 62


class Clock(Protocol):
    """What the kernel asks of a clock."""

    virtual: bool

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary point; never goes back (CLOCK_MONOTONIC)."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z (CLOCK_REALTIME)."""


class RealClock:
    """The machine's own clocks, read through references taken before any patching."""

    __slots__ = ("monotonic_ns", "time_ns")
    virtual = False

    def __init__(self) -> None:
        self.monotonic_ns = time.monotonic_ns
        self.time_ns = time.time_ns


class VirtualClock:
    """A clock that moves only when it is told to.

    ``epoch_ns`` is the wall-clock instant at boot, in nanoseconds since 1970.
    """

    __slots__ = ("_boot_to_epoch", "_now")
    virtual = True

    def __init__(self, epoch_ns: int = VIRTUAL_EPOCH_NS) -> None:
        self._now = VIRTUAL_BOOT_NS
        self._boot_to_epoch = epoch_ns - VIRTUAL_BOOT_NS

    def monotonic_ns(self) -> int:
        return self._now

    def time_ns(self) -> int:
        return self._now + self._boot_to_epoch

    def advance_to(self, instant_ns: int) -> None:
        """Move to ``instant_ns`` on the monotonic scale; an instant in the past leaves the clock alone."""
        if instant_ns > self._now:
            self._now = instant_ns
