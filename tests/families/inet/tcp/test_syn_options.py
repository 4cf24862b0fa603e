"""The quick reading of a SYN's options says what the full parser says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.families.inet.tcp.options import parse_syn_options
from pysock.wire.tcp_options import TcpOptions, build_options, parse_options

U32 = st.integers(0, 0xFFFFFFFF)


@given(st.binary(max_size=40))
def test_anything(raw: bytes) -> None:
    assert parse_syn_options(raw) == parse_options(raw, strict=False)


@given(st.integers(0, 0xFFFF), st.booleans(), U32, U32, st.integers(0, 0xFF))
def test_the_usual_layout(mss: int, sack: bool, value: int, echo: int, scale: int) -> None:
    options = TcpOptions(mss, sack, (value, echo), scale)
    raw = build_options(options)
    assert parse_syn_options(raw) == parse_options(raw) == options


@pytest.mark.parametrize("at", range(20))
def test_nearly_the_usual_layout(at: int) -> None:
    raw = bytearray(build_options(TcpOptions(1460, True, (1, 2), 7)))
    raw[at] ^= 1
    assert parse_syn_options(bytes(raw)) == parse_options(bytes(raw), strict=False)
