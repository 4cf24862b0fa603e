"""The plugin beside others: pytest-asyncio, anyio, xdist."""

from __future__ import annotations

import pytest
from support.suites import run

ECHO = """
    import asyncio, socket, sys, time
    import pytest

    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async def exchange():
        before = time.monotonic()
        async with await asyncio.start_server(echo, "127.0.0.1", 7000):
            reader, writer = await asyncio.open_connection("127.0.0.1", 7000)
            writer.write(b"hello\\n")
            assert await reader.readline() == b"hello\\n"
            writer.close()
            await writer.wait_closed()
            await asyncio.sleep(3600)
        assert time.monotonic() - before >= 3600
"""


def test_pytest_asyncio(suite: pytest.Pytester) -> None:
    source = f"""{ECHO}
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def server():
        async with await asyncio.start_server(echo, "127.0.0.1", 7001) as server:
            yield server

    @pytest.mark.asyncio
    async def test_fixture(pysock):
        await exchange()

    @pytest.mark.asyncio
    @pytest.mark.pysock
    async def test_marker(server):
        await exchange()
        assert server.sockets[0].getsockname() == ("127.0.0.1", 7001)

    REAL = socket.socket

    def test_back():
        assert socket.socket is REAL
    """
    suite.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    run(suite, source, beside="pytest_asyncio.plugin").assert_outcomes(passed=3)


def test_anyio(suite: pytest.Pytester) -> None:
    source = f"""{ECHO}
    import anyio

    @pytest.fixture
    async def greeting():
        await anyio.sleep(1)
        return b"hi"

    @pytest.mark.anyio
    @pytest.mark.pysock
    async def test_it(greeting, anyio_backend_name):
        if anyio_backend_name == "asyncio":
            await exchange()
        async def serve(stream):
            async with stream:
                await stream.send(await stream.receive())
        async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=7002) as listener:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, serve)
                async with await anyio.connect_tcp("127.0.0.1", 7002) as stream:
                    await stream.send(greeting)
                    assert await stream.receive() == b"hi"
                tasks.cancel_scope.cancel()
    """
    run(suite, source, beside="anyio.pytest_plugin").assert_outcomes(passed=2)


def test_xdist(suite: pytest.Pytester) -> None:
    source = f"""{ECHO}
    @pytest.mark.parametrize("number", range(6))
    @pytest.mark.pysock
    def test_it(number):
        asyncio.run(exchange())

    def test_failing(pysock):
        assert asyncio.run(exchange())
    """
    result = run(suite, source, "-n", "2", beside="xdist.plugin")
    result.assert_outcomes(passed=6, failed=1)
    result.stdout.fnmatch_lines(["replay: pytest *", "capture: *", "Netid*"])
