"""The model's command unit alone: lists, states, TRANSMIT in both modes, errors (SDM 6.4.2)."""

from __future__ import annotations

from zlib import crc32

import pytest
from support.e100 import MAC, OTHER, Bench, to

from pysock.core.pci import PCI_STATUS, PCI_STATUS_REC_MASTER_ABORT
from pysock.drivers.e100 import regs
from pysock.drivers.e100.hw_cu import RUNAWAY
from pysock.drivers.e100.regs import CB_C, CB_EL, CB_I, CB_OK, CB_S, CB_SF, CB_U, CUC_RESUME, CUC_START

FRAME = to(OTHER)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_list_ends_idle_with_one_interrupt(bench: Bench) -> None:
    blocks = [bench.block(regs.OP_NOP), bench.block(regs.OP_DIAGNOSE), bench.block(regs.OP_NOP | CB_EL)]
    bench.link(*blocks)
    bench.command(CUC_START, blocks[0])
    assert [bench.status(at) for at in blocks] == [CB_C | CB_OK] * 3
    assert bench.state()[0] == regs.CU_IDLE
    assert bench.interrupts == [regs.ACK_CNA]


def test_the_interrupt_bit(bench: Bench) -> None:
    blocks = [bench.block(regs.OP_NOP | CB_I), bench.block(regs.OP_NOP | CB_EL)]
    bench.link(*blocks)
    bench.command(CUC_START, blocks[0])
    assert bench.interrupts == [regs.ACK_CX, regs.ACK_CNA]


def test_suspend_and_resume_at_the_next_block(bench: Bench) -> None:
    blocks = [bench.block(regs.OP_NOP | CB_S), bench.block(regs.OP_NOP | CB_EL)]
    bench.link(*blocks)
    bench.command(CUC_START, blocks[0])
    assert bench.state()[0] == regs.CU_SUSPENDED
    assert bench.status(blocks[1]) == 0
    bench.command(CUC_RESUME)
    assert bench.status(blocks[1]) == CB_C | CB_OK
    bench.command(CUC_RESUME)  # idle now: nothing to resume
    assert bench.state()[0] == regs.CU_IDLE


def test_addresses_are_relative_to_the_base(bench: Bench) -> None:
    block = bench.block(regs.OP_NOP | CB_EL)
    bench.command(regs.CUC_LOAD_BASE, 0x1000)
    bench.command(CUC_START, block - 0x1000)
    assert bench.status(block) == CB_C | CB_OK


def test_clearing_s_while_the_block_is_under_way_is_in_time() -> None:
    bench = Bench(timed=True)
    first, second = bench.transmission(FRAME, CB_S), bench.transmission(FRAME, CB_S)
    bench.link(first, second)
    bench.command(CUC_START, first)
    assert bench.state()[0] == regs.CU_ACTIVE
    bench.dma.mem[first + 3] &= 0xBF
    bench.command(CUC_RESUME)
    bench.kernel.sleep(1_000_000)
    assert bench.peer.got == [FRAME, FRAME]
    assert bench.state()[0] == regs.CU_SUSPENDED


# --- commands ---------------------------------------------------------------------------------------------------------


def test_individual_address_and_configure(bench: Bench) -> None:
    bench.set_address()
    assert bench.card.address == MAC
    bench.configure(b15=0x49)
    assert bench.card.config.promiscuous


def test_dump(bench: Bench) -> None:
    bench.set_address()
    area = bench.dma.alloc(regs.DUMP_BYTES)
    bench.command(CUC_START, bench.block(regs.OP_DUMP | CB_EL, area.to_bytes(4, "little")))
    assert bench.dma.read(area + regs.CONFIG_BYTES, 6) == MAC


# --- TRANSMIT ---------------------------------------------------------------------------------------------------------


def flexible(bench: Bench, *parts: bytes, flags: int = CB_EL, immediate: bytes = b"", count: int | None = None) -> int:
    """A TRANSMIT block with one buffer a part."""
    array = bench.dma.alloc(regs.TBD_SIZE * (len(parts) + 1))
    for n, part in enumerate(parts):
        buffer = bench.dma.alloc(max(1, len(part)))
        bench.dma.write(buffer, part)
        end = regs.TBD_EL if n == len(parts) - 1 else 0
        regs.TBD.pack_into(bench.dma.mem, array + n * regs.TBD_SIZE, buffer, len(part), end)
    tcb = regs.TCB.pack(array, len(immediate), 0xE0, len(parts) if count is None else count)
    return bench.block(regs.OP_TRANSMIT | CB_SF | flags, tcb + immediate)


def test_simplified_mode(bench: Bench) -> None:
    block = bench.transmission(FRAME, CB_EL)
    bench.command(CUC_START, block)
    assert bench.peer.got == [FRAME]
    assert bench.status(block) == CB_C | CB_OK
    assert bench.card.stats.counts[0] == 1


@pytest.mark.parametrize(
    ("parts", "immediate", "count"),
    [([FRAME], b"", None), ([FRAME[:14], FRAME[14:50], FRAME[50:]], b"", None), ([FRAME[20:]], FRAME[:20], None),
     ([FRAME[:14], FRAME[14:]], b"", 0xFF)],
)  # fmt: skip
def test_flexible_mode(bench: Bench, parts: list[bytes], immediate: bytes, count: int | None) -> None:
    block = flexible(bench, *parts, immediate=immediate, count=count)
    bench.command(CUC_START, block)
    assert bench.peer.got == [FRAME]
    assert bench.status(block) == CB_C | CB_OK


