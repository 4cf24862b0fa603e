"""From a program's buffers to the bytes that travel by reference, and back into buffers."""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.uapi.socket import UIO_MAXIOV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed import ReadableBuffer, WriteableBuffer


def as_bytes(data: ReadableBuffer) -> bytes:
    """``data`` itself if it is bytes, else one copy of it. TypeError for what is no buffer, BufferError for
    one that is not contiguous; both worded as CPython does.
    """
    if type(data) is bytes:
        return data
    view = _view(data)
    if not view.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    return view.tobytes()


def _view(data: ReadableBuffer) -> memoryview:
    try:
        return memoryview(data)
    except TypeError:
        raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'") from None


def gather(buffers: Iterable[ReadableBuffer]) -> bytes:
    """The buffers as one; a single bytes object is not copied. EMSGSIZE for more than UIO_MAXIOV of them."""
    parts = list(buffers)
    if len(parts) == 1:
        return as_bytes(parts[0])
    if len(parts) > UIO_MAXIOV:
        raise err(errno.EMSGSIZE)
    return b"".join([part if type(part) is bytes else _view(part) for part in parts])


def writable_views(buffers: Iterable[WriteableBuffer]) -> list[memoryview]:
    """Byte views of the buffers of readv, recvmsg_into. BufferError for a read-only one, EINVAL for too
    many.
    """
    views = []
    for buffer in buffers:
        view = _view(buffer)
        if view.readonly:
            raise BufferError("Object is not writable.")
        views.append(view.cast("B"))
    if len(views) > UIO_MAXIOV:
        raise err(errno.EINVAL)
    return views


def scatter(data: bytes, views: Sequence[memoryview]) -> None:
    """Fill the views with ``data``, one after the other."""
    start = 0
    for view in views:
        if start >= len(data):
            return
        part = data[start : start + len(view)]
        view[: len(part)] = part
        start += len(part)
