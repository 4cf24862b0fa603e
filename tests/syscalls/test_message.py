"""Sending and receiving: data types, flags, control messages, many messages at once, and time that must pass."""

from __future__ import annotations

import array
import errno
from collections.abc import Callable
from struct import pack, unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.loop_family import AF_LOOP, RECORD, STREAM_ROOM, LoopFamily, LoopSock
from support.refused import refused

from pysock.core.sock import Socket
from pysock.syscalls.buffer import as_bytes, gather, scatter, writable_views
from pysock.syscalls.file import sys_close, sys_fcntl, sys_read, sys_readv, sys_write, sys_writev
from pysock.syscalls.message import (
    sys_recv,
    sys_recvfrom,
    sys_recvmmsg,
    sys_recvmsg,
    sys_sendmmsg,
    sys_sendmsg,
    sys_sendto,
)
from pysock.syscalls.poll import sys_eventfd2
from pysock.syscalls.socket import sys_bind, sys_setsockopt, sys_socket, sys_socketpair
from pysock.uapi.cmsg import cmsg_len, cmsg_space
from pysock.uapi.fcntl import F_GETFD
from pysock.uapi.socket import (
    MSG_BATCH,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    MSG_SPLICE_PAGES,
    MSG_WAITFORONE,
    SCM_RIGHTS,
    SO_RCVTIMEO,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
)
from pysock.vfs.task import Task

SEC = 1_000_000_000


def sk_of(task: Task, fd: int) -> LoopSock:
    sock = task.fds[fd].socket
    assert isinstance(sock, Socket) and isinstance(sock.sk, LoopSock)
    return sock.sk


@pytest.fixture
def stream(task: Task) -> tuple[int, int]:
    return sys_socketpair(task, AF_LOOP, SOCK_STREAM)


@pytest.fixture
def dgram(task: Task) -> tuple[int, int]:
    """Two datagram sockets, "a" and "b"."""
    fds = sys_socket(task, AF_LOOP, SOCK_DGRAM), sys_socket(task, AF_LOOP, SOCK_DGRAM)
    for fd, name in zip(fds, "ab", strict=True):
        sys_bind(task, fd, name)
    return fds


# Buffers -------------------------------------------------------------------------------------------------


def test_bytes_travel_by_reference(task: Task, dgram: tuple[int, int]) -> None:
    a, b = dgram
    data = bytes(range(200))
    sys_sendto(task, a, data, 0, "b")
    assert sys_recv(task, b, 4096) is data
    sys_sendmsg(task, a, [data], addr="b")
    assert sys_recvfrom(task, b, 4096)[0] is data
    mutable = bytearray(data)
    sys_sendto(task, a, mutable, 0, "b")
    mutable[:] = bytes(200)
    assert sys_recv(task, b, 4096) == data


class SubBytes(bytes):
    pass


@pytest.mark.parametrize(
    "data", [SubBytes(b"abcd"), bytearray(b"abcd"), memoryview(b"abcd"), array.array("H", b"abcd")]
)
def test_what_counts_as_data(data: object) -> None:
    for result in (as_bytes(data), gather([data]), gather([data, b""])):  # type: ignore[arg-type]
        assert type(result) is bytes and result == b"abcd"


def test_a_buffer_with_holes() -> None:
    with pytest.raises(BufferError):
        as_bytes(memoryview(b"a.b.c.d.")[::2])


@pytest.mark.parametrize("wrong", ["text", None, 5, [1]])
def test_what_does_not(task: Task, wrong: object) -> None:
    message = f"a bytes-like object is required, not '{type(wrong).__name__}'"
    calls: list[Callable[[], object]] = [
        lambda: sys_sendto(task, -1, wrong),  # type: ignore[arg-type]
        lambda: sys_sendmsg(task, -1, [wrong]),  # type: ignore[list-item]
        lambda: sys_sendmsg(task, -1, [b"", wrong]),  # type: ignore[list-item]
        lambda: sys_write(task, -1, wrong),  # type: ignore[arg-type]
        lambda: sys_writev(task, -1, [wrong]),  # type: ignore[list-item]
        lambda: sys_readv(task, -1, [wrong]),  # type: ignore[list-item]
    ]
    for call in calls:
        with pytest.raises(TypeError, match=message.replace("(", r"\(")):
            call()  # before EBADF


