"""The class: what passes through it, in both directions, on our stack and on the operating system's."""

from __future__ import annotations

import array
import errno
import gc
import socket
import sys
import threading
import warnings
from types import ModuleType
from typing import Any

import pytest
from support.patience import PATIENCE

from pysock.vfs.task import Task


def tcp_pair(net: ModuleType) -> tuple[Any, Any]:
    with net.create_server(("127.0.0.1", 0)) as server:
        client = net.create_connection(server.getsockname())
        peer, _ = server.accept()
    return client, peer


def test_tcp(net: ModuleType) -> None:
    client, peer = tcp_pair(net)
    with client, peer:
        assert client.getpeername() == peer.getsockname()
        client.sendall(b"hello")
        assert peer.recv(2) + peer.recv(100) == b"hello"
        buffer = bytearray(8)
        peer.sendall(array.array("H", [1, 2]))
        assert client.recv_into(buffer, 3) == 3
        assert client.recv_into(memoryview(buffer)[3:]) == 1
        assert buffer[:4] == array.array("H", [1, 2]).tobytes()
        client.shutdown(net.SHUT_WR)
        assert peer.recv(1) == b""


def test_udp(net: ModuleType) -> None:
    with net.socket(net.AF_INET, net.SOCK_DGRAM) as a, net.socket(net.AF_INET, net.SOCK_DGRAM) as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("", 0))
        assert b.sendto(b"one", a.getsockname()) == 3
        assert b.sendto(b"two", 0, ("localhost", a.getsockname()[1])) == 3
        data, sender = a.recvfrom(100)
        assert (data, sender) == (b"one", ("127.0.0.1", b.getsockname()[1]))
        buffer = bytearray(10)
        assert a.recvfrom_into(buffer) == (3, sender)
        assert buffer[:3] == b"two"


def test_messages(net: ModuleType) -> None:
    a, b = net.socketpair()
    with a, b:
        assert a.sendmsg([b"ab", bytearray(b"cd"), memoryview(b"e")]) == 5
        assert b.recvmsg(3)[:2] == (b"abc", [])
        first, second = bytearray(1), bytearray(5)
        assert b.recvmsg_into([first, second])[0] == 2
        assert first + second == b"de\0\0\0\0"


def test_accepted_type_and_inheritance(net: ModuleType) -> None:
    client, peer = tcp_pair(net)
    with client, peer:
        assert type(peer) is type(client) is net.socket
        assert not peer.get_inheritable()
        peer.set_inheritable(True)
        assert peer.get_inheritable()
        assert (peer.family, peer.type, peer.proto) == (net.AF_INET, net.SOCK_STREAM, 0)


def test_dup_and_fromfd_share_the_connection(net: ModuleType) -> None:
    client, peer = tcp_pair(net)
    with client, peer, peer.dup() as again, net.socket(fileno=net.dup(peer.fileno())) as third:
        assert (third.family, third.type, third.proto) == (net.AF_INET, net.SOCK_STREAM, net.IPPROTO_TCP)
        client.sendall(b"xyz")
        assert peer.recv(1) + again.recv(1) + third.recv(1) == b"xyz"


def test_makefile_and_close_order(net: ModuleType) -> None:
    client, peer = tcp_pair(net)
    with client, peer.makefile("rwb") as file:
        peer.close()
        client.sendall(b"line\nrest")
        assert file.readline() == b"line\n"
        file.write(b"answer")
        file.flush()
        assert client.recv(100) == b"answer"


def test_non_blocking(net: ModuleType) -> None:
    client, peer = tcp_pair(net)
    with client, peer:
        peer.setblocking(False)
        assert peer.gettimeout() == 0
        with pytest.raises(BlockingIOError) as caught:
            peer.recv(1)
        assert caught.value.errno == errno.EAGAIN
        with net.socket() as other:
            other.setblocking(False)
            with net.create_server(("127.0.0.1", 0)) as server:
                assert other.connect_ex(server.getsockname()) == errno.EINPROGRESS
                server.accept()[0].close()
            assert other.getsockopt(net.SOL_SOCKET, net.SO_ERROR) == 0


def test_sock_nonblock_is_no_part_of_the_type(net: ModuleType) -> None:
    with net.socket(type=net.SOCK_STREAM | net.SOCK_NONBLOCK) as sock:
        assert sock.gettimeout() == 0
        assert sock.type == net.SOCK_STREAM


def test_timeout_in_real_time(net: ModuleType) -> None:
    a, b = net.socketpair()
    with a, b:
        a.settimeout(0.001)
        assert (a.gettimeout(), a.timeout, a.getblocking()) == (0.001, 0.001, True)
        with pytest.raises(TimeoutError, match=r"^timed out$"):
            a.recv(1)
        b.send(b"x")
        assert a.recv(1) == b"x"


