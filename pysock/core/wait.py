"""Waiting: the only place in pysock where a thread stops.

The model, which is Linux's:

* A `WaitQueue` is a list of entries. `WaitQueue.wake` calls each entry's function with the poll bits that
  became true. A sleeping thread, a poll table and an epoll item are three kinds of entry.
* Whoever waits holds the kernel lock, finds its condition false, and calls `Sleeper.wait_on`: the thread is
  entered in the queue *before* the lock is given up, so no wake-up is lost. Wake-ups may be spurious; the
  caller looks at its condition again.
* Wake-ups are collected in ``kernel.wakeups`` and delivered after the lock is released: a thread that is woken
  while its waker still holds the lock would only run into it.

A thread parks in three steps, because handing the interpreter over costs more than the stack does: it yields
twice (enough when the waker is about to run), then sleeps in ``poll`` on an eventfd of its own. Python signal
handlers run while it sleeps and their exceptions come out of the wait.

While threads sleep in real time, one of them (the keeper) sleeps no longer than until the next timer, and so runs the
timers of everybody. It appoints another one when it leaves; ``kernel.keeper`` and ``kernel.parked`` change under the
kernel lock only, so nobody can slip away with the office. In virtual time, the last thread to go to sleep moves the
clock instead.

Not here: any condition, any policy, any file. Those belong to the callers.
"""

from __future__ import annotations

import os
import select
import threading
import time

from pysock.core.clock import NEVER, NSEC_PER_MSEC, VirtualClock
from pysock.core.timer import Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.kernel import Kernel

# Taken before anybody patches these modules.
_poll = select.poll
real_epoll = select.epoll
_POLLIN = select.POLLIN
_sched_yield = os.sched_yield
_eventfd = os.eventfd
_eventfd_read = os.eventfd_read
_eventfd_write = os.eventfd_write
_EVENTFD_FLAGS = os.EFD_CLOEXEC | os.EFD_NONBLOCK
_process_time_ns = time.process_time_ns
_thread_time_ns = time.thread_time_ns
_listdir = os.listdir
_open = os.open
_read = os.read
_close = os.close

#: Virtual time waits for a thread that does not sleep in the kernel, until no thread of the process ran, or was ready
#: to, for a millisecond: then it is blocked where pysock cannot see it (Thread.join, a queue). Where there is no /proc,
#: or some thread runs every now and then, it waits for so long (ms of real time), in which no packet moves and the
#: process uses no processor to speak of.
VIRTUAL_GRACE_MS = 20
_GRACE_CPU_NS = 1_000_000
#: So many times over, when a thread is ready to run and gets no processor: others keep the machine busy.
_STARVED_ROUNDS = 100


def _processor_time_of_others() -> int:
    return _process_time_ns() - _thread_time_ns()


def _other_threads(known: set[str]) -> list[tuple[str, str]] | None:
    """The state of each thread of this process but the ``known`` ones, and how often it gave the processor up or lost
    it (/proc/PID/task/TID/status). None when the operating system does not tell.
    """
    try:
        return [_thread_status(thread) for thread in _listdir("/proc/self/task") if thread not in known]
    except (OSError, ValueError):
        return None


