"""The device alone: a pair of datagram sockets stands for /dev/net/tun, so this needs no rights and no real network.

What one end of such a pair writes the other reads whole, and a full one gives EAGAIN, as a TAP does.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.devices import ETH_P_TEST
from support.patience import PATIENCE

from pysock.core.dev import PacketType, dev_add_pack, dev_queue_xmit
from pysock.core.device import NetDevice, dev_close, dev_open, unregister_netdev
from pysock.core.kernel import Kernel
from pysock.core.netdev_features import NETIF_F_HW_CSUM, NETIF_F_SG, NETIF_F_TSO
from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import SkBuff
from pysock.drivers.tap import device
from pysock.drivers.tap.chardev import VNET_HDR_SIZE
from pysock.drivers.tap.device import TapOps
from pysock.uapi.if_ether import ETH_P_ALL

PLAIN = bytes(VNET_HDR_SIZE)


class FakeQueue:
    """A `TunQueue` whose other end is `Wire.far`."""

    def __init__(self, fd: int, mode: str, vnet_hdr: bool) -> None:
        self.fd = fd
        self.name = "fake0"
        self.mode = mode
        self.vnet_hdr = vnet_hdr
        self.uso = True
        self.offload: bool | None = None

    def set_offload(self, on: bool) -> None:
        self.offload = on

    def close(self) -> None:
        socket.close(self.fd)
        self.fd = -1


class Wire:
    """A device of a kernel of its own, up; `far` is where the kernel's end would be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
        self.log: list[str] = []
        self.kernel = Kernel.boot(entry_points=False, strict=True, log=self.log.append)
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.setblocking(False)
        self.far.settimeout(PATIENCE)
        self.queues: list[FakeQueue] = []

        def attach(name: str | None, *, mode: str, vnet_hdr: bool, multi_queue: bool) -> FakeQueue:
            self.queues.append(FakeQueue(socket.dup(near.fileno()), mode, vnet_hdr))
            return self.queues[-1]

        monkeypatch.setattr(device, "TunQueue", attach)
        self.near = near
        net = self.kernel.init_net
        net.sysctl.set("net.ipv6.conf.default.disable_ipv6", 1)  # it would speak first
        self.dev: NetDevice = self.call(self.kernel.dev_layer.create_device, net, "tap", "eth0", **options)
        self.seen: list[tuple[int, bytes]] = []
        dev_add_pack(PacketType(net, ETH_P_ALL, self._tap, self.dev))
        self.call(dev_open, self.dev)

    def _tap(self, skb: SkBuff, dev: NetDevice) -> None:
        if skb.pkt_type != 4:  # PACKET_OUTGOING
            self.seen.append((skb.protocol, skb_to_bytes(skb)[-skb.len :]))

    def call(self, function: Callable[..., object], *args: object, **options: object) -> object:
        self.kernel.enter()
        try:
            return function(*args, **options)
        finally:
            self.kernel.leave()

    def send(self, frame: bytes, *frags: bytes) -> int:
        """Hand a packet to the device's queue."""
        n = sum(map(len, frags))
        skb = SkBuff(frame, 0, len(frame) + n, n, frags)
        skb.dev = self.dev
        skb.protocol = ETH_P_TEST
        result = self.call(dev_queue_xmit, skb)
        assert isinstance(result, int)
        return result

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait for the other thread."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.001)

    def close(self) -> None:
        self.call(unregister_netdev, self.dev)
        self.near.close()
        self.far.close()
        assert not self.log


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    wire = Wire(monkeypatch)
    yield wire
    wire.close()


def frame(wire: Wire, size: int = 60) -> bytes:
    return (wire.dev.dev_addr + b"\2\0\0\0\0\2" + ETH_P_TEST.to_bytes(2, "big")).ljust(size, b"x")


def test_features_are_what_the_file_can_do(wire: Wire) -> None:
    wanted = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_TSO
    assert wire.dev.features & wanted == wanted
    assert wire.queues[0].offload is True
    assert wire.dev.carrier


@pytest.mark.parametrize("options", [{"vnet_hdr": False}, {"offloads": False}])
def test_without_offloads(monkeypatch: pytest.MonkeyPatch, options: dict[str, object]) -> None:
    wire = Wire(monkeypatch, **options)
    try:
        assert not wire.dev.features & (NETIF_F_HW_CSUM | NETIF_F_TSO)
        assert wire.queues[0].offload in (None, False)
        wire.send(frame(wire))
        assert wire.far.recv(2000) == (PLAIN if wire.queues[0].vnet_hdr else b"") + frame(wire)
    finally:
        wire.close()


def test_a_packet_goes_out_in_one_piece(wire: Wire) -> None:
    wire.send(frame(wire), b"abc", b"defg")
    assert wire.far.recv(2000) == PLAIN + frame(wire) + b"abcdefg"
    assert (wire.dev.stats.tx_packets, wire.dev.stats.tx_bytes) == (1, 67)


