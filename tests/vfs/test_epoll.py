"""Epoll: level, edge, one-shot and exclusive; nesting; what happens when watched files close."""

from __future__ import annotations

import errno
import os
import select
import threading
from itertools import pairwise

import pytest
from support.loop_family import AF_LOOP, LoopFamily, boot_task
from support.refused import refused

from pysock.syscalls.file import sys_close, sys_dup, sys_write
from pysock.syscalls.message import sys_recv, sys_sendto
from pysock.syscalls.poll import (
    sys_epoll_create1,
    sys_epoll_ctl,
    sys_epoll_wait,
    sys_eventfd2,
    sys_poll,
)
from pysock.syscalls.socket import sys_bind, sys_listen, sys_shutdown, sys_socket, sys_socketpair
from pysock.uapi.poll import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLHUP,
    EPOLLIN,
    EPOLLONESHOT,
    EPOLLOUT,
    EPOLLPRI,
    EPOLLRDHUP,
)
from pysock.uapi.socket import SHUT_WR, SOCK_NONBLOCK, SOCK_STREAM
from pysock.vfs.epoll import Epoll
from pysock.vfs.file import File
from pysock.vfs.inode import Inode
from pysock.vfs.task import Task

MSEC = 1_000_000


def pair(task: Task) -> tuple[int, int]:
    return sys_socketpair(task, AF_LOOP, SOCK_STREAM | SOCK_NONBLOCK)


def ready(task: Task, ep: int, maxevents: int = 10) -> list[tuple[int, int]]:
    return sys_epoll_wait(task, ep, maxevents, 0)


@pytest.fixture
def ep(task: Task) -> int:
    return sys_epoll_create1(task)


def test_level_triggered_reports_until_it_is_read(task: Task, ep: int) -> None:
    a, b = pair(task)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN)
    assert ready(task, ep) == []
    sys_sendto(task, a, b"xy")
    assert ready(task, ep) == [(b, EPOLLIN)]
    assert sys_recv(task, b, 1) == b"x"
    assert ready(task, ep) == [(b, EPOLLIN)]
    assert sys_recv(task, b, 1) == b"y"
    assert ready(task, ep) == []


def test_edge_triggered_reports_each_arrival_once(task: Task, ep: int) -> None:
    a, b = pair(task)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLET)
    sys_sendto(task, a, b"x")
    assert ready(task, ep) == [(b, EPOLLIN)]
    assert ready(task, ep) == []  # though nobody has read
    sys_sendto(task, a, b"y")
    assert ready(task, ep) == [(b, EPOLLIN)]


def test_edge_of_what_is_ready_already_when_it_is_added(task: Task, ep: int) -> None:
    a, b = pair(task)
    sys_sendto(task, a, b"x")
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLET)
    assert ready(task, ep) == [(b, EPOLLIN)]
    assert ready(task, ep) == []
    sys_epoll_ctl(task, ep, EPOLL_CTL_MOD, b, EPOLLIN | EPOLLET)  # looks again
    assert ready(task, ep) == [(b, EPOLLIN)]


def test_oneshot_is_disarmed_until_it_is_modified(task: Task, ep: int) -> None:
    a, b = pair(task)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLONESHOT)
    sys_sendto(task, a, b"x")
    assert ready(task, ep) == [(b, EPOLLIN)]
    sys_sendto(task, a, b"y")
    sys_close(task, a)  # not even a hang-up
    assert ready(task, ep) == []
    sys_epoll_ctl(task, ep, EPOLL_CTL_MOD, b, EPOLLIN | EPOLLONESHOT)
    assert ready(task, ep) == [(b, EPOLLIN)]
    assert ready(task, ep) == []


