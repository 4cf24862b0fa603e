"""What an IPv6 route prescribes: `ip -6 route ... mtu advmss initcwnd initrwnd window rtt rto_min hoplimit`."""

from __future__ import annotations

import pytest
from support.inet6_hosts import Host6, Lab6, Wire6, a6

from pysock.families.inet.fib import (
    RTAX_ADVMSS,
    RTAX_HOPLIMIT,
    RTAX_INITCWND,
    RTAX_INITRWND,
    RTAX_LOCK,
    RTAX_MTU,
    RTAX_RTO_MIN,
    RTAX_RTT,
    RTAX_WINDOW,
)
from pysock.families.inet.tcp.sock import TcpSock
from pysock.families.inet6 import route
from pysock.families.inet6.fib6_config import add_route
from pysock.syscalls.message import sys_recv, sys_sendto
from pysock.syscalls.socket import sys_accept, sys_bind, sys_connect, sys_listen, sys_socket
from pysock.uapi.socket import AF_INET6, SOCK_STREAM
from pysock.vfs.task import Task
from pysock.wire import tcp
from pysock.wire.tcp_options import parse_options

ONE, TWO = "2001:db8::1", "2001:db8::2"


class Pair:
    """Two hosts; one of them has a route to the other with metrics of its own."""

    def __init__(self, metrics: dict[int, int], mirror: bool = False) -> None:
        self.lab = Lab6()
        self.one, self.two = self.lab.host(), self.lab.host()
        self.lab.cable(self.one, self.two)
        self.one.add(f"{ONE}/64")
        self.two.add(f"{TWO}/64")
        self.lab.settle()
        self.packets = self.lab.record(self.two.dev())
        here, peer = (self.two, ONE) if mirror else (self.one, TWO)
        here.call(add_route, here.inet6, a6(peer), 128, dev=here.dev(), metrics=metrics)
        self.client, self.server = (Task.for_kernel(self.lab.kernel, net=host.net) for host in (self.one, self.two))
        self.ear = sys_socket(self.server, AF_INET6, SOCK_STREAM, 0)
        sys_bind(self.server, self.ear, (TWO, 80))
        sys_listen(self.server, self.ear, 5)
        self.fd = sys_socket(self.client, AF_INET6, SOCK_STREAM, 0)

    def open(self) -> tuple[TcpSock, TcpSock]:
        """Connect; the client's socket and the server's."""
        sys_connect(self.client, self.fd, (TWO, 80))
        self.peer = sys_accept(self.server, self.ear)[0]
        return self.sk(self.client, self.fd), self.sk(self.server, self.peer)

    @staticmethod
    def sk(task: Task, fd: int) -> TcpSock:
        socket = task.fds[fd].socket
        assert socket is not None
        sk = socket.sk
        assert isinstance(sk, TcpSock)
        return sk

    def syn(self, who: str) -> tcp.TcpHeader:
        return next(
            header
            for packet in self.packets
            if packet[6] == 6 and packet[8:24] == a6(who)
            for header in (tcp.parse(packet, 40),)
            if header.flags & tcp.SYN
        )


@pytest.mark.parametrize("passive", [False, True])
def test_advmss_is_what_we_offer_and_not_what_we_send(passive: bool) -> None:
    pair = Pair({RTAX_ADVMSS: 700}, passive)
    one, two = pair.open()
    offered = [parse_options(pair.syn(who).options).mss for who in (ONE, TWO)]
    assert offered == ([1440, 700] if passive else [700, 1440])
    assert (one.mss, two.mss) == ((688, 1428) if passive else (1428, 688))


@pytest.mark.parametrize("passive", [False, True])
def test_the_mtu_of_a_route(passive: bool) -> None:
    pair = Pair({RTAX_MTU: 1300}, passive)
    one, two = pair.open()
    assert parse_options(pair.syn(TWO if passive else ONE).options).mss == 1240
    assert (one.mss, two.mss) == (1228, 1228)


@pytest.mark.parametrize("passive", [False, True])
def test_flight_window_and_timeouts(passive: bool) -> None:
    locked = 1 << RTAX_RTO_MIN
    metrics = {RTAX_INITCWND: 3, RTAX_INITRWND: 6, RTAX_RTO_MIN: 50, RTAX_LOCK: locked, RTAX_RTT: 400 << 3}
    pair = Pair(metrics, passive)
    one, two = pair.open()
    here, there = (two, one) if passive else (one, two)
    assert (here.cwnd, there.cwnd) == (3, 10)
    assert pair.syn(TWO if passive else ONE).window == 6 * 1440
    assert here.rto == 1_200_000_000  # three times the round trip to expect
    assert there.rto < here.rto


def test_the_shortest_timeout() -> None:
    pair = Pair({RTAX_RTO_MIN: 50, RTAX_LOCK: 1 << RTAX_RTO_MIN})
    one, _ = pair.open()
    assert sys_sendto(pair.client, pair.fd, b"x", 0, None) == 1
    assert sys_recv(pair.server, pair.peer, 1, 0) == b"x"
    pair.lab.settle(1)
    assert one.rto // 1_000_000 == 50


def test_the_window_is_limited() -> None:
    pair = Pair({RTAX_WINDOW: 6000})
    one, _ = pair.open()
    assert pair.syn(ONE).window == 6000
    assert one.win_space <= 6000


def test_the_hop_limit_of_a_route() -> None:
    pair = Pair({RTAX_HOPLIMIT: 9})
    pair.open()
    limits = {packet[8:24]: packet[7] for packet in pair.packets if packet[6] == 6}
    assert limits == {a6(ONE): 9, a6(TWO): 64}


@pytest.mark.parametrize("asked", [{RTAX_HOPLIMIT: 1000}, {RTAX_MTU: 1 << 31}, {RTAX_ADVMSS: 65535}])
def test_more_than_there_can_be(wire: Wire6, asked: dict[int, int]) -> None:
    entry = wire.call(add_route, wire.inet6, a6("2001:db9::"), 64, dev=wire.w0, metrics=asked)
    ((key, kept),) = entry.metrics.items()
    assert kept == {RTAX_HOPLIMIT: 255, RTAX_MTU: 65520, RTAX_ADVMSS: 65495}[key]
    assert route.output(wire.inet6, a6("2001:db9::9")).hop_limit == (255 if key == RTAX_HOPLIMIT else 64)


def path(host: Host6, locked: bool) -> int:
    """The MTU to a host behind a route with one of 1400, after somebody said that 1300 is all that fits."""
    metrics = {RTAX_MTU: 1400, RTAX_LOCK: locked << RTAX_MTU}
    far = a6("2001:db9::9")
    host.call(add_route, host.inet6, a6("2001:db9::"), 64, dev=host.dev(), metrics=metrics)
    assert route.output(host.inet6, far).mtu == 1400
    host.call(route.update_pmtu, host.inet6, far, 1300, 10**9)
    return route.output(host.inet6, far).mtu


@pytest.mark.parametrize(("locked", "mtu"), [(False, 1300), (True, 1400)])
def test_a_locked_mtu_holds_whatever_the_path_says(wire: Wire6, locked: bool, mtu: int) -> None:
    assert path(wire, locked) == mtu
