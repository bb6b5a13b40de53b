"""Infer from the first rows of both sides the role and kind of each column, the task and its classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs
from msgspec.structs import replace

from driftline.errors import DataError, UnknownNameError, UsageError
from driftline.events import Kind, Schema, Task
from driftline.lookalikes import some_of
from driftline.profiles import Columns, infer_schema, kind_of
from driftline.profiles.codes import numbers_the_rows
from driftline.profiles.frame import COMPOSITE, names_of
from driftline.profiles.infer import feature_columns, kind_of_feature, kind_of_values
from driftline.sources.arrow import type_words

if TYPE_CHECKING:  # it is imported while the rows are read
    from driftline.statistics import ColumnDrift

_PROFILED = (Kind.NUMERIC, Kind.CATEGORICAL)


def _is_target(dtype: pl.DataType) -> bool:
    return kind_of(dtype) in _PROFILED


def _is_time(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Date, pl.Datetime)


def _is_name(dtype: pl.DataType) -> bool:
    return kind_of(dtype) is not Kind.UNSUPPORTED and dtype != pl.Duration


def _is_identifier(dtype: pl.DataType) -> bool:
    return _is_name(dtype) or dtype == pl.Binary


_FITTING: Mapping[str, tuple[Callable[[pl.DataType], bool], str]] = {
    "time": (_is_time, "times, dates, texts and seconds since 1970"),
    "segment": (_is_name, "numbers, texts, booleans and times"),
    "cluster": (_is_identifier, "numbers, texts, booleans, times and bytes"),
    "id": (_is_identifier, "numbers, texts, booleans, times and bytes"),
}
"""The types that a column may have for its role, and these in words; other roles take the types of targets."""


def require_columns(before: pl.DataFrame, now: pl.DataFrame, columns: Columns) -> None:
    """Raise `UnknownNameError` for columns that neither side has, `DataError` for types that do not fit their role."""
    known = dict.fromkeys([*before.columns, *now.columns])
    if columns.label is not None and columns.label == columns.prediction:
        raise UsageError(f"label and prediction are both the column {columns.label!r}; name a column for each")
    codes = columns.categorical or ()
    clusters = () if columns.cluster is None else (columns.cluster,)
    for name in (*columns.roles, *(columns.features or ()), *columns.ignore, *columns.segments, *codes, *clusters):
        if name not in known:
            raise UnknownNameError("column", name, known)
    others = ((name, part) for part, names in (("segment", columns.segments), ("cluster", clusters)) for name in names)
    for name, part in (*columns.roles.items(), *others):
        for frame in (before, now):
            dtype = frame.schema.get(name, pl.Null())
            fits, words = _FITTING.get(part, (_is_target, "numbers, texts and booleans"))
            if dtype != pl.Null and not fits(dtype):
                raise DataError(f"the {part} column {name!r} is of type {type_words(dtype)}; allowed are {words}")
    if played := [name for name in codes if name in columns.roles]:
        part = columns.roles[played[0]]
        raise UsageError(f"categorical {played[0]!r} came, which is the column of the {part}; it is for inputs")
    if not set(before.columns) & set(now.columns):
        raise DataError(
            f"the two have no column in common: the reference has {some_of(before.columns)}; the current rows "
            f"have {some_of(now.columns)}"
        )


def _in(frame: pl.DataFrame, columns: Columns) -> Columns:
    """Return the roles of those columns that a frame has."""
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


def schema_of(
    before: pl.DataFrame, now: pl.DataFrame, columns: Columns, task: Task | None, positive: str | None
) -> Schema:
    """Infer the reference's schema; targets are inferred from both sides, as either may lack one."""
    present = feature_columns(before.schema, _in(before, columns))
    features = {name: kind_of_feature(before[name], columns) for name in present}
    targets = [column for column in (columns.label, columns.prediction) if column is not None]
    if not targets and isinstance(columns.score, str):
        return Schema(Task.BINARY, features, positive=positive or "1", missing=columns.missing)
    if not targets:
        return Schema(Task.MULTICLASS, features, missing=columns.missing)
    plain = (
        cs.boolean().cast(pl.Int8),
        cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String),
    )
    named = (pl.String, pl.Categorical, pl.Enum)
    texts = {name for name in targets for frame in (before, now) if frame.schema.get(name, pl.Null()) in named}
    parts = [
        frame.select(name for name in targets if name in frame.columns)
        .with_columns(*plain)
        .with_columns(names_of(frame[name]) for name in texts if name in frame.columns)
        for frame in (before, now)
    ]
    try:
        both = pl.concat(parts, how="diagonal_relaxed")
    except pl.exceptions.PolarsError:  # types as different as a date and a number
        both = pl.concat([part.cast(pl.String, strict=False) for part in parts], how="diagonal")
    scored = {column for column, part in columns.roles.items() if part == "score"}
    both = both.with_columns(pl.lit(None, pl.Float64).alias(column) for column in scored)
    roles = Columns(
        prediction=columns.prediction, label=columns.label, features=(), score=columns.score, missing=columns.missing
    )
    found = replace(infer_schema(both, roles, task=task, positive=positive), features=features)
    unknown = found.task is Task.BINARY and found.positive is None  # no row of the samples is labelled
    return replace(found, positive="1") if unknown else found


def set_aside(
    before: pl.DataFrame, now: pl.DataFrame, schema: Schema, doubts: Mapping[str, str]
) -> dict[str, ColumnDrift]:
    """Return the features that are not compared, with the reasons; ``doubts`` are reasons found while reading."""
    found: dict[str, ColumnDrift] = {}
    there = set(now.columns)
    for name, kind in schema.features.items():
        if name not in there:
            found[name] = _aside(name, kind, change="is gone: the reference has this column, the current rows do not")
        elif name in doubts:
            found[name] = _aside(name, kind, problem=doubts[name])
        elif change := _changed_kind(kind, now[name]):
            found[name] = _aside(name, kind, change=change)
        elif kind is Kind.UNSUPPORTED:
            problem = f"columns of type {type_words(before.schema[name])} are not compared"
            found[name] = _aside(name, kind, problem=problem)
        elif numbers_the_rows(before[name]) and numbers_the_rows(now[name]):
            found[name] = _aside(name, kind, problem="counts the rows: a row number or identifier is not compared")
    return found


def _aside(name: str, kind: Kind, *, problem: str = "", change: str = "") -> ColumnDrift:
    """A column that is not compared because of a problem, or because of a change, which is drift."""
    from driftline.statistics import ColumnDrift

    return ColumnDrift(name, kind.value, drifted=bool(change), problem=problem or change, reason=change)


def _changed_kind(kind: Kind, values: pl.Series) -> str:
    came = kind_of(values.dtype)
    words = f"changed its kind: {kind.value} in the reference, {came.value} now"
    there = values.len() - values.null_count()
    if not there:
        return ""
    if kind is Kind.NUMERIC and came is Kind.CATEGORICAL and values.dtype != pl.Boolean:
        numbers = values.cast(pl.String).cast(pl.Float64, strict=False)
        return "" if numbers.null_count() < values.len() else words
    if kind in COMPOSITE:
        now = kind_of_values(values)
        same = now is kind or (kind is Kind.TEXT and values.dtype == pl.String)
        return "" if same else f"changed its kind: {kind.value} in the reference, {now.value} now"
    return "" if came is kind or (kind in _PROFILED and came in _PROFILED) else words
