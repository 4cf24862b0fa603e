"""Socket addresses as Python programs write them, made into the shapes that the families take.

What CPython's own conversion does and refuses, with its messages: wrong shapes are TypeError, ports out of range
OverflowError, unknown names gaierror. Hosts come out as numeric text: this is the last place where names exist.
"""

from __future__ import annotations

import os
from operator import index

from pysock.shim.real import gaierror, inet_ntop, inet_pton, real_getaddrinfo
from pysock.syscalls.buffer import as_bytes
from pysock.uapi.netdb import AI_NUMERICHOST, EAI_ADDRFAMILY, EAI_NONAME
from pysock.uapi.sockaddr import SUN_PATH_MAX
from pysock.uapi.socket import AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, AF_UNSPEC, SOCK_DGRAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pysock.core.net import Net

#: Addresses that were converted before, by what the program passed; pure translations, so all kernels share them.
_numeric: dict[tuple[str, int], tuple[str, int]] = {}
_numeric6: dict[tuple[str, int, int, int], tuple[str, int, int, int]] = {}
_NUMERIC_LIMIT = 4096


def parse(net: Net, family: int, address: Any, caller: str) -> Any:
    """``address`` in the shape that ``family``'s sockets take; ``caller`` is the method's name, for messages.

    TypeError, OverflowError, OSError without an errno, or gaierror, as the stdlib's socket raises them.
    """
    if family == AF_INET:
        try:
            known = _numeric.get(address)
        except TypeError:
            known = None
        return known if known is not None and type(address[1]) is int else _parse_in(net, address, caller)
    if family == AF_UNIX:
        return _parse_un(address)
    if family == AF_INET6:
        try:
            known6 = _numeric6.get(address)
        except TypeError:
            known6 = None
        if known6 is not None and type(address[1]) is type(address[2]) is type(address[3]) is int:
            return known6
        return _parse_in6(net, address, caller)
    if family in (AF_NETLINK, AF_PACKET) and not isinstance(address, tuple):
        name = "AF_NETLINK" if family == AF_NETLINK else "AF_PACKET"
        raise TypeError(f"{caller}(): {name} address must be tuple, not {type(address).__name__}")
    return address


def _parse_in(net: Net, address: Any, caller: str) -> tuple[str, int]:
    if not isinstance(address, tuple):
        raise TypeError(f"{caller}(): AF_INET address must be tuple, not {type(address).__name__}")
    if len(address) != 2:
        raise TypeError("AF_INET address must be a pair (host, port)")
    host = encode_host(address[0])
    port = _port(address[1], caller)
    result = resolve(net, host, AF_INET), port
    if result[0] == address[0] and type(address[0]) is str:
        if len(_numeric) >= _NUMERIC_LIMIT:
            _numeric.clear()
        _numeric[result] = result
    return result


def _parse_in6(net: Net, address: Any, caller: str) -> tuple[str, int, int, int]:
    if not isinstance(address, tuple):
        raise TypeError(f"{caller}(): AF_INET6 address must be tuple, not {type(address).__name__}")
    if not 2 <= len(address) <= 4:
        raise TypeError("AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]])")
    host = encode_host(address[0])
    port = _port(address[1], caller)
    flowinfo = index(address[2]) if len(address) > 2 else 0
    scope_id = index(address[3]) if len(address) > 3 else 0
    if not 0 <= flowinfo <= 0xFFFFF:
        raise OverflowError(f"{caller}(): flowinfo must be 0-1048575.")
    result = resolve(net, host, AF_INET6), port, flowinfo, scope_id
    if result[0] == address[0] and type(address[0]) is str and len(address) == 4:
        if len(_numeric6) >= _NUMERIC_LIMIT:
            _numeric6.clear()
        _numeric6[result] = result
    return result


def _parse_un(address: Any) -> str | bytes:
    if isinstance(address, str):
        raw = os.fsencode(address)
    else:
        raw = as_bytes(address)
    if len(raw) > SUN_PATH_MAX or (len(raw) == SUN_PATH_MAX and raw[0]):
        raise OSError("AF_UNIX path too long")
    return address if isinstance(address, str) and raw[:1] != b"\0" else raw


def _port(value: Any, caller: str) -> int:
    port = index(value)
    if not 0 <= port <= 0xFFFF:
        raise OverflowError(f"{caller}(): port must be 0-65535.")
    return port


def encode_host(host: Any) -> str:
    """A host argument (str, bytes or bytearray) as ASCII text, by IDNA where needed."""
    if isinstance(host, str):
        text = host if host.isascii() else host.encode("idna").decode("ascii")
    elif isinstance(host, (bytes, bytearray)):
        text = bytes(host).decode("utf-8", "surrogateescape")
    else:
        raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
    if "\0" in text:
        raise TypeError("host name must not contain null character")
    return text


def resolve(net: Net, host: str, family: int) -> str:
    """The numeric text of ``host`` in ``family`` (AF_UNSPEC: whichever comes first); gaierror when unknown.

    "" is the wildcard and "<broadcast>" 255.255.255.255, as in every address that CPython takes.
    """
    if not host:
        return "::" if family == AF_INET6 else "0.0.0.0"
    if host in ("<broadcast>", "255.255.255.255"):
        if family == AF_INET6:
            raise OSError("address family mismatched")
        return "255.255.255.255"
    if "%" in host and family != AF_INET:
        host = _without_zone(net, host)
    for candidate in (AF_INET, AF_INET6) if family == AF_UNSPEC else (family,):
        try:
            return inet_ntop(candidate, inet_pton(candidate, host))
        except OSError:
            continue
    return lookup(net, host, family)[0][1]


def _without_zone(net: Net, host: str) -> str:
    """The address in "fe80::1%eth0" or "fe80::1%2": in address tuples, the scope id is the fourth item, and the zone
    counts for nothing. gaierror for a device that is not there.
    """
    text, _, zone = host.partition("%")
    if ":" in text and not (zone.isascii() and zone.isdigit()) and zone not in net.dev_by_name:
        raise gaierror(EAI_NONAME, "Name or service not known")
    return text


def lookup(net: Net, host: str, family: int) -> list[tuple[int, str]]:
    """All ``(family, numeric host)`` of a name, from the namespace's hosts table; never empty, else gaierror."""
    from pysock.shim.hosts import hosts_of

    found = hosts_of(net).addresses(host)
    if found is None:
        # Odd numeric spellings ("127.1", "0x7f000001") belong to the C library; it asks nobody for them.
        raw = host.encode("utf-8", "surrogateescape")  # which IDNA has no opinion about
        entries = real_getaddrinfo(raw, None, family, SOCK_DGRAM, 0, AI_NUMERICHOST)
        found = [(entry[0], str(entry[4][0])) for entry in entries]
    wanted = [entry for entry in found if family in (AF_UNSPEC, entry[0])]
    if not wanted:
        if found:
            raise gaierror(EAI_ADDRFAMILY, "Address family for hostname not supported")
        raise gaierror(EAI_NONAME, "Name or service not known")
    return wanted
