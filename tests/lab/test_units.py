"""Amounts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.lab.units import bytes_per_second, fraction, impairments, nanoseconds


@pytest.mark.parametrize(
    ("text", "ns"),
    [("20ms", 20_000_000), ("1.5s", 1_500_000_000), ("300us", 300_000), ("7 ns", 7), (0.5, 500_000_000), (2, 2 * 10**9),
     ("2min", 120 * 10**9), (".5ms", 500_000), ("3", 3 * 10**9)],
)  # fmt: skip
def test_times(text: object, ns: int) -> None:
    assert nanoseconds(text) == ns


@pytest.mark.parametrize(
    ("text", "rate"), [("10mbit", 1_250_000), ("64kbit", 8000), ("1Gbit", 125_000_000), (800, 100)]
)
def test_rates(text: object, rate: int) -> None:
    assert bytes_per_second(text) == rate


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("100%", 1), (0.25, 0.25), ("0.5", 0.5), (0, 0)])
def test_shares(text: object, share: float) -> None:
    assert fraction(text) == share


@pytest.mark.parametrize("function", [nanoseconds, bytes_per_second, fraction])
@pytest.mark.parametrize("text", ["", "fast", "-1", "1 parsec", None, True, -1, "1e3ms", b"1", float("nan")])
def test_what_nobody_can_mean(function: object, text: object) -> None:
    with pytest.raises(ValueError, match='is "'):
        function(text)  # type: ignore[operator]  # one of three


@given(st.one_of(st.text(max_size=8), st.integers(), st.floats(), st.none()))
def test_anything_else_is_a_value_error(value: object) -> None:
    for function in (nanoseconds, bytes_per_second, fraction):
        try:
            assert function(value) >= 0
        except ValueError:
            pass


def test_wishes_become_options_of_netem() -> None:
    wishes = {"delay": "20ms", "loss": "1%", "rate": "8mbit", "limit": 5, "jitter": None, "gemodel": ("1%", 0.5)}
    assert impairments(wishes) == {
        "delay": 20_000_000, "loss": 0.01, "rate": 1_000_000, "limit": 5, "gemodel": (0.01, 0.5),
    }  # fmt: skip
