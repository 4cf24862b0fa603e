"""select, poll and epoll over our descriptors and the operating system's, together and apart."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import pysock
from pysock.shim import cselect
from pysock.shim.patching import Patch
from pysock.vfs.task import Task


class Side:
    """A `select` module and the sockets that go with it."""

    def __init__(self, poller: ModuleType, net: ModuleType) -> None:
        self.select = poller
        self.net = net
        self.a, self.b = net.socketpair()
        self.pipe, self.into = os.pipe()

    def close(self) -> None:
        self.a.close()
        self.b.close()
        os.close(self.pipe)
        os.close(self.into)


@pytest.fixture
def side(net: ModuleType) -> Iterator[Side]:
    made = Side(cselect if net is pysock else select, net)
    yield made
    made.close()


def outcome(call: Any) -> tuple[str, str]:
    try:
        return "returned", repr(call())
    except Exception as exc:
        return type(exc).__name__, str(exc).replace("_PyTime_t", "PyTime_t")


WRONG = {
    "select nothing": lambda m: m.select(),
    "select int": lambda m: m.select(1, [], []),
    "select five": lambda m: m.select([], [], [], 1, 2),
    "select negative": lambda m: m.select([], [], [], -1),
    "select str": lambda m: m.select([], [], [], "x"),
    "select nan": lambda m: m.select([], [], [], float("nan")),
    "select str fd": lambda m: m.select(["a"], [], [], 0),
    "select negative fd": lambda m: m.select([-1], [], [], 0),
    "select large fd": lambda m: m.select([5000], [], [], 0),
    "select huge fd": lambda m: m.select([1 << 70], [], [], 0),
    "select empty": lambda m: m.select((), {}, "", 0),
    "poll new": lambda m: type(m.poll())(),
    "poll arguments": lambda m: m.poll(1),
    "poll str fd": lambda m: m.poll().register("x"),
    "poll negative fd": lambda m: m.poll().register(-1),
    "poll negative mask": lambda m: m.poll().register(0, -1),
    "poll large mask": lambda m: m.poll().register(0, 1 << 16),
    "poll str mask": lambda m: m.poll().register(0, "x"),
    "poll modify": lambda m: m.poll().modify(0, 1),
    "poll unregister": lambda m: m.poll().unregister(0),
    "poll str": lambda m: m.poll().poll("x"),
    "poll nan": lambda m: m.poll().poll(float("nan")),
    "poll too long": lambda m: m.poll().poll(1 << 31),
    "poll huge": lambda m: m.poll().poll(1 << 70),
    "poll subclass": lambda m: type("P", (type(m.poll()),), {}),
    "epoll sizehint": lambda m: m.epoll(0),
    "epoll flags": lambda m: m.epoll(flags=5),
    "epoll str": lambda m: m.epoll("a"),
    "epoll subclass": lambda m: type("E", (m.epoll,), {}),
    "epoll negative fd": lambda m: m.epoll().register(-1),
    "epoll closed fd": lambda m: m.epoll().register(999_999),
    "epoll str fd": lambda m: m.epoll().register("x"),
    "epoll modify": lambda m: m.epoll().modify(999_999, 1),
    "epoll unregister": lambda m: m.epoll().unregister(999_999),
    "epoll str timeout": lambda m: m.epoll().poll("x"),
    "epoll maxevents 0": lambda m: m.epoll().poll(0, 0),
    "epoll maxevents -2": lambda m: m.epoll().poll(0, -2),
    "epoll nan": lambda m: m.epoll().poll(float("nan")),
    "epoll too long": lambda m: m.epoll().poll(1e20),
    "epoll fromfd": lambda m: m.epoll.fromfd("a"),
    "epoll fromfd closed": lambda m: m.epoll.fromfd(999_999).poll(0),
    "names": lambda m: (m.select.__name__, m.epoll.__module__, m.poll.__name__),
}


@pytest.mark.parametrize("name", WRONG)
def test_same_words(face: ModuleType, name: str) -> None:
    assert outcome(lambda: WRONG[name](cselect)) == outcome(lambda: WRONG[name](select))


def test_select_of_a_closed_fd(task: Task) -> None:
    with pytest.raises(OSError) as caught:
        cselect.select([1000], [], [], 0)
    assert caught.value.errno == errno.EBADF


def test_closed_epoll(side: Side) -> None:
    ep = side.select.epoll()
    assert not ep.closed
    ep.close()
    ep.close()
    assert ep.closed
    for call in (ep.fileno, ep.__enter__, ep.poll, lambda: ep.register(side.a), lambda: ep.unregister(side.a)):
        with pytest.raises(ValueError, match="I/O operation on closed epoll object"):
            call()


def test_the_module_is_complete() -> None:
    assert {name for name in vars(select) if not name.startswith("_")} == set(cselect.__all__)


def test_select(side: Side) -> None:
    a, b = side.a, side.b
    assert side.select.select([a], [b], [], 0) == ([], [b], [])
    a.send(b"x")
    assert side.select.select([b, a], (), {a: 1}, 1) == ([b], [], [])


def test_select_with_a_pipe(side: Side) -> None:
    assert side.select.select([side.pipe, side.b], [], [], 0) == ([], [], [])
    os.write(side.into, b"x")
    assert side.select.select([side.pipe, side.b], [side.into], [], 10) == ([side.pipe], [side.into], [])
    side.a.send(b"x")
    assert side.select.select([side.b, side.pipe], [], [], 10) == ([side.b, side.pipe], [], [])


def test_poll(side: Side) -> None:
    m = side.select
    poller = m.poll()
    poller.register(side.b, m.POLLIN)
    poller.register(side.pipe, m.POLLIN)
    poller.register(side.a, m.POLLOUT)
    assert poller.poll(0) == [(side.a.fileno(), m.POLLOUT)]
    poller.modify(side.a, 0)
    assert poller.poll(0.5) == []
    os.write(side.into, b"x")
    side.a.send(b"x")
    assert poller.poll() == [(side.b.fileno(), m.POLLIN), (side.pipe, m.POLLIN)]
    poller.unregister(side.b)
    assert poller.poll(-1) == [(side.pipe, m.POLLIN)]


def test_poll_says_which_fds_are_not_open(side: Side) -> None:
    m = side.select
    poller = m.poll()
    poller.register(999_999, m.POLLIN)
    poller.register(side.a, m.POLLIN)
    assert poller.poll() == [(999_999, m.POLLNVAL)]


def test_regular_files_are_always_ready(side: Side, tmp_path: Path) -> None:
    m = side.select
    with open(tmp_path / "file", "w+b") as file:
        poller = m.poll()
        poller.register(file, m.POLLIN)
        poller.register(side.a, m.POLLIN)
        assert poller.poll() == [(file.fileno(), m.POLLIN)]
        assert m.select([file, side.a], [], []) == ([file], [], [])
        with m.epoll() as ep, pytest.raises(PermissionError):
            ep.register(file)


def test_epoll(side: Side) -> None:
    m = side.select
    with m.epoll() as ep:
        ep.register(side.b, m.EPOLLIN)
        ep.register(side.a.fileno(), m.EPOLLOUT)
        assert ep.poll(0) == [(side.a.fileno(), m.EPOLLOUT)]
        with pytest.raises(FileExistsError):
            ep.register(side.a)
        ep.modify(side.a, m.EPOLLIN)
        assert ep.poll(0.001, 5) == []
        side.a.send(b"x")
        assert ep.poll(maxevents=1) == [(side.b.fileno(), m.EPOLLIN)]
        ep.unregister(side.b)
        with pytest.raises(FileNotFoundError):
            ep.unregister(side.b)
        assert ep.poll(0) == []


def test_epoll_with_a_pipe(side: Side) -> None:
    m = side.select
    with m.epoll() as ep:
        ep.register(side.b, m.EPOLLIN)
        ep.register(side.pipe, m.EPOLLIN)
        assert ep.poll(0) == []
        os.write(side.into, b"x")
        assert ep.poll() == [(side.pipe, m.EPOLLIN)]
        side.a.send(b"x")
        assert sorted(ep.poll()) == sorted([(side.b.fileno(), m.EPOLLIN), (side.pipe, m.EPOLLIN)])
        ep.modify(side.pipe, 0)
        assert ep.poll() == [(side.b.fileno(), m.EPOLLIN)]
        ep.unregister(side.pipe)
        with pytest.raises(FileNotFoundError):
            ep.unregister(side.pipe)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_another_thread_ends_the_wait(side: Side, kind: str) -> None:
    m = side.select

    def write() -> None:
        if kind == "pipe":
            os.write(side.into, b"x")
        else:
            side.a.send(b"x")

    expected = side.pipe if kind == "pipe" else side.b.fileno()
    with m.epoll() as ep:
        ep.register(side.b, m.EPOLLIN)
        ep.register(side.pipe, m.EPOLLIN)
        writer = threading.Thread(target=write)
        writer.start()
        assert ep.poll() == [(expected, m.EPOLLIN)]
        writer.join()


def test_fromfd(side: Side) -> None:
    m = side.select
    with m.epoll() as ep:
        again = m.epoll.fromfd(ep.fileno())
        again.register(side.a, m.EPOLLOUT)
        assert ep.poll() == [(side.a.fileno(), m.EPOLLOUT)]
        again.close()
        with pytest.raises(OSError) as caught:
            ep.poll(0)
        assert caught.value.errno == errno.EBADF


def test_an_epoll_object_that_goes_away_closes_its_fd(patched: Patch) -> None:
    before = len(patched.task.fds)
    ep = select.epoll()
    assert len(patched.task.fds) == before + 1
    del ep
    assert len(patched.task.fds) == before


def test_poll_is_not_reentrant(patched: Patch) -> None:
    a, b = pysock.socketpair()
    poller = select.poll()

    with a, b:
        poller.register(a, select.POLLIN)
        errors: list[str] = []

        def wait() -> None:
            poller.poll()

        waiter = threading.Thread(target=wait)
        waiter.start()
        while not patched.kernel.parked:
            pass
        try:
            poller.poll(0)
        except RuntimeError as exc:
            errors.append(str(exc))
        b.send(b"x")
        waiter.join()
    assert errors == ["concurrent poll() invocation"]
