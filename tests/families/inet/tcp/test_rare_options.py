"""What the rarer options at IPPROTO_TCP do (tcp(7)); their values are in test_sockopt_parity."""

from __future__ import annotations

import errno

import pytest
from support.tcp_diary import Diary, Sock

from pysock.core.clock import NSEC_PER_MSEC
from pysock.core.sock import MsgHdr
from pysock.families.inet.tcp.rare import retrans_to_secs, secs_to_retrans
from pysock.uapi import tcp as u
from pysock.uapi.in_ import IPPROTO_TCP
from pysock.uapi.poll import EPOLLIN, EPOLLOUT
from pysock.wire import tcp

MS = NSEC_PER_MSEC


class TestDeferAccept:
    def prepare(self, sock: Sock) -> None:
        sock.setopt(u.TCP_DEFER_ACCEPT, 5)

    def test_nobody_is_accepted_before_there_is_data(self, d: Diary) -> None:
        listener = d.listen(prepare=self.prepare)
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        peer.send(".", seq=1, ack=1)
        assert not listener.poll() & EPOLLIN
        assert d.ext.TCPDeferAcceptDrop == 1
        d.sleep(s=3)
        d.silent()  # the peer did answer
        peer.send("P.", seq=1, ack=1, data=b"hello")
        assert listener.accept().recv() == b"hello"

    def test_the_end_of_patience(self, d: Diary) -> None:
        """After about 5 s (1 + 2 + 4) the SYN-ACK is repeated, and the answer opens the connection."""
        listener = d.listen(prepare=self.prepare)
        peer = d.peer()
        peer.send("S")
        first = peer.expect("S.")
        peer.send(".", seq=1, ack=1)
        d.sleep(s=8)
        assert (peer.expect("S.").at - first.at) // MS == 7000
        peer.send(".", seq=1, ack=1)
        assert listener.poll() & EPOLLIN
        assert d.mib.CurrEstab == 1

    def test_a_fin_counts(self, d: Diary) -> None:
        listener = d.listen(prepare=self.prepare)
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        peer.send("F.", seq=1, ack=1)
        assert listener.accept().recv() == b""

    def test_seconds_and_retransmissions(self) -> None:
        assert [secs_to_retrans(s, 1, 120) for s in (-1, 0, 1, 2, 3, 4, 7, 8)] == [0, 0, 1, 2, 2, 3, 3, 4]
        assert [retrans_to_secs(n, 1, 120) for n in (0, 1, 2, 3, 4, 8)] == [0, 1, 3, 7, 15, 247]


def test_saved_syn(d: Diary) -> None:
    d.listen(prepare=lambda sock: sock.setopt(u.TCP_SAVE_SYN, 1))
    sock = d.accept(mss=1234, wscale=3).sock
    with pytest.raises(OSError) as info:
        sock.getopt_bytes(u.TCP_SAVED_SYN, 30)
    assert info.value.errno == errno.EINVAL
    raw = sock.getopt_bytes(u.TCP_SAVED_SYN, 500)
    assert raw[0] == 0x45
    header = tcp.parse(raw[20:])
    assert header.flags == tcp.SYN
    assert header.size == len(raw) - 20
    assert sock.getopt_bytes(u.TCP_SAVED_SYN, 500) == b""  # once
    assert sock.getopt(u.TCP_SAVE_SYN) == 0


def test_nothing_is_saved_unasked(d: Diary) -> None:
    assert d.accept().sock.getopt_bytes(u.TCP_SAVED_SYN, 500) == b""


