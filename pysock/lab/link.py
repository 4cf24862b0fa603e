"""Link: a cable between two hosts, or a host and a switch (`media.py` knows of what), and a queueing discipline at each
end for what is wrong with it.

    net.link(a, b, delay="20ms", jitter="5ms", loss="1%", rate="10mbit")
    link.set(loss="50%", to=b)          worse, in one direction
    link.drop("syn", nth=2)             a fault at a moment
    link.down(); link.up()              unplugged, and plugged in again

All impairments count for each direction by itself: a ``delay`` of 20 ms is a round-trip time of 40 ms.
"""

from __future__ import annotations

from pysock.core.qdisc import qdisc_create, qdisc_graft
from pysock.core.timer import Timer
from pysock.lab.faults import CORRUPT, DELAY, DROP, DUPLICATE, Fault, FaultyQueue
from pysock.lab.units import count, impairments, nanoseconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from ipaddress import IPv4Address, IPv6Address

    from pysock.core.netdevice import NetDevice
    from pysock.lab.addressing import Segment
    from pysock.lab.host import Host
    from pysock.lab.media import Medium
    from pysock.lab.netcapture import NetworkCapture
    from pysock.lab.network import Network
    from pysock.lab.packet import Condition
    from pysock.lab.switch import Switch


class End:
    """One end of a link: what ``owner`` sends here goes to ``peer``. ``cut`` are the hosts whose packets are lost on
    the way there (a partition), ``options`` netem's; ``addresses`` and ``segment`` a host's here.
    """

    __slots__ = ("addresses", "cut", "dev", "faults", "options", "owner", "peer", "segment")

    def __init__(self, owner: Host | Switch, dev: NetDevice) -> None:
        self.owner = owner
        self.dev = dev
        self.peer: End = self
        self.segment: Segment | None = None
        self.addresses: list[IPv4Address | IPv6Address] = []
        self.options: dict[str, object] = {}
        self.faults: list[Fault] = []
        self.cut: list[Host] = []

    def refresh(self) -> None:
        """Have the discipline that what is asked for needs, or none; what waits goes on waiting."""
        dev = self.dev
        kernel = dev.kernel
        kernel.enter()
        try:
            queue = dev.qdisc
            if isinstance(queue, FaultyQueue):
                if self.options or self.faults or self.cut or queue.qlen:
                    queue.change(**self.options)  # type: ignore[arg-type]  # checked by units.impairments
                else:
                    qdisc_graft(dev, qdisc_create(dev, "noqueue"))
            elif self.options or self.faults or self.cut:
                qdisc_graft(dev, FaultyQueue(self, self.options))
        finally:
            kernel.leave()

    def __repr__(self) -> str:
        return f"<End {self.owner.name}/{self.dev.name}>"


