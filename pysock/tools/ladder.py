"""Captured packets as a ladder: two columns, time downwards, an arrow for each packet.

    time (s)   127.0.0.1:39147                              127.0.0.1:8080
      0.000000 ├─ SYN seq 0 win 65535 ────────────────────────────────────▶│
      0.000104 │◀─────────────────────────── SYN ACK seq 0 ack 1 win 65535 ─┤

One ladder a conversation (TCP or UDP between two endpoints), whoever spoke first on the left. Sequence numbers count
from each side's first one. Windows show in SYNs, and when they are closed. A segment that repeats bytes is marked
"again". What belongs to no conversation (ARP, ICMP, fragments, packets that were cut) follows as tcpdump's lines.
"""

from __future__ import annotations

from pysock.tools import tcpdump
from pysock.wire import ipv4, ipv6, tcp, udp
from pysock.wire.addr import inet6_ntoa, inet_ntoa
from pysock.wire.decode import Data
from pysock.wire.errors import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pysock.lab.pcapng import Packet

    #: A host's address in text and its port.
    Endpoint = tuple[str, int]

_M32 = 0xFFFFFFFF
_TIME = 11  # columns of the time
_HINT = 44  # the longest piece of payload that is quoted


class _Marks:
    """What the lines are drawn with."""

    __slots__ = ("ellipsis", "from_left", "from_right", "into_left", "into_right", "line", "rail")

    def __init__(self, ascii: bool) -> None:
        marks = ("-", "|", "|", "|", "<", ">", "...") if ascii else ("─", "│", "├", "┤", "◀", "▶", "…")
        self.line, self.rail, self.from_left, self.from_right, self.into_left, self.into_right, self.ellipsis = marks


class _Side:
    """What is known of one direction of a conversation."""

    __slots__ = ("base", "edge")

    def __init__(self) -> None:
        self.base = -1  # first sequence number
        self.edge = 0  # behind the highest byte seen, relative


class Conversation:
    """The packets between two endpoints; `first` spoke first. ``rows`` is (time in ns, from first?, label)."""

    __slots__ = ("_sides", "first", "protocol", "rows", "second")

    def __init__(self, protocol: str, first: Endpoint, second: Endpoint) -> None:
        self.protocol = protocol
        self.first = first
        self.second = second
        self.rows: list[tuple[int, bool, str]] = []
        self._sides = {True: _Side(), False: _Side()}

    def add(self, packet: Packet, forth: bool, header: tcp.TcpHeader | udp.UdpHeader, payload: bytes) -> None:
        if isinstance(header, tcp.TcpHeader):
            label = self._tcp(forth, header, payload)
        else:
            label = " ".join(("UDP", f"len {len(payload)}", hint(payload))).rstrip()
        self.rows.append((packet.time_ns, forth, label))

    def _tcp(self, forth: bool, header: tcp.TcpHeader, payload: bytes) -> str:
        mine, other = self._sides[forth], self._sides[not forth]
        flags, n = header.flags, len(payload)
        if mine.base < 0:
            mine.base = header.seq
        seq = relative(header.seq, mine.base)
        parts = [flag_text(flags)]
        if n:
            parts.append(f"{seq}:{seq + n}")
        elif flags & (tcp.SYN | tcp.FIN | tcp.RST):
            parts.append(f"seq {seq}")
        if flags & tcp.ACK:
            if other.base < 0:
                other.base = header.ack - 1 & _M32  # the capture began in the middle
            parts.append(f"ack {relative(header.ack, other.base)}")
        parts.append(window_text(header))
        if n:
            parts.append(f"len {n}")
        end = seq + n + bool(flags & tcp.SYN) + bool(flags & tcp.FIN)
        if end > seq and end <= mine.edge:
            parts.append("again")
        mine.edge = max(mine.edge, end)
        if n:
            parts.append(hint(payload))
        return " ".join(part for part in parts if part)

    def is_restarted_by(self, header: tcp.TcpHeader | udp.UdpHeader, forth: bool) -> bool:
        """Whether ``header`` opens another connection between the same endpoints: a SYN with a number of its own."""
        if not isinstance(header, tcp.TcpHeader) or header.flags & (tcp.SYN | tcp.ACK) != tcp.SYN:
            return False
        return self._sides[forth].base not in (-1, header.seq)


