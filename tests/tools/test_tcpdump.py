"""Captures as lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from pysock.lab.pcapng import Packet, write_file
from pysock.tools import tcpdump
from pysock.wire import ethernet, ipv4, udp
from pysock.wire.addr import inet_aton
from pysock.wire.pcapng import LINKTYPE_RAW

IP = ipv4.build(inet_aton("10.0.0.1"), inet_aton("10.0.0.2"), 17, udp.build(4000, 53, b"hello"))
PACKETS = [
    Packet(1_767_225_600_123_456_789, "eth0", ethernet.build(bytes(6), bytes(6), 0x0800, IP), True),
    Packet(1_767_225_661_000_000_000, "tun0", IP, False, linktype=LINKTYPE_RAW),
    Packet(0, "lo", b"short"),
]
LINES = [
    "00:00:00.123456 eth0  In  IP 10.0.0.1.4000 > 10.0.0.2.53: UDP, length 5",
    "00:01:01.000000 tun0  Out IP 10.0.0.1.4000 > 10.0.0.2.53: UDP, length 5",
    "00:00:00.000000 lo    ?   [|Ethernet] truncated Ethernet header: 5 of 14 bytes",
]


def test_lines() -> None:
    assert list(tcpdump.lines(PACKETS)) == LINES


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pcapng"
    write_file(path, PACKETS)
    assert tcpdump.main([str(path), str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == LINES * 2


def test_the_command_called_wrongly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tcpdump.main([]) == 2
    assert tcpdump.main(["-r"]) == 2
    assert "usage" in capsys.readouterr().err
    path = tmp_path / "no.pcapng"
    assert tcpdump.main([str(path)]) == 1
    path.write_bytes(b"not a capture, however long")
    assert tcpdump.main([str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "No such file" in said.err and "pcapng" in said.err
