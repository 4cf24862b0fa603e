"""Messages over SOCK_DGRAM."""

from __future__ import annotations

import errno
from pathlib import Path
from socket import MSG_PEEK, MSG_TRUNC, SHUT_RD, SHUT_RDWR, SHUT_WR

import pytest
from support.unix_api import DGRAM, Api, Unix, raises

from pysock.core.sock import MsgHdr

SK_WMEM_DEFAULT = 212_992  # net.core.wmem_default

pytestmark = pytest.mark.usefixtures("room")


def named(api: Api, name: str) -> object:
    sock = api.socket(DGRAM)
    api.bind(sock, name)
    return sock


def test_messages_keep_their_boundaries(api: Api) -> None:
    first, second = api.pair(DGRAM)
    for data in (b"abc", b"", b"de"):
        assert api.send(first, data) == len(data)
    assert api.inq(second) == 3
    assert [api.recv(second, 99) for _ in range(3)] == [b"abc", b"", b"de"]
    with raises(errno.EAGAIN):
        api.recv(second, 1)
    assert api.inq(second) == 0


def test_a_small_buffer_cuts_the_message(api: Api) -> None:
    first, second = api.pair(DGRAM)
    api.send(first, b"abcdef")
    api.send(first, b"next")
    assert api.recvmsg(second, 2, MSG_PEEK) == (b"ab", MSG_TRUNC)
    assert api.recvmsg(second, 3) == (b"abc", MSG_TRUNC)
    assert api.recvmsg(second, 4) == (b"next", 0)


def test_msg_trunc_asks_for_the_length(unix: Unix) -> None:
    first, second = unix.pair(DGRAM)
    unix.send(first, b"abcdef")
    assert unix.recvmsg(second, 2, MSG_TRUNC | MSG_PEEK) == (b"abcdef", MSG_TRUNC)
    assert unix.recv(second, 2, MSG_TRUNC) == b"abcdef"


def test_peek(api: Api) -> None:
    first, second = api.pair(DGRAM)
    api.send(first, b"one")
    api.send(first, b"two")
    assert api.recv(second, 99, MSG_PEEK) == b"one"
    assert api.recv(second, 99) == b"one"
    assert api.recv(second, 99, MSG_PEEK) == b"two"


def test_to_a_name_and_back(api: Api) -> None:
    server, client = named(api, "server"), named(api, "client")
    anonymous = api.socket(DGRAM)
    api.sendto(client, b"named", "server")
    api.sendto(anonymous, b"unnamed", "server")
    assert api.recvfrom(server, 99) == (b"named", "client")
    assert api.recvfrom(server, 99) == (b"unnamed", None)
    api.sendto(server, b"reply", "client")
    assert api.recvfrom(client, 99) == (b"reply", "server")


def test_to_oneself(api: Api) -> None:
    sock = named(api, "self")
    for _ in range(20):  # nobody else empties the inbox, so its bound does not hold
        api.sendto(sock, b"note", "self")
    assert api.recvfrom(sock, 99) == (b"note", "self")


def test_errors_of_a_destination(api: Api) -> None:
    sock = api.socket(DGRAM)
    Path("file").touch()
    api.close(named(api, "gone"))
    for name, number in [
        ("missing", errno.ENOENT),
        ("file", errno.ECONNREFUSED),
        ("gone", errno.ECONNREFUSED),
        (b"\0pysock-nobody", errno.ECONNREFUSED),
        ("", errno.EINVAL),
    ]:
        with raises(number):
            api.sendto(sock, b"x", name)
        with raises(number):
            api.connect(sock, name)
    with raises(errno.ENOTCONN):
        api.send(sock, b"x")


def test_connect_chooses_the_destination(api: Api) -> None:
    one, two, client = named(api, "one"), named(api, "two"), api.socket(DGRAM)
    api.connect(client, "one")
    assert api.getpeername(client) == "one"
    api.send(client, b"first")
    api.connect(client, "two")
    api.send(client, b"second")
    api.sendto(client, b"elsewhere", "one")
    assert api.recv(one, 99) == b"first"
    assert api.recv(one, 99) == b"elsewhere"
    assert api.recv(two, 99) == b"second"


def test_a_connected_socket_hears_its_peer_alone(api: Api) -> None:
    one, two, stranger = named(api, "one"), named(api, "two"), api.socket(DGRAM)
    api.connect(one, "two")
    with raises(errno.EPERM):
        api.sendto(stranger, b"x", "one")
    with raises(errno.EPERM):
        api.connect(stranger, "one")
    api.sendto(two, b"peer", "one")
    assert api.recv(one, 99) == b"peer"


