"""What a TLS connection takes from its socket: one record at a time, whatever arrives in whatever pieces."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pysock
from pysock.shim.patching import Patch
from pysock.shim.tlswire import TlsWire

records = st.lists(
    st.builds(
        lambda kind, body: bytes([kind, 3, 3]) + len(body).to_bytes(2, "big") + body,
        st.integers(20, 24),
        st.binary(max_size=50),
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def patched() -> Iterator[Patch]:
    with pysock.patch(seed=1) as active:
        yield active


@given(records, st.data())
def test_one_record_at_a_time(patched: Patch, records: list[bytes], data: st.DataObject) -> None:
    left, right = socket.socketpair()
    with left, right:
        wire, stream, taken = TlsWire(), b"".join(records), b""
        where = (patched.task, right.fileno())
        while stream:
            cut = data.draw(st.integers(1, len(stream)))
            left.send(stream[:cut])
            stream = stream[cut:]
            while wire.receive(*where):
                taken += wire.incoming.read()
                assert taken == records.pop(0)
                taken = b""
            taken += wire.incoming.read()
        assert records == []
        assert taken == b""


@given(st.binary(min_size=1, max_size=100))
def test_whatever_comes_is_passed_on(patched: Patch, stream: bytes) -> None:
    """No bytes are lost and none raise: OpenSSL is the judge."""
    left, right = socket.socketpair()
    with left, right:
        left.send(stream)
        left.close()
        wire, taken = TlsWire(), b""
        while not wire.incoming.eof:
            assert wire.receive(patched.task, right.fileno())
            taken += wire.incoming.read()
        assert taken == stream


def test_what_is_no_record_is_judged_by_its_first_five_bytes(patched: Patch) -> None:
    left, right = socket.socketpair()
    with left, right:
        left.send(b"GET / HTTP/1.0\r\n\r\n")
        wire = TlsWire()
        assert wire.receive(patched.task, right.fileno())
        assert wire.incoming.read() == b"GET /"


def test_what_the_socket_does_not_take_is_kept(patched: Patch) -> None:
    left, right = socket.socketpair()
    with left, right:
        wire, data = TlsWire(), bytes(range(256)) * 8192
        wire.outgoing.write(data)
        where = (patched.task, left.fileno())
        assert not wire.send(*where)
        got = b""
        while not wire.send(*where):
            got += right.recv(65536)
        left.close()
        while more := right.recv(65536):
            got += more
        assert got == data
