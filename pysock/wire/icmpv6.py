"""ICMPv6 (RFC 4443), neighbour discovery (RFC 4861) and multicast listener discovery (RFC 2710, RFC 3810)."""

from __future__ import annotations

from struct import Struct

from pysock.uapi.in_ import IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from pysock.wire import checksum as csum
from pysock.wire import ipv6
from pysock.wire.addr import inet6_ntoa
from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header, fits, need, sized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

HEADER: Final = Struct("!BBHI")
"""type, code, checksum, and 4 bytes whose meaning the type decides."""

ECHO: Final = Struct("!BBHHH")
"""The same for echo: type, code, checksum, ident, sequence."""

NEIGHBOUR: Final = Struct("!BBHI16s")
"""A neighbour solicitation or advertisement without options: type, code, checksum, flags, target."""

HEADER_SIZE: Final = 8
NEIGHBOUR_SIZE: Final = 24
CHECKSUM_OFFSET: Final = 2

DEST_UNREACH: Final = 1
PKT_TOOBIG: Final = 2
TIME_EXCEED: Final = 3
PARAMPROB: Final = 4
ECHO_REQUEST: Final = 128
ECHO_REPLY: Final = 129
MLD_QUERY: Final = 130
MLD_REPORT: Final = 131
MLD_DONE: Final = 132
ROUTER_SOLICIT: Final = 133
ROUTER_ADVERT: Final = 134
NEIGHBOUR_SOLICIT: Final = 135
NEIGHBOUR_ADVERT: Final = 136
REDIRECT: Final = 137
MLD2_REPORT: Final = 143

ERROR_LIMIT: Final = 128  # types below it are errors, and quote the packet they are about

# Codes of DEST_UNREACH
NOROUTE: Final = 0
ADM_PROHIBITED: Final = 1
NOT_NEIGHBOUR: Final = 2
ADDR_UNREACH: Final = 3
PORT_UNREACH: Final = 4
POLICY_FAIL: Final = 5
REJECT_ROUTE: Final = 6

# Flags of a neighbour advertisement, in the second word
NA_ROUTER: Final = 0x80000000
NA_SOLICITED: Final = 0x40000000
NA_OVERRIDE: Final = 0x20000000

# Options of neighbour discovery
OPT_SOURCE_LL: Final = 1
OPT_TARGET_LL: Final = 2
OPT_PREFIX: Final = 3
OPT_REDIRECTED: Final = 4
OPT_MTU: Final = 5


class Icmpv6Header(Header):
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
        """Identifier of an echo message."""
        return self.rest >> 16

    @property
    def sequence(self) -> int:
        """Sequence number of an echo message."""
        return self.rest & 0xFFFF

    @property
    def mtu(self) -> int:
        """MTU of "packet too big"."""
        return self.rest


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0) -> Icmpv6Header:
    """The header at ``offset``; data follows to the end of the packet. Raises Malformed. See verify."""
    need(buf, offset, HEADER_SIZE, "ICMPv6 header")
    return Icmpv6Header(*HEADER.unpack_from(buf, offset))


def verify(message: Buf, src: bytes, dst: bytes) -> bool:
    """Is the checksum over the pseudo-header and the whole message right?"""
    return csum.verify(message, csum.pseudo_v6(src, dst, IPPROTO_ICMPV6, len(message)))


def target(payload: Buf) -> bytes:
    """The 16-byte target of a neighbour message, from the bytes behind its header. Raises Malformed."""
    need(payload, 0, 16, "neighbour discovery target")
    return bytes(payload[:16])


def walk_options(options: Buf) -> list[tuple[int, bytes]]:
    """Neighbour discovery options as ``(kind, data)``, padding included (RFC 4861 section 4.6). Raises Malformed.

    A length of zero makes the whole packet invalid there, and ends in Malformed here.
    """
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(options):
        need(options, at, 8, "neighbour discovery option")
        size = options[at + 1] << 3
        if size == 0:
            raise Malformed("neighbour discovery option of length 0")
        need(options, at, size, "neighbour discovery option")
        found.append((options[at], bytes(options[at + 2 : at + size])))
        at += size
    return found


# Build ---------------------------------------------------------------------------------------------


