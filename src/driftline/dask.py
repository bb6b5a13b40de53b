"""Profiles on Dask: parts of the rows become profiles where they lie, which merge in a tree on the workers.

Dask only carries rows to `driftline.profiles.carried` and profiles back, so the result is, byte for byte, that of one
process. Importing this module needs no Dask.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from driftline.engines.local import as_written
from driftline.errors import UsageError
from driftline.profiles.carried import KEYS, as_carried, carried_layout, columns_read, profile_parts, told_apart
from driftline.profiles.layout import Layout
from driftline.profiles.table import ProfileTable
from driftline.sources.files import open_rows
from driftline.sources.frames import frame_of_pandas, frame_of_table

FAN_IN = 16
"""So many tables of profiles are merged by one task."""


def profile(frame: Any, layout: Layout, by: Iterable[str] = KEYS) -> ProfileTable:
    """Profile a ``dask.dataframe``, or a sequence of ``dask.delayed`` values that are frames, of pandas or of Arrow.

    ``by`` says what rows are told apart by, see `driftline.profiles.carried.told_apart`. It is computed as Dask is set
    up to: by the client of a cluster, or by threads here. A task holds one part, or `FAN_IN` tables of profiles.
    """
    layout = told_apart(layout, by)
    if hasattr(frame, "to_delayed"):
        frame = frame[list(columns_read(layout, list(frame.columns)))].to_delayed()
    elif not isinstance(frame, Sequence) or not all(hasattr(part, "dask") for part in frame):
        raise UsageError(
            f"a {type(frame).__module__}.{type(frame).__qualname__} came; driftline.dask takes a dask.dataframe, or a "
            "list of dask.delayed values that are frames"
        )
    return _computed(_profile_part, frame, layout)


def profile_files(paths: Sequence[str], layout: Layout, by: Iterable[str] = KEYS) -> ProfileTable:
    """Profile files of rows, each by a task that reads it in batches: whatever `driftline check` reads."""
    return _computed(_profile_file, paths, told_apart(layout, by))


def _computed(work: Any, parts: Iterable[Any], layout: Layout) -> ProfileTable:
    try:
        import dask
    except ImportError as error:
        raise UsageError(
            "driftline.dask needs Dask, which is not installed here; run: python -m pip install 'driftline[dask]'"
        ) from error
    work, merge, carried = dask.delayed(work), dask.delayed(ProfileTable.of_all), as_carried(layout)
    tables = [work(part, carried) for part in parts]
    while len(tables) > 1:
        tables = [merge(tables[place : place + FAN_IN]) for place in range(0, len(tables), FAN_IN)]
    table: ProfileTable = dask.compute(*tables)[0] if tables else ProfileTable()
    return table


def _profile_part(part: Any, carried: bytes) -> ProfileTable:
    layout = carried_layout(carried)
    is_pandas = hasattr(part, "iloc")
    there = list(part.columns if is_pandas or isinstance(part, pl.DataFrame) else part.schema.names)
    wanted = _wanted(there, layout)
    frame = frame_of_pandas(part[wanted]) if is_pandas else frame_of_table(part.select(wanted))
    return ProfileTable.of_all(profile_parts([frame], layout))


def _profile_file(path: str, carried: bytes) -> ProfileTable:
    layout = carried_layout(carried)
    rows = as_written(open_rows(path), layout.reads)
    return ProfileTable.of_all(profile_parts(rows.batches(_wanted(list(rows.schema), layout)), layout))


def _wanted(there: Sequence[str], layout: Layout) -> list[str]:
    """The columns to read of a part; one that is not read where there is none, since its rows count."""
    return [name for name in layout.reads if name in there] or list(there[:1])
