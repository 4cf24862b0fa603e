"""GRO: what is glued, every rule that sends a flow's packet out, and that GSO cuts it as it was."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import MAC, boot, softirqs, wire

from pysock.core.device import NetDevice, netif_napi_add
from pysock.core.eth import eth_type_trans
from pysock.core.gro import GRO_HELD, GRO_MERGED, GRO_NORMAL, MAX_FLOWS, Gro, napi_gro_receive
from pysock.core.gso import gso_segment
from pysock.core.kernel import Kernel
from pysock.core.netdev_features import NETIF_F_GRO, NETIF_F_TAKES_ALL
from pysock.core.skb_data import skb_checksum_help, skb_copy_bits, skb_to_bytes
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.wire import tcp
from pysock.wire.checksum import checksum, finish, partial, pseudo_v4, pseudo_v6

MSS = 100
TS = b"\1\1\x08\x0a" + bytes(8)
ACK, PSH, FIN, CWR, ECE = tcp.ACK, tcp.PSH, tcp.FIN, tcp.CWR, tcp.ECE


def segment(
    number: int = 0,
    payload: bytes = b"",
    *,
    n: int = MSS,
    seq: int | None = None,
    ack: int = 7,
    flags: int = ACK,
    window: int = 500,
    options: bytes = TS,
    sport: int = 1000,
    ident: int | None = None,
    df: int = 0x40,
    ttl: int = 64,
    tos: int = 0,
    version: int = 4,
    flow: int = 0,
    mac: bytes = bytes(6),
    change: Callable[[bytearray], None] | None = None,
) -> bytes:
    """The frame of the ``number``-th segment of a flow, every field right unless a test wants it otherwise."""
    payload = payload or bytes((number & 0xFF,)) * n
    head = struct.pack(
        "!HHIIBBHHH", sport, 80, (5000 + number * MSS if seq is None else seq) & 0xFFFFFFFF, ack,
        (20 + len(options)) << 2, flags, window, 0, 0,
    ) + options  # fmt: skip
    body = bytearray(head + payload)
    if version == 4:
        ip = bytearray(
            struct.pack(
                "!BBHHBBBBH4s4s", 0x45, tos, 20 + len(body), (100 + number if ident is None else ident) & 0xFFFF, df, 0,
                ttl, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2",
            )
        )  # fmt: skip
        ip[10:12] = checksum(ip).to_bytes(2, "big")
        pseudo = pseudo_v4(bytes(ip[12:16]), bytes(ip[16:20]), 6, len(body))
    else:
        ip = bytearray(struct.pack("!IHBB", 6 << 28 | tos << 20 | flow, len(body), 6, ttl) + b"\xfd" + bytes(31))
        pseudo = pseudo_v6(bytes(ip[8:24]), bytes(ip[24:40]), 6, len(body))
    body[16:18] = finish(pseudo + partial(body)).to_bytes(2, "big")
    frame = bytearray(MAC + mac + (b"\x08\0" if version == 4 else b"\x86\xdd") + ip + body)
    if change is not None:
        change(frame)
    return bytes(frame)


@cache
def kernel() -> Kernel:
    """One for all: nothing here lasts in it but devices."""
    return boot()


class Receiver:
    """A device with a NAPI, and what went up the stack."""

    def __init__(self, features: int = NETIF_F_TAKES_ALL | NETIF_F_GRO) -> None:
        self.kernel = kernel()
        self.dev: NetDevice = wire(self.kernel, features=features)
        self.dev.features = features
        self.up: list[SkBuff] = []
        self.gro = Gro(self._receive)

    def _receive(self, skb: SkBuff) -> int:
        self.up.append(skb)
        return 0

    def skb(self, frame: bytes) -> SkBuff:
        skb = SkBuff(frame, 0, len(frame))
        eth_type_trans(skb, self.dev)
        return skb

    def feed(self, *frames: bytes) -> list[int]:
        return [self.gro.receive(self.skb(frame)) for frame in frames]

    def sizes(self) -> list[int]:
        """How many segments each packet stands for that went up so far, after a flush."""
        self.gro.flush()
        up, self.up = self.up, []
        return [skb.gso_segs or 1 for skb in up]


def frames_of(skb: SkBuff) -> list[bytes]:
    """The frames that a router with a device without TSO would send."""
    skb.network_header = skb.data
    skb.len += skb.data - skb.mac_header
    skb.data = skb.mac_header
    cut = gso_segment(skb) if skb.gso_size else [skb]
    for one in cut:
        if one.ip_summed == CHECKSUM_PARTIAL:
            skb_checksum_help(one)
    return [skb_to_bytes(one) for one in cut]


@pytest.mark.parametrize("version", [4, 6])
def test_segments_in_order_are_glued_and_cut_again_as_they_were(version: int) -> None:
    receiver = Receiver()
    frames = [segment(n, version=version) for n in range(5)] + [segment(5, version=version, n=30, flags=ACK | PSH)]
    assert receiver.feed(*frames) == [GRO_HELD] + [GRO_MERGED] * 5
    (skb,) = receiver.up  # PSH and being short send it out
    assert len(receiver.gro) == 0
    assert (skb.gso_size, skb.gso_segs, skb.ip_summed) == (MSS, 6, CHECKSUM_PARTIAL)
    assert skb.data == 14
    packet = skb_copy_bits(skb, 0, skb.len)
    assert packet.endswith(b"".join(bytes((n,)) * MSS for n in range(5)) + b"\5" * 30)
    assert frames_of(skb) == frames


@given(st.lists(st.integers(1, MSS), min_size=1, max_size=12), st.integers(0, 1 << 32), st.sampled_from([4, 6]))
def test_nothing_is_lost_or_changed(sizes: list[int], start: int, version: int) -> None:
    """Whatever sizes come, cutting what went up gives the frames that came."""
    receiver = Receiver()
    frames = []
    for number, n in enumerate(sizes):
        frames.append(segment(number, n=n, seq=start, version=version))
        start += n
    receiver.feed(*frames)
    receiver.gro.flush()
    assert [frame for skb in receiver.up for frame in frames_of(skb)] == frames


def test_one_alone_goes_up_as_it_came() -> None:
    receiver = Receiver()
    frame = segment()
    receiver.feed(frame)
    receiver.gro.flush()
    assert skb_to_bytes(receiver.up[0]) == frame
    assert receiver.up[0].gso_size == 0


def bad_sum(frame: bytearray) -> None:
    frame[-1] ^= 1


def bad_ip_sum(frame: bytearray) -> None:
    frame[24] ^= 1


def padded(frame: bytearray) -> None:
    frame += bytes(3)


#: What the second of two segments is like that must not be glued to the first.
OTHERS: dict[str, dict[str, object]] = {
    "one was lost": {"seq": 5000 + 2 * MSS},
    "again": {"seq": 5000},
    "another acknowledgement": {"ack": 8},
    "another window": {"window": 501},
    "another timestamp": {"options": TS[:-1] + b"\1"},
    "no timestamp": {"options": b""},
    "longer than the first": {"n": MSS + 1},
    "ECE": {"flags": ACK | ECE},
    "CWR": {"flags": ACK | CWR},
    "another TTL": {"ttl": 63},
    "another type of service": {"tos": 1},
    "may be fragmented": {"df": 0},
    "an identification out of order": {"ident": 9},
    "a fragment": {"df": 0x20},
    "a wrong checksum": {"change": bad_sum},
    "a wrong IP checksum": {"change": bad_ip_sum},
    "padding behind it": {"change": padded},
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_rule(name: str) -> None:
    receiver = Receiver()
    first, second = segment(0), segment(1, **OTHERS[name])  # type: ignore[arg-type]
    receiver.feed(first, second)
    receiver.gro.flush()
    assert sorted(skb_to_bytes(skb) for skb in receiver.up) == sorted((first, second))
    receiver.up.clear()
    receiver.feed(first, segment(1))  # the same but for that is glued
    assert receiver.sizes() == [2]


@pytest.mark.parametrize(
    "fields", [{"sport": 1001}, {"mac": b"\1" * 6}], ids=["another port", "another link-layer address"]
)
def test_other_flows_do_not_disturb(fields: dict[str, object]) -> None:
    receiver = Receiver()
    receiver.feed(segment(0), segment(0, **fields), segment(1), segment(1, **fields))  # type: ignore[arg-type]
    assert receiver.sizes() == [2, 2]


@pytest.mark.parametrize("fields", [{"flow": 5}, {"tos": 2}, {"ttl": 63}])
def test_every_rule_of_ipv6(fields: dict[str, object]) -> None:
    receiver = Receiver()
    receiver.feed(segment(0, version=6), segment(1, version=6, **fields))  # type: ignore[arg-type]
    assert receiver.sizes() == [1, 1]


def test_another_vlan() -> None:
    receiver = Receiver()
    for number, tag in ((0, 5), (1, 6), (2, 6)):
        skb = receiver.skb(segment(number))
        skb.vlan_tci = tag
        receiver.gro.receive(skb)
    assert receiver.sizes() == [1, 2]


@pytest.mark.parametrize("flag", [FIN, PSH, tcp.SYN, tcp.RST, tcp.URG])
def test_flags_that_nobody_waits_behind(flag: int) -> None:
    receiver = Receiver()
    assert receiver.feed(segment(0, flags=ACK | flag)) == [GRO_NORMAL]
    receiver.feed(segment(1), segment(2, flags=ACK | flag))
    assert len(receiver.gro) == 0
    assert [skb.gso_segs for skb in receiver.up] == ([0, 2] if flag in (FIN, PSH) else [0, 0, 0])


def test_an_acknowledgement_sends_out_what_came_before_it() -> None:
    receiver = Receiver()
    receiver.feed(segment(0), segment(1))
    assert receiver.feed(segment(2, payload=b"", n=0)) == [GRO_NORMAL]
    assert [skb.gso_segs for skb in receiver.up] == [2, 0]


def test_identifications_that_stay() -> None:
    receiver = Receiver()
    receiver.feed(*(segment(n, ident=0) for n in range(3)))
    assert receiver.sizes() == [3]
    receiver.feed(segment(0, ident=5), segment(1, ident=5), segment(2, ident=7))
    assert receiver.sizes() == [2, 1]
    receiver.feed(*(segment(n, ident=5, df=0) for n in range(2)))
    assert receiver.sizes() == [1, 1]


def test_below_64_kib() -> None:
    receiver = Receiver()
    receiver.feed(*(segment(n, n=1000, seq=n * 1000) for n in range(70)))
    assert receiver.sizes() == [65, 5]


def test_so_many_flows_are_held() -> None:
    receiver = Receiver()
    assert receiver.feed(*(segment(sport=port) for port in range(MAX_FLOWS + 1))) == [GRO_HELD] * (MAX_FLOWS + 1)
    assert len(receiver.gro) == MAX_FLOWS
    assert [skb.head[34:36] for skb in receiver.up] == [bytes(2)]  # port 0's, the oldest


def test_what_is_no_tcp_passes() -> None:
    receiver = Receiver()

    def udp(frame: bytearray) -> None:
        frame[23] = 17

    def options(frame: bytearray) -> None:
        frame[14] = 0x46

    def no_header(frame: bytearray) -> None:
        frame[46] = 0x10

    def short(frame: bytearray) -> None:
        del frame[30:]

    for change in (udp, options, no_header, short):
        assert receiver.feed(segment(0, change=change)) == [GRO_NORMAL]


@given(st.binary(max_size=80))
def test_nothing_that_arrives_raises(noise: bytes) -> None:
    receiver = Receiver()
    for ethertype in (b"\x08\0", b"\x86\xdd"):
        for first in (b"", b"\x45", b"\x60"):
            receiver.feed(bytes(12) + ethertype + first + noise)
    receiver.gro.flush()
    assert len(receiver.up) == 6


def test_a_device_without_it() -> None:
    receiver = Receiver(features=NETIF_F_TAKES_ALL)
    assert receiver.feed(segment(0), segment(1)) == [GRO_NORMAL] * 2


@pytest.mark.parametrize("raises", [False, True])
def test_a_poll_ends_with_a_flush(raises: bool) -> None:
    receiver = Receiver()
    frames = [segment(n) for n in range(4)]
    taps: list[int] = []
    receiver.dev.ptype_all = (lambda skb, dev: taps.append(skb.gso_segs),)
    receiver.dev.update_path()

    def poll(budget: int) -> int:
        for frame in frames:
            napi_gro_receive(napi, receiver.skb(frame))
        napi.complete_done(len(frames))
        assert taps == []
        if raises:
            raise LookupError
        return len(frames)

    napi = netif_napi_add(receiver.dev, poll)
    napi.schedule()
    softirqs(receiver.kernel)
    assert taps == [4]
