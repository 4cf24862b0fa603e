"""Netfilter hooks of devices: INGRESS and EGRESS."""

from __future__ import annotations

import errno

import pytest
from support.devices import ETH_P_TEST, boot, frame, ops_of, softirqs, wire
from support.hosts import HostApi, Hosts

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.dev import netif_rx
from pysock.core.dev_xmit import NET_XMIT_DROP
from pysock.core.device import unregister_netdev
from pysock.core.eth import eth_type_trans
from pysock.core.netdevice import RX_HANDLER_CONSUMED, netdev_rx_handler_register
from pysock.core.netfilter import (
    NF_ACCEPT,
    NF_DROP,
    NF_NETDEV_EGRESS,
    NF_NETDEV_INGRESS,
    NF_REPEAT,
    NF_STOLEN,
    NFPROTO_NETDEV,
    NfHookOps,
    NfState,
    netfilter_of,
    nf_register_net_hook,
    nf_unregister_net_hook,
)
from pysock.core.skb_data import skb_copy_bits
from pysock.core.skbuff import SkBuff
from pysock.core.timer import Timer
from pysock.uapi.socket import SOL_UDP
from pysock.uapi.udp import UDP_SEGMENT

POINTS = (NF_NETDEV_INGRESS, NF_NETDEV_EGRESS)
NAMES = ("ingress", "egress")


def hook(host: HostApi, point: int, function: object, priority: int = 0, name: str | None = None) -> NfHookOps:
    ops = NfHookOps(function, NFPROTO_NETDEV, point, priority, name, dev=host.dev())  # type: ignore[arg-type]
    host.call(nf_register_net_hook, host.net, ops)
    return ops


def talk(a: HostApi, b: HostApi) -> tuple[int, int]:
    """Two sockets, and neighbours that know each other."""
    receiver = b.socket()
    b.bind(receiver, ("10.0.0.2", 9))
    sender = a.socket()
    a.sendto(sender, b"", ("10.0.0.2", 9))
    assert b.recv(receiver) == b""
    return sender, receiver


def test_what_they_see() -> None:
    """Frames of every protocol: on the way out from the link-layer header on, on the way in behind it."""
    lab = Hosts()
    a, b = lab.pair()
    receiver = b.socket()
    b.bind(receiver, ("10.0.0.2", 9))
    seen: list[tuple[str, str, str, int, bytes]] = []

    def look(skb: SkBuff, state: NfState) -> int:
        names = [getattr(dev, "name", "-") for dev in (state.in_dev, state.out_dev)]
        seen.append((NAMES[state.hook], *names, skb.protocol, skb_copy_bits(skb, 0, 2)))  # type: ignore[arg-type]
        return NF_ACCEPT

    for point in POINTS:
        hook(a, point, look)
    a.sendto(a.socket(), b"hello", ("10.0.0.2", 9))
    assert b.recv(receiver) == b"hello"
    lab.sleep(0)
    mine = a.dev().dev_addr[:2], b.dev().dev_addr[:2]
    assert seen == [
        ("egress", "-", "eth0", 0x806, b"\xff\xff"),
        ("ingress", "eth0", "-", 0x806, b"\0\1"),
        ("egress", "-", "eth0", 0x800, mine[1]),
    ]


@pytest.mark.parametrize("point", POINTS)
def test_a_drop(point: int) -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, receiver = talk(a, b)
    host = (b, a)[point]
    ops = hook(host, point, lambda skb, state: NF_DROP, name="wall")
    assert a.sendto(sender, b"x", ("10.0.0.2", 9)) == 1  # a queue that drops is no error for the program
    lab.sleep(1)
    with pytest.raises(BlockingIOError):
        b.recvfrom(receiver)
    assert ops.drops == 1
    assert netfilter_of(host.net).statistics() == {(NFPROTO_NETDEV, NAMES[point], "wall"): 1}
    host.call(nf_unregister_net_hook, host.net, ops)
    assert host.dev().nf is None
    a.sendto(sender, b"y", ("10.0.0.2", 9))
    assert b.recv(receiver) == b"y"


def test_what_the_transmit_path_says() -> None:
    kernel = boot()
    dev = wire(kernel)
    ops = NfHookOps(lambda skb, state: NF_DROP, NFPROTO_NETDEV, NF_NETDEV_EGRESS, dev=dev)
    nf_register_net_hook(dev.net, ops)
    raw = frame(b"data")
    assert dev.queue_xmit(SkBuff(raw, 0, len(raw))) == NET_XMIT_DROP
    assert dev.stats.tx_dropped == 0
    nf_unregister_net_hook(dev.net, ops)
    assert dev.queue_xmit(SkBuff(raw, 0, len(raw))) == 0
    assert ops_of(dev).sent == [raw]


