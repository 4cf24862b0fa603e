"""CUBIC (RFC 9438): its curve, what a loss leaves, and that it never falls behind Reno."""

from __future__ import annotations

import pytest
from support.tcp_diary import Conn, Diary

from pysock.core.clock import NSEC_PER_MSEC
from pysock.families.inet.tcp.cubic import BETA, CUBIC, C, state_of
from pysock.uapi.tcp import TCP_CONGESTION

RTT_MS = 100


@pytest.fixture
def conn(d: Diary) -> Conn:
    conn = d.connect()
    conn.sock.setopt(TCP_CONGESTION, b"cubic")
    conn.sk.min_rtt = RTT_MS * NSEC_PER_MSEC
    return conn


def lose(conn: Conn, cwnd: int) -> int:
    """A loss with ``cwnd`` in flight; the window it leaves."""
    sk = conn.sk
    sk.cwnd = cwnd
    sk.cwnd = sk.ssthresh = CUBIC.ssthresh(sk)
    return sk.cwnd


def round_trips(d: Diary, conn: Conn, count: int, ms: int = RTT_MS) -> list[int]:
    """The window after each of ``count`` round trips in which all of it is acknowledged."""
    windows = []
    for _ in range(count):
        for _ in range(conn.sk.cwnd):
            d.call(CUBIC.cong_avoid, conn.sk, 1)
        d.sleep(ms=ms)
        windows.append(conn.sk.cwnd)
    return windows


def test_chosen_by_name(d: Diary) -> None:
    assert d.connect().sk.cong.name == "reno"
    d.net.sysctl.set("net.ipv4.tcp_congestion_control", "cubic")
    sock = d.connect().sock
    assert sock.getopt_bytes(TCP_CONGESTION, 16).rstrip(b"\0") == b"cubic"


def test_slow_start_is_renos(conn: Conn) -> None:
    sk = conn.sk
    sk.cwnd, sk.ssthresh = 10, 15
    CUBIC.cong_avoid(sk, 4)
    assert sk.cwnd == 14
    CUBIC.cong_avoid(sk, 1)
    assert (sk.cwnd, sk.cong_state is None or state_of(sk).start == 0) == (15, True)


def test_a_loss_leaves_seven_tenths(conn: Conn) -> None:
    assert lose(conn, 1000) == int(1000 * BETA) == 700
    assert lose(conn, 2) == 2


def test_the_curve(d: Diary, conn: Conn) -> None:
    """Back at the old window after K seconds, slow around it, and faster and faster beyond."""
    lose(conn, 1000)
    k = (300 / C) ** (1 / 3)  # 9.1 s
    windows = round_trips(d, conn, int(2 * k * 1000 / RTT_MS))
    at = len(windows) // 2
    assert windows[at] == pytest.approx(1000, rel=0.02)
    around = windows[at + 5] - windows[at - 5]
    assert around < (windows[10] - windows[0]) / 3
    assert windows[-1] - windows[-11] > 3 * around
    assert windows[-1] == pytest.approx(1300, rel=0.05)


def test_time_counts_not_round_trips(d: Diary, conn: Conn) -> None:
    lose(conn, 1000)
    slow = round_trips(d, conn, 20, 400)[-1]
    lose(conn, 1000)
    lose(conn, 1000)
    fast = round_trips(d, conn, 80, 100)[-1]
    assert fast == pytest.approx(slow, rel=0.05)


def test_not_behind_reno(d: Diary, conn: Conn) -> None:
    """On short round trips with small windows the curve is too slow."""
    conn.sk.min_rtt = NSEC_PER_MSEC
    lose(conn, 20)
    windows = round_trips(d, conn, 60, 1)
    assert windows[-1] >= 14 + 60 * 0.5  # Reno with BETA grows by 0.53 a round trip


def test_fast_convergence(conn: Conn) -> None:
    lose(conn, 1000)
    lose(conn, 800)  # less than before: somebody else wants a share
    assert state_of(conn.sk).last_max == pytest.approx(800 * (1 + BETA) / 2)
