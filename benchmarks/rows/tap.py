"""Over a wire to a program of the real system: pysock through a TAP, the kernel through a veth pair.

The peer is a process of its own in a network namespace of its own, the same on both sides, free to run on any core.
Needs root and the ip command; `Unavailable` says so where they are missing.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.row import Unavailable
from benchmarks.rows.bulk import CHUNK, rate
from benchmarks.rows.common import clock
from benchmarks.stack import Stack

OURS, THEIRS, PORT = "10.77.0.2", "10.77.0.1", 4000
_CLONE_NEWNET = 0x40000000

#: The peer: accepts once, does what it is told, for as many bytes as it is told.
_PEER = """
import os, socket, sys
what, count, host, port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
os.sched_setaffinity(0, range(os.cpu_count()))
with socket.create_server((host, port)) as server:
    print("ready", flush=True)
    end, _ = server.accept()
end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
buffer = bytearray(1 << 20)
with end:
    if what == "sink":
        while count:
            count -= end.recv_into(buffer)
        end.send(b"x")
    elif what == "source":
        chunk = bytes(65536)
        for _ in range(count // len(chunk)):
            end.sendall(chunk)
    while end.recv(100):
        if what == "echo":
            end.send(b"x")
"""


def tap_bulk_out(stack: Stack, count: int) -> float:
    """64 KiB sends to the peer, timed until it has them all."""
    payload = bytes(CHUNK)
    with _connected(stack, "sink", count * CHUNK) as sock:
        start = clock()
        for _ in range(count):
            sock.sendall(payload)
        sock.recv(1)
        return rate(count, clock() - start)


def tap_bulk_in(stack: Stack, count: int) -> float:
    """What the peer sends in pieces of 64 KiB, by recv_into."""
    buffer = bytearray(1 << 18)
    with _connected(stack, "source", count * CHUNK) as sock:
        start = clock()
        left = count * CHUNK
        while left:
            left -= sock.recv_into(buffer)
        return rate(count, clock() - start)


def tap_rr(stack: Stack, count: int) -> float:
    """One byte there, one byte back, blocking."""
    with _connected(stack, "echo", 0) as sock:
        start = clock()
        for _ in range(count):
            sock.send(b"x")
            sock.recv(1)
        return count / (clock() - start)


@contextmanager
def _connected(stack: Stack, what: str, count: int) -> Iterator[socket.socket]:
    """A connection to a peer that does ``what``."""
    _check()
    name = f"psb{os.getpid() % 0xFFFFF:x}"
    theirs, ours = f"{name}t", f"{name}o"
    spaces = [theirs]
    try:
        _ip("netns", "add", theirs)
    except subprocess.CalledProcessError as exc:
        raise Unavailable("no network namespaces: the rights of root are not all there") from exc
    try:
        with _our_end(stack, name, theirs, ours, spaces) as connect:
            peer = subprocess.Popen(
                ["ip", "netns", "exec", theirs, sys.executable, "-c", _PEER, what, str(count), THEIRS, str(PORT)],
                stdout=subprocess.PIPE,
            )
            try:
                assert peer.stdout is not None
                if not peer.stdout.readline():
                    raise ConnectionError("the peer did not start")
                with connect as sock:
                    sock.setsockopt(stack.net.IPPROTO_TCP, stack.net.TCP_NODELAY, 1)
                    sock.connect((THEIRS, PORT))
                    yield sock
            finally:
                peer.kill()
                peer.communicate()
    finally:
        for space in spaces:
            _ip("netns", "del", space)


@contextmanager
def _our_end(stack: Stack, name: str, theirs: str, ours: str, spaces: list[str]) -> Iterator[socket.socket]:
    """An unconnected socket at the other end of a wire whose far end, up, is in the namespace ``theirs``."""
    if stack.module == "pysock":
        from pysock.core.device import unregister_netdev
        from pysock.core.kernel import Kernel
        from pysock.shim.uplink import bring_up, parse_address
        from pysock.vfs.task import Task, current

        kernel = Kernel.boot(entry_points=False)
        dev = bring_up(kernel.init_net, "tap", "eth0", [parse_address(f"{OURS}/24")], tap=name)
        token = current.set(Task.for_kernel(kernel))
        try:
            _ip("link", "set", name, "netns", theirs)
            _far_end(name, theirs)
            yield stack.net.socket()
        finally:
            current.reset(token)
            kernel.enter()
            unregister_netdev(dev)
            kernel.leave()
        return
    _ip("netns", "add", ours)
    spaces.append(ours)
    _ip("link", "add", name, "netns", theirs, "type", "veth", "peer", "name", name, "netns", ours)
    _ip("-n", ours, "addr", "add", f"{OURS}/24", "dev", name)
    _ip("-n", ours, "link", "set", name, "up")
    _far_end(name, theirs)
    yield _socket_in(ours)


def _far_end(name: str, theirs: str) -> None:
    _ip("-n", theirs, "addr", "add", f"{THEIRS}/24", "dev", name)
    _ip("-n", theirs, "link", "set", name, "up")


def _socket_in(space: str) -> socket.socket:
    """A socket of the kernel in the namespace ``space``: a thread's namespace is its own affair."""
    made: list[socket.socket] = []

    def make() -> None:
        fd = os.open(f"/var/run/netns/{space}", os.O_RDONLY)
        try:
            if not ctypes.CDLL(None).setns(fd, _CLONE_NEWNET):
                made.append(socket.socket())
        finally:
            os.close(fd)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def _check() -> None:
    if not os.path.exists("/dev/net/tun"):
        raise Unavailable("no /dev/net/tun")
    if os.geteuid() or shutil.which("ip") is None:
        raise Unavailable("network namespaces and TAP devices need root and the ip command")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
