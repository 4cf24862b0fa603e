"""The real kernel as the peer, over a TAP, in a network namespace of its own. Skipped aloud where that can't be had."""

from __future__ import annotations

import errno
import gc
import hashlib
import random
import socket as real
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.descriptors import held
from support.patience import PATIENCE
from support.realnet import RealNet, device_name

import pysock
from pysock.core.device import NetDevice, dev_close, dev_open, unregister_netdev
from pysock.core.kernel import Kernel
from pysock.core.netdev_features import NETIF_F_GSO_UDP_L4, NETIF_F_TSO
from pysock.drivers.tap.device import TapOps
from pysock.families.inet.net import InetNet
from pysock.shim import uplink
from pysock.uapi.if_ether import ETH_P_ARP, ETH_P_IP
from pysock.uapi.udp import UDP_GRO, UDP_SEGMENT
from pysock.vfs.task import Task, current

OURS4, THEIRS4 = "10.77.0.2", "10.77.0.1"
OURS6, THEIRS6 = "fd77::2", "fd77::1"
MODES = {
    "offloads": {},
    "no offloads": {"offloads": False},
    "no header": {"vnet_hdr": False},
    "tun": {"mode": "tun"},
}
FAMILIES = [(real.AF_INET, OURS4, THEIRS4), (real.AF_INET6, OURS6, THEIRS6)]


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


class Site:
    """A pysock kernel, and a namespace of the real one at the other end of its TAP."""

    def __init__(self, peer: RealNet, **options: object) -> None:
        self.peer = peer
        self.log: list[str] = []
        self.kernel = Kernel.boot(entry_points=False, strict=True, log=self.log.append)
        self.device = device_name()
        wanted = [uplink.parse_address(f"{OURS4}/24"), uplink.parse_address(f"{OURS6}/64")]
        self.dev: NetDevice = uplink.bring_up(self.kernel.init_net, "tap", "eth0", wanted, tap=self.device, **options)
        self.task = Task.for_kernel(self.kernel)

    def connect(self) -> None:
        """Let the real end in."""
        self.peer.adopt(self.device, f"{THEIRS4}/24", f"{THEIRS6}/64")
        until(lambda: self.dev.carrier)

    def socket(self, family: int, kind: int = real.SOCK_STREAM) -> real.socket:
        """One of ours."""
        sock = pysock.socket(family, kind)
        sock.settimeout(PATIENCE)
        return sock

    def call(self, function: Callable[[NetDevice], None]) -> None:
        self.kernel.enter()
        try:
            function(self.dev)
        finally:
            self.kernel.leave()

    def close(self) -> None:
        self.call(unregister_netdev)
        assert not self.log


@pytest.fixture
def peer() -> Iterator[RealNet]:
    with RealNet() as net:
        yield net


@pytest.fixture
def site(request: pytest.FixtureRequest, peer: RealNet) -> Iterator[Site]:
    """Parametrize it (indirectly) with a key of MODES."""
    site = Site(peer, **MODES[getattr(request, "param", "offloads")])
    token = current.set(site.task)
    try:
        site.connect()
        yield site
    finally:
        current.reset(token)
        site.close()


def drain(sock: real.socket) -> bytes:
    pieces = []
    while piece := sock.recv(1 << 18):
        pieces.append(piece)
    return b"".join(pieces)


