"""Options at IPPROTO_IP, on pysock and on Linux alike (ip(7))."""

from __future__ import annotations

import errno
import struct

import pytest
from support.dgram_api import LO, Api, Ours, fails

from pysock.core.capability import CAP_NET_ADMIN, CAP_NET_RAW, Credentials
from pysock.uapi.in_ import (
    IP_ADD_MEMBERSHIP,
    IP_BIND_ADDRESS_NO_PORT,
    IP_FREEBIND,
    IP_HDRINCL,
    IP_MINTTL,
    IP_MTU,
    IP_MTU_DISCOVER,
    IP_MULTICAST_ALL,
    IP_MULTICAST_IF,
    IP_MULTICAST_LOOP,
    IP_MULTICAST_TTL,
    IP_OPTIONS,
    IP_PKTINFO,
    IP_PROTOCOL,
    IP_RECVERR,
    IP_RECVORIGDSTADDR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_TOS,
    IP_TRANSPARENT,
    IP_TTL,
    IPPROTO_IP,
)
from pysock.uapi.socket import SO_PRIORITY, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET

KINDS = pytest.mark.parametrize("kind", [SOCK_DGRAM, SOCK_STREAM], ids=["dgram", "stream"])

#: option -> (default, values it takes, values that are EINVAL)
NUMBERS: dict[int, tuple[int, list[int], list[int]]] = {
    IP_TTL: (64, [1, 255, 128], [0, 256, -2]),
    IP_TOS: (0, [0x10, 0x08, 0xB8], []),
    IP_MTU_DISCOVER: (1, [0, 1, 2, 3, 4, 5], [-1, 6]),
    IP_MINTTL: (0, [0, 1, 255], [-1, 256]),
}
SWITCHES = [
    IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR, IP_RECVERR, IP_FREEBIND, IP_BIND_ADDRESS_NO_PORT,
]  # fmt: skip


@KINDS
@pytest.mark.parametrize("option", NUMBERS)
def test_numbers(api: Api, kind: int, option: int) -> None:
    default, good, bad = NUMBERS[option]
    sock = api.socket(kind)
    assert api.getint(sock, IPPROTO_IP, option) == default
    for value in good:
        api.setopt(sock, IPPROTO_IP, option, value)
        assert api.getint(sock, IPPROTO_IP, option) == value
    for value in bad:
        fails(errno.EINVAL, api.setopt, sock, IPPROTO_IP, option, value)
        assert api.getint(sock, IPPROTO_IP, option) == good[-1]


@KINDS
@pytest.mark.parametrize("option", SWITCHES)
def test_switches(api: Api, kind: int, option: int) -> None:
    sock = api.socket(kind)
    assert api.getint(sock, IPPROTO_IP, option) == 0
    for value in (1, 0, 5):
        api.setopt(sock, IPPROTO_IP, option, value)
        assert api.getint(sock, IPPROTO_IP, option) == bool(value)


def test_a_ttl_of_minus_one_is_the_default(api: Api) -> None:
    sock = api.socket()
    api.setopt(sock, IPPROTO_IP, IP_TTL, 3)
    api.setopt(sock, IPPROTO_IP, IP_TTL, -1)
    assert api.getint(sock, IPPROTO_IP, IP_TTL) == 64


@KINDS
def test_single_bytes_are_numbers_too(api: Api, kind: int) -> None:
    sock = api.socket(kind)
    api.setopt(sock, IPPROTO_IP, IP_TTL, b"\x21")
    assert api.getint(sock, IPPROTO_IP, IP_TTL) == 0x21
    assert api.getopt(sock, IPPROTO_IP, IP_TTL, 1) == b"\x21"
    assert api.getopt(sock, IPPROTO_IP, IP_TTL, 2) == b"\x21"
    fails(errno.EINVAL, api.setopt, sock, IPPROTO_IP, IP_TTL, b"")


def test_tos_sets_the_priority_and_spares_tcps_bits(api: Api) -> None:
    sock = api.socket()
    for tos, priority in ((0x10, 6), (0x08, 2), (0x00, 0), (0x18, 4)):
        api.setopt(sock, IPPROTO_IP, IP_TOS, tos)
        assert api.getint(sock, SOL_SOCKET, SO_PRIORITY) == priority
    api.setopt(sock, IPPROTO_IP, IP_TOS, 0x13)
    assert api.getint(sock, IPPROTO_IP, IP_TOS) == 0x13
    stream = api.socket(SOCK_STREAM)
    api.setopt(stream, IPPROTO_IP, IP_TOS, 0x13)
    assert api.getint(stream, IPPROTO_IP, IP_TOS) == 0x10


def test_multicast_numbers(api: Api) -> None:
    sock = api.socket()
    for option in (IP_MULTICAST_TTL, IP_MULTICAST_LOOP, IP_MULTICAST_ALL):
        assert api.getint(sock, IPPROTO_IP, option) == 1
    for value in (0, 255, 7):
        api.setopt(sock, IPPROTO_IP, IP_MULTICAST_TTL, value)
        assert api.getint(sock, IPPROTO_IP, IP_MULTICAST_TTL) == value
    fails(errno.EINVAL, api.setopt, sock, IPPROTO_IP, IP_MULTICAST_TTL, 256)
    api.setopt(sock, IPPROTO_IP, IP_MULTICAST_TTL, -1)
    assert api.getint(sock, IPPROTO_IP, IP_MULTICAST_TTL) == 1
    api.setopt(sock, IPPROTO_IP, IP_MULTICAST_LOOP, b"\0")
    assert api.getint(sock, IPPROTO_IP, IP_MULTICAST_LOOP) == 0
    api.setopt(sock, IPPROTO_IP, IP_MULTICAST_ALL, 0)
    assert api.getint(sock, IPPROTO_IP, IP_MULTICAST_ALL) == 0
    fails(errno.EINVAL, api.setopt, sock, IPPROTO_IP, IP_MULTICAST_ALL, 2)


