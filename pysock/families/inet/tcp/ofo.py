"""The out-of-order queue: what arrived beyond rcv_nxt, sorted and without overlap (RFC 9293 3.10.7.4; tcp_ofo_queue).

Entries reuse `Segment`: [seq, end_seq), fragments, and SEG_FIN when the peer's FIN is behind the last byte. The first
copy of a byte wins.
"""

from __future__ import annotations

from collections import deque

from pysock.families.inet.tcp.sock import SEG_FIN, Segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.families.inet.tcp.sock import TcpSock


def cut(frags: Sequence[bytes | memoryview], low: int, high: int) -> tuple[bytes | memoryview, ...]:
    """Bytes [low, high) of a fragment list, by reference."""
    out: list[bytes | memoryview] = []
    position = 0
    for frag in frags:
        size = len(frag)
        a = max(low - position, 0)
        b = min(high - position, size)
        if a < b:
            out.append(frag if a == 0 and b == size else memoryview(frag)[a:b])
        position += size
    return tuple(out)


def insert(sk: TcpSock, seq: int, end: int, frags: list[bytes | memoryview], fin: bool) -> tuple[int, int] | None:
    """Add [seq, end), keeping only what is not there yet. Returns the first part of it that was there."""
    queue = sk.ofo
    if queue is None:
        queue = sk.ofo = []
    fresh: list[Segment] = []
    known: tuple[int, int] | None = None
    at = seq
    for old in queue:
        if old.end_seq <= at:
            continue
        if old.seq >= end:
            break
        if known is None:
            known = max(at, old.seq), min(end, old.end_seq)
        elif old.seq == known[1]:
            known = known[0], min(end, old.end_seq)
        if at < old.seq:
            fresh.append(Segment(at, old.seq, cut(frags, at - seq, old.seq - seq), 0, 1, 0))
        at = max(at, old.end_seq)
    if at < end or (fin and at == end):
        fresh.append(Segment(at, end, cut(frags, at - seq, end - seq), SEG_FIN if fin else 0, 1, 0))
    queue.extend(fresh)
    queue.sort(key=lambda s: (s.seq, s.end_seq))
    return known


def advance(sk: TcpSock) -> bool:
    """Move what has become contiguous into the receive queue; True when the peer's FIN came with it."""
    queue = sk.ofo
    if not queue:
        return False
    fin = False
    while queue and queue[0].seq <= sk.rcv_nxt:
        segment = queue.pop(0)
        if segment.end_seq > sk.rcv_nxt:
            frags = cut(segment.frags, sk.rcv_nxt - segment.seq, segment.end_seq - segment.seq)
            rx = sk.rx_queue
            if rx is None:
                rx = sk.rx_queue = deque()
            rx.extend(frags)
            sk.rx_bytes += segment.end_seq - sk.rcv_nxt
            sk.rcv_nxt = segment.end_seq
        if segment.flags & SEG_FIN and segment.end_seq == sk.rcv_nxt:
            fin = True
            queue.clear()
    if not queue:
        sk.ofo = None
    return fin
