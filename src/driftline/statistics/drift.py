"""Decide which columns have drifted: those whose difference is significant and large enough to matter.

A column has *drifted* when both hold: its p-value, adjusted by Holm (1979) over all columns, is below the significance
level ``EffectThresholds.chance``, and an effect reaches its minimum size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
from msgspec.structs import asdict, replace

from driftline.errors import MergeError, UsageError
from driftline.profiles import CategoricalColumn, Column, CompositeColumn, NumericColumn
from driftline.profiles.parts import LENGTH, TIME_PART, VOCABULARY, WORDS_LIMIT
from driftline.statistics.changes import changes_of
from driftline.statistics.distances import (
    DISTANCES,
    jensen_shannon,
    pair,
    without_missing,
)
from driftline.statistics.significance import conclusion, holm
from driftline.statistics.significance_tests import TESTS
from driftline.text.numbers import effects

_STRUCTURAL_SEVERITY = 1e6
_IDENTIFIER_SHARE = 0.9
_PARTS_SHOWN = 4
_DAYS_NEEDED = {"weekday": 27.0, "hour of day": 2.0}
_NO_PARTS = {"datetime": "spans too few days to compare weekdays and hours; that time goes on is no drift"}


class EffectThresholds(msgspec.Struct, frozen=True):
    """The minimum effect sizes and the significance level: a difference that falls short of either is no drift.

    ``js`` is a distance in [0, 1], ``wasserstein`` is in robust standard deviations of the reference, ``missing`` is a
    rise of the share of missing values (0.05 is 5 points) that also multiplies its odds by at least ``missing_factor``,
    and ``unseen`` is a share of the current rows. ``chance`` is the significance level that adjusted p-values are
    compared with. Columns with fewer than ``rows`` rows are not judged.
    """

    js: float = 0.10
    wasserstein: float = 0.10
    missing: float = 0.05
    missing_factor: float = 2.0
    unseen: float = 0.01
    chance: float = 0.01
    rows: int = 30

    def __post_init__(self) -> None:
        """Refuse a floor that every value or none reaches: 0 or less, NaN and infinity."""
        for floor, value in asdict(self).items():
            if not 0 < value < math.inf:
                raise UsageError(f"the floor {floor}={value} came; allowed are finite numbers above 0")


class ColumnDrift(msgspec.Struct, frozen=True):
    """How one column differs from its reference.

    ``measure`` names the distance that the verdict rests on (``wasserstein``, ``js``, ``missing``, ``unseen``),
    ``value`` is its value and ``threshold`` its minimum effect size; both are None where nothing could be measured, and
    then ``problem`` says why. A column that is gone or changed its kind has a problem *and* has drifted. ``p_value`` is
    adjusted over all columns; ``p_values`` are the unadjusted ones of each test. ``reason`` says in words which
    condition decided, ``changes`` what changed. ``out_of_range`` is the share of current numbers outside the
    reference's range, None for columns that are not numeric. ``more_missing`` says whether the share of missing values
    rose significantly and by the minimum effect, whatever ``measure`` is; a fall is no drift. ``part`` names the part
    of a datetime, text or embedding that ``measure`` is about. Shares are 0 to 1, of all rows.
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
    distances: Mapping[str, float | None] = {}
    p_values: Mapping[str, float | None] = {}
    changes: tuple[str, ...] = ()
    out_of_range: float | None = None
    part: str = ""
    more_missing: bool = False

    @property
    def is_lost(self) -> bool:
        """Whether the column is gone, lost all its values or changed its kind, so that nothing else can be compared."""
        return self.drifted and (self.value is None or self.missing_current == 1.0)

    @property
    def severity(self) -> float:
        """The effect in units of the minimum one, see `severity_of`."""
        return severity_of(self.value, self.threshold, drifted=self.drifted, missing=self.missing_current)


def severity_of(value: float | None, threshold: float | None, *, drifted: bool, missing: float | None) -> float:
    """Return the effect of a column in units of the minimum one, 0 or more; 0 if nothing was measured.

    It is very large for a drifted column that is gone, changed its kind or lost all its values (``missing``, the share
    of current rows without a value, is 1).

    >>> severity_of(50.0, 0.1, drifted=True, missing=0.0), severity_of(None, None, drifted=False, missing=None)
    (500.0, 0.0)
    """
    if drifted and (value is None or not threshold or missing == 1.0):
        return _STRUCTURAL_SEVERITY
    return value / threshold if value is not None and threshold else 0.0


