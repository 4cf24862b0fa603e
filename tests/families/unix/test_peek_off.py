"""SO_PEEK_OFF: MSG_PEEK behind what it has shown before. Both kernels run every diary here."""

from __future__ import annotations

import errno
import random
from socket import MSG_PEEK, MSG_TRUNC

import pytest
from support.unix_api import DGRAM, STREAM, Api, RealUnix, Unix, raises

from pysock.uapi.socket import SO_PEEK_OFF


def test_a_stream_is_peeked_through(api: Api) -> None:
    first, second = api.pair(STREAM)
    api.set(second, SO_PEEK_OFF, 0)
    api.send(first, b"abcd")
    api.send(first, b"efgh")
    assert [api.recv(second, 3, MSG_PEEK) for _ in range(2)] == [b"abc", b"def"]
    assert api.get(second, SO_PEEK_OFF) == 6
    assert api.recv(second, 4) == b"abcd"
    assert api.get(second, SO_PEEK_OFF) == 2
    assert api.recv(second, 9, MSG_PEEK) == b"gh"
    with raises(errno.EAGAIN):
        api.recv(second, 9, MSG_PEEK)
    api.set(second, SO_PEEK_OFF, -1)
    assert api.recv(second, 9, MSG_PEEK) == b"efgh"


def test_datagrams_are_peeked_one_by_one(api: Api) -> None:
    first, second = api.pair(DGRAM)
    api.set(second, SO_PEEK_OFF, 0)
    for data in (b"abc", b"", b"de"):
        api.send(first, data)
    assert [api.recv(second, 2, MSG_PEEK) for _ in range(4)] == [b"ab", b"c", b"", b"de"]
    assert api.recv(second, 9) == b"abc"
    assert api.get(second, SO_PEEK_OFF) == 2


def diary(api: Api, kind: int, seed: int) -> list[object]:
    rng = random.Random(seed)
    first, second = api.pair(kind)
    seen: list[object] = []
    for _ in range(40):
        try:
            step = rng.randrange(8)
            if step < 3:
                seen.append(api.send(first, rng.randbytes(rng.randrange(1 if kind == STREAM else 0, 6))))
            elif step < 5:
                seen.append(api.recvmsg(second, rng.randrange(1, 9), MSG_PEEK))
            elif step < 6:
                seen.append(api.recvmsg(second, rng.randrange(1, 9), 0 if kind == STREAM else MSG_TRUNC)[1])
            elif step < 7:
                seen.append(api.recv(second, rng.randrange(1, 9)))
            else:
                seen.append(api.set(second, SO_PEEK_OFF, rng.randrange(-1, 5)))
        except OSError as exc:
            seen.append(errno.errorcode[exc.errno or 0])
        seen.append((api.get(second, SO_PEEK_OFF), api.inq(second)))
    return seen


@pytest.mark.parametrize("seed", range(40))
def test_any_conversation_is_the_kernels(kind: int, seed: int) -> None:
    real = RealUnix()
    try:
        theirs = diary(real, kind, seed)
    finally:
        real.close_all()
    assert diary(Unix(), kind, seed) == theirs
