"""ICMP for IPv4 and for IPv6."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import icmp, icmpv6, ipv4, ipv6, tcp, udp
from pysock.wire.addr import inet6_aton, inet_aton
from pysock.wire.errors import Malformed

A, B = inet_aton("10.0.0.1"), inet_aton("10.0.0.2")
A6, B6 = inet6_aton("fe80::1"), inet6_aton("fe80::2")
U8, U16, U32 = st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
QUOTE = ipv4.build(A, B, 17, udp.build(4000, 53, bytes(100)))[:28]
QUOTE6 = ipv6.build(A6, B6, 17, udp.build(4000, 53, bytes(100)))[:48]


def test_echo_bytes() -> None:
    message = icmp.build_echo(1, 2, b"abcd")
    assert message == b"\x08\x00\x33\x36\x00\x01\x00\x02abcd"
    assert icmp.ECHO.unpack_from(message) == (8, 0, 0x3336, 1, 2)
    assert icmp.verify(message)
    assert not icmp.verify(message[:-1] + b"e")


@given(U8, U8, U32, st.binary(max_size=40), st.none() | U16)
def test_round_trip(kind: int, code: int, rest: int, payload: bytes, check: int | None) -> None:
    message = icmp.build(kind, code, rest, payload, checksum=check)
    header = icmp.parse(message)
    assert header == icmp.IcmpHeader(kind, code, header.checksum, rest)
    assert check in (None, header.checksum)
    assert check is not None or icmp.verify(message) or not any(message[:2] + message[4:])


@given(U8, U8, U32, st.binary(max_size=40), st.none() | U16)
def test_v6_round_trip(kind: int, code: int, rest: int, payload: bytes, check: int | None) -> None:
    message = icmpv6.build(kind, code, rest, payload, checksum=check, addresses=(A6, B6))
    header = icmpv6.parse(message)
    assert header == icmpv6.Icmpv6Header(kind, code, header.checksum, rest)
    assert header.checksum == check if check is not None else icmpv6.verify(message, A6, B6)


@given(st.binary(max_size=100), st.integers(0, 20))
def test_any_bytes_parse_and_describe_or_are_malformed(raw: bytes, kind: int) -> None:
    for data in (raw, bytes([kind]) + raw, bytes([kind + 125]) + raw):
        try:
            assert icmp.describe(icmp.parse(data), data[8:]).startswith("ICMP ")
            assert icmpv6.describe(icmpv6.parse(data), data[8:]).startswith("ICMP6, ")
        except Malformed:
            assert len(data) < 8


@given(st.binary(max_size=40))
def test_any_neighbour_options_walk_or_are_malformed(raw: bytes) -> None:
    try:
        options = icmpv6.walk_options(raw)
    except Malformed:
        return
    assert b"".join(icmpv6.build_option(kind, data) for kind, data in options) == raw


def test_fields_by_type() -> None:
    echo = icmp.parse(icmp.build_echo(0x1234, 0x5678, reply=True))
    assert (echo.type, echo.ident, echo.sequence) == (icmp.ECHOREPLY, 0x1234, 0x5678)
    assert icmp.parse(icmp.build(icmp.DEST_UNREACH, icmp.FRAG_NEEDED, 1400)).mtu == 1400
    assert icmp.parse(icmp.build(icmp.REDIRECT, 1, int.from_bytes(A, "big"))).gateway == A
    assert icmpv6.parse(icmpv6.build(icmpv6.PKT_TOOBIG, 0, 1280)).mtu == 1280


@pytest.mark.parametrize(
    ("kind", "code", "rest", "payload", "text"),
    [
        (8, 0, 0x10002, bytes(56), "ICMP echo request, id 1, seq 2, length 64"),
        (0, 0, 0x10002, bytes(56), "ICMP echo reply, id 1, seq 2, length 64"),
        (3, 3, 0, QUOTE, "ICMP 10.0.0.2 udp port 53 unreachable, length 36"),
        (3, 1, 0, QUOTE, "ICMP host 10.0.0.2 unreachable, length 36"),
        (3, 2, 0, QUOTE, "ICMP 10.0.0.2 protocol 17 unreachable, length 36"),
        (3, 4, 1400, QUOTE, "ICMP 10.0.0.2 unreachable - need to frag (mtu 1400), length 36"),
        (3, 99, 0, QUOTE, "ICMP 10.0.0.2 unreachable - code 99, length 36"),
        (3, 3, 0, QUOTE[:20], "ICMP 10.0.0.2 udp port unreachable, length 28"),
        (3, 3, 0, b"", "ICMP [bad quote] port unreachable, length 8"),
        (3, 3, 0, ipv4.build(A, B, 6, tcp.build(9, 8)), "ICMP 10.0.0.2 tcp port 8 unreachable, length 48"),
        (11, 0, 0, QUOTE, "ICMP time exceeded in-transit, length 36"),
        (11, 1, 0, QUOTE, "ICMP ip reassembly time exceeded, length 36"),
        (5, 1, 0x0A000001, QUOTE, "ICMP redirect 10.0.0.2 to host 10.0.0.1, length 36"),
        (42, 0, 0, b"", "ICMP type-#42, length 8"),
    ],
)
def test_describe(kind: int, code: int, rest: int, payload: bytes, text: str) -> None:
    assert icmp.describe(icmp.parse(icmp.build(kind, code, rest, payload)), payload) == text


@pytest.mark.parametrize(
    ("kind", "code", "rest", "payload", "text"),
    [
        (128, 0, 0x10002, bytes(56), "ICMP6, echo request, id 1, seq 2, length 64"),
        (135, 0, 0, B6, "ICMP6, neighbor solicitation, who has fe80::2, length 24"),
        (136, 0, 0, B6, "ICMP6, neighbor advertisement, tgt is fe80::2, length 24"),
        (133, 0, 0, b"", "ICMP6, router solicitation, length 8"),
        (1, 4, 0, QUOTE6, "ICMP6, destination unreachable, unreachable port, fe80::2 udp port 53, length 56"),
        (1, 0, 0, QUOTE6, "ICMP6, destination unreachable, unreachable route fe80::2, length 56"),
        (2, 0, 1280, QUOTE6, "ICMP6, packet too big, mtu 1280, length 56"),
        (3, 0, 0, QUOTE6, "ICMP6, time exceeded in-transit for fe80::2, length 56"),
        (1, 4, 0, b"", "ICMP6, destination unreachable, unreachable port, [bad quote] port, length 8"),
        (200, 0, 0, b"", "ICMP6, type-#200, length 8"),
    ],
)
def test_describe_v6(kind: int, code: int, rest: int, payload: bytes, text: str) -> None:
    assert icmpv6.describe(icmpv6.parse(icmpv6.build(kind, code, rest, payload)), payload) == text


def test_neighbour_messages() -> None:
    option = icmpv6.build_option(icmpv6.OPT_SOURCE_LL, b"\2\0\0\0\0\1")
    assert option == b"\1\1\2\0\0\0\0\1"
    message = icmpv6.build_neighbour(icmpv6.NEIGHBOUR_ADVERT, A6, icmpv6.NA_SOLICITED, option, addresses=(A6, B6))
    assert icmpv6.NEIGHBOUR.unpack_from(message)[3:] == (icmpv6.NA_SOLICITED, A6)
    assert icmpv6.target(message[8:]) == A6
    assert icmpv6.walk_options(message[24:]) == [(1, b"\2\0\0\0\0\1")]
    assert icmpv6.verify(message, A6, B6)
    assert not icmpv6.verify(message, A6, A6)


def test_malformed() -> None:
    for parse in (icmp.parse, icmpv6.parse):
        with pytest.raises(Malformed, match="truncated"):
            parse(bytes(7))
    with pytest.raises(Malformed, match="length 0"):
        icmpv6.walk_options(bytes(8))
    with pytest.raises(Malformed, match="truncated"):
        icmpv6.target(bytes(15))
