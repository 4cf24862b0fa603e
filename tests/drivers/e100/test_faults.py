"""A card that misbehaves, and how the driver gets over it: watchdog, software interrupt, reset."""

from __future__ import annotations

import pytest
from support.e100 import E100Hosts, card, nic, to
from support.hosts import HostApi

from pysock.core.irq import STORM
from pysock.drivers.e100 import regs
from pysock.drivers.e100.driver_watch import PERIOD
from pysock.syscalls.socket import sys_connect


@pytest.fixture(params=[False, True], ids=["immediate", "timed"])
def lab(request: pytest.FixtureRequest) -> E100Hosts:
    return E100Hosts(timed=request.param)


@pytest.fixture
def pair(lab: E100Hosts) -> tuple[HostApi, HostApi]:
    return lab.two()


def connect(a: HostApi, b: HostApi) -> tuple[int, int]:
    listener = b.listen("10.0.0.2", 80)
    client = a.tcp()
    sys_connect(a.task, client, ("10.0.0.2", 80))
    return client, b.accept(listener)


def works(lab: E100Hosts, a: HostApi, b: HostApi, client: int, server: int, patience: float = 60) -> None:
    """Data gets through both ways, within so many seconds."""
    deadline = lab.kernel.now + patience * 1e9
    for one, fd, other, into in ((a, client, b, server), (b, server, a, client)):
        one.sendto(fd, b"through")
        assert other.recv(into) == b"through"
    assert lab.kernel.now < deadline


def test_a_dropped_receive_interrupt_is_made_up_for(lab: E100Hosts, pair: tuple[HostApi, HostApi]) -> None:
    _, b = pair
    lab.sleep(0.1)
    card(b).faults.drop_interrupts = 1
    before = b.dev().stats.rx_packets
    lab.kernel.enter()
    card(b).receive(to(b.dev().dev_addr), 0)
    lab.kernel.leave()
    assert b.dev().stats.rx_packets == before
    lab.sleep(PERIOD / 1e9)
    assert b.dev().stats.rx_packets == before + 1
    assert nic(b).resets == 0


def test_many_dropped_interrupts(lab: E100Hosts, pair: tuple[HostApi, HostApi]) -> None:
    a, b = pair
    client, server = connect(a, b)
    for host in (a, b):
        card(host).faults.drop_interrupts = 3
    works(lab, a, b, client, server)
    works(lab, a, b, client, server, 1)


def test_spurious_interrupts_do_no_harm(lab: E100Hosts, pair: tuple[HostApi, HostApi]) -> None:
    a, b = pair
    client, server = connect(a, b)
    line = nic(b).pdev.bus.irqs.line(nic(b).pdev.irq)
    card(b).faults.glitches = 3
    for _ in range(3):
        works(lab, a, b, client, server, 1)
    assert line.unhandled == 3
    assert not line.muted


def test_a_line_that_screams_is_switched_off(lab: E100Hosts, pair: tuple[HostApi, HostApi]) -> None:
    _, b = pair
    line = nic(b).pdev.bus.irqs.line(nic(b).pdev.irq)
    lab.kernel.enter()
    nic(b).pdev.bus.irqs.pull(line, "nobody's")
    lab.kernel.leave()
    assert line.muted
    assert line.unhandled == STORM
    assert [text for text in lab.log if "nobody cared" in text]


@pytest.mark.parametrize("fault", ["stall_cu", "stall_scb"])
def test_a_stalled_command_unit_is_reset(lab: E100Hosts, pair: tuple[HostApi, HostApi], fault: str) -> None:
    a, b = pair
    client, server = connect(a, b)
    setattr(card(a).faults, fault, True)
    works(lab, a, b, client, server)
    assert nic(a).resets == 1
    assert nic(b).resets == 0
    works(lab, a, b, client, server, 1)


