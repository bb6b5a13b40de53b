"""The exact interval of a proportion, and the tails of the binomial distribution, without importing SciPy."""

from __future__ import annotations

import functools
import math

from driftline.statistics.intervals import Interval, wilson
from driftline.statistics.special import beta_below, log_beta

_EXACT_UP_TO = 2_000
_STEPS = 60
_REMEMBERED = 4096


def exact(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Return Clopper & Pearson's (1934) interval of a proportion, ``0 <= successes <= n``, ``n > 0``.

    Each of its bounds is wrong in at most (1 - confidence) / 2 of all samples, however rare or frequent the successes
    are; Wilson's bounds are wrong several times as often near 0 and 1. The result is never narrower than Wilson's, and
    is Wilson's where successes and failures are both many and the two agree.

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
        log_density = (a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - log_beta(a, b)
        step = below / math.exp(log_density) if -600 < log_density < 600 else math.inf
        after = x - step if low < x - step < high else (low + high) / 2
        if abs(after - x) <= 1e-12 * x:
            return after
        x = after
    return x


def at_least(successes: int, trials: int, share: float) -> float:
    """Return P(X >= successes) for a binomial X of ``trials`` with the probability ``share`` in [0, 1].

    >>> at_least(0, 10, 0.5), round(at_least(8, 10, 0.5), 4)
    (1.0, 0.0547)
    """
    return beta_below(share, successes, trials - successes + 1) if successes > 0 else 1.0


def at_most(successes: int, trials: int, share: float) -> float:
    """Return P(X <= successes) for a binomial X of ``trials`` with the probability ``share`` in [0, 1].

    >>> at_most(10, 10, 0.5), round(at_most(2, 10, 0.5), 4), at_most(9, 10, 1.0)
    (1.0, 0.0547, 0.0)
    """
    return beta_below(1 - share, trials - successes, successes + 1) if successes < trials else 1.0