def test_only_what_was_asked_for_and_errors_always(task: Task, ep: int) -> None:
    a, b = pair(task)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, 0)
    sys_sendto(task, a, b"x")
    assert ready(task, ep) == []
    sys_epoll_ctl(task, ep, EPOLL_CTL_MOD, b, EPOLLIN | EPOLLOUT | EPOLLRDHUP)
    assert ready(task, ep) == [(b, EPOLLIN | EPOLLOUT)]
    sys_shutdown(task, a, SHUT_WR)
    assert ready(task, ep) == [(b, EPOLLIN | EPOLLOUT | EPOLLRDHUP)]
    sys_shutdown(task, b, SHUT_WR)
    sys_epoll_ctl(task, ep, EPOLL_CTL_MOD, b, 0)
    assert ready(task, ep) == [(b, EPOLLHUP)]


def test_data_comes_back(task: Task, ep: int) -> None:
    _, b = pair(task)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLOUT, 12345)
    assert ready(task, ep) == [(12345, EPOLLOUT)]
    sys_epoll_ctl(task, ep, EPOLL_CTL_MOD, b, EPOLLOUT, 7)
    assert ready(task, ep) == [(7, EPOLLOUT)]


def test_maxevents_goes_round(task: Task, ep: int) -> None:
    fds = []
    for _ in range(5):
        a, _ = pair(task)
        fds.append(a)
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, a, EPOLLOUT)
    seen = [fd for _ in range(5) for fd, _ in ready(task, ep, 2)]
    assert seen == fds * 2


def test_idle_items_cost_nothing(task: Task, loop: LoopFamily, ep: int) -> None:
    pairs = [pair(task) for _ in range(100)]
    for _, b in pairs:
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN)
    sys_sendto(task, pairs[42][0], b"x")
    before = loop.polls
    assert ready(task, ep) == [(pairs[42][1], EPOLLIN)]
    assert loop.polls == before + 1


def test_refusals(task: Task, ep: int) -> None:
    a, b = pair(task)

    class Plain(File):
        can_poll = False

    plain = task.files.install(Plain(Inode(2, 0)))
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN)
    with refused(errno.EEXIST):
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLOUT)
    with refused(errno.ENOENT):
        sys_epoll_ctl(task, ep, EPOLL_CTL_MOD, a, EPOLLIN)
    with refused(errno.ENOENT):
        sys_epoll_ctl(task, ep, EPOLL_CTL_DEL, a)
    with refused(errno.EPERM):
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, plain, EPOLLIN)
    with refused(errno.EINVAL):
        sys_epoll_ctl(task, ep, 9, b, EPOLLIN)
    with refused(errno.EINVAL):
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, ep, EPOLLIN)
    with refused(errno.EINVAL):
        sys_epoll_ctl(task, a, EPOLL_CTL_ADD, b, EPOLLIN)
    with refused(errno.EBADF):
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, 5, EPOLLIN)
    with refused(errno.EBADF):
        sys_epoll_ctl(task, 5, EPOLL_CTL_ADD, b, EPOLLIN)
    with refused(errno.EBADF):
        sys_epoll_ctl(task, a, EPOLL_CTL_ADD, 5, EPOLLIN)
    for fd, number in ((5, errno.EBADF), (a, errno.EINVAL)):
        with refused(number):
            sys_epoll_wait(task, fd, 1, 0)
    with refused(errno.EINVAL):
        sys_epoll_wait(task, ep, 0, 0)
    with refused(errno.EINVAL):
        sys_epoll_create1(task, 1)


def test_rules_of_exclusive(task: Task, ep: int) -> None:
    a, b = pair(task)
    other = sys_epoll_create1(task)
    with refused(errno.EINVAL):
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, other, EPOLLIN | EPOLLEXCLUSIVE)
    with refused(errno.EINVAL):
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLPRI | EPOLLEXCLUSIVE)
    with refused(errno.EINVAL):
        sys_epoll_ctl(task, ep, EPOLL_CTL_MOD, b, EPOLLIN | EPOLLEXCLUSIVE)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLEXCLUSIVE)
    with refused(errno.EINVAL):
        sys_epoll_ctl(task, ep, EPOLL_CTL_MOD, b, EPOLLIN)
    sys_sendto(task, a, b"x")
    assert ready(task, ep) == [(b, EPOLLIN)]
    sys_epoll_ctl(task, ep, EPOLL_CTL_DEL, b, EPOLLEXCLUSIVE)
    assert ready(task, ep) == []


