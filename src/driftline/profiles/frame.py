"""The canonical frame: one layout of rows for files, the event log and windows.

Columns: ``feature.<name>``, ``prediction``, ``score.<class>``, ``label`` and, if there are any, ``id``, ``time`` (UTC),
``version``, ``latency_seconds``. Class names are texts; numeric features and regression targets are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import polars as pl

from driftline.events import Kind, Schema, Task, class_name, missing_numbers
from driftline.profiles.columns import Columns
from driftline.profiles.missing import without_missing
from driftline.profiles.rounding import Rounding
from driftline.profiles.times import TimeStyle, epoch_style, read_texts, read_times, time_style

FEATURE = "feature."
SCORE = "score."
SEGMENT = "segment."
FIRST_LABEL = "first_label"
"""When a row of the event log was labelled first (UTC); null for one without a label."""
TARGETS = ("prediction", "label")
COMPOSITE = (Kind.DATETIME, Kind.TEXT, Kind.EMBEDDING)
"""The kinds that are profiled by their parts; see `driftline.profiles.parts`."""
_FEW_NUMBERS = 1024
_WHOLE_REAL = r"^(-?\d+)\.0+$"


def canonical(frame: pl.DataFrame, columns: Columns, schema: Schema) -> pl.DataFrame:
    """Return a file's rows in the canonical layout; columns without a role are left out.

    A column of another type than the schema's is cast; a value that cannot be cast becomes null and counts as missing.
    Columns that the file lacks are left out too: the profile then lacks them, which a comparison reports.
    """
    there = set(frame.columns)
    parts = [
        _feature(frame[name], kind, schema).alias(FEATURE + name)
        for name, kind in schema.features.items()
        if name in there
    ]
    target = Kind.NUMERIC if schema.task is Task.REGRESSION else Kind.CATEGORICAL
    scores = [(column, SCORE + name, _probabilities) for name, column in score_columns(columns, schema).items()]
    roles: list[tuple[str | None, str, Callable[[pl.Series], pl.Series]]] = [
        (columns.prediction, "prediction", partial(typed_values, kind=target)),
        (columns.label, "label", partial(typed_values, kind=target)),
        *scores,
        (columns.id, "id", identifiers),
        (columns.version, "version", identifiers),
        *((name, SEGMENT + name, names_of) for name in dict.fromkeys(columns.segments)),
        (columns.cluster, "cluster", identifiers),
        (columns.time, "time", partial(times_of, time_format=columns.time_format)),
    ]
    for column, role, read in roles:
        if column is not None and column in there:
            parts.append(read(without_missing(frame[column], schema.missing)).alias(role))
    return pl.DataFrame(parts) if parts else frame.select([])


def _feature(values: pl.Series, kind: Kind, schema: Schema) -> pl.Series:
    """Cast a feature to its kind's type. Texts for missing values stay in categories, where they are counted later."""
    if kind is Kind.TEXT or (kind is Kind.NUMERIC and missing_numbers(schema.missing)):
        values = without_missing(values, schema.missing)
    if kind is Kind.NUMERIC and values.name in schema.single and values.dtype != pl.Float32:
        values = Rounding(single=True)(values)
    return typed_values(values, kind)


def typed_values(values: pl.Series, kind: Kind) -> pl.Series:
    """Return a column cast to its kind's type; values that cannot be cast are null."""
    as_it_is = _as_it_is(values, kind)
    return typed_column(values, kind) if as_it_is is None else as_it_is


def identifiers(values: pl.Series) -> pl.Series:
    """Return ids as texts, written alike: 17, 17.0 and " 17" are one id, and so are times with and without ``.000``.

    >>> identifiers(pl.Series([17.0, 18.5])).to_list(), identifiers(pl.Series(["17.0", "017 "])).to_list()
    (['17', '18.5'], ['17', '017'])
    """
    if values.dtype == pl.Binary:
        return values.bin.encode("hex")
    names = typed_values(values, Kind.CATEGORICAL) if values.dtype.is_float() else values.cast(pl.String)
    if values.dtype == pl.String or isinstance(values.dtype, pl.Datetime):
        names = names.str.replace(r"(\d:\d\d)\.0+\b", "${1}")
    return names.str.strip_chars().str.replace(_WHOLE_REAL, "${1}")


def times_of(values: pl.Series, time_format: str | None = None) -> pl.Series:
    """Return the times of a column in UTC; without a format, how they are written is inferred from the values.

    See `driftline.profiles.times`. Values that cannot be read are null.
    """
    if values.dtype == pl.Datetime("us", "UTC"):
        return values
    if values.dtype in (pl.Categorical, pl.Enum, pl.Null):
        values = values.cast(pl.String)
    style = TimeStyle("format", time_format) if time_format else TimeStyle("year")
    if time_format is None and values.dtype.is_numeric():
        style = epoch_style([values])
    elif time_format is None and values.dtype == pl.String:
        found = time_style([values])
        style = found if isinstance(found, TimeStyle) else style
    return read_times(values, style)


