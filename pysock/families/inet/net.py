"""InetNet: everything AF_INET keeps per network namespace (struct netns_ipv4), and the entry of its packets.

The packet handler of ETH_P_IP is a bound method of this object, so the receive path starts with its tables at hand.
Protocols add themselves to ``protos`` when the namespace is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pysock.core.snmp import Mibs
from pysock.families.inet.devconf import confs_of
from pysock.families.inet.fib import FibTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.neighbour_table import NeighTable
    from pysock.core.net import Net
    from pysock.core.netfilter import Netfilter
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.ip_forward import Forwarder
    from pysock.families.inet.ipmr import Ipmr
    from pysock.families.inet.protosw import ProtocolSwitch


class ErrorHandler(Protocol):
    """How a transport hears of an ICMP error: ``quoted`` is the offending datagram's IP header and what follows it,
    ``info`` the next-hop MTU for "fragmentation needed", else 0 (net_protocol.err_handler)."""

    def __call__(self, quoted: bytes, header_len: int, type: int, code: int, info: int) -> None: ...


class InetNet:
    """Tables, counters and settings of one namespace's IPv4.

    ``protos`` maps a protocol number to the function that takes its datagrams (data at the transport header),
    ``errors`` to the one that hears of ICMP errors about them. ``raw_deliver`` gives copies to raw sockets, None
    while there are none. ``early_demux`` finds the socket of an incoming segment before routing (tcp_early_demux):
    the 12 bytes of addresses and ports as on the wire -> its Sock. ``arp`` are the neighbours. ``nf`` are the netfilter
    hooks, None while IPv4 has none; ``mroute`` the multicast routes, None while nobody asked for any.
    """

    __slots__ = (
        "arp",
        "default_ttl",
        "early_demux",
        "errors",
        "fib",
        "forwarder",
        "forwarding",
        "ids",
        "kernel",
        "local_port_range",
        "mibs",
        "mroute",
        "net",
        "nf",
        "nonlocal_bind",
        "protos",
        "protosw",
        "raw_deliver",
        "state",
        "unprivileged_port_start",
    )

    def __init__(self, net: Net, protosw: ProtocolSwitch) -> None:
        self.net = net
        self.kernel = net.kernel
        self.protosw = protosw
        self.mibs = Mibs()
        self.fib = FibTable()
        self.arp: NeighTable = None  # type: ignore[assignment]  # arp.setup() makes it
        self.forwarder: Forwarder = None  # type: ignore[assignment]  # ip_forward.setup() makes it
        self.protos: dict[int, Callable[[SkBuff], None]] = {}
        self.errors: dict[int, ErrorHandler] = {}
        self.early_demux: dict[bytes, Any] = {}
        self.raw_deliver: Callable[[SkBuff, int], bool] | None = None
        self.nf: Netfilter | None = None
        self.mroute: Ipmr | None = None
        self.ids = net.kernel.random("ip.id")
        self.default_ttl = 64
        self.forwarding = False
        self.nonlocal_bind = False
        self.local_port_range = (32768, 60999)
        self.unprivileged_port_start = 1024
        #: Per-protocol tables of this namespace, by protocol name ("tcp", "udp", ...).
        self.state: dict[str, object] = {}
        net.sysctl.register_lazy("net.ipv4", self._register_sysctls)

    def _register_sysctls(self) -> None:
        sysctl = self.net.sysctl
        sysctl.register_int("net.ipv4.ip_default_ttl", 64, minimum=1, maximum=255, on_change=self._set_default_ttl)
        sysctl.register_bool("net.ipv4.ip_forward", False, on_change=self._set_forwarding)
        sysctl.register_bool("net.ipv4.ip_nonlocal_bind", False, on_change=self._set_nonlocal_bind)
        sysctl.register_ints(
            "net.ipv4.ip_local_port_range", (32768, 60999), minimum=1, maximum=65535, on_change=self._set_port_range
        )
        sysctl.register_int(
            "net.ipv4.ip_unprivileged_port_start", 1024, minimum=0, maximum=65535, on_change=self._set_unprivileged
        )

    def _set_default_ttl(self, value: int) -> None:
        self.default_ttl = self.mibs.ip.DefaultTTL = value
        self.fib.flush()  # connections keep the TTL in their cached headers

    def _set_forwarding(self, value: bool) -> None:
        self.forwarding = value
        self.mibs.ip.Forwarding = 1 if value else 2
        confs_of(self).set_forwarding(int(value))

    def _set_nonlocal_bind(self, value: bool) -> None:
        self.nonlocal_bind = value

    def _set_port_range(self, value: tuple[int, ...]) -> None:
        self.local_port_range = (value[0], value[1])

    def _set_unprivileged(self, value: int) -> None:
        self.unprivileged_port_start = value
