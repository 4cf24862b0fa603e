"""Spanning tree BPDUs: bytes recorded from Linux 6.18, round trips, truncation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import stp
from pysock.wire.decode import Broken, decode_frame, summary
from pysock.wire.errors import Malformed

FRAME = bytes.fromhex(
    "0180c200000002000000000100264242030000000001800002000000000100000000800002000000000180010000060001000200"
)
BRIDGE = bytes.fromhex("8000020000000001")
U16 = st.integers(0, 0xFFFF)
IDS = st.binary(min_size=8, max_size=8)


def test_config_bytes() -> None:
    bpdu = stp.ConfigBpdu(stp.FLAG_TC, BRIDGE, 0, BRIDGE, 0x8001, 0, 6 * 256, 256, 512)
    assert stp.parse(FRAME, 17) == bpdu
    assert FRAME[14:] == stp.LLC + stp.build(bpdu)
    assert summary(FRAME) == (
        "STP 802.1d, Config, Flags [Topology change], bridge-id 8000.02:00:00:00:00:01.8001, length 35"
    )


def test_tcn_bytes() -> None:
    assert stp.build(stp.TcnBpdu()) == b"\0\0\0\x80"
    frame = FRAME[:12] + b"\0\7" + stp.LLC + b"\0\0\0\x80" + bytes(39)
    assert decode_frame(frame)[1] == stp.TcnBpdu()
    assert summary(frame) == "STP 802.1d, Topology Change"


BPDUS = st.builds(stp.ConfigBpdu, st.integers(0, 255), IDS, st.integers(0, 0xFFFFFFFF), IDS, U16, U16, U16, U16, U16)


@given(BPDUS, st.integers(0, 9))
def test_round_trip(bpdu: stp.ConfigBpdu, lead: int) -> None:
    assert stp.parse(bytes(lead) + stp.build(bpdu), lead) == bpdu
    assert stp.describe(bpdu).startswith("STP 802.1d, Config")


@pytest.mark.parametrize(
    "raw", [b"", b"\0\0\0", b"\0\0\0\0", b"\0\0\2\0" + bytes(31), b"\0\1\0\0" + bytes(31), b"\0\0\0\1"]
)
def test_what_is_none(raw: bytes) -> None:
    with pytest.raises(Malformed):
        stp.parse(raw)
    layers = decode_frame(FRAME[:12] + len(stp.LLC + raw).to_bytes(2, "big") + stp.LLC + raw)
    assert isinstance(layers[-1], Broken)
