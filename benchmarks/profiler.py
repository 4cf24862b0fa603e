"""`--profile ROW`: where the time of one side of a row goes."""

from __future__ import annotations

import cProfile
import io
import pstats

from benchmarks.row import Row
from benchmarks.stack import Stack

TOP = 30


def profile_row(row: Row, stack: Stack, count: int, sort: str = "tottime") -> str:
    """Run one warm and one profiled round of `row` on `stack`, return the functions that took longest.

    Only the calling thread is profiled: in two-thread rows that is the client.  The profiler makes each
    Python call dearer by far more than each C call, so read it for proportions, and the table for
    speed.  ValueError for rows that do their work in another process.
    """
    if row.child:
        raise ValueError(f"{row.name} does its work in a fresh process, out of the profiler's sight")
    profile = cProfile.Profile()
    with stack.environment(program=row.program):
        row.measure(stack, max(1, count // 10))
        profile.enable()
        try:
            row.measure(stack, count)
        finally:
            profile.disable()
    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats(sort).print_stats(TOP)
    return f"{row.name} on {stack.name}, {count} x: {row.title}\n{text.getvalue()}"
