"""Which columns differ between a reference and a current set of rows: by more than chance and by more than a
trifle.

Chapter 3 of the statistics notes. A column has *drifted* when both hold: its p-value, adjusted by Holm (1979)
over all columns, is below ``Floors.chance``, and an effect reaches its floor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import numpy.typing as npt

from driftline.errors import MergeError, UsageError
from driftline.profiles import CategoricalColumn, Column, CompositeColumn, NumericColumn
from driftline.profiles.parts import TIME_PART
from driftline.sketches import Grid
from driftline.sketches.moments import LARGEST
from driftline.statistics.distances import (
    CAP_SPREADS,
    DISTANCES,
    TESTS,
    Pair,
    at_ranks,
    pair,
    spread_of,
    spreads_of,
)

_STRUCTURAL_SEVERITY = 1e6
_IDENTIFIER_SHARE = 0.9
_CHANGES_SHOWN = 4
_CHANGE_LEAST = 0.01
_SPREAD_RATIO = 1.1
_MEAN_ERRORS = 2.0
FAR_WORDS = "values from"
"""How the change of a column that has values very far out begins."""
_DAYS_NEEDED = {"weekday": 27.0, "hour of day": 2.0}
_NO_PARTS = {"datetime": "spans too few days to compare weekdays and hours; that time goes on is no drift"}


@dataclass(frozen=True, slots=True)
class Floors:
    """What is a trifle and what is chance.

    ``js`` distance in [0, 1]; ``wasserstein`` in spreads of the reference; ``missing`` as a change of share
    (0.05 are 5 points) by at least ``missing_factor``; ``unseen`` as a share of the current rows; ``chance``
    is the adjusted p-value below which a difference is no chance; columns with fewer than ``rows`` rows are
    not judged.
    """

    js: float = 0.10
    wasserstein: float = 0.10
    missing: float = 0.05
    missing_factor: float = 2.0
    unseen: float = 0.01
    chance: float = 0.01
    rows: int = 30

    def __post_init__(self) -> None:
        """Refuse what no value can reach, or any: a floor of 0, NaN or infinity."""
        for floor, value in asdict(self).items():
            if not 0 < value < math.inf:
                raise UsageError(f"the floor {floor}={value} came; allowed are finite numbers above 0")


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How one column differs from its reference.

    ``measure`` names the distance that speaks (``wasserstein``, ``js``, ``missing``, ``unseen``), ``value``
    is what it came to and ``threshold`` its floor; both None where nothing could be measured, and then
    ``problem`` says why. A column that is gone or changed its kind has a problem *and* has drifted.
    ``p_value`` is adjusted over all columns; ``p_values`` are those of each test alone. ``reason`` says in words
    which condition decided, ``changes`` what changed. ``out_of_range`` is the share of current numbers outside the
    reference's range, None for others. ``part`` names the part of a datetime, text or embedding that speaks.
    Shares are 0 to 1, of all rows.
    """

    column: str
    kind: str
    measure: str = ""
    value: float | None = None
    threshold: float | None = None
    drifted: bool = False
    p_value: float | None = None
    problem: str = ""
    reason: str = ""
    missing_reference: float | None = None
    missing_current: float | None = None
    rows_reference: int = 0
    rows_current: int = 0
    unseen: float = 0.0
    distances: Mapping[str, float | None] = field(default_factory=dict)
    p_values: Mapping[str, float | None] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    out_of_range: float | None = None
    part: str = ""

    @property
    def severity(self) -> float:
        """Value over threshold; very large for a column that is gone or changed its kind, 0 where nothing
        speaks.
        """
        if self.value is None or not self.threshold:
            return _STRUCTURAL_SEVERITY if self.drifted else 0.0
        return self.value / self.threshold


def worst_first(drifts: Iterable[ColumnDrift]) -> list[ColumnDrift]:
    """Drifted columns first, each part by falling severity, then by name."""
    return sorted(drifts, key=lambda drift: (not drift.drifted, -drift.severity, drift.column))


def compare_columns(
    reference: Mapping[str, Column], current: Mapping[str, Column], floors: Floors | None = None
) -> dict[str, ColumnDrift]:
    """Compare the columns of two profiles, in order of the reference, then new ones; nothing is ever raised
    or NaN.
    """
    floors = floors or Floors()
    found = {name: _compare(name, column, current.get(name), floors) for name, column in reference.items()}
    for name, column in current.items():
        if name not in reference:
            found[name] = replace(
                _blank(name, None, column),
                problem="is not in the reference, so there is nothing to compare with",
            )
    adjusted = _holm({name: drift.p_value for name, drift in found.items() if drift.p_value is not None})
    return {
        name: _judged(drift, adjusted[name], len(adjusted), floors) if name in adjusted else drift
        for name, drift in found.items()
    }


