"""Seen: a packet on a link, as a fault's condition looks at it; and the conditions that have names."""

from __future__ import annotations

from pysock.wire.arp import ArpPacket
from pysock.wire.decode import Data, decode_frame, summary
from pysock.wire.icmp import IcmpHeader
from pysock.wire.icmpv6 import Icmpv6Header
from pysock.wire.ipv4 import Ipv4Header
from pysock.wire.ipv6 import Ipv6Header
from pysock.wire.tcp import ACK, FIN, RST, SYN, TcpHeader
from pysock.wire.udp import UdpHeader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    from pysock.lab.link import End
    from pysock.wire.header import Header

    T = TypeVar("T", bound=Header)
    Condition = Callable[["Seen"], object]


class Seen:
    """One frame on its way. ``frame`` are its bytes, from the Ethernet header on (checksums that are left to the
    receiving side's device are not filled in); ``sender`` and ``receiver`` the ends of the link.

    ``tcp``, ``udp``, ``icmp``, ``arp`` and ``ip`` (of either version) are the header of that kind, None where it has
    none; ``payload`` what the innermost one carries.
    """

    __slots__ = ("_layers", "frame", "receiver", "sender")

    def __init__(self, frame: bytes, sender: End, receiver: End) -> None:
        self.frame = frame
        self.sender = sender.owner.name
        self.receiver = receiver.owner.name
        self._layers: list[Header] | None = None

    @property
    def layers(self) -> list[Header]:
        """Every header, outermost first (pysock/wire/decode.py)."""
        if self._layers is None:
            self._layers = decode_frame(self.frame)
        return self._layers

    def _find(self, kind: type[T]) -> T | None:
        return next((layer for layer in self.layers if isinstance(layer, kind)), None)

    @property
    def ip(self) -> Ipv4Header | Ipv6Header | None:
        return self._find(Ipv4Header) or self._find(Ipv6Header)

    @property
    def tcp(self) -> TcpHeader | None:
        return self._find(TcpHeader)

    @property
    def udp(self) -> UdpHeader | None:
        return self._find(UdpHeader)

    @property
    def icmp(self) -> IcmpHeader | Icmpv6Header | None:
        return self._find(IcmpHeader) or self._find(Icmpv6Header)

    @property
    def arp(self) -> ArpPacket | None:
        return self._find(ArpPacket)

    @property
    def payload(self) -> bytes:
        found = self._find(Data)
        return found.data if found is not None else b""

    def __repr__(self) -> str:
        return f"<{self.sender} > {self.receiver}: {summary(self.frame)}>"


def _tcp_flags(mask: int, value: int) -> Condition:
    def condition(packet: Seen) -> bool:
        header = packet.tcp
        return header is not None and header.flags & mask == value

    return condition


def _tcp_ack(packet: Seen) -> bool:
    header = packet.tcp
    return header is not None and header.flags & (SYN | FIN | RST | ACK) == ACK and not packet.payload


CONDITIONS: Final[dict[str, Condition]] = {
    "any": lambda packet: True,
    "tcp": lambda packet: packet.tcp,
    "udp": lambda packet: packet.udp,
    "icmp": lambda packet: packet.icmp,
    "arp": lambda packet: packet.arp,
    "ip": lambda packet: packet.ip,
    "syn": _tcp_flags(SYN | ACK, SYN),
    "syn-ack": _tcp_flags(SYN | ACK, SYN | ACK),
    "fin": _tcp_flags(FIN, FIN),
    "rst": _tcp_flags(RST, RST),
    "ack": _tcp_ack,
    "data": lambda packet: packet.tcp and packet.payload,
}


def condition_of(when: str | Condition) -> Condition:
    """The condition called ``when``, or ``when`` itself. ValueError for an unknown name."""
    if isinstance(when, str):
        found = CONDITIONS.get(when.lower())
        if found is None:
            raise ValueError(f"no packet is called {when!r}: give one of {', '.join(CONDITIONS)}, or a function")
        return found
    if not callable(when):
        raise ValueError(f"a condition is a name or a function of a packet, not {when!r}")
    return when