def worst_first(drifts: Iterable[ColumnDrift]) -> list[ColumnDrift]:
    """Sort columns: drifted ones first, then by falling severity, then by name."""
    return sorted(drifts, key=lambda drift: (not drift.drifted, -drift.severity, drift.column))


def compare_columns(
    reference: Mapping[str, Column], current: Mapping[str, Column], floors: EffectThresholds | None = None
) -> dict[str, ColumnDrift]:
    """Compare the columns of two profiles, in the reference's order, then new ones; never raises, never gives NaN."""
    floors = floors or EffectThresholds()
    found = {name: _compare(name, column, current.get(name), floors) for name, column in reference.items()}
    for name, column in current.items():
        if name not in reference:
            found[name] = replace(
                _blank(name, None, column),
                problem="is not in the reference, so there is nothing to compare with",
            )
    tested = {name: drift.p_value for name, drift in found.items() if drift.p_value is not None}
    adjusted = dict(zip(tested, holm([*tested.values()]).tolist(), strict=True))
    return {
        name: _judged(drift, adjusted[name], len(adjusted), floors) if name in adjusted else drift
        for name, drift in found.items()
    }


def _compare(
    name: str,
    reference: Column,
    current: Column | None,
    floors: EffectThresholds,
    together: float = 1.0,
) -> ColumnDrift:
    """Measure one column. Its p-value is not adjusted yet, and it is not decided whether it drifted.

    ``together`` is how many values come from one row.
    """
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
        both = replace(pair(reference, current), together=together)
    except MergeError as error:
        return replace(blank, problem=str(error))
    out_of_range = _out_of_range(reference, current)
    p_values = {test: function(both) for test, function in TESTS.items()}
    chances = {test: p for test, p in p_values.items() if p is not None}
    told = _more_missing(blank, floors) is not None  # else that test only counts towards the adjustment
    least = min((p for test, p in chances.items() if told or test != "missing"), default=1.0)
    measured = replace(
        blank,
        p_value=min(least * len(chances), 1.0) if chances else None,
        unseen=both.unseen,
        out_of_range=out_of_range,
        distances={distance: function(both) for distance, function in DISTANCES.items()},
        p_values=p_values,
        changes=changes_of(reference, current, both, out_of_range),
    )
    if not both.reference_cells.sum():
        return replace(measured, problem="no row of the reference has a value, so there is nothing to compare with")
    measure, value, threshold = _speaker(measured, jensen_shannon(without_missing(both)), floors)
    return replace(measured, measure=measure, value=value, threshold=threshold)


def _compare_parts(
    blank: ColumnDrift, reference: CompositeColumn, current: CompositeColumn, floors: EffectThresholds
) -> ColumnDrift:
    """Compare the parts of a column; the result is the worst significant part, else the one with the least p-value."""
    parts = {
        name: _compare(name, reference.parts[name], current.parts[name], floors, _together(name, reference, current))
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
        changes=tuple(f"{name}: {', '.join(judged[name].changes)}" for name in told[:_PARTS_SHOWN]),
    )


def _together(name: str, *sides: CompositeColumn) -> float:
    """How many values of a part come from one row, as the self-weighted mean: a text has many words.

    How much texts differ in their number of words is estimated from their lengths.
    """
    return max(map(_words_together, sides)) if name == VOCABULARY else 1.0


def _words_together(column: CompositeColumn) -> float:
    words, length = column.parts.get(VOCABULARY), column.parts.get(LENGTH)
    texts = column.rows - column.missing
    if not (isinstance(words, CategoricalColumn) and isinstance(length, NumericColumn) and texts):
        return 1.0
    unequal = ((length.sd or 0.0) / length.mean) ** 2 if length.mean else 0.0
    return float(min(max(words.rows / texts * (1 + unequal), 1.0), WORDS_LIMIT))


def _comparable_parts(reference: CompositeColumn, current: CompositeColumn) -> list[str]:
    """The parts that both have and that can be compared: not time itself, which goes on, and weekdays only where there
    are enough weeks of them.
    """
    days = min(_days(reference), _days(current))
    return [
        name
        for name in reference.parts
        if name in current.parts and name != TIME_PART and days >= _DAYS_NEEDED.get(name, 0.0)
    ]


