"""Raw sockets: datagrams as they are (raw(7))."""

from __future__ import annotations

import errno
import os

import pytest
from support.dgram_api import Api, Host, Linux, Ours, fails

from pysock.core.capability import CAP_NET_RAW, Credentials
from pysock.families.inet.raw import ICMP_FILTER
from pysock.uapi.in_ import IP_HDRINCL, IP_RECVERR, IPPROTO_ICMP, IPPROTO_IP, IPPROTO_RAW, IPPROTO_UDP
from pysock.uapi.socket import MSG_ERRQUEUE, SO_BROADCAST, SOCK_RAW, SOL_RAW, SOL_SOCKET
from pysock.wire import icmp, ipv4, udp

#: An address of this process's own, so that raw sockets of the real kernel do not hear another test run.
HERE_BYTES = bytes((127, 16 + os.getpid() % 191, os.getpid() >> 8 & 0xFF, 1 + os.getpid() % 251))
HERE = ".".join(map(str, HERE_BYTES))
OTHER = ".".join(map(str, (127, 15, *HERE_BYTES[2:])))
ME = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))
#: A protocol number that nobody speaks (253 is for experiments, RFC 3692).
EXPERIMENT = 253


def raw(api: Api, protocol: int = EXPERIMENT, host: str = "") -> object:
    sock = api.socket(SOCK_RAW, protocol)
    if host:
        api.bind(sock, (host, 0))  # type: ignore[arg-type]
    return sock


def test_a_capability_is_needed() -> None:
    poor = Ours(Credentials().drop(CAP_NET_RAW))
    fails(errno.EPERM, raw, poor)


def test_protocol_zero_is_none(api: Api) -> None:
    if isinstance(api, Linux):
        raw(api)  # skips where we may not
    fails(errno.EPROTONOSUPPORT, raw, api, 0)


def test_payload_out_and_the_whole_datagram_in(api: Api) -> None:
    sender, receiver = raw(api, host=HERE), raw(api, host=HERE)
    api.connect(sender, (HERE, 0))
    for payload in (b"", b"x", b"payload"):
        assert api.sendto(sender, payload, (HERE, 0)) == len(payload)
        for sock in (receiver, sender):
            data, name = api.recvfrom(sock)
            assert name == (HERE, 0)
            header = ipv4.parse(data)
            assert ipv4.verify(data)
            assert (header.src, header.dst, header.protocol) == (HERE_BYTES, HERE_BYTES, EXPERIMENT)
            assert data[20:] == payload


def test_names(api: Api) -> None:
    sock = raw(api)
    assert api.name(sock) == ("0.0.0.0", EXPERIMENT)
    for host in ("127.0.0.2", "127.0.0.3"):  # it may be bound again and again
        api.bind(sock, (host, 0))
        assert api.name(sock) == (host, EXPERIMENT)
    fails(errno.EADDRNOTAVAIL, api.bind, sock, ("203.0.113.1", 0))
    fails(errno.ENOTCONN, api.peer, sock)


def test_bound_and_connected_sockets_are_choosy(api: Api) -> None:
    sender, elsewhere, peered = raw(api, host=HERE), raw(api, host=OTHER), raw(api, host=HERE)
    api.connect(peered, (OTHER, 0))
    api.sendto(sender, b"one", (HERE, 0))
    fails(errno.EAGAIN, api.recvfrom, elsewhere)
    fails(errno.EAGAIN, api.recvfrom, peered)
    api.sendto(sender, b"two", (OTHER, 0))
    assert api.recvfrom(elsewhere)[0][20:] == b"two"
    api.sendto(elsewhere, b"three", (HERE, 0))
    assert api.recvfrom(peered)[0][20:] == b"three"


def test_without_an_address(api: Api) -> None:
    fails(errno.EDESTADDRREQ, api.sendto, raw(api), b"a")
    fails(errno.EMSGSIZE, api.sendto, raw(api), bytes(65536), (HERE, 0))
    broadcast = raw(api)
    fails(errno.EACCES, api.sendto, broadcast, b"a", ("127.255.255.255", 0))
    api.setopt(broadcast, SOL_SOCKET, SO_BROADCAST, 1)
    assert api.sendto(broadcast, b"a", ("127.255.255.255", 0)) == 1


