"""Measures of a classifier from its confusion counts.

Binary with a ``positive`` class, and otherwise the macro average over the classes, as scikit-learn has it: over every
class that occurs as a label or a prediction, where a class whose precision, recall or F1 is undefined adds 0. For a
binary model an undefined measure has no value but a reason. The micro average of precision, recall and F1 is accuracy.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from driftline.profiles import Classification
from driftline.statistics.intervals import Interval, fisher_delta, logit_delta, wilson
from driftline.statistics.measure import Measure
from driftline.statistics.question import NO_LABELS, Question

_Floats = npt.NDArray[np.float64]


def accuracy(performance: Classification, ask: Question) -> Measure:
    """Share of rows whose prediction is their label; Wilson."""
    n = performance.count
    if not n:
        return ask.no(NO_LABELS)
    correct = sum(count for (label, prediction), count in performance.confusion.items() if label == prediction)
    return ask.yes(correct / n, wilson(correct, n, ask.confidence), n)


def precision(performance: Classification, ask: Question) -> Measure:
    """Share of the rows predicted as a class that are of it; Wilson, or the macro average."""
    if ask.positive is None:
        return _macro(performance, ask, 0.0, 1.0)
    hits, predicted, _ = _binary_counts(performance, ask.positive)
    return _share(hits, predicted, ask, performance.count, f"no row is predicted {ask.positive!r}")


def recall(performance: Classification, ask: Question) -> Measure:
    """Share of the rows of a class that are predicted as it; Wilson, or the macro average."""
    if ask.positive is None:
        return _macro(performance, ask, 1.0, 0.0)
    hits, _, labelled = _binary_counts(performance, ask.positive)
    return _share(hits, labelled, ask, performance.count, f"no row is labelled {ask.positive!r}")


def f1(performance: Classification, ask: Question) -> Measure:
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


def _share(hits: int, n: int, ask: Question, labelled: int, undefined: str) -> Measure:
    if not n:
        return ask.no(undefined if labelled else NO_LABELS)
    return ask.yes(hits / n, wilson(hits, n, ask.confidence), n)


def _macro(performance: Classification, ask: Question, label_weight: float, prediction_weight: float) -> Measure:
    """Mean over classes of hits / (label_weight · labelled + prediction_weight · predicted).

    Weights (1, 0) give recall, (0, 1) precision, (½, ½) F1. The delta method on the multinomial: with cell
    shares p and gradient g the variance is Σ p g² / n, because Σ p g = 0 for a ratio. At 0 and 1, where that
    is 0, Wilson's interval with as many trials as give the mean of the classes' shares the same variance.
    """
    n = performance.count
    if not n:
        return ask.no(NO_LABELS)
    counts = _matrix(performance)
    hits = np.diag(counts)
    sizes = label_weight * counts.sum(axis=1) + prediction_weight * counts.sum(axis=0)
    known = sizes > 0
    size = np.where(known, sizes, 1.0)
    value = float(np.mean(hits / size))
    slope = np.where(known, hits / size**2, 0.0)
    gradient = -label_weight * slope[:, None] - prediction_weight * slope[None, :]
    gradient[np.diag_indices_from(gradient)] += np.where(known, 1 / size, 0.0)
    error = math.sqrt(float((counts * gradient**2).sum())) / len(counts)
    if error > 0 and 0 < value < 1:
        return ask.yes(value, logit_delta(value, error, ask.confidence), n)
    trials = int(known.sum()) ** 2 / float((1 / size[known]).sum())
    return ask.yes(value, wilson(value * trials, trials, ask.confidence), n)


def specificity(performance: Classification, ask: Question) -> Measure:
    """Share of the rows of other classes than the positive one that are not predicted as it; Wilson.

    Without a positive class there is none: use recall.
    """
    if ask.positive is None:
        return ask.no("only a binary model has it; recall is the one of each class", performance.count)
    hits, predicted, labelled = _binary_counts(performance, ask.positive)
    others = performance.count - labelled
    return _share(
        others - (predicted - hits), others, ask, performance.count, f"every row is labelled {ask.positive!r}"
    )


def balanced_accuracy(performance: Classification, ask: Question) -> Measure:
    """Mean recall of the classes that occur as labels, in [0, 1]; delta method on the logit scale.

    At 0 and 1 Wilson's interval with as many trials as give the mean of the recalls the same variance.
    """
    n = performance.count
    if not n:
        return ask.no(NO_LABELS)
    counts = _matrix(performance)
    sizes = counts.sum(axis=1)
    recalls = np.diag(counts)[sizes > 0] / sizes[sizes > 0]
    sizes = sizes[sizes > 0]
    value = float(recalls.mean())
    error = math.sqrt(float((recalls * (1 - recalls) / sizes).sum())) / len(sizes)
    if error > 0 and 0 < value < 1:
        return ask.yes(value, logit_delta(value, error, ask.confidence), n)
    trials = len(sizes) ** 2 / float((1 / sizes).sum())
    return ask.yes(value, wilson(value * trials, trials, ask.confidence), n)


def mcc(performance: Classification, ask: Question) -> Measure:
    """Matthews' correlation of label and prediction, in [-1, 1], of any number of classes (Gorodkin 2004).

    Delta method on the multinomial of the confusion counts, on Fisher's scale. At -1 and 1, where that has no width,
    the interval of a share of rows that are as they should be, from -1 to 1.
    """
    n = performance.count
    if not n:
        return ask.no(NO_LABELS)
    counts = _matrix(performance)
    labelled, predicted = counts.sum(axis=1), counts.sum(axis=0)
    hits, total = float(np.trace(counts)), float(n)
    of_predictions, of_labels = total**2 - float(predicted @ predicted), total**2 - float(labelled @ labelled)
    if of_predictions <= 0 or of_labels <= 0:
        side = "labelled" if of_labels <= 0 else "predicted"
        return ask.no(f"every row is {side} as one class", n)
    root = math.sqrt(of_predictions * of_labels)
    covariance = hits * total - float(labelled @ predicted)
    value = min(max(covariance / root, -1.0), 1.0)
    slope = total * np.eye(len(counts)) + hits - predicted[:, None] - labelled[None, :]
    shrink = (total - predicted[None, :]) / of_predictions + (total - labelled[:, None]) / of_labels
    gradient = slope / root - value * shrink
    variance = float((counts * gradient**2).sum()) - float((counts * gradient).sum()) ** 2 / total
    if abs(value) < 1 and variance > 0:
        return ask.yes(value, fisher_delta(value, math.sqrt(variance), ask.confidence), n)
    share = wilson(n * (1 + value) / 2, n, ask.confidence)
    return ask.yes(value, Interval(2 * share.low - 1, 2 * share.high - 1), n)


def _matrix(performance: Classification) -> _Floats:
    """The confusion counts, shape (classes, classes): labels down, predictions across, classes by name."""
    classes = sorted({name for pair in performance.confusion for name in pair})
    place = {name: at for at, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    for (label, prediction), count in performance.confusion.items():
        counts[place[label], place[prediction]] = count
    return counts
