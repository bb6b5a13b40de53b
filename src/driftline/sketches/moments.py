"""Count, mean and variance of finite values, from exact sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from driftline.sketches.exact import CHUNK, ROW, ExactSum, units

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
        tally = MomentsTally()
        for start in range(0, len(values), CHUNK):
            chunk = values[start : start + CHUNK]
            tally.add(chunk, max(float(chunk.max()), -float(chunk.min())))
        return tally.moments()

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


class MomentsTally:
    """Adds up moments chunk by chunk, in buffers of its own."""

    def __init__(self) -> None:
        self.count = self._total = self._squares = 0
        self._values, self._square, self._slices = np.empty(0), np.empty(0), np.empty(0)

    def add(self, chunk: npt.NDArray[np.float64], largest: float) -> None:
        """Add finite values, shape (n,) with n up to `CHUNK`; ``largest`` is the size of the largest."""
        size = -(-len(chunk) // ROW) * ROW
        if len(self._values) < size:
            self._values, self._square, self._slices = np.empty(size), np.empty(size), np.empty(size)
        values, square, slices = self._values[:size], self._square[:size], self._slices[:size]
        if largest > LARGEST:
            largest = LARGEST
            np.clip(chunk, -LARGEST, LARGEST, out=values[: len(chunk)])
        else:
            values[: len(chunk)] = chunk
        values[len(chunk) :] = 0.0
        np.multiply(values, values, out=square)
        self.count += len(chunk)
        self._total += units(values, largest, slices)
        self._squares += units(square, largest * largest, slices)

    def moments(self) -> Moments:
        """The moments of all that was added."""
        return Moments(self.count, ExactSum(self._total), ExactSum(self._squares))
