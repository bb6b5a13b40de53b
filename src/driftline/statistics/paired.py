"""Is one model better than another on the same rows? The difference of a measure, with an interval and a p-value.

Every measure here is smooth in the rows: what one row adds to its error is the row's *influence* (Hampel 1974), and the
influences of a difference are the differences of the influences. Their sums over blocks of rows give a variance that
holds when the rows of a block depend on each other (Liang & Zeger 1986), and with a row a block it is DeLong's (1988)
for the ROC AUC and the paired t-test's for means. Accuracy on independent rows has the exact test of McNemar (1947).
It does what a bootstrap of the blocks tends to, without draws, so that the same rows give the same verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from driftline.profiles.performance import SMALLEST_PROBABILITY, rescaled
from driftline.statistics.special import normal_quantile

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]

_MANY_BLOCKS = 200
_SMALL, _LARGE = 1e-100, 1e100
"""Between them squares and sums of squares are numbers."""
_OF_CLASSES = frozenset({"precision", "recall", "f1", "balanced_accuracy"})
"""Measures that the rows of one class may carry alone."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model said of n rows, and what was true.

    ``labels`` and ``predictions`` have the shape (n,): class names of a classifier, float64 of a regression.
    ``scores`` has a probability in [0, 1] for each row of some or all classes, each of the shape (n,).
    """

    labels: Texts | Floats
    predictions: Texts | Floats
    scores: Mapping[str, Floats] = field(default_factory=dict)

    def at(self, rows: npt.NDArray[np.bool_]) -> Answers:
        """The same of some rows."""
        scores = {name: score[rows] for name, score in self.scores.items()}
        return Answers(self.labels[rows], self.predictions[rows], scores)


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much the first model is better than the second: positive is better, whichever way the measure goes.

    ``low`` and ``high`` are two-sided bounds; ``p_better`` and ``p_worse`` are one-sided p-values. ``first`` and
    ``second`` are the measure of each. With a ``problem`` in words all of them are None.
    """

    measure: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_better: float | None = None
    p_worse: float | None = None
    first: float | None = None
    second: float | None = None
    n: int = 0
    method: str = ""
    problem: str = ""


class NotMeasurableError(Exception):
    """The rows do not have what a measure needs; the text says what."""


# ---- influences ----------------------------------------------------------------------------------------------------

Influence = tuple[float, Floats]
"""A measure, and what each row adds to its error, shape (n,); they sum to 0."""


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


def _accuracy(answers: Answers, positive: str | None) -> Influence:
    del positive
    return _mean((answers.labels == answers.predictions).astype(np.float64))


def _by_class(
    answers: Answers, positive: str | None, make: Callable[[Floats, Floats, Floats], Influence | None]
) -> Influence:
    """Of the positive class, or the mean over the classes for which there is a value."""
    names = [positive] if positive is not None else sorted({*answers.labels.tolist(), *answers.predictions.tolist()})
    parts = []
    for name in names:
        true = (answers.labels == name).astype(np.float64)
        said = (answers.predictions == name).astype(np.float64)
        if (part := make(true * said, true, said)) is not None:
            parts.append(part)
    return _averaged(parts, len(answers.labels), "no row has what the measure divides by")


def _precision(answers: Answers, positive: str | None) -> Influence:
    return _by_class(answers, positive, lambda hit, true, said: _ratio(hit, said) if said.any() else None)


def _recall(answers: Answers, positive: str | None) -> Influence:
    return _by_class(answers, positive, lambda hit, true, said: _ratio(hit, true) if true.any() else None)


def _f1(answers: Answers, positive: str | None) -> Influence:
    return _by_class(
        answers, positive, lambda hit, true, said: _ratio(2 * hit, true + said) if true.any() or said.any() else None
    )


def _balanced_accuracy(answers: Answers, positive: str | None) -> Influence:
    del positive
    return _recall(answers, None)


