"""What is a TAP's alone: between the two devices is the real Linux, and nobody else sees it."""

from __future__ import annotations

import os
import socket

import pytest
from support.cables import Lan

from pysock.drivers.tap.device import TapOps
from pysock.lab.tapcables import TapMedium
from pysock.shim.real import SOCKET

pytestmark = pytest.mark.pysock(driver="tap", clock="real")  # in every column


def test_the_real_kernel_counts_the_same_bytes(lan: Lan) -> None:
    """What we sent, it received; what it sent, we received."""
    lan.exchange()
    there, _ = lan.crossed()
    ours, theirs = lan.pair()
    with ours, theirs:
        sending = lan.here.start(ours.sendall, bytes(1 << 20))
        got = 0
        while got < 1 << 20:
            got += len(theirs.recv(1 << 20))
        sending.result(60)
        crossed = lan.crossed()[0] - there
    assert crossed > 1 << 20
    kernel = lan.session.network.kernel
    kernel.enter()  # so that nothing is sent between the two looks
    try:
        assert lan.crossed()[0] == lan.dev.stats.tx_bytes
    finally:
        kernel.leave()


def test_super_segments_cross_in_one_piece(lan: Lan) -> None:
    """With a virtio_net_hdr on both sides, the real kernel forwards 64 KiB at a time."""
    ours, theirs = lan.pair()
    with ours, theirs:
        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"
        packets, size = lan.far.stats.rx_packets, lan.far.stats.rx_bytes
        sending = lan.here.start(ours.sendall, bytes(1 << 20))
        got = 0
        while got < 1 << 20:
            got += len(theirs.recv(1 << 20))
        sending.result(60)
    assert (lan.far.stats.rx_bytes - size) / (lan.far.stats.rx_packets - packets) > 3000


def test_it_is_a_namespace_of_its_own(lan: Lan) -> None:
    lan.exchange()
    for dev in (lan.dev, lan.far):
        ops = dev.netdev_ops
        assert isinstance(ops, TapOps) and ops.queue is not None
        assert ops.queue.name.startswith("tap0")
    assert not {"tap0a", "tap0b", "br0"} & {name for _, name in SOCKET.if_nameindex()}


def test_nothing_is_left(lan: Lan) -> None:
    lan.exchange()
    medium = lan.link.medium
    assert isinstance(medium, TapMedium) and medium.room is not None
    room = medium.room
    fds = [dev.netdev_ops.queue.fd for dev in (lan.dev, lan.far)]  # type: ignore[union-attr]
    assert all(os.readlink(f"/proc/self/fd/{fd}") == "/dev/net/tun" for fd in fds)
    assert room.running
    crossed = lan.crossed()
    lan.session.network.close()
    assert not room.running
    assert [dev.netdev_ops.queue for dev in (lan.dev, lan.far)] == [None, None]  # type: ignore[union-attr]
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(OSError, match="unreachable"):
        sock.sendto(b"x", ("10.0.0.2", 7))
    lan.crossed = lambda: crossed  # type: ignore[method-assign]  # there is nobody to ask any more
