"""ICMPv6: echo, errors that arrive, errors that we send and those that we must not (RFC 4443)."""

from __future__ import annotations

import pytest
from support.inet6_hosts import Wire6, a6, parsed

from pysock.core.skbuff import CHECKSUM_UNNECESSARY
from pysock.families.inet6 import icmp6, route
from pysock.wire import icmpv6, ipv6

ME = a6("2001:db8::1")
PEER = a6("2001:db8::2")
GROUP = a6("ff02::1")


def message(kind: int, code: int = 0, rest: int = 0, payload: bytes = b"", src: bytes = PEER, dst: bytes = ME) -> bytes:
    return ipv6.build(src, dst, 58, icmpv6.build(kind, code, rest, payload, addresses=(src, dst)))


def sent(wire: Wire6) -> list[icmpv6.Icmpv6Header]:
    found = []
    for packet in wire.sent():
        header, _, _, body = parsed(packet)
        assert icmpv6.verify(body, header.src, header.dst)
        found.append(icmpv6.parse(body))
    return found


# --- echo ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dst", [ME, GROUP])
def test_echo(wire: Wire6, dst: bytes) -> None:
    wire.inject(message(icmpv6.ECHO_REQUEST, 0, 0x12340001, b"data", dst=dst))
    (packet,) = wire.sent()
    header, _, _, body = parsed(packet)
    reply = icmpv6.parse(body)
    assert (header.src, header.dst) == (ME, PEER)
    assert (reply.type, reply.rest, body[8:]) == (icmpv6.ECHO_REPLY, 0x12340001, b"data")
    assert icmpv6.verify(body, ME, PEER)


def test_echo_keeps_the_traffic_class(wire: Wire6) -> None:
    request = icmpv6.build(icmpv6.ECHO_REQUEST, addresses=(PEER, ME))
    wire.inject(ipv6.build(PEER, ME, 58, request, traffic_class=0xB8))
    assert parsed(wire.sent()[0])[0].traffic_class == 0xB8


@pytest.mark.parametrize(
    ("setting", "dst"), [("echo_ignore_all", ME), ("echo_ignore_all", GROUP), ("echo_ignore_multicast", GROUP)]
)
def test_echo_may_be_ignored(wire: Wire6, setting: str, dst: bytes) -> None:
    wire.sysctl(f"net.ipv6.icmp.{setting}", 1)
    wire.inject(message(icmpv6.ECHO_REQUEST, dst=dst))
    assert wire.sent() == []


def test_replies_go_to_ping_sockets(wire: Wire6) -> None:
    wire.inject(message(icmpv6.ECHO_REPLY, payload=b"data"))
    assert wire.replies == [b"data"]


# --- what is malformed --------------------------------------------------------------------------------------------


def test_a_wrong_checksum(wire: Wire6) -> None:
    packet = bytearray(message(icmpv6.ECHO_REQUEST))
    packet[42] ^= 1
    wire.inject(bytes(packet))
    counted = wire.counted()
    assert (counted["Icmp6InMsgs"], counted["Icmp6InErrors"], counted["Icmp6InCsumErrors"]) == (1, 1, 1)
    assert wire.sent() == []


def test_too_short(wire: Wire6) -> None:
    wire.inject(ipv6.build(PEER, ME, 58, b"\x80\0\0\0"), ip_summed=CHECKSUM_UNNECESSARY)
    assert wire.counted()["Icmp6InErrors"] == 1


@pytest.mark.parametrize("quoted", [b"", ipv6.build(ME, PEER, 200)[:39], ipv6.build(ME, PEER, 200, bytes(7)),
                                    b"\x45" + ipv6.build(ME, PEER, 200, bytes(8))[1:],
                                    ipv6.build(ME, PEER, 0, b"\xc8\x09" + bytes(6))])  # fmt: skip
def test_errors_that_quote_too_little(wire: Wire6, quoted: bytes) -> None:
    wire.listen()
    wire.inject(message(icmpv6.DEST_UNREACH, payload=quoted))
    assert wire.counted()["Icmp6InErrors"] == 1
    assert wire.errors == []


# --- errors that arrive -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensions", [b"", ipv6.build_options(200, [])])
@pytest.mark.parametrize("kind", [1, 2, 3, 4, 100])
def test_errors_reach_the_transport(wire: Wire6, kind: int, extensions: bytes) -> None:
    calls: list[tuple[bytes, int, int, int, int, bytes]] = []
    raws: list[int] = []
    wire.inet6.errors[200] = lambda *args: calls.append(args[:6])  # type: ignore[assignment]
    wire.inet6.raw_error = lambda protocol, *args: raws.append(protocol)
    quoted = ipv6.build(ME, PEER, 60 if extensions else 200, extensions + b"12345678")
    wire.inject(message(kind, 5, 1400, quoted))
    assert calls == [(quoted, 40 + len(extensions), kind, 5, 1400, PEER)]
    assert raws == [200]


