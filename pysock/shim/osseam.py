"""The descriptor functions of `os` and `fcntl` under patch: a number of the current task goes to the vfs, any other one
to the operating system.

Under patch every fd of ours is also a real placeholder descriptor, so what is not replaced here (fstat, isatty,
inheritance) sees a socket. The overlays are modules like `os` for code that holds sockets of ours without a patch: the
face's socket.py.
"""

from __future__ import annotations

import os
from types import ModuleType

from pysock.shim import real, splice
from pysock.shim.fdarg import as_fd
from pysock.shim.state import current
from pysock.syscalls.buffer import as_bytes
from pysock.syscalls.file import (
    sys_close,
    sys_dup2,
    sys_dup3,
    sys_fcntl,
    sys_fstat,
    sys_ioctl,
    sys_read,
    sys_readv,
    sys_set_nonblock,
    sys_write,
    sys_writev,
)
from pysock.uapi.fcntl import F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, FD_CLOEXEC, O_CLOEXEC, O_NONBLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_IOCTL_INT_MAX = 0xFFFFFFFF


def close(fd: int) -> None:
    """os.close."""
    task = current()
    if fd in task.fds:
        sys_close(task, fd)
    else:
        real.os_close(fd)


def closerange(fd_low: int, fd_high: int, /) -> None:
    """os.closerange."""
    task = current()
    for fd in sorted(task.fds):
        if fd_low <= fd < fd_high and fd in task.fds:
            try:
                sys_close(task, fd)
            except OSError:
                pass
    real.os_closerange(fd_low, fd_high)


def read(fd: int, length: int, /) -> bytes:
    """os.read."""
    task = current()
    return sys_read(task, fd, length) if fd in task.fds else real.os_read(fd, length)


def readv(fd: int, buffers: Any, /) -> int:
    """os.readv."""
    task = current()
    return sys_readv(task, fd, buffers) if fd in task.fds else real.os_readv(fd, buffers)


def write(fd: int, data: Any, /) -> int:
    """os.write."""
    task = current()
    return sys_write(task, fd, data) if fd in task.fds else real.os_write(fd, data)


def writev(fd: int, buffers: Any, /) -> int:
    """os.writev."""
    task = current()
    return sys_writev(task, fd, buffers) if fd in task.fds else real.os_writev(fd, buffers)


def dup(fd: int, /) -> int:
    """os.dup: the new descriptor is not inheritable."""
    task = current()
    return sys_fcntl(task, fd, F_DUPFD_CLOEXEC, 0) if fd in task.fds else real.os_dup(fd)


def dup2(fd: int, fd2: int, inheritable: bool = True) -> int:
    """os.dup2. Where a real descriptor takes the number of one of ours, ours is closed."""
    task = current()
    if fd in task.fds:
        if fd == fd2 or inheritable:
            return sys_dup2(task, fd, fd2)
        return sys_dup3(task, fd, fd2, O_CLOEXEC)
    real.os_dup2(fd, fd2, inheritable)
    if fd2 in task.fds:
        kernel = task.kernel
        kernel.enter()
        try:
            task.files.forget(fd2)
        finally:
            kernel.leave()
    return fd2


def fstat(fd: int) -> os.stat_result:
    """os.fstat."""
    task = current()
    return sys_fstat(task, fd) if fd in task.fds else real.os_fstat(fd)


def get_blocking(fd: int, /) -> bool:
    """os.get_blocking."""
    task = current()
    return not sys_fcntl(task, fd, F_GETFL) & O_NONBLOCK if fd in task.fds else real.os_get_blocking(fd)


def set_blocking(fd: int, blocking: bool, /) -> None:
    """os.set_blocking."""
    task = current()
    if fd in task.fds:
        sys_set_nonblock(task, fd, not blocking)
    else:
        real.os_set_blocking(fd, blocking)


def get_inheritable(fd: int, /) -> bool:
    """os.get_inheritable."""
    task = current()
    return not sys_fcntl(task, fd, F_GETFD) & FD_CLOEXEC if fd in task.fds else real.os_get_inheritable(fd)


def set_inheritable(fd: int, inheritable: int, /) -> None:
    """os.set_inheritable."""
    task = current()
    if fd in task.fds:
        sys_fcntl(task, fd, F_SETFD, 0 if inheritable else FD_CLOEXEC)
    else:
        real.os_set_inheritable(fd, bool(inheritable))


def fcntl(fd: Any, cmd: int, arg: Any = 0, /) -> Any:
    """fcntl.fcntl."""
    number = as_fd(fd)
    task = current()
    if number not in task.fds:
        return real.fcntl_fcntl(number, cmd, arg)
    if not isinstance(arg, int):
        return real.fcntl_fcntl(number, cmd, arg)  # locks and owners: the placeholder will do
    return sys_fcntl(task, number, cmd, arg)


def ioctl(fd: Any, request: int, arg: Any = 0, mutate_flag: bool = True, /) -> Any:
    """fcntl.ioctl: a mutable buffer is changed in place, of an immutable one a changed copy is returned."""
    number = as_fd(fd)
    task = current()
    if number not in task.fds:
        return real.fcntl_ioctl(number, request, arg, mutate_flag)
    request &= _IOCTL_INT_MAX
    if isinstance(arg, int):
        result = sys_ioctl(task, number, request, arg)
        return result if isinstance(result, int) else 0
    if isinstance(arg, str):
        arg = arg.encode()
    result = sys_ioctl(task, number, request, as_bytes(arg))
    if isinstance(result, int):
        return result
    view = memoryview(arg)
    if view.readonly or not mutate_flag:
        return result
    view.cast("B")[: len(result)] = result
    return 0


def replacements() -> list[tuple[Any, Callable[..., Any]]]:
    """``(original, ours)`` of everything here."""
    return [
        (real.os_close, close),
        (real.os_closerange, closerange),
        (real.os_dup, dup),
        (real.os_dup2, dup2),
        (real.os_fstat, fstat),
        (real.os_get_blocking, get_blocking),
        (real.os_get_inheritable, get_inheritable),
        (real.os_read, read),
        (real.os_readv, readv),
        (real.os_set_blocking, set_blocking),
        (real.os_set_inheritable, set_inheritable),
        (real.os_write, write),
        (real.os_writev, writev),
        (real.fcntl_fcntl, fcntl),
        (real.fcntl_ioctl, ioctl),
        *splice.replacements(),
    ]


def os_overlay() -> ModuleType:
    """A module that is `os`, but for these functions."""
    module = ModuleType("os")
    module.__dict__.update(vars(os))
    for original, ours in replacements():
        name = original.__name__
        if getattr(os, name, None) is original:
            setattr(module, name, ours)
    return module


def selectors_overlay() -> ModuleType:
    """A module that is `selectors`, but for its `PollSelector`, with which `socket.sendfile` waits."""
    import selectors

    from pysock.shim import cselect

    module = ModuleType("selectors")
    module.__dict__.update(vars(selectors))
    vars(module)["PollSelector"] = type("PollSelector", (selectors.PollSelector,), {"_selector_cls": cselect.poll})
    return module
