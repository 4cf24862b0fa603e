"""Cutting super-segments."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import MAC, PEER, boot, ops_of, softirqs, wire

from pysock.core.device import NetDevice
from pysock.core.gso import gso_segment
from pysock.core.netdev_features import NETIF_F_GSO, NETIF_F_HW_CSUM, NETIF_F_SG
from pysock.core.skb_data import skb_checksum_help, skb_to_bytes
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6
from pysock.wire import decode, ethernet, ipv4, tcp
from pysock.wire.addr import inet_aton
from pysock.wire.checksum import pseudo_v4, verify

SRC, DST = inet_aton("10.0.0.1"), inet_aton("10.0.0.2")
FLAGS = tcp.ACK | tcp.PSH | tcp.FIN | tcp.CWR
LINK = ethernet.HEADER_SIZE


def super_segment(
    payload: bytes,
    gso_size: int,
    *,
    headroom: int = 0,
    cuts: tuple[int, ...] = (),
    seq: int = 0xFFFFFF00,
    ident: int = 0xFFFF,
    flags: int = FLAGS,
    options: bytes = b"\1\1\x08\x0a12345678",
    dev: NetDevice | None = None,
) -> SkBuff:
    """A TCP packet as the stack hands it down: its payload in frags, its checksum left to others."""
    segment = tcp.build(1000, 80, seq=seq, ack=7, flags=flags, window=500, options=options)
    packet = ipv4.build(SRC, DST, 6, segment, ident=ident, flags=ipv4.DF)
    head = bytes(headroom) + ethernet.build(PEER, MAC, ETH_P_IP, packet)
    edges = [0, *cuts, len(payload)]
    frags = tuple(payload[a:b] for a, b in pairwise(edges) if b > a)
    skb = SkBuff(head, headroom, len(head) - headroom + len(payload), len(payload), frags)
    skb.protocol = ETH_P_IP
    skb.network_header = headroom + LINK
    skb.transport_header = headroom + LINK + ipv4.HEADER_SIZE
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.csum_offset = tcp.CHECKSUM_OFFSET
    skb.gso_size = gso_size
    skb.dev = dev
    return skb


def parts(frame: bytes) -> tuple[ipv4.Ipv4Header, tcp.TcpHeader, bytes]:
    """The headers and payload of a finished frame, whose checksums must be right."""
    ip = ipv4.parse(frame, LINK)
    assert len(frame) == LINK + ip.total_length
    assert ipv4.verify(frame, LINK)
    segment = frame[LINK + ip.size :]
    assert verify(segment, pseudo_v4(ip.src, ip.dst, 6, len(segment)))
    header = tcp.parse(segment)
    return ip, header, segment[header.size :]


@given(st.integers(0, 700), st.integers(1, 200), st.sets(st.integers(1, 600), max_size=3), st.integers(0, 5))
def test_the_segments_are_the_stream_cut_at_gso_size(n: int, size: int, cuts: set[int], headroom: int) -> None:
    payload = bytes(i * 7 & 0xFF for i in range(n))
    edges = tuple(sorted(cut for cut in cuts if cut < n))
    skb = super_segment(payload, size, headroom=headroom, cuts=edges)
    before = skb_to_bytes(skb)
    segments = gso_segment(skb)
    assert skb_to_bytes(skb) == before
    assert len(segments) == max(1, -(-n // size))
    stream = b""
    for number, one in enumerate(segments):
        assert (one.ip_summed, one.gso_size, one.protocol) == (CHECKSUM_PARTIAL, 0, ETH_P_IP)
        skb_checksum_help(one)
        ip, header, data = parts(skb_to_bytes(one))
        first, last = number == 0, number == len(segments) - 1
        assert len(data) == size or last
        assert header.seq == (0xFFFFFF00 + len(stream)) & 0xFFFFFFFF
        assert (header.ack, header.window, header.options) == (7, 500, b"\1\1\x08\x0a12345678")
        expected = tcp.ACK | (tcp.PSH | tcp.FIN if last else 0) | (tcp.CWR if first else 0)
        assert header.flags == expected
        assert ip.ident == (0xFFFF + number) & 0xFFFF
        assert ip.flags == ipv4.DF
        stream += data
    assert stream == payload


def test_a_packet_whose_length_ip_cannot_say() -> None:
    skb = super_segment(bytes(100_000), 60_000)
    skb.head = skb.head[: LINK + 2] + b"\0\0" + skb.head[LINK + 4 :]  # BIG TCP
    assert [one.len for one in gso_segment(skb)] == [60_000 + 66, 40_000 + 66]


def test_what_nobody_can_cut() -> None:
    assert gso_segment(super_segment(b"x" * 10, 0)) == []
    assert gso_segment(super_segment(b"x" * 80_000, 66_000)) == []  # a segment that IP could not carry
    six = super_segment(b"x" * 10, 5)
    six.protocol = ETH_P_IPV6
    assert gso_segment(six) == []
    for offset, value in ((9, 17), (0, 0x44), (0, 0x65), (32, 0x40), (32, 0xF0)):
        skb = super_segment(b"", 5, options=b"")
        head = bytearray(skb.head)
        head[LINK + offset] = value
        skb.head = head
        assert gso_segment(skb) == [], (offset, value)
    skb = super_segment(b"", 5, options=b"")
    skb.head = skb.head[: LINK + 30]
    skb.len = LINK + 30
    assert gso_segment(skb) == []


@given(st.binary(min_size=1, max_size=90), st.integers(0, 90), st.integers(1, 50))
def test_any_bytes_are_cut_or_refused(raw: bytes, network: int, size: int) -> None:
    skb = SkBuff(raw, 0, len(raw))
    skb.protocol = ETH_P_IP
    skb.network_header = network
    skb.gso_size = size
    for one in gso_segment(skb):
        assert one.len <= len(raw)


@pytest.mark.parametrize("features", [NETIF_F_SG | NETIF_F_HW_CSUM, 0])
def test_a_device_that_cannot_cut_gets_wire_packets(features: int) -> None:
    kernel = boot()
    kernel.dev_layer.gso_segment = gso_segment
    dev = wire(kernel, features=features | NETIF_F_GSO)
    payload = bytes(range(250)) * 10
    assert dev.queue_xmit(super_segment(payload, 1000, dev=dev)) == 0
    softirqs(kernel)
    sent = ops_of(dev)
    assert len(sent.sent) == 3
    assert b"".join(frame[66:] for frame in sent.sent) == payload
    if not features:  # then the checksums are finished too
        for frame in sent.sent:
            parts(frame)
    assert decode.summary(sent.sent[-1]).endswith("length 500")
    assert dev.stats.tx_dropped == 0