def _days(column: CompositeColumn) -> float:
    """The days that a datetime column spans; infinite for times of day and other columns."""
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
    """The share of current numbers below the reference's smallest or above its largest, to within a cell."""
    if not (isinstance(reference, NumericColumn) and isinstance(current, NumericColumn) and current.rows):
        return None
    if reference.smallest is None or reference.largest is None:
        return None
    sketch, ends = current.sketch, np.array([reference.smallest, reference.largest])
    low, high = sketch.grid.cells_of(ends).tolist()
    beyond = int(sketch.counts[(sketch.cells < low) | (sketch.cells > high)].sum())
    return (beyond + current.positive_infinite + current.negative_infinite) / current.rows


def _speaker(
    drift: ColumnDrift, js_of_values: float | None, floors: EffectThresholds
) -> tuple[str, float | None, float | None]:
    """The measure that the verdict on a column rests on, with its value and floor: the main one of its kind, unless
    only another one reaches its floor.

    The Jensen-Shannon distance counts missing values as a category; it only counts as far as the values themselves
    differ.
    """
    js = drift.distances["js"]
    if js is None:
        return "js", None, floors.js
    if js_of_values is None or js_of_values < floors.js:
        js = min(js, js_of_values or 0.0)
    candidates = [
        ("wasserstein", drift.distances["wasserstein"], floors.wasserstein),
        ("js", js, floors.js),
        ("unseen", drift.unseen, floors.unseen),
    ]
    there = [(name, value, floor) for name, value, floor in candidates if value is not None]
    name, value, floor = there[0]
    if value < floor:
        name, value, floor = max(there[1:], key=lambda item: item[1] / item[2], default=there[0])
        if value < floor:
            name, value, floor = there[0]
    missing = _more_missing(drift, floors)
    if missing is not None and (value < floor or drift.missing_current == 1.0 or _likeliest(drift) == "missing"):
        return "missing", *missing
    return name, value, floor


def _more_missing(drift: ColumnDrift, floors: EffectThresholds) -> tuple[float, float] | None:
    return more_missing(drift.missing_reference or 0.0, drift.missing_current or 0.0, floors)


def more_missing(before: float, after: float, floors: EffectThresholds) -> tuple[float, float] | None:
    """Return by how much the share of missing values rose, and the minimum that counts; None for less, and for a fall.

    A rise counts if it reaches the floor and multiplies the odds by the factor, so that 55 % to 88 % counts as 5 % to
    20 % does. The loss of all values always counts, however few there were.

    >>> least = EffectThresholds()
    >>> more_missing(0.05, 0.2, least), more_missing(0.5, 0.56, least), more_missing(0.08, 0.0, least)
    ((0.15000000000000002, 0.05), None, None)
    """
    rise = after - before
    if after == 1.0 > before:
        return rise, min(floors.missing, rise)
    odds_rose = after * (1 - before) >= floors.missing_factor * before * (1 - after)
    return (rise, floors.missing) if rise >= floors.missing and odds_rose else None


def _likeliest(drift: ColumnDrift) -> str | None:
    """The test with the least p-value, the first of equal ones; None without any."""
    chances = {test: p for test, p in drift.p_values.items() if p is not None}
    return min(chances, key=lambda test: chances[test], default=None)


def _judged(drift: ColumnDrift, p_value: float, columns: int, floors: EffectThresholds) -> ColumnDrift:
    drift = replace(drift, more_missing=_is_missing_more(drift, columns, floors))
    if drift.value is None or drift.threshold is None:
        return replace(drift, p_value=p_value)
    by_chance, is_small = p_value >= floors.chance, drift.value < drift.threshold
    value, floor = effects(drift.value, drift.threshold)
    size = _MEASURE_WORDS[drift.measure].format(value)
    over = f"{columns} columns" if columns > 1 else ""
    reason = f"{size} {conclusion(floor, p_value, below=is_small, by_chance=by_chance, over=over)}"
    return replace(drift, p_value=p_value, drifted=not (by_chance or is_small), reason=reason)


def _is_missing_more(drift: ColumnDrift, columns: int, floors: EffectThresholds) -> bool:
    """Whether more values are missing, significantly (Bonferroni over tests and columns) and by the minimum effect."""
    chance, tests = drift.p_values.get("missing"), sum(p is not None for p in drift.p_values.values())
    return chance is not None and chance * tests * columns < floors.chance and _more_missing(drift, floors) is not None


_MEASURE_WORDS = {
    "wasserstein": "a shift of {} standard deviations",
    "js": "a Jensen-Shannon distance of {}",
    "missing": "a rise of the missing share by {}",
    "unseen": "a share of {} in new categories",
}
