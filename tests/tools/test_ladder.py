"""Captures as ladders."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.inet_api import boot, connection, datagram_socket

from pysock.lab.capture import Capture
from pysock.lab.pcapng import Packet
from pysock.tools.ladder import conversations, flag_text, hint, ladder, relative
from pysock.wire import arp, ethernet, ipv4, ipv6, tcp, udp
from pysock.wire.addr import inet6_aton, inet_aton

A, B = inet_aton("10.0.0.1"), inet_aton("10.0.0.2")
START = 1_767_225_600_000_000_000
WRAP = 0xFFFFFFFF


def segment(
    at_us: int, forth: bool, flags: int, seq: int, ack: int = 0, payload: bytes = b"", **more: object
) -> Packet:
    """A segment between 10.0.0.1:1000 and 10.0.0.2:80, ``at_us`` microseconds after the start."""
    more.setdefault("window", 100)
    ends = (A, B, 1000, 80) if forth else (B, A, 80, 1000)
    body = tcp.build(*ends[2:], payload, seq=seq, ack=ack, flags=flags, **more)  # type: ignore[arg-type]
    frame = ethernet.build(bytes(6), bytes(6), 0x0800, ipv4.build(*ends[:2], 6, body))
    return Packet(START + at_us * 1000, "eth0", frame, True, len(frame))


HANDSHAKE = [
    segment(0, True, tcp.SYN, WRAP, options=tcp.TcpOptions(mss=1460)),
    segment(100, False, tcp.SYN | tcp.ACK, 50, 0, options=b"\2\1"),
    segment(150, True, tcp.ACK, 0, 51),
]


def test_a_whole_connection() -> None:
    packets = [
        *HANDSHAKE,
        segment(1000, True, tcp.ACK | tcp.PSH, 0, 51, b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"),
        segment(201_000, True, tcp.ACK | tcp.PSH, 0, 51, b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"),
        segment(201_100, False, tcp.ACK, 51, 27, window=0),
        segment(201_200, False, tcp.ACK | tcp.PSH | tcp.FIN, 51, 27, b"\0\1"),
        segment(201_300, True, tcp.RST, 27, window=0),
    ]
    assert (
        ladder(packets, 72)
        == """\
time (s)   10.0.0.1:1000                                     10.0.0.2:80
  0.000000 ├─ SYN seq 0 win 100 mss 1460 ─────────────────────────────▶│
  0.000100 │◀──────────────────────────── SYN ACK seq 0 ack 1 win 100 ─┤
  0.000150 ├─ ACK ack 1 ──────────────────────────────────────────────▶│
  0.001000 ├─ PSH 1:28 ack 1 len 27 "GET / HTTP/1.1" ─────────────────▶│
  0.201000 ├─ PSH 1:28 ack 1 len 27 again "GET / HTTP/1.1" ───────────▶│
  0.201100 │◀─────────────────────────────────────── ACK ack 28 win 0 ─┤
  0.201200 │◀─────────────────────────────── FIN PSH 1:3 ack 28 len 2 ─┤
  0.201300 ├─ RST seq 28 ─────────────────────────────────────────────▶│"""
    )
    narrow = ladder(packets, 20, ascii=True).splitlines()
    assert narrow[5] == '  0.201000 |- PSH 1:28 ack 1 len 27 again "GET / HTTP... ->|'
    assert {len(line) for line in narrow} == {60}


def test_a_capture_that_begins_in_the_middle() -> None:
    packets = [segment(0, True, tcp.ACK, 5000, 7000, b"\xffdata"), segment(1, False, tcp.ACK, 7000, 5005)]
    assert [line[11:].strip("├┤│◀▶─ ") for line in ladder(packets).splitlines()[1:]] == [
        "ACK 0:5 ack 1 len 5",
        "ACK ack 5",
    ]


def test_another_connection_between_the_same_ports() -> None:
    again = segment(9, True, tcp.SYN, 4711)
    talks, rest = conversations([*HANDSHAKE, HANDSHAKE[0], again, segment(10, True, tcp.SYN, 4711)])
    assert not rest
    assert [[label for *_, label in talk.rows] for talk in talks] == [
        ["SYN seq 0 win 100 mss 1460", "SYN ACK seq 0 ack 1 win 100", "ACK ack 1", "SYN seq 0 win 100 mss 1460 again"],
        ["SYN seq 0 win 100", "SYN seq 0 win 100 again"],
    ]


def test_datagrams_of_both_versions_and_the_rest() -> None:
    six = inet6_aton("fe80::1"), inet6_aton("fe80::2")
    frames = [
        ethernet.build(bytes(6), bytes(6), 0x86DD, ipv6.build(*six, 17, udp.build(53, 1024, b"hi"))),
        ethernet.build(bytes(6), bytes(6), 0x0800, ipv4.build(A, B, 17, udp.build(53, 1024, b""))),
        ethernet.build(bytes(6), bytes(6), 0x0806, arp.build(arp.REQUEST, bytes(6), A, bytes(6), B)),
        b"",
    ]
    text = ladder([Packet(START, "eth0", frame) for frame in frames], 60)
    assert "fe80::1:53" in text and "fe80::2:1024" in text
    assert 'UDP len 2 "hi" ─' in text and "UDP len 0 ─" in text
    blocks = text.split("\n\n")
    assert len(blocks) == 3
    assert blocks[2].splitlines()[0] == "other packets"
    assert "who-has 10.0.0.2" in blocks[2] and "[|Ethernet]" in blocks[2]


def test_of_a_real_capture() -> None:
    kernel = boot()
    with Capture(kernel.init_net) as capture:
        server, client, peer = connection(kernel)
        client.send(b"hello\n")
        datagram_socket(kernel, 5353).connect(("127.0.0.1", 5353))
    assert capture.packets
    for sock in (client, peer, server):
        sock.close()
    _, syn, syn_ack, ack, data, *_ = ladder(capture.packets).splitlines()
    assert [line.split()[2] for line in (syn, ack, data)] == ["SYN", "ACK", "PSH"]
    assert "SYN ACK seq 0 ack 1" in syn_ack
    assert 'PSH 1:7 ack 1 len 6 "hello"' in data


def test_no_packets() -> None:
    assert ladder([]) == "(no packets)"


def test_numbers_count_across_the_wrap() -> None:
    assert relative(4, WRAP) == 5
    assert relative(WRAP, 4) == -5
    assert relative(0x7FFFFFFF, 0) == 0x7FFFFFFF


def test_flags_and_hints() -> None:
    assert flag_text(tcp.SYN | tcp.ACK) == "SYN ACK"
    assert flag_text(tcp.ACK) == "ACK"
    assert flag_text(tcp.RST | tcp.ACK) == "RST"
    assert flag_text(0) == "none"
    assert hint(b"GET /\r\nmore \xff") == '"GET /"'
    assert hint(b"a" * 50) == f'"{"a" * 44}..."'
    assert hint(b"\x00abc") == hint(b"") == hint(b"\n") == ""


@given(st.lists(st.tuples(st.binary(max_size=90), st.integers(0, 10**18)), max_size=5), st.booleans())
def test_any_packets_fit_the_width(packets: list[tuple[bytes, int]], ascii: bool) -> None:
    start = ethernet.build(bytes(6), bytes(6), 0x0800, ipv4.build(A, B, 6, bytes(20)))
    text = ladder([Packet(at, "eth0", start[:34] + raw) for raw, at in packets], 100, ascii=ascii)
    for block in text.split("\n\n"):
        if not block.startswith("other"):
            assert all(len(line) <= 100 for line in block.splitlines())
