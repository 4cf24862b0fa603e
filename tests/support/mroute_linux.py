"""The real kernel's multicast routing, in a namespace of its own, for tests that ask pysock the same."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pysock.uapi import mroute as nr
from support.realnet import RealNet


class Linux:
    """A router with the devices v0 and w0, whose ifindexes are ``devs``; options at ``level`` of raw sockets of
    ``protocol``.
    """

    def __init__(self, real: RealNet, family: int, protocol: int, level: int) -> None:
        self.real = real
        self.family = family
        self.protocol = protocol
        self.level = level
        self.opened: list[socket.socket] = []
        self.devs = []
        for name in ("v0", "w0"):
            real.ip("-n", real.name, "link", "add", name, "type", "veth", "peer", "name", f"{name}p")
            real.ip("-n", real.name, "link", "set", name, "up")
            self.devs.append(int(real.run("cat", f"/sys/class/net/{name}/ifindex")))
        with self.socket() as sock:
            try:
                self.getopt(sock, nr.MRT_VERSION)
            except OSError:
                pytest.skip("the kernel has no multicast routing")

    def socket(self, type: int = socket.SOCK_RAW, protocol: int | None = None) -> socket.socket:
        self.opened.append(self.real.socket(self.family, type, self.protocol if protocol is None else protocol))
        return self.opened[-1]

    def setopt(self, sock: socket.socket, name: int, value: int | bytes) -> None:
        sock.setsockopt(self.level, name, value)

    def getopt(self, sock: socket.socket, name: int) -> int:
        return sock.getsockopt(self.level, name)

    def ioctl(self, sock: socket.socket, command: int, arg: bytes) -> bytes:
        return fcntl.ioctl(sock.fileno(), command, arg)

    def show(self, name: str) -> str:
        return self.real.run("cat", f"/proc/net/{name}")

    def close(self, sock: socket.socket) -> None:
        sock.close()


@contextmanager
def linux(family: int, protocol: int, level: int) -> Iterator[Linux]:
    """`Linux`, as long as the block lasts. Skips the test where it can't be had."""
    with RealNet() as real:
        api = Linux(real, family, protocol, level)
        try:
            yield api
        finally:
            for sock in api.opened:
                sock.close()
