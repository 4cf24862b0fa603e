"""fq_codel: turns, sparse flows first, CoDel's drops and marks at exact instants, limits."""

from __future__ import annotations

import errno

import pytest
from support.qdiscs import Line, raw, udp

from pysock.core.device import netif_start_queue, netif_stop_queue
from pysock.core.skbuff import SkBuff, skb_truesize
from pysock.sched.codel import CodelParams, CodelQueue
from pysock.sched.fq_codel import FqCodel
from pysock.sched.tbf import Tbf
from pysock.wire.checksum import verify

MS = 1_000_000


def release(line: Line) -> list[int]:
    netif_start_queue(line.dev)
    line.qdisc.run()
    return [name for _, name in line.run()]


def test_flows_take_turns_by_the_quantum() -> None:
    line = Line("fq_codel", quantum=1000)
    netif_stop_queue(line.dev)
    line.send(*(udp(500, n, sport=1) for n in range(4)), *(udp(1000, 10 + n, sport=2) for n in range(2)))
    assert release(line) == [0, 1, 10, 2, 3, 11]


def test_a_sparse_flow_goes_before_those_that_keep_a_queue() -> None:
    line = Line("fq_codel")
    netif_stop_queue(line.dev)
    line.send(*(udp(1514, n, sport=1) for n in range(5)))
    netif_start_queue(line.dev)
    line.qdisc.dequeue()
    line.qdisc.dequeue()  # the first flow is an old one now
    line.send(udp(60, 99, sport=2))
    assert line.run()[0][1] == 99


def test_what_is_not_ip_has_flows_too() -> None:
    line = Line("fq_codel", quantum=256)
    netif_stop_queue(line.dev)
    line.send(raw(300, 1), raw(300, 2), udp(300, 3))
    assert release(line) == [1, 3, 2]


# --- CoDel's law --------------------------------------------------


def unexpected(skb: SkBuff) -> None:
    raise AssertionError("CoDel dropped a packet")


def codel(ecn: bool = False, ce_threshold: int = 0) -> CodelQueue:
    return CodelQueue(CodelParams(5 * MS, 100 * MS, 1514, ecn, ce_threshold))


def served_late(queue: CodelQueue, steps: int, tos: int = 0) -> tuple[list[int], list[SkBuff]]:
    """Every ms a packet comes, and one that waited 50 ms leaves: at which ms some were dropped, and what left."""
    dropped: list[int] = []
    left: list[SkBuff] = []
    for ms in range(steps):
        queue.push(udp(1000, tos=tos), (1000 + ms - 50) * MS)
        if ms >= 10:  # ten packets stand in the queue
            skb = queue.dequeue((1000 + ms) * MS, lambda skb, ms=ms: dropped.append(ms))  # type: ignore[misc]
            if skb is not None:
                left.append(skb)
    return dropped, left


def test_the_first_drop_comes_after_an_interval_and_the_next_by_the_square_root() -> None:
    """Late from 10 ms on: dropped after 110 ms; then each interval / sqrt(count) after the last (RFC 8289 5.3)."""
    dropped, _ = served_late(codel(), 400)
    assert dropped[:4] == [111, 211, 282, 340]  # 111 + 100, + 70.7, + 57.7, rounded up to the ms
    assert dropped[4] == 390


def test_a_queue_that_is_short_or_fast_is_left_alone() -> None:
    queue = codel()
    for ms in range(300):  # late, but never more than one packet behind it
        queue.push(udp(1000), ms * MS)
        queue.push(udp(500), ms * MS)
        assert queue.dequeue((ms + 50) * MS, unexpected) is not None
        assert queue.dequeue((ms + 50) * MS, unexpected) is not None
    for ms in range(300):
        for _ in range(3):
            queue.push(udp(1000), ms * MS)
        for _ in range(3):
            assert queue.dequeue(ms * MS + 4_999_999, unexpected) is not None


def test_it_stops_when_packets_leave_in_time_and_resumes_where_it_was() -> None:
    queue = codel()
    dropped, _ = served_late(queue, 400)
    assert queue.dropping
    count = queue.count
    now = 1400 * MS
    while queue.pop() is not None:
        pass
    for _ in range(4):
        queue.push(udp(1000), now)
    assert queue.dequeue(now, unexpected) is not None
    assert not queue.dropping
    assert queue.count == count
    start = now + 10 * MS
    for ms in range(120):
        queue.push(udp(1000), start + (ms - 50) * MS)
        queue.dequeue(start + ms * MS, dropped.append)
    assert queue.dropping
    assert queue.count > 1  # within 16 intervals it does not start from one


