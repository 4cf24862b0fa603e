"""Loss recovery: fast retransmit and NewReno (RFC 5681 3.2, RFC 6582), and what a timeout marks (RFC 6298 5.4-5.6).

Without SACK, each duplicate ACK says that one more segment left the network; it is counted in ``sack_out`` as Linux's Reno
emulation does, so that "in flight" (packets_out - sack_out - lost_out + retrans_out) stays right and new data keeps the ACKs
coming. Three of them (or fewer for a short flight: RFC 5827 is not used) mark the first segment lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysock.families.inet.tcp.output import retransmit, write_xmit
from pysock.families.inet.tcp.sock import CA_DISORDER, CA_LOSS, CA_OPEN, CA_RECOVERY

if TYPE_CHECKING:
    from pysock.families.inet.tcp.sock import TcpSock

DUPTHRESH = 3


def duplicate_ack(sk: TcpSock) -> None:
    """An ACK that acknowledges nothing while something is in flight."""
    sk.dupacks += 1
    if sk.sack_out + sk.lost_out < sk.packets_out:
        sk.sack_out += 1
    if sk.ca_state == CA_OPEN:
        sk.ca_state = CA_DISORDER
    if sk.ca_state == CA_DISORDER and sk.dupacks >= DUPTHRESH:
        enter_recovery(sk)
    elif sk.ca_state == CA_RECOVERY:
        write_xmit(sk)  # each one makes room for a new segment
    elif sk.ca_state == CA_DISORDER:
        write_xmit(sk)  # limited transmit (RFC 3042)


def enter_recovery(sk: TcpSock) -> None:
    """Fast retransmit: the first segment is lost, the window is halved."""
    queue = sk.rtx_queue
    if not queue:
        return
    mibs = sk.inet.mibs
    mibs.tcpext.TCPRenoRecovery += 1
    sk.ca_state = CA_RECOVERY
    sk.recover = sk.snd_nxt
    sk.ssthresh = sk.cong.ssthresh(sk)
    sk.cwnd = sk.ssthresh
    mibs.tcpext.TCPFastRetrans += 1
    retransmit(sk, queue[0])


def acked(sk: TcpSock, ack: int, segs: int) -> None:
    """New data was acknowledged while something was wrong."""
    sk.dupacks = 0
    # What left the window is no longer "somewhere behind a hole".
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
            segment.lost = False
        return
    queue = sk.rtx_queue
    if sk.ca_state == CA_RECOVERY:
        # Partial ACK: the next hole begins where it ends (RFC 6582 3.2 step 4).
        sk.sack_out = 0
        if queue:
            retransmit(sk, queue[0])
    elif sk.ca_state == CA_LOSS:
        sk.cong.cong_avoid(sk, segs)
        retransmit_lost(sk)


def enter_loss(sk: TcpSock) -> None:
    """The retransmission timer expired: all that is in flight counts as lost, and we start from one segment."""
    if sk.ca_state != CA_LOSS:
        sk.ssthresh = sk.cong.ssthresh(sk)
    sk.ca_state = CA_LOSS
    sk.recover = sk.snd_nxt
    sk.cwnd = 1
    sk.cwnd_cnt = sk.dupacks = sk.sack_out = sk.retrans_out = 0
    sk.lost_out = 0
    for segment in sk.rtx_queue or ():
        segment.lost = True
        sk.lost_out += segment.segs


def retransmit_lost(sk: TcpSock) -> None:
    """Send marked segments again as far as cwnd allows (tcp_xmit_retransmit_queue)."""
    for segment in list(sk.rtx_queue or ()):
        if not segment.lost:
            continue
        if sk.packets_out - sk.sack_out - sk.lost_out + sk.retrans_out >= sk.cwnd:
            return
        sk.inet.mibs.tcpext.TCPSlowStartRetrans += 1
        if retransmit(sk, segment):
            return
