"""Data out: segmentation, Nagle and its switches, the peer's window and its probes, buffers, congestion window."""

from __future__ import annotations

import pytest
from support.tcp_diary import Conn, Diary, Sock

from pysock.core.netdev_features import NETIF_F_TAKES_ALL
from pysock.uapi.ioctl import SIOCOUTQ
from pysock.uapi.poll import EPOLLOUT
from pysock.uapi.socket import MSG_MORE
from pysock.uapi.tcp import TCP_CORK, TCP_NODELAY


class TestSegments:
    def test_cut_by_mss(self, d: Diary) -> None:
        conn = d.accept(mss=1000)
        assert conn.sock.send(b"a" * 2500) == 2500
        assert conn.peer.expect_all() == [(1, 1000), (1001, 1000), (2001, 500)]

    def test_timestamps_take_twelve_bytes(self, d: Diary) -> None:
        conn = d.accept(mss=1000, timestamps=True)
        conn.sock.send(b"a" * 2000)
        assert conn.peer.expect_all() == [(1, 988), (989, 988), (1977, 24)]

    def test_super_segments_for_devices_that_take_them(self) -> None:
        d = Diary(features=NETIF_F_TAKES_ALL)
        conn = d.accept(mss=1000)
        conn.sock.send(b"a" * 5000)
        assert conn.peer.expect_all() == [(1, 5000)]

    def test_initial_window_is_ten_segments(self, d: Diary) -> None:
        conn = d.accept(mss=1000)
        conn.sock.send(b"a" * 30000)
        assert conn.peer.expect_all() == [(1 + 1000 * i, 1000) for i in range(10)]

    def test_initial_window_of_super_segments(self) -> None:
        d = Diary(features=NETIF_F_TAKES_ALL)
        conn = d.accept(mss=1000)
        conn.sock.send(b"a" * 25000)
        assert conn.sk.packets_out <= 10

    def test_not_connected(self, d: Diary) -> None:
        for sock in (Sock(d), d.listen()):
            with pytest.raises(BrokenPipeError):
                sock.send(b"x")

    def test_pending_connection(self, d: Diary) -> None:
        sock = Sock(d)
        d.syn_from(sock)
        with pytest.raises(BlockingIOError):
            sock.send(b"x")

    def test_empty(self, d: Diary) -> None:
        conn = d.accept()
        assert conn.sock.send(b"") == 0
        d.silent()

    def test_outq(self, d: Diary) -> None:
        conn = d.accept()
        conn.sock.send(b"x" * 100)
        assert conn.sock.ioctl(SIOCOUTQ) == 100
        conn.peer.send(".", seq=1, ack=41)
        assert conn.sock.ioctl(SIOCOUTQ) == 60


class TestNagle:
    def test_one_small_segment_in_flight(self, d: Diary) -> None:
        conn = d.accept()
        conn.sock.send(b"a")
        conn.peer.expect("P.", data=b"a")
        conn.sock.send(b"b")
        conn.sock.send(b"c")
        d.silent()
        conn.peer.send(".", seq=1, ack=2)
        conn.peer.expect("P.", data=b"bc")

    def test_full_segments_go(self, d: Diary) -> None:
        conn = d.accept(mss=1000)
        conn.sock.send(b"a")
        conn.sock.send(b"b" * 1500)
        assert conn.peer.expect_all() == [(1, 1), (2, 1000)]
        conn.peer.send(".", seq=1, ack=2)
        conn.peer.expect("P.", seq=1002, n=500)

    def test_nodelay(self, d: Diary) -> None:
        conn = d.accept()
        conn.sock.setopt(TCP_NODELAY, 1)
        for i in range(3):
            conn.sock.send(b"x")
            conn.peer.expect("P.", seq=1 + i, n=1)

    def test_nodelay_flushes(self, d: Diary) -> None:
        conn = d.accept()
        conn.sock.send(b"a")
        conn.sock.send(b"b")
        d.forget()
        conn.sock.setopt(TCP_NODELAY, 1)
        conn.peer.expect("P.", data=b"b")

    def test_cork_and_uncork(self, d: Diary) -> None:
        conn = d.accept(mss=1000)
        conn.sock.setopt(TCP_CORK, 1)
        conn.sock.send(b"a" * 300)
        conn.sock.send(b"b" * 300)
        d.silent()
        conn.sock.send(b"c" * 600)
        conn.peer.expect(".", seq=1, n=1000)
        conn.peer.send(".", seq=1, ack=1001)
        d.silent()
        conn.sock.setopt(TCP_CORK, 0)
        conn.peer.expect("P.", seq=1001, n=200)

    def test_cork_lets_go_after_200_ms(self, d: Diary) -> None:
        conn = d.accept(mss=1000)
        conn.sock.setopt(TCP_CORK, 1)
        conn.sock.send(b"a" * 300)
        d.sleep(ms=199)
        d.silent()
        d.sleep(ms=2)
        conn.peer.expect("P.", seq=1, n=300)

    def test_more(self, d: Diary) -> None:
        conn = d.accept(mss=1000)
        conn.sock.send(b"head", MSG_MORE)
        d.silent()
        conn.sock.send(b"body")
        conn.peer.expect("P.", data=b"headbody")

    def test_close_flushes(self, d: Diary) -> None:
        conn = d.accept(mss=1000)
        conn.sock.send(b"head", MSG_MORE)
        conn.sock.close()
        conn.peer.expect("P.", seq=1, data=b"head")
        conn.peer.expect("F.", seq=5)


