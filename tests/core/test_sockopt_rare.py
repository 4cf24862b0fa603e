"""Options whose value stands in Sock.ext: what parity cannot compare."""

from __future__ import annotations

import ctypes
import errno
import socket
from struct import pack, unpack

import pytest
from support.option_api import Ours, Real, outcome
from support.refused import refused

from pysock.core.sock_ext import DEFAULTS, SockExt
from pysock.syscalls.socket import sys_getsockopt, sys_socket
from pysock.uapi import filter as bpf
from pysock.uapi import socket as so
from pysock.vfs.task import Task

INET, DGRAM, STREAM = socket.AF_INET, socket.SOCK_DGRAM, socket.SOCK_STREAM


@pytest.fixture
def api() -> Ours:
    return Ours()


def number(api: Ours, fd: int, optname: int) -> int:
    return int.from_bytes(api.get(fd, optname, 8), "little")


def test_a_cookie_is_one_socket_s(api: Ours) -> None:
    fds = [api.socket(INET, DGRAM), api.socket(INET, STREAM), api.socket(socket.AF_UNIX, STREAM)]
    cookies = [number(api, fd, so.SO_COOKIE) for fd in fds]
    assert len(set(cookies)) == 3
    assert [number(api, fd, so.SO_COOKIE) for fd in fds] == cookies


def test_a_netns_cookie_is_one_namespace_s(api: Ours) -> None:
    kernel = api.task.kernel
    other = Task.for_kernel(kernel, net=kernel.new_net("other"))
    there = sys_socket(other, INET, DGRAM)
    ours = [number(api, api.socket(INET, type), so.SO_NETNS_COOKIE) for type in (DGRAM, STREAM)]
    assert ours[0] == ours[1]
    assert sys_getsockopt(other, there, so.SOL_SOCKET, so.SO_NETNS_COOKIE, 8) != pack("=Q", ours[0])


def test_most_sockets_have_no_ext(api: Ours) -> None:
    fd = api.bound(DGRAM)
    api.send(fd, b"x", api.name(fd))
    for optname in (so.SO_MEMINFO, so.SO_PEEK_OFF, so.SO_MAX_PACING_RATE, so.SO_TIMESTAMPING, so.SO_LINGER):
        api.get(fd, optname, 64)
    sock = api.task.fds[fd].socket
    assert sock is not None
    assert sock.sk.ext is None
    assert all(getattr(DEFAULTS, name) == getattr(SockExt(), name) for name in SockExt.__slots__)


def test_the_program_can_be_read_back() -> None:
    raw = bpf.pack_program([bpf.stmt(bpf.BPF_LD | bpf.BPF_LEN), bpf.stmt(bpf.BPF_RET | bpf.BPF_A)])
    array = ctypes.create_string_buffer(raw, len(raw))
    for api in (Ours(), Real()):
        sock = api.socket(INET, DGRAM)
        assert api.get(sock, so.SO_GET_FILTER, 64) == b""
        api.set(sock, so.SO_ATTACH_FILTER, bpf.SOCK_FPROG.pack(2, ctypes.addressof(array)))
        assert outcome(api.get, sock, so.SO_GET_FILTER, 1) == "EINVAL"
        found = api.get(sock, so.SO_GET_FILTER, 64)
        # Linux tells the number of instructions where others tell bytes, so CPython cuts the answer there.
        assert found == (raw if isinstance(api, Ours) else raw[:2])
        api.close()


def test_a_connection_has_the_listener_s_filter(api: Ours) -> None:
    raw = bpf.pack_program([bpf.stmt(bpf.BPF_RET, 0xFFFF)])
    array = ctypes.create_string_buffer(raw, len(raw))
    listener = api.listener()
    api.set(listener, so.SO_ATTACH_FILTER, bpf.SOCK_FPROG.pack(1, ctypes.addressof(array)))
    api.set(listener, so.SO_LOCK_FILTER, pack("=i", 1))
    client = api.socket(INET, STREAM)
    api.connect(client, api.name(listener))
    child = api.accept(listener)
    assert api.get(child, so.SO_GET_FILTER, 9) == raw
    assert outcome(api.set, child, so.SO_DETACH_FILTER, pack("=i", 0)) == "EPERM"


def test_timestamping_ids(api: Ours) -> None:
    ident, ident_tcp = so.SOF_TIMESTAMPING_OPT_ID, so.SOF_TIMESTAMPING_OPT_ID_TCP
    udp, tcp = api.socket(INET, DGRAM), api.socket(INET, STREAM)
    api.set(udp, so.SO_TIMESTAMPING, pack("=i", ident))
    for fd, flags in ((tcp, ident), (udp, ident_tcp), (udp, so.SOF_TIMESTAMPING_OPT_STATS)):
        with refused(errno.EINVAL):
            api.set(fd, so.SO_TIMESTAMPING, pack("=i", flags))
    api.set(udp, so.SO_TIMESTAMPING, pack("=i", ident | ident_tcp | 0x1800))
    assert unpack("=ii", api.get(udp, so.SO_TIMESTAMPING, 8)) == (ident | ident_tcp | 0x1800, 0)


def test_extended_programs_are_unknown(api: Ours) -> None:
    fd = api.socket(INET, DGRAM)
    for optname in (so.SO_ATTACH_BPF, so.SO_ATTACH_REUSEPORT_EBPF):
        with refused(errno.EBADF):
            api.set(fd, optname, pack("=i", 3))
        with refused(errno.EINVAL):
            api.set(fd, optname, bytes(8))


def test_a_reuseport_program_needs_reuseport(api: Ours) -> None:
    raw = bpf.pack_program([bpf.stmt(bpf.BPF_RET, 0)])
    array = ctypes.create_string_buffer(raw, len(raw))
    fprog = bpf.SOCK_FPROG.pack(1, ctypes.addressof(array))
    fd = api.socket(INET, DGRAM)
    with refused(errno.EINVAL):
        api.set(fd, so.SO_ATTACH_REUSEPORT_CBPF, fprog)
    api.set(fd, so.SO_REUSEPORT, pack("=i", 1))
    api.set(fd, so.SO_ATTACH_REUSEPORT_CBPF, fprog)
    listener = api.listener()
    with refused(errno.EINVAL):
        api.set(listener, so.SO_DETACH_REUSEPORT_BPF, pack("=i", 0))
