"""UDP-Lite, on pysock and on Linux alike: partial coverage out and in, options, its own ports (udplite(7))."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import udplite
from support.dgram_api import LO, Api, Host, Ours, fails
from support.udplite import COVERAGES, PAYLOAD, RECEIVED

from pysock.core.skbuff import CHECKSUM_NONE, CHECKSUM_UNNECESSARY
from pysock.tools.ss import rows
from pysock.uapi.in_ import (
    IP_ADD_MEMBERSHIP,
    IP_MTU_DISCOVER,
    IP_MULTICAST_IF,
    IP_PKTINFO,
    IP_PMTUDISC_DONT,
    IP_RECVERR,
    IP_RECVORIGDSTADDR,
    IP_RECVTTL,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_UDP,
    IPPROTO_UDPLITE,
)
from pysock.uapi.socket import (
    MSG_ERRQUEUE,
    MSG_MORE,
    SO_MEMINFO,
    SO_NO_CHECK,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_TYPE,
    SO_ZEROCOPY,
    SOCK_DGRAM,
    SOCK_RAW,
    SOL_SOCKET,
    SOL_UDP,
    SOL_UDPLITE,
)
from pysock.uapi.udp import UDP_CORK, UDPLITE_RECV_CSCOV, UDPLITE_SEND_CSCOV
from pysock.wire import icmp, ipv4

#: An address of this process's own, so that raw sockets of the real kernel do not hear another test run.
HERE_BYTES = bytes((127, 16 + os.getpid() % 191, os.getpid() >> 8 & 0xFF, 1 + os.getpid() % 251))
HERE = ".".join(map(str, HERE_BYTES))
ME = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))
OPTIONS = pytest.mark.parametrize("option", [UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV])
LEVELS = pytest.mark.parametrize("level", [SOL_UDPLITE, SOL_UDP])


def lite(api: Api, host: str = "", port: int = 0) -> object:
    sock = api.socket(SOCK_DGRAM, IPPROTO_UDPLITE)
    if host:
        api.bind(sock, (host, port))
    return sock


def raw(api: Api) -> object:
    """It hears, and says, UDP-Lite datagrams as they are."""
    sock = api.socket(SOCK_RAW, IPPROTO_UDPLITE)
    api.bind(sock, (HERE, 0))
    return sock


# Sockets -----------------------------------------------------------------------------------------------------------


def test_what_it_is(api: Api) -> None:
    sock = lite(api)
    assert api.getint(sock, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDPLITE
    assert api.getint(sock, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM


def test_zero_copy_is_udps_alone(api: Api) -> None:
    fails(errno.ENOTSUP, api.setopt, lite(api), SOL_SOCKET, SO_ZEROCOPY, 1)


def test_its_ports_are_not_udps(api: Api) -> None:
    sock = lite(api, LO)
    port = api.name(sock)[1]
    other = api.bound(LO, port)
    fails(errno.EADDRINUSE, lite, api, LO, port)
    client = lite(api)
    api.sendto(client, b"light", (LO, port))
    assert api.recvfrom(sock) == (b"light", (LO, api.name(client)[1]))
    fails(errno.EAGAIN, api.recvfrom, other)


def test_connect_and_back(api: Api) -> None:
    server, client = lite(api, LO), lite(api)
    api.connect(client, api.name(server))
    assert api.peer(client) == api.name(server)
    api.sendto(client, b"there")
    data, name = api.recvfrom(server)
    assert (data, name) == (b"there", api.name(client))
    api.sendto(server, b"and back", name)
    assert api.recvfrom(client)[0] == b"and back"


def test_nobody_there(api: Api) -> None:
    gone = lite(api, LO)
    address = api.name(gone)
    api.close(gone)
    client = lite(api)
    api.setopt(client, IPPROTO_IP, IP_RECVERR, 1)
    api.connect(client, address)
    api.sendto(client, b"anyone?")
    fails(errno.ECONNREFUSED, api.recvfrom, client)
    assert api.recvmsg(client, flags=MSG_ERRQUEUE)[0] == b"anyone?"


@pytest.mark.parametrize("size", [0, 1, 1473, 65507])
def test_sizes(api: Api, size: int) -> None:
    server, client = lite(api, LO), lite(api)
    data = os.urandom(size)
    assert api.sendto(client, data, api.name(server)) == size
    assert api.recvfrom(server)[0] == data
    fails(errno.EMSGSIZE, api.sendto, client, bytes(65508), api.name(server))


def test_what_comes_with_a_datagram(api: Api) -> None:
    server, client = lite(api, LO), lite(api)
    for option in (IP_PKTINFO, IP_RECVTTL, IP_RECVORIGDSTADDR):
        api.setopt(server, IPPROTO_IP, option, 1)
    api.sendto(client, b"x", api.name(server))
    control = api.recvmsg(server)[1]
    assert sorted(kind for _, kind, _ in control) == sorted((IP_PKTINFO, IP_TTL, IP_RECVORIGDSTADDR))
    (original,) = (value for _, kind, value in control if kind == IP_RECVORIGDSTADDR)
    assert int.from_bytes(original[2:4], "big") == api.name(server)[1]


def test_members_of_a_group_get_a_copy_each(api: Api) -> None:
    group, lo = bytes((239, 1, 2, 4)), b"\x7f\0\0\1"
    members = []
    port = 0
    for _ in range(2):
        sock = lite(api)
        api.setopt(sock, SOL_SOCKET, SO_REUSEADDR, 1)
        api.bind(sock, ("0.0.0.0", port))
        port = api.name(sock)[1]
        api.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, group + lo)
        members.append(sock)
    client = lite(api)
    api.setopt(client, IPPROTO_IP, IP_MULTICAST_IF, lo)
    api.sendto(client, b"all of you", ("239.1.2.4", port))
    assert [api.recvfrom(sock)[0] for sock in members] == [b"all of you"] * 2


def test_ss_shows_it(ours: Ours) -> None:
    lite(ours, LO, 5000)
    ours.bound(LO, 5001)
    assert [(row.netid, row.local) for row in rows(ours.kernel.init_net)] == [
        ("udp", f"{LO}:5001"),
        ("udplite", f"{LO}:5000"),
    ]


# Options -----------------------------------------------------------------------------------------------------------


@OPTIONS
@LEVELS
def test_a_coverage_that_cannot_be_becomes_one_that_can(api: Api, option: int, level: int) -> None:
    sock = lite(api)
    assert api.getint(sock, level, option) == 0
    for value, stored in {0: 0, 1: 8, 7: 8, 8: 8, 9: 9, 65535: 65535, 65536: 65535, -1: 8, -70000: 8}.items():
        api.setopt(sock, level, option, value)
        assert api.getint(sock, level, option) == stored
    assert api.getopt(sock, level, option, 1) == b"\x08"
    assert api.getint(sock, level, UDPLITE_SEND_CSCOV + UDPLITE_RECV_CSCOV - option) == 0


@OPTIONS
@LEVELS
def test_options_want_an_int(api: Api, option: int, level: int) -> None:
    fails(errno.EINVAL, api.setopt, lite(api), level, option, b"\x08\0\0")


@OPTIONS
@LEVELS
def test_udp_has_no_coverage(api: Api, option: int, level: int) -> None:
    sock = api.socket()
    fails(errno.ENOPROTOOPT, api.setopt, sock, level, option, 8)
    fails(errno.EINVAL, api.setopt, sock, level, option, b"")
    assert api.getint(sock, level, option) == 0


@LEVELS
def test_udps_options_are_there(api: Api, level: int) -> None:
    for sock in (lite(api), api.socket()):
        api.setopt(sock, level, UDP_CORK, 1)
        assert api.getint(sock, level, UDP_CORK) == 1
        fails(errno.ENOPROTOOPT, api.setopt, sock, level, 77, 1)
        fails(errno.EINVAL, api.setopt, sock, level, 77, b"")
        fails(errno.ENOPROTOOPT, api.getint, sock, level, 77)


# Out ---------------------------------------------------------------------------------------------------------------


def heard(api: Api, spy: object) -> udplite.Sent:
    datagram = api.recvfrom(spy)[0]
    return udplite.dissect((HERE_BYTES, HERE_BYTES), datagram[20:])


@pytest.mark.parametrize(("option", "size", "field"), COVERAGES)
def test_the_header_says_what_is_covered(api: Api, option: int | None, size: int, field: int) -> None:
    spy, client = raw(api), lite(api, HERE)
    if option is not None:
        api.setopt(client, SOL_UDPLITE, UDPLITE_SEND_CSCOV, option)
    data = os.urandom(size)
    for _ in range(2):
        api.sendto(client, data, (HERE, 9))
        assert heard(api, spy) == (field, data, True)


def test_a_checksum_is_a_must(api: Api) -> None:
    spy, client = raw(api), lite(api, HERE)
    api.setopt(client, SOL_SOCKET, SO_NO_CHECK, 1)
    api.sendto(client, b"checked", (HERE, 9))
    assert heard(api, spy) == (15, b"checked", True)


def test_pieces_are_summed_as_one(api: Api) -> None:
    spy, client = raw(api), lite(api, HERE)
    api.setopt(client, SOL_UDPLITE, UDPLITE_SEND_CSCOV, 12)
    api.sendto(client, b"abc", (HERE, 9), MSG_MORE)
    api.sendto(client, b"defg", (HERE, 9))
    assert heard(api, spy) == (12, b"abcdefg", True)
    api.setopt(client, SOL_UDPLITE, UDP_CORK, 1)
    api.sendto(client, b"hij", (HERE, 9))
    api.sendto(client, b"k", (HERE, 9))
    api.setopt(client, SOL_UDPLITE, UDP_CORK, 0)
    assert heard(api, spy) == (12, b"hijk", True)


@given(st.binary(max_size=2000), st.none() | st.integers(0, 2100), st.integers(1, 65535))
def test_whatever_leaves_is_well_formed(data: bytes, option: int | None, port: int) -> None:
    host = Host(checksums=True)
    sock = lite(host)
    host.setopt(sock, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    if option is not None:
        host.setopt(sock, SOL_UDPLITE, UDPLITE_SEND_CSCOV, option)
    host.sendto(sock, data, ("10.0.0.2", port))
    assert all(skb.ip_summed == CHECKSUM_NONE for skb in host.wire.skbs)  # no device knows how
    whole = b"".join(sent[20:] for sent in host.sent())
    assert udplite.dissect((ME, PEER), whole)[1:] == (data, True)


# In ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("coverage", "hurt", "minimum", "taken"), RECEIVED)
def test_who_gets_what(api: Api, coverage: int, hurt: int | None, minimum: int | None, taken: bool) -> None:
    wire, server = raw(api), lite(api, HERE)
    if minimum is not None:
        api.setopt(server, SOL_UDPLITE, UDPLITE_RECV_CSCOV, minimum)
    port = api.name(server)[1]
    covered = coverage if coverage <= 22 else 0
    datagram = udplite.build((HERE_BYTES, HERE_BYTES), 7, port, PAYLOAD, covered)
    if covered != coverage:
        datagram = datagram[:4] + coverage.to_bytes(2, "big") + datagram[6:]
    datagram = udplite.damaged(datagram, hurt)
    api.sendto(wire, datagram, (HERE, 0))
    if taken:
        assert api.recvfrom(server)[0] == datagram[8:]
    else:
        fails(errno.EAGAIN, api.recvfrom, server)


def test_no_checksum_is_an_error(api: Api) -> None:
    wire, server = raw(api), lite(api, HERE)
    port = api.name(server)[1]
    api.sendto(wire, udplite.build((HERE_BYTES, HERE_BYTES), 7, port, PAYLOAD, check=0), (HERE, 0))
    fails(errno.EAGAIN, api.recvfrom, server)


def counted(host: Ours) -> dict[str, int]:
    return {name: value for name, value in host.counted().items() if name.startswith("Udp")}


@pytest.mark.parametrize(
    ("coverage", "hurt", "counters"),
    [
        (0, None, {"UdpLiteInDatagrams": 1}),
        (16, 16, {"UdpLiteInDatagrams": 1}),
        (16, 15, {"UdpLiteInErrors": 1, "UdpLiteInCsumErrors": 1}),
        (7, None, {"UdpLiteInErrors": 1, "UdpLiteInCsumErrors": 1}),
        (23, None, {"UdpLiteInErrors": 1}),
        (15, None, {"UdpLiteInErrors": 1}),  # less than the receiver wants
    ],
)
def test_each_datagram_is_counted_once(host: Host, coverage: int, hurt: int | None, counters: dict[str, int]) -> None:
    server = lite(host, "10.0.0.1", 5000)
    host.setopt(server, SOL_UDPLITE, UDPLITE_RECV_CSCOV, 16)
    datagram = udplite.damaged(udplite.build((PEER, ME), 7, 5000, PAYLOAD, coverage), hurt)
    host.inject(ipv4.build(PEER, ME, IPPROTO_UDPLITE, datagram))
    if "UdpLiteInDatagrams" in counters:
        assert host.recvfrom(server) == (datagram[8:], ("10.0.0.2", 7))
    assert counted(host) == counters


def drops(host: Host, sock: object) -> int:
    return int.from_bytes(host.getopt(sock, SOL_SOCKET, SO_MEMINFO, 36)[32:], "little")


def test_what_the_receiver_does_not_want_is_a_drop_of_its_own(host: Host) -> None:
    server = lite(host, "10.0.0.1", 5000)
    host.setopt(server, SOL_UDPLITE, UDPLITE_RECV_CSCOV, 0)
    host.inject(ipv4.build(PEER, ME, IPPROTO_UDPLITE, udplite.build((PEER, ME), 7, 5000, PAYLOAD, 8)))
    assert drops(host, server) == 1


def test_no_room_and_no_port(host: Host) -> None:
    server = lite(host, "10.0.0.1", 5000)
    host.setopt(server, SOL_SOCKET, SO_RCVBUF, 1)
    for _ in range(9):
        host.inject(ipv4.build(PEER, ME, IPPROTO_UDPLITE, udplite.build((PEER, ME), 7, 5000, bytes(1000))))
    assert counted(host)["UdpLiteRcvbufErrors"] == counted(host)["UdpLiteInErrors"] > 0
    host.inject(ipv4.build(PEER, ME, IPPROTO_UDPLITE, udplite.build((PEER, ME), 7, 5001, b"x")))
    assert counted(host)["UdpLiteNoPorts"] == 1
    (answer,) = host.sent()
    told = icmp.parse(answer, 20)
    assert (told.type, told.code) == (icmp.DEST_UNREACH, icmp.PORT_UNREACH)


def test_too_short_for_a_header(host: Host) -> None:
    host.inject(ipv4.build(PEER, ME, IPPROTO_UDPLITE, bytes(7)))
    assert counted(host) == {"UdpLiteInErrors": 1}


def test_a_device_that_vouches_is_believed(host: Host) -> None:
    server = lite(host, "10.0.0.1", 5000)
    wrong = udplite.build((PEER, ME), 7, 5000, PAYLOAD, 8, check=1)
    host.inject(ipv4.build(PEER, ME, IPPROTO_UDPLITE, wrong), ip_summed=CHECKSUM_UNNECESSARY)
    assert host.recvfrom(server)[0] == PAYLOAD


def test_in_fragments(host: Host) -> None:
    server = lite(host, "10.0.0.1", 5000)
    whole = udplite.damaged(udplite.build((PEER, ME), 7, 5000, bytes(3000), 100), 2900)
    for start in (0, 1480, 2960):
        flags = ipv4.MF if start < 2960 else 0
        piece = whole[start : start + 1480]
        host.inject(ipv4.build(PEER, ME, IPPROTO_UDPLITE, piece, ident=1, flags=flags, fragment=start))
    assert host.recvfrom(server)[0] == whole[8:]


@given(st.binary(max_size=60), st.integers(0, 70), st.none() | st.integers(0, 70))
def test_nothing_that_arrives_raises(data: bytes, coverage: int, minimum: int | None) -> None:
    host = Host()
    server = lite(host, "10.0.0.1", 5000)
    if minimum is not None:
        host.setopt(server, SOL_UDPLITE, UDPLITE_RECV_CSCOV, minimum)
    size = len(data) + 8
    good = (coverage == 0 or 8 <= coverage <= size) and udplite.build((PEER, ME), 7, 5000, data, coverage)
    datagram = good or udplite.build((PEER, ME), 7, 5000, data, coverage, check=1)
    host.inject(ipv4.build(PEER, ME, IPPROTO_UDPLITE, datagram))
    whole = coverage in (0, size)
    wanted = minimum is None or whole or (minimum and coverage >= max(minimum, 8))
    if good and wanted:
        assert host.recvfrom(server)[0] == data
    else:
        fails(errno.EAGAIN, host.recvfrom, server)
        assert counted(host)["UdpLiteInErrors"] == 1
    assert not host.log


def test_udp_is_not_concerned(host: Host) -> None:
    lite(host, "10.0.0.1", 5000)
    host.inject(ipv4.build(PEER, ME, IPPROTO_UDP, udplite.build((PEER, ME), 7, 5000, b"x", 9)))
    assert "UdpLiteInDatagrams" not in counted(host)
    assert counted(host)["UdpInErrors"] == 1  # the checksum is UDP-Lite's
