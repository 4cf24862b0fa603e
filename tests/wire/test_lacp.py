"""LACPDUs: bytes after IEEE 802.1AX figure 6-7, round trips, truncation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import lacp
from pysock.wire.decode import Broken, decode_frame, summary
from pysock.wire.errors import Malformed
from pysock.wire.lacp import Lacpdu, Participant

A, B = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
PDU = Lacpdu(Participant(65535, A, 15, 255, 1, 0x3D), Participant(1, B, 7, 128, 9, 0x05), 10)
RAW = bytes.fromhex(
    "0101" "0114ffff020000000001000f00ff00013d000000" "0214000102000000000200070080000905000000"
    "0310000a" + "00" * 12 + "0000" + "00" * 50
)  # fmt: skip
U16 = st.integers(0, 0xFFFF)
ENDS = st.builds(Participant, U16, st.binary(min_size=6, max_size=6), U16, U16, U16, st.integers(0, 255))


def test_bytes() -> None:
    assert (len(RAW), lacp.build(PDU), lacp.parse(RAW)) == (110, RAW, PDU)
    frame = lacp.GROUP_ADDRESS + A + b"\x88\x09" + RAW
    assert decode_frame(frame)[1:] == [PDU]
    assert summary(frame) == (
        "LACPv1, actor 02:00:00:00:00:01 port 1 [Activity, Aggregation, Synchronization, Collecting, Distributing], "
        "partner 02:00:00:00:00:02 port 9 [Activity, Aggregation], length 110"
    )


@given(st.builds(Lacpdu, ENDS, ENDS, U16), st.integers(0, 9))
def test_round_trip(pdu: Lacpdu, lead: int) -> None:
    assert lacp.parse(bytes(lead) + lacp.build(pdu), lead) == pdu


@pytest.mark.parametrize(
    "raw", [b"", RAW[:109], b"\2" + RAW[1:], RAW[:3] + b"\x13" + RAW[4:], RAW[:42] + b"\0" + RAW[43:]]
)
def test_what_is_none(raw: bytes) -> None:
    with pytest.raises(Malformed):
        lacp.parse(raw)
    if raw[:1] == b"\1":
        assert isinstance(decode_frame(lacp.GROUP_ADDRESS + A + b"\x88\x09" + raw)[-1], Broken)
