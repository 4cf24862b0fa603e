"""Invariant: control messages of any shape are taken or refused with an OSError; whatever arrives, sockets that ask for
every control message can read it, and nothing is contained.
"""

from __future__ import annotations

from hypothesis import given, settings, strategies
from support.inet6_api import LO6, Ours6
from support.inet6_hosts import Wire6

from pysock.syscalls.message import sys_recvmsg
from pysock.syscalls.socket import sys_bind, sys_setsockopt, sys_socket
from pysock.uapi import in6
from pysock.uapi.in_ import IPPROTO_ICMPV6, IPPROTO_IPV6, IPPROTO_UDP
from pysock.uapi.socket import AF_INET6, MSG_DONTWAIT, MSG_ERRQUEUE, SO_TIMESTAMP, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET
from pysock.vfs.task import Task
from pysock.wire import icmpv6, ipv6, udp
from pysock.wire.addr import inet6_aton

ME = inet6_aton("2001:db8::1")
ADDRESSES = [ME, *map(inet6_aton, ("2001:db8::2", "fe80::2", "ff02::1", "ff12::1234", "::1", "::", "::ffff:10.0.0.1"))]
WANTED = [
    in6.IPV6_RECVPKTINFO,
    in6.IPV6_RECVHOPLIMIT,
    in6.IPV6_RECVTCLASS,
    in6.IPV6_FLOWINFO,
    in6.IPV6_RECVHOPOPTS,
    in6.IPV6_RECVDSTOPTS,
    in6.IPV6_RECVRTHDR,
    in6.IPV6_RECVORIGDSTADDR,
    in6.IPV6_RECVFRAGSIZE,
    in6.IPV6_RECVPATHMTU,
    in6.IPV6_2292PKTINFO,
    in6.IPV6_2292HOPLIMIT,
    in6.IPV6_2292HOPOPTS,
    in6.IPV6_2292DSTOPTS,
    in6.IPV6_2292RTHDR,
    in6.IPV6_RECVERR,
]

kinds = strategies.one_of(strategies.integers(0, 80), strategies.integers(-(2**31), 2**31 - 1))
levels = strategies.sampled_from([IPPROTO_IPV6, IPPROTO_IPV6, 0, 1, 17])
messages = strategies.tuples(levels, kinds, strategies.binary(max_size=48))


@settings(deadline=None, max_examples=150)
@given(
    strategies.lists(messages, max_size=3),
    strategies.sampled_from([LO6, "::ffff:127.0.0.1", "::", "ff02::1", "fe80::1"]),
    strategies.booleans(),
)
def test_any_control_message(control: list[tuple[int, int, bytes]], host: str, raw: bool) -> None:
    ours = Ours6()
    sock = ours.socket(SOCK_RAW, 200) if raw else ours.socket()
    try:
        ours.sendmsg(sock, b"x", control, (host, 0 if raw else 9, 0, 1))
    except OSError:
        pass
    assert not ours.log


@settings(deadline=None, max_examples=200)
@given(strategies.sampled_from(WANTED + list(range(80))), strategies.binary(max_size=300))
def test_any_option_value(option: int, value: bytes) -> None:
    ours = Ours6()
    for sock in (ours.socket(), ours.socket(1), ours.socket(SOCK_RAW, 58)):
        try:
            ours.setopt(sock, IPPROTO_IPV6, option, value)
        except OSError:
            pass
        try:
            ours.getopt(sock, IPPROTO_IPV6, option, 64)
        except OSError:
            pass


@strategies.composite
def packets(draw: strategies.DrawFn) -> bytes:
    """Something like a packet to our sockets, perhaps an error that quotes one of theirs, perhaps damaged."""
    src, dst = draw(strategies.sampled_from(ADDRESSES)), draw(strategies.sampled_from([ME, ME, *ADDRESSES]))
    payload = draw(strategies.binary(max_size=40))
    kind = draw(strategies.sampled_from(["udp", "udp", "echo", "error", "other"]))
    if kind == "udp":
        inner = udp.build(draw(strategies.sampled_from([0, 7, 5000])), 5000, payload, addresses=(src, dst))
        protocol = IPPROTO_UDP
    elif kind == "echo":
        inner, protocol = icmpv6.build(draw(strategies.integers(0, 255)), 0, 0, payload, addresses=(src, dst)), 58
    elif kind == "error":
        quoted = draw(packets())[: draw(strategies.integers(0, 80))]
        error = draw(strategies.integers(0, 5))
        inner = icmpv6.build(error, draw(strategies.integers(0, 9)), 1400, quoted, addresses=(src, dst))
        protocol = IPPROTO_ICMPV6
    else:
        inner, protocol = payload, draw(strategies.sampled_from([0, 43, 44, 60, 200]))
    if draw(strategies.booleans()):
        inner, protocol = bytes((protocol, 0)) + draw(strategies.binary(min_size=6, max_size=6)) + inner, 60
    whole = bytearray(ipv6.HEADER.pack(6 << 28 | 0x12345, len(inner), protocol, 64, src, dst) + inner)
    for _ in range(draw(strategies.integers(0, 3))):
        whole[draw(strategies.integers(0, len(whole) - 1))] = draw(strategies.integers(0, 255))
    return bytes(whole)


@settings(deadline=None, max_examples=120)
@given(strategies.lists(packets(), min_size=1, max_size=6))
def test_whatever_arrives_can_be_read(arrivals: list[bytes]) -> None:
    host = Wire6()
    task = Task.for_kernel(host.kernel, net=host.net)
    fds = [sys_socket(task, AF_INET6, SOCK_DGRAM)]
    sys_bind(task, fds[0], ("::", 5000))
    fds += [sys_socket(task, AF_INET6, SOCK_RAW, protocol) for protocol in (IPPROTO_ICMPV6, IPPROTO_UDP, 60, 200)]
    for fd in fds:
        sys_setsockopt(task, fd, SOL_SOCKET, SO_TIMESTAMP, 1)
        for option in WANTED:
            sys_setsockopt(task, fd, IPPROTO_IPV6, option, 1)
    for packet in arrivals:
        host.inject(packet)
    for fd in fds:
        for flags in (MSG_DONTWAIT, MSG_ERRQUEUE | MSG_DONTWAIT):
            for _ in range(20):
                try:
                    sys_recvmsg(task, fd, 100, 1000, flags)
                except BlockingIOError:
                    break
                except OSError:
                    pass
    assert host.log == []
