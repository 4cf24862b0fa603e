"""pcapng, the capture file format (draft-ietf-opsawg-pcapng): blocks to fields and back.

    block    type (4) | total length (4) | body, padded to a multiple of 4 | total length again (4)
    option   code (2) | length (2) | value, padded to a multiple of 4;  0 0 ends the list

A file is a sequence of sections. Each begins with a Section Header Block, whose magic number tells the byte order of
what follows; then come the interfaces, numbered from 0 as they appear, and the packets, which name their interface by
number. `walk` follows sections and byte orders through a whole file.

Options that are numbers are fields of their block (None: the option is absent); all others stay bytes in `options`.
"""

from __future__ import annotations

import sys
from struct import Struct
from struct import error as StructError

from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header, fits, need

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import ClassVar, Final, Literal

    Order = Literal["<", ">"]
    Options = tuple[tuple[int, bytes], ...]

# Layout --------------------------------------------------------------------------------------------

SHB: Final = 0x0A0D0D0A  # Section Header Block: reads the same in both byte orders
IDB: Final = 1  # Interface Description Block
SPB: Final = 3  # Simple Packet Block
NRB: Final = 4  # Name Resolution Block
ISB: Final = 5  # Interface Statistics Block
EPB: Final = 6  # Enhanced Packet Block

BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
VERSION: Final = (1, 0)
LENGTH_UNKNOWN: Final = 0xFFFFFFFFFFFFFFFF
BLOCK_OVERHEAD: Final = 12  # type, length, length again
NATIVE: Final[Order] = "<" if sys.byteorder == "little" else ">"

# Options of every block
OPT_ENDOFOPT: Final = 0
OPT_COMMENT: Final = 1
# Options of one block each
SHB_HARDWARE: Final = 2
SHB_OS: Final = 3
SHB_USERAPPL: Final = 4
IF_NAME: Final = 2
IF_DESCRIPTION: Final = 3
IF_MACADDR: Final = 6
IF_TSRESOL: Final = 9  # one byte: 10**-n seconds a unit, or 2**-n with the high bit
IF_FILTER: Final = 11
IF_OS: Final = 12
EPB_FLAGS: Final = 2
EPB_DROPCOUNT: Final = 4
ISB_STARTTIME: Final = 2
ISB_ENDTIME: Final = 3
ISB_IFRECV: Final = 4
ISB_IFDROP: Final = 5

TSRESOL_NS: Final = 9
INBOUND: Final = 1  # the low two bits of epb_flags
OUTBOUND: Final = 2
DIRECTION_MASK: Final = 3

LINKTYPE_ETHERNET: Final = 1
LINKTYPE_RAW: Final = 101  # bare IPv4 or IPv6

_HEAD: Final = {order: Struct(order + "II") for order in "<>"}
_U32: Final = {order: Struct(order + "I") for order in "<>"}
_U64: Final = {order: Struct(order + "Q") for order in "<>"}
_SHB: Final = {order: Struct(order + "IHHQ") for order in "<>"}
_IDB: Final = {order: Struct(order + "HHI") for order in "<>"}
_EPB: Final = {order: Struct(order + "IIIII") for order in "<>"}
_ISB: Final = {order: Struct(order + "III") for order in "<>"}
_OPTION: Final = {order: Struct(order + "HH") for order in "<>"}


class Block(Header):
    """Any block; those that this module does not know are read as RawBlock."""

    type: ClassVar[int] = 0
    __slots__ = ()

    def body(self, order: Order) -> bytes:
        """What stands between the two lengths, not yet padded."""
        raise NotImplementedError


class SectionHeader(Block):
    """A new section: file format version, its length in bytes or LENGTH_UNKNOWN. Interface numbers start over."""

    type = SHB
    fields: ClassVar[tuple[str, ...]] = ("version", "section_length", "options")
    __slots__ = fields

    def __init__(
        self, version: tuple[int, int] = VERSION, section_length: int = LENGTH_UNKNOWN, options: Options = ()
    ) -> None:
        self.version = version
        self.section_length = section_length
        self.options = options

    def body(self, order: Order) -> bytes:
        major, minor = (fits(part, 16, "version") for part in self.version)
        length = fits(self.section_length, 64, "section_length")
        return _SHB[order].pack(BYTE_ORDER_MAGIC, major, minor, length) + build_options(self.options, order)


class InterfaceDescription(Block):
    """An interface: LINKTYPE_*, the most bytes kept of a packet (0: no limit)."""

    type = IDB
    fields: ClassVar[tuple[str, ...]] = ("linktype", "snaplen", "options")
    __slots__ = fields

    def __init__(self, linktype: int, snaplen: int = 0, options: Options = ()) -> None:
        self.linktype = linktype
        self.snaplen = snaplen
        self.options = options

    def body(self, order: Order) -> bytes:
        linktype, snaplen = fits(self.linktype, 16, "linktype"), fits(self.snaplen, 32, "snaplen")
        return _IDB[order].pack(linktype, 0, snaplen) + build_options(self.options, order)