def _compare(name: str, reference: Column, current: Column | None, floors: Floors) -> ColumnDrift:
    """Measure one column; the p-value is its own, and the verdict is open."""
    blank = _blank(name, reference, current)
    if current is None:
        problem = "is gone: the reference has this column, the current rows do not"
        return replace(blank, drifted=True, problem=problem, reason=problem)
    if type(current) is not type(reference):
        problem = f"changed its kind: {_kind(reference)} in the reference, {_kind(current)} now"
        return replace(blank, drifted=True, problem=problem, reason=problem)
    for side, rows in (("reference", reference.rows), ("current", current.rows)):
        if rows < floors.rows:
            some = f"{rows} {'row' if rows == 1 else 'rows'}"
            problem = f"{some} in the {side} data; at least {floors.rows} are needed to judge"
            return replace(blank, problem=problem)
    if isinstance(reference, CompositeColumn) and isinstance(current, CompositeColumn):
        return _compare_parts(blank, reference, current, floors)
    if _is_identifier(reference):
        return replace(blank, problem="nearly every value is another text: an identifier or free text is not compared")
    try:
        both = pair(reference, current)
    except MergeError as error:
        return replace(blank, problem=str(error))
    p_values = {test: function(both) for test, function in TESTS.items()}
    chances = [p for p in p_values.values() if p is not None]
    measured = replace(
        blank,
        p_value=min(min(chances) * len(chances), 1.0) if chances else None,
        unseen=both.unseen,
        out_of_range=_out_of_range(reference, current),
        distances={distance: function(both) for distance, function in DISTANCES.items()},
        p_values=p_values,
        changes=_changes(reference, current, both),
    )
    measure, value, threshold = _speaker(measured, floors)
    return replace(measured, measure=measure, value=value, threshold=threshold)


def _compare_parts(
    blank: ColumnDrift, reference: CompositeColumn, current: CompositeColumn, floors: Floors
) -> ColumnDrift:
    """The part that speaks for a column: of those that chance does not explain the worst, else the likeliest."""
    parts = {
        name: _compare(name, reference.parts[name], current.parts[name], floors)
        for name in _comparable_parts(reference, current)
    }
    judged = {name: drift for name, drift in parts.items() if drift.value is not None and drift.p_value is not None}
    if not judged:
        problems = sorted({drift.problem for drift in parts.values() if drift.problem})
        return replace(blank, problem=problems[0] if problems else _NO_PARTS.get(blank.kind, "has no parts to compare"))
    chances = {name: min((drift.p_value or 0.0) * len(judged), 1.0) for name, drift in judged.items()}
    real = [name for name in judged if chances[name] < floors.chance]
    speaker = max(real or judged, key=lambda name: (judged[name].severity if real else -chances[name], name))
    told = [name for name in sorted(real, key=lambda name: -judged[name].severity) if judged[name].changes]
    return replace(
        judged[speaker],
        column=blank.column,
        kind=blank.kind,
        part=speaker,
        p_value=chances[speaker],
        missing_reference=blank.missing_reference,
        missing_current=blank.missing_current,
        rows_reference=blank.rows_reference,
        rows_current=blank.rows_current,
        changes=tuple(f"{name}: {', '.join(judged[name].changes)}" for name in told[:_CHANGES_SHOWN]),
    )


def _comparable_parts(reference: CompositeColumn, current: CompositeColumn) -> list[str]:
    """The parts of both. Time itself goes on; and in less than some weeks of it, not all weekdays have come by."""
    days = min(_days(reference), _days(current))
    return [
        name
        for name in reference.parts
        if name in current.parts and name != TIME_PART and days >= _DAYS_NEEDED.get(name, 0.0)
    ]


def _days(column: CompositeColumn) -> float:
    """The days that a datetime column spans; without end for times of day and other columns."""
    time = column.parts.get(TIME_PART)
    if not isinstance(time, NumericColumn):
        return math.inf
    return (time.largest - time.smallest) / 86_400 if time.smallest is not None and time.largest is not None else 0.0


