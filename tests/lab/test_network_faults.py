"""What goes wrong in a Network: bad cables, faults at a moment, partitions, crashes, unplugged links."""

from __future__ import annotations

import asyncio
import errno
import socket
import time

import pytest

import pysock
from pysock.lab.capture import Capture
from pysock.lab.network import Network
from pysock.lab.packet import Seen


def pair(seed: int = 1, **wishes: object) -> tuple[Network, pysock.Host, pysock.Host, pysock.Link]:
    net = Network(seed=seed)
    a, b = net.hosts("a", "b")
    return net, a, b, net.link(a, b, **wishes)  # type: ignore[arg-type]  # what a link can be


def udp(host: pysock.Host, port: int = 0) -> socket.socket:
    sock: socket.socket = host.run(pysock.socket, socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", port))
    sock.settimeout(5)
    return sock


def reaches(a: pysock.Host, b: pysock.Host) -> bool:
    with udp(a) as one, udp(b, 7) as other:
        one.sendto(b"hello", (b.address, 7))
        try:
            return other.recv(100) == b"hello"
        except TimeoutError:
            return False


def connection(net: Network, a: pysock.Host, b: pysock.Host) -> tuple[socket.socket, socket.socket]:
    """TCP from ``a`` to port 80 of ``b``: both ends."""
    server = b.run(pysock.create_server, (b.address, 80))
    client = a.run(pysock.create_connection, (b.address, 80))
    peer, _ = server.accept()
    server.close()
    return client, peer


def elapsed(net: Network, function: object) -> float:
    start = net.clock.monotonic_ns()
    function()  # type: ignore[operator]  # a test's own
    return (net.clock.monotonic_ns() - start) / 1e9


# --- faults at a moment -----------------------------------------------------------------------------------------------


def test_the_second_syn_is_lost_and_the_third_comes_a_second_later() -> None:
    net, a, b, link = pair()
    first = link.drop("syn", times=1)
    second = link.drop_nth("syn", 1)  # the first that is left
    took = elapsed(net, lambda: [s.close() for s in connection(net, a, b)])
    assert 2.9 < took < 3.3  # 1 s, then 2 s
    assert (first.hits, second.hits) == (1, 1)
    assert not first.active
    assert "[S]" in first.log[0][1]


def test_a_fault_may_ask_anything_of_a_packet() -> None:
    _net, a, b, link = pair()
    seen: list[Seen] = []

    def secret(packet: Seen) -> bool:
        seen.append(packet)
        return b"secret" in packet.payload

    fault = link.drop(secret, to=b)
    with udp(a) as one, udp(b, 7) as other:
        for word in (b"one", b"secret", b"two"):
            one.sendto(word, (b.address, 7))
        assert [other.recv(10), other.recv(10)] == [b"one", b"two"]
    assert fault.hits == 1
    assert {(packet.sender, packet.receiver) for packet in seen} == {("a", "b")}
    assert seen[-1].udp is not None
    assert seen[-1].tcp is None
    assert "10.0.0.1" in repr(seen[-1])


def test_duplicate_corrupt_and_delay() -> None:
    net, a, b, link = pair()
    with udp(a) as one, udp(b, 7) as other:
        link.duplicate("udp", nth=2)
        for word in (b"1", b"2", b"3"):
            one.sendto(word, (b.address, 7))
        assert [other.recv(10) for _ in range(4)] == [b"1", b"2", b"2", b"3"]
        link.delay("50ms", "udp", times=1)
        one.sendto(b"late", (b.address, 7))
        one.sendto(b"soon", (b.address, 7))
        assert elapsed(net, lambda: other.recv(10)) == 0
        assert elapsed(net, lambda: other.recv(10)) == pytest.approx(0.05)
        bad = link.corrupt("udp", times=30)
        for _ in range(30):
            one.sendto(b"x" * 1000, (b.address, 7))
        one.sendto(b"good", (b.address, 7))
        assert other.recv(2000) == b"good"
        assert bad.hits == 30
        assert b.counters.udp.InCsumErrors > 20


def test_a_fault_is_cancelled_and_leaves_the_link_as_it_was() -> None:
    _net, a, b, link = pair()
    fault = link.drop()
    assert not reaches(a, b)
    fault.cancel()
    fault.cancel()
    assert reaches(a, b)
    assert link.ends[0].dev.qdisc is not None
    assert link.ends[0].dev.qdisc.id == "noqueue"
    link.drop("udp")
    link.drop("arp")
    link.clear()
    assert reaches(a, b)


def test_a_condition_that_raises_is_reported_and_costs_its_packet(capfd: pytest.CaptureFixture[str]) -> None:
    net, a, b, link = pair()
    link.drop(lambda packet: packet.nonsense)  # type: ignore[attr-defined]  # that is the point
    assert not reaches(a, b)
    assert net.kernel.errors.total > 0
    assert "nonsense" in capfd.readouterr().err


@pytest.mark.parametrize(("when", "options"), [("sin", {}), (7, {}), ("syn", {"nth": 0}), ("syn", {"times": "x"})])
def test_bad_faults(when: object, options: dict[str, object]) -> None:
    _, _, _, link = pair()
    with pytest.raises(ValueError, match=r"syn-ack|function|from 1 up"):
        link.drop(when, **options)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="does not lead"):
        link.drop(to=Network(seed=1).host("z"))


