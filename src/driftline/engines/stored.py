"""Tables of profiles as they are stored: a Parquet file or a Delta Lake table that says by itself what it is.

Beside the columns of `driftline.profiles.table.SCHEMA` each row has its model's name, the release of Driftline that
made it, and the bytes of its layout, so that whoever copies, joins or rewrites such tables loses nothing. Parquet and
Delta store a column of equal values once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from driftline.errors import CodecError, DataError
from driftline.profiles.layout import Layout
from driftline.profiles.table import ProfileTable, as_frame, from_frame
from driftline.sketches import decode, encode
from driftline.sources.files import files_of, open_rows, whole
from driftline.sources.profiled import LAYOUT, MODEL, RELEASE, TELLING, holds_profiles
from driftline.sources.rows import readable
from driftline.text.numbers import count

_SAME = ("start", "end", "version", "profile", "segments")


@dataclass(frozen=True, slots=True)
class StoredProfiles:
    """What a stored table holds: its profiles, the layout that they were made with, and the model's name.

    ``name`` is where it came from, for messages. ``twice`` is how many of its rows are there once more, byte for byte:
    most likely the same rows were profiled twice.
    """

    table: ProfileTable
    layout: Layout
    model: str
    name: str
    twice: int = 0

    holds_profiles: ClassVar[bool] = True
    """Tells them from rows before this module is imported, see `is_profiles`."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever reads the profiles has to be told, in words without a full stop."""
        if not self.twice:
            return ()
        profiles = "1 profile" if self.twice == 1 else f"{count(self.twice)} profiles"
        same = "of the same window and version and with the same counts"
        return (f"{self.name} has {profiles} twice, {same}: rows that were profiled twice count twice",)


def open_profiles(given: str | Path | pl.DataFrame | StoredProfiles) -> StoredProfiles:
    """Read a table of profiles; those of a pattern, or folder, are merged, and what is open already stays as it is.

    Raises `DataError` for one that is damaged, of a newer release, or of several layouts or models.
    """
    if isinstance(given, StoredProfiles):
        return given
    if isinstance(given, pl.DataFrame):
        return _from_frame(given, "the table of profiles")
    files = [open_rows(file) for file in files_of(str(given))]
    if not all(holds_profiles(rows.schema) for rows in files):
        there = open_rows(given).schema  # which refuses rows and profiles together, and says which are which
        lacking = ", ".join(sorted(TELLING - set(there)))
        raise DataError(f"{given} is no table of profiles, as `driftline profile` writes them: it lacks {lacking}")
    with readable(str(given)):  # tables of several releases differ in their columns, and damaged ones in their types
        every = pl.concat([whole(rows) for rows in files], how="diagonal_relaxed")
    return _from_frame(every, str(given))


def _from_frame(frame: pl.DataFrame, name: str) -> StoredProfiles:
    if not frame.height:
        raise DataError(f"{name} is a table of profiles without any; profile some rows with `driftline profile`")
    layout = _layout_of(frame, name)
    models = frame[MODEL].unique().sort().to_list()
    if not all(isinstance(one, str) for one in models):
        raise DataError(f"{name} is damaged: {MODEL} is not the name of a model in all its rows")
    if len(models) != 1:
        raise DataError(f"{name} has profiles of {len(models)} models ({', '.join(map(str, models))}); name one's")
    twice = frame.height - frame.select(_SAME).n_unique()
    return StoredProfiles(from_frame(frame, layout, name), layout, models[0], name, twice)


def _layout_of(frame: pl.DataFrame, name: str) -> Layout:
    """The layout of the first row; that all others have one like it is checked row by row."""
    stored = frame[LAYOUT][0]
    if not isinstance(stored, bytes):
        raise DataError(f"{name} is damaged: {LAYOUT} has no bytes")
    try:
        return decode(stored, Layout)
    except CodecError as error:
        release = frame[RELEASE][0]
        raise DataError(
            f"{name} has a layout that this release cannot read ({error}); it was made by driftline {release}: upgrade "
            "driftline, or profile the rows again"
        ) from error


def stored_frame(table: ProfileTable, layout: Layout, model: str, release: str) -> pl.DataFrame:
    """Return a table of profiles as it is stored; equal tables are equal, byte for byte."""
    return as_frame(table, layout).with_columns(
        pl.lit(model).alias(MODEL), pl.lit(release).alias(RELEASE), pl.lit(encode(layout)).alias(LAYOUT)
    )
