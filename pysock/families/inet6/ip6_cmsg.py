"""Control messages at level SOL_IPV6, in both directions (RFC 3542, ipv6(7); ip6_datagram_recv_ctl,
ip6_datagram_send_ctl).

Received ones are read from the packet's own headers when the program receives; nothing is prepared before.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.capability import CAP_NET_RAW
from pysock.core.errors import err
from pysock.core.skb_data import skb_copy_bits
from pysock.core.sock_cmsg import SendCookie, receive_common
from pysock.core.sock_cmsg import parse_send as parse_send_common
from pysock.core.sockopt_set import SOCK_RECV_EXTRAS
from pysock.families.inet import ip_cmsg, tx_timestamp
from pysock.families.inet6.addr import ANY6, SCOPE_LINKLOCAL, is_multicast, is_v4mapped, scope_of, v4_of, v4mapped
from pysock.families.inet6.devconf import find_address
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
    RX_PKTINFO,
    RX_RTHDR,
    RX_TCLASS,
    ExtOptions,
    Pinfo6,
    pinfo,
    sockaddr,
)
from pysock.families.inet6.ip6_cb import cb_of
from pysock.families.inet6.ip6_input import incoming_index
from pysock.uapi import in6
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.in_ import IP_PKTINFO, IPPROTO_DSTOPTS, IPPROTO_HOPOPTS, IPPROTO_ROUTING
from pysock.uapi.sockaddr import pack_in6
from pysock.uapi.socket import SOL_IP, SOL_IPV6, SOL_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import MsgHdr
    from pysock.families.inet.inet_sock import InetSock

    Control = tuple[int, int, bytes]

#: struct in6_pktinfo: ipi6_addr, ipi6_ifindex
IN6_PKTINFO: Final = Struct("=16sI")
_INT: Final = Struct("=i")

#: Which attribute of `ExtOptions` a control message or an option gives.
EXTENSIONS: Final = {
    in6.IPV6_HOPOPTS: "hopopt",
    in6.IPV6_2292HOPOPTS: "hopopt",
    in6.IPV6_DSTOPTS: "dst1opt",
    in6.IPV6_2292DSTOPTS: "dst1opt",
    in6.IPV6_RTHDRDSTOPTS: "dst0opt",
    in6.IPV6_RTHDR: "rthdr",
    in6.IPV6_2292RTHDR: "rthdr",
}


class SendParams6(SendCookie):
    """What is to be said about one datagram (struct ipcm6_cookie and flowi6). -1, None and ANY6: as the socket has
    it.
    """

    __slots__ = ("dontfrag", "flowinfo", "hop_limit", "oif", "options", "saddr", "tclass")

    def __init__(self, sk: InetSock, part: Pinfo6) -> None:
        SendCookie.__init__(self, sk)
        self.oif = sk.bound_dev_if or part.sticky_oif
        self.saddr = part.saddr
        self.hop_limit = -1
        self.tclass = part.tclass
        self.flowinfo = 0
        self.dontfrag = part.dontfrag
        self.options = part.sticky

    def apply(self, sk: InetSock, skb: SkBuff) -> None:  # type: ignore[override]  # of this family
        SendCookie.apply(self, sk, skb)
        tx_timestamp.mark(sk, skb, self)


def parse_send(sk: InetSock, control: Sequence[Control], params: SendParams6) -> None:
    """Read the control messages of a sendmsg into ``params``. EINVAL for an unknown or malformed one, ENODEV for an
    unknown device, EPERM for extension headers without CAP_NET_RAW; those of other levels are ignored.
    """
    given = ExtOptions()
    for level, kind, data in control:
        if level == SOL_IPV6:
            _parse_one(sk, kind, data, params, given)
        elif level == SOL_SOCKET:
            parse_send_common(sk, kind, data, params)
    if given:
        params.options = given  # instead of the sticky ones, as a whole


def _parse_one(sk: InetSock, kind: int, data: bytes, params: SendParams6, given: ExtOptions) -> None:
    if kind in (in6.IPV6_PKTINFO, in6.IPV6_2292PKTINFO):
        _parse_pktinfo(sk, data, params)
    elif kind in (in6.IPV6_HOPLIMIT, in6.IPV6_2292HOPLIMIT):
        params.hop_limit = _number(data, -1, 255)
    elif kind == in6.IPV6_TCLASS:
        params.tclass = _number(data, -1, 255) & 0xFF
    elif kind == in6.IPV6_DONTFRAG:
        params.dontfrag = bool(_number(data, 0, 1))
    elif kind == in6.IPV6_FLOWINFO:
        if len(data) < 4:
            raise err(errno.EINVAL)
        flowinfo = int.from_bytes(data[:4], "big") & 0x0FFFFFFF
        if params.flowinfo and params.flowinfo != flowinfo:
            raise err(errno.EINVAL)
        params.flowinfo = flowinfo
    elif kind in EXTENSIONS:
        name = EXTENSIONS[kind]
        if len(data) < 2 or getattr(given, name):
            raise err(errno.EINVAL)
        length = (data[1] + 1) * 8
        if len(data) < length or name == "rthdr":
            raise err(errno.EINVAL)  # no type of routing header is left that we could send
        if not sk.creds.capable(CAP_NET_RAW):
            raise err(errno.EPERM)
        setattr(given, name, data[:length])
    else:
        raise err(errno.EINVAL)


def _number(data: bytes, low: int, high: int) -> int:
    if len(data) != _INT.size:
        raise err(errno.EINVAL)
    value: int = _INT.unpack(data)[0]
    if not low <= value <= high:
        raise err(errno.EINVAL)
    return value


def _parse_pktinfo(sk: InetSock, data: bytes, params: SendParams6) -> None:
    if len(data) < IN6_PKTINFO.size:
        raise err(errno.EINVAL)
    addr, ifindex = IN6_PKTINFO.unpack_from(data)
    if ifindex:
        if params.oif and params.oif != ifindex:
            raise err(errno.EINVAL)
        params.oif = ifindex
    part = pinfo(sk)
    dev = None
    if params.oif:
        dev = sk.net.dev_by_index.get(params.oif)
        if dev is None:
            raise err(errno.ENODEV)
    if addr == ANY6:
        return
    if not (sk.freebind or part.inet6.nonlocal_bind):
        if scope_of(addr) > SCOPE_LINKLOCAL:
            dev = None  # any device may have it
        if is_multicast(addr) or find_address(sk.net, addr, dev) is None:
            raise err(errno.EINVAL)
    params.saddr = addr


def as_v4(control: Sequence[Control]) -> list[Control]:
    """Control messages for a datagram to a v4-mapped address (ip_cmsg_send with allow_ipv6): of IPv6's, the packet
    info counts.
    """
    found: list[Control] = []
    for level, kind, data in control:
        if level != SOL_IPV6:
            found.append((level, kind, data))
        elif kind == in6.IPV6_PKTINFO:
            if len(data) < IN6_PKTINFO.size:
                raise err(errno.EINVAL)
            addr, ifindex = IN6_PKTINFO.unpack_from(data)
            if not is_v4mapped(addr):
                raise err(errno.EINVAL)
            found.append((SOL_IP, IP_PKTINFO, ip_cmsg.IN_PKTINFO.pack(ifindex, v4_of(addr), bytes(4))))
    return found


# In ------------------------------------------------------------------------------------------------------


def receive(sk: InetSock, skb: SkBuff, msg: MsgHdr, ports: bool) -> None:
    """Append what the socket asked for about ``skb``, which may be an IPv4 packet. ``ports`` says that the transport
    header starts with two ports.
    """
    if sk.flags & SOCK_RECV_EXTRAS:
        receive_common(sk, skb, msg)
    if skb.protocol == ETH_P_IP:
        if pinfo(sk).rxopt & RX_PKTINFO:
            daddr = skb_copy_bits(skb, skb.network_header - skb.data + 16, 4)
            ifindex = skb.dev.ifindex if skb.dev is not None else 0
            msg.add_control(SOL_IPV6, in6.IPV6_PKTINFO, IN6_PKTINFO.pack(v4mapped(daddr), ifindex))
        ip_cmsg.receive_ip(sk, skb, msg, ports)
    else:
        receive_ipv6(sk, skb, msg, ports)


def receive_ipv6(sk: InetSock, skb: SkBuff, msg: MsgHdr, ports: bool) -> None:
    """The same for an IPv6 packet, without time stamps (ip6_datagram_recv_common_ctl, ..._specific_ctl)."""
    wanted = pinfo(sk).rxopt
    if not wanted:
        return
    at = skb.network_header - skb.data
    header = skb_copy_bits(skb, at, 40)
    between = skb_copy_bits(skb, at + 40, max(skb.transport_header - skb.network_header - 40, 0))
    chain = list(_extensions(header, between))
    word = int.from_bytes(header[:4], "big")
    daddr = header[24:40]

    def add(kind: int, data: bytes) -> None:
        msg.add_control(SOL_IPV6, kind, data)

    if wanted & RX_PKTINFO:
        add(in6.IPV6_PKTINFO, IN6_PKTINFO.pack(daddr, incoming_index(pinfo(sk).inet6, skb)))
    if wanted & RX_HOPLIMIT:
        add(in6.IPV6_HOPLIMIT, _INT.pack(header[7]))
    if wanted & RX_TCLASS:
        add(in6.IPV6_TCLASS, _INT.pack(word >> 20 & 0xFF))
    if wanted & RX_FLOWINFO and word & 0x0FFFFFFF:
        add(in6.IPV6_FLOWINFO, (word & 0x0FFFFFFF).to_bytes(4, "big"))
    for kind, data in chain:
        if kind in _RX_EXTENSIONS and wanted & _RX_EXTENSIONS[kind][0]:
            add(_RX_EXTENSIONS[kind][1], data)
    if wanted & RX_2292_PKTINFO:
        add(in6.IPV6_2292PKTINFO, IN6_PKTINFO.pack(daddr, incoming_index(pinfo(sk).inet6, skb)))
    if wanted & RX_2292_HOPLIMIT:
        add(in6.IPV6_2292HOPLIMIT, _INT.pack(header[7]))
    for kind, data in chain:
        if kind in _RX_EXTENSIONS and wanted & _RX_EXTENSIONS[kind][2]:
            add(_RX_EXTENSIONS[kind][3], data)
    if wanted & RX_ORIGDSTADDR and ports:
        port = int.from_bytes(skb_copy_bits(skb, skb.transport_header - skb.data + 2, 2), "big")
        add(in6.IPV6_ORIGDSTADDR, pack_in6(sockaddr(daddr, port, incoming_index(pinfo(sk).inet6, skb))))
    cb = cb_of(skb)
    if wanted & RX_FRAGSIZE and cb is not None and cb.frag_max_size:
        add(in6.IPV6_RECVFRAGSIZE, _INT.pack(cb.frag_max_size))


#: extension header -> (wish, its control message), and the same in RFC 2292's numbers
_RX_EXTENSIONS: Final = {
    IPPROTO_HOPOPTS: (RX_HOPOPTS, in6.IPV6_HOPOPTS, RX_2292_HOPOPTS, in6.IPV6_2292HOPOPTS),
    IPPROTO_DSTOPTS: (RX_DSTOPTS, in6.IPV6_DSTOPTS, RX_2292_DSTOPTS, in6.IPV6_2292DSTOPTS),
    IPPROTO_ROUTING: (RX_RTHDR, in6.IPV6_RTHDR, RX_2292_RTHDR, in6.IPV6_2292RTHDR),
}


def _extensions(header: bytes, body: bytes) -> Iterator[tuple[int, bytes]]:
    """The extension headers between the IPv6 header and the transport's, in their order: (number, the whole header).
    They passed the input path: none is malformed.
    """
    kind = header[6]
    at = 0
    while at + 8 <= len(body) and kind in _RX_EXTENSIONS:
        length = (body[at + 1] + 1) * 8
        yield kind, body[at : at + length]
        kind = body[at]
        at += length
