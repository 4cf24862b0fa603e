"""What thousands of idle connections weigh; the measuring happens in `benchmarks.memory_child`."""

from __future__ import annotations

from benchmarks.child import run_child
from benchmarks.stack import Stack


def idle_traced(stack: Stack, count: int) -> float:
    """KB (1000 bytes) of traced allocations for each of `count` connections, in a fresh process."""
    return _measure(stack, count, "tracemalloc")


def idle_resident(stack: Stack, count: int) -> float:
    """KB (1000 bytes) of resident memory for each of `count` connections, in a fresh process."""
    return _measure(stack, count, "rss")


def _measure(stack: Stack, count: int, meter: str) -> float:
    return float(run_child("-m", "benchmarks.memory_child", stack.name, str(count), meter)) / 1000
