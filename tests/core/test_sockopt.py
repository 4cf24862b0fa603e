"""Options at SOL_SOCKET: values as the kernel gives them, and its refusals."""

from __future__ import annotations

import errno
from struct import pack, unpack

import pytest
from support.loop_family import FAMILIES, LoopProto
from support.refused import refused

from pysock.core.capability import CAP_NET_ADMIN, CAP_NET_RAW, NO_CAPS, Credentials
from pysock.core.clock import NEVER
from pysock.core.kernel import Kernel
from pysock.core.sock import Sock, Socket
from pysock.core.sockopt import sock_getsockopt, sock_setsockopt
from pysock.uapi import socket as so

ROOT = Credentials(1)
NOBODY = Credentials(1, uid=65534, caps=NO_CAPS)
INT_MAX = (1 << 31) - 1


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel.boot(clock="virtual", seed=1, entry_points=False, blocked=FAMILIES)


def make(kernel: Kernel, family: int = so.AF_INET) -> Socket:
    sock = Socket(so.SOCK_STREAM)
    sock.sk = Sock(kernel.init_net, family, so.SOCK_STREAM, 6, LoopProto(), ROOT)
    return sock


@pytest.fixture
def sock(kernel: Kernel) -> Socket:
    return make(kernel)


def put(sock: Socket, optname: int, value: int | bytes, creds: Credentials = ROOT) -> None:
    sock_setsockopt(sock, creds, optname, value if isinstance(value, bytes) else pack("=i", value))


def get(sock: Socket, optname: int) -> int:
    value: int = unpack("=i", sock_getsockopt(sock, optname, 4))[0]
    return value


ON_OFF = [
    so.SO_DEBUG,
    so.SO_REUSEADDR,
    so.SO_REUSEPORT,
    so.SO_DONTROUTE,
    so.SO_BROADCAST,
    so.SO_KEEPALIVE,
    so.SO_OOBINLINE,
    so.SO_NO_CHECK,
    so.SO_TIMESTAMP,
    so.SO_TIMESTAMPNS,
    so.SO_RXQ_OVFL,
    so.SO_SELECT_ERR_QUEUE,
    so.SO_RCVMARK,
]


@pytest.mark.parametrize("optname", ON_OFF)
def test_switches(sock: Socket, optname: int) -> None:
    assert get(sock, optname) == 0
    before = {other: get(sock, other) for other in ON_OFF if other != optname}
    put(sock, optname, 5)
    assert get(sock, optname) == 1
    assert {other: get(sock, other) for other in before} == before
    put(sock, optname, 0)
    assert get(sock, optname) == 0
    with refused(errno.EINVAL):
        put(sock, optname, b"\1\0\0")


def test_timestamps_exclude_each_other(sock: Socket) -> None:
    put(sock, so.SO_TIMESTAMP, 1)
    put(sock, so.SO_TIMESTAMPNS, 1)
    assert (get(sock, so.SO_TIMESTAMP), get(sock, so.SO_TIMESTAMPNS)) == (0, 1)
    put(sock, so.SO_TIMESTAMP, 1)
    assert (get(sock, so.SO_TIMESTAMP), get(sock, so.SO_TIMESTAMPNS)) == (1, 0)


def test_keepalive_tells_the_protocol(sock: Socket) -> None:
    put(sock, so.SO_KEEPALIVE, 1)
    put(sock, so.SO_KEEPALIVE, 0)
    assert sock.sk.prot.keepalive == [True, False]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("asked", "sndbuf", "rcvbuf"),
    [
        (0, 4608, 2304),
        (1000, 4608, 2304),
        (2304, 4608, 4608),
        (10_000, 20_000, 20_000),
        (212_992, 425_984, 425_984),
        (10_000_000, 425_984, 425_984),
        (INT_MAX, 425_984, 425_984),
        (-5, 425_984, 425_984),
    ],
)
def test_buffers_are_doubled_and_bounded(sock: Socket, asked: int, sndbuf: int, rcvbuf: int) -> None:
    put(sock, so.SO_SNDBUF, asked)
    put(sock, so.SO_RCVBUF, asked)
    assert (get(sock, so.SO_SNDBUF), get(sock, so.SO_RCVBUF)) == (sndbuf, rcvbuf)
    assert get(sock, so.SO_BUF_LOCK) == 3


