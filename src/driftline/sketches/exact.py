"""Sums of floats that do not depend on the order of their terms.

A float64 is an integer times a power of two, so a sum of floats is an integer too, in units of the smallest
subnormal. Python's integers hold it exactly; NumPy adds the mantissas of equal exponents beforehand. This is the small
"superaccumulator" of Kulisch (2008); with it, a profile merged from parts has the same bytes as one made at once.
"""

from __future__ import annotations

import math
from fractions import Fraction

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.sketches import compiled
from driftline.sketches.compiled import EXACT_BITS
from driftline.sketches.scratch import CHUNK, scratch

_LOWEST_EXPONENT = -1126  # frexp exponent of the smallest subnormal (-1073), less the 53 bits of the mantissa
_HALF_BITS = 27
_ROW_BITS = 8
_SLICE_BITS = 52 - _ROW_BITS  # what is cut off at a time, so that a row of 2**_ROW_BITS slices adds up without rounding
_SLICES = 4  # at most; what is left after them is of another order of size
_SAFE_EXPONENT = 900  # beyond it the cuts themselves would overflow or be subnormal

ROW = 1 << _ROW_BITS


class ExactSum(msgspec.Struct, frozen=True):
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
        for start in range(0, len(values), CHUNK):
            chunk = values[start : start + CHUNK]
            rest = scratch("rest", -(-len(chunk) // ROW) * ROW, np.float64)
            rest[: len(chunk)] = chunk
            rest[len(chunk) :] = 0.0
            total += units(rest, max(float(chunk.max()), -float(chunk.min())))
        return cls(total)

    @classmethod
    def scaled(cls, whole: int, exponent: int) -> ExactSum:
        """Return the sum ``whole`` times 2**exponent; parts below 2**-1126 are cut off."""
        shift = exponent - _LOWEST_EXPONENT
        return cls(whole << shift if shift >= 0 else whole >> -shift)

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


def units(values: npt.NDArray[np.float64], largest: float) -> int:
    """Return the sum of a chunk in units of 2**-1126. ``values``, a multiple of `ROW` long, are overwritten.

    ``largest`` is at least the size of every value. Adding and subtracting a large power of two cuts slices of equal
    weight off all values (the error-free vector transformation of Rump, Ogita & Oishi 2008); rows of slices add up
    exactly in float64.
    """
    exponent = math.frexp(largest)[1]
    loops = compiled.kernel()
    if loops is not None and -_SAFE_EXPONENT < exponent < _SAFE_EXPONENT:
        whole, left = loops.add_exactly(values, exponent, scratch("left", len(values), np.float64))
        return (whole << (exponent - EXACT_BITS - _LOWEST_EXPONENT)) + _units_by_exponent(left)
    return _units_by_slices(values, exponent)


def _units_by_slices(values: npt.NDArray[np.float64], exponent: int) -> int:
    total = 0
    slices = scratch("slices", len(values), np.float64)
    for turn in range(_SLICES):
        if not -_SAFE_EXPONENT < exponent < _SAFE_EXPONENT:
            break
        cut = math.ldexp(1.0, exponent + _ROW_BITS + 1)
        np.add(values, cut, out=slices)
        np.subtract(slices, cut, out=slices)
        np.subtract(values, slices, out=values)
        weight = exponent - _SLICE_BITS
        rows = np.ldexp(np.add.reduce(slices.reshape(-1, ROW), axis=1), -weight)
        total += int(rows.astype(np.int64).sum()) << (weight - _LOWEST_EXPONENT)
        exponent = weight  # half a unit of the slice is the most that can be left
        if turn == 0 and values.any():
            continue
        left = values[values != 0]
        if len(left) < len(values) // 16:
            return total + _units_by_exponent(left)
    return total + _units_by_exponent(values[values != 0])


def _units_by_exponent(values: npt.NDArray[np.float64]) -> int:
    """The sum of values of any size, in units: mantissas are added by exponent."""
    total = 0
    if len(values):
        mantissa, exponent = np.frexp(values)
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        high = whole >> _HALF_BITS
        low = whole - (high << _HALF_BITS)
        lowest = int(exponent.min())
        place = exponent - lowest
        highs, lows = np.bincount(place, weights=high), np.bincount(place, weights=low)
        for offset in np.flatnonzero((highs != 0) | (lows != 0)).tolist():
            shift = lowest + offset - 53 - _LOWEST_EXPONENT
            total += ((int(highs[offset]) << _HALF_BITS) + int(lows[offset])) << shift
    return total
