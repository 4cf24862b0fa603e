"""Extension headers that arrive (RFC 8200 4): options, routing headers, and the order in which they are met."""

from __future__ import annotations

import pytest
from support.inet6_hosts import Wire6, a6, parsed

from pysock.core.skbuff import SkBuff
from pysock.families.inet6.ip6_cb import Ip6Cb, cb_of
from pysock.wire import icmpv6, ipv6

ME = a6("2001:db8::1")
PEER = a6("2001:db8::2")
GROUP = a6("ff02::1")


def options(*found: tuple[int, bytes], nexthdr: int = 200) -> bytes:
    return ipv6.build_options(nexthdr, list(found))


def routing(kind: int, left: int, nexthdr: int = 200) -> bytes:
    return bytes((nexthdr, 2, kind, left)) + bytes(4) + PEER


@pytest.fixture
def wire(wire: Wire6) -> Wire6:
    wire.listen()
    return wire


def arrive(wire: Wire6, first: int, rest: bytes, dst: bytes = ME) -> None:
    wire.inject(ipv6.build(PEER, dst, first, rest))


def problem(wire: Wire6) -> tuple[int, int] | None:
    """Code and pointer of the parameter problem that we sent."""
    sent = wire.sent()
    if not sent:
        return None
    (answer,) = sent
    error = icmpv6.parse(parsed(answer)[3])
    assert error.type == icmpv6.PARAMPROB
    return error.code, error.rest


@pytest.mark.parametrize("header", [0, 60])
@pytest.mark.parametrize(
    ("kind", "many", "passes", "answer"),
    [
        (0x1E, False, True, None),  # 00: skip
        (0x5E, False, False, None),  # 01: drop
        (0x9E, False, False, (2, 42)),  # 10: drop, and say so
        (0x9E, True, False, (2, 42)),  # even to a group
        (0xDE, False, False, (2, 42)),  # 11: drop, and say so
        (0xDE, True, False, None),  # but not to a group
    ],
)
def test_unknown_options(
    wire: Wire6, header: int, kind: int, many: bool, passes: bool, answer: tuple[int, int] | None
) -> None:
    arrive(wire, header, options((kind, b"abcd")) + b"data", GROUP if many else ME)
    assert wire.got == ([b"data"] if passes else [])
    assert wire.counted().get("Ip6InHdrErrors", 0) == (0 if passes else 1)
    assert problem(wire) == answer


@pytest.mark.parametrize(
    "header",
    [
        bytes((200, 0)) + bytes(6),  # Pad1 six times
        bytes((200, 0, 1, 4)) + bytes(4),
        bytes((200, 1, 1, 5)) + bytes(5) + bytes((0x1E, 3)) + bytes(3) + b"\1\0",  # counted anew behind an option
    ],
)
def test_padding(wire: Wire6, header: bytes) -> None:
    arrive(wire, 60, header + b"data")
    assert wire.got == [b"data"]


@pytest.mark.parametrize(
    "header",
    [
        bytes((200, 1)) + bytes(14),  # more than 7 bytes of padding
        bytes((200, 1, 1, 12)) + bytes(12),
        bytes((200, 0, 1, 4, 0, 0, 0, 1)),  # padding must be zero
        bytes((200, 0, 0x1E, 5)) + bytes(4),  # an option beyond the header
        bytes((200, 0, 0, 0, 0, 0, 0, 0x1E)),  # an option without a length
        bytes((200, 5)) + bytes(8),  # a header beyond the packet
        bytes((200, 2)) + bytes((0x1E, 0)) * 9 + bytes(4),  # more than 8 options
    ],
)
@pytest.mark.parametrize("kind", [0, 60])
def test_options_that_are_none(wire: Wire6, header: bytes, kind: int) -> None:
    arrive(wire, kind, header)
    assert wire.counted()["Ip6InHdrErrors"] == 1
    assert wire.got == []
    assert problem(wire) is None


def test_hop_by_hop_comes_first_or_not_at_all(wire: Wire6) -> None:
    arrive(wire, 60, options(nexthdr=0) + options() + b"data")
    assert wire.counted()["Ip6InUnknownProtos"] == 1
    assert problem(wire) == (1, 40)


@pytest.mark.parametrize("kind", [0, 2, 99])
def test_routing_headers(wire: Wire6, kind: int) -> None:
    """Skipped at the end of the way, refused before, whatever the type (RFC 5095 for type 0)."""
    arrive(wire, 43, routing(kind, 0) + b"data")
    assert wire.got == [b"data"]
    arrive(wire, 43, routing(kind, 1) + b"data")
    assert wire.got == [b"data"]
    assert wire.counted()["Ip6InHdrErrors"] == 1
    assert problem(wire) == (0, 42)


@pytest.mark.parametrize(("kind", "left"), [(3, 0), (3, 1), (4, 0), (4, 1)])
def test_routing_headers_that_are_switched_off(wire: Wire6, kind: int, left: int) -> None:
    arrive(wire, 43, routing(kind, left) + b"data")
    assert (wire.got, problem(wire)) == ([], None)


def test_routing_header_to_a_group(wire: Wire6) -> None:
    arrive(wire, 43, routing(2, 0) + b"data", GROUP)
    assert wire.counted()["Ip6InAddrErrors"] == 1
    assert wire.got == []


def test_what_sockets_learn_of_a_chain(wire: Wire6) -> None:
    seen: list[Ip6Cb] = []

    def handler(skb: SkBuff) -> None:
        cb = cb_of(skb)
        assert cb is not None
        seen.append(cb)

    wire.inet6.protos[200] = handler
    chain = options((5, b"\0\0"), nexthdr=60) + options(nexthdr=43) + routing(2, 0, 60) + options()
    arrive(wire, 0, chain + b"data")
    (cb,) = seen
    assert (cb.hop, cb.dst0, cb.routing, cb.dst1, cb.router_alert) == (40, 48, 56, 80, True)


@pytest.mark.parametrize("protocol", [50, 51])
def test_ipsec_is_unknown(wire: Wire6, protocol: int) -> None:
    arrive(wire, protocol, bytes(24))
    assert wire.counted()["Ip6InUnknownProtos"] == 1
    assert problem(wire) == (1, 6)


def jumbo(length: int, rest: bytes, payload_length: int = 0) -> bytes:
    header = bytes((200, 0, 0xC2, 4)) + length.to_bytes(4, "big")
    packet = bytearray(ipv6.build(PEER, ME, 0))
    packet[4:6] = payload_length.to_bytes(2, "big")
    return bytes(packet) + header + rest


def test_a_jumbogram(wire: Wire6) -> None:
    """RFC 2675: 70,000 bytes in one packet, and padding behind it."""
    wire.inject(jumbo(70008, bytes(70000) + b"padding"))
    assert [len(data) for data in wire.got] == [70000]


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        (jumbo(1000, bytes(992)), (0, 44)),  # it would fit the header's field
        (jumbo(70008, bytes(70000), 70008 & 0xFFFF), (0, 42)),  # two lengths
        (jumbo(80000, bytes(70000)), None),  # cut short
    ],
)
def test_jumbograms_that_are_none(wire: Wire6, packet: bytes, answer: tuple[int, int] | None) -> None:
    wire.inject(packet)
    assert wire.got == []
    assert "Ip6InDelivers" not in wire.counted()
    assert problem(wire) == answer
