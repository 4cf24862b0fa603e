"""Routes as `ip route` changes them: several ways, types of service, metrics; a model of the table (fib_trie.c)."""

from __future__ import annotations

import errno

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.dgram_api import Host, fails
from support.hosts import HostApi, Hosts

from pysock.core.device import dev_close, dev_open, netif_carrier_off, netif_carrier_on
from pysock.families.inet import route
from pysock.families.inet.fib import (
    RT_SCOPE_HOST,
    RTAX_ADVMSS,
    RTAX_HOPLIMIT,
    RTAX_LOCK,
    RTAX_MTU,
    RTN_BLACKHOLE,
    RTN_BROADCAST,
    RTN_LOCAL,
    RTN_MULTICAST,
    RTN_THROW,
    RTN_UNICAST,
    FibEntry,
    FibTable,
    Nexthop,
    prefix_bits,
)
from pysock.families.inet.fib_config import add_route, del_route
from pysock.families.inet.fib_rules import Flow
from pysock.uapi.in_ import IP_MTU, IP_TOS, IPPROTO_IP
from pysock.uapi.netlink import NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE
from pysock.wire.addr import inet_aton as a

NET = a("192.0.2.0")
THERE = a("192.0.2.1")
APPEND = NLM_F_CREATE | NLM_F_APPEND
REPLACE = NLM_F_CREATE | NLM_F_REPLACE


def hops(host: Host) -> list[int]:
    """The last bytes of the gateways to NET, best first."""
    return [(entry.gateway or bytes(4))[3] for entry in host.inet.fib.main.at(NET, 24)]


def via(last: int) -> bytes:
    return bytes((10, 0, 0, last))


def test_add_append_prepend_replace(host: Host) -> None:
    """As `ip route` does it on Linux 6.18, step by step."""
    inet = host.inet
    add_route(inet, NET, 24, gateway=via(2))
    fails(errno.EEXIST, lambda: add_route(inet, NET, 24, gateway=via(3)))
    add_route(inet, NET, 24, gateway=via(3), flags=APPEND)
    fails(errno.EEXIST, lambda: add_route(inet, NET, 24, gateway=via(3), flags=APPEND))
    add_route(inet, NET, 24, gateway=via(4), flags=NLM_F_CREATE)
    assert hops(host) == [4, 2, 3]
    add_route(inet, NET, 24, gateway=via(5), flags=REPLACE)
    assert hops(host) == [5, 2, 3]
    fails(errno.EEXIST, lambda: add_route(inet, NET, 24, gateway=via(2), flags=REPLACE))
    fails(errno.ENOENT, lambda: add_route(inet, NET, 25, gateway=via(2), flags=NLM_F_REPLACE))
    add_route(inet, NET, 24, gateway=via(6), metric=7, flags=NLM_F_CREATE | NLM_F_EXCL)
    add_route(inet, NET, 24, gateway=via(7), tos=0x10)
    assert hops(host) == [7, 5, 2, 3, 6]
    del_route(inet, NET, 24)  # of no type of service
    assert hops(host) == [7, 2, 3, 6]
    fails(errno.ESRCH, lambda: del_route(inet, NET, 24, metric=8))
    del_route(inet, NET, 24, tos=0x10)
    assert inet.fib.plain


def test_what_a_route_may_be_made_of(host: Host) -> None:
    inet = host.inet
    fails(errno.EINVAL, lambda: add_route(inet, NET, 24, dev=host.dev, type=RTN_BLACKHOLE))
    fails(errno.EINVAL, lambda: add_route(inet, NET, 24, gateway=via(2), scope=RT_SCOPE_HOST))
    fails(errno.EINVAL, lambda: add_route(inet, NET, 24, gateway=via(255), dev=host.dev, onlink=True))
    fails(errno.EINVAL, lambda: add_route(inet, NET, 24, nexthops=(Nexthop(host.dev, via(2), 0),)))
    fails(errno.ENETUNREACH, lambda: add_route(inet, NET, 24, gateway=a("10.9.9.9"), dev=host.dev))
    add_route(inet, NET, 24, gateway=a("10.9.9.9"), dev=host.dev, onlink=True)
    assert route.output(inet, THERE).gateway == a("10.9.9.9")
    add_route(inet, a("198.51.100.0"), 24, gateway=a("10.0.0.1"))  # ourselves: on the link
    assert route.output(inet, a("198.51.100.1")).gateway is None
    add_route(inet, a("10.5.0.0"), 16, dev=host.kernel.init_net.loopback_dev, type=RTN_LOCAL)
    assert route.output(inet, a("10.5.1.1")).saddr == a("10.5.1.1")
    add_route(inet, a("10.6.0.0"), 16, dev=host.dev, type=RTN_BROADCAST)
    assert route.output(inet, a("10.6.1.1")).type == RTN_BROADCAST
    add_route(inet, a("224.1.0.0"), 16, dev=host.dev, type=RTN_MULTICAST)
    assert route.output(inet, a("224.1.2.3")).dev is host.dev


