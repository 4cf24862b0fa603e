"""IPv6 packets and their chain of extension headers (RFC 8200; the authentication header RFC 4302)."""

from __future__ import annotations

from struct import Struct

from pysock.uapi.in_ import (
    IPPROTO_AH,
    IPPROTO_DSTOPTS,
    IPPROTO_FRAGMENT,
    IPPROTO_HOPOPTS,
    IPPROTO_NONE,
    IPPROTO_ROUTING,
)
from pysock.wire.addr import inet6_ntoa
from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header, fits, need, sized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

HEADER: Final = Struct("!IHBB16s16s")
"""version, traffic class and flow label; payload_length; next_header; hop_limit; src; dst."""

FRAGMENT: Final = Struct("!BBHI")
"""next_header, reserved, offset in 8-byte units shifted by 3 with the more flag in bit 0, ident."""

HEADER_SIZE: Final = 40
FRAGMENT_SIZE: Final = 8
MAX_PAYLOAD: Final = 0xFFFF

EXTENSION_NAMES: Final = {
    IPPROTO_HOPOPTS: "HBH",
    IPPROTO_ROUTING: "RT",
    IPPROTO_FRAGMENT: "frag",
    IPPROTO_AH: "AH",
    IPPROTO_DSTOPTS: "DSTOPT",
}

# Option kinds in hop-by-hop and destination headers
OPT_PAD1: Final = 0
OPT_PADN: Final = 1
OPT_ROUTER_ALERT: Final = 5
OPT_JUMBO: Final = 0xC2


class Ipv6Header(Header):
    """``payload_length`` counts everything behind these 40 bytes, extension headers included."""

    fields: ClassVar[tuple[str, ...]] = (
        "traffic_class",
        "flow_label",
        "payload_length",
        "next_header",
        "hop_limit",
        "src",
        "dst",
    )
    __slots__ = fields

    def __init__(
        self,
        traffic_class: int,
        flow_label: int,
        payload_length: int,
        next_header: int,
        hop_limit: int,
        src: bytes,
        dst: bytes,
    ) -> None:
        self.traffic_class = traffic_class
        self.flow_label = flow_label
        self.payload_length = payload_length
        self.next_header = next_header
        self.hop_limit = hop_limit
        self.src = src
        self.dst = dst

    @property
    def size(self) -> int:
        """Bytes of the fixed header on the wire."""
        return HEADER_SIZE


class Extension(Header):
    """One extension header: its own number, the next one's, and its bytes without the first two."""

    fields: ClassVar[tuple[str, ...]] = ("kind", "next_header", "body")
    __slots__ = fields

    def __init__(self, kind: int, next_header: int, body: bytes) -> None:
        self.kind = kind
        self.next_header = next_header
        self.body = body

    @property
    def size(self) -> int:
        """Bytes of this extension header on the wire."""
        return 2 + len(self.body)

    @property
    def fragment(self) -> int:
        """Offset in bytes, if this is a fragment header; else 0."""
        return int.from_bytes(self.body[:2], "big") & 0xFFF8 if self.kind == IPPROTO_FRAGMENT else 0

    @property
    def more(self) -> bool:
        """Is this a fragment header that says that more fragments follow?"""
        return self.kind == IPPROTO_FRAGMENT and self.body[1] & 1 != 0

    @property
    def ident(self) -> int:
        """Identification, if this is a fragment header; else 0."""
        return int.from_bytes(self.body[2:6], "big") if self.kind == IPPROTO_FRAGMENT else 0


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0, *, partial: bool = False) -> Ipv6Header:
    """The fixed header at ``offset``. Raises Malformed; ``partial`` accepts a payload that is cut off."""
    need(buf, offset, HEADER_SIZE, "IPv6 header")
    word, length, next_header, hop_limit, src, dst = HEADER.unpack_from(buf, offset)
    if word >> 28 != 6:
        raise Malformed(f"IP version {word >> 28}, not 6")
    if not partial and length > len(buf) - offset - HEADER_SIZE:
        raise Malformed(f"IPv6 payload length {length} exceeds the {len(buf) - offset - HEADER_SIZE} there are")
    return Ipv6Header(word >> 20 & 0xFF, word & 0xFFFFF, length, next_header, hop_limit, src, dst)


def walk(next_header: int, buf: Buf, offset: int = 0) -> tuple[list[Extension], int, int]:
    """``(extensions, protocol, offset)``: the chain from ``offset``, then what the payload is and where.

    The walk ends at the first header that is no extension, at ESP (opaque), at "no next header", and at a
    fragment that is not the first, whose payload has no header of its own. Raises Malformed. ``buf`` must end
    where the packet ends. Linux: ipv6_skip_exthdr.
    """
    extensions: list[Extension] = []
    while next_header in EXTENSION_NAMES:
        need(buf, offset, 8, "IPv6 extension header")
        if next_header == IPPROTO_FRAGMENT:
            size = FRAGMENT_SIZE
        elif next_header == IPPROTO_AH:
            size = (buf[offset + 1] + 2) << 2  # RFC 4302 section 2.2: in 4-byte units
        else:
            size = (buf[offset + 1] + 1) << 3
        need(buf, offset, size, "IPv6 extension header")
        extension = Extension(next_header, buf[offset], bytes(buf[offset + 2 : offset + size]))
        extensions.append(extension)
        next_header = extension.next_header
        offset += size
        if extension.fragment:
            break
    return extensions, next_header, offset