@given(st.lists(st.binary(max_size=20), max_size=6), st.integers(0, 60))
def test_scatter_undoes_gather(parts: list[bytes], received: int) -> None:
    data = gather(parts)[:received]
    buffers = [bytearray(len(part)) for part in parts]
    scatter(data, writable_views(buffers))
    joined = b"".join(buffers)
    assert joined[: len(data)] == data and not any(joined[len(data) :])


def test_too_many_buffers(task: Task, stream: tuple[int, int]) -> None:
    with refused(errno.EMSGSIZE):
        sys_sendmsg(task, stream[0], [b""] * 1025)
    with refused(errno.EINVAL):
        sys_writev(task, stream[0], [b""] * 1025)
    with refused(errno.EINVAL):
        sys_readv(task, stream[0], [bytearray()] * 1025)
    with pytest.raises(BufferError):
        sys_readv(task, stream[0], [b"read only"])  # type: ignore[list-item]


# Streams and files ---------------------------------------------------------------------------------------


def test_read_and_write_reach_the_socket(task: Task, stream: tuple[int, int]) -> None:
    a, b = stream
    assert sys_write(task, a, b"hello ") == 6
    assert sys_writev(task, a, [b"wor", bytearray(b"ld")]) == 5
    assert sys_read(task, b, 4) == b"hell"
    first, second = bytearray(1), bytearray(10)
    assert sys_readv(task, b, [first, second]) == 2
    assert (first, second[:2]) == (b"o", b" \0")
    assert sys_recv(task, b, 99) == b"world"
    assert sys_read(task, b, 0) == b""  # does not wait
    with refused(errno.EINVAL):
        sys_read(task, b, -1)


def test_a_write_is_a_record_on_seqpacket(task: Task) -> None:
    a, _ = sys_socketpair(task, AF_LOOP, SOCK_SEQPACKET)
    sys_write(task, a, b"x")
    assert sk_of(task, a).sent_flags == [RECORD]


def test_a_non_blocking_file_means_dontwait(task: Task) -> None:
    a, b = sys_socketpair(task, AF_LOOP, SOCK_STREAM | SOCK_NONBLOCK)
    assert sys_sendto(task, a, bytes(STREAM_ROOM + 10)) == STREAM_ROOM
    calls: list[Callable[[], object]] = [
        lambda: sys_sendto(task, a, b"x"),
        lambda: sys_write(task, a, b"x"),
        lambda: sys_sendmsg(task, a, [b"x"]),
        lambda: sys_recv(task, a, 1),
        lambda: sys_recvfrom(task, a, 1),
        lambda: sys_recvmsg(task, a, 1),
        lambda: sys_read(task, a, 1),
        lambda: sys_recvmmsg(task, a, [(1, 0)]),
        lambda: sys_sendmmsg(task, a, [([b"x"], (), None)]),
    ]
    for call in calls:
        with refused(errno.EAGAIN):
            call()
    assert all(flags & MSG_DONTWAIT for flags in sk_of(task, a).sent_flags)
    assert len(sys_recv(task, b, 1 << 20)) == STREAM_ROOM
    assert sys_write(task, a, b"x") == 1


def test_internal_flags_do_not_pass(task: Task, stream: tuple[int, int]) -> None:
    a, _ = stream
    sys_sendto(task, a, b"x", MSG_SPLICE_PAGES | MSG_BATCH)
    sys_sendmsg(task, a, [b"x"], flags=MSG_SPLICE_PAGES)
    assert not any(flags & MSG_SPLICE_PAGES for flags in sk_of(task, a).sent_flags)


# Datagrams and time --------------------------------------------------------------------------------------