def test_a_header_of_ones_own(api: Api) -> None:
    sender, receiver = raw(api, host=HERE), raw(api, host=HERE)
    fails(errno.EAGAIN, api.recvfrom, receiver)
    api.setopt(sender, IPPROTO_IP, IP_HDRINCL, 1)
    assert api.getint(sender, IPPROTO_IP, IP_HDRINCL) == 1
    mine = ipv4.build(bytes(4), HERE_BYTES, EXPERIMENT, b"payload", ttl=7, tos=0x20, checksum=0xDEAD)
    mine = mine[:2] + b"\0\0" + mine[4:]  # the length is filled in, too
    assert api.sendto(sender, mine, (HERE, 0)) == 27
    data, _ = api.recvfrom(receiver)
    header = ipv4.parse(data)
    assert ipv4.verify(data)
    assert (header.src, header.ttl, header.tos, header.total_length) == (HERE_BYTES, 7, 0x20, 27)
    assert data[20:] == b"payload"
    for bad in (b"", bytes(19), b"\x4f" + bytes(30)):
        fails(errno.EINVAL, api.sendto, sender, bad, (HERE, 0))


def test_ipproto_raw_only_sends(api: Api) -> None:
    sender, receiver = raw(api, IPPROTO_RAW), raw(api, host=HERE)
    assert api.getint(sender, IPPROTO_IP, IP_HDRINCL) == 1
    api.sendto(sender, ipv4.build(HERE_BYTES, HERE_BYTES, EXPERIMENT, b"a"), (HERE, 0))
    assert api.recvfrom(receiver)[0][20:] == b"a"
    fails(errno.EAGAIN, api.recvfrom, sender)


def test_the_transport_gets_its_datagram_all_the_same(api: Api) -> None:
    spy = raw(api, IPPROTO_UDP, HERE)
    server, client = api.bound(HERE), api.bound(HERE)
    for _ in range(2):
        api.sendto(client, b"both", api.name(server))
        assert api.recvfrom(server) == (b"both", api.name(client))
        seen = api.recvfrom(spy)[0]
        assert udp.parse(seen, 20).dst_port == api.name(server)[1]
        assert seen[28:] == b"both"


def test_icmp_filter(api: Api) -> None:
    sock, open_ears = raw(api, IPPROTO_ICMP, HERE), raw(api, IPPROTO_ICMP, HERE)
    assert api.getopt(sock, SOL_RAW, ICMP_FILTER, 4) == bytes(4)
    api.setopt(sock, SOL_RAW, ICMP_FILTER, (1 << icmp.ECHO_REQUEST).to_bytes(4, "little"))
    assert api.getopt(sock, SOL_RAW, ICMP_FILTER, 4) == b"\0\x01\0\0"
    api.sendto(sock, icmp.build_echo(0x7777, 1, b"filtered"), (HERE, 0))

    assert api.recvfrom(sock)[0][20] == icmp.ECHOREPLY
    fails(errno.EAGAIN, api.recvfrom, sock)
    assert [api.recvfrom(open_ears)[0][20] for _ in range(2)] == [icmp.ECHO_REQUEST, icmp.ECHOREPLY]


def test_options_a_raw_socket_has_not(api: Api) -> None:
    sock = raw(api)
    fails(errno.EOPNOTSUPP, api.setopt, sock, SOL_RAW, ICMP_FILTER, 0)
    fails(errno.EOPNOTSUPP, api.getopt, sock, SOL_RAW, ICMP_FILTER)
    fails(errno.ENOPROTOOPT, api.setopt, sock, SOL_RAW, 99, 0)


def test_shutdown_and_disconnect(ours: Ours) -> None:
    sock = raw(ours)
    fails(errno.ENOTCONN, ours.shutdown, sock, 1)
    fails(errno.EPIPE, ours.sendto, sock, b"a", (HERE, 0))
    other = raw(ours)
    ours.connect(other, (HERE, 0))
    ours.connect(other, (0, b""))
    fails(errno.EDESTADDRREQ, ours.sendto, other, b"a")
    ours.sendto(other, b"a", (HERE, 0))
    assert ours.recvfrom(other)[0][20:] == b"a"


