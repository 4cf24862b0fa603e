"""trio, imported before the patch or during it, by patching and through its own hooks."""

from __future__ import annotations

import socket as stdlib_socket
import subprocess
import sys
from functools import partial

import pytest
import trio
import trio.testing
from support.patience import PATIENCE

import pysock
from pysock.families.inet.net import InetNet
from pysock.shim.triohooks import HostnameResolver, SocketFactory

REAL = dict(vars(stdlib_socket.socket.__mro__[1]))


async def exchange() -> bytes:
    async with trio.open_nursery() as nursery:
        with trio.socket.socket() as listener:
            await listener.bind(("127.0.0.1", 7000))
            listener.listen()
            async with await trio.open_tcp_stream("localhost", 7000) as client:
                peer, _ = await listener.accept()
                with peer:
                    await client.send_all(b"hello")
                    data = await peer.recv(100)
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    return data


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_imported_before_the_patch(clock: str) -> None:
    for _ in range(2):
        with pysock.patch(clock=clock) as active:
            assert trio.run(exchange) == b"hello"
        assert active.net.get(InetNet).mibs.tcp.PassiveOpens == 1
    closures = [
        cell.cell_contents
        for function in vars(trio._socket._SocketType).values()  # type: ignore[attr-defined]
        for cell in getattr(function, "__closure__", None) or ()
    ]
    assert REAL["recv"] in closures
    assert REAL["send"] in closures


def test_imported_during_the_patch() -> None:
    """And used on the operating system's network after it."""
    source = """
import socket
before = socket.socket
import pysock
with pysock.patch() as active:
    import trio
    async def exchange():
        a, b = trio.socket.socketpair()
        with a, b:
            await a.send(b"x")
            assert (a.fileno() in active.task.fds) == inside
            return await b.recv(1)
    inside = True
    assert trio.run(exchange) == b"x"
inside = False
assert trio.run(exchange) == b"x"
assert socket.socket is before
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def over_the_hooks() -> None:
    """All of `exchange` and more, with sockets that the hooks made, on the operating system's poller."""
    trio.socket.set_custom_socket_factory(SocketFactory())
    trio.socket.set_custom_hostname_resolver(HostnameResolver())
    found = await trio.socket.getaddrinfo("pysock", 80, type=stdlib_socket.SOCK_STREAM)
    assert ("127.0.1.1", 80) in [info[4] for info in found]
    assert await trio.socket.getnameinfo(("127.0.1.1", 80), stdlib_socket.NI_NUMERICSERV) == ("pysock", "80")
    assert await exchange() == b"hello"
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", 7001)

    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        start = partial(trio.serve_tcp, echo, 7003, host="127.0.0.1")
        await nursery.start(start)
        async with await trio.open_tcp_stream("127.0.0.1", 7003) as stream:
            nursery.start_soon(stream.send_all, b"x" * 3_000_000)  # more than the buffers hold
            received = 0
            while received < 3_000_000:
                received += len(await stream.receive_some())
            with trio.move_on_after(0.01) as scope:
                await stream.receive_some()
            assert scope.cancelled_caught
            await stream.send_eof()
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()
    with trio.socket.socket(type=stdlib_socket.SOCK_DGRAM) as a, trio.socket.socket(type=stdlib_socket.SOCK_DGRAM) as b:
        await a.bind(("127.0.0.1", 7002))
        assert not a.is_readable()
        await b.sendto(b"ping", ("127.0.0.1", 7002))
        assert a.is_readable()
        assert (await a.recvfrom(10))[0] == b"ping"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_closed, a)
            await trio.testing.wait_all_tasks_blocked()
            a.close()


async def expect_closed(sock: trio.socket.SocketType) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await sock.recv(1)


def test_through_trios_own_hooks() -> None:
    trio.run(over_the_hooks)
