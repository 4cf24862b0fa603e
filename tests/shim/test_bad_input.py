"""What programs do by mistake: leaks, copies, closing under a waiter, garbage, patches that cross each other."""

from __future__ import annotations

import copy
import errno
import gc
import os
import pickle
import select
import socket
import struct
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from socket import socket as imported_before
from types import ModuleType
from typing import Any

import pytest
from support.descriptors import held

import pysock
from pysock.shim.patching import Patch
from pysock.shim.sockobj import socket as low_socket
from pysock.vfs.task import Task

Pair = tuple[Any, Any]


# -- leaks -------------------------------------------------------------------------------------------------


def test_ten_thousand_leaked_sockets(task: Task, face: ModuleType) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(5_000):
            face.socketpair()
        gc.collect()
    assert sum(issubclass(warning.category, ResourceWarning) for warning in caught) == 10_000
    assert not task.fds


def test_leaks_give_placeholders_back(patched: Patch) -> None:
    before = held()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(2_000):
            socket.socket().bind(("127.0.0.1", 0))
    gc.collect()
    assert held() <= before


def test_a_cycle_of_connected_sockets(task: Task, face: ModuleType) -> None:
    class Mine(face.socket):  # type: ignore[misc, name-defined]  # a module attribute
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(100):
            listener = Mine()
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            client = face.create_connection(listener.getsockname())
            listener.me, listener.client = listener, client
        del listener, client
        gc.collect()
    assert not task.fds


# -- copies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [socket.socket, low_socket], ids=["socket", "_socket"])
@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda how: how.__name__)
def test_sockets_are_not_copied(patched: Patch, make: type, how: Callable[[Any], Any]) -> None:
    sock = socket.socket() if make is not low_socket else low_socket()
    with pytest.raises(TypeError, match="cannot pickle 'socket' object"):
        how(sock)
    sock.close()


# -- closing under a waiter --------------------------------------------------------------------------------


def closed_under(
    waiting: Callable[[], object], close: Callable[[], object], task: Task, wake: Callable[[], object] | None = None
) -> object:
    """What ``waiting()`` gives in another thread when ``close()``, then ``wake()`` run as soon as it sleeps."""
    outcome: list[object] = []

    def wait() -> None:
        try:
            outcome.append(waiting())
        except OSError as exc:
            outcome.append(exc.errno)

    thread = threading.Thread(target=wait)
    thread.start()
    while not task.kernel.parked:
        pass
    close()
    if wake is not None:
        wake()
    thread.join()
    return outcome[0]


