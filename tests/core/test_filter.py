"""Classic BPF: what the checker refuses, what programs compute, and that both agree with the kernel of this machine."""

from __future__ import annotations

import ctypes
import errno
import socket
from struct import pack
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from pysock.core.filter import BpfProgram, check, program_from_fprog
from pysock.core.kernel import Kernel
from pysock.core.skbuff import SkBuff
from pysock.uapi import filter as bpf
from pysock.uapi import socket as so
from pysock.uapi.filter import jump, pack_program, stmt
from pysock.uapi.if_ether import ETH_P_IP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pysock.uapi.filter import Insn

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
ACCEPT = stmt(RET, 0xFFFF)
RET_A = stmt(RET | bpf.BPF_A)
LDW, LDH, LDB = (LD | bpf.BPF_ABS | size for size in (bpf.BPF_W, bpf.BPF_H, bpf.BPF_B))
M32 = 0xFFFFFFFF


def packet(data: bytes, linear: int | None = None) -> SkBuff:
    """A packet of ``data``, the first ``linear`` bytes of it not in fragments."""
    linear = len(data) if linear is None else linear
    frags = (data[linear:],) if linear < len(data) else ()
    return SkBuff(data[:linear], 0, len(data), len(data) - linear, frags)


def run(program: list[Insn], data: bytes = b"", linear: int | None = None) -> int:
    return BpfProgram(pack_program(program)).run(packet(data, linear))


# -- the checker -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program",
    [
        [],
        [stmt(LD | bpf.BPF_IMM, 1)],  # no return
        [ACCEPT, stmt(bpf.BPF_MISC | 0x40), ACCEPT],  # no such instruction
        [stmt(RET | bpf.BPF_X)],
        [stmt(LDX | bpf.BPF_ABS, 0), ACCEPT],
        [stmt(ALU | bpf.BPF_DIV, 0), ACCEPT],
        [stmt(ALU | bpf.BPF_MOD, 0), ACCEPT],
        [stmt(ALU | bpf.BPF_LSH, 32), ACCEPT],
        [stmt(ALU | bpf.BPF_RSH, 32), ACCEPT],
        [stmt(ST, 16), ACCEPT],
        [stmt(LD | bpf.BPF_MEM, 0), ACCEPT],  # never written
        [jump(JMP | bpf.BPF_JA, 1, 0, 0), ACCEPT],
        [jump(JMP | bpf.BPF_JA, M32, 0, 0), ACCEPT],
        [jump(JMP | bpf.BPF_JEQ, 0, 1, 0), ACCEPT],
        [jump(JMP | bpf.BPF_JEQ, 0, 0, 1), ACCEPT],
        [stmt(LDW, bpf.SKF_AD_OFF + 64), ACCEPT],
        [stmt(LDW, bpf.SKF_AD_OFF + 2), ACCEPT],
        # written on one way only
        [jump(JMP | bpf.BPF_JEQ, 0, 0, 1), stmt(ST, 3), stmt(LD | bpf.BPF_MEM, 3), ACCEPT],
        [ACCEPT] * 4097,
    ],
)
def test_unsound_programs(program: list[Insn]) -> None:
    with refused(errno.EINVAL):
        check(program)


def test_the_longest_program() -> None:
    assert run([stmt(ALU | bpf.BPF_ADD, 1)] * 4095 + [RET_A]) == 4095


def test_memory_written_on_every_way() -> None:
    program = [
        jump(JMP | bpf.BPF_JEQ, 0, 0, 2),
        stmt(ST, 3),
        jump(JMP | bpf.BPF_JA, 1, 0, 0),
        stmt(ST, 3),
        stmt(LD | bpf.BPF_MEM, 3),
        ACCEPT,
    ]
    assert run(program) == 0xFFFF


