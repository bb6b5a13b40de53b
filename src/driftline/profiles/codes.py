"""Recognise whole numbers that are codes: names of categories written in digits, such as industry codes."""

from __future__ import annotations

import math

import polars as pl

_COUNTER_ROWS = 30
_LEAST_DIGITS, _MOST_DIGITS = 5, 9
_LEAST_DISTINCT, _MOST_DISTINCT = 3, 1000
_ROWS_A_CODE = 10
_SPARSE = 10
_ROUND = 50
"""Numbers that are all multiples of 50 are taken as round amounts."""


def are_codes(values: pl.Series) -> bool:
    """Return whether numbers look like codes: few large whole numbers of one length, far apart and not round.

    A quantity of so many digits would take many values, neighbouring ones, or round ones.

    >>> are_codes(pl.Series([531110, 532230, 722110, 812990] * 30))
    True
    >>> [are_codes(pl.Series(of * 30)) for of in ([101324, 101325, 101326], [10000, 50000, 90000], [2019, 2020, 2021])]
    [False, False, False]
    """
    known = values.drop_nulls()
    if not values.dtype.is_integer() or not len(known):
        return False
    low, high = known.min(), known.max()
    if not (isinstance(low, int) and isinstance(high, int)) or low < 10 ** (_LEAST_DIGITS - 1):
        return False
    if len(str(low)) != len(str(high)) or len(str(high)) > _MOST_DIGITS:
        return False
    distinct = known.unique()
    few = _LEAST_DISTINCT <= len(distinct) <= min(_MOST_DISTINCT, len(known) // _ROWS_A_CODE)
    if not few or high - low < _SPARSE * len(distinct):
        return False
    return math.gcd(*distinct.to_list()) % _ROUND != 0 and not _are_days(low, high)


def _are_days(low: int, high: int) -> bool:
    """Whether these are days, written as 20240131."""
    return len(str(low)) == len("20240131") and low // 10_000 >= 1900 and high // 10_000 <= 2100


def numbers_the_rows(values: pl.Series) -> bool:
    """Tell whether whole numbers number the rows: without gap or repetition, or each greater than the one before.

    >>> numbers_the_rows(pl.Series(range(30))), numbers_the_rows(pl.Series([1, 1] * 15))
    (True, False)
    """
    if not values.dtype.is_integer() or values.null_count() or values.len() < _COUNTER_ROWS:
        return False
    low, high = values.min(), values.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    if high - low + 1 < values.len():
        return False
    if high - low + 1 == values.len() and values.n_unique() == values.len():
        return True
    return bool((values.slice(1) > values.slice(0, values.len() - 1)).all())
