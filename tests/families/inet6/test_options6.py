"""Options and control messages at level IPPROTO_IPV6, on pysock and on Linux alike (ipv6(7), RFC 3493, RFC 3542)."""

from __future__ import annotations

import errno
from struct import pack

import pytest
from support.inet6_api import LO6, Api6, Ours6
from support.refused import refused

from pysock.core.capability import Credentials
from pysock.uapi import in6
from pysock.uapi.in_ import IPPROTO_IPV6, IPPROTO_UDP
from pysock.uapi.sockaddr import pack_in6
from pysock.uapi.socket import SOCK_DGRAM, SOCK_RAW, SOCK_STREAM

V6 = IPPROTO_IPV6
SWITCHES = [
    in6.IPV6_2292PKTINFO,
    in6.IPV6_2292HOPOPTS,
    in6.IPV6_2292DSTOPTS,
    in6.IPV6_2292RTHDR,
    in6.IPV6_2292HOPLIMIT,
    in6.IPV6_FLOWINFO,
    in6.IPV6_RECVERR,
    in6.IPV6_V6ONLY,
    in6.IPV6_MULTICAST_ALL,
    in6.IPV6_ROUTER_ALERT_ISOLATE,
    in6.IPV6_FLOWINFO_SEND,
    in6.IPV6_RECVPKTINFO,
    in6.IPV6_RECVHOPLIMIT,
    in6.IPV6_RECVHOPOPTS,
    in6.IPV6_RECVRTHDR,
    in6.IPV6_RECVDSTOPTS,
    in6.IPV6_RECVPATHMTU,
    in6.IPV6_DONTFRAG,
    in6.IPV6_RECVTCLASS,
    in6.IPV6_AUTOFLOWLABEL,
    in6.IPV6_RECVORIGDSTADDR,
    in6.IPV6_TRANSPARENT,
    in6.IPV6_RECVFRAGSIZE,
    in6.IPV6_FREEBIND,
]
TYPES = [pytest.param(SOCK_DGRAM, id="udp"), pytest.param(SOCK_STREAM, id="tcp")]


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("option", SWITCHES)
def test_switches(api6: Api6, option: int, type: int) -> None:
    sock = api6.socket(type)
    default = int(option in (in6.IPV6_MULTICAST_ALL, in6.IPV6_AUTOFLOWLABEL))
    assert api6.getint(sock, V6, option) == default
    for value, result in ((1, 1), (0, 0), (-7, 1)):
        api6.setopt(sock, V6, option, value)
        assert api6.getint(sock, V6, option) == result
    assert api6.getopt(sock, V6, option, 1) == b"\1"
    if option in (in6.IPV6_DONTFRAG, in6.IPV6_AUTOFLOWLABEL, in6.IPV6_RECVFRAGSIZE):
        api6.setopt(sock, V6, option, b"\1")
        assert api6.getint(sock, V6, option) == 0
    else:
        with refused(errno.EINVAL):
            api6.setopt(sock, V6, option, b"\1")


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        (in6.IPV6_UNICAST_HOPS, {0: 0, 1: 1, 255: 255, -1: 64}, [-2, 256]),
        (in6.IPV6_MULTICAST_LOOP, {0: 0, 1: 1}, [2, -1]),
        (in6.IPV6_MTU_DISCOVER, {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5}, [-1, 6]),
        (in6.IPV6_MINHOPCOUNT, {0: 0, 255: 255}, [-1, 256]),
        (in6.IPV6_RECVERR_RFC4884, {0: 0, 1: 1}, [2, -1]),
        (in6.IPV6_ADDR_PREFERENCES, {0: 1280, 1: 1025, 2: 1026, 256: 1280, 300: 260}, [7, -1, 255]),
    ],
)
def test_numbers(api6: Api6, option: int, good: dict[int, int], bad: list[int], type: int) -> None:
    for value, result in good.items():
        sock = api6.socket(type)
        api6.setopt(sock, V6, option, value)
        assert api6.getint(sock, V6, option) == result
    for value in bad:
        with refused(errno.EINVAL):
            api6.setopt(api6.socket(type), V6, option, value)


def test_traffic_class_leaves_tcp_its_ecn_bits(api6: Api6) -> None:
    for type, result in ((SOCK_DGRAM, 0xFF), (SOCK_STREAM, 0xFC)):
        sock = api6.socket(type)
        api6.setopt(sock, V6, in6.IPV6_TCLASS, 0xFF)
        assert api6.getint(sock, V6, in6.IPV6_TCLASS) == result
        with refused(errno.EINVAL):
            api6.setopt(sock, V6, in6.IPV6_TCLASS, 256)


