"""trio, imported before the patch or during it, by patching and through its own hooks."""

from __future__ import annotations

import socket as stdlib_socket
import subprocess
import sys

import pytest
import trio

import pysock
from pysock.families.inet.net import InetNet

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
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
