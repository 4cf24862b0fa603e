"""struct sockaddr_* as bytes, to and from the address shapes of the stdlib's socket module.

| family    | struct           | shape                                                   |
|-----------|------------------|---------------------------------------------------------|
| AF_INET   | sockaddr_in, 16  | ``(host, port)``                                        |
| AF_INET6  | sockaddr_in6, 28 | ``(host, port, flowinfo, scope_id)``, the last two optional when packing |
| AF_UNIX   | sockaddr_un, 2+  | path as str (or bytes); bytes with a leading NUL if abstract; ``""`` if unnamed |
| AF_PACKET | sockaddr_ll, 20  | ``(ifindex, protocol, pkttype, hatype, addr)``: the stdlib has the interface's name first, which only a network namespace can translate |
| AF_NETLINK | sockaddr_nl, 12 | ``(pid, groups)``                                       |

Hosts are numeric text: names are resolved above. Everything malformed raises ValueError.
Sources: ip(7), ipv6(7), unix(7), packet(7), netlink(7).
"""  # noqa: E501 - a table

from __future__ import annotations

import os
from _socket import inet_ntop, inet_pton
from struct import Struct

from pysock.uapi.socket import AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeAlias

    InetAddress: TypeAlias = tuple[str, int]
    Inet6Address: TypeAlias = tuple[str, int, int, int]
    UnixAddress: TypeAlias = str | bytes
    PacketAddress: TypeAlias = tuple[int, int, int, int, bytes]
    NetlinkAddress: TypeAlias = tuple[int, int]
    Address: TypeAlias = InetAddress | Inet6Address | UnixAddress | PacketAddress | NetlinkAddress

# Layout. Family and ifindex are in host order; ports, flowinfo and sll_protocol in network order.
FAMILY: Final = Struct("=H")
SOCKADDR_IN: Final = Struct("=H2s4s8x")
SOCKADDR_IN6: Final = Struct("=H2s4s16sI")
SOCKADDR_LL: Final = Struct("=H2siHBB8s")
SOCKADDR_NL: Final = Struct("=H2xII")

SOCKADDR_IN_SIZE: Final = 16
SOCKADDR_IN6_SIZE: Final = 28
SOCKADDR_LL_SIZE: Final = 20
SOCKADDR_NL_SIZE: Final = 12
SOCKADDR_STORAGE_SIZE: Final = 128
SUN_PATH_OFFSET: Final = 2
SUN_PATH_MAX: Final = 108  # UNIX_PATH_MAX: bytes of sun_path


def family_of(raw: bytes) -> int:
    """The sa_family of any struct sockaddr. Raises ValueError if it is shorter than that field."""
    if len(raw) < 2:
        raise ValueError("struct sockaddr without a family")
    return raw[0] | raw[1] << 8


# AF_INET -------------------------------------------------------------------------------------------


def pack_in(address: InetAddress) -> bytes:
    """struct sockaddr_in from ``("127.0.0.1", 80)``."""
    host, port = address
    return SOCKADDR_IN.pack(AF_INET, _u16(port, "port"), _host(AF_INET, host))


def unpack_in(raw: bytes) -> InetAddress:
    """``(host, port)`` from a struct sockaddr_in; the trailing padding may be missing."""
    _check(raw, AF_INET, 8)
    return inet_ntop(AF_INET, raw[4:8]), raw[2] << 8 | raw[3]


# AF_INET6 ------------------------------------------------------------------------------------------


def pack_in6(address: tuple[str, int] | tuple[str, int, int] | Inet6Address) -> bytes:
    """struct sockaddr_in6 from ``("::1", 80)``, or with flowinfo (20 bits), or with flowinfo and scope id."""
    host, port = address[0], address[1]
    flowinfo = address[2] if len(address) > 2 else 0
    scope_id = address[3] if len(address) > 3 else 0
    if not 0 <= flowinfo <= 0xFFFFF:
        raise ValueError(f"flowinfo must be 0-1048575, not {flowinfo}")
    return SOCKADDR_IN6.pack(
        AF_INET6,
        _u16(port, "port"),
        flowinfo.to_bytes(4, "big"),
        _host(AF_INET6, host),
        _u32(scope_id, "scope id"),
    )


def unpack_in6(raw: bytes) -> Inet6Address:
    """``(host, port, flowinfo, scope_id)`` from a struct sockaddr_in6; the last field may lack."""
    _check(raw, AF_INET6, 24)
    scope_id = int.from_bytes(raw[24:28], "little")
    return inet_ntop(AF_INET6, raw[8:24]), raw[2] << 8 | raw[3], int.from_bytes(raw[4:8], "big"), scope_id


