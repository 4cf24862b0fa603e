"""Simulated CPUs: where packets are received and sent, in which order, and what becomes of a CPU that can't keep up."""

from __future__ import annotations

import contextlib
import errno
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.inet_api import InetSocket, connection

from pysock.core.device import NetDevice, dev_open, netif_napi_add
from pysock.core.flow import reciprocal_scale, skb_get_hash
from pysock.core.kernel import Kernel
from pysock.core.rps import (
    FlowLimit,
    SockFlows,
    netif_set_rps_cpus,
    netif_set_rps_flow_cnt,
    netif_set_xps_cpus,
    round_up_to_power,
)
from pysock.core.skbuff import SkBuff, consume_skb
from pysock.core.sockopt import sock_getsockopt, sock_setsockopt
from pysock.core.softirq import NAPI_POLL_WEIGHT, NET_RX_DROP, NET_RX_SUCCESS, NETDEV_BUDGET
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.socket import SO_INCOMING_CPU, SO_REUSEPORT, SOCK_DGRAM, SOCK_STREAM
from pysock.wire import ipv4

CPUS = 4
ALL = (1 << CPUS) - 1


def boot(cpus: int = CPUS, **options: object) -> Kernel:
    return Kernel.boot(clock="virtual", seed=1, entry_points=False, cpus=cpus, **options)  # type: ignore[arg-type]


def udp(flow: int, number: int = 0) -> SkBuff:
    """Packet ``number`` of a flow, as a device hands it in."""
    payload = struct.pack("!HHHHI", 10_000 + flow, 9, 12, 0, number)
    packet = ipv4.build(b"\x0a\0\0\1", b"\x0a\0\0\2", 17, payload)
    skb = SkBuff(packet, 0, len(packet))
    skb.protocol = ETH_P_IP
    return skb


class Bench:
    """A kernel whose packets end here: `seen` has (CPU, flow, number) in the order of their arrival."""

    def __init__(self, kernel: Kernel | None = None) -> None:
        self.kernel = boot() if kernel is None else kernel
        self.seen: list[tuple[int, int, int]] = []
        self.kernel.softnet.use(self.take)
        dev = self.kernel.init_net.loopback_dev
        assert dev is not None
        self.dev: NetDevice = dev

    def take(self, skb: SkBuff) -> int:
        port, _, _, _, number = struct.unpack_from("!HHHHI", skb.head, skb.data + 20)
        self.seen.append((self.kernel.softnet.cpu, port - 10_000, number))
        consume_skb(skb)
        return NET_RX_SUCCESS

    def rx(self, flow: int, number: int = 0) -> int:
        skb = udp(flow, number)
        skb.dev = self.dev
        return self.kernel.softnet.netif_rx(skb)

    def enter(self, cpu: int = 0) -> None:
        self.kernel.set_cpu(cpu)
        self.kernel.enter()

    def cpu_of(self, flow: int) -> int:
        return next(cpu for cpu, one, _ in self.seen if one == flow)


def test_without_rules_a_packet_is_received_where_it_came(benched: Bench) -> None:
    for cpu in (2, 0, 3):
        benched.enter(cpu)
        benched.rx(cpu)
        benched.kernel.leave()
    assert benched.seen == [(2, 2, 0), (0, 0, 0), (3, 3, 0)]
    assert [cpu.processed for cpu in benched.kernel.cpus] == [1, 0, 1, 1]
    assert benched.kernel.softnet.processed == 3
    assert not any(cpu.received_rps for cpu in benched.kernel.cpus)


@pytest.fixture
def benched() -> Bench:
    return Bench()


def test_rps_spreads_flows_and_keeps_each_in_order(benched: Bench) -> None:
    netif_set_rps_cpus(benched.dev, 0, ALL)
    benched.enter()
    for number in range(5):
        for flow in range(40):
            assert benched.rx(flow, number) == NET_RX_SUCCESS
    benched.kernel.leave()
    used = {cpu for cpu, _, _ in benched.seen}
    assert used == {0, 1, 2, 3}
    for flow in range(40):
        mine = [(cpu, number) for cpu, one, number in benched.seen if one == flow]
        assert [number for _, number in mine] == [0, 1, 2, 3, 4]
        assert len({cpu for cpu, _ in mine}) == 1
        assert mine[0][0] == reciprocal_scale(skb_get_hash(_at_network(flow)), CPUS)
    share = [sum(1 for cpu, _, number in benched.seen if cpu == one and not number) for one in range(CPUS)]
    assert min(share) >= 4  # of ten each
    assert [cpu.received_rps for cpu in benched.kernel.cpus] == [0, 1, 1, 1]  # one call woke each of the others


