"""Bytes over SOCK_STREAM."""

from __future__ import annotations

import errno
from socket import MSG_PEEK, MSG_WAITALL

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.unix_api import STREAM, Api, Unix, raises

from pysock.core.sock import MsgHdr
from pysock.uapi.ioctl import SIOCGIFCONF, SIOCINQ, SIOCOUTQ

SK_WMEM_DEFAULT = 212_992  # net.core.wmem_default


def test_messages_are_cut_and_joined(api: Api) -> None:
    first, second = api.pair(STREAM)
    for data in (b"abc", b"def", b"ghi"):
        assert api.send(first, data) == 3
    assert api.inq(second) == 9
    assert api.recv(second, 2) == b"ab"
    assert api.inq(second) == 7
    assert api.recv(second, 4) == b"cdef"
    assert api.recv(second, 99) == b"ghi"
    with raises(errno.EAGAIN):
        api.recv(second, 1)


def test_one_message_comes_out_as_the_object_that_went_in(unix: Unix) -> None:
    first, second = unix.pair(STREAM)
    data = bytes(1000)
    unix.send(first, data)
    assert unix.recv(second, 1000) is data
    unix.send(first, data)
    assert unix.recv(second, 4096) is data


def test_peek_leaves_everything(api: Api) -> None:
    first, second = api.pair(STREAM)
    api.send(first, b"abc")
    api.send(first, b"def")
    assert api.recv(second, 2, MSG_PEEK) == b"ab"
    assert api.recv(second, 99, MSG_PEEK) == b"abcdef"
    assert api.recv(second, 1) == b"a"
    assert api.recv(second, 4, MSG_PEEK) == b"bcde"
    assert api.recv(second, 99) == b"bcdef"
    with raises(errno.EAGAIN):
        api.recv(second, 1, MSG_PEEK)


def test_wait_for_all_takes_what_is_there_when_it_may_not_wait(api: Api) -> None:
    first, second = api.pair(STREAM)
    api.send(first, b"abc")
    assert api.recv(second, 5, MSG_WAITALL) == b"abc"


def test_nothing_asked_nothing_taken(unix: Unix) -> None:
    first, second = unix.pair(STREAM)
    unix.send(first, b"abc")
    assert unix.recv(second, 0) == b""
    assert unix.recv(second, 9) == b"abc"


def test_sending_nothing_sends_nothing(api: Api) -> None:
    first, second = api.pair(STREAM)
    assert api.send(first, b"") == 0
    with raises(errno.EAGAIN):
        api.recv(second, 1)


def test_a_name_is_refused(api: Api) -> None:
    first, _ = api.pair(STREAM)
    with raises(errno.EISCONN):
        api.sendto(first, b"x", "nowhere")
    with raises(errno.EOPNOTSUPP):
        api.sendto(api.socket(STREAM), b"x", "nowhere")


def test_unconnected(api: Api) -> None:
    sock = api.socket(STREAM)
    with raises(errno.ENOTCONN):
        api.send(sock, b"x")
    with raises(errno.EINVAL):
        api.recv(sock, 1)


@pytest.mark.usefixtures("room")
def test_the_name_of_the_sender(api: Api) -> None:
    first, second = api.pair(STREAM)
    api.send(first, b"x")
    assert api.recvfrom(second, 9) == (b"x", None)
    api.bind(first, "first")
    api.send(first, b"x")
    assert api.recvfrom(second, 9) == (b"x", "first")


# -- buffers ---------------------------------------------------------------------------------------------


def test_as_many_bytes_as_on_linux(api: Api) -> None:
    first, _ = api.pair(STREAM)
    for _ in range(278):
        assert api.send(first, b"x") == 1
    with raises(errno.EAGAIN):
        api.send(first, b"x")


