"""Urgent data: the mark, MSG_OOB, SO_OOBINLINE, readiness, and what goes on the wire (tcp(7), RFC 6093)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from struct import pack

import pytest
from support.option_api import Ours, Real, outcome
from support.tcp_diary import Conn, Diary

from pysock.core.netdev_features import NETIF_F_TAKES_ALL
from pysock.core.sock import SOCK_OOBINLINE, MsgHdr
from pysock.core.wait import WaitEntry
from pysock.uapi.ioctl import SIOCATMARK, SIOCINQ
from pysock.uapi.poll import EPOLLIN, EPOLLPRI
from pysock.uapi.socket import AF_INET, MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, SO_OOBINLINE, SOCK_STREAM
from pysock.uapi.tcp import TCP_NODELAY


@pytest.fixture
def conn(d: Diary) -> Conn:
    return d.connect(timestamps=True)


def urge(conn: Conn, data: bytes, seq: int = 1, pointer: int = 0) -> None:
    """The peer sends ``data`` whose last byte is urgent, unless ``pointer`` says otherwise."""
    conn.peer.send("UP.", seq=seq, ack=1, data=data, urgent=pointer or len(data))


def fails(number: int, call: Callable[..., object], *args: object) -> None:
    with pytest.raises(OSError) as info:
        call(*args)
    assert info.value.errno == number


class TestReceiving:
    def test_nothing_urgent(self, conn: Conn) -> None:
        fails(errno.EINVAL, conn.sock.recv, 1, MSG_OOB)
        conn.peer.send("P.", seq=1, ack=1, data=b"x")
        fails(errno.EINVAL, conn.sock.recv, 1, MSG_OOB)
        assert conn.sock.recv() == b"x"

    def test_out_of_band(self, conn: Conn) -> None:
        urge(conn, b"abc!")
        assert conn.sock.poll() & EPOLLPRI
        assert conn.sock.ioctl(SIOCINQ) == 3
        assert conn.sock.ioctl(SIOCATMARK) == 0
        assert conn.sock.recv(10, MSG_OOB | MSG_PEEK) == b"!"
        assert conn.sock.recv(10, MSG_OOB) == b"!"
        assert not conn.sock.poll() & EPOLLPRI
        fails(errno.EINVAL, conn.sock.recv, 10, MSG_OOB)
        assert conn.sock.recv() == b"abc"
        assert conn.sock.ioctl(SIOCATMARK) == 1
        assert not conn.sock.poll() & EPOLLIN
        fails(errno.EAGAIN, conn.sock.recv)
        assert conn.sock.ioctl(SIOCATMARK) == 0

    @pytest.mark.parametrize("flags", [0, MSG_WAITALL])
    def test_a_read_stops_at_the_mark(self, conn: Conn, flags: int) -> None:
        urge(conn, b"abc!def", pointer=4)
        assert conn.sock.recv(100, flags) == b"abc"
        assert conn.sock.recv() == b"def"
        fails(errno.EINVAL, conn.sock.recv, 1, MSG_OOB)  # passed: it is lost

    def test_peeking_stops_at_the_mark(self, conn: Conn) -> None:
        urge(conn, b"abc!def", pointer=4)
        assert conn.sock.recv(100, MSG_PEEK) == b"abc"
        assert conn.sock.recv(2, MSG_PEEK) == b"ab"
        assert conn.sock.recv(3) == b"abc"
        assert conn.sock.recv(100, MSG_PEEK) == b"def"
        assert conn.sock.ioctl(SIOCATMARK) == 1
        assert conn.sock.recv(100) == b"def"

    def test_truncating_read(self, conn: Conn) -> None:
        urge(conn, b"abc!def", pointer=4)
        assert conn.sock.recv(100, MSG_TRUNC) == bytes(3)
        assert conn.sock.recv(100) == b"def"

    def test_in_line(self, conn: Conn) -> None:
        conn.sk.flags |= SOCK_OOBINLINE
        urge(conn, b"abc!def", pointer=4)
        assert conn.sock.poll() & EPOLLPRI
        assert conn.sock.ioctl(SIOCINQ) == 7
        fails(errno.EINVAL, conn.sock.recv, 1, MSG_OOB)
        assert conn.sock.recv() == b"abc"
        assert conn.sock.ioctl(SIOCATMARK) == 1
        assert conn.sock.poll() & EPOLLIN
        assert conn.sock.recv(100, MSG_PEEK) == b"!def"
        assert conn.sock.recv() == b"!def"
        assert not conn.sock.poll() & EPOLLPRI

    def test_the_pointer_comes_first(self, conn: Conn) -> None:
        conn.peer.send("U.", seq=1, ack=1, urgent=4)
        fails(errno.EAGAIN, conn.sock.recv, 1, MSG_OOB)
        assert not conn.sock.poll() & EPOLLPRI
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        conn.peer.send("UP.", seq=4, ack=1, data=b"!x", urgent=1)
        assert conn.sock.poll() & EPOLLPRI
        assert conn.sock.recv(1, MSG_OOB) == b"!"
        assert conn.sock.recv() == b"abc"
        assert conn.sock.recv() == b"x"

    def test_the_peer_ends_before_the_byte(self, conn: Conn) -> None:
        conn.peer.send("U.", seq=1, ack=1, urgent=4)
        conn.peer.send("F.", seq=1, ack=1)
        assert conn.sock.recv(1, MSG_OOB) == b""

    def test_out_of_order(self, conn: Conn) -> None:
        urge(conn, b"def!", seq=4)
        assert conn.sock.recv(1, MSG_OOB) == b"!"
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        assert conn.sock.recv() == b"abcdef"
        fails(errno.EAGAIN, conn.sock.recv)

    def test_a_newer_mark_leaves_the_old_byte_in_the_stream(self, conn: Conn) -> None:
        urge(conn, b"ab!")
        urge(conn, b"cd?", seq=4)
        assert conn.sock.recv(1, MSG_OOB) == b"?"
        assert conn.sock.recv() == b"ab!cd"

    def test_a_newer_mark_while_we_stand_at_the_old_one(self, conn: Conn) -> None:
        urge(conn, b"ab!")
        assert conn.sock.recv() == b"ab"
        urge(conn, b"cd?", seq=4)
        assert conn.sock.recv() == b"cd"

    def test_old_pointers_are_ignored(self, conn: Conn) -> None:
        urge(conn, b"ab!")
        assert conn.sock.recv(1, MSG_OOB) == b"!"
        urge(conn, b"ab!")  # a retransmission
        fails(errno.EINVAL, conn.sock.recv, 1, MSG_OOB)
        assert conn.sock.recv() == b"ab"

    def test_flags_of_the_message(self, d: Diary, conn: Conn) -> None:
        urge(conn, b"!")
        msg = MsgHdr()
        assert d.call(conn.sk.prot.recvmsg, conn.sk, 0, MSG_OOB | MSG_PEEK, msg) == b""
        assert msg.flags == MSG_OOB | MSG_TRUNC
        msg = MsgHdr()
        assert d.call(conn.sk.prot.recvmsg, conn.sk, 1, MSG_OOB, msg) == b"!"
        assert msg.flags == MSG_OOB

    def test_whoever_waits_for_priority_data_is_woken(self, conn: Conn) -> None:
        seen: list[int] = []
        conn.sk.add_wait(WaitEntry(lambda key: seen.append(key) or True))  # type: ignore[func-returns-value]
        urge(conn, b"!")
        assert any(key & EPOLLPRI for key in seen)

    def test_afterwards_reads_are_fast_again(self, d: Diary, conn: Conn) -> None:
        urge(conn, b"!")
        fails(errno.EAGAIN, conn.sock.recv)
        assert conn.sk.rcv_extra is None
        hits = d.ext.TCPHPHits
        conn.peer.send("P.", seq=2, ack=1, data=b"x")
        assert d.ext.TCPHPHits == hits + 1


#: What one end does (":" and bytes to send, "!" urgently) and what the other one asks: (size, flags).
SCRIPTS = [
    ["abc!", ":de", (9, 0), (9, MSG_OOB), (9, 0), (9, 0)],
    ["abc!", (9, MSG_OOB), (9, MSG_OOB), (2, 0), (9, 0), (9, 0)],
    ["!", (9, MSG_PEEK), (9, MSG_OOB | MSG_PEEK), (9, MSG_OOB), (9, 0), ":x", (9, 0), (9, MSG_OOB)],
    ["ab!", "cd?", (9, MSG_OOB), (9, 0), (9, 0)],
    ["ab!", (9, 0), "cd?", (9, 0), (9, 0), (9, MSG_OOB)],
    ["ab!", ":cd", (9, MSG_PEEK), (9, 0), (9, MSG_PEEK), (1, 0), (9, 0)],
    ["ab!", ":cd", (9, MSG_WAITALL), (9, MSG_WAITALL | MSG_PEEK), (9, 0)],
    ["!", "?", (9, 0), (9, MSG_OOB), (9, 0), (0, MSG_OOB)],
    [":ab", (1, 0), "!", (9, MSG_OOB), (9, 0), (9, 0), "!", (9, 0), (9, MSG_OOB)],
]


@pytest.mark.parametrize("inline", [0, 1])
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_as_the_kernel_does(script: list[str | tuple[int, int]], inline: int) -> None:
    told = []
    for api in (Ours(), Real()):
        listener = api.listener()
        one = api.socket(AF_INET, SOCK_STREAM)
        api.connect(one, api.name(listener))
        two = api.accept(listener)
        api.set(two, SO_OOBINLINE, pack("=i", inline))
        log = []
        for step in script:
            if isinstance(step, str):
                api.send(one, step.lstrip(":").encode(), flags=0 if step[0] == ":" else MSG_OOB)
            else:
                answer = outcome(api.recv, two, *step)
                log.append((answer, api.poll(two)))
        told.append(log)
        api.close()
    assert told[0] == told[1]


class TestSending:
    def test_pointer_behind_the_last_byte(self, conn: Conn) -> None:
        assert conn.sock.send(b"abc!", MSG_OOB) == 4
        got = conn.peer.expect("UP.", seq=1, data=b"abc!")
        assert got.header.urgent == 4
        conn.sock.setopt(TCP_NODELAY, 1)
        conn.sock.send(b"x")
        assert conn.peer.expect("P.", seq=5, data=b"x").header.urgent == 0

    def test_urgent_data_is_not_held_back(self, conn: Conn) -> None:
        conn.sock.send(b"small")
        conn.sock.send(b"!", MSG_OOB)
        conn.peer.expect("P.", data=b"small")
        conn.peer.expect("UP.", data=b"!")

    def test_retransmission_has_the_pointer(self, d: Diary, conn: Conn) -> None:
        conn.sock.send(b"ab")
        conn.sock.send(b"c!", MSG_OOB)
        d.forget()
        d.sleep(ms=300)
        got = conn.peer.expect("UP.", seq=1, data=b"ab")
        assert got.header.urgent == 4
        conn.peer.send(".", seq=1, ack=5)
        conn.sock.send(b"x")
        d.forget()
        d.sleep(s=1)
        assert conn.peer.expect("P.", seq=5).header.urgent == 0

    def test_closed_window(self, d: Diary) -> None:
        conn = d.connect(win=1000)
        conn.sock.send(b"a" * 1000)
        conn.peer.send(".", seq=1, ack=1001, win=0)
        conn.sock.send(b"b!", MSG_OOB)
        d.forget()
        d.sleep(s=1)
        assert conn.peer.expect("U.", seq=1001, data=b"").header.urgent == 2

    def test_segments_of_their_own(self) -> None:
        d = Diary(features=NETIF_F_TAKES_ALL)
        conn = d.connect(mss=1000)
        conn.sock.send(b"a" * 2500, MSG_OOB)
        pointers = []
        while d.ops.sent:
            pointers.append(conn.peer.expect().header.urgent)
        assert pointers == [2500, 1500, 500]
