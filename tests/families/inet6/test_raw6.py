"""Raw and ping sockets of AF_INET6, on pysock and on Linux alike (RFC 3542 3, net/ipv6/raw.c, net/ipv6/ping.c)."""

from __future__ import annotations

import errno

import pytest
from support.inet6_api import LO6, LO_MAPPED, Api6, Ours6
from support.refused import refused

from pysock.core.capability import Credentials
from pysock.uapi import in6
from pysock.uapi.in_ import IPPROTO_ICMPV6, IPPROTO_IPV6, IPPROTO_RAW, IPPROTO_UDP
from pysock.uapi.socket import MSG_ERRQUEUE, SOCK_DGRAM, SOCK_RAW, SOL_ICMPV6, SOL_RAW
from pysock.wire import icmpv6, ipv6
from pysock.wire.addr import inet6_aton
from pysock.wire.checksum import pseudo_v6, verify

LO = inet6_aton(LO6)
TO = (LO6, 0, 0, 0)
ECHO = b"\x80\0\0\0\x12\x34\0\1payload"
MINE = 200  # a protocol that nobody has


def test_payload_without_headers(api6: Api6) -> None:
    sock = api6.socket(SOCK_RAW, MINE)
    assert api6.name(sock) == ("::", MINE, 0, 0)
    api6.sendto(sock, b"hello", TO)
    assert api6.recvfrom(sock) == (b"hello", TO)


def test_echo_through_a_raw_socket(api6: Api6) -> None:
    sock = api6.socket(SOCK_RAW, IPPROTO_ICMPV6)
    api6.sendto(sock, ECHO, TO)
    request, sender = api6.recvfrom(sock)
    reply, _ = api6.recvfrom(sock)
    assert sender == TO
    assert (request[0], reply[0]) == (icmpv6.ECHO_REQUEST, icmpv6.ECHO_REPLY)
    assert request[4:] == reply[4:] == ECHO[4:]
    for message in (request, reply):
        assert verify(message, pseudo_v6(LO, LO, IPPROTO_ICMPV6, len(message)))  # the kernel computed it


