"""ICMP: what it answers, what it passes on, what it refuses to say (RFC 792, RFC 1122 3.2.2)."""

from __future__ import annotations

import errno

import pytest
from support.dgram_api import LO, Host, Ours, fails

from pysock.core.clock import NSEC_PER_MSEC, VirtualClock
from pysock.core.skbuff import CHECKSUM_UNNECESSARY
from pysock.uapi.in_ import IPPROTO_ICMP, IPPROTO_UDP
from pysock.wire import icmp, ipv4, udp

ME = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))
BROADCAST = bytes((10, 0, 0, 255))
GROUP = bytes((224, 0, 0, 1))


def message(kind: int, code: int = 0, rest: int = 0, payload: bytes = b"", src: bytes = PEER, dst: bytes = ME) -> bytes:
    return ipv4.build(src, dst, IPPROTO_ICMP, icmp.build(kind, code, rest, payload))


def answers(host: Host) -> list[tuple[ipv4.Ipv4Header, icmp.IcmpHeader, bytes]]:
    """What ICMP sent; every checksum is verified."""
    found = []
    for sent in host.sent():
        header = ipv4.parse(sent)
        assert ipv4.verify(sent)
        assert header.protocol == IPPROTO_ICMP
        assert icmp.verify(sent[header.size :])
        found.append((header, icmp.parse(sent, header.size), sent[header.size + 8 :]))
    return found


# Queries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(56)), bytes(1400)])
@pytest.mark.parametrize("wrap", [bytes, bytearray])
def test_echo_gives_back_what_came(host: Host, payload: bytes, wrap: type) -> None:
    host.inject(wrap(ipv4.build(PEER, ME, 1, icmp.build_echo(0x1234, 7, payload), tos=0x10)))
    ((header, reply, data),) = answers(host)
    assert (header.src, header.dst, header.ttl, header.tos, header.flags) == (ME, PEER, 64, 0x10, 0)
    assert (reply.type, reply.code, reply.ident, reply.sequence) == (icmp.ECHOREPLY, 0, 0x1234, 7)
    assert data == payload
    counted = host.counted()
    assert [counted[f"Icmp{name}"] for name in ("InMsgs", "InEchos", "OutMsgs", "OutEchoReps")] == [1] * 4


def test_echo_can_be_ignored(host: Host) -> None:
    host.kernel.init_net.sysctl.write("net.ipv4.icmp_echo_ignore_all", "1")
    host.inject(message(icmp.ECHO_REQUEST))
    assert not host.sent()
    assert host.counted()["IcmpInEchos"] == 1


@pytest.mark.parametrize("dst", [BROADCAST, GROUP, b"\xff" * 4])
def test_echo_to_everybody_is_ignored_unless_wanted(host: Host, dst: bytes) -> None:
    host.inject(message(icmp.ECHO_REQUEST, dst=dst))
    assert not host.sent()
    assert host.counted()["IcmpInErrors"] == 1
    host.kernel.init_net.sysctl.set("net.ipv4.icmp_echo_ignore_broadcasts", False)
    host.inject(message(icmp.ECHO_REQUEST, dst=dst))
    ((header, reply, _),) = answers(host)
    assert (header.src, header.dst, reply.type) == (ME, PEER, icmp.ECHOREPLY)


