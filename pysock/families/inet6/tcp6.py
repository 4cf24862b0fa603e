"""TCP over IPv6 (tcp_ipv6.c): what `inet.tcp`, where all of TCP lives, asks about IPv6.

`TcpIpv6` is ``sk.af`` of every AF_INET6 socket until it connects to a v4-mapped address, or accepts a connection from
IPv4: then `TcpMapped` is, which is IPv4's with the v6 half kept in step (ipv6_specific, ipv6_mapped).
"""

from __future__ import annotations

import errno
from functools import partial
from struct import Struct

from pysock.core.errors import err
from pysock.core.skbuff import finished_skb
from pysock.families.inet.ip_output import needs_detour
from pysock.families.inet.route import detour
from pysock.families.inet.tcp.af import IPPROTO_TCP, TcpAf, TcpIpv4
from pysock.families.inet.tcp.fast import make_tcp_rcv, noting_cpus
from pysock.families.inet.tcp.ipv4 import connection_error, quoted_connection
from pysock.families.inet.tcp.net import TcpNet
from pysock.families.inet.tcp.pmtu import sync_mss
from pysock.families.inet.tcp.proto import TcpProt
from pysock.families.inet.v6part import NOWHERE
from pysock.families.inet6 import flowlabel, ip6_output, route
from pysock.families.inet6.addr import (
    ANY6,
    LOOPBACK6,
    is_linklocal,
    is_multicast,
    is_v4mapped,
    needs_scope,
    parse,
    v4_of,
    v4mapped,
)
from pysock.families.inet6.inet6_sock import Pinfo6, adopt_v4, is_mapped, pinfo, set_local
from pysock.families.inet6.ip6_error import meaning, recv_error
from pysock.families.inet6.ip6_input import incoming_index
from pysock.families.inet6.route import Rt6
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.in6 import IPV6_PMTUDISC_INTERFACE, IPV6_PMTUDISC_OMIT
from pysock.uapi.tcp import TCP_CLOSE, TCP_LISTEN
from pysock.wire.icmpv6 import PKT_TOOBIG, REDIRECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import Address
    from pysock.families.inet.net import InetNet
    from pysock.families.inet.route import Rtable
    from pysock.families.inet.tcp.sock import TcpSock
    from pysock.families.inet6.net import Inet6Net

#: (version, class, label) payload length | next header, hop limit, addresses
_pack = Struct("!4sH34s").pack
_HEADER_LEN = 40
_MAX_PAYLOAD = 0xFFFF


def xmit_segment(
    sk: TcpSock, header: bytes, n: int, frags: tuple[bytes | memoryview, ...], csum_offset: int, gso_size: int
) -> int:
    """`ip_output.xmit_segment` for IPv6 (inet6_csk_xmit)."""
    part: Pinfo6 = sk.pinet6  # type: ignore[assignment]  # whoever goes this way has one
    inet6 = part.inet6
    rt = sk.dst
    template = part.ip6_header
    if rt is None or template is None or rt.generation != inet6.fib6.generation:
        try:
            rt = ip6_output.rebuild_route(sk)
        except OSError as exc:
            inet6.mibs.ip6.OutNoRoutes += 1
            return -(exc.errno or errno.ENETUNREACH)
        template = part.ip6_header
        assert template is not None
    first, rest = template
    length = len(header) + n
    hh = rt.hh
    if hh is None or (length + _HEADER_LEN > rt.mtu and not gso_size):
        return _xmit_slow(sk, part, header, n, frags, csum_offset, gso_size)
    inet6.mibs.ip6.OutRequests += 1
    # neigh_hh_output() in the same step: one concatenation instead of two.
    ip = _pack(first, length if length <= _MAX_PAYLOAD else 0, rest)
    offset = len(hh)
    skb = finished_skb(
        hh + ip + header, offset, offset + _HEADER_LEN, n, frags, ETH_P_IPV6, rt.dev, csum_offset, gso_size
    )
    xmit = rt.xmit
    return xmit(skb)


