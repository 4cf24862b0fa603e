"""UDP output: from sendmsg to a finished datagram (udp_sendmsg, ip_make_skb, udp_send_skb).

Where a socket sends to and how is worked out once and kept as a `Flow`: route, addresses and ports as wire bytes, the
constant part of both checksums. The next datagram to the same address tuple is one dict lookup and one pack. A flow
lives in ``sk.flows`` under the tuple that the program passed (None: the connected peer); it is good as long as the
FIB's generation and SO_BINDTODEVICE are what they were. Everything else that goes into it is changed by calls that
empty ``flows``.

Only flows of the common kind are kept: don't-fragment set (so that the identification may be zero, RFC 6864), one
receiver, no per-datagram options, nothing corked. To another host, `_transmit` takes the link-layer header from the
route, where the neighbour keeps it up to date. UDP-Lite, whose checksum is no device's business, keeps none.

With UDP_SEGMENT a send is a super-packet: one UDP header for all of it, ``gso_size`` the payload of each datagram.
"""

from __future__ import annotations

import errno
import sys
from struct import Struct

from pysock.core.errors import err
from pysock.core.gso import SKB_GSO_UDP_L4
from pysock.core.skbuff import CHECKSUM_NONE, consume_skb, finished_skb
from pysock.core.sock import SEND_SHUTDOWN, SOCK_BROADCAST, SOCK_DONTROUTE, SOCK_NO_CHECK
from pysock.core.sockopt_set import SOCK_TX_TSTAMP
from pysock.families.inet import ip_cmsg, ip_error, ip_options, route, zerocopy
from pysock.families.inet.addr import ANY, is_multicast, parse
from pysock.families.inet.datagram import autobind, charge_send, wait_for_room
from pysock.families.inet.fib import RTN_BROADCAST, RTN_MULTICAST
from pysock.families.inet.ip_fragment import df_of, may_fragment, socket_mtu
from pysock.families.inet.ip_output import build_header_template, local_out, loop_back
from pysock.families.inet.route import Rtable
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.socket import (
    MSG_CONFIRM,
    MSG_DONTROUTE,
    MSG_DONTWAIT,
    MSG_MORE,
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_ZEROCOPY,
    SOL_UDP,
)
from pysock.uapi.tcp import TCP_ESTABLISHED
from pysock.uapi.udp import UDP_MAX_SEGMENTS, UDP_SEGMENT
from pysock.wire.ipv4 import DF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import Address, MsgHdr
    from pysock.core.sock_cmsg import SendCookie
    from pysock.families.inet.udp import UdpSock

    #: generation and device it was made for; longest payload (bytes); link-layer header with the first two bytes of
    #: IP's; flags, TTL, protocol; addresses and ports; sums of the constant words of the IP header and of the pseudo
    #: header; where the IP header starts; the route.
    Flow = tuple[int, int, int, bytes, bytes, bytes, int, int, int, Rtable]

#: (in front: link-layer header, version+IHL, TOS) total length | identification | flags, TTL, protocol | checksum |
#: addresses and ports | UDP length | UDP checksum
_pack = Struct("!HH4sH12sHH").pack
_HEADERS = 28
_IP_HEADER = 20
_CHECK = 6  # where the checksum is in UDP's
MAX_PAYLOAD = 0xFFFF - _HEADERS
_FLOW_LIMIT = 1024
_SPECIAL = SOCK_NO_CHECK | SOCK_DONTROUTE | SOCK_TX_TSTAMP
_PLAIN = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CONFIRM