# -- what programs compute ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "a", "operand", "result"),
    [
        (bpf.BPF_ADD, M32, 2, 1),
        (bpf.BPF_SUB, 1, 2, M32),
        (bpf.BPF_MUL, 1 << 31, 3, 1 << 31),
        (bpf.BPF_DIV, 7, 2, 3),
        (bpf.BPF_MOD, 7, 4, 3),
        (bpf.BPF_AND, 6, 3, 2),
        (bpf.BPF_OR, 6, 3, 7),
        (bpf.BPF_XOR, 6, 3, 5),
        (bpf.BPF_LSH, 0x80000001, 1, 2),
        (bpf.BPF_RSH, 0x80000001, 1, 0x40000000),
    ],
)
def test_arithmetic(op: int, a: int, operand: int, result: int) -> None:
    start = stmt(LD | bpf.BPF_IMM, a)
    assert run([start, stmt(ALU | op, operand), RET_A]) == result
    assert run([start, stmt(LDX | bpf.BPF_IMM, operand), stmt(ALU | op | bpf.BPF_X), RET_A]) == result


@pytest.mark.parametrize("op", [bpf.BPF_DIV, bpf.BPF_MOD])
def test_dividing_by_x_of_zero_drops(op: int) -> None:
    assert run([stmt(ALU | op | bpf.BPF_X), ACCEPT]) == 0


def test_loads() -> None:
    data = bytes(range(1, 11))
    for linear in (10, 4, 0):
        assert run([stmt(LDB, 9), RET_A], data, linear) == 10
        assert run([stmt(LDH, 8), RET_A], data, linear) == 0x090A
        assert run([stmt(LDW, 2), RET_A], data, linear) == 0x03040506
        assert run([stmt(LDX | bpf.BPF_MSH | bpf.BPF_B, 6), stmt(MISC | bpf.BPF_TXA), RET_A], data, linear) == 28
        indirect = [stmt(LDX | bpf.BPF_IMM, 3), stmt(LD | bpf.BPF_IND | bpf.BPF_H, 2), RET_A]
        assert run(indirect, data, linear) == 0x0607
        for beyond in (stmt(LDB, 10), stmt(LDH, 9), stmt(LDW, 7), stmt(LDX | bpf.BPF_MSH | bpf.BPF_B, 10)):
            assert run([beyond, ACCEPT], data, linear) == 0
        assert run([stmt(LDX | bpf.BPF_IMM, M32), stmt(LD | bpf.BPF_IND | bpf.BPF_B, 2), RET_A], data, linear) == 2
    assert run([stmt(LD | bpf.BPF_LEN), RET_A], data) == 10


def test_headers_before_the_data() -> None:
    skb = packet(b"MAC!NETHEADERpayload")
    skb.mac_header, skb.network_header = 0, 4
    skb.data, skb.len = 13, 7

    def at(k: int) -> int:
        return BpfProgram(pack_program([stmt(LDW, k), RET_A])).run(skb)

    assert at(bpf.SKF_LL_OFF) == int.from_bytes(b"MAC!", "big")
    assert at(bpf.SKF_NET_OFF) == int.from_bytes(b"NETH", "big")
    assert at(bpf.SKF_NET_OFF + 12) == int.from_bytes(b"load", "big")
    assert at(bpf.SKF_NET_OFF + 13) == at(bpf.SKF_LL_OFF - 1) == 0
    skb.mac_header = -1
    assert at(bpf.SKF_LL_OFF) == 0


