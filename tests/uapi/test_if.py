"""struct ifreq, and the small address predicates."""

from __future__ import annotations

import fcntl
import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.uapi import if_, in6, in_, ioctl

NAMES = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=15)


@given(NAMES, st.binary(max_size=24))
def test_ifreq_round_trip(name: str, data: bytes) -> None:
    raw = if_.pack_ifreq(name, data)
    assert len(raw) == if_.IFREQ_SIZE == if_.IFREQ.size
    assert if_.unpack_ifreq(raw) == (name, data.ljust(24, b"\0"))


def test_a_short_ifreq_is_padded() -> None:
    assert if_.unpack_ifreq(b"lo".ljust(16, b"\0") + b"\1\0\0\0") == ("lo", b"\1" + bytes(23))


@pytest.mark.parametrize("name", ["x" * 16, "a\0b", "é" * 8])
def test_names_that_do_not_fit(name: str) -> None:
    with pytest.raises(ValueError, match="at most 15 bytes"):
        if_.pack_ifname(name)


def test_ifreq_refusals() -> None:
    with pytest.raises(ValueError, match="24 bytes"):
        if_.pack_ifreq("lo", bytes(25))
    with pytest.raises(ValueError, match="at least 16"):
        if_.unpack_ifreq(b"lo")


def test_the_kernel_answers_our_ifreq() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        raw = fcntl.ioctl(sock, ioctl.SIOCGIFFLAGS, if_.pack_ifreq("lo"))
    name, data = if_.unpack_ifreq(raw)
    assert name == "lo"
    assert if_.IFREQ_SHORT.unpack_from(data)[0] & if_.IFF_LOOPBACK


@given(st.integers(0, 2**32 - 1))
def test_v4_predicates(value: int) -> None:
    address = ipaddress.IPv4Address(value)
    assert in_.in_loopback(value) == address.is_loopback
    assert in_.in_multicast(value) == address.is_multicast
    assert in_.in_badclass(value) == (address in ipaddress.ip_network("240.0.0.0/4"))
    assert in_.in_zeronet(value) == (address in ipaddress.ip_network("0.0.0.0/8"))
    assert in_.in_local_multicast(value) == (address in ipaddress.ip_network("224.0.0.0/24"))


@pytest.mark.parametrize("text", ["127.0.0.1", "224.0.0.1", "224.0.1.1", "0.1.2.3", "255.255.255.255", "10.0.0.1"])
def test_v4_predicates_on_examples(text: str) -> None:
    test_v4_predicates.hypothesis.inner_test(int(ipaddress.IPv4Address(text)))


@pytest.mark.parametrize(
    "text", ["::", "::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "::ffff:1.2.3.4", "2001:db8::1"]
)
def test_v6_predicates(text: str) -> None:
    address = ipaddress.IPv6Address(text)
    assert in6.in6_is_multicast(address.packed) == address.is_multicast
    assert in6.in6_is_linklocal(address.packed) == address.is_link_local
    assert in6.in6_is_v4mapped(address.packed) == (address.ipv4_mapped is not None)
