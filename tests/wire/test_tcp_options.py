"""TCP options: Linux's layout, strict and lenient parsing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import tcp_options as opt
from pysock.wire.errors import Malformed
from pysock.wire.tcp_options import TcpOptions

U32 = st.integers(0, 0xFFFFFFFF)
KNOWN = {0, 1, 2, 3, 4, 5, 8}
OPTIONS = st.builds(
    TcpOptions,
    mss=st.none() | st.integers(0, 0xFFFF),
    sack_permitted=st.booleans(),
    timestamps=st.none() | st.tuples(U32, U32),
    wscale=st.none() | st.integers(0, 255),
    sack=st.lists(st.tuples(U32, U32), max_size=1).map(tuple),
    other=st.lists(
        st.tuples(st.integers(0, 255).filter(lambda k: k not in KNOWN), st.binary(max_size=2)), max_size=1
    ).map(tuple),
)


@given(OPTIONS)
def test_round_trip(options: TcpOptions) -> None:
    raw = opt.build_options(options)
    assert len(raw) % 4 == 0
    assert opt.parse_options(raw) == opt.parse_options(raw, strict=False) == options


@pytest.mark.parametrize(
    ("options", "raw", "text"),
    [
        (
            TcpOptions(mss=1460, sack_permitted=True, timestamps=(1, 0), wscale=7),
            "020405b4 0402080a 00000001 00000000 01030307",
            "mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7",
        ),
        (TcpOptions(mss=536), "02040218", "mss 536"),
        (TcpOptions(mss=536, sack_permitted=True), "02040218 01010402", "mss 536,nop,nop,sackOK"),
        (TcpOptions(timestamps=(1, 2)), "0101080a 00000001 00000002", "nop,nop,TS val 1 ecr 2"),
        (
            TcpOptions(sack=((1, 2), (3, 4))),
            "01010512 00000001 00000002 00000003 00000004",
            "nop,nop,sack 2 {1:2}{3:4}",
        ),
        (TcpOptions(other=((34, b""),)), "22020000", "tfo cookiereq"),
        (TcpOptions(other=((254, b"\xf9\x89"),)), "fe04f989", "unknown-254 0xf989"),
        (TcpOptions(), "", "eol"),
    ],
)
def test_layout_and_description(options: TcpOptions, raw: str, text: str) -> None:
    assert opt.build_options(options) == bytes.fromhex(raw)
    assert opt.describe_options(bytes.fromhex(raw)) == text


def test_the_aligned_timestamps_are_the_hot_paths_struct() -> None:
    raw = opt.TIMESTAMPS.pack(opt.TIMESTAMPS_WORD, 7, 9)
    assert raw == opt.build_options(TcpOptions(timestamps=(7, 9)))
    assert len(raw) == opt.TIMESTAMPS_SIZE


@given(st.binary(max_size=44))
def test_any_bytes_parse_or_are_malformed(raw: bytes) -> None:
    lenient = opt.parse_options(raw, strict=False)
    described = opt.describe_options(raw)
    try:
        strict = opt.parse_options(raw)
    except Malformed:
        assert described.endswith("[bad opt]")
    else:
        assert strict == lenient
        assert not described.endswith("[bad opt]")


@pytest.mark.parametrize(
    "bad",
    [
        "02",
        "0200",
        "0203ff",
        "020405",
        "030407ff",
        "0403ff",
        "0509" + "00" * 7,
        "0502",
        "0801",
        "080b" + "00" * 9,
        "2203",
    ],
)
def test_a_bad_option_keeps_those_before_it(bad: str) -> None:
    raw = b"\2\4\5\xb4" + bytes.fromhex(bad)
    with pytest.raises(Malformed, match="bad length"):
        opt.parse_options(raw)
    assert opt.parse_options(raw, strict=False) == TcpOptions(mss=1460)


def test_nothing_counts_after_the_end_mark() -> None:
    assert opt.parse_options(b"\0\2\4\5\xb4") == TcpOptions()


def test_too_many_options_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 40"):
        opt.build_options(TcpOptions(timestamps=(1, 2), sack=((1, 2),) * 4))
    assert len(opt.build_options(TcpOptions(timestamps=(1, 2), sack=((1, 2),) * 3))) == 40
