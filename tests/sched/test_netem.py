"""netem: what a bad cable does to packets, in virtual time and by the seed."""

from __future__ import annotations

import errno
from collections import Counter
from itertools import pairwise

import pytest
from support.devices import boot, make, packet, wire
from support.hosts import Hosts

from pysock.core.device import NetDevice
from pysock.core.qdisc import qdisc_replace
from pysock.sched.chance import Crandom, GilbertElliott, Jitter
from pysock.sched.netem import Netem
from pysock.syscalls.message import sys_sendto

MS = 1_000_000


class Wire:
    """A device under netem; ``arrivals`` lists when each frame reached the driver (ns after the start), by its mark."""

    def __init__(self, seed: int = 1, **options: object) -> None:
        self.kernel = boot()
        self.kernel.seed = seed
        self.dev: NetDevice = wire(self.kernel, queue=True)
        self.start = self.kernel.now
        self.arrivals: list[tuple[int, int]] = []
        ops = self.dev.netdev_ops
        inner = self.dev.start_xmit
        assert ops is not None

        def record(skb, dev):  # type: ignore[no-untyped-def]
            self.arrivals.append((skb.mark, self.kernel.now - self.start))
            return inner(skb, dev)

        self.dev.start_xmit = record
        qdisc = qdisc_replace(self.dev, "netem", options)
        assert isinstance(qdisc, Netem)
        self.netem = qdisc

    def send(self, count: int = 1, size: int = 100) -> None:
        self.kernel.enter()
        for mark in range(1, count + 1):
            skb = packet(self.dev, bytes(size - 14))
            skb.mark = mark
            self.dev.queue_xmit(skb)
        self.kernel.leave()

    def run(self, ms: int = 100_000) -> list[tuple[int, int]]:
        self.kernel.sleep(ms * MS)
        return self.arrivals


def test_a_delay_holds_each_packet_back_by_itself() -> None:
    wire = Wire(delay=20 * MS)
    wire.send(1)
    wire.run(5)
    assert not wire.arrivals
    wire.send(1)
    assert wire.run(30) == [(1, 20 * MS), (1, 25 * MS)]
    assert wire.netem.statistics()["qlen"] == 0
    assert wire.netem.statistics()["packets"] == 2


def test_rate_serialises_and_the_delay_counts_meanwhile() -> None:
    wire = Wire(delay=20 * MS, rate=125_000)  # 1 Mbit/s: 1000 bytes take 8 ms
    wire.send(4, 1000)
    assert [at for _, at in wire.run()] == [28 * MS, 36 * MS, 44 * MS, 52 * MS]
    wire.arrivals.clear()
    wire.start = wire.kernel.now
    wire.send(1, 1000)  # an idle wire owes nobody anything
    assert [at for _, at in wire.run()] == [28 * MS]


def test_rate_keeps_the_order_that_jitter_alone_does_not() -> None:
    jittery = Wire(delay=50 * MS, jitter=40 * MS)
    jittery.send(50)
    assert [mark for mark, _ in jittery.run()] != list(range(1, 51))
    paced = Wire(delay=50 * MS, jitter=40 * MS, rate=1_000_000)
    paced.send(50)
    assert [mark for mark, _ in paced.run()] == list(range(1, 51))


def test_jitter_stays_within_its_bounds() -> None:
    wire = Wire(delay=20 * MS, jitter=5 * MS)
    wire.send(200)
    times = [at for _, at in wire.run()]
    assert len(times) == 200
    assert 15 * MS <= min(times) < 16 * MS
    assert 24 * MS < max(times) <= 25 * MS


def test_loss_is_a_share_of_the_packets_and_no_error() -> None:
    wire = Wire(loss=0.3)
    wire.send(1000)
    got = len(wire.run())
    assert 620 < got < 780
    assert wire.netem.drops == 1000 - got


def test_all_and_nothing() -> None:
    lost = Wire(loss=1.0)
    lost.send(20)
    assert lost.run() == []
    twice = Wire(duplicate=1.0)
    twice.send(20)
    assert Counter(mark for mark, _ in twice.run()) == dict.fromkeys(range(1, 21), 2)


def test_reorder_lets_some_overtake() -> None:
    wire = Wire(delay=10 * MS, reorder=1.0, gap=5)
    wire.send(10)
    assert [mark for mark, _ in wire.run()] == [5, 10, 1, 2, 3, 4, 6, 7, 8, 9]


def test_the_limit_drops_what_does_not_fit() -> None:
    wire = Wire(delay=10 * MS, limit=3)
    wire.send(5)
    assert [mark for mark, _ in wire.run()] == [1, 2, 3]
    assert wire.netem.drops == 2


def test_one_bit_is_turned_over() -> None:
    wire = Wire(corrupt=1.0)
    wire.send(1)
    good = Wire()
    good.send(1)
    wire.run()
    good.run()
    one, other = (int.from_bytes(w.dev.netdev_ops.sent[0], "big") for w in (wire, good))  # type: ignore[attr-defined]
    assert (one ^ other).bit_count() == 1


