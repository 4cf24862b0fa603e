"""What socket.setdefaulttimeout() set: of the whole process, as in C."""

from __future__ import annotations

from pysock.shim.args import timeout_ns, timeout_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["getdefaulttimeout", "setdefaulttimeout"]

#: Nanoseconds; -1: new sockets block.
timeout = -1


def setdefaulttimeout(value: Any, /) -> None:
    """Set the timeout in seconds of sockets that are made from now on; None: they block."""
    global timeout
    timeout = timeout_ns(value)


def getdefaulttimeout() -> float | None:
    """The timeout in seconds of new sockets; None when they block."""
    return timeout_seconds(timeout)
