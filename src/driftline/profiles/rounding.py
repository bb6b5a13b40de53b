"""Rounding noise is no drift: 0.1 of 32 bits, of 64 bits and of a CSV file with six decimals are the same number.

Only values that come again and again can seem to have changed by it: numbers that are all different lie in cells that
are wide beside any noise. So what is looked for are repeated values that two sides have nearly, and not quite, alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

_LOOKED_AT, _FIRST = 2_000, 100
_REPEATED = 0.5  # distinct values, as a share of rows, from which on numbers are not repeated
_AGREE = 0.5  # of the values that one side alone has, the share that the other has after rounding
_SIGNIFICANT = (12, 9)
_MOST_DECIMALS, _LEAST_DECIMALS = 9, 3
_STEP_SHARE = 1e-3  # of the standard deviation: what rounding to decimals may move a value by
_EXACT = 1e-13
_GRID = 1024.0  # multiples of 1/1024 are exact in any type

_Floats = npt.NDArray[np.float64]


class Rounding(msgspec.Struct, frozen=True):
    """How numbers are rounded before they are compared: to 32 bits, to significant digits, or to decimals."""

    single: bool = False
    significant: int | None = None
    decimals: int | None = None

    def __call__(self, values: pl.Series) -> pl.Series:
        """The rounded values, float64, shape (n,); null and NaN stay what they are.

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
        """To what the numbers are rounded."""
        if self.single:
            return "the precision of 32-bit floats"
        return f"{self.significant} significant digits" if self.significant else f"{self.decimals} decimals"


def rounding_of(samples: Sequence[pl.Series]) -> Rounding | None:
    """Return the rounding by which the values of two samples of a column agree; None where none is needed, or none
    helps.

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
    """Return whether numbers are of 32 bits, by their type, or by all values where they have been made wider since.

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
    """The distinct finite values; none where they hardly come again."""
    numbers = _finite(values)
    if len(set(numbers[:_FIRST].tolist())) == _FIRST:
        return set()
    distinct = set(numbers.tolist())
    return distinct if len(distinct) <= max(_REPEATED * len(numbers), 1) else set()


def _decimals(a: set[float], b: set[float]) -> Rounding | None:
    """Rounding to the decimals of the side that has fewer, where that is fine beside the spread of its values."""
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
    """The share, of the values that one side alone has, that both have after rounding."""
    alone = rounding(pl.Series(sorted(a ^ b))).to_list()
    rounded_a, rounded_b = (set(rounding(pl.Series(sorted(side))).to_list()) for side in (a, b))
    return sum(value in rounded_a and value in rounded_b for value in alone) / len(alone)
