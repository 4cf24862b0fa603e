"""Addresses of devices, and what happens to them as devices come and go (devinet.c)."""

from __future__ import annotations

import errno

import pytest
from support.devices import make
from support.dgram_api import Host, Ours, fails

from pysock.core.device import dev_close, dev_open, register_netdev, unregister_netdev
from pysock.families.inet.devinet import add_address, del_address, in_device, is_member
from pysock.families.inet.fib import RTN_BROADCAST, RTN_LOCAL, RTN_UNICAST, FibEntry
from pysock.families.inet.net import InetNet
from pysock.wire.addr import inet_aton as a
from pysock.wire.addr import inet_ntoa


def routes(host: Ours, name: str) -> list[str]:
    kinds = {RTN_LOCAL: "local", RTN_BROADCAST: "broadcast", RTN_UNICAST: "unicast"}
    return [
        f"{kinds[e.type]} {inet_ntoa(e.prefix)}/{e.plen} src {inet_ntoa(e.prefsrc)}"
        for e in host.inet.fib.entries()
        if e.dev is not None and e.dev.name == name
    ]


W0 = [
    "local 10.0.0.1/32 src 10.0.0.1",
    "broadcast 10.0.0.255/32 src 10.0.0.1",
    "unicast 10.0.0.0/24 src 10.0.0.1",
]


def down(host: Host) -> None:
    host.kernel.enter()
    dev_close(host.dev)
    host.kernel.leave()


def up(host: Host) -> None:
    host.kernel.enter()
    dev_open(host.dev)
    host.kernel.leave()


def test_loopback_has_its_address_from_the_start(ours: Ours) -> None:
    assert routes(ours, "lo") == [
        "local 127.0.0.1/32 src 127.0.0.1",
        "broadcast 127.255.255.255/32 src 127.0.0.1",
        "local 127.0.0.0/8 src 127.0.0.1",
    ]
    lo = ours.kernel.init_net.loopback_dev
    assert lo is not None
    ours.kernel.enter()
    dev_close(lo)
    dev_open(lo)  # and does not get it twice
    ours.kernel.leave()
    assert len(in_device(lo).addresses) == 1
    assert len(routes(ours, "lo")) == 3


def test_every_namespace_has_its_own(ours: Ours) -> None:
    ours.kernel.enter()
    other = ours.kernel.new_net()
    ours.kernel.leave()
    assert len(other.get(InetNet).fib.entries()) == 3
    assert all(e.dev is other.loopback_dev for e in other.get(InetNet).fib.entries())


def test_an_address_brings_its_routes(host: Host) -> None:
    assert routes(host, "w0") == W0
    (ifa,) = in_device(host.dev).addresses
    assert (ifa.address, ifa.plen, ifa.broadcast, ifa.label) == (a("10.0.0.1"), 24, a("10.0.0.255"), "w0")


@pytest.mark.parametrize(
    ("plen", "expected"),
    [
        (32, ["local 10.9.0.6/32"]),
        (31, ["local 10.9.0.6/32", "unicast 10.9.0.6/31"]),
        (30, ["local 10.9.0.6/32", "broadcast 10.9.0.7/32", "unicast 10.9.0.4/30"]),
    ],
)
def test_prefix_lengths(host: Host, plen: int, expected: list[str]) -> None:
    before = routes(host, "w0")
    add_address(host.inet, host.dev, a("10.9.0.6"), plen)
    new = [r for r in routes(host, "w0") if r not in before]
    assert new == [f"{text} src 10.9.0.6" for text in expected]
    del_address(host.inet, host.dev, a("10.9.0.6"))
    assert routes(host, "w0") == before


def test_addresses_that_cannot_be_added_or_removed(host: Host) -> None:
    for plen in (-1, 33):
        fails(errno.EINVAL, add_address, host.inet, host.dev, a("10.9.0.1"), plen)
    fails(errno.EEXIST, add_address, host.inet, host.dev, a("10.0.0.1"), 24)
    fails(errno.EADDRNOTAVAIL, del_address, host.inet, host.dev, a("10.9.0.1"))
    assert routes(host, "w0") == W0


def test_a_route_that_somebody_added_stays_in_its_place(host: Host) -> None:
    mine = FibEntry(a("10.9.0.0"), 24, RTN_UNICAST, host.dev, a("10.0.0.1"))
    host.inet.fib.add(mine)
    add_address(host.inet, host.dev, a("10.9.0.1"), 24)
    assert host.inet.fib.lookup(a("10.9.0.2")) is mine
    del_address(host.inet, host.dev, a("10.9.0.1"))
    assert host.inet.fib.lookup(a("10.9.0.2")) is mine


def test_a_second_address_of_a_network_is_secondary(host: Host) -> None:
    add_address(host.inet, host.dev, a("10.0.0.7"), 24)
    add_address(host.inet, host.dev, a("10.0.0.8"), 16)  # another network
    first, second, third = in_device(host.dev).addresses
    assert [ifa.secondary for ifa in (first, second, third)] == [False, True, False]
    assert [r for r in routes(host, "w0") if "src 10.0.0.7" in r] == ["local 10.0.0.7/32 src 10.0.0.7"]
    del_address(host.inet, host.dev, a("10.0.0.1"))
    assert in_device(host.dev).addresses == [third]  # it went with the first
    assert not [r for r in routes(host, "w0") if "10.0.0.8" not in r]


def test_a_device_that_goes_down_keeps_its_own_address_only(host: Host) -> None:
    host.inet.fib.add(FibEntry(bytes(4), 0, RTN_UNICAST, host.dev, a("10.0.0.1"), gateway=a("10.0.0.2")))
    generation = host.inet.fib.generation
    down(host)
    assert routes(host, "w0") == W0[:1]
    assert host.inet.fib.generation > generation
    up(host)
    assert routes(host, "w0") == W0  # the default route was somebody's, and is gone


def test_an_address_of_a_device_that_is_down(host: Host) -> None:
    down(host)
    add_address(host.inet, host.dev, a("10.9.0.1"), 24)
    assert [r for r in routes(host, "w0") if "10.9" in r] == ["local 10.9.0.1/32 src 10.9.0.1"]
    up(host)
    assert len([r for r in routes(host, "w0") if "10.9" in r]) == 3


def test_a_device_that_goes_takes_all_along(host: Host) -> None:
    host.kernel.enter()
    unregister_netdev(host.dev)
    host.kernel.leave()
    assert routes(host, "w0") == []
    assert "inet" not in host.dev.proto_priv
    fails(errno.EADDRNOTAVAIL, host.bind, host.socket(), ("10.0.0.1", 0))


def test_devices_of_other_namespaces_do_not_matter(ours: Ours) -> None:
    ours.kernel.enter()
    other = ours.kernel.new_net()
    dev = make(ours.kernel, "x0")
    dev.net = other
    register_netdev(dev)
    dev_open(dev)
    ours.kernel.leave()
    add_address(other.get(InetNet), dev, a("10.0.0.1"), 24)
    ours.kernel.enter()
    dev_close(dev)
    ours.kernel.leave()
    assert not [e for e in ours.inet.fib.entries() if e.dev is dev]
    assert [e.type for e in other.get(InetNet).fib.entries() if e.dev is dev] == [RTN_LOCAL]


def test_everybody_is_a_member_of_all_hosts(host: Host) -> None:
    assert is_member(host.dev, a("224.0.0.1"))
    assert not is_member(host.dev, a("224.0.0.2"))
    assert not is_member(make(host.kernel), a("224.0.0.2"))
