"""How unusual a window's values are, and those of the last few windows together.

A value becomes a normal score under its own predictive distribution
(Rosenblatt 1952; Dawid 1984), which tames heavy tails before anything is averaged; weighted means of scores over the
last windows (Stouffer 1949; Lipták 1958) are tested each against its fixed share of the budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftline.detection.baseline import NU, TAU, Baseline, inflation
from driftline.detection.distributions import log_normal_tail, normal_score, normal_tail, t_tail
from driftline.detection.series import Side, Values

_MOST_SCORE = 30.0
_LEAST_TAIL = 1e-300
_CUT = 5.0
_TAU_SQUARED = TAU**2

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class WindowScores:
    """The J series of one window, each shape (J,).

    ``score`` is standard normal if nothing has changed, -30 to 30. ``precision`` is 1 over the predictive standard
    deviation, ``day_share`` and ``baseline_share`` are the parts of the predictive variance that come from the window's
    own day effect and from the baseline, 0 to 1. ``residual`` is how far the value is from what was expected.
    """

    score: _Floats
    precision: _Floats
    day_share: _Floats
    baseline_share: _Floats
    residual: _Floats

    def of(self, places: _Ints) -> WindowScores:
        """The scores of some of the series, by their places."""
        return WindowScores(
            self.score[places],
            self.precision[places],
            self.day_share[places],
            self.baseline_share[places],
            self.residual[places],
        )


def normal_scores(baseline: Baseline, values: Values, slot: int) -> WindowScores:
    """Score the values of one window, shape (J,) each, in a slot of the season."""
    season_variance = baseline.season_variance_at(slot)
    certain = 1 / values.n + baseline.level_of_rows + season_variance
    residual = values.y - baseline.level - baseline.season_at(slot)
    tau_squared = baseline.tau_squared
    predictive = tau_squared * (1 + baseline.level_of_tau) + certain
    size = np.abs(residual) / np.sqrt(predictive)
    unusual = np.flatnonzero(size > 1)  # nearer to the middle it makes no difference
    if len(unusual):
        spread = _TAU_SQUARED * (1 + baseline.level_of_tau[unusual, None]) + certain[unusual, None]
        z = np.abs(residual[unusual, None]) / np.sqrt(spread)
        weights = baseline.hypotheses[unusual]
        tail = np.zeros(len(unusual))
        for by, nu in enumerate(NU):
            tail += np.einsum("ij,ij->i", weights[:, :, by], normal_tail(z) if math.isinf(nu) else t_tail(z, nu))
        size[unusual] = np.minimum(-normal_score(np.clip(tail, _LEAST_TAIL, 0.5)), _MOST_SCORE)
    return WindowScores(
        np.sign(residual) * size,
        1 / np.sqrt(predictive),
        tau_squared / predictive,
        (predictive - tau_squared - 1 / values.n) / predictive,
        residual,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Of each series the best of the lookbacks, each shape (J,): ``log_chance``, the logarithm of its p-value, how many
    windows it looks back, and by how much the series has moved over them.
    """

    log_chance: _Floats
    lookback: _Ints
    shift: _Floats


def evidence(
    recent: Sequence[WindowScores], rho: _Floats, sides: Sequence[Side] | _Ints, lookbacks: Sequence[int]
) -> Evidence:
    """Test the last windows, the newest last and at least one, of J series over each lookback that they suffice for.

    ``rho`` has shape (J,); ``sides`` says which way a series has to move. Scores are cut at 5 where several are
    averaged, so that one window is not taken for many.
    """
    newest = recent[::-1][: max(lookbacks)]
    fitting = [m for m in lookbacks if m <= len(newest)]
    within = (np.arange(len(newest)) < np.array(fitting)[:, None]).astype(np.float64)
    score = np.array([one.score for one in newest])
    precision = np.array([one.precision for one in newest])
    square = precision**2
    summed = within @ precision
    total = within @ square
    day = within @ (square * np.array([one.day_share for one in newest])) / total
    baseline = within @ (square * np.array([one.baseline_share for one in newest])) / total
    shift = within @ (square * np.array([one.residual for one in newest])) / total
    inflated = np.array([inflation(rho, m) for m in fitting])
    variance = total * (1 + day * (inflated - 1)) + baseline * (summed**2 - total)
    z = within @ (precision * np.clip(score, -_CUT, _CUT)) / np.sqrt(variance)
    for row in np.flatnonzero(np.array(fitting) == 1):
        z[row] = score[0]
    side = np.asarray(sides)
    directed = np.where(side == Side.BOTH, np.abs(z), side * z)
    best = np.argmax(directed, axis=0)  # which is the least probable, too
    places = np.arange(len(rho))
    log_chance = log_normal_tail(directed[best, places]) + math.log(2) * (side == Side.BOTH)
    return Evidence(np.minimum(log_chance, 0.0), np.array(fitting)[best], shift[best, places])
