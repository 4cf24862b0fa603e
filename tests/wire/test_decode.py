"""Whole frames: layers and one-line summaries."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pysock.wire import arp, decode, ethernet, icmp, icmpv6, igmp, ipv4, ipv6, tcp, udp, vlan
from pysock.wire.addr import inet6_aton, inet_aton, mac_aton
from pysock.wire.tcp_options import TcpOptions

MAC_A, MAC_B = mac_aton("02:00:00:00:00:01"), mac_aton("02:00:00:00:00:02")
LO = inet_aton("127.0.0.1")
A, B = inet_aton("10.0.0.1"), inet_aton("10.0.0.2")
A6, B6 = inet6_aton("fe80::1"), inet6_aton("fe80::2")


def eth(ethertype: int, payload: bytes) -> bytes:
    return ethernet.build(MAC_B, MAC_A, ethertype, payload)


def four(protocol: int, payload: bytes, ident: int = 0, flags: int = 0, fragment: int = 0) -> bytes:
    return eth(0x0800, ipv4.build(A, B, protocol, payload, ident=ident, flags=flags, fragment=fragment))


def six(protocol: int, payload: bytes) -> bytes:
    return eth(0x86DD, ipv6.build(A6, B6, protocol, payload))


SYN = tcp.build(
    43210,
    80,
    seq=1,
    flags=tcp.SYN,
    window=65495,
    options=TcpOptions(mss=65495, sack_permitted=True, timestamps=(1, 0), wscale=7),
    addresses=(LO, LO),
)
IN_SYN = (
    "IP 127.0.0.1.43210 > 127.0.0.1.80: Flags [S], seq 1, win 65495, "
    "options [mss 65495,sackOK,TS val 1 ecr 0,nop,wscale 7], length 0"
)
HELLO = tcp.build(1, 2, b"hello", seq=10, flags=tcp.ACK | tcp.PSH)
EMPTY = udp.build(1, 2)
ECHO = icmp.build_echo(1, 1, bytes(56))
LISTEN = ipv6.build_options(58, [(5, b"\0\0")]) + icmpv6.build(131, 0, 0, B6)

LINES = [
    (eth(0x0800, ipv4.build(LO, LO, 6, SYN)), IN_SYN),
    (four(6, HELLO) + bytes(9), "IP 10.0.0.1.1 > 10.0.0.2.2: Flags [P.], seq 10:15, ack 0, win 0, length 5"),
    (four(17, udp.build(4000, 53, b"query")), "IP 10.0.0.1.4000 > 10.0.0.2.53: UDP, length 5"),
    (four(1, ECHO), "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 1, length 64"),
    (four(2, igmp.build(0x16, 0, B)), "IP 10.0.0.1 > 10.0.0.2: igmp v2 report 10.0.0.2"),
    (four(47, b"1234"), "IP 10.0.0.1 > 10.0.0.2: ip-proto-47 4"),
    (four(17, bytes(8), ident=5, fragment=8), "IP 10.0.0.1 > 10.0.0.2: (frag 5:8@8)"),
    (
        four(17, udp.build(1, 2, bytes(40))[:16], flags=ipv4.MF),
        "IP 10.0.0.1.1 > 10.0.0.2.2: UDP, length 40",
    ),
    (
        four(4, ipv4.build(LO, LO, 17, EMPTY)),
        "IP 10.0.0.1 > 10.0.0.2: IP 127.0.0.1.1 > 127.0.0.1.2: UDP, length 0",
    ),
    (
        eth(0x0806, arp.build(arp.REQUEST, MAC_A, A, bytes(6), B)),
        "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28",
    ),
    (
        eth(0x8100, vlan.build(0, False, 5, 0x0800, ipv4.build(A, B, 17, EMPTY))),
        "vlan 5, p 0, ethertype IPv4 (0x0800), IP 10.0.0.1.1 > 10.0.0.2.2: UDP, length 0",
    ),
    (six(6, tcp.build(1, 2, flags=tcp.ACK)), "IP6 fe80::1.1 > fe80::2.2: Flags [.], ack 0, win 0, length 0"),
    (
        six(58, icmpv6.build(128, 0, 1, b"x")),
        "IP6 fe80::1 > fe80::2: ICMP6, echo request, id 0, seq 1, length 9",
    ),
    (
        six(0, LISTEN),
        "IP6 fe80::1 > fe80::2: HBH ICMP6, multicast listener report, addr fe80::2, length 24",
    ),
    (
        six(44, ipv6.build_fragment(17, 8, False, 1) + b"xx"),
        "IP6 fe80::1 > fe80::2: frag (0x00000001:8)",
    ),
    (six(132, b"1234"), "IP6 fe80::1 > fe80::2: ip-proto-132 4"),
    (
        eth(0x1234, b"abc"),
        "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype Unknown (0x1234), length 17",
    ),
    (b"short", "[|Ethernet] truncated Ethernet header: 5 of 14 bytes"),
    (eth(0x0800, b"\x45"), "[|IP] truncated IPv4 header: 1 of 20 bytes"),
    (four(6, b"abc"), "IP 10.0.0.1 > 10.0.0.2: [|TCP] truncated TCP header: 3 of 20 bytes"),
]


@pytest.mark.parametrize(("frame", "line"), LINES, ids=[line for _, line in LINES])
def test_summary(frame: bytes, line: str) -> None:
    assert decode.summary(frame) == decode.summary(bytearray(frame)) == line


def test_layers() -> None:
    frame = eth(0x0800, ipv4.build(A, B, 17, udp.build(4000, 53, b"query")) + bytes(13))
    layers = decode.decode_frame(frame)
    assert [type(layer) for layer in layers] == [
        ethernet.EthernetHeader, ipv4.Ipv4Header, udp.UdpHeader, decode.Data,
    ]  # fmt: skip
    assert layers[-1] == decode.Data(b"query")  # Ethernet's padding is not data


def test_a_bare_packet_shows_its_version() -> None:
    assert decode.summary_packet(ipv4.build(LO, LO, 6, SYN)) == IN_SYN
    assert decode.summary_packet(ipv6.build(A6, B6, 17, udp.build(1, 2))) == "IP6 fe80::1.1 > fe80::2.2: UDP, length 0"
    assert decode.summary_packet(b"") == "[|IP] truncated IPv4 header: 0 of 20 bytes"


def test_nesting_has_an_end() -> None:
    tags = eth(0x8100, vlan.build(0, False, 1, 0x8100) * 5000)
    layers = decode.decode_frame(tags)
    assert len(layers) == decode.MAX_NESTING + 2
    assert isinstance(layers[-1], decode.Broken)


GOOD = st.sampled_from([frame for frame, _ in LINES])


@given(st.binary(max_size=120))
@example(b"")
def test_no_bytes_raise(raw: bytes) -> None:
    for ethertype in (0x0800, 0x86DD, 0x0806, 0x8100):
        assert decode.summary(eth(ethertype, raw))
    assert decode.summary(raw)
    assert decode.summary_packet(raw)


@given(st.integers(0, 255), st.binary(max_size=80))
def test_no_payload_of_any_protocol_raises(protocol: int, raw: bytes) -> None:
    assert decode.summary_packet(ipv4.build(A, B, protocol, raw)).startswith("IP 10.0.0.1")
    assert decode.summary_packet(ipv6.build(A6, B6, protocol, raw)).startswith("IP6")


@given(GOOD, st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.integers(0, 200))
def test_no_corruption_raises(frame: bytes, changes: list[tuple[int, int]], length: int) -> None:
    broken = bytearray(frame)
    for at, value in changes:
        if broken:
            broken[at % len(broken)] = value
    assert decode.summary(bytes(broken[:length]))
    assert decode.summary(bytes(broken))