def _at_network(flow: int) -> SkBuff:
    skb = udp(flow)
    skb.network_header = 0
    return skb


def test_only_the_cpus_of_the_mask(benched: Bench) -> None:
    netif_set_rps_cpus(benched.dev, 0, 0b1010 | 1 << 40)  # the last one there is not
    benched.enter()
    for flow in range(30):
        benched.rx(flow)
    arp = SkBuff(bytes(28), 0, 28)
    arp.protocol, arp.dev = 0x0806, benched.dev
    assert benched.kernel.softnet.netif_rx(arp) == NET_RX_SUCCESS  # no flow: received here
    assert len(benched.kernel.cpus[0].input_pkt_queue) == 1
    benched.kernel.cpus[0].input_pkt_queue.clear()
    benched.kernel.leave()
    assert {cpu for cpu, _, _ in benched.seen} == {1, 3}
    netif_set_rps_cpus(benched.dev, 0, 0)
    benched.seen.clear()
    benched.enter()
    benched.rx(1)
    benched.kernel.leave()
    assert benched.seen == [(0, 1, 0)]


def test_a_full_backlog_drops_there_alone(benched: Bench) -> None:
    netif_set_rps_cpus(benched.dev, 0, ALL)
    benched.enter()
    for flow in range(20):
        benched.rx(flow)
    benched.kernel.leave()
    one = benched.cpu_of(0)
    other = next(flow for flow in range(20) if benched.cpu_of(flow) != one)
    benched.kernel.init_net.sysctl.set("net.core.netdev_max_backlog", 10)
    benched.enter()
    results = [benched.rx(0, number) for number in range(15)]
    assert results == [NET_RX_SUCCESS] * 10 + [NET_RX_DROP] * 5
    assert benched.rx(other) == NET_RX_SUCCESS
    benched.kernel.leave()
    assert [cpu.dropped for cpu in benched.kernel.cpus] == [5 if number == one else 0 for number in range(CPUS)]
    rows = benched.kernel.init_net.proc["net/softnet_stat"]().splitlines()
    assert [int(row.split()[1], 16) for row in rows] == [cpu.dropped for cpu in benched.kernel.cpus]
    assert [int(row.split()[12], 16) for row in rows] == [0, 1, 2, 3]
    assert all(len(row.split()) == 15 for row in rows)
    assert int(rows[one].split()[0], 16) == benched.kernel.cpus[one].processed


def test_cpus_take_turns(benched: Bench) -> None:
    """No CPU waits until another has nothing left: each does one budget, then the next one's turn comes."""
    netif_set_rps_cpus(benched.dev, 0, ALL)
    benched.enter()
    for flow in range(20):
        benched.rx(flow)
    benched.kernel.leave()
    flows = [next(flow for flow in range(20) if benched.cpu_of(flow) == cpu) for cpu in (1, 2)]
    benched.seen.clear()
    benched.enter()
    for number in range(500):
        for flow in flows:
            benched.rx(flow, number)
    benched.kernel.leave()
    turns = [cpu for at, (cpu, _, _) in enumerate(benched.seen) if not at or benched.seen[at - 1][0] != cpu]
    assert turns == [1, 2, 1, 2]
    assert [cpu for cpu, _, _ in benched.seen[:NETDEV_BUDGET]] == [1] * NETDEV_BUDGET
    assert [cpu.time_squeeze for cpu in benched.kernel.cpus] == [0, 1, 1, 0]


