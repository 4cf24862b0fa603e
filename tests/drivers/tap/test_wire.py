"""A simulated card whose cable ends in a TAP (drivers/tap/wire.py): with two sockets in its place, and for real."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.devices import frame
from support.e100 import MAC, OTHER, to
from support.patience import PATIENCE
from support.realnet import RealNet, device_name

import pysock
from pysock.core.device import NetDevice, dev_open, unregister_netdev
from pysock.core.kernel import Kernel
from pysock.core.skbuff import SkBuff
from pysock.drivers.e100.driver import nic_of
from pysock.drivers.e100.kind import card_of
from pysock.drivers.tap import wire
from pysock.drivers.tap.wire import TapPort
from pysock.shim import uplink
from pysock.vfs.task import Task, current


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


class FakeQueue:
    """A `TunQueue` whose other end is ``far``."""

    def __init__(self, name: str | None, vnet_hdr: bool) -> None:
        assert not vnet_hdr
        self.name = name or "fake0"
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.setblocking(False)
        self.far.settimeout(PATIENCE)
        self.fd = near.detach()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class Setup:
    """A card, up, and the other end of its TAP."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.kernel = Kernel.boot(entry_points=False, strict=True, log=self.log.append)
        net = self.kernel.init_net
        net.sysctl.set("net.ipv6.conf.default.disable_ipv6", 1)  # it would speak first
        self.port = TapPort(self.kernel, "fake0")
        self.far: socket.socket = self.port.queue.far  # type: ignore[attr-defined]  # a FakeQueue
        self.kernel.enter()
        self.dev: NetDevice = self.kernel.dev_layer.create_device(net, "e100", "eth0", wire=self.port, mac=MAC)
        dev_open(self.dev)
        self.kernel.leave()
        until(lambda: self.dev.carrier)

    def send(self, payload: bytes) -> None:
        data = frame(payload, dst=OTHER, src=MAC)
        self.kernel.enter()
        self.dev.queue_xmit(SkBuff(data, 0, len(data)))
        self.kernel.leave()

    def call(self, function: Callable[[NetDevice], None]) -> None:
        self.kernel.enter()
        function(self.dev)
        self.kernel.leave()


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    monkeypatch.setattr(wire, "TunQueue", FakeQueue)
    made = Setup()
    try:
        yield made
        assert made.log == []
    finally:
        made.call(unregister_netdev)
        made.far.close()


def test_frames_both_ways(setup: Setup) -> None:
    setup.send(b"out")
    assert setup.far.recv(2000) == frame(b"out", dst=OTHER, src=MAC).ljust(60, b"\0")
    setup.far.send(to(MAC)[:20])  # short: the real kernel does not pad
    setup.far.send(to(OTHER))  # not ours
    setup.far.send(to(MAC, size=1500))
    until(lambda: setup.dev.stats.rx_packets == 2)
    assert setup.dev.get_stats().rx_errors == 0


def test_a_real_end_that_does_not_read_holds_the_card_back(setup: Setup) -> None:
    count = 1000  # more than the socket, the ring and the queue above hold together, at first
    ring = nic_of(setup.dev).tx
    assert ring is not None
    for n in range(count):
        setup.send(b"%03d" % n)
        if setup.dev.tx_stopped:
            break
    assert setup.dev.tx_stopped
    got = [setup.far.recv(2000)[14:17] for _ in range(n + 1)]
    assert got == [b"%03d" % n for n in range(n + 1)]
    until(lambda: ring.avail == ring.count)
    assert nic_of(setup.dev).resets == 0


def test_the_real_end_hangs_up(setup: Setup) -> None:
    setup.far.close()
    setup.send(b"lost")
    until(lambda: not setup.dev.carrier)
    assert setup.port.lost <= 1
    setup.kernel.enter()
    card_of(setup.dev).plug_wire(other := TapPort(setup.kernel))
    setup.kernel.leave()
    until(lambda: setup.dev.carrier)
    setup.far = other.queue.far  # type: ignore[attr-defined]  # as above
    setup.send(b"again")
    assert setup.far.recv(2000)[14:19] == b"again"
    with pytest.raises(OSError) as caught:
        setup.port.attach(card_of(setup.dev))
    assert caught.value.errno == errno.ENODEV


def test_no_real_network_in_virtual_time() -> None:
    with pytest.raises(OSError, match="real time") as caught:
        TapPort(Kernel.boot(clock="virtual", entry_points=False))
    assert caught.value.errno == errno.EINVAL


def test_a_card_talks_to_the_real_kernel() -> None:
    """Through rings and interrupts, a megabyte each way."""
    with RealNet() as peer:
        log: list[str] = []
        kernel = Kernel.boot(entry_points=False, strict=True, log=log.append)
        port = TapPort(kernel, device_name())
        wanted = [uplink.parse_address("10.77.0.2/24")]
        dev = uplink.bring_up(kernel.init_net, "e100", "eth0", wanted, wire=port)
        peer.adopt(port.queue.name, "10.77.0.1/24")
        token = current.set(Task.for_kernel(kernel))
        try:
            until(lambda: dev.carrier)
            with pysock.socket() as listener, peer.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                listener.settimeout(PATIENCE)
                listener.bind(("10.77.0.2", 80))
                listener.listen()
                client.connect(("10.77.0.2", 80))
                server, _ = listener.accept()
                with server:
                    server.settimeout(PATIENCE)
                    for source, sink in ((client, server), (server, client)):
                        _transfer(source, sink)
            nic = nic_of(dev)
            assert (nic.resets, port.lost) == (0, 0)
            assert dev.stats.rx_packets > 700
            assert nic.interrupts > 10
        finally:
            current.reset(token)
            kernel.enter()
            unregister_netdev(dev)
            kernel.leave()
        assert log == []


def _transfer(source: socket.socket, sink: socket.socket) -> None:
    data = random.Random(1).randbytes(1 << 20)
    thread = threading.Thread(target=lambda: source.sendall(data))
    thread.start()
    got = bytearray()
    while len(got) < len(data):
        piece = sink.recv(1 << 18)
        assert piece
        got += piece
    thread.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
