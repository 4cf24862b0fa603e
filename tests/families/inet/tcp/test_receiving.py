"""Data in: order, holes, overlaps, header prediction, when ACKs go out, and the window that says how much may come."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tcp_diary import Diary, Sock

from pysock.core.sock import SOCK_DONE
from pysock.uapi.ioctl import SIOCINQ
from pysock.uapi.socket import MSG_PEEK, MSG_TRUNC, MSG_WAITALL
from pysock.uapi.tcp import TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_QUICKACK


def slow_acks(conn: object) -> None:
    """Use up the quick ACKs of a new connection."""
    conn.sock.setopt(TCP_QUICKACK, 0)  # type: ignore[attr-defined]


class TestInOrder:
    def test_header_prediction_takes_data(self, d: Diary) -> None:
        conn = d.accept(timestamps=True)
        before = d.ext.TCPHPHits
        for i in range(5):
            conn.peer.send("P.", seq=1 + i * 100, ack=1, data=b"x" * 100)
        assert d.ext.TCPHPHits - before == 5
        assert conn.sock.recv() == b"x" * 500

    def test_header_prediction_takes_acks(self, d: Diary) -> None:
        conn = d.accept(timestamps=True)
        conn.sock.send(b"x" * 100)
        before = d.ext.TCPPureAcks
        conn.peer.send(".", seq=1, ack=101)
        assert d.ext.TCPPureAcks == before + 1
        assert conn.sk.snd_una == conn.sk.snd_nxt

    def test_without_timestamps_the_slow_way_works_too(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        assert d.ext.TCPHPHits == 0
        assert conn.sock.recv() == b"abc"

    def test_reading_in_pieces(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("P.", seq=1, ack=1, data=b"hello world")
        conn.peer.send("P.", seq=12, ack=1, data=b"!!")
        assert conn.sock.recv(3) == b"hel"
        assert conn.sock.ioctl(SIOCINQ) == 10
        assert conn.sock.recv(4, MSG_PEEK) == b"lo w"
        assert conn.sock.recv(5) == b"lo wo"
        assert conn.sock.recv() == b"rld!!"
        with pytest.raises(BlockingIOError):
            conn.sock.recv()

    def test_trunc_discards(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("P.", seq=1, ack=1, data=b"hello")
        assert len(conn.sock.recv(3, MSG_TRUNC)) == 3
        assert conn.sock.recv() == b"lo"

    def test_waitall(self, d: Diary) -> None:
        conn = d.accept()
        d.at(10, lambda: d.inject_now(conn.peer.segment("P.", 1, 1, b"abc")))
        d.at(20, lambda: d.inject_now(conn.peer.segment("P.", 4, 1, b"def")))
        assert conn.sock.recv(6, MSG_WAITALL, block=True) == b"abcdef"

    def test_waitall_ends_with_the_stream(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("FP.", seq=1, ack=1, data=b"abc")
        assert conn.sock.recv(6, MSG_WAITALL, block=True) == b"abc"
        assert conn.sock.recv(6, MSG_WAITALL, block=True) == b""

    def test_receive_timeout(self, d: Diary) -> None:
        conn = d.accept()
        conn.sk.rcvtimeo = 50_000_000
        start = d.now
        with pytest.raises(BlockingIOError) as info:
            conn.sock.recv(block=True)
        assert info.value.errno == errno.EAGAIN
        assert d.now - start == 50_000_000

    def test_blocking_receive_wakes(self, d: Diary) -> None:
        conn = d.accept()
        d.at(30, lambda: d.inject_now(conn.peer.segment("P.", 1, 1, b"abc")))
        assert conn.sock.recv(block=True) == b"abc"

    def test_low_water_mark(self, d: Diary) -> None:
        conn = d.accept()
        conn.sk.rcvlowat = 4
        conn.peer.send("P.", seq=1, ack=1, data=b"ab")
        d.at(30, lambda: d.inject_now(conn.peer.segment("P.", 3, 1, b"cdef")))
        assert conn.sock.recv(block=True) == b"abcdef"

    def test_fresh_socket(self, d: Diary) -> None:
        with pytest.raises(OSError) as info:
            Sock(d).recv()
        assert info.value.errno == errno.ENOTCONN
        with pytest.raises(OSError) as info:
            d.listen().recv()
        assert info.value.errno == errno.ENOTCONN


class TestAcks:
    def test_new_connections_ack_at_once(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("P.", seq=1, ack=1, data=b"x")
        conn.peer.expect(".", seq=1, ack=2)

    def test_delayed_40_ms(self, d: Diary) -> None:
        conn = d.accept()
        slow_acks(conn)
        conn.peer.send("P.", seq=1, ack=1, data=b"x")
        d.sleep(ms=39)
        d.silent()
        d.sleep(ms=1)
        conn.peer.expect(".", seq=1, ack=2)
        d.sleep(s=1)
        d.silent()
        assert d.ext.DelayedACKs == 1

    def test_an_answer_carries_it(self, d: Diary) -> None:
        conn = d.accept()
        slow_acks(conn)
        conn.peer.send("P.", seq=1, ack=1, data=b"x")
        conn.sock.send(b"y")
        conn.peer.expect("P.", seq=1, ack=2)
        conn.peer.send(".", seq=2, ack=2)
        d.sleep(s=1)
        d.silent()

    def test_every_second_full_segment(self, d: Diary) -> None:
        conn = d.accept()
        slow_acks(conn)
        for i in range(6):
            conn.peer.send(".", seq=1 + 1460 * i, ack=1, data=b"x" * 1460)
            if i % 2:
                conn.peer.expect(".", ack=1 + 1460 * (i + 1))
            d.silent()

    def test_quickack_option(self, d: Diary) -> None:
        conn = d.accept()
        slow_acks(conn)
        conn.peer.send("P.", seq=1, ack=1, data=b"x")
        d.silent()
        conn.sock.setopt(TCP_QUICKACK, 1)
        conn.peer.expect(".", ack=2)
        assert conn.sock.getopt(TCP_QUICKACK) == 1

    def test_old_data_is_acked_at_once(self, d: Diary) -> None:
        conn = d.accept()
        slow_acks(conn)
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        d.sleep(ms=40)
        conn.peer.expect(".", ack=4)
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        conn.peer.expect(".", seq=1, ack=4)
        assert conn.sock.recv() == b"abc"
        with pytest.raises(BlockingIOError):
            conn.sock.recv()


class TestHoles:
    def test_duplicate_acks_and_the_filled_hole(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("P.", seq=4, ack=1, data=b"def")
        conn.peer.expect(".", seq=1, ack=1)
        conn.peer.send("P.", seq=7, ack=1, data=b"ghi")
        conn.peer.expect(".", seq=1, ack=1)
        with pytest.raises(BlockingIOError):
            conn.sock.recv()
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        conn.peer.expect(".", seq=1, ack=10)
        d.silent()
        assert conn.sock.recv() == b"abcdefghi"
        assert d.ext.TCPOFOQueue == 2

    def test_half_filled_hole(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("P.", seq=7, ack=1, data=b"ghi")
        conn.peer.expect(".", ack=1)
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        conn.peer.expect(".", ack=4)
        conn.peer.send("P.", seq=4, ack=1, data=b"def")
        conn.peer.expect(".", ack=10)
        assert conn.sock.recv() == b"abcdefghi"

    def test_overlaps(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("P.", seq=5, ack=1, data=b"efg")
        conn.peer.send("P.", seq=3, ack=1, data=b"cdefghij")
        conn.peer.send("P.", seq=2, ack=1, data=b"bcd")
        conn.peer.send("P.", seq=1, ack=1, data=b"abcdefgh")
        assert conn.sock.recv() == b"abcdefghij"

    def test_partly_old_segment(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        conn.peer.send("P.", seq=2, ack=1, data=b"bcdef")
        assert conn.sock.recv() == b"abcdef"

    def test_fin_out_of_order(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("FP.", seq=4, ack=1, data=b"def")
        conn.peer.expect(".", ack=1)
        assert conn.sk.state == TCP_ESTABLISHED
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        conn.peer.expect(".", ack=8)
        d.silent()
        assert conn.sk.state == TCP_CLOSE_WAIT
        assert conn.sk.flags & SOCK_DONE
        assert conn.sock.recv() == b"abcdef"
        assert conn.sock.recv() == b""

    def test_bare_fin_out_of_order(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send("F.", seq=4, ack=1)
        conn.peer.expect(".", ack=1)
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        conn.peer.expect(".", ack=5)
        assert conn.sk.state == TCP_CLOSE_WAIT

    @given(st.data())
    def test_any_order_any_overlap(self, data: st.DataObject) -> None:
        """Segments cut anywhere, in any order, repeated: the stream comes out as it went in."""
        d = Diary()
        size = data.draw(st.integers(1, 300))
        stream = bytes(i % 251 for i in range(size))
        cuts = data.draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(1, 80)), max_size=25))
        conn = d.accept(timestamps=data.draw(st.booleans()), isn=data.draw(st.sampled_from([7, 0xFFFFFFF0])))
        for start, length in [*cuts, (0, size)]:
            piece = stream[start : start + length]
            fin = start + len(piece) == size and data.draw(st.booleans())
            conn.peer.send("F." if fin else ".", seq=1 + start, ack=1, data=piece)
        conn.peer.send("F.", seq=1 + size, ack=1)
        got = b""
        while piece := conn.sock.recv():
            got += piece
        assert got == stream
        assert conn.sk.state == TCP_CLOSE_WAIT
        assert conn.sk.ofo is None


class TestWindow:
    def test_it_never_shrinks_and_closes(self, d: Diary) -> None:
        conn = d.accept(wscale=7)
        edge = seq = 1
        zero = False
        for _ in range(400):
            conn.peer.send(".", seq=seq, ack=1, data=b"x" * 1460)
            seq += 1460
            while d.ops.sent:
                got = conn.peer.expect(".")
                right = ((got.header.ack - conn.peer.isn) & 0xFFFFFFFF) + (got.header.window << 7)
                assert right >= edge
                edge = right
                zero = got.header.window == 0
            if zero:
                break
        assert zero
        assert conn.sk.rx_bytes <= conn.sk.rcvbuf

    def test_ten_mebibytes_do_not_fit(self, d: Diary) -> None:
        conn = d.accept(wscale=7)
        for i in range(10 * 1024 * 1024 // 65000):
            conn.peer.send(".", seq=1 + i * 65000, ack=1, data=b"x" * 65000)
        assert conn.sk.rx_bytes < 200_000

    def test_reading_opens_it_again(self, d: Diary) -> None:
        conn = d.accept(wscale=7)
        seq = 1
        while conn.sk.rcv_adv > conn.sk.rcv_nxt:
            n = min(1460, conn.sk.rcv_adv - conn.sk.rcv_nxt)
            conn.peer.send(".", seq=seq, ack=1, data=b"x" * n)
            seq += n
        d.sleep(ms=50)
        d.forget()
        conn.peer.send(".", seq=seq, ack=1, data=b"y")  # a probe
        conn.peer.expect(".", ack=seq, win=0)
        assert d.ext.TCPZeroWindowDrop == 1
        conn.sock.recv(100)  # a little is not worth an update (RFC 1122 4.2.3.3)
        d.silent()
        conn.sock.recv(65536)
        got = conn.peer.expect(".", seq=1, ack=seq, n=0)
        assert got.header.window << 7 >= 20000

    def test_data_beyond_the_window_is_cut(self, d: Diary) -> None:
        conn = d.accept()
        conn.peer.send(".", seq=1, ack=1, data=b"a" * 60000)
        room = conn.sk.rcv_adv - conn.sk.rcv_nxt
        assert 0 < room < 10000
        conn.peer.send(".", seq=60001, ack=1, data=b"b" * 60000)
        assert conn.sk.rx_bytes == 60000 + room
        conn.peer.send(".", seq=200000, ack=1, data=b"far")
        assert conn.sk.ofo is None

    def test_reading_grows_the_buffer(self, d: Diary) -> None:
        conn = d.accept(wscale=7, timestamps=True)
        before = conn.sk.rcvbuf
        seq = 1
        for _ in range(60):
            for _ in range(40):
                conn.peer.send(".", seq=seq, ack=1, data=b"x" * 1448)
                seq += 1448
            while conn.sk.rx_bytes:
                conn.sock.recv(65536)
            d.sleep(ms=1)
        assert conn.sk.rcvbuf > before
        assert conn.sk.rcvbuf <= d.tcp.rmem[2]


class TestPaws:
    def test_old_timestamp_is_dropped(self, d: Diary) -> None:
        conn = d.accept(timestamps=True)
        d.sleep(s=2)
        conn.peer.send("P.", seq=1, ack=1, data=b"new")
        conn.peer.expect(".", ack=4)
        conn.peer.send("P.", seq=4, ack=1, data=b"old", ts_val=conn.peer.ts_now() - 1500)
        conn.peer.expect(".", ack=4)
        assert d.ext.PAWSEstab == 1
        assert conn.sock.recv() == b"new"

    def test_reset_passes(self, d: Diary) -> None:
        conn = d.accept(timestamps=True)
        conn.peer.send("R", seq=1, ts_val=conn.peer.ts_now() - 500)
        with pytest.raises(ConnectionResetError):
            conn.sock.recv()

    def test_wrapped_timestamp_is_newer(self, d: Diary) -> None:
        d.listen()
        conn_peer = d.peer()
        conn_peer.ts_offset = 0xFFFFFFFF - 1500
        d._ports -= 1
        d_peer = d.accept(timestamps=True)
        d_peer.peer.ts_offset = 0xFFFFFFFF
        d.sleep(ms=1)
        before = d_peer.sk.ts_recent
        d_peer.peer.send("P.", seq=1, ack=1, data=b"x", ts_val=before + 0x7FFFFFFF)
        assert d_peer.sock.recv() == b"x"
        d_peer.peer.send("P.", seq=2, ack=1, data=b"y", ts_val=before + 0x7FFFFFFF + 0x7FFFFFFF)
        assert d_peer.sock.recv() == b"y"
