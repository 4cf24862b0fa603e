"""Segments in, the whole way: validation and the state machine (RFC 9293 3.10.7, tcp_rcv_state_process).

`segment` takes what header prediction did not: it checks the header and the checksum, finds the socket if IP did not,
and dispatches by who stands at that address: a connection, half-open request, TIME-WAIT, listener, or nobody (reset).
Nothing that arrives may raise.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from pysock.core.clock import NEVER, NSEC_PER_MSEC, NSEC_PER_SEC
from pysock.core.skb_data import pskb_may_pull, skb_checksum
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.core.sock import RCV_SHUTDOWN, SEND_SHUTDOWN, SOCK_DONE
from pysock.families.inet.tcp import ack as ack_
from pysock.families.inet.tcp import connect, listen, ofo, sack, urgent
from pysock.families.inet.tcp.af import addresses
from pysock.families.inet.tcp.end import done, enter_time_wait, reset
from pysock.families.inet.tcp.filtered import FilteredTcpSock, passes
from pysock.families.inet.tcp.listen import RequestSock
from pysock.families.inet.tcp.options import M32, parse_syn_options
from pysock.families.inet.tcp.output import schedule_ack, send_ack, send_dsack, write_xmit
from pysock.families.inet.tcp.reset import send_reset_for
from pysock.families.inet.tcp.sock import QUICKACKS, TcpSock
from pysock.families.inet.tcp.states import CLOSED, FIN_ACKED_TRANSITIONS, FIN_SEEN, FIN_TRANSITIONS
from pysock.families.inet.tcp.timewait import TimeWaitSock
from pysock.uapi.tcp import (
    TCP_CLOSE,
    TCP_FIN_WAIT1,
    TCP_FIN_WAIT2,
    TCP_SYN_RECV,
    TCP_SYN_SENT,
    TCP_TIME_WAIT,
)
from pysock.wire.checksum import fold, pseudo
from pysock.wire.tcp import ACK, FIN, RST, SYN, URG
from pysock.wire.tcp_options import TIMESTAMPS_WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.net import TcpNet
    from pysock.wire.tcp_options import TcpOptions

INVALID_RATELIMIT = 500 * NSEC_PER_MSEC
PAWS_24DAYS = 24 * 24 * 3600 * NSEC_PER_SEC
#: (ports) seq | ack | offset+flags | window
_header = Struct("!4xIIHH").unpack_from
#: the same | (checksum, urgent) | what nearly every segment has for options: the timestamps' first word | value | echo
_header_ts = Struct("!4xIIHH4xIII").unpack_from

#: who stands in TcpNet.ehash
_DEMUXED = frozenset((TcpSock, RequestSock, TimeWaitSock))


class SegmentInfo:
    """One received segment, parsed: sequence and acknowledgement numbers as on the wire, ``n`` bytes of payload.

    ``ts_val`` is the timestamp or None, ``ts_ecr`` what it echoes. The other options matter in a SYN, whose ``options``
    are never None, and for SACK.
    """

    __slots__ = ("ack", "flags", "header_len", "n", "options", "raw_window", "seq", "ts_ecr", "ts_val")

    # Filled in by `parse`, without an __init__ for each segment.
    ack: int
    flags: int
    header_len: int
    n: int
    options: TcpOptions | None
    raw_window: int
    seq: int
    ts_ecr: int
    ts_val: int | None


def segment(tcp: TcpNet, skb: SkBuff) -> None:
    """tcp_v4_rcv() without the prediction."""
    headlen = skb.len - skb.data_len
    if headlen < 20 and not pskb_may_pull(skb, 20):
        _bad(tcp, skb, "PKT_TOO_SMALL")
        return
    header_len = skb.head[skb.data + 12] >> 4 << 2
    if header_len < 20 or (headlen < header_len and not pskb_may_pull(skb, header_len)):
        _bad(tcp, skb, "TCP_HEADER")
        return
    if not skb.ip_summed and not _checksum_ok(skb):  # CHECKSUM_NONE
        tcp.inet.mibs.tcp.InCsumErrors += 1
        _bad(tcp, skb, "TCP_CSUM")
        return
    info = parse(skb, header_len)
    who: TcpSock | RequestSock | TimeWaitSock | None = skb.sk  # type: ignore[assignment]  # see the next line
    if who.__class__ not in _DEMUXED:  # early demultiplexing did not see it (a fragment, an odd IP header)
        key = flow_key(skb)
        who = tcp.ehash.get(key)
        if who is None:
            _unknown(tcp, skb, info, key)
            return
    if who.__class__ is RequestSock:
        who = listen.request_segment(who, skb, info)
        if who is None:
            return
    elif who.__class__ is TimeWaitSock:
        _time_wait(tcp, who, skb, info)
        return
    elif who.__class__ is FilteredTcpSock and not passes(who, skb, info):
        return
    sk: TcpSock = who  # type: ignore[assignment]  # what is left
    if sk.bound_dev_if and sk.bound_dev_if != sk.af.incoming_index(skb):
        kfree_skb(skb, "NO_SOCKET")
        return
    process(sk, skb, info)


def parse(skb: SkBuff, header_len: int) -> SegmentInfo:
    """Read the header, which is linear and ``header_len`` bytes long."""
    head = skb.head
    off = skb.data
    info = SegmentInfo()
    info.header_len = header_len
    info.n = skb.len - header_len
    if header_len == 32:
        info.seq, info.ack, off_flags, info.raw_window, word, info.ts_val, info.ts_ecr = _header_ts(head, off)
        plain = word == TIMESTAMPS_WORD
    else:
        info.seq, info.ack, off_flags, info.raw_window = _header(head, off)
        info.ts_val = None
        plain = header_len == 20
    info.flags = flags = off_flags & 0x3F
    if plain and not flags & SYN:
        info.options = None
    else:
        info.options = options = parse_syn_options(bytes(head[off + 20 : off + header_len]))
        stamps = options.timestamps
        info.ts_val, info.ts_ecr = stamps if stamps is not None else (None, 0)
    return info


def flow_key(skb: SkBuff) -> bytes:
    """The bytes that `TcpNet.ehash` knows a segment's connection by."""
    start = skb.network_header
    off = skb.data
    head = skb.head
    if head[start] >> 4 == 4:
        return bytes(head[start + 12 : start + 20]) + bytes(head[off : off + 4])
    return bytes(head[start + 8 : start + 40]) + bytes(head[off : off + 4])


