"""IP options on their way: checked, recorded, followed, answered (RFC 791 3.1; ip_options.c).

The positions of `test_where_options_are_wrong` are those that Linux 6.18 reports.
"""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dgram_api import Api
from support.hosts import HostApi, Hosts

from pysock.core.dev import netif_rx
from pysock.core.eth import eth_type_trans
from pysock.core.skbuff import SkBuff
from pysock.families.inet.ip_options import problem, stamp, tidy, walk
from pysock.syscalls.socket import sys_connect
from pysock.uapi import in_
from pysock.uapi.in_ import IP_OPTIONS, IPPROTO_ICMP, IPPROTO_IP
from pysock.uapi.socket import SOCK_RAW
from pysock.wire import icmp, ipv4, udp
from pysock.wire.addr import inet_aton as a
from pysock.wire.checksum import checksum

Trio = tuple[HostApi, HostApi, HostApi]
ONE, ROUTER_IN, ROUTER_OUT, TWO = a("10.0.1.1"), a("10.0.1.254"), a("10.0.2.254"), a("10.0.2.2")


@pytest.fixture
def lab() -> Hosts:
    return Hosts()


@pytest.fixture
def trio(lab: Hosts) -> Trio:
    """one 10.0.1.1 - 10.0.1.254 router 10.0.2.254 - 10.0.2.2 two"""
    return lab.routed()


def record(slots: int) -> bytes:
    return bytes((7, 3 + 4 * slots, 4)) + bytes(4 * slots + 1)


def arrive(host: HostApi, packet: bytes, dev: str = "eth0") -> None:
    device = host.dev(dev)
    frame = device.dev_addr + b"\x02\0\0\0\0\x77\x08\0" + packet
    skb = SkBuff(frame, 0, len(frame))

    def receive() -> None:
        assert eth_type_trans(skb, device)
        netif_rx(skb)

    host.call(receive)


def with_options(options: bytes, src: bytes = ONE, dst: bytes = TWO) -> bytes:
    return ipv4.build(src, dst, 17, udp.build(7, 53, b"x", addresses=(src, dst)), options=options)


def options_at(frames: list[bytes], protocol: int) -> bytes:
    """Those of the one datagram of a protocol that was seen."""
    (packet,) = (frame[14:] for frame in frames if frame[12:14] == b"\x08\0" and frame[23] == protocol)
    assert ipv4.verify(packet)
    return ipv4.parse(packet).options


def test_a_route_is_recorded(trio: Trio, lab: Hosts) -> None:
    one, router, two = trio
    server = two.bound("10.0.2.2", 53)
    frames = lab.record(router.dev("eth1"))
    fd = one.socket()
    one.setopt(fd, IPPROTO_IP, IP_OPTIONS, record(3))
    for _ in range(2):
        one.sendto(fd, b"x", ("10.0.2.2", 53))
        assert two.recvfrom(server)[0] == b"x"
        assert options_at(frames, 17) == b"\x07\x0f\x0c" + ONE + ROUTER_OUT + bytes(5)
        frames.clear()


def test_a_ping_comes_back_with_the_whole_way(trio: Trio) -> None:
    """As `ping -R` shows it: our address, the router's two, and those of the peer in both directions."""
    one, _, two = trio
    fd = one.socket(SOCK_RAW, IPPROTO_ICMP)
    one.setopt(fd, IPPROTO_IP, IP_OPTIONS, record(7))
    one.sendto(fd, icmp.build(icmp.ECHO_REQUEST, 0, rest=1, payload=b"abc"), ("10.0.2.2", 0))
    packet, _ = one.recvfrom(fd)
    header = ipv4.parse(packet)
    way = (ONE, ROUTER_OUT, TWO, TWO, ROUTER_IN, ONE)
    assert header.options[:27] == bytes((7, 31, 28)) + b"".join(way)
    assert packet[header.size + 8 :] == b"abc"
    assert "IpInHdrErrors" not in two.counted()


