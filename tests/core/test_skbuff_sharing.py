"""The rules of sharing: `users` guards the struct, `dataref` guards the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from pysock.core.skb_copy import (
    pskb_copy,
    pskb_expand_head,
    skb_clone,
    skb_copy,
    skb_copy_expand,
    skb_cow,
    skb_cow_head,
    skb_orphan_frags,
    skb_share_check,
    skb_unclone,
    skb_unshare,
)
from pysock.core.skb_data import skb_append_frag_list, skb_copy_bits, skb_to_bytes
from pysock.core.skbuff import (
    SkbOverPanic,
    SkbRefPanic,
    SkBuff,
    alloc_skb,
    build_skb,
    consume_skb,
    kfree_skb,
    skb_cloned,
    skb_get,
    skb_header_cloned,
    skb_header_release,
    skb_orphan,
    skb_push,
    skb_push_data,
    skb_put_data,
    skb_shared,
)

if TYPE_CHECKING:
    from pysock.core.sock import Sock


def owned(data: bytes, headroom: int = 16, tailroom: int = 0) -> SkBuff:
    skb = alloc_skb(headroom + len(data) + tailroom, headroom)
    skb_put_data(skb, data)
    return skb


def writable(skb: SkBuff) -> bytearray:
    assert isinstance(skb.head, bytearray)
    return skb.head


def a_sock() -> Sock:
    return cast("Sock", object())


class Sink:
    """Collects the packets whose destructor ran."""

    def __init__(self) -> None:
        self.seen: list[SkBuff] = []

    def __call__(self, skb: SkBuff) -> None:
        self.seen.append(skb)


# --- users -----------------------------------------------------------------------------------------


def test_the_last_reference_runs_the_destructor_once() -> None:
    sink = Sink()
    skb = build_skb(b"x")
    skb.destructor = sink
    skb_get(skb)
    assert skb_shared(skb)
    consume_skb(skb)
    assert sink.seen == []
    assert not skb_shared(skb)
    kfree_skb(skb, "TCP_CSUM")
    assert sink.seen == [skb]


@pytest.mark.parametrize("with_ext", [False, True])
def test_a_double_free_is_caught_without_debug_mode(with_ext: bool) -> None:
    sink = Sink()
    skb = build_skb(b"x")
    if with_ext:
        skb.destructor = sink
    consume_skb(skb)
    with pytest.raises(SkbRefPanic):
        consume_skb(skb)
    with pytest.raises(SkbRefPanic):
        kfree_skb(skb)
    assert len(sink.seen) == int(with_ext)


def test_orphan_runs_the_destructor_now_and_never_again() -> None:
    sink = Sink()
    skb = build_skb(b"x")
    skb.sk = a_sock()
    skb.destructor = sink
    skb_orphan(skb)
    assert sink.seen == [skb]
    assert skb.sk is None
    consume_skb(skb)
    assert sink.seen == [skb]


def test_share_check_gives_each_holder_a_struct_of_its_own() -> None:
    skb = build_skb(b"abcdef")
    assert skb_share_check(skb) is skb
    skb_get(skb)
    mine = skb_share_check(skb)
    assert mine is not skb
    assert mine.head is skb.head
    assert (skb.users, mine.users) == (1, 1)
    assert skb_cloned(mine)


# --- clones ----------------------------------------------------------------------------------------


def test_a_clone_shares_the_bytes_and_copies_the_fields() -> None:
    sink = Sink()
    skb = SkBuff(bytearray(b"..header"), 2, 10, 4, (b"body",))
    skb.protocol, skb.ip_summed, skb.gso_size, skb.csum_offset = 0x0800, 3, 1448, 16
    skb.mac_header, skb.network_header, skb.transport_header = 0, 2, 4
    skb.dst, skb.sk = "route", a_sock()
    skb.priority, skb.mark, skb.tstamp, skb.vlan_tci = 1, 2, 3, 4
    skb.csum_start, skb.gso_segs, skb.gso_type, skb.pkt_type = 5, 6, 7, 8
    skb.hash, skb.queue_mapping, skb.skb_iif, skb.csum, skb.cb = 9, 10, 11, 12, "cb"
    skb.destructor = sink
    new = skb_clone(skb)
    assert new.head is skb.head
    assert new.frags is skb.frags
    fields = """data len data_len protocol ip_summed gso_size csum_offset mac_header network_header transport_header
        dst dev priority mark tstamp vlan_tci csum_start gso_segs gso_type pkt_type hash queue_mapping skb_iif csum
        cb"""
    for name in fields.split():
        assert getattr(new, name) == getattr(skb, name), name
    assert new.sk is None
    assert new.destructor is None
    new.mark = 99
    assert skb.mark == 2
    consume_skb(new)
    assert sink.seen == []


def test_dataref_counts_the_clones_and_falls_with_them() -> None:
    skb = owned(b"data")
    assert not skb_cloned(skb)
    one = skb_clone(skb)
    two = skb_clone(one)
    assert skb.shinfo is not None
    assert skb.shinfo.dataref == 3
    assert skb_cloned(skb)
    assert skb_cloned(one)
    assert skb_cloned(two)
    consume_skb(one)
    consume_skb(skb)
    assert not skb_cloned(two)
    assert not skb_header_cloned(two)


def test_an_immutable_head_is_never_writable() -> None:
    skb = build_skb(b"data")
    assert not skb_cloned(skb)
    assert skb_header_cloned(skb)


def test_released_headers_belong_to_the_clone() -> None:
    skb = owned(b"payload")  # stays in the retransmit queue
    skb_header_release(skb)
    skb_header_release(skb)  # idempotent
    new = skb_clone(skb)
    assert skb_cloned(new)
    assert not skb_header_cloned(new)
    head = new.head
    skb_cow_head(new, 4)
    skb_push_data(new, b"hdr:")
    assert new.head is head
    assert skb_to_bytes(new) == b"hdr:payload"
    assert skb_to_bytes(skb) == b"payload"
    consume_skb(skb)
    assert not skb_cloned(new)
    assert not skb_header_cloned(new)


def test_two_clones_of_released_headers_guard_each_other() -> None:
    skb = owned(b"payload")
    skb_header_release(skb)
    one, two = skb_clone(skb), skb_clone(skb)
    assert skb_header_cloned(one)
    assert skb_header_cloned(two)
    consume_skb(two)
    assert not skb_header_cloned(one)


def test_pushing_and_putting_data_unshare_by_themselves() -> None:
    skb = owned(b"data", tailroom=8)
    one, two = skb_clone(skb), skb_clone(skb)
    skb_push_data(one, b"one:")
    skb_put_data(two, b":two")
    assert [skb_to_bytes(s) for s in (skb, one, two)] == [b"data", b"one:data", b"data:two"]
    assert not skb_cloned(skb)
    assert bytes(skb.head) == bytes(16) + b"data" + bytes(8)


def test_pushing_onto_a_cloned_immutable_head_gives_the_share_back() -> None:
    skb = build_skb(b"data")
    new = skb_clone(skb)
    skb_push_data(new, b"h")
    assert (skb_to_bytes(skb), skb_to_bytes(new)) == (b"data", b"hdata")
    assert not skb_cloned(skb)
    assert not skb_cloned(new)


# --- private heads ---------------------------------------------------------------------------------


def test_expand_head_moves_offsets_and_leaves_the_clone_alone() -> None:
    skb = SkBuff(b"MACIPdata", 3, 6)
    skb.mac_header, skb.network_header, skb.csum_start = 0, 3, 5
    new = skb_clone(skb)
    pskb_expand_head(skb, 5, 7)
    assert (skb.data, skb.mac_header, skb.network_header, skb.transport_header, skb.csum_start) == (8, 5, 8, -1, 10)
    assert len(skb.head) == 5 + 9 + 7
    writable(skb)[8:10] = b"ip"
    assert skb_to_bytes(skb) == b"MACipdata"
    assert skb_to_bytes(new) == b"MACIPdata"
    assert not skb_cloned(new)


def test_expand_head_refuses_negative_sizes_and_shared_structs() -> None:
    skb = owned(b"x")
    for nhead, ntail in ((-1, 0), (0, -1)):
        with pytest.raises(SkbOverPanic):
            pskb_expand_head(skb, nhead, ntail)
    skb_get(skb)
    with pytest.raises(SkbOverPanic):
        pskb_expand_head(skb, 0, 0)


def test_cow_copies_only_when_it_must() -> None:
    skb = owned(b"data", headroom=8)
    head = skb.head
    skb_cow(skb, 8)
    skb_cow_head(skb, 8)
    skb_unclone(skb)
    assert skb.head is head
    skb_cow(skb, 20)
    assert skb.data == 20
    for private in (skb_cow, skb_cow_head):
        new = skb_clone(skb)
        private(new, 0)
        writable(new)[new.data] = ord("D")
        assert (skb_to_bytes(skb), skb_to_bytes(new)) == (b"data", b"Data")
        consume_skb(new)


@pytest.mark.parametrize("immutable", [False, True])
def test_unclone_and_unshare_make_the_data_writable(immutable: bool) -> None:
    skb = build_skb(b"data") if immutable else owned(b"data")
    one, two = skb_clone(skb), skb_clone(skb)
    skb_unclone(one)
    writable(one)[one.data] = ord("1")
    copied = skb_unshare(two)
    assert copied is not two
    writable(copied)[copied.data] = ord("2")
    assert [skb_to_bytes(s) for s in (skb, one, copied)] == [b"data", b"1ata", b"2ata"]
    assert not skb_cloned(skb)
    same = skb_unshare(skb)
    assert same is skb
    writable(same)[same.data] = ord("3")
    assert skb_to_bytes(same) == b"3ata"


# --- copies ----------------------------------------------------------------------------------------


def test_copy_is_linear_private_and_keeps_the_headroom() -> None:
    skb = SkBuff(b"MACnetwork", 3, 7 + 4, 4, (b"bo", memoryview(b"dy")))
    skb.mac_header, skb.network_header = 0, 3
    new = skb_copy(skb)
    assert (new.data_len, new.frags, new.shinfo) == (0, (), None)
    assert (new.mac_header, new.network_header) == (0, 3)
    assert skb_to_bytes(new) == skb_to_bytes(skb) == b"MACnetworkbody"
    writable(new)[:] = bytes(14)
    assert skb_to_bytes(skb) == b"MACnetworkbody"


def test_copy_expand_resizes_both_rooms_and_unsets_lost_headers() -> None:
    skb = SkBuff(b"MACIPdata", 5, 4)
    skb.mac_header, skb.network_header, skb.transport_header = 0, 3, 5
    wide = skb_copy_expand(skb, 20, 6)
    assert (wide.data, len(wide.head), wide.mac_header, wide.network_header) == (20, 30, 15, 18)
    assert skb_to_bytes(wide) == b"MACIPdata"
    tight = skb_copy_expand(skb, 2, 0)
    assert (tight.data, tight.mac_header, tight.network_header, tight.transport_header) == (2, -1, 0, 2)
    assert bytes(tight.head) == b"IPdata"
    with pytest.raises(SkbOverPanic):
        skb_copy_expand(skb, -1, 0)


def test_pskb_copy_has_its_own_headers_over_the_same_frags() -> None:
    body = b"body"
    skb = SkBuff(b"head", 0, 8, 4, (body,))
    new = pskb_copy(skb)
    writable(new)[0:4] = b"HEAD"
    assert new.frags[0] is body
    assert (skb_to_bytes(skb), skb_to_bytes(new)) == (b"headbody", b"HEADbody")
    assert not skb_cloned(skb)


def test_orphan_frags_copies_only_memory_that_could_change() -> None:
    lent = bytearray(b"lent")
    kept, view = b"kept", memoryview(b"view")
    skb = SkBuff(b"", 0, 16, 16, (kept, view, memoryview(lent), memoryview(lent).toreadonly()))
    skb_orphan_frags(skb)
    assert skb.frags[0] is kept
    assert skb.frags[1] is view
    lent[:] = b"XXXX"
    assert skb_to_bytes(skb) == b"keptviewlentlent"
    frags = skb.frags
    skb_orphan_frags(skb)
    assert skb.frags is frags


def test_orphan_frags_reaches_into_the_frag_list() -> None:
    lent = bytearray(b"lent")
    skb = build_skb(b"parent")
    skb_append_frag_list(skb, SkBuff(b"", 0, 4, 4, (memoryview(lent),)))
    skb_orphan_frags(skb)
    lent[:] = b"XXXX"
    assert skb_to_bytes(skb) == b"parentlent"


def test_headers_released_after_the_clone() -> None:
    skb = owned(b"payload")
    new = skb_clone(skb)
    assert skb_header_cloned(new)
    skb_header_release(skb)
    assert not skb_header_cloned(new)
    skb_unclone(skb)  # takes a head of its own, and with it the promise back
    assert new.shinfo is not None
    assert (new.shinfo.dataref, new.shinfo.payload_refs) == (1, 0)
    assert not skb_cloned(new)


def test_frag_list_members_live_as_long_as_their_last_holder() -> None:
    sink = Sink()
    child = build_skb(b"child")
    child.destructor = sink
    skb = build_skb(b"parent")
    skb_append_frag_list(skb, child)
    new = skb_clone(skb)
    assert child.users == 2
    consume_skb(skb)
    assert sink.seen == []
    assert skb_copy_bits(new, 0, new.len) == b"parentchild"
    kfree_skb(new)
    assert sink.seen == [child]


def test_skb_push_exposes_headers_again_for_all_clones_separately() -> None:
    skb = build_skb(b"ETHdata", 3)
    new = skb_clone(skb)
    skb_push(new, 3)
    assert (skb_to_bytes(skb), skb_to_bytes(new)) == (b"data", b"ETHdata")
