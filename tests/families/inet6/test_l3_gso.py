"""Cutting IPv6 super-segments, and finding the end of a chain of extension headers."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies
from support.inet6_hosts import a6

from pysock.core.gso import gso_segment
from pysock.core.skb_data import skb_checksum_help, skb_to_bytes
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.wire import ipv6, tcp
from pysock.wire.checksum import pseudo_v6, verify

SRC, DST = a6("2001:db8::1"), a6("2001:db8::2")
LINK = bytes(12) + b"\x86\xdd"
FLAGS = tcp.ACK | tcp.PSH | tcp.FIN | tcp.CWR


def super_segment(payload: bytes, size: int, options: bytes = b"", first: int = 6) -> SkBuff:
    head = LINK + ipv6.build(SRC, DST, first, options + tcp.build(1, 2, seq=0xFFFFFFF0, flags=FLAGS))
    skb = SkBuff(head, 0, len(head) + len(payload), len(payload), (payload,))
    skb.protocol = ETH_P_IPV6
    skb.network_header = 14
    skb.transport_header = 54 + len(options)
    skb.ip_summed, skb.csum_offset, skb.gso_size = CHECKSUM_PARTIAL, tcp.CHECKSUM_OFFSET, size
    return skb


@pytest.mark.parametrize("options", [b"", ipv6.build_options(6, [(0x1E, b"abc")])])
@pytest.mark.parametrize("total", [1, 1440, 5000, 200_000])
def test_segments_are_whole_packets(total: int, options: bytes) -> None:
    payload = bytes(i * 7 & 0xFF for i in range(total))
    found = gso_segment(super_segment(payload, 1440, options, 60 if options else 6))
    stream = b""
    for number, one in enumerate(found):
        skb_checksum_help(one)
        packet = skb_to_bytes(one)[14:]
        header = ipv6.parse(packet)
        assert header.payload_length == len(packet) - 40
        segment = packet[40 + len(options) :]
        assert verify(segment, pseudo_v6(SRC, DST, 6, len(segment)))
        got = tcp.parse(segment)
        assert got.seq == (0xFFFFFFF0 + len(stream)) & 0xFFFFFFFF
        assert bool(got.flags & tcp.FIN) == (number == len(found) - 1)
        assert bool(got.flags & tcp.CWR) == (number == 0)
        stream += segment[20:]
    assert stream == payload
    assert len(found) == -(-total // 1440)


@pytest.mark.parametrize(
    "skb", [super_segment(b"x", 0), super_segment(b"x", 1, first=17), super_segment(b"", 1, b"\6", 60)]
)
def test_what_cannot_be_cut(skb: SkBuff) -> None:
    assert gso_segment(skb) == []


@given(strategies.lists(strategies.sampled_from([0, 43, 44, 51, 60]), max_size=5), strategies.binary(max_size=20))
def test_skipping_agrees_with_walking(kinds: list[int], rest: bytes) -> None:
    protocol = 200
    for kind in kinds:
        body = bytes((protocol, 0)) + bytes(6 if kind != 51 else 10)
        rest = (body[:1] + b"\x01" + body[2:] if kind == 51 else body) + rest
        protocol = kind
    _, expected, offset = ipv6.walk(protocol, rest)
    assert ipv6.skip_extensions(protocol, rest) == (offset, expected, 0)


@given(strategies.integers(0, 255), strategies.binary(max_size=60))
def test_skipping_never_raises(protocol: int, rest: bytes) -> None:
    offset, found, _ = ipv6.skip_extensions(protocol, rest)
    assert offset == -1 or offset >= 0
    assert 0 <= found <= 255