def conversations(packets: Iterable[Packet]) -> tuple[list[Conversation], list[Packet]]:
    """The conversations in order of their first packets, and the packets that belong to none."""
    found: list[Conversation] = []
    current: dict[tuple[str, frozenset[Endpoint]], Conversation] = {}
    rest: list[Packet] = []
    for packet in packets:
        layers = tcpdump.layers(packet)
        payload = layers[-1].data if isinstance(layers[-1], Data) else b""
        header = layers[-2] if payload and len(layers) > 1 else layers[-1]
        names = [layer for layer in layers if isinstance(layer, (ipv4.Ipv4Header, ipv6.Ipv6Header))]
        if not names or not isinstance(header, (tcp.TcpHeader, udp.UdpHeader)):
            rest.append(packet)
            continue
        text = inet_ntoa if isinstance(names[-1], ipv4.Ipv4Header) else inet6_ntoa
        source, target = (text(names[-1].src), header.src_port), (text(names[-1].dst), header.dst_port)
        protocol = "TCP" if isinstance(header, tcp.TcpHeader) else "UDP"
        key = protocol, frozenset((source, target))
        talk = current.get(key)
        if talk is None or talk.is_restarted_by(header, source == talk.first):
            talk = current[key] = Conversation(protocol, source, target)
            found.append(talk)
        talk.add(packet, source == talk.first, header, payload)
    return found, rest


def ladder(packets: Iterable[Packet], width: int = 100, *, ascii: bool = False) -> str:
    """The diagrams of all ``packets``, at most ``width`` columns wide (60 or more); time counts from the first."""
    kept = list(packets)
    talks, rest = conversations(kept)
    if not kept:
        return "(no packets)"
    start = kept[0].time_ns
    blocks = ["\n".join(_draw(talk, start, max(width, 60), _Marks(ascii))) for talk in talks]
    if rest:
        blocks.append("\n".join(["other packets", *tcpdump.lines(rest)]))
    return "\n\n".join(blocks)


def _draw(talk: Conversation, start: int, width: int, marks: _Marks) -> list[str]:
    room = width - _TIME - 2  # between the rails
    first, second = (f"{host}:{port}" for host, port in (talk.first, talk.second))
    title = "time (s)".ljust(_TIME) + first + second.rjust(width - _TIME - len(first))
    found = [title.rstrip()]
    for time_ns, forth, label in talk.rows:
        if len(label) > room - 5:
            label = label[: room - 5 - len(marks.ellipsis)] + marks.ellipsis
        shaft = marks.line * (room - len(label) - 4)
        if forth:
            rung = f"{marks.from_left}{marks.line} {label} {shaft}{marks.into_right}{marks.rail}"
        else:
            rung = f"{marks.rail}{marks.into_left}{shaft} {label} {marks.line}{marks.from_right}"
        found.append(f"{(time_ns - start) / 1e9:{_TIME - 1}.6f} {rung}")
    return found


def relative(number: int, base: int) -> int:
    """A sequence number counted from ``base``, across the wrap; a little before it is negative."""
    return (number - base + 0x80000000 & _M32) - 0x80000000


def flag_text(flags: int) -> str:
    """``SYN ACK``; a mere ACK shows as such, with anything else but SYN it goes without saying."""
    names = tcp.flag_names(flags).split("|")
    if "ACK" in names and len(names) > 1 and "SYN" not in names:
        names.remove("ACK")
    return " ".join(names)


def window_text(header: tcp.TcpHeader) -> str:
    """The window where it says something: in a SYN, with the MSS, and when it is closed."""
    if not header.flags & tcp.SYN:
        return "" if header.window or header.flags & tcp.RST else "win 0"
    try:
        mss = tcp.parse_options(header.options).mss
    except Malformed:
        mss = None
    return f"win {header.window}" + (f" mss {mss}" if mss else "")


def hint(payload: bytes) -> str:
    """The first line of a payload that is text, quoted; nothing for what is not."""
    first = payload.split(b"\n", 1)[0].rstrip(b"\r")
    if not first or any(byte < 32 or byte > 126 for byte in first[: _HINT + 1]):
        return ""
    return f'"{first[:_HINT].decode()}{"..." if len(first) > _HINT else ""}"'
