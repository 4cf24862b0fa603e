"""Resets and impostors: RST in each state, challenge ACKs (RFC 5961), and how often they are sent."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from support.tcp_diary import Conn, Diary

from pysock.uapi.poll import EPOLLERR, EPOLLHUP, EPOLLIN
from pysock.uapi.socket import SHUT_WR
from pysock.uapi.tcp import (
    TCP_CLOSE,
    TCP_CLOSE_WAIT,
    TCP_CLOSING,
    TCP_ESTABLISHED,
    TCP_FIN_WAIT1,
    TCP_FIN_WAIT2,
    TCP_LAST_ACK,
)


def established(d: Diary) -> tuple[Conn, int, int]:
    """Each maker returns a connection in its state and the peer's next seq and ack."""
    return d.connect(), 1, 1


def fin_wait1(d: Diary) -> tuple[Conn, int, int]:
    conn = d.connect()
    conn.sock.shutdown(SHUT_WR)
    return conn, 1, 1


def fin_wait2(d: Diary) -> tuple[Conn, int, int]:
    conn = d.connect()
    conn.sock.shutdown(SHUT_WR)
    conn.peer.send(".", seq=1, ack=2)
    return conn, 1, 2


def close_wait(d: Diary) -> tuple[Conn, int, int]:
    conn = d.connect()
    conn.peer.send("F.", seq=1, ack=1)
    return conn, 2, 1


def closing(d: Diary) -> tuple[Conn, int, int]:
    conn = d.connect()
    conn.sock.shutdown(SHUT_WR)
    conn.peer.send("F.", seq=1, ack=1)
    return conn, 2, 1


def last_ack(d: Diary) -> tuple[Conn, int, int]:
    conn = d.connect()
    conn.peer.send("F.", seq=1, ack=1)
    conn.sock.shutdown(SHUT_WR)
    return conn, 2, 1


STATES = {
    TCP_ESTABLISHED: (established, errno.ECONNRESET),
    TCP_FIN_WAIT1: (fin_wait1, errno.ECONNRESET),
    TCP_FIN_WAIT2: (fin_wait2, errno.ECONNRESET),
    TCP_CLOSE_WAIT: (close_wait, errno.EPIPE),
    TCP_CLOSING: (closing, errno.ECONNRESET),
    TCP_LAST_ACK: (last_ack, errno.ECONNRESET),
}
each_state = pytest.mark.parametrize(
    ("state", "make", "error"),
    [(state, *how) for state, how in STATES.items()],
    ids=[how[0].__name__ for how in STATES.values()],
)
Maker = Callable[[Diary], tuple[Conn, int, int]]


@each_state
class TestEachState:
    def test_exact_reset(self, d: Diary, state: int, make: Maker, error: int) -> None:
        conn, seq, _ = make(d)
        assert conn.sk.state == state
        d.forget()
        conn.peer.send("R", seq=seq)
        d.silent()
        assert conn.sk.state == TCP_CLOSE
        assert conn.sock.poll() & (EPOLLERR | EPOLLHUP | EPOLLIN) == EPOLLERR | EPOLLHUP | EPOLLIN
        assert conn.sock.pending_error() == error
        assert not d.tcp.ehash
        assert d.mib.CurrEstab == 0
        assert d.mib.EstabResets == (state in (TCP_ESTABLISHED, TCP_CLOSE_WAIT))

    def test_reset_in_the_window_is_challenged(self, d: Diary, state: int, make: Maker, error: int) -> None:
        conn, seq, _ = make(d)
        d.forget()
        conn.peer.send("R", seq=seq + 100)
        conn.peer.expect(".", ack=seq)
        assert conn.sk.state == state
        assert d.ext.TCPChallengeACK == 1

    def test_reset_outside_is_ignored(self, d: Diary, state: int, make: Maker, error: int) -> None:
        conn, seq, _ = make(d)
        d.forget()
        for wrong in (seq - 500, seq + 200000):
            conn.peer.send("R", seq=wrong)
        d.silent()
        assert conn.sk.state == state

    def test_syn_is_challenged(self, d: Diary, state: int, make: Maker, error: int) -> None:
        conn, seq, _ = make(d)
        d.forget()
        conn.peer.send("S", seq=seq)
        conn.peer.expect(".", ack=seq)
        assert conn.sk.state == state
        assert d.ext.TCPSYNChallenge == 1

    def test_no_ack_is_dropped(self, d: Diary, state: int, make: Maker, error: int) -> None:
        conn, seq, _ = make(d)
        d.forget()
        conn.peer.send("P", seq=seq, data=b"x")
        d.silent()
        assert conn.sk.state == state

    def test_ack_of_what_was_never_sent(self, d: Diary, state: int, make: Maker, error: int) -> None:
        conn, seq, ack = make(d)
        d.forget()
        conn.peer.send("P.", seq=seq, ack=ack + 1000, data=b"x")
        assert conn.sk.state == state
        assert conn.sk.rx_bytes == 0
        assert all("R" not in got.flags for got in d.ops.sent)

    def test_out_of_window_segment_is_acked(self, d: Diary, state: int, make: Maker, error: int) -> None:
        conn, seq, ack = make(d)
        d.forget()
        conn.peer.send("P.", seq=seq + 200000, ack=ack, data=b"x")
        conn.peer.expect(".", ack=seq)
        assert conn.sk.state == state


class TestOther:
    def test_error_is_told_once_then_the_end(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("R", seq=1)
        with pytest.raises(ConnectionResetError):
            conn.sock.recv()
        assert conn.sock.recv() == b""
        with pytest.raises(BrokenPipeError):
            conn.sock.send(b"x")

    def test_queued_data_can_still_be_read(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("P.", seq=1, ack=1, data=b"last words")
        conn.peer.send("R", seq=11)
        assert conn.sock.recv() == b"last words"
        with pytest.raises(ConnectionResetError):
            conn.sock.recv()

    def test_wakes_a_reader(self, d: Diary) -> None:
        conn = d.connect()
        d.at(10, lambda: d.inject_now(conn.peer.segment("R", 1)))
        with pytest.raises(ConnectionResetError):
            conn.sock.recv(block=True)

    def test_reset_that_forgets_its_fin(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("F.", seq=1, ack=1)
        conn.peer.send("R", seq=1)
        assert conn.sk.state == TCP_CLOSE

    def test_far_too_old_ack_is_challenged(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("P.", seq=1, ack=-2_000_000, data=b"x")
        conn.peer.expect(".", ack=1)
        assert d.ext.TCPChallengeACK == 1
        assert conn.sk.rx_bytes == 0

    def test_challenges_are_limited(self, d: Diary) -> None:
        conn = d.connect()
        for _ in range(10):
            conn.peer.send("R", seq=100)
        assert len(d.ops.sent) == 1
        assert d.ext.TCPACKSkippedChallenge == 9
        d.sleep(ms=501)
        conn.peer.send("R", seq=100)
        assert len(d.ops.sent) == 2

    def test_two_ends_that_disagree_do_not_storm(self, d: Diary) -> None:
        conn = d.connect()
        for _ in range(50):
            conn.peer.send(".", seq=500000, ack=1)
        assert len(d.ops.sent) == 1
        assert d.ext.TCPACKSkippedSeq == 49

    def test_reset_to_a_closed_port_is_not_answered(self, d: Diary) -> None:
        d.peer().send("R.", seq=1, ack=1)
        d.silent()

    def test_segment_without_any_flag(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("", seq=1)
        d.silent()
        assert conn.sk.state == TCP_ESTABLISHED
