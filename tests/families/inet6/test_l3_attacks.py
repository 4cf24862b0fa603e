"""Storms, spoofing, scans and loops: nothing hangs or grows, and all is counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.inet6_hosts import PEER_MAC, Ether6, Lab6, a6

from pysock.families.inet.fib import RTN_UNICAST
from pysock.families.inet6.fib6 import Fib6Entry
from pysock.wire import icmpv6, ipv6
from pysock.wire.icmpv6 import NA_OVERRIDE, NEIGHBOUR_ADVERT, NEIGHBOUR_SOLICIT, OPT_SOURCE_LL, OPT_TARGET_LL

ME = a6("2001:db8::1")


@pytest.fixture
def ether() -> Iterator[Ether6]:
    ether = Ether6()
    ether.add("2001:db8::1/64", flags=0x82)
    yield ether
    assert ether.lab.log == []


def stranger(i: int) -> bytes:
    return ME[:8] + (0x1000 + i).to_bytes(8, "big")


def test_a_storm_of_strangers_does_not_grow_the_table(ether: Ether6) -> None:
    option = icmpv6.build_option(OPT_SOURCE_LL, PEER_MAC)
    for i in range(1500):
        ether.hears(NEIGHBOUR_SOLICIT, "2001:db8::1", stranger(i), ME, option)
    assert ether.inet6.nd.count <= ether.inet6.nd.gc_thresh3


def test_answers_that_nobody_asked_for_make_no_entries(ether: Ether6) -> None:
    option = icmpv6.build_option(OPT_TARGET_LL, PEER_MAC)
    before = ether.inet6.nd.count
    for i in range(100):
        ether.hears(NEIGHBOUR_ADVERT, f"2001:db8::{i + 2:x}", stranger(i), a6("ff02::1"), option, NA_OVERRIDE)
    assert ether.inet6.nd.count == before


def test_nobody_takes_our_own_address(ether: Ether6) -> None:
    option = icmpv6.build_option(OPT_TARGET_LL, PEER_MAC)
    ether.hears(NEIGHBOUR_ADVERT, "2001:db8::1", stranger(1), a6("ff02::1"), option, NA_OVERRIDE)
    ether.sent()
    ether.listen()
    ether.send(ME, b"to ourselves")
    ether.lab.settle(1)
    assert ether.got == [b"to ourselves"]
    assert [packet for packet in ether.sent() if packet[6] == 200] == []


def test_a_scan_through_a_router_is_bounded(ether: Ether6) -> None:
    """Each address of the link costs an entry and a question while it is asked for, and nothing afterwards."""
    ether.sysctl("net.ipv6.conf.all.forwarding", 1)
    for i in range(3000):
        ether.inject(ipv6.build(a6("2001:db8:7::7"), stranger(i), 200, bytes(100), hop_limit=9))
    table = ether.inet6.nd
    assert table.count <= table.gc_thresh3
    ether.lab.settle(10)
    assert all(not neigh.queue for neigh in table.entries())
    ether.sent()


def test_a_loop_ends() -> None:
    lab = Lab6()
    one, two = lab.host(), lab.host()
    here, there = lab.cable(one, two)
    for host in (one, two):
        host.sysctl("net.ipv6.conf.all.forwarding", 1)
    one.add("fd01::1/64")
    two.add("fd01::2/64")
    lab.settle()
    for host, dev, gateway in ((one, here, "fd01::2"), (two, there, "fd01::1")):
        host.call(host.inet6.fib6.add, Fib6Entry(bytes(16), 0, RTN_UNICAST, dev, a6(gateway)))
    packets = lab.record(here)
    one.send(a6("2001:db8::1"), b"x", hoplimit=255)
    lab.settle()
    assert len([packet for packet in packets if packet[6] == 200]) == 255
    counted = [host.counted() for host in (one, two)]
    assert sum(counts.get("Ip6InHdrErrors", 0) for counts in counted) == 1
    assert sum(counts.get("Icmp6OutTimeExcds", 0) for counts in counted) == 1
    assert lab.log == []
