"""Switches in a loop: a spanning tree leaves one way open, and finds another when that is cut."""

from __future__ import annotations

import pytest

from pysock import Network
from pysock.lab.host import Host
from pysock.lab.switch import Switch

from .test_network import reaches


def triangle(seed: int = 1) -> tuple[Network, list[Host], list[Switch]]:
    net = Network(seed=seed)
    switches = [net.switch(f"s{n}", stp=True) for n in range(3)]
    net.link(switches[0], switches[1])
    net.link(switches[1], switches[2])
    net.link(switches[2], switches[0])
    hosts = list(net.hosts("a", "b", "c"))
    for host, switch in zip(hosts, switches, strict=True):
        net.link(host, switch)
    return net, hosts, switches


def test_a_triangle_of_switches() -> None:
    net, hosts, switches = triangle()
    net.sleep(40)
    with net.capture() as capture:
        for one in hosts:
            for other in hosts:
                if one is not other:
                    assert reaches(one, other)
    assert len(capture.frames) < 200  # no storm
    assert len({host.address for host in hosts}) == 3
    for first, second in ((0, 1), (1, 2), (2, 0)):
        link = switches[first].link(switches[second])
        link.down()
        net.sleep(60)
        assert all(reaches(hosts[n], hosts[n - 1]) for n in range(3))
        link.up()
        net.sleep(60)


def test_the_same_seed_the_same_tree() -> None:
    seen = []
    for _ in range(2):
        net, _, _ = triangle(seed=3)
        with net.capture() as capture:
            net.sleep(40)
        seen.append(capture.frames)
    assert seen[0] == seen[1]
    assert any("STP 802.1d, Topology Change" in line for line in capture.lines())


def test_a_loop_needs_all_of_them() -> None:
    net = Network(seed=1)
    first, second = net.switch("s1", stp=True), net.switch("s2")
    net.link(first, second)
    with pytest.raises(ValueError, match="stp=True"):
        net.link(second, first)
