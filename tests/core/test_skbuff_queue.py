"""SkBuffHead: order, counts, lazy storage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.core.skb_queue import SkBuffHead
from pysock.core.skbuff import SkBuff, build_skb


def fill(*sizes: int) -> tuple[SkBuffHead, list[SkBuff]]:
    queue, packets = SkBuffHead(), [build_skb(bytes(size)) for size in sizes]
    for skb in packets:
        queue.tail(skb)
    return queue, packets


def check(queue: SkBuffHead, expected: list[SkBuff]) -> None:
    assert [id(skb) for skb in queue] == [id(skb) for skb in expected]
    assert queue.qlen == len(queue) == len(expected)
    assert queue.bytes == sum(skb.len for skb in expected)
    assert bool(queue) is bool(expected)
    assert queue.peek() is (expected[0] if expected else None)
    assert queue.peek_tail() is (expected[-1] if expected else None)


def test_an_empty_queue_stores_nothing() -> None:
    queue = SkBuffHead()
    check(queue, [])
    assert queue.dequeue() is None
    assert queue.dequeue_tail() is None
    queue.purge()
    assert queue._q is None


def test_both_ends() -> None:
    queue, (a, b, c) = fill(1, 2, 3)
    check(queue, [a, b, c])
    d = build_skb(bytes(4))
    queue.head(d)
    check(queue, [d, a, b, c])
    assert queue.dequeue() is d
    assert queue.dequeue_tail() is c
    check(queue, [a, b])
    other = SkBuffHead()
    other.head(d)
    check(other, [d])


def test_the_middle() -> None:
    queue, (a, b, c) = fill(1, 2, 3)
    d, e = build_skb(bytes(4)), build_skb(bytes(5))
    queue.insert_after(b, d)
    queue.insert_before(a, e)
    check(queue, [e, a, b, d, c])
    queue.unlink(b)
    check(queue, [e, a, d, c])
    with pytest.raises(ValueError, match="not in this queue"):
        queue.unlink(b)
    with pytest.raises(ValueError, match="not in this queue"):
        queue.insert_after(b, b)
    with pytest.raises(ValueError, match="not in this queue"):
        queue.insert_before(b, b)
    check(queue, [e, a, d, c])


def test_unlink_goes_by_identity() -> None:
    queue, (a, b) = fill(7, 7)
    queue.unlink(b)
    check(queue, [a])


@pytest.mark.parametrize("mine", [(), (1, 2)])
@pytest.mark.parametrize("theirs", [(), (3, 4, 5)])
def test_splice_moves_everything(mine: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    queue, ours = fill(*mine)
    other, others = fill(*theirs)
    queue.splice(other)
    check(queue, others + ours)
    check(other, [])
    other, more = fill(*theirs)
    queue.splice_tail(other)
    check(queue, others + ours + more)
    check(other, [])
    other.tail(queue.peek() or build_skb(b"x"))  # the emptied queue does not share storage with the full one
    assert queue.qlen == len(others + ours + more)


def test_a_queue_cannot_swallow_itself() -> None:
    queue, packets = fill(1)
    with pytest.raises(ValueError, match="itself"):
        queue.splice(queue)
    check(queue, packets)


def test_purge_gives_every_reference_back() -> None:
    queue, packets = fill(1, 2, 3)
    freed: list[SkBuff] = []
    for skb in packets:
        skb.destructor = freed.append
    queue.purge()
    check(queue, [])
    assert freed == packets


def test_a_destructor_may_queue_while_the_queue_is_purged() -> None:
    queue, (a, _b) = fill(1, 2)
    late = build_skb(bytes(9))
    a.destructor = lambda skb: queue.tail(late)
    queue.purge()
    check(queue, [late])


def test_resize_keeps_the_byte_count_true() -> None:
    queue, (a, _b) = fill(10, 20)
    a.data += 4
    a.len -= 4
    queue.resize(-4)
    check(queue, [a, _b])


@given(st.lists(st.tuples(st.sampled_from(["tail", "head", "dequeue", "dequeue_tail", "unlink"]), st.integers(0, 99))))
def test_any_history_matches_a_list(history: list[tuple[str, int]]) -> None:
    queue = SkBuffHead()
    model: list[SkBuff] = []
    for op, n in history:
        skb = build_skb(bytes(n))
        if op == "tail":
            queue.tail(skb)
            model.append(skb)
        elif op == "head":
            queue.head(skb)
            model.insert(0, skb)
        elif op == "dequeue":
            assert queue.dequeue() is (model.pop(0) if model else None)
        elif op == "dequeue_tail":
            assert queue.dequeue_tail() is (model.pop() if model else None)
        elif model:
            queue.unlink(model.pop(n % len(model)))
        check(queue, model)
