"""UDP as bytes: what leaves and what may come in (RFC 768), its counters, and the receive path's memory of flows."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, strategies
from support.dgram_api import LO, Host, Ours, fails

from pysock.core.device import dev_close, dev_open, dev_set_mtu
from pysock.core.skbuff import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY
from pysock.families.inet import udp_input
from pysock.families.inet.devinet import add_address
from pysock.families.inet.fib import RTN_UNICAST, FibEntry
from pysock.families.inet.udp_table import UdpTable
from pysock.uapi.in_ import (
    IP_MTU_DISCOVER,
    IP_PMTUDISC_DO,
    IP_PMTUDISC_DONT,
    IP_RECVERR,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_UDP,
)
from pysock.uapi.socket import MSG_DONTROUTE, SO_BINDTODEVICE, SO_MARK, SO_NO_CHECK, SO_PRIORITY, SO_SNDBUF, SOL_SOCKET
from pysock.wire import ipv4, udp
from pysock.wire.checksum import pseudo, verify

ME = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))
PEER_NAME = "10.0.0.2"


def datagram(payload: bytes = b"hi", sport: int = 7, dport: int = 5000, **options: int) -> bytes:
    """From the peer to us, checksummed."""
    return ipv4.build(PEER, ME, IPPROTO_UDP, udp.build(sport, dport, payload, addresses=(PEER, ME)), **options)


def table(ours: Ours) -> UdpTable:
    state = ours.inet.state["udp"]
    assert isinstance(state, UdpTable)
    return state


# Out ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checksums", [False, True])
@pytest.mark.parametrize("payload", [b"", b"a", b"odd", b"even", bytes(1472)])
def test_what_leaves_is_right(checksums: bool, payload: bytes) -> None:
    host = Host(checksums)
    sock = host.bound("10.0.0.1", 5000)
    for _ in range(3):
        host.sendto(sock, payload, (PEER_NAME, 53))
    for sent in host.sent():
        header = ipv4.parse(sent)
        assert ipv4.verify(sent)
        assert (header.src, header.dst, header.protocol, header.ttl, header.tos) == (ME, PEER, 17, 64, 0)
        assert (header.flags, header.ident) == (ipv4.DF, 0)  # atomic: RFC 6864
        assert header.total_length == len(sent) == 28 + len(payload)
        inner = udp.parse(sent, 20)
        assert (inner.src_port, inner.dst_port, inner.length) == (5000, 53, 8 + len(payload))
        assert sent[28:] == payload
        if checksums:  # the device finishes it: the field holds the pseudo header's sum
            assert host.wire.skbs[0].ip_summed == CHECKSUM_PARTIAL
            assert inner.checksum == pseudo(ME, PEER, 17, inner.length) % 0xFFFF
        else:
            assert verify(sent[20:], pseudo(ME, PEER, 17, inner.length))


@given(strategies.binary(max_size=300), strategies.integers(1, 65535), strategies.integers(1, 65535))
def test_checksums_that_are_computed_verify(payload: bytes, sport: int, dport: int) -> None:
    host = Host()
    sock = host.bound("10.0.0.1", sport)
    host.sendto(sock, payload, (PEER_NAME, dport))
    (sent,) = host.sent()
    assert sent == ipv4.build(ME, PEER, 17, udp.build(sport, dport, payload, addresses=(ME, PEER)), flags=ipv4.DF)


def test_a_connected_socket_numbers_its_datagrams(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    host.connect(sock, (PEER_NAME, 53))
    for _ in range(3):
        host.sendto(sock, b"a")
    idents = [ipv4.parse(sent).ident for sent in host.sent()]
    assert [(ident - idents[0]) & 0xFFFF for ident in idents] == [0, 1, 2]


def test_options_change_the_header(host: Host) -> None:
    sock = host.socket()
    host.sendto(sock, b"a", (PEER_NAME, 53))  # a flow is remembered...
    host.setopt(sock, IPPROTO_IP, IP_TTL, 9)  # ...and forgotten
    host.setopt(sock, IPPROTO_IP, IP_TOS, 0x10)
    host.sendto(sock, b"a", (PEER_NAME, 53))
    host.setopt(sock, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    host.sendto(sock, b"a", (PEER_NAME, 53))
    host.kernel.init_net.sysctl.set("net.ipv4.ip_default_ttl", 33)
    host.setopt(sock, IPPROTO_IP, IP_TTL, -1)
    host.sendto(sock, b"a", (PEER_NAME, 53))
    headers = [ipv4.parse(sent) for sent in host.sent()]
    assert [(h.ttl, h.tos, h.flags) for h in headers] == [
        (64, 0, ipv4.DF), (9, 0x10, ipv4.DF), (9, 0x10, 0), (33, 0x10, 0)
    ]  # fmt: skip


def test_the_default_ttl_reaches_flows_in_use(host: Host) -> None:
    sock = host.socket()
    host.sendto(sock, b"a", (PEER_NAME, 53))
    host.kernel.init_net.sysctl.set("net.ipv4.ip_default_ttl", 5)
    host.sendto(sock, b"a", (PEER_NAME, 53))
    assert [ipv4.parse(sent).ttl for sent in host.sent()] == [64, 5]


def test_so_no_check_leaves_the_field_zero(host: Host) -> None:
    sock = host.socket()
    host.sendto(sock, b"a", (PEER_NAME, 53))
    host.setopt(sock, SOL_SOCKET, SO_NO_CHECK, 1)
    host.sendto(sock, b"a", (PEER_NAME, 53))
    first, second = (udp.parse(sent, 20).checksum for sent in host.sent())
    assert first
    assert second == 0


def test_priority_and_mark_travel_with_the_packet() -> None:
    host = Host()
    sock = host.socket()
    host.sendto(sock, b"a", (PEER_NAME, 53))
    host.setopt(sock, SOL_SOCKET, SO_PRIORITY, 6)
    host.setopt(sock, SOL_SOCKET, SO_MARK, 0x2A)
    host.sendto(sock, b"a", (PEER_NAME, 53))
    assert [(skb.priority, skb.mark) for skb in host.wire.skbs] == [(0, 0), (6, 0x2A)]


def test_the_mtu_bounds_a_datagram(host: Host) -> None:
    sock = host.socket()
    host.setopt(sock, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    host.sendto(sock, bytes(1472), (PEER_NAME, 53))
    fails(errno.EMSGSIZE, host.sendto, sock, bytes(1473), (PEER_NAME, 53))
    host.kernel.enter()
    dev_set_mtu(host.dev, 1000)
    host.kernel.leave()
    fails(errno.EMSGSIZE, host.sendto, sock, bytes(1472), (PEER_NAME, 53))
    assert host.sendto(sock, bytes(972), (PEER_NAME, 53)) == 972


def test_no_route(host: Host) -> None:
    sock = host.socket()
    fails(errno.ENETUNREACH, host.sendto, sock, b"a", ("192.0.2.1", 9))
    fails(errno.ENETUNREACH, host.connect, sock, ("192.0.2.1", 9))
    assert host.counted()["IpOutNoRoutes"] == 2


def test_a_loopback_address_never_leaves_the_host(host: Host) -> None:
    """RFC 1122 3.2.1.3; Linux says EINVAL."""
    fails(errno.EINVAL, host.sendto, host.bound(LO), b"a", (PEER_NAME, 9))
    fails(errno.EINVAL, host.connect, host.bound(LO), (PEER_NAME, 9))


def test_a_flow_follows_the_routes(host: Host) -> None:
    sock = host.socket()
    host.sendto(sock, b"a", (PEER_NAME, 53))
    host.kernel.enter()
    dev_close(host.dev)
    host.kernel.leave()
    fails(errno.ENETUNREACH, host.sendto, sock, b"b", (PEER_NAME, 53))
    host.kernel.enter()
    dev_open(host.dev)
    host.kernel.leave()
    host.sendto(sock, b"c", (PEER_NAME, 53))
    assert [sent[28:] for sent in host.sent()] == [b"a", b"c"]


def test_a_gateway_and_dontroute(host: Host) -> None:
    host.inet.fib.add(FibEntry(bytes(4), 0, RTN_UNICAST, host.dev, ME, gateway=PEER))
    sock = host.socket()
    host.sendto(sock, b"a", ("192.0.2.1", 9))
    assert [ipv4.parse(sent).dst for sent in host.sent()] == [bytes((192, 0, 2, 1))]
    fails(errno.ENETUNREACH, host.sendto, sock, b"a", ("192.0.2.1", 9), MSG_DONTROUTE)
    assert host.sendto(sock, b"a", (PEER_NAME, 9), MSG_DONTROUTE) == 1


def test_binding_to_a_device_changes_known_flows(host: Host) -> None:
    sock = host.socket()
    host.sendto(sock, b"a", (PEER_NAME, 9))
    assert len(host.sent()) == 1
    host.setopt(sock, SOL_SOCKET, SO_BINDTODEVICE, b"lo")
    host.sendto(sock, b"a", (PEER_NAME, 9))
    assert not host.sent()


def test_a_busy_device_fills_the_send_buffer() -> None:
    host = Host()
    host.kernel.enter()
    host.dev.tx_queue_len = 10
    host.kernel.leave()
    sock = host.socket()
    host.sendto(sock, b"a", (PEER_NAME, 9))
    assert host.sk(sock).wmem_alloc == 0  # sent, and its room given back
    held = []
    original = host.wire.ndo_start_xmit
    host.dev.start_xmit = lambda skb, dev: held.append(skb) or 0  # a device that keeps packets
    host.dev.update_path()
    host.setopt(sock, SOL_SOCKET, SO_SNDBUF, 4608)
    sent = 0
    while True:
        try:
            host.sendto(sock, bytes(1000), (PEER_NAME, 9))
        except BlockingIOError:
            break
        sent += 1
    assert 1 < sent < 20
    assert not host.poll(sock) & 4
    for skb in held:
        original(skb, host.dev)
    assert host.sk(sock).wmem_alloc == 0
    assert host.poll(sock) & 4


# In ----------------------------------------------------------------------------------------------------------------


def test_what_comes_in_is_delivered(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    for wrap in (bytes, bytearray):
        for payload in (b"", b"x", b"hello"):
            for _ in range(2):
                host.inject(wrap(datagram(payload)))
                assert host.recvfrom(sock) == (payload, (PEER_NAME, 7))
    assert host.counted()["UdpInDatagrams"] == 12


def test_padding_is_cut_off(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    host.inject(datagram(b"short") + bytes(20))  # padded by the link
    assert host.recvfrom(sock)[0] == b"short"
    inner = udp.build(7, 5000, b"inner", addresses=(PEER, ME))
    host.inject(ipv4.build(PEER, ME, IPPROTO_UDP, inner + b"more than UDP says"))
    assert host.recvfrom(sock)[0] == b"inner"


def test_ip_options_are_no_hindrance(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    host.inject(ipv4.build(PEER, ME, 17, udp.build(7, 5000, b"a", addresses=(PEER, ME)), options=b"\1\1\1\0"))
    assert host.recvfrom(sock) == (b"a", (PEER_NAME, 7))


def test_a_zero_checksum_means_none(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    host.inject(ipv4.build(PEER, ME, 17, udp.build(7, 5000, b"a", checksum=0)))
    assert host.recvfrom(sock)[0] == b"a"


@pytest.mark.parametrize("vouched", [False, True])
def test_a_wrong_checksum_is_found_unless_the_device_vouches(host: Host, vouched: bool) -> None:
    sock = host.bound("10.0.0.1", 5000)
    bad = ipv4.build(PEER, ME, 17, udp.build(7, 5000, b"a", checksum=0xBEEF))
    for _ in range(2):
        host.inject(datagram(b"good"))
        host.inject(bad, ip_summed=CHECKSUM_UNNECESSARY if vouched else 0)
    got = [host.recvfrom(sock)[0] for _ in range(4 if vouched else 2)]
    assert got == ([b"good", b"a"] * 2 if vouched else [b"good"] * 2)
    counted = host.counted()
    assert counted.get("UdpInCsumErrors", 0) == counted.get("UdpInErrors", 0) == (0 if vouched else 2)


@pytest.mark.parametrize(
    "inner",
    [
        b"",
        b"\0\7\x13\x88\0\x08\0",
        b"\0\7\x13\x88\0\x07\0\0",  # length below the header's
        b"\0\7\x13\x88\0\x09\0\0",  # length beyond the datagram's
        b"\0\7\x13\x88\xff\xff\0\0data",
    ],
)
def test_bad_lengths_are_errors(host: Host, inner: bytes) -> None:
    host.bound("10.0.0.1", 5000)
    host.inject(datagram())
    host.inject(ipv4.build(PEER, ME, 17, inner))
    host.inject(ipv4.build(PEER, ME, 17, inner), ip_summed=CHECKSUM_UNNECESSARY)
    assert host.counted()["UdpInErrors"] == 2


def test_nobody_there_is_counted_and_told(host: Host) -> None:
    host.inject(datagram(b"anybody?", dport=9))
    assert host.counted()["UdpNoPorts"] == 1
    (answer,) = host.sent()
    assert ipv4.parse(answer).protocol == 1
    assert answer[20:22] == bytes((3, 3))
    assert answer[28:] == datagram(b"anybody?", dport=9)


def test_a_full_buffer_is_counted_twice_as_linux_does(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    host.sk(sock).rcvbuf = 2000
    for _ in range(10):
        host.inject(datagram(bytes(500)))
    counted = host.counted()
    assert counted["UdpRcvbufErrors"] == counted["UdpInErrors"] == 10 - len(host.sk(sock).receive_queue or ())
    while host.pending(sock):
        host.recvfrom(sock)
    assert host.sk(sock).rmem_alloc == 0


def test_closing_gives_everything_back(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    sk = host.sk(sock)
    host.inject(datagram())
    host.inject(datagram())
    host.close(sock)
    assert sk.rmem_alloc == 0
    assert not table(host).by_port
    assert not table(host).bound
    assert not table(host).early
    host.inject(datagram())
    assert host.counted()["UdpNoPorts"] == 1


# The memory of flows -----------------------------------------------------------------------------------------------


def test_the_second_datagram_takes_the_short_way(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    """If `early` took nothing, everything would still work, dearer: so count what goes the long way."""
    long_way: list[object] = []
    server, client = ours.bound(), ours.socket()
    original = udp_input.rcv
    ours.inet.protos[17] = lambda skb: (long_way.append(skb), original(table(ours), skb))  # type: ignore[assignment,func-returns-value]
    for _ in range(5):
        ours.sendto(client, b"a", ours.name(server))
    ours.connect(client, ours.name(server))  # now it has an address of its own: another look
    for _ in range(5):
        ours.sendto(client, b"a")
    assert len(long_way) == 2
    assert ours.counted()["IpInDelivers"] == 10
    assert [len(ours.recvfrom(server)[0]) for _ in range(10)] == [1] * 10


def test_a_flow_of_another_device_is_no_flow_of_this_one(host: Host) -> None:
    """Loopback addresses may not come in from outside (RFC 1122 3.2.1.3), however well the flow is known."""
    server, client = host.bound(LO, 5000), host.bound(LO, 6000)
    for _ in range(2):
        host.sendto(client, b"a", (LO, 5000))
        host.recvfrom(server)
    lo = b"\x7f\0\0\1"
    forged = ipv4.build(lo, lo, 17, udp.build(6000, 5000, b"forged", addresses=(lo, lo)))
    host.inject(forged, ip_summed=CHECKSUM_UNNECESSARY)
    fails(errno.EAGAIN, host.recvfrom, server)
    assert host.counted()["IpInAddrErrors"] == 1


def test_a_flow_ends_with_the_address(host: Host) -> None:
    from pysock.families.inet.devinet import del_address

    sock = host.bound("0.0.0.0", 5000)
    add_address(host.inet, host.dev, bytes((10, 0, 1, 1)), 24)
    there = ipv4.build(PEER, bytes((10, 0, 1, 1)), 17, udp.build(7, 5000, b"a"))
    for _ in range(2):
        host.inject(there, ip_summed=CHECKSUM_UNNECESSARY)
        assert host.recvfrom(sock)[0] == b"a"
    del_address(host.inet, host.dev, bytes((10, 0, 1, 1)))
    host.inject(there, ip_summed=CHECKSUM_UNNECESSARY)
    fails(errno.EAGAIN, host.recvfrom, sock)


def test_a_device_bound_socket_loses_a_known_flow(host: Host) -> None:
    sock = host.bound("0.0.0.0", 5000)
    for _ in range(2):
        host.inject(datagram(), ip_summed=CHECKSUM_UNNECESSARY)
        host.recvfrom(sock)
    host.setopt(sock, SOL_SOCKET, SO_BINDTODEVICE, b"lo")
    host.inject(datagram(), ip_summed=CHECKSUM_UNNECESSARY)
    fails(errno.EAGAIN, host.recvfrom, sock)
    host.setopt(sock, SOL_SOCKET, SO_BINDTODEVICE, b"w0")
    host.inject(datagram(), ip_summed=CHECKSUM_UNNECESSARY)
    assert host.recvfrom(sock)[0] == b"hi"


def test_the_memory_is_bounded(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    for sport in range(1, 5000):
        host.inject(datagram(b"", sport))
        host.recvfrom(sock)
    assert len(table(host).early) <= 4096
    assert len(table(host).names) <= 4096
    client = host.socket()
    for port in range(1, 1200):
        host.sendto(client, b"", (PEER_NAME, port))
    assert len(host.sk(client).flows) <= 1024


# ICMP about it -----------------------------------------------------------------------------------------------------


def complaint(host: Host, about: bytes, type: int, code: int, rest: int = 0) -> None:
    from pysock.wire import icmp

    router = bytes((10, 0, 0, 254))
    host.inject(ipv4.build(router, ME, 1, icmp.build(type, code, rest, about)))


@pytest.mark.parametrize(
    ("type", "code", "number", "hard"),
    [
        (3, 0, errno.ENETUNREACH, False),
        (3, 1, errno.EHOSTUNREACH, False),
        (3, 2, errno.ENOPROTOOPT, True),
        (3, 3, errno.ECONNREFUSED, True),
        (3, 4, errno.EMSGSIZE, True),
        (3, 5, errno.EOPNOTSUPP, False),
        (3, 7, errno.EHOSTDOWN, True),
        (3, 8, errno.ENONET, True),
        (3, 13, errno.EHOSTUNREACH, True),
        (3, 99, errno.EHOSTUNREACH, False),
        (11, 0, errno.EHOSTUNREACH, False),
        (12, 0, errno.EPROTO, True),
        (4, 0, 0, False),
        (5, 1, 0, False),
    ],
)
def test_what_each_error_means(host: Host, type: int, code: int, number: int, hard: bool) -> None:
    """Without IP_RECVERR only hard errors reach connected sockets; with it, all that mean anything reach any."""
    connected, loose = host.bound("10.0.0.1", 5000), host.bound("10.0.0.1", 5001)
    host.connect(connected, (PEER_NAME, 53))
    for sock in (connected, loose):
        host.sendto(sock, b"question", (PEER_NAME, 53))
        (about,) = host.sent()
        complaint(host, about[:28], type, code)
        assert host.error(sock) == (number if hard and sock is connected else 0)
        host.setopt(sock, IPPROTO_IP, IP_RECVERR, 1)
        complaint(host, about, type, code, 1400 if (type, code) == (3, 4) else 0)
        assert host.error(sock) == number
    assert "IcmpInErrors" not in host.counted()


def test_an_error_about_nobodys_datagram(host: Host) -> None:
    complaint(host, ipv4.build(ME, PEER, 17, udp.build(1, 2)), 3, 3)
    assert host.counted()["IcmpInErrors"] == 1
