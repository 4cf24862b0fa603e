"""Ethernet II frames (IEEE 802.3 clause 3, RFC 894): 14 bytes of header, no FCS."""

from __future__ import annotations

from struct import Struct

from pysock.uapi.if_ether import ETH_P_8021AD, ETH_P_8021Q, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, ETH_P_LLDP
from pysock.wire.addr import mac_ntoa
from pysock.wire.header import Buf, Header, fits, need, sized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

HEADER: Final = Struct("!6s6sH")
"""dst, src, ethertype."""

HEADER_SIZE: Final = 14

ETHERTYPE_NAMES: Final = {
    ETH_P_IP: "IPv4",
    ETH_P_ARP: "ARP",
    ETH_P_IPV6: "IPv6",
    ETH_P_8021Q: "802.1Q",
    ETH_P_8021AD: "802.1Q-QinQ",
    ETH_P_LLDP: "LLDP",
}


class EthernetHeader(Header):
    """``dst`` and ``src`` are 6 bytes; ``ethertype`` below 0x0600 is an 802.3 length."""

    fields: ClassVar[tuple[str, ...]] = ("dst", "src", "ethertype")
    __slots__ = fields

    def __init__(self, dst: bytes, src: bytes, ethertype: int) -> None:
        self.dst = dst
        self.src = src
        self.ethertype = ethertype

    @property
    def size(self) -> int:
        """Bytes of the header on the wire."""
        return HEADER_SIZE


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0) -> EthernetHeader:
    """The header at ``offset``; the payload follows at ``offset + header.size``. Raises Malformed."""
    need(buf, offset, HEADER_SIZE, "Ethernet header")
    return EthernetHeader(*HEADER.unpack_from(buf, offset))


# Build ---------------------------------------------------------------------------------------------


def build(dst: bytes, src: bytes, ethertype: int, payload: bytes = b"") -> bytes:
    """A frame, not padded to the minimum: that is the driver's business."""
    return HEADER.pack(sized(dst, 6, "dst"), sized(src, 6, "src"), fits(ethertype, 16, "ethertype")) + payload


# Pretty-print --------------------------------------------------------------------------------------


def type_name(ethertype: int) -> str:
    """As tcpdump -e: ``IPv4 (0x0800)``, ``Unknown (0x1234)``."""
    return f"{ETHERTYPE_NAMES.get(ethertype, 'Unknown')} (0x{ethertype:04x})"


def describe(header: EthernetHeader, payload: bytes = b"") -> str:
    """``02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 98``."""
    length = HEADER_SIZE + len(payload)
    if header.ethertype < 0x0600:
        kind = "802.3"
    else:
        kind = f"ethertype {type_name(header.ethertype)}"
    return f"{mac_ntoa(header.src)} > {mac_ntoa(header.dst)}, {kind}, length {length}"