def _bad(tcp: TcpNet, skb: SkBuff, reason: str) -> None:
    tcp.inet.mibs.tcp.InErrs += 1
    kfree_skb(skb, reason)


def _unknown(tcp: TcpNet, skb: SkBuff, info: SegmentInfo, key: bytes) -> None:
    """A segment of no connection: a listener's, or nobody's."""
    listener = listen.lookup_listener(tcp, key, skb)
    if listener is not None:
        listen.segment(listener, skb, info, key)
        return
    if not info.flags & RST:
        send_reset_for(tcp, skb, info, key)
    kfree_skb(skb, "NO_SOCKET")


def _time_wait(tcp: TcpNet, tw: TimeWaitSock, skb: SkBuff, info: SegmentInfo) -> None:
    if not tw.segment(skb, info):
        return
    # A SYN that may start a new connection, if somebody listens (TCP_TW_SYN).
    key = tw.key
    listener = listen.lookup_listener(tcp, key, skb)
    if listener is None:
        tw.send_ack()
        kfree_skb(skb, "TCP_FLAGS")
        return
    tcp.timewait.remove(tw)
    listen.segment(listener, skb, info, key)


def _checksum_ok(skb: SkBuff) -> bool:
    daddr, saddr = addresses(flow_key(skb))
    return fold(pseudo(saddr, daddr, 6, skb.len) + skb_checksum(skb, 0, skb.len)) == 0xFFFF


