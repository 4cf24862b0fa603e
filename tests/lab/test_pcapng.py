"""Streams of packets in pcapng files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.inet_api import tshark

from pysock.lab.pcapng import Packet, PcapngWriter, read_file, read_packets, write_file
from pysock.wire import ethernet, ipv4, pcapng, udp
from pysock.wire.addr import inet_aton
from pysock.wire.errors import Malformed

PACKETS = st.builds(
    lambda time, dev, frame, inbound, more, linktype, comment: Packet(
        time, dev, frame, inbound, len(frame) + more, linktype, comment
    ),
    st.integers(0, (1 << 64) - 1),
    st.sampled_from(["lo", "eth0", "Ümläut"]),
    st.binary(max_size=30),
    st.sampled_from([None, True, False]),
    st.integers(0, 5),
    st.sampled_from([pcapng.LINKTYPE_ETHERNET, pcapng.LINKTYPE_RAW]),
    st.text(st.characters(codec="utf-8"), max_size=9),
)


@given(st.lists(PACKETS, max_size=6))
def test_what_is_written_is_read(packets: list[Packet]) -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file)
    for packet in packets:
        writer.write(packet)
    assert list(read_packets(file.getvalue())) == packets
    writer.close(7)
    assert list(read_packets(file.getvalue())) == packets
    counts = [block.received for block in pcapng.walk(file.getvalue()) if isinstance(block, pcapng.InterfaceStatistics)]
    assert sum(counts) == len(packets)


def test_other_peoples_time_resolution() -> None:
    def file(resolution: tuple[tuple[int, bytes], ...], stamp: int) -> bytes:
        blocks = (
            pcapng.SectionHeader(),
            pcapng.InterfaceDescription(1, 0, resolution),
            pcapng.EnhancedPacket(0, stamp, b"abc", 3),
        )
        return b"".join(pcapng.build(block, ">") for block in blocks)

    assert [p.time_ns for p in read_packets(file((), 3))] == [3000]
    assert [p.time_ns for p in read_packets(file(((pcapng.IF_TSRESOL, b"\x03"),), 3))] == [3_000_000]
    assert [p.time_ns for p in read_packets(file(((pcapng.IF_TSRESOL, b"\x81"),), 3))] == [1_500_000_000]
    assert [p.dev for p in read_packets(file((), 3))] == ["if0"]


def test_a_packet_of_no_interface() -> None:
    raw = pcapng.build(pcapng.SectionHeader()) + pcapng.build(pcapng.EnhancedPacket(1, 0, b"", 0))
    with pytest.raises(Malformed, match="interface 1"):
        list(read_packets(raw))


def test_tshark_reads_times_directions_names_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "two.pcapng"
    addresses = inet_aton("10.0.0.1"), inet_aton("10.0.0.2")
    packet = ipv4.build(*addresses, 17, udp.build(4000, 4001, b"hello", addresses=addresses))
    frame = ethernet.build(bytes(6), bytes(6), 0x0800, packet)
    instant = 1_767_225_600_123_456_789
    packets = [
        Packet(instant, "eth0", frame, True, len(frame), comment="look here"),
        Packet(instant + 1, "tun0", packet, False, len(packet), pcapng.LINKTYPE_RAW),
    ]
    write_file(path, packets)
    assert read_file(path) == packets
    fields = ("frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction", "frame.comment", "udp.length")
    out = tshark(path, "-T", "fields", *(part for field in fields for part in ("-e", field)))
    assert out.splitlines() == [
        "1767225600.123456789\teth0\t0x00000001\tlook here\t13",
        "1767225600.123456790\ttun0\t0x00000002\t\t13",
    ]
