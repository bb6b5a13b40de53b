"""What past windows say of each series: its level, its season, and how much windows differ beyond sampling.

A value is level + season + day effect + sampling error. Day effects have a scale τ and Student's t distribution with ν
degrees of freedom; what is known of (τ, ν) is a weight for each pair of a grid, with a prior that the series of a kind
share (empirical Bayes: Kiefer & Wolfowitz 1956; Laird 1978). Their correlation from window to window is ρ.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.detection.series import NO_ROWS, SeriesKind, is_informative

TAU = np.array([0, 0.005, 0.01, 0.015, 0.022, 0.033, 0.05, 0.075, 0.11, 0.17, 0.25, 0.4, 0.65, 1.1, 2.0, 4.0])
"""Scales of day effects, in standard deviations of one row."""
NU = (math.inf, 12.0, 6.0, 1.5)
"""Degrees of freedom of day effects."""
_NU_PRIOR = np.array([0.60, 0.30, 0.08, 0.02])
_PRIOR = np.tile(_NU_PRIOR, len(TAU)) / len(TAU)
_TAU_SQUARED = np.repeat(TAU**2, len(NU))
_ROUNDS, _EM_STEPS = 2, 30
_FIRST_TAU_SQUARED, _MOST_TAU_SQUARED = 0.02**2, 4.0
_PRIOR_SERIES = 0.5
_MOST_LEVERAGE = 0.9
_FIT_CUT, _CORRELATION_CUT = 4.0, 3.0
_SHRINK_WINDOWS = 20.0
_MOST_RHO = 0.9
_VARYING = 0.25
_LEAST_VARYING = 3
_SEASONS_NEEDED = 2
_BLOCK = 128

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What is learnt of J series from ``windows`` windows, with a season of ``period`` slots.

    ``level``, ``rho``, ``tau_squared`` (the mean of τ²), ``season_share`` (how much of its season is believed, 0 to 1)
    have shape (J,). The variance of the level is τ² · ``level_of_tau`` + ``level_of_rows``, each shape (J,). ``season``
    and its variance have shape (period · J,), slot by slot; ``weights`` of the pairs of τ and ν (J · 64,), series by
    series: `season_at`, `season_variance_at` and `hypotheses` take them apart.
    """

    windows: int
    period: int
    level: _Floats
    season: _Floats
    season_variance: _Floats
    season_share: _Floats
    tau_squared: _Floats
    rho: _Floats
    level_of_tau: _Floats
    level_of_rows: _Floats
    weights: _Floats

    def season_at(self, slot: int) -> _Floats:
        """The season of a slot, shape (J,)."""
        of_slot: _Floats = self.season.reshape(self.period, -1)[slot]
        return of_slot

    def season_variance_at(self, slot: int) -> _Floats:
        """Its variance, shape (J,)."""
        of_slot: _Floats = self.season_variance.reshape(self.period, -1)[slot]
        return of_slot

    @property
    def hypotheses(self) -> _Floats:
        """The weights, shape (J, 16, 4), of each τ and ν; those of a series add up to 1."""
        return self.weights.reshape(-1, len(TAU), len(NU))

    @property
    def season_is_learnt(self) -> bool:
        """Whether there were enough windows for a season."""
        return self.period > 1 and self.windows >= _SEASONS_NEEDED * self.period


class Learnable(NamedTuple):
    """M windows to learn from: values ``y`` and rows ``n``, shape (M, J), ascending positions ``at`` and slots, shape
    (M,). Neighbours have positions that differ by 1.
    """

    y: _Floats
    n: _Floats
    at: _Ints
    slot: _Ints


def inflation(rho: _Floats, m: int | _Floats) -> _Floats:
    """The variance of the mean of m values with AR(1) correlation, times m over that of one; any shape.

    >>> inflation(np.array([0.0, 0.5]), 2).tolist()
    [1.0, 1.5]
    """
    inflated: _Floats = (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**m) / (m * (1 - rho) ** 2)
    return inflated


