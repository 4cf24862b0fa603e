"""Transmit times (SO_TIMESTAMPING) of UDP, raw sockets and TCP, over both versions of IP; on Linux too."""

from __future__ import annotations

import errno
import struct
import time
from contextlib import suppress
from typing import Any

import pytest
from support.dgram_api import LO
from support.hosts import Hosts
from support.inet6_api import LO6, Linux6, Ours6

from pysock.core.qdisc import qdisc_replace
from pysock.uapi.in6 import IPV6_RECVERR
from pysock.uapi.in_ import IP_RECVERR, IPPROTO_IPV6, IPPROTO_TCP
from pysock.uapi.socket import (
    AF_INET,
    AF_INET6,
    MSG_ERRQUEUE,
    SCM_TIMESTAMPING,
    SCM_TS_OPT_ID,
    SCM_TSTAMP_ACK,
    SCM_TSTAMP_SCHED,
    SCM_TSTAMP_SND,
    SCM_TXTIME,
    SO_TIMESTAMPING,
    SO_TXTIME,
    SOCK_RAW,
    SOCK_STREAM,
    SOF_TIMESTAMPING_OPT_ID,
    SOF_TIMESTAMPING_OPT_ID_TCP,
    SOF_TIMESTAMPING_OPT_TSONLY,
    SOF_TIMESTAMPING_SOFTWARE,
    SOF_TIMESTAMPING_TX_ACK,
    SOF_TIMESTAMPING_TX_SCHED,
    SOF_TIMESTAMPING_TX_SOFTWARE,
    SOL_IP,
    SOL_SOCKET,
    SOL_UDP,
)
from pysock.uapi.tcp import TCP_CORK, TCP_NODELAY
from pysock.uapi.udp import UDP_SEGMENT

MS = 1_000_000
SCHED, SND, ACK = SCM_TSTAMP_SCHED, SCM_TSTAMP_SND, SCM_TSTAMP_ACK
SOFTWARE, OPT_ID, TSONLY = SOF_TIMESTAMPING_SOFTWARE, SOF_TIMESTAMPING_OPT_ID, SOF_TIMESTAMPING_OPT_TSONLY
LEAVES = SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE
ALL = LEAVES | SOF_TIMESTAMPING_TX_ACK
HEADERS = {4: 14 + 20, 6: 14 + 40}
Notice = tuple[int, int, bytes, int]


def ask(flags: int) -> tuple[int, int, bytes]:
    return SOL_SOCKET, SO_TIMESTAMPING, struct.pack("=I", flags)


def notices(api: Any, sock: Any, version: int, wanted: int, reported: bool = True) -> list[Notice]:
    """The next ``wanted`` notices: (what happened, number, data, its length)."""
    found: list[Notice] = []
    deadline = time.monotonic() + 10
    while len(found) < wanted:
        try:
            data, control, flags, *_ = api.recvmsg(sock, 70_000, 1000, MSG_ERRQUEUE)
        except BlockingIOError:
            assert isinstance(api, Linux6), f"only {found}"
            assert time.monotonic() < deadline, f"only {found}"
            continue
        assert flags & MSG_ERRQUEUE
        if reported:
            level, kind, stamp = control.pop(0)
            assert (level, kind, len(stamp)) == (SOL_SOCKET, SCM_TIMESTAMPING, 48)
            assert int.from_bytes(stamp[:8], "little")
        ((level, kind, raw),) = control
        assert (level, kind) == ((SOL_IP, IP_RECVERR) if version == 4 else (IPPROTO_IPV6, IPV6_RECVERR))
        number, origin, which, key = struct.unpack_from("=IB3xII", raw)
        assert (number, origin) == (errno.ENOMSG, 4)
        found.append((which, key, data, len(data)))
    with pytest.raises(BlockingIOError):
        api.recvmsg(sock, 1, 1000, MSG_ERRQUEUE)
    return found


def brief(found: list[Notice], tail: int) -> list[tuple[int, int, bytes]]:
    return [(which, key, data[-tail:]) for which, key, data, _ in found]


@pytest.fixture(params=[4, 6])
def udp(request: pytest.FixtureRequest, api6: Ours6 | Linux6) -> tuple[Any, Any, int]:
    """The api, a connected sender, and the version of IP."""
    api: Any = api6
    version = request.param
    receiver = api.bound(LO if version == 4 else LO6)
    sender = api.socket(family=AF_INET if version == 4 else AF_INET6)
    api.connect(sender, api.name(receiver)[:2])
    return api, sender, version


def test_each_send_has_a_number(udp: tuple[Any, Any, int]) -> None:
    api, sender, version = udp
    api.sendto(sender, b"before")
    api.setopt(sender, SOL_SOCKET, SO_TIMESTAMPING, LEAVES | SOFTWARE | OPT_ID)
    for data in (b"one", b"two"):
        api.sendto(sender, data)
    found = notices(api, sender, version, 4)
    assert brief(found, 3) == [(SCHED, 0, b"one"), (SND, 0, b"one"), (SCHED, 1, b"two"), (SND, 1, b"two")]
    assert {n for *_, n in found} == {HEADERS[version] + 8 + 3}


