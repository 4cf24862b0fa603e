"""poll and select: what they report, what ends them, and that they leave no trace in the files' wait queues."""

from __future__ import annotations

import errno
import os
import select
import threading

import pytest
from support.loop_family import AF_LOOP, LoopFamily, boot_task
from support.refused import refused

from pysock.core.wait import WaitQueue
from pysock.syscalls.file import sys_close
from pysock.syscalls.message import sys_recv, sys_sendto
from pysock.syscalls.poll import sys_poll, sys_select
from pysock.syscalls.socket import sys_bind, sys_shutdown, sys_socket, sys_socketpair
from pysock.uapi.poll import POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDNORM
from pysock.uapi.socket import SHUT_WR, SOCK_DGRAM, SOCK_STREAM
from pysock.vfs.task import Task

SEC = 1_000_000_000


@pytest.fixture
def pair(task: Task) -> tuple[int, int]:
    return sys_socketpair(task, AF_LOOP, SOCK_STREAM)


def queue_of(task: Task, fd: int) -> WaitQueue:
    sock = task.fds[fd].socket
    assert sock is not None
    return sock.sk.sleep_queue()


def test_poll_reports_what_was_asked_for(task: Task, pair: tuple[int, int]) -> None:
    a, b = pair
    both = [(a, POLLIN | POLLOUT), (b, POLLIN | POLLRDNORM)]
    assert sys_poll(task, both, 0) == [(a, POLLOUT)]
    sys_sendto(task, a, b"x")
    assert sys_poll(task, both, 0) == [(a, POLLOUT), (b, POLLIN | POLLRDNORM)]
    assert sys_poll(task, [(b, POLLPRI)], 0) == []


def test_poll_of_bad_and_negative_fds(task: Task, pair: tuple[int, int]) -> None:
    a, _ = pair
    assert sys_poll(task, [(7, POLLIN), (-1, POLLIN), (a, POLLOUT)]) == [(7, POLLNVAL), (a, POLLOUT)]
    assert sys_poll(task, [(7, POLLIN), (a, POLLIN)]) == [(7, POLLNVAL)]  # and does not wait
    assert sys_poll(task, [(-1, POLLIN)], SEC) == []


def test_poll_reports_a_hangup_unasked(task: Task, pair: tuple[int, int]) -> None:
    a, b = pair
    sys_shutdown(task, a, SHUT_WR)
    sys_shutdown(task, b, SHUT_WR)
    assert sys_poll(task, [(a, 0)]) == [(a, POLLHUP)]


def test_the_same_fd_twice(task: Task, pair: tuple[int, int]) -> None:
    a, b = pair
    sys_sendto(task, a, b"x")
    assert sys_poll(task, [(b, POLLIN), (b, POLLOUT)]) == [(b, POLLIN), (b, POLLOUT)]


def test_time_passes_and_nothing_is_left_behind(task: Task, pair: tuple[int, int]) -> None:
    a, b = pair
    clock = task.kernel.clock
    before = clock.monotonic_ns()
    assert sys_poll(task, [(a, POLLIN), (b, POLLIN)], 60 * SEC) == []
    assert sys_select(task, [a, b], [], [], 40 * SEC) == ([], [], [])
    assert clock.monotonic_ns() - before == 100 * SEC
    assert not queue_of(task, a).entries and not queue_of(task, b).entries


def test_a_timer_ends_the_wait(task: Task, loop: LoopFamily) -> None:
    a, b = (sys_socket(task, AF_LOOP, SOCK_DGRAM) for _ in range(2))
    sys_bind(task, b, "b")
    loop.delay = SEC
    before = task.kernel.clock.monotonic_ns()
    sys_sendto(task, a, b"x", 0, "b")
    assert sys_poll(task, [(b, POLLIN)]) == [(b, POLLIN)]
    sys_sendto(task, a, b"y", 0, "b")
    sys_recv(task, b, 1)
    assert sys_select(task, [b], [], [])[0] == [b]
    assert task.kernel.clock.monotonic_ns() - before == 2 * SEC


def test_a_zero_timeout_still_runs_due_timers(task: Task, loop: LoopFamily) -> None:
    a, b = (sys_socket(task, AF_LOOP, SOCK_DGRAM) for _ in range(2))
    sys_bind(task, b, "b")
    loop.delay = SEC
    sys_sendto(task, a, b"x", 0, "b")
    assert sys_poll(task, [(b, POLLIN)], 0) == []
    task.kernel.clock.advance_to(task.kernel.now + SEC)  # type: ignore[attr-defined]
    assert sys_poll(task, [(b, POLLIN)], 0) == [(b, POLLIN)]