def test_throw_leaves_it_to_the_next_table(host: Host) -> None:
    add_route(host.inet, NET, 24, gateway=via(2), table=253)
    assert route.output(host.inet, THERE).gateway == via(2)
    add_route(host.inet, NET, 24, gateway=via(3))
    assert route.output(host.inet, THERE).gateway == via(3)
    add_route(host.inet, THERE, 32, type=RTN_THROW)
    assert route.output(host.inet, THERE).gateway == via(2)
    del_route(host.inet, NET, 24, table=253)
    fails(errno.ENETUNREACH, route.output, host.inet, THERE)


def test_a_type_of_service_has_its_route(host: Host) -> None:
    add_route(host.inet, NET, 24, gateway=via(2))
    add_route(host.inet, NET, 24, gateway=via(3), tos=0x10)
    fd = host.socket()
    host.connect(fd, ("192.0.2.1", 9))
    assert host.sk(fd).dst.gateway == via(2)  # type: ignore[union-attr]
    host.setopt(fd, IPPROTO_IP, IP_TOS, 0x12)  # the ECN bits do not count
    host.connect(fd, ("192.0.2.1", 9))
    assert host.sk(fd).dst.gateway == via(3)  # type: ignore[union-attr]


def test_metrics_of_a_route(host: Host) -> None:
    metrics = {RTAX_MTU: 1400, RTAX_LOCK: 1 << RTAX_MTU, RTAX_HOPLIMIT: 33, RTAX_ADVMSS: 1000}
    add_route(host.inet, NET, 24, gateway=via(2), metrics=metrics)
    fd = host.socket()
    host.connect(fd, ("192.0.2.1", 9))
    assert host.getint(fd, IPPROTO_IP, IP_MTU) == 1400
    host.sendto(fd, bytes(1373))
    first, second = host.sent()
    assert (first[8], second[8]) == (33, 33)  # hop limit, and cut although nobody asked for that
    rt = route.output(host.inet, THERE)
    assert (rt.mtu_locked, rt.metrics) == (True, metrics)


# --- several ways -----------------------------------------------------------------------------------------------------


@pytest.fixture
def fork() -> tuple[Hosts, HostApi]:
    """A host with two cables, eth0 10.0.0.1/24 and eth1 10.0.1.1/24."""
    lab = Hosts()
    one, two = lab.host("one"), lab.host("two")
    lab.cable(one, "10.0.0.1/24", two, "10.0.0.2/24")
    lab.cable(one, "10.0.1.1/24", two, "10.0.1.2/24")
    return lab, one


def split(host: HostApi, *weights: int) -> FibEntry:
    ways = zip((host.dev("eth0"), host.dev("eth1")), (a("10.0.0.2"), a("10.0.1.2")), weights, strict=True)
    return host.call(add_route, host.inet, NET, 24, nexthops=tuple(Nexthop(*way) for way in ways))


def shares(host: HostApi, port: int = 0) -> tuple[int, int]:
    """How many of 250 flows, each to another address, take either way; ``port`` for one address, many ports."""
    devs = []
    for i in range(250):
        flow = Flow(NET[:3] + bytes((1 if port else i + 1,)), a("10.0.0.1"))
        flow.sport, flow.dport, flow.protocol = port and port + i, 80, 6
        devs.append(route.output(host.inet, flow.daddr, flow=flow).dev.name)
    return devs.count("eth0"), devs.count("eth1")


def test_flows_spread_by_weight(fork: tuple[Hosts, HostApi]) -> None:
    _, one = fork
    split(one, 3, 1)
    first, second = shares(one)
    assert 150 <= first <= 225
    assert first + second == 250
    assert shares(one) == (first, second)  # a flow stays where it is


def test_ports_count_only_if_asked_for(fork: tuple[Hosts, HostApi]) -> None:
    _, one = fork
    split(one, 1, 1)
    assert 250 in shares(one, port=1000)
    one.sysctl("net.ipv4.fib_multipath_hash_policy", 1)
    assert min(shares(one, port=1000)) > 80


def test_ways_die_and_come_back(fork: tuple[Hosts, HostApi]) -> None:
    _, one = fork
    entry = split(one, 1, 1)
    eth1 = one.dev("eth1")
    one.call(netif_carrier_off, eth1)
    assert min(shares(one)) > 0  # Linux goes on, unless it is told to look
    one.sysctl("net.ipv4.conf.all.ignore_routes_with_linkdown", 1)
    assert shares(one) == (250, 0)
    assert one.inet.fib.lookup(a("10.0.1.9")) is None
    one.call(netif_carrier_on, eth1)
    assert min(shares(one)) > 0
    one.call(dev_close, eth1)
    assert shares(one) == (250, 0)
    assert [hop.dead for hop in entry.nexthops] == [False, True]
    one.call(dev_open, eth1)
    assert min(shares(one)) > 0
    one.call(dev_close, one.dev("eth0"))
    one.call(dev_close, eth1)
    assert entry not in one.inet.fib
    assert one.inet.fib.plain


