"""Sockets of two hosts on one cable: scope ids, groups, fragments, connections over real IPv6 (RFC 4007, RFC 3493)."""

from __future__ import annotations

import errno
from struct import pack

import pytest
from support.inet6_api import Ours6
from support.inet6_hosts import Host6, Lab6
from support.refused import refused

from pysock.families.inet.net import InetNet
from pysock.tools.ss import rows
from pysock.uapi import in6
from pysock.uapi.in_ import (
    IPPROTO_IPV6,
    IPPROTO_TCP,
    MCAST_BLOCK_SOURCE,
    MCAST_JOIN_GROUP,
    MCAST_JOIN_SOURCE_GROUP,
    MCAST_LEAVE_GROUP,
    MCAST_LEAVE_SOURCE_GROUP,
    MCAST_UNBLOCK_SOURCE,
)
from pysock.uapi.socket import AF_INET6, SO_BINDTODEVICE, SO_REUSEADDR, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET
from pysock.vfs.task import Task
from pysock.wire.addr import inet6_aton, inet6_ntoa

V6 = IPPROTO_IPV6
GROUP = "ff12::1234"


class On(Ours6):
    """Sockets of one host; ``address`` is its link-local one on its first cable, ``index`` the device's."""

    def __init__(self, host: Host6) -> None:
        self.log = host.lab.log
        self.kernel = host.kernel
        self.task = Task.for_kernel(host.kernel, net=host.net)
        self.inet = host.net.get(InetNet)
        self.host = host
        dev = host.net.dev_by_name["eth0"]
        self.index = dev.ifindex
        self.address = inet6_ntoa(host.linklocal("eth0"))


@pytest.fixture
def hosts(lab: Lab6) -> tuple[On, On]:
    a, b = lab.host(), lab.host()
    lab.cable(a, b)
    a.add("2001:db8::a/64", "eth0")
    b.add("2001:db8::b/64", "eth0")
    lab.settle()
    return On(a), On(b)


def dial(host: On, sock: int, addr: tuple[str, int, int, int]) -> None:
    with pytest.raises(BlockingIOError):
        host.connect(sock, addr)
    host.kernel.sleep(1_000_000_000)
    assert host.error(sock) == 0


# Scopes ------------------------------------------------------------------------------------------------------------


def test_link_local_datagrams(hosts: tuple[On, On]) -> None:
    a, b = hosts
    server, client = b.socket(), a.socket()
    with refused(errno.EINVAL):
        b.bind(server, (b.address, 0, 0, 0))  # which link?
    with refused(errno.ENODEV):
        b.bind(b.socket(), (b.address, 0, 0, 77))
    b.bind(server, (b.address, 5000, 0, b.index))
    assert b.name(server) == (b.address, 5000, 0, b.index)
    b.setopt(server, V6, in6.IPV6_RECVPKTINFO, 1)
    a.sendto(client, b"hi", (b.address, 5000, 0, a.index))
    data, control, _, sender = b.recvmsg(server)
    assert data == b"hi"
    assert sender == (a.address, a.name(client)[1], 0, b.index)
    assert control == [(V6, in6.IPV6_PKTINFO, inet6_aton(b.address) + pack("=I", b.index))]
    b.sendto(server, b"back", sender)
    assert a.recvfrom(client) == (b"back", (b.address, 5000, 0, a.index))


def test_link_local_without_scope_id_from_a_bound_device(hosts: tuple[On, On]) -> None:
    a, b = hosts
    server, client = b.socket(), a.socket()
    b.bind(server, ("::", 5000))
    a.setopt(client, SOL_SOCKET, SO_BINDTODEVICE, b"eth0")
    a.sendto(client, b"hi", (b.address, 5000, 0, 0))
    assert b.recvfrom(server)[1][3] == b.index
    with refused(errno.EINVAL):
        a.connect(client, (b.address, 5000, 0, a.index + 1))
    a.connect(client, (b.address, 5000, 0, 0))
    assert a.peer(client) == (b.address, 5000, 0, a.index)