def sendmsg(sk: UdpSock, data: bytes, flags: int, msg: MsgHdr | None) -> int:
    """Send ``data`` as one datagram to ``msg.name``, or to the connected peer. How much was sent: all of it.

    EMSGSIZE above 65507 bytes or the MTU, which UDP_SEGMENT's datagrams must not reach either, whose rules are
    `check_segments`'; EDESTADDRREQ without an address and a peer; EINVAL for port 0 or a bad
    control message; EACCES for broadcast without SO_BROADCAST; ENETUNREACH and other errors of routing; EAGAIN when the
    send buffer is full, or no port is left; EPIPE after SHUT_WR; EOPNOTSUPP for MSG_OOB; the pending error of the
    socket.
    """
    flow = sk.flows.get(None if msg is None else msg.name)
    if flow is None or sk.err or flags & ~_PLAIN or sk.flags & _SPECIAL or sk.priority or sk.mark:
        return _sendmsg_slow(sk, data, flags, msg)
    if msg is not None and msg.control:
        return _sendmsg_slow(sk, data, flags, msg)
    generation, oif, limit, front, middle, names, ip_sum, udp_sum, offset, rt = flow
    n = len(data)
    if n > limit or generation != sk.inet.fib.generation or oif != sk.bound_dev_if:
        return _sendmsg_slow(sk, data, flags, msg)
    if not rt.loopback:
        if sk.wmem_alloc >= sk.sndbuf:
            return _sendmsg_slow(sk, data, flags, msg)
        if flags & MSG_CONFIRM:
            _confirm(rt)
        _transmit(sk, flow, data)
        return n
    if sk.dport:
        ident = sk.ip_id = (sk.ip_id + 1) & 0xFFFF
    else:
        ident = 0
    length = n + _HEADERS
    check = 0xFFFF - (ip_sum + length + ident) % 0xFFFF
    head = front + _pack(length, ident, middle, check, names, n + 8, (udp_sum + n) % 0xFFFF)
    skb = finished_skb(head, offset, offset + _IP_HEADER, n, (data,) if n else (), ETH_P_IP, rt.dev, _CHECK)
    table = sk.table
    table.ip_mib.OutRequests += 1
    result = rt.xmit(skb)
    if result:
        _count_failure(sk, result)
    else:
        table.mib.OutDatagrams += 1
    return n


def _sendmsg_slow(sk: UdpSock, data: bytes, flags: int, msg: MsgHdr | None) -> int:
    n = len(data)
    if n > 0xFFFF:
        raise err(errno.EMSGSIZE)
    if flags & MSG_OOB:
        raise err(errno.EOPNOTSUPP)
    autobind(sk)
    if sk.corked is not None:
        flow, pieces, params = sk.corked  # the address of the first piece counts
    else:
        flow, params = _find_flow(sk, flags, msg)
        pieces = []
    total = n + sum(map(len, pieces))
    if total > flow[2]:
        rt = flow[-1]
        if total > MAX_PAYLOAD or not (may_fragment(sk) or params.gso_size):
            ip_error.local_error(
                sk, errno.EMSGSIZE, socket_mtu(sk, rt), rt.daddr, int.from_bytes(flow[5][10:], "big")
            )
            raise err(errno.EMSGSIZE)
    if sk.err:
        raise err(sk.take_error())
    if sk.shutdown & SEND_SHUTDOWN:
        raise err(errno.EPIPE)
    pieces.append(data)
    if sk.cork or flags & MSG_MORE:
        sk.corked = flow, pieces, params
        sk.flows.clear()
        return n
    sk.corked = None
    if flags & MSG_CONFIRM:
        _confirm(flow[-1])
    wait_for_room(sk, flags)
    _transmit(sk, flow, b"".join(pieces) if len(pieces) > 1 else data, params)
    if flags & MSG_ZEROCOPY and n:
        zerocopy.completed(sk)
    return n


def _confirm(rt: Rtable) -> None:
    """MSG_CONFIRM: the program had an answer from there (dst_confirm_neigh)."""
    neigh = (rt.inner or rt).neigh  # a detour has none of its own
    if neigh is not None:
        neigh.confirm()


def push_pending(sk: UdpSock) -> None:
    """Send what was corked (udp_push_pending_frames)."""
    if sk.corked is not None:
        flow, pieces, params = sk.corked
        sk.corked = None
        _transmit(sk, flow, b"".join(pieces), params)


