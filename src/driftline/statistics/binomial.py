"""The exact interval of a proportion, without importing SciPy."""

from __future__ import annotations

import functools
import math

from driftline.statistics.intervals import Interval, wilson

_EXACT_UP_TO = 2_000
_STEPS, _TERMS = 60, 400
_REMEMBERED = 4096
_TINY = 1e-300


def exact(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Clopper & Pearson's (1934) interval of a proportion, ``0 <= successes <= n``, ``n > 0``.

    Each of its ends is wrong in at most (1 - confidence) / 2 of all samples, however rare or frequent the successes
    are; Wilson's ends are wrong several times as often near 0 and 1. Where successes and failures are both many the two
    agree, and the wider is taken.

    >>> [round(bound, 4) for bound in exact(8, 10)], [round(bound, 4) for bound in exact(0, 30)]
    ([0.4439, 0.9748], [0.0, 0.1157])
    """
    return _exact(float(successes), float(n), confidence)


@functools.lru_cache(_REMEMBERED)
def _exact(successes: float, n: float, confidence: float) -> Interval:
    near = wilson(successes, n, confidence)
    failures, tail = n - successes, (1 - confidence) / 2
    if min(successes, failures) > _EXACT_UP_TO:
        return near
    low = _end(successes, failures + 1, tail, near.low) if successes > 0 else 0.0
    high = 1 - _end(failures, successes + 1, tail, 1 - near.high) if failures > 0 else 1.0
    return Interval(min(low, near.low), max(high, near.high))


def _end(a: float, b: float, tail: float, guess: float) -> float:
    """The ``tail`` quantile of the beta distribution (a, b): Newton's steps, halved where they lead out."""
    low, high = 0.0, 1.0
    x = min(max(guess, 1e-12), 1 - 1e-12)
    for _ in range(_STEPS):
        below = beta_below(x, a, b) - tail
        low, high = (x, high) if below < 0 else (low, x)
        log_density = (a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - _log_beta(a, b)
        step = below / math.exp(log_density) if -600 < log_density < 600 else math.inf
        after = x - step if low < x - step < high else (low + high) / 2
        if abs(after - x) <= 1e-12 * x:
            return after
        x = after
    return x


def beta_below(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, x in (0, 1), by its continued fraction (Abramowitz & Stegun 26.5.8).

    >>> round(beta_below(0.5, 2, 3), 6)
    0.6875
    """
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_below(1 - x, b, a)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b)) / a
    value, c, d = 1.0, 1.0, 0.0
    for term in range(_TERMS):
        m = term // 2
        if term == 0:
            numerator = 1.0
        elif term % 2:
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + numerator * d or _TINY)
        c = 1 + numerator / c or _TINY
        value *= c * d
        if abs(1 - c * d) < 1e-14:
            break
    return front * (value - 1)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
