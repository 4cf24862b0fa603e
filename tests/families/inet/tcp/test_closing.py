"""Closing: every way through RFC 9293 3.6, what shutdown, linger and unread data do, TIME-WAIT and its reuse."""

from __future__ import annotations

import errno

import pytest
from support.tcp_diary import Conn, Diary, Sock

from pysock.core.sock import SOCK_DONE
from pysock.uapi.poll import EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from pysock.uapi.socket import SHUT_RD, SHUT_RDWR, SHUT_WR
from pysock.uapi.tcp import (
    TCP_CLOSE,
    TCP_CLOSE_WAIT,
    TCP_CLOSING,
    TCP_ESTABLISHED,
    TCP_FIN_WAIT1,
    TCP_FIN_WAIT2,
    TCP_LAST_ACK,
    TCP_LINGER2,
    TCP_TIME_WAIT,
)


def empty(d: Diary) -> None:
    """Nothing of any connection is left."""
    assert not d.tcp.ehash
    assert not d.tcp.bhash
    assert not d.tcp.listeners
    assert len(d.tcp.timewait) == 0
    assert d.mib.CurrEstab == 0


class TestActiveClose:
    def test_the_usual_way(self, d: Diary) -> None:
        conn = d.connect()
        sk = conn.sk
        conn.sock.close()
        conn.peer.expect("F.", seq=1, ack=1)
        assert sk.state == TCP_FIN_WAIT1
        conn.peer.send(".", seq=1, ack=2)
        d.silent()
        conn.peer.send("F.", seq=1, ack=2)
        conn.peer.expect(".", seq=2, ack=2)
        d.sleep(s=59.9)
        assert len(d.tcp.timewait) == 1
        d.sleep(s=0.2)
        d.silent()
        assert d.ext.TW == 1
        empty(d)

    def test_fin_and_ack_in_one_segment(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.close()
        conn.peer.expect("F.", seq=1, ack=1)
        conn.peer.send("F.", seq=1, ack=2)
        conn.peer.expect(".", seq=2, ack=2)
        d.silent()
        (tw,) = d.tcp.ehash.values()
        assert tw.state == TCP_TIME_WAIT

    def test_half_close_keeps_receiving(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.send(b"request")
        conn.sock.shutdown(SHUT_WR)
        conn.peer.expect("P.", seq=1, data=b"request")
        conn.peer.expect("F.", seq=8)
        conn.peer.send(".", seq=1, ack=9)
        assert conn.sk.state == TCP_FIN_WAIT2
        conn.peer.send("P.", seq=1, ack=9, data=b"answer")
        conn.peer.expect(".", seq=9, ack=7)
        assert conn.sock.recv() == b"answer"
        with pytest.raises(BrokenPipeError):
            conn.sock.send(b"more")
        conn.peer.send("F.", seq=7, ack=9)
        conn.peer.expect(".", seq=9, ack=8)
        assert conn.sock.recv() == b""
        conn.sock.close()
        d.silent()
        d.sleep(s=61)
        empty(d)

    def test_fin_wait2_of_a_held_socket_lasts(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.shutdown(SHUT_WR)
        conn.peer.expect("F.")
        conn.peer.send(".", seq=1, ack=2)
        d.sleep(s=3600)
        assert conn.sk.state == TCP_FIN_WAIT2

    def test_fin_waits_for_data(self, d: Diary) -> None:
        conn = d.accept(mss=1000, win=2000)
        conn.sock.send(b"a" * 3000)
        conn.sock.shutdown(SHUT_WR)
        assert conn.peer.expect_all() == [(1, 1000), (1001, 1000)]
        assert conn.sk.state == TCP_FIN_WAIT1
        conn.peer.send(".", seq=1, ack=2001, win=2000)
        conn.peer.expect("P.", seq=2001, n=1000)
        conn.peer.expect("F.", seq=3001)

    def test_fin_is_retransmitted(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.close()
        conn.peer.expect("F.", seq=1)
        d.sleep(ms=250)
        conn.peer.expect("F.", seq=1, n=0)
        d.sleep(s=1000)  # tcp_orphan_retries
        empty(d)

    def test_simultaneous_close(self, d: Diary) -> None:
        conn = d.connect()
        sk = conn.sk
        conn.sock.close()
        conn.peer.expect("F.", seq=1, ack=1)
        conn.peer.send("F.", seq=1, ack=1)
        conn.peer.expect(".", seq=2, ack=2)
        d.silent()
        assert sk.state == TCP_CLOSING
        conn.peer.send(".", seq=2, ack=2)
        d.silent()
        assert sk.state == TCP_CLOSE
        (tw,) = d.tcp.ehash.values()
        assert tw.state == TCP_TIME_WAIT

    def test_close_twice_is_once(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.shutdown(SHUT_WR)
        conn.sock.shutdown(SHUT_WR)
        conn.peer.expect("F.")
        d.silent()
        conn.sock.close()
        d.silent()

    def test_close_while_connecting(self, d: Diary) -> None:
        sock = Sock(d)
        d.syn_from(sock)
        sock.close()
        d.silent()
        empty(d)
        d.sleep(s=10)
        d.silent()

    def test_close_of_a_fresh_socket(self, d: Diary) -> None:
        Sock(d).close()
        bound = Sock(d)
        bound.bind(1234)
        bound.close()
        empty(d)


class TestPassiveClose:
    def test_the_usual_way(self, d: Diary) -> None:
        conn = d.connect()
        sk = conn.sk
        conn.peer.send("F.", seq=1, ack=1)
        conn.peer.expect(".", seq=1, ack=2)
        assert sk.state == TCP_CLOSE_WAIT
        assert sk.flags & SOCK_DONE
        assert conn.sock.recv() == b""
        assert d.mib.CurrEstab == 1
        conn.sock.send(b"still")
        conn.peer.expect("P.", seq=1, ack=2, data=b"still")
        conn.sock.close()
        conn.peer.expect("F.", seq=6, ack=2)
        assert sk.state == TCP_LAST_ACK
        conn.peer.send(".", seq=2, ack=7)
        d.silent()
        assert sk.state == TCP_CLOSE
        empty(d)

    def test_fin_again_is_acked_again(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("F.", seq=1, ack=1)
        conn.peer.expect(".", ack=2)
        conn.peer.send("F.", seq=1, ack=1)
        conn.peer.expect(".", ack=2)

    def test_data_behind_the_fin_is_ignored(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("F.", seq=1, ack=1)
        d.forget()
        conn.peer.send("P.", seq=2, ack=1, data=b"zombie")
        assert conn.sock.recv() == b""
        assert conn.sk.rcv_nxt == conn.peer.isn + 2

    def test_fin_ack_retransmitted_in_last_ack(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("F.", seq=1, ack=1)
        conn.sock.close()
        conn.peer.expect(".", ack=2)
        conn.peer.expect("F.", seq=1, ack=2)
        conn.peer.send("F.", seq=1, ack=1)
        conn.peer.expect(".", seq=2, ack=2)


class TestAborts:
    def test_unread_data_is_a_reset(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("P.", seq=1, ack=1, data=b"unread")
        conn.peer.expect(".", ack=7)
        conn.sock.close()
        conn.peer.expect("R.", seq=1, ack=7)
        assert d.ext.TCPAbortOnClose == 1
        empty(d)

    def test_linger_zero(self, d: Diary) -> None:
        conn = d.connect()
        conn.sk.linger = 0
        conn.sock.send(b"lost")
        d.forget()
        conn.sock.close()
        conn.peer.expect("R.", seq=5)
        assert d.ext.TCPAbortOnData == 1
        empty(d)

    def test_linger_waits_for_the_ack(self, d: Diary) -> None:
        conn = d.connect()
        conn.sk.linger = 10**10
        d.at(300, lambda: d.inject_now(conn.peer.segment(".", 1, 2)))
        start = d.now
        conn.sock.close()
        assert d.now - start == 300_000_000

    def test_linger_gives_up(self, d: Diary) -> None:
        conn = d.connect()
        conn.sk.linger = 10**9
        start = d.now
        conn.sock.close()
        assert d.now - start == 10**9

    def test_data_for_a_closed_socket(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.close()
        conn.peer.expect("F.", seq=1)
        conn.peer.send("P.", seq=1, ack=1, data=b"late")
        conn.peer.expect("R", seq=1)
        assert d.ext.TCPAbortOnData == 1
        empty(d)

    def test_data_for_a_closed_socket_in_fin_wait2(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.close()
        conn.peer.expect("F.", seq=1)
        conn.peer.send(".", seq=1, ack=2)
        conn.peer.send("P.", seq=1, ack=2, data=b"late")
        conn.peer.expect("R", seq=2)
        empty(d)

    def test_old_data_for_a_closed_socket_is_only_acked(self, d: Diary) -> None:
        conn = d.connect()
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        conn.sock.recv()
        conn.sock.close()
        d.forget()
        conn.peer.send("P.", seq=1, ack=1, data=b"abc")
        conn.peer.expect(".", seq=2, ack=4)

    def test_listener_resets_whom_nobody_accepted(self, d: Diary) -> None:
        listener = d.listen()
        peers = [d.peer() for _ in range(2)]
        for peer in peers:
            peer.send("S")
            peer.expect("S.")
        peers[0].send(".", seq=1, ack=1)
        listener.close()
        peers[0].expect("R.", seq=1, ack=1)
        peers[1].send(".", seq=1, ack=1)
        peers[1].expect("R", seq=1)
        empty(d)

    def test_disconnect(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.disconnect()
        conn.peer.expect("R.", seq=1, ack=1)
        assert conn.sk.state == TCP_CLOSE
        again = d.syn_from(conn.sock)
        again.send("S.", seq=0, ack=1)
        again.expect(".", seq=1, ack=1)
        assert conn.sk.state == TCP_ESTABLISHED


class TestShutdown:
    def test_errors(self, d: Diary) -> None:
        sock = Sock(d)
        with pytest.raises(OSError) as info:
            sock.shutdown(SHUT_WR)
        assert info.value.errno == errno.ENOTCONN
        with pytest.raises(OSError) as info:
            d.connect().sock.shutdown(3)
        assert info.value.errno == errno.EINVAL

    def test_read_side(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.shutdown(SHUT_RD)
        d.silent()
        assert conn.sock.recv() == b""
        assert conn.sock.poll() & (EPOLLIN | EPOLLRDHUP) == EPOLLIN | EPOLLRDHUP
        conn.peer.send("P.", seq=1, ack=1, data=b"late")  # Linux takes it
        conn.peer.expect(".", ack=5)
        assert conn.sock.recv() == b"late"
        assert conn.sock.recv() == b""
        conn.sock.send(b"x")

    def test_both(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.shutdown(SHUT_RDWR)
        conn.peer.expect("F.")
        assert conn.sock.poll() & EPOLLHUP
        assert conn.sock.poll() & EPOLLOUT
        with pytest.raises(BrokenPipeError):
            conn.sock.send(b"x")
        assert conn.sock.recv() == b""

    def test_wakes_a_reader(self, d: Diary) -> None:
        conn = d.connect()
        d.at(10, lambda: conn.sock.socket.ops.shutdown(conn.sock.socket, SHUT_RD))
        assert conn.sock.recv(block=True) == b""

    def test_listener(self, d: Diary) -> None:
        listener = d.listen()
        listener.shutdown(SHUT_RD)
        with pytest.raises(OSError) as info:
            listener.accept()
        assert info.value.errno == errno.EINVAL
        d.peer().send("S")
        d.peer().irs = 0
        assert d.ops.sent.popleft().flags == "R."

    def test_listener_ignores_the_write_side(self, d: Diary) -> None:
        d.listen().shutdown(SHUT_WR)
        d.accept()


class TestOrphans:
    def to_fin_wait2(self, d: Diary, conn: Conn) -> None:
        conn.sock.close()
        conn.peer.expect("F.")
        conn.peer.send(".", seq=1, ack=2)

    def test_fin_timeout(self, d: Diary) -> None:
        d.net.sysctl.set("net.ipv4.tcp_fin_timeout", 20)
        self.to_fin_wait2(d, d.connect())
        (tw,) = d.tcp.ehash.values()
        assert tw.state == TCP_FIN_WAIT2
        d.sleep(s=19.9)
        assert d.tcp.ehash
        d.sleep(s=0.2)
        empty(d)

    def test_linger2(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.setopt(TCP_LINGER2, 5)
        self.to_fin_wait2(d, conn)
        d.sleep(s=4.9)
        assert d.tcp.ehash
        d.sleep(s=0.2)
        empty(d)

    def test_linger2_negative_on_the_last_ack(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.setopt(TCP_LINGER2, -1)
        self.to_fin_wait2(d, conn)
        conn.peer.expect("R")
        empty(d)

    def test_linger2_negative_on_close(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.setopt(TCP_LINGER2, -1)
        conn.sock.shutdown(SHUT_WR)
        conn.peer.expect("F.")
        conn.peer.send(".", seq=1, ack=2)
        conn.sock.close()
        conn.peer.expect("R.")
        assert d.ext.TCPAbortOnLinger == 1
        empty(d)

    def test_fin_then_time_wait(self, d: Diary) -> None:
        conn = d.connect()
        conn.sock.setopt(TCP_LINGER2, 5)
        self.to_fin_wait2(d, conn)
        d.sleep(s=4)
        conn.peer.send("F.", seq=1, ack=2)
        conn.peer.expect(".", seq=2, ack=2)
        d.sleep(s=59)
        assert len(d.tcp.timewait) == 1
        d.sleep(s=2)
        empty(d)


class TestTimeWait:
    def enter(self, d: Diary, timestamps: bool = False) -> Conn:
        conn = d.accept(timestamps=timestamps)
        conn.sock.close()
        conn.peer.expect("F.", seq=1)
        conn.peer.send("F.", seq=1, ack=2)
        conn.peer.expect(".", seq=2, ack=2)
        return conn

    def test_fin_again(self, d: Diary) -> None:
        conn = self.enter(d)
        d.sleep(s=30)
        conn.peer.send("F.", seq=1, ack=2)
        conn.peer.expect(".", seq=2, ack=2)
        d.sleep(s=59)
        assert len(d.tcp.timewait) == 1  # the 60 s began anew
        d.sleep(s=2)
        assert len(d.tcp.timewait) == 0

    def test_reset_ends_it(self, d: Diary) -> None:
        conn = self.enter(d)
        conn.peer.send("R", seq=50)
        assert len(d.tcp.timewait) == 1
        conn.peer.send("R", seq=2)
        d.silent()
        assert len(d.tcp.timewait) == 0

    def test_old_data_is_acked(self, d: Diary) -> None:
        conn = self.enter(d)
        conn.peer.send("P.", seq=2, ack=2, data=b"abc")
        conn.peer.expect(".", seq=2, ack=2)

    def test_new_syn_takes_the_place(self, d: Diary) -> None:
        conn = self.enter(d)
        peer = d.peer(conn.peer.port, isn=conn.peer.isn + 1000)
        peer.send("S")
        peer.expect("S.", seq=0, ack=1)
        peer.send(".", seq=1, ack=1)
        assert d.listener is not None
        assert d.listener.accept().sk.state == TCP_ESTABLISHED
        assert len(d.tcp.timewait) == 0

    def test_old_syn_does_not(self, d: Diary) -> None:
        conn = self.enter(d)
        conn.peer.send("S", seq=-1000)
        conn.peer.expect(".", seq=2, ack=2)
        assert len(d.tcp.timewait) == 1

    def test_lower_syn_with_a_newer_timestamp_does(self, d: Diary) -> None:
        conn = self.enter(d, timestamps=True)
        d.sleep(s=2)
        peer = d.peer(conn.peer.port, isn=conn.peer.isn - 1000)
        peer.timestamps = True
        peer.send("S")
        peer.expect("S.", seq=0, ack=1)

    def test_syn_without_a_listener_is_acked(self, d: Diary) -> None:
        conn = self.enter(d)
        assert d.listener is not None
        d.listener.close()
        conn.peer.send("S", seq=1000)
        conn.peer.expect(".", seq=2, ack=2)
        assert len(d.tcp.timewait) == 1

    def test_it_holds_the_port(self, d: Diary) -> None:
        self.enter(d)
        assert d.listener is not None
        d.listener.close()
        sock = Sock(d)
        with pytest.raises(OSError) as info:
            sock.bind(8080)
        assert info.value.errno == errno.EADDRINUSE

    def test_both_with_reuseaddr_share_it(self, d: Diary) -> None:
        def reuse(sock: Sock) -> None:
            sock.sk.reuse = True

        d.listen(prepare=reuse)
        self.enter(d)
        assert d.listener is not None
        d.listener.close()
        sock = Sock(d)
        sock.sk.reuse = True
        sock.bind(8080)

    def test_reuse_by_connect_after_a_second(self, d: Diary) -> None:
        d.net.sysctl.set("net.ipv4.tcp_tw_reuse", 1)
        conn = d.connect(timestamps=True)
        port = conn.peer.local_port
        conn.sock.close()
        conn.peer.expect("F.")
        conn.peer.send("F.", seq=1, ack=2)
        conn.peer.expect(".")
        again = Sock(d)
        again.sk.reuse = True
        with pytest.raises(OSError) as info:
            again.bind(port)
        assert info.value.errno == errno.EADDRINUSE
        d.net.sysctl.set("net.ipv4.ip_local_port_range", (port, port))
        with pytest.raises(OSError) as info:
            again.connect()
        assert info.value.errno == errno.EADDRNOTAVAIL
        d.sleep(s=1.1)
        with pytest.raises(BlockingIOError):
            again.connect()
        assert len(d.tcp.timewait) == 0

    def test_limit(self, d: Diary) -> None:
        d.net.sysctl.set("net.ipv4.tcp_max_tw_buckets", 1)
        self.enter(d)
        self.enter(d)
        assert len(d.tcp.timewait) == 1
        assert d.ext.TCPTimeWaitOverflow == 1
