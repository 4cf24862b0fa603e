"""trio on pysock without a patch, through the two hooks that trio has for this (trio.socket, "Alternative networks").

    trio.socket.set_custom_socket_factory(SocketFactory())
    trio.socket.set_custom_hostname_resolver(HostnameResolver())

trio's own loop stays on the operating system's poller, and waits for a `Mirror` of each socket: so the clock is real.
Set the hooks inside `trio.run`, as they belong to a run.
"""

from __future__ import annotations

from functools import partial

import trio
from trio import lowlevel

from pysock.shim import cselect
from pysock.shim.loader import stdlib_socket
from pysock.shim.mirror import Mirror, mirror
from pysock.uapi.poll import POLLIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

_socket: Any = stdlib_socket()


class SocketFactory(trio.abc.SocketFactory):
    """Makes sockets of the current task (see `pysock.vfs.task`)."""

    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> TrioSocket:
        """A `trio.socket.SocketType` over a new socket of pysock's; the errors of `socket.socket`."""
        return TrioSocket(_socket.socket(family, type, proto))


class HostnameResolver(trio.abc.HostnameResolver):
    """Answers from the hosts table of pysock's network."""

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As `socket.getaddrinfo`."""
        await lowlevel.checkpoint()
        return list(_socket.getaddrinfo(host, port, family, type, proto, flags))

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """As `socket.getnameinfo`."""
        await lowlevel.checkpoint()
        name: tuple[str, str] = _socket.getnameinfo(sockaddr, flags)
        return name


def _waiting(name: str, ready: Callable[[int], Awaitable[None]]) -> Callable[..., Any]:
    """An async method that calls the socket's ``name`` as often as it would block, and waits in between."""

    async def method(self: TrioSocket, *args: Any, **kwargs: Any) -> Any:
        await lowlevel.checkpoint()
        call = partial(getattr(self._sock, name), *args, **kwargs)
        while True:
            try:
                return call()
            except BlockingIOError:
                await ready(self._mirror.fileno())

    method.__name__ = method.__qualname__ = name
    return method


def _at_once(name: str) -> Callable[..., Any]:
    """A method that is the socket's ``name``, which never blocks."""

    def method(self: TrioSocket, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._sock, name)(*args, **kwargs)

    method.__name__ = method.__qualname__ = name
    return method


class TrioSocket(trio.socket.SocketType):
    """One socket of pysock's with trio's face; errors are those of the call."""

    def __init__(self, sock: Any) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._mirror: Mirror = mirror(sock)
        self._shut = False

    family = property(lambda self: self._sock.family)
    type = property(lambda self: self._sock.type)
    proto = property(lambda self: self._sock.proto)
    did_shutdown_SHUT_WR = property(lambda self: self._shut)

    fileno = _at_once("fileno")
    getpeername = _at_once("getpeername")
    getsockname = _at_once("getsockname")
    getsockopt = _at_once("getsockopt")
    setsockopt = _at_once("setsockopt")
    listen = _at_once("listen")
    get_inheritable = _at_once("get_inheritable")
    set_inheritable = _at_once("set_inheritable")

    def __enter__(self) -> TrioSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TrioSocket {self._sock!r}>"

    def dup(self) -> TrioSocket:
        """As `socket.dup`."""
        return TrioSocket(self._sock.dup())

    def close(self) -> None:
        """Close the socket; whoever waits for it gets `trio.ClosedResourceError`."""
        if not self._mirror.closed:
            lowlevel.notify_closing(self._mirror.fileno())
        self._sock.close()

    def detach(self) -> int:
        """The fd, which is the caller's to close now."""
        self._mirror.close()
        fd: int = self._sock.detach()
        return fd

    def shutdown(self, how: int) -> None:
        """As `socket.shutdown`."""
        self._sock.shutdown(how)
        if how != _socket.SHUT_RD:
            self._shut = True

    def is_readable(self) -> bool:
        """Whether a receive would not block now."""
        poller = cselect.poll()
        poller.register(self._sock.fileno(), POLLIN)
        return bool(poller.poll(0))

    async def wait_writable(self) -> None:
        """Wait until a send would not block."""
        await lowlevel.wait_writable(self._mirror.fileno())

    async def bind(self, address: Any) -> None:
        """As `socket.bind`; names are looked up in the hosts table."""
        await lowlevel.checkpoint()
        self._sock.bind(address)

    async def connect(self, address: Any) -> None:
        """As `socket.connect`."""
        await lowlevel.checkpoint()
        try:
            self._sock.connect(address)
        except BlockingIOError:
            await lowlevel.wait_writable(self._mirror.fileno())
            error = self._sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if error:
                raise OSError(error, f"connecting to {address!r} failed") from None

    async def accept(self) -> tuple[TrioSocket, Any]:
        """As `socket.accept`."""
        sock, address = await _accept(self)
        return TrioSocket(sock), address

    recv = _waiting("recv", lowlevel.wait_readable)
    recv_into = _waiting("recv_into", lowlevel.wait_readable)
    recvfrom = _waiting("recvfrom", lowlevel.wait_readable)
    recvfrom_into = _waiting("recvfrom_into", lowlevel.wait_readable)
    recvmsg = _waiting("recvmsg", lowlevel.wait_readable)
    recvmsg_into = _waiting("recvmsg_into", lowlevel.wait_readable)
    send = _waiting("send", lowlevel.wait_writable)
    sendto = _waiting("sendto", lowlevel.wait_writable)
    sendmsg = _waiting("sendmsg", lowlevel.wait_writable)


_accept = _waiting("accept", lowlevel.wait_readable)
