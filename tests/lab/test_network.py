"""Network: hosts, links, switches and routers, and the programs that run on them."""

from __future__ import annotations

import asyncio
import gc
import re
import select
import socket
import threading
import time
import weakref
from contextvars import copy_context

import pytest

import pysock
from pysock.lab.network import Network
from pysock.uapi.in_ import IP_RECVERR


def pair(**wishes: object) -> tuple[Network, pysock.Host, pysock.Host]:
    net = Network(seed=1)
    a, b = net.hosts("a", "b")
    net.link(a, b, **wishes)  # type: ignore[arg-type]  # what a link can be
    return net, a, b


def udp(host: pysock.Host, port: int = 0, family: int = socket.AF_INET) -> socket.socket:
    """A UDP socket of ``host``, by the face that needs no patch."""
    sock: socket.socket = host.run(pysock.socket, family, socket.SOCK_DGRAM)
    sock.bind(("::" if family == socket.AF_INET6 else "", port))
    sock.settimeout(5)
    return sock


def reaches(a: pysock.Host, b: pysock.Host, family: int = socket.AF_INET) -> bool:
    """Whether a datagram from ``a`` arrives at ``b``, by name."""
    with udp(a, 0, family) as one, udp(b, 7, family) as other:
        one.sendto(b"hello", (b.name, 7))
        try:
            return other.recv(100) == b"hello"
        except TimeoutError:
            return False


# --- two hosts --------------------------------------------------------------------------------------------------------


def test_unmodified_blocking_programs() -> None:
    net, a, b = pair(delay="20ms")
    with net:
        with a:
            server = socket.create_server(("a", 80))

        def serve() -> bytes:
            peer, address = server.accept()
            assert address[0] == "10.0.0.2"
            with peer:
                data = peer.recv(100)
                peer.sendall(socket.gethostname().encode() + data)
            return data

        serving = a.start(serve)
        with b:
            start = time.monotonic()
            with socket.create_connection(("a", 80)) as client:
                client.sendall(b"?")
                assert client.recv(100) == b"a?"
            assert time.monotonic() - start == pytest.approx(0.12, abs=0.005)  # ARP, handshake, question and answer
        assert serving.result() == b"?"
        server.close()
        assert not serving.running
    assert "pysock" not in repr(socket.socket)


def test_one_event_loop_serves_tasks_of_several_hosts() -> None:
    net, a, b = pair()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(socket.gethostname().encode() + await reader.read(100))
        writer.close()

    async def ask(word: bytes) -> tuple[str, bytes]:
        with b:
            reader, writer = await asyncio.open_connection("a", 80)
            name = socket.gethostname()
        writer.write(word)
        answer = await reader.read()
        writer.close()
        return name, answer

    async def main() -> list[tuple[str, bytes]]:
        with a:
            server = await asyncio.start_server(handle, "a", 80)
        found = await asyncio.gather(ask(b"1"), ask(b"2"))
        server.close()
        await server.wait_closed()
        return found

    with net:
        assert asyncio.run(main()) == [("b", b"a1"), ("b", b"a2")]


def test_threads_belong_to_the_host_in_which_they_were_started() -> None:
    net, a, b = pair()
    found: list[str] = []
    with net:
        for host in (a, b):
            with host:
                thread = threading.Thread(target=lambda: found.append(socket.gethostname()))
                thread.start()
            thread.join()
    assert found == ["a", "b"]


def test_hosts_nest_and_give_back_what_was_before() -> None:
    net, a, b = pair()
    with net:
        with a:
            with b:
                assert socket.gethostname() == "b"
            assert socket.gethostname() == "a"
            assert b.run(socket.gethostname) == "b"
            assert socket.gethostname() == "a"
        assert socket.gethostname() == "pysock"
        with pytest.raises(OSError, match="unreachable"), socket.socket() as lost:
            lost.connect((a.address, 80))  # nobody's machine has no cable


