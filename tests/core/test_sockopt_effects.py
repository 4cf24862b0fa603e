"""What options at SOL_SOCKET do to datagrams: one body for pysock and this machine's kernel, unless it says why not."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import select
import socket
import struct
from struct import pack
from typing import TYPE_CHECKING

import pytest
from support.option_api import Ours, Real, outcome

from pysock.core.capability import CAP_NET_ADMIN, CAP_NET_RAW
from pysock.uapi import filter as bpf
from pysock.uapi import socket as so
from pysock.uapi.filter import jump, pack_program, stmt
from pysock.uapi.in_ import IP_RECVERR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pysock.uapi.filter import Insn

INET, DGRAM, STREAM, RAW = socket.AF_INET, socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_RAW
LDB = bpf.BPF_LD | bpf.BPF_B | bpf.BPF_ABS
ACCEPT, DROP = stmt(bpf.BPF_RET, 0xFFFF), stmt(bpf.BPF_RET, 0)
ON, OFF = pack("=i", 1), pack("=i", 0)


@pytest.fixture(params=["pysock", "linux"])
def api(request: pytest.FixtureRequest) -> Iterator[Ours | Real]:
    api = Ours() if request.param == "pysock" else Real()
    yield api
    api.close()


def attach(api: Ours | Real, sock: object, *program: Insn, optname: int = so.SO_ATTACH_FILTER) -> None:
    raw = pack_program(program)
    array = ctypes.create_string_buffer(raw, len(raw))
    api.set(sock, optname, bpf.SOCK_FPROG.pack(len(program), ctypes.addressof(array)))


def byte_is(at: int, value: int) -> list[Insn]:
    """Only packets with ``value`` at ``at``."""
    return [stmt(LDB, at), jump(bpf.BPF_JMP | bpf.BPF_JEQ, value, 0, 1), ACCEPT, DROP]


def drain(api: Ours | Real, sock: object, size: int = 99) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(api.recv(sock, size)[0])
        except BlockingIOError:
            return found


# -- filters ---------------------------------------------------------------------------------------------------


def test_a_filter_sees_the_udp_header(api: Ours | Real) -> None:
    receiver, sender = api.bound(DGRAM), api.bound(DGRAM)
    api.send(sender, b"before", api.name(receiver))  # the flow is remembered before there is a filter
    attach(api, receiver, *byte_is(8, ord("y")))
    for data in (b"yes", b"no", b"", b"y"):
        api.send(sender, data, api.name(receiver))
    assert drain(api, receiver) == [b"before", b"yes", b"y"]
    api.set(receiver, so.SO_DETACH_FILTER, OFF)
    api.send(sender, b"no", api.name(receiver))
    assert drain(api, receiver) == [b"no"]


@pytest.mark.parametrize(("passed", "left"), [(10, b"ab"), (8, b""), (3, b""), (1000, b"abcdef")])
def test_a_filter_cuts_what_it_lets_through(api: Ours | Real, passed: int, left: bytes) -> None:
    receiver, sender = api.bound(DGRAM), api.bound(DGRAM)
    attach(api, receiver, stmt(bpf.BPF_RET, passed))
    api.send(sender, b"abcdef", api.name(receiver))
    assert drain(api, receiver) == [left]


def test_headers_and_ancillary_data_of_a_udp_datagram(api: Ours | Real) -> None:
    receiver, sender = api.bound(DGRAM), api.bound(DGRAM)
    port = api.name(sender)[1]

    def returns(*load: Insn) -> int:
        attach(api, receiver, *load, stmt(bpf.BPF_ALU | bpf.BPF_ADD, 8), stmt(bpf.BPF_RET | bpf.BPF_A))
        api.send(sender, bytes(65000), api.name(receiver))
        return len(api.recv(receiver, 65000)[0])

    word, half = bpf.BPF_LD | bpf.BPF_ABS | bpf.BPF_W, bpf.BPF_LD | bpf.BPF_ABS | bpf.BPF_H
    assert returns(stmt(half, 0)) == port
    assert returns(stmt(LDB, bpf.SKF_NET_OFF + 9)) == 17
    assert returns(stmt(half, bpf.SKF_NET_OFF + 20)) == port
    assert returns(stmt(word, bpf.SKF_AD_OFF + bpf.SKF_AD_PROTOCOL)) == 0x800
    assert returns(stmt(word, bpf.SKF_AD_OFF + bpf.SKF_AD_IFINDEX)) == 1
    assert returns(stmt(word, bpf.SKF_AD_OFF + bpf.SKF_AD_HATYPE)) == 772
    assert returns(stmt(word, bpf.SKF_AD_OFF + bpf.SKF_AD_PAY_OFFSET)) == 8
    assert returns(stmt(bpf.BPF_LD | bpf.BPF_LEN), stmt(bpf.BPF_ALU | bpf.BPF_SUB, 65000)) == 8


@pytest.mark.parametrize("kind", [DGRAM, socket.SOCK_SEQPACKET])
def test_a_filter_of_a_unix_socket_sees_the_payload(api: Ours | Real, kind: int) -> None:
    receiver = api.socket(socket.AF_UNIX, DGRAM)
    sender = api.socket(socket.AF_UNIX, DGRAM)
    api.bind(receiver, "")
    attach(api, receiver, *byte_is(1, ord("y")))
    api.connect(sender, api.name(receiver))
    assert [api.send(sender, data) for data in (b"xyz", b"xx", b"y")] == [3, 2, 1]  # the sender hears nothing
    assert drain(api, receiver) == [b"xyz"]


def test_a_raw_socket_s_filter_sees_the_ip_header(api: Ours | Real) -> None:
    receiver, sender = api.bound(RAW), api.socket(INET, RAW, socket.IPPROTO_ICMP)
    attach(api, receiver, *byte_is(24, 0x12))
    for ident in (0x11, 0x12):
        check = 0xFFFF - 0x0800 - (ident << 8)
        api.send(sender, pack("!BBHHH", 8, 0, check, ident << 8, 0), ("127.0.0.1", 0))
    assert {data[24] for data in drain(api, receiver)} == {0x12}


def test_a_program_chooses_in_a_reuseport_group(api: Ours | Real) -> None:
    group = []
    address = None
    for _ in range(3):
        sock = api.socket(INET, DGRAM)
        api.set(sock, so.SO_REUSEPORT, ON)
        api.bind(sock, address or ("127.0.0.1", 0))
        address = api.name(sock)
        group.append(sock)
    sender = api.bound(DGRAM)
    attach(api, group[1], stmt(LDB, 0), stmt(bpf.BPF_RET | bpf.BPF_A), optname=so.SO_ATTACH_REUSEPORT_CBPF)
    for data in (b"\0", b"\1", b"\2", b"\1"):
        api.send(sender, data, address)
    assert [drain(api, sock) for sock in group] == [[b"\0"], [b"\1", b"\1"], [b"\2"]]
    api.send(sender, b"\7beyond the group", address)
    assert sum(len(drain(api, sock)) for sock in group) == 1
    api.set(group[0], so.SO_DETACH_REUSEPORT_BPF, OFF)
    assert outcome(api.set, group[0], so.SO_DETACH_REUSEPORT_BPF, OFF) == "ENOENT"


def bound6(api: Ours | Real) -> object:
    sock = api.socket(socket.AF_INET6, DGRAM)
    api.bind(sock, ("::1", 0))
    return sock


def test_the_same_over_ipv6(api: Ours | Real) -> None:
    receiver, sender = bound6(api), bound6(api)
    attach(api, receiver, *byte_is(8, ord("y")))
    api.set(receiver, so.SO_RXQ_OVFL, ON)
    api.set(sender, so.SO_ZEROCOPY, ON)
    for data in (b"y1", b"no", b"y2"):
        api.send(sender, data, api.name(receiver), so.MSG_ZEROCOPY)
    assert api.recv(receiver, 9)[:2] == (b"y1", [])
    assert api.recv(receiver, 9)[:2] == (b"y2", [(so.SOL_SOCKET, so.SO_RXQ_OVFL, pack("=I", 1))])
    _, ((level, kind, raw),), _ = api.recv(sender, 9, so.MSG_ERRQUEUE)
    assert (level, kind, struct.unpack_from("=IBBBxII", raw)) == (41, 25, (0, 5, 0, 1, 0, 2))


# -- peeking -----------------------------------------------------------------------------------------------------


def diary(api: Ours | Real, seed: int) -> list[object]:
    rng = random.Random(seed)
    receiver, sender = api.bound(DGRAM), api.bound(DGRAM)
    seen: list[object] = []
    for _ in range(40):
        step = rng.randrange(8)
        if step < 3:
            seen.append(api.send(sender, rng.randbytes(rng.randrange(6)), api.name(receiver)))
        elif step < 7:
            flags = rng.choice([0, so.MSG_PEEK, so.MSG_PEEK])
            seen.append(outcome(api.recv, receiver, rng.randrange(1, 9), flags))
        else:
            seen.append(api.set(receiver, so.SO_PEEK_OFF, pack("=i", rng.randrange(-1, 5))))
        seen.append(api.get(receiver, so.SO_PEEK_OFF, 4))
    return seen


@pytest.mark.parametrize("seed", range(30))
def test_peeking_at_an_offset(seed: int) -> None:
    ours, real = Ours(), Real()
    try:
        assert diary(ours, seed) == diary(real, seed)
    finally:
        ours.close()
        real.close()


# -- what comes beside the data ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optname", "value", "kind", "size"),
    [
        (so.SO_TIMESTAMP, 1, so.SCM_TIMESTAMP, 16),
        (so.SO_TIMESTAMPNS, 1, so.SCM_TIMESTAMPNS, 16),
        (so.SO_TIMESTAMP_NEW, 1, so.SO_TIMESTAMP_NEW, 16),
        (so.SO_TIMESTAMPNS_NEW, 1, so.SO_TIMESTAMPNS_NEW, 16),
        (so.SO_TIMESTAMPING, 0x18, so.SCM_TIMESTAMPING, 48),
        (so.SO_TIMESTAMPING_NEW, 0x18, so.SO_TIMESTAMPING_NEW, 48),
    ],
)
def test_when_it_arrived(api: Ours | Real, optname: int, value: int, kind: int, size: int) -> None:
    receiver, sender = api.bound(DGRAM), api.bound(DGRAM)
    api.set(receiver, optname, pack("=i", value))
    for _ in range(1 if isinstance(api, Ours) else 20_000):  # Linux begins to take times a little later
        api.send(sender, b"x", api.name(receiver))
        _, control, _ = api.recv(receiver, 9)
        if control:
            break
        os.sched_yield()
    assert [(level, what, len(data)) for level, what, data in control] == [(so.SOL_SOCKET, kind, size)]
    seconds, rest = struct.unpack_from("=qq", control[0][2])
    assert seconds > 0
    assert 0 <= rest < (1_000_000 if optname in (so.SO_TIMESTAMP, so.SO_TIMESTAMP_NEW) else 1_000_000_000)
    assert not any(control[0][2][16:])  # no hardware made one


@pytest.mark.parametrize("kind", [DGRAM, socket.SOCK_SEQPACKET])
def test_when_a_unix_message_was_sent(kind: int) -> None:
    for api in (Ours(), Real()):
        sender, receiver = api.both_ends(kind)
        api.set(receiver, so.SO_TIMESTAMPNS, ON)
        api.send(sender, b"x")
        if isinstance(api, Ours):
            sent = api.task.kernel.clock.time_ns()
            api.task.kernel.sleep(5_000_000_000)
        _, control, _ = api.recv(receiver, 9)
        assert [(kind, len(data)) for _, kind, data in control] == [(so.SCM_TIMESTAMPNS, 16)]
        if isinstance(api, Ours):
            seconds, rest = struct.unpack("=qq", control[0][2])
            assert seconds * 1_000_000_000 + rest == sent
        api.close()


def test_the_room_for_options_and_control_messages() -> None:
    api = Ours()
    api.task.net.sysctl.set("net.core.optmem_max", 200)
    sock = api.bound(DGRAM)
    attach(api, sock, *[ACCEPT] * 17)
    with pytest.raises(OSError, match=f"Errno {errno.ENOMEM}"):
        attach(api, sock, *[ACCEPT] * 18)
    control = [(socket.SOL_IP, socket.IP_TTL, pack("=i", 3))]
    assert api.send(sock, b"x", api.name(sock), 0, control * 8) == 1
    with pytest.raises(OSError, match=f"Errno {errno.ENOBUFS}"):
        api.send(sock, b"x", api.name(sock), 0, control * 9)


def test_errors_in_the_queue_are_urgent_if_asked(api: Ours | Real) -> None:
    sock, gone = api.bound(DGRAM), api.bound(DGRAM)
    address = api.name(gone)
    api.drop(gone)
    api.set_ip(sock, IP_RECVERR, ON)
    for option, bits in ((OFF, 0), (ON, select.POLLPRI)):
        api.set(sock, so.SO_SELECT_ERR_QUEUE, option)
        api.send(sock, b"x", address)
        assert api.poll(sock) & (select.POLLERR | select.POLLPRI) == select.POLLERR | bits
        assert outcome(api.recv, sock, 9) == "ECONNREFUSED"
        api.recv(sock, 9, so.MSG_ERRQUEUE)


# -- buffers that the program may have back --------------------------------------------------------------------------


def notices(api: Ours | Real, sock: object) -> list[tuple[object, ...]]:
    """(level, type, ee_errno, ee_origin, ee_code, first, last) of each notice in the error queue."""
    found = []
    while True:
        try:
            data, control, flags = api.recv(sock, 99, so.MSG_ERRQUEUE)
        except BlockingIOError:
            return found
        assert (data, flags & so.MSG_ERRQUEUE) == (b"", so.MSG_ERRQUEUE)
        ((level, kind, raw),) = control
        number, origin, _, code, _, first, last = struct.unpack_from("=IBBBBII", raw)
        found.append((level, kind, number, origin, code, first, last))


def test_zero_copy_of_datagrams(api: Ours | Real) -> None:
    receiver, sender = api.bound(DGRAM), api.bound(DGRAM)
    api.connect(sender, api.name(receiver))
    api.send(sender, b"x", None, so.MSG_ZEROCOPY)  # means nothing yet
    api.set(sender, so.SO_ZEROCOPY, ON)
    for data in (b"one", b"two", b"three"):
        api.send(sender, data, None, so.MSG_ZEROCOPY)
    api.send(sender, b"four")
    assert api.poll(sender) & select.POLLERR
    assert notices(api, sender) == [(socket.SOL_IP, IP_RECVERR, 0, 5, 1, 0, 2)]
    assert not api.poll(sender) & select.POLLERR
    api.send(sender, b"five", None, so.MSG_ZEROCOPY)
    assert notices(api, sender) == [(socket.SOL_IP, IP_RECVERR, 0, 5, 1, 3, 3)]
    assert drain(api, receiver) == [b"x", b"one", b"two", b"three", b"four", b"five"]


@pytest.mark.parametrize("options", [0, so.SOF_TIMESTAMPING_OPT_ID, so.SOF_TIMESTAMPING_OPT_TSONLY, 0x880])
def test_when_it_left(api: Ours | Real, options: int) -> None:
    receiver, sender = api.bound(DGRAM), api.bound(DGRAM)
    api.send(sender, b"before", api.name(receiver))
    kinds = so.SOF_TIMESTAMPING_SOFTWARE | so.SOF_TIMESTAMPING_TX_SOFTWARE | so.SOF_TIMESTAMPING_TX_SCHED
    api.set(sender, so.SO_TIMESTAMPING, pack("=i", kinds | options))
    for data in (b"one", b"two"):
        api.send(sender, data, api.name(receiver))
    seen = []
    for _ in range(4):
        frame, ((_, kind, stamp), (_, _, raw)), _ = api.recv(sender, 99, so.MSG_ERRQUEUE)
        assert (kind, len(stamp)) == (so.SCM_TIMESTAMPING, 48)
        assert len(frame) == (0 if options & so.SOF_TIMESTAMPING_OPT_TSONLY else 45)
        number, origin, which, key = struct.unpack_from("=IB3xII", raw)
        seen.append((number, origin, which, key, frame[42:]))
    second = 1 if options & so.SOF_TIMESTAMPING_OPT_ID else 0
    data = (b"", b"") if options & so.SOF_TIMESTAMPING_OPT_TSONLY else (b"one", b"two")
    wanted = [(which, key, data[i]) for i, key in enumerate((0, second)) for which in (1, 0)]
    assert seen == [(errno.ENOMSG, 4, *rest) for rest in wanted]
    assert drain(api, receiver) == [b"before", b"one", b"two"]


def test_drops_are_reported_with_what_was_queued_after_them(api: Ours | Real) -> None:
    receiver, sender = api.bound(DGRAM), api.bound(DGRAM)
    api.set(receiver, so.SO_RXQ_OVFL, ON)
    attach(api, receiver, *byte_is(8, ord("y")))
    for data in (b"y1", b"no", b"no", b"y2", b"no", b"y3"):
        api.send(sender, data, api.name(receiver))
    counts = []
    for _ in range(3):
        _, control, _ = api.recv(receiver, 9)
        counts.append([struct.unpack("=I", data)[0] for _, kind, data in control if kind == so.SO_RXQ_OVFL])
    assert counts == [[], [2], [3]]
    assert struct.unpack("=9I", api.get(receiver, so.SO_MEMINFO, 36))[8] == 3


def test_the_mark_and_priority_of_what_arrived(api: Ours | Real) -> None:
    receiver, sender = api.bound(DGRAM), api.bound(DGRAM)
    api.send(sender, b"x", api.name(receiver))  # a way is known by now, without them
    for optname in (so.SO_RCVMARK, so.SO_RCVPRIORITY):
        if outcome(api.set, receiver, optname, ON) == "ENOPROTOOPT":
            pytest.skip("younger than this kernel")
    api.set(sender, so.SO_MARK, pack("=i", 77))
    api.set(sender, so.SO_PRIORITY, pack("=i", 5))
    api.send(sender, b"x", api.name(receiver))
    api.recv(receiver, 9)
    _, control, _ = api.recv(receiver, 9)
    told = {kind: struct.unpack("=I", data)[0] for _, kind, data in control}
    assert told == {so.SO_MARK: 77, so.SO_PRIORITY: 5}


def test_only_the_mighty_mark() -> None:
    api = Ours()
    sock = api.bound(DGRAM)
    api.task.creds = api.task.creds.drop(CAP_NET_ADMIN, CAP_NET_RAW)
    for optname in (so.SO_MARK, so.SO_RCVMARK, so.SO_RCVPRIORITY):
        assert outcome(api.set, sock, optname, ON) == "EPERM"
    assert outcome(api.set, sock, so.SO_PRIORITY, pack("=i", 7)) == "EPERM"
    assert outcome(api.set, sock, so.SO_BUSY_POLL, ON) == "EPERM"
    assert errno.errorcode[errno.EPERM] == outcome(api.set, sock, so.SO_TXTIME, pack("=ii", 11, 0))
    assert outcome(api.set, sock, so.SO_TXTIME, pack("=ii", 1, 0)) is None
