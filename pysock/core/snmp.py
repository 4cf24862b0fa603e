"""SNMP: all counters of one network namespace, their /proc text, and what a stretch of work changed.

`Mibs` is what a `Net` holds (struct netns_mib). The packet path counts on the groups directly,
`net.mibs.tcp.InSegs += 1`; only ICMP, whose messages are counted twice, has helpers. `snapshot` and `delta`
use the names of nstat(8): "TcpInSegs", "TcpExtDelayedACKs".
"""

from __future__ import annotations

from pysock.core.mibs import (
    IcmpMib,
    IcmpMsgMib,
    IpExtMib,
    IpMib,
    Mib,
    TcpExtMib,
    TcpMib,
    UdpLiteMib,
    UdpMib,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

__all__ = ["Mibs", "delta", "format_proc"]

# RFC 792 message types that have a field of their own, without the In or Out in front.
_ICMP_FIELDS: Final = {
    0: "EchoReps",
    3: "DestUnreachs",
    4: "SrcQuenchs",
    5: "Redirects",
    8: "Echos",
    11: "TimeExcds",
    12: "ParmProbs",
    13: "Timestamps",
    14: "TimestampReps",
    17: "AddrMasks",
    18: "AddrMaskReps",
}


def format_proc(mibs: Iterable[Mib]) -> str:
    """The text of /proc/net/snmp or netstat for `mibs`: a line of names and a line of values each, none for
    a group without counters (IcmpMsg before the first message).
    """
    lines: list[str] = []
    for mib in mibs:
        counts = mib.as_dict()
        if counts:
            lines.append(f"{mib.prefix}: {' '.join(counts)}\n")
            lines.append(f"{mib.prefix}: {' '.join(map(str, counts.values()))}\n")
    return "".join(lines)


def delta(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What changed between two snapshots, without what did not; a name missing on one side counts as 0
    there.
    """
    names = list(after) + [name for name in before if name not in after]
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in names}
    return {name: change for name, change in changes.items() if change}


class Mibs:
    """Every counter of one network namespace."""

    __slots__ = ("icmp", "icmpmsg", "ip", "ipext", "tcp", "tcpext", "udp", "udplite")

    def __init__(self) -> None:
        self.ip = IpMib()
        self.icmp = IcmpMib()
        self.icmpmsg = IcmpMsgMib()
        self.tcp = TcpMib()
        self.udp = UdpMib()
        self.udplite = UdpLiteMib()
        self.tcpext = TcpExtMib()
        self.ipext = IpExtMib()

    def icmp_in(self, kind: int) -> None:
        """Count a valid ICMP message received, by its type byte (ICMPMSGIN_INC_STATS). `icmp.InMsgs` counts
        the bad ones too and is the receiver's to raise.
        """
        received = self.icmpmsg.received
        received[kind] = received.get(kind, 0) + 1
        field = _ICMP_FIELDS.get(kind)
        if field is not None:
            name = "In" + field
            setattr(self.icmp, name, getattr(self.icmp, name) + 1)

    def icmp_out(self, kind: int) -> None:
        """Count an ICMP message sent, by its type byte, in `icmp.OutMsgs` too (icmp_out_count)."""
        self.icmp.OutMsgs += 1
        sent = self.icmpmsg.sent
        sent[kind] = sent.get(kind, 0) + 1
        field = _ICMP_FIELDS.get(kind)
        if field is not None:
            name = "Out" + field
            setattr(self.icmp, name, getattr(self.icmp, name) + 1)

    def all(self) -> tuple[Mib, ...]:
        """The groups, in the order of /proc/net/snmp and then netstat."""
        return (*self._snmp(), *self._netstat())

    def proc_snmp(self) -> str:
        """The text of /proc/net/snmp."""
        return format_proc(self._snmp())

    def proc_netstat(self) -> str:
        """The text of /proc/net/netstat."""
        return format_proc(self._netstat())

    def snapshot(self) -> dict[str, int]:
        """Every counter now, as nstat names it; compare two with `delta`."""
        return {mib.prefix + name: value for mib in self.all() for name, value in mib.as_dict().items()}

    def _snmp(self) -> tuple[Mib, ...]:
        return (self.ip, self.icmp, self.icmpmsg, self.tcp, self.udp, self.udplite)

    def _netstat(self) -> tuple[Mib, ...]:
        return (self.tcpext, self.ipext)
