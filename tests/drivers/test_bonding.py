"""bonding: failover that the peer notices, taking turns, slaves that come and go (drivers/net/bonding)."""

from __future__ import annotations

import array
import errno
import struct

import pytest
from support.devices import boot, frame, ops_of, packet, softirqs, wire
from support.dgram_api import fails
from support.hosts import HostApi, Hosts, network

from pysock.core.capability import Credentials
from pysock.core.dev import PacketType, dev_add_pack, netif_rx
from pysock.core.device import (
    NETREG_UNREGISTERED,
    NetDevice,
    dev_change_name,
    dev_change_net,
    dev_close,
    dev_open,
    dev_set_mac_address,
    dev_set_mtu,
    netif_carrier_off,
    netif_carrier_on,
    unregister_netdev,
)
from pysock.core.eth import eth_type_trans
from pysock.core.ifioctl import dev_ioctl
from pysock.core.kernel import Kernel
from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import SkBuff
from pysock.drivers.bonding.device import BondOps, bond_ops
from pysock.drivers.bridge import br_add_if
from pysock.families.inet.devinet import add_address
from pysock.families.inet6.addr import ALL_NODES
from pysock.syscalls.socket import sys_connect
from pysock.uapi import ioctl as nr
from pysock.uapi.if_ import IFF_MASTER, IFF_SLAVE, IFF_UP, pack_ifname, pack_ifreq
from pysock.uapi.if_ether import ETH_P_8021Q, ETH_P_ALL
from pysock.wire import vlan
from pysock.wire.icmpv6 import NEIGHBOUR_ADVERT

MS = 1_000_000
ETH_P_TEST = 0x88B5


def slave(kernel: Kernel, name: str, last: int = 1) -> NetDevice:
    def setup(dev: NetDevice) -> None:
        dev.dev_addr = b"\x02\0\0\0\0" + bytes((last,))
        dev.live_addr_change = True

    dev = wire(kernel, name, setup=setup)
    dev_close(dev)
    return dev


def bonded(mode: str, **options: object) -> tuple[Kernel, NetDevice, BondOps, NetDevice, NetDevice]:
    """A bond over eth0 and eth1, up."""
    kernel = boot()
    bond = kernel.dev_layer.create_device(kernel.init_net, "bond", None, mode=mode, **options)
    ops = bond_ops(bond)
    assert ops is not None
    one, two = slave(kernel, "eth0", 1), slave(kernel, "eth1", 2)
    ops.ndo_add_slave(bond, one)
    ops.ndo_add_slave(bond, two)
    dev_open(bond)
    return kernel, bond, ops, one, two


def send(bond: NetDevice, count: int = 1, **macs: bytes) -> None:
    for _ in range(count):
        bond.queue_xmit(packet(bond, **macs))


def arrive(dev: NetDevice, raw: bytes) -> None:
    skb = SkBuff(raw, 0, len(raw))
    eth_type_trans(skb, dev)
    netif_rx(skb)
    softirqs(dev.kernel)


def active(ops: BondOps) -> str:
    return ops.active.dev.name if ops.active is not None else ""


# --- slaves -----------------------------------------------------------------------------------------------------------


def test_slaves_get_the_bonds_address_and_their_own_back() -> None:
    _, bond, ops, one, two = bonded("active-backup")
    assert bond.dev_addr == one.dev_addr == two.dev_addr == b"\x02\0\0\0\0\1"
    assert (one.flags & IFF_SLAVE, bond.flags & IFF_MASTER) == (IFF_SLAVE, IFF_MASTER)
    assert (one.master, bond.lowers, bond.carrier) == (bond, (one, two), True)
    dev_set_mac_address(bond, b"\x02\0\0\0\0\7")
    dev_set_mtu(bond, 1400)
    assert (two.dev_addr, two.mtu) == (b"\x02\0\0\0\0\7", 1400)
    ops.ndo_del_slave(bond, two)
    assert (two.dev_addr, two.mtu, two.master, two.rx_handler) == (b"\x02\0\0\0\0\2", 1500, None, None)
    assert not two.flags & (IFF_SLAVE | IFF_UP)
    fails(errno.EINVAL, ops.ndo_del_slave, bond, two)


