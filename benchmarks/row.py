"""What a row of the table is: a function to measure, its size, and the figures it is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from benchmarks.stack import Stack

Measure = Callable[[Stack, int], float]
"""Runs `count` operations on a stack; returns a rate (ratio rows) or a cost (others), in the row's unit."""


class Unavailable(Exception):
    """A row cannot be measured on this machine; says what is missing. The row is skipped, aloud."""


class Kind(Enum):
    """How the two sides become one figure."""

    RATIO = "ratio"
    """Both sides give a rate; the result is b / a, and more is better."""
    DIFFERENCE = "difference"
    """Both sides give a cost; the result is b - a, and less is better."""
    ABSOLUTE = "absolute"
    """Only side b is run; the result is its cost, and less is better."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `count` is the size of a full round, about a quarter of a second on the kernel.  `program` marks rows
    that use the stdlib's modules by name and so need patching; `child` those whose work happens in a fresh
    process, where the profiler cannot look.  `max_rounds` and `warm_up` are for rows that cost much and vary
    little.
    """

    name: str
    title: str
    unit: str
    measure: Measure
    count: int
    kind: Kind = Kind.RATIO
    issue: float | None = None
    goal: float | None = None
    program: bool = False
    child: bool = False
    max_rounds: int | None = None
    warm_up: bool = True

    def scaled(self, scale: float) -> int:
        """The operations of a round at `scale` (1.0: a full one); at least one."""
        return max(1, round(self.count * scale))

    def meets(self, result: float, target: float) -> bool:
        """Whether `result` is as good as `target`."""
        return result >= target if self.kind is Kind.RATIO else result <= target