def test_a_full_ring_that_does_not_move_is_a_tx_timeout() -> None:
    lab = E100Hosts()
    a, b = lab.two(tx_ring=8)
    fd = a.bound("10.0.0.1", 1000)
    receiver = b.bound("10.0.0.2", 2000)
    a.sendto(fd, b"first", ("10.0.0.2", 2000))
    assert b.recvfrom(receiver)[0] == b"first"
    card(a).faults.stall_cu = True
    for n in range(20):
        a.sendto(fd, b"%d" % n, ("10.0.0.2", 2000))
    assert a.dev().tx_stopped
    lab.sleep(2 * PERIOD / 1e9)
    assert not a.dev().tx_stopped
    got = []
    while True:
        try:
            got.append(int(b.recvfrom(receiver)[0]))
        except BlockingIOError:
            break
    assert got == sorted(got)
    assert got[-1] == 19  # what the queueing discipline had; the ring's were lost
    assert a.dev().stats.tx_dropped == 20 - len(got) > 0
    assert nic(a).resets == 1


def test_a_card_that_a_reset_does_not_cure() -> None:
    lab = E100Hosts()
    a, b = lab.two()
    client, server = connect(a, b)
    faults = card(a).faults
    faults.stall_scb = faults.stall_sticks = True
    a.sendto(client, b"x")
    lab.sleep(10)
    assert not a.dev().carrier
    assert nic(a).broken
    assert nic(a).resets > 2  # it goes on trying
    assert sum("e100 reset" in text for text in lab.log) == 1  # and says so once
    faults.stall_sticks = False
    lab.sleep(PERIOD / 1e9)
    assert a.dev().carrier
    assert b.recv(server) == b"x"


@pytest.mark.parametrize("fault", ["corrupt_cb", "corrupt_rfd"])
def test_a_corrupted_link_costs_a_reset(lab: E100Hosts, pair: tuple[HostApi, HostApi], fault: str) -> None:
    a, b = pair
    client, server = connect(a, b)
    setattr(card(a).faults, fault, 1)
    works(lab, a, b, client, server)
    works(lab, a, b, client, server)
    assert nic(a).resets == 1
    works(lab, a, b, client, server, 1)


def test_a_count_that_no_buffer_has(lab: E100Hosts, pair: tuple[HostApi, HostApi]) -> None:
    a, b = pair
    client, server = connect(a, b)
    card(b).faults.garbage_count = 1
    works(lab, a, b, client, server)
    assert b.dev().stats.rx_length_errors == 1
    assert nic(b).resets == 0


def test_underruns_raise_the_threshold() -> None:
    lab = E100Hosts()
    a, b = lab.two()
    client, server = connect(a, b)
    card(a).faults.slow_bus = 1000
    sent = 0
    for _ in range(30):
        sent += a.sendto(client, bytes(1400))
    got = 0
    while got < sent:
        got += len(b.recv(server))
    ring = nic(a).tx
    assert ring is not None
    assert ring.threshold * 8 >= 1000
    underruns = a.dev().get_stats().tx_fifo_errors
    assert 5 < underruns < 20
    a.sendto(client, bytes(1400))
    assert a.dev().get_stats().tx_fifo_errors == underruns
    assert a.counted().get("TcpRetransSegs", 0) == 0  # the chip tried again by itself


def test_overruns_are_lost_frames(lab: E100Hosts, pair: tuple[HostApi, HostApi]) -> None:
    a, b = pair
    client, server = connect(a, b)
    card(b).faults.overruns = 1
    works(lab, a, b, client, server)
    assert b.dev().get_stats().rx_over_errors == 1
    assert a.counted()["TcpRetransSegs"] == 1


def test_a_card_that_vanishes_reads_as_ones() -> None:
    lab = E100Hosts()
    a, _ = lab.two()
    state = nic(a)
    lab.kernel.enter()
    card(a).unplugged()  # without a word to anybody
    lab.kernel.leave()
    assert state.csr.read8(regs.SCB_ACK) == 0xFF
    fd = a.socket()
    a.sendto(fd, b"x", ("10.0.0.2", 9))
    lab.sleep(10)
    assert not a.dev().carrier
    lab.kernel.enter()
    state.pdev.bus.unplug(state.pdev)
    lab.kernel.leave()
    assert "eth0" not in a.net.dev_by_name
