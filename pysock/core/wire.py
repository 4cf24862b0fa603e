"""The wire end of a network card: ports, and the cables between them.

    card --WireClient-- WirePort ~~~~ Lane ~~~~ WirePort --WireClient-- card

A card talks to a `WirePort`, whatever is behind it: a `Cable` here, a hub or switch (core/wire_switch.py), or
something that leaves the process. Frames are Ethernet without preamble and FCS, which every medium here computes
right; what went wrong on the way comes with the frame as DAMAGE_* bits.

Time: a medium made with ``kernel=None`` is immediate: a frame is at the other end before `transmit` returns. With a
kernel it takes the time of its bits (preamble, FCS and gap included), plus the delay, on the kernel's clock. Everything
runs under the kernel lock. Both directions are separate; at a hub, and only there, they are one (wire_csma.py).
"""

from __future__ import annotations

from collections import deque

from pysock.core.timer import Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.kernel import Kernel

DAMAGE_CRC = 1  # bits flipped
DAMAGE_ALIGN = 2  # not a whole number of bytes

# What a port can do, as the technology ability field of autonegotiation (IEEE 802.3 clause 28) has it.
ABLE_10HALF = 0x0020
ABLE_10FULL = 0x0040
ABLE_100HALF = 0x0080
ABLE_100FULL = 0x0100
ABLE_PAUSE = 0x0400
ABLE_ALL = ABLE_10HALF | ABLE_10FULL | ABLE_100HALF | ABLE_100FULL | ABLE_PAUSE
ABLE_10 = ABLE_10HALF | ABLE_10FULL | ABLE_PAUSE

_MIN_FRAME = 60
_OVERHEAD = 24  # preamble 8, FCS 4, gap 12


class WireClient:
    """What a card is to its port."""

    __slots__ = ()

    def receive(self, frame: bytes, damage: int) -> None:
        """A frame arrives; ``damage`` is 0 or DAMAGE_* bits. Must not raise."""

    def transmit_done(self) -> None:
        """The frame of a `transmit` that answered False is out: the next one may follow."""

    def link_changed(self) -> None:
        """Look at `WirePort.link` and `WirePort.partner` again."""


class WirePort:
    """Where a card plugs in. The base class is a socket in the wall with nothing behind it."""

    __slots__ = ("client",)

    def __init__(self) -> None:
        self.client: WireClient | None = None

    def attach(self, client: WireClient) -> None:
        """Plug a card in."""
        self.client = client

    def detach(self) -> None:
        """Pull it out; frames under way to it are lost."""
        self.client = None

    def link(self) -> bool:
        """Whether there is somebody at the other end."""
        return False

    def partner(self) -> int:
        """The ABLE_* bits that the other end advertises; 0 while there is none."""
        return 0

    def advertise(self, abilities: int) -> None:
        """What this end can do."""

    def transmit(self, frame: bytes) -> bool:
        """Send one frame. True: it is out. False: `WireClient.transmit_done` will say so; one at a time."""
        return True

    def outcome(self) -> tuple[int, bool, bool]:
        """How the last frame fared: its collisions, whether it had to wait for others, whether it was given up."""
        return 0, False, False


