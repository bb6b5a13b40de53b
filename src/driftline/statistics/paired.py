"""Compare two models on the same rows: the difference of a measure, with an interval and p-values.

Every measure here is smooth in the rows: each row has an *influence* on it (Hampel 1974), and the influences on a
difference are the differences of the influences. Their sums over blocks of rows give a variance that holds when the
rows of a block depend on each other (Liang & Zeger 1986). With one row in each block it is DeLong's (1988) for the ROC
AUC and the paired t-test's for means. Accuracy on independent rows has the exact test of McNemar (1947). The results
are those that a bootstrap of the blocks tends to, but without random draws: the same rows always give the same verdict.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.errors import UnknownNameError
from driftline.statistics.binomial import at_least
from driftline.statistics.catalogue import CATALOGUE, Better, paired_measures
from driftline.statistics.influence import Answers, Floats, NotMeasurableError, Paired, Texts, in_units
from driftline.statistics.special import normal_quantile, t_below, t_quantile

_MANY_BLOCKS = 200


class Difference(msgspec.Struct, frozen=True):
    """By how much the first model is better than the second; positive is better, also where lower values are.

    ``low`` and ``high`` are two-sided bounds; ``p_better`` and ``p_worse`` are one-sided p-values. ``first`` and
    ``second`` are the measure of each. Where there is a ``problem`` in words, all of them are None.
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


def difference(
    measure: str,
    first: Answers,
    second: Answers,
    *,
    blocks: npt.NDArray[np.int64] | None = None,
    positive: str | None = None,
    confidence: float = 0.95,
) -> Difference:
    """Return by how much the first of two models is better on the same n rows.

    ``blocks``, shape (n,), numbers the block of each row; without it the rows count as independent. With ``positive``,
    precision, recall, F1 and ROC AUC are those of that class; without it they are means over the classes. Fewer than
    two rows or blocks, rows of one class, and missing scores give a `Difference` with a ``problem``. Raises
    `UnknownNameError` for a measure that two models cannot be compared by.

    >>> labels = np.array(["a", "b"] * 20)
    >>> found = difference("accuracy", Answers(labels, labels), Answers(labels, np.array(["a"] * 40)))
    >>> round(found.value, 3), found.low > 0, found.p_better < 0.001
    (0.5, True, True)
    """
    made = _compared_by(measure)
    n = len(first.labels)
    if n < 2:
        return Difference(measure, n=n, problem=f"{n} rows are too few to compare by")
    try:
        (one, rows), (other, other_rows) = made.influence(first, positive), made.influence(second, positive)
    except NotMeasurableError as reason:
        return Difference(measure, n=n, problem=str(reason))
    sign = -1.0 if CATALOGUE[measure].better is Better.LOWER else 1.0
    value, influence = sign * (one - other), sign * (rows - other_rows)
    if made.exact and blocks is None:
        return _mcnemar(measure, first, second, confidence)
    error = _error(influence)
    dof = _degrees(made, influence, first.labels, positive)
    count = n
    if blocks is not None:
        known, numbers, sizes = np.unique(blocks, return_inverse=True, return_counts=True)
        count = len(known)
        if count < 2:
            return Difference(measure, n=n, problem="all rows are of one day: how far days differ cannot be told")
        between, of_blocks = _error_of_blocks(
            np.bincount(numbers, influence).astype(np.float64), sizes.astype(np.float64)
        )
        # Blocks can only widen the interval of independent rows.
        error, dof = max(between, error), min(of_blocks, dof)
    method = f"t of {count} {'rows' if blocks is None else 'days'}"
    if error == 0:
        certain = {-1.0: (1.0, 0.0), 0.0: (1.0, 1.0), 1.0: (0.0, 1.0)}[float(np.sign(value))]
        return Difference(measure, value, value, value, *certain, one, other, n, method)
    reach, below = t_quantile(confidence, dof) * error, t_below(value / error, dof)
    return Difference(measure, value, value - reach, value + reach, 1 - below, below, one, other, n, method)


def rarest_of(measure: str, first: Answers, second: Answers, positive: str | None = None) -> tuple[str, int] | None:
    """Return the class with the fewest of the rows that a measure rests on, and their number.

    These are the rows labelled as the class, or for precision those predicted as it. None for a measure that rests on
    all rows alike; user-defined measures count as such.

    >>> labels = np.array(["a"] * 3 + ["b"] * 7)
    >>> rarest_of("recall", Answers(labels, labels), Answers(labels, labels), "b")
    ('b', 7)
    >>> rarest_of("roc_auc", Answers(labels, labels), Answers(labels, labels), "b")
    ('a', 3)
    """
    if measure not in CATALOGUE or (made := _compared_by(measure)).carried_by == "rows":
        return None
    there = [first.predictions, second.predictions] if made.carried_by == "predicted" else [first.labels]
    alone = made.of_positive
    names: list[str] = [positive] if positive is not None and alone else np.unique(np.concatenate(there)).tolist()
    counts = {name: min(int((values == name).sum()) for values in there) for name in names}
    return min(counts.items(), key=lambda one: one[1])


