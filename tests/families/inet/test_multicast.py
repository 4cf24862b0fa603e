"""Multicast and broadcast: membership, who gets a copy, what leaves (RFC 1112, ip(7))."""

from __future__ import annotations

import errno
import struct

import pytest
from support.dgram_api import LO, Api, Host, fails

from pysock.core.device import unregister_netdev
from pysock.families.inet.devinet import in_device, is_member
from pysock.families.inet.fib import RTN_UNICAST, FibEntry
from pysock.uapi.in_ import (
    IP_ADD_MEMBERSHIP,
    IP_DROP_MEMBERSHIP,
    IP_MULTICAST_ALL,
    IP_MULTICAST_IF,
    IP_MULTICAST_LOOP,
    IP_MULTICAST_TTL,
    IP_PKTINFO,
    IPPROTO_IP,
)
from pysock.uapi.socket import SO_BROADCAST, SO_REUSEADDR, SOCK_RAW, SOCK_STREAM, SOL_SOCKET
from pysock.wire import ipv4, udp

LO_BYTES = b"\x7f\0\0\1"
ME = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))
GROUP = "239.1.2.3"
GROUP_BYTES = bytes((239, 1, 2, 3))


def on_lo(group: bytes = GROUP_BYTES) -> bytes:
    return group + LO_BYTES


def on_device(ifindex: int) -> bytes:
    return struct.pack("=4s4si", GROUP_BYTES, bytes(4), ifindex)


def listener(api: Api, port: int = 0, host: str = "0.0.0.0") -> object:
    sock = api.socket()
    api.setopt(sock, SOL_SOCKET, SO_REUSEADDR, 1)
    api.bind(sock, (host, port))
    return sock


def speaker(api: Api) -> object:
    sock = api.socket()
    api.setopt(sock, IPPROTO_IP, IP_MULTICAST_IF, LO_BYTES)
    return sock


def test_members_get_a_copy_each(api: Api) -> None:
    first = listener(api)
    port = api.name(first)[1]
    second, third = listener(api, port), listener(api, port)
    for sock in (first, second):
        api.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_lo())
    api.setopt(third, IPPROTO_IP, IP_MULTICAST_ALL, 0)  # by default it would hear what others joined
    talker = speaker(api)
    for _ in range(2):
        api.sendto(talker, b"all of you", (GROUP, port))
        for sock in (first, second):
            data, name = api.recvfrom(sock)
            assert (data, name) == (b"all of you", (LO, api.name(talker)[1]))
        fails(errno.EAGAIN, api.recvfrom, third)


def test_leaving(api: Api) -> None:
    sock = listener(api)
    api.setopt(sock, IPPROTO_IP, IP_MULTICAST_ALL, 0)
    talker = speaker(api)
    port = api.name(sock)[1]
    api.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_lo())
    api.sendto(talker, b"in", (GROUP, port))
    assert api.recvfrom(sock)[0] == b"in"
    api.setopt(sock, IPPROTO_IP, IP_DROP_MEMBERSHIP, on_lo())
    api.sendto(talker, b"out", (GROUP, port))
    fails(errno.EAGAIN, api.recvfrom, sock)


def test_a_group_is_an_address_to_bind_to(api: Api) -> None:
    sock = listener(api, host=GROUP)
    api.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_lo())
    assert api.name(sock)[0] == GROUP
    api.sendto(speaker(api), b"a", api.name(sock))
    assert api.recvfrom(sock)[0] == b"a"


