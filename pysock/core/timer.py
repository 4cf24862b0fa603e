"""Timers: one heap per Kernel, lazy in both directions.

A `Timer` knows when it wants to run (``expires``); the heap knows when it will look at it (``queued_at``).
Pushing a timer further out only moves ``expires``: the old heap entry finds out when it comes up and queues
itself again. Cancelling only clears ``expires``. So a protocol that re-arms its retransmission timer for every
segment touches the heap once a timeout, not once a segment (Linux gets the same effect from its timer wheel).
And a timer enters the heap only when the queue is next run: one that was cancelled by then never does, which is the
fate of most timers of a short connection.

Timers run under the kernel lock, in softirq context, in order of their instants and, for equal instants, in
the order in which they were queued. They must not block.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from pysock.core.clock import NEVER


class Timer:
    """A function to call at an instant. Armed while ``expires`` is not NEVER."""

    __slots__ = ("expires", "function", "queued_at")

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function
        self.expires = NEVER
        self.queued_at = NEVER

    @property
    def pending(self) -> bool:
        """timer_pending(): armed and not yet run."""
        return self.expires != NEVER


class TimerQueue:
    """All timers of one Kernel.

    ``next_expiry`` is the instant (monotonic ns) of the earliest heap entry, NEVER when there is none; it may be
    early (a cancelled or postponed timer), never late. ``on_earlier`` is called when it moves to an earlier
    instant, so that a thread that sleeps on behalf of the timers can shorten its sleep.
    """

    __slots__ = ("_fresh", "_heap", "_order", "next_expiry", "on_earlier")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._fresh: list[tuple[int, int, Timer]] = []  # what the heap will get
        self._order = 0
        self.next_expiry = NEVER
        self.on_earlier: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._heap) + len(self._fresh)

    def mod_timer(self, timer: Timer, expires: int) -> None:
        """Arm ``timer`` for ``expires`` (monotonic ns), or move it there (mod_timer)."""
        timer.expires = expires
        if expires < timer.queued_at:
            self._push(timer, expires)

    def del_timer(self, timer: Timer) -> bool:
        """Disarm ``timer``; True when it was armed (del_timer). Its heap entry goes when it comes up."""
        was_pending = timer.expires != NEVER
        timer.expires = NEVER
        return was_pending

    def run(self, now: int) -> int:
        """Run every timer whose instant is at or before ``now``; return how many ran."""
        heap = self._heap
        ran = 0
        while self._refill() and heap[0][0] <= now:
            queued_at, _, timer = heappop(heap)
            if timer.queued_at != queued_at:
                continue  # superseded by an earlier entry of the same timer
            timer.queued_at = NEVER
            expires = timer.expires
            if expires > now:
                if expires != NEVER:
                    self._push(timer, expires)  # postponed since it was queued
                continue
            timer.expires = NEVER
            ran += 1
            self.next_expiry = heap[0][0] if heap else NEVER
            timer.function()
        self.next_expiry = heap[0][0] if heap else NEVER
        return ran

    def settle(self) -> int:
        """Drop stale entries from the top of the heap and return the true next instant (NEVER if none).

        A virtual clock asks before it jumps: jumping to a cancelled timer's instant would be visible.
        """
        heap = self._heap
        while self._refill():
            queued_at, _, timer = heap[0]
            if timer.queued_at == queued_at and timer.expires == queued_at:
                break
            heappop(heap)
            if timer.queued_at == queued_at:
                timer.queued_at = NEVER
                if timer.expires != NEVER:
                    self._push(timer, timer.expires)
        self.next_expiry = heap[0][0] if heap else NEVER
        return self.next_expiry

    def _refill(self) -> bool:
        """Put what is fresh and still armed into the heap; True unless that is empty then."""
        if self._fresh:
            for entry in self._fresh:
                queued_at, _, timer = entry
                if timer.queued_at == queued_at:
                    if timer.expires == NEVER:
                        timer.queued_at = NEVER
                    else:
                        heappush(self._heap, entry)
            self._fresh.clear()
        return bool(self._heap)

    def _push(self, timer: Timer, expires: int) -> None:
        timer.queued_at = expires
        self._order += 1
        self._fresh.append((expires, self._order, timer))
        if expires < self.next_expiry:
            self.next_expiry = expires
            if self.on_earlier is not None:
                self.on_earlier()
