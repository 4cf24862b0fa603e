"""What is over is gone: tables, timers, gauges; and no reference cycle keeps a closed connection alive."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from support.tcp_diary import Conn, Diary, Sock

from pysock.families.inet.tcp.listen import RequestSock
from pysock.families.inet.tcp.sock import Segment, TcpSock
from pysock.families.inet.tcp.timewait import TimeWaitSock
from pysock.uapi.socket import SHUT_WR


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive(*kinds: type) -> int:
    return sum(type(o) in kinds for o in gc.get_objects())


def nothing_left(d: Diary) -> None:
    d.sleep(s=3700)
    assert not d.tcp.ehash
    assert not d.tcp.bhash
    assert not d.tcp.listeners
    assert len(d.tcp.timewait) == 0
    assert d.mib.CurrEstab == 0
    assert len(d.kernel.timers) == 0


def active_close(d: Diary, conn: Conn) -> None:
    conn.sock.close()
    conn.peer.send(".", seq=1, ack=2)
    conn.peer.send("F.", seq=1, ack=2)


def passive_close(d: Diary, conn: Conn) -> None:
    conn.peer.send("F.", seq=1, ack=1)
    conn.sock.close()
    conn.peer.send(".", seq=2, ack=2)


def reset_by_peer(d: Diary, conn: Conn) -> None:
    conn.sock.send(b"x")
    conn.peer.send("R", seq=1)
    conn.sock.close()


def reset_by_us(d: Diary, conn: Conn) -> None:
    conn.peer.send("P.", seq=1, ack=1, data=b"unread")
    conn.peer.send("P.", seq=9, ack=1, data=b"hole")
    conn.sock.close()


def given_up(d: Diary, conn: Conn) -> None:
    conn.sock.send(b"x" * 5000)
    conn.sock.shutdown(SHUT_WR)
    conn.sock.close()
    d.sleep(s=2000)


WAYS = [active_close, passive_close, reset_by_peer, reset_by_us, given_up]


@pytest.mark.parametrize("way", WAYS, ids=lambda w: w.__name__)
@pytest.mark.parametrize("opening", ["accept", "connect"])
def test_connections_go(d: Diary, opening: str, way: object) -> None:
    before = alive(TcpSock, TimeWaitSock, RequestSock, Segment)
    for _ in range(3):
        conn = getattr(d, opening)(timestamps=True)
        way(d, conn)  # type: ignore[operator]
        d.forget()
        del conn
    if d.listener is not None:
        d.listener.close()
        d.listener = None
    nothing_left(d)
    assert alive(TcpSock, TimeWaitSock, RequestSock, Segment) == before


def test_a_connection_goes_at_once(d: Diary) -> None:
    """Without the collector and without waiting for any timer."""
    d.listen()
    before = alive(TcpSock, RequestSock)
    conn = d.accept()
    active_close(d, conn)
    del conn
    assert alive(TcpSock, RequestSock) == before


def test_half_open_requests_go(d: Diary) -> None:
    before = alive(TcpSock, RequestSock)
    listener = d.listen()
    for _ in range(3):
        d.peer().send("S")
    listener.close()
    del listener
    d.listener = None
    assert alive(TcpSock, RequestSock) == before
    nothing_left(d)


def test_failed_openings_go(d: Diary) -> None:
    before = alive(TcpSock)
    for _ in range(3):
        sock = Sock(d)
        d.syn_from(sock).send("R.", seq=0, ack=1)
        sock.close()
        del sock
    nothing_left(d)
    assert alive(TcpSock) == before