def test_multicast_options_of_a_stream_socket(api: Api) -> None:
    sock = api.socket(SOCK_STREAM)
    for option in (IP_MULTICAST_TTL, IP_MULTICAST_IF):
        fails(errno.EINVAL, api.setopt, sock, IPPROTO_IP, option, 1)
    api.setopt(sock, IPPROTO_IP, IP_MULTICAST_LOOP, 1)
    mreq = bytes((239, 0, 0, 1)) + b"\x7f\0\0\1"
    fails(errno.EPROTO, api.setopt, sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, mreq)


def test_the_multicast_interface(api: Api) -> None:
    sock = api.socket()
    assert api.getopt(sock, IPPROTO_IP, IP_MULTICAST_IF, 4) == bytes(4)
    api.setopt(sock, IPPROTO_IP, IP_MULTICAST_IF, b"\x7f\0\0\1")
    assert api.getopt(sock, IPPROTO_IP, IP_MULTICAST_IF, 4) == b"\x7f\0\0\1"
    api.setopt(sock, IPPROTO_IP, IP_MULTICAST_IF, bytes(4))
    assert api.getopt(sock, IPPROTO_IP, IP_MULTICAST_IF, 4) == bytes(4)
    api.setopt(sock, IPPROTO_IP, IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), 1))
    assert api.getopt(sock, IPPROTO_IP, IP_MULTICAST_IF, 4) == bytes(4)
    fails(errno.EADDRNOTAVAIL, api.setopt, sock, IPPROTO_IP, IP_MULTICAST_IF, bytes((203, 0, 113, 1)))
    nowhere = struct.pack("=4s4si", bytes(4), bytes(4), 999)
    fails(errno.EADDRNOTAVAIL, api.setopt, sock, IPPROTO_IP, IP_MULTICAST_IF, nowhere)
    fails(errno.EINVAL, api.setopt, sock, IPPROTO_IP, IP_MULTICAST_IF, b"\1")


def test_options_that_are_not_there(api: Api) -> None:
    sock = api.socket()
    for option in (1000, 0, IP_HDRINCL):
        fails(errno.ENOPROTOOPT, api.setopt, sock, IPPROTO_IP, option, 1)
    fails(errno.ENOPROTOOPT, api.getopt, sock, IPPROTO_IP, 1000)
    fails(errno.ENOPROTOOPT, api.setopt, sock, IPPROTO_IP, IP_MTU, 1)


@KINDS
def test_the_mtu_of_a_connection(api: Api, kind: int) -> None:
    sock = api.socket(kind)
    fails(errno.ENOTCONN, api.getopt, sock, IPPROTO_IP, IP_MTU)
    if kind == SOCK_DGRAM:
        api.connect(sock, (LO, 9))
        assert api.getint(sock, IPPROTO_IP, IP_MTU) == 65535


def test_the_protocol(ours: Ours) -> None:
    assert ours.getint(ours.socket(), IPPROTO_IP, IP_PROTOCOL) == 17


def test_freebind_binds_to_what_is_not_there(api: Api) -> None:
    sock = api.socket()
    api.setopt(sock, IPPROTO_IP, IP_FREEBIND, 1)
    api.bind(sock, ("203.0.113.1", 0))
    assert api.name(sock)[0] == "203.0.113.1"


def test_transparent_needs_a_capability() -> None:
    poor = Ours(Credentials().drop(CAP_NET_ADMIN, CAP_NET_RAW))
    sock = poor.socket()
    fails(errno.EPERM, poor.setopt, sock, IPPROTO_IP, IP_TRANSPARENT, 1)
    poor.setopt(sock, IPPROTO_IP, IP_TRANSPARENT, 0)
    rich = Ours()
    sock = rich.socket()
    rich.setopt(sock, IPPROTO_IP, IP_TRANSPARENT, 1)
    assert rich.getint(sock, IPPROTO_IP, IP_TRANSPARENT) == 1


def test_ip_options(ours: Ours) -> None:
    sock = ours.socket()
    assert ours.getopt(sock, IPPROTO_IP, IP_OPTIONS, 40) == b""
    record = b"\x07\x07\x04\0\0\0\0\0"
    ours.setopt(sock, IPPROTO_IP, IP_OPTIONS, record[:7])
    assert ours.getopt(sock, IPPROTO_IP, IP_OPTIONS, 40) == record
    for bad in (record * 6, b"\x07\x08\x04\0", b"\x07\x07\x03\0\0\0\0"):
        fails(errno.EINVAL, ours.setopt, sock, IPPROTO_IP, IP_OPTIONS, bad)
    ours.setopt(sock, IPPROTO_IP, IP_OPTIONS, b"")
    assert ours.getopt(sock, IPPROTO_IP, IP_OPTIONS, 40) == b""
    stream = ours.socket(SOCK_STREAM)
    ours.setopt(stream, IPPROTO_IP, IP_OPTIONS, record)
    assert ours.getopt(stream, IPPROTO_IP, IP_OPTIONS, 40) == record
    fails(errno.EOPNOTSUPP, ours.setopt, sock, IPPROTO_IP, IP_OPTIONS, b"\x83\x07\x04\x0a\0\0\1")
