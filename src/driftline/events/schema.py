"""What a model's events look like: its task, its features, its classes."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from driftline.errors import UsageError


class Task(enum.StrEnum):
    """What a model predicts."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class Kind(enum.StrEnum):
    """How the values of a column are profiled."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    DATETIME = "datetime"
    TEXT = "text"
    EMBEDDING = "embedding"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Schema:
    """The shape of one model's events: inferred from its reference, or given, and then held to.

    ``features`` maps each feature to its kind, in order. ``classes`` are the known class names of a classifier
    (empty: not known yet). ``positive`` is the class that *binary* measures speak of; None for other tasks.
    """

    task: Task
    features: Mapping[str, Kind] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    positive: str | None = None

    def __post_init__(self) -> None:
        if self.positive is not None and self.task is not Task.BINARY:
            raise UsageError(f"a positive class ({self.positive!r}) came for a {self.task} model; only binary has one")


_POSITIVE_NAMES = ("1", "true", "yes", "y", "positive", "pos", "t")
_OPPOSITES = {
    "0": "1",
    "-1": "1",
    "false": "true",
    "no": "yes",
    "n": "y",
    "negative": "positive",
    "neg": "pos",
    "f": "t",
}


def class_name(value: object) -> str:
    """Return the one spelling of a class: ``True``, ``1``, ``1.0`` and ``"1"`` are the same class.

    >>> class_name(True), class_name(1.0), class_name("rain"), class_name(2)
    ('1', '1', 'rain', '2')
    """
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def positive_class(classes: Iterable[str]) -> str | None:
    """Return the class that a binary model most plausibly calls positive: a yes-like name, else the last by name.

    A no-like name alone has not shown the other class yet: that one is positive.

    >>> positive_class(["0", "1"]), positive_class(["no", "yes"]), positive_class(["churn", "stay"]), positive_class([])
    ('1', 'yes', 'stay', None)
    >>> positive_class(["0"]), positive_class(["No"])
    ('1', 'Yes')
    """
    names = sorted(set(classes))
    for candidate in _POSITIVE_NAMES:
        for name in names:
            if name.lower() == candidate:
                return name
    if len(names) == 1 and (opposite := _OPPOSITES.get(names[0].lower())) is not None:
        return opposite.upper() if names[0].isupper() else opposite.title() if names[0].istitle() else opposite
    return names[-1] if names else None