def test_polls_on_one_cpu_do_not_starve_another(benched: Bench) -> None:
    """A device that always has more keeps its CPU busy; what is on the others is done meanwhile."""
    polls: list[int] = []

    def poll(budget: int) -> int:
        polls.append(len(benched.seen))
        return budget

    busy = netif_napi_add(benched.dev, poll)
    netif_set_rps_cpus(benched.dev, 0, 0b0100)
    benched.enter()
    busy.schedule()
    for number in range(3):
        benched.rx(1, number)
    benched.kernel.leave()
    assert [cpu for cpu, _, _ in benched.seen] == [2] * 3
    assert polls.index(3) == -(-NETDEV_BUDGET // NAPI_POLL_WEIGHT)  # behind one budget of the first CPU
    assert benched.kernel.softnet.pending  # it goes on when somebody comes by
    assert benched.kernel.cpus[0].time_squeeze


def test_a_poll_hands_over_what_a_rule_sends_elsewhere(benched: Bench) -> None:
    """netif_receive_skb: up the stack at once on this CPU, or onto the backlog of the one that is to receive it."""
    from pysock.core.dev import netif_receive_skb

    def poll(budget: int) -> int:
        for flow in range(12):
            skb = udp(flow)
            skb.dev = benched.dev
            netif_receive_skb(skb)
        arp = SkBuff(bytes(40), 0, 40)
        arp.protocol, arp.dev = 0x0806, benched.dev
        netif_receive_skb(arp)
        napi.complete_done(13)
        return 13

    napi = netif_napi_add(benched.dev, poll)
    benched.enter(1)
    napi.schedule()
    benched.kernel.leave()
    assert {cpu for cpu, _, _ in benched.seen} == {1}  # the CPU that its interrupt came in on
    benched.seen.clear()
    netif_set_rps_cpus(benched.dev, 0, 0b1101)
    benched.enter(1)
    napi.schedule()
    benched.kernel.leave()
    assert benched.seen[0][0] == 1  # ARP is no flow: received where it is
    assert {cpu for cpu, _, _ in benched.seen[1:]} == {0, 2, 3}


def test_a_flow_limit_keeps_half_the_backlog_for_others() -> None:
    bench = Bench()
    sysctl = bench.kernel.init_net.sysctl
    sysctl.set("net.core.netdev_max_backlog", 200)
    sysctl.set("net.core.flow_limit_cpu_bitmap", "1")
    bench.enter()
    results = [bench.rx(0, number) for number in range(200)]
    assert results.count(NET_RX_DROP) == 200 - 100 - 64  # half the backlog, and half of the history on top
    assert all(bench.rx(flow) == NET_RX_SUCCESS for flow in range(1, 30))
    bench.kernel.leave()
    row = bench.kernel.init_net.proc["net/softnet_stat"]().split()
    assert int(row[10], 16) == int(row[1], 16) == 36
    sysctl.set("net.core.flow_limit_cpu_bitmap", "0")
    bench.enter()
    assert [bench.rx(0, number) for number in range(200)] == [NET_RX_SUCCESS] * 200
    bench.kernel.leave()
    for bad in ("x", "-1z"):
        with pytest.raises(OSError, match="Invalid"):
            sysctl.set("net.core.flow_limit_cpu_bitmap", bad)
    with pytest.raises(OSError, match="Invalid"):
        sysctl.set("net.core.flow_limit_table_len", 100)


def test_a_flow_limit_forgets(benched: Bench) -> None:
    """A flow that was heavy is let in again when others have sent meanwhile."""
    limit = FlowLimit()
    assert [limit.exceeded(udp(0)) for _ in range(66)] == [False] * 64 + [True] * 2
    for flow in range(1, 129):
        assert not limit.exceeded(udp(flow))
    assert not limit.exceeded(udp(0))
    assert limit.count == 2


# --- readers ----------------------------------------------------------------------------------------------------------


def rfs(kernel: Kernel, entries: int = 256) -> NetDevice:
    """The loopback device, whose flows follow their readers."""
    lo = kernel.init_net.loopback_dev
    assert lo is not None
    netif_set_rps_cpus(lo, 0, ALL)
    netif_set_rps_flow_cnt(lo, 0, entries)
    kernel.init_net.sysctl.set("net.core.rps_sock_flow_entries", entries)
    return lo


def incoming_cpu(sock: InetSocket) -> int:
    number: int = struct.unpack("=i", sock_getsockopt(sock.sock, SO_INCOMING_CPU, 4))[0]
    return number


@pytest.mark.parametrize("cpu", range(CPUS))
def test_a_connection_follows_its_reader(cpu: int) -> None:
    kernel = boot()
    rfs(kernel)
    _, client, server = connection(kernel)
    for reader in (cpu, (cpu + 1) % CPUS):
        client.send(b"x")
        kernel.set_cpu(reader)
        assert server.recv() == b"x"  # from now on it is known where it is read
        kernel.set_cpu(0)
        before = [one.processed for one in kernel.cpus]
        client.send(b"y")
        client.send(b"z")
        kernel.set_cpu(reader)
        assert server.recv() == b"yz"
        kernel.set_cpu(0)
        after = [one.processed - was for one, was in zip(kernel.cpus, before, strict=True)]
        assert after[reader] >= 2
        assert incoming_cpu(server) == reader


def test_a_packet_that_was_handed_on_is_not_touched_any_more() -> None:
    """The checker of packets finds nobody looking at one that its receiver has freed."""
    kernel = boot(debug_skb=True)
    rfs(kernel)
    _, client, server = connection(kernel)
    a, b = InetSocket(kernel, SOCK_DGRAM), InetSocket(kernel, SOCK_DGRAM)
    a.bind(("127.0.0.1", 0))
    b.bind(("127.0.0.1", 0))
    a.connect(b.name())
    for _ in range(3):
        client.send(b"x" * 3000)
        assert server.recv() == b"x" * 3000
        a.send(b"y")
        assert b.recv() == b"y"
    b.close()
    a.send(b"nobody listens")
    server.close()
    client.close()


def test_datagrams_of_a_connected_socket_follow_it_too() -> None:
    kernel = boot()
    rfs(kernel)
    a, b = InetSocket(kernel, SOCK_DGRAM), InetSocket(kernel, SOCK_DGRAM)
    a.bind(("127.0.0.1", 0))
    b.bind(("127.0.0.1", 0))
    assert incoming_cpu(b) == -1
    a.connect(b.name())
    b.connect(a.name())
    a.send(b"1")
    kernel.set_cpu(3)
    assert b.recv() == b"1"
    kernel.set_cpu(0)
    a.send(b"2")
    assert incoming_cpu(b) == 3


@pytest.mark.parametrize("kind", [SOCK_STREAM, SOCK_DGRAM])
def test_each_cpu_has_a_server_of_its_own(kind: int) -> None:
    """SO_REUSEPORT with SO_INCOMING_CPU: who takes a flow is on the CPU where it comes in."""
    kernel = boot()
    lo = kernel.init_net.loopback_dev
    assert lo is not None
    netif_set_rps_cpus(lo, 0, ALL)
    servers = []
    for cpu in range(CPUS):
        server = InetSocket(kernel, kind)
        for option, value in ((SO_REUSEPORT, 1), (SO_INCOMING_CPU, cpu)):
            sock_setsockopt(server.sock, kernel.creds, option, struct.pack("=i", value))
        server.bind(("127.0.0.1", 9000))
        if kind == SOCK_STREAM:
            server.listen(50)
        servers.append(server)
    cpus = []
    for _ in range(20):
        client = InetSocket(kernel, kind)
        client.bind(("127.0.0.1", 0))
        before = [one.processed for one in kernel.cpus]
        client.connect(("127.0.0.1", 9000))
        client.send(b"x")
        took = []
        for cpu, server in enumerate(servers):
            with contextlib.suppress(BlockingIOError):
                end = server.accept() if kind == SOCK_STREAM else server
                assert end.recv() == b"x"
                took.append(cpu)
                if kind == SOCK_STREAM:
                    assert incoming_cpu(end) == cpu
                else:
                    assert kernel.cpus[cpu].processed == before[cpu] + 1  # the one packet that there was
        assert len(took) == 1
        cpus += took
    assert set(cpus) == set(range(CPUS))


def test_a_flow_changes_its_cpu_only_when_nothing_of_it_waits() -> None:
    """Or the new packets would overtake the old ones."""
    bench = Bench()
    rfs(bench.kernel)
    front = bench.kernel.softnet
    hash = skb_get_hash(_at_network(0))
    bench.enter()
    front.readers.record(hash, 1)  # type: ignore[attr-defined]  # a Front
    bench.rx(0, 0)
    front.readers.record(hash, 2)  # type: ignore[attr-defined]  # as above
    bench.rx(0, 1)
    bench.kernel.leave()
    assert bench.seen == [(1, 0, 0), (1, 0, 1)]
    bench.enter()
    bench.rx(0, 2)
    bench.kernel.leave()
    assert bench.seen[-1] == (2, 0, 2)


@given(st.lists(st.one_of(st.tuples(st.just("reader"), st.integers(0, 3), st.integers(0, 3)),
                          st.tuples(st.just("rx"), st.integers(0, 3), st.integers(1, 4)),
                          st.just(("run", 0, 0))), max_size=40))  # fmt: skip
def test_whatever_readers_do_flows_keep_their_order(steps: list[tuple[str, int, int]]) -> None:
    """Once a flow has a reader, its packets never overtake each other, wherever the reader goes."""
    bench = Bench()
    rfs(bench.kernel)
    front = bench.kernel.softnet
    bench.enter()
    for flow in range(4):
        front.readers.record(skb_get_hash(_at_network(flow)), 0)  # type: ignore[attr-defined]  # a Front
    sent = [0] * 4
    for what, flow, number in steps:
        if what == "reader":
            front.readers.record(skb_get_hash(_at_network(flow)), number)  # type: ignore[attr-defined]  # as above
        elif what == "rx":
            for _ in range(number):
                bench.rx(flow, sent[flow])
                sent[flow] += 1
        else:
            front.run_pending()
    bench.kernel.leave()
    for flow in range(4):
        assert [number for _, one, number in bench.seen if one == flow] == list(range(sent[flow]))


def test_tables() -> None:
    assert [round_up_to_power(n) for n in (0, 1, 2, 3, 1000)] == [0, 1, 2, 4, 1024]
    flows = SockFlows()
    flows.resize(4)
    flows.record(0x11, 2)
    assert flows.reader(0x11) == 2
    assert flows.reader(0x21) == -1  # the same place, another flow
    flows.record(0x21, 3)
    assert flows.reader(0x11) == -1
    with pytest.raises(OSError, match="Invalid"):
        flows.resize((1 << 29) + 1)


# --- sending ----------------------------------------------------------------------------------------------------------


def test_a_cpu_sends_through_its_queues() -> None:
    """XPS: and on a veth pair, what leaves by a queue comes in by the other end's of the same number."""
    bench = Bench()
    net = bench.kernel.init_net
    dev = bench.kernel.dev_layer.create_device(net, "veth", "v0", peer="v1", num_tx_queues=4, num_rx_queues=4)
    peer = net.dev_by_name["v1"]
    bench.enter()
    dev_open(dev)
    dev_open(peer)
    queues: list[int] = []

    def take(skb: SkBuff) -> int:
        if skb.protocol == ETH_P_IP:  # a device that comes up says something of its own, too
            queues.append(skb.queue_mapping)
        return NET_RX_SUCCESS

    bench.kernel.softnet.use(take)
    bench.kernel.leave()

    def send(cpu: int, flows: range) -> list[int]:
        queues.clear()
        bench.enter(cpu)
        for flow in flows:
            inner = udp(flow)
            frame = peer.dev_addr + dev.dev_addr + b"\x08\x00" + bytes(inner.head)
            skb = SkBuff(frame, 0, len(frame))
            skb.protocol, skb.network_header, skb.dev = ETH_P_IP, 14, dev
            assert dev.queue_xmit(skb) == 0
        bench.kernel.leave()
        return [number - 1 for number in queues]

    by_flow = send(0, range(40))
    assert set(by_flow) == {0, 1, 2, 3}
    assert send(2, range(40)) == by_flow  # by the flow alone
    netif_set_xps_cpus(dev, 3, 0b0001)
    netif_set_xps_cpus(dev, 1, 0b0110)
    netif_set_xps_cpus(dev, 2, 0b0100)
    assert set(send(0, range(10))) == {3}
    assert set(send(1, range(10))) == {1}
    assert set(send(2, range(20))) == {1, 2}
    assert send(3, range(40)) == by_flow  # no queue is for this CPU: all are
    for queue in (1, 2, 3):
        netif_set_xps_cpus(dev, queue, 0)
    assert send(0, range(40)) == by_flow


def test_each_receive_queue_has_rules_of_its_own() -> None:
    bench = Bench()
    dev = bench.kernel.dev_layer.create_device(bench.kernel.init_net, "veth", "v0", peer="v1", num_rx_queues=2)
    bench.dev = dev
    netif_set_rps_cpus(dev, 0, 0b0010)
    netif_set_rps_cpus(dev, 1, 0b1000)
    bench.enter()
    for recorded in (0, 1, 2, 3):
        skb = udp(recorded)
        skb.dev, skb.queue_mapping = dev, recorded
        bench.kernel.softnet.netif_rx(skb)
    bench.kernel.leave()
    assert {flow: cpu for cpu, flow, _ in bench.seen} == {0: 1, 1: 1, 2: 3, 3: 1}


def test_refusals() -> None:
    kernel = boot()
    lo = kernel.init_net.loopback_dev
    assert lo is not None
    for call, number in (
        (lambda: netif_set_rps_cpus(lo, 1, 1), errno.ENOENT),
        (lambda: netif_set_rps_cpus(lo, 0, -1), errno.EINVAL),
        (lambda: netif_set_rps_flow_cnt(lo, 0, -1), errno.EINVAL),
        (lambda: netif_set_rps_flow_cnt(lo, 0, 1 << 30), errno.EINVAL),
        (lambda: netif_set_xps_cpus(lo, 1, 1), errno.ENOENT),
        (lambda: kernel.set_cpu(4), errno.EINVAL),
        (lambda: kernel.set_cpu(-1), errno.EINVAL),
        (lambda: kernel.dev_layer.create_device(kernel.init_net, "veth", num_tx_queues=0), errno.EINVAL),
    ):
        with pytest.raises(OSError) as info:
            call()
        assert info.value.errno == number
    for cpus in (0, 257):
        with pytest.raises(ValueError, match="cpus"):
            boot(cpus)


# --- threads, and one CPU ---------------------------------------------------------------------------------------------


def test_threads_are_where_they_say() -> None:
    kernel = boot()
    kernel.set_cpu(1)
    found: list[int] = []

    def elsewhere() -> None:
        kernel.enter()
        found.append(kernel.softnet.cpu)
        kernel.leave()
        kernel.set_cpu(3)
        kernel.enter()
        found.append(kernel.softnet.cpu)
        kernel.leave()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    kernel.enter()
    found.append(kernel.softnet.cpu)
    kernel.leave()
    assert found == [0, 3, 1]


def test_a_device_that_goes_leaves_no_backlog(benched: Bench) -> None:
    from pysock.core.device import unregister_netdev

    dev = benched.kernel.dev_layer.create_device(benched.kernel.init_net, "veth", "v0", peer="v1")
    netif_set_rps_cpus(dev, 0, ALL)
    benched.enter()
    benched.dev = dev
    for flow in range(20):
        benched.rx(flow)
    unregister_netdev(dev)
    assert dev.stats.rx_dropped == 20
    benched.kernel.leave()
    assert benched.seen == []


def test_one_cpu_is_the_plain_thing() -> None:
    """No front, no steering; the settings may be made and change nothing."""
    bench = Bench(boot(1))
    assert bench.kernel.cpus == (bench.kernel.softnet,)
    netif_set_rps_cpus(bench.dev, 0, ALL)
    bench.kernel.init_net.sysctl.set("net.core.rps_sock_flow_entries", 1024)
    bench.enter()
    bench.rx(1)
    bench.kernel.leave()
    assert bench.seen == [(0, 1, 0)]
    assert len(bench.kernel.init_net.proc["net/softnet_stat"]().splitlines()) == 1
    kernel = boot(1)
    _, client, server = connection(kernel)
    client.send(b"x")
    assert server.recv() == b"x"
    assert incoming_cpu(server) == 0
    assert incoming_cpu(InetSocket(kernel)) == -1


def test_the_same_run_twice() -> None:
    """A dozen connections over four CPUs: packet by packet the same."""

    def run() -> list[tuple[int, int]]:
        kernel = boot()
        rfs(kernel)
        trace: list[tuple[int, int]] = []
        receive = kernel.softnet.receive

        def traced(skb: SkBuff) -> int:
            trace.append((kernel.softnet.cpu, hash(bytes(skb.head[skb.data :]))))
            return receive(skb)

        kernel.softnet.use(traced)
        pairs = [connection(kernel, 9000 + n)[1:] for n in range(12)]
        for turn in range(4):
            for n, (client, server) in enumerate(pairs):
                kernel.set_cpu((n + turn) % CPUS)
                client.send(b"x" * (n + 1))
                assert server.recv() == b"x" * (n + 1)
        return trace

    assert run() == run()