def test_a_send_says_otherwise(udp: tuple[Any, Any, int]) -> None:
    api, sender, version = udp
    api.setopt(sender, SOL_SOCKET, SO_TIMESTAMPING, LEAVES | SOFTWARE | OPT_ID)
    api.sendmsg(sender, b"own", [(SOL_SOCKET, SCM_TS_OPT_ID, struct.pack("=I", 77))])
    api.sendmsg(sender, b"none", [ask(0)])
    api.sendmsg(sender, b"one", [ask(SOF_TIMESTAMPING_TX_SCHED)])
    assert brief(notices(api, sender, version, 3), 3) == [(SCHED, 77, b"own"), (SND, 77, b"own"), (SCHED, 0, b"one")]


def test_only_a_send_asks(udp: tuple[Any, Any, int]) -> None:
    api, sender, version = udp
    api.setopt(sender, SOL_SOCKET, SO_TIMESTAMPING, SOFTWARE)
    api.sendto(sender, b"no")
    api.sendmsg(sender, b"yes", [ask(SOF_TIMESTAMPING_TX_SOFTWARE)])
    api.sendto(sender, b"no")
    assert brief(notices(api, sender, version, 1), 3) == [(SND, 0, b"yes")]


def test_times_alone_and_data_alone(udp: tuple[Any, Any, int]) -> None:
    api, sender, version = udp
    api.setopt(sender, SOL_SOCKET, SO_TIMESTAMPING, LEAVES | SOFTWARE | TSONLY)
    api.sendto(sender, b"one")
    assert notices(api, sender, version, 2) == [(SCHED, 0, b"", 0), (SND, 0, b"", 0)]
    api.setopt(sender, SOL_SOCKET, SO_TIMESTAMPING, LEAVES)  # made, but not reported
    api.sendto(sender, b"two")
    assert brief(notices(api, sender, version, 2, reported=False), 3) == [(SCHED, 0, b"two"), (SND, 0, b"two")]


def test_many_datagrams_in_one_send(udp: tuple[Any, Any, int]) -> None:
    api, sender, version = udp
    api.setopt(sender, SOL_SOCKET, SO_TIMESTAMPING, LEAVES | SOFTWARE | OPT_ID)
    api.setopt(sender, SOL_UDP, UDP_SEGMENT, 2)
    api.sendto(sender, b"abcde")
    found = notices(api, sender, version, 2)
    assert brief(found, 5) == [(SCHED, 0, b"abcde"), (SND, 0, b"abcde")]
    assert {n for *_, n in found} == {HEADERS[version] + 8 + 5}


@pytest.mark.parametrize("version", [4, 6])
def test_raw_sockets(api6: Ours6 | Linux6, version: int) -> None:
    api: Any = api6
    sock = api.socket(SOCK_RAW, 200, AF_INET if version == 4 else AF_INET6)
    api.setopt(sock, SOL_SOCKET, SO_TIMESTAMPING, LEAVES | SOFTWARE | OPT_ID)
    for data in (b"one", b"two"):
        api.sendto(sock, data, (LO if version == 4 else LO6, 0))
    found = notices(api, sock, version, 4)
    assert brief(found, 3) == [(SCHED, 0, b"one"), (SND, 0, b"one"), (SCHED, 1, b"two"), (SND, 1, b"two")]
    assert {n for *_, n in found} == {HEADERS[version] + 3}


# TCP -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=[4, 6])
def tcp(request: pytest.FixtureRequest, api6: Ours6 | Linux6) -> tuple[Any, Any, Any, int]:
    """The api, both ends of a connection, and the version of IP."""
    api: Any = api6
    version = request.param
    listener = api.bound(LO if version == 4 else LO6, type=SOCK_STREAM)
    api.listen(listener)
    sock = api.socket(SOCK_STREAM, 0, AF_INET if version == 4 else AF_INET6)
    with suppress(BlockingIOError):
        api.connect(sock, api.name(listener)[:2])
    peer = api.accept(listener)[0]
    api.setopt(sock, IPPROTO_TCP, TCP_NODELAY, 1)
    return api, sock, peer, version


def take(api: Any, peer: Any, n: int) -> None:
    deadline = time.monotonic() + 10
    while n:
        try:
            n -= len(api.recvfrom(peer, 1 << 20)[0])
        except BlockingIOError:
            assert isinstance(api, Linux6)
            assert time.monotonic() < deadline