# AF_UNIX -------------------------------------------------------------------------------------------


def pack_un(path: UnixAddress) -> bytes:
    """struct sockaddr_un, as long as needed: paths end with NUL, abstract names don't, ``""`` is 2 bytes.

    Raises ValueError("AF_UNIX path too long") for a path above 107 bytes or an abstract name above 108.
    """
    raw = os.fsencode(path)
    if raw and raw[0]:
        raw += b"\0"
    if len(raw) > SUN_PATH_MAX:
        raise ValueError("AF_UNIX path too long")
    return FAMILY.pack(AF_UNIX) + raw


def unpack_un(raw: bytes) -> UnixAddress:
    """The path as str, an abstract name as bytes with its leading NUL, or ``""`` for an unnamed socket."""
    _check(raw, AF_UNIX, SUN_PATH_OFFSET)
    path = bytes(raw[SUN_PATH_OFFSET:])
    if path and not path[0]:
        return path
    return os.fsdecode(path.split(b"\0", 1)[0])


# AF_PACKET -----------------------------------------------------------------------------------------


def pack_ll(address: PacketAddress) -> bytes:
    """struct sockaddr_ll from ``(ifindex, protocol, pkttype, hatype, addr)``; addr has up to 8 bytes."""
    ifindex, protocol, pkttype, hatype, addr = address
    if len(addr) > 8:
        raise ValueError(f"hardware address must be at most 8 bytes, not {len(addr)}")
    if not 0 <= ifindex <= 0x7FFFFFFF or not 0 <= hatype <= 0xFFFF or not 0 <= pkttype <= 0xFF:
        raise ValueError("ifindex, hatype or pkttype out of range")
    return SOCKADDR_LL.pack(AF_PACKET, _u16(protocol, "protocol"), ifindex, hatype, pkttype, len(addr), addr)


def unpack_ll(raw: bytes) -> PacketAddress:
    """``(ifindex, protocol, pkttype, hatype, addr)`` from a struct sockaddr_ll, protocol in host order."""
    _check(raw, AF_PACKET, SOCKADDR_LL_SIZE)
    _, protocol, ifindex, hatype, pkttype, halen, addr = SOCKADDR_LL.unpack_from(raw)
    return ifindex, int.from_bytes(protocol, "big"), pkttype, hatype, addr[:halen]


# AF_NETLINK ----------------------------------------------------------------------------------------


def pack_nl(address: NetlinkAddress) -> bytes:
    """struct sockaddr_nl from ``(pid, groups)``."""
    pid, groups = address
    return SOCKADDR_NL.pack(AF_NETLINK, _u32(pid, "pid"), _u32(groups, "groups"))


def unpack_nl(raw: bytes) -> NetlinkAddress:
    """``(pid, groups)`` from a struct sockaddr_nl."""
    _check(raw, AF_NETLINK, SOCKADDR_NL_SIZE)
    _, pid, groups = SOCKADDR_NL.unpack_from(raw)
    return pid, groups


def unpack(raw: bytes) -> Address:
    """The shape of any struct sockaddr of the families above, by its sa_family; ValueError for others."""
    family = family_of(raw)
    if family == AF_INET:
        return unpack_in(raw)
    if family == AF_INET6:
        return unpack_in6(raw)
    if family == AF_UNIX:
        return unpack_un(raw)
    if family == AF_PACKET:
        return unpack_ll(raw)
    if family == AF_NETLINK:
        return unpack_nl(raw)
    raise ValueError(f"no sockaddr codec for address family {family}")


# Checks --------------------------------------------------------------------------------------------


def _check(raw: bytes, family: int, size: int) -> None:
    if len(raw) < size or raw[0] | raw[1] << 8 != family:
        raise ValueError(f"not a struct sockaddr of family {family} with at least {size} bytes")


def _host(family: int, host: str) -> bytes:
    try:
        return inet_pton(family, host)
    except OSError:
        raise ValueError(f"not a numeric address of family {family}: {host!r}") from None


def _u16(value: int, what: str) -> bytes:
    if not 0 <= value <= 0xFFFF:
        raise ValueError(f"{what} must be 0-65535, not {value}")
    return value.to_bytes(2, "big")


def _u32(value: int, what: str) -> int:
    if not 0 <= value <= 0xFFFFFFFF:
        raise ValueError(f"{what} must be 0-4294967295, not {value}")
    return value
