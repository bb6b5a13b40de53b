"""Cut canonical rows into windows, and profile the rows of one with its segments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from driftline.events import Schema, Window, WindowSpec
from driftline.profiles.build import profile_rows
from driftline.profiles.parts import Anchor
from driftline.profiles.profile import WindowProfile
from driftline.profiles.segments import SegmentProfiles, profile_segments
from driftline.sketches import Grid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR, _LAST_YEAR = 1000, 8999
_MICROSECOND = timedelta(microseconds=1)


class Profiled(NamedTuple):
    """The profiles of some rows of a window: of all of them, and of their segments."""

    whole: WindowProfile = WindowProfile()
    segments: SegmentProfiles = SegmentProfiles()

    def merge(self, other: Profiled) -> Profiled:
        """Return the profiles of both sets of rows."""
        return Profiled(self.whole.merge(other.whole), self.segments.merge(other.segments))


def profile_with_segments(
    rows: pl.DataFrame, schema: Schema, grids: Mapping[str, Grid], anchors: Mapping[str, Anchor]
) -> Profiled:
    """Profile canonical rows, shape (n, columns), and the segments that the schema tells apart."""
    segments = profile_segments(rows, schema, grids) if schema.segments else SegmentProfiles()
    return Profiled(profile_rows(rows, schema, grids, anchors), segments)


def in_calendar(times: pl.Series) -> pl.Series:
    """Return times in UTC with null for those outside the years 1000 to 8999, such as 9999-12-31 for an unknown day.

    Around them the calendar has no windows.
    """
    seen = times.dt.year().is_between(_FIRST_YEAR, _LAST_YEAR).fill_null(False)
    return times if seen.all() else times.set(~seen, None)


def by_window(rows: pl.DataFrame, spec: WindowSpec) -> dict[tuple[Window, str], pl.DataFrame]:
    """Split canonical rows with ``time`` and ``version`` into windows and versions."""
    times = rows["time"].cast(pl.Datetime("us", "UTC"))
    windows = windows_of(times, spec)
    starts = np.array([(window.start - _EPOCH) // _MICROSECOND for window in windows], np.int64)
    which = np.searchsorted(starts, times.to_physical().to_numpy(), side="right") - 1
    parts = rows.with_columns(pl.Series("window", which)).partition_by(
        "window", "version", as_dict=True, include_key=False, maintain_order=True
    )
    return {(windows[place], version): part for (place, version), part in parts.items()}


def windows_of(times: pl.Series, spec: WindowSpec) -> list[Window]:
    """Return the windows that hold moments, aware UTC to the microsecond, each once and in order."""
    moments = np.sort(times.to_physical().to_numpy())
    windows: list[Window] = []
    place = 0
    while place < len(moments):
        windows.append(window := spec.window_of(_EPOCH + int(moments[place]) * _MICROSECOND))
        place = int(np.searchsorted(moments, (window.end - _EPOCH) // _MICROSECOND))
    return windows
