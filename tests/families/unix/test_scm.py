"""What travels beside the bytes: open files and credentials."""

from __future__ import annotations

import array
import errno
import os
import socket
from socket import MSG_CTRUNC, MSG_PEEK, SCM_RIGHTS, SOL_SOCKET

import pytest
from support.unix_api import DGRAM, STREAM, Unix, raises

from pysock.core.capability import NO_CAPS, Credentials
from pysock.core.sock import SHUTDOWN_MASK, SOCK_PASSCRED, MsgHdr, Socket
from pysock.families.unix.scm import UCRED
from pysock.uapi.socket import SCM_CREDENTIALS


class FakeFile:
    """Counts its references as vfs.File does; the last put may close a socket."""

    def __init__(self, sock: Socket | None = None) -> None:
        self.count = 1
        self.sock = sock

    def get(self) -> FakeFile:
        self.count += 1
        return self

    def put(self) -> None:
        self.count -= 1
        if not self.count and self.sock is not None:
            self.sock.ops.release(self.sock)  # the kernel lock is held, as it is in vfs


def send(unix: Unix, sock: Socket, data: bytes, *files: FakeFile) -> MsgHdr:
    msg = MsgHdr()
    msg.files = list(files)
    unix.call(sock, "sendmsg", data, unix.dontwait, msg)
    return msg


def recv(unix: Unix, sock: Socket, size: int = 99, flags: int = 0, room: int = 999) -> tuple[bytes, MsgHdr]:
    msg = MsgHdr(controllen=room)
    return unix.call(sock, "recvmsg", size, flags | unix.dontwait, msg), msg


# -- files -----------------------------------------------------------------------------------------------


def test_files_arrive_in_order_with_their_references(unix: Unix, kind: int) -> None:
    first, second = unix.pair(kind)
    files = [FakeFile(), FakeFile(), FakeFile()]
    sent = send(unix, first, b"x", *files)
    assert not sent.files  # taken over
    data, msg = recv(unix, second)
    assert data == b"x"
    assert list(msg.files) == files
    assert [file.count for file in files] == [1, 1, 1]
    assert msg.flags == 0


def test_a_stream_read_ends_with_the_message_that_had_files(unix: Unix) -> None:
    # The same steps on the kernel: test_where_linux_ends_a_stream_read.
    first, second = unix.pair(STREAM)
    one, two = FakeFile(), FakeFile()
    send(unix, first, b"a")
    send(unix, first, b"b", one)
    send(unix, first, b"c", two)
    send(unix, first, b"d")
    data, msg = recv(unix, second)
    assert (data, list(msg.files)) == (b"ab", [one])
    data, msg = recv(unix, second)
    assert (data, list(msg.files)) == (b"c", [two])
    data, msg = recv(unix, second)
    assert (data, list(msg.files)) == (b"d", [])


def test_where_linux_ends_a_stream_read() -> None:
    first, second = socket.socketpair()
    with first, second, open(os.devnull) as file:
        rights = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [file.fileno()]))]
        for data, control in ((b"a", []), (b"b", rights), (b"c", rights), (b"d", [])):
            first.sendmsg([data], control)
        reads = []
        for _ in range(3):
            data, control, _, _ = second.recvmsg(99, 999)
            reads.append((data, len(control)))
            for _, _, fd in control:
                os.close(int.from_bytes(fd, "little"))
        assert reads == [(b"ab", 1), (b"c", 1), (b"d", 0)]


def test_files_come_with_the_first_byte_of_a_stream_message(unix: Unix) -> None:
    first, second = unix.pair(STREAM)
    file = FakeFile()
    send(unix, first, b"abc", file)
    data, msg = recv(unix, second, 1)
    assert (data, list(msg.files)) == (b"a", [file])
    data, msg = recv(unix, second)
    assert (data, list(msg.files)) == (b"bc", [])


