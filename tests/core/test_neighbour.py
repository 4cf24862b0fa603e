"""The neighbour state machine, its timers, its queue, its garbage (net/core/neighbour.c), with a family that a test
plays.
"""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import MAC, PEER, boot, make, ops_of, wire

from pysock.core.clock import NSEC_PER_MSEC, NSEC_PER_SEC
from pysock.core.device import NetDevice, dev_change_name, dev_close, netif_carrier_off
from pysock.core.kernel import Kernel
from pysock.core.neighbour import (
    NUD_CONNECTED,
    NUD_VALID,
    UPDATE_ADMIN,
    UPDATE_ISROUTER,
    UPDATE_OVERRIDE,
    UPDATE_OVERRIDE_ISROUTER,
    UPDATE_WEAK_OVERRIDE,
    Neighbour,
    NeighOps,
)
from pysock.core.neighbour_table import NeighTable, tables_of
from pysock.core.netdev_config import dev_set_mac_address
from pysock.core.netdev_register import register_netdev, unregister_netdev
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.uapi.neighbour import (
    NTF_ROUTER,
    NUD_DELAY,
    NUD_FAILED,
    NUD_INCOMPLETE,
    NUD_NAMES,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
    NUD_STALE,
)

KEY = b"\x01\x02"
OTHER = b"\x02\0\0\0\0\x03"
ETH = 0x88B5
HEADER = PEER + MAC + b"\x88\xb5"


class FakeOps(NeighOps):
    family = 99
    protocol = ETH
    key_len = 2
    name = "fake"
    sysctl = "net.fake.neigh"

    def __init__(self) -> None:
        self.asked: list[tuple[int, bytes | None]] = []
        self.failed: list[bytes] = []
        self.redone: list[SkBuff] = []

    def constructor(self, neigh: Neighbour) -> None:
        if neigh.key == b"\0\0":
            raise OSError(errno.EINVAL, "no such neighbour")
        if neigh.key[0] == 0xFF:
            neigh.nud_state = NUD_NOARP
            neigh.ha = neigh.dev.broadcast

    def solicit(self, neigh: Neighbour, skb: SkBuff | None) -> None:
        known = neigh.nud_state & NUD_VALID and neigh.probes < neigh.parms.ucast_probes
        self.asked.append((neigh.table.kernel.now, neigh.ha if known else None))

    def error_report(self, neigh: Neighbour, skb: SkBuff) -> None:
        self.failed.append(bytes(skb.head))
        kfree_skb(skb)

    def proxy_redo(self, skb: SkBuff) -> None:
        self.redone.append(skb)


class Route:
    def __init__(self) -> None:
        self.hh: bytes | None = b"unset"


class Bench:
    """A table, a device, one neighbour, and a clock."""

    def __init__(self) -> None:
        self.kernel: Kernel = boot()
        self.ops = FakeOps()
        self.dev: NetDevice = wire(self.kernel, "w0")
        self.table = NeighTable(self.kernel.init_net, self.ops)
        self.parms = self.table.parms_of(self.dev)
        self.parms.base_reachable_time = 0  # drawn from: see reachable()
        self.neigh = self.table.find(self.dev, KEY)
        self.start = self.kernel.now

    def skb(self, payload: bytes = b"x") -> SkBuff:
        skb = SkBuff(payload, 0, len(payload))
        skb.network_header = 0
        return skb

    def send(self, payload: bytes = b"x") -> int:
        return self.neigh.output(self.skb(payload))

    def sent(self) -> list[bytes]:
        frames = ops_of(self.dev).sent[:]
        ops_of(self.dev).sent.clear()
        return frames

    def sleep(self, seconds: float) -> None:
        self.kernel.sleep(int(seconds * NSEC_PER_SEC))

    def asked_at(self) -> list[float]:
        return [(when - self.start) / NSEC_PER_SEC for when, _ in self.ops.asked]

    def reachable(self, base_ms: int = 30_000) -> float:
        """Make the neighbour REACHABLE; the seconds it stays so."""
        self.parms.base_reachable_time = base_ms * NSEC_PER_MSEC
        assert self.neigh.update(PEER, NUD_REACHABLE, UPDATE_OVERRIDE) == 0
        return self.parms.reachable_time / NSEC_PER_SEC

    def state(self) -> str:
        return NUD_NAMES[self.neigh.nud_state]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_waits_leaves_when_the_answer_comes(bench: Bench) -> None:
    assert bench.send(b"one") == 0
    assert bench.send(b"two") == 0
    assert bench.state() == "INCOMPLETE"
    assert bench.asked_at() == [0]
    assert bench.sent() == []
    bench.reachable()
    assert bench.state() == "REACHABLE"
    assert bench.sent() == [HEADER + b"one", HEADER + b"two"]
    assert bench.neigh.queue_bytes == 0
    bench.send(b"three")
    assert bench.sent() == [HEADER + b"three"]


