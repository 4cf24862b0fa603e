"""Timeouts. A socket with a timeout is a non-blocking file; the call tries, waits for the one file it works on, and
tries again.

(CPython waits first and calls then, because there each try is a system call. The results are the same.)
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.uapi.poll import EPOLLERR, EPOLLHUP
from pysock.vfs.poll import poll_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pysock.vfs.task import Task


def wait_for(task: Task, fd: int, events: int, deadline: int) -> bool:
    """Wait until ``fd`` has one of the EPOLL* bits ``events``; False when ``deadline`` (monotonic ns) has passed.
    EBADF.
    """
    kernel = task.kernel
    kernel.enter()
    try:
        file = task.fds.get(fd)
        if file is None:
            raise err(errno.EBADF)
        return bool(poll_files(kernel, ((file, events | EPOLLERR | EPOLLHUP),), deadline)[0])
    finally:
        kernel.leave()


def retry(task: Task, fd: int, timeout: int, events: int, call: Callable[..., Any], *args: Any) -> Any:
    """``call(task, fd, *args)`` until it does not say EAGAIN; TimeoutError("timed out") after ``timeout`` ns."""
    deadline = task.kernel.clock_ns() + timeout
    while True:
        try:
            return call(task, fd, *args)
        except BlockingIOError:
            pass
        if not wait_for(task, fd, events, deadline):
            raise TimeoutError("timed out")
