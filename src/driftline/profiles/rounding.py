"""Keep rounding noise from counting as drift: 0.1 in 32 bits, in 64 bits and in a CSV file is the same number.

Noise only matters for values that repeat: numbers that are all different lie in cells much wider than any noise. So
this module looks for repeated values that are nearly, but not quite, equal on two sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

_LOOKED_AT, _FIRST = 2_000, 100
_REPEATED = 0.5  # above this share of distinct values among the rows, numbers do not repeat
_AGREE = 0.5  # of the values that only one side has, the least share that both have after rounding
_SIGNIFICANT = (12, 9)
_MOST_DECIMALS, _LEAST_DECIMALS = 9, 3
_STEP_SHARE = 1e-3  # the most that rounding to decimals may move a value, in standard deviations
_EXACT = 1e-13
_GRID = 1024.0  # multiples of 1/1024 are exact in any type

_Floats = npt.NDArray[np.float64]


class Rounding(msgspec.Struct, frozen=True):
    """How to round numbers before they are compared: to 32 bits, to significant digits, or to decimals."""

    single: bool = False
    significant: int | None = None
    decimals: int | None = None

    def __call__(self, values: pl.Series) -> pl.Series:
        """Return the rounded values, float64, shape (n,); null and NaN stay as they are.

        >>> Rounding(single=True)(pl.Series([0.1])).to_list(), Rounding(decimals=2)(pl.Series([0.126])).to_list()
        ([0.10000000149011612], [0.13])
        """
        numbers = values.cast(pl.Float64, strict=False)
        if self.single:
            numbers = numbers.cast(pl.Float32).cast(pl.Float64)
        if self.significant is not None:
            numbers = numbers.round_sig_figs(self.significant)
        if self.decimals is not None:
            numbers = numbers.round(self.decimals)
        return numbers

    @property
    def words(self) -> str:
        """The precision to which numbers are rounded, in words."""
        if self.single:
            return "the precision of 32-bit floats"
        return f"{self.significant} significant digits" if self.significant else f"{self.decimals} decimals"


def rounding_of(samples: Sequence[pl.Series]) -> Rounding | None:
    """Return the rounding that makes the values of two samples of a column agree; None if none is needed or helps.

    >>> rounding_of([pl.Series([0.1, 0.2] * 9, dtype=pl.Float32), pl.Series([0.1, 0.2] * 9)])
    Rounding(single=True, significant=None, decimals=None)
    >>> rounding_of([pl.Series([0.3, 0.7] * 9), pl.Series([0.1 + 0.2, 0.7] * 9)])
    Rounding(single=False, significant=12, decimals=None)
    >>> rounding_of([pl.Series([0.3, 0.7] * 9), pl.Series([0.4, 0.7] * 9)])
    """
    singles = [is_single(values) for values in samples]
    if any(singles):
        return None if all(values.dtype == pl.Float32 for values in samples) else Rounding(single=True)
    if not any(values.dtype.is_float() for values in samples):
        return None
    a, b = (_distinct(values) for values in samples)
    if not a or not b or a == b:
        return None
    for rounding in (*(Rounding(significant=digits) for digits in _SIGNIFICANT), _decimals(a, b)):
        if rounding is not None and _agree(a, b, rounding) >= _AGREE:
            return rounding
    return None


def is_single(values: pl.Series) -> bool:
    """Return whether numbers have 32 bits: by their type, or because all values of a 64-bit column fit into 32 bits.

    Multiples of 1/1024 fit in any case, so they do not count.

    >>> is_single(pl.Series([0.1], dtype=pl.Float32).cast(pl.Float64)), is_single(pl.Series([0.5, 3.0]))
    (True, False)
    """
    if values.dtype == pl.Float32:
        return True
    if values.dtype != pl.Float64:
        return False
    numbers = _finite(values)
    with np.errstate(over="ignore"):
        exact = bool((numbers.astype(np.float32) == numbers).all())
    return exact and bool((numbers * _GRID != np.rint(numbers * _GRID)).any())


def _finite(values: pl.Series) -> _Floats:
    numbers = values.head(_LOOKED_AT).to_numpy().astype(np.float64)  # null is NaN there
    found: _Floats = numbers[np.isfinite(numbers)]
    return found


def _distinct(values: pl.Series) -> set[float]:
    """The distinct finite values; none if they hardly repeat."""
    numbers = _finite(values)
    if len(set(numbers[:_FIRST].tolist())) == _FIRST:
        return set()
    distinct = set(numbers.tolist())
    return distinct if len(distinct) <= max(_REPEATED * len(numbers), 1) else set()


def _decimals(a: set[float], b: set[float]) -> Rounding | None:
    """Rounding to the decimals of the side that has fewer, if that moves values by little compared to their spread."""
    fewest, most = sorted((_decimals_of(a), _decimals_of(b)))
    if fewest == most or not _LEAST_DECIMALS <= fewest <= _MOST_DECIMALS:
        return None
    return Rounding(decimals=fewest) if 10.0**-fewest <= _STEP_SHARE * float(np.std([*a, *b])) else None


def _decimals_of(values: set[float]) -> int:
    for digits in range(_MOST_DECIMALS + 1):
        if all(abs(value - round(value, digits)) <= _EXACT * abs(value) for value in values):
            return digits
    return _MOST_DECIMALS + 1


def _agree(a: set[float], b: set[float], rounding: Rounding) -> float:
    """The share of the values of only one side that both sides have after rounding."""
    alone = rounding(pl.Series(sorted(a ^ b))).to_list()
    rounded_a, rounded_b = (set(rounding(pl.Series(sorted(side))).to_list()) for side in (a, b))
    return sum(value in rounded_a and value in rounded_b for value in alone) / len(alone)
