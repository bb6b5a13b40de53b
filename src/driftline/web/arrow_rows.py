"""Convert the columns of a frame to the fields of JSON rows, each by its type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any, Literal

import polars as pl

from driftline.errors import DataError
from driftline.profiles import Columns
from driftline.profiles.frame import identifiers, times_of
from driftline.text import quoted

PARTS = {"feature": "features", "score": "score"}
STRUCTS = ("features", "score")
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST_SECOND = int(datetime(1, 1, 2, tzinfo=UTC).timestamp())
_LAST_SECOND = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp())
_SECONDS_A_DAY = 86_400
_PLAIN = (pl.Boolean, pl.String, pl.Categorical, pl.Enum, pl.Null)

Convert = Callable[[Any], Any]

_FIELDS = {
    "predictions": ("id", "time", "version", "prediction", "score", "latency_seconds"),
    "labels": ("id", "time", "label"),
}
"""The fields of an event that are no parts of another; the rest of a prediction are its features."""


def as_events(frame: pl.DataFrame, kind: Literal["predictions", "labels"], columns: Columns) -> pl.DataFrame:
    """Name the columns of flat rows, such as those of a file, as the fields of events.

    A column that plays a part for the model (``columns``) gets that part's name; one that has the name of a part keeps
    it. The others are features of predictions, as far as the model names its features; labels have none. A frame that
    has features, as a struct or as ``feature.<name>``, is named already.
    """
    if any(name == "features" or name.startswith("feature.") for name in frame.columns):
        return frame
    fields, named = _FIELDS[kind], dict[str, str]()
    scores = columns.score if isinstance(columns.score, Mapping) else {}
    parts, by_score = columns.roles, {column: f"score.{name}" for name, column in scores.items()}
    inputs, others = {*(columns.features or ()), *columns.segments}, columns.features is None
    for name in frame.columns:
        part = parts.get(name, name)
        if name in by_score or name.startswith("score."):
            if kind == "predictions":
                named[name] = by_score.get(name, name)
        elif name not in inputs and part in fields:
            named[name] = part
        elif kind == "predictions" and (name in inputs or (others and part != "label" and name not in columns.ignore)):
            named[name] = f"feature.{name}"
    if len({*named.values()}) < len(named):
        twice = next(part for part in named.values() if list(named.values()).count(part) > 1)
        both = " and ".join(quoted(name) for name, part in named.items() if part == twice)
        raise DataError(f"columns {both} are both {quoted(twice)}; leave one out")
    flat = frame.select(pl.col(name).alias(part) for name, part in named.items())
    readers: dict[str, Callable[[pl.Series], pl.Series]] = {
        "id": identifiers,
        "time": partial(times_of, time_format=columns.time_format),
    }
    return flat.with_columns(_read(flat[part], read) for part, read in readers.items() if part in flat.columns)


def _read(values: pl.Series, read: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Read a column as that of a file is read; leave one with values that cannot be, so that its rows are refused."""
    try:
        found = read(values)
    except pl.exceptions.PolarsError:  # of a type that no id and no time has
        return values
    return found if found.null_count() == values.null_count() else values


def rows_of_frame(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as a JSON body would have them.

    ``feature.<name>`` and ``score.<class>`` go into the objects ``features`` and ``score``, as the fields of structs of
    these names do. Nulls are left out, except in features.
    """
    rows: list[dict[str, Any]] = [{} for _ in range(frame.height)]
    for column in frame:
        require_times(column, column.name)
        part, _, rest = column.name.partition(".")
        if rest and part in PARTS:
            _put(rows, PARTS[part], rest, _values(column))
        elif column.name in STRUCTS and isinstance(column.dtype, pl.Struct):
            for name in column.struct.fields:
                _put(rows, column.name, name, _values(column.struct.field(name)))
        else:
            for row, value in zip(rows, _values(column), strict=True):
                if value is not None:
                    row[column.name] = value
    return rows


def _put(rows: list[dict[str, Any]], part: str, name: str, values: Iterable[Any]) -> None:
    for row, value in zip(rows, values, strict=True):
        if value is not None or part == "features":
            inner = row.setdefault(part, {})
            if not isinstance(inner, dict):
                raise DataError(f"column {part!r} came beside columns of its parts; send one or the other")
            inner[name] = value


def text_bytes(column: pl.Series) -> int:
    """Return the total bytes of the texts of a column, each counted once for every row that refers to it."""
    if isinstance(column.dtype, (pl.List, pl.Array)):
        return text_bytes(column.explode())
    if isinstance(column.dtype, pl.Struct):
        return sum(text_bytes(column.struct.field(name)) for name in column.struct.fields)
    if isinstance(column.dtype, pl.BaseExtension):
        return text_bytes(column.ext.storage())
    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):  # never written out
        used = column.drop_nulls().alias("text").value_counts(name="rows")
        return int((used["text"].cast(pl.String).str.len_bytes().cast(pl.UInt64) * used["rows"]).sum())
    if column.dtype == pl.String:
        return int(column.str.len_bytes().cast(pl.UInt64).sum())
    return int(column.bin.size().cast(pl.UInt64).sum()) if column.dtype == pl.Binary else 0


def require_times(column: pl.Series, name: str) -> None:
    """Raise `DataError` for times outside of the years 1 to 9999, in a column and in its nested values."""
    kind = column.dtype
    if isinstance(kind, pl.BaseExtension):
        require_times(column.ext.storage(), name)
    elif isinstance(kind, (pl.List, pl.Array)):
        require_times(column.explode(), name)
    elif isinstance(kind, pl.Struct):
        for inner in kind.fields:
            require_times(column.struct.field(inner.name), f"{name}.{inner.name}")
    elif isinstance(kind, pl.Datetime) or kind == pl.Date:
        ticks = column.to_physical()
        scale = _PER_SECOND[kind.time_unit] if isinstance(kind, pl.Datetime) else 1
        unit = 1 if isinstance(kind, pl.Datetime) else _SECONDS_A_DAY
        low, high = ticks.min(), ticks.max()
        bounds = [one * unit for one in (low, high) if isinstance(one, int)]
        if any(not _FIRST_SECOND * scale <= one <= _LAST_SECOND * scale for one in bounds):
            raise DataError(f"column {quoted(name)} holds a time outside of the years 1 to 9999; mend its unit")


def _values(column: pl.Series) -> Iterable[Any]:
    values = column.to_list()
    convert = _conversion(column.dtype)
    return values if convert is None else [None if value is None else convert(value) for value in values]


def _conversion(kind: pl.DataType) -> Convert | None:
    """Return the conversion of a value to JSON's types; None where none is needed."""
    if kind.is_integer() or kind.is_float() or kind in _PLAIN:
        return None
    return _plain


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