def _thread_status(thread: str) -> tuple[str, str]:
    try:
        fd = _open(f"/proc/self/task/{thread}/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = _read(fd, 8192).decode("latin-1")
        finally:
            _close(fd)
    except (FileNotFoundError, ProcessLookupError):
        return "X", thread  # it has ended
    state = text.index("\nState:\t") + 8
    return text[state], thread + text[text.index("\nvoluntary_ctxt_switches:") :]


def _ready(threads: list[tuple[str, str]] | None) -> bool:
    """Whether one of them runs, or would if it got a processor (or a page, or a block of a file)."""
    return any(state in "RD" for state, _ in threads or ())


class WaitEntry:
    """One place in a wait queue. ``func(key)`` is called under the kernel lock with the poll bits; it must not block.

    An ``exclusive`` entry takes the wake-up for itself: after the first one whose function returns True,
    later exclusive entries are left alone (wake-one, as accept() and EPOLLEXCLUSIVE use it).
    """

    __slots__ = ("exclusive", "func")

    def __init__(self, func: Callable[[int], bool], exclusive: bool = False) -> None:
        self.func = func
        self.exclusive = exclusive


class WaitQueue:
    """wait_queue_head: entries in the order of their arrival, non-exclusive ones first."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: list[WaitEntry] = []

    def add(self, entry: WaitEntry) -> None:
        if entry.exclusive:
            self.entries.append(entry)
        else:
            self.entries.insert(0, entry)

    def remove(self, entry: WaitEntry) -> None:
        """Take ``entry`` out; not being there is fine (the queue may have been detached)."""
        entries = self.entries
        if entry in entries:
            entries.remove(entry)

    def wake(self, key: int) -> None:
        """Tell every non-exclusive entry, and one exclusive one, that the poll bits ``key`` became true."""
        entries = self.entries
        if not entries:
            return
        for entry in entries[:]:
            if entry.func(key) and entry.exclusive:
                return

    def wake_all(self, key: int) -> None:
        """Tell every entry, exclusive or not (wake_up_all: hang-up and errors concern everybody)."""
        for entry in self.entries[:]:
            entry.func(key)


class _EventFd:
    """An eventfd that is closed when nobody refers to it: who rings it holds on to it, so that the number cannot be
    another file's by then.
    """

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = _eventfd(0, _EVENTFD_FLAGS)

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        fd = getattr(self, "fd", -1)
        if fd >= 0:  # else a signal handler raised before there was one
            _close(fd)


class Sleeper:
    """One thread's ability to sleep in one Kernel: its flag, its eventfd and its place in wait queues."""

    __slots__ = (
        "_event",
        "_fd",
        "_poller",
        "entry",
        "exclusive_entry",
        "kernel",
        "parked",
        "poked",
        "queued",
        "real_fds",
        "signalled",
        "thread",
        "timer",
        "woken",
    )

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.thread = str(threading.get_native_id())
        self.woken = False
        self.parked = self.poked = False
        self.queued = False
        self.signalled = 0  # the poll bits with which the queue called, 0: it did not
        self.entry = WaitEntry(self._signal)
        self.exclusive_entry = WaitEntry(self._signal, True)
        self.timer = Timer(self._timeout)
        self.real_fds: tuple[int, ...] = ()
        self._event: _EventFd | None = None
        self._fd = -1
        self._poller: select.poll | None = None

    def _signal(self, key: int) -> bool:
        if self.signalled:
            return False
        self.signalled = key
        self.nudge()
        return True

    def _timeout(self) -> None:
        self.nudge()

    def nudge(self) -> None:
        """Make the thread look at the clock and the timers again. Called under the kernel lock."""
        if not self.queued and not self.woken:
            self.queued = True
            self.kernel.wakeups.append(self)

    def ring(self) -> None:
        """Deliver a wake-up. Called without the kernel lock, from any thread."""
        self.queued = False
        self.woken = True
        if self.parked:
            event = self._event
            if event is not None:  # else the thread is gone since
                _eventfd_write(event.fd, 1)

    def wait_on(
        self,
        queue: WaitQueue | None,
        deadline: int = NEVER,
        exclusive: bool = False,
        real_fds: tuple[int, ...] = (),
    ) -> bool:
        """Sleep until ``queue`` is woken, ``deadline`` (monotonic ns) passes, or for no reason.

        ``real_fds`` are descriptors of the operating system that wake this thread too, when they become readable.
        Called and left with the kernel lock held (once). False when the deadline has passed and the queue was not
        woken.
        """
        kernel = self.kernel
        entry = self.exclusive_entry if exclusive else self.entry
        self.woken = False
        self.signalled = 0
        self.real_fds = real_fds
        virtual = kernel.clock.virtual
        if queue is not None:
            queue.add(entry)
        if not virtual:
            kernel.parked.append(self)
            if kernel.keeper is None:
                kernel.keeper = self
        try:
            try:
                kernel.leave()
                if kernel.softnet.pending:
                    pass  # the last run had more work than its budget: there is nothing to sleep for
                elif virtual:
                    self._park_virtual(deadline)
                else:
                    self._park(deadline)
            finally:
                kernel.acquire()
                if not virtual:
                    kernel.parked.remove(self)
                    if kernel.keeper is self:
                        kernel.keeper = None
                        kernel.appoint_keeper()
                elif self in kernel.parked:
                    kernel.parked.remove(self)
                    kernel.wakings += 1
        except BaseException:
            # A signal handler raised. What was meant for this thread alone is somebody else's now.
            if queue is not None and exclusive and self.signalled:
                queue.remove(entry)
                queue.wake(self.signalled)
            raise
        finally:
            if queue is not None:
                queue.remove(entry)
        now = kernel.tick()
        return self.signalled != 0 or now < deadline

    # -- real time ---------------------------------------------------------------------------------------

    def poke(self) -> None:
        """Look at the timers again, without leaving the sleep: this thread keeps them now, or they moved. Called under
        the kernel lock.
        """
        self.poked = True
        event = self._event
        if self.parked and event is not None:
            _eventfd_write(event.fd, 1)

    def _park(self, deadline: int) -> None:
        if self.woken:
            return
        _sched_yield()
        if self.woken:
            return
        _sched_yield()
        kernel = self.kernel
        while not self.woken:
            self.poked = False
            until = deadline
            if kernel.keeper is self and kernel.timers.next_expiry < until:
                until = kernel.timers.next_expiry
            timeout = None
            if until != NEVER:
                left = until - kernel.clock.monotonic_ns()
                if left <= 0:
                    return
                # Rounded up: a poll that returns a little early would only come back here.
                timeout = (left + NSEC_PER_MSEC - 1) // NSEC_PER_MSEC
            self._sleep(timeout)

    def _sleep(self, timeout_ms: int | None) -> bool:
        """True when it slept for all of ``timeout_ms`` (None: for ever)."""
        poller = self._poller
        if poller is None:
            self._event = _EventFd()
            self._fd = self._event.fd
            poller = self._poller = _poll()
            poller.register(self._fd, _POLLIN)
        for fd in self.real_fds:
            poller.register(fd, _POLLIN)
        self.parked = True
        try:
            if self.woken or self.poked:
                return False
            ready = poller.poll(timeout_ms)
            if any(fd != self._fd for fd, _ in ready):
                self.woken = True  # a real descriptor
        finally:
            self.parked = False
            for fd in self.real_fds:
                poller.unregister(fd)
        try:
            _eventfd_read(self._fd)
        except BlockingIOError:
            pass
        return not ready

    # -- virtual time ------------------------------------------------------------------------------------

    def _park_virtual(self, deadline: int) -> None:
        kernel = self.kernel
        clock = kernel.clock
        assert isinstance(clock, VirtualClock)
        if deadline != NEVER:
            kernel.acquire()
            kernel.timers.mod_timer(self.timer, deadline)
            kernel.leave()
        try:
            kernel.parked.append(self)  # last: from here on the others take it for asleep
            while not self.woken:
                wakings = kernel.wakings
                if kernel.all_asleep():
                    if self.real_fds:
                        self._sleep(0)  # what is ready now comes before any jump of the clock
                        if self.woken:
                            break
                    if not kernel.advance(wakings):
                        self._sleep(None)  # nothing will ever happen here: only a signal or another thread
                elif self._nothing_happens():
                    kernel.advance(wakings)
        finally:
            if deadline != NEVER:
                kernel.timers.del_timer(self.timer)

    def _nothing_happens(self) -> bool:
        """Wait for a thread that is awake somewhere. True when it is blocked there: time has to go on without it."""
        kernel = self.kernel
        if kernel.lookout is not None:  # one is enough
            self._sleep(VIRTUAL_GRACE_MS)
            return False
        kernel.lookout = self
        try:
            return self._look_out()
        finally:
            kernel.lookout = None

    def _look_out(self) -> bool:
        softnet = self.kernel.softnet
        processed = softnet.processed
        for _ in range(_STARVED_ROUNDS):
            used = _processor_time_of_others()
            others = self._look_round()
            for _ in range(VIRTUAL_GRACE_MS):
                before = others
                if not self._sleep(1):
                    return False
                others = self._look_round()
                if others is not None and others == before and not _ready(others):
                    return softnet.processed == processed
            if softnet.processed != processed or _processor_time_of_others() - used >= _GRACE_CPU_NS:
                return False
            if not _ready(others):
                return True
        return True

    def _look_round(self) -> list[tuple[str, str]] | None:
        return _other_threads({sleeper.thread for sleeper in self.kernel.parked})

    def retire(self) -> None:
        """The thread that owned this sleeper is gone."""
        kernel = self.kernel
        if kernel.clock.virtual:
            kernel.participants -= 1
            for sleeper in kernel.parked[:1]:
                sleeper.ring()
        self._event = self._poller = None


class _Lease:
    """A thread's hold on its `Sleeper`: goes with the thread's locals, and nothing else refers to it."""

    __slots__ = ("sleeper",)

    def __init__(self, sleeper: Sleeper) -> None:
        self.sleeper = sleeper

    def __del__(self) -> None:
        self.sleeper.retire()


class Sleepers(threading.local):
    """The calling thread's `Sleeper`, made at its first wait."""

    lease: _Lease | None = None

    def mine(self, kernel: Kernel) -> Sleeper:
        lease = self.lease
        if lease is None:
            lease = self.lease = _Lease(Sleeper(kernel))
            kernel.participants += 1
        return lease.sleeper
