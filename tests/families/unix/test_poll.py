"""What poll says, on both kernels; and that epoll-like watchers are told."""

from __future__ import annotations

import errno
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP
from socket import SHUT_RD, SHUT_RDWR, SHUT_WR

import pytest
from support.unix_api import DGRAM, SEQPACKET, STREAM, Api, Unix, raises

from pysock.core.sock import PollTable, Socket
from pysock.core.wait import WaitEntry, WaitQueue

pytestmark = pytest.mark.usefixtures("room")


def test_new_sockets(api: Api) -> None:
    assert api.poll(api.socket(STREAM)) == POLLOUT | POLLHUP
    assert api.poll(api.socket(SEQPACKET)) == POLLOUT | POLLHUP
    assert api.poll(api.socket(DGRAM)) == POLLOUT


def test_a_pair(api: Api, kind: int) -> None:
    first, second = api.pair(kind)
    assert api.poll(first) == api.poll(second) == POLLOUT
    api.send(first, b"x")
    assert api.poll(second) == POLLIN | POLLOUT
    api.recv(second, 1)
    assert api.poll(second) == POLLOUT


def test_a_listener(api: Api, connected_kind: int) -> None:
    server = api.socket(connected_kind)
    api.bind(server, "server")
    api.listen(server, 1)
    assert api.poll(server) == 0
    api.connect(api.socket(connected_kind), "server")
    assert api.poll(server) == POLLIN
    api.accept(server)
    assert api.poll(server) == 0


@pytest.mark.parametrize("how", [SHUT_RD, SHUT_WR, SHUT_RDWR])
def test_shutdown(api: Api, kind: int, how: int) -> None:
    first, second = api.pair(kind)
    api.shutdown(first, how)
    mine = POLLOUT
    if how != SHUT_WR:
        mine |= POLLIN | POLLRDHUP
    theirs = POLLOUT
    if kind != DGRAM and how != SHUT_RD:
        theirs |= POLLIN | POLLRDHUP
    if how == SHUT_RDWR:
        mine |= POLLHUP
        theirs |= 0 if kind == DGRAM else POLLHUP
    assert api.poll(first) == mine
    assert api.poll(second) == theirs


def test_the_other_side_closes(api: Api, connected_kind: int) -> None:
    first, second = api.pair(connected_kind)
    api.close(first)
    assert api.poll(second) == POLLIN | POLLOUT | POLLHUP | POLLRDHUP


def test_the_other_side_closes_without_reading(api: Api, connected_kind: int) -> None:
    first, second = api.pair(connected_kind)
    api.send(second, b"unread")
    api.close(first)
    assert api.poll(second) == POLLERR | POLLIN | POLLOUT | POLLHUP | POLLRDHUP
    assert api.error(second) == errno.ECONNRESET
    assert api.poll(second) == POLLIN | POLLOUT | POLLHUP | POLLRDHUP


def test_writable_means_that_three_quarters_are_free(api: Api, kind: int) -> None:
    first, second = api.pair(kind)
    for _ in range(69):
        api.send(first, b"x")
    assert api.poll(first) & POLLOUT
    api.send(first, b"x")
    assert not api.poll(first) & POLLOUT
    api.recv(second, 1)
    assert api.poll(first) & POLLOUT


def test_a_datagram_socket_is_not_writable_while_its_peer_is_full(unix: Unix) -> None:
    server, client = unix.socket(DGRAM), unix.socket(DGRAM)
    unix.bind(server, "server")
    unix.connect(client, "server")
    for _ in range(11):
        unix.send(client, b"x")
    assert not unix.poll(client) & POLLOUT
    with raises(errno.EAGAIN):
        unix.send(client, b"x")
    unix.recv(server, 1)
    assert unix.poll(client) & POLLOUT


# -- watchers --------------------------------------------------------------------------------------------


class Watch(PollTable):
    """Registers as epoll does, and collects the keys it is woken with."""

    __slots__ = ("keys",)

    def __init__(self) -> None:
        self.keys: list[int] = []

    def wait(self, queue: WaitQueue) -> None:
        queue.add(WaitEntry(self.wake))

    def wake(self, key: int) -> bool:
        self.keys.append(key)
        return True

    def told(self) -> int:
        """All bits it was woken with since the last time."""
        keys, self.keys = self.keys, []
        bits = 0
        for key in keys:
            bits |= key
        return bits


def watch(unix: Unix, sock: Socket) -> Watch:
    table = Watch()
    unix.call(sock, "poll", table)
    return table


def test_watchers_hear_of_data_and_of_the_end(unix: Unix, connected_kind: int) -> None:
    first, second = unix.pair(connected_kind)
    seen = watch(unix, second)
    assert not seen.told()
    unix.send(first, b"x")
    assert seen.told() & POLLIN
    unix.shutdown(first, SHUT_WR)
    assert seen.told() & POLLIN
    unix.close(first)
    assert seen.told() & POLLHUP


def test_watchers_of_a_listener_hear_of_connections(unix: Unix, connected_kind: int) -> None:
    server = unix.socket(connected_kind)
    unix.bind(server, "server")
    unix.listen(server, 1)
    seen = watch(unix, server)
    unix.connect(unix.socket(connected_kind), "server")
    assert seen.told() & POLLIN


def test_writers_are_told_once_a_quarter_is_left(unix: Unix, kind: int) -> None:
    first, second = unix.pair(kind)
    with raises(errno.EAGAIN):
        while True:
            unix.send(first, bytes(1000))
    seen = watch(unix, first)
    while not unix.poll(first) & POLLOUT:
        assert not seen.told()
        unix.recv(second, 1000)
    assert seen.told() & POLLOUT


@pytest.mark.parametrize("event", ["read", "close", "reconnect"])
def test_a_full_peer_tells_those_who_poll_for_it(unix: Unix, event: str) -> None:
    server, other, client = unix.socket(DGRAM), unix.socket(DGRAM), unix.socket(DGRAM)
    unix.bind(server, "server")
    unix.bind(other, "other")
    unix.connect(client, "server")
    seen = watch(unix, client)  # writable now: the watch on the peer begins with the failing send
    for _ in range(11):
        unix.send(client, b"x")
    with raises(errno.EAGAIN):
        unix.send(client, b"x")
    assert unix.sk(client).watched is unix.sk(server)
    seen.told()
    if event == "read":
        unix.recv(server, 1)
    elif event == "close":
        unix.close(server)
    else:
        unix.connect(client, "other")
    assert seen.told() & POLLOUT
    assert unix.poll(client) & POLLOUT
    assert unix.sk(client).watched is None
    if event != "close":
        assert not unix.sk(server).peer_wait.entries


def test_a_closed_socket_leaves_no_watch_behind(unix: Unix) -> None:
    server, client = unix.socket(DGRAM), unix.socket(DGRAM)
    unix.bind(server, "server")
    unix.connect(client, "server")
    for _ in range(11):
        unix.send(client, b"x")
    unix.poll(client)
    assert len(unix.sk(server).peer_wait.entries) == 1
    unix.close(client)
    assert not unix.sk(server).peer_wait.entries
