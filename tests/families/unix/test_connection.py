"""connect, listen, accept, and how connections end."""

from __future__ import annotations

import errno
import os
from socket import SHUT_RD, SHUT_RDWR, SHUT_WR

import pytest
from support.unix_api import DGRAM, STREAM, Api, Unix, raises

from pysock.core.sock import SOCK_PASSCRED, SS_CONNECTED, Socket
from pysock.families.unix.unix_sock import peer_creds

pytestmark = pytest.mark.usefixtures("room")


def serve(api: Api, kind: int, backlog: int = 5) -> object:
    server = api.socket(kind)
    api.bind(server, "server")
    api.listen(server, backlog)
    return server


def test_a_connection(api: Api, connected_kind: int) -> None:
    server = serve(api, connected_kind)
    client = api.socket(connected_kind)
    api.connect(client, "server")
    api.send(client, b"before accept")
    child = api.accept(server)
    assert api.recv(child, 99) == b"before accept"
    api.send(child, b"reply")
    assert api.recv(client, 99) == b"reply"
    assert api.getsockname(child) == api.getpeername(client) == "server"
    assert api.getpeername(child) == api.getsockname(client) == ""


def test_accept_shows_the_name_of_the_client(api: Api, connected_kind: int) -> None:
    server = serve(api, connected_kind)
    client = api.socket(connected_kind)
    api.bind(client, "client")
    api.connect(client, "server")
    assert api.getpeername(api.accept(server)) == "client"


def test_connections_are_accepted_in_order(api: Api, connected_kind: int) -> None:
    server = serve(api, connected_kind)
    clients = [api.socket(connected_kind) for _ in range(3)]
    for number, client in enumerate(clients):
        api.connect(client, "server")
        api.send(client, b"%d" % number)
    assert [api.recv(api.accept(server), 9) for _ in clients] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("backlog", [0, 1, 3])
def test_a_full_backlog(api: Api, connected_kind: int, backlog: int) -> None:
    server = serve(api, connected_kind, backlog)
    for _ in range(backlog + 1):
        api.connect(api.socket(connected_kind), "server")
    late = api.socket(connected_kind)
    with raises(errno.EAGAIN):
        api.connect(late, "server")
    api.accept(server)
    api.connect(late, "server")


def test_listen_again_changes_the_backlog(api: Api, connected_kind: int) -> None:
    server = serve(api, connected_kind, 0)
    api.connect(api.socket(connected_kind), "server")
    client = api.socket(connected_kind)
    with raises(errno.EAGAIN):
        api.connect(client, "server")
    api.listen(server, 1)
    api.connect(client, "server")


def test_a_negative_backlog_is_a_large_one(unix: Unix) -> None:
    server = serve(unix, STREAM, -1)
    assert unix.sk(server).max_ack_backlog == 4096


def test_who_may_listen(api: Api, connected_kind: int) -> None:
    with raises(errno.EINVAL):
        api.listen(api.socket(connected_kind), 1)  # no name
    first, _ = api.pair(connected_kind)
    api.bind(first, "pair")
    with raises(errno.EINVAL):
        api.listen(first, 1)
    with raises(errno.EOPNOTSUPP):
        api.listen(api.socket(DGRAM), 1)


def test_who_may_accept(api: Api, connected_kind: int) -> None:
    with raises(errno.EINVAL):
        api.accept(api.socket(connected_kind))
    with raises(errno.EINVAL):
        api.accept(api.pair(connected_kind)[0])
    with raises(errno.EOPNOTSUPP):
        api.accept(api.socket(DGRAM))
    with raises(errno.EAGAIN):
        api.accept(serve(api, connected_kind))


def test_who_may_connect(api: Api, connected_kind: int) -> None:
    server = serve(api, connected_kind)
    client = api.socket(connected_kind)
    api.connect(client, "server")
    with raises(errno.EISCONN):
        api.connect(client, "server")
    with raises(errno.EINVAL):
        api.connect(server, "server")
    with raises(errno.ENOENT):
        api.connect(client, "nowhere")  # the lookup comes first


def test_a_listener_sends_and_receives_nothing(api: Api) -> None:
    server = serve(api, STREAM)
    with raises(errno.ENOTCONN):
        api.send(server, b"x")
    with raises(errno.EINVAL):
        api.recv(server, 1)
    with raises(errno.EINVAL):
        api.inq(server)


def test_a_listener_shut_down_refuses(api: Api, connected_kind: int) -> None:
    server = serve(api, connected_kind)
    api.connect(api.socket(connected_kind), "server")
    api.shutdown(server, SHUT_RD)
    with raises(errno.ECONNREFUSED):
        api.connect(api.socket(connected_kind), "server")
    api.accept(server)
    with raises(errno.EAGAIN):
        api.accept(server)


