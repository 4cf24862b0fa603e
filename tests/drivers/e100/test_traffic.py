"""Two hosts over e100 cards: ping, TCP both ways, interrupts with and without NAPI, fairness, pause frames."""

from __future__ import annotations

import pytest
from support.devices import boot
from support.e100 import MAC, OTHER, E100Hosts, card, nic, to
from support.hosts import HostApi

from pysock.core.device import dev_close, dev_open, unregister_netdev
from pysock.core.rps import netif_set_rps_cpus
from pysock.core.skbuff import SkBuff, consume_skb
from pysock.core.softirq import NET_RX_SUCCESS, NETDEV_BUDGET
from pysock.core.wire import Cable
from pysock.core.wire_switch import Hub, Switch
from pysock.drivers.e100.kind import card_of
from pysock.syscalls.socket import sys_connect
from pysock.uapi.in_ import IPPROTO_ICMP
from pysock.uapi.socket import SOCK_DGRAM
from pysock.wire import icmp, ipv4


def ping(lab: E100Hosts, a: HostApi, address: str = "10.0.0.2") -> bytes:
    a.call(a.net.sysctl.set, "net.ipv4.ping_group_range", (0, 100))
    fd = a.socket(SOCK_DGRAM, IPPROTO_ICMP)
    a.sendto(fd, icmp.build(icmp.ECHO_REQUEST, 0, rest=1, payload=b"data"), (address, 0))
    lab.sleep(1)
    return a.recvfrom(fd)[0][8:]


def connect(a: HostApi, b: HostApi) -> tuple[int, int]:
    listener = b.listen("10.0.0.2", 80)
    client = a.tcp()
    sys_connect(a.task, client, ("10.0.0.2", 80))
    return client, b.accept(listener)


