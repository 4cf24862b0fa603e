"""pysock.mirror(): what the operating system's own pollers see of our sockets."""

from __future__ import annotations

import errno
import gc
import os
import socket
from types import ModuleType

import pytest
from support.descriptors import held

import pysock
from pysock.core.timer import Timer
from pysock.shim import real
from pysock.shim.mirror import Mirror
from pysock.shim.patching import Patch

IN, OUT = real.SELECT.POLLIN, real.SELECT.POLLOUT


def seen(mirror: Mirror, timeout_ms: int = 0) -> int:
    """What poll(2) says of the mirror."""
    poller = real.select_poll()
    poller.register(mirror.fileno(), IN | OUT)
    return dict(poller.poll(timeout_ms)).get(mirror.fileno(), 0)


def tcp_pair(net: ModuleType) -> tuple[pysock.socket, pysock.socket]:
    with net.create_server(("127.0.0.1", 0)) as listener:
        client = net.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return client, server


def test_readable_follows_the_socket(face: ModuleType) -> None:
    client, server = tcp_pair(face)
    with client, server, pysock.mirror(server) as mirror:
        assert seen(mirror) == OUT
        client.send(b"abc")
        assert seen(mirror) == IN | OUT
        server.recv(1)
        assert seen(mirror) == IN | OUT
        server.recv(2)
        assert seen(mirror) == OUT
        client.close()
        assert seen(mirror) & IN
        assert server.recv(1) == b""


def test_writable_follows_the_socket(face: ModuleType) -> None:
    client, server = tcp_pair(face)
    with client, server, pysock.mirror(client) as mirror:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                client.send(bytes(100_000))
        assert seen(mirror) == 0
        while not seen(mirror):
            server.recv(100_000)
        assert seen(mirror) == OUT


def test_a_listener_is_readable_while_a_connection_waits(face: ModuleType) -> None:
    with face.create_server(("127.0.0.1", 0)) as listener, pysock.mirror(listener) as mirror:
        assert not seen(mirror) & IN
        with face.create_connection(listener.getsockname()) as client:
            assert seen(mirror) & IN
            server, _ = listener.accept()
            assert not seen(mirror) & IN
            with server, pysock.mirror(server) as other:  # the accepted socket is not entangled with the listener
                client.send(b"x")
                assert seen(other) & IN
                assert not seen(mirror) & IN


def test_datagrams(face: ModuleType) -> None:
    with face.socket(type=face.SOCK_DGRAM) as receiver, face.socket(type=face.SOCK_DGRAM) as sender:
        receiver.bind(("127.0.0.1", 0))
        with pysock.mirror(receiver.fileno()) as mirror:
            sender.sendto(b"1", receiver.getsockname())
            assert seen(mirror) == IN | OUT
            receiver.recv(1)
            assert seen(mirror) == OUT


def test_closed_with_the_socket(face: ModuleType) -> None:
    first, second = face.socketpair()
    mirror = pysock.mirror(first)
    fd = mirror.fileno()
    first.close()
    assert mirror.closed
    assert mirror.fileno() == -1
    with pytest.raises(OSError) as caught:
        real.os_fstat(fd)
    assert caught.value.errno == errno.EBADF
    mirror.close()
    second.close()


def test_closing_leaves_the_socket_alone(face: ModuleType) -> None:
    first, second = face.socketpair()
    with first, second:
        mirrors = [pysock.mirror(first), pysock.mirror(first)]
        second.send(b"x")
        assert all(seen(mirror) & IN for mirror in mirrors)
        for mirror in mirrors:
            mirror.close()
            mirror.close()
        assert first.recv(1) == b"x"
        first.send(b"y")
        assert second.recv(1) == b"y"


def test_timers_go_on_while_a_thread_waits_in_c(patched: Patch) -> None:
    with socket.socket() as sock:
        patched.kernel.acquire()
        try:
            timer_ran: list[bool] = []
            timer = Timer(lambda: timer_ran.append(True))
            with pysock.mirror(sock):
                patched.kernel.timers.mod_timer(timer, patched.kernel.clock_ns() + 5_000_000)
                patched.kernel.leave()
                try:
                    while not timer_ran:
                        real.select_poll().poll(1)
                finally:
                    patched.kernel.acquire()
        finally:
            patched.kernel.leave()
    assert timer_ran


def test_only_sockets_of_ours(face: ModuleType) -> None:
    read_end, write_end = os.pipe()
    try:
        with pytest.raises(OSError) as caught:
            pysock.mirror(read_end)
        assert caught.value.errno == errno.EBADF
    finally:
        os.close(read_end)
        os.close(write_end)


def test_nothing_is_left_behind(face: ModuleType) -> None:
    with face.socket() as sock:
        before = held()
        mirror = pysock.mirror(sock)
        assert len(held() - before) == 2
        del mirror
    gc.collect()
    assert held() <= before