def with_predictions(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return a classifier's canonical rows with a prediction; if they only have scores, the highest-scored class.

    With a single score of a binary model, it is that class from 0.5 on. Rows without scores have no prediction.
    """
    scores = [name for name in rows.columns if name.startswith(SCORE)]
    if schema.task is Task.REGRESSION or "prediction" in rows.columns or not scores:
        return rows
    classes = [name.removeprefix(SCORE) for name in scores]
    if len(scores) == 1:
        other = other_class(classes[0], schema)
        if other is None:
            return rows
        score = pl.col(scores[0])
        guess = pl.when(score >= 0.5).then(pl.lit(classes[0])).when(score < 0.5).then(pl.lit(other))
        return rows.with_columns(guess.alias("prediction"))
    best = pl.max_horizontal(scores)
    guesses = [pl.when(pl.col(score) == best).then(pl.lit(name)) for score, name in zip(scores, classes, strict=True)]
    return rows.with_columns(pl.coalesce(guesses).alias("prediction"))


def other_class(scored: str, schema: Schema) -> str | None:
    """Return the class beside the only scored one of a binary model; None if the schema has none, or several."""
    others = [name for name in schema.classes if name != scored]
    return others[0] if len(others) == 1 else None


def _as_it_is(values: pl.Series, kind: Kind) -> pl.Series | None:
    """The column, if it has its kind's type or casts directly; None for others."""
    if kind is Kind.NUMERIC and values.dtype.is_numeric():
        return values.cast(pl.Float64, strict=False)
    if kind is Kind.CATEGORICAL and values.dtype.is_integer():
        return _names_of(values)
    return values if kind is Kind.CATEGORICAL and values.dtype == pl.String else None


def _names_of(numbers: pl.Series) -> pl.Series | None:
    """Whole numbers as texts, by a table of the possible ones; None where that is not worth it."""
    low, high = numbers.min(), numbers.max()
    if not (isinstance(low, int) and isinstance(high, int) and -_FEW_NUMBERS < low <= high < _FEW_NUMBERS):
        return None
    names = pl.Series(numbers.name, [str(number) for number in range(low, high + 1)], dtype=pl.String)
    return names.gather((numbers.cast(pl.Int16) - low).cast(pl.UInt32)) if len(names) <= len(numbers) else None


def _are_probabilities(values: pl.Series) -> bool:
    """Whether all values are floats in [0, 1], or null."""
    if values.dtype != pl.Float64 or values.is_nan().any():
        return False
    low, high = values.min(), values.max()
    return isinstance(low, float) and isinstance(high, float) and low >= 0.0 and high <= 1.0


def score_columns(columns: Columns, schema: Schema) -> dict[str, str]:
    """Return the column of each class's score, by class name; empty without scores, or if the class is unknown."""
    if isinstance(columns.score, str):
        return {schema.positive: columns.score} if schema.positive is not None else {}
    return {class_name(name): column for name, column in (columns.score or {}).items()}


def _probabilities(values: pl.Series) -> pl.Series:
    """Scores as numbers in [0, 1]; null for other values."""
    if _are_probabilities(values):
        return values
    scores = typed_values(values, Kind.NUMERIC)
    return scores.set(~scores.is_between(0.0, 1.0).fill_null(False), None)


def names_of(values: pl.Series) -> pl.Series:
    """Return a column's values as class names, spelled as by `class_name`."""
    return typed_values(values, Kind.CATEGORICAL)


def typed_column(values: pl.Series, kind: Kind) -> pl.Series:
    """Return a column cast to the type of a kind."""
    dtype, name = values.dtype, values.name
    nothing = pl.Series(name, [None], dtype=pl.String)
    if kind is Kind.NUMERIC:
        if dtype in (pl.Categorical, pl.Enum):  # their texts may be numbers; a cast would give their codes
            values = values.cast(pl.String)
        elif dtype.is_nested() or dtype in (pl.Binary, pl.Object):
            values = nothing.new_from_index(0, len(values))
        if values.dtype == pl.String:
            values = values.str.strip_chars()
        return values.cast(pl.Float64, strict=False)
    if kind is Kind.DATETIME and not dtype.is_temporal():
        times = values if dtype == pl.String else nothing.new_from_index(0, len(values))
        return read_texts(times, TimeStyle("year")).dt.replace_time_zone(None)
    if kind is Kind.EMBEDDING and not dtype.is_nested():
        return pl.Series(name, [None], dtype=pl.List(pl.Float64)).new_from_index(0, len(values))
    if kind in (Kind.TEXT, Kind.CATEGORICAL):
        if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
            return nothing.new_from_index(0, len(values))
        return _class_names(values) if kind is Kind.CATEGORICAL else values.cast(pl.String, strict=False)
    return values


def _class_names(values: pl.Series) -> pl.Series:
    """Values as class names, spelled as by `class_name`."""
    if values.dtype == pl.Boolean:
        values = values.cast(pl.Int8)
    if values.dtype.is_decimal():  # it may have more digits than a float
        return values.cast(pl.String).str.replace(r"\.0+$|(\.\d*[1-9])0+$", "${1}")
    if not values.dtype.is_float():
        return values.cast(pl.String, strict=False)
    values = values.fill_nan(None)
    whole = values.cast(pl.Int64, strict=False)
    texts = values.cast(pl.String)
    return texts.zip_with((whole != values).fill_null(True), whole.cast(pl.String))
