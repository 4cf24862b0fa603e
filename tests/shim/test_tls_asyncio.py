"""TLS in asyncio, where the event loop moves the bytes: on both kernels."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator

import pytest
from support.tls import client_context, server_context

import pysock


@pytest.fixture(params=["pysock", "real"], autouse=True)
def where(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "real":
        yield "real"
        return
    with pysock.patch(seed=1):
        yield "pysock"


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


def test_streams() -> None:
    async def main() -> tuple[bytes, str]:
        async with await asyncio.start_server(shout, "127.0.0.1", 0, ssl=server_context()) as server:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
            )
            answer = b""
            for _ in range(20):
                writer.write(b"a" * 60_000 + b"\n")
                answer += (await reader.readline()).strip()
            version = writer.get_extra_info("ssl_object").version()
            writer.close()
            await writer.wait_closed()
            return answer, version

    assert asyncio.run(main()) == (b"A" * 1_200_000, "TLSv1.3")


def test_start_tls_in_the_middle() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.start_tls(server_context())
        await shout(reader, writer)

    async def main() -> bytes:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go\n"
            await writer.start_tls(client_context(), server_hostname="localhost")
            writer.write(b"secret\n")
            answer = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return answer

    assert asyncio.run(main()) == b"SECRET\n"


def test_a_wrong_name() -> None:
    async def main() -> None:
        async with await asyncio.start_server(shout, "127.0.0.1", 0, ssl=server_context()) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                await asyncio.open_connection(
                    *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="wrong.example"
                )

    asyncio.run(main())