def learn(windows: Learnable, kinds: Sequence[SeriesKind], period: int) -> Baseline:
    """Learn a baseline of J series from M windows, at least one. ``period`` 1 is no season."""
    y, n, at, slot = windows
    count = len(y)
    variance = 1 / n
    in_slot = (slot[:, None] == np.arange(period)).astype(np.float64)
    groups = list(_by_kind(kinds))
    varies = np.mean(y != np.median(y, axis=0), axis=0) > _VARYING
    tau_squared, pulled = np.full(y.shape[1], _FIRST_TAU_SQUARED), y
    for _ in range(_ROUNDS):
        precision = 1 / (tau_squared + variance)
        total = precision.sum(axis=0)
        level = (precision * pulled).sum(axis=0) / total
        season = _season(pulled - level, precision, in_slot, slot)
        fit = level + season.effect[slot]
        in_slots = season.precision[slot]
        unlevered = 1 - np.clip(precision / total + season.share * precision / in_slots, 0, _MOST_LEVERAGE)
        likelihood = _log_likelihood((y - fit) ** 2 / unlevered, variance, unlevered)
        weights = _weigh(likelihood, groups, varies)
        tau_squared = np.minimum(weights @ _TAU_SQUARED, _MOST_TAU_SQUARED)
        sd = np.sqrt((tau_squared + variance) * unlevered)
        z = (y - fit) / sd
        pulled = fit + np.clip(z, -_FIT_CUT, _FIT_CUT) * sd
    day_share = (tau_squared / (tau_squared + variance)).mean(axis=0)
    rho = _correlation(z, np.diff(at) == 1, day_share, season.share * (period - 1), groups)
    level_of_tau, level_of_rows = level_variance(rho, n)
    return Baseline(
        count,
        period,
        level,
        season.effect.ravel(),
        season.variance.ravel(),
        season.share,
        tau_squared,
        rho,
        level_of_tau,
        level_of_rows,
        weights.ravel(),
    )


def level_variance(rho: _Floats, n: _Floats) -> tuple[_Floats, _Floats]:
    """The variance of the mean of windows: that of day effects over τ², and that of sampling, each shape (J,).

    ``n`` are the rows, shape (M, J); windows that say nothing of a series do not count for it.
    """
    says = is_informative(n)
    count = says.sum(axis=0)
    sampling = np.where(says, 1 / n, 0.0).sum(axis=0)
    some = np.maximum(count, 1)
    return inflation(rho, some.astype(np.float64)) / some, np.where(count > 0, sampling / some**2, 1 / NO_ROWS)


class _Season(NamedTuple):
    effect: _Floats
    variance: _Floats
    share: _Floats
    precision: _Floats


def _season(residuals: _Floats, precision: _Floats, in_slot: _Floats, slot: _Ints) -> _Season:
    """The effect of each slot and its variance, shape (P, J), and how much of the season is believed, shape (J,).

    Slot means are pulled towards 0 by the positive-part James-Stein rule (Efron & Morris 1973).
    """
    count, period = in_slot.shape
    of_slot = np.maximum(in_slot.T @ precision, 1e-9)
    mean = in_slot.T @ (precision * residuals) / of_slot
    share, within = np.zeros(residuals.shape[1]), np.ones(residuals.shape[1])
    if period > 1 and count >= _SEASONS_NEEDED * period:
        freedom = count - period
        within = np.maximum((precision * (residuals - mean[slot]) ** 2).sum(axis=0) / freedom, 1e-9)
        ratio = (of_slot * mean**2).sum(axis=0) / (period - 1) / within
        pull = max(period - 3, 0) / (period - 1) * freedom / (freedom + 2)
        share = np.clip(1 - pull / np.maximum(ratio, 1e-9), 0, 1)
    return _Season(share * mean, share / of_slot * within, share, of_slot)


