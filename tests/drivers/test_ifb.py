"""ifb: packets that wait in another device's queue, on their way in and out (drivers/net/ifb.c)."""

from __future__ import annotations

import errno

import pytest
from support.devices import boot, frame, ops_of, packet, softirqs, wire
from support.dgram_api import fails
from support.hosts import Hosts

from pysock.core.dev import PacketType, dev_add_pack, netif_rx
from pysock.core.device import NetDevice, dev_close, dev_open, unregister_netdev
from pysock.core.eth import eth_type_trans
from pysock.core.kernel import Kernel
from pysock.core.qdisc import qdisc_replace
from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import SkBuff
from pysock.drivers.ifb import redirect_egress, redirect_end, redirect_ingress
from pysock.uapi.if_ether import ETH_P_ALL

ETH_P_TEST = 0x88B5


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def make_ifb(kernel: Kernel) -> NetDevice:
    ifb = kernel.dev_layer.create_device(kernel.init_net, "ifb")
    dev_open(ifb)
    return ifb


def listen(kernel: Kernel) -> list[tuple[str, bytes]]:
    got: list[tuple[str, bytes]] = []

    def handler(skb: SkBuff) -> None:
        assert skb.dev is not None
        got.append((skb.dev.name, skb_to_bytes(skb)))

    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, handler))
    return got


def arrive(dev: NetDevice, raw: bytes) -> None:
    skb = SkBuff(raw, 0, len(raw))
    eth_type_trans(skb, dev)
    netif_rx(skb)
    softirqs(dev.kernel)


def test_ingress(kernel: Kernel) -> None:
    dev, ifb = wire(kernel, "eth0"), make_ifb(kernel)
    got = listen(kernel)
    seen: list[str] = []
    dev_add_pack(PacketType(kernel.init_net, ETH_P_ALL, lambda skb, dev: seen.append(dev.name)))
    redirect_ingress(dev, ifb)
    arrive(dev, frame())
    assert got == [("eth0", frame())]
    assert seen == ["eth0", "ifb0"]  # once where it came in, once on the detour
    assert (ifb.stats.rx_packets, ifb.stats.tx_packets, ifb.stats.tx_bytes) == (1, 1, len(frame()))
    redirect_end(dev, ifb)
    arrive(dev, frame())
    assert (len(got), ifb.stats.rx_packets, dev.ingress) == (2, 1, None)


def test_egress_of_two_devices_through_one_queue(kernel: Kernel) -> None:
    one, two, ifb = wire(kernel, "eth0"), wire(kernel, "eth1"), make_ifb(kernel)
    redirect_egress(one, ifb)
    redirect_egress(two, ifb)
    for dev in (one, two):
        dev.queue_xmit(packet(dev))
    assert ops_of(one).sent == ops_of(two).sent == [frame()]
    assert ifb.stats.tx_packets == 2
    redirect_end(one, ifb)
    one.queue_xmit(packet(one))
    assert (len(ops_of(one).sent), ifb.stats.tx_packets, one.xmit_direct) == (2, 2, True)


def test_what_was_not_redirected_is_dropped(kernel: Kernel) -> None:
    ifb = make_ifb(kernel)
    ifb.queue_xmit(packet(ifb))
    assert (ifb.stats.rx_dropped, ifb.stats.tx_packets) == (1, 0)


def test_an_ifb_that_is_down_or_goes(kernel: Kernel) -> None:
    dev, ifb = wire(kernel, "eth0"), make_ifb(kernel)
    got = listen(kernel)
    redirect_ingress(dev, ifb)
    redirect_egress(dev, ifb)
    dev_close(ifb)
    arrive(dev, frame())
    dev.queue_xmit(packet(dev))
    assert (got, ops_of(dev).sent, ifb.stats.tx_dropped) == ([], [], 2)
    unregister_netdev(ifb)
    arrive(dev, frame())
    dev.queue_xmit(packet(dev))
    assert (len(got), len(ops_of(dev).sent), dev.rx_slow) == (1, 1, False)


def test_the_device_goes_while_packets_wait(kernel: Kernel) -> None:
    dev, ifb = wire(kernel, "eth0"), make_ifb(kernel)
    qdisc_replace(ifb, "netem", {"delay": 1_000_000})
    redirect_ingress(dev, ifb)
    arrive(dev, frame())
    assert ifb.qdisc is not None
    assert ifb.qdisc.qlen == 1
    unregister_netdev(dev)
    kernel.sleep(10_000_000)
    softirqs(kernel)
    assert (ifb.qdisc.qlen, ifb.stats.tx_dropped) == (0, 1)


def test_refusals(kernel: Kernel) -> None:
    dev, ifb = wire(kernel, "eth0"), make_ifb(kernel)
    fails(errno.EINVAL, redirect_ingress, ifb, dev)
    fails(errno.ELOOP, redirect_egress, ifb, ifb)
    redirect_ingress(dev, ifb)
    redirect_egress(dev, ifb)
    fails(errno.EBUSY, redirect_ingress, dev, ifb)
    fails(errno.EBUSY, redirect_egress, dev, ifb)
    unregister_netdev(ifb)
    fails(errno.ENODEV, redirect_ingress, dev, ifb)


def test_a_host_that_receives_late() -> None:
    lab = Hosts()
    a, b = lab.pair()
    ifb = b.call(lab.kernel.dev_layer.create_device, b.net, "ifb")
    b.call(dev_open, ifb)
    b.call(qdisc_replace, ifb, "netem", {"delay": 50_000_000})
    b.call(redirect_ingress, b.dev(), ifb)
    server = b.bound("10.0.0.2", 53)
    client = a.socket()
    begin = lab.kernel.now
    a.sendto(client, b"question", ("10.0.0.2", 53))
    assert b.recv(server) == b"question"
    assert lab.kernel.now - begin >= 50_000_000
    assert lab.log == []
