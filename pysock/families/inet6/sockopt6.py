"""Options at level SOL_IPV6 (ipv6(7), RFC 3493, RFC 3542; do_ipv6_setsockopt): tables of what is stored where, and
functions for the rest.

A v6 socket has IPv4's options too, at their own level: they say how it speaks to v4-mapped peers. Whatever may change
the headers of what a socket sends makes it forget its cached route and headers. Other levels go to the protocol.

Not here: IPV6_2292PKTOPTIONS (as though no packet had brought any), IPsec policies, anycast membership, routing headers
to send, flow-label management.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.capability import CAP_NET_ADMIN, CAP_NET_RAW
from pysock.core.errors import err
from pysock.families.inet import sockopt
from pysock.families.inet6 import ip6_error, mcast_sock, route
from pysock.families.inet6.addr import ANY6
from pysock.families.inet6.addrconf import addrconf_of
from pysock.families.inet6.addrform import addrform
from pysock.families.inet6.inet6_sock import (
    RX_2292_DSTOPTS,
    RX_2292_HOPLIMIT,
    RX_2292_HOPOPTS,
    RX_2292_PKTINFO,
    RX_2292_RTHDR,
    RX_DSTOPTS,
    RX_FLOWINFO,
    RX_FRAGSIZE,
    RX_HOPLIMIT,
    RX_HOPOPTS,
    RX_ORIGDSTADDR,
    RX_PATHMTU,
    RX_PKTINFO,
    RX_RTHDR,
    RX_TCLASS,
    ExtOptions,
    Pinfo6,
    is_mapped,
    pinfo,
    sockaddr,
)
from pysock.families.inet6.ip6_cmsg import EXTENSIONS, IN6_PKTINFO
from pysock.uapi import in6
from pysock.uapi.in_ import IPPROTO_IP, IPPROTO_IPV6
from pysock.uapi.mroute import MRT_BASE, MRT_MAX
from pysock.uapi.sockaddr import pack_in6
from pysock.uapi.socket import AF_INET6, SOCK_RAW, SOCK_STREAM
from pysock.uapi.tcp import TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.route import Rtable

_INT: Final = Struct("=i")
_MTUINFO: Final = Struct("=28sI")  # struct ip6_mtuinfo: ip6m_addr, ip6m_mtu

#: Options that switch a control message on or off, and its bit in ``rxopt``.
_RX_OPTIONS: Final = {
    in6.IPV6_RECVPKTINFO: RX_PKTINFO,
    in6.IPV6_RECVHOPLIMIT: RX_HOPLIMIT,
    in6.IPV6_RECVTCLASS: RX_TCLASS,
    in6.IPV6_FLOWINFO: RX_FLOWINFO,
    in6.IPV6_RECVHOPOPTS: RX_HOPOPTS,
    in6.IPV6_RECVDSTOPTS: RX_DSTOPTS,
    in6.IPV6_RECVRTHDR: RX_RTHDR,
    in6.IPV6_RECVORIGDSTADDR: RX_ORIGDSTADDR,
    in6.IPV6_RECVFRAGSIZE: RX_FRAGSIZE,
    in6.IPV6_RECVPATHMTU: RX_PATHMTU,
    in6.IPV6_2292PKTINFO: RX_2292_PKTINFO,
    in6.IPV6_2292HOPLIMIT: RX_2292_HOPLIMIT,
    in6.IPV6_2292HOPOPTS: RX_2292_HOPOPTS,
    in6.IPV6_2292DSTOPTS: RX_2292_DSTOPTS,
    in6.IPV6_2292RTHDR: RX_2292_RTHDR,
}
#: Options that are one boolean attribute of `Pinfo6`.
_SWITCHES: Final = {
    in6.IPV6_AUTOFLOWLABEL: "autoflowlabel",
    in6.IPV6_DONTFRAG: "dontfrag",
    in6.IPV6_FLOWINFO_SEND: "send_flow",
    in6.IPV6_MULTICAST_ALL: "mc_all",
    in6.IPV6_RECVERR: "recverr",
    in6.IPV6_ROUTER_ALERT_ISOLATE: "rtalert_isolate",
}
#: Options that take a number in a range (lowest, highest) into an attribute of `Pinfo6`; -1 means what stands last.
_NUMBERS: Final = {
    in6.IPV6_UNICAST_HOPS: ("hop_limit", -1, 255, -1),
    in6.IPV6_MTU_DISCOVER: ("pmtudisc", in6.IPV6_PMTUDISC_DONT, in6.IPV6_PMTUDISC_OMIT, None),
    in6.IPV6_MULTICAST_LOOP: ("mc_loop", 0, 1, None),
    in6.IPV6_RECVERR_RFC4884: ("recverr_rfc4884", 0, 1, None),
}
#: For these, a value too short for an int counts as zero.
_LENIENT: Final = (in6.IPV6_AUTOFLOWLABEL, in6.IPV6_DONTFRAG, in6.IPV6_RECVFRAGSIZE)
_ECN_MASK: Final = 3
#: In ``InetSock.cmsg_flags``: the IPv6 half wants control messages.
CMSG_IPV6: Final = 1 << 8


def setsockopt(sk: InetSock, level: int, optname: int, value: bytes) -> None:
    """ENOPROTOOPT for an option we don't have, EINVAL for a bad value, and what setsockopt(2) and ipv6(7) say."""
    if level == IPPROTO_IP and sk.type != SOCK_RAW:
        sockopt.setsockopt(sk, level, optname, value)
    elif level != IPPROTO_IPV6 or optname in (in6.IPV6_CHECKSUM, in6.IPV6_HDRINCL):
        sk.prot.setsockopt(sk, level, optname, value)
    elif MRT_BASE <= optname <= MRT_MAX:
        from pysock.families.inet6 import ip6mr_sock

        ip6mr_sock.setsockopt(sk, optname, value)
    else:
        part = pinfo(sk)
        _set(sk, part, optname, value)
        sockopt.forget_headers(sk)
        part.ip6_header = None


