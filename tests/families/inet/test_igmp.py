"""Telling routers of groups and sources, and whose datagrams to a group are (RFC 3376; igmp.c).

What is sent, and when, is what Linux 6.18 sends for the same calls and queries.
"""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dgram_api import fails
from support.hosts import HostApi, Hosts

from pysock.core.dev import netif_rx
from pysock.core.device import dev_close, dev_open
from pysock.core.eth import eth_type_trans
from pysock.core.skbuff import SkBuff
from pysock.families.inet.devinet import add_address, in_device
from pysock.families.inet.igmp import MCAST_EXCLUDE, MCAST_INCLUDE, Group, Member
from pysock.uapi.in_ import (
    IP_ADD_MEMBERSHIP,
    IP_ADD_SOURCE_MEMBERSHIP,
    IP_BLOCK_SOURCE,
    IP_DROP_MEMBERSHIP,
    IP_DROP_SOURCE_MEMBERSHIP,
    IP_MSFILTER,
    IP_MULTICAST_ALL,
    IP_MULTICAST_IF,
    IP_UNBLOCK_SOURCE,
    IPPROTO_IP,
    MCAST_BLOCK_SOURCE,
    MCAST_JOIN_GROUP,
    MCAST_JOIN_SOURCE_GROUP,
    MCAST_LEAVE_GROUP,
    MCAST_LEAVE_SOURCE_GROUP,
    MCAST_MSFILTER,
    MCAST_UNBLOCK_SOURCE,
)
from pysock.uapi.socket import AF_INET, SOCK_RAW
from pysock.wire import igmp, ipv4
from pysock.wire.addr import inet_aton as a
from pysock.wire.addr import inet_ntoa

G, ME, ROUTER = a("239.1.2.3"), a("10.0.0.1"), a("10.0.0.9")
OTHER = a("239.9.9.9")
S5, S6, S7 = a("10.0.0.5"), a("10.0.0.6"), a("10.0.0.7")
IN, EX = igmp.CHANGE_TO_INCLUDE, igmp.CHANGE_TO_EXCLUDE
ALLOW, BLOCK = igmp.ALLOW_NEW_SOURCES, igmp.BLOCK_OLD_SOURCES
IS_IN, IS_EX = igmp.MODE_IS_INCLUDE, igmp.MODE_IS_EXCLUDE

Said = list[tuple[object, ...]]


class Link:
    """A host with a socket, and what it says of groups."""

    def __init__(self) -> None:
        self.lab = Hosts()
        self.host, self.peer = self.lab.pair()
        self.frames = self.lab.record(self.host.dev())
        self.fd = self.host.socket()

    def option(self, name: int, *parts: bytes, fd: int | None = None) -> None:
        self.host.setopt(self.fd if fd is None else fd, IPPROTO_IP, name, b"".join(parts))

    def packets(self) -> list[bytes]:
        found = [frame[14:] for frame in self.frames if frame[12:14] == b"\x08\0" and frame[23] == 2]
        self.frames.clear()
        return [packet for packet in found if packet[24] != igmp.QUERY and packet[12:16] == ME]

    def said(self, seconds: float = 2.2) -> Said:
        """(destination, type, group) or (record type, sources...) of each message of the next ``seconds``."""
        self.lab.sleep(seconds)
        told: Said = []
        for packet in self.packets():
            message = igmp.parse(packet, 24)
            if message.type == igmp.V3_REPORT:
                for record in igmp.parse_records(message):
                    assert record.group in (G, OTHER)
                    told.append((record.type, *record.sources))
            else:
                told.append((inet_ntoa(packet[16:20]), message.type, message.group))
        return told

    def arrive(self, daddr: bytes, message: bytes) -> None:
        device = self.host.dev()
        packet = ipv4.build(ROUTER, daddr, 2, message, ttl=1, options=b"\x94\4\0\0")
        frame = b"\x01\0\x5e" + bytes((daddr[1] & 0x7F,)) + daddr[2:] + b"\x02\0\0\0\0\x77\x08\0" + packet
        skb = SkBuff(frame, 0, len(frame))

        def receive() -> None:
            assert eth_type_trans(skb, device)
            netif_rx(skb)

        self.host.call(receive)

    def query(self, group: bytes = bytes(4), body: bytes = b"", code: int = 5) -> None:
        self.arrive(group if any(group) else a("224.0.0.1"), igmp.build(igmp.QUERY, code, group, body))