@pytest.mark.parametrize("call", ["recv", "recvmsg", "recvfrom"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_reader_of_a_closed_unix_socket_goes_on(patched: Patch, call: str, kind: int) -> None:
    first, second = socket.socketpair(type=kind)
    with second:
        method = getattr(first, call)
        got = closed_under(lambda: method(1), first.close, patched.task, lambda: second.send(b"x"))
        assert got == b"x" or (isinstance(got, tuple) and got[0] == b"x")
        with pytest.raises((BrokenPipeError, ConnectionRefusedError, ConnectionResetError)):
            second.send(b"nobody holds it any more")


def test_a_reader_of_a_closed_tcp_socket_goes_on(patched: Patch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        with listener.accept()[0] as peer:
            got = closed_under(lambda: client.recv(1), client.close, patched.task, lambda: peer.send(b"x"))
            assert got == b"x"
            assert peer.recv(1) == b""  # it is closed now


def test_accept_on_a_closed_listener_goes_on(patched: Patch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()

    def accept() -> object:
        sock, where = listener.accept()
        sock.close()
        return where[0]

    def wake() -> None:
        socket.create_connection(address).close()

    assert closed_under(accept, listener.close, patched.task, wake) == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        wake()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_poll_and_select_on_a_closed_socket(patched: Patch, family: int) -> None:
    for _ in range(2):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        fd = sock.fileno()
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        # Closing wakes nobody, as on Linux: it is seen when the time is up.
        assert closed_under(partial(poller.poll, 50), sock.close, patched.task) == [(fd, select.POLLNVAL)]
        sock = socket.socket(family, socket.SOCK_DGRAM)
        select_it = partial(select.select, [sock], [], [], 0.05)
        assert closed_under(select_it, sock.close, patched.task) == ([sock], [], [])


def test_a_closed_epoll(patched: Patch) -> None:
    epoll = select.epoll()
    assert closed_under(partial(epoll.poll, 0.05), epoll.close, patched.task) == []
    with pytest.raises(ValueError, match="closed"):
        epoll.poll(0)


# -- garbage -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["pysock", "real"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    net: ModuleType = request.getfixturevalue("face") if request.param == "pysock" else socket
    first, second = net.socketpair(net.AF_UNIX, net.SOCK_DGRAM)
    with first, second:
        yield first, second


@pytest.mark.parametrize(
    ("control", "number"),
    [
        ([(socket.SOL_SOCKET, 12345, b"garbage")], errno.EINVAL),
        ([(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 1 << 30))], errno.EBADF),
        ([(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", -1))], errno.EBADF),
        ([(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 0) * 254)], errno.EINVAL),
        ([(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, b"short")], errno.EINVAL),
        ([(12345, 1, b"")], None),
        ([(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"")], None),
        ([(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"abc")], None),
    ],
)
def test_garbage_control_messages(pair: Pair, control: list[tuple[int, int, bytes]], number: int | None) -> None:
    first, second = pair
    if number is None:
        assert first.sendmsg([b"x"], control) == 1
        assert second.recvmsg(10, 1000)[:2] == (b"x", [])
    else:
        with pytest.raises(OSError) as caught:
            first.sendmsg([b"x"], control)
        assert caught.value.errno == number


@pytest.mark.parametrize("room", [0, 1, 15, 16, 17, 19])
def test_no_room_for_an_arriving_descriptor(pair: Pair, room: int) -> None:
    """Whatever does not fit is closed, not leaked."""
    first, second = pair
    before = held()
    with open(os.devnull) as passed:
        first.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", passed.fileno()))])
        data, control, flags, _ = second.recvmsg(10, room)
    assert (data, control, flags & socket.MSG_CTRUNC) == (b"x", [], socket.MSG_CTRUNC)
    assert held() <= before


# -- audit events ------------------------------------------------------------------------------------------

_heard: list[tuple[str, tuple[Any, ...]]] | None = None


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _heard is not None and event.startswith("socket."):
        _heard.append((event, tuple(arg for arg in args if not isinstance(arg, imported_before | low_socket))))


def test_audit_events_are_those_of_c() -> None:
    global _heard
    sys.addaudithook(_hook)  # for good, there is no way back
    told = []
    for net in (socket, pysock):
        _heard = []
        try:
            sock, other = net.socket(type=net.SOCK_DGRAM), net.socket(type=net.SOCK_DGRAM)
            with sock, other:
                sock.bind(("127.0.0.1", 0))
                address = sock.getsockname()
                other.sendto(b"x", address)
                other.sendmsg([b"y"], [], 0, address)
                other.connect(address)
                other.connect_ex(address)
            net.gethostbyname("127.0.0.1")
            net.getaddrinfo("127.0.0.1", 80)
            net.getnameinfo(("127.0.0.1", 80), net.NI_NUMERICHOST)
            net.gethostbyaddr("127.0.0.1")
            net.getservbyname("http")
            net.getservbyport(80)
            net.gethostname()
            told.append([(event, tuple("port" if arg == address else arg for arg in args)) for event, args in _heard])
        finally:
            _heard = None
    assert told[0] == told[1]
    assert len(told[0]) > 10


# -- patches -----------------------------------------------------------------------------------------------


def test_patching_from_many_threads() -> None:
    """Patches of several threads cross each other; in the end the world is as before."""
    before = socket.socket, sys.modules["_socket"], os.read, select.poll
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        try:
            for _ in range(5):
                barrier.wait()
                active = pysock.patch()
                with socket.socket() as sock:
                    sock.bind(("127.0.0.1", 0))
                barrier.wait()
                active.undo()
        except BaseException as exc:
            failures.append(exc)
            barrier.abort()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (socket.socket, sys.modules["_socket"], os.read, select.poll) == before


def test_a_name_imported_before_the_patch() -> None:
    """``from socket import socket`` above: the name in this module changes hands, and back."""
    before = imported_before
    with pysock.patch() as active:
        assert imported_before is not before
        with imported_before() as sock:
            assert sock.fileno() in active.task.fds
    assert imported_before is before
