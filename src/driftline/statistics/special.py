"""The few special functions that intervals and tests need, without SciPy: see `docs/decisions/0012-scipy.md`.

Formulas are from Abramowitz & Stegun (1964), 26.4, 26.5 and 26.7; ``tests/statistics`` compares them with SciPy.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

_NORMAL = NormalDist()
_SERIES_UP_TO = 400
_STEPS = 50
_CENTRE = 2.0
_TERMS, _TERMS_OF_ROOT = 400, 10
_TINY = 1e-300
_REMEMBERED = 4096  # confidences are few; degrees of freedom are as many as windows have sizes


@functools.lru_cache(_REMEMBERED)
def normal_quantile(confidence: float) -> float:
    """Return the half-width, in standard deviations, of the two-sided normal interval at ``confidence`` in (0, 1).

    >>> round(normal_quantile(0.95), 6)
    1.959964
    """
    return _NORMAL.inv_cdf((1 + confidence) / 2)


@functools.lru_cache(_REMEMBERED)
def t_quantile(confidence: float, dof: float) -> float:
    """Return the half-width of the two-sided interval for Student's t with ``dof`` of 1 or more, whole or not.

    >>> round(t_quantile(0.95, 1), 4), round(t_quantile(0.95, 2.5), 4), round(t_quantile(0.95, 10**6), 4)
    (12.7062, 3.5747, 1.96)
    """
    z = normal_quantile(confidence)
    if dof > _SERIES_UP_TO:
        return _cornish_fisher(z, dof)
    t = _cornish_fisher(z, dof)
    for _ in range(_STEPS):  # Newton converges: P(abs(T) <= t) is concave in t
        step = (_t_outside(t, dof) - (1 - confidence)) / _t_density(t, dof)
        t = max(t + step, t / 2)
        if abs(step) <= 1e-11 * t:
            break
    return t


def t_below(t: float, dof: float) -> float:
    """Return P(T <= t) for Student's t with ``dof`` of 1 or more, whole or not.

    >>> t_below(0.0, 3), round(t_below(2.0, 1e6), 4), round(t_below(-1.0, 1.0), 4)
    (0.5, 0.9772, 0.25)
    """
    tail = _t_outside(abs(t), dof) / 2
    return tail if t < 0 else 1 - tail


def _t_outside(t: float, dof: float) -> float:
    """P(abs(T) > t), t at least 0 (Abramowitz & Stegun 26.7.1)."""
    square = t * t
    if square == 0:
        return 1.0
    if square < _CENTRE:  # the small part of x is lost in 1 - x
        return 1 - beta_below(square / (dof + square), 0.5, dof / 2)
    return beta_below(dof / (dof + square), dof / 2, 0.5) if square < math.inf else 0.0


def _t_density(t: float, dof: float) -> float:
    """The density of abs(T) at t > 0."""
    log_constant = math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2) - math.log(dof * math.pi) / 2
    return 2 * math.exp(log_constant - (dof + 1) / 2 * math.log1p(t * t / dof))


def _cornish_fisher(z: float, dof: float) -> float:
    """The quantile of t from that of the normal distribution (Abramowitz & Stegun 26.7.5)."""
    return (
        z
        + (z**3 + z) / (4 * dof)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * dof**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * dof**4)
    )


def beta_below(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function of x in [0, 1] with ``a`` and ``b`` above 0.

    It is computed by its continued fraction (Abramowitz & Stegun 26.5.8).

    >>> round(beta_below(0.5, 2, 3), 6)
    0.6875
    """
    if x <= 0:
        return 0.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_below(1 - x, b, a)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta(a, b)) / a
    value, c, d = 1.0, 1.0, 0.0
    for term in range(_TERMS + int(_TERMS_OF_ROOT * math.sqrt(max(a, b)))):
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


def log_beta(a: float, b: float) -> float:
    """Return the logarithm of the beta function of two numbers above 0."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def chi_squared_sf(x: float, dof: int) -> float:
    """Return P(X > x) for chi-squared with 1 or more degrees of freedom, a whole number (Abramowitz & Stegun 26.4.4-5).

    >>> round(chi_squared_sf(3.841459, 1), 6)
    0.05
    """
    half = x / 2
    if half <= 0:
        return 1.0
    if dof % 2:
        total = math.erfc(math.sqrt(half))
        term = math.exp(-half) * math.sqrt(half) / math.gamma(1.5)
        start = 1.5
    else:
        total, term, start = 0.0, math.exp(-half), 1.0
    for step in range(dof // 2):
        total += term
        term *= half / (start + step)
    return min(total, 1.0)


def kolmogorov_sf(x: float) -> float:
    """Return P(K > x) for Kolmogorov's limiting distribution.

    >>> round(kolmogorov_sf(1.358099), 5)
    0.05
    """
    if x < 0.05:  # below 1e-200 away from 1, and the series would divide by 0
        return 1.0
    if x < 1:  # the dual series converges quickly here
        factor = math.sqrt(2 * math.pi) / x
        return 1 - factor * sum(math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * x * x)) for k in range(1, 6))
    return max(2 * sum((1.0 if k % 2 else -1.0) * math.exp(-2 * (k * x) ** 2) for k in range(1, 6)), 0.0)
