"""How well a model did on labelled rows: each measure with its interval and count, or with the reason why not.

Formulas: chapter 1 of the statistics notes. Each measure is a function and a row in one of the tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from driftline.profiles import Classification, Performance, Regression
from driftline.statistics import classification, regression, scores
from driftline.statistics.between import BetweenBlocks
from driftline.statistics.intervals import wilson
from driftline.statistics.measure import Measure
from driftline.statistics.question import Question

CLASSIFICATION: Mapping[str, Callable[[Classification, Question], Measure]] = {
    "accuracy": classification.accuracy,
    "precision": classification.precision,
    "recall": classification.recall,
    "f1": classification.f1,
    "roc_auc": scores.roc_auc,
    "log_loss": scores.log_loss,
    "balanced_accuracy": classification.balanced_accuracy,
    "mcc": classification.mcc,
    "brier": scores.brier,
    "specificity": classification.specificity,
    "average_precision": scores.average_precision,
    "calibration_error": scores.calibration_error,
    "gain_10": scores.gain_10,
    "lift_10": scores.lift_10,
}
REGRESSION: Mapping[str, Callable[[Regression, Question], Measure]] = {
    "mae": regression.mae,
    "rmse": regression.rmse,
    "r2": regression.r2,
    "bias": regression.bias,
    "mape": regression.mape,
    "median_absolute_error": regression.median_absolute_error,
    "absolute_error_p90": regression.absolute_error_p90,
    "error_p10": regression.error_p10,
    "error_p50": regression.error_p50,
    "error_p90": regression.error_p90,
}
OF_ONE_CLASS = ("specificity", "average_precision", "calibration_error", "gain_10", "lift_10")
"""Measures that speak of one class against the others: a multiclass model has them for each class only."""
HEADLINES = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "mae", "rmse", "r2")
"""The measures that every page shows; others are shown where somebody asks for them."""
CLASS_MEASURES = ("precision", "recall", "f1", "roc_auc", "average_precision")

HIGHER_IS_BETTER: Mapping[str, bool | None] = {
    **dict.fromkeys(CLASSIFICATION, True),
    **dict.fromkeys(("log_loss", "brier", "calibration_error"), False),
    **dict.fromkeys(REGRESSION, False),
    "r2": True,
    **dict.fromkeys(("bias", "error_p10", "error_p50", "error_p90"), None),
}
"""None where the best value lies in between."""

_LEAST_POINTS, _LEAST_SHARE, _LEAST_BIAS = 0.02, 0.05, 0.25
_OF_NO_END = ("log_loss", "brier", "lift_10", *(name for name in REGRESSION if name != "r2"))


def least_change(name: str, reference: float, mae: float | None = None) -> float:
    """The least change of a measure that is no trifle: 2 points of a share, a correlation or R²; of other measures 5 %
    of the reference's value; of the bias a quarter of the reference's ``mae``, which makes that about 3 % larger.

    >>> least_change("accuracy", 0.9), least_change("mae", 60.0), least_change("bias", 0.1, mae=60.0)
    (0.02, 3.0, 15.0)
    """
    if name == "bias" and mae is not None:
        return _LEAST_BIAS * mae
    return _LEAST_SHARE * abs(reference) if name in _OF_NO_END else _LEAST_POINTS


def size_of(value: float, low: float, high: float) -> tuple[float, float, float]:
    """How far a measure and its interval are from 0: of a bias the size is judged, whichever way it points.

    >>> size_of(-9.98, -10.1, -9.9), size_of(0.1, -0.2, 0.4)
    ((9.98, 9.9, 10.1), (0.1, 0.0, 0.4))
    """
    nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return abs(value), nearest, max(abs(low), abs(high))


def measures(
    performance: Performance | None,
    *,
    confidence: float = 0.95,
    positive: str | None = None,
    names: Iterable[str] | None = None,
) -> dict[str, Measure]:
    """Measures of a performance, by name, with two-sided intervals; empty where nothing is labelled.

    Where rows have times or clusters, intervals are no narrower than these let them be (`statistics.between`).
    ``positive`` makes the measures of a classifier those of that class; without it they are macro averages, and the
    measures `OF_ONE_CLASS` are left out. ``names`` are the measures that are asked for, all without it. A measure that
    cannot be had is there all the same, with a ``problem`` in words and no value.

    >>> measures(Classification({("0", "0"): 5, ("1", "0"): 1, ("1", "1"): 4}))["accuracy"].value
    0.9
    """
    if performance is None:
        return {}
    table = CLASSIFICATION if isinstance(performance, Classification) else REGRESSION
    asked = [
        name
        for name in table
        if (names is None or name in names) and (positive is not None or name not in OF_ONE_CLASS)
    ]
    between = BetweenBlocks(performance, positive)
    if isinstance(performance, Classification):
        found = {name: CLASSIFICATION[name](performance, Question(name, confidence, positive)) for name in asked}
    else:
        found = {name: REGRESSION[name](performance, Question(name, confidence, None)) for name in asked}
    return {name: between.widened(measure) for name, measure in found.items()}


def measures_by_class(performance: Performance | None, *, confidence: float = 0.95) -> dict[str, dict[str, Measure]]:
    """The `CLASS_MEASURES` of each class against all others, by class and name; empty but for classifiers.

    The ``n`` of a class's recall is its support: how many rows are labelled as it.

    >>> found = measures_by_class(Classification({("fog", "fog"): 3, ("rain", "fog"): 1, ("rain", "rain"): 4}))
    >>> found["fog"]["precision"].value, found["rain"]["recall"].value
    (0.75, 0.8)
    """
    if not isinstance(performance, Classification):
        return {}
    return {
        name: measures(alone, confidence=confidence, positive=name, names=CLASS_MEASURES)
        for name, alone in _each_against_the_rest(performance).items()
    }


def _each_against_the_rest(performance: Classification) -> dict[str, Classification]:
    """A binary performance for each class that occurs, by name: one pass over the pairs, however many classes."""
    hits, labelled, predicted = Counter[str](), Counter[str](), Counter[str]()
    for (label, prediction), count in performance.confusion.items():
        labelled[label] += count
        predicted[prediction] += count
        if label == prediction:
            hits[label] += count
    total, found = performance.count, {}
    for name in sorted(labelled.keys() | predicted.keys()):
        rest = f"not {name}"
        missed, wrong = labelled[name] - hits[name], predicted[name] - hits[name]
        others = total - hits[name] - missed - wrong
        counts = {(name, name): hits[name], (name, rest): missed, (rest, name): wrong, (rest, rest): others}
        own = scores.scores_of(performance, name)
        found[name] = Classification(
            {pair: count for pair, count in counts.items() if count},
            {} if own is None else {name: own},
            blocks=performance.blocks,
        )
    return found


def label_coverage(labelled: int, predictions: int, *, confidence: float = 0.95) -> Measure:
    """Share of the predictions that have a label; Wilson."""
    ask = Question("label_coverage", confidence, None)
    if predictions <= 0:
        return ask.no("no predictions")
    labelled = min(max(labelled, 0), predictions)
    return ask.yes(labelled / predictions, wilson(labelled, predictions, confidence), predictions)
