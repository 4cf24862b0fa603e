"""802.3ad: two bonds that find each other, links that go and come, wrong cables, whatever else a switch might say."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.devices import boot, frame, packet, softirqs

from pysock.core.dev import PacketType, dev_add_pack, netif_rx
from pysock.core.device import NetDevice, dev_close, dev_open, unregister_netdev
from pysock.core.eth import eth_type_trans
from pysock.core.net import Net
from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import SkBuff
from pysock.drivers.bonding.device import BondOps, bond_ops
from pysock.uapi.if_ether import ETH_P_ALL, ETH_P_SLOW
from pysock.wire import lacp

SECOND = 1_000_000_000
ETH_P_TEST = 0x88B5
PEER = b"\2\0\0\0\0\x77"


def ops_of(bond: NetDevice) -> BondOps:
    ops = bond_ops(bond)
    assert ops is not None
    return ops


class Pair:
    """Two namespaces with cables between them, and bonds a and b over all of them, up."""

    def __init__(self, cables: int = 2, a: dict[str, object] | None = None, b: dict[str, object] | None = None) -> None:
        self.kernel = boot()
        self.kernel.enter()
        self.nets = [self.kernel.init_net, self.kernel.new_net("b")]
        create = self.kernel.dev_layer.create_device
        self.a = create(self.nets[0], "bond", "a", mode="802.3ad", **(a or {}))
        self.b = create(self.nets[1], "bond", "b", mode="802.3ad", **(b or {}))
        for n in range(cables):
            one = create(self.nets[0], "veth", f"a{n}", peer=f"b{n}", peer_net=self.nets[1])
            self.a.netdev_ops.ndo_add_slave(self.a, one)
            self.b.netdev_ops.ndo_add_slave(self.b, self.nets[1].dev_by_name[f"b{n}"])
        self.kernel.leave()
        self.kernel.enter()
        dev_open(self.a)
        dev_open(self.b)
        self.kernel.leave()

    def sleep(self, seconds: float) -> None:
        self.kernel.sleep(int(seconds * SECOND))

    def states(self, bond: NetDevice) -> list[tuple[int, bool]]:
        return [(slave.ad.actor.state, slave.ad.enabled) for slave in ops_of(bond).slaves if slave.ad is not None]

    def received(self, net: Net) -> list[str]:
        got: list[str] = []

        def handler(skb: SkBuff) -> None:
            assert skb.dev is not None
            got.append(skb.dev.name)

        dev_add_pack(PacketType(net, ETH_P_TEST, handler))
        return got

    def send(self, bond: NetDevice, count: int = 4) -> None:
        for last in range(count):
            bond.queue_xmit(packet(bond, dst=PEER[:5] + bytes((last,)), src=bond.dev_addr))
        softirqs(self.kernel)


def test_two_bonds_agree_within_three_seconds() -> None:
    pair = Pair()
    pair.sleep(3)
    assert pair.states(pair.a) == pair.states(pair.b) == [(61, True), (61, True)]
    got = pair.received(pair.nets[1])
    carried = [bond.lowers[n].stats.tx_packets for bond in (pair.a,) for n in (0, 1)]
    pair.send(pair.a)
    assert got == ["b"] * 4
    assert [dev.stats.tx_packets - before for dev, before in zip(pair.a.lowers, carried, strict=True)] == [2, 2]
    text = pair.nets[0].proc["net/bonding/a"]()
    assert "Bonding Mode: IEEE 802.3ad Dynamic link aggregation\nTransmit Hash Policy: layer2 (0)\n" in text
    assert "\tNumber of ports: 2\n\tActor Key: 15\n\tPartner Key: 15\n" in text
    assert f"\tPartner Mac Address: {pair.b.dev_addr.hex(':')}\n" in text
    assert pair.kernel.errors.total == 0


def test_a_link_that_goes_takes_its_flows_to_the_other() -> None:
    pair = Pair(a={"lacp_rate": "fast"})
    pair.sleep(5)
    assert [state for state, _ in pair.states(pair.a)] == [63, 63]
    dev_close(pair.b.lowers[0])
    pair.sleep(1)
    assert [enabled for _, enabled in pair.states(pair.a)] == [False, True]
    got = pair.received(pair.nets[1])
    pair.send(pair.a)
    assert got == ["b"] * 4
    dev_open(pair.b.lowers[0])
    pair.sleep(5)
    assert [enabled for _, enabled in pair.states(pair.a)] == [True, True]
    dev_close(pair.b.lowers[0])
    dev_close(pair.b.lowers[1])
    pair.sleep(1)
    assert (pair.a.carrier, pair.b.carrier) == (False, False)


def test_a_partner_that_falls_silent_is_missed() -> None:
    """Its links stay up, but nothing comes any more: after three seconds, with the fast rate."""
    pair = Pair(a={"lacp_rate": "fast"})
    pair.sleep(5)
    for slave in ops_of(pair.b).slaves:
        assert slave.ad is not None
        slave.ad.stop()
    pair.sleep(3.5)
    assert [state & lacp.EXPIRED for state, _ in pair.states(pair.a)] == [lacp.EXPIRED] * 2
    pair.sleep(5)
    assert [state & lacp.DEFAULTED for state, _ in pair.states(pair.a)] == [lacp.DEFAULTED] * 2
    assert sorted(enabled for _, enabled in pair.states(pair.a)) == [False, True]  # one goes on by itself


def test_without_lacp_at_the_other_end_one_port_works() -> None:
    pair = Pair()
    ends = pair.b.lowers
    pair.kernel.enter()
    unregister_netdev(pair.b)
    for end in ends:
        dev_open(end)
    pair.kernel.leave()
    pair.sleep(10)
    assert sorted(enabled for _, enabled in pair.states(pair.a)) == [False, True]
    assert pair.a.carrier


def test_who_is_not_active_speaks_when_spoken_to() -> None:
    pair = Pair(b={"lacp_active": "off"})
    pair.sleep(100)
    assert pair.states(pair.b) == [(60, True), (60, True)]
    assert pair.states(pair.a) == [(61, True), (61, True)]


def test_cables_to_two_partners_are_two_aggregators() -> None:
    pair = Pair(3)
    pair.sleep(3)
    pair.kernel.enter()
    create = pair.kernel.dev_layer.create_device
    third = create(pair.nets[1], "bond", "c", mode="802.3ad")
    moved = pair.b.lowers[2]
    pair.b.netdev_ops.ndo_del_slave(pair.b, moved)
    third.netdev_ops.ndo_add_slave(third, moved)
    dev_open(third)
    pair.kernel.leave()
    pair.sleep(10)
    assert [enabled for _, enabled in pair.states(pair.a)] == [True, True, False]
    text = pair.nets[0].proc["net/bonding/a"]()
    assert [
        line for line in text.splitlines() if line.startswith("Aggregator ID")
    ] == ["Aggregator ID: 1", "Aggregator ID: 1", "Aggregator ID: 3"]


@pytest.mark.parametrize(("policy", "chosen"), [("stable", 1), ("bandwidth", 2), ("count", 2)])
def test_which_aggregator_is_active(policy: str, chosen: int) -> None:
    """First there is one with one cable; then comes another with two."""
    pair = Pair(1, a={"ad_select": policy})
    pair.sleep(3)
    pair.kernel.enter()
    create = pair.kernel.dev_layer.create_device
    third = create(pair.nets[1], "bond", "c", mode="802.3ad")
    for n in (1, 2):
        one = create(pair.nets[0], "veth", f"a{n}", peer=f"c{n}", peer_net=pair.nets[1])
        pair.a.netdev_ops.ndo_add_slave(pair.a, one)
        third.netdev_ops.ndo_add_slave(third, pair.nets[1].dev_by_name[f"c{n}"])
    dev_open(third)
    pair.kernel.leave()
    pair.sleep(10)
    assert sum(enabled for _, enabled in pair.states(pair.a)) == chosen


def test_min_links() -> None:
    pair = Pair(a={"min_links": 2})
    pair.sleep(3)
    assert pair.a.carrier
    dev_close(pair.b.lowers[0])
    pair.sleep(1)
    assert not pair.a.carrier


def test_another_address_is_another_system() -> None:
    pair = Pair()
    pair.sleep(3)
    pair.kernel.enter()
    pair.a.netdev_ops.ndo_set_mac_address(pair.a, PEER)
    pair.kernel.leave()
    pair.sleep(40)
    assert pair.states(pair.b) == [(61, True), (61, True)]
    assert PEER.hex(":") in pair.nets[1].proc["net/bonding/b"]()


def test_markers_are_answered() -> None:
    pair = Pair(1)
    sent: list[bytes] = []
    dev_add_pack(PacketType(pair.nets[1], ETH_P_ALL, lambda skb, dev: sent.append(skb_to_bytes(skb))))  # type: ignore[arg-type,misc]
    marker = b"\2\1\1\x16" + bytes(106)
    arrive(pair.b.lowers[0], marker)
    assert any(raw[14:18] == b"\2\1\2\x16" for raw in sent)


def arrive(dev: NetDevice, payload: bytes) -> None:
    raw = frame(payload, ETH_P_SLOW, lacp.GROUP_ADDRESS, PEER)
    dev.kernel.enter()
    skb = SkBuff(raw, 0, len(raw))
    if eth_type_trans(skb, dev):
        netif_rx(skb)
    dev.kernel.leave()


PARTS = st.builds(
    lacp.Participant, st.integers(0, 3), st.sampled_from([PEER, bytes(6), b"\2" * 6]), st.integers(0, 16),
    st.integers(0, 2), st.integers(0, 3), st.integers(0, 255),
)  # fmt: skip
PDUS = st.one_of(st.binary(max_size=120), st.builds(lacp.Lacpdu, PARTS, PARTS).map(lacp.build))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PDUS, st.integers(0, 1), st.integers(0, 4)), max_size=12))
def test_whatever_a_switch_says(said: list[tuple[bytes, int, int]]) -> None:
    """Nothing raises; at most one aggregator carries traffic; when the bond goes, no timer is left."""
    pair = Pair()
    for payload, port, seconds in said:
        arrive(pair.a.lowers[port], payload)
        pair.sleep(seconds)
        carrying = {slave.ad.aggregator for slave in ops_of(pair.a).slaves if slave.ad is not None and slave.ad.enabled}
        assert len(carrying) <= 1
    pair.kernel.enter()
    for bond in (pair.a, pair.b):
        unregister_netdev(bond)
    pair.kernel.leave()
    pair.sleep(1)
    assert pair.kernel.errors.total == 0
    assert pair.kernel.timers.settle() > 1 << 60


def test_a_slave_taken_out_and_put_back() -> None:
    pair = Pair()
    pair.sleep(3)
    one = pair.a.lowers[0]
    for change in (pair.a.netdev_ops.ndo_del_slave, pair.a.netdev_ops.ndo_add_slave):
        pair.kernel.enter()
        partial(change, pair.a)(one)
        pair.kernel.leave()
    pair.sleep(40)
    assert [enabled for _, enabled in pair.states(pair.a)] == [True, True]
