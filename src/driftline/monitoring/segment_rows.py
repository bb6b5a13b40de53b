"""One feature of the rows of each segment: profiled when somebody asks, for windows are not kept so.

The rows of a window come from the event log, those of the reference from its file: of both only the columns of the
feature and of the segment are read, once, and what they say is the ordinary profile. So the segments of a column,
merged, are to the byte what the window, or the reference, has stored of all its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from driftline.events import Kind, Schema, Window
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
class Part:
    """The rows of one segment and version: how many, and what they say of the feature, None where they lack it."""

    segment: str
    version: str
    rows: int
    column: Column | None


def too_many(rows: int, kind: Kind, what: str) -> str:
    """Say that ``what`` has more rows than are read for a page; empty where it has not."""
    most = MOST_LONG_ROWS if kind in COMPOSITE else MOST_ROWS
    if rows <= most:
        return ""
    return f"{what} has {count(rows)} rows; to show a segment of a {kind} feature, at most {count(most)} are read"


def parts_of_window(
    log: EventLog,
    window: Window,
    feature: str,
    by: str,
    schema: Schema,
    reference: Reference,
    *,
    through: Mapping[Table, int] | None = None,
) -> list[Part]:
    """Profile a feature of each segment of a column in a window, by version, both sorted.

    ``through`` is as for `EventLog.window_rows`.
    """
    rows = log.inputs_of(window, [FEATURE + feature, FEATURE + by], through=through)
    return _parts(rows, segment_values(rows, by, schema), feature, schema, reference)


def parts_of_reference(
    config: ModelConfig, feature: str, by: str, schema: Schema, reference: Reference, months: Sequence[int]
) -> list[Part]:
    """Profile a feature of each segment of a column in the reference's file, of the ``months`` of its season or of all.

    They are of no version. Raises `DataError` and `UsageError` for a file that cannot be read.
    """
    source, columns = opened(config.reference, config), config.columns
    wanted = dict.fromkeys((feature, by, *([columns.time] if months and columns.time else [])))
    names = [name for name in wanted if name in source.schema]
    came = pl.concat([source.sample().select(names).clear(), *source.batches(names)], how="vertical_relaxed")
    rows = canonical(read_as_served(came, columns, typed=source.typed), columns, schema)
    if months:
        month = in_calendar(rows["time"]).dt.convert_time_zone(config.window.timezone).dt.month()
        rows = rows.filter(month.is_in(pl.Series(months).implode()))
    named = rows.select(pl.col(SEGMENT + by).alias(FEATURE + by))
    rows = rows.with_columns(version=pl.lit(""))
    return _parts(rows, segment_values(named, by, schema), feature, schema, reference)


def _parts(rows: pl.DataFrame, segments: pl.Series, feature: str, schema: Schema, reference: Reference) -> list[Part]:
    """Profile the feature of rows by segment, shape (n,), and version."""
    name = FEATURE + feature
    alone = rows.select("version", *([name] if name in rows.columns else [])).with_columns(segments.alias(SEGMENT))
    return [
        Part(str(segment), str(version), part.height, reference.profiled(part, schema).features.columns.get(feature))
        for (segment, version), part in sorted(alone.partition_by(SEGMENT, "version", as_dict=True).items())
    ]