class Link:
    """See the module. ``a`` and ``b`` are what it connects, ``ends`` its two ends, ``medium`` what it is made of."""

    __slots__ = ("_flaps", "_timer", "ends", "medium", "name", "network", "plugged")

    def __init__(self, network: Network, one: End, other: End, medium: Medium) -> None:
        self.network = network
        self.medium = medium
        self.ends = (one, other)
        one.peer, other.peer = other, one
        self.name = f"{one.owner.name}-{other.owner.name}"
        self.plugged = True
        self._timer: Timer | None = None
        self._flaps = (0, 0, 0)

    @property
    def a(self) -> Host | Switch:
        return self.ends[0].owner

    @property
    def b(self) -> Host | Switch:
        return self.ends[1].owner

    def _towards(self, to: Host | Switch | None) -> tuple[End, ...]:
        """The ends that send to ``to``; both when it is None."""
        if to is None:
            return self.ends
        found = tuple(end for end in self.ends if end.peer.owner is to)
        if not found:
            raise ValueError(f"{self.name} does not lead to {to!r}")
        return found

    # -- impairments -----------------------------------------------------------------------------------------

    def set(self, *, to: Host | Switch | None = None, **wishes: object) -> None:
        """Make the link so bad, in both directions or only towards ``to``; what is not named is perfect again.

        delay, jitter ("20ms"), distribution ("uniform", "normal"), loss, duplicate, corrupt, reorder ("1%"), each with
        a NAME_correlation; gemodel, rate ("10mbit"), limit (packets that wait; 1000), gap. ValueError, naming what is
        right.
        """
        options = impairments(wishes)
        for end in self._towards(to):
            end.options = options
            end.refresh()

    # -- faults at a moment ----------------------------------------------------------------------------------

    def _fault(self, action: str, when: str | Condition, to: Host | Switch | None, times: int | None, nth: int | None,
               delay: int = 0) -> Fault:  # fmt: skip
        ends = self._towards(to)
        fault = Fault(action, when, ends, times=times, nth=nth, delay=delay)
        for end in ends:
            end.faults.append(fault)
            end.refresh()
        return fault

    def drop(self, when: str | Condition = "any", *, times: int | None = None, nth: int | None = None,
             to: Host | Switch | None = None) -> Fault:  # fmt: skip
        """Lose the packets that meet ``when``: a name (`packet.CONDITIONS`) or a function of a `packet.Seen`.

        All of them, or ``times`` many, or only the ``nth`` (and with ``times``, those that follow it). The result
        counts them, and ends it with ``cancel()``.
        """
        return self._fault(DROP, when, to, times, nth)

    def drop_nth(self, when: str | Condition, nth: int, *, to: Host | Switch | None = None) -> Fault:
        """Lose the ``nth`` packet (from 1) that meets ``when``."""
        return self.drop(when, nth=nth, to=to)

    def duplicate(self, when: str | Condition = "any", *, times: int | None = None, nth: int | None = None,
                  to: Host | Switch | None = None) -> Fault:  # fmt: skip
        """Send them twice."""
        return self._fault(DUPLICATE, when, to, times, nth)

    def corrupt(self, when: str | Condition = "any", *, times: int | None = None, nth: int | None = None,
                to: Host | Switch | None = None) -> Fault:  # fmt: skip
        """Turn over one bit of each."""
        return self._fault(CORRUPT, when, to, times, nth)

    def delay(self, by: str | float, when: str | Condition = "any", *, times: int | None = None,
              nth: int | None = None, to: Host | Switch | None = None) -> Fault:  # fmt: skip
        """Hold them back ``by`` so much longer; others overtake them."""
        return self._fault(DELAY, when, to, times, nth, nanoseconds(by, "by"))

    def clear(self) -> None:
        """End all faults of this link; impairments stay."""
        for end in self.ends:
            end.faults.clear()
            end.refresh()

    # -- the plug --------------------------------------------------------------------------------------------

    def down(self) -> None:
        """Unplug it: neither side has a carrier, and what is on its way is lost."""
        self._plug(False)

    def up(self) -> None:
        """Plug it in again."""
        self._plug(True)

    def flap(self, down: str | float = "100ms", up: str | float = "100ms", times: int = 1) -> None:
        """From now on, be down for so long and up for so long, ``times`` times."""
        self._flaps = (nanoseconds(down, "down"), nanoseconds(up, "up"), count(times, "times"))
        self._plug(False)
        if self._timer is None:
            self._timer = Timer(self._flap)
        kernel = self.network.kernel
        kernel.timers.mod_timer(self._timer, kernel.enter() + self._flaps[0])
        kernel.leave()

    def _flap(self) -> None:
        down, up, left = self._flaps
        self.plugged = not self.plugged
        self.refresh_carrier()
        if self.plugged:
            left -= 1
        self._flaps = (down, up, left)
        if left and self._timer is not None:
            kernel = self.network.kernel
            kernel.timers.mod_timer(self._timer, kernel.now + (up if self.plugged else down))

    def _plug(self, plugged: bool) -> None:
        kernel = self.network.kernel
        kernel.enter()
        try:
            if self._timer is not None:
                kernel.timers.del_timer(self._timer)
            self.plugged = plugged
            self.refresh_carrier()
        finally:
            kernel.leave()

    def refresh_carrier(self) -> None:
        """Both ends have a carrier while it is plugged in and both sides have power. Needs the kernel lock."""
        one, other = self.ends
        self.medium.set_link(one.dev, other.dev, self.plugged and one.owner.powered and other.owner.powered)

    # -- looking at it ---------------------------------------------------------------------------------------

    def capture(self, path: str | os.PathLike[str] | None = None) -> NetworkCapture:
        """Every packet on this link from now on, in memory or in a pcapng file: see `Network.capture`."""
        return self.network.capture(path, links=[self])

    def __repr__(self) -> str:
        return f"<Link {self.name} ({self.medium.name}) {'up' if self.plugged else 'down'}>"
