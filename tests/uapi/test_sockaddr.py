"""struct sockaddr codecs: exact bytes, round trips, refusals."""

from __future__ import annotations

import ctypes
import os
import socket
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.uapi import sockaddr as sa

PORTS = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)


def test_in_is_the_c_struct() -> None:
    raw = sa.pack_in(("127.0.0.1", 8080))
    assert raw == b"\x02\x00\x1f\x90\x7f\x00\x00\x01" + bytes(8)
    assert sa.unpack_in(raw) == ("127.0.0.1", 8080)
    assert sa.unpack_in(raw[:8]) == ("127.0.0.1", 8080)


def test_in6_is_the_c_struct() -> None:
    raw = sa.pack_in6(("::1", 80, 0x12345, 3))
    assert raw == b"\x0a\x00\x00\x50\x00\x01\x23\x45" + bytes(15) + b"\x01" + b"\x03\x00\x00\x00"
    assert sa.unpack_in6(raw) == ("::1", 80, 0x12345, 3)
    assert sa.unpack_in6(raw[:24]) == ("::1", 80, 0x12345, 0)
    assert sa.pack_in6(("::1", 80)) == sa.pack_in6(("::1", 80, 0, 0))


def test_un_kinds() -> None:
    assert sa.pack_un("/tmp/x") == b"\x01\x00/tmp/x\x00"
    assert sa.unpack_un(b"\x01\x00/tmp/x\x00") == "/tmp/x"
    assert sa.unpack_un(b"\x01\x00/tmp/x\x00garbage") == "/tmp/x"
    assert sa.pack_un(b"\x00name") == b"\x01\x00\x00name"
    assert sa.unpack_un(b"\x01\x00\x00name") == b"\x00name"
    assert sa.pack_un("") == b"\x01\x00"
    assert sa.unpack_un(b"\x01\x00") == ""
    assert sa.unpack_un(sa.pack_un(b"/\xff")) == os.fsdecode(b"/\xff")


@pytest.mark.parametrize("path", ["a" * 107, b"\0" + b"a" * 107])
def test_un_longest(path: str | bytes) -> None:
    assert len(sa.pack_un(path)) == 110
    assert sa.unpack_un(sa.pack_un(path)) == path
    with pytest.raises(ValueError, match="too long"):
        sa.pack_un(path + path[-1:])


def test_ll_and_nl() -> None:
    address = (2, 0x0800, 0, 1, b"\2\0\0\0\0\1")
    assert sa.pack_ll(address) == b"\x11\0\x08\0\2\0\0\0\1\0\0\x06\2\0\0\0\0\1\0\0"
    assert sa.unpack_ll(sa.pack_ll(address)) == address
    assert sa.pack_nl((1234, 5)) == b"\x10\0\0\0\xd2\4\0\0\5\0\0\0"
    assert sa.unpack_nl(sa.pack_nl((1234, 5))) == (1234, 5)


@given(st.ip_addresses(v=4), PORTS)
def test_in_round_trip(ip: object, port: int) -> None:
    assert sa.unpack(sa.pack_in((str(ip), port))) == (str(ip), port)


@given(st.binary(min_size=16, max_size=16), PORTS, st.integers(0, 0xFFFFF), U32)
def test_in6_round_trip(ip: bytes, port: int, flowinfo: int, scope: int) -> None:
    host = socket.inet_ntop(socket.AF_INET6, ip)
    assert sa.unpack(sa.pack_in6((host, port, flowinfo, scope))) == (host, port, flowinfo, scope)


@given(
    st.tuples(st.integers(0, 0x7FFFFFFF), PORTS, st.integers(0, 255), PORTS, st.binary(max_size=8)),
    st.tuples(U32, U32),
)
def test_ll_nl_round_trip(ll: tuple[int, int, int, int, bytes], nl: tuple[int, int]) -> None:
    assert sa.unpack(sa.pack_ll(ll)) == ll
    assert sa.unpack(sa.pack_nl(nl)) == nl


@given(st.binary(max_size=130))
def test_any_bytes_unpack_or_are_a_value_error(raw: bytes) -> None:
    try:
        address = sa.unpack(raw)
    except ValueError:
        return
    assert isinstance(address, (tuple, str, bytes))


@given(
    st.sampled_from([sa.unpack_in, sa.unpack_in6, sa.unpack_un, sa.unpack_ll, sa.unpack_nl]),
    st.sampled_from([1, 2, 10, 16, 17]),
    st.binary(max_size=40),
)
def test_a_known_family_with_any_tail_unpacks_or_is_a_value_error(unpack: object, family: int, tail: bytes) -> None:
    assert callable(unpack)
    try:
        unpack(bytes([family, 0]) + tail)
    except ValueError:
        return


@pytest.mark.parametrize(
    "call",
    [
        lambda: sa.pack_in(("localhost", 80)),
        lambda: sa.pack_in(("127.1", 80)),
        lambda: sa.pack_in(("127.0.0.1", 65536)),
        lambda: sa.pack_in(("127.0.0.1", -1)),
        lambda: sa.pack_in6(("127.0.0.1", 80)),
        lambda: sa.pack_in6(("::1", 80, 0x100000)),
        lambda: sa.pack_in6(("::1", 80, 0, -1)),
        lambda: sa.pack_ll((1, 0, 0, 0, b"123456789")),
        lambda: sa.pack_ll((1, 65536, 0, 0, b"")),
        lambda: sa.pack_ll((-1, 0, 0, 0, b"")),
        lambda: sa.pack_nl((-1, 0)),
        lambda: sa.unpack_in(sa.pack_nl((0, 0))),
        lambda: sa.unpack_in(b"\2\0\0"),
        lambda: sa.unpack_in6(bytes(28)),
        lambda: sa.family_of(b"\2"),
        lambda: sa.unpack(b"\xee\xee"),
    ],
)
def test_refusals_are_value_errors(call: object) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=r"."):
        call()


def test_the_kernel_agrees_about_sockaddr_in_and_un() -> None:
    """getsockname of the C library fills the struct that unpack reads."""
    libc = ctypes.CDLL(None, use_errno=True)
    buf = ctypes.create_string_buffer(128)
    length = ctypes.c_uint32(128)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        assert libc.getsockname(sock.fileno(), buf, ctypes.byref(length)) == 0
        assert sa.unpack(buf.raw[: length.value]) == sock.getsockname()
        assert sa.pack_in(sock.getsockname()) == buf.raw[: length.value]
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{folder}/s")
        length.value = 128
        assert libc.getsockname(sock.fileno(), buf, ctypes.byref(length)) == 0
        assert sa.unpack(buf.raw[: length.value]) == sock.getsockname()
        assert sa.pack_un(f"{folder}/s") == buf.raw[: length.value]
