"""Options at level IPPROTO_IP (ip(7), do_ip_setsockopt): tables of what is stored where, and functions for the rest.

A number may be given as an int or, where Linux takes it, as a single byte. Whatever may change the headers of what a
socket sends makes it forget its cached route and headers. Other levels go to the protocol.
"""

from __future__ import annotations

import errno

from pysock.core.capability import CAP_NET_ADMIN, CAP_NET_RAW
from pysock.core.errors import err
from pysock.families.inet import igmp_sock, ip_error, ip_options, ip_ra, route
from pysock.families.inet.addr import ANY
from pysock.families.inet.datagram import DatagramSock
from pysock.families.inet.inet_sock import (
    CMSG_ORIGDSTADDR,
    CMSG_PKTINFO,
    CMSG_RECVOPTS,
    CMSG_RETOPTS,
    CMSG_TOS,
    CMSG_TTL,
    InetSock,
)
from pysock.uapi.in_ import (
    IP_BIND_ADDRESS_NO_PORT,
    IP_FREEBIND,
    IP_HDRINCL,
    IP_MINTTL,
    IP_MSFILTER,
    IP_MTU,
    IP_MTU_DISCOVER,
    IP_MULTICAST_ALL,
    IP_MULTICAST_IF,
    IP_MULTICAST_LOOP,
    IP_MULTICAST_TTL,
    IP_OPTIONS,
    IP_PKTINFO,
    IP_PMTUDISC_OMIT,
    IP_PROTOCOL,
    IP_RECVERR,
    IP_RECVOPTS,
    IP_RECVORIGDSTADDR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_RETOPTS,
    IP_ROUTER_ALERT,
    IP_TOS,
    IP_TRANSPARENT,
    IP_TTL,
    IPPROTO_IP,
    MCAST_MSFILTER,
)
from pysock.uapi.mroute import MRT_BASE, MRT_MAX
from pysock.uapi.socket import SOCK_RAW, SOCK_STREAM
from pysock.uapi.tcp import TCP_LISTEN
from pysock.wire.ipv4 import MAX_LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

#: Options that switch a control message on or off, and its bit in ``cmsg_flags``.
_CMSG_OPTIONS: Final = {
    IP_PKTINFO: CMSG_PKTINFO,
    IP_RECVTTL: CMSG_TTL,
    IP_RECVTOS: CMSG_TOS,
    IP_RECVOPTS: CMSG_RECVOPTS,
    IP_RETOPTS: CMSG_RETOPTS,
    IP_RECVORIGDSTADDR: CMSG_ORIGDSTADDR,
}
#: Options that are one boolean attribute.
_SWITCHES: Final = {
    IP_BIND_ADDRESS_NO_PORT: "bind_address_no_port",
    IP_MULTICAST_ALL: "mc_all",
    IP_MULTICAST_LOOP: "mc_loop",
    IP_RECVERR: "recverr",
}
_INET_ECN_MASK = 3


def setsockopt(sk: InetSock, level: int, optname: int, value: bytes) -> None:
    """ENOPROTOOPT for an option we don't have, EINVAL for a bad value, and what setsockopt(2) and ip(7) say."""
    if level != IPPROTO_IP:
        sk.prot.setsockopt(sk, level, optname, value)
        return
    if MRT_BASE <= optname <= MRT_MAX:
        from pysock.families.inet import ipmr_sock

        ipmr_sock.setsockopt(sk, optname, value)
    elif optname in _CMSG_OPTIONS:
        bit = _CMSG_OPTIONS[optname]
        sk.cmsg_flags = sk.cmsg_flags | bit if number(value) else sk.cmsg_flags & ~bit
    elif optname in _SWITCHES:
        _set_switch(sk, optname, number(value))
    else:
        setter = _SETTERS.get(optname)
        if setter is None:
            raise err(errno.ENOPROTOOPT)
        setter(sk, value)
    forget_headers(sk)


