"""EventFd: a counter that can be waited for (eventfd(2))."""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.core.wait import WaitQueue
from pysock.uapi.fcntl import EFD_SEMAPHORE, O_NONBLOCK
from pysock.uapi.poll import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from pysock.vfs.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.kernel import Kernel
    from pysock.core.sock import PollTable
    from pysock.vfs.inode import Inode

_U64 = Struct("=Q")
_ULLONG_MAX: Final = (1 << 64) - 1


class EventFd(File):
    """``count`` never passes 2**64 - 2 by writing. With ``semaphore``, a read takes one instead of all."""

    __slots__ = ("count", "kernel", "semaphore", "wqh")

    def __init__(self, kernel: Kernel, inode: Inode, count: int, flags: int) -> None:
        super().__init__(inode, flags & O_NONBLOCK)
        self.kernel = kernel
        self.count = count
        self.semaphore = bool(flags & EFD_SEMAPHORE)
        self.wqh = WaitQueue()

    def read(self, size: int) -> bytes:
        """8 bytes of native-endian counter. EINVAL when ``size`` is too small, EAGAIN when it is zero
        (O_NONBLOCK).
        """
        if size < _U64.size:
            raise err(errno.EINVAL)
        while not self.count:
            self._wait()
        value = 1 if self.semaphore else self.count
        self.count -= value
        self.wqh.wake(EPOLLOUT)
        return _U64.pack(value)

    def write(self, data: bytes) -> int:
        """Add the number in the first 8 bytes. EINVAL for fewer bytes or 2**64 - 1, EAGAIN instead of
        overflowing.
        """
        if len(data) < _U64.size:
            raise err(errno.EINVAL)
        value: int = _U64.unpack_from(data)[0]
        if value == _ULLONG_MAX:
            raise err(errno.EINVAL)
        while _ULLONG_MAX - self.count <= value:
            self._wait()
        self.count += value
        self.wqh.wake(EPOLLIN)
        return _U64.size

    def poll(self, table: PollTable | None) -> int:
        if table is not None:
            table.wait(self.wqh)
        mask = EPOLLIN if self.count else 0
        if self.count < _ULLONG_MAX - 1:
            mask |= EPOLLOUT
        if self.count == _ULLONG_MAX:
            mask |= EPOLLERR
        return mask

    def release(self) -> None:
        self.wqh.wake_all(EPOLLHUP)

    def _wait(self) -> None:
        if self.f_flags & O_NONBLOCK or not self.f_count:
            raise err(errno.EAGAIN if self.f_count else errno.EBADF)
        self.pin()
        try:
            self.kernel.sleeper().wait_on(self.wqh)  # not exclusive: readers and writers share the queue
        finally:
            self.kernel.at_leave(self.unpin)