def test_silence_fails_after_three_questions_a_second_apart(bench: Bench) -> None:
    bench.send(b"one")
    bench.sleep(10)
    assert bench.asked_at() == [0, 1, 2]
    assert bench.state() == "FAILED"
    assert bench.ops.failed == [b"one"]
    assert bench.table.stats.res_failed == 1
    bench.send(b"two")  # asks again
    assert bench.state() == "INCOMPLETE"
    assert len(bench.ops.asked) == 4


def test_nobody_may_be_asked(bench: Bench) -> None:
    bench.parms.mcast_probes = 0
    assert bench.send() == -errno.EHOSTUNREACH
    assert bench.state() == "FAILED"
    assert not bench.ops.asked


def test_the_oldest_make_room_in_the_queue(bench: Bench) -> None:
    size = bench.skb(b"0").truesize
    bench.parms.queue_len_bytes = 2 * size
    for payload in (b"0", b"1", b"2", b"3"):
        bench.send(payload)
    assert bench.table.stats.unres_discards == 2
    assert bench.neigh.queue_bytes == 2 * size
    bench.reachable()
    assert bench.sent() == [HEADER + b"2", HEADER + b"3"]


def test_reachable_stale_delay_probe_failed(bench: Bench) -> None:
    route = Route()
    bench.neigh.attach(route)
    assert route.hh is None
    bench.send()
    lasts = bench.reachable()
    bench.sent()
    assert 15 <= lasts < 45
    assert route.hh == HEADER
    bench.ops.asked.clear()
    bench.sleep(lasts + 0.1)
    assert bench.state() == "STALE"
    assert route.hh is None
    bench.sleep(1000)
    assert (bench.state(), bench.ops.asked) == ("STALE", [])  # nobody cares, so nobody asks
    bench.start = bench.kernel.now
    bench.send(b"late")
    assert bench.sent() == [HEADER + b"late"]  # the address is probably good
    assert bench.state() == "DELAY"
    bench.sleep(5.5)
    assert bench.state() == "PROBE"
    assert bench.asked_at() == [5]
    assert bench.ops.asked[0][1] == PEER
    bench.send(b"still")
    assert bench.sent() == [HEADER + b"still"]
    bench.sleep(10)
    assert bench.asked_at() == [5, 6, 7]
    assert bench.state() == "FAILED"
    bench.send()
    assert bench.sent() == []


def test_a_probe_that_is_answered(bench: Bench) -> None:
    route = Route()
    bench.neigh.attach(route)
    bench.sleep(bench.reachable() + 1)
    bench.send()
    bench.sleep(5.5)
    assert bench.state() == "PROBE"
    bench.neigh.update(PEER, NUD_REACHABLE, UPDATE_OVERRIDE)
    assert bench.state() == "REACHABLE"
    assert route.hh == HEADER


def test_an_answer_extends_reachability(bench: Bench) -> None:
    lasts = bench.reachable()
    bench.sleep(lasts * 0.7)
    bench.neigh.update(PEER, NUD_REACHABLE, UPDATE_OVERRIDE)
    bench.sleep(lasts * 0.7)
    assert bench.state() == "REACHABLE"
    bench.sleep(lasts * 0.4)
    assert bench.state() == "STALE"


def test_an_upper_layers_confirmation_saves_the_probe(bench: Bench) -> None:
    bench.sleep(bench.reachable() + 1)
    bench.send()
    bench.neigh.confirm()
    assert bench.state() == "REACHABLE"
    bench.sleep(6)
    assert not bench.ops.asked


def test_a_confirmation_while_stale_counts_when_delay_ends(bench: Bench) -> None:
    bench.sleep(bench.reachable() + 1)
    bench.neigh.confirm()
    assert bench.state() == "STALE"
    bench.send()
    bench.sleep(5.5)
    assert bench.state() == "REACHABLE"
    assert not bench.ops.asked


def test_progress_confirms_only_when_it_grows(bench: Bench) -> None:
    bench.sleep(bench.reachable() + 1)
    bench.send()
    bench.neigh.hint_progress("tcp", 1000)  # acknowledged long ago, for all we know
    bench.neigh.hint_progress("tcp", 1000)
    bench.neigh.hint_progress("other", 5)
    assert bench.state() == "DELAY"
    bench.neigh.hint_progress("tcp", 1001)
    assert bench.state() == "REACHABLE"


