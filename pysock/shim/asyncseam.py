"""asyncio under patch: event loops resolve names at once.

A real resolver blocks, so loops ask it in a thread of a pool. Ours asks nobody, and the thread would only give the
operating system a say in which of two tasks goes on first. asyncio is not imported for this: where it comes later, it
is found when the first event loop makes its poller.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pysock.shim.rebind import Rebinding

#: What a patch that is active remembers its changes in, until asyncio has been changed.
_waiting: list[Rebinding] = []


async def getaddrinfo(
    self: Any, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> Any:
    """loop.getaddrinfo()"""
    resolve = self._getaddrinfo_debug if self.get_debug() else _loop_module().socket.getaddrinfo
    return resolve(host, port, family, type, proto, flags)


async def getnameinfo(self: Any, sockaddr: Any, flags: int = 0) -> Any:
    """loop.getnameinfo()"""
    return _loop_module().socket.getnameinfo(sockaddr, flags)


def _loop_module() -> Any:
    """Where the loops find `socket`: tests put mocks there."""
    return sys.modules["asyncio.base_events"]


def install(names: Rebinding) -> None:
    """Change asyncio, now or when it comes; ``names`` undoes it."""
    _waiting.append(names)
    notice()


def uninstall() -> None:
    """Wait for asyncio no longer."""
    _waiting.clear()


def notice() -> None:
    """Somebody makes a poller: perhaps asyncio is there now."""
    if _waiting:
        loop = getattr(sys.modules.get("asyncio.base_events"), "BaseEventLoop", None)  # None: being imported
        if loop is not None:
            names = _waiting.pop()
            names.attribute(loop, "getaddrinfo", getaddrinfo)
            names.attribute(loop, "getnameinfo", getnameinfo)
