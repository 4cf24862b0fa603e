"""What TCP does differently over IPv4 and IPv6 (struct inet_connection_sock_af_ops).

A `TcpSock` carries the `TcpAf` that its packets go by in ``sk.af``: IPv4's for every AF_INET socket, and a kind of it
for an AF_INET6 one that talks to a v4-mapped peer. Segments without a socket find theirs by the length of the flow's
key, `af_of`. There is one of each in a namespace; inet6 brings its own (ipv4_specific, ipv6_specific, ipv6_mapped).
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.families.inet import ip_options, route
from pysock.families.inet.addr import ANY, parse
from pysock.families.inet.fib import RTN_BROADCAST, RTN_MULTICAST
from pysock.families.inet.ip_output import rebuild_route, send_datagram, use_route, xmit_segment
from pysock.wire.ipv4 import DF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import Address
    from pysock.families.inet.net import InetNet
    from pysock.families.inet.route import Rtable
    from pysock.families.inet.tcp.net import TcpNet
    from pysock.families.inet.tcp.sock import TcpSock

    #: See `ip_output.xmit_segment`.
    XmitSegment: TypeAlias = Callable[[Any, bytes, int, tuple[bytes | memoryview, ...], int, int], int]

IPPROTO_TCP = 6


class TcpAf:
    """``xmit_segment`` sends a connection's segment: `ip_output.xmit_segment` or its like. ``headers`` is what IP's and
    TCP's headers take without options, ``longest`` the longest packet that IP's length field can say, in bytes.
    Addresses are as long as the version's, keys are `TcpNet.ehash`'s.
    """

    __slots__ = ("headers", "longest", "xmit_segment")

    def __init__(self, xmit_segment: XmitSegment, ip_header: int, longest: int) -> None:
        self.xmit_segment: XmitSegment = xmit_segment
        self.headers = ip_header + 20
        self.longest = longest

    def start(self, sk: TcpSock, addr: Address) -> tuple[bytes, bytes, int, Rtable]:
        """connect(): (our address, the peer's, its port, the route to it). Errors of routing. May change ``sk.af``."""
        raise NotImplementedError

    def set_names(self, sk: TcpSock, saddr: bytes, daddr: bytes) -> None:
        """Give an active opener its addresses; one that it was bound to stays."""
        raise NotImplementedError

    def forget_names(self, sk: TcpSock) -> None:
        """The connection is over (tcp_disconnect): no peer, and no address that the program did not choose."""
        raise NotImplementedError

    def adopt(self, parent: TcpSock, child: TcpSock, saddr: bytes, daddr: bytes) -> None:
        """Give a passive opener, whose listener is ``parent``, its addresses; they may be of the other version."""
        raise NotImplementedError

    def use_route(self, sk: TcpSock, rt: Rtable) -> None:
        """Send the connection's segments over ``rt`` from now on."""
        raise NotImplementedError

    def rebuild_route(self, sk: TcpSock) -> Rtable:
        """Route the connection anew; OSError."""
        raise NotImplementedError

    def route(
        self, daddr: bytes, saddr: bytes, oif: int, listener: TcpSock | None = None, port: int = 0
    ) -> Rtable | None:
        """The way for a segment without a socket, or from ``listener`` to ``port``; None, counted, when there is none.
        """
        raise NotImplementedError

    def send(self, rt: Rtable, skb: SkBuff, listener: TcpSock | None, options: bytes = b"") -> None:
        """Send a segment without a socket, with the settings of ``listener`` if there is one, and
        ``options`` of IP."""
        raise NotImplementedError

    def options_back(self, skb: SkBuff) -> bytes:
        """The IP options of the answer to ``skb``."""
        return b""

    def scope(self, key: bytes, skb: SkBuff) -> int:
        """The device that answers to ``skb`` must leave by: 0, unless its addresses mean nothing elsewhere."""
        return 0

    def incoming_index(self, skb: SkBuff) -> int:
        """The device on which ``skb`` came in."""
        return skb.dev.ifindex if skb.dev is not None else 0


def af_of(tcp: TcpNet, key: bytes) -> TcpAf:
    """Which version a flow is of."""
    return tcp.ipv4 if len(key) == 12 else tcp.ipv6


def addresses(key: bytes) -> tuple[bytes, bytes]:
    """(the peer's address, ours) in the key of a flow."""
    size = len(key) // 2 - 2
    return key[:size], key[size : 2 * size]


def longest_payload(af: TcpAf, rt: Rtable | None) -> int:
    """What a segment without options can carry over ``rt``, in bytes."""
    return min(rt.mtu if rt is not None else 1500, af.longest) - af.headers


class TcpIpv4(TcpAf):
    """ipv4_specific."""

    __slots__ = ("inet",)

    def __init__(self, inet: InetNet) -> None:
        TcpAf.__init__(self, xmit_segment, 20, 0xFFFF)
        self.inet = inet

    def start(self, sk: TcpSock, addr: Address) -> tuple[bytes, bytes, int, Rtable]:
        """tcp_v4_connect()."""
        daddr, dport = parse(addr)
        return self.start_to(sk, daddr, dport)

    def start_to(self, sk: TcpSock, daddr: bytes, dport: int) -> tuple[bytes, bytes, int, Rtable]:
        """The same to a parsed address."""
        rt = route.output_for(sk, daddr, sk.saddr, sk.bound_dev_if, dport)
        if rt.type in (RTN_MULTICAST, RTN_BROADCAST):
            raise err(errno.ENETUNREACH)
        return (sk.saddr if sk.saddr != ANY else rt.saddr), rt.daddr, dport, rt

    def set_names(self, sk: TcpSock, saddr: bytes, daddr: bytes) -> None:
        sk.saddr = saddr
        if sk.rcv_saddr == ANY:
            sk.rcv_saddr = saddr
        sk.daddr = daddr

    def forget_names(self, sk: TcpSock) -> None:
        if not sk.user_bound:
            sk.saddr = sk.rcv_saddr = ANY
        sk.daddr = ANY

    def adopt(self, parent: TcpSock, child: TcpSock, saddr: bytes, daddr: bytes) -> None:
        child.saddr = child.rcv_saddr = saddr
        child.daddr = daddr

    def use_route(self, sk: TcpSock, rt: Rtable) -> None:
        use_route(sk, rt)

    def rebuild_route(self, sk: TcpSock) -> Rtable:
        return rebuild_route(sk)

    def route(
        self, daddr: bytes, saddr: bytes, oif: int, listener: TcpSock | None = None, port: int = 0
    ) -> Rtable | None:
        try:
            if listener is not None:
                return route.output_for(listener, daddr, saddr, oif, port)
            return route.output(self.inet, daddr, saddr, oif)
        except OSError:
            self.inet.mibs.ip.OutNoRoutes += 1
            return None

    def options_back(self, skb: SkBuff) -> bytes:
        start, end = skb.network_header, skb.transport_header
        return ip_options.echo(bytes(skb.head[start:end])) if end - start > 20 else b""

    def send(self, rt: Rtable, skb: SkBuff, listener: TcpSock | None, options: bytes = b"") -> None:
        ttl = self.inet.default_ttl
        tos = 0
        if listener is not None:
            tos = listener.tos
            if listener.ttl >= 0:
                ttl = listener.ttl
        send_datagram(self.inet, rt, IPPROTO_TCP, skb, tos=tos, ttl=ttl, frag=DF, ident=0, options=options)
