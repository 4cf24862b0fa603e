"""UDP datagrams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import checksum as csum
from pysock.wire import udp
from pysock.wire.addr import inet6_aton, inet_aton
from pysock.wire.errors import Malformed

V4 = inet_aton("10.0.0.1"), inet_aton("10.0.0.2")
V6 = inet6_aton("fe80::1"), inet6_aton("fe80::2")
U16 = st.integers(0, 0xFFFF)


def test_bytes() -> None:
    assert udp.build(53, 1024, b"hi") == b"\x00\x35\x04\x00\x00\x0a\x00\x00hi"


@given(U16, U16, st.binary(max_size=50), U16)
def test_round_trip(src: int, dst: int, payload: bytes, check: int) -> None:
    datagram = udp.build(src, dst, payload, checksum=check)
    assert udp.parse(b"x" + datagram, 1) == udp.UdpHeader(src, dst, 8 + len(payload), check)
    assert udp.describe(udp.parse(datagram), payload) == f"UDP, length {len(payload)}"


@given(st.sampled_from([V4, V6]), st.binary(max_size=50))
def test_the_computed_checksum_verifies_and_is_never_zero(addresses: tuple[bytes, bytes], payload: bytes) -> None:
    datagram = udp.build(1, 2, payload, addresses=addresses)
    assert udp.parse(datagram).checksum != 0
    assert csum.verify(datagram, csum.pseudo(*addresses, 17, len(datagram)))


def test_a_checksum_that_computes_to_zero_is_sent_as_ones() -> None:
    blank = udp.build(1, 2, b"\0\0", addresses=V4)
    filler = udp.parse(blank).checksum  # adding it to the data makes the sum 0xFFFF
    datagram = udp.build(1, 2, filler.to_bytes(2, "big"), addresses=V4)
    assert udp.parse(datagram).checksum == 0xFFFF
    assert csum.verify(datagram, csum.pseudo(*V4, 17, len(datagram)))


@given(st.binary(max_size=40), st.booleans(), st.integers(-2, 50))
def test_any_bytes_parse_or_are_malformed(raw: bytes, partial: bool, offset: int) -> None:
    try:
        header = udp.parse(raw, offset, partial=partial)
    except Malformed:
        return
    assert header.length >= 8
    assert partial or header.length <= len(raw) - offset


def test_contradictions() -> None:
    datagram = udp.build(1, 2, b"abc")
    with pytest.raises(Malformed, match="truncated"):
        udp.parse(datagram[:7])
    with pytest.raises(Malformed, match="exceeds"):
        udp.parse(datagram[:10])
    assert udp.parse(datagram[:10], partial=True).length == 11
    with pytest.raises(Malformed, match="less than its header"):
        udp.parse(datagram[:5] + b"\7" + datagram[6:])
    with pytest.raises(ValueError, match="UDP length"):
        udp.build(1, 2, bytes(65528))