# pysock alone ------------------------------------------------------------------------------------------------------


def test_the_receive_path_asks_only_while_somebody_listens(ours: Ours) -> None:
    assert ours.inet.raw_deliver is None
    raw(ours, IPPROTO_RAW)
    assert ours.inet.raw_deliver is None
    first, second = raw(ours), raw(ours, IPPROTO_UDP)
    assert ours.inet.raw_deliver is not None
    ours.close(first)
    assert ours.inet.raw_deliver is not None
    ours.close(second)
    assert ours.inet.raw_deliver is None


def test_a_protocol_that_a_raw_socket_takes_is_not_unknown(host: Host) -> None:
    sock = raw(host)
    host.inject(ipv4.build(PEER, ME, EXPERIMENT, b"hello"))
    assert host.recvfrom(sock)[0][20:] == b"hello"
    assert "IpInUnknownProtos" not in host.counted()
    assert not host.sent()
    host.close(sock)
    host.inject(ipv4.build(PEER, ME, EXPERIMENT, b"hello"))
    assert host.counted()["IpInUnknownProtos"] == 1
    assert len(host.sent()) == 1


@pytest.mark.parametrize("wrap", [bytes, bytearray])
def test_copies_are_separate(host: Host, wrap: type) -> None:
    one, two = raw(host), raw(host)
    host.inject(wrap(ipv4.build(PEER, ME, EXPERIMENT, b"hello", options=b"\1\1\1\0")))
    for sock in (one, two):
        data, name = host.recvfrom(sock)
        assert (data[24:], name) == (b"hello", ("10.0.0.2", 0))
    assert host.sk(one).rmem_alloc == host.sk(two).rmem_alloc == 0


def test_a_full_buffer_drops_the_copy_only(host: Host) -> None:
    sock = raw(host)
    host.sk(sock).rcvbuf = 1000
    for _ in range(5):
        host.inject(ipv4.build(PEER, ME, EXPERIMENT, bytes(600)))
    assert len(host.sk(sock).receive_queue or ()) == 1
    host.close(sock)
    assert host.sent() == []


def test_errors_come_back(host: Host) -> None:
    sock = raw(host)
    host.sendto(sock, b"payloads", ("10.0.0.2", 0))
    (about,) = host.sent()
    refused = ipv4.build(PEER, ME, 1, icmp.build(3, 2, 0, about))
    host.inject(refused)
    assert host.error(sock) == 0
    host.connect(sock, ("10.0.0.2", 0))
    host.inject(refused)
    assert host.error(sock) == errno.ENOPROTOOPT
    host.setopt(sock, IPPROTO_IP, IP_RECVERR, 1)
    host.inject(ipv4.build(PEER, ME, 1, icmp.build(11, 0, 0, about)))
    assert host.error(sock) == errno.EHOSTUNREACH
    data, _, _, name = host.recvmsg(sock, 100, 512, MSG_ERRQUEUE)
    assert (data, name) == (b"payloads", ("10.0.0.2", 0))


def test_hdrincl_is_not_fragmented(host: Host) -> None:
    sock = raw(host, IPPROTO_RAW)
    fails(errno.EMSGSIZE, host.sendto, sock, ipv4.build(ME, PEER, 200, bytes(1481)), ("10.0.0.2", 0))
    host.sendto(sock, ipv4.build(ME, PEER, 200, bytes(1480), ident=77), ("10.0.0.2", 0))
    (sent,) = host.sent()
    assert sent == ipv4.build(ME, PEER, 200, bytes(1480), ident=77)


def test_icmp_sent_by_hand_is_counted(host: Host) -> None:
    sock = raw(host, IPPROTO_ICMP)
    host.sendto(sock, icmp.build_echo(1, 1), ("10.0.0.2", 0))
    own = raw(host, IPPROTO_RAW)
    host.sendto(own, ipv4.build(ME, PEER, IPPROTO_ICMP, icmp.build_echo(1, 2)), ("10.0.0.2", 0))
    assert host.counted()["IcmpOutEchos"] == 2