def test_the_last_slave_takes_the_carrier_along() -> None:
    _, bond, ops, one, two = bonded("balance-rr")
    ops.ndo_del_slave(bond, one)
    assert bond.carrier
    ops.ndo_del_slave(bond, two)
    assert not bond.carrier
    assert bond.dev_addr not in (b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2")


def test_refusals() -> None:
    kernel, bond, ops, one, _ = bonded("active-backup")
    other = kernel.dev_layer.create_device(kernel.init_net, "bond")
    fails(errno.EPERM, ops.ndo_add_slave, bond, one)  # up
    fails(errno.EINVAL, ops.ndo_add_slave, bond, other)
    fails(errno.EPERM, ops.ndo_add_slave, bond, kernel.init_net.dev_by_name["lo"])
    dev_close(one)
    second = bond_ops(other)
    assert second is not None
    fails(errno.EBUSY, second.ndo_add_slave, other, one)
    stubborn = slave(kernel, "eth2", 3)
    ops_of(stubborn).raises["open"] = OSError(errno.EIO, "no")
    fails(errno.EIO, ops.ndo_add_slave, bond, stubborn)
    assert (stubborn.master, stubborn.dev_addr, stubborn.rx_handler) == (None, b"\x02\0\0\0\0\3", None)
    create = kernel.dev_layer.create_device
    for options in ({"mode": "fast"}, {"miimon": -1}, {"primary": 3}):
        with pytest.raises(OSError) as caught:
            create(kernel.init_net, "bond", None, **options)
        assert caught.value.errno == errno.EINVAL


def test_a_slave_that_goes_away_or_moves() -> None:
    kernel, bond, ops, one, two = bonded("active-backup")
    unregister_netdev(one)
    assert active(ops) == "eth1"
    kernel.enter()
    other = kernel.new_net("other")
    kernel.leave()
    dev_change_net(two, other)
    assert (two.flags & IFF_SLAVE, two.master, ops.slaves, bond.carrier) == (0, None, [], False)


def test_a_bond_that_goes_away_lets_its_slaves_go() -> None:
    kernel, bond, _, one, two = bonded("balance-rr")
    raw = frame()
    skb = SkBuff(raw, 0, len(raw))
    eth_type_trans(skb, one)
    netif_rx(skb)  # in flight
    unregister_netdev(bond)
    softirqs(kernel)
    assert bond.reg_state == NETREG_UNREGISTERED
    assert [(dev.master, dev.rx_handler, dev.flags & IFF_SLAVE) for dev in (one, two)] == [(None, None, 0)] * 2
    assert not any(name.startswith("net/bonding") for name in kernel.init_net.proc)


def test_what_the_bond_wants_to_receive_the_active_slave_does() -> None:
    _, bond, ops, one, two = bonded("active-backup")
    group = b"\x01\0\x5e\0\0\5"
    bond.mc[group] = 1
    ops.ndo_set_rx_mode(bond)
    assert (group in one.mc, group in two.mc) == (True, False)
    ops.change_active(two)
    assert (group in one.mc, group in two.mc) == (False, True)


# --- active-backup ----------------------------------------------------------------------------------------------------


def test_only_the_active_slave_speaks_and_is_heard() -> None:
    kernel, bond, _, one, two = bonded("active-backup")
    got: list[str] = []
    exact: list[bytes] = []
    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, lambda skb: got.append(skb.dev.name)))  # type: ignore[union-attr]
    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, lambda skb: exact.append(skb_to_bytes(skb)), two))
    send(bond, 3)
    assert (len(ops_of(one).sent), len(ops_of(two).sent)) == (3, 0)
    arrive(one, frame())
    arrive(two, frame())
    assert (got, exact) == (["bond0"], [frame()])
    assert (bond.stats.tx_packets, bond.stats.rx_packets) == (3, 1)


def test_failover_waits_for_the_next_look_and_the_delay() -> None:
    kernel, _, ops, one, two = bonded("active-backup", miimon=100, downdelay=200, updelay=300)
    kernel.sleep(50 * MS)
    netif_carrier_off(one)
    kernel.sleep(40 * MS)
    assert active(ops) == "eth0"
    kernel.sleep(200 * MS)  # seen at 100 ms, believed at 300 ms
    assert active(ops) == "eth0"
    kernel.sleep(20 * MS)
    assert active(ops) == "eth1"
    netif_carrier_off(two)
    netif_carrier_on(two)  # between two looks: nobody saw it
    kernel.sleep(1000 * MS)
    assert (active(ops), ops.slaves[1].failures) == ("eth1", 0)


def test_a_bond_at_rest_has_no_timer() -> None:
    kernel, _, _, one, _ = bonded("active-backup")
    kernel.sleep(500 * MS)
    netif_carrier_off(one)
    kernel.sleep(500 * MS)
    assert kernel.timers.settle() > 1 << 60


@pytest.mark.parametrize(("primary", "after"), [("", "eth1"), ("eth0", "eth0")])
def test_the_primary_comes_back(primary: str, after: str) -> None:
    kernel, _, ops, one, _ = bonded("active-backup", primary=primary)
    netif_carrier_off(one)
    kernel.sleep(200 * MS)
    assert active(ops) == "eth1"
    netif_carrier_on(one)
    kernel.sleep(200 * MS)
    assert active(ops) == after


