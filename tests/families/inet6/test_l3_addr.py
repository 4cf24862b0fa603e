"""Addresses: the stdlib's tuples, kinds, scopes, derived addresses (RFC 4291)."""

from __future__ import annotations

import errno
import ipaddress

import pytest
from hypothesis import given, strategies

from pysock.families.inet6 import addr
from pysock.wire.addr import inet6_aton as a


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (("::1", 80), (addr.LOOPBACK6, 80, 0, 0)),
        (("", 0), (addr.ANY6, 0, 0, 0)),
        (("fe80::1", 7, 3), (a("fe80::1"), 7, 3, 0)),
        (("fe80::1%eth0", 7, 0xFFFFF, 2), (a("fe80::1"), 7, 0xFFFFF, 2)),
    ],
)
def test_tuples(given_: tuple[object, ...], expected: tuple[bytes, int, int, int]) -> None:
    assert addr.parse(given_) == expected


@pytest.mark.parametrize(
    ("given_", "error"),
    [
        ("::1", TypeError),
        (("::1",), TypeError),
        (("::1", 1, 2, 3, 4), TypeError),
        (("::1", "80"), TypeError),
        (("::1", 80, None), TypeError),
        (("::1", 65536), OverflowError),
        (("::1", -1), OverflowError),
        (("::1", 1, 0x100000), OverflowError),
        (("127.0.0.1", 1), OSError),
        ((5, 1), OSError),
    ],
)
def test_what_is_no_address(given_: object, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        addr.parse(given_)
    if error is OSError:
        assert caught.value.errno == errno.EINVAL  # type: ignore[attr-defined]


@given(strategies.binary(min_size=16, max_size=16))
def test_text_and_bytes_are_the_same_address(packed: bytes) -> None:
    assert addr.host_bytes(addr.host_text(packed)) == packed


@given(strategies.binary(min_size=16, max_size=16))
def test_kinds_agree_with_ipaddress(packed: bytes) -> None:
    reference = ipaddress.IPv6Address(packed)
    assert addr.is_multicast(packed) == reference.is_multicast
    assert addr.is_linklocal(packed) == reference.is_link_local
    assert addr.is_v4mapped(packed) == (reference.ipv4_mapped is not None)


@given(strategies.binary(min_size=16, max_size=16), strategies.integers(0, 128))
def test_prefixes_agree_with_ipaddress(packed: bytes, plen: int) -> None:
    network = ipaddress.IPv6Network((packed, plen), strict=False)
    assert addr.prefix_of(packed, plen) == network.network_address.packed


@pytest.mark.parametrize(
    ("text", "scope", "needs"),
    [
        ("ff01::1", 1, True),
        ("ff02::1", 2, True),
        ("ff05::1", 5, False),
        ("ff0e::1", 14, False),
        ("fe80::1", 2, True),
        ("fec0::1", 5, False),
        ("::1", 2, False),
        ("2001:db8::1", 14, False),
        ("fc00::1", 14, False),
    ],
)
def test_scopes(text: str, scope: int, needs: bool) -> None:
    assert addr.scope_of(a(text)) == scope
    assert addr.needs_scope(a(text)) == needs


def test_derived_addresses() -> None:
    assert addr.solicited_node(a("2001:db8::aabb:ccdd")) == a("ff02::1:ffbb:ccdd")
    assert addr.hardware_group(a("ff02::1:ffbb:ccdd")) == bytes.fromhex("3333ffbbccdd")
    assert addr.eui64(bytes.fromhex("020000000001")) == bytes.fromhex("000000fffe000001")
    assert addr.common_prefix_len(a("2001:db8::1"), a("2001:db8::2")) == 126
    assert addr.common_prefix_len(a("::1"), a("::1")) == 128
