"""The model's receive unit alone: filters, descriptors, states, damaged frames (SDM 6.4.3)."""

from __future__ import annotations

from zlib import crc32

import pytest
from support.e100 import MAC, OTHER, Bench, to

from pysock.core.wire import DAMAGE_ALIGN, DAMAGE_CRC
from pysock.drivers.e100 import regs
from pysock.drivers.e100.regs import RFD_C, RFD_EL, RFD_NOT_IA, RFD_OK, RFD_S, RFD_TYPE, RUC_RESUME, RUC_START

GROUP = b"\x01\0\x5e\x01\x02\x03"
BROADCAST = b"\xff" * 6


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.set_address()
    bench.interrupts.clear()
    return bench


def counter(bench: Bench, name: str) -> int:
    return bench.card.stats.counts[regs.STAT_NAMES.index(name)]


def wanted(bench: Bench, frame: bytes, damage: int = 0) -> int:
    """Offer a frame to a fresh descriptor: its status word, 0 if it stayed empty."""
    area = bench.receive_area(1)
    bench.command(RUC_START, area[0])
    bench.card.receive(frame, damage)
    bench.command(regs.RUC_ABORT)
    return bench.status(area[0])


def test_a_frame_lands_in_the_descriptor(bench: Bench) -> None:
    area = bench.receive_area(3)
    bench.command(RUC_START, area[0])
    frame = to(size=1514)
    bench.cable.b.transmit(frame)
    assert bench.received(area[0]) == frame
    assert bench.status(area[0]) == RFD_C | RFD_OK | RFD_TYPE
    assert bench.status(area[1]) == 0
    assert bench.interrupts == [regs.ACK_FR]
    assert bench.state()[1] == regs.RU_READY


def test_the_last_descriptor_stops_the_unit(bench: Bench) -> None:
    area = bench.receive_area(2, RFD_EL)
    bench.command(RUC_START, area[0])
    for n in range(3):
        bench.card.receive(to(payload=b"%d" % n), 0)
    assert bench.received(area[1]) == to(payload=b"1")
    assert bench.interrupts == [regs.ACK_FR, regs.ACK_FR | regs.ACK_RNR]
    assert bench.state()[1] == regs.RU_NO_RESOURCES
    assert counter(bench, "rx_resource_errors") == 1
    again = bench.receive_area(1)
    bench.command(RUC_START, again[0])
    bench.card.receive(to(), 0)
    assert bench.received(again[0]) == to()


def test_suspend_and_resume(bench: Bench) -> None:
    area = bench.receive_area(2, RFD_S)
    bench.command(RUC_START, area[0])
    for _ in range(2):
        bench.card.receive(to(), 0)
    assert bench.state()[1] == regs.RU_SUSPENDED
    bench.dma.mem[area[0] : area[0] + 2] = b"\0\0"
    bench.command(RUC_RESUME)
    bench.card.receive(to(payload=b"on"), 0)
    assert bench.received(area[0]) == to(payload=b"on")


def test_abort(bench: Bench) -> None:
    bench.command(RUC_START, bench.receive_area(1)[0])
    bench.command(regs.RUC_ABORT)
    assert bench.state()[1] == regs.RU_IDLE
    bench.card.receive(to(), 0)
    assert counter(bench, "rx_resource_errors") == 0  # idle: nobody wants to receive


def test_a_descriptor_without_room_is_no_resource(bench: Bench) -> None:
    area = bench.receive_area(1, size=0)
    bench.command(RUC_START, area[0])
    bench.card.receive(to(), 0)
    assert bench.state()[1] == regs.RU_NO_RESOURCES
    assert bench.status(area[0]) == 0


def test_a_long_frame_is_cut_to_the_buffer(bench: Bench) -> None:
    area = bench.receive_area(1, size=100)
    bench.command(RUC_START, area[0])
    bench.card.receive(to(size=200), 0)
    assert bench.received(area[0]) == to(size=100)
    assert bench.status(area[0]) & (RFD_OK | regs.RFD_NO_BUFFER) == regs.RFD_NO_BUFFER


