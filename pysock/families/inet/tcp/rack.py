"""Loss recovery with SACK: RACK (RFC 8985) finds what is lost, PRR (RFC 6937) says how much may leave.

Blocks of the peer mark segments as arrived; super-segments are cut at their edges. A segment is lost when one that was
sent later arrived, and it had a round trip and a reordering window more time. That window is nothing once three
segments arrived behind a hole and none was ever late; else a quarter of the least round trip, wider with every sign
(DSACK) that it was too short. What is not decided yet waits for `TcpSock.reo_at`.

The four counts of `recovery` hold here too; ``sack_out`` counts what was really SACKed.

Not here: tail loss probes (RFC 8985 7).
"""

from __future__ import annotations

from pysock.core.clock import NEVER, NSEC_PER_MSEC
from pysock.families.inet.tcp import rtt
from pysock.families.inet.tcp.output import write_xmit
from pysock.families.inet.tcp.recovery import DUPTHRESH, cut, mark_lost, retransmit_lost
from pysock.families.inet.tcp.scoreboard import NO_UNDO, begin_episode, board_of
from pysock.families.inet.tcp.sock import CA_DISORDER, CA_LOSS, CA_OPEN, CA_RECOVERY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.scoreboard import Scoreboard
    from pysock.families.inet.tcp.sock import Segment, TcpSock

M32 = 0xFFFFFFFF
MAX_STEPS = 255
PERSIST = 16  # recoveries for which a wider window stays (RFC 8985 6.2 step 4)


# What arrived ----------------------------------------------------------------------------------------------


