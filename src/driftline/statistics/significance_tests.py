"""Tests of whether two profiles of one column could come from one distribution, on the cells of `distances`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from driftline.statistics.distances import Pair, kolmogorov_smirnov
from driftline.statistics.special import chi_squared_sf, kolmogorov_sf

_EXPECTED_LEAST = 5.0
_GROUPS_ORDERED, _GROUPS_UNORDERED = 40, 150
_OUTSIDE_TIE = 10.0
_REACH = 10.0  # standard deviations, and rows, beyond which nothing can be counted

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


def chi_squared_p(pair: Pair) -> float | None:
    """P-value of the chi-squared test that the values of both sides come from one distribution; None when either side
    has no rows, 1 when it has no values. Rows without one are told by `missing_p` alone.

    Cells are pooled, numbers with their neighbours and categories smallest first, until each group expects 5
    rows on both sides and there are not too many groups. The groups depend on the two sides' sum alone, as
    the permutation of rows between the sides does: bins at the reference's quantiles would not be a fair
    test, as they hold the reference's counts fixed (1,000 against 100 rows of one distribution then have p <
    0.01 in half of all cases). 1 when one group is left.

    Where L values come from one row, such as the words of a text, each value comes at most once, so the statistic is
    what it would be on average. But it varies more: it is a sum of squares with weights that depend on what comes
    together, none above L (Rao & Scott 1981), and so lies at most as far out as L times a chi-squared variable of the
    L-th part of the degrees of freedom. Groups are then of names at random, which seldom come together.
    """
    if not (pair.reference.sum() and pair.current.sum()):
        return None
    p, q = pair.reference_cells, pair.current_cells
    n, m = float(p.sum()), float(q.sum())
    if not (n and m):
        return 1.0
    if not pair.ordered and pair.together == 1:
        order = np.argsort(p + q, kind="stable")
        p, q = p[order], q[order]
    smaller = min(n, m)
    most = _GROUPS_ORDERED if pair.ordered else _GROUPS_UNORDERED
    groups = _pooled((p + q) * (smaller / (n + m)), max(_EXPECTED_LEAST, smaller / most))
    a, b = np.bincount(groups, p), np.bincount(groups, q)
    if len(a) < 2:
        return 1.0
    statistic = float((((np.sqrt(m / n) * a - np.sqrt(n / m) * b) ** 2) / (a + b)).sum())
    return chi_squared_sf(statistic / pair.together, math.ceil((len(a) - 1) / pair.together))


def _pooled(sizes: _Floats, least: float) -> _Ints:
    """Number neighbours from 0 so that each group's sizes add up to ``least``; what is left joins the last
    group.
    """
    upto = np.cumsum(sizes)
    ends: list[int] = []  # the last member of each group
    while (last := int(np.searchsorted(upto, (upto[ends[-1]] if ends else 0.0) + least))) < len(sizes):
        ends.append(last)
    starts = np.zeros(len(sizes), np.int64)
    starts[[end + 1 for end in ends[:-1]]] = 1
    return np.cumsum(starts)


def kolmogorov_smirnov_p(pair: Pair) -> float | None:
    """Asymptotic p-value of the KS distance with Stephens' (1970) correction; on the safe side where values
    are tied.
    """
    distance = kolmogorov_smirnov(pair)
    if distance is None:
        return None
    n, m = float(pair.reference_cells.sum()), float(pair.current_cells.sum())
    root = float(np.sqrt(n * m / (n + m)))
    return kolmogorov_sf((root + 0.12 + 0.11 / root) * distance)


def rank_sum_p(pair: Pair) -> float | None:
    """P-value that values of neither side tend to be larger: the rank-sum test of Wilcoxon (1945) and Mann & Whitney
    (1947), normal with the variance of ties, two-sided.

    It tells a shift in a third fewer rows than Kolmogorov-Smirnov does. None for categories, and where fewer than 10
    values of the smaller side are expected outside of the largest tie: there it is not normal.
    """
    p, q = pair.reference_cells, pair.current_cells
    n, m = float(p.sum()), float(q.sum())
    if not (pair.ordered and n and m):
        return None
    ties, total = p + q, n + m
    if min(n, m) * (1 - float(ties.max()) / total) < _OUTSIDE_TIE:
        return None
    above = float(q @ (np.cumsum(p) - p / 2))  # pairs of a current value above a reference one; half of those that tie
    variance = n * m / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    return math.erfc(abs(above - n * m / 2) / math.sqrt(2 * variance))


def missing_p(pair: Pair) -> float | None:
    """P-value that both sides miss values equally often: Fisher's (1935) exact test, the smaller tail doubled. None
    when no row or every row misses its value.

    Among the cells of the chi-squared test missing rows would be one of many: 300 rows a side hardly told 5 % from
    20 %.
    """
    n, m = float(pair.reference.sum()), float(pair.current.sum())
    missing, seen = float(pair.reference[-1] + pair.current[-1]), float(pair.current[-1])
    if not (n and m and 0 < missing < n + m):
        return None
    expected = missing * m / (n + m)
    reach = _REACH * (math.sqrt(expected * n / (n + m) * (1 - missing / (n + m))) + 1)
    low = max(0.0, missing - n, math.floor(expected - reach))
    high = min(missing, m, math.ceil(expected + reach))
    at = np.arange(low + 1, high + 1)
    logs = np.append(0.0, np.cumsum(np.log((missing - at + 1) / at) + np.log((m - at + 1) / (n - missing + at))))
    chances = np.exp(logs - logs.max())
    place = int(min(max(seen, low), high) - low)
    tail = min(float(chances[: place + 1].sum()), float(chances[place:].sum()))
    return min(2 * tail / float(chances.sum()), 1.0)


TESTS: Mapping[str, Callable[[Pair], float | None]] = {
    "chi_squared": chi_squared_p,
    "ks": kolmogorov_smirnov_p,
    "rank_sum": rank_sum_p,
    "missing": missing_p,
}
"""Every test against chance by name: its p-value, not adjusted; None where it has no meaning for a column."""
