"""How long until there is a network: booting a kernel, importing the package.  Milliseconds."""

from __future__ import annotations

import statistics

from benchmarks.child import run_child
from benchmarks.rows.common import clock
from benchmarks.stack import Stack

_FIRST_BOOT = """
from time import perf_counter
from pysock.core.kernel import Kernel
start = perf_counter()
Kernel.boot()
print(perf_counter() - start)
"""

_IMPORT = """
from time import perf_counter
start = perf_counter()
import {name}
{name}.socket  # pysock loads its face when it is first asked for a name
print(perf_counter() - start)
"""


def boot(stack: Stack, count: int) -> float:
    """Median of `count` boots in this process; the plugins' entry points have been scanned by the warm-up."""
    from pysock.core.kernel import Kernel

    times = []
    for _ in range(count):
        start = clock()
        Kernel.boot()
        times.append(clock() - start)
    return statistics.median(times) * 1e3


def boot_first(stack: Stack, count: int) -> float:
    """The first boot of a fresh process, which also imports pluggy and looks for plugins."""
    return min(float(run_child("-c", _FIRST_BOOT)) for _ in range(count)) * 1e3


def import_time(stack: Stack, count: int) -> float:
    """Import of the stack's package in a fresh process, with all it imports, until its `socket` is at hand;
    interpreter start excluded.
    """
    return min(float(run_child("-c", _IMPORT.format(name=stack.imports))) for _ in range(count)) * 1e3
