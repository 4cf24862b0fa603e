"""IPv6 routes with several next hops: flows spread by weight, and leave ways that do not work."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from support.inet6_hosts import Host6, Lab6, a6

from pysock.core.device import dev_close, dev_open
from pysock.families.inet.fib import Nexthop
from pysock.families.inet.fib_rules import Flow
from pysock.families.inet6 import route
from pysock.families.inet6.addr import ANY6
from pysock.families.inet6.fib6 import Fib6Entry
from pysock.families.inet6.fib6_config import add_route, del_route
from pysock.syscalls.message import sys_sendto
from pysock.syscalls.socket import sys_bind, sys_socket
from pysock.uapi.socket import AF_INET6, SOCK_DGRAM
from pysock.vfs.task import Task
from pysock.wire import ipv6

NET = a6("2001:db8::")
HERE = a6("fd01::1")


class Fork:
    """A host with two routers to one network."""

    def __init__(self) -> None:
        self.lab = Lab6()
        self.host, self.first, self.second = (self.lab.host() for _ in range(3))
        for router in (self.first, self.second):
            self.lab.cable(self.host, router)
            router.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.host.add("fd01::1/64")
        self.lab.settle()

    def gateways(self) -> list[bytes]:
        return [self.first.linklocal(), self.second.linklocal()]

    def split(self, *weights: int) -> Fib6Entry:
        devs = self.host.dev("eth0"), self.host.dev("eth1")
        ways = tuple(Nexthop(*way) for way in zip(devs, self.gateways(), weights, strict=True))
        return self.host.call(add_route, self.host.inet6, NET, 64, nexthops=ways)

    def shares(self, **fixed: int) -> tuple[int, int]:
        """How many of 250 flows take either way: each to another address, or what ``fixed`` names differs."""
        names = [self.way(i, fixed) for i in range(250)]
        return names.count("eth0"), names.count("eth1")

    def way(self, i: int, fixed: dict[str, int]) -> str:
        flow = Flow(NET[:15] + bytes((1 if fixed else i + 1,)), HERE)
        for name, value in fixed.items():
            setattr(flow, name, value + i)
        return self.host.call(route.output, self.host.inet6, flow.daddr, HERE, flow=flow).dev.name


@pytest.fixture
def fork() -> Iterator[Fork]:
    fork = Fork()
    yield fork
    assert fork.lab.log == []


def test_flows_spread_by_weight(fork: Fork) -> None:
    fork.split(3, 1)
    first, second = fork.shares()
    assert 150 <= first <= 225
    assert first + second == 250
    assert fork.shares() == (first, second)  # a flow stays where it is


def test_labels_count_always_and_ports_only_if_asked_for(fork: Fork) -> None:
    fork.split(1, 1)
    assert min(fork.shares(label=1000)) > 80
    assert 250 in fork.shares(sport=1000)
    fork.host.sysctl("net.ipv6.fib_multipath_hash_policy", 1)
    assert min(fork.shares(sport=1000)) > 80


def test_routes_that_are_added_one_by_one(fork: Fork) -> None:
    """As `ip -6 route append` does."""
    for dev, gateway in zip(("eth0", "eth1"), fork.gateways(), strict=True):
        fork.host.call(add_route, fork.host.inet6, NET, 64, dev=fork.host.dev(dev), gateway=gateway)
    assert fork.host.inet6.fib6.multipath
    assert min(fork.shares()) > 80
    fork.host.call(del_route, fork.host.inet6, NET, 64, gateway=fork.gateways()[0])
    assert fork.shares() == (0, 250)
    assert not fork.host.inet6.fib6.multipath


def test_all_ways_go_with_the_route(fork: Fork) -> None:
    fork.split(1, 1)
    fork.host.call(del_route, fork.host.inet6, NET, 64)
    assert fork.host.inet6.fib6.lookup(NET) is None
    assert not fork.host.inet6.fib6.multipath


def test_a_way_that_cannot_be_made_leaves_none(fork: Fork) -> None:
    dev = fork.host.dev("eth0")
    ways = Nexthop(dev, fork.gateways()[0]), Nexthop(fork.host.dev("eth1"), a6("2001:dead::1"))
    for bad, error in ((ways, errno.EHOSTUNREACH), ((Nexthop(dev, fork.gateways()[0], 257),), errno.EINVAL)):
        with pytest.raises(OSError) as caught:
            fork.host.call(add_route, fork.host.inet6, NET, 64, nexthops=bad)
        assert caught.value.errno == error
        assert fork.host.inet6.fib6.lookup(NET) is None


def test_ways_go_down_and_come_back(fork: Fork) -> None:
    entry = fork.split(1, 1)
    before = fork.shares()
    eth0, eth1 = fork.host.dev("eth0"), fork.host.dev("eth1")
    fork.host.call(dev_close, eth1)
    assert fork.shares() == (250, 0)
    fork.host.call(dev_open, eth1)
    assert fork.shares() == before
    fork.host.call(dev_close, eth0)
    fork.host.call(dev_close, eth1)
    assert not fork.host.inet6.fib6.has(entry)
    assert fork.host.inet6.fib6.lookup(NET) is None
    assert not fork.host.inet6.fib6.multipath


def test_a_device_that_is_asked_for(fork: Fork) -> None:
    fork.split(1, 1)
    eth1 = fork.host.dev("eth1")
    for i in range(50):
        assert fork.host.call(route.output, fork.host.inet6, NET[:15] + bytes((i,)), HERE, eth1.ifindex).dev is eth1


@pytest.mark.parametrize("forwarding", [False, True])
def test_a_router_that_does_not_answer_is_passed_over_by_hosts(fork: Fork, forwarding: bool) -> None:
    """A router's routes are what its administrator says."""
    fork.host.sysctl("net.ipv6.conf.all.forwarding", int(forwarding))
    fork.split(1, 1)
    before = fork.shares()
    fork.first.sysctl("net.ipv6.conf.eth0.disable_ipv6", 1)
    for i in range(1, 20):
        fork.host.send(NET[:15] + bytes((i,)), b"x")
    fork.lab.settle(10)
    assert (fork.host.inet6.routers.dead != {}) is True
    assert fork.shares() == (before if forwarding else (0, 250))
    fork.first.sysctl("net.ipv6.conf.eth0.disable_ipv6", 0)


