"""Invariant: nothing that arrives raises, and every segment ends in a counter (RFC 9293 says "drop", never "crash")."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.tcp_diary import LOCAL, PORT, REMOTE, Conn, Diary

from pysock.uapi.in_ import IPPROTO_TCP
from pysock.wire import ipv4, tcp
from pysock.wire.checksum import finish, partial, pseudo


def healthy(d: Diary) -> None:
    assert not d.kernel.errors.total, d.kernel.errors
    assert not d.kernel.softnet.pending


def with_ports(d: Diary, raw: bytes, conn: Conn) -> bytes:
    """Random bytes that are addressed to the connection."""
    ports = conn.peer.port.to_bytes(2, "big") + conn.peer.local_port.to_bytes(2, "big")
    return ports + raw[4:]


@given(raws=st.lists(st.binary(max_size=80), min_size=1, max_size=10), aim=st.booleans(), timestamps=st.booleans())
def test_random_bytes(raws: list[bytes], aim: bool, timestamps: bool) -> None:
    d = Diary()
    conn = d.accept(timestamps=timestamps)
    before = d.mib.InSegs
    for raw in raws:
        if aim:
            raw = with_ports(d, raw, conn)
        d.inject(ipv4.build(REMOTE, LOCAL, IPPROTO_TCP, raw))
        d.inject(ipv4.build(REMOTE, LOCAL, IPPROTO_TCP, raw), verified=False)
    assert d.mib.InSegs == before + 2 * len(raws)
    d.sleep(s=1)
    healthy(d)


near = st.integers(-3, 12) | st.integers(-70000, 70000) | st.integers(0, 0xFFFFFFFF)
segments = st.tuples(
    st.integers(0, 0x1FF),
    near,
    near,
    st.binary(max_size=8),
    st.integers(0, 65535),
    st.binary(max_size=40),
    st.integers(0, 2000),
)


@settings(max_examples=300)
@given(
    steps=st.lists(segments, min_size=1, max_size=20),
    calls=st.lists(st.sampled_from(["send", "recv", "shutdown", "close", ""]), min_size=20, max_size=20),
    opening=st.sampled_from(["accept", "connect", "syn_sent", "listen"]),
    timestamps=st.booleans(),
)
def test_plausible_segments(
    steps: list[tuple[int, int, int, bytes, int, bytes, int]], calls: list[str], opening: str, timestamps: bool
) -> None:
    """Any flags, numbers near what is expected, any options, mixed with what a program does."""
    d = Diary()
    if opening in ("accept", "connect"):
        conn = getattr(d, opening)(timestamps=timestamps)
        sock, peer = conn.sock, conn.peer
    elif opening == "listen":
        sock = d.listen()
        peer = d.peer()
        peer.irs = 0
    else:
        from support.tcp_diary import Sock

        sock = Sock(d)
        peer = d.syn_from(sock)
    closed = False
    for (flags, seq, ack, data, window, options, wait), call in zip(steps, calls, strict=False):
        segment = tcp.build(
            peer.port,
            peer.local_port,
            data,
            seq=(peer.isn + seq) & 0xFFFFFFFF,
            ack=((peer.irs or 0) + ack) & 0xFFFFFFFF,
            flags=flags,
            window=window,
            options=options,
        )
        d.inject(ipv4.build(REMOTE, LOCAL, IPPROTO_TCP, segment))
        if call and not closed:
            try:
                if call == "send":
                    sock.send(b"data" * 100)
                elif call == "recv":
                    sock.recv()
                elif call == "shutdown":
                    sock.shutdown(1)
                else:
                    closed = True
                    sock.close()
            except OSError:
                pass
        d.sleep(ms=wait)
        sk = sock.socket.sk
        assert sk.snd_una <= sk.snd_nxt
        assert sk.packets_out >= 0
        assert sk.retrans_out >= 0
        assert sk.lost_out >= 0
        assert 0 <= sk.rx_bytes <= sk.rcvbuf
    healthy(d)
    if not closed:
        sock.close()
    if d.listener is not None and d.listener is not sock:
        d.listener.close()
    d.sleep(s=4000)
    assert not d.tcp.ehash
    assert not d.tcp.bhash
    assert d.mib.CurrEstab == 0
    healthy(d)


@given(st.binary(min_size=20, max_size=60), st.booleans())
def test_checksum_decides(raw: bytes, right: bool) -> None:
    d = Diary()
    d.listen()
    raw = raw[:2] + PORT.to_bytes(2, "big") + raw[4:12] + bytes([0x50, tcp.SYN]) + raw[14:16] + b"\0\0" + raw[18:]
    value = finish(partial(raw) + pseudo(REMOTE, LOCAL, IPPROTO_TCP, len(raw)))
    if not right:
        value ^= 0x0101
    d.inject(ipv4.build(REMOTE, LOCAL, IPPROTO_TCP, raw[:16] + value.to_bytes(2, "big") + raw[18:]), verified=False)
    assert d.mib.InCsumErrors == (not right)
    assert len(d.tcp.ehash) == right
    healthy(d)
