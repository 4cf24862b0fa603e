"""pcapng blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import pcapng
from pysock.wire.errors import Malformed

U16, U32, U64 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, (1 << 64) - 1)
ORDERS = st.sampled_from(["<", ">"])
# Codes of options that no block turns into a field.
OPTIONS = st.lists(st.tuples(st.integers(10, 0xFFFF), st.binary(max_size=9)), max_size=4).map(tuple)
BLOCKS = st.one_of(
    st.builds(pcapng.SectionHeader, st.tuples(st.just(1), U16), U64, OPTIONS),
    st.builds(pcapng.InterfaceDescription, U16, U32, OPTIONS),
    st.builds(pcapng.EnhancedPacket, U32, U64, st.binary(max_size=40), U32, st.none() | U32, OPTIONS),
    st.builds(pcapng.InterfaceStatistics, U32, U64, *(st.none() | U64,) * 4, OPTIONS),
    st.builds(pcapng.RawBlock, st.integers(0x0BAD, 0xFFFF), st.binary(max_size=5).map(lambda b: b * 4)),
)


def test_bytes_of_a_section_header() -> None:
    raw = pcapng.build(pcapng.SectionHeader(), ">")
    assert raw.hex(" ", 4) == "0a0d0d0a 0000001c 1a2b3c4d 00010000 ffffffff ffffffff 0000001c"
    assert pcapng.build(pcapng.SectionHeader(), "<").hex(" ", 4) == (
        "0a0d0d0a 1c000000 4d3c2b1a 01000000 ffffffff ffffffff 1c000000"
    )


def test_bytes_of_a_packet() -> None:
    packet = pcapng.EnhancedPacket(2, 0x1_0000_0003, b"abcde", 9, pcapng.INBOUND)
    assert pcapng.build(packet, ">").hex(" ", 4) == (
        "00000006 00000034 00000002 00000001 00000003 00000005 00000009"
        " 61626364 65000000 00020004 00000001 00000000 00000034"
    )


@given(BLOCKS, ORDERS, st.binary(max_size=8))
def test_round_trip(block: pcapng.Block, order: pcapng.Order, behind: bytes) -> None:
    raw = pcapng.build(block, order)
    assert len(raw) % 4 == 0
    # Only a section header says which order it is in.
    assumed = ("<" if order == ">" else ">") if isinstance(block, pcapng.SectionHeader) else order
    assert pcapng.parse(b"xyz" + raw + behind, 3, assumed) == (block, 3 + len(raw), order)
    assert pcapng.describe(block)


@given(st.lists(BLOCKS.filter(lambda block: not isinstance(block, pcapng.SectionHeader)), max_size=4), ORDERS, ORDERS)
def test_a_file_may_change_its_byte_order_with_each_section(
    blocks: list[pcapng.Block], first: pcapng.Order, second: pcapng.Order
) -> None:
    start = pcapng.SectionHeader()
    raw = b"".join(pcapng.build(block, order) for order in (first, second) for block in [start, *blocks])
    assert list(pcapng.walk(raw)) == [start, *blocks] * 2


@given(st.binary(max_size=80), ORDERS)
def test_any_bytes_parse_or_are_malformed(raw: bytes, order: pcapng.Order) -> None:
    try:
        _, at, _ = pcapng.parse(raw, 0, order)
    except Malformed:
        return
    assert 12 <= at <= len(raw)


@given(BLOCKS, ORDERS, st.data())
def test_a_damaged_block_parses_or_is_malformed(block: pcapng.Block, order: pcapng.Order, data: st.DataObject) -> None:
    raw = bytearray(pcapng.build(block, order))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        pcapng.parse(bytes(raw), 0, order)
    except Malformed:
        return


def test_contradictions() -> None:
    raw = pcapng.build(pcapng.EnhancedPacket(0, 0, b"abcd", 4), "<")
    for damaged, reason in (
        (raw[:-1], "truncated pcapng block"),
        (raw[:-4] + b"\x10\0\0\0", "in front and 16 behind"),
        (raw[:4] + b"\x22\0\0\0" + raw[8:], "block length 34"),
        (raw[:20] + b"\x05\0\0\0" + raw[24:], "truncated packet data"),
    ):
        with pytest.raises(Malformed, match=reason):
            pcapng.parse(damaged, 0, "<")
    start = pcapng.build(pcapng.SectionHeader(), "<")
    with pytest.raises(Malformed, match="byte-order magic"):
        pcapng.parse(start[:8] + b"abcd" + start[12:])
    with pytest.raises(Malformed, match="version 2"):
        pcapng.parse(start[:12] + b"\2" + start[13:])
    with pytest.raises(Malformed, match="starts with a section header"):
        list(pcapng.walk(pcapng.build(pcapng.InterfaceDescription(1))))
    bad_flags = pcapng.build(pcapng.EnhancedPacket(0, 0, b"", 0, None, ((pcapng.EPB_FLAGS, b"xy"),)))
    with pytest.raises(Malformed, match="bad lengths"):
        pcapng.parse(bad_flags)


def test_numbers_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="timestamp"):
        pcapng.build(pcapng.EnhancedPacket(0, 1 << 64, b"", 0))
    with pytest.raises(ValueError, match="option length"):
        pcapng.build(pcapng.InterfaceDescription(1, 0, ((pcapng.IF_NAME, bytes(65536)),)))


def test_option_lists_end_at_the_mark() -> None:
    raw = pcapng.build_options(((1, b"hi"), (99, b"")))
    assert pcapng.parse_options(raw + b"garbage") == ((1, b"hi"), (99, b""))
    with pytest.raises(Malformed, match="truncated pcapng option"):
        pcapng.parse_options(b"\1\0\7\0abc", "<")
