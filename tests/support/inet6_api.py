"""`dgram_api` for AF_INET6: one test of sockets on pysock and on the kernel of this machine."""

from __future__ import annotations

import socket

import pytest

from pysock.families.inet6.net import Inet6Net
from pysock.syscalls.socket import sys_accept4, sys_listen, sys_socket
from pysock.uapi.socket import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_NONBLOCK
from support import dgram_api

Addr6 = tuple[str, int, int, int]
LO6 = "::1"
LO_MAPPED = "::ffff:127.0.0.1"


class Ours6(dgram_api.Ours):
    """Sockets of both families, of one pysock task; AF_INET6 where none is given. None of the calls blocks."""

    def socket(self, type: int = SOCK_DGRAM, protocol: int = 0, family: int = AF_INET6) -> int:
        return sys_socket(self.task, family, type | SOCK_NONBLOCK, protocol)

    def bound(self, host: str = LO6, port: int = 0, type: int = SOCK_DGRAM) -> int:
        fd = self.socket(type, 0, AF_INET6 if ":" in host else AF_INET)
        self.bind(fd, (host, port))
        return fd

    def listen(self, fd: int, backlog: int = 5) -> None:
        sys_listen(self.task, fd, backlog)

    def accept(self, fd: int) -> tuple[int, Addr6]:
        return sys_accept4(self.task, fd, SOCK_NONBLOCK)

    @property
    def inet6(self) -> Inet6Net:
        return self.task.net.get(Inet6Net)

    def counted(self) -> dict[str, int]:
        counted = super().counted()
        counted.update((name, value) for name, value in self.inet6.mibs.snapshot().items() if value)
        return counted


class Linux6(dgram_api.Linux):
    """The same on real sockets."""

    def socket(self, type: int = SOCK_DGRAM, protocol: int = 0, family: int = AF_INET6) -> socket.socket:
        try:
            sock = socket.socket(family, type, protocol)
        except PermissionError:
            pytest.skip("this machine's kernel does not let us have such a socket")
        sock.setblocking(False)
        self.opened.append(sock)
        return sock

    def bound(self, host: str = LO6, port: int = 0, type: int = SOCK_DGRAM) -> socket.socket:
        sock = self.socket(type, 0, AF_INET6 if ":" in host else AF_INET)
        sock.bind((host, port))
        return sock

    def listen(self, sock: socket.socket, backlog: int = 5) -> None:
        sock.listen(backlog)

    def accept(self, sock: socket.socket) -> tuple[socket.socket, Addr6]:
        new, addr = sock.accept()
        new.setblocking(False)
        self.opened.append(new)
        return new, addr


def has_ipv6() -> bool:
    """Does this machine's kernel have ::1?"""
    try:
        with socket.socket(AF_INET6, SOCK_DGRAM) as sock:
            sock.bind((LO6, 0))
    except OSError:
        return False
    return True


Api6 = Ours6 | Linux6
