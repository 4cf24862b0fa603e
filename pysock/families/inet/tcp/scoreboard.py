"""What the sender of a connection with SACK remembers besides the marks of its segments (tcp_sock, struct tcp_rack).

`TcpSock.board` is made with the first block or the first loss. What it does is in `rack`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.sock import TcpSock

NO_UNDO = -1


class Scoreboard:
    """``rack_at`` and ``rack_end``: when the most recently sent segment that arrived was sent (ns), and where it ended;
    ``rack_rtt`` the round trip that it took (RFC 8985 5.2). ``high``: where the highest one that was SACKed ended.
    ``echo``: the timestamp that the latest ACK returned, 0: none. ``reordered``: segments have overtaken each other.
    ``steps`` widens the reordering window, in quarters of the least round trip; ``stepped_at`` when that happened last,
    ``persist`` for how many recoveries it stays.

    The episode of recovery under way: ``prior_cwnd`` and ``prior_ssthresh`` before it, ``prr_delivered`` segments
    arrived since (RFC 6937). If the peer had ``duplicates`` of all that was retransmitted since ``retrans_base``, it
    was for nothing, and is undone; ``undo_at`` is snd_una at its beginning, NO_UNDO when there is nothing to undo.
    """

    __slots__ = (
        "duplicates",
        "echo",
        "high",
        "persist",
        "prior_cwnd",
        "prior_ssthresh",
        "prr_delivered",
        "rack_at",
        "rack_end",
        "rack_rtt",
        "reordered",
        "retrans_base",
        "stepped_at",
        "steps",
        "undo_at",
    )

    def __init__(self) -> None:
        self.rack_at = self.rack_end = self.rack_rtt = self.high = self.echo = 0
        self.reordered = False
        self.steps = 1
        self.persist = self.stepped_at = 0
        self.prior_cwnd = self.prior_ssthresh = self.prr_delivered = self.retrans_base = self.duplicates = 0
        self.undo_at = NO_UNDO


def board_of(sk: TcpSock) -> Scoreboard:
    """The socket's, made now if it had none."""
    board = sk.board
    if board is None:
        board = sk.board = Scoreboard()
    return board


def begin_episode(sk: TcpSock) -> None:
    """The window is about to be reduced: remember what it was (tcp_init_undo, tcp_init_cwnd_reduction)."""
    board = board_of(sk)
    board.prior_cwnd = sk.cwnd
    board.prior_ssthresh = sk.ssthresh
    board.prr_delivered = board.duplicates = 0
    board.retrans_base = sk.total_retrans
    board.undo_at = sk.snd_una
    sk.retrans_stamp = 0
