"""TCP segments (RFC 9293 section 3.1). Their options are in tcp_options; the names below re-export the usual.

``flags`` here are the 9 low bits of the word that also holds the data offset: RFC 3168's ECE and CWR, and
AE, the bit that RFC 3540 called NS, among them.
"""

from __future__ import annotations

from struct import Struct

from pysock.uapi.in_ import IPPROTO_TCP
from pysock.wire import checksum as csum
from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header, fits, need
from pysock.wire.tcp_options import TcpOptions, build_options, describe_options, parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

__all__ = [
    "ACK", "AE", "CHECKSUM_OFFSET", "CWR", "ECE", "FIN", "FLAGS_MASK", "HEADER", "HEADER_SIZE", "MAX_HEADER_SIZE",
    "PSH", "RST", "SYN", "URG", "TcpHeader", "TcpOptions", "build", "build_options", "describe",
    "describe_options", "flag_names", "parse", "parse_options",
]  # fmt: skip

# Layout --------------------------------------------------------------------------------------------

HEADER: Final = Struct("!HHIIHHHH")
"""src_port, dst_port, seq, ack, offset_flags, window, checksum, urgent."""

HEADER_SIZE: Final = 20
MAX_HEADER_SIZE: Final = 60
CHECKSUM_OFFSET: Final = 16
OFFSET_SHIFT: Final = 12  # offset_flags >> 12 is the header's length in 4-byte words
FLAGS_MASK: Final = 0x1FF

FIN: Final = 0x001
SYN: Final = 0x002
RST: Final = 0x004
PSH: Final = 0x008
ACK: Final = 0x010
URG: Final = 0x020
ECE: Final = 0x040
CWR: Final = 0x080
AE: Final = 0x100

FLAG_NAMES: Final = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE")
FLAG_LETTERS: Final = "FSRP.UEWe"  # tcpdump's, from the lowest bit


class TcpHeader(Header):
    """Sequence numbers are 32-bit as on the wire; ``window`` is unscaled; ``options`` are raw, padded."""

    fields: ClassVar[tuple[str, ...]] = (
        "src_port",
        "dst_port",
        "seq",
        "ack",
        "flags",
        "window",
        "checksum",
        "urgent",
        "options",
    )
    __slots__ = fields

    def __init__(
        self,
        src_port: int,
        dst_port: int,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        checksum: int,
        urgent: int,
        options: bytes = b"",
    ) -> None:
        self.src_port = src_port
        self.dst_port = dst_port
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.checksum = checksum
        self.urgent = urgent
        self.options = options

    @property
    def size(self) -> int:
        """Bytes of the header on the wire, options included."""
        return HEADER_SIZE + len(self.options)


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0, *, partial: bool = False) -> TcpHeader:
    """The header at ``offset``; data follows to the end of the packet. Raises Malformed.

    ``partial`` accepts a header whose options are cut off. Reserved bits are ignored, as RFC 9293 says.
    """
    need(buf, offset, HEADER_SIZE, "TCP header")
    src_port, dst_port, seq, ack, offset_flags, window, check, urgent = HEADER.unpack_from(buf, offset)
    size = offset_flags >> OFFSET_SHIFT << 2
    if size < HEADER_SIZE:
        raise Malformed(f"TCP data offset {size} is less than {HEADER_SIZE}")
    if not partial:
        need(buf, offset, size, "TCP options")
    options = bytes(buf[offset + HEADER_SIZE : offset + size])
    return TcpHeader(src_port, dst_port, seq, ack, offset_flags & FLAGS_MASK, window, check, urgent, options)


# Build ---------------------------------------------------------------------------------------------


def build(
    src_port: int,
    dst_port: int,
    payload: bytes = b"",
    *,
    seq: int = 0,
    ack: int = 0,
    flags: int = 0,
    window: int = 0,
    urgent: int = 0,
    options: bytes | TcpOptions = b"",
    checksum: int | None = None,
    addresses: tuple[bytes, bytes] | None = None,
) -> bytes:
    """A segment. The checksum is computed if ``addresses`` (source and destination, 4 or 16 bytes) are given,
    taken from ``checksum`` if that is, and 0 otherwise. Raw options are padded to a multiple of 4."""
    raw = build_options(options) if isinstance(options, TcpOptions) else options
    raw += bytes(-len(raw) & 3)
    size = HEADER_SIZE + len(raw)
    if size > MAX_HEADER_SIZE:
        raise ValueError(f"TCP options take at most 40 bytes, not {len(raw)}")
    segment = (
        HEADER.pack(
            fits(src_port, 16, "src_port"),
            fits(dst_port, 16, "dst_port"),
            fits(seq, 32, "seq"),
            fits(ack, 32, "ack"),
            size >> 2 << OFFSET_SHIFT | fits(flags, 9, "flags"),
            fits(window, 16, "window"),
            fits(checksum or 0, 16, "checksum"),
            fits(urgent, 16, "urgent"),
        )
        + raw
        + payload
    )
    if checksum is None and addresses is not None:
        check = csum.finish(csum.partial(segment) + csum.pseudo(*addresses, IPPROTO_TCP, len(segment)))
        return segment[:CHECKSUM_OFFSET] + check.to_bytes(2, "big") + segment[CHECKSUM_OFFSET + 2 :]
    return segment


# Pretty-print --------------------------------------------------------------------------------------


def flag_names(flags: int) -> str:
    """``SYN|ACK``, for people who read traces; ``none`` for 0."""
    return "|".join(name for bit, name in enumerate(FLAG_NAMES) if flags >> bit & 1) or "none"


def describe(header: TcpHeader, payload: bytes = b"") -> str:
    """``Flags [P.], seq 1:6, ack 1, win 512, options [nop,nop,TS val 1 ecr 2], length 5``."""
    letters = "".join(letter for bit, letter in enumerate(FLAG_LETTERS) if header.flags >> bit & 1)
    parts = [f"Flags [{letters or 'none'}]"]
    if payload:
        parts.append(f"seq {header.seq}:{header.seq + len(payload) & 0xFFFFFFFF}")
    elif header.flags & (SYN | FIN | RST):
        parts.append(f"seq {header.seq}")
    if header.flags & ACK:
        parts.append(f"ack {header.ack}")
    parts.append(f"win {header.window}")
    if header.flags & URG:
        parts.append(f"urg {header.urgent}")
    if header.options:
        parts.append(f"options [{describe_options(header.options)}]")
    parts.append(f"length {len(payload)}")
    return ", ".join(parts)
