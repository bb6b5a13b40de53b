"""Reads the files that people have: Parquet, CSV, Arrow IPC, newline-delimited JSON, and folders of Delta
Lake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from driftline.errors import DataError, UsageError

_NULLS = ["", "NA", "N/A", "NULL", "null"]
_DUPLICATED = re.compile(r"(?P<name>.*)_duplicated_\d+")
_MESSAGE_LENGTH = 200


def _separated(separator: str) -> Callable[[Path], pl.DataFrame]:
    def read(path: Path) -> pl.DataFrame:
        def rows(infer_schema_length: int | None) -> pl.DataFrame:
            return pl.read_csv(
                path,
                separator=separator,
                try_parse_dates=True,
                null_values=_NULLS,
                infer_schema_length=infer_schema_length,
            )

        try:
            frame = rows(10_000)
        except pl.exceptions.ComputeError:  # a type that the first rows did not show: look at all of them
            frame = rows(None)
        for name in frame.columns:
            found = _DUPLICATED.fullmatch(name)
            if found and found["name"] in frame.columns:
                raise DataError(
                    f"{path}: the column {found['name']!r} comes more than once; give each a name of its own"
                )
        return frame

    return read


def _delta(path: Path) -> pl.DataFrame:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return pl.read_delta(DeltaTable(path))
    except DeltaError as error:
        raise OSError(str(error)) from error


READERS: Mapping[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".pq": pl.read_parquet,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".arrow": pl.read_ipc,
    ".feather": pl.read_ipc,
    ".ndjson": pl.read_ndjson,
    ".jsonl": pl.read_ndjson,
}
"""Reader by suffix, in small letters; a folder is read as Delta Lake."""


def read_rows(path: Path) -> pl.DataFrame:
    """Read a whole file; raise `UsageError` for one that is not there or not known, `DataError` for a broken
    one.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is no such file")
    reader: Callable[[Path], pl.DataFrame]
    if path.is_dir():
        if not (path / "_delta_log").is_dir():
            raise UsageError(f"{path} is a folder without a Delta Lake table; name a file, or a folder with _delta_log")
        reader = _delta
    elif path.suffix.lower() in READERS:
        reader = READERS[path.suffix.lower()]
    else:
        raise UsageError(f"{path}: files of type {path.suffix!r} are not read; allowed are {', '.join(READERS)}")
    try:
        return reader(path)
    except pl.exceptions.NoDataError:
        raise DataError(f"{path} is empty") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        words = " ".join(str(error).split())[:_MESSAGE_LENGTH] or type(error).__name__
        raise DataError(f"{path} cannot be read: {words}") from error
