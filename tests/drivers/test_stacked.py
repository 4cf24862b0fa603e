"""Devices upon devices, made and removed in any order while frames are in flight: nothing raises, nothing is left."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.devices import boot, frame, packet, softirqs, wire

from pysock.core.dev import netif_rx
from pysock.core.device import (
    NETREG_REGISTERED,
    NETREG_UNREGISTERED,
    NetDevice,
    dev_change_net,
    dev_close,
    dev_open,
    dev_set_mac_address,
    dev_set_mtu,
    netif_carrier_off,
    netif_carrier_on,
    unregister_netdev,
)
from pysock.core.eth import eth_type_trans
from pysock.core.kernel import Kernel
from pysock.core.skbuff import SkBuff
from pysock.drivers.ifb import redirect_egress, redirect_ingress
from pysock.uapi.if_ether import ETH_P_8021Q
from pysock.wire import stp

OPERATIONS = (
    "vlan", "qinq", "macvlan", "bond", "bridge", "enslave", "release", "ifb", "ingress", "egress", "open",
    "close", "carrier", "remove", "move", "address", "mtu", "send", "receive", "sleep", "softirqs",
)  # fmt: skip


MODES = ("bridge", "vepa", "private", "passthru", "source")
BONDS: tuple[dict[str, object], ...] = ({}, {"miimon": 0}, {"min_links": 1})


def arrive(dev: NetDevice, raw: bytes) -> None:
    """In flight: on the backlog."""
    skb = SkBuff(raw, 0, len(raw))
    if eth_type_trans(skb, dev):
        netif_rx(skb)


class Stack:
    """Some devices, and operations on those that a number picks; what Linux would refuse is refused."""

    def __init__(self) -> None:
        self.kernel: Kernel = boot()
        self.all: list[NetDevice] = []
        for number in range(3):
            dev = wire(self.kernel, f"w{number}", setup=lambda dev: setattr(dev, "live_addr_change", True))
            dev.dev_addr = bytes((2, 0, 0, 0, 0, number))
            self.all.append(dev)
        self.kernel.enter()
        self.nets = [self.kernel.init_net, self.kernel.new_net("other")]
        self.kernel.leave()

    def pick(self, number: int, kind: str = "") -> NetDevice:
        """One that lives, of ``kind`` if there is one of it."""
        live = [dev for dev in self.all if dev.reg_state == NETREG_REGISTERED] or self.all[:1]
        alike = [dev for dev in live if dev.driver is not None and dev.driver.name == kind] or live
        return alike[number % len(alike)]

    def create(self, net: int, kind: str, **options: object) -> None:
        dev = self.kernel.dev_layer.create_device(self.nets[net % 2], kind, f"d{len(self.all)}", **options)
        self.all.append(dev)

    def do(self, what: str, number: int) -> None:
        dev, other = self.pick(number), self.pick(number // 7)
        if what == "vlan":
            self.create(number, "vlan", link=dev, id=1 + number % 2)
        elif what == "qinq":
            self.create(number, "vlan", link=dev, id=1, protocol=0x88A8)
        elif what == "macvlan":
            self.create(number, "macvlan", link=dev, mode=MODES[number % 5])
        elif what == "bond":
            self.create(number, "bond", mode=number % 5, **BONDS[number % 3])
        elif what == "bridge":  # two macvlans of one device on it make a loop: never without a spanning tree
            self.create(number, "bridge", stp_state=1, forward_delay=200)
        elif what == "enslave":
            master = self.pick(number, ("bond", "bridge")[number % 2])
            if number % 2 == 0:
                dev_close(other)
            master.netdev_ops.ndo_add_slave(master, other)
        elif what == "release":
            if dev.master is not None:
                dev.master.netdev_ops.ndo_del_slave(dev.master, dev)
        elif what == "ifb":
            self.create(number, "ifb")
        elif what == "ingress":
            redirect_ingress(dev, self.pick(number, "ifb"))
        elif what == "egress":
            redirect_egress(dev, self.pick(number, "ifb"))
        elif what == "open":
            dev_open(dev)
        elif what == "close":
            dev_close(dev)
        elif what == "carrier":
            (netif_carrier_off if number % 2 else netif_carrier_on)(dev)
        elif what == "remove":
            unregister_netdev(dev)
        elif what == "move":
            dev_change_net(dev, self.nets[number % 2])
        elif what == "address":
            dev_set_mac_address(dev, bytes((2, 0, 0, 0, 0, number % 8)))
        elif what == "mtu":
            dev_set_mtu(dev, 1280 + number)
        elif what == "send":
            dev.queue_xmit(packet(dev, dst=other.dev_addr, src=dev.dev_addr))
        elif what == "receive":
            raw = frame(bytes((0, 1, 0x81, 0, 0, 1)), ETH_P_8021Q if number % 2 else 0x88A8, dst=other.dev_addr)
            arrive(dev, raw)
        elif what == "sleep":
            self.kernel.sleep(50_000_000 << number % 6)
        else:
            softirqs(self.kernel)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 48)), max_size=30))
def test_any_order(operations: list[tuple[str, int]]) -> None:
    stack = Stack()
    for what, number in operations:
        try:
            stack.do(what, number)
        except OSError:
            pass  # refused, as it should be
    for dev in stack.all:
        unregister_netdev(dev)
    softirqs(stack.kernel)
    assert [str(record) for record in stack.kernel.errors.records()] == []
    for dev in stack.all:
        assert dev.reg_state == NETREG_UNREGISTERED
        assert (dev.uppers, dev.lowers, dev.master) == ((), (), None)
        assert (dev.rx_handler, dev.ingress, dev.vlan_group, dev.rx_slow) == (None, None, None, False)
        assert (dev.uc, dev.mc, dev.promiscuity, dev.allmulti) == ({}, {}, 0, 0)
    assert [dev.name for net in stack.nets for dev in net.devices] == ["lo", "lo"]


# --- bad input --------------------------------------------------------------------------------------------------------

#: Frames that are too short, too long, tagged as they should not be, from and to where nobody is; and noise.
GROUPS = st.sampled_from([b"\xff" * 6, stp.GROUP_ADDRESS, b"\x01\x80\xc2\0\0\2", b"\x01\0\x5e\0\0\1", bytes(6)])
MACS = st.one_of(GROUPS, st.builds(lambda last: bytes((2, 0, 0, 0, 0, last)), st.integers(0, 9)), st.binary(max_size=6))
TYPES = st.sampled_from([0x8100, 0x88A8, 0x0800, 0x86DD, 0x0806, 0x8809, 0x88B5, 0, 3, 38, 1501, 0xFFFF])
BODIES = st.one_of(
    st.binary(max_size=80), st.sampled_from([bytes(1600), b"\0\5\x81\0" * 30, stp.LLC + bytes(35), b"\1\1\1\x14" * 28])
)
FRAMES = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda dst, src, kind, body: dst + src + kind.to_bytes(2, "big") + body, MACS, MACS, TYPES, BODIES),
)


def tower(kernel: Kernel) -> list[NetDevice]:
    """A VLAN on a bond on bridges' ports, and everything else that stands on a wire."""
    create = kernel.dev_layer.create_device
    net = kernel.init_net
    wires = []
    for number in range(4):
        dev = wire(kernel, f"w{number}", setup=lambda dev: setattr(dev, "live_addr_change", True))
        dev.dev_addr = bytes((2, 0, 0, 0, 0, number))
        wires.append(dev)
    bond = create(net, "bond", "bond0", mode="active-backup")
    lacp = create(net, "bond", "bond1", mode="802.3ad")
    for master, slave in ((bond, wires[0]), (lacp, wires[1])):
        dev_close(slave)
        master.netdev_ops.ndo_add_slave(master, slave)
    bridge = create(net, "bridge", "br0", stp_state=1, forward_delay=200)
    bridge.netdev_ops.ndo_add_slave(bridge, bond)
    bridge.netdev_ops.ndo_add_slave(bridge, wires[2])
    made = [bond, lacp, bridge, create(net, "veth", "v0", peer="v1"), net.dev_by_name["v1"], create(net, "dummy", "d0")]
    made += [create(net, "vlan", "br0.5", link=bridge, id=5), create(net, "vlan", "w3.0", link=wires[3], id=0)]
    made += [create(net, "vlan", "qinq", link=made[-2], id=5, reorder_hdr=False)]
    made += [create(net, "macvlan", f"m{mode}", link=wires[3], mode=mode) for mode in MODES if mode != "passthru"]
    made += [create(net, "macvlan", "pass", link=net.dev_by_name["d0"], mode="passthru"), create(net, "ifb", "ifb0")]
    redirect_ingress(wires[2], made[-1])
    for dev in made:
        dev_open(dev)
    return wires + made


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(FRAMES, st.integers(0, 20), st.booleans()), max_size=8), st.integers(0, 40))
def test_bad_frames_on_every_device(frames: list[tuple[bytes, int, bool]], gone: int) -> None:
    """Sent or received, nothing raises and nothing is lost uncounted; a device may go while they are in flight."""
    kernel = boot()
    devices = tower(kernel)
    kernel.sleep(5_000_000_000)
    kernel.enter()
    for raw, number, sent in frames:
        dev = devices[number % len(devices)]
        before = counted(dev)
        if sent:
            skb = SkBuff(raw, 0, len(raw))
            skb.dev = dev
            dev.queue_xmit(skb)
            assert counted(dev) > before or dev.stats.tx_dropped
        else:
            arrive(dev, raw)
            assert len(raw) >= 14 or counted(dev) > before
    if gone < len(devices):
        unregister_netdev(devices[gone])
    kernel.leave()
    kernel.sleep(100_000_000)
    for dev in devices:
        unregister_netdev(dev)
    softirqs(kernel)
    assert [str(record) for record in kernel.errors.records()] == []


def counted(dev: NetDevice) -> int:
    stats = dev.get_stats()
    return stats.tx_packets + stats.tx_dropped + stats.tx_errors + stats.rx_errors + stats.rx_dropped + stats.rx_packets
