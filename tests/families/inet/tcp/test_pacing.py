"""Pacing: when segments leave, by SO_MAX_PACING_RATE or because the device has fq."""

from __future__ import annotations

import pytest
from support.hosts import Hosts
from support.inet6_api import LO_MAPPED, Ours6

from pysock.core.dev import PacketType, dev_add_pack
from pysock.core.netdevice import NetDevice
from pysock.core.qdisc import qdisc_replace
from pysock.core.skbuff import SkBuff
from pysock.families.inet.tcp.sock import TcpSock
from pysock.syscalls.message import sys_recv, sys_sendto
from pysock.uapi.if_ether import ETH_P_ALL, ETH_P_IP
from pysock.uapi.if_packet import PACKET_OUTGOING
from pysock.uapi.in_ import IPPROTO_TCP
from pysock.uapi.socket import MSG_DONTWAIT, SO_MAX_PACING_RATE, SO_SNDBUF, SOCK_STREAM, SOL_SOCKET
from pysock.uapi.tcp import TCP_INFO, TCP_INFO_FIELDS, TCP_INFO_STRUCT

MS = 1_000_000
SECOND = 1_000_000_000
NO_LIMIT = (1 << 64) - 1


class Transfer:
    """A connection from a to b, whose answers take ``delay``, and when each byte left a."""

    def __init__(self, delay: int | None = None, qdisc: str | None = None, rate: int = 0) -> None:
        self.lab = Hosts()
        self.a, self.b = self.lab.pair()
        if delay is not None:
            self.b.call(qdisc_replace, self.b.dev(), "netem", {"delay": delay})
        if qdisc is not None:
            self.a.call(qdisc_replace, self.a.dev(), qdisc)
        self.a.sendto(self.a.socket(), b"", ("10.0.0.2", 9))
        self.lab.sleep(1)  # ARP is done
        listener = self.b.listen("10.0.0.2", 80)
        self.fd = self.a.tcp()
        self.a.setopt(self.fd, SOL_SOCKET, SO_SNDBUF, 4 << 20)
        if rate:
            self.limit(rate)
        self.a.connect(self.fd, ("10.0.0.2", 80))
        self.peer = self.b.accept(listener)
        self.left: list[tuple[int, int]] = []

        def tap(skb: SkBuff, dev: NetDevice) -> None:
            if skb.pkt_type == PACKET_OUTGOING and skb.protocol == ETH_P_IP and skb.data_len:
                self.left.append((self.lab.kernel.now, skb.data_len))

        self.a.call(dev_add_pack, PacketType(self.a.net, ETH_P_ALL, tap, self.a.dev()))

    @property
    def sk(self) -> TcpSock:
        sk = self.a.sk(self.fd)
        assert isinstance(sk, TcpSock)
        return sk

    def limit(self, rate: int) -> None:
        self.a.setopt(self.fd, SOL_SOCKET, SO_MAX_PACING_RATE, rate.to_bytes(8, "little"))

    def send(self, n: int) -> int:
        """How long ``n`` bytes take to arrive."""
        start = self.lab.kernel.now
        assert self.a.sendto(self.fd, bytes(n)) == n
        got = 0
        while got < n:
            got += len(self.b.recv(self.peer))
        return self.lab.kernel.now - start

    def info(self, name: str) -> int:
        raw = self.a.getopt(self.fd, IPPROTO_TCP, TCP_INFO, TCP_INFO_STRUCT.size)
        value = dict(zip(TCP_INFO_FIELDS, TCP_INFO_STRUCT.unpack(raw), strict=True))[name]
        assert isinstance(value, int)
        return value


def test_a_rate_of_the_program_s() -> None:
    """All but the first ten segments, which leave at once, take their time; with fq or without."""
    for qdisc in (None, "fq"):
        t = Transfer(qdisc=qdisc, rate=100_000)
        mss = t.sk.mss
        taken = t.send(210 * mss)
        assert 0.98 < taken / (200 * mss / 100_000 * SECOND) < 1.03
        assert sum(n for at, n in t.left if at == t.left[0][0]) >= 10 * mss
        assert max(n for _, n in t.left[20:]) <= 2 * mss  # no super-segment stands for long
        assert t.info("pacing_rate") == t.info("max_pacing_rate") == 100_000
        assert t.info("total_retrans") == 0