@pytest.mark.parametrize(
    ("option", "number"),
    [
        (in6.IPV6_NEXTHOP, errno.ENOPROTOOPT),
        (in6.IPV6_HOPLIMIT, errno.ENOPROTOOPT),
        (in6.IPV6_CHECKSUM, errno.ENOPROTOOPT),
        (in6.IPV6_HDRINCL, errno.ENOPROTOOPT),
        (in6.IPV6_PATHMTU, errno.ENOPROTOOPT),
        (in6.IPV6_ROUTER_ALERT, errno.ENOPROTOOPT),
        (in6.IPV6_ADDRFORM, errno.EINVAL),
        (in6.IPV6_PKTINFO, errno.EINVAL),
        (in6.IPV6_RTHDR, errno.EINVAL),
        (in6.IPV6_HOPOPTS, errno.EINVAL),
        (in6.IPV6_JOIN_GROUP, errno.EINVAL),
        (in6.IPV6_JOIN_ANYCAST, errno.EINVAL),
        (in6.IPV6_MTU, errno.EINVAL),
        (999, errno.ENOPROTOOPT),
    ],
)
def test_what_cannot_be_set(api6: Api6, option: int, number: int) -> None:
    with refused(number):
        api6.setopt(api6.socket(), V6, option, 1)


@pytest.mark.parametrize(
    ("option", "number"),
    [
        (in6.IPV6_MTU, errno.ENOTCONN),
        (in6.IPV6_ADDRFORM, errno.ENOTCONN),
        (in6.IPV6_PKTINFO, errno.ENOPROTOOPT),
        (in6.IPV6_HOPLIMIT, errno.ENOPROTOOPT),
        (in6.IPV6_FLOWLABEL_MGR, errno.EINVAL),
        (in6.IPV6_JOIN_GROUP, errno.ENOPROTOOPT),
        (999, errno.ENOPROTOOPT),
    ],
)
def test_what_cannot_be_read(api6: Api6, option: int, number: int) -> None:
    with refused(number):
        api6.getopt(api6.socket(), V6, option)


def test_mtu_of_a_connected_socket(api6: Api6) -> None:
    sock = api6.socket()
    api6.connect(sock, (LO6, 9, 0, 0))
    assert api6.getint(sock, V6, in6.IPV6_MTU) == 65536
    assert api6.getopt(sock, V6, in6.IPV6_PATHMTU, 32) == bytes(28) + pack("=I", 65536)
    with refused(errno.EINVAL):
        api6.getopt(sock, V6, in6.IPV6_PATHMTU, 31)


def test_stream_sockets_have_no_multicast(api6: Api6) -> None:
    sock = api6.socket(SOCK_STREAM)
    for option in (in6.IPV6_MULTICAST_HOPS, in6.IPV6_MULTICAST_IF):
        with refused(errno.ENOPROTOOPT):
            api6.setopt(sock, V6, option, 1)
    with refused(errno.EPROTO):
        api6.setopt(sock, V6, in6.IPV6_JOIN_GROUP, bytes((0xFF, 0x12)) + bytes(14) + pack("=I", 1))


def test_ip_options_are_there_too(api6: Api6) -> None:
    sock = api6.socket()
    api6.setopt(sock, 0, 2, 77)  # IP_TTL, for v4-mapped peers
    assert api6.getint(sock, 0, 2) == 77
    assert api6.getint(sock, V6, in6.IPV6_UNICAST_HOPS) == 64


# Control messages --------------------------------------------------------------------------------------------------

LO = bytes(15) + b"\1"
OPTION = bytes((0, 0, 1, 4, 0, 0, 0, 0))  # a hop-by-hop or destination header that holds padding


def exchange(api6: Api6, receive: list[int], control: list[tuple[int, int, bytes]], **options: int):  # type: ignore[no-untyped-def]
    """What a receiver with options ``receive`` learns of a datagram sent with ``control`` and ``options``."""
    server, client = api6.bound(), api6.socket()
    api6.setopt(client, V6, in6.IPV6_AUTOFLOWLABEL, 0)
    for option in receive:
        api6.setopt(server, V6, option, 1)
    for name, value in options.items():
        api6.setopt(client, V6, getattr(in6, name), value)
    api6.sendmsg(client, b"x", control, api6.name(server))
    data, found, _, _ = api6.recvmsg(server)
    assert data == b"x"
    return [(kind, raw) for level, kind, raw in found if level == V6]


