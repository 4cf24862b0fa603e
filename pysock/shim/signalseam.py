"""Signal handlers under patch.

CPython runs a handler in the main thread between any two instructions, so also while that thread holds the kernel lock,
in the middle of the stack. A handler that uses a socket, or raises, must not run there. What is installed instead looks
first:

* The lock is not held: the handler runs at once. That includes every sleep: a handler's exception comes out of the
  blocking call, and without an exception the call goes on.
* The lock is held: the handler runs when the call has left the kernel (`Kernel.after_leave`), a few microseconds
  later, and its exception comes out of that call. Should another thread leave first, it sends the signal to the main
  thread again.

`set_wakeup_fd` with one of our descriptors: C could only write into the placeholder, so the byte is sent here, by the
handlers.
"""

from __future__ import annotations

import signal
import threading

from pysock.shim import real
from pysock.vfs.task import current_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any


class _Wakeup:
    """The descriptor of ours that set_wakeup_fd() named; -1: none."""

    fd = -1


class Guarded:
    """What is really installed for a Python signal handler."""

    __slots__ = ("handler",)

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        kernel = current_task().kernel
        if kernel.lock._is_owned():  # type: ignore[attr-defined]  # RLock has it; typeshed does not
            kernel.after_leave(lambda: self._late(signum, frame))
        else:
            self.run(signum, frame)

    def _late(self, signum: int, frame: FrameType | None) -> None:
        main = threading.main_thread().ident
        if real.get_ident() == main:
            self.run(signum, frame)
        elif main is not None:
            real.pthread_kill(main, signum)

    def run(self, signum: int, frame: FrameType | None) -> None:
        """Send the wake-up byte if somebody wants it, and call the program's handler."""
        if _Wakeup.fd != -1:
            _send_byte(_Wakeup.fd, signum)
        self.handler(signum, frame)


def _send_byte(fd: int, signum: int) -> None:
    from pysock.syscalls.message import sys_sendto
    from pysock.uapi.socket import MSG_DONTWAIT

    try:
        sys_sendto(current_task(), fd, bytes((signum,)), MSG_DONTWAIT)
    except OSError:
        pass  # full (enough bytes are there to wake anybody) or closed


def _unwrap(handler: Any) -> Any:
    return handler.handler if isinstance(handler, Guarded) else handler


def _signal(signalnum: Any, handler: Any, /) -> Any:
    guarded = Guarded(handler) if callable(handler) and not isinstance(handler, signal.Handlers) else handler
    return _unwrap(real.signal_signal(signalnum, guarded))


def _getsignal(signalnum: Any, /) -> Any:
    return _unwrap(real.signal_getsignal(signalnum))


def _set_wakeup_fd(fd: int, /, *, warn_on_full_buffer: bool = True) -> int:
    before = _Wakeup.fd
    if fd in current_task().fds:
        # The checks of C, which sees a placeholder: the main thread, a descriptor that does not block.
        outside = real.signal_set_wakeup_fd(fd, warn_on_full_buffer=warn_on_full_buffer)
        real.signal_set_wakeup_fd(-1)
        _Wakeup.fd = fd
    else:
        outside = real.signal_set_wakeup_fd(fd, warn_on_full_buffer=warn_on_full_buffer)
        _Wakeup.fd = -1
    return before if before != -1 else outside


def replacements() -> list[tuple[Any, Callable[..., Any]]]:
    """``(original, ours)`` of everything here."""
    return [
        (real.signal_signal, _signal),
        (real.signal_getsignal, _getsignal),
        (real.signal_set_wakeup_fd, _set_wakeup_fd),
    ]


def guard_installed() -> None:
    """Guard the Python handlers that are installed now. Does nothing outside the main thread, where that is
    impossible.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for signum in signal.valid_signals():
        handler = real.signal_getsignal(signum)
        if callable(handler) and not isinstance(handler, (Guarded, signal.Handlers)):
            real.signal_signal(signum, Guarded(handler))


def unguard_installed() -> None:
    """Give the program's own handlers back to C."""
    _Wakeup.fd = -1
    if threading.current_thread() is not threading.main_thread():
        return
    for signum in signal.valid_signals():
        handler = real.signal_getsignal(signum)
        if isinstance(handler, Guarded):
            real.signal_signal(signum, handler.handler)
