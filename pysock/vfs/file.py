"""File: one open file description (struct file), which any number of fds may share.

A subclass is one kind of file: its methods are what Linux calls file_operations, its slots are private_data.
The base class answers as Linux does for an operation that the kind lacks.

Who holds a reference: each fd, each SCM_RIGHTS message in flight, and each call that sleeps (`File.pin`): as on
Linux, close(2) in another thread leaves the sleeping call alone. When a task ends (`File.interrupt`) its calls
lose theirs: the file is released, and the release of its kind wakes whoever sleeps on it (a family's
`ProtoOps.release` must: `Sock.state_change` does). The sleeper still has the objects it works on in its hands and
ends with whatever a closed one gives (end of file, or an error); it never touches the fd table again.

All methods are called with the kernel lock held and raise only OSError. `read` and `write` serve readv and
writev too, as Linux's read_iter and write_iter do: the syscall joins and scatters.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.uapi.fcntl import O_RDWR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.sock import PollTable, Socket
    from pysock.vfs.epitem import EpItem
    from pysock.vfs.inode import Inode


class File:
    """An open file. ``f_flags`` are O_* bits (O_NONBLOCK is the one that matters); ``f_count`` counts
    references.

    ``socket`` is the struct socket of a socket and None for every other kind: the socket calls test nothing
    else. ``f_ep`` lists the epoll items that watch this file, None while there are none. ``f_waiters`` of the
    references are calls that sleep.
    """

    __slots__ = ("f_count", "f_ep", "f_flags", "f_inode", "f_waiters", "socket")

    #: Whether `poll` means anything: epoll refuses other files with EPERM (file_can_poll).
    can_poll = True

    def __init__(self, f_inode: Inode, f_flags: int = 0, socket: Socket | None = None) -> None:
        self.f_inode = f_inode
        self.f_flags = f_flags | O_RDWR
        self.f_count = self.f_waiters = 0
        self.f_ep: list[EpItem] | None = None
        self.socket = socket

    # -- what kinds implement ------------------------------------------------------------------------------

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; b"" at the end of the file. EAGAIN instead of blocking with O_NONBLOCK."""
        raise err(errno.EINVAL)

    def write(self, data: bytes) -> int:
        """Write ``data``; return how many bytes were taken."""
        raise err(errno.EINVAL)

    def poll(self, table: PollTable | None) -> int:
        """Register with ``table`` (if any), and return the EPOLL* bits that hold now."""
        return 0

    def ioctl(self, cmd: int, arg: bytes | int) -> bytes | int:
        """An ioctl that is not everybody's: the changed argument (bytes) or a result (int)."""
        raise err(errno.ENOTTY)

    def release(self) -> None:
        """The last reference is gone."""

    def flags_changed(self) -> None:
        """``f_flags`` has new O_* bits (F_SETFL, FIONBIO)."""

    # -- references ----------------------------------------------------------------------------------------

    def get(self) -> File:
        """Take a reference (get_file)."""
        self.f_count += 1
        return self

    def put(self) -> None:
        """Give one back (fput). The last one takes the file out of every epoll, then releases it (__fput)."""
        self.f_count -= 1
        if self.f_count:
            return
        if self.f_ep:
            for item in self.f_ep[:]:
                item.detach()
        self.release()

    def pin(self) -> None:
        """A call on this file goes to sleep: it stays open until `unpin`."""
        self.f_count += 1
        self.f_waiters += 1

    def unpin(self) -> None:
        """The call ends."""
        if self.f_waiters:
            self.f_waiters -= 1
            self.put()

    def interrupt(self) -> None:
        """The task ends: calls that sleep no longer keep the file, and fail when it is released."""
        self.f_count -= self.f_waiters
        self.f_waiters = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ino={self.f_inode.i_ino} flags={self.f_flags:#x} refs={self.f_count}>"
