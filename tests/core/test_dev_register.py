"""Registering, opening, closing and unregistering devices: events, vetoes, and what is left when one fails."""

from __future__ import annotations

import errno

import pytest
from support.devices import boot, frame, make, ops_of, packet, softirqs, wire

from pysock.core.dev import PacketType, dev_add_pack, dev_remove_pack, netif_rx
from pysock.core.device import (
    NETREG_REGISTERED,
    NETREG_UNINITIALIZED,
    NETREG_UNREGISTERED,
    NetDevice,
    dev_change_net,
    dev_close,
    dev_hold,
    dev_mc_add,
    dev_open,
    dev_put,
    dev_set_alias,
    netif_napi_add,
    netif_stop_queue,
    register_netdev,
    unregister_netdev,
)
from pysock.core.eth import eth_type_trans
from pysock.core.kernel import Kernel
from pysock.core.netdev_events import (
    EVENT_NAMES,
    NETDEV_POST_INIT,
    NETDEV_PRE_UP,
    NETDEV_REGISTER,
    NETDEV_UNREGISTER,
    NETDEV_UP,
)
from pysock.core.notifier import NOTIFY_DONE, notifier_from_errno
from pysock.core.qdisc import qdisc_replace
from pysock.core.skbuff import SkBuff, consume_skb
from pysock.uapi.if_ import IFF_RUNNING, IFF_UP
from pysock.uapi.if_ether import ETH_P_ALL


class Listener:
    """Records events as (name, device) and objects to those in `vetoes`."""

    def __init__(self, kernel: Kernel) -> None:
        self.seen: list[tuple[str, str]] = []
        self.vetoes: dict[int, int] = {}
        self.kernel = kernel

    def __call__(self, event: int, dev: NetDevice) -> int:
        self.seen.append((EVENT_NAMES[event].removeprefix("NETDEV_"), dev.name))
        return notifier_from_errno(self.vetoes[event]) if event in self.vetoes else NOTIFY_DONE

    def events(self, name: str) -> list[str]:
        return [event for event, dev in self.seen if dev == name]


@pytest.fixture
def kernel() -> Kernel:
    return boot()


@pytest.fixture
def listener(kernel: Kernel) -> Listener:
    listener = Listener(kernel)
    kernel.dev_layer.netdev_chain.register(listener, name="listener")
    return listener


def test_a_whole_life(kernel: Kernel, listener: Listener) -> None:
    dev = make(kernel, "w%d")
    assert dev.reg_state == NETREG_UNINITIALIZED
    register_netdev(dev)
    assert dev.reg_state == NETREG_REGISTERED
    assert kernel.init_net.dev_by_index[dev.ifindex] is dev
    dev_open(dev)
    dev_open(dev)  # again: nothing
    assert dev.get_flags() & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING
    dev_close(dev)
    dev_close(dev)
    assert not dev.get_flags() & (IFF_UP | IFF_RUNNING)
    dev_open(dev)
    unregister_netdev(dev)
    unregister_netdev(dev)
    assert dev.reg_state == NETREG_UNREGISTERED
    assert [d.name for d in kernel.init_net.devices] == ["lo"]
    assert dev.ifindex not in kernel.init_net.dev_by_index
    assert listener.events("w0") == [
        "POST_INIT", "REGISTER", "PRE_UP", "UP", "GOING_DOWN", "DOWN", "PRE_UP", "UP", "GOING_DOWN", "DOWN",
        "UNREGISTER", "PRE_UNINIT",
    ]  # fmt: skip
    assert [call for call in ops_of(dev).calls if call != "set_rx_mode"] == [
        "init", "open", "stop", "open", "stop", "uninit",
    ]  # fmt: skip


def test_an_unregistered_device_cannot_be_used_again(kernel: Kernel) -> None:
    dev = wire(kernel)
    unregister_netdev(dev)
    with pytest.raises(OSError) as info:
        register_netdev(dev)
    assert info.value.errno == errno.EINVAL
    with pytest.raises(OSError) as info:
        dev_open(dev)
    assert info.value.errno == errno.ENODEV