def test_timestamps(trio: Trio, lab: Hosts) -> None:
    _, router, _ = trio
    frames = lab.record(router.dev("eth1"))
    now = (lab.kernel.clock.time_ns() // 1_000_000 % 86_400_000) & 0xFFFFFF00
    for flags, room, expected in (
        (0, 8, b"T"),  # times alone: the router's
        (1, 16, ROUTER_OUT + b"T"),
    ):
        option = bytes((68, 4 + room, 5, flags)) + bytes(room)
        arrive(router, with_options(option))
        got = options_at(frames, 17)
        assert got[2] == 5 + len(expected) + 3
        assert got[4 : 4 + len(expected) - 1] == expected[:-1]
        time = int.from_bytes(got[3 + len(expected) : 7 + len(expected)], "big")
        assert time & 0xFFFFFF00 == now or time > now
        frames.clear()
    chosen = bytes((68, 20, 5, 3)) + ROUTER_IN + bytes(4) + TWO + bytes(4)
    arrive(router, with_options(chosen))
    assert options_at(frames, 17)[2] == 13
    frames.clear()
    arrive(router, with_options(bytes((68, 8, 9, 0x10)) + bytes(4)))
    assert options_at(frames, 17)[3] == 0x20  # no room: counted


def test_wrong_options_are_complained_of(trio: Trio) -> None:
    one, router, two = trio
    listener = one.socket(SOCK_RAW, IPPROTO_ICMP)
    for host, dst in ((router, TWO), (router, ROUTER_IN)):
        arrive(host, with_options(b"\x01\x07\x07\x03\0\0\0\0", dst=dst))
        packet, _ = one.recvfrom(listener)
        message = icmp.parse(packet, (packet[0] & 15) * 4)
        assert (message.type, message.code, message.rest >> 24) == (icmp.PARAMETERPROB, 0, 23)
        one.kernel.sleep(10**9)
    assert router.counted()["IpInHdrErrors"] == 2
    assert "IpInReceives" not in two.counted()


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ("07030400", 0),
        ("07070300000000", 22),
        ("07070500000000", 22),
        ("0702", 21),
        ("070704000000000707040000000000", 27),
        ("440305", 21),
        ("4408040000000000", 22),
        ("4408080280886069", 22),
        ("44080500aabbccdd", 0),
        ("44080501aabbccdd", 22),
        ("440809f0aabbccdd", 23),
        ("440809f3aabbccdd", 0),
        ("94030000", 21),
        ("94040000", 0),
        ("830704000000008907040000000000", 27),
        ("89040d0083020000", 25),
        ("0107", 21),
        ("0109", 21),
        ("0100ff", 0),
        ("c8080000000000000000", 0),
    ],
)
def test_where_options_are_wrong(options: str, where: int) -> None:
    assert problem(bytes(20) + bytes.fromhex(options)) == where


# --- source routes ----------------------------------------------------------------------------------------------------


def source_route(kind: int, *hops: bytes, pointer: int = 4) -> bytes:
    return bytes((kind, 3 + 4 * len(hops), pointer)) + b"".join(hops)


def accept(router: HostApi) -> None:
    router.sysctl("net.ipv4.conf.all.accept_source_route", 1)


def test_source_routes_are_refused_by_default(trio: Trio, lab: Hosts) -> None:
    _, router, _ = trio
    frames = lab.record(router.dev("eth1"))
    for dst in (TWO, ROUTER_IN):
        arrive(router, with_options(source_route(ipv4.OPT_LSRR, TWO), dst=dst))
    assert frames == []
    assert router.counted()["IpInHdrErrors"] == 2


@pytest.mark.parametrize("kind", [ipv4.OPT_LSRR, ipv4.OPT_SSRR])
def test_source_routes_are_followed_where_that_is_allowed(trio: Trio, lab: Hosts, kind: int) -> None:
    _, router, two = trio
    accept(router)
    accept(two)
    frames = lab.record(router.dev("eth1"))
    arrive(router, with_options(source_route(kind, TWO), dst=ROUTER_IN))
    (packet,) = (frame[14:] for frame in frames if frame[12:14] == b"\x08\0")
    header = ipv4.parse(packet)
    assert (header.dst, header.ttl) == (TWO, 63)
    assert header.options[:7] == source_route(kind, ROUTER_OUT, pointer=8)
    assert two.counted()["IpInDelivers"] == 1


def test_a_strict_route_has_no_other_hosts_between(trio: Trio) -> None:
    one, router, two = trio
    accept(router)
    listener = one.socket(SOCK_RAW, IPPROTO_ICMP)
    arrive(router, with_options(source_route(ipv4.OPT_SSRR, TWO), dst=TWO))
    packet, _ = one.recvfrom(listener)
    message = icmp.parse(packet, (packet[0] & 15) * 4)
    assert (message.type, message.rest >> 24) == (icmp.PARAMETERPROB, 16)
    assert "IpInReceives" not in two.counted()


# --- junk -------------------------------------------------------------------------------------------------------------


KINDS = st.sampled_from((0, 1, 7, 68, 130, 131, 134, 137, 148, 200))
OPTION = st.builds(lambda kind, n, rest: bytes((kind, n)) + rest, KINDS, st.integers(0, 14), st.binary(max_size=12))
OPTIONS = st.lists(OPTION, max_size=4).map(lambda some: b"".join(some)[:40]).map(lambda o: o + bytes(-len(o) & 3))


@given(OPTIONS)
def test_good_options_can_be_filled_in(options: bytes) -> None:
    """What `problem` accepts, `stamp` never writes outside of options that want it."""
    header = bytearray(bytes(20) + options)
    if problem(bytes(header)):
        return
    tidy(header)
    before = bytes(header)
    stamp(FUZZ[1].inet, header, TWO)
    assert len(header) == 20 + len(options)
    assert header[:20] == bytes(20)
    assert list(walk(header)) == list(walk(before))
    for at, kind, length in walk(before):
        if kind not in (ipv4.OPT_RR, ipv4.OPT_TIMESTAMP):
            assert header[at : at + length] == before[at : at + length]


FUZZ_LAB = Hosts()
FUZZ = FUZZ_LAB.routed()
accept(FUZZ[1])
accept(FUZZ[2])


