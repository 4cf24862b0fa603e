"""Sleeping threads: what virtual time waits for, and what a kernel leaves behind."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable

import pytest
from support.patience import PATIENCE

import pysock
from pysock.core import wait
from pysock.core.clock import NSEC_PER_SEC
from pysock.core.kernel import Kernel
from pysock.core.timer import Timer, TimerQueue
from pysock.vfs.task import Task, current


def boot(clock: str = "virtual") -> Kernel:
    return Kernel.boot(clock=clock, entry_points=False)


# -- when the clock may jump -------------------------------------------------------------------------------


@pytest.fixture
def kernel() -> Kernel:
    """With a timer in a second, and this thread taking part."""
    kernel = boot()
    kernel.enter()
    kernel.sleeper()
    kernel.timers.mod_timer(Timer(lambda: None), kernel.now + NSEC_PER_SEC)
    kernel.leave()
    return kernel


def moved(kernel: Kernel, wakings: int) -> bool:
    before = kernel.clock.monotonic_ns()
    assert kernel.advance(wakings)  # there is a timer, so it never says no
    return kernel.clock.monotonic_ns() != before


def test_the_clock_stands_when_somebody_woke_up_meanwhile(kernel: Kernel) -> None:
    seen = kernel.wakings
    kernel.sleep(1000)
    assert not moved(kernel, seen)
    assert moved(kernel, kernel.wakings)


@pytest.mark.parametrize("flag", ["queued", "woken"])
def test_the_clock_stands_when_a_sleeper_was_rung(kernel: Kernel, flag: str) -> None:
    """Its thread has not run yet, or the ring has not even been delivered."""
    sleeper = wait.Sleeper(kernel)
    kernel.parked.append(sleeper)
    setattr(sleeper, flag, True)
    assert not kernel.all_asleep()
    assert not moved(kernel, kernel.wakings)
    setattr(sleeper, flag, False)
    assert kernel.all_asleep()
    assert moved(kernel, kernel.wakings)


def test_nobody_counts_as_asleep_before_its_timer_is_armed() -> None:
    """Or another thread could move the clock past it."""
    kernel = boot()
    asleep: list[bool] = []

    class Watched(TimerQueue):
        def mod_timer(self, timer: Timer, expires: int) -> None:
            asleep.append(bool(kernel.parked))
            super().mod_timer(timer, expires)

    kernel.timers = Watched()
    kernel.sleep(1000)
    assert asleep == [False]


def test_time_waits_for_a_thread_that_gets_no_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a thread may use no processor for a while, and still be about to do something."""
    answers = [True, True, False]
    monkeypatch.setattr(wait, "_another_thread_is_ready", lambda: answers.pop(0))
    monkeypatch.setattr(wait, "_process_time_ns", lambda: 0)
    monkeypatch.setattr(wait, "VIRTUAL_GRACE_MS", 1)
    assert wait.Sleeper(boot())._nothing_happens()
    assert not answers


def test_a_late_ring_does_not_shorten_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "_another_thread_is_ready", lambda: False)
    monkeypatch.setattr(wait, "_process_time_ns", lambda: 0)
    sleeper = wait.Sleeper(boot())
    sleeper._sleep(0)
    os.eventfd_write(sleeper._fd, 1)
    assert not sleeper._nothing_happens()
    assert sleeper._nothing_happens()


def test_threads_that_want_a_processor_are_seen() -> None:
    stop = False

    def work() -> None:
        while not stop:
            pass

    def block() -> None:
        blocked.wait()

    def until(answer: bool) -> None:
        deadline = time.monotonic() + PATIENCE
        while wait._another_thread_is_ready() is not answer:
            assert time.monotonic() < deadline

    blocked = threading.Event()
    threads = [threading.Thread(target=work), threading.Thread(target=block)]
    for thread in threads:
        thread.start()
    until(True)
    stop = True
    threads[0].join()
    until(False)
    blocked.set()
    threads[1].join()


# -- what a kernel leaves behind ---------------------------------------------------------------------------


class Events:
    """How many eventfds sleepers made, and how many of them were closed."""

    def __init__(self) -> None:
        self.made = self.closed = 0


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    events = Events()

    class Counted(wait._EventFd):
        __slots__ = ()

        def __init__(self) -> None:
            super().__init__()
            events.made += 1

        def __del__(self) -> None:  # type: ignore[override]  # the argument is for interpreters that end
            super().__del__()
            events.closed += 1

    monkeypatch.setattr(wait, "_EventFd", Counted)
    return events


def converse(net: object) -> None:
    """A server thread and a client that waits for it now and then."""

    def serve() -> None:
        if net is pysock:
            current.set(task)
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)

    task = current.get()
    listener = net.create_server(("127.0.0.1", 0))  # type: ignore[attr-defined]
    thread = threading.Thread(target=serve)
    thread.start()
    with listener, net.create_connection(listener.getsockname()) as client:  # type: ignore[attr-defined]
        client.settimeout(PATIENCE)
        for _ in range(3):
            client.sendall(b"x" * 50)
            assert client.recv(100)
    thread.join()


def by_hand(clock: str) -> Kernel:
    kernel = boot(clock)
    token = current.set(Task.for_kernel(kernel))
    try:
        converse(pysock)
        kernel.sleeper()._sleep(0)  # this thread's place to sleep, whether it had to wait or not
    finally:
        current.reset(token)
    return kernel


def patched(clock: str) -> Kernel:
    with pysock.patch(clock=clock) as active:
        converse(socket)
        active.kernel.sleeper()._sleep(0)
    return active.kernel


def in_a_network(clock: str) -> Kernel:
    net = pysock.Network(seed=7, clock=clock)
    a, b, c = net.hosts("a", "b", "c")
    net.link(a, b)
    net.link(b, c)
    with b:
        listener = pysock.create_server(("", 80))
    with a:
        client = pysock.create_connection(("b", 80))
    server, _ = listener.accept()
    with client, server, listener:
        client.send(b"x")
        assert server.recv(1) == b"x"
    net.kernel.sleeper()._sleep(0)
    return net.kernel


@pytest.mark.parametrize("clock", ["real", "virtual"])
@pytest.mark.parametrize("use", [by_hand, patched, in_a_network])
def test_a_dropped_kernel_is_gone(use: Callable[[str], Kernel], clock: str, events: Events) -> None:
    kernels = [weakref.ref(use(clock)) for _ in range(5)]
    gc.collect()
    assert [kernel() for kernel in kernels] == [None] * 5
    assert events.made == events.closed
    assert events.made >= 5


def test_a_thread_takes_its_descriptor_along(events: Events) -> None:
    kernel = boot("real")
    for number in range(1, 6):
        thread = threading.Thread(target=lambda: kernel.sleeper()._sleep(0))
        thread.start()
        thread.join()
        assert (events.made, events.closed) == (number, number)


def test_an_eventfd_is_closed_when_nobody_has_it() -> None:
    closed: list[int] = []
    event = wait._EventFd()
    event.__del__(closed.append)
    assert closed == [event.fd]


def test_a_ring_for_a_thread_that_is_gone() -> None:
    sleeper = wait.Sleeper(boot("real"))
    sleeper._sleep(0)
    sleeper.retire()
    sleeper.parked = True  # as it was when the one who rings looked
    sleeper.ring()
    sleeper.poke()
