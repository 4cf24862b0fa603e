"""The ARP monitor, the primary, addresses at a failover, and which slave a flow goes by."""

from __future__ import annotations

import errno
from functools import partial

import pytest
from support.devices import boot, ops_of, packet
from support.dgram_api import fails
from support.hosts import HostApi, Hosts, network

from pysock.core.device import NetDevice, dev_close, dev_open, dev_set_mac_address, netif_carrier_off, netif_carrier_on
from pysock.core.skbuff import SkBuff
from pysock.drivers.bonding.device import BondOps, bond_ops
from pysock.drivers.bonding.hash import LAYER2, LAYER23, LAYER34, xmit_hash
from pysock.drivers.bonding.slave import LINK_DOWN, LINK_UP
from pysock.drivers.bridge import br_add_if, br_del_if
from pysock.families.inet.devinet import add_address

from .test_bonding import MS, active, bonded, slave


class Office:
    """Host a with a bond by two cables to a switch, host b with one."""

    def __init__(self, mode: str = "active-backup", **options: object) -> None:
        self.lab = Hosts()
        self.a, self.switch, self.b = (self.lab.host(name) for name in ("a", "switch", "b"))
        self.br = self.make("bridge", "br0")
        self.switch.call(dev_open, self.br)
        create = self.lab.kernel.dev_layer.create_device
        self.bond = self.a.call(
            create, self.a.net, "bond", "bond0", mode=mode, arp_interval=100, arp_ip_target="10.0.0.2", **options
        )
        ops = bond_ops(self.bond)
        assert ops is not None
        self.ops: BondOps = ops
        self.ports = [self.cable(self.a, f"eth{n}") for n in range(2)] + [self.cable(self.b, "eth0")]
        for name in ("eth0", "eth1"):
            self.a.call(ops.ndo_add_slave, self.bond, self.a.dev(name))
        for host, dev, addr in ((self.a, self.bond, "10.0.0.1/24"), (self.b, self.b.dev(), "10.0.0.2/24")):
            host.call(dev_open, dev)
            host.call(add_address, host.inet, dev, *network(addr))

    def make(self, kind: str, name: str) -> NetDevice:
        return self.switch.call(self.lab.kernel.dev_layer.create_device, self.switch.net, kind, name)

    def cable(self, host: HostApi, name: str) -> NetDevice:
        """A cable to the switch: its end there."""
        peer = f"{host.net.name}{name}"
        create = self.lab.kernel.dev_layer.create_device
        host.call(create, host.net, "veth", name, peer=peer, peer_net=self.switch.net)
        port = self.switch.net.dev_by_name[peer]
        self.switch.call(dev_open, port)
        self.switch.call(br_add_if, self.br, port)
        return port

    def unplug(self, number: int) -> None:
        """The switch forgets the port; the cable's ends keep their carrier."""
        self.switch.call(br_del_if, self.br, self.ports[number])

    def links(self) -> list[int]:
        return [slave.link for slave in self.ops.slaves]


@pytest.mark.parametrize("validate", ["none", "active", "backup", "all", "filter", "filter_active", "filter_backup"])
def test_a_deaf_switch_port_is_noticed_although_there_is_carrier(validate: str) -> None:
    office = Office(arp_validate=validate)
    office.lab.sleep(2)
    assert (active(office.ops), office.links()) == ("eth0", [LINK_UP, LINK_UP])
    office.unplug(0)
    office.lab.sleep(1)
    assert (active(office.ops), office.links()[0]) == ("eth1", LINK_DOWN)
    assert office.ops.slaves[0].failures == 1
    office.switch.call(br_add_if, office.br, office.ports[0])
    office.lab.sleep(1)
    assert (active(office.ops), office.links()) == ("eth1", [LINK_UP, LINK_UP])
    assert office.lab.log == []


