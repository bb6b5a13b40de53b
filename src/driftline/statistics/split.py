"""Split the change of a mean over rows by segments: what their mix changed, and what changed within them.

With the share w and the mean m of each segment, before (0) and after (1), a mean of all rows is M = Σ w·m, and its
change is exactly

    M1 - M0  =  Σ (w1 - w0) · (m̄ - M̄)  +  Σ w̄ · (m1 - m0)

where a bar is the average of before and after. The first sum is the *mix*: more or fewer rows of a segment that is
better or worse than the rest. The second is *within*: the same segments, better or worse than before. It is Kitagawa's
(1955) decomposition; with the averages as weights neither side is preferred, so that the split of the way back is the
same with the opposite sign. That M̄ is subtracted changes no sum, as shares add up to 1; it says of one segment whether
its share moved towards what is better or worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from driftline.profiles import Classification, Performance

NO_SEGMENT = "(no segment)"
"""The rows that are in none of the segments."""


class RowMean(NamedTuple):
    """The sum of a value over ``rows`` rows, exactly."""

    rows: int
    total: Fraction

    @property
    def mean(self) -> Fraction:
        """The mean, for 1 row or more."""
        return self.total / self.rows


class Part(NamedTuple):
    """What a segment contributes to the change; a mean is None where the segment has no rows."""

    rows_reference: int
    rows: int
    share_reference: float
    share: float
    mean_reference: float | None
    mean: float | None
    mix: float
    within: float

    @property
    def contribution(self) -> float:
        """Both together."""
        return self.mix + self.within


class Split(NamedTuple):
    """The change of a mean from ``reference`` to ``current``, and its two parts, which add up to it."""

    reference: float
    current: float
    change: float
    mix: float
    within: float
    parts: Mapping[str, Part]


def _right(performance: Classification) -> RowMean:
    hits = sum(count for (label, prediction), count in performance.confusion.items() if label == prediction)
    return RowMean(performance.count, Fraction(hits))


MEANS: Mapping[str, Callable[[Any], RowMean]] = {
    "accuracy": _right,
    "log_loss": lambda one: RowMean(one.log_loss.count, one.log_loss.total.fraction),
    "brier": lambda one: RowMean(one.brier.count, one.brier.total.fraction),
    "mae": lambda one: RowMean(one.count, one.absolute.fraction),
    "bias": lambda one: RowMean(one.count, one.errors.total.fraction),
    "mape": lambda one: RowMean(one.relative.count, one.relative.total.fraction),
}
"""The measures that are means over rows, by name, and where their sums are."""


def split_problem(measure: str, known: Iterable[str] = tuple(MEANS)) -> str:
    """Say why the change of a measure has no exact split; empty where it has one. ``known`` are those that have one.

    >>> split_problem("accuracy"), split_problem("recall", ["accuracy", "brier"])
    ('', 'recall is no mean over rows, so its change has no exact split; accuracy, brier are')
    """
    if measure in MEANS:
        return ""
    return f"{measure} is no mean over rows, so its change has no exact split; {', '.join(known)} are"


def row_mean(measure: str, performance: Performance | None) -> RowMean:
    """Return the sum that a measure of `MEANS` is the mean of; no rows without a performance."""
    return RowMean(0, Fraction(0)) if performance is None else MEANS[measure](performance)


def split_change(
    before: Mapping[str, RowMean], after: Mapping[str, RowMean], whole: tuple[RowMean, RowMean] | None = None
) -> Split | None:
    """Split the change of a mean by segments; None where one side has no rows.

    Rows of ``whole``, before and after, that are in no segment are one of their own, `NO_SEGMENT`. A segment without
    rows on one side has no mean there: it counts as unchanged within, and all that it adds is mix.

    >>> def rows(n, right): return RowMean(n, Fraction(right))
    >>> found = split_change({"a": rows(50, 50), "b": rows(50, 0)}, {"a": rows(25, 25), "b": rows(75, 0)})
    >>> found.change, found.mix, found.within
    (-0.25, -0.25, 0.0)
    """
    sides = [dict(side) for side in (before, after)]
    for side, all_rows in zip(sides, whole or (), strict=False):
        left = RowMean(
            all_rows.rows - sum(one.rows for one in side.values()),
            all_rows.total - sum((one.total for one in side.values()), Fraction(0)),
        )
        if left.rows > 0:
            side[NO_SEGMENT] = left
    rows = [sum(one.rows for one in side.values()) for side in sides]
    if not all(rows):
        return None
    means = [sum((one.total for one in side.values()), Fraction(0)) / n for side, n in zip(sides, rows, strict=True)]
    middle = (means[0] + means[1]) / 2
    parts, mix, within = dict[str, Part](), Fraction(0), Fraction(0)
    for name, (was, now) in _paired(*sides):
        shares = Fraction(was.rows, rows[0]), Fraction(now.rows, rows[1])
        mean_before = was.mean if was.rows else now.mean
        mean_after = now.mean if now.rows else was.mean
        of_mix = (shares[1] - shares[0]) * ((mean_before + mean_after) / 2 - middle)
        of_within = (shares[0] + shares[1]) / 2 * (mean_after - mean_before)
        mix, within = mix + of_mix, within + of_within
        parts[name] = Part(
            was.rows,
            now.rows,
            float(shares[0]),
            float(shares[1]),
            float(was.mean) if was.rows else None,
            float(now.mean) if now.rows else None,
            float(of_mix),
            float(of_within),
        )
    return Split(float(means[0]), float(means[1]), float(means[1] - means[0]), float(mix), float(within), parts)


def _paired(
    before: Mapping[str, RowMean], after: Mapping[str, RowMean]
) -> Iterator[tuple[str, tuple[RowMean, RowMean]]]:
    """Yield the segments that have rows on either side, in the order of the first and then of the second."""
    none = RowMean(0, Fraction(0))
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name, none), after.get(name, none)
        if was.rows or now.rows:
            yield name, (was, now)
