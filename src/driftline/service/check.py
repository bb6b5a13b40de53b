"""``driftline.check``: two sets of rows, one verdict. The same core as the service: schema, reference,
profile, statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from driftline.errors import DataError, UnknownNameError, UsageError
from driftline.events import Kind, Schema, Task, class_name
from driftline.profiles import (
    Column,
    Columns,
    Reference,
    WindowProfile,
    canonical,
    infer_schema,
    profile_rows,
)
from driftline.profiles.frame import SCORE, feature_columns, kind_of
from driftline.service.check_report import Alert, ColumnReport, Missing, Report, RowCounts
from driftline.statistics import (
    HIGHER_IS_BETTER,
    ColumnDrift,
    Floors,
    Measure,
    compare_columns,
    difference,
    label_coverage,
    measures,
    wilson,
    worst_first,
)
from driftline.statistics.drift import number, percent
from driftline.store.files import read_rows

__all__ = ["Alert", "ColumnReport", "Report", "check"]

LARGEST_FALL: Mapping[str, float] = {"accuracy": 0.02, "roc_auc": 0.02, "mae": 0.05}
"""Measures that are judged against the reference's own, and how much worse is no trifle: points; for MAE a
share of it.
"""

_PROFILED = (Kind.NUMERIC, Kind.CATEGORICAL)
_SURE = 0.99
_COUNTER_ROWS = 30
_DATES_LOOKED_AT = 1000
_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"


def check(
    reference: Any,
    current: Any,
    *,
    task: Task | str | None = None,
    prediction: str | None = None,
    score: str | Mapping[str, str] | None = None,
    label: str | None = None,
    time: str | None = None,
    id: str | None = None,
    features: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    positive: object = None,
    floors: Floors | None = None,
) -> Report:
    """Compare current rows with reference rows: a Polars or pandas frame, anything with
    ``__arrow_c_stream__``, or a path.

    Every column is compared that plays no other part, unless ``features`` names them. ``score`` is the column
    of the positive class's probability, or a mapping of class to column. An alert is a column that has
    drifted, by more than chance and more than a trifle (``floors``), or accuracy, ROC AUC or MAE
    significantly worse than on the reference.

    >>> rows = pl.DataFrame({"wind": [float(i % 7) for i in range(100)]})
    >>> check(rows, rows).verdict
    'ok'
    """
    before, now = _frame(reference, "reference"), _frame(current, "current")
    columns = Columns(
        id=id,
        time=time,
        prediction=prediction,
        score=dict(score) if isinstance(score, Mapping) else score,
        label=label,
        features=tuple(features) if features is not None else None,
        ignore=tuple(ignore),
    )
    _require_columns(before, now, columns)
    before, now = _without_untyped(before, now)
    schema = _schema(before, now, columns, _task(task), None if positive is None else class_name(positive))
    aside = _set_aside(before, now, schema, floors or Floors())
    compared = replace(schema, features={name: kind for name, kind in schema.features.items() if name not in aside})
    whole = Reference.of(canonical(before, columns, compared), compared)
    profile = profile_rows(canonical(now, columns, compared), compared, whole.grids)
    sides = _Sides(before, now, columns, compared, whole.profile, profile)
    return _report(sides, schema, aside, floors)


# ---- rows in -----------------------------------------------------------------------------------------------


def _frame(rows: Any, side: str) -> pl.DataFrame:
    if isinstance(rows, (str, Path)):
        frame = read_rows(Path(rows))
        side = str(rows)
    else:
        try:
            frame = _from_memory(rows)
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            raise DataError(f"the {side} rows cannot be read: {' '.join(str(error).split())}") from error
    if not frame.width or not frame.height:
        raise DataError(f"{side} has no {'rows' if frame.width else 'columns'}; there is nothing to compare")
    return frame


def _from_memory(rows: Any) -> pl.DataFrame:
    if isinstance(rows, pl.DataFrame):
        return rows
    if isinstance(rows, pl.LazyFrame):
        return rows.collect()
    try:
        if hasattr(rows, "__arrow_c_stream__"):
            frame = pl.DataFrame(rows)
            return frame.drop([name for name in frame.columns if name.startswith("__index_level_")])
    except ImportError:  # pandas hands out Arrow only where pyarrow is installed
        return pl.DataFrame([_pandas_column(str(name), rows[name]) for name in rows.columns])
    raise UsageError(
        f"a {type(rows).__name__} came; allowed are a Polars or pandas DataFrame, "
        "anything with __arrow_c_stream__, or the path of a file"
    )


def _pandas_column(name: str, column: Any) -> pl.Series:
    values = column.to_numpy()
    if values.dtype.kind in "iufbM":
        series = pl.Series(name, values)
        return series.fill_nan(None) if series.dtype.is_float() else series
    missing = column.isna().to_numpy()
    return pl.Series(
        name,
        [None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)],
        strict=False,
    )


def _task(task: Task | str | None) -> Task | None:
    if task is None or isinstance(task, Task):
        return task
    if task not in list(Task):
        raise UnknownNameError("task", str(task), [kind.value for kind in Task])
    return Task(task)


def _require_columns(before: pl.DataFrame, now: pl.DataFrame, columns: Columns) -> None:
    known = dict.fromkeys([*before.columns, *now.columns])
    for name in (*columns.roles, *(columns.features or ()), *columns.ignore):
        if name not in known:
            raise UnknownNameError("column", name, known)
    for name, part in columns.roles.items():
        for frame in (before, now):
            dtype = frame.schema.get(name, pl.Null())
            if part in ("prediction", "label", "score") and dtype != pl.Null and kind_of(dtype) not in _PROFILED:
                raise DataError(
                    f"the {part} column {name!r} is of type {dtype}; allowed are numbers, texts and booleans"
                )
    if not set(before.columns) & set(now.columns):
        raise DataError(
            f"the two have no column in common: the reference has {_some(before.columns)}; the current rows "
            f"have {_some(now.columns)}"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _without_untyped(before: pl.DataFrame, now: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give columns without any value, which have no type, that of the other side, or text."""

    def typed(frame: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
        untyped = [name for name, dtype in frame.schema.items() if dtype == pl.Null]
        types = {name: other.schema.get(name, pl.String()) for name in untyped}
        return frame.with_columns(
            pl.lit(None, pl.String() if dtype == pl.Null else dtype).alias(name) for name, dtype in types.items()
        )

    return typed(before, now), typed(now, before)


def _in(frame: pl.DataFrame, columns: Columns) -> Columns:
    """The parts of those columns that a frame has."""
    score = columns.score
    if isinstance(score, Mapping):
        score = {name: column for name, column in score.items() if column in frame.columns} or None
    kept = {part: column for column, part in columns.roles.items() if column in frame.columns and part != "score"}
    features = columns.features
    return Columns(
        id=kept.get("id"),
        time=kept.get("time"),
        prediction=kept.get("prediction"),
        score=score if not isinstance(score, str) or score in frame.columns else None,
        label=kept.get("label"),
        features=tuple(name for name in features if name in frame.columns) if features is not None else None,
        ignore=(*columns.ignore, *columns.roles),
    )


def _schema(
    before: pl.DataFrame, now: pl.DataFrame, columns: Columns, task: Task | None, positive: str | None
) -> Schema:
    """The reference's schema, with the targets of both sides: either may lack the label or the prediction."""
    present = feature_columns(before.schema, _in(before, columns))
    features = {name: kind_of(before.schema[name]) for name in present}
    targets = [column for column in (columns.label, columns.prediction) if column is not None]
    if not targets and isinstance(columns.score, str):
        return Schema(Task.BINARY, features, positive=positive or "1")
    if not targets:
        return Schema(Task.MULTICLASS, features)
    plain = (
        cs.boolean().cast(pl.Int8),
        cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String),
    )
    parts = [
        frame.select(name for name in targets if name in frame.columns).with_columns(*plain) for frame in (before, now)
    ]
    try:
        both = pl.concat(parts, how="diagonal_relaxed")
    except pl.exceptions.PolarsError:  # as unlike as a date and a number
        both = pl.concat([part.cast(pl.String, strict=False) for part in parts], how="diagonal")
    scored = {column for column, part in columns.roles.items() if part == "score"}
    both = both.with_columns(pl.lit(None, pl.Float64).alias(column) for column in scored)
    roles = Columns(prediction=columns.prediction, label=columns.label, features=(), score=columns.score)
    return replace(infer_schema(both, roles, task=task, positive=positive), features=features)