def test_buffers_by_force(sock: Socket) -> None:
    put(sock, so.SO_SNDBUFFORCE, 10_000_000)
    put(sock, so.SO_RCVBUFFORCE, INT_MAX)
    assert (get(sock, so.SO_SNDBUF), get(sock, so.SO_RCVBUF)) == (20_000_000, INT_MAX - 1)
    put(sock, so.SO_RCVBUFFORCE, -5)
    assert get(sock, so.SO_RCVBUF) == 2304
    for optname in (so.SO_SNDBUFFORCE, so.SO_RCVBUFFORCE):
        with refused(errno.EPERM):
            put(sock, optname, 1, NOBODY)


def test_the_bound_and_the_default_are_sysctls(kernel: Kernel) -> None:
    net = kernel.new_net()
    for name, value in (("wmem_max", 5000), ("rmem_max", 6000), ("wmem_default", 70_000), ("rmem_default", 80_000)):
        net.sysctl.set(f"net.core.{name}", value)
    sock = Socket(so.SOCK_STREAM)
    sock.sk = Sock(net, so.AF_INET, so.SOCK_STREAM, 6, LoopProto(), ROOT)
    assert (get(sock, so.SO_SNDBUF), get(sock, so.SO_RCVBUF)) == (70_000, 80_000)
    put(sock, so.SO_SNDBUF, 100_000)
    put(sock, so.SO_RCVBUF, 100_000)
    assert (get(sock, so.SO_SNDBUF), get(sock, so.SO_RCVBUF)) == (10_000, 12_000)
    for name in ("wmem_max", "rmem_default"):
        with refused(errno.EINVAL):
            net.sysctl.set(f"net.core.{name}", 100)


def test_buffer_locks(sock: Socket) -> None:
    assert get(sock, so.SO_BUF_LOCK) == 0
    put(sock, so.SO_BUF_LOCK, so.SOCK_RCVBUF_LOCK)
    assert get(sock, so.SO_BUF_LOCK) == so.SOCK_RCVBUF_LOCK
    with refused(errno.EINVAL):
        put(sock, so.SO_BUF_LOCK, 4)


@pytest.mark.parametrize(
    ("timeval", "timeo", "back"),
    [
        ((1, 500), 1_000_500_000, (1, 500)),
        ((-1, 0), 0, (0, 0)),  # gives up at once
        ((0, 0), NEVER, (0, 0)),
        ((1 << 40, 0), NEVER, (0, 0)),
    ],
)
@pytest.mark.parametrize("optname", [so.SO_RCVTIMEO, so.SO_SNDTIMEO])
def test_timeouts(
    sock: Socket, optname: int, timeval: tuple[int, int], timeo: int, back: tuple[int, int]
) -> None:
    put(sock, optname, pack("=qq", *timeval))
    assert (sock.sk.rcvtimeo if optname == so.SO_RCVTIMEO else sock.sk.sndtimeo) == timeo
    assert unpack("=qq", sock_getsockopt(sock, optname, 16)) == back


def test_bad_timeouts(sock: Socket) -> None:
    for micros in (-1, 1_000_000):
        with refused(errno.EDOM):
            put(sock, so.SO_RCVTIMEO, pack("=qq", 0, micros))
    with refused(errno.EINVAL):
        put(sock, so.SO_SNDTIMEO, bytes(15))
    assert sock.sk.rcvtimeo == sock.sk.sndtimeo == NEVER


