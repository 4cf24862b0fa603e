"""Groups that sockets joined, and whose datagrams to a group are (RFC 3678; the sockets' half of net/ipv4/igmp.c).

A socket's ``mc_list`` holds its memberships; each is a member of the group on its device (igmp.py) as long as that
exists.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.families.inet import igmp
from pysock.families.inet.addr import ANY, is_multicast
from pysock.families.inet.fib import RTN_LOCAL
from pysock.families.inet.igmp import MCAST_EXCLUDE, MCAST_INCLUDE, Member, limits_of
from pysock.uapi import in_
from pysock.uapi.socket import AF_INET, SOCK_STREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.net import InetNet

    #: group, interface address, ifindex: which membership an option means
    Where = tuple[bytes, bytes, int]

_MREQ: Final = Struct("=4s4s")  # struct ip_mreq: imr_multiaddr, imr_interface
_MREQN: Final = Struct("=4s4si")  # struct ip_mreqn: the same and imr_ifindex
_MREQ_SOURCE: Final = Struct("=4s4s4s")  # struct ip_mreq_source: the same two and imr_sourceaddr
_MSFILTER: Final = Struct("=4s4sII")  # struct ip_msfilter: the same two, imsf_fmode, imsf_numsrc; imsf_slist follows
#: struct group_req: gr_interface, gr_group (of which: family, address)
_GROUP_REQ: Final = Struct("=I4xH2x4s120x")
#: struct group_source_req: the same and gsr_source
_SOURCE_REQ: Final = Struct("=I4xH2x4s120xH2x4s120x")
#: struct group_filter: the same first, gf_fmode, gf_numsrc; gf_slist follows
_FILTER: Final = Struct("=I4xH2x4s120xII")
_STORAGE: Final = Struct("=H2x4s120x")  # a struct sockaddr_in in a struct sockaddr_storage


class Membership(Member):
    """One joined group of a socket (struct ip_mc_socklist)."""

    __slots__ = ("address", "group", "ifindex")

    def __init__(self, group: bytes, address: bytes, ifindex: int, mode: int) -> None:
        Member.__init__(self, mode)
        self.group = group
        self.address = address
        self.ifindex = ifindex


def parse_mreq(value: bytes) -> Where:
    """A struct ip_mreq or ip_mreqn; EINVAL when it is shorter."""
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


def find_device(inet: InetNet, where: Where) -> NetDevice:
    """The device that a request means: by index, by its address, else where the group is routed (ip_mc_find_dev).
    ENODEV.
    """
    group, address, ifindex = where
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


def wants(sk: InetSock, group: bytes, source: bytes, ifindex: int) -> bool:
    """Whether ``sk`` takes a datagram from ``source`` to ``group``; one it did not join by IP_MULTICAST_ALL
    (ip_mc_sf_allow).
    """
    for one in sk.mc_list or ():
        if one.group == group and one.ifindex == ifindex:
            return one.wants(source)
    return sk.mc_all


# --- joining and leaving ----------------------------------------------------------------------------------------------


def join(sk: InetSock, where: Where, mode: int = MCAST_EXCLUDE) -> None:
    """EINVAL for an address that is no group, ENODEV, EADDRINUSE when joined already, ENOBUFS for one too many."""
    group, address, _ = where
    if not is_multicast(group):
        raise err(errno.EINVAL)
    dev = find_device(sk.inet, where)
    joined = sk.mc_list if sk.mc_list is not None else []
    if _find(joined, group, dev.ifindex) is not None:
        raise err(errno.EADDRINUSE)
    if len(joined) >= limits_of(sk.inet).max_memberships:
        raise err(errno.ENOBUFS)
    one = Membership(group, address, dev.ifindex, mode)
    joined.append(one)
    sk.mc_list = joined
    igmp.join(sk.inet, dev, group, one)


def leave(sk: InetSock, where: Where) -> None:
    """EADDRNOTAVAIL when it was not joined there, ENODEV when nothing says where."""
    group, address, ifindex = where
    joined = sk.mc_list or []
    if not ifindex:
        try:
            ifindex = find_device(sk.inet, where).ifindex
        except OSError:
            if address == ANY:
                raise
    one = _find(joined, group, ifindex)
    if one is None:
        raise err(errno.EADDRNOTAVAIL)
    joined.remove(one)
    _drop(sk, one)


def leave_all(sk: InetSock) -> None:
    """The socket is closed (ip_mc_drop_socket)."""
    joined = sk.mc_list or []
    sk.mc_list = None
    for one in joined:
        _drop(sk, one)


def _find(joined: list[Membership], group: bytes, ifindex: int) -> Membership | None:
    return next((one for one in joined if one.group == group and one.ifindex == ifindex), None)


def _drop(sk: InetSock, one: Membership) -> None:
    dev = sk.inet.net.dev_by_index.get(one.ifindex)
    if dev is not None:  # else it went away, and its memberships with it
        igmp.leave(sk.inet, dev, one.group, one)


# --- sources ----------------------------------------------------------------------------------------------------------


def _joined(sk: InetSock, where: Where) -> Membership:
    if not is_multicast(where[0]):
        raise err(errno.EINVAL)
    one = _find(sk.mc_list or [], where[0], find_device(sk.inet, where).ifindex)
    if one is None:
        raise err(errno.EINVAL)
    return one


def change_source(sk: InetSock, where: Where, source: bytes, add: bool, mode: int) -> None:
    """Add a source to the list of a membership of this mode, or take it off (ip_mc_source). EINVAL when there is none,
    or it is of the other mode and has sources; EADDRNOTAVAIL when the source is there already, or is not; ENOBUFS for
    one too many. Who includes nobody any more leaves.
    """
    one = _joined(sk, where)
    if one.sources and one.mode != mode:
        raise err(errno.EINVAL)
    if (source in one.sources) == add:
        raise err(errno.EADDRNOTAVAIL)
    if add and len(one.sources) >= limits_of(sk.inet).max_msf:
        raise err(errno.ENOBUFS)
    if add:
        one.sources.append(source)
    elif mode == MCAST_INCLUDE and len(one.sources) == 1:
        leave(sk, (one.group, ANY, one.ifindex))
        return
    else:
        one.sources.remove(source)
    one.mode = mode
    _changed(sk, one)


def set_filter(sk: InetSock, where: Where, mode: int, sources: list[bytes]) -> None:
    """IP_MSFILTER: mode and sources at once (ip_mc_msfilter). EINVAL, ENOBUFS as `change_source`. Including nobody is
    leaving.
    """
    if mode not in (MCAST_INCLUDE, MCAST_EXCLUDE):
        raise err(errno.EINVAL)
    if mode == MCAST_INCLUDE and not sources:
        leave(sk, where)
        return
    one = _joined(sk, where)
    one.mode = mode
    one.sources = list(dict.fromkeys(sources))
    _changed(sk, one)


def _changed(sk: InetSock, one: Membership) -> None:
    dev = sk.inet.net.dev_by_index.get(one.ifindex)
    group = igmp.group_of(dev, one.group) if dev is not None else None
    if dev is not None and group is not None:
        igmp.changed(sk.inet, dev, group)


# --- options ----------------------------------------------------------------------------------------------------------


def _add_membership(sk: InetSock, value: bytes) -> None:
    join(sk, parse_mreq(value))


def _drop_membership(sk: InetSock, value: bytes) -> None:
    leave(sk, parse_mreq(value))


def _source_option(add: bool, mode: int) -> Callable[[InetSock, bytes], None]:
    def option(sk: InetSock, value: bytes) -> None:
        if len(value) != _MREQ_SOURCE.size:
            raise err(errno.EINVAL)
        group, address, source = _MREQ_SOURCE.unpack(value)
        _source(sk, (group, address, 0), source, add, mode)

    return option


def _source(sk: InetSock, where: Where, source: bytes, add: bool, mode: int) -> None:
    if add and mode == MCAST_INCLUDE:
        try:
            join(sk, where, MCAST_INCLUDE)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
    change_source(sk, where, source, add, mode)


def _filter_option(sk: InetSock, value: bytes) -> None:
    if len(value) < _MSFILTER.size:
        raise err(errno.EINVAL)
    group, address, mode, count = _MSFILTER.unpack_from(value)
    _check_count(sk, count, len(value) - _MSFILTER.size, 4)
    sources = [value[at : at + 4] for at in range(_MSFILTER.size, _MSFILTER.size + 4 * count, 4)]
    set_filter(sk, (group, address, 0), mode, sources)


def _check_count(sk: InetSock, count: int, room: int, each: int) -> None:
    if count > limits_of(sk.inet).max_msf:
        raise err(errno.ENOBUFS)
    if count * each > room:
        raise err(errno.EINVAL)


def _group_request(action: Callable[[InetSock, Where], None]) -> Callable[[InetSock, bytes], None]:
    def option(sk: InetSock, value: bytes) -> None:
        if len(value) < _GROUP_REQ.size:
            raise err(errno.EINVAL)
        ifindex, family, group = _GROUP_REQ.unpack_from(value)
        if family != AF_INET:
            raise err(errno.EINVAL)
        action(sk, (group, ANY, ifindex))

    return option


def _source_request(add: bool, mode: int) -> Callable[[InetSock, bytes], None]:
    def option(sk: InetSock, value: bytes) -> None:
        if len(value) != _SOURCE_REQ.size:
            raise err(errno.EINVAL)
        ifindex, family, group, source_family, source = _SOURCE_REQ.unpack(value)
        if family != AF_INET or source_family != AF_INET:
            raise err(errno.EADDRNOTAVAIL)
        _source(sk, (group, ANY, ifindex), source, add, mode)

    return option


def _group_filter(sk: InetSock, value: bytes) -> None:
    if len(value) < _FILTER.size:
        raise err(errno.EINVAL)
    ifindex, family, group, mode, count = _FILTER.unpack_from(value)
    _check_count(sk, count, len(value) - _FILTER.size, _STORAGE.size)
    some = [_STORAGE.unpack_from(value, _FILTER.size + _STORAGE.size * i) for i in range(count)]
    if any(one != AF_INET for one in (family, *(source_family for source_family, _ in some))):
        raise err(errno.EADDRNOTAVAIL)
    set_filter(sk, (group, ANY, ifindex), mode, [source for _, source in some])


def _of_datagrams(option: Callable[[InetSock, bytes], None]) -> Callable[[InetSock, bytes], None]:
    """EPROTO for a stream socket."""

    def checked(sk: InetSock, value: bytes) -> None:
        if sk.type == SOCK_STREAM:
            raise err(errno.EPROTO)
        option(sk, value)

    return checked


#: What setsockopt runs for each.
OPTIONS: Final[dict[int, Callable[[InetSock, bytes], None]]] = {
    name: _of_datagrams(option)
    for name, option in {
        in_.IP_ADD_MEMBERSHIP: _add_membership,
        in_.IP_DROP_MEMBERSHIP: _drop_membership,
        in_.IP_BLOCK_SOURCE: _source_option(True, MCAST_EXCLUDE),
        in_.IP_UNBLOCK_SOURCE: _source_option(False, MCAST_EXCLUDE),
        in_.IP_ADD_SOURCE_MEMBERSHIP: _source_option(True, MCAST_INCLUDE),
        in_.IP_DROP_SOURCE_MEMBERSHIP: _source_option(False, MCAST_INCLUDE),
        in_.IP_MSFILTER: _filter_option,
        in_.MCAST_JOIN_GROUP: _group_request(join),
        in_.MCAST_LEAVE_GROUP: _group_request(leave),
        in_.MCAST_BLOCK_SOURCE: _source_request(True, MCAST_EXCLUDE),
        in_.MCAST_UNBLOCK_SOURCE: _source_request(False, MCAST_EXCLUDE),
        in_.MCAST_JOIN_SOURCE_GROUP: _source_request(True, MCAST_INCLUDE),
        in_.MCAST_LEAVE_SOURCE_GROUP: _source_request(False, MCAST_INCLUDE),
        in_.MCAST_MSFILTER: _group_filter,
    }.items()
}
