"""A hub is one wire: deference, collisions, backoff (core/wire_csma.py), and what cards make of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.devices import boot
from support.e100 import E100Hosts, Station, card, nic, to
from support.hosts import HostApi

from pysock.core.wire_csma import ATTEMPTS
from pysock.core.wire_switch import Hub
from pysock.syscalls.socket import sys_connect
from pysock.uapi.socket import MSG_DONTWAIT

US = 1_000
FRAME_TIME = (60 + 12) * 80  # ns at 100 Mbit/s


class Shared:
    """A hub with testers at its ports."""

    def __init__(self, count: int = 3, delay: int = 0, seed: int = 1) -> None:
        self.kernel = boot(seed=seed)
        self.hub = Hub(self.kernel, count, delay=delay)
        self.ends = [Station(port) for port in self.hub.ports]

    def send(self, *ports: int, payload: bytes = b"") -> None:
        self.kernel.enter()
        for port in ports:
            assert not self.hub.ports[port].transmit(to(payload=payload or b"from %d" % port))
        self.kernel.leave()

    def outcomes(self) -> list[tuple[int, bool, bool]]:
        return [port.outcome() for port in self.hub.ports]

    def got(self) -> list[list[bytes]]:
        return [[frame[14:20] for frame in end.got] for end in self.ends]


def test_a_frame_takes_its_time_and_reaches_all_others() -> None:
    wire = Shared()
    wire.send(0)
    wire.kernel.sleep(FRAME_TIME - 1)
    assert wire.got() == [[], [], []]
    wire.kernel.sleep(1)
    assert wire.got() == [[], [b"from 0"], [b"from 0"]]
    assert [end.done for end in wire.ends] == [1, 0, 0]
    assert wire.outcomes()[0] == (0, False, False)


def test_who_hears_somebody_waits() -> None:
    wire = Shared()
    wire.send(0)
    wire.kernel.sleep(US)
    wire.send(1)
    wire.kernel.sleep(20 * US)
    assert wire.got() == [[b"from 1"], [b"from 0"], [b"from 0", b"from 1"]]
    assert wire.outcomes()[:2] == [(0, False, False), (0, True, False)]


def test_two_that_wait_for_a_third_collide() -> None:
    wire = Shared()
    wire.send(0, 1, 2)
    wire.kernel.sleep(10_000 * US)
    assert [sorted(frames) for frames in wire.got()] == [
        [b"from 1", b"from 2"], [b"from 0", b"from 2"], [b"from 0", b"from 1"],
    ]  # fmt: skip
    first, second, third = wire.outcomes()
    assert first == (0, False, False)
    assert second[0] >= 1 <= third[0]
    assert (second[1:], third[1:]) == ((True, False), (True, False))


@pytest.mark.parametrize(("apart", "collisions"), [(0, True), (500, True), (1000, False), (1500, False)])
def test_who_cannot_hear_the_other_yet_collides(apart: int, collisions: bool) -> None:
    wire = Shared(delay=1000)
    wire.send(0)
    if apart:
        wire.kernel.sleep(apart)
    wire.send(1)
    wire.kernel.sleep(10_000 * US)
    assert (wire.outcomes()[0][0] > 0, wire.outcomes()[1][0] > 0) == (collisions, collisions)
    assert wire.got()[:2] == [[b"from 1"], [b"from 0"]]
    assert sorted(wire.got()[2]) == [b"from 0", b"from 1"]


def test_after_sixteen_collisions_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Shared(delay=1000)
    assert wire.hub.medium is not None
    monkeypatch.setattr(wire.hub.medium._rng, "randrange", lambda limit: 0)
    wire.send(0, 1)
    wire.kernel.sleep(10_000 * US)
    assert wire.got() == [[], [], []]
    assert [(one[0], one[2]) for one in wire.outcomes()] == [(ATTEMPTS, True), (ATTEMPTS, True), (0, False)]
    assert [end.done for end in wire.ends] == [1, 1, 0]
    wire.send(0)
    wire.kernel.sleep(US * 100)
    assert wire.got()[1] == [b"from 0"]


@pytest.mark.parametrize("when", [0, US, 6 * US, 7 * US])
def test_unplugged_in_the_middle(when: int) -> None:
    """Of its own frame, or while it waits: the others go on."""
    wire = Shared()
    wire.send(0, 1)
    if when:
        wire.kernel.sleep(when)
    wire.kernel.enter()
    wire.hub.ports[0].detach()
    wire.hub.ports[1].set_enabled(False)
    wire.kernel.leave()
    wire.kernel.sleep(1000 * US)
    assert wire.ends[1].done == 1
    wire.send(2)
    wire.kernel.sleep(1000 * US)
    assert wire.ends[2].done == 1
    wire.kernel.enter()
    wire.hub.ports[1].set_enabled(True)
    wire.kernel.leave()
    wire.send(2)
    wire.kernel.sleep(1000 * US)
    assert wire.got()[1][-1] == b"from 2"


SENDS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30 * US)), max_size=20)


@settings(max_examples=60)
@given(SENDS, st.sampled_from([0, 500, 2000]), st.integers(0, 5))
def test_every_frame_arrives_once_or_is_given_up(plan: list[tuple[int, int]], delay: int, seed: int) -> None:
    wire = Shared(4, delay, seed)
    sent: list[list[bytes]] = [[], [], [], []]
    lost: list[bytes] = []
    for number, (port, pause) in enumerate(plan):
        if pause:
            wire.kernel.sleep(pause)
        if len(sent[port]) == wire.ends[port].done:  # one at a time
            sent[port].append(b"%06d" % number)
            wire.send(port, payload=sent[port][-1])
    wire.kernel.sleep(1_000_000 * US)
    for port, frames in enumerate(sent):
        assert wire.ends[port].done == len(frames)
        if wire.outcomes()[port][2]:
            lost.append(frames[-1])
        others = [frame for number, frames in enumerate(sent) if number != port for frame in frames]
        assert {*wire.got()[port]} <= {*others}
        assert len(wire.got()[port]) == len({*wire.got()[port]})
        for other, frames in enumerate(sent):
            if other != port and not lost:
                assert [one for one in wire.got()[port] if one in frames] == frames  # all of them, in order


# --- cards ------------------------------------------------------------------------------------------------------------


def on_a_hub(lab: E100Hosts, delay: int = 0) -> tuple[Hub, HostApi, HostApi]:
    hub = Hub(lab.kernel, ports=2, delay=delay)
    a, b = lab.host("a"), lab.host("b")
    for n, host in enumerate((a, b)):
        lab.card(host, f"10.0.0.{n + 1}/24", hub.ports[n])
        assert not nic(host).full
    return hub, a, b


def test_a_transfer_both_ways_at_once() -> None:
    lab = E100Hosts(timed=True)
    _, a, b = on_a_hub(lab, delay=500)
    listener = b.listen("10.0.0.2", 80)
    client = a.tcp()
    sys_connect(a.task, client, ("10.0.0.2", 80))
    server = b.accept(listener)
    data = bytes(range(256)) * 64
    for _ in range(4):
        for host, fd in ((a, client), (b, server)):
            assert host.sendto(fd, data) == len(data)
        for host, fd in ((a, client), (b, server)):
            got = b""
            while len(got) < len(data):
                got += host.recv(fd)
            assert got == data
    for host in (a, b):
        stats = host.dev().get_stats()
        counts = dict(zip(("single", "multiple", "total"), card(host).stats.counts[6:9], strict=True))
        assert stats.collisions > 0
        assert not any(counts.values())  # the driver harvested them
        assert nic(host).hard["tx_single_collision"] + nic(host).hard["tx_multiple_collisions"] > 0
        assert stats.tx_aborted_errors == 0
        assert nic(host).resets == 0


def test_a_frame_that_was_given_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = E100Hosts(timed=True)
    hub, a, b = on_a_hub(lab, delay=1000)
    fds = [host.bound(f"10.0.0.{n + 1}", 99) for n, host in enumerate((a, b))]
    a.sendto(fds[0], b"hello", ("10.0.0.2", 99))
    lab.sleep(1)
    assert b.recv(fds[1], flags=MSG_DONTWAIT) == b"hello"
    assert hub.medium is not None
    monkeypatch.setattr(hub.medium._rng, "randrange", lambda limit: 0)
    before = a.dev().get_stats().tx_packets
    lab.kernel.enter()
    for n, host in enumerate((a, b)):
        host.sendto(fds[n], b"lost", (f"10.0.0.{2 - n}", 99))
    lab.kernel.leave()
    lab.sleep(1)
    stats = a.dev().get_stats()
    assert (stats.tx_aborted_errors, stats.tx_errors, stats.tx_packets) == (1, 1, before)
    assert stats.collisions >= ATTEMPTS
    with pytest.raises(BlockingIOError):
        b.recv(fds[1], flags=MSG_DONTWAIT)