def getsockopt(sk: InetSock, level: int, optname: int, optlen: int) -> bytes:
    """The value in at most ``optlen`` bytes; a small number in one byte where there is no room for an int. Errors as
    above.
    """
    if level != IPPROTO_IP:
        return sk.prot.getsockopt(sk, level, optname, optlen)
    if MRT_BASE <= optname <= MRT_MAX:
        from pysock.families.inet import ipmr_sock

        return ipmr_sock.getsockopt(sk, optname)[:optlen]
    if optname in _CMSG_OPTIONS:
        value = int(bool(sk.cmsg_flags & _CMSG_OPTIONS[optname]))
    elif optname in _SWITCHES:
        value = int(getattr(sk, _SWITCHES[optname]))
    elif optname == IP_MULTICAST_IF:
        address = sk.mc_addr if isinstance(sk, DatagramSock) else ANY
        return address[:optlen]
    elif optname in (IP_MSFILTER, MCAST_MSFILTER):
        raise err(errno.EINVAL)  # the buffer must say which group, and CPython's getsockopt() cannot fill it in
    elif optname == IP_OPTIONS:
        return sk.ip_options[:optlen]
    else:
        getter = _GETTERS.get(optname)
        if getter is None:
            raise err(errno.ENOPROTOOPT)
        value = getter(sk)
    if 0 < optlen < 4 and 0 <= value <= 255:
        return bytes((value,))
    return value.to_bytes(4, "little", signed=True)[:optlen]


def number(value: bytes) -> int:
    """An int, or a single byte as Linux takes one for most IP options; EINVAL for nothing at all."""
    if len(value) >= 4:
        return int.from_bytes(value[:4], "little", signed=True)
    if not value:
        raise err(errno.EINVAL)
    return value[0]


def forget_headers(sk: InetSock) -> None:
    """What was computed from the options is stale."""
    sk.dst = None
    sk.ip_header = None
    if isinstance(sk, DatagramSock):
        sk.flows.clear()


def _set_switch(sk: InetSock, optname: int, value: int) -> None:
    if optname == IP_MULTICAST_ALL and value not in (0, 1):
        raise err(errno.EINVAL)
    setattr(sk, _SWITCHES[optname], bool(value))
    if optname == IP_RECVERR and not value:
        ip_error.purge(sk)


# --- one function for each option that needs one -----------------------------------------------------------


def _set_tos(sk: InetSock, value: bytes) -> None:
    tos = number(value)
    if sk.type == SOCK_STREAM:
        tos = (tos & ~_INET_ECN_MASK) | (sk.tos & _INET_ECN_MASK)  # those two bits are TCP's
    if not 0 <= tos <= 255:
        tos &= 0xFF
    sk.tos = tos
    sk.priority = _TOS_PRIORITY[(tos & 0x1E) >> 1]


#: ip_tos2prio[]: the queueing priority of each type of service (RFC 1349)
_TOS_PRIORITY: Final = (0, 0, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4)


def _set_ttl(sk: InetSock, value: bytes) -> None:
    ttl = number(value)
    if ttl != -1 and not 1 <= ttl <= 255:
        raise err(errno.EINVAL)
    sk.ttl = ttl


def _set_min_ttl(sk: InetSock, value: bytes) -> None:
    ttl = number(value)
    if not 0 <= ttl <= 255:
        raise err(errno.EINVAL)
    sk.min_ttl = ttl
    min_hops_changed(sk)


def min_hops_changed(sk: InetSock) -> None:
    """A protocol with a short way, where nobody looks at the hop limit, takes the socket off it."""
    hook = getattr(sk.prot, "filter_changed", None)
    if hook is not None:
        hook(sk)


def _set_hdrincl(sk: InetSock, value: bytes) -> None:
    if sk.type != SOCK_RAW:
        raise err(errno.ENOPROTOOPT)
    sk.hdrincl = bool(number(value))


def _set_mtu_discover(sk: InetSock, value: bytes) -> None:
    mode = number(value)
    if not 0 <= mode <= IP_PMTUDISC_OMIT:
        raise err(errno.EINVAL)
    sk.pmtudisc = mode


def _set_freebind(sk: InetSock, value: bytes) -> None:
    sk.freebind = bool(number(value))


