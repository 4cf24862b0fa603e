"""The paged part of an sk_buff: frags and frag_list, reading across them, pulling, trimming, writing, checksums."""

from __future__ import annotations

import pytest

from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import (
    pskb_may_pull,
    pskb_pull,
    pskb_trim,
    skb_append_frag,
    skb_append_frag_list,
    skb_checksum,
    skb_checksum_help,
    skb_copy_bits,
    skb_copy_into,
    skb_flatten,
    skb_header_pointer,
    skb_linearize,
    skb_store_bits,
    skb_to_bytes,
    skb_walk_frags,
)
from pysock.core.skbuff import (
    CHECKSUM_NONE,
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    SkbOverPanic,
    SkBuff,
    SkbUnderPanic,
    build_skb,
    skb_cloned,
    skb_get,
)
from pysock.wire.checksum import partial, pseudo_v4, verify

TEXT = b"..0123456789abcdefghij"  # two bytes of headroom, then the data


def paged() -> SkBuff:
    """0123 | 45 | 6789a | bcdef | ghij: linear, two frags, two packets of a frag_list (one with a frag of its own)."""
    skb = SkBuff(b"..0123", 2, 4)
    skb_append_frag(skb, b"45")
    skb_append_frag(skb, memoryview(b"6789a"))
    skb_append_frag_list(skb, SkBuff(bytearray(b"bcd"), 0, 5, 2, (b"ef",)))
    skb_append_frag_list(skb, build_skb(b"##ghij", 2))
    return skb


def test_lengths_add_up() -> None:
    skb = paged()
    assert (skb.len, skb.data_len) == (20, 16)
    assert [child.len for child in skb_walk_frags(skb)] == [5, 4]
    assert skb_to_bytes(skb) == TEXT[2:]


@pytest.mark.parametrize("offset", range(-2, 21))
def test_copy_bits_reads_every_range(offset: int) -> None:
    skb = paged()
    for n in range(20 - offset + 1):
        expected = TEXT[2 + offset : 2 + offset + n]
        assert skb_copy_bits(skb, offset, n) == expected
        assert skb_header_pointer(skb, offset, n) == expected


def test_reading_past_the_packet() -> None:
    skb = paged()
    for offset, n in ((0, 21), (20, 1), (-3, 1), (0, -1)):
        with pytest.raises(SkbUnderPanic):
            skb_copy_bits(skb, offset, n)
        assert skb_header_pointer(skb, offset, n) is None
    with pytest.raises(SkbUnderPanic):
        skb_copy_into(skb, 21, memoryview(bytearray(1)))
    with pytest.raises(SkbUnderPanic):
        skb_checksum(skb, 0, 21)


def test_a_whole_frag_comes_back_as_the_same_object() -> None:
    payload = bytes(range(200))
    skb = SkBuff(b"hdr", 0, 203, 200, (payload,))
    assert skb_copy_bits(skb, 3, 200) is payload


def test_header_pointer_over_a_bytearray_gives_bytes() -> None:
    assert type(skb_header_pointer(build_skb(bytearray(b"abcd")), 1, 2)) is bytes


def test_copy_into_stops_where_either_ends() -> None:
    skb = paged()
    out = bytearray(b"-" * 12)
    assert skb_copy_into(skb, 3, memoryview(out)) == 12
    assert bytes(out) == TEXT[5:17]
    assert skb_copy_into(skb, 16, memoryview(out)) == 4
    assert bytes(out) == b"ghij" + TEXT[9:17]
    assert skb_copy_into(skb, 20, memoryview(out)) == 0


def test_to_bytes_starts_at_the_link_layer_header() -> None:
    skb = paged()
    skb.mac_header = 1
    assert skb_to_bytes(skb) == b"." + TEXT[2:]
    pskb_trim(skb, 7)
    assert skb_to_bytes(skb) == b"." + TEXT[2:9]
    pskb_trim(skb, 3)
    assert skb_to_bytes(skb) == b"." + TEXT[2:5]
    skb.mac_header = 4  # behind the data, as on a packet not yet pushed
    assert skb_to_bytes(skb) == TEXT[2:5]