def test_the_target_gone_no_slave_is_good_until_it_is_back() -> None:
    office = Office(arp_validate="all")
    office.lab.sleep(2)
    office.unplug(2)
    office.lab.sleep(2)
    assert (active(office.ops), office.bond.carrier) == ("", False)
    office.switch.call(br_add_if, office.br, office.ports[2])
    office.lab.sleep(2)
    assert active(office.ops) != ""
    assert office.bond.carrier


def test_all_targets_have_to_answer_if_that_is_asked() -> None:
    office = Office(arp_validate="active", arp_all_targets="all")
    office.lab.sleep(2)
    assert active(office.ops) == "eth0"
    text = office.a.net.proc["net/bonding/bond0"]()
    assert "ARP Polling Interval (ms): 100\nARP Missed Max: 2\nARP IP target/s (n.n.n.n form): 10.0.0.2\n" in text
    office.ops.params.arp_ip_target = (*office.ops.params.arp_ip_target, b"\x0a\0\0\x09")
    office.lab.sleep(2)
    assert active(office.ops) == ""


def test_balancing_with_arp() -> None:
    office = Office("balance-rr")
    office.lab.sleep(2)
    assert office.links() == [LINK_UP, LINK_UP]
    office.unplug(1)
    office.lab.sleep(1)
    assert office.links() == [LINK_UP, LINK_DOWN]
    assert office.ops.slaves[1].failures == 1


def test_the_monitor_stops_with_the_bond() -> None:
    office = Office()
    office.lab.sleep(1)
    office.a.call(dev_close, office.bond)
    assert office.ops.arp is not None
    assert not office.ops.arp.timer.pending


# --- the primary, addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "after"), [("always", "eth0"), ("better", "eth1"), ("failure", "eth1")])
def test_when_a_primary_comes_back(policy: str, after: str) -> None:
    kernel, _, ops, one, two = bonded("active-backup", primary="eth0", primary_reselect=policy)
    netif_carrier_off(one)
    kernel.sleep(200 * MS)
    netif_carrier_on(one)
    kernel.sleep(200 * MS)
    assert active(ops) == after
    netif_carrier_off(two)
    kernel.sleep(200 * MS)
    assert active(ops) == "eth0"
    text = kernel.init_net.proc["net/bonding/bond0"]()
    assert f"Primary Slave: eth0 (primary_reselect {policy})\n" in text


def test_the_bond_takes_the_active_slaves_address() -> None:
    kernel, bond, ops, one, two = bonded("active-backup", fail_over_mac="active")
    assert (bond.dev_addr, one.dev_addr, two.dev_addr) == (b"\2\0\0\0\0\1", b"\2\0\0\0\0\1", b"\2\0\0\0\0\2")
    ops.change_active(two)
    assert (bond.dev_addr, one.dev_addr, two.dev_addr) == (b"\2\0\0\0\0\2", b"\2\0\0\0\0\1", b"\2\0\0\0\0\2")
    assert "(active-backup) (fail_over_mac active)\n" in kernel.init_net.proc["net/bonding/bond0"]()


