"""Intervals of means of rows with long tails, where mean ± t·sd/√n would be too narrow with few rows.

Three terms are added, each on the side of the tail, so that the other bound, which rules are judged by, stays close:

- the skewness of the rows (Johnson 1978): rare large values are seen less often than their weight asks for;
- what n rows may have missed: with the chance a, all of them miss a share of 1 - a^(1/n) of the values, and these may
  be as large as the largest that was seen, or as the largest possible;
- with few rows (`may_miss_rare`), errors that come once in `ONE_IN` rows and are `TIMES_USUAL` times as large as usual:
  so few rows often show none of them. No method can tell from such rows that there are none, so they are assumed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from driftline.statistics.intervals import Interval, log_delta, skewed_reach
from driftline.statistics.special import t_quantile

ONE_IN, TIMES_USUAL = 100, 100.0
_NORMAL_SD = 1.25  # the standard deviation of normal errors in units of their mean size
_BEYOND_LARGEST = 2.0  # how far what was missed may lie beyond the largest that was seen
_SKEWED = 0.5


class Sums(NamedTuple):
    """The summary of n >= 2 rows: mean, standard deviation, skewness, smallest and largest value."""

    n: int
    mean: float
    sd: float
    skewness: float
    smallest: float
    largest: float


def missed_share(n: int, confidence: float) -> float:
    """Return the largest share of values, 0 to 1, that n rows may all miss with the chance (1 - ``confidence``) / 2.

    >>> round(missed_share(30, 0.95), 3), round(missed_share(1000, 0.95), 4)
    (0.116, 0.0037)
    """
    return -math.expm1(math.log((1 - confidence) / 2) / n)


def may_miss_rare(n: int, confidence: float) -> bool:
    """Return whether n rows may miss values that come once in `ONE_IN` rows, more often than the interval may err.

    >>> [may_miss_rare(n, 0.95) for n in (30, 367, 368)]
    [True, True, False]
    """
    return missed_share(n, confidence) > 1 / ONE_IN


def mean_of_rows(rows: Sums, confidence: float) -> Interval:
    """Return the interval of the mean of numbers of either sign."""
    usual = _reach(rows, confidence)
    sides = [usual + _skew(side * rows.skewness, rows, confidence) for side in (-1.0, 1.0)]
    if may_miss_rare(rows.n, confidence):
        long = (min(max(side * rows.skewness - _SKEWED, 0.0), 1.0) for side in (-1.0, 1.0))
        sides = [side + share * TIMES_USUAL / ONE_IN * rows.sd for side, share in zip(sides, long, strict=True)]
    return Interval(rows.mean - sides[0], rows.mean + sides[1])


def mean_of_sizes(rows: Sums, confidence: float) -> Interval:
    """Return the interval of the mean of numbers that are 0 or more, such as absolute errors."""
    usual = _reach(rows, confidence)
    high = rows.mean + usual + _skew(rows.skewness, rows, confidence)
    high = max(high, rows.mean + missed_share(rows.n, confidence) * _BEYOND_LARGEST * rows.largest)
    if may_miss_rare(rows.n, confidence):
        high += _NORMAL_SD * TIMES_USUAL / ONE_IN * high
    return Interval(max(rows.mean - usual, 0.0), high)


def mean_of_squares(rows: Sums, confidence: float) -> Interval:
    """Return the interval of the mean of squares, a mean above 0; ``rows.largest`` is the largest square."""
    usual = log_delta(rows.mean, rows.sd / math.sqrt(rows.n), rows.n, confidence)
    missed = missed_share(rows.n, confidence) * _BEYOND_LARGEST**2 * rows.largest
    high = max(usual.high, rows.mean + missed)
    if may_miss_rare(rows.n, confidence):
        high += TIMES_USUAL**2 / ONE_IN * usual.high
    return Interval(min(usual.low, max(rows.mean - _reach(rows, confidence), 0.0)), high)


def mean_within(rows: Sums, worst: float, confidence: float) -> Interval:
    """Return the interval of the mean of numbers between 0 and ``worst``, the largest possible one."""
    usual = _reach(rows, confidence)
    high = rows.mean + usual + _skew(rows.skewness, rows, confidence)
    missed = missed_share(rows.n, confidence) * (worst - rows.mean)
    return Interval(max(rows.mean - usual, 0.0), min(max(high, rows.mean + missed), max(worst, rows.mean)))


def likely_skewness(mean: float, sd: float, n: int) -> float:
    """Return the skewness of a lognormal distribution with this mean and sd, a guess where only these are known; at
    most √n.

    >>> likely_skewness(1.0, 1.0, 100)
    4.0
    """
    relative = min(sd / mean, 1e6) if mean > 0 else 0.0
    return min(relative**3 + 3 * relative, math.sqrt(n))


def _reach(rows: Sums, confidence: float) -> float:
    return t_quantile(confidence, rows.n - 1) * rows.sd / math.sqrt(rows.n)


def _skew(skewness: float, rows: Sums, confidence: float) -> float:
    root = math.sqrt(rows.n)
    return skewed_reach(skewness / root, rows.sd / root, confidence)
