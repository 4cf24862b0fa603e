"""Groups that sockets joined, and whose packets to a group are (RFC 3493 5.2, RFC 3678; the sockets' half of
net/ipv6/mcast.c).

A socket's ``mc_list`` holds its memberships; `mcast` counts those of a device and reports them. A membership may have a
list of sources: to take only from these (include) or from all but these (exclude).
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.families.inet6 import mcast
from pysock.families.inet6.addr import is_multicast
from pysock.families.inet6.inet6_sock import pinfo
from pysock.uapi import in6, in_
from pysock.uapi.socket import AF_INET6, SOCK_STREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.inet_sock import InetSock

_MREQ: Final = Struct("=16sI")  # struct ipv6_mreq: ipv6mr_multiaddr, ipv6mr_ifindex
#: struct group_req: gr_interface, gr_group (of which: family, address)
_GROUP_REQ: Final = Struct("=I4xH6x16s104x")
#: struct group_source_req: the same and gsr_source
_SOURCE_REQ: Final = Struct("=I4xH6x16s104xH6x16s104x")
#: struct group_filter: gf_interface, gf_group, gf_fmode, gf_numsrc; gf_slist follows
_FILTER: Final = Struct("=I4xH6x16s104xII")
_STORAGE: Final = Struct("=H6x16s104x")  # a struct sockaddr_in6 in a struct sockaddr_storage

MCAST_EXCLUDE: Final = 0
MCAST_INCLUDE: Final = 1
MAX_SOURCES: Final = 64  # net.ipv6.mld_max_msf


class Membership:
    """One joined group (struct ipv6_mc_socklist). ``sources`` is None as long as nobody asked for one: then, and when
    it is empty, exclude takes everything and include nothing.
    """

    __slots__ = ("group", "ifindex", "mode", "sources")

    def __init__(self, group: bytes, ifindex: int, mode: int) -> None:
        self.group = group
        self.ifindex = ifindex
        self.mode = mode
        self.sources: list[bytes] | None = None


def wants(sk: InetSock, group: bytes, source: bytes) -> bool:
    """Whether ``sk`` takes a packet from ``source`` to ``group``; groups it did not join by IPV6_MULTICAST_ALL
    (inet6_mc_check).
    """
    part = pinfo(sk)
    for one in part.mc_list or ():
        if one.group == group:
            return (source in (one.sources or ())) == (one.mode == MCAST_INCLUDE)
    return part.mc_all


def join(sk: InetSock, group: bytes, ifindex: int, mode: int = MCAST_EXCLUDE) -> Membership:
    """EINVAL for an address that is no group, EADDRINUSE when joined already, ENODEV."""
    if not is_multicast(group):
        raise err(errno.EINVAL)
    part = pinfo(sk)
    joined = part.mc_list if part.mc_list is not None else []
    if _find(joined, group, ifindex) is not None:
        raise err(errno.EADDRINUSE)
    dev = _device(sk, group, ifindex)
    mcast.join(part.inet6, dev, group)
    new = Membership(group, dev.ifindex, mode)
    joined.append(new)
    part.mc_list = joined
    return new


def leave(sk: InetSock, group: bytes, ifindex: int) -> None:
    """EINVAL for an address that is no group, EADDRNOTAVAIL when it was not joined there."""
    if not is_multicast(group):
        raise err(errno.EINVAL)
    one = _find(pinfo(sk).mc_list or [], group, ifindex)
    if one is None:
        raise err(errno.EADDRNOTAVAIL)
    _drop(sk, one)


def leave_all(sk: InetSock) -> None:
    """The socket is closed (ipv6_sock_mc_close)."""
    for one in list(pinfo(sk).mc_list or ()):
        _drop(sk, one)


def _drop(sk: InetSock, one: Membership) -> None:
    part = pinfo(sk)
    assert part.mc_list is not None
    part.mc_list.remove(one)
    dev = sk.net.dev_by_index.get(one.ifindex)
    if dev is not None:  # else it went away, and its memberships with it
        mcast.leave(part.inet6, dev, one.group)


def _find(joined: list[Membership], group: bytes, ifindex: int) -> Membership | None:
    return next((one for one in joined if one.group == group and ifindex in (0, one.ifindex)), None)


def _device(sk: InetSock, group: bytes, ifindex: int) -> NetDevice:
    """The device of a request: by index, else where the group is routed. ENODEV."""
    dev: NetDevice | None
    if ifindex:
        dev = sk.net.dev_by_index.get(ifindex)
    else:
        entry = pinfo(sk).inet6.fib6.lookup(group)
        dev = entry.dev if entry is not None else None
    if dev is None:
        raise err(errno.ENODEV)
    return dev


# Sources (RFC 3678) --------------------------------------------------------------------------------------


def _change_source(sk: InetSock, group: bytes, ifindex: int, source: bytes, add: bool, mode: int) -> None:
    """ip6_mc_source(): one source more or less in the list of a group."""
    if not is_multicast(group):
        raise err(errno.EINVAL)
    _device(sk, group, ifindex)
    one = _find(pinfo(sk).mc_list or [], group, ifindex)
    if one is None or (one.sources is not None and one.mode != mode):
        raise err(errno.EINVAL)
    one.mode = mode
    sources = one.sources or []
    if add:
        if len(sources) >= MAX_SOURCES:
            raise err(errno.ENOBUFS)
        if source in sources:
            raise err(errno.EADDRNOTAVAIL)
        one.sources = [*sources, source]
    elif source not in sources:
        raise err(errno.EADDRNOTAVAIL)
    elif len(sources) == 1 and mode == MCAST_INCLUDE:
        _drop(sk, one)  # from nobody: that is to leave
    else:
        sources.remove(source)


def _set_filter(sk: InetSock, value: bytes) -> None:
    """MCAST_MSFILTER: mode and sources of a group in one go (ip6_mc_msfilter)."""
    if len(value) < _FILTER.size:
        raise err(errno.EINVAL)
    ifindex, family, group, mode, count = _FILTER.unpack_from(value)
    if count > MAX_SOURCES:
        raise err(errno.ENOBUFS)
    if len(value) < _FILTER.size + count * _STORAGE.size:
        raise err(errno.EINVAL)
    if family != AF_INET6 or not is_multicast(group) or mode not in (MCAST_EXCLUDE, MCAST_INCLUDE):
        raise err(errno.EINVAL)
    _device(sk, group, ifindex)
    one = _find(pinfo(sk).mc_list or [], group, ifindex)
    if mode == MCAST_INCLUDE and not count:
        if one is not None:
            _drop(sk, one)
        return
    if one is None:
        raise err(errno.EINVAL)
    one.mode = mode
    one.sources = [_STORAGE.unpack_from(value, _FILTER.size + i * _STORAGE.size)[1] for i in range(count)]


# Options -------------------------------------------------------------------------------------------------


def _membership(action: Callable[[InetSock, bytes, int], object]) -> Callable[[InetSock, bytes], None]:
    def option(sk: InetSock, value: bytes) -> None:
        if len(value) < _MREQ.size:
            raise err(errno.EINVAL)
        if sk.type == SOCK_STREAM:
            raise err(errno.EPROTO)
        group, ifindex = _MREQ.unpack_from(value)
        action(sk, group, ifindex)

    return option


def _group_request(action: Callable[[InetSock, bytes, int], object]) -> Callable[[InetSock, bytes], None]:
    def option(sk: InetSock, value: bytes) -> None:
        if len(value) < _GROUP_REQ.size:
            raise err(errno.EINVAL)
        ifindex, family, group = _GROUP_REQ.unpack_from(value)
        if family != AF_INET6:
            raise err(errno.EADDRNOTAVAIL)
        action(sk, group, ifindex)

    return option


def _source_request(add: bool, mode: int) -> Callable[[InetSock, bytes], None]:
    def option(sk: InetSock, value: bytes) -> None:
        if len(value) < _SOURCE_REQ.size:
            raise err(errno.EINVAL)
        ifindex, family, group, source_family, source = _SOURCE_REQ.unpack_from(value)
        if family != AF_INET6 or source_family != AF_INET6:
            raise err(errno.EADDRNOTAVAIL)
        if add and mode == MCAST_INCLUDE:
            try:
                join(sk, group, ifindex, MCAST_INCLUDE)
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE:
                    raise
        _change_source(sk, group, ifindex, source, add, mode)

    return option


#: What setsockopt runs for each.
OPTIONS: Final[dict[int, Callable[[InetSock, bytes], None]]] = {
    in6.IPV6_JOIN_GROUP: _membership(join),
    in6.IPV6_LEAVE_GROUP: _membership(leave),
    in_.MCAST_JOIN_GROUP: _group_request(join),
    in_.MCAST_LEAVE_GROUP: _group_request(leave),
    in_.MCAST_BLOCK_SOURCE: _source_request(True, MCAST_EXCLUDE),
    in_.MCAST_UNBLOCK_SOURCE: _source_request(False, MCAST_EXCLUDE),
    in_.MCAST_JOIN_SOURCE_GROUP: _source_request(True, MCAST_INCLUDE),
    in_.MCAST_LEAVE_SOURCE_GROUP: _source_request(False, MCAST_INCLUDE),
    in_.MCAST_MSFILTER: _set_filter,
}
