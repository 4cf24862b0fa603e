"""Event loops under patch resolve names without threads."""

from __future__ import annotations

import asyncio
import asyncio.base_events
import socket
import subprocess
import sys
import threading
from unittest import mock

import pytest
from support.patience import PATIENCE

import pysock

_LATER = """
import sys, threading
import pysock
with pysock.patch(clock="virtual"):
    assert "asyncio" not in sys.modules
    import asyncio, socket
    async def main():
        found = await asyncio.get_running_loop().getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        assert [entry[4][0] for entry in found] == ["::1", "127.0.0.1"], found
        assert threading.active_count() == 1
    asyncio.run(main())
assert asyncio.BaseEventLoop.getaddrinfo.__module__ == "asyncio.base_events"
"""


def test_names_are_resolved_at_once() -> None:
    original = asyncio.base_events.BaseEventLoop.getaddrinfo

    async def main() -> None:
        loop = asyncio.get_running_loop()
        threads = threading.active_count()
        found = await loop.getaddrinfo("localhost", 80, family=socket.AF_INET, type=socket.SOCK_STREAM)
        assert found[0][4] == ("127.0.0.1", 80)
        assert await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICSERV) == ("localhost", "80")
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("nobody.invalid", 80)
        loop.set_debug(True)
        assert await loop.getaddrinfo("127.0.0.1", 80)
        assert threading.active_count() == threads

    with pysock.patch(clock="virtual"):
        assert asyncio.base_events.BaseEventLoop.getaddrinfo is not original
        asyncio.run(main())
    assert asyncio.base_events.BaseEventLoop.getaddrinfo is original


def test_asyncio_may_come_later() -> None:
    subprocess.run([sys.executable, "-c", _LATER], check=True, timeout=PATIENCE)


def test_mocks_of_the_loops_own_socket_module_are_asked() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with mock.patch("asyncio.base_events.socket") as module:
            module.getaddrinfo.return_value = []
            assert await loop.getaddrinfo("localhost", 80) == []
            assert await loop.getnameinfo(("127.0.0.1", 80)) is module.getnameinfo.return_value

    with pysock.patch(clock="virtual"):
        asyncio.run(main())
