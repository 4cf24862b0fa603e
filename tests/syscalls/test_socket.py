"""socket, socketpair, bind, listen, accept, connect, names, shutdown, options - and their refusals."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable

import pytest
from support.loop_family import AF_LOOP, LoopFamily, boot_task
from support.refused import refused

from pysock.syscalls.file import sys_close, sys_fcntl
from pysock.syscalls.message import sys_recv, sys_recvfrom, sys_recvmsg, sys_sendmsg, sys_sendto
from pysock.syscalls.poll import sys_eventfd2
from pysock.syscalls.socket import (
    sys_accept,
    sys_accept4,
    sys_bind,
    sys_connect,
    sys_getpeername,
    sys_getsockname,
    sys_getsockopt,
    sys_listen,
    sys_setsockopt,
    sys_shutdown,
    sys_socket,
    sys_socketpair,
)
from pysock.syscalls.socketcall import socketcall
from pysock.uapi import socket as so
from pysock.uapi.fcntl import F_GETFD, F_GETFL, O_NONBLOCK, O_RDWR
from pysock.uapi.socket import SHUT_RDWR, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_RAW, SOCK_STREAM, SOL_SOCKET
from pysock.vfs.task import Task


def listener(task: Task, name: str = "srv", flags: int = 0) -> int:
    fd = sys_socket(task, AF_LOOP, SOCK_STREAM | flags)
    sys_bind(task, fd, name)
    sys_listen(task, fd, 5)
    return fd


def test_socket_flags(task: Task) -> None:
    plain = sys_socket(task, AF_LOOP, SOCK_STREAM)
    both = sys_socket(task, AF_LOOP, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    assert [sys_fcntl(task, fd, F_GETFL) for fd in (plain, both)] == [O_RDWR, O_RDWR | O_NONBLOCK]
    assert [sys_fcntl(task, fd, F_GETFD) for fd in (plain, both)] == [0, 1]


@pytest.mark.parametrize(
    ("family", "type", "protocol", "number"),
    [
        (-1, SOCK_STREAM, 0, errno.EAFNOSUPPORT),
        (46, SOCK_STREAM, 0, errno.EAFNOSUPPORT),
        (99999, 15, 0, errno.EAFNOSUPPORT),  # the family is looked at before the type
        (40, SOCK_STREAM, 0, errno.EAFNOSUPPORT),
        (0, SOCK_STREAM, 0, errno.EAFNOSUPPORT),
        (AF_LOOP, 11, 0, errno.EINVAL),
        (AF_LOOP, SOCK_STREAM | 0x100, 0, errno.EINVAL),
        (AF_LOOP, -1, 0, errno.EINVAL),
        (AF_LOOP, SOCK_RAW, 0, errno.ESOCKTNOSUPPORT),
        (AF_LOOP, SOCK_STREAM, 6, errno.EPROTONOSUPPORT),
    ],
)
def test_socket_refusals(task: Task, family: int, type: int, protocol: int, number: int) -> None:
    for call in (sys_socket, sys_socketpair):
        with refused(number):
            call(task, family, type, protocol)
    assert not task.fds


def test_no_number_left(task: Task, loop: LoopFamily) -> None:
    task.files.limit = 1
    with refused(errno.EMFILE):
        sys_socketpair(task, AF_LOOP, SOCK_STREAM)
    assert not task.fds and len(loop.released) == 2
    fd = listener(task)
    with refused(errno.EMFILE):
        sys_socket(task, AF_LOOP, SOCK_STREAM)
    assert len(loop.released) == 3
    with refused(errno.EMFILE):
        sys_socketpair(task, AF_LOOP, SOCK_STREAM)
    assert len(loop.released) == 5
    with refused(errno.EMFILE):
        sys_accept(task, fd)
    assert list(task.fds) == [fd]


def test_socketpair(task: Task, loop: LoopFamily) -> None:
    a, b = sys_socketpair(task, AF_LOOP, SOCK_STREAM | SOCK_NONBLOCK)
    assert sys_sendto(task, a, b"hi") == 2
    assert sys_recv(task, b, 10) == b"hi"
    assert sys_fcntl(task, b, F_GETFL) & O_NONBLOCK
    with refused(errno.EOPNOTSUPP):
        sys_socketpair(task, AF_LOOP, SOCK_DGRAM)
    assert len(loop.released) == 2


def test_a_connection(task: Task) -> None:
    server = listener(task)
    client = sys_socket(task, AF_LOOP, SOCK_STREAM)
    sys_bind(task, client, "cli")
    sys_connect(task, client, "srv")
    child, peer = sys_accept4(task, server, SOCK_NONBLOCK | SOCK_CLOEXEC)
    assert peer == "cli"
    assert sys_fcntl(task, child, F_GETFL) & O_NONBLOCK and sys_fcntl(task, child, F_GETFD)
    assert (sys_getsockname(task, child), sys_getpeername(task, child)) == ("srv", "cli")
    sys_sendto(task, client, b"ping")
    assert sys_recv(task, child, 10) == b"ping"
    sys_shutdown(task, client, so.SHUT_WR)
    assert sys_recv(task, child, 10) == b""
    with refused(errno.EPIPE):
        sys_sendto(task, client, b"more")
    with refused(errno.ENOTCONN):
        sys_getpeername(task, server)


def test_connect_tells_a_non_blocking_file(task: Task) -> None:
    listener(task)
    client = sys_socket(task, AF_LOOP, SOCK_STREAM | SOCK_NONBLOCK)
    with refused(errno.EINPROGRESS):
        sys_connect(task, client, "srv")
    with refused(errno.ECONNREFUSED):
        sys_connect(task, client, "nobody")


def test_accept_refusals(task: Task) -> None:
    server = listener(task, flags=SOCK_NONBLOCK)
    with refused(errno.EAGAIN):
        sys_accept(task, server)
    with refused(errno.EINVAL):
        sys_accept4(task, server, 1)
    idle = sys_socket(task, AF_LOOP, SOCK_STREAM)
    with refused(errno.EINVAL):
        sys_accept(task, idle)
    dgram = sys_socket(task, AF_LOOP, SOCK_DGRAM)
    with refused(errno.EOPNOTSUPP):
        sys_accept(task, dgram)


def test_a_connection_that_is_gone_when_it_is_accepted(task: Task, loop: LoopFamily) -> None:
    server = listener(task)
    client = sys_socket(task, AF_LOOP, SOCK_STREAM)
    sys_connect(task, client, "srv")
    child = task.fds[server].socket.sk.pending[0]  # type: ignore[union-attr, attr-defined]
    child.peer = None
    with refused(errno.ECONNABORTED):
        sys_accept(task, server)
    assert loop.released == [child] and len(task.fds) == 2


def test_the_last_number_costs_no_listener_its_connection(task: Task, loop: LoopFamily) -> None:
    server = listener(task)
    client = sys_socket(task, AF_LOOP, SOCK_STREAM)
    sys_connect(task, client, "srv")
    task.files.limit = 2
    with refused(errno.EMFILE):
        sys_accept(task, server)
    task.files.limit = 3
    assert sys_accept(task, server)[0] in task.fds
    assert not loop.released


def test_backlog_is_bounded(task: Task, loop: LoopFamily) -> None:
    fd = listener(task)
    for backlog in (0, 128, -1, 1 << 20):
        sys_listen(task, fd, backlog)
    assert loop.backlogs == [5, 0, 128, so.SOMAXCONN, so.SOMAXCONN]
    task.net.sysctl.register_int("net.core.somaxconn", 100)
    sys_listen(task, fd, 101)
    assert loop.backlogs[-1] == 100


def test_shutdown_refusals(task: Task) -> None:
    a, _ = sys_socketpair(task, AF_LOOP, SOCK_STREAM)
    for how in (-1, 3):
        with refused(errno.EINVAL):
            sys_shutdown(task, a, how)
    with refused(errno.ENOTCONN):
        sys_shutdown(task, sys_socket(task, AF_LOOP, SOCK_STREAM), SHUT_RDWR)


def test_options_go_to_the_core_or_to_the_family(task: Task, loop: LoopFamily) -> None:
    fd = sys_socket(task, AF_LOOP, SOCK_STREAM)
    sys_setsockopt(task, fd, SOL_SOCKET, so.SO_REUSEADDR, 1)
    assert sys_getsockopt(task, fd, SOL_SOCKET, so.SO_REUSEADDR) == b"\1\0\0\0"
    assert not loop.options
    sys_setsockopt(task, fd, 250, 7, -2)
    assert loop.options == {(250, 7): b"\xfe\xff\xff\xff"}
    assert sys_getsockopt(task, fd, 250, 7, 2) == b"\xfe\xff"
    for number in (1 << 31, -(1 << 31) - 1):
        with pytest.raises(OverflowError):
            sys_setsockopt(task, fd, SOL_SOCKET, so.SO_REUSEADDR, number)


CALLS: list[tuple[str, Callable[[Task, int], object]]] = [
    ("bind", lambda task, fd: sys_bind(task, fd, "x")),
    ("listen", lambda task, fd: sys_listen(task, fd)),
    ("accept", sys_accept),
    ("connect", lambda task, fd: sys_connect(task, fd, "x")),
    ("getsockname", sys_getsockname),
    ("getpeername", sys_getpeername),
    ("shutdown", lambda task, fd: sys_shutdown(task, fd, SHUT_RDWR)),
    ("setsockopt", lambda task, fd: sys_setsockopt(task, fd, SOL_SOCKET, so.SO_REUSEADDR, 1)),
    ("getsockopt", lambda task, fd: sys_getsockopt(task, fd, SOL_SOCKET, so.SO_TYPE)),
    ("sendto", lambda task, fd: sys_sendto(task, fd, b"x")),
    ("recv", lambda task, fd: sys_recv(task, fd, 1)),
    ("recvfrom", lambda task, fd: sys_recvfrom(task, fd, 1)),
    ("sendmsg", lambda task, fd: sys_sendmsg(task, fd, [b"x"])),
    ("recvmsg", lambda task, fd: sys_recvmsg(task, fd, 1)),
]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
def test_closed_and_foreign_fds(task: Task, name: str, call: Callable[[Task, int], object]) -> None:
    event = sys_eventfd2(task)
    with refused(errno.ENOTSOCK):
        call(task, event)
    fd = sys_socket(task, AF_LOOP, SOCK_STREAM)
    sys_close(task, fd)
    for number in (fd, -1):
        with refused(errno.EBADF):
            call(task, number)
    assert not task.kernel.lock._is_owned()  # type: ignore[attr-defined]  # the error left the kernel


def test_socketcall(task: Task) -> None:
    server = socketcall(task, so.SYS_SOCKET, (AF_LOOP, SOCK_STREAM, 0))
    client = socketcall(task, so.SYS_SOCKET, (AF_LOOP, SOCK_STREAM))
    socketcall(task, so.SYS_BIND, (server, "srv"))
    socketcall(task, so.SYS_LISTEN, (server, 1))
    socketcall(task, so.SYS_CONNECT, (client, "srv"))
    child, _ = socketcall(task, so.SYS_ACCEPT, (server,))
    assert socketcall(task, so.SYS_SEND, (client, b"abc")) == 3
    assert socketcall(task, so.SYS_RECV, (child, 2)) == b"ab"
    assert socketcall(task, so.SYS_RECVFROM, (child, 2))[0] == b"c"
    for call in (0, 21, -1):
        with refused(errno.EINVAL):
            socketcall(task, call, ())
    with pytest.raises(TypeError):
        socketcall(task, so.SYS_SOCKET, ())


# Threads -------------------------------------------------------------------------------------------------


def blocked(task: Task, body: Callable[[], object], sleepers: int = 1) -> tuple[threading.Thread, list[object]]:
    """A thread that is asleep in ``body`` by now, as one of ``sleepers``, and where its result will be."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(body())
        except OSError as exc:
            results.append(exc.errno)

    thread = threading.Thread(target=run)
    thread.start()
    while len(task.kernel.parked) < sleepers:
        os.sched_yield()
    return thread, results


