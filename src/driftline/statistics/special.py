"""The few special functions that intervals and tests need, for whole degrees of freedom, without importing
SciPy.

Importing ``scipy.special`` costs about 0.4 s, more than a whole ``driftline check`` of a small file. For
whole degrees of freedom all of these are finite sums (Abramowitz & Stegun 1964, 26.4 and 26.7);
``tests/statistics`` holds them to SciPy.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

_NORMAL = NormalDist()
_SERIES_UP_TO = 400
_REMEMBERED = 4096  # confidences are few; degrees of freedom are as many as windows have sizes


@functools.lru_cache(_REMEMBERED)
def normal_quantile(confidence: float) -> float:
    """Half-width, in standard deviations, of the two-sided interval at ``confidence`` in (0, 1).

    >>> round(normal_quantile(0.95), 6)
    1.959964
    """
    return _NORMAL.inv_cdf((1 + confidence) / 2)


@functools.lru_cache(_REMEMBERED)
def t_quantile(confidence: float, dof: int) -> float:
    """The same for Student's t with a whole number of degrees of freedom, 1 or more.

    >>> round(t_quantile(0.95, 1), 4), round(t_quantile(0.95, 10**6), 4)
    (12.7062, 1.96)
    """
    z = normal_quantile(confidence)
    if dof > _SERIES_UP_TO:
        return _cornish_fisher(z, dof)
    if dof <= 2:
        return _few_degrees(confidence, dof)
    t = _cornish_fisher(z, dof)
    for _ in range(50):  # Newton converges: P(abs(T) <= t) is concave in t
        step = (confidence - _t_inside(t, dof)) / _t_density(t, dof)
        t = max(t + step, t / 2)
        if abs(step) <= 1e-11 * t:
            break
    return t


def _few_degrees(confidence: float, dof: int) -> float:
    """The quantile functions of 1 and 2 degrees of freedom have closed forms."""
    if dof == 1:
        return math.tan(math.pi / 2 * confidence)
    return confidence * math.sqrt(2 / ((1 - confidence) * (1 + confidence)))


def _t_density(t: float, dof: int) -> float:
    """Of abs(T) at t > 0."""
    log_constant = math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2) - math.log(dof * math.pi) / 2
    return 2 * math.exp(log_constant - (dof + 1) / 2 * math.log1p(t * t / dof))


def _cornish_fisher(z: float, dof: int) -> float:
    """Abramowitz & Stegun 26.7.5."""
    return (
        z
        + (z**3 + z) / (4 * dof)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * dof**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * dof**4)
    )


def _t_inside(t: float, dof: int) -> float:
    """P(abs(T) <= t), Abramowitz & Stegun 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(dof))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = dof % 2
    term = cosine if odd else 1.0
    total = term if dof > 1 else 0.0
    for k in range(2 + odd, dof - 1, 2):
        term *= (k - 1) / k * cosine * cosine
        total += term
    return (angle + sine * total) * 2 / math.pi if odd else sine * total


def chi_squared_sf(x: float, dof: int) -> float:
    """P(X > x) for chi-squared with a whole number of degrees of freedom, 1 or more (Abramowitz & Stegun
    26.4.4-5).

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
    """P(K > x) for Kolmogorov's limiting distribution.

    >>> round(kolmogorov_sf(1.358099), 5)
    0.05
    """
    if x < 0.05:  # below 1e-200 away from 1, and the series would divide by 0
        return 1.0
    if x < 1:  # the dual series converges quickly here
        factor = math.sqrt(2 * math.pi) / x
        return 1 - factor * sum(math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * x * x)) for k in range(1, 6))
    return max(2 * sum((1.0 if k % 2 else -1.0) * math.exp(-2 * (k * x) ** 2) for k in range(1, 6)), 0.0)
