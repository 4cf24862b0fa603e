"""bind, autobind, getsockname, and finding a socket by its name."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest
from support.descriptors import held
from support.unix_api import DGRAM, SEQPACKET, STREAM, Api, Unix, raises

from pysock.core.sock import Socket
from pysock.families.unix import unix_net

pytestmark = pytest.mark.usefixtures("room")


def test_a_new_socket_is_unnamed(api: Api, kind: int) -> None:
    sock = api.socket(kind)
    assert api.getsockname(sock) == ""
    with raises(errno.ENOTCONN):
        api.getpeername(sock)


def test_binding_a_path_makes_a_node(api: Api, kind: int) -> None:
    sock = api.socket(kind)
    old = os.umask(0o027)
    try:
        api.bind(sock, "node")
    finally:
        os.umask(old)
    mode = Path("node").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o750
    assert api.getsockname(sock) == "node"
    api.close(sock)
    assert Path("node").is_socket()  # it is for the program to remove


def test_a_bytes_path_is_shown_as_str(api: Api) -> None:
    sock = api.socket(STREAM)
    api.bind(sock, b"caf\xc3\xa9")
    assert api.getsockname(sock) == os.fsdecode(b"caf\xc3\xa9")


def test_what_is_there_is_in_use(api: Api, kind: int) -> None:
    Path("file").touch()
    for name in ("file", "."):
        with raises(errno.EADDRINUSE):
            api.bind(api.socket(kind), name)
    api.bind(api.socket(kind), "sock")
    with raises(errno.EADDRINUSE):
        api.bind(api.socket(kind), "sock")


def test_what_the_file_system_says(api: Api) -> None:
    Path("file").touch()
    sock = api.socket(STREAM)
    with raises(errno.ENOENT):
        api.bind(sock, "missing/sock")
    with raises(errno.ENOTDIR):
        api.bind(sock, "file/sock")
    assert api.getsockname(sock) == ""
    api.bind(sock, "sock")  # a failed bind can be tried again


def test_a_directory_without_permission_is_eacces(unix: Unix, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: bytes, mode: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(unix_net, "_mknod", refuse)  # tests may run as root, who may do anything
    with pytest.raises(PermissionError) as caught:
        unix.bind(unix.socket(STREAM), "sock")
    assert caught.value.filename is None  # an error of bind(2), not of a file


def test_a_node_that_may_not_be_written_is_eacces(unix: Unix, monkeypatch: pytest.MonkeyPatch) -> None:
    server = unix.socket(STREAM)
    unix.bind(server, "sock")
    unix.listen(server, 1)
    monkeypatch.setattr(unix_net, "_access", lambda path, mode, effective_ids: False)
    with raises(errno.EACCES):
        unix.connect(unix.socket(STREAM), "sock")


def test_only_one_name(api: Api, kind: int) -> None:
    sock = api.socket(kind)
    api.bind(sock, "first")
    for name in ("second", b"\0second"):
        with raises(errno.EINVAL):
            api.bind(sock, name)
    assert not Path("second").exists()
    assert api.getsockname(sock) == "first"


def test_names_that_are_too_long(unix: Unix, kind: int) -> None:
    # CPython refuses these before the kernel sees them; the longest good ones come below.
    for name in ("p" * 108, b"\0" + b"n" * 108):
        with raises(errno.EINVAL):
            unix.bind(unix.socket(kind), name)


def test_the_longest_names(api: Api, kind: int) -> None:
    for name in ("p" * 107, b"\0" + os.urandom(107)):
        sock = api.socket(kind)
        api.bind(sock, name)
        assert api.getsockname(sock) == name


def test_abstract_names_leave_no_trace(api: Api, kind: int) -> None:
    name = b"\0pysock-test-" + os.urandom(8)
    sock = api.socket(kind)
    api.bind(sock, name)
    assert api.getsockname(sock) == name
    assert not list(Path().iterdir())
    with raises(errno.EADDRINUSE):
        api.bind(api.socket(kind), name)
    api.close(sock)
    api.bind(api.socket(kind), name)


def test_each_type_has_its_own_abstract_names(api: Api) -> None:
    name = b"\0pysock-test-" + os.urandom(8)
    for kind in (STREAM, DGRAM, SEQPACKET):
        api.bind(api.socket(kind), name)
    with raises(errno.ECONNREFUSED):
        api.connect(api.socket(STREAM), name)  # found, and not listening


def test_autobind(api: Api, kind: int) -> None:
    first, second = api.socket(kind), api.socket(kind)
    api.bind(first, "")
    api.bind(second, "")
    name = api.getsockname(first)
    assert len(name) == 6
    assert name[:1] == b"\0"
    int(name[1:], 16)
    assert api.getsockname(second) != name
    api.bind(first, "")  # again: nothing to do
    assert api.getsockname(first) == name
    with raises(errno.EINVAL):
        api.bind(first, "path")


def test_autobind_is_repeatable_and_skips_names_in_use(unix: Unix) -> None:
    first = unix.socket(DGRAM)
    unix.bind(first, "")
    other = Unix()  # same seed
    blocker, second = other.socket(DGRAM), other.socket(DGRAM)
    other.bind(blocker, unix.getsockname(first))
    other.bind(second, "")
    assert int(other.getsockname(second)[1:], 16) == (int(unix.getsockname(first)[1:], 16) + 1) % (1 << 20)


def test_autobind_when_all_names_are_taken(unix: Unix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_net, "AUTOBIND_NAMES", 3)
    for _ in range(3):
        unix.bind(unix.socket(DGRAM), "")
    with raises(errno.ENOSPC):
        unix.bind(unix.socket(DGRAM), "")
    unix.bind(unix.socket(STREAM), "")  # another type, other names


@pytest.mark.parametrize("kind_of_link", ["hard", "symbolic", "relative"])
def test_a_socket_is_its_node_by_whatever_path(api: Api, kind: int, kind_of_link: str) -> None:
    server = api.socket(kind)
    api.bind(server, "sock")
    path = "link"
    if kind_of_link == "hard":
        os.link("sock", "link")
    elif kind_of_link == "symbolic":
        Path("link").symlink_to("sock")
    else:
        Path("sub").mkdir()
        path = "sub/../sock"
    client = api.socket(kind)
    if kind != DGRAM:
        api.listen(server, 1)
    api.connect(client, path)
    assert api.getpeername(client) == "sock"


def test_a_path_made_anew_has_another_inode_number_as_long_as_the_first_socket_lives(api: Api) -> None:
    numbers = set()
    servers = []
    for _ in range(8):
        server = api.socket(STREAM)
        api.bind(server, "sock")
        servers.append(server)
        numbers.add(Path("sock").stat().st_ino)
        Path("sock").unlink()
    assert len(numbers) == 8
    for server in servers:
        api.close(server)


def test_a_closed_socket_pins_no_node(unix: Unix) -> None:
    before = held()
    server = unix.socket(STREAM)
    unix.bind(server, "sock")
    assert len(held() - before) == 1
    unix.close(server)
    assert held() <= before


def test_a_removed_node_cannot_be_found(api: Api) -> None:
    server = api.socket(STREAM)
    api.bind(server, "sock")
    api.listen(server, 1)
    Path("sock").unlink()
    with raises(errno.ENOENT):
        api.connect(api.socket(STREAM), "sock")
    newer = api.socket(STREAM)
    api.bind(newer, "sock")
    api.listen(newer, 1)
    api.close(server)
    client = api.socket(STREAM)
    api.connect(client, "sock")
    api.accept(newer)


def test_a_reused_inode_number_belongs_to_the_newer_socket(unix: Unix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_net, "_stat", lambda path: os.stat_result((stat.S_IFSOCK, 7, 1, *[0] * 7)))
    older, newer = unix.socket(STREAM), unix.socket(STREAM)
    unix.bind(older, "older")
    unix.bind(newer, "newer")
    unix.listen(newer, 1)
    unix.close(older)  # must not take the newer one's entry along
    client = unix.socket(STREAM)
    unix.connect(client, "newer")
    assert unix.getpeername(client) == "newer"


def test_looking_a_path_up(api: Api, connected_kind: int) -> None:
    Path("file").touch()
    Path("loop").symlink_to("loop")
    server = api.socket(connected_kind)
    api.bind(server, "sock")
    client = api.socket(connected_kind)
    for path, number in [
        ("missing", errno.ENOENT),
        ("file/sock", errno.ENOTDIR),
        ("loop", errno.ELOOP),
        ("file", errno.ECONNREFUSED),
        ("sock", errno.ECONNREFUSED),
        ("", errno.EINVAL),
        (b"\0pysock-nobody", errno.ECONNREFUSED),
    ]:
        with raises(number):
            api.connect(client, path)


def test_another_type_is_eprototype(api: Api) -> None:
    server = api.socket(STREAM)
    api.bind(server, "sock")
    api.listen(server, 1)
    for kind in (DGRAM, SEQPACKET):
        with raises(errno.EPROTOTYPE):
            api.connect(api.socket(kind), "sock")
    with raises(errno.EPROTOTYPE):
        api.sendto(api.socket(DGRAM), b"x", "sock")


def test_a_node_of_the_real_kernel_refuses(unix: Unix) -> None:
    with socket.socket(socket.AF_UNIX) as real:
        real.bind("sock")
        real.listen()
        with raises(errno.ECONNREFUSED):
            unix.connect(unix.socket(STREAM), "sock")


def test_namespaces_do_not_see_each_other(unix: Unix) -> None:
    other = Unix()
    for name in ("sock", b"\0name"):
        server = unix.socket(STREAM)
        unix.bind(server, name)
        unix.listen(server, 1)
        with raises(errno.ECONNREFUSED):
            other.connect(other.socket(STREAM), name)


def test_mocking_os_does_not_reach_us(unix: Unix, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise AssertionError("the program's mock was called")

    for name in ("mknod", "stat", "access", "fsdecode", "fsencode"):
        monkeypatch.setattr(os, name, broken)
    server = unix.socket(STREAM)
    unix.bind(server, "sock")
    unix.listen(server, 1)
    unix.connect(unix.socket(STREAM), "sock")
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("type", "protocol", "number"),
    [(1, 2, errno.EPROTONOSUPPORT), (2, 6, errno.EPROTONOSUPPORT), (4, 0, errno.ESOCKTNOSUPPORT)],
)
def test_what_the_family_does_not_make(unix: Unix, type: int, protocol: int, number: int) -> None:
    with raises(number):
        unix.family.create(unix.net, unix.creds, Socket(type), protocol)
    with raises(number):
        socket.socket(socket.AF_UNIX, type, protocol)


def test_raw_is_a_datagram_socket(unix: Unix) -> None:
    sock = Socket(3)
    unix.family.create(unix.net, unix.creds, sock, 1)
    assert sock.type == DGRAM
