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
    score = np.array([one.score for one in newest])
    precision = np.array([one.precision for one in newest])
    square = precision**2
    summed_precision, summed_square = precision.cumsum(axis=0), square.cumsum(axis=0)
    summed_score = (precision * np.clip(score, -_CUT, _CUT)).cumsum(axis=0)
    summed_day = (square * np.array([one.day_share for one in newest])).cumsum(axis=0)
    summed_baseline = (square * np.array([one.baseline_share for one in newest])).cumsum(axis=0)
    summed_residual = (square * np.array([one.residual for one in newest])).cumsum(axis=0)
    side = np.asarray(sides)
    fitting = [m for m in lookbacks if m <= len(newest)]
    log_chances, shifts = np.empty((len(fitting), len(rho))), np.empty((len(fitting), len(rho)))
    for row, m in enumerate(fitting):
        at, total = m - 1, summed_square[m - 1]
        if m == 1:
            z = score[0]
        else:
            day, baseline = summed_day[at] / total, summed_baseline[at] / total
            together = summed_precision[at] ** 2 - total
            z = summed_score[at] / np.sqrt(total * (1 + day * (inflation(rho, m) - 1)) + baseline * together)
        directed = np.where(side == Side.BOTH, np.abs(z), side * z)
        both = math.log(2) * (side == Side.BOTH)
        log_chances[row] = np.minimum(log_normal_tail(directed) + both, 0.0)
        shifts[row] = summed_residual[at] / total
    best = np.argmin(log_chances, axis=0)
    places = np.arange(len(rho))
    return Evidence(log_chances[best, places], np.array(fitting)[best], shifts[best, places])
