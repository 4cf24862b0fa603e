"""Ethernet, VLAN tags, ARP: bytes, round trips, truncation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import arp, ethernet, vlan
from pysock.wire.addr import inet_aton, mac_aton
from pysock.wire.errors import Malformed

A, B = mac_aton("02:00:00:00:00:01"), mac_aton("02:00:00:00:00:02")
MACS = st.binary(min_size=6, max_size=6)
U16 = st.integers(0, 0xFFFF)


def test_ethernet_bytes() -> None:
    frame = ethernet.build(B, A, 0x0800, b"payload")
    assert frame == B + A + b"\x08\x00payload"
    header = ethernet.parse(frame)
    assert header == ethernet.EthernetHeader(B, A, 0x0800)
    assert frame[header.size :] == b"payload"
    assert (
        ethernet.describe(header, b"payload")
        == "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 21"
    )


@given(MACS, MACS, U16, st.binary(max_size=50), st.integers(0, 9))
def test_ethernet_round_trip(dst: bytes, src: bytes, ethertype: int, payload: bytes, lead: int) -> None:
    frame = bytes(lead) + ethernet.build(dst, src, ethertype, payload)
    assert ethernet.parse(frame, lead) == ethernet.EthernetHeader(dst, src, ethertype)


def test_vlan_bytes() -> None:
    tag = vlan.build(5, True, 0x123, 0x0806)
    assert tag == b"\xb1\x23\x08\x06"
    assert vlan.describe(vlan.parse(tag)) == "vlan 291, p 5, DEI, ethertype ARP (0x0806)"


@given(st.integers(0, 7), st.booleans(), st.integers(0, 4095), U16)
def test_vlan_round_trip(pcp: int, dei: bool, vid: int, ethertype: int) -> None:
    assert vlan.parse(vlan.build(pcp, dei, vid, ethertype)) == vlan.VlanTag(pcp, dei, vid, ethertype)


def test_arp_request_and_reply() -> None:
    ip_a, ip_b = inet_aton("10.0.0.1"), inet_aton("10.0.0.2")
    request = arp.build(arp.REQUEST, A, ip_a, bytes(6), ip_b)
    assert request == bytes.fromhex("0001080006040001") + A + ip_a + bytes(6) + ip_b
    assert arp.ETHER_IPV4.unpack(request) == (1, 0x0800, 6, 4, 1, A, ip_a, bytes(6), ip_b)
    assert arp.describe(arp.parse(request)) == "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"
    reply = arp.parse(arp.build(arp.REPLY, B, ip_b, A, ip_a) + bytes(18))
    assert arp.describe(reply, bytes(18)) == "ARP, Reply 10.0.0.2 is-at 02:00:00:00:00:02, length 46"


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (arp.RREQUEST, "ARP, Reverse Request who-is 02:00:00:00:00:02 tell 02:00:00:00:00:01, length 28"),
        (arp.RREPLY, "ARP, Reverse Reply 02:00:00:00:00:02 at 10.0.0.2, length 28"),
        (9, "ARP, Unknown (9), length 28"),
    ],
)
def test_other_arp_operations(op: int, text: str) -> None:
    packet = arp.build(op, A, inet_aton("10.0.0.1"), B, inet_aton("10.0.0.2"))
    assert arp.describe(arp.parse(packet)) == text


@given(U16, U16, U16, st.binary(max_size=8), st.binary(max_size=16), st.data())
def test_arp_round_trip(hardware: int, protocol: int, op: int, hw: bytes, ip: bytes, data: st.DataObject) -> None:
    target_hw = data.draw(st.binary(min_size=len(hw), max_size=len(hw)))
    target_ip = data.draw(st.binary(min_size=len(ip), max_size=len(ip)))
    packet = arp.build(op, hw, ip, target_hw, target_ip, hardware=hardware, protocol=protocol)
    parsed = arp.parse(packet)
    assert parsed == arp.ArpPacket(hardware, protocol, op, hw, ip, target_hw, target_ip)
    assert parsed.size == len(packet)
    assert arp.describe(parsed).startswith("ARP, ")


@pytest.mark.parametrize(
    ("parse", "good"),
    [
        (ethernet.parse, ethernet.build(A, B, 1)),
        (vlan.parse, vlan.build(0, False, 1, 1)),
        (arp.parse, arp.build(1, A, bytes(4), B, bytes(4))),
    ],
)
def test_every_truncation_is_malformed(parse: object, good: bytes) -> None:
    assert callable(parse)
    parse(good)
    for length in range(len(good)):
        with pytest.raises(Malformed, match="truncated"):
            parse(good[:length])
    with pytest.raises(Malformed, match="truncated"):
        parse(good, len(good))
    with pytest.raises(Malformed, match="truncated"):
        parse(good, -1)


def test_build_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="dst must be 6 bytes"):
        ethernet.build(b"123", A, 0)
    with pytest.raises(ValueError, match="ethertype must be 0-65535"):
        ethernet.build(A, B, 65536)
    with pytest.raises(ValueError, match="vid must be 0-4095"):
        vlan.build(0, False, 4096, 0)
    with pytest.raises(ValueError, match="same lengths"):
        arp.build(1, A, bytes(4), B[:5], bytes(4))


def test_headers_compare_by_value_and_show_their_fields() -> None:
    header = vlan.VlanTag(1, False, 2, 3)
    assert repr(header) == "VlanTag(pcp=1, dei=False, vid=2, ethertype=3)"
    assert header != vlan.VlanTag(1, False, 2, 4)
    assert header != ethernet.EthernetHeader(A, B, 3)
    assert header != (1, False, 2, 3)
    with pytest.raises(TypeError, match="unhashable"):
        hash(header)