class TestInq:
    def left(self, d: Diary, sock: Sock, size: int) -> list[int]:
        msg = MsgHdr(controllen=64)
        d.call(sock.sk.prot.recvmsg, sock.sk, size, 0, msg)
        assert all((level, type) == (IPPROTO_TCP, u.TCP_CM_INQ) for level, type, _ in msg.control)
        return [int.from_bytes(data, "little") for _, _, data in msg.control]

    def test_what_is_left(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.setopt(u.TCP_INQ, 1)
        conn.peer.send("P.", seq=1, ack=1, data=b"hello")
        assert self.left(d, conn.sock, 2) == [3]
        conn.peer.send("FP.", seq=6, ack=1, data=b"x")
        assert self.left(d, conn.sock, 4) == [1]  # there is an end to read
        conn.sock.setopt(u.TCP_INQ, 0)
        assert self.left(d, conn.sock, 4) == []

    def test_inherited(self, d: Diary) -> None:
        d.listen(prepare=lambda sock: sock.setopt(u.TCP_INQ, 1))
        conn = d.accept()
        conn.peer.send("P.", seq=1, ack=1, data=b"hello")
        assert self.left(d, conn.sock, 1) == [4]


class TestNotSentLowat:
    def test_writers_wait_for_the_unsent_part(self, d: Diary) -> None:
        conn = d.connect(mss=1000, win=2000)
        conn.sk.sndbuf = 100_000
        conn.sock.setopt(u.TCP_NOTSENT_LOWAT, 3000)
        assert conn.sock.send(b"a" * 2000) == 2000
        assert conn.sock.poll() & EPOLLOUT
        assert conn.sock.send(b"b" * 2000) == 2000
        assert not conn.sock.poll() & EPOLLOUT  # half of it is full
        assert conn.sock.send(b"c" * 2000) == 2000
        with pytest.raises(BlockingIOError):
            conn.sock.send(b"d")
        conn.peer.send(".", seq=1, ack=2001, win=4000)
        assert conn.sock.poll() & EPOLLOUT
        assert conn.sock.send(b"d") == 1


class TestTimeouts:
    def gaps(self, d: Diary, options: dict[int, int], seconds: float) -> list[int]:
        """After how many ms each retransmission left."""
        conn = d.connect()
        for name, value in options.items():
            conn.sock.setopt(name, value)
        conn.sock.send(b"r")
        d.sleep(ms=1)
        conn.peer.send(".", seq=1, ack=2)
        d.forget()
        conn.sock.send(b"x")
        at = conn.peer.expect("P.").at
        d.sleep(s=seconds)
        gaps = []
        while d.ops.sent:
            now = conn.peer.expect("P.").at
            gaps.append(round((now - at) / MS))
            at = now
        return gaps

    def test_as_usual(self, d: Diary) -> None:
        assert self.gaps(d, {}, 3) == [200, 400, 800]

    def test_least(self, d: Diary) -> None:
        assert self.gaps(d, {u.TCP_RTO_MIN_US: 50_000}, 1) == [50, 100, 200, 401]

    def test_most(self, d: Diary) -> None:
        assert self.gaps(d, {u.TCP_RTO_MAX_MS: 1000}, 5) == [200, 400, 800, 1000, 1000, 1000]

    def test_thin_streams_do_not_back_off_at_once(self, d: Diary) -> None:
        assert self.gaps(d, {u.TCP_THIN_LINEAR_TIMEOUTS: 1}, 2) == [200] * 7 + [400]


def test_fastopen_server_does_nothing_by_default(d: Diary) -> None:
    sock = Sock(d)
    sock.setopt(u.TCP_FASTOPEN, 5)
    sock.setopt(u.TCP_FASTOPEN_KEY, bytes(range(16)))
    assert sock.getopt_bytes(u.TCP_FASTOPEN_KEY, 64) == bytes(range(16))
    assert d.accept().sock.getopt(u.TCP_FASTOPEN) == 0


def info(sock: Sock) -> dict[str, int]:
    raw = sock.getopt_bytes(u.TCP_INFO, 512)
    return dict(zip(u.TCP_INFO_FIELDS, u.TCP_INFO_STRUCT.unpack(raw), strict=True))


class TestInfo:
    def test_streams(self, d: Diary) -> None:
        conn = d.connect(mss=1000, sack=True)
        conn.sock.send(b"a" * 3000)
        conn.peer.send("P.", seq=1, ack=1001, data=b"b" * 500, win=1500)
        d.sleep(ms=300)
        conn.sock.send(b"c" * 700)
        told = info(conn.sock)
        assert told["options"] == u.TCPI_OPT_SACK
        assert (told["bytes_acked"], told["bytes_received"]) == (1000, 500)
        assert told["total_retrans"] == 1
        assert told["bytes_retrans"] == 1000
        assert told["bytes_sent"] == 4000
        assert told["notsent_bytes"] == 700
        assert told["snd_wnd"] == 1500
        assert told["rcv_wnd"] > 1000

    def test_listener(self, d: Diary) -> None:
        listener = d.listen(backlog=7)
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        peer.send(".", seq=1, ack=1)
        told = info(listener)
        assert (told["unacked"], told["sacked"]) == (1, 7)  # waiting, and how many may
