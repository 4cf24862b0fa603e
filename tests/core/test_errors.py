"""errors.err: the right class and number."""

from __future__ import annotations

import errno
import os

import pytest

from pysock.core.errors import err


@pytest.mark.parametrize(
    ("number", "cls"),
    [
        (errno.EAGAIN, BlockingIOError),
        (errno.EINPROGRESS, BlockingIOError),
        (errno.ECONNRESET, ConnectionResetError),
        (errno.ECONNREFUSED, ConnectionRefusedError),
        (errno.EPIPE, BrokenPipeError),
        (errno.ETIMEDOUT, TimeoutError),
        (errno.EACCES, PermissionError),
        (errno.EADDRINUSE, OSError),
    ],
)
def test_class_and_text_follow_the_number(number: int, cls: type[OSError]) -> None:
    made = err(number)
    assert type(made) is cls
    assert (made.errno, made.strerror) == (number, os.strerror(number))


def test_own_text_keeps_the_number() -> None:
    made = err(errno.EEXIST, "family 45 is taken")
    assert (type(made), made.errno, made.strerror) == (FileExistsError, errno.EEXIST, "family 45 is taken")