def test_timestamp(host: Host) -> None:
    host.inject(message(icmp.TIMESTAMP, 0, 0x00010002, b"\0\0\0\x2a" + bytes(8)))
    ((_, reply, data),) = answers(host)
    assert (reply.type, reply.rest) == (icmp.TIMESTAMPREPLY, 0x00010002)
    midnight = (host.kernel.clock.time_ns() // 1_000_000 % 86_400_000).to_bytes(4, "big")
    assert data == b"\0\0\0\x2a" + midnight * 2
    host.inject(message(icmp.TIMESTAMP, 0, 0, b"\0\0"))
    assert not host.sent()
    assert host.counted()["IcmpInErrors"] == 1


def test_messages_nobody_handles_are_counted_and_dropped(host: Host) -> None:
    for kind in (icmp.ROUTER_ADVERT, icmp.ROUTER_SOLICIT, icmp.TIMESTAMPREPLY, 17, 18, 1):
        host.inject(message(kind))
    assert "IcmpInErrors" not in host.counted()
    for kind in (19, 42, 255):
        host.inject(message(kind))
    assert host.counted()["IcmpInErrors"] == 3
    assert host.counted()["IcmpInMsgs"] == 9
    assert not host.sent()


@pytest.mark.parametrize("raw", [b"", b"\x08", b"\x08\0\0\0\0\0\0"])
def test_a_message_cut_short(host: Host, raw: bytes) -> None:
    host.inject(ipv4.build(PEER, ME, 1, raw), ip_summed=CHECKSUM_UNNECESSARY)
    assert host.counted()["IcmpInErrors"] == host.counted()["IcmpInMsgs"] == 1


def test_a_wrong_checksum(host: Host) -> None:
    host.inject(ipv4.build(PEER, ME, 1, icmp.build(icmp.ECHO_REQUEST, checksum=0x1111)))
    counted = host.counted()
    assert counted["IcmpInCsumErrors"] == counted["IcmpInErrors"] == 1
    assert "IcmpInEchos" not in counted
    assert not host.sent()


# Errors in ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quoted",
    [
        b"",
        bytes(19),
        b"\x44" + bytes(40),  # a header length below 20
        ipv4.build(ME, PEER, 17, bytes(7)),
        ipv4.build(ME, PEER, 17, b"", options=bytes(40)),
    ],
)
def test_an_error_that_quotes_too_little(host: Host, quoted: bytes) -> None:
    host.inject(message(icmp.DEST_UNREACH, 3, 0, quoted))
    assert host.counted()["IcmpInErrors"] == 1
    assert host.counted()["IcmpInDestUnreachs"] == 1


@pytest.mark.parametrize(
    ("kind", "code", "rest", "info"),
    [
        (icmp.DEST_UNREACH, icmp.FRAG_NEEDED, 1280, 1280),
        (icmp.DEST_UNREACH, icmp.PORT_UNREACH, 99, 0),
        (icmp.PARAMETERPROB, 0, 0x14000000, 0x14),
        (icmp.TIME_EXCEEDED, 0, 7, 0),
        (icmp.SOURCE_QUENCH, 0, 7, 0),
        (icmp.REDIRECT, 1, 0x0A000005, 0x0A000005),
    ],
)
def test_the_transport_hears_of_it(host: Host, kind: int, code: int, rest: int, info: int) -> None:
    heard: list[tuple[bytes, int, int, int, int]] = []
    host.inet.errors[200] = lambda *args: heard.append(args)
    quoted = ipv4.build(ME, PEER, 200, b"12345678", options=b"\1\1\1\0")
    host.inject(message(kind, code, rest, quoted))
    assert heard == [(quoted, 24, kind, code, info)]
    host.inject(message(kind, code, rest, ipv4.build(ME, PEER, 201, b"12345678")))  # nobody's protocol
    assert len(heard) == 1
    assert "IcmpInErrors" not in host.counted()


# Errors out --------------------------------------------------------------------------------------------------------


def nobody(**options: object) -> bytes:
    return ipv4.build(PEER, ME, IPPROTO_UDP, udp.build(1, 2, b"anyone?"), **options)  # type: ignore[arg-type]


def test_an_error_quotes_the_datagram(host: Host) -> None:
    about = nobody(tos=0x11, options=b"\1\1\1\0")
    host.inject(about)
    ((header, error, quoted),) = answers(host)
    assert (header.src, header.dst) == (ME, PEER)
    assert header.tos == 0xD0  # precedence "internetwork control", RFC 1812 4.3.2.5
    assert (error.type, error.code, error.rest) == (icmp.DEST_UNREACH, icmp.PORT_UNREACH, 0)
    assert quoted == about


def test_at_most_576_bytes_are_sent(host: Host) -> None:
    about = ipv4.build(PEER, ME, IPPROTO_UDP, udp.build(1, 2, bytes(1200)))
    host.inject(about)
    ((header, _, quoted),) = answers(host)
    assert header.total_length == 576
    assert quoted == about[:548]


def test_an_unknown_protocol(host: Host) -> None:
    host.inject(ipv4.build(PEER, ME, 200, b"payload"))
    ((_, error, _),) = answers(host)
    assert (error.type, error.code) == (icmp.DEST_UNREACH, icmp.PROT_UNREACH)
    assert host.counted()["IpInUnknownProtos"] == 1


