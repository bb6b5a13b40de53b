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

_REAL = {pl.Float32, pl.Float64}
_WHOLE = {pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64}
_NUMBERS = {*_WHOLE, *_REAL, pl.Null}
_NAMES = {pl.String, pl.Categorical, pl.Enum, *_WHOLE, pl.Null}
_PLAIN = {*_NAMES, pl.Boolean}


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
    names = _Names(came)
    try:
        columns = {
            "id": _ids(came, new_id),
            "time": _times(came, schema, arrived, time_format),
            "version": _version(came, names),
            "prediction": _targets(came.target, "prediction", schema, names),
            **_latencies(came, schema),
            **_features(came, schema, names),
            **_scores(came, schema),
        }
    except LOOK_CLOSER:
        return None
    named = (one if one.name == name else one.alias(name) for name, one in columns.items())
    frame = pl.DataFrame([*named])
    known = {name: found for name in ("version", "prediction") if (found := names.of(columns[name])) is not None}
    return PredictionFrame(frame, known)


def checked_labels(
    came: FrameCame, schema: Schema, *, arrived: datetime, time_format: str | None
) -> LabelColumns | None:
    """Check labels by column; None where one of them has to be looked at by itself."""
    try:
        if came.ids is None:
            return None
        return LabelColumns(
            ids=_ids(came, None).to_list(),
            labels=_targets(came.target, "label", schema, _Names(came)).to_list(),
            times=_times(came, schema, arrived, time_format).to_physical().to_list(),
        )
    except LOOK_CLOSER:
        return None


# ---- names ----------------------------------------------------------------------------------------------------------


class _Names:
    """The different values of the columns of texts, all of which are asked for at once."""

    def __init__(self, came: FrameCame) -> None:
        columns = [came.target, *([] if came.versions is None else [came.versions]), *came.features.values()]
        texts = [one for one in columns if type(one.dtype) is pl.String]
        found = pl.DataFrame([one.alias(str(place)) for place, one in enumerate(texts)])
        values = found.select(pl.all().unique().implode()).row(0) if texts else ()
        self._found: dict[int, Column] = {id(one): values for one, values in zip(texts, values, strict=True)}
        self._columns = [*columns]  # as long as they are there, nothing else has their identity

    def of(self, column: pl.Series) -> Column | None:
        """Return those of a column, where they are known."""
        return self._found.get(id(column))

    def converted(self, column: pl.Series, convert: Callable[[Any], Any]) -> pl.Series:
        """Convert a column of one plain type to texts, each different value once."""
        different = self.of(column)
        if different is None:
            return _texts_of(column, convert)
        into = {one: convert(one) for one in different}
        if all(one is found for one, found in into.items()):
            return column
        return column.replace_strict([*into], [*into.values()], return_dtype=pl.String)


def _texts_of(column: pl.Series, convert: Callable[[Any], Any]) -> pl.Series:
    if type(column.dtype) in _REAL:
        column = _without_nan(column)
    elif type(column.dtype) not in _PLAIN:
        raise NotPlainError
    values = column.to_list()
    into = {one: convert(one) for one in set(values)}
    return _texts([into[one] for one in values])


def _texts(values: list[Any]) -> pl.Series:
    return pl.Series(values, dtype=pl.String)


def _ids(came: FrameCame, new_id: Callable[[], str] | None) -> pl.Series:
    if came.ids is None:
        return _texts(ids_of([None] * came.rows, new_id))
    if type(came.ids.dtype) not in _NAMES:
        raise NotPlainError
    values = came.ids.to_list()
    ids = ids_of(values, new_id)
    return came.ids if ids is values and type(came.ids.dtype) is pl.String else _texts(ids)


def _version(came: FrameCame, names: _Names) -> pl.Series:
    if came.versions is None:
        return pl.repeat("", came.rows, eager=True)
    if type(came.versions.dtype) not in _NAMES:
        raise NotPlainError
    return names.converted(came.versions, version_of)


def _targets(column: pl.Series, name: Any, schema: Schema, names: _Names) -> pl.Series:
    if schema.task is not Task.REGRESSION:
        return names.converted(column, lambda one: target_of(one, name, schema))
    values = _floats(column)
    missing = missing_numbers(schema.missing)
    if values.null_count() or not values.is_finite().all() or (missing and values.is_in([*missing]).any()):
        raise NotPlainError
    return values