@pytest.fixture
def link() -> Link:
    return Link()


def v3(*sources: bytes) -> bytes:
    return struct.pack("!BBH", 2, 125, len(sources)) + b"".join(sources)


def test_changes_are_said_twice(link: Link) -> None:
    for name, parts, told in (
        (IP_ADD_MEMBERSHIP, (G, ME), (EX,)),
        (IP_BLOCK_SOURCE, (G, ME, S5), (BLOCK, S5)),
        (IP_UNBLOCK_SOURCE, (G, ME, S5), (ALLOW, S5)),
        (IP_DROP_MEMBERSHIP, (G, ME), (IN,)),
        (IP_ADD_SOURCE_MEMBERSHIP, (G, ME, S5), (ALLOW, S5)),
        (IP_ADD_SOURCE_MEMBERSHIP, (G, ME, S6), (ALLOW, S6)),
        (IP_DROP_SOURCE_MEMBERSHIP, (G, ME, S5), (BLOCK, S5)),
        (IP_DROP_SOURCE_MEMBERSHIP, (G, ME, S6), (BLOCK, S6)),
    ):
        link.option(name, *parts)
        assert link.said() == [told, told]
    assert in_device(link.host.dev()).groups == {}


def test_a_report_on_the_wire(link: Link) -> None:
    link.option(IP_ADD_MEMBERSHIP, G, ME)
    link.lab.sleep(0.01)
    (packet,) = link.packets()
    header = ipv4.parse(packet)
    assert (header.tos, header.ttl, header.flags, header.ident) == (0xC0, 1, ipv4.DF, 0)
    assert (header.src, header.dst, header.options) == (ME, a("224.0.0.22"), b"\x94\4\0\0")
    assert ipv4.verify(packet)
    assert igmp.verify(packet[24:])


def test_members_together(link: Link) -> None:
    """Another socket that wants more, then less: only what changes for the device is said."""
    two = link.host.socket()
    link.option(IP_ADD_SOURCE_MEMBERSHIP, G, ME, S5)
    link.said()
    link.option(IP_ADD_SOURCE_MEMBERSHIP, G, ME, S5, fd=two)
    assert link.said() == []
    link.option(IP_MSFILTER, G, ME, struct.pack("=II", MCAST_EXCLUDE, 2), S5, S6, fd=two)
    assert link.said() == [(EX, S6), (EX, S6)]
    link.host.close(two)
    assert link.said() == [(IN, S5), (IN, S5)]
    link.host.close(link.fd)
    assert link.said() == [(BLOCK, S5), (BLOCK, S5)]


def test_queries_are_answered(link: Link) -> None:
    link.option(IP_ADD_SOURCE_MEMBERSHIP, G, ME, S6)
    link.option(IP_ADD_MEMBERSHIP, OTHER, ME)
    link.said()
    link.query(body=v3())
    assert link.said(1) == [(IS_IN, S6), (IS_EX,)]
    link.query(G, v3())
    assert link.said(1) == [(IS_IN, S6)]
    link.query(G, v3(S6, S7))
    assert link.said(1) == [(IS_IN, S6)]
    link.query(OTHER, v3(S6, S7))
    assert link.said(1) == [(IS_IN, S6, S7)]
    link.query(G, v3(S7))  # nothing to say
    link.query(a("239.7.7.7"), v3())
    assert link.said(1) == []


def test_a_delay_is_random_and_bounded(link: Link) -> None:
    link.option(IP_ADD_MEMBERSHIP, G, ME)
    link.said()
    for code, limit in ((20, 2.0), (0x80, 12.8)):
        link.query(body=v3(), code=code)
        assert link.said(0.0005) == []
        assert link.said(limit + 0.01) == [(IS_EX,)]


