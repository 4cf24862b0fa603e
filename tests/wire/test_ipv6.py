"""IPv6 headers and the chain of extension headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import ipv6
from pysock.wire.addr import inet6_aton
from pysock.wire.errors import Malformed

A, B = inet6_aton("fe80::1"), inet6_aton("fe80::2")
ADDR = st.binary(min_size=16, max_size=16)
U8 = st.integers(0, 255)


def test_bytes() -> None:
    packet = ipv6.build(A, B, 58, b"abc", traffic_class=0xAB, flow_label=0xCDEF1, hop_limit=255)
    assert packet == bytes.fromhex("6abcdef1 0003 3a ff") + A + B + b"abc"


@given(ADDR, ADDR, U8, st.binary(max_size=40), U8, st.integers(0, 0xFFFFF), U8)
def test_round_trip(src: bytes, dst: bytes, proto: int, payload: bytes, tclass: int, label: int, hops: int) -> None:
    packet = ipv6.build(src, dst, proto, payload, traffic_class=tclass, flow_label=label, hop_limit=hops)
    assert ipv6.parse(packet) == ipv6.Ipv6Header(tclass, label, len(payload), proto, hops, src, dst)


@given(st.binary(max_size=80), st.booleans(), st.integers(-2, 90))
def test_any_bytes_parse_or_are_malformed(raw: bytes, partial: bool, offset: int) -> None:
    try:
        header = ipv6.parse(raw, offset, partial=partial)
    except Malformed:
        return
    assert " > " in ipv6.describe(header)


@given(st.sampled_from([0, 43, 44, 51, 60, 6, 59]), st.binary(max_size=80))
def test_any_chain_walks_or_is_malformed(first: int, raw: bytes) -> None:
    try:
        extensions, _, offset = ipv6.walk(first, raw)
    except Malformed:
        return
    assert offset == sum(extension.size for extension in extensions) <= len(raw)
    for extension in extensions:
        assert ipv6.describe_extension(extension)


@given(st.binary(max_size=60))
def test_any_options_walk_or_are_malformed(raw: bytes) -> None:
    try:
        options = ipv6.walk_options(raw)
    except Malformed:
        return
    assert all(kind not in (ipv6.OPT_PAD1, ipv6.OPT_PADN) for kind, _ in options)


@given(U8, st.lists(st.tuples(st.integers(2, 255), st.binary(max_size=20)), max_size=5))
def test_options_round_trip(following: int, options: list[tuple[int, bytes]]) -> None:
    raw = ipv6.build_options(following, options)
    assert len(raw) % 8 == 0
    extensions, protocol, offset = ipv6.walk(60, raw + b"\x3b\0" * 20)
    assert extensions[0].next_header == following
    assert ipv6.walk_options(extensions[0].body) == options
    assert (protocol, offset) == (following, len(raw)) or following in ipv6.EXTENSION_NAMES


def test_a_chain() -> None:
    hop = ipv6.build_options(44, [(ipv6.OPT_ROUTER_ALERT, b"\0\0")])
    fragment = ipv6.build_fragment(17, 0, True, 0xDEADBEEF)
    extensions, protocol, offset = ipv6.walk(0, b"xx" + hop + fragment + b"data", 2)
    assert [e.kind for e in extensions] == [0, 44]
    assert (protocol, offset) == (17, 18)
    assert (extensions[1].fragment, extensions[1].more, extensions[1].ident) == (0, True, 0xDEADBEEF)
    assert (extensions[0].fragment, extensions[0].more, extensions[0].ident) == (0, False, 0)
    assert ipv6.describe_extension(extensions[0]) == "HBH"
    assert ipv6.describe_extension(extensions[1]) == "frag (0xdeadbeef:0+)"


NO_EXTENSION = U8.filter(lambda number: number not in ipv6.EXTENSION_NAMES)


@given(NO_EXTENSION, st.integers(0, 8191), st.booleans(), st.integers(0, 2**32 - 1))
def test_fragment_round_trip(following: int, units: int, more: bool, ident: int) -> None:
    extension = ipv6.walk(44, ipv6.build_fragment(following, units * 8, more, ident))[0][0]
    assert (extension.next_header, extension.fragment, extension.more, extension.ident) == (
        following, units * 8, more, ident,
    )  # fmt: skip


def test_a_later_fragment_ends_the_walk() -> None:
    extensions, protocol, offset = ipv6.walk(44, ipv6.build_fragment(60, 8, False, 1) + b"not a header")
    assert (len(extensions), protocol, offset) == (1, 60, 8)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [(0, b""), (0, bytes(7)), (60, b"\x3b\x01" + bytes(8)), (51, b"\x3b\x04" + bytes(10)), (51, b"\x3b\0" + bytes(6))],
)
def test_bad_chains(kind: int, raw: bytes) -> None:
    if kind == 51 and raw[1] == 0:
        assert ipv6.walk(kind, raw)[2] == 8  # the shortest authentication header there can be
        return
    with pytest.raises(Malformed, match="truncated"):
        ipv6.walk(kind, raw)


def test_contradictions_and_refusals() -> None:
    packet = ipv6.build(A, B, 59, b"12")
    with pytest.raises(Malformed, match="exceeds"):
        ipv6.parse(packet[:-1])
    assert ipv6.parse(packet[:-1], partial=True).payload_length == 2
    with pytest.raises(Malformed, match="version 4"):
        ipv6.parse(b"\x45" + packet[1:])
    with pytest.raises(Malformed, match="truncated"):
        ipv6.parse(packet[:39], partial=True)
    with pytest.raises(ValueError, match="multiple of 8"):
        ipv6.build_fragment(17, 4, False, 0)
    with pytest.raises(ValueError, match="payload length"):
        ipv6.build(A, B, 59, bytes(65536))


def test_describe() -> None:
    assert ipv6.describe(ipv6.parse(ipv6.build(A, B, 132, b"1234"))) == "fe80::1 > fe80::2: ip-proto-132 4"
