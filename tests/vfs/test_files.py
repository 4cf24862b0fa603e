"""Files: eventfd, fcntl and ioctl, sockfs, tasks."""

from __future__ import annotations

import contextvars
import errno
import os
import stat
import threading
from collections.abc import Iterator

import pytest
from support.loop_family import AF_LOOP, LoopFamily, boot_task
from support.refused import refused

from pysock.syscalls.file import (
    sys_close,
    sys_dup,
    sys_fcntl,
    sys_fstat,
    sys_ioctl,
    sys_read,
    sys_set_nonblock,
    sys_write,
)
from pysock.syscalls.poll import sys_eventfd2, sys_poll
from pysock.syscalls.socket import sys_socket, sys_socketpair
from pysock.uapi.fcntl import (
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    EFD_SEMAPHORE,
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_GETFD,
    F_GETFL,
    F_GETOWN,
    F_SETFD,
    F_SETFL,
    FASYNC,
    O_APPEND,
    O_NONBLOCK,
    O_RDWR,
)
from pysock.uapi.ioctl import FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX
from pysock.uapi.poll import POLLIN, POLLOUT
from pysock.uapi.socket import SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM
from pysock.vfs.epoll import Epoll
from pysock.vfs.fdnum import PlaceholderFds
from pysock.vfs.file import File
from pysock.vfs.inode import Inode
from pysock.vfs.task import Task, current, current_task, set_default_task


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


# eventfd -------------------------------------------------------------------------------------------------


def test_eventfd_adds_up_and_empties(task: Task) -> None:
    fd = sys_eventfd2(task, 3, EFD_NONBLOCK)
    assert sys_write(task, fd, u64(4)) == 8
    assert sys_read(task, fd, 8) == u64(7)
    with refused(errno.EAGAIN):
        sys_read(task, fd, 8)
    assert sys_poll(task, [(fd, POLLIN | POLLOUT)], 0) == [(fd, POLLOUT)]


def test_eventfd_as_a_semaphore(task: Task) -> None:
    fd = sys_eventfd2(task, 2, EFD_NONBLOCK | EFD_SEMAPHORE)
    assert [sys_read(task, fd, 100), sys_read(task, fd, 8)] == [u64(1), u64(1)]
    with refused(errno.EAGAIN):
        sys_read(task, fd, 8)


def test_eventfd_is_full_one_below_the_end(task: Task) -> None:
    fd = sys_eventfd2(task, 0, EFD_NONBLOCK | EFD_CLOEXEC)
    sys_write(task, fd, u64(2**64 - 2))
    with refused(errno.EAGAIN):
        sys_write(task, fd, u64(1))
    sys_write(task, fd, u64(0))
    assert sys_poll(task, [(fd, POLLIN | POLLOUT)], 0) == [(fd, POLLIN)]
    assert sys_fcntl(task, fd, F_GETFD) == 1


def test_eventfd_refusals(task: Task) -> None:
    fd = sys_eventfd2(task)
    for action in (
        lambda: sys_read(task, fd, 7),
        lambda: sys_write(task, fd, b"1234567"),
        lambda: sys_write(task, fd, u64(2**64 - 1)),
        lambda: sys_eventfd2(task, 0, 2),
    ):
        with refused(errno.EINVAL):
            action()


def test_a_blocked_reader_and_writer_wake_each_other() -> None:
    task, _ = boot_task("real")
    fd = sys_eventfd2(task)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(sys_read(task, fd, 8)))
    reader.start()
    while not task.kernel.parked:
        os.sched_yield()
    sys_write(task, fd, u64(2**64 - 2))
    reader.join()
    sys_write(task, fd, u64(2**64 - 2))
    writer = threading.Thread(target=sys_write, args=(task, fd, u64(5)))
    writer.start()
    while not task.kernel.parked:
        os.sched_yield()
    assert sys_read(task, fd, 8) == u64(2**64 - 2)
    writer.join()
    assert sys_read(task, fd, 8) == u64(5)


# fcntl and ioctl -----------------------------------------------------------------------------------------


def test_status_flags_belong_to_the_file(task: Task) -> None:
    fd = sys_socket(task, AF_LOOP, SOCK_STREAM)
    twin = sys_dup(task, fd)
    assert sys_fcntl(task, fd, F_GETFL) == O_RDWR
    sys_fcntl(task, fd, F_SETFL, O_NONBLOCK | O_APPEND | 0o100)  # O_CREAT cannot be changed
    assert sys_fcntl(task, twin, F_GETFL) == O_RDWR | O_NONBLOCK | O_APPEND
    sys_fcntl(task, twin, F_SETFL, 0)
    assert sys_fcntl(task, fd, F_GETFL) == O_RDWR


def test_fionbio(task: Task) -> None:
    fd = sys_socket(task, AF_LOOP, SOCK_STREAM)
    sys_ioctl(task, fd, FIONBIO, b"\1\0\0\0")
    assert sys_fcntl(task, fd, F_GETFL) & O_NONBLOCK
    sys_ioctl(task, fd, FIONBIO, b"\0\0\0\0")
    assert not sys_fcntl(task, fd, F_GETFL) & O_NONBLOCK
    sys_set_nonblock(task, fd, True)
    assert sys_fcntl(task, fd, F_GETFL) & O_NONBLOCK
    for arg in (1, b"\1"):
        with refused(errno.EFAULT):
            sys_ioctl(task, fd, FIONBIO, arg)


