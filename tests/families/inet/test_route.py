"""Routes in use: which device, which source, which header; whose a received datagram is (RFC 1122 3.3.1)."""

from __future__ import annotations

import errno

import pytest
from support.devices import make, ops_of
from support.dgram_api import Host, Ours, fails

from pysock.core.device import dev_close, dev_open, register_netdev
from pysock.families.inet import route
from pysock.families.inet.devinet import add_address
from pysock.families.inet.fib import (
    RTN_BLACKHOLE,
    RTN_BROADCAST,
    RTN_LOCAL,
    RTN_MULTICAST,
    RTN_PROHIBIT,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    FibEntry,
)
from pysock.uapi.if_ import IFF_NOARP
from pysock.wire.addr import inet_aton as a

ME, PEER = a("10.0.0.1"), a("10.0.0.2")
LO = a("127.0.0.1")
ANY = bytes(4)


def test_to_ourselves_is_through_loopback(host: Host) -> None:
    for daddr, saddr in (("127.0.0.1", LO), ("127.9.9.9", LO), ("10.0.0.1", ME), ("0.0.0.0", LO)):
        rt = route.output(host.inet, a(daddr))
        assert (rt.type, rt.dev.name, rt.saddr, rt.loopback, rt.gateway) == (RTN_LOCAL, "lo", saddr, True, None)
        assert rt.hh == bytes(12) + b"\x08\0"
    assert route.output(host.inet, ANY, ME).daddr == ME
    assert route.output(host.inet, a("127.0.0.1"), a("127.0.0.7")).saddr == a("127.0.0.7")


def test_to_a_neighbour(host: Host) -> None:
    rt = route.output(host.inet, PEER)
    assert (rt.type, rt.dev, rt.saddr, rt.daddr, rt.gateway, rt.mtu) == (RTN_UNICAST, host.dev, ME, PEER, None, 1500)
    assert rt.hh == host.dev.dev_addr * 2 + b"\x08\0"  # NOARP
    assert not rt.loopback


def test_an_unresolved_neighbour_has_no_header(ours: Ours) -> None:
    dev = make(ours.kernel, "arp0")
    register_netdev(dev)
    ours.kernel.enter()
    dev_open(dev)
    add_address(ours.inet, dev, ME, 24)
    ours.kernel.leave()
    assert not dev.flags & IFF_NOARP
    assert route.output(ours.inet, PEER).hh is None
    assert route.output(ours.inet, a("10.0.0.255")).hh == b"\xff" * 6 + dev.dev_addr + b"\x08\0"
    assert ours.sendto(ours.socket(), b"a", ("10.0.0.2", 9)) == 1  # it waits for an answer to this question:
    (asked,) = (frame for frame in ops_of(dev).sent if frame[12:14] == b"\x08\x06")
    assert asked[:12] == b"\xff" * 6 + dev.dev_addr
    assert asked[-4:] == PEER


def test_through_a_gateway(host: Host) -> None:
    host.inet.fib.add(FibEntry(ANY, 0, RTN_UNICAST, host.dev, ME, gateway=PEER))
    rt = route.output(host.inet, a("192.0.2.1"))
    assert (rt.gateway, rt.saddr, rt.dev) == (PEER, ME, host.dev)


@pytest.mark.parametrize(
    ("type", "number"),
    [(RTN_BLACKHOLE, errno.EINVAL), (RTN_UNREACHABLE, errno.EHOSTUNREACH), (RTN_PROHIBIT, errno.EACCES)],
)
def test_routes_that_refuse(host: Host, type: int, number: int) -> None:
    host.inet.fib.add(FibEntry(a("192.0.2.0"), 24, type, None, ANY))
    fails(number, route.output, host.inet, a("192.0.2.1"))


def test_no_route_and_no_such_source(host: Host) -> None:
    fails(errno.ENETUNREACH, route.output, host.inet, a("192.0.2.1"))
    fails(errno.ENETUNREACH, route.output, host.inet, PEER, PEER)
    fails(errno.EINVAL, route.output, host.inet, PEER, LO)
    fails(errno.ENODEV, route.output, host.inet, PEER, ANY, 999)
    host.kernel.init_net.sysctl.set("net.ipv4.ip_nonlocal_bind", True)
    assert route.output(host.inet, PEER, a("192.0.2.9")).saddr == a("192.0.2.9")


