"""The forwarding database: what is learned, configured and ours, and how much of it; what ports may be told."""

from __future__ import annotations

import errno

import pytest
from support.devices import ops_of
from support.dgram_api import fails

from pysock.core.device import dev_close, dev_set_mac_address, dev_set_mtu, dev_set_promiscuity
from pysock.drivers.bridge import br_add_if, br_del_if
from pysock.drivers.bridge.attr import br_attr, br_attr_store, port_attr_store
from pysock.drivers.bridge.fdb import AGEING_NS
from pysock.drivers.bridge.interface import port_of
from pysock.drivers.bridge.port import Port

from .test_bridge import ALL, A, B, C, Lan


def port(lan: Lan, number: int) -> Port:
    found = port_of(lan.ports[number])
    assert found is not None
    return found


def test_static_entries_stay_and_sticky_ones_stay_where_they_are() -> None:
    lan = Lan()
    fdb = lan.ops.fdb
    fdb.add(A, port(lan, 0), "static", sticky=False, replace=False)
    fdb.add(B, port(lan, 1), "static", sticky=True, replace=False)
    lan.kernel.sleep(2 * AGEING_NS)
    assert (lan.arrive(2, C, A), lan.arrive(2, C, B)) == ([0], [1])
    lan.arrive(2, A, ALL)  # it moved
    lan.arrive(2, B, ALL)
    assert (lan.arrive(0, C, A), lan.arrive(0, C, B)) == ([2], [1])
    lan.kernel.sleep(2 * AGEING_NS)
    assert fdb.text() == (
        "02:00:00:00:00:01 dev w0 master br0 permanent\n"
        "02:00:00:00:01:00 dev w2 master br0 static\n"
        "02:00:00:00:01:01 dev w1 master br0 sticky static\n"
    )


def test_configured_dynamic_entries_age_and_permanent_ones_are_ours() -> None:
    lan = Lan()
    fdb = lan.ops.fdb
    fdb.add(A, port(lan, 0), "dynamic", sticky=False, replace=False)
    fdb.add(B, None, "permanent", sticky=False, replace=False)
    assert lan.arrive(1, C, A) == [0]
    up = lan.br.stats.rx_packets
    assert lan.arrive(1, C, B) == []
    assert lan.br.stats.rx_packets == up + 1
    lan.kernel.sleep(AGEING_NS)
    assert A not in lan.ops.learned
    assert lan.arrive(1, B, A) == [0, 2]  # whoever speaks in our name is heard, not believed
    assert lan.ops.learned[B].local


def test_refused_entries() -> None:
    lan = Lan()
    fdb = lan.ops.fdb
    zero = port(lan, 0)

    def add(address: bytes, at: Port | None, state: str, sticky: bool = False, replace: bool = False) -> None:
        fdb.add(address, at, state, sticky=sticky, replace=replace)

    fails(errno.EINVAL, add, ALL, zero, "static")
    fails(errno.EINVAL, add, bytes(6), zero, "static")
    fails(errno.EINVAL, add, b"short", zero, "static")
    fails(errno.EINVAL, add, A, zero, "lasting")
    fails(errno.EINVAL, add, A, None, "static")
    fails(errno.EINVAL, add, A, zero, "permanent", True)
    lan.arrive(0, A, ALL)
    fails(errno.EEXIST, add, A, zero, "static")
    add(A, zero, "static", replace=True)
    fails(errno.ENOENT, fdb.delete, A, port(lan, 1))
    fdb.delete(A, zero)
    fails(errno.ENOENT, fdb.delete, A, zero)
    dev_close(lan.ports[0])
    fails(errno.EPERM, add, A, zero, "dynamic")
    add(A, zero, "static")
    assert lan.arrive(1, B, A) == []  # its port is down
    assert lan.ops.fdb.learned == 1


def test_no_more_than_so_many_are_learned() -> None:
    lan = Lan()
    br_attr_store(lan.br, "fdb_max_learned", "2")
    for last in range(9):
        lan.arrive(0, b"\x02\0\0\0\2" + bytes((last,)), ALL)
    assert br_attr(lan.br, "fdb_n_learned") == "2"
    assert lan.arrive(1, A, b"\x02\0\0\0\2\1") == [0]
    assert lan.arrive(1, A, b"\x02\0\0\0\2\5") == [0, 2]
    br_attr_store(lan.br, "flush", "1")
    assert br_attr(lan.br, "fdb_n_learned") == "0"
    assert lan.arrive(1, A, b"\x02\0\0\0\2\1") == [0, 2]
    assert br_attr(lan.br, "fdb_n_learned") == "1"


