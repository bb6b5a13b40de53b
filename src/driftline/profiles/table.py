"""Profiles by window and version: made of rows batch by batch, merged, and carried between machines as a small table.

A column of a table of profiles is a key or bytes, so whatever moves tables moves profiles: Parquet, Delta, Spark. Each
process maps its rows to a `ProfileTable`; merging these, in any order, gives the table of all rows, byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import polars as pl

from driftline.errors import CodecError, DataError, MergeError
from driftline.events import Window, WindowSpec
from driftline.profiles.by_window import Profiled, by_window, profile_with_segments
from driftline.profiles.column import NumericColumn
from driftline.profiles.frame import FEATURE
from driftline.profiles.layout import Layout, read_rows
from driftline.profiles.profile import WindowProfile
from driftline.profiles.segments import SegmentProfiles
from driftline.sketches import Grid, decode, encode

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA: Mapping[str, pl.DataType] = {
    "start": pl.Datetime("us", "UTC"),
    "end": pl.Datetime("us", "UTC"),
    "version": pl.String(),
    "predictions": pl.Int64(),
    "labelled": pl.Int64(),
    "profile": pl.Binary(),
    "segments": pl.Binary(),
    "layout": pl.String(),
    "checksum": pl.String(),
}
"""The columns of a stored table. ``start`` and ``end`` are null for rows that are in no window; ``layout`` is the
`Layout.digest`; ``checksum`` is of all the others, and null or not there in tables of a release that wrote none.
"""

_LATER = ("checksum",)
_DIGITS = 32


class Key(NamedTuple):
    """Which rows a profile is of: their window, None for those without a time, and the model's version."""

    window: Window | None
    version: str

    @property
    def order(self) -> tuple[bool, Window | None, str]:
        """What keys are sorted by: time, then version; rows without a time come first."""
        return (False, None, self.version) if self.window is None else (True, self.window, self.version)


class ProfileTable(msgspec.Struct, frozen=True):
    """Profiles by window and version, in order of time. ``ProfileTable()`` is the identity of `merge`.

    It takes as much memory as its profiles: windows times versions times some kilobytes a column.
    """

    parts: Mapping[Key, Profiled] = {}

    def merge(self, other: ProfileTable) -> ProfileTable:
        """Return the profiles of both sets of rows; raises `MergeError` for profiles of other layouts."""
        return ProfileTable.of((*self.parts.items(), *other.parts.items()))

    @classmethod
    def of(cls, parts: Iterable[tuple[Key, Profiled]]) -> ProfileTable:
        """Merge any number of profiles, in one pass; those with equal keys become one."""
        found: dict[Key, Profiled] = {}
        for key, part in parts:
            found[key] = found[key].merge(part) if key in found else part
        return cls(dict(sorted(found.items(), key=lambda one: one[0].order)))

    @classmethod
    def of_all(cls, tables: Iterable[ProfileTable]) -> ProfileTable:
        """Merge any number of tables, in one pass."""
        return cls.of(chain.from_iterable(table.parts.items() for table in tables))

    @property
    def predictions(self) -> int:
        """The number of rows."""
        return sum(part.whole.predictions for part in self.parts.values())

    @property
    def labelled(self) -> int:
        """The number of rows with a label."""
        return sum(part.whole.labelled for part in self.parts.values())


def profile_batch(batch: pl.DataFrame | pa.RecordBatch, layout: Layout) -> ProfileTable:
    """Profile the rows of one batch as they came, a Polars frame or a record batch of Arrow."""
    frame = batch if isinstance(batch, pl.DataFrame) else _frame_of(batch, layout)
    if not frame.height:
        return ProfileTable()
    rows = read_rows(frame, layout)
    version = rows["version"].fill_null("") if "version" in rows.columns else pl.lit("", pl.String)
    rows = rows.with_columns(version.alias("version"))
    timed = layout.windows is not None and rows["time"].null_count() < rows.height
    parts: dict[Key, pl.DataFrame] = {}
    if layout.windows is not None and timed:
        there = rows.filter(pl.col("time").is_not_null())
        parts = {Key(window, name): part for (window, name), part in by_window(there, layout.windows).items()}
        rows = rows.filter(pl.col("time").is_null())
    for (name,), part in rows.partition_by("version", as_dict=True, maintain_order=True).items():
        parts[Key(None, name)] = part
    return ProfileTable.of(
        (key, profile_with_segments(part, layout.schema, layout.grids, layout.anchors)) for key, part in parts.items()
    )


def profile_batches(batches: Iterable[pl.DataFrame | pa.RecordBatch], layout: Layout) -> ProfileTable:
    """Profile the rows of some batches, one in memory at a time; no batches give the identity.

    Any split of the same rows into batches and partitions, merged in any order, gives the same table, byte for byte.
    """
    return ProfileTable.of_all(profile_batch(batch, layout) for batch in batches)


def _frame_of(batch: pa.RecordBatch, layout: Layout) -> pl.DataFrame:
    wanted = [name for name in layout.reads if name in batch.schema.names]
    if not wanted:
        return pl.DataFrame(height=batch.num_rows)
    frame = pl.from_arrow(batch.select(wanted))
    assert isinstance(frame, pl.DataFrame)
    return frame


# ---- as a table ------------------------------------------------------------------------------------------------------