def test_peeking_takes_references_of_its_own(unix: Unix, kind: int) -> None:
    first, second = unix.pair(kind)
    file = FakeFile()
    send(unix, first, b"x", file)
    _, msg = recv(unix, second, flags=MSG_PEEK)
    assert list(msg.files) == [file]
    assert file.count == 2
    _, msg = recv(unix, second)
    assert list(msg.files) == [file]
    assert file.count == 2


@pytest.mark.parametrize("how", ["recv", "no room"])
def test_files_without_a_taker_are_closed(unix: Unix, kind: int, how: str) -> None:
    first, second = unix.pair(kind)
    file = FakeFile()
    send(unix, first, b"x", file)
    if how == "recv":
        assert unix.recv(second, 9, MSG_PEEK) == b"x"
        assert file.count == 1
        assert unix.recv(second, 9) == b"x"
    else:
        data, msg = recv(unix, second, room=0)
        assert data == b"x"
        assert msg.flags & MSG_CTRUNC
        assert list(msg.files) == []
    assert file.count == 0


def test_files_under_way_are_closed_with_the_receiver(unix: Unix, kind: int) -> None:
    first, second = unix.pair(kind)
    file = FakeFile()
    send(unix, first, b"x", file)
    unix.close(second)
    assert file.count == 0


def test_a_socket_in_the_inbox_of_a_socket_in_an_inbox(unix: Unix) -> None:
    # Each pair's first end lies in the inbox of the pair before it: closing the outermost closes all of them, without
    # going deeper by a stack frame each.
    first, last = unix.pair(STREAM)
    outermost = last
    ends = []
    for _ in range(3000):
        one, two = unix.pair(STREAM)
        send(unix, first, b"x", FakeFile(two))
        ends.append(one)
        first = one
    unix.close(outermost)
    assert all(end.sk.shutdown == SHUTDOWN_MASK for end in ends)


def test_files_of_a_failed_send_stay_with_the_caller(unix: Unix, kind: int) -> None:
    file = FakeFile()
    msg = MsgHdr()
    msg.files = [file]
    with raises(errno.ENOTCONN):
        unix.call(unix.socket(kind), "sendmsg", b"x", unix.dontwait, msg)
    assert list(msg.files) == [file]
    assert file.count == 1


def test_a_stream_carries_no_files_without_bytes(unix: Unix) -> None:
    first, second = unix.pair(STREAM)
    file = FakeFile()
    assert not send(unix, first, b"", file).files
    assert file.count == 0
    with raises(errno.EAGAIN):
        recv(unix, second)
    other = FakeFile()
    dgram, receiver = unix.pair(DGRAM)
    send(unix, dgram, b"", other)
    assert list(recv(unix, receiver)[1].files) == [other]


def test_files_go_with_the_first_piece(unix: Unix) -> None:
    first, second = unix.pair(STREAM)
    file = FakeFile()
    send(unix, first, bytes(200_000), file)
    data, msg = recv(unix, second, 1 << 20)
    assert list(msg.files) == [file]
    assert len(data) < 200_000
    assert not recv(unix, second, 1 << 20)[1].files


def test_too_many_files(unix: Unix) -> None:
    first, _ = unix.pair(STREAM)
    with raises(errno.EINVAL):
        send(unix, first, b"x", *[FakeFile()] * 254)
    send(unix, first, b"x", *[FakeFile()] * 253)


# -- credentials -----------------------------------------------------------------------------------------


def creds_of(msg: MsgHdr) -> list[tuple[int, int, int]]:
    return [UCRED.unpack(data) for level, kind, data in msg.control if (level, kind) == (1, SCM_CREDENTIALS)]


def test_passcred_shows_the_sender(unix: Unix, kind: int) -> None:
    first, second = unix.pair(kind)
    unix.sk(second).flags |= SOCK_PASSCRED
    unix.send(first, b"x")
    _, msg = recv(unix, second)
    assert creds_of(msg) == [(os.getpid(), os.getuid(), os.getgid())]