# Lifetimes -----------------------------------------------------------------------------------------------


def test_a_closed_file_disappears(task: Task, ep: int) -> None:
    a, b = pair(task)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN)
    sys_sendto(task, a, b"x")
    sys_close(task, b)
    assert ready(task, ep) == []
    fresh, _ = pair(task)
    assert fresh == b  # the number again, another file
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, fresh, EPOLLOUT)
    assert ready(task, ep) == [(fresh, EPOLLOUT)]


def test_a_file_with_another_name_stays_under_its_old_one(task: Task, ep: int) -> None:
    a, b = pair(task)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN)
    twin = sys_dup(task, b)
    sys_close(task, b)
    sys_sendto(task, a, b"x")
    assert ready(task, ep) == [(b, EPOLLIN)]
    reused = sys_eventfd2(task, 1)
    assert reused == b
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, reused, EPOLLIN, 99)
    assert sorted(ready(task, ep)) == [(99, EPOLLIN), (b, EPOLLIN)]
    sys_close(task, twin)
    assert ready(task, ep) == [(99, EPOLLIN)]


def test_a_twin_is_watched_separately(task: Task, ep: int) -> None:
    a, b = pair(task)
    twin = sys_dup(task, b)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, twin, EPOLLIN)
    sys_sendto(task, a, b"x")
    assert sorted(ready(task, ep)) == [(b, EPOLLIN), (twin, EPOLLIN)]


def test_nothing_is_left_behind(task: Task, ep: int) -> None:
    a, b = pair(task)
    other = sys_epoll_create1(task)
    for epfd in (ep, other):
        sys_epoll_ctl(task, epfd, EPOLL_CTL_ADD, b, EPOLLIN)
    file = task.fds[b]
    queue = task.fds[b].socket.sk.wait_queue  # type: ignore[union-attr]
    assert queue is not None and len(queue.entries) == 2 and file.f_ep is not None
    sys_epoll_ctl(task, ep, EPOLL_CTL_DEL, b)
    assert len(queue.entries) == 1
    sys_close(task, other)
    assert not queue.entries and file.f_ep is None
    sys_sendto(task, a, b"x")
    assert ready(task, ep) == []


# Nesting -------------------------------------------------------------------------------------------------


def test_an_epoll_in_an_epoll(task: Task, ep: int) -> None:
    a, b = pair(task)
    inner = sys_epoll_create1(task)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, inner, EPOLLIN)
    sys_epoll_ctl(task, inner, EPOLL_CTL_ADD, b, EPOLLIN)
    assert ready(task, ep) == []
    sys_sendto(task, a, b"x")
    assert sys_poll(task, [(inner, EPOLLIN)], 0) == [(inner, EPOLLIN)]
    assert ready(task, ep) == [(inner, EPOLLIN)]
    assert ready(task, inner) == [(b, EPOLLIN)]
    sys_recv(task, b, 1)
    assert ready(task, ep) == []


def test_rings_and_towers_are_refused(task: Task) -> None:
    tower = [sys_epoll_create1(task) for _ in range(6)]
    for low, high in pairwise(tower[:5]):
        sys_epoll_ctl(task, high, EPOLL_CTL_ADD, low, EPOLLIN)
    with refused(errno.ELOOP):
        sys_epoll_ctl(task, tower[5], EPOLL_CTL_ADD, tower[4], EPOLLIN)
    with refused(errno.ELOOP):
        sys_epoll_ctl(task, tower[0], EPOLL_CTL_ADD, tower[5], EPOLLIN)  # from below, too
    a, b = (sys_epoll_create1(task) for _ in range(2))
    sys_epoll_ctl(task, a, EPOLL_CTL_ADD, b, EPOLLIN)
    with refused(errno.ELOOP):
        sys_epoll_ctl(task, b, EPOLL_CTL_ADD, a, EPOLLIN)


