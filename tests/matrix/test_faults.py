"""What goes wrong between two hosts, over the driver that was asked for."""

from __future__ import annotations

import errno
import fcntl
import itertools
import socket
import struct
import time

import pytest
from support.cables import Lan

from pysock.core.device import unregister_netdev
from pysock.drivers.e100.driver import nic_of
from pysock.lab.packet import Seen
from pysock.uapi.if_ import IFF_UP
from pysock.uapi.ioctl import SIOCGIFFLAGS, SIOCSIFFLAGS

DATA = bytes(range(256)) * 1024  # 256 KiB


def send_all(sock: socket.socket) -> None:
    sock.sendall(DATA)
    sock.shutdown(socket.SHUT_WR)


def receive_all(sock: socket.socket) -> bytes:
    found = b""
    while data := sock.recv(65536):
        found += data
    return found


def carry(lan: Lan) -> None:
    """DATA from here to the peer, whole, whatever is wrong on the way."""
    ours, theirs = lan.pair()
    with ours, theirs:
        sending = lan.here.start(send_all, ours)
        assert receive_all(theirs) == DATA
        sending.result(120)


def test_loss(lan: Lan) -> None:
    lan.link.set(loss="10%")
    carry(lan)
    assert lan.here.counters.tcp.RetransSegs > 0


def test_the_first_syn_is_lost(lan: Lan) -> None:
    fault = lan.link.drop("syn", nth=1)
    before = time.monotonic()
    carry(lan)
    assert fault.hits == 1
    assert time.monotonic() - before >= 1  # the initial retransmission timeout, RFC 6298


def test_corruption(lan: Lan) -> None:
    fault = lan.link.corrupt("data", nth=3, to=lan.peer, times=3)
    carry(lan)
    assert fault.hits == 3
    assert lan.here.counters.tcp.RetransSegs > 0


def test_duplicates_and_stragglers(lan: Lan) -> None:
    number = itertools.count()
    lan.link.duplicate(lambda packet: packet.tcp is not None and next(number) % 3 == 0)
    late = lan.link.delay("20ms", "data", nth=5, to=lan.peer)
    carry(lan)
    assert late.hits == 1
    with lan.datagrams() as server, socket.socket(type=socket.SOCK_DGRAM) as sock:
        server.settimeout(30)
        lan.link.clear()
        lan.link.duplicate("udp", times=1, to=lan.peer)
        sock.sendto(b"once", ("peer", 7))
        assert [server.recv(10), server.recv(10)] == [b"once", b"once"]


def test_delay(lan: Lan) -> None:
    lan.exchange()
    lan.link.set(delay="30ms")
    before = time.monotonic()
    lan.exchange()
    took = time.monotonic() - before
    assert took >= 0.06
    if lan.virtual:
        assert took == pytest.approx(0.06, abs=1e-9)


def test_what_a_partition_keeps_apart_and_heals(lan: Lan) -> None:
    ours, theirs = lan.pair()
    with ours, theirs:
        lan.session.network.one_way(lan.peer, lan.here)
        ours.sendall(b"lost for now")
        theirs.sendall(b"heard")
        assert ours.recv(10) == b"heard"
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(10)
        lan.session.network.heal()
        theirs.settimeout(60)
        assert theirs.recv(100) == b"lost for now"


def test_unplugged_and_plugged_in_again(lan: Lan) -> None:
    """Both ends see that the carrier is gone; what was said meanwhile arrives once it is back."""
    ours, theirs = lan.pair()
    with ours, theirs:
        assert lan.dev.carrier and lan.far.carrier
        lan.link.down()
        assert not lan.dev.carrier and not lan.far.carrier
        ours.sendall(b"into the void")
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.sendto(b"lost", ("peer", 7))
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(10)
        lan.link.up()
        assert lan.dev.carrier and lan.far.carrier
        theirs.settimeout(60)
        assert theirs.recv(100) == b"into the void"
        lan.exchange()


def test_flapping_under_load(lan: Lan) -> None:
    ours, theirs = lan.pair()
    carried = itertools.count()

    def flap(packet: Seen) -> bool:
        if packet.tcp is not None and next(carried) == 50:
            lan.link.flap(down="150ms", up="150ms", times=2)
        return False

    lan.link.drop(flap, to=lan.peer)
    with ours, theirs:
        sending = lan.here.start(send_all, ours)
        assert receive_all(theirs) == DATA
        sending.result(120)
    assert next(carried) > 50


def interface(sock: socket.socket, up: bool) -> None:
    """`ip link set eth0 up`, or down."""
    request = struct.pack("16sH22x", b"eth0", 0)
    flags = struct.unpack("16sH22x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
    flags = flags | IFF_UP if up else flags & ~IFF_UP
    fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"eth0", flags))


def test_taken_down_and_up_by_the_program(lan: Lan) -> None:
    lan.exchange()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        interface(sock, False)
        with pytest.raises(OSError) as caught:
            sock.sendto(b"x", (lan.peer.address, 7))
        assert caught.value.errno == errno.ENETUNREACH
        interface(sock, True)
    lan.exchange()
    carry(lan)


def test_nobody_has_that_address(lan: Lan) -> None:
    lan.exchange()
    stranger = lan.peer.address.rpartition(".")[0] + ".99"
    with socket.socket() as sock:
        assert sock.connect_ex((stranger, 80)) == errno.EHOSTUNREACH


def test_a_card_is_pulled_out_under_traffic(lan: Lan) -> None:
    """Who sends is told that there is no way any more, and nothing hangs, nor raises in the stack."""

    def talk() -> int:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            try:
                while True:
                    sock.sendto(bytes(3000), (lan.peer.address, 7))
                    time.sleep(0.001)
            except OSError as exc:
                return exc.errno or 0

    def pull() -> None:
        if lan.driver == "e100":
            pdev = nic_of(lan.dev).pdev
            pdev.bus.unplug(pdev)
        else:
            unregister_netdev(lan.dev)

    ours, theirs = lan.pair()
    with lan.datagrams() as server, ours, theirs:
        server.settimeout(60)
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500)
        before = lan.crossed()
        talking = lan.here.start(talk)
        for _ in range(20):
            assert len(server.recv(5000)) == 3000
        crossed = lan.crossed()
        lan.call(pull)
        assert talking.result(60) == errno.ENETUNREACH
        assert "eth0" not in [name for _, name in socket.if_nameindex()]
        with socket.socket() as sock:
            assert sock.connect_ex((lan.peer.address, 80)) == errno.ENETUNREACH
        ours.send(b"x")
        with pytest.raises(OSError) as caught:
            ours.recv(1)
        assert caught.value.errno == errno.ETIMEDOUT
        lan.link.down()
        lan.link.up()  # a plug without a socket
    assert crossed > before


def test_a_host_crashes(lan: Lan) -> None:
    ours, theirs = lan.pair()
    waiting = lan.datagrams()
    with ours:
        lan.exchange()
        listening = lan.peer.start(waiting.recv, 10)
        lan.session.network.sleep("10ms")
        lan.peer.crash()
        with pytest.raises(OSError) as caught:
            listening.result(60)
        assert caught.value.errno in (errno.ENETDOWN, errno.EBADF)  # whether or not it was waiting by then
        theirs.detach()
        waiting.detach()
        assert not lan.dev.carrier
        ours.sendall(b"anybody there?")
        lan.peer.restart()
        assert lan.dev.carrier
        ours.settimeout(60)
        with pytest.raises(ConnectionResetError):
            ours.recv(1)
