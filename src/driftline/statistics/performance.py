"""How well a model did on labelled rows: each measure with its interval and count, or with the reason why
not.

Formulas: chapter 1 of the statistics notes. Classification is binary with a ``positive`` class, and otherwise
the macro average over the classes, as scikit-learn has it: over every class that occurs as a label or a
prediction, where a class whose precision, recall or F1 is undefined adds 0. For a binary model an undefined
measure has no value but a reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.profiles import Classification, Performance, Regression, ScorePair
from driftline.statistics.intervals import Interval, log_delta, logit_delta, student, wilson
from driftline.statistics.measure import Measure

NO_LABELS = "no labelled rows"
NO_SCORES = "no scores on labelled rows"
ONE_ROW = "one labelled row has no interval; two are needed"

_Floats = npt.NDArray[np.float64]


class _Question(NamedTuple):
    name: str
    confidence: float
    positive: str | None

    def no(self, problem: str, n: int = 0) -> Measure:
        return Measure(self.name, n=n, confidence=self.confidence, problem=problem)

    def yes(self, value: float, interval: Interval, n: int) -> Measure:
        low, high = min(interval.low, value), max(interval.high, value)
        if not (math.isfinite(low) and math.isfinite(high)):
            return self.no("the numbers are too large to be measured", n)
        return Measure(self.name, value, low, high, n, self.confidence)


# ---- classification ----------------------------------------------------------------------------------------


def accuracy(performance: Classification, ask: _Question) -> Measure:
    """Share of rows whose prediction is their label; Wilson."""
    n = performance.count
    if not n:
        return ask.no(NO_LABELS)
    correct = sum(count for (label, prediction), count in performance.confusion.items() if label == prediction)
    return ask.yes(correct / n, wilson(correct, n, ask.confidence), n)


def precision(performance: Classification, ask: _Question) -> Measure:
    """Share of the rows predicted as a class that are of it; Wilson, or the macro average."""
    if ask.positive is None:
        return _macro(performance, ask, 0.0, 1.0)
    hits, predicted, _ = _binary_counts(performance, ask.positive)
    return _share(hits, predicted, ask, performance.count, f"no row is predicted {ask.positive!r}")


def recall(performance: Classification, ask: _Question) -> Measure:
    """Share of the rows of a class that are predicted as it; Wilson, or the macro average."""
    if ask.positive is None:
        return _macro(performance, ask, 1.0, 0.0)
    hits, _, labelled = _binary_counts(performance, ask.positive)
    return _share(hits, labelled, ask, performance.count, f"no row is labelled {ask.positive!r}")


def f1(performance: Classification, ask: _Question) -> Measure:
    """Harmonic mean of precision and recall; ``n`` are the rows labelled or predicted as the class.

    With J = TP / (TP + FP + FN), which is a plain proportion, F1 = 2 J / (1 + J): Wilson's interval of J,
    transformed, is the delta method on the multinomial made right at both ends. The macro average uses the
    delta method itself.
    """
    if ask.positive is None:
        return _macro(performance, ask, 0.5, 0.5)
    hits, predicted, labelled = _binary_counts(performance, ask.positive)
    n = predicted + labelled - hits
    jaccard = _share(hits, n, ask, performance.count, f"no row is labelled or predicted {ask.positive!r}")
    if jaccard.value is None or jaccard.low is None or jaccard.high is None:
        return jaccard
    bounds = Interval(2 * jaccard.low / (1 + jaccard.low), 2 * jaccard.high / (1 + jaccard.high))
    return ask.yes(2 * hits / (predicted + labelled), bounds, n)


def _binary_counts(performance: Classification, positive: str) -> tuple[int, int, int]:
    """Rows that are (labelled and predicted, predicted, labelled) positive."""
    pairs = performance.confusion
    hits = pairs.get((positive, positive), 0)
    predicted = sum(count for (_, prediction), count in pairs.items() if prediction == positive)
    labelled = sum(count for (label, _), count in pairs.items() if label == positive)
    return hits, predicted, labelled


def _share(hits: int, n: int, ask: _Question, labelled: int, undefined: str) -> Measure:
    if not n:
        return ask.no(undefined if labelled else NO_LABELS)
    return ask.yes(hits / n, wilson(hits, n, ask.confidence), n)


def _macro(performance: Classification, ask: _Question, label_weight: float, prediction_weight: float) -> Measure:
    """Mean over classes of hits / (label_weight · labelled + prediction_weight · predicted).

    Weights (1, 0) give recall, (0, 1) precision, (½, ½) F1. The delta method on the multinomial: with cell
    shares p and gradient g the variance is Σ p g² / n, because Σ p g = 0 for a ratio. At 0 and 1, where that
    is 0, Wilson's interval with as many trials as give the mean of the classes' shares the same variance.
    """
    n = performance.count
    if not n:
        return ask.no(NO_LABELS)
    classes = sorted({name for pair in performance.confusion for name in pair})
    place = {name: at for at, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    for (label, prediction), count in performance.confusion.items():
        counts[place[label], place[prediction]] = count
    hits = np.diag(counts)
    sizes = label_weight * counts.sum(axis=1) + prediction_weight * counts.sum(axis=0)
    known = sizes > 0
    size = np.where(known, sizes, 1.0)
    value = float(np.mean(hits / size))
    slope = np.where(known, hits / size**2, 0.0)
    gradient = -label_weight * slope[:, None] - prediction_weight * slope[None, :]
    gradient[np.diag_indices_from(gradient)] += np.where(known, 1 / size, 0.0)
    error = math.sqrt(float((counts * gradient**2).sum())) / len(classes)
    if error > 0 and 0 < value < 1:
        return ask.yes(value, logit_delta(value, error, ask.confidence), n)
    trials = int(known.sum()) ** 2 / float((1 / size[known]).sum())
    return ask.yes(value, wilson(value * trials, trials, ask.confidence), n)


def roc_auc(performance: Classification, ask: _Question) -> Measure:
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
    if ask.positive is not None:  # with two classes, the other one's score ranks the rows the other way round
        pairs = {ask.positive: pairs[ask.positive]} if ask.positive in pairs else dict(list(pairs.items())[:1])
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
    cells = np.union1d(pair.positives.cells, pair.negatives.cells)
    positives, negatives = (
        _dense(pair.positives.cells, pair.positives.counts, cells),
        _dense(pair.negatives.cells, pair.negatives.counts, cells),
    )
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


def log_loss(performance: Classification, ask: _Question) -> Measure:
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


# ---- regression --------------------------------------------------------------------------------------------


def mae(performance: Regression, ask: _Question) -> Measure:
    """Mean absolute error, in units of the label; mean ± t·sd/√n."""
    n = performance.count
    if n < 2:
        return ask.no(ONE_ROW if n else NO_LABELS, n)
    mean = performance.absolute.fraction / n
    variance = (performance.errors.squares.fraction - n * mean * mean) / (n - 1)
    sd = math.sqrt(max(float(variance), 0.0))
    return ask.yes(float(mean), student(float(mean), sd, n, ask.confidence, least=0.0), n)


def rmse(performance: Regression, ask: _Question) -> Measure:
    """Root of the mean squared error, in units of the label; delta method from the MSE, on the log scale."""
    n = performance.count
    if n < 2:
        return ask.no(ONE_ROW if n else NO_LABELS, n)
    mse = performance.errors.squares.fraction / n
    value = math.sqrt(float(mse))
    if not value > 0:
        return ask.yes(0.0, Interval(0.0, 0.0), n)
    variance = (performance.errors_fourth.fraction / n - mse * mse) / (n - 1)
    relative = math.sqrt(max(float(variance / (mse * mse)), 0.0)) / 2
    return ask.yes(value, log_delta(value, value * relative, n, ask.confidence), n)


def r2(performance: Regression, ask: _Question) -> Measure:
    """Share of the labels' variance that the predictions explain; 1 at most, below 0 for worse than their
    mean.

    Delta method from the joint moments of e = prediction - label and u = label - mean: 1 - R² = E[e²] / E[u²]
    varies as (e² - (1 - R²) u²) / E[u²]. On the log scale of 1 - R², so that the interval stays below 1.
    """
    n = performance.count
    if n < 2:
        return ask.no(ONE_ROW if n else NO_LABELS, n)
    mean = performance.targets.total.fraction / n
    e2 = performance.errors.squares.fraction / n
    t2, t3 = performance.targets.squares.fraction / n, performance.targets_third.fraction / n
    u2 = t2 - mean**2
    if u2 <= t2 * Fraction(1, 1 << 50):
        return ask.no("all labels are equal: there is no variance to explain", n)
    unexplained = e2 / u2
    if not unexplained:
        return ask.yes(1.0, Interval(1.0, 1.0), n)
    u4 = performance.targets_fourth.fraction / n - 4 * mean * t3 + 6 * mean**2 * t2 - 3 * mean**4
    e2u2 = (
        performance.squares_by_target_square.fraction / n
        - 2 * mean * performance.squares_by_target.fraction / n
        + mean**2 * e2
    )
    e4 = performance.errors_fourth.fraction / n
    relative = (e4 - 2 * unexplained * e2u2 + unexplained**2 * u4) / (e2 * e2 * (n - 1))
    try:
        ratio, error = float(unexplained), math.sqrt(max(float(relative), 0.0))
    except OverflowError:
        return ask.no("the numbers are too large to be measured", n)
    bounds = log_delta(ratio, ratio * error, n, ask.confidence)
    return ask.yes(1 - ratio, Interval(1 - bounds.high, 1 - bounds.low), n)


# ---- the table ---------------------------------------------------------------------------------------------

CLASSIFICATION: Mapping[str, Callable[[Classification, _Question], Measure]] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "roc_auc": roc_auc,
    "log_loss": log_loss,
}
REGRESSION: Mapping[str, Callable[[Regression, _Question], Measure]] = {"mae": mae, "rmse": rmse, "r2": r2}

HIGHER_IS_BETTER = {
    "accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "roc_auc": True,
    "log_loss": False,
    "mae": False,
    "rmse": False,
    "r2": True,
}


def measures(
    performance: Performance | None, *, confidence: float = 0.95, positive: str | None = None
) -> dict[str, Measure]:
    """Every measure of a performance, by name, with its two-sided interval; empty where nothing is labelled.

    ``positive`` makes precision, recall, F1 and ROC AUC those of that class; without it they are macro
    averages. A measure that cannot be had is there all the same, with a ``problem`` in words and no value.

    >>> measures(Classification({("0", "0"): 5, ("1", "0"): 1, ("1", "1"): 4}))["accuracy"].value
    0.9
    """
    if isinstance(performance, Classification):
        return {
            name: function(performance, _Question(name, confidence, positive))
            for name, function in CLASSIFICATION.items()
        }
    if isinstance(performance, Regression):
        return {
            name: function(performance, _Question(name, confidence, positive)) for name, function in REGRESSION.items()
        }
    return {}


def label_coverage(labelled: int, predictions: int, *, confidence: float = 0.95) -> Measure:
    """Share of the predictions that have a label; Wilson."""
    ask = _Question("label_coverage", confidence, None)
    if predictions <= 0:
        return ask.no("no predictions")
    labelled = min(max(labelled, 0), predictions)
    return ask.yes(labelled / predictions, wilson(labelled, predictions, confidence), predictions)