def test_short_frames_are_padded_if_configured(bench: Bench) -> None:
    bench.command(CUC_START, bench.transmission(FRAME[:20], CB_EL))
    bench.configure(b18=0xF0)
    bench.command(CUC_START, bench.transmission(FRAME[:20], CB_EL))
    assert bench.peer.got == [FRAME[:20].ljust(60, b"\0"), FRAME[:20]]


def test_source_address_insertion(bench: Bench) -> None:
    bench.set_address()
    bench.configure(b10=0x26)
    bench.command(CUC_START, bench.transmission(FRAME, CB_EL))
    assert bench.peer.got == [FRAME[:6] + MAC + FRAME[12:]]


@pytest.mark.parametrize(("flip", "arrives"), [(0, True), (1, False)])
def test_a_frame_that_brings_its_own_crc(bench: Bench, flip: int, arrives: bool) -> None:
    crc = (crc32(FRAME) ^ flip).to_bytes(4, "little")
    bench.command(CUC_START, bench.transmission(FRAME + crc, CB_EL | regs.CB_NC))
    assert bench.peer.got == ([FRAME] if arrives else [])


def test_loopback(bench: Bench) -> None:
    bench.set_address()
    bench.configure(b10=0x6E)
    area = bench.receive_area(2)
    bench.command(regs.RUC_START, area[0])
    bench.command(CUC_START, bench.transmission(to(MAC), CB_EL))
    assert (bench.received(area[0]), bench.peer.got) == (to(MAC), [])


def test_without_a_link_the_carrier_is_lost(bench: Bench) -> None:
    bench.cable.set_link(False)
    block = bench.transmission(FRAME, CB_EL)
    bench.command(CUC_START, block)
    assert bench.status(block) & CB_C
    assert bench.card.stats.counts[regs.STAT_NAMES.index("tx_lost_carrier")] == 1


@pytest.mark.parametrize(("byte7", "status", "frames"), [(0x07, CB_C | CB_OK | CB_U, 1), (0x01, CB_C | CB_U, 0)])
def test_underrun(bench: Bench, byte7: int, status: int, frames: int) -> None:
    """Below the threshold that the bus needs; retried if configured, lost if not."""
    bench.configure(b7=byte7)
    bench.card.faults.slow_bus = 512
    big = to(OTHER, size=1000)
    low, enough = bench.transmission(big, CB_EL, threshold=16), bench.transmission(big, CB_EL, threshold=64)
    bench.command(CUC_START, low)
    assert (bench.status(low), len(bench.peer.got)) == (status, frames)
    bench.command(CUC_START, enough)
    assert bench.status(enough) == CB_C | CB_OK
    assert bench.card.stats.counts[3] == 1


# --- flow control -----------------------------------------------------------------------------------------------------


def test_a_pause_frame_holds_transmissions_back() -> None:
    bench = Bench(timed=True)
    bench.configure(b19=0xB8)
    pause = bytes.fromhex("0180c2000001") + OTHER + bytes.fromhex("88080001") + (1000).to_bytes(2, "big") + bytes(42)
    bench.card.receive(pause, 0)
    assert regs.ACK_FCP in bench.interrupts
    assert bench.csr.read8(regs.FLOW_CONTROL) == regs.FC_PAUSED
    bench.command(CUC_START, bench.transmission(FRAME, CB_EL))
    bench.kernel.sleep(5_000_000)  # 1000 quanta of 512 bits at 100 Mbit/s are 5.12 ms
    assert bench.peer.got == []
    bench.kernel.sleep(1_000_000)
    assert bench.peer.got == [FRAME]


def test_pause_frames_are_sent_on_request(bench: Bench) -> None:
    bench.set_address()
    bench.configure(b19=0xB8)
    bench.csr.write8(regs.FLOW_CONTROL, regs.FC_XOFF)
    bench.csr.write8(regs.FLOW_CONTROL, regs.FC_XON)
    assert [frame[12:18].hex() for frame in bench.peer.got] == ["880800014000", "880800010000"]
    bench.configure(b19=0x84)
    bench.csr.write8(regs.FLOW_CONTROL, regs.FC_XOFF)
    assert len(bench.peer.got) == 2


# --- what a driver should not do --------------------------------------------------------------------------------------


def test_a_list_without_end_hangs_the_unit_until_a_reset(bench: Bench) -> None:
    block = bench.block(regs.OP_NOP)
    bench.link(block, block)
    bench.command(CUC_START, block)
    assert (bench.card.cu.hung, bench.state()[0]) == (True, regs.CU_ACTIVE)
    assert RUNAWAY > 1024  # more than any ring of the driver
    bench.csr.write32(regs.PORT, regs.PORT_RESET)
    bench.command(CUC_START, bench.transmission(FRAME, CB_EL))
    assert bench.peer.got == [FRAME]


@pytest.mark.parametrize("start", [0xFFFF_FFF0, 0x7FFF_FFFF])
def test_a_block_that_is_no_memory_is_a_master_abort(bench: Bench, start: int) -> None:
    bench.command(CUC_START, start)
    assert bench.pdev.read_config_word(PCI_STATUS) & PCI_STATUS_REC_MASTER_ABORT
    assert bench.state()[0] == regs.CU_IDLE
    assert bench.interrupts == [regs.ACK_CNA]


def test_a_frame_without_bounds_is_a_master_abort(bench: Bench) -> None:
    block = flexible(bench, bytes(16383), bytes(16383))
    bench.command(CUC_START, block)
    assert bench.peer.got == []
    assert bench.state()[0] == regs.CU_IDLE
