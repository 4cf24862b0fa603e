"""brctl's ioctls, the attributes under /sys, and devices of which one owns another."""

from __future__ import annotations

import array
import errno
import struct
from functools import partial

import pytest
from support.devices import boot, make, wire
from support.dgram_api import fails

from pysock.core.capability import Credentials
from pysock.core.device import (
    NetDevice,
    alloc_netdev,
    dev_change_net,
    dev_close,
    dev_open,
    dev_set_mtu,
    register_netdev,
)
from pysock.core.eth import ether_setup
from pysock.core.ifioctl import dev_ioctl
from pysock.core.kernel import Kernel
from pysock.drivers.bridge import br_add_if, br_del_if
from pysock.drivers.bridge.attr import br_attr, br_attr_store, port_attr, port_attr_store
from pysock.drivers.bridge.device import bridge_ops
from pysock.uapi import if_bridge as uapi
from pysock.uapi import ioctl as nr
from pysock.uapi.if_ import IFREQ_INT, pack_ifname, pack_ifreq


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def bridge(kernel: Kernel, name: str = "br0", **options: object) -> NetDevice:
    return kernel.dev_layer.create_device(kernel.init_net, "bridge", name, **options)


def ioctl(kernel: Kernel, cmd: int, arg: bytes, root: bool = True) -> bytes:
    return dev_ioctl(kernel.init_net, Credentials() if root else Credentials(caps=0), cmd, arg)


def ifreq(name: str, ifindex: int) -> bytes:
    return pack_ifreq(name, IFREQ_INT.pack(ifindex))


def test_brctl(kernel: Kernel) -> None:
    name = pack_ifname("br7")
    assert ioctl(kernel, nr.SIOCBRADDBR, name) == name
    fails(errno.EEXIST, ioctl, kernel, nr.SIOCBRADDBR, name)
    br, dev = kernel.init_net.dev_by_name["br7"], wire(kernel)
    ioctl(kernel, nr.SIOCBRADDIF, ifreq("br7", dev.ifindex))
    assert dev.master is br
    fails(errno.EBUSY, ioctl, kernel, nr.SIOCBRADDIF, ifreq("br7", dev.ifindex))
    ioctl(kernel, nr.SIOCBRDELIF, ifreq("br7", dev.ifindex))
    fails(errno.EINVAL, ioctl, kernel, nr.SIOCBRDELIF, ifreq("br7", dev.ifindex))
    fails(errno.EINVAL, ioctl, kernel, nr.SIOCBRADDIF, ifreq("br7", 99))
    fails(errno.ENODEV, ioctl, kernel, nr.SIOCBRADDIF, ifreq("br8", dev.ifindex))
    fails(errno.EOPNOTSUPP, ioctl, kernel, nr.SIOCBRADDIF, ifreq(dev.name, dev.ifindex))
    fails(errno.EFAULT, ioctl, kernel, nr.SIOCBRADDIF, b"br7")
    fails(errno.EFAULT, ioctl, kernel, nr.SIOCBRADDBR, b"")
    for cmd in (nr.SIOCBRADDBR, nr.SIOCBRDELBR, nr.SIOCBRADDIF, nr.SIOCBRDELIF):
        fails(errno.EPERM, ioctl, kernel, cmd, ifreq("br7", dev.ifindex), False)
    dev_open(br)
    fails(errno.EBUSY, ioctl, kernel, nr.SIOCBRDELBR, name)
    dev_close(br)
    fails(errno.EPERM, ioctl, kernel, nr.SIOCBRDELBR, pack_ifname(dev.name))
    ioctl(kernel, nr.SIOCBRDELBR, name)
    fails(errno.ENXIO, ioctl, kernel, nr.SIOCBRDELBR, name)


