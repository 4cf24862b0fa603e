"""Runs a row: alternate the sides, keep what was measured, contain what went wrong."""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.row import Kind, Row, Unavailable
from benchmarks.stack import Stack
from benchmarks.stats import Summary, pair_differences, pair_ratios, summarise

GC_POLICY = "collected before each round, enabled during it"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: two stacks, how many pairs of rounds, how large, and the seed that orders them."""

    a: Stack
    b: Stack
    rounds: int = 9
    scale: float = 1.0
    seed: int = 1
    timeout: float | None = None
    """Seconds after which a round is hung: every thread's stack is printed and the process ends."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A row that ran.  `a` is empty for absolute rows; `results` has one figure a pair."""

    row: Row
    count: int
    a: list[float] = field(default_factory=list)
    b: list[float] = field(default_factory=list)

    @property
    def results(self) -> list[float]:
        """One figure for each pair: the ratio, the difference, or b itself."""
        if self.row.kind is Kind.RATIO:
            return pair_ratios(self.a, self.b)
        if self.row.kind is Kind.DIFFERENCE:
            return pair_differences(self.a, self.b)
        return list(self.b)

    @property
    def result(self) -> Summary:
        """The figure of the row."""
        return summarise(self.results)


@dataclass(frozen=True, slots=True)
class Failed:
    """A row that raised on side `stack`; the others go on."""

    row: Row
    stack: str
    error: str
    trace: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that this machine has no means for."""

    row: Row
    reason: str


Outcome = Measured | Failed | Skipped


def orders(rounds: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """For each pair of rounds, which side goes first: drift within a pair then favours neither."""
    for _ in range(rounds):
        yield ("a", "b") if rng.random() < 0.5 else ("b", "a")


def run_row(row: Row, plan: Plan) -> Outcome:
    """Measure one row.  Never raises for what the row does: `Unavailable` becomes a `Skipped`, the rest a `Failed`."""
    rng = random.Random(f"{plan.seed}/{row.name}")  # a seed per row: choosing other rows changes no order
    rounds = plan.rounds if row.max_rounds is None else min(plan.rounds, row.max_rounds)
    measured = Measured(row, row.scaled(plan.scale))
    sides = {"b": (plan.b, measured.b)}
    if row.kind is not Kind.ABSOLUTE:
        sides["a"] = (plan.a, measured.a)
    stack = plan.b
    try:
        if row.warm_up:
            for side in sorted(sides):
                stack = sides[side][0]
                one_round(row, stack, measured.count, plan.timeout)
        for order in orders(rounds, rng):
            for side in order:
                if side in sides:
                    stack, values = sides[side]
                    values.append(one_round(row, stack, measured.count, plan.timeout))
    except Unavailable as reason:
        return Skipped(row, str(reason))
    except Exception as error:
        return Failed(row, stack.name, f"{type(error).__name__}: {error}", traceback.format_exc())
    return measured


def run_rows(rows: list[Row], plan: Plan, progress: Callable[[Row], None] | None = None) -> list[Outcome]:
    """Measure rows one after the other; `progress` hears of each before it starts."""
    outcomes: list[Outcome] = []
    for row in rows:
        if progress is not None:
            progress(row)
        outcomes.append(run_row(row, plan))
    return outcomes


def one_round(row: Row, stack: Stack, count: int, timeout: float | None) -> float:
    """One round of one side, in its environment and without anybody else's garbage."""
    with watchdog(timeout), stack.environment(program=row.program):
        gc.collect()
        return row.measure(stack, count)


@contextmanager
def watchdog(seconds: float | None) -> Iterator[None]:
    """End the process, showing every thread's stack, if the block takes longer.  Free until then."""
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def pin(cpu: int) -> None:
    """Keep this thread, and those it starts, on one core.  ValueError names the usable ones."""
    if sys.platform != "linux":
        raise ValueError("this system cannot pin a process to a core; run with --no-pin")
    allowed = os.sched_getaffinity(0)
    if cpu not in allowed:
        usable = ", ".join(map(str, sorted(allowed)))
        raise ValueError(
            f"core {cpu} is not one this process may use ({usable}): choose with --cpu, or run with --no-pin"
        )
    os.sched_setaffinity(0, {cpu})
