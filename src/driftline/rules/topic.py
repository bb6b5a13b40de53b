"""What a rule is about: whether what arrives can be trusted, how good the model is, or whether anything has moved.

`driftline.statistics.catalogue` says it of every measure; what is not there is a measure of a user's own function.
"""

from __future__ import annotations

from driftline.statistics.catalogue import CATALOGUE, STALENESS, Topic

__all__ = ["STALENESS", "Topic", "is_of_window", "needs_labels", "rests_on_labels", "topic_of"]


def topic_of(measure: str) -> Topic:
    """The topic of a rule on a measure.

    >>> topic_of("label_coverage").value, topic_of("accuracy").value, topic_of("prediction_drift").value
    ('pipeline', 'performance', 'drift')
    """
    return CATALOGUE[measure].topic if measure in CATALOGUE else Topic.PERFORMANCE


def rests_on_labels(measure: str) -> bool:
    """Whether a measure is of the labelled rows, and speaks for a window only when enough of its rows are labelled.

    >>> rests_on_labels("accuracy"), rests_on_labels("label_drift"), rests_on_labels("label_coverage")
    (True, True, False)
    """
    return measure not in CATALOGUE or CATALOGUE[measure].rests_on_labels


def needs_labels(measure: str) -> bool:
    """Whether a window can be judged by a measure only when its labels are in, or overdue.

    >>> needs_labels("accuracy"), needs_labels("label_coverage"), needs_labels("prediction_drift")
    (True, True, False)
    """
    return measure not in CATALOGUE or CATALOGUE[measure].needs_labels


def is_of_window(measure: str) -> bool:
    """Whether a measure is one of every model's windows, beside those of performance.

    >>> is_of_window("missing_ratio"), is_of_window("accuracy")
    (True, False)
    """
    return measure in CATALOGUE and CATALOGUE[measure].function is None
