"""Measures of a classifier from its confusion counts.

With a ``positive`` class they are measures of that class; otherwise macro averages, as in scikit-learn: over every
class that occurs as a label or a prediction, where a class whose precision, recall or F1 is undefined counts as 0. With
a positive class an undefined measure has a reason instead of a value. The micro average of precision, recall and F1 is
accuracy.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.profiles import Classification
from driftline.statistics.binomial import exact
from driftline.statistics.intervals import Interval, fisher_delta, logit_delta, mean_of, wilson
from driftline.statistics.measure import Measure
from driftline.statistics.request import NO_LABELS, MeasureRequest

_Floats = npt.NDArray[np.float64]

_PART_OF_ERROR = 0.8


def accuracy(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the share of rows whose prediction equals their label, in [0, 1]; Clopper-Pearson interval."""
    n = performance.count
    if not n:
        return ask.no(NO_LABELS)
    correct = sum(count for (label, prediction), count in performance.confusion.items() if label == prediction)
    return ask.yes(correct / n, exact(correct, n, ask.confidence), n)


def precision(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the share of the rows predicted as the positive class that belong to it, or the macro average."""
    if ask.positive is None:
        table = _table(performance)
        return _mean_share(table.hits, table.predicted, ask, performance.count)
    hits, predicted, _ = _binary_counts(performance, ask.positive)
    return _share(hits, predicted, ask, performance.count, f"no row is predicted {ask.positive!r}")


def recall(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the share of the rows of the positive class that are predicted as it, or the macro average."""
    if ask.positive is None:
        table = _table(performance)
        return _mean_share(table.hits, table.labelled, ask, performance.count)
    hits, _, labelled = _binary_counts(performance, ask.positive)
    return _share(hits, labelled, ask, performance.count, f"no row is labelled {ask.positive!r}")


def f1(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the harmonic mean of precision and recall; ``n`` counts the rows labelled or predicted as the class.

    F1 = 2 J / (1 + J) with J = TP / (TP + FP + FN), which is a plain proportion: the interval is Clopper & Pearson's of
    J, transformed. For the macro average see `_macro_f1`.
    """
    if ask.positive is None:
        return _macro_f1(performance, ask)
    hits, predicted, labelled = _binary_counts(performance, ask.positive)
    n = predicted + labelled - hits
    jaccard = _share(hits, n, ask, performance.count, f"no row is labelled or predicted {ask.positive!r}")
    if jaccard.value is None or jaccard.low is None or jaccard.high is None:
        return jaccard
    bounds = Interval(2 * jaccard.low / (1 + jaccard.low), 2 * jaccard.high / (1 + jaccard.high))
    return ask.yes(2 * hits / (predicted + labelled), bounds, n)


def _binary_counts(performance: Classification, positive: str) -> tuple[int, int, int]:
    """The number of rows that are (both labelled and predicted, predicted, labelled) positive."""
    pairs = performance.confusion
    hits = pairs.get((positive, positive), 0)
    predicted = sum(count for (_, prediction), count in pairs.items() if prediction == positive)
    labelled = sum(count for (label, _), count in pairs.items() if label == positive)
    return hits, predicted, labelled


def _share(hits: int, n: int, ask: MeasureRequest, labelled: int, undefined: str) -> Measure:
    if not n:
        return ask.no(undefined if labelled else NO_LABELS)
    return ask.yes(hits / n, exact(hits, n, ask.confidence), n)


def _mean_share(hits: _Floats, sizes: _Floats, ask: MeasureRequest, n: int) -> Measure:
    """The mean over the classes of hits / sizes; no row counts for two of them.

    Its interval combines the exact ones of the classes (`mean_of`). The delta method is too sure of a class with few
    rows that are all right or all wrong: its intervals contained the truth in only 20 to 60 of 100 such samples. A
    class without rows adds 0, and its true share may be anything from 0 to 1.
    """
    if not n:
        return ask.no(NO_LABELS)
    shares = hits / np.maximum(sizes, 1.0)
    bounds = [
        exact(hit, size, _together(ask.confidence)) if size else Interval(0.0, 1.0)
        for hit, size in zip(hits.tolist(), sizes.tolist(), strict=True)
    ]
    return ask.yes(float(shares.mean()), mean_of(shares.tolist(), bounds), n)


def _together(confidence: float) -> float:
    """The confidence of each share where several are combined, a bit higher than that of the whole: near 0 and 1 the
    errors of exact intervals do not add up as squares do.
    """
    return 1 - _PART_OF_ERROR * (1 - confidence)


def _macro_f1(performance: Classification, ask: MeasureRequest) -> Measure:
    """The mean F1 of the classes, with the wider of two intervals.

    One is the delta method on the multinomial, on the logit scale: with cell shares p and gradient g the variance is
    Σ p g² / n, because Σ p g = 0 for a ratio. The other combines the exact interval of each class (`mean_of`), which
    rare classes need.
    """
    n = performance.count
    if not n:
        return ask.no(NO_LABELS)
    table = _table(performance)
    either = table.labelled + table.predicted - table.hits
    jaccards = [
        exact(hit, size, ask.confidence) for hit, size in zip(table.hits.tolist(), either.tolist(), strict=True)
    ]
    size = (table.labelled + table.predicted) / 2
    each = table.hits / size
    value = float(each.mean())
    bounds = mean_of(each.tolist(), [Interval(*(2 * j / (1 + j) for j in jaccard)) for jaccard in jaccards])
    slope = table.hits / size**2
    gradient = -(slope[table.rows] + slope[table.columns]) / 2 + (table.rows == table.columns) / size[table.rows]
    error = math.sqrt(float((table.counts * gradient**2).sum())) / len(size)
    if error > 0 and 0 < value < 1:
        delta = logit_delta(value, error, ask.confidence)
        bounds = Interval(min(bounds.low, delta.low), max(bounds.high, delta.high))
    return ask.yes(value, bounds, n)


def specificity(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the share of the rows of all other classes that are not predicted as the positive class; Clopper-Pearson.

    Without a positive class it is undefined: use recall.
    """
    if ask.positive is None:
        return ask.no("only a binary model has it; recall is the one of each class", performance.count)
    hits, predicted, labelled = _binary_counts(performance, ask.positive)
    others = performance.count - labelled
    return _share(
        others - (predicted - hits), others, ask, performance.count, f"every row is labelled {ask.positive!r}"
    )


def balanced_accuracy(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return the mean recall of the classes that occur as labels, in [0, 1]; see `_mean_share`.

    For a binary model both classes must occur: the recall of one class alone is another measure, and switching to it
    would look like a change of the model.
    """
    table = _table(performance)
    there = table.labelled > 0
    if ask.positive is not None and 0 < int(there.sum()) < 2:
        other = "other than " if _binary_counts(performance, ask.positive)[2] else ""
        return ask.no(f"no row is labelled {other}{ask.positive!r}", performance.count)
    return _mean_share(table.hits[there], table.labelled[there], ask, performance.count)


def mcc(performance: Classification, ask: MeasureRequest) -> Measure:
    """Return Matthews' correlation of label and prediction, in [-1, 1], for any number of classes (Gorodkin 2004).

    The interval is the delta method's on the multinomial of the confusion counts, on Fisher's scale; with two classes,
    the wider of it and `_mcc_of_shares`. At -1 and 1, where the delta method's has no width, it is Wilson's of the
    share of right rows, stretched to [-1, 1].
    """
    n = performance.count
    if not n:
        return ask.no(NO_LABELS)
    table = _table(performance)
    labelled, predicted, counts = table.labelled, table.predicted, table.counts
    hits, total = float(table.hits.sum()), float(n)
    of_predictions, of_labels = total**2 - float(predicted @ predicted), total**2 - float(labelled @ labelled)
    if of_predictions <= 0 or of_labels <= 0:
        side = "labelled" if of_labels <= 0 else "predicted"
        return ask.no(f"every row is {side} as one class", n)
    root = math.sqrt(of_predictions * of_labels)
    covariance = hits * total - float(labelled @ predicted)
    value = min(max(covariance / root, -1.0), 1.0)
    slope = total * (table.rows == table.columns) + hits - predicted[table.rows] - labelled[table.columns]
    shrink = (total - predicted[table.columns]) / of_predictions + (total - labelled[table.rows]) / of_labels
    gradient = slope / root - value * shrink
    variance = float((counts * gradient**2).sum()) - float((counts * gradient).sum()) ** 2 / total
    bounds = _mcc_at_the_ends(n, value, ask.confidence)
    if abs(value) < 1 and variance > 0:
        bounds = fisher_delta(value, math.sqrt(variance), ask.confidence)
    if len(labelled) == 2:
        rare = _mcc_of_shares(table, ask.confidence)
        bounds = Interval(min(bounds.low, rare.low), max(bounds.high, rare.high))
    return ask.yes(value, bounds, n)


def _mcc_at_the_ends(n: int, value: float, confidence: float) -> Interval:
    share = wilson(n * (1 + value) / 2, n, confidence)
    return Interval(2 * share.low - 1, 2 * share.high - 1)


def _mcc_of_shares(table: _Table, confidence: float) -> Interval:
    """The interval of a binary MCC from the intervals of the three shares that determine it.

    They are the recalls of both classes and the share of the first class. Each is moved to the ends of its exact
    interval while the others stay, and the squared changes are added up (Zou & Donner 2008). The delta method is too
    sure where a class has few rows.
    """
    sizes, hits = table.labelled.tolist(), table.hits.tolist()
    trials = ((hits[0], sizes[0]), (hits[1], sizes[1]), (sizes[0], sizes[0] + sizes[1]))
    shares = [hit / size for hit, size in trials]
    value = _mcc_from(*shares)
    below = above = 0.0
    for at, (hit, size) in enumerate(trials):
        ends = [
            _mcc_from(*(end if place == at else share for place, share in enumerate(shares)))
            for end in exact(hit, size, _together(confidence))
        ]
        below += min(0.0, *(end - value for end in ends)) ** 2
        above += max(0.0, *(end - value for end in ends)) ** 2
    return Interval(max(value - math.sqrt(below), -1.0), min(value + math.sqrt(above), 1.0))


def _mcc_from(recall: float, other: float, share: float) -> float:
    """MCC from the recalls of two classes and the share of the first one; 0 where all predictions are one class."""
    predicted = share * recall + (1 - share) * (1 - other)
    if not (0 < predicted < 1 and 0 < share < 1):
        return 0.0
    return (recall + other - 1) * math.sqrt(share * (1 - share) / (predicted * (1 - predicted)))


class _Table(NamedTuple):
    """The confusion counts above 0 with their places, shape (pairs,), and the rows of each class, shape (classes,)."""

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    counts: _Floats
    hits: _Floats
    labelled: _Floats
    predicted: _Floats


def _table(performance: Classification) -> _Table:
    """The confusion counts as a sparse table: a row for each label, a column for each prediction, sorted by name."""
    there = {pair: count for pair, count in performance.confusion.items() if count}
    classes = sorted({name for pair in there for name in pair})
    place = {name: at for at, name in enumerate(classes)}
    rows = np.array([place[label] for label, _ in there], np.int64)
    columns = np.array([place[prediction] for _, prediction in there], np.int64)
    counts = np.array(list(there.values()), np.float64)
    hits, labelled, predicted = (
        np.bincount(side, weights, len(classes)).astype(np.float64)
        for side, weights in ((rows, counts * (rows == columns)), (rows, counts), (columns, counts))
    )
    return _Table(rows, columns, counts, hits, labelled, predicted)