def test_bytes_have_numbers(tcp: tuple[Any, Any, Any, int]) -> None:
    """Counted from what was not acknowledged when that was asked for; a notice has that of the send's last byte."""
    api, sock, peer, version = tcp
    api.sendto(sock, b"before")
    take(api, peer, 6)
    api.setopt(sock, SOL_SOCKET, SO_TIMESTAMPING, ALL | SOFTWARE | OPT_ID | SOF_TIMESTAMPING_OPT_ID_TCP)
    for data, key in ((b"12345", 4), (b"678", 7), (b"9", 8)):
        api.sendto(sock, data)
        take(api, peer, len(data))
        found = notices(api, sock, version, 3)
        assert brief(found, len(data)) == [(SCHED, key, data), (SND, key, data), (ACK, key, data)]
        frame = HEADERS[version] + 32 + len(data)
        assert [n for *_, n in found] == [frame, frame, len(data)]


def test_a_big_send_is_told_of_once(tcp: tuple[Any, Any, Any, int]) -> None:
    api, sock, peer, version = tcp
    api.setopt(sock, SOL_SOCKET, SO_TIMESTAMPING, ALL | SOFTWARE | OPT_ID | TSONLY)
    n = api.sendto(sock, bytes(150_000))
    take(api, peer, n)
    assert sorted(notices(api, sock, version, 3)) == [(kind, n - 1, b"", 0) for kind in (SND, SCHED, ACK)]


def test_a_send_of_a_stream_asks(tcp: tuple[Any, Any, Any, int]) -> None:
    api, sock, peer, version = tcp
    api.setopt(sock, SOL_SOCKET, SO_TIMESTAMPING, SOFTWARE)
    for data, flags in ((b"a", 0), (b"bcd", SOF_TIMESTAMPING_TX_ACK), (b"e", 0)):
        api.sendmsg(sock, data, [ask(flags)] if flags else [])
        take(api, peer, len(data))
    assert brief(notices(api, sock, version, 1), 3) == [(ACK, 0, b"bcd")]


def test_numbers_begin_anew(tcp: tuple[Any, Any, Any, int]) -> None:
    api, sock, peer, version = tcp
    flags = SOF_TIMESTAMPING_TX_SOFTWARE | SOFTWARE | OPT_ID | SOF_TIMESTAMPING_OPT_ID_TCP | TSONLY
    for _ in range(2):
        api.setopt(sock, SOL_SOCKET, SO_TIMESTAMPING, 0)
        api.setopt(sock, SOL_SOCKET, SO_TIMESTAMPING, flags)
        for key in (2, 5):
            api.sendto(sock, b"abc")
            take(api, peer, 3)
            assert notices(api, sock, version, 1) == [(SND, key, b"", 0)]


def test_several_sends_in_one_segment(tcp: tuple[Any, Any, Any, int]) -> None:
    """The last of them counts."""
    api, sock, peer, version = tcp
    api.setopt(sock, IPPROTO_TCP, TCP_CORK, 1)
    api.setopt(sock, SOL_SOCKET, SO_TIMESTAMPING, ALL | SOFTWARE | OPT_ID | TSONLY)
    for data in (b"one", b"two"):
        api.sendto(sock, data)
    api.setopt(sock, IPPROTO_TCP, TCP_CORK, 0)
    take(api, peer, 6)
    assert notices(api, sock, version, 3) == [(kind, 5, b"", 0) for kind in (SCHED, SND, ACK)]


# In virtual time ------------------------------------------------------------------------------------------


def test_the_queue_and_the_device_have_it_at_different_times() -> None:
    lab = Hosts()
    a, b = lab.pair()
    a.call(qdisc_replace, a.dev(), "fq")
    receiver, sender = b.socket(), a.socket()
    b.bind(receiver, ("10.0.0.2", 9))
    a.sendto(sender, b"", ("10.0.0.2", 9))
    b.recv(receiver)
    a.setopt(sender, SOL_SOCKET, SO_TXTIME, struct.pack("=iI", 1, 0))
    a.setopt(sender, SOL_SOCKET, SO_TIMESTAMPING, LEAVES | SOFTWARE | TSONLY)
    at = lab.kernel.now + 30 * MS
    a.sendmsg(sender, b"x", [(SOL_SOCKET, SCM_TXTIME, at.to_bytes(8, "little"))], ("10.0.0.2", 9))
    b.recv(receiver)
    times = []
    for _ in range(2):
        ((_, _, stamp), _) = a.recvmsg(sender, 99, 1000, MSG_ERRQUEUE)[1]
        seconds, nanos = struct.unpack_from("=qq", stamp)
        times.append(seconds * 1_000_000_000 + nanos)
    assert times[1] - times[0] == 30 * MS


def test_the_first_fragment_tells() -> None:
    lab = Hosts()
    a, b = lab.pair()
    receiver, sender = b.socket(), a.socket()
    b.bind(receiver, ("10.0.0.2", 9))
    a.setopt(sender, SOL_SOCKET, SO_TIMESTAMPING, LEAVES | SOFTWARE | OPT_ID)
    a.sendto(sender, bytes(4000), ("10.0.0.2", 9))  # and it waits for ARP
    assert len(b.recv(receiver)) == 4000
    found = notices(a, sender, 4, 2)
    assert [(which, key, n) for which, key, _, n in found] == [(SCHED, 0, 1514), (SND, 0, 1514)]
