"""Arguments as the C module takes them: ints by __index__, buffers, timeouts, with C's ranges and C's messages."""

from __future__ import annotations

import math
from operator import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INT_MAX = 0x7FFFFFFF
_NSEC_MAX = (1 << 63) - 1
_NSEC_PER_SEC = 1_000_000_000
_MSEC_LIMIT_NS = _INT_MAX * 1_000_000


def c_int(value: Any) -> int:
    """A C int. TypeError, OverflowError."""
    number = index(value)
    if not -_INT_MAX - 1 <= number <= _INT_MAX:
        size = "greater than maximum" if number > 0 else "less than minimum"
        raise OverflowError(f"signed integer is {size}")
    return number


def timeout_ns(value: Any) -> int:
    """Nanoseconds of a timeout in seconds (rounded up), -1 for None. ValueError when it is negative or no number."""
    if value is None:
        return -1
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("Invalid value NaN (not a number)")
        if abs(value) > _NSEC_MAX:
            raise OverflowError("timestamp out of range for platform time_t")
        scaled = value * _NSEC_PER_SEC
        ns = math.ceil(scaled) if scaled >= 0 else math.floor(scaled)
    else:
        ns = index(value) * _NSEC_PER_SEC
        if abs(ns) > _NSEC_MAX * _NSEC_PER_SEC:
            raise OverflowError("timestamp out of range for platform time_t")
    if ns < 0:
        raise ValueError("Timeout value out of range")
    if ns > _NSEC_MAX:
        raise OverflowError("timestamp too large to convert to C PyTime_t")
    if ns > _MSEC_LIMIT_NS:
        raise OverflowError("timeout doesn't fit into C timeval")
    return ns


def timeout_seconds(ns: int) -> float | None:
    """The opposite of `timeout_ns`."""
    return None if ns < 0 else ns / _NSEC_PER_SEC


def writable(buffer: Any, function: str, what: str = "argument 1 must be read-write bytes-like object") -> memoryview:
    """``buffer`` as flat writable bytes. TypeError unless it is read-write, BufferError unless it is contiguous."""
    try:
        view = memoryview(buffer)
    except TypeError:
        view = None
    if view is None or view.readonly:
        raise TypeError(f"{function}() {what}, not {type(buffer).__name__}")
    if not view.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