def test_requests_that_cannot_be(api: Api) -> None:
    sock = api.socket()
    fails(errno.EINVAL, api.setopt, sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_lo(bytes((10, 1, 2, 3))))
    fails(errno.EINVAL, api.setopt, sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, GROUP_BYTES)
    fails(errno.ENODEV, api.setopt, sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, GROUP_BYTES + bytes((203, 0, 113, 1)))
    fails(errno.ENODEV, api.setopt, sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_device(999))
    fails(errno.EADDRNOTAVAIL, api.setopt, sock, IPPROTO_IP, IP_DROP_MEMBERSHIP, on_lo())
    api.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_device(1))
    fails(errno.EADDRINUSE, api.setopt, sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_lo())
    fails(errno.EADDRNOTAVAIL, api.setopt, sock, IPPROTO_IP, IP_DROP_MEMBERSHIP, GROUP_BYTES + bytes((203, 0, 113, 1)))
    fails(errno.EADDRNOTAVAIL, api.setopt, sock, IPPROTO_IP, IP_DROP_MEMBERSHIP, on_device(9))
    api.setopt(sock, IPPROTO_IP, IP_DROP_MEMBERSHIP, on_lo())
    fails(errno.EADDRNOTAVAIL, api.setopt, sock, IPPROTO_IP, IP_DROP_MEMBERSHIP, on_lo())


def test_twenty_groups_and_no_more(api: Api) -> None:
    sock = api.socket()
    for i in range(20):
        api.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_lo(bytes((239, 0, 0, i))))
    fails(errno.ENOBUFS, api.setopt, sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_lo())


def test_connecting_to_a_group(api: Api) -> None:
    sock = listener(api)
    api.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_lo())
    talker = speaker(api)
    api.connect(talker, (GROUP, api.name(sock)[1]))
    assert api.peer(talker)[0] == GROUP
    for _ in range(2):
        api.sendto(talker, b"a")
        assert api.recvfrom(sock) == (b"a", (LO, api.name(talker)[1]))


def test_pktinfo_of_a_multicast(api: Api) -> None:
    sock = listener(api)
    api.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, on_lo())
    api.setopt(sock, IPPROTO_IP, IP_PKTINFO, 1)
    api.sendto(speaker(api), b"a", (GROUP, api.name(sock)[1]))
    assert api.recvmsg(sock)[1] == [(IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", 1, LO_BYTES, GROUP_BYTES))]


# pysock alone ------------------------------------------------------------------------------------------------------


def test_without_a_route_there_is_no_way(host: Host) -> None:
    sock = host.socket()
    fails(errno.ENETUNREACH, host.sendto, sock, b"a", (GROUP, 9))
    fails(errno.ENODEV, host.setopt, sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, GROUP_BYTES + bytes(4))
    host.inet.fib.add(FibEntry(bytes((224, 0, 0, 0)), 4, RTN_UNICAST, host.dev, ME))
    host.sendto(sock, b"a", (GROUP, 9))
    host.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, GROUP_BYTES + bytes(4))
    assert is_member(host.dev, GROUP_BYTES)


@pytest.mark.parametrize("loop", [True, False])
def test_what_leaves_a_real_device(host: Host, loop: bool) -> None:
    """The wire gets it with a TTL of one, and our own members too unless IP_MULTICAST_LOOP is off."""
    sock = listener(host)
    host.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, GROUP_BYTES + ME)
    host.softirqs()
    host.sent()  # IGMP
    talker = host.socket()
    host.setopt(talker, IPPROTO_IP, IP_MULTICAST_IF, ME)
    host.setopt(talker, IPPROTO_IP, IP_MULTICAST_LOOP, loop)
    for ttl in (1, 9):
        host.setopt(talker, IPPROTO_IP, IP_MULTICAST_TTL, ttl)
        host.sendto(talker, b"news", (GROUP, host.name(sock)[1]))
        frame = host.wire.sent[0]
        (sent,) = host.sent()
        assert frame[:6] == b"\x01\0\x5e\x01\x02\x03"  # RFC 1112 6.4
        assert (ipv4.parse(sent).src, ipv4.parse(sent).dst, ipv4.parse(sent).ttl) == (ME, GROUP_BYTES, ttl)
        if loop:
            assert host.recvfrom(sock) == (b"news", ("10.0.0.1", host.name(talker)[1]))
        fails(errno.EAGAIN, host.recvfrom, sock)