def test_a_device_that_is_asked_for_is_taken_to_reach_all(host: Host) -> None:
    """Linux too: without a route through it, the destination is on its link."""
    rt = route.output(host.inet, a("192.0.2.1"), ANY, host.dev.ifindex)
    assert (rt.dev, rt.saddr, rt.gateway) == (host.dev, ME, None)
    assert route.output(host.inet, PEER, ANY, 1).dev.name == "lo"
    host.inet.fib.add(FibEntry(a("192.0.2.0"), 24, RTN_UNICAST, host.dev, ANY, gateway=PEER, metric=5))
    host.inet.fib.add(FibEntry(a("192.0.2.0"), 25, RTN_UNICAST, host.kernel.init_net.loopback_dev, ANY))
    rt = route.output(host.inet, a("192.0.2.1"), ANY, host.dev.ifindex)
    assert (rt.dev, rt.gateway, rt.saddr) == (host.dev, PEER, ME)


def test_a_device_that_is_down(host: Host) -> None:
    lo = host.kernel.init_net.loopback_dev
    assert lo is not None
    for dev, daddr in ((host.dev, PEER), (lo, LO)):
        host.kernel.enter()
        dev_close(dev)
        host.kernel.leave()
        fails(errno.ENETUNREACH, route.output, host.inet, daddr)
        host.kernel.enter()
        dev_open(dev)
        host.kernel.leave()
        route.output(host.inet, daddr)


def test_broadcast_and_multicast(host: Host) -> None:
    index = host.dev.ifindex
    fails(errno.ENETUNREACH, route.output, host.inet, b"\xff" * 4)
    rt = route.output(host.inet, b"\xff" * 4, ANY, index)
    assert (rt.type, rt.dev, rt.saddr) == (RTN_BROADCAST, host.dev, ME)
    assert route.output(host.inet, a("10.0.0.255")).type == RTN_BROADCAST
    assert route.output(host.inet, a("127.255.255.255")).type == RTN_BROADCAST
    for daddr, saddr, oif in (("224.0.0.5", ME, 0), ("239.1.2.3", ANY, index)):
        rt = route.output(host.inet, a(daddr), saddr, oif)
        assert (rt.type, rt.dev, rt.saddr) == (RTN_MULTICAST, host.dev, ME)
    assert route.output(host.inet, a("239.129.2.3"), ME).hh == b"\x01\0\x5e\x01\x02\x03" + host.dev.dev_addr + b"\x08\0"


def test_flows_to_one_place_share_a_route_until_the_table_changes(host: Host) -> None:
    first = route.output(host.inet, PEER)
    assert route.output(host.inet, PEER) is first
    host.inet.fib.add(FibEntry(a("192.0.2.0"), 24, RTN_UNICAST, host.dev, ME))
    second = route.output(host.inet, PEER)
    assert second is not first
    assert second.generation == host.inet.fib.generation != first.generation


@pytest.mark.parametrize(
    ("saddr", "daddr", "device", "type"),
    [
        ("10.0.0.2", "10.0.0.1", "w0", RTN_LOCAL),
        ("10.0.0.2", "10.0.0.255", "w0", RTN_BROADCAST),
        ("10.0.0.2", "255.255.255.255", "w0", RTN_BROADCAST),
        ("10.0.0.2", "224.0.0.1", "w0", RTN_MULTICAST),
        ("10.0.0.2", "10.0.0.3", "w0", RTN_UNICAST),
        ("10.0.0.2", "192.0.2.1", "w0", route.NO_ROUTE),
        ("127.0.0.1", "127.0.0.1", "lo", RTN_LOCAL),
        ("127.0.0.1", "10.0.0.1", "w0", 0),  # martians, RFC 1812 5.3.7
        ("10.0.0.2", "127.0.0.1", "w0", 0),
        ("224.0.0.1", "10.0.0.1", "w0", 0),
        ("255.255.255.255", "10.0.0.1", "w0", 0),
        ("10.0.0.255", "10.0.0.1", "w0", 0),
        ("10.0.0.1", "10.0.0.1", "w0", 0),  # our own address from outside
        ("10.0.0.1", "10.0.0.1", "lo", RTN_LOCAL),
        ("0.0.0.0", "10.0.0.1", "w0", 0),
        ("0.0.0.0", "255.255.255.255", "w0", RTN_BROADCAST),  # DHCP
        ("0.0.0.0", "224.0.0.22", "w0", RTN_MULTICAST),  # IGMP
        ("0.0.0.0", "239.1.2.3", "w0", 0),
    ],
)
def test_whose_a_received_datagram_is(host: Host, saddr: str, daddr: str, device: str, type: int) -> None:
    dev = host.kernel.init_net.dev_by_name[device]
    assert route.input_type(host.inet, a(saddr), a(daddr), dev) == type
