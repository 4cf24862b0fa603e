"""Source address selection: the rules and the examples of RFC 6724 (section 5, 10.1)."""

from __future__ import annotations

import errno

import pytest
from support.inet6_hosts import Wire6, a6

from pysock.families.inet6 import addrconf, route, source
from pysock.families.inet6.addr import ANY6
from pysock.families.inet6.devconf import (
    IFA_F_DEPRECATED,
    IFA_F_HOMEADDRESS,
    IFA_F_NODAD,
    IFA_F_PERMANENT,
    IFA_F_TEMPORARY,
    IFA_F_TENTATIVE,
    address_on,
)

TMP, PUBLIC = source.IPV6_PREFER_SRC_TMP, source.IPV6_PREFER_SRC_PUBLIC


def with_addresses(wire: Wire6, *texts: str) -> None:
    """w0 has these and no others, the first one first in its scope."""
    dev = wire.dev()
    idev = addrconf.idev_of(dev)
    assert idev is not None
    for ifa in list(idev.addresses):
        wire.call(addrconf.del_address, wire.inet6, dev, ifa.address)
    for text in reversed(texts):
        host, _, flags = text.partition(" ")
        extra = {"": 0, "tmp": IFA_F_TEMPORARY, "old": IFA_F_DEPRECATED, "home": IFA_F_HOMEADDRESS}[flags]
        wire.add(f"{host}/64", flags=IFA_F_PERMANENT | IFA_F_NODAD | extra)


def chosen(wire: Wire6, destination: str, prefs: int = 0) -> bytes:
    return wire.call(source.select, wire.inet6, wire.dev(), a6(destination), prefs)


@pytest.mark.parametrize(
    ("destination", "addresses", "expected"),
    [
        # RFC 6724 10.1
        ("2001:db8:1::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
        ("ff05::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
        ("2001:db8:1::1", ["2001:db8:1::1 old", "2001:db8:2::1"], "2001:db8:1::1"),
        ("fe80::1", ["fe80::2 old", "2001:db8:1::1"], "fe80::2"),
        ("2001:db8:1::1", ["2001:db8:1::2", "2001:db8:3::2"], "2001:db8:1::2"),
        ("2001:db8:1::1", ["2001:db8:3::2", "2001:db8:1::2 home"], "2001:db8:1::2"),
        ("2002:c633:6401::1", ["2002:c633:6401:1::2", "2001:db8:1::2"], "2002:c633:6401:1::2"),
        # rule by rule
        ("2001:db8:9::1", ["2001:db8:9::5 old", "fd00::1"], "fd00::1"),  # 3 before 6 and 8
        ("fd00::9", ["2001:db8:9::5", "fd00:1::1"], "fd00:1::1"),  # 6
        ("2001:db8:9::1", ["2001:db8:7::5", "2001:db8:9::5 tmp"], "2001:db8:7::5"),  # 7 before 8
        ("2001:db8:9::1", ["2001:db8:7::5", "2001:db8:7::6"], "2001:db8:7::5"),  # a tie: the first
    ],
)
def test_examples(wire: Wire6, destination: str, addresses: list[str], expected: str) -> None:
    with_addresses(wire, *addresses)
    assert chosen(wire, destination) == a6(expected)


def test_preferences_turn_rule_7(wire: Wire6) -> None:
    with_addresses(wire, "2001:db8:9::5", "2001:db8:9::6 tmp")
    assert chosen(wire, "2001:db8:9::1", TMP) == a6("2001:db8:9::6")
    assert chosen(wire, "2001:db8:9::1", PUBLIC) == a6("2001:db8:9::5")
    wire.sysctl("net.ipv6.conf.w0.use_tempaddr", 2)
    assert chosen(wire, "2001:db8:9::1") == a6("2001:db8:9::6")
    assert chosen(wire, "2001:db8:9::1", PUBLIC) == a6("2001:db8:9::5")


def test_routes_carry_the_preferences(wire: Wire6) -> None:
    with_addresses(wire, "2001:db8:9::5", "2001:db8:9::6 tmp")
    found = [wire.call(route.output, wire.inet6, a6("2001:db8:9::1"), ANY6, 0, prefs).saddr for prefs in (0, TMP)]
    assert found == [a6("2001:db8:9::5"), a6("2001:db8:9::6")]


def test_the_outgoing_device_counts_before_the_label(wire: Wire6) -> None:
    with_addresses(wire, "fd00::1")
    assert chosen(wire, "2001:db8::9") == a6("fd00::1")  # ::1 has too small a scope, and is elsewhere


def test_link_local_destinations_get_addresses_of_the_device(wire: Wire6) -> None:
    with_addresses(wire)
    with pytest.raises(OSError) as caught:
        chosen(wire, "fe80::9")
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_tentative_addresses_are_no_candidates(wire: Wire6) -> None:
    with_addresses(wire, "2001:db8:9::5", "2001:db8:9::6")
    ifa = address_on(wire.dev(), a6("2001:db8:9::5"))
    assert ifa is not None
    ifa.flags |= IFA_F_TENTATIVE
    assert chosen(wire, "2001:db8:9::5") == a6("2001:db8:9::6")


@pytest.mark.parametrize(
    ("text", "label"),
    [("::1", 0), ("2001:db8::1", 1), ("2002::1", 2), ("::7.7.7.7", 3), ("::ffff:1.2.3.4", 4), ("fd12::1", 5),
     ("2001::1", 6), ("2001:10::1", 7), ("fec0::1", 11), ("3ffe::1", 12), ("ff02::1", 1)],
)  # fmt: skip
def test_labels(text: str, label: int) -> None:
    assert source.label_of(a6(text)) == label