def test_without_passcred_nothing_is_shown(unix: Unix, kind: int) -> None:
    first, second = unix.pair(kind)
    unix.send(first, b"x")
    assert not recv(unix, second)[1].control


def test_a_message_sent_before_passcred_has_no_sender(unix: Unix, kind: int) -> None:
    first, second = unix.pair(kind)
    unix.send(first, b"x")
    unix.sk(second).flags |= SOCK_PASSCRED
    assert creds_of(recv(unix, second)[1]) == [(0, 65534, 65534)]


def test_passcred_without_room_is_truncated(unix: Unix, kind: int) -> None:
    first, second = unix.pair(kind)
    unix.sk(second).flags |= SOCK_PASSCRED
    unix.send(first, b"x")
    _, msg = recv(unix, second, room=0)
    assert msg.flags & MSG_CTRUNC
    assert list(msg.control) == []


def state(unix: Unix, sock: Socket, stated: bytes) -> None:
    msg = MsgHdr()
    msg.control = [(SOL_SOCKET, SCM_CREDENTIALS, stated)]
    unix.call(sock, "sendmsg", b"x", unix.dontwait, msg)


def test_root_may_state_any_credentials(unix: Unix, kind: int) -> None:
    unix.creds = Credentials(10, uid=0)
    first, second = unix.pair(kind)
    unix.sk(second).flags |= SOCK_PASSCRED
    state(unix, first, UCRED.pack(1, 2, 3))
    assert creds_of(recv(unix, second)[1]) == [(1, 2, 3)]


def test_others_may_state_their_own(unix: Unix, kind: int) -> None:
    unix.creds = Credentials(10, uid=20, gid=30, caps=NO_CAPS)
    first, _ = unix.pair(kind)
    state(unix, first, UCRED.pack(10, 20, 30))
    for stated in ((11, 20, 30), (10, 21, 30), (10, 20, 31)):
        with raises(errno.EPERM):
            state(unix, first, UCRED.pack(*stated))
    with raises(errno.EINVAL):
        state(unix, first, b"short")


def test_other_control_messages(unix: Unix) -> None:
    first, second = unix.pair(STREAM)
    msg = MsgHdr()
    msg.control = [(SOL_SOCKET, 99, b"")]
    with raises(errno.EINVAL):
        unix.call(first, "sendmsg", b"x", unix.dontwait, msg)
    msg.control = [(41, 99, b""), (SOL_SOCKET, SCM_RIGHTS, b"")]  # of another level; already in msg.files
    assert unix.call(first, "sendmsg", b"x", unix.dontwait, msg) == 1
    assert unix.recv(second, 9) == b"x"


def test_a_stream_does_not_join_different_senders(unix: Unix) -> None:
    unix.creds = Credentials(10, uid=0)
    first, second = unix.pair(STREAM)
    unix.sk(second).flags |= SOCK_PASSCRED
    for pid in (1, 1, 2):
        state(unix, first, UCRED.pack(pid, 0, 0))
    for flags, expected in ((MSG_PEEK, (b"xx", 1)), (0, (b"xx", 1)), (0, (b"x", 2))):
        data, msg = recv(unix, second, flags=flags)
        assert (data, creds_of(msg)[0][0]) == expected


def test_passcred_binds_who_connects_or_sends(unix: Unix) -> None:
    server = unix.socket(STREAM)
    unix.bind(server, b"\0server")
    unix.listen(server, 1)
    client = unix.socket(STREAM)
    unix.sk(client).flags |= SOCK_PASSCRED
    unix.connect(client, b"\0server")
    assert len(unix.getsockname(client)) == 6
    receiver = unix.socket(DGRAM)
    unix.bind(receiver, b"\0receiver")
    for how in ("connect", "sendto"):
        sender = unix.socket(DGRAM)
        unix.sk(sender).flags |= SOCK_PASSCRED
        if how == "connect":
            unix.connect(sender, b"\0receiver")
        else:
            unix.sendto(sender, b"x", b"\0receiver")
        assert len(unix.getsockname(sender)) == 6
