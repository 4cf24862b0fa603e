"""What a child process finds behind the descriptors that it inherited: nothing that works.

fork(2) shares open files between two processes. A simulated network lives in the memory of one: the child has a copy,
in which the other ends of its connections are copies too, and talking to those would deceive it. So each inherited fd
keeps its number, and names a `ForkedFile`.
"""

from __future__ import annotations

import errno

from pysock.uapi.poll import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from pysock.vfs.file import File
from pysock.vfs.sockfs import SockFs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.sock import PollTable
    from pysock.vfs.inode import Inode
    from pysock.vfs.task import Task

_WHY = "this descriptor of pysock's belongs to the parent process: its network does not cross os.fork()"


def refuse() -> NoReturn:
    """EBADF, with the reason."""
    raise OSError(errno.EBADF, _WHY)


class ForkedFile(File):
    """A file that stayed with the parent. Every use is EBADF with a text that says why; pollers find it ready, so that
    they come to hear of it. It can be closed, and duplicated.
    """

    __slots__ = ()

    def __init__(self, inode: Inode, flags: int) -> None:
        self.f_inode = inode
        self.f_flags = flags
        self.f_count = self.f_waiters = 0
        self.f_ep = None

    @property
    def socket(self) -> NoReturn:  # type: ignore[override]  # whoever looks for a socket here is told
        refuse()

    def read(self, size: int) -> bytes:
        refuse()

    def write(self, data: bytes) -> int:
        refuse()

    def ioctl(self, cmd: int, arg: bytes | int) -> bytes | int:
        refuse()

    def poll(self, table: PollTable | None) -> int:
        return EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP


def orphan(task: Task, kernel: Kernel, net: Net) -> None:
    """Move ``task`` to ``kernel`` and ``net`` in a child process; its files stay behind."""
    files: dict[File, ForkedFile] = {}
    for fd, file in task.fds.items():
        if file not in files:
            files[file] = ForkedFile(file.f_inode, file.f_flags)
        task.fds[fd] = files[file]
        files[file].f_count += 1
    task.kernel = kernel
    task.net = net
    task.sockfs = SockFs.of(kernel)