# --- partitions -------------------------------------------------------------------------------------------------------


def test_a_partition_is_silent_and_tcp_goes_on_when_it_heals() -> None:
    net, a, b, _ = pair(delay="10ms")
    client, peer = connection(net, a, b)
    net.partition(a, b)
    client.sendall(b"are you there?")
    peer.settimeout(10)
    with pytest.raises(TimeoutError):
        peer.recv(100)
    assert a.counters.tcp.RetransSegs >= 4
    net.heal()
    assert peer.recv(100) == b"are you there?"
    client.close()
    peer.close()


def test_a_partition_that_lasts_breaks_the_connection() -> None:
    net, a, b, _ = pair()
    client, peer = connection(net, a, b)
    net.partition(a, b)
    client.sendall(b"x")
    with pytest.raises(OSError, match=r"timed out|route to host") as caught:
        client.recv(1)
    assert caught.value.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH)
    client.close()
    peer.close()


@pytest.mark.parametrize("call", ["partition", "one_way", "heal"])
def test_the_sides_of_a_partition_are_hosts(call: str) -> None:
    net, a, b, _ = pair()
    for sides in ((a, "b"), (["a"], b), (a, net.switch("s"))):
        with pytest.raises(ValueError, match="is a Host or a list of them"):
            getattr(net, call)(*sides)
    assert reaches(a, b)


def test_on_a_switch_only_those_two_are_parted() -> None:
    net = Network(seed=1)
    a, b, c = net.hosts("a", "b", "c")
    net.switch("s", a, b, c)
    net.partition([a], [b])
    assert not reaches(a, b)
    assert not reaches(b, a)
    for one, other in ((a, c), (c, a), (b, c), (c, b)):
        assert reaches(one, other)
    net.heal()
    assert reaches(a, b)


def test_healing_some_and_not_others() -> None:
    net = Network(seed=1)
    a, b, c = net.hosts("a", "b", "c")
    net.switch("s", a, b, c)
    net.partition(a, [b, c])
    net.partition(b, c)
    net.heal(a, b)
    assert reaches(a, b) and reaches(b, a)
    assert not reaches(a, c) and not reaches(b, c)
    net.heal(c)
    assert reaches(c, a) and reaches(b, c)


def test_across_a_router_too() -> None:
    net = Network(seed=1)
    a, b, c = net.hosts("a", "b", "c")
    router = net.router("r", a, b, c)
    net.partition(a, b)
    assert not reaches(a, b)
    assert reaches(a, c)
    assert reaches(c, b)
    assert reaches(a, router)


def test_one_way() -> None:
    net, a, b, _ = pair()
    assert reaches(a, b)  # they know each other's hardware addresses
    net.one_way(a, b)
    assert reaches(a, b)
    assert not reaches(b, a)
    net.heal()
    assert reaches(b, a)


# --- plugs and power --------------------------------------------------------------------------------------------------


