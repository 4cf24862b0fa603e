"""Options at level IPPROTO_TCP (tcp(7)): values, ranges, errors; struct tcp_info; the ioctls."""

from __future__ import annotations

import errno
import struct

import pytest
from support.tcp_diary import Diary, Sock

from pysock.uapi import tcp as u
from pysock.uapi.ioctl import SIOCATMARK, SIOCINQ, SIOCOUTQ
from pysock.uapi.tcp import TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN

DEFAULTS = {
    "TCP_NODELAY": 0,
    "TCP_CORK": 0,
    "TCP_KEEPIDLE": 7200,
    "TCP_KEEPINTVL": 75,
    "TCP_KEEPCNT": 9,
    "TCP_SYNCNT": 6,
    "TCP_LINGER2": 60,
    "TCP_DEFER_ACCEPT": 0,
    "TCP_USER_TIMEOUT": 0,
    "TCP_MAXSEG": 536,
}
RANGES = {
    "TCP_KEEPIDLE": ([1, 32767], [0, -1, 32768]),
    "TCP_KEEPINTVL": ([1, 32767], [0, -1, 32768]),
    "TCP_KEEPCNT": ([1, 127], [0, -1, 128]),
    "TCP_SYNCNT": ([1, 127], [0, -1, 128]),
    "TCP_MAXSEG": ([88, 1000, 32767], [1, 87, 32768, -1]),
    "TCP_USER_TIMEOUT": ([0, 1, 100000], [-1]),
    "TCP_NODELAY": ([0, 1], []),
    "TCP_CORK": ([0, 1], []),
    "TCP_LINGER2": ([1, 30], []),
}


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_default(d: Diary, name: str, value: int) -> None:
    assert Sock(d).getopt(getattr(u, name)) == value


@pytest.mark.parametrize("name", RANGES)
def test_range(d: Diary, name: str) -> None:
    sock = Sock(d)
    number = getattr(u, name)
    good, bad = RANGES[name]
    for value in good:
        sock.setopt(number, value)
        assert sock.getopt(number) == value
    for value in bad:
        with pytest.raises(OSError) as info:
            sock.setopt(number, value)
        assert info.value.errno == errno.EINVAL
    assert sock.getopt(number) == good[-1]


def test_linger2_special_values(d: Diary) -> None:
    sock = Sock(d)
    sock.setopt(u.TCP_LINGER2, -7)
    assert sock.getopt(u.TCP_LINGER2) == -1
    sock.setopt(u.TCP_LINGER2, 0)
    assert sock.getopt(u.TCP_LINGER2) == 60
    sock.setopt(u.TCP_LINGER2, 1000)
    assert sock.getopt(u.TCP_LINGER2) == 120  # TCP_FIN_TIMEOUT_MAX


def test_switches_take_any_number(d: Diary) -> None:
    sock = Sock(d)
    sock.setopt(u.TCP_NODELAY, 17)
    assert sock.getopt(u.TCP_NODELAY) == 1


def test_unknown(d: Diary) -> None:
    sock = Sock(d)
    with pytest.raises(OSError) as info:
        sock.setopt(9999, 1)
    assert info.value.errno == errno.ENOPROTOOPT
    with pytest.raises(OSError) as info:
        sock.getopt(9999)
    assert info.value.errno == errno.ENOPROTOOPT


def test_too_short(d: Diary) -> None:
    with pytest.raises(OSError) as info:
        Sock(d).setopt(u.TCP_NODELAY, b"\1")
    assert info.value.errno == errno.EINVAL


def test_congestion_control(d: Diary) -> None:
    sock = Sock(d)
    assert sock.getopt_bytes(u.TCP_CONGESTION, 16) == b"reno".ljust(16, b"\0")
    sock.setopt(u.TCP_CONGESTION, b"none")
    assert sock.getopt_bytes(u.TCP_CONGESTION, 16).rstrip(b"\0") == b"none"
    with pytest.raises(OSError) as info:
        sock.setopt(u.TCP_CONGESTION, b"warp")
    assert info.value.errno == errno.ENOENT
    with pytest.raises(OSError) as info:
        d.net.sysctl.set("net.ipv4.tcp_congestion_control", "warp")
    assert info.value.errno == errno.ENOENT
    d.net.sysctl.set("net.ipv4.tcp_congestion_control", "none")
    assert Sock(d).sk.cong.name == "none"


