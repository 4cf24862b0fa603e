"""The class `select.epoll`, on an `Epoll` of the vfs."""

from __future__ import annotations

import errno
from operator import index

from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.shim import asyncseam
from pysock.shim.fdarg import as_fd, timeout_arg, whole_ms
from pysock.shim.state import current
from pysock.syscalls.file import sys_close
from pysock.syscalls.poll import sys_epoll_create1, sys_epoll_ctl
from pysock.uapi.poll import (
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    EPOLLPRI,
    FD_SETSIZE,
)
from pysock.vfs.epoll import Epoll
from pysock.vfs.forked import ForkedFile, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from pysock.vfs.task import Task

_DEFAULT_EVENTS = EPOLLIN | EPOLLOUT | EPOLLPRI
_NSEC_PER_SEC = 1_000_000_000


class epoll:
    """select.epoll(sizehint=-1, flags=0)

    Returns an epolling object. ``sizehint`` is without effect; ``flags`` may be EPOLL_CLOEXEC, which always is set.
    """

    __slots__ = ("_ep", "_fd", "_task")

    def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
        asyncseam.notice()
        self._fd = -1
        self._task: Task = current()
        size, flags = index(sizehint), index(flags)
        if size != -1 and size <= 0:
            raise ValueError("negative sizehint")
        if flags & ~EPOLL_CLOEXEC:
            raise OSError("invalid flags")
        self._fd = sys_epoll_create1(self._task, EPOLL_CLOEXEC)
        self._ep = self._task.fds[self._fd]

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("type 'select.epoll' is not an acceptable base type")

    @classmethod
    def fromfd(cls, fd: int, /) -> epoll:
        """Create an epoll object from a given control fd."""
        number = index(fd)
        if number == -1:
            return cls()
        self = cls.__new__(cls)
        self._task = task = current()
        self._fd = number
        file = task.fds.get(number)
        if file is not None:
            self._ep = file
        return self

    def _file(self) -> Epoll:
        if self._fd < 0:
            raise ValueError("I/O operation on closed epoll object")
        file = self._task.fds.get(self._fd)
        if file is None:
            raise err(errno.EBADF)
        if isinstance(file, Epoll):
            return file
        if isinstance(file, ForkedFile):
            refuse()
        raise err(errno.EINVAL)

    # -- its end -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the epoll control file descriptor. Further operations raise ValueError."""
        fd = self._fd
        if fd >= 0:
            self._fd = -1
            try:
                sys_close(self._task, fd)
            except OSError:
                pass  # somebody else has closed it: C does not tell either

    @property
    def closed(self) -> bool:
        """True if the epoll handler is closed"""
        return self._fd < 0

    def fileno(self) -> int:
        """The epoll control file descriptor."""
        if self._fd < 0:
            raise ValueError("I/O operation on closed epoll object")
        return self._fd

    def __enter__(self) -> epoll:
        if self._fd < 0:
            raise ValueError("I/O operation on closed epoll object")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            fd = self._fd
            ep = self._ep
        except AttributeError:
            return  # never finished
        if fd >= 0:
            self._fd = -1
            task = self._task

            def close() -> None:
                if task.fds.get(fd) is ep:
                    task.files.close(fd)

            task.kernel.defer(close)

    # -- what it watches -----------------------------------------------------------------------------------

    def register(self, fd: Any, eventmask: int = _DEFAULT_EVENTS) -> None:
        """Watch ``fd`` (a number, or an object with a fileno() method) for EPOLL* bits. EEXIST when it is watched."""
        self._ctl(EPOLL_CTL_ADD, fd, eventmask)

    def modify(self, fd: Any, eventmask: int) -> None:
        """Change the event mask of ``fd``. ENOENT when it is not watched."""
        self._ctl(EPOLL_CTL_MOD, fd, eventmask)

    def unregister(self, fd: Any) -> None:
        """Stop watching ``fd``. ENOENT when it is not watched."""
        self._ctl(EPOLL_CTL_DEL, fd, 0)

    def _ctl(self, op: int, target: Any, eventmask: int) -> None:
        if self._fd < 0:
            raise ValueError("I/O operation on closed epoll object")
        fd = as_fd(target)
        events = index(eventmask) & 0xFFFFFFFF
        sys_epoll_ctl(self._task, self._fd, op, fd, events)

    # -- waiting -------------------------------------------------------------------------------------------

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """Wait at most ``timeout`` seconds (None or negative: for ever) for events; return up to ``maxevents`` pairs
        ``(fd, events)``.
        """
        if self._fd < 0:
            raise ValueError("I/O operation on closed epoll object")
        ns = -1
        if timeout is not None:
            ns = whole_ms(timeout_arg(timeout, _NSEC_PER_SEC, "timeout must be an integer or None"))
        if maxevents == -1:
            maxevents = FD_SETSIZE - 1
        elif index(maxevents) <= 0:
            raise ValueError(f"maxevents must be greater than 0, got {maxevents}")
        kernel = self._task.kernel
        now = kernel.enter()
        try:
            if kernel.softnet.pending:
                kernel.softnet.run()
            deadline = NEVER if ns < 0 else now + ns if ns else 0
            return self._file().wait(maxevents, deadline)
        finally:
            kernel.leave()


epoll.__module__ = "select"
