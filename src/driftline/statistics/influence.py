"""Compute measures with each row's *influence* on them (Hampel 1974), for comparisons on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.profiles.performance import SMALLEST_PROBABILITY, rescaled

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]

_SMALL, _LARGE = 1e-100, 1e100
"""Between these sizes, squares and sums of squares neither overflow nor vanish."""


class Answers(msgspec.Struct, frozen=True):
    """A model's answers to n rows, and the labels.

    ``labels`` and ``predictions`` have the shape (n,): class names of a classifier, float64 of a regression.
    ``scores`` has a probability in [0, 1] for each row of some or all classes, each of the shape (n,).
    """

    labels: Texts | Floats
    predictions: Texts | Floats
    scores: Mapping[str, Floats] = {}

    def at(self, rows: npt.NDArray[np.bool_]) -> Answers:
        """Return the answers to the rows of a mask, shape (n,)."""
        scores = {name: score[rows] for name, score in self.scores.items()}
        return Answers(self.labels[rows], self.predictions[rows], scores)


class NotMeasurableError(Exception):
    """The rows lack what a measure needs; the text says what."""


Influence = tuple[float, Floats]
"""The value of a measure, and the influence of each row, shape (n,); influences sum to 0."""


class Paired(NamedTuple):
    """How to compare two models by a measure on the same rows.

    ``carried_by`` says which rows the measure rests on: all alike, or those labelled or predicted as a class.
    ``of_positive``: if there is a positive class, the measure is about that class alone. ``two_samples``: its variance
    is the sum of those of two classes of rows. ``exact``: it is a share of right answers, which has an exact test.
    """

    influence: Callable[[Answers, str | None], Influence]
    carried_by: Literal["rows", "labelled", "predicted"] = "rows"
    of_positive: bool = False
    two_samples: bool = False
    exact: bool = False


def _mean(values: Floats) -> Influence:
    value = float(values.mean())
    return value, (values - value) / len(values)


def _ratio(numerator: Floats, denominator: Floats) -> Influence:
    total = float(denominator.sum())
    value = float(numerator.sum()) / total
    return value, (numerator - value * denominator) / total


def _averaged(parts: Sequence[Influence], n: int, what: str) -> Influence:
    if not parts:
        raise NotMeasurableError(what)
    rows = np.zeros(n)
    for _, part in parts:
        rows += part
    return math.fsum(value for value, _ in parts) / len(parts), rows / len(parts)


def accuracy(answers: Answers, positive: str | None) -> Influence:
    """Return the share of right predictions, in [0, 1]."""
    del positive
    return _mean((answers.labels == answers.predictions).astype(np.float64))


def _by_class(
    answers: Answers, positive: str | None, make: Callable[[Floats, Floats, Floats], Influence | None]
) -> Influence:
    """The measure of the positive class, or the mean over the classes that have a value."""
    names = [positive] if positive is not None else sorted({*answers.labels.tolist(), *answers.predictions.tolist()})
    parts = []
    for name in names:
        true = (answers.labels == name).astype(np.float64)
        said = (answers.predictions == name).astype(np.float64)
        if (part := make(true * said, true, said)) is not None:
            parts.append(part)
    return _averaged(parts, len(answers.labels), "no row has what the measure divides by")


def precision(answers: Answers, positive: str | None) -> Influence:
    """Return the share of the rows predicted as the class that are of it, or the mean over the classes; in [0, 1]."""
    return _by_class(answers, positive, lambda hit, true, said: _ratio(hit, said) if said.any() else None)


def recall(answers: Answers, positive: str | None) -> Influence:
    """Return the share of the rows of the class that are predicted as it, or the mean over the classes; in [0, 1]."""
    return _by_class(answers, positive, lambda hit, true, said: _ratio(hit, true) if true.any() else None)


def f1(answers: Answers, positive: str | None) -> Influence:
    """Return the harmonic mean of precision and recall, or its mean over the classes; in [0, 1]."""
    return _by_class(
        answers, positive, lambda hit, true, said: _ratio(2 * hit, true + said) if true.any() or said.any() else None
    )


def balanced_accuracy(answers: Answers, positive: str | None) -> Influence:
    """Return the mean recall of the classes, in [0, 1]."""
    del positive
    return recall(answers, None)


def roc_auc(answers: Answers, positive: str | None) -> Influence:
    """Return the ROC AUC by DeLong's (1988) placements, or its mean over the classes; in [0, 1]."""
    names = [positive] if positive is not None else sorted(answers.scores)
    parts = []
    for name in names:
        if (score := answers.scores.get(name)) is None:
            raise NotMeasurableError(f"there is no score of {name!r}")
        if np.isnan(score).any():
            raise NotMeasurableError("some rows lack a score")
        true = answers.labels == name
        if true.any() and not true.all():
            parts.append(_auc(score, true))
    return _averaged(parts, len(answers.labels), "the rows are of one class only, or have no scores")