def test_select(task: Task, pair: tuple[int, int]) -> None:
    a, b = pair
    assert sys_select(task, [a, b], [b, a], [a]) == ([], [b, a], [])
    sys_sendto(task, b, b"x")
    assert sys_select(task, [a, b], [a], [a, b], 0) == ([a], [a], [])
    with refused(errno.EBADF):
        sys_select(task, [a], [], [3], 0)


def test_select_is_not_ended_by_what_none_of_its_lists_shows(task: Task, pair: tuple[int, int]) -> None:
    a, b = pair
    sys_shutdown(task, a, SHUT_WR)
    sys_shutdown(task, b, SHUT_WR)
    before = task.kernel.clock.monotonic_ns()
    assert sys_select(task, [], [], [a], SEC) == ([], [], [])  # hung up, but nobody reads or writes
    assert task.kernel.clock.monotonic_ns() - before == SEC
    assert sys_select(task, [a], [], [], SEC) == ([a], [], [])


def start(task: Task, body: object) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []

    def run() -> None:
        try:
            results.append(body())  # type: ignore[operator]
        except OSError as exc:
            results.append(exc.errno)

    thread = threading.Thread(target=run)
    thread.start()
    while not task.kernel.parked:
        os.sched_yield()
    return thread, results


def test_wake_ups_for_other_bits_do_not_wake() -> None:
    task, loop = boot_task("real")
    a, b = sys_socketpair(task, AF_LOOP, SOCK_STREAM)
    thread, results = start(task, lambda: sys_poll(task, [(b, POLLIN)]))
    looks = loop.polls
    task.kernel.enter()
    for _ in range(10):
        queue_of(task, b).wake(POLLOUT)
    assert not task.kernel.wakeups
    task.kernel.leave()
    sys_sendto(task, a, b"x")
    thread.join()
    assert results == [[(b, POLLIN)]]
    assert loop.polls == looks + 1


@pytest.mark.parametrize(
    ("call", "result"), [(sys_poll, [[POLLNVAL]]), (sys_select, [1])], ids=["poll", "select"]
)
def test_a_file_closed_meanwhile(call: object, result: object) -> None:
    """As on Linux, it wakes nobody and the peer notices nothing; the next look finds no such fd."""
    task, _ = boot_task("real")
    a, b = sys_socketpair(task, AF_LOOP, SOCK_STREAM)

    def body() -> object:
        if call is sys_poll:
            return [bits for _, bits in sys_poll(task, [(b, POLLIN)])]
        return len(sys_select(task, [b], [], [])[0])

    thread, results = start(task, body)
    sys_close(task, b)
    assert thread.is_alive()
    assert sys_sendto(task, a, b"x") == 1  # no EPIPE: the call holds the file
    thread.join()
    assert results == result
    with refused(errno.EPIPE):
        sys_sendto(task, a, b"x")


class RealPoller:
    def __init__(self, *fds: int) -> None:
        self.epoll = select.epoll()
        self.fileno = self.epoll.fileno
        self.register = self.epoll.register
        self.modify = self.epoll.modify
        self.unregister = self.epoll.unregister
        self.close = self.epoll.close
        for fd in fds:
            self.register(fd, POLLIN)

    def poll(self) -> list[tuple[int, int]]:
        return self.epoll.poll(0)


def test_real_descriptors_end_poll_and_select() -> None:
    task, _ = boot_task("real")
    a, b = sys_socketpair(task, AF_LOOP, SOCK_STREAM)
    reader, writer = os.pipe()
    foreign = RealPoller(reader)
    try:
        thread, results = start(task, lambda: sys_poll(task, [(b, POLLIN)], None, foreign))
        os.write(writer, b"x")
        thread.join()
        assert results == [[]] and foreign.poll() == [(reader, POLLIN)]
        assert sys_select(task, [b], [], [], None, foreign) == ([], [], [])
        sys_sendto(task, a, b"x")
        assert sys_select(task, [b], [], [], None, foreign) == ([b], [], [])
    finally:
        foreign.close()
        os.close(reader)
        os.close(writer)