# ---- columns that are not compared -------------------------------------------------------------------------


def _set_aside(before: pl.DataFrame, now: pl.DataFrame, schema: Schema, floors: Floors) -> dict[str, ColumnDrift]:
    """The features that are not compared, with the reason; whether values went missing is seen even there."""
    found: dict[str, ColumnDrift] = {}
    for name, kind in schema.features.items():
        if name not in now.columns:
            problem = "is gone: the reference has this column, the current rows do not"
            if kind in _PROFILED:
                continue
            found[name] = ColumnDrift(
                name,
                kind.value,
                drifted=True,
                problem=problem,
                reason=problem,
                missing_reference=_nulls(before, name),
            )
            continue
        drift = ColumnDrift(name, kind.value, missing_reference=_nulls(before, name), missing_current=_nulls(now, name))
        if change := _changed_kind(kind, now[name]):
            found[name] = replace(drift, drifted=True, problem=change, reason=change)
        elif kind is Kind.DATETIME or _are_dates(before[name]):
            drift = replace(drift, kind=Kind.DATETIME.value)
            problem = "dates and times are not compared; name the time of the rows as the time column"
            found[name] = _missing_judged(replace(drift, problem=problem), before, now, floors)
        elif kind is Kind.UNSUPPORTED:
            problem = f"columns of type {before.schema[name]} are not compared"
            found[name] = _missing_judged(replace(drift, problem=problem), before, now, floors)
        elif _is_counter(before[name]) and _is_counter(now[name]):
            found[name] = replace(drift, problem="counts the rows: a row number or identifier is not compared")
    return found