def test_link_local_connection(hosts: tuple[On, On]) -> None:
    a, b = hosts
    server, client = b.socket(SOCK_STREAM), a.socket(SOCK_STREAM)
    b.bind(server, ("::", 80))
    b.listen(server)
    dial(a, client, (b.address, 80, 0, a.index))
    accepted, peer = b.accept(server)
    assert peer == (a.address, a.name(client)[1], 0, b.index)
    assert b.name(accepted) == (b.address, 80, 0, b.index)
    assert a.name(client)[3] == a.index
    a.sendto(client, b"hello")
    assert b.recvfrom(accepted)[0] == b"hello"
    b.close(accepted)
    a.kernel.sleep(1_000_000_000)
    assert a.recvfrom(client)[0] == b""


def test_one_flow_label_for_each_direction_of_a_connection(hosts: tuple[On, On]) -> None:
    a, b = hosts
    packets = a.host.lab.record(a.host.net.dev_by_name["eth0"])
    server, client = b.socket(SOCK_STREAM), a.socket(SOCK_STREAM)
    b.bind(server, ("2001:db8::b", 80))
    b.listen(server)
    dial(a, client, ("2001:db8::b", 80, 0, 0))
    accepted, _ = b.accept(server)
    a.sendto(client, b"hello")
    b.sendto(accepted, b"hello")
    labels: dict[bytes, set[int]] = {}
    for packet in packets:
        if packet[6] == IPPROTO_TCP:
            labels.setdefault(packet[8:24], set()).add(int.from_bytes(packet[:4], "big") & 0xFFFFF)
    assert [len(found) for found in labels.values()] == [1, 1]
    assert 0 not in set.union(*labels.values())


def test_link_local_refusal(hosts: tuple[On, On]) -> None:
    a, b = hosts
    client = a.socket(SOCK_STREAM)
    with pytest.raises(BlockingIOError):
        a.connect(client, (b.address, 81, 0, a.index))
    a.kernel.sleep(1_000_000_000)
    assert a.error(client) == errno.ECONNREFUSED
    sock = a.socket()
    a.connect(sock, (b.address, 81, 0, a.index))
    a.sendto(sock, b"x")
    with refused(errno.ECONNREFUSED):
        a.recvfrom(sock)


def test_our_own_link_local_address(hosts: tuple[On, On]) -> None:
    a, _ = hosts
    server, client = a.socket(SOCK_STREAM), a.socket(SOCK_STREAM)
    a.bind(server, (a.address, 80, 0, a.index))
    a.listen(server)
    try:
        a.connect(client, (a.address, 80, 0, a.index))
    except BlockingIOError:
        pass
    assert a.error(client) == 0
    accepted, peer = a.accept(server)
    assert peer == (a.address, a.name(client)[1], 0, a.index)
    a.sendto(client, b"me")
    assert a.recvfrom(accepted)[0] == b"me"


# Over the wire -----------------------------------------------------------------------------------------------------


def test_a_connection_carries_much(hosts: tuple[On, On]) -> None:
    a, b = hosts
    server, client = b.socket(SOCK_STREAM), a.socket(SOCK_STREAM)
    b.bind(server, ("2001:db8::b", 80))
    b.listen(server)
    dial(a, client, ("2001:db8::b", 80, 0, 0))
    accepted, _ = b.accept(server)
    data = bytes(range(256)) * 1000
    sent, got = 0, b""
    while len(got) < len(data):
        try:
            sent += a.sendto(client, data[sent:])
        except BlockingIOError:
            pass
        try:
            got += b.recvfrom(accepted)[0]
        except BlockingIOError:
            a.kernel.sleep(50_000_000)
    assert got == data
    sizes = a.sk(client).mss  # type: ignore[attr-defined]
    assert sizes == 1500 - 60 - 12


def test_fragments_are_put_together(hosts: tuple[On, On]) -> None:
    a, b = hosts
    server, client = b.socket(), a.socket()
    b.bind(server, ("2001:db8::b", 5000))
    b.setopt(server, V6, in6.IPV6_RECVFRAGSIZE, 1)
    data = bytes(range(250)) * 20
    a.sendto(client, data, ("2001:db8::b", 5000, 0, 0))
    got, control, _, _ = b.recvmsg(server)
    assert got == data
    assert control == [(V6, in6.IPV6_RECVFRAGSIZE, pack("=i", 1496))]


