"""Sockets that lie in each other's inboxes, once nobody else has them."""

from __future__ import annotations

import errno
from socket import MSG_PEEK

import pytest
from support.rights_api import Ours
from support.unix_api import DGRAM, STREAM, raises

from pysock.core.capability import NO_CAPS, Credentials
from pysock.families.unix import garbage
from pysock.families.unix.unix_net import UnixNet
from pysock.syscalls.socket import sys_connect, sys_listen
from pysock.vfs.task import Task

ROOM = 999


@pytest.fixture
def api() -> Ours:
    return Ours()


def unix_net(api: Ours) -> UnixNet:
    return api.task.net.get(UnixNet)


def close_another(api: Ours) -> None:
    """What sets the collector off: some socket is released."""
    api.close(api.socket(DGRAM))


def taken(api: Ours, name: bytes) -> bool:
    """Whether a datagram socket is bound to ``name``."""
    return ("abstract", name, DGRAM) in unix_net(api).bound


def lonely(api: Ours, name: bytes) -> int:
    """A bound socket that lies in its own inbox."""
    fd = api.socket(DGRAM)
    api.bind(fd, name)
    api.send(fd, b"me", [fd], name)
    return fd


def test_a_socket_in_its_own_inbox(api: Ours) -> None:
    fd = lonely(api, b"\0self")
    close_another(api)
    assert taken(api, b"\0self")  # its fd is open
    api.close(fd)
    assert taken(api, b"\0self")  # nothing was released yet, so nobody looked
    close_another(api)
    assert not taken(api, b"\0self")
    assert not unix_net(api).flight.sockets
    assert not unix_net(api).flight.by_uid


def test_a_ring(api: Ours) -> None:
    names = [b"\0ring%d" % i for i in range(5)]
    fds = [api.socket(DGRAM) for _ in names]
    for fd, name in zip(fds, names, strict=True):
        api.bind(fd, name)
    for i, fd in enumerate(fds):
        api.send(fd, b"next", [fds[(i + 1) % 5]], names[i])
    for fd in fds[:-1]:
        api.close(fd)
    close_another(api)
    assert all(taken(api, name) for name in names)  # the last one is open, and the others hang on it
    api.close(fds[-1])
    close_another(api)
    assert not any(taken(api, name) for name in names)


def test_a_ring_that_somebody_can_still_receive(api: Ours) -> None:
    outer, inner = api.pair(STREAM)
    fd = lonely(api, b"\0held")
    api.send(outer, b"here", [fd])
    api.close(fd)
    close_another(api)
    assert taken(api, b"\0held")
    message = api.recvmsg(inner, ROOM)
    close_another(api)
    assert api.recvmsg(message.fds[0], ROOM).data == b"me"


def test_a_peer_of_garbage_sees_the_end(api: Ours) -> None:
    first, second = api.pair(STREAM)
    one, two = api.pair(STREAM)
    api.send(one, b"x", [two, second])  # `two` lies in its own inbox, and `second` with it
    for fd in (one, two, second):
        api.close(fd)
    close_another(api)
    assert api.recv(first, 9) == b""


def test_garbage_in_the_backlog_of_a_listener_in_flight(api: Ours) -> None:
    listener = api.socket(STREAM)
    api.bind(listener, b"\0listener")
    sys_listen(api.task, listener, 5)
    client = api.socket(STREAM)
    sys_connect(api.task, client, b"\0listener")
    api.send(client, b"x", [listener])  # into the inbox of a connection that only the listener could accept
    api.close(listener)
    close_another(api)
    with raises(errno.ECONNRESET):
        api.recv(client, 9)
    assert not unix_net(api).bound


def test_other_files_in_garbage_are_closed_too(api: Ours) -> None:
    fd = lonely(api, b"\0box")
    passenger, other_end = api.pair(STREAM)
    api.send(fd, b"passenger", [passenger], b"\0box")
    api.close(passenger)
    api.close(fd)
    close_another(api)
    assert api.recv(other_end, 9) == b""


def test_accounts_balance(api: Ours, kind: int) -> None:
    first, second = api.pair(kind)
    flight = unix_net(api).flight
    for _ in range(3):
        api.send(first, b"x", [first, first])
    assert sum(flight.by_uid.values()) == 6
    assert list(flight.sockets.values()) == [6]
    api.recvmsg(second, ROOM, MSG_PEEK)
    assert sum(flight.by_uid.values()) == 6
    api.recvmsg(second, ROOM)
    api.recv(second, 9)
    assert sum(flight.by_uid.values()) == 2
    api.close(second)
    assert not flight.by_uid
    assert not flight.sockets


def test_too_many_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_getrlimit", lambda which: (3, 3))
    task = Task.boot(clock="virtual", seed=1)
    task.creds = Credentials(1, uid=1000, gid=1000, caps=NO_CAPS)
    api = Ours(task)
    first, second = api.pair(STREAM)
    api.send(first, b"x", [first] * 4)  # the limit counts what is under way already
    with raises(errno.ETOOMANYREFS):
        api.send(first, b"x", [first])
    api.recvmsg(second, ROOM)
    api.send(first, b"x", [first])
