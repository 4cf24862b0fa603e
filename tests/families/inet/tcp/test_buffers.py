"""SO_RCVBUF and SO_SNDBUF as TCP sees them: what is offered, what autotuning leaves alone, what a child inherits."""

from __future__ import annotations

import pytest
from support.tcp_diary import Conn, Diary, Sock

from pysock.core.sockopt_set import set_rcvbuf, set_sndbuf
from pysock.uapi.tcp import TCP_ESTABLISHED


def read_fast(d: Diary, conn: Conn) -> None:
    """The peer fills the window and the program keeps up, for many round trips."""
    seq = 1
    for _ in range(50):
        for _ in range(40):
            n = min(1448, max(conn.sk.rcv_adv - conn.sk.rcv_nxt, 0))
            if n:
                conn.peer.send(".", seq=seq, ack=1, data=b"x" * n)
                seq += n
        while conn.sk.rx_bytes:
            conn.sock.recv(65536)
        d.sleep(ms=1)


@pytest.mark.parametrize("opening", ["accept", "connect"])
def test_small_receive_buffer_is_offered_small(d: Diary, opening: str) -> None:
    def prepare(sock: Sock) -> None:
        set_rcvbuf(sock.sk, 4096)

    conn = getattr(d, opening)(wscale=7, timestamps=True, prepare=prepare)
    assert conn.sk.rcvbuf == 8192
    assert conn.sk.rcv_adv - conn.sk.rcv_nxt <= 8192
    for i in range(20):
        conn.peer.send(".", seq=1 + 1000 * i, ack=1, data=b"x" * 1000)
    assert conn.sk.rx_bytes <= 8192
    assert conn.sk.state == TCP_ESTABLISHED


def test_syn_offers_the_small_window(d: Diary) -> None:
    sock = Sock(d)
    set_rcvbuf(sock.sk, 4096)
    with pytest.raises(BlockingIOError):
        sock.connect()
    assert d.peer(8080, sock.getsockname()[1]).expect("S").header.window == 4096


@pytest.mark.parametrize("locked", [True, False])
def test_autotuning_respects_the_program(d: Diary, locked: bool) -> None:
    def prepare(sock: Sock) -> None:
        if locked:
            set_rcvbuf(sock.sk, 65536)

    conn = d.accept(wscale=7, timestamps=True, prepare=prepare)
    read_fast(d, conn)
    assert (conn.sk.rcvbuf == 131072) == locked


@pytest.mark.parametrize("locked", [True, False])
def test_send_buffer_grows_with_the_connection_unless_set(d: Diary, locked: bool) -> None:
    def prepare(sock: Sock) -> None:
        if locked:
            set_sndbuf(sock.sk, 10000)

    conn = d.accept(prepare=prepare)
    assert (conn.sk.sndbuf == 20000) == locked
    assert conn.sk.sndbuf >= 20000