def test_used_lately_goes_from_reachable_to_delay(bench: Bench) -> None:
    lasts = bench.reachable()
    bench.sleep(lasts - 1)
    bench.neigh.event_send(None)
    bench.sleep(1.1)
    assert bench.state() == "DELAY"


UPDATES = [
    # state, other address?, new state, flags -> address, state
    (NUD_REACHABLE, True, NUD_STALE, UPDATE_OVERRIDE, OTHER, NUD_STALE),
    (NUD_REACHABLE, True, NUD_REACHABLE, 0, PEER, NUD_REACHABLE),
    (NUD_REACHABLE, True, NUD_REACHABLE, UPDATE_WEAK_OVERRIDE, PEER, NUD_STALE),
    (NUD_STALE, True, NUD_REACHABLE, UPDATE_WEAK_OVERRIDE, PEER, NUD_STALE),
    (NUD_REACHABLE, False, NUD_STALE, UPDATE_OVERRIDE, PEER, NUD_REACHABLE),
    (NUD_REACHABLE, False, NUD_STALE, UPDATE_ADMIN, PEER, NUD_STALE),
    (NUD_STALE, False, NUD_REACHABLE, 0, PEER, NUD_REACHABLE),
    (NUD_STALE, False, NUD_PERMANENT, UPDATE_ADMIN, PEER, NUD_PERMANENT),
    (NUD_REACHABLE, False, NUD_FAILED, 0, PEER, NUD_FAILED),
]


@pytest.mark.parametrize(("old", "differs", "new", "flags", "address", "expected"), UPDATES)
def test_updates(bench: Bench, old: int, differs: bool, new: int, flags: int, address: bytes, expected: int) -> None:
    bench.neigh.update(PEER, old, UPDATE_OVERRIDE | UPDATE_ADMIN)
    route = Route()
    bench.neigh.attach(route)
    assert bench.neigh.update(OTHER if differs else PEER, new, flags) == 0
    assert (bench.neigh.ha, bench.neigh.nud_state) == (address, expected)
    assert route.hh == (address + MAC + b"\x88\xb5" if expected & NUD_CONNECTED else None)


def test_updates_that_are_refused(bench: Bench) -> None:
    neigh = bench.neigh
    assert neigh.update(None, NUD_REACHABLE, UPDATE_OVERRIDE) == -errno.EINVAL
    assert neigh.update(b"short", NUD_REACHABLE, UPDATE_OVERRIDE) == -errno.EINVAL
    neigh.update(PEER, NUD_PERMANENT, UPDATE_ADMIN)
    assert neigh.update(OTHER, NUD_REACHABLE, UPDATE_OVERRIDE) == -errno.EPERM
    assert neigh.ha == PEER
    bench.table.delete(neigh)
    assert neigh.update(PEER, NUD_REACHABLE, UPDATE_ADMIN) == -errno.EINVAL


def test_routers(bench: Bench) -> None:
    bench.reachable()
    bench.neigh.update(PEER, NUD_REACHABLE, UPDATE_OVERRIDE_ISROUTER | UPDATE_ISROUTER)
    assert bench.neigh.flags & NTF_ROUTER
    bench.neigh.update(PEER, NUD_REACHABLE, 0)
    assert bench.neigh.flags & NTF_ROUTER
    bench.neigh.update(PEER, NUD_REACHABLE, UPDATE_OVERRIDE_ISROUTER)
    assert not bench.neigh.flags & NTF_ROUTER


def test_known_without_asking(bench: Bench) -> None:
    neigh = bench.table.find(bench.dev, b"\xff\x01")
    route = Route()
    neigh.attach(route)
    assert route.hh == b"\xff" * 6 + MAC + b"\x88\xb5"
    neigh.output(bench.skb(b"all"))
    assert bench.sent() == [b"\xff" * 6 + MAC + b"\x88\xb5all"]


def test_a_dead_entry_sends_nothing(bench: Bench) -> None:
    bench.send(b"waits")
    route = Route()
    bench.neigh.attach(route)
    bench.table.delete(bench.neigh)
    assert bench.table.lookup(bench.dev, KEY) is None
    assert bench.send(b"late") == -errno.EHOSTUNREACH
    bench.sleep(10)
    assert (bench.sent(), bench.ops.failed, len(bench.ops.asked), route.hh) == ([], [], 1, None)


def test_a_held_route_does_not_keep_the_entry_alive(bench: Bench) -> None:
    route = Route()
    bench.neigh.attach(route)
    del route
    assert len(bench.neigh.users) == 0