def test_ecn_marks_instead_of_dropping() -> None:
    queue = codel(ecn=True)
    dropped, left = served_late(queue, 300, tos=2)
    assert dropped == []
    assert queue.params.ecn_mark == 3
    marked = [skb for skb in left if skb.head[15] & 3 == 3]
    assert len(marked) == 3
    assert all(verify(bytes(skb.head[14:34])) for skb in left)
    dropped, _ = served_late(codel(ecn=True), 300)  # what does not know ECN is dropped
    assert len(dropped) == 3


def test_the_ce_threshold() -> None:
    queue = codel(ecn=True, ce_threshold=1 * MS)
    for age in (1, 2):
        queue.push(udp(1000, tos=1), (10 - age) * MS)
    skbs = [queue.dequeue(10 * MS, unexpected) for _ in range(2)]
    assert [skb.head[15] & 3 for skb in skbs if skb is not None] == [1, 3]
    assert queue.params.ce_mark == 1


def test_a_slow_link_keeps_its_delay_near_the_target() -> None:
    """A tbf of 1000 packets/s, 1.1 times that offered for seven seconds: without CoDel 700 packets would wait."""
    line = Line("tbf", rate=1_000_000, burst=1000, limit=10_000_000)
    tbf = line.qdisc
    assert isinstance(tbf, Tbf)
    child = tbf.graft(0, "fq_codel", {"quantum": 1000})
    for step in range(7700):
        line.until(step * 909_090)
        line.send(udp(1000, step % 251))
    assert child.drops > 500
    assert child.qlen < 150
    assert tbf.drops == child.drops
    assert tbf.qlen == child.qlen


# --- limits --------------------------------------------------


def test_the_limit_takes_from_the_longest_queue() -> None:
    line = Line("fq_codel", limit=10, drop_batch=3)
    netif_stop_queue(line.dev)
    assert line.send(*(udp(1000, n, sport=1) for n in range(9))) == [0] * 9
    assert line.send(udp(100, 50, sport=2), udp(100, 51, sport=2)) == [0, 0]  # the other flow pays
    stats = line.qdisc.statistics()
    assert (stats["drops"], stats["drop_overlimit"], stats["qlen"]) == (3, 3, 8)
    assert line.send(udp(1000, 9, sport=1), udp(1000, 10, sport=1), udp(1000, 11, sport=1)) == [0, 0, 2]
    assert release(line) == [6, 7, 50, 51, 8, 9, 10, 11]


def test_at_most_half_of_it_goes_at_once() -> None:
    line = Line("fq_codel", limit=4)
    netif_stop_queue(line.dev)
    line.send(*(udp(1000, n) for n in range(5)))
    assert line.qdisc.statistics()["drops"] == 3  # 3000 bytes are the first that reach 2500


def test_the_memory_limit() -> None:
    size = skb_truesize(udp(1000))
    line = Line("fq_codel", memory_limit=4 * size)
    netif_stop_queue(line.dev)
    line.send(*(udp(1000, n) for n in range(4)))
    assert line.qdisc.statistics()["memory_used"] == 4 * size
    line.send(udp(1000, 9))
    stats = line.qdisc.statistics()
    assert (stats["drop_overmemory"], stats["memory_used"]) == (3, 2 * size)
    release(line)
    assert line.qdisc.statistics()["memory_used"] == 0


def test_purging_frees_everything() -> None:
    line = Line("fq_codel")
    netif_stop_queue(line.dev)
    freed: list[SkBuff] = []
    for port in (1, 1, 2):
        skb = udp(100, sport=port)
        skb.destructor = freed.append
        line.send(skb)
    line.qdisc.peek()
    line.qdisc.purge()
    assert len(freed) == 3
    assert line.qdisc.statistics()["memory_used"] == line.qdisc.statistics()["qlen"] == 0
    assert release(line) == []


def test_flows_that_wait_for_nothing_are_forgotten() -> None:
    line = Line("fq_codel", flows=8)
    for port in range(100):
        line.send(udp(100, sport=port))
    assert isinstance(line.qdisc, FqCodel)
    assert len(line.qdisc.flows) <= 8


@pytest.mark.parametrize("options", [{"limit": 0}, {"flows": 0}, {"quantum": 255}, {"ecn": 2}, {"colour": 1}])
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(OSError) as info:
        Line("fq_codel", **options)
    assert info.value.errno == errno.EINVAL


def test_dump_makes_the_same_again() -> None:
    options = Line("fq_codel", target=MS, ecn=0, quantum=300).qdisc.dump()
    assert Line("fq_codel", **options).qdisc.dump() == options