def test_a_host_alone_keeps_programs_off_the_real_network() -> None:
    _, a, b = pair()
    before = socket.socket, time.monotonic, socket.gethostname()

    def ask() -> bytes:
        with socket.create_connection(("a", 80)) as client:
            return client.recv(100)

    with a:
        server = socket.create_server(("a", 80))
        asking = b.start(ask)
        peer, address = server.accept()
        assert address[0] == b.address
        with b:
            assert b.run(socket.gethostname) == socket.gethostname() == "b"
        peer.sendall(b"from a")
        peer.close()
        server.close()
    assert asking.result() == b"from a"
    assert a.run(lambda: socket.gethostname()) == "a"
    assert before == (socket.socket, time.monotonic, socket.gethostname())


def test_hosts_of_two_tasks_are_left_in_any_order() -> None:
    _, a, b = pair()
    original = socket.socket
    first, second = copy_context(), copy_context()
    first.run(a.__enter__)
    second.run(b.__enter__)
    first.run(a.__exit__, None, None, None)
    assert second.run(socket.gethostname) == "b"
    second.run(b.__exit__, None, None, None)
    assert socket.socket is original


def test_poll_sees_sockets_of_several_hosts() -> None:
    net, a, b = pair()
    with net:
        with a:
            one = socket.socket(type=socket.SOCK_DGRAM)
            one.bind(("a", 7))
        with b:
            other = socket.socket(type=socket.SOCK_DGRAM)
            other.bind(("b", 7))
        assert one.fileno() != other.fileno()
        one.sendto(b"x", ("b", 7))
        assert select.select([one, other], [], [], 1)[0] == [other]
        other.sendto(b"y", ("a", 7))
        assert select.select([one, other], [], [], 1)[0] == [one, other]
        one.close()
        other.close()


def test_a_program_that_raises_and_one_that_takes_too_long() -> None:
    net, a, _ = pair()

    def fail() -> None:
        raise LookupError("what?")

    with pytest.raises(LookupError, match="what"):
        a.start(fail).result()
    sleeper = a.start(net.sleep, 60)
    with pytest.raises(TimeoutError, match="after 5"):
        sleeper.result(timeout=5)
    assert sleeper.result() is None


def test_each_host_has_settings_counters_and_descriptors_of_its_own() -> None:
    _net, a, b = pair()
    a.sysctl("net.ipv4.ip_default_ttl", 9)
    assert (a.sysctl("net.ipv4.ip_default_ttl"), b.sysctl("net.ipv4.ip_default_ttl")) == (9, 64)
    one, other = udp(a), udp(b)  # closed below
    assert (len(a.task.files.owned()), len(b.task.files.owned())) == (1, 1)  # type: ignore[attr-defined]
    one.sendto(b"x", (b.address, other.getsockname()[1]))
    assert other.recv(10) == b"x"
    assert (a.counters.udp.OutDatagrams, b.counters.udp.OutDatagrams) == (1, 0)
    assert (a.counters.udp.InDatagrams, b.counters.udp.InDatagrams) == (0, 1)
    assert str(other.getsockname()[1]) in b.sockets()
    a.task.exit()
    assert other.fileno() in b.task.fds
    with pytest.raises(OSError, match="descriptor"):
        one.sendto(b"x", (b.address, 1))
    one.detach()
    other.close()


# --- names and addresses ----------------------------------------------------------------------------------------------


def test_names_resolve_to_both_families_everywhere() -> None:
    _, a, b = pair()
    for host in (a, b):
        found = {info[4][0] for info in host.run(pysock.getaddrinfo, "b", 80)}
        assert found == {"10.0.0.2", "fd00::2"}
        assert host.run(pysock.gethostbyaddr, "10.0.0.1")[0] == "a"
        assert host.run(pysock.gethostbyname, "localhost") == "127.0.0.1"
    with pytest.raises(OSError, match="not known"):
        a.run(pysock.gethostbyname, "c")
    assert reaches(a, b)
    assert reaches(b, a, socket.AF_INET6)


