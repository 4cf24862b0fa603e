"""What options at SOL_SOCKET do to connections: one body for pysock and this machine's kernel."""

from __future__ import annotations

import ctypes
import random
import select
import socket
import struct
from struct import pack
from typing import TYPE_CHECKING

import pytest
from support.option_api import Ours, Real, outcome

from pysock.uapi import filter as bpf
from pysock.uapi import socket as so
from pysock.uapi.filter import jump, pack_program, stmt
from pysock.uapi.in_ import IP_RECVERR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pysock.uapi.filter import Insn

INET, STREAM = socket.AF_INET, socket.SOCK_STREAM
ON, OFF = pack("=i", 1), pack("=i", 0)
LDB = bpf.BPF_LD | bpf.BPF_B | bpf.BPF_ABS
ACCEPT, DROP = stmt(bpf.BPF_RET, 0xFFFFFF), stmt(bpf.BPF_RET, 0)
#: X becomes the length of the TCP header, then the first byte of the payload is looked at.
PAYLOAD_BYTE = [
    stmt(LDB, 12),
    stmt(bpf.BPF_ALU | bpf.BPF_RSH, 2),
    stmt(bpf.BPF_ALU | bpf.BPF_AND, 0x3C),
    stmt(bpf.BPF_MISC | bpf.BPF_TAX),
    stmt(bpf.BPF_LD | bpf.BPF_LEN),
    jump(bpf.BPF_JMP | bpf.BPF_JEQ | bpf.BPF_X, 0, 3, 0),  # no payload
    stmt(bpf.BPF_LD | bpf.BPF_B | bpf.BPF_IND, 0),
]


@pytest.fixture(params=["pysock", "linux"])
def api(request: pytest.FixtureRequest) -> Iterator[Ours | Real]:
    api = Ours() if request.param == "pysock" else Real()
    yield api
    api.close()


def attach(api: Ours | Real, sock: object, *program: Insn, optname: int = so.SO_ATTACH_FILTER) -> None:
    raw = pack_program(program)
    array = ctypes.create_string_buffer(raw, len(raw))
    api.set(sock, optname, bpf.SOCK_FPROG.pack(len(program), ctypes.addressof(array)))


def connection(api: Ours | Real) -> tuple[object, object]:
    listener = api.listener()
    client = api.socket(INET, STREAM)
    api.connect(client, api.name(listener))
    return client, api.accept(listener)


def until_readable(api: Ours | Real, sock: object) -> None:
    """Give a retransmission its time."""
    if isinstance(api, Ours):
        api.task.kernel.sleep(3_000_000_000)
    else:
        select.select([sock], [], [])


def until_notice(api: Ours | Real, sock: object) -> None:
    """Linux learns from the acknowledgement that the bytes are done with."""
    if isinstance(api, Ours):
        assert api.poll(sock) & select.POLLERR
    else:
        poller = select.poll()
        poller.register(sock, 0)
        poller.poll()


def test_a_filter_drops_segments_and_retransmission_brings_them(api: Ours | Real) -> None:
    client, server = connection(api)
    refuse_z = [*PAYLOAD_BYTE, jump(bpf.BPF_JMP | bpf.BPF_JEQ, ord("z"), 1, 0), ACCEPT, DROP]
    attach(api, server, *refuse_z)
    api.send(client, b"abc")
    assert api.recv(server, 9)[0] == b"abc"
    api.send(client, b"zzz")
    assert outcome(api.recv, server, 9) == "EAGAIN"
    api.set(server, so.SO_DETACH_FILTER, OFF)
    until_readable(api, server)
    assert api.recv(server, 9)[0] == b"zzz"
    api.send(client, b"z, now welcome")
    assert api.recv(server, 99)[0] == b"z, now welcome"


def test_a_filter_cuts_a_segment_and_the_rest_comes_again(api: Ours | Real) -> None:
    client, server = connection(api)
    attach(api, server, stmt(bpf.BPF_LD | bpf.BPF_LEN), stmt(bpf.BPF_RET, 34))  # 2 bytes behind 32 of header
    api.send(client, b"abcdef")
    assert api.recv(server, 9)[0] == b"ab"
    api.set(server, so.SO_DETACH_FILTER, OFF)
    until_readable(api, server)
    assert api.recv(server, 9)[0] == b"cdef"


def test_a_listener_s_filter_decides_who_connects(api: Ours | Real) -> None:
    listener = api.listener()
    welcome, unwelcome = api.socket(INET, STREAM), api.socket(INET, STREAM)
    for sock in (welcome, unwelcome):
        api.bind(sock, ("127.0.0.1", 0))
    port = api.name(unwelcome)[1]
    half = bpf.BPF_LD | bpf.BPF_H | bpf.BPF_ABS
    attach(api, listener, stmt(half, 0), jump(bpf.BPF_JMP | bpf.BPF_JEQ, port, 1, 0), ACCEPT, DROP)
    api.connect(welcome, api.name(listener))
    api.set_blocking(unwelcome, False)
    assert outcome(api.connect, unwelcome, api.name(listener)) == "EINPROGRESS"
    child = api.accept(listener)
    api.send(welcome, b"hello")
    assert api.recv(child, 9)[0] == b"hello"
    assert not api.poll(unwelcome) & select.POLLERR
    assert len(api.get(child, so.SO_GET_FILTER, 99)) > 0  # a connection has its listener's


