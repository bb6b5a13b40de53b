"""Whatever a user hands to `check` as rows: frames of several libraries, streams of Arrow, paths and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from driftline.errors import DataError, UsageError
from driftline.events.missing import MISSING_TEXTS
from driftline.store.files import open_rows
from driftline.store.rows import FrameRows, Rows, ScannedRows, StreamedRows

_TABLES = ("Table", "RecordBatch", "DataFrame")
"""Types, by name, that hold their rows in memory; what else has ``__arrow_c_stream__`` is read once, as a stream."""


_REFUSALS = (TypeError, ValueError, NotImplementedError)
"""What PyArrow raises at values that it has no type for."""


def rows_of(rows: Any, side: str, missing: Sequence[str] = MISSING_TEXTS) -> Rows:
    """Open one side of a comparison; ``side`` is what messages call rows that have no name of their own.

    ``missing`` are the texts that stand for no value in CSV and TSV.
    """
    if isinstance(rows, (str, Path)):
        return open_rows(rows, missing)
    try:
        return _from_memory(rows, side)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, *_REFUSALS) as error:
        if isinstance(error, (UsageError, DataError)):
            raise
        raise DataError(f"the {side} rows cannot be read: {' '.join(str(error).split())}") from error


def _from_memory(rows: Any, side: str) -> Rows:
    if isinstance(rows, pl.DataFrame):
        return FrameRows(rows, side)
    if isinstance(rows, pl.LazyFrame):
        return ScannedRows(rows, side, narrow=True)
    if type(rows).__name__ == "DeltaTable":
        return ScannedRows(pl.scan_delta(rows), side, narrow=True)
    if isinstance(rows, list) and rows and all(hasattr(part, "__arrow_c_array__") for part in rows):
        return FrameRows(pl.concat([pl.DataFrame(part) for part in rows]), side)
    try:
        if hasattr(rows, "__arrow_c_stream__") and type(rows).__name__ not in _TABLES:
            return StreamedRows(rows, side)
        if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
            frame = pl.DataFrame(rows)
            return FrameRows(frame.drop([name for name in frame.columns if name.startswith("__index_level_")]), side)
    except (
        ImportError,
        *_REFUSALS,
    ):  # pandas hands out Arrow only where pyarrow is installed, and not of mixed columns
        if type(rows).__name__ != "DataFrame" or not rows.columns.is_unique:
            raise
        frame = pl.DataFrame([_pandas_column(str(name), rows[name]) for name in rows.columns])
        return FrameRows(frame, side)
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