def test_default_timeout(net: ModuleType) -> None:
    net.setdefaulttimeout(5)
    try:
        assert net.getdefaulttimeout() == 5
        with net.socket() as sock:
            assert sock.gettimeout() == 5
    finally:
        net.setdefaulttimeout(None)
    with net.socket() as sock:
        assert sock.gettimeout() is None


def test_refused(net: ModuleType) -> None:
    with net.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound and not listening: so nobody else on this machine gets the port
        address = silent.getsockname()
        with net.socket() as sock, pytest.raises(ConnectionRefusedError) as caught:
            sock.connect(address)
        assert caught.value.errno == errno.ECONNREFUSED
        with net.socket() as sock:
            assert sock.connect_ex(address) == errno.ECONNREFUSED


def test_closed(net: ModuleType) -> None:
    sock = net.socket()
    sock.close()
    sock.close()
    assert sock.fileno() == -1
    for call in (sock.getsockname, lambda: sock.recv(1), lambda: sock.send(b""), lambda: sock.settimeout(1)):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF


def test_unclosed_socket_warns_and_closes(task: Task, face: ModuleType) -> None:
    sock = face.socket()
    assert len(task.fds) == 1
    with pytest.warns(ResourceWarning, match=r"unclosed <socket\.socket fd=\d+, family=2") as caught:
        del sock
    assert caught[0].filename == __file__
    assert not task.fds


def test_a_finalizer_inside_the_kernel_waits(task: Task, face: ModuleType) -> None:
    sock = face.socket()
    task.kernel.acquire()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            del sock
            gc.collect()
        assert len(task.fds) == 1
    finally:
        task.kernel.leave()
    assert not task.fds


def test_sendall_of_more_than_the_buffers(net: ModuleType) -> None:
    client, peer = tcp_pair(net)
    data = bytes(range(256)) * 40_000
    client.settimeout(PATIENCE)
    sender = threading.Thread(target=client.sendall, args=(data,))
    with client, peer:
        sender.start()
        received = bytearray()
        while len(received) < len(data):
            received += peer.recv(1 << 20)
        sender.join()
    assert received == data


def test_sendall_gives_up_at_its_deadline(face: ModuleType) -> None:
    a, b = face.socketpair()
    with a, b:
        a.settimeout(0.01)
        with pytest.raises(TimeoutError, match=r"^timed out$"):
            a.sendall(bytes(32 << 20))


def test_audit_events(face: ModuleType) -> None:
    seen: list[tuple[str, tuple[object, ...]]] = []
    listening = [True]

    def hook(event: str, args: tuple[object, ...]) -> None:
        if listening[0] and event.startswith("socket."):
            seen.append((event, args))

    sys.addaudithook(hook)
    try:
        with face.socket(face.AF_INET, face.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.sendto(b"", sock.getsockname())
            sock.sendmsg([b""], [], 0, sock.getsockname())
            sock.connect(sock.getsockname())
            name = sock.getsockname()
            face.gethostbyname("localhost")
            face.gethostname()
    finally:
        listening[0] = False
    assert seen == [
        ("socket.__new__", (sock, 2, 2, 0)),
        ("socket.bind", (sock, ("127.0.0.1", 0))),
        ("socket.sendto", (sock, name)),
        ("socket.sendmsg", (sock, name)),
        ("socket.connect", (sock, name)),
        ("socket.gethostbyname", ("localhost",)),
        ("socket.gethostname", ()),
    ]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_msg_trunc_tells_the_length_and_spares_the_buffer(net: ModuleType, kind: int) -> None:
    first, second = net.socketpair(net.AF_UNIX, kind)
    with first, second:
        for _ in range(8):
            first.send(b"0123456789")
        buffer = bytearray(6)
        assert len(second.recv(4, net.MSG_TRUNC)) == 10
        assert len(second.recvfrom(4, net.MSG_TRUNC)[0]) == 10
        assert second.recv_into(buffer, 4, net.MSG_TRUNC) == 10
        assert buffer == b"0123\0\0"
        assert second.recvfrom_into(buffer, 0, net.MSG_TRUNC)[0] == 10
        assert buffer == b"012345"
        assert second.recvmsg(4, 0, net.MSG_TRUNC)[:3] == (b"0123", [], net.MSG_TRUNC)
        parts = [bytearray(1), bytearray(2)]
        assert second.recvmsg_into(parts, 0, net.MSG_TRUNC)[0] == 10
        assert parts == [b"0", b"12"]
        assert second.recv(0) == b""
        assert second.recv_into(bytearray(), 0, net.MSG_TRUNC) == 0
        assert second.recv(20) == b"0123456789"
