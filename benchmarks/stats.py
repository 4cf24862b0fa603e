"""The arithmetic: medians, quartiles, and what a pair of rounds is worth."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """A list of measurements, boiled down; `q1` to `q3` is the spread that the table prints."""

    median: float
    q1: float
    q3: float
    low: float
    high: float


def summarise(values: Sequence[float]) -> Summary:
    """Median, quartiles (interpolated, ends included) and extremes.  ValueError if there is no value."""
    if not values:
        raise ValueError("nothing was measured")
    if len(values) == 1:
        only = values[0]
        return Summary(only, only, only, only, only)
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(median, q1, q3, min(values), max(values))


def pair_ratios(a: Iterable[float], b: Iterable[float]) -> list[float]:
    """b / a for each pair: for rates, how many times faster b was."""
    return [right / left for left, right in zip(a, b, strict=True)]


def pair_differences(a: Iterable[float], b: Iterable[float]) -> list[float]:
    """b - a for each pair: for times, what b costs on top."""
    return [right - left for left, right in zip(a, b, strict=True)]
