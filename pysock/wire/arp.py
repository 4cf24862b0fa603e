"""ARP for IPv4 over Ethernet and other hardware (RFC 826, RFC 5227 for probes and announcements)."""

from __future__ import annotations

from struct import Struct

from pysock.uapi.if_ import ARPHRD_ETHER
from pysock.uapi.if_ether import ETH_P_IP
from pysock.wire.addr import inet_ntoa, mac_ntoa
from pysock.wire.header import Buf, Header, fits, need

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

HEADER: Final = Struct("!HHBBH")
"""hardware type, protocol type, hardware length, protocol length, operation."""

ETHER_IPV4: Final = Struct("!HHBBH6s4s6s4s")
"""The whole packet for Ethernet and IPv4: the fixed part, then sender and target, hardware and protocol."""

HEADER_SIZE: Final = 8
ETHER_IPV4_SIZE: Final = 28

REQUEST: Final = 1
REPLY: Final = 2
RREQUEST: Final = 3  # reverse ARP, RFC 903
RREPLY: Final = 4


class ArpPacket(Header):
    """Addresses are bytes, as long as the packet says: 6 and 4 for Ethernet and IPv4."""

    fields: ClassVar[tuple[str, ...]] = (
        "hardware",
        "protocol",
        "operation",
        "sender_hw",
        "sender_ip",
        "target_hw",
        "target_ip",
    )
    __slots__ = fields

    def __init__(
        self,
        hardware: int,
        protocol: int,
        operation: int,
        sender_hw: bytes,
        sender_ip: bytes,
        target_hw: bytes,
        target_ip: bytes,
    ) -> None:
        self.hardware = hardware
        self.protocol = protocol
        self.operation = operation
        self.sender_hw = sender_hw
        self.sender_ip = sender_ip
        self.target_hw = target_hw
        self.target_ip = target_ip

    @property
    def size(self) -> int:
        """Bytes of the packet on the wire, without Ethernet's padding."""
        return HEADER_SIZE + 2 * (len(self.sender_hw) + len(self.sender_ip))


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0) -> ArpPacket:
    """The packet at ``offset``; bytes behind it (Ethernet's padding) are ignored. Raises Malformed."""
    need(buf, offset, HEADER_SIZE, "ARP header")
    hardware, protocol, hlen, plen, operation = HEADER.unpack_from(buf, offset)
    need(buf, offset, HEADER_SIZE + 2 * (hlen + plen), "ARP packet")
    at = offset + HEADER_SIZE
    fields: list[bytes] = []
    for length in (hlen, plen, hlen, plen):
        fields.append(bytes(buf[at : at + length]))
        at += length
    return ArpPacket(hardware, protocol, operation, *fields)


# Build ---------------------------------------------------------------------------------------------


def build(
    operation: int,
    sender_hw: bytes,
    sender_ip: bytes,
    target_hw: bytes,
    target_ip: bytes,
    *,
    hardware: int = ARPHRD_ETHER,
    protocol: int = ETH_P_IP,
) -> bytes:
    """A packet; ValueError if the two hardware addresses, or the two protocol addresses, differ in length."""
    hlen = fits(len(sender_hw), 8, "hardware address length")
    plen = fits(len(sender_ip), 8, "protocol address length")
    if len(target_hw) != hlen or len(target_ip) != plen:
        raise ValueError("sender and target addresses must have the same lengths")
    fixed = HEADER.pack(
        fits(hardware, 16, "hardware"),
        fits(protocol, 16, "protocol"),
        hlen,
        plen,
        fits(operation, 16, "operation"),
    )
    return fixed + sender_hw + sender_ip + target_hw + target_ip


# Pretty-print --------------------------------------------------------------------------------------


def describe(packet: ArpPacket, payload: bytes = b"") -> str:
    """``ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28``; ``payload`` is the padding, counted in."""
    length = packet.size + len(payload)
    if packet.operation == REQUEST:
        what = f"Request who-has {_ip(packet.target_ip)} tell {_ip(packet.sender_ip)}"
    elif packet.operation == REPLY:
        what = f"Reply {_ip(packet.sender_ip)} is-at {mac_ntoa(packet.sender_hw)}"
    elif packet.operation == RREQUEST:
        what = f"Reverse Request who-is {mac_ntoa(packet.target_hw)} tell {mac_ntoa(packet.sender_hw)}"
    elif packet.operation == RREPLY:
        what = f"Reverse Reply {mac_ntoa(packet.target_hw)} at {_ip(packet.target_ip)}"
    else:
        what = f"Unknown ({packet.operation})"
    return f"ARP, {what}, length {length}"


def _ip(raw: bytes) -> str:
    return inet_ntoa(raw) if len(raw) == 4 else raw.hex() or "<none>"