def test_hop_limit_and_class_as_options(api6: Api6) -> None:
    found = exchange(
        api6, [in6.IPV6_RECVHOPLIMIT, in6.IPV6_RECVTCLASS], [], IPV6_UNICAST_HOPS=9, IPV6_TCLASS=0x20
    )
    assert found == [(in6.IPV6_HOPLIMIT, pack("=i", 9)), (in6.IPV6_TCLASS, pack("=i", 0x20))]


@pytest.mark.parametrize("value", [0, 1, 255])
def test_hop_limit_and_class_as_messages(api6: Api6, value: int) -> None:
    control = [(V6, in6.IPV6_HOPLIMIT, pack("=i", value)), (V6, in6.IPV6_TCLASS, pack("=i", value))]
    found = exchange(api6, [in6.IPV6_RECVHOPLIMIT, in6.IPV6_RECVTCLASS], control)
    assert found == [(in6.IPV6_HOPLIMIT, pack("=i", value)), (in6.IPV6_TCLASS, pack("=i", value))]


def test_packet_info(api6: Api6) -> None:
    for sent in (LO + pack("=I", 1), LO + bytes(4), bytes(16) + pack("=I", 1), bytes(20)):
        found = exchange(api6, [in6.IPV6_RECVPKTINFO], [(V6, in6.IPV6_PKTINFO, sent)])
        assert found == [(in6.IPV6_PKTINFO, LO + pack("=I", 1))]