def test_linger(sock: Socket) -> None:
    assert sock_getsockopt(sock, so.SO_LINGER, 8) == bytes(8)
    put(sock, so.SO_LINGER, pack("=ii", 5, 3))
    assert sock.sk.linger == 3_000_000_000
    assert unpack("=ii", sock_getsockopt(sock, so.SO_LINGER, 8)) == (1, 3)
    assert sock_getsockopt(sock, so.SO_LINGER, 5) == b"\1\0\0\0\3"
    put(sock, so.SO_LINGER, pack("=ii", 1, 0))
    assert sock.sk.linger == 0
    put(sock, so.SO_LINGER, pack("=ii", 0, 9))
    assert sock.sk.linger is None
    put(sock, so.SO_LINGER, pack("=ii", 1, -1))  # unsigned: a very long time
    assert sock.sk.linger == 0xFFFFFFFF * 1_000_000_000
    with refused(errno.EINVAL):
        put(sock, so.SO_LINGER, bytes(7))


def test_what_a_socket_is(sock: Socket) -> None:
    assert [get(sock, name) for name in (so.SO_TYPE, so.SO_DOMAIN, so.SO_PROTOCOL)] == [1, 2, 6]
    assert get(sock, so.SO_ACCEPTCONN) == 0
    sock.sk.state = 10
    assert get(sock, so.SO_ACCEPTCONN) == 1
    assert get(sock, so.SO_SNDLOWAT) == 1
    for name in (so.SO_TYPE, so.SO_DOMAIN, so.SO_PROTOCOL, so.SO_ERROR, so.SO_ACCEPTCONN, so.SO_SNDLOWAT):
        with refused(errno.ENOPROTOOPT):
            put(sock, name, 1)


def test_error_is_taken(sock: Socket) -> None:
    sock.sk.err, sock.sk.err_soft = errno.ECONNRESET, errno.EHOSTUNREACH
    assert [get(sock, so.SO_ERROR) for _ in range(3)] == [errno.ECONNRESET, errno.EHOSTUNREACH, 0]


def test_answers_are_cut(sock: Socket) -> None:
    assert sock_getsockopt(sock, so.SO_TYPE, 1) == b"\1"
    assert sock_getsockopt(sock, so.SO_TYPE, 0) == b""
    assert sock_getsockopt(sock, so.SO_TYPE, 100) == b"\1\0\0\0"
    with refused(errno.EINVAL):
        sock_getsockopt(sock, so.SO_TYPE, -1)


def test_priority(sock: Socket) -> None:
    put(sock, so.SO_PRIORITY, 6, NOBODY)
    assert get(sock, so.SO_PRIORITY) == 6
    for value in (7, -1):
        with refused(errno.EPERM):
            put(sock, so.SO_PRIORITY, value, NOBODY)
        put(sock, so.SO_PRIORITY, value)
        assert get(sock, so.SO_PRIORITY) == value


@pytest.mark.parametrize("cap", [CAP_NET_ADMIN, CAP_NET_RAW])
def test_mark(sock: Socket, cap: int) -> None:
    with refused(errno.EPERM):
        put(sock, so.SO_MARK, 7, NOBODY)
    put(sock, so.SO_MARK, -2, Credentials(1, uid=5, caps=1 << cap))
    assert sock.sk.mark == 0xFFFFFFFE and get(sock, so.SO_MARK) == -2


def test_debug_is_for_administrators(sock: Socket) -> None:
    with refused(errno.EACCES):
        put(sock, so.SO_DEBUG, 1, NOBODY)
    put(sock, so.SO_DEBUG, 0, NOBODY)


def test_bind_to_device(sock: Socket) -> None:
    assert sock_getsockopt(sock, so.SO_BINDTODEVICE, 16) == b""
    for name in (b"lo", b"lo\0rest"):
        put(sock, so.SO_BINDTODEVICE, name)
        assert sock_getsockopt(sock, so.SO_BINDTODEVICE, 16) == b"lo\0"
    assert get(sock, so.SO_BINDTOIFINDEX) == sock.sk.bound_dev_if == 1
    with refused(errno.EINVAL):
        sock_getsockopt(sock, so.SO_BINDTODEVICE, 15)
    for name in (b"nope", b"x" * 40, b"\xff\xfe"):
        with refused(errno.ENODEV):
            put(sock, so.SO_BINDTODEVICE, name)
    put(sock, so.SO_BINDTODEVICE, b"")
    assert sock.sk.bound_dev_if == 0
    put(sock, so.SO_BINDTODEVICE, b"lo", NOBODY)  # free to go in, not to go out
    with refused(errno.EPERM):
        put(sock, so.SO_BINDTODEVICE, b"", NOBODY)
    put(sock, so.SO_BINDTOIFINDEX, 0)
    with refused(errno.EINVAL):
        put(sock, so.SO_BINDTOIFINDEX, -1)
    put(sock, so.SO_BINDTOIFINDEX, 77)
    with refused(errno.ENODEV):
        sock_getsockopt(sock, so.SO_BINDTODEVICE, 16)