def test_ioctls_of_every_file(task: Task) -> None:
    fd = sys_socket(task, AF_LOOP, SOCK_STREAM)
    sys_ioctl(task, fd, FIOCLEX)
    assert sys_fcntl(task, fd, F_GETFD) == 1
    sys_ioctl(task, fd, FIONCLEX)
    assert sys_fcntl(task, fd, F_GETFD) == 0
    sys_ioctl(task, fd, FIOASYNC, b"\1\0\0\0")
    assert sys_fcntl(task, fd, F_GETFL) & FASYNC
    assert sys_ioctl(task, fd, 1234, b"mine") == b"mine"  # the family's
    for target in (fd, sys_eventfd2(task)):
        with refused(errno.ENOTTY):
            sys_ioctl(task, target, 999)


def test_fcntl_dup_and_refusals(task: Task) -> None:
    fd = sys_socket(task, AF_LOOP, SOCK_STREAM)
    plain = sys_fcntl(task, fd, F_DUPFD, fd + 7)
    closing = sys_fcntl(task, fd, F_DUPFD_CLOEXEC, fd + 7)
    assert (plain, closing) == (fd + 7, fd + 8)
    assert [sys_fcntl(task, n, F_GETFD) for n in (plain, closing)] == [0, 1]
    sys_fcntl(task, closing, F_SETFD, 0)
    assert sys_fcntl(task, closing, F_GETFD) == 0
    assert sys_fcntl(task, fd, F_GETOWN) == 0
    with refused(errno.EINVAL):
        sys_fcntl(task, fd, 4242)
    for cmd in (F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD, F_GETOWN, 4242):
        with refused(errno.EBADF):
            sys_fcntl(task, 3, cmd)


def test_nonblock_reaches_the_placeholder() -> None:
    task, _ = boot_task(numbers=PlaceholderFds())
    fd = sys_socket(task, AF_LOOP, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    assert not os.get_blocking(fd) and not os.get_inheritable(fd)
    sys_fcntl(task, fd, F_SETFL, 0)
    sys_fcntl(task, fd, F_SETFD, 0)
    assert os.get_blocking(fd) and os.get_inheritable(fd)
    task.exit()
    with refused(errno.EBADF):
        os.fstat(fd)


def test_what_a_kind_of_file_lacks(task: Task) -> None:
    file = File(Inode(1, 0))
    assert file.poll(None) == 0
    for action in (lambda: file.read(1), lambda: file.write(b"x")):
        with refused(errno.EINVAL):
            action()


# sockfs --------------------------------------------------------------------------------------------------


def test_fstat_of_a_socket(task: Task) -> None:
    fd, other = sys_socketpair(task, AF_LOOP, SOCK_STREAM)
    info = sys_fstat(task, fd)
    assert stat.S_ISSOCK(info.st_mode) and info.st_nlink == 1
    assert info.st_ino != sys_fstat(task, other).st_ino
    assert sys_fstat(task, sys_dup(task, fd)).st_ino == info.st_ino
    with refused(errno.EBADF):
        sys_fstat(task, 3)


def test_the_last_close_releases_the_socket_once(task: Task, loop: LoopFamily) -> None:
    fd = sys_socket(task, AF_LOOP, SOCK_STREAM)
    sock = task.fds[fd].socket
    assert sock is not None and sock.file is task.fds[fd]
    twin = sys_dup(task, fd)
    sys_close(task, fd)
    assert not loop.released
    sys_close(task, twin)
    assert loop.released == [sock.sk] and sock.file is None


def test_exit_closes_everything(task: Task, loop: LoopFamily) -> None:
    for _ in range(3):
        sys_socket(task, AF_LOOP, SOCK_STREAM)
    task.exit()
    assert len(loop.released) == 3 and not task.fds


def test_inode_numbers_are_the_kernels(task: Task) -> None:
    other = Task.for_kernel(task.kernel)
    inos = {sys_fstat(t, sys_socket(t, AF_LOOP, SOCK_STREAM)).st_ino for t in (task, other, task, other)}
    assert len(inos) == 4


# tasks ---------------------------------------------------------------------------------------------------


@pytest.fixture
def no_default() -> Iterator[None]:
    before = set_default_task(None)
    token = current.set(None)
    yield
    current.reset(token)
    set_default_task(before)


@pytest.mark.usefixtures("no_default")
def test_which_task_is_current(task: Task) -> None:
    with pytest.raises(RuntimeError, match="set_default_task"):
        current_task()
    other = Task.for_kernel(task.kernel, pid=4711)
    assert set_default_task(task) is None
    assert current_task() is task
    context = contextvars.copy_context()
    context.run(current.set, other)
    assert current_task() is task
    assert context.run(current_task) is other
    assert set_default_task(None) is task


def test_a_task_has_fds_and_namespace_of_its_own(task: Task) -> None:
    net = task.kernel.new_net("blue")
    other = Task.for_kernel(task.kernel, net=net, pid=7)
    assert (other.net, other.pid, other.kernel) == (net, 7, task.kernel)
    assert sys_socket(task, AF_LOOP, SOCK_STREAM) == sys_socket(other, AF_LOOP, SOCK_STREAM)
    assert task.fds is task.files.files and task.fds is not other.fds
    assert "blue" in repr(other)


def test_boot() -> None:
    task = Task.boot(clock="virtual", seed=3)
    assert task.net is task.kernel.init_net and task.creds is task.kernel.creds
    assert isinstance(Epoll(task.kernel, task.sockfs.anon_inode()), File)