def as_frame(table: ProfileTable, layout: Layout) -> pl.DataFrame:
    """Return a table with the columns of `SCHEMA`, a row for each window and version, in order of time.

    Equal tables are equal frames, byte for byte.
    """
    rows = [
        (
            None if key.window is None else key.window.start,
            None if key.window is None else key.window.end,
            key.version,
            part.whole.predictions,
            part.whole.labelled,
            encode(part.whole),
            encode(part.segments) if part.segments.columns else None,
            layout.digest,
        )
        for key, part in table.parts.items()
    ]
    return pl.DataFrame([(*row, _checksum(row)) for row in rows], schema=dict(SCHEMA), orient="row")


def _checksum(row: tuple[Any, ...]) -> str:
    """The digest of the values of a row but the last, 32 hex digits; moments of equal time are equal in any zone."""
    digest = hashlib.sha256()
    for value in row[: len(SCHEMA) - len(_LATER)]:
        plain = value if isinstance(value, bytes) else _plain(value)
        digest.update(b"%d:" % len(plain))  # so that what moves from one value into the next changes it
        digest.update(plain)
    return digest.hexdigest()[:_DIGITS]


def _plain(value: object) -> bytes:
    """Write a text as it is: which signs `repr` escapes is another matter in each release of Python."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().encode()
    return value.encode() if isinstance(value, str) else repr(value).encode()


def as_batch(table: ProfileTable, layout: Layout) -> pa.RecordBatch:
    """Return the frame of `as_frame` as a record batch of Arrow, in the types that Spark has; needs PyArrow."""
    import pyarrow as pa

    moment = pa.timestamp("us", "UTC")
    types = (moment, moment, pa.string(), pa.int64(), pa.int64(), pa.binary(), pa.binary(), pa.string(), pa.string())
    schema = pa.schema(list(zip(SCHEMA, types, strict=True)))
    return pa.RecordBatch.from_pydict(as_frame(table, layout).to_dict(as_series=False), schema=schema)


def from_frame(frame: pl.DataFrame, layout: Layout, name: str = "the table of profiles") -> ProfileTable:
    """Return the profiles of a frame with the columns of `SCHEMA`; rows with equal keys are merged.

    Raises `DataError` for what is no such table, is damaged, or is of another layout: each row is checked against its
    profile, since it may come from anywhere. ``name`` is for messages.
    """
    if lacking := [one for one in SCHEMA if one not in frame.columns and one not in _LATER]:
        raise DataError(f"{name} has no column {lacking[0]!r}; `driftline profile` writes {', '.join(SCHEMA)}")
    frame = frame.with_columns(pl.lit(None, SCHEMA[one]).alias(one) for one in _LATER if one not in frame.columns)
    known = pl.DataFrame([_typed(frame[one], dtype, name) for one, dtype in SCHEMA.items()])
    try:
        return ProfileTable.of(_from_row(row, layout, name) for row in known.iter_rows())
    except MergeError as error:
        raise DataError(f"{name} is damaged: {error}") from error


def _typed(values: pl.Series, dtype: pl.DataType, name: str) -> pl.Series:
    try:
        return values.cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{name} has {values.name} of the type {values.dtype}; `driftline profile` writes {dtype}"
        ) from error


def from_batch(batch: pa.RecordBatch, layout: Layout) -> ProfileTable:
    """Return the profiles of a record batch of Arrow; errors as of `from_frame`."""
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return from_frame(frame, layout)


def _is_cut(window: Window, windows: WindowSpec | None) -> bool:
    try:
        return windows is not None and windows.window_of(window.start) == window
    except (OverflowError, ValueError):  # next to the first or last year there is
        return False


def _from_row(row: tuple[Any, ...], layout: Layout, name: str) -> tuple[Key, Profiled]:
    start, end, version, predictions, labelled, profile, segments, digest, checksum = row
    where = f"{name}, the profile from {start.isoformat() if start is not None else 'no time'}"
    if digest != layout.digest:
        raise DataError(
            f"{where} has the layout {digest}; this one is {layout.digest}: profiles are comparable only if they were "
            "made with the same reference, columns and window; profile the rows again"
        )
    if version is None or profile is None or (start is None) != (end is None):
        raise DataError(f"{where} is damaged: it lacks its version, its profile or an end of its window")
    window = None if start is None or end is None else Window(start, end)
    if window is not None and not _is_cut(window, layout.windows):
        raise DataError(f"{where} is damaged: {window.start} to {window.end} is no window of its layout")
    try:
        whole = decode(profile, WindowProfile)
        parts = SegmentProfiles() if segments is None else decode(segments, SegmentProfiles)
    except CodecError as error:
        raise DataError(f"{where} is damaged, or of a newer release: {error}") from error
    for column, profile_of in whole.features.columns.items():
        own = layout.grids.get(FEATURE + column, Grid())
        if isinstance(profile_of, NumericColumn) and profile_of.sketch.count and profile_of.sketch.grid != own:
            raise DataError(f"{where} is damaged: it counts {column} on another grid than its layout")
    if (predictions, labelled) != (whole.predictions, whole.labelled):
        raise DataError(
            f"{where} is damaged: it says that it has {predictions} predictions, {labelled} of them labelled, and its "
            f"profile has {whole.predictions} and {whole.labelled}"
        )
    if checksum is not None and checksum != _checksum(row):
        raise DataError(f"{where} is damaged: its checksum is that of other values; profile the rows again")
    return Key(window, version), Profiled(whole, parts)
