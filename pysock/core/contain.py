"""Containment: how a plugin's or a driver's exception is told to somebody, once, and goes no further.

The packet path, notifier chains and namespace hooks call code that pysock did not write. Such a call is
wrapped in `try/except Exception`, and the handler does two things: it drops what it was working on, and it
calls `ErrorReporter.report(owner, where, exc)`. The reporter logs the first exception of each (owner,
where, class) and only counts the rest, because a broken driver raises on every packet.

What is deliberately not here: no `warnings`, no `logging` (both cost time and can themselves raise), no
exception objects kept (one would keep every frame, and so every packet, of its traceback alive).
"""

from __future__ import annotations

import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ErrorRecord", "ErrorReporter", "describe"]


def _to_stderr(text: str) -> None:
    stream = sys.stderr
    if stream is not None:  # None under pythonw and in a daemon that closed it
        stream.write(text + "\n")


def describe(exc: BaseException) -> str:
    """One line for people: class, message, and the innermost line of code, for instance
    `ValueError: bad ring (ring.py:12 in push)`. Never raises, whatever the exception's `__str__` does.
    """
    try:
        message = " ".join(str(exc).split())
    except Exception:
        message = "<its message raised too>"
    kind = type(exc).__name__
    text = f"{kind}: {message}" if message else kind
    trace = exc.__traceback__
    if trace is None:
        return text
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    file = code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f"{text} ({file}:{trace.tb_lineno} in {code.co_name})"


class ErrorRecord:
    """What is remembered of one (owner, where, exception class): the first text and how often it happened."""

    __slots__ = ("count", "kind", "owner", "text", "where")

    def __init__(self, owner: str, where: str, kind: str, text: str) -> None:
        self.owner = owner
        self.where = where
        self.kind = kind
        self.text = text
        self.count = 1

    def __str__(self) -> str:
        return f"{self.owner}: {self.where} raised {self.text} [{self.count} times]"


class ErrorReporter:
    """Reports contained exceptions, one line each kind. One per Kernel; safe from any thread, under any lock.

    `log(text)` gets one line without a newline; the default writes it to `sys.stderr`. It is called outside
    the reporter's own lock but possibly under the kernel lock, so it must not block on the stack. A `log`
    that raises is only counted. At most `limit` kinds are kept; exceptions of further kinds are counted in
    `overflow` and not logged.
    """

    __slots__ = ("_lock", "_log", "_records", "limit", "log_failures", "overflow", "total")

    def __init__(self, log: Callable[[str], None] = _to_stderr, limit: int = 256) -> None:
        self._log = log
        self._lock = threading.RLock()  # reentrant: a finalizer that runs in here may report too
        self._records: dict[tuple[str, str, str], ErrorRecord] = {}
        self.limit = limit
        self.total = 0  # every exception reported, logged or not
        self.overflow = 0  # of these, how many belong to no kept record
        self.log_failures = 0

    def report(self, owner: str, where: str, exc: BaseException) -> bool:
        """Count `exc`, raised by `owner` (a plugin, driver or callback) in `where` (a hook or operation,
        such as "ndo_start_xmit"). True when this was the first of its kind and a line was logged. Never
        raises.
        """
        kind = type(exc).__name__
        key = (owner, where, kind)
        with self._lock:
            self.total += 1
            record = self._records.get(key)
            if record is not None:
                record.count += 1
                return False
            if len(self._records) >= self.limit:
                self.overflow += 1
                return False
            record = self._records[key] = ErrorRecord(owner, where, kind, kind)
        record.text = describe(exc)  # outside the lock: it calls the exception's own code
        self.note(f"{owner}: {where} raised {record.text}; contained, the next ones are only counted")
        return True

    def note(self, text: str) -> None:
        """Log one line that is no exception, such as a plugin that could not be loaded. Never raises."""
        try:
            self._log(f"pysock: {text}")
        except Exception:
            self.log_failures += 1

    def describe(self, exc: BaseException) -> str:
        """The function `describe`, for those who are handed a reporter and may not import it (plugin/)."""
        return describe(exc)

    def records(self) -> list[ErrorRecord]:
        """The kinds seen so far, oldest first (the records themselves: their counts go on rising)."""
        with self._lock:
            return list(self._records.values())

    def count(self, owner: str) -> int:
        """How many exceptions of `owner` were contained (those in `overflow` are not attributed)."""
        return sum(record.count for record in self.records() if record.owner == owner)
