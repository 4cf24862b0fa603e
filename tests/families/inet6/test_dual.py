"""Both families on one port: v4-mapped addresses, IPV6_V6ONLY, who excludes whom (RFC 3493 3.7, 5.3; ipv6(7))."""

from __future__ import annotations

import errno

import pytest
from support.inet6_api import LO6, LO_MAPPED, Api6, Ours6
from support.refused import refused

from pysock.uapi import in6
from pysock.uapi.in_ import IPPROTO_IP, IPPROTO_IPV6
from pysock.uapi.socket import (
    AF_INET,
    AF_INET6,
    SO_DOMAIN,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_SOCKET,
)

#: family, address, IPV6_V6ONLY
ENDS = {
    "4*": (AF_INET, "0.0.0.0", False),
    "4lo": (AF_INET, "127.0.0.1", False),
    "6*": (AF_INET6, "::", False),
    "6*only": (AF_INET6, "::", True),
    "6lo": (AF_INET6, LO6, False),
    "6m*": (AF_INET6, "::ffff:0.0.0.0", False),
    "6mlo": (AF_INET6, LO_MAPPED, False),
}
TYPES = [pytest.param(SOCK_DGRAM, id="udp"), pytest.param(SOCK_STREAM, id="tcp")]


def speaks(end: str) -> tuple[set[int], str]:
    """The IP versions of a socket at ``end``, and its address as one of them writes it."""
    family, host, only = ENDS[end]
    if family == AF_INET or host.startswith("::ffff:"):
        return {4}, host.removeprefix("::ffff:")
    return ({6} if only or host != "::" else {4, 6}), host


def collide(a: str, b: str) -> bool:
    versions_a, host_a = speaks(a)
    versions_b, host_b = speaks(b)
    wild = {"0.0.0.0", "::"}
    return bool(versions_a & versions_b) and (host_a == host_b or bool(wild & {host_a, host_b}))


def make(api6: Api6, end: str, type: int, option: int = 0):  # type: ignore[no-untyped-def]
    family, _, only = ENDS[end]
    sock = api6.socket(type, 0, family)
    if only:
        api6.setopt(sock, IPPROTO_IPV6, in6.IPV6_V6ONLY, 1)
    if option:
        api6.setopt(sock, SOL_SOCKET, option, 1)
    return sock


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("second", ENDS)
@pytest.mark.parametrize("first", ENDS)
def test_who_may_bind_after_whom(api6: Api6, first: str, second: str, type: int) -> None:
    one = make(api6, first, type)
    api6.bind(one, (ENDS[first][1], 0))
    port = api6.name(one)[1]
    other = make(api6, second, type)
    if collide(first, second):
        with refused(errno.EADDRINUSE):
            api6.bind(other, (ENDS[second][1], port))
    else:
        api6.bind(other, (ENDS[second][1], port))


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("option", [SO_REUSEADDR, SO_REUSEPORT])
@pytest.mark.parametrize(("first", "second"), [("4*", "6*"), ("6*", "4lo"), ("6*", "6*"), ("6m*", "4*")])
def test_sharing_options_allow_it(api6: Api6, first: str, second: str, option: int, type: int) -> None:
    one = make(api6, first, type, option)
    api6.bind(one, (ENDS[first][1], 0))
    other = make(api6, second, type, option)
    api6.bind(other, (ENDS[second][1], api6.name(one)[1]))


# UDP ---------------------------------------------------------------------------------------------------------------


def test_a_dual_stack_socket_hears_both(api6: Api6) -> None:
    server = api6.bound("::")
    port = api6.name(server)[1]
    v4, v6 = api6.bound("127.0.0.1"), api6.socket()
    for _ in range(2):
        api6.sendto(v4, b"four", ("127.0.0.1", port))
        data, sender = api6.recvfrom(server)
        assert (data, sender) == (b"four", (LO_MAPPED, api6.name(v4)[1], 0, 0))
        api6.sendto(server, b"back", sender)
        assert api6.recvfrom(v4) == (b"back", ("127.0.0.1", port))
        api6.sendto(v6, b"six", (LO6, port, 0, 0))
        assert api6.recvfrom(server)[1][0] == LO6


