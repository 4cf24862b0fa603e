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
    netif_carrier_off,
    netif_carrier_on,
    unregister_netdev,
)
from pysock.core.eth import eth_type_trans
from pysock.core.kernel import Kernel
from pysock.core.skbuff import SkBuff
from pysock.drivers.ifb import redirect_egress, redirect_ingress
from pysock.uapi.if_ether import ETH_P_8021Q

OPERATIONS = (
    "vlan", "qinq", "macvlan", "bond", "enslave", "ifb", "ingress", "egress", "open", "close", "carrier", "remove",
    "move", "send", "receive", "sleep", "softirqs",
)  # fmt: skip


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
            self.create(number, "macvlan", link=dev, mode=("bridge", "vepa", "private")[number % 3])
        elif what == "bond":
            self.create(number, "bond", mode=number % 3, updelay=100)
        elif what == "enslave":
            bond = self.pick(number, "bond")
            dev_close(other)
            bond.netdev_ops.ndo_add_slave(bond, other)
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
        elif what == "send":
            dev.queue_xmit(packet(dev, dst=other.dev_addr, src=dev.dev_addr))
        elif what == "receive":
            raw = frame(bytes((0, 1, 0x81, 0, 0, 1)), ETH_P_8021Q if number % 2 else 0x88A8, dst=other.dev_addr)
            skb = SkBuff(raw, 0, len(raw))
            eth_type_trans(skb, dev)
            netif_rx(skb)
        elif what == "sleep":
            self.kernel.sleep(50_000_000)
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
