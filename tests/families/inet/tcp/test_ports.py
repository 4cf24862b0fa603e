"""Ports: who may share one, how ephemeral ones are chosen, what happens when none is left (ip(7), socket(7))."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tcp_diary import LOCAL_HOST, Diary, Sock

ANY = "0.0.0.0"


def bound(d: Diary, port: int, host: str = LOCAL_HOST, *, reuse: bool = False, reuseport: bool = False) -> Sock:
    sock = Sock(d)
    sock.sk.reuse = reuse
    sock.sk.reuseport = reuseport
    sock.bind(port, host)
    return sock


def refused(d: Diary, port: int, host: str = LOCAL_HOST, **options: bool) -> None:
    with pytest.raises(OSError) as info:
        bound(d, port, host, **options)
    assert info.value.errno == errno.EADDRINUSE


class TestBind:
    def test_taken(self, d: Diary) -> None:
        bound(d, 5000)
        refused(d, 5000)
        refused(d, 5000, ANY)
        bound(d, 5001)

    def test_any_takes_all_addresses(self, d: Diary) -> None:
        bound(d, 5000, ANY)
        refused(d, 5000)

    def test_other_address(self, d: Diary) -> None:
        bound(d, 5000)
        bound(d, 5000, "127.0.0.1")

    def test_reuseaddr_needs_both_and_no_listener(self, d: Diary) -> None:
        first = bound(d, 5000, reuse=True)
        refused(d, 5000)
        bound(d, 5000, reuse=True).close()
        first.listen()
        refused(d, 5000, reuse=True)

    def test_reuseport_needs_both(self, d: Diary) -> None:
        first = bound(d, 5000, reuseport=True)
        refused(d, 5000)
        first.listen()
        bound(d, 5000, reuseport=True).listen()

    def test_twice(self, d: Diary) -> None:
        sock = bound(d, 5000)
        with pytest.raises(OSError) as info:
            sock.bind(5001)
        assert info.value.errno == errno.EINVAL

    def test_foreign_address(self, d: Diary) -> None:
        with pytest.raises(OSError) as info:
            bound(d, 5000, "10.9.9.9")
        assert info.value.errno == errno.EADDRNOTAVAIL
        assert not d.tcp.bhash

    def test_closing_frees_it(self, d: Diary) -> None:
        bound(d, 5000).close()
        bound(d, 5000)

    def test_children_hold_the_port_of_their_listener(self, d: Diary) -> None:
        conn = d.accept()
        assert d.listener is not None
        d.listener.close()
        refused(d, 8080)
        conn.sk.linger = 0
        conn.sock.close()
        bound(d, 8080)


class TestEphemeral:
    def test_bind_zero(self, d: Diary) -> None:
        low, high = d.inet.local_port_range
        ports = [bound(d, 0).getsockname()[1] for _ in range(50)]
        assert len(set(ports)) == 50
        assert all(low <= port <= high for port in ports)

    def test_bind_runs_out(self, d: Diary) -> None:
        d.net.sysctl.set("net.ipv4.ip_local_port_range", (40000, 40003))
        ports = {bound(d, 0).getsockname()[1] for _ in range(4)}
        assert ports == {40000, 40001, 40002, 40003}
        refused(d, 0)

    def test_connect_runs_out(self, d: Diary) -> None:
        d.net.sysctl.set("net.ipv4.ip_local_port_range", (40000, 40003))
        for _ in range(4):
            with pytest.raises(BlockingIOError):
                Sock(d).connect(80)
        with pytest.raises(OSError) as info:
            Sock(d).connect(80)
        assert info.value.errno == errno.EADDRNOTAVAIL
        with pytest.raises(BlockingIOError):
            Sock(d).connect(81)  # another peer, other connections

    def test_connect_avoids_bound_ports(self, d: Diary) -> None:
        d.net.sysctl.set("net.ipv4.ip_local_port_range", (40000, 40001))
        bound(d, 40000)
        sock = Sock(d)
        with pytest.raises(BlockingIOError):
            sock.connect()
        assert sock.getsockname()[1] == 40001

    def test_connect_from_a_bound_port_twice(self, d: Diary) -> None:
        one, two = bound(d, 5000, reuse=True), bound(d, 5000, reuse=True)
        with pytest.raises(BlockingIOError):
            one.connect()
        with pytest.raises(OSError) as info:
            two.connect()
        assert info.value.errno == errno.EADDRNOTAVAIL
        with pytest.raises(BlockingIOError):
            two.connect(8081)

    def test_failed_connect_gives_the_port_back(self, d: Diary) -> None:
        sock = Sock(d)
        d.syn_from(sock).send("R.", seq=0, ack=1)
        with pytest.raises(ConnectionRefusedError):
            sock.connect()
        assert not d.tcp.bhash
        assert sock.getsockname()[1] == 0

    def test_failed_connect_keeps_a_bound_port(self, d: Diary) -> None:
        sock = bound(d, 5000)
        d.syn_from(sock).send("R.", seq=0, ack=1)
        with pytest.raises(ConnectionRefusedError):
            sock.connect()
        assert sock.getsockname()[1] == 5000
        sock.close()
        assert not d.tcp.bhash


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.booleans(), st.booleans()), max_size=30))
def test_no_two_listeners_without_consent(
    steps: list[tuple[int, bool, bool, bool, bool]],
) -> None:
    """Whatever is bound and closed: listeners on one port and address all have SO_REUSEPORT, and tables stay true."""
    d = Diary()
    alive: list[Sock] = []
    for port, wide, reuse, reuseport, close in steps:
        if close and alive:
            alive.pop(0).close()
            continue
        try:
            sock = bound(d, 5000 + port, ANY if wide else LOCAL_HOST, reuse=reuse, reuseport=reuseport)
        except OSError:
            continue
        alive.append(sock)
        try:
            sock.listen()
        except OSError:
            pass
    for listeners in d.tcp.listeners.values():
        assert len(listeners) == 1 or all(sk.reuseport for sk in listeners)
    owners = {sk for bucket in d.tcp.bhash.values() for sk in bucket.owners}
    assert owners == {sock.sk for sock in alive}
    for sock in alive:
        sock.close()
    assert not d.tcp.bhash
    assert not d.tcp.listeners