@pytest.mark.parametrize(
    "about",
    [
        ipv4.build(PEER, BROADCAST, 200, b"payload"),
        ipv4.build(PEER, GROUP, 200, b"payload"),
        ipv4.build(PEER, b"\xff" * 4, 200, b"payload"),
        ipv4.build(bytes(4), ME, 200, b"payload"),
        ipv4.build(PEER, BROADCAST, 17, udp.build(1, 2)),
    ],
)
def test_no_error_about_what_was_for_everybody_or_from_nobody(host: Host, about: bytes) -> None:
    host.inject(about)
    assert not host.sent()


def test_no_error_about_an_error(host: Host) -> None:
    """A raw protocol handler that complains about whatever it gets."""
    from pysock.families.inet import icmp as stack

    def complain(skb: object) -> None:
        stack.send(host.inet, skb, stack.DEST_UNREACH, stack.HOST_UNREACH, 0)  # type: ignore[arg-type]

    host.inet.protos[IPPROTO_ICMP] = complain
    for kind in (3, 4, 5, 11, 12, 19, 255):
        host.inject(message(kind))
    host.inject(ipv4.build(PEER, ME, 1, b""))  # too short to tell
    assert not host.sent()
    for kind in (0, 8, 13):
        host.inject(message(kind))
    assert [error.code for _, error, _ in answers(host)] == [icmp.HOST_UNREACH] * 3


def test_no_error_to_where_no_route_goes(host: Host) -> None:
    host.inject(ipv4.build(bytes((192, 0, 2, 1)), ME, 200, b"payload"))
    assert not host.sent()
    assert host.counted()["IcmpOutErrors"] == 1


# How often ---------------------------------------------------------------------------------------------------------


def advance(host: Host, milliseconds: int) -> None:
    clock = host.kernel.clock
    assert isinstance(clock, VirtualClock)
    clock.advance_to(clock.monotonic_ns() + milliseconds * NSEC_PER_MSEC)
    host.softirqs()


def test_six_at_once_then_one_a_second_for_each_destination(host: Host) -> None:
    for _ in range(10):
        host.inject(nobody())
    assert len(host.sent()) == 6
    assert host.counted()["IcmpOutRateLimitHost"] == 4
    other = ipv4.build(bytes((10, 0, 0, 3)), ME, IPPROTO_UDP, udp.build(1, 2))
    host.inject(other)
    assert len(host.sent()) == 1
    advance(host, 999)
    host.inject(nobody())
    assert not host.sent()
    advance(host, 1)
    host.inject(nobody())
    host.inject(nobody())
    assert len(host.sent()) == 1


def test_fifty_at_once_in_all(host: Host) -> None:
    for i in range(60):
        host.inject(ipv4.build(bytes((10, 0, 0, 100 + i)), ME, IPPROTO_UDP, udp.build(1, 2)))
    assert len(host.sent()) == 50
    assert host.counted()["IcmpOutRateLimitGlobal"] == 10
    advance(host, 5)  # a thousand a second
    for i in range(10):
        host.inject(ipv4.build(bytes((10, 0, 0, 10 + i)), ME, IPPROTO_UDP, udp.build(1, 2)))
    assert len(host.sent()) == 5


def test_the_limits_can_be_lifted(host: Host) -> None:
    sysctl = host.kernel.init_net.sysctl
    sysctl.set("net.ipv4.icmp_ratemask", 0)
    for _ in range(100):
        host.inject(nobody())
    assert len(host.sent()) == 100
    sysctl.reset("net.ipv4.icmp_ratemask")
    sysctl.set("net.ipv4.icmp_ratelimit", 0)
    sysctl.set("net.ipv4.icmp_msgs_burst", 1000)
    advance(host, 1000)
    for _ in range(100):
        host.inject(nobody())
    assert len(host.sent()) == 100


def test_echo_replies_and_loopback_are_not_limited(host: Host) -> None:
    for _ in range(100):
        host.inject(message(icmp.ECHO_REQUEST))
    assert len(host.sent()) == 100
    sock = host.bound(LO)
    host.connect(sock, (LO, 9))
    for _ in range(100):
        host.sendto(sock, b"a")
        fails(errno.ECONNREFUSED, host.recvfrom, sock)


def test_errors_over_loopback_carry_right_checksums(ours: Ours) -> None:
    """Nothing is verified by hand here: a wrong one would be counted."""
    sock = ours.bound()
    ours.sendto(sock, b"a", (LO, 9))
    counted = ours.counted()
    assert counted["IcmpInDestUnreachs"] == counted["IcmpOutDestUnreachs"] == 1
    assert "IcmpInCsumErrors" not in counted
