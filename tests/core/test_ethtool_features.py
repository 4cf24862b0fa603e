"""Features through SIOCETHTOOL: what an administrator wishes is remembered, what the rules leave of it is active."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import boot, wire
from support.ethtool import ask, put, refused

from pysock.core.device import NetDevice
from pysock.core.kernel import Kernel
from pysock.core.netdev_features import (
    NETIF_F_GSO,
    NETIF_F_HW_CSUM,
    NETIF_F_HW_VLAN_CTAG_TX,
    NETIF_F_IP_CSUM,
    NETIF_F_LLTX,
    NETIF_F_RXCSUM,
    NETIF_F_SG,
    NETIF_F_TSO,
    NETIF_F_TSO6,
    feature_strings,
    fix_features,
)
from pysock.uapi import ethtool as et

CHANGEABLE = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_TSO | NETIF_F_TSO6 | NETIF_F_HW_VLAN_CTAG_TX


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def nic(kernel: Kernel) -> NetDevice:
    def setup(dev: NetDevice) -> None:
        dev.features = CHANGEABLE | NETIF_F_RXCSUM | NETIF_F_LLTX
        dev.hw_features = CHANGEABLE | NETIF_F_LLTX

    return wire(kernel, "eth0", setup=setup)


def change(kernel: Kernel, valid: int, requested: int, blocks: int = 2) -> int:
    request = struct.pack("=II", et.ETHTOOL_SFEATURES, blocks)
    for block in range(blocks):
        request += struct.pack("=II", valid >> 32 * block & 0xFFFFFFFF, requested >> 32 * block & 0xFFFFFFFF)
    return ask(kernel, "eth0", request)[0]


def one(kernel: Kernel, cmd: int, value: int = 0) -> int:
    number: int = struct.unpack_from("=I", ask(kernel, "eth0", struct.pack("=II", cmd, value))[1], 4)[0]
    return number


def test_the_four_sets(kernel: Kernel) -> None:
    dev = nic(kernel)
    raw = ask(kernel, "eth0", struct.pack("=II", et.ETHTOOL_GFEATURES, 2))[1]
    assert struct.unpack_from("=II", raw) == (et.ETHTOOL_GFEATURES, 2)
    low, high = (struct.unpack_from("=4I", raw, 8 + 16 * n) for n in range(2))
    available, requested, active, never = (a | b << 32 for a, b in zip(low, high, strict=True))
    assert available == dev.hw_features
    assert not available & NETIF_F_LLTX  # a fact, whatever the driver says
    assert requested == dev.wanted_features == dev.features & dev.hw_features
    assert active == dev.features
    assert never & NETIF_F_LLTX
    raw = ask(kernel, "eth0", struct.pack("=II", et.ETHTOOL_GFEATURES, 1))[1]
    assert raw[4:8] == struct.pack("=I", 2)  # told how many there are
    assert raw[24:40] == bytes(16)  # given as many as there is room for
    assert feature_strings()[16] == "tx-tcp-segmentation"


def test_a_wish_outlives_what_stands_in_its_way(kernel: Kernel) -> None:
    """Without SG there is no TSO; with SG it is back, and nobody had to ask for it again."""
    dev = nic(kernel)
    assert change(kernel, NETIF_F_SG, 0) == 0
    assert not dev.features & (NETIF_F_SG | NETIF_F_TSO | NETIF_F_TSO6 | NETIF_F_GSO)
    assert dev.wanted_features & NETIF_F_TSO
    assert change(kernel, NETIF_F_TSO, NETIF_F_TSO) == et.ETHTOOL_F_WISH
    assert change(kernel, NETIF_F_TSO6, 0) == 0
    assert change(kernel, NETIF_F_SG, NETIF_F_SG) == 0
    assert dev.features & NETIF_F_TSO
    assert dev.features & NETIF_F_GSO
    assert not dev.features & NETIF_F_TSO6


def test_what_cannot_be_changed(kernel: Kernel) -> None:
    dev = nic(kernel)
    before = dev.features
    assert change(kernel, NETIF_F_RXCSUM, 0) == et.ETHTOOL_F_UNSUPPORTED
    assert change(kernel, NETIF_F_RXCSUM | NETIF_F_TSO, 0) == et.ETHTOOL_F_UNSUPPORTED  # the other one is
    assert dev.features == before & ~NETIF_F_TSO
    with pytest.raises(OSError, match="Invalid"):
        change(kernel, NETIF_F_LLTX, 0)
    for blocks in (0, 1, 3):
        with pytest.raises(OSError, match="Invalid"):
            change(kernel, 0, 0, blocks)


def test_one_by_one(kernel: Kernel) -> None:
    """The commands of the years before there were sets."""
    dev = nic(kernel)
    for cmd in (et.ETHTOOL_GSG, et.ETHTOOL_GTSO, et.ETHTOOL_GGSO, et.ETHTOOL_GRXCSUM):
        assert one(kernel, cmd) == 1
    one(kernel, et.ETHTOOL_STSO, 0)
    assert not one(kernel, et.ETHTOOL_GTSO)
    assert not dev.features & NETIF_F_TSO6
    one(kernel, et.ETHTOOL_STSO, 1)
    assert dev.features & NETIF_F_TSO6
    one(kernel, et.ETHTOOL_STXCSUM, 0)
    assert not one(kernel, et.ETHTOOL_GTSO)  # each segment needs a checksum
    assert refused(one, kernel, et.ETHTOOL_SRXCSUM, 0) == errno.EOPNOTSUPP
    one(kernel, et.ETHTOOL_SGRO, 0)
    assert not one(kernel, et.ETHTOOL_GGRO)


def test_flags(kernel: Kernel) -> None:
    dev = nic(kernel)
    assert one(kernel, et.ETHTOOL_GFLAGS) == et.ETH_FLAG_TXVLAN
    assert refused(one, kernel, et.ETHTOOL_SFLAGS, 1) == errno.EINVAL  # no such flag
    assert refused(one, kernel, et.ETHTOOL_SFLAGS, et.ETH_FLAG_TXVLAN | et.ETH_FLAG_RXHASH) == errno.EOPNOTSUPP
    assert refused(one, kernel, et.ETHTOOL_SFLAGS, et.ETH_FLAG_RXHASH) == errno.EINVAL  # one of two can be changed
    one(kernel, et.ETHTOOL_SFLAGS, 0)
    assert not dev.features & NETIF_F_HW_VLAN_CTAG_TX


def test_a_vlan_keeps_what_was_switched_off(kernel: Kernel) -> None:
    """What changes below makes it think again, with the same wishes."""
    net = kernel.init_net
    real = kernel.dev_layer.create_device(net, "veth", "v0")
    vlan = kernel.dev_layer.create_device(net, "vlan", "eth0", link=real, id=5)
    change(kernel, NETIF_F_TSO6, 0)
    assert vlan.features & NETIF_F_TSO
    put(kernel, "v0", et.ETHTOOL_STSO, 0)
    assert not vlan.features & NETIF_F_TSO
    put(kernel, "v0", et.ETHTOOL_STSO, 1)
    assert real.features & NETIF_F_TSO6
    assert vlan.features & NETIF_F_TSO
    assert not vlan.features & NETIF_F_TSO6


@given(st.lists(st.tuples(st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 48) - 1)), max_size=6))
def test_whatever_is_wished_the_rules_hold(wishes: list[tuple[int, int]]) -> None:
    """The active features are always consistent, and follow from the wishes alone."""
    kernel = boot()
    dev = nic(kernel)
    for valid, requested in wishes:
        change(kernel, valid & ~(NETIF_F_LLTX | 1 << 10 | 1 << 13), requested)
        assert dev.features == fix_features(dev.features)
        assert dev.features == fix_features(dev.features & ~dev.hw_features | dev.wanted_features)
        assert dev.wanted_features & ~dev.hw_features == 0
    assert not dev.features & NETIF_F_IP_CSUM
