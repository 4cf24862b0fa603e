"""What the fixture `pysock` hands to a test."""

from __future__ import annotations

import random

from pysock.core.kernel import Kernel
from pysock.lab.recorder import FlightRecorder
from pysock.shim.hosts import Hosts, hosts_of
from pysock.shim.patching import patch

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from pysock.core.clock import Clock
    from pysock.core.net import Net
    from pysock.lab.capture import Capture
    from pysock.lab.host import Host
    from pysock.lab.network import Network
    from pysock.testing.settings import Settings
    from pysock.vfs.task import Task

#: Small enough to be typed again.
_SEED_BITS = 32


class Session:
    """One test on one kernel: patched from its making to `stop`.

    ``kernel``, ``net``, ``task``: the universe, its network namespace, the process that the test plays. ``settings``
    is what was asked for, ``seed`` the seed in use.

    With a driver other than "loopback", the test's own machine has a network card of that driver from the start, with
    `peer` at the other end of its cable. OSError where the driver cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.seed = random.SystemRandom().getrandbits(_SEED_BITS) if settings.seed is None else settings.seed
        self.kernel = Kernel.boot(clock=settings.clock, seed=self.seed)
        self.kernel.init_net.set(Hosts(settings.host))
        self.recorder = FlightRecorder(self.kernel.init_net) if settings.capture != "off" else None
        self._captures: list[Capture] = []
        self._network: Network | None = None
        self._peer: Host | None = None
        self._patch = patch(self.kernel)
        self.net: Net = self._patch.net
        self.task: Task = self._patch.task
        if settings.driver != "loopback":
            try:
                self.peer  # noqa: B018  # plugs the cable in
            except BaseException:
                self.stop()
                raise

    @property
    def clock(self) -> Clock:
        """The kernel's clock: ``monotonic_ns()``, ``time_ns()``."""
        return self.kernel.clock

    @property
    def hosts(self) -> Hosts:
        """The hosts table: ``pysock.hosts.add("10.0.0.7", "db.example")``."""
        return hosts_of(self.net)

    @property
    def network(self) -> Network:
        """A network of hosts on the test's kernel, empty at first: ``a, b = pysock.network.hosts("a", "b")``. Its
        cables are made of the test's driver.
        """
        if self._network is None:
            from pysock.lab.network import Network

            self._network = Network(kernel=self.kernel, task=self.task, driver=self.settings.driver)
        return self._network

    @property
    def host(self) -> Host:
        """The machine that the test itself plays, as a host of `network`: it can be linked to others."""
        return self.network.here

    @property
    def peer(self) -> Host:
        """A host at the other end of a cable from the test's own, called "peer"; the cable is ``peer.links[0]``."""
        if self._peer is None:
            network = self.network
            self._peer = network.host("peer")
            network.link(network.here, self._peer)
        return self._peer

    def capture(self, path: str | os.PathLike[str]) -> Capture:
        """Write all packets from now on to ``path`` (pcapng), until the test ends or the result's ``close()`` is
        called.
        """
        from pysock.lab.capture import Capture

        capture = Capture(self.net, path)
        self._captures.append(capture)
        return capture

    def sockets(self) -> str:
        """The table that `ss` would print of all sockets, open and half-open."""
        from pysock.tools.ss import ss_table

        return ss_table(self.net, timers=True)

    def stop(self) -> None:
        """Undo the patch and finish the captures."""
        try:
            for capture in self._captures:
                capture.close()
            if self.recorder is not None:
                self.recorder.stop()
            if self._network is not None:
                self._network.close()
        finally:
            self._patch.undo()

    def __repr__(self) -> str:
        wanted = self.settings
        return f"<pysock: clock={wanted.clock} seed={self.seed} driver={wanted.driver} host={wanted.host}>"
