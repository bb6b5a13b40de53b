"""Count, mean and variance of finite values, from exact sums."""

from __future__ import annotations

import math
from fractions import Fraction

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.sketches.exact import ROW, ExactSum, units
from driftline.sketches.scratch import CHUNK, scratch

LARGEST = float(np.finfo(np.float32).max)
"""Larger values are capped at this size, so that their squares stay finite. The grid has the same cap."""

COARSE, FINE, _EXTREME = 14, 40, 100
ROUNDED_BELOW = 16.0  # 4 bits, and 14 more: their squares have 36, and 2**16 of them add up without rounding
TO_COARSE, TO_FINE = 1.5 * 2.0 ** (52 - COARSE), 1.5 * 2.0 ** (52 - FINE)


class Moments(msgspec.Struct, frozen=True):
    """Count, sum and sum of squares of finite values; each value is capped at ``LARGEST`` in size.

    Squares are rounded once to float64 and then added exactly, so the variance loses at most 2**-53 of the mean square.
    """

    count: int = 0
    total: ExactSum = msgspec.field(default_factory=ExactSum)
    squares: ExactSum = msgspec.field(default_factory=ExactSum)

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> Moments:
        """Compute the moments of finite values, shape (n,)."""
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
        """The arithmetic mean; None when empty."""
        return float(self.total.fraction / self.count) if self.count else None

    @property
    def variance(self) -> float | None:
        """The unbiased variance (divisor n - 1), at least 0; None below two values."""
        if self.count < 2:
            return None
        mean = self.total.fraction / self.count
        spread: Fraction = self.squares.fraction - self.count * mean * mean
        return max(float(spread / (self.count - 1)), 0.0)

    @property
    def sd(self) -> float | None:
        """The standard deviation; None below two values."""
        variance = self.variance
        return None if variance is None else variance**0.5


class MomentsTally:
    """Adds up exact moments chunk by chunk."""

    def __init__(self) -> None:
        self._count = self._total = self._squares = 0

    def add(self, chunk: npt.NDArray[np.float64], largest: float) -> None:
        """Add finite values, shape (n,) with n up to `CHUNK`, none larger in size than ``largest``."""
        size = -(-len(chunk) // ROW) * ROW
        values, square = scratch("values", size, np.float64), scratch("square", size, np.float64)
        if largest > LARGEST:
            largest = LARGEST
            np.clip(chunk, -LARGEST, LARGEST, out=values[: len(chunk)])
        else:
            values[: len(chunk)] = chunk
        values[len(chunk) :] = 0.0
        np.multiply(values, values, out=square)
        self._count += len(chunk)
        self._total += units(values, largest)
        self._squares += units(square, largest * largest)

    def moments(self) -> Moments:
        """Return the moments of all values added."""
        return Moments(self._count, ExactSum(self._total), ExactSum(self._squares))


class RoundedMomentsTally:
    """Adds up the moments of values after rounding each of them: a third of the cost of exact moments.

    In units of ``scale``, a value is rounded to a multiple of 2**-40 in two parts: a coarse one, a multiple of 2**-14,
    and a fine one of at most 2**-15. Its square counts as the square of the coarse part plus twice the product of both.
    Values of 16 units or more are not rounded, and none are where the scale is extreme or no power of two. The sums of
    a chunk are exact, so they do not depend on the order either. The mean is off by at most 2**-41 units. The variance
    is too small by little more than 2**-30 square units at most, and by 2**-28 / 12 on average, but never below 0.
    """

    def __init__(self, scale: float) -> None:
        self._exact = MomentsTally()
        self._count = self._total = self._squares = 0
        mantissa, exponent = math.frexp(scale)
        self._shift = exponent - 1
        self.rounding = mantissa == 0.5 and abs(exponent) < _EXTREME

    def add(self, from_centre: npt.NDArray[np.float64], scaled: npt.NDArray[np.float64], largest: float) -> None:
        """Add finite values, shape (n,) with n up to `CHUNK`; ``scaled`` has them in units, and is overwritten."""
        if not self.rounding:
            self._exact.add(from_centre, largest)
            return
        count = len(scaled)
        if largest >= math.ldexp(ROUNDED_BELOW, self._shift):
            far = np.flatnonzero(np.abs(scaled) >= ROUNDED_BELOW)
            self.add_far(from_centre[far])
            scaled[far] = 0.0
            count -= len(far)
        rounded, rest = scratch("rounded", len(scaled), np.float64), scratch("rest", len(scaled), np.float64)
        np.add(scaled, TO_COARSE, out=rounded)
        np.subtract(rounded, TO_COARSE, out=rounded)
        np.subtract(scaled, rounded, out=rest)
        np.add(rest, TO_FINE, out=rest)
        np.subtract(rest, TO_FINE, out=rest)
        coarse = int(math.ldexp(float(np.add.reduce(rounded)), COARSE))
        fine = int(math.ldexp(float(np.add.reduce(rest)), FINE))
        np.multiply(rest, rounded, out=rest)
        np.multiply(rest, 2.0 ** (COARSE + FINE), out=rest)  # whole, and too many bits to be added up as floats
        crosses = int(np.add.reduce(rest.astype(np.int64)))
        np.multiply(rounded, rounded, out=rounded)  # not np.dot: its threads would wait actively for more
        self.add_rounded(count, coarse, fine, int(math.ldexp(float(np.add.reduce(rounded)), 2 * COARSE)), crosses)

    def add_rounded(self, count: int, coarse: int, fine: int, squares: int, crosses: int) -> None:
        """Add ``count`` values that are already rounded, by the sums over their parts.

        ``coarse`` and ``fine`` are the sums of the parts, in units of 2**-14 and 2**-40 scales; ``squares`` is the sum
        of the squared coarse parts, in units of 2**-28 square scales, and ``crosses`` that of the products of coarse
        and fine parts, in units of 2**-54 square scales.
        """
        self._count += count
        self._total += (coarse << (FINE - COARSE)) + fine
        self._squares += (squares << (FINE - COARSE)) + 2 * crosses

    def add_far(self, from_centre: npt.NDArray[np.float64]) -> None:
        """Add values, shape (n,), that are 16 scales or more from the centre."""
        for start in range(0, len(from_centre), CHUNK):
            chunk = from_centre[start : start + CHUNK]
            self._exact.add(chunk, max(float(chunk.max()), -float(chunk.min())))

    def moments(self) -> Moments:
        """Return the moments of all that was added."""
        return self._exact.moments().merge(
            Moments(
                self._count,
                ExactSum.scaled(self._total, self._shift - FINE),
                ExactSum.scaled(self._squares, 2 * self._shift - COARSE - FINE),
            )
        )
