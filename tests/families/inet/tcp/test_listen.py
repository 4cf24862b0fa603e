"""Listeners: backlog and overflow, the accept queue, what a child inherits, several listeners on a port."""

from __future__ import annotations

import errno

import pytest
from support.tcp_diary import LOCAL_HOST, Diary, Peer, Sock

from pysock.core.sock import SOCK_KEEPOPEN
from pysock.uapi.poll import EPOLLIN
from pysock.uapi.socket import SHUT_RD
from pysock.uapi.tcp import TCP_KEEPIDLE, TCP_LISTEN, TCP_NODELAY


def handshake(d: Diary) -> Peer:
    peer = d.peer()
    peer.send("S")
    peer.expect("S.")
    peer.send(".", seq=1, ack=1)
    return peer


class TestBacklog:
    def test_one_more_than_the_backlog(self, d: Diary) -> None:
        listener = d.listen(backlog=2)
        for _ in range(3):
            handshake(d)
        d.silent()
        d.peer().send("S")
        d.silent()
        assert (d.ext.ListenOverflows, d.ext.ListenDrops) == (1, 1)
        listener.accept()
        handshake(d)

    def test_last_ack_with_a_full_queue(self, d: Diary) -> None:
        listener = d.listen(backlog=0)
        late = d.peer()
        late.send("S")
        late.expect("S.")
        handshake(d)
        late.send(".", seq=1, ack=1)
        d.silent()
        assert d.ext.ListenOverflows == 1
        listener.accept()
        d.sleep(s=1)
        late.expect("S.", seq=0, ack=1)  # asks again ...
        late.send(".", seq=1, ack=1)
        assert listener.accept().getpeername()[1] == late.port  # ... and there is room

    def test_abort_on_overflow(self, d: Diary) -> None:
        d.net.sysctl.set("net.ipv4.tcp_abort_on_overflow", 1)
        d.listen(backlog=0)
        late = d.peer()
        late.send("S")
        late.expect("S.")
        handshake(d)
        late.send(".", seq=1, ack=1)
        late.expect("R", seq=1)

    def test_limits(self, d: Diary) -> None:
        d.net.sysctl.set("net.core.somaxconn", 1)
        listener = d.listen(backlog=100)
        assert listener.sk.listener is not None
        assert listener.sk.listener.backlog == 1
        listener.listen(0)
        assert listener.sk.listener.backlog == 0

    def test_too_many_half_open(self, d: Diary) -> None:
        d.net.sysctl.set("net.ipv4.tcp_max_syn_backlog", 3)
        d.listen()
        for _ in range(5):
            d.peer().send("S")
        assert len(d.ops.sent) == 3
        assert d.ext.TCPReqQFullDrop == 2

    def test_order(self, d: Diary) -> None:
        listener = d.listen()
        ports = [handshake(d).port for _ in range(3)]
        assert [listener.accept().getpeername()[1] for _ in range(3)] == ports


class TestAccept:
    def test_poll(self, d: Diary) -> None:
        listener = d.listen()
        assert listener.poll() == 0
        handshake(d)
        assert listener.poll() & EPOLLIN

    def test_blocking(self, d: Diary) -> None:
        listener = d.listen()
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        d.at(10, lambda: d.inject_now(peer.segment(".", 1, 1)))
        assert listener.accept(block=True).getpeername()[1] == peer.port

    def test_timeout(self, d: Diary) -> None:
        listener = d.listen()
        listener.sk.rcvtimeo = 20_000_000
        with pytest.raises(BlockingIOError):
            listener.accept(block=True)

    def test_not_listening(self, d: Diary) -> None:
        for sock in (Sock(d), d.connect().sock):
            with pytest.raises(OSError) as info:
                sock.accept()
            assert info.value.errno == errno.EINVAL

    def test_shutdown_wakes(self, d: Diary) -> None:
        listener = d.listen()
        d.at(10, lambda: listener.socket.ops.shutdown(listener.socket, SHUT_RD))
        with pytest.raises(OSError) as info:
            listener.accept(block=True)
        assert info.value.errno == errno.EINVAL

    def test_reset_before_accept(self, d: Diary) -> None:
        listener = d.listen()
        peer = handshake(d)
        peer.send("R", seq=1)
        sock = listener.accept()
        with pytest.raises(ConnectionResetError):
            sock.recv()
        sock.close()
        d.silent()

    def test_child_inherits(self, d: Diary) -> None:
        def prepare(sock: Sock) -> None:
            sock.setopt(TCP_NODELAY, 1)
            sock.setopt(TCP_KEEPIDLE, 77)
            sock.sk.flags |= SOCK_KEEPOPEN
            sock.sk.rcvtimeo = 123

        conn = d.accept(prepare=prepare)
        assert conn.sock.getopt(TCP_NODELAY) == 1
        assert conn.sock.getopt(TCP_KEEPIDLE) == 77
        assert conn.sk.keepalive_at == d.now + 77 * 10**9
        assert conn.sk.rcvtimeo == 123

    def test_listen_without_bind_takes_a_port(self, d: Diary) -> None:
        sock = Sock(d)
        sock.listen()
        low, high = d.inet.local_port_range
        assert low <= sock.getsockname()[1] <= high

    def test_listening_socket_does_not_connect(self, d: Diary) -> None:
        with pytest.raises(OSError) as info:
            d.listen().connect()
        assert info.value.errno == errno.EISCONN


class TestSeveral:
    def test_bound_address_beats_any(self, d: Diary) -> None:
        wide = Sock(d)
        wide.sk.reuse = True
        wide.sk.reuseport = True
        wide.bind(8080, "0.0.0.0")
        wide.listen()
        narrow = Sock(d)
        narrow.sk.reuseport = True
        narrow.bind(8080, LOCAL_HOST)
        narrow.listen()
        handshake(d)
        narrow.accept()

    def test_reuseport_spreads_and_keeps_a_flow(self, d: Diary) -> None:
        listeners = []
        for _ in range(2):
            sock = Sock(d)
            sock.sk.reuseport = True
            sock.bind(8080)
            sock.listen(100)
            listeners.append(sock)
        for _ in range(40):
            handshake(d)
        counts = [len(s.sk.listener.accept_queue) for s in listeners if s.sk.listener is not None]
        assert sum(counts) == 40
        assert min(counts) > 5

    def test_second_listener_on_a_shared_port(self, d: Diary) -> None:
        one, two = Sock(d), Sock(d)
        for sock in (one, two):
            sock.sk.reuse = True
            sock.bind(8080)
        one.listen()
        with pytest.raises(OSError) as info:
            two.listen()
        assert info.value.errno == errno.EADDRINUSE
        assert one.sk.state == TCP_LISTEN