def _xmit_slow(
    sk: TcpSock,
    part: Pinfo6,
    header: bytes,
    n: int,
    frags: tuple[bytes | memoryview, ...],
    csum_offset: int,
    gso_size: int,
) -> int:
    """A next hop that is not resolved, or a packet that does not fit."""
    rt = sk.dst
    assert isinstance(rt, Rt6)
    skb = finished_skb(header, 0, 0, n, frags, ETH_P_IPV6, rt.dev, csum_offset, gso_size)
    return ip6_output.queue_xmit(sk, skb)


class TcpIpv6(TcpAf):
    """ipv6_specific."""

    __slots__ = ("inet6", "mapped")

    def __init__(self, inet6: Inet6Net) -> None:
        TcpAf.__init__(self, xmit_segment, _HEADER_LEN, _HEADER_LEN + _MAX_PAYLOAD)
        self.inet6 = inet6
        self.mapped = TcpMapped(inet6.inet, self)

    def start(self, sk: TcpSock, addr: Address) -> tuple[bytes, bytes, int, Rtable]:
        """tcp_v6_connect(). ENETUNREACH for a group, and for a v4-mapped address with IPV6_V6ONLY; EINVAL for a
        link-local one without a device; EAFNOSUPPORT for a real one from a v4-mapped source.
        """
        daddr, dport, flowinfo, scope_id = parse(addr)
        part = pinfo(sk)
        if daddr == ANY6:
            daddr = v4mapped(b"\x7f\0\0\1") if is_mapped(sk) else LOOPBACK6
        if is_multicast(daddr):
            raise err(errno.ENETUNREACH)
        if is_v4mapped(daddr):
            if part.only:
                raise err(errno.ENETUNREACH)
            sk.af = self.mapped
            try:
                return self.mapped.start_to(sk, v4_of(daddr), dport)
            except OSError:
                sk.af = self
                raise
        if is_linklocal(daddr):
            if scope_id:
                if sk.bound_dev_if and sk.bound_dev_if != scope_id:
                    raise err(errno.EINVAL)
                sk.bound_dev_if = scope_id
            if not sk.bound_dev_if:
                raise err(errno.EINVAL)
        if is_mapped(sk):
            raise err(errno.EAFNOSUPPORT)
        oif = sk.bound_dev_if or part.unicast_if
        rt = route.output_for(sk, daddr, part.saddr, oif, part.flow_label, part.prefs, dport)
        part.peer_flow = flowinfo if part.send_flow else 0
        sk.af = self  # after an attempt at a v4-mapped address, perhaps
        return (part.saddr if part.saddr != ANY6 else rt.saddr), daddr, dport, rt

    def set_names(self, sk: TcpSock, saddr: bytes, daddr: bytes) -> None:
        part = pinfo(sk)
        part.saddr = saddr
        if part.rcv_saddr == ANY6:
            part.rcv_saddr = saddr
        part.daddr = daddr
        sk.saddr = sk.rcv_saddr = NOWHERE

    def forget_names(self, sk: TcpSock) -> None:
        if not sk.user_bound:
            set_local(sk, ANY6)
        pinfo(sk).daddr = ANY6

    def adopt(self, parent: TcpSock, child: TcpSock, saddr: bytes, daddr: bytes) -> None:
        """tcp_v6_syn_recv_sock(): the child has a v6 half of its own, whichever version it speaks."""
        theirs = pinfo(parent)
        part = child.pinet6 = Pinfo6(self.inet6)
        part.inherit(theirs)
        if len(saddr) == 4:
            child.af = self.mapped
            child.saddr = child.rcv_saddr = saddr
            child.daddr = daddr
            adopt_v4(child)
            return
        child.af = self
        part.saddr = part.rcv_saddr = saddr
        part.daddr = daddr
        child.saddr = child.rcv_saddr = NOWHERE

    def use_route(self, sk: TcpSock, rt: Rtable) -> None:
        part = pinfo(sk)
        part.flow_label = part.peer_flow & 0xFFFFF or flowlabel.choose(part, sk.ehash_key)
        assert isinstance(rt, Rt6)
        if rt.inner is None and needs_detour(sk, rt.dev):
            rt = detour(rt)
        sk.dst = rt
        hop_limit = part.hop_limit if part.hop_limit >= 0 else rt.hop_limit
        part.ip6_header = ip6_output.build_header_template(
            IPPROTO_TCP, part.tclass, part.flow_label, hop_limit, part.saddr, part.daddr
        )

    def rebuild_route(self, sk: TcpSock) -> Rtable:
        return ip6_output.rebuild_route(sk)

    def route(
        self, daddr: bytes, saddr: bytes, oif: int, listener: TcpSock | None = None, port: int = 0
    ) -> Rtable | None:
        try:
            if listener is not None and self.inet6.fib6.multipath:
                return route.output_for(listener, daddr, saddr, oif, dport=port)
            return route.output(self.inet6, daddr, saddr, oif)
        except OSError:
            self.inet6.mibs.ip6.OutNoRoutes += 1
            return None

    def send(self, rt: Rtable, skb: SkBuff, listener: TcpSock | None, options: bytes = b"") -> None:
        assert isinstance(rt, Rt6)
        hop_limit = None
        tclass = label = 0
        if listener is not None:
            part = pinfo(listener)
            tclass = part.tclass
            head = bytes(skb.head[:4])
            label = flowlabel.choose(part, rt.daddr + rt.saddr + head[2:] + head[:2])  # as the connection's will be
            if part.hop_limit >= 0:
                hop_limit = part.hop_limit
        ip6_output.send_datagram(self.inet6, rt, IPPROTO_TCP, skb, tclass=tclass, hoplimit=hop_limit, flowlabel=label)

    def scope(self, key: bytes, skb: SkBuff) -> int:
        return incoming_index(self.inet6, skb) if needs_scope(key[:16]) else 0

    def incoming_index(self, skb: SkBuff) -> int:
        return incoming_index(self.inet6, skb)


