"""Several default routes: the one whose gateway answers is taken (fib_select_default)."""

from __future__ import annotations

import pytest
from support.hosts import HostApi, Hosts

from pysock.core.device import dev_close, dev_open
from pysock.families.inet.fib_config import add_route
from pysock.uapi.in_ import IP_RECVERR, IPPROTO_IP
from pysock.uapi.netlink import NLM_F_APPEND, NLM_F_CREATE
from pysock.wire.addr import inet_aton as a

ONE, TWO = "10.0.1.254", "10.0.2.254"


class Fork:
    """A host with two routers, each on a link of its own, and two default routes of one metric."""

    def __init__(self, metrics: tuple[int, int] = (0, 0)) -> None:
        self.lab = Hosts()
        self.host, self.first, self.second = (self.lab.host(name) for name in ("host", "first", "second"))
        self.lab.cable(self.host, "10.0.1.1/24", self.first, f"{ONE}/24")
        self.lab.cable(self.host, "10.0.2.1/24", self.second, f"{TWO}/24")
        for gateway, metric in zip((ONE, TWO), metrics, strict=True):
            flags = NLM_F_CREATE | NLM_F_APPEND
            self.host.call(add_route, self.host.inet, bytes(4), 0, gateway=a(gateway), metric=metric, flags=flags)
        self.fd = self.host.socket()
        self.host.setopt(self.fd, IPPROTO_IP, IP_RECVERR, 1)

    def silence(self, router: HostApi, silent: bool = True) -> None:
        """The router does not answer ARP any more."""
        router.sysctl("net.ipv4.conf.all.arp_ignore", 8 if silent else 0)

    def sends_by(self, daddr: str = "192.0.2.1", fd: int | None = None) -> str:
        """Which router gets a datagram, after all timeouts."""
        before = [router.counted().get("IpInReceives", 0) for router in (self.first, self.second)]
        try:
            self.host.sendto(self.fd if fd is None else fd, b"x", (daddr, 9))
        except OSError:
            return "error"
        self.lab.sleep(10)
        after = [router.counted().get("IpInReceives", 0) for router in (self.first, self.second)]
        return {(1, 0): "first", (0, 1): "second", (0, 0): "none"}[after[0] - before[0], after[1] - before[1]]


@pytest.fixture
def fork() -> Fork:
    return Fork()


def test_the_first_as_long_as_it_answers(fork: Fork) -> None:
    assert [fork.sends_by(f"192.0.2.{i}") for i in range(5)] == ["first"] * 5


def test_a_silent_gateway_is_left(fork: Fork) -> None:
    """The first datagram finds out; the next ones, of this socket and of others, take the second gateway."""
    fork.silence(fork.first)
    assert fork.sends_by() == "none"
    fork.host.getint(fork.fd, 1, 4)  # SO_ERROR: the first datagram's EHOSTUNREACH
    assert fork.sends_by() == "second"
    assert fork.sends_by("198.51.100.1", fork.host.socket()) == "second"


def test_a_connected_socket_moves_too(fork: Fork) -> None:
    fd = fork.host.socket()
    fork.host.connect(fd, ("192.0.2.1", 9))
    assert fork.sends_by(fd=fd) == "first"
    fork.silence(fork.first)
    fork.lab.sleep(200)
    assert fork.sends_by(fd=fd) == "first"  # stale: believed once more, and probed in vain
    fork.lab.sleep(10)
    assert fork.sends_by(fd=fd) == "second"


def test_one_that_comes_back(fork: Fork) -> None:
    fork.silence(fork.first)
    assert fork.sends_by() == "none"
    fork.host.getint(fork.fd, 1, 4)
    assert fork.sends_by() == "second"
    fork.silence(fork.first, False)
    fork.silence(fork.second)
    fork.lab.sleep(100)
    tries = [fork.sends_by(f"192.0.2.{i}", fork.host.socket()) for i in range(2, 8)]
    assert tries[-1] == "first"


def test_metrics_come_first() -> None:
    """A worse metric is no alternative to a silent gateway, as in Linux."""
    fork = Fork((0, 10))
    fork.silence(fork.first)
    assert fork.sends_by() == "none"
    fork.host.getint(fork.fd, 1, 4)
    assert fork.sends_by() == "none"


def test_a_link_that_goes_down(fork: Fork) -> None:
    assert fork.sends_by() == "first"
    fork.host.call(dev_close, fork.host.dev("eth0"))
    assert fork.sends_by() == "second"
    fork.host.call(dev_open, fork.host.dev("eth0"))
    assert fork.sends_by() == "second"