def test_the_seed_decides() -> None:
    def run(seed: int) -> list[tuple[int, int]]:
        wire = Wire(seed, delay=20 * MS, jitter=10 * MS, loss=0.2, duplicate=0.1, distribution="normal")
        wire.send(100)
        return wire.run()

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_two_devices_have_chances_of_their_own() -> None:
    kernel = boot()
    one, other = (Netem(make(kernel, f"t{n}", queue=True), loss=0.5) for n in range(2))
    assert [one.rng.random() for _ in range(4)] != [other.rng.random() for _ in range(4)]


def test_a_device_that_goes_down_forgets_what_waited() -> None:
    from pysock.core.device import dev_close

    wire = Wire(delay=10 * MS)
    wire.send(3)
    wire.kernel.enter()
    dev_close(wire.dev)
    wire.kernel.leave()
    assert wire.run() == []
    assert wire.netem.statistics()["qlen"] == wire.netem.statistics()["backlog"] == 0


@pytest.mark.parametrize(
    "options",
    [
        {"loss": 1.5}, {"loss": -0.1}, {"delay": -1}, {"limit": "many"}, {"rate": 0.5}, {"distribution": "pareto"},
        {"gemodel": (0.1,)}, {"gemodel": (0.1, 2)}, {"reorder": 0.5}, {"colour": 1},
    ],
)  # fmt: skip
def test_bad_options_are_refused_and_change_nothing(options: dict[str, object]) -> None:
    dev = make(boot(), queue=True)
    before = dev.qdisc
    with pytest.raises(OSError, match="netem") as caught:
        qdisc_replace(dev, "netem", options)
    assert caught.value.errno == errno.EINVAL
    assert dev.qdisc is before


def test_a_damaged_segment_is_noticed_and_sent_again() -> None:
    """The checksum, which veth leaves out, is there when it is needed."""
    lab = Hosts()
    a, b = lab.pair()
    server = b.listen("10.0.0.2", 80)
    client = a.tcp()
    a.connect(client, ("10.0.0.2", 80))
    peer = b.accept(server)
    a.call(qdisc_replace, a.dev(), "netem", {"corrupt": 0.2})
    blob = bytes(range(256)) * 400
    got = bytearray()
    sent = 0
    while len(got) < len(blob):
        if sent < len(blob):
            sent += sys_sendto(a.task, client, blob[sent : sent + 4096])
        else:
            lab.sleep(0.3)
        try:
            got += b.recv(peer, 1 << 20, 0x40)
        except BlockingIOError:
            lab.sleep(0.05)
    assert bytes(got) == blob
    assert b.inet.mibs.tcp.InCsumErrors > 0


def test_a_super_segment_is_cut_when_frames_have_fates_of_their_own() -> None:
    lab = Hosts()
    a, b = lab.pair()
    server = b.listen("10.0.0.2", 80)
    client = a.tcp()
    a.connect(client, ("10.0.0.2", 80))
    peer = b.accept(server)
    for options, longest in (({"delay": 1}, 10_000), ({"delay": 1, "loss": 1e-9}, 1514)):
        a.call(qdisc_replace, a.dev(), "netem", options)
        frames = lab.record(a.dev())
        sys_sendto(a.task, client, bytes(10_000))
        lab.sleep(0.5)
        assert len(b.recv(peer)) == 10_000
        sizes = [len(frame) for frame in frames if len(frame) > 100]
        assert max(sizes) >= longest if longest > 1514 else max(sizes) == longest


def test_gilbert_elliott_loses_in_bursts() -> None:
    from random import Random

    model = GilbertElliott(Random(3), 0.01, 0.25)
    lost = [model.happens() for _ in range(20_000)]
    share = sum(lost) / len(lost)
    again = sum(1 for one, after in pairwise(lost) if one and after) / sum(lost)
    assert 0.02 < share < 0.06  # p / (p + r)
    assert 0.65 < again < 0.85  # 1 - r


def test_correlation_makes_neighbours_alike() -> None:
    from random import Random

    def steps(correlation: float) -> float:
        dice = Crandom(Random(1), 0.5, correlation)
        draws = [dice.draw() for _ in range(2000)]
        return sum(abs(a - b) for a, b in pairwise(draws)) / len(draws)

    assert steps(0.9) < steps(0.0) / 3


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_normal_jitter_has_the_spread_that_was_asked_for(correlation: float) -> None:
    from random import Random
    from statistics import mean, pstdev

    jitter = Jitter(Random(1), 100 * MS, 10 * MS, correlation, "normal")
    draws = [jitter.draw() for _ in range(5000)]
    assert abs(mean(draws) - 100 * MS) < MS
    assert abs(pstdev(draws) - 10 * MS) < MS
