"""ICMP errors about our segments (RFC 1122 4.2.3.9, RFC 5927): fatal while opening, remembered later."""

from __future__ import annotations

import errno

import pytest
from support.tcp_diary import Diary, Sock

from pysock.uapi.poll import EPOLLERR
from pysock.uapi.tcp import TCP_ESTABLISHED, TCP_SYN_SENT

UNREACH = 3
NUMBERS = [
    (0, errno.ENETUNREACH),
    (1, errno.EHOSTUNREACH),
    (2, errno.ENOPROTOOPT),
    (3, errno.ECONNREFUSED),
    (9, errno.ENETUNREACH),
    (13, errno.EHOSTUNREACH),
]


def opening(d: Diary) -> tuple[Sock, object]:
    sock = Sock(d)
    with pytest.raises(BlockingIOError):
        sock.connect()
    return sock, d.ops.sent.popleft()


@pytest.mark.parametrize(("code", "number"), NUMBERS)
def test_while_connecting(d: Diary, code: int, number: int) -> None:
    sock, syn = opening(d)
    d.icmp_error(syn, UNREACH, code)  # type: ignore[arg-type]
    with pytest.raises(OSError) as info:
        sock.connect()
    assert info.value.errno == number
    assert d.mib.AttemptFails == 1
    assert not d.tcp.ehash


def test_time_exceeded(d: Diary) -> None:
    sock, syn = opening(d)
    d.icmp_error(syn, 11, 0)  # type: ignore[arg-type]
    with pytest.raises(OSError) as info:
        sock.connect()
    assert info.value.errno == errno.EHOSTUNREACH


def test_established_remembers_it(d: Diary) -> None:
    conn = d.connect()
    conn.sock.send(b"x")
    d.icmp_error(d.ops.sent.popleft(), UNREACH, 1)
    assert conn.sk.state == TCP_ESTABLISHED
    assert conn.sk.err == 0
    d.sleep(s=1200)
    with pytest.raises(OSError) as info:
        conn.sock.recv()
    assert info.value.errno == errno.EHOSTUNREACH  # instead of ETIMEDOUT


def test_established_with_recverr(d: Diary) -> None:
    conn = d.connect()
    conn.sk.recverr = True
    conn.sock.send(b"x")
    d.icmp_error(d.ops.sent.popleft(), UNREACH, 1)
    assert conn.sock.poll() & EPOLLERR
    assert conn.sock.pending_error() == errno.EHOSTUNREACH
    assert conn.sk.state == TCP_ESTABLISHED


def test_out_of_window_sequence_is_a_forgery(d: Diary) -> None:
    conn = d.connect()
    conn.sock.send(b"x")
    sent = d.ops.sent.popleft()
    conn.peer.send(".", seq=1, ack=2)
    conn.sock.send(b"y" * 10)
    sent.packet = sent.packet[:24] + (5).to_bytes(4, "big") + sent.packet[28:]
    d.icmp_error(sent, UNREACH, 1)
    assert conn.sk.err_soft == 0
    assert d.ext.OutOfWindowIcmps == 1


def test_about_nobody(d: Diary) -> None:
    conn = d.connect()
    conn.sock.send(b"x")
    sent = d.ops.sent.popleft()
    conn.sk.linger = 0
    conn.sock.close()
    d.icmp_error(sent, UNREACH, 3)
    sock, syn = opening(d)
    d.icmp_error(syn, UNREACH, 4)  # type: ignore[arg-type]
    assert sock.sk.state == TCP_SYN_SENT
