"""The module `time` under a virtual clock: time.time, monotonic, perf_counter, sleep, and what tells the time of day
without being given one (localtime, gmtime, ctime, asctime, strftime, clock_gettime) are those of the current task's
kernel.

In real time nothing of this is installed. Waiting that pysock does not see (a Lock or a Queue with a timeout, a
subprocess) stays in real time, and so do the modules that do it: see `rebind.KEEP_REAL_TIME`. So does
``datetime.datetime.now()``, which reads the clock in C in a type that can't be changed; ``datetime.today()`` and
``date.today()`` ask `time.time` and are virtual.
"""

from __future__ import annotations

import math
from operator import index
from types import SimpleNamespace

from pysock.shim import real
from pysock.vfs.task import current_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from time import struct_time
    from typing import Any

_NSEC_PER_SEC = 1_000_000_000
#: CLOCK_REALTIME, _COARSE and CLOCK_TAI; CLOCK_MONOTONIC, _RAW, _COARSE and CLOCK_BOOTTIME (linux/time.h).
_REALTIME = frozenset((0, 5, 11))
_MONOTONIC = frozenset((1, 4, 6, 7))


def time_ns() -> int:
    """Nanoseconds since 1970 of the simulated wall clock."""
    clock = current_task().kernel.clock
    return clock.time_ns() if clock.virtual else real.time_time_ns()


def time() -> float:
    """Seconds since 1970 of the simulated wall clock."""
    return time_ns() / _NSEC_PER_SEC


def monotonic_ns() -> int:
    """Nanoseconds of the simulated monotonic clock."""
    clock = current_task().kernel.clock
    return clock.monotonic_ns() if clock.virtual else real.time_monotonic_ns()


def monotonic() -> float:
    """Seconds of the simulated monotonic clock."""
    return monotonic_ns() / _NSEC_PER_SEC


def sleep(seconds: Any, /) -> None:
    """Sleep for ``seconds`` of simulated time. ValueError when it is negative."""
    kernel = current_task().kernel
    if not kernel.clock.virtual:
        real.time_sleep(seconds)
        return
    if isinstance(seconds, float):
        if math.isnan(seconds):
            raise ValueError("Invalid value NaN (not a number)")
        ns = math.ceil(seconds * _NSEC_PER_SEC)
    else:
        ns = index(seconds) * _NSEC_PER_SEC
    if ns < 0:
        raise ValueError("sleep length must be non-negative")
    kernel.sleep(ns)


def localtime(seconds: Any = None, /) -> struct_time:
    """A time, or now, as a struct_time of the local time zone."""
    return real.time_localtime(time() if seconds is None else seconds)


def gmtime(seconds: Any = None, /) -> struct_time:
    """A time, or now, as a struct_time of UTC."""
    return real.time_gmtime(time() if seconds is None else seconds)


def ctime(seconds: Any = None, /) -> str:
    """A time, or now, as text."""
    return real.time_ctime(time() if seconds is None else seconds)


def asctime(*when: Any) -> str:
    """A struct_time, or now, as text."""
    return real.time_asctime(*when or (localtime(),))


def strftime(format: Any, *when: Any) -> str:
    """A struct_time, or now, in a format of one's own."""
    return real.time_strftime(format, *when or (localtime(),))


def clock_gettime_ns(clk_id: Any, /) -> int:
    """Nanoseconds of one of the system's clocks. CPU time is real."""
    if clk_id in _REALTIME:
        return time_ns()
    return monotonic_ns() if clk_id in _MONOTONIC else real.time_clock_gettime_ns(clk_id)


def clock_gettime(clk_id: Any, /) -> float:
    """Seconds of one of the system's clocks. CPU time is real."""
    if clk_id in _REALTIME or clk_id in _MONOTONIC:
        return clock_gettime_ns(clk_id) / _NSEC_PER_SEC
    return real.time_clock_gettime(clk_id)


def get_clock_info(name: str, /) -> SimpleNamespace:
    """What is known of a clock. A simulated one says that its resolution is a microsecond: an event loop adds that to
    an instant to see what is due, and after 100 days a nanosecond would be lost in a float.
    """
    info: SimpleNamespace = real.time_get_clock_info(name)
    if not current_task().kernel.clock.virtual or name not in ("monotonic", "perf_counter", "time"):
        return info
    return SimpleNamespace(adjustable=False, implementation="pysock", monotonic=name != "time", resolution=1e-6)


def replacements() -> list[tuple[Any, Callable[..., Any]]]:
    """``(original, ours)`` of everything here."""
    return [
        (real.time_time, time),
        (real.time_time_ns, time_ns),
        (real.time_monotonic, monotonic),
        (real.time_monotonic_ns, monotonic_ns),
        (real.time_perf_counter, monotonic),
        (real.time_perf_counter_ns, monotonic_ns),
        (real.time_sleep, sleep),
        (real.time_localtime, localtime),
        (real.time_gmtime, gmtime),
        (real.time_ctime, ctime),
        (real.time_asctime, asctime),
        (real.time_strftime, strftime),
        (real.time_clock_gettime, clock_gettime),
        (real.time_clock_gettime_ns, clock_gettime_ns),
        (real.time_get_clock_info, get_clock_info),
    ]