def _blank(name: str, reference: Column | None, current: Column | None) -> ColumnDrift:
    there = reference if reference is not None else current
    assert there is not None
    return ColumnDrift(
        name,
        _kind(there),
        missing_reference=_missing(reference),
        missing_current=_missing(current),
        rows_reference=reference.rows if reference is not None else 0,
        rows_current=current.rows if current is not None else 0,
    )


def _kind(column: Column) -> str:
    if isinstance(column, CompositeColumn):
        return column.kind
    return "numeric" if isinstance(column, NumericColumn) else "categorical"


def _missing(column: Column | None) -> float | None:
    return column.absent / column.rows if column is not None and column.rows else None


def _is_identifier(column: Column) -> bool:
    if not isinstance(column, CategoricalColumn):
        return False
    return column.categories.distinct()[0] > _IDENTIFIER_SHARE * max(column.categories.count, 1)


def _out_of_range(reference: Column, current: Column) -> float | None:
    """The share of current numbers beyond the reference's smallest and largest, to within their two cells."""
    if not (isinstance(reference, NumericColumn) and isinstance(current, NumericColumn) and current.rows):
        return None
    if reference.smallest is None or reference.largest is None:
        return None
    sketch, ends = current.sketch, np.array([reference.smallest, reference.largest])
    low, high = sketch.grid.cells_of(ends).tolist()
    beyond = int(sketch.counts[(sketch.cells < low) | (sketch.cells > high)].sum())
    return (beyond + current.positive_infinite + current.negative_infinite) / current.rows


def _speaker(drift: ColumnDrift, floors: Floors) -> tuple[str, float | None, float | None]:
    """The measure that speaks for a column: its own one, unless only another one reaches its floor."""
    before, after = drift.missing_reference or 0.0, drift.missing_current or 0.0
    factor = max(before, after) >= floors.missing_factor * min(before, after)
    candidates = [
        ("wasserstein", drift.distances["wasserstein"], floors.wasserstein),
        ("js", drift.distances["js"], floors.js),
        ("missing", abs(after - before) if factor else None, floors.missing),
        ("unseen", drift.unseen, floors.unseen),
    ]
    there = [(name, value, floor) for name, value, floor in candidates if value is not None]
    if not there or drift.distances["js"] is None:
        return "js", None, floors.js
    name, value, floor = there[0]
    if value >= floor:
        return name, value, floor
    name, value, floor = max(there[1:], key=lambda item: item[1] / item[2], default=there[0])
    return (name, value, floor) if value >= floor else there[0]


def _judged(drift: ColumnDrift, p_value: float, columns: int, floors: Floors) -> ColumnDrift:
    if drift.value is None or drift.threshold is None:
        return replace(drift, p_value=p_value)
    chance, trifle = p_value >= floors.chance, drift.value < drift.threshold
    value, floor = _told_apart(drift.value, drift.threshold)
    size = _MEASURE_WORDS[drift.measure].format(value)
    odds = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"
    over = f" over {columns} columns" if columns > 1 else ""
    if chance and trifle:
        reason = f"{size} is below {floor}, and chance explains it ({odds}{over})"
    elif chance:
        reason = f"{size} is at or above {floor}, but chance explains it ({odds}{over})"
    elif trifle:
        reason = f"not chance ({odds}{over}), but a trifle: {size} is below {floor}"
    else:
        reason = f"{size} is at or above {floor}, and it is not chance ({odds}{over})"
    return replace(drift, p_value=p_value, drifted=not (chance or trifle), reason=reason)


def _told_apart(value: float, floor: float) -> tuple[str, str]:
    """A value and its floor with two decimals, or as many more as tell them apart.

    >>> _told_apart(0.5, 0.1), _told_apart(0.0996, 0.1), _told_apart(0.1, 0.1)
    (('0.50', '0.10'), ('0.0996', '0.1000'), ('0.10', '0.10'))
    """
    digits = next((digits for digits in range(2, 16) if f"{value:.{digits}f}" != f"{floor:.{digits}f}"), 2)
    return f"{value:.{digits}f}", f"{floor:.{digits}f}"


_MEASURE_WORDS = {
    "wasserstein": "a shift of {} spreads",
    "js": "a Jensen-Shannon distance of {}",
    "missing": "a change of the missing share by {}",
    "unseen": "a share of {} in new categories",
}


