"""The wire that all stations at a hub share: carrier sense, collisions, backoff (CSMA/CD, IEEE 802.3 clause 4).

    idle --send--> talking --end of frame--> gap --> idle
                   talking --somebody who cannot hear it yet sends--> jam --> gap --> idle

Who finds the wire busy waits for the end of the gap. Then all that wait begin at once: two of them collide, and two
collide as well who begin within the time that a bit takes between them. After a jam each tries again, after a random
number of slots out of twice as many each time; after 16 times it gives up.

Not here: collisions behind the first slot, which only a cable that is too long makes, and the fragments that receivers
see of a collision.
"""

from __future__ import annotations

from pysock.core.timer import Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.kernel import Kernel

ATTEMPTS: Final = 16
_BACKOFF_LIMIT: Final = 10
_SLOT: Final = 512  # bits
_JAM: Final = 64 + 32  # bits, with the preamble
_GAP: Final = 96
_MIN_FRAME: Final = 60
_AROUND: Final = 12  # bytes: preamble, FCS


class Station:
    """One that sends: ``arrived(station, frame)`` and ``done(station)`` of the medium are told when its frame is
    through, or given up. ``collisions``, ``deferred`` and ``aborted`` are those of its last frame.
    """

    __slots__ = ("aborted", "collisions", "deferred", "frame", "retry")

    def __init__(self, medium: Medium) -> None:
        self.frame: bytes | None = None
        self.collisions = 0
        self.deferred = self.aborted = False
        self.retry = Timer(lambda: medium.attempt(self))


class Medium:
    """``delay``: nanoseconds that a bit takes from any station to any other."""

    __slots__ = ("_arrived", "_began", "_bit", "_done", "_kernel", "_phase", "_rng", "_talker", "_timer", "_waiting",
                 "delay")  # fmt: skip

    def __init__(
        self,
        kernel: Kernel,
        mbit: int,
        delay: int,
        arrived: Callable[[Station, bytes], None],
        done: Callable[[Station], None],
    ) -> None:
        self._kernel = kernel
        self._bit = 1000 // mbit
        self.delay = min(delay, _SLOT * self._bit // 2)
        self._arrived = arrived
        self._done = done
        self._rng = kernel.random("csma")
        self._phase = "idle"
        self._began = 0
        self._talker: Station | None = None
        self._waiting: list[Station] = []
        self._timer = Timer(self._next)

    def send(self, station: Station, frame: bytes) -> None:
        """Begin to try; one frame at a time."""
        station.frame = frame
        station.collisions = 0
        station.deferred = station.aborted = False
        self.attempt(station)

    def withdraw(self, station: Station) -> None:
        """It is unplugged: its frame is lost."""
        station.frame = None
        self._kernel.timers.del_timer(station.retry)
        if station in self._waiting:
            self._waiting.remove(station)
        if station is self._talker:
            self._talker = None  # what is on the wire is a fragment now

    def attempt(self, station: Station) -> None:
        """It would begin now."""
        talker = self._talker
        if self._phase == "idle":
            self._begin([station])
        elif self._phase == "talking" and talker is not None and self._kernel.now < self._began + self.delay:
            self._collide([talker, station])
        else:
            station.deferred = station.deferred or self._phase != "gap"
            self._waiting.append(station)

    def _begin(self, stations: list[Station]) -> None:
        if len(stations) > 1:
            self._collide(stations)
            return
        (self._talker,) = stations
        frame = self._talker.frame
        assert frame is not None
        self._began = self._kernel.now
        self._enter("talking", (max(len(frame), _MIN_FRAME) + _AROUND) * 8 * self._bit)

    def _collide(self, stations: list[Station]) -> None:
        self._talker = None
        self._enter("jam", _JAM * self._bit)
        kernel = self._kernel
        for station in stations:
            station.collisions += 1
            if station.collisions >= ATTEMPTS:
                station.frame, station.aborted = None, True
                self._done(station)
                continue
            slots = self._rng.randrange(1 << min(station.collisions, _BACKOFF_LIMIT))
            kernel.timers.mod_timer(station.retry, kernel.now + (_JAM + slots * _SLOT) * self._bit)

    def _enter(self, phase: str, nanoseconds: int) -> None:
        self._phase = phase
        self._kernel.timers.mod_timer(self._timer, self._kernel.now + nanoseconds)

    def _next(self) -> None:
        """A phase is over."""
        if self._phase == "gap":
            self._phase = "idle"
            waiting, self._waiting = self._waiting, []
            if waiting:
                self._begin(waiting)
            return
        station, self._talker = self._talker, None
        self._enter("gap", _GAP * self._bit)
        if station is not None and station.frame is not None:
            frame, station.frame = station.frame, None
            self._arrived(station, frame)
            self._done(station)