def test_bad_keys(bench: Bench) -> None:
    for key in (b"", b"\x01", b"\x01\x02\x03", b"\0\0"):
        with pytest.raises(OSError) as caught:
            bench.table.find(bench.dev, key)
        assert caught.value.errno == errno.EINVAL
    assert bench.table.count == 1


# --- devices ----------------------------------------------------------------------------------------------------------


def test_a_device_that_goes_down_forgets(bench: Bench) -> None:
    bench.neigh.update(PEER, NUD_PERMANENT, UPDATE_ADMIN)
    dev_close(bench.dev)
    assert bench.table.entries() == []


def test_carrier_loss_keeps_permanent_entries(bench: Bench) -> None:
    bench.neigh.update(PEER, NUD_PERMANENT, UPDATE_ADMIN)
    bench.table.find(bench.dev, b"\x09\x09").update(PEER, NUD_REACHABLE, UPDATE_OVERRIDE)
    netif_carrier_off(bench.dev)
    assert bench.table.entries() == [bench.neigh]


def test_a_new_device_address_forgets(bench: Bench) -> None:
    bench.reachable()
    dev_close(bench.dev)
    dev_set_mac_address(bench.dev, OTHER)
    assert bench.table.entries() == []


def test_a_device_that_goes_takes_its_entries_proxies_and_sysctls(bench: Bench) -> None:
    bench.table.proxy_add(bench.dev, b"\x05\x05")
    bench.table.proxy_add(None, b"\x06\x06")
    sysctl = bench.kernel.init_net.sysctl
    assert sysctl.get("net.fake.neigh.w0.locktime") == 100
    unregister_netdev(bench.dev)
    assert bench.table.entries() == []
    assert bench.table.proxies.keys() == {b"\x06\x06"}
    assert "net.fake.neigh.w0.locktime" not in sysctl


# --- tunables ---------------------------------------------------------------------------------------------------------


def test_sysctls_of_a_device(bench: Bench) -> None:
    sysctl = bench.kernel.init_net.sysctl
    below = "net.fake.neigh.w0."
    assert len(sysctl.names("net.fake.neigh.w0")) == 17
    sysctl.set(below + "retrans_time_ms", 250)
    assert bench.parms.retrans_time == 250 * NSEC_PER_MSEC
    assert sysctl.get(below + "retrans_time") == 25
    sysctl.set(below + "mcast_solicit", 2)
    bench.send()
    bench.sleep(3)
    assert bench.asked_at() == [0, 0.25]
    sysctl.set("net.fake.neigh.default.ucast_solicit", 7)
    assert bench.parms.ucast_probes == 3  # it was made before
    late = make(bench.kernel, "late.5")
    register_netdev(late)
    assert bench.table.parms_of(late).ucast_probes == 7
    assert sysctl.read("net.fake.neigh.late/5.ucast_solicit") == "7\n"
    dev_change_name(late, "other")
    assert "net.fake.neigh.late/5.ucast_solicit" not in sysctl
    assert sysctl.get("net.fake.neigh.other.ucast_solicit") == 7


def test_reachable_time_is_drawn_around_the_base(bench: Bench) -> None:
    bench.parms.base_reachable_time = 10 * NSEC_PER_SEC
    drawn = set()
    for _ in range(20):
        value = bench.parms.reachable_time
        assert 5 * NSEC_PER_SEC <= value < 15 * NSEC_PER_SEC
        assert value == bench.parms.reachable_time
        drawn.add(value)
        bench.sleep(300)
    assert len(drawn) > 5


def test_statistics_as_text(bench: Bench) -> None:
    bench.send()
    bench.sleep(5)
    bench.table.lookup(bench.dev, b"\x09\x09")
    header, line = bench.kernel.init_net.proc["net/stat/fake"]().splitlines()
    assert header.startswith("entries  allocs   destroys hash_grows lookups ")
    counted = dict(zip(header.split(), (int(cell, 16) for cell in line.split()), strict=True))
    assert (counted["entries"], counted["allocs"], counted["lookups"], counted["hits"]) == (1, 1, 2, 0)
    assert (counted["res_failed"], counted["table_fulls"]) == (1, 0)


# --- garbage ----------------------------------------------------------------------------------------------------------


def fill(bench: Bench, n: int) -> None:
    for i in range(n):
        bench.table.find(bench.dev, (0x200 + i).to_bytes(2, "big")).update(PEER, NUD_STALE, UPDATE_OVERRIDE)


def test_nothing_is_collected_below_the_first_threshold(bench: Bench) -> None:
    fill(bench, 100)
    bench.sleep(1000)
    assert bench.table.count == 101
    assert bench.table.stats.periodic_gc_runs == 0


