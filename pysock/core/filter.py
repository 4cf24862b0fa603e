"""Socket filters: classic BPF programs that decide which packets a socket gets, and how much of each (socket(7),
SO_ATTACH_FILTER; net/core/filter.c).

A program comes in as an array of struct sock_filter, is checked (`check`) and compiled once to a Python function
(filter_compile.py). `Sock.filter` is that function: it takes a packet with ``data`` where the protocol lets programs
see it from (UDP and TCP header, IP header of raw sockets, payload of AF_UNIX) and returns how many bytes pass, 0: none.
A receive path calls `sk_filter`, and only when ``sk.filter is not None``.

What a checked program cannot do: jump backwards, read memory it has not written, divide by a constant zero. Whatever
else goes wrong as it runs (a load beyond the packet, X of zero as divisor) ends it with 0, "drop". So no packet can
make one raise, and none runs longer than it has instructions.

Not here: eBPF. SO_ATTACH_BPF is EBADF or EINVAL, since no descriptor names an eBPF program.
"""

from __future__ import annotations

import errno
import os

from pysock.core.errors import err
from pysock.core.filter_compile import compile_program
from pysock.core.skb_data import pskb_trim
from pysock.core.skbuff import kfree_skb
from pysock.uapi import filter as bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import Sock
    from pysock.uapi.filter import Insn

# Taken before anybody patches them.
_open = os.open
_close = os.close
_pread = os.pread
_MEMORY_FLAGS = os.O_RDONLY | os.O_CLOEXEC

_X_OR_K: Final = (bpf.BPF_K, bpf.BPF_X)
_ALU_OPS: Final = (
    bpf.BPF_ADD,
    bpf.BPF_SUB,
    bpf.BPF_MUL,
    bpf.BPF_DIV,
    bpf.BPF_MOD,
    bpf.BPF_AND,
    bpf.BPF_OR,
    bpf.BPF_XOR,
    bpf.BPF_LSH,
    bpf.BPF_RSH,
)
_LOADS: Final = frozenset(
    bpf.BPF_LD | size | mode for size in (bpf.BPF_W, bpf.BPF_H, bpf.BPF_B) for mode in (bpf.BPF_ABS, bpf.BPF_IND)
)
_ABSOLUTE: Final = frozenset(code for code in _LOADS if code & 0xE0 == bpf.BPF_ABS)
_MEMORY_READS: Final = frozenset((bpf.BPF_LD | bpf.BPF_MEM, bpf.BPF_LDX | bpf.BPF_MEM))
_MEMORY_WRITES: Final = frozenset((bpf.BPF_ST, bpf.BPF_STX))
_BRANCHES: Final = frozenset(
    bpf.BPF_JMP | op | source
    for op in (bpf.BPF_JEQ, bpf.BPF_JGE, bpf.BPF_JGT, bpf.BPF_JSET)
    for source in _X_OR_K
)
_RETURNS: Final = frozenset((bpf.BPF_RET | bpf.BPF_K, bpf.BPF_RET | bpf.BPF_A))
#: Every code that means something (chk_code_allowed).
_KNOWN: Final = frozenset(
    {
        *(bpf.BPF_ALU | op | source for op in _ALU_OPS for source in _X_OR_K),
        bpf.BPF_ALU | bpf.BPF_NEG,
        *_LOADS,
        bpf.BPF_LD | bpf.BPF_W | bpf.BPF_LEN,
        bpf.BPF_LD | bpf.BPF_IMM,
        bpf.BPF_LDX | bpf.BPF_W | bpf.BPF_LEN,
        bpf.BPF_LDX | bpf.BPF_B | bpf.BPF_MSH,
        bpf.BPF_LDX | bpf.BPF_IMM,
        *_MEMORY_READS,
        *_MEMORY_WRITES,
        bpf.BPF_MISC | bpf.BPF_TAX,
        bpf.BPF_MISC | bpf.BPF_TXA,
        *_RETURNS,
        bpf.BPF_JMP | bpf.BPF_JA,
        *_BRANCHES,
    }
)
_ANCILLARY: Final = frozenset(range(bpf.SKF_AD_OFF, bpf.SKF_AD_OFF + bpf.SKF_AD_MAX, 4))