def process(sk: TcpSock, skb: SkBuff, info: SegmentInfo) -> None:
    """A segment for a connection in any state but LISTEN (tcp_rcv_state_process and tcp_rcv_established's slow
    path).
    """
    state = sk.state
    if state == TCP_SYN_SENT and not connect.syn_sent(sk, skb, info):
        return
    if state == TCP_CLOSE:
        kfree_skb(skb, "TCP_CLOSE")
        return
    rcv_nxt = sk.rcv_nxt
    seq = info.seq
    seq = rcv_nxt if seq == rcv_nxt & M32 else extend(seq, rcv_nxt)
    if not validate(sk, info, seq):
        kfree_skb(skb, "TCP_INVALID_SEQUENCE")
        return
    flags = info.flags
    if not flags & ACK:
        kfree_skb(skb, "TCP_FLAGS")
        return
    if state == TCP_SYN_RECV:
        if not connect.syn_acked(sk, skb, info):
            kfree_skb(skb, "TCP_INVALID_ACK_SEQUENCE")
            return
        flags = info.flags
        seq = extend(info.seq, sk.rcv_nxt)
    sacks = info.options.sack if info.options is not None else ()
    echo = info.ts_ecr if info.ts_val is not None and sk.ts_ok else 0
    if not ack_.process(sk, seq, info.ack, info.raw_window << sk.snd_wscale, info.n + (flags & FIN), sacks, echo):
        challenge_ack(sk)  # RFC 5961 5: an ACK for what we never sent, or far too old
        kfree_skb(skb, "TCP_ACK_UNSENT_DATA")
        return
    if sk.state in FIN_ACKED_TRANSITIONS and sk.snd_una == sk.snd_nxt:
        _fin_acked(sk, skb, info, seq)
    if sk.state in CLOSED:
        return
    if flags & URG and sk.state not in FIN_SEEN:
        urgent.pointer(sk, seq, int.from_bytes(skb.head[skb.data + 18 : skb.data + 20], "big"))
    if sk.rcv_extra is not None and info.n:
        urgent.catch(sk, skb, seq, info.header_len, info.n)
    if info.n or flags & FIN:
        _receive(sk, skb, info, seq)
        if sk.state in CLOSED:
            return
    if sk.unsent_bytes or sk.fin_queued:
        write_xmit(sk)
    if sk.nospace:
        ack_.check_space(sk)


def extend(wire: int, near: int) -> int:
    """The number whose low 32 bits are ``wire`` and that lies closest to ``near``."""
    return near + ((wire - near + 0x80000000) & M32) - 0x80000000


def validate(sk: TcpSock, info: SegmentInfo, seq: int) -> bool:
    """tcp_validate_incoming(). False: answered, drop it."""
    ts_val = info.ts_val if sk.ts_ok else None
    if (
        seq != sk.rcv_nxt
        or info.flags & (SYN | RST)
        or (ts_val is not None and (ts_val - sk.ts_recent) & 0x80000000)
    ) and not _acceptable(sk, info, seq, ts_val):
        return False
    if ts_val is not None and seq <= sk.rcv_wup:
        sk.ts_recent = ts_val
    return True


def _acceptable(sk: TcpSock, info: SegmentInfo, seq: int, ts_val: int | None) -> bool:
    """PAWS (RFC 7323 5), sequence, RST and SYN checks (RFC 5961) of a segment that is not simply the next one."""
    flags = info.flags
    if (
        ts_val is not None
        and not flags & RST
        and (ts_val - sk.ts_recent) & 0x80000000
        and sk.kernel.now - sk.last_rcv < PAWS_24DAYS  # an older ts_recent says nothing (RFC 7323 5.5)
    ):
        if flags & SYN:
            syn_challenge(sk)
        else:
            sk.inet.mibs.tcpext.PAWSEstab += 1
            duplicate_acked(sk, info, seq)
        return False
    rcv_nxt = sk.rcv_nxt
    length = info.n + bool(flags & SYN) + bool(flags & FIN)
    if seq + length < sk.rcv_wup or seq > max(sk.rcv_adv, rcv_nxt):
        if not flags & RST:
            if flags & SYN:
                syn_challenge(sk)
            else:
                duplicate_acked(sk, info, seq)
        elif seq == rcv_nxt - 1 and sk.state in FIN_SEEN:
            reset(sk)  # its sender does not count its FIN (tcp_reset_check)
        return False
    if flags & RST:
        if seq == rcv_nxt:
            reset(sk)
        else:
            challenge_ack(sk)  # RFC 5961 3.2
        return False
    if flags & SYN and not (sk.state == TCP_SYN_RECV and flags & ACK and seq + 1 == rcv_nxt):
        syn_challenge(sk)
        return False
    return True