def test_addresses_by_default_and_on_request() -> None:
    net = Network(seed=1)
    a, b, c, d = net.hosts("a", "b", "c", "d")
    net.link(a, b)
    net.link(b, c)
    assert [a.address, b.address, c.address] == ["10.0.0.1", "10.0.0.2", "10.0.1.2"]
    assert [str(one) for one in b.addresses] == ["10.0.0.2", "fd00::2", "10.0.1.1", "fd00:0:0:1::1"]
    net.link(c, d, address="192.168.7.9/28", peer_address=["192.168.7.3", "fd99::3/64"])
    assert [str(one) for one in d.addresses] == ["192.168.7.3", "fd99::3"]
    assert reaches(c, d)
    with pytest.raises(LookupError, match="link it"):
        _ = net.host("lonely").address


def test_a_network_without_ipv6() -> None:
    net = Network(seed=1, ipv6=False)
    a, b = net.hosts("a", "b")
    net.link(a, b)
    assert [str(one) for one in a.addresses] == ["10.0.0.1"]
    assert reaches(a, b)
    with pytest.raises(LookupError):
        _ = a.address6


# --- switches and routers ---------------------------------------------------------------------------------------------


def test_a_switch_learns_and_keeps_conversations_private() -> None:
    net = Network(seed=1)
    a, b, c = net.hosts("a", "b", "c")
    switch = net.switch("s", a, b, c)
    assert reaches(a, b)
    with net.capture(links=[switch.link(c)]) as capture:
        assert reaches(a, b)
        assert reaches(b, a)
    assert capture.frames == []
    assert reaches(a, c, socket.AF_INET6)


def test_switches_can_be_joined() -> None:
    net = Network(seed=1)
    a, b = net.hosts("a", "b")
    first, second = net.switch("s1", a), net.switch("s2")
    net.link(first, second)
    net.link(b, second)
    assert (a.address, b.address) == ("10.0.0.1", "10.0.0.2")
    assert reaches(a, b)
    with pytest.raises(ValueError, match="loop"):
        net.link(second, first)


def test_three_networks_and_a_router() -> None:
    net = Network(seed=1)
    hosts = net.hosts("a", "b", "c")
    switches = [net.switch(f"s{n}", host) for n, host in enumerate(hosts)]
    router = net.router("r", *switches)
    for one in hosts:
        for other in hosts:
            assert reaches(one, other)
            assert reaches(one, other, socket.AF_INET6)
    assert router.counters.ip.ForwDatagrams == 6


def test_routes_lead_over_several_routers_and_follow_new_links() -> None:
    net = Network(seed=1)
    a, b = net.hosts("a", "b")
    first, second, third = net.router("r1", a), net.router("r2"), net.router("r3", b)
    net.link(first, second)
    assert not reaches(a, b)
    net.link(second, third)
    assert reaches(a, b)
    assert reaches(b, a, socket.AF_INET6)


def test_a_host_that_does_not_forward_is_no_way() -> None:
    net = Network(seed=1)
    a, b, c = net.hosts("a", "b", "c")
    net.link(a, b)
    net.link(b, c)
    with pytest.raises(OSError, match="unreachable"):
        reaches(a, c)
    b.sysctl("net.ipv4.ip_forward", 1)
    a.route("10.0.1.0/24", via="10.0.0.2")
    c.route("default", via="10.0.1.1")
    assert reaches(a, c)


