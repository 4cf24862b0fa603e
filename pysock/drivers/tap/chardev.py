"""/dev/net/tun: an open queue of a TUN or TAP device, and errors that say what is missing.

Needs CAP_NET_ADMIN to make a device; none for a persistent one that belongs to the user
(`ip tuntap add dev NAME mode tap user USER`).
"""

from __future__ import annotations

import errno
import os
import weakref

from pysock.core.errors import err
from pysock.drivers.tap._libc import ffi
from pysock.uapi.if_ import IFNAMSIZ
from pysock.uapi.if_tun import (
    IFF_MULTI_QUEUE,
    IFF_NO_PI,
    IFF_TAP,
    IFF_TUN,
    IFF_VNET_HDR,
    TUN_F_CSUM,
    TUN_F_TSO4,
    TUN_F_TSO6,
    TUN_F_TSO_ECN,
    TUN_F_USO4,
    TUN_F_USO6,
    TUNGETFEATURES,
    TUNGETIFF,
    TUNSETIFF,
    TUNSETOFFLOAD,
    TUNSETOWNER,
    TUNSETPERSIST,
    TUNSETVNETHDRSZ,
)

PATH = "/dev/net/tun"
#: struct virtio_net_hdr without num_buffers.
VNET_HDR_SIZE = 10
_OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN
_USO = TUN_F_USO4 | TUN_F_USO6

_libc = ffi.dlopen(None)

#: Open in this process. A child that is forked closes its copies, or the devices would outlive their owner.
_open_queues: weakref.WeakSet[TunQueue] = weakref.WeakSet()


