"""Runts, giants, mis-tagged and random frames at the wire end of every driver: nothing raises, nothing hangs, each is
counted, a good datagram gets through afterwards, and nothing of it is left when the devices are gone.
"""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.e100 import E100Hosts, card
from support.hosts import HostApi, Hosts, network

from pysock.core.device import (
    NETREG_UNREGISTERED,
    NetDevice,
    dev_close,
    dev_open,
    dev_set_promiscuity,
    unregister_netdev,
)
from pysock.core.kernel import Kernel
from pysock.core.skbuff import SkBuff
from pysock.drivers.bridge import br_add_if
from pysock.drivers.ifb import redirect_ingress
from pysock.drivers.tap import device as tap_device
from pysock.drivers.tap.chardev import VNET_HDR_SIZE
from pysock.families.inet.devinet import add_address
from pysock.uapi.socket import MSG_DONTWAIT
from pysock.wire import ipv4, udp

ATTACKER, VICTIM = "10.0.0.1", "10.0.0.2"
HERE, EVERYBODY = b"\x02HERE!", b"\xff" * 6  # the first stands for the victim's own address
OURS = bytes((10, 0, 0, 2))

addresses = st.sampled_from(
    [HERE, HERE, HERE, EVERYBODY, b"\2\0\0\0\0\x99", bytes(6), b"\x01\0\x5e\0\0\1", b"\x33\x33\0\0\0\1",
     b"\x01\x80\xc2\0\0\0", b"\x01\x80\xc2\0\0\x02"]
)  # fmt: skip
ethertypes = st.one_of(
    st.sampled_from([0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8, 0x8809, 0x88B5, 0x0004, 0x05DC, 0xFFFF, 0]),
    st.integers(0, 0xFFFF),
).map(lambda number: number.to_bytes(2, "big"))
tags = st.lists(
    st.tuples(st.sampled_from([b"\x81\0", b"\x88\xa8"]), st.sampled_from([0, 1, 5, 6, 4095, 0xF005, 0x1000])).map(
        lambda tag: tag[0] + tag[1].to_bytes(2, "big")
    ),
    max_size=4,
).map(b"".join)
#: The beginnings of what the layers above understand.
starts = st.sampled_from(
    [b"", b"\x45\0\0\x28\0\1\0\0\x40\x06\0\0\x0a\0\0\1" + OURS, b"\x4f\0\0\x3c", b"\x60\0\0\0\0\x08\x3a\xff",
     b"\0\1\x08\0\6\4\0\1", b"\0\1\x08\0\6\4\0\2", b"\x42\x42\x03\0\0\0\0\0", b"\1\1\1\x14"]
)  # fmt: skip
bodies = st.one_of(st.binary(max_size=80), st.builds(lambda start, rest: start + rest, starts, st.binary(max_size=60)))
frames = st.one_of(
    st.binary(max_size=13),
    st.builds(lambda *parts: b"".join(parts), addresses, addresses, tags, ethertypes, bodies),
    st.builds(
        lambda dst, tag, kind, size: dst + b"\2\0\0\0\0\7" + tag + kind + bytes(size),
        addresses, tags, ethertypes, st.sampled_from([1500, 1501, 1505, 1600, 4096, 9000, 65521]),
    ),
)  # fmt: skip


