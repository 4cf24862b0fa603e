"""Sockets of pysock and of the real kernel behind the same few functions, for tests that compare socket options."""

from __future__ import annotations

import errno
import select
import socket
from typing import TYPE_CHECKING

from pysock.syscalls.file import sys_close, sys_set_nonblock
from pysock.syscalls.message import sys_recvmsg, sys_sendmsg
from pysock.syscalls.socket import (
    sys_accept4,
    sys_bind,
    sys_connect,
    sys_getsockname,
    sys_getsockopt,
    sys_listen,
    sys_setsockopt,
    sys_socket,
    sys_socketpair,
)
from pysock.uapi.socket import MSG_DONTWAIT
from pysock.vfs.task import Task

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    #: Makes one kind of socket with an api.
    Maker: TypeAlias = Any

SOL_SOCKET = socket.SOL_SOCKET
LOCALHOST = ("127.0.0.1", 0)


class Ours:
    """A task of its own kernel, in virtual time."""

    def __init__(self) -> None:
        self.task = Task.boot(clock="virtual", seed=1)

    def socket(self, family: int, type: int, protocol: int = 0) -> int:
        return sys_socket(self.task, family, type, protocol)

    def pair(self, type: int) -> int:
        return sys_socketpair(self.task, socket.AF_UNIX, type)[0]

    def tcp_connection(self) -> int:
        listener = self.listener()
        client = self.socket(socket.AF_INET, socket.SOCK_STREAM)
        sys_connect(self.task, client, sys_getsockname(self.task, listener))
        sys_accept4(self.task, listener)
        return client

    def listener(self) -> int:
        fd = self.socket(socket.AF_INET, socket.SOCK_STREAM)
        sys_bind(self.task, fd, LOCALHOST)
        sys_listen(self.task, fd, 1)
        return fd

    def set(self, fd: int, optname: int, value: bytes) -> None:
        sys_setsockopt(self.task, fd, SOL_SOCKET, optname, value)

    def get(self, fd: int, optname: int, size: int) -> bytes:
        return sys_getsockopt(self.task, fd, SOL_SOCKET, optname, size)

    def bound(self, type: int) -> int:
        """An AF_INET socket at a port of 127.0.0.1; for raw ones ICMP's."""
        fd = self.socket(socket.AF_INET, type, socket.IPPROTO_ICMP if type == socket.SOCK_RAW else 0)
        sys_bind(self.task, fd, LOCALHOST)
        return fd

    def bind(self, fd: int, addr: tuple[str, int]) -> None:
        sys_bind(self.task, fd, addr)

    def name(self, fd: int) -> Any:
        return sys_getsockname(self.task, fd)

    def connect(self, fd: int, addr: Any) -> None:
        sys_connect(self.task, fd, addr)

    def accept(self, fd: int) -> int:
        return sys_accept4(self.task, fd)[0]

    def send(self, fd: int, data: bytes, addr: Any = None, flags: int = 0, control: Any = ()) -> int:
        return sys_sendmsg(self.task, fd, [data], control, flags, addr)

    def recv(self, fd: int, size: int, flags: int = 0) -> tuple[bytes, list[tuple[int, int, bytes]], int]:
        return sys_recvmsg(self.task, fd, size, 999, flags | MSG_DONTWAIT)[:3]

    def listen(self, fd: int) -> None:
        sys_listen(self.task, fd, 5)

    def set_blocking(self, fd: int, blocking: bool) -> None:
        sys_set_nonblock(self.task, fd, not blocking)

    def both_ends(self, type: int) -> tuple[int, int]:
        return sys_socketpair(self.task, socket.AF_UNIX, type)

    def drop(self, fd: int) -> None:
        sys_close(self.task, fd)

    def set_ip(self, fd: int, optname: int, value: bytes) -> None:
        sys_setsockopt(self.task, fd, socket.SOL_IP, optname, value)

    def poll(self, fd: int) -> int:
        """What holds now."""
        return self.task.files.get(fd).poll(None)

    def close(self) -> None:
        self.task.exit()


class Real:
    """The kernel of this machine."""

    def __init__(self) -> None:
        self.open: list[socket.socket] = []

    def _keep(self, *socks: socket.socket) -> socket.socket:
        self.open += socks
        return socks[0]

    def socket(self, family: int, type: int, protocol: int = 0) -> socket.socket:
        return self._keep(socket.socket(family, type, protocol))

    def pair(self, type: int) -> socket.socket:
        return self._keep(*socket.socketpair(socket.AF_UNIX, type))

    def tcp_connection(self) -> socket.socket:
        listener = self.listener()
        client = socket.create_connection(listener.getsockname())
        return self._keep(client, listener.accept()[0])

    def listener(self) -> socket.socket:
        sock = self.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind(LOCALHOST)
        sock.listen(1)
        return sock

    def set(self, sock: socket.socket, optname: int, value: bytes) -> None:
        sock.setsockopt(SOL_SOCKET, optname, value)

    def get(self, sock: socket.socket, optname: int, size: int) -> bytes:
        return sock.getsockopt(SOL_SOCKET, optname, size)

    def bound(self, type: int) -> socket.socket:
        sock = self.socket(socket.AF_INET, type, socket.IPPROTO_ICMP if type == socket.SOCK_RAW else 0)
        sock.bind(LOCALHOST)
        return sock

    def bind(self, sock: socket.socket, addr: tuple[str, int]) -> None:
        sock.bind(addr)

    def name(self, sock: socket.socket) -> Any:
        return sock.getsockname()

    def connect(self, sock: socket.socket, addr: Any) -> None:
        sock.connect(addr)

    def accept(self, sock: socket.socket) -> socket.socket:
        return self._keep(sock.accept()[0])

    def send(self, sock: socket.socket, data: bytes, addr: Any = None, flags: int = 0, control: Any = ()) -> int:
        return sock.sendmsg([data], control, flags, *(() if addr is None else (addr,)))

    def recv(self, sock: socket.socket, size: int, flags: int = 0) -> tuple[bytes, list[tuple[int, int, bytes]], int]:
        return sock.recvmsg(size, 999, flags | MSG_DONTWAIT)[:3]

    def listen(self, sock: socket.socket) -> None:
        sock.listen(5)

    def set_blocking(self, sock: socket.socket, blocking: bool) -> None:
        sock.setblocking(blocking)

    def both_ends(self, type: int) -> tuple[socket.socket, socket.socket]:
        first, second = socket.socketpair(socket.AF_UNIX, type)
        self._keep(first, second)
        return first, second

    def drop(self, sock: socket.socket) -> None:
        sock.close()

    def set_ip(self, sock: socket.socket, optname: int, value: bytes) -> None:
        sock.setsockopt(socket.SOL_IP, optname, value)

    def poll(self, sock: socket.socket) -> int:
        poller = select.poll()
        poller.register(sock, 0xFFFF)
        return dict(poller.poll(0)).get(sock.fileno(), 0)

    def close(self) -> None:
        for sock in self.open:
            sock.close()


def outcome(function: Any, *args: object) -> object:
    """What a call returns, or the name of its error."""
    try:
        result = function(*args)
    except OSError as exc:
        return errno.errorcode.get(exc.errno or 0, exc.errno)
    return result.hex() if isinstance(result, bytes) else result
