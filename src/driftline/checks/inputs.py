"""Open what a user passes to `check` as rows: frames of several libraries, Arrow streams, paths and addresses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from driftline.errors import DataError, UsageError
from driftline.events import MISSING_TEXTS
from driftline.sources.files import open_rows
from driftline.sources.frames import frame_of_pandas, frame_of_table, is_library_fault
from driftline.sources.hidden import HiddenRows
from driftline.sources.relations import is_relation, rows_of_relation
from driftline.sources.rows import FrameRows, Rows, ScannedRows, StreamedRows

_TABLES = ("Table", "RecordBatch", "DataFrame")
"""Types, by name, that hold their rows in memory; what else has ``__arrow_c_stream__`` is read once, as a stream."""


def rows_of(rows: Any, side: str, missing: Sequence[str] = MISSING_TEXTS, ignore: Collection[str] = ()) -> Rows:
    """Open one side of a comparison; ``side`` names rows in messages that have no name of their own.

    ``missing`` are the texts that stand for no value in CSV and TSV. The values of columns in ``ignore`` are not read,
    and may be of any type. Raises `UsageError` for an object that holds no rows, `DataError` for unreadable rows.
    """
    if isinstance(rows, (str, Path)):
        return open_rows(rows, missing, ignore)
    try:
        return _from_memory(rows, side, ignore)
    except BaseException as error:
        if isinstance(error, (UsageError, DataError)) or not is_library_fault(error):
            raise
        raise DataError(f"the {side} rows cannot be read: {' '.join(str(error).split())}") from error


def _from_memory(rows: Any, side: str, ignore: Collection[str]) -> Rows:
    if isinstance(rows, HiddenRows):
        return rows
    if isinstance(rows, pl.DataFrame):
        return FrameRows(rows, side)
    if isinstance(rows, pl.LazyFrame):
        # in one pass: a query may be dear, and its rows may come in another order the next time
        return ScannedRows(rows, side, narrow=False, typed=True, ignore=ignore)
    if is_relation(rows):
        return rows_of_relation(rows, side, ignore)
    if type(rows).__name__ == "DeltaTable":
        return ScannedRows(pl.scan_delta(rows), side, narrow=True, ignore=ignore)
    if isinstance(rows, list) and rows and all(hasattr(part, "__arrow_c_array__") for part in rows):
        return FrameRows(pl.concat([frame_of_table(part, ignore) for part in rows]), side)
    if type(rows).__name__ == "DataFrame" and hasattr(rows, "iloc"):
        return FrameRows(frame_of_pandas(rows, ignore), side)
    if hasattr(rows, "__arrow_c_stream__") and type(rows).__name__ not in _TABLES:
        return StreamedRows(rows, side, ignore)
    if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
        return FrameRows(frame_of_table(rows, ignore), side)
    raise UsageError(
        f"a {type(rows).__name__} came; allowed are a Polars or pandas DataFrame, "
        "anything with __arrow_c_stream__, or the path of a file"
    )
