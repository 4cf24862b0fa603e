"""UDP-Lite over IPv6, on pysock and on Linux alike (RFC 3828, udplite(7), ipv6(7))."""

from __future__ import annotations

import errno
import os

import pytest
from support import udplite
from support.inet6_api import LO6, LO_MAPPED, Api6, Ours6
from support.inet6_hosts import Wire6, a6
from support.refused import refused
from support.udplite import COVERAGES, PAYLOAD, RECEIVED

from pysock.core.skbuff import CHECKSUM_NONE
from pysock.syscalls.message import sys_recvfrom
from pysock.syscalls.socket import sys_bind, sys_setsockopt, sys_socket
from pysock.uapi import in6
from pysock.uapi.in_ import IPPROTO_IPV6, IPPROTO_UDPLITE
from pysock.uapi.socket import (
    AF_INET,
    AF_INET6,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_MORE,
    SO_PROTOCOL,
    SO_REUSEADDR,
    SOCK_DGRAM,
    SOCK_RAW,
    SOL_SOCKET,
    SOL_UDPLITE,
)
from pysock.uapi.udp import UDPLITE_RECV_CSCOV, UDPLITE_SEND_CSCOV
from pysock.vfs.task import Task
from pysock.wire import icmpv6, ipv6

LOOP = (a6(LO6), a6(LO6))
ME, PEER = a6("2001:db8::1"), a6("2001:db8::2")


def lite(api: Api6, host: str = "", port: int = 0, family: int = AF_INET6) -> object:
    sock = api.socket(SOCK_DGRAM, IPPROTO_UDPLITE, family)
    if host:
        api.bind(sock, (host, port))
    return sock


def raw(api: Api6) -> object:
    """It hears, and says, UDP-Lite datagrams as they are."""
    sock = api.socket(SOCK_RAW, IPPROTO_UDPLITE)
    api.bind(sock, (LO6, 0))
    return sock


def heard(api: Api6, spy: object, port: int) -> udplite.Sent:
    """The next datagram to ``port``; the real kernel's others are not ours."""
    while True:
        datagram = api.recvfrom(spy)[0]
        if int.from_bytes(datagram[2:4], "big") == port:
            return udplite.dissect(LOOP, datagram)


# Sockets -----------------------------------------------------------------------------------------------------------


