"""Many bytes one way, in sends of 64 KiB: what moving data costs.  Rates in MB/s, 1 MB = 1,000,000 bytes."""

from __future__ import annotations

import socket

from benchmarks.rows.common import Worker, clock, tcp_pair
from benchmarks.stack import Stack

CHUNK = 65536


def rate(count: int, seconds: float) -> float:
    """MB/s of `count` chunks."""
    return count * CHUNK / seconds / 1e6


def tcp_bulk(stack: Stack, count: int) -> float:
    """Send a chunk, receive it all with recv, again; the chunk is one immutable bytes object."""
    return bulk_rate(*tcp_pair(stack.net), count)


def bulk_rate(client: socket.socket, server: socket.socket, count: int) -> float:
    """MB/s of ``count`` chunks over a connection, in one thread. Closes it."""
    payload = bytes(CHUNK)
    with client, server:
        start = clock()
        for _ in range(count):
            left = client.send(payload)
            while left:
                left -= len(server.recv(CHUNK))
        return rate(count, clock() - start)


def tcp_bulk_into(stack: Stack, count: int) -> float:
    """The same with recv_into one buffer that stays."""
    payload = bytes(CHUNK)
    buffer = bytearray(CHUNK)
    client, server = tcp_pair(stack.net)
    with client, server:
        start = clock()
        for _ in range(count):
            left = client.send(payload)
            while left:
                left -= server.recv_into(buffer)
        return rate(count, clock() - start)


def tcp_bulk_threads(stack: Stack, count: int) -> float:
    """One thread sends it all, the caller receives it all; timed to the last byte."""

    def pour(end: socket.socket) -> None:
        payload = bytes(CHUNK)
        for _ in range(count):
            end.sendall(payload)

    client, server = tcp_pair(stack.net)
    left = count * CHUNK
    start = clock()
    with Worker(pour, client), server:
        while left:
            received = len(server.recv(CHUNK))
            if not received:
                raise ConnectionError(f"the sending thread hung up with {left} bytes to go")
            left -= received
        return rate(count, clock() - start)
