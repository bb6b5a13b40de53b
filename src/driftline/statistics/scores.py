"""Measures of a classifier's scores: how they rank rows, and whether they are probabilities.

Scores are counted on the grid by their logit, so rows within a cell (2^-7 of their logit) count as ties.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from driftline.profiles import Classification, ScorePair
from driftline.sketches.grid import union_of_cells
from driftline.statistics.intervals import Interval, logit_delta, student, wilson
from driftline.statistics.measure import Measure
from driftline.statistics.question import NO_LABELS, NO_SCORES, ONE_ROW, Question
from driftline.statistics.special import normal_quantile

_TOP = 0.1
_CALIBRATION_BINS = 10

_Floats = npt.NDArray[np.float64]


def roc_auc(performance: Classification, ask: Question) -> Measure:
    """Chance that a row of the class scores above one that is not, ties counting half; DeLong (1988) from the
    grids.

    Scores within one cell of the grid (2^-7 of their logit) count as ties. Multiclass: the mean of
    one-vs-rest over the classes that have both; as its classes share rows in a way that the grids do not
    keep, its interval takes them as fully correlated, which is on the safe side.
    """
    if not performance.count:
        return ask.no(NO_LABELS)
    pairs = {name: pair for name, pair in performance.scores.items() if pair.positives.count + pair.negatives.count}
    if not pairs:
        return ask.no(NO_SCORES)
    if ask.positive is not None:
        if (own := _scores_of(performance, ask.positive)) is None:
            return ask.no(NO_SCORES)
        pairs = {ask.positive: own}
    both = [pair for pair in pairs.values() if pair.positives.count and pair.negatives.count]
    if not both:
        n = max(pair.positives.count + pair.negatives.count for pair in pairs.values())
        return ask.no("the scored rows are of one class only", n)
    n = max(pair.positives.count + pair.negatives.count for pair in both)
    values, errors = zip(*[_delong(pair) for pair in both], strict=True)
    value, error = math.fsum(values) / len(both), math.fsum(errors) / len(both)
    if error > 0 and 0 < value < 1:
        return ask.yes(value, logit_delta(value, error, ask.confidence), n)
    trials = min(min(pair.positives.count, pair.negatives.count) for pair in both)
    return ask.yes(value, wilson(value * trials, trials, ask.confidence), n)


def _delong(pair: ScorePair) -> tuple[float, float]:
    """AUC and its standard error; with one row of a class, or all scores tied, that of Hanley & McNeil
    (1982).
    """
    _, positives, negatives = _on_cells(pair)
    m, n = positives.sum(), negatives.sum()
    beaten = (np.cumsum(negatives) - negatives / 2) / n  # share of negatives below a positive in this cell
    beating = (m - np.cumsum(positives) + positives / 2) / m
    auc = min(max(float((positives * beaten).sum() / m), 0.0), 1.0)
    variance = 0.0
    if m > 1 and n > 1:
        variance += float((positives * (beaten - auc) ** 2).sum() / ((m - 1) * m))
        variance += float((negatives * (beating - auc) ** 2).sum() / ((n - 1) * n))
    if variance <= 0:
        q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
        variance = float((auc * (1 - auc) + (m - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / (m * n))
    return auc, math.sqrt(max(variance, 0.0))


def _dense(cells: npt.NDArray[np.uint16], counts: npt.NDArray[np.int64], among: npt.NDArray[np.uint16]) -> _Floats:
    dense = np.zeros(len(among))
    dense[np.searchsorted(among, cells)] = counts
    return dense


def log_loss(performance: Classification, ask: Question) -> Measure:
    """Mean of -ln of the probability given to the true class, in nats, of the rows that have one; mean ±
    t·sd/√n.
    """
    losses = performance.log_loss
    if not performance.count:
        return ask.no(NO_LABELS)
    if losses.mean is None:
        return ask.no(NO_SCORES)
    if losses.sd is None:
        return ask.no(ONE_ROW, losses.count)
    return ask.yes(losses.mean, student(losses.mean, losses.sd, losses.count, ask.confidence, least=0.0), losses.count)


def average_precision(performance: Classification, ask: Question) -> Measure:
    """Area under the curve of precision over recall as a sum of steps, in (0, 1]; ties are one step.

    Its interval is that of Boyd, Eng & Page (2013) on the logit scale, which needs no bootstrap: the standard error of
    the logit is (n p (1 - p))^-1/2 for n positive rows.
    """
    pair = _scored(performance, ask)
    if isinstance(pair, Measure):
        return pair
    _, positives, negatives = _on_cells(pair)
    hits, taken = np.cumsum(positives[::-1]), np.cumsum((positives + negatives)[::-1])
    n = pair.positives.count
    value = min(float((positives[::-1] * hits / np.maximum(taken, 1)).sum()) / n, 1.0)
    rows = n + pair.negatives.count
    if 0 < value < 1:
        error = math.sqrt(value * (1 - value) / n)
        return ask.yes(value, logit_delta(value, error, ask.confidence), rows)
    return ask.yes(value, wilson(value * n, n, ask.confidence), rows)


def gain_10(performance: Classification, ask: Question) -> Measure:
    """Share of the positive rows among the tenth of rows with the highest scores, in [0, 1]; Wilson.

    Of rows that tie at the edge of the tenth, as large a part is taken as fits.
    """
    pair = _scored(performance, ask)
    if isinstance(pair, Measure):
        return pair
    _, positives, negatives = _on_cells(pair)
    both = (positives + negatives)[::-1]
    room = np.clip(_TOP * both.sum() - (np.cumsum(both) - both), 0, both)
    hits = float((positives[::-1] * room / np.maximum(both, 1)).sum())
    n = pair.positives.count
    return ask.yes(hits / n, wilson(min(hits, n), n, ask.confidence), n)


def lift_10(performance: Classification, ask: Question) -> Measure:
    """How many times more often rows are positive among the tenth with the highest scores than among all: `gain_10`
    over 0.1.
    """
    gain = gain_10(performance, ask)
    if gain.value is None or gain.low is None or gain.high is None:
        return gain
    return ask.yes(gain.value / _TOP, Interval(gain.low / _TOP, gain.high / _TOP), gain.n)


def brier(performance: Classification, ask: Question) -> Measure:
    """Mean squared error of the probabilities, of the rows that score their label; mean ± t·sd/√n.

    Binary: (p - y)², in [0, 1]. Multiclass: its sum over the scored classes, in [0, 2] (Brier 1950).
    """
    errors = performance.brier
    if not performance.count:
        return ask.no(NO_LABELS)
    if errors.mean is None:
        return ask.no(NO_SCORES)
    if errors.sd is None:
        return ask.no(ONE_ROW, errors.count)
    return ask.yes(errors.mean, student(errors.mean, errors.sd, errors.count, ask.confidence, least=0.0), errors.count)


def calibration_error(performance: Classification, ask: Question) -> Measure:
    """Expected calibration error: the mean gap between score and share of positive rows in ten bins of equal width, in
    [0, 1] (Naeini, Cooper & Hauskrecht 2015). Cells put it within 0.002 of that of the scores themselves.

    It is above 0 for a calibrated model too, by chance. The lower bound therefore takes that off: the mean size of a
    gap of normal noise. Both bounds allow for the noise of the bins' shares.
    """
    pair = _scored(performance, ask)
    if isinstance(pair, Measure):
        return pair
    cells, positives, negatives = _on_cells(pair)
    both = positives + negatives
    logits = np.clip(pair.positives.grid.centres(cells), -700.0, 700.0)
    probabilities = 1 / (1 + np.exp(-logits))
    bins = np.minimum((probabilities * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
    rows, hits, scores = (
        np.bincount(bins, side, _CALIBRATION_BINS) for side in (both, positives, both * probabilities)
    )
    there = rows > 0
    rows, hits, scores = rows[there], hits[there], scores[there]
    shares, means = hits / rows, scores / rows
    weights = rows / rows.sum()
    value = float((weights * np.abs(means - shares)).sum())
    smoothed = (hits + 0.5) / (rows + 1)
    noise = weights**2 * smoothed * (1 - smoothed) / rows
    by_chance = math.sqrt(2 / math.pi) * float(np.sqrt(noise).sum())
    half = normal_quantile(ask.confidence) * math.sqrt(float(noise.sum()))
    n = int(rows.sum())
    return ask.yes(value, Interval(max(value - by_chance - half, 0.0), min(value + half, 1.0)), n)


def _scores_of(performance: Classification, name: str) -> ScorePair | None:
    """The scores of a class; of two classes where the other one is scored, its scores the other way round."""
    pair = performance.scores.get(name)
    if pair is not None and pair.positives.count + pair.negatives.count:
        return pair
    classes = {name for both in performance.confusion for name in both}
    others = [pair for other, pair in performance.scores.items() if pair.positives.count + pair.negatives.count]
    if len(others) == 1 and len(classes | performance.scores.keys() | {name}) <= 2:
        return others[0].turned()
    return None


def _scored(performance: Classification, ask: Question) -> ScorePair | Measure:
    """The scores of the positive class on rows of both kinds, or why there are none."""
    if not performance.count:
        return ask.no(NO_LABELS)
    if ask.positive is None:
        return ask.no("only a binary model has it, or one class of many", performance.count)
    pair = _scores_of(performance, ask.positive)
    if pair is None:
        return ask.no(NO_SCORES)
    if not (pair.positives.count and pair.negatives.count):
        return ask.no("the scored rows are of one class only", pair.positives.count + pair.negatives.count)
    return pair


def _on_cells(pair: ScorePair) -> tuple[npt.NDArray[np.uint16], _Floats, _Floats]:
    """The cells that hold anything, ascending, and the counts of both kinds of rows there, each shape (cells,)."""
    cells = union_of_cells(pair.positives.cells, pair.negatives.cells)
    return (
        cells,
        _dense(pair.positives.cells, pair.positives.counts, cells),
        _dense(pair.negatives.cells, pair.negatives.counts, cells),
    )