def test_what_it_is(api6: Api6) -> None:
    assert api6.getint(lite(api6), SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDPLITE


def test_its_ports_are_not_udps(api6: Api6) -> None:
    sock = lite(api6, LO6)
    port = api6.name(sock)[1]
    other = api6.bound(LO6, port)
    with refused(errno.EADDRINUSE):
        lite(api6, LO6, port)
    client = lite(api6)
    api6.sendto(client, b"light", (LO6, port))
    assert api6.recvfrom(sock) == (b"light", (LO6, api6.name(client)[1], 0, 0))
    with refused(errno.EAGAIN):
        api6.recvfrom(other)


@pytest.mark.parametrize("size", [0, 1, 1453, 65527])
def test_sizes(api6: Api6, size: int) -> None:
    server, client = lite(api6, LO6), lite(api6)
    data = os.urandom(size)
    assert api6.sendto(client, data, api6.name(server)) == size
    assert api6.recvfrom(server)[0] == data
    with refused(errno.EMSGSIZE):
        api6.sendto(client, bytes(65528), api6.name(server))


def test_nobody_there(api6: Api6) -> None:
    gone = lite(api6, LO6)
    address = api6.name(gone)
    api6.close(gone)
    client = lite(api6)
    api6.setopt(client, IPPROTO_IPV6, in6.IPV6_RECVERR, 1)
    api6.connect(client, address)
    api6.sendto(client, b"anyone?")
    with refused(errno.ECONNREFUSED):
        api6.recvfrom(client)
    assert api6.recvmsg(client, flags=MSG_ERRQUEUE)[0] == b"anyone?"


def test_both_families_share_the_ports(api6: Api6) -> None:
    """And a dual-stack socket hears, and covers, both."""
    server = lite(api6, "::")
    port = api6.name(server)[1]
    with refused(errno.EADDRINUSE):
        lite(api6, "127.0.0.1", port, AF_INET)
    old = lite(api6, family=AF_INET)
    api6.setopt(old, SOL_UDPLITE, UDPLITE_SEND_CSCOV, 9)
    api6.sendto(old, b"old", ("127.0.0.1", port))
    data, name = api6.recvfrom(server)
    assert (data, name[:2]) == (b"old", (LO_MAPPED, api6.name(old)[1]))
    api6.setopt(server, SOL_UDPLITE, UDPLITE_SEND_CSCOV, 10)
    api6.setopt(old, SOL_UDPLITE, UDPLITE_RECV_CSCOV, 11)
    api6.sendto(server, b"too little covered", name)
    with refused(errno.EAGAIN):
        api6.recvfrom(old)
    api6.setopt(server, SOL_UDPLITE, UDPLITE_SEND_CSCOV, 11)
    api6.sendto(server, b"enough", name)
    assert api6.recvfrom(old)[0] == b"enough"


def test_what_comes_with_a_datagram(api6: Api6) -> None:
    server, client = lite(api6, LO6), lite(api6)
    api6.setopt(server, IPPROTO_IPV6, in6.IPV6_RECVPKTINFO, 1)
    api6.sendto(client, b"x", api6.name(server))
    ((_, kind, value),) = api6.recvmsg(server)[1]
    assert (kind, value[:16]) == (in6.IPV6_PKTINFO, a6(LO6))


@pytest.mark.parametrize("option", [UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV])
def test_options(api6: Api6, option: int) -> None:
    sock = lite(api6)
    for value, stored in {3: 8, 30: 30, 0: 0, 99999: 65535}.items():
        api6.setopt(sock, SOL_UDPLITE, option, value)
        assert api6.getint(sock, SOL_UDPLITE, option) == stored
    with refused(errno.ENOPROTOOPT):
        api6.setopt(api6.socket(), SOL_UDPLITE, option, 8)


# Out and in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "size", "field"), COVERAGES)
def test_the_header_says_what_is_covered(api6: Api6, option: int | None, size: int, field: int) -> None:
    spy, server, client = raw(api6), lite(api6, LO6), lite(api6)
    if option is not None:
        api6.setopt(client, SOL_UDPLITE, UDPLITE_SEND_CSCOV, option)
    data = os.urandom(size)
    for _ in range(2):
        api6.sendto(client, data, api6.name(server))
        assert heard(api6, spy, api6.name(server)[1]) == (field, data, True)
        assert api6.recvfrom(server)[0] == data


def test_pieces_are_summed_as_one(api6: Api6) -> None:
    spy, server, client = raw(api6), lite(api6, LO6), lite(api6)
    api6.setopt(client, SOL_UDPLITE, UDPLITE_SEND_CSCOV, 12)
    api6.sendto(client, b"abc", api6.name(server), MSG_MORE)
    api6.sendto(client, b"defg", api6.name(server))
    assert heard(api6, spy, api6.name(server)[1]) == (12, b"abcdefg", True)


@pytest.mark.parametrize(("coverage", "hurt", "minimum", "taken"), RECEIVED)
def test_who_gets_what(api6: Api6, coverage: int, hurt: int | None, minimum: int | None, taken: bool) -> None:
    wire, server = raw(api6), lite(api6, LO6)
    if minimum is not None:
        api6.setopt(server, SOL_UDPLITE, UDPLITE_RECV_CSCOV, minimum)
    datagram = udplite.damaged(udplite.build(LOOP, 7, api6.name(server)[1], PAYLOAD, coverage), hurt)
    api6.sendto(wire, datagram, (LO6, 0))
    if taken:
        assert api6.recvfrom(server)[0] == datagram[8:]
    else:
        with refused(errno.EAGAIN):
            api6.recvfrom(server)


def test_no_checksum_is_an_error(api6: Api6) -> None:
    wire, server = raw(api6), lite(api6, LO6)
    api6.sendto(wire, udplite.build(LOOP, 7, api6.name(server)[1], PAYLOAD, check=0), (LO6, 0))
    with refused(errno.EAGAIN):
        api6.recvfrom(server)


@pytest.fixture
def server(wire: Wire6) -> tuple[Task, int]:
    """A socket on port 5000 that wants 16 bytes covered."""
    task = Task.for_kernel(wire.kernel)
    fd = sys_socket(task, AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE)
    sys_bind(task, fd, ("2001:db8::1", 5000))
    sys_setsockopt(task, fd, SOL_UDPLITE, UDPLITE_RECV_CSCOV, 16)
    return task, fd


@pytest.mark.parametrize(
    ("coverage", "hurt", "counters"),
    [
        (0, None, {"UdpLite6InDatagrams": 1}),
        (16, 16, {"UdpLite6InDatagrams": 1}),
        (16, 15, {"UdpLite6InErrors": 1, "UdpLite6InCsumErrors": 1}),
        (7, None, {"UdpLite6InErrors": 1, "UdpLite6InCsumErrors": 1}),
        (23, None, {"UdpLite6InErrors": 1}),
        (15, None, {"UdpLite6InErrors": 1}),
    ],
)
def test_each_datagram_is_counted_once(
    wire: Wire6, server: tuple[Task, int], coverage: int, hurt: int | None, counters: dict[str, int]
) -> None:
    datagram = udplite.damaged(udplite.build((PEER, ME), 7, 5000, PAYLOAD, coverage), hurt)
    wire.inject(ipv6.build(PEER, ME, IPPROTO_UDPLITE, datagram))
    task, fd = server
    if "UdpLite6InDatagrams" in counters:
        assert sys_recvfrom(task, fd, 100, MSG_DONTWAIT)[0] == datagram[8:]
    assert {name: value for name, value in wire.counted().items() if name.startswith("Udp")} == counters


def test_members_of_a_group_get_a_copy_each_if_it_is_covered_enough(wire: Wire6) -> None:
    task = Task.for_kernel(wire.kernel)
    group = a6("ff02::77")
    members = []
    for wanted in (8, 12, 13):
        fd = sys_socket(task, AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE)
        sys_setsockopt(task, fd, SOL_SOCKET, SO_REUSEADDR, 1)
        sys_setsockopt(task, fd, SOL_UDPLITE, UDPLITE_RECV_CSCOV, wanted)
        sys_setsockopt(task, fd, IPPROTO_IPV6, in6.IPV6_JOIN_GROUP, group + wire.w0.ifindex.to_bytes(4, "little"))
        sys_bind(task, fd, ("::", 5000))
        members.append(fd)
    wire.inject(ipv6.build(PEER, group, IPPROTO_UDPLITE, udplite.build((PEER, group), 7, 5000, PAYLOAD, 12)))
    for fd in members[:2]:
        assert sys_recvfrom(task, fd, 100, MSG_DONTWAIT)[0] == PAYLOAD
    with refused(errno.EAGAIN):
        sys_recvfrom(task, members[2], 100, MSG_DONTWAIT)
    assert wire.counted()["UdpLite6InErrors"] == 1


def test_no_such_port(wire: Wire6) -> None:
    wire.inject(ipv6.build(PEER, ME, IPPROTO_UDPLITE, udplite.build((PEER, ME), 7, 5001, b"x")))
    (answer,) = wire.sent()
    told = icmpv6.parse(answer, 40)
    assert (told.type, told.code) == (icmpv6.DEST_UNREACH, icmpv6.PORT_UNREACH)
    assert wire.counted()["UdpLite6NoPorts"] == 1


def test_no_device_is_asked_for_a_checksum(ours6: Ours6) -> None:
    sock, client = lite(ours6, LO6), lite(ours6)
    ours6.sendto(client, b"x", ours6.name(sock))
    queue = ours6.sk(sock).receive_queue
    assert queue[0].ip_summed == CHECKSUM_NONE
