"""Profile the rows of a table or query inside its database: SQL counts, and what it returns becomes our profiles."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from driftline.profiles import Profile, WindowProfile
from driftline.profiles.by_window import Profiled
from driftline.profiles.column import Column
from driftline.profiles.frame import FEATURE
from driftline.profiles.layout import Layout
from driftline.profiles.table import Key, ProfileTable
from driftline.sql.columns import Part, parts_of, problem_of, profile_column
from driftline.sql.databases import opened, source_of
from driftline.sql.given import Given
from driftline.sql.judged import is_judged, problem_of_judging, profile_judged


class SqlProfiles(NamedTuple):
    """The profiles of rows by window and version, and what is not in them: by column or part, the reason in words.

    ``layout`` is the one that they were asked for without the features and segments left out: with it they are stored,
    and to be compared with profiles that have the same.
    """

    table: ProfileTable
    left_out: Mapping[str, str]
    layout: Layout


def profile(connection: Any, rows: str, layout: Layout) -> SqlProfiles:
    """Profile a table, by its name, or the rows of a query inside a database; nothing is written there.

    ``connection`` is one of DuckDB or psycopg, or an address: ``postgresql://…``, ``duckdb:FILE``, ``env:NAME``. What
    is profiled is equal, byte for byte, to what `driftline.profiles.table.profile_batches` makes of the same rows; the
    rest is named in ``left_out``. Raises `UsageError` for rows that do not fit the layout, `DataError` for what the
    database refuses.
    """
    source = source_of(rows)
    with opened(connection) as database:
        return _profiles(Given(database, source, layout))


def _profiles(given: Given) -> SqlProfiles:
    """Ask one statement after another, and put the answers together."""
    counts: dict[Key, int] = {}
    for answer in given.counts([]):
        for key, of_key in answer.parts():
            counts[key] = counts.get(key, 0) + int(answer.frame["rows"][of_key].sum())
    left_out: dict[str, str] = {}
    columns: dict[Part, dict[Key, Column]] = {}
    for part in parts_of(given.layout):
        if (problem := problem_of(part, given)) is not None:
            left_out[part.name] = problem
        else:
            columns[part] = profile_column(part, given, counts)
    judged: dict[Key, Profiled] = {}
    if (problem := problem_of_judging(given)) is None:
        judged = profile_judged(given)
    else:
        left_out |= {"performance": problem} if is_judged(given.layout) else {}
        left_out |= {"segments": problem} if given.layout.schema.segments else {}
    parts = ((key, _together(key, count, columns, judged.get(key, Profiled()))) for key, count in counts.items())
    return SqlProfiles(ProfileTable.of(parts), dict(sorted(left_out.items())), _without(given.layout, left_out))


def _without(layout: Layout, left_out: Mapping[str, str]) -> Layout:
    """The layout without features and segments that were left out."""
    schema = layout.schema
    gone = {name for name in schema.inputs if name in left_out}
    if not gone and "segments" not in left_out:
        return layout
    kept = replace(
        schema,
        features={name: kind for name, kind in schema.features.items() if name not in gone},
        segments={} if "segments" in left_out else schema.segments,
        cluster=None if schema.cluster in gone else schema.cluster,
    )
    grids = {name: grid for name, grid in layout.grids.items() if not _is_of(name, gone)}
    anchors = {name: anchor for name, anchor in layout.anchors.items() if not _is_of(name, gone)}
    return replace(layout, schema=kept, grids=grids, anchors=anchors)


def _is_of(grid: str, features: Collection[str]) -> bool:
    """Whether a grid or anchor is that of a feature, or of a part of it."""
    return any(grid == FEATURE + name or grid.startswith(f"{FEATURE}{name}/") for name in features)


def _together(key: Key, rows: int, columns: Mapping[Part, Mapping[Key, Column]], judged: Profiled) -> Profiled:
    """The profile of one window and version, from those of its columns."""
    found = {part: by_key[key] for part, by_key in columns.items() if key in by_key}

    def those(*roles: str) -> dict[str, Column]:
        return dict(sorted((part.name, column) for part, column in found.items() if part.role in roles))

    labels = those("label")
    whole = WindowProfile(
        Profile(rows, those("feature")),
        Profile(rows, those("output", "score")),
        Profile(sum(column.rows for column in labels.values()), labels),
        judged.whole.performance,
    )
    return Profiled(whole, judged.segments)