def _auc(score: Floats, true: npt.NDArray[np.bool_]) -> Influence:
    """The AUC and the rows' placements, by mid-ranks (Sun & Xu 2014)."""
    m, n = int(true.sum()), int((~true).sum())
    whole, within = _mid_ranks(score), np.empty(len(score))
    within[true], within[~true] = _mid_ranks(score[true]), _mid_ranks(score[~true])
    placed = np.where(true, (whole - within) / n, 1 - (whole - within) / m)
    value = float(placed[true].mean())
    # A class of one row has no variance of its own; the other class's is used for both.
    return value, (placed - value) / np.where(true, math.sqrt(m * max(m - 1, 1)), math.sqrt(n * max(n - 1, 1)))


def _mid_ranks(values: Floats) -> Floats:
    """The ranks of values, from 1; equal values get the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = np.cumsum(counts) - (counts - 1) / 2
    return ranks[places]


def log_loss(answers: Answers, positive: str | None) -> Influence:
    """Return the mean of -ln of the probability given to the label, in nats."""
    of_label = _score_of_label(answers, positive)
    return _mean(-np.log(np.clip(of_label, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)))


def brier(answers: Answers, positive: str | None) -> Influence:
    """Return the mean squared error of the probabilities: in [0, 1] with a positive class, else summed over classes."""
    names = [positive] if positive is not None else list(answers.scores)
    if not names or any(name not in answers.scores for name in names):
        raise NotMeasurableError("there are no scores")
    scores = _shares(answers)
    errors = np.sum([(scores[name] - (answers.labels == name)) ** 2 for name in names], axis=0)
    if np.isnan(errors).any():
        raise NotMeasurableError("some rows lack a score")
    return _mean(errors.astype(np.float64))


def _shares(answers: Answers) -> Mapping[str, Floats]:
    """The scores of each row, rescaled to sum to at most 1; NaN where one is missing or infinite."""
    shares, _ = rescaled({name: np.where(np.isinf(one), np.nan, one) for name, one in answers.scores.items()})
    return shares


def _score_of_label(answers: Answers, positive: str | None) -> Floats:
    found = np.full(len(answers.labels), np.nan)
    scores = _shares(answers)
    for name, score in scores.items():
        found = np.where(answers.labels == name, score, found)
    if positive is not None and positive in scores:
        found = np.where(np.isnan(found), 1 - scores[positive], found)
    if np.isnan(found).any():
        raise NotMeasurableError("some rows have no score of their label")
    return found


def errors_of(answers: Answers) -> Floats:
    """Return prediction minus label of each row of a regression, shape (n,); infinite where that overflows."""
    with np.errstate(over="ignore"):
        return np.asarray(answers.predictions, np.float64) - np.asarray(answers.labels, np.float64)


def mae(answers: Answers, positive: str | None) -> Influence:
    """Return the mean absolute error, in units of the label."""
    del positive
    errors, unit = in_units(errors_of(answers))
    value, rows = _mean(np.abs(errors))
    return _finite(value * unit, rows * unit)


def wape(answers: Answers, positive: str | None) -> Influence:
    """Return the sum of absolute errors over the sum of absolute labels."""
    del positive
    errors, unit = in_units(np.abs(errors_of(answers)))
    sizes, other = in_units(np.abs(np.asarray(answers.labels, np.float64)))
    if not sizes.any():
        raise NotMeasurableError("every label is 0")
    value, rows = _ratio(errors, sizes)
    return _finite(value * (unit / other), rows * (unit / other))


def rmse(answers: Answers, positive: str | None) -> Influence:
    """Return the root of the mean squared error, in units of the label."""
    del positive
    errors, unit = in_units(errors_of(answers))
    value, rows = _mean(errors**2)
    root = math.sqrt(value)
    return _finite(root * unit, rows / (2 * root) * unit if root else rows)


def in_units(values: Floats) -> tuple[Floats, float]:
    """Return the values divided by a power of two, so that their squares do not overflow, and that unit.

    The unit is near the largest value, and 1 for values of ordinary size. Raises `NotMeasurableError` for infinite
    values and NaN.
    """
    most = float(np.abs(values).max(initial=0.0))
    if not math.isfinite(most):
        raise NotMeasurableError("some errors are too large to be numbers")
    unit = 2.0 ** math.frexp(most)[1] if not _SMALL < most < _LARGE and most else 1.0
    return values / unit, unit


def _finite(value: float, rows: Floats) -> Influence:
    if not math.isfinite(value):
        raise NotMeasurableError("some errors are too large to be numbers")
    return value, rows
