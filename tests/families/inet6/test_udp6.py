"""UDP over IPv6, on pysock and on Linux alike: names, data, errors (udp(7), ipv6(7))."""

from __future__ import annotations

import errno

import pytest
from support.inet6_api import LO6, LO_MAPPED, Api6, Ours6
from support.refused import refused

from pysock.uapi import in6
from pysock.uapi.in_ import IPPROTO_IPV6, SO_EE_ORIGIN_ICMP6, SO_EE_ORIGIN_LOCAL
from pysock.uapi.socket import (
    MSG_CONFIRM,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_MORE,
    MSG_PEEK,
    MSG_TRUNC,
    SHUT_WR,
    SO_RCVBUF,
    SO_REUSEPORT,
    SO_TIMESTAMPNS,
    SOL_SOCKET,
    SOL_UDP,
)
from pysock.uapi.udp import UDP_CORK

MAX = 65527


@pytest.mark.parametrize("size", [0, 1, 1452, 9000, 65487])
def test_a_datagram_arrives_whole_with_its_sender(api6: Api6, size: int) -> None:
    server, client = api6.bound(), api6.socket()
    data = bytes(i & 0xFF for i in range(size))
    for _ in range(3):  # the first one looks everything up, the others use what it found
        assert api6.sendto(client, data, api6.name(server)) == size
        got, sender = api6.recvfrom(server)
        assert got == data
        assert sender == (LO6, api6.name(client)[1], 0, 0)
        api6.sendto(server, data[:7], sender)
        assert api6.recvfrom(client) == (data[:7], api6.name(server))


