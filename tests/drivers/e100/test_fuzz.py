"""Whatever is in memory, in registers or on the wire: the model neither raises nor hangs, and the driver lives on."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.e100 import MAC, Bench, E100Hosts, card, nic, to

from pysock.core.pci import PCI_STATUS, PCI_STATUS_CAP_LIST
from pysock.drivers.e100 import regs
from pysock.uapi.socket import MSG_DONTWAIT

WORD = st.integers(0, 0xFFFF_FFFF)
OFFSET = st.one_of(st.integers(0, 0x3F), st.integers(0, 0x1FFF))
COMMANDS = st.sampled_from(
    [regs.CUC_START, regs.CUC_RESUME, regs.CUC_DUMP_ADDR, regs.CUC_DUMP_STATS, regs.CUC_LOAD_BASE, regs.CUC_DUMP_RESET,
     regs.RUC_START, regs.RUC_RESUME, regs.RUC_ABORT, regs.RUC_LOAD_BASE, 0xFF]
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from([8, 16, 32]), st.booleans(), OFFSET, WORD), max_size=60))
def test_registers_take_anything(accesses: list[tuple[int, bool, int, int]]) -> None:
    """Any access gives a number of its width."""
    bench = Bench()
    for width, write, offset, value in accesses:
        if write:
            getattr(bench.csr, f"write{width}")(offset, value)
        else:
            assert 0 <= getattr(bench.csr, f"read{width}")(offset) < 1 << width
    assert not bench.kernel.errors.records()


@settings(max_examples=200)
@given(st.binary(min_size=64, max_size=512), st.lists(st.tuples(COMMANDS, WORD), max_size=8), st.binary(max_size=1600))
def test_memory_may_hold_anything(content: bytes, commands: list[tuple[int, int]], frame: bytes) -> None:
    """Descriptors of garbage, with pointers into and out of memory; then a reset, and the card works."""
    bench = Bench()
    area = bench.dma.alloc(4096)
    size = len(bench.dma.mem)
    bench.dma.write(area, (content * 64)[:4096])
    for command, pointer in commands:
        bench.command(command, pointer if pointer & 1 else area + (pointer >> 8) % 4096)
        bench.card.receive(frame, 0)
        bench.card.receive(to(), 0)
    assert len(bench.dma.mem) == size  # nothing outside was written
    assert bench.dma.read(0, 16) == bytes(16)
    bench.csr.write32(regs.PORT, regs.PORT_RESET)
    bench.set_address()
    bench.peer.got.clear()
    rfd = bench.receive_area(1)
    bench.command(regs.RUC_START, rfd[0])
    bench.card.receive(to(MAC), 0)
    bench.command(regs.CUC_START, bench.transmission(to(), regs.CB_EL))
    assert (bench.received(rfd[0]), bench.peer.got[-1]) == (to(MAC), to())
    assert bench.pdev.read_config_word(PCI_STATUS) & 0x0FFF == PCI_STATUS_CAP_LIST
    assert not bench.kernel.errors.records()


CHUNK = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=1600).map(lambda tail: b"\xff" * 6 + tail),
    st.builds(
        lambda ethertype, rest: b"\xff" * 6 + b"\x02\0\0\0\0\x07" + ethertype + rest,
        st.sampled_from([b"\x08\0", b"\x08\x06", b"\x86\xdd", b"\x81\0", b"\x88\x08"]),
        st.binary(max_size=100),
    ),
    st.integers(0, 3000).map(bytes),
)


@settings(max_examples=40)
@given(st.lists(st.tuples(CHUNK, st.integers(0, 3)), max_size=60), st.booleans())
def test_the_wire_may_bring_anything(frames: list[tuple[bytes, int]], use_napi: bool) -> None:
    """Runts, giants, garbage, damaged or not: all is counted or dropped, and a datagram gets through afterwards."""
    lab = E100Hosts()
    a, b = lab.two(rx_ring=16, napi=use_napi)
    lab.kernel.enter()
    for frame, damage in frames:
        card(b).receive(frame, damage)
    lab.kernel.leave()
    lab.sleep(1)
    server = b.bound("10.0.0.2", 99)
    a.sendto(a.socket(), b"still here", ("10.0.0.2", 99))
    lab.sleep(10)
    assert b.recv(server, flags=MSG_DONTWAIT) == b"still here"
    assert nic(b).resets == 0
    assert lab.log == []
