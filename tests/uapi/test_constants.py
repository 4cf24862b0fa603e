"""The numbers equal those of the interpreter's own modules wherever names coincide, and none is missing."""

from __future__ import annotations

import fcntl
import importlib
import os
import re
import select
import socket
import sys
import termios
from types import ModuleType

import pytest

from pysock.uapi import socket as uapi_socket
from pysock.uapi import tcp

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.uname().machine != "x86_64",
    reason="the numbers are those of Linux on x86-64",
)

TOPICS = ("socket", "in_", "in6", "tcp", "udp", "poll", "fcntl", "ioctl", "if_", "if_ether", "if_packet")
OTHERS = ("netlink", "netdb")
AT_LEAST = {"socket": 90, "in_": 40, "in6": 25, "tcp": 14, "poll": 20, "fcntl": 30, "ioctl": 6, "netdb": 20}


def ints(module: ModuleType) -> dict[str, int]:
    return {
        name: value
        for name, value in vars(module).items()
        if name[0].isupper() and isinstance(value, int) and not isinstance(value, bool)
    }


def theirs() -> dict[str, int]:
    found: dict[str, int] = {}
    for module in (socket, select, fcntl, termios, os):
        found.update(ints(module))
    return found


@pytest.mark.parametrize("topic", TOPICS + OTHERS)
def test_values_equal_the_interpreters(topic: str) -> None:
    ours = ints(importlib.import_module(f"pysock.uapi.{topic}"))
    real = theirs()
    common = ours.keys() & real.keys()
    assert {name: ours[name] for name in common} == {name: int(real[name]) for name in common}
    assert len(common) >= AT_LEAST.get(topic, 0)


def test_two_topics_never_disagree_about_a_name() -> None:
    seen: dict[str, int] = {}
    for topic in TOPICS + OTHERS:
        for name, value in ints(importlib.import_module(f"pysock.uapi.{topic}")).items():
            assert seen.setdefault(name, value) == value, name


# What the stdlib names and pysock leaves to plugins: other families' own options.
FOREIGN = re.compile(r"SO_(VM_SOCKETS|J1939)_|SCM_J1939_")
PREFIXES = re.compile(
    r"(AF|PF|SOCK|SOL|SO|SCM|MSG|SHUT|IPPROTO|IP|IPV6|INADDR|TCP|UDP|AI|EAI|NI|NETLINK|POLL|EPOLL|EPOLL_CTL|PACKET|IPPORT)_"
    r"|POLL|EPOLL|SOMAXCONN"
)


def test_no_name_of_the_stdlib_is_missing() -> None:
    ours: set[str] = set()
    for topic in TOPICS + OTHERS:
        ours |= ints(importlib.import_module(f"pysock.uapi.{topic}")).keys()
    names = {name for module in (socket, select) for name in ints(module) if PREFIXES.match(name)}
    assert len(names) > 200
    assert {name for name in names - ours if not FOREIGN.match(name)} == set()


def test_socketcall_numbers_are_1_to_20() -> None:
    numbers = [value for name, value in vars(uapi_socket).items() if name.startswith("SYS_")]
    assert numbers == list(range(1, 21))


def test_tcp_states_are_numbered_as_their_names() -> None:
    for state, name in enumerate(tcp.TCP_STATE_NAMES[1:], start=1):
        assert getattr(tcp, f"TCP_{name}") == state
        assert getattr(tcp, f"TCPF_{name}") == 1 << state
    assert len(tcp.TCP_STATE_NAMES) == tcp.TCP_MAX_STATES


def test_tcp_info_has_a_number_for_each_field() -> None:
    # The two nibbles of window scale share a byte, and so do the bits of the eighth.
    assert tcp.TCP_INFO_STRUCT.size == 280
    packed = tcp.TCP_INFO_STRUCT.pack(*range(len(tcp.TCP_INFO_FIELDS)))
    fields = dict(zip(tcp.TCP_INFO_FIELDS, tcp.TCP_INFO_STRUCT.unpack(packed), strict=True))
    assert fields["accecn_opt_seen"] == len(tcp.TCP_INFO_FIELDS) - 1


def test_tcp_info_layout_matches_this_kernel() -> None:
    """A real connection's struct tcp_info, read through our layout, makes sense."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b"x")
        raw = client.getsockopt(socket.SOL_TCP, socket.TCP_INFO, tcp.TCP_INFO_STRUCT.size)
    if len(raw) < tcp.TCP_INFO_STRUCT.size:
        pytest.skip("this kernel's struct tcp_info is shorter")
    info = dict(zip(tcp.TCP_INFO_FIELDS, tcp.TCP_INFO_STRUCT.unpack(raw), strict=True))
    assert info["state"] == tcp.TCP_ESTABLISHED
    assert info["snd_cwnd"] > 0
    assert info["bytes_sent"] == 1
    assert info["data_segs_out"] == 1