def test_what_the_stack_knows() -> None:
    kernel = Kernel.boot(clock="virtual", seed=1, entry_points=False)
    skb = packet(bytes(20))
    skb.network_header = 0
    skb.protocol = ETH_P_IP

    def ask(kind: int) -> int:
        return BpfProgram(pack_program([stmt(LDW, bpf.SKF_AD_OFF + kind), RET_A])).run(skb)

    assert ask(bpf.SKF_AD_PROTOCOL) == ETH_P_IP
    assert [ask(kind) for kind in (bpf.SKF_AD_IFINDEX, bpf.SKF_AD_HATYPE)] == [0, 0]
    skb.dev = kernel.init_net.loopback_dev
    skb.mark, skb.queue_mapping, skb.hash, skb.vlan_tci = 7, 3, 99, 0x2005
    kinds = bpf.SKF_AD_IFINDEX, bpf.SKF_AD_HATYPE, bpf.SKF_AD_MARK, bpf.SKF_AD_QUEUE, bpf.SKF_AD_RXHASH, bpf.SKF_AD_CPU
    assert [ask(kind) for kind in kinds] == [1, 772, 7, 3, 99, 0]
    vlan = bpf.SKF_AD_VLAN_TAG, bpf.SKF_AD_VLAN_TAG_PRESENT, bpf.SKF_AD_VLAN_TPID, bpf.SKF_AD_PKTTYPE
    assert [ask(kind) for kind in vlan] == [0x2005, 1, 0x8100, 0]
    assert ask(bpf.SKF_AD_RANDOM) != ask(bpf.SKF_AD_RANDOM)
    xor = stmt(LDW, bpf.SKF_AD_OFF + bpf.SKF_AD_ALU_XOR_X)
    assert run([stmt(LD | bpf.BPF_IMM, 6), stmt(LDX | bpf.BPF_IMM, 3), xor, RET_A]) == 5


@pytest.mark.parametrize(("protocol", "header", "size"), [(17, b"", 8), (6, bytes(12) + b"\x80", 32), (99, b"", 0)])
def test_the_payload_offset(protocol: int, header: bytes, size: int) -> None:
    ip = b"\x46" + bytes(8) + bytes([protocol]) + bytes(14)
    skb = packet(ip + header + bytes(40))
    skb.network_header = 0
    skb.protocol = ETH_P_IP
    program = BpfProgram(pack_program([stmt(LDW, bpf.SKF_AD_OFF + bpf.SKF_AD_PAY_OFFSET), RET_A]))
    assert program.run(skb) == 24 + size


def test_netlink_attributes() -> None:
    inner = pack("=HH", 8, 5) + b"five"
    data = pack("=HH", 6, 1) + b"ab\0\0" + pack("=HH", 4 + len(inner), 2) + inner

    def find(kind: int, start: int, nested: bool) -> int:
        ask = bpf.SKF_AD_NLATTR_NEST if nested else bpf.SKF_AD_NLATTR
        steps = [stmt(LD | bpf.BPF_IMM, start), stmt(LDX | bpf.BPF_IMM, kind), stmt(LDW, bpf.SKF_AD_OFF + ask), RET_A]
        return run(steps, data)

    assert (find(2, 0, False), find(1, 8, False), find(5, 8, True), find(5, 0, True)) == (8, 0, 12, 0)
    assert find(2, len(data), False) == find(2, M32, True) == 0


# -- any program -------------------------------------------------------------------------------------------

CODES = st.one_of(
    st.sampled_from([LDW, LDH, LDB, LD | bpf.BPF_IMM, LDX | bpf.BPF_IMM, ST, STX, MISC, MISC | bpf.BPF_TXA]),
    st.sampled_from([LD | bpf.BPF_MEM, LDX | bpf.BPF_MEM, LD | bpf.BPF_LEN, LDX | bpf.BPF_LEN, 0xB1, 0x40, 0x48, 0x50]),
    st.sampled_from([ALU | op | x for op in range(0, 0xB0, 0x10) for x in (0, 8)]),
    st.sampled_from([JMP | op | x for op in range(0, 0x50, 0x10) for x in (0, 8)]),
    st.sampled_from([RET, RET | bpf.BPF_A]),
)
OPERANDS = st.one_of(
    st.integers(0, 20),
    st.integers(0, M32),
    st.sampled_from([bpf.SKF_NET_OFF, bpf.SKF_LL_OFF, *range(bpf.SKF_AD_OFF, bpf.SKF_AD_OFF + 64, 4)]),
)
INSNS = st.tuples(CODES, st.integers(0, 4), st.integers(0, 4), OPERANDS)
PROGRAMS = st.lists(INSNS, max_size=24).map(lambda insns: [*insns, RET_A])


def sound(program: list[Insn]) -> bool:
    try:
        check(program)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        return False
    return True


