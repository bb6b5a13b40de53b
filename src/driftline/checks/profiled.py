"""Check with a side that is a table of profiles: its layout says how the other side's rows are read, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

import polars as pl
from msgspec.structs import replace

from driftline.checks.compare import report_of
from driftline.checks.inputs import rows_of
from driftline.checks.scan import SideProfile
from driftline.checks.sides import Comparison, Said
from driftline.engines.local import profile_sources, sampled
from driftline.engines.stored import StoredProfiles, open_profiles
from driftline.errors import DataError, UsageError
from driftline.events import MISSING_TEXTS, Kind, Task
from driftline.lookalikes import shown
from driftline.profiles import Columns, NumericColumn, WindowProfile
from driftline.profiles.by_window import Profiled
from driftline.profiles.frame import SCORE, score_columns
from driftline.profiles.layout import Layout, rows_like
from driftline.profiles.table import ProfileTable
from driftline.sources.profiled import is_profiles
from driftline.statistics import EffectThresholds

if TYPE_CHECKING:
    from driftline.checks.report import Report
    from driftline.checks.run import Request

_TYPES: Mapping[Kind, pl.DataType] = {
    Kind.NUMERIC: pl.Float64(),
    Kind.CATEGORICAL: pl.String(),
    Kind.DATETIME: pl.Datetime("us"),
    Kind.TEXT: pl.String(),
    Kind.EMBEDDING: pl.List(pl.Float64()),
}
_SAID = (
    *("prediction", "score", "label", "time", "id", "features", "segments"),
    *("missing", "time_format", "categorical", "cluster"),
)
_UNSAID: tuple[object, ...] = (None, (), {}, MISSING_TEXTS)
_LEFT_OUT = "profiles have no rows: relations between columns and repeated rows are not looked at"


def check_profiles(request: Request, task: Task | None, positive: str | None) -> Report:
    """Compare profiles with profiles, or with rows; ``task`` and ``positive`` are the caller's, None if not given.

    Raises `DataError` for two tables that were not made alike, and `UsageError` for arguments that differ from how the
    profiles were made.
    """
    given = [open_profiles(side) if is_profiles(side) else side for side in (request.reference, request.current)]
    stored = [side for side in given if isinstance(side, StoredProfiles)]
    layout = stored[0].layout
    if stored[-1].layout.digest != layout.digest:
        differs = " and ".join(layout.differences(stored[-1].layout))
        raise DataError(
            f"{stored[-1].name} has profiles that were made with another configuration or reference than those of "
            f"{stored[0].name}: the {differs} differ; profile both with one configuration"
        )
    _require_alike(request.columns, task, positive, layout)
    if request.rules:
        from driftline.checks.ruled import require_features

        require_features(request.rules, layout.schema.features)
    tables = [_table(side, name, layout) for side, name in zip(given, ("reference", "current"), strict=True)]
    before, now = (_side(table, layout) for table in tables)
    types = _types(layout)
    measures = ", ".join(sorted(request.own))
    told = dict.fromkeys(note for one in stored for note in one.notes)
    said = (
        _LEFT_OUT,
        *told,
        *([f"measures of one's own are left out ({measures}): they rest on rows"] if measures else []),
    )
    timed = replace(layout, windows=None, columns=replace(layout.columns, id=None, time=_time(layout)))
    floors = request.floors or EffectThresholds()
    comparison = Comparison(timed, before, now, types, types, floors, said)
    return report_of(comparison, layout.schema, {}, "none", Said(task=True, positive=True), request.rules, {})


def _require_alike(columns: Columns, task: Task | None, positive: str | None, layout: Layout) -> None:
    """Refuse arguments that say otherwise than the layout: they would have no effect."""
    given = {name: (getattr(columns, name), getattr(layout.columns, name)) for name in _SAID}
    given |= {"task": (task, layout.schema.task), "positive": (positive, layout.schema.positive)}
    for name, (said, made) in given.items():
        if said not in _UNSAID and said != made:
            had = "none" if made in (None, ()) else repr(str(made))
            came = said[0] if isinstance(said, tuple) and len(said) == 1 else said
            raise UsageError(
                f"{name} {came!r} came, and the profiles were made with {had}; leave it out, or profile the rows again"
            )
    if there := [name for name in columns.ignore if name in layout.schema.features]:
        raise UsageError(f"ignore {there[0]!r} came, and the profiles have it; leave it out, or profile the rows again")


def _table(given: Any, side: str, layout: Layout) -> ProfileTable:
    if isinstance(given, StoredProfiles):
        return given.table
    if layout.hashed:
        named = ", ".join(shown(name) for name in layout.hashed)
        raise UsageError(f"the profiles have hashed values of {named}, and rows came beside them; profile these, too")
    rows = rows_of(given, side, layout.schema.missing)
    if not (sample := sampled(rows, layout.reads)).height:
        raise DataError(f"{rows.name} has no rows; there is nothing to compare")
    return profile_sources([rows], rows_like(layout, sample))


def _side(table: ProfileTable, layout: Layout) -> SideProfile:
    whole, segments = reduce(Profiled.merge, table.parts.values(), Profiled())
    days: Counter[Any] = Counter()
    if _time(layout) is not None:
        for key, part in table.parts.items():
            if key.window is not None:
                days[key.window.start.date()] += part.whole.predictions
    nulls = _nulls(whole, layout)
    if layout.columns.time is not None:
        nulls[layout.columns.time] = sum(part.whole.predictions for key, part in table.parts.items() if not key.window)
    performances = {
        column: {value: one.performance for value, one in values.items() if one.performance is not None}
        for column, values in segments.columns.items()
    }
    return SideProfile(rows=whole.predictions, profile=whole, segments=performances, nulls=nulls, days=days)


def _nulls(whole: WindowProfile, layout: Layout) -> Counter[str]:
    """Count the missing values of each column as the file names it."""
    nulls: Counter[str] = Counter()
    for name, column in whole.features.columns.items():
        nulls[name] = column.missing + (column.nan if isinstance(column, NumericColumn) else 0)
    for name, column_name in score_columns(layout.columns, layout.schema).items():
        there = whole.outputs.columns.get(SCORE + name)
        nulls[column_name] = whole.predictions - (0 if there is None else there.rows - there.missing)
    if layout.columns.prediction is not None and (predicted := whole.outputs.columns.get("prediction")) is not None:
        nulls[layout.columns.prediction] = predicted.missing
    if layout.columns.label is not None:
        nulls[layout.columns.label] = whole.predictions - whole.labelled
    return nulls


def _time(layout: Layout) -> str | None:
    """The column of times, where windows are short enough to tell the rows of a day; None for others."""
    if layout.windows is None or not layout.windows.is_within_a_day:
        return None
    return layout.columns.time


def _types(layout: Layout) -> dict[str, pl.DataType]:
    """The types of the columns as they are compared."""
    columns, schema = layout.columns, layout.schema
    types = {name: _TYPES[kind] for name, kind in schema.features.items() if kind in _TYPES}
    target = _TYPES[Kind.NUMERIC if schema.task is Task.REGRESSION else Kind.CATEGORICAL]
    types |= {name: target for name in (columns.prediction, columns.label) if name is not None}
    types |= dict.fromkeys(score_columns(columns, schema).values(), _TYPES[Kind.NUMERIC])
    return types if columns.time is None else types | {columns.time: pl.Datetime("us", "UTC")}
