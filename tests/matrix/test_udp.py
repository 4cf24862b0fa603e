"""UDP, fragments and the ICMP errors that come back, over the driver that was asked for."""

from __future__ import annotations

import errno
import socket

import pytest
from support.cables import Lan

SIZES = (0, 1, 1024, 1452, 1453, 1472, 1473, 20_000, 65_000)  # 1472 and 1452 fill a frame of IPv4 and of IPv6


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def test_every_size_there_and_back(lan: Lan, family: int) -> None:
    with lan.datagrams(family) as server, socket.socket(family, socket.SOCK_DGRAM) as sock:
        for end in (server, sock):
            end.settimeout(30)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for size in SIZES:
            sock.sendto(pattern(size), (lan.address(family), 7))
            data, address = server.recvfrom(70_000)
            assert data == pattern(size)
            assert address[0] == lan.address(family, lan.here)
            server.sendto(data[::-1], address)
            assert sock.recv(70_000) == pattern(size)[::-1]


def test_boundaries_are_kept(lan: Lan) -> None:
    sizes = [n * 7 % 900 for n in range(200)]
    with lan.datagrams() as server, socket.socket(type=socket.SOCK_DGRAM) as sock:
        server.settimeout(30)
        sock.settimeout(30)
        sock.connect(("peer", 7))
        for size in sizes:
            sock.send(pattern(size))
        assert [len(server.recv(1000)) for _ in sizes] == sizes
        server.sendto(b"done", sock.getsockname())
        assert sock.recv(10) == b"done"


def test_connected_hears_nobody_else(lan: Lan) -> None:
    with lan.datagrams() as server, lan.datagrams(port=8) as stranger, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.connect(("peer", 7))
        stranger.sendto(b"not for you", sock.getsockname())
        sock.send(b"hello")
        data, address = server.recvfrom(10)
        assert (data, address) == (b"hello", sock.getsockname())
        server.sendto(b"answer", address)
        assert sock.recv(100) == b"answer"


def test_port_unreachable(lan: Lan, family: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.connect((lan.address(family), 9))
        sock.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(1)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0  # said once


def test_too_long_for_the_link_without_fragments(lan: Lan) -> None:
    with lan.datagrams() as server, socket.socket(type=socket.SOCK_DGRAM) as sock:
        server.settimeout(30)
        sock.connect(("peer", 7))
        sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_MTU_DISCOVER", 10), 2)  # IP_PMTUDISC_DO
        with pytest.raises(OSError) as caught:
            sock.send(bytes(1473))
        assert caught.value.errno == errno.EMSGSIZE
        sock.send(bytes(1472))
        assert len(server.recv(2000)) == 1472
        assert sock.getsockopt(socket.IPPROTO_IP, getattr(socket, "IP_MTU", 14)) == 1500


def test_ancillary_data(lan: Lan) -> None:
    with lan.datagrams() as server, socket.socket(type=socket.SOCK_DGRAM) as sock:
        server.settimeout(30)
        server.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTTL if hasattr(socket, "IP_RECVTTL") else 12, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9)
        sock.sendto(b"x", ("peer", 7))
        _, ancillary, _, _ = server.recvmsg(10, 100)
        assert (socket.IPPROTO_IP, socket.IP_TTL, (9).to_bytes(4, "little")) in ancillary
