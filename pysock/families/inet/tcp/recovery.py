"""Loss recovery: fast retransmit and NewReno (RFC 5681 3.2, RFC 6582) for peers without SACK
(with it, see `rack`), and what a timeout marks (RFC 6298 5.4-5.6).

Four counts of segments say what the network holds, as in Linux:

    packets_out   sent and not acknowledged
    sack_out      of these, arrived behind a hole: without SACK, one for each duplicate ACK (Linux's Reno emulation)
    lost_out      of these, thought lost
    retrans_out   of these, sent again since they were thought lost

    in flight = packets_out - sack_out - lost_out + retrans_out

Three duplicate ACKs mark the first segment lost; a partial ACK marks the next one; a timeout marks all of them.
Whatever is lost and not resent goes out as far as cwnd allows. Super-segments are cut first: only what is lost is
sent twice.
"""

from __future__ import annotations

from pysock.families.inet.tcp.output import retransmit, write_xmit
from pysock.families.inet.tcp.scoreboard import begin_episode
from pysock.families.inet.tcp.sock import CA_DISORDER, CA_LOSS, CA_OPEN, CA_RECOVERY, Segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.sock import TcpSock

DUPTHRESH = 3


def duplicate_ack(sk: TcpSock) -> None:
    """An ACK that acknowledges nothing while something is in flight."""
    sk.dupacks += 1
    if sk.sack_out + max(sk.lost_out, 1) < sk.packets_out:  # one at least is the hole (tcp_limit_reno_sacked)
        sk.sack_out += 1
    if sk.ca_state == CA_OPEN:
        sk.ca_state = CA_DISORDER
    if sk.ca_state == CA_DISORDER:
        if sk.dupacks >= DUPTHRESH:
            enter_recovery(sk)
        else:
            write_xmit(sk)  # limited transmit (RFC 3042)
    elif sk.ca_state == CA_RECOVERY:
        write_xmit(sk)  # each one makes room for a new segment
    else:
        retransmit_lost(sk)


def enter_recovery(sk: TcpSock) -> None:
    """Fast retransmit: the first segment is lost, the window is halved."""
    if not sk.rtx_queue:
        return
    mibs = sk.inet.mibs
    mibs.tcpext.TCPRenoRecovery += 1
    sk.ca_state = CA_RECOVERY
    sk.recover = sk.snd_nxt
    sk.ssthresh = sk.cong.ssthresh(sk)
    sk.cwnd = sk.ssthresh
    sk.cwnd_cnt = 0
    retransmit_head(sk)


def retransmit_head(sk: TcpSock) -> None:
    """The segment at snd_una is lost: send it again, whatever cwnd says (tcp_xmit_retransmit_queue sends one at
    least).
    """
    queue = sk.rtx_queue
    if not queue:
        return
    cut(sk, 0, 1)
    head = queue[0]
    mark_lost(sk, head)
    if head.resent:  # the retransmission was lost too
        head.resent = False
        sk.retrans_out -= head.segs
    sk.sack_out = min(sk.sack_out, sk.packets_out - sk.lost_out)
    sk.inet.mibs.tcpext.TCPFastRetrans += 1
    retransmit(sk, head)


def mark_lost(sk: TcpSock, segment: Segment) -> None:
    if not segment.lost:
        segment.lost = True
        sk.lost_out += segment.segs


def cut(sk: TcpSock, index: int, segs: int) -> None:
    """Split the super-segment at ``index`` of rtx_queue so that it holds ``segs`` segments (tcp_fragment)."""
    queue = sk.rtx_queue
    assert queue is not None
    old = queue[index]
    n = segs * sk.mss
    if old.segs <= segs or old.end_seq - old.seq <= n:
        return
    front: list[bytes | memoryview] = []
    back: list[bytes | memoryview] = []
    left = n
    for frag in old.frags:
        size = len(frag)
        if size <= left:
            front.append(frag)
        elif left:
            view = memoryview(frag)
            front.append(view[:left])
            back.append(view[left:])
        else:
            back.append(frag)
        left = max(left - size, 0)
    new = Segment(old.seq + n, old.end_seq, tuple(back), old.flags, old.segs - segs, old.sent_at)
    new.lost, new.resent, new.retrans, new.sacked = old.lost, old.resent, old.retrans, old.sacked
    old.end_seq = new.seq
    old.frags = tuple(front)
    old.flags = 0
    old.segs = segs
    queue.insert(index + 1, new)


def acked(sk: TcpSock, ack: int, segs: int) -> None:
    """New data was acknowledged while something was wrong."""
    sk.dupacks = 0
    # One of what left was the hole; the rest had been counted as having arrived (tcp_remove_reno_sacks).
    sk.sack_out = max(0, sk.sack_out - max(segs - 1, 0))
    if sk.ca_state == CA_DISORDER:
        sk.ca_state = CA_OPEN
        sk.sack_out = 0
        return
    if ack >= sk.recover:
        if sk.ca_state == CA_RECOVERY:
            sk.cwnd = max(sk.ssthresh, 2)
        sk.ca_state = CA_OPEN
        sk.sack_out = sk.lost_out = sk.retrans_out = 0
        for segment in sk.rtx_queue or ():
            segment.lost = segment.resent = False
        return
    sk.sack_out = min(sk.sack_out, max(sk.packets_out - max(sk.lost_out, 1), 0))
    if sk.ca_state == CA_RECOVERY:
        retransmit_head(sk)  # partial ACK: the next hole begins where it ends (RFC 6582 3.2 step 4)
    elif sk.ca_state == CA_LOSS:
        sk.cong.cong_avoid(sk, segs)
        retransmit_lost(sk)


def enter_loss(sk: TcpSock) -> None:
    """The retransmission timer expired: all that is in flight counts as lost, and we start from one segment
    (tcp_enter_loss).

    ssthresh is lowered once a window of data, not again for a window that recovery already paid for.
    """
    if sk.ca_state in (CA_OPEN, CA_DISORDER) or (sk.ca_state == CA_LOSS and not sk.retransmits):
        if sk.sack_ok:
            begin_episode(sk)
        sk.ssthresh = sk.cong.ssthresh(sk)
    sk.ca_state = CA_LOSS
    sk.recover = sk.snd_nxt
    sk.cwnd = 1
    sk.cwnd_cnt = sk.dupacks = sk.retrans_out = sk.lost_out = 0
    queue = sk.rtx_queue
    if not sk.sack_ok or not queue:
        sk.sack_out = 0
    elif queue[0].sacked:  # the peer took its SACK back (RFC 2018 8)
        sk.inet.mibs.tcpext.TCPSACKReneging += 1
        sk.sack_out = 0
        for segment in queue:
            segment.sacked = False
    for segment in queue or ():
        segment.resent = False
        if not segment.sacked:
            segment.lost = True
            sk.lost_out += segment.segs


def retransmit_lost(sk: TcpSock) -> None:
    """Send what is lost and was not sent again since, as far as cwnd allows (tcp_xmit_retransmit_queue)."""
    queue = sk.rtx_queue
    if not queue or sk.lost_out <= sk.retrans_out:
        return
    index = 0
    while index < len(queue):
        segment = queue[index]
        if segment.lost and not segment.resent:
            room = sk.cwnd - (sk.packets_out - sk.sack_out - sk.lost_out + sk.retrans_out)
            if room <= 0:
                return
            cut(sk, index, room)
            if sk.ca_state == CA_RECOVERY:
                sk.inet.mibs.tcpext.TCPFastRetrans += 1
            else:
                sk.inet.mibs.tcpext.TCPSlowStartRetrans += 1
            if retransmit(sk, segment):
                return
        index += 1
