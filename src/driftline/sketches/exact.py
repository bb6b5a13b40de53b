"""Sums of floats that do not depend on the order of their terms.

A float64 is an integer times a power of two, so a sum of floats is an integer too, in units of the smallest
subnormal. Python's integers hold it exactly; NumPy adds the mantissas of equal exponents beforehand. This is the small
"superaccumulator" of Kulisch (2008); it lets a profile merged from parts have the same bytes as one made at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

_LOWEST_EXPONENT = -1126  # frexp exponent of the smallest subnormal (-1073), less the 53 bits of the mantissa
_HALF_BITS = 27
_CHUNK = 1 << 25  # with 27-bit halves, float64 bincount weights stay exact for this many values


@dataclass(frozen=True, slots=True)
class ExactSum:
    """The exact sum of finite floats, as an integer count of units of 2**-1126.

    >>> values = np.array([1e100, 1.0, -1e100])
    >>> ExactSum.of(values).value, float(np.sum(values))
    (1.0, 0.0)
    """

    units: int = 0

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> ExactSum:
        """Add up finite values, shape (n,); the empty sum is 0."""
        total = 0
        for start in range(0, len(values), _CHUNK):
            mantissa, exponent = np.frexp(values[start : start + _CHUNK])
            whole = np.ldexp(mantissa, 53).astype(np.int64)
            high = whole >> _HALF_BITS
            low = whole - (high << _HALF_BITS)
            lowest = int(exponent.min())
            place = exponent - lowest
            highs = np.bincount(place, weights=high)
            lows = np.bincount(place, weights=low)
            for offset in np.flatnonzero((highs != 0) | (lows != 0)).tolist():
                shift = lowest + offset - 53 - _LOWEST_EXPONENT
                total += ((int(highs[offset]) << _HALF_BITS) + int(lows[offset])) << shift
        return cls(total)

    def merge(self, other: ExactSum) -> ExactSum:
        """Return the sum of both."""
        return ExactSum(self.units + other.units)

    @property
    def fraction(self) -> Fraction:
        """The sum as an exact fraction."""
        return Fraction(self.units, 1 << -_LOWEST_EXPONENT)

    @property
    def value(self) -> float:
        """The sum rounded once to the nearest float; infinite where it exceeds the range of a float."""
        try:
            return self.units / (1 << -_LOWEST_EXPONENT)
        except OverflowError:
            return float("inf") if self.units > 0 else float("-inf")