def value_of(measure: str, answers: Answers, positive: str | None = None) -> float | None:
    """Return a measure of one model; None without rows, or where these lack what it needs."""
    if not len(answers.labels):
        return None
    try:
        return _compared_by(measure).influence(answers, positive)[0]
    except NotMeasurableError:
        return None


def _compared_by(measure: str) -> Paired:
    made = CATALOGUE[measure].paired
    if made is None:
        raise UnknownNameError("measure of two models on the same rows", measure, paired_measures())
    return made


def _error(influences: Floats) -> float:
    count = len(influences)
    parts, unit = in_units(influences)
    return unit * math.sqrt(count / (count - 1) * float(parts @ parts))


def _degrees(made: Paired, influence: Floats, labels: Texts | Floats, positive: str | None) -> float:
    """The degrees of freedom of the variance of independent rows: n - 1, less if the measure rests on few of them."""
    if made.carried_by == "rows":
        return float(len(influence) - 1)
    if not made.two_samples:
        return _rows_that_count(influence) - 1
    names, counts = np.unique(labels, return_counts=True)
    true = labels == (positive if positive is not None else names[np.argmin(counts)])
    parts = [(float(part @ part), max(len(part) - 1, 1)) for part in (influence[true], influence[~true])]
    whole = sum(part for part, _ in parts)  # Welch (1947): each class has a variance of its own
    return whole**2 / sum(part**2 / dof for part, dof in parts) if whole else float(len(influence) - 1)


def _rows_that_count(influences: Floats) -> float:
    """The effective number of rows that a sum rests on, 2 or more: m where m of them are equal and the others near 0.

    The recall of a rare class rests on few rows: the others do not tell how far it varies.
    """
    squares = float(influences @ influences)
    if squares == 0:
        return float(len(influences))
    return max(float(np.abs(influences).sum()) ** 2 / squares, 2.0)


def _error_of_blocks(sums: Floats, sizes: Floats) -> tuple[float, float]:
    """The standard error of a sum over blocks, and its degrees of freedom, 1 or more (Bell & McCaffrey 2002).

    ``sums`` are those of the centred influences of the blocks, ``sizes`` their numbers of rows. Each square is
    corrected for the share by which the mean follows the block. The degrees of freedom are those of the sum of the
    squares: fewer than blocks - 1 where some blocks are much larger than others.
    """
    weights = sizes / sizes.sum()
    shrunk = 1 - 2 * weights + float(weights @ weights)
    parts, unit = in_units(sums)
    error = unit * math.sqrt(float(np.sum(parts**2 / shrunk)))
    if len(weights) > _MANY_BLOCKS:
        return error, len(weights) - 1
    moved = (np.eye(len(weights)) - weights) * (weights / np.sqrt(shrunk))[:, None]
    spread = np.linalg.eigvalsh(moved @ moved.T)
    return error, max(float(spread.sum() ** 2 / (spread @ spread)), 1.0)


def _mcnemar(measure: str, first: Answers, second: Answers, confidence: float) -> Difference:
    """McNemar's exact test, with the interval of Bonett & Price (2012), which is reliable with few rows as well."""
    right, other_right = first.labels == first.predictions, second.labels == second.predictions
    n, won, lost = len(right), int((right & ~other_right).sum()), int((~right & other_right).sum())
    better, worse = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    error = math.sqrt((better + worse - (better - worse) ** 2) / (n + 2))
    z = normal_quantile(confidence)
    low, high = max(better - worse - z * error, -1.0), min(better - worse + z * error, 1.0)
    p_better, p_worse = at_least(won, won + lost, 0.5), at_least(lost, won + lost, 0.5)
    # The exact test decides: where it is not significant, the interval is extended to include 0.
    if won > lost and p_better > (1 - confidence) / 2:
        low = min(low, 0.0)
    if lost > won and p_worse > (1 - confidence) / 2:
        high = max(high, 0.0)
    one, other = float(right.mean()), float(other_right.mean())
    value = one - other
    return Difference(
        measure, value, min(low, value), max(high, value), p_better, p_worse, one, other, n, "McNemar's exact test"
    )


def time_blocks(seconds: Floats) -> npt.NDArray[np.int64]:
    """Return the UTC day of each row, shape (n,), numbered from 0 without gaps, from times in seconds since 1970.

    >>> time_blocks(np.array([0.0, 1.0, 86_400.0, 259_200.0])).tolist()
    [0, 0, 1, 2]
    """
    return np.unique(np.floor(seconds / 86_400), return_inverse=True)[1].astype(np.int64)
