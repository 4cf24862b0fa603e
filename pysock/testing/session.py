"""What the fixture `pysock` hands to a test."""

from __future__ import annotations

import random

from pysock.core.kernel import Kernel
from pysock.shim.hosts import hosts_of
from pysock.shim.patching import patch

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from pysock.core.clock import Clock
    from pysock.core.net import Net
    from pysock.lab.capture import Capture
    from pysock.shim.hosts import Hosts
    from pysock.vfs.task import Task

#: Small enough to be typed again.
_SEED_BITS = 32


class Session:
    """One test on one kernel: patched from `start` to `stop`.

    ``kernel``, ``net``, ``task``: the universe, its network namespace, the process that the test plays. ``hosts``:
    names that the test's programs can resolve. ``clock_name`` is "virtual" or "real".
    """

    def __init__(self, clock: str, seed: int | None) -> None:
        self.clock_name = clock
        self.seed = random.SystemRandom().getrandbits(_SEED_BITS) if seed is None else seed
        self.kernel = Kernel.boot(clock=clock, seed=self.seed)
        self._patch = patch(self.kernel)
        self.net: Net = self._patch.net
        self.task: Task = self._patch.task
        self._captures: list[Capture] = []

    @property
    def clock(self) -> Clock:
        """The kernel's clock: ``monotonic_ns()``, ``time_ns()``."""
        return self.kernel.clock

    @property
    def hosts(self) -> Hosts:
        """The hosts table: ``pysock.hosts.add("10.0.0.7", "db.example")``."""
        return hosts_of(self.net)

    def capture(self, path: str | os.PathLike[str]) -> Capture:
        """Write all packets from now on to ``path`` (pcapng), until the test ends or the result's ``close()`` is
        called.
        """
        from pysock.lab.capture import Capture

        capture = Capture(self.net, path)
        self._captures.append(capture)
        return capture

    def stop(self) -> None:
        """Undo the patch and finish the captures."""
        try:
            for capture in self._captures:
                capture.close()
        finally:
            self._patch.undo()

    def __repr__(self) -> str:
        return f"<pysock: clock={self.clock_name} seed={self.seed}>"
