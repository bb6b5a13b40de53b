"""What engines of many processes have in common: what rows are told apart by, and the map of a part of the rows.

Spark, Dask and Ray only carry rows to this map, and profiles back. Nothing here knows of any of them, and the processes
that do the work need nothing but this package.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl
from msgspec.structs import replace

from driftline.errors import UnknownNameError, UsageError
from driftline.lookalikes import some_of
from driftline.profiles.layout import Layout
from driftline.profiles.table import SCHEMA, ProfileTable, as_batch, from_frame, profile_batch
from driftline.sketches import decode, encode
from driftline.sources.frames import frame_of_table

if TYPE_CHECKING:
    import pyarrow as pa

KEYS = ("window", "version", "segment")
"""What rows can be told apart by, as a stored table does."""

_CELLS = 4_000_000  # values in memory at a time, of some batches together: each costs something a window and column
_HELD = 10_000  # profiles of a column that are kept until there is no more to come; each has some tens of kilobytes


def told_apart(layout: Layout, by: Iterable[str] = KEYS) -> Layout:
    """Return the layout with which rows are told apart by some of `KEYS` and no others; by none they are one profile.

    The result of an engine is of this layout: ``window`` takes the windows away where it is missing, ``version`` the
    column of versions, ``segment`` the segments. Raises `UnknownNameError` for other names.
    """
    wanted = {by} if isinstance(by, str) else set(by)
    if unknown := sorted(map(str, wanted.difference(KEYS))):
        raise UnknownNameError("key", unknown[0], KEYS)
    columns, schema = layout.columns, layout.schema
    return replace(
        layout,
        windows=layout.windows if "window" in wanted else None,
        columns=columns if "version" in wanted else replace(columns, version=None),
        schema=schema if "segment" in wanted else replace(schema, segments={}),
    )


def columns_read(layout: Layout, there: Collection[str], name: str = "the frame") -> tuple[str, ...]:
    """Return the columns that are read of those that are there, in the layout's order.

    A column that is not there is missing in all rows. Raises `UsageError` where nothing would be left to profile, where
    the times that cut windows are not there, and where values would have to be hashed with a key that no engine has.
    """
    if layout.hashed:
        raise UsageError(
            f"the layout has columns that are stored as keyed hashes ({some_of(layout.hashed)}), and {name} goes to "
            "processes that do not have the key; profile it with `driftline profile --engine local`"
        )
    wanted = tuple(one for one in layout.reads if one in there)
    if not wanted:
        raise UsageError(
            f"{name} has the columns {some_of(sorted(there)) or 'none'}, and none of those that the layout reads: "
            f"{some_of(layout.reads)}"
        )
    time = layout.columns.time
    if layout.windows is not None and time not in there:
        raise UsageError(
            f"{name} has no column {time!r}, which tells when each row was predicted; it has {some_of(sorted(there))}. "
            "Name the column of times, or leave 'window' out of what rows are told apart by"
        )
    return wanted


# ---- in the processes that do the work -------------------------------------------------------------------------------


def profile_parts(frames: Iterable[pl.DataFrame], layout: Layout) -> Iterator[ProfileTable]:
    """Profile the rows of some frames, as they came; yields what is to be merged, mostly once, and nothing of no rows.

    Small frames are joined first, since each costs a bit for each of its windows. Where there are so many windows that
    their profiles would fill the memory, what there is goes out, and is merged later on with the parts of others.
    """
    held = ProfileTable()
    for frame in _joined(frames):
        held = held.merge(profile_batch(frame, layout))
        if len(held.parts) * len(layout.reads) > _HELD:
            yield held
            held = ProfileTable()
    if held.parts:
        yield held


def _joined(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Frames of the same columns and types one below the other, up to `_CELLS` values."""
    waiting: list[pl.DataFrame] = []
    cells = 0
    for frame in frames:
        if waiting and (cells >= _CELLS or waiting[0].schema != frame.schema):
            yield pl.concat(waiting)
            waiting, cells = [], 0
        waiting.append(frame)
        cells += frame.height * max(frame.width, 1)
    if waiting:
        yield pl.concat(waiting)


@lru_cache(maxsize=8)
def carried_layout(carried: bytes) -> Layout:
    """Return the layout that came as bytes; a process that takes many parts reads it once."""
    return decode(carried, Layout)


def as_carried(layout: Layout) -> bytes:
    """Return the layout as the bytes that an engine carries to its processes."""
    return encode(layout)


def profile_partition(
    batches: Iterable[pa.RecordBatch | pa.Table], names: Sequence[str], carried: bytes
) -> Iterator[pa.RecordBatch]:
    """Profile batches of Arrow with columns of these names; yields small tables of keys and bytes, mostly one."""
    layout = carried_layout(carried)
    frames = (frame_of_table(batch.rename_columns(list(names))) for batch in batches if batch.num_rows)
    return (as_batch(part, layout) for part in profile_parts(frames, layout))


def merge_group(some: pa.Table, carried: bytes) -> pa.Table:
    """Merge the profiles of a table of keys and bytes that have equal keys; one alone stays as it is."""
    import pyarrow as pa

    layout = carried_layout(carried)
    if some.num_rows == 1:  # Spark writes times in the session's zone, and reads them in UTC
        return some.select(list(SCHEMA)).cast(as_batch(ProfileTable(), layout).schema)
    merged = from_frame(frame_of_table(some), layout, "a part of the profiles")
    return pa.Table.from_batches([as_batch(merged, layout)])
