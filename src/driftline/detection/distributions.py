"""Tails and quantiles of the normal and Student's t distribution for whole arrays, without SciPy.

`driftline.statistics.special` has these of one number at a time; a window of 100 columns asks for 15,000. All are exact
to a relative 1e-9 and better as far out as numbers go: thresholds lie at 1e-6, and what is certain far beyond.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

# fmt: off
# Press, Teukolsky, Vetterling & Flannery (2007), Numerical Recipes, 3rd edition, 6.2.2: log(erfc(x) exp(x²) / t) as a
# Chebyshev series in 2t - 1, t = 2 / (2 + x).
_ERFC = np.array(
    [-1.3026537197817094 / 2, 6.4196979235649026e-1, 1.9476473204185836e-2, -9.561514786808631e-3,
     -9.46595344482036e-4, 3.66839497852761e-4, 4.2523324806907e-5, -2.0278578112534e-5, -1.624290004647e-6,
     1.303655835580e-6, 1.5626441722e-8, -8.5238095915e-8, 6.529054439e-9, 5.059343495e-9, -9.91364156e-10,
     -2.27365122e-10, 9.6467911e-11, 2.394038e-12, -6.886027e-12, 8.94487e-13, 3.13092e-13, -1.12708e-13,
     3.81e-16, 7.106e-15, -1.523e-15, -9.4e-17, 1.21e-16, -2.8e-17]
)

# Wichura (1988), AS 241: numerators and denominators, highest power first, for the middle and two parts of the tail.
_MIDDLE = (
    [2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0],
    [5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0],
)
_NEAR = (
    [7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0],
    [1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0],
)
_FAR = (
    [2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0],
    [2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0],
)
# fmt: on
_TERMS = 44
"""Of a series in a number up to a half: the last is below 1e-14 of the first."""
_FARTHEST = 1e150
_NODES = 22
"""Of a series that gains a factor of 5.8 a term."""


def _polynomial(coefficients: _Floats | list[float], x: _Floats) -> _Floats:
    """The value at each x, any shape; the highest power comes first."""
    value = np.full(x.shape, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= x
        value += coefficient
    return value


@functools.cache
def _erfc_powers() -> _Floats:
    """The series of `_ERFC` by powers of 2t - 1, the highest first."""
    return np.asarray(np.polynomial.chebyshev.cheb2poly(_ERFC)[::-1])


def log_normal_tail(z: _Floats) -> _Floats:
    """log P(Z > z) of the standard normal at each z, any shape, however far out.

    >>> log_normal_tail(np.array([0.0, 40.0, -40.0])).round(4).tolist()
    [-0.6931, -804.6084, -0.0]
    """
    x = np.abs(z) / math.sqrt(2)
    t = 2 / (2 + x)
    log_tail: _Floats = np.log(t / 2) - x * x + _polynomial(_erfc_powers(), 2 * t - 1)
    below = z < 0
    if below.any():
        log_tail[below] = np.log1p(-np.exp(log_tail[below]))
    return log_tail


def normal_tail(z: _Floats) -> _Floats:
    """P(Z > z) of the standard normal at each z, any shape.

    >>> float(normal_tail(np.array([1.959964]))[0].round(6))
    0.025
    """
    tail: _Floats = np.exp(log_normal_tail(z))
    return tail


def normal_score(p: _Floats) -> _Floats:
    """The z with P(Z < z) = p of the standard normal, for each p in (0, 1), any shape (Wichura 1988, AS 241).

    >>> normal_score(np.array([0.025, 0.5, 1e-300])).round(4).tolist()
    [-1.96, 0.0, -37.0471]
    """
    q = p - 0.5
    middle = np.abs(q) <= 0.425
    r = 0.180625 - q * q
    score = np.empty(p.shape)
    score[middle] = q[middle] * _polynomial(_MIDDLE[0], r[middle]) / _polynomial(_MIDDLE[1], r[middle])
    outer = ~middle
    if outer.any():
        far = q[outer]
        r = np.sqrt(-np.log(np.where(far < 0, p[outer], 1 - p[outer])))
        near = r <= 5
        size = np.where(
            near,
            _polynomial(_NEAR[0], r - 1.6) / _polynomial(_NEAR[1], r - 1.6),
            _polynomial(_FAR[0], r - 5) / _polynomial(_FAR[1], r - 5),
        )
        score[outer] = np.copysign(size, far)
    return score


def _beta_series(a: float, b: float, x: _Floats) -> _Floats:
    """The regularised incomplete beta function of (a, b) over x^a, for x up to a half.

    Abramowitz & Stegun (1964), 26.5.4, in its form without (1 - x)^b: Σ (1 - b)_k / k! · x^k / (a + k) / B(a, b).
    """
    over_beta = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b))
    coefficients, rising = [], 1.0
    for k in range(_TERMS):
        coefficients.append(over_beta * rising / (a + k))
        rising *= (1 - b + k) / (k + 1)
    return _polynomial(coefficients[::-1], x)


@functools.lru_cache(64)
def _t_powers(dof: float) -> _Floats:
    """P(T > t) over x^(dof / 2), x = dof / (dof + t²), by powers of 2s - 1, s = √(1 - x), the highest first.

    It is analytic in s but at -1, so its Chebyshev series on [0, 1] gains a factor of 3 + √8 a term. At the nodes it is
    had from the incomplete beta function of x (Abramowitz & Stegun 26.7.1): by its series in x, or in 1 - x near 1.
    """
    nodes = np.cos(math.pi * (np.arange(_NODES) + 0.5) / _NODES)
    s = (nodes + 1) / 2
    x, a = (1 - s) * (1 + s), dof / 2
    tail = np.where(
        x < 0.5,
        _beta_series(a, 0.5, np.minimum(x, 0.5)) / 2,
        (0.5 - s * _beta_series(0.5, a, np.minimum(s * s, 0.5)) / 2) / x**a,
    )
    fitted = np.polynomial.chebyshev.chebfit(nodes, tail, _NODES - 1)
    return np.asarray(np.polynomial.chebyshev.cheb2poly(fitted)[::-1])


def t_tail(t: _Floats, dof: float) -> _Floats:
    """P(T > t) of Student's t with ``dof`` degrees of freedom, from 1 to about 20, at each t of at least 0, any shape.

    >>> t_tail(np.array([0.0, 12.7062, 1e6]), 1).round(7).tolist()
    [0.5, 0.025, 3e-07]
    """
    square = np.minimum(t, _FARTHEST) ** 2
    x = dof / (dof + square)
    s = np.sqrt(square / (dof + square))
    tail: _Floats = np.exp(dof / 2 * np.log(x)) * _polynomial(_t_powers(dof), 2 * s - 1)
    return tail
