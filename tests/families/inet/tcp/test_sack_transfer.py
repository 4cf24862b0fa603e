"""Whole transfers with SACK over a lossy wire: what was lost is sent again, and nothing else."""

from __future__ import annotations

import random

import pytest
from support.tcp_diary import Pair

from pysock.core.netdev_features import NETIF_F_TAKES_ALL
from pysock.families.inet.net import InetNet

SIZE = 300_000


class Wire:
    """Loses ``loss`` per cent of the packets that carry data, and counts them; never reorders."""

    def __init__(self, seed: int, loss: int) -> None:
        self.chance = random.Random(seed)
        self.loss = loss
        self.lost = 0

    def __call__(self, packet: bytes) -> list[tuple[float, bytes]]:
        if len(packet) > 100 and self.chance.randrange(100) < self.loss:
            self.lost += 1
            return []
        return [(5.0, packet)]


def transfer(pair: Pair, algorithm: str = "reno") -> float:
    """Send SIZE bytes from a to b; how many seconds that took."""
    pair.diary.net.sysctl.set("net.ipv4.tcp_congestion_control", algorithm)
    a, b = pair.connected()
    began = pair.diary.now
    data = random.Random(1).randbytes(SIZE)
    sent = 0
    got = bytearray()
    while len(got) < SIZE:
        try:
            sent += a.send(data[sent:])
        except BlockingIOError:
            pass
        pair.diary.sleep(ms=1)
        try:
            got += b.recv(SIZE)
        except BlockingIOError:
            pass
    assert got == data
    return (pair.diary.now - began) / 1e9


@pytest.mark.parametrize("algorithm", ["reno", "cubic"])
@pytest.mark.parametrize("seed", range(5))
def test_only_what_was_lost(seed: int, algorithm: str) -> None:
    wire = Wire(seed, 3)
    pair = Pair(wire, seed=seed)
    transfer(pair, algorithm)
    mibs = pair.diary.net.get(InetNet).mibs
    assert wire.lost
    assert mibs.tcp.RetransSegs == wire.lost
    assert mibs.tcpext.TCPDSACKRecv == 0
    assert not pair.diary.kernel.errors.total


def test_faster_than_without() -> None:
    def seconds(sack: int) -> float:
        total = 0.0
        for seed in range(6):
            pair = Pair(Wire(seed, 6), seed=seed)
            pair.diary.net.sysctl.set("net.ipv4.tcp_sack", sack)
            total += transfer(pair)
        return total

    assert seconds(1) < seconds(0) * 0.75


@pytest.mark.parametrize("seed", range(3))
def test_super_segments(seed: int) -> None:
    """A whole super-segment is lost at a time, and sent again in pieces."""
    wire = Wire(seed, 5)
    pair = Pair(wire, seed=seed, features=NETIF_F_TAKES_ALL)
    transfer(pair)
    assert pair.diary.net.get(InetNet).mibs.tcpext.TCPDSACKRecv == 0