def duplicate_acked(sk: TcpSock, info: SegmentInfo, seq: int) -> None:
    """The segment is old or beyond the window: say what we expect (tcp_send_dupack).

    Data is always answered; bare segments no more often than twice a second, or two ends that disagree would never stop
    (tcp_oow_rate_limited).
    """
    if not info.n and not info.flags & (SYN | FIN) and _limited(sk):
        sk.inet.mibs.tcpext.TCPACKSkippedSeq += 1
        return
    sk.quick = max(sk.quick, 1)
    if info.n and seq < sk.rcv_nxt and sk.sack_ok and sk.tcp.dsack:
        sk.inet.mibs.tcpext.TCPDSACKOldSent += 1
        send_dsack(sk, seq, min(seq + info.n, sk.rcv_nxt))
    else:
        send_ack(sk)


def challenge_ack(sk: TcpSock) -> None:
    """RFC 5961 7: an ACK that a real peer answers with the right reset; no more than two a second for a connection."""
    ext = sk.inet.mibs.tcpext
    if _limited(sk):
        ext.TCPACKSkippedChallenge += 1
        return
    ext.TCPChallengeACK += 1
    send_ack(sk)


def syn_challenge(sk: TcpSock) -> None:
    """A SYN in the middle of a connection (RFC 5961 4.2)."""
    sk.inet.mibs.tcpext.TCPSYNChallenge += 1
    challenge_ack(sk)


def _limited(sk: TcpSock) -> bool:
    """net.ipv4.tcp_invalid_ratelimit: whether such an ACK was sent within the last 500 ms."""
    now = sk.kernel.now
    if sk.oow_ack_at and now - sk.oow_ack_at < INVALID_RATELIMIT:
        return True
    sk.oow_ack_at = now
    return False


def _fin_acked(sk: TcpSock, skb: SkBuff, info: SegmentInfo, seq: int) -> None:
    """All we sent was acknowledged; if our FIN was among it, move on (RFC 9293 3.10.7.4, fifth check)."""
    if sk.unsent_bytes or sk.fin_queued:
        return
    new = FIN_ACKED_TRANSITIONS[sk.state]
    if new == TCP_TIME_WAIT:
        enter_time_wait(sk, TCP_TIME_WAIT)
    elif new == TCP_CLOSE:
        done(sk)
    else:
        sk.set_state(TCP_FIN_WAIT2)
        sk.shutdown |= SEND_SHUTDOWN
        if sk.socket is not None:
            sk.state_change()
        elif sk.linger2 < 0 or seq + info.n > sk.rcv_nxt:
            # Nobody will wait for the peer, or it sends what nobody will read.
            sk.inet.mibs.tcpext.TCPAbortOnData += 1
            done(sk)
            send_reset_for(sk.tcp, skb, info, sk.ehash_key)
        elif not info.flags & FIN or seq + info.n != sk.rcv_nxt:  # else the FIN takes it to the next state at once
            enter_time_wait(sk, TCP_FIN_WAIT2)


def _receive(sk: TcpSock, skb: SkBuff, info: SegmentInfo, seq: int) -> None:
    """tcp_data_queue() and tcp_fin(): payload and FIN of an acceptable segment."""
    n = info.n
    rcv_nxt = sk.rcv_nxt
    if sk.state in FIN_SEEN:
        if seq < rcv_nxt:
            duplicate_acked(sk, info, seq)  # our ACK of the FIN was lost
        return  # nothing may follow a FIN
    if not n and seq == rcv_nxt:
        peer_fin(sk)
        return
    fin = bool(info.flags & FIN)
    if n and sk.shutdown & RCV_SHUTDOWN and sk.state in (TCP_FIN_WAIT1, TCP_FIN_WAIT2) and seq + n > rcv_nxt:
        # Data that nobody will read (RFC 1122 4.2.2.13).
        sk.inet.mibs.tcpext.TCPAbortOnData += 1
        send_reset_for(sk.tcp, skb, info, sk.ehash_key)
        reset(sk)
        return
    end = seq + n
    if end + fin <= rcv_nxt:
        sk.inet.mibs.tcpext.DelayedACKLost += 1
        duplicate_acked(sk, info, seq)
        return
    if seq > rcv_nxt:
        _out_of_order(sk, skb, info, seq)
        return
    room = max(sk.rcv_adv, rcv_nxt) - seq
    if n > room:
        n = room  # beyond the window: the peer will send it again
        fin = False
        if n <= rcv_nxt - seq:
            sk.inet.mibs.tcpext.TCPZeroWindowDrop += 1
            duplicate_acked(sk, info, seq)
            return
    take(sk, payload(skb, info.header_len, rcv_nxt - seq, n), seq + n)
    hole = bool(sk.ofo)
    if hole and not fin:
        fin = ofo.advance(sk)
    if fin:
        peer_fin(sk)
        return
    if hole:
        send_ack(sk)  # a hole was filled, perhaps in part: tell at once (RFC 5681 4.2)
    else:
        _ack_data(sk, n, skb.gso_size)
    sk.data_ready()


