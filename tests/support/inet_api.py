"""Sockets of a kernel of one's own, through families and ProtoOps: for tests below the shim."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pysock.core.kernel import Kernel
from pysock.core.sock import Socket
from pysock.uapi.fcntl import O_NONBLOCK
from pysock.uapi.socket import AF_INET, MSG_DONTWAIT, SOCK_DGRAM, SOCK_STREAM


def boot(seed: int = 1) -> Kernel:
    """A kernel in virtual time with the built-in plugins and no others."""
    return Kernel.boot(clock="virtual", seed=seed, entry_points=False)


class InetSocket:
    """A socket whose calls never block: what is not there raises BlockingIOError."""

    def __init__(self, kernel: Kernel, type: int = SOCK_STREAM, sock: Socket | None = None) -> None:
        self.kernel = kernel
        if sock is None:
            sock = self._call(kernel.families.create, kernel.init_net, kernel.creds, AF_INET, type, 0)
        self.sock = sock

    def _call(self, function, *args):  # type: ignore[no-untyped-def]
        self.kernel.enter()
        try:
            return function(*args)
        finally:
            self.kernel.leave()

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        operation = getattr(self.sock.ops, name)
        return lambda *args: self._call(operation, self.sock, *args)

    def connect(self, addr: tuple[str, int]) -> None:
        try:
            self._call(self.sock.ops.connect, self.sock, addr, O_NONBLOCK)
        except BlockingIOError:
            self._call(self.sock.ops.connect, self.sock, addr, O_NONBLOCK)

    def accept(self) -> InetSocket:
        new = Socket(SOCK_STREAM)
        self._call(self.sock.ops.accept, self.sock, new, O_NONBLOCK)
        return InetSocket(self.kernel, SOCK_STREAM, new)

    def send(self, data: bytes) -> int:
        return self._call(self.sock.ops.sendmsg, self.sock, data, MSG_DONTWAIT)  # type: ignore[no-any-return]

    def recv(self, size: int = 1 << 20) -> bytes:
        return self._call(self.sock.ops.recvmsg, self.sock, size, MSG_DONTWAIT)  # type: ignore[no-any-return]

    def name(self) -> tuple[str, int]:
        return self._call(self.sock.ops.getname, self.sock, False)  # type: ignore[no-any-return]

    def close(self) -> None:
        self._call(self.sock.ops.release, self.sock)


def listener(kernel: Kernel, port: int = 8080, backlog: int = 5) -> InetSocket:
    sock = InetSocket(kernel)
    sock.bind(("127.0.0.1", port))
    sock.listen(backlog)
    return sock


def connection(kernel: Kernel, port: int = 8080) -> tuple[InetSocket, InetSocket, InetSocket]:
    """A listener, a client connected to it, and the accepted end."""
    server = listener(kernel, port)
    client = InetSocket(kernel)
    client.connect(("127.0.0.1", port))
    return server, client, server.accept()


def datagram_socket(kernel: Kernel, port: int = 0) -> InetSocket:
    sock = InetSocket(kernel, SOCK_DGRAM)
    if port:
        sock.bind(("127.0.0.1", port))
    return sock


def tshark(path: Path, *arguments: str) -> str:
    """What Wireshark's command-line tool says of a capture, checksums validated; skips the test where it is missing.

    It must exit with 0 and say nothing on stderr.
    """
    program = shutil.which("tshark")
    if program is None:
        pytest.skip("tshark is not installed: nothing outside pysock has read this capture")
    command = [program, "-n", "-r", str(path), "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
    command += ["-o", "udp.check_checksum:TRUE", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if line and not line.startswith("Running as user")]
    assert done.returncode == 0, done.stderr
    assert not complaints, done.stderr
    return done.stdout