def getsockopt(sk: InetSock, level: int, optname: int, optlen: int) -> bytes:
    """The value in at most ``optlen`` bytes. Errors as above."""
    if level == IPPROTO_IP and sk.type != SOCK_RAW:
        return sockopt.getsockopt(sk, level, optname, optlen)
    if level != IPPROTO_IPV6 or optname in (in6.IPV6_CHECKSUM, in6.IPV6_HDRINCL):
        return sk.prot.getsockopt(sk, level, optname, optlen)
    if MRT_BASE <= optname <= MRT_MAX:
        from pysock.families.inet6 import ip6mr_sock

        return ip6mr_sock.getsockopt(sk, optname)[:optlen]
    part = pinfo(sk)
    if optname in _RX_OPTIONS:
        value = int(bool(part.rxopt & _RX_OPTIONS[optname]))
    elif optname in _SWITCHES:
        value = int(getattr(part, _SWITCHES[optname]))
    elif optname in (in6.IPV6_HOPOPTS, in6.IPV6_DSTOPTS, in6.IPV6_RTHDR, in6.IPV6_RTHDRDSTOPTS):
        return b"" if part.sticky is None else getattr(part.sticky, EXTENSIONS[optname])[:optlen]
    elif optname == in6.IPV6_PATHMTU:
        return _get_path_mtu(sk, optlen)
    elif optname == in6.IPV6_2292PKTOPTIONS and sk.type == SOCK_STREAM:
        return b""
    elif optname == in6.IPV6_FLOWLABEL_MGR:
        raise err(errno.EINVAL)
    else:
        getter = _GETTERS.get(optname)
        if getter is None:
            raise err(errno.ENOPROTOOPT)
        value = getter(sk, part)
    return _INT.pack(value)[:optlen]


