"""AF_INET6 addresses as programs write them (shim/address.py), against what CPython's own socket says to the same."""

from __future__ import annotations

import socket

import pytest

import pysock
from pysock.core.kernel import Kernel
from pysock.core.net import Net
from pysock.shim.address import parse
from pysock.uapi.socket import AF_INET6


@pytest.fixture
def net() -> Net:
    return Kernel.boot(clock="virtual", seed=1, entry_points=False).init_net


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        (("::1", 80), ("::1", 80, 0, 0)),
        (("::1", 80, 5), ("::1", 80, 5, 0)),
        (("0:0::0:1", 80, 5, 6), ("::1", 80, 5, 6)),
        (("", 80), ("::", 80, 0, 0)),
        (("localhost", 80), ("::1", 80, 0, 0)),
        (("fe80::1%lo", 80, 0, 3), ("fe80::1", 80, 0, 3)),
        (("fe80::1%7", 80), ("fe80::1", 80, 0, 0)),
        (("::ffff:127.0.0.1", 80), ("::ffff:127.0.0.1", 80, 0, 0)),
    ],
)
def test_shapes(net: Net, address: tuple[object, ...], parsed: tuple[object, ...]) -> None:
    for _ in range(2):  # the second time it is known
        assert parse(net, AF_INET6, address, "bind") == parsed


@pytest.mark.parametrize(
    "address",
    [
        "::1",
        ("::1",),
        ("::1", 80, 0, 0, 0),
        ("::1", 70000),
        ("::1", -1),
        ("::1", 80.0),
        ("::1", 80, 0.0, 0),
        ("::1", 80, 0, 0.0),
        ("::1", 80, 1 << 20),
        ("::1", "80"),
        (None, 80),
        ("127.0.0.1", 80),
    ],
)
def test_refusals_are_the_stdlibs(net: Net, address: object) -> None:
    parse(net, AF_INET6, ("::1", 80, 0, 0), "bind")  # known, and equal to some of these
    with socket.socket(AF_INET6, socket.SOCK_DGRAM) as real, pytest.raises(Exception) as theirs:
        real.bind(address)  # type: ignore[arg-type]
    with pytest.raises(type(theirs.value)) as ours:
        parse(net, AF_INET6, address, "bind")
    assert str(ours.value) == str(theirs.value)


def test_a_zone_that_is_no_device(net: Net) -> None:
    with pytest.raises(pysock.gaierror):
        parse(net, AF_INET6, ("fe80::1%nosuchdev", 80), "bind")
