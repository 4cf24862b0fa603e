"""/proc/net of IPv6, next to what Linux prints in the same situation."""

from __future__ import annotations

import pytest
from support.inet6_hosts import Wire6, a6

from pysock.core.netdev_events import NETDEV_DOWN, NETDEV_UP
from pysock.families.inet.fib import RTN_UNICAST
from pysock.families.inet6 import addrconf, mcast
from pysock.families.inet6.devconf import Inet6Ifaddr
from pysock.families.inet6.fib6 import Fib6Entry

NOTHING = "0" * 32


@pytest.fixture
def wire(wire: Wire6) -> Wire6:
    wire.call(wire.inet6.fib6.add, Fib6Entry(bytes(16), 0, RTN_UNICAST, wire.dev(), a6("2001:db8::fe")))
    return wire


def test_routes(wire: Wire6) -> None:
    lines = [line.split() for line in wire.net.proc["net/ipv6_route"]().splitlines()]
    found = {(line[0], line[1]): (line[4], line[5], line[8], line[9]) for line in lines}
    assert found == {
        ("20010db8" + "0" * 24, "40"): (NOTHING, "00000100", "00000001", "w0"),
        ("fe80" + "0" * 28, "40"): (NOTHING, "00000100", "00000001", "w0"),
        (NOTHING, "00"): ("20010db8" + "0" * 22 + "fe", "00000400", "00000003", "w0"),
        ("0" * 31 + "1", "80"): (NOTHING, "00000000", "80200001", "lo"),
        ("20010db8" + "0" * 23 + "1", "80"): (NOTHING, "00000000", "80200001", "w0"),
        ("fe80" + "0" * 18 + "fffe000001", "80"): (NOTHING, "00000000", "80200001", "w0"),
        ("ff" + "0" * 30, "08"): (NOTHING, "00000100", "00000001", "w0"),
    }


def test_groups(wire: Wire6) -> None:
    wire.call(mcast.join, wire.inet6, wire.dev(), a6("ff02::77"))
    lines = wire.net.proc["net/igmp6"]().splitlines()
    assert lines[:2] == [
        "1    lo              ff020000000000000000000000000001     1 0000000C 0",
        "1    lo              ff010000000000000000000000000001     1 00000008 0",
    ]
    assert "2    w0              ff020000000000000000000000000077     1 00000004 0" in lines


def test_who_wants_to_know_of_addresses(wire: Wire6) -> None:
    heard: list[tuple[int, bytes]] = []

    def callback(event: int, ifa: Inet6Ifaddr) -> None:
        heard.append((event, ifa.address))

    addrconf.addrconf_of(wire.inet6).chain.register(callback)
    wire.add("2001:db8::7/64")
    wire.call(addrconf.del_address, wire.inet6, wire.dev(), a6("2001:db8::7"))
    assert heard == [(NETDEV_UP, a6("2001:db8::7")), (NETDEV_DOWN, a6("2001:db8::7"))]
