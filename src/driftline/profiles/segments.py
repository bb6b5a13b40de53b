"""Profiles of the segments of a window: how many rows each has, and how well the model does on them.

The reference decides which segments there are: one for each of its values, one for rows without a value and one for all
other values. So their number is bounded whatever arrives, and any split of the rows merges to the same profiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import polars as pl

from driftline.events import MISSING_VALUE, OTHER_VALUES, Schema, Segment
from driftline.profiles.build import performance_of
from driftline.profiles.frame import FEATURE, SCORE
from driftline.profiles.performance import Classification, Regression, merge_performance
from driftline.sketches import Grid

MOST_VALUES = 50
"""At most so many values of a column have a segment of their own: the most frequent ones of the reference."""


class SegmentProfile(msgspec.Struct, frozen=True):
    """The profile of one segment: the number of rows, of labelled rows, and the model's performance on these."""

    predictions: int = 0
    labelled: int = 0
    performance: Classification | Regression | None = None

    def merge(self, other: SegmentProfile) -> SegmentProfile:
        """Return the profile of both sets of rows."""
        return SegmentProfile(
            self.predictions + other.predictions,
            self.labelled + other.labelled,
            merge_performance(self.performance, other.performance),
        )


class SegmentProfiles(msgspec.Struct, frozen=True):
    """The segments of a window by column and value, both sorted by name; segments without rows are left out."""

    columns: Mapping[str, Mapping[str, SegmentProfile]] = {}

    def merge(self, other: SegmentProfiles) -> SegmentProfiles:
        """Return the segments of both sets of rows."""
        return SegmentProfiles(
            {
                column: _merge(self.columns.get(column, {}), other.columns.get(column, {}))
                for column in sorted(self.columns.keys() | other.columns.keys())
            }
        )

    def by_segment(self) -> dict[Segment, SegmentProfile]:
        """Return the profile of each segment, by column and then by value."""
        return {
            Segment(column, value): profile
            for column, values in self.columns.items()
            for value, profile in values.items()
        }


def _merge(mine: Mapping[str, SegmentProfile], theirs: Mapping[str, SegmentProfile]) -> dict[str, SegmentProfile]:
    return {
        value: mine.get(value, SegmentProfile()).merge(theirs.get(value, SegmentProfile()))
        for value in sorted(mine.keys() | theirs.keys())
    }


def profile_segments(rows: pl.DataFrame, schema: Schema, grids: Mapping[str, Grid]) -> SegmentProfiles:
    """Profile the segments of canonical rows, shape (n, columns); no rows give the identity."""
    if not len(rows):
        return SegmentProfiles()
    scores = [name for name in rows.columns if name.startswith(SCORE)]
    return SegmentProfiles(
        {
            column: {
                value: _profile(part, schema, scores, grids)
                for (value,), part in sorted(
                    rows.with_columns(_segment=segment_values(rows, column, schema))
                    .partition_by("_segment", as_dict=True, include_key=False, maintain_order=True)
                    .items()
                )
            }
            for column in sorted(schema.segments)
        }
    )


def _profile(rows: pl.DataFrame, schema: Schema, scores: Iterable[str], grids: Mapping[str, Grid]) -> SegmentProfile:
    if "label" not in rows.columns:
        return SegmentProfile(len(rows))
    labelled = rows.filter(pl.col("label").is_not_null())
    return SegmentProfile(len(rows), len(labelled), performance_of(labelled, schema, scores, grids))


def segment_values(rows: pl.DataFrame, column: str, schema: Schema) -> pl.Series:
    """Return the value of the segment that each canonical row belongs to, shape (n,); never null.

    >>> from driftline.events import Kind, Task
    >>> schema = Schema(Task.BINARY, {"season": Kind.CATEGORICAL}, segments={"season": ("summer", "winter")})
    >>> rows = pl.DataFrame({"feature.season": ["winter", None, "autumn"]})
    >>> segment_values(rows, "season", schema).to_list()
    ['winter', '(missing)', '(other values)']
    """
    name = FEATURE + column
    if name not in rows.columns:
        return pl.Series(name, [MISSING_VALUE], dtype=pl.String).new_from_index(0, len(rows))
    values = rows[name].cast(pl.String)
    known = values.is_in(pl.Series(schema.segments[column], dtype=pl.String).implode()) | values.is_null()
    return values.zip_with(known, pl.Series([OTHER_VALUES])).fill_null(MISSING_VALUE)


def usual_values(values: pl.Series) -> tuple[str, ...]:
    """Return the values of a reference's segment column that get a segment of their own, sorted by name.

    ``values`` are names, or null. These are the `MOST_VALUES` most frequent ones, the first by name among equals.

    >>> usual_values(pl.Series(["winter", "summer", None, "winter"]))
    ('summer', 'winter')
    """
    counts = values.drop_nulls().value_counts().rows()
    ordered = sorted(counts, key=lambda one: (-one[1], one[0]))
    return tuple(sorted(name for name, _ in ordered[:MOST_VALUES]))
