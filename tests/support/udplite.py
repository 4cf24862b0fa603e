"""UDP-Lite datagrams by hand (RFC 3828), for tests of both families."""

from __future__ import annotations

from typing import NamedTuple

from pysock.uapi.in_ import IPPROTO_UDPLITE
from pysock.wire.checksum import finish, partial, pseudo, verify

Addresses = tuple[bytes, bytes]


class Sent(NamedTuple):
    """The header's field, the payload, and whether the checksum is right for what the field says it covers."""

    coverage: int
    payload: bytes
    good: bool


def build(
    addresses: Addresses, sport: int, dport: int, payload: bytes, coverage: int = 0, check: int | None = None
) -> bytes:
    """A datagram whose header says ``coverage``, with the checksum that goes with it or ``check``."""
    header = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + coverage.to_bytes(2, "big")
    if check is None:
        whole = header + bytes(2) + payload
        covered = whole[: coverage or len(whole)]
        check = finish(partial(covered) + pseudo(*addresses, IPPROTO_UDPLITE, len(whole))) or 0xFFFF
    return header + check.to_bytes(2, "big") + payload


def dissect(addresses: Addresses, datagram: bytes) -> Sent:
    coverage = int.from_bytes(datagram[4:6], "big")
    covered = datagram[: coverage or len(datagram)]
    good = verify(covered, pseudo(*addresses, IPPROTO_UDPLITE, len(datagram)))
    return Sent(coverage, datagram[8:], good and datagram[6:8] != b"\0\0")


#: The option's value (None: not set), the payload's length, the field on the wire (RFC 3828 3.1, udplite(7)).
COVERAGES = [
    (None, 5, 13),
    (None, 0, 8),
    (0, 5, 0),
    (1, 5, 8),
    (8, 5, 8),
    (8, 0, 8),
    (11, 5, 11),
    (12, 5, 12),
    (13, 5, 13),
    (20, 5, 13),
    (70000, 5, 13),
    (20, 30000, 20),
]

#: A datagram with the payload b"precious, junk" as the wire changed it, and whether a program gets it:
#: coverage in the header, place of a flipped bit (None: unhurt), the receiver's UDPLITE_RECV_CSCOV (None: not set).
RECEIVED = [
    (0, None, None, True),
    (0, 21, None, False),
    (22, None, None, True),
    (22, 21, None, False),
    (8, None, None, True),
    (8, 21, None, True),
    (8, 3, None, False),
    (16, 15, None, False),
    (16, 16, None, True),
    (17, 16, None, False),
    (17, 17, None, True),
    (1, None, None, False),
    (7, None, None, False),
    (23, None, None, False),
    # the receiver's minimum
    (16, None, 16, True),
    (16, None, 17, False),
    (16, None, 8, True),
    (16, None, 0, False),
    (0, None, 0, True),
    (22, None, 0, True),
    (22, None, 65535, True),
    (0, None, 65535, True),
]
PAYLOAD = b"precious, junk"


def damaged(datagram: bytes, at: int | None) -> bytes:
    """With one bit flipped in byte ``at``."""
    if at is None:
        return datagram
    return datagram[:at] + bytes((datagram[at] ^ 0x10,)) + datagram[at + 1 :]