def test_no_slave_left() -> None:
    kernel, bond, ops, one, two = bonded("active-backup")
    netif_carrier_off(one)
    netif_carrier_off(two)
    kernel.sleep(200 * MS)
    assert (active(ops), bond.carrier) == ("", False)
    send(bond)
    assert bond.stats.tx_dropped == 1
    netif_carrier_on(two)
    kernel.sleep(200 * MS)
    assert (active(ops), bond.carrier) == ("eth1", True)


def test_without_miimon_links_are_taken_to_be_up() -> None:
    kernel, _, ops, one, _ = bonded("active-backup", miimon=0)
    netif_carrier_off(one)
    kernel.sleep(1000 * MS)
    assert active(ops) == "eth0"
    dev_close(one)
    assert active(ops) == "eth1"


# --- balancing --------------------------------------------------------------------------------------------------------


def test_round_robin() -> None:
    kernel, bond, _, one, two = bonded("balance-rr")
    send(bond, 10)
    assert (len(ops_of(one).sent), len(ops_of(two).sent)) == (5, 5)
    netif_carrier_off(two)
    kernel.sleep(200 * MS)
    send(bond, 10)
    assert (len(ops_of(one).sent), len(ops_of(two).sent)) == (15, 5)
    got: list[str] = []
    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, lambda skb: got.append(skb.dev.name)))  # type: ignore[union-attr]
    arrive(one, frame())
    arrive(two, frame())
    assert got == ["bond0", "bond0"]


def test_xor_keeps_a_pair_of_addresses_together() -> None:
    _, bond, _, one, two = bonded("balance-xor")
    send(bond, 4, dst=b"\x02\0\0\0\0\x10")
    assert (len(ops_of(one).sent), len(ops_of(two).sent)) in ((4, 0), (0, 4))
    send(bond, 4, dst=b"\x02\0\0\0\0\x11")
    assert (len(ops_of(one).sent), len(ops_of(two).sent)) == (4, 4)
    runt = SkBuff(b"short", 0, 5)
    runt.dev = bond
    bond.queue_xmit(runt)
    assert len(ops_of(one).sent) + len(ops_of(two).sent) == 9


# --- for programs -----------------------------------------------------------------------------------------------------


def test_ioctls_and_proc() -> None:
    kernel, bond, ops, one, _ = bonded("active-backup")
    net = kernel.init_net

    def ioctl(cmd: int, name: str, creds: Credentials | None = None) -> None:
        dev_ioctl(net, creds or Credentials(), cmd, pack_ifreq("bond0", pack_ifname(name)))

    ioctl(nr.SIOCBONDCHANGEACTIVE, "eth1")
    assert active(ops) == "eth1"
    text = net.proc["net/bonding/bond0"]()
    assert "Currently Active Slave: eth1\n" in text
    assert "Slave Interface: eth0\nMII Status: up\nSpeed: Unknown\nDuplex: Unknown\nLink Failure Count: 0\n" in text
    ioctl(nr.SIOCBONDRELEASE, "eth0")
    assert one.master is None
    ioctl(nr.SIOCBONDENSLAVE, "eth0")
    assert one.master is bond
    fails(errno.ENODEV, ioctl, nr.SIOCBONDENSLAVE, "eth9")
    fails(errno.EPERM, ioctl, nr.SIOCBONDRELEASE, "eth0", Credentials(caps=0))
    fails(errno.EFAULT, ioctl, nr.SIOCBONDINFOQUERY, "")
    fails(errno.EOPNOTSUPP, dev_ioctl, net, Credentials(), nr.SIOCBONDENSLAVE, pack_ifreq("lo", pack_ifname("eth0")))
    dev_change_name(bond, "team")
    assert "net/bonding/bond0" not in net.proc
    assert net.proc["net/bonding/team"]().startswith("Ethernet Channel Bonding Driver: ")


def test_what_ifenslave_asks() -> None:
    kernel, _, ops, one, _ = bonded("active-backup", miimon=50)
    netif_carrier_off(one)
    kernel.sleep(200 * MS)

    def query(cmd: int, raw: bytes) -> bytes:
        data = array.array("B", raw)
        request = pack_ifreq("bond0", struct.pack("=Q", data.buffer_info()[0]))
        dev_ioctl(kernel.init_net, Credentials(caps=0), cmd, request)
        return data.tobytes()

    assert struct.unpack("=3i", query(nr.SIOCBONDINFOQUERY, bytes(12))) == (1, 2, 50)
    first = query(nr.SIOCBONDSLAVEINFOQUERY, bytes(28))
    assert struct.unpack("=i16sbb2xI", first) == (0, pack_ifname("eth0"), 2, 1, 1)
    second = query(nr.SIOCBONDSLAVEINFOQUERY, struct.pack("=i24x", 1))
    assert struct.unpack("=i16sbb2xI", second) == (1, pack_ifname("eth1"), 0, 0, 0)
    fails(errno.ENODEV, query, nr.SIOCBONDSLAVEINFOQUERY, struct.pack("=i24x", 2))
    assert ops.failovers == 2


