"""TCP between two hosts over the driver that was asked for."""

from __future__ import annotations

import errno
import hashlib
import select
import socket
import struct

import pytest
from support.cables import Lan

MEGABYTES = 4


def echo(server: socket.socket, connections: int) -> int:
    """Serve them one after the other, until each has said everything."""
    served = 0
    for _ in range(connections):
        sock, _ = server.accept()
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)
                served += len(data)
    return served


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while data := sock.recv(1 << 20):
        parts.append(data)
    return b"".join(parts)


def test_connect_talk_and_half_close(lan: Lan, family: int) -> None:
    with lan.listen(family) as server:
        serving = lan.peer.start(echo, server, 1)
        with socket.create_connection((lan.address(family), 80)) as sock:
            assert sock.getpeername()[:2] == (lan.address(family), 80)
            assert sock.getsockname()[0] == lan.address(family, lan.here)
            for size in (1, 2, 1447, 1448, 1449, 20_000):
                sock.sendall(b"x" * size)
                assert sock.recv(size, socket.MSG_WAITALL) == b"x" * size
            sock.sendall(b"last words")
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b"last words"
        assert serving.result(30) == 1 + 2 + 1447 + 1448 + 1449 + 20_000 + 10


def test_names_resolve_to_the_far_end(lan: Lan) -> None:
    with lan.listen() as server:
        with socket.create_connection(("peer", 80)) as sock:
            theirs, address = server.accept()
            theirs.close()
            assert address[0] == lan.here.address
            assert sock.recv(1) == b""


def test_a_port_where_nobody_listens(lan: Lan, family: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        assert sock.connect_ex((lan.address(family), 9)) == errno.ECONNREFUSED


def test_reset(lan: Lan, family: int) -> None:
    ours, theirs = lan.pair(family)
    with ours:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        with pytest.raises(ConnectionResetError):
            ours.recv(1)
        with pytest.raises(BrokenPipeError):
            ours.send(b"x")


def test_megabytes_both_ways_at_once(lan: Lan, family: int) -> None:
    """Every byte arrives, in order, whatever the segments and rings were."""
    chunks = [hashlib.sha256(bytes((n,))).digest() * 2048 for n in range(16 * MEGABYTES)]  # 64 KiB each, all different
    there, back = hashlib.sha256(b"".join(chunks)), hashlib.sha256(b"".join(reversed(chunks)))

    def send(sock: socket.socket, parts: list[bytes]) -> None:
        for part in parts:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)

    def receive(sock: socket.socket) -> str:
        found = hashlib.sha256()
        while data := sock.recv(1 << 18):
            found.update(data)
        return found.hexdigest()

    ours, theirs = lan.pair(family)
    with ours, theirs:
        sending = lan.peer.start(send, theirs, chunks[::-1])
        receiving = lan.peer.start(receive, theirs)
        sending_too = lan.here.start(send, ours, chunks)
        assert receive(ours) == back.hexdigest()
        assert receiving.result(60) == there.hexdigest()
        sending.result(60)
        sending_too.result(60)


def test_many_connections_at_once(lan: Lan) -> None:
    with lan.listen() as server:
        ours = [socket.create_connection(("peer", 80)) for _ in range(40)]
        theirs = [server.accept()[0] for _ in ours]
        for number, sock in enumerate(ours):
            sock.sendall(b"%d" % number)
        by_port = {sock.getsockname()[1]: number for number, sock in enumerate(ours)}
        for sock in theirs:
            assert sock.recv(10) == b"%d" % by_port[sock.getpeername()[1]]
            sock.close()
        for sock in ours:
            assert sock.recv(1) == b""
            sock.close()


def test_many_connections_one_after_the_other(lan: Lan) -> None:
    with lan.listen() as server:
        serving = lan.peer.start(echo, server, 60)
        for number in range(60):
            with socket.create_connection(("peer", 80)) as sock:
                sock.sendall(b"%d" % number)
                sock.shutdown(socket.SHUT_WR)
                assert read_all(sock) == b"%d" % number
        assert serving.result(60) == sum(len(str(number)) for number in range(60))


def test_urgent_data(lan: Lan) -> None:
    ours, theirs = lan.pair()
    with ours, theirs:
        ours.sendall(b"ab")
        ours.send(b"!", socket.MSG_OOB)
        ours.sendall(b"cd")
        assert select.select([], [], [theirs], 30)[2] == [theirs]
        assert theirs.recv(1, socket.MSG_OOB) == b"!"
        assert theirs.recv(100) == b"ab"  # up to the mark
        assert theirs.recv(2, socket.MSG_WAITALL) == b"cd"


def test_the_segment_size_is_that_of_the_link(lan: Lan, family: int) -> None:
    ours, theirs = lan.pair(family)
    with ours, theirs:
        headers = (40 if family == socket.AF_INET6 else 20) + 32  # TCP's with timestamps
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == 1500 - headers
