"""The command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.harness import Failed, Plan, pin, run_rows
from benchmarks.profiler import profile_row
from benchmarks.report import as_json, machine, table
from benchmarks.row import Row
from benchmarks.rows import ROWS
from benchmarks.stack import KERNEL, PYSOCK, STACKS


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="pysock beside the kernel's loopback, in alternating rounds of one run. "
        "How to read the table: the docstring of benchmarks/__init__.py.",
    )
    option = made.add_argument
    option("--list", action="store_true", help="say which rows there are, and stop")
    option("--rows", metavar="NAMES", default="*", help="names or patterns, with commas: tcp_*,boot (all)")
    option("--rounds", type=positive_int, default=9, help="pairs of rounds for each row (9)")
    option("--scale", type=positive, default=1.0, help="size of a round (1.0); 0.05 for a quick look")
    option("--seed", type=int, default=1, help="draws the order inside each pair (1)")
    option("--a", choices=STACKS, default=KERNEL.name, help="the side to compare with (kernel)")
    option("--b", choices=STACKS, default=PYSOCK.name, help="the side to judge (pysock)")
    option("--cpu", type=int, default=0, help="core to run on (0)")
    option("--no-pin", action="store_true", help="run on whichever core the system likes")
    option("--timeout", type=positive, default=120.0, help="seconds after which a round is hung (120)")
    option("--json", metavar="FILE", help="write everything measured to FILE (-: standard output, no table)")
    option("--profile", metavar="ROW", help="run side b of one row under cProfile instead")
    sorts = ("tottime", "cumtime", "ncalls")
    option("--sort", choices=sorts, default=sorts[0], help="order of --profile (tottime)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; the exit status is 1 if a row failed to run (not if it was slow)."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        rows = select(options.profile or options.rows)
        if options.list:
            print("\n".join(f"{row.name:18}{row.title}" for row in rows))
            return 0
        if not options.no_pin:
            pin(options.cpu)
        stack_a, stack_b = STACKS[options.a], STACKS[options.b]
        if options.profile:
            for row in rows:
                print(profile_row(row, stack_b, row.scaled(options.scale), options.sort))
            return 0
    except ValueError as error:
        command.error(str(error))
    plan = Plan(stack_a, stack_b, options.rounds, options.scale, options.seed, options.timeout)
    about = machine()  # before the run: afterwards the load is our own
    outcomes = run_rows(rows, plan, progress=announce)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    for failure in failures:
        print(f"\n{failure.row.name} on {failure.stack}:\n{failure.trace}", file=sys.stderr)
    if options.json:
        document = json.dumps(as_json(outcomes, plan, about), indent=1) + "\n"
        if options.json == "-":
            sys.stdout.write(document)
        else:
            Path(options.json).write_text(document, encoding="utf-8")
    if options.json != "-":
        print(table(outcomes, plan, about))
    return 1 if failures else 0


def announce(row: Row) -> None:
    """Say on standard error which row is next."""
    print(f"{row.name} ...", file=sys.stderr, flush=True)


def select(patterns: str) -> list[Row]:
    """Rows that match a comma-separated list of names or shell patterns, in the table's order.

    ValueError, with the names there are, if one of them matches nothing.
    """
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    for pattern in wanted:
        if not any(fnmatchcase(row.name, pattern) for row in ROWS):
            names = ", ".join(row.name for row in ROWS)
            raise ValueError(f"no row is called {pattern!r}; there are: {names}")
    return [row for row in ROWS if any(fnmatchcase(row.name, pattern) for pattern in wanted)]


def positive(text: str) -> float:
    """A number above zero."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def positive_int(text: str) -> int:
    """A whole number above zero."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value
