"""Asking a device by SIOCETHTOOL, with a program's memory."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable

import pytest

from pysock.core.capability import CAP_NET_ADMIN, Credentials
from pysock.core.ethtool import dev_ethtool
from pysock.core.kernel import Kernel
from pysock.core.uaccess import UserMemory
from pysock.uapi import ethtool as et

ROOT = Credentials(pid=1)
USER = ROOT.drop(CAP_NET_ADMIN)
U32 = struct.Struct("=I")


def ask(kernel: Kernel, name: str, request: bytes, creds: Credentials = ROOT, room: int = 8192) -> tuple[int, bytes]:
    """The result of the ioctl, and the program's memory after it."""
    memory = ctypes.create_string_buffer(request, room)
    result = dev_ethtool(kernel.init_net, creds, name, UserMemory(ctypes.addressof(memory)))
    return result, memory.raw


def numbers(kernel: Kernel, name: str, cmd: int, count: int, creds: Credentials = ROOT) -> tuple[int, ...]:
    return struct.unpack_from(f"={count}I", ask(kernel, name, U32.pack(cmd), creds)[1], 4)


def put(kernel: Kernel, name: str, cmd: int, *values: int) -> None:
    ask(kernel, name, struct.pack(f"={len(values) + 1}I", cmd, *values))


def refused(call: Callable[..., object], *args: object) -> int | None:
    with pytest.raises(OSError) as info:
        call(*args)
    return info.value.errno


def strings(kernel: Kernel, name: str, stringset: int, room: int = 0) -> list[str]:
    raw = ask(kernel, name, struct.pack("=III", et.ETHTOOL_GSTRINGS, stringset, room))[1]
    count = U32.unpack_from(raw, 8)[0]
    return [raw[12 + 32 * n : 44 + 32 * n].split(b"\0")[0].decode() for n in range(count)]
