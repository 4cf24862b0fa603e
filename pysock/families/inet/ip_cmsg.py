"""Control messages at level SOL_IP, in both directions (ip(7): ip_cmsg_recv, ip_cmsg_send).

Received ones are read from the datagram's own headers when the program receives; nothing is prepared before.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.core.skb_data import skb_copy_bits
from pysock.core.sock_cmsg import SendCookie, receive_common
from pysock.core.sock_cmsg import parse_send as parse_send_common
from pysock.core.sockopt_set import SOCK_RECV_EXTRAS
from pysock.families.inet import tx_timestamp
from pysock.families.inet.addr import ANY, is_multicast
from pysock.families.inet.fib import RTN_BROADCAST
from pysock.families.inet.inet_sock import (
    CMSG_ORIGDSTADDR,
    CMSG_PKTINFO,
    CMSG_RECVOPTS,
    CMSG_RETOPTS,
    CMSG_TOS,
    CMSG_TTL,
)
from pysock.families.inet.ip_options import echo
from pysock.uapi.in_ import IP_ORIGDSTADDR, IP_PKTINFO, IP_RECVOPTS, IP_RETOPTS, IP_TOS, IP_TTL
from pysock.uapi.sockaddr import SOCKADDR_IN
from pysock.uapi.socket import AF_INET, SOL_IP, SOL_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import MsgHdr
    from pysock.families.inet.inet_sock import InetSock

#: struct in_pktinfo: ipi_ifindex, ipi_spec_dst, ipi_addr
IN_PKTINFO: Final = Struct("=i4s4s")
_INT: Final = Struct("=i")


class SendParams(SendCookie):
    """What a sendmsg may say about one datagram (struct ipcm_cookie). ANY and -1: as the socket has it."""

    __slots__ = ("oif", "saddr", "tos", "ttl")

    def __init__(self, sk: InetSock) -> None:
        SendCookie.__init__(self, sk)
        self.oif = sk.bound_dev_if
        self.saddr = ANY
        self.ttl = self.tos = -1

    def apply(self, sk: InetSock, skb: SkBuff) -> None:  # type: ignore[override]  # of this family
        SendCookie.apply(self, sk, skb)
        tx_timestamp.mark(sk, skb, self)


def parse_send(sk: InetSock, control: Sequence[tuple[int, int, bytes]], params: SendParams) -> None:
    """Read the control messages of a sendmsg into ``params``. EINVAL for an unknown or malformed one, EPERM; those of
    other protocols are ignored.
    """
    for level, kind, data in control:
        if level == SOL_IP:
            _parse_ip(kind, data, params)
        elif level == SOL_SOCKET:
            parse_send_common(sk, kind, data, params)


def _parse_ip(kind: int, data: bytes, params: SendParams) -> None:
    if kind == IP_PKTINFO:
        if len(data) != IN_PKTINFO.size:
            raise err(errno.EINVAL)
        ifindex, spec_dst, _ = IN_PKTINFO.unpack(data)
        if ifindex:
            params.oif = ifindex
        params.saddr = spec_dst
    elif kind == IP_TTL:
        params.ttl = _number(data)
        if not 1 <= params.ttl <= 255:
            raise err(errno.EINVAL)
    elif kind == IP_TOS:
        params.tos = data[0] if len(data) == 1 else _number(data)
        if not 0 <= params.tos <= 255:
            raise err(errno.EINVAL)
    elif kind != IP_RETOPTS:
        raise err(errno.EINVAL)


def _number(data: bytes) -> int:
    if len(data) != _INT.size:
        raise err(errno.EINVAL)
    value: int = _INT.unpack(data)[0]
    return value


def receive(sk: InetSock, skb: SkBuff, msg: MsgHdr, ports: bool) -> None:
    """Append what the socket asked for about ``skb``: SO_TIMESTAMP, IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVOPTS,
    IP_RETOPTS, IP_RECVORIGDSTADDR.

    ``ports`` says that the transport header starts with two ports.
    """
    if sk.flags & SOCK_RECV_EXTRAS:
        receive_common(sk, skb, msg)
    receive_ip(sk, skb, msg, ports)


def receive_ip(sk: InetSock, skb: SkBuff, msg: MsgHdr, ports: bool) -> None:
    """What the options at level SOL_IP ask for about an IPv4 packet (ip_cmsg_recv_offset)."""
    add = msg.add_control
    wanted = sk.cmsg_flags
    if not wanted:
        return
    header = skb_copy_bits(skb, skb.network_header - skb.data, 20)
    if wanted & CMSG_PKTINFO:
        add(SOL_IP, IP_PKTINFO, _pktinfo(sk, skb, header[16:20]))
    if wanted & CMSG_TTL:
        add(SOL_IP, IP_TTL, _INT.pack(header[8]))
    if wanted & CMSG_TOS:
        add(SOL_IP, IP_TOS, header[1:2])
    size = (header[0] & 15) * 4
    if size > 20 and wanted & (CMSG_RECVOPTS | CMSG_RETOPTS):
        whole = skb_copy_bits(skb, skb.network_header - skb.data, size)
        if wanted & CMSG_RECVOPTS:
            add(SOL_IP, IP_RECVOPTS, whole[20:])
        if wanted & CMSG_RETOPTS:
            add(SOL_IP, IP_RETOPTS, echo(whole))
    if wanted & CMSG_ORIGDSTADDR and ports:
        port = skb_copy_bits(skb, skb.transport_header - skb.data + 2, 2)
        add(SOL_IP, IP_ORIGDSTADDR, SOCKADDR_IN.pack(AF_INET, port, header[16:20]))


def _pktinfo(sk: InetSock, skb: SkBuff, daddr: bytes) -> bytes:
    """Where it came in, our address for an answer, and the address in the header (ipv4_pktinfo_prepare)."""
    local = daddr
    dev = skb.dev
    entry = sk.inet.fib.lookup(daddr)
    if is_multicast(daddr) or (entry is not None and entry.type == RTN_BROADCAST) or daddr == b"\xff\xff\xff\xff":
        local = next((e.prefsrc for e in sk.inet.fib.local.entries() if e.dev is dev and e.plen == 32), ANY)
    return IN_PKTINFO.pack(dev.ifindex if dev is not None else 0, local, daddr)
