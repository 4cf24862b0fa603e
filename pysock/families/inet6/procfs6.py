"""IPv6 under /proc/net: snmp6, if_inet6, ipv6_route, igmp6, sockstat-like tables excepted (net/ipv6/proc.c, addrconf.c,
route.c, mcast.c). Each function gives the file's text.
"""

from __future__ import annotations

from functools import partial

from pysock.core.clock import NEVER
from pysock.families.inet.fib import RTN_BLACKHOLE, RTN_LOCAL, RTN_PROHIBIT, RTN_UNREACHABLE
from pysock.families.inet6.addr import ALL_NODES, LOOPBACK6, is_linklocal
from pysock.families.inet6.devconf import idev_of
from pysock.families.inet6.fib6 import RTPROT_RA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet6.fib6 import Fib6Entry
    from pysock.families.inet6.net import Inet6Net

_RTF_UP: Final = 0x1
_RTF_GATEWAY: Final = 0x2
_RTF_HOST: Final = 0x4
_RTF_REJECT: Final = 0x200
_RTF_DEFAULT: Final = 0x10000
_RTF_ADDRCONF: Final = 0x40000
_RTF_EXPIRES: Final = 0x400000
_RTF_NONEXTHOP: Final = 0x200000
_RTF_LOCAL: Final = 0x80000000


def setup(inet6: Inet6Net) -> None:
    """Offer the files of a namespace."""
    proc = inet6.net.proc
    proc["net/snmp6"] = inet6.mibs.proc_snmp6
    proc["net/if_inet6"] = partial(if_inet6, inet6)
    proc["net/ipv6_route"] = partial(ipv6_route, inet6)
    proc["net/igmp6"] = partial(igmp6, inet6)
    proc["net/ip6_mr_vif"] = partial(_mroute, inet6, "proc_vif")
    proc["net/ip6_mr_cache"] = partial(_mroute, inet6, "proc_cache")


def _mroute(inet6: Inet6Net, name: str) -> str:
    from pysock.families.inet6 import ip6mr_sock

    shown: str = getattr(ip6mr_sock, name)(inet6)
    return shown


def if_inet6(inet6: Inet6Net) -> str:
    """Address, and in hexadecimal index, prefix length, scope, flags; the device's name."""
    lines = []
    for dev in inet6.net.devices:
        idev = idev_of(dev)
        for ifa in idev.addresses if idev is not None else ():
            scope = 0x10 if ifa.address == LOOPBACK6 else 0x20 if is_linklocal(ifa.address) else 0
            numbers = f"{dev.ifindex:02x} {ifa.plen:02x} {scope:02x} {ifa.flags & 0xFF:02x}"
            lines.append(f"{ifa.address.hex()} {numbers} {dev.name:>8}\n")
    return "".join(lines)


def _flags(entry: Fib6Entry) -> int:
    flags = _RTF_UP
    if entry.gateway is not None:
        flags |= _RTF_GATEWAY
    if entry.plen == 128:
        flags |= _RTF_HOST
    if entry.type in (RTN_BLACKHOLE, RTN_PROHIBIT, RTN_UNREACHABLE):
        flags |= _RTF_REJECT
    if entry.type == RTN_LOCAL:
        flags = flags & ~_RTF_HOST | _RTF_LOCAL | _RTF_NONEXTHOP
    if entry.protocol == RTPROT_RA:
        flags |= _RTF_ADDRCONF | (_RTF_DEFAULT if not entry.plen else 0)
    if entry.expires != NEVER:
        flags |= _RTF_EXPIRES
    return flags


def ipv6_route(inet6: Inet6Net) -> str:
    """Destination, source (none), next hop, metric, references, uses, flags; all numbers in hexadecimal."""
    nothing = "0" * 32
    return "".join(
        f"{entry.prefix.hex()} {entry.plen:02x} {nothing} 00 {entry.gateway.hex() if entry.gateway else nothing} "
        f"{entry.metric:08x} {1:08x} {0:08x} {_flags(entry):08x} {entry.dev.name if entry.dev else 'lo':>8}\n"
        for entry in inet6.fib6.main.entries() + inet6.fib6.local.entries()
    )


def igmp6(inet6: Inet6Net) -> str:
    """Index, device, group, how many joined it, flags, timer."""
    lines = []
    for dev in inet6.net.devices:
        idev = idev_of(dev)
        for group, members in reversed(idev.groups.items()) if idev is not None else ():
            quiet = group == ALL_NODES or group[1] & 0xF < 2
            flags = 0x8 | (0x4 if group == ALL_NODES else 0) if quiet else 0x4
            lines.append(f"{dev.ifindex:<4d} {dev.name:<15s} {group.hex()} {members:5d} {flags:08X} 0\n")
    return "".join(lines)