def test_version_2(link: Link) -> None:
    link.option(IP_ADD_MEMBERSHIP, G, ME)
    link.said()
    link.query()
    assert link.said(1) == [("239.1.2.3", igmp.V2_REPORT, G)]
    two = link.host.socket()
    link.option(IP_ADD_MEMBERSHIP, OTHER, ME, fd=two)
    assert link.said(11) == [("239.9.9.9", igmp.V2_REPORT, OTHER)] * 2
    link.host.close(two)
    assert link.said() == [("224.0.0.2", igmp.V2_LEAVE, OTHER)]
    link.query()
    link.arrive(G, igmp.build(igmp.V2_REPORT, 0, G))  # another host speaks for us
    link.option(IP_DROP_MEMBERSHIP, G, ME)
    assert link.said() == []
    link.lab.sleep(300)  # the old router has not been heard any more
    link.option(IP_ADD_MEMBERSHIP, G, ME)
    assert link.said() == [(EX,)] * 2


def test_version_1(link: Link) -> None:
    link.query(code=0)
    link.option(IP_ADD_MEMBERSHIP, G, ME)
    assert link.said(11) == [("239.1.2.3", igmp.V1_REPORT, G)] * 2
    link.query(body=v3())  # is one of version 1 here
    assert link.said(11) == [("239.1.2.3", igmp.V1_REPORT, G)]
    link.option(IP_DROP_MEMBERSHIP, G, ME)
    assert link.said() == []


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_version_can_be_forced(link: Link, version: int) -> None:
    link.host.sysctl("net.ipv4.conf.eth0.force_igmp_version", version)
    link.query(code=0)
    link.option(IP_ADD_MEMBERSHIP, G, ME)
    kind = link.said()[0]
    assert kind == {1: ("239.1.2.3", igmp.V1_REPORT, G), 2: ("239.1.2.3", igmp.V2_REPORT, G), 3: (EX,)}[version]


def test_robustness_is_the_queriers(link: Link) -> None:
    link.query(body=struct.pack("!BBH", 4, 125, 0))
    link.said(1)
    link.option(IP_ADD_MEMBERSHIP, G, ME)
    assert link.said(5) == [(EX,)] * 4


def test_a_device_that_comes_up_again_says_all(link: Link) -> None:
    link.option(IP_ADD_SOURCE_MEMBERSHIP, G, ME, S5)
    link.said()
    device = link.host.dev()
    link.host.call(dev_close, device)
    assert b"\x01\0\x5e\x01\x02\x03" not in device.mc
    assert link.said() == []
    link.host.call(dev_open, device)
    assert link.said() == [(ALLOW, S5)] * 2
    assert b"\x01\0\x5e\x01\x02\x03" in device.mc
    link.lab.sleep(1)
    link.option(IP_DROP_MEMBERSHIP, G, ME)
    link.host.call(dev_close, device)
    assert link.said() == [(BLOCK, S5)]  # once: then there is nobody to tell


def test_many_groups_share_packets(link: Link) -> None:
    link.host.sysctl("net.ipv4.igmp_max_memberships", 500)
    for i in range(400):
        link.option(IP_ADD_MEMBERSHIP, bytes((239, 8, i >> 8, i & 255)), ME)
    link.lab.sleep(3)
    link.packets()
    link.query(body=v3())
    link.lab.sleep(1)
    sizes = [len(igmp.parse_records(igmp.parse(packet, 24))) for packet in link.packets()]
    assert sum(sizes) == 400
    assert len(sizes) < 10


# --- what a socket hears ----------------------------------------------------------------------------------------------


def hears(link: Link, fd: int, port: int, *sources: str) -> list[str]:
    """Of which sources a datagram to G reaches the socket."""
    found = []
    for source in sources:
        talker = link.peer.bound(source)
        link.peer.setopt(talker, IPPROTO_IP, IP_MULTICAST_IF, a("10.0.0.2"))
        link.peer.sendto(talker, source.encode(), ("239.1.2.3", port))
        try:
            found.append(link.host.recvfrom(fd)[0].decode())
        except BlockingIOError:
            pass
    return found


