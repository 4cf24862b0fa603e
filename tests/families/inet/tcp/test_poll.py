"""tcp_poll(): which bits hold in which state, and that changes wake those who wait."""

from __future__ import annotations

import pytest
from support.tcp_diary import Conn, Diary, Sock

from pysock.core.wait import WaitEntry
from pysock.uapi.poll import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLRDNORM, EPOLLWRNORM
from pysock.uapi.socket import SHUT_RD, SHUT_RDWR, SHUT_WR

IN = EPOLLIN | EPOLLRDNORM
OUT = EPOLLOUT | EPOLLWRNORM


def test_fresh(d: Diary) -> None:
    assert Sock(d).poll() == OUT | EPOLLHUP


def test_connecting(d: Diary) -> None:
    sock = Sock(d)
    peer = d.syn_from(sock)
    assert sock.poll() == 0
    peer.send("S.", seq=0, ack=1)
    assert sock.poll() == OUT


def test_refused(d: Diary) -> None:
    sock = Sock(d)
    d.syn_from(sock).send("R.", seq=0, ack=1)
    assert sock.poll() == IN | OUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP


def test_established(d: Diary) -> None:
    conn = d.connect()
    assert conn.sock.poll() == OUT
    conn.peer.send("P.", seq=1, ack=1, data=b"x")
    assert conn.sock.poll() == IN | OUT
    conn.sk.rcvlowat = 2
    assert conn.sock.poll() == OUT
    conn.peer.send("P.", seq=2, ack=1, data=b"x")
    assert conn.sock.poll() == IN | OUT


@pytest.mark.parametrize(
    ("how", "bits"),
    [(SHUT_RD, IN | OUT | EPOLLRDHUP), (SHUT_WR, OUT), (SHUT_RDWR, IN | OUT | EPOLLRDHUP | EPOLLHUP)],
)
def test_shut_down(d: Diary, how: int, bits: int) -> None:
    conn = d.connect()
    conn.sock.shutdown(how)
    assert conn.sock.poll() == bits


def test_peer_closed(d: Diary) -> None:
    conn = d.connect()
    conn.peer.send("F.", seq=1, ack=1)
    assert conn.sock.poll() == IN | OUT | EPOLLRDHUP
    conn.sock.shutdown(SHUT_WR)
    assert conn.sock.poll() == IN | OUT | EPOLLRDHUP | EPOLLHUP


def test_after_time_wait_began(d: Diary) -> None:
    conn = d.connect()
    conn.sock.shutdown(SHUT_WR)
    conn.peer.send("F.", seq=1, ack=2)
    assert conn.sock.poll() == IN | OUT | EPOLLRDHUP | EPOLLHUP


def test_soft_error_alone(d: Diary) -> None:
    conn = d.connect()
    conn.sk.err = 113
    assert conn.sock.poll() == OUT | EPOLLERR


class Watch:
    """Collects the keys that a socket's wait queue is woken with."""

    def __init__(self, d: Diary, sock: Sock) -> None:
        self.keys = 0
        d.call(sock.sk.add_wait, WaitEntry(self._wake))

    def _wake(self, key: int) -> bool:
        self.keys |= key
        return True


def watched(d: Diary) -> tuple[Conn, Watch]:
    conn = d.connect(timestamps=True)
    return conn, Watch(d, conn.sock)


def test_data_wakes(d: Diary) -> None:
    conn, watch = watched(d)
    conn.peer.send("P.", seq=1, ack=1, data=b"x")
    assert watch.keys & EPOLLIN


def test_data_the_slow_way_wakes(d: Diary) -> None:
    conn, watch = watched(d)
    conn.peer.send("P.", seq=2, ack=1, data=b"y")
    assert not watch.keys
    conn.peer.send("P.", seq=1, ack=1, data=b"x")
    assert watch.keys & EPOLLIN


def test_fin_wakes(d: Diary) -> None:
    conn, watch = watched(d)
    conn.peer.send("F.", seq=1, ack=1)
    assert watch.keys & EPOLLIN


def test_reset_wakes(d: Diary) -> None:
    conn, watch = watched(d)
    conn.peer.send("R", seq=1)
    assert watch.keys & (EPOLLERR | EPOLLHUP)


def test_connection_wakes(d: Diary) -> None:
    sock = Sock(d)
    peer = d.syn_from(sock)
    watch = Watch(d, sock)
    peer.send("S.", seq=0, ack=1)
    assert watch.keys & EPOLLOUT


def test_listener_wakes(d: Diary) -> None:
    watch = Watch(d, d.listen())
    peer = d.peer()
    peer.send("S")
    peer.expect("S.")
    assert not watch.keys
    peer.send(".", seq=1, ack=1)
    assert watch.keys & EPOLLIN


def test_room_wakes_only_who_was_refused(d: Diary) -> None:
    conn, watch = watched(d)
    conn.sock.send(b"x")
    conn.peer.send(".", seq=1, ack=2)
    assert not watch.keys
    with pytest.raises(BlockingIOError):
        while True:
            conn.sock.send(b"x" * 5000)
    last = conn.peer.expect_all()[-1]
    conn.peer.send(".", seq=1, ack=last[0] + last[1], win=60000)
    for _ in range(20):
        sent = conn.peer.expect_all()
        if sent:
            conn.peer.send(".", seq=1, ack=sent[-1][0] + sent[-1][1], win=60000)
    assert watch.keys & EPOLLOUT
