"""Following one call."""

from __future__ import annotations

import sys

import pytest

import pysock
from pysock.tools.walk import Step, Walk, columns, compress, shorten


@pytest.fixture
def pair():  # type: ignore[no-untyped-def]
    import socket

    with pysock.patch(seed=1):
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
        with server, client, peer:
            yield client, peer


def test_one_sendall(pair) -> None:  # type: ignore[no-untyped-def]
    client, peer = pair
    before = sys.getprofile()
    with Walk("sendall") as walk:
        client.getsockname()
        client.sendall(b"hello")
        client.sendall(b"not followed")
    assert sys.getprofile() is before
    assert peer.recv(5) == b"hello"
    first, *below = walk.steps
    assert (first.depth, first.module, first.function) == (0, "shim.sockobj", "socket.sendall")
    assert all(step.depth >= 1 for step in below)
    names = [f"{step.room} {step.function.rpartition('.')[2]}" for step in compress(walk.steps)]
    # Down to the driver, then up the other side, in this order.
    story = [
        "shim sendall",
        "syscalls sys_sendto",
        "families transmit_skb",
        "families xmit_segment",
        "core queue_xmit",
        "drivers ndo_start_xmit",
        "core receive_skb",
        "families ip_rcv",
        "families tcp_rcv",
    ]
    places = [names.index(step) for step in story]
    assert places == sorted(places)
    lines = walk.text().splitlines()
    assert len(lines) == len(names)
    assert all(len(line) <= 100 for line in lines)
    assert lines[0].split()[:2] == ["shim", "sockobj:sendall"]


def test_what_the_ready_function_does_is_not_followed(pair) -> None:  # type: ignore[no-untyped-def]
    client, _ = pair
    called: list[int] = []

    def ready() -> None:
        client.getsockname()
        called.append(1)

    with Walk("sendall", ready=ready) as walk:
        client.sendall(b"x")
    assert called == [1]
    assert not any("getsockname" in step.function for step in walk.steps)


def test_a_call_that_never_comes_and_one_that_raises(pair) -> None:  # type: ignore[no-untyped-def]
    client, _ = pair
    with Walk("sendall") as walk:
        client.getsockname()
    assert walk.steps == []
    client.close()
    with Walk("sendall") as walk, pytest.raises(OSError):
        client.sendall(b"x")
    assert walk.steps[0].function == "socket.sendall"
    assert sys.getprofile() != walk._profile


def step(depth: int, function: str, module: str = "core.dev", says: str = "") -> Step:
    return Step(depth, module, function, 1, says)


def test_compression() -> None:
    steps = [
        step(0, "a"),
        step(1, "_private"),
        step(2, "C.b"),
        step(2, "C.b"),
        step(3, "C.__init__"),
        step(1, "C.b"),
        step(0, "<lambda>"),
        step(0, "end", "wire.tcp"),
    ]
    assert [(one.depth, one.function, one.times) for one in compress(steps)] == [
        (0, "a", 1),
        (1, "C.b", 3),
        (0, "end", 1),
    ]
    assert ["".join(parts).rstrip() for parts in columns(compress(steps), 60)] == [
        "core     dev:a",
        "          dev:b x3",
        "wire     tcp:end",
    ]
    assert columns([]) == []


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("fits", 12, "fits"),
        ("Nothing here, and then another", 20, "Nothing here"),
        ("A function of old (its Linux name, RFC 9293) and more", 35, "A function of old"),
        ("Averyveryverylongwordinfrontofall, yes", 20, "Averyveryverylong..."),
        ("too long for so little", 8, ""),
    ],
)
def test_sentences_are_cut_where_clauses_end(text: str, width: int, short: str) -> None:
    assert shorten(text, width) == short
    assert len(shorten(text, width)) <= width
