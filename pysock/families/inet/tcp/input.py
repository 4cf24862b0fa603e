"""Segments in, the whole way: validation and the state machine (RFC 9293 3.10.7, tcp_rcv_state_process).

`segment` takes what header prediction did not: it checks the header and the checksum, finds the socket if IP did not,
and dispatches by who stands at that address: a connection, half-open request, TIME-WAIT, listener, or nobody (reset).
Nothing that arrives may raise.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from pysock.core.clock import NEVER, NSEC_PER_MSEC
from pysock.core.skb_data import pskb_may_pull, skb_checksum
from pysock.core.skbuff import CHECKSUM_NONE, SkBuff, kfree_skb
from pysock.core.sock import RCV_SHUTDOWN, SEND_SHUTDOWN
from pysock.families.inet.tcp import ack as ack_
from pysock.families.inet.tcp import connect, listen, ofo
from pysock.families.inet.tcp.end import done, enter_time_wait, reset
from pysock.families.inet.tcp.options import M32
from pysock.families.inet.tcp.output import schedule_ack, send_ack, write_xmit
from pysock.families.inet.tcp.reset import send_reset_for
from pysock.families.inet.tcp.sock import QUICKACKS, TcpSock
from pysock.families.inet.tcp.states import FIN_ACKED_TRANSITIONS, FIN_SEEN, FIN_TRANSITIONS
from pysock.families.inet.tcp.timewait import TimeWaitSock
from pysock.uapi.tcp import (
    TCP_CLOSE,
    TCP_FIN_WAIT1,
    TCP_FIN_WAIT2,
    TCP_SYN_RECV,
    TCP_SYN_SENT,
    TCP_TIME_WAIT,
)
from pysock.wire.checksum import fold, pseudo_v4
from pysock.wire.tcp import ACK, FIN, RST, SYN
from pysock.wire.tcp_options import TcpOptions, parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.net import TcpNet

INVALID_RATELIMIT = 500 * NSEC_PER_MSEC
_header = Struct("!IIHH").unpack_from
#: NOP, NOP, kind 8, length 10: how everybody sends timestamps outside a SYN (RFC 7323 appendix A)
_TIMESTAMPS = b"\1\1\x08\x0a"


class SegmentInfo:
    """One received segment, parsed: sequence and acknowledgement numbers as on the wire, ``n`` bytes of payload.

    ``ts_val`` is the timestamp or None. The other options matter in a SYN only: `options` reads them when asked.
    """

    __slots__ = ("_options", "ack", "flags", "header_len", "n", "raw_options", "raw_window", "seq", "ts_val")

    def __init__(
        self, seq: int, ack: int, flags: int, window: int, header_len: int, n: int, raw_options: bytes
    ) -> None:
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.raw_window = window
        self.header_len = header_len
        self.n = n
        self.raw_options = raw_options
        self._options: TcpOptions | None = None
        self.ts_val: int | None = None
        if raw_options[:4] == _TIMESTAMPS:
            self.ts_val = int.from_bytes(raw_options[4:8], "big")
        elif raw_options:
            stamps = self.options().timestamps
            self.ts_val = stamps[0] if stamps is not None else None

    def options(self) -> TcpOptions:
        parsed = self._options
        if parsed is None:
            parsed = self._options = parse_options(self.raw_options, strict=False)
        return parsed


def segment(tcp: TcpNet, skb: SkBuff) -> None:
    """tcp_v4_rcv() without the prediction."""
    mib = tcp.inet.mibs.tcp
    if not pskb_may_pull(skb, 20):
        mib.InErrs += 1
        kfree_skb(skb, "PKT_TOO_SMALL")
        return
    header_len = (skb.head[skb.data + 12] >> 4) * 4
    if header_len < 20 or not pskb_may_pull(skb, header_len):
        mib.InErrs += 1
        kfree_skb(skb, "TCP_HEADER")
        return
    off = skb.data
    head = skb.head
    if skb.ip_summed == CHECKSUM_NONE and not _checksum_ok(skb):
        mib.InCsumErrors += 1
        mib.InErrs += 1
        kfree_skb(skb, "TCP_CSUM")
        return
    seq, ack, off_flags, window = _header(head, off + 4)
    options = bytes(head[off + 20 : off + header_len])
    info = SegmentInfo(seq, ack, off_flags & 0x3F, window, header_len, skb.len - header_len, options)
    key = bytes(head[skb.network_header + 12 : skb.network_header + 20]) + bytes(head[off : off + 4])
    who = tcp.ehash.get(key)
    if isinstance(who, TimeWaitSock):
        if not who.segment(skb, info):
            return
        # A SYN that may start a new connection, if somebody listens (TCP_TW_SYN).
        listener = listen.lookup_listener(tcp, key[4:8], int.from_bytes(key[10:12], "big"), skb)
        if listener is None:
            who.send_ack()
            kfree_skb(skb, "TCP_FLAGS")
            return
        tcp.timewait.remove(who)
        listen.segment(listener, skb, info, key)
        return
    if who is None:
        listener = listen.lookup_listener(tcp, key[4:8], int.from_bytes(key[10:12], "big"), skb)
        if listener is not None:
            listen.segment(listener, skb, info, key)
            return
        if not info.flags & RST:
            send_reset_for(tcp, skb, info, key)
        kfree_skb(skb, "NO_SOCKET")
        return
    if isinstance(who, listen.RequestSock):
        child = listen.request_segment(who, skb, info)
        if child is None:
            return
        who = child
    assert isinstance(who, TcpSock)
    if skb.dev is not None and who.bound_dev_if and who.bound_dev_if != skb.dev.ifindex:
        kfree_skb(skb, "NO_SOCKET")
        return
    process(who, skb, info)


def _checksum_ok(skb: SkBuff) -> bool:
    addresses = bytes(skb.head[skb.network_header + 12 : skb.network_header + 20])
    pseudo = pseudo_v4(addresses[:4], addresses[4:], 6, skb.len)
    return fold(pseudo + skb_checksum(skb, 0, skb.len)) == 0xFFFF


def process(sk: TcpSock, skb: SkBuff, info: SegmentInfo) -> None:
    """A segment for a connection in any state but LISTEN (tcp_rcv_state_process and tcp_rcv_established's slow
    path).
    """
    if sk.state == TCP_SYN_SENT:
        if not connect.syn_sent(sk, skb, info):
            return
    if sk.state == TCP_CLOSE:
        kfree_skb(skb, "TCP_CLOSE")
        return
    seq = extend(info.seq, sk.rcv_nxt)
    if not validate(sk, info, seq):
        kfree_skb(skb, "TCP_INVALID_SEQUENCE")
        return
    flags = info.flags
    if not flags & ACK:
        kfree_skb(skb, "TCP_FLAGS")
        return
    if sk.state == TCP_SYN_RECV:
        if not connect.syn_acked(sk, skb, info):
            kfree_skb(skb, "TCP_INVALID_ACK_SEQUENCE")
            return
        flags = info.flags
        seq = extend(info.seq, sk.rcv_nxt)
    scale = sk.snd_wscale
    if not ack_.process(sk, seq, info.ack, info.raw_window << scale, info.n + (flags & FIN)):
        challenge_ack(sk)  # RFC 5961 5: an ACK for what we never sent, or far too old
        kfree_skb(skb, "TCP_ACK_UNSENT_DATA")
        return
    if sk.state != TCP_CLOSE:
        _fin_acked(sk, skb, info, seq)
    if sk.state in (TCP_CLOSE, TCP_TIME_WAIT):
        return
    end_seq = seq + info.n + (1 if flags & FIN else 0)
    if end_seq > seq:
        _receive(sk, skb, info, seq)
    if sk.state in (TCP_CLOSE, TCP_TIME_WAIT):
        return
    if sk.unsent_bytes or sk.fin_queued:
        write_xmit(sk)
    if sk.nospace:
        ack_.check_space(sk)


def extend(wire: int, near: int) -> int:
    """The number whose low 32 bits are ``wire`` and that lies closest to ``near``."""
    return near + ((wire - near + 0x80000000) & M32) - 0x80000000


def validate(sk: TcpSock, info: SegmentInfo, seq: int) -> bool:
    """tcp_validate_incoming(): PAWS (RFC 7323 5), sequence, RST and SYN checks (RFC 5961). False: answered, drop it."""
    flags = info.flags
    ts_val = info.ts_val
    ext = sk.inet.mibs.tcpext
    if sk.ts_ok and ts_val is not None and not flags & RST and (ts_val - sk.ts_recent) & 0x80000000:
        if flags & SYN:
            syn_challenge(sk)
        else:
            ext.PAWSEstab += 1
            duplicate_acked(sk, info)
        return False
    rcv_nxt = sk.rcv_nxt
    length = info.n + bool(flags & SYN) + bool(flags & FIN)
    edge = max(sk.rcv_adv, rcv_nxt)
    acceptable = seq + length >= sk.rcv_wup and seq <= edge
    if not acceptable:
        if not flags & RST:
            if flags & SYN:
                syn_challenge(sk)
            else:
                duplicate_acked(sk, info)
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
    if sk.ts_ok and ts_val is not None and seq <= sk.rcv_wup:
        sk.ts_recent = ts_val
    return True


def duplicate_acked(sk: TcpSock, info: SegmentInfo) -> None:
    """The segment is old or beyond the window: say what we expect (tcp_send_dupack).

    Data is always answered; bare segments no more often than twice a second, or two ends that disagree would never stop
    (tcp_oow_rate_limited).
    """
    if not info.n and not info.flags & (SYN | FIN) and _limited(sk):
        sk.inet.mibs.tcpext.TCPACKSkippedSeq += 1
        return
    sk.quick = max(sk.quick, 1)
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
    """Our FIN was acknowledged: move on (RFC 9293 3.10.7.4, fifth check)."""
    new = FIN_ACKED_TRANSITIONS.get(sk.state)
    if new is None or sk.snd_una != sk.snd_nxt or sk.unsent_bytes or sk.fin_queued:
        return
    if new == TCP_TIME_WAIT:
        enter_time_wait(sk, TCP_TIME_WAIT)
    elif new == TCP_CLOSE:
        done(sk)
    else:
        sk.set_state(TCP_FIN_WAIT2)
        sk.shutdown |= SEND_SHUTDOWN
        if not sk.dead:
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
    fin = bool(info.flags & FIN)
    n = info.n
    if sk.state in FIN_SEEN:
        if seq < sk.rcv_nxt:
            duplicate_acked(sk, info)  # our ACK of the FIN was lost
        return  # nothing may follow a FIN
    if n and sk.shutdown & RCV_SHUTDOWN and sk.state in (TCP_FIN_WAIT1, TCP_FIN_WAIT2) and seq + n > sk.rcv_nxt:
        # Data that nobody will read (RFC 1122 4.2.2.13).
        sk.inet.mibs.tcpext.TCPAbortOnData += 1
        send_reset_for(sk.tcp, skb, info, sk.ehash_key)
        reset(sk)
        return
    rcv_nxt = sk.rcv_nxt
    end = seq + n
    if end + fin <= rcv_nxt:
        sk.inet.mibs.tcpext.DelayedACKLost += 1
        duplicate_acked(sk, info)
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
            duplicate_acked(sk, info)
            return
    take(sk, payload(skb, info.header_len, rcv_nxt - seq, n), seq + n)
    hole = bool(sk.ofo)
    if hole and not fin:
        fin = ofo.advance(sk)
    if fin:
        peer_fin(sk)  # acknowledges
    elif hole:
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
    if seq + info.n > sk.rcv_adv or sk.rx_bytes + info.n > sk.rcvbuf:
        ext.TCPOFODrop += 1
    else:
        ext.TCPOFOQueue += 1
        ofo.insert(sk, seq, seq + info.n, payload(skb, info.header_len, 0, info.n), bool(info.flags & FIN))
    sk.quick = QUICKACKS
    sk.pingpong = False
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
    """tcp_fin(): the peer will send nothing more. Acknowledged at once."""
    sk.rcv_nxt += 1
    sk.shutdown |= RCV_SHUTDOWN
    sk.flags |= 2  # SOCK_DONE
    state = sk.state
    new = FIN_TRANSITIONS.get(state)
    sk.ofo = None
    send_ack(sk)
    if new is None:
        return
    if new == TCP_TIME_WAIT:
        enter_time_wait(sk, TCP_TIME_WAIT)
    else:
        sk.set_state(new)
    if not sk.dead:
        sk.state_change()


