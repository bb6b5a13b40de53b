"""Measures of a classifier's scores: how well they rank rows, and whether they are calibrated probabilities.

Scores are counted on the grid by their logit, so rows within a cell (2^-7 of their logit) count as ties. There is one
grid for each class, so most measures are of one class: the calibration of a multiclass model's predicted class, for
one, would need the highest score of each row, which is not kept.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.profiles import Classification, ScorePair
from driftline.profiles.performance import SMALLEST_PROBABILITY
from driftline.sketches import Moments
from driftline.sketches.grid import union_of_cells
from driftline.statistics.binomial import exact
from driftline.statistics.intervals import Interval, logit_delta, wilson
from driftline.statistics.measure import Measure
from driftline.statistics.request import NO_LABELS, NO_SCORES, ONE_ROW, MeasureRequest
from driftline.statistics.special import normal_quantile
from driftline.statistics.tails import Sums, likely_skewness, mean_within

_TOP = 0.1
_EDGE = 0.05
_FEW_HITS = 10
_FEW_POSITIVES = 100
_FEW_OF_A_CLASS = 50
_HALVINGS = 40
_CALIBRATION_BINS = 10
_CERTAIN_GAP = 1.5

_Floats = npt.NDArray[np.float64]


def roc_auc(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the probability that a row of the class scores higher than another row, ties counting half; in [0, 1].

    The interval is DeLong's (1988) from the grids. Scores within one cell of the grid (2^-7 of their logit, or of its
    distance from the reference's median where all lie close to that) count as ties; the interval allows for any order
    within a cell. Multiclass: the mean of one-vs-rest over the classes that have rows of both kinds. How these classes
    share rows is not kept, so the interval assumes that they are fully correlated, which is on the safe side.
    """
    if not performance.count:
        return ask.no(NO_LABELS)
    pairs = {name: pair for name, pair in performance.scores.items() if pair.positives.count + pair.negatives.count}
    if not pairs:
        return ask.no(NO_SCORES)
    if ask.positive is not None:
        if (own := scores_of(performance, ask.positive)) is None:
            return ask.no(NO_SCORES)
        pairs = {ask.positive: own}
    both = [pair for pair in pairs.values() if pair.positives.count and pair.negatives.count]
    if not both:
        n = max(pair.positives.count + pair.negatives.count for pair in pairs.values())
        return ask.no("the scored rows are of one class only", n)
    n = max(pair.positives.count + pair.negatives.count for pair in both)
    values, bounds = zip(*[_auc(pair, ask.confidence) for pair in both], strict=True)
    low, high = (math.fsum(side) / len(both) for side in zip(*bounds, strict=True))
    return ask.yes(math.fsum(values) / len(both), Interval(low, high), n)


def _auc(pair: ScorePair, confidence: float) -> tuple[float, Interval]:
    """AUC and DeLong's interval on the logit scale; below 50 rows of a class the wider of it and Hanley & McNeil's.

    So few rows do not show how much their scores vary: with 3 rows against 97, DeLong's contained the truth in only 81
    to 86 of 100 samples.
    """
    cells, positives, negatives = _on_cells(pair)
    m, n = float(positives.sum()), float(negatives.sum())
    beaten = (np.cumsum(negatives) - negatives / 2) / n  # share of negatives below a positive in this cell
    beating = (m - np.cumsum(positives) + positives / 2) / m
    auc = min(max(float((positives * beaten).sum() / m), 0.0), 1.0)
    variance = 0.0
    if m > 1 and n > 1:
        variance += float((positives * (beaten - auc) ** 2).sum() / ((m - 1) * m))
        variance += float((negatives * (beating - auc) ** 2).sum() / ((n - 1) * n))
    delong = logit_delta(auc, math.sqrt(variance), confidence) if variance > 0 and 0 < auc < 1 else None
    if delong is None or min(m, n) < _FEW_OF_A_CLASS:
        few = _hanley_mcneil(auc, m, n, confidence)
        delong = few if delong is None else Interval(min(few.low, delong.low), max(few.high, delong.high))
    tied = float((positives * negatives * _unordered(cells)).sum()) / (m * n) / 2
    return auc, Interval(max(delong.low - tied, 0.0), min(delong.high + tied, 1.0))


