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
    RTN_BLACKHOLE,
    RTN_LOCAL,
    RTN_PROHIBIT,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    FibEntry,
    prefix_bits,
)
from pysock.uapi.if_ import IFF_UP
from pysock.uapi.ioctl import SIOCDELRT
from pysock.uapi.socket import AF_INET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.net import InetNet

_WITHOUT_DEVICE: Final = (RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT)

#: struct rtentry: rt_dst, rt_gateway, rt_genmask (each a sockaddr_in: family, port, address), rt_flags, rt_metric, the
#: pointer rt_dev, rt_mtu
_RTENTRY: Final = Struct("=8xH2x4s8xH2x4s8xH2x4s8xH6x16xh6xQQ")
RTENTRY_SIZE: Final = 120
RTF_UP: Final = 0x0001
RTF_GATEWAY: Final = 0x0002
RTF_HOST: Final = 0x0004
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
) -> FibEntry:
    """`ip route add PREFIX/PLEN [via GATEWAY] [dev DEV] [metric N] [src PREFSRC]`. Addresses are 4 wire bytes.

    Without ``dev``, it is the one that the gateway's network is on; without ``prefsrc`` each flow chooses its source.
    EEXIST when there is a route to the prefix with this metric; ENETUNREACH for a gateway that is not on a link;
    ENETDOWN for a device that is down; ENODEV when nothing names one; EINVAL for bits below the mask, a ``prefsrc``
    that is not ours, or a gateway that is ours.
    """
    if not 0 <= plen <= 32 or prefix_bits(prefix, plen) << (32 - plen) != int.from_bytes(prefix, "big"):
        raise err(errno.EINVAL)
    scope = RT_SCOPE_UNIVERSE
    if type in _WITHOUT_DEVICE:
        dev = gateway = None
        scope = RT_SCOPE_HOST
    elif gateway is not None:
        dev = _gateway_device(inet, gateway, dev)
    elif dev is None:
        raise err(errno.ENODEV)
    else:
        scope = RT_SCOPE_LINK
    if dev is not None and not dev.flags & IFF_UP:
        raise err(errno.ENETDOWN)
    if prefsrc != ANY:
        source = inet.fib.local.lookup(prefsrc)
        if source is None or source.type != RTN_LOCAL:
            raise err(errno.EINVAL)
    if any(e.metric == metric for e in inet.fib.main.at(prefix, plen)):
        raise err(errno.EEXIST)
    entry = FibEntry(prefix, plen, type, dev, prefsrc, gateway, metric, scope)
    inet.fib.add(entry)
    return entry


def _gateway_device(inet: InetNet, gateway: bytes, dev: NetDevice | None) -> NetDevice:
    """fib_check_nh_v4_gw(): the gateway must be a neighbour."""
    local = inet.fib.local.lookup(gateway)
    if local is not None or gateway == ANY or is_multicast(gateway):
        raise err(errno.EINVAL)
    link = inet.fib.main.lookup(gateway, dev)
    if link is None or link.type != RTN_UNICAST or link.dev is None or link.gateway is not None:
        raise err(errno.ENETUNREACH)
    return link.dev


def del_route(
    inet: InetNet,
    prefix: bytes,
    plen: int,
    *,
    gateway: bytes | None = None,
    dev: NetDevice | None = None,
    metric: int | None = None,
) -> None:
    """`ip route del`: the first route to the prefix that fits what is given. ESRCH when there is none."""
    for entry in inet.fib.main.at(prefix, plen):
        if (
            (gateway is None or entry.gateway == gateway)
            and (dev is None or entry.dev is dev)
            and (metric is None or entry.metric == metric)
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
    family, dst, gw_family, gateway, _, mask, flags, metric, dev, _mtu = _RTENTRY.unpack_from(arg)
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
        add_route(inet, dst, plen, metric=priority, type=RTN_UNREACHABLE)
    else:
        add_route(inet, dst, plen, gateway=via, metric=priority)
    return bytes(arg)
