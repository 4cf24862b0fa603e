"""Timeouts and sleeping in virtual time: exact, and free."""

from __future__ import annotations

import asyncio
import datetime
import math
import selectors
import socket
import threading
import time
from types import ModuleType

import pytest

import pysock
from pysock.core.clock import NSEC_PER_SEC
from pysock.shim.patching import Patch
from pysock.shim.threadseam import _starter
from pysock.vfs.task import Task


@pytest.mark.parametrize("seconds", [1e-9, 0.25, 86_400])
def test_timeouts_are_exact(virtual_task: Task, seconds: float) -> None:
    clock = virtual_task.kernel.clock
    a, b = pysock.socketpair()
    with a, b:
        a.settimeout(seconds)
        before = clock.monotonic_ns()
        with pytest.raises(TimeoutError, match=r"^timed out$"):
            a.recv(1)
        assert clock.monotonic_ns() - before == math.ceil(seconds * NSEC_PER_SEC)


def test_accept_and_sendall_time_out(virtual_task: Task) -> None:
    clock = virtual_task.kernel.clock
    with pysock.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        before = clock.monotonic_ns()
        with pytest.raises(TimeoutError):
            server.accept()
        assert clock.monotonic_ns() - before == 30 * NSEC_PER_SEC
    a, b = pysock.socketpair()
    with a, b:
        a.settimeout(7)
        before = clock.monotonic_ns()
        with pytest.raises(TimeoutError):
            a.sendall(bytes(32 << 20))
        assert clock.monotonic_ns() - before == 7 * NSEC_PER_SEC


def test_the_clocks_of_time_agree(virtual: Patch) -> None:
    wall, mono, perf = time.time_ns(), time.monotonic_ns(), time.perf_counter_ns()
    assert time.time() == wall / NSEC_PER_SEC
    assert time.monotonic() == time.perf_counter() == mono / NSEC_PER_SEC
    time.sleep(3600)
    time.sleep(0)
    assert time.time_ns() - wall == time.monotonic_ns() - mono == time.perf_counter_ns() - perf == 3600 * NSEC_PER_SEC
    assert time.monotonic_ns() == virtual.clock.monotonic_ns()


def test_the_time_of_day_is_virtual(virtual: Patch) -> None:
    """Everything in `time` that tells the time without being given one; and what stands on time.time()."""
    time.sleep(400 * 86_400)
    now = int(time.time())
    assert time.gmtime() == time.gmtime(now)
    assert time.localtime() == time.localtime(None) == time.localtime(now)
    assert time.ctime() == time.ctime(now) == time.asctime() == time.asctime(time.localtime(now))
    assert time.strftime("%c") == time.strftime("%c", time.localtime(now))
    assert time.clock_gettime_ns(time.CLOCK_REALTIME) == time.time_ns()
    assert time.clock_gettime(time.CLOCK_MONOTONIC) == time.monotonic()
    assert time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID) < 86_400
    assert datetime.date.today() == datetime.date.fromtimestamp(now)
    assert datetime.datetime.today() == datetime.datetime.fromtimestamp(now)


@pytest.mark.parametrize("bad", [-1, -0.5, float("nan")])
def test_bad_sleeps(virtual: Patch, bad: float) -> None:
    with pytest.raises(ValueError):
        time.sleep(bad)


def test_sleep_wants_a_number(virtual: Patch) -> None:
    with pytest.raises(TypeError):
        time.sleep("1")  # type: ignore[arg-type]  # that is the test


def test_asyncio_sleeps_for_nothing(virtual: Patch) -> None:
    before = time.monotonic()
    asyncio.run(asyncio.sleep(3600))
    assert 3600 <= time.monotonic() - before < 3601


def test_asyncio_sleeps_for_a_century(virtual: Patch) -> None:
    """Where a float of seconds cannot tell one nanosecond from the next."""
    asyncio.run(asyncio.sleep(100 * 365 * 86_400))
    asyncio.run(asyncio.sleep(0.001))


def test_clock_info(virtual: Patch) -> None:
    assert time.get_clock_info("monotonic").resolution == 1e-6
    assert time.get_clock_info("thread_time").implementation != "pysock"
    with pytest.raises(ValueError):
        time.get_clock_info("sundial")


def test_asyncio_timeout(virtual: Patch) -> None:
    async def main() -> str:
        async with asyncio.timeout(600):
            await asyncio.Event().wait()
        return "not reached"

    with pytest.raises(TimeoutError):
        asyncio.run(main())


def test_real_time_is_left_alone(patched: Patch) -> None:
    assert time.sleep.__class__ is print.__class__
    assert time.time.__class__ is print.__class__


def test_selectors_in_virtual_time(virtual: Patch) -> None:
    for make in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector):
        a, b = socket.socketpair()
        with a, b, make() as selector:
            selector.register(a, selectors.EVENT_READ)
            before = time.monotonic()
            assert selector.select(60) == []
            assert time.monotonic() - before == 60


def test_a_thread_takes_part_from_its_start(virtual: Patch) -> None:
    """The clock must not pass the instant at which the thread was started before the thread sleeps itself."""
    instants: list[float] = []

    def child() -> None:
        instants.append(time.monotonic())
        time.sleep(1)
        instants.append(time.monotonic())

    before = time.monotonic()
    thread = threading.Thread(target=child)
    thread.start()
    time.sleep(10)
    assert time.monotonic() == before + 10
    thread.join()
    assert instants == [before, before + 1]


def test_a_thread_that_cannot_start_does_not_count(virtual: Patch) -> None:
    def refuse(function: object, *args: object) -> None:
        raise RuntimeError("can't start new thread")

    time.sleep(0)  # this thread takes part from here on
    before = virtual.kernel.participants
    with pytest.raises(RuntimeError, match="can't start"):
        _starter(refuse)(print, ())
    assert virtual.kernel.participants == before


def test_threads_over_tcp(virtual: Patch) -> None:
    """A server thread and a client that waits for an hour in the middle of a conversation."""

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(100):
                connection.sendall(data.upper())

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        with socket.create_connection(server.getsockname(), timeout=5) as client:
            for _ in range(3):
                client.sendall(b"hello")
                assert client.recv(100) == b"HELLO"
                time.sleep(3600)
        thread.join()


def test_only_our_module(virtual: Patch, face_time: ModuleType) -> None:
    """Modules that wait where we cannot see it keep the operating system's clock."""
    assert face_time.monotonic is not time.monotonic


@pytest.fixture
def face_time() -> ModuleType:
    module = ModuleType("holder")
    module.monotonic = threading._time  # type: ignore[attr-defined]  # what Condition.wait measures with
    return module