def test_sticky_packet_info_chooses_the_device_alone(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    with refused(errno.EINVAL):
        api6.setopt(client, V6, in6.IPV6_PKTINFO, LO)
    api6.setopt(client, V6, in6.IPV6_PKTINFO, b"\x20\1\x0d\xb8" + bytes(12) + pack("=I", 1))
    api6.sendto(client, b"x", api6.name(server))
    assert api6.recvfrom(server)[1][0] == LO6
    api6.setopt(client, V6, in6.IPV6_PKTINFO, bytes(16) + pack("=I", 7777))
    with pytest.raises(OSError, match=r"Network is unreachable|No such device"):
        api6.sendto(client, b"x", api6.name(server))


def test_original_destination(api6: Api6) -> None:
    server, client = api6.bound("::"), api6.socket()
    api6.setopt(server, V6, in6.IPV6_RECVORIGDSTADDR, 1)
    port = api6.name(server)[1]
    api6.sendto(client, b"x", (LO6, port, 0, 0))
    _, control, _, _ = api6.recvmsg(server)
    assert control == [(V6, in6.IPV6_ORIGDSTADDR, pack_in6((LO6, port, 0, 0)))]


def test_extension_headers_as_messages(api6: Api6) -> None:
    wanted = [in6.IPV6_RECVHOPOPTS, in6.IPV6_RECVDSTOPTS, in6.IPV6_2292HOPOPTS, in6.IPV6_2292DSTOPTS]
    control = [(V6, in6.IPV6_HOPOPTS, OPTION), (V6, in6.IPV6_DSTOPTS, OPTION)]
    assert exchange(api6, wanted, control) == [
        (in6.IPV6_HOPOPTS, b"\x3c" + OPTION[1:]),
        (in6.IPV6_DSTOPTS, b"\x11" + OPTION[1:]),
        (in6.IPV6_2292HOPOPTS, b"\x3c" + OPTION[1:]),
        (in6.IPV6_2292DSTOPTS, b"\x11" + OPTION[1:]),
    ]
    assert exchange(api6, wanted, [(V6, in6.IPV6_RTHDRDSTOPTS, OPTION)]) == []  # without a routing header, no place


def test_extension_headers_as_options(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    api6.setopt(server, V6, in6.IPV6_RECVHOPOPTS, 1)
    api6.setopt(client, V6, in6.IPV6_HOPOPTS, OPTION)
    assert api6.getopt(client, V6, in6.IPV6_HOPOPTS, 64) == OPTION
    for _ in range(2):
        api6.sendto(client, b"x", api6.name(server))
        assert api6.recvmsg(server)[1] == [(V6, in6.IPV6_HOPOPTS, b"\x11" + OPTION[1:])]
    api6.setopt(client, V6, in6.IPV6_HOPOPTS, b"")
    api6.sendto(client, b"x", api6.name(server))
    assert api6.recvmsg(server)[1] == []


def test_flow_info(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    api6.setopt(server, V6, in6.IPV6_FLOWINFO, 1)
    api6.setopt(client, V6, in6.IPV6_AUTOFLOWLABEL, 0)
    to = (LO6, api6.name(server)[1], 0x12345, 0)
    api6.sendto(client, b"not without IPV6_FLOWINFO_SEND", to)
    assert api6.recvmsg(server)[1] == []
    api6.setopt(client, V6, in6.IPV6_FLOWINFO_SEND, 1)
    api6.sendto(client, b"x", to)
    assert api6.recvmsg(server)[1] == [(V6, in6.IPV6_FLOWINFO, bytes((0, 1, 0x23, 0x45)))]
    api6.connect(client, to)
    assert api6.peer(client) == to
    api6.sendto(client, b"x")
    assert api6.recvmsg(server)[1] == [(V6, in6.IPV6_FLOWINFO, bytes((0, 1, 0x23, 0x45)))]


def test_the_stack_chooses_one_flow_label_a_flow(api6: Api6) -> None:
    server = api6.bound()
    api6.setopt(server, V6, in6.IPV6_FLOWINFO, 1)
    labels = []
    for _ in range(2):
        client = api6.socket()
        for _ in range(2):
            api6.sendto(client, b"x", api6.name(server))
            labels.append(api6.recvmsg(server)[1])
    assert labels[0] == labels[1] != labels[2] == labels[3]
    assert labels[0]


@pytest.mark.parametrize(
    ("message", "number"),
    [
        ((V6, in6.IPV6_HOPLIMIT, pack("=i", 256)), errno.EINVAL),
        ((V6, in6.IPV6_HOPLIMIT, b"\5"), errno.EINVAL),
        ((V6, in6.IPV6_TCLASS, pack("=i", -2)), errno.EINVAL),
        ((V6, in6.IPV6_DONTFRAG, pack("=i", 2)), errno.EINVAL),
        ((V6, in6.IPV6_PKTINFO, b"abc"), errno.EINVAL),
        ((V6, in6.IPV6_PKTINFO, bytes(16) + pack("=I", 7777)), errno.ENODEV),
        ((V6, in6.IPV6_PKTINFO, b"\x20\1\x0d\xb8" + bytes(12) + bytes(4)), errno.EINVAL),
        ((V6, in6.IPV6_HOPOPTS, bytes((0, 3, 1, 4, 0, 0, 0, 0))), errno.EINVAL),
        ((V6, in6.IPV6_RTHDR, bytes((0, 2, 0, 1, 0, 0, 0, 0)) + LO), errno.EINVAL),
        ((V6, 99, pack("=i", 0)), errno.EINVAL),
    ],
)
def test_bad_messages(api6: Api6, message: tuple[int, int, bytes], number: int) -> None:
    server = api6.bound()
    with refused(number):
        api6.sendmsg(api6.socket(), b"x", [message], api6.name(server))


def test_extension_headers_want_a_capability() -> None:
    ours = Ours6(Credentials(uid=1000, gid=1000, caps=0))
    sock = ours.socket()
    with refused(errno.EPERM):
        ours.setopt(sock, V6, in6.IPV6_HOPOPTS, OPTION)
    with refused(errno.EPERM):
        ours.sendmsg(sock, b"x", [(V6, in6.IPV6_DSTOPTS, OPTION)], (LO6, 9, 0, 0))
    with refused(errno.EPERM):
        ours.setopt(sock, V6, in6.IPV6_TRANSPARENT, 1)


def test_checksum_of_raw_sockets(api6: Api6) -> None:
    sock = api6.socket(SOCK_RAW, IPPROTO_UDP)
    assert api6.getint(sock, V6, in6.IPV6_CHECKSUM) == -1
    api6.setopt(sock, V6, in6.IPV6_CHECKSUM, 6)
    assert api6.getint(sock, V6, in6.IPV6_CHECKSUM) == 6
    with refused(errno.EINVAL):
        api6.setopt(sock, V6, in6.IPV6_CHECKSUM, 3)
    icmp = api6.socket(SOCK_RAW, 58)
    assert api6.getint(icmp, V6, in6.IPV6_CHECKSUM) == 2
    with refused(errno.EINVAL):
        api6.setopt(icmp, V6, in6.IPV6_CHECKSUM, 2)
    with refused(errno.EINVAL):
        api6.setopt(icmp, V6, in6.IPV6_V6ONLY, 1)