# Groups ------------------------------------------------------------------------------------------------------------


def mreq(group: str, index: int) -> bytes:
    return inet6_aton(group) + pack("=I", index)


def group_req(group: str, index: int, *sources: str) -> bytes:
    request = pack("=I4x", index)
    for address in (group, *sources):
        request += pack("=HHI16sI100x", AF_INET6, 0, 0, inet6_aton(address), 0)
    return request


def heard(host: On, sock: int) -> list[bytes]:
    found = []
    while host.poll(sock) & 1:
        found.append(host.recvfrom(sock)[0])
    return found


def test_groups_are_joined_and_left(hosts: tuple[On, On]) -> None:
    a, b = hosts
    server, client = b.socket(), a.socket()
    b.bind(server, ("::", 5000))
    a.setopt(client, V6, in6.IPV6_MULTICAST_IF, a.index)
    to = (GROUP, 5000, 0, 0)
    a.sendto(client, b"nobody", to)
    b.setopt(server, V6, in6.IPV6_JOIN_GROUP, mreq(GROUP, b.index))
    with refused(errno.EADDRINUSE):
        b.setopt(server, V6, in6.IPV6_JOIN_GROUP, mreq(GROUP, b.index))
    b.setopt(server, V6, in6.IPV6_RECVHOPLIMIT, 1)
    a.sendto(client, b"one hop", to)
    data, control, _, sender = b.recvmsg(server)
    assert (data, control) == (b"one hop", [(V6, in6.IPV6_HOPLIMIT, pack("=i", 1))])
    assert sender == (a.address, a.name(client)[1], 0, b.index)
    a.setopt(client, V6, in6.IPV6_MULTICAST_HOPS, 7)
    a.sendto(client, b"more", to)
    assert b.recvmsg(server)[1] == [(V6, in6.IPV6_HOPLIMIT, pack("=i", 7))]
    b.setopt(server, V6, in6.IPV6_LEAVE_GROUP, mreq(GROUP, b.index))
    with refused(errno.EADDRNOTAVAIL):
        b.setopt(server, V6, in6.IPV6_LEAVE_GROUP, mreq(GROUP, b.index))
    a.sendto(client, b"nobody", to)
    assert heard(b, server) == []


@pytest.mark.parametrize("loop", [0, 1])
def test_our_own_copy(hosts: tuple[On, On], loop: int) -> None:
    a, _ = hosts
    server = a.socket()
    a.bind(server, ("::", 5000))
    a.setopt(server, V6, in6.IPV6_JOIN_GROUP, mreq(GROUP, a.index))
    client = a.socket()
    a.setopt(client, V6, in6.IPV6_MULTICAST_IF, a.index)
    a.setopt(client, V6, in6.IPV6_MULTICAST_LOOP, loop)
    a.sendto(client, b"x", (GROUP, 5000, 0, 0))
    assert heard(a, server) == [b"x"] * loop


def test_every_member_gets_a_copy_and_multicast_all_decides_for_others(hosts: tuple[On, On]) -> None:
    a, b = hosts
    socks = []
    for _ in range(4):
        sock = b.socket()
        b.setopt(sock, SOL_SOCKET, SO_REUSEADDR, 1)
        b.bind(sock, ("::", 5000))
        socks.append(sock)
    member, _, loner, elsewhere = socks
    b.setopt(member, V6, in6.IPV6_JOIN_GROUP, mreq(GROUP, b.index))
    b.setopt(loner, V6, in6.IPV6_MULTICAST_ALL, 0)
    b.setopt(elsewhere, SOL_SOCKET, SO_BINDTODEVICE, b"lo")
    client = a.socket()
    a.sendto(client, b"x", (GROUP, 5000, 0, a.index))
    assert [heard(b, sock) for sock in socks] == [[b"x"], [b"x"], [], []]


