"""Correlated chance, as netem uses it: one stream of draws for each thing that can happen to a packet.

`Crandom` makes each draw depend on the one before (get_crandom); `GilbertElliott` loses packets in bursts
(loss_gemodel). Probabilities and correlations are fractions from 0 to 1.
"""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from random import Random


class Crandom:
    """``chance`` that something happens, with ``correlation`` to the draw before."""

    __slots__ = ("_last", "_rng", "chance", "correlation")

    def __init__(self, rng: Random, chance: float, correlation: float = 0.0) -> None:
        self._rng = rng
        self._last = 0.0
        self.chance = chance
        self.correlation = correlation

    def draw(self) -> float:
        """A number in 0..1."""
        value = self._rng.random()
        rho = self.correlation
        if rho:
            value = self._last = value * (1 - rho) + self._last * rho
        return value

    def happens(self) -> bool:
        """Whether it happens to this packet. What never happens takes no draw."""
        return self.chance > 0 and self.draw() < self.chance


class GilbertElliott:
    """Two states: good, where a packet is lost with chance ``1-k``, and bad, with chance ``1-h``. After each packet it
    goes bad with chance ``p`` and good again with chance ``r``.
    """

    __slots__ = ("_bad", "_rng", "lost_in_bad", "lost_in_good", "p", "r")

    def __init__(self, rng: Random, p: float, r: float, lost_in_bad: float = 1.0, lost_in_good: float = 0.0) -> None:
        self._rng = rng
        self._bad = False
        self.p = p
        self.r = r
        self.lost_in_bad = lost_in_bad
        self.lost_in_good = lost_in_good

    def happens(self) -> bool:
        """Whether this packet is lost."""
        rng = self._rng
        if self._bad:
            self._bad = rng.random() >= self.r
        else:
            self._bad = rng.random() < self.p
        return rng.random() < (self.lost_in_bad if self._bad else self.lost_in_good)


class Jitter:
    """How much longer or shorter than ``delay`` a packet takes: ``sigma`` ns at most ("uniform"), or as the standard
    deviation ("normal"); never less than no time.
    """

    __slots__ = ("_last", "_rng", "correlation", "delay", "distribution", "sigma")

    def __init__(self, rng: Random, delay: int, sigma: int, correlation: float, distribution: str) -> None:
        self._rng = rng
        self._last = 0.0
        self.delay = delay
        self.sigma = sigma
        self.correlation = correlation
        self.distribution = distribution

    def draw(self) -> int:
        """Nanoseconds that this packet takes."""
        if not self.sigma:
            return self.delay
        rng, rho = self._rng, self.correlation
        # Correlated draws keep the spread of independent ones.
        if self.distribution == "normal":
            value = rng.gauss(0.0, 1.0)
            if rho:
                value = self._last = rho * self._last + math.sqrt(1 - rho * rho) * value
        else:
            value = rng.uniform(-1.0, 1.0)
            if rho:
                value = self._last = rho * self._last + (1 - rho) * value
        return max(0, self.delay + round(self.sigma * value))
