"""The linear part of an sk_buff: making, moving data and tail, header offsets, rare fields."""

from __future__ import annotations

import pytest

from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import (
    SKB_OVERHEAD,
    SkbOverPanic,
    SkBuff,
    SkbUnderPanic,
    alloc_skb,
    build_skb,
    skb_end,
    skb_headlen,
    skb_headroom,
    skb_is_nonlinear,
    skb_pull,
    skb_push,
    skb_push_data,
    skb_put,
    skb_put_data,
    skb_reserve,
    skb_reset_mac_header,
    skb_reset_network_header,
    skb_reset_transport_header,
    skb_tail,
    skb_tailroom,
    skb_trim,
    skb_truesize,
)


def linear(skb: SkBuff) -> bytes:
    return bytes(skb.head[skb.data : skb_tail(skb)])


def test_alloc_gives_an_empty_packet_with_room_on_both_sides() -> None:
    skb = alloc_skb(100, reserve=40)
    assert (skb.len, skb_headroom(skb), skb_tailroom(skb), skb_end(skb)) == (0, 40, 60, 100)
    assert (skb.mac_header, skb.network_header, skb.transport_header) == (-1, -1, -1)
    assert (skb.users, skb.protocol, skb.ip_summed, skb.dev, skb.sk, skb.dst) == (1, 0, 0, None, None, None)


def test_build_wraps_the_buffer_itself() -> None:
    buffer = b"\0\0payload"
    skb = build_skb(buffer, 2)
    assert skb.head is buffer
    assert linear(skb) == b"payload"


@pytest.mark.parametrize(("size", "reserve"), [(4, 5), (4, -1)])
def test_alloc_refuses_impossible_headroom(size: int, reserve: int) -> None:
    with pytest.raises(SkbOverPanic):
        alloc_skb(size, reserve)


@pytest.mark.parametrize("offset", [-1, 5])
def test_build_refuses_an_offset_outside_the_buffer(offset: int) -> None:
    with pytest.raises(SkbOverPanic):
        build_skb(b"four", offset)


def test_put_push_pull_trim_walk_over_the_buffer() -> None:
    skb = alloc_skb(16)
    skb_reserve(skb, 4)
    at = skb_put(skb, 6)
    skb.head[at : at + 6] = b"abcdef"  # type: ignore[index]  # alloc_skb makes a bytearray
    skb_put_data(skb, b"gh")
    assert linear(skb) == b"abcdefgh"
    assert skb_pull(skb, 3) == 7
    assert linear(skb) == b"defgh"
    assert skb_push(skb, 2) == 5
    assert linear(skb) == b"bcdefgh"
    skb_trim(skb, 100)
    assert skb.len == 7
    skb_trim(skb, 3)
    assert linear(skb) == b"bcd"
    assert (skb_headlen(skb), skb_is_nonlinear(skb)) == (3, False)


def test_lengths_that_do_not_fit_panic_and_change_nothing() -> None:
    skb = alloc_skb(8, 2)
    skb_put_data(skb, b"1234")
    for call, exc in (
        (lambda: skb_put(skb, 3), SkbOverPanic),
        (lambda: skb_put(skb, -1), SkbOverPanic),
        (lambda: skb_put_data(skb, b"123"), SkbOverPanic),
        (lambda: skb_push(skb, 3), SkbUnderPanic),
        (lambda: skb_push(skb, -1), SkbUnderPanic),
        (lambda: skb_pull(skb, 5), SkbUnderPanic),
        (lambda: skb_pull(skb, -1), SkbUnderPanic),
        (lambda: skb_trim(skb, -1), SkbUnderPanic),
        (lambda: skb_reserve(skb, 1), SkbOverPanic),
    ):
        with pytest.raises(exc):
            call()
        assert (skb.data, skb.len, linear(skb)) == (2, 4, b"1234")
    assert issubclass(SkbOverPanic, ValueError)
    assert issubclass(SkbUnderPanic, ValueError)


def test_put_and_trim_need_a_linear_packet() -> None:
    skb = SkBuff(bytearray(b"hd.."), 0, 5, 3, (b"pay",))
    assert skb_tailroom(skb) == 0
    with pytest.raises(SkbOverPanic):
        skb_put(skb, 1)
    with pytest.raises(SkbOverPanic):
        skb_put_data(skb, b"x")
    with pytest.raises(SkbUnderPanic):
        skb_trim(skb, 1)
    with pytest.raises(SkbUnderPanic):
        skb_pull(skb, 3)