def test_a_ttl_of_zero_stays_at_home(host: Host) -> None:
    sock, talker = listener(host), host.socket()
    host.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, GROUP_BYTES + ME)
    host.softirqs()
    host.sent()  # IGMP
    host.setopt(talker, IPPROTO_IP, IP_MULTICAST_IF, ME)
    host.setopt(talker, IPPROTO_IP, IP_MULTICAST_TTL, 0)
    host.sendto(talker, b"home", (GROUP, host.name(sock)[1]))
    assert host.recvfrom(sock)[0] == b"home"
    raw = host.socket(SOCK_RAW, 253)
    host.setopt(raw, IPPROTO_IP, IP_MULTICAST_IF, ME)
    host.setopt(raw, IPPROTO_IP, IP_MULTICAST_TTL, 0)
    host.sendto(raw, b"home", (GROUP, 0))
    assert host.recvfrom(raw)[0][20:] == b"home"
    assert not host.sent()


def test_broadcasts_reach_ourselves_too(host: Host) -> None:
    sock, talker = listener(host), host.socket()
    host.setopt(talker, SOL_SOCKET, SO_BROADCAST, 1)
    host.sendto(talker, b"hear", ("10.0.0.255", host.name(sock)[1]))
    assert host.recvfrom(sock)[0] == b"hear"
    (sent,) = host.sent()
    assert ipv4.parse(sent).dst == bytes((10, 0, 0, 255))


def test_what_comes_in(host: Host) -> None:
    member, deaf = listener(host), listener(host)
    port = host.name(member)[1]
    host.setopt(deaf, IPPROTO_IP, IP_MULTICAST_ALL, 0)
    news = ipv4.build(PEER, GROUP_BYTES, 17, udp.build(7, port, b"news", addresses=(PEER, GROUP_BYTES)))
    host.inject(news)  # nobody is in the group: dropped before UDP, as Linux does
    assert in_device(host.dev).unwanted == 1
    assert "UdpIgnoredMulti" not in host.counted()
    assert "IpExtInMcastPkts" not in host.counted()
    host.setopt(member, IPPROTO_IP, IP_ADD_MEMBERSHIP, GROUP_BYTES + ME)
    host.softirqs()
    host.sent()  # IGMP
    host.inject(ipv4.build(PEER, GROUP_BYTES, 17, udp.build(7, port ^ 1, b"news", addresses=(PEER, GROUP_BYTES))))
    assert host.counted()["UdpIgnoredMulti"] == host.counted()["IpExtInMcastPkts"] == 1
    for _ in range(2):
        host.inject(news)
        assert host.recvfrom(member) == (b"news", ("10.0.0.2", 7))
    fails(errno.EAGAIN, host.recvfrom, deaf)
    assert not host.sent()  # nobody complains about a multicast


def test_the_device_filter_follows_the_members(host: Host) -> None:
    address = b"\x01\0\x5e\x01\x02\x03"
    one, two = host.socket(), host.socket()
    for sock in (one, two):
        host.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, GROUP_BYTES + ME)
    assert address in host.dev.mc
    host.close(one)
    assert is_member(host.dev, GROUP_BYTES)
    host.setopt(two, IPPROTO_IP, IP_DROP_MEMBERSHIP, GROUP_BYTES + ME)
    assert not is_member(host.dev, GROUP_BYTES)
    assert address not in host.dev.mc


def test_a_device_that_goes_takes_its_members_along(host: Host) -> None:
    sock = host.socket()
    host.setopt(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, GROUP_BYTES + ME)
    host.kernel.enter()
    unregister_netdev(host.dev)
    host.kernel.leave()
    host.close(sock)


def test_a_stream_socket_joins_nothing(host: Host) -> None:
    fails(errno.EPROTO, host.setopt, host.socket(SOCK_STREAM), IPPROTO_IP, IP_DROP_MEMBERSHIP, on_lo())