@pytest.mark.parametrize("n", range(21))
def test_may_pull_makes_the_front_linear_and_keeps_the_rest(n: int) -> None:
    skb = paged()
    skb.network_header = 2
    assert pskb_may_pull(skb, n)
    assert skb.len - skb.data_len >= n
    assert bytes(skb.head[2 : 2 + n]) == TEXT[2 : 2 + n]
    assert (skb.len, skb.network_header, skb_to_bytes(skb)) == (20, 2, TEXT[2:])
    assert skb.data_len == sum(map(len, skb.frags)) + sum(child.len for child in skb.frag_list)


def test_may_pull_more_than_there_is() -> None:
    skb = paged()
    assert not pskb_may_pull(skb, 21)
    assert not pskb_pull(skb, 21)
    assert skb_to_bytes(skb) == TEXT[2:]
    with pytest.raises(SkbUnderPanic):
        pskb_pull(skb, -1)


@pytest.mark.parametrize("n", range(21))
def test_pskb_pull_and_trim_cut_anywhere(n: int) -> None:
    front, back = paged(), paged()
    assert pskb_pull(front, n)
    assert (front.len, skb_copy_bits(front, 0, front.len)) == (20 - n, TEXT[2 + n :])
    pskb_trim(back, n)
    assert (back.len, skb_copy_bits(back, 0, back.len)) == (n, TEXT[2 : 2 + n])
    assert back.data_len == sum(map(len, back.frags)) + sum(child.len for child in back.frag_list)


def test_trim_to_more_is_no_change_and_to_less_than_nothing_a_bug() -> None:
    skb = paged()
    pskb_trim(skb, 25)
    assert skb.len == 20
    with pytest.raises(SkbUnderPanic):
        pskb_trim(skb, -1)


def test_trimming_a_clone_leaves_the_original_whole() -> None:
    skb = paged()
    new = skb_clone(skb)
    pskb_trim(new, 13)
    skb_store_bits(new, 0, b"XXXXXXXXXXXXX")
    assert skb_to_bytes(skb) == TEXT[2:]
    assert [child.users for child in skb.frag_list] == [1, 1]


@pytest.mark.parametrize("private", [False, True])
def test_linearize(private: bool) -> None:
    skb = SkBuff(bytearray(b"he") if private else b"he", 0, 6, 4, (b"ll", b"o!"))
    skb_linearize(skb)
    assert (bytes(skb.head), skb.frags, skb.data_len, skb.len) == (b"hello!", (), 0, 6)
    assert type(skb.head) is (bytearray if private else bytes)
    head = skb.head
    skb_linearize(skb)
    assert skb.head is head


def test_linearize_drops_what_is_empty() -> None:
    skb = SkBuff(b"he", 0, 2, 0, (b"",))
    skb_append_frag_list(skb, build_skb(b""))
    skb_linearize(skb)
    assert (skb.head, skb.frags, skb.frag_list) == (b"he", (), [])


def test_linearizing_a_clone_unshares_it() -> None:
    skb = SkBuff(bytearray(b"he"), 0, 5, 3, (b"llo",))
    new = skb_clone(skb)
    skb_linearize(new)
    assert skb_to_bytes(new) == skb_to_bytes(skb) == b"hello"
    assert skb.frags == (b"llo",)
    assert not skb_cloned(skb)
    assert not skb_cloned(new)


def test_flatten_keeps_references_to_what_cannot_change() -> None:
    skb = paged()
    ef = skb.frag_list[0].frags[0]
    mutable = skb.frag_list[0]
    skb_get(mutable)
    skb_flatten(skb)
    assert skb.frags[3] is ef
    mutable.head[0:3] = b"XXX"  # type: ignore[index]  # paged() gives it a bytearray
    assert skb_to_bytes(skb) == TEXT[2:]
    assert mutable.users == 1


def test_a_fragment_after_a_frag_list_goes_behind_it() -> None:
    skb = paged()
    skb_append_frag(skb, b"klm")
    assert skb_to_bytes(skb) == TEXT[2:] + b"klm"


