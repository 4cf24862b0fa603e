"""sockfs: the file system that sockets live in. It hands out inode numbers and makes the File of a Socket."""

from __future__ import annotations

import errno
import itertools

from pysock.core.errors import err
from pysock.core.sock import NO_OPS
from pysock.uapi.fcntl import O_NONBLOCK, O_RDWR, S_IFSOCK
from pysock.uapi.poll import EPOLLHUP
from pysock.uapi.socket import MSG_DONTWAIT, MSG_EOR, SOCK_SEQPACKET
from pysock.vfs.file import File
from pysock.vfs.inode import Inode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.kernel import Kernel
    from pysock.core.sock import PollTable, Socket
    from pysock.vfs.fdtable import FdTable

#: Permission bits of a socket's inode on Linux.
_SOCK_MODE: Final = S_IFSOCK | 0o777
_ANON_MODE: Final = 0o600
_FIRST_INO: Final = 1024


class SockFs:
    """The mounted sockfs of one Kernel; it numbers anonymous inodes (epoll, eventfd) too."""

    __slots__ = ("_next_ino",)

    def __init__(self) -> None:
        self._next_ino = itertools.count(_FIRST_INO).__next__

    @classmethod
    def of(cls, kernel: Kernel) -> SockFs:
        """The sockfs of ``kernel``, mounted at the first use."""
        net = kernel.init_net
        if not net.has(cls):
            net.set(cls())
        return net.get(cls)

    def alloc_file(self, sock: Socket, flags: int = 0) -> SocketFile:
        """sock_alloc_file(): the inode and the file of ``sock``; ``flags`` may hold O_NONBLOCK."""
        return SocketFile(Inode(self._next_ino(), _SOCK_MODE, sock), flags & O_NONBLOCK, sock)

    def anon_inode(self) -> Inode:
        """An inode for a file that is no socket (anon_inode_getfile)."""
        return Inode(self._next_ino(), _ANON_MODE)


class SocketFile(File):
    """A file whose inode holds a socket (socket_file_ops)."""

    __slots__ = ()

    def __init__(self, f_inode: Inode, f_flags: int, socket: Socket) -> None:
        # What File's does, without the call: a connection opens two of these.
        self.f_inode = f_inode
        self.f_flags = f_flags | O_RDWR
        self.f_count = self.f_waiters = 0
        self.f_ep = None
        self.socket = socket
        socket.file = self

    def read(self, size: int) -> bytes:
        """sock_read_iter(): reading nothing returns at once, without a look at the socket."""
        if size == 0:
            return b""
        sock = self.socket
        assert sock is not None
        return sock.ops.recvmsg(sock, size, MSG_DONTWAIT if self.f_flags & O_NONBLOCK else 0)

    def write(self, data: bytes) -> int:
        """sock_write_iter(): a write on a sequenced-packet socket is one record."""
        sock = self.socket
        assert sock is not None
        flags = MSG_DONTWAIT if self.f_flags & O_NONBLOCK else 0
        if sock.type == SOCK_SEQPACKET:
            flags |= MSG_EOR
        return sock.ops.sendmsg(sock, data, flags)

    def poll(self, table: PollTable | None) -> int:
        sock = self.socket
        assert sock is not None
        return sock.ops.poll(sock, table)

    def ioctl(self, cmd: int, arg: bytes | int) -> bytes | int:
        """sock_ioctl(): the family's answer, else the devices', which sockets of all families can ask."""
        sock = self.socket
        assert sock is not None
        try:
            return sock.ops.ioctl(sock, cmd, arg)
        except OSError as exc:
            if exc.errno != errno.ENOTTY or isinstance(arg, int):
                raise
        from pysock.core.ifioctl import sock_ioctl

        return sock_ioctl(sock.sk.net, sock.sk.creds, cmd, arg)

    def release(self) -> None:
        """sock_close(): the family lets go of the socket; this may linger."""
        sock = self.socket
        assert sock is not None
        ops = sock.ops
        if ops is not NO_OPS:
            sk = sock.sk
            try:
                ops.release(sock)
            finally:
                sock.ops = NO_OPS
            queue = sk.wait_queue
            if queue is not None and queue.entries:
                queue.wake_all(EPOLLHUP)  # pollers see that the file is gone
        sock.file = None


def sockfd_lookup(files: FdTable, fd: int) -> Socket:
    """The socket behind ``fd``. EBADF when the number is not open, ENOTSOCK when it names something else."""
    file = files.files.get(fd)
    if file is None:
        raise err(errno.EBADF)
    sock = file.socket
    if sock is None:
        raise err(errno.ENOTSOCK)
    return sock
