"""fcntl(2), and the ioctls that belong to every file (do_fcntl, do_vfs_ioctl)."""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.uapi.fcntl import (
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_GETFD,
    F_GETFL,
    F_GETOWN,
    F_SETFD,
    F_SETFL,
    F_SETOWN,
    FASYNC,
    FD_CLOEXEC,
    O_NONBLOCK,
    SETFL_MASK,
)
from pysock.uapi.ioctl import FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.vfs.fdtable import FdTable
    from pysock.vfs.file import File

_INT = Struct("=i")


def do_fcntl(files: FdTable, fd: int, cmd: int, arg: int) -> int:
    """fcntl(2) with an integer argument. EBADF, EINVAL for an unknown command, EMFILE.

    Owners (F_SETOWN) are accepted and forgotten: nobody here delivers SIGIO.
    """
    if cmd == F_GETFL:
        return files.get(fd).f_flags
    if cmd == F_SETFL:
        set_status_flags(files, fd, arg)
        return 0
    if cmd == F_GETFD:
        return files.close_on_exec(fd)
    if cmd == F_SETFD:
        files.set_close_on_exec(fd, bool(arg & FD_CLOEXEC))
        return 0
    if cmd == F_DUPFD:
        return files.dup(fd, arg)
    if cmd == F_DUPFD_CLOEXEC:
        return files.dup(fd, arg, True)
    files.get(fd)
    if cmd in (F_GETOWN, F_SETOWN):
        return 0
    raise err(errno.EINVAL)


def set_status_flags(files: FdTable, fd: int, flags: int) -> None:
    """F_SETFL: the bits of SETFL_MASK come from ``flags``, the others stay (setfl)."""
    file = files.get(fd)
    _set_flags(files, fd, file, file.f_flags & ~SETFL_MASK | flags & SETFL_MASK)


def set_nonblock(files: FdTable, fd: int, nonblock: bool) -> None:
    """FIONBIO, and what `socket.setblocking` needs."""
    file = files.get(fd)
    _set_flags(files, fd, file, file.f_flags | O_NONBLOCK if nonblock else file.f_flags & ~O_NONBLOCK)


def _set_flags(files: FdTable, fd: int, file: File, flags: int) -> None:
    changed = file.f_flags ^ flags
    if not changed:
        return
    file.f_flags = flags
    file.flags_changed()
    if changed & O_NONBLOCK:
        files.numbers.set_nonblock(fd, bool(flags & O_NONBLOCK))


def do_ioctl(files: FdTable, fd: int, cmd: int, arg: bytes | int) -> bytes | int:
    """ioctl(2): what every file understands, else the file's own. ENOTTY for a request that nobody knows.

    ``arg`` is the bytes that the pointer points to, or an integer. Returns the changed bytes, or the result.
    """
    if cmd == FIONBIO:
        set_nonblock(files, fd, _read_int(arg) != 0)
        return arg
    if cmd == FIOASYNC:
        file = files.get(fd)
        file.f_flags = file.f_flags | FASYNC if _read_int(arg) else file.f_flags & ~FASYNC
        return arg
    if cmd in (FIOCLEX, FIONCLEX):
        files.set_close_on_exec(fd, cmd == FIOCLEX)
        return 0
    return files.get(fd).ioctl(cmd, arg)


def _read_int(arg: bytes | int) -> int:
    if isinstance(arg, int) or len(arg) < _INT.size:
        raise err(errno.EFAULT)
    value: int = _INT.unpack_from(arg)[0]
    return value
