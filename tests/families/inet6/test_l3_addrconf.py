"""Addresses of devices: what they get, what an address brings, duplicate address detection (RFC 4862 5.3, 5.4)."""

from __future__ import annotations

import errno

import pytest
from support.devices import make
from support.inet6_hosts import PEER_MAC, Ether6, Lab6, Wire6, a6, parsed

from pysock.core.device import dev_close, dev_open, dev_set_mtu, register_netdev, unregister_netdev
from pysock.families.inet6 import addrconf, route
from pysock.families.inet6.addr import solicited_node
from pysock.families.inet6.devconf import (
    IFA_F_DADFAILED,
    IFA_F_NODAD,
    IFA_F_PERMANENT,
    IFA_F_TENTATIVE,
    address_on,
    find_address,
    idev_of,
    is_member,
)
from pysock.wire import icmpv6, ipv6
from pysock.wire.icmpv6 import NEIGHBOUR_ADVERT, NEIGHBOUR_SOLICIT


def flags_of(host: Wire6, text: str) -> int:
    ifa = address_on(host.dev(), a6(text))
    assert ifa is not None
    return ifa.flags


def probes(packets: list[bytes]) -> list[bytes]:
    """The targets of the solicitations for duplicates among ``packets``."""
    found = []
    for packet in packets:
        header, _, protocol, message = parsed(packet)
        if protocol == 58 and message[0] == NEIGHBOUR_SOLICIT and header.src == bytes(16):
            assert header.dst == solicited_node(message[8:24])
            assert header.hop_limit == 255
            found.append(message[8:24])
    return found


@pytest.fixture
def ether() -> Ether6:
    return Ether6()


def test_loopback_has_one_at_boot(lab: Lab6) -> None:
    host = lab.host()
    assert host.net.proc["net/if_inet6"]() == "00000000000000000000000000000001 01 80 10 80       lo\n"
    host.ping(a6("::1"), b"data")
    assert host.replies == [b"data"]
    lo = host.dev("lo")
    host.call(dev_close, lo)
    assert host.net.proc["net/if_inet6"]() == ""
    host.call(dev_open, lo)
    host.ping(a6("::1"), b"again")
    assert host.replies == [b"data", b"again"]


def test_a_device_gets_a_link_local_address(wire: Wire6) -> None:
    text = wire.net.proc["net/if_inet6"]().splitlines()
    assert text[1:] == [
        "20010db8000000000000000000000001 02 40 00 80       w0",
        "fe80000000000000000000fffe000001 02 40 20 80       w0",
    ]


@pytest.mark.parametrize(
    ("address", "dev", "number"),
    [
        ("2001:db8::1/64", "w0", errno.EEXIST),
        ("2001:db8::9/129", "w0", errno.EINVAL),
        ("::/64", "w0", errno.EADDRNOTAVAIL),
        ("ff02::1/64", "w0", errno.EADDRNOTAVAIL),
        ("::1/128", "w0", errno.EADDRNOTAVAIL),
    ],
)
def test_addresses_that_cannot_be(wire: Wire6, address: str, dev: str, number: int) -> None:
    with pytest.raises(OSError) as caught:
        wire.add(address, dev)
    assert caught.value.errno == number


def test_the_connected_route_goes_with_the_last_address(wire: Wire6) -> None:
    wire.add("2001:db8::7/64")
    wire.call(addrconf.del_address, wire.inet6, wire.dev(), a6("2001:db8::1"))
    assert wire.call(route.output, wire.inet6, a6("2001:db8::9")).saddr == a6("2001:db8::7")
    wire.call(addrconf.del_address, wire.inet6, wire.dev(), a6("2001:db8::7"))
    with pytest.raises(OSError, match="unreachable"):
        wire.call(route.output, wire.inet6, a6("2001:db8::9"))
    with pytest.raises(OSError) as caught:
        wire.call(addrconf.del_address, wire.inet6, wire.dev(), a6("2001:db8::7"))
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_device_that_goes_down_loses_its_addresses(wire: Wire6) -> None:
    wire.call(dev_close, wire.dev())
    assert find_address(wire.net, a6("2001:db8::1")) is None
    wire.call(dev_open, wire.dev())
    assert find_address(wire.net, wire.linklocal()) is not None
    assert find_address(wire.net, a6("2001:db8::1")) is None


def test_a_device_that_goes_away_leaves_nothing(ether: Ether6) -> None:
    names = ether.net.sysctl.names("net.ipv6.conf")
    assert "net.ipv6.conf.w0.mtu" not in names
    assert "net.ipv6.conf.w0.hop_limit" in names
    ether.add("2001:db8::5/64")
    ether.call(unregister_netdev, ether.w0)
    assert not [entry for entry in ether.inet6.fib6.entries() if entry.dev is ether.w0]
    assert not [name for name in ether.net.sysctl.names("net.ipv6.conf") if ".w0." in name]
    ether.lab.settle(10)
    assert ether.log == []


def test_too_small_an_mtu_is_no_ipv6(wire: Wire6) -> None:
    wire.call(dev_set_mtu, wire.dev(), 1279)
    assert idev_of(wire.dev()) is None
    wire.call(dev_set_mtu, wire.dev(), 1400)
    assert wire.call(route.output, wire.inet6, a6("fe80::9")).mtu == 1400


