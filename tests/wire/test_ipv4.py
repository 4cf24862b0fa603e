"""IPv4 headers, fragments, options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import ipv4
from pysock.wire.addr import inet_aton
from pysock.wire.errors import Malformed

A, B = inet_aton("10.0.0.1"), inet_aton("10.0.0.2")
U8, U16 = st.integers(0, 255), st.integers(0, 0xFFFF)
ADDR = st.binary(min_size=4, max_size=4)
OPTIONS = st.integers(0, 10).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))


def test_a_header_known_from_textbooks() -> None:
    raw = bytes.fromhex("4500 0073 0000 4000 4011 b861 c0a80001 c0a800c7")
    header = ipv4.parse(raw, partial=True)
    assert (header.total_length, header.flags, header.ttl, header.protocol) == (115, ipv4.DF, 64, 17)
    assert header.checksum == 0xB861
    assert ipv4.verify(raw)
    assert ipv4.build(header.src, header.dst, 17, bytes(95), flags=ipv4.DF)[:20] == raw


@given(
    ADDR, ADDR, U8, st.binary(max_size=64), U8, U16, st.sampled_from([0, ipv4.DF, ipv4.MF, ipv4.RESERVED | ipv4.MF]),
    st.integers(0, 8191), U8, OPTIONS, st.integers(0, 5),
)  # fmt: skip
def test_round_trip(
    src: bytes, dst: bytes, protocol: int, payload: bytes, tos: int, ident: int, flags: int, units: int, ttl: int,
    options: bytes, lead: int,
) -> None:  # fmt: skip
    packet = bytes(lead) + ipv4.build(
        src, dst, protocol, payload, tos=tos, ident=ident, flags=flags, fragment=units * 8, ttl=ttl, options=options
    )
    header = ipv4.parse(packet, lead)
    assert header == ipv4.Ipv4Header(
        tos, len(packet) - lead, ident, flags, units * 8, ttl, protocol, header.checksum, src, dst, options
    )
    assert packet[lead + header.size :] == payload
    assert ipv4.verify(packet, lead)
    assert header.is_fragment == (units > 0 or flags & ipv4.MF != 0)
    assert ipv4.HEADER.unpack_from(packet, lead)[2] == header.total_length


@given(st.binary(max_size=100), st.booleans(), st.integers(-2, 110))
def test_any_bytes_parse_or_are_malformed(raw: bytes, partial: bool, offset: int) -> None:
    ipv4.verify(raw, offset)
    try:
        header = ipv4.parse(raw, offset, partial=partial)
    except Malformed:
        return
    assert header.size <= header.total_length
    assert " > " in ipv4.describe(header)


@given(st.binary(max_size=40))
def test_any_options_walk_or_are_malformed(options: bytes) -> None:
    try:
        walked = list(ipv4.walk_options(options))
    except Malformed:
        return
    rebuilt = b"".join(ipv4.build_option(kind, data) for kind, data in walked)
    assert options.startswith(rebuilt)


def test_options() -> None:
    router_alert = ipv4.build_option(ipv4.OPT_RA, b"\0\0")
    assert router_alert == b"\x94\x04\0\0"
    packet = ipv4.build(
        A, B, 2, options=ipv4.build_option(ipv4.OPT_NOOP) + ipv4.build_option(ipv4.OPT_RR, b"\4\1\2\3\4")
    )
    header = ipv4.parse(packet)
    assert header.size == 28
    assert list(ipv4.walk_options(header.options)) == [(1, b""), (7, b"\4\1\2\3\4")]


@pytest.mark.parametrize("options", [b"\x07", b"\x07\x00", b"\x07\x01", b"\x07\x05ab", b"\x01\x94\x04\x00"])
def test_bad_options(options: bytes) -> None:
    with pytest.raises(Malformed, match="bad length"):
        list(ipv4.walk_options(options))


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, 0x65, "version 6"),
        (0, 0x44, "header length 16"),
        (0, 0x4F, "truncated IPv4 options"),
        (3, 19, "less than"),
        (3, 29, "exceeds"),
    ],
)
def test_contradictions(at: int, value: int, why: str) -> None:
    packet = bytearray(ipv4.build(A, B, 17, b"12345678"))
    packet[at] = value
    with pytest.raises(Malformed, match=why):
        ipv4.parse(packet)


def test_a_flipped_bit_fails_verification() -> None:
    packet = bytearray(ipv4.build(A, B, 17))
    assert ipv4.verify(packet)
    packet[8] ^= 1
    assert not ipv4.verify(packet)
    assert not ipv4.verify(packet[:19])


def test_build_refuses() -> None:
    with pytest.raises(ValueError, match="at most 40"):
        ipv4.build(A, B, 17, options=bytes(41))
    with pytest.raises(ValueError, match="multiple of 8"):
        ipv4.build(A, B, 17, fragment=4)
    with pytest.raises(ValueError, match="total length"):
        ipv4.build(A, B, 17, bytes(65516))
    with pytest.raises(ValueError, match="src must be 4 bytes"):
        ipv4.build(b"", B, 17)


def test_describe() -> None:
    assert ipv4.describe(ipv4.parse(ipv4.build(A, B, 47, b"1234"))) == "10.0.0.1 > 10.0.0.2: ip-proto-47 4"
    fragment = ipv4.build(A, B, 17, bytes(1480), ident=7, flags=ipv4.MF, fragment=2960)
    assert ipv4.describe(ipv4.parse(fragment)) == "10.0.0.1 > 10.0.0.2: (frag 7:1480@2960+)"