def _set(sk: InetSock, part: Pinfo6, optname: int, value: bytes) -> None:
    if optname in EXTENSIONS and optname not in _RX_OPTIONS:
        _set_extension(sk, part, optname, value)
        return
    special = _STRUCTS.get(optname)
    if special is not None:
        special(sk, value)
        return
    known = optname in _RX_OPTIONS or optname in _SWITCHES or optname in _NUMBERS or optname in _SETTERS
    if not known:
        raise err(_REFUSED.get(optname, errno.ENOPROTOOPT))
    if len(value) >= _INT.size:
        number = _INT.unpack_from(value)[0]
    elif optname in _LENIENT:
        number = 0
    else:
        raise err(errno.EINVAL)
    if optname in _RX_OPTIONS:
        bit = _RX_OPTIONS[optname]
        part.rxopt = part.rxopt | bit if number else part.rxopt & ~bit
        sk.cmsg_flags = sk.cmsg_flags | CMSG_IPV6 if part.rxopt else sk.cmsg_flags & ~CMSG_IPV6
    elif optname in _SWITCHES:
        setattr(part, _SWITCHES[optname], number != 0)
        if optname == in6.IPV6_RECVERR and not number:
            ip6_error.purge(sk)
    elif optname in _NUMBERS:
        name, low, high, default = _NUMBERS[optname]
        if not low <= number <= high:
            raise err(errno.EINVAL)
        number = default if number == -1 and default is not None else number
        setattr(part, name, bool(number) if high == 1 else number)
    else:
        _SETTERS[optname](sk, part, number)


#: What Linux says to options that are not here, where it is not ENOPROTOOPT.
_REFUSED: Final = {
    in6.IPV6_JOIN_ANYCAST: errno.EINVAL,
    in6.IPV6_LEAVE_ANYCAST: errno.EINVAL,
    in6.IPV6_FLOWLABEL_MGR: errno.EINVAL,
    in6.IPV6_IPSEC_POLICY: errno.EOPNOTSUPP,
    in6.IPV6_XFRM_POLICY: errno.EINVAL,
}


# --- one function for each option that needs one -----------------------------------------------------------


def _set_v6only(sk: InetSock, part: Pinfo6, number: int) -> None:
    if sk.type == SOCK_RAW or sk.sport:
        raise err(errno.EINVAL)
    part.only = number != 0


def _set_tclass(sk: InetSock, part: Pinfo6, number: int) -> None:
    if not -1 <= number <= 255:
        raise err(errno.EINVAL)
    number = max(number, 0)
    if sk.type == SOCK_STREAM:
        number = (number & ~_ECN_MASK) | (part.tclass & _ECN_MASK)  # those two bits are TCP's
    part.tclass = number


def _set_multicast_hops(sk: InetSock, part: Pinfo6, number: int) -> None:
    if sk.type == SOCK_STREAM:
        raise err(errno.ENOPROTOOPT)
    if not -1 <= number <= 255:
        raise err(errno.EINVAL)
    part.mc_hops = 1 if number == -1 else number


def _set_multicast_if(sk: InetSock, part: Pinfo6, number: int) -> None:
    if sk.type == SOCK_STREAM:
        raise err(errno.ENOPROTOOPT)
    if number:
        if number not in sk.net.dev_by_index:
            raise err(errno.ENODEV)
        if sk.bound_dev_if and sk.bound_dev_if != number:
            raise err(errno.EINVAL)
    part.mc_index = number


def _set_unicast_if(sk: InetSock, part: Pinfo6, number: int) -> None:
    ifindex = int.from_bytes(_INT.pack(number), "big")  # the option is in network order
    if ifindex and ifindex not in sk.net.dev_by_index:
        raise err(errno.EADDRNOTAVAIL)
    if ifindex and sk.bound_dev_if:
        raise err(errno.EINVAL)
    part.unicast_if = ifindex


def _set_mtu(sk: InetSock, part: Pinfo6, number: int) -> None:
    if number and number < in6.IPV6_MIN_MTU:
        raise err(errno.EINVAL)
    if sk.state != TCP_ESTABLISHED and not number:
        raise err(errno.ENOTCONN)
    part.frag_size = number


def _set_freebind(sk: InetSock, part: Pinfo6, number: int) -> None:
    sk.freebind = number != 0


