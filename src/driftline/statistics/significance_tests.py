"""Test whether two profiles of one column could come from one distribution, on the cells of `distances`."""

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
_REACH = 10.0  # standard deviations, and rows, beyond which probabilities are negligible

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


def chi_squared_p(pair: Pair) -> float | None:
    """Return the p-value of the chi-squared test that the values of both sides come from one distribution.

    None if either side has no rows, 1 if it has no values; rows without a value are the subject of `missing_p` alone.

    Cells are pooled, numbers with their neighbours and categories smallest first, until each group expects 5 rows on
    both sides and there are not too many groups; 1 if a single group is left. The groups depend only on the sum of both
    sides, which does not change when rows are permuted between them. Bins at the reference's quantiles would not be a
    fair test, because they fix the reference's counts: with 1,000 against 100 rows of one distribution, half of all
    p-values were below 0.01.

    Rare categories are not pooled with a frequent one, in which they would be lost: fog on 47 % of 30 days, instead of
    on 4 % of 365, would hide that there is no rain any more. Where they are too few for a group of their own, it is
    asked by itself whether they are as frequent as before (`_more_or_fewer_p`), and of all others whether they are
    among themselves: given the sum of both sides, the two are independent, and the smaller of two p-values stands for
    1 - (1 - p)^2 (Tippett 1931).

    Where L values come from one row, such as the words of a text, each value comes at most once in a row, and the
    statistic keeps its mean. But it varies more: it is a sum of squares whose weights depend on which values come
    together, none above L (Rao & Scott 1981), and so at most as extreme as L times a chi-squared variable with 1/L of
    the degrees of freedom. The groups then consist of random names, which seldom come together.
    """
    if not (pair.reference.sum() and pair.current.sum()):
        return None
    p, q = pair.reference_cells, pair.current_cells
    n, m = float(p.sum()), float(q.sum())
    if not (n and m):
        return 1.0
    smaller = min(n, m)
    most = _GROUPS_ORDERED if pair.ordered else _GROUPS_UNORDERED
    sizes, least = (p + q) * (smaller / (n + m)), max(_EXPECTED_LEAST, smaller / most)
    if pair.ordered or pair.together > 1:
        return _between_groups_p(p, q, _pooled(sizes, least), pair.together)
    order = np.argsort(sizes, kind="stable")
    p, q, sizes = p[order], q[order], sizes[order]
    rare = int(np.searchsorted(sizes, least))
    often = np.arange(len(sizes) - rare)
    if not rare or float(sizes[:rare].sum()) >= _EXPECTED_LEAST:
        groups = _pooled(sizes[:rare], least)
        return _between_groups_p(p, q, np.append(groups, often + groups.max(initial=-1) + 1))
    of_rare = _more_or_fewer_p(float(p[:rare].sum()), n, float(q[:rare].sum()), m)
    smallest = min(of_rare, _between_groups_p(p[rare:], q[rare:], often))
    return smallest * (2 - smallest)


def _between_groups_p(p: _Floats, q: _Floats, groups: _Ints, together: float = 1.0) -> float:
    """Return the p-value of the chi-squared test on grouped cells; 1 if there is one group, or one side is empty."""
    a, b = np.bincount(groups, p), np.bincount(groups, q)
    n, m = float(a.sum()), float(b.sum())
    if len(a) < 2 or not (n and m):
        return 1.0
    statistic = float((((np.sqrt(m / n) * a - np.sqrt(n / m) * b) ** 2) / (a + b)).sum())
    return chi_squared_sf(statistic / together, math.ceil((len(a) - 1) / together))


def _pooled(sizes: _Floats, least: float) -> _Ints:
    """Group neighbours so that the sizes in each group add up to ``least``, and number the groups from 0; what is left
    at the end joins the last group.
    """
    upto = np.cumsum(sizes)
    ends: list[int] = []  # the last member of each group
    while (last := int(np.searchsorted(upto, (upto[ends[-1]] if ends else 0.0) + least))) < len(sizes):
        ends.append(last)
    starts = np.zeros(len(sizes), np.int64)
    starts[[end + 1 for end in ends[:-1]]] = 1
    return np.cumsum(starts)


def kolmogorov_smirnov_p(pair: Pair) -> float | None:
    """Return the asymptotic p-value of the Kolmogorov-Smirnov distance with Stephens' (1970) correction.

    Ties make it larger, which is on the safe side. None for categories, or if either side has no values.
    """
    distance = kolmogorov_smirnov(pair)
    if distance is None:
        return None
    n, m = float(pair.reference_cells.sum()), float(pair.current_cells.sum())
    root = float(np.sqrt(n * m / (n + m)))
    return kolmogorov_sf((root + 0.12 + 0.11 / root) * distance)


def rank_sum_p(pair: Pair) -> float | None:
    """Return the two-sided p-value of the rank-sum test (Wilcoxon 1945; Mann & Whitney 1947): does one side have larger
    values?

    It is the normal approximation with the variance of ties. It finds a shift with a third fewer rows than
    Kolmogorov-Smirnov. None for categories, and where the normal approximation fails: if fewer than 10 values of the
    smaller side are expected outside of the largest tie.
    """
    p, q = pair.reference_cells, pair.current_cells
    n, m = float(p.sum()), float(q.sum())
    if not (pair.ordered and n and m):
        return None
    ties, total = p + q, n + m
    if min(n, m) * (1 - float(ties.max()) / total) < _OUTSIDE_TIE:
        return None
    above = float(q @ (np.cumsum(p) - p / 2))  # pairs with the current value above the reference's; ties count half
    variance = n * m / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    return math.erfc(abs(above - n * m / 2) / math.sqrt(2 * variance))


def missing_p(pair: Pair) -> float | None:
    """Return the p-value that both sides miss values equally often: Fisher's (1935) exact test, smaller tail doubled.

    None if no row or every row misses its value. As one of many cells of the chi-squared test, missing values would be
    overlooked: with 300 rows on each side it hardly told 5 % from 20 %.
    """
    n, m = float(pair.reference.sum()), float(pair.current.sum())
    missing, seen = float(pair.reference[-1] + pair.current[-1]), float(pair.current[-1])
    if not (n and m and 0 < missing < n + m):
        return None
    return _more_or_fewer_p(missing - seen, n, seen, m)


def _more_or_fewer_p(before: float, n: float, seen: float, m: float) -> float:
    """Return the p-value that as large a share of n rows as of m others is such: Fisher's test, smaller tail doubled.

    ``before`` of the n are such, and ``seen`` of the m; n and m are above 0.
    """
    missing = before + seen
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
"""Every significance test by name: it gives an unadjusted p-value, or None where it has no meaning for a column."""
