"""Debug mode names the code that breaks a rule of sharing."""

from __future__ import annotations

import pytest

from pysock.core.skb_copy import skb_clone, skb_copy, skb_cow_head, skb_orphan_frags, skb_unclone
from pysock.core.skb_data import skb_append_frag, skb_store_bits, skb_to_bytes
from pysock.core.skb_debug import SkbBroken, SkbChecker, SkbSharedWrite, SkbUseAfterFree
from pysock.core.skbuff import (
    SkBuff,
    alloc_skb,
    build_skb,
    consume_skb,
    kfree_skb,
    skb_get,
    skb_header_release,
    skb_push_data,
    skb_put_data,
)


@pytest.fixture
def checker() -> SkbChecker:
    return SkbChecker()


def watched(checker: SkbChecker, data: bytes = b"payload") -> SkBuff:
    skb = alloc_skb(16 + len(data), 16)
    skb_put_data(skb, data)
    checker.check(skb)
    return skb


def scribble(skb: SkBuff, at: int = 0, byte: int = 0xEE) -> None:
    assert isinstance(skb.head, bytearray)
    skb.head[skb.data + at] = byte


def cloning_function(skb: SkBuff) -> SkBuff:
    return skb_clone(skb)


def test_a_write_to_shared_data_is_caught_at_the_check_and_names_the_clone(checker: SkbChecker) -> None:
    skb = watched(checker)
    new = cloning_function(skb)
    scribble(skb, 2)
    for packet in (skb, new):
        with pytest.raises(SkbSharedWrite, match=r"offset 18 .*cloning_function .*test_skbuff_debug"):
            checker.check(packet)


def test_a_write_to_shared_data_is_caught_at_the_next_clone_and_at_the_free(checker: SkbChecker) -> None:
    skb = watched(checker)
    new = cloning_function(skb)
    scribble(new)
    with pytest.raises(SkbSharedWrite, match="cloning_function"):
        skb_clone(skb)
    with pytest.raises(SkbSharedWrite, match="cloning_function"):
        consume_skb(new)


def test_a_write_into_the_shared_headroom_is_caught(checker: SkbChecker) -> None:
    skb = watched(checker)
    skb_clone(skb)
    scribble(skb, -1)
    with pytest.raises(SkbSharedWrite, match="offset 15 "):
        checker.check(skb)


def test_a_clone_of_released_headers_may_write_headers_but_not_data(checker: SkbChecker) -> None:
    skb = watched(checker)
    skb_header_release(skb)
    new = skb_clone(skb)
    skb_cow_head(new, 4)
    skb_push_data(new, b"hdr:")
    checker.check(new)
    scribble(new, 4)
    with pytest.raises(SkbSharedWrite):
        checker.check(new)


def test_all_the_right_ways_to_write_pass(checker: SkbChecker) -> None:
    skb = watched(checker)
    one, two, three = skb_clone(skb), skb_clone(skb), skb_copy(skb)
    skb_unclone(one)
    scribble(one)
    skb_store_bits(two, 0, b"XX")
    skb_push_data(two, b"hdr")
    scribble(three)
    for packet in (skb, one, two, three):
        checker.check(packet)
        consume_skb(packet)
    assert checker.leaked() == []


def test_the_last_owner_may_write(checker: SkbChecker) -> None:
    skb = watched(checker)
    consume_skb(skb_clone(skb))
    scribble(skb)
    checker.check(skb)
    again = skb_clone(skb)  # shared anew, with the new contents
    checker.check(again)
    scribble(again, 1)
    with pytest.raises(SkbSharedWrite, match="offset 17 "):
        checker.check(skb)


def test_lent_memory_that_changes_is_caught_unless_it_was_orphaned(checker: SkbChecker) -> None:
    buffer = bytearray(b"lent")
    skb, safe = build_skb(b"h"), build_skb(b"h")
    skb_append_frag(skb, buffer)
    skb_append_frag(safe, buffer)
    checker.check(skb)
    checker.check(safe)
    skb_orphan_frags(safe)
    buffer[0] = 0
    checker.check(safe)
    assert skb_to_bytes(safe) == b"hlent"
    with pytest.raises(SkbSharedWrite, match="skb_orphan_frags"):
        checker.check(skb)


def freeing_function(skb: SkBuff) -> None:
    kfree_skb(skb, "NO_SOCKET")


def test_any_use_after_the_free_names_who_freed(checker: SkbChecker) -> None:
    skb = watched(checker)
    freeing_function(skb)
    for use in (
        lambda: skb.len,
        lambda: skb.priority,
        lambda: setattr(skb, "mark", 1),
        lambda: setattr(skb, "len", 1),
        lambda: skb_get(skb),
        lambda: consume_skb(skb),
        lambda: checker.check(skb),
    ):
        with pytest.raises(SkbUseAfterFree, match=r"freed by freeing_function .*\(NO_SOCKET\)"):
            use()
    assert "freed by freeing_function" in repr(skb)
    assert issubclass(skb.__class__, SkBuff)


def test_a_reference_left_keeps_the_packet_alive(checker: SkbChecker) -> None:
    skb = watched(checker)
    skb_get(skb)
    consume_skb(skb)
    checker.check(skb)
    assert skb_to_bytes(skb) == b"payload"
    consume_skb(skb)
    with pytest.raises(SkbUseAfterFree):
        _ = skb.users


def test_the_destructor_still_sees_a_whole_packet(checker: SkbChecker) -> None:
    skb = watched(checker)
    seen: list[bytes] = []
    skb.destructor = lambda packet: seen.append(skb_to_bytes(packet))
    consume_skb(skb)
    assert seen == [b"payload"]


def test_lengths_that_do_not_add_up(checker: SkbChecker) -> None:
    for data, length, data_len in ((0, 5, 0), (3, 3, 0), (-1, 1, 0), (0, 4, 1), (0, -1, 0)):
        with pytest.raises(SkbBroken):
            checker.verify(SkBuff(b"four", data, length, data_len))
    unwatched = build_skb(b"x")
    consume_skb(unwatched)
    with pytest.raises(SkbBroken, match="no references"):
        checker.verify(unwatched)
    skb = watched(checker)
    skb_clone(skb)
    assert skb.shinfo is not None
    skb.shinfo.dataref = 0
    with pytest.raises(SkbBroken, match="head"):
        checker.verify(skb)


def test_leaks_are_listed_by_the_place_that_first_saw_them(checker: SkbChecker) -> None:
    skb = watched(checker)
    new = cloning_function(skb)
    consume_skb(skb)
    leaks = checker.leaked()
    assert len(leaks) == 1
    assert leaks[0].startswith("cloning_function (")
    consume_skb(new)
    assert checker.leaked() == []


def test_two_checkers_and_unwatched_packets_keep_apart(checker: SkbChecker) -> None:
    other = SkbChecker()
    skb, plain = watched(checker), build_skb(b"x")
    checker.verify(plain)
    assert plain.ext is None
    other.check(skb)  # already followed by the first
    assert (len(checker.leaked()), other.leaked()) == (1, [])
