"""Control messages of level SOL_SOCKET in a send, on the kernel of this machine too: SO_MARK, SO_PRIORITY, SCM_TXTIME,
SO_TIMESTAMPING, SCM_TS_OPT_ID; and what fq makes of SCM_TXTIME.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from typing import Any

import pytest
from support.dgram_api import LO, Ours, fails
from support.hosts import Hosts
from support.inet6_api import LO6, Linux6, Ours6

from pysock.core.capability import CAP_NET_ADMIN, CAP_NET_RAW, Credentials
from pysock.core.qdisc import qdisc_replace
from pysock.uapi.socket import (
    AF_INET,
    AF_INET6,
    SCM_CREDENTIALS,
    SCM_TS_OPT_ID,
    SCM_TXTIME,
    SO_MARK,
    SO_PRIORITY,
    SO_RCVMARK,
    SO_RCVPRIORITY,
    SO_TIMESTAMP,
    SO_TIMESTAMPING,
    SO_TXTIME,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
    SOF_TIMESTAMPING_OPT_ID,
    SOF_TIMESTAMPING_SOFTWARE,
    SOF_TIMESTAMPING_TX_SOFTWARE,
    SOL_IP,
    SOL_SOCKET,
)

MS = 1_000_000
MONOTONIC = struct.pack("=iI", 1, 0)
Message = tuple[int, int, bytes]


def sol(kind: int, value: int, size: int = 4) -> Message:
    return SOL_SOCKET, kind, value.to_bytes(size, "little")


@pytest.fixture(params=[4, 6])
def pair(request: pytest.FixtureRequest, api6: Ours6 | Linux6) -> tuple[Any, Any, Any]:
    """The api, and a sender connected to a receiver."""
    api: Any = api6
    if isinstance(api, Linux6) and os.geteuid():
        pytest.skip("SO_MARK needs CAP_NET_ADMIN or CAP_NET_RAW")
    receiver = api.bound(LO if request.param == 4 else LO6)
    sender = api.socket(family=AF_INET if request.param == 4 else AF_INET6)
    api.connect(sender, api.name(receiver)[:2])
    return api, sender, receiver


def test_mark_and_priority_of_one_datagram(pair: tuple[Any, Any, Any]) -> None:
    api, sender, receiver = pair
    try:
        api.setopt(receiver, SOL_SOCKET, SO_RCVMARK, 1)
        api.setopt(receiver, SOL_SOCKET, SO_RCVPRIORITY, 1)
        api.sendmsg(sender, b"", [sol(SO_PRIORITY, 1)])
    except OSError:
        pytest.skip("younger than this kernel")
    api.recvfrom(receiver)
    api.setopt(sender, SOL_SOCKET, SO_MARK, 100)
    api.setopt(sender, SOL_SOCKET, SO_PRIORITY, 3)
    for control, mark, priority in (
        ([], 100, 3),
        ([sol(SO_MARK, 7)], 7, 3),
        ([sol(SO_PRIORITY, 5)], 100, 5),
        ([sol(SO_PRIORITY, 0), sol(SO_MARK, 0)], 0, 0),
        ([sol(SO_PRIORITY, 0xFFFFFFFF)], 100, 0xFFFFFFFF),
        ([], 100, 3),
    ):
        api.sendmsg(sender, b"x", control)
        assert api.recvmsg(receiver)[1] == [sol(SO_MARK, mark), sol(SO_PRIORITY, priority)]


@pytest.mark.parametrize(
    "message",
    [
        sol(SO_MARK, 1, 2),
        sol(SO_MARK, 1, 8),
        sol(SO_PRIORITY, 1, 1),
        sol(SCM_TXTIME, 1, 8),
        sol(SO_TIMESTAMPING, SOF_TIMESTAMPING_SOFTWARE),
        sol(SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_SOFTWARE, 2),
        sol(SCM_TS_OPT_ID, 9),
        sol(99, 1),
    ],
)
def test_bad_ones(pair: tuple[Any, Any, Any], message: Message) -> None:
    api, sender, receiver = pair
    fails(errno.EINVAL, api.sendmsg, sender, b"x", [message])
    fails(errno.EAGAIN, api.recvfrom, receiver)


def test_those_of_other_families_are_ignored(pair: tuple[Any, Any, Any]) -> None:
    api, sender, receiver = pair
    api.sendmsg(sender, b"x", [(SOL_SOCKET, SCM_CREDENTIALS, struct.pack("=iII", os.getpid(), 0, 0))])
    assert api.recvfrom(receiver)[0] == b"x"


def test_an_option_allows_them(pair: tuple[Any, Any, Any]) -> None:
    api, sender, receiver = pair
    api.setopt(sender, SOL_SOCKET, SO_TXTIME, MONOTONIC)
    api.setopt(sender, SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_OPT_ID)
    fails(errno.EINVAL, api.sendmsg, sender, b"x", [sol(SCM_TXTIME, 1, 4)])
    fails(errno.EINVAL, api.sendmsg, sender, b"x", [sol(SCM_TS_OPT_ID, 1, 8)])
    for message in (sol(SCM_TXTIME, 5, 8), sol(SCM_TXTIME, 0, 8), sol(SCM_TS_OPT_ID, 7)):
        api.sendmsg(sender, b"x", [message])
        assert api.recvfrom(receiver)[0] == b"x"  # a queue that knows no times sends at once


def test_when_it_was_to_leave_is_not_when_it_arrived(pair: tuple[Any, Any, Any]) -> None:
    api, sender, receiver = pair
    api.setopt(receiver, SOL_SOCKET, SO_TIMESTAMP, 1)
    api.setopt(sender, SOL_SOCKET, SO_TXTIME, MONOTONIC)
    api.sendmsg(sender, b"x", [sol(SCM_TXTIME, 5, 8)])
    ((_, _, stamp),) = api.recvmsg(receiver)[1]
    assert int.from_bytes(stamp[:8], "little") > 1000


def test_clocks_and_flags(pair: tuple[Any, Any, Any]) -> None:
    api, sender, _ = pair
    for clock, flags, bad in ((0, 0, 0), (1, 3, 0), (11, 1, 0), (2, 0, 1), (99, 0, 1), (1, 4, 1)):
        value = struct.pack("=iI", clock, flags)
        if bad:
            fails(errno.EINVAL, api.setopt, sender, SOL_SOCKET, SO_TXTIME, value)
        else:
            api.setopt(sender, SOL_SOCKET, SO_TXTIME, value)
            assert api.getopt(sender, SOL_SOCKET, SO_TXTIME, 8) == value


@pytest.mark.parametrize(("family", "host"), [(AF_INET, LO), (AF_INET6, LO6)])
def test_raw_sockets(api6: Ours6 | Linux6, family: int, host: str) -> None:
    api: Any = api6
    sock = api.socket(SOCK_RAW, 200, family)
    api.sendmsg(sock, b"x", [sol(SO_MARK, 7), sol(SO_PRIORITY, 5)], (host, 0))
    fails(errno.EINVAL, api.sendmsg, sock, b"x", [sol(SCM_TXTIME, 5, 8)], (host, 0))


@pytest.mark.parametrize("host", [LO, LO6])
def test_tcp_reads_them_too(api6: Ours6 | Linux6, host: str) -> None:
    api: Any = api6
    if isinstance(api, Linux6) and os.geteuid():
        pytest.skip("SO_MARK needs CAP_NET_ADMIN or CAP_NET_RAW")
    listener = api.bound(host, type=SOCK_STREAM)
    api.listen(listener)
    sock = api.socket(SOCK_STREAM, 0, AF_INET6 if ":" in host else AF_INET)
    with suppress(BlockingIOError):
        api.connect(sock, api.name(listener)[:2])
    peer = api.accept(listener)[0]
    good = [sol(SO_MARK, 7), sol(SO_PRIORITY, 5), sol(SO_TIMESTAMPING, 2), (SOL_IP, 2, bytes(4)), (6, 1, bytes(4))]
    for message in good:
        assert api.sendmsg(sock, b"x", [message]) == 1
    for message in (sol(SCM_TXTIME, 5, 8), sol(99, 1), sol(SCM_TS_OPT_ID, 1), sol(SO_MARK, 7, 1)):
        fails(errno.EINVAL, api.sendmsg, sock, b"y", [message])
    got = b""
    while len(got) < len(good):
        got += api.recvfrom(peer)[0]
    assert got == b"x" * len(good)


def test_capabilities() -> None:
    """Without CAP_NET_RAW or CAP_NET_ADMIN: no mark, and no priority above 6."""
    nobody = Ours(creds=Credentials(uid=65534, gid=65534, caps=0))
    for caps, allowed in ((0, False), (1 << CAP_NET_RAW, True), (1 << CAP_NET_ADMIN, True)):
        api = Ours(creds=Credentials(uid=65534, gid=65534, caps=caps), kernel=nobody.kernel)
        receiver, sender = api.bound(), api.socket(SOCK_DGRAM)
        for message in (sol(SO_MARK, 7), sol(SO_PRIORITY, 7), sol(SO_PRIORITY, 0xFFFFFFFF)):
            if allowed:
                api.sendmsg(sender, b"x", [message], api.name(receiver))
            else:
                fails(errno.EPERM, api.sendmsg, sender, b"x", [message], api.name(receiver))
        api.sendmsg(sender, b"x", [sol(SO_PRIORITY, 6)], api.name(receiver))


# With fq ---------------------------------------------------------------------------------------------------


def test_fq_sends_each_at_its_time() -> None:
    """Each flow for itself, and those of one flow in the order of their times; one that is too far ahead is dropped."""
    lab = Hosts()
    a, b = lab.pair()
    a.call(qdisc_replace, a.dev(), "fq", {"horizon": 10_000 * MS})
    receiver = b.socket()
    b.bind(receiver, ("10.0.0.2", 9))
    a.sendto(a.socket(), b"", ("10.0.0.2", 9))
    b.recv(receiver)
    start = lab.kernel.now
    for times in ((30, 10_001), (10, 25, 20), (15,)):
        sender = a.socket()
        a.setopt(sender, SOL_SOCKET, SO_TXTIME, MONOTONIC)
        for at in times:
            a.sendmsg(sender, b"%d" % at, [sol(SCM_TXTIME, start + at * MS, 8)], ("10.0.0.2", 9))
    a.sendto(a.socket(), b"now", ("10.0.0.2", 9))
    seen = []
    for _ in range(6):
        data = b.recv(receiver)
        seen.append((data, (lab.kernel.now - start) // MS))
    assert seen == [(b"now", 0), (b"10", 10), (b"15", 15), (b"20", 20), (b"25", 25), (b"30", 30)]
    assert a.dev().qdisc.statistics()["horizon_drops"] == 1  # type: ignore[union-attr]


def test_fragments_and_segments_keep_the_time() -> None:
    lab = Hosts()
    a, b = lab.pair()
    a.call(qdisc_replace, a.dev(), "fq")
    receiver, sender = b.socket(), a.socket()
    b.bind(receiver, ("10.0.0.2", 9))
    a.sendto(sender, b"", ("10.0.0.2", 9))
    b.recv(receiver)
    a.setopt(sender, SOL_SOCKET, SO_TXTIME, MONOTONIC)
    start = lab.kernel.now
    a.sendmsg(sender, bytes(4000), [sol(SCM_TXTIME, start + 10 * MS, 8)], ("10.0.0.2", 9))
    assert len(b.recv(receiver)) == 4000
    assert lab.kernel.now - start == 10 * MS