def _set_min_hopcount(sk: InetSock, part: Pinfo6, number: int) -> None:
    if not 0 <= number <= 255:
        raise err(errno.EINVAL)
    part.min_hopcount = number
    sockopt.min_hops_changed(sk)


def _set_transparent(sk: InetSock, part: Pinfo6, number: int) -> None:
    if number and not (sk.creds.capable(CAP_NET_RAW) or sk.creds.capable(CAP_NET_ADMIN)):
        raise err(errno.EPERM)
    sk.freebind = number != 0


def _set_router_alert(sk: InetSock, part: Pinfo6, number: int) -> None:
    from pysock.families.inet6 import ip6_ra

    ip6_ra.control(sk, number)


def _set_addrform(sk: InetSock, part: Pinfo6, number: int) -> None:
    addrform(sk, number)


# IPV6_ADDR_PREFERENCES (RFC 5014)
_TMP, _PUBLIC, _COA, _CGA, _PUBTMP_DEFAULT, _HOME, _NONCGA = 1, 2, 4, 8, 0x100, 0x400, 0x800


def _set_addr_preferences(sk: InetSock, part: Pinfo6, number: int) -> None:
    """At most one of each group of contraries; a group that is not named stays (ip6_sock_set_addr_preferences)."""
    kinds = number & (_TMP | _PUBLIC | _PUBTMP_DEFAULT)
    homes = number & (_HOME | _COA)
    keys = number & (_CGA | _NONCGA)
    if any(group & (group - 1) for group in (kinds, homes, keys)):
        raise err(errno.EINVAL)
    prefs = part.prefs
    if kinds:
        prefs = prefs & ~(_TMP | _PUBLIC) | kinds & (_TMP | _PUBLIC)
    if homes:
        prefs = prefs & ~_COA | homes & _COA
    part.prefs = prefs


def _get_addr_preferences(sk: InetSock, part: Pinfo6) -> int:
    prefs = part.prefs
    return (prefs & (_TMP | _PUBLIC) or _PUBTMP_DEFAULT) | (_COA if prefs & _COA else _HOME)


def _set_extension(sk: InetSock, part: Pinfo6, optname: int, value: bytes) -> None:
    """Sticky extension headers: nothing removes one (ipv6_set_opt_hdr)."""
    name = EXTENSIONS[optname]
    if name != "rthdr" and not sk.creds.capable(CAP_NET_RAW):
        raise err(errno.EPERM)
    if value:
        size = len(value)
        if size < 8 or size & 7 or size > 8 * 255 or (value[1] + 1) * 8 > size or name == "rthdr":
            raise err(errno.EINVAL)
        value = value[: (value[1] + 1) * 8]
    if part.sticky is None:
        part.sticky = ExtOptions()
    setattr(part.sticky, name, value)


def _set_pktinfo(sk: InetSock, value: bytes) -> None:
    """The device of every datagram that says nothing else; Linux keeps the address, and never looks at it."""
    part = pinfo(sk)
    if len(value) < IN6_PKTINFO.size:
        raise err(errno.EINVAL)
    _, ifindex = IN6_PKTINFO.unpack_from(value)
    if sk.bound_dev_if and sk.bound_dev_if != ifindex:
        raise err(errno.EINVAL)
    part.sticky_oif = ifindex


def _ignore(sk: InetSock, value: bytes) -> None:
    if sk.type != SOCK_STREAM:
        raise err(errno.ENOPROTOOPT)


#: Options whose value is a struct, or of any length.
_STRUCTS: Final[dict[int, Callable[[InetSock, bytes], None]]] = {
    in6.IPV6_PKTINFO: _set_pktinfo,
    in6.IPV6_2292PKTOPTIONS: _ignore,
    **mcast_sock.OPTIONS,
}

