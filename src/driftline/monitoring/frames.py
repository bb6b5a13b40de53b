"""Events that came as a frame, checked by column. It says yes or nothing, as `driftline.events.columns` does.

What both take, both take as the same events. A column of names is looked at once for each different one, a column of
numbers as a whole, so that no value of it becomes an object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from driftline.events import Kind, Schema, Task
from driftline.events.columns import (
    LOOK_CLOSER,
    Column,
    LabelColumns,
    NotPlainError,
    ids_of,
    in_time,
    micros_of,
    times_of,
)
from driftline.events.missing import missing_numbers
from driftline.events.values import AS_THEY_ARE, classes_known, feature_of, target_of, version_of
from driftline.monitoring.event_times import read_by_format
from driftline.profiles.frame import FEATURE, SCORE
from driftline.store.framed import TIME, PredictionFrame, feature_type

_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_REAL = (pl.Float32, pl.Float64)


@dataclass(frozen=True, slots=True)
class FrameCame:
    """The columns of a frame by what they are of an event; ``target`` is the prediction, or the label.

    Times that are datetimes lie in the years that Python knows, and have a time zone.
    """

    rows: int
    target: pl.Series
    ids: pl.Series | None
    times: pl.Series | None
    versions: pl.Series | None
    latencies: pl.Series | None
    features: Mapping[str, pl.Series]
    scores: Mapping[str, pl.Series]


def checked_predictions(
    came: FrameCame, schema: Schema, *, arrived: datetime, new_id: Callable[[], str], time_format: str | None
) -> PredictionFrame | None:
    """Check predictions by column; None where one of them has to be looked at by itself."""
    try:
        columns = [
            _ids(came, new_id).alias("id"),
            _times(came, schema, arrived, time_format).cast(TIME).alias("time"),
            _names(came.versions, came.rows, version_of).alias("version"),
            _targets(came.target, "prediction", schema).alias("prediction"),
            *_latencies(came, schema),
            *_features(came, schema),
            *_scores(came, schema),
        ]
    except LOOK_CLOSER:
        return None
    return PredictionFrame(pl.DataFrame(columns))


def checked_labels(
    came: FrameCame, schema: Schema, *, arrived: datetime, time_format: str | None
) -> LabelColumns | None:
    """Check labels by column; None where one of them has to be looked at by itself."""
    try:
        if came.ids is None:
            return None
        return LabelColumns(
            ids=_ids(came, None).to_list(),
            labels=_targets(came.target, "label", schema).to_list(),
            times=_times(came, schema, arrived, time_format).to_list(),
        )
    except LOOK_CLOSER:
        return None


# ---- names ----------------------------------------------------------------------------------------------------------


def _ids(came: FrameCame, new_id: Callable[[], str] | None) -> pl.Series:
    if came.ids is not None and came.ids.dtype not in (*_TEXTS, *_WHOLE, pl.Null):
        raise NotPlainError
    values: Column = [None] * came.rows if came.ids is None else came.ids.to_list()
    ids = ids_of(values, new_id)
    return came.ids if came.ids is not None and ids is values and came.ids.dtype == pl.String else _texts(ids)


def _names(column: pl.Series | None, rows: int, convert: Callable[[Any], Any]) -> pl.Series:
    if column is None:
        return pl.Series([""], dtype=pl.String).new_from_index(0, rows)
    if column.dtype not in (*_TEXTS, *_WHOLE, pl.Null):
        raise NotPlainError
    return _converted(column, convert)


def _targets(column: pl.Series, name: Any, schema: Schema) -> pl.Series:
    if schema.task is not Task.REGRESSION:
        return _converted(column, lambda one: target_of(one, name, schema))
    values = _floats(column)
    missing = missing_numbers(schema.missing)
    if values.null_count() or not values.is_finite().all() or (missing and values.is_in([*missing]).any()):
        raise NotPlainError
    return values


def _converted(column: pl.Series, convert: Callable[[Any], Any]) -> pl.Series:
    """Convert a column of one plain type to texts, each different value once."""
    if column.dtype in _REAL:
        column = _without_nan(column)
    elif column.dtype not in (*_TEXTS, *_WHOLE, pl.Boolean, pl.Null):
        raise NotPlainError
    if column.dtype != pl.String:
        values = column.to_list()
        into = {one: convert(one) for one in set(values)}
        return _texts([into[one] for one in values])
    different = column.unique().to_list()
    into = {one: convert(one) for one in different}
    if all(one is found for one, found in into.items()):
        return column
    return column.replace_strict([*into], [*into.values()], return_dtype=pl.String)


def _texts(values: list[Any]) -> pl.Series:
    return pl.Series(values, dtype=pl.String)


# ---- numbers --------------------------------------------------------------------------------------------------------


def _floats(column: pl.Series) -> pl.Series:
    if column.dtype not in (*_WHOLE, *_REAL, pl.Null):
        raise NotPlainError
    return column if column.dtype == pl.Float64 else column.cast(pl.Float64)


def _without_nan(column: pl.Series) -> pl.Series:
    """Have NaN be null; that there is none is seen fast on the sum."""
    return column if math.isfinite(column.sum()) else column.fill_nan(None)


def _numbers(column: pl.Series, schema: Schema) -> pl.Series:
    """Return numbers, and null for what is missing."""
    values = _without_nan(_floats(column))
    if missing := missing_numbers(schema.missing):
        values = values.replace([*missing], None)
    return values


def _latencies(came: FrameCame, schema: Schema) -> list[pl.Series]:
    if came.latencies is None:
        return []
    return [_between(_numbers(came.latencies, schema), math.nextafter(math.inf, 0)).alias("latency_seconds")]


def _between(values: pl.Series, most: float) -> pl.Series:
    low, high = values.min(), values.max()
    if low is not None and not (low >= 0.0 and high <= most):  # type: ignore[operator]
        raise NotPlainError
    return values


def _scores(came: FrameCame, schema: Schema) -> list[pl.Series]:
    if not came.scores:
        return []
    if schema.task is Task.REGRESSION or not classes_known(schema) or not {*came.scores} <= {*schema.classes}:
        raise NotPlainError
    scores = {name: _between(_numbers(column, schema), 1.0) for name, column in came.scores.items()}
    return [values.alias(SCORE + name) for name, values in scores.items() if values.null_count() < came.rows]


# ---- times ----------------------------------------------------------------------------------------------------------


def _times(came: FrameCame, schema: Schema, arrived: datetime, time_format: str | None) -> pl.Series:
    """Return microseconds since 1970."""
    column, now = came.times, micros_of(arrived)
    if column is None:
        return pl.Series([now], dtype=pl.Int64).new_from_index(0, came.rows)
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_unit == "ns":
            micros = column.to_physical() // 1_000
        else:
            micros = column.dt.cast_time_unit("us").to_physical()
        micros = micros.fill_null(now) if micros.null_count() else micros
        low, high = micros.min(), micros.max()
        if isinstance(low, int) and isinstance(high, int) and not in_time(low, high, arrived):
            raise NotPlainError
        return micros
    if column.dtype in _REAL:
        column = _without_nan(column)
    elif column.dtype not in (*_TEXTS, *_WHOLE, pl.Null):
        raise NotPlainError
    values = column.to_list()
    read = AS_THEY_ARE if time_format is None else read_by_format(values, time_format)
    return pl.Series(times_of(values, schema, arrived, read), dtype=pl.Int64)


# ---- features -------------------------------------------------------------------------------------------------------


def _features(came: FrameCame, schema: Schema) -> list[pl.Series]:
    if not came.features.keys() <= schema.features.keys():
        raise NotPlainError
    return [_feature(came, name, kind, schema).alias(FEATURE + name) for name, kind in schema.features.items()]


def _feature(came: FrameCame, name: str, kind: Kind, schema: Schema) -> pl.Series:
    column = came.features.get(name)
    if column is None:
        return pl.Series([None], dtype=feature_type(kind)).new_from_index(0, came.rows)
    if kind is Kind.NUMERIC:
        numbers = _numbers(column, schema)
        return numbers.cast(pl.Float32).cast(pl.Float64) if name in schema.single else numbers
    if kind in (Kind.CATEGORICAL, Kind.TEXT, Kind.DATETIME):
        return _converted(column, lambda one: feature_of(one, name, kind, schema))
    if kind is Kind.EMBEDDING and isinstance(column.dtype, pl.List) and column.dtype.inner in (*_WHOLE, *_REAL):
        return _texts([feature_of(one, name, kind, schema) for one in column.to_list()])
    raise NotPlainError
