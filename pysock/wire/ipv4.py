"""IPv4 packets (RFC 791; the type-of-service byte RFC 2474 and RFC 3168; fragments RFC 791 section 3.2)."""

from __future__ import annotations

from struct import Struct

from pysock.wire.addr import inet_ntoa
from pysock.wire.checksum import checksum as checksum_of
from pysock.wire.checksum import verify as verify_sum
from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header, fits, need, sized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

HEADER: Final = Struct("!BBHHHBBH4s4s")
"""version_ihl, tos, total_length, ident, flags_fragment, ttl, protocol, checksum, src, dst."""

HEADER_SIZE: Final = 20
MAX_HEADER_SIZE: Final = 60
MAX_LENGTH: Final = 0xFFFF
CHECKSUM_OFFSET: Final = 10
VERSION_IHL: Final = 0x45  # the first byte of a header without options

# flags_fragment
DF: Final = 0x4000
MF: Final = 0x2000
RESERVED: Final = 0x8000  # RFC 3514's evil bit
OFFSET_MASK: Final = 0x1FFF  # in units of 8 bytes

# Option kinds: copied flag, class and number in one byte
OPT_END: Final = 0
OPT_NOOP: Final = 1
OPT_RR: Final = 7  # record route
OPT_TIMESTAMP: Final = 68
OPT_LSRR: Final = 131  # loose source route
OPT_CIPSO: Final = 134
OPT_SSRR: Final = 137  # strict source route
OPT_RA: Final = 148  # router alert, RFC 2113


class Ipv4Header(Header):
    """``flags`` is DF, MF and RESERVED as in the wire's word; ``fragment`` is the offset in bytes.

    ``total_length`` counts header and payload; ``options`` are raw, padded to a multiple of 4.
    """

    fields: ClassVar[tuple[str, ...]] = (
        "tos",
        "total_length",
        "ident",
        "flags",
        "fragment",
        "ttl",
        "protocol",
        "checksum",
        "src",
        "dst",
        "options",
    )
    __slots__ = fields

    def __init__(
        self,
        tos: int,
        total_length: int,
        ident: int,
        flags: int,
        fragment: int,
        ttl: int,
        protocol: int,
        checksum: int,
        src: bytes,
        dst: bytes,
        options: bytes = b"",
    ) -> None:
        self.tos = tos
        self.total_length = total_length
        self.ident = ident
        self.flags = flags
        self.fragment = fragment
        self.ttl = ttl
        self.protocol = protocol
        self.checksum = checksum
        self.src = src
        self.dst = dst
        self.options = options

    @property
    def size(self) -> int:
        """Bytes of the header on the wire, options included."""
        return HEADER_SIZE + len(self.options)

    @property
    def is_fragment(self) -> bool:
        """Is this a part of a larger packet?"""
        return self.fragment != 0 or self.flags & MF != 0


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0, *, partial: bool = False) -> Ipv4Header:
    """The header at ``offset``; the payload is ``total_length - size`` bytes behind it. Raises Malformed.

    The checksum is not judged (see verify). ``partial`` accepts a packet whose payload is cut off, as an ICMP
    error quotes it.
    """
    need(buf, offset, HEADER_SIZE, "IPv4 header")
    first, tos, total, ident, flags, ttl, protocol, check, src, dst = HEADER.unpack_from(buf, offset)
    if first >> 4 != 4:
        raise Malformed(f"IP version {first >> 4}, not 4")
    size = (first & 0xF) << 2
    if size < HEADER_SIZE:
        raise Malformed(f"IPv4 header length {size} is less than {HEADER_SIZE}")
    need(buf, offset, size, "IPv4 options")
    if total < size:
        raise Malformed(f"IPv4 total length {total} is less than the header's {size}")
    if not partial and total > len(buf) - offset:
        raise Malformed(f"IPv4 total length {total} exceeds the {len(buf) - offset} bytes there are")
    options = bytes(buf[offset + HEADER_SIZE : offset + size])
    fragment = (flags & OFFSET_MASK) << 3
    return Ipv4Header(tos, total, ident, flags & ~OFFSET_MASK, fragment, ttl, protocol, check, src, dst, options)


def verify(buf: Buf, offset: int = 0) -> bool:
    """Is the checksum of the header at ``offset`` right? False for a truncated header too."""
    size = (buf[offset] & 0xF) << 2 if 0 <= offset < len(buf) else 0
    return size >= HEADER_SIZE and len(buf) - offset >= size and verify_sum(buf[offset : offset + size])


def walk_options(options: Buf) -> Iterator[tuple[int, bytes]]:
    """Each option as ``(kind, data)``, kind and length bytes left out, up to the end marker. Raises Malformed."""
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == OPT_END:
            return
        if kind == OPT_NOOP:
            yield kind, b""
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            raise Malformed(f"IPv4 option {kind} with bad length {length}")
        yield kind, bytes(options[at + 2 : at + length])
        at += length


# Build ---------------------------------------------------------------------------------------------


def build(
    src: bytes,
    dst: bytes,
    protocol: int,
    payload: bytes = b"",
    *,
    tos: int = 0,
    ident: int = 0,
    flags: int = 0,
    fragment: int = 0,
    ttl: int = 64,
    options: bytes = b"",
    checksum: int | None = None,
) -> bytes:
    """A packet; the checksum is computed unless given, options are padded to a multiple of 4 with end marks.

    ``flags`` is any of DF, MF, RESERVED; ``fragment`` is a multiple of 8 bytes.
    """
    options += bytes(-len(options) & 3)
    size = HEADER_SIZE + len(options)
    if size > MAX_HEADER_SIZE:
        raise ValueError(f"IPv4 options take at most 40 bytes, not {len(options)}")
    if flags & OFFSET_MASK or fragment & 7:
        raise ValueError("flags must be DF, MF or RESERVED, and fragment a multiple of 8")
    header = HEADER.pack(
        0x40 | size >> 2,
        fits(tos, 8, "tos"),
        fits(size + len(payload), 16, "total length"),
        fits(ident, 16, "ident"),
        fits(flags, 16, "flags") | fits(fragment, 16, "fragment") >> 3,
        fits(ttl, 8, "ttl"),
        fits(protocol, 8, "protocol"),
        0 if checksum is None else fits(checksum, 16, "checksum"),
        sized(src, 4, "src"),
        sized(dst, 4, "dst"),
    )
    if checksum is None:
        check = checksum_of(header + options)
        header = header[:CHECKSUM_OFFSET] + check.to_bytes(2, "big") + header[CHECKSUM_OFFSET + 2 :]
    return header + options + payload


def build_option(kind: int, data: bytes = b"") -> bytes:
    """One option: a bare kind byte for OPT_END and OPT_NOOP, else kind, length and data."""
    if kind in (OPT_END, OPT_NOOP):
        return bytes([kind])
    return bytes([fits(kind, 8, "option kind"), fits(2 + len(data), 8, "option length")]) + data


# Pretty-print --------------------------------------------------------------------------------------


def describe(header: Ipv4Header, payload: bytes = b"") -> str:
    """``10.0.0.1 > 10.0.0.2: ip-proto-47 20``, or for a fragment ``...: (frag 7:1480@2960+)``.

    What tcpdump prints when the payload says nothing more: (frag ident:length@offset, + if more follow).
    """
    length = header.total_length - header.size
    if header.is_fragment:
        more = "+" if header.flags & MF else ""
        what = f"(frag {header.ident}:{length}@{header.fragment}{more})"
    else:
        what = f"ip-proto-{header.protocol} {length}"
    return f"{inet_ntoa(header.src)} > {inet_ntoa(header.dst)}: {what}"