# Waiting -------------------------------------------------------------------------------------------------


def test_the_timeout_is_virtual_time(task: Task, ep: int) -> None:
    before = task.kernel.clock.monotonic_ns()
    assert sys_epoll_wait(task, ep, 1, 3600 * 1000 * MSEC) == []
    assert task.kernel.clock.monotonic_ns() - before == 3600 * 1000 * MSEC


def test_a_timer_ends_the_wait(task: Task, loop: LoopFamily, ep: int) -> None:
    a, b = (sys_socket(task, AF_LOOP, 2) for _ in range(2))
    sys_bind(task, b, "b")
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN)
    loop.delay = 5 * MSEC
    sys_sendto(task, a, b"x", 0, "b")
    before = task.kernel.clock.monotonic_ns()
    assert sys_epoll_wait(task, ep, 1) == [(b, EPOLLIN)]
    assert task.kernel.clock.monotonic_ns() - before == 5 * MSEC


def wait_parked(task: Task, count: int) -> None:
    while len(task.kernel.parked) < count:
        os.sched_yield()


def in_threads(task: Task, ep: int, count: int) -> tuple[list[threading.Thread], list[list[tuple[int, int]]]]:
    results: list[list[tuple[int, int]]] = []

    def body() -> None:
        try:
            results.append(sys_epoll_wait(task, ep, 10))
        except OSError as exc:
            results.append([(-1, exc.errno or 0)])

    threads = [threading.Thread(target=body) for _ in range(count)]
    for thread in threads:
        thread.start()
    wait_parked(task, count)
    return threads, results


def test_one_arrival_wakes_one_of_several_waiters() -> None:
    task, _ = boot_task("real")
    ep = sys_epoll_create1(task)
    pairs = [pair(task) for _ in range(2)]
    for _, b in pairs:
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLET)
    threads, results = in_threads(task, ep, 2)
    sys_sendto(task, pairs[0][0], b"x")
    while not results:
        os.sched_yield()
    assert results == [[(pairs[0][1], EPOLLIN)]]
    sys_sendto(task, pairs[1][0], b"x")
    for thread in threads:
        thread.join()
    assert results[1] == [(pairs[1][1], EPOLLIN)]


def test_exclusive_items_share_a_listener() -> None:
    task, _ = boot_task("real")
    a, b = pair(task)
    eps = [sys_epoll_create1(task) for _ in range(2)]
    for ep in eps:
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLEXCLUSIVE)
    first, got1 = in_threads(task, eps[0], 1)
    # The second epoll has no waiter: the wake-up is for the first one alone.
    sys_sendto(task, a, b"x")
    first[0].join()
    assert got1 == [[(b, EPOLLIN)]]
    assert not task.fds[eps[1]].ready  # type: ignore[attr-defined]


def test_who_waits_for_an_epoll_goes_on_when_it_is_closed() -> None:
    task, _ = boot_task("real")
    a, b = pair(task)
    ep = sys_epoll_create1(task)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN)
    threads, results = in_threads(task, ep, 1)
    sys_close(task, ep)
    sys_sendto(task, a, b"x")
    threads[0].join()
    assert results == [[(b, EPOLLIN)]]
    assert not task.files.get(b).f_ep


def test_the_end_of_a_task_wakes_who_waits_for_its_epolls() -> None:
    task, _ = boot_task("real")
    ep = sys_epoll_create1(task)
    threads, results = in_threads(task, ep, 1)
    task.exit()
    threads[0].join()
    assert results == [[(-1, errno.EBADF)]]