def _nulls(frame: pl.DataFrame, name: str) -> float:
    return frame[name].null_count() / frame.height


def _changed_kind(kind: Kind, values: pl.Series) -> str:
    came = kind_of(values.dtype)
    if came is kind:
        return ""
    if kind is Kind.NUMERIC and came is Kind.CATEGORICAL and values.dtype != pl.Boolean:
        there = values.len() - values.null_count()
        numbers = values.cast(pl.String).cast(pl.Float64, strict=False)
        if not there or numbers.null_count() < values.len():
            return ""
    elif kind in _PROFILED and came in _PROFILED:
        return ""
    return f"changed its kind: {kind.value} in the reference, {came.value} now"


def _are_dates(values: pl.Series) -> bool:
    """Whether texts are dates: every day is a new category, and says nothing about drift."""
    if values.dtype != pl.String:
        return False
    first = values.drop_nulls().head(_DATES_LOOKED_AT)
    return first.len() > 0 and bool(first.str.contains(_DATE).all())


def _is_counter(values: pl.Series) -> bool:
    """Whether whole numbers count the rows: without a gap or a repetition, or each greater than the one
    before.
    """
    if not values.dtype.is_integer() or values.null_count() or values.len() < _COUNTER_ROWS:
        return False
    low, high = values.min(), values.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    if high - low + 1 < values.len():
        return False
    if high - low + 1 == values.len() and values.n_unique() == values.len():
        return True
    return bool((values.slice(1) > values.slice(0, values.len() - 1)).all())


