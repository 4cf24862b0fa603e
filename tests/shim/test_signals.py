"""Signal handlers under patch: never inside the stack, their exceptions out of the call, wake-up bytes into our
sockets.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

import pysock
from pysock.shim import signalseam
from pysock.shim.patching import Patch


class Alarm(Exception):
    """What the handlers of these tests raise."""


@pytest.fixture
def usr1(patched: Patch) -> Iterator[Patch]:
    before = signal.getsignal(signal.SIGUSR1)
    yield patched
    signal.signal(signal.SIGUSR1, before)


def kick(active: Patch) -> threading.Thread:
    """Send SIGUSR1 to the main thread once it sleeps in the kernel. A signal that comes in the very moment before the
    system call, when Python has looked for one already, does not interrupt that: so it is sent until it does.
    """

    def wait_and_send() -> None:
        while not active.kernel.parked:
            pass
        while active.kernel.parked:
            os.kill(os.getpid(), signal.SIGUSR1)
            arrived.wait(5)

    arrived = threading.Event()
    handler = signal.getsignal(signal.SIGUSR1)
    assert callable(handler)

    def noticed(number: int, frame: FrameType | None) -> None:
        arrived.set()
        handler(number, frame)

    signal.signal(signal.SIGUSR1, noticed)
    thread = threading.Thread(target=wait_and_send)
    thread.start()
    return thread


def raising(signum: int, frame: FrameType | None) -> None:
    raise Alarm(signum)


def test_an_exception_comes_out_of_the_blocking_call(usr1: Patch) -> None:
    signal.signal(signal.SIGUSR1, raising)
    a, b = socket.socketpair()
    with a, b:
        thread = kick(usr1)
        with pytest.raises(Alarm):
            a.recv(1)
        thread.join()
        b.send(b"x")
        assert a.recv(1) == b"x"


def test_without_an_exception_the_call_goes_on(usr1: Patch) -> None:
    a, b = socket.socketpair()
    seen: list[int] = []

    def answer(signum: int, frame: FrameType | None) -> None:
        seen.append(signum)
        if len(seen) == 1:  # a second signal from kick() may even interrupt this function
            b.send(b"from the handler")

    signal.signal(signal.SIGUSR1, answer)
    with a, b:
        thread = kick(usr1)
        assert a.recv(99) == b"from the handler"
        thread.join()
    assert set(seen) == {signal.SIGUSR1}


def test_not_while_the_lock_is_held(usr1: Patch) -> None:
    """A signal in the middle of the stack waits until the call leaves the kernel; its exception comes out there."""
    signal.signal(signal.SIGUSR1, raising)
    kernel = usr1.kernel
    kernel.acquire()
    reached = False
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(100):
            reached = True
    finally:
        with pytest.raises(Alarm):
            kernel.leave()
    assert reached
    assert not kernel.lock._is_owned()  # type: ignore[attr-defined]  # RLock has it


def test_wake_ups_survive_a_handler_that_raises(usr1: Patch) -> None:
    """The thread that was to be woken by the interrupted call is woken all the same."""
    signal.signal(signal.SIGUSR1, raising)
    kernel = usr1.kernel
    a, b = socket.socketpair()
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(a.recv(9)))
    with a, b:
        reader.start()
        while not kernel.parked:
            pass
        kernel.acquire()
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            b.send(b"x")  # within the call that is interrupted: nothing is delivered yet
        except Alarm:
            pass
        finally:
            try:
                kernel.leave()
            except Alarm:
                pass
        reader.join()
    assert received == [b"x"]


def test_two_signals_at_once(usr1: Patch) -> None:
    """The first handler raises; the second one runs all the same."""
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda signum, frame: seen.append(signum))
    try:
        signal.signal(signal.SIGUSR1, raising)
        usr1.kernel.acquire()
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(Alarm):
            usr1.kernel.leave()
        assert seen == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_another_thread_that_leaves_first_sends_it_again(usr1: Patch) -> None:
    seen: list[tuple[int, bool]] = []
    main = threading.current_thread()
    signal.signal(signal.SIGUSR1, lambda signum, frame: seen.append((signum, threading.current_thread() is main)))
    late = signalseam.Guarded(lambda *_: seen.append((0, False)))

    def leave() -> None:
        usr1.kernel.acquire()
        usr1.kernel.after_leave(lambda: late._late(signal.SIGUSR1, None))  # as a signal in this moment would
        usr1.kernel.leave()

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    assert seen == [(signal.SIGUSR1, True)]


def test_getsignal_shows_what_the_program_installed(usr1: Patch) -> None:
    assert signal.signal(signal.SIGUSR1, raising) in (signal.SIG_DFL, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGUSR1) is raising
    assert signal.signal(signal.SIGUSR1, signal.SIG_IGN) is raising
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN


def test_handlers_from_before_are_guarded_and_given_back() -> None:
    before = signal.signal(signal.SIGUSR1, raising)
    try:
        with pysock.patch() as active:
            assert signal.getsignal(signal.SIGUSR1) is raising
            active.kernel.acquire()
            os.kill(os.getpid(), signal.SIGUSR1)
            with pytest.raises(Alarm):
                active.kernel.leave()
        assert signal.getsignal(signal.SIGUSR1) is raising
        with pytest.raises(Alarm):
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_wakeup_fd(usr1: Patch) -> None:
    signal.signal(signal.SIGUSR1, lambda signum, frame: None)
    a, b = socket.socketpair()
    with a, b:
        with pytest.raises(ValueError, match="must be in non-blocking mode"):
            signal.set_wakeup_fd(b.fileno())
        b.setblocking(False)
        assert signal.set_wakeup_fd(b.fileno()) == -1
        os.kill(os.getpid(), signal.SIGUSR1)
        assert a.recv(9) == bytes([signal.SIGUSR1])
        assert signal.set_wakeup_fd(-1) == b.fileno()
        os.kill(os.getpid(), signal.SIGUSR1)
        a.setblocking(False)
        with pytest.raises(BlockingIOError):
            a.recv(1)


def test_asyncio_signal_handlers(usr1: Patch) -> None:
    async def main() -> str:
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, arrived.set)
        kicker = kick(usr1)
        await arrived.wait()
        kicker.join()
        loop.remove_signal_handler(signal.SIGUSR1)
        return "arrived"

    assert asyncio.run(main()) == "arrived"


def test_keyboard_interrupt_is_the_default_handler(patched: Patch) -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    a, b = socket.socketpair()
    with a, b:

        def interrupt() -> None:
            while not patched.kernel.parked:
                pass
            while not arrived.is_set():
                os.kill(os.getpid(), signal.SIGINT)
                arrived.wait(30)  # as in kick(); one too many would end the whole run

        arrived = threading.Event()
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            a.recv(1)
        arrived.set()
        thread.join()
