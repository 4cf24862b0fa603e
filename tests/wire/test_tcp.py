"""TCP segments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import checksum as csum
from pysock.wire import tcp
from pysock.wire.addr import inet6_aton, inet_aton
from pysock.wire.errors import Malformed
from pysock.wire.tcp_options import TcpOptions

V4 = inet_aton("10.0.0.1"), inet_aton("10.0.0.2")
V6 = inet6_aton("fe80::1"), inet6_aton("fe80::2")
U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
OPTIONS = st.integers(0, 10).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))


def test_bytes_of_a_syn() -> None:
    segment = tcp.build(
        43210, 80, seq=1, flags=tcp.SYN, window=65495, options=TcpOptions(mss=65495, sack_permitted=True, wscale=7)
    )
    assert segment[:20] == bytes.fromhex("a8ca 0050 00000001 00000000 8002 ffd7 0000 0000")
    assert segment[20:] == bytes.fromhex("0204ffd7 01010402 01030307")


@given(U16, U16, st.binary(max_size=40), U32, U32, st.integers(0, 0x1FF), U16, U16, OPTIONS, U16)
def test_round_trip(
    src: int,
    dst: int,
    payload: bytes,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    urgent: int,
    options: bytes,
    check: int,
) -> None:
    segment = tcp.build(
        src, dst, payload, seq=seq, ack=ack, flags=flags, window=window, urgent=urgent, options=options, checksum=check
    )
    header = tcp.parse(b"xy" + segment, 2)
    assert header == tcp.TcpHeader(src, dst, seq, ack, flags, window, check, urgent, options)
    assert segment[header.size :] == payload
    assert tcp.describe(header, payload).endswith(f"length {len(payload)}")


@given(st.sampled_from([V4, V6]), st.binary(max_size=50))
def test_the_computed_checksum_verifies(addresses: tuple[bytes, bytes], payload: bytes) -> None:
    segment = tcp.build(1, 2, payload, flags=tcp.ACK, addresses=addresses)
    pseudo = csum.pseudo(*addresses, 6, len(segment))
    assert csum.verify(segment, pseudo)
    assert not csum.verify(segment[:-1] + bytes([segment[-1] ^ 1]), pseudo)


@given(st.binary(max_size=80), st.booleans(), st.integers(-2, 90))
def test_any_bytes_parse_or_are_malformed(raw: bytes, partial: bool, offset: int) -> None:
    try:
        header = tcp.parse(raw, offset, partial=partial)
    except Malformed:
        return
    assert tcp.describe(header).startswith("Flags [")


def test_contradictions() -> None:
    segment = tcp.build(1, 2, options=bytes(4))
    with pytest.raises(Malformed, match="truncated TCP options"):
        tcp.parse(segment[:23])
    assert tcp.parse(segment[:23], partial=True).options == bytes(3)
    with pytest.raises(Malformed, match="truncated TCP header"):
        tcp.parse(segment[:19])
    with pytest.raises(Malformed, match="data offset 16"):
        tcp.parse(segment[:12] + b"\x40" + segment[13:])


def test_build_refuses() -> None:
    with pytest.raises(ValueError, match="at most 40"):
        tcp.build(1, 2, options=bytes(41))
    with pytest.raises(ValueError, match="seq must be"):
        tcp.build(1, 2, seq=2**32)
    with pytest.raises(ValueError, match="flags must be"):
        tcp.build(1, 2, flags=0x200)


@pytest.mark.parametrize(
    ("fields", "payload", "text"),
    [
        ({"flags": tcp.SYN, "seq": 5, "window": 9}, b"", "Flags [S], seq 5, win 9, length 0"),
        (
            {"flags": tcp.SYN | tcp.ACK, "seq": 5, "ack": 6, "window": 9},
            b"",
            "Flags [S.], seq 5, ack 6, win 9, length 0",
        ),
        (
            {"flags": tcp.PSH | tcp.ACK, "seq": 2**32 - 1, "ack": 6},
            b"abc",
            "Flags [P.], seq 4294967295:2, ack 6, win 0, length 3",
        ),
        ({"flags": tcp.ACK, "ack": 6}, b"", "Flags [.], ack 6, win 0, length 0"),
        ({"flags": tcp.RST, "seq": 7}, b"", "Flags [R], seq 7, win 0, length 0"),
        (
            {"flags": tcp.FIN | tcp.ACK | tcp.URG, "seq": 7, "ack": 1, "urgent": 3},
            b"",
            "Flags [F.U], seq 7, ack 1, win 0, urg 3, length 0",
        ),
        ({}, b"", "Flags [none], win 0, length 0"),
        (
            {"flags": tcp.ACK, "options": TcpOptions(timestamps=(1, 2))},
            b"",
            "Flags [.], ack 0, win 0, options [nop,nop,TS val 1 ecr 2], length 0",
        ),
    ],
)
def test_describe(fields: dict[str, int], payload: bytes, text: str) -> None:
    assert tcp.describe(tcp.parse(tcp.build(1, 2, payload, **fields)), payload) == text


def test_flag_names() -> None:
    assert tcp.flag_names(tcp.SYN | tcp.ACK) == "SYN|ACK"
    assert tcp.flag_names(tcp.ECE | tcp.CWR | tcp.AE) == "ECE|CWR|AE"
    assert tcp.flag_names(0) == "none"