def test_a_loop_of_routes_ends_with_the_ttl() -> None:
    net = Network(seed=1, ipv6=False)
    a = net.host("a")
    one, other = net.router("r1", a), net.router("r2")
    link = net.link(one, other)
    net.route_all()
    one.route("172.16.0.0/12", via="10.0.1.2")
    other.route("172.16.0.0/12", via="10.0.1.1")
    with net.capture(links=[link]) as capture, udp(a) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        sock.sendto(b"round and round", ("172.16.0.1", 9))
        net.sleep(1)
        with pytest.raises(OSError, match="No route to host"):
            sock.recv(10)
    assert sum(b"round and round" in frame and frame[23] == 17 for frame in capture.frames) == 63


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "right"),
    [
        ({"delay": "fast"}, '"20ms"'),
        ({"delay": -1}, '"20ms"'),
        ({"loss": "200%"}, "0 to 1"),
        ({"rate": "10"}, '"10mbit"'),
        ({"rate": 0}, '"10mbit"'),
        ({"limit": 0}, "from 1 up"),
        ({"distribution": "bell"}, "normal"),
        ({"gemodel": (1,)}, "p, r"),
        ({"reorder": "5%"}, "needs a delay"),
        ({"colour": "red"}, "duplicate"),
        ({"address": "10.1.0.1"}, "/24"),
        ({"address": "ten"}, '"10.1.0.1/24"'),
        ({"address": "10.1.0.1/24", "peer_address": "10.2.0.1/24"}, "10.1.0.0/24"),
        ({"address": "10.1.0.1/24", "peer_address": "10.1.0.1/24"}, "taken"),
    ],
)
def test_bad_wishes_name_what_is_right_and_link_nothing(wishes: dict[str, object], right: str) -> None:
    net = Network(seed=1)
    a, b = net.hosts("a", "b")
    with pytest.raises(ValueError, match=re.escape(right)):
        net.link(a, b, **wishes)  # type: ignore[arg-type]  # that is the point
    assert net.links == []
    net.link(*net.hosts("c", "d"), address="10.1.0.1/24")  # the subnet is not used up
    assert [dev.name for dev in a.net.devices] == ["lo"]


def test_bad_names_and_nodes() -> None:
    net, a, b = pair()
    for name in ("a", "", "two words", "localhost", 7):
        with pytest.raises(ValueError, match=r"name|already"):
            net.host(name)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="two nodes"):
        net.link(a, a)
    with pytest.raises(ValueError, match="two nodes"):
        net.link(a, Network(seed=1).host("elsewhere"))
    with pytest.raises(KeyError, match="there are a, b"):
        net["c"]
    assert net["b"] is b
    with pytest.raises(ValueError, match="overlaps"):
        net.switch("s", subnet="10.0.0.0/8")
    with pytest.raises(ValueError, match="full"):
        net.switch("tiny", *net.hosts("c", "d", "e"), subnet="10.9.0.0/30")
    with pytest.raises(ValueError, match="default"):
        a.route("everywhere", via="10.0.0.2")


# --- nothing is left --------------------------------------------------------------------------------------------------


def test_a_network_goes_away_as_a_whole() -> None:
    net, a, b = pair(delay="5ms", loss="1%")
    assert reaches(a, b)
    left = udp(a)
    net.close()
    left.detach()
    assert a.task.files.owned() == []  # type: ignore[attr-defined]
    seen = [weakref.ref(net.kernel), weakref.ref(net)]
    del net, a, b, left
    gc.collect()
    assert [ref() for ref in seen] == [None, None]


def test_a_thousand_hosts_on_a_switch() -> None:
    net = Network(seed=1, ipv6=False)
    hosts = net.hosts(*(f"h{n}" for n in range(1000)))
    net.switch("s", *hosts)
    assert hosts[0].address == "10.0.0.1"
    assert hosts[-1].address == "10.0.3.232"
    assert reaches(hosts[0], hosts[-1])
    assert reaches(hosts[-1], hosts[500])


def test_the_fixture_has_a_network(pysock: object) -> None:
    net: Network = pysock.network  # type: ignore[attr-defined]  # the Session's
    a, b = net.hosts("a", "b")
    net.link(a, b, delay="10ms")
    assert net is pysock.network  # type: ignore[attr-defined]
    with a:
        server = socket.create_server(("a", 80))
    with b, socket.create_connection(("a", 80)) as client:
        peer, _ = server.accept()
        client.sendall(b"patched already")
        assert peer.recv(100) == b"patched already"
        peer.close()
    server.close()
