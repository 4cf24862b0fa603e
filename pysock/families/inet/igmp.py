"""Multicast membership of sockets and devices (RFC 1112; ip_mc_join_group, ip_mc_leave_group in net/ipv4/igmp.c).

A socket's ``mc_list`` holds what it joined as (group, ifindex); a device counts its members in `InDevice.groups`, and
its hardware filter gets the group's Ethernet address.

Not here yet: the IGMP protocol itself (reports and queries), source filters.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.device import dev_mc_add, dev_mc_del
from pysock.core.errors import err
from pysock.families.inet.addr import ANY, is_multicast
from pysock.families.inet.devinet import in_device
from pysock.families.inet.fib import RTN_LOCAL
from pysock.uapi.in_ import IP_MAX_MEMBERSHIPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.net import InetNet

_MREQ = Struct("=4s4s")  # struct ip_mreq: imr_multiaddr, imr_interface
_MREQN = Struct("=4s4si")  # struct ip_mreqn: the same and imr_ifindex


def parse_mreq(value: bytes) -> tuple[bytes, bytes, int]:
    """(group, interface address, ifindex) of a struct ip_mreq or ip_mreqn; EINVAL when it is shorter."""
    if len(value) >= _MREQN.size:
        return _MREQN.unpack_from(value)
    if len(value) < _MREQ.size:
        raise err(errno.EINVAL)
    group, address = _MREQ.unpack_from(value)
    return group, address, 0


def device_with(inet: InetNet, address: bytes) -> NetDevice | None:
    """The device that has ``address`` (ip_dev_find)."""
    entry = inet.fib.lookup(address)
    if entry is None or entry.type != RTN_LOCAL:
        return None
    return entry.dev


def find_device(inet: InetNet, group: bytes, address: bytes, ifindex: int) -> NetDevice:
    """The device that a request means: by index, by its address, else where ``group`` is routed (ip_mc_find_dev).
    ENODEV.
    """
    dev: NetDevice | None
    if ifindex:
        dev = inet.net.dev_by_index.get(ifindex)
    elif address != ANY:
        dev = device_with(inet, address)
    else:
        entry = inet.fib.lookup(group)
        dev = entry.dev if entry is not None else None
    if dev is None:
        raise err(errno.ENODEV)
    return dev


def join(sk: InetSock, group: bytes, address: bytes, ifindex: int) -> None:
    """IP_ADD_MEMBERSHIP. EINVAL for an address that is no group, ENODEV, EADDRINUSE when joined already, ENOBUFS for
    the 21st.
    """
    if not is_multicast(group):
        raise err(errno.EINVAL)
    dev = find_device(sk.inet, group, address, ifindex)
    joined = sk.mc_list if sk.mc_list is not None else []
    if (group, dev.ifindex) in joined:
        raise err(errno.EADDRINUSE)
    if len(joined) >= IP_MAX_MEMBERSHIPS:
        raise err(errno.ENOBUFS)
    joined.append((group, dev.ifindex))
    sk.mc_list = joined
    groups = in_device(dev).groups
    groups[group] = groups.get(group, 0) + 1
    if groups[group] == 1 and dev.addr_len == 6:
        dev_mc_add(dev, hardware_group(group))


def leave(sk: InetSock, group: bytes, address: bytes, ifindex: int) -> None:
    """IP_DROP_MEMBERSHIP. EADDRNOTAVAIL when it was not joined there, ENODEV when nothing says where."""
    joined = sk.mc_list or []
    if not ifindex:
        try:
            ifindex = find_device(sk.inet, group, address, 0).ifindex
        except OSError:
            if address == ANY:
                raise
    one = group, ifindex
    if one not in joined:
        raise err(errno.EADDRNOTAVAIL)
    joined.remove(one)
    _drop_member(sk, one)


def leave_all(sk: InetSock) -> None:
    """The socket is closed (ip_mc_drop_socket)."""
    joined = sk.mc_list or []
    sk.mc_list = None
    for one in joined:
        _drop_member(sk, one)


def _drop_member(sk: InetSock, one: tuple[bytes, int]) -> None:
    group, ifindex = one
    dev = sk.inet.net.dev_by_index.get(ifindex)
    if dev is None:
        return  # it went away, and its memberships with it
    groups = in_device(dev).groups
    members = groups.get(group, 0)
    if members > 1:
        groups[group] = members - 1
    elif members:
        del groups[group]
        if dev.addr_len == 6:
            dev_mc_del(dev, hardware_group(group))


def hardware_group(group: bytes) -> bytes:
    """The Ethernet address of a group: 01:00:5e and its last 23 bits (RFC 1112 6.4)."""
    return b"\x01\x00\x5e" + bytes((group[1] & 0x7F,)) + group[2:]