def test_16_mib_do_not_fit(api: Api) -> None:
    first, second = api.pair(STREAM)
    data = bytes(range(256)) * (16 * 4096)
    sent = api.send(first, data)
    assert SK_WMEM_DEFAULT // 2 <= sent <= SK_WMEM_DEFAULT * 3 // 2
    with raises(errno.EAGAIN):
        api.send(first, data)
    assert api.inq(second) == sent
    received = b""
    while len(received) < sent:
        received += api.recv(second, 50_000)
    assert received == data[:sent]
    with raises(errno.EAGAIN):
        api.recv(second, 1)
    assert api.send(first, b"x") == 1


def test_the_sender_pays_until_the_message_is_read(unix: Unix) -> None:
    first, second = unix.pair(STREAM)
    assert unix.call(first, "ioctl", SIOCOUTQ, 0) == 0
    unix.send(first, b"x" * 1000)
    assert unix.call(first, "ioctl", SIOCOUTQ, bytes(4)) == (1576).to_bytes(4, "little")
    assert unix.call(second, "ioctl", SIOCINQ, bytes(8)) == (1000).to_bytes(4, "little") + bytes(4)
    unix.recv(second, 999)
    assert unix.call(first, "ioctl", SIOCOUTQ, 0) == 1576
    unix.recv(second, 1)
    assert unix.call(first, "ioctl", SIOCOUTQ, 0) == 0


def test_another_ioctl_is_enotty(unix: Unix) -> None:
    with raises(errno.ENOTTY):
        unix.call(unix.socket(STREAM), "ioctl", SIOCGIFCONF, 0)


def test_a_small_send_buffer(unix: Unix) -> None:
    first, second = unix.pair(STREAM)
    unix.sk(first).sndbuf = 4608
    data = bytes(range(250)) * 40
    assert unix.send(first, data) == 2 * (4608 // 2 - 64)
    assert unix.recv(second, 9999) == data[: 2 * (4608 // 2 - 64)]


def test_a_receive_buffer_of_the_wanted_size_ends_the_receive(unix: Unix) -> None:
    # The low-water mark holds back what is less only when waiting is possible: here it is taken anyway.
    first, second = unix.pair(STREAM)
    unix.sk(second).rcvlowat = 10
    unix.send(first, b"abc")
    assert unix.recv(second, 99) == b"abc"


# -- a model ---------------------------------------------------------------------------------------------


class StreamMachine(RuleBasedStateMachine):
    """Whatever is sent, peeked and received in whatever portions: the bytes are those of a pipe, in order, and
    when all are read the sender has its whole buffer back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unix = Unix()
        self.first, self.second = self.unix.pair(STREAM)
        self.flowing = b""
        self.counter = 0

    @rule(size=st.integers(0, 120_000) | st.integers(0, 9))
    def send(self, size: int) -> None:
        self.counter += 1
        data = (self.counter % 251).to_bytes(1, "big") * size
        try:
            sent = self.unix.send(self.first, data)
        except BlockingIOError:
            assert self.unix.sk(self.first).wmem_alloc >= SK_WMEM_DEFAULT
        else:
            self.flowing += data[:sent]

    @rule(
        size=st.integers(1, 200_000) | st.integers(1, 9),
        flags=st.sampled_from([0, MSG_WAITALL]),
        named=st.booleans(),
    )
    def recv(self, size: int, flags: int, named: bool) -> None:
        if not self.flowing:
            with raises(errno.EAGAIN):
                self.unix.recv(self.second, size, flags)
            return
        msg = MsgHdr() if named else None
        data = self.unix.call(self.second, "recvmsg", size, flags | self.unix.dontwait, msg)
        assert data == self.flowing[:size]
        self.flowing = self.flowing[size:]

    @rule(size=st.integers(1, 200_000) | st.integers(1, 9))
    def peek(self, size: int) -> None:
        if self.flowing:
            assert self.unix.recv(self.second, size, MSG_PEEK) == self.flowing[:size]

    @invariant()
    def accounts_agree(self) -> None:
        assert self.unix.inq(self.second) == len(self.flowing)
        if not self.flowing:
            assert self.unix.sk(self.first).wmem_alloc == 0


TestStreamMachine = StreamMachine.TestCase