def test_turning_away_loses_messages_and_tells_the_peer(api: Api) -> None:
    one, two = named(api, "one"), named(api, "two")
    api.connect(one, "two")
    api.connect(two, "one")
    named(api, "three")
    api.send(two, b"lost")
    api.connect(one, "three")
    with raises(errno.EAGAIN):
        api.recv(one, 99)
    assert api.error(two) == errno.ECONNRESET


def test_disconnect(unix: Unix) -> None:
    server, client = named(unix, "server"), unix.socket(DGRAM)
    unix.connect(client, "server")
    unix.call(client, "connect", None, 0)  # AF_UNSPEC
    with raises(errno.ENOTCONN):
        unix.send(client, b"x")
    with raises(errno.ENOTCONN):
        unix.getpeername(client)
    unix.connect(client, "server")
    unix.send(client, b"again")
    assert unix.recv(server, 99) == b"again"


def test_the_peer_closes(api: Api) -> None:
    first, second = api.pair(DGRAM)
    api.send(first, b"last words")
    api.close(first)
    assert api.recv(second, 99) == b"last words"
    with raises(errno.EAGAIN):
        api.recv(second, 99)  # no end of file: there is no connection
    with raises(errno.ECONNREFUSED):
        api.send(second, b"x")
    with raises(errno.ENOTCONN):
        api.send(second, b"x")


def test_shutdown(api: Api) -> None:
    first, second = api.pair(DGRAM)
    api.shutdown(first, SHUT_WR)
    with raises(errno.EPIPE):
        api.send(first, b"x")
    api.send(second, b"the other way")
    api.shutdown(first, SHUT_RD)
    with raises(errno.EPIPE):
        api.send(second, b"x")
    assert api.recv(first, 99) == b"the other way"
    with raises(errno.EAGAIN):
        api.recv(first, 99)
    api.shutdown(second, SHUT_RDWR)


# -- bounds ----------------------------------------------------------------------------------------------


def test_a_message_that_cannot_ever_fit(api: Api) -> None:
    first, second = api.pair(DGRAM)
    with raises(errno.EMSGSIZE):
        api.send(first, bytes(SK_WMEM_DEFAULT - 31))
    assert api.send(first, bytes(SK_WMEM_DEFAULT - 32)) == SK_WMEM_DEFAULT - 32
    with raises(errno.EAGAIN):
        api.send(first, b"x")
    assert api.recv(second, SK_WMEM_DEFAULT) == bytes(SK_WMEM_DEFAULT - 32)
    api.send(first, b"x")


def test_a_pair_holds_what_the_sender_pays(api: Api) -> None:
    first, _ = api.pair(DGRAM)
    for _ in range(278):
        api.send(first, b"x")
    with raises(errno.EAGAIN):
        api.send(first, b"x")


def test_others_find_the_inbox_full(unix: Unix) -> None:
    server, client, other = named(unix, "server"), unix.socket(DGRAM), unix.socket(DGRAM)
    for _ in range(11):
        unix.sendto(client, b"x", "server")
    for sock in (client, other):
        with raises(errno.EAGAIN):
            unix.sendto(sock, b"x", "server")
    unix.recv(server, 1)
    unix.sendto(other, b"x", "server")


def test_max_dgram_qlen_counts_for_new_sockets(unix: Unix) -> None:
    old = named(unix, "old")
    unix.net.sysctl.write("net.unix.max_dgram_qlen", "2")
    named(unix, "new")
    client = unix.socket(DGRAM)
    for name, room in (("old", 11), ("new", 3)):
        for _ in range(room):
            unix.sendto(client, b"x", name)
        with raises(errno.EAGAIN):
            unix.sendto(client, b"x", name)
    assert unix.sk(old).max_ack_backlog == 10


def test_one_message_comes_out_as_the_object_that_went_in(unix: Unix) -> None:
    first, second = unix.pair(DGRAM)
    data = bytes(1000)
    unix.send(first, data)
    assert unix.recv(second, 1000) is data


def test_a_header_used_twice_names_the_second_sender(unix: Unix) -> None:
    server, client, anonymous = named(unix, "server"), named(unix, "client"), unix.socket(DGRAM)
    unix.sendto(client, b"1", "server")
    unix.sendto(anonymous, b"2", "server")
    msg = MsgHdr()
    for name in ("client", None):
        unix.call(server, "recvmsg", 9, unix.dontwait, msg)
        assert msg.name == name