def build(
    type: int,
    code: int = 0,
    rest: int = 0,
    payload: bytes = b"",
    *,
    checksum: int | None = None,
    addresses: tuple[bytes, bytes] | None = None,
) -> bytes:
    """A message. The checksum is computed if ``addresses`` (source and destination) are given, taken from
    ``checksum`` if that is, and 0 otherwise."""
    message = HEADER.pack(
        fits(type, 8, "type"), fits(code, 8, "code"), fits(checksum or 0, 16, "checksum"), fits(rest, 32, "rest")
    )
    message += payload
    if checksum is None and addresses is not None:
        pseudo = csum.pseudo_v6(*addresses, IPPROTO_ICMPV6, len(message))
        check = csum.finish(csum.partial(message) + pseudo)
        message = message[:2] + check.to_bytes(2, "big") + message[4:]
    return message


def build_neighbour(
    type: int,
    target: bytes,
    flags: int = 0,
    options: bytes = b"",
    *,
    addresses: tuple[bytes, bytes] | None = None,
) -> bytes:
    """A neighbour solicitation (flags 0) or advertisement (NA_* flags)."""
    return build(type, 0, flags, sized(target, 16, "target") + options, addresses=addresses)


def build_option(kind: int, data: bytes) -> bytes:
    """A neighbour discovery option; kind, length and data are padded to a multiple of 8 with zeros."""
    size = 2 + len(data) + 7 & ~7
    return (bytes([fits(kind, 8, "option kind"), fits(size >> 3, 8, "option length")]) + data).ljust(size, b"\0")


# Pretty-print --------------------------------------------------------------------------------------

_NAMES: Final = {
    PKT_TOOBIG: "packet too big",
    PARAMPROB: "parameter problem",
    ECHO_REQUEST: "echo request",
    ECHO_REPLY: "echo reply",
    MLD_QUERY: "multicast listener query",
    MLD_REPORT: "multicast listener report",
    MLD_DONE: "multicast listener done",
    ROUTER_SOLICIT: "router solicitation",
    ROUTER_ADVERT: "router advertisement",
    NEIGHBOUR_SOLICIT: "neighbor solicitation",
    NEIGHBOUR_ADVERT: "neighbor advertisement",
    REDIRECT: "redirect",
    MLD2_REPORT: "multicast listener report v2",
}

_UNREACHABLE: Final = {
    NOROUTE: "unreachable route {dst}",
    ADM_PROHIBITED: "unreachable prohibited {dst}",
    NOT_NEIGHBOUR: "beyond scope {dst}",
    ADDR_UNREACH: "unreachable address {dst}",
    PORT_UNREACH: "unreachable port, {dst} {port}",
}


def describe(header: Icmpv6Header, payload: bytes = b"") -> str:
    """``ICMP6, echo request, id 1, seq 1, length 64``; neighbour messages name their target, errors their quote."""
    kind = header.type
    text = _NAMES.get(kind, f"type-#{kind}")
    if kind in (ECHO_REQUEST, ECHO_REPLY):
        text += f", id {header.ident}, seq {header.sequence}"
    elif kind in (NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT) and len(payload) >= 16:
        verb = "who has" if kind == NEIGHBOUR_SOLICIT else "tgt is"
        text += f", {verb} {inet6_ntoa(payload[:16])}"
    elif kind in (MLD_QUERY, MLD_REPORT, MLD_DONE) and len(payload) >= 16:
        text += f", addr {inet6_ntoa(payload[:16])}"
    elif kind == DEST_UNREACH:
        dst, port = _quoted(payload)
        form = _UNREACHABLE.get(header.code, "unreachable code-#{code} {dst}")
        text = "destination unreachable, " + form.format(dst=dst, port=port, code=header.code)
    elif kind == PKT_TOOBIG:
        text += f", mtu {header.mtu}"
    elif kind == TIME_EXCEED:
        what = "in-transit" if header.code == 0 else "(reassembly)"
        text = f"time exceeded {what} for {_quoted(payload)[0]}"
    return f"ICMP6, {text}, length {HEADER_SIZE + len(payload)}"


def _quoted(payload: bytes) -> tuple[str, str]:
    """Destination and port ("udp port 53") of the packet that an error quotes."""
    try:
        inner = ipv6.parse(payload, partial=True)
        _, protocol, at = ipv6.walk(inner.next_header, payload, ipv6.HEADER_SIZE)
    except Malformed:
        return "[bad quote]", "port"
    name = {IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp"}.get(protocol, f"protocol {protocol}")
    ports = payload[at : at + 4]
    port = f"{name} port {int.from_bytes(ports[2:], 'big')}" if len(ports) == 4 else f"{name} port"
    return inet6_ntoa(inner.dst), port
