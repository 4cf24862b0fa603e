"""IGMP, all three versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.wire import igmp
from pysock.wire.addr import inet_aton
from pysock.wire.errors import Malformed

GROUP = inet_aton("224.0.0.251")
ADDR = st.binary(min_size=4, max_size=4)
U8 = st.integers(0, 255)
RECORDS = st.lists(
    st.builds(
        igmp.GroupRecord,
        U8,
        ADDR,
        st.lists(ADDR, max_size=3).map(tuple),
        st.integers(0, 2).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words)),
    ),
    max_size=4,
)


def test_bytes_of_a_version_2_report() -> None:
    message = igmp.build(igmp.V2_REPORT, 0, GROUP)
    assert message == bytes.fromhex("16000904e00000fb")
    assert igmp.verify(message)


@given(st.sampled_from([igmp.V1_REPORT, igmp.V2_REPORT, igmp.V2_LEAVE, igmp.QUERY]), U8, ADDR)
def test_round_trip(kind: int, max_resp: int, group: bytes) -> None:
    message = igmp.build(kind, max_resp, group)
    header = igmp.parse(message)
    assert header == igmp.IgmpMessage(kind, max_resp, header.checksum, group)
    assert igmp.verify(message)
    assert igmp.describe(header).startswith("igmp ")


@given(RECORDS)
def test_version_3_report_round_trip(records: list[igmp.GroupRecord]) -> None:
    message = igmp.parse(igmp.build_report(records))
    assert igmp.parse_records(message) == records
    assert igmp.describe(message) == f"igmp v3 report, {len(records)} group record(s)"


@given(ADDR, st.lists(ADDR, max_size=5))
def test_version_3_query_round_trip(group: bytes, sources: list[bytes]) -> None:
    body = igmp.QUERY3.pack(2, 125, len(sources)) + b"".join(sources)
    message = igmp.parse(igmp.build(igmp.QUERY, 100, group, body))
    assert igmp.parse_sources(message) == tuple(sources)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x11", b"\x22"]))
def test_any_bytes_parse_or_are_malformed(raw: bytes, first: bytes) -> None:
    try:
        message = igmp.parse(first + raw)
    except Malformed:
        return
    assert message.size == len(first + raw)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (igmp.build(igmp.QUERY, 100), "igmp query v2"),
        (igmp.build(igmp.QUERY, 0), "igmp query v1"),
        (igmp.build(igmp.QUERY, 100, GROUP, igmp.QUERY3.pack(2, 125, 0)), "igmp query v3 [gaddr 224.0.0.251]"),
        (igmp.build(igmp.V2_REPORT, 0, GROUP), "igmp v2 report 224.0.0.251"),
        (igmp.build(igmp.V1_REPORT, 0, GROUP), "igmp v1 report 224.0.0.251"),
        (igmp.build(igmp.V2_LEAVE, 0, GROUP), "igmp leave 224.0.0.251"),
        (igmp.build(0x99, 0, GROUP), "igmp type-#153 224.0.0.251"),
    ],
)
def test_describe(message: bytes, text: str) -> None:
    assert igmp.describe(igmp.parse(message)) == text


def test_malformed_and_refused() -> None:
    with pytest.raises(Malformed, match="truncated IGMP"):
        igmp.parse(bytes(7))
    with pytest.raises(Malformed, match="source list"):
        igmp.parse(igmp.build(igmp.QUERY, 0, GROUP, igmp.QUERY3.pack(0, 0, 1)))
    with pytest.raises(Malformed, match="group record"):
        igmp.parse(igmp.build(igmp.V3_REPORT, 0, b"\0\0\0\1"))
    with pytest.raises(Malformed, match="no group records"):
        igmp.parse_records(igmp.parse(igmp.build(igmp.V2_REPORT, 0, GROUP)))
    with pytest.raises(ValueError, match="multiple of 4"):
        igmp.build_report([igmp.GroupRecord(1, GROUP, (), b"x")])
