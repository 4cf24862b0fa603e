"""The class `socket` of C's `_socket`, in Python: arguments, timeouts and finalizers; everything else is a system call.

The stdlib's own socket.py subclasses it, so what a program holds is that subclass, and most of its methods are the ones
here. State is in slots with a prefix of ours (subclasses out there have slots and attributes of their own), without a
dict and without weak references, as in C.

One thing is C's alone: a type whose attributes can't be set. (A metaclass could refuse, but would get into the way of
programs that derive from `socket.socket` with one of their own.)

The hot path (`send`, `recv` and their like on a socket without a timeout) adds one call to the system call's. A socket
with a timeout goes through `timed.py`; control messages and vectors through `sockmsg.py`.
"""

from __future__ import annotations

import errno
import sys
import warnings
from operator import index

from pysock.core.errors import err
from pysock.shim import defaults, sockmsg
from pysock.shim.address import parse
from pysock.shim.args import c_int, timeout_ns, timeout_seconds, writable
from pysock.shim.real import audit, os_fstat
from pysock.shim.state import accepted_by, owner
from pysock.shim.timed import retry, wait_for
from pysock.syscalls.buffer import as_bytes
from pysock.syscalls.file import sys_close, sys_set_nonblock
from pysock.syscalls.message import sys_recv, sys_recvfrom, sys_sendto
from pysock.syscalls.socket import (
    sys_accept4,
    sys_bind,
    sys_connect,
    sys_getpeername,
    sys_getsockname,
    sys_getsockopt,
    sys_listen,
    sys_setsockopt,
    sys_shutdown,
    sys_socket,
)
from pysock.uapi.poll import EPOLLIN, EPOLLOUT
from pysock.uapi.socket import (
    AF_INET,
    SO_DOMAIN,
    SO_ERROR,
    SO_PROTOCOL,
    SO_TYPE,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

    from pysock.vfs.task import Task

_INT_SIZE = 4
_OPTLEN_MAX = 1024
_CHUNK = 1 << 20
#: From 3.12 on, setblocking() takes the truth of anything.
_BLOCKING_BY_TRUTH = sys.version_info >= (3, 12)


class socket:
    """socket(family=AF_INET, type=SOCK_STREAM, proto=0) -> socket object
    socket(family=-1, type=-1, proto=-1, fileno=None) -> socket object

    Open a socket of the given type, in the kernel of the current task.
    """

    __slots__ = ("_ps_family", "_ps_fd", "_ps_proto", "_ps_task", "_ps_timeout", "_ps_type")

    _ps_fd: int
    _ps_task: Task
    #: Nanoseconds; 0 is non-blocking, -1 blocking.
    _ps_timeout: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = object.__new__(cls)
        self._ps_fd = -1
        self._ps_timeout = -1
        self._ps_family = self._ps_type = self._ps_proto = 0
        self._ps_task = owner(kwargs.get("fileno"))
        return self

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        family = c_int(family)
        type = c_int(type)
        proto = c_int(proto)
        audit("socket.__new__", self, family, type, proto)
        task = self._ps_task
        if fileno is not None:
            fd = index(fileno)
            if fd < 0:
                raise ValueError("negative file descriptor")
            family, type, proto = _identify(task, fd, family, type, proto)
        else:
            family = AF_INET if family == -1 else family
            type = SOCK_STREAM if type == -1 else type
            proto = 0 if proto == -1 else proto
            fd = sys_socket(task, family, type | SOCK_CLOEXEC, proto)
        self._ps_fd = fd
        self._ps_family = family
        self._ps_type = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)
        self._ps_proto = proto
        if type & SOCK_NONBLOCK:
            self._ps_timeout = 0
        else:
            timeout = defaults.timeout
            self._ps_timeout = timeout
            if timeout >= 0:
                sys_set_nonblock(task, fd, True)

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def family(self) -> int:
        """the socket family"""
        return self._ps_family

    @property
    def type(self) -> int:
        """the socket type"""
        return self._ps_type

    @property
    def proto(self) -> int:
        """the socket protocol"""
        return self._ps_proto

    @property
    def timeout(self) -> float | None:
        """the socket timeout"""
        return timeout_seconds(self._ps_timeout)

    def __repr__(self) -> str:
        return (
            f"<socket object, fd={self._ps_fd}, family={self._ps_family}, type={self._ps_type}, proto={self._ps_proto}>"
        )

    def fileno(self) -> int:
        """The file descriptor, -1 once the socket is closed."""
        return self._ps_fd

    def __getstate__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {self.__class__.__name__!r} object")

    # -- its end -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket. It cannot be used after this call; closing twice does nothing."""
        fd = self._ps_fd
        if fd != -1:
            self._ps_fd = -1
            try:
                sys_close(self._ps_task, fd)
            except ConnectionResetError:
                pass

    def detach(self) -> int:
        """Give the file descriptor away: the socket object is closed, the descriptor stays open."""
        fd = self._ps_fd
        self._ps_fd = -1
        return fd

    def __del__(self) -> None:
        fd = self._ps_fd
        if fd == -1:
            return
        try:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:
            self._ps_fd = -1
            # The thread that happens to run a finalizer may be anywhere, the kernel included.
            self._ps_task.kernel.defer(_Close(self._ps_task, fd))

    # -- blocking or not -----------------------------------------------------------------------------------

    def settimeout(self, timeout: float | None, /) -> None:
        """Set a timeout in seconds on blocking operations; None: block, 0: don't."""
        ns = timeout_ns(timeout)
        self._ps_timeout = ns
        sys_set_nonblock(self._ps_task, self._ps_fd, ns >= 0)

    def gettimeout(self) -> float | None:
        """The timeout in seconds; None when the socket blocks."""
        return timeout_seconds(self._ps_timeout)

    def setblocking(self, flag: bool, /) -> None:
        """setblocking(True) is settimeout(None), setblocking(False) is settimeout(0.0)."""
        block = bool(flag) if _BLOCKING_BY_TRUTH else bool(index(flag))
        self._ps_timeout = -1 if block else 0
        sys_set_nonblock(self._ps_task, self._ps_fd, not block)

    def getblocking(self) -> bool:
        """False when the socket is non-blocking; True with a timeout too."""
        return self._ps_timeout != 0

    # -- addresses and connections -------------------------------------------------------------------------

    def bind(self, address: Any, /) -> None:
        """Give the socket a local address."""
        name = parse(self._ps_task.net, self._ps_family, address, "bind")
        audit("socket.bind", self, address)
        sys_bind(self._ps_task, self._ps_fd, name)

    def listen(self, backlog: int = 128, /) -> None:
        """Accept connections from now on; ``backlog`` bounds how many wait to be accepted."""
        sys_listen(self._ps_task, self._ps_fd, max(c_int(backlog), 0))

    def _accept(self) -> tuple[int, Any]:
        """Wait for a connection; return its file descriptor and the peer's address."""
        timeout = self._ps_timeout
        if timeout <= 0:
            accepted: tuple[int, Any] = sys_accept4(self._ps_task, self._ps_fd, SOCK_CLOEXEC)
        else:
            accepted = retry(self._ps_task, self._ps_fd, timeout, EPOLLIN, sys_accept4, SOCK_CLOEXEC)
        accepted_by(self._ps_task)
        return accepted

    def connect(self, address: Any, /) -> None:
        """Connect to a remote address."""
        name = parse(self._ps_task.net, self._ps_family, address, "connect")
        audit("socket.connect", self, address)
        self._ps_connect(name)

    def connect_ex(self, address: Any, /) -> int:
        """Like connect(), but return the errno (0: connected) where connect() raises OSError."""
        name = parse(self._ps_task.net, self._ps_family, address, "connect_ex")
        audit("socket.connect", self, address)
        try:
            self._ps_connect(name)
        except TimeoutError as exc:
            return exc.errno or errno.EWOULDBLOCK
        except OSError as exc:
            return exc.errno or errno.EINVAL
        return 0

    def _ps_connect(self, name: Any) -> None:
        task, fd, timeout = self._ps_task, self._ps_fd, self._ps_timeout
        try:
            sys_connect(task, fd, name)
            return
        except BlockingIOError as exc:
            if timeout <= 0 or exc.errno != errno.EINPROGRESS:
                raise
        if not wait_for(task, fd, EPOLLOUT, task.kernel.clock_ns() + timeout):
            raise TimeoutError("timed out")
        number = int.from_bytes(sys_getsockopt(task, fd, SOL_SOCKET, SO_ERROR, _INT_SIZE), sys.byteorder)
        if number and number != errno.EISCONN:
            raise err(number)

    def getsockname(self) -> Any:
        """The local address."""
        return sys_getsockname(self._ps_task, self._ps_fd)

    def getpeername(self) -> Any:
        """The remote address."""
        return sys_getpeername(self._ps_task, self._ps_fd)

    def shutdown(self, how: int, /) -> None:
        """Shut the reading side (SHUT_RD), the writing side (SHUT_WR) or both (SHUT_RDWR)."""
        sys_shutdown(self._ps_task, self._ps_fd, c_int(how))

    # -- data ----------------------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive at most ``bufsize`` bytes; b"" at the end of the stream."""
        if type(bufsize) is not int:
            bufsize = index(bufsize)
        if bufsize <= 0:
            if bufsize:
                raise ValueError("negative buffersize in recv")
            return b""
        if flags:
            flags = c_int(flags)
        if self._ps_timeout <= 0:
            return sys_recv(self._ps_task, self._ps_fd, bufsize, flags)
        return retry(self._ps_task, self._ps_fd, self._ps_timeout, EPOLLIN, sys_recv, bufsize, flags)  # type: ignore[no-any-return]  # retry calls anything

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Like recv(), but return the sender's address too."""
        if type(bufsize) is not int:
            bufsize = index(bufsize)
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        if flags:
            flags = c_int(flags)
        if self._ps_timeout <= 0:
            return sys_recvfrom(self._ps_task, self._ps_fd, bufsize, flags)
        return retry(self._ps_task, self._ps_fd, self._ps_timeout, EPOLLIN, sys_recvfrom, bufsize, flags)  # type: ignore[no-any-return]  # retry calls anything

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into ``buffer``, at most ``nbytes`` (0: as many as it holds); return how many came."""
        view = writable(buffer, "recv_into")
        size = index(nbytes)
        if size < 0:
            raise ValueError("negative buffersize in recv_into")
        if size > view.nbytes:
            raise ValueError("buffer too small for requested bytes")
        size = size or view.nbytes
        data = self.recv(size, flags)
        count = len(data)
        view[: min(count, size)] = data if count <= size else data[:size]  # longer: MSG_TRUNC
        return count

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Like recv_into(), but return the sender's address too."""
        view = writable(buffer, "recvfrom_into")
        size = index(nbytes)
        if size < 0:
            raise ValueError("negative buffersize in recvfrom_into")
        if size > view.nbytes:
            raise ValueError("nbytes is greater than the length of the buffer")
        size = size or view.nbytes
        data, address = self.recvfrom(size, flags)
        count = len(data)
        view[: min(count, size)] = data if count <= size else data[:size]
        return count, address

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send ``data``; return how many bytes were taken, which may be fewer than all."""
        if flags:
            flags = c_int(flags)
        if self._ps_timeout <= 0:
            return sys_sendto(self._ps_task, self._ps_fd, data, flags)
        return retry(self._ps_task, self._ps_fd, self._ps_timeout, EPOLLOUT, sys_sendto, data, flags)  # type: ignore[no-any-return]  # retry calls anything

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of ``data``, repeatedly if need be. A timeout counts for the whole."""
        if type(data) is not bytes:
            data = as_bytes(data)
        if flags:
            flags = c_int(flags)
        timeout = self._ps_timeout
        if timeout <= 0:
            sent = sys_sendto(self._ps_task, self._ps_fd, data, flags)
            if sent == len(data):
                return
            self._ps_sendrest(data, sent, flags, 0)
        else:
            self._ps_sendrest(data, 0, flags, self._ps_task.kernel.clock_ns() + timeout)

    def _ps_sendrest(self, data: bytes, sent: int, flags: int, deadline: int) -> None:
        """Send ``data[sent:]`` in pieces; with a ``deadline``, wait for room until then."""
        task = self._ps_task
        size = len(data)
        view = memoryview(data)
        while True:
            piece = data if not sent and size <= _CHUNK else bytes(view[sent : sent + _CHUNK])
            try:
                sent += sys_sendto(task, self._ps_fd, piece, flags)
            except BlockingIOError:
                if not deadline:
                    raise
                waiting = True
            else:
                waiting = False
            if not waiting:
                if sent >= size:
                    return
                if deadline and task.kernel.clock_ns() >= deadline:
                    raise TimeoutError("timed out")
            elif not wait_for(task, self._ps_fd, EPOLLOUT, deadline):
                raise TimeoutError("timed out")

    def sendto(self, data: Any, *rest: Any) -> int:
        """sendto(data[, flags], address) -> count

        Like send(data, flags), but to ``address``.
        """
        if type(data) is not bytes:
            data = as_bytes(data)
        count = len(rest)
        if count == 1:
            flags = 0
            address = rest[0]
        elif count == 2:
            flags = c_int(rest[0])
            address = rest[1]
        else:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({count + 1} given)")
        task = self._ps_task
        name = parse(task.net, self._ps_family, address, "sendto")
        audit("socket.sendto", self, address)
        if self._ps_timeout <= 0:
            return sys_sendto(task, self._ps_fd, data, flags, name)
        return retry(task, self._ps_fd, self._ps_timeout, EPOLLOUT, sys_sendto, data, flags, name)  # type: ignore[no-any-return]  # retry calls anything

    # -- data with control messages, in pieces -------------------------------------------------------------

    def sendmsg(
        self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None, /
    ) -> int:
        """Send the joined ``buffers`` with control messages ``(level, type, data)``; return how many bytes were
        taken.
        """
        return sockmsg.sendmsg(self, buffers, ancdata, flags, address)

    def sendmsg_afalg(
        self, msg: Iterable[Any] = (), *, op: int = 0, iv: Any = None, assoclen: int = 0, flags: int = 0
    ) -> int:
        """For AF_ALG sockets alone, which pysock has not."""
        raise OSError("algset is only supported for AF_ALG")

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> tuple[bytes, list[Any], int, Any]:
        """Receive data and control messages: (data, ancdata, msg_flags, address)."""
        return sockmsg.recvmsg(self, bufsize, ancbufsize, flags)

    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[Any], int, Any]:
        """Like recvmsg(), but scatter the data into ``buffers``: (nbytes, ancdata, msg_flags, address)."""
        return sockmsg.recvmsg_into(self, buffers, ancbufsize, flags)

    # -- options -------------------------------------------------------------------------------------------

    def setsockopt(self, level: int, optname: int, value: Any, *optlen: int) -> None:
        """setsockopt(level, optname, value: int | bytes)
        setsockopt(level, optname, None, optlen: int)
        """
        if len(optlen) > 1 or (optlen and value is not None):
            raise TypeError(f"setsockopt() takes exactly 3 arguments ({3 + len(optlen)} given)")
        level, optname = c_int(level), c_int(optname)
        raw = _option(value)
        if optlen:
            raw = b""
            if c_int(optlen[0]) > 0:
                raise err(errno.EFAULT)
        elif value is None:
            raise TypeError("a bytes-like object is required, not 'NoneType'")
        sys_setsockopt(self._ps_task, self._ps_fd, level, optname, raw)

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """The value of an option: an int, or with ``buflen`` at most that many bytes."""
        level, optname, buflen = c_int(level), c_int(optname), c_int(buflen)
        if not 0 <= buflen <= _OPTLEN_MAX:
            raise OSError("getsockopt buflen out of range")
        raw = sys_getsockopt(self._ps_task, self._ps_fd, level, optname, buflen or _INT_SIZE)
        return raw if buflen else int.from_bytes(raw[:_INT_SIZE], sys.byteorder, signed=True)