def test_packet_too_big_lowers_the_path_mtu(wire: Wire6) -> None:
    quoted = ipv6.build(ME, PEER, 200, bytes(8))
    wire.inject(message(icmpv6.PKT_TOOBIG, 0, 1300, quoted))
    assert wire.call(route.output, wire.inet6, PEER).mtu == 1300
    assert wire.send(PEER, bytes(1400)) == 0
    assert max(len(packet) for packet in wire.sent()) <= 1300


def test_packet_too_big_about_somebody_elses_packet(wire: Wire6) -> None:
    quoted = ipv6.build(a6("2001:db8::7"), PEER, 200, bytes(8))
    wire.inject(message(icmpv6.PKT_TOOBIG, 0, 1300, quoted))
    assert wire.call(route.output, wire.inet6, PEER).mtu == 1500


# --- errors that we send ------------------------------------------------------------------------------------------


def test_quotes_fit_the_least_mtu(wire: Wire6) -> None:
    packet = ipv6.build(PEER, ME, 250, bytes(1400))
    wire.inject(packet)
    (answer,) = wire.sent()
    assert len(answer) == 1280
    assert answer[48:] == packet[:1232]


@pytest.mark.parametrize(
    "packet",
    [
        ipv6.build(bytes(16), ME, 250, b"x"),  # nobody to tell
        ipv6.build(PEER, GROUP, 250, b"x"),  # to a group
    ],
)
def test_who_is_not_told(wire: Wire6, packet: bytes) -> None:
    wire.inject(packet)
    assert wire.counted()["Ip6InUnknownProtos"] == 1
    assert sent(wire) == []


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 127])
def test_no_errors_about_errors(wire: Wire6, kind: int) -> None:
    """RFC 4443 2.4 e.1: here an error message with an option that we don't know."""
    bad = ipv6.build_options(58, [(0x9E, b"")])
    body = icmpv6.build(kind, payload=ipv6.build(ME, PEER, 200, bytes(8)), addresses=(PEER, ME))
    wire.inject(ipv6.build(PEER, ME, 60, bad + body))
    assert sent(wire) == []
    request = icmpv6.build(icmpv6.ECHO_REQUEST, addresses=(PEER, ME))
    wire.inject(ipv6.build(PEER, ME, 60, bad + request))
    assert [one.type for one in sent(wire)] == [icmpv6.PARAMPROB]


def test_errors_are_limited_for_each_destination(wire: Wire6) -> None:
    """Six at once, four a second for a route to a /64; and 50 at once for the whole host."""
    for _ in range(40):
        wire.inject(ipv6.build(PEER, ME, 250, b"x"))
    assert len(sent(wire)) == 6
    assert wire.counted()["Icmp6OutRateLimitHost"] == 34
    for _ in range(20):
        wire.inject(ipv6.build(a6("2001:db8::3"), ME, 250, b"x"))
    assert len(sent(wire)) == 6
    wire.inject(ipv6.build(a6("2001:db8::4"), ME, 250, b"x"))
    assert sent(wire) == []
    wire.lab.settle(0.26)
    wire.inject(ipv6.build(PEER, ME, 250, b"x"))
    wire.inject(ipv6.build(PEER, ME, 250, b"x"))
    assert len(sent(wire)) == 1


def test_echo_replies_and_loopback_are_not_limited(wire: Wire6) -> None:
    for _ in range(100):
        wire.inject(message(icmpv6.ECHO_REQUEST))
    assert len(sent(wire)) == 100
    for _ in range(100):
        wire.send(a6("::1"), bytes(8), protocol=250)
    assert wire.counted()["Icmp6InParmProblems"] == 100


def test_errors_from_a_group_come_from_our_own_address(wire: Wire6) -> None:
    """A packet to a group whose option we refuse (RFC 4443 2.4 e.3, the exception)."""
    wire.inject(ipv6.build(PEER, GROUP, 60, ipv6.build_options(200, [(0x9E, b"")])))
    (answer,) = wire.sent()
    assert parsed(answer)[0].src == ME


def test_a_reply_to_a_link_local_address_leaves_where_the_question_came_in(wire: Wire6) -> None:
    peer = a6("fe80::2")
    wire.inject(message(icmpv6.ECHO_REQUEST, src=peer, dst=wire.linklocal()))
    (packet,) = wire.sent()
    header = parsed(packet)[0]
    assert (header.src, header.dst) == (wire.linklocal(), peer)


def test_messages_are_counted_by_type(wire: Wire6) -> None:
    wire.inject(message(icmpv6.ECHO_REQUEST))
    wire.inject(message(200))
    counted = wire.counted()
    assert counted["Icmp6InEchos"] == counted["Icmp6InType128"] == counted["Icmp6OutEchoReplies"] == 1
    assert counted["Icmp6InType200"] == 1
    text = wire.net.proc["net/snmp6"]()
    assert "Icmp6InEchos                    \t1\n" in text
    assert icmp6.icmp6_of(wire.inet6).ratelimit == 1000
