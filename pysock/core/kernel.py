"""Kernel: one universe. Its clock, its lock, its timers, its packets, its plugins; two of them never meet.

How a call passes through (every system call has this shape):

    kernel.acquire()            the big lock
    try:
        ...                     process context: read state, queue packets, arm timers
    finally:
        kernel.leave()          pending softirqs run, the lock is released, then sleepers are woken

Rules that keep it true:

* The lock is an RLock only because a finalizer or a signal handler may run in the middle of anything. A finalizer
  must not enter a kernel that its own thread is in: it hands its work to `defer`, which does it at once when it can.
* Nobody blocks with the lock held, except through `Sleeper.wait_on`, which gives it up.
* `leave` is the only way out. A raw release would leave packets unprocessed and sleepers asleep.
* ``now`` is the instant at which the running call entered, read once: `enter` is acquire + a look at the clock and
  the timers.

Chance comes from `Kernel.random`: one seeded stream for each concern, so that one more draw for one concern does not
reshuffle the others.
"""

from __future__ import annotations

import errno
import itertools
import random
import threading

from pysock.core.capability import Credentials
from pysock.core.clock import NEVER, Clock, RealClock, VirtualClock
from pysock.core.contain import ErrorReporter
from pysock.core.dev import DeviceLayer
from pysock.core.errors import err
from pysock.core.net import Net
from pysock.core.registry import FamilyRegistry
from pysock.core.skb_debug import SkbChecker
from pysock.core.softirq import SoftnetData
from pysock.core.timer import TimerQueue
from pysock.core.wait import Sleeper, Sleepers
from pysock.plugin.manager import Plugins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pysock.core.pci import PciBus
    from pysock.core.skbuff import SkBuff

#: More CPUs there are not.
NR_CPUS = 256

#: The plugins that make pysock what it is out of the box; registered like anybody else's.
BUILTIN_PLUGINS = (
    "pysock.drivers.plugin",
    "pysock.sched.plugin",
    "pysock.families.inet.plugin",
    "pysock.families.inet6.plugin",
    "pysock.families.unix.plugin",
)


