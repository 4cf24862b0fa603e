"""Neighbour discovery: asking, answering, learning (RFC 4861 7)."""

from __future__ import annotations

import pytest
from support.inet6_hosts import PEER_MAC, Ether6, Lab6, a6, parsed

from pysock.core.neighbour import Neighbour
from pysock.families.inet6.addr import solicited_node
from pysock.uapi.neighbour import NTF_ROUTER, NUD_DELAY, NUD_FAILED, NUD_INCOMPLETE, NUD_REACHABLE, NUD_STALE
from pysock.wire import icmpv6, ipv6
from pysock.wire.icmpv6 import (
    NA_OVERRIDE,
    NA_ROUTER,
    NA_SOLICITED,
    NEIGHBOUR_ADVERT,
    NEIGHBOUR_SOLICIT,
    OPT_SOURCE_LL,
    OPT_TARGET_LL,
)

ME = a6("2001:db8::1")
PEER = a6("2001:db8::2")
SOURCE = icmpv6.build_option(OPT_SOURCE_LL, PEER_MAC)
TARGET = icmpv6.build_option(OPT_TARGET_LL, PEER_MAC)


@pytest.fixture
def ether() -> Ether6:
    ether = Ether6()
    ether.add("2001:db8::1/64", flags=0x82)
    ether.sent()
    return ether


def neighbour(ether: Ether6, key: bytes = PEER) -> Neighbour | None:
    return ether.inet6.nd.lookup(ether.dev(), key)


def state(ether: Ether6) -> tuple[int, bytes]:
    found = neighbour(ether)
    assert found is not None
    return found.nud_state, found.ha


def answer(ether: Ether6, flags: int = NA_SOLICITED | NA_OVERRIDE, options: bytes = TARGET, dst: bytes = ME) -> None:
    ether.hears(NEIGHBOUR_ADVERT, "2001:db8::2", PEER, dst, options, flags)


def test_a_packet_waits_for_the_answer(ether: Ether6) -> None:
    assert ether.send(PEER, b"first") == 0
    assert ether.send(PEER, b"second") == 0
    (packet,) = ether.sent()
    header, _, _, message = parsed(packet)
    assert (header.src, header.dst, header.hop_limit) == (ME, solicited_node(PEER), 255)
    assert (message[0], message[8:24]) == (NEIGHBOUR_SOLICIT, PEER)
    assert message[24:] == icmpv6.build_option(OPT_SOURCE_LL, ether.w0.dev_addr)
    assert icmpv6.verify(message, header.src, header.dst)
    assert state(ether)[0] == NUD_INCOMPLETE
    answer(ether)
    assert [packet[40:] for packet in ether.sent()] == [b"first", b"second"]
    assert state(ether) == (NUD_REACHABLE, PEER_MAC)
    ether.send(PEER, b"third")
    assert [packet[40:] for packet in ether.sent()] == [b"third"]


def test_nobody_answers(ether: Ether6) -> None:
    """Three questions, a second apart; then the sender hears of it, which is us."""
    ether.listen()
    ether.send(PEER, bytes(8))
    ether.lab.settle(4)
    assert [parsed(packet)[3][0] for packet in ether.sent()] == [NEIGHBOUR_SOLICIT] * 3
    assert state(ether)[0] == NUD_FAILED
    assert ether.errors == [(icmpv6.DEST_UNREACH, 3, 0)]


def test_a_neighbour_that_is_suspect_is_asked_by_unicast(ether: Ether6) -> None:
    ether.send(PEER, b"x")
    answer(ether)
    ether.lab.settle(60)
    ether.sent()
    ether.send(PEER, b"y")
    ether.lab.settle(5.5)
    question = ether.sent()[-1]
    assert parsed(question)[0].dst == PEER
    assert parsed(question)[3][0] == NEIGHBOUR_SOLICIT
    answer(ether)
    assert state(ether)[0] == NUD_REACHABLE


def test_we_answer_for_our_addresses(ether: Ether6) -> None:
    ether.hears(NEIGHBOUR_SOLICIT, "2001:db8::1", PEER, solicited_node(ME), SOURCE)
    (packet,) = ether.sent()
    header, _, _, message = parsed(packet)
    assert (header.src, header.dst, header.hop_limit) == (ME, PEER, 255)
    flags = int.from_bytes(message[4:8], "big")
    assert (message[0], flags, message[8:24]) == (NEIGHBOUR_ADVERT, NA_SOLICITED | NA_OVERRIDE, ME)
    assert message[24:] == icmpv6.build_option(OPT_TARGET_LL, ether.w0.dev_addr)
    assert state(ether) == (NUD_DELAY, PEER_MAC)  # and know who asked, unproven