def test_indexes(kernel: Kernel) -> None:
    first, second = make(kernel), make(kernel)
    second.ifindex = 3  # asked for: the next free one is 2, then 3
    register_netdev(second)
    register_netdev(first)
    third = make(kernel)
    register_netdev(third)
    assert (first.ifindex, second.ifindex, third.ifindex) == (2, 3, 4)
    taken = make(kernel)
    taken.ifindex = 3
    with pytest.raises(OSError) as info:
        register_netdev(taken)
    assert info.value.errno == errno.EBUSY


@pytest.mark.parametrize("event", [NETDEV_POST_INIT, NETDEV_REGISTER])
def test_a_veto_leaves_nothing_behind(kernel: Kernel, listener: Listener, event: int) -> None:
    before = Listener(kernel)
    kernel.dev_layer.netdev_chain.register(before, priority=1, name="before")
    listener.vetoes[event] = errno.EPERM
    dev = make(kernel, "w%d")
    with pytest.raises(OSError) as info:
        register_netdev(dev)
    assert info.value.errno == errno.EPERM
    assert dev not in kernel.init_net.devices
    assert "w0" not in kernel.init_net.dev_by_name
    assert ops_of(dev).calls == ["init", "uninit"]
    if event == NETDEV_REGISTER:  # who had been told of it is told that it is gone
        assert before.events("w0")[-2:] == ["UNREGISTER", "PRE_UNINIT"]
    else:
        assert dev.name == "w%d"  # may be tried again
        assert dev.reg_state == NETREG_UNINITIALIZED
        del listener.vetoes[event]
        register_netdev(dev)
        assert dev.name == "w0"


def test_ndo_init_that_fails(kernel: Kernel, listener: Listener) -> None:
    dev = make(kernel)
    ops_of(dev).raises["init"] = OSError(errno.ENOMEM, "no ring")
    with pytest.raises(OSError) as info:
        register_netdev(dev)
    assert info.value.errno == errno.ENOMEM
    ops_of(dev).raises["init"] = ZeroDivisionError()
    with pytest.raises(OSError) as info:
        register_netdev(dev)
    assert info.value.errno == errno.EIO
    assert [str(r).split(" raised")[0] for r in kernel.errors.records()] == ["test-plugin: ndo_init"]
    assert listener.seen == []


def test_ndo_open_that_fails_leaves_it_down(kernel: Kernel, listener: Listener) -> None:
    dev = make(kernel, "w0")
    register_netdev(dev)
    for exc, number in ((OSError(errno.EBUSY, "irq taken"), errno.EBUSY), (KeyError("bug"), errno.EIO)):
        ops_of(dev).raises["open"] = exc
        with pytest.raises(OSError) as info:
            dev_open(dev)
        assert info.value.errno == number
        assert not dev.flags & IFF_UP
        assert not dev.running
    assert "UP" not in listener.events("w0")
    assert kernel.errors.count("test-plugin") == 1
    ops_of(dev).raises.clear()
    dev_open(dev)
    assert dev.flags & IFF_UP


def test_a_veto_against_opening(kernel: Kernel, listener: Listener) -> None:
    dev = make(kernel)
    register_netdev(dev)
    listener.vetoes[NETDEV_PRE_UP] = errno.EACCES
    with pytest.raises(OSError) as info:
        dev_open(dev)
    assert info.value.errno == errno.EACCES
    assert "open" not in ops_of(dev).calls


def test_an_address_is_needed_to_open(kernel: Kernel) -> None:
    dev = make(kernel, setup=lambda dev: setattr(dev, "dev_addr", bytes(6)))
    register_netdev(dev)
    with pytest.raises(OSError) as info:
        dev_open(dev)
    assert info.value.errno == errno.EADDRNOTAVAIL


def test_ndo_stop_that_raises_does_not_keep_it_up(kernel: Kernel) -> None:
    dev = wire(kernel)
    ops_of(dev).raises["stop"] = RuntimeError("stuck")
    dev_close(dev)
    assert not dev.flags & IFF_UP
    assert kernel.errors.count("test-plugin") == 1


