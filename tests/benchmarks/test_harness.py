"""The benchmarks' own logic, and each row once, tiny, with the kernel on both sides.  No speed is judged."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import os
import random
import socket
import sys
import types
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import cli, harness
from benchmarks.child import run_child
from benchmarks.harness import Failed, Measured, Plan, Skipped, orders, run_row, run_rows, watchdog
from benchmarks.memory_child import bytes_per_connection
from benchmarks.profiler import profile_row
from benchmarks.report import SCHEMA, as_json, figure, machine, quantity, table, verdict
from benchmarks.row import Kind, Row, Unavailable
from benchmarks.rows import ROWS, routes
from benchmarks.rows.common import Worker, tcp_pair
from benchmarks.stack import KERNEL, PATCHED, PYSOCK, STACKS, Stack
from benchmarks.stats import pair_differences, pair_ratios, summarise

# What the issue asks: row -> (this issue, goal).
TARGETS = {
    "tcp_rr": (0.85, 1.0),
    "tcp_rr_threads": (0.75, 1.0),
    "tcp_rr_asyncio": (0.75, 1.0),
    "tcp_bulk": (1.3, 1.5),
    "tcp_bulk_into": (1.2, 1.5),
    "tcp_bulk_threads": (1.5, 2.0),
    "udp_rr": (1.3, 1.5),
    "tcp_crr": (0.5, 1.0),
    "http_threads": (0.7, 1.0),
    "http_asyncio": (0.75, 1.0),
    "idle_memory": (6.0, 4.0),
    "boot": (2.0, 1.0),
    "import": (30.0, None),
}


@dataclass
class Script:
    """A measure that replays figures for each side and remembers who was called."""

    figures: dict[str, list[float]]
    calls: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, stack: Stack, count: int) -> float:
        self.calls.append((stack.name, count))
        return self.figures[stack.name].pop(0)


A = Stack("left", module="socket", imports="socket")
B = Stack("right", module="socket", imports="socket")


def scripted(script: Script, kind: Kind = Kind.RATIO, **more: object) -> Row:
    return Row("made_up", "a made-up row", "things/s", script, 100, kind, **more)  # type: ignore[arg-type]


def words(text: str) -> list[str]:
    return text.split()


def row_named(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


class TestStats:
    def test_summary(self) -> None:
        summary = summarise([5.0, 1.0, 4.0, 2.0, 3.0])
        assert (summary.median, summary.q1, summary.q3, summary.low, summary.high) == (3, 2, 4, 1, 5)

    def test_one_value_is_its_own_spread(self) -> None:
        summary = summarise([7.0])
        assert {summary.median, summary.q1, summary.q3, summary.low, summary.high} == {7.0}

    def test_nothing_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="nothing was measured"):
            summarise([])

    @given(st.lists(st.floats(0.001, 1e9), min_size=1))
    def test_order(self, values: list[float]) -> None:
        s = summarise(values)
        near = [s.low * (1 - 1e-9), s.q1, s.median * (1 + 1e-9), s.q3 * (1 + 2e-9), s.high * (1 + 3e-9)]
        assert near == sorted(near)

    def test_pairs(self) -> None:
        assert pair_ratios([2.0, 4.0], [1.0, 8.0]) == [0.5, 2.0]
        assert pair_differences([2.0, 4.0], [1.0, 8.0]) == [-1.0, 4.0]

    def test_a_missing_half_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            pair_ratios([1.0, 2.0], [1.0])


class TestAlternation:
    def test_each_pair_has_both_sides_in_either_order(self) -> None:
        drawn = list(orders(64, random.Random(1)))
        assert len(drawn) == 64
        assert set(drawn) == {("a", "b"), ("b", "a")}

    def test_the_seed_decides(self) -> None:
        assert list(orders(64, random.Random(5))) == list(orders(64, random.Random(5)))
        assert list(orders(64, random.Random(5))) != list(orders(64, random.Random(6)))

    def test_ratio_row(self) -> None:
        script = Script({"left": [1e6, 10.0, 20.0, 40.0], "right": [1e6, 20.0, 20.0, 20.0]})
        outcome = run_row(scripted(script), Plan(A, B, rounds=3, scale=0.5))
        assert isinstance(outcome, Measured)
        assert outcome.a == [10.0, 20.0, 40.0]  # the warm-up is gone
        assert outcome.results == [2.0, 1.0, 0.5]
        assert outcome.result.median == 1.0
        names = [name for name, _ in script.calls]
        pairs = [set(names[index : index + 2]) for index in range(0, len(names), 2)]
        assert pairs == [{"left", "right"}] * 4
        assert {count for _, count in script.calls} == {50}

    def test_difference_row(self) -> None:
        script = Script({"left": [0.0, 10.0, 10.0], "right": [0.0, 25.0, 35.0]})
        outcome = run_row(scripted(script, Kind.DIFFERENCE), Plan(A, B, rounds=2))
        assert isinstance(outcome, Measured)
        assert outcome.results == [15.0, 25.0]

    def test_absolute_row_runs_side_b_alone(self) -> None:
        script = Script({"right": [9.0, 4.0, 5.0]})
        outcome = run_row(scripted(script, Kind.ABSOLUTE), Plan(A, B, rounds=2))
        assert isinstance(outcome, Measured)
        assert (outcome.a, outcome.results) == ([], [4.0, 5.0])

    def test_a_row_may_cap_its_rounds_and_skip_the_warm_up(self) -> None:
        script = Script({"right": [9.0]})
        outcome = run_row(scripted(script, Kind.ABSOLUTE, max_rounds=1, warm_up=False), Plan(A, B))
        assert isinstance(outcome, Measured)
        assert outcome.results == [9.0]

    def test_the_same_stack_on_both_sides(self) -> None:
        script = Script({"left": [1.0, 1.0, 2.0, 2.0]})
        outcome = run_row(scripted(script), Plan(A, A, rounds=1))
        assert isinstance(outcome, Measured)
        assert outcome.results == [1.0]

    def test_other_rows_do_not_change_the_order(self) -> None:
        runs = []
        for _ in range(2):
            script = Script({"left": [1.0] * 11, "right": [1.0] * 11})
            run_row(scripted(script), Plan(A, B, rounds=10, seed=3))
            runs.append(script.calls)
        assert runs[0] == runs[1]

    def test_a_tiny_scale_still_measures_something(self) -> None:
        assert scripted(Script({})).scaled(1e-9) == 1


class TestContainment:
    def test_a_failing_row_names_its_side_and_the_others_go_on(self) -> None:
        def broken(stack: Stack, count: int) -> float:
            if stack.name == "right":
                raise OSError(95, "not yet")
            return 1.0

        bad = Row("bad", "", "", broken, 1)
        good = scripted(Script({"left": [1.0, 1.0], "right": [1.0, 1.0]}))
        heard: list[str] = []
        first, second = run_rows([bad, good], Plan(A, B, rounds=1), lambda row: heard.append(row.name))
        assert isinstance(first, Failed)
        assert (first.stack, first.error) == ("right", "OSError: [Errno 95] not yet")
        assert "in broken" in first.trace
        assert isinstance(second, Measured)
        assert heard == ["bad", "made_up"]

    def test_a_failing_child_says_why(self) -> None:
        with pytest.raises(RuntimeError) as caught:
            run_child("-c", "1 / 0")
        assert str(caught.value) == "in a child process: ZeroDivisionError: division by zero"
        assert "Traceback" in caught.value.__notes__[0]

    def test_a_failing_thread_is_heard_and_wakes_its_peer(self) -> None:
        def fail(end: socket.socket) -> None:
            end.recv(1)
            raise LookupError("gone")

        def ask() -> bytes:
            client, server = tcp_pair(socket)
            with Worker(fail, server), client:
                client.send(b"x")
                return client.recv(1)

        with pytest.raises(LookupError, match="gone"):
            ask()

    def test_watchdog_is_armed_and_disarmed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events: list[object] = []
        monkeypatch.setattr(
            faulthandler, "dump_traceback_later", lambda seconds, exit: events.append((seconds, exit))
        )
        monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: events.append("off"))
        with watchdog(None):
            pass
        assert events == []
        with pytest.raises(KeyError), watchdog(3.0):
            raise KeyError
        assert events == [(3.0, True), "off"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins")
class TestPinning:
    def test_pins_to_a_core_it_may_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pinned: list[tuple[int, set[int]]] = []
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3})
        monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: pinned.append((pid, cores)))
        harness.pin(3)
        assert pinned == [(0, {3})]

    def test_names_the_usable_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3})
        with pytest.raises(ValueError, match=r"core 0 .* \(2, 3\).*--no-pin"):
            harness.pin(0)


class TestStacks:
    @pytest.fixture
    def patched(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """A stand-in for pysock whose patch() writes down when it is in force."""
        events: list[str] = []

        @contextlib.contextmanager
        def patch() -> Iterator[None]:
            events.append("on")
            yield
            events.append("off")

        fake = types.ModuleType("pysock")
        fake.patch = patch  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pysock", fake)
        return events

    @pytest.mark.parametrize(
        ("stack", "program", "expected"),
        [
            (KERNEL, False, []),
            (KERNEL, True, []),
            (PYSOCK, False, []),
            (PYSOCK, True, ["on", "off"]),
            (PATCHED, False, ["on", "off"]),
            (PATCHED, True, ["on", "off"]),
        ],
    )
    def test_which_rows_run_patched(
        self, patched: list[str], stack: Stack, program: bool, expected: list[str]
    ) -> None:
        context: AbstractContextManager[object] = stack.environment(program=program)
        with context:
            pass
        assert patched == expected

    def test_the_measured_part_is_inside_the_patch(self, patched: list[str]) -> None:
        def measure(stack: Stack, count: int) -> float:
            assert patched[-1:] == (["on"] if stack is PYSOCK else patched[-1:])
            assert stack is PYSOCK or patched[-1:] != ["on"]
            return 1.0

        outcome = run_row(Row("program", "", "", measure, 1, program=True), Plan(KERNEL, PYSOCK, rounds=2))
        assert isinstance(outcome, Measured), outcome
        assert patched == ["on", "off"] * 3

    def test_modules(self) -> None:
        assert KERNEL.net.socket is socket.socket
        assert PYSOCK.module == "pysock"
        assert all(name == stack.name for name, stack in STACKS.items())


class TestReport:
    PLAN = Plan(A, B, rounds=3)

    def outcomes(self) -> list[Measured | Failed]:
        ratio = Row("fast", "a ratio", "trips/s", Script({}), 10, issue=0.85, goal=1.0)
        cost = Row("cost", "a cost", "KB", Script({}), 10, Kind.ABSOLUTE, issue=6.0, goal=4.0)
        extra = Row("extra", "a difference", "ms", Script({}), 10, Kind.DIFFERENCE, issue=30.0)
        return [
            Measured(ratio, 10, [1e5, 1e5, 1e5], [9e4, 9.2e4, 8.8e4]),
            Measured(cost, 10, [], [6.5]),
            Measured(extra, 10, [10.0, 10.0, 10.0], [28.0, 27.5, 30.0]),
            Failed(ratio, "right", "OSError: no", "Traceback ..."),
        ]

    def test_table(self) -> None:
        lines = table(self.outcomes(), self.PLAN, machine()).splitlines()
        start = next(index for index, line in enumerate(lines) if line.startswith("row "))
        heading, fast, cost, extra, failed = lines[start : start + 5]
        assert heading.split() == words("row unit left right result spread this issue goal verdict")
        assert fast.split() == words("fast trips/s 100,000 90,000 0.90x 0.89x .. 0.91x 0.85x 1.00x ok")
        assert cost.split() == words("cost KB - 6.50 6.50 6.50 .. 6.50 6.00 4.00 short")
        assert extra.split() == words("extra ms 10.00 28.00 +18.0 +17.8 .. +19.0 +30.0 - ok")
        assert failed.split()[2:5] == ["-", "-", "failed"]
        assert len({len(line) for line in (heading, fast, cost, extra, failed)}) == 1
        assert lines[-1] == "fast failed on right: OSError: no"

    def test_json_shape(self) -> None:
        document = as_json(self.outcomes(), self.PLAN, machine())
        assert json.loads(json.dumps(document)) == document
        assert document["schema"] == SCHEMA
        assert document["plan"] == {"a": "left", "b": "right", "rounds": 3, "scale": 1.0, "seed": 1}
        rows = document["rows"]
        assert isinstance(rows, list)
        fast, cost, extra, failed = rows
        assert isinstance(fast, dict)
        assert isinstance(cost, dict)
        assert isinstance(extra, dict)
        assert isinstance(failed, dict)
        assert (fast["name"], fast["kind"], fast["count"]) == ("fast", "ratio", 10)
        assert (fast["meets_issue"], fast["meets_goal"]) == (True, False)
        series = fast["result"]
        assert isinstance(series, dict)
        assert list(series) == ["median", "q1", "q3", "low", "high", "values"]
        assert series["values"] == pytest.approx([0.9, 0.92, 0.88])
        assert (cost["a"], cost["meets_issue"]) == (None, False)
        assert (extra["meets_issue"], extra["meets_goal"]) == (True, None)
        assert (failed["error"], failed["stack"]) == ("OSError: no", "right")
        assert "result" not in failed

    @pytest.mark.parametrize(
        ("kind", "value", "expected"),
        [
            (Kind.RATIO, 1.0, "goal"),
            (Kind.RATIO, 0.85, "ok"),
            (Kind.RATIO, 0.84, "short"),
            (Kind.ABSOLUTE, 0.85, "goal"),
            (Kind.ABSOLUTE, 1.1, "short"),
        ],
    )
    def test_verdict(self, kind: Kind, value: float, expected: str) -> None:
        better, best = (0.85, 1.0) if kind is Kind.RATIO else (1.0, 0.85)
        row = Row("r", "", "", Script({}), 1, kind, issue=better, goal=best)
        assert verdict(Measured(row, 1, [1.0], [value])) == expected

    def test_no_target_no_verdict(self) -> None:
        assert verdict(Measured(scripted(Script({})), 1, [1.0], [2.0])) == "-"

    def test_figures(self) -> None:
        assert figure(scripted(Script({})), 0.976) == "0.98x"
        assert figure(scripted(Script({}), Kind.DIFFERENCE), -0.5) == "-0.50"
        assert quantity(1234567.0) == "1,234,567"
        assert quantity(5.812) == "5.81"

    def test_a_row_that_cannot_be_had_is_skipped_aloud(self) -> None:
        def measure(stack: Stack, count: int) -> float:
            raise Unavailable("no such wire")

        row = Row("wired", "a row", "MB/s", measure, 1, issue=2.0)
        plan = Plan(A, B, rounds=1)
        outcome = run_row(row, plan)
        assert outcome == Skipped(row, "no such wire")
        text = table([outcome], plan, machine())
        assert "wired skipped: no such wire" in text
        assert as_json([outcome], plan, machine())["rows"][0]["skipped"] == "no such wire"  # type: ignore[index, call-overload]

    def test_machine_says_what_the_figures_depend_on(self) -> None:
        about = machine()
        assert about["gc"] == harness.GC_POLICY
        assert str(about["python"]).endswith(".".join(map(str, sys.version_info[:3])))


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def _leave_pytests_own_watchdog_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, exit: None)
        monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: None)

    def test_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--list"]) == 0
        names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
        assert names == [row.name for row in ROWS]

    def test_patterns_keep_the_tables_order(self) -> None:
        assert [row.name for row in cli.select("udp_rr, tcp_b*")] == [
            "tcp_bulk", "tcp_bulk_into", "tcp_bulk_threads", "udp_rr",
        ]  # fmt: skip

    @pytest.mark.parametrize("arguments", [["--rows", "tcp_rr,nonsense"], ["--profile", "nonsense"]])
    def test_an_unknown_row_shows_the_known_ones(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2
        message = capsys.readouterr().err
        assert "no row is called 'nonsense'" in message
        assert "tcp_rr_asyncio" in message

    @pytest.mark.parametrize("bad", [["--rounds", "0"], ["--scale", "0"], ["--scale", "nan"], ["--a", "x"]])
    def test_bad_values(self, bad: list[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(bad)
        assert caught.value.code == 2

    def test_a_whole_run(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        target = tmp_path / "out.json"
        status = cli.main(
            words("--rows tcp_rr,udp_rr --rounds 2 --scale 0.0001 --no-pin --a kernel --b kernel --json")
            + [str(target)]
        )
        assert status == 0
        document = json.loads(target.read_text())
        assert [row["name"] for row in document["rows"]] == ["tcp_rr", "udp_rr"]
        assert len(document["rows"][0]["result"]["values"]) == 2
        assert "\ntcp_rr " in capsys.readouterr().out

    def test_json_on_standard_output_stands_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = "--rows udp_rr --rounds 1 --scale 0.0001 --no-pin --a kernel --b kernel --json -"
        assert cli.main(words(arguments)) == 0
        assert json.loads(capsys.readouterr().out)["schema"] == SCHEMA

    def test_a_failed_row_fails_the_run(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        broken = scripted(Script({"kernel": []}))
        monkeypatch.setattr(cli, "ROWS", (broken,))
        assert cli.main(words("--no-pin --a kernel --b kernel")) == 1
        captured = capsys.readouterr()
        assert "made_up failed on kernel: IndexError" in captured.out
        assert "Traceback" in captured.err

    def test_profile(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(words("--profile tcp_rr --b kernel --scale 0.001 --no-pin")) == 0
        text = capsys.readouterr().out
        assert text.startswith("tcp_rr on kernel, 30 x: ")
        assert "method 'send' of '_socket.socket' objects" in text

    def test_a_child_cannot_be_profiled(self) -> None:
        with pytest.raises(ValueError, match="fresh process"):
            profile_row(row_named("import"), KERNEL, 1)


class TestRows:
    def test_the_rows_of_the_issue_with_their_targets(self) -> None:
        assert {row.name: (row.issue, row.goal) for row in ROWS if row.issue is not None} == TARGETS

    def test_names_are_unique(self) -> None:
        names = [row.name for row in ROWS]
        assert len(set(names)) == len(names)

    def test_targets_get_harder(self) -> None:
        for row in ROWS:
            if row.issue is not None and row.goal is not None:
                assert row.meets(row.goal, row.issue), row.name

    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
    def test_smoke_on_the_kernel(self, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(routes, "_ROUTES", 1000)  # 100,000 take seconds to make
        outcome = run_row(row, Plan(KERNEL, KERNEL, rounds=1, scale=5 / row.count))
        if isinstance(outcome, Skipped):
            pytest.skip(outcome.reason)
        assert isinstance(outcome, Measured), outcome.trace
        assert outcome.count == min(5, row.count) or row.count == 1
        assert len(outcome.results) == 1
        measured = outcome.a + outcome.b
        assert all(math.isfinite(value) for value in measured)
        # What a handful of connections or hosts takes may fit in pages that were there, and the router's row is the
        # difference of two times: of five datagrams it may come out negative on a busy machine.
        if row.name not in ("idle_memory_rss", "hosts_memory", "forwarding"):
            assert all(value > 0 for value in measured)

    def test_traced_memory_counts_both_sockets(self) -> None:
        traced = float(run_child("-m", "benchmarks.memory_child", "kernel", "50", "tracemalloc"))
        with socket.socket() as one:
            assert traced >= 2 * sys.getsizeof(one)

    def test_an_unknown_meter_is_refused(self) -> None:
        with pytest.raises(ValueError, match="tracemalloc or rss"):
            bytes_per_connection(socket, 1, "guess")
