"""ioctls whose argument holds a pointer, as programs make them: the same test on the operating system and on pysock."""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import socket
import struct
from collections.abc import Iterator

import pytest

import pysock
from pysock.uapi import ethtool as et
from pysock.uapi.ioctl import SIOCETHTOOL, SIOCGIFCONF


@pytest.fixture(params=["pysock", "real"], autouse=True)
def under_both(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "pysock":
        with pysock.patch():
            yield
    else:
        yield


@pytest.fixture(params=["inet", "inet6", "unix"])
def sock(request: pytest.FixtureRequest, under_both: None) -> Iterator[socket.socket]:
    """Devices can be asked through a socket of any family."""
    families = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}
    try:
        made = socket.socket(families[request.param], socket.SOCK_DGRAM)
    except OSError as exc:
        pytest.skip(f"no {request.param} sockets here: {exc}")
    with made:
        yield made


def ethtool(sock: socket.socket, name: bytes, request: bytes) -> bytes:
    """As scripts do it: an array with the structure, and a struct ifreq that points to it."""
    data = array.array("B", request)
    ifreq = struct.pack("16sP16x", name, data.buffer_info()[0])
    assert fcntl.ioctl(sock.fileno(), SIOCETHTOOL, ifreq) == ifreq
    return data.tobytes()


def number(sock: socket.socket, name: bytes, cmd: int) -> int:
    found: int = struct.unpack("=II", ethtool(sock, name, struct.pack("=II", cmd, 0)))[1]
    return found


def test_what_the_loopback_device_answers(sock: socket.socket) -> None:
    for cmd in (et.ETHTOOL_GSG, et.ETHTOOL_GTXCSUM, et.ETHTOOL_GRXCSUM):
        assert number(sock, b"lo", cmd) == 1
    assert number(sock, b"lo:1", et.ETHTOOL_GSG) == 1
    refusals = (
        et.ETHTOOL_GSET, et.ETHTOOL_GDRVINFO, et.ETHTOOL_GMSGLVL, et.ETHTOOL_GCOALESCE, et.ETHTOOL_GRINGPARAM,
        et.ETHTOOL_GPAUSEPARAM, et.ETHTOOL_GSTATS, et.ETHTOOL_GCHANNELS, et.ETHTOOL_GLINKSETTINGS,
    )  # fmt: skip
    for cmd in refusals:
        with pytest.raises(OSError) as info:
            ethtool(sock, b"lo", struct.pack("=I", cmd) + bytes(196))
        assert info.value.errno == errno.EOPNOTSUPP


def test_a_feature_by_its_name(sock: socket.socket) -> None:
    """What `ethtool -k lo` does: how many strings, the strings, the bits."""
    info = ethtool(sock, b"lo", et.ETHTOOL_SSET_INFO.pack(et.ETHTOOL_GSSET_INFO, 0, 1 << et.ETH_SS_FEATURES) + bytes(4))
    count = struct.unpack_from("=I", info, 16)[0]
    head = et.ETHTOOL_GSTRINGS_HEAD.pack(et.ETHTOOL_GSTRINGS, et.ETH_SS_FEATURES, count)
    raw = ethtool(sock, b"lo", head + bytes(32 * count))[12:]
    names = [raw[at : at + 32].split(b"\0")[0] for at in range(0, len(raw), 32)]
    blocks = (count + 31) // 32
    raw = ethtool(sock, b"lo", struct.pack("=II", et.ETHTOOL_GFEATURES, blocks) + bytes(16 * blocks))
    assert raw[4:8] == struct.pack("=I", blocks)
    active = b"".join(raw[8 + 16 * n + 8 : 8 + 16 * n + 12] for n in range(blocks))
    on = {name for bit, name in enumerate(names) if active[bit // 8] >> bit % 8 & 1}
    assert {b"tx-scatter-gather", b"tx-checksum-ip-generic", b"rx-checksum", b"loopback"} <= on
    assert b"rx-lro" not in on


def test_wrong_pointers_and_names(sock: socket.socket) -> None:
    for pointer in (0, 1, 1 << 62):
        with pytest.raises(OSError) as info:
            fcntl.ioctl(sock, SIOCETHTOOL, bytearray(struct.pack("16sP16x", b"no such device", pointer)))
        assert info.value.errno == errno.EFAULT
    with pytest.raises(OSError) as info:
        ethtool(sock, b"no such device", bytes(4))
    assert info.value.errno == errno.ENODEV


def test_ifconf(under_both: None) -> None:
    """Without a buffer: how long the list is; with one: as many whole entries as fit."""
    with socket.socket() as sock:
        raw = bytearray(struct.pack("iP", 0, 0))
        assert fcntl.ioctl(sock, SIOCGIFCONF, raw) == 0
        length = struct.unpack_from("i", raw)[0]
        assert length >= 40
        assert length % 40 == 0
        memory = ctypes.create_string_buffer(length + 100)
        raw = bytearray(struct.pack("iP", length + 100, ctypes.addressof(memory)))
        fcntl.ioctl(sock, SIOCGIFCONF, raw)
        assert struct.unpack_from("i", raw)[0] == length
        entries = [memory.raw[at : at + 40] for at in range(0, length, 40)]
        found = [(one[:16].split(b"\0")[0], one[20:24]) for one in entries]
        assert (b"lo", b"\x7f\0\0\1") in found
        raw = bytearray(struct.pack("iP", 79, ctypes.addressof(memory)))
        fcntl.ioctl(sock, SIOCGIFCONF, raw)
        assert struct.unpack_from("i", raw)[0] == 40
