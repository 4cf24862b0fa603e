"""fq: turns by quantum, exact instants by pacing, throttled flows, and the flows that are kept."""

from __future__ import annotations

import errno

import pytest
from support.hosts import Hosts
from support.qdiscs import Line, raw, udp

from pysock.core.device import netif_start_queue, netif_stop_queue
from pysock.core.qdisc import qdisc_replace
from pysock.sched.fq import Fq
from pysock.uapi.in_ import IPPROTO_TCP
from pysock.uapi.socket import SOL_SOCKET
from pysock.uapi.tcp import TCP_NODELAY

MS = 1_000_000
SO_MAX_PACING_RATE = 47


def fq_of(line: Line) -> Fq:
    assert isinstance(line.qdisc, Fq)
    return line.qdisc


def test_flows_take_turns_by_the_quantum() -> None:
    line = Line("fq", quantum=1000, initial_quantum=1000)
    netif_stop_queue(line.dev)
    line.send(*(udp(500, n, sport=1) for n in range(4)), *(udp(1000, 10 + n, sport=2) for n in range(2)))
    netif_start_queue(line.dev)
    line.qdisc.run()
    assert [name for _, name in line.run()] == [0, 1, 10, 2, 3, 11]


def test_control_packets_do_not_wait_their_turn() -> None:
    line = Line("fq")
    netif_stop_queue(line.dev)
    line.send(udp(500, 1), raw(500, 2, priority=7))
    netif_start_queue(line.dev)
    line.qdisc.run()
    assert [name for _, name in line.run()] == [2, 1]


def test_maxrate_paces_each_flow() -> None:
    """The first quantum leaves at once; then each packet has a slot of a quantum's time, the first of them halved."""
    line = Line("fq", maxrate=1_000_000, quantum=1000, initial_quantum=2000)
    line.send(*(udp(1000, n, sport=1) for n in range(6)), udp(1000, 9, sport=2))
    assert line.run() == [(0, 0), (0, 1), (0, 9), (1 * MS, 2), (2 * MS, 3), (3 * MS, 4), (4 * MS, 5)]
    stats = line.qdisc.statistics()
    assert stats["throttled"] >= 4
    assert stats["throttled_flows"] == 0


def test_a_slow_flow_pays_for_every_packet() -> None:
    line = Line("fq", maxrate=50_000)
    line.send(*(udp(500, n) for n in range(4)))
    assert line.run() == [(0, 0), (10 * MS, 1), (20 * MS, 2), (30 * MS, 3)]


def test_pacing_remembers_a_flow_that_was_empty() -> None:
    line = Line("fq", maxrate=50_000)
    line.send(udp(500, 0))
    assert line.run() == [(0, 0)]
    line.until(4 * MS)
    line.send(udp(500, 1))
    assert line.run() == [(10 * MS, 1)]


def test_no_pacing() -> None:
    line = Line("fq", maxrate=50_000, pacing=0)
    line.send(*(udp(500, n) for n in range(3)))
    assert line.run() == [(0, 0), (0, 1), (0, 2)]


def test_packets_with_an_instant_of_their_own() -> None:
    line = Line("fq")
    netif_stop_queue(line.dev)
    for name, at in ((0, 30), (1, 10), (2, 20)):
        skb = udp(100, name)
        skb.tstamp = line.start + at * MS
        line.send(skb)
    netif_start_queue(line.dev)
    line.qdisc.run()
    assert line.run() == [(10 * MS, 1), (20 * MS, 2), (30 * MS, 0)]


@pytest.mark.parametrize("drop", [0, 1])
def test_the_horizon(drop: int) -> None:
    line = Line("fq", horizon=50 * MS, horizon_drop=drop)
    skb = udp(100, 1)
    skb.tstamp = line.start + 51 * MS
    assert line.send(skb) == [drop]
    assert line.run() == ([] if drop else [(50 * MS, 1)])
    stats = line.qdisc.statistics()
    assert (stats["horizon_drops"], stats["horizon_caps"]) == (drop, 1 - drop)


def test_limits() -> None:
    line = Line("fq", limit=3, flow_limit=2)
    netif_stop_queue(line.dev)
    assert line.send(*(udp(100, n) for n in range(3))) == [0, 0, 1]
    assert line.send(udp(100, 0, sport=2), udp(100, 0, sport=3)) == [0, 1]
    stats = line.qdisc.statistics()
    assert (stats["drops"], stats["flows_plimit"], stats["qlen"]) == (2, 1, 3)


def test_idle_flows_are_forgotten() -> None:
    line = Line("fq")
    line.send(*(udp(100, sport=port) for port in range(1, 100)))
    line.run()
    assert line.qdisc.statistics()["flows"] == 99
    line.until(4000 * MS)
    line.send(udp(100, sport=1), udp(100, sport=1000))
    line.run()
    assert line.qdisc.statistics()["flows"] == 3  # and the one that was last served


def test_ce_marks_what_waited_too_long_beyond_its_time() -> None:
    line = Line("fq", ce_threshold=5 * MS)
    line.send(udp(100, 1))
    netif_stop_queue(line.dev)
    line.send(udp(100, 2, tos=1))
    line.until(6 * MS)
    netif_start_queue(line.dev)
    line.qdisc.run()
    assert line.ops.sent[-1][15] == 3
    assert line.qdisc.statistics()["ce_mark"] == 1


def test_a_socket_s_pacing_rate_over_tcp_and_udp() -> None:
    """SO_MAX_PACING_RATE reaches the packets of a connected socket, whenever it is set."""
    lab = Hosts()
    a, b = lab.pair()
    dev = a.dev()
    listener = b.listen("10.0.0.2", 80)
    fd = a.tcp()
    a.connect(fd, ("10.0.0.2", 80))
    peer = b.accept(listener)
    a.call(qdisc_replace, dev, "fq")
    fq = dev.qdisc
    assert isinstance(fq, Fq)
    a.setopt(fd, IPPROTO_TCP, TCP_NODELAY, 1)
    a.setopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, (50_000).to_bytes(8, "little"))
    start = lab.kernel.now
    for _ in range(20):
        a.sendto(fd, bytes(434))
        b.recv(peer)
    assert 80 * MS <= lab.kernel.now - start < 87 * MS  # 8.7 ms each, but for the first ten
    sender = a.socket()
    a.setopt(sender, SOL_SOCKET, SO_MAX_PACING_RATE, (50_000).to_bytes(8, "little"))
    receiver = b.socket()
    b.bind(receiver, ("10.0.0.2", 9))
    start = lab.kernel.now
    for _ in range(3):
        a.sendto(sender, bytes(458), ("10.0.0.2", 9))
    for _ in range(3):
        b.recv(receiver)
    assert 20 * MS <= lab.kernel.now - start < 21 * MS


@pytest.mark.parametrize("options", [{"quantum": 0}, {"pacing": 2}, {"limit": -1}, {"colour": 1}])
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(OSError) as info:
        Line("fq", **options)
    assert info.value.errno == errno.EINVAL


def test_dump_makes_the_same_again() -> None:
    options = Line("fq", maxrate=7, quantum=300, horizon_drop=0).qdisc.dump()
    assert options["maxrate"] == 7
    assert Line("fq", **options).qdisc.dump() == options


def test_reset_frees_everything() -> None:
    line = Line("fq", maxrate=1)
    line.send(udp(100, 1), udp(100, 2), raw(100, 3, priority=7))
    assert line.qdisc.qlen == 1
    line.qdisc.purge()
    assert (fq_of(line).flows, line.run()[2:]) == ({}, [])
