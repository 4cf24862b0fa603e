"""open() and io.open() of a descriptor of ours, and what they make of it.

C's FileIO would read the placeholder behind the number, an unconnected socket. `SocketFileIO` is a FileIO that reads,
writes and closes by system calls of ours; buffers and text layers on top are Python's own. A path, or a descriptor of
the operating system, goes to C unseen. (`io.FileIO(fd)` itself, a type that programs test for, is not replaced.)
"""

from __future__ import annotations

import io
import warnings

from pysock.shim.real import io_open
from pysock.shim.state import current
from pysock.syscalls.buffer import as_bytes
from pysock.syscalls.file import sys_close, sys_read, sys_write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pysock.vfs.task import Task

_CHUNK = io.DEFAULT_BUFFER_SIZE


class SocketFileIO(io.FileIO):
    """Raw, unbuffered reads and writes of the descriptor ``fd`` of the current task. ``mode`` is FileIO's."""

    def __init__(self, fd: int, mode: str, closefd: bool) -> None:
        super().__init__(fd, mode, False)  # C must not close the number
        self._task: Task = current()
        self._closes = closefd
        self._finalizing = False

    @property
    def closefd(self) -> bool:
        """Whether `close` closes the descriptor too."""
        return self._closes

    def readinto(self, buffer: Any, /) -> int | None:
        """Fill ``buffer``; 0 at the end, None where a non-blocking descriptor has nothing."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        if data is None:
            return None
        view[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes | None:  # type: ignore[override]  # typeshed leaves None out
        """At most ``size`` bytes with one call; all until the end without a size."""
        if size is None or size < 0:
            return self.readall()
        self._check(self.readable(), "reading")
        try:
            return sys_read(self._task, self.fileno(), size)
        except BlockingIOError:
            return None

    def readall(self) -> bytes | None:  # type: ignore[override]  # as above
        """All until the end; None if a non-blocking descriptor has nothing at all."""
        parts = []
        while data := self.read(_CHUNK):
            parts.append(data)
        return None if data is None and not parts else b"".join(parts)

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]  # as above
        """How many bytes of ``data`` were taken; None where a non-blocking descriptor took none."""
        self._check(self.writable(), "writing")
        payload = as_bytes(data)
        if self._finalizing:
            self._later(_write_quietly, payload)
            return len(payload)
        try:
            return sys_write(self._task, self.fileno(), payload)
        except BlockingIOError:
            return None

    def _check(self, allowed: bool, doing: str) -> None:
        if not allowed:
            raise io.UnsupportedOperation(f"File not open for {doing}")

    def close(self) -> None:
        """Close the file, and the descriptor unless somebody else owns it."""
        if self.closed:
            return
        fd = self.fileno()
        if not self._closes:
            super().close()
        elif self._finalizing:
            self._later(_close_quietly)
            super().close()
        else:
            super().close()
            sys_close(self._task, fd)

    # -- finalizers, which may run anywhere, the kernel included: what they want is done when the kernel is left ---

    def _dealloc_warn(self, source: object) -> None:
        """What the finalizer of a buffer calls before it flushes and closes."""
        if self._closes and not self.closed:
            warnings.warn(f"unclosed file {source!r}", ResourceWarning, stacklevel=2, source=source)
        self._finalizing = True

    def _later(self, work: Callable[..., None], *args: Any) -> None:
        task, fd = self._task, self.fileno()
        task.kernel.defer(lambda: work(task, fd, *args))

    def __del__(self) -> None:
        if not self.closed and hasattr(self, "_finalizing"):
            self._dealloc_warn(self)
            self.close()

    def __repr__(self) -> str:
        if self.closed:
            return "<_io.FileIO [closed]>"
        return f"<_io.FileIO name={self.name!r} mode={self.mode!r} closefd={self._closes!r}>"


def _close_quietly(task: Task, fd: int) -> None:
    try:
        task.files.close(fd)
    except OSError:
        pass  # nobody is left who could be told


def _write_quietly(task: Task, fd: int, data: bytes) -> None:
    file = task.fds.get(fd)
    if file is not None:
        try:
            file.write(data)
        except OSError:
            pass  # as above


def open_file(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """`open`."""
    if not isinstance(file, int) or file not in current().fds:
        return io_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    # C looks at the arguments, and shows by what it makes of the placeholder which layers are wanted.
    try:
        model: Any = io_open(file, mode, buffering, encoding, errors, newline, False)
    except (io.UnsupportedOperation, LookupError):
        if closefd:
            sys_close(current(), file)  # as C does: the raw layer was there, and only the next one failed
        raise
    with model:
        buffered = getattr(model, "buffer", model)
        raw = SocketFileIO(file, getattr(buffered, "raw", buffered).mode, closefd)
        if buffered is model and isinstance(model, io.FileIO):
            return raw
        layer: Any = type(buffered)(raw, buffering if buffering > 1 else _CHUNK)
        if buffered is model:
            return layer
        text: Any = io.TextIOWrapper(layer, model.encoding, model.errors, newline, model.line_buffering)
        text.mode = mode
        return text


def replacements() -> list[tuple[Any, Callable[..., Any]]]:
    """``(original, ours)`` of everything here."""
    return [(io_open, open_file)]
