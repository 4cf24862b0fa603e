"""IPv6 input: what is dropped and where it is counted, what is delivered (RFC 8200 3, RFC 4291 2)."""

from __future__ import annotations

import pytest
from support.inet6_hosts import Wire6, a6, parsed

from pysock.core.dev import netif_rx
from pysock.core.skb_data import skb_copy_bits
from pysock.core.skbuff import SkBuff
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.if_packet import PACKET_OTHERHOST
from pysock.wire import icmpv6, ipv6

ME = a6("2001:db8::1")
PEER = a6("2001:db8::2")


def good(payload: bytes = b"payload", dst: bytes = ME, src: bytes = PEER, protocol: int = 200, **more: int) -> bytes:
    return ipv6.build(src, dst, protocol, payload, **more)


@pytest.fixture
def wire(wire: Wire6) -> Wire6:
    wire.listen()
    return wire


@pytest.mark.parametrize("wrap", [bytes, bytearray])
@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x60",
        good()[:39],
        b"\x40" + good()[1:],
        good(src=a6("::1")),  # ::1 stays inside (RFC 4291 2.5.3)
        good(dst=a6("::1")),
        good(src=a6("ff02::1")),
        good(dst=a6("ff00::1")),
        good(dst=a6("ff01::1")),
    ],
)
def test_headers_that_are_none(wire: Wire6, packet: bytes, wrap: type) -> None:
    wire.inject(wrap(packet))
    assert wire.counted() == {**wire.counted(), "Ip6InReceives": 1, "Ip6InHdrErrors": 1}
    assert wire.got == []
    assert wire.sent() == []


def test_cut_short(wire: Wire6) -> None:
    wire.inject(good()[:-1])
    assert wire.counted()["Ip6InTruncatedPkts"] == 1
    assert wire.got == []


def test_padding_is_cut_off(wire: Wire6) -> None:
    wire.inject(good() + b"padding")
    assert wire.got == [b"payload"]


def test_frames_for_others(wire: Wire6) -> None:
    wire.inject(good(), pkt_type=PACKET_OTHERHOST)
    assert wire.got == []
    assert "Ip6InDelivers" not in wire.counted()


def test_switched_off(wire: Wire6) -> None:
    wire.sysctl("net.ipv6.conf.w0.disable_ipv6", 1)
    wire.inject(good())
    assert wire.counted()["Ip6InDiscards"] == 1
    wire.sysctl("net.ipv6.conf.w0.disable_ipv6", 0)
    wire.inject(good(dst=wire.linklocal()))
    assert wire.got == [b"payload"]


@pytest.mark.parametrize("cut", [0, 1, 39, 40, 41, 46, 47])
def test_in_pieces(wire: Wire6, cut: int) -> None:
    """However a driver divides it between the linear part and a fragment."""
    raw = good()
    skb = SkBuff(raw[:cut], 0, len(raw), len(raw) - cut, (raw[cut:],) if cut < len(raw) else ())
    skb.dev = wire.dev()
    skb.protocol = ETH_P_IPV6
    wire.call(netif_rx, skb)
    assert wire.got == [b"payload"]


def test_the_offsets_that_a_transport_gets(wire: Wire6) -> None:
    seen: list[tuple[int, int, int, bytes]] = []
    wire.inet6.protos[201] = lambda skb: seen.append(
        (skb.network_header, skb.transport_header, skb.data, skb_copy_bits(skb, 0, skb.len))
    )
    options = ipv6.build_options(201, [])
    wire.inject(good(options + b"data", protocol=60))
    assert seen == [(0, 48, 48, b"data")]


def test_unknown_protocols_are_refused(wire: Wire6) -> None:
    wire.inject(good(protocol=250))
    assert wire.counted()["Ip6InUnknownProtos"] == 1
    (answer,) = wire.sent()
    header, _, protocol, message = parsed(answer)
    assert (header.src, header.dst, protocol) == (ME, PEER, 58)
    error = icmpv6.parse(message)
    assert (error.type, error.code, error.rest) == (icmpv6.PARAMPROB, 1, 6)
    assert message[8:] == good(protocol=250)
    assert icmpv6.verify(message, ME, PEER)


def test_no_next_header_is_the_end(wire: Wire6) -> None:
    wire.inject(good(protocol=59))
    assert wire.counted()["Ip6InDelivers"] == 1
    assert wire.sent() == []


def test_raw_sockets_get_copies_first(wire: Wire6) -> None:
    taken: list[int] = []

    def raw(skb: SkBuff, protocol: int) -> bool:
        taken.append(protocol)
        return protocol == 250

    wire.inet6.raw_deliver = raw
    wire.inject(good(protocol=250))
    wire.inject(good())
    assert taken == [250, 200]
    assert wire.got == [b"payload"]
    assert wire.counted()["Ip6InDelivers"] == 2
    assert wire.sent() == []


def test_groups_only_for_members(wire: Wire6) -> None:
    wire.inject(good(dst=a6("ff02::1")))
    wire.inject(good(dst=a6("ff02::77")))
    assert wire.got == [b"payload"]
    assert wire.counted()["Ip6InMcastPkts"] == 2


def test_not_ours_and_we_are_no_router(wire: Wire6) -> None:
    wire.inject(good(dst=a6("2001:db8::7")))
    assert wire.counted()["Ip6InAddrErrors"] == 1
    wire.inject(good(dst=a6("2001:db9::7")))
    assert wire.counted()["Ip6InNoRoutes"] == 1
    (answer,) = wire.sent()
    assert icmpv6.parse(parsed(answer)[3]).type == icmpv6.DEST_UNREACH
    wire.inject(good(dst=bytes(16)))
    assert wire.counted()["Ip6InAddrErrors"] == 2
    assert len(wire.sent()) == 1


def test_a_transport_that_raises_costs_its_packet_only() -> None:
    wire = Wire6()

    def broken(skb: SkBuff) -> None:
        raise ValueError("broken plugin")

    wire.listen()
    wire.inet6.protos[201] = broken
    wire.inject(good(protocol=201))
    wire.inject(good())
    assert wire.got == [b"payload"]
    assert "broken plugin" in wire.log[0]


def test_known_connections_take_the_short_way(wire: Wire6) -> None:
    taken: list[object] = []
    wire.inet6.protos[6] = lambda skb: taken.append((skb.sk, skb.data, skb.len))
    segment = b"\x12\x34\x00\x50" + bytes(16)
    packet = good(segment, protocol=6)
    mark = object()
    wire.inet6.early_demux[packet[8:44]] = mark
    wire.inject(packet)
    wire.inject(packet + b"padding")  # not so plain: the transport looks the connection up itself
    assert taken == [(mark, 40, 20), (None, 40, 20)]
