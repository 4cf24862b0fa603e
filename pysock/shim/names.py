"""Name resolution for programs: getaddrinfo, getnameinfo and their older relatives, over the namespace's hosts table.

Hermetic: no name ever leaves the process. What is pure translation (numeric addresses, service names, flags and their
errors) is left to the C library's own functions, which are told never to resolve (AI_NUMERICHOST, NI_NUMERICHOST); so
the order of results, the defaults and the error codes are the ones programs know.
"""

from __future__ import annotations

from pysock.shim.address import encode_host, lookup, resolve
from pysock.shim.destination import order
from pysock.shim.hosts import canonical, hosts_of
from pysock.shim.real import audit, gaierror, herror, inet_pton, real_getaddrinfo, real_getnameinfo
from pysock.shim.state import current, current_net
from pysock.uapi.netdb import (
    AI_ADDRCONFIG,
    AI_ALL,
    AI_CANONNAME,
    AI_NUMERICHOST,
    AI_V4MAPPED,
    EAI_NONAME,
    NI_NAMEREQD,
    NI_NOFQDN,
    NI_NUMERICHOST,
)
from pysock.uapi.socket import AF_INET, AF_INET6, AF_UNSPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from pysock.core.net import Net

    AddrInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]

__all__ = [
    "getaddrinfo",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "gethostname",
    "getnameinfo",
    "sethostname",
]

#: herror's HOST_NOT_FOUND.
_HOST_NOT_FOUND = 1


def _unknown() -> gaierror:
    return gaierror(EAI_NONAME, "Name or service not known")


def getaddrinfo(
    host: Any, port: Any, family: int = AF_UNSPEC, type: int = 0, proto: int = 0, flags: int = 0
) -> list[AddrInfo]:
    """getaddrinfo(host, port [, family, type, proto, flags])
        -> list of (family, type, proto, canonname, sockaddr)

    Resolve host and port into addrinfo struct.
    """
    task = current()
    hosts = hosts_of(task.net)
    known = None
    if isinstance(host, (str, bytes)):
        name = encode_host(host) if host else ""
        known = None if not name or flags & AI_NUMERICHOST else hosts.addresses(name)
    if known is None or family not in (AF_UNSPEC, AF_INET, AF_INET6):
        # A number, nothing, or a name that nobody has: the C library knows what to say to each.
        if known is None and isinstance(host, (str, bytes)) and "%" in name:
            host = _with_index(task.net, name)
        found = real_getaddrinfo(host, port, family, type, proto, flags & ~AI_ADDRCONFIG | AI_NUMERICHOST)
        return _only_our_families(task.net, family, found) if host is None else found
    audit("socket.getaddrinfo", host, port, family, type, proto)
    wanted = [entry for entry in _of_family(known, family, flags) if _have(task.net, entry[0])]
    if len(wanted) > 1:
        wanted = order(task, wanted, bool(flags & AI_ADDRCONFIG))
    quiet = flags & ~(AI_ADDRCONFIG | AI_CANONNAME) | AI_NUMERICHOST
    result: list[AddrInfo] = []
    for number, numeric in wanted:
        result += real_getaddrinfo(numeric, port, number, type, proto, quiet)
    if not result:
        raise _unknown()
    if flags & AI_CANONNAME:
        first = result[0]
        canonical_name = hosts.aliases(name, known[0][0])[0]
        result[0] = (*first[:3], canonical_name, first[4])
    return result


def _of_family(known: list[tuple[int, str]], family: int, flags: int) -> list[tuple[int, str]]:
    """Those of ``family``; AI_V4MAPPED and AI_ALL have IPv4 ones for IPv6 sockets."""
    if family == AF_UNSPEC:
        return known
    found = [entry for entry in known if entry[0] == family]
    if family == AF_INET6 and flags & AI_V4MAPPED and (flags & AI_ALL or not found):
        found += [(AF_INET6, f"::ffff:{numeric}") for number, numeric in known if number == AF_INET]
    return found


def _has_links(host: str) -> bool:
    """Whether addresses like ``host`` mean nothing without an interface: link-local ones, and such groups."""
    try:
        packed = inet_pton(AF_INET6, host)
    except OSError:
        return False
    return (packed[0] == 0xFE and packed[1] & 0xC0 == 0x80) or (packed[0] == 0xFF and packed[1] & 0xF in (1, 2))


def _with_index(net: Net, host: str) -> str:
    """A "fe80::1%eth0" with the number of the namespace's own eth0; gaierror when it has none."""
    address, _, zone = host.partition("%")
    if zone.isdigit():
        return host
    dev = net.dev_by_name.get(zone)
    if dev is None or not _has_links(address):
        raise _unknown()
    return f"{address}%{dev.ifindex}"