# --- newcomers to the chain -------------------------------------------------------------------------------------------


def test_a_newcomer_is_told_of_what_exists(kernel: Kernel) -> None:
    register_netdev(make(kernel, "down0"))
    listener = Listener(kernel)
    kernel.dev_layer.register_netdevice_notifier(listener)
    assert listener.seen == [("REGISTER", "lo"), ("UP", "lo"), ("REGISTER", "down0")]
    kernel.dev_layer.unregister_netdevice_notifier(listener)
    assert listener.seen[3:] == [
        ("GOING_DOWN", "lo"), ("DOWN", "lo"), ("UNREGISTER", "lo"), ("UNREGISTER", "down0"),
    ]  # fmt: skip
    wire(kernel, "later")
    assert listener.events("later") == []


def test_a_newcomer_that_objects_is_not_on_the_chain(kernel: Kernel) -> None:
    wire(kernel, "w0")

    class Picky(Listener):
        def __call__(self, event: int, dev: NetDevice) -> int:
            super().__call__(event, dev)
            return notifier_from_errno(errno.EBUSY) if (event, dev.name) == (NETDEV_REGISTER, "w0") else 0

    picky = Picky(kernel)
    with pytest.raises(OSError) as info:
        kernel.dev_layer.register_netdevice_notifier(picky)
    assert info.value.errno == errno.EBUSY
    assert picky.seen == [
        ("REGISTER", "lo"), ("UP", "lo"), ("REGISTER", "w0"),
        ("GOING_DOWN", "lo"), ("DOWN", "lo"), ("UNREGISTER", "lo"),
    ]  # fmt: skip
    assert len(kernel.dev_layer.netdev_chain) == 0


def test_a_newcomer_that_raises_is_reported_under_its_name(kernel: Kernel) -> None:
    def broken(event: int, dev: NetDevice) -> int:
        if event == NETDEV_UP:
            raise ValueError("broken")
        return NOTIFY_DONE

    kernel.dev_layer.register_netdevice_notifier(broken, name="broken-plugin")
    assert kernel.errors.count("broken-plugin") == 1
    wire(kernel)
    assert kernel.errors.count("broken-plugin") == 2


# --- what waits when a device goes ------------------------------------------------------------------------------------


def received(dev: NetDevice) -> SkBuff:
    data = frame(dst=dev.dev_addr)
    skb = SkBuff(data, 0, len(data))
    assert eth_type_trans(skb, dev)
    return skb


def test_received_packets_that_wait_are_dropped(kernel: Kernel) -> None:
    going, staying = wire(kernel), wire(kernel)
    for dev in (going, staying, going):
        netif_rx(received(dev))
    unregister_netdev(going)
    assert going.stats.rx_dropped == 2
    assert [skb.dev for skb in kernel.softnet.input_pkt_queue] == [staying]
    softirqs(kernel)
    assert staying.stats.rx_nohandler == 1


def test_packets_that_wait_to_be_sent_are_freed(kernel: Kernel) -> None:
    dev = wire(kernel, queue=True)
    netif_stop_queue(dev)
    freed: list[SkBuff] = []
    for _ in range(3):
        skb = packet(dev)
        skb.destructor = freed.append
        dev.queue_xmit(skb)
    assert dev.qdisc is not None
    assert dev.qdisc.statistics()["qlen"] == 3
    unregister_netdev(dev)
    assert len(freed) == 3
    assert ops_of(dev).sent == []
    softirqs(kernel)


def test_its_polls_end(kernel: Kernel) -> None:
    dev = wire(kernel)
    polled: list[int] = []

    def poll(budget: int) -> int:
        polled.append(budget)
        return budget  # always busy

    napi = netif_napi_add(dev, poll)
    napi.schedule()
    unregister_netdev(dev)
    softirqs(kernel)
    assert polled == []
    assert not napi.scheduled
    assert dev.napi_list == []


