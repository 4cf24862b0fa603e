"""Loss: round-trip estimation and back-off (RFC 6298), fast retransmit and NewReno (RFC 5681, RFC 6582), giving up."""

from __future__ import annotations

import errno

import pytest
from support.tcp_diary import Conn, Diary

from pysock.core.clock import NSEC_PER_MSEC
from pysock.core.netdev_features import NETIF_F_TAKES_ALL
from pysock.families.inet.tcp.sock import CA_LOSS, CA_OPEN, CA_RECOVERY
from pysock.families.inet.tcp.timers import model_timeout
from pysock.uapi.tcp import TCP_ESTABLISHED, TCP_NODELAY, TCP_USER_TIMEOUT

MS = NSEC_PER_MSEC


def consistent(conn: Conn) -> None:
    """The four counts agree with what the queue holds."""
    sk = conn.sk
    queue = list(sk.rtx_queue or ())
    assert sk.packets_out == sum(s.segs for s in queue)
    assert sk.lost_out == sum(s.segs for s in queue if s.lost)
    assert sk.retrans_out == sum(s.segs for s in queue if s.resent)
    assert 0 <= sk.sack_out <= sk.packets_out - sk.lost_out
    at = sk.snd_una
    for segment in queue:
        assert segment.seq == at
        at = segment.end_seq
    assert at == sk.snd_nxt


class TestRoundTrip:
    def connected(self, d: Diary, ms: int) -> Conn:
        """A connection whose handshake took ``ms``."""
        d.listen()
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        d.sleep(ms=ms)
        peer.send(".", seq=1, ack=1)
        assert d.listener is not None
        conn = Conn(d.listener.accept(), peer)
        conn.sock.setopt(TCP_NODELAY, 1)
        return conn

    def test_first_sample(self, d: Diary) -> None:
        sk = self.connected(d, 100).sk
        assert sk.srtt >> 3 == 100 * MS  # SRTT <- R
        assert sk.rttvar >> 2 == 50 * MS  # RTTVAR <- R/2
        assert sk.rto == 100 * MS + 200 * MS  # SRTT + max(G, 4 RTTVAR)

    def test_second_sample(self, d: Diary) -> None:
        conn = self.connected(d, 100)
        conn.sock.send(b"x")
        d.sleep(ms=180)
        conn.peer.send(".", seq=1, ack=2)
        sk = conn.sk
        assert sk.rttvar >> 2 == (3 * 50 + 80) * MS // 4
        assert sk.srtt >> 3 == (7 * 100 + 180) * MS // 8
        assert sk.rto == (sk.srtt >> 3) + sk.rttvar

    def test_the_least_rto(self, d: Diary) -> None:
        assert self.connected(d, 0).sk.rto == pytest.approx(200 * MS, abs=MS)

    def test_a_retransmitted_segment_gives_no_sample(self, d: Diary) -> None:
        conn = self.connected(d, 100)
        before = conn.sk.srtt, conn.sk.rttvar
        conn.sock.send(b"x")
        d.sleep(ms=300)
        rto = conn.sk.rto
        assert rto == 600 * MS  # backed off ...
        conn.peer.send(".", seq=1, ack=2)
        assert (conn.sk.srtt, conn.sk.rttvar) == before
        assert conn.sk.rto == rto  # ... until there is a sample (Karn)
        conn.sock.send(b"y")
        d.sleep(ms=100)
        conn.peer.send(".", seq=1, ack=3)
        assert conn.sk.rto < rto

    def test_the_oldest_segment_is_the_sample(self, d: Diary) -> None:
        conn = self.connected(d, 100)
        conn.sock.send(b"x")
        d.sleep(ms=80)
        conn.sock.send(b"y")
        d.sleep(ms=20)
        conn.peer.send(".", seq=1, ack=3)
        assert conn.sk.srtt >> 3 == 100 * MS


