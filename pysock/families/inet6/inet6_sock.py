"""What an AF_INET6 socket has on top of an InetSock: its IPv6 addresses and options (struct ipv6_pinfo), and its names.

A v6 socket is an `InetSock` of the class that its protocol has in inet, with a `Pinfo6` in ``pinet6``; see
`inet.v6part` for what its IPv4 half looks like.
"""

from __future__ import annotations

from operator import attrgetter

from pysock.families.inet.v6part import NOWHERE
from pysock.families.inet6.addr import ANY6, host_text, is_v4mapped, needs_scope, v4_of, v4mapped
from pysock.families.inet6.ip6_output import FlowPart
from pysock.uapi.in6 import IPV6_PMTUDISC_WANT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet6.mcast_sock import Membership
    from pysock.families.inet6.net import Inet6Net

# Pinfo6.rxopt: which control messages the program wants (struct ipv6_pinfo, rxopt).
RX_PKTINFO: Final = 1 << 0
RX_HOPLIMIT: Final = 1 << 1
RX_TCLASS: Final = 1 << 2
RX_FLOWINFO: Final = 1 << 3
RX_HOPOPTS: Final = 1 << 4
RX_DSTOPTS: Final = 1 << 5
RX_RTHDR: Final = 1 << 6
RX_ORIGDSTADDR: Final = 1 << 7
RX_FRAGSIZE: Final = 1 << 8
RX_PATHMTU: Final = 1 << 9
# The same in RFC 2292's numbering.
RX_2292_PKTINFO: Final = 1 << 10
RX_2292_HOPLIMIT: Final = 1 << 11
RX_2292_HOPOPTS: Final = 1 << 12
RX_2292_DSTOPTS: Final = 1 << 13
RX_2292_RTHDR: Final = 1 << 14


class ExtOptions:
    """Extension headers to send (struct ipv6_txoptions), each whole but for its next-header byte; b"": none."""

    __slots__ = ("dst0opt", "dst1opt", "hopopt", "rthdr")

    def __init__(self) -> None:
        self.hopopt = self.dst0opt = self.rthdr = self.dst1opt = b""

    def __bool__(self) -> bool:
        return bool(self.hopopt or self.dst0opt or self.rthdr or self.dst1opt)

    def size(self) -> int:
        """Bytes that they take in a packet; those before a routing header only with one."""
        return len(self.hopopt) + len(self.rthdr) + len(self.dst1opt) + (len(self.dst0opt) if self.rthdr else 0)


class Pinfo6(FlowPart):
    """``peer_flow`` is the flow info that the program gave with the peer's address, under IPV6_FLOWINFO_SEND.

    ``mc_hops`` is -1 for the default; ``mc_list`` holds what was joined. ``sticky`` are the extension headers,
    ``sticky_oif`` the device, that setsockopt gave to every datagram. ``rxpmtu`` is what IPV6_RECVPATHMTU has to
    report: where to, and the MTU.
    """

    __slots__ = (
        "autoflowlabel",
        "dontfrag",
        "frag_size",
        "mc_all",
        "mc_hops",
        "mc_index",
        "mc_list",
        "mc_loop",
        "peer_flow",
        "pmtudisc",
        "recverr",
        "recverr_rfc4884",
        "rtalert",
        "rtalert_isolate",
        "rxopt",
        "rxpmtu",
        "send_flow",
        "sticky",
        "sticky_oif",
        "unicast_if",
    )

    def __init__(self, inet6: Inet6Net) -> None:
        FlowPart.__init__(self, inet6)
        self.only = inet6.bindv6only
        self.peer_flow = self.rxopt = self.frag_size = 0
        self.mc_index = self.unicast_if = self.sticky_oif = 0
        self.mc_hops = -1
        self.mc_list: list[Membership] | None = None
        self.mc_loop = self.mc_all = self.autoflowlabel = True
        self.recverr = self.recverr_rfc4884 = self.send_flow = self.dontfrag = False
        self.rtalert = self.rtalert_isolate = False
        self.pmtudisc = IPV6_PMTUDISC_WANT
        self.sticky: ExtOptions | None = None
        self.rxpmtu: tuple[bytes, int] | None = None


    def inherit(self, other: Pinfo6) -> None:
        """Take the options of a listener over, but not what it joined (tcp_v6_syn_recv_sock)."""
        (
            self.only,
            self.hop_limit,
            self.tclass,
            self.prefs,
            self.autoflowlabel,
            self.dontfrag,
            self.frag_size,
            self.mc_all,
            self.mc_hops,
            self.mc_index,
            self.mc_loop,
            self.min_hopcount,
            self.pmtudisc,
            self.recverr,
            self.recverr_rfc4884,
            self.rtalert_isolate,
            self.rxopt,
            self.send_flow,
            self.sticky,
            self.sticky_oif,
            self.unicast_if,
        ) = _INHERITED(other)


_INHERITED: Final = attrgetter(
    "only",
    "hop_limit",
    "tclass",
    "prefs",
    "autoflowlabel",
    "dontfrag",
    "frag_size",
    "mc_all",
    "mc_hops",
    "mc_index",
    "mc_loop",
    "min_hopcount",
    "pmtudisc",
    "recverr",
    "recverr_rfc4884",
    "rtalert_isolate",
    "rxopt",
    "send_flow",
    "sticky",
    "sticky_oif",
    "unicast_if",
)


def pinfo(sk: InetSock) -> Pinfo6:
    """The IPv6 half of an AF_INET6 socket (inet6_sk)."""
    part = sk.pinet6
    assert isinstance(part, Pinfo6)
    return part


def is_mapped(sk: InetSock) -> bool:
    """Whether an AF_INET6 socket is bound or connected to a v4-mapped address, and so speaks IPv4."""
    return is_v4mapped(pinfo(sk).rcv_saddr)


def set_local(sk: InetSock, addr: bytes) -> None:
    """Give the socket the local address, 16 bytes, and the IPv4 one that belongs to it."""
    part = pinfo(sk)
    part.saddr = part.rcv_saddr = addr
    if addr == ANY6:
        sk.saddr = sk.rcv_saddr = bytes(4)
    elif is_v4mapped(addr):
        sk.saddr = sk.rcv_saddr = v4_of(addr)
    else:
        sk.saddr = sk.rcv_saddr = NOWHERE


def adopt_v4(sk: InetSock) -> None:
    """The IPv4 half was connected: the IPv6 half shows it, v4-mapped."""
    part = pinfo(sk)
    part.daddr = v4mapped(sk.daddr)
    part.rcv_saddr = v4mapped(sk.rcv_saddr)
    part.saddr = v4mapped(sk.saddr)


def sockaddr(addr: bytes, port: int, ifindex: int, flowinfo: int = 0) -> tuple[str, int, int, int]:
    """The address tuple of 16 bytes and a port; the scope id is ``ifindex`` where the address needs one."""
    return host_text(addr), port, flowinfo, ifindex if needs_scope(addr) else 0
