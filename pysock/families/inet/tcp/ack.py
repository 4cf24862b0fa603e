"""What an acknowledgement does: free what arrived, measure the round trip, grow or shrink cwnd (tcp_ack).

`new_ack` is the part that every ACK of new data takes. `process` is the whole of it for segments that header
prediction did not take: old and future ACKs, window updates, duplicate ACKs. Loss recovery proper is in `recovery`.
"""

from __future__ import annotations

from pysock.core.clock import NEVER, NSEC_PER_MSEC
from pysock.core.sockopt_set import SOCK_SNDBUF_LOCKED
from pysock.families.inet.tcp import rack, recovery, rtt
from pysock.families.inet.tcp.rare import notsent_room
from pysock.families.inet.tcp.rtt import SAMPLE_INTERVAL
from pysock.families.inet.tcp.sock import CA_OPEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.sock import Segment, TcpSock

M32 = 0xFFFFFFFF


def new_ack(sk: TcpSock, ack: int, echo: int = 0) -> int:
    """Everything before ``ack`` arrived (tcp_clean_rtx_queue). Returns how many segments that were.

    ``echo`` is the timestamp that the ACK returns, 0: none. It times what was sent more than once.
    """
    queue = sk.rtx_queue
    now = sk.kernel.now
    if ack == sk.snd_nxt and queue and len(queue) == 1 and not sk.ca_state and not sk.backoff:
        segment = queue[0]
        if not segment.retrans:  # all that was in flight, sent once: nothing of loss or timeouts to undo
            del queue[0]
            sk.snd_una = ack
            acked = segment.segs
            sk.packets_out = sk.retransmits = sk.retrans_stamp = 0
            sk.rto_at = NEVER
            if now - sk.rtt_at >= SAMPLE_INTERVAL:
                rtt.update(sk, now - segment.sent_at)
            cwnd = sk.cwnd
            if sk.unsent_bytes or (cwnd < 2 * acked and (cwnd <= acked or cwnd < sk.ssthresh)):
                sk.cong.cong_avoid(sk, acked)
            return acked
    sk.snd_una = ack
    acked = 0
    sampled = 0
    while queue:
        segment = queue[0]
        if segment.end_seq > ack:
            if segment.seq < ack:
                acked += _trim(sk, segment, ack)
            break
        del queue[0]
        segs = segment.segs
        acked += segs
        if segment.sacked:
            sk.sack_out -= segs
        elif segment.retrans:
            if segment.resent:
                sk.retrans_out -= segs
            sampled = -1
            if sk.board is not None:
                rack.delivered(sk, sk.board, segment)
        elif not sampled:
            sampled = segment.sent_at  # the oldest: a delayed ACK is part of the round trip
        if segment.lost:
            sk.lost_out -= segs
    limited = sk.packets_out >= sk.cwnd or sk.unsent_bytes
    sk.packets_out -= acked
    sk.retransmits = 0
    if sampled > 0 and now - sk.rtt_at >= SAMPLE_INTERVAL:
        rtt.update(sk, now - sampled)
    elif sampled <= 0 and echo and 0 < _since(sk, echo) < 0x7FFFFFFF:
        rtt.update(sk, _since(sk, echo) * NSEC_PER_MSEC)
    elif sk.backoff and (sampled > 0 or sk.ts_ok):
        # Without timestamps an ACK of what was sent twice says nothing of the path: the back-off stays (Karn).
        rtt.set_rto(sk)
    if sk.ca_state == CA_OPEN:
        if limited or (sk.cwnd < sk.ssthresh and sk.cwnd < sk.packets_out + 2 * acked):
            sk.cong.cong_avoid(sk, acked)
    elif not sk.sack_ok:
        recovery.acked(sk, ack, acked)
    if queue:
        at = sk.rto_at = now + sk.rto
        timer = sk.timer
        if timer is None or at < timer.expires:
            sk.arm(at)
    else:
        sk.rto_at = NEVER
        sk.backoff = 0
        sk.retrans_stamp = 0
    return acked


