"""Opening: the three-way handshake from both ends, options, simultaneous open, retries (RFC 9293 3.5, RFC 7323)."""

from __future__ import annotations

import errno

import pytest
from support.tcp_diary import LOCAL_HOST, PEER_ISN, REMOTE_HOST, Diary, Sock

from pysock.uapi import tcp as u
from pysock.uapi.tcp import TCP_ESTABLISHED, TCP_SYN_RECV, TCP_SYN_SENT
from pysock.wire.tcp_options import TcpOptions


class TestActive:
    def test_syn_offers_mss_timestamps_and_scale(self, d: Diary) -> None:
        sock = Sock(d)
        with pytest.raises(BlockingIOError) as info:
            sock.connect(8080)
        assert info.value.errno == errno.EINPROGRESS
        peer = d.peer(8080, sock.getsockname()[1])
        syn = peer.expect("S", seq=0, n=0)
        assert syn.header.ack == 0
        assert syn.options.mss == 1460
        assert syn.options.wscale == 7  # tcp_rmem[2] = 6 MiB
        assert syn.options.timestamps is not None
        assert syn.options.timestamps[1] == 0
        assert sock.sk.state == TCP_SYN_SENT
        assert d.mib.ActiveOpens == 1

    def test_handshake(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("S.", seq=0, ack=1, options=TcpOptions(mss=1000))
        peer.expect(".", seq=1, ack=1, n=0)
        d.silent()
        assert sock.sk.state == TCP_ESTABLISHED
        assert sock.getpeername() == (REMOTE_HOST, 8080)
        assert sock.getsockname()[0] == LOCAL_HOST
        sock.connect()  # tells that it is done
        with pytest.raises(OSError) as info:
            sock.connect()
        assert info.value.errno == errno.EISCONN
        assert d.mib.CurrEstab == 1

    def test_blocking_connect(self, d: Diary) -> None:
        sock = Sock(d)
        sock.bind(5555)
        peer = d.peer(8080, 5555)
        d.at(20, lambda: d.inject_now(_answer(d, peer)))
        start = d.now
        sock.connect(8080, block=True)
        assert d.now - start == 20_000_000
        assert sock.sk.state == TCP_ESTABLISHED

    def test_connect_twice_while_pending(self, d: Diary) -> None:
        sock = Sock(d)
        d.syn_from(sock)
        with pytest.raises(OSError) as info:
            sock.connect()
        assert info.value.errno == errno.EALREADY

    def test_refused(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("R.", seq=0, ack=1)
        d.silent()
        with pytest.raises(ConnectionRefusedError):
            sock.connect()
        assert d.mib.AttemptFails == 1
        assert d.mib.EstabResets == 0

    def test_refused_while_blocking(self, d: Diary) -> None:
        sock = Sock(d)
        sock.bind(5555)
        peer = d.peer(8080, 5555)

        def refuse() -> None:
            peer.expect("S")
            d.inject_now(peer.segment("R.", 0, 1))

        d.at(5, refuse)
        with pytest.raises(ConnectionRefusedError):
            sock.connect(8080, block=True)
        peer = d.syn_from(sock)  # and it can try again
        peer.send("S.", seq=0, ack=1)
        peer.expect(".", seq=1, ack=1)

    def test_reset_without_ack_is_ignored(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("R", seq=0)
        assert sock.sk.state == TCP_SYN_SENT

    @pytest.mark.parametrize("ack", [0, 2, 1000])
    def test_wrong_ack_is_reset(self, d: Diary, ack: int) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("S.", seq=0, ack=ack)
        peer.expect("R", seq=ack)
        peer.send("R.", seq=0, ack=ack)
        d.silent()
        assert sock.sk.state == TCP_SYN_SENT

    def test_ack_without_syn_is_ignored(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send(".", seq=0, ack=1)
        d.silent()
        assert sock.sk.state == TCP_SYN_SENT

    def test_data_with_the_synack(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("SP.", seq=0, ack=1, data=b"early")
        peer.expect(".", seq=1, ack=1)
        peer.expect(".", seq=1, ack=6)
        assert sock.recv() == b"early"

    def test_local_port_zero_isns_differ(self, d: Diary) -> None:
        first, second = d.syn_from(Sock(d)), d.syn_from(Sock(d))
        assert first.local_port != second.local_port
        assert first.irs != second.irs

    def test_unreachable_network(self, d: Diary) -> None:
        sock = Sock(d)
        with pytest.raises(OSError) as info:
            sock.connect(80, "192.0.2.1")
        assert info.value.errno == errno.ENETUNREACH

    def test_broadcast_and_multicast(self, d: Diary) -> None:
        for host in ("10.0.0.255", "224.0.0.1", "255.255.255.255"):
            with pytest.raises(OSError) as info:
                Sock(d).connect(80, host)
            assert info.value.errno == errno.ENETUNREACH


class TestOptions:
    def test_everything_agreed(self, d: Diary) -> None:
        conn = d.connect(mss=1460, wscale=3, timestamps=True)
        sk = conn.sk
        assert sk.ts_ok
        assert (sk.snd_wscale, sk.rcv_wscale) == (3, 7)
        assert sk.mss == 1448
        conn.sock.send(b"x")
        got = conn.peer.expect("P.", data=b"x")
        assert got.options.timestamps is not None
        assert got.options.timestamps[1] == conn.peer.ts_now()

    def test_nothing_offered_by_the_peer(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("S.", seq=0, ack=1, options=b"")
        got = peer.expect(".", seq=1, ack=1)
        assert not got.header.options
        assert sock.sk.mss == 536  # RFC 9293 3.7.1
        assert (sock.sk.snd_wscale, sock.sk.rcv_wscale) == (0, 0)

    @pytest.mark.parametrize(("mss", "expected"), [(1000, 1000), (1460, 1460), (9000, 1460), (10, 88)])
    def test_mss(self, d: Diary, mss: int, expected: int) -> None:
        assert d.connect(mss=mss).sk.mss == expected

    def test_scale_above_14_counts_as_14(self, d: Diary) -> None:
        assert d.connect(wscale=15).sk.snd_wscale == 14

    def test_window_of_a_syn_is_never_scaled(self, d: Diary) -> None:
        conn = d.connect(wscale=7, win=1000)
        assert conn.sk.snd_wnd == 1000

    @pytest.mark.parametrize("setting", ["timestamps", "window_scaling"])
    def test_switched_off(self, d: Diary, setting: str) -> None:
        d.net.sysctl.set(f"net.ipv4.tcp_{setting}", 0)
        sock = Sock(d)
        with pytest.raises(BlockingIOError):
            sock.connect()
        syn = d.peer(8080, sock.getsockname()[1]).expect("S")
        assert (syn.options.timestamps is None) == (setting == "timestamps")
        assert (syn.options.wscale is None) == (setting == "window_scaling")

    @pytest.mark.parametrize("setting", ["timestamps", "window_scaling"])
    def test_switched_off_passive(self, d: Diary, setting: str) -> None:
        d.net.sysctl.set(f"net.ipv4.tcp_{setting}", 0)
        conn = d.accept(wscale=7, timestamps=True)
        assert conn.sk.ts_ok == (setting != "timestamps")
        assert conn.sk.snd_wscale == (0 if setting == "window_scaling" else 7)

    def test_synack_offers_only_what_the_syn_did(self, d: Diary) -> None:
        d.listen()
        peer = d.peer()
        peer.send("S", options=TcpOptions(mss=1460))
        got = peer.expect("S.", seq=0, ack=1)
        assert got.options.mss == 1460
        assert got.options.wscale is None
        assert got.options.timestamps is None

    def test_user_mss(self, d: Diary) -> None:
        sock = Sock(d)
        sock.setopt(u.TCP_MAXSEG, 900)
        with pytest.raises(BlockingIOError):
            sock.connect()
        peer = d.peer(8080, sock.getsockname()[1])
        assert peer.expect("S").options.mss == 900
        peer.send("S.", ack=1, options=TcpOptions(mss=1460))
        assert sock.sk.mss == 900

    def test_malformed_options_are_survived(self, d: Diary) -> None:
        d.listen()
        peer = d.peer()
        peer.send("S", options=b"\x02\x04\x05\xb4\x03\xff\x00\x00")
        got = peer.expect("S.")
        assert got.options.wscale is None  # behind the malformed one nothing counts


class TestPassive:
    def test_handshake(self, d: Diary) -> None:
        listener = d.listen()
        peer = d.peer()
        peer.send("S", options=TcpOptions(mss=1460, wscale=2))
        got = peer.expect("S.", seq=0, ack=1, n=0)
        assert got.options.wscale == 7
        with pytest.raises(BlockingIOError):
            listener.accept()
        peer.send(".", seq=1, ack=1, win=500)
        d.silent()
        sock = listener.accept()
        assert sock.getpeername() == (REMOTE_HOST, peer.port)
        assert sock.getsockname() == (LOCAL_HOST, 8080)
        assert sock.sk.snd_wnd == 500 << 2
        assert d.mib.PassiveOpens == 1
        assert d.mib.CurrEstab == 1

    def test_data_with_the_last_ack(self, d: Diary) -> None:
        listener = d.listen()
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        peer.send("P.", seq=1, ack=1, data=b"hello")
        peer.expect(".", seq=1, ack=6)
        assert listener.accept().recv() == b"hello"

    def test_syn_again_gets_the_same_synack(self, d: Diary) -> None:
        d.listen()
        peer = d.peer()
        peer.send("S")
        first = peer.expect("S.", ack=1)
        peer.send("S")
        second = peer.expect("S.", ack=1)
        assert first.header.seq == second.header.seq

    def test_synack_retries_back_off(self, d: Diary) -> None:
        d.listen()
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        start = d.now
        d.sleep(s=200)
        times = [(got.at - start) // 10**9 for got in d.ops.sent]
        assert times == [1, 3, 7, 15, 31]  # tcp_synack_retries = 5
        assert d.ext.TCPSynRetrans == 5
        assert not d.tcp.ehash

    def test_wrong_ack_is_reset(self, d: Diary) -> None:
        listener = d.listen()
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        peer.send(".", seq=1, ack=77)
        peer.expect("R", seq=77)
        peer.send(".", seq=1, ack=1)
        listener.accept()

    def test_reset_ends_the_request(self, d: Diary) -> None:
        d.listen()
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        peer.send("R", seq=1)
        d.silent()
        assert not d.tcp.ehash
        assert d.mib.AttemptFails == 1
        assert d.ext.EmbryonicRsts == 1
        d.sleep(s=5)
        d.silent()

    def test_reset_outside_the_window_does_not(self, d: Diary) -> None:
        d.listen()
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        peer.send("R", seq=-5)
        assert len(d.tcp.ehash) == 1

    def test_new_syn_in_the_window_ends_the_request(self, d: Diary) -> None:
        d.listen()
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        peer.send("S", seq=100)
        peer.expect("R.", ack=101)
        assert not d.tcp.ehash

    def test_old_segment_is_answered(self, d: Diary) -> None:
        d.listen()
        peer = d.peer()
        peer.send("S")
        peer.expect("S.")
        peer.send(".", seq=-100, ack=1)
        peer.expect(".", seq=1, ack=1)

    def test_ack_or_data_to_a_listener_is_reset(self, d: Diary) -> None:
        d.listen()
        peer = d.peer()
        peer.irs = 0
        peer.send(".", seq=5, ack=9)
        peer.expect("R", seq=9)

    @pytest.mark.parametrize("flags", ["", "F", "SF", "R"])
    def test_nonsense_to_a_listener_is_dropped(self, d: Diary, flags: str) -> None:
        d.listen()
        d.peer().send(flags)
        d.silent()
        assert not d.tcp.ehash

    def test_nobody_listens(self, d: Diary) -> None:
        peer = d.peer(local_port=99)
        peer.send("S", data=b"abc")
        peer.irs = 0
        peer.expect("R.", seq=0, ack=4)
        peer.send("P.", seq=3, ack=17, data=b"abc")
        peer.expect("R", seq=17)
        peer.send("R", seq=0)
        d.silent()
        assert d.mib.OutRsts == 2

    def test_checksum_is_checked(self, d: Diary) -> None:
        d.listen()
        packet = bytearray(d.peer().segment("S"))
        packet[-1] ^= 0xFF
        d.inject(bytes(packet), verified=False)
        d.silent()
        assert (d.mib.InErrs, d.mib.InCsumErrors) == (1, 1)


class TestSimultaneous:
    def test_open(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("S", options=TcpOptions(mss=1460, wscale=1))
        assert sock.sk.state == TCP_SYN_RECV
        got = peer.expect("S.", seq=0, ack=1)
        assert got.options.wscale == 7
        peer.send("S.", seq=0, ack=1, win=500)
        assert sock.sk.state == TCP_ESTABLISHED
        d.silent()
        peer.send("P.", seq=1, ack=1, data=b"hi")
        peer.expect(".", seq=1, ack=3)
        assert sock.recv() == b"hi"
        sock.connect()

    def test_open_completed_by_a_bare_ack(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("S", options=TcpOptions(mss=1460, wscale=1))
        peer.expect("S.", seq=0, ack=1)
        peer.send(".", seq=1, ack=1, win=500)
        assert sock.sk.state == TCP_ESTABLISHED
        assert sock.sk.snd_wnd == 1000

    def test_synack_is_retried(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("S")
        peer.expect("S.")
        d.sleep(s=1)
        peer.expect("S.", seq=0, ack=1)
        d.sleep(s=2)
        peer.expect("S.", seq=0, ack=1)

    def test_reset(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("S")
        peer.expect("S.")
        peer.send("R", seq=1)
        with pytest.raises(ConnectionResetError):
            sock.connect()
        assert d.mib.AttemptFails == 1

    def test_wrong_ack(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        peer.send("S")
        peer.expect("S.")
        peer.send(".", seq=1, ack=5)
        peer.expect("R", seq=5)
        assert sock.sk.state == TCP_SYN_RECV

    def test_to_oneself(self, d: Diary) -> None:
        """One socket that connects to its own port: the self-connection every stack knows."""
        sock = Sock(d)
        sock.bind(7777)
        try:
            sock.connect(7777, LOCAL_HOST)
        except BlockingIOError:
            pass
        sock.connect(7777, LOCAL_HOST)
        sock.send(b"me")
        assert sock.recv() == b"me"


class TestSynRetries:
    def test_back_off_and_timeout(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        start = d.now
        d.sleep(s=126.9)
        assert [(got.at - start) / 1e9 for got in d.ops.sent] == [1, 3, 7, 15, 31, 63]
        assert {got.header.seq for got in d.ops.sent} == {peer.irs}
        assert sock.sk.state == TCP_SYN_SENT
        d.sleep(s=0.2)
        with pytest.raises(TimeoutError) as info:
            sock.connect()
        assert info.value.errno == errno.ETIMEDOUT
        assert d.ext.TCPSynRetrans == 6
        assert d.ext.TCPAbortOnTimeout == 1
        assert d.mib.AttemptFails == 1

    def test_syncnt(self, d: Diary) -> None:
        sock = Sock(d)
        sock.setopt(u.TCP_SYNCNT, 2)
        d.syn_from(sock)
        start = d.now
        d.sleep(s=20)
        assert [(got.at - start) // 10**9 for got in d.ops.sent] == [1, 3]
        with pytest.raises(TimeoutError):
            sock.connect()

    def test_user_timeout(self, d: Diary) -> None:
        sock = Sock(d)
        sock.setopt(u.TCP_USER_TIMEOUT, 2500)
        d.syn_from(sock)
        d.sleep(s=2.4)
        assert sock.sk.state == TCP_SYN_SENT
        d.sleep(s=0.2)
        with pytest.raises(TimeoutError):
            sock.connect()

    def test_answer_to_the_second_syn(self, d: Diary) -> None:
        sock = Sock(d)
        peer = d.syn_from(sock)
        d.sleep(s=1)
        peer.expect("S", seq=0)
        peer.send("S.", seq=0, ack=1)
        peer.expect(".", seq=1, ack=1)
        assert sock.sk.rto == 3_000_000_000  # no sample (Karn): RFC 6298 5.7
        d.sleep(s=10)
        d.silent()


class TestWrap:
    @pytest.mark.parametrize("isn", [0xFFFFFFFF, 0xFFFFFFF0, 0])
    def test_peer_isn_near_the_end(self, d: Diary, isn: int) -> None:
        conn = d.accept(isn=isn)
        conn.peer.send("P.", seq=1, ack=1, data=b"a" * 100)
        conn.peer.expect(".", seq=1, ack=101)
        conn.peer.send("P.", seq=101, ack=1, data=b"b" * 100)
        conn.peer.expect(".", seq=1, ack=201)
        assert conn.sock.recv() == b"a" * 100 + b"b" * 100

    @pytest.mark.parametrize("isn", [0xFFFFFFFF, 0xFFFFFF00, 0xFFFFFFFE])
    def test_our_isn_near_the_end(self, d: Diary, monkeypatch: pytest.MonkeyPatch, isn: int) -> None:
        class Fixed:
            def getrandbits(self, bits: int) -> int:
                return isn

        d.tcp.isn = Fixed()  # type: ignore[assignment]
        conn = d.connect(timestamps=True)
        assert conn.peer.irs == isn
        conn.sock.send(b"x" * 1000)
        conn.peer.expect("P.", seq=1, n=1000)
        conn.peer.send(".", seq=1, ack=1001)
        conn.sock.send(b"y" * 10)
        conn.peer.expect("P.", seq=1001, n=10)
        conn.peer.send("P.", seq=1, ack=1011, data=b"ok")
        assert conn.sock.recv() == b"ok"
        assert conn.sk.snd_una == conn.sk.snd_nxt


def _answer(d: Diary, peer: object) -> bytes:
    from support.tcp_diary import Peer

    assert isinstance(peer, Peer)
    peer.expect("S")
    assert peer.isn == PEER_ISN
    return peer.segment("S.", 0, 1)
