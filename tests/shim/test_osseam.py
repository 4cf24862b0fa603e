"""os and fcntl on numbers of ours, beside the same calls on the operating system's."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.descriptors import held

import pysock


@pytest.fixture(params=["pysock", "real"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket pair of ours under patch, and one of the operating system's."""
    if request.param == "pysock":
        with pysock.patch():
            a, b = socket.socketpair()
            with a, b:
                yield a, b
    else:
        a, b = socket.socketpair()
        with a, b:
            yield a, b


Pair = tuple[socket.socket, socket.socket]


def test_read_and_write(pair: Pair) -> None:
    a, b = pair[0].fileno(), pair[1].fileno()
    assert os.write(a, b"abcdef") == 6
    assert os.read(b, 2) == b"ab"
    first, second = bytearray(1), bytearray(9)
    assert os.readv(b, [first, second]) == 4
    assert (first, second[:3]) == (b"c", b"def")
    assert os.writev(a, [b"x", bytearray(b"yz")]) == 3
    assert pair[1].recv(9) == b"xyz"


def test_dup_close_and_the_last_reference(pair: Pair) -> None:
    a, b = pair
    again = os.dup(a.fileno())
    assert not os.get_inheritable(again)
    a.close()
    os.write(again, b"x")
    assert b.recv(1) == b"x"
    os.close(again)
    assert b.recv(1) == b""
    with pytest.raises(OSError) as caught:
        os.close(again)
    assert caught.value.errno == errno.EBADF


def test_dup2_over_a_socket_and_over_a_pipe(pair: Pair) -> None:
    a, b = pair
    out, into = os.pipe()
    try:
        assert os.dup2(a.fileno(), into) == into
        os.write(into, b"x")
        assert b.recv(1) == b"x"
        assert os.read(out, 1) == b""  # the pipe's other end was closed
        os.dup2(out, into, inheritable=False)
        assert not os.get_inheritable(into)
        assert os.read(into, 1) == b""  # a pipe again
        os.dup2(a.fileno(), into, False)
        assert not os.get_inheritable(into)
        assert os.dup2(into, into) == into
    finally:
        os.close(out)
        os.close(into)


def test_blocking_and_inheritable(pair: Pair) -> None:
    fd = pair[0].fileno()
    assert os.get_blocking(fd)
    os.set_blocking(fd, False)
    assert not os.get_blocking(fd)
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
    with pytest.raises(BlockingIOError):
        os.read(fd, 1)
    fcntl.fcntl(pair[0], fcntl.F_SETFL, os.O_RDWR)
    assert os.get_blocking(fd)
    os.set_inheritable(fd, True)
    assert fcntl.fcntl(fd, fcntl.F_GETFD) == 0
    fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    assert not os.get_inheritable(fd)


def test_ioctl(pair: Pair) -> None:
    a, b = pair
    a.send(b"12345")
    buffer = array.array("i", [0])
    assert fcntl.ioctl(b, termios.FIONREAD, buffer) == 0
    assert buffer[0] == 5
    assert struct.unpack("i", fcntl.ioctl(b.fileno(), termios.FIONREAD, struct.pack("i", 0))) == (5,)
    assert isinstance(fcntl.ioctl(b, termios.FIONREAD, bytearray(4), False), bytes)
    with pytest.raises(OSError):
        fcntl.ioctl(b, 0x1234, 0)


@pytest.mark.parametrize("offset", [2, None])
def test_sendfile(pair: Pair, tmp_path: Path, offset: int | None) -> None:
    a, b = pair
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        os.lseek(file.fileno(), 2, os.SEEK_SET)
        assert os.sendfile(a.fileno(), file.fileno(), offset, 3) == 3
        assert b.recv(9) == b"234"
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == (2 if offset else 5)
        assert os.sendfile(a.fileno(), file.fileno(), 10, 3) == 0


def test_sendfile_wants_a_file(pair: Pair) -> None:
    out, into = os.pipe()
    try:
        os.write(into, b"x")
        with pytest.raises(OSError):
            os.sendfile(pair[0].fileno(), out, 0, 1)
    finally:
        os.close(out)
        os.close(into)


def test_socket_sendfile(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 100)
    with path.open("rb") as file:
        assert pair[0].sendfile(file, 995) == 5
        assert pair[1].recv(9) == b"56789"
        assert file.tell() == 1000


def test_closerange(pair: Pair) -> None:
    fds = sorted(os.dup(pair[0].fileno()) for _ in range(3))
    if fds[2] - fds[0] == 2:  # nobody else opened something in between
        os.closerange(fds[0], fds[2] + 1)
        for fd in fds:
            with pytest.raises(OSError):
                os.fstat(fd)


def test_fstat_says_socket(pair: Pair) -> None:
    assert os.fstat(pair[0].fileno()).st_mode & 0o170000 == 0o140000


def test_passing_descriptors_of_both_kinds(pair: Pair) -> None:
    a, b = pair
    out, into = os.pipe()
    c, d = socket.socketpair()
    with c, d:
        try:
            socket.send_fds(a, [b"m"], [out, c.fileno()])
            data, fds, _, _ = socket.recv_fds(b, 9, 2)
            assert (data, len(fds)) == (b"m", 2)
            os.write(into, b"through a pipe")
            d.send(b"through a socket")
            assert os.read(fds[0], 99) == b"through a pipe"
            assert os.read(fds[1], 99) == b"through a socket"
            for fd in fds:
                os.close(fd)
        finally:
            os.close(out)
            os.close(into)


def test_passing_a_closed_descriptor(pair: Pair) -> None:
    with pytest.raises(OSError) as caught:
        socket.send_fds(pair[0], [b"m"], [pair[0].fileno(), 999_999])
    assert caught.value.errno == errno.EBADF


def test_lent_descriptors_leave_nothing_behind() -> None:
    with pysock.patch() as active:
        a, b = socket.socketpair()
        out, into = os.pipe()
        with a, b:
            before = held()
            for _ in range(3):
                socket.send_fds(a, [b"m"], [out])
            assert len(active.task.fds) == 2
            a.close()
            b.close()
            assert held() < before
        os.close(out)
        os.close(into)