class TestPeersWindow:
    def test_not_a_byte_more(self, d: Diary) -> None:
        conn = d.accept(mss=1000, win=2500)
        conn.sock.send(b"a" * 5000)
        assert conn.peer.expect_all() == [(1, 1000), (1001, 1000)]  # 500 would be silly
        conn.peer.send(".", seq=1, ack=2001, win=2500)
        assert conn.peer.expect_all() == [(2001, 1000), (3001, 1000)]

    def test_zero_window_probes_and_reopening(self, d: Diary) -> None:
        conn = d.accept(mss=1000, win=1000)
        conn.sock.send(b"a" * 1500)
        conn.peer.expect(".", seq=1, n=1000)
        conn.peer.send(".", seq=1, ack=1001, win=0)
        d.silent()
        rto = conn.sk.rto
        start = d.now
        d.sleep(s=10)
        times = [got.at - start for got in d.ops.sent]
        assert [round(t / rto) for t in times[:4]] == [1, 3, 7, 15]  # doubling
        for _ in range(len(times)):
            conn.peer.expect(".", seq=1000, n=0)  # old data's number, none of its bytes
        conn.peer.send(".", seq=1, ack=1001, win=0)
        d.silent()
        conn.peer.send(".", seq=1, ack=1001, win=1000)
        conn.peer.expect("P.", seq=1001, n=500)
        assert d.ext.TCPWinProbe == len(times)

    def test_after_reopening_the_retransmission_timer_is_fresh(self, d: Diary) -> None:
        for stamps in (False, True):
            d.forget()
            conn = d.accept(mss=1012, win=1000, timestamps=stamps)
            conn.sock.send(b"a" * 1500)
            conn.peer.expect(".", seq=1, n=1000)
            conn.peer.send(".", seq=1, ack=1001, win=0)
            d.sleep(s=30)
            d.forget()
            conn.peer.send(".", seq=1, ack=1001, win=1000)
            conn.peer.expect("P.", seq=1001, n=500)
            d.sleep(ms=conn.sk.rto / 1e6 + 1)
            conn.peer.expect("P.", seq=1001, n=500)

    def test_window_update_with_data(self, d: Diary) -> None:
        conn = d.accept(mss=1012, win=1000, timestamps=True)
        conn.sock.send(b"a" * 1500)
        conn.peer.expect(".", seq=1, n=1000)
        conn.peer.send(".", seq=1, ack=1001, win=0)
        conn.peer.send("P.", seq=1, ack=1001, win=1000, data=b"hi")
        assert (1001, 500) in conn.peer.expect_all()

    def test_silly_window(self, d: Diary) -> None:
        """A window of a few bytes is not used before the override timer (RFC 9293 3.8.6.2.1)."""
        conn = d.accept(mss=1000, win=4000)
        conn.sock.send(b"a" * 8000)
        conn.peer.expect_all()
        conn.peer.send(".", seq=1, ack=4001, win=10)
        d.silent()
        d.sleep(s=1)
        conn.peer.expect("P.", seq=4001, n=10)

    def test_half_of_the_largest_window_is_worth_it(self, d: Diary) -> None:
        conn = d.accept(mss=1000, win=600)
        conn.sock.send(b"a" * 2000)
        conn.peer.expect(".", seq=1, n=600)

    def test_old_acks_do_not_move_the_window(self, d: Diary) -> None:
        conn = d.accept(mss=1000, win=10000)
        conn.peer.send("P.", seq=1, ack=1, data=b"x", win=10000)
        conn.peer.send(".", seq=0, ack=1, win=1)
        assert conn.sk.snd_wnd == 10000