def test_unplugged_with_packets_and_timers_in_flight() -> None:
    net, a, b, link = pair(delay="50ms")
    client, peer = connection(net, a, b)
    client.sendall(b"lost on the way")
    net.sleep("20ms")
    link.down()
    assert [end.dev.qdisc.statistics()["qlen"] for end in link.ends if end.dev.qdisc] == [0, 0]
    peer.settimeout(1)
    with pytest.raises(TimeoutError):
        peer.recv(100)
    assert not link.plugged
    link.up()
    peer.settimeout(60)
    assert peer.recv(100) == b"lost on the way"
    client.close()
    peer.close()


def test_routes_stay_when_a_link_is_down_unless_a_host_ignores_them() -> None:
    """Static routes, as Linux treats them: dead ones lose packets, and a backup counts where linkdown is looked at."""
    net = Network(seed=1)
    a, b = net.hosts("a", "b")
    first, second = net.router("r1", a, b), net.router("r2", a, b)
    for host, other in ((a, b), (b, a)):
        routers = [end.peer.addresses[0] for end in host.ends]
        host.route(f"{other.address}/32", str(routers[0]))
        host.route(f"{other.address}/32", str(routers[1]), metric=10)
        second.route(f"{host.address}/32", str(host.ends[1].addresses[0]))  # that address is on the other link
    b.sysctl("net.ipv4.conf.all.ignore_routes_with_linkdown", 1)
    assert reaches(a, b)
    assert (first.counters.ip.ForwDatagrams, second.counters.ip.ForwDatagrams) == (1, 0)
    first.link(a).down()
    with pytest.raises(OSError, match="No route to host"):  # ARP gets no answer
        a.run(pysock.create_connection, (b.address, 80))
    a.sysctl("net.ipv4.conf.all.ignore_routes_with_linkdown", 1)
    first.link(b).down()
    assert reaches(a, b)
    assert first.counters.ip.ForwDatagrams == 1
    assert second.counters.ip.ForwDatagrams == 1
    for host in (a, b):
        first.link(host).up()
    assert reaches(a, b)
    assert first.counters.ip.ForwDatagrams == 2


def test_a_link_flaps_by_itself() -> None:
    net, a, b, link = pair()
    link.flap(down="1s", up="2s", times=2)
    states = []
    for _ in range(7):
        states.append(link.plugged)
        net.sleep(1)
    assert states == [False, True, True, False, True, True, True]
    assert reaches(a, b)


def test_a_device_that_is_unregistered_in_the_middle() -> None:
    from pysock.core.device import unregister_netdev

    net, a, b, link = pair(delay="50ms")
    client, peer = connection(net, a, b)
    client.sendall(b"x" * 100_000)
    net.kernel.enter()
    unregister_netdev(link.ends[0].dev)
    net.kernel.leave()
    net.sleep(5)
    with udp(a) as one, pytest.raises(OSError, match="unreachable"):
        one.sendto(b"x", (b.address, 7))
    client.close()
    peer.close()
    net.sleep(2000)
    assert net.kernel.errors.total == 0


def test_a_crash_is_silent_and_after_the_restart_there_is_a_reset() -> None:
    net, a, b, _ = pair()
    client, peer = connection(net, a, b)
    with net.capture() as capture:
        b.crash()
        assert capture.frames == []
    client.sendall(b"hello?")
    client.settimeout(3)
    with pytest.raises(TimeoutError):
        client.recv(1)
    with pytest.raises(RuntimeError, match="restart"):
        b.run(print)
    b.restart()
    client.settimeout(None)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert reaches(a, b)
    assert b.sockets().count("ESTAB") == 0
    client.close()
    with pytest.raises(OSError, match="descriptor"):
        peer.send(b"x")
    peer.detach()


def test_programs_that_are_blocked_when_their_host_crashes() -> None:
    net, a, b, _ = pair()
    client, peer = connection(net, a, b)
    server = b.run(pysock.create_server, ("", 81))
    datagrams = udp(b, 7)
    datagrams.settimeout(None)
    blocked = [b.start(peer.recv, 1), b.start(datagrams.recv, 1), b.start(server.accept)]
    net.sleep(1)
    b.crash()
    b.crash()
    for program in blocked:
        with pytest.raises(OSError, match=r"down|Invalid|descriptor"):
            program.result(timeout=5)
    for sock in (peer, server, datagrams):
        sock.detach()
    client.close()


