"""Addresses as text and as bytes in network order: IPv4, IPv6, MAC.

The C library's pure conversions are taken from ``_socket`` at import, privately, so they stay the real
ones when the socket module is patched. Everything that is not an address raises ValueError.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from _socket import inet_ntop as _ntop
from _socket import inet_pton as _pton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

V4_ANY: Final = bytes(4)
V4_BROADCAST: Final = b"\xff\xff\xff\xff"
V4_LOOPBACK: Final = b"\x7f\0\0\1"
V6_ANY: Final = bytes(16)
V6_LOOPBACK: Final = bytes(15) + b"\1"
MAC_ZERO: Final = bytes(6)
MAC_BROADCAST: Final = b"\xff\xff\xff\xff\xff\xff"


def inet_aton(text: str) -> bytes:
    """The 4 bytes of a strict dotted quad: no leading zeros, no short forms (inet_pton(3))."""
    try:
        return _pton(AF_INET, text)
    except (OSError, ValueError, TypeError):
        raise ValueError(f"not an IPv4 address: {text!r} (write it as '192.0.2.1')") from None


def inet_ntoa(packed: bytes) -> str:
    """Dotted quad of 4 bytes."""
    try:
        return _ntop(AF_INET, packed)
    except (OSError, ValueError, TypeError):
        raise ValueError(f"an IPv4 address has 4 bytes, not {packed!r}") from None


def inet6_aton(text: str) -> bytes:
    """The 16 bytes of an IPv6 address (RFC 4291 section 2.2), without zone."""
    try:
        return _pton(AF_INET6, text)
    except (OSError, ValueError, TypeError):
        raise ValueError(f"not an IPv6 address: {text!r} (write it as '2001:db8::1')") from None


def inet6_ntoa(packed: bytes) -> str:
    """Compressed text of 16 bytes (RFC 5952)."""
    try:
        return _ntop(AF_INET6, packed)
    except (OSError, ValueError, TypeError):
        raise ValueError(f"an IPv6 address has 16 bytes, not {packed!r}") from None


def ip_ntoa(packed: bytes) -> str:
    """Text of an address of either version, by its length."""
    return inet_ntoa(packed) if len(packed) == 4 else inet6_ntoa(packed)


def mac_aton(text: str) -> bytes:
    """The 6 bytes of ``"02:00:00:00:00:01"``: six pairs of hexadecimal digits, by colons or hyphens."""
    pairs = text.replace("-", ":").split(":")
    try:
        if len(pairs) == 6 and all(len(pair) == 2 and pair.isalnum() for pair in pairs):
            return bytes([int(pair, 16) for pair in pairs])
    except ValueError:
        pass
    raise ValueError(f"not a MAC address: {text!r} (write it as '02:00:00:00:00:01')")


def mac_ntoa(packed: bytes) -> str:
    """Colon-separated lower-case hexadecimal of a hardware address of any length."""
    return bytes(packed).hex(":")
