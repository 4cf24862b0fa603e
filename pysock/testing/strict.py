"""Strict mode: a test that reaches for the real network ends with an error that names the call.

The calls are seen by an audit hook (PEP 578), so it does not matter how the program came by the real `socket`. pysock's
own sockets raise the same audit events, from modules of pysock's; those pass. Names of files (AF_UNIX) are not the
network, and asyncio needs a socketpair.
"""

from __future__ import annotations

import ipaddress
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LOCAL_FAMILIES = (1, 16)  # AF_UNIX, AF_NETLINK
_SOCKET_EVENTS = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"})
_NAME_EVENTS = frozenset(
    {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
)  # gethostbyname_ex raises the event of gethostbyname


class RealNetworkError(RuntimeError):
    """A test in strict mode reached for the real network. No OSError: programs retry after those."""


def _needs_no_server(host: object) -> bool:
    """Whether ``host`` is an address already, or no host at all."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str):
        return host is None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """Watches the whole process while ``test`` names a test in strict mode; None: everything may pass."""

    __slots__ = ("_hooked", "test")

    def __init__(self) -> None:
        self.test: str | None = None
        self._hooked = False

    def watch(self, test: str | None) -> None:
        """Guard ``test`` from now on, or nobody."""
        if test is not None and not self._hooked:
            self._hooked = True
            sys.addaudithook(self._audit)  # for good: a hook cannot be taken back
        self.test = test

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if self.test is None or not event.startswith("socket."):
            return
        if event in _SOCKET_EVENTS:
            if args[0].family in _LOCAL_FAMILIES:
                return
            shown = args[1:]
        elif event in _NAME_EVENTS:
            if _needs_no_server(args[0]):
                return
            shown = args[:2] if event == "socket.getaddrinfo" else args
        else:
            return
        caller = sys._getframe(1)
        if caller.f_globals.get("__name__", "").startswith("pysock.shim."):
            return
        call = f"{event}({', '.join(map(repr, shown))})"
        where = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        raise RealNetworkError(f"{call} at {where} reached for the real network during {self.test}")