def test_a_packet_of_very_many_pieces(wire: Wire) -> None:
    """writev() takes 1024."""
    assert not wire.send(frame(wire), *(b"a" for _ in range(1400)))
    assert wire.far.recv(2000) == PLAIN + frame(wire) + b"a" * 1400


def test_a_packet_comes_in(wire: Wire) -> None:
    wire.far.send(PLAIN + frame(wire))
    wire.until(lambda: bool(wire.seen))
    assert wire.seen == [(ETH_P_TEST, frame(wire)[14:])]
    assert (wire.dev.stats.rx_packets, wire.dev.stats.rx_bytes) == (1, 60)


def test_packets_beyond_the_budget(wire: Wire) -> None:
    """More than one poll may take; none is left behind when the wire is silent again."""
    expected = [frame(wire, 60 + n) for n in range(500)]
    for one in expected:
        wire.far.send(PLAIN + one)  # a full socket waits for the device to read
    wire.until(lambda: len(wire.seen) == 500)
    assert [payload for _, payload in wire.seen] == [one[14:] for one in expected]


@pytest.mark.parametrize(
    ("bad", "counter"),
    [
        (PLAIN[:4], "rx_frame_errors"),
        (PLAIN, "rx_frame_errors"),
        (b"\1" + PLAIN[1:6] + b"\xff\xff\xff\xff" + bytes(60), "rx_frame_errors"),
        (b"\1\3\0\0\x10\0\0\0\0\0" + bytes(60), "rx_frame_errors"),
        (PLAIN + bytes(13), "rx_length_errors"),
    ],
)
def test_malformed_packets_are_counted(wire: Wire, bad: bytes, counter: str) -> None:
    wire.far.send(bad)
    wire.far.send(PLAIN + frame(wire))
    wire.until(lambda: bool(wire.seen))
    assert len(wire.seen) == 1
    assert (getattr(wire.dev.stats, counter), wire.dev.stats.rx_errors) == (1, 1)


def test_a_full_device_stops_the_queue_and_room_wakes_it(wire: Wire) -> None:
    """NETDEV_TX_BUSY: the packet that did not fit is the next one to be sent."""
    sent = 0
    while not wire.dev.tx_stopped:
        wire.send(frame(wire, 1000 + sent))
        sent += 1
        assert sent < 5000
    for _ in range(3):
        wire.send(frame(wire, 1000 + sent))
        sent += 1
    assert wire.dev.qdisc is not None
    assert wire.dev.qdisc.statistics()["qlen"] == 4
    got = [len(wire.far.recv(9000)) - VNET_HDR_SIZE for _ in range(sent)]
    assert got == [1000 + n for n in range(sent)]
    wire.until(lambda: not wire.dev.tx_stopped and wire.dev.stats.tx_packets == sent)


@pytest.mark.parametrize(
    ("number", "counter", "carrier"),
    [(errno.EIO, "tx_carrier_errors", False), (errno.EBADFD, "tx_carrier_errors", False),
     (errno.EINVAL, "tx_aborted_errors", True)],
)  # fmt: skip
def test_writes_that_are_refused(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, number: int, counter: str, carrier: bool
) -> None:
    refused = threading.Event()

    def writev(fd: int, parts: object) -> int:
        refused.set()
        raise OSError(number, "refused")

    watched: list[bool] = []
    monkeypatch.setattr(device, "_writev", writev)
    monkeypatch.setattr(wire.dev.netdev_ops.service.__class__, "want_write", lambda *args: watched.append(args[2]))  # type: ignore[attr-defined]
    wire.send(frame(wire))
    assert refused.is_set()
    assert wire.dev.carrier is carrier
    assert (getattr(wire.dev.stats, counter), wire.dev.stats.tx_errors) == (1, 1)
    assert watched == ([True] if number == errno.EIO else [])  # EIO passes when the real end is up again
    assert (wire.dev.netdev_ops.queue is None) is (number == errno.EBADFD)  # type: ignore[attr-defined]


def test_down_and_up_again(wire: Wire) -> None:
    wire.call(dev_close, wire.dev)
    wire.far.send(PLAIN + frame(wire))
    wire.until(lambda: not wire.dev.netdev_ops.service._running)  # type: ignore[attr-defined]
    assert not wire.seen  # it waits in the file, as for a real device that is down
    wire.call(dev_open, wire.dev)
    wire.until(lambda: len(wire.seen) == 1)


def test_bare_ip_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(monkeypatch, mode="tun")
    try:
        for first in (b"\x45", b"\x60", b"\x00"):
            wire.far.send(PLAIN + first + bytes(39))
        wire.until(lambda: wire.dev.stats.rx_dropped == 1)
        assert [protocol for protocol, _ in wire.seen] == [0x0800, 0x86DD]
    finally:
        wire.close()


def test_the_thread_ends_with_the_last_device(wire: Wire) -> None:
    ops = wire.dev.netdev_ops
    assert isinstance(ops, TapOps)
    assert ops.service._running
    wire.call(unregister_netdev, wire.dev)
    wire.until(lambda: not ops.service._running)
    assert wire.queues[0].fd == -1