def test_a_group_as_name(hosts: tuple[On, On]) -> None:
    a, b = hosts
    sock = b.socket()
    b.bind(sock, (GROUP, 5000, 0, b.index))
    b.setopt(sock, V6, in6.IPV6_JOIN_GROUP, mreq(GROUP, b.index))
    a.sendto(a.socket(), b"to the group", (GROUP, 5000, 0, a.index))
    a.sendto(a.socket(), b"to the host", (b.address, 5000, 0, a.index))
    assert heard(b, sock) == [b"to the group"]
    b.sendto(sock, b"x", (a.address, 9, 0, 0))  # from an address of ours
    with refused(errno.EINVAL):
        b.bind(b.socket(SOCK_STREAM), (GROUP, 5000, 0, b.index))


def test_sources_are_blocked_and_unblocked(hosts: tuple[On, On]) -> None:
    a, b = hosts
    server, client = b.socket(), a.socket()
    b.bind(server, ("::", 5000))
    b.setopt(server, V6, MCAST_JOIN_GROUP, group_req(GROUP, b.index))
    block = group_req(GROUP, b.index, a.address)
    b.setopt(server, V6, MCAST_BLOCK_SOURCE, block)
    with refused(errno.EADDRNOTAVAIL):
        b.setopt(server, V6, MCAST_BLOCK_SOURCE, block)
    a.sendto(client, b"blocked", (GROUP, 5000, 0, a.index))
    b.setopt(server, V6, MCAST_UNBLOCK_SOURCE, block)
    a.sendto(client, b"welcome", (GROUP, 5000, 0, a.index))
    assert heard(b, server) == [b"welcome"]
    b.setopt(server, V6, MCAST_LEAVE_GROUP, group_req(GROUP, b.index))


def test_only_chosen_sources(hosts: tuple[On, On]) -> None:
    a, b = hosts
    server, client = b.socket(), a.socket()
    b.bind(server, ("::", 5000))
    chosen = group_req(GROUP, b.index, "2001:db8::77")
    b.setopt(server, V6, MCAST_JOIN_SOURCE_GROUP, chosen)
    a.sendto(client, b"stranger", (GROUP, 5000, 0, a.index))
    b.setopt(server, V6, MCAST_JOIN_SOURCE_GROUP, group_req(GROUP, b.index, a.address))
    a.sendto(client, b"chosen", (GROUP, 5000, 0, a.index))
    assert heard(b, server) == [b"chosen"]
    with refused(errno.EINVAL):
        b.setopt(server, V6, MCAST_BLOCK_SOURCE, chosen)  # the other mode
    b.setopt(server, V6, MCAST_LEAVE_SOURCE_GROUP, chosen)
    b.setopt(server, V6, MCAST_LEAVE_SOURCE_GROUP, group_req(GROUP, b.index, a.address))  # the last one: left
    with refused(errno.EADDRNOTAVAIL):
        b.setopt(server, V6, MCAST_LEAVE_GROUP, group_req(GROUP, b.index))


def test_closing_leaves(hosts: tuple[On, On]) -> None:
    a, _ = hosts
    groups = a.host.net.dev_by_name["eth0"].proto_priv["inet6"].groups
    sock = a.socket()
    a.setopt(sock, V6, in6.IPV6_JOIN_GROUP, mreq(GROUP, a.index))
    assert groups[inet6_aton(GROUP)] == 1
    a.close(sock)
    assert inet6_aton(GROUP) not in groups


# What others see ---------------------------------------------------------------------------------------------------


def test_ss_shows_both_versions(ours6: Ours6) -> None:
    dual = ours6.bound("::", 80, SOCK_STREAM)
    ours6.listen(dual)
    only = ours6.socket(SOCK_DGRAM)
    ours6.setopt(only, V6, in6.IPV6_V6ONLY, 1)
    ours6.bind(only, ("::", 53))
    client = ours6.socket(SOCK_STREAM)
    try:
        ours6.connect(client, ("::1", 80, 0, 0))
    except BlockingIOError:
        pass
    port = ours6.name(client)[1]
    found = [(row.netid, row.state, row.local, row.peer) for row in rows(ours6.kernel.init_net)]
    assert found == [
        ("tcp", "LISTEN", "*:80", "*:*"),
        ("tcp", "ESTAB", f"[::1]:{port}", "[::1]:80"),
        ("tcp", "ESTAB", "[::1]:80", f"[::1]:{port}"),
        ("udp", "UNCONN", "[::]:53", "[::]:*"),
    ]