def _missing_judged(drift: ColumnDrift, before: pl.DataFrame, now: pl.DataFrame, floors: Floors) -> ColumnDrift:
    """For a column of which nothing else is known: has the share of missing values changed?"""
    sides = []
    for frame in (before, now):
        gone = frame[drift.column].null_count()
        sides.append((gone / frame.height, *wilson(gone, frame.height, _SURE)))
    was, became = sides[0][0], sides[1][0]
    gap = difference((sides[1]), (sides[0]))
    changed = abs(became - was) >= floors.missing and max(was, became) >= floors.missing_factor * min(was, became)
    if not changed or gap.low <= 0 <= gap.high or min(before.height, now.height) < floors.rows:
        return drift
    words = f"missing {percent(was)} → {percent(became)}"
    return replace(
        drift,
        measure="missing",
        value=abs(became - was),
        threshold=floors.missing,
        drifted=True,
        problem="",
        reason=f"a change of the missing share by {abs(became - was):.2f} is at or above {floors.missing:.2f}",
        changes=(words,),
    )


# ---- the report --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sides:
    before: pl.DataFrame
    now: pl.DataFrame
    columns: Columns
    schema: Schema
    reference: WindowProfile
    current: WindowProfile

    def names(self) -> dict[str, str]:
        """The file's name of each profiled output."""
        score = self.columns.score
        if isinstance(score, str):
            score = {self.schema.positive: score} if self.schema.positive is not None else {}
        named = {SCORE + class_name(name): column for name, column in (score or {}).items()}
        if self.columns.prediction is not None:
            named["prediction"] = self.columns.prediction
        return named

    def profiles(self, profile: WindowProfile) -> dict[str, Column]:
        """Every profiled column under its name in the file: features, prediction, scores, label."""
        found = dict(profile.features.columns)
        for name, column in self.names().items():
            if name in profile.outputs.columns:
                found[column] = profile.outputs.columns[name]
        if self.columns.label is not None and "label" in profile.labels.columns:
            found[self.columns.label] = profile.labels.columns["label"]
        return found

    def role(self, column: str) -> str:
        return self.columns.roles.get(column, "feature")


def _report(sides: _Sides, schema: Schema, aside: Mapping[str, ColumnDrift], floors: Floors | None) -> Report:
    reference, current = sides.profiles(sides.reference), sides.profiles(sides.current)
    label = sides.columns.label
    unlabelled = _unlabelled(sides, reference, current)
    if label is not None and unlabelled is not None:  # labels come late: without them there is nothing to compare
        reference.pop(label, None)
        current.pop(label, None)
    taken = {*sides.columns.roles, *sides.columns.ignore}
    new = (
        []
        if sides.columns.features is not None
        else [name for name in sides.now.columns if name not in taken and name not in schema.features]
    )
    drifts = compare_columns(reference, current, floors) | dict(aside) | {name: _new(sides.now, name) for name in new}
    if label is not None and unlabelled is not None:
        drifts[label] = unlabelled
    columns = {drift.column: _column(drift, sides) for drift in worst_first(drifts.values())}
    before, now = _performance(sides.reference, schema), _performance(sides.current, schema)
    alerts = (*_performance_alerts(sides, schema), *_drift_alerts(columns))
    return Report(
        verdict="alert" if alerts else "ok",
        rows=RowCounts(sides.before.height, sides.now.height),
        columns=columns,
        performance=now or None,
        reference_performance=before or None,
        label_coverage=label_coverage(sides.current.labelled, sides.now.height)
        if label is not None and label in sides.now.columns
        else None,
        alerts=alerts,
        profiles={name: (reference.get(name), current.get(name)) for name in columns},
    )


