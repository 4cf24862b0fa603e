"""Two asyncio programs on two hosts lose sight of each other for half a minute, and one of them crashes.

    pytest examples/test_partition.py
"""

import asyncio
import socket

import pytest


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def test_a_connection_survives_a_partition(pysock, tmp_path):
    net = pysock.network
    a, b, witness = net.hosts("a", "b", "witness")
    net.switch("rack", a, b, witness, delay="1ms")
    net.capture(tmp_path / "partition.pcapng")

    async def main() -> None:
        with b:
            server = await asyncio.start_server(echo, "b", 7)
        with a:
            reader, writer = await asyncio.open_connection("b", 7)
        net.partition(a, b)
        writer.write(b"are you there?")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(100), 10)
        with witness:  # the others notice nothing
            aside, its_writer = await asyncio.open_connection("b", 7)
            its_writer.write(b"hello")
            assert await aside.read(100) == b"hello"
            its_writer.close()
            await its_writer.wait_closed()
        net.heal()
        assert await reader.read(100) == b"are you there?"
        writer.close()
        await writer.wait_closed()
        server.close()
        await asyncio.sleep(1)  # the echoes see the ends of their connections

    asyncio.run(main())
    assert a.counters.tcp.RetransSegs > 0


def test_a_crash_is_noticed_after_the_restart(pysock):
    net = pysock.network
    a, b = net.hosts("a", "b")
    net.link(a, b)
    with b:
        server = socket.create_server(("b", 7))
    with a:
        client = socket.create_connection(("b", 7))
    b.crash()
    server.detach()  # its descriptor went with the host
    client.settimeout(5)
    client.sendall(b"hello?")
    with pytest.raises(TimeoutError):
        client.recv(1)
    b.restart()
    client.settimeout(None)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    client.close()
