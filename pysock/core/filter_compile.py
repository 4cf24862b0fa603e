"""From a checked BPF program to a Python function, once, when it is attached.

Jumps only go forward, so one pass over the basic blocks in their order is enough: no loop, no dispatch table. A block
is guarded by ``if at == 7:``; a load tests the linear part of the packet first and asks `load` for anything else. What
tcpdump makes of "tcp port 80" runs in about a microsecond.

The text holds nothing but the program's own numbers.
"""

from __future__ import annotations

from pysock.core.filter_aux import ancillary, load
from pysock.uapi import filter as bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.uapi.filter import Insn

_M32: Final = "0xFFFFFFFF"
_SIZES: Final = {bpf.BPF_W: 4, bpf.BPF_H: 2, bpf.BPF_B: 1}
_TESTS: Final = {bpf.BPF_JEQ: "A == {}", bpf.BPF_JGT: "A > {}", bpf.BPF_JGE: "A >= {}", bpf.BPF_JSET: "A & {}"}
_ALU: Final = {
    bpf.BPF_ADD: f"A = (A + {{}}) & {_M32}",
    bpf.BPF_SUB: f"A = (A - {{}}) & {_M32}",
    bpf.BPF_MUL: f"A = (A * {{}}) & {_M32}",
    bpf.BPF_DIV: "A //= {}",
    bpf.BPF_MOD: "A %= {}",
    bpf.BPF_AND: "A &= {}",
    bpf.BPF_OR: "A |= {}",
    bpf.BPF_XOR: "A ^= {}",
    bpf.BPF_LSH: f"A = (A << {{}}) & {_M32}",
    bpf.BPF_RSH: "A >>= {}",
}
_PLAIN: Final = {
    bpf.BPF_LD | bpf.BPF_LEN: "A = skb.len",
    bpf.BPF_LDX | bpf.BPF_LEN: "X = skb.len",
    bpf.BPF_LD | bpf.BPF_IMM: "A = {k}",
    bpf.BPF_LDX | bpf.BPF_IMM: "X = {k}",
    bpf.BPF_LD | bpf.BPF_MEM: "A = m{k}",
    bpf.BPF_LDX | bpf.BPF_MEM: "X = m{k}",
    bpf.BPF_ST: "m{k} = A",
    bpf.BPF_STX: "m{k} = X",
    bpf.BPF_MISC | bpf.BPF_TAX: "X = A",
    bpf.BPF_MISC | bpf.BPF_TXA: "A = X",
    bpf.BPF_ALU | bpf.BPF_NEG: f"A = -A & {_M32}",
    bpf.BPF_RET | bpf.BPF_K: "return {k}",
    bpf.BPF_RET | bpf.BPF_A: "return A",
}


def compile_program(program: Sequence[Insn]) -> Callable[[SkBuff], int]:
    """The function of a sound program: a packet in, the number of bytes that pass out."""
    scope: dict[str, Callable[[SkBuff], int]] = {}
    names = {"load": load, "ancillary": ancillary, "join": int.from_bytes}
    exec(compile(source_of(program), "<bpf>", "exec"), names, scope)  # see the module docstring
    return scope["run"]


def source_of(program: Sequence[Insn]) -> str:
    """The text of the function."""
    lines = [
        "def run(skb):",
        " head = skb.head",
        " data = skb.data",
        " size = skb.len - skb.data_len",
        " A = X = at = 0",
    ]
    targets = _targets(program)
    open_block = False  # inside "if at == ..:"
    for at, insn in enumerate(program):
        if at in targets:
            lines.append(f" if at == {at}:")
            open_block = True
        indent = "  " if open_block else " "
        lines += [indent + line for line in _statement(at, insn)]
        if at + 1 in targets and insn[0] & 7 not in (bpf.BPF_JMP, bpf.BPF_RET):
            lines.append(f"{indent}at = {at + 1}")
    lines.append(" return 0")
    return "\n".join(lines)


def _targets(program: Sequence[Insn]) -> set[int]:
    """Where a block must be guarded: whatever a jump leads to, and what follows a jump or a return."""
    found = set()
    for at, (code, jt, jf, k) in enumerate(program):
        if code & 7 == bpf.BPF_JMP:
            if code == bpf.BPF_JMP | bpf.BPF_JA:
                found.add(at + 1 + k)
            else:
                found.update((at + 1 + jt, at + 1 + jf))
            found.add(at + 1)
        elif code & 7 == bpf.BPF_RET:
            found.add(at + 1)
    return found


def _statement(at: int, insn: Insn) -> list[str]:
    code, jt, jf, k = insn
    plain = _PLAIN.get(code)
    if plain is not None:
        return [plain.format(k=k)]
    kind = code & 7
    if kind == bpf.BPF_ALU:
        return _alu(code, k)
    if kind == bpf.BPF_JMP:
        if code == bpf.BPF_JMP | bpf.BPF_JA:
            return [f"at = {at + 1 + k}"]
        test = _TESTS[code & 0xF0].format("X" if code & bpf.BPF_X else k)
        return [f"at = {at + 1 + jt} if {test} else {at + 1 + jf}"]
    if kind == bpf.BPF_LDX:  # BPF_MSH: four times the low half of a byte, the length of an IP header
        return [*_fixed_load("b", k, 1), "X = (b & 15) << 2"]
    if code & 0xE0 == bpf.BPF_IND:
        # An offset beyond 31 bits is negative: `load` knows those.
        return [f"A = load(skb, (X + {k}) & {_M32}, {_SIZES[code & 0x18]})", "if A < 0: return 0"]
    if k >= bpf.SKF_AD_OFF:
        if k == bpf.SKF_AD_OFF + bpf.SKF_AD_ALU_XOR_X:
            return ["A ^= X"]
        return [f"A = ancillary(skb, {k - bpf.SKF_AD_OFF}, A, X)", "if A < 0: return 0"]
    return _fixed_load("A", k, _SIZES[code & 0x18])


def _alu(code: int, k: int) -> list[str]:
    op = code & 0xF0
    if not code & bpf.BPF_X:
        return [_ALU[op].format(k)]
    if op in (bpf.BPF_DIV, bpf.BPF_MOD):
        return ["if not X: return 0", _ALU[op].format("X")]
    return [_ALU[op].format("(X & 31)" if op in (bpf.BPF_LSH, bpf.BPF_RSH) else "X")]


def _fixed_load(name: str, k: int, size: int) -> list[str]:
    asked = f"{name} = load(skb, {k}, {size})"
    refused = f" if {name} < 0: return 0"
    if k >= 0x80000000:
        return [asked, refused[1:]]
    if size == 1:
        taken = f"{name} = head[data + {k}]"
    elif size == 2:
        taken = f"{name} = head[data + {k}] << 8 | head[data + {k + 1}]"
    else:
        taken = f'{name} = join(head[data + {k} : data + {k + size}], "big")'
    return [f"if size >= {k + size}: {taken}", "else:", f" {asked}", refused]
