"""Descriptors, credentials and pidfds in messages, by system call, on both kernels."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from socket import CMSG_LEN, CMSG_SPACE, MSG_CTRUNC, MSG_PEEK, SO_PASSCRED

import pytest
from support.rights_api import Ours, Real
from support.unix_api import STREAM, raises

from pysock.uapi.socket import (
    MSG_CMSG_CLOEXEC,
    SCM_CREDENTIALS,
    SCM_INQ,
    SCM_PIDFD,
    SCM_RIGHTS,
    SO_INQ,
    SO_PASSPIDFD,
    SO_PASSRIGHTS,
    SO_PEERGROUPS,
    SO_PEERPIDFD,
)

ME = (os.getpid(), os.getuid(), os.getgid())
ROOM = 2000


@pytest.fixture(params=["pysock", "linux"])
def api(request: pytest.FixtureRequest) -> Iterator[Ours | Real]:
    api = Ours() if request.param == "pysock" else Real()
    yield api
    api.finish()


def has(api: Ours | Real, optname: int) -> bool:
    """Whether this kernel is young enough for an option."""
    fd = api.socket(STREAM)
    try:
        api.set(fd, optname, 1)
    except OSError:
        return False
    return True


def test_a_received_descriptor_is_the_same_socket(api: Ours | Real, kind: int) -> None:
    first, second = api.pair(kind)
    left, right = api.pair(kind)
    api.send(first, b"x", [left])
    api.close(left)
    message = api.recvmsg(second, ROOM)
    assert (message.data, message.flags, len(message.fds)) == (b"x", 0, 1)
    api.send(right, b"hello", [])
    if isinstance(api, Ours):
        assert api.recv(message.fds[0], 9) == b"hello"
    else:
        assert os.read(message.fds[0], 9) == b"hello"


@pytest.mark.parametrize("count", [253, 254])
def test_how_many_descriptors_a_message_takes(api: Ours | Real, kind: int, count: int) -> None:
    first, second = api.pair(kind)
    if count > 253:
        with raises(errno.EINVAL):
            api.send(first, b"x", [first] * count)
        return
    api.send(first, b"x", [first] * count)
    assert len(api.recvmsg(second, ROOM).fds) == count


def test_a_number_that_is_not_open(api: Ours | Real, kind: int) -> None:
    first, second = api.pair(kind)
    with raises(errno.EBADF):
        api.send(first, b"x", [first, 99999])
    with raises(errno.EAGAIN):
        api.recvmsg(second, ROOM)


@pytest.mark.parametrize(
    ("room", "count", "cut"),
    [(CMSG_LEN(12), 3, 0), (CMSG_LEN(11), 2, MSG_CTRUNC), (CMSG_LEN(4), 1, MSG_CTRUNC), (CMSG_LEN(0), 0, MSG_CTRUNC)],
)
def test_room_for_some(api: Ours | Real, kind: int, room: int, count: int, cut: int) -> None:
    first, second = api.pair(kind)
    api.send(first, b"x", [first, second, first])
    message = api.recvmsg(second, room)
    assert (len(message.fds), message.flags) == (count, cut)


@pytest.mark.parametrize("flags", [0, MSG_CMSG_CLOEXEC])
def test_close_on_exec(api: Ours | Real, flags: int) -> None:
    first, second = api.pair(STREAM)
    api.send(first, b"x", [first])
    (fd,) = api.recvmsg(second, ROOM, flags).fds
    cloexec = fd in api.task.files.cloexec if isinstance(api, Ours) else not os.get_inheritable(fd)
    assert cloexec == bool(flags)


def test_peeking_makes_descriptors_of_its_own(api: Ours | Real, kind: int) -> None:
    first, second = api.pair(kind)
    api.send(first, b"x", [first])
    peeked = api.recvmsg(second, ROOM, MSG_PEEK).fds
    taken = api.recvmsg(second, ROOM).fds
    assert len(peeked) == len(taken) == 1
    assert peeked != taken
    assert all(api.is_open(fd) for fd in peeked + taken)


def test_credentials_before_descriptors_before_the_pidfd(api: Ours | Real, kind: int) -> None:
    if not has(api, SO_PASSPIDFD):
        pytest.skip("SO_PASSPIDFD is younger than this kernel")
    first, second = api.pair(kind)
    for optname in (SO_PASSCRED, SO_PASSPIDFD):
        api.set(second, optname, 1)
    api.send(first, b"x", [first])
    message = api.recvmsg(second, ROOM)
    assert message.kinds == [SCM_CREDENTIALS, SCM_RIGHTS, SCM_PIDFD]
    assert message.creds == ME
    assert message.pidfd is not None
    with open(f"/proc/self/fdinfo/{message.pidfd}") as info:
        assert f"Pid:\t{ME[0]}\n" in info.read()
    if isinstance(api, Ours):
        os.close(message.pidfd)


def test_no_room_for_a_pidfd(api: Ours | Real, kind: int) -> None:
    if not has(api, SO_PASSPIDFD):
        pytest.skip("SO_PASSPIDFD is younger than this kernel")
    first, second = api.pair(kind)
    api.set(second, SO_PASSPIDFD, 1)
    api.send(first, b"x", [first, first])
    message = api.recvmsg(second, CMSG_SPACE(8) + CMSG_LEN(3))
    assert (len(message.fds), message.kinds, message.flags) == (2, [SCM_RIGHTS], MSG_CTRUNC)


def test_refusing_descriptors(api: Ours | Real, kind: int) -> None:
    if not has(api, SO_PASSRIGHTS):
        pytest.skip("SO_PASSRIGHTS is younger than this kernel")
    first, second = api.pair(kind)
    api.set(second, SO_PASSRIGHTS, 0)
    with raises(errno.EPERM):
        api.send(first, b"x", [first])
    api.send(first, b"y", [])
    assert api.recv(second, 9) == b"y"


def test_how_much_is_left(api: Ours | Real) -> None:
    if not has(api, SO_INQ):
        pytest.skip("SO_INQ is younger than this kernel")
    first, second = api.pair(STREAM)
    api.set(second, SO_INQ, 1)
    api.send(first, bytes(120), [first])
    message = api.recvmsg(second, ROOM)
    assert message.kinds == [SCM_RIGHTS, SCM_INQ]


def test_who_the_peer_is(api: Ours | Real, kind: int) -> None:
    first, _ = api.pair(kind)
    groups = list(api.task.creds.groups) if isinstance(api, Ours) else os.getgroups()
    assert sorted(struct.unpack(f"{len(groups)}i", api.get(first, SO_PEERGROUPS, 999))) == sorted(groups)
    alone = api.socket(kind)
    with raises(errno.ENODATA):
        api.get(alone, SO_PEERGROUPS, 999)
    if has(api, SO_PASSPIDFD):
        (pidfd,) = struct.unpack("i", api.get(first, SO_PEERPIDFD, 4))
        os.close(pidfd)
        with raises(errno.ENODATA):
            api.get(alone, SO_PEERPIDFD, 4)
