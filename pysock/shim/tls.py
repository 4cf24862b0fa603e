"""TLS on our sockets: what stands in for `_ssl._SSLSocket`, which accepts no socket class but C's own.

The stdlib's `ssl.SSLSocket` stays as it is: it has `_ssl` make an object for the connection, here a `TlsSocket`, and
leaves all shaking hands, reading and writing to it. A `TlsSocket` has OpenSSL work on memory BIOs, and moves their
bytes by system calls (`tlswire.py`). What keeps it true:

* What OpenSSL wrote is sent before anybody waits for an answer.
* A non-blocking socket that does not take everything makes the call say SSLWantWriteError; the call is then repeated
  with the same data and goes on where it was. Nothing counts as written before all of it is sent, as in OpenSSL.
* Nobody waits under the lock: one thread may write while another one reads.
* A fatal alert goes out if it can at once; the program sees the error that caused it.
"""

from __future__ import annotations

import _ssl
from threading import RLock
from weakref import ref

from pysock.core.clock import NEVER
from pysock.shim.sockobj import socket
from pysock.shim.timed import wait_for
from pysock.shim.tlserrors import bad_length, connection_gone, of_data, want_read, want_write
from pysock.shim.tlswire import TlsWire
from pysock.uapi.poll import EPOLLIN, EPOLLOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: How much is encrypted at once: four records.
_CHUNK = 1 << 16


class TlsSocket:
    """TLS on ``sock``, for which ``make(incoming, outgoing)`` makes OpenSSL's object. Every method that moves data
    raises TimeoutError, SSLWantReadError or SSLWantWriteError when the socket's timeout says so, SSLError and OSError.
    """

    __slots__ = ("_lock", "_sock", "_ssl", "_wire", "_written")

    def __init__(self, sock: socket, make: Callable[[_ssl.MemoryBIO, _ssl.MemoryBIO], Any]) -> None:
        self._sock = ref(sock)  # it owns us
        self._wire = TlsWire()
        #: Any: C's class has no public name, and no type.
        self._ssl: Any = make(self._wire.incoming, self._wire.outgoing)
        # Callbacks of the program run while OpenSSL works, and may ask us things.
        self._lock = RLock()
        #: How much of a write that has to be repeated is done.
        self._written = 0

    def __getattr__(self, name: str) -> Any:
        """What needs neither input nor output is OpenSSL's own: certificates, ciphers, versions."""
        return getattr(self._ssl, name)

    @property
    def context(self) -> Any:
        """The SSLContext. An SNI callback may set another one."""
        return self._ssl.context

    @context.setter
    def context(self, context: Any) -> None:
        self._ssl.context = context

    @property
    def session(self) -> Any:
        """The SSLSession. One that is set before the handshake is resumed."""
        return self._ssl.session

    @session.setter
    def session(self, session: Any) -> None:
        self._ssl.session = session

    @property
    def owner(self) -> Any:
        """What callbacks get as the socket; None when it is gone."""
        return self._ssl.owner

    @owner.setter
    def owner(self, owner: Any) -> None:
        self._ssl.owner = owner

    def do_handshake(self) -> None:
        """Shake hands."""
        call = _Call(self._sock(), "handshake")
        self._drain(call)
        self._until_done(call, self._ssl.do_handshake)
        try:
            self._drain(call)
        except (BrokenPipeError, ConnectionResetError):
            # OpenSSL does not mind a client that has left without its session tickets: what it sent can be read.
            if not self._ssl.server_side or self._ssl.version() != "TLSv1.3":
                raise

    def read(self, *args: Any) -> Any:
        """read(size) -> bytes; read(size, buffer) -> count. b"" and 0: the peer has said that it is done."""
        call = _Call(self._sock(), "read")
        try:
            data = self._until_done(call, self._ssl.read, *args)
        except OSError as exc:
            raise of_data(exc) from None
        self._send_if_possible(call)  # records can ask for an answer
        return data

    def write(self, data: Any, /) -> int:
        """Send all of ``data``; return how long it is."""
        call = _Call(self._sock(), "write")
        with memoryview(data) as given, given.cast("B") as view:
            size = len(view)
            done = self._written
            if done > size:
                raise bad_length()
            self._written = 0
            try:
                self._drain(call)
                if not size:
                    self._until_done(call, self._ssl.write, b"")
                while done < size:
                    with view[done : done + _CHUNK] as chunk:
                        self._until_done(call, self._ssl.write, chunk)
                        done += len(chunk)
                    self._drain(call)
            except OSError as exc:
                if isinstance(exc, (_ssl.SSLWantReadError, _ssl.SSLWantWriteError, TimeoutError)):
                    self._written = done
                raise of_data(exc) from None
            return size

    def shutdown(self) -> socket:
        """Say that this side is done and wait until the peer has said so; return the socket, for plain bytes."""
        sock = self._sock()
        sending = _Call(sock, "write")
        self._drain(sending)
        receiving = _Call(sock, "read")
        self._until_done(receiving, self._ssl.shutdown)
        self._drain(sending)
        return receiving.sock

    def _until_done(self, call: _Call, function: Callable[..., Any], *args: Any) -> Any:
        """``function(*args)``, fed with records as long as it asks for them."""
        while True:
            with self._lock:
                try:
                    return function(*args)
                except _ssl.SSLWantReadError:
                    pass
                except _ssl.SSLError:
                    self._send_if_possible(call)
                    raise
                sent = self._wire.send(call.task, call.fd)
                if self._wire.receive(call.task, call.fd):
                    continue
            if not call.timeout:
                raise want_read() if sent or call.what == "read" else want_write()
            call.wait(EPOLLIN if sent else EPOLLIN | EPOLLOUT)

    def _drain(self, call: _Call) -> None:
        """Send all that OpenSSL wrote."""
        while True:
            with self._lock:
                if self._wire.send(call.task, call.fd):
                    return
            if not call.timeout:
                raise want_write()
            call.wait(EPOLLOUT)

    def _send_if_possible(self, call: _Call) -> None:
        with self._lock:
            try:
                self._wire.send(call.task, call.fd)
            except OSError:
                pass


class _Call:
    """One call of the program: ``what`` it does, on which socket, and until when. ``timeout`` is 0 when it must not
    wait.
    """

    __slots__ = ("deadline", "fd", "sock", "task", "timeout", "what")

    def __init__(self, sock: socket | None, what: str) -> None:
        if sock is None or sock._ps_fd < 0:
            raise connection_gone()
        self.sock = sock
        self.what = what
        self.task = sock._ps_task
        self.fd = sock._ps_fd
        self.timeout = sock._ps_timeout
        self.deadline = NEVER if self.timeout <= 0 else self.task.kernel.clock_ns() + self.timeout

    def wait(self, events: int) -> None:
        """Wait for one of the EPOLL* bits."""
        if not wait_for(self.task, self.fd, events, self.deadline):
            raise TimeoutError(f"The {self.what} operation timed out")


def wrap_socket(
    self: Any,
    sock: Any,
    server_side: bool,
    server_hostname: str | None = None,
    *,
    owner: Any = None,
    session: Any = None,
) -> Any:
    """SSLContext._wrap_socket. Sockets that are not ours are C's affair."""
    if not isinstance(sock, socket):
        native: Any = _ssl._SSLContext
        return native._wrap_socket(self, sock, server_side, server_hostname, owner=owner, session=session)
    return TlsSocket(
        sock,
        lambda incoming, outgoing: self._wrap_bio(
            incoming, outgoing, server_side, server_hostname, owner=sock if owner is None else owner, session=session
        ),
    )