def test_a_program_chooses_the_listener(api: Ours | Real) -> None:
    group = []
    address = None
    for _ in range(2):
        sock = api.socket(INET, STREAM)
        api.set(sock, so.SO_REUSEPORT, ON)
        api.bind(sock, address or ("127.0.0.1", 0))
        address = api.name(sock)
        api.listen(sock)
        group.append(sock)
    attach(api, group[0], stmt(bpf.BPF_RET, 1), optname=so.SO_ATTACH_REUSEPORT_CBPF)
    for _ in range(4):
        api.connect(api.socket(INET, STREAM), address)
    for sock in group:
        api.set_blocking(sock, False)
    assert outcome(api.accept, group[0]) == "EAGAIN"
    for _ in range(4):
        api.accept(group[1])


def test_zero_copy(api: Ours | Real) -> None:
    client, server = connection(api)
    api.set(client, so.SO_ZEROCOPY, ON)
    for data in (b"one", b"two"):
        api.send(client, data, None, so.MSG_ZEROCOPY)
        assert api.recv(server, 9)[0] == data
    seen = []
    while sum(last - first + 1 for first, last in seen) < 2:
        until_notice(api, client)
        data, ((level, kind, raw),), flags = api.recv(client, 9, so.MSG_ERRQUEUE)
        assert (data, level, kind) == (b"", socket.SOL_IP, IP_RECVERR)
        assert flags & so.MSG_ERRQUEUE
        number, origin, _, code, first, last = struct.unpack_from("=IBBBxII", raw)
        assert (number, origin, code) == (0, 5, 1)
        seen.append((first, last))
    assert (seen[0][0], seen[-1][1]) == (0, 1)


def test_zero_copy_over_ipv6(api: Ours | Real) -> None:
    listener, client = api.socket(socket.AF_INET6, STREAM), api.socket(socket.AF_INET6, STREAM)
    api.bind(listener, ("::1", 0))
    api.listen(listener)
    api.connect(client, api.name(listener))
    server = api.accept(listener)
    api.set(client, so.SO_ZEROCOPY, ON)
    api.send(client, b"data", None, so.MSG_ZEROCOPY)
    assert api.recv(server, 9)[0] == b"data"
    until_notice(api, client)
    _, ((level, kind, raw),), _ = api.recv(client, 9, so.MSG_ERRQUEUE)
    assert (level, kind, struct.unpack_from("=IBBBxII", raw)) == (41, 25, (0, 5, 0, 1, 0, 0))


def diary(api: Ours | Real, seed: int) -> list[object]:
    rng = random.Random(seed)
    client, server = connection(api)
    seen: list[object] = []
    for _ in range(40):
        step = rng.randrange(9)
        if step < 3:
            seen.append(api.send(client, rng.randbytes(rng.randrange(1, 6))))
        elif step < 8:
            flags = rng.choice([0, so.MSG_PEEK, so.MSG_PEEK])
            seen.append(outcome(lambda f=flags: api.recv(server, rng.randrange(1, 9), f)[0]))
        else:
            seen.append(api.set(server, so.SO_PEEK_OFF, pack("=i", rng.randrange(-1, 5))))
        seen.append(api.get(server, so.SO_PEEK_OFF, 4))
    api.drop(client)
    for flags in (so.MSG_PEEK, so.MSG_PEEK, 0, so.MSG_PEEK, 0):
        seen.append(outcome(lambda f=flags: api.recv(server, 99, f)[0]))
        seen.append(api.get(server, so.SO_PEEK_OFF, 4))
    return seen


@pytest.mark.parametrize("seed", range(30))
def test_peeking_at_an_offset(seed: int) -> None:
    ours, real = Ours(), Real()
    try:
        if outcome(real.get, real.listener(), so.SO_PEEK_OFF, 4) == "EOPNOTSUPP":
            pytest.skip("younger than this kernel")
        assert diary(ours, seed) == diary(real, seed)
    finally:
        ours.close()
        real.close()


def test_a_low_water_mark_holds_readiness_back(api: Ours | Real) -> None:
    client, server = connection(api)
    api.set(server, so.SO_RCVLOWAT, pack("=i", 4))
    api.send(client, b"abc")
    assert not api.poll(server) & select.POLLIN
    api.send(client, b"d")
    assert api.poll(server) & select.POLLIN
    assert api.recv(server, 9)[0] == b"abcd"
    api.send(client, b"ef")
    api.set(server, so.SO_RCVLOWAT, ON)
    assert api.poll(server) & select.POLLIN