def test_a_socket_bound_to_a_device_takes_its_way(fork: tuple[Hosts, HostApi]) -> None:
    _, one = fork
    split(one, 1, 1)
    for name in ("eth0", "eth1"):
        assert route.output(one.inet, THERE, oif=one.dev(name).ifindex).dev.name == name


def test_forwarded_flows_spread_too(fork: tuple[Hosts, HostApi]) -> None:
    lab, one = fork
    client = lab.host("client")
    lab.cable(client, "10.0.9.1/24", one, "10.0.9.254/24")
    client.route("0.0.0.0/0", via="10.0.9.254")
    one.sysctl("net.ipv4.ip_forward", 1)
    split(one, 1, 1)
    frames = [lab.record(one.dev(name)) for name in ("eth0", "eth1")]
    fd = client.socket()
    for i in range(40):
        client.sendto(fd, b"x", (f"192.0.2.{i + 1}", 9))
    lab.sleep(0.01)
    counts = [sum(f[12:14] == b"\x08\0" and f[30:33] == NET[:3] for f in some) for some in frames]
    assert min(counts) > 8
    assert sum(counts) == 40


# --- the table against its definition ---------------------------------------------------------------------------------

PLENS = st.integers(0, 32)
#: Few enough that routes meet, with bits at both ends.
ADDRESSES = st.builds(lambda high, low: high << 28 | low, st.integers(0, 3), st.integers(0, 15))
FLAGS = st.sampled_from((NLM_F_CREATE | NLM_F_EXCL, NLM_F_CREATE, APPEND, REPLACE, NLM_F_REPLACE))


TOS = st.sampled_from((0, 0, 4))


class TableModel(RuleBasedStateMachine):
    """`FibTable` does what a list of routes does, in Linux's order, that is searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.fib = FibTable()
        self.model: list[FibEntry] = []

    def peers(self, entry: FibEntry) -> list[FibEntry]:
        rank = entry.prefix, entry.plen, entry.tos, entry.metric
        return [one for one in self.model if (one.prefix, one.plen, one.tos, one.metric) == rank]

    @rule(address=ADDRESSES, plen=PLENS, tos=TOS, metric=st.integers(0, 2), gw=PLENS, flags=FLAGS)
    def add(self, address: int, plen: int, tos: int, metric: int, gw: int, flags: int) -> None:
        prefix = (address >> (32 - plen) << (32 - plen)).to_bytes(4, "big")
        entry = FibEntry(prefix, plen, RTN_UNICAST, None, bytes(4), bytes((1, 1, 1, gw)), metric, tos=tos)
        peers = self.peers(entry)
        others = peers[1:] if flags & NLM_F_REPLACE else peers
        if peers and (flags & NLM_F_EXCL or any(one.gateway == entry.gateway for one in others)):
            fails(errno.EEXIST, self.fib.add, entry, flags)
        elif not peers and not flags & NLM_F_CREATE:
            fails(errno.ENOENT, self.fib.add, entry, flags)
        else:
            assert self.fib.add(entry, flags) is (peers[0] if peers and flags & NLM_F_REPLACE else None)
            at = self.model.index(peers[0]) if peers else len(self.model)
            if peers and flags & NLM_F_REPLACE:
                self.model[at] = entry
            else:
                self.model.insert(self.model.index(peers[-1]) + 1 if peers and flags & NLM_F_APPEND else at, entry)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.model:
            entry = data.draw(st.sampled_from(self.model))
            self.model.remove(entry)
            self.fib.remove(entry)
            fails(errno.ESRCH, self.fib.remove, entry)

    @rule(address=ADDRESSES, tos=st.sampled_from((0, 4)))
    def lookup(self, address: int, tos: int) -> None:
        fitting = [
            one
            for one in self.model
            if prefix_bits(one.prefix, one.plen) == address >> (32 - one.plen) and one.tos in (0, tos)
        ]
        best = min(fitting, key=lambda one: (-one.plen, -one.tos, one.metric), default=None)  # the first of equals
        flow = Flow(address.to_bytes(4, "big"), tos=tos)
        assert self.fib.resolve(flow) is best
        if not tos:
            assert self.fib.lookup(flow.daddr) is best

    @invariant()
    def all_are_there(self) -> None:
        assert set(map(id, self.fib.entries())) == set(map(id, self.model))
        assert self.fib.plain == (not any(one.tos for one in self.model))


TableModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTable = TableModel.TestCase