class TcpMapped(TcpIpv4):
    """ipv6_mapped: an AF_INET6 socket that speaks IPv4."""

    __slots__ = ("v6",)

    def __init__(self, inet: InetNet, v6: TcpIpv6) -> None:
        TcpIpv4.__init__(self, inet)
        self.v6 = v6

    def start(self, sk: TcpSock, addr: Address) -> tuple[bytes, bytes, int, Rtable]:
        return self.v6.start(sk, addr)

    def set_names(self, sk: TcpSock, saddr: bytes, daddr: bytes) -> None:
        TcpIpv4.set_names(self, sk, saddr, daddr)
        adopt_v4(sk)

    def forget_names(self, sk: TcpSock) -> None:
        TcpIpv4.forget_names(self, sk)
        self.v6.forget_names(sk)
        sk.af = self.v6


class Tcp6Prot(TcpProt):
    """tcpv6_prot."""

    __slots__ = ()
    name = "TCPv6"
    recv_error = staticmethod(recv_error)


TCPV6_PROT = Tcp6Prot()


def setup(inet6: Inet6Net) -> None:
    """Let TCP go over IPv6 in a namespace: segments, and errors about them, find the connections of the one table."""
    tcp = inet6.net.get(TcpNet)
    tcp.ipv6 = TcpIpv6(inet6)
    inet6.early_demux = tcp.ehash
    inet6.protos[IPPROTO_TCP] = noting_cpus(tcp, make_tcp_rcv(tcp))
    inet6.errors[IPPROTO_TCP] = partial(error, tcp)


def error(
    tcp: TcpNet, quoted: bytes, offset: int, type: int, code: int, info: int, offender: bytes, dev: NetDevice
) -> None:
    """tcp_v6_err(): an ICMPv6 error quotes one of our segments; see `net.ErrorHandler6`."""
    # The quoted segment is ours: its source is our end.
    ports = quoted[offset : offset + 4]
    key = quoted[24:40] + quoted[8:24] + ports[2:] + ports[:2]
    sk = quoted_connection(tcp, key, int.from_bytes(quoted[offset + 4 : offset + 8], "big"))
    if sk is None or type == REDIRECT:
        return
    part = pinfo(sk)
    if type == PKT_TOOBIG:
        believes = part.pmtudisc not in (IPV6_PMTUDISC_INTERFACE, IPV6_PMTUDISC_OMIT)
        if believes and sk.state not in (TCP_LISTEN, TCP_CLOSE):
            sync_mss(sk)  # the route knows already
        return
    connection_error(sk, meaning(type, code)[0], part.recverr)
