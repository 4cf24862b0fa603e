"""Captures of running devices."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from support import devices
from support.inet_api import InetSocket, boot, connection, datagram_socket, tshark

from pysock.core.device import dev_set_mtu, unregister_netdev
from pysock.core.kernel import Kernel
from pysock.core.skbuff import SkBuff
from pysock.lab.capture import Capture
from pysock.lab.pcapng import read_file, read_packets
from pysock.uapi.if_ import ARPHRD_NONE
from pysock.uapi.if_ether import ETH_P_IP
from pysock.wire import decode, pcapng, tcp, udp
from pysock.wire.addr import inet_aton
from pysock.wire.checksum import pseudo_v4, verify

PORT = 46000  # no protocol that Wireshark would look for in our payload


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def exchange(kernel: Kernel, rounds: int = 1, size: int = 5) -> bytes:
    """A short life of a TCP connection and of a UDP pair; the TCP bytes that arrived."""
    server, client, peer = connection(kernel, PORT)
    received = b""
    for _ in range(rounds):
        client.send(b"x" * size)
        received += peer.recv()
        peer.send(b"ok")
        client.recv()
    client.close()
    assert peer.recv() == b""
    peer.close()
    server.close()
    a, b = datagram_socket(kernel, PORT), datagram_socket(kernel)
    b.connect(("127.0.0.1", PORT))
    b.send(b"a datagram")
    assert a.recv() == b"a datagram"
    a.close()
    b.close()
    return received


def test_loopback_packets_are_captured_once_with_good_checksums(kernel: Kernel) -> None:
    with Capture(kernel.init_net) as capture:
        exchange(kernel)
    dev = kernel.init_net.loopback_dev
    assert dev is not None
    assert capture.count == len(capture.packets) == dev.get_stats().tx_packets
    assert {(p.dev, p.inbound, p.linktype) for p in capture.packets} == {("lo", True, pcapng.LINKTYPE_ETHERNET)}
    for packet in capture.packets:
        assert packet.length == len(packet.frame)
        _, ip, transport, *_ = decode.decode_frame(packet.frame)
        assert isinstance(transport, (tcp.TcpHeader, udp.UdpHeader))
        segment = packet.frame[14 + ip.size :]
        assert verify(segment, pseudo_v4(ip.src, ip.dst, ip.protocol, len(segment)))
    flags = [t.flags for p in capture.packets for t in decode.decode_frame(p.frame) if isinstance(t, tcp.TcpHeader)]
    assert flags[:3] == [tcp.SYN, tcp.SYN | tcp.ACK, tcp.ACK]


def test_it_stops(kernel: Kernel) -> None:
    dev = kernel.init_net.loopback_dev
    assert dev is not None and dev.xmit_direct
    capture = Capture(kernel.init_net)
    assert not dev.xmit_direct
    capture.close()
    exchange(kernel)
    capture.close()
    assert capture.packets == []
    assert dev.xmit_direct  # back on the fast path
    assert repr(capture) == "<Capture 'init_net' closed: 0 packets>"


def test_capturing_changes_nothing(kernel: Kernel) -> None:
    plain = exchange(kernel, 3, 70_000)
    watched = boot()
    with Capture(watched.init_net), Capture(watched.init_net, devices=["lo"], snaplen=10):
        assert exchange(watched, 3, 70_000) == plain
    both = [k.init_net.loopback_dev.get_stats() for k in (kernel, watched)]  # type: ignore[union-attr]
    assert (both[0].tx_packets, both[0].tx_bytes) == (both[1].tx_packets, both[1].tx_bytes)


def test_same_seed_same_capture() -> None:
    def run(seed: int) -> bytes:
        kernel = boot(seed)
        file = io.BytesIO()
        with Capture(kernel.init_net, file):
            exchange(kernel, 3, 3000)
        return file.getvalue()

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_a_file_that_wireshark_has_nothing_to_say_about(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "exchange.pcapng"
    with Capture(kernel.init_net, path):
        received = exchange(kernel, 4, 40_000)
    packets = read_file(path)
    # The stream as Wireshark reassembles it is what the program got.
    payload = tshark(path, "-Y", "tcp.dstport==46000", "-T", "fields", "-e", "tcp.payload")
    assert bytes.fromhex(payload.replace("\n", "")) == received
    assert tshark(path, "-q", "-z", "expert,warn").strip() == ""
    statuses = tshark(
        path, "-T", "fields", "-e", "ip.checksum.status", "-e", "tcp.checksum.status", "-e", "udp.checksum.status"
    )
    assert [set(line.split()) for line in statuses.splitlines()] == [{"1"}] * len(packets)  # 1: good


def test_super_segments_are_written_as_the_wire_would_carry_them(kernel: Kernel, tmp_path: Path) -> None:
    dev = kernel.init_net.loopback_dev
    assert dev is not None
    dev_set_mtu(dev, 1500)  # it still takes super-segments whole
    path = tmp_path / "gso.pcapng"
    with Capture(kernel.init_net, path):
        server, client, peer = connection(kernel, PORT)
        payload = bytes(range(256)) * 200
        sent = 0
        received = b""
        while len(received) < len(payload):
            if sent < len(payload):
                sent += client.send(payload[sent:])
            received += peer.recv()
        for sock in (client, peer, server):
            sock.close()
    assert received == payload
    packets = read_file(path)
    assert max(len(packet.frame) for packet in packets) == 1514
    assert len(packets) > dev.get_stats().tx_packets + 20
    seen = tshark(path, "-Y", "tcp.dstport==46000", "-T", "fields", "-e", "tcp.payload")
    assert bytes.fromhex(seen.replace("\n", "")) == payload
    assert tshark(path, "-q", "-z", "expert,warn").strip() == ""


def test_snaplen_keeps_the_first_bytes(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "short.pcapng"
    with Capture(kernel.init_net, path, snaplen=60):
        exchange(kernel)
    packets = read_file(path)
    assert {len(packet.frame) for packet in packets} == {52, 60}
    assert any(packet.length > 60 for packet in packets)
    assert tshark(path, "-T", "fields", "-e", "frame.len").split() == [str(packet.length) for packet in packets]
    with pytest.raises(ValueError, match="snaplen"):
        Capture(kernel.init_net, snaplen=0)


def test_some_devices(kernel: Kernel) -> None:
    dev = devices.wire(kernel)
    with pytest.raises(OSError, match="there are: lo, w0"):
        Capture(kernel.init_net, devices=["eth7"])
    with (
        Capture(kernel.init_net, devices=["lo"]) as lo,
        Capture(kernel.init_net, devices=[dev]) as w0,
        Capture(kernel.init_net) as everything,
    ):
        exchange(kernel)
        dev.queue_xmit(devices.packet(dev))
        devices.softirqs(kernel)
    assert len(w0.packets) == 1
    assert w0.packets[0][1:4] == ("w0", devices.frame(), False)
    assert len(everything.packets) == len(lo.packets) + 1


def test_a_device_that_comes_and_goes_while_capturing(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "hot.pcapng"
    kernel.init_net.sysctl.set("net.ipv6.conf.default.disable_ipv6", 1)  # or the device would announce itself
    with Capture(kernel.init_net, path) as capture:
        dev = devices.wire(kernel)
        dev.queue_xmit(devices.packet(dev))
        with Capture(kernel.init_net, devices=[dev]) as narrow:
            unregister_netdev(dev)
        capture.snapshot()
    assert narrow.packets == []
    assert [packet.dev for packet in read_file(path)] == ["w0"]
    blocks = list(pcapng.walk(path.read_bytes()))
    names = [dict(b.options)[pcapng.IF_NAME] for b in blocks if isinstance(b, pcapng.InterfaceDescription)]
    assert names == [b"lo", b"w0"]
    counts = [block.received for block in blocks if isinstance(block, pcapng.InterfaceStatistics)]
    assert counts == [0, 1]


def test_snapshots_while_it_runs(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "running.pcapng"
    with Capture(kernel.init_net, path) as to_file, Capture(kernel.init_net) as in_memory:
        client = InetSocket(kernel)
        with pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", 9))
        assert to_file.snapshot() == []
        seen = in_memory.snapshot()
        assert read_file(path) == seen
        assert in_memory.frames == [packet.frame for packet in seen]
        assert [decode.summary(frame).split("Flags ")[1][:4] for frame in in_memory.frames] == ["[S],", "[R.]"]
        exchange(kernel)
        assert len(seen) == 2


def test_a_file_object_stays_open(kernel: Kernel) -> None:
    file = io.BytesIO()
    with Capture(kernel.init_net, file):
        exchange(kernel)
    assert not file.closed
    assert len(list(read_packets(file.getvalue()))) > 5


def test_a_full_disk_costs_the_capture_only(kernel: Kernel, tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            if self.tell() > 600:
                raise OSError(28, "No space left on device")
            return super().write(data)  # type: ignore[arg-type]

    said: list[str] = []
    kernel = Kernel.boot(clock="virtual", seed=1, entry_points=False, log=said.append)
    capture = Capture(kernel.init_net, Full())
    assert exchange(kernel) == b"xxxxx"
    assert len(said) == 1 and "No space left" in said[0]
    with pytest.raises(OSError, match="No space"):
        capture.close()


def test_frames_without_a_link_layer_header_and_tags_beside_the_frame(kernel: Kernel) -> None:
    packet = bytes.fromhex("45000014000100004001000000000000ffffffff")

    def receive(dev: object, tci: int | None = None) -> None:
        skb = SkBuff(packet, 0, len(packet))
        skb.dev = dev  # type: ignore[assignment]
        skb.protocol = ETH_P_IP
        if tci is not None:
            skb.vlan_tci = tci
        kernel.enter()
        kernel.dev_layer.receive_skb(skb)
        kernel.leave()

    def no_link(dev: object) -> None:
        dev.type = ARPHRD_NONE  # type: ignore[attr-defined]

    ether, tun = devices.wire(kernel), devices.wire(kernel, "tun%d", setup=no_link)
    with Capture(kernel.init_net) as capture:
        receive(ether)
        receive(ether, 5)
        receive(tun)
    plain, tagged, raw = capture.packets
    assert plain.frame == devices.MAC + bytes(6) + b"\x08\0" + packet
    assert tagged.frame == devices.MAC + bytes(6) + b"\x81\0\0\5\x08\0" + packet
    assert (raw.frame, raw.linktype, raw.dev) == (packet, pcapng.LINKTYPE_RAW, "tun0")
    assert inet_aton("255.255.255.255") == raw.frame[16:20]
