"""Say of each segment how a measure changed, whether it became worse, and what it adds to the change of all rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from driftline.events import Task
from driftline.profiles import Performance, Regression
from driftline.profiles.naive import NO_REFERENCE, Naive
from driftline.statistics.catalogue import CATALOGUE
from driftline.statistics.intervals import difference
from driftline.statistics.measure import Measure
from driftline.statistics.performance import measures
from driftline.statistics.split import MEANS, NO_SEGMENT, Part, Split, row_mean, split_change, split_problem
from driftline.statistics.worse import Fall, Pair, falls_among

State = Literal["worse", "no worse", "not judged"]


class Side(msgspec.Struct, frozen=True):
    """A measure of a segment's rows on one side; ``value`` is None with the reason in ``problem``.

    ``share`` is the segment's share of the labelled rows, 0 to 1; ``low`` and ``high`` are the 95 % interval.
    """

    rows: int
    share: float | None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    problem: str = ""


class SegmentChange(msgspec.Struct, frozen=True):
    """A segment, before and now. ``change`` is current less reference, with its 95 % interval.

    ``mix`` and ``within`` are what it adds to the change of all rows; None where the measure has no split. ``state``
    says whether it became worse, ``reason`` why that could not be judged.
    """

    value: str
    reference: Side
    current: Side
    change: float | None
    change_low: float | None
    change_high: float | None
    mix: float | None
    within: float | None
    state: State
    reason: str = ""

    @property
    def contribution(self) -> float | None:
        """What it adds to the change of all rows: mix and within."""
        return None if self.mix is None or self.within is None else self.mix + self.within


class ColumnChange(msgspec.Struct, frozen=True):
    """The change of a measure over all rows, split by the segments of a ``column``.

    ``mix`` and ``within`` add up to ``change``; they are None where ``problem`` says that there is no split.
    ``segments`` are those that became worse first, then those that add most to the change.
    """

    column: str
    measure: str
    reference: float | None
    current: float | None
    change: float | None
    mix: float | None
    within: float | None
    segments: tuple[SegmentChange, ...]
    problem: str = ""


def segment_changes(
    measure: str,
    columns: Mapping[str, Mapping[str, Pair]],
    whole: Pair,
    *,
    least_rows: int,
    positive: str | None = None,
    naive: Naive = NO_REFERENCE,
) -> tuple[ColumnChange, ...]:
    """Compare the segments of each column with the reference's by one measure.

    ``whole`` are all rows on both sides. Whether a segment is worse is decided over the segments of all columns
    together (`falls_among`); a measure of fewer than ``least_rows`` rows is no number, but says so.
    """
    parts = {(column, value): pair for column, values in columns.items() for value, pair in values.items()}
    worse = falls_among(parts, least_rows=least_rows, names=[measure], positive=positive, naive=naive)
    asked = _Asked(measure, least_rows, positive, naive)
    return tuple(_column(asked, column, values, whole, worse) for column, values in columns.items())


class _Asked(msgspec.Struct, frozen=True):
    measure: str
    least_rows: int
    positive: str | None
    naive: Naive

    def of(self, performance: Performance | None) -> Measure:
        """Return the measure of some rows, at 95 %."""
        found = measures(performance, positive=self.positive, names=[self.measure], naive=self.naive)
        return found.get(self.measure, Measure(self.measure, problem="no labelled rows"))


def _column(
    asked: _Asked,
    column: str,
    values: Mapping[str, Pair],
    whole: Pair,
    worse: Mapping[tuple[str, str], list[Fall]],
) -> ColumnChange:
    split = _split(asked.measure, values, whole)
    was, now = (asked.of(side).value for side in whole)
    if split is not None:  # of the rows that the measure is a mean of, without rounding on the way
        was, now = split.reference, split.current
    found = [
        _segment(
            asked, value, pair, split.parts.get(value) if split is not None else None, whole, (column, value) in worse
        )
        for value, pair in values.items()
    ]
    if split is not None and NO_SEGMENT in split.parts and NO_SEGMENT not in values:
        found.append(_rest(split.parts[NO_SEGMENT]))
    change = now - was if was is not None and now is not None else None
    return ColumnChange(
        column,
        asked.measure,
        was,
        now,
        split.change if split is not None else change,
        split.mix if split is not None else None,
        split.within if split is not None else None,
        tuple(sorted(found, key=lambda one: (one.state != "worse", -abs(one.contribution or 0.0), one.value))),
        split_problem(asked.measure, _splittable(whole))
        or ("" if split is not None else "one side has no labelled rows"),
    )


def _splittable(whole: Pair) -> list[str]:
    """Return the measures of such a model whose changes have a split."""
    tasks = {Task.REGRESSION} if isinstance(whole[1], Regression) else {Task.BINARY, Task.MULTICLASS}
    return [name for name in MEANS if tasks & {*CATALOGUE[name].tasks}]


def _split(measure: str, values: Mapping[str, Pair], whole: Pair) -> Split | None:
    if measure not in MEANS:
        return None
    before, after = ({value: row_mean(measure, pair[side]) for value, pair in values.items()} for side in (0, 1))
    return split_change(before, after, (row_mean(measure, whole[0]), row_mean(measure, whole[1])))


def _segment(asked: _Asked, value: str, pair: Pair, part: Part | None, whole: Pair, worse: bool) -> SegmentChange:
    rows, of = ([0 if side is None else side.count for side in both] for both in (pair, whole))
    shares = [n / all_rows if all_rows else None for n, all_rows in zip(rows, of, strict=True)]
    if part is not None:  # of the rows that the measure is a mean of
        shares = [part.share_reference, part.share]
    reference, current = (_side(asked, side, n, share) for side, n, share in zip(pair, rows, shares, strict=True))
    low = high = change = None
    ends = [(one.value, one.low, one.high) for one in (current, reference)]
    if reference.value is not None and current.value is not None:
        change = current.value - reference.value
    if all(None not in three for three in ends):
        low, high = difference(*((v or 0.0, a or 0.0, b or 0.0) for v, a, b in ends))
    return SegmentChange(
        value,
        reference,
        current,
        change,
        low,
        high,
        None if part is None else part.mix,
        None if part is None else part.within,
        "worse" if worse else "not judged" if (reason := _unjudged(asked, rows, reference, current)) else "no worse",
        "" if worse else reason,
    )


def _unjudged(asked: _Asked, rows: list[int], reference: Side, current: Side) -> str:
    """Say why it cannot be told whether a segment became worse; empty where it can."""
    if CATALOGUE[asked.measure].better is None:
        return f"neither more nor less of {asked.measure} is better"
    for name, n in (("the reference has", rows[0]), ("now there are", rows[1])):
        if n < asked.least_rows:
            return f"too few rows: {name} {n}, where at least {asked.least_rows} are needed"
    return reference.problem or current.problem


def _side(asked: _Asked, performance: Performance | None, rows: int, share: float | None) -> Side:
    if rows < asked.least_rows:
        return Side(rows, share, problem=f"too few rows: {rows}" if rows else "no labelled rows")
    one = asked.of(performance)
    return Side(rows, share, one.value, one.low, one.high, one.problem)


def _rest(part: Part) -> SegmentChange:
    reason = "these rows are of no segment"
    before = Side(part.rows_reference, part.share_reference, part.mean_reference)
    now = Side(part.rows, part.share, part.mean)
    return SegmentChange(NO_SEGMENT, before, now, None, None, None, part.mix, part.within, "not judged", reason)