_SETTERS: Final[dict[int, Callable[[InetSock, Pinfo6, int], None]]] = {
    in6.IPV6_ADDRFORM: _set_addrform,
    in6.IPV6_ADDR_PREFERENCES: _set_addr_preferences,
    in6.IPV6_FREEBIND: _set_freebind,
    in6.IPV6_MINHOPCOUNT: _set_min_hopcount,
    in6.IPV6_MTU: _set_mtu,
    in6.IPV6_MULTICAST_HOPS: _set_multicast_hops,
    in6.IPV6_MULTICAST_IF: _set_multicast_if,
    in6.IPV6_ROUTER_ALERT: _set_router_alert,
    in6.IPV6_TCLASS: _set_tclass,
    in6.IPV6_TRANSPARENT: _set_transparent,
    in6.IPV6_UNICAST_IF: _set_unicast_if,
    in6.IPV6_V6ONLY: _set_v6only,
}


# Reading -------------------------------------------------------------------------------------------------


def _route_of(sk: InetSock, part: Pinfo6) -> Rtable:
    """The route of a connected socket; ENOTCONN for others (the MTU is its)."""
    if part.daddr != ANY6 and is_mapped(sk):
        return sockopt.route_of(sk)
    if part.daddr == ANY6 or sk.state in (TCP_CLOSE, TCP_LISTEN):
        raise err(errno.ENOTCONN)
    rt = sk.dst
    if isinstance(rt, route.Rt6) and rt.generation == part.inet6.fib6.generation:
        return rt
    try:
        return route.output_for(sk, part.daddr, part.saddr, sk.bound_dev_if, part.flow_label, part.prefs)
    except OSError as exc:
        raise err(errno.ENOTCONN) from exc


def _get_path_mtu(sk: InetSock, optlen: int) -> bytes:
    part = pinfo(sk)
    if optlen < _MTUINFO.size:
        raise err(errno.EINVAL)
    return _MTUINFO.pack(bytes(28), _route_of(sk, part).mtu)


def pack_mtuinfo(addr: bytes, ifindex: int, mtu: int) -> bytes:
    """struct ip6_mtuinfo: where to, and how large a packet may be."""
    return _MTUINFO.pack(pack_in6(sockaddr(addr, 0, ifindex)), mtu)


def _get_addrform(sk: InetSock, part: Pinfo6) -> int:
    if sk.type == SOCK_RAW and sk.protocol == 58:
        raise err(errno.ENOPROTOOPT)
    if sk.state != TCP_ESTABLISHED:
        raise err(errno.ENOTCONN)
    return AF_INET6


def _get_hops(sk: InetSock, part: Pinfo6) -> int:
    if part.hop_limit >= 0:
        return part.hop_limit
    rt = sk.dst
    return rt.hop_limit if isinstance(rt, route.Rt6) else addrconf_of(part.inet6).all.hop_limit


_GETTERS: Final[dict[int, Callable[[InetSock, Pinfo6], int]]] = {
    in6.IPV6_ADDRFORM: _get_addrform,
    in6.IPV6_ADDR_PREFERENCES: _get_addr_preferences,
    in6.IPV6_FREEBIND: lambda sk, part: int(sk.freebind),
    in6.IPV6_MINHOPCOUNT: lambda sk, part: part.min_hopcount,
    in6.IPV6_MTU: lambda sk, part: _route_of(sk, part).mtu,
    in6.IPV6_MTU_DISCOVER: lambda sk, part: part.pmtudisc,
    in6.IPV6_MULTICAST_HOPS: lambda sk, part: max(part.mc_hops, 0) if part.mc_hops >= 0 else 1,
    in6.IPV6_MULTICAST_IF: lambda sk, part: part.mc_index,
    in6.IPV6_MULTICAST_LOOP: lambda sk, part: int(part.mc_loop),
    in6.IPV6_RECVERR_RFC4884: lambda sk, part: int(part.recverr_rfc4884),
    in6.IPV6_ROUTER_ALERT: lambda sk, part: int(part.rtalert),
    in6.IPV6_TCLASS: lambda sk, part: part.tclass,
    in6.IPV6_TRANSPARENT: lambda sk, part: int(sk.freebind),
    in6.IPV6_UNICAST_HOPS: _get_hops,
    in6.IPV6_UNICAST_IF: lambda sk, part: int.from_bytes(part.unicast_if.to_bytes(4, "big"), "little", signed=True),
    in6.IPV6_V6ONLY: lambda sk, part: int(part.only),
}
