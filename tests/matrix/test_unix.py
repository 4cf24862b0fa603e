"""AF_UNIX and loopback go nowhere near a cable, whatever the driver."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cables import Lan

from pysock.testing.session import Session


@pytest.fixture
def still(pysock: Session) -> Iterator[Lan]:
    """The cable is there, and nothing of TCP or UDP is ever sent over it."""
    lan = Lan(pysock)
    fault = lan.link.drop(lambda packet: packet.tcp is not None or packet.udp is not None)
    yield lan
    assert fault.log == []


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_pair(still: Lan, kind: int) -> None:
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    with a, b:
        a.sendall(b"hello")
        assert b.recv(10) == b"hello"


def test_a_path_and_a_descriptor(still: Lan, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        peer, _ = server.accept()
        read, write = os.pipe()
        with peer, os.fdopen(write, "wb") as file:
            client.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [read]))])
            _, ((_, _, data),), _, _ = peer.recvmsg(1, 100)
            os.close(read)
            (received,) = array.array("i", data)
            file.write(b"through the pipe")
            file.close()
            with os.fdopen(received, "rb") as other:
                assert other.read() == b"through the pipe"


def test_abstract_names_are_a_hosts_own(still: Lan) -> None:
    with still.peer, socket.socket(socket.AF_UNIX) as server:
        server.bind("\0name")
        server.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("\0name")
        with still.here, socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
            client.connect("\0name")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback(still: Lan, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 80), family=family) as server:
        with socket.create_connection((address, 80)) as client:
            peer, _ = server.accept()
            with peer:
                client.sendall(b"local")
                assert peer.recv(10) == b"local"


def test_a_hosts_own_address_is_local(still: Lan) -> None:
    with socket.create_server((still.here.address, 80)) as server:
        with socket.create_connection((socket.gethostname(), 80)) as client:
            peer, address = server.accept()
            peer.close()
            assert address[0] == still.here.address
            assert client.recv(1) == b""
