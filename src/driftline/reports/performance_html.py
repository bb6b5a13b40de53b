"""Draw how predictions match labels, for the page of a check: the confusion matrix, calibration and gain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from driftline.charts.shapes import Scale, polyline
from driftline.charts.svg import coordinate
from driftline.results.check import BothSides, CalibrationPoint, ConfusionCount
from driftline.text.numbers import figure, percent

MATRIX_CLASSES = 10
"""Up to this many classes are shown as a matrix; for more, only the most common mix-ups are."""

SIDE = 200.0
"""The width and height of a plot of [0, 1] by [0, 1]."""

_MIX_UPS = 10
_X, _Y = Scale(0.0, 1.0, 0.0, SIDE), Scale(0.0, 1.0, SIDE, 0.0)


class Cell(NamedTuple):
    """Rows with one label and one prediction: their number now, and their share of the label's rows on both sides."""

    rows: int
    share: float
    words: str
    was: str
    right: bool


class Matrix(NamedTuple):
    """A confusion matrix: labels in rows, predictions in columns."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


class MixUp(NamedTuple):
    """A label predicted as another class, with the share of all labelled rows on each side."""

    label: str
    prediction: str
    was: str
    now: str


class Plot(NamedTuple):
    """Lines in a square of `SIDE`, as the points of polylines, empty where a side has none.

    ``dots`` are the places of the current values, and ``bars`` their intervals (x, from y, to y).
    """

    words: str
    reference: str = ""
    current: str = ""
    dots: tuple[tuple[str, str, str], ...] = ()
    bars: tuple[tuple[str, str, str], ...] = ()


def matrix(confusion: Sequence[ConfusionCount]) -> Matrix | None:
    """Return the table of all pairs; None where there are none, or more than `MATRIX_CLASSES` classes."""
    names = _classes(confusion)
    if not confusion or len(names) > MATRIX_CLASSES:
        return None
    counts = {(pair.label, pair.prediction): pair for pair in confusion}
    totals = {name: _total(counts, name) for name in names}
    return Matrix(
        names,
        tuple(
            (label, tuple(_cell(counts.get((label, name)), totals[label], name == label) for name in names))
            for label in names
        ),
    )


def mix_ups(confusion: Sequence[ConfusionCount], reference: int, current: int) -> tuple[MixUp, ...]:
    """Return the most common mix-ups of many classes; empty where there is a `matrix`.

    ``reference`` and ``current`` are the numbers of labelled rows of both sides.
    """
    if len(_classes(confusion)) <= MATRIX_CLASSES:
        return ()
    wrong = [pair for pair in confusion if pair.label != pair.prediction and pair.current]
    return tuple(
        MixUp(
            pair.label,
            pair.prediction,
            percent(pair.reference / reference) if reference else "–",
            percent(pair.current / current),
        )
        for pair in sorted(wrong, key=lambda pair: -pair.current)[:_MIX_UPS]
    )


def calibration(curves: BothSides[tuple[CalibrationPoint, ...] | None] | None) -> Plot | None:
    """Draw the share of positive rows over the score, with the current shares' intervals; None without scores."""
    if curves is None or not curves.current:
        return None
    now, before = curves.current, curves.reference or ()
    before = before if len(before) > 1 else 2 * before  # a line needs two points
    farthest = max(now, key=lambda one: abs(one.share - one.score))
    return Plot(
        f"Where the score is {figure(farthest.score)}, {percent(farthest.share)} of the rows are positive "
        f"(interval {percent(farthest.low)} to {percent(farthest.high)})",
        _points((one.score, one.share) for one in before),
        _points((one.score, one.share) for one in now),
        tuple(
            (
                *_place(one.score, one.share),
                f"score {figure(one.score)}: {percent(one.share)} of {one.rows:,} rows",
            )
            for one in now
        ),
        tuple((_x(one.score), _y(one.low), _y(one.high)) for one in now),
    )


def gain(curves: BothSides[tuple[float, ...] | None] | None) -> Plot | None:
    """Draw the share of positive rows found over the share of rows with the highest scores; None without scores."""
    if curves is None or not curves.current:
        return None
    now, before = curves.current, curves.reference
    was = f", {percent(before[0])} on the reference" if before else ""
    return Plot(
        f"The tenth of rows with the highest scores has {percent(now[0])} of the positive ones{was}",
        _points(_curve(before)) if before else "",
        _points(_curve(now)),
        tuple(
            (
                *_place((at + 1) / 10, share),
                f"{at + 1} tenths of the rows: {percent(share)} of the positive ones",
            )
            for at, share in enumerate(now)
        ),
    )


def _classes(confusion: Iterable[ConfusionCount]) -> tuple[str, ...]:
    return tuple(sorted({name for pair in confusion for name in (pair.label, pair.prediction)}))


def _total(counts: Mapping[tuple[str, str], ConfusionCount], label: str) -> tuple[int, int]:
    own = [pair for (name, _), pair in counts.items() if name == label]
    return sum(pair.reference for pair in own), sum(pair.current for pair in own)


def _cell(pair: ConfusionCount | None, total: tuple[int, int], right: bool) -> Cell:
    was, now = (pair.reference, pair.current) if pair else (0, 0)
    share = now / total[1] if total[1] else 0.0
    return Cell(
        now,
        share,
        percent(share) if total[1] else "–",
        percent(was / total[0]) if total[0] else "–",
        right,
    )


def _curve(shares: Sequence[float]) -> list[tuple[float, float]]:
    return [(0.0, 0.0), *(((at + 1) / len(shares), share) for at, share in enumerate(shares))]


def _points(places: Iterable[tuple[float, float]]) -> str:
    return polyline((_X.place(x), _Y.place(y)) for x, y in places)


def _place(x: float, y: float) -> tuple[str, str]:
    return _x(x), _y(y)


def _x(x: float) -> str:
    return coordinate(_X.place(x))


def _y(y: float) -> str:
    return coordinate(_Y.place(y))
