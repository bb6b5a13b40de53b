"""The topic of a rule: can the data be trusted, how good and how fast is the model, has anything drifted.

`driftline.statistics.catalogue` lists every measure of Driftline; one that is not there is user-defined.
"""

from __future__ import annotations

from driftline.statistics.catalogue import CATALOGUE, CHANCE, LATENCY, STALENESS, Topic

__all__ = [
    "CHANCE",
    "LATENCY",
    "OF_FEATURES",
    "STALENESS",
    "Topic",
    "feature_measure",
    "is_of_window",
    "needs_comparison",
    "needs_labels",
    "rests_on_labels",
    "topic_of",
]

_COMPARED = ("drifted_features_ratio", "missing_ratio", "prediction_drift", "label_drift")
OF_FEATURES = {"drift": Topic.DRIFT, "missing": Topic.PIPELINE}
"""Measures of single features; in a rule the feature's name follows: ``drift.age``."""


def feature_measure(measure: str) -> tuple[str, str] | None:
    """Split a measure of one feature into its kind (see `OF_FEATURES`) and the feature; None for other measures.

    >>> feature_measure("drift.age"), feature_measure("missing.sepal.length"), feature_measure("mae")
    (('drift', 'age'), ('missing', 'sepal.length'), None)
    """
    kind, _, feature = measure.partition(".")
    return (kind, feature) if kind in OF_FEATURES and feature.strip() else None


def topic_of(measure: str) -> Topic:
    """Return the topic of a rule on a measure.

    >>> topic_of("label_coverage").value, topic_of("accuracy").value, topic_of("prediction_drift").value
    ('pipeline', 'performance', 'drift')
    >>> topic_of("missing.age").value, topic_of("drift.age").value, topic_of("latency_p95").value
    ('pipeline', 'drift', 'operation')
    """
    if (of := feature_measure(measure)) is not None:
        return OF_FEATURES[of[0]]
    return CATALOGUE[measure].topic if measure in CATALOGUE else Topic.PERFORMANCE


def rests_on_labels(measure: str) -> bool:
    """Return whether a measure is computed from labelled rows, so that a window needs enough of them (`min_coverage`).

    >>> rests_on_labels("accuracy"), rests_on_labels("label_drift"), rests_on_labels("label_coverage")
    (True, True, False)
    >>> rests_on_labels("drift.age"), rests_on_labels("cost")  # of a feature, and user-defined
    (False, True)
    """
    if feature_measure(measure) is not None:
        return False
    return measure not in CATALOGUE or CATALOGUE[measure].rests_on_labels


def of_segments(measure: str) -> bool:
    """Return whether a measure is known for the segments of a window, and not only for all its rows together.

    >>> of_segments("accuracy"), of_segments("label_coverage"), of_segments("prediction_drift")
    (True, True, False)
    """
    return topic_of(measure) is Topic.PERFORMANCE or measure == "label_coverage"


def needs_labels(measure: str) -> bool:
    """Return whether a rule on a measure has to wait until a window's labels are there, or overdue.

    >>> needs_labels("accuracy"), needs_labels("label_coverage"), needs_labels("prediction_drift")
    (True, True, False)
    """
    if feature_measure(measure) is not None:
        return False
    return measure not in CATALOGUE or CATALOGUE[measure].needs_labels


def needs_comparison(measure: str) -> bool:
    """Return whether a rule on a measure needs the columns of a window to be compared with the reference.

    >>> needs_comparison("drift.age"), needs_comparison("missing_ratio"), needs_comparison("accuracy")
    (True, True, False)
    """
    return feature_measure(measure) is not None or measure in _COMPARED


def is_of_window(measure: str) -> bool:
    """Return whether a measure is one that windows of every model have, unlike the measures of performance.

    >>> is_of_window("missing_ratio"), is_of_window("accuracy")
    (True, False)
    """
    return measure in CATALOGUE and CATALOGUE[measure].function is None