def test_a_listener_becomes_readable(task: Task, ep: int) -> None:
    listener, client = (sys_socket(task, AF_LOOP, SOCK_STREAM) for _ in range(2))
    sys_bind(task, listener, "srv")
    sys_listen(task, listener)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, listener, EPOLLIN)
    assert ready(task, ep) == []
    task.fds[client].socket.ops.connect(task.fds[client].socket, "srv", 0)  # type: ignore[union-attr, arg-type]
    assert ready(task, ep) == [(listener, EPOLLIN)]


# Real descriptors ----------------------------------------------------------------------------------------


class RealPoller:
    """What a shim would bring: a real epoll."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.fileno = self.epoll.fileno
        self.register = self.epoll.register
        self.modify = self.epoll.modify
        self.unregister = self.epoll.unregister
        self.close = self.epoll.close

    def poll(self) -> list[tuple[int, int]]:
        return self.epoll.poll(0)


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_real_descriptors_beside_ours(clock: str) -> None:
    task, _ = boot_task(clock)
    task.make_foreign = RealPoller
    ep = sys_epoll_create1(task)
    a, b = pair(task)
    reader, writer = os.pipe()
    try:
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN)
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, reader, EPOLLIN)
        with refused(errno.EEXIST):
            sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, reader, EPOLLIN)
        assert ready(task, ep) == []
        os.write(writer, b"x")
        assert ready(task, ep) == [(reader, EPOLLIN)]
        sys_sendto(task, a, b"x")
        assert ready(task, ep) == [(b, EPOLLIN), (reader, EPOLLIN)]
        assert ready(task, ep, 1) == [(b, EPOLLIN)]
        sys_epoll_ctl(task, ep, EPOLL_CTL_DEL, b)
        assert sys_epoll_wait(task, ep, 5, 3600 * 1000 * MSEC) == [(reader, EPOLLIN)]
        sys_epoll_ctl(task, ep, EPOLL_CTL_MOD, reader, 0)
        assert ready(task, ep) == []
        sys_epoll_ctl(task, ep, EPOLL_CTL_DEL, reader)
        with refused(errno.EINVAL):
            sys_epoll_ctl(task, ep, 9, reader)
        sys_close(task, ep)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_real_descriptor_ends_a_sleep() -> None:
    task, _ = boot_task("real")
    task.make_foreign = RealPoller
    ep = sys_epoll_create1(task)
    reader, writer = os.pipe()
    try:
        threads, results = in_threads(task, ep, 1)
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, reader, EPOLLIN)  # while it sleeps
        os.write(writer, b"x")
        threads[0].join()
        assert results == [[(reader, EPOLLIN)]]
        sys_close(task, ep)
    finally:
        os.close(reader)
        os.close(writer)


def test_an_eventfd_interrupts_a_wait() -> None:
    task, _ = boot_task("real")
    ep = sys_epoll_create1(task)
    event = sys_eventfd2(task)
    sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, event, EPOLLIN)
    threads, results = in_threads(task, ep, 1)
    sys_write(task, event, (1).to_bytes(8, "little"))
    threads[0].join()
    assert results == [[(event, EPOLLIN)]]


# Signals -------------------------------------------------------------------------------------------------


def test_a_signal_handler_that_raises_loses_no_events(task: Task, ep: int) -> None:
    """A handler may raise at any moment: here, while the second of three files is looked at."""
    fds = []
    for extra in (0, EPOLLET, EPOLLET):
        a, b = pair(task)
        fds.append(b)
        sys_epoll_ctl(task, ep, EPOLL_CTL_ADD, b, EPOLLIN | extra)
        sys_sendto(task, a, b"x")
    instance = task.fds[ep]
    assert isinstance(instance, Epoll)
    item = instance.items[fds[1], task.fds[fds[1]]]
    look = item.look

    def interrupted(target: object, table: object) -> int:
        item.look = look
        raise KeyboardInterrupt

    item.look = interrupted
    with pytest.raises(KeyboardInterrupt):
        ready(task, ep)
    assert sorted(ready(task, ep)) == [(fd, EPOLLIN) for fd in fds]
    assert ready(task, ep) == [(fds[0], EPOLLIN)]
