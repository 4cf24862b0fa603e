"""Descriptors of the operating system and sockets of ours in one SCM_RIGHTS message, under patch and on Linux."""

from __future__ import annotations

import array
import errno
import os
import socket
from collections.abc import Iterator, Sequence

import pytest
from support.descriptors import held

import pysock

KINDS = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET]


@pytest.fixture(params=["pysock", "linux"], autouse=True)
def world(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "linux":
        yield "linux"
        return
    with pysock.patch(seed=1):
        yield "pysock"


@pytest.fixture(params=KINDS, ids=["stream", "dgram", "seqpacket"])
def pair(request: pytest.FixtureRequest, world: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    first, second = socket.socketpair(socket.AF_UNIX, request.param)
    with first, second:
        yield first, second


@pytest.fixture
def pipe(world: str) -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        os.close(fd)


def send(sock: socket.socket, fds: Sequence[int]) -> None:
    sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def receive(sock: socket.socket, room: int = 999, flags: int = 0) -> tuple[list[int], int]:
    _, control, msg_flags, _ = sock.recvmsg(9, room, flags)
    found = array.array("i")
    for _, _, data in control:
        found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found), msg_flags


def test_pipes_and_sockets_in_one_message(pair: tuple[socket.socket, socket.socket], pipe: tuple[int, int]) -> None:
    first, second = pair
    left, right = socket.socketpair()
    with left, right:
        send(first, [pipe[0], left.fileno(), pipe[1]])
        fds, flags = receive(second)
        assert (len(set(fds)), flags) == (3, 0)
        assert not {pipe[0], pipe[1], left.fileno()} & set(fds)
        os.write(fds[2], b"through the pipe")
        assert os.read(fds[0], 99) == b"through the pipe"
        with socket.socket(fileno=fds[1]) as received:
            right.sendall(b"through the socket")
            assert received.recv(99) == b"through the socket"
        for fd in (fds[0], fds[2]):
            os.close(fd)


@pytest.mark.parametrize("flags", [0, socket.MSG_CMSG_CLOEXEC])
def test_close_on_exec(pair: tuple[socket.socket, socket.socket], pipe: tuple[int, int], flags: int) -> None:
    first, second = pair
    with socket.socket() as passenger:
        send(first, [pipe[0], passenger.fileno()])
        fds, _ = receive(second, flags=flags)
        assert [os.get_inheritable(fd) for fd in fds] == [not flags] * 2
        for fd in fds:
            os.close(fd)


def test_what_does_not_fit_is_closed(pair: tuple[socket.socket, socket.socket], pipe: tuple[int, int]) -> None:
    first, second = pair
    before = held()
    send(first, [pipe[0], pipe[1], pipe[0]])
    fds, flags = receive(second, socket.CMSG_LEN(4))
    assert (len(fds), flags) == (1, socket.MSG_CTRUNC)
    os.close(fds[0])
    assert held() <= before


@pytest.mark.parametrize("how", ["closed", "recv"])
def test_what_nobody_takes_is_closed(world: str, pipe: tuple[int, int], how: str) -> None:
    before = held()
    first, second = socket.socketpair()
    send(first, [pipe[0], first.fileno(), pipe[1]])
    if how == "recv":
        assert second.recv(9) == b"x"
    first.close()
    second.close()
    assert held() <= before


def test_a_number_that_is_not_open(pair: tuple[socket.socket, socket.socket], pipe: tuple[int, int]) -> None:
    before = held()
    with pytest.raises(OSError, match=f"Errno {errno.EBADF}"):
        send(pair[0], [pipe[0], 99999])
    assert held() <= before


def test_send_fds_and_recv_fds(pair: tuple[socket.socket, socket.socket], pipe: tuple[int, int]) -> None:
    first, second = pair
    socket.send_fds(first, [b"hello"], list(pipe))
    data, fds, flags, _ = socket.recv_fds(second, 9, 2)
    assert (data, len(fds), flags) == (b"hello", 2, 0)
    for fd in fds:
        os.close(fd)