class EnhancedPacket(Block):
    """A packet: its interface's number, its time since 1970 in the interface's unit, its first bytes, its whole length.

    ``flags`` is epb_flags: INBOUND or OUTBOUND in the low two bits.
    """

    type = EPB
    fields: ClassVar[tuple[str, ...]] = ("interface", "timestamp", "data", "original_length", "flags", "options")
    __slots__ = fields

    def __init__(
        self,
        interface: int,
        timestamp: int,
        data: bytes,
        original_length: int,
        flags: int | None = None,
        options: Options = (),
    ) -> None:
        self.interface = interface
        self.timestamp = timestamp
        self.data = data
        self.original_length = original_length
        self.flags = flags
        self.options = options

    def body(self, order: Order) -> bytes:
        options = list(self.options)
        if self.flags is not None:
            options.insert(0, (EPB_FLAGS, _U32[order].pack(fits(self.flags, 32, "flags"))))
        data = self.data
        head = _EPB[order].pack(
            fits(self.interface, 32, "interface"),
            fits(self.timestamp, 64, "timestamp") >> 32,
            self.timestamp & 0xFFFFFFFF,
            len(data),
            fits(self.original_length, 32, "original_length"),
        )
        return b"".join((head, data, _padding(len(data)), build_options(tuple(options), order)))


class InterfaceStatistics(Block):
    """What became of an interface's packets, as of ``timestamp``: when capturing began and ended (in the interface's
    unit), how many packets it received, how many of them were not captured for want of room.
    """

    type = ISB
    fields: ClassVar[tuple[str, ...]] = ("interface", "timestamp", "start", "end", "received", "dropped", "options")
    __slots__ = fields

    def __init__(
        self,
        interface: int,
        timestamp: int,
        start: int | None = None,
        end: int | None = None,
        received: int | None = None,
        dropped: int | None = None,
        options: Options = (),
    ) -> None:
        self.interface = interface
        self.timestamp = timestamp
        self.start = start
        self.end = end
        self.received = received
        self.dropped = dropped
        self.options = options

    def body(self, order: Order) -> bytes:
        numbers: list[tuple[int, bytes]] = []
        for code, instant in ((ISB_STARTTIME, self.start), (ISB_ENDTIME, self.end)):
            if instant is not None:  # the more significant half first, in either byte order
                instant = fits(instant, 64, "time")
                numbers.append((code, _HEAD[order].pack(instant >> 32, instant & 0xFFFFFFFF)))
        for code, count in ((ISB_IFRECV, self.received), (ISB_IFDROP, self.dropped)):
            if count is not None:
                numbers.append((code, _U64[order].pack(fits(count, 64, "count"))))
        stamp = fits(self.timestamp, 64, "timestamp")
        head = _ISB[order].pack(fits(self.interface, 32, "interface"), stamp >> 32, stamp & 0xFFFFFFFF)
        return head + build_options((*numbers, *self.options), order)


class RawBlock(Block):
    """A block of another type, with its padded body."""

    fields: ClassVar[tuple[str, ...]] = ("type", "data")
    __slots__ = fields

    def __init__(self, type: int, data: bytes) -> None:
        self.type = type  # type: ignore[misc]  # each of these has its own
        self.data = data

    def body(self, order: Order) -> bytes:
        return self.data


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0, order: Order = NATIVE) -> tuple[Block, int, Order]:
    """The block at ``offset``, the offset behind it, and the byte order from there on. Raises Malformed.

    A SectionHeader sets the byte order; ``order`` is that of any other block.
    """
    need(buf, offset, BLOCK_OVERHEAD, "pcapng block")
    kind, length = _HEAD[order].unpack_from(buf, offset)
    if kind == SHB:
        order = _section_order(buf, offset)
        (length,) = _U32[order].unpack_from(buf, offset + 4)
    if length < BLOCK_OVERHEAD or length & 3:
        raise Malformed(f"pcapng block length {length}")
    need(buf, offset, length, "pcapng block")
    (again,) = _U32[order].unpack_from(buf, offset + length - 4)
    if again != length:
        raise Malformed(f"pcapng block length is {length} in front and {again} behind")
    body = bytes(buf[offset + 8 : offset + length - 4])
    try:
        block = _parse_body(kind, body, order)
    except StructError:
        raise Malformed(f"bad lengths in a pcapng block of type {kind:#x} and {length} bytes") from None
    return block, offset + length, order


