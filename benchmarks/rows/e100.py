"""Two hosts with simulated network cards: what a real driver, its rings and a chip's registers cost."""

from __future__ import annotations

import socket
import statistics
from time import thread_time

from benchmarks.row import Kind, Row
from benchmarks.rows.bulk import bulk_rate
from benchmarks.rows.common import tcp_pair
from benchmarks.rows.hosts import connected, two_hosts
from benchmarks.rows.round_trips import trip_rate
from benchmarks.stack import Stack

_TURN = 50


def two_cards(stack: Stack) -> tuple[socket.socket, socket.socket]:
    """A connection between two hosts whose cards share a cable that takes no time; over loopback on a stack that has no
    cards.
    """
    if stack.name == "kernel":
        return tcp_pair(stack.net)
    import pysock
    from pysock.core.device import dev_open
    from pysock.core.wire import Cable
    from pysock.families.inet.devinet import add_address
    from pysock.families.inet.net import InetNet

    net = pysock.Network(seed=1, clock="real")
    kernel = net.kernel
    cable = Cable()
    hosts = net.hosts("one", "other")
    kernel.enter()
    for host, wire, address in zip(hosts, (cable.a, cable.b), (b"\x0a\0\0\1", b"\x0a\0\0\2"), strict=True):
        dev = kernel.dev_layer.create_device(host.net, "e100", "eth0", wire=wire)
        dev_open(dev)
        add_address(host.net.get(InetNet), dev, address, 24)
    kernel.leave()
    one, other = hosts
    return connected(one, other, "10.0.0.2")


def e100_rr(stack: Stack, count: int) -> float:
    """One byte there and back, same thread."""
    return trip_rate(*two_cards(stack), count)


def e100_bulk(stack: Stack, count: int) -> float:
    """Sends of 64 KiB, 46 frames each, received with recv, same thread."""
    return bulk_rate(*two_cards(stack), count)


def trips(client: socket.socket, server: socket.socket, count: int) -> float:
    """Seconds of this thread's own time for one byte there and back, so many times. Nobody else takes part, so this is
    all it costs, however busy the machine is.
    """
    start = thread_time()
    for _ in range(count):
        client.send(b"x")
        server.recv(1)
        server.send(b"x")
        client.recv(1)
    return thread_time() - start


def veth_price(stack: Stack, count: int) -> float:
    """What a packet between two hosts costs, in packets over loopback."""
    return _price(stack, two_hosts(stack), count)


def e100_price(stack: Stack, count: int) -> float:
    """The same with cards."""
    return _price(stack, two_cards(stack), count)


def _price(stack: Stack, pair: tuple[socket.socket, socket.socket], count: int) -> float:
    """Round trips on both in turn, short enough for the machine not to change meanwhile: the ratio of the medians."""
    loopback = tcp_pair(stack.net)
    near, far = [], []
    with loopback[0], loopback[1], pair[0], pair[1]:
        for _ in range(max(2, count // _TURN)):
            near.append(trips(*loopback, _TURN))
            far.append(trips(*pair, _TURN))
        return statistics.median(far) / statistics.median(near)


ROWS: tuple[Row, ...] = (
    Row("e100_rr", "TCP one-byte round trip between two cards (the kernel: loopback)", "trips/s", e100_rr, 5_000),
    Row("e100_bulk", "TCP 64 KiB sends between two cards (the kernel: loopback)", "MB/s", e100_bulk, 500),
    Row("veth_price", "a packet between two hosts, in packets over loopback", "packets",
        veth_price, 5_000, Kind.ABSOLUTE, goal=2.5),
    Row("e100_price", "a packet between two cards, in packets over loopback", "packets",
        e100_price, 5_000, Kind.ABSOLUTE, goal=4.0),
)  # fmt: skip
