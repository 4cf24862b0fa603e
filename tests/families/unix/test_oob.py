"""MSG_OOB on streams: the urgent byte, its mark, and what reads do at it. Both kernels run every diary here."""

from __future__ import annotations

import errno
import random
import select
from socket import MSG_DONTWAIT, MSG_OOB, MSG_PEEK, MSG_WAITALL, SO_OOBINLINE

import pytest
from support.unix_api import DGRAM, SEQPACKET, STREAM, Api, RealUnix, Unix, raises

from pysock.uapi.ioctl import SIOCATMARK

PRI, IN = select.POLLPRI, select.POLLIN


def test_the_last_byte_is_urgent(api: Api) -> None:
    first, second = api.pair(STREAM)
    assert api.send(first, b"hello!", MSG_OOB) == 6
    assert api.poll(second) & (PRI | IN) == PRI | IN
    assert api.inq(second) == 6
    assert api.recvmsg(second, 9, MSG_OOB) == (b"!", MSG_OOB)
    assert not api.poll(second) & PRI
    assert api.recv(second, 99) == b"hello"
    with raises(errno.EINVAL):
        api.recv(second, 9, MSG_OOB)


def test_a_read_ends_before_it_and_the_next_one_skips_it(api: Api) -> None:
    first, second = api.pair(STREAM)
    api.send(first, b"ab")
    api.send(first, b"!", MSG_OOB)
    api.send(first, b"cd")
    assert api.ioctl(second, SIOCATMARK) == 0
    assert api.recv(second, 99, MSG_PEEK) == b"ab"
    assert api.recv(second, 99) == b"ab"
    assert api.ioctl(second, SIOCATMARK) == 1
    assert api.recv(second, 99, MSG_PEEK) == b"cd"
    assert api.recv(second, 99) == b"cd"
    with raises(errno.EINVAL):
        api.recv(second, 1, MSG_OOB)


def test_inline(api: Api) -> None:
    first, second = api.pair(STREAM)
    api.set(second, SO_OOBINLINE, 1)
    api.send(first, b"ab!", MSG_OOB)
    api.send(first, b"cd")
    with raises(errno.EINVAL):
        api.recv(second, 1, MSG_OOB)
    assert api.recv(second, 99) == b"ab"
    assert api.ioctl(second, SIOCATMARK) == 1
    assert api.recv(second, 99) == b"!cd"


def test_a_newer_urgent_byte_leaves_the_older_one_in_line(api: Api) -> None:
    first, second = api.pair(STREAM)
    api.send(first, b"ab!", MSG_OOB)
    api.send(first, b"cd?", MSG_OOB)
    assert api.recv(second, 1, MSG_OOB | MSG_PEEK) == b"?"
    assert api.recv(second, 99) == b"ab!cd"
    assert api.recv(second, 1, MSG_OOB) == b"?"
    with raises(errno.EAGAIN):
        api.recv(second, 1)


def test_a_read_byte_leaves_a_mark(api: Api) -> None:
    first, second = api.pair(STREAM)
    api.send(first, b"ab!", MSG_OOB)
    api.send(first, b"cd")
    assert api.recv(second, 1, MSG_OOB) == b"!"
    assert api.recv(second, 99, MSG_PEEK) == b"ab"
    assert api.recv(second, 99) == b"ab"
    assert api.ioctl(second, SIOCATMARK) == 1
    assert api.inq(second) == 2
    assert api.recv(second, 99) == b"cd"
    assert api.ioctl(second, SIOCATMARK) == 0


def test_nothing_is_not_urgent(api: Api) -> None:
    first, second = api.pair(STREAM)
    with raises(errno.EOPNOTSUPP):
        api.send(first, b"", MSG_OOB)
    with raises(errno.EINVAL):
        api.recv(second, 1, MSG_OOB)


@pytest.mark.parametrize("kind", [DGRAM, SEQPACKET])
def test_messages_know_no_urgent_byte(api: Api, kind: int) -> None:
    first, second = api.pair(kind)
    with raises(errno.EOPNOTSUPP):
        api.send(first, b"x", MSG_OOB)
    with raises(errno.EOPNOTSUPP):
        api.recv(second, 1, MSG_OOB)


@pytest.mark.parametrize("taken", [False, True])
def test_a_closed_reader_and_its_urgent_byte(api: Api, taken: bool) -> None:
    first, second = api.pair(STREAM)
    api.send(first, b"!", MSG_OOB)
    if taken:
        api.recv(second, 1, MSG_OOB)
    api.close(second)
    assert api.error(first) == (0 if taken else errno.ECONNRESET)  # an empty mark is nothing unread


def diary(api: Api, seed: int) -> list[object]:
    """What a random conversation returns, step by step."""
    rng = random.Random(seed)
    first, second = api.pair(STREAM)
    if rng.random() < 0.3:
        api.set(second, SO_OOBINLINE, 1)
    seen: list[object] = []
    for _ in range(40):
        try:
            step = rng.randrange(7)
            if step < 2:
                seen.append(api.send(first, rng.randbytes(rng.randrange(1, 5)), MSG_OOB if step else 0))
            elif step < 6:
                flags = rng.choice([0, 0, MSG_PEEK, MSG_OOB, MSG_OOB | MSG_PEEK, MSG_WAITALL]) | MSG_DONTWAIT
                seen.append((flags, api.recv(second, rng.randrange(1, 9), flags)))
            else:
                seen.append(api.set(second, SO_OOBINLINE, rng.randrange(2)))
        except OSError as exc:
            seen.append(errno.errorcode[exc.errno or 0])
        # Not SIOCINQ: Linux 6.18 counts a skipped byte for ever.
        seen.append((api.poll(second), api.ioctl(second, SIOCATMARK)))
    return seen


@pytest.mark.parametrize("seed", range(60))
def test_any_conversation_is_the_kernels(seed: int) -> None:
    real = RealUnix()
    try:
        theirs = diary(real, seed)
    finally:
        real.close_all()
    assert diary(Unix(), seed) == theirs