def test_settings_of_all_and_default(lab: Lab6) -> None:
    host = lab.host()
    host.sysctl("net.ipv6.conf.default.dad_transmits", 3)
    a, _ = lab.cable(host, lab.host())
    idev = idev_of(a)
    assert idev is not None
    assert idev.conf.dad_transmits == 3
    assert host.net.sysctl.get("net.ipv6.conf.eth0.dad_transmits") == 3
    host.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    lab.settle()
    assert host.net.proc["net/if_inet6"]() == ""
    host.sysctl("net.ipv6.conf.all.disable_ipv6", 0)
    lab.settle()
    assert host.net.proc["net/if_inet6"]().count("\n") == 2
    with pytest.raises(OSError, match="Invalid"):
        host.sysctl("net.ipv6.conf.eth0.hop_limit", 256)


def test_hop_limit_of_a_device(wire: Wire6) -> None:
    wire.sysctl("net.ipv6.conf.w0.hop_limit", 7)
    wire.send(a6("2001:db8::9"), b"x")
    assert parsed(wire.sent()[0])[0].hop_limit == 7


# --- duplicate address detection ----------------------------------------------------------------------------------


def test_an_address_is_tentative_at_first(ether: Ether6) -> None:
    ether.add("2001:db8::5/64")
    assert flags_of(ether, "2001:db8::5") == IFA_F_PERMANENT | IFA_F_TENTATIVE
    assert is_member(ether.dev(), solicited_node(a6("2001:db8::5")))
    assert find_address(ether.net, a6("2001:db8::5")) is None
    ether.listen()
    ether.inject(ipv6.build(a6("2001:db8::9"), a6("2001:db8::5"), 200, b"x"))
    assert ether.got == []
    ether.lab.settle(2.1)
    assert probes(ether.sent()) == [a6("2001:db8::5")]
    assert flags_of(ether, "2001:db8::5") == IFA_F_PERMANENT
    ether.inject(ipv6.build(a6("2001:db8::9"), a6("2001:db8::5"), 200, b"x"))
    assert ether.got == [b"x"]


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (3, 3)])
def test_as_many_probes_as_are_set(ether: Ether6, count: int, expected: int) -> None:
    ether.sysctl("net.ipv6.conf.w0.dad_transmits", count)
    ether.add("2001:db8::5/64")
    ether.lab.settle(5)
    assert len(probes(ether.sent())) == expected
    assert flags_of(ether, "2001:db8::5") == IFA_F_PERMANENT


def test_it_can_be_left_out(ether: Ether6) -> None:
    ether.add("2001:db8::5/64", flags=IFA_F_PERMANENT | IFA_F_NODAD)
    ether.sysctl("net.ipv6.conf.w0.accept_dad", 0)
    ether.add("2001:db8::6/64")
    for text in ("2001:db8::5", "2001:db8::6"):
        assert find_address(ether.net, a6(text)) is not None


def spoil_by_answer(ether: Ether6) -> None:
    ether.hears(NEIGHBOUR_ADVERT, "2001:db8::5", a6("2001:db8::5"), a6("ff02::1"),
                icmpv6.build_option(2, PEER_MAC), icmpv6.NA_OVERRIDE)  # fmt: skip


def spoil_by_probe(ether: Ether6) -> None:
    ether.hears(NEIGHBOUR_SOLICIT, "2001:db8::5", bytes(16), solicited_node(a6("2001:db8::5")))


@pytest.mark.parametrize("spoil", [spoil_by_answer, spoil_by_probe])
@pytest.mark.parametrize("permanent", [True, False])
def test_a_duplicate(ether: Ether6, spoil: object, permanent: bool) -> None:
    ether.add("2001:db8::5/64", flags=IFA_F_PERMANENT if permanent else 0)
    ether.lab.settle(0.5)
    spoil(ether)  # type: ignore[operator]
    assert "duplicate IPv6 address 2001:db8::5" in ether.log[0]
    ether.lab.settle(5)
    assert find_address(ether.net, a6("2001:db8::5")) is None
    ifa = address_on(ether.dev(), a6("2001:db8::5"))
    assert (ifa is not None) == permanent
    if ifa is not None:
        assert ifa.flags & IFA_F_DADFAILED


def test_our_own_probe_that_comes_back_is_no_duplicate(ether: Ether6) -> None:
    """RFC 7527: it has our nonce."""
    ether.add("2001:db8::5/64")
    ether.lab.settle(1.05)
    (packet,) = [packet for packet in ether.sent() if probes([packet])]
    ether.inject(packet)
    ether.lab.settle(2)
    assert find_address(ether.net, a6("2001:db8::5")) is not None
    assert ether.log == []


def test_two_hosts_that_want_the_same(lab: Lab6) -> None:
    a, b = lab.host(), lab.host()
    lab.cable(a, b)
    lab.settle()
    a.add("2001:db8::1/64")
    lab.settle()
    b.add("2001:db8::1/64")
    lab.settle()
    assert find_address(a.net, a6("2001:db8::1")) is not None
    assert find_address(b.net, a6("2001:db8::1")) is None
    assert lab.log == ["pysock: eth0: duplicate IPv6 address 2001:db8::1 detected"]
    lab.log.clear()


def test_a_duplicate_link_local_address_can_end_ipv6(wire: Wire6) -> None:
    dev = make(wire.kernel, "w1")
    register_netdev(dev)
    wire.sysctl("net.ipv6.conf.w1.accept_dad", 2)
    wire.call(dev_open, dev)
    target = "fe80::ff:fe00:1"
    body = icmpv6.build_neighbour(NEIGHBOUR_ADVERT, a6(target), 0, addresses=(a6(target), a6("ff02::1")))
    wire.inject(ipv6.build(a6(target), a6("ff02::1"), 58, body, hop_limit=255), dev)
    idev = idev_of(dev)
    assert idev is not None
    assert (idev.conf.disable_ipv6, idev.addresses) == (1, [])
    wire.log.clear()
