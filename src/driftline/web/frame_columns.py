"""The columns of a frame as those of a batch of events; what is not of a plain type is left to the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from driftline.errors import DataError
from driftline.events import Kind, Schema, Task
from driftline.events.columns import Came, Column
from driftline.web.arrow_rows import PARTS, STRUCTS, require_times

_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_REAL = (pl.Float32, pl.Float64)
_NAMES = ("id", "version", "time", "latency_seconds")


class _OtherError(Exception):
    """Says that a column is of another type."""


def came_of(frame: pl.DataFrame, target: str, schema: Schema) -> Came | None:
    """Return the columns of a frame whose columns are named as the fields of events; ``target`` is what they predict,
    or are labels of. None where one of them is of a type, or has a name, that has to be looked at row by row.
    """
    fields: dict[str, pl.Series] = {}
    parts: dict[str, dict[str, pl.Series]] = {"features": {}, "score": {}}
    for column in frame:
        part, _, rest = column.name.partition(".")
        if rest and part in PARTS:
            parts[PARTS[part]][rest] = column
        elif column.name in STRUCTS and isinstance(column.dtype, pl.Struct):
            parts[column.name] |= {name: column.struct.field(name) for name in column.struct.fields}
        else:
            fields[column.name] = column
    if "score" in fields and schema.positive is not None and not parts["score"]:
        parts["score"][schema.positive] = fields.pop("score")  # one number is that of the positive class
    named = {*_NAMES, target}
    if (target == "label" and any(parts.values())) or target not in fields or not fields.keys() <= named:
        return None
    try:
        return Came(
            frame.height,
            _numbers(fields[target]) if schema.task is Task.REGRESSION else _plain(fields[target]),
            _named(fields, "id"),
            _times(fields["time"]) if "time" in fields else None,
            _named(fields, "version"),
            _numbers(fields["latency_seconds"]) if "latency_seconds" in fields else None,
            _features(parts["features"], schema),
            {name: _numbers(column) for name, column in parts["score"].items()},
            micros="time" in fields and _are_micros(fields["time"]),
        )
    except (_OtherError, DataError):
        return None


def _features(columns: Mapping[str, pl.Series], schema: Schema) -> dict[str, Column]:
    return {name: _feature(column, schema.features.get(name)) for name, column in columns.items()}


def _feature(column: pl.Series, kind: Kind | None) -> Column:
    if kind is Kind.NUMERIC:
        return _numbers(column)
    if kind is Kind.EMBEDDING and isinstance(column.dtype, pl.List) and column.dtype.inner in (*_WHOLE, *_REAL):
        return column.to_list()
    if kind in (Kind.CATEGORICAL, Kind.TEXT, Kind.DATETIME):
        return _plain(column)
    raise _OtherError


def _numbers(column: pl.Series) -> Column:
    """Return floats, and None for what is missing."""
    if column.dtype == pl.Null:
        return column.to_list()
    if column.dtype not in (*_WHOLE, *_REAL):
        raise _OtherError
    return _floats(column)


def _floats(column: pl.Series) -> Column:
    """Return a column of numbers; that it has no NaN is seen faster on the list than on the column."""
    values: Column = (column if column.dtype == pl.Float64 else column.cast(pl.Float64)).to_list()
    if not column.null_count() and math.isfinite(sum(values)):
        return values
    return [None if one is None or math.isnan(one) else one for one in values]


def _plain(column: pl.Series) -> Column:
    if column.dtype in _REAL:
        return _floats(column)
    if column.dtype in (*_TEXTS, *_WHOLE, pl.Boolean, pl.Null):
        return column.to_list()
    raise _OtherError


def _named(fields: Mapping[str, pl.Series], name: str) -> Column | None:
    column = fields.get(name)
    if column is None:
        return None
    if column.dtype not in (*_TEXTS, *_WHOLE, pl.Null):
        raise _OtherError
    return column.to_list()


def _are_micros(column: pl.Series) -> bool:
    return isinstance(column.dtype, pl.Datetime) and not column.null_count()


def _times(column: pl.Series) -> Column:
    if not isinstance(column.dtype, pl.Datetime):
        if column.dtype == pl.Boolean:
            raise _OtherError
        return _plain(column)
    if column.dtype.time_zone is None:
        raise _OtherError
    require_times(column, column.name)
    moments = column.dt.convert_time_zone("UTC")
    if not _are_micros(column):
        return moments.to_list()
    if column.dtype.time_unit == "ns":
        return (moments.to_physical() // 1_000).to_list()
    return moments.dt.cast_time_unit("us").to_physical().to_list()
