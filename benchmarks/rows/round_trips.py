"""One byte there, one byte back: what a call, a packet and a wake-up cost."""

from __future__ import annotations

import socket

from benchmarks.rows.common import LOCALHOST, Worker, clock, tcp_pair
from benchmarks.stack import Stack


def tcp_rr(stack: Stack, count: int) -> float:
    """Round trips a second with both ends in the calling thread: nothing ever blocks."""
    return trip_rate(*tcp_pair(stack.net), count)


def trip_rate(client: socket.socket, server: socket.socket, count: int) -> float:
    """One byte there and back over a connection, ``count`` times in one thread, a second. Closes it."""
    with client, server:
        start = clock()
        for _ in range(count):
            client.send(b"x")
            server.recv(1)
            server.send(b"y")
            client.recv(1)
        return count / (clock() - start)


def tcp_rr_threads(stack: Stack, count: int) -> float:
    """Round trips a second between two threads: each trip blocks and wakes both."""

    def echo(end: socket.socket) -> None:
        while data := end.recv(1):
            end.send(data)

    client, server = tcp_pair(stack.net)
    with Worker(echo, server), client:
        start = clock()
        for _ in range(count):
            client.send(b"x")
            if not client.recv(1):
                raise ConnectionError("the echoing thread hung up")
        return count / (clock() - start)


def udp_rr(stack: Stack, count: int) -> float:
    """Round trips a second of unconnected datagram sockets, in one thread."""
    net = stack.net
    with net.socket(net.AF_INET, net.SOCK_DGRAM) as client, net.socket(net.AF_INET, net.SOCK_DGRAM) as server:
        client.bind((LOCALHOST, 0))
        server.bind((LOCALHOST, 0))
        address = server.getsockname()
        start = clock()
        for _ in range(count):
            client.sendto(b"x", address)
            _, sender = server.recvfrom(16)
            server.sendto(b"y", sender)
            client.recvfrom(16)
        return count / (clock() - start)
