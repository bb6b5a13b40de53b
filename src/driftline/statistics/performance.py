"""How well a model did on labelled rows: each measure with its interval and count, or with the reason why not.

Formulas: chapter 1 of the statistics notes. `driftline.statistics.catalogue` has every measure.
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
    """Return how far a measure and its interval are from 0: of a bias the size is judged, whichever way it points.

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
    """Measures of a performance, by name, with two-sided intervals; empty where nothing is labelled.

    Where rows have times or clusters, intervals are no narrower than these let them be (`statistics.between`).
    ``positive`` makes the measures of a classifier those of that class; without it they are macro averages, and the
    measures of one class are left out. ``names`` are the measures that are asked for, all without it. ``naive`` is what
    a naive forecast errs by on the reference. A measure that cannot be had is there all the same, with a ``problem`` in
    words and no value.

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
    """The task whose measures it has: those of both kinds of classifiers are the same."""
    return Task.REGRESSION if isinstance(performance, Regression) else Task.MULTICLASS


def measures_by_class(performance: Performance | None, *, confidence: float = 0.95) -> dict[str, dict[str, Measure]]:
    """Return the ``by_class`` measures of each class against all others, by class and name; empty but for classifiers.

    The ``n`` of a class's recall is its support: how many rows are labelled as it.

    >>> found = measures_by_class(Classification({("fog", "fog"): 3, ("rain", "fog"): 1, ("rain", "rain"): 4}))
    >>> found["fog"]["precision"].value, found["rain"]["recall"].value
    (0.75, 0.8)
    """
    if not isinstance(performance, Classification):
        return {}
    by_class = [name for name, spec in CATALOGUE.items() if spec.by_class]
    return {
        name: measures(alone, confidence=confidence, positive=name, names=by_class)
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
    """Return the share of the predictions that have a label; Wilson."""
    ask = MeasureRequest("label_coverage", confidence, None)
    if predictions <= 0:
        return ask.no("no predictions")
    labelled = min(max(labelled, 0), predictions)
    return ask.yes(labelled / predictions, wilson(labelled, predictions, confidence), predictions)
