"""Resets for segments that no connection wants (tcp_v4_send_reset, RFC 9293 3.10.7.1), and ACKs from sockets without
state.
"""

from __future__ import annotations

from struct import Struct

from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.families.inet.tcp.af import addresses, af_of
from pysock.families.inet.tcp.options import M32, pseudo_sum
from pysock.wire.tcp import ACK, CHECKSUM_OFFSET, FIN, RST, SYN
from pysock.wire.tcp_options import TIMESTAMPS_WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.input import SegmentInfo
    from pysock.families.inet.tcp.net import TcpNet

_pack = Struct("!4sIIHHHH").pack
_pack_option = Struct("!III").pack


def send_bare(
    tcp: TcpNet,
    key: bytes,
    seq: int,
    ack: int,
    flags: int,
    window: int = 0,
    timestamps: tuple[int, int] | None = None,
    oif: int = 0,
) -> None:
    """A segment without payload and without a socket. ``key`` is the flow of the segment that it answers, ``oif`` the
    device it has to leave by, if that matters.
    """
    af = af_of(tcp, key)
    daddr, saddr = addresses(key)
    ports = key[-2:] + key[-4:-2]
    options = b"" if timestamps is None else _pack_option(TIMESTAMPS_WORD, timestamps[0] & M32, timestamps[1] & M32)
    length = 20 + len(options)
    rt = af.route(daddr, saddr, oif)
    if rt is None:
        return
    head = _pack(
        ports, seq & M32, ack & M32, (length // 4) << 12 | flags, window, pseudo_sum(saddr, daddr, length) % 0xFFFF, 0
    )
    skb = SkBuff(head + options, 0, length)
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.csum_offset = CHECKSUM_OFFSET
    tcp.inet.mibs.tcp.OutSegs += 1
    af.send(rt, skb, None)


def send_reset_for(tcp: TcpNet, skb: SkBuff, info: SegmentInfo, key: bytes) -> None:
    """Answer an unwanted segment with a reset; never one to a reset."""
    if info.flags & RST:
        return
    tcp.inet.mibs.tcp.OutRsts += 1
    oif = af_of(tcp, key).scope(key, skb)
    if info.flags & ACK:
        send_bare(tcp, key, info.ack, 0, RST, oif=oif)
    else:
        length = info.n + bool(info.flags & SYN) + bool(info.flags & FIN)
        send_bare(tcp, key, 0, info.seq + length, RST | ACK, oif=oif)
