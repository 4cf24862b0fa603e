"""UDP output over IPv6: from sendmsg to a finished datagram (udpv6_sendmsg, udp_v6_send_skb).

As in inet.udp_output, where a socket sends to is worked out once and kept as a `Flow` in ``sk.flows``, under the tuple
that the program passed, or `_PEER` for the connected peer. A flow is good as long as the FIB's generation and
SO_BINDTODEVICE are what they were. What goes to a v4-mapped address is IPv4's. UDP-Lite keeps no flows.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.core.skbuff import CHECKSUM_NONE, CHECKSUM_PARTIAL, SkBuff, finished_skb
from pysock.core.sock import SEND_SHUTDOWN, SOCK_DONTROUTE, MsgHdr
from pysock.core.sockopt_set import SOCK_TX_TSTAMP
from pysock.families.inet import udp_output, zerocopy
from pysock.families.inet.addr import host_text as host_text4
from pysock.families.inet.datagram import autobind, charge_send, wait_for_room
from pysock.families.inet.fib import RTN_MULTICAST
from pysock.families.inet6 import ip6_output
from pysock.families.inet6.addr import ANY6, is_v4mapped, parse, v4_of
from pysock.families.inet6.datagram6 import Destination, destination, may_fragment, mtu_for, refuse_long
from pysock.families.inet6.inet6_sock import Pinfo6, is_mapped, pinfo
from pysock.families.inet6.ip6_cmsg import as_v4
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.socket import MSG_CONFIRM, MSG_DONTROUTE, MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, MSG_ZEROCOPY
from pysock.uapi.tcp import TCP_ESTABLISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet.udp import UdpSock
    from pysock.families.inet6.route import Rt6

    #: FIB generation and device it was made for; longest payload (bytes); link-layer header with the first four bytes
    #: of IPv6's; next header to ports; sum of the constant words of the pseudo header; where the IPv6 header starts;
    #: the route; all of it in full, for what is sent the long way.
    Flow = tuple[int, int, int, bytes, bytes, int, int, Rt6, Destination]

#: (in front: link-layer header, version, class, label) payload length | next header, hop limit, addresses, ports | UDP
#: length | UDP checksum
_pack = Struct("!H38sHH").pack
_IP_HEADER: Final = 40
_UDP_HEADER: Final = 8
_CHECK: Final = 6  # where the checksum is in UDP's header
MAX_PAYLOAD: Final = 0xFFFF - _UDP_HEADER
_FLOW_LIMIT: Final = 1024
_SPECIAL: Final = SOCK_DONTROUTE | SOCK_TX_TSTAMP
_PLAIN: Final = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CONFIRM
_PEER: Final = "peer"


def sendmsg(sk: UdpSock, data: bytes, flags: int, msg: MsgHdr | None) -> int:
    """Send ``data`` as one datagram to ``msg.name``, or to the connected peer. How much was sent: all of it.

    EMSGSIZE above 65527 bytes, or above the MTU where fragmenting is off; those of `udp_output.check_segments`;
    EDESTADDRREQ without an address and a peer; EINVAL for port 0 or a bad control message; ENETUNREACH and other errors
    of routing; the others as in inet.
    """
    flow = sk.flows.get(_PEER if msg is None or msg.name is None else msg.name)
    if flow is None or sk.err or flags & ~_PLAIN or sk.flags & _SPECIAL or sk.priority or sk.mark:
        return _sendmsg_slow(sk, data, flags, msg)
    if msg is not None and msg.control:
        return _sendmsg_slow(sk, data, flags, msg)
    generation, oif, limit, front, middle, udp_sum, offset, rt, _ = flow
    part: Pinfo6 = sk.pinet6  # type: ignore[assignment]  # every AF_INET6 socket has one
    n = len(data)
    if n > limit or generation != part.inet6.fib6.generation or oif != sk.bound_dev_if or not rt.loopback:
        return _sendmsg_slow(sk, data, flags, msg)
    length = n + _UDP_HEADER
    head = front + _pack(length, middle, length, (udp_sum + n) % 0xFFFF)
    skb = finished_skb(head, offset, offset + _IP_HEADER, n, (data,) if n else (), ETH_P_IPV6, rt.dev, _CHECK)
    part.inet6.mibs.ip6.OutRequests += 1
    result = rt.xmit(skb)
    if result:
        _count_failure(sk, part, -errno.ENOBUFS if result > 0 else result)
    else:
        sk.table.mib6.OutDatagrams += 1
    return n


def _sendmsg_slow(sk: UdpSock, data: bytes, flags: int, msg: MsgHdr | None) -> int:
    part = pinfo(sk)
    n = len(data)
    autobind(sk)
    name = None if msg is None else msg.name
    if sk.corked is not None:
        flow, pieces, _ = sk.corked  # the address of the first piece counts
        if len(flow) != 9:  # IPv4's
            return udp_output.sendmsg(sk, data, flags, _msg_v4(msg, None))
    else:
        if name is not None:
            daddr, dport, flowinfo, scope_id = parse(name)
            if daddr == ANY6 and is_mapped(sk):
                return udp_output.sendmsg(sk, data, flags, _msg_v4(msg, ("127.0.0.1", dport)))
        elif sk.state == TCP_ESTABLISHED:
            daddr, dport, flowinfo, scope_id = part.daddr, sk.dport, part.peer_flow, 0
        else:
            raise err(errno.EDESTADDRREQ)
        if is_v4mapped(daddr):
            if part.only:
                raise err(errno.ENETUNREACH)
            to = None if name is None else (host_text4(v4_of(daddr)), dport)
            return udp_output.sendmsg(sk, data, flags, _msg_v4(msg, to))
        if not dport:
            raise err(errno.EINVAL)
        pieces = []
        where = destination(sk, daddr, msg, flowinfo, scope_id, dport)
        where.params.gso_size = sk.gso_size
        if msg is not None and msg.control:
            udp_output.parse_segment_size(msg.control, where.params)
        flow = make_flow(sk, where)
        _remember(sk, flow, flags, msg)
    _, _, limit, _, _, _, _, rt, where = flow
    total = n + sum(map(len, pieces))
    if total > limit:
        mtu = mtu_for(part, rt)
        may_cut = where.params.gso_size or may_fragment(part, where.params.dontfrag)
        if total > MAX_PAYLOAD or not may_cut:
            raise refuse_long(sk, where, mtu)
    if sk.err:
        raise err(sk.take_error())
    if sk.shutdown & SEND_SHUTDOWN:
        raise err(errno.EPIPE)
    pieces.append(data)
    if sk.cork or flags & MSG_MORE:
        sk.corked = flow, pieces, where.params
        sk.flows.clear()
        return n
    sk.corked = None
    wait_for_room(sk, flags)
    _transmit(sk, part, flow, b"".join(pieces) if len(pieces) > 1 else data)
    if flags & MSG_ZEROCOPY and n:
        zerocopy.completed(sk)
    return n


def _msg_v4(msg: MsgHdr | None, name: tuple[str, int] | None) -> MsgHdr | None:
    """The same call as IPv4 wants it."""
    if msg is None:
        return None
    new = MsgHdr(name)
    if msg.control:
        new.control = as_v4(msg.control)
    return new


def push_pending(sk: UdpSock) -> None:
    """Send what was corked (udp_v6_push_pending_frames)."""
    if sk.corked is None:
        return
    flow, pieces, _ = sk.corked
    if len(flow) != 9:
        udp_output.push_pending(sk)
        return
    sk.corked = None
    _transmit(sk, pinfo(sk), flow, b"".join(pieces))


def make_flow(sk: UdpSock, where: Destination) -> Flow:
    """Prepare the headers of datagrams to ``where``; see `Flow`."""
    part = pinfo(sk)
    rt = where.rt
    first, rest = ip6_output.build_header_template(
        sk.protocol, where.tclass, where.flow_label, where.hop_limit, rt.saddr, rt.daddr
    )
    ports = sk.sport.to_bytes(2, "big") + where.dport.to_bytes(2, "big")
    # The pseudo header (RFC 8200 8.1) less the payload's length; UDP's own 8 bytes are in.
    udp_sum = int.from_bytes(rest[2:], "big") % 0xFFFF + sk.protocol + _UDP_HEADER
    options = where.params.options
    limit = min(MAX_PAYLOAD, mtu_for(part, rt) - _IP_HEADER - _UDP_HEADER - (options.size() if options else 0))
    hh = rt.hh or b""
    return rt.generation, sk.bound_dev_if, limit, hh + first, rest + ports, udp_sum, len(hh), rt, where


def _remember(sk: UdpSock, flow: Flow, flags: int, msg: MsgHdr | None) -> None:
    """Keep the flow, if it is good for the next datagram too."""
    rt = flow[7]
    special = bool(msg is not None and msg.control) or sk.table.coverage is not None
    special = special or sk.gso_size != 0 or sk.no_check6_tx
    if flags & MSG_DONTROUTE or sk.flags & SOCK_DONTROUTE:
        special = True
        if rt.gateway is not None:
            raise err(errno.ENETUNREACH)
    # Extension headers have the long way.
    if special or sk.cork or sk.shutdown or rt.type == RTN_MULTICAST or rt.hh is None or flow[8].params.options:
        return
    if len(sk.flows) >= _FLOW_LIMIT:
        sk.flows.clear()
    sk.flows[_PEER if msg is None or msg.name is None else msg.name] = flow


def _transmit(sk: UdpSock, part: Pinfo6, flow: Flow, data: bytes) -> None:
    """Send one datagram with every option: extension headers, fragments, several receivers, a hop to be resolved."""
    _, _, _, _, middle, udp_sum, _, rt, where = flow
    n = len(data)
    length = n + _UDP_HEADER
    options = where.params.options
    gso_size = where.params.gso_size
    if gso_size:
        headers = _IP_HEADER + _UDP_HEADER + (options.size() if options else 0)
        udp_output.check_segments(sk, gso_size, n, headers, mtu_for(part, rt), sk.no_check6_tx)
    head = middle[34:] + length.to_bytes(2, "big") + ((udp_sum + n) % 0xFFFF).to_bytes(2, "big")
    skb = SkBuff(head, 0, length, n, (data,) if n else ())
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.csum_offset = _CHECK
    if sk.table.coverage is not None:
        sk.table.coverage.finish(sk, skb, 0)
    elif sk.no_check6_tx:
        skb.head = head[:_CHECK] + b"\0\0"
        skb.ip_summed = CHECKSUM_NONE
    where.params.apply(sk, skb)
    if gso_size:
        udp_output.make_super(skb, gso_size, n)
    if not rt.loopback:
        charge_send(sk, skb)
    result = ip6_output.send_datagram(
        part.inet6,
        rt,
        sk.protocol,
        skb,
        tclass=where.tclass,
        hoplimit=where.hop_limit,
        flowlabel=where.flow_label,
        hopopts=options.hopopt if options else b"",
        dstopts=options.dst1opt if options else b"",
        dontfrag=not may_fragment(part, where.params.dontfrag),
        loop=part.mc_loop,
        mtu=part.frag_size,
    )
    if result:
        _count_failure(sk, part, result)
    else:
        sk.table.mib6.OutDatagrams += 1


def _count_failure(sk: UdpSock, part: Pinfo6, result: int) -> None:
    """A full queue is an error for the program only with IPV6_RECVERR (ip6_send_skb, udpv6_sendmsg)."""
    if result == -errno.ENOBUFS and not part.recverr:
        sk.table.mib6.SndbufErrors += 1
        return
    raise err(-result)
