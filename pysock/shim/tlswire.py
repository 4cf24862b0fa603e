"""The wire below a TLS connection: OpenSSL's two memory BIOs on one side, a socket's system calls on the other.

Neither direction ever waits. Records are taken from the socket one at a time (RFC 8446 5.1: a header of five bytes,
then as many as it says), so that what follows a record stays where select() sees it, and where plain bytes after the
end of TLS are the program's.
"""

from __future__ import annotations

import _ssl

from pysock.syscalls.message import sys_recv, sys_sendto
from pysock.uapi.socket import MSG_DONTWAIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.vfs.task import Task

_HEADER = 5
_CONTENT_TYPES = range(20, 25)
_VERSION_MAJOR = 3
#: What the longest record holds, encrypted (RFC 5246 6.2.3).
_LENGTH_MAX = (1 << 14) + 2048


class TlsWire:
    """``incoming`` is what OpenSSL reads from, ``outgoing`` what it writes to."""

    __slots__ = ("_header", "_in_body", "_unsent", "_wanted", "incoming", "outgoing")

    def __init__(self) -> None:
        self.incoming = _ssl.MemoryBIO()
        self.outgoing = _ssl.MemoryBIO()
        self._unsent = b""
        #: How many bytes the header or the body at hand still needs.
        self._wanted = _HEADER
        self._header = b""
        self._in_body = False

    def send(self, task: Task, fd: int) -> bool:
        """Send what OpenSSL wrote; False when the socket does not take it all now. OSError as from send(2): what cannot
        be sent is forgotten then, and reading may go on.
        """
        while True:
            if not self._unsent:
                self._unsent = self.outgoing.read()
                if not self._unsent:
                    return True
            try:
                sent = sys_sendto(task, fd, self._unsent, MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                self._unsent = b""
                raise
            self._unsent = self._unsent[sent:]

    def receive(self, task: Task, fd: int) -> bool:
        """Hand OpenSSL the rest of one record, or the end of the stream; False when it has not come yet. OSError as
        from recv(2).
        """
        while True:
            try:
                data = sys_recv(task, fd, self._wanted, MSG_DONTWAIT)
            except BlockingIOError:
                return False
            if not data:
                self.incoming.write_eof()
                return True
            self.incoming.write(data)
            self._wanted -= len(data)
            if not self._in_body:
                self._header += data
            if self._wanted:
                continue
            length = 0 if self._in_body else _body_length(self._header)
            self._in_body = length > 0
            self._wanted = length or _HEADER
            self._header = b""
            if not length:
                return True


def _body_length(header: bytes) -> int:
    """How long the record is; 0 when that is no TLS, about which OpenSSL may have something to say at once."""
    length = int.from_bytes(header[3:], "big")
    if header[0] in _CONTENT_TYPES and header[1] == _VERSION_MAJOR and length <= _LENGTH_MAX:
        return length
    return 0