def test_v6only_hears_one(api6: Api6) -> None:
    server = api6.socket()
    assert api6.getint(server, IPPROTO_IPV6, in6.IPV6_V6ONLY) == 0
    api6.setopt(server, IPPROTO_IPV6, in6.IPV6_V6ONLY, 1)
    api6.bind(server, ("::", 0))
    client = api6.socket(SOCK_DGRAM, 0, AF_INET)
    api6.connect(client, ("127.0.0.1", api6.name(server)[1]))
    api6.sendto(client, b"x")
    with refused(errno.ECONNREFUSED):
        api6.recvfrom(client)
    with refused(errno.ENETUNREACH):
        api6.sendto(server, b"x", (LO_MAPPED, 9, 0, 0))
    with refused(errno.ENETUNREACH):
        api6.connect(server, (LO_MAPPED, 9, 0, 0))
    with refused(errno.EINVAL):
        api6.setopt(server, IPPROTO_IPV6, in6.IPV6_V6ONLY, 0)  # too late


def test_v6only_and_a_mapped_address(api6: Api6) -> None:
    sock = make(api6, "6*only", SOCK_DGRAM)
    with refused(errno.EINVAL):
        api6.bind(sock, (LO_MAPPED, 0))


def test_a_real_address_implies_v6only(api6: Api6) -> None:
    sock = api6.bound(LO6)
    assert api6.getint(sock, IPPROTO_IPV6, in6.IPV6_V6ONLY) == 1
    with refused(errno.ENETUNREACH):
        api6.sendto(sock, b"x", (LO_MAPPED, 9, 0, 0))


def test_a_mapped_name_speaks_ipv4_alone(api6: Api6) -> None:
    sock = api6.bound(LO_MAPPED)
    assert api6.name(sock)[0] == LO_MAPPED
    with refused(errno.EAFNOSUPPORT):
        api6.sendto(sock, b"x", (LO6, 9, 0, 0))
    with refused(errno.EAFNOSUPPORT):
        api6.connect(sock, (LO6, 9, 0, 0))
    server = api6.bound("127.0.0.1")
    api6.connect(sock, (LO_MAPPED, api6.name(server)[1], 0, 0))
    api6.sendto(sock, b"x")
    _, sender = api6.recvfrom(server)
    assert sender == ("127.0.0.1", api6.name(sock)[1])
    api6.sendto(server, b"y", sender)
    assert api6.recvfrom(sock) == (b"y", (LO_MAPPED, api6.name(server)[1], 0, 0))


def test_connect_to_a_mapped_address(api6: Api6) -> None:
    server, client = api6.bound("127.0.0.1"), api6.socket()
    api6.connect(client, (LO_MAPPED, api6.name(server)[1], 0, 0))
    assert api6.name(client)[0] == LO_MAPPED
    assert api6.peer(client) == (LO_MAPPED, api6.name(server)[1], 0, 0)
    with refused(errno.EAFNOSUPPORT):
        api6.sendto(client, b"x", (LO6, 9, 0, 0))
    for _ in range(2):
        api6.sendto(client, b"x")
        assert api6.recvfrom(server) == (b"x", ("127.0.0.1", api6.name(client)[1]))


def test_ipv4s_own_socket_comes_first(api6: Api6) -> None:
    v4 = make(api6, "4*", SOCK_DGRAM, SO_REUSEADDR)
    api6.bind(v4, ("0.0.0.0", 0))
    port = api6.name(v4)[1]
    dual = make(api6, "6*", SOCK_DGRAM, SO_REUSEADDR)
    api6.bind(dual, ("::", port))
    api6.sendto(api6.socket(SOCK_DGRAM, 0, AF_INET), b"x", ("127.0.0.1", port))
    assert api6.recvfrom(v4)[0] == b"x"
    api6.sendto(api6.socket(), b"y", (LO6, port, 0, 0))
    assert api6.recvfrom(dual)[0] == b"y"


