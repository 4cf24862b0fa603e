"""Keepalive (RFC 9293 3.8.4, tcp(7)): when probes go, what stops them, and how a dead peer is given up."""

from __future__ import annotations

import pytest
from support.tcp_diary import Conn, Diary

from pysock.core.sock import SOCK_KEEPOPEN
from pysock.families.inet.tcp.proto import TCP_PROT
from pysock.uapi.tcp import TCP_ESTABLISHED, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_USER_TIMEOUT


def keep(d: Diary, conn: Conn, idle: int = 10, interval: int = 3, count: int = 4) -> None:
    conn.sock.setopt(TCP_KEEPIDLE, idle)
    conn.sock.setopt(TCP_KEEPINTVL, interval)
    conn.sock.setopt(TCP_KEEPCNT, count)
    switch(d, conn, True)


def switch(d: Diary, conn: Conn, on: bool) -> None:
    """SO_KEEPALIVE, as core.sockopt does it."""
    d.call(TCP_PROT.set_keepalive, conn.sk, on)
    conn.sk.flags = conn.sk.flags | SOCK_KEEPOPEN if on else conn.sk.flags & ~SOCK_KEEPOPEN


@pytest.mark.parametrize("timestamps", [False, True])
def test_answered_probes(d: Diary, timestamps: bool) -> None:
    conn = d.connect(timestamps=timestamps)
    keep(d, conn)
    for _ in range(3):
        d.sleep(s=9.9)
        d.silent()
        d.sleep(s=0.2)
        conn.peer.expect(".", seq=0, ack=1, n=0)
        conn.peer.send(".", seq=1, ack=1)
        d.silent()
    assert d.ext.TCPKeepAlive == 3


def test_dead_peer(d: Diary) -> None:
    conn = d.connect()
    keep(d, conn)
    start = d.now
    d.sleep(s=60)
    sent = [(got.flags, round((got.at - start) / 1e9)) for got in d.ops.sent]
    assert sent == [(".", 10), (".", 13), (".", 16), (".", 19), ("R.", 22)]
    with pytest.raises(TimeoutError):
        conn.sock.recv()
    assert not d.tcp.ehash


def test_peer_that_forgot_us(d: Diary) -> None:
    conn = d.connect()
    keep(d, conn)
    d.sleep(s=10)
    conn.peer.expect(".", seq=0)
    conn.peer.send("R", seq=1)
    with pytest.raises(ConnectionResetError):
        conn.sock.recv()


def test_traffic_puts_it_off(d: Diary) -> None:
    conn = d.connect(timestamps=True)
    keep(d, conn)
    for i in range(10):
        d.sleep(s=6)
        conn.peer.send("P.", seq=1 + i, ack=1, data=b"x")
    d.forget()
    assert d.ext.TCPKeepAlive == 0
    d.sleep(s=10)
    conn.peer.expect(".", seq=0)


def test_unacknowledged_data_is_probe_enough(d: Diary) -> None:
    conn = d.connect()
    keep(d, conn)
    conn.sock.send(b"x")
    d.sleep(s=60)
    assert d.ext.TCPKeepAlive == 0


def test_switched_off(d: Diary) -> None:
    conn = d.connect()
    keep(d, conn)
    switch(d, conn, False)
    d.sleep(s=60)
    d.silent()
    assert conn.sk.state == TCP_ESTABLISHED


def test_time_already_idle_counts(d: Diary) -> None:
    conn = d.connect()
    d.sleep(s=8)
    keep(d, conn)
    d.sleep(s=2.1)
    conn.peer.expect(".", seq=0)


def test_default_is_two_hours(d: Diary) -> None:
    conn = d.connect()
    switch(d, conn, True)
    d.sleep(s=7199)
    d.silent()
    d.sleep(s=2)
    conn.peer.expect(".", seq=0)


def test_user_timeout_replaces_the_count(d: Diary) -> None:
    conn = d.connect()
    keep(d, conn, count=2)
    conn.sock.setopt(TCP_USER_TIMEOUT, 30_000)
    start = d.now
    d.sleep(s=29)
    assert conn.sk.state == TCP_ESTABLISHED
    d.sleep(s=10)
    assert d.ops.sent[-1].flags == "R."
    assert 30 <= (d.ops.sent[-1].at - start) / 1e9 < 34
