"""The SYN's segments, which carry options that no other segment has.

Options of a SYN: MSS, SACK permitted (RFC 2018), timestamps, window scale (RFC 9293 3.7.1, RFC 7323).
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from pysock.core.clock import NSEC_PER_MSEC
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.wire.tcp import CHECKSUM_OFFSET
from pysock.wire.tcp_options import MAX_WSCALE, TIMESTAMPS_WORD, TcpOptions, build_options, parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.net import TcpNet

M32 = 0xFFFFFFFF
_stamps = Struct("!II").pack
#: ports | seq | ack | offset+flags | window | checksum | urgent
_pack = Struct("!4sIIHHHH").pack
#: the options of a SYN as Linux and we lay them out: MSS | timestamps behind two bytes, NOPs or SACK | NOP, scale
_LAYOUT = Struct("!HHIIII")
_MSS_HEADER = 0x0204
_SACK_TIMESTAMPS_WORD = 0x0402080A
_WSCALE_HEADER = 0x010303


def syn_options(mss: int, wscale: int, ts_val: int | None, ts_ecr: int, sack: bool) -> bytes:
    """The option bytes of a SYN or SYN-ACK; ``wscale`` -1 and ``ts_val`` None leave theirs out."""
    template = _syn_template(mss, wscale, ts_val is not None, sack)
    if ts_val is None:
        return template
    return template[:8] + _stamps(ts_val & M32, ts_ecr & M32) + template[16:]


@lru_cache(maxsize=64)
def _syn_template(mss: int, wscale: int, timestamps: bool, sack: bool) -> bytes:
    """The options with zero timestamps, which stand at [8:16], behind the MSS and their own header."""
    stamps = (0, 0) if timestamps else None
    return build_options(TcpOptions(mss, sack, stamps, wscale if wscale >= 0 else None))


def parse_syn_options(raw: bytes) -> TcpOptions:
    """What the option bytes say, up to the first bad one (tcp_parse_options)."""
    if len(raw) == _LAYOUT.size:
        head, mss, word, value, echo, tail = _LAYOUT.unpack(raw)
        if head == _MSS_HEADER and tail >> 8 == _WSCALE_HEADER:
            if word == TIMESTAMPS_WORD:
                return TcpOptions(mss, False, (value, echo), tail & 0xFF)
            if word == _SACK_TIMESTAMPS_WORD:
                return TcpOptions(mss, True, (value, echo), tail & 0xFF)
    return parse_options(raw, strict=False)


def syn_segment(ports: bytes, seq: int, ack: int, flags: int, window: int, pseudo: int, options: bytes) -> SkBuff:
    """An sk_buff with one SYN or SYN-ACK. ``pseudo`` is the pseudo header's sum for a 20-byte segment."""
    length = 20 + len(options)
    head = _pack(
        ports, seq & M32, ack & M32, (length >> 2) << 12 | flags, window, (pseudo + len(options)) % 0xFFFF, 0
    )
    skb = SkBuff(head + options, 0, length)
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.csum_offset = CHECKSUM_OFFSET
    return skb


def choose_wscale(tcp: TcpNet, rcvbuf: int, clamp: int = 0) -> int:
    """The shift that lets the largest receive buffer be offered, or ``clamp`` bytes if that is not 0
    (tcp_select_initial_window); -1 when scaling is off.
    """
    if not tcp.window_scaling:
        return -1
    space = max(rcvbuf, tcp.rmem[2])
    return _shift_for(min(space, clamp) if clamp else space)


@lru_cache(maxsize=64)
def _shift_for(space: int) -> int:
    scale = 0
    while space > 0xFFFF and scale < MAX_WSCALE:
        space >>= 1
        scale += 1
    return scale


def timestamp_now(now: int, offset: int) -> int:
    """The value of the timestamp clock (1 ms a tick) of a connection at ``now`` (ns)."""
    return (now // NSEC_PER_MSEC + offset) & M32


@lru_cache(maxsize=4096)
def pseudo_sum(saddr: bytes, daddr: bytes, length: int) -> int:
    """The sum of the pseudo header's words for TCP over either version, not folded (RFC 9293 3.1)."""
    return int.from_bytes(saddr + daddr, "big") % 0xFFFF + 6 + length
