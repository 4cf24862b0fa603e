"""Arguments of the `select` module: descriptors, and timeouts in any unit."""

from __future__ import annotations

import math
from operator import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INT_MAX = 0x7FFFFFFF
_NSEC_PER_MSEC = 1_000_000
_NSEC_MAX = (1 << 63) - 1


def as_fd(thing: Any) -> int:
    """The descriptor that ``thing`` is, or has as fileno(). TypeError, ValueError when it is negative."""
    if isinstance(thing, int):
        fd = int(thing)
    else:
        try:
            method = thing.fileno
        except AttributeError:
            raise TypeError("argument must be an int, or have a fileno() method.") from None
        fd = method()
        if not isinstance(fd, int):
            raise TypeError("fileno() returned a non-integer")
    if not -_INT_MAX - 1 <= fd <= _INT_MAX:
        raise OverflowError("Python int too large to convert to C int")
    if fd < 0:
        raise ValueError(f"file descriptor cannot be a negative integer ({fd})")
    return fd


def timeout_arg(value: Any, unit_ns: int, complaint: str) -> int:
    """Nanoseconds of ``value`` units, rounded up; -1 for None and for every negative number."""
    if value is None:
        return -1
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("Invalid value NaN (not a number)")
        if abs(value) > _NSEC_MAX:
            raise OverflowError("timestamp out of range for platform time_t")
        ns = math.ceil(value * unit_ns) if value >= 0 else -1
    else:
        try:
            number = index(value)
        except TypeError:
            raise TypeError(complaint) from None
        ns = number * unit_ns if number >= 0 else -1
    if ns > _NSEC_MAX:
        raise OverflowError("timestamp too large to convert to C PyTime_t")
    return ns


def whole_ms(ns: int) -> int:
    """``ns`` rounded up to milliseconds, which is what poll(2) and epoll_wait(2) count. OverflowError for too many."""
    if ns <= 0:
        return ns
    ms = -(-ns // _NSEC_PER_MSEC)
    if ms > _INT_MAX:
        raise OverflowError("timeout is too large")
    return ms * _NSEC_PER_MSEC