def _hanley_mcneil(auc: float, m: float, n: float, confidence: float) -> Interval:
    """The true values that lie within z of their own standard errors (Hanley & McNeil 1982) of the AUC, from m rows of
    a class and n others.

    Like Wilson's, this score interval has a width at 0 and 1 too (Newcombe 2006).
    """
    z = normal_quantile(confidence)

    def reaches(true: float) -> bool:
        q1, q2 = true / (2 - true), 2 * true**2 / (1 + true)
        variance = true * (1 - true) + (m - 1) * (q1 - true**2) + (n - 1) * (q2 - true**2)
        return abs(auc - true) <= z * math.sqrt(max(variance, 0.0) / (m * n))

    def last(outside: float) -> float:
        inside = auc
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            if reaches(middle):
                inside = middle
            else:
                outside = middle
        return inside

    return Interval(last(0.0), last(1.0))


def log_loss(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the mean of -ln of the probability given to the true class, in nats, over the rows that have scores (see
    `Classification`).

    The interval is that of `mean_within`, up to the loss that these scores would have had for any other labels.
    """
    losses = performance.log_loss
    if not performance.count:
        return ask.no(NO_LABELS)
    if losses.mean is None:
        return ask.no(NO_SCORES)
    if losses.sd is None:
        return ask.no(ONE_ROW, losses.count)
    worst = -math.log(max(_farthest(performance, ask.positive), SMALLEST_PROBABILITY))
    if ask.positive is None and (performance.rescaled or unscored(performance)):
        worst = -math.log(SMALLEST_PROBABILITY)
    return ask.yes(losses.mean, _mean_loss(losses, worst, ask.confidence), losses.count)


def _mean_loss(losses: Moments, worst: float, confidence: float) -> Interval:
    """The interval of the mean of two or more losses between 0 and ``worst``."""
    mean, sd, n = losses.mean or 0.0, losses.sd or 0.0, losses.count
    return mean_within(Sums(n, mean, sd, likely_skewness(mean, sd, n), 0.0, worst), worst, confidence)


def unscored(performance: Classification) -> dict[str, int]:
    """Return the number of rows of each class that is never scored, by name; empty where there are no scores at all."""
    if not performance.scores:
        return {}
    found = Counter[str]()
    for (label, _), count in performance.confusion.items():
        found[label] += 0 if label in performance.scores else count
    return {name: count for name, count in sorted(found.items()) if count}


def _farthest(performance: Classification, positive: str | None) -> float:
    """The smallest probability in [0, 1] that a row gives to any class, and would give to its label if that were it."""
    found = [1.0]
    for pair in performance.scores.values():
        for cells in (pair.positives.cells, pair.negatives.cells):
            if len(cells):
                low, high = pair.grid.centres(cells[[0, -1]]).tolist()
                found.append(_expit(low))
                if positive is not None:
                    found.append(_expit(-high))
    return min(found)


def _expit(logit: float) -> float:
    return 1 / (1 + math.exp(min(-logit, 700.0)))


def average_precision(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the area under the precision-recall curve as a sum of steps, in (0, 1].

    Ties are one step, and so are the scores of one cell; the interval allows for any order within a cell. Its variance,
    on the logit scale, is that of the infinitesimal jackknife on the cells (Efron 1982), to which a bootstrap of the
    rows tends. Below 100 positive rows, where that is too small, it is at least that of Boyd, Eng & Page (2013),
    p (1 - p) / n for n positive rows.
    """
    pair = _scored(performance, ask)
    if isinstance(pair, Measure):
        return pair
    cells, ascending, others = _on_cells(pair)
    positives, negatives = ascending[::-1], others[::-1]
    hits, taken = np.cumsum(positives), np.cumsum(positives + negatives)
    n, rows = pair.positives.count, pair.positives.count + pair.negatives.count
    value = min(float((positives * hits / taken).sum()) / n, 1.0)
    if not 0 < value < 1:
        return ask.yes(value, exact(value * n, n, ask.confidence), rows)
    by_a_hit = np.cumsum((positives / taken)[::-1])[::-1]  # what one more row adds to the steps at its score and below
    by_a_row = np.cumsum((positives * hits / taken**2)[::-1])[::-1]
    if_positive = hits / taken - value + by_a_hit - by_a_row
    variance = float((positives * if_positive**2).sum() + (negatives * by_a_row**2).sum()) / n**2
    if n < _FEW_POSITIVES:
        variance = max(variance, value * (1 - value) / n)
    bounds = logit_delta(value, math.sqrt(variance), ask.confidence)
    lower, upper = _any_order(positives, negatives, hits, taken, _unordered(cells)[::-1])
    low, high = max(bounds.low - lower / n, 0.0), min(bounds.high + upper / n, 1.0)
    return ask.yes(value, Interval(low, high), rows)


def _unordered(cells: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """Which of some ascending cells may hold unequal scores: those next to another one, where scores lie close."""
    next_to = np.diff(cells.astype(np.int64)) == 1
    found: npt.NDArray[np.bool_] = np.append(next_to, False) | np.append(False, next_to)
    return found


def _any_order(
    positives: _Floats, negatives: _Floats, hits: _Floats, taken: _Floats, unordered: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """How much lower and higher the sum of the precisions at all positive rows can be, by the order within cells.

    Up to and including each cell there are ``taken`` rows, ``hits`` of them positive. If all positive rows of a cell
    come first, the i-th has the precision (hits before + i) / (rows before + i), whose sum over i follows from that of
    1 / (rows before + i).
    """
    both = positives + negatives
    missed = taken - both - (hits - positives)  # rows before the cell that are not positive
    as_ties = positives * hits / taken
    found = []
    for before, wrong in ((taken - positives, missed + negatives), (taken - both, missed)):
        inverse = np.log((before + positives + 0.5) / (before + 0.5))  # the sum of 1 / (before + i), a bit larger
        found.append(float(((positives - wrong * inverse - as_ties) * unordered).sum()))
    return max(-found[0], 0.0), max(found[1], 0.0)


def gain_10(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the share of all positive rows that are among the tenth of rows with the highest scores, in [0, 1].

    Rows that tie at the edge of the tenth count in part. The interval is the delta method's on the logit scale and
    allows for the edge being an estimate: one more row above it pushes out another, which is positive as often as the
    rows around the edge are. It is Clopper & Pearson's where fewer than 10 positive rows are above or below the edge.
    """
    pair = _scored(performance, ask)
    if isinstance(pair, Measure):
        return pair
    _, positives, negatives = _on_cells(pair)
    both, n = positives + negatives, pair.positives.count
    taken = _taken(both, _TOP)
    hits = min(float(positives @ taken), float(n))
    value = hits / n
    around = both * (_taken(both, _TOP + _EDGE) - _taken(both, _TOP - _EDGE))
    density = (float(around @ (positives / both)) + 0.5) / (float(around.sum()) + 1)
    pushed = density * (taken - _TOP)
    variance = float(positives @ (taken - value - pushed) ** 2 + negatives @ pushed**2) / n**2
    if min(hits, n - hits) < _FEW_HITS or variance <= 0:
        return ask.yes(value, exact(hits, n, ask.confidence), n)
    return ask.yes(value, logit_delta(value, math.sqrt(variance), ask.confidence), n)


def _taken(both: _Floats, top: float) -> _Floats:
    """The part, 0 to 1, of each ascending cell's rows that is among the share ``top`` with the highest scores."""
    above = both.sum() - np.cumsum(both)
    part: _Floats = np.clip((top * both.sum() - above) / both, 0.0, 1.0)
    return part


def gains(performance: Classification, positive: str) -> tuple[float, ...]:
    """Return the share of all positive rows that are among the highest-scored tenth, two tenths, and so on to all rows.

    Ten values in [0, 1], of which `gain_10` is the first; empty where that cannot be computed.
    """
    pair = _scored(performance, MeasureRequest("gain_10", 0.95, positive))
    if isinstance(pair, Measure):
        return ()
    _, positives, negatives = _on_cells(pair)
    both, n = positives + negatives, pair.positives.count
    return tuple(min(float(positives @ _taken(both, tenth / 10)) / n, 1.0) for tenth in range(1, 11))


def lift_10(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return how many times as often rows are positive among the highest-scored tenth as among all, 0 to 10.

    That is `gain_10` over 0.1.
    """
    gain = gain_10(performance, ask)
    if gain.value is None or gain.low is None or gain.high is None:
        return gain
    return ask.yes(gain.value / _TOP, Interval(gain.low / _TOP, gain.high / _TOP), gain.n)


def brier(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the mean squared error of the probabilities, over the rows that have scores; interval by `mean_within`.

    Binary: (p - y)², in [0, 1]. Multiclass: its sum over the classes, in [0, 2] (Brier 1950); what a row's scores lack
    to 1 is the probability of all classes that it does not score.
    """
    errors = performance.brier
    if not performance.count:
        return ask.no(NO_LABELS)
    if errors.mean is None:
        return ask.no(NO_SCORES)
    if errors.sd is None:
        return ask.no(ONE_ROW, errors.count)
    worst = (1 - _farthest(performance, ask.positive)) ** 2 if ask.positive is not None else 2.0
    return ask.yes(errors.mean, _mean_loss(errors, worst, ask.confidence), errors.count)


def calibration_error(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the expected calibration error, in [0, 1] (Naeini, Cooper & Hauskrecht 2015): the mean gap between the
    score and the share of positive rows in ten bins of equal width.

    The bins end where cells of the grid do, within half a cell (0.0009) of the tenths; for these bins the value is
    within 0.0009 of that from the scores themselves: p (1 - p) · abs(logit p) is at most 0.224, and half a cell 2^-8.

    By chance it is above 0 for a calibrated model too. The lower bound takes that off: what noise is expected to add to
    a bin's gap, if the true gap is 1.5 standard errors smaller than the observed one. Both bounds allow for the noise
    of the bins' shares. By simulation each holds in 97 of 100 cases or more, at 95 %.
    """
    pair = _scored(performance, ask)
    if isinstance(pair, Measure):
        return pair
    rows, hits, scores = _calibration_bins(pair)
    n = int(rows.sum())
    gaps = np.abs(scores - hits) / n
    smoothed = (hits + 0.5) / (rows + 1)
    noise = np.sqrt(rows * smoothed * (1 - smoothed)) / n
    by_chance = math.fsum(map(_added_by_noise, np.maximum(gaps - _CERTAIN_GAP * noise, 0.0).tolist(), noise.tolist()))
    half = normal_quantile(ask.confidence) * math.sqrt(float(noise @ noise))
    value = math.fsum(gaps.tolist())
    return ask.yes(value, Interval(max(value - by_chance - half, 0.0), min(value + half, 1.0)), n)


class CalibrationBin(NamedTuple):
    """Rows whose scores lie in one tenth of [0, 1].

    ``score`` is their mean score and ``share`` the share of them that is of the class, with Wilson's bounds ``low`` and
    ``high``, all 0 to 1. ``rows`` is above 0.
    """

    score: float
    share: float
    low: float
    high: float
    rows: int


def calibration_bins(
    performance: Classification, positive: str, *, confidence: float = 0.95
) -> tuple[CalibrationBin, ...]:
    """Return the bins that `calibration_error` adds up, by rising score; empty where that cannot be computed."""
    pair = _scored(performance, MeasureRequest("calibration_error", confidence, positive))
    if isinstance(pair, Measure):
        return ()
    return tuple(
        CalibrationBin(score / n, hits / n, *wilson(hits, n, confidence), int(n))
        for n, hits, score in zip(*(side.tolist() for side in _calibration_bins(pair)), strict=True)
    )


def _calibration_bins(pair: ScorePair) -> tuple[_Floats, _Floats, _Floats]:
    """The rows, the positive rows and the sum of scores of each bin that has rows, each shape (bins,)."""
    cells, positives, negatives = _on_cells(pair)
    both = positives + negatives
    logits = np.clip(pair.grid.centres(cells), -700.0, 700.0)
    probabilities = 1 / (1 + np.exp(-logits))
    return _binned(probabilities, both, positives)


def _binned(probabilities: _Floats, rows: _Floats, positives: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    bins = np.minimum((probabilities * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
    sides = (rows, positives, rows * probabilities)
    counted, hits, scores = (np.bincount(bins, side, _CALIBRATION_BINS).astype(np.float64) for side in sides)
    there = counted > 0
    return counted[there], hits[there], scores[there]


def calibration_error_of(probabilities: _Floats, is_class: npt.NDArray[np.bool_]) -> float:
    """Return the value of `calibration_error` from single rows.

    ``probabilities`` of a class are in [0, 1]; ``is_class`` says whether each row is of it. Both have the shape (n,)
    with n above 0.

    >>> calibration_error_of(np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, False]))
    0.25
    """
    _, hits, scores = _binned(probabilities, np.ones(len(probabilities)), is_class.astype(np.float64))
    return math.fsum(np.abs(scores - hits).tolist()) / len(probabilities)


def _added_by_noise(gap: float, sd: float) -> float:
    """How much normal noise is expected to add to the absolute value of a true gap; ``sd > 0``."""
    at = gap / sd
    return sd * math.sqrt(2 / math.pi) * math.exp(-at * at / 2) - gap * math.erfc(at / math.sqrt(2))


def scores_of(performance: Classification, name: str) -> ScorePair | None:
    """Return the scores of a class; with two classes of which only the other is scored, its scores turned round.

    None where the class has no scores.
    """
    pair = performance.scores.get(name)
    if pair is not None and pair.positives.count + pair.negatives.count:
        return pair
    others = [pair for pair in performance.scores.values() if pair.positives.count + pair.negatives.count]
    if len(others) != 1:
        return None
    classes = {name for both in performance.confusion for name in both}
    return others[0].turned() if len(classes | performance.scores.keys() | {name}) <= 2 else None


def _scored(performance: Classification, ask: MeasureRequest) -> ScorePair | Measure:
    """The scores of the positive class, or a measure with the reason why there are none or rows of one kind only."""
    if not performance.count:
        return ask.no(NO_LABELS)
    if ask.positive is None:
        return ask.no("only a binary model has it, or one class of many", performance.count)
    pair = scores_of(performance, ask.positive)
    if pair is None:
        return ask.no(NO_SCORES)
    if not (pair.positives.count and pair.negatives.count):
        return ask.no("the scored rows are of one class only", pair.positives.count + pair.negatives.count)
    return pair


def _on_cells(pair: ScorePair) -> tuple[npt.NDArray[np.uint16], _Floats, _Floats]:
    """The cells that are not empty, ascending, and their counts of positive and negative rows, each shape (cells,)."""
    cells = union_of_cells(pair.positives.cells, pair.negatives.cells)
    positives, negatives = np.zeros(len(cells)), np.zeros(len(cells))
    positives[np.searchsorted(cells, pair.positives.cells)] = pair.positives.counts
    negatives[np.searchsorted(cells, pair.negatives.cells)] = pair.negatives.counts
    return cells, positives, negatives
