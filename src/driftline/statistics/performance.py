"""Compute how well a model did on labelled rows: each measure with its interval and count, or the reason for none.

`driftline.statistics.catalogue` lists every measure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from driftline.events import Task
from driftline.profiles import Classification, Performance, Regression
from driftline.profiles.naive import NO_REFERENCE, Naive
from driftline.statistics import scores
from driftline.statistics.between import BetweenBlocks
from driftline.statistics.catalogue import CATALOGUE, performance_measures
from driftline.statistics.intervals import wilson
from driftline.statistics.measure import Measure
from driftline.statistics.request import MeasureRequest


def size_of(value: float, low: float, high: float) -> tuple[float, float, float]:
    """Return how far a measure and the ends of its interval are from 0: a bias is judged by its size alone.

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
    naive: Naive = NO_REFERENCE,
) -> dict[str, Measure]:
    """Return the measures of a performance, by name, with two-sided intervals; empty without labelled rows.

    Where rows have times or clusters, intervals allow for rows that depend on each other (`statistics.between`). With
    ``positive``, the measures of a classifier are those of that class; without it they are macro averages, and measures
    of one class are left out. ``names`` are the measures to compute; without it, all. ``naive`` is the error of a naive
    forecast on the reference. A measure that cannot be computed is returned with a ``problem`` in words and no value.

    >>> measures(Classification({("0", "0"): 5, ("1", "0"): 1, ("1", "1"): 4}))["accuracy"].value
    0.9
    """
    if performance is None:
        return {}
    wanted = None if names is None else set(names)
    asked = [
        spec
        for spec in (CATALOGUE[name] for name in performance_measures(_task_of(performance)))
        if (wanted is None or spec.name in wanted) and (positive is not None or not spec.one_class)
    ]
    between = BetweenBlocks(performance, positive)
    found = {}
    for spec in asked:
        assert spec.function is not None
        measure = spec.function(performance, MeasureRequest(spec.name, confidence, positive, naive))
        found[spec.name] = between.widened(measure, spec.of_blocks, spec.range)
    return found


def _task_of(performance: Performance) -> Task:
    """The task whose measures apply; binary and multiclass models have the same ones."""
    return Task.REGRESSION if isinstance(performance, Regression) else Task.MULTICLASS


def measures_by_class(performance: Performance | None, *, confidence: float = 0.95) -> dict[str, dict[str, Measure]]:
    """Return the ``by_class`` measures of each class against all others, by class and name.

    The ``n`` of a class's recall is its support: how many rows are labelled as it. Empty for regressions, and without
    labelled rows.

    >>> found = measures_by_class(Classification({("fog", "fog"): 3, ("rain", "fog"): 1, ("rain", "rain"): 4}))
    >>> found["fog"]["precision"].value, found["rain"]["recall"].value
    (0.75, 0.8)
    """
    by_class = class_measures()
    return {
        name: measures(alone, confidence=confidence, positive=name, names=by_class)
        for name, alone in each_against_the_rest(performance).items()
    }


def class_measures() -> tuple[str, ...]:
    """Return the measures that each class of a classifier has."""
    return tuple(name for name, spec in CATALOGUE.items() if spec.by_class)


def each_against_the_rest(performance: Performance | None) -> dict[str, Classification]:
    """Return a binary performance for each class that occurs, by name; empty for regressions, and without rows.

    It is one pass over the pairs, however many classes there are.
    """
    if not isinstance(performance, Classification):
        return {}
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
    """Return the share of the predictions that have a label, in [0, 1], with Wilson's interval."""
    ask = MeasureRequest("label_coverage", confidence, None)
    if predictions <= 0:
        return ask.no("no predictions")
    labelled = min(max(labelled, 0), predictions)
    return ask.yes(labelled / predictions, wilson(labelled, predictions, confidence), predictions)
