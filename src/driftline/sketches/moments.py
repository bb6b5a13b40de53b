"""Count, mean and variance of finite values, from exact sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from driftline.sketches.exact import ExactSum

LARGEST = float(np.finfo(np.float32).max)
"""Values beyond this are counted as this: their squares stay finite. The grid caps at the same place."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squares of finite values; each value is capped at ``LARGEST`` in size.

    Squares are rounded once to float64 and then added exactly, so the variance loses at most 2**-53 of the mean square.
    """

    count: int = 0
    total: ExactSum = field(default_factory=ExactSum)
    squares: ExactSum = field(default_factory=ExactSum)

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> Moments:
        """Moments of finite values, shape (n,)."""
        if not len(values):
            return cls()
        capped = np.clip(values, -LARGEST, LARGEST)
        return cls(len(values), ExactSum.of(capped), ExactSum.of(capped * capped))

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of values together."""
        return Moments(self.count + other.count, self.total.merge(other.total), self.squares.merge(other.squares))

    @property
    def mean(self) -> float | None:
        """Arithmetic mean; None when empty."""
        return float(self.total.fraction / self.count) if self.count else None

    @property
    def variance(self) -> float | None:
        """Unbiased variance (divisor n - 1), at least 0; None below two values."""
        if self.count < 2:
            return None
        mean = self.total.fraction / self.count
        spread: Fraction = self.squares.fraction - self.count * mean * mean
        return max(float(spread / (self.count - 1)), 0.0)

    @property
    def sd(self) -> float | None:
        """Standard deviation; None below two values."""
        variance = self.variance
        return None if variance is None else variance**0.5
