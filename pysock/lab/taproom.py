"""The program that makes TAP cables: in a network namespace of its own, pairs of TAP devices with a bridge between.

    python -I -S taproom.py FD          FD: its end of a sequenced-packet socket pair

    cable MTU     ->  "ok", with the descriptors of two TAP devices that the real kernel forwards between
    counters      ->  the namespace's /proc/net/dev
    what it can't ->  "ERRNO what, and what would help"

It needs no right but to open /dev/net/tun: without CAP_SYS_ADMIN it makes a user namespace, in which it may make
network namespaces and devices. Nothing of it is seen outside: the devices go with their descriptors, the namespace with
the last of its devices and this process, which ends when the other end of its socket is closed. It is no part of
pysock's stack and imports nothing of it, so that it starts fast; and it has one thread, which user namespaces ask for.
Nothing is imported once it has left for them: whose files these are may look different from there.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from contextlib import suppress

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TUNGETFEATURES = 0x800454CF
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_IFF_UP = 0x1
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCSIFMTU = 0x8922
_SIOCGIFINDEX = 0x8933
_SIOCBRADDBR, _SIOCBRADDIF = 0x89A0, 0x89A2
_TUN = "/dev/net/tun"
_SAYS = {
    errno.ENOENT: f"no {_TUN}: load the module (modprobe tun), or let the container have the device",
    errno.EACCES: f"may not open {_TUN}: it is usually open to all (crw-rw-rw-); ask for that, or run as root",
}


class Refused(Exception):
    """The system does not let us; the text says what."""

    def __init__(self, exc: OSError, doing: str) -> None:
        super().__init__(f"{exc.errno or 0} {doing}")


def unshare() -> None:
    """Leave for a network namespace of our own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) and libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        exc = OSError(ctypes.get_errno(), "")
        raise Refused(exc, "no network namespace of one's own: that takes CAP_SYS_ADMIN, or user namespaces for all")


class Room:
    """The namespace, from inside."""

    def __init__(self) -> None:
        self.made = 0
        unshare()
        with suppress(OSError):  # no neighbour solicitations of the real kernel on the cable, if that can be had
            for name in ("all", "default"):
                with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "wb") as file:
                    file.write(b"1")
        self.ioctls = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def cable(self, mtu: int) -> tuple[int, int]:
        """The descriptors of both ends."""
        number = self.made
        self.made += 1
        ends = (f"tap{number}a", f"tap{number}b")
        first = self.tap(ends[0])
        try:
            second = self.tap(ends[1])
        except BaseException:
            os.close(first)
            raise
        try:
            self.bridge(f"br{number}", ends, mtu)
        except BaseException:
            os.close(first)
            os.close(second)
            raise
        return first, second

    def tap(self, name: str) -> int:
        try:
            fd = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            missing = errno.ENOENT if exc.errno in (errno.ENODEV, errno.ENXIO) else exc.errno
            missing = errno.EACCES if missing == errno.EPERM else missing
            raise Refused(exc, _SAYS.get(missing or 0, f"{_TUN}: {exc.strerror}")) from exc
        try:
            features = struct.unpack("I", fcntl.ioctl(fd, _TUNGETFEATURES, bytes(4)))[0]
            flags = _IFF_TAP | _IFF_NO_PI | features & _IFF_VNET_HDR
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        except OSError as exc:
            os.close(fd)
            raise Refused(exc, f"making a TAP device: {exc.strerror}; that takes CAP_NET_ADMIN") from exc
        return fd

    def bridge(self, name: str, ends: tuple[str, str], mtu: int) -> None:
        """Join ``ends``: what comes in at the one goes out at the other."""
        try:
            fcntl.ioctl(self.ioctls, _SIOCBRADDBR, name.encode() + b"\0")
            for end in ends:
                fcntl.ioctl(self.ioctls, _SIOCSIFMTU, struct.pack("16si20x", end.encode(), mtu))
                found = fcntl.ioctl(self.ioctls, _SIOCGIFINDEX, struct.pack("16s24x", end.encode()))
                index = struct.unpack("16si20x", found)[1]
                fcntl.ioctl(self.ioctls, _SIOCBRADDIF, struct.pack("16si20x", name.encode(), index))
            for device in (*ends, name):
                found = fcntl.ioctl(self.ioctls, _SIOCGIFFLAGS, struct.pack("16s24x", device.encode()))
                flags = struct.unpack("16sH22x", found)[1] | _IFF_UP
                fcntl.ioctl(self.ioctls, _SIOCSIFFLAGS, struct.pack("16sH22x", device.encode(), flags))
        except OSError as exc:
            raise Refused(exc, f"joining two TAP devices by a bridge: {exc.strerror} (modprobe bridge?)") from exc


def main(peer: socket.socket) -> None:
    """Answer until the other end is closed."""
    room: Room | None = None
    while request := peer.recv(100).split():
        try:
            if room is None:
                room = Room()
            if request[0] == b"cable":
                ends = room.cable(int(request[1]))
                socket.send_fds(peer, [b"ok"], ends)
                for fd in ends:
                    os.close(fd)
            else:
                with open("/proc/self/net/dev", "rb") as file:
                    peer.send(file.read())
        except Refused as exc:
            peer.send(str(exc).encode())


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