def transfer(source: real.socket, sink: real.socket, data: bytes) -> None:
    """Send all of ``data`` and hang up; every byte must arrive at ``sink``."""

    def send() -> None:
        source.sendall(data)
        source.shutdown(real.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    received = drain(sink)
    thread.join()
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


def listener_of(site: Site, family: int, host: str, ours: bool) -> real.socket:
    sock = site.socket(family) if ours else site.peer.socket(family, real.SOCK_STREAM)
    sock.bind((host, 0))
    sock.listen()
    return sock


@pytest.mark.parametrize("site", MODES, indirect=True)
@pytest.mark.parametrize(("family", "ours", "theirs"), FAMILIES, ids=["ipv4", "ipv6"])
def test_megabytes_each_way(site: Site, family: int, ours: str, theirs: str) -> None:
    """Their client at our server, our client at their server; every byte is compared."""
    up, down = random.Random(1).randbytes(4 << 20), random.Random(2).randbytes(4 << 20)
    for our_server in (True, False):
        with listener_of(site, family, ours if our_server else theirs, our_server) as server:
            client = site.peer.socket(family, real.SOCK_STREAM) if our_server else site.socket(family)
            with client:
                client.connect(server.getsockname()[:2])
                end, _ = server.accept()
                with end:
                    end.settimeout(PATIENCE)
                    transfer(client, end, up)
                    transfer(end, client, down)
    stats = site.dev.stats
    if site.dev.features & NETIF_F_TSO:
        assert stats.tx_packets < stats.tx_bytes / 4000  # super-segments, both ways
        assert stats.rx_packets < stats.rx_bytes / 4000
    else:
        assert stats.tx_packets > stats.tx_bytes / 1514
        assert stats.rx_packets > stats.rx_bytes / 1514
        assert site.kernel.init_net.get(InetNet).mibs.tcp.InSegs < 0.9 * stats.rx_packets  # GRO glued most
    assert not stats.tx_errors
    assert not stats.rx_errors


@pytest.mark.parametrize(("family", "ours", "theirs"), FAMILIES, ids=["ipv4", "ipv6"])
def test_datagrams(site: Site, family: int, ours: str, theirs: str) -> None:
    """Large ones are fragmented and put together again by both sides."""
    with site.socket(family, real.SOCK_DGRAM) as mine, site.peer.socket(family, real.SOCK_DGRAM) as other:
        mine.bind((ours, 0))
        other.bind((theirs, 0))
        for size in (0, 1, 1400, 9000, 60000):
            data = random.Random(size).randbytes(size)
            mine.sendto(data, other.getsockname()[:2])
            assert other.recvfrom(65536)[0] == data
            other.sendto(data, mine.getsockname()[:2])
            assert mine.recvfrom(65536)[0] == data


@pytest.mark.parametrize("site", MODES, indirect=True)
@pytest.mark.parametrize(("family", "ours", "theirs"), FAMILIES, ids=["ipv4", "ipv6"])
def test_many_datagrams_in_one_send(site: Site, family: int, ours: str, theirs: str) -> None:
    """UDP_SEGMENT and UDP_GRO, both ways; with offloads it is one packet on the TAP too."""
    data = random.Random(3).randbytes(10_500)
    with site.socket(family, real.SOCK_DGRAM) as mine, site.peer.socket(family, real.SOCK_DGRAM) as other:
        mine.bind((ours, 0))
        other.bind((theirs, 0))
        for one in (mine, other):  # the neighbours get to know each other
            one.sendto(b"", (mine, other)[one is mine].getsockname()[:2])
        assert (mine.recv(9), other.recv(9)) == (b"", b"")
        offloads = bool(site.dev.features & NETIF_F_GSO_UDP_L4)
        for source, sink in ((mine, other), (other, mine)):
            source.setsockopt(real.SOL_UDP, UDP_SEGMENT, 1000)
            stats = site.dev.stats.copy()
            source.sendto(data, sink.getsockname()[:2])
            assert [sink.recv(2000) for _ in range(11)] == [data[at : at + 1000] for at in range(0, 10_500, 1000)]
            packets = (site.dev.stats.tx_packets - stats.tx_packets) + (site.dev.stats.rx_packets - stats.rx_packets)
            assert packets < 11 if offloads else packets >= 11  # others may come by: neighbour discovery's
            sink.setsockopt(real.SOL_UDP, UDP_GRO, 1)
            source.sendto(data, sink.getsockname()[:2])
            got, control, _, _ = sink.recvmsg(20_000, 100)
            size = len(got)
            if control:
                assert control == [(real.SOL_UDP, UDP_GRO, struct.pack("=i", 1000))]
            else:
                assert size == 1000
            while len(got) < len(data):  # without offloads they come in as many packets as the reader is late for
                got += sink.recv(20_000)
            assert got == data
            if offloads:
                assert size == len(data)
    assert not site.dev.stats.tx_errors


def test_ping(site: Site) -> None:
    """Their echo requests are answered; where there is a ping command, it says so too."""
    with site.peer.socket(real.AF_INET, real.SOCK_RAW, real.IPPROTO_ICMP) as raw:
        body = struct.pack("!HH", 77, 1) + b"x" * 32
        words = struct.unpack("!20H", b"\x08\0\0\0" + body)
        total = sum(words)
        check = 0xFFFF - ((total & 0xFFFF) + (total >> 16))
        raw.sendto(b"\x08\0" + check.to_bytes(2, "big") + body, (OURS4, 0))
        packet = raw.recv(2000)
        assert packet[20:22] == b"\0\0"
        assert packet[24:] == body
    if Path("/bin/ping").exists() or Path("/usr/bin/ping").exists():
        assert " 0% packet loss" in site.peer.run("ping", "-c", "2", "-i", "0.2", OURS4)
        assert " 0% packet loss" in site.peer.run("ping", "-c", "2", "-i", "0.2", OURS6)


def test_nobody_listens(site: Site) -> None:
    with site.socket(real.AF_INET) as client, pytest.raises(ConnectionRefusedError):
        client.connect((THEIRS4, 9))
    with site.peer.socket(real.AF_INET, real.SOCK_STREAM) as client, pytest.raises(ConnectionRefusedError):
        client.connect((OURS4, 9))


def test_a_program_that_sleeps_outside_is_still_served(site: Site) -> None:
    """No thread of the program is in pysock, yet handshakes complete and data is acknowledged."""
    with listener_of(site, real.AF_INET, OURS4, True) as server:
        with site.peer.socket(real.AF_INET, real.SOCK_STREAM) as client:
            client.connect(server.getsockname())
            client.sendall(b"x" * 1000)
            outq = 1
            deadline = time.monotonic() + PATIENCE
            while outq and time.monotonic() < deadline:
                time.sleep(0.005)
                outq = struct.unpack("i", _ioctl(client, 0x5411))[0]  # SIOCOUTQ: not acknowledged yet
            assert not outq


def _ioctl(sock: real.socket, request: int) -> bytes:
    import fcntl

    return fcntl.ioctl(sock.fileno(), request, bytes(4))


def test_malformed_frames(site: Site) -> None:
    """Whatever the other side puts on the wire is counted or ignored, and the next good packet gets through."""
    with site.peer.socket(real.AF_PACKET, real.SOCK_RAW) as wire:
        wire.bind((site.device, 0))
        header = site.dev.dev_addr + b"\2\0\0\0\0\7"
        rng = random.Random(3)
        frames = [header + kind.to_bytes(2, "big") + rng.randbytes(rng.randrange(0, 100)) for kind in (
            ETH_P_IP, 0x86DD, ETH_P_ARP, 0x8100, 0x88B5, 0x0003, 0xFFFF) for _ in range(30)]  # fmt: skip
        ip = bytes.fromhex("450000280001000040060000") + bytes((10, 77, 0, 1)) + bytes((10, 77, 0, 2))
        frames += [header + b"\x08\0" + ip[:n] for n in range(len(ip))]
        frames += [header + b"\x08\0" + ip + rng.randbytes(20), b"\xff" * 12 + b"\x08\6" + rng.randbytes(28)]
        for frame in frames:
            wire.send(frame)
    until(lambda: site.dev.stats.rx_packets >= len(frames))
    with listener_of(site, real.AF_INET, OURS4, True) as server:
        with site.peer.socket(real.AF_INET, real.SOCK_STREAM) as client:
            client.connect(server.getsockname())
    assert site.dev.stats.rx_nohandler >= 60
    assert site.kernel.init_net.get(InetNet).mibs.ip.InHdrErrors > 0


def test_the_real_end_goes_down_and_up(site: Site) -> None:
    """A write to a device that is down is refused; carrier follows, and comes back."""
    address = (THEIRS4, 4000)
    with site.socket(real.AF_INET, real.SOCK_DGRAM) as mine, site.peer.socket(real.AF_INET, real.SOCK_DGRAM) as other:
        other.bind(address)
        mine.sendto(b"one", address)
        assert other.recv(9) == b"one"
        site.peer.ip("-n", site.peer.name, "link", "set", site.device, "down")
        mine.sendto(b"two", address)
        assert not site.dev.carrier
        assert site.dev.stats.tx_carrier_errors == 1
        site.peer.ip("-n", site.peer.name, "link", "set", site.device, "up")
        until(lambda: site.dev.carrier)
        mine.sendto(b"three", address)
        assert other.recv(9) == b"three"


def test_the_real_end_vanishes(site: Site) -> None:
    """With data in flight: carrier off, nothing hangs, the thread is gone, and up again means a new device."""
    ops = site.dev.netdev_ops
    assert isinstance(ops, TapOps)
    with listener_of(site, real.AF_INET, THEIRS4, False) as server, site.socket(real.AF_INET) as client:
        client.connect(server.getsockname())
        client.settimeout(0)
        site.peer.ip("-n", site.peer.name, "link", "del", site.device)
        with pytest.raises(BlockingIOError):
            while True:
                client.send(bytes(65536))
        until(lambda: not site.dev.carrier)
        assert ops.queue is None
        until(lambda: not ops.service._running)
    site.call(dev_close)
    site.call(dev_open)
    assert ops.queue is not None
    assert Path(f"/sys/class/net/{site.device}").exists()


def test_attaching_to_a_device_that_exists(peer: RealNet) -> None:
    """A persistent one outlives us, and is ours again the next time."""
    name = device_name()
    peer.ip("tuntap", "add", "dev", name, "mode", "tap")
    try:
        for _ in range(2):
            kernel = Kernel.boot(entry_points=False)
            dev = uplink.bring_up(kernel.init_net, "tap", None, [(b"\x0a\x4d\0\2", 24)], tap=name)
            assert dev.name == name
            with pytest.raises(OSError, match="another process") as failure:
                uplink.bring_up(kernel.init_net, "tap", "eth1", [(b"\x0a\x4d\0\2", 24)], tap=name)
            assert failure.value.errno == errno.EBUSY
            kernel.enter()
            unregister_netdev(dev)
            kernel.leave()
        assert Path(f"/sys/class/net/{name}").exists()
    finally:
        peer.ip("link", "del", name)


def test_a_device_that_is_to_stay(peer: RealNet) -> None:
    name = device_name()
    kernel = Kernel.boot(entry_points=False)
    dev = kernel.dev_layer.create_device(kernel.init_net, "tap", tap=name, persist=True, owner=65534)
    try:
        kernel.enter()
        unregister_netdev(dev)
        kernel.leave()
        assert Path(f"/sys/class/net/{name}/owner").read_text() == "65534\n"
    finally:
        peer.ip("link", "del", name)


def test_many_queues(peer: RealNet) -> None:
    name = device_name()
    peer.ip("tuntap", "add", "dev", name, "mode", "tap", "multi_queue")
    try:
        kernel = Kernel.boot(entry_points=False)
        with pytest.raises(OSError, match="multi_queue") as failure:
            kernel.dev_layer.create_device(kernel.init_net, "tap", tap=name)
        assert failure.value.errno == errno.EINVAL
        dev = kernel.dev_layer.create_device(kernel.init_net, "tap", tap=name, multi_queue=True)
        kernel.enter()
        unregister_netdev(dev)
        kernel.leave()
    finally:
        peer.ip("link", "del", name)


def test_nothing_is_left_open(peer: RealNet) -> None:
    """After a device that was used."""

    def all_closed() -> bool:
        gc.collect()  # the thread may hold the kernel a moment longer than it runs
        return held() <= before

    before = held()
    for _ in range(2):
        site = Site(peer)
        token = current.set(site.task)
        site.connect()
        with site.socket(real.AF_INET, real.SOCK_DGRAM) as mine:
            mine.sendto(b"x", (THEIRS4, 9))
        current.reset(token)
        ops = site.dev.netdev_ops
        assert isinstance(ops, TapOps)
        assert held() - before
        site.close()
        until(lambda ops=ops: not ops.service._running)
        del site, ops, mine
        until(all_closed)
