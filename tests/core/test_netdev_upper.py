"""Devices upon devices: links, masters, what an upper one asks of a lower, handlers and their verdicts."""

from __future__ import annotations

import errno

import pytest
from support.devices import boot, frame, softirqs, wire
from support.dgram_api import fails

from pysock.core.dev import PacketType, dev_add_pack, netif_rx
from pysock.core.device import (
    RX_HANDLER_ANOTHER,
    RX_HANDLER_CONSUMED,
    RX_HANDLER_EXACT,
    RX_HANDLER_PASS,
    NetDevice,
    netdev_rx_handler_register,
    netdev_rx_handler_unregister,
    netif_carrier_off,
    netif_dormant,
)
from pysock.core.eth import eth_type_trans
from pysock.core.kernel import Kernel
from pysock.core.netdev_events import NETDEV_CHANGEUPPER, NETDEV_PRECHANGEUPPER
from pysock.core.netdev_upper import (
    LowerFilter,
    netdev_ingress_register,
    netdev_ingress_unregister,
    netdev_master_upper_dev_link,
    netdev_upper_dev_link,
    netdev_upper_dev_unlink,
    netif_stacked_transfer_operstate,
)
from pysock.core.notifier import notifier_from_errno
from pysock.core.skbuff import SkBuff, consume_skb
from pysock.uapi.if_ import IFF_ALLMULTI, IFF_PROMISC

ETH_P_TEST = 0x88B5
ONE = b"\x02\0\0\0\0\x11"
TWO = b"\x02\0\0\0\0\x12"


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def arrive(dev: NetDevice) -> None:
    raw = frame()
    skb = SkBuff(raw, 0, len(raw))
    eth_type_trans(skb, dev)
    netif_rx(skb)
    softirqs(dev.kernel)


# --- links ------------------------------------------------------------------------------------------------------------


def test_links_and_masters(kernel: Kernel) -> None:
    a, b, c = (wire(kernel, name) for name in "abc")
    netdev_upper_dev_link(a, b)
    netdev_master_upper_dev_link(a, c)
    assert (a.uppers, b.lowers, a.master) == ((b, c), (a,), c)
    fails(errno.EEXIST, netdev_upper_dev_link, a, b)
    fails(errno.EBUSY, netdev_upper_dev_link, b, a)  # a loop
    fails(errno.EBUSY, netdev_upper_dev_link, a, a)
    fails(errno.EBUSY, netdev_master_upper_dev_link, a, wire(kernel, "d"))
    netdev_upper_dev_unlink(a, c)
    netdev_upper_dev_unlink(a, c)
    assert (a.uppers, c.lowers, a.master) == ((b,), (), None)


def test_a_notifier_may_object(kernel: Kernel) -> None:
    a, b = wire(kernel, "a"), wire(kernel, "b")
    events: list[tuple[int, object]] = []

    def callback(event: int, dev: NetDevice) -> int:
        events.append((event, dev.proposed))
        return notifier_from_errno(errno.EPERM if event == NETDEV_PRECHANGEUPPER and len(events) == 1 else 0)

    kernel.dev_layer.netdev_chain.register(callback)
    fails(errno.EPERM, netdev_upper_dev_link, a, b)
    assert a.uppers == ()
    netdev_upper_dev_link(a, b)
    assert events == [(NETDEV_PRECHANGEUPPER, b), (NETDEV_PRECHANGEUPPER, b), (NETDEV_CHANGEUPPER, None)]


def test_operstate_is_handed_up(kernel: Kernel) -> None:
    lower, upper = wire(kernel, "lower"), wire(kernel, "upper")
    netif_dormant(lower, True)
    netif_stacked_transfer_operstate(lower, upper)
    assert (upper.dormant, upper.carrier) == (True, True)
    netif_carrier_off(lower)
    netif_stacked_transfer_operstate(lower, upper)
    assert not upper.carrier


def test_what_was_asked_of_the_lower_device_is_taken_back(kernel: Kernel) -> None:
    lower = wire(kernel, "lower")
    lower.uc[TWO] = 1  # somebody else's
    mine = LowerFilter(lower)
    mine.sync((ONE, TWO), (ONE,), IFF_PROMISC | IFF_ALLMULTI)
    assert (lower.uc, lower.mc, lower.promiscuity, lower.allmulti) == ({ONE: 1, TWO: 2}, {ONE: 1}, 1, 1)
    mine.sync((TWO,), (ONE,), IFF_ALLMULTI)
    mine.sync((TWO,), (ONE,), IFF_ALLMULTI)
    assert (lower.uc, lower.promiscuity, lower.allmulti) == ({TWO: 2}, 0, 1)
    lower.mc.clear()  # as a move to another namespace does
    mine.clear()
    assert (lower.uc, lower.mc, lower.allmulti) == ({TWO: 1}, {}, 0)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_exact_reaches_only_those_who_asked_for_the_device(kernel: Kernel) -> None:
    dev, other = wire(kernel, "a"), wire(kernel, "b")
    got: list[str] = []
    for name, of in (("any", None), ("a", dev), ("b", other)):
        dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, lambda skb, name=name: got.append(name), of))
    netdev_rx_handler_register(dev, lambda skb: RX_HANDLER_EXACT)
    fails(errno.EBUSY, netdev_rx_handler_register, dev, lambda skb: RX_HANDLER_PASS)
    arrive(dev)
    assert got == ["a"]
    netdev_rx_handler_unregister(dev)
    arrive(dev)
    assert got == ["a", "any", "a"]


def test_exact_without_anybody_is_counted(kernel: Kernel) -> None:
    dev = wire(kernel, "a")
    netdev_rx_handler_register(dev, lambda skb: RX_HANDLER_EXACT)
    arrive(dev)
    assert dev.stats.rx_nohandler == 1


def test_another_round(kernel: Kernel) -> None:
    lower, upper = wire(kernel, "lower"), wire(kernel, "upper")
    got: list[str] = []
    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, lambda skb: got.append(skb.dev.name)))  # type: ignore[union-attr]

    def up(skb: SkBuff) -> int:
        skb.dev = upper
        return RX_HANDLER_ANOTHER

    def seen(skb: SkBuff) -> int:
        got.append("handler")
        return RX_HANDLER_PASS

    netdev_rx_handler_register(lower, up)
    netdev_rx_handler_register(upper, seen)
    arrive(lower)
    assert got == ["handler", "upper"]


def test_ingress_comes_first_and_what_it_raises_is_contained(kernel: Kernel) -> None:
    dev = wire(kernel, "a")
    order: list[str] = []

    def handler(skb: SkBuff) -> int:
        order.append("handler")
        consume_skb(skb)
        return RX_HANDLER_CONSUMED

    def ingress(skb: SkBuff) -> int:
        order.append("ingress")
        if len(order) > 2:
            raise ValueError("no more")
        return RX_HANDLER_PASS

    netdev_rx_handler_register(dev, handler)
    netdev_ingress_register(dev, ingress)
    fails(errno.EBUSY, netdev_ingress_register, dev, ingress)
    arrive(dev)
    arrive(dev)
    assert order == ["ingress", "handler", "ingress"]
    assert dev.stats.rx_dropped == 1
    assert len(kernel.errors.records()) == 1
    netdev_ingress_unregister(dev)
    netdev_rx_handler_unregister(dev)
    assert not dev.rx_slow
