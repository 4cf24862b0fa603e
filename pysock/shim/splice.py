"""os.sendfile and os.splice where one end is ours: a read here and a write there, in the order that loses nothing.

As on Linux, sendfile reads what it can seek in, or moves what a socket has into a pipe; splice needs a pipe at one end.
"""

from __future__ import annotations

import errno
import os
import stat

from pysock.core.errors import err
from pysock.shim import real
from pysock.shim.state import current
from pysock.syscalls.file import sys_write
from pysock.syscalls.message import sys_recv
from pysock.uapi.socket import MSG_DONTWAIT, MSG_PEEK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pysock.vfs.task import Task

#: How much one call moves at most; programs call again until the file is at its end.
_MAX = 1 << 18
#: The same where a pipe is at one end: what its buffer takes.
_PIPE_MAX = 1 << 16

_pread = os.pread
_lseek = os.lseek
_SEEK_CUR = os.SEEK_CUR


def sendfile(out_fd: int, in_fd: int, offset: int | None, count: int, *rest: Any, **more: Any) -> int:
    """os.sendfile. EINVAL when the input can't be seeked in and no pipe is the output, ESPIPE when an offset was given
    too.
    """
    task = current()
    if in_fd in task.fds:
        if offset is not None:
            raise err(errno.ESPIPE)
        if out_fd in task.fds or not _is_pipe(out_fd):
            raise err(errno.EINVAL)
        return _to_pipe(task, in_fd, out_fd, count)
    if out_fd not in task.fds:
        return real.os_sendfile(out_fd, in_fd, offset, count, *rest, **more)
    if count < 0:
        raise err(errno.EINVAL)
    size = min(count, _MAX)
    if offset is not None:
        data = _pread(in_fd, size, offset)
        return sys_write(task, out_fd, data) if data else 0
    try:
        data = _pread(in_fd, size, _lseek(in_fd, 0, _SEEK_CUR))
    except OSError as exc:
        raise err(errno.EINVAL) from None if exc.errno == errno.ESPIPE else exc
    sent = sys_write(task, out_fd, data) if data else 0
    _lseek(in_fd, sent, _SEEK_CUR)
    return sent


def splice(
    src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None, flags: int = 0
) -> int:
    """os.splice. EINVAL without a pipe, ESPIPE for an offset."""
    task = current()
    ours = src in task.fds, dst in task.fds
    if not any(ours):
        return real.os_splice(src, dst, count, offset_src, offset_dst, flags)
    if count < 0:
        raise ValueError("count cannot be negative")
    if all(ours) or not _is_pipe(dst if ours[0] else src):
        raise err(errno.EINVAL)
    if offset_src is not None or offset_dst is not None:
        raise err(errno.EINVAL if (offset_src is not None) == ours[0] else errno.ESPIPE)
    if ours[0]:
        return _to_pipe(task, src, dst, count)
    return _from_pipe(task, src, dst, count)


def _is_pipe(fd: int) -> bool:
    return stat.S_ISFIFO(real.os_fstat(fd).st_mode)


def _to_pipe(task: Task, fd: int, pipe: int, count: int) -> int:
    """What the pipe does not take stays in the socket."""
    data = sys_recv(task, fd, min(count, _PIPE_MAX), MSG_PEEK)
    if not data:
        return 0
    moved = real.os_write(pipe, data)
    sys_recv(task, fd, moved, MSG_DONTWAIT)
    return moved


def _from_pipe(task: Task, pipe: int, fd: int, count: int) -> int:
    """What was taken from the pipe is sent whatever O_NONBLOCK says: there is no way to put it back."""
    data = real.os_read(pipe, min(count, _PIPE_MAX))
    kernel = task.kernel
    kernel.enter()
    try:
        sock = task.files.get(fd).socket
        if sock is None:
            raise err(errno.EINVAL)
        sent = 0
        while sent < len(data):
            sent += sock.ops.sendmsg(sock, data[sent:], 0)
        return sent
    finally:
        kernel.leave()


def replacements() -> list[tuple[Any, Callable[..., Any]]]:
    """``(original, ours)`` of everything here."""
    return [(real.os_sendfile, sendfile), (real.os_splice, splice)]