def tag(sk: TcpSock, ack: int, edges: tuple[tuple[int, int], ...], echo: int) -> None:
    """Mark what the blocks of an ACK say (tcp_sacktag_write_queue). ``edges`` as on the wire; nonsense is ignored.
    ``echo`` is the timestamp that it returns, 0: none.
    """
    board = board_of(sk)
    board.echo = echo
    una = sk.snd_una
    told = [(_extend(left, una), _extend(right, una)) for left, right in edges]
    if told and _is_duplicate(told, ack):
        _duplicate(sk, board, told.pop(0))
    blocks = sorted((left, right) for left, right in told if ack <= left < right <= sk.snd_nxt)
    if len(blocks) < len(told):
        sk.inet.mibs.tcpext.TCPSACKDiscard += len(told) - len(blocks)
    queue = sk.rtx_queue
    if not blocks or not queue:
        return
    high = board.high
    sampled = False
    index = at = 0
    while index < len(queue) and at < len(blocks):
        left, right = blocks[at]
        segment = queue[index]
        if segment.end_seq <= left or segment.sacked:
            index += 1
        elif segment.seq >= right:
            at += 1
        elif segment.seq < left:
            segs = -(-(left - segment.seq) // sk.mss)
            cut(sk, index, segs)  # what is behind, if anything, is looked at next
            index += 1
        else:
            if segment.end_seq > right and right - segment.seq >= sk.mss:
                cut(sk, index, (right - segment.seq) // sk.mss)
            if segment.end_seq > right:
                at += 1
                continue
            if not segment.retrans:
                if segment.end_seq <= high:
                    board.reordered = True
                    sk.inet.mibs.tcpext.TCPSACKReorder += 1
                if not sampled:
                    rtt.update(sk, sk.kernel.now - segment.sent_at)
                    sampled = True
            _arrived(sk, board, segment)
            index += 1


def _extend(wire: int, near: int) -> int:
    return near + ((wire - near + 0x80000000) & M32) - 0x80000000


def _is_duplicate(told: list[tuple[int, int]], ack: int) -> bool:
    """Whether the first block is a DSACK: below the ACK, or inside the second one (RFC 2883 4)."""
    left, right = told[0]
    if right <= ack or left < ack:
        return left < right
    return len(told) > 1 and told[1][0] <= left and right <= told[1][1]


def _duplicate(sk: TcpSock, board: Scoreboard, block: tuple[int, int]) -> None:
    """The peer had these bytes already (tcp_check_dsack)."""
    ext = sk.inet.mibs.tcpext
    ext.TCPDSACKRecv += 1
    if block[1] > sk.snd_una:
        ext.TCPDSACKOfoRecv += 1
    if board.undo_at == NO_UNDO or block[1] <= board.undo_at:
        return
    board.duplicates += max(1, -(-(block[1] - block[0]) // sk.mss))
    now = sk.kernel.now
    if now - board.stepped_at >= sk.srtt >> 3:  # once a round trip
        board.stepped_at = now
        board.steps = min(board.steps + 1, MAX_STEPS)
        board.persist = PERSIST


def _arrived(sk: TcpSock, board: Scoreboard, segment: Segment) -> None:
    segs = segment.segs
    segment.sacked = True
    sk.sack_out += segs
    if segment.lost:
        segment.lost = False
        sk.lost_out -= segs
    if segment.resent:
        segment.resent = False
        sk.retrans_out -= segs
    if segment.end_seq > board.high:
        board.high = segment.end_seq
    delivered(sk, board, segment)


def delivered(sk: TcpSock, board: Scoreboard, segment: Segment) -> None:
    """``segment`` arrived, as an ACK or a block says: later ones are measured by it (tcp_rack_advance)."""
    took = sk.kernel.now - segment.sent_at
    if segment.retrans and (took < sk.min_rtt or rtt.stamped_before(sk, board.echo, segment.sent_at)):
        return  # it was the first transmission that arrived
    board.rack_rtt = took
    if (segment.sent_at, segment.end_seq) > (board.rack_at, board.rack_end):
        board.rack_at = segment.sent_at
        board.rack_end = segment.end_seq


# What is lost ----------------------------------------------------------------------------------------------


def detect(sk: TcpSock) -> None:
    """Mark what is lost by now, and look again when that may change (tcp_rack_detect_loss)."""
    board = board_of(sk)
    sk.reo_at = NEVER
    if not board.rack_at:
        return
    if not board.reordered and (sk.ca_state >= CA_RECOVERY or sk.sack_out >= DUPTHRESH):
        window = 0
    else:
        window = min((sk.min_rtt >> 2) * board.steps, sk.srtt >> 3)
    now = sk.kernel.now
    latest, end = board.rack_at, board.rack_end
    wait = 0
    for segment in sk.rtx_queue or ():
        if segment.sacked or (segment.lost and not segment.resent) or segment.sent_at > latest:
            continue
        # Sent at one reading of the clock: in the order of the stream, but for retransmissions, whose place is unknown.
        if segment.sent_at == latest and (segment.resent or segment.end_seq >= end):
            continue
        left = board.rack_rtt + window - (now - segment.sent_at)
        if left > 0:
            wait = max(wait, left)
            continue
        if segment.resent:
            segment.resent = False
            sk.retrans_out -= segment.segs
            sk.inet.mibs.tcpext.TCPLostRetransmit += segment.segs
        mark_lost(sk, segment)
    if wait:
        sk.reo_at = now + max(wait, NSEC_PER_MSEC)
        sk.arm(sk.reo_at)


def reordering_timer(sk: TcpSock) -> None:
    """The reordering window of something is over (tcp_rack_reo_timeout)."""
    before = sk.lost_out
    detect(sk)
    if sk.lost_out > before:
        if sk.ca_state < CA_RECOVERY:
            _enter_recovery(sk)
            _reduce(sk, board_of(sk), 1, False)
        retransmit_lost(sk)


# What follows from it --------------------------------------------------------------------------------------


def advance(sk: TcpSock, acked: int, arrived: int, late: bool) -> None:
    """An ACK was taken in while something is missing (tcp_fastretrans_alert): ``acked`` segments left the queue,
    ``arrived`` ones are known to have arrived that were not before. ``late``: the ACK proves that the first
    transmission arrived, after all, of what was sent again.
    """
    board = board_of(sk)
    if board.undo_at != NO_UNDO:
        _try_undo(sk, board, late)
    if sk.ca_state >= CA_RECOVERY and sk.snd_una >= sk.recover:
        _end_recovery(sk, board)
    detect(sk)
    state = sk.ca_state
    if state == CA_LOSS:
        sk.cong.cong_avoid(sk, acked)
    else:
        if state != CA_RECOVERY:
            if not sk.lost_out:
                sk.ca_state = CA_DISORDER if sk.sack_out else CA_OPEN
                if sk.sack_out:
                    write_xmit(sk)  # limited transmit (RFC 3042)
                return
            _enter_recovery(sk)
        _reduce(sk, board, arrived, acked > 0)
    retransmit_lost(sk)
    write_xmit(sk)


def _enter_recovery(sk: TcpSock) -> None:
    sk.inet.mibs.tcpext.TCPSackRecovery += 1
    begin_episode(sk)
    sk.ca_state = CA_RECOVERY
    sk.recover = sk.snd_nxt
    sk.ssthresh = sk.cong.ssthresh(sk)
    sk.cwnd_cnt = 0


def _reduce(sk: TcpSock, board: Scoreboard, arrived: int, advanced: bool) -> None:
    """How much may be in flight now (RFC 6937 3; tcp_cwnd_reduction)."""
    if arrived <= 0 or not board.prior_cwnd:
        return
    board.prr_delivered += arrived
    in_flight = sk.packets_out - sk.sack_out - sk.lost_out + sk.retrans_out
    sent = sk.total_retrans - board.retrans_base - (-(sk.snd_nxt - sk.recover) // sk.mss)
    if in_flight > sk.ssthresh:
        room = -(-sk.ssthresh * board.prr_delivered // board.prior_cwnd) - sent
    else:
        room = max(board.prr_delivered - sent, arrived) + advanced
        room = min(sk.ssthresh - in_flight, room)
    if not sent:
        room = max(room, 1)  # the fast retransmit itself
    sk.cwnd = max(in_flight + max(room, 0), 1)


def _end_recovery(sk: TcpSock, board: Scoreboard) -> None:
    """All that was sent before the loss was noticed has arrived."""
    if sk.ca_state == CA_RECOVERY:
        sk.cwnd = max(sk.ssthresh, 2)
    sk.ca_state = CA_OPEN
    sk.retrans_stamp = 0
    if board.persist:
        board.persist -= 1
        if not board.persist:
            board.steps = 1


def _try_undo(sk: TcpSock, board: Scoreboard, late: bool) -> None:
    """If nothing was lost, take the reduction back: everything that was sent again was there already (RFC 3708), or was
    only late (RFC 4015; tcp_try_undo_dsack, tcp_try_undo_loss, tcp_try_undo_partial).
    """
    state = sk.ca_state
    ext = sk.inet.mibs.tcpext
    if board.duplicates and board.duplicates >= sk.total_retrans - board.retrans_base:
        ext.TCPDSACKUndo += 1
    elif not late or state < CA_RECOVERY:
        return
    elif state == CA_LOSS:
        ext.TCPLossUndo += 1
    elif sk.snd_una < sk.recover:
        ext.TCPPartialUndo += 1
    else:
        ext.TCPFullUndo += 1
    board.undo_at = NO_UNDO
    sk.cwnd = max(sk.cwnd, board.prior_cwnd)
    sk.ssthresh = max(sk.ssthresh, board.prior_ssthresh)
    if state < CA_RECOVERY:
        return
    sk.ca_state = CA_OPEN
    sk.lost_out = 0
    for segment in sk.rtx_queue or ():
        segment.lost = False
