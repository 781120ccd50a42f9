"""Medians, and intervals that say how far to trust them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from math import comb

COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """A median with the interval that holds the true one with `coverage`."""

    median: float
    low: float
    high: float
    coverage: float

    def reaches(self, bar: float) -> bool:
        """Whether the interval holds a value that is no greater than the bar."""
        return self.low <= bar

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def interval(values: list[float]) -> Interval:
    """Between two values by rank: for any distribution, how often the true median lies there is a binomial sum. With
    fewer than six values it is their whole range, and the coverage less."""
    ranked = sorted(values)
    number = len(ranked)
    if number == 0:
        raise ValueError("no values")
    cut = 0
    while cut + 1 < number - cut - 1 and covered(number, cut + 1) >= COVERAGE:
        cut += 1
    return Interval(statistics.median(ranked), ranked[cut], ranked[number - 1 - cut], covered(number, cut))


def covered(number: int, cut: int) -> float:
    """How often the true median lies between the values that are left after `cut` at each end are taken off."""
    return 1 - 2 * sum(comb(number, rank) for rank in range(cut + 1)) / 2**number
