"""Performance and segments of rows inside a database: it returns the distinct rows on which these depend, counted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec.structs import replace

from driftline.events import Kind, Task
from driftline.profiles import Columns
from driftline.profiles.by_window import Profiled, profile_with_segments
from driftline.profiles.frame import score_columns
from driftline.profiles.layout import Layout, read_rows
from driftline.profiles.table import Key
from driftline.sql.counted import profile_counted
from driftline.sql.given import HOUR, TIMES, Given

_MICROSECONDS = 1_000_000


def is_judged(layout: Layout) -> bool:
    """Whether rows have a performance by a layout: labels and predictions."""
    return layout.columns.label is not None and layout.columns.prediction is not None


def problem_of_judging(given: Given) -> str | None:
    """Return why performance and segments would need every row, in words; None if distinct rows will do."""
    columns, schema = given.layout.columns, given.layout.schema
    if is_judged(given.layout):
        if schema.task is Task.REGRESSION:
            return "the errors of a regression differ from row to row, and all rows would have to come here"
        if score_columns(columns, schema):
            return "scores differ from row to row, and all rows would have to come here"
        if columns.time is not None and columns.time in given.types and given.kind(columns.time) not in TIMES:
            return f"{columns.time!r} has no timestamps, and rows of one hour are not independent"
    for name in _needed(given.layout):
        if name in given.layout.hashed or schema.features.get(name, Kind.CATEGORICAL) is not Kind.CATEGORICAL:
            return f"{name!r} has no names that a database counts"
        if (problem := given.problem(name)) is not None:
            return f"{name!r}: {problem}"
    return None


def profile_judged(given: Given) -> dict[Key, Profiled]:
    """Return the performance and the segments by window and version; nothing else is in these profiles."""
    layout, columns = given.layout, given.layout.columns
    if not is_judged(layout) and not layout.schema.segments:
        return {}
    wanted = [name for name in _needed(layout) if name in given.types]
    asked = [given.value(name) for name in wanted]
    if columns.time is not None and columns.time in given.types:
        asked.append(given.hour(columns.time))
    only = _layout(given)
    found: dict[Key, Profiled] = {}
    for answer in given.counts(asked):
        rows = pl.DataFrame([answer.frame[f"x{at}"].alias(name) for at, name in enumerate(wanted)])
        rows = read_rows(rows if wanted else pl.DataFrame(height=answer.frame.height), only)
        if columns.time is not None:
            hours = answer.frame[f"x{len(wanted)}"] if len(asked) > len(wanted) else None
            rows = rows.with_columns(_times(hours, rows.height))
        counts = answer.frame["rows"].to_numpy()
        for key, of_key in answer.parts():
            profiled = _profile(rows[of_key], counts[of_key], only)
            found[key] = found[key].merge(profiled) if key in found else profiled
    return found


def _needed(layout: Layout) -> list[str]:
    """The columns on which performance and segments depend, but for times."""
    columns, schema = layout.columns, layout.schema
    targets = (columns.label, columns.prediction, columns.cluster, schema.cluster) if is_judged(layout) else ()
    return [name for name in dict.fromkeys([*schema.segments, *targets]) if name is not None]


def _layout(given: Given) -> Layout:
    """How the distinct rows are read and profiled: their features serve only to tell segments and clusters apart."""
    columns, schema = given.layout.columns, given.layout.schema
    features = [name for name in _needed(given.layout) if name in schema.features]
    roles = Columns(label=columns.label, prediction=columns.prediction, cluster=columns.cluster)
    only = given.reading(roles if is_judged(given.layout) else Columns(), features)
    kept = replace(only.schema, segments=schema.segments, cluster=schema.cluster, aside=tuple(features))
    return replace(only, schema=kept)


def _profile(rows: pl.DataFrame, counts: npt.NDArray[np.int64], layout: Layout) -> Profiled:
    def those(places: npt.NDArray[np.int64]) -> Profiled:
        return profile_with_segments(rows[places], layout.schema, {}, {})

    return profile_counted(those, Profiled(), counts)


def _times(hours: pl.Series | None, rows: int) -> pl.Series:
    """The times of rows by their hours, since blocks of rows are never shorter."""
    if hours is None:
        hours = pl.Series([None], dtype=pl.Int64).new_from_index(0, rows)
    micros = hours.cast(pl.Int64) * (int(HOUR.total_seconds()) * _MICROSECONDS)
    return micros.cast(pl.Datetime("us", "UTC")).alias("time")
