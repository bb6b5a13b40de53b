"""What all significance tests share: p-values adjusted for the number of tests, and the words for the outcome."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.text.numbers import p_words

Floats = npt.NDArray[np.float64]


def holm(p_values: npt.ArrayLike, count: int | None = None) -> Floats:
    """Adjust the p-values of a family of tests, shape (k,), by Holm's (1979) method; same order, each at most 1.

    ``count`` is the number of tests, k without it; the p-values that are not given must be larger than these.

    >>> holm([0.01, 0.04, 0.03]).tolist(), holm([0.01], 5).tolist(), holm([]).tolist()
    ([0.03, 0.06, 0.06], [0.05], [])
    """
    given = np.asarray(p_values, np.float64)
    order = np.argsort(given, kind="stable")
    left = (len(given) if count is None else count) - np.arange(len(given))
    adjusted = np.empty(len(given))
    adjusted[order] = np.maximum.accumulate(np.minimum(given[order] * left, 1.0))
    return adjusted


def conclusion(floor: str, p_value: float, *, below: bool, by_chance: bool, over: str = "") -> str:
    """Say in words whether an effect is ``below`` the minimum size (``floor``), and whether it is significant.

    ``by_chance`` is True where it is not. ``over`` says over how many tests the p-value is adjusted, if over several.

    >>> conclusion("0.10", 0.0002, below=False, by_chance=False, over="5 columns")
    'is at or above 0.10, and it is significant (p < 0.001 over 5 columns)'
    >>> conclusion("0.10", 0.2, below=False, by_chance=True)
    'is at or above 0.10, but it is not significant (p = 0.2)'
    """
    size = f"is {'below' if below else 'at or above'} {floor}"
    glue = "and" if below == by_chance else "but"
    chance = "it is not significant" if by_chance else "it is significant"
    return f"{size}, {glue} {chance} ({p_words(p_value)}{f' over {over}' if over else ''})"
