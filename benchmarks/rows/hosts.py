"""Networks of hosts: what a cable between two of them costs, a router on the way, and a thousand of them.

The kernel's side of the rates over a cable is its loopback: an unprivileged process has no veth to compare with.
"""

from __future__ import annotations

import socket
import statistics

from benchmarks.child import run_child
from benchmarks.row import Kind, Row
from benchmarks.rows.bulk import bulk_rate
from benchmarks.rows.common import clock, tcp_pair
from benchmarks.rows.round_trips import trip_rate
from benchmarks.stack import Stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.lab.host import Host

_THOUSAND = """
from time import perf_counter
import pysock

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

pysock.Network(seed=1)
before, start = resident(), perf_counter()
net = pysock.Network(seed=1)
net.switch("s", *net.hosts(*("h%d" % n for n in range({count}))))
net.route_all()
print((perf_counter() - start) if {timed} else resident() - before)
"""


def two_hosts(stack: Stack) -> tuple[socket.socket, socket.socket]:
    """A connection between two hosts of a network; over loopback on a stack that has no hosts."""
    if stack.name == "kernel":
        return tcp_pair(stack.net)
    import pysock

    net = pysock.Network(seed=1, clock="real")
    one, other = net.hosts("one", "other")
    net.link(one, other)
    return connected(one, other, "other")


def connected(one: Host, other: Host, address: str) -> tuple[socket.socket, socket.socket]:
    """A connection from ``one`` host to the ``address`` of the ``other``, TCP_NODELAY on both ends."""
    import pysock

    listener = other.run(pysock.create_server, (address, 80))
    client = one.run(pysock.create_connection, (address, 80))
    server, _ = listener.accept()
    listener.close()
    for end in (client, server):
        end.setsockopt(pysock.IPPROTO_TCP, pysock.TCP_NODELAY, 1)
    return client, server


def veth_rr(stack: Stack, count: int) -> float:
    """One byte there and back, same thread."""
    return trip_rate(*two_hosts(stack), count)


def veth_bulk(stack: Stack, count: int) -> float:
    """Sends of 64 KiB, received with recv, same thread."""
    return bulk_rate(*two_hosts(stack), count)


def forwarding(stack: Stack, count: int) -> float:
    """Microseconds for a datagram from host to host by way of a router, less those for one without the router."""
    return (_datagrams(True, count) - _datagrams(False, count)) * 1e6


def _datagrams(routed: bool, count: int) -> float:
    import pysock

    net = pysock.Network(seed=1, clock="real")
    one, other = net.hosts("one", "other")
    if routed:
        net.router("router", one, other)
    else:
        net.link(one, other)
    sender = one.run(pysock.socket, pysock.AF_INET, pysock.SOCK_DGRAM)
    receiver = other.run(pysock.socket, pysock.AF_INET, pysock.SOCK_DGRAM)
    with sender, receiver:
        receiver.bind(("", 7))
        sender.connect((other.address, 7))
        sender.send(b"x")  # hardware addresses are known from here on
        receiver.recv(1)
        start = clock()
        for _ in range(count):
            sender.send(b"x")
            receiver.recv(1)
        return (clock() - start) / count


def network_boot(stack: Stack, count: int) -> float:
    """Median of `count` networks of two hosts and a cable, ms."""
    import pysock

    times = []
    for _ in range(count):
        start = clock()
        net = pysock.Network(seed=1)
        net.link(*net.hosts("one", "other"))
        net.route_all()
        times.append(clock() - start)
    return statistics.median(times) * 1e3


def thousand_time(stack: Stack, count: int) -> float:
    """Seconds to make `count` hosts on a switch, in a fresh process."""
    return float(run_child("-c", _THOUSAND.format(count=count, timed=True)))


def thousand_memory(stack: Stack, count: int) -> float:
    """By how many MB that process's resident set grows."""
    return float(run_child("-c", _THOUSAND.format(count=count, timed=False)))


ROWS: tuple[Row, ...] = (
    Row("veth_rr", "TCP one-byte round trip between two hosts (the kernel: loopback)", "trips/s", veth_rr, 20_000),
    Row("veth_bulk", "TCP 64 KiB sends between two hosts (the kernel: loopback)", "MB/s", veth_bulk, 10_000),
    Row("forwarding", "a router on a datagram's way", "us", forwarding, 10_000, Kind.ABSOLUTE, goal=25.0),
    Row("network_boot", "a network of two hosts", "ms", network_boot, 20, Kind.ABSOLUTE, goal=2.0),
    Row("hosts_time", "1,000 hosts on a switch", "s", thousand_time, 1000, Kind.ABSOLUTE, goal=2.0,
        child=True, max_rounds=3, warm_up=False),
    Row("hosts_memory", "the same, growth of the resident set", "MB", thousand_memory, 1000, Kind.ABSOLUTE, goal=300.0,
        child=True, max_rounds=1, warm_up=False),
)  # fmt: skip
