"""struct virtio_net_hdr: byte for byte, both ways, and what makes no sense (virtio 1.2, 5.1.6)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.core.gso import SKB_GSO_TCP_ECN, SKB_GSO_TCPV4, SKB_GSO_TCPV6, SKB_GSO_UDP_L4
from pysock.core.skbuff import (
    CHECKSUM_NONE,
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    SkBuff,
    build_skb,
)
from pysock.drivers.tap.chardev import VNET_HDR_SIZE
from pysock.drivers.tap.vnet import from_skb, to_skb
from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6


def outgoing(headers: int, payload: int = 0, protocol: int = ETH_P_IP, room: int = 0) -> SkBuff:
    """A packet with its transport header at 34 and its checksum left to the device."""
    skb = SkBuff(bytes(room + headers), room, headers + payload, payload, (bytes(payload),) if payload else ())
    skb.protocol = protocol
    skb.transport_header = room + 34
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.csum_offset = 16
    return skb


def header(flags: int, gso: int = 0, hdr_len: int = 0, size: int = 0, start: int = 0, offset: int = 0) -> bytes:
    return struct.pack("=BBHHHH", flags, gso, hdr_len, size, start, offset)


def test_a_finished_packet_asks_for_nothing() -> None:
    skb = outgoing(60)
    skb.ip_summed = CHECKSUM_NONE
    assert from_skb(skb) == bytes(VNET_HDR_SIZE)


@pytest.mark.parametrize("room", [0, 6])
def test_a_checksum_left_to_the_device(room: int) -> None:
    assert from_skb(outgoing(60, room=room)) == header(1, start=34, offset=16)


@pytest.mark.parametrize(
    ("protocol", "kind", "gso"),
    [
        (ETH_P_IP, 0, 1),
        (ETH_P_IPV6, 0, 4),
        (ETH_P_IP, SKB_GSO_TCPV4, 1),
        (ETH_P_IPV6, SKB_GSO_TCPV6, 4),
        (ETH_P_IP, SKB_GSO_TCPV4 | SKB_GSO_TCP_ECN, 0x81),
        (ETH_P_IPV6, SKB_GSO_TCP_ECN, 0x84),
        (ETH_P_IPV6, SKB_GSO_UDP_L4, 5),
    ],
)
def test_a_super_segment(protocol: int, kind: int, gso: int) -> None:
    skb = outgoing(66, 40000, protocol)
    skb.gso_size = 1448
    if kind:
        skb.gso_type = kind
    assert from_skb(skb) == header(1, gso, 66, 1448, 34, 16)


def incoming(head: bytes, length: int = 100) -> SkBuff:
    return build_skb(head + bytes(length))


def test_received_with_a_partial_checksum() -> None:
    skb = incoming(header(1, start=34, offset=16))
    assert to_skb(skb)
    assert (skb.data, skb.len) == (VNET_HDR_SIZE, 100)
    assert (skb.ip_summed, skb.csum_start, skb.csum_offset) == (CHECKSUM_PARTIAL, VNET_HDR_SIZE + 34, 16)
    assert not skb.gso_size


def test_received_verified_or_not() -> None:
    verified, unknown = incoming(header(2)), incoming(header(0))
    assert to_skb(verified)
    assert to_skb(unknown)
    assert (verified.ip_summed, unknown.ip_summed) == (CHECKSUM_UNNECESSARY, CHECKSUM_NONE)


@pytest.mark.parametrize(
    ("gso", "kind"), [(1, 0), (4, 0), (0x81, SKB_GSO_TCPV4 | SKB_GSO_TCP_ECN), (5, SKB_GSO_UDP_L4)]
)
def test_received_super_segment(gso: int, kind: int) -> None:
    skb = incoming(header(1, gso, 66, 1448, 34, 16), 5000)
    assert to_skb(skb)
    assert (skb.gso_size, skb.gso_type) == (1448, kind)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        bytes(VNET_HDR_SIZE - 1),
        bytes(VNET_HDR_SIZE),  # nothing behind it
        header(1, start=90, offset=9) + bytes(100),  # the field ends outside
        header(1, start=0xFFFF, offset=0xFFFF) + bytes(100),
        header(1, 3, 66, 1448, 34, 16) + bytes(100),  # UFO, which nobody asked for
        header(1, 1, 66, 0, 34, 16) + bytes(100),  # a super-segment of nothing
        header(0, 1, 66, 1448) + bytes(100),  # without a checksum to finish
    ],
)
def test_headers_that_make_no_sense(packet: bytes) -> None:
    assert not to_skb(build_skb(packet))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(packet: bytes) -> None:
    skb = build_skb(packet)
    if to_skb(skb):
        assert skb.data == VNET_HDR_SIZE
        assert skb.len == len(packet) - VNET_HDR_SIZE
        if skb.ip_summed == CHECKSUM_PARTIAL:
            assert skb.csum_start + skb.csum_offset + 2 <= len(packet)


@given(st.sampled_from([ETH_P_IP, ETH_P_IPV6]), st.integers(0, 9000), st.integers(0, 60000))
def test_what_is_written_is_read(protocol: int, gso_size: int, payload: int) -> None:
    skb = outgoing(66, payload, protocol)
    skb.gso_size = gso_size
    back = build_skb(from_skb(skb) + bytes(skb.len))
    assert to_skb(back)
    assert back.csum_start - back.data == skb.csum_start - skb.data
    assert (back.ip_summed, back.csum_offset, back.gso_size) == (skb.ip_summed, skb.csum_offset, gso_size)
