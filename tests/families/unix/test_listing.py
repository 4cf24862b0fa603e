"""What people look at: /proc/net/unix and ss -x; SIOCUNIXFILE; path names across namespaces."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support.unix_api import DGRAM, STREAM, Unix, raises

from pysock.core.capability import NO_CAPS, Credentials
from pysock.core.kernel import Kernel
from pysock.families.unix.proc import proc_unix
from pysock.syscalls.file import sys_fstat
from pysock.syscalls.socket import (
    sys_accept,
    sys_bind,
    sys_connect,
    sys_getpeername,
    sys_listen,
    sys_socket,
    sys_socketpair,
)
from pysock.tools.ss import ss_table
from pysock.uapi.ioctl import SIOCUNIXFILE
from pysock.vfs.task import Task

pytestmark = pytest.mark.usefixtures("room")


@pytest.fixture
def task() -> Task:
    return Task.boot(clock="virtual", seed=1)


def inode(task: Task, fd: int) -> int:
    return sys_fstat(task, fd).st_ino


def test_proc_net_unix(task: Task) -> None:
    listener = sys_socket(task, 1, STREAM)
    sys_bind(task, listener, b"\0name\0x")
    sys_listen(task, listener, 3)
    client = sys_socket(task, 1, STREAM)
    sys_connect(task, client, b"\0name\0x")
    lone = sys_socket(task, 1, DGRAM)
    sys_bind(task, lone, "path")
    lines = task.net.proc["net/unix"]().splitlines()
    assert lines[0] == "Num       RefCount Protocol Flags    Type St Inode Path"
    zero = "0000000000000000"
    assert lines[1:] == [
        f"{zero}: 00000002 00000000 00010000 0001 01 {inode(task, listener):5} @name@x",
        f"{zero}: 00000003 00000000 00000000 0001 03 {inode(task, client):5}",
        f"{zero}: 00000003 00000000 00000000 0001 02     0 @name@x",
        f"{zero}: 00000002 00000000 00000000 0002 01 {inode(task, lone):5} path",
    ]
    child, _ = sys_accept(task, listener)
    assert task.net.proc["net/unix"]().splitlines()[3].split()[5:] == ["03", str(inode(task, child)), "@name@x"]


def test_closed_sockets_are_not_listed(unix: Unix, kind: int) -> None:
    for sock in unix.pair(kind):
        unix.close(sock)
    assert proc_unix(unix.sk(unix.socket(kind)).unix).count("\n") == 2


def test_ss(task: Task) -> None:
    listener = sys_socket(task, 1, STREAM)
    sys_bind(task, listener, "control")
    sys_listen(task, listener, 5)
    first, second = (inode(task, fd) for fd in sys_socketpair(task, 1, DGRAM))
    header, listening, one, two = (
        line.split() for line in ss_table(task.net, tcp=False, udp=False, unix=True).splitlines()
    )
    assert header[0] == "Netid"
    assert listening == ["u_str", "LISTEN", "0", "5", "control", str(inode(task, listener)), "*", "0"]
    assert one == ["u_dgr", "ESTAB", "0", "0", "*", str(first), "*", str(second)]
    assert two[4:] == ["*", str(second), "*", str(first)]
    assert "u_dgr" not in ss_table(task.net, unix=True, listening=True)


def test_the_node_of_a_socket(unix: Unix) -> None:
    sock = unix.socket(STREAM)
    with raises(errno.ENOENT):
        unix.ioctl(sock, SIOCUNIXFILE)
    unix.bind(sock, "node")
    fd = unix.ioctl(sock, SIOCUNIXFILE)
    try:
        assert os.fstat(fd).st_ino == Path("node").stat().st_ino
    finally:
        os.close(fd)
    Path("node").rename("elsewhere")
    Path("node").touch()
    with raises(errno.ENOENT):
        unix.ioctl(sock, SIOCUNIXFILE)
    unix.creds = Credentials(1, uid=5, caps=NO_CAPS)
    with raises(errno.EPERM):
        unix.ioctl(unix.socket(STREAM), SIOCUNIXFILE)


def test_paths_belong_to_the_file_system_and_abstract_names_to_the_namespace() -> None:
    kernel = Kernel.boot(clock="virtual", seed=1, entry_points=False)
    here = Task.for_kernel(kernel)
    there = Task.for_kernel(kernel, net=kernel.new_net("other"))
    for name in ("path", b"\0abstract"):
        listener = sys_socket(here, 1, STREAM)
        sys_bind(here, listener, name)
        sys_listen(here, listener, 1)
    client = sys_socket(there, 1, STREAM)
    sys_connect(there, client, "path")
    assert sys_getpeername(there, client) == "path"
    with raises(errno.ECONNREFUSED):
        sys_connect(there, sys_socket(there, 1, STREAM), b"\0abstract")