def _find_flow(sk: UdpSock, flags: int, msg: MsgHdr | None) -> tuple[Flow, ip_cmsg.SendParams]:
    """The flow for one datagram, remembered if it is good for the next one too, and what holds for this one."""
    name: Address = None if msg is None else msg.name
    params = ip_cmsg.SendParams(sk)
    params.saddr = sk.saddr
    params.gso_size = sk.gso_size
    if name is not None:
        daddr, dport = parse(name)
        if not dport:
            raise err(errno.EINVAL)
    elif sk.state == TCP_ESTABLISHED:
        daddr, dport = sk.daddr, sk.dport
    else:
        raise err(errno.EDESTADDRREQ)
    special = sk.table.coverage is not None or bool(sk.ip_options or sk.gso_size)
    if msg is not None and msg.control:
        parse_segment_size(msg.control, params)
        ip_cmsg.parse_send(sk, msg.control, params)
        special = True
    flow = make_flow(sk, daddr, dport, params)
    rt = flow[-1]
    if rt.type == RTN_BROADCAST and not sk.flags & SOCK_BROADCAST:
        raise err(errno.EACCES)
    if flags & MSG_DONTROUTE or sk.flags & SOCK_DONTROUTE:
        special = True
        if rt.gateway is not None:
            raise err(errno.ENETUNREACH)
    special = special or rt.inner is not None or rt.type in (RTN_BROADCAST, RTN_MULTICAST)
    if not (special or sk.cork or sk.shutdown) and flow[4][0]:
        if len(sk.flows) >= _FLOW_LIMIT:
            sk.flows.clear()
        sk.flows[name] = flow
    return flow, params


def make_flow(sk: UdpSock, daddr: bytes, dport: int, params: ip_cmsg.SendParams) -> Flow:
    """Route a datagram to ``daddr`` and prepare its headers; see `Flow`."""
    inet = sk.inet
    oif, saddr = params.oif, params.saddr
    if is_multicast(daddr):
        oif = oif or sk.mc_index
        if saddr == ANY:
            saddr = sk.mc_addr
        ttl = sk.mc_ttl
    else:
        ttl = sk.ttl
    tos = params.tos if params.tos >= 0 else sk.tos
    try:
        rt = route.output_for(sk, daddr, saddr, oif, dport, tos, params.mark)
    except OSError as exc:
        if exc.errno == errno.ENETUNREACH:
            inet.mibs.ip.OutNoRoutes += 1
        raise
    if params.ttl >= 0:
        ttl = params.ttl
    elif ttl < 0:
        ttl = rt.hoplimit or inet.default_ttl
    first, middle, addresses, ip_sum = build_header_template(sk.protocol, tos, ttl, df_of(sk, rt), rt.saddr, rt.daddr)
    names = addresses + sk.sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
    # The pseudo header (RFC 768) less the payload's length; UDP's own 8 bytes are in.
    udp_sum = int.from_bytes(addresses, "big") % 0xFFFF + sk.protocol + 8
    hh = rt.hh or b""
    limit = min(MAX_PAYLOAD, socket_mtu(sk, rt) - _HEADERS)
    return rt.generation, sk.bound_dev_if, limit, hh + first, middle, names, ip_sum, udp_sum, len(hh), rt


def parse_segment_size(control: Sequence[tuple[int, int, bytes]], params: SendCookie) -> None:
    """UDP's own control messages (udp_cmsg_send): UDP_SEGMENT, two bytes, instead of the option. EINVAL for others."""
    for level, kind, data in control:
        if level == SOL_UDP:
            if kind != UDP_SEGMENT or len(data) != 2:
                raise err(errno.EINVAL)
            params.gso_size = int.from_bytes(data, sys.byteorder)


def check_segments(sk: UdpSock, gso_size: int, n: int, headers: int, mtu: int, no_check: bool) -> None:
    """Whether ``n`` bytes may go as datagrams of ``gso_size``, with ``headers`` bytes of IP and UDP in front of each
    (udp_send_skb).

    EMSGSIZE for datagrams above the MTU; EINVAL for more than UDP_MAX_SEGMENTS or without checksums; EIO for UDP-Lite.
    """
    if headers + min(n, gso_size) > mtu:
        raise err(errno.EMSGSIZE)
    if n > gso_size * UDP_MAX_SEGMENTS or no_check:
        raise err(errno.EINVAL)
    if sk.table.coverage is not None:
        raise err(errno.EIO)