def transfer(a: HostApi, out: int, b: HostApi, into: int, size: int) -> None:
    """``size`` bytes from a to b, checked."""
    data = bytes(range(256)) * (size // 256)
    sent = 0
    got = bytearray()
    while len(got) < len(data):
        if sent < len(data):
            try:
                sent += a.sendto(out, data[sent : sent + 65536])
            except BlockingIOError:
                pass
        got += b.recv(into)
    assert got == data


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("use_napi", [False, True])
def test_ping_and_tcp_both_ways(timed: bool, use_napi: bool) -> None:
    lab = E100Hosts(timed=timed, delay=1000)
    a, b = lab.two(napi=use_napi)
    assert ping(lab, a) == b"data"
    client, server = connect(a, b)
    for size in (256, 512 * 1024):
        transfer(a, client, b, server, size)
        transfer(b, server, a, client, size)
    for host in (a, b):
        assert nic(host).resets == 0
        assert host.counted().get("TcpInErrs", 0) == 0
        assert host.dev().stats.tx_packets > 350  # 2 x 363 full frames, and an ACK for several that GRO glued
    assert a.dev().get_stats().tx_packets == b.dev().get_stats().rx_packets
    assert a.sk(client).wmem_alloc == 0  # every packet was freed
    assert lab.log == []


def test_a_cable_has_a_bit_rate() -> None:
    took = {}
    for mbit in (10, 100):
        lab = E100Hosts(timed=True, mbit=mbit)
        a, b = lab.two()
        assert nic(a).speed == mbit
        client, server = connect(a, b)
        start = lab.kernel.now
        transfer(a, client, b, server, 1 << 20)
        took[mbit] = (lab.kernel.now - start) / 1e9
    assert 0.083 < took[100] < 0.11  # 8 Mbit of payload, and headers
    assert 0.83 < took[10] < 1.1


def test_small_rings_under_load() -> None:
    """Rings of 16 go round hundreds of times; pause frames keep the receiver from losing any."""
    lab = E100Hosts(timed=True)
    a, b = lab.two(rx_ring=16, tx_ring=16)
    client, server = connect(a, b)
    transfer(a, client, b, server, 1 << 20)
    assert a.dev().stats.tx_packets > 16 * 20
    assert b.dev().get_stats().rx_missed_errors == 0


def burst(lab: E100Hosts, host: HostApi, count: int) -> None:
    """Frames that arrive while the host is busy with something."""
    lab.kernel.enter()
    for _ in range(count):
        card(host).receive(to(host.dev().dev_addr), 0)
    lab.kernel.leave()


def test_napi_saves_interrupts_under_load() -> None:
    handled = {}
    for use_napi in (True, False):
        lab = E100Hosts()
        a, _ = lab.two(napi=use_napi)
        before = nic(a).interrupts
        burst(lab, a, 200)
        assert a.dev().stats.rx_packets == 200
        handled[use_napi] = nic(a).interrupts - before
    assert handled == {True: 1, False: 200}


def test_napi_saves_interrupts_in_a_transfer() -> None:
    """The same megabyte over the same wire, as fast as the sender can: polled many frames at a time, or interrupted for
    every one.
    """
    per_frame, glued = {}, {}
    for use_napi in (True, False):
        lab = E100Hosts()
        a, b = lab.two(napi=use_napi)
        client, server = connect(a, b)
        frames, interrupts = b.dev().stats.rx_packets, nic(b).interrupts
        delivered = nic(b).pdev.bus.irqs.line(nic(b).pdev.irq).delivered
        transfer(a, client, b, server, 1 << 20)
        frames = b.dev().stats.rx_packets - frames
        assert frames > (1 << 20) / 1448
        per_frame[use_napi] = (nic(b).interrupts - interrupts) / frames
        # Not only the driver says so: the line was pulled that often, and what it answered for was its own.
        assert nic(b).pdev.bus.irqs.line(nic(b).pdev.irq).delivered - delivered == nic(b).interrupts - interrupts
        napi = nic(b).napi
        glued[use_napi] = napi.gro.merged if napi is not None and napi.gro is not None else 0
        assert (nic(a).resets, nic(b).resets, b.dev().get_stats().rx_missed_errors) == (0, 0, 0)
    assert per_frame[True] < 0.1
    assert per_frame[False] >= 1
    assert glued[True] > 600
    assert glued[False] == 0


def test_too_much_is_lost_on_the_backlog_without_napi_and_in_the_chip_with_it() -> None:
    """Polled, what is too much costs no work: it never leaves the chip. Interrupted, each of them is taken in first."""
    lost = {}
    for use_napi in (True, False):
        lab = E100Hosts()
        lab.kernel.softnet.max_backlog = 50
        a, _ = lab.two(napi=use_napi, rx_ring=64)
        interrupts = nic(a).interrupts
        burst(lab, a, 80)
        stats = a.dev().get_stats()
        lost[use_napi] = (stats.rx_packets, stats.rx_dropped, stats.rx_missed_errors, nic(a).interrupts - interrupts)
    assert lost == {True: (64, 0, 16, 1), False: (50, 30, 0, 80)}


def test_busy_devices_take_turns() -> None:
    """Polls of 64 frames each in turn, and no run of the softirq beyond its budget."""
    lab = E100Hosts()
    a, b = lab.two()
    order: list[str] = []
    for host in (a, b):
        napi = nic(host).napi
        assert napi is not None
        inner = napi.poll

        def poll(budget: int, host: HostApi = host, inner: object = inner) -> int:
            work: int = inner(budget)  # type: ignore[operator]
            order.append(f"{host.net.name}:{work}")
            return work

        napi.poll = poll
    lab.kernel.enter()
    for host in (a, b):
        for _ in range(200):
            card(host).receive(to(host.dev().dev_addr), 0)
    squeezed = lab.kernel.softnet.time_squeeze
    lab.kernel.leave()
    one, two = a.net.name, b.net.name
    assert order[:6] == [f"{name}:64" for name in (one, two) * 3]
    assert sorted(order[6:8]) == sorted([f"{one}:8", f"{two}:8"])
    assert lab.kernel.softnet.time_squeeze - squeezed == 400 // NETDEV_BUDGET


def test_what_is_polled_is_received_where_the_rules_say() -> None:
    kernel = boot(cpus=2)
    where: list[int] = []

    def receive(skb: SkBuff) -> int:
        where.append(kernel.softnet.cpu)
        consume_skb(skb)
        return NET_RX_SUCCESS

    kernel.softnet.use(receive)
    kernel.enter()
    dev = kernel.dev_layer.create_device(kernel.init_net, "e100", wire=Cable().a, mac=MAC)
    dev_open(dev)
    datagram = MAC + OTHER + b"\x08\0" + ipv4.build(b"\x0a\0\0\1", b"\x0a\0\0\2", 17, b"\0\x09" * 4 + bytes(30))
    for mask in (0b01, 0b10):
        netif_set_rps_cpus(dev, 0, mask)
        card_of(dev).receive(datagram, 0)
        kernel.leave()
        kernel.enter()
    kernel.leave()
    assert where == [0, 1]


def test_two_cards_share_a_line() -> None:
    lab = E100Hosts()
    a, b = lab.two(irq=7)
    line = nic(a).pdev.bus.irqs.line(7)
    assert len(line.handlers) == 2
    assert ping(lab, a) == b"data"
    unhandled = line.unhandled
    burst(lab, b, 1)
    assert line.unhandled == unhandled  # the other card's handler said no, this one's yes
    a.call(dev_close, a.dev())
    assert len(line.handlers) == 1
    burst(lab, b, 1)


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("kind", [Hub, Switch])
def test_through_a_hub_or_switch(kind: type[Hub], timed: bool) -> None:
    lab = E100Hosts()
    middle = kind(lab.kernel if timed else None, ports=3)
    a, b, c = (lab.host(name) for name in "abc")
    for n, host in enumerate((a, b, c)):
        lab.card(host, f"10.0.0.{n + 1}/24", middle.ports[n])
    assert nic(a).full is (kind is Switch)
    assert ping(lab, a) == b"data"
    assert ping(lab, a, "10.0.0.3") == b"data"
    client, server = connect(a, b)
    seen = card(c).stats.counts[9]
    frames = middle.ports[2].outbound.sent
    transfer(a, client, b, server, 1 << 18)
    assert card(c).stats.counts[9] == seen
    assert (middle.ports[2].outbound.sent - frames > 100) is (kind is Hub)


def test_the_other_end_goes_down_and_comes_back() -> None:
    lab = E100Hosts()
    a, b = lab.two()
    client, server = connect(a, b)
    lab.kernel.enter()
    lab.wire.set_link(False)
    lab.kernel.leave()
    assert (a.dev().carrier, b.dev().carrier) == (False, False)
    a.sendto(client, b"lost at first")
    lab.sleep(1)
    lab.kernel.enter()
    lab.wire.set_link(True)
    lab.kernel.leave()
    assert b.recv(server) == b"lost at first"
    b.call(dev_close, b.dev())
    b.call(dev_open, b.dev())
    a.sendto(client, b"again")
    assert b.recv(server) == b"again"


def test_unregister_under_a_connection() -> None:
    lab = E100Hosts(timed=True)
    a, b = lab.two()
    client, _ = connect(a, b)
    datagrams = a.bound("10.0.0.1", 1000)
    for _ in range(20):
        a.sendto(datagrams, bytes(1000), ("10.0.0.2", 9))
    a.sendto(client, bytes(100_000))
    ring = nic(a).tx
    assert ring is not None
    assert ring.avail < ring.count - 20
    assert a.sk(datagrams).wmem_alloc > 20_000
    a.call(unregister_netdev, a.dev())
    lab.sleep(5)
    assert "eth0" not in a.net.dev_by_name
    assert a.sk(datagrams).wmem_alloc == 0
    assert lab.log == []


def test_the_same_seed_gives_the_same_frames() -> None:
    def run() -> list[bytes]:
        lab = E100Hosts(seed=5, timed=True)
        a, b = lab.two()
        frames = lab.record(a.dev())
        client, server = connect(a, b)
        transfer(a, client, b, server, 1 << 17)
        return frames

    frames = run()
    assert len(frames) > 100
    assert frames == run()


def test_an_idle_device_has_no_timers() -> None:
    """Virtual time comes to rest."""
    lab = E100Hosts()
    a, _ = lab.two(mac=None)
    ping(lab, a)
    lab.sleep(10)
    assert not nic(a).watching
    assert a.dev().dev_addr != MAC
