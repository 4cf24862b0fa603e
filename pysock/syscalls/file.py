"""What every fd takes: read(2), write(2), readv(2), close(2), dup(2), fcntl(2), ioctl(2), fstat(2).

On a socket, read and write reach the same recvmsg and sendmsg as recv and send do.
"""

from __future__ import annotations

import errno
import os

from pysock.core.errors import err
from pysock.syscalls.again import look_again
from pysock.syscalls.buffer import as_bytes, gather, scatter, writable_views
from pysock.uapi.fcntl import O_CLOEXEC, O_NONBLOCK
from pysock.vfs.fcntl import do_fcntl, do_ioctl, set_nonblock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import ReadableBuffer, WriteableBuffer

    from pysock.vfs.task import Task


def sys_read(task: Task, fd: int, size: int) -> bytes:
    """read(2): at most ``size`` bytes, b"" at the end. EINVAL for a negative ``size``, EAGAIN, EBADF."""
    if size < 0:
        raise err(errno.EINVAL)
    kernel = task.kernel
    kernel.acquire()
    try:
        file = task.files.get(fd)
        try:
            return file.read(size)
        except BlockingIOError:
            if not file.f_flags & O_NONBLOCK or not look_again(kernel):
                raise
        return file.read(size)
    finally:
        kernel.leave()


def sys_write(task: Task, fd: int, data: ReadableBuffer) -> int:
    """write(2): how many bytes were taken. EAGAIN, EPIPE, EBADF."""
    payload = as_bytes(data)
    kernel = task.kernel
    kernel.enter()
    try:
        file = task.files.get(fd)
        try:
            return file.write(payload)
        except BlockingIOError:
            if not file.f_flags & O_NONBLOCK or not look_again(kernel):
                raise
        return file.write(payload)
    finally:
        kernel.leave()


def sys_readv(task: Task, fd: int, buffers: Iterable[WriteableBuffer]) -> int:
    """readv(2): fill the buffers one after the other; how many bytes came. EINVAL for more than 1024
    buffers.
    """
    views = writable_views(buffers)
    data = sys_read(task, fd, sum(map(len, views)))
    scatter(data, views)
    return len(data)


def sys_writev(task: Task, fd: int, buffers: Iterable[ReadableBuffer]) -> int:
    """writev(2): the buffers as one write. EINVAL for more than 1024 of them."""
    try:
        data = gather(buffers)
    except OSError:
        raise err(errno.EINVAL) from None
    return sys_write(task, fd, data)


def sys_close(task: Task, fd: int) -> None:
    """close(2): EBADF. The fd is free even if the last close of a lingering socket waits."""
    kernel = task.kernel
    kernel.enter()
    try:
        task.files.close(fd)
    finally:
        kernel.leave()


def sys_dup(task: Task, fd: int) -> int:
    """dup(2): a second fd of the same open file, the lowest free one."""
    kernel = task.kernel
    kernel.acquire()
    try:
        return task.files.dup(fd)
    finally:
        kernel.leave()


def sys_dup2(task: Task, fd: int, target: int) -> int:
    """dup2(2): ``target`` becomes a second fd of the same open file; what it was before is closed."""
    return _dup_to(task, fd, target, False)


def sys_dup3(task: Task, fd: int, target: int, flags: int = 0) -> int:
    """dup3(2): dup2 with O_CLOEXEC. EINVAL for other flags, and for ``fd`` itself as target."""
    if flags & ~O_CLOEXEC or fd == target:
        raise err(errno.EINVAL)
    return _dup_to(task, fd, target, bool(flags & O_CLOEXEC))


def _dup_to(task: Task, fd: int, target: int, cloexec: bool) -> int:
    kernel = task.kernel
    kernel.enter()  # dup2 may close, which sends
    try:
        if fd == target:
            task.files.get(fd)
            return fd
        return task.files.dup2(fd, target, cloexec)
    finally:
        kernel.leave()


def sys_fcntl(task: Task, fd: int, cmd: int, arg: int = 0) -> int:
    """fcntl(2): F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL. EINVAL for other commands."""
    kernel = task.kernel
    kernel.acquire()
    try:
        return do_fcntl(task.files, fd, cmd, arg)
    finally:
        kernel.leave()


def sys_ioctl(task: Task, fd: int, cmd: int, arg: bytes | int = 0) -> bytes | int:
    """ioctl(2). ``arg`` is an int, or the bytes that the pointer points to; these come back changed. ENOTTY,
    EFAULT.
    """
    kernel = task.kernel
    kernel.enter()
    try:
        return do_ioctl(task.files, fd, cmd, arg)
    finally:
        kernel.leave()


def sys_set_nonblock(task: Task, fd: int, nonblock: bool) -> None:
    """What ``ioctl(FIONBIO)`` does, without packing an int: `socket.setblocking` calls it."""
    kernel = task.kernel
    kernel.acquire()
    try:
        set_nonblock(task.files, fd, nonblock)
    finally:
        kernel.leave()


def sys_fstat(task: Task, fd: int) -> os.stat_result:
    """fstat(2): type, inode number, owner and link count; everything else is 0."""
    kernel = task.kernel
    kernel.acquire()
    try:
        inode = task.files.get(fd).f_inode
    finally:
        kernel.leave()
    return os.stat_result((inode.i_mode, inode.i_ino, 0, 1, task.creds.uid, task.creds.gid, 0, 0, 0, 0))
