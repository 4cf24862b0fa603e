"""The internet checksum against the definition in RFC 1071, done the slow way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import checksum as csum


def by_definition(data: bytes) -> int:
    """RFC 1071 section 4.1: add 16-bit words, fold the carries."""
    if len(data) % 2:
        data += b"\0"
    total = sum(data[at] << 8 | data[at + 1] for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


BLOBS = (
    st.binary(max_size=64)
    | st.builds(bytes, st.integers(0, 9000))
    | st.builds(lambda byte, count: byte * count, st.binary(min_size=1, max_size=1), st.integers(0, 9000))
)


def test_the_example_of_rfc_1071() -> None:
    data = bytes.fromhex("0001f203f4f5f6f7")
    assert csum.partial(data) == 0xDDF2
    assert csum.checksum(data) == 0x220D


@given(BLOBS)
def test_partial_is_the_definition(data: bytes) -> None:
    assert csum.partial(data) == by_definition(data)
    assert csum.partial(bytearray(data)) == csum.partial(memoryview(data)) == by_definition(data)
    assert csum.checksum(data) == by_definition(data) ^ 0xFFFF


@pytest.mark.parametrize("size", [0, 1, 2, 4095, 4096, 4097, 4098, 8191, 8192, 8193, 65535])
@pytest.mark.parametrize("pattern", [b"\0", b"\xff", b"\x12\x34\x56", b"\0\0\xff\xff"])
def test_around_the_chunk_size(size: int, pattern: bytes) -> None:
    data = (pattern * size)[:size]
    assert csum.partial(data) == by_definition(data)


@given(st.binary(max_size=6000), st.integers(0, 1 << 20))
def test_remainder(data: bytes, more: int) -> None:
    value = int.from_bytes(data, "big") + more
    assert csum.remainder(value) == value % 65535
    assert csum.remainder(65535 * value) == 0


def test_the_two_zeros() -> None:
    assert csum.partial(b"") == csum.partial(bytes(10)) == 0
    assert csum.checksum(bytes(10)) == 0xFFFF
    assert csum.partial(b"\xff\xff") == csum.partial(b"\xff\xfe\0\1") == 0xFFFF
    assert csum.checksum(b"\xff\xff") == 0
    assert csum.fold(0) == 0
    assert csum.fold(65535) == csum.fold(2 * 65535) == 0xFFFF


@given(BLOBS, BLOBS)
def test_combine_joins_pieces_of_any_length(first: bytes, second: bytes) -> None:
    total = csum.combine(csum.partial(first), len(first), csum.partial(second))
    assert total == csum.partial(first + second)


@given(st.binary(min_size=2, max_size=100), st.integers(0, 49))
def test_a_filled_in_checksum_verifies_and_a_flipped_bit_does_not(data: bytes, bit: int) -> None:
    data += bytes(len(data) % 2)
    whole = data + csum.checksum(data).to_bytes(2, "big")
    assert csum.verify(whole) == any(whole)
    broken = bytearray(whole)
    broken[bit % len(broken)] ^= 1
    assert not csum.verify(broken)


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4), st.integers(0, 255), st.integers(0, 65535))
def test_pseudo_v4_is_the_sum_of_the_bytes(src: bytes, dst: bytes, protocol: int, length: int) -> None:
    header = src + dst + bytes([0, protocol]) + length.to_bytes(2, "big")
    assert csum.pseudo_v4(src, dst, protocol, length) == by_definition(header)
    assert csum.pseudo(src, dst, protocol, length) == by_definition(header)


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
)
def test_pseudo_v6_is_the_sum_of_the_bytes(src: bytes, dst: bytes, protocol: int, length: int) -> None:
    header = src + dst + length.to_bytes(4, "big") + bytes([0, 0, 0, protocol])
    assert csum.pseudo_v6(src, dst, protocol, length) == by_definition(header)
    assert csum.pseudo(src, dst, protocol, length) == by_definition(header)


@given(st.binary(min_size=4, max_size=60), st.integers(0, 0xFFFF))
def test_update_keeps_a_packet_valid(data: bytes, word: int) -> None:
    data = b"\x45" + data + bytes((len(data) + 1) % 2)  # never all zero, as no header is
    check = csum.checksum(data)
    changed = data[:2] + word.to_bytes(2, "big") + data[4:]
    updated = csum.update(check, int.from_bytes(data[2:4], "big"), word)
    assert csum.verify(changed + updated.to_bytes(2, "big"))


def test_update_on_the_example_of_rfc_1624() -> None:
    """Section 4: the case where the older equation of RFC 1141 gives the other zero."""
    assert csum.update(0xDD2F, 0x5555, 0x3285) == 0x0000


@given(st.lists(st.integers(0, 0xFFFF), max_size=6))
def test_finish_is_the_complement_of_the_folded_sum(sums: list[int]) -> None:
    assert (
        csum.finish(sum(sums))
        == csum.fold(sum(sums)) ^ 0xFFFF
        == csum.checksum(b"".join(s.to_bytes(2, "big") for s in sums))
    )
