"""Segments in: the entry for every TCP segment, and header prediction (tcp_v4_rcv, tcp_rcv_established).

Most segments of an established connection carry the next bytes in order, or acknowledge some of ours, and nothing
else. One comparison of the header's fixed part finds them, and they are done here; the rest goes to `input.segment`.
The counters TCPHPHits (data) and TCPPureAcks say how often it worked: tests assert them, because a wrong
test here would send everything the slow way and all would still work.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from pysock.core.clock import NEVER
from pysock.core.skbuff import SkBuff
from pysock.core.sock import WAKE_READABLE
from pysock.core.sock_cmsg import note_cpu
from pysock.families.inet.tcp import input as input_
from pysock.families.inet.tcp.ack import check_space, new_ack
from pysock.families.inet.tcp.output import send_ack, write_xmit
from pysock.families.inet.tcp.sock import ATO_MIN, TcpSock
from pysock.uapi.tcp import TCP_ESTABLISHED
from pysock.wire.tcp_options import TIMESTAMPS_WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.families.inet.tcp.net import TcpNet

M32 = 0xFFFFFFFF
#: (ports) seq | ack | offset+flags | window | (checksum, urgent) the timestamps option's first word | its value
_unpack = Struct("!4xIIHH4xII").unpack_from
_PSH = 0x08
_ACK_PSH_TS = 0x8018


def noting_cpus(tcp: TcpNet, rcv: Callable[[SkBuff], None]) -> Callable[[SkBuff], None]:
    """``rcv``, and in a kernel of several CPUs each connection remembers where its segments come in; before it is
    received, since then the packet is somebody else's.
    """
    if len(tcp.kernel.cpus) == 1:
        return rcv

    def noting(skb: SkBuff) -> None:
        if skb.sk.__class__ is TcpSock:
            note_cpu(skb.sk, skb)
        rcv(skb)

    return noting


def make_tcp_rcv(tcp: TcpNet) -> Callable[[SkBuff], None]:
    """The handler of protocol 6 in one namespace, with its counters bound."""
    mib = tcp.inet.mibs.tcp
    ext = tcp.inet.mibs.tcpext
    established = TCP_ESTABLISHED
    kernel = tcp.kernel

    def tcp_rcv(skb: SkBuff) -> None:
        """Take the next segment of a connection, by header prediction where that holds."""
        mib.InSegs += 1
        sk: TcpSock = skb.sk  # type: ignore[assignment]  # whoever stands in ehash; checked in the next line
        if sk.__class__ is not TcpSock or not skb.ip_summed or skb.len - skb.data_len < 32:
            input_.segment(tcp, skb)
            return
        seq, ack, flags, window, word, tsval = _unpack(skb.head, skb.data)
        rcv_nxt = sk.rcv_nxt
        snd_una = sk.snd_una
        acked = (ack - snd_una) & M32
        n = skb.len - 32
        end = rcv_nxt + n
        if (
            flags | _PSH != _ACK_PSH_TS
            or word != TIMESTAMPS_WORD
            or seq != rcv_nxt & M32
            or sk.state != established
            or not sk.ts_ok
            or sk.ofo
            or sk.ca_state
            or end > sk.rcv_adv
        ):
            input_.segment(tcp, skb)
            return
        if acked:
            if acked > sk.snd_nxt - snd_una:
                input_.segment(tcp, skb)
                return
        elif (sk.packets_out and not n) or (sk.unsent_bytes and not sk.packets_out):
            input_.segment(tcp, skb)  # perhaps a duplicate ACK, perhaps the window opens
            return
        if tsval != sk.ts_recent:
            if (tsval - sk.ts_recent) & 0x80000000:
                input_.segment(tcp, skb)
                return
            if rcv_nxt == sk.rcv_wup:
                sk.ts_recent = tsval
        window <<= sk.snd_wscale
        if window != sk.snd_wnd:
            sk.snd_wnd = window
            if window > sk.max_window:
                sk.max_window = window
        now = sk.last_rcv = kernel.now
        sk.probes_out = 0
        if acked:
            new_ack(sk, snd_una + acked)
        if not n:
            ext.TCPPureAcks += 1
            if sk.unsent_bytes:
                write_xmit(sk)
            if sk.nospace:
                check_space(sk)
            return
        ext.TCPHPHits += 1
        sk.rcv_nxt = end
        sk.rx_bytes += n
        sk.lrcvtime = now
        queue = sk.rx_queue
        if queue is None:
            queue = sk.rx_queue = deque()
        if skb.data_len == n:
            queue.extend(skb.frags)
        else:
            input_.queue_payload(sk, skb, 32)
        if acked and sk.unsent_bytes:
            write_xmit(sk)
        # __tcp_ack_snd_check(): now, or with the answer, or after 40 ms.
        if n > sk.rcv_mss:
            input_.measure_rcv_mss(sk, n, skb.gso_size)
        unacked = end - sk.rcv_wup
        if sk.delack_at != NEVER:
            if unacked > sk.rcv_mss or (sk.quick and not sk.pingpong):
                send_ack(sk)
        elif not unacked:
            pass  # the data we sent on the way acknowledged it
        elif sk.quick and not sk.pingpong:
            send_ack(sk)
        else:  # schedule_ack(), without the call
            at = sk.delack_at = now + ATO_MIN
            timer = sk.timer
            if timer is None or at < timer.expires:
                sk.arm(at)
        wait = sk.wait_queue
        if wait is not None and wait.entries:
            wait.wake(WAKE_READABLE)
        if acked and sk.nospace:
            check_space(sk)

    return tcp_rcv

