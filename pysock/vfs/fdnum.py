"""Where fd numbers come from. An FdTable owns one `FdNumbers` and asks it for every number.

`VirtualFds` counts from a base far above what the operating system hands out: a number costs nothing, and
pure simulations have thousands of hosts.

`PlaceholderFds` opens a real descriptor of the operating system for every fd (an unconnected AF_UNIX socket)
and uses its number. So a number never means two things, and C code that looks at it (fstat, fcntl, io.open,
inheritance) sees a socket. Descriptors that share a description here (dup) share one there, so O_NONBLOCK
follows by itself.

The operating system's functions are bound at import: nobody can patch them away from under us.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
from heapq import heappop, heappush

from pysock.core.errors import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Final

VIRTUAL_BASE: Final = 1 << 20

_real_socket = _socket.socket
_AF_UNIX: Final = _socket.AF_UNIX
_SOCK_STREAM: Final = _socket.SOCK_STREAM
_F_DUPFD: Final = fcntl.F_DUPFD
_F_DUPFD_CLOEXEC: Final = fcntl.F_DUPFD_CLOEXEC
_fcntl = fcntl.fcntl
_close = os.close
_dup2 = os.dup2
_set_inheritable = os.set_inheritable
_set_blocking = os.set_blocking


class FdNumbers:
    """The numbering policy of one fd table. ``used`` (a container of fds) says what is taken.

    Numbers are handed out lowest first, as POSIX demands.
    """

    __slots__ = ()

    def reserve(self, used: Container[int], limit: int, cloexec: bool, nonblock: bool) -> int:
        """A free number for a new file. EMFILE when there is none below the limit (RLIMIT_NOFILE)."""
        raise NotImplementedError

    def duplicate(self, used: Container[int], limit: int, fd: int, minimum: int, cloexec: bool) -> int:
        """The lowest free number from ``minimum`` on, for a second name of ``fd``. EINVAL when it is past the
        limit.
        """
        raise NotImplementedError

    def replace(self, limit: int, fd: int, target: int, cloexec: bool) -> None:
        """Make exactly ``target`` a name of ``fd``, free or not (dup2). EBADF when it is out of range."""
        raise NotImplementedError

    def release(self, fd: int) -> None:
        """``fd`` is free again."""
        raise NotImplementedError

    def set_cloexec(self, fd: int, cloexec: bool) -> None:
        """FD_CLOEXEC of ``fd`` changed."""

    def set_nonblock(self, fd: int, nonblock: bool) -> None:
        """O_NONBLOCK of the file behind ``fd`` changed."""


class VirtualFds(FdNumbers):
    """Numbers from ``base`` up. ``limit`` counts from the base too: it bounds how many, not how high."""

    __slots__ = ("_free", "_next", "base")

    def __init__(self, base: int = VIRTUAL_BASE) -> None:
        self.base = base
        self._next = base
        self._free: list[int] = []  # a heap; a number that dup2 took may still be in it

    def reserve(self, used: Container[int], limit: int, cloexec: bool, nonblock: bool) -> int:
        free = self._free
        while free:
            fd = heappop(free)
            if fd not in used:
                return fd
        fd = self._next
        while fd in used:
            fd += 1
        if fd - self.base >= limit:
            raise err(errno.EMFILE)
        self._next = fd + 1
        return fd

    def duplicate(self, used: Container[int], limit: int, fd: int, minimum: int, cloexec: bool) -> int:
        if minimum <= self.base:
            if minimum < 0:
                raise err(errno.EINVAL)
            return self.reserve(used, limit, cloexec, False)
        if minimum - self.base >= limit:
            raise err(errno.EINVAL)
        new = minimum
        while new in used:
            new += 1
        if new - self.base >= limit:
            raise err(errno.EMFILE)
        return new

    def replace(self, limit: int, fd: int, target: int, cloexec: bool) -> None:
        if not 0 <= target - self.base < limit:
            raise err(errno.EBADF)

    def release(self, fd: int) -> None:
        if fd < self._next:
            heappush(self._free, fd)


class PlaceholderFds(FdNumbers):
    """One real descriptor per fd. The operating system enforces its own limit; ours is not looked at."""

    __slots__ = ()

    def reserve(self, used: Container[int], limit: int, cloexec: bool, nonblock: bool) -> int:
        fd = _real_socket(_AF_UNIX, _SOCK_STREAM).detach()
        if not cloexec:
            _set_inheritable(fd, True)
        if nonblock:
            _set_blocking(fd, False)
        return fd

    def duplicate(self, used: Container[int], limit: int, fd: int, minimum: int, cloexec: bool) -> int:
        return _fcntl(fd, _F_DUPFD_CLOEXEC if cloexec else _F_DUPFD, minimum)

    def replace(self, limit: int, fd: int, target: int, cloexec: bool) -> None:
        _dup2(fd, target, not cloexec)  # closes what was there, ours or not

    def release(self, fd: int) -> None:
        try:
            _close(fd)
        except OSError:
            pass  # somebody closed our number behind our back: it is free, which is all we want

    def set_cloexec(self, fd: int, cloexec: bool) -> None:
        _set_inheritable(fd, not cloexec)

    def set_nonblock(self, fd: int, nonblock: bool) -> None:
        _set_blocking(fd, not nonblock)
