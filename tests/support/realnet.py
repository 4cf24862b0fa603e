"""A network namespace of the real Linux, and real sockets in it: the other end of a TAP.

    with RealNet() as real:                     skips, saying why, where such a thing cannot be had
        real.adopt("pysock0", "10.77.0.1/24")   a device of ours moves in, gets addresses, comes up
        peer = real.socket(AF_INET, SOCK_STREAM)
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import socket
import subprocess
import threading
from types import TracebackType

import pytest

from support.patience import PATIENCE

_CLONE_NEWNET = 0x40000000


@functools.cache
def missing() -> str:
    """Why the real kernel cannot be the peer here; nothing if it can. It is tried: root in a container may have the
    device file, and not the rights.
    """
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    if shutil.which("ip") is None:
        return "no ip command (iproute2)"
    if os.geteuid() != 0:
        return "not root: network namespaces and TAP devices need CAP_NET_ADMIN"
    probe = f"pysockprobe{os.getpid()}"
    try:
        for words in (["netns", "add", probe], ["-n", probe, "tuntap", "add", "dev", "probe0", "mode", "tap"]):
            done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
            if done.returncode:
                return f"'ip {' '.join(words)}' says: {done.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
    return ""


def device_name() -> str:
    """One that no other process, nor an earlier test of this one, has."""
    device_name.made = getattr(device_name, "made", 0) + 1  # type: ignore[attr-defined]  # a counter
    return f"psk{os.getpid() % 0xFFFFFF:x}.{device_name.made}"  # type: ignore[attr-defined]


class RealNet:
    """One namespace; it and the devices in it go at the end."""

    def __init__(self) -> None:
        self.name = f"pysock{os.getpid()}"

    def __enter__(self) -> RealNet:
        reason = missing()
        if reason:
            pytest.skip(f"TAP: {reason}")
        self.ip("netns", "add", self.name)
        self.ip("-n", self.name, "link", "set", "lo", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.ip("netns", "del", self.name)

    @staticmethod
    def ip(*words: str) -> str:
        """The output of `ip WORDS`."""
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        assert not done.returncode, f"ip {' '.join(words)}: {done.stderr}"
        return done.stdout

    def adopt(self, device: str, *addresses: str) -> None:
        """Move ``device`` in, give it ``addresses``, bring it up."""
        self.ip("link", "set", device, "netns", self.name)
        for address in addresses:
            self.ip("-n", self.name, "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        self.ip("-n", self.name, "link", "set", device, "up")

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of the real kernel in this namespace, with a timeout against hangs."""
        found: list[socket.socket | OSError] = []

        def make() -> None:
            fd = os.open(f"/var/run/netns/{self.name}", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
                found.append(socket.socket(family, kind, protocol))
            except OSError as exc:
                found.append(exc)
            finally:
                os.close(fd)

        thread = threading.Thread(target=make)  # the namespace is a thread's
        thread.start()
        thread.join()
        made = found[0]
        if isinstance(made, OSError):
            raise made
        made.settimeout(PATIENCE)
        return made

    def popen(self, *command: str) -> subprocess.Popen[str]:
        """Start a program in this namespace."""
        words = ["ip", "netns", "exec", self.name, *command]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *command: str) -> str:
        """The output of a program in this namespace, which must succeed."""
        process = self.popen(*command)
        output, _ = process.communicate(timeout=PATIENCE)
        assert not process.returncode, f"{command}: {output}"
        return output
