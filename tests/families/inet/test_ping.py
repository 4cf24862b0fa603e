"""Ping sockets: SOCK_DGRAM with IPPROTO_ICMP (icmp(7))."""

from __future__ import annotations

import errno
import os
import select

import pytest
from support.dgram_api import LO, Host, Ours, fails

from pysock.core.capability import Credentials
from pysock.uapi.in_ import IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_RECVERR, IP_RECVTTL, IP_TTL, IPPROTO_ICMP, IPPROTO_IP
from pysock.uapi.socket import MSG_ERRQUEUE, MSG_OOB, SO_REUSEADDR, SOCK_DGRAM, SOL_SOCKET
from pysock.wire import icmp, ipv4

ME = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))


def echo(sequence: int = 1, payload: bytes = b"ping", ident: int = 0) -> bytes:
    return icmp.build_echo(ident, sequence, payload, checksum=0)


@pytest.fixture
def pinger(host: Host) -> Host:
    host.kernel.init_net.sysctl.write("net.ipv4.ping_group_range", "0 2147483647")
    return host


def ping(host: Host) -> int:
    return host.socket(SOCK_DGRAM, IPPROTO_ICMP)


def test_who_may_have_one() -> None:
    group = os.getgid()
    ours = Ours()
    fails(errno.EACCES, ping, ours)  # the default range is empty, capabilities or not
    ours.kernel.init_net.sysctl.set("net.ipv4.ping_group_range", (group + 1, group + 2))
    fails(errno.EACCES, ping, ours)
    ours.kernel.init_net.sysctl.set("net.ipv4.ping_group_range", (group, group))
    ping(ours)
    ours.kernel.init_net.sysctl.set("net.ipv4.ping_group_range", (7777, 7777))
    member = Ours(Credentials(groups=frozenset({7777})), kernel=ours.kernel)
    ping(member)


def test_pinging_ourselves(pinger: Host) -> None:
    sock = ping(pinger)
    for sequence in (1, 2):
        assert pinger.sendto(sock, echo(sequence), (LO, 0)) == 12
        assert pinger.poll(sock) & select.POLLIN
        data, sender = pinger.recvfrom(sock)
        assert sender == (LO, 0)
        reply = icmp.parse(data)
        assert icmp.verify(data)
        assert (reply.type, reply.ident, reply.sequence) == (icmp.ECHOREPLY, pinger.name(sock)[1], sequence)
        assert data[8:] == b"ping"
    fails(errno.EAGAIN, pinger.recvfrom, sock)


def test_what_leaves(pinger: Host) -> None:
    sock = ping(pinger)
    pinger.setopt(sock, IPPROTO_IP, IP_TTL, 3)
    pinger.sendto(sock, echo(ident=0x9999), ("10.0.0.2", 0))
    (sent,) = pinger.sent()
    header = ipv4.parse(sent)
    assert (header.src, header.dst, header.ttl) == (ME, PEER, 3)
    assert icmp.verify(sent[20:])
    assert icmp.parse(sent, 20).ident == pinger.name(sock)[1] != 0x9999
    counted = pinger.counted()
    assert counted["IcmpOutEchos"] == counted["IcmpOutMsgs"] == 1


def test_each_hears_its_own_replies(pinger: Host) -> None:
    one, two = ping(pinger), ping(pinger)
    pinger.sendto(one, echo(1), (LO, 0))
    pinger.sendto(two, echo(2), (LO, 0))
    assert icmp.parse(pinger.recvfrom(one)[0]).sequence == 1
    assert icmp.parse(pinger.recvfrom(two)[0]).sequence == 2
    fails(errno.EAGAIN, pinger.recvfrom, one)
    pinger.inject(ipv4.build(PEER, ME, 1, icmp.build_echo(0xFFFF, 1, reply=True)))  # nobody's
    fails(errno.EAGAIN, pinger.recvfrom, two)


def test_the_identifier_is_the_port(pinger: Host) -> None:
    sock, other = ping(pinger), ping(pinger)
    pinger.bind(sock, (LO, 4242))
    assert pinger.name(sock) == (LO, 4242)
    fails(errno.EINVAL, pinger.bind, sock, (LO, 4243))
    pinger.setopt(other, SOL_SOCKET, SO_REUSEADDR, 0)
    fails(errno.EADDRINUSE, pinger.bind, other, (LO, 4242))
    fails(errno.EADDRNOTAVAIL, pinger.bind, other, ("203.0.113.1", 0))
    pinger.close(sock)
    pinger.bind(other, (LO, 4242))


def test_connecting(pinger: Host) -> None:
    sock = ping(pinger)
    fails(errno.EDESTADDRREQ, pinger.sendto, sock, echo())
    pinger.connect(sock, ("10.0.0.2", 9))
    pinger.sendto(sock, echo())
    assert ipv4.parse(pinger.sent()[0]).dst == PEER
    pinger.connect(sock, (0, b""))  # type: ignore[arg-type]
    fails(errno.EDESTADDRREQ, pinger.sendto, sock, echo())


@pytest.mark.parametrize(
    "message",
    [b"", echo()[:7], icmp.build_echo(0, 1, reply=True), icmp.build(icmp.ECHO_REQUEST, 1), icmp.build(icmp.TIMESTAMP)],
)
def test_only_echo_requests_are_sent(pinger: Host, message: bytes) -> None:
    fails(errno.EINVAL, pinger.sendto, ping(pinger), message, (LO, 0))


def test_sizes_and_flags(pinger: Host) -> None:
    sock = ping(pinger)
    fails(errno.EMSGSIZE, pinger.sendto, sock, echo(payload=bytes(65536)), (LO, 0))
    pinger.setopt(sock, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    fails(errno.EMSGSIZE, pinger.sendto, sock, echo(payload=bytes(1473)), ("10.0.0.2", 0))
    fails(errno.EOPNOTSUPP, pinger.sendto, sock, echo(), (LO, 0), MSG_OOB)
    assert pinger.sendto(sock, echo(payload=bytes(1464)), ("10.0.0.2", 0)) == 1472


def test_control_messages(pinger: Host) -> None:
    sock = ping(pinger)
    pinger.setopt(sock, IPPROTO_IP, IP_RECVTTL, 1)
    pinger.sendto(sock, echo(), (LO, 0))
    assert pinger.recvmsg(sock)[1] == [(IPPROTO_IP, IP_TTL, (64).to_bytes(4, "little"))]


def test_errors_come_back(pinger: Host) -> None:
    sock = ping(pinger)
    pinger.sendto(sock, echo(), ("10.0.0.2", 0))
    (about,) = pinger.sent()
    unreachable = ipv4.build(bytes((10, 0, 0, 254)), ME, 1, icmp.build(3, 1, 0, about))
    pinger.inject(unreachable)
    assert pinger.error(sock) == 0  # not connected, and it did not ask
    pinger.setopt(sock, IPPROTO_IP, IP_RECVERR, 1)
    pinger.inject(unreachable)
    assert pinger.error(sock) == errno.EHOSTUNREACH
    data, _, _, name = pinger.recvmsg(sock, 100, 512, MSG_ERRQUEUE)
    assert (data, name) == (about[20:], ("10.0.0.2", 0))
    pinger.inject(ipv4.build(PEER, ME, 1, icmp.build(3, 1, 0, ipv4.build(ME, PEER, 1, icmp.build_echo(9, 9)))))
    assert pinger.error(sock) == 0  # about somebody else's
