"""End to end over an unkind wire: whatever is lost, late, doubled or corrupted, both streams arrive intact."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.tcp_diary import Diary, Pair, Sock

from pysock.core.netdev_features import NETIF_F_TAKES_ALL
from pysock.families.inet.tcp.net import TcpNet
from pysock.uapi.socket import SHUT_WR


class Weather:
    """A judge: how likely each mishap is, in per cent, from one seeded stream of chance."""

    def __init__(self, seed: int, loss: int, reorder: int, double: int, corrupt: int) -> None:
        self.chance = random.Random(seed)
        self.loss, self.reorder, self.double, self.corrupt = loss, reorder, double, corrupt

    def __call__(self, packet: bytes) -> list[tuple[float, bytes]]:
        chance = self.chance
        if chance.randrange(100) < self.loss:
            return []
        delay = 5 + (chance.random() * 30 if chance.randrange(100) < self.reorder else 0)
        copies = [(delay, packet)]
        if chance.randrange(100) < self.double:
            copies.append((delay + chance.random() * 20, packet))
        if chance.randrange(100) < self.corrupt:
            at = chance.randrange(len(packet))
            bad = bytearray(packet)
            bad[at] ^= 1 << chance.randrange(8)
            copies[0] = (delay, bytes(bad))
        return copies


def drain(sock: Sock, into: bytearray) -> bool:
    """Read what is there; False at the end of the stream."""
    while True:
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return True
        if not data:
            return False
        into += data


def exchange(pair: Pair, one: bytes, two: bytes) -> tuple[bytes, bytes]:
    """Send ``one`` from a to b and ``two`` from b to a at the same time, close both; what arrived."""
    a, b = pair.connected()
    ends = [[a, one, 0, bytearray(), True], [b, two, 0, bytearray(), True]]
    for step in range(20000):
        for end in ends:
            sock, data, sent, got, more = end
            assert isinstance(sock, Sock) and isinstance(data, bytes) and isinstance(sent, int)
            assert isinstance(got, bytearray)
            if sent < len(data):
                try:
                    end[2] = sent = sent + sock.send(data[sent : sent + 5000])
                except BlockingIOError:
                    pass
                if sent == len(data):
                    sock.shutdown(SHUT_WR)
            if more:
                end[4] = drain(sock, got)
        if not ends[0][4] and not ends[1][4]:
            break
        pair.diary.sleep(ms=5 if step < 2000 else 200)  # back-offs may be long
    else:
        raise AssertionError("the streams never ended")
    a.close()
    b.close()
    return bytes(ends[0][3]), bytes(ends[1][3])  # type: ignore[call-overload]


def gone(pair: Pair) -> None:
    """After TIME-WAIT nothing is left on either side."""
    pair.diary.sleep(s=3600)
    for net in (pair.diary.net, pair.net_b):
        tcp = net.get(TcpNet)
        assert not tcp.ehash
        assert not tcp.bhash
        assert not tcp.listeners
        assert tcp.inet.mibs.tcp.CurrEstab == 0
    assert not pair.diary.kernel.errors.total


def stream(size: int, salt: int) -> bytes:
    return random.Random(salt).randbytes(size) or b"!"


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1 << 20),
    loss=st.integers(0, 30),
    reorder=st.integers(0, 50),
    double=st.integers(0, 30),
    corrupt=st.integers(0, 10),
    sizes=st.tuples(st.integers(1, 60000), st.integers(1, 60000)),
    offload=st.booleans(),
)
@example(seed=0, loss=0, reorder=0, double=0, corrupt=0, sizes=(300000, 1), offload=False)
@example(seed=1, loss=20, reorder=20, double=20, corrupt=5, sizes=(200000, 200000), offload=False)
def test_both_streams_arrive(
    seed: int, loss: int, reorder: int, double: int, corrupt: int, sizes: tuple[int, int], offload: bool
) -> None:
    if offload:
        corrupt = 0  # nobody computes checksums then
    features = NETIF_F_TAKES_ALL if offload else 0
    pair = Pair(Weather(seed, loss, reorder, double, corrupt), seed=seed, features=features)
    one, two = stream(sizes[0], seed), stream(sizes[1], seed + 1)
    got_two, got_one = exchange(pair, one, two)
    assert got_one == one
    assert got_two == two
    gone(pair)


def test_same_seed_same_packets() -> None:
    def run() -> list[tuple[int, bytes]]:
        log: list[tuple[int, bytes]] = []
        weather = Weather(7, 10, 20, 10, 2)

        def judge(packet: bytes) -> list[tuple[float, bytes]]:
            log.append((pair.diary.now, packet))
            return weather(packet)

        pair = Pair(judge, seed=7)
        exchange(pair, stream(50000, 1), stream(20000, 2))
        return log

    assert run() == run()


def test_loopback_device() -> None:
    """The same over lo, in super-segments, with header prediction doing nearly everything."""
    d = Diary()
    listener = Sock(d)
    listener.bind(9000, "127.0.0.1")
    listener.listen()
    client = Sock(d)
    client.connect(9000, "127.0.0.1", block=True)
    server = listener.accept()
    got = bytearray()
    for i in range(200):
        chunk = stream(30000 + i, i)
        client.send(chunk)
        drain(server, got)
        assert bytes(got) == chunk
        got.clear()
    assert d.ext.TCPHPHits >= 200
    assert d.mib.RetransSegs == 0
