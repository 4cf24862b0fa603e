"""The outcome of a run, for people (an aligned table) and for machines (JSON)."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from collections.abc import Sequence

from benchmarks.harness import GC_POLICY, Failed, Measured, Outcome, Plan, Skipped
from benchmarks.row import Kind, Row
from benchmarks.stats import summarise

SCHEMA = 1
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_HEADINGS = ("row", "unit", "{a}", "{b}", "result", "spread", "this issue", "goal", "verdict")
_LEFT = 2  # the first two columns are text


def machine() -> dict[str, Json]:
    """What the figures depend on."""
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "runs_on": [*cores],
        "load_average": [*os.getloadavg()],
        "gc": GC_POLICY,
        "switch_interval": sys.getswitchinterval(),
    }


def as_json(outcomes: Sequence[Outcome], plan: Plan, about: dict[str, Json]) -> dict[str, Json]:
    """Everything that was measured, pair by pair; `result` is what `Measured.results` says."""
    return {
        "schema": SCHEMA,
        "machine": about,
        "plan": {
            "a": plan.a.name,
            "b": plan.b.name,
            "rounds": plan.rounds,
            "scale": plan.scale,
            "seed": plan.seed,
        },
        "rows": [_row_json(outcome) for outcome in outcomes],
    }


def _row_json(outcome: Outcome) -> Json:
    row = outcome.row
    entry: dict[str, Json] = {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "kind": row.kind.value,
        "issue": row.issue,
        "goal": row.goal,
    }
    if isinstance(outcome, Failed):
        return entry | {"error": outcome.error, "stack": outcome.stack}
    if isinstance(outcome, Skipped):
        return entry | {"skipped": outcome.reason}
    result = outcome.result
    return entry | {
        "count": outcome.count,
        "a": _series(outcome.a),
        "b": _series(outcome.b),
        "result": _series(outcome.results),
        "meets_issue": None if row.issue is None else row.meets(result.median, row.issue),
        "meets_goal": None if row.goal is None else row.meets(result.median, row.goal),
    }


def _series(values: Sequence[float]) -> Json:
    return {**dataclasses.asdict(summarise(values)), "values": [*values]} if values else None


def table(outcomes: Sequence[Outcome], plan: Plan, about: dict[str, Json]) -> str:
    """The aligned table, under a header that says what it was measured on."""
    lines = [tuple(cell.format(a=plan.a.name, b=plan.b.name) for cell in _HEADINGS)]
    lines += [_cells(outcome) for outcome in outcomes]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [_header(plan, about), ""]
    for cells in lines:
        padded = [
            cell.ljust(width) if index < _LEFT else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        text.append("  ".join(padded).rstrip())
    text += [f"\n{o.row.name} failed on {o.stack}: {o.error}" for o in outcomes if isinstance(o, Failed)]
    text += [f"\n{o.row.name} skipped: {o.reason}" for o in outcomes if isinstance(o, Skipped)]
    return "\n".join(text)


def _header(plan: Plan, about: dict[str, Json]) -> str:
    cores = about["runs_on"]
    where = f"pinned to core {cores[0]}" if isinstance(cores, list) and len(cores) == 1 else "not pinned"
    load = about["load_average"]
    load_now = f"{load[0]:.2f}" if isinstance(load, list) else "unknown"
    return (
        f"{about['python']}, {about['system']}, {about['cores']} cores, {where}, load {load_now}\n"
        f"{plan.rounds} pairs of rounds, scale {plan.scale:g}, seed {plan.seed}; garbage {about['gc']}\n"
        f"result: median over pairs; x is {plan.b.name}'s speed over {plan.a.name}'s (more is better), "
        "times and sizes: less is better; spread: middle half of the pairs"
    )


def _cells(outcome: Outcome) -> tuple[str, ...]:
    row = outcome.row
    targets = (_target(row, row.issue), _target(row, row.goal))
    if isinstance(outcome, Failed):
        return (row.name, row.unit, "-", "-", "failed", "-", *targets, "failed")
    if isinstance(outcome, Skipped):
        return (row.name, row.unit, "-", "-", "skipped", "-", *targets, "skipped")
    result = outcome.result
    return (
        row.name,
        row.unit,
        quantity(summarise(outcome.a).median) if outcome.a else "-",
        quantity(summarise(outcome.b).median),
        figure(row, result.median),
        f"{figure(row, result.q1)} .. {figure(row, result.q3)}",
        *targets,
        verdict(outcome),
    )


def _target(row: Row, target: float | None) -> str:
    return "-" if target is None else figure(row, target)


def verdict(outcome: Measured) -> str:
    """Which of the row's targets its median reaches."""
    row, median = outcome.row, outcome.result.median
    if row.goal is not None and row.meets(median, row.goal):
        return "goal"
    if row.issue is None:
        return "-"
    return "ok" if row.meets(median, row.issue) else "short"


def figure(row: Row, value: float) -> str:
    """A result or a target as the table shows it."""
    if row.kind is Kind.RATIO:
        return f"{value:.2f}x"
    sign = "+" if row.kind is Kind.DIFFERENCE else ""
    return f"{value:{sign}.1f}" if abs(value) >= 10 else f"{value:{sign}.2f}"


def quantity(value: float) -> str:
    """A rate or a cost, with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
