"""Forwarding (RFC 8200 3, RFC 4443): what a router sends on, and what it says when it does not."""

from __future__ import annotations

import pytest
from support.inet6_hosts import Host6, Lab6, Wire6, a6, parsed

from pysock.families.inet.fib import RTN_UNICAST
from pysock.families.inet6 import route
from pysock.families.inet6.addr import ANY6
from pysock.families.inet6.fib6 import Fib6Entry
from pysock.wire import icmpv6, ipv6

NEAR = a6("2001:db7::5")  # behind a router on the link
HERE = a6("2001:db8::5")
FAR = a6("2001:db9::5")


@pytest.fixture
def wire(wire: Wire6) -> Wire6:
    wire.sysctl("net.ipv6.conf.all.forwarding", 1)
    wire.add("2001:db9::1/64")
    gateway(wire, "2001:db7::", "fe80::77", "w0")
    wire.lab.settle(10)
    wire.sent()
    return wire


def error(wire: Wire6) -> tuple[int, int, int]:
    (packet,) = wire.sent()
    found = icmpv6.parse(parsed(packet)[3])
    return found.type, found.code, found.rest


@pytest.mark.parametrize("wrap", [bytes, bytearray])
def test_one_hop_less(wire: Wire6, wrap: type) -> None:
    packet = ipv6.build(NEAR, FAR, 200, b"payload", hop_limit=9)
    wire.inject(wrap(packet))
    assert wire.sent() == [packet[:7] + b"\x08" + packet[8:]]
    assert wire.counted()["Ip6OutForwDatagrams"] == 1


def test_the_last_hop(wire: Wire6) -> None:
    wire.inject(ipv6.build(NEAR, FAR, 200, b"x", hop_limit=1))
    assert error(wire) == (icmpv6.TIME_EXCEED, 0, 0)
    assert wire.counted()["Ip6InHdrErrors"] == 1


def test_too_big(wire: Wire6) -> None:
    wire.inject(ipv6.build(NEAR, FAR, 200, bytes(1461)))
    assert error(wire) == (icmpv6.PKT_TOOBIG, 0, 1500)
    assert wire.counted()["Ip6InTooBigErrors"] == 1


@pytest.mark.parametrize("src", [ANY6, a6("fe80::9")])
def test_sources_that_stay_on_their_link(wire: Wire6, src: bytes) -> None:
    wire.inject(ipv6.build(src, FAR, 200, b"x"))
    if src == ANY6:
        assert wire.counted()["Ip6InAddrErrors"] == 1
        assert wire.sent() == []
    else:
        assert len([packet for packet in wire.sent() if packet[6] == 200]) == 1  # it leaves where it came in


def gateway(host: Host6, prefix: str, via: str, dev: str = "eth0") -> None:
    host.call(host.inet6.fib6.add, Fib6Entry(a6(prefix), 64, RTN_UNICAST, host.dev(dev), a6(via)))


def test_path_mtu_discovery_across_a_router(lab: Lab6) -> None:
    a, router, b = lab.host(), lab.host(), lab.host()
    lab.cable(a, router)
    lab.cable(router, b, mtu=1300)
    for host, dev, address in (
        (a, "eth0", "2001:db8::5/64"),
        (router, "eth0", "2001:db8::1/64"),
        (router, "eth1", "2001:db9::1/64"),
        (b, "eth0", "2001:db9::5/64"),
    ):
        host.add(address, dev, 0x82)
    router.sysctl("net.ipv6.conf.all.forwarding", 1)
    gateway(a, "2001:db9::", "2001:db8::1")
    gateway(b, "2001:db8::", "2001:db9::1")
    lab.settle(10)
    b.listen()
    a.listen()
    a.send(FAR, bytes(1400))
    lab.settle(1)
    assert (b.got, a.errors) == ([], [(icmpv6.PKT_TOOBIG, 0, 1300)])
    assert a.call(route.output, a.inet6, FAR).mtu == 1300
    a.send(FAR, bytes(1400))
    lab.settle(1)
    assert [len(data) for data in b.got] == [1400]
    a.ping(FAR, b"there and back")
    lab.settle(1)
    assert a.replies == [b"there and back"]


# --- redirects --------------------------------------------------------------------------------------------------------


def redirects(wire: Wire6, src: bytes = HERE, dst: bytes = FAR, size: int = 100) -> list[tuple[bytes, bytes]]:
    """What ``src`` is told when it sends to ``dst``: (target, destination)."""
    packet = ipv6.build(src, dst, 200, bytes(size), hop_limit=9)
    wire.inject(packet)
    found = []
    for sent in wire.sent():
        header, _, protocol, message = parsed(sent)
        if protocol == 58 and message[0] == icmpv6.REDIRECT:
            assert (header.src, header.dst, header.hop_limit) == (wire.linklocal(), src, 255)
            assert icmpv6.verify(message, header.src, header.dst)
            options = icmpv6.walk_options(message[40:])
            (quoted,) = (data for kind, data in options if kind == icmpv6.OPT_REDIRECTED)
            assert quoted[6:] == packet[: len(quoted) - 6]
            assert len(sent) <= 1280
            found.append((message[8:24], message[24:40]))
    return found


def test_a_neighbour_is_told_of_a_neighbour(wire: Wire6) -> None:
    assert redirects(wire) == [(FAR, FAR)]
    assert redirects(wire, dst=a6("2001:db9::6"), size=1400) == [(a6("2001:db9::6"), a6("2001:db9::6"))]
    assert wire.counted()["Icmp6OutRedirects"] == 2


def test_a_neighbour_is_told_of_a_better_router(wire: Wire6) -> None:
    assert redirects(wire, dst=NEAR) == [(a6("fe80::77"), NEAR)]


def test_who_is_not_redirected(wire: Wire6) -> None:
    assert redirects(wire, src=NEAR) == []  # it came from another router
    gateway(wire, "2001:dba::", "2001:db8::9", "w0")
    assert redirects(wire, dst=a6("2001:dba::1")) == []  # a redirect names a router by its link-local address


def test_redirects_are_limited(wire: Wire6) -> None:
    """Six at once, then one a second, for a destination and for a sender."""
    assert sum(len(redirects(wire)) for _ in range(50)) == 6
    assert redirects(wire, dst=a6("2001:db9::6")) == []
    wire.lab.settle(1)
    assert len(redirects(wire) + redirects(wire)) == 1
    other = a6("2001:db8::6")
    assert len(redirects(wire, other, a6("2001:db9::6"))) == 1
