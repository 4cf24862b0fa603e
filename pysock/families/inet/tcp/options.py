"""The SYN's segments: they carry options, so they are built with the wire's builder instead of the fast templates.

Options of a SYN: MSS, SACK is not offered, timestamps, window scale (RFC 9293 3.7.1, RFC 7323).
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from pysock.core.clock import NSEC_PER_MSEC
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.wire.tcp import CHECKSUM_OFFSET, HEADER
from pysock.wire.tcp_options import MAX_WSCALE, TcpOptions, build_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.net import TcpNet

M32 = 0xFFFFFFFF
_stamps = Struct("!II").pack


def syn_options(mss: int, wscale: int, ts_val: int | None, ts_ecr: int) -> bytes:
    """The option bytes of a SYN or SYN-ACK; ``wscale`` -1 and ``ts_val`` None leave theirs out."""
    template = _syn_template(mss, wscale, ts_val is not None)
    if ts_val is None:
        return template
    return template[:8] + _stamps(ts_val & M32, ts_ecr & M32) + template[16:]


@lru_cache(maxsize=64)
def _syn_template(mss: int, wscale: int, timestamps: bool) -> bytes:
    """The options with zero timestamps, which stand at [8:16], behind the MSS and their own header."""
    stamps = (0, 0) if timestamps else None
    return build_options(TcpOptions(mss=mss, wscale=wscale if wscale >= 0 else None, timestamps=stamps))


def syn_segment(ports: bytes, seq: int, ack: int, flags: int, window: int, pseudo: int, options: bytes) -> SkBuff:
    """An sk_buff with one SYN or SYN-ACK. ``pseudo`` is the pseudo header's sum for a 20-byte segment."""
    length = 20 + len(options)
    sport, dport = int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")
    head = HEADER.pack(
        sport,
        dport,
        seq & M32,
        ack & M32,
        (length // 4) << 12 | flags,
        min(window, 0xFFFF),
        (pseudo + len(options)) % 0xFFFF,
        0,
    )
    skb = SkBuff(head + options, 0, length)
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.csum_offset = CHECKSUM_OFFSET
    return skb


def choose_wscale(tcp: TcpNet, rcvbuf: int) -> int:
    """The shift that lets the largest receive buffer be offered (tcp_select_initial_window); -1 when scaling is off."""
    if not tcp.window_scaling:
        return -1
    return _shift_for(max(rcvbuf, tcp.rmem[2]))


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


def pseudo_sum(saddr: bytes, daddr: bytes, length: int) -> int:
    """The sum of the IPv4 pseudo header's words for TCP, not folded (RFC 9293 3.1)."""
    a = int.from_bytes(saddr, "big")
    b = int.from_bytes(daddr, "big")
    return (a >> 16) + (a & 0xFFFF) + (b >> 16) + (b & 0xFFFF) + 6 + length
