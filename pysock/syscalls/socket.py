"""Making, naming and connecting sockets: socket(2), bind(2), listen(2), accept(2), connect(2) and their
kin.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.core.sock import Socket
from pysock.core.sockopt import sock_getsockopt, sock_setsockopt
from pysock.syscalls.again import look_again
from pysock.uapi.fcntl import O_NONBLOCK
from pysock.uapi.socket import (
    AF_MAX,
    SHUT_RD,
    SHUT_RDWR,
    SOCK_CLOEXEC,
    SOCK_MAX,
    SOCK_NONBLOCK,
    SOCK_TYPE_MASK,
    SOL_SOCKET,
    SOMAXCONN,
)
from pysock.vfs.sockfs import sockfd_lookup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.sock import Address
    from pysock.vfs.task import Task

_FLAGS: Final = SOCK_CLOEXEC | SOCK_NONBLOCK
_INT: Final = Struct("=i")
_INT_MAX: Final = (1 << 31) - 1


def sys_socket(task: Task, family: int, type: int, protocol: int = 0) -> int:
    """socket(2): a new fd. ``type`` may carry SOCK_NONBLOCK and SOCK_CLOEXEC.

    EAFNOSUPPORT; EINVAL for an unknown type or flag; EMFILE; ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM from the
    family.
    """
    flags = _split_flags(type)
    kernel = task.kernel
    kernel.enter()
    try:
        return _map(task, _create(task, family, type & SOCK_TYPE_MASK, protocol), flags)
    finally:
        kernel.leave()


def sys_socketpair(task: Task, family: int, type: int, protocol: int = 0) -> tuple[int, int]:
    """socketpair(2): two connected sockets. EOPNOTSUPP where the family has no pairs; else as
    `sys_socket`.
    """
    flags = _split_flags(type)
    kernel = task.kernel
    kernel.enter()
    try:
        first = _create(task, family, type & SOCK_TYPE_MASK, protocol)
        try:
            second = _create(task, family, type & SOCK_TYPE_MASK, protocol)
        except OSError:
            first.ops.release(first)
            raise
        try:
            first.ops.socketpair(first, second)
        except OSError:
            first.ops.release(first)
            second.ops.release(second)
            raise
        try:
            fd1 = _map(task, first, flags)
        except OSError:
            second.ops.release(second)
            raise
        try:
            return fd1, _map(task, second, flags)
        except OSError:
            task.files.close(fd1)
            raise
    finally:
        kernel.leave()


def _split_flags(type: int) -> int:
    flags = type & ~SOCK_TYPE_MASK
    if flags & ~_FLAGS:
        raise err(errno.EINVAL)
    return flags


def _create(task: Task, family: int, type: int, protocol: int) -> Socket:
    if not 0 <= family < AF_MAX:
        raise err(errno.EAFNOSUPPORT)
    if type >= SOCK_MAX:
        raise err(errno.EINVAL)
    return task.kernel.families.create(task.net, task.creds, family, type, protocol)


def _map(task: Task, sock: Socket, flags: int) -> int:
    """A file and an fd for ``sock`` (sock_map_fd). SOCK_NONBLOCK and O_NONBLOCK are the same bit."""
    try:
        return task.files.install(task.sockfs.alloc_file(sock, flags), bool(flags & SOCK_CLOEXEC))
    except OSError:
        sock.ops.release(sock)
        raise


def sys_bind(task: Task, fd: int, addr: Address) -> None:
    """bind(2): EADDRINUSE, EADDRNOTAVAIL, EACCES, EINVAL when it is bound already; what else the family
    says.
    """
    kernel = task.kernel
    kernel.enter()
    try:
        sock = sockfd_lookup(task.files, fd)
        sock.ops.bind(sock, addr)
    finally:
        kernel.leave()


def sys_listen(task: Task, fd: int, backlog: int = SOMAXCONN) -> None:
    """listen(2): ``backlog``, taken as unsigned, is bounded by net.core.somaxconn. EOPNOTSUPP for
    datagrams.
    """
    kernel = task.kernel
    kernel.enter()
    try:
        sock = sockfd_lookup(task.files, fd)
        sysctl = task.net.sysctl
        most = sysctl.get("net.core.somaxconn") if "net.core.somaxconn" in sysctl else SOMAXCONN
        assert isinstance(most, int)
        sock.ops.listen(sock, backlog if 0 <= backlog < most else most)
    finally:
        kernel.leave()


def sys_accept4(task: Task, fd: int, flags: int = 0) -> tuple[int, Address]:
    """accept4(2): the fd and the peer's address of the next connection. ``flags``: SOCK_NONBLOCK,
    SOCK_CLOEXEC.

    EAGAIN, EINVAL when it does not listen, EOPNOTSUPP, ECONNABORTED when the connection is gone by now;
    EMFILE, which here costs the connection if only the operating system knew that its numbers are used up.
    """
    if flags & ~_FLAGS:
        raise err(errno.EINVAL)
    kernel = task.kernel
    kernel.acquire()
    try:
        sock = sockfd_lookup(task.files, fd)
        if len(task.fds) >= task.files.limit:
            raise err(errno.EMFILE)
        file = task.fds[fd]
        nonblock = file.f_flags & O_NONBLOCK
        newsock = Socket(sock.type)
        newsock.ops = sock.ops
        try:
            sock.ops.accept(sock, newsock, nonblock)
        except BlockingIOError:
            if not nonblock or not look_again(kernel):
                raise
            sock.ops.accept(sock, newsock, nonblock)
        try:
            peer = newsock.ops.getname(newsock, True)
        except OSError:
            newsock.ops.release(newsock)
            raise err(errno.ECONNABORTED) from None
        return _map(task, newsock, flags), peer
    finally:
        kernel.leave()


def sys_accept(task: Task, fd: int) -> tuple[int, Address]:
    """accept(2)."""
    return sys_accept4(task, fd)


def sys_connect(task: Task, fd: int, addr: Address) -> None:
    """connect(2): EINPROGRESS on a non-blocking file that cannot finish at once; EALREADY, EISCONN,
    ECONNREFUSED...
    """
    kernel = task.kernel
    kernel.enter()
    try:
        sock = sockfd_lookup(task.files, fd)
        sock.ops.connect(sock, addr, task.fds[fd].f_flags & O_NONBLOCK)
    finally:
        kernel.leave()


def sys_getsockname(task: Task, fd: int) -> Address:
    """getsockname(2)."""
    return _getname(task, fd, False)


def sys_getpeername(task: Task, fd: int) -> Address:
    """getpeername(2): ENOTCONN."""
    return _getname(task, fd, True)


def _getname(task: Task, fd: int, peer: bool) -> Address:
    kernel = task.kernel
    kernel.acquire()
    try:
        sock = sockfd_lookup(task.files, fd)
        return sock.ops.getname(sock, peer)
    finally:
        kernel.leave()


def sys_shutdown(task: Task, fd: int, how: int) -> None:
    """shutdown(2): EINVAL for an unknown ``how``, ENOTCONN."""
    kernel = task.kernel
    kernel.enter()
    try:
        sock = sockfd_lookup(task.files, fd)
        if not SHUT_RD <= how <= SHUT_RDWR:
            raise err(errno.EINVAL)
        sock.ops.shutdown(sock, how)
    finally:
        kernel.leave()


def sys_setsockopt(task: Task, fd: int, level: int, optname: int, value: bytes | int) -> None:
    """setsockopt(2). An int stands for the 4 bytes of a C int (OverflowError when it is too big).

    ENOPROTOOPT, EINVAL, EPERM; SOL_SOCKET is the same for all families, other levels are the family's.
    """
    if isinstance(value, int):
        if not -_INT_MAX - 1 <= value <= _INT_MAX:
            raise OverflowError("signed integer is out of range of a C int")
        value = _INT.pack(value)
    kernel = task.kernel
    kernel.enter()
    try:
        sock = sockfd_lookup(task.files, fd)
        if level == SOL_SOCKET:
            sock_setsockopt(sock, task.creds, optname, value)
        else:
            sock.ops.setsockopt(sock, level, optname, value)
    finally:
        kernel.leave()


def sys_getsockopt(task: Task, fd: int, level: int, optname: int, optlen: int = 4) -> bytes:
    """getsockopt(2): at most ``optlen`` bytes of the option's value. ENOPROTOOPT, EINVAL."""
    kernel = task.kernel
    kernel.enter()
    try:
        sock = sockfd_lookup(task.files, fd)
        if level == SOL_SOCKET:
            return sock_getsockopt(sock, optname, optlen)
        return sock.ops.getsockopt(sock, level, optname, optlen)
    finally:
        kernel.leave()
