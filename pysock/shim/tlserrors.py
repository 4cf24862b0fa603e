"""The errors of a TLS connection that come from its socket, in the words of `_ssl`."""

from __future__ import annotations

import _ssl
from functools import cache

from pysock.shim.real import real_socket, real_socketpair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def want_read() -> OSError:
    """What a call says that must not wait for a record."""
    return _ssl_error(_ssl.SSLWantReadError, _ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)")


def want_write() -> OSError:
    """What a call says that must not wait for room in the socket."""
    return _ssl_error(_ssl.SSLWantWriteError, _ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)")


def connection_gone() -> OSError:
    """The socket is closed."""
    return _ssl_error(_ssl.SSLError, 0, "Underlying socket connection gone")


def bad_length() -> OSError:
    """A write that had to be repeated was not."""
    return _ssl_error(_ssl.SSLError, _ssl.SSL_ERROR_SSL, "[SSL: BAD_LENGTH] bad length")


def of_data(error: OSError) -> OSError:
    """What read() and write() raise for the ``error`` of a system call."""
    if isinstance(error, _ssl.SSLError) or error.errno is None or _tells_system_errors():
        return error
    return _ssl_error(_ssl.SSLEOFError, _ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol")


def _ssl_error(kind: type[_ssl.SSLError], number: int, text: str) -> OSError:
    error: Any = kind(number, text)
    error.library = error.reason = None  # as C sets them
    return error  # type: ignore[no-any-return]  # typeshed has it that both are strings


class _Probe(real_socket):
    __slots__ = ("__weakref__",)


@cache
def _tells_system_errors() -> bool:
    """Whether this Python's `_ssl` has read() and write() tell which error a system call had. From 3.10 until
    cpython#115627 was repaired, in the middle of some release series, they took every one for the end of the stream.
    """
    left, right = real_socketpair()
    left.send(b"x")
    right.close()  # with a byte unread: that is a reset
    with_references = _Probe(fileno=left.detach())
    context: Any = _ssl._SSLContext(_ssl.PROTOCOL_TLS_SERVER)
    try:
        context._wrap_socket(with_references, True).read(1)
    except ConnectionResetError:
        return True
    except OSError:
        return False
    finally:
        with_references.close()
    raise AssertionError("a connection was reset, and nobody noticed")
