"""AF_INET6 socket addresses: from the stdlib's tuples to wire bytes and back, with a cache; kinds of addresses.

Inside, an address is 16 bytes in network order. Programs write ``(host, port)``, ``(host, port, flowinfo)`` or ``(host,
port, flowinfo, scope_id)``. Kinds and scopes are RFC 4291's (Linux: ipv6_addr_type, ipv6_addr_scope).
"""

from __future__ import annotations

import errno
from functools import lru_cache

from pysock.core.errors import err
from pysock.core.sock import Address
from pysock.wire.addr import inet6_aton, inet6_ntoa

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

ANY6: Final = bytes(16)
LOOPBACK6: Final = bytes(15) + b"\1"
V4MAPPED: Final = bytes(10) + b"\xff\xff"
LINKLOCAL_PREFIX: Final = b"\xfe\x80" + bytes(6)
ALL_NODES: Final = b"\xff\x02" + bytes(13) + b"\1"
ALL_NODES_NODELOCAL: Final = b"\xff\x01" + bytes(13) + b"\1"
ALL_ROUTERS: Final = b"\xff\x02" + bytes(13) + b"\2"
ALL_MLD2_ROUTERS: Final = b"\xff\x02" + bytes(13) + b"\x16"
_SOLICITED: Final = b"\xff\x02" + bytes(9) + b"\1\xff"

# Scopes as RFC 4007 orders them, and RFC 6724 compares them: multicast has them in the address.
SCOPE_NODELOCAL: Final = 1
SCOPE_LINKLOCAL: Final = 2
SCOPE_SITELOCAL: Final = 5
SCOPE_GLOBAL: Final = 14


@lru_cache(maxsize=4096)
def host_bytes(host: str) -> bytes:
    """The 16 wire bytes of a numeric IPv6 ``host``; "" is any address.

    A zone ("fe80::1%eth0") is no part of them: the stdlib takes the scope id from the tuple's fourth item.
    """
    return inet6_aton(host.partition("%")[0]) if host else ANY6


host_text = lru_cache(maxsize=4096)(inet6_ntoa)


def parse(addr: Address) -> tuple[bytes, int, int, int]:
    """``(address, port, flowinfo, scope_id)`` of a tuple of two to four items; flowinfo in host order.

    TypeError or OverflowError when it has another shape (as CPython answers), EINVAL when the host is no IPv6 address.
    """
    if not isinstance(addr, tuple) or not 2 <= len(addr) <= 4:
        raise TypeError(f"AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]]), not {addr!r}")
    host, port = addr[0], addr[1]
    flowinfo = addr[2] if len(addr) > 2 else 0
    scope_id = addr[3] if len(addr) > 3 else 0
    if not (isinstance(port, int) and isinstance(flowinfo, int) and isinstance(scope_id, int)):
        raise TypeError(f"AF_INET6 port, flowinfo and scope id must be ints, not {addr[1:]!r}")
    if not 0 <= port <= 0xFFFF:
        raise OverflowError("port must be 0-65535.")
    if not 0 <= flowinfo <= 0xFFFFF:
        raise OverflowError("flowinfo must be 0-1048575.")
    try:
        return host_bytes(host), port, flowinfo, scope_id & 0xFFFFFFFF
    except (ValueError, TypeError, AttributeError) as exc:
        raise err(errno.EINVAL, f"not a numeric IPv6 address: {host!r}") from exc


def is_multicast(addr: bytes) -> bool:
    """ff00::/8."""
    return addr[0] == 0xFF


def is_linklocal(addr: bytes) -> bool:
    """fe80::/10."""
    return addr[0] == 0xFE and addr[1] & 0xC0 == 0x80


def is_v4mapped(addr: bytes) -> bool:
    """::ffff:0:0/96: an IPv4 address in the last 4 bytes."""
    return addr[:12] == V4MAPPED


def v4_of(addr: bytes) -> bytes:
    """The IPv4 address in a v4-mapped one."""
    return addr[12:]


def v4mapped(v4: bytes) -> bytes:
    """The v4-mapped form of 4 bytes."""
    return V4MAPPED + v4


def needs_scope(addr: bytes) -> bool:
    """Does only a device make the address unambiguous: link-local, or a group of link or node scope
    (__ipv6_addr_needs_scope_id)?
    """
    return is_linklocal(addr) or (addr[0] == 0xFF and addr[1] & 0xF in (SCOPE_NODELOCAL, SCOPE_LINKLOCAL))


def scope_of(addr: bytes) -> int:
    """The scope, as multicast addresses number it (RFC 4291 2.7, RFC 6724 3.1): the loopback address is link-local."""
    first = addr[0]
    if first == 0xFF:
        return addr[1] & 0xF
    if first == 0xFE:
        if addr[1] & 0xC0 == 0x80:
            return SCOPE_LINKLOCAL
        if addr[1] & 0xC0 == 0xC0:
            return SCOPE_SITELOCAL
    if addr == LOOPBACK6:
        return SCOPE_LINKLOCAL
    return SCOPE_GLOBAL


def solicited_node(addr: bytes) -> bytes:
    """The group that neighbour solicitations for ``addr`` go to (RFC 4291 2.7.1)."""
    return _SOLICITED + addr[13:]


def hardware_group(group: bytes) -> bytes:
    """The Ethernet address of a group: 33:33 and its last 32 bits (RFC 2464 7)."""
    return b"\x33\x33" + group[12:]


def prefix_of(addr: bytes, plen: int) -> bytes:
    """``addr`` with everything behind its first ``plen`` bits zero (ipv6_addr_prefix)."""
    shift = 128 - plen
    return (int.from_bytes(addr, "big") >> shift << shift).to_bytes(16, "big")


def common_prefix_len(a: bytes, b: bytes) -> int:
    """How many leading bits two addresses share (ipv6_addr_diff)."""
    return 128 - (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_length()


def eui64(mac: bytes) -> bytes:
    """The modified EUI-64 interface identifier of a 6-byte MAC address (RFC 4291 appendix A)."""
    return bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
