"""Changing the routing table as programs do: what `ip route`, route(8) and rtnetlink ask for, checked
(fib_check_nh, fib_create_info in net/ipv4/fib_semantics.c; SIOCADDRT and SIOCDELRT).
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.errors import err
from pysock.families.inet.addr import ANY, is_multicast
from pysock.families.inet.devinet_ioctl import prefix_length
from pysock.families.inet.fib import (
    RT_SCOPE_HOST,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RTAX_ADVMSS,
    RTAX_RTT,
    RTAX_WINDOW,
    RTN_BLACKHOLE,
    RTN_LOCAL,
    RTN_PROHIBIT,
    RTN_THROW,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    RTPROT_BOOT,
    FibEntry,
    Nexthop,
    checked_metrics,
    is_prefix,
)
from pysock.uapi.if_ import IFF_UP
from pysock.uapi.ioctl import SIOCDELRT
from pysock.uapi.netlink import NLM_F_CREATE, NLM_F_EXCL
from pysock.uapi.socket import AF_INET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.net import InetNet

_WITHOUT_DEVICE: Final = (RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW)

#: struct rtentry: rt_dst, rt_gateway, rt_genmask (each a sockaddr_in: family, port, address), rt_flags, rt_metric, the
#: pointer rt_dev, rt_mtu, rt_window, rt_irtt
_RTENTRY: Final = Struct("=8xH2x4s8xH2x4s8xH2x4s8xH6x16xh6xQQQH")
RTENTRY_SIZE: Final = 120
RTF_UP: Final = 0x0001
RTF_GATEWAY: Final = 0x0002
RTF_HOST: Final = 0x0004
RTF_MTU: Final = 0x0040
RTF_WINDOW: Final = 0x0080
RTF_IRTT: Final = 0x0100
RTF_REJECT: Final = 0x0200


def add_route(
    inet: InetNet,
    prefix: bytes,
    plen: int,
    *,
    gateway: bytes | None = None,
    dev: NetDevice | None = None,
    metric: int = 0,
    prefsrc: bytes = ANY,
    type: int = RTN_UNICAST,
    table: int = 0,
    tos: int = 0,
    scope: int | None = None,
    protocol: int = RTPROT_BOOT,
    metrics: dict[int, int] | None = None,
    nexthops: tuple[Nexthop, ...] = (),
    onlink: bool = False,
    flags: int = NLM_F_CREATE | NLM_F_EXCL,
) -> FibEntry:
    """`ip route add TYPE PREFIX/PLEN [via GATEWAY] [dev DEV] [metric N] [src PREFSRC] ...`. Addresses are 4 wire bytes.

    Without ``dev``, it is the one that the gateway's network is on, unless ``onlink`` says to believe that it is a
    neighbour on ``dev``; without ``prefsrc`` each flow chooses its source. ``nexthops``: several ways by weight.
    ``flags`` are those of an RTM_NEWROUTE: EXCL add, REPLACE change, CREATE with REPLACE or APPEND, or alone to
    prepend. A gateway that is one of our own addresses means: on the link.

    EEXIST and ENOENT see `fib.Table.insert`; ENETUNREACH for a gateway that is not on a link; ENETDOWN for a device
    that is down; ENODEV when nothing names one; EINVAL for bits below the mask, a ``prefsrc`` that is not ours, a
    gateway that is a broadcast address or a group, a way where the type has none.
    """
    if not is_prefix(prefix, plen):
        raise err(errno.EINVAL)
    onlink = onlink and gateway is not None
    if type in _WITHOUT_DEVICE:
        if dev is not None or gateway is not None or nexthops:
            raise err(errno.EINVAL)
        usual = RT_SCOPE_UNIVERSE
    elif nexthops:
        if dev is not None or gateway is not None:
            raise err(errno.EINVAL)
        nexthops = tuple(_checked_hop(inet, hop, onlink) for hop in nexthops)
        dev, gateway = nexthops[0].dev, nexthops[0].gateway
        if len(nexthops) == 1:
            nexthops = ()
        usual = RT_SCOPE_UNIVERSE
    else:
        usual = RT_SCOPE_UNIVERSE if gateway is not None else RT_SCOPE_HOST if type == RTN_LOCAL else RT_SCOPE_LINK
        dev, gateway = _checked_way(inet, gateway, dev, onlink)
    scope = usual if scope is None else scope
    if scope > RT_SCOPE_HOST or (type == RTN_LOCAL and scope < RT_SCOPE_HOST):
        raise err(errno.EINVAL)
    if gateway is not None and scope >= RT_SCOPE_LINK:
        raise err(errno.EINVAL)
    if prefsrc != ANY:
        source = inet.fib.local.lookup(prefsrc)
        if source is None or source.type != RTN_LOCAL:
            raise err(errno.EINVAL)
    entry = FibEntry(
        prefix, plen, type, dev, prefsrc, gateway, metric, scope, table=table, tos=tos, protocol=protocol,
        metrics=checked_metrics(metrics), nexthops=nexthops, onlink=onlink,
    )  # fmt: skip
    inet.fib.add(entry, flags)
    return entry


def _checked_hop(inet: InetNet, hop: Nexthop, onlink: bool) -> Nexthop:
    if not 1 <= hop.weight <= 256:
        raise err(errno.EINVAL)
    dev, gateway = _checked_way(inet, hop.gateway, hop.dev, onlink and hop.gateway is not None)
    return Nexthop(dev, gateway, hop.weight)


def _checked_way(
    inet: InetNet, gateway: bytes | None, dev: NetDevice | None, onlink: bool
) -> tuple[NetDevice, bytes | None]:
    """fib_check_nh(): the device, which must be up, and the gateway, None if that is ourselves."""
    if gateway is not None and not onlink:
        link = _neighbourhood(inet, gateway, dev)
        dev = link.dev
        if link.type == RTN_LOCAL:
            gateway = None
    if dev is None:
        raise err(errno.ENODEV)
    if not dev.flags & IFF_UP:
        raise err(errno.ENETDOWN)
    if onlink and gateway is not None:
        known = inet.fib.local.lookup(gateway)
        if known is not None or gateway == ANY or is_multicast(gateway):
            raise err(errno.EINVAL)
    return dev, gateway


def _neighbourhood(inet: InetNet, gateway: bytes, dev: NetDevice | None) -> FibEntry:
    """The route to a gateway, which must be a neighbour (fib_check_nh_v4_gw)."""
    if gateway == ANY or is_multicast(gateway):
        raise err(errno.EINVAL)
    local = inet.fib.local.lookup(gateway, dev)
    link = local or inet.fib.main.lookup(gateway, dev, scope=RT_SCOPE_LINK)
    if link is None:
        raise err(errno.ENETUNREACH)
    if link.type not in (RTN_UNICAST, RTN_LOCAL) or link.dev is None:
        raise err(errno.EINVAL)
    return link


def del_route(
    inet: InetNet,
    prefix: bytes,
    plen: int,
    *,
    gateway: bytes | None = None,
    dev: NetDevice | None = None,
    metric: int | None = None,
    type: int | None = None,
    table: int = RT_TABLE_MAIN,
    tos: int = 0,
) -> None:
    """`ip route del`: the first route to the prefix that fits what is given. ESRCH when there is none."""
    found = inet.fib.tables.get(table)
    for entry in found.at(prefix, plen) if found is not None and is_prefix(prefix, plen) else ():
        if (
            entry.tos == tos
            and (gateway is None or entry.gateway == gateway)
            and (dev is None or entry.dev is dev)
            and (metric is None or entry.metric == metric)
            and (type is None or entry.type == type)
        ):
            inet.fib.remove(entry)
            return
    raise err(errno.ESRCH)


def route_ioctl(inet: InetNet, creds: Credentials, cmd: int, arg: bytes | int) -> bytes:
    """SIOCADDRT or SIOCDELRT with a struct rtentry (ip_rt_ioctl). EPERM without CAP_NET_ADMIN; EFAULT for a short
    buffer, and for a device name, which is a pointer into the program's memory that is not followed here;
    EAFNOSUPPORT, EINVAL for a mask with holes, and the errors of `add_route` and `del_route`.
    """
    if not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EPERM)
    if isinstance(arg, int) or len(arg) < RTENTRY_SIZE:
        raise err(errno.EFAULT)
    family, dst, gw_family, gateway, _, mask, flags, metric, dev, mtu, window, irtt = _RTENTRY.unpack_from(arg)
    if family != AF_INET or (flags & RTF_GATEWAY and gw_family != AF_INET):
        raise err(errno.EAFNOSUPPORT)
    if dev:
        raise err(errno.EFAULT)
    plen = 32 if flags & RTF_HOST else prefix_length(mask)
    via = gateway if flags & RTF_GATEWAY else None
    priority = metric - 1 if metric > 0 else 0  # route(8) counts from one
    if cmd == SIOCDELRT:
        del_route(inet, dst, plen, gateway=via, metric=priority if metric > 0 else None)
    elif flags & RTF_REJECT:
        add_route(inet, dst, plen, metric=priority, type=RTN_UNREACHABLE, flags=NLM_F_CREATE)
    else:
        metrics = {}
        if flags & RTF_MTU:
            metrics[RTAX_ADVMSS] = mtu - 40
        if flags & RTF_WINDOW:
            metrics[RTAX_WINDOW] = window
        if flags & RTF_IRTT:
            metrics[RTAX_RTT] = irtt << 3
        add_route(inet, dst, plen, gateway=via, metric=priority, metrics=metrics, flags=NLM_F_CREATE)
    return bytes(arg)