class BpfProgram:
    """A checked program. ``run(skb)`` is how many bytes of a packet pass; ``raw`` the array it came from."""

    __slots__ = ("raw", "run")

    def __init__(self, raw: bytes) -> None:
        """EINVAL when the program is not sound."""
        try:
            program = bpf.unpack_program(raw)
        except ValueError:
            raise err(errno.EINVAL) from None
        check(program)
        self.raw = raw
        self.run: Callable[[SkBuff], int] = compile_program(program)


def check(program: Sequence[Insn]) -> None:
    """EINVAL unless the program is sound: 1 to 4096 known instructions, jumps that stay inside, a return at the end,
    and no read of memory that some way there has not written (bpf_check_classic).
    """
    count = len(program)
    if not 1 <= count <= bpf.BPF_MAXINSNS:
        raise err(errno.EINVAL)
    for at, (code, jt, jf, k) in enumerate(program):
        if code not in _KNOWN or _bad_operand(code, k):
            raise err(errno.EINVAL)
        if code == bpf.BPF_JMP | bpf.BPF_JA:
            if k >= count - at - 1:
                raise err(errno.EINVAL)
        elif code in _BRANCHES and at + max(jt, jf) + 1 >= count:
            raise err(errno.EINVAL)
    if program[-1][0] not in _RETURNS:
        raise err(errno.EINVAL)
    _check_memory(program)


def _bad_operand(code: int, k: int) -> bool:
    if code in (bpf.BPF_ALU | bpf.BPF_DIV, bpf.BPF_ALU | bpf.BPF_MOD):
        return k == 0
    if code in (bpf.BPF_ALU | bpf.BPF_LSH, bpf.BPF_ALU | bpf.BPF_RSH):
        return k >= 32
    if code in _MEMORY_READS or code in _MEMORY_WRITES:
        return k >= bpf.BPF_MEMWORDS
    return code in _ABSOLUTE and k >= bpf.SKF_AD_OFF and k not in _ANCILLARY


def _check_memory(program: Sequence[Insn]) -> None:
    """check_load_and_stores(): the words of memory that are written on every way to an instruction, as bits."""
    everything = (1 << bpf.BPF_MEMWORDS) - 1
    arriving = [everything] * len(program)
    written = 0
    for at, (code, jt, jf, k) in enumerate(program):
        written &= arriving[at]
        if code in _MEMORY_WRITES:
            written |= 1 << k
        elif code in _MEMORY_READS:
            if not written >> k & 1:
                raise err(errno.EINVAL)
        elif code & 7 == bpf.BPF_JMP:
            if code == bpf.BPF_JMP | bpf.BPF_JA:
                arriving[at + 1 + k] &= written
            else:
                arriving[at + 1 + jt] &= written
                arriving[at + 1 + jf] &= written
            written = everything


def sk_filter(sk: Sock, skb: SkBuff, keep: int = 1) -> bool:
    """Run the filter of ``sk``, which has one; cut ``skb`` to what passes, but not below ``keep`` bytes
    (sk_filter_trim_cap). False when nothing does: then the packet is freed.
    """
    run = sk.filter
    assert run is not None
    passed = run(skb)
    if not passed:
        kfree_skb(skb, "SOCKET_FILTER")
        return False
    if passed < skb.len:
        pskb_trim(skb, max(keep, passed) if max(keep, passed) < skb.len else skb.len)
    return True


def program_from_fprog(value: bytes) -> BpfProgram:
    """The program that a struct sock_fprog points to, in the memory of this process. EINVAL for a bad size or program,
    EFAULT for a bad address.
    """
    if len(value) != bpf.SOCK_FPROG.size:
        raise err(errno.EINVAL)
    count, address = bpf.SOCK_FPROG.unpack(value)
    if not address or not 1 <= count <= bpf.BPF_MAXINSNS:
        raise err(errno.EINVAL)
    return BpfProgram(_read_memory(address, count * bpf.SOCK_FILTER.size))


def _read_memory(address: int, size: int) -> bytes:
    try:
        fd = _open("/proc/self/mem", _MEMORY_FLAGS)
        try:
            raw = _pread(fd, size, address)
        finally:
            _close(fd)
    except (OSError, OverflowError):
        raise err(errno.EFAULT) from None
    if len(raw) != size:
        raise err(errno.EFAULT)
    return raw
