"""ICMP errors as sockets see them: what each means, and the queue that IP_RECVERR keeps of them (ip(7),
net/ipv4/ip_sockglue.c).

An error is queued as an SkBuff whose data is the part of our own datagram that the error quotes, behind the transport
header, and whose ``cb`` is an `ExtendedError`. MSG_ERRQUEUE reads one with the address the datagram was sent to as its
name and a struct sock_extended_err as an IP_RECVERR control message.
"""

from __future__ import annotations

import errno
from collections import deque
from struct import Struct

from pysock.core.errors import err
from pysock.core.skbuff import SKB_OVERHEAD, SkBuff, consume_skb
from pysock.families.inet.addr import host_text
from pysock.uapi.in_ import IP_PMTUDISC_DONT, IP_RECVERR, SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_LOCAL
from pysock.uapi.sockaddr import SOCKADDR_IN, SOCKADDR_IN_SIZE
from pysock.uapi.socket import AF_INET, MSG_ERRQUEUE, MSG_TRUNC, SOL_IP
from pysock.wire import icmp as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.sock import Address, MsgHdr, Sock
    from pysock.families.inet.inet_sock import InetSock

#: struct sock_extended_err: ee_errno, ee_origin, ee_type, ee_code, ee_pad, ee_info, ee_data
SOCK_EXTENDED_ERR: Final = Struct("=IBBBxII")

#: DEST_UNREACH codes -> (errno, whether it is fatal for a connection): icmp_err_convert[] (RFC 1122 3.2.2.1, 4.2.3.9)
UNREACHABLE: Final = (
    (errno.ENETUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.ENOPROTOOPT, True),
    (errno.ECONNREFUSED, True),
    (errno.EMSGSIZE, False),
    (errno.EOPNOTSUPP, False),
    (errno.ENETUNREACH, True),
    (errno.EHOSTDOWN, True),
    (errno.ENONET, True),
    (errno.ENETUNREACH, True),
    (errno.EHOSTUNREACH, True),
    (errno.ENETUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.EHOSTUNREACH, True),
    (errno.EHOSTUNREACH, True),
    (errno.EHOSTUNREACH, True),
)


class ExtendedError:
    """What the queue remembers of one error; ``name`` is where our datagram went, ``offender`` who complained (4
    bytes).
    """

    __slots__ = ("code", "info", "name", "number", "offender", "origin", "type")

    #: ee_data: numbers a send in zerocopy.py and tx_timestamp.py.
    data = 0

    def __init__(
        self, number: int, origin: int, type: int, code: int, info: int, name: Address, offender: bytes | None
    ) -> None:
        self.number = number
        self.origin = origin
        self.type = type
        self.code = code
        self.info = info
        self.name = name
        self.offender = offender

    def describe(self, sk: Sock, msg: MsgHdr) -> None:
        """Append what a kind of notice tells besides."""

    def pack(self) -> bytes:
        """struct sock_extended_err and the offender's struct sockaddr_in behind it (SO_EE_OFFENDER)."""
        raw = SOCK_EXTENDED_ERR.pack(self.number, self.origin, self.type, self.code, self.info, self.data)
        if self.offender is None:
            return raw + bytes(SOCKADDR_IN_SIZE)
        return raw + SOCKADDR_IN.pack(AF_INET, b"\0\0", self.offender)


def meaning(sk: InetSock, type: int, code: int) -> tuple[int, bool]:
    """(errno, whether it is hard) of an ICMP error for a datagram socket; errno 0 when it is none of its business."""
    if type == wire.DEST_UNREACH:
        if code == wire.FRAG_NEEDED:
            return (errno.EMSGSIZE, True) if sk.pmtudisc != IP_PMTUDISC_DONT else (0, False)
        return UNREACHABLE[code] if code < len(UNREACHABLE) else (errno.EHOSTUNREACH, False)
    if type == wire.PARAMETERPROB:
        return errno.EPROTO, True
    if type in (wire.SOURCE_QUENCH, wire.REDIRECT):
        return 0, False
    return errno.EHOSTUNREACH, False


def icmp_error(
    sk: InetSock, number: int, type: int, code: int, info: int, name: Address, offender: bytes, payload: bytes
) -> None:
    """Queue an error that ICMP brought (ip_icmp_error)."""
    queue_error(sk, ExtendedError(number, SO_EE_ORIGIN_ICMP, type, code, info, name, offender), payload)


def local_error(sk: InetSock, number: int, info: int, daddr: bytes, dport: int) -> None:
    """Queue an error that we found ourselves, such as a datagram longer than the MTU (ip_local_error)."""
    if sk.recverr:
        queue_error(sk, ExtendedError(number, SO_EE_ORIGIN_LOCAL, 0, 0, info, (host_text(daddr), dport), None), b"")


def queue_error(sk: InetSock, error: ExtendedError, payload: bytes) -> None:
    """Put ``error`` with the data that it quotes into the queue, if the receive buffer has room."""
    skb = SkBuff(payload, 0, len(payload))
    size = SKB_OVERHEAD + len(payload)
    if sk.rmem_alloc + size >= sk.rcvbuf:
        return
    skb.cb = error
    sk.rmem_alloc += size
    if sk.error_queue is None:
        sk.error_queue = deque()
    sk.error_queue.append(skb)
    sk.error_report()


def recv_error(sk: InetSock, size: int, flags: int, msg: MsgHdr | None) -> bytes:
    """Take the first error (ip_recv_error): the quoted data, cut to ``size``. EAGAIN when there is none; never
    blocks.
    """
    error, data = take_error(sk, size, flags, msg)
    if msg is not None:
        msg.name = error.name
        error.describe(sk, msg)
        msg.add_control(SOL_IP, IP_RECVERR, error.pack())
    return data


def take_error(sk: InetSock, size: int, flags: int, msg: MsgHdr | None) -> tuple[ExtendedError, bytes]:
    """The first error and the quoted data, cut to ``size``; ``msg`` gets the flags. EAGAIN when there is none.

    The pending error of the socket becomes that of the next one in the queue, if any (sock_dequeue_err_skb).
    """
    queue = sk.error_queue
    if not queue:
        raise err(errno.EAGAIN)
    skb = queue.popleft()
    error = skb.cb
    assert isinstance(error, ExtendedError)
    sk.rmem_alloc -= SKB_OVERHEAD + skb.len
    following = queue[0].cb if queue else None
    sk.err = following.number if isinstance(following, ExtendedError) else 0
    if following is not None:
        sk.error_report()
    data = bytes(skb.head)
    if msg is not None:
        msg.flags |= MSG_ERRQUEUE
        if len(data) > size:
            msg.flags |= MSG_TRUNC
    consume_skb(skb)
    return error, data if len(data) <= size or flags & MSG_TRUNC else data[:size]


def purge(sk: InetSock) -> None:
    """Forget the queued errors."""
    queue = sk.error_queue
    sk.error_queue = None
    for skb in queue or ():
        sk.rmem_alloc -= SKB_OVERHEAD + skb.len
        consume_skb(skb)