def test_attributes_have_the_texts_of_sys(kernel: Kernel) -> None:
    """Recorded from Linux 6.18, for what is the same at once after boot."""
    br, dev = bridge(kernel, stp_state=1, forward_delay=200, hello_time=100, max_age=600), wire(kernel)
    br_add_if(br, dev)
    dev_open(br)
    recorded = {
        "ageing_time": "30000", "bridge_id": "8000.020000000001", "forward_delay": "200",
        "group_addr": "01:80:c2:00:00:00", "group_fwd_mask": "0x0", "hello_time": "100",
        "hello_timer": "100", "max_age": "600", "no_linklocal_learn": "0",
        "priority": "32768", "root_id": "8000.020000000001", "root_path_cost": "0", "root_port": "0", "stp_state": "1",
        "tcn_timer": "0", "topology_change": "0", "topology_change_detected": "0", "topology_change_timer": "0",
    }  # fmt: skip
    assert {name: br_attr(br, name) for name in recorded} == recorded
    of_port = {
        "bpdu_guard": "0", "broadcast_flood": "1", "change_ack": "0", "config_pending": "0",
        "designated_bridge": "8000.020000000001", "designated_cost": "0", "designated_port": "32769",
        "designated_root": "8000.020000000001", "forward_delay_timer": "200", "hairpin_mode": "0", "hold_timer": "0",
        "isolated": "0", "learning": "1", "message_age_timer": "0", "multicast_flood": "1", "port_id": "0x8001",
        "port_no": "0x1", "priority": "32", "root_block": "0", "state": "1", "unicast_flood": "1", "path_cost": "100",
    }  # fmt: skip
    assert {name: port_attr(dev, name) for name in of_port} == of_port


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("hello_time", "99", errno.ERANGE), ("hello_time", "1001", errno.ERANGE), ("max_age", "599", errno.ERANGE),
        ("forward_delay", "199", errno.ERANGE), ("forward_delay", "3001", errno.ERANGE),
        ("priority", "x", errno.EINVAL),
        ("root_id", "1", errno.EACCES), ("colour", "1", errno.ENOENT), ("group_fwd_mask", "7", errno.EINVAL),
        ("priority", "-1", errno.ERANGE), ("priority", "", errno.EINVAL),
    ],
)  # fmt: skip
def test_refused_attributes(kernel: Kernel, name: str, value: str, number: int) -> None:
    br = bridge(kernel, stp_state=1)
    fails(number, br_attr_store, br, name, value)


def test_refused_port_attributes(kernel: Kernel) -> None:
    br, dev = bridge(kernel), wire(kernel)
    fails(errno.EINVAL, port_attr, dev, "state")
    br_add_if(br, dev)
    fails(errno.ERANGE, port_attr_store, dev, "path_cost", "0")
    fails(errno.ERANGE, port_attr_store, dev, "path_cost", "65536")
    fails(errno.ERANGE, port_attr_store, dev, "priority", "64")
    fails(errno.EACCES, port_attr_store, dev, "state", "3")
    fails(errno.EACCES, port_attr, dev, "flush")
    fails(errno.ENOENT, port_attr, dev, "colour")
    fails(errno.EACCES, br_attr, br, "flush")
    fails(errno.ENOENT, br_attr, br, "colour")
    fails(errno.EOPNOTSUPP, br_attr, dev, "root_id")
    br_attr_store(br, "forward_delay", "0")  # any, without a spanning tree; it gets a lawful one with it
    br_attr_store(br, "stp_state", "1")
    assert br_attr(br, "forward_delay") == "200"
    fails(errno.EINVAL, partial(bridge, kernel, "br1", colour=1))
    fails(errno.ERANGE, partial(bridge, kernel, "br1", stp_state=1, hello_time=1))
    assert "br1" not in kernel.init_net.dev_by_name


def test_one_master_and_no_loops(kernel: Kernel) -> None:
    one, two, dev = bridge(kernel, "br0"), bridge(kernel, "br1"), wire(kernel)
    one.netdev_ops.ndo_add_slave(one, dev)
    assert (dev.master, one.lowers, dev.promiscuity, dev.allmulti) == (one, (dev,), 1, 1)
    fails(errno.EBUSY, br_add_if, two, dev)
    fails(errno.ELOOP, br_add_if, two, one)
    create = partial(kernel.dev_layer.create_device, kernel.init_net)
    bond = create("bond")
    dev_close(dev)
    fails(errno.EBUSY, bond.netdev_ops.ndo_add_slave, bond, dev)
    fails(errno.EBUSY, partial(create, "macvlan", link=dev))
    vlan = create("vlan", link=one, id=5)
    fails(errno.EBUSY, br_add_if, one, vlan)  # it stands on the bridge
    br_add_if(two, vlan)
    fails(errno.EINVAL, br_del_if, one, vlan)
    one.netdev_ops.ndo_del_slave(one, dev)
    assert (dev.master, one.lowers, dev.promiscuity, dev.allmulti, dev.rx_handler) == (None, (), 0, 0, None)
    assert one.dev_addr == bytes(6)  # none without ports, as in Linux
    bare = alloc_netdev(kernel, "bare", ether_setup)
    register_netdev(bare)
    fails(errno.EINVAL, br_add_if, one, bare)
    fails(errno.ENODEV, br_add_if, one, make(kernel))


def test_a_port_that_moves_to_another_namespace_is_one_no_more(kernel: Kernel) -> None:
    br, dev = bridge(kernel), wire(kernel)
    br_add_if(br, dev)
    kernel.enter()
    dev_change_net(dev, kernel.new_net("other"))
    kernel.leave()
    assert (dev.master, list(bridge_ops(br).ports)) == (None, [])
    fails(errno.EINVAL, br_add_if, br, dev)