@pytest.mark.parametrize("point", POINTS)
def test_order_and_repeat(point: int) -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, receiver = talk(a, b)
    order: list[str] = []

    def noting(name: str, *verdicts: int) -> object:
        answers = list(verdicts)

        def function(skb: SkBuff, state: NfState) -> int:
            order.append(name)
            return answers.pop(0) if answers else NF_ACCEPT

        return function

    host = (b, a)[point]
    hook(host, point, noting("last"), 10)
    hook(host, point, noting("first", NF_REPEAT), -10)
    hook(host, point, noting("old"))
    hook(host, point, noting("new"))
    a.sendto(sender, b"x", ("10.0.0.2", 9))
    assert b.recv(receiver) == b"x"
    assert order == ["first", "first", "new", "old", "last"]


@pytest.mark.parametrize("point", POINTS)
def test_a_stolen_packet_goes_on_later(point: int) -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, receiver = talk(a, b)
    host = (b, a)[point]
    seen: list[str] = []

    def steal(skb: SkBuff, state: NfState) -> int:
        seen.append("steal")
        lab.kernel.timers.mod_timer(Timer(lambda: state.resume(skb)), lab.kernel.now + NSEC_PER_SEC)
        return NF_STOLEN

    def behind(skb: SkBuff, state: NfState) -> int:
        seen.append("behind")
        return NF_ACCEPT

    hook(host, point, steal)
    hook(host, point, behind, 1)
    start = lab.kernel.now
    a.sendto(sender, b"x", ("10.0.0.2", 9))
    assert seen == ["steal"]
    assert b.recv(receiver) == b"x"
    assert lab.kernel.now - start == NSEC_PER_SEC
    assert seen == ["steal", "behind"]


def test_ingress_comes_behind_the_taps_and_before_the_rx_handler() -> None:
    kernel = boot()
    dev = wire(kernel)
    order: list[str] = []

    def rx_handler(skb: SkBuff) -> int:
        order.append("handler")
        return RX_HANDLER_CONSUMED

    def function(skb: SkBuff, state: NfState) -> int:
        order.append("hook")
        return NF_ACCEPT

    dev.ptype_all = (lambda skb, dev: order.append("tap"),)
    netdev_rx_handler_register(dev, rx_handler)
    nf_register_net_hook(dev.net, NfHookOps(function, NFPROTO_NETDEV, NF_NETDEV_INGRESS, dev=dev))
    raw = frame(b"data", ETH_P_TEST)
    skb = SkBuff(raw, 0, len(raw))
    eth_type_trans(skb, dev)
    netif_rx(skb)
    softirqs(kernel)
    assert order == ["tap", "hook", "handler"]


def test_a_super_packet_is_seen_whole() -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, receiver = talk(a, b)
    sizes: list[int] = []

    def look(skb: SkBuff, state: NfState) -> int:
        sizes.append(skb.gso_size)
        return NF_ACCEPT

    hook(a, NF_NETDEV_EGRESS, look)
    hook(b, NF_NETDEV_INGRESS, look)
    a.setopt(sender, SOL_UDP, UDP_SEGMENT, 1000)
    a.sendto(sender, bytes(3000), ("10.0.0.2", 9))
    assert [len(b.recv(receiver)) for _ in range(3)] == [1000] * 3
    assert sizes == [1000, 1000]


def test_one_that_raises() -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, _ = talk(a, b)

    def function(skb: SkBuff, state: NfState) -> int:
        raise LookupError("in the hook")

    ops = hook(a, NF_NETDEV_EGRESS, function, name="bad-plugin")
    a.sendto(sender, b"x", ("10.0.0.2", 9))
    assert ops.drops == lab.kernel.errors.count("bad-plugin") == 1
    assert "egress" in lab.log[0]


def test_bad_registrations() -> None:
    lab = Hosts()
    a, b = lab.pair()

    def function(skb: SkBuff, state: NfState) -> int:
        return NF_ACCEPT

    good = hook(a, NF_NETDEV_INGRESS, function)
    for ops, number in (
        (good, errno.EEXIST),
        (NfHookOps(function, NFPROTO_NETDEV, 2, dev=a.dev()), errno.EINVAL),
        (NfHookOps(function, NFPROTO_NETDEV, 0), errno.EINVAL),
        (NfHookOps(function, NFPROTO_NETDEV, 0, dev=b.dev()), errno.EINVAL),
    ):
        with pytest.raises(OSError) as info:
            a.call(nf_register_net_hook, a.net, ops)
        assert info.value.errno == number
    with pytest.raises(OSError) as info:
        a.call(nf_unregister_net_hook, a.net, NfHookOps(function, NFPROTO_NETDEV, 0, dev=a.dev()))
    assert info.value.errno == errno.ENOENT


def test_a_device_that_goes_takes_them_along() -> None:
    kernel = boot()
    dev = wire(kernel)
    nf_register_net_hook(
        dev.net, NfHookOps(lambda skb, state: NF_ACCEPT, NFPROTO_NETDEV, NF_NETDEV_INGRESS, dev=dev, name="watch")
    )
    assert len(netfilter_of(dev.net).statistics()) == 1
    net = dev.net
    unregister_netdev(dev)
    assert netfilter_of(net).statistics() == {}