def test_what_a_crash_loses_does_not_come_back() -> None:
    """No timer of a lost connection sends anything after the restart."""
    net, a, b, _ = pair()
    client, peer = connection(net, a, b)
    other, other_peer = connection(net, b, a)
    net.partition(a, b)  # so that it has something to send again
    peer.sendall(b"x" * 10_000)
    other.close()  # waits for its peer's FIN
    b.crash()
    b.restart()
    net.heal()
    with net.capture() as capture:
        net.sleep(300)
    sent = [line for line in capture.lines() if "IP 10.0.0.2" in line and "[R" not in line]
    assert sent == []
    client.close()
    other_peer.close()
    peer.detach()


# --- the same again ---------------------------------------------------------------------------------------------------


def bad_day(seed: int) -> tuple[list[bytes], bytes]:
    net, a, b, link = pair(seed, delay="20ms", jitter="8ms", loss="10%", duplicate="5%", corrupt="2%", rate="5mbit")
    link.flap(down="300ms", up="1s", times=2)
    capture = net.capture()
    got = bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            got.extend(data)
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        with b:
            server = await asyncio.start_server(take, "b", 80)
        with a:
            _, writer = await asyncio.open_connection("b", 80)
        writer.write(bytes(range(256)) * 200)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(30)
        server.close()

    with net:
        asyncio.run(main())
    net.close()
    return [b"%d " % packet.time_ns + packet.frame for packet in capture.packets], bytes(got)


def test_one_seed_one_story() -> None:
    one, blob = bad_day(3)
    other, _ = bad_day(3)
    assert one == other
    assert blob == bytes(range(256)) * 200
    assert len(one) > 60
    assert bad_day(4)[0] != one


def crowd(seed: int) -> list[bytes]:
    """Many tasks of several hosts at once, by name, over a router and a bad cable: everything on the wires."""
    net = Network(seed=seed)
    a, b, c = net.hosts("a", "b", "c")
    net.router("r", a, b)
    net.link(b, c, delay="5ms", jitter="3ms", loss="5%", rate="3mbit", reorder="3%")
    net.switch("s", a, c)
    capture = net.capture()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(3000))
        writer.close()

    async def ask(host: pysock.Host, server: str, word: bytes) -> None:
        with host:
            reader, writer = await asyncio.open_connection(server, 80)
        writer.write(word * 3000)
        assert await reader.readexactly(3000) == word * 3000
        writer.close()

    async def main() -> None:
        servers = []
        for host in (b, c):
            with host:
                servers.append(await asyncio.start_server(echo, host.name, 80))
        await asyncio.gather(*(ask(host, server, b"%d" % n) for n in range(4) for host in (a, b) for server in "bc"))
        for server in servers:
            server.close()
        await asyncio.sleep(5)

    with net:
        asyncio.run(main())
    net.close()
    return [b"%d %s " % (packet.time_ns, packet.dev.encode()) + packet.frame for packet in capture.packets]


def test_a_crowd_of_tasks_does_the_same_every_time() -> None:
    one = crowd(5)
    assert len(one) > 150
    assert one == crowd(5)
    assert one != crowd(6)


def test_rate_and_delay_are_what_they_say() -> None:
    net, a, b, link = pair(delay="20ms", rate="8mbit")
    client, peer = connection(net, a, b)

    def move() -> None:
        sending = a.start(client.sendall, bytes(1_000_000))
        left = 1_000_000
        while left:
            left -= len(peer.recv(1 << 20))
        sending.result()

    assert 1.0 < elapsed(net, move) < 2.0  # 1 MB and its headers at 1 MB/s, if TCP fills it
    link.set(to=b)  # perfect again, in one direction
    assert link.ends[0].options == {}
    assert link.ends[1].options["delay"] == 20_000_000
    client.close()
    peer.close()


def test_a_loss_does_not_show_in_captures_of_the_link_but_the_sender_has_it_queued() -> None:
    net, a, b, _link = pair(loss=1.0)
    with net.capture() as wire, Capture(a.net) as own, udp(a) as one:
        one.sendto(b"x", (b.address, 7))
        net.sleep(1)
    assert wire.frames == own.frames == []


def test_virtual_time_is_free() -> None:
    net, *_ = pair(delay="30s")
    start = time.monotonic()
    assert elapsed(net, lambda: net.sleep(3600)) == 3600
    assert time.monotonic() - start < 1800