def _ack_data(sk: TcpSock, n: int, gso_size: int) -> None:
    sk.lrcvtime = sk.kernel.now
    measure_rcv_mss(sk, n, gso_size)
    unacked = sk.rcv_nxt - sk.rcv_wup
    if (unacked > sk.rcv_mss and sk.delack_at != NEVER) or (sk.quick and not sk.pingpong):
        send_ack(sk)
    elif unacked and sk.delack_at == NEVER:
        schedule_ack(sk)


def _out_of_order(sk: TcpSock, skb: SkBuff, info: SegmentInfo, seq: int) -> None:
    ext = sk.inet.mibs.tcpext
    known = None
    if seq + info.n > sk.rcv_adv or sk.rx_bytes + info.n > sk.rcvbuf:
        ext.TCPOFODrop += 1
    else:
        ext.TCPOFOQueue += 1
        pieces = payload(skb, info.header_len, 0, info.n)
        known = ofo.insert(sk, seq, seq + info.n, pieces, bool(info.flags & FIN))
        if sk.sack_ok:
            sack.arrived(sk, seq)
    sk.quick = QUICKACKS
    sk.pingpong = False
    if known is not None and sk.sack_ok and sk.tcp.dsack:
        ext.TCPDSACKOfoSent += 1
        send_dsack(sk, *known)
    else:
        send_ack(sk)  # the duplicate ACK that fast retransmit counts


def payload(skb: SkBuff, header_len: int, skip: int, n: int) -> list[bytes | memoryview]:
    """Bytes [skip, n) of a segment's payload, by reference where they are paged."""
    start = skb.data + header_len
    linear = skb.len - skb.data_len - header_len
    pieces: list[bytes | memoryview] = []
    if linear:
        pieces.append(bytes(skb.head[start : start + linear]))
    pieces.extend(skb.frags)
    return list(ofo.cut(pieces, skip, n))


def queue_payload(sk: TcpSock, skb: SkBuff, header_len: int) -> None:
    """Append a whole segment's payload to the receive queue; the caller moves rcv_nxt."""
    queue = sk.rx_queue
    assert queue is not None
    queue.extend(payload(skb, header_len, 0, skb.len - header_len))


def take(sk: TcpSock, pieces: list[bytes | memoryview], end: int) -> None:
    """In-order payload that ends at ``end``: into the receive queue."""
    if not pieces:
        return
    queue = sk.rx_queue
    if queue is None:
        queue = sk.rx_queue = deque()
    queue.extend(pieces)
    sk.rx_bytes += end - sk.rcv_nxt
    sk.rcv_nxt = end


def measure_rcv_mss(sk: TcpSock, n: int, gso_size: int) -> None:
    """tcp_measure_rcv_mss(): how large the peer's full segments are, for the delayed ACK and window decisions."""
    size = gso_size or n
    if size >= sk.rcv_mss:
        sk.rcv_mss = min(size, max(sk.mss, 536))


def peer_fin(sk: TcpSock) -> None:
    """tcp_fin(): the peer will send nothing more. Acknowledged at once, and those who wait are told."""
    sk.rcv_nxt += 1
    sk.shutdown |= RCV_SHUTDOWN
    sk.flags |= SOCK_DONE
    sk.ofo = None
    send_ack(sk)
    new = FIN_TRANSITIONS[sk.state]
    if new == TCP_TIME_WAIT:
        enter_time_wait(sk, TCP_TIME_WAIT)
    else:
        sk.set_state(new)
    if sk.wait_queue is not None:
        sk.state_change()
