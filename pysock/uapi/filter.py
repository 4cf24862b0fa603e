"""Classic BPF as ``<linux/filter.h>`` and ``<linux/bpf_common.h>`` spell it: opcodes, ancillary offsets, struct
sock_filter and sock_fprog (SO_ATTACH_FILTER, socket(7)).

An instruction is ``(code, jt, jf, k)``; `stmt` and `jump` make one, `pack_program` the bytes of several.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final, TypeAlias

    Insn: TypeAlias = tuple[int, int, int, int]

# Classes: the low three bits of a code.
BPF_LD: Final = 0x00
BPF_LDX: Final = 0x01
BPF_ST: Final = 0x02
BPF_STX: Final = 0x03
BPF_ALU: Final = 0x04
BPF_JMP: Final = 0x05
BPF_RET: Final = 0x06
BPF_MISC: Final = 0x07

# Sizes and modes of loads.
BPF_W: Final = 0x00
BPF_H: Final = 0x08
BPF_B: Final = 0x10
BPF_IMM: Final = 0x00
BPF_ABS: Final = 0x20
BPF_IND: Final = 0x40
BPF_MEM: Final = 0x60
BPF_LEN: Final = 0x80
BPF_MSH: Final = 0xA0

# Operations of BPF_ALU and BPF_JMP, and where their operand is.
BPF_ADD: Final = 0x00
BPF_SUB: Final = 0x10
BPF_MUL: Final = 0x20
BPF_DIV: Final = 0x30
BPF_OR: Final = 0x40
BPF_AND: Final = 0x50
BPF_LSH: Final = 0x60
BPF_RSH: Final = 0x70
BPF_NEG: Final = 0x80
BPF_MOD: Final = 0x90
BPF_XOR: Final = 0xA0
BPF_JA: Final = 0x00
BPF_JEQ: Final = 0x10
BPF_JGT: Final = 0x20
BPF_JGE: Final = 0x30
BPF_JSET: Final = 0x40
BPF_K: Final = 0x00
BPF_X: Final = 0x08
BPF_A: Final = 0x10  # of BPF_RET

BPF_TAX: Final = 0x00
BPF_TXA: Final = 0x80

BPF_MAXINSNS: Final = 4096
BPF_MEMWORDS: Final = 16

# Offsets that mean something else than a byte of the packet; signed in C, unsigned here.
SKF_AD_OFF: Final = 0xFFFFF000
SKF_AD_PROTOCOL: Final = 0
SKF_AD_PKTTYPE: Final = 4
SKF_AD_IFINDEX: Final = 8
SKF_AD_NLATTR: Final = 12
SKF_AD_NLATTR_NEST: Final = 16
SKF_AD_MARK: Final = 20
SKF_AD_QUEUE: Final = 24
SKF_AD_HATYPE: Final = 28
SKF_AD_RXHASH: Final = 32
SKF_AD_CPU: Final = 36
SKF_AD_ALU_XOR_X: Final = 40
SKF_AD_VLAN_TAG: Final = 44
SKF_AD_VLAN_TAG_PRESENT: Final = 48
SKF_AD_PAY_OFFSET: Final = 52
SKF_AD_RANDOM: Final = 56
SKF_AD_VLAN_TPID: Final = 60
SKF_AD_MAX: Final = 64
SKF_NET_OFF: Final = 0xFFF00000  # counted from the network header
SKF_LL_OFF: Final = 0xFFE00000  # counted from the link-layer header

#: struct sock_filter: code, jt, jf, k.
SOCK_FILTER: Final = Struct("=HBBI")
#: struct sock_fprog on a 64-bit machine: how many instructions, and their address.
SOCK_FPROG: Final = Struct("=H6xQ")


def stmt(code: int, k: int = 0) -> Insn:
    """An instruction that does not branch (BPF_STMT)."""
    return code, 0, 0, k & 0xFFFFFFFF


def jump(code: int, k: int, jt: int, jf: int) -> Insn:
    """One that skips ``jt`` instructions when it holds, ``jf`` when not (BPF_JUMP)."""
    return code, jt, jf, k & 0xFFFFFFFF


def pack_program(program: Iterable[Insn]) -> bytes:
    """The array of struct sock_filter."""
    return b"".join(SOCK_FILTER.pack(*insn) for insn in program)


def unpack_program(raw: bytes) -> list[Insn]:
    """The instructions in an array of struct sock_filter. ValueError unless it is a whole number of them."""
    if len(raw) % SOCK_FILTER.size:
        raise ValueError("not a whole number of BPF instructions")
    return list(SOCK_FILTER.iter_unpack(raw))