# --- two hosts --------------------------------------------------------------------------------------------------------


def test_tcp_survives_a_failover_and_the_peer_is_told() -> None:
    """Two cables to a switch; the active one is cut."""
    lab = Hosts()
    a, switch, b = lab.host("a"), lab.host("switch"), lab.host("b")
    create = lab.kernel.dev_layer.create_device
    br = a.call(create, switch.net, "bridge", "br0")
    switch.call(dev_open, br)
    bond = a.call(create, a.net, "bond", "bond0", mode="active-backup", miimon=100)

    def cable(host: HostApi, name: str) -> None:
        dev = host.call(create, host.net, "veth", name, peer=f"{host.net.name}-{name}", peer_net=switch.net)
        port = switch.net.devices[-1] if switch.net.devices[-1] is not dev else switch.net.devices[-2]
        switch.call(dev_open, port)
        switch.call(br_add_if, br, port)

    cable(a, "eth0")
    cable(a, "eth1")
    cable(b, "eth0")
    for name in ("eth0", "eth1"):
        a.call(bond.netdev_ops.ndo_add_slave, bond, a.dev(name))
    for host, dev, addr in ((a, bond, "10.0.0.1/24"), (b, b.dev(), "10.0.0.2/24")):
        host.call(dev_open, dev)
        host.call(add_address, host.inet, dev, *network(addr))
    listener = b.listen("10.0.0.2", 80)
    client = a.tcp()
    sys_connect(a.task, client, ("10.0.0.2", 80))
    server = b.accept(listener)
    a.sendto(client, b"before")
    assert b.recv(server) == b"before"
    frames = lab.record(b.dev())
    cut = next(dev for dev in switch.net.devices if dev.name.endswith("-eth0") and dev.name.startswith(a.net.name))
    switch.call(dev_close, cut)
    lab.sleep(0.2)
    announced = [raw for raw in frames if raw[12:14] == b"\x08\x06" and raw[28:32] == raw[38:42] == b"\x0a\0\0\1"]
    assert len(announced) == 1
    b.sendto(server, b"from b")  # the switch has learnt where to
    assert a.recv(client) == b"from b"
    a.sendto(client, b"after")
    assert b.recv(server) == b"after"
    assert a.counted().get("TcpRetransSegs", 0) == 0
    assert lab.log == []


def test_ipv6_addresses_are_announced_too() -> None:
    lab = Hosts()
    a = lab.host("a")
    a.sysctl("net.ipv6.conf.default.disable_ipv6", 0)
    create = lab.kernel.dev_layer.create_device
    bond = a.call(create, a.net, "bond", "bond0", mode="active-backup")
    for name in ("eth0", "eth1"):
        a.call(create, a.net, "veth", name, peer=f"{name}p")
        a.call(dev_open, a.dev(f"{name}p"))
        a.call(bond.netdev_ops.ndo_add_slave, bond, a.dev(name))
    a.call(dev_open, bond)
    lab.sleep(5)
    seen: list[bytes] = []

    def tap(skb: SkBuff, dev: NetDevice) -> None:
        seen.append(skb_to_bytes(skb))

    a.call(dev_add_pack, PacketType(a.net, ETH_P_ALL, tap, a.dev("eth1")))
    a.call(dev_close, a.dev("eth0p"))
    lab.sleep(0.2)
    assert [raw[54] for raw in seen if raw[12:14] == b"\x86\xdd" and raw[38:54] == ALL_NODES] == [NEIGHBOUR_ADVERT]
    assert a.dev("eth0").proto_priv["inet6"].addresses == []  # type: ignore[attr-defined]  # an Inet6Dev


def test_a_vlan_on_a_bond() -> None:
    kernel, bond, _, one, two = bonded("active-backup")
    dev = kernel.dev_layer.create_device(kernel.init_net, "vlan", None, link=bond, id=5)
    dev_open(dev)
    got: list[str] = []
    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, lambda skb: got.append(skb.dev.name)))  # type: ignore[union-attr]
    tagged = frame(vlan.build(0, False, 5, ETH_P_TEST, b"payload"), ETH_P_8021Q)
    arrive(one, tagged)
    netif_carrier_off(one)
    kernel.sleep(200 * MS)
    dev.queue_xmit(packet(dev))
    arrive(two, tagged)
    assert (got, ops_of(two).sent) == (["bond0.5", "bond0.5"], [tagged])
    unregister_netdev(bond)
    assert "bond0.5" not in kernel.init_net.dev_by_name
