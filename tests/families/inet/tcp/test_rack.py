"""The sender's half of SACK: the scoreboard, RACK (RFC 8985) and PRR (RFC 6937), timeouts, undoing (RFC 2883)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tcp_diary import Conn, Diary

from pysock.core.netdev_features import NETIF_F_TAKES_ALL
from pysock.families.inet.tcp.sock import CA_DISORDER, CA_LOSS, CA_OPEN, CA_RECOVERY

MSS = 1000
BYTES = 10 * MSS


def consistent(conn: Conn) -> None:
    """The four counts agree with what the queue holds."""
    sk = conn.sk
    queue = list(sk.rtx_queue or ())
    assert sk.packets_out == sum(s.segs for s in queue)
    assert sk.lost_out == sum(s.segs for s in queue if s.lost)
    assert sk.retrans_out == sum(s.segs for s in queue if s.resent)
    assert sk.sack_out == sum(s.segs for s in queue if s.sacked)
    assert not any(s.sacked and (s.lost or s.resent) for s in queue)
    at = sk.snd_una
    for segment in queue:
        assert segment.seq == at
        at = segment.end_seq
    assert at == sk.snd_nxt
    assert sk.cwnd >= 1


def start(d: Diary, segments: int = 10, cwnd: int = 10) -> Conn:
    """A connection with a round trip of 50 ms that has ``segments`` in flight since 50 ms."""
    conn = d.connect(mss=MSS, sack=True)
    conn.sk.sndbuf = 1 << 20
    conn.sock.send(b"r" * MSS)
    d.sleep(ms=50)
    conn.peer.send(".", seq=1, ack=1001)
    conn.sk.cwnd = cwnd
    d.forget()
    conn.sock.send(b"a" * MSS * segments)
    d.forget()
    d.sleep(ms=50)
    return conn


def ack(conn: Conn, ack: int, *blocks: tuple[int, int]) -> list[int]:
    """The peer acknowledges, in segments from 0; what is sent because of it, likewise."""
    edges = tuple((1001 + a * MSS, 1001 + b * MSS) for a, b in blocks)
    conn.peer.send(".", seq=1, ack=1001 + ack * MSS, sack=edges)
    consistent(conn)
    return sent(conn)


def sent(conn: Conn) -> list[int]:
    return [at for seq, n in conn.peer.expect_all() for at in range((seq - 1001) // MSS, (seq - 1001 + n) // MSS)]


def test_three_behind_a_hole(d: Diary) -> None:
    conn = start(d)
    assert ack(conn, 0, (1, 2)) == []
    assert conn.sk.ca_state == CA_DISORDER
    assert ack(conn, 0, (1, 3)) == []
    assert ack(conn, 0, (1, 4)) == [0]
    assert conn.sk.ca_state == CA_RECOVERY
    assert conn.sk.ssthresh == 5
    assert (d.ext.TCPSackRecovery, d.ext.TCPFastRetrans) == (1, 1)
    d.sleep(ms=50)
    assert ack(conn, 10) == []
    assert (conn.sk.ca_state, conn.sk.cwnd) == (CA_OPEN, 5)


def test_every_hole_at_once(d: Diary) -> None:
    """What NewReno needs a round trip each for."""
    conn = start(d)
    again = ack(conn, 0, (1, 2), (3, 4), (5, 10))
    d.sleep(ms=50)
    again += ack(conn, 1, (3, 4), (5, 10)) + ack(conn, 3, (3, 4), (5, 10))
    assert again == [0, 2, 4]
    d.sleep(ms=50)
    assert ack(conn, 10) == []
    assert d.mib.RetransSegs == 3


def test_blocks_above_the_hole_make_room(d: Diary) -> None:
    conn = start(d, 10)
    conn.sock.send(b"b" * MSS * 10)
    assert ack(conn, 0, (1, 2)) == [10]  # limited transmit
    assert ack(conn, 0, (1, 3)) == [11]


def test_reduction_is_proportional(d: Diary) -> None:
    """One segment leaves for two that arrive, until half the window is reached (RFC 6937)."""
    conn = start(d, 20, 20)
    conn.sock.send(b"b" * MSS * 20)
    d.forget()
    new = []
    for end in range(2, 21):
        new += ack(conn, 0, (1, end))
    assert new.count(0) == 1
    assert len(new) - 2 in (8, 9)  # two were limited transmit


def test_one_behind_a_hole_waits_for_the_window(d: Diary) -> None:
    conn = start(d, 2)
    assert ack(conn, 0, (1, 2)) == []
    d.sleep(ms=5)
    d.silent()
    d.sleep(ms=15)  # a quarter of the round trip is 12.5
    assert sent(conn) == [0]
    assert conn.sk.ca_state == CA_RECOVERY
    consistent(conn)


def test_a_late_segment_is_not_lost(d: Diary) -> None:
    conn = start(d, 3)
    assert ack(conn, 0, (1, 2)) == []
    d.sleep(ms=5)
    assert ack(conn, 2) == []
    assert conn.sk.ca_state == CA_OPEN
    d.sleep(ms=50)
    d.silent()


def test_reordering_widens_the_window(d: Diary) -> None:
    conn = start(d)
    ack(conn, 0, (4, 5))
    assert ack(conn, 0, (1, 2), (4, 5)) == []
    assert d.ext.TCPSACKReorder == 1
    assert ack(conn, 0, (1, 5)) == []  # four behind the hole, and patience
    d.sleep(ms=20)
    assert sent(conn) == [0]


def test_lost_retransmission(d: Diary) -> None:
    conn = start(d, 10)
    conn.sock.send(b"b" * MSS * 10)
    d.forget()
    assert 0 in ack(conn, 0, (1, 8))
    d.sleep(ms=50)
    later = ack(conn, 0, (1, 10))
    assert later
    assert 0 not in later
    d.sleep(ms=50)
    assert 0 in ack(conn, 0, (1, later[-1] + 1))  # what left after the retransmission arrived before it
    assert d.ext.TCPLostRetransmit == 1
    assert d.ext.TCPTimeouts == 0


def test_timeout_keeps_what_arrived(d: Diary) -> None:
    conn = start(d, 5)
    ack(conn, 0, (2, 3))
    conn.sk.reo_at = 1 << 62
    d.sleep(ms=400)
    assert conn.sk.ca_state == CA_LOSS
    assert (conn.sk.lost_out, conn.sk.sack_out) == (4, 1)
    consistent(conn)
    d.forget()
    assert ack(conn, 1, (2, 3)) == [1, 3]


def test_reneging(d: Diary) -> None:
    conn = start(d, 3)
    ack(conn, 0, (1, 3))
    ack(conn, 1)  # it should have been 3
    d.forget()
    d.sleep(s=1)
    assert d.ext.TCPSACKReneging == 1
    consistent(conn)
    assert sent(conn)[0] == 1


def test_undone_when_nothing_was_lost(d: Diary) -> None:
    conn = start(d, 10)
    assert ack(conn, 0, (1, 4)) == [0]
    assert conn.sk.ssthresh == 5
    ack(conn, 10)  # the first one was late, and here comes its copy
    assert ack(conn, 10, (0, 1)) == []
    assert (conn.sk.cwnd, d.ext.TCPDSACKUndo, d.ext.TCPDSACKRecv) == (10, 1, 1)
    assert conn.sk.ssthresh > 1000


def test_timeout_undone(d: Diary) -> None:
    conn = start(d, 1)
    d.sleep(ms=300)
    assert sent(conn) == [0]
    ack(conn, 1, (0, 1))
    assert d.ext.TCPDSACKUndo == 1
    assert conn.sk.cwnd == 10


def test_old_duplicates_undo_nothing(d: Diary) -> None:
    conn = start(d, 4)
    ack(conn, 4, (0, 1))
    assert d.ext.TCPDSACKUndo == 0
    assert conn.sk.ca_state == CA_OPEN


def test_super_segments_are_cut_at_the_edges() -> None:
    d = Diary(features=NETIF_F_TAKES_ALL)
    conn = start(d, 10)
    assert ack(conn, 0, (2, 4), (6, 10)) == [0, 1] or conn.sk.lost_out == 4
    d.sleep(ms=20)
    for _ in range(5):
        conn.peer.expect_all()
        conn.peer.send(".", seq=1, ack=conn.sk.snd_una - (conn.peer.irs or 0), sack=())
        consistent(conn)
    assert [s.segs for s in conn.sk.rtx_queue or () if s.sacked] == [2, 4]
    ack(conn, 10)
    assert conn.sk.packets_out == 0


def test_limits_of_a_block_inside_segments(d: Diary) -> None:
    """Half a segment does not count."""
    conn = start(d, 4)
    conn.peer.send(".", seq=1, ack=1001, sack=((2501, 4501),))
    consistent(conn)
    assert [s.sacked for s in conn.sk.rtx_queue or ()] == [False, False, True, False]


EDGE = st.integers(-2000, 14000)


@pytest.mark.parametrize("offload", [False, True])
@given(
    acks=st.lists(
        st.tuples(EDGE, st.lists(st.tuples(EDGE, EDGE), max_size=4), st.sampled_from([0, 1, 30, 400])), max_size=12
    )
)
def test_any_blocks(offload: bool, acks: list[tuple[int, list[tuple[int, int]], int]]) -> None:
    """Whatever a peer claims, the counts agree with the queue, and nothing raises."""
    d = Diary(features=NETIF_F_TAKES_ALL if offload else 0)
    conn = start(d)
    conn.sock.send(b"b" * MSS * 3)
    for at, blocks, ms in acks:
        conn.peer.send(".", seq=1, ack=1001 + at, sack=tuple((1001 + a, 1001 + b) for a, b in blocks))
        consistent(conn)
        d.sleep(ms=ms)
        consistent(conn)
    assert not d.kernel.errors.total


class TestTimestamps:
    """What the echo of a timestamp proves (RFC 7323 4, RFC 4015)."""

    def start(self, d: Diary, segments: int) -> Conn:
        conn = d.connect(mss=MSS + 12, sack=True, timestamps=True)
        conn.sk.sndbuf = 1 << 20
        d.sleep(ms=50)
        conn.sock.send(b"r" * MSS)
        d.sleep(ms=50)
        conn.peer.expect()
        conn.peer.send(".", seq=1, ack=1001)
        conn.sock.send(b"a" * MSS * segments)
        conn.peer.expect()
        d.forget()
        d.sleep(ms=50)
        return conn

    def test_timeout_for_nothing(self, d: Diary) -> None:
        conn = self.start(d, 5)
        before = conn.sk.cwnd
        d.sleep(ms=300)
        assert sent(conn) == [0]
        conn.peer.ts_echo -= 1000  # of the first transmission
        assert ack(conn, 1) == []  # and the others are not sent again
        assert d.ext.TCPLossUndo == 1
        assert conn.sk.cwnd >= before
        assert conn.sk.lost_out == 0

    def test_a_real_timeout(self, d: Diary) -> None:
        conn = self.start(d, 5)
        d.sleep(ms=300)
        assert sent(conn) == [0]
        assert ack(conn, 1) == [1, 2]
        assert d.ext.TCPLossUndo == 0

    @pytest.mark.parametrize(("upto", "counter"), [(10, "TCPFullUndo"), (5, "TCPPartialUndo")])
    def test_recovery_for_nothing(self, d: Diary, upto: int, counter: str) -> None:
        conn = self.start(d, 10)
        echo = conn.peer.ts_echo
        assert ack(conn, 0, (1, 4)) == [0]
        conn.peer.ts_echo = echo
        ack(conn, upto)
        assert getattr(d.ext, counter) == 1
        assert conn.sk.ca_state == CA_OPEN
        assert conn.sk.ssthresh > 1000

    def test_a_retransmitted_segment_is_timed(self, d: Diary) -> None:
        conn = self.start(d, 1)
        d.sleep(ms=300)
        assert sent(conn) == [0]
        backed_off = conn.sk.rto
        d.sleep(ms=30)
        at = conn.sk.rtt_at
        ack(conn, 1)
        assert conn.sk.rtt_at > at
        assert conn.sk.rto < backed_off
