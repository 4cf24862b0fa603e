"""Fragments, out and in (RFC 8200 4.5, RFC 5722, RFC 6946, RFC 7112)."""

from __future__ import annotations

import errno
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies
from support.inet6_hosts import Lab6, Wire6, a6, parsed

from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.families.inet6 import ip6_output, route
from pysock.families.inet6.ip6_cb import Ip6Cb, cb_of
from pysock.families.inet6.reassembly import frags_of
from pysock.wire import icmpv6, ipv6, udp
from pysock.wire.checksum import pseudo_v6, verify

ME = a6("2001:db8::1")
PEER = a6("2001:db8::2")
DATA = random.Random(6).randbytes(3000)


def piece(start: int, end: int, *, total: int = len(DATA), ident: int = 7, head: bytes = b"", first: int = 44) -> bytes:
    """A fragment with DATA[start:end]; ``head`` are extension headers in front of it, the first of kind ``first``."""
    fragment = ipv6.build_fragment(200, start, end < total, ident)
    return ipv6.build(PEER, ME, first, head + fragment + DATA[start:end])


@pytest.fixture
def wire(wire: Wire6) -> Wire6:
    wire.listen()
    return wire


def answers(wire: Wire6) -> list[tuple[int, int, int]]:
    """Type, code and second word of the ICMPv6 errors that we sent."""
    found = []
    for packet in wire.sent():
        error = icmpv6.parse(parsed(packet)[3])
        found.append((error.type, error.code, error.rest))
    return found


# --- in -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (2, 0, 1)])
def test_in_any_order(wire: Wire6, order: tuple[int, ...]) -> None:
    pieces = [piece(0, 1000), piece(1000, 2000), piece(2000, 3000)]
    for at in order:
        assert wire.got == []
        wire.inject(pieces[at])
    assert wire.got == [DATA]
    counted = wire.counted()
    assert (counted["Ip6ReasmReqds"], counted["Ip6ReasmOKs"], counted["Ip6InDelivers"]) == (3, 1, 1)
    assert frags_of(wire.inet6).memory == 0
    assert not frags_of(wire.inet6).queues


def test_packets_are_told_apart(wire: Wire6) -> None:
    wire.inject(piece(0, 1000, ident=1))
    wire.inject(piece(1000, 3000, ident=2))
    assert wire.got == []
    wire.inject(piece(0, 1000, ident=2))
    assert wire.got == [DATA]


def test_repetitions_are_ignored(wire: Wire6) -> None:
    for packet in (piece(0, 1000), piece(0, 1000), piece(8, 16), piece(1000, 3000)):
        wire.inject(packet)
    assert wire.got == [DATA]


@pytest.mark.parametrize(
    "overlap", [piece(504, 1504), piece(992, 1008), piece(1000, 1008, total=1008), piece(3000, 3008, total=9000)]
)
def test_contradictions_kill_the_packet(wire: Wire6, overlap: bytes) -> None:
    wire.inject(piece(0, 1000))
    wire.inject(piece(2000, 3000))
    wire.inject(overlap)
    assert wire.counted()["Ip6ReasmFails"] == 1
    assert not frags_of(wire.inet6).queues
    wire.inject(piece(1000, 2000))
    assert wire.got == []
    assert answers(wire) == []


def test_whole_in_one_fragment(wire: Wire6) -> None:
    """RFC 6946: no matter what else waits under the same name."""
    wire.inject(piece(0, 1000))
    wire.inject(piece(0, 3000))
    assert wire.got == [DATA]


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        (piece(0, 1001), (4, 0, 4)),  # not a multiple of 8, and more follow
        (ipv6.build(PEER, ME, 44, ipv6.build_fragment(200, 65528, False, 7) + bytes(9)), (4, 0, 42)),
        (ipv6.build(PEER, ME, 44, ipv6.build_fragment(6, 0, True, 7) + bytes(16)), (4, 3, 0)),  # half a TCP header
        (ipv6.build(PEER, ME, 44, ipv6.build_fragment(60, 0, True, 7) + b"\x06\x09" + bytes(6)), (4, 3, 0)),
        (ipv6.build(PEER, ME, 44, b"\xc8\0\0\1"), (4, 0, 40)),  # half a fragment header
    ],
)
def test_what_is_no_fragment(wire: Wire6, packet: bytes, answer: tuple[int, int, int]) -> None:
    wire.inject(packet)
    assert wire.counted()["Ip6InHdrErrors"] == 1
    assert answers(wire) == [answer]
    assert not frags_of(wire.inet6).queues


