"""Multicast and broadcast over the driver that was asked for: who joined hears it, who left or never did, does not."""

from __future__ import annotations

import socket
import struct

import pytest
from support.cables import Lan

from pysock.lab.host import Host

GROUP = {socket.AF_INET: "239.1.2.3", socket.AF_INET6: "ff15::123"}
OTHER = {socket.AF_INET: "239.4.5.6", socket.AF_INET6: "ff15::456"}
PORT = 5000


class Member:
    """A UDP socket of a host that may join groups."""

    def __init__(self, host: Host, family: int) -> None:
        self.family = family
        with host:
            self.sock = socket.socket(family, socket.SOCK_DGRAM)
            self.index = socket.if_nametoindex("eth0")
        self.sock.settimeout(30)
        self.sock.bind(("", PORT))
        if family == socket.AF_INET6:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self.index)
        else:
            request = struct.pack("4s4si", bytes(4), bytes(4), self.index)
            self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)

    def _membership(self, v4: int, v6: int, group: str) -> None:
        address = socket.inet_pton(self.family, group)
        if self.family == socket.AF_INET6:
            self.sock.setsockopt(socket.IPPROTO_IPV6, v6, address + struct.pack("i", self.index))
        else:
            self.sock.setsockopt(socket.IPPROTO_IP, v4, struct.pack("4s4si", address, bytes(4), self.index))

    def join(self, group: str) -> None:
        self._membership(socket.IP_ADD_MEMBERSHIP, socket.IPV6_JOIN_GROUP, group)

    def leave(self, group: str) -> None:
        self._membership(socket.IP_DROP_MEMBERSHIP, socket.IPV6_LEAVE_GROUP, group)

    def loop(self, on: int) -> None:
        if self.family == socket.AF_INET6:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, on)
        else:
            self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, on)

    def send(self, data: bytes, group: str) -> None:
        self.sock.sendto(data, (group, PORT))


def test_join_send_and_leave(lan: Lan, family: int) -> None:
    here, peer = Member(lan.here, family), Member(lan.peer, family)
    with here.sock, peer.sock:
        peer.join(GROUP[family])
        here.send(b"nobody joined that", OTHER[family])
        here.send(b"to the group", GROUP[family])
        data, address = peer.sock.recvfrom(100)
        assert data == b"to the group"
        assert address[1] == PORT
        peer.leave(GROUP[family])
        here.send(b"too late", GROUP[family])
        here.sock.sendto(b"to you", (lan.address(family), PORT))
        assert peer.sock.recv(100) == b"to you"
        peer.sock.sendto(b"and to you", (lan.address(family, lan.here), PORT))
        assert here.sock.recv(100) == b"and to you"


def test_the_sender_hears_itself_if_it_wants(lan: Lan, family: int) -> None:
    here, peer = Member(lan.here, family), Member(lan.peer, family)
    with here.sock, peer.sock:
        for member in (here, peer):
            member.join(GROUP[family])
        here.send(b"one", GROUP[family])
        assert here.sock.recv(100) == peer.sock.recv(100) == b"one"
        here.loop(0)
        here.send(b"two", GROUP[family])
        here.loop(1)
        here.send(b"three", GROUP[family])
        assert here.sock.recv(100) == b"three"
        assert [peer.sock.recv(100), peer.sock.recv(100)] == [b"two", b"three"]
        peer.send(b"four", GROUP[family])
        assert here.sock.recv(100) == b"four"


def test_a_card_lets_through_what_was_asked_for_and_no_more(lan: Lan) -> None:
    """The filter of the device knows the group as long as somebody is in it."""
    group = b"\x01\x00\x5e\x01\x02\x03"
    member = Member(lan.peer, socket.AF_INET)
    with member.sock:
        assert group not in lan.far.mc
        member.join(GROUP[socket.AF_INET])
        assert group in lan.far.mc
        member.leave(GROUP[socket.AF_INET])
        assert group not in lan.far.mc
        other = Member(lan.here, socket.AF_INET)
        with other.sock:
            other.sock.sendto(b"x", ("peer", PORT))
            assert member.sock.recv(10) == b"x"


def test_broadcast(lan: Lan) -> None:
    peer = Member(lan.peer, socket.AF_INET)
    with peer.sock, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        address = str(lan.here.address).rpartition(".")[0] + ".255"
        with pytest.raises(PermissionError):
            sock.sendto(b"x", (address, PORT))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.sendto(b"to all", (address, PORT))
        data, sender = peer.sock.recvfrom(100)
        assert data == b"to all"
        peer.sock.sendto(b"to one", sender)
        assert sock.recv(100) == b"to one"