def _holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's (1979) step-down adjustment: no more than `chance` of a false finding among all columns
    together.
    """
    adjusted: dict[str, float] = {}
    least = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        least = max(least, min(p_values[name] * (len(p_values) - rank), 1.0))
        adjusted[name] = least
    return adjusted


# ---- in words ----------------------------------------------------------------------------------------------


def _changes(reference: Column, current: Column, both: Pair) -> tuple[str, ...]:
    words: list[str] = []
    before, after = ((side.absent - _infinite(side)) / max(side.rows, 1) for side in (reference, current))
    if abs(after - before) >= _CHANGE_LEAST:
        words.append(f"missing {percent(before)} → {percent(after)}")
    if isinstance(reference, NumericColumn) and isinstance(current, NumericColumn):
        words += _number_changes(reference, current, both)
        outside = _out_of_range(reference, current) or 0.0
        if outside >= _CHANGE_LEAST and not words:
            words.append(
                f"{percent(outside)} outside {number(reference.smallest or 0)} to {number(reference.largest or 0)}"
            )
        words = words or _stretch_changes(reference, current)
    elif isinstance(reference, CategoricalColumn) and isinstance(current, CategoricalColumn):
        words += _category_changes(reference, current, both.unseen)
    return tuple(words)


def _infinite(column: Column) -> int:
    return column.positive_infinite + column.negative_infinite if isinstance(column, NumericColumn) else 0


def _stretch_changes(reference: NumericColumn, current: NumericColumn) -> list[str]:
    """Where the shape changed most: of the stretches between the reference's deciles the one whose share did."""
    if not (reference.sketch.count and current.sketch.count):
        return []
    places = sorted({*at_ranks(reference.sketch, *(tenth / 10 for tenth in range(1, 10))).tolist()})
    ends = reference.sketch.cells[places]
    was, became = (np.diff(side.sketch.share_up_to(ends), append=1.0) for side in (reference, current))
    at = int(np.argmax(np.abs(became - was)))
    if abs(became[at] - was[at]) < _CHANGE_LEAST:
        return []
    return [f"{_stretch(reference, current, ends, at)}: {percent(was[at])} → {percent(became[at])}"]


def _stretch(reference: NumericColumn, current: NumericColumn, ends: npt.NDArray[np.uint16], at: int) -> str:
    """The values of one of the stretches that end with these cells, the last of them without an end."""
    cells = np.union1d(reference.sketch.cells, current.sketch.cells)
    first = cells[np.searchsorted(cells, ends[at - 1 : at], side="right")]
    spread = spread_of(reference)
    names = [_digits(edge, spread) for edge in _inner_edges(reference.sketch.grid, np.append(first, ends)).tolist()]
    if at == 0:
        return f"up to {names[0]}"
    if at == len(ends):
        return f"above {names[-1]}"
    return f"at {names[0]}" if first[0] == ends[at] else f"{names[0]} to {names[1 + at]}"


def _category_changes(reference: CategoricalColumn, current: CategoricalColumn, unseen: float) -> list[str]:
    if not (reference.categories.count and current.categories.count):
        return []
    mine, theirs = reference.categories, current.categories
    names = sorted(mine.counts.keys() | theirs.counts.keys())
    shares = sorted(((mine.share(name), theirs.share(name), name) for name in names), key=lambda s: -abs(s[1] - s[0]))
    shown = [share for share in shares[:_CHANGES_SHOWN] if abs(share[1] - share[0]) >= _CHANGE_LEAST]
    words = []
    for before, after, name in shown:
        mark = " (new)" if not before else " (gone)" if not after else ""
        words.append(f"{name} {percent(before)} → {percent(after)}{mark}")
    if unseen - sum(after for before, after, _ in shown if not before) >= _CHANGE_LEAST:
        words.append(f"{percent(unseen)} in new categories")
    return words


def _number_changes(reference: NumericColumn, current: NumericColumn, both: Pair) -> list[str]:
    words: list[str] = []
    infinite = [_infinite(column) / max(column.rows, 1) for column in (reference, current)]
    if abs(infinite[1] - infinite[0]) >= _CHANGE_LEAST / 10:
        words.append(f"infinite {percent(infinite[0])} → {percent(infinite[1])}")
    if not (reference.sketch.count and current.sketch.count):
        return words
    spread, wide = spread_of(reference), spread_of(current)
    before, after = _median(reference), _median(current)
    moved = abs(after - before) > 0.05 * spread if spread else after != before
    was, became = reference.mean or 0.0, current.mean or 0.0
    if moved and before != after:
        words.append(f"median {_digits(before, after - before)} → {_digits(after, after - before)}")
    elif spread and abs(became - was) > 0.05 * spread and _is_mean(became - was, reference, current):
        words.append(f"mean {_digits(was, became - was)} → {_digits(became, became - was)}")
    one, other = spreads_of(reference, current)
    if spread and wide and one and other and not 1 / _SPREAD_RATIO <= other / one <= _SPREAD_RATIO:
        words.append(f"spread {number(one)} → {number(other)}")
    elif bool(spread) != bool(wide):
        words.append(f"now constant at {number(after)}" if spread else f"was constant at {number(before)}")
    if both.capped and _far(current, reference, spread) and current.largest is not None:
        ends = (current.smallest, current.largest, reference.smallest, reference.largest)
        words.append(FAR_WORDS + " {} to {}, before {} to {}".format(*(number(end or 0.0) for end in ends)))
    return words


