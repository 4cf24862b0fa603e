"""Inet6Net: everything AF_INET6 keeps per network namespace (struct netns_ipv6).

It stands beside the namespace's `InetNet`, whose port ranges, transports' tables and limits both families share.
Protocols add themselves to ``protos`` and ``errors`` when the namespace is made; device state is in `devconf`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pysock.core.mibs6 import Mibs6
from pysock.families.inet6.fib6 import Fib6Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.neighbour_table import NeighTable
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.netfilter import Netfilter
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.net import InetNet
    from pysock.families.inet6.ip6mr import Ip6mr
    from pysock.families.inet6.router_pref import RouterChoice


class ErrorHandler6(Protocol):
    """How a transport hears of an ICMPv6 error (inet6_protocol.err_handler): ``quoted`` is the offending packet from
    its IPv6 header on, ``offset`` where in it the transport's header begins, ``info`` the second word of the message
    (the MTU of "packet too big", the pointer of a parameter problem). ``offender`` is who sent the error (16 bytes),
    ``dev`` where it came in.
    """

    def __call__(
        self, quoted: bytes, offset: int, type: int, code: int, info: int, offender: bytes, dev: NetDevice
    ) -> None: ...


class Inet6Net:
    """Tables, counters and settings of one namespace's IPv6. `net.get(Inet6Net)`.

    ``protos`` maps a protocol number to the function that takes its packets: ``skb.data`` and ``transport_header`` at
    its header, ``network_header`` at IPv6's, extension headers between them. ``errors`` maps it to the one that hears
    of ICMPv6 errors. ``raw_deliver(skb, protocol)`` gives copies to raw sockets and says whether there was one; None
    while there are no raw sockets. ``raw_error`` (the arguments of `ErrorHandler6` with the protocol in front) is the
    same for errors. ``echo_reply(skb)`` takes echo replies (ping sockets); the packet stays the caller's.
    ``early_demux``: the 36 bytes of addresses and ports as on the wire -> the Sock of a connection; not asked when the
    source is link-local. ``udp_early`` is UDP's short way, see `udp6_input.make_early`. ``nf`` are
    the netfilter hooks, None while IPv6 has none, ``mroute`` the multicast routes, None while nobody asked for any.
    """

    __slots__ = (
        "bindv6only",
        "early_demux",
        "echo_reply",
        "errors",
        "fib6",
        "forwarding",
        "inet",
        "kernel",
        "mibs",
        "mroute",
        "nd",
        "net",
        "nf",
        "nonlocal_bind",
        "protos",
        "raw_deliver",
        "raw_error",
        "routers",
        "state",
        "udp_early",
    )

    def __init__(self, net: Net, inet: InetNet) -> None:
        self.net = net
        self.kernel = net.kernel
        self.inet = inet
        self.mibs = Mibs6()
        self.fib6 = Fib6Table()
        self.protos: dict[int, Callable[[SkBuff], None]] = {}
        self.errors: dict[int, ErrorHandler6] = {}
        self.early_demux: dict[bytes, Any] = {}
        self.raw_deliver: Callable[[SkBuff, int], bool] | None = None
        self.raw_error: Callable[[int, bytes, int, int, int, int, bytes, NetDevice], None] | None = None
        self.echo_reply: Callable[[SkBuff], None] | None = None
        self.nf: Netfilter | None = None
        self.mroute: Ip6mr | None = None
        self.udp_early: Callable[[SkBuff, bytes], bool] | None = None
        #: The neighbour table; `ndisc.setup` makes it.
        self.nd: NeighTable
        #: Which routers answer; `router_pref.setup` makes it.
        self.routers: RouterChoice
        self.forwarding = False
        self.bindv6only = False
        self.nonlocal_bind = False
        #: Per-protocol state of this namespace, by name ("icmp6", "frag", "udp6", ...).
        self.state: dict[str, object] = {}
        net.sysctl.register_lazy("net.ipv6", self._register_sysctls)

    def _register_sysctls(self) -> None:
        sysctl = self.net.sysctl
        sysctl.register_bool("net.ipv6.bindv6only", False, on_change=self._set_bindv6only)
        sysctl.register_bool("net.ipv6.ip_nonlocal_bind", False, on_change=self._set_nonlocal_bind)

    def _set_bindv6only(self, value: bool) -> None:
        self.bindv6only = value

    def _set_nonlocal_bind(self, value: bool) -> None:
        self.nonlocal_bind = value
