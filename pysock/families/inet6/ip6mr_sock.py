"""What a multicast routing daemon of IPv6 says and asks: the options MRT6_* of a raw ICMPv6 socket, two ioctls, two
files of /proc (net/ipv6/ip6mr.c; ``<linux/mroute6.h>``).
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.families.inet.datagram import DatagramSock
from pysock.families.inet.mroute import Vif
from pysock.families.inet.mroute_sock import VERSION, check_allowed, counters, show_cache, show_vifs
from pysock.families.inet6.addr import ANY6, is_multicast
from pysock.families.inet6.ip6mr import Ip6mr, table_of
from pysock.families.inet6.net import Inet6Net
from pysock.uapi import mroute as nr
from pysock.uapi.in_ import IPPROTO_ICMPV6
from pysock.uapi.socket import SOCK_RAW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet.inet_sock import InetSock

#: How long a value must be at least; a number is just that long.
_SIZES: Final = {
    nr.MRT_INIT: 4,
    nr.MRT_ADD_VIF: nr.MIF6CTL.size,
    nr.MRT_DEL_VIF: 2,
    nr.MRT_ADD_MFC: nr.MF6CCTL.size,
    nr.MRT_DEL_MFC: nr.MF6CCTL.size,
    nr.MRT_ADD_MFC_PROXY: nr.MF6CCTL.size,
    nr.MRT_DEL_MFC_PROXY: nr.MF6CCTL.size,
    nr.MRT_ASSERT: 4,
    nr.MRT_FLUSH: 4,
}


def setsockopt(sk: InetSock, optname: int, value: bytes) -> None:
    """ip6_mroute_setsockopt(): errors as those of `ipmr_sock.setsockopt`."""
    table, sk = _checked(sk)
    check_allowed(table, sk, optname)
    if optname == nr.MRT_DONE:
        table.stop()
        return
    size = _SIZES.get(optname)
    if size is None:
        raise err(errno.ENOPROTOOPT)
    if len(value) < size or (size == 4 and len(value) > 4):
        raise err(errno.EINVAL)
    if optname == nr.MRT_INIT:
        table.start(sk)
    elif optname == nr.MRT_ADD_VIF:
        _add_mif(table, sk, value)
    elif optname == nr.MRT_DEL_VIF:
        table.del_vif(int.from_bytes(value[:2], "little"))
    elif optname == nr.MRT_ASSERT:
        table.asserts = any(value)
    elif optname == nr.MRT_FLUSH:
        table.flush(int.from_bytes(value, "little"))
    else:
        _change_route(table, sk, optname, value)


def getsockopt(sk: InetSock, optname: int) -> bytes:
    """MRT6_VERSION and MRT6_ASSERT; else ENOPROTOOPT."""
    table, _ = _checked(sk)
    if optname == nr.MRT_VERSION:
        return VERSION.to_bytes(4, "little")
    if optname == nr.MRT_ASSERT:
        return int(table.asserts).to_bytes(4, "little")
    raise err(errno.ENOPROTOOPT)


def _checked(sk: InetSock) -> tuple[Ip6mr, DatagramSock]:
    if sk.type != SOCK_RAW or sk.protocol != IPPROTO_ICMPV6 or not isinstance(sk, DatagramSock):
        raise err(errno.EOPNOTSUPP)
    return table_of(sk.net.get(Inet6Net)), sk


def _add_mif(table: Ip6mr, sk: DatagramSock, value: bytes) -> None:
    """ENFILE for a number too large, EADDRINUSE for one in use, EADDRNOTAVAIL for a device that is not there, EINVAL
    for flags.
    """
    index, flags, threshold, ifindex, rate_limit = nr.MIF6CTL.unpack_from(value)
    if index >= nr.MAXVIFS:
        raise err(errno.ENFILE)
    if table.vif(index) is not None:
        raise err(errno.EADDRINUSE)
    if flags:
        raise err(errno.EINVAL)
    dev = sk.net.dev_by_index.get(ifindex)
    if dev is None:
        raise err(errno.EADDRNOTAVAIL)
    table.add_vif(index, Vif(dev, 0 if sk is table.sock else nr.VIFF_STATIC, threshold, rate_limit))


def _change_route(table: Ip6mr, sk: DatagramSock, optname: int, value: bytes) -> None:
    """ENFILE for a number too large, EINVAL for a group that is none (but ::, all), ENOENT."""
    origin, group, parent, ifset = nr.MF6CCTL.unpack_from(value)
    only = parent if optname in (nr.MRT_ADD_MFC_PROXY, nr.MRT_DEL_MFC_PROXY) else -1
    if optname in (nr.MRT_DEL_MFC, nr.MRT_DEL_MFC_PROXY):
        table.delete(origin, group, only)
        return
    if parent >= nr.MAXVIFS:
        raise err(errno.ENFILE)
    if table.find(origin, group, only) is None and group != ANY6 and not is_multicast(group):
        raise err(errno.EINVAL)
    bits = int.from_bytes(ifset, "little")
    ttls = bytes(bits >> index & 1 for index in range(nr.MAXVIFS))
    table.add(origin, group, parent, ttls, sk is not table.sock, only)


def mroute_ioctl(inet6: Inet6Net, cmd: int, arg: bytes | int) -> bytes:
    """SIOCGETMIFCNT_IN6 and SIOCGETSGCNT_IN6 (ip6mr_ioctl): see `counters`."""
    return counters(table_of(inet6), cmd, arg, nr.SIOC_SG_REQ6)


def proc_vif(inet6: Inet6Net) -> str:
    """/proc/net/ip6_mr_vif."""
    title = "Interface      BytesIn  PktsIn  BytesOut PktsOut Flags"
    return show_vifs(inet6.mroute, title, lambda vif: "")


def proc_cache(inet6: Inet6Net) -> str:
    """/proc/net/ip6_mr_cache."""
    title = f"{'Group':<32} {'Origin':<32} Iif      Pkts  Bytes     Wrong  Oifs"
    return show_cache(inet6.mroute, title, lambda address: address.hex(":", 2))
