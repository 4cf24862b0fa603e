"""TLS in virtual time: waiting for a silent peer takes none, and the clock says what it would have taken."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
from support.tls import client_context, pair, server_context, tcp_pair

from pysock.shim.patching import Patch


def test_a_handshake_that_is_never_answered(virtual: Patch) -> None:
    client, silent = tcp_pair()
    with silent:
        client.settimeout(3600)
        before = time.monotonic()
        with pytest.raises(TimeoutError, match="handshake operation timed out"):
            client_context().wrap_socket(client, server_hostname="localhost")
        assert time.monotonic() - before == pytest.approx(3600)


def test_the_timeout_is_for_the_whole_call(virtual: Patch) -> None:
    """The pieces of a record that never gets whole do not start it anew."""
    client, server = pair()
    with client, server:
        client.settimeout(10)

        def drip() -> None:
            for _ in range(8):
                time.sleep(3)
                socket.socket.send(server, b"\x17")

        thread = threading.Thread(target=drip)
        before = time.monotonic()
        thread.start()
        with pytest.raises(TimeoutError, match="read operation timed out"):
            client.recv(1)
        assert time.monotonic() - before == pytest.approx(10)
        thread.join()


def test_an_hour_of_asyncio(virtual: Patch) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await asyncio.sleep(3600)
        writer.write(b"at last")
        writer.close()

    async def main() -> bytes:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context()) as server:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
            )
            writer.write(b"?")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    before = time.monotonic()
    assert asyncio.run(main()) == b"at last"
    assert time.monotonic() - before == pytest.approx(3600, abs=1)
