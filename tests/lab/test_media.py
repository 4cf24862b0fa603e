"""What a network's cables are made of, and what can be mixed."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.realnet import missing

from pysock import Network
from pysock.lab import tapcables
from pysock.lab.host import Host
from pysock.lab.media import DRIVERS
from pysock.testing import settings


@pytest.fixture
def taps() -> Iterator[Network]:
    if missing():
        pytest.skip(f"TAP: {missing()}")
    net = Network(seed=1, driver="tap")
    yield net
    net.close()


def talk(net: Network, a: Host, b: Host, payload: bytes = b"hello") -> None:
    """From a to b and back."""
    server = b.run(socket.create_server, (b.address, 80))
    client = a.run(socket.create_connection, (b.name, 80))
    peer, _ = server.accept()
    sending = a.start(client.sendall, payload)
    got = b""
    while len(got) < len(payload):
        got += peer.recv(1 << 20)
    assert got == payload
    sending.result(60)
    for sock in (client, peer, server):
        sock.close()


def test_the_plugin_knows_the_same_drivers() -> None:
    assert settings.DRIVERS == DRIVERS


def test_the_driver_of_a_network_and_of_a_link() -> None:
    net = Network(seed=1, driver="e100")
    a, b, c = net.hosts("a", "b", "c")
    first, second = net.link(a, b), net.link(b, c, driver="loopback")
    assert (net.driver, first.medium.name, second.medium.name) == ("e100", "e100", "loopback")
    assert [end.dev.driver.name for link in net.links for end in link.ends] == ["e100", "e100", "veth", "veth"]  # type: ignore[union-attr]
    with net:
        talk(net, a, b)
        talk(net, b, c)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"driver": "e1000"}, "driver is 'loopback' or 'tap' or 'e100', not 'e1000'"),
        ({"driver": "tap", "clock": "virtual"}, "real time"),
        ({"driver": ""}, "driver is"),
    ],
)
def test_a_driver_that_there_is_not(options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Network(**options)  # type: ignore[arg-type]


def test_a_link_that_cannot_be() -> None:
    net = Network(seed=1)
    a, b = net.hosts("a", "b")
    with pytest.raises(ValueError, match="real time"):
        net.link(a, b, driver="tap")
    with pytest.raises(ValueError, match="driver is"):
        net.switch("s", a, driver="token ring")
    with pytest.raises(ValueError, match="over e100 the mtu of a link is from 68 to 1500, not 9000"):
        net.link(a, b, driver="e100", mtu=9000)
    assert net.links == [] and "s" not in net.nodes
    net.link(a, b, mtu=9000)


def test_switches_and_routers_of_e100_cards() -> None:
    """Bridges make cards promiscuous, routers forward from one to the next."""
    net = Network(seed=1, driver="e100")
    hosts = net.hosts("a", "b", "c")
    first = net.switch("first", hosts[0], hosts[1])
    second = net.switch("second", hosts[2])
    net.router("router", first, second)
    with net:
        talk(net, hosts[0], hosts[1], bytes(100_000))
        talk(net, hosts[0], hosts[2], bytes(100_000))


def test_a_plug_and_a_capture_of_e100_cards() -> None:
    net = Network(seed=1, driver="e100")
    a, b = net.hosts("a", "b")
    link = net.link(a, b)
    capture = net.capture()
    with net:
        talk(net, a, b)
    assert capture.count > 5
    link.down()
    assert [end.dev.carrier for end in link.ends] == [False, False]
    link.up()
    assert [end.dev.carrier for end in link.ends] == [True, True]
    with net:
        talk(net, a, b)
    capture.close()


def test_two_runs_over_e100_are_alike() -> None:
    def once() -> list[str]:
        net = Network(seed=5, driver="e100")
        a, b = net.hosts("a", "b")
        net.link(a, b, loss="10%", delay="3ms", jitter="2ms")
        capture = net.capture()
        with net:
            server = b.run(socket.create_server, ("b", 80))
            client = a.run(socket.create_connection, ("b", 80))
            peer, _ = server.accept()
            client.sendall(bytes(50_000))
            client.close()
            while peer.recv(65536):
                pass
            peer.close()
            server.close()
        lines = capture.lines()
        capture.close()
        return lines

    first = once()
    assert len(first) > 50 and first == once()


def test_here_is_a_host_too() -> None:
    net = Network(seed=1, driver="e100")
    (b,) = net.hosts("b")
    assert net.here is net.here
    assert net.here.name == "pysock"
    net.link(net.here, b)
    with net:
        with b:
            server = socket.create_server(("b", 80))
        with socket.create_connection(("b", 80)) as client:
            peer, address = server.accept()
            peer.close()
            assert address[0] == net.here.address
            assert client.recv(1) == b""
        server.close()
    net.close()
    with pytest.raises(ValueError, match="there is a 'pysock' already"):
        net.host("pysock")


def test_jumbo_frames_over_taps(taps: Network) -> None:
    a, b = taps.hosts("a", "b")
    taps.link(a, b, mtu=9000)
    with taps:
        server = b.run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("b", 7))
        server.settimeout(30)
        with a, socket.socket(type=socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO: in one piece
            client.sendto(bytes(8972), ("b", 7))
        assert len(server.recv(10_000)) == 8972
        server.close()


def test_a_switch_and_a_router_of_taps(taps: Network) -> None:
    """Every cable has a bridge of the real kernel; ours is another one."""
    a, b, c = taps.hosts("a", "b", "c")
    taps.router("router", taps.switch("s", a, b), c)
    taps.link(b, c, driver="loopback")
    with taps:
        talk(taps, a, b, bytes(1 << 20))
        talk(taps, a, c, bytes(1 << 20))


@pytest.mark.parametrize("answer", [b"2 no /dev/net/tun", b"13 may not", b""])
def test_no_tap_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes) -> None:
    """The reason comes from the process that tried; nothing is linked, and its successor may have more luck."""
    program = tmp_path / "room.py"
    source = ["import socket, sys", "s = socket.socket(fileno=int(sys.argv[1]))", "s.recv(99)", f"s.send({answer!r})"]
    program.write_text("\n".join(source))
    monkeypatch.setattr(tapcables, "_PROGRAM", program)
    net = Network(seed=1, driver="tap")
    a, b = net.hosts("a", "b")
    with pytest.raises(OSError) as caught:
        net.link(a, b)
    number, _, text = answer.decode().partition(" ")
    assert caught.value.errno == int(number or errno.EIO)
    assert text in str(caught.value)
    assert net.links == []
    net.close()