# ---- numbers --------------------------------------------------------------------------------------------------------


def _floats(column: pl.Series) -> pl.Series:
    if type(column.dtype) not in _NUMBERS:
        raise NotPlainError
    return column if type(column.dtype) is pl.Float64 else column.cast(pl.Float64)


def _without_nan(column: pl.Series) -> pl.Series:
    """Have NaN be null; that there is none is seen fast on the sum."""
    return column if math.isfinite(column.sum()) else column.fill_nan(None)


def _numbers(column: pl.Series, schema: Schema) -> pl.Series:
    """Return numbers, and null for what is missing."""
    values = _without_nan(_floats(column))
    if missing := missing_numbers(schema.missing):
        values = values.replace([*missing], None)
    return values


def _latencies(came: FrameCame, schema: Schema) -> dict[str, pl.Series]:
    if came.latencies is None:
        return {}
    return {"latency_seconds": _between(_numbers(came.latencies, schema), math.nextafter(math.inf, 0))}


def _between(values: pl.Series, most: float) -> pl.Series:
    low, high = values.min(), values.max()
    if low is not None and not (low >= 0.0 and high <= most):  # type: ignore[operator]
        raise NotPlainError
    return values


def _scores(came: FrameCame, schema: Schema) -> dict[str, pl.Series]:
    if not came.scores:
        return {}
    if schema.task is Task.REGRESSION or not classes_known(schema) or not {*came.scores} <= {*schema.classes}:
        raise NotPlainError
    scores = {name: _between(_numbers(column, schema), 1.0) for name, column in came.scores.items()}
    return {SCORE + name: values for name, values in scores.items() if values.null_count() < came.rows}


# ---- times ----------------------------------------------------------------------------------------------------------


def _times(came: FrameCame, schema: Schema, arrived: datetime, time_format: str | None) -> pl.Series:
    column = came.times
    if column is None:
        return pl.repeat(micros_of(arrived), came.rows, dtype=pl.Int64, eager=True).cast(TIME)
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        if kind != TIME or column.null_count():
            ticks = column.to_physical()
            micros = ticks // 1_000 if kind.time_unit == "ns" else ticks * 1_000 if kind.time_unit == "ms" else ticks
            column = micros.fill_null(micros_of(arrived)).cast(TIME)
        low, high = column.min(), column.max()
        if low is not None and not in_time(micros_of(low), micros_of(high), arrived):  # type: ignore[arg-type]
            raise NotPlainError
        return column
    if type(kind) in _REAL:
        column = _without_nan(column)
    elif type(kind) not in _NAMES:
        raise NotPlainError
    values = column.to_list()
    read = AS_THEY_ARE if time_format is None else read_by_format(values, time_format)
    return pl.Series(times_of(values, schema, arrived, read), dtype=pl.Int64).cast(TIME)


# ---- features -------------------------------------------------------------------------------------------------------


def _features(came: FrameCame, schema: Schema, names: _Names) -> dict[str, pl.Series]:
    if not came.features.keys() <= schema.features.keys():
        raise NotPlainError
    return {FEATURE + name: _feature(came, name, kind, schema, names) for name, kind in schema.features.items()}


def _feature(came: FrameCame, name: str, kind: Kind, schema: Schema, names: _Names) -> pl.Series:
    column = came.features.get(name)
    if column is None:
        return pl.repeat(None, came.rows, dtype=feature_type(kind), eager=True)
    if kind is Kind.NUMERIC:
        numbers = _numbers(column, schema)
        return numbers.cast(pl.Float32).cast(pl.Float64) if name in schema.single else numbers
    if kind in (Kind.CATEGORICAL, Kind.TEXT, Kind.DATETIME):
        return names.converted(column, lambda one: feature_of(one, name, kind, schema))
    if kind is Kind.EMBEDDING and isinstance(column.dtype, pl.List) and type(column.dtype.inner) in _WHOLE | _REAL:
        return _texts([feature_of(one, name, kind, schema) for one in column.to_list()])
    raise NotPlainError