def _since(sk: TcpSock, echo: int) -> int:
    """How many ms ago our timestamp ``echo`` was (tcp_rtt_tsopt_us)."""
    return (sk.kernel.now // NSEC_PER_MSEC + sk.ts_offset - echo) & M32


def _trim(sk: TcpSock, segment: Segment, ack: int) -> int:
    """A super-segment was acknowledged in part (tcp_trim_head): forget the front, count whole segments."""
    drop = ack - segment.seq
    frags: list[bytes | memoryview] = []
    for frag in segment.frags:
        size = len(frag)
        if drop >= size:
            drop -= size
            continue
        frags.append(memoryview(frag)[drop:] if drop else frag)
        drop = 0
    segment.frags = tuple(frags)
    segment.seq = ack
    left = max(1, -(-(segment.end_seq - ack) // sk.mss))
    freed = segment.segs - left
    if freed <= 0:
        return 0
    segment.segs = left
    if segment.sacked:
        sk.sack_out -= freed
    if segment.lost:
        sk.lost_out -= freed
    if segment.resent:
        sk.retrans_out -= freed
    return freed


def process(
    sk: TcpSock, seq: int, ack32: int, window: int, n: int, sacks: tuple[tuple[int, int], ...], echo: int
) -> bool:
    """tcp_ack() for a segment at ``seq`` with ``n`` bytes of payload and ``sacks``, the edges of its SACK
    blocks; ``echo`` as in `new_ack`. False: the ACK is unacceptable, drop the segment.
    """
    snd_una = sk.snd_una
    distance = (ack32 - snd_una) & M32
    if distance >= 0x80000000:
        # Old. Too old to be honest (RFC 5961 5.2) gets a challenge ACK by the caller.
        return (snd_una - ack32) & M32 <= max(sk.max_window, 65535)
    if distance > sk.snd_nxt - snd_una:
        return False
    ack = snd_una + distance
    sk.probes_out = 0
    sk.last_rcv = sk.kernel.now
    old_window = sk.snd_wnd
    if distance or seq > sk.snd_wl1 or (seq == sk.snd_wl1 and window > sk.snd_wnd):
        sk.snd_wl1 = seq
        sk.snd_wnd = window
        if window > sk.max_window:
            sk.max_window = window
    if sk.sack_ok and (sacks or sk.ca_state):
        missing = sk.packets_out - sk.sack_out
        rack.tag(sk, ack, sacks, echo)
        # Made before the first retransmission, and yet the hole is gone (Eifel, RFC 3522; tcp_packet_delayed).
        late = bool(distance and sk.retrans_stamp) and rtt.stamped_before(sk, echo, sk.retrans_stamp)
        acked = new_ack(sk, ack, echo) if distance else 0
        rack.advance(sk, acked, missing - sk.packets_out + sk.sack_out, late)
        if distance and sk.nospace:
            check_space(sk)
    elif distance:
        new_ack(sk, ack, echo)
        if sk.nospace:
            check_space(sk)
    elif sk.sack_ok:
        pass  # without blocks it tells nothing
    elif sk.packets_out and not n and window == old_window:
        recovery.duplicate_ack(sk)
    if not sk.packets_out and not sk.unsent_bytes:
        sk.rto_at = NEVER
    elif not sk.packets_out and sk.snd_wnd >= min(sk.unsent_bytes, sk.mss):
        sk.backoff = sk.probes_stamp = 0
        sk.rto_at = NEVER  # the window opened: the probe timer has done its work
    return True


def check_space(sk: TcpSock) -> None:
    """tcp_new_space(): the buffer grows with the congestion window, twice of which must fit; wake writers once a third
    of it is free (sk_stream_is_writeable).
    """
    if not sk.flags & SOCK_SNDBUF_LOCKED and sk.packets_out < sk.cwnd:  # tcp_should_expand_sndbuf
        wanted = 2 * sk.cwnd * (sk.mss + 576)
        if wanted > sk.sndbuf:
            sk.sndbuf = max(sk.sndbuf, min(wanted, sk.tcp.wmem[2]))
    if is_writeable(sk):
        sk.nospace = False
        sk.write_space()


def queued_bytes(sk: TcpSock) -> int:
    """What the send side holds, with an overhead for each piece so that tiny writes cannot pile up for nothing."""
    pieces = (len(sk.rtx_queue) if sk.rtx_queue else 0) + (len(sk.unsent) if sk.unsent else 0)
    return sk.snd_nxt - sk.snd_una + sk.unsent_bytes + pieces * 64


def is_writeable(sk: TcpSock) -> bool:
    used = queued_bytes(sk)
    return sk.sndbuf - used >= used >> 1 and (sk.rare is None or notsent_room(sk, 1))