def skip_extensions(next_header: int, buf: Buf, offset: int = 0) -> tuple[int, int, int]:
    """``(offset, protocol, fragment offset in bytes)`` of what lies behind the chain, for packets that may be cut off.

    Never raises: the offset may lie behind the end of ``buf``, and is -1 when an extension header is not there at all,
    or "no next header" ends the chain. A fragment that is not the first ends it too. Linux: ipv6_skip_exthdr.
    """
    fragment = 0
    while next_header in EXTENSION_NAMES or next_header == IPPROTO_NONE:
        if next_header == IPPROTO_NONE or offset + 2 > len(buf):
            return -1, next_header, fragment
        size = (buf[offset + 1] + 1) << 3
        if next_header == IPPROTO_FRAGMENT:
            if offset + 4 > len(buf):
                return -1, next_header, fragment
            fragment = int.from_bytes(buf[offset + 2 : offset + 4], "big") & 0xFFF8
            size = FRAGMENT_SIZE
        elif next_header == IPPROTO_AH:
            size = (buf[offset + 1] + 2) << 2
        next_header = buf[offset]
        offset += size
        if fragment:
            break
    return offset, next_header, fragment


def walk_options(body: Buf) -> list[tuple[int, bytes]]:
    """Options of a hop-by-hop or destination header as ``(kind, data)``, padding left out. Raises Malformed."""
    options: list[tuple[int, bytes]] = []
    at = 0
    while at < len(body):
        kind = body[at]
        if kind == OPT_PAD1:
            at += 1
            continue
        need(body, at, 2, "IPv6 option")
        length = body[at + 1]
        need(body, at + 2, length, "IPv6 option")
        if kind != OPT_PADN:
            options.append((kind, bytes(body[at + 2 : at + 2 + length])))
        at += 2 + length
    return options


# Build ---------------------------------------------------------------------------------------------


def build(
    src: bytes,
    dst: bytes,
    next_header: int,
    payload: bytes = b"",
    *,
    traffic_class: int = 0,
    flow_label: int = 0,
    hop_limit: int = 64,
) -> bytes:
    """A packet; ``payload`` begins with the extension headers, if there are any."""
    word = 6 << 28 | fits(traffic_class, 8, "traffic class") << 20 | fits(flow_label, 20, "flow label")
    header = HEADER.pack(
        word,
        fits(len(payload), 16, "payload length"),
        fits(next_header, 8, "next header"),
        fits(hop_limit, 8, "hop limit"),
        sized(src, 16, "src"),
        sized(dst, 16, "dst"),
    )
    return header + payload


def build_fragment(next_header: int, fragment: int, more: bool, ident: int) -> bytes:
    """A fragment header; ``fragment`` is the offset in bytes, a multiple of 8."""
    if fragment & 7:
        raise ValueError(f"fragment offset must be a multiple of 8, not {fragment}")
    word = fits(fragment, 16, "fragment offset") | (1 if more else 0)
    return FRAGMENT.pack(fits(next_header, 8, "next header"), 0, word, fits(ident, 32, "ident"))


def build_options(next_header: int, options: list[tuple[int, bytes]]) -> bytes:
    """A hop-by-hop or destination header with these ``(kind, data)``, padded to a multiple of 8 with PadN."""
    parts = [bytes([kind, fits(len(data), 8, "option length")]) + data for kind, data in options]
    body = b"".join(parts)
    pad = -(2 + len(body)) & 7
    if pad == 1:
        body += b"\0"
    elif pad:
        body += bytes([OPT_PADN, pad - 2]) + bytes(pad - 2)
    length = fits((2 + len(body)) // 8 - 1, 8, "extension header length")
    return bytes([fits(next_header, 8, "next header"), length]) + body


# Pretty-print --------------------------------------------------------------------------------------


def describe(header: Ipv6Header, payload: bytes = b"") -> str:
    """``fe80::1 > fe80::2: ip-proto-47 20``: what is printed when the payload says nothing more."""
    names = f"ip-proto-{header.next_header} {header.payload_length}"
    return f"{inet6_ntoa(header.src)} > {inet6_ntoa(header.dst)}: {names}"


def describe_extension(extension: Extension) -> str:
    """``HBH``, ``DSTOPT``, or for a fragment ``frag (1448|1200+)``: offset, ident and whether more follow."""
    name = EXTENSION_NAMES.get(extension.kind, str(extension.kind))
    if extension.kind != IPPROTO_FRAGMENT:
        return name
    return f"frag (0x{extension.ident:08x}:{extension.fragment}{'+' if extension.more else ''})"
