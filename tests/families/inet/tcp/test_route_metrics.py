"""What a route prescribes to connections: `ip route ... advmss initcwnd initrwnd window rtt rto_min`."""

from __future__ import annotations

import struct

import pytest
from support.hosts import HostApi, Hosts

from pysock.families.inet.fib import (
    RTAX_ADVMSS,
    RTAX_INITCWND,
    RTAX_INITRWND,
    RTAX_LOCK,
    RTAX_RTO_MIN,
    RTAX_RTT,
    RTAX_WINDOW,
)
from pysock.families.inet.fib_config import RTENTRY_SIZE, add_route
from pysock.families.inet.tcp.sock import TcpSock
from pysock.syscalls.file import sys_ioctl
from pysock.syscalls.socket import sys_connect
from pysock.uapi.ioctl import SIOCADDRT
from pysock.uapi.tcp import TCP_NODELAY
from pysock.wire import ipv4, tcp
from pysock.wire.addr import inet_aton as a
from pysock.wire.tcp_options import parse_options

Segment = tuple[str, tcp.TcpHeader, int]


class Pair:
    """Two hosts; ``one`` has a route to ``two`` with metrics of its own."""

    def __init__(self, metrics: dict[int, int], mirror: bool = False) -> None:
        self.lab = Hosts()
        self.one, self.two = self.lab.pair()
        self.frames = self.lab.record(self.two.dev())
        here, peer = (self.two, "10.0.0.1") if mirror else (self.one, "10.0.0.2")
        here.call(add_route, here.inet, a(peer), 32, dev=here.dev(), metrics=metrics)
        self.ear = self.two.listen("10.0.0.2", 80)
        self.fd = self.one.tcp()
        self.one.setopt(self.fd, 6, TCP_NODELAY, 1)

    def open(self) -> int:
        sys_connect(self.one.task, self.fd, ("10.0.0.2", 80))
        return self.two.accept(self.ear)

    def tcp(self) -> list[Segment]:
        """Who sent, the header, how many bytes of data."""
        found = []
        for frame in self.frames:
            if frame[12:14] == b"\x08\0" and frame[23] == 6:
                header = tcp.parse(frame, 34)
                size = ipv4.parse(frame[14:]).total_length - 20 - header.size
                found.append(("one" if frame[26:30] == a("10.0.0.1") else "two", header, size))
        return found

    def syn(self, who: str) -> tcp.TcpHeader:
        return next(header for sender, header, _ in self.tcp() if sender == who and header.flags & tcp.SYN)

    @staticmethod
    def sk(host: HostApi, fd: int) -> TcpSock:
        sk = host.sk(fd)
        assert isinstance(sk, TcpSock)
        return sk


@pytest.mark.parametrize("passive", [False, True])
def test_advmss_is_what_we_offer_and_not_what_we_send(passive: bool) -> None:
    pair = Pair({RTAX_ADVMSS: 700}, passive)
    peer = pair.open()
    one, two = pair.sk(pair.one, pair.fd), pair.sk(pair.two, peer)
    offered = [parse_options(pair.syn(who).options).mss for who in ("one", "two")]
    assert offered == ([1460, 700] if passive else [700, 1460])
    assert (one.mss, two.mss) == ((688, 1448) if passive else (1448, 688))


def test_advmss_beyond_the_mtu_is_offered_too() -> None:
    """Our own segments fit the link all the same."""
    pair = Pair({RTAX_ADVMSS: 8960})
    peer = pair.open()
    assert parse_options(pair.syn("one").options).mss == 8960
    assert (pair.sk(pair.one, pair.fd).mss, pair.sk(pair.two, peer).mss) == (1448, 1448)


@pytest.mark.parametrize("passive", [False, True])
def test_the_first_flight(passive: bool) -> None:
    pair = Pair({RTAX_INITCWND: 3}, passive)
    peer = pair.open()
    sk = pair.sk(pair.two, peer) if passive else pair.sk(pair.one, pair.fd)
    assert sk.cwnd == 3
    assert (pair.sk(pair.one, pair.fd) if passive else pair.sk(pair.two, peer)).cwnd == 10


@pytest.mark.parametrize("passive", [False, True])
def test_the_window_of_the_syn(passive: bool) -> None:
    """Six segments of what we offer; the connection itself is not limited by that."""
    pair = Pair({RTAX_INITRWND: 6}, passive)
    peer = pair.open()
    assert pair.syn("two" if passive else "one").window == 6 * 1460
    here, there = (pair.one, pair.two) if passive else (pair.two, pair.one)
    source, sink = (pair.fd, peer) if passive else (peer, pair.fd)
    assert here.sendto(source, bytes(30_000)) == 30_000
    got = 0
    while got < 30_000:
        got += len(there.recv(sink))


@pytest.mark.parametrize("passive", [False, True])
def test_the_window_is_limited(passive: bool) -> None:
    pair = Pair({RTAX_WINDOW: 6000}, passive)
    peer = pair.open()
    limited = "two" if passive else "one"
    here, source = (pair.one, pair.fd) if passive else (pair.two, peer)
    assert here.sendto(source, bytes(30_000)) == 30_000
    pair.lab.sleep(1)
    scale = parse_options(pair.syn(limited).options).wscale or 0
    windows = {
        header.window << (0 if header.flags & tcp.SYN else scale)
        for sender, header, _ in pair.tcp()
        if sender == limited
    }
    assert 0 < max(windows) <= 6000
    assert sum(size for sender, _, size in pair.tcp() if sender != limited) <= 6000 + (1 << scale)
    if not passive:
        assert scale == 0


def test_a_window_of_the_programs_own_wins() -> None:
    pair = Pair({RTAX_WINDOW: 6000})
    pair.one.setopt(pair.fd, 6, 10, 20_000)  # TCP_WINDOW_CLAMP
    pair.open()
    assert pair.syn("one").window == 6000
    assert pair.sk(pair.one, pair.fd).win_space == 20_000


def test_an_expected_round_trip() -> None:
    """400 ms, three times of it before the first timeout."""
    pair = Pair({RTAX_RTT: 400 << 3})
    pair.open()
    assert pair.sk(pair.one, pair.fd).rto == 1_200_000_000


@pytest.mark.parametrize(("locked", "least"), [(True, 50), (False, 200)])
def test_the_shortest_timeout(locked: bool, least: int) -> None:
    pair = Pair({RTAX_RTO_MIN: 50, RTAX_LOCK: locked << RTAX_RTO_MIN})
    peer = pair.open()
    assert pair.one.sendto(pair.fd, b"x") == 1
    assert pair.two.recv(peer) == b"x"
    assert pair.sk(pair.one, pair.fd).rto // 1_000_000 == least


def test_route_8_sets_them_too() -> None:
    pair = Pair({})
    sockaddrs = (struct.pack("=HH4s8x", 2, 0, a(text)) for text in ("10.9.0.0", "10.0.0.2", "255.255.255.0"))
    request = struct.pack("=8x16s16s16sH22xh14xQQH6x", *sockaddrs, 0x1C3, 0, 1040, 7000, 25)
    assert len(request) == RTENTRY_SIZE
    sys_ioctl(pair.one.task, pair.one.socket(), SIOCADDRT, request)
    (entry,) = pair.one.inet.fib.main.at(a("10.9.0.0"), 24)
    assert entry.metrics == {RTAX_ADVMSS: 1000, RTAX_WINDOW: 7000, RTAX_RTT: 200}