def test_accept_waits_for_a_connection() -> None:
    task, _ = boot_task("real")
    server = listener(task)
    client = sys_socket(task, AF_LOOP, SOCK_STREAM)
    sys_bind(task, client, "cli")
    thread, results = blocked(task, lambda: sys_accept(task, server)[1])
    sys_connect(task, client, "srv")
    thread.join()
    assert results == ["cli"]


def test_a_call_that_sleeps_goes_on_when_another_thread_closes_the_socket() -> None:
    task, _ = boot_task("real")
    a, b = sys_socketpair(task, AF_LOOP, SOCK_STREAM)
    sock = task.files.get(a).socket
    assert sock is not None
    thread, results = blocked(task, lambda: sys_recv(task, a, 1))
    sys_close(task, a)
    assert sock.file is not None  # as on Linux: the call holds the file
    sys_sendto(task, b, b"x")
    thread.join()
    assert results == [b"x"]
    assert sock.file is None and sys_recv(task, b, 1) == b""


def test_the_end_of_a_task_ends_calls_that_sleep() -> None:
    task, _ = boot_task("real")
    a, _ = sys_socketpair(task, AF_LOOP, SOCK_STREAM)
    server = listener(task)
    receiving, received = blocked(task, lambda: sys_recv(task, a, 1))
    accepting, accepted = blocked(task, lambda: sys_accept(task, server), 2)
    task.exit()
    receiving.join()
    accepting.join()
    assert (received, accepted) == ([b""], [errno.EINVAL])