def test_it_may_change_while_data_wait() -> None:
    t = Transfer(rate=100_000)
    mss = t.sk.mss
    t.send(10 * mss)
    slow = t.send(100 * mss)
    t.limit(1_000_000)
    fast = t.send(100 * mss)
    assert 8 < slow / fast < 11  # the last slow segment is still being waited for
    t.limit(NO_LIMIT)
    assert t.send(100 * mss) == 0
    assert t.send(1) == 0
    assert t.sk.size_goal >= mss
    assert t.sk.dst is not None
    assert t.sk.dst.inner is None  # on the fast path again


def test_an_idle_connection_does_not_save_up() -> None:
    t = Transfer(rate=100_000)
    mss = t.sk.mss
    t.send(20 * mss)
    t.lab.sleep(60)
    assert t.send(21 * mss) >= 0.9 * 20 * mss / 100_000 * SECOND


def test_fq_spreads_a_window_over_the_round_trip() -> None:
    """Twice as fast as cwnd and round trip say while cwnd grows, 1.2 times after that; and the time a segment waits is
    no part of the round trip.
    """
    t = Transfer(delay=20 * MS, qdisc="fq")
    mss = t.sk.mss
    assert t.info("rtt") == 20_000
    t.send(100 * mss)
    assert t.info("pacing_rate") == mss * t.sk.cwnd * 2 * 50
    t.left.clear()
    t.lab.sleep(1)
    cwnd = t.sk.cwnd
    t.send(cwnd * mss)
    assert t.info("total_retrans") == 0
    spread = t.left[-1][0] - t.left[0][0]
    assert 0.8 < spread / (20 * MS / 2) < 1.1
    assert 20_000 <= t.info("rtt") < 23_000
    t.sk.ssthresh = t.sk.cwnd  # congestion avoidance
    assert t.info("pacing_rate") == mss * t.sk.cwnd * 120 * SECOND // 100 * 8 // t.sk.srtt


def test_without_fq_a_window_leaves_at_once() -> None:
    t = Transfer(delay=20 * MS)
    t.send(200 * t.sk.mss)
    t.left.clear()
    t.lab.sleep(1)
    t.send(t.sk.cwnd * t.sk.mss)
    assert t.left[-1][0] == t.left[0][0]
    assert t.sk.rare is None


def test_a_connection_notices_that_fq_comes_and_goes() -> None:
    t = Transfer(delay=20 * MS)
    t.send(200 * t.sk.mss)
    for qdisc, paced in (("fq", True), ("pfifo", False), ("fq", True)):
        t.a.call(qdisc_replace, t.a.dev(), qdisc)
        t.send(1)  # the goal of what was sent before
        t.lab.sleep(1)
        t.left.clear()
        t.send(60 * t.sk.mss)
        assert (t.left[-1][0] > t.left[0][0]) is paced


def test_closing_while_data_wait() -> None:
    t = Transfer(rate=100_000)
    n = 50 * t.sk.mss
    assert t.a.sendto(t.fd, bytes(n)) == n
    t.a.close(t.fd)
    got = 0
    while data := t.b.recv(t.peer):
        got += len(data)
    assert got == n
    assert t.lab.log == []


@pytest.mark.parametrize("host", ["::1", LO_MAPPED])
def test_over_ipv6(host: str) -> None:
    """Set before connect(): what is asked of a socket holds from its first packet on."""
    api = Ours6()
    listener = api.bound("::", type=SOCK_STREAM)
    api.listen(listener)
    fd = api.socket(SOCK_STREAM)
    api.setopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, (1_000_000).to_bytes(8, "little"))
    with pytest.raises(BlockingIOError):
        api.connect(fd, (host, api.name(listener)[1]))
    peer = api.accept(listener)[0]
    start = api.kernel.now
    total = 30 * 65_536
    sent = got = 0
    while got < total:
        if sent < total:
            try:
                sent += sys_sendto(api.task, fd, bytes(total - sent), MSG_DONTWAIT)
            except BlockingIOError:
                pass
        try:
            got += len(sys_recv(api.task, peer, 1 << 20, MSG_DONTWAIT))
        except BlockingIOError:
            api.kernel.sleep(MS)
    assert 1.1 < (api.kernel.now - start) / SECOND < 1.5  # less the first ten segments