def test_recvfrom_tells_the_sender(task: Task, dgram: tuple[int, int]) -> None:
    a, b = dgram
    sys_sendto(task, a, b"x" * 10, 0, "b")
    assert sys_recvfrom(task, b, 4) == (b"xxxx", "a")
    with refused(errno.ECONNREFUSED):
        sys_sendto(task, a, b"x", 0, "nobody")


def test_a_timer_that_is_due_counts_before_eagain(
    task: Task, loop: LoopFamily, dgram: tuple[int, int]
) -> None:
    """A program that only ever receives without blocking sees time pass."""
    a, b = dgram
    loop.delay = SEC
    clock = task.kernel.clock
    calls: list[Callable[[], object]] = [
        lambda: sys_recv(task, b, 9, MSG_DONTWAIT),
        lambda: sys_recvfrom(task, b, 9, MSG_DONTWAIT)[0],
        lambda: sys_recvmsg(task, b, 9, 0, MSG_DONTWAIT)[0],
        lambda: sys_recvmmsg(task, b, [(9, 0)], MSG_DONTWAIT)[0][0],
    ]
    for call in calls:
        sys_sendto(task, a, b"late", 0, "b")
        with refused(errno.EAGAIN):
            call()
        clock.advance_to(task.kernel.now + SEC)  # type: ignore[attr-defined]
        assert call() == b"late"


def test_a_blocking_receive_waits_for_the_timer(task: Task, loop: LoopFamily, dgram: tuple[int, int]) -> None:
    a, b = dgram
    loop.delay = 30 * SEC
    before = task.kernel.clock.monotonic_ns()
    sys_sendto(task, a, b"late", 0, "b")
    assert sys_recv(task, b, 9) == b"late"
    assert task.kernel.clock.monotonic_ns() - before == 30 * SEC


def test_rcvtimeo(task: Task, dgram: tuple[int, int]) -> None:
    _, b = dgram
    sys_setsockopt(task, b, SOL_SOCKET, SO_RCVTIMEO, pack("=qq", 2, 500_000))
    before = task.kernel.clock.monotonic_ns()
    with refused(errno.EAGAIN):
        sys_recv(task, b, 1)
    assert task.kernel.clock.monotonic_ns() - before == 2_500_000_000


def test_a_receive_with_data_does_not_read_the_clock(task: Task, stream: tuple[int, int]) -> None:
    a, b = stream
    sys_sendto(task, a, b"x")
    task.kernel.clock.advance_to(task.kernel.now + SEC)  # type: ignore[attr-defined]
    before = task.kernel.now
    assert sys_recv(task, b, 1) == b"x"
    assert task.kernel.now == before


# Open files in messages ----------------------------------------------------------------------------------


def rights(*fds: int) -> tuple[int, int, bytes]:
    return (SOL_SOCKET, SCM_RIGHTS, pack(f"={len(fds)}i", *fds))