def test_unused_entries_go_above_the_first_threshold(bench: Bench) -> None:
    bench.table.delete(bench.neigh)
    fill(bench, 127)
    keep = bench.table.create(bench.dev, b"\x77\x77", exempt=True)
    keep.update(PEER, NUD_PERMANENT, UPDATE_ADMIN)
    fill(bench, 130)
    bench.sleep(200)
    assert bench.table.entries() == [keep]
    runs = bench.table.stats.periodic_gc_runs
    bench.sleep(1000)
    assert bench.table.stats.periodic_gc_runs == runs  # and no timer ticks for an empty table


def test_old_entries_make_room_and_a_full_table_says_so(bench: Bench) -> None:
    bench.table.gc_thresh1, bench.table.gc_thresh2, bench.table.gc_thresh3 = 0, 10, 20
    bench.table.delete(bench.neigh)
    fill(bench, 20)
    with pytest.raises(OSError) as caught:
        bench.table.find(bench.dev, b"\x50\x50")
    assert caught.value.errno == errno.ENOBUFS
    assert bench.table.stats.table_fulls == 1
    bench.table.create(bench.dev, b"\x60\x60", exempt=True)
    bench.sleep(6)
    bench.table.find(bench.dev, b"\x50\x50")
    assert bench.table.count == 11
    assert bench.table.lookup(bench.dev, b"\x02\x00") is None  # the oldest went


# --- proxies ----------------------------------------------------------------------------------------------------------


def test_proxy_entries(bench: Bench) -> None:
    table, dev = bench.table, bench.dev
    table.proxy_add(dev, KEY)
    assert table.proxy_add(dev, KEY) is table.proxy_lookup(dev, KEY)
    assert table.proxy_lookup(dev, b"\x03\x03") is None
    table.proxy_delete(dev, KEY)
    assert table.proxy_lookup(dev, KEY) is None
    with pytest.raises(OSError) as caught:
        table.proxy_delete(dev, KEY)
    assert caught.value.errno == errno.ENOENT
    table.proxy_add(None, KEY, router=True)
    found = table.proxy_lookup(dev, KEY)
    assert found is not None
    assert found.flags == NTF_ROUTER


def test_proxies_answer_later_and_not_too_many(bench: Bench) -> None:
    bench.parms.proxy_qlen = 2
    for _ in range(3):
        bench.table.proxy_enqueue(bench.parms, bench.skb())
    assert bench.ops.redone == []
    bench.sleep(0.8)
    assert len(bench.ops.redone) == 2


# --- listeners, and everything at once --------------------------------------------------------------------------------


def test_listeners_hear_of_changes(bench: Bench) -> None:
    heard: list[tuple[int, bool]] = []
    tables_of(bench.kernel.init_net).listeners = (lambda neigh: heard.append((neigh.nud_state, neigh.dead)),)
    bench.reachable()
    bench.table.delete(bench.neigh)
    assert heard == [(NUD_REACHABLE, False), (NUD_NOARP, True)]


STATES = (NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE, NUD_FAILED, NUD_PERMANENT, NUD_NOARP, NUD_INCOMPLETE)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send")),
        st.tuples(st.just("confirm")),
        st.tuples(st.just("sleep"), st.floats(0.001, 60)),
        st.tuples(
            st.just("update"), st.sampled_from((PEER, OTHER, None)), st.sampled_from(STATES), st.integers(0, 255)
        ),
    ),
    max_size=20,
)


@given(STEPS)
def test_any_order_of_events_keeps_the_invariants(steps: list[tuple[object, ...]]) -> None:
    """Every packet is sent, waiting, discarded or reported; hh stands in the route exactly while connected."""
    bench = Bench()
    bench.parms.base_reachable_time = 30 * NSEC_PER_SEC
    route = Route()
    neigh = bench.neigh
    neigh.attach(route)
    given_out = 0
    for step in steps:
        if step[0] == "send":
            given_out += neigh.output(bench.skb()) == 0
        elif step[0] == "confirm":
            neigh.confirm()
        elif step[0] == "sleep":
            bench.sleep(step[1])  # type: ignore[arg-type]
        else:
            neigh.update(step[1], step[2], step[3])  # type: ignore[arg-type]
        state = neigh.nud_state
        assert (route.hh is not None) == bool(state & NUD_CONNECTED)
        if route.hh is not None:
            assert route.hh[:6] == neigh.ha
        waiting = len(neigh.queue)
        assert not waiting or state & NUD_INCOMPLETE
        assert len(ops_of(bench.dev).sent) + waiting + len(bench.ops.failed) == given_out
    bench.sleep(3600)
    timer = neigh.timer
    assert timer is None or not timer.pending  # at rest
