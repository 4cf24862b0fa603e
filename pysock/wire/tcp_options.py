"""TCP options: MSS (RFC 9293 section 3.7.1), window scale and timestamps (RFC 7323), SACK (RFC 2018).

What this module does not name survives in ``TcpOptions.other``: fast open (RFC 7413), MD5 (RFC 2385),
experiments (RFC 6994).
"""

from __future__ import annotations

from struct import Struct

from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

OPT_END: Final = 0
OPT_NOP: Final = 1
OPT_MSS: Final = 2
OPT_WSCALE: Final = 3
OPT_SACK_PERMITTED: Final = 4
OPT_SACK: Final = 5
OPT_TIMESTAMPS: Final = 8
OPT_MD5: Final = 19
OPT_FASTOPEN: Final = 34
OPT_EXPERIMENT: Final = 254

LENGTHS: Final = {OPT_MSS: 4, OPT_WSCALE: 3, OPT_SACK_PERMITTED: 2, OPT_TIMESTAMPS: 10}
"""Length byte of the options that have only one."""

TIMESTAMPS: Final = Struct("!III")
"""The aligned timestamps that every segment of a connection carries: TIMESTAMPS_WORD, value, echo."""

TIMESTAMPS_WORD: Final = 0x0101080A  # NOP, NOP, kind 8, length 10
TIMESTAMPS_SIZE: Final = 12
SACK_BLOCK: Final = Struct("!II")
MAX_WSCALE: Final = 14
MAX_SIZE: Final = 40


class TcpOptions(Header):
    """What a segment's options say; None, False or empty for what is absent.

    ``timestamps`` is (value, echo); ``sack`` holds (left, right) edges; ``other`` holds (kind, data).
    """

    fields: ClassVar[tuple[str, ...]] = ("mss", "sack_permitted", "timestamps", "wscale", "sack", "other")
    __slots__ = fields

    def __init__(
        self,
        mss: int | None = None,
        sack_permitted: bool = False,
        timestamps: tuple[int, int] | None = None,
        wscale: int | None = None,
        sack: tuple[tuple[int, int], ...] = (),
        other: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        self.mss = mss
        self.sack_permitted = sack_permitted
        self.timestamps = timestamps
        self.wscale = wscale
        self.sack = sack
        self.other = other


# Parse ---------------------------------------------------------------------------------------------


def walk_options(options: Buf) -> Iterator[tuple[int, bytes]]:
    """Each option as ``(kind, data)``, NOPs included, up to the end mark.

    Raises Malformed at an option that overruns the buffer or has not the length its kind demands; those before
    it have been yielded by then.
    """
    at = 0
    size = len(options)
    while at < size:
        kind = options[at]
        if kind == OPT_END:
            return
        if kind == OPT_NOP:
            yield kind, b""
            at += 1
            continue
        length = options[at + 1] if at + 1 < size else 0
        if length < 2 or at + length > size or LENGTHS.get(kind, length) != length:
            raise Malformed(f"TCP option {kind} with bad length {length}")
        if kind == OPT_SACK and (length < 10 or (length - 2) % 8):
            raise Malformed(f"TCP SACK option with bad length {length}")
        yield kind, bytes(options[at + 2 : at + length])
        at += length


def parse_options(options: Buf, *, strict: bool = True) -> TcpOptions:
    """Everything in a header's option bytes; of a repeated option the last one counts.

    Raises Malformed at the first bad option; with ``strict=False`` it stops there and returns what came before,
    as Linux's ``tcp_parse_options`` does.
    """
    result = TcpOptions()
    try:
        for kind, data in walk_options(options):
            _take(result, kind, data)
    except Malformed:
        if strict:
            raise
    return result


def _take(result: TcpOptions, kind: int, data: bytes) -> None:
    if kind == OPT_MSS:
        result.mss = int.from_bytes(data, "big")
    elif kind == OPT_WSCALE:
        result.wscale = data[0]
    elif kind == OPT_SACK_PERMITTED:
        result.sack_permitted = True
    elif kind == OPT_SACK:
        result.sack = tuple(SACK_BLOCK.iter_unpack(data))
    elif kind == OPT_TIMESTAMPS:
        result.timestamps = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")
    elif kind != OPT_NOP:
        result.other += ((kind, data),)


# Build ---------------------------------------------------------------------------------------------


def build_options(options: TcpOptions) -> bytes:
    """The option bytes in the order and alignment that Linux writes, a multiple of 4; ValueError above 40."""
    out = b""
    if options.mss is not None:
        out += b"\2\4" + fits(options.mss, 16, "mss").to_bytes(2, "big")
    if options.timestamps is not None:
        out += b"\4\2" if options.sack_permitted else b"\1\1"
        value, echo = options.timestamps
        out += b"\x08\x0a" + SACK_BLOCK.pack(fits(value, 32, "timestamp"), fits(echo, 32, "timestamp echo"))
    elif options.sack_permitted:
        out += b"\1\1\4\2"
    if options.wscale is not None:
        out += b"\1\3\3" + bytes([fits(options.wscale, 8, "wscale")])
    if options.sack:
        out += b"\1\1\5" + bytes([fits(2 + 8 * len(options.sack), 8, "SACK length")])
        for left, right in options.sack:
            out += SACK_BLOCK.pack(fits(left, 32, "SACK edge"), fits(right, 32, "SACK edge"))
    for kind, data in options.other:
        out += bytes([fits(kind, 8, "option kind"), fits(2 + len(data), 8, "option length")]) + data
    out += bytes(-len(out) & 3)
    if len(out) > MAX_SIZE:
        raise ValueError(f"TCP options take at most {MAX_SIZE} bytes, not {len(out)}")
    return out


# Pretty-print --------------------------------------------------------------------------------------


def describe_options(options: Buf) -> str:
    """``mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7``; a bad option ends the list as ``[bad opt]``."""
    parts: list[str] = []
    try:
        for kind, data in walk_options(options):
            parts.append(_describe(kind, data))
    except Malformed:
        parts.append("[bad opt]")
    return ",".join(parts) or "eol"


def _describe(kind: int, data: bytes) -> str:
    if kind == OPT_NOP:
        return "nop"
    if kind == OPT_MSS:
        return f"mss {int.from_bytes(data, 'big')}"
    if kind == OPT_WSCALE:
        return f"wscale {data[0]}"
    if kind == OPT_SACK_PERMITTED:
        return "sackOK"
    if kind == OPT_SACK:
        blocks = "".join(f"{{{left}:{right}}}" for left, right in SACK_BLOCK.iter_unpack(data))
        return f"sack {len(data) // 8} {blocks}"
    if kind == OPT_TIMESTAMPS:
        return f"TS val {int.from_bytes(data[:4], 'big')} ecr {int.from_bytes(data[4:], 'big')}"
    if kind == OPT_FASTOPEN:
        return f"tfo cookie {data.hex()}" if data else "tfo cookiereq"
    if kind == OPT_MD5:
        return "md5"
    return f"unknown-{kind}" + (f" 0x{data.hex()}" if data else "")
