"""Addresses of devices for programs: SIOCGIFADDR and its like, as ifconfig uses them (devinet_ioctl; netdevice(7)).

An address has a label, its device's name or that with a colon and more ("eth0:1"); a request means the first address
with the label it names, or among those the one that it holds.
"""

from __future__ import annotations

import errno

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.errors import err
from pysock.families.inet.addr import ANY, is_multicast
from pysock.families.inet.devinet import InIfaddr, add_address, del_address, in_device
from pysock.uapi.if_ import unpack_ifreq
from pysock.uapi.ioctl import (
    SIOCGIFADDR,
    SIOCGIFBRDADDR,
    SIOCGIFDSTADDR,
    SIOCGIFNETMASK,
    SIOCSIFADDR,
    SIOCSIFBRDADDR,
    SIOCSIFNETMASK,
)
from pysock.uapi.sockaddr import SOCKADDR_IN
from pysock.uapi.socket import AF_INET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.net import InetNet

_GETTERS: Final = (SIOCGIFADDR, SIOCGIFBRDADDR, SIOCGIFDSTADDR, SIOCGIFNETMASK)


def devinet_ioctl(inet: InetNet, creds: Credentials, cmd: int, arg: bytes | int) -> bytes:
    """One of these ioctls with a struct ifreq, whose union is a struct sockaddr_in; the answer is as long as ``arg``.

    EFAULT for a buffer too short for a name, ENODEV, EADDRNOTAVAIL for a label without address, EPERM without
    CAP_NET_ADMIN for a change, EINVAL for another family, an address of no class, a mask with holes.
    """
    try:
        label, union = unpack_ifreq(b"" if isinstance(arg, int) else arg)
    except ValueError:
        raise err(errno.EFAULT) from None
    assert isinstance(arg, bytes)
    changes = cmd not in _GETTERS
    if changes and not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EPERM)
    family, _, address = SOCKADDR_IN.unpack_from(union)
    if changes and family != AF_INET:
        raise err(errno.EINVAL)
    dev = inet.net.dev_by_name.get(label.partition(":")[0])
    if dev is None:
        raise err(errno.ENODEV)
    ifa = _find(dev, label, address if not changes and family == AF_INET else ANY)
    if cmd == SIOCSIFADDR:
        _set_address(inet, dev, label, ifa, address)
        return arg
    if ifa is None:
        raise err(errno.EADDRNOTAVAIL)
    if cmd == SIOCSIFNETMASK:
        plen = prefix_length(address)
        if plen != ifa.plen:
            _replace(inet, ifa, plen, None)
    elif cmd == SIOCSIFBRDADDR:
        if address != ifa.broadcast:
            _replace(inet, ifa, ifa.plen, address)
    else:
        return _answer(arg, SOCKADDR_IN.pack(AF_INET, b"\0\0", _value(ifa, cmd)))
    return arg


def _find(dev: NetDevice, label: str, address: bytes) -> InIfaddr | None:
    labelled = [ifa for ifa in in_device(dev).addresses if ifa.label == label]
    for ifa in labelled:
        if ifa.address == address:
            return ifa
    return labelled[0] if labelled else None


def _value(ifa: InIfaddr, cmd: int) -> bytes:
    if cmd == SIOCGIFNETMASK:
        return ifa.mask.to_bytes(4, "big")
    if cmd == SIOCGIFBRDADDR:
        return ifa.broadcast or ANY
    return ifa.address


def _answer(arg: bytes, sockaddr: bytes) -> bytes:
    return (arg[:16] + sockaddr + arg[32:])[: max(len(arg), 32)]


def _set_address(inet: InetNet, dev: NetDevice, label: str, ifa: InIfaddr | None, address: bytes) -> None:
    plen = class_length(address)
    if ifa is not None:
        if ifa.address == address:
            return
        del_address(inet, dev, ifa.address)
    if address != ANY:  # that only takes the old one away
        add_address(inet, dev, address, plen, label=label)


def _replace(inet: InetNet, ifa: InIfaddr, plen: int, broadcast: bytes | None) -> None:
    del_address(inet, ifa.dev, ifa.address)
    add_address(inet, ifa.dev, ifa.address, plen, broadcast=broadcast, label=ifa.label)


def class_length(address: bytes) -> int:
    """The prefix length that the first bits of an address stood for before there were masks (inet_abc_len). EINVAL for
    groups and what is reserved.
    """
    first = address[0]
    if is_multicast(address) or first >= 240:
        raise err(errno.EINVAL)
    if not any(address):
        return 0
    return 8 if first < 128 else 16 if first < 192 else 24


def prefix_length(mask: bytes) -> int:
    """How many bits a netmask has; EINVAL when they are not all in front."""
    value = int.from_bytes(mask, "big")
    plen = value.bit_count()
    if value != (0xFFFFFFFF << (32 - plen)) & 0xFFFFFFFF:
        raise err(errno.EINVAL)
    return plen