# --- filters ----------------------------------------------------------------------------------------------------------


def test_address_filter(bench: Bench) -> None:
    assert wanted(bench, to(MAC)) & RFD_NOT_IA == 0
    assert wanted(bench, to(BROADCAST)) & RFD_NOT_IA
    assert not wanted(bench, to(OTHER))
    assert not wanted(bench, to(GROUP))


def test_multicast_setup(bench: Bench) -> None:
    data = (6).to_bytes(2, "little") + GROUP
    bench.command(regs.CUC_START, bench.block(regs.OP_MULTICAST | regs.CB_EL, data))
    assert wanted(bench, to(GROUP)) & RFD_OK
    passed = [n for n in range(256) if wanted(bench, to(GROUP[:5] + bytes((n,))))]
    assert 1 < len(passed) < 32  # a hash of 64 buckets: some strangers get through, most do not
    bench.command(regs.CUC_START, bench.block(regs.OP_MULTICAST | regs.CB_EL, b"\0\0"))
    assert not wanted(bench, to(GROUP))


def test_all_multicast_promiscuity_and_no_broadcast(bench: Bench) -> None:
    bench.configure(b21=0x0D)
    assert wanted(bench, to(GROUP))
    assert not wanted(bench, to(OTHER))
    bench.configure(b15=0x49)
    assert wanted(bench, to(OTHER)) & regs.RFD_NO_MATCH
    bench.configure(b15=0x4A)
    assert not wanted(bench, to(BROADCAST))


# --- what is wrong with frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "bit", "name"),
    [(DAMAGE_CRC, regs.RFD_CRC, "rx_crc_errors"), (DAMAGE_ALIGN, regs.RFD_ALIGN, "rx_alignment_errors")],
)
def test_damaged_frames_are_counted_and_kept_only_on_request(
    bench: Bench, damage: int, bit: int, name: str
) -> None:
    assert not wanted(bench, to(), damage)
    assert counter(bench, name) == 1
    bench.configure(b6=0xB2)
    assert wanted(bench, to(), damage) & (RFD_OK | bit) == bit


def test_runts(bench: Bench) -> None:
    assert not wanted(bench, to()[:59])
    assert counter(bench, "rx_short_frames") == 1
    assert not wanted(bench, to()[:3])
    bench.configure(b7=0x06)
    assert wanted(bench, to()[:59]) & (RFD_OK | regs.RFD_SHORT) == regs.RFD_SHORT


def test_giants(bench: Bench) -> None:
    bench.configure(b18=0xF2)
    assert not wanted(bench, to(size=1515))
    assert bench.card.ru.oversize == 1
    bench.configure(b18=0xFA)
    assert wanted(bench, to(size=1518))


def test_overrun(bench: Bench) -> None:
    bench.card.faults.overruns = 1
    assert not wanted(bench, to())
    assert counter(bench, "rx_overrun_errors") == 1
    assert wanted(bench, to())


def test_the_crc_may_be_kept(bench: Bench) -> None:
    bench.configure(b18=0xF6)
    area = bench.receive_area(1)
    bench.command(RUC_START, area[0])
    bench.card.receive(to(), 0)
    assert bench.received(area[0]) == to() + crc32(to()).to_bytes(4, "little")


def test_pause_frames_are_for_the_chip(bench: Bench) -> None:
    pause = bytes.fromhex("0180c2000001") + OTHER + bytes.fromhex("88080001") + bytes(44)
    bench.configure(b19=0xB8)
    assert not wanted(bench, pause)
    assert counter(bench, "rx_pause") == 1
    unknown = pause[:14] + b"\0\x02" + pause[16:]
    assert not wanted(bench, unknown)
    assert counter(bench, "rx_unsupported_control") == 1


def test_a_descriptor_that_is_no_memory_stops_the_unit(bench: Bench) -> None:
    bench.command(RUC_START, 0xFFFF_0000)
    bench.card.receive(to(), 0)
    assert bench.state()[1] == regs.RU_IDLE
    assert bench.csr.read8(regs.SCB_STATUS) != 0xFF