@pytest.mark.parametrize("host", ["::ffff:192.0.2.77", "2001:db8::77"])
def test_an_address_that_is_not_ours(api6: Api6, host: str) -> None:
    sock = api6.socket()
    with refused(errno.EADDRNOTAVAIL):
        api6.bind(sock, (host, 0))
    api6.setopt(sock, IPPROTO_IPV6, in6.IPV6_FREEBIND, 1)
    api6.bind(sock, (host, 0))
    assert api6.name(sock)[0] == host


def test_bindv6only(ours6: Ours6) -> None:
    ours6.kernel.init_net.sysctl.set("net.ipv6.bindv6only", True)
    sock = ours6.bound("::")
    assert ours6.getint(sock, IPPROTO_IPV6, in6.IPV6_V6ONLY) == 1
    ours6.bound("0.0.0.0", ours6.name(sock)[1])


# Control messages --------------------------------------------------------------------------------------------------


def test_packet_info_of_ipv4_is_mapped(api6: Api6) -> None:
    server = api6.bound("::")
    for option in (in6.IPV6_RECVPKTINFO, in6.IPV6_RECVHOPLIMIT, in6.IPV6_RECVTCLASS):
        api6.setopt(server, IPPROTO_IPV6, option, 1)
    api6.setopt(server, IPPROTO_IP, 12, 1)  # IP_RECVTTL
    api6.sendto(api6.socket(SOCK_DGRAM, 0, AF_INET), b"x", ("127.0.0.1", api6.name(server)[1]))
    _, control, _, _ = api6.recvmsg(server)
    assert control == [
        (IPPROTO_IPV6, in6.IPV6_PKTINFO, bytes(10) + b"\xff\xff\x7f\0\0\1" + b"\1\0\0\0"),
        (IPPROTO_IP, 2, b"\x40\0\0\0"),
    ]


def test_packet_info_chooses_an_ipv4_source(api6: Api6) -> None:
    server, client = api6.bound("0.0.0.0"), api6.socket()
    source = bytes(10) + b"\xff\xff\x7f\0\0\7" + bytes(4)
    to = (LO_MAPPED, api6.name(server)[1], 0, 0)
    api6.sendmsg(client, b"x", [(IPPROTO_IPV6, in6.IPV6_PKTINFO, source)], to)
    assert api6.recvfrom(server)[1][0] == "127.0.0.7"


# IPV6_ADDRFORM -----------------------------------------------------------------------------------------------------


def test_addrform_makes_an_ipv4_socket(api6: Api6) -> None:
    server, client = api6.bound("127.0.0.1"), api6.socket()
    with refused(errno.ENOTCONN):
        api6.setopt(client, IPPROTO_IPV6, in6.IPV6_ADDRFORM, AF_INET)
    api6.connect(client, (LO_MAPPED, api6.name(server)[1], 0, 0))
    assert api6.getint(client, IPPROTO_IPV6, in6.IPV6_ADDRFORM) == AF_INET6
    api6.setopt(client, IPPROTO_IPV6, in6.IPV6_ADDRFORM, AF_INET)
    assert api6.getint(client, SOL_SOCKET, SO_DOMAIN) == AF_INET
    api6.sendto(client, b"x")
    _, sender = api6.recvfrom(server)
    api6.sendto(server, b"y", sender)
    assert api6.poll(client) & 1
    real = api6.socket()
    api6.connect(real, (LO6, 9, 0, 0))
    with refused(errno.EADDRNOTAVAIL):
        api6.setopt(real, IPPROTO_IPV6, in6.IPV6_ADDRFORM, AF_INET)