def test_fragments_of_fragments_are_refused(wire: Wire6) -> None:
    inner = ipv6.build_fragment(200, 0, False, 8) + b"data"
    wire.inject(ipv6.build(PEER, ME, 44, ipv6.build_fragment(44, 0, False, 7) + inner))
    assert wire.got == []
    assert wire.counted()["Ip6InHdrErrors"] == 1


@pytest.mark.parametrize(("start", "said"), [(0, [(icmpv6.TIME_EXCEED, 1, 0)]), (1000, [])])
def test_given_up_after_a_minute(wire: Wire6, start: int, said: list[tuple[int, int, int]]) -> None:
    """And the sender hears of it only if the first fragment had come."""
    wire.inject(piece(start, start + 1000))
    wire.lab.settle(59)
    assert frags_of(wire.inet6).queues
    wire.lab.settle(2)
    assert not frags_of(wire.inet6).queues
    assert frags_of(wire.inet6).memory == 0
    assert (wire.counted()["Ip6ReasmTimeout"], wire.counted()["Ip6ReasmFails"]) == (1, 1)
    assert answers(wire) == said


def test_a_limit_to_what_waits(wire: Wire6) -> None:
    wire.sysctl("net.ipv6.ip6frag_high_thresh", 5000)
    for ident in range(20):
        wire.inject(piece(0, 1000, ident=ident))
    assert 3 <= len(frags_of(wire.inet6).queues) < 6
    assert wire.counted()["Ip6ReasmFails"] == 20 - len(frags_of(wire.inet6).queues)
    wire.inject(piece(1000, 3000, ident=0))
    assert wire.got == [DATA]


def test_extension_headers_around_fragments(wire: Wire6) -> None:
    seen: list[Ip6Cb] = []
    options = ipv6.build_options(44, [(5, b"\0\0")])
    taken = wire.inet6.protos[200]

    def handler(skb: SkBuff) -> None:
        cb = cb_of(skb)
        assert cb is not None
        seen.append(cb)
        taken(skb)

    wire.inet6.protos[200] = handler
    wire.inject(piece(0, 1000, head=options, first=0))
    wire.inject(piece(1000, 3000, head=options, first=0))
    assert wire.got == [DATA]
    (cb,) = seen
    assert (cb.hop, cb.fragmented, cb.frag_max_size) == (40, True, 40 + 8 + 8 + 2000)


@settings(max_examples=150)
@given(
    strategies.lists(strategies.integers(1, 40), min_size=1, max_size=8),
    strategies.randoms(use_true_random=False),
    strategies.booleans(),
)
def test_any_cut_comes_together(sizes: list[int], rng: random.Random, paged: bool) -> None:
    wire = Wire6()
    wire.listen()
    total = sum(sizes) * 8
    bounds = [sum(sizes[:i]) * 8 for i in range(len(sizes) + 1)]
    pieces = [piece(start, end, total=total) for start, end in pairwise(bounds)]
    pieces += rng.sample(pieces, rng.randrange(len(pieces)))
    rng.shuffle(pieces)
    for packet in pieces:
        wire.inject(bytearray(packet) if paged else packet)
    assert DATA[:total] in wire.got


# --- out ----------------------------------------------------------------------------------------------------------


def reassembled(packets: list[bytes], skip: int = 0) -> bytes:
    """The fragmentable part of what ``packets`` carry together; each has ``skip`` bytes of options in front."""
    parts = {}
    for packet in packets:
        assert len(packet) <= 1500
        header = ipv6.parse(packet)
        assert header.payload_length == len(packet) - 40
        _, _, word, _ = ipv6.FRAGMENT.unpack_from(packet, 40 + skip)
        parts[word & 0xFFF8] = packet[48 + skip :]
        assert bool(word & 1) == (packet is not packets[-1])
    assert all(len(part) % 8 == 0 for offset, part in parts.items() if offset != max(parts))
    return b"".join(part for _, part in sorted(parts.items()))


def test_what_does_not_fit_is_cut(wire: Wire6) -> None:
    assert wire.send(PEER, DATA) == 0
    packets = wire.sent()
    assert len(packets) == 3
    assert reassembled(packets) == DATA
    assert {ipv6.parse(packet).next_header for packet in packets} == {44}
    assert len({packet[44:48] for packet in packets}) == 1  # the identification
    counted = wire.counted()
    assert (counted["Ip6FragOKs"], counted["Ip6FragCreates"], counted["Ip6OutRequests"]) == (1, 3, 1)