@given(OPTIONS, st.sampled_from((TWO, ROUTER_IN, a("224.0.0.1"), a("10.0.1.255"))))
def test_what_arrives_never_raises(options: bytes, dst: bytes) -> None:
    """Datagrams with any options, for the router and for others, source routes allowed."""
    packet = bytearray(with_options(options, dst=dst))
    size = (packet[0] & 15) * 4
    packet[10:12] = b"\0\0"
    packet[10:12] = checksum(bytes(packet[:size])).to_bytes(2, "big")
    arrive(FUZZ[1], bytes(packet))
    echo = ipv4.build(ONE, dst, IPPROTO_ICMP, icmp.build(icmp.ECHO_REQUEST, 0, payload=b"x"), options=options)
    arrive(FUZZ[1], echo)
    assert FUZZ_LAB.log == []


# --- what programs see, and connections -------------------------------------------------------------------------------

RR3 = bytes((7, 15, 4)) + bytes(13)


def options_of(api: Api, options: bytes) -> list[tuple[int, str]]:
    """What IP_RECVOPTS and IP_RETOPTS say of a datagram sent over loopback with ``options``."""
    ear, talker = api.bound(), api.socket()
    for name in (in_.IP_RECVOPTS, in_.IP_RETOPTS):
        api.setopt(ear, IPPROTO_IP, name, 1)
        assert api.getint(ear, IPPROTO_IP, name) == 1
    api.setopt(talker, IPPROTO_IP, in_.IP_OPTIONS, options)
    api.sendto(talker, b"x", api.name(ear))
    return [(kind, data.hex()) for _, kind, data in api.recvmsg(ear)[1]]


@pytest.mark.parametrize(
    ("options", "received", "back"),
    [
        (RR3, "070f0c7f0000017f0000010000000000", "070f0c7f0000017f0000010000000000"),
        (bytes((7, 7, 4)) + bytes(5), "0707087f00000100", "0707087f00000100"),
        (bytes((148, 4, 0, 0)), "94040000", ""),
        (b"\1\1\1\1", "01010101", ""),
    ],
)
def test_options_that_a_program_reads(api: Api, options: bytes, received: str, back: str) -> None:
    assert options_of(api, options) == [(in_.IP_RECVOPTS, received), (in_.IP_RETOPTS, back)]


def test_no_options_no_message(api: Api) -> None:
    assert options_of(api, b"") == []


def test_connections_have_options_too(lab: Hosts) -> None:
    """The SYN's come back in the answers, as Linux does it; segments are shorter by them, super-segments too."""
    one, two = lab.pair()
    frames = lab.record(two.dev())
    ear = two.listen("10.0.0.2", 80)
    fd = one.tcp()
    one.setopt(fd, IPPROTO_IP, in_.IP_OPTIONS, RR3)
    sys_connect(one.task, fd, ("10.0.0.2", 80))
    peer = two.accept(ear)
    assert two.getopt(peer, IPPROTO_IP, in_.IP_OPTIONS, 40).hex() == "070f0c0a0000010a0000020000000000"
    for sk in (one.sk(fd), two.sk(peer)):
        assert sk.mss == 1460 - 12 - 16  # type: ignore[attr-defined]  # a TcpSock
    data = random.Random(1).randbytes(200_000)
    for here, source, there, sink in ((one, fd, two, peer), (two, peer, one, fd)):
        left, got = memoryview(data), b""
        while len(got) < len(data):
            if left:
                with contextlib.suppress(BlockingIOError):
                    left = left[here.sendto(source, bytes(left[:20_000])) :]
            got += there.recv(sink)
        assert got == data
    segments = [frame[14:] for frame in frames if frame[23] == 6]
    assert {segment[0] for segment in segments} == {0x49}
    for segment in segments:
        assert ipv4.verify(segment[:36])
        first = a("10.0.0.1") if segment[12:16] == a("10.0.0.1") else None
        assert first is None or segment[23:27] == first


def test_options_may_come_and_go_with_a_connection(lab: Hosts) -> None:
    one, two = lab.pair()
    ear = two.listen("10.0.0.2", 80)
    fd = one.tcp()
    sys_connect(one.task, fd, ("10.0.0.2", 80))
    peer = two.accept(ear)
    frames = lab.record(two.dev())
    for options, first in ((b"", 0x45), (RR3, 0x49), (b"", 0x45)):
        one.setopt(fd, IPPROTO_IP, in_.IP_OPTIONS, options)
        frames.clear()
        one.sendto(fd, bytes(5000))
        got = 0
        while got < 5000:
            got += len(two.recv(peer))
        sent = [frame for frame in frames if frame[23] == 6 and frame[26:30] == a("10.0.0.1")]
        assert {frame[14] for frame in sent} == {first}
        lab.sleep(1)


def test_a_listeners_options_are_its_own(lab: Hosts) -> None:
    one, two = lab.pair()
    ear = two.listen("10.0.0.2", 80)
    two.setopt(ear, IPPROTO_IP, in_.IP_OPTIONS, RR3)
    fd = one.tcp()
    sys_connect(one.task, fd, ("10.0.0.2", 80))
    assert two.getopt(two.accept(ear), IPPROTO_IP, in_.IP_OPTIONS, 40) == b""
