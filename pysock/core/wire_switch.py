"""Hubs and learning switches for the cards of core/wire.py, at the level of frames.

    switch = Switch(kernel, ports=4);  card.plug(switch.ports[0])

Each port of a switch is a cable of its own to whatever is plugged in: it has its bit rate, and with a kernel it stores
and forwards, with a queue for each way out. The ports of a hub with a kernel are one wire, on which frames collide.
Both drop damaged frames; a hub could not, but has nobody to tell.
"""

from __future__ import annotations

from pysock.core.wire import ABLE_10, ABLE_10HALF, ABLE_100HALF, ABLE_ALL, Lane, WireClient, WirePort
from pysock.core.wire_csma import Medium, Station

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel

QUEUE = 128  # frames that wait for one way out
AGEING = 300 * 1_000_000_000  # ns after which a station is forgotten (802.1D)
TABLE = 1024  # stations that a switch remembers


class HubPort(WirePort):
    """One socket of a hub or switch. ``enabled`` False: no link."""

    __slots__ = ("enabled", "hub", "inbound", "number", "outbound", "station")

    def __init__(self, hub: Hub, number: int, kernel: Kernel | None, mbit: int, delay: int) -> None:
        WirePort.__init__(self)
        self.hub = hub
        self.number = number
        self.enabled = True
        self.inbound = Lane(kernel, mbit, delay, self._from_card, self.card_done)
        self.outbound = Lane(kernel, mbit, delay, self._to_card, lambda: None)
        self.station: Station | None = None

    def attach(self, client: WireClient) -> None:
        self.client = client
        client.link_changed()

    def detach(self) -> None:
        self.client = None
        self._cut()

    def _cut(self) -> None:
        self.inbound.cut()
        self.outbound.cut()
        if self.station is not None and self.hub.medium is not None and self.station.frame is not None:
            self.hub.medium.withdraw(self.station)
            self.inbound.lost += 1
            self.card_done()

    def set_enabled(self, enabled: bool) -> None:
        """Switch the port on or off: the card sees its link come and go."""
        self.enabled = enabled
        if not enabled:
            self._cut()
        if self.client is not None:
            self.client.link_changed()

    def link(self) -> bool:
        return self.enabled and self.client is not None

    def partner(self) -> int:
        return self.hub.abilities if self.link() else 0

    def transmit(self, frame: bytes) -> bool:
        if not self.link():
            return True
        medium = self.hub.medium
        if medium is None:
            return self.inbound.send(frame)
        if self.station is None:
            self.station = Station(medium)
            self.hub.stations[self.station] = self
        medium.send(self.station, frame)
        return False

    def outcome(self) -> tuple[int, bool, bool]:
        station = self.station
        return (0, False, False) if station is None else (station.collisions, station.deferred, station.aborted)

    def _from_card(self, frame: bytes, damage: int) -> None:
        if not damage and self.enabled:
            self.hub.forward(self, frame)

    def repeat(self, frame: bytes) -> None:
        """What another station sent, bit for bit."""
        if self.link():
            self.outbound.sent += 1
            self._to_card(frame, 0)

    def _to_card(self, frame: bytes, damage: int) -> None:
        if self.client is not None and self.enabled:
            self.client.receive(frame, damage)

    def card_done(self) -> None:
        if self.client is not None:
            self.client.transmit_done()


class Hub:
    """Repeats every frame to all other ports. Cards negotiate half duplex with it.

    With a kernel, ``delay`` is what a bit takes between two stations, and ``medium`` where their frames meet.
    """

    __slots__ = ("_forwarding", "abilities", "loops", "medium", "ports", "stations")
    shared = True

    def __init__(self, kernel: Kernel | None = None, ports: int = 4, mbit: int = 100, delay: int = 0) -> None:
        self.abilities = ABLE_10HALF | ABLE_100HALF if mbit >= 100 else ABLE_10HALF
        self.ports = [HubPort(self, number, kernel, mbit, delay) for number in range(ports)]
        self.loops = 0  # frames dropped because they came back while they were being forwarded
        self._forwarding = False
        self.stations: dict[Station, HubPort] = {}
        self.medium: Medium | None = None
        if kernel is not None and self.shared:
            self.medium = Medium(kernel, mbit, delay, self._repeat, lambda station: self.stations[station].card_done())

    def _repeat(self, station: Station, frame: bytes) -> None:
        sender = self.stations[station]
        for out in self.ports:
            if out is not sender:
                out.repeat(frame)

    def forward(self, port: HubPort, frame: bytes) -> None:
        """Take a frame from ``port``. An immediate hub drops what comes back to it meanwhile: it is in a loop."""
        if self._forwarding:
            self.loops += 1
            return
        self._forwarding = True
        try:
            for out in self.targets(port, frame):
                out.outbound.offer(frame, QUEUE)
        finally:
            self._forwarding = False

    def targets(self, port: HubPort, frame: bytes) -> list[HubPort]:
        """The ports that ``frame`` leaves by."""
        return [out for out in self.ports if out is not port and out.link()]


class Switch(Hub):
    """A learning bridge: sends a frame where its destination was last seen, floods what it does not know."""

    __slots__ = ("_kernel", "table")
    shared = False

    def __init__(self, kernel: Kernel | None = None, ports: int = 4, mbit: int = 100, delay: int = 0) -> None:
        Hub.__init__(self, kernel, ports, mbit, delay)
        self.abilities = ABLE_ALL if mbit >= 100 else ABLE_10
        self._kernel = kernel
        self.table: dict[bytes, tuple[HubPort, int]] = {}  # by address: the port, and when it was last heard

    def targets(self, port: HubPort, frame: bytes) -> list[HubPort]:
        if len(frame) < 14 or frame[:5] == b"\x01\x80\xc2\0\0":  # link-local groups stay on their link (802.1D 7.12.6)
            return []
        now = self._kernel.now if self._kernel is not None else 0
        source = frame[6:12]
        if not source[0] & 1:
            if len(self.table) >= TABLE and source not in self.table:
                del self.table[next(iter(self.table))]
            self.table[source] = (port, now)
        found = self.table.get(frame[:6])
        if found is None or now - found[1] > AGEING or frame[0] & 1:
            return Hub.targets(self, port, frame)
        out = found[0]
        return [out] if out is not port and out.link() else []