class Rig:
    """A victim (10.0.0.2) with one kind of device, and the wire that ends there."""

    def __init__(self) -> None:
        self.lab = self.make_lab()
        self.attacker, self.victim = self.lab.host("a"), self.lab.host("b")
        for host in (self.attacker, self.victim):
            host.sysctl("net.ipv6.conf.default.disable_ipv6", 0)
        self.kernel: Kernel = self.lab.kernel
        self.first: set[NetDevice] = set(self.devices())
        self.build()
        self.wait(60)

    def make_lab(self) -> Hosts:
        return Hosts()

    def build(self) -> None:
        """Make the devices, give both hosts their addresses. `self.outside` is where the attacker sends,
        `self.inside` the device that frames enter by.
        """
        self.cable()
        self.address(self.victim, self.inside)
        self.address(self.attacker, self.outside)

    def cable(self) -> None:
        self.outside = self.create(self.attacker, "veth", "eth0", peer="eth0", peer_net=self.victim.net)
        self.inside = self.victim.dev()
        for host, dev in ((self.attacker, self.outside), (self.victim, self.inside)):
            host.call(dev_open, dev)

    def create(self, host: HostApi, kind: str, name: str, **options: object) -> NetDevice:
        create: Callable[..., NetDevice] = self.kernel.dev_layer.create_device
        return host.call(create, host.net, kind, name, **options)

    def address(self, host: HostApi, dev: NetDevice) -> None:
        if not dev.running:
            host.call(dev_open, dev)
        address = ATTACKER if host is self.attacker else VICTIM
        host.call(add_address, host.inet, dev, *network(f"{address}/24"))

    def inject(self, frame: bytes) -> None:
        skb = SkBuff(frame, 0, len(frame))
        skb.dev = self.outside
        self.attacker.call(self.outside.queue_xmit, skb)

    def good(self) -> None:
        """A datagram of the attacker's gets through."""
        server = self.victim.bound(VICTIM, 99)
        self.attacker.sendto(self.attacker.socket(), b"still here", (VICTIM, 99))
        self.wait(10)  # what the frames said in ARP about the attacker has to be found out to be wrong
        if not self.arrived(server):
            self.attacker.sendto(self.attacker.socket(), b"still here", (VICTIM, 99))
            self.wait(1)
            assert self.arrived(server)

    def arrived(self, server: int) -> bool:
        try:
            return self.victim.recv(server, flags=MSG_DONTWAIT) == b"still here"
        except BlockingIOError:
            return False

    def wait(self, seconds: int) -> None:
        self.lab.sleep(seconds)

    def devices(self) -> list[NetDevice]:
        return [dev for net in self.kernel.netns for dev in net.devices]

    def counted(self) -> int:
        """How many frames the two ends of the wire know of."""
        inside, outside = (dev.netdev_ops.ndo_get_stats64(dev) for dev in (self.inside, self.outside))
        return inside.rx_packets + inside.rx_errors + outside.tx_dropped

    def remove(self) -> None:
        made = [dev for dev in self.devices() if dev not in self.first]
        for dev in reversed(made):
            self.attacker.call(unregister_netdev, dev)
        self.wait(700)  # whatever waits for a timer: fragments, routes, neighbours
        assert [dev.name for dev in made if dev.reg_state != NETREG_UNREGISTERED] == []

    def close(self) -> None:
        """Whatever belongs to the operating system."""

    def log(self) -> list[str]:
        """What was reported; that our IPv6 address is somebody else's, a frame may well say."""
        return [line for line in self.lab.log if "duplicate IPv6 address" not in line]


class Loopback(Rig):
    def build(self) -> None:
        self.attacker = self.victim
        self.inside = self.outside = self.victim.dev("lo")
        self.address(self.victim, self.inside)

    def counted(self) -> int:
        stats = self.inside.netdev_ops.ndo_get_stats64(self.inside)
        return stats.rx_packets + stats.tx_dropped


class Veth(Rig):
    pass


class Vlan(Rig):
    def build(self) -> None:
        self.cable()
        for host, dev in ((self.victim, self.inside), (self.attacker, self.outside)):
            self.address(host, self.create(host, "vlan", "eth0.5", link=dev, id=5))


class QinQ(Rig):
    def build(self) -> None:
        self.cable()
        for host, dev in ((self.victim, self.inside), (self.attacker, self.outside)):
            outer = self.create(host, "vlan", "eth0.6", link=dev, id=6, protocol=0x88A8)
            host.call(dev_open, outer)
            self.address(host, self.create(host, "vlan", "eth0.6.5", link=outer, id=5))


class Bridge(Rig):
    def build(self) -> None:
        self.cable()
        bridge = self.create(self.victim, "bridge", "br0")
        self.victim.call(br_add_if, bridge, self.inside)
        other = self.create(self.victim, "veth", "p0", peer="p1")
        for dev in (other, self.victim.dev("p1")):
            self.victim.call(dev_open, dev)
        self.victim.call(br_add_if, bridge, other)
        self.address(self.victim, bridge)
        self.address(self.attacker, self.outside)


class Bond(Rig):
    def build(self) -> None:
        self.cable()
        bond = self.create(self.victim, "bond", "bond0", mode=1, miimon=100)
        self.victim.call(dev_close, self.inside)
        self.victim.call(bond.netdev_ops.ndo_add_slave, bond, self.inside)
        self.address(self.victim, bond)
        self.address(self.attacker, self.outside)


class Macvlan(Rig):
    def build(self) -> None:
        self.cable()
        dev = self.create(self.victim, "macvlan", "m0", link=self.inside, mode="bridge")
        self.victim.call(dev_open, self.create(self.victim, "macvlan", "m1", link=self.inside, mode="vepa"))
        self.address(self.victim, dev)
        self.address(self.attacker, self.outside)


class Ifb(Rig):
    def build(self) -> None:
        super().build()
        ifb = self.create(self.victim, "ifb", "ifb0")
        self.victim.call(dev_open, ifb)
        self.victim.call(redirect_ingress, self.inside, ifb)


class E100(Rig):
    napi = True

    def make_lab(self) -> Hosts:
        return E100Hosts()

    def build(self) -> None:
        assert isinstance(self.lab, E100Hosts)
        self.outside = self.lab.card(self.attacker, f"{ATTACKER}/24", self.lab.wire.a)
        self.inside = self.lab.card(self.victim, f"{VICTIM}/24", self.lab.wire.b, napi=self.napi)
        self.victim.call(dev_set_promiscuity, self.inside, 1)  # or it would rightly not look at most of it

    def inject(self, frame: bytes) -> None:
        self.victim.call(card(self.victim).receive, frame, 0)


