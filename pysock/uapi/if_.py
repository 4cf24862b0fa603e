"""Network interfaces for programs: flags, hardware types, struct ifreq and struct ifconf (netdevice(7))."""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

IFNAMSIZ: Final = 16  # bytes, with the final NUL
IFALIASZ: Final = 256

# Flags --------------------------------------------------------------------------------------------

IFF_UP: Final = 0x1
IFF_BROADCAST: Final = 0x2
IFF_DEBUG: Final = 0x4
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10
IFF_NOTRAILERS: Final = 0x20
IFF_RUNNING: Final = 0x40
IFF_NOARP: Final = 0x80
IFF_PROMISC: Final = 0x100
IFF_ALLMULTI: Final = 0x200
IFF_MASTER: Final = 0x400
IFF_SLAVE: Final = 0x800
IFF_MULTICAST: Final = 0x1000
IFF_PORTSEL: Final = 0x2000
IFF_AUTOMEDIA: Final = 0x4000
IFF_DYNAMIC: Final = 0x8000
IFF_LOWER_UP: Final = 0x10000
IFF_DORMANT: Final = 0x20000
IFF_ECHO: Final = 0x40000

IFF_VOLATILE: Final = 0x70C5A  # flags the kernel keeps, which SIOCSIFFLAGS cannot change

# Operational states (RFC 2863)
IF_OPER_UNKNOWN: Final = 0
IF_OPER_NOTPRESENT: Final = 1
IF_OPER_DOWN: Final = 2
IF_OPER_LOWERLAYERDOWN: Final = 3
IF_OPER_TESTING: Final = 4
IF_OPER_DORMANT: Final = 5
IF_OPER_UP: Final = 6

# Hardware types (ARPHRD_*: also ARP's ar_hrd) -----------------------------------------------------

ARPHRD_NETROM: Final = 0
ARPHRD_ETHER: Final = 1
ARPHRD_EETHER: Final = 2
ARPHRD_AX25: Final = 3
ARPHRD_IEEE802: Final = 6
ARPHRD_INFINIBAND: Final = 32
ARPHRD_SLIP: Final = 256
ARPHRD_CAN: Final = 280
ARPHRD_PPP: Final = 512
ARPHRD_RAWIP: Final = 519
ARPHRD_TUNNEL: Final = 768
ARPHRD_TUNNEL6: Final = 769
ARPHRD_LOOPBACK: Final = 772
ARPHRD_SIT: Final = 776
ARPHRD_IPGRE: Final = 778
ARPHRD_PIMREG: Final = 779
ARPHRD_IEEE80211: Final = 801
ARPHRD_NETLINK: Final = 824
ARPHRD_VOID: Final = 65535
ARPHRD_NONE: Final = 65534

# struct ifreq: a name of 16 bytes, then a union of 24 ---------------------------------------------

IFREQ: Final = Struct("=16s24s")
IFREQ_SIZE: Final = 40
IFREQ_INT: Final = Struct("=i")  # ifr_ifindex, ifr_mtu, ifr_metric, ifr_qlen
IFREQ_SHORT: Final = Struct("=h")  # ifr_flags
IFREQ_SOCKADDR: Final = Struct("=16s")  # ifr_addr, ifr_netmask, ifr_broadaddr, ifr_hwaddr: a struct sockaddr
IFCONF: Final = Struct("=i4xQ")  # ifc_len in bytes, ifc_buf as a pointer


def pack_ifname(name: str) -> bytes:
    """An interface name as the 16 bytes of ``ifr_name``.

    Raises ValueError if the name with its NUL does not fit or contains a NUL.
    """
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) >= IFNAMSIZ or b"\0" in raw:
        raise ValueError(f"interface name must be at most {IFNAMSIZ - 1} bytes without NUL: {name!r}")
    return raw.ljust(IFNAMSIZ, b"\0")


def unpack_ifname(raw: bytes) -> str:
    """The text in a NUL-padded ``ifr_name``."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def pack_ifreq(name: str, data: bytes = b"") -> bytes:
    """A struct ifreq (40 bytes): the name and the union's first bytes. ValueError if either does not fit."""
    if len(data) > 24:
        raise ValueError(f"the union of struct ifreq holds 24 bytes, not {len(data)}")
    return IFREQ.pack(pack_ifname(name), data)


def unpack_ifreq(buf: bytes) -> tuple[str, bytes]:
    """``(name, union)`` of a struct ifreq; the union is always 24 bytes.

    A shorter buffer is padded with zeros, as programs pass only the bytes they use, often a name and one int;
    one without a whole name raises ValueError.
    """
    if len(buf) < IFNAMSIZ:
        raise ValueError(f"struct ifreq needs at least {IFNAMSIZ} bytes, not {len(buf)}")
    name, data = IFREQ.unpack(bytes(buf[:IFREQ_SIZE]).ljust(IFREQ_SIZE, b"\0"))
    return unpack_ifname(name), data
