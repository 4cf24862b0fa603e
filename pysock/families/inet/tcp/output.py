"""Segments out (net/ipv4/tcp_output.c).

`transmit_skb` builds the header of one segment and hands it with its payload to IP; every segment of a connection
leaves through it. `xmit_data` sends a new segment and remembers it for retransmission; `write_xmit` sends what
windows, Nagle and cork let through. The SYN's options are in `options.py`.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from pysock.core.clock import NEVER, NSEC_PER_MSEC
from pysock.families.inet.tcp import sack
from pysock.families.inet.tcp.sock import ATO_MIN, NAGLE_CORK, NAGLE_OFF, SEG_FIN, Segment, TcpSock
from pysock.families.inet.tcp.urgent import pointer_for
from pysock.wire.tcp import ACK, CHECKSUM_OFFSET, FIN, PSH, RST, URG
from pysock.wire.tcp_options import TIMESTAMPS_WORD, TcpOptions, build_options

M32 = 0xFFFFFFFF
#: ports | seq | ack | offset+flags | window | checksum | urgent
_pack = Struct("!4sIIHHHH").pack
#: the same, and NOP NOP timestamps
_pack_ts = Struct("!4sIIHHHHIII").pack
_OFFSET = 0x5000
_OFFSET_TS = 0x8000
PSH_ACK = PSH | ACK
#: the most payload one super-segment carries to a device that cuts it (or never has to)
GSO_MAX = 65536
#: what three SACK blocks take: a segment that has no room for them goes without
SACK_SPACE = 28


class _Blank(Segment):
    """A `Segment` that is filled in field by field, at half the price."""

    __slots__ = ()
    __init__ = object.__init__


def transmit_skb(
    sk: TcpSock,
    seq: int,
    flags: int,
    frags: tuple[bytes | memoryview, ...] = (),
    n: int = 0,
    gso_size: int = 0,
    urgent: int = 0,
) -> int:
    """tcp_transmit_skb(): one segment with ``n`` bytes of payload. Returns what IP said: 0 or a negative errno.

    It acknowledges all we have and so ends a delayed ACK.
    """
    rcv_nxt = sk.rcv_nxt
    if sk.rx_bytes or sk.ofo:
        if sk.ofo and sk.sack_ok and n + SACK_SPACE <= sk.mss:
            return transmit_sack(sk, seq, flags, sack.blocks(sk), frags, n, urgent)
        window = select_window(sk)
    else:
        window = sk.win_full
        edge = rcv_nxt + (window << sk.rcv_wscale)
        if edge >= sk.rcv_adv:
            sk.rcv_adv = edge
        else:
            window = select_window(sk)
    sk.rcv_wup = rcv_nxt
    sk.delack_at = NEVER
    sk.inet.mibs.tcp.OutSegs += 1
    if sk.ts_ok:
        header = _pack_ts(
            sk.ports,
            seq & M32,
            rcv_nxt & M32,
            _OFFSET_TS | flags,
            window,
            (sk.pseudo + 12 + n) % 0xFFFF,
            urgent,
            TIMESTAMPS_WORD,
            (sk.kernel.now // NSEC_PER_MSEC + sk.ts_offset) & M32,
            sk.ts_recent,
        )
    else:
        header = _pack(sk.ports, seq & M32, rcv_nxt & M32, _OFFSET | flags, window, (sk.pseudo + n) % 0xFFFF, urgent)
    xmit_segment = sk.af.xmit_segment
    return xmit_segment(sk, header, n, frags, CHECKSUM_OFFSET, gso_size)


def transmit_sack(
    sk: TcpSock,
    seq: int,
    flags: int,
    blocks: list[tuple[int, int]],
    frags: tuple[bytes | memoryview, ...] = (),
    n: int = 0,
    urgent: int = 0,
) -> int:
    """`transmit_skb` for a segment that carries SACK ``blocks``."""
    stamps = ((sk.kernel.now // NSEC_PER_MSEC + sk.ts_offset) & M32, sk.ts_recent) if sk.ts_ok else None
    edges = tuple((left & M32, right & M32) for left, right in blocks)
    options = build_options(TcpOptions(timestamps=stamps, sack=edges))
    size = 20 + len(options)
    window = select_window(sk)
    sk.rcv_wup = sk.rcv_nxt
    sk.delack_at = NEVER
    sk.inet.mibs.tcp.OutSegs += 1
    checksum = (sk.pseudo + len(options) + n) % 0xFFFF
    header = _pack(sk.ports, seq & M32, sk.rcv_nxt & M32, (size >> 2) << 12 | flags, window, checksum, urgent)
    xmit_segment = sk.af.xmit_segment
    return xmit_segment(sk, header + options, n, frags, CHECKSUM_OFFSET, 0)


def select_window(sk: TcpSock) -> int:
    """The window field to send: free space without shrinking what was offered before (tcp_select_window, RFC 9293
    3.8.6).
    """
    scale = sk.rcv_wscale
    free = sk.win_space - sk.rx_bytes
    if sk.ofo:
        free -= sum(seg.end_seq - seg.seq for seg in sk.ofo)
    offered = sk.rcv_adv - sk.rcv_nxt
    if offered < 0:
        offered = 0
    # Receiver-side silly-window avoidance (RFC 1122 4.2.3.3): no small steps.
    if free < (sk.win_space >> 4) or free < min(sk.rcv_mss, sk.win_space >> 1):
        free = 0
    window = free >> scale
    if window << scale < offered:
        window = (offered + (1 << scale) - 1) >> scale
    window = min(window, 0xFFFF)
    edge = sk.rcv_nxt + (window << scale)
    if edge > sk.rcv_adv:
        sk.rcv_adv = edge
    if window == 0:
        sk.inet.mibs.tcpext.TCPToZeroWindowAdv += 1
    return window


def send_ack(sk: TcpSock) -> None:
    """tcp_send_ack(): a segment without data."""
    if sk.quick:
        sk.quick -= 1
    transmit_skb(sk, sk.snd_nxt, ACK)


def send_dsack(sk: TcpSock, left: int, right: int) -> None:
    """An ACK that says that [left, right) came twice (RFC 2883)."""
    if sk.quick:
        sk.quick -= 1
    transmit_sack(sk, sk.snd_nxt, ACK, sack.blocks(sk, (left, right)))


def schedule_ack(sk: TcpSock) -> None:
    """Acknowledge within ATO_MIN unless a segment goes out before (tcp_send_delayed_ack)."""
    if sk.delack_at == NEVER:
        at = sk.delack_at = sk.kernel.now + ATO_MIN
        timer = sk.timer
        if timer is None or at < timer.expires:
            sk.arm(at)


def xmit_data(
    sk: TcpSock, frags: tuple[bytes | memoryview, ...], n: int, flags: int = PSH_ACK, urgent: int = 0
) -> None:
    """Send ``n`` new bytes at snd_nxt as one segment (or super-segment) and keep them until they are acknowledged."""
    now = sk.kernel.now
    seq = sk.snd_nxt
    end = seq + n
    mss = sk.mss
    if n <= mss:
        segs = 1
        gso = 0
        if n < mss:
            sk.snd_sml = end
    else:
        segs = (n + mss - 1) // mss
        gso = mss
        if n % mss:
            sk.snd_sml = end
    queue = sk.rtx_queue
    if queue is None:
        queue = sk.rtx_queue = deque()
    segment = _Blank()
    segment.seq = seq
    segment.end_seq = end
    segment.frags = frags
    segment.flags = 0
    segment.segs = segs
    segment.sent_at = now
    segment.lost = segment.resent = segment.retrans = segment.sacked = False
    queue.append(segment)
    sk.packets_out += segs
    sk.snd_nxt = end
    sk.last_sent = now
    if not sk.pingpong and now - sk.lrcvtime < ATO_MIN:
        sk.pingpong = True
    transmit_skb(sk, seq, flags, frags, n, gso, urgent)
    if sk.rto_at == NEVER:
        at = sk.rto_at = now + sk.rto
        timer = sk.timer
        if timer is None or at < timer.expires:
            sk.arm(at)


def queue_segment(sk: TcpSock, seq: int, end_seq: int, flags: int) -> Segment:
    """Remember a SYN or FIN for retransmission and count it in flight."""
    queue = sk.rtx_queue
    if queue is None:
        queue = sk.rtx_queue = deque()
    segment = Segment(seq, end_seq, (), flags, 1, sk.kernel.now)
    queue.append(segment)
    sk.packets_out += 1
    if sk.rto_at == NEVER:
        sk.rto_at = sk.kernel.now + sk.rto
        sk.arm(sk.rto_at)
    return segment


def take_unsent(sk: TcpSock, n: int) -> tuple[bytes | memoryview, ...]:
    """The next ``n`` unsent bytes as fragments, by reference; a chunk that has to be cut leaves a memoryview behind."""
    queue = sk.unsent
    assert queue is not None
    sk.unsent_bytes -= n
    chunk = queue[0]
    if len(chunk) == n:
        queue.popleft()
        return (chunk,)
    frags: list[bytes | memoryview] = []
    while n:
        chunk = queue[0]
        size = len(chunk)
        if size <= n:
            frags.append(queue.popleft())
            n -= size
        else:
            view = memoryview(chunk)
            frags.append(view[:n])
            queue[0] = view[n:]
            n = 0
    return tuple(frags)


def write_xmit(sk: TcpSock, push: bool = False) -> None:
    """tcp_write_xmit(): send unsent data as far as the peer's window, cwnd, Nagle and cork allow; then a queued FIN.

    ``push`` sends a partial segment in spite of cork (its 200 ms are over, or the socket was uncorked).
    """
    while sk.unsent_bytes:
        in_flight = sk.packets_out - sk.sack_out - sk.lost_out + sk.retrans_out
        room = sk.cwnd - in_flight
        if room <= 0:
            return
        n = sk.unsent_bytes
        window = sk.snd_una + sk.snd_wnd - sk.snd_nxt
        if window <= 0:
            break
        limit = min(sk.size_goal, window, room * sk.mss)
        urgent = sk.snd_up > sk.snd_nxt
        if urgent and limit > sk.mss:
            limit = sk.mss  # each segment has its own pointer
        if n > limit:
            n = limit
            mss = sk.mss
            if n > mss:
                n -= n % mss
            elif n < mss and n < sk.max_window >> 1:
                if not limit:
                    from pysock.families.inet.tcp.pacing import may_send

                    if may_send(sk):
                        continue
                    return
                break  # sender's silly-window avoidance (RFC 9293 3.8.6.2.1): a better window, or the probe timer
        elif n < sk.mss and not push and not urgent:
            nonagle = sk.nonagle
            if nonagle & NAGLE_CORK:
                break
            # Nagle as Minshall has it: one small segment in flight at a time.
            if not nonagle & NAGLE_OFF and sk.packets_out and sk.snd_sml > sk.snd_una and not sk.fin_queued:
                break
        if not sk.packets_out:
            sk.rto_at = NEVER  # the probe timer's; this data starts its own
            sk.backoff = 0
        flags = PSH_ACK if n == sk.unsent_bytes else ACK  # the last of what was written (RFC 9293 3.9.1.2)
        if urgent:
            up = pointer_for(sk, sk.snd_nxt)
            xmit_data(sk, take_unsent(sk, n), n, flags | URG if up else flags, up)
        else:
            xmit_data(sk, take_unsent(sk, n), n, flags)
    if sk.unsent_bytes:
        if not sk.packets_out and sk.rto_at == NEVER:
            # Nothing in flight will bring an ACK: probe the window, or flush the cork.
            sk.rto_at = sk.kernel.now + sk.rto
            sk.arm(sk.rto_at)
    elif sk.fin_queued:
        send_fin(sk)


def send_fin(sk: TcpSock) -> None:
    """Send our FIN behind everything else."""
    sk.fin_queued = False
    seq = sk.snd_nxt
    sk.snd_nxt = seq + 1
    queue_segment(sk, seq, seq + 1, SEG_FIN)
    transmit_skb(sk, seq, FIN | ACK)


def close_write(sk: TcpSock) -> None:
    """tcp_send_fin(): a FIN after what is still unsent."""
    sk.fin_queued = True
    if sk.unsent_bytes:
        write_xmit(sk, push=True)
    else:
        send_fin(sk)


def retransmit(sk: TcpSock, segment: Segment) -> int:
    """Send ``segment`` again (tcp_retransmit_skb)."""
    mibs = sk.inet.mibs
    mibs.tcp.RetransSegs += segment.segs
    segment.retrans = True
    sk.total_retrans += segment.segs
    sk.bytes_retrans += segment.end_seq - segment.seq
    if not segment.resent:
        segment.resent = True
        sk.retrans_out += segment.segs
    segment.sent_at = sk.kernel.now
    if not sk.retrans_stamp:
        sk.retrans_stamp = sk.kernel.now
    n = segment.end_seq - segment.seq
    flags = ACK
    if segment.flags & SEG_FIN:
        n -= 1
        flags |= FIN
    elif n:
        flags |= PSH
    gso = sk.mss if segment.segs > 1 else 0
    up = 0 if gso else pointer_for(sk, segment.seq)
    if up:
        flags |= URG
    result = transmit_skb(sk, segment.seq, flags, segment.frags, n, gso, up)
    if result:
        mibs.tcpext.TCPRetransFail += 1
    return result


def send_probe(sk: TcpSock) -> None:
    """A segment with old data's number and none of its bytes: the peer must answer it (tcp_xmit_probe_skb). It
    learns of urgent data before there is room for it.
    """
    if sk.snd_una < sk.snd_up <= sk.snd_una + 0xFFFF:
        transmit_skb(sk, sk.snd_una, ACK | URG, urgent=sk.snd_up - sk.snd_una)
    transmit_skb(sk, sk.snd_una - 1, ACK)


def send_reset(sk: TcpSock) -> None:
    """tcp_send_active_reset(): abort the connection towards the peer."""
    sk.inet.mibs.tcp.OutRsts += 1
    transmit_skb(sk, sk.snd_nxt, RST | ACK)
