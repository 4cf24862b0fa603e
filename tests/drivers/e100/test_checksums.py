"""Checksums that the driver finishes and verifies for the chip (driver_sum.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.e100 import E100Hosts, Single, card, nic

from pysock.core.netdev_config import dev_set_features
from pysock.core.netdev_features import NETIF_F_HW_CSUM, NETIF_F_RXCSUM
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.drivers.e100.driver_sum import verified
from pysock.syscalls.socket import sys_connect
from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP
from pysock.uapi.socket import MSG_DONTWAIT
from pysock.wire.checksum import finish, partial, pseudo

SRC, DST = b"\x0a\0\0\1", b"\x0a\0\0\2"
SRC6, DST6 = b"\xfe\x80" + bytes(13) + b"\1", b"\xfe\x80" + bytes(13) + b"\2"


def frame(protocol: int, segment: bytes, six: bool = False, flags: int = 0x4000) -> bytes:
    """An Ethernet frame with ``segment``, whose checksum is filled in."""
    field = 16 if protocol == IPPROTO_TCP else 6
    source, target = (SRC6, DST6) if six else (SRC, DST)
    total = pseudo(source, target, protocol, len(segment)) + partial(segment)
    check = (finish(total) or 0xFFFF).to_bytes(2, "big")
    segment = segment[:field] + check + segment[field + 2 :]
    if six:
        ip = b"\x60\0\0\0" + len(segment).to_bytes(2, "big") + bytes((protocol, 64)) + source + target
        return bytes(12) + b"\x86\xdd" + ip + segment
    ip = b"\x45\0" + (20 + len(segment)).to_bytes(2, "big") + b"\0\1" + flags.to_bytes(2, "big")
    return bytes(12) + b"\x08\0" + ip + bytes((64, protocol, 0, 0)) + source + target + segment


TCP = bytes(12) + b"\x80\x10" + bytes(18) + b"payload"
UDP = bytes(8) + b"a datagram, not a short one"


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize(("protocol", "segment"), [(IPPROTO_TCP, TCP), (IPPROTO_TCP, TCP[:-3]), (IPPROTO_UDP, UDP)])
def test_good_and_bad(protocol: int, segment: bytes, six: bool) -> None:
    good = frame(protocol, segment, six)
    payload = verified(good, len(good))
    assert good[payload:] == (segment[32:] if protocol == IPPROTO_TCP else b"")
    assert payload
    for at in range(34, len(good)):
        bad = good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]
        assert not verified(bad, len(bad))


def test_what_is_left_to_the_stack() -> None:
    fragment = frame(IPPROTO_UDP, UDP, flags=0x2000)
    last = frame(IPPROTO_UDP, UDP, flags=0x0001)
    other = frame(47, UDP)
    unsummed = frame(IPPROTO_UDP, UDP)
    unsummed = unsummed[:40] + b"\0\0" + unsummed[42:]
    cut = frame(IPPROTO_TCP, TCP)[:-1]
    for data in (fragment, last, other, unsummed, cut):
        assert not verified(data, len(data))


@pytest.mark.parametrize(("protocol", "segment"), [(IPPROTO_TCP, TCP), (IPPROTO_TCP, TCP[:32]), (IPPROTO_UDP, UDP)])
def test_padding_is_no_payload(protocol: int, segment: bytes) -> None:
    data = frame(protocol, segment) + bytes(9)
    assert verified(data, len(data)) == len(data)


@given(st.binary(min_size=60, max_size=200), st.sampled_from([b"", b"\x08\0\x45", b"\x86\xdd\x60"]))
def test_any_frame_has_an_answer(tail: bytes, start: bytes) -> None:
    data = bytes(12) + start + tail
    assert 0 <= verified(data, len(data)) <= len(data)


@given(st.binary(min_size=8, max_size=100), st.booleans())
def test_finishing(segment: bytes, paged: bool) -> None:
    """What the driver puts on the wire sums up, whatever it was and however it lay in the packet."""
    one = Single()
    head = bytes(12) + b"\x88\xb5" + segment[: 8 if paged else None]
    skb = SkBuff(head, 0, 14 + len(segment), len(segment) - 8, (segment[8:],)) if paged else SkBuff(head, 0, len(head))
    skb.ip_summed, skb.csum_offset, skb.transport_header = CHECKSUM_PARTIAL, 6, 14
    one.kernel.enter()
    one.dev.queue_xmit(skb)
    one.kernel.leave()
    (sent,) = one.peer.got
    summed = sent[14 : 14 + len(segment)]
    assert finish(partial(summed) + int.from_bytes(segment[6:8], "big")) in (0, 0xFFFF)
    assert summed[6:8] != b"\0\0"
    assert (sent[:20], summed[8:]) == (head[:14] + segment[:6], segment[8:])


@pytest.mark.parametrize("features", [0, NETIF_F_HW_CSUM, NETIF_F_RXCSUM])
def test_with_and_without(features: int) -> None:
    """The same data whoever computes; what is on the wire is right; what is wrong there is not delivered."""
    lab = E100Hosts()
    a, b = lab.two()
    for host in (a, b):
        host.call(dev_set_features, host.dev(), host.dev().features & ~(NETIF_F_HW_CSUM | NETIF_F_RXCSUM) | features)
    server = b.bound("10.0.0.2", 99)
    client = a.bound("10.0.0.1", 98)
    on_wire: list[bytes] = []

    def look(data: bytes) -> tuple[bytes, int]:
        on_wire.append(data)
        return data, 0

    lab.wire.a.lane.tamper = look
    a.sendto(client, b"x" * 101, ("10.0.0.2", 99))
    assert b.recv(server, flags=MSG_DONTWAIT) == b"x" * 101
    sent = on_wire[-1]
    assert verified(sent, len(sent))
    lab.kernel.enter()
    card(b).receive(sent[:-1] + b"y", 0)
    lab.kernel.leave()
    assert b.counted()["UdpInCsumErrors"] == 1


def test_tcp_takes_the_fast_path() -> None:
    lab = E100Hosts()
    a, b = lab.two()
    listener = b.listen("10.0.0.2", 80)
    client = a.tcp()
    sys_connect(a.task, client, ("10.0.0.2", 80))
    server = b.accept(listener)
    before = b.counted().get("TcpExtTCPHPHits", 0)
    for _ in range(20):
        a.sendto(client, b"tick")
        assert b.recv(server) == b"tick"
    assert b.counted()["TcpExtTCPHPHits"] - before >= 19
    assert nic(b).resets == 0


@pytest.mark.parametrize("count", [1, 5])
def test_what_arrives_together_is_glued_together(count: int) -> None:
    lab = E100Hosts()
    _, b = lab.two()
    before = b.dev().stats.rx_packets
    addresses = b.dev().dev_addr + b"\x02\0\0\0\0\x07"
    lab.kernel.enter()
    for n in range(count):
        header = b"\0\x50\0\x51" + (1000 + 100 * n).to_bytes(4, "big") + b"\0\0\0\1\x50\x10\x10\0\0\0\0\0"
        segment = frame(IPPROTO_TCP, header + bytes(100))
        ip = bytearray(segment[14:34])
        ip[4:6] = n.to_bytes(2, "big")
        ip[10:12] = finish(partial(bytes(ip))).to_bytes(2, "big")
        card(b).receive(addresses + segment[12:14] + bytes(ip) + segment[34:], 0)
    lab.kernel.leave()
    napi = nic(b).napi
    assert napi is not None
    assert (napi.gro.merged if napi.gro is not None else 0) == count - 1
    assert b.dev().stats.rx_packets == before + count + 1  # and the ARP reply that answering them took
