"""IGMP versions 1 (RFC 1112), 2 (RFC 2236) and 3 (RFC 3376).

Every version begins with the same 8 bytes. What version 3 adds is the ``body``: a query's flags, interval and
sources, or a report's group records, whose number is the low half of the word that elsewhere is the group.
"""

from __future__ import annotations

from struct import Struct

from pysock.wire.addr import inet_ntoa
from pysock.wire.checksum import checksum as checksum_of
from pysock.wire.checksum import verify as verify_sum
from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header, fits, need, sized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

HEADER: Final = Struct("!BBH4s")
"""type, max_resp (tenths of a second; 0 in version 1), checksum, group."""

QUERY3: Final = Struct("!BBH")
"""What a version 3 query adds: suppress flag and robustness, interval code, number of sources."""

RECORD: Final = Struct("!BBH4s")
"""A group record of a version 3 report: type, auxiliary words, number of sources, group."""

HEADER_SIZE: Final = 8
QUERY3_SIZE: Final = 4
RECORD_SIZE: Final = 8

QUERY: Final = 0x11
V1_REPORT: Final = 0x12
V2_REPORT: Final = 0x16
V2_LEAVE: Final = 0x17
V3_REPORT: Final = 0x22

# Types of group records (RFC 3376 section 4.2.12)
MODE_IS_INCLUDE: Final = 1
MODE_IS_EXCLUDE: Final = 2
CHANGE_TO_INCLUDE: Final = 3
CHANGE_TO_EXCLUDE: Final = 4
ALLOW_NEW_SOURCES: Final = 5
BLOCK_OLD_SOURCES: Final = 6


class IgmpMessage(Header):
    """``group`` is 4 bytes, in a version 3 report two reserved bytes and the number of records."""

    fields: ClassVar[tuple[str, ...]] = ("type", "max_resp", "checksum", "group", "body")
    __slots__ = fields

    def __init__(self, type: int, max_resp: int, checksum: int, group: bytes, body: bytes = b"") -> None:
        self.type = type
        self.max_resp = max_resp
        self.checksum = checksum
        self.group = group
        self.body = body

    @property
    def size(self) -> int:
        """Bytes of the message on the wire."""
        return HEADER_SIZE + len(self.body)


class GroupRecord(Header):
    """One record of a version 3 report; ``sources`` are 4-byte addresses, ``aux`` is a multiple of 4 bytes."""

    fields: ClassVar[tuple[str, ...]] = ("type", "group", "sources", "aux")
    __slots__ = fields

    def __init__(self, type: int, group: bytes, sources: tuple[bytes, ...] = (), aux: bytes = b"") -> None:
        self.type = type
        self.group = group
        self.sources = sources
        self.aux = aux


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0) -> IgmpMessage:
    """The message from ``offset`` to the end of the packet. Raises Malformed, for a bad version 3 body too."""
    need(buf, offset, HEADER_SIZE, "IGMP message")
    body = bytes(buf[offset + HEADER_SIZE :])
    kind, max_resp, check, group = HEADER.unpack_from(buf, offset)
    message = IgmpMessage(kind, max_resp, check, group, body)
    if message.type == QUERY and body:
        parse_sources(message)
    elif message.type == V3_REPORT:
        parse_records(message)
    return message


def verify(message: Buf) -> bool:
    """Is the checksum over the whole message right?"""
    return verify_sum(message)


def parse_sources(message: IgmpMessage) -> tuple[bytes, ...]:
    """The sources that a version 3 query asks about; none for older queries. Raises Malformed."""
    if not message.body:
        return ()
    need(message.body, 0, QUERY3_SIZE, "IGMPv3 query")
    return _addresses(message.body, QUERY3_SIZE, QUERY3.unpack_from(message.body)[2])


def parse_records(message: IgmpMessage) -> list[GroupRecord]:
    """The group records of a version 3 report. Raises Malformed."""
    if message.type != V3_REPORT:
        raise Malformed(f"IGMP type 0x{message.type:02x} has no group records")
    records: list[GroupRecord] = []
    at = 0
    for _ in range(int.from_bytes(message.group[2:], "big")):
        need(message.body, at, RECORD_SIZE, "IGMPv3 group record")
        kind, aux_words, count, group = RECORD.unpack_from(message.body, at)
        sources = _addresses(message.body, at + RECORD_SIZE, count)
        at += RECORD_SIZE + 4 * count
        need(message.body, at, 4 * aux_words, "IGMPv3 auxiliary data")
        records.append(GroupRecord(kind, group, sources, message.body[at : at + 4 * aux_words]))
        at += 4 * aux_words
    return records


def _addresses(body: bytes, at: int, count: int) -> tuple[bytes, ...]:
    need(body, at, 4 * count, "IGMPv3 source list")
    return tuple(body[start : start + 4] for start in range(at, at + 4 * count, 4))


# Build ---------------------------------------------------------------------------------------------


def build(
    type: int, max_resp: int = 0, group: bytes = bytes(4), body: bytes = b"", *, checksum: int | None = None
) -> bytes:
    """A message; the checksum is computed unless given."""
    message = HEADER.pack(
        fits(type, 8, "type"),
        fits(max_resp, 8, "max_resp"),
        fits(checksum or 0, 16, "checksum"),
        sized(group, 4, "group"),
    )
    message += body
    if checksum is None:
        message = message[:2] + checksum_of(message).to_bytes(2, "big") + message[4:]
    return message


def build_report(records: list[GroupRecord]) -> bytes:
    """A version 3 report."""
    body = b""
    for record in records:
        if len(record.aux) & 3:
            raise ValueError("auxiliary data must be a multiple of 4 bytes")
        body += RECORD.pack(
            fits(record.type, 8, "record type"),
            fits(len(record.aux) >> 2, 8, "auxiliary words"),
            fits(len(record.sources), 16, "number of sources"),
            sized(record.group, 4, "group"),
        )
        body += b"".join(sized(source, 4, "source") for source in record.sources) + record.aux
    return build(V3_REPORT, 0, fits(len(records), 16, "number of records").to_bytes(4, "big"), body)


# Pretty-print --------------------------------------------------------------------------------------


def describe(message: IgmpMessage, payload: bytes = b"") -> str:
    """``igmp query v2``, ``igmp v2 report 224.0.0.251``, ``igmp v3 report, 1 group record(s)``."""
    group = inet_ntoa(message.group)
    if message.type == QUERY:
        version = 3 if message.body else 2 if message.max_resp else 1
        return f"igmp query v{version}" + (f" [gaddr {group}]" if any(message.group) else "")
    if message.type == V3_REPORT:
        return f"igmp v3 report, {int.from_bytes(message.group[2:], 'big')} group record(s)"
    names = {V1_REPORT: "v1 report", V2_REPORT: "v2 report", V2_LEAVE: "leave"}
    return f"igmp {names.get(message.type, f'type-#{message.type}')} {group}"
