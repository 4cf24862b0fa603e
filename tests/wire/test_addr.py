"""Addresses as text and bytes."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import addr


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16), st.binary(min_size=6, max_size=6))
def test_round_trips(v4: bytes, v6: bytes, mac: bytes) -> None:
    assert addr.inet_ntoa(v4) == str(ipaddress.IPv4Address(v4)) == addr.ip_ntoa(v4)
    assert addr.inet_aton(addr.inet_ntoa(v4)) == v4
    assert ipaddress.IPv6Address(addr.inet6_ntoa(v6)).packed == v6
    assert addr.inet6_aton(addr.inet6_ntoa(v6)) == addr.inet6_aton(addr.ip_ntoa(v6)) == v6
    assert addr.mac_aton(addr.mac_ntoa(mac)) == addr.mac_aton(addr.mac_ntoa(mac).upper().replace(":", "-")) == mac


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.0.0.1", "0x7f.1", "localhost", "1.2.3.4 ", "::1", "1.2.3.4\0"]
)
def test_not_ipv4(text: str) -> None:
    with pytest.raises(ValueError, match="not an IPv4 address"):
        addr.inet_aton(text)


@pytest.mark.parametrize("text", ["", "1.2.3.4", ":::", "::1%lo", "1::2::3", "12345::", "::1\0"])
def test_not_ipv6(text: str) -> None:
    with pytest.raises(ValueError, match="not an IPv6 address"):
        addr.inet6_aton(text)


@pytest.mark.parametrize(
    "text", ["", "00:11:22:33:44", "00:11:22:33:44:5", "00:11:22:33:44:gg", "0:1:2:3:4:5", "00:11:22:33:44:+5"]
)
def test_not_a_mac(text: str) -> None:
    with pytest.raises(ValueError, match="not a MAC address"):
        addr.mac_aton(text)


@pytest.mark.parametrize("packed", [b"", b"123", b"12345"])
def test_wrong_length(packed: bytes) -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        addr.inet_ntoa(packed)
    with pytest.raises(ValueError, match="16 bytes"):
        addr.inet6_ntoa(packed)


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    for parse, length in ((addr.inet_aton, 4), (addr.inet6_aton, 16), (addr.mac_aton, 6)):
        try:
            packed = parse(text)
        except ValueError:
            continue
        assert len(packed) == length
