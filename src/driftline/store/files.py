"""Reads the files that people have: Parquet and CSV."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from driftline.errors import DataError, UsageError

READERS = {".parquet": pl.read_parquet, ".pq": pl.read_parquet, ".csv": pl.read_csv}


def read_rows(path: Path) -> pl.DataFrame:
    """Read a whole file; raise `DataError` when it cannot be read as what its name says."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: files of type {path.suffix!r} are not read; allowed are {', '.join(READERS)}")
    try:
        return reader(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
