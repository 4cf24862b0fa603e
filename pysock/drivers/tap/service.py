"""The thread that waits for real descriptors when nobody else can: one for each kernel that has such devices.

It sleeps as every thread of a program does (`Sleeper.wait_on`), with the devices' descriptors beside its wake-up; so it
keeps the timers too, when the program is busy elsewhere. Woken, it holds the kernel lock, calls the handlers of what is
ready (they schedule NAPI), and lets go of the lock on its way back to sleep, which runs the polls and wakes the
program. Work that exceeds the softirq budgets keeps it awake: it is the ksoftirqd of such a kernel.

It begins with the first descriptor, ends with the last, and never keeps a process alive.
"""

from __future__ import annotations

import _thread

from pysock.core.wait import real_epoll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.kernel import Kernel
    from pysock.core.wait import Sleeper

IN = 0x001  # EPOLLIN
OUT = 0x004
_start_new_thread = _thread.start_new_thread


class Service:
    """Descriptors and their handlers, ``handler(events)``. Everything here needs the kernel lock."""

    __slots__ = ("_epoll", "_handlers", "_running", "_sleeper", "kernel")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._epoll = real_epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._running = False
        self._sleeper: Sleeper | None = None

    def add(self, fd: int, handler: Callable[[int], None]) -> None:
        """Call ``handler`` when ``fd`` is readable, or hung up, for as long as it is."""
        self._epoll.register(fd, IN)
        self._handlers[fd] = handler
        if not self._running:
            self._running = True
            _start_new_thread(self._run, ())

    def want_write(self, fd: int, on: bool) -> None:
        """Call its handler also when ``fd`` can be written, or no longer."""
        if fd in self._handlers:
            self._epoll.modify(fd, IN | OUT if on else IN)

    def remove(self, fd: int) -> None:
        """Before ``fd`` is closed. No effect when it is not here."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            if not self._handlers and self._sleeper is not None:
                self._sleeper.nudge()

    def _run(self) -> None:
        kernel = self.kernel
        kernel.enter()
        try:
            sleeper = self._sleeper = kernel.sleeper()
            ready = (self._epoll.fileno(),)
            while self._handlers:
                sleeper.wait_on(None, real_fds=ready)
                self.look()
        finally:
            self._sleeper = None
            self._running = False
            kernel.leave()

    def look(self) -> None:
        """Call the handlers of what is ready now."""
        for fd, events in self._epoll.poll(0):
            self._call(fd, events)

    def _call(self, fd: int, events: int) -> None:
        handler = self._handlers.get(fd)
        if handler is None:
            return  # an earlier one closed it
        try:
            handler(events)
        except Exception as exc:
            self.kernel.errors.report("tap", "descriptor handler", exc)
            self.remove(fd)  # or it would be called for ever
