"""What is the e100's alone: the descriptor rings between the driver and the chip, at work under real traffic."""

from __future__ import annotations

import socket
from struct import unpack_from

import pytest
from support.cables import Lan, silicon

from pysock.core.ethtool_types import RingParam
from pysock.core.netdevice import NetDevice
from pysock.core.wire import ABLE_ALL, ABLE_PAUSE
from pysock.drivers.e100 import regs
from pysock.drivers.e100.driver import nic_of
from pysock.drivers.e100.driver_access import mdio_write
from pysock.drivers.e100.driver_nic import E100Nic
from pysock.drivers.e100.driver_rx import RxRing
from pysock.drivers.e100.driver_tx import TxRing
from pysock.drivers.e100.kind import card_of

pytestmark = pytest.mark.pysock(driver="e100")  # in every column
DATA = bytes(range(256)) * 4096  # 1 MiB


def rings(dev: NetDevice) -> tuple[E100Nic, RxRing, TxRing]:
    nic = nic_of(dev)
    assert nic.rx is not None and nic.tx is not None
    return nic, nic.rx, nic.tx


def resize(lan: Lan, dev: NetDevice, rx: int, tx: int) -> None:
    """`ethtool -G`."""
    assert dev.ethtool_ops is not None
    lan.call(dev.ethtool_ops.set_ringparam, dev, RingParam(rx_pending=rx, tx_pending=tx))


def carry(lan: Lan) -> None:
    ours, theirs = lan.pair()
    with ours, theirs:
        sending = lan.here.start(ours.sendall, DATA)
        got = b""
        while len(got) < len(DATA):
            got += theirs.recv(1 << 20)
        assert got == DATA
        sending.result(60)


def circle(dev: NetDevice, start: int, link_at: int = 4) -> list[int]:
    """The addresses that the links in DMA memory lead to, from ``start`` until they are back there."""
    mem = nic_of(dev).dma.mem
    found = [start]
    while (link := unpack_from("<I", mem, found[-1] + link_at)[0]) != start:
        assert link not in found
        found.append(link)
    return found


def test_descriptors_are_walked_round_and_round(lan: Lan) -> None:
    carry(lan)
    nic, _, tx = rings(lan.dev)
    far, far_rx, far_tx = rings(lan.far)
    sent, received = silicon(lan, lan.dev), silicon(lan, lan.far)
    filtered = sent["tx_good"] - received["rx_good"] - received["rx_resource_errors"]
    assert 0 <= filtered < 10  # multicast that nobody over there listens to
    assert received["rx_good"] > len(DATA) // 1500
    assert sent["tx_good"] == lan.dev.stats.tx_packets
    assert received["rx_good"] == lan.far.stats.rx_packets
    # Every block that the command unit did, transmissions and others, was reclaimed, several times each.
    assert tx.done > 3 * tx.count and tx.to_use == (tx.done + tx.count - tx.avail) % tx.count
    assert received["rx_good"] > 2 * far_rx.count
    assert far_rx.to_clean == received["rx_good"] % far_rx.count
    # Interrupts came from the cards, by way of their lines, fewer than frames: NAPI polled.
    assert 0 < far.interrupts < received["rx_good"]
    assert far.irqs.line(far.pdev.irq).delivered >= far.interrupts
    assert nic.interrupts > 0 and far_tx.done > 0
    assert nic.resets == far.resets == 0


def test_the_rings_are_circles_in_dma_memory(lan: Lan) -> None:
    """What the chip walks: command blocks and receive descriptors, linked by addresses in memory that both share."""
    secret = b"the bytes of this very frame, as the chip stored them"
    with lan.datagrams() as server, socket.socket(type=socket.SOCK_DGRAM) as sock:
        server.settimeout(30)
        sock.sendto(secret, ("peer", 7))
        data, address = server.recvfrom(100)
        assert data == secret
        server.sendto(data, address)
        assert sock.recv(100) == secret
    _, rx, _ = rings(lan.far)
    _, _, tx = rings(lan.dev)
    descriptors = circle(lan.far, rx._at[0])
    blocks = circle(lan.dev, tx._at[0])
    assert (len(descriptors), len(blocks)) == (rx.count, tx.count) == (256, 128)
    assert descriptors == rx._at and blocks == tx._at
    ends = [at for at in descriptors if unpack_from("<H", nic_of(lan.far).dma.mem, at + 2)[0] & regs.RFD_EL]
    assert len(ends) == 1
    for dev, ring in ((lan.dev, blocks), (lan.far, descriptors)):
        mem = nic_of(dev).dma.mem
        assert [at for at in ring if secret in mem[at : at + 1600]]


def test_more_frames_than_descriptors(lan: Lan) -> None:
    """A burst fills the small ring: the receive unit stops for want of descriptors, asks for a pause, is started again
    by the driver, and not a frame is lost.
    """
    resize(lan, lan.far, rx=16, tx=16)
    payload = bytes(range(250)) * 240  # 41 fragments in one system call
    with lan.datagrams() as server, socket.socket(type=socket.SOCK_DGRAM) as sock:
        server.settimeout(30)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for _ in range(5):
            sock.sendto(payload, ("peer", 7))
            data, address = server.recvfrom(70_000)
            assert data == payload
        server.sendto(b"ok", address)
    _, rx, _ = rings(lan.far)
    chip = silicon(lan, lan.far)
    assert rx.count == 16
    assert rx.restarts >= 5
    assert chip["tx_pause"] >= 5 and silicon(lan, lan.dev)["rx_pause"] == chip["tx_pause"]
    assert chip["rx_resource_errors"] == 0


def test_no_resources_without_flow_control(lan: Lan) -> None:
    """Nobody waits: what finds no descriptor is lost, counted by the chip, and TCP sends it again."""
    resize(lan, lan.far, rx=16, tx=16)
    nic = nic_of(lan.far)
    assert nic.pause
    lan.call(mdio_write, nic.csr, nic.phy, regs.MII_ADVERTISE, ABLE_ALL & ~ABLE_PAUSE | 1)
    assert not nic.pause and not nic_of(lan.dev).pause
    carry(lan)
    _, rx, _ = rings(lan.far)
    chip = silicon(lan, lan.far)
    assert rx.restarts > 0
    assert chip["rx_resource_errors"] > 0
    assert lan.call(lan.far.get_stats).rx_missed_errors == chip["rx_resource_errors"]
    assert lan.here.counters.tcp.RetransSegs > 0


def test_the_smallest_rings(lan: Lan) -> None:
    for dev in (lan.dev, lan.far):
        resize(lan, dev, rx=16, tx=8)
    carry(lan)
    _, _, tx = rings(lan.dev)
    assert tx.done > 80 * tx.count


@pytest.mark.parametrize(
    "fault", ["drop_interrupts", "stall_cu", "stall_scb", "corrupt_rfd", "corrupt_cb", "garbage_count"]
)
def test_a_card_that_misbehaves(lan: Lan, fault: str) -> None:
    """The driver recovers as the real one would, and the connection does not notice."""
    ours, theirs = lan.pair()
    with ours, theirs:
        ours.sendall(b"before")
        assert theirs.recv(10) == b"before"
        faults = card_of(lan.dev).faults
        setattr(faults, fault, True if fault.startswith("stall") else 1)
        theirs.sendall(b"there")
        sending = lan.here.start(ours.sendall, DATA)
        got = b""
        while len(got) < len(DATA):
            got += theirs.recv(1 << 20)
        assert got == DATA
        sending.result(60)
        assert ours.recv(10) == b"there"
    assert not getattr(faults, fault), "the fault was used up, or cured by a reset"
