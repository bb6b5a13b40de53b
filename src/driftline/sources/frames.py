"""Convert frames of other libraries to Polars, column by column if one of them has a type that Polars lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import polars as pl

from driftline.errors import DataError
from driftline.sources.arrow import INDEX, Gate, unread_series


def frame_of_table(rows: Any, ignore: Collection[str] = ()) -> pl.DataFrame:
    """Return an Arrow table or similar as a frame, without the index of pandas; ``ignore`` columns are not read."""
    from arro3.core import Table

    table = Table.from_arrow(rows)
    gate = Gate(table.schema, ignore)
    if not gate.is_open:
        return gate.frame(table)
    # Polars takes some rows of a batch wrongly, or not at all, if these have vectors of one length, some of them null.
    frame = pl.DataFrame(table if any(dtype.list_size for dtype in table.schema.types) else rows)
    return frame.drop([name for name in frame.columns if name.startswith(INDEX)])


def frame_of_pandas(rows: Any, ignore: Collection[str] = ()) -> pl.DataFrame:
    """Return a pandas frame in Polars; a column that cannot be read holds only its type's name.

    Columns in ``ignore`` are not read.
    """
    names = [str(name) for name in rows.columns]
    kept = [place for place, name in enumerate(names) if name not in ignore]
    if again := [name for name, times in Counter(names[place] for place in kept).items() if times > 1]:
        raise DataError(f"the column {again[0]!r} comes more than once; give each a name of its own")
    wanted = rows if len(kept) == len(names) else rows.iloc[:, kept]
    try:
        frame = frame_of_table(wanted)
    except BaseException as error:
        if not is_library_fault(error):
            raise
        frame = pl.DataFrame([_column(names[place], rows.iloc[:, place]) for place in kept])
    left_out = dict.fromkeys(name for name in names if name in ignore)
    return frame.with_columns(unread_series(name, "ignored", len(rows)) for name in left_out)


def is_library_fault(error: BaseException) -> bool:
    """Return whether an error is a failure of a library; a panic in Rust is not an `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _column(name: str, column: Any) -> pl.Series:
    values = column.to_numpy()
    if values.dtype.kind in "iufbM":
        series = pl.Series(name, values.astype("float64") if values.dtype.itemsize > 8 else values)
        return series.fill_nan(None) if series.dtype.is_float() else series
    try:
        return frame_of_table(column.to_frame(name)).to_series()
    except BaseException as error:
        if not is_library_fault(error):
            raise
    missing = column.isna().to_numpy()
    there = [None if gone else _plain(value) for value, gone in zip(values.tolist(), missing, strict=True)]
    try:
        series = pl.Series(name, there, strict=False)
    except BaseException as error:
        if not is_library_fault(error):
            raise
        series = pl.Series(name, [], dtype=pl.Object)
    if series.dtype != pl.Object:
        return series
    words = str(column.dtype)
    if words == "object":
        words = type(next(value for value in there if value is not None)).__name__
    return unread_series(name, words, len(there), int(missing.sum()))


def _plain(value: Any) -> Any:
    """Return a time with an offset in UTC, since Polars has no offsets; other values unchanged."""
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo is not None else value