def test_it_may_be_forbidden(wire: Wire6) -> None:
    assert wire.send(PEER, DATA, dontfrag=True) == -errno.EMSGSIZE
    assert wire.counted()["Ip6FragFails"] == 1
    assert wire.send(PEER, bytes(1460), dontfrag=True) == 0
    assert len(wire.sent()) == 1


def test_datagrams_beyond_64_kib(wire: Wire6) -> None:
    assert wire.send(PEER, bytes(65536)) == -errno.EMSGSIZE
    assert wire.sent() == []
    assert wire.send(PEER, bytes(65535)) == 0
    assert len(reassembled(wire.sent())) == 65535


def test_headers_before_and_behind_the_fragment_header(wire: Wire6) -> None:
    """Destination options are in every fragment, but for those behind a routing header, as Linux has it."""
    hop = ipv6.build_options(0, [(5, b"\0\0")])
    options = ipv6.build_options(0, [(0x1E, b"ab")])
    routing = bytes((0, 2, 2, 0)) + bytes(4) + PEER
    for headers, front, behind in (
        ({"hopopts": hop, "dstopts": options}, [0, 60], b""),
        ({"hopopts": hop, "dstopts0": options, "routing": routing}, [0, 60, 43], b""),
        ({"routing": routing, "dstopts": options}, [43], bytes((200,)) + options[1:]),
    ):
        assert wire.send(PEER, DATA, **headers) == 0
        packets = wire.sent()
        for packet in packets:
            extensions, _, _ = ipv6.walk(packet[6], packet, 40)
            assert [one.kind for one in extensions][: len(front) + 1] == [*front, 44]
        size = sum(len(headers[name]) for name in headers) - len(behind)
        assert ipv6.FRAGMENT.unpack_from(packets[0], 40 + size)[0] == (60 if behind else 200)
        assert reassembled(packets, size) == behind + DATA


def test_order_of_extension_headers(wire: Wire6) -> None:
    """RFC 8200 4.1."""
    options = ipv6.build_options(0, [])
    routing = bytes((0, 2, 2, 0)) + bytes(4) + PEER
    wire.send(PEER, b"data", hopopts=options, dstopts0=options, routing=routing, dstopts=options)
    wire.send(PEER, b"data", dstopts0=options, dstopts=options)
    first, second = (parsed(packet) for packet in wire.sent())
    assert [one.kind for one in first[1]] == [0, 60, 43, 60]
    assert [one.kind for one in second[1]] == [60]
    assert (first[2], first[3]) == (200, b"data")


@pytest.mark.parametrize("size", [100, 3000])
@pytest.mark.parametrize("options", [b"", ipv6.build_options(0, [])])
def test_checksums_are_finished_wherever_the_transport_begins(wire: Wire6, size: int, options: bytes) -> None:
    """A transport that leaves its checksum to the device, on a device that computes none once it is cut."""
    payload = udp.HEADER.pack(7, 9, 8 + size, pseudo_v6(ME, PEER, 17, 8 + size)) + DATA[:size]

    def go() -> int:
        rt = route.output(wire.inet6, PEER)
        skb = SkBuff(payload, 0, len(payload))
        skb.ip_summed, skb.csum_offset = CHECKSUM_PARTIAL, 6
        return ip6_output.send_datagram(wire.inet6, rt, 17, skb, dstopts=options)

    wire.w0.features = 0
    wire.w0.update_path()
    assert wire.call(go) == 0
    packets = wire.sent()
    datagram = packets[0][40 + len(options) :] if size == 100 else reassembled(packets, len(options))
    assert verify(datagram, pseudo_v6(ME, PEER, 17, len(datagram)))


def test_from_host_to_host(lab: Lab6) -> None:
    a, b = lab.host(), lab.host()
    lab.cable(a, b)
    a.add("2001:db8::1/64", flags=0x82)
    b.add("2001:db8::2/64", flags=0x82)
    b.listen()
    for size in (1452, 1453, 3000, 65535):
        a.send(PEER, bytes(size))
    lab.settle(1)
    assert [len(data) for data in b.got] == [1452, 1453, 3000, 65535]