def test_what_exceeds_the_mtu_goes_in_fragments(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    data = bytes(MAX)
    assert api6.sendto(client, data, api6.name(server)) == MAX
    assert api6.recvfrom(server)[0] == data
    with refused(errno.EMSGSIZE):
        api6.sendto(client, data + b"x", api6.name(server))


def test_payload_travels_by_reference(ours6: Ours6) -> None:
    server, client = ours6.bound(), ours6.socket()
    data = b"by reference"
    for _ in range(2):
        ours6.sendto(client, data, ours6.name(server))
        assert ours6.recvfrom(server)[0] is data


def test_a_remembered_flow_is_forgotten_with_its_socket(ours6: Ours6) -> None:
    server, client = ours6.bound(), ours6.socket()
    name = ours6.name(server)
    for _ in range(2):
        ours6.sendto(client, b"x", name)
        assert ours6.recvfrom(server)[0] == b"x"
    (remembered,) = ours6.sk(server).table.early.values()
    assert remembered[0] is ours6.sk(server)
    ours6.close(server)
    again = ours6.bound(*name[:2])
    ours6.sendto(client, b"y", name)
    assert ours6.recvfrom(again)[0] == b"y"


@pytest.mark.parametrize("times", [1, 3])
def test_the_short_way_counts_as_the_long_one(ours6: Ours6, times: int) -> None:
    server, client = ours6.bound(), ours6.socket()
    for _ in range(times):
        ours6.sendto(client, b"x", ours6.name(server))
    counted = ours6.counted()
    assert counted["Ip6InReceives"] == counted["Ip6InDelivers"] == counted["Udp6OutDatagrams"] == times
    for _ in range(times):
        assert ours6.recvfrom(server)[0] == b"x"
    assert ours6.counted()["Udp6InDatagrams"] == times


def test_a_full_buffer_drops_on_the_short_way_too(ours6: Ours6) -> None:
    server, client = ours6.bound(), ours6.socket()
    ours6.setopt(server, SOL_SOCKET, SO_RCVBUF, 2304)
    for _ in range(50):
        ours6.sendto(client, b"x" * 500, ours6.name(server))
    dropped = ours6.counted()["Udp6RcvbufErrors"]
    assert dropped > 0
    left = 0
    while ours6.poll(server) & 1:
        ours6.recvfrom(server)
        left += 1
    assert left + dropped == 50


def test_connect_names_both_ends(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    with refused(errno.ENOTCONN):
        api6.peer(client)
    api6.connect(client, api6.name(server))
    assert api6.name(client)[0] == LO6
    assert api6.peer(client) == api6.name(server)
    api6.sendto(client, b"x")
    assert api6.recvfrom(server) == (b"x", api6.name(client))
    stranger = api6.socket()
    api6.sendto(stranger, b"not from the peer", api6.name(client))
    with refused(errno.EAGAIN):
        api6.recvfrom(client)


def test_the_unspecified_address_is_this_host(api6: Api6) -> None:
    server, client = api6.bound("::"), api6.socket()
    port = api6.name(server)[1]
    api6.sendto(client, b"1", ("::", port, 0, 0))
    assert api6.recvfrom(server)[1][0] == LO6
    api6.connect(client, ("::", port, 0, 0))
    assert api6.peer(client) == (LO6, port, 0, 0)


def test_refused_port_is_an_error_for_a_connected_socket(api6: Api6) -> None:
    gone = api6.bound()
    name = api6.name(gone)
    api6.close(gone)
    client = api6.socket()
    api6.connect(client, name)
    api6.sendto(client, b"x")
    with refused(errno.ECONNREFUSED):
        api6.recvfrom(client)
    assert api6.error(client) == 0


def test_error_queue_tells_what_icmpv6_said(api6: Api6) -> None:
    gone = api6.bound()
    name = api6.name(gone)
    api6.close(gone)
    client = api6.socket()
    api6.setopt(client, IPPROTO_IPV6, in6.IPV6_RECVERR, 1)
    api6.sendto(client, b"hello", name)
    with refused(errno.ECONNREFUSED):
        api6.sendto(client, b"again", name)
    data, control, flags, sender = api6.recvmsg(client, flags=MSG_ERRQUEUE)
    assert (data, sender) == (b"hello", name)
    assert flags & MSG_ERRQUEUE
    ((level, kind, raw),) = control
    assert (level, kind) == (IPPROTO_IPV6, in6.IPV6_RECVERR)
    assert raw[:4] == errno.ECONNREFUSED.to_bytes(4, "little")
    assert (raw[4], raw[5], raw[6]) == (SO_EE_ORIGIN_ICMP6, 1, 4)  # destination unreachable, port unreachable
    assert raw[16 + 8 : 16 + 24] == bytes(15) + b"\1"  # the offender
    with refused(errno.EAGAIN):
        api6.recvmsg(client, flags=MSG_ERRQUEUE)


def test_error_queue_of_a_v4_mapped_peer(api6: Api6) -> None:
    gone = api6.bound("127.0.0.1")
    port = api6.name(gone)[1]
    api6.close(gone)
    client = api6.socket()
    api6.setopt(client, 0, 11, 1)  # IP_RECVERR: IPv4's error queue
    api6.sendto(client, b"hello", (LO_MAPPED, port, 0, 0))
    assert api6.error(client) == errno.ECONNREFUSED
    data, control, _, sender = api6.recvmsg(client, flags=MSG_ERRQUEUE)
    assert (data, sender) == (b"hello", (LO_MAPPED, port, 0, 0))
    ((level, kind, raw),) = control
    assert (level, kind, raw[4]) == (IPPROTO_IPV6, in6.IPV6_RECVERR, 2)
    assert raw[16 + 8 : 16 + 24] == bytes(10) + b"\xff\xff\x7f\0\0\1"


def test_dontfrag_refuses_and_tells_the_mtu(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    api6.setopt(client, IPPROTO_IPV6, in6.IPV6_RECVERR, 1)
    api6.setopt(client, IPPROTO_IPV6, in6.IPV6_RECVPATHMTU, 1)
    api6.setopt(client, IPPROTO_IPV6, in6.IPV6_DONTFRAG, 1)
    with refused(errno.EMSGSIZE):
        api6.sendto(client, bytes(65500), api6.name(server))
    data, control, _, sender = api6.recvmsg(client, flags=MSG_ERRQUEUE)
    assert data == b""
    assert control[0][2][4] == SO_EE_ORIGIN_LOCAL
    assert int.from_bytes(control[0][2][8:12], "little") == 65536
    assert sender == api6.name(server)
    data, control, _, sender = api6.recvmsg(client)
    assert (data, sender) == (b"", (LO6, 0, 0, 0))
    assert control[0][:2] == (IPPROTO_IPV6, in6.IPV6_PATHMTU)
    assert int.from_bytes(control[0][2][28:], "little") == 65536


def test_mtu_discover_do_refuses(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    api6.setopt(client, IPPROTO_IPV6, in6.IPV6_MTU_DISCOVER, in6.IPV6_PMTUDISC_DO)
    with refused(errno.EMSGSIZE):
        api6.sendto(client, bytes(65500), api6.name(server))
    api6.setopt(client, IPPROTO_IPV6, in6.IPV6_MTU_DISCOVER, in6.IPV6_PMTUDISC_WANT)
    api6.sendto(client, bytes(65500), api6.name(server))


def test_mtu_option_cuts_into_smaller_fragments(ours6: Ours6) -> None:
    server, client = ours6.bound(), ours6.socket()
    ours6.setopt(client, IPPROTO_IPV6, in6.IPV6_MTU, 1280)
    ours6.sendto(client, bytes(3000), ours6.name(server))
    assert len(ours6.recvfrom(server)[0]) == 3000
    assert ours6.counted()["Ip6FragCreates"] == 3


@pytest.mark.parametrize(
    ("addr", "number"),
    [
        ((LO6, 0, 0, 0), errno.EINVAL),
        (("fe80::1", 9, 0, 1), errno.ENETUNREACH),
    ],
)
def test_where_nothing_can_be_sent(api6: Api6, addr: tuple[str, int, int, int], number: int) -> None:
    with refused(number):
        api6.sendto(api6.socket(), b"x", addr)


def test_without_a_destination(api6: Api6) -> None:
    with refused(errno.EDESTADDRREQ):
        api6.sendto(api6.socket(), b"x")


def test_peek_and_truncation(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    api6.sendto(client, b"abcdef", api6.name(server))
    assert api6.recvfrom(server, 3, MSG_PEEK)[0] == b"abc"
    data, _, flags, _ = api6.recvmsg(server, 3)
    assert (data, flags & MSG_TRUNC) == (b"abc", MSG_TRUNC)
    with refused(errno.EAGAIN):
        api6.recvfrom(server)


def test_cork_and_more_make_one_datagram(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    api6.sendto(client, b"a", api6.name(server), MSG_MORE)
    api6.sendto(client, b"b", api6.name(server))
    assert api6.recvfrom(server)[0] == b"ab"
    api6.setopt(client, SOL_UDP, UDP_CORK, 1)
    api6.sendto(client, b"c", api6.name(server))
    api6.sendto(client, b"d", api6.name(server), MSG_CONFIRM)
    with refused(errno.EAGAIN):
        api6.recvfrom(server)
    api6.setopt(client, SOL_UDP, UDP_CORK, 0)
    assert api6.recvfrom(server)[0] == b"cd"


def test_cork_to_a_v4_mapped_address(api6: Api6) -> None:
    server, client = api6.bound("127.0.0.1"), api6.socket()
    to = (LO_MAPPED, api6.name(server)[1], 0, 0)
    api6.setopt(client, SOL_UDP, UDP_CORK, 1)
    api6.sendto(client, b"c", to)
    api6.sendto(client, b"d", to)
    api6.setopt(client, SOL_UDP, UDP_CORK, 0)
    assert api6.recvfrom(server)[0] == b"cd"


def test_send_after_shutdown(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    api6.connect(client, api6.name(server))
    api6.sendto(client, b"kept as a flow")
    api6.shutdown(client, SHUT_WR)
    with refused(errno.EPIPE):
        api6.sendto(client, b"x", None, 0x4000)  # MSG_NOSIGNAL


def test_reuseport_spreads_flows(api6: Api6) -> None:
    first = api6.socket()
    api6.setopt(first, SOL_SOCKET, SO_REUSEPORT, 1)
    api6.bind(first, (LO6, 0))
    second = api6.socket()
    api6.setopt(second, SOL_SOCKET, SO_REUSEPORT, 1)
    api6.bind(second, api6.name(first))
    for _ in range(64):
        api6.sendto(api6.socket(), b"x", api6.name(first))
    counts = []
    for sock in (first, second):
        count = 0
        while api6.poll(sock) & 1:
            api6.recvfrom(sock)
            count += 1
        counts.append(count)
    assert sum(counts) == 64
    assert min(counts) > 8


def test_timestamps_come_with_data(api6: Api6) -> None:
    server, client = api6.bound(), api6.socket()
    api6.setopt(server, SOL_SOCKET, SO_TIMESTAMPNS, 1)
    api6.sendto(client, b"x", api6.name(server))
    _, control, _, _ = api6.recvmsg(server)
    assert [(level, kind, len(data)) for level, kind, data in control] == [(SOL_SOCKET, SO_TIMESTAMPNS, 16)]


def test_counters_are_ipv6s(ours6: Ours6) -> None:
    server, client = ours6.bound(), ours6.socket()
    for _ in range(2):
        ours6.sendto(client, b"x", ours6.name(server))
        ours6.recvfrom(server, flags=MSG_DONTWAIT)
    counted = ours6.counted()
    assert counted["Udp6OutDatagrams"] == counted["Udp6InDatagrams"] == 2
    assert counted["Ip6OutRequests"] == counted["Ip6InReceives"] == counted["Ip6InDelivers"] == 2
    assert "UdpInDatagrams" not in counted


def test_what_comes_by_ipv4_is_counted_there(ours6: Ours6) -> None:
    server, client = ours6.bound("::"), ours6.bound("127.0.0.1")
    ours6.sendto(client, b"x", ("127.0.0.1", ours6.name(server)[1]))
    assert ours6.recvfrom(server, flags=MSG_DONTWAIT)[0] == b"x"
    counted = ours6.counted()
    assert counted["UdpInDatagrams"] == 1
    assert "Udp6InDatagrams" not in counted