class TunQueue:
    """One open descriptor, non-blocking, attached to the real device ``name``; ``mode`` is "tap" or "tun".

    ``vnet_hdr``: each packet has a virtio_net_hdr of VNET_HDR_SIZE bytes in front. ``uso``: the kernel cuts UDP
    super-segments (6.2). ``fd`` is -1 once closed.
    """

    __slots__ = ("__weakref__", "fd", "mode", "name", "uso", "vnet_hdr")

    def __init__(
        self, name: str | None, *, mode: str = "tap", vnet_hdr: bool = True, multi_queue: bool = False
    ) -> None:
        """Attach to the device ``name``, making it if there is none (None: the kernel chooses a name).

        ENOENT, EPERM, EBUSY, EINVAL and other errors of tuntap.rst, each with a text that says what to do.
        """
        self._begin(name or "", mode)
        self.fd = _open()
        try:
            self.vnet_hdr = vnet_hdr and bool(self._get(TUNGETFEATURES) & IFF_VNET_HDR)
            flags = (IFF_TUN if mode == "tun" else IFF_TAP) | IFF_NO_PI
            flags |= IFF_VNET_HDR if self.vnet_hdr else 0
            flags |= IFF_MULTI_QUEUE if multi_queue else 0
            self._attach(flags)
            self._set_header_size()
        except BaseException:
            self.close()
            raise
        _open_queues.add(self)

    @classmethod
    def adopt(cls, fd: int) -> TunQueue:
        """Take over ``fd``, non-blocking and attached already: the way to a device in another network namespace, or of
        somebody with more rights. EBADFD for one that is attached to nothing, EINVAL for one with struct tun_pi.
        """
        queue = cls.__new__(cls)
        queue._begin("", "")
        queue.fd = fd
        request = ffi.new("struct ifreq *")
        queue._set(TUNGETIFF, request)
        flags = request.ifr_flags
        if not flags & IFF_NO_PI:
            raise err(errno.EINVAL, "the descriptor was attached without IFF_NO_PI")
        queue.name = os.fsdecode(ffi.string(request.ifr_name))
        queue.mode = "tap" if flags & IFF_TAP else "tun"
        queue.vnet_hdr = bool(flags & IFF_VNET_HDR)
        queue._set_header_size()
        _open_queues.add(queue)
        return queue

    def _begin(self, name: str, mode: str) -> None:
        self.mode = mode
        self.name = name
        self.uso = self.vnet_hdr = False
        self.fd = -1

    def _set_header_size(self) -> None:
        if self.vnet_hdr:
            self._set(TUNSETVNETHDRSZ, ffi.new("int *", VNET_HDR_SIZE))

    def _attach(self, flags: int) -> None:
        request = ffi.new("struct ifreq *")
        encoded = os.fsencode(self.name)
        if len(encoded) >= IFNAMSIZ:
            raise err(errno.EINVAL, f"{self.name!r} is too long for a device name (at most {IFNAMSIZ - 1} bytes)")
        request.ifr_name = encoded
        request.ifr_flags = flags
        if _libc.ioctl(self.fd, TUNSETIFF, request) < 0:
            raise err(ffi.errno, _attach_text(ffi.errno, self.name, self.mode, bool(flags & IFF_MULTI_QUEUE)))
        self.name = os.fsdecode(ffi.string(request.ifr_name))

    def _get(self, request: int) -> int:
        answer = ffi.new("unsigned int *")
        self._set(request, answer)
        return int(answer[0])

    def _set(self, request: int, argument: object) -> None:
        if _libc.ioctl(self.fd, request, argument) < 0:
            raise err(ffi.errno, f"{self.name or PATH}: ioctl {request:#x}: {os.strerror(ffi.errno)}")

    def _number(self, request: int, value: int) -> None:
        self._set(request, ffi.cast("unsigned long", value))

    def set_offload(self, on: bool) -> None:
        """Let the kernel hand us packets without checksums and super-segments, or not (TUNSETOFFLOAD)."""
        if on:
            try:
                self._number(TUNSETOFFLOAD, _OFFLOADS | _USO)
                self.uso = True
                return
            except OSError:  # before Linux 6.2
                self.uso = False
        self._number(TUNSETOFFLOAD, _OFFLOADS if on else 0)

    def set_persist(self, on: bool) -> None:
        """Whether the device stays when nobody has it open. EPERM without CAP_NET_ADMIN."""
        self._number(TUNSETPERSIST, 1 if on else 0)

    def set_owner(self, uid: int) -> None:
        """Let the user ``uid`` attach without CAP_NET_ADMIN. EPERM without CAP_NET_ADMIN."""
        self._number(TUNSETOWNER, uid)

    def close(self) -> None:
        """Let go of the device; one that is not persistent is gone with its last queue."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            _libc.close(fd)


def _open() -> int:
    fd = _libc.open(PATH.encode(), ffi.cast("int", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    if fd >= 0:
        return int(fd)
    number = ffi.errno
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        text = f"no {PATH}: load the module (modprobe tun), or let the container have the device"
    elif number in (errno.EACCES, errno.EPERM):
        text = f"may not open {PATH}: it is usually open to all (crw-rw-rw-); ask for that, or run as root"
    else:
        text = f"{PATH}: {os.strerror(number)}"
    raise err(number, text)


def _attach_text(number: int, name: str, mode: str, multi_queue: bool) -> str:
    """What is missing, and the command that helps."""
    what = f"{mode.upper()} device {name!r}" if name else f"a new {mode.upper()} device"
    if number == errno.EPERM:
        return (
            f"{what} needs CAP_NET_ADMIN, or a persistent device that belongs to you: "
            f"sudo ip tuntap add dev {name or mode + '0'} mode {mode} user {os.getuid()}"
        )
    if number == errno.EBUSY:
        return f"{what} is in use: another process has it open"
    if number == errno.EINVAL:
        queues = "has several queues" if not multi_queue else "has one queue"
        return f"{what}: the name belongs to a device of another kind, or the device {queues} (see multi_queue)"
    return f"{what}: {os.strerror(number)}"


def _close_in_child() -> None:
    for queue in list(_open_queues):
        queue.close()


os.register_at_fork(after_in_child=_close_in_child)
