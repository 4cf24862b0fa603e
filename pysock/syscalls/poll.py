"""Waiting for files: poll(2), select(2), epoll(7), eventfd(2). Timeouts are ns; None or negative waits for
ever.

Each call lets due timers and pending softirqs run before it looks: "nothing is ready" is never told too
early.
"""

from __future__ import annotations

import errno

from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.uapi.fcntl import EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE
from pysock.uapi.poll import EPOLL_CLOEXEC, EPOLL_CTL_ADD
from pysock.vfs.epoll import Epoll
from pysock.vfs.epoll_ctl import do_epoll_ctl
from pysock.vfs.eventfd import EventFd
from pysock.vfs.poll import do_poll, do_select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pysock.core.kernel import Kernel
    from pysock.vfs.epoll import ForeignPoller
    from pysock.vfs.task import Task


def _deadline(kernel: Kernel, now: int, timeout_ns: int | None) -> int:
    """Let pending softirqs run, and return until when to wait: an instant, 0 for not at all, or NEVER."""
    if kernel.softnet.pending:
        kernel.softnet.run()
    if timeout_ns is None or timeout_ns < 0:
        return NEVER
    return min(now + timeout_ns, NEVER) if timeout_ns else 0


def sys_poll(
    task: Task,
    ufds: Sequence[tuple[int, int]],
    timeout_ns: int | None = None,
    foreign: ForeignPoller | None = None,
) -> list[tuple[int, int]]:
    """poll(2) for (fd, POLL* bits): the (fd, bits) of those that have some; POLLNVAL for an fd that is not
    open.

    Real descriptors are watched by ``foreign`` in the same sleep: [] may mean that only it has something to
    report.
    """
    kernel = task.kernel
    now = kernel.enter()
    try:
        deadline = _deadline(kernel, now, timeout_ns)
        return do_poll(kernel, task.fds, ufds, deadline, foreign)
    finally:
        kernel.leave()


def sys_select(
    task: Task,
    rlist: Iterable[int],
    wlist: Iterable[int],
    xlist: Iterable[int],
    timeout_ns: int | None = None,
    foreign: ForeignPoller | None = None,
) -> tuple[list[int], list[int], list[int]]:
    """select(2): the fds of each list that are ready. EBADF for one that is not open. ``foreign`` as in
    `sys_poll`.
    """
    kernel = task.kernel
    now = kernel.enter()
    try:
        deadline = _deadline(kernel, now, timeout_ns)
        return do_select(kernel, task.fds, rlist, wlist, xlist, deadline, foreign)
    finally:
        kernel.leave()


def sys_epoll_create1(task: Task, flags: int = 0) -> int:
    """epoll_create1(2). EINVAL for a flag other than EPOLL_CLOEXEC, EMFILE."""
    if flags & ~EPOLL_CLOEXEC:
        raise err(errno.EINVAL)
    kernel = task.kernel
    kernel.acquire()
    try:
        return task.files.install(Epoll(kernel, task.sockfs.anon_inode()), bool(flags & EPOLL_CLOEXEC))
    finally:
        kernel.leave()


def sys_epoll_ctl(task: Task, epfd: int, op: int, fd: int, events: int = 0, data: int | None = None) -> None:
    """epoll_ctl(2): ``data`` is what epoll_wait returns for this fd, the fd itself unless given.

    EBADF, EEXIST, ENOENT, EINVAL, ELOOP, EPERM. A number that is no fd of the task may be a real descriptor:
    it is handed to the epoll's `ForeignPoller`, which `Task.make_foreign` makes when the first one is added.
    """
    kernel = task.kernel
    kernel.enter()
    try:
        epfile = task.files.get(epfd)
        file = task.fds.get(fd)
        if file is not None:
            do_epoll_ctl(epfile, op, fd, file, events, fd if data is None else data)
        elif isinstance(epfile, Epoll):
            if epfile.foreign is None and op == EPOLL_CTL_ADD and task.make_foreign is not None:
                epfile.foreign = task.make_foreign()
            epfile.foreign_ctl(op, fd, events)
        else:
            raise err(errno.EBADF)
    finally:
        kernel.leave()


def sys_epoll_wait(
    task: Task, epfd: int, maxevents: int, timeout_ns: int | None = None
) -> list[tuple[int, int]]:
    """epoll_wait(2): up to ``maxevents`` pairs (data, events); [] when the time is up. EINVAL, EBADF."""
    kernel = task.kernel
    now = kernel.enter()
    try:
        deadline = _deadline(kernel, now, timeout_ns)
        file = task.fds.get(epfd)
        if type(file) is not Epoll:
            raise err(errno.EBADF if file is None else errno.EINVAL)
        if maxevents <= 0:
            raise err(errno.EINVAL)
        return file.wait(maxevents, deadline)
    finally:
        kernel.leave()


def sys_eventfd2(task: Task, count: int = 0, flags: int = 0) -> int:
    """eventfd2(2): EFD_SEMAPHORE, EFD_NONBLOCK, EFD_CLOEXEC. EINVAL for another flag, EMFILE."""
    if flags & ~(EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC):
        raise err(errno.EINVAL)
    kernel = task.kernel
    kernel.acquire()
    try:
        file = EventFd(kernel, task.sockfs.anon_inode(), count & 0xFFFFFFFF, flags)
        return task.files.install(file, bool(flags & EFD_CLOEXEC))
    finally:
        kernel.leave()
