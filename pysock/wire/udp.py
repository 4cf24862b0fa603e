"""UDP datagrams (RFC 768; over IPv6 RFC 8200 section 8.1)."""

from __future__ import annotations

from struct import Struct

from pysock.uapi.in_ import IPPROTO_UDP
from pysock.wire import checksum as csum
from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header, fits, need

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

HEADER: Final = Struct("!HHHH")
"""src_port, dst_port, length of header and data, checksum."""

HEADER_SIZE: Final = 8
MAX_LENGTH: Final = 0xFFFF
CHECKSUM_OFFSET: Final = 6


class UdpHeader(Header):
    """``length`` counts the header too; ``checksum`` 0 means that the sender made none (IPv4 only)."""

    fields: ClassVar[tuple[str, ...]] = ("src_port", "dst_port", "length", "checksum")
    __slots__ = fields

    def __init__(self, src_port: int, dst_port: int, length: int, checksum: int) -> None:
        self.src_port = src_port
        self.dst_port = dst_port
        self.length = length
        self.checksum = checksum

    @property
    def size(self) -> int:
        """Bytes of the header on the wire."""
        return HEADER_SIZE


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0, *, partial: bool = False) -> UdpHeader:
    """The header at ``offset``. Raises Malformed for a length below 8 or beyond the buffer.

    ``partial`` accepts a datagram whose data is cut off, as an ICMP error quotes it.
    """
    need(buf, offset, HEADER_SIZE, "UDP header")
    header = UdpHeader(*HEADER.unpack_from(buf, offset))
    if header.length < HEADER_SIZE:
        raise Malformed(f"UDP length {header.length} is less than its header")
    if not partial and header.length > len(buf) - offset:
        raise Malformed(f"UDP length {header.length} exceeds the {len(buf) - offset} bytes there are")
    return header


# Build ---------------------------------------------------------------------------------------------


def build(
    src_port: int,
    dst_port: int,
    payload: bytes = b"",
    *,
    checksum: int | None = None,
    addresses: tuple[bytes, bytes] | None = None,
) -> bytes:
    """A datagram. The checksum is computed if ``addresses`` (source and destination, 4 or 16 bytes) are
    given, taken from ``checksum`` if that is, and 0 otherwise."""
    length = fits(HEADER_SIZE + len(payload), 16, "UDP length")
    ports = fits(src_port, 16, "src_port"), fits(dst_port, 16, "dst_port")
    if checksum is None and addresses is not None:
        pseudo = csum.pseudo(*addresses, IPPROTO_UDP, length)
        # RFC 768: a computed zero is sent as all ones, zero means "none".
        checksum = csum.finish(pseudo + csum.partial(HEADER.pack(*ports, length, 0) + payload)) or 0xFFFF
    return HEADER.pack(*ports, length, fits(checksum or 0, 16, "checksum")) + payload


# Pretty-print --------------------------------------------------------------------------------------


def describe(header: UdpHeader, payload: bytes = b"") -> str:
    """``UDP, length 5``: the data's length, as the header tells it."""
    return f"UDP, length {header.length - HEADER_SIZE}"
