"""The counters of IPv6 in one network namespace, under the names of /proc/net/snmp6 (net/ipv6/proc.c).

Same manners as core/mibs.py. TCP's counters are shared by both families; what follows is IPv6's own. `Mibs6` is what an
`Inet6Net` holds.
"""

from __future__ import annotations

from pysock.core.mibs import Mib, UdpMib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["Icmp6Mib", "Icmp6MsgMib", "Ip6Mib", "Mibs6", "Udp6Mib", "UdpLite6Mib"]


class Ip6Mib(Mib):
    """IPv6 (RFC 4293). There are no settings among them, as there are in IPv4's."""

    prefix = "Ip6"
    names = (
        "InReceives", "InHdrErrors", "InTooBigErrors", "InNoRoutes", "InAddrErrors", "InUnknownProtos",
        "InTruncatedPkts", "InDiscards", "InDelivers", "OutForwDatagrams", "OutRequests", "OutDiscards", "OutNoRoutes",
        "ReasmTimeout", "ReasmReqds", "ReasmOKs", "ReasmFails", "FragOKs", "FragFails", "FragCreates", "InMcastPkts",
        "OutMcastPkts", "InOctets", "OutOctets", "InMcastOctets", "OutMcastOctets", "InBcastOctets", "OutBcastOctets",
        "InNoECTPkts", "InECT1Pkts", "InECT0Pkts", "InCEPkts", "OutTransmits",
    )  # fmt: skip
    __slots__ = names

    def __init__(self) -> None:
        self.InReceives = self.InHdrErrors = self.InTooBigErrors = self.InNoRoutes = self.InAddrErrors = 0
        self.InUnknownProtos = self.InTruncatedPkts = self.InDiscards = self.InDelivers = 0
        self.OutForwDatagrams = self.OutRequests = self.OutDiscards = self.OutNoRoutes = 0
        self.ReasmTimeout = self.ReasmReqds = self.ReasmOKs = self.ReasmFails = 0
        self.FragOKs = self.FragFails = self.FragCreates = self.InMcastPkts = self.OutMcastPkts = 0
        self.InOctets = self.OutOctets = self.InMcastOctets = self.OutMcastOctets = 0
        self.InBcastOctets = self.OutBcastOctets = self.InNoECTPkts = self.InECT1Pkts = 0
        self.InECT0Pkts = self.InCEPkts = self.OutTransmits = 0


#: ICMPv6 types that have a field of their own, without the In or Out in front (icmp6type2name).
_ICMP6_FIELDS: Final = {
    1: "DestUnreachs",
    2: "PktTooBigs",
    3: "TimeExcds",
    4: "ParmProblems",
    128: "Echos",
    129: "EchoReplies",
    130: "GroupMembQueries",
    131: "GroupMembResponses",
    132: "GroupMembReductions",
    133: "RouterSolicits",
    134: "RouterAdvertisements",
    135: "NeighborSolicits",
    136: "NeighborAdvertisements",
    137: "Redirects",
    143: "MLDv2Reports",
}


class Icmp6Mib(Mib):
    """ICMPv6 beside its messages by type (RFC 4293)."""

    prefix = "Icmp6"
    names = ("InMsgs", "InErrors", "OutMsgs", "OutErrors", "InCsumErrors", "OutRateLimitHost")
    __slots__ = names

    def __init__(self) -> None:
        self.InMsgs = self.InErrors = self.OutMsgs = self.OutErrors = self.InCsumErrors = self.OutRateLimitHost = 0


class Icmp6MsgMib(Mib):
    """ICMPv6 messages by type: those with a name always, by number only the types that were seen."""

    prefix = "Icmp6"
    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received: dict[int, int] = {}
        self.sent: dict[int, int] = {}

    def as_dict(self) -> dict[str, int]:
        counts = {f"In{name}": self.received.get(kind, 0) for kind, name in _ICMP6_FIELDS.items()}
        counts.update((f"Out{name}", self.sent.get(kind, 0)) for kind, name in _ICMP6_FIELDS.items())
        counts.update((f"InType{kind}", self.received[kind]) for kind in sorted(self.received))
        counts.update((f"OutType{kind}", self.sent[kind]) for kind in sorted(self.sent))
        return counts


class Udp6Mib(UdpMib):
    """UDP over IPv6 (RFC 4113)."""

    prefix = "Udp6"
    __slots__ = ()


class UdpLite6Mib(UdpMib):
    """UDP-Lite over IPv6."""

    prefix = "UdpLite6"
    __slots__ = ()


class Mibs6:
    """Every counter of one namespace's IPv6."""

    __slots__ = ("icmp6", "icmp6msg", "ip6", "udp6", "udplite6")

    def __init__(self) -> None:
        self.ip6 = Ip6Mib()
        self.icmp6 = Icmp6Mib()
        self.icmp6msg = Icmp6MsgMib()
        self.udp6 = Udp6Mib()
        self.udplite6 = UdpLite6Mib()

    def icmp6_in(self, kind: int) -> None:
        """Count a message received, by its type byte (ICMP6MSGIN_INC_STATS)."""
        received = self.icmp6msg.received
        received[kind] = received.get(kind, 0) + 1

    def icmp6_out(self, kind: int) -> None:
        """Count a message sent, by its type byte, and in `icmp6.OutMsgs` (icmp6_out_count)."""
        self.icmp6.OutMsgs += 1
        sent = self.icmp6msg.sent
        sent[kind] = sent.get(kind, 0) + 1

    def all(self) -> tuple[Mib, ...]:
        """The groups, in the order of /proc/net/snmp6."""
        return (self.ip6, self.icmp6, self.icmp6msg, self.udp6, self.udplite6)

    def snapshot(self) -> dict[str, int]:
        """Every counter now, as nstat names it."""
        return {mib.prefix + name: value for mib in self.all() for name, value in mib.as_dict().items()}

    def proc_snmp6(self) -> str:
        """The text of /proc/net/snmp6: a counter a line."""
        return "".join(f"{name:<32}\t{value}\n" for name, value in self.snapshot().items())
