"""What disciplines ask of a packet."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import frame
from support.qdiscs import raw, udp

from pysock.core.flow import flow_bytes, flow_hash
from pysock.core.skbuff import SkBuff
from pysock.sched.packets import set_ce, wire_length
from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6
from pysock.wire.checksum import verify


def ip6(ports: bytes = b"\0\1\0\2", tclass: int = 0, nexthdr: int = 17, front: bytes = b"") -> SkBuff:
    packet = (6 << 28 | tclass << 20 | 5).to_bytes(4, "big") + bytes((0, 12, nexthdr, 64)) + bytes(32) + front + ports
    data = frame(packet + bytes(8), ETH_P_IPV6)
    skb = SkBuff(data, 0, len(data))
    skb.protocol = ETH_P_IPV6
    skb.network_header = 14
    return skb


def changed(skb: SkBuff, at: int, value: int) -> SkBuff:
    head = bytearray(skb.head)
    head[at] = value
    skb.head = bytes(head)
    return skb


def test_flows_are_told_apart_by_addresses_ports_and_protocol() -> None:
    base = flow_bytes(udp(100))
    assert flow_bytes(udp(500, 9, tos=4)) == base
    for at in (23, 26, 33, 34, 37):  # protocol (TCP), addresses, ports
        assert flow_bytes(changed(udp(100), at, 6)) != base
    assert flow_bytes(changed(udp(100), 20, 0x20)) == base[:9]  # a fragment: by addresses alone
    paged = udp(100)
    paged.frags, paged.head = (bytes(paged.head[34:]),), paged.head[:34]
    paged.data_len = 66
    assert flow_bytes(paged) == base  # ports in a fragment of the buffer
    assert flow_bytes(raw(60)) == flow_bytes(raw(90)) != base


def test_flows_of_ipv6() -> None:
    base = flow_bytes(ip6())
    assert flow_bytes(ip6(b"\0\1\0\3")) != base
    assert flow_bytes(ip6(tclass=7)) == base
    hop_by_hop = ip6(nexthdr=0, front=bytes((17, 0, 1, 4, 0, 0, 0, 0)))
    assert flow_bytes(hop_by_hop) == base


def test_the_hash_is_the_same_in_every_run() -> None:
    assert flow_hash(udp(100)) == flow_hash(udp(200)) == crc32(flow_bytes(udp(100)))
    assert flow_hash(udp(100), 1) != flow_hash(udp(100))


@pytest.mark.parametrize(("tos", "after"), [(0, None), (1, 3), (2, 3), (3, 3), (0xB9, 0xBB)])
def test_marking(tos: int, after: int | None) -> None:
    skb = udp(100, tos=tos)
    assert set_ce(skb) is (after is not None)
    assert skb.head[15] == (tos if after is None else after)
    assert verify(bytes(skb.head[14:34]))
    assert len(skb.head) == 100
    skb = ip6(tclass=tos)
    assert set_ce(skb) is (after is not None)
    assert int.from_bytes(skb.head[14:18], "big") >> 20 & 0xFF == (tos if after is None else after)
    assert skb.head[16:18] == b"\0\5"


def test_what_is_not_ip_is_not_marked() -> None:
    skb = raw(100)
    assert not set_ce(skb)
    skb.protocol = ETH_P_IP
    skb.network_header = 95
    assert not set_ce(skb)


def test_a_super_segment_counts_its_headers_for_each_segment() -> None:
    skb = SkBuff(bytes(66), 0, 66 + 2500, 2500, (bytes(2500),))
    skb.head = bytes(46) + b"\x80" + bytes(19)  # 32 bytes of TCP
    skb.transport_header = 34
    assert wire_length(skb) == 2566
    skb.gso_size = 1000
    assert wire_length(skb) == 2566 + 2 * 66


@given(st.binary(max_size=60), st.integers(-1, 70), st.sampled_from([ETH_P_IP, ETH_P_IPV6, 0x88B5]))
def test_no_packet_makes_them_raise(data: bytes, network: int, protocol: int) -> None:
    skb = SkBuff(data, 0, len(data))
    skb.protocol = protocol
    skb.network_header = skb.transport_header = network
    skb.gso_size = 5
    flow_hash(skb)
    wire_length(skb)
    set_ce(skb)
    assert skb.len == len(skb.head)