class TestBuffers:
    def fill(self, conn: Conn) -> int:
        total = 0
        with pytest.raises(BlockingIOError):
            while True:
                total += conn.sock.send(b"z" * 10000)
        return total

    def test_a_full_buffer_says_eagain(self, d: Diary) -> None:
        conn = d.accept()
        total = self.fill(conn)
        assert 10000 <= total <= conn.sk.sndbuf
        assert not conn.sock.poll() & EPOLLOUT

    def test_room_makes_it_writable(self, d: Diary) -> None:
        conn = d.accept()
        self.fill(conn)
        while not conn.sock.poll() & EPOLLOUT:
            seq, n = conn.peer.expect_all()[-1]
            conn.peer.send(".", seq=1, ack=seq + n)
        conn.sock.send(b"more")

    def test_blocking_send_waits_for_room(self, d: Diary) -> None:
        conn = d.accept()
        total = self.fill(conn)

        def ack() -> None:
            seq, n = conn.peer.expect_all()[-1]
            d.inject_now(conn.peer.segment(".", 1, seq + n))

        for i in range(1, 20):
            d.at(10 * i, ack_when_sent(conn, ack))
        assert conn.sock.send(b"y" * 60000, block=True) == 60000
        assert conn.sk.snd_nxt + conn.sk.unsent_bytes - conn.peer.irs - 1 == total + 60000  # type: ignore[operator]

    def test_send_timeout(self, d: Diary) -> None:
        conn = d.accept()
        self.fill(conn)
        conn.sk.sndtimeo = 30_000_000
        with pytest.raises(BlockingIOError):
            conn.sock.send(b"x" * 100, block=True)

    def test_reset_while_blocked(self, d: Diary) -> None:
        conn = d.accept()
        self.fill(conn)
        d.at(10, lambda: d.inject_now(conn.peer.segment("R", 1)))
        with pytest.raises(ConnectionResetError):
            conn.sock.send(b"x", block=True)
        with pytest.raises(BrokenPipeError):
            conn.sock.send(b"x")

    def test_small_buffer_bounds_what_is_in_flight(self, d: Diary) -> None:
        conn = d.accept()
        conn.sock.setopt(TCP_NODELAY, 1)
        conn.sk.sndbuf = 4608
        total = 0
        with pytest.raises(BlockingIOError):
            for _ in range(100):
                total += conn.sock.send(b"x" * 1000)
        assert total <= 4608


def ack_when_sent(conn: Conn, ack: object) -> object:
    def run() -> None:
        if conn.peer.diary.ops.sent:
            ack()  # type: ignore[operator]

    return run


class TestCongestionWindow:
    def ack_all(self, conn: Conn) -> int:
        """Acknowledge each segment that is in flight by itself; how many there were."""
        sent = conn.peer.expect_all()
        for seq, n in sent:
            conn.peer.send(".", seq=1, ack=seq + n, win=60000)
        return len(sent)

    def test_slow_start_doubles(self, d: Diary) -> None:
        conn = d.accept(mss=500, wscale=4, win=60000 << 4)
        conn.sk.sndbuf = 1 << 20
        conn.sock.send(b"a" * 400000)
        flights = []
        for _ in range(4):
            d.sleep(ms=10)
            flights.append(self.ack_all(conn))
        assert flights == [10, 20, 40, 80]

    def test_congestion_avoidance_adds_one(self, d: Diary) -> None:
        conn = d.accept(mss=500, wscale=4, win=60000 << 4)
        conn.sk.sndbuf = 1 << 20
        conn.sk.ssthresh = 10
        conn.sock.send(b"a" * 200000)
        flights = []
        for _ in range(4):
            d.sleep(ms=10)
            flights.append(self.ack_all(conn))
        assert flights == [10, 11, 12, 13]

    def test_it_does_not_grow_when_it_is_not_the_limit(self, d: Diary) -> None:
        conn = d.accept(mss=1000)
        for i in range(50):
            conn.sock.send(b"a")
            conn.peer.expect("P.", n=1)
            conn.peer.send(".", seq=1, ack=2 + i)
        assert conn.sk.cwnd == 10
