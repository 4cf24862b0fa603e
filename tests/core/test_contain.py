"""ErrorReporter: once each kind, counted always, never raising."""

from __future__ import annotations

import gc
import weakref

import pytest

from pysock.core.contain import ErrorReporter, describe


def caught(exc: Exception) -> Exception:
    try:
        raise exc
    except Exception as same:
        return same


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


def test_logs_the_first_of_each_owner_place_and_class() -> None:
    lines: list[str] = []
    reporter = ErrorReporter(lines.append)
    assert reporter.report("e100", "ndo_start_xmit", caught(ValueError("bad ring")))
    assert not reporter.report("e100", "ndo_start_xmit", caught(ValueError("another")))
    assert reporter.report("e100", "ndo_start_xmit", caught(KeyError("x")))
    assert reporter.report("e100", "poll", caught(ValueError("bad ring")))
    assert reporter.report("tap", "poll", caught(ValueError("bad ring")))
    assert len(lines) == 4
    assert "e100" in lines[0] and "ndo_start_xmit" in lines[0] and "ValueError: bad ring" in lines[0]
    assert [record.count for record in reporter.records()] == [2, 1, 1, 1]
    assert (reporter.total, reporter.count("e100"), reporter.count("nobody")) == (5, 4, 0)
    assert "[2 times]" in str(reporter.records()[0])


def test_says_where_it_was_raised() -> None:
    text = describe(caught(ValueError("bad\n ring")))
    assert text.startswith("ValueError: bad ring (test_contain.py:")
    assert text.endswith("in caught)")
    assert describe(ValueError()) == "ValueError"


def test_exceptions_are_not_kept_alive() -> None:
    class Watched(Exception):  # a plain ValueError takes no weak reference
        pass

    reporter = ErrorReporter(lambda text: None)
    error = caught(Watched("x"))
    reporter.report("p", "w", error)
    watch = weakref.ref(error)
    del error
    gc.collect()
    assert watch() is None


def test_an_exception_without_text_is_reported_too() -> None:
    lines: list[str] = []
    assert ErrorReporter(lines.append).report("p", "w", caught(Mute()))
    assert "Mute: <its message raised too>" in lines[0]


def test_the_list_is_bounded() -> None:
    lines: list[str] = []
    reporter = ErrorReporter(lines.append, limit=2)
    for owner in ("a", "b", "c", "d", "a"):
        reporter.report(owner, "w", caught(ValueError()))
    assert len(lines) == len(reporter.records()) == 2
    assert (reporter.overflow, reporter.total, reporter.count("a")) == (2, 5, 2)


def test_a_log_that_raises_is_counted() -> None:
    def log(text: str) -> None:
        raise OSError("disk full")

    reporter = ErrorReporter(log)
    assert reporter.report("p", "w", caught(ValueError()))
    assert (reporter.log_failures, reporter.total) == (1, 1)


def test_a_message_that_reports_again_is_no_deadlock() -> None:
    reporter = ErrorReporter(lambda text: None)

    class Reenters(Exception):
        def __str__(self) -> str:
            reporter.report("inner", "w", ValueError())
            return "x"

    reporter.report("outer", "w", Reenters())
    assert [record.owner for record in reporter.records()] == ["outer", "inner"]


def test_default_log_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    ErrorReporter().report("p", "w", ValueError("two\nlines"))
    assert capsys.readouterr().err.count("\n") == 1