class Kernel:
    """One simulated operating-system kernel's network half. Make it with `Kernel.boot`."""

    __slots__ = (
        "__weakref__",
        "_deferred",
        "_late",
        "_options",
        "_pci",
        "_release",
        "_rngs",
        "_sleepers",
        "acquire",
        "clock",
        "clock_ns",
        "cpus",
        "creds",
        "debug_skb",
        "dev_layer",
        "errors",
        "families",
        "init_net",
        "keeper",
        "lock",
        "lookout",
        "net_ids",
        "netns",
        "now",
        "parked",
        "participants",
        "plugins",
        "seed",
        "softnet",
        "timers",
        "wakeups",
        "wakings",
    )

    def __init__(self, clock: Clock, seed: int, log: Callable[[str], None] | None = None, cpus: int = 1) -> None:
        self.clock = clock
        self.clock_ns = clock.monotonic_ns
        self.seed = seed
        self._rngs: dict[str, random.Random] = {}
        self.lock = threading.RLock()
        self.acquire = self.lock.acquire
        self._release = self.lock.release
        self.now = clock.monotonic_ns()
        self.timers = TimerQueue()
        self.timers.on_earlier = self._timer_moved
        self.wakeups: list[Sleeper] = []
        self.parked: list[Sleeper] = []
        self.keeper: Sleeper | None = None
        self.lookout: Sleeper | None = None
        self.participants = 0
        self.wakings = 0
        self._sleepers = Sleepers()
        self._deferred: list[Callable[[], None]] = []
        self._late: list[Callable[[], None]] = []
        self._options: dict[str, Any] = {}
        self.errors = ErrorReporter() if log is None else ErrorReporter(log)
        self.creds = Credentials()
        self.families = FamilyRegistry(self)
        self.dev_layer = DeviceLayer(self)
        self.softnet = SoftnetData(self.dev_layer.receive_skb, self.errors)
        self.cpus: tuple[SoftnetData, ...] = (self.softnet,)
        if cpus > 1:
            self._add_cpus(cpus)
        self.debug_skb: SkbChecker | None = None
        self._pci: PciBus | None = None
        self.netns: list[Net] = []
        self.init_net: Net = None  # type: ignore[assignment]  # boot() makes it
        self.plugins: Plugins = None  # type: ignore[assignment]  # boot() loads them
        self.net_ids = itertools.count(1)

    @classmethod
    def boot(
        cls,
        *,
        clock: str | Clock = "real",
        seed: int | None = None,
        plugins: Iterable[str] = (),
        entry_points: bool = True,
        strict: bool = False,
        blocked: Iterable[str] = (),
        log: Callable[[str], None] | None = None,
        debug_skb: bool = False,
        cpus: int = 1,
    ) -> Kernel:
        """Bring a kernel up: plugins, families, drivers, and a first namespace with its loopback device up.

        ``clock`` is "real", "virtual" or a Clock; ``seed`` fixes everything that is left to chance (None: the
        operating system chooses); ``plugins`` are more module names to load; ``entry_points=False`` ignores installed
        distributions. A plugin that fails is reported and left out, unless ``strict``: then PluginError. ``debug_skb``
        checks every packet that enters the receive path for broken rules of sharing (core/skb_debug.py), and lets
        `SkbPanic` out of the call that met it. ``cpus`` simulated CPUs take part in receiving (core/smp.py).
        """
        if isinstance(clock, str):
            if clock not in ("real", "virtual"):
                raise ValueError(f"clock must be 'real' or 'virtual', not {clock!r}")
            clock = VirtualClock() if clock == "virtual" else RealClock()
        if not 1 <= cpus <= NR_CPUS:
            raise ValueError(f"cpus must be 1 to {NR_CPUS}, not {cpus!r}")
        if seed is None:
            seed = random.SystemRandom().getrandbits(32)
        plugins, blocked = tuple(plugins), tuple(blocked)
        kernel = cls(clock, seed, log, cpus)
        kernel._options = {
            "plugins": plugins,
            "entry_points": entry_points,
            "strict": strict,
            "blocked": blocked,
            "log": log,
            "debug_skb": debug_skb,
            "cpus": cpus,
        }
        if debug_skb:
            kernel.debug_skb = SkbChecker()
            kernel.softnet.use(kernel._checked_receive)
        kernel._load(plugins, entry_points, strict, blocked)
        kernel.acquire()
        try:
            kernel.init_net = kernel.new_net("init_net")
        finally:
            kernel.leave()
        return kernel

    def _load(self, plugins: Iterable[str], entry_points: bool, strict: bool, blocked: Iterable[str]) -> None:
        self.plugins = Plugins(
            builtins=BUILTIN_PLUGINS,
            modules=tuple(plugins),
            entry_points=entry_points,
            strict=strict,
            blocked=tuple(blocked),
            errors=self.errors,
        )
        self.plugins.call_registration("pysock_register_families", self.families.registrar)
        self.plugins.call_registration("pysock_register_drivers", self.dev_layer.driver_registrar)
        self.plugins.call_registration("pysock_register_qdiscs", self.dev_layer.qdisc_registrar)

    # -- CPUs ----------------------------------------------------------------------------------------------

    def _add_cpus(self, number: int) -> None:
        from pysock.core.smp import Front

        front = Front(number, self.dev_layer.receive_skb, self.errors)
        self.softnet = front
        self.cpus = front.cpus
        acquire = self.lock.acquire
        entered = front.entered

        def acquire_somewhere(blocking: bool = True, timeout: float = -1) -> bool:
            taken = acquire(blocking, timeout)
            if taken:
                entered()
            return taken

        self.acquire = acquire_somewhere

    def set_cpu(self, cpu: int) -> None:
        """The calling thread, or asyncio task, runs on ``cpu`` from now on (sched_setaffinity); it began on CPU 0.
        EINVAL for one that there is not.
        """
        if not 0 <= cpu < len(self.cpus):
            raise err(errno.EINVAL)
        if len(self.cpus) > 1:
            self.softnet.place.set(cpu)  # type: ignore[attr-defined]  # a Front, of several CPUs

    @property
    def pci(self) -> PciBus:
        """The bus of the simulated machine, made when first asked for. PluginError for a plugin's PCI drivers, if the
        kernel is strict.
        """
        if self._pci is None:
            from pysock.core.pci import PciBus

            self._pci = PciBus(self)
            self.plugins.call_registration("pysock_register_pci_drivers", self._pci.driver_registrar)
        return self._pci

    # -- entering and leaving ------------------------------------------------------------------------------

    def enter(self) -> int:
        """Take the lock, read the clock, run the timers that are due; return the instant (monotonic ns)."""
        acquire = self.acquire  # two steps: calling what a slot holds in one is twice as slow
        acquire()
        clock_ns = self.clock_ns
        now = self.now = clock_ns()
        if now >= self.timers.next_expiry:
            self.timers.run(now)
        return now

    def tick(self) -> int:
        """Read the clock again within a call, and run the timers that are due; return the instant."""
        clock_ns = self.clock_ns
        now = self.now = clock_ns()
        if now >= self.timers.next_expiry:
            self.timers.run(now)
        return now

    def leave(self) -> None:
        """Run what is pending, release the lock, wake the sleepers that were rung for."""
        try:
            if self.softnet.pending:
                self.softnet.run()
            if self._deferred:
                self._run_deferred()
        finally:
            if self.wakeups or self._late:
                self._release_and_wake()
            else:
                release = self._release
                release()

    def _release_and_wake(self) -> None:
        wakeups = self.wakeups
        self.wakeups = []
        late = self._late
        self._late = []
        self._release()
        try:
            for sleeper in wakeups:
                sleeper.ring()
        except BaseException:  # a signal handler raised: nobody may be left asleep for that
            for sleeper in wakeups:
                sleeper.ring()
            raise
        finally:
            _run_all(late)

    def after_leave(self, work: Callable[[], None]) -> None:
        """Do ``work`` when the call that this thread is in has left the kernel, without the lock and after everybody
        was woken. It may raise: that comes out of the call. For signal handlers.
        """
        self._late.append(work)

    def defer(self, work: Callable[[], None]) -> None:
        """Do ``work`` under the lock: now if this thread is not in the kernel, else when it leaves. For finalizers."""
        self._deferred.append(work)
        if not self.lock._is_owned():  # type: ignore[attr-defined]  # RLock has it; typeshed does not
            self.acquire()
            self.leave()

    def at_leave(self, work: Callable[[], None]) -> None:
        """Do ``work`` under the lock at the end of the call that this thread is in, or when it next sleeps."""
        self._deferred.append(work)

    def _run_deferred(self) -> None:
        while self._deferred:
            self._deferred.pop(0)()
            if self.softnet.pending:
                self.softnet.run()

    def _checked_receive(self, skb: SkBuff) -> int:
        """The receive path of a kernel that debugs packets."""
        assert self.debug_skb is not None
        self.debug_skb.check(skb)
        return self.dev_layer.receive_skb(skb)

    # -- waiting -------------------------------------------------------------------------------------------

    def sleeper(self) -> Sleeper:
        """The calling thread's ability to sleep here; a thread that asks takes part in virtual time from then on."""
        return self._sleepers.mine(self)

    def sleep(self, nanoseconds: int) -> None:
        """Sleep for ``nanoseconds`` of this kernel's time (clock_nanosleep)."""
        deadline = self.enter() + nanoseconds
        try:
            sleeper = self.sleeper()
            while sleeper.wait_on(None, deadline):
                pass
        finally:
            self.leave()

    def all_asleep(self) -> bool:
        """Whether every thread that takes part in virtual time sleeps, and none was rung."""
        return len(self.parked) >= self.participants and not self._somebody_was_rung()

    def _somebody_was_rung(self) -> bool:
        return any(sleeper.woken or sleeper.queued for sleeper in self.parked)

    def advance(self, wakings: int | None = None) -> bool:
        """Virtual time: jump to the next timer and run it. False when there is none.

        A thread that found everybody else asleep, or blocked, says how many ``wakings`` there had been before it
        looked. If somebody has woken up since, or is about to, the clock stays: a thread is rung, leaves ``parked`` and
        goes to sleep again under the lock only, so none can have done something unseen.
        """
        clock = self.clock
        assert isinstance(clock, VirtualClock)
        self.acquire()
        try:
            if self.wakeups or self.softnet.pending:
                return True
            if wakings is not None and (wakings != self.wakings or self._somebody_was_rung()):
                return True
            upcoming = self.timers.settle()
            if not self.timers:
                return False
            clock.advance_to(upcoming)
            self.tick()
            return True
        finally:
            self.leave()

    def _timer_moved(self) -> None:
        """A timer was queued before all others: the thread that keeps the timers sleeps too long now."""
        if self.keeper is None:
            self.appoint_keeper()
        else:
            self.keeper.poke()

    def appoint_keeper(self) -> None:
        """Have one of the sleeping threads (of real time) keep the timers, if there are timers and sleepers."""
        if self.timers.next_expiry != NEVER and self.parked and not self.clock.virtual:
            self.keeper = self.parked[0]
            self.keeper.poke()

    # -- fork ----------------------------------------------------------------------------------------------

    def after_fork(self) -> Kernel:
        """In a child process, where only the thread that forked goes on: nobody else holds the lock or sleeps here any
        more. Return a fresh kernel for the child, booted as this one was, on this one's clock and with its seed.
        """
        if not self.lock._is_owned():  # type: ignore[attr-defined]  # RLock has it; typeshed does not
            self.lock._at_fork_reinit()  # type: ignore[attr-defined]  # as above
        self._deferred.clear()
        self._late.clear()
        self.wakeups.clear()
        self.parked.clear()
        self.keeper = None
        self.lookout = None
        self._sleepers = Sleepers()
        self.participants = 0
        return Kernel.boot(clock=self.clock, seed=self.seed, **self._options)

    # -- chance --------------------------------------------------------------------------------------------

    def random(self, concern: str) -> random.Random:
        """The random stream of one concern ("tcp.isn", "ports", ...), seeded by the kernel's seed and its name."""
        rng = self._rngs.get(concern)
        if rng is None:
            rng = self._rngs[concern] = random.Random(f"{self.seed}/{concern}")
        return rng

    # -- namespaces ----------------------------------------------------------------------------------------

    def new_net(self, name: str | None = None) -> Net:
        """Make a network namespace: the families set theirs up, then the loopback device comes up."""
        net = Net(self, name if name is not None else f"net{next(self.net_ids)}")
        self.netns.append(net)
        self.plugins.call_hook("pysock_net_init", net=net)
        self.dev_layer.setup_loopback(net)
        return net

    def del_net(self, net: Net) -> None:
        """Let a namespace go whose sockets are closed (cleanup_net): the families first, then its devices; hardware
        goes back to the first namespace. EBUSY for that one, ENOENT for one that is gone already.
        """
        if net not in self.netns:
            raise err(errno.ENOENT)
        if net is self.netns[0]:
            raise err(errno.EBUSY)
        self.plugins.call_hook("pysock_net_exit", backwards=True, net=net)
        self.dev_layer.shutdown_net(net)
        self.netns.remove(net)

    def __repr__(self) -> str:
        kind = "virtual" if self.clock.virtual else "real"
        return f"<Kernel clock={kind} seed={self.seed} namespaces={len(self.netns)}>"


def _run_all(work: list[Callable[[], None]]) -> None:
    """Run all of ``work`` whatever the first ones raise; what the last of them raises comes out."""
    if work:
        try:
            work[0]()
        finally:
            _run_all(work[1:])
