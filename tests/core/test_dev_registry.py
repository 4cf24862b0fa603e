"""The tables of drivers and queueing disciplines, and making devices by a driver's name."""

from __future__ import annotations

import errno

import pytest
from support.devices import WireDriver, boot

from pysock.core.device import Driver, NetDevice
from pysock.core.kernel import Kernel
from pysock.core.net import Net
from pysock.core.qdisc import QdiscOps
from pysock.sched.pfifo import Pfifo


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def test_the_built_in_ones_are_registered_like_any_other(kernel: Kernel) -> None:
    layer = kernel.dev_layer
    assert set(layer.drivers) >= {"loopback", "dummy"}
    assert set(layer.qdiscs) >= {"noqueue", "pfifo_fast", "pfifo", "bfifo"}
    assert layer.driver_owner("loopback") == "pysock.drivers.plugin"
    assert layer.qdisc_owner("pfifo_fast") == "pysock.sched.plugin"


def test_a_driver_makes_devices_until_it_is_rolled_back(kernel: Kernel) -> None:
    register, rollback = kernel.dev_layer.driver_registrar("me")
    register(WireDriver())
    net = kernel.init_net
    dev = kernel.dev_layer.create_device(net, "wire")
    assert (dev.name, dev.owner, net.dev_by_name["wire0"]) == ("wire0", "me", dev)
    named = kernel.dev_layer.create_device(net, "wire", "eth7")
    assert named.name == "eth7"
    rollback()
    rollback()
    with pytest.raises(OSError) as info:
        kernel.dev_layer.create_device(net, "wire")
    assert info.value.errno == errno.EOPNOTSUPP
    assert dev in net.devices  # devices live on


def test_a_slot_that_is_taken(kernel: Kernel) -> None:
    register_driver, rollback_driver = kernel.dev_layer.driver_registrar("me")
    with pytest.raises(OSError, match=r"already registered by pysock\.drivers\.plugin") as info:
        register_driver(kernel.dev_layer.drivers["loopback"])
    assert info.value.errno == errno.EEXIST
    register_qdisc, rollback_qdisc = kernel.dev_layer.qdisc_registrar("me")
    with pytest.raises(OSError, match=r"already registered by pysock\.sched\.plugin") as info:
        register_qdisc(QdiscOps("pfifo", Pfifo))
    assert info.value.errno == errno.EEXIST
    rollback_driver()
    rollback_qdisc()
    assert "loopback" in kernel.dev_layer.drivers
    assert "pfifo" in kernel.dev_layer.qdiscs


def test_qdiscs_roll_back(kernel: Kernel) -> None:
    register, rollback = kernel.dev_layer.qdisc_registrar("me")
    register(QdiscOps("mine", Pfifo))
    assert "mine" in kernel.dev_layer.qdiscs
    rollback()
    assert "mine" not in kernel.dev_layer.qdiscs


def test_what_is_no_driver(kernel: Kernel) -> None:
    register_driver, _ = kernel.dev_layer.driver_registrar("me")
    register_qdisc, _ = kernel.dev_layer.qdisc_registrar("me")
    with pytest.raises(TypeError, match="takes a Driver"):
        register_driver("loopback")  # type: ignore[arg-type]  # the point
    with pytest.raises(TypeError, match="takes a QdiscOps"):
        register_qdisc(Pfifo)  # type: ignore[arg-type]
    with pytest.raises(OSError) as info:
        register_driver(Driver())
    assert info.value.errno == errno.EINVAL
    with pytest.raises(OSError) as info:
        register_qdisc(QdiscOps("", Pfifo))
    assert info.value.errno == errno.EINVAL


def test_options_and_names_are_checked(kernel: Kernel) -> None:
    for name, options in ((None, {"peer": "x"}), ("a/b", {}), ("", {})):
        with pytest.raises(OSError) as info:
            kernel.dev_layer.create_device(kernel.init_net, "dummy", name, **options)
        assert info.value.errno == errno.EINVAL


def test_a_driver_that_cannot_make_one(kernel: Kernel) -> None:
    class Bad(Driver):
        name = "bad"

        def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
            raise AttributeError("no such thing")

    register, _ = kernel.dev_layer.driver_registrar("bad-plugin")
    register(Bad())
    with pytest.raises(OSError) as info:
        kernel.dev_layer.create_device(kernel.init_net, "bad")
    assert info.value.errno == errno.EIO
    assert kernel.errors.count("bad-plugin") == 1


def test_proc_net_dev(kernel: Kernel) -> None:
    kernel.dev_layer.create_device(kernel.init_net, "dummy")
    lines = kernel.init_net.proc["net/dev"]().splitlines()
    assert lines[0].startswith("Inter-|   Receive")
    assert [line.split(":")[0].strip() for line in lines[2:]] == ["lo", "dummy0"]
    assert all(len(line.split(":")[1].split()) == 16 for line in lines[2:])
