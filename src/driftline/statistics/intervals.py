"""Two-sided intervals at a confidence in (0, 1), each a `Interval` of finite bounds."""

from __future__ import annotations

import math
from typing import NamedTuple

from driftline.statistics.special import normal_quantile, t_quantile

_LARGEST_EXPONENT = 700.0  # exp of this is finite
_LARGEST = 1e300


class Interval(NamedTuple):
    """``low <= high``, both finite."""

    low: float
    high: float


def wilson(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion, ``0 <= successes <= n``, ``n > 0`` (Brown, Cai & DasGupta
    2001).

    Fractions are allowed: an effective number of trials need not be whole.

    >>> [round(bound, 4) for bound in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    z2 = normal_quantile(confidence) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Interval(min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share))


def student(mean: float, sd: float, n: int, confidence: float = 0.95, *, least: float = -_LARGEST) -> Interval:
    """Mean ± t·sd/√n for n >= 2 values, cut off at ``least``, the smallest value that there can be."""
    half = t_quantile(confidence, n - 1) * sd / math.sqrt(n)
    return Interval(max(mean - half, least), mean + half)


def logit_delta(value: float, error: float, confidence: float = 0.95) -> Interval:
    """Delta method on the logit scale, for a value strictly between 0 and 1 with its standard error."""
    logit = math.log(value) - math.log1p(-value)
    half = normal_quantile(confidence) * error / (value * (1 - value))
    return Interval(min(_expit(logit - half), value), max(_expit(logit + half), value))


def fisher_delta(value: float, error: float, confidence: float = 0.95) -> Interval:
    """Delta method on Fisher's scale, artanh, for a value strictly between -1 and 1 with its standard error."""
    half = normal_quantile(confidence) * error / (1 - value * value)
    return Interval(min(math.tanh(math.atanh(value) - half), value), max(math.tanh(math.atanh(value) + half), value))


def log_delta(value: float, error: float, n: int, confidence: float = 0.95) -> Interval:
    """Delta method on the log scale with Student's t, for a value above 0 from n >= 2 rows with its standard
    error.
    """
    ratio = math.exp(min(t_quantile(confidence, n - 1) * error / value, _LARGEST_EXPONENT))
    return Interval(value / ratio, min(value * ratio, _LARGEST))


def difference(first: tuple[float, float, float], second: tuple[float, float, float]) -> Interval:
    """Interval of ``first - second`` from (value, low, high) of each, independent of one another.

    With Wilson bounds this is Newcombe's (1998) interval, method 10, for the difference of two proportions;
    for others it is the recovery of variances from limits (Zou & Donner 2008).

    >>> [round(bound, 4) for bound in difference((56 / 70, *wilson(56, 70)), (48 / 80, *wilson(48, 80)))]
    [0.0524, 0.3339]
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    gap = a - b
    return Interval(gap - math.hypot(a - a_low, b_high - b), gap + math.hypot(a_high - a, b - b_low))


def _expit(x: float) -> float:
    if x >= 0:
        return 1 / (1 + math.exp(-min(x, _LARGEST_EXPONENT)))
    growth = math.exp(max(x, -_LARGEST_EXPONENT))
    return growth / (1 + growth)
