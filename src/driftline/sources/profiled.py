"""Tell a table of profiles from rows by its columns, without reading or importing what is made of it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from driftline.errors import DriftlineError
from driftline.sources.far import store_options
from driftline.sources.files import open_rows
from driftline.sources.rows import readable

MODEL, RELEASE, LAYOUT = "model", "release", "layout_bytes"
"""The columns of a stored table of profiles beside those of `driftline.profiles.table.SCHEMA`."""

TELLING = frozenset(
    {"start", "end", "version", "predictions", "labelled", "profile", "segments", "layout", MODEL, RELEASE, LAYOUT}
)
"""The columns that a stored table of profiles has."""

_PARQUET = re.compile(r"\.(parquet|pq)$", re.IGNORECASE)
_NO_SUFFIX = re.compile(r"://.*/[^./]*$")


def holds_profiles(columns: Collection[str]) -> bool:
    """Return whether a table with these columns is one of profiles, and not of rows."""
    return set(columns) >= TELLING


def is_profiles(given: Any) -> bool:
    """Return whether a path, pattern or address, or a frame, is a table of profiles; nothing but its columns is read.

    What cannot be opened is none: whoever reads it as rows says what is wrong. Text files are none either; to learn
    their columns they would have to be read, some of them from far away.
    """
    if getattr(type(given), "holds_profiles", False) is True:  # those of `driftline.engines.stored`, opened already
        return True
    if isinstance(given, pl.DataFrame):
        return holds_profiles(given.columns)
    if not isinstance(given, (str, Path)):
        return False
    name = str(given)
    try:
        with readable(name):
            if _PARQUET.search(name) and not Path(name).is_dir():
                return holds_profiles(pl.scan_parquet(name, storage_options=store_options(name)).collect_schema())
            return bool(_NO_SUFFIX.search(name) or Path(name).is_dir()) and holds_profiles(open_rows(given).schema)
    except DriftlineError:
        return False
