"""Selective acknowledgements: negotiation, what a receiver tells (RFC 2018, RFC 2883)."""

from __future__ import annotations

import pytest
from support.tcp_diary import Conn, Diary, Sock

from pysock.uapi.tcp import TCP_INFO, TCPI_OPT_SACK
from pysock.wire.tcp_options import TcpOptions


class TestNegotiation:
    @staticmethod
    def our_syn(d: Diary) -> TcpOptions:
        sock = Sock(d)
        with pytest.raises(BlockingIOError):
            sock.connect()
        return d.ops.sent.popleft().options

    def test_our_syn_offers_it(self, d: Diary) -> None:
        assert self.our_syn(d).sack_permitted

    @pytest.mark.parametrize("offered", [True, False])
    @pytest.mark.parametrize("timestamps", [True, False])
    def test_our_answer(self, d: Diary, offered: bool, timestamps: bool) -> None:
        d.listen()
        peer = d.peer()
        stamps = (1, 0) if timestamps else None
        peer.send("S", options=TcpOptions(1460, offered, stamps))
        assert peer.expect("S.").options.sack_permitted == offered

    @pytest.mark.parametrize("offered", [True, False])
    def test_settled(self, d: Diary, offered: bool) -> None:
        for conn in (d.accept(sack=offered), d.connect(sack=offered)):
            assert conn.sk.sack_ok == offered
            assert bool(conn.sock.getopt_bytes(TCP_INFO, 8)[5] & TCPI_OPT_SACK) == offered

    def test_switched_off(self, d: Diary) -> None:
        d.net.sysctl.set("net.ipv4.tcp_sack", 0)
        assert not d.accept(sack=True).sk.sack_ok
        assert not self.our_syn(d).sack_permitted


def told(conn: Conn, ack: int, flags: str = ".") -> list[tuple[int, int]]:
    """The blocks of the next segment, relative to the peer's stream."""
    got = conn.peer.expect(flags, ack=ack)
    return [(left - conn.peer.isn, right - conn.peer.isn) for left, right in got.options.sack]


class TestReceiver:
    @pytest.fixture(params=[False, True], ids=["plain", "timestamps"])
    def conn(self, d: Diary, request: pytest.FixtureRequest) -> Conn:
        return d.connect(sack=True, timestamps=request.param)

    def put(self, conn: Conn, seq: int, n: int = 100, flags: str = "P.") -> None:
        conn.peer.send(flags, seq=seq, ack=1, data=b"x" * n)

    def test_one_block(self, conn: Conn) -> None:
        self.put(conn, 101)
        assert told(conn, 1) == [(101, 201)]
        self.put(conn, 201)
        assert told(conn, 1) == [(101, 301)]

    def test_the_latest_first(self, conn: Conn) -> None:
        for seq in (101, 501, 301):
            self.put(conn, seq)
        assert told(conn, 1) == [(101, 201)]
        assert told(conn, 1) == [(501, 601), (101, 201)]
        assert told(conn, 1) == [(301, 401), (501, 601), (101, 201)]
        self.put(conn, 201)  # joins two of them
        assert told(conn, 1) == [(101, 401), (501, 601)]

    def test_as_many_as_fit(self, d: Diary, conn: Conn) -> None:
        for i in range(1, 7):
            d.forget()
            self.put(conn, 1 + 200 * i)
        blocks = told(conn, 1)
        assert blocks == [(1 + 200 * i, 101 + 200 * i) for i in (6, 5, 4, 3)][: 3 if conn.sk.ts_ok else 4]

    def test_filled_holes_are_forgotten(self, d: Diary, conn: Conn) -> None:
        self.put(conn, 101)
        self.put(conn, 301)
        d.forget()
        self.put(conn, 1)
        assert told(conn, 201) == [(301, 401)]
        self.put(conn, 201)
        assert told(conn, 401) == []
        assert conn.sock.recv() == b"x" * 400

    def test_the_fin_counts(self, conn: Conn) -> None:
        self.put(conn, 101, flags="FP.")
        assert told(conn, 1) == [(101, 202)]

    def test_with_data(self, d: Diary, conn: Conn) -> None:
        self.put(conn, 101)
        d.forget()
        conn.sock.send(b"answer")
        assert told(conn, 1, "P.") == [(101, 201)]

    def test_a_full_segment_has_no_room(self, d: Diary, conn: Conn) -> None:
        self.put(conn, 101)
        d.forget()
        conn.sock.send(b"a" * conn.sk.mss)
        assert told(conn, 1, "P.") == []

    def test_old_duplicate(self, d: Diary, conn: Conn) -> None:
        self.put(conn, 1, 200)
        d.forget()
        self.put(conn, 51, 100)
        assert told(conn, 201) == [(51, 151)]
        assert d.ext.TCPDSACKOldSent == 1

    def test_duplicate_beside_blocks(self, d: Diary, conn: Conn) -> None:
        self.put(conn, 101)
        self.put(conn, 301, 200)
        d.forget()
        self.put(conn, 301, 100)
        assert told(conn, 1) == [(301, 401), (301, 501), (101, 201)]
        assert d.ext.TCPDSACKOfoSent == 1
        self.put(conn, 351, 200)  # in part
        assert told(conn, 1) == [(351, 501), (301, 551), (101, 201)]

    def test_no_dsack(self, d: Diary, conn: Conn) -> None:
        d.net.sysctl.set("net.ipv4.tcp_dsack", 0)
        self.put(conn, 1, 100)
        d.forget()
        self.put(conn, 1, 100)
        assert told(conn, 101) == []

    def test_without_permission(self, d: Diary) -> None:
        conn = d.connect()
        self.put(conn, 101)
        assert told(conn, 1) == []
        self.put(conn, 101)
        assert told(conn, 1) == []

    def test_header_prediction_goes_on_afterwards(self, d: Diary) -> None:
        conn = d.connect(sack=True, timestamps=True)
        self.put(conn, 101)
        self.put(conn, 1)
        hits = d.ext.TCPHPHits
        self.put(conn, 201)
        assert d.ext.TCPHPHits == hits + 1