def test_port_numbers_are_used_again(kernel: Kernel) -> None:
    br = bridge(kernel)
    devs = [wire(kernel) for _ in range(4)]
    for dev in devs:
        br_add_if(br, dev)
    br_del_if(br, devs[1])
    br_del_if(br, devs[3])
    for dev in (devs[3], devs[1]):
        br_add_if(br, dev)
    assert [port_attr(dev, "port_no") for dev in devs] == ["0x1", "0x4", "0x3", "0x2"]


def test_a_port_with_an_mtu_that_no_bridge_has(kernel: Kernel) -> None:
    br = bridge(kernel)
    dummy = kernel.dev_layer.create_device(kernel.init_net, "dummy")
    dev_set_mtu(dummy, 10)
    br_add_if(br, dummy)
    assert (br.mtu, dummy.master) == (1500, br)
    dev_set_mtu(dummy, 600)
    assert br.mtu == 600


class Brctl:
    """SIOCDEVPRIVATE as brctl(8) does it, without /sys."""

    def __init__(self, kernel: Kernel, br: NetDevice) -> None:
        self.kernel = kernel
        self.br = br

    def call(self, cmd: int, one: int = 0, two: int = 0, three: int = 0) -> None:
        args = array.array("B", uapi.BRCTL_ARGS.pack(cmd, one, two, three))
        pointer = struct.pack("=Q", args.buffer_info()[0])
        ioctl(self.kernel, nr.SIOCDEVPRIVATE, pack_ifreq(self.br.name, pointer))

    def ask(self, cmd: int, size: int, two: int = 0, three: int = 0) -> bytes:
        data = array.array("B", bytes(size))
        self.call(cmd, data.buffer_info()[0], two, three)
        return data.tobytes()


def test_brctl_without_sys(kernel: Kernel) -> None:
    br, dev = bridge(kernel), wire(kernel)
    brctl = Brctl(kernel, br)
    brctl.call(uapi.BRCTL_ADD_IF, dev.ifindex)
    assert dev.master is br
    for cmd, name, value in (
        (uapi.BRCTL_SET_BRIDGE_STP_STATE, "stp_state", 1), (uapi.BRCTL_SET_BRIDGE_HELLO_TIME, "hello_time", 300),
        (uapi.BRCTL_SET_BRIDGE_PRIORITY, "priority", 4096), (uapi.BRCTL_SET_AGEING_TIME, "ageing_time", 100),
    ):  # fmt: skip
        brctl.call(cmd, value)
        assert br_attr(br, name) == str(value)
    brctl.call(uapi.BRCTL_SET_PATH_COST, 1, 7)
    assert port_attr(dev, "path_cost") == "7"
    brctl.call(uapi.BRCTL_SET_GC_INTERVAL, 5)
    assert brctl.ask(uapi.BRCTL_GET_PORT_LIST, 16, 4) == struct.pack("=4i", 0, dev.ifindex, 0, 0)
    info = uapi.BRIDGE_INFO.unpack(brctl.ask(uapi.BRCTL_GET_BRIDGE_INFO, uapi.BRIDGE_INFO.size))
    assert info[:6] == (bytes.fromhex("1000020000000001"), bytes.fromhex("1000020000000001"), 0, 2000, 300, 1500)
    port = uapi.PORT_INFO.unpack(brctl.ask(uapi.BRCTL_GET_PORT_INFO, uapi.PORT_INFO.size, 1))
    assert port[2:6] == (0x8001, 0x8001, 7, 0)
    fdb = brctl.ask(uapi.BRCTL_GET_FDB_ENTRIES, 32, 2)
    assert fdb == uapi.FDB_ENTRY.pack(dev.dev_addr, 1, 1, 0, 0) + bytes(16)
    assert brctl.ask(uapi.BRCTL_GET_FDB_ENTRIES, 32, 2, 1) == bytes(32)
    fails(errno.EINVAL, brctl.call, uapi.BRCTL_ADD_IF, 99)
    fails(errno.EINVAL, brctl.call, uapi.BRCTL_SET_PATH_COST, 9, 1)
    fails(errno.ERANGE, brctl.call, uapi.BRCTL_SET_BRIDGE_MAX_AGE, 1)
    fails(errno.EINVAL, brctl.call, uapi.BRCTL_GET_PORT_LIST, 0, 5000)
    fails(errno.EFAULT, brctl.call, uapi.BRCTL_GET_BRIDGE_INFO, 8)
    fails(errno.EOPNOTSUPP, brctl.call, 99)
    fails(errno.EFAULT, ioctl, kernel, nr.SIOCDEVPRIVATE, pack_ifreq("br0", bytes(8)))
    fails(errno.EOPNOTSUPP, ioctl, kernel, nr.SIOCDEVPRIVATE + 1, pack_ifreq("br0", bytes(8)))
    fails(errno.EPERM, ioctl, kernel, nr.SIOCDEVPRIVATE, pack_ifreq("br0", bytes(8)), False)
    brctl.call(uapi.BRCTL_DEL_IF, dev.ifindex)
    assert dev.master is None
