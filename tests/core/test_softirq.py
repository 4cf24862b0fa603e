"""Softirqs: the backlog and its bound, NAPI with its weight and budget, and what is left to the next entry."""

from __future__ import annotations

from pysock.core.contain import ErrorReporter
from pysock.core.softirq import (
    MAX_RESTART,
    NAPI_POLL_WEIGHT,
    NET_RX_DROP,
    NET_RX_SUCCESS,
    NET_TX_SOFTIRQ,
    NETDEV_BUDGET,
    NapiStruct,
    SoftnetData,
)


class Bench:
    """A SoftnetData whose packets are just numbers."""

    def __init__(self) -> None:
        self.received: list[object] = []
        self.said: list[str] = []
        self.softnet = SoftnetData(self.take, ErrorReporter(self.said.append))

    def take(self, skb: object) -> int:
        self.received.append(skb)
        return 0


class Ring:
    """A device's receive ring of ``filled`` packets, polled by NAPI."""

    def __init__(self, bench: Bench, filled: int, name: str = "eth0") -> None:
        self.bench = bench
        self.filled = filled
        self.polls: list[int] = []
        self.napi = NapiStruct(bench.softnet, self.poll, NAPI_POLL_WEIGHT, name)

    def poll(self, budget: int) -> int:
        work = min(budget, self.filled)
        self.filled -= work
        self.polls.append(work)
        for _ in range(work):
            self.bench.take(self.napi.owner)
        if work < budget:
            self.napi.complete_done(work)
        return work


def test_packets_come_in_order_and_what_they_cause_behind_them() -> None:
    bench = Bench()
    softnet = bench.softnet

    def answer(skb: object) -> int:
        bench.received.append(skb)
        if skb in (1, 2):
            softnet.netif_rx(skb * 10)
            softnet.run()  # a handler that leaves the kernel: no recursion
        return 0

    softnet.receive = answer
    for number in (1, 2, 3):
        assert softnet.netif_rx(number) == NET_RX_SUCCESS
    softnet.run()
    assert bench.received == [1, 2, 3, 10, 20]
    assert softnet.processed == 5
    assert not softnet.pending


def test_a_full_backlog_drops_and_counts() -> None:
    bench = Bench()
    bench.softnet.max_backlog = 2
    assert [bench.softnet.netif_rx(n) for n in range(4)] == [NET_RX_SUCCESS, NET_RX_SUCCESS, NET_RX_DROP, NET_RX_DROP]
    assert bench.softnet.dropped == 2
    bench.softnet.run()
    assert bench.received == [0, 1]


def test_a_device_is_polled_until_it_completes() -> None:
    bench = Bench()
    ring = Ring(bench, 100)
    assert ring.napi.schedule()
    assert not ring.napi.schedule()  # queued already
    bench.softnet.run()
    assert ring.polls == [64, 36]
    assert not ring.napi.scheduled
    assert bench.softnet.time_squeeze == 0


def test_a_busy_device_does_not_starve_the_others() -> None:
    bench = Bench()
    busy, quiet = Ring(bench, 10_000, "busy"), Ring(bench, 3, "quiet")
    busy.napi.schedule()
    quiet.napi.schedule()
    bench.softnet.netif_rx("backlog")
    bench.softnet.run()
    assert bench.received.index("quiet") <= 2 * NAPI_POLL_WEIGHT
    assert bench.received.index("backlog") <= NAPI_POLL_WEIGHT


def test_the_budget_ends_a_round_and_ten_rounds_end_a_run() -> None:
    bench = Bench()
    ring = Ring(bench, 1_000_000)
    ring.napi.schedule()
    bench.softnet.run()
    assert bench.softnet.time_squeeze == MAX_RESTART
    assert NETDEV_BUDGET * MAX_RESTART <= len(bench.received) <= (NETDEV_BUDGET + NAPI_POLL_WEIGHT) * MAX_RESTART
    assert bench.softnet.pending  # the rest is for whoever enters next
    before = len(bench.received)
    bench.softnet.run()
    assert len(bench.received) > before


def test_each_device_has_a_weight() -> None:
    bench = Bench()
    light, heavy = Ring(bench, 40, "light"), Ring(bench, 40, "heavy")
    light.napi.weight = 8
    light.napi.schedule()
    heavy.napi.schedule()
    bench.softnet.run()
    assert light.polls == [8] * 5 + [0]
    assert bench.received[:56] == ["light"] * 8 + ["heavy"] * 40 + ["light"] * 8


def test_the_budget_can_be_set() -> None:
    bench = Bench()
    bench.softnet.budget = 100
    ring = Ring(bench, 250)
    ring.napi.schedule()
    bench.softnet.run()
    assert bench.softnet.time_squeeze == 2  # after each two polls
    assert ring.filled == 0
    assert not bench.softnet.pending


def test_scheduled_again_during_its_poll_it_is_polled_once_more() -> None:
    """An interrupt between napi_complete_done and the end of the poll: it stands on the list once, not twice."""
    bench = Bench()
    polls: list[int] = []

    def poll(budget: int) -> int:
        polls.append(budget)
        if len(polls) == 1:
            napi.complete_done(3)
            assert napi.schedule()
            assert not napi.schedule()
            assert list(bench.softnet.poll_list) == [napi]
            return 3
        napi.complete_done(0)
        return 0

    napi = NapiStruct(bench.softnet, poll, NAPI_POLL_WEIGHT, "eth0")
    assert napi.schedule()
    bench.softnet.run()
    assert polls == [64, 64]
    assert not bench.softnet.poll_list
    assert not bench.softnet.pending


def test_a_poll_that_raises_is_named_and_taken_off() -> None:
    bench = Bench()

    def broken(budget: int) -> int:
        raise ZeroDivisionError("ring of size 0")

    bad = NapiStruct(bench.softnet, broken, 64, "driver-of-mine")
    good = Ring(bench, 5)
    bad.schedule()
    good.napi.schedule()
    bench.softnet.run()
    assert len(bench.received) == 5
    assert not bad.scheduled
    assert len(bench.said) == 1
    assert "driver-of-mine" in bench.said[0]


def test_transmit_work_runs_once_each() -> None:
    bench = Bench()
    done: list[str] = []

    def work() -> None:
        done.append("sent")
        if len(done) == 1:
            bench.softnet.output_queue.append(work)  # queued again: for the next round
            bench.softnet.raise_softirq(NET_TX_SOFTIRQ)

    bench.softnet.output_queue.append(work)
    bench.softnet.raise_softirq(NET_TX_SOFTIRQ)
    bench.softnet.run()
    assert done == ["sent", "sent"]
