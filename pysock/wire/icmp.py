"""ICMP for IPv4 (RFC 792; path MTU RFC 1191; codes of "unreachable" RFC 1812 section 5.2.7.1)."""

from __future__ import annotations

from struct import Struct

from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP
from pysock.wire import ipv4
from pysock.wire.addr import inet_ntoa
from pysock.wire.checksum import checksum as checksum_of
from pysock.wire.checksum import verify as verify_sum
from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header, fits, need

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

HEADER: Final = Struct("!BBHI")
"""type, code, checksum, and 4 bytes whose meaning the type decides."""

ECHO: Final = Struct("!BBHHH")
"""The same for echo and timestamp: type, code, checksum, ident, sequence."""

HEADER_SIZE: Final = 8
CHECKSUM_OFFSET: Final = 2

ECHOREPLY: Final = 0
DEST_UNREACH: Final = 3
SOURCE_QUENCH: Final = 4
REDIRECT: Final = 5
ECHO_REQUEST: Final = 8
ROUTER_ADVERT: Final = 9
ROUTER_SOLICIT: Final = 10
TIME_EXCEEDED: Final = 11
PARAMETERPROB: Final = 12
TIMESTAMP: Final = 13
TIMESTAMPREPLY: Final = 14

# Codes of DEST_UNREACH
NET_UNREACH: Final = 0
HOST_UNREACH: Final = 1
PROT_UNREACH: Final = 2
PORT_UNREACH: Final = 3
FRAG_NEEDED: Final = 4
SR_FAILED: Final = 5
NET_UNKNOWN: Final = 6
HOST_UNKNOWN: Final = 7
HOST_ISOLATED: Final = 8
NET_ANO: Final = 9
HOST_ANO: Final = 10
NET_UNR_TOS: Final = 11
HOST_UNR_TOS: Final = 12
PKT_FILTERED: Final = 13
PREC_VIOLATION: Final = 14
PREC_CUTOFF: Final = 15

# Codes of TIME_EXCEEDED
EXC_TTL: Final = 0
EXC_FRAGTIME: Final = 1

ERRORS: Final = frozenset({DEST_UNREACH, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETERPROB})
"""Types that quote the packet they are about, and that no ICMP error may be sent about (RFC 1122 section 3.2.2)."""


class IcmpHeader(Header):
    """``rest`` is the second word as a number; the properties read it as each type means it."""

    fields: ClassVar[tuple[str, ...]] = ("type", "code", "checksum", "rest")
    __slots__ = fields

    def __init__(self, type: int, code: int, checksum: int, rest: int = 0) -> None:
        self.type = type
        self.code = code
        self.checksum = checksum
        self.rest = rest

    @property
    def size(self) -> int:
        """Bytes of the header on the wire."""
        return HEADER_SIZE

    @property
    def ident(self) -> int:
        """Identifier of an echo or timestamp message."""
        return self.rest >> 16

    @property
    def sequence(self) -> int:
        """Sequence number of an echo or timestamp message."""
        return self.rest & 0xFFFF

    @property
    def mtu(self) -> int:
        """Next-hop MTU of "fragmentation needed", 0 from routers older than RFC 1191."""
        return self.rest & 0xFFFF

    @property
    def gateway(self) -> bytes:
        """The 4-byte address in a redirect."""
        return self.rest.to_bytes(4, "big")


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0) -> IcmpHeader:
    """The header at ``offset``; data follows to the end of the packet. Raises Malformed. See verify."""
    need(buf, offset, HEADER_SIZE, "ICMP header")
    return IcmpHeader(*HEADER.unpack_from(buf, offset))


def verify(message: Buf) -> bool:
    """Is the checksum over the whole message right?"""
    return verify_sum(message)


# Build ---------------------------------------------------------------------------------------------


def build(type: int, code: int = 0, rest: int = 0, payload: bytes = b"", *, checksum: int | None = None) -> bytes:
    """A message; the checksum is computed unless given."""
    message = HEADER.pack(
        fits(type, 8, "type"), fits(code, 8, "code"), fits(checksum or 0, 16, "checksum"), fits(rest, 32, "rest")
    )
    message += payload
    if checksum is None:
        message = message[:2] + checksum_of(message).to_bytes(2, "big") + message[4:]
    return message


def build_echo(
    ident: int, sequence: int, payload: bytes = b"", *, reply: bool = False, checksum: int | None = None
) -> bytes:
    """An echo request, or a reply."""
    rest = fits(ident, 16, "ident") << 16 | fits(sequence, 16, "sequence")
    return build(ECHOREPLY if reply else ECHO_REQUEST, 0, rest, payload, checksum=checksum)


# Pretty-print --------------------------------------------------------------------------------------

_NAMES: Final = {
    ECHOREPLY: "echo reply",
    ECHO_REQUEST: "echo request",
    SOURCE_QUENCH: "source quench",
    ROUTER_ADVERT: "router advertisement",
    ROUTER_SOLICIT: "router solicitation",
    PARAMETERPROB: "parameter problem",
    TIMESTAMP: "time stamp query",
    TIMESTAMPREPLY: "time stamp reply",
}

_UNREACHABLE: Final = {
    NET_UNREACH: "net {dst} unreachable",
    HOST_UNREACH: "host {dst} unreachable",
    PROT_UNREACH: "{dst} protocol {protocol} unreachable",
    PORT_UNREACH: "{dst} {port} unreachable",
    FRAG_NEEDED: "{dst} unreachable - need to frag (mtu {mtu})",
    SR_FAILED: "{dst} unreachable - source route failed",
    NET_ANO: "net {dst} unreachable - admin prohibited",
    HOST_ANO: "host {dst} unreachable - admin prohibited",
    PKT_FILTERED: "host {dst} unreachable - admin prohibited filter",
}


def describe(header: IcmpHeader, payload: bytes = b"") -> str:
    """``ICMP echo request, id 1, seq 1, length 64``; errors name the packet they quote:
    ``ICMP 10.0.0.2 udp port 53 unreachable, length 36``."""
    kind = header.type
    if kind in (ECHOREPLY, ECHO_REQUEST, TIMESTAMP, TIMESTAMPREPLY):
        text = f"{_NAMES[kind]}, id {header.ident}, seq {header.sequence}"
    elif kind == DEST_UNREACH:
        dst, protocol, port = _quoted(payload)
        form = _UNREACHABLE.get(header.code, "{dst} unreachable - code {code}")
        text = form.format(dst=dst, protocol=protocol, port=port, mtu=header.mtu, code=header.code)
    elif kind == REDIRECT:
        text = f"redirect {_quoted(payload)[0]} to host {inet_ntoa(header.gateway)}"
    elif kind == TIME_EXCEEDED:
        text = "time exceeded in-transit" if header.code == EXC_TTL else "ip reassembly time exceeded"
    else:
        text = _NAMES.get(kind, f"type-#{kind}")
    return f"ICMP {text}, length {HEADER_SIZE + len(payload)}"


def _quoted(payload: bytes) -> tuple[str, int, str]:
    """Destination, protocol and port ("udp port 53") of the packet that an error quotes."""
    try:
        inner = ipv4.parse(payload, partial=True)
    except Malformed:
        return "[bad quote]", 0, "port"
    name = {IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp"}.get(inner.protocol, f"protocol {inner.protocol}")
    ports = payload[inner.size : inner.size + 4]
    port = f"{name} port {int.from_bytes(ports[2:], 'big')}" if len(ports) == 4 else f"{name} port"
    return inet_ntoa(inner.dst), inner.protocol, port