def _zone(net: Net, host: Any, port: Any, flowinfo: Any, scope_id: int) -> str:
    dev = net.dev_by_index.get(scope_id) if isinstance(host, str) and _has_links(host) else None
    return f"%{scope_id if dev is None else dev.name}"


def _have(net: Net, family: int) -> bool:
    return family != AF_INET6 or AF_INET6 in net.kernel.families.table


def _only_our_families(net: Net, family: int, found: list[Any]) -> list[Any]:
    if family != AF_UNSPEC:
        return found
    ours = [entry for entry in found if _have(net, entry[0])]
    return ours or found


def getnameinfo(sockaddr: Any, flags: int, /) -> tuple[str, str]:
    """getnameinfo(sockaddr, flags) --> (host, port)

    Get host and port for a sockaddr.
    """
    zone = ""
    try:
        if type(sockaddr) is tuple and len(sockaddr) == 4 and type(sockaddr[3]) is int and sockaddr[3] > 0:
            zone = _zone(current_net(), *sockaddr)
            sockaddr = (*sockaddr[:3], 0)
        host, service = real_getnameinfo(sockaddr, (flags | NI_NUMERICHOST) & ~NI_NAMEREQD)
    except BaseException:
        del sockaddr  # the traceback keeps this frame, and must not keep the argument
        raise
    names = [] if flags & NI_NUMERICHOST else hosts_of(current_net()).names(host)
    host += zone
    if flags & NI_NUMERICHOST:
        return host, service
    if names:
        name = names[0]
        return name.split(".")[0] if flags & NI_NOFQDN else name, service
    if flags & NI_NAMEREQD:
        raise _unknown()
    return host, service


def _checked_host(host: Any, function: str) -> str:
    if not isinstance(host, (str, bytes, bytearray)):
        raise TypeError(f"{function}() argument 1 must be str, bytes or bytearray, not {type(host).__name__}")
    return encode_host(host)


def gethostbyname(host: Any, /) -> str:
    """gethostbyname(host) -> address

    Return the IP address (a string of the form '255.255.255.255') for a host.
    """
    name = _checked_host(host, "gethostbyname")
    audit("socket.gethostbyname", host)
    return resolve(current_net(), name, AF_INET)


def gethostbyname_ex(host: Any, /) -> tuple[str, list[str], list[str]]:
    """gethostbyname_ex(host) -> (name, aliaslist, addresslist)

    Return the true host name, a list of aliases, and a list of IP addresses, for a host.
    """
    name = _checked_host(host, "gethostbyname_ex")
    audit("socket.gethostbyname", host)
    net = current_net()
    resolve(net, name, AF_INET)
    hosts = hosts_of(net)
    if canonical(name) is not None or not name:
        return name, [], [resolve(net, name, AF_INET)]
    found = [numeric for _, numeric in lookup(net, name, AF_INET)]
    names = hosts.aliases(name, AF_INET) or [name]
    return names[0], names[1:], found


def gethostbyaddr(host: Any, /) -> tuple[str, list[str], list[str]]:
    """gethostbyaddr(host) -> (name, aliaslist, addresslist)

    Return the true host name, a list of aliases, and a list of IP addresses, for a host. The host may be a name or an
    IP address.
    """
    name = _checked_host(host, "gethostbyaddr")
    audit("socket.gethostbyaddr", host)
    net = current_net()
    if not name:
        raise OSError("wildcard resolved to multiple address")
    numeric = resolve(net, name, AF_UNSPEC)
    names = hosts_of(net).names(numeric)
    if not names:
        raise herror(_HOST_NOT_FOUND, "Unknown host")
    return names[0], names[1:], [numeric]


def gethostname() -> str:
    """gethostname() -> string

    Return the current host name.
    """
    audit("socket.gethostname")
    return hosts_of(current_net()).hostname


def sethostname(name: Any, /) -> None:
    """sethostname(name)

    Sets the hostname to name.
    """
    import errno
    import os

    from pysock.core.capability import CAP_SYS_ADMIN
    from pysock.core.errors import err

    raw = os.fsencode(name)
    audit("socket.sethostname", name)
    task = current()
    if not task.creds.capable(CAP_SYS_ADMIN):
        raise err(errno.EPERM)
    if len(raw) > 64:
        raise err(errno.EINVAL)
    hosts_of(task.net).rename(os.fsdecode(raw))