socket.__module__ = "_socket"


class _Close:
    """A close that a finalizer leaves to `Kernel.defer`."""

    __slots__ = ("fd", "task")

    def __init__(self, task: Task, fd: int) -> None:
        self.task = task
        self.fd = fd

    def __call__(self) -> None:
        if self.fd in self.task.fds:
            try:
                self.task.files.close(self.fd)
            except OSError:
                pass  # nobody is left who could be told


def _option(value: Any) -> bytes:
    if value is None:
        return b""
    try:
        return index(value).to_bytes(_INT_SIZE, sys.byteorder, signed=True)
    except (TypeError, OverflowError):
        return as_bytes(value)


def _identify(task: Task, fd: int, family: int, type: int, proto: int) -> tuple[int, int, int]:
    """Fill in what the caller of socket(fileno=fd) left open. EBADF, ENOTSOCK."""
    file = task.fds.get(fd)
    if file is None:
        try:
            os_fstat(fd)
        except OSError:
            raise err(errno.EBADF) from None
        raise err(errno.ENOTSOCK)  # the operating system's; also its sockets mean nothing here
    if file.socket is None:
        raise err(errno.ENOTSOCK)
    if proto != -1 and family != -1 and type != -1:
        return family, type, proto
    wanted = [(SO_DOMAIN, family), (SO_TYPE, type), (SO_PROTOCOL, proto)]
    family, type, proto = (
        int.from_bytes(sys_getsockopt(task, fd, SOL_SOCKET, option, _INT_SIZE), sys.byteorder) if given == -1 else given
        for option, given in wanted
    )
    return family, type, proto