class E100WithoutNapi(E100):
    napi = False


class FakeQueue:
    """A `TunQueue` whose other end is a socket of the test's."""

    def __init__(self, fd: int, vnet_hdr: bool) -> None:
        self.fd = fd
        self.name, self.mode, self.vnet_hdr, self.uso = "fake0", "tap", vnet_hdr, False

    def set_offload(self, on: bool) -> None:
        pass

    def close(self) -> None:
        socket.close(self.fd)


class Stepped:
    """A clock that is real as far as the kernel knows, and moves when the test says so."""

    virtual = False

    def __init__(self) -> None:
        self.now = 1_000_000_000

    def monotonic_ns(self) -> int:
        return self.now

    time_ns = monotonic_ns


class Tap(Rig):
    """The test calls the service that waits for the descriptor, so that it need not wait for the service."""

    def build(self) -> None:
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in near, self.far:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            end.setblocking(False)
        with pytest.MonkeyPatch.context() as patch:
            queue = FakeQueue(near.detach(), True)
            patch.setattr(tap_device, "TunQueue", lambda name, **options: queue)
            self.inside = self.create(self.victim, "tap", "eth0")
            self.address(self.victim, self.inside)
        self.outside = self.attacker.dev("lo")

    def make_lab(self) -> Hosts:
        lab = Hosts.__new__(Hosts)
        lab.log = []
        self.clock = Stepped()
        lab.kernel = Kernel.boot(clock=self.clock, seed=1, entry_points=False, strict=True, log=lab.log.append)
        lab._first = True
        return lab

    def inject(self, frame: bytes) -> None:
        self.far.send(bytes(VNET_HDR_SIZE) + frame)
        ops = self.inside.netdev_ops
        assert isinstance(ops, tap_device.TapOps)
        self.victim.call(ops.service.look)
        try:
            while True:
                self.far.recv(1 << 17)  # the victim's answers, and what else it has to say
        except BlockingIOError:
            pass

    def good(self) -> None:
        server = self.victim.bound(VICTIM, 99)
        packet = ipv4.build(bytes((10, 0, 0, 1)), OURS, 17, udp.build(7, 99, b"still here"))
        self.inject(self.inside.dev_addr + b"\2\0\0\0\0\7\x08\0" + packet)
        assert self.arrived(server)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.now += 1_000_000_000
            self.victim.call(lambda: None)

    def close(self) -> None:
        self.far.close()


RIGS = [Loopback, Veth, Vlan, QinQ, Bridge, Bond, Macvlan, Ifb, E100, E100WithoutNapi, Tap]


def alive() -> int:
    gc.collect()
    return sum(isinstance(thing, SkBuff) for thing in gc.get_objects())


@pytest.mark.parametrize("kind", RIGS, ids=lambda kind: kind.__name__)
@settings(max_examples=10)
@given(st.lists(frames, max_size=30))
def test_all_is_survived_and_counted(kind: type[Rig], found: list[bytes]) -> None:
    with closing(kind()) as rig:
        before = rig.counted()
        for frame in found:
            rig.inject(frame.replace(HERE, rig.inside.dev_addr))
        assert rig.counted() - before >= len(found)
        rig.good()
        rig.remove()
    assert rig.log() == []
    assert [str(record) for record in rig.kernel.errors.records()] == []


CHAMPIONS = [
    b"", b"\0", HERE, HERE * 2, HERE * 2 + b"\x08",  # runts
    HERE * 2 + b"\x08\0", HERE * 2 + b"\x81\0", HERE * 2 + b"\x81\0\0\5", HERE * 2 + b"\x88\xa8\0\6\x81\0\0",
    HERE * 2 + b"\x81\0\0\5\x81\0\0\5\x81\0\0\5\x08\0", HERE * 2 + b"\x81\0\x0f\xff\x08\0" + bytes(40),
    EVERYBODY + bytes(6) + b"\x08\6" + b"\0\1\x08\0\6\4\0\1", HERE * 2 + b"\x08\0\x45" + bytes(3000),
    HERE * 2 + b"\x86\xdd\x60" + bytes(70_000), EVERYBODY * 2 + b"\xff\xff" + bytes(100),
    HERE * 2 + b"\x08\0\x45\0\0\x1d\0\7\x20\0\x40\x11\x66\xaf\x0a\0\0\1" + OURS + b"fragment!",  # never complete
]  # fmt: skip


@pytest.mark.parametrize("kind", RIGS, ids=lambda kind: kind.__name__)
def test_nothing_is_left(kind: type[Rig]) -> None:
    with closing(kind()) as rig:
        rig.good()
        rig.wait(60)
        packets, timers = alive(), len(rig.kernel.timers)
        for _ in range(2):
            for frame in CHAMPIONS:
                rig.inject(frame.replace(HERE, rig.inside.dev_addr))
        rig.wait(700)
        assert alive() <= packets
        rig.remove()
    rig.wait(3600)
    assert len(rig.kernel.timers) <= timers
    assert alive() <= packets
