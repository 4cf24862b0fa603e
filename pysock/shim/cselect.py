"""What stands in `sys.modules["select"]`: select, poll and epoll over the files of the current task.

Descriptors that are not in the task's table belong to the operating system; they may stand among ours (see
`foreign.py`). Arguments, results and errors are those of the C module.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from operator import index

from pysock.core.errors import err
from pysock.shim import epollobj
from pysock.shim.fdarg import as_fd, timeout_arg, whole_ms
from pysock.shim.foreign import ForeignSet
from pysock.shim.real import SELECT as _C
from pysock.shim.state import current
from pysock.syscalls.poll import sys_poll
from pysock.uapi.poll import FD_SETSIZE, POLLIN, POLLNVAL, POLLOUT, POLLPRI
from pysock.vfs.fdnum import VirtualFds
from pysock.vfs.poll import SELECT_EX, SELECT_IN, SELECT_OUT
from pysock.vfs.task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

error = OSError
epoll = epollobj.epoll

_POLL_DEFAULT = POLLIN | POLLPRI | POLLOUT
_NSEC_PER_MSEC = 1_000_000


def _poll_ufds(task: Task, ufds: list[tuple[int, int]], timeout_ns: int) -> dict[int, int]:
    """poll(2) over ours and theirs: the bits of each fd that has some. ``timeout_ns`` -1: for ever."""
    ours = task.fds
    strangers = [(fd, events) for fd, events in ufds if fd not in ours]
    foreign = ForeignSet(strangers) if strangers else None
    if strangers:
        ufds = [(fd, events) for fd, events in ufds if fd in ours]
    try:
        if foreign is not None and foreign.answers:
            timeout_ns = 0
        found = dict(sys_poll(task, ufds, timeout_ns, foreign))
        if foreign is not None:
            found.update(foreign.poll())
            found.update(foreign.answers)
        return found
    finally:
        if foreign is not None:
            foreign.close()


class Poll:
    """The object that `select.poll` makes; nobody makes one otherwise."""

    __slots__ = ("_fds", "_running")

    _fds: dict[int, int]
    _running: bool

    def __new__(cls) -> Poll:
        raise TypeError("cannot create 'select.poll' instances")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("type 'select.poll' is not an acceptable base type")

    def register(self, fd: Any, eventmask: int = _POLL_DEFAULT, /) -> None:
        """Watch ``fd`` (a number, or an object with a fileno() method) for the POLL* bits of ``eventmask``."""
        self._fds[as_fd(fd)] = _ushort(eventmask)

    def modify(self, fd: Any, eventmask: int, /) -> None:
        """Change the event mask of a registered ``fd``. ENOENT when it is not."""
        number = as_fd(fd)
        mask = _ushort(eventmask)
        if number not in self._fds:
            raise err(errno.ENOENT)
        self._fds[number] = mask

    def unregister(self, fd: Any, /) -> None:
        """Stop watching ``fd``. KeyError when it is not registered."""
        del self._fds[as_fd(fd)]

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait at most ``timeout`` milliseconds (None or negative: for ever); return ``(fd, events)`` of what is
        ready.
        """
        ns = whole_ms(timeout_arg(timeout, _NSEC_PER_MSEC, "timeout must be an integer or None"))
        if self._running:
            raise RuntimeError("concurrent poll() invocation")
        self._running = True
        try:
            found = _poll_ufds(current(), list(self._fds.items()), ns)
            return [(fd, found[fd]) for fd in self._fds if fd in found] if found else []
        finally:
            self._running = False


Poll.__name__ = Poll.__qualname__ = "poll"
Poll.__module__ = "select"


def _signature(function: Any) -> Any:
    import inspect  # nobody pays for it who does not ask

    return inspect.signature(function)


class _MakePoll:
    """`select.poll`. An instance, as `_Select` is."""

    __slots__ = ()
    __module__ = "select"
    __name__ = "poll"
    __qualname__ = "poll"
    __signature__ = property(lambda self: _signature(_C.poll))

    def __call__(self, *args: Any) -> Poll:
        """Returns a polling object, which supports registering and unregistering file descriptors, and then polling
        them for I/O events.
        """
        if args:
            raise TypeError(f"select.poll() takes no arguments ({len(args)} given)")
        made = object.__new__(Poll)
        made._fds = {}
        made._running = False
        return made

    def __repr__(self) -> str:
        return "<built-in function poll>"


poll = _MakePoll()


class _Select:
    """`select.select`. An instance, because a function would become a method in a class body (selectors has one)."""

    __slots__ = ()
    __module__ = "select"
    __name__ = "select"
    __qualname__ = "select"
    __signature__ = property(lambda self: _signature(_C.select))

    def __call__(self, *args: Any) -> tuple[list[Any], list[Any], list[Any]]:
        """select(rlist, wlist, xlist[, timeout in seconds]) -> (rlist, wlist, xlist)

        Wait until one or more file descriptors are ready for some kind of I/O; the lists hold what of the arguments is
        ready.
        """
        count = len(args)
        if count < 3:
            raise TypeError(f"select expected at least 3 arguments, got {count}")
        if count > 4:
            raise TypeError(f"select expected at most 4 arguments, got {count}")
        ns = timeout_arg(args[3] if count == 4 else None, 1_000_000_000, "timeout must be a float or None")
        if ns < 0 and count == 4 and args[3] is not None:
            raise ValueError("timeout must be non-negative")
        return _do_select(args, ns)

    def __repr__(self) -> str:
        return "<built-in function select>"


select = _Select()


def _do_select(args: Sequence[Any], ns: int) -> tuple[list[Any], list[Any], list[Any]]:
    task = current()
    limited = not isinstance(task.files.numbers, VirtualFds)
    sets: list[tuple[list[tuple[int, Any]], int]] = []
    masks: dict[int, int] = {}
    for items, bits in zip(args[:3], (SELECT_IN, SELECT_OUT, SELECT_EX), strict=True):
        try:
            # Not copied if it is a list: a fileno() that changes it is seen, as in C.
            objects = items if isinstance(items, (list, tuple)) else list(items)
        except TypeError:
            raise TypeError("arguments 1-3 must be sequences") from None
        pairs = [(as_fd(item), item) for item in objects]
        for fd, _ in pairs:
            if fd >= FD_SETSIZE and (limited or fd not in task.fds):
                raise ValueError("filedescriptor out of range in select()")
            masks[fd] = masks.get(fd, 0) | bits
        sets.append((pairs, bits))
    ours = masks.keys() & task.fds.keys()
    found = _poll_ufds(task, list(masks.items()), ns)
    if POLLNVAL in found.values() and any(bits == POLLNVAL and fd not in ours for fd, bits in found.items()):
        raise err(errno.EBADF)  # but one that another thread has closed meanwhile is ready
    readable, writable, exceptional = (
        [item for fd, item in pairs if found.get(fd, 0) & (bits | POLLNVAL)] if found else [] for pairs, bits in sets
    )
    return readable, writable, exceptional


def _ushort(value: Any) -> int:
    try:
        number = index(value)
    except TypeError:
        raise TypeError("an integer is required") from None
    if number < 0:
        raise ValueError("value must be positive")
    if number > 0xFFFF:
        raise OverflowError("Python int too large for C unsigned short")
    return number


#: Every public name of the C module; the constants are its own.
__all__ = [name for name in vars(_C) if not name.startswith("_")]

globals().update((name, getattr(_C, name)) for name in __all__ if name not in globals())
