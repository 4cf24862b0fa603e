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


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, str]] | None]:
    """What the operating system says of the other threads, the last first; no processor is used meanwhile."""
    answers: list[list[tuple[str, str]] | None] = []
    monkeypatch.setattr(wait, "_other_threads", lambda known: answers.pop())
    monkeypatch.setattr(wait, "_processor_time_of_others", lambda: 0)
    monkeypatch.setattr(wait, "VIRTUAL_GRACE_MS", 2)
    return answers


def parked() -> wait.Sleeper:
    kernel = boot()
    kernel.parked.append(wait.Sleeper(kernel))
    return kernel.parked[0]


RUNS, RAN, BLOCKED, AGAIN = [("R", "1")], [("S", "2")], [("S", "3")], [("S", "3")]


@pytest.mark.parametrize(
    "said",
    [
        [BLOCKED, AGAIN],
        [RUNS, BLOCKED, AGAIN],
        [RUNS, RUNS, RUNS, RUNS, RUNS, RUNS, BLOCKED, AGAIN],  # on a busy machine, it gets no processor for long
        [RUNS, RAN, BLOCKED],  # now and then, but using none to speak of
        [None, None, None],
        [[], []],
    ],
)
def test_time_goes_on_without_a_thread_that_is_blocked(
    others: list[list[tuple[str, str]] | None], said: list[list[tuple[str, str]] | None]
) -> None:
    others[:] = said[::-1]
    assert parked()._nothing_happens()
    assert not others


def test_time_waits_while_packets_move(others: list[list[tuple[str, str]] | None]) -> None:
    class Moving(wait.Sleeper):
        __slots__ = ()

        def _sleep(self, timeout_ms: int | None) -> bool:
            self.kernel.softnet.processed += 1
            return super()._sleep(timeout_ms)

    others[:] = [AGAIN, BLOCKED]
    kernel = boot()
    kernel.parked.append(Moving(kernel))
    assert not kernel.parked[0]._nothing_happens()


def test_a_late_ring_does_not_shorten_the_patience(others: list[list[tuple[str, str]] | None]) -> None:
    sleeper = parked()
    sleeper._sleep(0)
    os.eventfd_write(sleeper._fd, 1)
    others[:] = [AGAIN, BLOCKED, RUNS]
    assert not sleeper._nothing_happens()
    assert sleeper._nothing_happens()


def test_threads_that_want_a_processor_are_seen() -> None:
    stop = False

    def work() -> None:
        while not stop:
            pass

    def until(answer: bool) -> None:
        deadline = time.monotonic() + PATIENCE
        while wait._ready(wait._other_threads(me)) is not answer:
            assert time.monotonic() < deadline

    me = {str(threading.get_native_id())}
    blocked = threading.Event()
    threads = [threading.Thread(target=work), threading.Thread(target=blocked.wait)]
    for thread in threads:
        thread.start()
    until(True)
    stop = True
    threads[0].join()
    until(False)
    blocked.set()
    threads[1].join()


def test_threads_that_ran_in_between_are_seen() -> None:
    turns = [threading.Semaphore(0), threading.Semaphore(0)]

    def work() -> None:
        for _ in range(2):
            turns[0].acquire()
            turns[1].release()

    me = {str(threading.get_native_id())}
    thread = threading.Thread(target=work)
    thread.start()
    turns[0].release()
    turns[1].acquire()
    before = wait._other_threads(me)
    turns[0].release()
    turns[1].acquire()
    assert before != wait._other_threads(me)
    thread.join()


def test_sleepers_that_look_round_do_not_disturb_each_other() -> None:
    """Several look now and then whether the rest is blocked; that they do so must not make it seem awake."""
    kernel = boot()
    kernel.sleeper()  # takes part, and is blocked in join() below
    threads = [threading.Thread(target=kernel.sleep, args=(seconds * NSEC_PER_SEC,)) for seconds in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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
    wait._EventFd.__new__(wait._EventFd).__del__(closed.append)  # interrupted by a signal before it had one
    assert closed == [event.fd]


def test_a_ring_for_a_thread_that_is_gone() -> None:
    sleeper = wait.Sleeper(boot("real"))
    sleeper._sleep(0)
    sleeper.retire()
    sleeper.parked = True  # as it was when the one who rings looked
    sleeper.ring()
    sleeper.poke()