def test_icmpv6_filter(api6: Api6) -> None:
    sock = api6.socket(SOCK_RAW, IPPROTO_ICMPV6)
    assert api6.getopt(sock, SOL_ICMPV6, in6.ICMPV6_FILTER, 64) == bytes(32)
    mask = bytearray(32)
    mask[icmpv6.ECHO_REQUEST // 8] |= 1 << icmpv6.ECHO_REQUEST % 8
    api6.setopt(sock, SOL_ICMPV6, in6.ICMPV6_FILTER, bytes(mask))
    api6.sendto(sock, ECHO, TO)
    assert api6.recvfrom(sock)[0][0] == icmpv6.ECHO_REPLY
    with refused(errno.EAGAIN):
        api6.recvfrom(sock)
    api6.setopt(sock, SOL_ICMPV6, in6.ICMPV6_FILTER, b"\xff")  # the rest stays
    assert api6.getopt(sock, SOL_ICMPV6, in6.ICMPV6_FILTER, 32) == b"\xff" + bytes(mask[1:])
    other = api6.socket(SOCK_RAW, MINE)
    with refused(errno.EOPNOTSUPP):
        api6.setopt(other, SOL_ICMPV6, in6.ICMPV6_FILTER, bytes(32))
    with refused(errno.ENOPROTOOPT):
        api6.setopt(sock, SOL_RAW, 1, bytes(4))


def test_checksum_at_an_offset(api6: Api6) -> None:
    sock = api6.socket(SOCK_RAW, MINE)
    api6.setopt(sock, IPPROTO_IPV6, in6.IPV6_CHECKSUM, 2)
    api6.sendto(sock, b"ab\xff\xffcd", TO)
    data = api6.recvfrom(sock)[0]
    assert data[:2] + data[4:] == b"abcd"
    assert verify(data, pseudo_v6(LO, LO, MINE, len(data)))
    with refused(errno.EINVAL):
        api6.sendto(sock, b"abc", TO)  # no room for it


def test_header_included(api6: Api6) -> None:
    receiver = api6.socket(SOCK_RAW, MINE)
    sender = api6.socket(SOCK_RAW, IPPROTO_RAW)
    assert api6.getint(sender, IPPROTO_IPV6, in6.IPV6_HDRINCL) == 1
    api6.setopt(receiver, IPPROTO_IPV6, in6.IPV6_RECVHOPLIMIT, 1)
    header = ipv6.HEADER.pack(6 << 28, 5, MINE, 77, inet6_aton("2001:db8::5"), LO)
    assert api6.sendto(sender, header + b"hello", TO) == 45
    data, control, _, name = api6.recvmsg(receiver)
    assert (data, name) == (b"hello", ("2001:db8::5", 0, 0, 0))
    assert control == [(IPPROTO_IPV6, in6.IPV6_HOPLIMIT, b"\x4d\0\0\0")]
    with refused(errno.EINVAL):
        api6.sendto(sender, header[:30], TO)


def test_the_port_is_the_protocol_or_nothing(api6: Api6) -> None:
    sock = api6.socket(SOCK_RAW, MINE)
    api6.sendto(sock, b"x", (LO6, MINE, 0, 0))
    for port in (17, 300):
        with refused(errno.EINVAL):
            api6.sendto(sock, b"x", (LO6, port, 0, 0))


def test_names(api6: Api6) -> None:
    sock = api6.socket(SOCK_RAW, MINE)
    with refused(errno.EADDRNOTAVAIL):
        api6.bind(sock, (LO_MAPPED, 0, 0, 0))
    with refused(errno.EADDRNOTAVAIL):
        api6.bind(sock, ("2001:db8::77", 0, 0, 0))
    api6.bind(sock, TO)
    api6.bind(sock, TO)  # again is fine
    api6.connect(sock, TO)
    with refused(errno.ENOTCONN):
        api6.peer(sock)
    with refused(errno.EINVAL):
        api6.bind(sock, TO)
    api6.sendto(sock, b"x")
    assert api6.recvfrom(sock)[0] == b"x"
    with refused(errno.EPROTONOSUPPORT):
        api6.socket(SOCK_RAW, 0)


def test_a_copy_for_each_and_one_for_the_transport(api6: Api6) -> None:
    first, second = api6.socket(SOCK_RAW, IPPROTO_UDP), api6.socket(SOCK_RAW, IPPROTO_UDP)
    server, client = api6.bound(), api6.socket()
    api6.sendto(client, b"data", api6.name(server))
    for sock in (first, second):
        assert api6.recvfrom(sock)[0][8:] == b"data"
    assert api6.recvfrom(server)[0] == b"data"


def test_receive_path_forgets_closed_raw_sockets(ours6: Ours6) -> None:
    sock = ours6.socket(SOCK_RAW, MINE)
    assert ours6.inet6.raw_deliver is not None
    ours6.close(sock)
    assert ours6.inet6.raw_deliver is None
    assert ours6.inet6.raw_error is None


def test_errors_reach_the_error_queue(ours6: Ours6) -> None:
    sock = ours6.socket(SOCK_RAW, MINE)
    ours6.setopt(sock, IPPROTO_IPV6, in6.IPV6_RECVERR, 1)
    quoted = ipv6.HEADER.pack(6 << 28, 4, MINE, 64, LO, LO) + b"abcd"
    dev = ours6.kernel.init_net.loopback_dev
    assert ours6.inet6.raw_error is not None
    assert dev is not None
    ours6.inet6.raw_error(MINE, quoted, 40, icmpv6.DEST_UNREACH, icmpv6.ADM_PROHIBITED, 0, LO, dev)
    assert ours6.error(sock) == errno.EACCES
    data, control, _, name = ours6.recvmsg(sock, flags=MSG_ERRQUEUE)
    assert (data, name) == (b"abcd", TO)
    assert control[0][:2] == (IPPROTO_IPV6, in6.IPV6_RECVERR)


def test_only_with_the_capability() -> None:
    ours = Ours6(Credentials(uid=1000, gid=1000, caps=0))
    with refused(errno.EPERM):
        ours.socket(SOCK_RAW, MINE)


# Ping --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pings(ours6: Ours6) -> Ours6:
    ours6.kernel.init_net.sysctl.set("net.ipv4.ping_group_range", (0, 100))
    return ours6


def test_ping(pings: Ours6) -> None:
    sock, other = pings.socket(SOCK_DGRAM, IPPROTO_ICMPV6), pings.socket(SOCK_DGRAM, IPPROTO_ICMPV6)
    assert pings.sendto(sock, ECHO, TO) == len(ECHO)
    ident = pings.name(sock)[1]
    reply, sender = pings.recvfrom(sock)
    assert sender == TO
    assert reply[0] == icmpv6.ECHO_REPLY
    assert reply[4:] == ident.to_bytes(2, "big") + ECHO[6:]
    with refused(errno.EAGAIN):
        pings.recvfrom(sock)
    with refused(errno.EAGAIN):
        pings.recvfrom(other)


def test_ping_shares_identifiers_with_ipv4(pings: Ours6) -> None:
    sock = pings.socket(SOCK_DGRAM, IPPROTO_ICMPV6)
    pings.setopt(sock, 1, 2, 0)  # ping sockets are born with SO_REUSEADDR
    pings.bind(sock, ("::", 77, 0, 0))
    v4 = pings.socket(SOCK_DGRAM, 1, 2)
    with refused(errno.EADDRINUSE):
        pings.bind(v4, ("0.0.0.0", 77))


@pytest.mark.parametrize(
    ("data", "addr"),
    [(b"\x81" + ECHO[1:], TO), (ECHO[:4], TO), (ECHO, (LO_MAPPED, 0, 0, 0)), (ECHO, ("fe80::1", 0, 0, 0))],
)
def test_ping_sends_requests_alone(pings: Ours6, data: bytes, addr: tuple[str, int, int, int]) -> None:
    with refused(errno.EINVAL):
        pings.sendto(pings.socket(SOCK_DGRAM, IPPROTO_ICMPV6), data, addr)


def test_connected_ping(pings: Ours6) -> None:
    sock = pings.socket(SOCK_DGRAM, IPPROTO_ICMPV6)
    with refused(errno.EAFNOSUPPORT):
        pings.connect(sock, (LO_MAPPED, 0, 0, 0))
    pings.connect(sock, TO)
    pings.sendto(sock, ECHO)
    assert pings.recvfrom(sock)[0][0] == icmpv6.ECHO_REPLY


def test_ping_is_for_the_groups_in_the_range(ours6: Ours6) -> None:
    with refused(errno.EACCES):
        ours6.socket(SOCK_DGRAM, IPPROTO_ICMPV6)
