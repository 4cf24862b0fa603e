"""Several routers: one that answers is taken before one that does not (RFC 4861 6.3.6, RFC 4191 3.2)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.inet6_hosts import Host6, Lab6, a6

from pysock.families.inet.fib import RTN_UNICAST
from pysock.families.inet6 import route
from pysock.families.inet6.fib6 import Fib6Entry

SOMEWHERE = a6("2001:db8::1")


class Fork:
    """A host with two routers; the first one is preferred."""

    def __init__(self) -> None:
        self.lab = Lab6()
        self.host, self.first, self.second = (self.lab.host() for _ in range(3))
        self.devs = []
        for router in (self.first, self.second):
            here, there = self.lab.cable(self.host, router)
            self.devs.append((here, there))
            router.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.host.add("fd01::1/64")
        self.lab.settle()
        for (here, there), router, pref in zip(self.devs, (self.first, self.second), (1, 0), strict=True):
            entry = Fib6Entry(bytes(16), 0, RTN_UNICAST, here, router.linklocal(there.name))
            entry.pref = pref
            self.host.call(self.host.inet6.fib6.add, entry)

    def silence(self, router: Host6, silent: bool = True) -> None:
        router.sysctl("net.ipv6.conf.eth0.disable_ipv6", int(silent))

    def sends_by(self, daddr: bytes = SOMEWHERE) -> str:
        """Which router's device a packet leaves by, once all questions are answered or given up."""
        dev = self.host.call(route.output, self.host.inet6, daddr).dev
        self.host.send(daddr, b"x")
        self.lab.settle(10)
        return "first" if dev is self.devs[0][0] else "second"


@pytest.fixture
def fork() -> Iterator[Fork]:
    fork = Fork()
    yield fork
    assert fork.lab.log == []


def test_preference_decides_among_those_that_answer(fork: Fork) -> None:
    assert [fork.sends_by(a6(f"2001:db8::{i}")) for i in range(1, 4)] == ["first"] * 3


def test_a_silent_router_is_left_and_found_again(fork: Fork) -> None:
    fork.silence(fork.first)
    assert fork.sends_by() == "first"  # nobody knew
    assert fork.sends_by() == "second"
    assert fork.sends_by(a6("2001:db8::2")) == "second"
    fork.silence(fork.first, False)
    fork.lab.settle(61)
    assert fork.sends_by() == "second"  # and the first one is asked
    assert fork.sends_by() == "first"
    assert not fork.host.inet6.routers.dead


def test_if_none_answers_preference_decides(fork: Fork) -> None:
    for router in (fork.first, fork.second):
        fork.silence(router)
    assert [fork.sends_by() for _ in range(3)] == ["first", "second", "first"]


def test_a_router_does_not_choose(fork: Fork) -> None:
    fork.host.sysctl("net.ipv6.conf.all.forwarding", 1)
    fork.silence(fork.first)
    assert [fork.sends_by() for _ in range(3)] == ["first"] * 3
