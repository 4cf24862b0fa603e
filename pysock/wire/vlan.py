"""802.1Q VLAN tags (IEEE 802.1Q clause 9.6): 4 bytes before the real EtherType.

The outer EtherType (0x8100, or 0x88A8 for a service tag) belongs to the Ethernet header; a tag follows it.
"""

from __future__ import annotations

from struct import Struct

from pysock.wire.ethernet import type_name
from pysock.wire.header import Buf, Header, fits, need

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

HEADER: Final = Struct("!HH")
"""tci, ethertype."""

HEADER_SIZE: Final = 4
VID_MASK: Final = 0x0FFF
DEI: Final = 0x1000  # drop eligible
PCP_SHIFT: Final = 13


class VlanTag(Header):
    """``pcp``: priority 0-7; ``dei``: drop eligible; ``vid``: the VLAN 0-4095 (0: a priority only)."""

    fields: ClassVar[tuple[str, ...]] = ("pcp", "dei", "vid", "ethertype")
    __slots__ = fields

    def __init__(self, pcp: int, dei: bool, vid: int, ethertype: int) -> None:
        self.pcp = pcp
        self.dei = dei
        self.vid = vid
        self.ethertype = ethertype

    @property
    def size(self) -> int:
        """Bytes of the tag on the wire."""
        return HEADER_SIZE


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0) -> VlanTag:
    """The tag at ``offset``, the first byte after the EtherType that announced it. Raises Malformed."""
    need(buf, offset, HEADER_SIZE, "VLAN tag")
    tci, ethertype = HEADER.unpack_from(buf, offset)
    return VlanTag(tci >> PCP_SHIFT, tci & DEI != 0, tci & VID_MASK, ethertype)


# Build ---------------------------------------------------------------------------------------------


def build(pcp: int, dei: bool, vid: int, ethertype: int, payload: bytes = b"") -> bytes:
    """The tag and what follows it."""
    tci = fits(pcp, 3, "pcp") << PCP_SHIFT | (DEI if dei else 0) | fits(vid, 12, "vid")
    return HEADER.pack(tci, fits(ethertype, 16, "ethertype")) + payload


# Pretty-print --------------------------------------------------------------------------------------


def describe(tag: VlanTag, payload: bytes = b"") -> str:
    """``vlan 5, p 0, ethertype IPv4 (0x0800)``; payload is not needed."""
    dei = ", DEI" if tag.dei else ""
    return f"vlan {tag.vid}, p {tag.pcp}{dei}, ethertype {type_name(tag.ethertype)}"