class TestTimeout:
    def test_back_off_doubles(self, d: Diary) -> None:
        conn = d.accept()
        conn.sock.send(b"hello")
        first = conn.peer.expect("P.", seq=1, data=b"hello")
        d.sleep(s=7)
        times = []
        while d.ops.sent:
            times.append(conn.peer.expect("P.", seq=1, data=b"hello").at - first.at)
            consistent(conn)
        assert [round(t / (200 * MS)) for t in times] == [1, 3, 7, 15, 31]
        assert d.ext.TCPTimeouts == 5
        assert d.mib.RetransSegs == 5

    def test_go_back_with_a_window_of_one(self, d: Diary) -> None:
        conn = d.accept(mss=1000)
        conn.sock.send(b"a" * 6000)
        assert len(conn.peer.expect_all()) == 6
        d.sleep(ms=conn.sk.rto / MS)
        assert conn.peer.expect_all() == [(1, 1000)]
        assert (conn.sk.cwnd, conn.sk.ssthresh) == (1, 5)
        assert conn.sk.ca_state == CA_LOSS
        consistent(conn)
        conn.peer.send(".", seq=1, ack=1001)
        assert conn.peer.expect_all() == [(1001, 1000), (2001, 1000)]  # slow start over what is lost
        consistent(conn)
        conn.peer.send(".", seq=1, ack=6001)  # the rest had arrived
        d.silent()
        assert conn.sk.ca_state == CA_OPEN
        consistent(conn)

    def test_progress_resets_the_count_not_the_rto(self, d: Diary) -> None:
        conn = d.accept()
        conn.sock.send(b"hello")
        d.sleep(s=1)
        assert conn.sk.retransmits == 2
        conn.peer.send(".", seq=1, ack=6)
        assert conn.sk.retransmits == 0
        d.forget()
        d.sleep(s=10)
        d.silent()

    def test_giving_up(self, d: Diary) -> None:
        conn = d.accept()
        conn.sock.send(b"hello")
        d.sleep(s=924)
        assert conn.sk.state == TCP_ESTABLISHED
        d.sleep(s=130)
        with pytest.raises(TimeoutError) as info:
            conn.sock.recv()
        assert info.value.errno == errno.ETIMEDOUT
        assert conn.sock.recv() == b""
        assert d.ext.TCPAbortOnTimeout == 1
        assert d.mib.CurrEstab == 0

    def test_model(self) -> None:
        assert model_timeout(15) == 924_600 * MS  # tcp_retries2's "hypothetical timeout" of ip-sysctl
        assert model_timeout(0) == 200 * MS
        assert model_timeout(2) == 1400 * MS

    def test_retries2(self, d: Diary) -> None:
        d.net.sysctl.set("net.ipv4.tcp_retries2", 3)
        conn = d.accept()
        conn.sock.send(b"hello")
        d.sleep(s=10)
        with pytest.raises(TimeoutError):
            conn.sock.recv()

    def test_user_timeout(self, d: Diary) -> None:
        conn = d.accept()
        conn.sock.setopt(TCP_USER_TIMEOUT, 5000)
        conn.sock.send(b"hello")
        d.sleep(s=5.1)
        assert conn.sk.state == TCP_ESTABLISHED
        d.sleep(s=0.2)
        with pytest.raises(TimeoutError):
            conn.sock.recv()

    def test_user_timeout_of_a_closed_window(self, d: Diary) -> None:
        conn = d.accept(win=1000)
        conn.sock.setopt(TCP_USER_TIMEOUT, 5000)
        conn.sock.send(b"a" * 2000)
        d.forget()
        conn.peer.send(".", seq=1, ack=1001, win=0)
        for _ in range(20):
            d.sleep(ms=500)
            while d.ops.sent:
                conn.peer.expect()
                conn.peer.send(".", seq=1, ack=1001, win=0)  # alive, but it does not read
        with pytest.raises(TimeoutError):
            conn.sock.recv()

    def test_probes_go_on_while_they_are_answered(self, d: Diary) -> None:
        conn = d.accept(win=1000)
        conn.sock.send(b"a" * 2000)
        conn.peer.send(".", seq=1, ack=1001, win=0)
        for _ in range(300):
            d.sleep(s=10)
            while d.ops.sent:
                conn.peer.expect()
                conn.peer.send(".", seq=1, ack=1001, win=0)
        assert conn.sk.state == TCP_ESTABLISHED

    def test_probes_without_answer_give_up(self, d: Diary) -> None:
        conn = d.accept(win=1000)
        conn.sock.send(b"a" * 2000)
        conn.peer.send(".", seq=1, ack=1001, win=0)
        d.sleep(s=2000)
        assert d.ext.TCPWinProbe == 15
        with pytest.raises(TimeoutError):
            conn.sock.recv()

    def test_super_segment_is_not_sent_whole_again(self) -> None:
        d = Diary(features=NETIF_F_TAKES_ALL)
        conn = d.accept(mss=1000)
        conn.sock.send(b"a" * 5000)
        conn.peer.expect("P.", n=5000)
        d.sleep(ms=conn.sk.rto / MS)
        conn.peer.expect(seq=1, n=1000)
        consistent(conn)
        conn.peer.send(".", seq=1, ack=1001)
        conn.peer.expect(seq=1001, n=2000)
        consistent(conn)
        conn.peer.send(".", seq=1, ack=2001)
        consistent(conn)
        conn.peer.send(".", seq=1, ack=5001)
        consistent(conn)


