"""The internet checksum (RFC 1071) over buffers of any size, in pieces, and updated in place (RFC 1624).

Theory: the ones' complement sum of big-endian 16-bit words is the buffer, read as one big-endian number,
modulo 65535, because 2**16 leaves remainder 1. Python takes that remainder in C. One trap: ones' complement
has two zeros, and the sum of words that are not all zero is never 0 but 0xFFFF. So here a *sum* is a number
from 0 to 0xFFFF that is 0 only for data that is all zero; the *checksum* that a header carries is its
complement.

Sums of pieces add up: ``fold(partial(a) + partial(b))``, if each piece but the last has an even length;
otherwise ``combine``. A packet whose checksum field is filled in sums to 0xFFFF: ``verify``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

CHUNK: Final = 4096  # bytes read as one number at a time; fewer make more steps, more make no difference


_HALVES: Final = tuple((bits, (1 << bits) - 1) for bits in (16384, 8192, 4096, 2048, 1024))


def remainder(value: int) -> int:
    """``value % 65535`` for a large number, such as a full frame: dividing costs twice as much as folding it in half
    first, again and again. Below 500 bytes ``%`` is as good.
    """
    for bits, mask in _HALVES:
        if value > mask:
            value = (value >> bits) + (value & mask)  # 2**16 leaves remainder 1, and so does 2**bits
    return value % 65535


def fold(total: int) -> int:
    """Reduce a plain sum of sums, or of 16-bit words, to one sum (0 to 0xFFFF, 0 only for 0)."""
    return total % 65535 or (0xFFFF if total else 0)


def partial(data: bytes | bytearray | memoryview) -> int:
    """The sum of the buffer's words; an odd last byte counts as a word whose low byte is zero.

    Linux: csum_partial.
    """
    size = len(data)
    if size <= CHUNK:
        value = int.from_bytes(data, "big")
        if size & 1:
            value <<= 8
        return (value % 65535 if size < 500 else remainder(value)) or (0xFFFF if value else 0)
    total = 0
    view = memoryview(data)
    # Whole chunks are added as big numbers, and one remainder is taken: adding costs a tenth of dividing.
    whole = size & ~1  # an even length, so that every chunk starts on a word
    for start in range(0, whole, CHUNK):
        total += int.from_bytes(view[start : min(start + CHUNK, whole)], "big")
    if size & 1:
        total += view[whole] << 8
    return remainder(total) or (0xFFFF if total else 0)


def checksum(data: bytes | bytearray | memoryview) -> int:
    """The checksum of the buffer, 0 to 0xFFFF, as a header's field carries it. Linux: ip_compute_csum."""
    if len(data) <= CHUNK and not len(data) & 1:  # a header: worth a call less
        value = int.from_bytes(data, "big")
        return (value % 65535 or (0xFFFF if value else 0)) ^ 0xFFFF
    return partial(data) ^ 0xFFFF


def finish(total: int) -> int:
    """The checksum for a plain sum of sums: folded and complemented. Linux: csum_fold."""
    return fold(total) ^ 0xFFFF


def verify(data: bytes | bytearray | memoryview, pseudo: int = 0) -> bool:
    """Does the buffer, with its checksum field filled in and the pseudo-header's sum, check?"""
    return fold(partial(data) + pseudo) == 0xFFFF


def combine(first: int, first_length: int, second: int) -> int:
    """The sum of two adjoining pieces from the sum of each; ``first_length`` in bytes decides the alignment.

    After an odd length the second piece's bytes stand in the other half of each word: RFC 1071 section 2(B),
    swapping its sum's bytes puts that right. Linux: csum_block_add.
    """
    if first_length & 1:
        second = (second & 0xFF) << 8 | second >> 8
    return fold(first + second)


def pseudo_v4(src: bytes, dst: bytes, protocol: int, length: int) -> int:
    """The sum of IPv4's pseudo-header (RFC 9293 section 3.1): 4-byte addresses, upper-layer length in bytes.

    Linux: csum_tcpudp_nofold.
    """
    total = int.from_bytes(src + dst, "big") + protocol + length
    return total % 65535 or (0xFFFF if total else 0)


def pseudo_v6(src: bytes, dst: bytes, next_header: int, length: int) -> int:
    """The sum of IPv6's pseudo-header (RFC 8200 section 8.1): 16-byte addresses, upper-layer length in bytes.

    Linux: csum_ipv6_magic.
    """
    total = int.from_bytes(src + dst, "big") + next_header + length
    return total % 65535 or (0xFFFF if total else 0)


def pseudo(src: bytes, dst: bytes, protocol: int, length: int) -> int:
    """The sum of either version's pseudo-header: same arithmetic, addresses of 4 or 16 bytes."""
    return pseudo_v4(src, dst, protocol, length)


def update(check: int, old: int, new: int) -> int:
    """The checksum after one 16-bit word of the packet changed from ``old`` to ``new``: RFC 1624 equation 3.

    For a router that decrements a TTL, or a translator that rewrites a port. Linux: csum_replace2.
    """
    return fold((check ^ 0xFFFF) + (old ^ 0xFFFF) + new) ^ 0xFFFF
