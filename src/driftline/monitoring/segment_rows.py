"""One feature of the rows of one segment: profiled when somebody asks, for windows are not kept so.

The rows of a window come from the event log, those of the reference from its file: of both only the columns of the
feature and of the segment are read, once, and what they say is the ordinary profile. So the segments of a column,
merged, are to the byte what the window, or the reference, has stored of all its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from driftline.events import Kind, Schema, Segment, Window
from driftline.monitoring.hiding import opened
from driftline.monitoring.options import ModelConfig
from driftline.profiles import Column, Reference, canonical
from driftline.profiles.by_window import in_calendar
from driftline.profiles.frame import COMPOSITE, FEATURE, SEGMENT
from driftline.profiles.reading import read_as_served
from driftline.profiles.segments import segment_values
from driftline.store.log import EventLog, Table
from driftline.text.numbers import count

MOST_ROWS = 1_000_000
"""At most so many rows are read to show a segment of a window, or of the reference."""

MOST_LONG_ROWS = 20_000
"""So many of times, texts and embeddings, whose values are long, and are taken apart."""


@dataclass(frozen=True, slots=True)
class SegmentRows:
    """A feature of the rows of a segment: of how many ``rows``, and what they say, None where they lack the feature.

    ``looked_at`` is how many rows there are of all segments.
    """

    versions: Mapping[str, tuple[int, Column | None]]
    looked_at: int


def too_many(rows: int, kind: Kind, what: str) -> str:
    """Say that ``what`` has more rows than are read for a page; empty where it has not."""
    most = MOST_LONG_ROWS if kind in COMPOSITE else MOST_ROWS
    if rows <= most:
        return ""
    return f"{what} has {count(rows)} rows; to show a segment of a {kind} feature, at most {count(most)} are read"


def rows_of_window(
    log: EventLog,
    window: Window,
    feature: str,
    segment: Segment,
    schema: Schema,
    reference: Reference,
    *,
    through: Mapping[Table, int] | None = None,
) -> SegmentRows:
    """Profile a feature of a segment's rows in a window, by version; ``through`` is as for `EventLog.window_rows`."""
    rows = log.inputs_of(window, [FEATURE + feature, FEATURE + segment.column], through=through)
    mine = rows.filter(segment_values(rows, segment.column, schema) == segment.value)
    parts = mine.partition_by("version", as_dict=True, maintain_order=True)
    found = {
        str(version): (part.height, _profiled(part, feature, schema, reference))
        for (version,), part in sorted(parts.items())
    }
    return SegmentRows(found, rows.height)


def rows_of_reference(
    config: ModelConfig, feature: str, segment: Segment, schema: Schema, reference: Reference, months: Sequence[int]
) -> Column | None:
    """Profile a feature of a segment's rows in the reference's file, of the ``months`` of its season or of all.

    None where there are no such rows. Raises `DataError` and `UsageError` for a file that cannot be read.
    """
    source, columns = opened(config.reference, config), config.columns
    wanted = dict.fromkeys((feature, segment.column, *([columns.time] if months and columns.time else [])))
    names = [name for name in wanted if name in source.schema]
    came = pl.concat([source.sample().select(names).clear(), *source.batches(names)], how="vertical_relaxed")
    rows = canonical(read_as_served(came, columns, typed=source.typed), columns, schema)
    if months:
        month = in_calendar(rows["time"]).dt.convert_time_zone(config.window.timezone).dt.month()
        rows = rows.filter(month.is_in(pl.Series(months).implode()))
    named = rows.select(pl.col(SEGMENT + segment.column).alias(FEATURE + segment.column))
    return _profiled(
        rows.filter(segment_values(named, segment.column, schema) == segment.value), feature, schema, reference
    )


def _profiled(rows: pl.DataFrame, feature: str, schema: Schema, reference: Reference) -> Column | None:
    alone = rows.select(name for name in [FEATURE + feature] if name in rows.columns)
    return reference.profiled(alone, schema).features.columns.get(feature) if rows.height else None
