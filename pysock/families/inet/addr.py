"""AF_INET socket addresses: from the stdlib's ``(host, port)`` tuples to wire bytes and back, with a cache.

Programs pass the same few tuples again and again; parsing a dotted quad costs more than a packet's trip through IP.
The cache is bounded and holds nothing but pure translations, so sharing it between kernels is no shared state.
"""

from __future__ import annotations

import errno
from functools import lru_cache

from pysock.core.errors import err
from pysock.core.sock import Address
from pysock.wire.addr import inet_aton, inet_ntoa

ANY = b"\0\0\0\0"
LOOPBACK = b"\x7f\0\0\1"
BROADCAST = b"\xff\xff\xff\xff"


@lru_cache(maxsize=4096)
def host_bytes(host: str) -> bytes:
    """The 4 wire bytes of a numeric IPv4 ``host``; "" is any address, "<broadcast>" is 255.255.255.255."""
    if not host:
        return ANY
    if host == "<broadcast>":
        return BROADCAST
    return inet_aton(host)


host_text = lru_cache(maxsize=4096)(inet_ntoa)


def parse(addr: Address) -> tuple[bytes, int]:
    """Split a ``(host, port)`` tuple into 4 address bytes and a port.

    TypeError or OverflowError when it has another shape (as CPython answers), EINVAL when the host is no IPv4 address.
    """
    if not isinstance(addr, tuple) or len(addr) != 2:
        raise TypeError(f"AF_INET address must be a pair (host, port), not {addr!r}")
    host, port = addr
    if not isinstance(port, int):
        raise TypeError(f"AF_INET port must be an int, not {type(port).__name__}")
    if not 0 <= port <= 0xFFFF:
        raise OverflowError("port must be 0-65535.")
    try:
        return host_bytes(host), port
    except (ValueError, TypeError) as exc:
        raise err(errno.EINVAL, f"not a numeric IPv4 address: {host!r}") from exc


def is_loopback(addr: bytes) -> bool:
    """127.0.0.0/8 (RFC 1122 3.2.1.3)."""
    return addr[0] == 127


def is_multicast(addr: bytes) -> bool:
    """224.0.0.0/4 (RFC 1112)."""
    return addr[0] & 0xF0 == 0xE0