def _unlabelled(sides: _Sides, reference: Mapping[str, Column], current: Mapping[str, Column]) -> ColumnDrift | None:
    label = sides.columns.label
    if label is None or (label in reference and label in current):
        return None
    kind = Kind.NUMERIC if sides.schema.task is Task.REGRESSION else Kind.CATEGORICAL
    side = "current" if label in reference else "reference"
    return ColumnDrift(label, kind.value, problem=f"no {side} row has a label, so there is nothing to compare")


def _new(frame: pl.DataFrame, name: str) -> ColumnDrift:
    problem = "is not in the reference, so there is nothing to compare with"
    return ColumnDrift(name, kind_of(frame.schema[name]).value, problem=problem, missing_current=_nulls(frame, name))


def _column(drift: ColumnDrift, sides: _Sides) -> ColumnReport:
    role = sides.role(drift.column)
    missing = Missing(drift.missing_reference, drift.missing_current)
    if role == "label":
        missing = Missing(
            *(
                _nulls(frame, drift.column) if drift.column in frame.columns else None
                for frame in (sides.before, sides.now)
            )
        )
    measured = drift.value is not None or drift.drifted
    changes = drift.changes if drift.drifted or (drift.p_value is not None and drift.p_value < 0.01) else ()
    mistyped = _mistyped(drift, sides)
    return ColumnReport(
        drift.column,
        role,
        drift.kind,
        drift if measured else None,
        missing,
        drift.problem,
        (*mistyped, *changes),
    )


def _mistyped(drift: ColumnDrift, sides: _Sides) -> tuple[str, ...]:
    """Texts in a column of numbers count as missing; say so."""
    if drift.kind != Kind.NUMERIC.value or drift.column not in sides.now.columns:
        return ()
    values = sides.now[drift.column]
    if kind_of(values.dtype) is not Kind.CATEGORICAL or values.dtype == pl.Boolean:
        return ()
    lost = values.cast(pl.String).cast(pl.Float64, strict=False).null_count() - values.null_count()
    return (f"{percent(lost / values.len())} are texts, no numbers",) if lost else ()


def _performance(profile: WindowProfile, schema: Schema) -> dict[str, Measure]:
    return measures(profile.performance, positive=schema.positive)


def _drift_alerts(columns: Mapping[str, ColumnReport]) -> list[Alert]:
    found = []
    for name, report in columns.items():
        drift = report.drift
        if drift is None or not drift.drifted:
            continue
        words = "; ".join(report.changes) or drift.reason
        message = f"{report.role} {name} has drifted: {words}"
        if drift.value is None:
            message = f"{report.role} {name} {drift.reason}"
        found.append(Alert("drift", name, drift.measure, drift.value, drift.threshold, message))
    return found


def _performance_alerts(sides: _Sides, schema: Schema) -> list[Alert]:
    """Measures that are worse than on the reference: beyond chance (the interval of the difference) and
    beyond a trifle.
    """
    before, now = (
        measures(profile.performance, confidence=_SURE, positive=schema.positive)
        for profile in (sides.reference, sides.current)
    )
    found = []
    for name, trifle in LARGEST_FALL.items():
        was, became = (_bounds(side[name]) if name in side else None for side in (before, now))
        if was is None or became is None:
            continue
        worse = difference(was, became) if HIGHER_IS_BETTER[name] else difference(became, was)
        fall = was[0] - became[0] if HIGHER_IS_BETTER[name] else became[0] - was[0]
        least = trifle if HIGHER_IS_BETTER[name] else trifle * was[0]
        if worse.low > 0 and fall >= least:
            threshold = was[0] - least if HIGHER_IS_BETTER[name] else was[0] + least
            verb = "fell" if HIGHER_IS_BETTER[name] else "rose"
            message = f"{name} {verb} from {number(was[0])} on the reference to {number(became[0])}"
            found.append(Alert("performance", None, name, became[0], threshold, message))
    return found


def _bounds(measure: Measure) -> tuple[float, float, float] | None:
    if measure.value is None or measure.low is None or measure.high is None:
        return None
    return measure.value, measure.low, measure.high
