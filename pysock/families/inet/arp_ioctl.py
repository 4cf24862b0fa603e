"""The ARP table for programs: SIOCSARP, SIOCGARP and SIOCDARP (arp(7), arp_ioctl), and the text of /proc/net/arp."""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.errors import err
from pysock.core.neighbour import NUD_VALID, UPDATE_ADMIN, UPDATE_OVERRIDE
from pysock.families.inet import route
from pysock.families.inet.devconf import confs_of
from pysock.uapi.if_ import unpack_ifname
from pysock.uapi.ioctl import SIOCGARP, SIOCSARP
from pysock.uapi.neighbour import (
    ATF_COM,
    ATF_DONTPUB,
    ATF_NETMASK,
    ATF_PERM,
    ATF_PUBL,
    NUD_FAILED,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_STALE,
)
from pysock.uapi.socket import AF_INET
from pysock.wire.addr import inet_ntoa, mac_ntoa

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.net import InetNet

#: struct arpreq: arp_pa (family, port, address), arp_ha (family, bytes), arp_flags, arp_netmask, arp_dev
_ARPREQ: Final = Struct("=H2x4s8xH14si4x4s8x16s")
_HOST_MASK: Final = b"\xff\xff\xff\xff"


def arp_ioctl(inet: InetNet, creds: Credentials, cmd: int, arg: bytes | int) -> bytes:
    """SIOCSARP, SIOCGARP or SIOCDARP with a struct arpreq, which comes back with the answer.

    EPERM without CAP_NET_ADMIN for a change, EFAULT for a short buffer, EPFNOSUPPORT for another family, EINVAL for
    flags that contradict each other, ENODEV for an unknown device, ENXIO for an address that is not in the table.
    """
    if cmd != SIOCGARP and not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EPERM)
    if isinstance(arg, int) or len(arg) < _ARPREQ.size:
        raise err(errno.EFAULT)
    family, ip, hw_family, hw, flags, mask, name = _ARPREQ.unpack_from(arg)
    if family != AF_INET:
        raise err(errno.EPFNOSUPPORT)
    if not flags & ATF_PUBL and flags & (ATF_NETMASK | ATF_DONTPUB):
        raise err(errno.EINVAL)
    if not flags & ATF_NETMASK:
        mask = _HOST_MASK
    dev: NetDevice | None = None
    if name[0]:
        dev = inet.net.dev_by_name.get(unpack_ifname(name))
        if dev is None:
            raise err(errno.ENODEV)
        if flags & ATF_COM and hw_family not in (0, dev.type):
            raise err(errno.EINVAL)
    elif cmd == SIOCGARP:
        raise err(errno.ENODEV)
    if cmd == SIOCGARP:
        assert dev is not None
        return _get(inet, dev, ip, bytes(arg))
    if flags & ATF_PUBL:
        _change_proxy(inet, cmd, dev, ip, mask)
    elif cmd == SIOCSARP:
        _set(inet, dev or _device_for(inet, ip), ip, hw, flags)
    else:
        _delete(inet, dev or _device_for(inet, ip), ip)
    return bytes(arg)


def _device_for(inet: InetNet, ip: bytes) -> NetDevice:
    return route.output(inet, ip).dev


def _set(inet: InetNet, dev: NetDevice, ip: bytes, hw: bytes, flags: int) -> None:
    """arp_req_set()."""
    permanent = bool(flags & ATF_PERM)
    if permanent:
        flags |= ATF_COM
    neigh = inet.arp.lookup(dev, ip) or inet.arp.create(dev, ip, exempt=permanent)
    lladdr = hw[: dev.addr_len] if flags & ATF_COM else None
    result = neigh.update(lladdr, NUD_PERMANENT if permanent else NUD_STALE, UPDATE_OVERRIDE | UPDATE_ADMIN)
    if result:
        raise err(-result)


def _get(inet: InetNet, dev: NetDevice, ip: bytes, arg: bytes) -> bytes:
    """arp_req_get()."""
    neigh = inet.arp.lookup(dev, ip)
    if neigh is None or neigh.nud_state & NUD_NOARP:
        raise err(errno.ENXIO)
    mask = _ARPREQ.unpack_from(arg)[5]
    answer = _ARPREQ.pack(
        AF_INET, ip, dev.type, neigh.ha, _flags(neigh.nud_state), mask, dev.name.encode("utf-8", "surrogateescape")
    )
    return answer + arg[_ARPREQ.size :]


def _delete(inet: InetNet, dev: NetDevice, ip: bytes) -> None:
    """arp_invalidate()."""
    neigh = inet.arp.lookup(dev, ip)
    if neigh is None:
        raise err(errno.ENXIO)
    if neigh.nud_state & ~NUD_NOARP:
        neigh.update(None, NUD_FAILED, UPDATE_OVERRIDE | UPDATE_ADMIN)
    inet.arp.delete(neigh)


def _change_proxy(inet: InetNet, cmd: int, dev: NetDevice | None, ip: bytes, mask: bytes) -> None:
    """arp_req_set_public(), arp_req_delete_public(): for one address, or with mask 0 for all (proxy_arp)."""
    if mask == _HOST_MASK:
        if cmd == SIOCSARP:
            inet.arp.proxy_add(dev, ip)
        else:
            inet.arp.proxy_delete(dev, ip)
    elif any(mask):
        raise err(errno.EINVAL)
    else:
        confs = confs_of(inet)
        (confs.all if dev is None else confs.of(dev)).proxy_arp = int(cmd == SIOCSARP)


def _flags(state: int) -> int:
    """arp_state_to_flags()."""
    if state & NUD_PERMANENT:
        return ATF_PERM | ATF_COM
    return ATF_COM if state & NUD_VALID else 0


def proc_arp(inet: InetNet) -> str:
    """/proc/net/arp."""
    lines = ["IP address       HW type     Flags       HW address            Mask     Device"]
    for neigh in inet.arp.entries():
        if neigh.nud_state & ~NUD_NOARP:
            dev = neigh.dev
            lines.append(_line(neigh.key, dev.type, _flags(neigh.nud_state), mac_ntoa(neigh.ha), dev.name))
    for entries in inet.arp.proxies.values():
        for entry in entries:
            kind = entry.dev.type if entry.dev is not None else 0
            name = entry.dev.name if entry.dev is not None else "*"
            lines.append(_line(entry.key, kind, ATF_PUBL | ATF_PERM, "00:00:00:00:00:00", name))
    return "\n".join(lines) + "\n"


def _line(ip: bytes, kind: int, flags: int, hw: str, name: str) -> str:
    return f"{inet_ntoa(ip):<16} 0x{kind:<10x}0x{flags:<10x}{hw:<17}     *        {name}"