def test_a_unicast_question_needs_no_address_in_the_answer(ether: Ether6) -> None:
    ether.hears(NEIGHBOUR_SOLICIT, "2001:db8::1", PEER, ME, SOURCE)
    message = parsed(ether.sent()[0])[3]
    assert len(message) == 24
    assert int.from_bytes(message[4:8], "big") == NA_SOLICITED


def test_a_probe_for_our_address_is_answered_to_all(ether: Ether6) -> None:
    ether.hears(NEIGHBOUR_SOLICIT, "2001:db8::1", bytes(16), solicited_node(ME))
    header, _, _, message = parsed(ether.sent()[0])
    assert header.dst == a6("ff02::1")
    assert int.from_bytes(message[4:8], "big") == NA_OVERRIDE
    assert neighbour(ether, bytes(16)) is None


@pytest.mark.parametrize(
    ("src", "dst", "target", "options"),
    [
        (PEER, solicited_node(a6("2001:db8::7")), "2001:db8::7", SOURCE),  # not ours
        (PEER, ME, "ff02::1", SOURCE),  # a group
        (bytes(16), ME, "2001:db8::1", b""),  # a probe must go to the solicited-node group
        (bytes(16), solicited_node(ME), "2001:db8::1", SOURCE),  # and has no link-layer address
        (PEER, ME, "2001:db8::1", b"\1\0" + bytes(6)),  # an option of length 0
        (PEER, ME, "2001:db8::1", b"\1\2" + bytes(6)),  # an option beyond the message
    ],
)
def test_questions_that_are_ignored(ether: Ether6, src: bytes, dst: bytes, target: str, options: bytes) -> None:
    ether.hears(NEIGHBOUR_SOLICIT, target, src, dst, options)
    assert ether.sent() == []
    assert neighbour(ether) is None


@pytest.mark.parametrize("fields", [{"hop_limit": 254}, {"code": 1}, {"cut": 23}, {"fragment": True}])
def test_messages_that_count_for_nothing(ether: Ether6, fields: dict[str, int]) -> None:
    dst = solicited_node(ME)
    body = icmpv6.build_neighbour(NEIGHBOUR_SOLICIT, ME, 0, SOURCE)[: fields.get("cut", 99)]
    body = icmpv6.build(body[0], fields.get("code", 0), 0, body[8:], addresses=(PEER, dst))
    protocol = 58
    if fields.get("fragment"):
        body, protocol = ipv6.build_fragment(58, 0, False, 1) + body, 44
    ether.inject(ipv6.build(PEER, dst, protocol, body, hop_limit=fields.get("hop_limit", 255)))
    assert ether.sent() == []
    assert ether.counted()["Icmp6InMsgs"] == 1


def test_answers_that_nobody_asked_for(ether: Ether6) -> None:
    answer(ether)
    assert neighbour(ether) is None


OTHER = icmpv6.build_option(OPT_TARGET_LL, b"\x02\0\0\0\0\x77")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (NA_SOLICITED, (NUD_STALE, PEER_MAC)),  # a different address without override: doubt
        (0, (NUD_STALE, PEER_MAC)),
        (NA_OVERRIDE, (NUD_STALE, b"\x02\0\0\0\0\x77")),
        (NA_SOLICITED | NA_OVERRIDE, (NUD_REACHABLE, b"\x02\0\0\0\0\x77")),
    ],
)
def test_an_answer_with_another_address(ether: Ether6, flags: int, expected: tuple[int, bytes]) -> None:
    """RFC 4861 7.2.5."""
    ether.send(PEER, b"x")
    answer(ether)
    answer(ether, flags, OTHER)
    assert state(ether) == expected


def test_solicited_answers_to_groups_are_lies(ether: Ether6) -> None:
    ether.send(PEER, b"x")
    answer(ether, dst=a6("ff02::1"))
    assert state(ether)[0] == NUD_INCOMPLETE


def test_a_router_that_is_none_any_more(ether: Ether6) -> None:
    ether.send(PEER, b"x")
    answer(ether, NA_SOLICITED | NA_OVERRIDE | NA_ROUTER)
    found = neighbour(ether)
    assert found is not None
    assert found.flags & NTF_ROUTER
    answer(ether, NA_SOLICITED | NA_OVERRIDE)
    assert not found.flags & NTF_ROUTER


def test_two_hosts(lab: Lab6) -> None:
    a, b = lab.host(), lab.host()
    one, _ = lab.cable(a, b)
    lab.settle(8)
    a.add("2001:db8::1/64", flags=0x82)
    b.add("2001:db8::2/64", flags=0x82)
    lab.settle()
    seen = lab.record(one)
    a.ping(PEER, b"data")
    a.ping(b.linklocal(), b"link", one.ifindex)
    lab.settle(0.1)
    assert a.replies == [b"data", b"link"]
    kinds = [parsed(packet)[3][0] for packet in seen]
    assert sorted(kinds) == [128, 128, 129, 129, 135, 135, 136, 136]
