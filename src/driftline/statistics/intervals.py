"""Two-sided intervals at a confidence in (0, 1), each an `Interval` with finite bounds."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from driftline.statistics.special import normal_quantile, t_quantile

_LARGEST_EXPONENT = 700.0  # exp of this is finite
_LARGEST = 1e300
_REMEMBERED = 1024


class Interval(NamedTuple):
    """An interval: ``low <= high``, both finite."""

    low: float
    high: float


def wilson(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion, ``0 <= successes <= n``, ``n > 0`` (Brown, Cai & DasGupta 2001).

    Fractions are allowed, as an effective number of trials need not be whole.

    >>> [round(bound, 4) for bound in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    z2 = normal_quantile(confidence) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Interval(min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share))


def logit_delta(value: float, error: float, confidence: float = 0.95) -> Interval:
    """Return the delta method's interval on the logit scale, for a value in (0, 1) with its standard error."""
    logit = math.log(value) - math.log1p(-value)
    half = normal_quantile(confidence) * error / (value * (1 - value))
    return Interval(min(_expit(logit - half), value), max(_expit(logit + half), value))


def fisher_delta(value: float, error: float, confidence: float = 0.95) -> Interval:
    """Return the delta method's interval on Fisher's scale, artanh, for a value in (-1, 1) with its standard error."""
    half = normal_quantile(confidence) * error / (1 - value * value)
    return Interval(min(math.tanh(math.atanh(value) - half), value), max(math.tanh(math.atanh(value) + half), value))


def log_delta(value: float, error: float, n: int, confidence: float = 0.95) -> Interval:
    """Return the delta method's interval on the log scale with Student's t.

    ``value`` is above 0, ``error`` its standard error, and both come from n >= 2 rows.
    """
    ratio = math.exp(min(t_quantile(confidence, n - 1) * error / value, _LARGEST_EXPONENT))
    return Interval(value / ratio, min(value * ratio, _LARGEST))


def skewed_reach(skewness: float, error: float, confidence: float = 0.95) -> float:
    """Return how much further than t · ``error`` the interval of a skewed mean reaches above; 0 if negatively skewed.

    ``skewness`` is that of the mean (that of its n rows over √n), ``error`` its standard error. The term is that of the
    Cornish-Fisher expansion of a studentised mean, (1 + 2 z²) / 6 with the normal quantile z (Johnson 1978; Hall 1992,
    section 2.6). It is never negative, so the interval is not shortened on the side of the shorter tail.

    >>> round(skewed_reach(0.5, 1.0), 3), skewed_reach(-0.5, 1.0)
    (0.724, 0.0)
    """
    z = normal_quantile(confidence)
    return max(skewness, 0.0) * (1 + 2 * z * z) / 6 * error


@functools.lru_cache(_REMEMBERED)
def quantile_ranks(n: int, q: float, confidence: float = 0.95) -> tuple[int, int] | None:
    """Return the ranks, 1 to n, of the two of n >= 1 sorted values that bound the q-quantile, q in (0, 1).

    Their confidence is at least ``confidence`` for any distribution, because the number of values below the quantile is
    binomial (David & Nagaraja 2003, 7.1). None where even the smallest and the largest value do not reach it; see
    `least_for_quantile`.

    >>> quantile_ranks(100, 0.5), quantile_ranks(5, 0.5)
    ((40, 61), None)
    """
    reach = 10 * math.sqrt(n * q * (1 - q)) + 10  # probabilities beyond are negligible
    first, last = max(math.floor(n * q - reach), 0), min(math.ceil(n * q + reach), n)
    at = np.arange(first + 1, last + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((n - at + 1) / at * (q / (1 - q))))])
    chances = np.exp(logs - logs.max())
    tail = (1 - confidence) / 2 * float(chances.sum())
    low = first + int(np.searchsorted(np.cumsum(chances), tail, side="right"))
    high = last + 1 - int(np.searchsorted(np.cumsum(chances[::-1]), tail, side="right"))
    return (low, high) if low >= 1 and high <= n else None


def least_for_quantile(q: float, confidence: float = 0.95) -> int:
    """Return how many values `quantile_ranks` needs at least, q in (0, 1).

    >>> least_for_quantile(0.5), least_for_quantile(0.9)
    (6, 36)
    """
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(q, 1 - q)))


def difference(first: tuple[float, float, float], second: tuple[float, float, float]) -> Interval:
    """Return the interval of ``first - second`` from (value, low, high) of each, if they are independent.

    With Wilson's bounds it is Newcombe's (1998) interval, method 10, for the difference of two proportions; with others
    it recovers variances from the limits (Zou & Donner 2008).

    >>> [round(bound, 4) for bound in difference((56 / 70, *wilson(56, 70)), (48 / 80, *wilson(48, 80)))]
    [0.0524, 0.3339]
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    gap = a - b
    return Interval(gap - math.hypot(a - a_low, b_high - b), gap + math.hypot(a_high - a, b - b_low))


def mean_of(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Return the interval of the mean of one or more independent values from their intervals (Zou & Donner 2008).

    >>> [round(bound, 4) for bound in mean_of([0.8, 1.0], [wilson(56, 70), wilson(3, 3)])]
    [0.6141, 0.9385]
    """
    mean = math.fsum(values) / len(values)
    below = math.hypot(*(value - interval.low for value, interval in zip(values, intervals, strict=True)))
    above = math.hypot(*(interval.high - value for value, interval in zip(values, intervals, strict=True)))
    return Interval(mean - below / len(values), mean + above / len(values))


def _expit(x: float) -> float:
    if x >= 0:
        return 1 / (1 + math.exp(-min(x, _LARGEST_EXPONENT)))
    growth = math.exp(max(x, -_LARGEST_EXPONENT))
    return growth / (1 + growth)
