"""Changing a device: MTU, flags, carrier, addresses, features, and the refusals of each."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import MAC, PEER, boot, make, ops_of, packet, wire

from pysock.core.device import (
    NetDevice,
    dev_change_flags,
    dev_change_name,
    dev_change_tx_queue_len,
    dev_mc_add,
    dev_mc_del,
    dev_set_features,
    dev_set_mac_address,
    dev_set_mtu,
    dev_set_promiscuity,
    dev_uc_add,
    dev_uc_del,
    netif_carrier_off,
    netif_carrier_on,
    netif_dormant,
    register_netdev,
)
from pysock.core.kernel import Kernel
from pysock.core.netdev_events import (
    EVENT_NAMES,
    NETDEV_CHANGE_TX_QUEUE_LEN,
    NETDEV_CHANGEMTU,
    NETDEV_CHANGENAME,
    NETDEV_PRE_CHANGEADDR,
    NETDEV_PRECHANGEMTU,
)
from pysock.core.netdev_features import (
    FEATURE_NAMES,
    NETIF_F_ALL_TSO,
    NETIF_F_CSUM_MASK,
    NETIF_F_GRO,
    NETIF_F_GSO,
    NETIF_F_HW_CSUM,
    NETIF_F_IP_CSUM,
    NETIF_F_LRO,
    NETIF_F_SG,
    NETIF_F_TAKES_ALL,
    NETIF_F_TSO,
    feature_names,
    fix_features,
)
from pysock.core.notifier import notifier_from_errno
from pysock.uapi.if_ import (
    IF_OPER_DORMANT,
    IF_OPER_DOWN,
    IF_OPER_UP,
    IFF_ALLMULTI,
    IFF_DORMANT,
    IFF_LOWER_UP,
    IFF_NOARP,
    IFF_PROMISC,
    IFF_RUNNING,
    IFF_UP,
)


@pytest.fixture
def kernel() -> Kernel:
    return boot()


@pytest.fixture
def events(kernel: Kernel) -> list[str]:
    """The device events from here on, by name."""
    seen: list[str] = []

    def note(event: int, dev: NetDevice) -> None:
        seen.append(EVENT_NAMES[event].removeprefix("NETDEV_"))

    kernel.dev_layer.netdev_chain.register(note)
    return seen


def veto(kernel: Kernel, event: int, number: int, proposed: list[object]) -> None:
    def callback(happened: int, dev: NetDevice) -> int:
        if happened != event:
            return 0
        proposed.append(dev.proposed)
        return notifier_from_errno(number)

    kernel.dev_layer.netdev_chain.register(callback, priority=-1)


def test_mtu_bounds(kernel: Kernel) -> None:
    dev = wire(kernel)
    for mtu in (67, 1501, -1):
        with pytest.raises(OSError) as info:
            dev_set_mtu(dev, mtu)
        assert info.value.errno == errno.EINVAL
    dev_set_mtu(dev, 68)
    dev_set_mtu(dev, 1500)
    assert dev.mtu == 1500
    assert ops_of(dev).calls.count("change_mtu") == 2
    lo = kernel.init_net.loopback_dev
    assert lo is not None
    dev_set_mtu(lo, 1 << 20)  # a loopback device has no limit
    dev_set_mtu(lo, 0)


def test_mtu_refused_by_the_driver(kernel: Kernel, events: list[str]) -> None:
    dev = wire(kernel)
    ops_of(dev).raises["change_mtu"] = OSError(errno.EBUSY, "running")
    with pytest.raises(OSError) as info:
        dev_set_mtu(dev, 1000)
    assert info.value.errno == errno.EBUSY
    assert dev.mtu == 1500
    assert "CHANGEMTU" not in events


@pytest.mark.parametrize("event", [NETDEV_PRECHANGEMTU, NETDEV_CHANGEMTU])
def test_mtu_vetoed(kernel: Kernel, events: list[str], event: int) -> None:
    dev = wire(kernel)
    proposed: list[object] = []
    veto(kernel, event, errno.EPERM, proposed)
    del events[:]
    with pytest.raises(OSError) as info:
        dev_set_mtu(dev, 1000)
    assert info.value.errno == errno.EPERM
    assert dev.mtu == 1500
    assert dev.proposed is None
    if event == NETDEV_PRECHANGEMTU:
        assert proposed == [1000]
        assert events == ["PRECHANGEMTU"]
    else:
        assert events == ["PRECHANGEMTU", "CHANGEMTU", "CHANGEMTU"]  # told of the old one again


def test_rename_vetoed(kernel: Kernel) -> None:
    dev = wire(kernel, "w0")
    veto(kernel, NETDEV_CHANGENAME, errno.EBUSY, [])
    with pytest.raises(OSError) as info:
        dev_change_name(dev, "other")
    assert info.value.errno == errno.EBUSY
    assert dev.name == "w0"
    assert kernel.init_net.dev_by_name["w0"] is dev
    assert "other" not in kernel.init_net.dev_by_name


def test_queue_length(kernel: Kernel) -> None:
    dev = wire(kernel)
    dev_change_tx_queue_len(dev, 5)
    assert dev.tx_queue_len == 5
    with pytest.raises(OSError) as info:
        dev_change_tx_queue_len(dev, -1)
    assert info.value.errno == errno.ERANGE
    veto(kernel, NETDEV_CHANGE_TX_QUEUE_LEN, errno.ENOMEM, [])
    with pytest.raises(OSError) as info:
        dev_change_tx_queue_len(dev, 6)
    assert info.value.errno == errno.ENOMEM
    assert dev.tx_queue_len == 5


# --- flags and carrier ------------------------------------------------------------------------------------------------


def test_flags_that_programs_set(kernel: Kernel, events: list[str]) -> None:
    dev = make(kernel)
    register_netdev(dev)
    dev_change_flags(dev, IFF_UP | IFF_NOARP | IFF_RUNNING | IFF_LOWER_UP)
    assert dev.flags & IFF_UP
    assert dev.flags & IFF_NOARP
    assert not dev.flags & (IFF_RUNNING | IFF_LOWER_UP)  # volatile: computed, not stored
    dev_change_flags(dev, 0)
    assert not dev.flags & (IFF_UP | IFF_NOARP)
    assert events[-2:] == ["GOING_DOWN", "DOWN"]


def test_flags_stay_when_it_cannot_go_up(kernel: Kernel) -> None:
    dev = make(kernel)
    register_netdev(dev)
    before = dev.flags
    ops_of(dev).raises["open"] = OSError(errno.EIO, "")
    with pytest.raises(OSError):
        dev_change_flags(dev, IFF_UP | IFF_NOARP)
    assert dev.flags == before


def test_carrier_decides_whether_packets_flow(kernel: Kernel, events: list[str]) -> None:
    dev = wire(kernel)
    assert dev.xmit_direct
    del events[:]
    netif_carrier_off(dev)
    netif_carrier_off(dev)
    assert events == ["CHANGE"]
    assert dev.operstate == IF_OPER_DOWN
    assert not dev.get_flags() & (IFF_RUNNING | IFF_LOWER_UP)
    dev.queue_xmit(packet(dev))
    assert ops_of(dev).sent == []
    assert dev.stats.tx_dropped == 1
    netif_carrier_on(dev)
    assert dev.operstate == IF_OPER_UP
    assert dev.get_flags() & (IFF_RUNNING | IFF_LOWER_UP) == IFF_RUNNING | IFF_LOWER_UP
    dev.queue_xmit(packet(dev))
    assert len(ops_of(dev).sent) == 1


def test_dormant(kernel: Kernel) -> None:
    dev = wire(kernel)
    netif_dormant(dev, True)
    assert dev.operstate == IF_OPER_DORMANT
    flags = dev.get_flags()
    assert flags & IFF_DORMANT
    assert flags & IFF_LOWER_UP
    assert not flags & IFF_RUNNING


def test_promiscuity_is_counted(kernel: Kernel) -> None:
    dev = wire(kernel)
    ops_of(dev).calls.clear()
    dev_set_promiscuity(dev, 1)
    dev_set_promiscuity(dev, 1)
    dev_set_promiscuity(dev, -1)
    assert dev.flags & IFF_PROMISC
    assert not dev.get_flags() & IFF_PROMISC  # a packet socket's wish does not show
    dev_set_promiscuity(dev, -1)
    assert not dev.flags & IFF_PROMISC
    assert ops_of(dev).calls == ["set_rx_mode", "set_rx_mode"]
    with pytest.raises(OSError) as info:
        dev_set_promiscuity(dev, -1)
    assert info.value.errno == errno.EOVERFLOW


def test_promiscuity_by_flags(kernel: Kernel) -> None:
    dev = wire(kernel)
    dev_change_flags(dev, dev.flags | IFF_PROMISC | IFF_ALLMULTI)
    assert dev.get_flags() & (IFF_PROMISC | IFF_ALLMULTI) == IFF_PROMISC | IFF_ALLMULTI
    assert (dev.promiscuity, dev.allmulti) == (1, 1)
    dev_change_flags(dev, dev.get_flags())  # what ifconfig does: no second count
    assert (dev.promiscuity, dev.allmulti) == (1, 1)
    dev_change_flags(dev, IFF_UP)
    assert (dev.promiscuity, dev.allmulti) == (0, 0)


# --- addresses --------------------------------------------------------------------------------------------------------


def test_the_hardware_address(kernel: Kernel, events: list[str]) -> None:
    dev = wire(kernel, setup=lambda dev: setattr(dev, "live_addr_change", True))
    dev_set_mac_address(dev, PEER)
    assert dev.dev_addr == PEER
    assert events[-2:] == ["PRE_CHANGEADDR", "CHANGEADDR"]
    for bad, number in ((b"\2", errno.EINVAL), (bytes(6), errno.EADDRNOTAVAIL), (b"\1" * 6, errno.EADDRNOTAVAIL)):
        with pytest.raises(OSError) as info:
            dev_set_mac_address(dev, bad)
        assert info.value.errno == number
    proposed: list[object] = []
    veto(kernel, NETDEV_PRE_CHANGEADDR, errno.EPERM, proposed)
    with pytest.raises(OSError):
        dev_set_mac_address(dev, MAC)
    assert proposed == [MAC]
    assert dev.dev_addr == PEER


def test_the_hardware_address_of_a_running_device(kernel: Kernel) -> None:
    dev = wire(kernel)
    with pytest.raises(OSError) as info:
        dev_set_mac_address(dev, PEER)
    assert info.value.errno == errno.EBUSY


@pytest.mark.parametrize(("add", "remove", "which"), [(dev_mc_add, dev_mc_del, "mc"), (dev_uc_add, dev_uc_del, "uc")])
def test_address_lists_are_counted(
    kernel: Kernel,
    add: Callable[[NetDevice, bytes], None],
    remove: Callable[[NetDevice, bytes], None],
    which: str,
) -> None:
    dev = wire(kernel)
    ops_of(dev).calls.clear()
    group = b"\1\0\x5e\0\0\1"
    add(dev, group)
    add(dev, group)
    remove(dev, group)
    assert getattr(dev, which) == {group: 1}
    assert ops_of(dev).calls == ["set_rx_mode"]
    remove(dev, group)
    assert getattr(dev, which) == {}
    with pytest.raises(OSError) as info:
        remove(dev, group)
    assert info.value.errno == errno.ENOENT
    with pytest.raises(OSError) as info:
        add(dev, b"short")
    assert info.value.errno == errno.EINVAL


# --- features ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(sorted(FEATURE_NAMES))))
def test_fixed_features_are_consistent(bits: list[int]) -> None:
    """Fixing twice changes nothing more, never adds a bit, and leaves no super-segments without checksums and frags."""
    asked = 0
    for bit in bits:
        asked |= bit
    fixed = fix_features(asked)
    assert fix_features(fixed) == fixed
    assert fixed & ~asked == 0
    if fixed & NETIF_F_ALL_TSO:
        assert fixed & NETIF_F_SG
        assert fixed & NETIF_F_CSUM_MASK
    if fixed & NETIF_F_HW_CSUM:
        assert fixed & NETIF_F_CSUM_MASK == NETIF_F_HW_CSUM


def test_every_device_gets_the_software_features(kernel: Kernel) -> None:
    assert wire(kernel, features=NETIF_F_SG).features == NETIF_F_SG | NETIF_F_GSO | NETIF_F_GRO
    assert wire(kernel, features=0).features == NETIF_F_GRO  # GSO needs frags
    claims = NETIF_F_TSO | NETIF_F_SG | NETIF_F_LRO
    assert wire(kernel, features=claims).features == NETIF_F_SG | NETIF_F_GSO | NETIF_F_GRO


def test_ethtool_switches_what_the_driver_lets_it(kernel: Kernel, events: list[str]) -> None:
    def setup(dev: NetDevice) -> None:
        dev.features = NETIF_F_TAKES_ALL
        dev.hw_features = NETIF_F_TSO | NETIF_F_IP_CSUM

    dev = wire(kernel, setup=setup)
    assert dev.xmit_direct
    dev_set_features(dev, 0)
    assert not dev.features & NETIF_F_TSO
    assert dev.features & NETIF_F_SG  # not the driver's to switch
    assert not dev.xmit_direct  # super-segments must be cut now
    assert events[-1] == "FEAT_CHANGE"
    before = len(events)
    dev_set_features(dev, 0)
    assert len(events) == before
    dev_set_features(dev, NETIF_F_TSO)
    assert dev.xmit_direct
    assert "tx-tcp-segmentation" in feature_names(dev.features)
