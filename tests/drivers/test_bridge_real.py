"""Our bridge beside the real kernel's: the same frames go the same ways, and the trees agree on root and bytes."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from collections.abc import Iterator

import pytest
from support.devices import boot, frame, ops_of, wire
from support.realnet import RealNet

from pysock.core.capability import Credentials
from pysock.core.dev import netif_rx
from pysock.core.device import NetDevice, dev_open
from pysock.core.eth import eth_type_trans
from pysock.core.ifioctl import dev_ioctl
from pysock.core.skbuff import SkBuff
from pysock.drivers.bridge import br_add_if
from pysock.drivers.bridge.attr import br_attr, br_attr_store, port_attr, port_attr_store
from pysock.uapi import if_bridge as uapi
from pysock.uapi.if_ import pack_ifreq
from pysock.uapi.ioctl import SIOCDEVPRIVATE
from pysock.wire import stp

ETH_P_ALL = 3
ALL = b"\xff" * 6
A, B, C = (bytes((2, 0, 0, 0, 1, n)) for n in range(3))
OURS = b"\2\0\0\0\0\3"
END = frame(b"the end", 0x88B6, b"\x03\0\0\0\0\x0e", b"\x02\0\0\0\0\x0e")


def port_address(number: int) -> str:
    return f"02:00:00:00:00:{number + 1:02x}"


class Real:
    """A bridge of the real kernel in a namespace, with three ports, and a packet socket at the other end of each."""

    def __init__(self, net: RealNet, *options: str) -> None:
        self.ip = lambda *words: net.ip("-n", net.name, *words)
        self.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0", *options)
        self.sockets: list[socket.socket] = []
        for n in range(3):
            self.ip("link", "add", f"p{n}", "address", port_address(n), "type", "veth", "peer", "name", f"q{n}")
            self.ip("link", "set", f"q{n}", "addrgenmode", "none")
            self.ip("link", "set", f"p{n}", "addrgenmode", "none")
            self.ip("link", "set", f"p{n}", "master", "br0")
        self.ip("link", "set", "br0", "addrgenmode", "none")
        self.ip("link", "set", "br0", "up")
        for n in range(3):
            self.ip("link", "set", f"q{n}", "up")
            self.ip("link", "set", f"p{n}", "up")
            sock = net.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.bind((f"q{n}", ETH_P_ALL))
            self.sockets.append(sock)

    def arrive(self, at: int, raw: bytes, ways: list[int] | None = None) -> list[int]:
        """The ports that a frame leaves by. Another one for everybody follows, which leaves by ``ways`` (all others),
        to know when all is there.
        """
        self.sockets[at].send(raw)
        self.sockets[at].send(END)
        found = []
        for n in [n for n in range(3) if n != at] if ways is None else ways:
            found += [n] * self.until(self.sockets[n], END).count(raw)
        return found

    @staticmethod
    def until(sock: socket.socket, last: bytes) -> list[bytes]:
        got = []
        while True:
            raw, address = sock.recvfrom(2000)
            if address[2] != socket.PACKET_OUTGOING:
                if raw == last:
                    return got
                got.append(raw)

    def bpdu(self, port: int, root: bytes | None = None) -> bytes:
        """The next configuration BPDU that the real bridge says by ``port``, and that names ``root`` if given: it may
        have said others before it knew of that one.
        """
        while True:
            raw, address = self.sockets[port].recvfrom(2000)
            if address[2] != socket.PACKET_OUTGOING and raw[:6] == stp.GROUP_ADDRESS:
                found = stp.parse(raw, 17)
                if isinstance(found, stp.ConfigBpdu) and root in (None, found.root):
                    return raw

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


class Ours:
    """The same bridge here."""

    def __init__(self, **options: object) -> None:
        self.kernel = boot()
        self.kernel.enter()
        self.br = self.kernel.dev_layer.create_device(self.kernel.init_net, "bridge", "br0", **options)
        dev_open(self.br)
        self.ports: list[NetDevice] = []
        for n in range(3):
            dev = wire(self.kernel, f"p{n}")
            dev.dev_addr = bytes.fromhex(port_address(n).replace(":", ""))
            self.ports.append(dev)
            br_add_if(self.br, dev)
            port_attr_store(dev, "path_cost", "2")  # a veth's
        self.kernel.leave()

    def arrive(self, at: int, raw: bytes) -> list[int]:
        for port in self.ports:
            ops_of(port).sent.clear()
        skb = SkBuff(raw, 0, len(raw))
        self.kernel.enter()
        if eth_type_trans(skb, self.ports[at]):
            netif_rx(skb)
        self.kernel.leave()
        return [n for n, port in enumerate(self.ports) for each in ops_of(port).sent if each == raw]

    def bpdus(self, port: int) -> list[bytes]:
        return [raw for raw in ops_of(self.ports[port]).sent if raw[:6] == stp.GROUP_ADDRESS]


@pytest.fixture
def net() -> Iterator[RealNet]:
    with RealNet() as real:
        yield real


def test_frames_go_the_same_ways(net: RealNet) -> None:
    real, ours = Real(net), Ours()
    try:
        reserved = [bytes((1, 0x80, 0xC2, 0, 0, last)) for last in range(17)]
        frames = [
            (0, frame(dst=B, src=A)), (1, frame(dst=A, src=B)), (0, frame(dst=B, src=A)), (2, frame(dst=A, src=B)),
            (0, frame(dst=B, src=A)), (0, frame(dst=A, src=C)), (0, frame(dst=ALL, src=ALL)),
            (0, frame(dst=B, src=bytes(6))), (1, frame(dst=OURS, src=B)), (1, frame(dst=ALL, src=OURS)),
            (2, frame(b"", 0, C, A)), (0, frame(b"\xff\xff", 4, A, B)),
            *((0, frame(dst=group, src=A)) for group in reserved),
        ]  # fmt: skip
        for at, raw in frames:
            assert real.arrive(at, raw) == ours.arrive(at, raw), raw.hex()
        ways = {"hairpin": ([0, 1, 2], [0, 1, 2], [0, 1]), "isolated": ([2], [2], [0, 1])}
        for name, groups in ways.items():  # where a frame for all goes from each port
            for n in range(2):
                real.ip("link", "set", f"p{n}", "type", "bridge_slave", "hairpin", "off")
                real.ip("link", "set", f"p{n}", "type", "bridge_slave", name, "on")
                port_attr_store(ours.ports[n], "hairpin_mode", str(int(name == "hairpin")))
                port_attr_store(ours.ports[n], "isolated", str(int(name == "isolated")))
            for at, raw in ((0, frame(dst=B, src=A)), (1, frame(dst=A, src=B)), (2, frame(dst=ALL, src=C))):
                assert real.arrive(at, raw, groups[at]) == ours.arrive(at, raw), (name, raw.hex())
        real.ip("link", "set", "br0", "type", "bridge", "group_fwd_mask", "0x4008")
        br_attr_store(ours.br, "group_fwd_mask", "0x4008")
        for group in reserved:
            raw = frame(dst=group, src=C)
            assert real.arrive(2, raw) == ours.arrive(2, raw), raw.hex()
    finally:
        real.close()


def test_the_same_bytes_as_root(net: RealNet) -> None:
    """Both are root of a tree of their own: the hellos are equal, ours say them in virtual time."""
    options = {"stp_state": 1, "forward_delay": 3000, "hello_time": 100, "max_age": 600, "priority": 8192}
    real = Real(net, *(word for name, value in options.items() for word in (name, str(value))))
    ours = Ours(**options)
    try:
        ours.kernel.sleep(1_000_000_000)
        for n in range(3):
            assert ours.bpdus(n) == [real.bpdu(n)]
    finally:
        real.close()


def test_both_follow_the_same_root_and_say_so(net: RealNet) -> None:
    """A better root speaks at port 0: both relay what they heard at the others, byte for byte."""
    options = {"stp_state": 1, "forward_delay": 3000, "hello_time": 100, "max_age": 600}
    real = Real(net, *(word for name, value in options.items() for word in (name, str(value))))
    ours = Ours(**options)
    try:
        root = bytes((0x10, 0, 2, 0, 0, 0, 9, 9))
        hello = stp.ConfigBpdu(0, root, 7, root, 0x8005, 512, 40 * 256, 3 * 256, 15 * 256)
        payload = stp.LLC + stp.build(hello)
        raw = frame(payload, len(payload), dst=stp.GROUP_ADDRESS, src=root[2:])
        real.sockets[0].send(raw)
        ours.arrive(0, raw)
        theirs, mine = stp.parse(real.bpdu(1, root), 17), stp.parse(ours.bpdus(1)[0], 17)
        assert isinstance(theirs, stp.ConfigBpdu)
        assert isinstance(mine, stp.ConfigBpdu)
        assert 513 <= theirs.message_age < 40 * 256  # it is held back for up to a second
        assert mine.message_age == 513
        theirs.message_age = 513
        assert (mine, mine.root, mine.cost) == (theirs, root, 9)
        shown = real.ip("-d", "link", "show", "br0")
        assert "root_port 1" in shown
        assert br_attr(ours.br, "root_port") == "1"
        assert f"root_path_cost {br_attr(ours.br, 'root_path_cost')} " in shown
        assert port_attr(ours.ports[0], "designated_port") == str(0x8005)
    finally:
        real.close()


def test_our_root_is_theirs(net: RealNet) -> None:
    """A cable between both: what one says the other hears, and the worse follows the better."""
    real = Real(net, "stp_state", "1", "hello_time", "100", "forward_delay", "3000")
    ours = Ours(stp_state=1, hello_time=100, forward_delay=3000, max_age=4000, priority=4096)
    try:
        theirs = real.bpdu(2)
        ours.arrive(2, theirs)
        (answer,) = ours.bpdus(2)
        assert br_attr(ours.br, "root_id") == br_attr(ours.br, "bridge_id")
        real.sockets[2].send(answer)
        told = stp.parse(real.bpdu(0, bytes.fromhex("1000020000000001")), 17)
        assert isinstance(told, stp.ConfigBpdu)
        assert (told.root.hex(), told.cost, told.port) == ("1000020000000001", 2, 0x8001)
        shown = real.ip("-d", "link", "show", "p2")
        assert "state listening" in shown
        assert "designated_bridge 1000.2:0:0:0:0:1 " in shown
    finally:
        real.close()


def test_brctl_sees_the_same(net: RealNet) -> None:
    """The structures of SIOCDEVPRIVATE, as far as they do not depend on the instant."""
    real, ours = Real(net, "ageing_time", "12300", "priority", "4096"), Ours(ageing_time=12300, priority=4096)
    asked = net.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for n in range(3):
            real.sockets[n].send(frame(dst=ALL, src=(A, B, C)[n]))
            real.sockets[n].send(END)
            ours.arrive(n, frame(dst=ALL, src=(A, B, C)[n]))
        for n in range(3):
            real.until(real.sockets[n], END)  # so it has been through the bridge
            real.until(real.sockets[n], END)

        def both(cmd: int, size: int, two: int = 0, three: int = 0) -> tuple[bytes, bytes]:
            found = []
            for ask in (
                lambda raw: fcntl.ioctl(asked.fileno(), SIOCDEVPRIVATE, raw),
                lambda raw: dev_ioctl(ours.kernel.init_net, Credentials(), SIOCDEVPRIVATE, raw),
            ):
                data = array.array("B", bytes(size))
                args = array.array("B", uapi.BRCTL_ARGS.pack(cmd, data.buffer_info()[0], two, three))
                ask(pack_ifreq("br0", struct.pack("=Q", args.buffer_info()[0])))
                found.append(data.tobytes())
            return found[0], found[1]

        theirs, mine = (uapi.BRIDGE_INFO.unpack(raw) for raw in both(uapi.BRCTL_GET_BRIDGE_INFO, uapi.BRIDGE_INFO.size))
        same = (*range(5), *range(8, 14))  # three times are in jiffies there, by oversight
        assert [theirs[n] for n in same] == [mine[n] for n in same]
        for n in range(1, 4):
            pair = both(uapi.BRCTL_GET_PORT_INFO, uapi.PORT_INFO.size, n)
            theirs, mine = (uapi.PORT_INFO.unpack(raw) for raw in pair)
            assert theirs[:-3] == mine[:-3]
        known = []
        for raw in both(uapi.BRCTL_GET_FDB_ENTRIES, 16 * 50, 50):
            entries = [uapi.FDB_ENTRY.unpack_from(raw, at) for at in range(0, 800, 16)]
            known.append({entry[:3] for entry in entries if entry[0][4] == 1})
        assert known[0] == known[1]
        assert len(known[0]) == 3
    finally:
        asked.close()
        real.close()
