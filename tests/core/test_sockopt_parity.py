"""Every option number at SOL_SOCKET, on pysock and on the kernel of this machine: the same values, the same errors."""

from __future__ import annotations

import os
import socket
from struct import pack

import pytest
from support.option_api import Ours, Real, outcome

from pysock.uapi import socket as so

KINDS = {
    "tcp": lambda api: api.socket(socket.AF_INET, socket.SOCK_STREAM),
    "tcp-connected": lambda api: api.tcp_connection(),
    "tcp-listening": lambda api: api.listener(),
    "udp": lambda api: api.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "raw": lambda api: api.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "unix": lambda api: api.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "unix-stream": lambda api: api.pair(socket.SOCK_STREAM),
    "unix-dgram": lambda api: api.pair(socket.SOCK_DGRAM),
    "unix-seqpacket": lambda api: api.pair(socket.SOCK_SEQPACKET),
}

#: Their values depend on the machine: only errors and lengths are compared.
VALUE_DIFFERS = {
    so.SO_SNDBUF: "sizes and limits are the machine's",
    so.SO_RCVBUF: "sizes and limits are the machine's",
    so.SO_MEMINFO: "holds the two above",
    so.SO_COOKIE: "a number of the kernel's choice",
    so.SO_NETNS_COOKIE: "a number of the kernel's choice",
    so.SO_PEERPIDFD: "a new descriptor each time",
    so.SO_INCOMING_CPU: "the processor that the last packet came in on",
    so.SO_PEERNAME: "holds a port of the kernel's choice",
}
#: Numbers that kernels of different age answer differently.
YOUNG = range(59, 101)
SKIPPED = {
    so.SO_PEERSEC: "a security module may answer it",
    so.SO_ATTACH_BPF: "names descriptors of this process",
    so.SO_ATTACH_REUSEPORT_EBPF: "names descriptors of this process",
    so.SO_LOCK_FILTER: "cannot be undone: test_locked_filters",
}


def walk(api: Ours | Real, sock: object, optname: int) -> dict[str, object]:
    """What one option answers to everything."""

    def get(size: int) -> object:
        return outcome(api.get, sock, optname, size)

    def put(value: bytes) -> object:
        return outcome(api.set, sock, optname, value)

    seen: dict[str, object] = {f"get {size}": get(size) for size in (4, 1, 8, 64, 128)}
    for name, value in (
        ("1", pack("=i", 1)),
        ("-1", pack("=i", -1)),
        ("7", pack("=i", 7)),
        ("short", b"\1\0"),
        ("empty", b""),
        ("0", pack("=i", 0)),
        ("two", pack("=ii", 1, 1)),
        ("zeros", bytes(64)),
    ):
        seen[f"set {name}"] = put(value)
        seen[f"get after {name}"] = get(64)
    return seen


@pytest.fixture(scope="module")
def apis() -> object:
    ours, real = Ours(), Real()
    yield ours, real
    ours.close()
    real.close()


def blur(seen: dict[str, object]) -> dict[str, object]:
    """Values by their length; errors, in capitals, as they are."""
    return {key: value if str(value).isupper() else len(str(value)) for key, value in seen.items()}


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets, and options that need CAP_NET_ADMIN")
@pytest.mark.parametrize("kind", KINDS)
def test_every_option(apis: tuple[Ours, Real], kind: str) -> None:
    ours, real = apis
    mine, theirs = KINDS[kind](ours), KINDS[kind](real)
    different = {}
    for optname in range(101):
        if optname in SKIPPED:
            continue
        here, there = walk(ours, mine, optname), walk(real, theirs, optname)
        if optname in YOUNG and {there["get 64"], there["set 1"]} == {"ENOPROTOOPT"}:
            continue
        if optname in VALUE_DIFFERS:
            here, there = blur(here), blur(there)
        if here != there:
            different[optname] = {k: (here[k], there[k]) for k in here if here[k] != there[k]}
    assert not different, "\n".join(f"{name}: {what}" for name, what in different.items())


def test_locked_filters(apis: tuple[Ours, Real]) -> None:
    for api in apis:
        sock = KINDS["udp"](api)
        assert outcome(api.set, sock, so.SO_DETACH_FILTER, pack("=i", 0)) == "ENOENT"
        api.set(sock, so.SO_LOCK_FILTER, pack("=i", 1))
        for optname in (so.SO_LOCK_FILTER, so.SO_DETACH_FILTER, so.SO_ATTACH_BPF, so.SO_ATTACH_REUSEPORT_EBPF):
            assert outcome(api.set, sock, optname, pack("=i", 0)) == "EPERM"
        assert api.get(sock, so.SO_LOCK_FILTER, 4) == pack("=i", 1)