def sockaddr(address: bytes, family: int = AF_INET) -> bytes:
    return struct.pack("=HH4s120x", family, 0, address)


def test_source_filters(link: Link) -> None:
    for last in (5, 6):
        link.peer.call(add_address, link.peer.inet, link.peer.dev(), bytes((10, 0, 0, last)), 24)
    fd, port = link.host.bound("0.0.0.0"), 0
    port = link.host.name(fd)[1]
    link.host.setopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0)
    index = struct.pack("=I4x", link.host.dev().ifindex)
    all_of_them = ["10.0.0.2", "10.0.0.5", "10.0.0.6"]

    def heard() -> list[str]:
        return hears(link, fd, port, *all_of_them)

    def option(name: int, *parts: bytes) -> None:
        link.option(name, *parts, fd=fd)

    assert heard() == []
    option(MCAST_JOIN_GROUP, index, sockaddr(G))
    assert heard() == all_of_them
    option(MCAST_BLOCK_SOURCE, index, sockaddr(G), sockaddr(S5))
    assert heard() == ["10.0.0.2", "10.0.0.6"]
    option(MCAST_UNBLOCK_SOURCE, index, sockaddr(G), sockaddr(S5))
    assert heard() == all_of_them
    option(MCAST_LEAVE_GROUP, index, sockaddr(G))
    assert heard() == []
    option(MCAST_JOIN_SOURCE_GROUP, index, sockaddr(G), sockaddr(S5))
    assert heard() == ["10.0.0.5"]
    option(MCAST_MSFILTER, index, sockaddr(G), struct.pack("=II", MCAST_INCLUDE, 2), sockaddr(S5), sockaddr(S6))
    assert heard() == ["10.0.0.5", "10.0.0.6"]
    option(MCAST_LEAVE_SOURCE_GROUP, index, sockaddr(G), sockaddr(S6))
    option(MCAST_LEAVE_SOURCE_GROUP, index, sockaddr(G), sockaddr(S5))
    assert heard() == []
    assert not link.host.sk(fd).mc_list


def test_requests_that_cannot_be(link: Link) -> None:
    def refused(number: int, name: int, *parts: bytes) -> None:
        fails(number, lambda: link.option(name, *parts))

    index = struct.pack("=I4x", link.host.dev().ifindex)
    refused(errno.EINVAL, IP_BLOCK_SOURCE, G, ME, S5)  # not joined
    link.option(IP_ADD_MEMBERSHIP, G, ME)
    link.option(IP_BLOCK_SOURCE, G, ME, S5)
    refused(errno.EADDRNOTAVAIL, IP_BLOCK_SOURCE, G, ME, S5)
    refused(errno.EADDRNOTAVAIL, IP_UNBLOCK_SOURCE, G, ME, S6)
    refused(errno.EINVAL, IP_ADD_SOURCE_MEMBERSHIP, G, ME, S6)  # has sources, of the other mode
    refused(errno.EINVAL, IP_BLOCK_SOURCE, G, ME)
    refused(errno.EINVAL, IP_BLOCK_SOURCE, ME, ME, S5)
    refused(errno.EINVAL, IP_MSFILTER, G, ME, struct.pack("=II", 2, 0))
    refused(errno.EINVAL, IP_MSFILTER, G, ME, struct.pack("=II", 0, 2), S5)
    refused(errno.ENOBUFS, IP_MSFILTER, G, ME, struct.pack("=II", 0, 11), bytes(44))
    refused(errno.EADDRNOTAVAIL, MCAST_JOIN_SOURCE_GROUP, index, sockaddr(G, 10), sockaddr(S5))
    refused(errno.EINVAL, MCAST_JOIN_GROUP, index, sockaddr(G, 10))
    for i in range(9):
        link.option(IP_BLOCK_SOURCE, G, ME, bytes((10, 1, 1, i)))
    refused(errno.ENOBUFS, IP_BLOCK_SOURCE, G, ME, S7)
    link.host.sysctl("net.ipv4.igmp_max_memberships", 1)
    refused(errno.ENOBUFS, IP_ADD_MEMBERSHIP, OTHER, ME)


