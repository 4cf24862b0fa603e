"""Changing routes and addresses as programs do: what `ip -6 route` and rtnetlink ask for, checked
(ip6_route_info_create, fib6_nh_init in net/ipv6/route.c), and the ioctls of AF_INET6 sockets that do the same
(SIOCADDRT, SIOCDELRT, SIOCSIFADDR, SIOCDIFADDR; ipv6_route_ioctl, addrconf_add_ifaddr).
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.errors import err
from pysock.families.inet.fib import (
    RTN_BLACKHOLE,
    RTN_LOCAL,
    RTN_PROHIBIT,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    Nexthop,
    checked_metrics,
)
from pysock.families.inet6 import addrconf
from pysock.families.inet6.addr import ANY6, is_linklocal, is_multicast, prefix_of
from pysock.families.inet6.devconf import IFA_F_PERMANENT, find_address
from pysock.families.inet6.fib6 import METRIC_USER, Fib6Entry
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_UP
from pysock.uapi.ioctl import SIOCADDRT, SIOCDELRT, SIOCDIFADDR, SIOCSIFADDR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet6.net import Inet6Net

IOCTLS: Final = (SIOCADDRT, SIOCDELRT, SIOCSIFADDR, SIOCDIFADDR)
#: struct in6_rtmsg: destination, source, gateway, type, their lengths, metric, info, flags, ifindex
IN6_RTMSG: Final = Struct("=16s16s16sIHHI4xQIi")
#: struct in6_ifreq: address, prefix length, ifindex
IN6_IFREQ: Final = Struct("=16sIi")
RTF_GATEWAY: Final = 0x0002
RTF_REJECT: Final = 0x0200
_WITHOUT_DEVICE: Final = (RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT)


def add_route(
    inet6: Inet6Net,
    prefix: bytes,
    plen: int,
    *,
    gateway: bytes | None = None,
    dev: NetDevice | None = None,
    metric: int = 0,
    prefsrc: bytes = ANY6,
    type: int = RTN_UNICAST,
    metrics: dict[int, int] | None = None,
    nexthops: tuple[Nexthop, ...] = (),
) -> Fib6Entry:
    """`ip -6 route add PREFIX/PLEN [via GATEWAY] [dev DEV] [metric N] [src PREFSRC]`. Addresses are 16 wire bytes,
    ``metrics`` (mtu, advmss, initcwnd...) numbers by RTAX_*. ``nexthops``: several ways by weight, each a route of its
    own, of which the first is returned; a second route over another gateway with the same metric joins it, too.

    Without ``dev``, it is the one that the gateway's network is on. EEXIST when the same route is there; EHOSTUNREACH
    for a gateway that is not on a link; ENODEV when nothing names a device; ENETDOWN for one that is down; EINVAL for a
    bad length, a group or an address of ours as gateway, a gateway over loopback, or a ``prefsrc`` that is not ours.
    """
    if not 0 <= plen <= 128:
        raise err(errno.EINVAL)
    prefix = prefix_of(prefix, plen)
    if nexthops:
        if dev is not None or gateway is not None or not all(1 <= hop.weight <= 256 for hop in nexthops):
            raise err(errno.EINVAL)
        ways: list[Fib6Entry] = []
        try:
            for hop in nexthops:
                ways.append(add_route(
                    inet6, prefix, plen, gateway=hop.gateway, dev=hop.dev, metric=metric, prefsrc=prefsrc, type=type,
                    metrics=metrics,
                ))  # fmt: skip
                ways[-1].weight = hop.weight
        except OSError:
            for way in ways:
                inet6.fib6.remove(way)
            raise
        return ways[0]
    if type in _WITHOUT_DEVICE:
        dev = gateway = None
    elif gateway is not None:
        dev = _gateway_device(inet6, gateway, dev)
    if dev is None and type not in _WITHOUT_DEVICE:
        raise err(errno.ENODEV)
    if dev is not None and not dev.flags & IFF_UP:
        raise err(errno.ENETDOWN)
    if prefsrc != ANY6 and find_address(inet6.net, prefsrc) is None:
        raise err(errno.EINVAL)
    kept = checked_metrics(metrics)
    entry = Fib6Entry(prefix, plen, type, dev, gateway, metric or METRIC_USER, prefsrc, metrics=kept)
    inet6.fib6.add(entry)
    return entry


def _gateway_device(inet6: Inet6Net, gateway: bytes, dev: NetDevice | None) -> NetDevice | None:
    """ip6_validate_gw()."""
    if gateway == ANY6 or is_multicast(gateway) or find_address(inet6.net, gateway, dev) is not None:
        raise err(errno.EINVAL)
    if not is_linklocal(gateway):
        entry = inet6.fib6.lookup(gateway, dev.ifindex if dev is not None else 0)
        if entry is None or entry.gateway is not None or entry.type in _WITHOUT_DEVICE:
            raise err(errno.EHOSTUNREACH)
        if entry.type == RTN_LOCAL:
            raise err(errno.EINVAL)
        dev = entry.dev
    if dev is not None and dev.flags & IFF_LOOPBACK:
        raise err(errno.EINVAL)
    return dev


def del_route(
    inet6: Inet6Net,
    prefix: bytes,
    plen: int,
    *,
    gateway: bytes | None = None,
    dev: NetDevice | None = None,
    metric: int = 0,
) -> None:
    """`ip -6 route del`: the first route to the prefix that matches what is given, and without ``gateway`` all of its
    ways. ESRCH when there is none.
    """
    if not 0 <= plen <= 128:
        raise err(errno.EINVAL)
    for entry in inet6.fib6.main.at(prefix_of(prefix, plen), plen):
        if gateway in (None, entry.gateway) and dev in (None, entry.dev) and metric in (0, entry.metric):
            for way in (inet6.fib6.siblings(entry) if gateway is None else ()) or (entry,):
                inet6.fib6.remove(way)
            return
    raise err(errno.ESRCH)


def ioctl(inet6: Inet6Net, creds: Credentials, cmd: int, arg: bytes | int) -> bytes:
    """One of `IOCTLS`; ``arg`` is a struct in6_rtmsg or in6_ifreq, and comes back.

    EPERM without CAP_NET_ADMIN, EFAULT for a buffer that is too short, ENODEV for a bad index, and what the change
    itself is refused with.
    """
    if not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EPERM)
    layout = IN6_RTMSG if cmd in (SIOCADDRT, SIOCDELRT) else IN6_IFREQ
    if isinstance(arg, int) or len(arg) < layout.size:
        raise err(errno.EFAULT)
    if layout is IN6_RTMSG:
        _route(inet6, cmd, arg)
        return arg
    address, plen, index = IN6_IFREQ.unpack_from(arg)
    dev = inet6.net.dev_by_index.get(index)
    if dev is None:
        raise err(errno.ENODEV)
    if cmd == SIOCSIFADDR:
        addrconf.add_address(inet6, dev, address, plen, IFA_F_PERMANENT)
    else:
        addrconf.del_address(inet6, dev, address)
    return arg


def _route(inet6: Inet6Net, cmd: int, arg: bytes) -> None:
    prefix, _, gateway, _, plen, _, metric, _, flags, index = IN6_RTMSG.unpack_from(arg)
    via = gateway if flags & RTF_GATEWAY else None
    dev = None
    if index:
        dev = inet6.net.dev_by_index.get(index)
        if dev is None:
            raise err(errno.ENODEV)
    if cmd == SIOCADDRT:
        kind = RTN_UNREACHABLE if flags & RTF_REJECT else RTN_UNICAST
        add_route(inet6, prefix, plen, gateway=via, dev=dev, metric=metric, type=kind)
    else:
        del_route(inet6, prefix, plen, gateway=via, dev=dev, metric=metric)