def leaving(fork: Fork, host: Host6) -> dict[str, list[bytes]]:
    return {name: fork.lab.record(host.dev(name)) for name in ("eth0", "eth1")}


def test_one_socket_keeps_its_way(fork: Fork) -> None:
    """Unconnected, and its source not chosen before the route is."""
    fork.split(1, 1)
    fork.host.sysctl("net.ipv6.fib_multipath_hash_policy", 1)
    task = Task.for_kernel(fork.lab.kernel, net=fork.host.net)
    packets = leaving(fork, fork.host)
    ways = []
    for port in range(5000, 5020):
        fd = sys_socket(task, AF_INET6, SOCK_DGRAM, 0)
        sys_bind(task, fd, ("::", port))
        for _ in range(2):
            sys_sendto(task, fd, b"x", 0, ("2001:db8::9", 53))
        fork.lab.settle(2)
        ways.append([sum(p[6] == 17 for p in seen) for seen in packets.values()])
        for seen in packets.values():
            seen.clear()
    assert sorted(map(tuple, ways))[0] == (0, 2)
    assert sorted(map(tuple, ways))[-1] == (2, 0)
    assert {sum(way) for way in ways} == {2}


def test_a_router_spreads_what_it_forwards(fork: Fork) -> None:
    fork.split(1, 1)
    fork.host.sysctl("net.ipv6.conf.all.forwarding", 1)
    behind = fork.lab.host()
    near, _ = fork.lab.cable(fork.host, behind)
    fork.lab.settle()
    packets = leaving(fork, fork.host)
    for label in range(60):
        packet = bytearray(ipv6.build(a6("fd02::2"), NET[:15] + b"\x09", 200, b"payload"))
        packet[:4] = (6 << 28 | label).to_bytes(4, "big")
        fork.host.inject(bytes(packet), near)
    fork.lab.settle(5)
    counts = [sum(packet[6] == 200 for packet in seen) for seen in packets.values()]
    assert min(counts) > 10
    assert sum(counts) == 60
    assert ANY6 not in {packet[8:24] for seen in packets.values() for packet in seen if packet[6] == 200}
