"""open(), os.fdopen, os.sendfile and os.splice on descriptors of ours, each also on the operating system's."""

# ruff: noqa: SIM115  opening, and what becomes of the file, is what is tested here

from __future__ import annotations

import errno
import io
import os
import socket
import tempfile
from collections.abc import Iterator

import pytest

import pysock


@pytest.fixture(params=["pysock", "real"], autouse=True)
def sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything here runs on both."""
    if request.param == "real":
        yield
    else:
        with pysock.patch(seed=1):
            yield


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    first, second = socket.socketpair()
    with first, second:
        yield first, second


Pair = tuple[socket.socket, socket.socket]


def test_text_both_ways(pair: Pair) -> None:
    first, second = pair
    with open(first.fileno(), "w", closefd=False, newline="\n") as writer, os.fdopen(os.dup(second.fileno())) as reader:
        writer.write("one\ntwo\n")
        writer.flush()
        assert reader.readline() == "one\n"
        assert reader.readline() == "two\n"
        assert (reader.mode, writer.mode) == ("r", "w")
        assert writer.name == first.fileno()
    first.send(b"still open")
    assert second.recv(20) == b"still open"


def test_layers(pair: Pair) -> None:
    fd = pair[0].fileno()
    raw = open(fd, "rb", 0, closefd=False)
    assert isinstance(raw, io.FileIO)
    assert (raw.mode, raw.readable(), raw.writable(), raw.seekable(), raw.isatty()) == ("rb", True, False, False, False)
    assert repr(raw) == f"<_io.FileIO name={fd} mode='rb' closefd=False>"
    assert type(open(fd, "rb", closefd=False)) is io.BufferedReader
    with open(fd, "ab", closefd=False) as appending:
        assert type(appending) is io.BufferedWriter
    with pytest.raises(io.UnsupportedOperation):
        raw.write(b"x")
    with pytest.raises(io.UnsupportedOperation, match="not seekable"):
        open(fd, "r+b", closefd=False)
    with pytest.raises(ValueError, match="exactly one of create/read/write/append"):
        open(fd, "b", closefd=False)  # noqa: PLW1501  indeed


def test_raw_reads(pair: Pair) -> None:
    first, second = pair
    raw = open(second.fileno(), "rb", 0, closefd=False)
    second.setblocking(False)
    assert raw.read(5) is None
    assert raw.readall() is None
    first.send(b"abcdef")
    buffer = bytearray(4)
    assert raw.readinto(buffer) == 4
    assert buffer == b"abcd"
    first.shutdown(socket.SHUT_WR)
    assert raw.read() == b"ef"
    assert raw.read() == b""


def test_closing_the_file_closes_the_descriptor(pair: Pair) -> None:
    first, second = pair
    fd = first.detach()
    with open(fd, "wb") as file:
        file.write(b"last words")
    assert second.recv(20) == b"last words"
    assert second.recv(20) == b""
    with pytest.raises(OSError) as caught:
        os.fstat(fd)
    assert caught.value.errno == errno.EBADF
    # The number is anybody's now, also the operating system's.
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, b"x")
        assert os.read(read_end, 1) == b"x"
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_layer_that_fails_closes_the_descriptor(pair: Pair) -> None:
    fd = os.dup(pair[0].fileno())
    with pytest.raises(io.UnsupportedOperation):
        open(fd, "r+b")
    with pytest.raises(OSError):
        os.fstat(fd)


def test_a_leaked_file_warns_flushes_and_closes(pair: Pair) -> None:
    first, second = pair
    file = open(first.detach(), "wb")
    file.write(b"late")
    with pytest.warns(ResourceWarning, match="unclosed file <_io.BufferedWriter name="):
        del file
    assert second.recv(10) == b"late"
    assert second.recv(10) == b""


# -- sendfile and splice -----------------------------------------------------------------------------------


def error_of(call: object, *args: object) -> int | None:
    assert callable(call)
    with pytest.raises(OSError) as caught:
        call(*args)
    return caught.value.errno


def test_sendfile_to_a_socket(pair: Pair) -> None:
    first, second = pair
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        assert os.sendfile(first.fileno(), file.fileno(), 2, 3) == 3
        file.seek(0)
        assert os.sendfile(first.fileno(), file.fileno(), None, 4) == 4
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 4
        assert second.recv(20) == b"2340123"
        assert os.sendfile(first.fileno(), file.fileno(), 10, 5) == 0
        assert error_of(os.sendfile, first.fileno(), file.fileno(), 0, -1) == errno.EINVAL
        assert error_of(os.sendfile, file.fileno(), second.fileno(), None, 1) == errno.EINVAL
        assert error_of(os.sendfile, file.fileno(), second.fileno(), 0, 1) == errno.ESPIPE
        assert error_of(os.splice, file.fileno(), second.fileno(), 1) == errno.EINVAL
    assert error_of(os.sendfile, first.fileno(), second.fileno(), None, 1) == errno.EINVAL


def test_through_a_pipe(pair: Pair) -> None:
    first, second = pair
    read_end, write_end = os.pipe()
    try:
        first.send(b"abcdef")
        assert os.sendfile(write_end, second.fileno(), None, 2) == 2
        assert os.splice(second.fileno(), write_end, 3) == 3
        assert os.read(read_end, 10) == b"abcde"
        os.write(write_end, b"back")
        assert os.splice(read_end, second.fileno(), 4) == 4
        assert first.recv(10) == b"back"
        assert error_of(os.sendfile, first.fileno(), read_end, None, 1) == errno.EINVAL
        assert error_of(os.sendfile, first.fileno(), read_end, 0, 1) == errno.ESPIPE
        second.setblocking(False)
        assert second.recv(1) == b"f"
        assert error_of(os.splice, second.fileno(), write_end, 1) == errno.EAGAIN
        first.close()
        assert os.splice(second.fileno(), write_end, 1) == 0
    finally:
        os.close(read_end)
        os.close(write_end)
