"""ICMPv6 errors as sockets see them: what each means, and the queue that IPV6_RECVERR keeps of them (ipv6(7), RFC 4443;
icmpv6_err_convert, ipv6_recv_error).

The queue is the socket's one error queue (inet.ip_error): a v6 socket that speaks IPv4 to its peer finds IPv4's errors
there, with v4-mapped addresses.
"""

from __future__ import annotations

import errno

from pysock.families.inet import ip_error
from pysock.families.inet.ip_error import SOCK_EXTENDED_ERR, ExtendedError
from pysock.families.inet6.addr import v4mapped
from pysock.families.inet6.inet6_sock import RX_PKTINFO, pinfo, sockaddr
from pysock.families.inet6.ip6_cmsg import IN6_PKTINFO
from pysock.uapi import in6
from pysock.uapi.in_ import SO_EE_ORIGIN_ICMP6, SO_EE_ORIGIN_LOCAL
from pysock.uapi.sockaddr import SOCKADDR_IN6, SOCKADDR_IN6_SIZE
from pysock.uapi.socket import AF_INET6, SOL_IPV6
from pysock.uapi.tcp import TCP_ESTABLISHED
from pysock.wire import icmpv6 as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.core.sock import Address, MsgHdr
    from pysock.families.inet.inet_sock import InetSock

#: DEST_UNREACH codes -> (errno, whether it is fatal for a connection): tab_unreach[]
_UNREACHABLE: Final = (
    (errno.ENETUNREACH, False),
    (errno.EACCES, True),
    (errno.EHOSTUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.ECONNREFUSED, True),
    (errno.EACCES, True),
    (errno.EACCES, True),
)


class ExtendedError6(ExtendedError):
    """``pktinfo`` is where the ICMPv6 message came to: our address and the device."""

    __slots__ = ("pktinfo",)

    def __init__(
        self,
        number: int,
        origin: int,
        type: int,
        code: int,
        info: int,
        name: Address,
        offender: bytes | None,
        pktinfo: tuple[bytes, int] | None,
    ) -> None:
        ExtendedError.__init__(self, number, origin, type, code, info, name, offender)
        self.pktinfo = pktinfo


def meaning(type: int, code: int) -> tuple[int, bool]:
    """(errno, whether it is hard) of an ICMPv6 error."""
    if type == wire.DEST_UNREACH:
        return _UNREACHABLE[code] if code < len(_UNREACHABLE) else (errno.EPROTO, True)
    if type == wire.PKT_TOOBIG:
        return errno.EMSGSIZE, False
    if type == wire.TIME_EXCEED:
        return errno.EHOSTUNREACH, False
    return errno.EPROTO, type == wire.PARAMPROB


def datagram_error(
    sk: InetSock,
    quoted: bytes,
    payload: int,
    port: int,
    type: int,
    code: int,
    info: int,
    offender: bytes,
    dev: NetDevice,
) -> None:
    """What an ICMPv6 error about a datagram of ours does to the socket that sent it (__udp6_lib_err). ``quoted`` is
    from the IPv6 header on, ``payload`` where in it the program's data begin, ``port`` where the datagram went.
    """
    part = pinfo(sk)
    number, hard = meaning(type, code)
    daddr = quoted[24:40]
    if type == wire.PKT_TOOBIG:
        if part.pmtudisc in (in6.IPV6_PMTUDISC_INTERFACE, in6.IPV6_PMTUDISC_OMIT):
            return
        hard = part.pmtudisc != in6.IPV6_PMTUDISC_DONT
        part.rxpmtu = daddr, info
    if part.recverr:
        name = sockaddr(daddr, port, dev.ifindex)
        pktinfo = quoted[8:24], dev.ifindex
        error = ExtendedError6(number, SO_EE_ORIGIN_ICMP6, type, code, info, name, offender, pktinfo)
        ip_error.queue_error(sk, error, quoted[payload:])
    elif not hard or sk.state != TCP_ESTABLISHED:
        return
    sk.set_error(number)


def local_error(sk: InetSock, number: int, info: int, daddr: bytes, dport: int, ifindex: int) -> None:
    """Queue an error that we found ourselves, such as a datagram longer than the MTU (ipv6_local_error)."""
    if pinfo(sk).recverr:
        name = sockaddr(daddr, dport, ifindex)
        ip_error.queue_error(sk, ExtendedError6(number, SO_EE_ORIGIN_LOCAL, 0, 0, info, name, None, None), b"")


def recv_error(sk: InetSock, size: int, flags: int, msg: MsgHdr | None) -> bytes:
    """Take the first error (ipv6_recv_error); see `ip_error.recv_error`."""
    error, data = ip_error.take_error(sk, size, flags, msg)
    if msg is None:
        return data
    name = error.name
    msg.name = name if name is None or len(name) == 4 else (f"::ffff:{name[0]}", name[1], 0, 0)
    error.describe(sk, msg)
    if isinstance(error, ExtendedError6) and error.pktinfo is not None and pinfo(sk).rxopt & RX_PKTINFO:
        msg.add_control(SOL_IPV6, in6.IPV6_PKTINFO, IN6_PKTINFO.pack(*error.pktinfo))
    raw = SOCK_EXTENDED_ERR.pack(error.number, error.origin, error.type, error.code, error.info, error.data)
    offender = error.offender
    if offender is None:
        raw += bytes(SOCKADDR_IN6_SIZE)
    else:
        addr = offender if len(offender) == 16 else v4mapped(offender)
        raw += SOCKADDR_IN6.pack(AF_INET6, b"\0\0", bytes(4), addr, msg.name[3])
    msg.add_control(SOL_IPV6, in6.IPV6_RECVERR, raw)
    return data


purge = ip_error.purge