def test_rcvlowat(kernel: Kernel, sock: Socket) -> None:
    local = make(kernel, so.AF_UNIX)
    for value, stored in ((5, 5), (0, 1), (-3, INT_MAX)):
        put(local, so.SO_RCVLOWAT, value)
        assert get(local, so.SO_RCVLOWAT) == stored
    put(sock, so.SO_RCVBUF, 10_000)
    put(sock, so.SO_RCVLOWAT, -3)  # TCP: half the buffer
    assert get(sock, so.SO_RCVLOWAT) == 10_000


def test_timestamping(sock: Socket) -> None:
    put(sock, so.SO_BROADCAST, 1)
    put(sock, so.SO_TIMESTAMPING, 0x18)
    assert unpack("=ii", sock_getsockopt(sock, so.SO_TIMESTAMPING, 8)) == (0x18, 0)
    put(sock, so.SO_TIMESTAMPING, 0)
    assert get(sock, so.SO_TIMESTAMPING) == 0 and get(sock, so.SO_BROADCAST) == 1
    for value in (-1, 1 << 19):
        with refused(errno.EINVAL):
            put(sock, so.SO_TIMESTAMPING, value)


def test_what_belongs_to_some_families(kernel: Kernel, sock: Socket) -> None:
    local = make(kernel, so.AF_UNIX)
    put(local, so.SO_PASSCRED, 1)
    assert get(local, so.SO_PASSCRED) == 1
    with refused(errno.EOPNOTSUPP):
        put(sock, so.SO_PASSCRED, 1)
    with refused(errno.EOPNOTSUPP):
        get(sock, so.SO_PASSCRED)
    with refused(errno.EOPNOTSUPP):
        put(local, so.SO_REUSEPORT, 1)
    put(local, so.SO_REUSEPORT, 0)
    assert unpack("=3i", sock_getsockopt(sock, so.SO_PEERCRED, 64)) == (0, -1, -1)


class KnowsItsPeer(Sock):
    peercred = pack("=3i", 11, 22, 33)


def test_peercred_comes_from_the_family(kernel: Kernel) -> None:
    sock = make(kernel, so.AF_UNIX)
    sock.sk = KnowsItsPeer(kernel.init_net, so.AF_UNIX, 1, 0, LoopProto(), ROOT)
    assert unpack("=3i", sock_getsockopt(sock, so.SO_PEERCRED, 64)) == (11, 22, 33)


def test_meminfo(sock: Socket) -> None:
    values = unpack("=9I", sock_getsockopt(sock, so.SO_MEMINFO, 64))
    assert values[:4] == (0, sock.sk.rcvbuf, 0, sock.sk.sndbuf)


@pytest.mark.parametrize("optname", [so.SO_BSDCOMPAT, so.SO_CNX_ADVICE])
def test_what_has_no_effect(sock: Socket, optname: int) -> None:
    put(sock, optname, 1)
    if optname == so.SO_BSDCOMPAT:
        assert get(sock, optname) == 0


@pytest.mark.parametrize("optname", [0, -1, 22, 999, 54, 78, 100])
def test_unknown_options(sock: Socket, optname: int) -> None:
    with refused(errno.ENOPROTOOPT):
        put(sock, optname, 1)
    with refused(errno.ENOPROTOOPT):
        sock_getsockopt(sock, optname, 4)
    with refused(errno.EINVAL):
        put(sock, optname, b"")