def make_super(skb: SkBuff, gso_size: int, n: int) -> None:
    """``skb`` holds ``n`` bytes, which are one datagram up to ``gso_size``, else many."""
    if n > gso_size:
        skb.gso_size = gso_size
        skb.gso_type = SKB_GSO_UDP_L4
        skb.gso_segs = -(-n // gso_size)


def _transmit(sk: UdpSock, flow: Flow, data: bytes, params: ip_cmsg.SendParams | None = None) -> None:
    """What the fast path of `sendmsg` does, with every option; ``params`` None: none was asked for."""
    _, _, limit, front, middle, names, ip_sum, udp_sum, offset, rt = flow
    n = len(data)
    length = n + _HEADERS
    gso_size = 0 if params is None else params.gso_size
    if gso_size:
        headers = _HEADERS + len(sk.ip_options)
        check_segments(sk, gso_size, n, headers, socket_mtu(sk, rt), bool(sk.flags & SOCK_NO_CHECK))
    direct = (n <= limit or gso_size) and not sk.ip_options
    if middle[0] and n + len(sk.ip_options) > limit and may_fragment(sk):  # DF is for datagrams that fit
        middle = b"\0" + middle[1:]
        ip_sum += 0xFFFF - (DF % 0xFFFF)
    if not middle[0]:
        ident = sk.inet.ids.getrandbits(16)  # it may be fragmented on its way
    elif sk.dport:
        ident = sk.ip_id = (sk.ip_id + 1) & 0xFFFF
    else:
        ident = 0
    coverage = sk.table.coverage
    no_check = coverage is None and sk.flags & SOCK_NO_CHECK
    check = 0xFFFF - (ip_sum + length + ident) % 0xFFFF
    udp_check = 0 if no_check else (udp_sum + n) % 0xFFFF
    hh = rt.hh  # not the flow's: a neighbour may have moved since
    if hh is not None and direct:
        front = hh + front[offset:]
        offset = len(hh)
    else:
        direct = False
        front = front[offset:]
        offset = 0
    head = front + _pack(length, ident, middle, check, names, n + 8, udp_check)
    skb = finished_skb(head, offset, offset + _IP_HEADER, n, (data,) if n else (), ETH_P_IP, rt.dev, _CHECK)
    if sk.ip_options:
        ip_options.insert(sk.inet, skb, sk.ip_options, rt.saddr)
    if coverage is not None:
        coverage.finish(sk, skb, skb.transport_header)
    elif no_check:
        skb.ip_summed = CHECKSUM_NONE
    if params is not None:
        params.apply(sk, skb)
        if gso_size:
            make_super(skb, gso_size, n)
    if not rt.loopback:
        many = rt.type in (RTN_BROADCAST, RTN_MULTICAST)
        if direct and many and not loop_back(rt, skb, offset, sk.mc_loop):
            sk.table.mib.OutDatagrams += 1
            consume_skb(skb)
            return
        charge_send(sk, skb)
    sk.table.ip_mib.OutRequests += 1
    result = rt.xmit(skb) if direct else local_out(sk.inet, rt, skb, socket_mtu(sk, rt), sk, sk.mc_loop)
    if result:
        _count_failure(sk, result)
    else:
        sk.table.mib.OutDatagrams += 1


def _count_failure(sk: UdpSock, result: int) -> None:
    """A positive result is a queue that dropped it: an error for the program only with IP_RECVERR (ip_send_skb)."""
    if result == 2:  # NET_XMIT_CN: queued, but slow down
        sk.table.mib.OutDatagrams += 1
        return
    sk.table.ip_mib.OutDiscards += 1
    if result > 0:
        if not sk.recverr:
            sk.table.mib.SndbufErrors += 1
            return
        result = -errno.ENOBUFS
    raise err(-result)