def _set_transparent(sk: InetSock, value: bytes) -> None:
    wanted = bool(number(value))
    if wanted and not (sk.creds.capable(CAP_NET_RAW) or sk.creds.capable(CAP_NET_ADMIN)):
        raise err(errno.EPERM)
    sk.freebind = wanted


def _set_multicast_ttl(sk: InetSock, value: bytes) -> None:
    if sk.type == SOCK_STREAM:
        raise err(errno.EINVAL)
    ttl = number(value)
    if not -1 <= ttl <= 255:
        raise err(errno.EINVAL)
    sk.mc_ttl = 1 if ttl == -1 else ttl


def _set_multicast_if(sk: InetSock, value: bytes) -> None:
    """An address (struct in_addr), or a struct ip_mreq or ip_mreqn of which the group does not matter."""
    if not isinstance(sk, DatagramSock):
        raise err(errno.EINVAL)
    if len(value) >= 8:
        _, address, ifindex = igmp_sock.parse_mreq(value)
    elif len(value) >= 4:
        address, ifindex = value[:4], 0
    else:
        raise err(errno.EINVAL)
    if not ifindex:
        if address == ANY:
            sk.mc_index, sk.mc_addr = 0, ANY
            return
        dev = igmp_sock.device_with(sk.inet, address)
    else:
        dev = sk.inet.net.dev_by_index.get(ifindex)
    if dev is None:
        raise err(errno.EADDRNOTAVAIL)
    if sk.bound_dev_if and sk.bound_dev_if != dev.ifindex:
        raise err(errno.EINVAL)
    sk.mc_index, sk.mc_addr = dev.ifindex, address


def _set_options(sk: InetSock, value: bytes) -> None:
    """IP options in our datagrams; a connection's segments make room for them."""
    sk.ip_options = ip_options.parse(value, sk.creds.capable(CAP_NET_RAW))
    sk.prot.headers_changed(sk)


def _set_router_alert(sk: InetSock, value: bytes) -> None:
    ip_ra.control(sk, bool(value and number(value)))


def route_of(sk: InetSock) -> route.Rtable:
    """The route of a connected socket; ENOTCONN for others."""
    if sk.daddr == ANY or sk.state == TCP_LISTEN:
        raise err(errno.ENOTCONN)
    if sk.dst is None or sk.dst.generation != sk.inet.fib.generation:
        try:
            sk.dst = route.output_for(sk, sk.daddr, sk.saddr, sk.bound_dev_if)
        except OSError as exc:
            raise err(errno.ENOTCONN) from exc
    return sk.dst


_SETTERS: Final[dict[int, Callable[[InetSock, bytes], None]]] = {
    IP_TOS: _set_tos,
    IP_TTL: _set_ttl,
    IP_MINTTL: _set_min_ttl,
    IP_HDRINCL: _set_hdrincl,
    IP_MTU_DISCOVER: _set_mtu_discover,
    IP_FREEBIND: _set_freebind,
    IP_TRANSPARENT: _set_transparent,
    IP_MULTICAST_TTL: _set_multicast_ttl,
    IP_MULTICAST_IF: _set_multicast_if,
    IP_OPTIONS: _set_options,
    IP_ROUTER_ALERT: _set_router_alert,
    **igmp_sock.OPTIONS,
}


_GETTERS: Final[dict[int, Callable[[InetSock], int]]] = {
    IP_TOS: lambda sk: sk.tos,
    IP_TTL: lambda sk: sk.ttl if sk.ttl >= 0 else sk.inet.default_ttl,
    IP_MINTTL: lambda sk: sk.min_ttl,
    IP_HDRINCL: lambda sk: int(sk.hdrincl),
    IP_MTU_DISCOVER: lambda sk: sk.pmtudisc,
    IP_FREEBIND: lambda sk: int(sk.freebind),
    IP_TRANSPARENT: lambda sk: int(sk.freebind),
    IP_MULTICAST_TTL: lambda sk: sk.mc_ttl,
    IP_MTU: lambda sk: min(route_of(sk).mtu, MAX_LENGTH),
    IP_PROTOCOL: lambda sk: sk.protocol,
    IP_ROUTER_ALERT: lambda sk: int(ip_ra.asked_for(sk)),
}