def _section_order(buf: Buf, offset: int) -> Order:
    magic = bytes(buf[offset + 8 : offset + 12])
    orders: tuple[Order, ...] = ("<", ">")
    for order in orders:
        if magic == _U32[order].pack(BYTE_ORDER_MAGIC):
            return order
    raise Malformed(f"no pcapng byte-order magic: {magic.hex()}")


def _parse_body(kind: int, body: bytes, order: Order) -> Block:
    if kind == SHB:
        _, major, minor, length = _SHB[order].unpack_from(body)
        if major != VERSION[0]:
            raise Malformed(f"pcapng version {major}.{minor}")
        return SectionHeader((major, minor), length, parse_options(body[16:], order))
    if kind == IDB:
        linktype, _, snaplen = _IDB[order].unpack_from(body)
        return InterfaceDescription(linktype, snaplen, parse_options(body[8:], order))
    if kind == EPB:
        interface, high, low, captured, original = _EPB[order].unpack_from(body)
        need(body, 20, captured, "packet data")
        options = parse_options(body[20 + captured + (-captured & 3) :], order)
        flags, options = _take(options, EPB_FLAGS, _U32[order])
        return EnhancedPacket(interface, high << 32 | low, body[20 : 20 + captured], original, flags, options)
    if kind == ISB:
        interface, high, low = _ISB[order].unpack_from(body)
        options = parse_options(body[12:], order)
        start, options = _take(options, ISB_STARTTIME, _HEAD[order])
        end, options = _take(options, ISB_ENDTIME, _HEAD[order])
        received, options = _take(options, ISB_IFRECV, _U64[order])
        dropped, options = _take(options, ISB_IFDROP, _U64[order])
        return InterfaceStatistics(interface, high << 32 | low, start, end, received, dropped, options)
    return RawBlock(kind, body)


def _take(options: Options, code: int, layout: Struct) -> tuple[int | None, Options]:
    """The number in the first option ``code``, and the options without it."""
    for at, (one, value) in enumerate(options):
        if one == code:
            number = 0
            for part in layout.unpack(value):
                number = number << 32 | part
            return number, options[:at] + options[at + 1 :]
    return None, options


def parse_options(raw: bytes, order: Order = NATIVE) -> Options:
    """The options, up to the end mark or the end of the bytes. Raises Malformed."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(raw):
        need(raw, at, 4, "pcapng option")
        code, length = _OPTION[order].unpack_from(raw, at)
        at += 4
        if code == OPT_ENDOFOPT:
            break
        need(raw, at, length, "pcapng option")
        found.append((code, raw[at : at + length]))
        at += length + (-length & 3)
    return tuple(found)


def walk(buf: Buf) -> Iterator[Block]:
    """The blocks of a whole file. Raises Malformed where one does not parse, or when the first is no section header."""
    order = NATIVE
    at = 0
    while at < len(buf):
        first = at == 0
        block, at, order = parse(buf, at, order)
        if first and not isinstance(block, SectionHeader):
            raise Malformed("a pcapng file starts with a section header")
        yield block


# Build ---------------------------------------------------------------------------------------------


def build(block: Block, order: Order = NATIVE) -> bytes:
    """The bytes of ``block``. ValueError if a field does not fit."""
    body = block.body(order)
    pad = _padding(len(body))
    length = len(body) + len(pad) + BLOCK_OVERHEAD
    return b"".join((_HEAD[order].pack(block.type, length), body, pad, _U32[order].pack(length)))


def build_options(options: Options, order: Order = NATIVE) -> bytes:
    """The option list with its end mark; nothing for no options."""
    if not options:
        return b""
    parts: list[bytes] = []
    for code, value in options:
        parts += (_OPTION[order].pack(code, fits(len(value), 16, "option length")), value, _padding(len(value)))
    return b"".join((*parts, bytes(4)))


def _padding(size: int) -> bytes:
    return bytes(-size & 3)


# Pretty-print --------------------------------------------------------------------------------------


def describe(block: Block) -> str:
    """``EPB interface 0, 1767225600.000000000, 74 of 74 bytes``, for people who look into a file."""
    if isinstance(block, SectionHeader):
        return f"SHB version {block.version[0]}.{block.version[1]}"
    if isinstance(block, InterfaceDescription):
        name = next((value.decode("utf-8", "replace") for code, value in block.options if code == IF_NAME), "?")
        return f"IDB {name}, linktype {block.linktype}, snaplen {block.snaplen}"
    if isinstance(block, EnhancedPacket):
        seconds, nanoseconds = divmod(block.timestamp, 1_000_000_000)
        size = f"{len(block.data)} of {block.original_length} bytes"
        return f"EPB interface {block.interface}, {seconds}.{nanoseconds:09d}, {size}"
    if isinstance(block, InterfaceStatistics):
        return f"ISB interface {block.interface}"
    return f"block type {block.type:#x}"
