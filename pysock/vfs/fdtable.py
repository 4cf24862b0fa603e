"""FdTable: the open files of one task, by number (struct files_struct).

``files`` is a plain dict that is never replaced, so that the system calls may keep a reference to it
(`Task.fds`) and look a number up without a call. Everything that changes it goes through the methods here.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.uapi.fcntl import FD_CLOEXEC, O_NONBLOCK
from pysock.vfs.fdnum import VirtualFds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.vfs.fdnum import FdNumbers
    from pysock.vfs.file import File

#: RLIMIT_NOFILE unless told otherwise: what distributions give a service. Simulations like it large.
RLIMIT_NOFILE_DEFAULT: Final = 1 << 20


class FdTable:
    """The fds of one task. Methods raise EBADF for a number that is not open, EMFILE when none is left."""

    __slots__ = ("cloexec", "files", "limit", "numbers")

    def __init__(self, numbers: FdNumbers | None = None, limit: int = RLIMIT_NOFILE_DEFAULT) -> None:
        self.numbers: FdNumbers = VirtualFds() if numbers is None else numbers
        self.limit = limit
        self.files: dict[int, File] = {}
        self.cloexec: set[int] = set()

    def get(self, fd: int) -> File:
        """The file behind ``fd`` (fdget), without taking a reference."""
        file = self.files.get(fd)
        if file is None:
            raise err(errno.EBADF)
        return file

    def install(self, file: File, cloexec: bool = False) -> int:
        """Give ``file`` the lowest free number and a reference (get_unused_fd_flags, fd_install)."""
        files = self.files
        fd = self.numbers.reserve(files, self.limit, cloexec, bool(file.f_flags & O_NONBLOCK))
        if fd in files:
            self.forget(fd)  # C code has closed the placeholder behind our back, so the number came again
        files[fd] = file
        file.f_count += 1
        if cloexec:
            self.cloexec.add(fd)
        return fd

    def _put_in(self, fd: int, file: File, cloexec: bool) -> None:
        self.files[fd] = file
        file.f_count += 1
        if cloexec:
            self.cloexec.add(fd)
        else:
            self.cloexec.discard(fd)

    def close(self, fd: int) -> None:
        """close(2). The number is free at once; the last reference releases the file, which may linger."""
        file = self.files.pop(fd, None)
        if file is None:
            raise err(errno.EBADF)
        self.cloexec.discard(fd)
        self.numbers.release(fd)
        file.put()

    def forget(self, fd: int) -> None:
        """Like `close`, but the number is the operating system's again: somebody has closed or replaced it
        there.
        """
        file = self.files.pop(fd, None)
        if file is None:
            raise err(errno.EBADF)
        self.cloexec.discard(fd)
        file.put()

    def dup(self, fd: int, minimum: int = 0, cloexec: bool = False) -> int:
        """dup(2) and F_DUPFD: the lowest free number from ``minimum`` on becomes a second name of the
        file.
        """
        file = self.get(fd)
        new = self.numbers.duplicate(self.files, self.limit, fd, minimum, cloexec)
        self._put_in(new, file, cloexec)
        return new

    def dup2(self, fd: int, target: int, cloexec: bool = False) -> int:
        """dup2(2) with fd != target: ``target`` becomes a second name of the file; what it named is
        closed.
        """
        file = self.get(fd)
        self.numbers.replace(self.limit, fd, target, cloexec)
        old = self.files.get(target)
        self._put_in(target, file, cloexec)
        if old is not None:
            old.put()
        return target

    def close_on_exec(self, fd: int) -> int:
        """FD_CLOEXEC or 0 (F_GETFD)."""
        self.get(fd)
        return FD_CLOEXEC if fd in self.cloexec else 0

    def set_close_on_exec(self, fd: int, cloexec: bool) -> None:
        """F_SETFD, FIOCLEX, FIONCLEX."""
        self.get(fd)
        self.numbers.set_cloexec(fd, cloexec)
        if cloexec:
            self.cloexec.add(fd)
        else:
            self.cloexec.discard(fd)

    def owned(self) -> list[int]:
        """The fds that `close_all` closes, lowest first."""
        return sorted(self.files)

    def close_all(self) -> None:
        """exit(2): close every fd. Calls that sleep on a file end with an error."""
        for fd in self.owned():
            file = self.files.get(fd)
            if file is not None:  # else a release has closed it
                file.interrupt()
                self.close(fd)

    def __repr__(self) -> str:
        return f"<FdTable: {len(self.files)} open>"