def test_fragments_of_any_shape_become_flat_bytes() -> None:
    skb = build_skb(b"")
    skb_append_frag(skb, bytearray(b"ab"))
    skb_append_frag(skb, memoryview(bytearray(b"cdefgh")).cast("B", (2, 3)))
    skb_append_frag(skb, memoryview(bytearray(b"ijkl")).cast("I"))
    assert (skb.len, skb.data_len, skb_to_bytes(skb)) == (12, 12, b"abcdefghijkl")


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("offset", range(21))
def test_store_bits_writes_every_range_and_never_through_a_clone(offset: int, private: bool) -> None:
    for n in range(20 - offset + 1):
        skb = paged()
        if private:
            skb.head = bytearray(skb.head)
        new = skb_clone(skb)
        skb_store_bits(new, offset, b"*" * n)
        expected = TEXT[2 : 2 + offset] + b"*" * n + TEXT[2 + offset + n :]
        assert skb_to_bytes(new) == expected
        assert skb_to_bytes(skb) == TEXT[2:]


def test_store_bits_writes_a_private_bytearray_in_place() -> None:
    skb = build_skb(bytearray(b"abcdef"))
    head = skb.head
    skb_store_bits(skb, 2, b"XY")
    assert skb.head is head
    assert bytes(head) == b"abXYef"
    for offset, data in ((-1, b"x"), (5, b"xy")):
        with pytest.raises(SkbOverPanic):
            skb_store_bits(skb, offset, data)


def test_checksum_adds_pieces_of_odd_lengths() -> None:
    skb = paged()
    for offset in range(20):
        for n in range(20 - offset + 1):
            assert skb_checksum(skb, offset, n) == partial(TEXT[2 + offset : 2 + offset + n])
    assert skb_checksum(skb, 0, 20, 0x1234) == (partial(TEXT[2:]) + 0x1234) % 65535


def udp(payload: bytes, linear: bool) -> SkBuff:
    src, dst = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    pseudo = pseudo_v4(src, dst, 17, 8 + len(payload))
    header = b"\x30\x39\x00\x35" + (8 + len(payload)).to_bytes(2, "big") + pseudo.to_bytes(2, "big")
    if linear:
        skb = build_skb(bytes(20) + header + payload)
    else:
        skb = SkBuff(bytes(20) + header, 0, 28 + len(payload), len(payload), (payload[:3], payload[3:]))
    skb.transport_header = 20
    skb.csum_offset = 6
    skb.ip_summed = CHECKSUM_PARTIAL
    return skb


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("payload", [b"", b"odd", b"even", bytes(5000)])
def test_checksum_help_makes_a_packet_that_verifies(linear: bool, payload: bytes) -> None:
    skb = udp(payload, linear)
    new = skb_clone(skb)
    before = skb_to_bytes(skb)
    skb_checksum_help(new)
    assert new.ip_summed == CHECKSUM_NONE
    pseudo = pseudo_v4(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 17, 8 + len(payload))
    assert verify(skb_copy_bits(new, 20, new.len - 20), pseudo)
    assert skb_to_bytes(skb) == before


def test_checksum_help_never_sends_zero() -> None:
    # A lone field holding 0xFFFF: the sum is 0xFFFF, its complement 0, which UDP would read as "no checksum".
    skb = build_skb(b"\xff\xff")
    skb.transport_header = 0
    skb.ip_summed = CHECKSUM_PARTIAL
    skb_checksum_help(skb)
    assert skb.head == b"\xff\xff"


def test_checksum_help_honours_csum_start_and_ignores_finished_packets() -> None:
    skb = build_skb(b"XX\x00\x00\x12\x34")
    skb.csum_start = 2
    skb.ip_summed = CHECKSUM_PARTIAL
    skb_checksum_help(skb)
    assert skb.head == b"XX" + (0xFFFF - 0x1234).to_bytes(2, "big") + b"\x12\x34"
    skb.ip_summed = CHECKSUM_UNNECESSARY
    head = skb.head
    skb_checksum_help(skb)
    assert skb.head is head


def test_checksum_help_with_offsets_outside_the_packet_is_a_bug() -> None:
    for start, offset in ((-1, 0), (0, 3), (9, 0)):
        skb = build_skb(b"four")
        skb.transport_header = start
        skb.csum_offset = offset
        skb.ip_summed = CHECKSUM_PARTIAL
        with pytest.raises(SkbUnderPanic):
            skb_checksum_help(skb)