# --- definitions, and junk --------------------------------------------------------------------------------------------

SOURCES = [bytes((10, 0, 0, i)) for i in range(4)]


WISHES = st.tuples(st.sampled_from((MCAST_EXCLUDE, MCAST_INCLUDE)), st.sets(st.sampled_from(SOURCES)))


@given(st.lists(WISHES, max_size=4))
def test_a_device_wants_what_one_of_its_members_wants(wishes: list[tuple[int, set[bytes]]]) -> None:
    group = Group(G)
    group.members = [Member(mode, sources) for mode, sources in wishes]
    group.mode, group.sources = group.together()
    for source in (*SOURCES, ROUTER):
        assert group.wants(source) == any(member.wants(source) for member in group.members)


FUZZ = Link()
FUZZ.option(IP_ADD_MEMBERSHIP, G, ME)
FUZZ.option(IP_ADD_SOURCE_MEMBERSHIP, OTHER, ME, S5)


@given(st.sampled_from((0x11, 0x12, 0x16, 0x17, 0x22, 0x99)), st.binary(max_size=40), st.booleans(), st.booleans())
def test_what_arrives_never_raises(kind: int, junk: bytes, sum_it: bool, mine: bool) -> None:
    """Random messages of every type, also with a good checksum and about a group of ours."""
    rest = junk[1:2] + b"\0\0" + (G + junk[2:] if mine else junk[2:])
    message = bytes((kind,)) + rest
    if sum_it and len(message) >= 8:
        message = igmp.build(kind, message[1], message[4:8], message[8:])
    FUZZ.arrive(G, message)
    FUZZ.lab.sleep(1)
    FUZZ.frames.clear()
    assert FUZZ.lab.log == []


def test_nothing_is_said_on_loopback() -> None:
    host: HostApi = Hosts().host("alone")
    lo = host.dev("lo")
    fd = host.socket()
    host.setopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, G + a("127.0.0.1"))
    host.kernel.sleep(10**9)
    assert lo.stats.tx_packets == 0


def test_a_raw_socket_hears_groups_that_the_device_is_in(link: Link) -> None:
    raw = link.host.socket(SOCK_RAW, 253)  # takes what others joined, by IP_MULTICAST_ALL
    talker = link.peer.socket(SOCK_RAW, 253)
    link.peer.setopt(talker, IPPROTO_IP, IP_MULTICAST_IF, a("10.0.0.2"))
    link.peer.sendto(talker, b"deaf", ("239.1.2.3", 0))
    fails(errno.EAGAIN, link.host.recvfrom, raw)
    link.option(IP_ADD_MEMBERSHIP, G, ME)
    link.peer.sendto(talker, b"all ears", ("239.1.2.3", 0))
    assert link.host.recvfrom(raw)[0][20:] == b"all ears"


def test_an_old_version_is_spoken_as_long_as_its_querier_may_live(link: Link) -> None:
    """RFC 3376 8.12: robustness times the interval that the last version 3 query named, and ten seconds."""
    link.option(IP_ADD_MEMBERSHIP, G, ME)
    link.said(4)
    for interval, seconds in ((0, 260), (20, 50), (0x8A, 2 * 208 + 10)):
        v3_query = igmp.QUERY3.pack(2, interval, 0)
        link.query(body=v3_query, code=1)
        link.said(3)
        link.query(code=1)
        link.said(seconds - 2)
        link.query(body=v3_query, code=1)
        assert link.said(1) == [("239.1.2.3", igmp.V2_REPORT, G)]
        link.said(2)
        link.query(body=v3_query, code=1)
        assert link.said(1) == [(IS_EX,)]


def test_a_filter_cannot_be_read_without_saying_which(link: Link) -> None:
    for name in (IP_MSFILTER, MCAST_MSFILTER):
        fails(errno.EINVAL, link.host.getopt, link.fd, IPPROTO_IP, name, 200)