def test_maxseg_of_a_connection(d: Diary) -> None:
    assert d.connect(mss=1000).sock.getopt(u.TCP_MAXSEG) == 1000
    assert d.connect(mss=1000, timestamps=True).sock.getopt(u.TCP_MAXSEG) == 988


def test_window_clamp(d: Diary) -> None:
    def prepare(sock: Sock) -> None:
        sock.setopt(u.TCP_WINDOW_CLAMP, 5000)

    conn = d.connect(prepare=prepare)
    assert conn.sock.getopt(u.TCP_WINDOW_CLAMP) == 5000
    conn.peer.send("P.", seq=1, ack=1, data=b"x")
    assert conn.peer.expect(".").header.window <= 5000


INFO = struct.Struct("@8B24I")
FIELDS = [
    "state", "ca_state", "retransmits", "probes", "backoff", "options", "wscale", "flags", "rto", "ato", "snd_mss",
    "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets", "last_data_sent", "last_ack_sent",
    "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh", "rtt", "rttvar", "snd_ssthresh", "snd_cwnd", "advmss",
    "reordering", "rcv_rtt", "rcv_space", "total_retrans",
]  # fmt: skip


def info_of(sock: Sock) -> dict[str, int]:
    raw = sock.getopt_bytes(u.TCP_INFO, 104)
    assert len(raw) == 104
    return dict(zip(FIELDS, INFO.unpack(raw), strict=True))


class TestInfo:
    def test_fresh_and_listening(self, d: Diary) -> None:
        assert info_of(Sock(d))["state"] == TCP_CLOSE
        assert info_of(d.listen())["state"] == TCP_LISTEN

    def test_connection(self, d: Diary) -> None:
        conn = d.connect(mss=1000, wscale=3, timestamps=True)
        conn.sock.send(b"x" * 2000)
        d.sleep(ms=50)
        conn.peer.send("P.", seq=1, ack=989, data=b"y" * 300)
        d.sleep(ms=20)
        info = info_of(conn.sock)
        assert info["state"] == TCP_ESTABLISHED
        assert info["options"] == 1 | 4  # timestamps, window scale
        assert info["wscale"] == 3 | 7 << 4
        assert info["snd_mss"] == 988
        assert info["unacked"] == 2
        assert info["snd_cwnd"] >= 10
        assert info["snd_ssthresh"] == 0x7FFFFFFF
        assert info["pmtu"] == 1500
        assert info["last_data_sent"] == 70
        assert info["last_data_recv"] == 20
        assert info["rto"] >= 200_000

    def test_loss(self, d: Diary) -> None:
        conn = d.connect(mss=1000)
        conn.sock.send(b"x" * 3000)
        d.sleep(ms=250)
        info = info_of(conn.sock)
        assert info["ca_state"] == 4
        assert (info["retransmits"], info["backoff"]) == (1, 1)
        assert (info["unacked"], info["lost"], info["retrans"]) == (3, 3, 1)
        assert info["snd_cwnd"] == 1

    def test_short_buffer(self, d: Diary) -> None:
        assert len(d.connect().sock.getopt_bytes(u.TCP_INFO, 8)) == 8


class TestIoctl:
    def test_listener(self, d: Diary) -> None:
        for cmd in (SIOCINQ, SIOCOUTQ):
            with pytest.raises(OSError) as info:
                d.listen(port=cmd & 0x7FFF).ioctl(cmd)
            assert info.value.errno == errno.EINVAL

    def test_connecting(self, d: Diary) -> None:
        sock = Sock(d)
        d.syn_from(sock)
        assert sock.ioctl(SIOCOUTQ) == 0

    def test_inq_does_not_count_the_fin(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("FP.", seq=1, ack=1, data=b"abc")
        assert conn.sock.ioctl(SIOCINQ) == 3

    def test_atmark(self, d: Diary) -> None:
        assert d.connect().sock.ioctl(SIOCATMARK) == 0

    def test_unknown(self, d: Diary) -> None:
        with pytest.raises(OSError) as info:
            d.connect().sock.ioctl(0x1234)
        assert info.value.errno == errno.ENOTTY