def test_closing_a_listener_resets_what_nobody_accepted(api: Api, connected_kind: int) -> None:
    server = serve(api, connected_kind)
    client = api.socket(connected_kind)
    api.connect(client, "server")
    api.close(server)
    with raises(errno.ECONNRESET):
        api.recv(client, 1)
    assert api.recv(client, 1) == b""
    with raises(errno.EPIPE):
        api.send(client, b"x")
    with raises(errno.ECONNREFUSED):
        api.connect(api.socket(connected_kind), "server")


def test_the_other_side_closes(api: Api, connected_kind: int) -> None:
    first, second = api.pair(connected_kind)
    api.send(first, b"last words")
    api.close(first)
    assert api.recv(second, 99) == b"last words"
    assert api.recv(second, 99) == b""
    assert api.recv(second, 99) == b""
    with raises(errno.EPIPE):
        api.send(second, b"x")
    assert api.getpeername(second) == ""  # still somebody


def test_the_other_side_closes_without_reading(api: Api, connected_kind: int) -> None:
    first, second = api.pair(connected_kind)
    api.send(second, b"unread")
    api.close(first)
    with raises(errno.ECONNRESET):
        api.recv(second, 1)
    assert api.recv(second, 1) == b""


def test_a_reset_comes_after_the_data_of_a_stream(api: Api) -> None:
    first, second = api.pair(STREAM)
    api.send(first, b"data")
    api.send(second, b"unread")
    api.close(first)
    assert api.recv(second, 99) == b"data"
    with raises(errno.ECONNRESET):
        api.recv(second, 99)
    assert api.error(second) == 0


def test_shutting_down_writing(api: Api, connected_kind: int) -> None:
    first, second = api.pair(connected_kind)
    api.send(first, b"data")
    api.shutdown(first, SHUT_WR)
    with raises(errno.EPIPE):
        api.send(first, b"more")
    assert api.recv(second, 99) == b"data"
    assert api.recv(second, 99) == b""
    api.send(second, b"the other way")
    assert api.recv(first, 99) == b"the other way"


def test_shutting_down_reading(api: Api, connected_kind: int) -> None:
    first, second = api.pair(connected_kind)
    api.send(second, b"data")
    api.shutdown(first, SHUT_RD)
    with raises(errno.EPIPE):
        api.send(second, b"more")
    assert api.recv(first, 99) == b"data"
    assert api.recv(first, 99) == b""
    api.send(first, b"the other way")
    assert api.recv(second, 99) == b"the other way"


def test_shutdown_of_what_is_not_connected(api: Api, kind: int) -> None:
    sock = api.socket(kind)
    api.shutdown(sock, SHUT_RDWR)
    with raises(errno.EINVAL):
        api.shutdown(sock, 3)
    with raises(errno.EINVAL):
        api.shutdown(sock, -1)


def test_reading_shut_down_before_the_connection(api: Api) -> None:
    server = serve(api, STREAM)
    client = api.socket(STREAM)
    api.shutdown(client, SHUT_RD)
    api.connect(client, "server")
    with raises(errno.EPIPE):
        api.send(api.accept(server), b"x")


def test_peer_credentials(api: Api, connected_kind: int) -> None:
    me = os.getpid(), os.getuid(), os.getgid()
    lonely = api.socket(connected_kind)
    assert api.peercred(lonely) == (0, -1, -1)
    server = serve(api, connected_kind)
    api.connect(lonely, "server")
    assert api.peercred(lonely) == api.peercred(api.accept(server)) == me
    assert api.peercred(server) == me
    assert [api.peercred(sock) for sock in api.pair(connected_kind)] == [me, me]


def test_each_side_sees_the_credentials_of_the_other(unix: Unix) -> None:
    server = serve(unix, STREAM)
    mine, unix.creds = unix.creds, unix.creds.for_task(4711)
    client = unix.socket(STREAM)
    unix.connect(client, "server")
    child = unix.accept(server)
    assert peer_creds(unix.sk(child)) is unix.creds
    assert peer_creds(unix.sk(client)) is mine


def test_accept_grafts_the_new_socket(unix: Unix) -> None:
    server = serve(unix, STREAM)
    unix.sk(server).flags |= SOCK_PASSCRED
    unix.connect(unix.socket(STREAM), "server")
    child = Socket(STREAM)
    unix.call(server, "accept", child, unix.nonblock)
    assert child.ops is server.ops
    assert child.state == SS_CONNECTED
    assert unix.sk(child).socket is child
    assert unix.sk(child).flags & SOCK_PASSCRED


def test_closing_twice_is_harmless(unix: Unix, kind: int) -> None:
    first, second = unix.pair(kind)
    unix.close(first)
    unix.close(first)
    unix.close(second)
    assert unix.sk(second).peer is None


def test_queues_are_made_on_first_use(unix: Unix, kind: int) -> None:
    first, _ = unix.pair(kind)
    sk = unix.sk(first)
    assert sk.inbox is sk.pending is sk.wait_queue is sk.peer_wait is sk.receive_queue is None