def _is_mean(change: float, reference: NumericColumn, current: NumericColumn) -> bool:
    """Whether a change of the mean is one of all values, and not made by a few or by capped ones."""
    return abs(change) > _MEAN_ERRORS * _error(reference, current) and _has_mean(reference) and _has_mean(current)


def _has_mean(column: NumericColumn) -> bool:
    """Whether no value is so far out that the sums take it as a smaller one."""
    assert column.smallest is not None
    assert column.largest is not None
    centre = column.sketch.grid.centre
    return max(abs(column.smallest / 2 - centre / 2), abs(column.largest / 2 - centre / 2)) < LARGEST / 2


def _digits(value: float, change: float) -> str:
    """A number for people, with the digits that show a change.

    >>> _digits(0.512, 0.3), _digits(1013.25, 0.0421), _digits(1e9, 0.3)
    ('0.512', '1,013.250', '1,000,000,000.00')
    """
    if not (abs(value) < 1e15 and 0 < abs(change) < 1e-3 * abs(value)):
        return number(value)
    digits = 0 if abs(change) >= 1 else min(1 - math.floor(math.log10(abs(change))), 15)
    return f"{value:,.{digits}f}"


def _error(one: NumericColumn, other: NumericColumn) -> float:
    """The standard error of the difference of the means: large where a few values far out make these."""
    return math.hypot(*((side.sd or 0.0) / math.sqrt(max(side.sketch.count, 1)) for side in (one, other)))


def _far(current: NumericColumn, reference: NumericColumn, spread: float) -> bool:
    """Whether current values lie beyond the cap and beyond everything in the reference."""
    assert current.smallest is not None
    assert current.largest is not None
    assert reference.smallest is not None
    assert reference.largest is not None
    middle = _median(reference)
    high = max(reference.largest, middle + CAP_SPREADS * spread)
    low = min(reference.smallest, middle - CAP_SPREADS * spread)
    return current.largest > high or current.smallest < low


def _median(column: NumericColumn) -> float:
    """The median by the edge of its cell."""
    sketch = column.sketch
    assert column.smallest is not None
    assert column.largest is not None
    at = int(np.searchsorted(np.cumsum(sketch.counts), sketch.count / 2))
    edge = float(_inner_edges(sketch.grid, sketch.cells[at : at + 1])[0])
    return min(max(edge, column.smallest), column.largest)


def _inner_edges(grid: Grid, cells: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """The edge of each cell nearer to the grid's centre: exact for whole numbers on the plain grid."""
    plain = Grid()
    edges = np.maximum(plain.lower_edges(cells), 0.0) + np.minimum(plain.upper_edges(cells), 0.0)
    with np.errstate(over="ignore"):
        return np.nan_to_num(edges * grid.scale + grid.centre)  # the largest float in place of infinity


def percent(share: float) -> str:
    """A share in words.

    >>> percent(0), percent(0.0004), percent(0.031), percent(0.524), percent(0.9996), percent(1)
    ('0 %', '<0.1 %', '3.1 %', '52 %', '99.9 %', '100 %')
    """
    if share <= 0 or share >= 1:
        return "0 %" if share <= 0 else "100 %"
    if share < 0.001:
        return "<0.1 %"
    if share >= 0.995:
        return f"{min(share * 100, 99.9):.1f} %"
    return f"{share * 100:.1f} %" if share < 0.0995 else f"{share * 100:.0f} %"


def number(value: float) -> str:
    """A number for people, to about three digits.

    >>> number(4.05), number(-0.000123456), number(31536000.0), number(0.0), number(2e300)
    ('4.05', '-0.000123', '31,536,000', '0', '2e+300')
    """
    if 999.5 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.3g}"