class TestFastRetransmit:
    def start(self, d: Diary, segments: int = 10, timestamps: bool = False) -> Conn:
        conn = d.accept(mss=1012 if timestamps else 1000, timestamps=timestamps)
        conn.sk.sndbuf = 1 << 20
        conn.sock.send(b"a" * 1000 * segments)
        conn.peer.expect_all()
        d.sleep(ms=10)
        return conn

    def duplicates(self, conn: Conn, ack: int, count: int) -> None:
        for _ in range(count):
            conn.peer.send(".", seq=1, ack=ack)
            consistent(conn)

    def test_third_duplicate(self, d: Diary) -> None:
        conn = self.start(d)
        self.duplicates(conn, 1, 2)
        d.silent()
        assert conn.sk.ca_state != CA_RECOVERY
        self.duplicates(conn, 1, 1)
        assert conn.peer.expect_all() == [(1, 1000)]
        assert conn.sk.ca_state == CA_RECOVERY
        assert conn.sk.ssthresh == 5
        assert d.ext.TCPFastRetrans == 1
        assert d.ext.TCPRenoRecovery == 1
        conn.peer.send(".", seq=1, ack=10001)
        assert conn.sk.ca_state == CA_OPEN
        assert conn.sk.cwnd == 5
        consistent(conn)

    def test_limited_transmit(self, d: Diary) -> None:
        conn = self.start(d, 20)
        self.duplicates(conn, 1, 2)
        assert conn.peer.expect_all() == [(10001, 1000), (11001, 1000)]

    def test_new_data_during_recovery(self, d: Diary) -> None:
        conn = self.start(d, 20)
        self.duplicates(conn, 1, 9)
        sent = conn.peer.expect_all()
        assert sent.count((1, 1000)) == 1
        assert (10001, 1000) in sent

    @pytest.mark.parametrize("timestamps", [False, True])
    def test_partial_ack_retransmits_the_next_hole(self, d: Diary, timestamps: bool) -> None:
        conn = self.start(d, timestamps=timestamps)
        self.duplicates(conn, 1, 8)  # 1 and 5 are lost
        assert (1, 1000) in conn.peer.expect_all()
        conn.peer.send(".", seq=1, ack=4001)
        consistent(conn)
        assert (4001, 1000) in conn.peer.expect_all()
        assert conn.sk.ca_state == CA_RECOVERY
        conn.peer.send(".", seq=1, ack=10001)
        consistent(conn)
        assert conn.sk.ca_state == CA_OPEN
        assert conn.sk.ssthresh == 5  # one window, one reduction

    def test_data_and_window_updates_are_not_duplicates(self, d: Diary) -> None:
        conn = self.start(d)
        for i in range(5):
            conn.peer.send("P.", seq=1 + i, ack=1, data=b"x")
        for i in range(5):
            conn.peer.send(".", seq=6, ack=1, win=60000 - i)
        conn.peer.send("F.", seq=6, ack=1)
        assert conn.sk.dupacks == 0
        assert d.ext.TCPFastRetrans == 0

    def test_lost_retransmission_ends_in_a_timeout(self, d: Diary) -> None:
        conn = self.start(d)
        self.duplicates(conn, 1, 3)
        d.forget()
        ssthresh = conn.sk.ssthresh
        d.sleep(s=1)
        assert conn.sk.ca_state == CA_LOSS
        assert conn.sk.ssthresh == ssthresh  # this window has paid
        consistent(conn)
        assert (1, 1000) in conn.peer.expect_all()

    def test_fast_retransmit_of_super_segments(self) -> None:
        d = Diary(features=NETIF_F_TAKES_ALL)
        conn = d.accept(mss=1000)
        conn.sk.sndbuf = 1 << 20
        conn.sock.send(b"a" * 10000)
        conn.peer.expect_all()
        for _ in range(3):
            conn.peer.send(".", seq=1, ack=1)
            consistent(conn)
        assert conn.peer.expect_all() == [(1, 1000)]
        conn.peer.send(".", seq=1, ack=2001)
        consistent(conn)
        assert conn.peer.expect_all()[0] == (2001, 1000)

    def test_partly_acknowledged_segments(self, d: Diary) -> None:
        conn = self.start(d)
        for ack in (1, 501, 1501, 1601, 9001, 9999, 10001):
            conn.peer.send(".", seq=1, ack=ack)
            consistent(conn)
        assert conn.sk.packets_out == 0
