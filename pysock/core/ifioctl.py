"""The device ioctls (SIOCGIFxxx, SIOCSIFxxx) that every socket understands, whatever its family. netdevice(7).

A family's ioctl passes here what it does not answer itself (addresses are its own business). The argument is the
caller's buffer with a struct ifreq at its start; the answer has the same length, as fcntl.ioctl returns it. Where that
has a pointer (SIOCETHTOOL, SIOCGIFCONF), it is an address in this process, which is the program's too. Needs the kernel
lock. Source: net/core/dev_ioctl.c.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.errors import err
from pysock.core.netdev_config import (
    dev_change_flags,
    dev_change_name,
    dev_change_tx_queue_len,
    dev_mc_add,
    dev_mc_del,
    dev_set_mac_address,
    dev_set_mtu,
)
from pysock.core.netdev_events import NETDEV_CHANGEADDR
from pysock.uapi import ioctl as nr
from pysock.uapi.if_ import IFREQ_INT, IFREQ_SIZE, pack_ifname, pack_ifreq, unpack_ifname, unpack_ifreq
from pysock.uapi.socket import AF_UNSPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice

_USHORT = Struct("=H")  # ifr_flags, which is declared short but holds 16 flags
_POINTER = Struct("=Q")  # ifr_data
_IFCONF = Struct("=i4xQ")  # ifc_len, ifc_buf
_SOCKADDR = Struct("=H14s")  # ifr_hwaddr: the family is the device's ARPHRD_* type

# --- reading: what goes into the union ----------------------------------------------------------------------------


def _get_flags(dev: NetDevice) -> bytes:
    return _USHORT.pack(dev.get_flags() & 0xFFFF)


def _get_hwaddr(dev: NetDevice) -> bytes:
    return _SOCKADDR.pack(dev.type, dev.dev_addr[:14])


def _get_int(value: Callable[[NetDevice], int]) -> Callable[[NetDevice], bytes]:
    return lambda dev: IFREQ_INT.pack(value(dev))


def _refuse_slave(dev: NetDevice) -> bytes:
    raise err(errno.EINVAL)


_GETTERS: dict[int, Callable[[NetDevice], bytes]] = {
    nr.SIOCGIFFLAGS: _get_flags,
    nr.SIOCGIFMETRIC: _get_int(lambda dev: 0),
    nr.SIOCGIFMTU: _get_int(lambda dev: dev.mtu),
    nr.SIOCGIFHWADDR: _get_hwaddr,
    nr.SIOCGIFSLAVE: _refuse_slave,
    nr.SIOCGIFINDEX: _get_int(lambda dev: dev.ifindex),
    nr.SIOCGIFTXQLEN: _get_int(lambda dev: dev.tx_queue_len),
}

# --- changing: `data` is the union ------------------------------------------------------------------------------------


def _int(data: bytes) -> int:
    value: int = IFREQ_INT.unpack_from(data)[0]
    return value


def _hwaddr(dev: NetDevice, data: bytes) -> bytes:
    family, addr = _SOCKADDR.unpack_from(data)
    if family != dev.type:
        raise err(errno.EINVAL)
    return bytes(addr[: dev.addr_len])


def _set_flags(dev: NetDevice, data: bytes) -> None:
    flags: int = _USHORT.unpack_from(data)[0]
    dev_change_flags(dev, flags)


def _set_mtu(dev: NetDevice, data: bytes) -> None:
    dev_set_mtu(dev, _int(data))


def _set_hwaddr(dev: NetDevice, data: bytes) -> None:
    dev_set_mac_address(dev, _hwaddr(dev, data))


def _set_hwbroadcast(dev: NetDevice, data: bytes) -> None:
    dev.broadcast = _hwaddr(dev, data)
    dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_CHANGEADDR, dev)


def _set_txqlen(dev: NetDevice, data: bytes) -> None:
    length = _int(data)
    if length < 0:
        raise err(errno.EINVAL)
    dev_change_tx_queue_len(dev, length)


def _set_name(dev: NetDevice, data: bytes) -> None:
    dev_change_name(dev, unpack_ifname(data[:16]))


def _multicast(dev: NetDevice, data: bytes) -> bytes:
    family, addr = _SOCKADDR.unpack_from(data)
    if family != AF_UNSPEC:
        raise err(errno.EINVAL)
    return bytes(addr[: dev.addr_len])


def _add_multi(dev: NetDevice, data: bytes) -> None:
    dev_mc_add(dev, _multicast(dev, data))


def _del_multi(dev: NetDevice, data: bytes) -> None:
    dev_mc_del(dev, _multicast(dev, data))


def _unsupported(dev: NetDevice, data: bytes) -> None:
    raise err(errno.EOPNOTSUPP)


_SETTERS: dict[int, Callable[[NetDevice, bytes], None]] = {
    nr.SIOCSIFFLAGS: _set_flags,
    nr.SIOCSIFMETRIC: _unsupported,
    nr.SIOCSIFMTU: _set_mtu,
    nr.SIOCSIFHWADDR: _set_hwaddr,
    nr.SIOCSIFHWBROADCAST: _set_hwbroadcast,
    nr.SIOCSIFSLAVE: _unsupported,
    nr.SIOCSIFTXQLEN: _set_txqlen,
    nr.SIOCSIFNAME: _set_name,
    nr.SIOCADDMULTI: _add_multi,
    nr.SIOCDELMULTI: _del_multi,
}
_BOND = range(nr.SIOCBONDENSLAVE, nr.SIOCBONDCHANGEACTIVE + 1)
_FOR_ALL = (nr.SIOCBONDSLAVEINFOQUERY, nr.SIOCBONDINFOQUERY)
_BRIDGE = range(nr.SIOCBRADDBR, nr.SIOCBRDELIF + 1)
_PRIVATE = (*range(nr.SIOCDEVPRIVATE, nr.SIOCDEVPRIVATE + 16), nr.SIOCGMIIPHY, nr.SIOCGMIIREG, nr.SIOCSMIIREG)


def sock_ioctl(net: Net, creds: Credentials, cmd: int, arg: bytes) -> bytes | int:
    """What a socket of any family answers when its family does not (sock_do_ioctl): the ioctls of `dev_ioctl`, and
    those with a pointer. The changed argument, or the result of ioctl(2) when that is not 0. ENOTTY for others.
    """
    if cmd == nr.SIOCETHTOOL:
        return _ethtool(net, creds, arg) or arg
    if cmd == nr.SIOCGIFCONF:
        return _ifconf(net, arg)
    return dev_ioctl(net, creds, cmd, arg)


def is_dev_ioctl(cmd: int) -> bool:
    """Whether `dev_ioctl` answers ``cmd``."""
    return (
        cmd in _GETTERS
        or cmd in _SETTERS
        or cmd in _PRIVATE
        or cmd in _BOND
        or cmd in _BRIDGE
        or cmd in (nr.SIOCGIFNAME, nr.SIOCGIFVLAN, nr.SIOCSIFVLAN)
    )


def dev_ioctl(net: Net, creds: Credentials, cmd: int, arg: bytes) -> bytes:
    """Do one device ioctl; the answer is as long as ``arg``.

    ENOTTY for a command that is not the devices', EFAULT for a buffer too short for a name, ENODEV, EPERM without
    CAP_NET_ADMIN for a change, and what the change itself is refused with.
    """
    if not is_dev_ioctl(cmd):
        raise err(errno.ENOTTY)
    driver = net.kernel.dev_layer.ioctls.get(cmd)
    if driver is not None:  # it makes devices of its kind
        return driver.ioctl(net, creds, cmd, arg)
    try:
        name, data = unpack_ifreq(arg)
    except ValueError:
        raise err(errno.EFAULT) from None
    if cmd == nr.SIOCGIFNAME:
        dev = net.dev_by_index.get(_int(data))
        if dev is None:
            raise err(errno.ENODEV)
        return _answer(arg, pack_ifname(dev.name) + data)
    getter = _GETTERS.get(cmd)
    if getter is None and cmd not in _FOR_ALL and not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EPERM)
    dev = net.dev_by_name.get(name.partition(":")[0] if getter is not None else name)  # "eth0:1" is an alias of eth0
    if dev is None:
        raise err(errno.ENODEV)
    if getter is not None:
        found = getter(dev)
        return _answer(arg, arg[:16] + found + data[len(found) :])
    setter = _SETTERS.get(cmd)
    if setter is not None:
        setter(dev, data)
        return arg
    return _answer(arg, arg[:16] + _private(dev, cmd, data))


def _answer(arg: bytes, ifreq: bytes) -> bytes:
    return (ifreq + arg[IFREQ_SIZE:])[: len(arg)]


def _private(dev: NetDevice, cmd: int, data: bytes) -> bytes:
    if cmd in (nr.SIOCGIFVLAN, nr.SIOCSIFVLAN) or cmd in _BRIDGE:
        raise err(errno.EOPNOTSUPP)
    ops = dev.netdev_ops
    try:
        found = (ops.ndo_siocbond if cmd in _BOND else ops.ndo_do_ioctl)(dev, cmd, data)
        return bytes(found[: len(data)]).ljust(len(data), b"\0")
    except OSError:
        raise
    except Exception as exc:
        dev.kernel.errors.report(dev.owner or dev.name, "ndo_do_ioctl", exc)
        raise err(errno.EIO) from exc


def _ethtool(net: Net, creds: Credentials, arg: bytes) -> int:
    from pysock.core.ethtool import dev_ethtool
    from pysock.core.uaccess import UserMemory

    try:
        name, data = unpack_ifreq(arg)
    except ValueError:
        raise err(errno.EFAULT) from None
    return dev_ethtool(net, creds, name, UserMemory(_POINTER.unpack_from(data)[0]))


def _ifconf(net: Net, arg: bytes) -> bytes:
    """dev_ifconf() on a struct ifconf: without a buffer, how long the list is; else as much as fits, and its length."""
    from pysock.core.uaccess import copy_to_user

    if len(arg) < _IFCONF.size:
        raise err(errno.EFAULT)
    size, address = _IFCONF.unpack_from(arg)
    found = dev_ifconf(net, size if address else None)
    if address:
        copy_to_user(address, found)
    return _IFCONF.pack(len(found), address) + arg[_IFCONF.size :]


def dev_ifconf(net: Net, size: int | None = None) -> bytes:
    """SIOCGIFCONF: a struct ifreq for each address of each device, as many whole ones as fit into ``size`` bytes (None:
    all).

    The families say which addresses there are (`DeviceLayer.gifconf`).
    """
    gifconf = net.kernel.dev_layer.gifconf
    found = [
        pack_ifreq(dev.name, sockaddr)
        for dev in net.devices
        for family in sorted(gifconf)
        for sockaddr in gifconf[family](dev)
    ]
    room = len(found) if size is None else max(size, 0) // IFREQ_SIZE
    return b"".join(found[:room])
