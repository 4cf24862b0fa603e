"""Raw and ping sockets over the driver that was asked for: what a program builds itself arrives as it built it."""

from __future__ import annotations

import socket
import struct

from support.cables import Lan

EXPERIMENTAL = 253
PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}
ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(family: int, ident: int, payload: bytes) -> bytes:
    header = struct.pack("!BBHHH", ECHO[family][0], 0, 0, ident, 1)
    if family == socket.AF_INET6:
        return header + payload  # the kernel fills the checksum in, as RFC 3542 has it
    return header[:2] + checksum(header + payload).to_bytes(2, "big") + header[4:] + payload


def test_ping_socket(lan: Lan, family: int) -> None:
    lan.call(lan.here.net.sysctl.write, "net.ipv4.ping_group_range", "0 2147483647")
    with socket.socket(family, socket.SOCK_DGRAM, PROTOCOL[family]) as sock:
        sock.settimeout(30)
        for size in (56, 1400, 4000):
            payload = bytes(n & 0xFF for n in range(size))
            sock.sendto(echo_request(family, 0, payload), (lan.address(family), 0))
            answer, address = sock.recvfrom(8192)
            assert (answer[0], answer[8:], address[0]) == (ECHO[family][1], payload, lan.address(family))


def test_raw_icmp(lan: Lan, family: int) -> None:
    with socket.socket(family, socket.SOCK_RAW, PROTOCOL[family]) as sock:
        sock.settimeout(30)
        sock.sendto(echo_request(family, 0x77, b"payload!"), (lan.address(family), 0))
        while True:
            answer, _ = sock.recvfrom(2048)
            if family == socket.AF_INET:
                answer = answer[20:]
            if answer[0] == ECHO[family][1]:
                break  # not one of neighbour discovery's
        assert answer[4:] == b"\0\x77\0\x01payload!"


def test_a_protocol_of_ones_own(lan: Lan, family: int) -> None:
    with lan.peer:
        peer = socket.socket(family, socket.SOCK_RAW, EXPERIMENTAL)
    with peer, socket.socket(family, socket.SOCK_RAW, EXPERIMENTAL) as sock:
        for end in (peer, sock):
            end.settimeout(30)
        for size in (1, 1000, 1480, 3000):  # the last one in fragments
            sock.sendto(b"r" * size, (lan.address(family), 0))
            data, address = peer.recvfrom(8192)
            data = data[20:] if family == socket.AF_INET else data
            assert (data, address[0]) == (b"r" * size, lan.address(family, lan.here))
        peer.sendto(b"back", (lan.address(family, lan.here), 0))
        assert sock.recv(100)[-4:] == b"back"


def test_a_header_of_ones_own(lan: Lan) -> None:
    with lan.peer:
        peer = socket.socket(socket.AF_INET, socket.SOCK_RAW, EXPERIMENTAL)
    with peer, socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        peer.settimeout(30)
        target, source = (socket.inet_aton(host.address) for host in (lan.peer, lan.here))
        packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0x10, 0, 0x4242, 0, 17, EXPERIMENTAL, 0, source, target) + b"mine"
        sock.sendto(packet, (lan.peer.address, 0))
        data = peer.recv(100)
        assert data[20:] == b"mine"
        assert (data[1], data[4:6], data[8]) == (0x10, b"\x42\x42", 17)
