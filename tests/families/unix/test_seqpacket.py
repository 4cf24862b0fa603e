"""Messages over a connection: SOCK_SEQPACKET. What it shares with the others is tested with them."""

from __future__ import annotations

import errno
from socket import MSG_PEEK, MSG_TRUNC

from support.unix_api import SEQPACKET, Api, raises


def test_messages_keep_their_boundaries(api: Api) -> None:
    first, second = api.pair(SEQPACKET)
    for data in (b"abc", b"de"):
        api.send(first, data)
    assert api.inq(second) == 5  # of all messages, unlike a datagram socket
    assert api.recv(second, 99, MSG_PEEK) == b"abc"
    assert api.recvmsg(second, 1) == (b"a", MSG_TRUNC)
    assert api.recv(second, 99) == b"de"


def test_unconnected(api: Api) -> None:
    sock = api.socket(SEQPACKET)
    with raises(errno.ENOTCONN):
        api.send(sock, b"x")
    with raises(errno.ENOTCONN):
        api.recv(sock, 1)


def test_a_name_is_ignored(api: Api) -> None:
    first, second = api.pair(SEQPACKET)
    api.sendto(first, b"x", "nowhere")
    assert api.recv(second, 9) == b"x"


def test_a_message_that_cannot_ever_fit(api: Api) -> None:
    first, _ = api.pair(SEQPACKET)
    with raises(errno.EMSGSIZE):
        api.send(first, bytes(1 << 24))


def test_a_reset_comes_before_the_messages(api: Api) -> None:
    first, second = api.pair(SEQPACKET)
    api.send(first, b"data")
    api.send(second, b"unread")
    api.close(first)
    with raises(errno.ECONNRESET):
        api.recv(second, 9)
    assert api.recv(second, 9) == b"data"
    assert api.recv(second, 9) == b""


def test_a_pending_error_fails_a_send(api: Api) -> None:
    first, second = api.pair(SEQPACKET)
    api.send(second, b"unread")
    api.close(first)
    with raises(errno.ECONNRESET):
        api.send(second, b"x")
    with raises(errno.EPIPE):
        api.send(second, b"x")