def test_the_bonds_address_is_handed_on() -> None:
    _, bond, ops, one, two = bonded("active-backup", fail_over_mac="follow")
    ops.change_active(two)
    assert (bond.dev_addr, one.dev_addr, two.dev_addr) == (b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", b"\2\0\0\0\0\1")
    ops.ndo_del_slave(bond, two)
    assert (bond.dev_addr, one.dev_addr, two.dev_addr) == (b"\2\0\0\0\0\1", b"\2\0\0\0\0\1", b"\2\0\0\0\0\2")


def test_a_chosen_address_is_not_handed_to_slaves_that_keep_theirs() -> None:
    _, bond, _, one, two = bonded("active-backup", fail_over_mac="active")
    dev_set_mac_address(bond, b"\2\0\0\0\0\x55")
    assert (one.dev_addr, two.dev_addr) == (b"\2\0\0\0\0\1", b"\2\0\0\0\0\2")


# --- broadcast, hashes, options ---------------------------------------------------------------------------------------


def test_broadcast() -> None:
    kernel, bond, _, one, two = bonded("broadcast")
    bond.queue_xmit(packet(bond))
    assert ops_of(one).sent == ops_of(two).sent != []
    assert bond.stats.tx_packets == 1
    netif_carrier_off(two)
    kernel.sleep(200 * MS)
    bond.queue_xmit(packet(bond))
    assert (len(ops_of(one).sent), len(ops_of(two).sent)) == (2, 1)


def flow(ethertype: int, payload: bytes) -> SkBuff:
    return packet(None, payload, ethertype)


def test_hashes() -> None:
    """Worked out by hand from bond_xmit_hash(), on a little-endian machine."""
    ip = bytes.fromhex("45000028000040004006000" + "0" + "0a000001" + "0a000002") + bytes.fromhex("13880050")
    mac = 1 ^ 2 ^ 0x0800  # `frame` has addresses that end in 01 and 02
    assert xmit_hash(flow(0x0800, ip), LAYER2) == mac
    word = 0x0100000A ^ 0x0200000A  # both addresses as little-endian words
    value = word ^ mac
    value ^= value >> 16
    assert xmit_hash(flow(0x0800, ip), LAYER23) == value ^ value >> 8
    value = word ^ 0x50008813
    value ^= value >> 16
    assert xmit_hash(flow(0x0800, ip), LAYER34) == (value ^ value >> 8) >> 1
    fragment = ip[:6] + b"\x20\x01" + ip[8:]
    assert xmit_hash(flow(0x0800, fragment), LAYER34) == (word ^ word >> 16 ^ (word ^ word >> 16) >> 8) >> 1
    six = bytes.fromhex("6000000000081100") + bytes(15) + b"\1" + bytes(15) + b"\2" + bytes.fromhex("13880050")
    assert xmit_hash(flow(0x86DD, six), LAYER34) != xmit_hash(flow(0x86DD, six[:-4] + bytes(4)), LAYER34)
    for raw in (ip[:10], six[:39]):
        assert xmit_hash(flow(0x0800, raw[:10]), LAYER34) == mac
    assert xmit_hash(SkBuff(b"short", 0, 5), LAYER34) == 0


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({"mode": "balance-alb"}, errno.EOPNOTSUPP), ({"mode": "802.3ad", "arp_interval": 100}, errno.EACCES),
        ({"mode": "802.3ad", "primary": "eth0"}, errno.EACCES), ({"lacp_rate": "fast"}, errno.EACCES),
        ({"miimon": 100, "arp_interval": 100}, errno.EINVAL), ({"miimon": 0, "updelay": 100}, errno.EPERM),
        ({"arp_ip_target": "10.0.0.999"}, errno.EINVAL), ({"arp_ip_target": "0.0.0.0"}, errno.EINVAL),
        ({"arp_ip_target": ["10.0.0.1"] * 2}, errno.EINVAL), ({"arp_ip_target": 5}, errno.EINVAL),
        ({"primary_reselect": "never"}, errno.EINVAL), ({"xmit_hash_policy": 9}, errno.EINVAL),
        ({"missed_max": 0}, errno.EINVAL), ({"colour": 1}, errno.EINVAL), ({"ad_user_port_key": 1024}, errno.EINVAL),
        ({"mode": "802.3ad", "ad_actor_system": b"\1" * 6}, errno.EINVAL),
    ],
)  # fmt: skip
def test_refused_options(options: dict[str, object], number: int) -> None:
    kernel = boot()
    fails(number, partial(kernel.dev_layer.create_device, kernel.init_net, "bond", None, **options))


def test_delays_are_multiples_of_miimon() -> None:
    kernel = boot()
    bond = kernel.dev_layer.create_device(kernel.init_net, "bond", None, miimon=100, updelay=250, downdelay=99)
    assert "Up Delay (ms): 200\nDown Delay (ms): 0\n" in kernel.init_net.proc["net/bonding/bond0"]()
    ops = bond_ops(bond)
    assert ops is not None
    ops.ndo_add_slave(bond, slave(kernel, "eth0"))
    assert ops.slaves[0].link == LINK_UP