def test_push_data_on_an_immutable_head_moves_the_offsets_that_are_set() -> None:
    payload = b"payload"
    skb = SkBuff(b"TCP", 0, 10, 7, (payload,))
    skb_reset_transport_header(skb)
    skb.csum_start = 1
    skb_push_data(skb, b"IPv4")
    skb_reset_network_header(skb)
    assert (skb.transport_header, skb.network_header, skb.mac_header, skb.csum_start) == (4, 0, -1, 5)
    skb_push_data(skb, b"ETHER")
    skb_reset_mac_header(skb)
    assert (skb.transport_header, skb.network_header, skb.mac_header, skb.csum_start) == (9, 5, 0, 10)
    skb_push_data(skb, b"")
    assert (skb.transport_header, skb.network_header, skb.mac_header, skb.csum_start) == (9, 5, 0, 10)
    assert skb.head == b"ETHERIPv4TCP"
    assert skb.frags[0] is payload
    assert skb_to_bytes(skb) == b"ETHERIPv4TCPpayload"
    assert skb.len == 19


def test_push_data_behind_pulled_headers_keeps_what_room_it_can() -> None:
    skb = build_skb(b"MMMMNNdata")  # received, link-layer header pulled, forwarded with another one
    skb_reset_mac_header(skb)
    skb_pull(skb, 4)
    skb_reset_network_header(skb)
    skb_push_data(skb, b"xyz")
    assert (skb.head, skb.data, skb.mac_header, skb.network_header) == (b"MxyzNNdata", 1, 0, 4)
    skb_push_data(skb, b"tagtag")
    assert (skb.head, skb.data, skb.network_header) == (b"tagtagxyzNNdata", 0, 9)
    assert skb.len == 15


def test_push_data_writes_a_private_bytearray_in_place() -> None:
    skb = alloc_skb(8, 4)
    skb_put_data(skb, b"1234")
    head = skb.head
    skb_push_data(skb, b"hh")
    assert skb.head is head
    assert (skb.data, linear(skb)) == (2, b"hh1234")
    skb_push_data(skb, b"long")
    assert (skb.data, linear(skb)) == (0, b"longhh1234")


def test_put_data_on_an_immutable_head_replaces_it() -> None:
    head = b"abc??"
    skb = SkBuff(head, 0, 3)
    skb_put_data(skb, memoryview(b"def"))
    assert linear(skb) == b"abcdef"
    assert head == b"abc??"


def test_truesize_is_the_documented_formula() -> None:
    skb = SkBuff(bytearray(100), 20, 50 + 1000, 1000, (bytes(1000),))
    assert skb.truesize == skb_truesize(skb) == SKB_OVERHEAD + 100 + 1000


@pytest.mark.parametrize(
    ("name", "default", "value"),
    [
        ("priority", 0, 6),
        ("mark", 0, 7),
        ("tstamp", 0, 10**18),
        ("vlan_tci", None, 100),
        ("hash", 0, 1),
        ("queue_mapping", 0, 2),
        ("pkt_type", 0, 3),
        ("skb_iif", 0, 4),
        ("csum", 0, 0xFFFF),
        ("gso_segs", 0, 5),
        ("gso_type", 0, 1),
        ("cb", None, ("scratch",)),
    ],
)
def test_rare_fields_cost_nothing_until_written(name: str, default: object, value: object) -> None:
    skb = build_skb(b"x")
    assert getattr(skb, name) == default
    assert skb.ext is None
    setattr(skb, name, value)
    assert getattr(skb, name) == value
    assert skb.ext is not None


def test_reading_frag_list_and_destructor_makes_no_ext() -> None:
    skb = build_skb(b"x")
    assert (skb.frag_list, skb.destructor, skb.ext) == ([], None, None)


def test_csum_start_is_the_transport_header_unless_set() -> None:
    skb = build_skb(b"0123456789")
    skb.transport_header = 4
    assert skb.csum_start == 4
    skb.priority = 1
    assert skb.csum_start == 4
    skb.csum_start = 6
    assert skb.csum_start == 6


def test_repr_shows_the_counts() -> None:
    assert "len=3 data_len=0 head=bytes(3) data=0 proto=0x0000 users=1 dataref=1" in repr(build_skb(b"abc"))
