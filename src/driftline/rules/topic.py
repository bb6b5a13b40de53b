"""What a rule is about: whether what arrives can be trusted, how good the model is, or whether anything has moved."""

from __future__ import annotations

import enum

STALENESS = "hours_since_last_event"
"""The measure of a model that nothing arrives of, wall-clock time."""

_PIPELINE = ("label_coverage", "missing_ratio", STALENESS)
DRIFT_MEASURES = ("drifted_features_ratio", "prediction_drift", "label_drift")
WINDOW_MEASURES = ("label_coverage", "missing_ratio", *DRIFT_MEASURES)
"""Measures of every model's windows, beside those of performance."""

_WITHOUT_LABELS = ("missing_ratio", "drifted_features_ratio", "prediction_drift")


class Topic(enum.StrEnum):
    """What a rule is about. An earlier topic explains a later one: broken data make a model look bad, and drift."""

    PIPELINE = "pipeline"
    PERFORMANCE = "performance"
    DRIFT = "drift"

    @property
    def rank(self) -> int:
        """0 for what explains the others."""
        return list(Topic).index(self)


def topic_of(measure: str) -> Topic:
    """The topic of a rule on a measure.

    >>> topic_of("label_coverage").value, topic_of("accuracy").value, topic_of("prediction_drift").value
    ('pipeline', 'performance', 'drift')
    """
    if measure in _PIPELINE:
        return Topic.PIPELINE
    return Topic.DRIFT if measure in DRIFT_MEASURES else Topic.PERFORMANCE


def rests_on_labels(measure: str) -> bool:
    """Whether a measure is of the labelled rows, and speaks for a window only when enough of its rows are labelled.

    >>> rests_on_labels("accuracy"), rests_on_labels("label_drift"), rests_on_labels("label_coverage")
    (True, True, False)
    """
    return measure == "label_drift" or topic_of(measure) is Topic.PERFORMANCE


def needs_labels(measure: str) -> bool:
    """Whether a window can be judged by a measure only when its labels are in, or overdue."""
    return measure not in _WITHOUT_LABELS
