"""What is a missing value, whatever the container: the one notion of files, frames, events, the SDK and retraining."""

from __future__ import annotations

import functools
import math
import operator
from decimal import Decimal
from typing import Any

MISSING_TEXTS: tuple[str, ...] = (
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "NaT",
    "None",
    "n/a",
    "nan",
    "null",
)
"""Texts that stand for a missing value unless ``columns.missing`` says otherwise: those that pandas reads as missing,
and ``NaT``. White space around them does not matter, so that a text of nothing but spaces is missing, too."""

_USUAL = frozenset(MISSING_TEXTS)
_MISSING_TYPES = ("NAType", "NaTType", "MaskedConstant")


def is_missing(value: Any, texts: tuple[str, ...] = MISSING_TEXTS) -> bool:
    """Return whether a value of any library stands for a missing one: None, NaN, NaT, ``pd.NA``, a masked entry, a text
    of ``texts``; a number that is the number of one of them, so that -999 is missing where "-999" is.

    >>> [is_missing(value) for value in (None, float("nan"), " NA ", "", "no", 0, False)]
    [True, True, True, True, False, False, False]
    >>> is_missing(-999.0, ("-999",)), is_missing("NA", ("-999",))
    (True, False)
    """
    kind, usual = type(value), texts is MISSING_TEXTS
    if kind is float or kind is int:  # most values, quickly
        return (kind is float and math.isnan(value)) or (not usual and value in missing_numbers(texts))
    if kind is str and usual:
        return value in _USUAL or value.strip() in _USUAL
    if value is None or kind.__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, str):
        return value.strip() in _set_of(texts)
    if isinstance(value, (bool, bytes)):
        return False
    if isinstance(value, Decimal) and value.is_nan():  # a signalling one raises where it is compared
        return True
    try:
        if bool(operator.ne(value, value)):  # NaN and NaT of NumPy
            return True
        number = float(value)
    except (TypeError, ValueError, ArithmeticError, OverflowError):
        return False
    return number in missing_numbers(texts)


_set_of = functools.cache(frozenset[str])


@functools.cache
def missing_numbers(texts: tuple[str, ...]) -> frozenset[float]:
    """Return the finite numbers among texts that stand for a missing value.

    >>> sorted(missing_numbers(("", "NA", "-999", "nan")))
    [-999.0]
    """
    found = set()
    for text in texts:
        try:
            number = float(text)
        except ValueError:
            continue
        if math.isfinite(number):
            found.add(number)
    return frozenset(found)