def _roc_auc(answers: Answers, positive: str | None) -> Influence:
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
    """Sun & Xu (2014): placements by mid-ranks."""
    m, n = int(true.sum()), int((~true).sum())
    whole, within = _mid_ranks(score), np.empty(len(score))
    within[true], within[~true] = _mid_ranks(score[true]), _mid_ranks(score[~true])
    placed = np.where(true, (whole - within) / n, 1 - (whole - within) / m)
    value = float(placed[true].mean())
    # A class of one row has no variance of its own; the other's stands for both.
    return value, (placed - value) / np.where(true, math.sqrt(m * max(m - 1, 1)), math.sqrt(n * max(n - 1, 1)))


def _mid_ranks(values: Floats) -> Floats:
    """Ranks from 1 on; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = np.cumsum(counts) - (counts - 1) / 2
    return ranks[places]


def _log_loss(answers: Answers, positive: str | None) -> Influence:
    of_label = _score_of_label(answers, positive)
    return _mean(-np.log(np.clip(of_label, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)))


def _brier(answers: Answers, positive: str | None) -> Influence:
    names = [positive] if positive is not None else list(answers.scores)
    if not names or any(name not in answers.scores for name in names):
        raise NotMeasurableError("there are no scores")
    scores = _shares(answers)
    errors = np.sum([(scores[name] - (answers.labels == name)) ** 2 for name in names], axis=0)
    if np.isnan(errors).any():
        raise NotMeasurableError("some rows lack a score")
    return _mean(errors.astype(np.float64))


def _shares(answers: Answers) -> Mapping[str, Floats]:
    """The scores as shares of one, NaN where there is none; an infinite score is none."""
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
    """Prediction minus label of each row of a regression, shape (n,); infinite where that is too large."""
    with np.errstate(over="ignore"):
        return np.asarray(answers.predictions, np.float64) - np.asarray(answers.labels, np.float64)


def _mae(answers: Answers, positive: str | None) -> Influence:
    del positive
    errors, unit = _in_units(errors_of(answers))
    value, rows = _mean(np.abs(errors))
    return _finite(value * unit, rows * unit)


def _rmse(answers: Answers, positive: str | None) -> Influence:
    del positive
    errors, unit = _in_units(errors_of(answers))
    value, rows = _mean(errors**2)
    root = math.sqrt(value)
    return _finite(root * unit, rows / (2 * root) * unit if root else rows)


def _in_units(values: Floats) -> tuple[Floats, float]:
    """Values in units of the largest, and that unit, a power of two: their squares are numbers, however large."""
    most = float(np.abs(values).max(initial=0.0))
    if not math.isfinite(most):
        raise NotMeasurableError("some errors are too large to be numbers")
    unit = 2.0 ** math.frexp(most)[1] if not _SMALL < most < _LARGE and most else 1.0
    return values / unit, unit


def _finite(value: float, rows: Floats) -> Influence:
    if not math.isfinite(value):
        raise NotMeasurableError("some errors are too large to be numbers")
    return value, rows


CLASSIFICATION: Mapping[str, Callable[[Answers, str | None], Influence]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "roc_auc": _roc_auc,
    "log_loss": _log_loss,
    "brier": _brier,
}
REGRESSION: Mapping[str, Callable[[Answers, str | None], Influence]] = {"mae": _mae, "rmse": _rmse}
SCORED = frozenset({"roc_auc", "log_loss", "brier"})
"""Measures of scores."""
LOSSES = frozenset({"log_loss", "brier", "mae", "rmse"})
"""Measures of which less is better."""


# ---- differences ---------------------------------------------------------------------------------------------------


def difference(
    measure: str,
    first: Answers,
    second: Answers,
    *,
    blocks: npt.NDArray[np.int64] | None = None,
    positive: str | None = None,
    confidence: float = 0.95,
) -> Difference:
    """By how much the first of two models is better on the same n rows.

    ``blocks``, shape (n,), numbers the block of each row; without it the rows are taken as independent. ``positive``
    makes precision, recall, F1 and ROC AUC those of that class; without it they are means over the classes. Fewer than
    two rows or blocks, rows of one class, and missing scores give a `Difference` with a ``problem``.

    >>> labels = np.array(["a", "b"] * 20)
    >>> found = difference("accuracy", Answers(labels, labels), Answers(labels, np.array(["a"] * 40)))
    >>> round(found.value, 3), found.low > 0, found.p_better < 0.001
    (0.5, True, True)
    """
    made = {**CLASSIFICATION, **REGRESSION}[measure]
    n = len(first.labels)
    if n < 2:
        return Difference(measure, n=n, problem=f"{n} rows are too few to compare by")
    try:
        (one, rows), (other, other_rows) = made(first, positive), made(second, positive)
    except NotMeasurableError as reason:
        return Difference(measure, n=n, problem=str(reason))
    sign = -1.0 if measure in LOSSES else 1.0
    value, influence = sign * (one - other), sign * (rows - other_rows)
    if measure == "accuracy" and blocks is None:
        return _mcnemar(first, second, one, other, confidence)
    error = _error(influence)
    dof = _degrees(measure, influence, first.labels, positive)
    count = n
    if blocks is not None:
        known, numbers, sizes = np.unique(blocks, return_inverse=True, return_counts=True)
        count = len(known)
        if count < 2:
            return Difference(measure, n=n, problem="all rows are of one day: how far days differ cannot be told")
        between, of_blocks = _error_of_blocks(
            np.bincount(numbers, influence).astype(np.float64), sizes.astype(np.float64)
        )
        # Blocks can only widen an interval: that of independent rows is the least.
        error, dof = max(between, error), min(of_blocks, dof)
    method = f"t of {count} {'rows' if blocks is None else 'days'}"
    if error == 0:
        certain = {-1.0: (1.0, 0.0), 0.0: (1.0, 1.0), 1.0: (0.0, 1.0)}[float(np.sign(value))]
        return Difference(measure, value, value, value, *certain, one, other, n, method)
    reach, below = _t_reach(confidence, dof) * error, _t_below(value / error, dof)
    return Difference(measure, value, value - reach, value + reach, 1 - below, below, one, other, n, method)


def rarest_of(measure: str, first: Answers, second: Answers, positive: str | None = None) -> tuple[str, int] | None:
    """The class with the fewest rows of those that carry a measure, and how many; None for a measure of all rows alike.

    They are the rows of a class, for precision those that a model predicts to be of it.

    >>> labels = np.array(["a"] * 3 + ["b"] * 7)
    >>> rarest_of("recall", Answers(labels, labels), Answers(labels, labels), "b")
    ('b', 7)
    >>> rarest_of("roc_auc", Answers(labels, labels), Answers(labels, labels), "b")
    ('a', 3)
    """
    if measure not in (*_OF_CLASSES, "roc_auc"):
        return None
    there = [first.predictions, second.predictions] if measure == "precision" else [first.labels]
    alone = measure in ("precision", "recall", "f1")
    names: list[str] = [positive] if positive is not None and alone else np.unique(np.concatenate(there)).tolist()
    counts = {name: min(int((values == name).sum()) for values in there) for name in names}
    return min(counts.items(), key=lambda one: one[1])


def value_of(measure: str, answers: Answers, positive: str | None = None) -> float | None:
    """A measure of one model; None where the rows do not have what it needs, and without rows."""
    if not len(answers.labels):
        return None
    try:
        return {**CLASSIFICATION, **REGRESSION}[measure](answers, positive)[0]
    except NotMeasurableError:
        return None


def _t_below(t: float, dof: float) -> float:
    from scipy import special

    return float(special.stdtr(dof, t))


def _t_reach(confidence: float, dof: float) -> float:
    from scipy import special

    return float(special.stdtrit(dof, (1 + confidence) / 2))


def _at_least(wins: int, trials: int) -> float:
    """Chance of so many wins or more of trials that each go either way."""
    from scipy import special

    return 1.0 if not wins else float(special.bdtrc(wins - 1, trials, 0.5))


def _error(influences: Floats) -> float:
    count = len(influences)
    parts, unit = _in_units(influences)
    return unit * math.sqrt(count / (count - 1) * float(parts @ parts))


def _degrees(measure: str, influence: Floats, labels: Texts | Floats, positive: str | None) -> float:
    """The degrees of freedom of the variance of independent rows: n - 1, fewer where few rows carry the measure."""
    if measure in _OF_CLASSES:
        return _rows_that_count(influence) - 1
    if measure != "roc_auc":
        return float(len(influence) - 1)
    names, counts = np.unique(labels, return_counts=True)
    true = labels == (positive if positive is not None else names[np.argmin(counts)])
    parts = [(float(part @ part), max(len(part) - 1, 1)) for part in (influence[true], influence[~true])]
    whole = sum(part for part, _ in parts)  # Welch (1947): each class has a variance of its own
    return whole**2 / sum(part**2 / dof for part, dof in parts) if whole else float(len(influence) - 1)


def _rows_that_count(influences: Floats) -> float:
    """How many rows a sum rests on, 2 or more: m where m of them share it evenly and the others are near 0.

    Few rows of a rare class carry its recall: the other rows tell nothing of how far it varies.
    """
    squares = float(influences @ influences)
    if squares == 0:
        return float(len(influences))
    return max(float(np.abs(influences).sum()) ** 2 / squares, 2.0)


def _error_of_blocks(sums: Floats, sizes: Floats) -> tuple[float, float]:
    """The standard error of a sum over blocks, and its degrees of freedom, 1 or more (Bell & McCaffrey 2002).

    ``sums`` of the centred influences of blocks with ``sizes`` rows. Blocks that share luck vary alike whatever their
    size: each sum's square is freed of the part by which the mean follows its block, and the degrees of freedom are
    those of the sum of the squares, fewer than blocks - 1 where some blocks are much larger than others.
    """
    weights = sizes / sizes.sum()
    shrunk = 1 - 2 * weights + float(weights @ weights)
    parts, unit = _in_units(sums)
    error = unit * math.sqrt(float(np.sum(parts**2 / shrunk)))
    if len(weights) > _MANY_BLOCKS:
        return error, len(weights) - 1
    moved = (np.eye(len(weights)) - weights) * (weights / np.sqrt(shrunk))[:, None]
    spread = np.linalg.eigvalsh(moved @ moved.T)
    return error, max(float(spread.sum() ** 2 / (spread @ spread)), 1.0)


def _mcnemar(first: Answers, second: Answers, one: float, other: float, confidence: float) -> Difference:
    """McNemar's exact test, and the interval of Bonett & Price (2012), which holds with few rows as well."""
    right, other_right = first.labels == first.predictions, second.labels == second.predictions
    n, won, lost = len(right), int((right & ~other_right).sum()), int((~right & other_right).sum())
    better, worse = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    error = math.sqrt((better + worse - (better - worse) ** 2) / (n + 2))
    z = normal_quantile(confidence)
    low, high = max(better - worse - z * error, -1.0), min(better - worse + z * error, 1.0)
    p_better, p_worse = _at_least(won, won + lost), _at_least(lost, won + lost)
    # The exact test decides: an interval that says more than it is drawn back to no difference.
    if won > lost and p_better > (1 - confidence) / 2:
        low = min(low, 0.0)
    if lost > won and p_worse > (1 - confidence) / 2:
        high = max(high, 0.0)
    value = one - other
    return Difference(
        "accuracy", value, min(low, value), max(high, value), p_better, p_worse, one, other, n, "McNemar's exact test"
    )


def time_blocks(seconds: Floats) -> npt.NDArray[np.int64]:
    """Blocks of time for rows at these moments, shape (n,): the days, numbered from 0 on; a day shares its luck.

    >>> time_blocks(np.array([0.0, 1.0, 86_400.0, 259_200.0])).tolist()
    [0, 0, 1, 2]
    """
    return np.unique(np.floor(seconds / 86_400), return_inverse=True)[1].astype(np.int64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of a family of tests (Holm 1979), in the same order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    found, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min((len(order) - rank) * p_values[place], 1.0))
        found[place] = largest
    return found