def _log_likelihood(squares: _Floats, variance: _Floats, unlevered: _Floats) -> _Floats:
    """The log likelihood of each pair of τ and ν, shape (64, J), of squared residuals, shape (M, J)."""
    count = squares.shape[1]
    found = np.empty((len(TAU), len(NU), count))
    for start in range(0, count, _BLOCK):  # so many series stay in the cache
        block = slice(start, start + _BLOCK)
        square, sampling, weight = (np.ascontiguousarray(one[:, block]) for one in (squares, variance, unlevered))
        effective, logs = weight.sum(axis=0), np.empty_like(square)
        for at, tau_squared in enumerate(TAU**2):
            total = sampling + tau_squared
            scale = np.einsum("ij,ij->j", weight, np.log(total, out=logs)) / 2
            ratio = np.divide(square, total, out=total)
            for by, nu in enumerate(NU):
                if math.isinf(nu):
                    found[at, by, block] = -scale - np.einsum("ij,ij->j", weight, ratio) / 2
                    continue
                np.divide(ratio, nu, out=logs)
                logs += 1
                spread = np.einsum("ij,ij->j", weight, np.log(logs, out=logs))
                found[at, by, block] = -scale - (nu + 1) / 2 * spread + effective * _log_constant(nu)
    return np.asarray(found.reshape(len(TAU) * len(NU), -1))


@functools.cache
def _log_constant(nu: float) -> float:
    """Of Student's t density, over that of the normal one."""
    return math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - math.log(nu / 2) / 2


def _weigh(likelihood: _Floats, groups: Sequence[_Ints], varies: npt.NDArray[np.bool_]) -> _Floats:
    """The weight of each hypothesis of each series, shape (J, 64): series of a kind that vary share a prior."""
    like = np.exp(likelihood - likelihood.max(axis=0)).T
    weights: _Floats = np.empty(like.shape)
    for group in groups:
        varying = group[varies[group]]
        teachers = like[varying if len(varying) >= _LEAST_VARYING else group]
        prior = _PRIOR
        for _ in range(_EM_STEPS):
            # Each teacher's posterior is prior * like / (like @ prior); their sum is had without the matrix of them.
            posterior = prior * ((1 / (teachers @ prior)) @ teachers)
            prior = (posterior + _PRIOR_SERIES * _PRIOR) / (len(teachers) + _PRIOR_SERIES)
        own = prior * like[group]
        weights[group] = own / own.sum(axis=1, keepdims=True)
    return weights


def _correlation(
    z: _Floats, neighbours: npt.NDArray[np.bool_], day_share: _Floats, season: _Floats, groups: Sequence[_Ints]
) -> _Floats:
    """The correlation ρ of day effects of neighbouring windows, shape (J,), 0 to 0.9.

    That of standardised residuals, corrected for the bias of a fitted level and season (Kendall 1954), is pulled
    towards what the series of a kind have in common.
    """
    count = len(z)
    cut = np.clip(z, -_CORRELATION_CUT, _CORRELATION_CUT)
    pairs = int(neighbours.sum())
    r = (cut[1:] * cut[:-1])[neighbours].sum(axis=0) / np.maximum((cut**2).sum(axis=0) * pairs / count, 1e-9)
    r = (r + (1 + season) / count) / (1 - min(3 / count, 0.5))
    rho = np.empty(z.shape[1])
    for group in groups:
        share, own = day_share[group], r[group]
        pool = np.clip((own * share).sum() / max(float((share**2).sum()), 0.5), 0, _MOST_RHO)
        shrunk = (pool * _SHRINK_WINDOWS + count * share * own) / (_SHRINK_WINDOWS + count * share**2)
        rho[group] = np.clip(shrunk, 0, _MOST_RHO)
    return rho


def _by_kind(kinds: Sequence[SeriesKind]) -> Iterator[_Ints]:
    """The places of the series of each kind that there is."""
    names = np.array([kind.value for kind in kinds])
    for name in np.unique(names):
        yield np.flatnonzero(names == name)