class Lane:
    """One direction of a wire. ``sink(frame, damage)`` gets what arrives, ``done()`` is called when a frame is out.

    ``tamper(frame)`` may return the (frame, damage) to arrive instead, or None to lose it. Counts ``sent`` and
    ``lost`` frames.
    """

    __slots__ = ("_done", "_flight", "_landing", "_queue", "_sending", "_timer", "busy", "delay", "kernel", "lost",
                 "ns_per_byte", "sent", "sink", "tamper")  # fmt: skip

    def __init__(
        self, kernel: Kernel | None, mbit: int, delay: int, sink: Callable[[bytes, int], None], done: Callable[[], None]
    ) -> None:
        self.kernel = kernel
        self.ns_per_byte = 8000 // mbit
        self.delay = delay
        self.sink = sink
        self._done = done
        self.tamper: Callable[[bytes], tuple[bytes, int] | None] | None = None
        self.busy = False
        self.sent = self.lost = 0
        self._sending = b""
        self._queue: deque[bytes] = deque()
        self._flight: deque[tuple[int, bytes]] = deque()
        self._timer = Timer(self._sent)
        self._landing = Timer(self._land)

    def send(self, frame: bytes) -> bool:
        """Put a frame on the wire; whether it is through already. Only when not `busy`."""
        kernel = self.kernel
        if kernel is None:
            self._arrive(frame)
            return True
        self.busy = True
        self._sending = frame
        size = max(len(frame), _MIN_FRAME) + _OVERHEAD
        kernel.timers.mod_timer(self._timer, kernel.now + size * self.ns_per_byte)
        return False

    def offer(self, frame: bytes, limit: int) -> None:
        """Send it now or when those before it are out; lost if ``limit`` frames wait. For switches."""
        if not self.busy:
            self.send(frame)
        elif len(self._queue) < limit:
            self._queue.append(frame)
        else:
            self.lost += 1

    def cut(self) -> None:
        """The wire is cut: what is on it is lost, and who was sending may go on."""
        self.lost += len(self._flight) + len(self._queue)
        self._flight.clear()
        self._queue.clear()
        if self.busy:
            self.lost += 1
            self.busy = False
            assert self.kernel is not None
            self.kernel.timers.del_timer(self._timer)
            self._done()

    def _sent(self) -> None:
        kernel = self.kernel
        assert kernel is not None
        self.busy = False
        frame = self._sending
        if self.delay:
            self._flight.append((kernel.now + self.delay, frame))
            if len(self._flight) == 1:
                kernel.timers.mod_timer(self._landing, kernel.now + self.delay)
        else:
            self._arrive(frame)
        if self._queue:
            self.send(self._queue.popleft())
        elif not self.busy:
            self._done()

    def _land(self) -> None:
        kernel = self.kernel
        assert kernel is not None
        flight = self._flight
        while flight and flight[0][0] <= kernel.now:
            self._arrive(flight.popleft()[1])
        if flight:
            kernel.timers.mod_timer(self._landing, flight[0][0])

    def _arrive(self, frame: bytes) -> None:
        damage = 0
        if self.tamper is not None:
            changed = self.tamper(frame)
            if changed is None:
                self.lost += 1
                return
            frame, damage = changed
        self.sent += 1
        self.sink(frame, damage)


def _nobody(frame: bytes, damage: int) -> None:
    """Where frames go that arrive at an end without a card."""


class CablePort(WirePort):
    """One end of a cable. ``linked``: both ends are plugged in, and it is whole."""

    __slots__ = ("abilities", "cable", "lane", "linked", "other")
    lane: Lane
    other: CablePort

    def __init__(self, cable: Cable) -> None:
        WirePort.__init__(self)
        self.cable = cable
        self.abilities = 0
        self.linked = False

    def attach(self, client: WireClient) -> None:
        self.client = client
        self.other.lane.sink = client.receive
        self.cable.changed()

    def detach(self) -> None:
        self.client = None
        self.other.lane.sink = _nobody
        self.abilities = 0
        self.lane.cut()
        self.cable.changed()

    def link(self) -> bool:
        return self.linked

    def partner(self) -> int:
        return self.other.abilities & self.cable.abilities if self.linked else 0

    def advertise(self, abilities: int) -> None:
        if abilities != self.abilities:
            self.abilities = abilities
            self.cable.changed()

    def transmit(self, frame: bytes) -> bool:
        lane = self.lane
        if not self.linked:
            lane.lost += 1
        elif lane.kernel is not None or lane.tamper is not None:
            return lane.send(frame)
        else:  # nothing between the two ends
            lane.sent += 1
            sink = lane.sink  # in two steps: calling what a slot holds in one is twice as slow
            sink(frame, 0)
        return True

    def sent(self) -> None:
        if self.client is not None:
            self.client.transmit_done()


class Cable:
    """A crossed cable with two ends, `a` and `b`: 10 or 100 Mbit/s, ``delay`` in ns each way (only with a kernel)."""

    __slots__ = ("_telling", "a", "abilities", "b", "up")

    def __init__(self, kernel: Kernel | None = None, mbit: int = 100, delay: int = 0) -> None:
        self.up = True
        self.abilities = ABLE_ALL if mbit >= 100 else ABLE_10
        self._telling = False
        self.a = CablePort(self)
        self.b = CablePort(self)
        for one, other in ((self.a, self.b), (self.b, self.a)):
            one.other = other
            one.lane = Lane(kernel, mbit, delay, _nobody, one.sent)

    def set_link(self, up: bool) -> None:
        """Cut the cable, or mend it."""
        if up == self.up:
            return
        self.up = up
        if not up:
            self.a.lane.cut()
            self.b.lane.cut()
        self.changed()

    def changed(self) -> None:
        """Tell both ends, until neither has anything new to say."""
        self.a.linked = self.b.linked = self.up and self.a.client is not None and self.b.client is not None
        if self._telling:
            return
        self._telling = True
        try:
            for _ in range(2):  # what the first end advertises in answer is news to the second
                for port in (self.a, self.b):
                    if port.client is not None:
                        port.client.link_changed()
        finally:
            self._telling = False