def test_open_files_travel(task: Task, dgram: tuple[int, int]) -> None:
    a, b = dgram
    event = sys_eventfd2(task, 5)
    file = task.fds[event]
    sys_sendmsg(task, a, [b"take ", b"this"], [rights(event, a), (77, 1, b"other")], addr="b")
    sys_close(task, event)
    assert file.f_count == 1  # under way
    data, control, flags, address = sys_recvmsg(task, b, 100, cmsg_space(8), MSG_CMSG_CLOEXEC)
    assert (data, flags, address) == (b"take this", MSG_CMSG_CLOEXEC, "a")
    ((level, kind, value),) = control
    assert (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
    fds = unpack("=2i", value)
    assert [task.fds[fd] for fd in fds] == [file, task.fds[a]]
    assert sys_read(task, fds[0], 8) == pack("=Q", 5)
    assert sys_fcntl(task, fds[1], F_GETFD) == 1
    assert file.f_count == 1 and task.fds[a].f_count == 2


@pytest.mark.parametrize(("room", "arrive"), [(0, 0), (15, 0), (cmsg_len(4), 1), (cmsg_len(7), 1), (cmsg_len(8), 2)])
def test_files_without_room_are_closed(task: Task, dgram: tuple[int, int], room: int, arrive: int) -> None:
    a, b = dgram
    events = [sys_eventfd2(task) for _ in range(3)]
    files = [task.fds[fd] for fd in events]
    sys_sendmsg(task, a, [b"x"], [rights(*events)], addr="b")
    for fd in events:
        sys_close(task, fd)
    _, control, flags, _ = sys_recvmsg(task, b, 10, room)
    assert flags == MSG_CTRUNC
    assert [file.f_count for file in files] == [1] * arrive + [0] * (3 - arrive)
    assert len(control) == (1 if arrive else 0)


def test_files_without_numbers_are_closed(task: Task, dgram: tuple[int, int]) -> None:
    a, b = dgram
    sys_sendmsg(task, a, [b"x"], [rights(a, a)], addr="b")
    task.files.limit = 3
    _, control, flags, _ = sys_recvmsg(task, b, 10, 100)
    assert flags == MSG_CTRUNC and len(control[0][2]) == 4
    assert task.fds[a].f_count == 2


def test_a_send_that_fails_keeps_no_files(task: Task, dgram: tuple[int, int]) -> None:
    a, _ = dgram
    with refused(errno.ECONNREFUSED):
        sys_sendmsg(task, a, [b"x"], [rights(a)], addr="nobody")
    with refused(errno.EBADF):
        sys_sendmsg(task, a, [b"x"], [rights(a, 3)], addr="b")
    with refused(errno.EINVAL):
        sys_sendmsg(task, a, [b"x"], [rights(*[a] * 254)], addr="b")
    assert task.fds[a].f_count == 1
    with pytest.raises(TypeError):
        sys_sendmsg(task, a, [b"x"], [(1, 1, "text")])  # type: ignore[list-item]
    with refused(errno.EINVAL):
        sys_recvmsg(task, a, -1)
    with refused(errno.EINVAL):
        sys_recvmsg(task, a, 1, -1)


# Many messages -------------------------------------------------------------------------------------------


def test_sendmmsg_and_recvmmsg(task: Task, dgram: tuple[int, int]) -> None:
    a, b = dgram
    assert sys_sendmmsg(task, a, [([b"1"], (), "b"), ([b"2", b"2"], (), "b"), ([b"3"], (), "b")]) == [1, 2, 1]
    assert [bool(flags & MSG_BATCH) for flags in sk_of(task, a).sent_flags] == [True, True, False]
    received = sys_recvmmsg(task, b, [(10, 0)] * 5, MSG_WAITFORONE)
    assert [(data, address) for data, _, _, address in received] == [(b"1", "a"), (b"22", "a"), (b"3", "a")]


def test_an_error_after_the_first_message_waits(task: Task, dgram: tuple[int, int]) -> None:
    a, b = dgram
    assert sys_sendmmsg(task, a, [([b"1"], (), "b"), ([b"2"], (), "nobody"), ([b"3"], (), "b")]) == [1]
    with refused(errno.ECONNREFUSED):
        sys_sendmmsg(task, a, [([b"2"], (), "nobody"), ([b"3"], (), "b")])
    sk = sk_of(task, b)
    sk.err = errno.EHOSTUNREACH
    assert [data for data, *_ in sys_recvmmsg(task, b, [(9, 0)] * 2)] == [b"1"]
    assert sk.err == errno.EHOSTUNREACH
    with refused(errno.EHOSTUNREACH):
        sys_recvmmsg(task, b, [(9, 0)] * 2)


def test_the_timeout_of_recvmmsg_is_looked_at_after_each_message(
    task: Task, loop: LoopFamily, dgram: tuple[int, int]
) -> None:
    a, b = dgram
    loop.delay = 2 * SEC
    sys_sendto(task, a, b"1", 0, "b")
    sys_sendto(task, a, b"2", 0, "b")
    assert [data for data, *_ in sys_recvmmsg(task, b, [(9, 0)] * 3, 0, SEC)] == [b"1"]
    assert sys_recv(task, b, 9) == b"2"
