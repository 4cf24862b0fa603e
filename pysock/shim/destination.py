"""In which order a name's addresses are offered: destination address selection of RFC 6724, section 6, which glibc does
in getaddrinfo.

Addresses are compared as 128-bit numbers, IPv4 ones v4-mapped. Which source address a packet to each would have is what
the namespace says: a UDP socket is connected to it and asked, which sends nothing. Rules 3, 4 and 7 (deprecated, home
and tunnelled addresses) have nothing to go by here, as in glibc without its netlink cache.
"""

from __future__ import annotations

from operator import itemgetter

from pysock.shim.real import inet_pton
from pysock.uapi.socket import AF_INET, AF_INET6, SOCK_DGRAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.vfs.task import Task

    Address = tuple[int, str]

_V4_MAPPED = 0xFFFF << 32
#: (prefix, its length, precedence, label), the longest prefix first (section 2.1).
_POLICY = (
    (1, 128, 50, 0),
    (_V4_MAPPED, 96, 35, 4),
    (0, 96, 1, 3),
    (0x20010000 << 96, 32, 5, 5),
    (0x2002 << 112, 16, 30, 2),
    (0x3FFE << 112, 16, 1, 12),
    (0xFEC0 << 112, 10, 1, 11),
    (0xFC00 << 112, 7, 3, 13),
    (0, 0, 40, 1),
)
_DISCARD_PORT = 9


def order(task: Task, addresses: list[Address], only_usable: bool) -> list[Address]:
    """``addresses`` (family, numeric host), the best one first. With ``only_usable``, those without a source address
    are left out, unless none has one.
    """
    rated = [(_Rating(family, host, _source(task, family, host)), (family, host)) for family, host in addresses]
    if only_usable and any(rating.source is not None for rating, _ in rated):
        rated = [entry for entry in rated if entry[0].source is not None]
    rated.sort(key=itemgetter(0))  # stable: rule 10
    return [address for _, address in rated]


class _Rating:
    """One destination and its source. It is less than another one that it goes before."""

    __slots__ = ("address", "family", "label", "precedence", "scope", "source")

    def __init__(self, family: int, host: str, source: str | None) -> None:
        self.family = family
        self.address = _number(family, host)
        self.source = None if source is None else _number(family, source)
        self.precedence, self.label = _policy(self.address)
        self.scope = _scope(self.address)

    def __lt__(self, other: _Rating) -> bool:
        if self.source is None or other.source is None:
            return self.source is not None and other.source is None  # 1: avoid unusable destinations
        mine, theirs = _scope(self.source) == self.scope, _scope(other.source) == other.scope
        if mine != theirs:
            return mine  # 2: prefer a matching scope
        mine, theirs = _policy(self.source)[1] == self.label, _policy(other.source)[1] == other.label
        if mine != theirs:
            return mine  # 5: prefer a matching label
        if self.precedence != other.precedence:
            return self.precedence > other.precedence  # 6
        if self.scope != other.scope:
            return self.scope < other.scope  # 8: prefer the smaller scope
        if self.family == other.family == AF_INET6:  # 9: use the longest matching prefix
            return (self.address ^ self.source).bit_length() < (other.address ^ other.source).bit_length()
        return False


def _number(family: int, host: str) -> int:
    packed = int.from_bytes(inet_pton(family, host.partition("%")[0]), "big")
    return packed | _V4_MAPPED if family == AF_INET else packed


def _policy(address: int) -> tuple[int, int]:
    for prefix, length, precedence, label in _POLICY:
        if (address ^ prefix) >> (128 - length) == 0:
            return precedence, label
    raise AssertionError("the last entry matches everything")


def _scope(address: int) -> int:
    """As in a multicast address: 2 link-local, 5 site-local, 14 global (section 3.1)."""
    if address >> 32 == 0xFFFF:
        v4 = address & 0xFFFFFFFF
        return 2 if v4 >> 24 == 127 or v4 >> 16 == 0xA9FE else 14
    if address >> 120 == 0xFF:
        return address >> 112 & 0xF
    if address == 1 or address >> 118 == 0xFE80 >> 6:
        return 2
    return 5 if address >> 118 == 0xFEC0 >> 6 else 14


def _source(task: Task, family: int, host: str) -> str | None:
    """The address that a packet to ``host`` would come from; None if it can't be sent."""
    kernel = task.kernel
    kernel.enter()
    try:
        sock = kernel.families.create(task.net, task.creds, family, SOCK_DGRAM, 0)
        try:
            sock.ops.connect(sock, (host, _DISCARD_PORT, 0, 0) if family == AF_INET6 else (host, _DISCARD_PORT), 0)
            source: str = sock.ops.getname(sock, False)[0]
        finally:
            sock.ops.release(sock)
    except OSError:
        return None
    finally:
        kernel.leave()
    return source
