"""Socket addresses: tuples to bytes, and the errors of what is none."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, strategies
from support.dgram_api import fails

from pysock.families.inet.addr import host_bytes, host_text, is_loopback, is_multicast, parse


@given(strategies.binary(min_size=4, max_size=4), strategies.integers(0, 65535))
def test_there_and_back(raw: bytes, port: int) -> None:
    text = host_text(raw)
    assert text == ".".join(map(str, raw))
    assert parse((text, port)) == (raw, port)


def test_names_that_are_addresses() -> None:
    assert parse(("", 1)) == (bytes(4), 1)
    assert parse(("<broadcast>", 1)) == (b"\xff" * 4, 1)
    assert host_bytes("127.0.0.1") == b"\x7f\0\0\1"


NO_PAIRS = [None, "10.0.0.1", ("10.0.0.1",), ("10.0.0.1", 1, 2), ["10.0.0.1", 1], ("10.0.0.1", "1"), 5]


@pytest.mark.parametrize("addr", NO_PAIRS)
def test_shapes_that_are_wrong(addr: object) -> None:
    with pytest.raises(TypeError):
        parse(addr)


@pytest.mark.parametrize("port", [-1, 65536, 1 << 40])
def test_ports_out_of_range(port: int) -> None:
    with pytest.raises(OverflowError, match="port must be 0-65535"):
        parse(("10.0.0.1", port))


@pytest.mark.parametrize("host", ["localhost", "10.0.0", "10.0.0.256", "::1", " ", "10.0.0.1 ", "01.0.0.1", 7, b"x"])
def test_hosts_that_are_no_numbers(host: object) -> None:
    fails(errno.EINVAL, parse, (host, 1))


def test_kinds() -> None:
    assert is_loopback(bytes((127, 255, 0, 1)))
    assert not is_loopback(bytes((128, 0, 0, 1)))
    assert [is_multicast(bytes((first, 0, 0, 1))) for first in (223, 224, 239, 240)] == [False, True, True, False]
