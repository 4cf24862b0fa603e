"""Device names: what may be one, and which number a %d takes."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import boot, make

from pysock.core.device import dev_alloc_name, dev_change_name, dev_valid_name, register_netdev, unregister_netdev


@pytest.mark.parametrize("name", ["a", "eth0", "eth0.100", "x" * 15, "wlp-1s0", "é", "eth%d"])
def test_valid(name: str) -> None:
    assert dev_valid_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\0", "x" * 16, "é" * 8])
def test_invalid(name: str) -> None:
    assert not dev_valid_name(name)


def test_numbers_are_taken_in_order_and_gaps_are_filled() -> None:
    kernel = boot()
    devices = []
    for _ in range(3):
        dev = make(kernel, "eth%d")
        register_netdev(dev)
        devices.append(dev)
    assert [dev.name for dev in devices] == ["eth0", "eth1", "eth2"]
    unregister_netdev(devices[1])
    assert dev_alloc_name(kernel.init_net, "eth%d") == "eth1"
    assert dev_alloc_name(kernel.init_net, "v%d.5") == "v0.5"


@given(st.sets(st.integers(0, 12)))
def test_the_first_free_number(taken: set[int]) -> None:
    kernel = boot()
    for number in taken:
        register_netdev(make(kernel, f"n{number}"))
    name = dev_alloc_name(kernel.init_net, "n%d")
    free = min(set(range(14)) - taken)
    assert name == f"n{free}"


@pytest.mark.parametrize("pattern", ["a%s", "%d%d", "a%", "%x%d", "%d%", "a%%d"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(OSError) as info:
        dev_alloc_name(boot().init_net, pattern)
    assert info.value.errno == errno.EINVAL


def test_a_taken_name() -> None:
    kernel = boot()
    with pytest.raises(OSError) as info:
        register_netdev(make(kernel, "lo"))
    assert info.value.errno == errno.EEXIST
    assert [dev.name for dev in kernel.init_net.devices] == ["lo"]


def test_no_number_left_when_the_name_would_become_too_long() -> None:
    kernel = boot()
    pattern = "x" * 13 + "%d"  # 13 letters leave room for two digits
    net = kernel.init_net
    for number in range(100):
        net.dev_by_name["x" * 13 + str(number)] = net.devices[0]
    with pytest.raises(OSError) as info:
        dev_alloc_name(net, pattern)
    assert info.value.errno == errno.ENFILE


def test_rename_keeps_the_tables_right() -> None:
    kernel = boot()
    dev = make(kernel, "eth%d")
    register_netdev(dev)
    dev_change_name(dev, "net%d")
    net = kernel.init_net
    assert dev.name == "net0"
    assert net.dev_by_name["net0"] is dev
    assert "eth0" not in net.dev_by_name
    dev_change_name(dev, "net0")  # to itself: nothing
    for bad, number in (("lo", errno.EEXIST), ("a/b", errno.EINVAL)):
        with pytest.raises(OSError) as info:
            dev_change_name(dev, bad)
        assert info.value.errno == number
    assert dev.name == "net0"
