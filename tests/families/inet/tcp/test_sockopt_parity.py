"""Every option number at IPPROTO_TCP, on pysock and on the kernel of this machine: the same values, the same errors."""

from __future__ import annotations

import socket
from struct import pack

import pytest
from support.option_api import Ours, Real, outcome

from pysock.syscalls.socket import sys_getsockopt, sys_setsockopt
from pysock.uapi import tcp as u

KINDS = {
    "fresh": lambda api: api.socket(socket.AF_INET, socket.SOCK_STREAM),
    "connected": lambda api: api.tcp_connection(),
    "listening": lambda api: api.listener(),
}

#: Their values depend on the machine: only errors and lengths are compared.
VALUE_DIFFERS = {
    u.TCP_MAXSEG: "the kernel's loopback has another MTU",
    u.TCP_WINDOW_CLAMP: "holds the size of the receive buffer",
    u.TCP_INFO: "see test_sockopt",
    u.TCP_TIMESTAMP: "a clock",
}
SKIPPED = {
    u.TCP_ZEROCOPY_RECEIVE: "the kernel maps its pages into the caller",
    u.TCP_REPAIR: "we refuse it, the kernel allows it to root",
    u.TCP_MD5SIG: "ENOPROTOOPT or EINVAL: built into the kernel or not",
    u.TCP_MD5SIG_EXT: "ENOPROTOOPT or EINVAL: built into the kernel or not",
}
#: Numbers that kernels of different age answer differently.
YOUNG = range(38, 50)


def put(api: Ours | Real, sock: object, optname: int, value: bytes) -> None:
    if isinstance(api, Ours):
        sys_setsockopt(api.task, sock, socket.IPPROTO_TCP, optname, value)  # type: ignore[arg-type]
    else:
        sock.setsockopt(socket.IPPROTO_TCP, optname, value)  # type: ignore[attr-defined]


def get(api: Ours | Real, sock: object, optname: int, size: int) -> bytes:
    if isinstance(api, Ours):
        return sys_getsockopt(api.task, sock, socket.IPPROTO_TCP, optname, size)  # type: ignore[arg-type]
    return sock.getsockopt(socket.IPPROTO_TCP, optname, size)  # type: ignore[attr-defined, no-any-return]


def walk(api: Ours | Real, sock: object, optname: int) -> dict[str, object]:
    """What one option answers to everything."""
    seen: dict[str, object] = {f"get {size}": outcome(get, api, sock, optname, size) for size in (4, 1, 8, 64)}
    for name, value in (
        ("1", pack("=i", 1)),
        ("-1", pack("=i", -1)),
        ("7", pack("=i", 7)),
        ("1000", pack("=i", 1000)),
        ("160000", pack("=i", 160_000)),
        ("huge", pack("=i", 0x7FFFFFFF)),
        ("short", b"\1\0"),
        ("empty", b""),
        ("0", pack("=i", 0)),
        ("two", pack("=ii", 1, 1)),
        ("zeros", bytes(64)),
        ("name", b"reno"),
        ("key", bytes(range(16))),
    ):
        seen[f"set {name}"] = outcome(put, api, sock, optname, value)
        seen[f"get after {name}"] = outcome(get, api, sock, optname, 64)
    return seen


def blur(seen: dict[str, object]) -> dict[str, object]:
    """Values by their length; errors, in capitals, as they are."""
    return {key: value if str(value).isupper() else len(str(value)) for key, value in seen.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_option(kind: str) -> None:
    ours, real = Ours(), Real()
    different = {}
    for optname in range(1, 51):
        if optname in SKIPPED:
            continue
        mine, theirs = KINDS[kind](ours), KINDS[kind](real)
        for api, sock in ((ours, mine), (real, theirs)):
            put(api, sock, u.TCP_CONGESTION, b"reno")
        here, there = walk(ours, mine, optname), walk(real, theirs, optname)
        if optname in YOUNG and {there["get 64"], there["set 1"]} == {"ENOPROTOOPT"}:
            continue
        if optname in VALUE_DIFFERS:
            here, there = blur(here), blur(there)
        if here != there:
            different[optname] = {k: (here[k], there[k]) for k in here if here[k] != there[k]}
    ours.close()
    real.close()
    assert not different, "\n".join(f"{name}: {what}" for name, what in different.items())
