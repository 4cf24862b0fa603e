"""Asyncio, unmodified: an echo and a minimal HTTP over its streams, server and client in one event loop."""

from __future__ import annotations

import asyncio

from benchmarks.rows.common import LOCALHOST, clock
from benchmarks.stack import Stack

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"


def tcp_rr_asyncio(stack: Stack, count: int) -> float:
    """One-byte round trips a second over asyncio streams (which set TCP_NODELAY themselves)."""
    return asyncio.run(_echo_trips(count))


def http_asyncio(stack: Stack, count: int) -> float:
    """GETs a second, each on a connection of its own, one after the other."""
    return asyncio.run(_gets(count))


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            writer.write(await reader.readexactly(1))
            await writer.drain()
    except asyncio.IncompleteReadError:  # the client is done
        writer.close()


async def _echo_trips(count: int) -> float:
    server = await asyncio.start_server(_echo, LOCALHOST, 0)
    async with server:
        reader, writer = await asyncio.open_connection(LOCALHOST, _port(server))
        start = clock()
        for _ in range(count):
            writer.write(b"x")
            await writer.drain()
            await reader.readexactly(1)
        seconds = clock() - start
        writer.write_eof()
        await reader.read()  # the server's end is closed, so its task is over
        await _close(writer)
    return count / seconds


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(RESPONSE)
    await writer.drain()
    writer.close()  # not waited for: the client's end of file says that it is done


async def _gets(count: int) -> float:
    server = await asyncio.start_server(_answer, LOCALHOST, 0)
    async with server:
        port = _port(server)
        start = clock()
        for _ in range(count):
            reader, writer = await asyncio.open_connection(LOCALHOST, port)
            writer.write(REQUEST)
            await writer.drain()
            answer = await reader.read()
            await _close(writer)
            if answer != RESPONSE:
                raise ValueError(f"the server answered {answer!r}")
        return count / (clock() - start)


def _port(server: asyncio.Server) -> int:
    port = server.sockets[0].getsockname()[1]
    assert isinstance(port, int)
    return port


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()
