"""tbf: exact instants by the token bucket."""

from __future__ import annotations

import errno

import pytest
from support.qdiscs import Line, raw, udp

from pysock.core.qdisc import qdisc_replace
from pysock.core.skbuff import SkBuff
from pysock.sched.tbf import Tbf

MS = 1_000_000


def test_a_burst_and_then_the_rate() -> None:
    line = Line("tbf", rate=100_000, burst=3000, limit=100_000)
    assert line.send(*(raw(1000, n) for n in range(6))) == [0] * 6
    assert line.run() == [(0, 0), (0, 1), (0, 2), (10 * MS, 3), (20 * MS, 4), (30 * MS, 5)]
    assert line.qdisc.overlimits >= 3


def test_the_bucket_fills_while_nothing_is_sent_but_no_further() -> None:
    line = Line("tbf", rate=100_000, burst=2000, limit=100_000)
    line.send(raw(1000), raw(1000))
    line.until(15 * MS)
    line.send(raw(1000), raw(1000, 1))
    assert line.run() == [(0, 0), (0, 0), (15 * MS, 0), (20 * MS, 1)]
    line.until(1000 * MS)
    line.send(*(raw(1000, n) for n in range(3)))
    assert line.run() == [(1000 * MS, 0), (1000 * MS, 1), (1010 * MS, 2)]


def test_the_long_run() -> None:
    """A hundred seconds' worth: the rate holds to the nanosecond."""
    line = Line("tbf", rate=15_000, burst=1500, limit=10_000_000)
    line.send(*(raw(1500) for _ in range(1001)))
    assert line.run()[-1] == (100_000 * MS, 0)


def test_the_peak_rate_spreads_a_burst() -> None:
    line = Line("tbf", rate=100_000, burst=3000, limit=100_000, peakrate=1_000_000, mtu=1000)
    line.send(*(raw(1000, n) for n in range(5)))
    assert line.run() == [(0, 0), (1 * MS, 1), (2 * MS, 2), (10 * MS, 3), (20 * MS, 4)]


def test_the_limit_in_bytes_and_as_latency() -> None:
    line = Line("tbf", rate=100_000, burst=1000, limit=2000)
    assert line.send(*(raw(1000, n) for n in range(4))) == [0, 0, 0, 1]
    assert line.qdisc.drops == 1
    assert [at for at, _ in line.run()] == [0, 10 * MS, 20 * MS]
    line = Line("tbf", rate=100_000, burst=1000, latency=50 * MS)
    assert line.qdisc.dump()["limit"] == 6000
    line = Line("tbf", rate=100_000, burst=1000, latency=50 * MS, peakrate=101_000, mtu=500)
    assert line.qdisc.dump()["limit"] == 5550


def test_a_packet_that_no_bucket_holds() -> None:
    line = Line("tbf", rate=1000, burst=1000, limit=10_000)
    freed: list[SkBuff] = []
    skb = raw(1001)
    skb.destructor = freed.append
    assert line.send(skb) == [1]
    assert freed == [skb]
    assert line.qdisc.drops == 1


def test_a_super_segment_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line("tbf", rate=100_000, burst=1000, limit=10_000)
    super_segment = raw(3000)
    super_segment.gso_size = 986
    monkeypatch.setattr(
        line.kernel.dev_layer, "gso_segment", lambda skb, features: [raw(1000, n) for n in range(3)]
    )
    freed: list[SkBuff] = []
    super_segment.destructor = freed.append
    assert line.send(super_segment) == [0]
    assert freed == []  # the last segment is still to leave
    assert line.run() == [(0, 0), (10 * MS, 1), (20 * MS, 2)]
    assert len(freed) == 1


def test_another_discipline_inside() -> None:
    line = Line("tbf", rate=100_000, burst=1000, limit=10_000)
    tbf = line.qdisc
    assert isinstance(tbf, Tbf)
    tbf.graft(0, "fq_codel")
    line.send(*(udp(1000, n, sport=1) for n in range(4)), udp(1000, 9, sport=2))
    assert [name for _, name in line.run()] == [0, 1, 2, 9, 3]  # 1 was next already; the flow's quantum took 2 along
    assert (tbf.qlen, tbf.backlog) == (0, 0)


def test_replacing_it_stops_its_timer() -> None:
    line = Line("tbf", rate=100, burst=1000, limit=10_000)
    line.send(raw(1000), raw(1000))
    qdisc_replace(line.dev, "pfifo")
    assert not line.kernel.advance()


@pytest.mark.parametrize(
    "options",
    [
        {}, {"rate": 0, "burst": 1, "limit": 1}, {"rate": 1, "burst": 0, "limit": 1}, {"rate": 1, "burst": 1},
        {"rate": 1, "burst": 1, "limit": 1, "latency": 1}, {"rate": 2, "burst": 1, "limit": 1, "peakrate": 1},
        {"rate": "1mbit", "burst": 1, "limit": 1}, {"rate": 1, "burst": 1, "limit": 1, "colour": 2},
    ],
)  # fmt: skip
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(OSError) as info:
        Line("tbf", **options)
    assert info.value.errno == errno.EINVAL


def test_dump_makes_the_same_again() -> None:
    options = Line("tbf", rate=1000, burst=2000, latency=MS, peakrate=3000, mtu=100).qdisc.dump()
    assert Line("tbf", **options).qdisc.dump() == options
