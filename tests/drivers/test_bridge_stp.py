"""The spanning tree: elections, states and timers in virtual time, loops that do not storm (802.1D-1998 clause 8)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.devices import boot, frame, ops_of, packet, softirqs, wire

from pysock.core.dev import PacketType, dev_add_pack, netif_rx
from pysock.core.device import NetDevice, dev_close, dev_open, unregister_netdev
from pysock.core.eth import eth_type_trans
from pysock.core.kernel import Kernel
from pysock.core.skbuff import SkBuff
from pysock.drivers.bridge import br_add_if
from pysock.drivers.bridge.attr import br_attr, br_attr_store, port_attr, port_attr_store
from pysock.drivers.bridge.device import bridge_ops
from pysock.uapi.if_ether import ETH_P_ALL
from pysock.wire import stp

SECOND = 1_000_000_000
ALL = b"\xff" * 6
A, B = b"\x02\0\0\0\1\1", b"\x02\0\0\0\1\2"
FORWARDING, BLOCKING = "3", "4"


class Ring:
    """Bridges br0, br1, ... in a ring of veth cables, and a wire at each; bridge n has address 02:00:00:00:00:0n."""

    def __init__(self, count: int = 3, **options: object) -> None:
        self.kernel = boot()
        self.kernel.enter()
        net = self.kernel.init_net
        create = self.kernel.dev_layer.create_device
        self.bridges = [create(net, "bridge", f"br{n}", stp_state=1, **options) for n in range(count)]
        self.cables: list[tuple[NetDevice, NetDevice]] = []
        for n in range(count):
            a = create(net, "veth", f"c{n}", peer=f"d{n}")
            b = net.dev_by_name[f"d{n}"]
            a.dev_addr = bytes((2, 0, 0, 0, 0, n))
            b.dev_addr = bytes((2, 0, 0, 0, 3, n))
            self.cables.append((a, b))
            br_add_if(self.bridges[n], a)
            br_add_if(self.bridges[(n + 1) % count], b)
        self.wires = [wire(self.kernel, f"w{n}") for n in range(count)]
        for n, br in enumerate(self.bridges):
            self.wires[n].dev_addr = bytes((2, 0, 0, 0, 2, n))
            br_add_if(br, self.wires[n])
            dev_open(br)
        for ends in self.cables:
            for end in ends:
                dev_open(end)
        self.kernel.leave()

    def states(self) -> list[tuple[str, str]]:
        return [(port_attr(a, "state"), port_attr(b, "state")) for a, b in self.cables]

    def arrive(self, at: int, src: bytes = A, dst: bytes = ALL) -> list[int]:
        """A frame comes in from a wire: how often it leaves by each of them."""
        for one in self.wires:
            ops_of(one).sent.clear()
        raw = frame(b"x", dst=dst, src=src)
        receive(self.wires[at], raw)
        return [ops_of(one).sent.count(raw) for one in self.wires]


def receive(dev: NetDevice, raw: bytes) -> None:
    dev.kernel.enter()
    skb = SkBuff(raw, 0, len(raw))
    if eth_type_trans(skb, dev):
        netif_rx(skb)
    dev.kernel.leave()


def bpdu(dev: NetDevice, **fields: int | bytes) -> None:
    """A configuration BPDU of a much better root arrives."""
    root = bytes((0, 1, 2, 0, 0, 0, 9, 9))
    values: dict[str, int | bytes] = {
        "flags": 0, "root": root, "cost": 0, "bridge": root, "port": 0x8001, "message_age": 0, "max_age": 20 * 256,
        "hello_time": 2 * 256, "forward_delay": 15 * 256, **fields,
    }  # fmt: skip
    send_bpdu(dev, stp.ConfigBpdu(**values))  # type: ignore[arg-type]  # by name


def send_bpdu(dev: NetDevice, one: stp.ConfigBpdu | stp.TcnBpdu) -> None:
    payload = stp.LLC + stp.build(one)
    receive(dev, frame(payload, len(payload), dst=stp.GROUP_ADDRESS, src=B))


def heard(dev: NetDevice) -> list[stp.ConfigBpdu | stp.TcnBpdu]:
    """The BPDUs that left by a wire, and forget them."""
    sent = ops_of(dev).sent
    found = [stp.parse(raw, 17) for raw in sent if raw[:6] == stp.GROUP_ADDRESS]
    sent.clear()
    return found


def one_bridge(**options: object) -> tuple[Kernel, NetDevice, NetDevice, NetDevice]:
    """A bridge with two wires, all up."""
    kernel = boot()
    br = kernel.dev_layer.create_device(kernel.init_net, "bridge", "br0", stp_state=1, **options)
    dev_open(br)
    wires = []
    for n in range(2):
        dev = wire(kernel, f"w{n}")
        dev.dev_addr = bytes((2, 0, 0, 0, 0, n + 1))
        br_add_if(br, dev)
        wires.append(dev)
    softirqs(kernel)
    return kernel, br, wires[0], wires[1]


# --- loops ------------------------------------------------------------------------------------------------------------


def test_a_triangle_converges_and_again_after_a_cut() -> None:
    ring = Ring()
    ring.kernel.sleep(40 * SECOND)
    assert {br_attr(br, "root_id") for br in ring.bridges} == {"8000.020000000000"}
    assert [br_attr(br, "root_path_cost") for br in ring.bridges] == ["0", "2", "2"]
    assert ring.states() == [(FORWARDING, FORWARDING), (FORWARDING, BLOCKING), (FORWARDING, FORWARDING)]
    assert ring.arrive(0) == [0, 1, 1]
    assert ring.arrive(1, B, A) == [1, 0, 0]
    ring.kernel.enter()
    dev_close(ring.cables[2][0])
    ring.kernel.leave()
    ring.kernel.sleep(60 * SECOND)
    assert [br_attr(br, "root_path_cost") for br in ring.bridges] == ["0", "2", "4"]
    assert ring.states()[:2] == [(FORWARDING, FORWARDING), (FORWARDING, FORWARDING)]
    assert ring.arrive(0) == [0, 1, 1]
    assert ring.arrive(2, B, A) == [1, 0, 0]
    assert ring.kernel.errors.total == 0


def test_nothing_passes_before_the_tree_stands() -> None:
    ring = Ring()
    ring.kernel.sleep(29 * SECOND)
    assert ring.arrive(0) == [0, 0, 0]
    assert A in bridge_ops(ring.bridges[0]).learned  # learning, though
    ring.kernel.sleep(10 * SECOND)
    assert ring.arrive(0) == [0, 1, 1]


def test_when_the_root_goes_another_one_is_found() -> None:
    ring = Ring()
    ring.kernel.sleep(40 * SECOND)
    ring.kernel.enter()
    unregister_netdev(ring.bridges[0])
    ring.kernel.leave()
    ring.kernel.sleep(60 * SECOND)
    assert {br_attr(br, "root_id") for br in ring.bridges[1:]} == {"8000.020000000001"}
    assert ring.arrive(1) == [0, 0, 1]


def test_priorities_and_costs_choose() -> None:
    ring = Ring()
    br_attr_store(ring.bridges[2], "priority", "0x1000")
    ring.kernel.sleep(40 * SECOND)
    assert {br_attr(br, "root_id") for br in ring.bridges} == {"1000.020000000002"}
    # Between bridges 0 and 1, 0 has the better identifier: 1 blocks there.
    assert ring.states()[0] == (FORWARDING, BLOCKING)
    port_attr_store(ring.cables[2][1], "path_cost", "100")  # bridge 0's way to the root is dear now
    ring.kernel.sleep(60 * SECOND)
    assert br_attr(ring.bridges[0], "root_path_cost") == "4"
    assert ring.states()[2] == (FORWARDING, BLOCKING)
    assert ring.arrive(0) == [0, 1, 1]


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 5), st.permutations(range(5)), st.integers(0, 4))
def test_any_ring_has_one_root_and_one_cut(count: int, priorities: list[int], cut: int) -> None:
    ring = Ring(count)
    for br, priority in zip(ring.bridges, priorities, strict=False):
        br_attr_store(br, "priority", str(priority * 4096))
    ring.kernel.sleep(90 * SECOND)
    best = min(range(count), key=lambda n: priorities[n])
    assert {br_attr(br, "root_id") for br in ring.bridges} == {br_attr(ring.bridges[best], "bridge_id")}
    assert sum(states.count(BLOCKING) for states in ring.states()) == 1
    assert ring.arrive(0) == [0] + [1] * (count - 1)
    ring.kernel.enter()
    dev_close(ring.cables[cut % count][0])
    ring.kernel.leave()
    ring.kernel.sleep(90 * SECOND)
    assert sum(states.count(BLOCKING) for states in ring.states()) == 0
    assert ring.arrive(0) == [0] + [1] * (count - 1)


# --- one bridge -------------------------------------------------------------------------------------------------------


def test_the_states_of_a_port_and_when() -> None:
    kernel, br, one, _ = one_bridge(forward_delay=400, hello_time=100)
    states = []
    for _ in range(9):
        states.append(port_attr(one, "state"))
        kernel.sleep(SECOND)
    assert states == ["1"] * 4 + ["2"] * 4 + ["3"]
    assert br.carrier
    dev_close(one)
    assert port_attr(one, "state") == "0"


def test_bpdus_as_linux_sends_them() -> None:
    """Recorded from Linux 6.18: a root with two ports of 02:00:00:00:00:01 and :02, and its changed topology."""
    kernel, _, one, _ = one_bridge(forward_delay=200, hello_time=100, max_age=600)
    kernel.sleep(SECOND)
    quiet = bytes.fromhex(
        "0180c200000002000000000100264242030000000000800002000000000100000000800002000000000180010000060001000200"
    )
    assert ops_of(one).sent == [quiet]
    kernel.sleep(4 * SECOND)
    changed = quiet[:21] + b"\1" + quiet[22:]
    assert ops_of(one).sent[-1] == changed
    assert {br_attr(kernel.init_net.dev_by_name["br0"], "topology_change"), len(quiet)} == {"1", 52}


def test_who_hears_a_better_root_follows_it() -> None:
    kernel, br, one, two = one_bridge()
    kernel.sleep(SECOND)
    bpdu(one, message_age=256, hello_time=3 * 256)
    assert br_attr(br, "root_id") == "0001.020000000909"
    assert (br_attr(br, "root_port"), br_attr(br, "root_path_cost"), br_attr(br, "hello_time")) == ("1", "100", "300")
    (relayed,) = heard(two)
    assert isinstance(relayed, stp.ConfigBpdu)
    assert (relayed.cost, relayed.message_age, relayed.hello_time) == (100, 257, 768)
    assert relayed.bridge.hex() == "8000020000000001"
    assert heard(one) == []
    kernel.sleep(19 * SECOND)  # max age, less what it was old
    assert br_attr(br, "root_id") == br_attr(br, "bridge_id") == "8000.020000000001"
    assert heard(one) != []


def test_a_worse_message_is_answered_at_once() -> None:
    kernel, _, one, _ = one_bridge()
    bpdu(one, root=b"\xff" * 8, bridge=b"\xff" * 8)
    assert len(heard(one)) == 1
    bpdu(one, root=b"\xff" * 8, bridge=b"\xff" * 8)
    assert heard(one) == []  # not more than one a second
    kernel.sleep(SECOND)
    assert len(heard(one)) == 1


def test_a_change_is_told_to_the_root_until_it_answers() -> None:
    kernel, br, one, two = one_bridge()
    kernel.sleep(SECOND)
    for _ in range(16):
        bpdu(one)
        kernel.sleep(2 * SECOND)
    told = heard(one)
    assert told[-1] == stp.TcnBpdu()
    assert br_attr(br, "topology_change_detected") == "1"
    kernel.sleep(2 * SECOND)
    assert heard(one) == [stp.TcnBpdu()]
    bpdu(one, flags=stp.FLAG_TC_ACK)
    assert (br_attr(br, "topology_change_detected"), br_attr(br, "tcn_timer")) == ("0", "0")
    send_bpdu(two, stp.TcnBpdu())  # a bridge below tells us
    assert heard(one) == [stp.TcnBpdu()]
    kernel.sleep(2 * SECOND)
    answered = [each for each in heard(two) if isinstance(each, stp.ConfigBpdu)]
    assert stp.FLAG_TC_ACK in {each.flags for each in answered}


def test_addresses_age_fast_while_the_topology_changes() -> None:
    kernel, br, one, two = one_bridge(forward_delay=400)
    kernel.sleep(10 * SECOND)
    br_attr_store(br, "stp_state", "1")
    assert br_attr(br, "topology_change") == "1"
    receive(one, frame(src=A))
    known = bridge_ops(br).learned
    kernel.sleep(3 * SECOND)
    assert A in known
    kernel.sleep(SECOND)
    assert A not in known
    kernel.sleep(30 * SECOND)
    assert br_attr(br, "topology_change") == "0"
    receive(two, frame(src=A))
    kernel.sleep(200 * SECOND)
    assert A in known


def test_root_block_and_bpdu_guard() -> None:
    _, br, one, two = one_bridge()
    port_attr_store(one, "root_block", "1")
    bpdu(one)
    assert (br_attr(br, "root_port"), port_attr(one, "state")) == ("0", "1")
    port_attr_store(two, "bpdu_guard", "1")
    bpdu(two)
    assert port_attr(two, "state") == "0"
    assert br_attr(br, "root_port") == "0"


def test_port_priority_decides_between_two_ways() -> None:
    _, br, one, two = one_bridge()
    bpdu(one, port=0x8001)
    bpdu(two, port=0x8001)
    assert (br_attr(br, "root_port"), port_attr(two, "state")) == ("1", BLOCKING)
    port_attr_store(two, "priority", "1")
    assert (port_attr(two, "port_id"), br_attr(br, "root_port")) == ("0x402", "1")
    port_attr_store(one, "path_cost", "200")
    assert br_attr(br, "root_port") == "2"


def test_turned_off_everything_forwards_and_nothing_is_said() -> None:
    kernel, br, one, two = one_bridge()
    kernel.sleep(31 * SECOND)
    br_attr_store(br, "stp_state", "0")
    heard(one), heard(two)
    kernel.sleep(10 * SECOND)
    assert heard(one) == []
    bpdu(one)  # it is a frame like any other now
    assert len(heard(two)) == 1
    dev_close(one)
    dev_open(one)
    assert port_attr(one, "state") == FORWARDING
    br_attr_store(br, "stp_state", "1")
    assert port_attr(one, "state") == FORWARDING


def test_a_bpdu_is_heard_by_programs_too() -> None:
    kernel, _, one, two = one_bridge()
    got = []
    dev_add_pack(PacketType(kernel.init_net, ETH_P_ALL, lambda skb, dev: got.append(dev.name)))  # type: ignore[arg-type,call-arg]
    before = one.stats.rx_nohandler
    bpdu(one)
    assert got[0] == "w0"
    assert (one.stats.rx_nohandler, "br0" in got, len(heard(two))) == (before, False, 1)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([0, 3, 6, 7]), st.integers(0, 20))
def test_no_bpdu_raises(raw: bytes, start: int, seconds: int) -> None:
    """Whatever comes for the bridges' group, the bridge lives on, and tells nobody of it but by BPDUs."""
    kernel, br, one, two = one_bridge()
    kernel.sleep(31 * SECOND)
    receive(one, frame((stp.LLC + bytes(4))[:start] + raw, start + len(raw), dst=stp.GROUP_ADDRESS, src=A))
    kernel.sleep(seconds * SECOND)
    assert all(each[:6] == stp.GROUP_ADDRESS for each in ops_of(two).sent)
    dev_close(br)
    assert port_attr(one, "state") == port_attr(two, "state") == "0"
    assert kernel.errors.total == 0
    two.queue_xmit(packet(two))


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [({"message_age": 5121}, False), ({"message_age": 5120}, True), ({"max_age": 0, "message_age": 0}, True)],
)
def test_what_is_too_old_is_not_believed(fields: dict[str, int | bytes], accepted: bool) -> None:
    _, br, one, _ = one_bridge()
    bpdu(one, **fields)
    assert (br_attr(br, "root_id") == "0001.020000000909") is accepted