@given(PROGRAMS, st.binary(max_size=40), st.integers(0, 40))
def test_a_sound_program_runs_on_any_packet(program: list[Insn], data: bytes, linear: int) -> None:
    if sound(program):
        assert 0 <= run(program, data, min(linear, len(data))) <= M32


ANYTHING = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 255), st.integers(0, M32))


@given(st.lists(ANYTHING, max_size=8))
def test_any_bytes_are_a_program_or_einval(program: list[Insn]) -> None:
    sound(program)


# -- as the kernel has it ------------------------------------------------------------------------------------


class KernelFilter:
    """A socket pair of the real kernel: what a program lets through of a datagram."""

    def __init__(self) -> None:
        self.sender, self.receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.setblocking(False)

    def attach(self, program: list[Insn]) -> bool:
        raw = pack_program(program)
        array = ctypes.create_string_buffer(raw, len(raw) or 1)
        try:
            fprog = bpf.SOCK_FPROG.pack(len(program), ctypes.addressof(array))
            self.receiver.setsockopt(socket.SOL_SOCKET, so.SO_ATTACH_FILTER, fprog)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            return False
        return True

    def passed(self, data: bytes) -> int:
        """How many bytes of ``data`` arrive; -1 for none at all."""
        self.sender.send(data)
        try:
            return len(self.receiver.recv(1000))
        except BlockingIOError:
            return -1


@pytest.fixture(scope="module")
def linux() -> Iterator[KernelFilter]:
    kernel = KernelFilter()
    yield kernel
    kernel.sender.close()
    kernel.receiver.close()


#: Not the same on any two machines, or nothing that a payload of AF_UNIX has.
ELSEWHERE = {bpf.SKF_AD_OFF + kind for kind in (bpf.SKF_AD_CPU, bpf.SKF_AD_RANDOM, bpf.SKF_AD_PAY_OFFSET)} | {
    bpf.SKF_AD_OFF + kind for kind in (bpf.SKF_AD_NLATTR, bpf.SKF_AD_NLATTR_NEST, bpf.SKF_AD_RXHASH)
}


@given(program=PROGRAMS, data=st.binary(min_size=1, max_size=40))
def test_the_kernel_agrees(linux: KernelFilter, program: list[Insn], data: bytes) -> None:
    accepted = linux.attach(program)
    assert accepted == sound(program)
    beyond = any(k >= bpf.SKF_LL_OFF and (k < bpf.SKF_AD_OFF or k in ELSEWHERE) for _, _, _, k in program)
    indirect = any(code & 0xE7 == bpf.BPF_IND for code, _, _, _ in program)
    if accepted and not beyond and not indirect:
        passed = run(program, data)
        assert linux.passed(data) == (min(passed, len(data)) or -1)


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0x40, 0x48, 0x50]), st.binary(min_size=1, max_size=40))
def test_indirect_loads_are_the_kernels(linux: KernelFilter, offset: int, k: int, size: int, data: bytes) -> None:
    program = [stmt(LDX | bpf.BPF_IMM, offset), stmt(size, k - 10), stmt(ALU | bpf.BPF_AND, 31), RET_A]
    assert linux.attach(program)
    if offset + k >= 10:  # a negative one reaches for headers, which AF_UNIX has not
        assert linux.passed(data) == (min(run(program, data), len(data)) or -1)


def test_struct_sock_fprog_points_into_memory() -> None:
    raw = pack_program([stmt(RET, 5)])
    array = ctypes.create_string_buffer(raw, len(raw))
    fprog = bpf.SOCK_FPROG.pack(1, ctypes.addressof(array))
    assert program_from_fprog(fprog).run(packet(b"x")) == 5
    with refused(errno.EFAULT):
        program_from_fprog(bpf.SOCK_FPROG.pack(1, 16))
    for bad in (bpf.SOCK_FPROG.pack(0, 16), bpf.SOCK_FPROG.pack(4097, 16), bpf.SOCK_FPROG.pack(1, 0), fprog + b"\0"):
        with refused(errno.EINVAL):
            program_from_fprog(bad)