def test_an_ageing_time_of_nothing_makes_a_hub() -> None:
    lan = Lan()
    lan.arrive(0, A, ALL)
    br_attr_store(lan.br, "ageing_time", "0")
    assert lan.arrive(1, B, A) == [0, 2]
    assert lan.arrive(0, A, B) == [1, 2]
    br_attr_store(lan.br, "ageing_time", "100")
    lan.arrive(0, A, ALL)
    assert lan.arrive(1, B, A) == [0]
    lan.kernel.sleep(1_000_000_000)
    assert lan.arrive(1, B, A) == [0, 2]


def test_what_a_port_does_not_want() -> None:
    lan = Lan()
    group = b"\x01\0\x5e\0\0\5"
    for name, dst in (("unicast_flood", B), ("multicast_flood", group), ("broadcast_flood", ALL)):
        port_attr_store(lan.ports[2], name, "0")
        assert lan.arrive(0, A, dst) == [1]
        port_attr_store(lan.ports[2], name, "1")
        assert lan.arrive(0, A, dst) == [1, 2]
    port_attr_store(lan.ports[2], "learning", "0")
    lan.arrive(2, C, ALL)
    assert lan.arrive(0, A, C) == [1, 2]
    for n in (0, 1):
        port_attr_store(lan.ports[n], "isolated", "1")
    lan.arrive(1, B, ALL)
    assert (lan.arrive(0, A, ALL), lan.arrive(0, A, B), lan.arrive(2, C, ALL)) == ([2], [], [0, 1])
    port_attr_store(lan.ports[2], "hairpin_mode", "1")
    assert lan.arrive(2, C, ALL) == [0, 1, 2]


def test_our_own_addresses_follow_the_ports() -> None:
    lan = Lan()
    mine = [b"\x02\0\0\0\0" + bytes((9 - n,)) for n in range(3)]
    for dev, address in zip(lan.ports, mine, strict=True):
        dev.live_addr_change = True
        dev_set_mac_address(dev, address)
    assert lan.br.dev_addr == min(mine)
    assert {address for address, known in lan.ops.learned.items() if known.local} == set(mine)
    before = lan.br.stats.rx_packets
    for address in mine:
        assert lan.arrive(0, A, address) == []
    assert lan.br.stats.rx_packets == before + 3
    br_del_if(lan.br, lan.ports[2])
    assert lan.br.dev_addr == mine[1]
    assert mine[2] not in lan.ops.learned
    dev_set_mac_address(lan.br, C)  # chosen: it follows no more
    br_del_if(lan.br, lan.ports[1])
    assert lan.br.dev_addr == C
    br_add_if(lan.br, lan.ports[1])
    assert lan.br.dev_addr == C
    assert lan.ops.learned[C].local


def test_somebody_who_listens_to_everything_hears_what_passes() -> None:
    lan = Lan()
    lan.arrive(1, B, ALL)
    before = lan.br.stats.rx_packets
    dev_set_promiscuity(lan.br, 1)
    assert (lan.arrive(0, A, B), lan.arrive(0, A, C)) == ([1], [1, 2])
    assert lan.br.stats.rx_packets == before + 2


def test_reserved_groups() -> None:
    lan = Lan()
    lldp = b"\x01\x80\xc2\0\0\x0e"
    assert lan.arrive(0, A, lldp) == []
    assert A in lan.ops.learned
    br_attr_store(lan.br, "no_linklocal_learn", "1")
    lan.arrive(1, B, lldp)
    assert B not in lan.ops.learned
    br_attr_store(lan.br, "group_fwd_mask", "0x4000")
    assert lan.arrive(0, A, lldp) == [1, 2]
    fails(errno.EINVAL, br_attr_store, lan.br, "group_fwd_mask", "0x2")
    assert br_attr(lan.br, "group_fwd_mask") == "0x4000"
    assert ops_of(lan.ports[1]).sent


@pytest.mark.parametrize("mtu", [1400, 1600])
def test_the_bridges_mtu_is_the_least_of_its_ports(mtu: int) -> None:
    lan = Lan()
    for dev in lan.ports:
        dev.max_mtu = 9000
        dev_set_mtu(dev, mtu)
    assert lan.br.mtu == mtu
    dev_set_mtu(lan.br, 1300)
    dev_set_mtu(lan.ports[0], 1280)
    assert lan.br.mtu == 1300
