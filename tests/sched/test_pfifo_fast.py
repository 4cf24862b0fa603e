"""pfifo_fast: which band a priority gets, which band goes first, and how much each holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import boot, make, packet

from pysock.core.dev_xmit import NET_XMIT_DROP, NET_XMIT_SUCCESS
from pysock.core.skbuff import SkBuff
from pysock.sched.pfifo_fast import PfifoFast


def discipline(tx_queue_len: int = 10) -> PfifoFast:
    dev = make(boot(), queue=True)
    dev.tx_queue_len = tx_queue_len
    return PfifoFast(dev)


def with_priority(qdisc: PfifoFast, priority: int) -> SkBuff:
    skb = packet(qdisc.dev)
    if priority:
        skb.priority = priority
    return skb


@pytest.mark.parametrize(
    ("priority", "band"),
    # tc-pfifo_fast(8): best effort, filler, bulk, interactive bulk, interactive, control; beyond 15 the low bits count
    [(0, 1), (1, 2), (2, 2), (4, 1), (6, 0), (7, 0), (15, 1), (16 + 6, 0), (0xFFFF0002, 2)],
)
def test_bands(priority: int, band: int) -> None:
    qdisc = discipline()
    assert qdisc.enqueue(with_priority(qdisc, priority)) == NET_XMIT_SUCCESS
    assert [len(queue) for queue in qdisc.bands] == [int(band == n) for n in range(3)]


def test_lower_bands_go_first_and_each_is_in_order() -> None:
    qdisc = discipline()
    order = [with_priority(qdisc, priority) for priority in (2, 0, 6, 2, 0, 7)]
    for skb in order:
        qdisc.enqueue(skb)
    expected = [order[n] for n in (2, 5, 1, 4, 0, 3)]
    for skb in expected:
        assert qdisc.peek() is skb
        assert qdisc.dequeue() is skb
    assert qdisc.dequeue() is qdisc.peek() is None


def test_each_band_holds_as_many_as_the_device_says() -> None:
    qdisc = discipline(3)
    assert [qdisc.enqueue(with_priority(qdisc, 0)) for _ in range(5)] == [NET_XMIT_SUCCESS] * 3 + [NET_XMIT_DROP] * 2
    assert qdisc.enqueue(with_priority(qdisc, 6)) == NET_XMIT_SUCCESS  # another band
    stats = qdisc.statistics()
    assert (stats["drops"], stats["qlen"], stats["backlog"]) == (2, 4, 4 * 21)
    qdisc.dev.tx_queue_len = 4  # counts from the next packet on
    assert qdisc.enqueue(with_priority(qdisc, 0)) == NET_XMIT_SUCCESS


def test_a_dropped_packet_is_freed() -> None:
    qdisc = discipline(0)
    freed: list[SkBuff] = []
    skb = with_priority(qdisc, 0)
    skb.destructor = freed.append
    assert qdisc.enqueue(skb) == NET_XMIT_DROP
    assert freed == [skb]


def test_reset_frees_everything() -> None:
    qdisc = discipline()
    freed: list[SkBuff] = []
    for priority in (0, 2, 6):
        skb = with_priority(qdisc, priority)
        skb.destructor = freed.append
        qdisc.enqueue(skb)
    qdisc.purge()
    assert len(freed) == 3
    assert qdisc.statistics()["qlen"] == qdisc.statistics()["backlog"] == 0
    assert qdisc.dequeue() is None


@given(st.lists(st.one_of(st.integers(0, 20), st.none()), max_size=60))
def test_counts_agree_with_the_queues(steps: list[int | None]) -> None:
    """An int enqueues with that priority, None dequeues: qlen and backlog are what the bands hold, nothing vanishes."""
    qdisc = discipline(4)
    taken = handed = 0
    for step in steps:
        if step is None:
            taken += qdisc.dequeue() is not None
        else:
            qdisc.enqueue(with_priority(qdisc, step))
            handed += 1
        held = [skb for band in qdisc.bands for skb in band]
        assert qdisc.qlen == len(held)
        assert qdisc.backlog == sum(skb.len for skb in held)
        assert handed == taken + len(held) + qdisc.drops