def test_the_end_of_a_namespace(kernel: Kernel, listener: Listener) -> None:
    net = kernel.init_net
    wire(kernel, "w0")
    kernel.dev_layer.shutdown_net(net)
    assert net.devices == []
    assert net.loopback_dev is None
    assert [name for event, name in listener.seen if event == "UNREGISTER"] == ["w0", "lo"]


def test_new_namespaces_have_a_loopback_of_their_own(kernel: Kernel) -> None:
    other = kernel.new_net("other")
    lo, mine = other.loopback_dev, kernel.init_net.loopback_dev
    assert lo is not None
    assert mine is not None
    assert lo is not mine
    assert (lo.name, lo.ifindex, lo.mtu) == ("lo", 1, 65536)
    assert lo.flags & IFF_UP
    assert "net.core.netdev_max_backlog" in kernel.init_net.sysctl
    assert "net.core.netdev_max_backlog" not in other.sysctl


def test_who_does_not_let_go_is_named() -> None:
    """References are counted; those who are told to give theirs back and do not, twice, are in the log."""
    said: list[str] = []
    kernel = Kernel.boot(clock="virtual", seed=1, entry_points=False, log=said.append)
    dev = wire(kernel, "w0")
    dev_hold(dev, "polite")
    dev_hold(dev, "deaf")
    dev_hold(dev, "deaf")
    dev_hold(dev, "slow")
    told: list[str] = []

    def notifier(event: int, which: NetDevice) -> None:
        if event == NETDEV_UNREGISTER and which is dev:
            told.append("again" if told else "first")
            who = "polite" if len(told) == 1 else "slow"
            dev_put(dev, who)

    kernel.dev_layer.netdev_chain.register(notifier)
    unregister_netdev(dev)
    assert told == ["first", "again"]
    assert dev.holders == {"deaf": 2}
    assert [line for line in said if "w0" in line and "2 by deaf" in line]
    assert dev.reg_state == NETREG_UNREGISTERED
    dev_put(dev, "deaf")
    dev_put(dev, "deaf")
    with pytest.raises(OSError) as info:
        dev_put(dev, "deaf")
    assert info.value.errno == errno.ENOENT


def test_taps_and_upper_devices_hold_it_and_let_go(kernel: Kernel) -> None:
    net = kernel.init_net
    real = kernel.dev_layer.create_device(net, "veth", "v0", peer="v1")
    kernel.dev_layer.create_device(net, "vlan", "v0.5", link=real, id=5)
    tap = PacketType(net, ETH_P_ALL, lambda skb, dev: None, real)
    handler = PacketType(net, 0x88B5, consume_skb, real)
    dev_add_pack(tap)
    dev_add_pack(handler)
    assert sum(real.holders.values()) == 3
    dev_remove_pack(handler)
    unregister_netdev(real)
    assert real.holders == {}


def test_moving_loses_the_queueing_discipline_and_keeps_the_alias(kernel: Kernel) -> None:
    """dev_change_net_namespace() shuts the device down as unregistering does; what it is called is its own."""
    other = kernel.new_net("other")
    dev = wire(kernel, "w0", queue=True)
    dev_set_alias(dev, "uplink")
    dev_open(dev)
    qdisc_replace(dev, "pfifo", {"limit": 5})
    dev_mc_add(dev, b"\1\0\0\0\0\1")
    dev_change_net(dev, other)
    assert (dev.net, dev.flags & IFF_UP, dev.qdisc, dev.mc) == (other, 0, None, {})
    dev_open(dev)
    assert dev.qdisc is not None
    assert dev.qdisc.id == "pfifo_fast"
    assert dev.alias == "uplink"


def test_an_alias_is_short_enough(kernel: Kernel) -> None:
    dev = wire(kernel, "w0")
    dev_set_alias(dev, "x" * 255)
    for long in ("x" * 256, "\u00e9" * 128):
        with pytest.raises(OSError) as info:
            dev_set_alias(dev, long)
        assert info.value.errno == errno.EINVAL
    assert dev.alias == "x" * 255
    dev_set_alias(dev, "")
    assert dev.alias == ""
