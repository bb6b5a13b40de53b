"""The reference: the profile of a model's rows when all was well. It is computed once and stored to compare with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec.structs import replace

from driftline.events import Kind, Schema, Task
from driftline.profiles.build import LOGIT, profile_rows, with_clusters
from driftline.profiles.column import parts_of
from driftline.profiles.frame import COMPOSITE, FEATURE, SCORE, SEGMENT, TARGETS, typed_values
from driftline.profiles.naive import Naive, naive_of
from driftline.profiles.parts import Anchor, anchor_of, vectors_of
from driftline.profiles.performance import logit
from driftline.profiles.profile import Profile, WindowProfile
from driftline.profiles.segments import SegmentProfiles, profile_segments
from driftline.sketches import Grid

_EXACT_INTEGERS = 256  # whole numbers up to here have a cell of their own on the plain grid
_CONSTANT_SPREAD = 2.0**-20  # the spread of a constant column, as a share of its value
_SAMPLE_ROWS = 100_000
_NARROW = 0.25  # 32 cells: half the 16-84 % range of logits over their median


class Reference(msgspec.Struct, frozen=True):
    """The profile of the reference rows, and the grids on which every later profile of the model is counted.

    ``months`` has the features of each calendar month (1 to 12) if the reference has a yearly season; otherwise it is
    empty. ``anchors`` are the means from which embeddings are measured, and ``naive`` is the error of a naive forecast.
    ``segments`` are those of a model that has some, see `with_segments`.
    """

    grids: Mapping[str, Grid] = {}
    profile: WindowProfile = msgspec.field(default_factory=WindowProfile)
    months: Mapping[int, Profile] = {}
    anchors: Mapping[str, Anchor] = {}
    naive: Naive = msgspec.field(default_factory=Naive)
    segments: SegmentProfiles = msgspec.field(default_factory=SegmentProfiles)

    @classmethod
    def of(cls, rows: pl.DataFrame, schema: Schema, *, season_timezone: str | None = None) -> Reference:
        """Choose grids from canonical rows and profile these; with a time zone, also each calendar month by itself."""
        grids, anchors = layout_of(rows, schema)
        months: dict[int, Profile] = {}
        if season_timezone is not None:
            month = rows["time"].dt.convert_time_zone(season_timezone).dt.month()
            for number in sorted(month.drop_nulls().unique().to_list()):
                months[number] = profile_rows(rows.filter(month == number), schema, grids, anchors).features
        naive = naive_of(with_clusters(rows, schema)) if schema.task is Task.REGRESSION else Naive()
        return cls(grids, profile_rows(rows, schema, grids, anchors), months, anchors, naive)

    def profiled(self, rows: pl.DataFrame, schema: Schema) -> WindowProfile:
        """Profile rows of the event log, shape (n, columns), on the reference's grids and from its anchors."""
        return profile_rows(as_logged(rows, schema), schema, self.grids, self.anchors)

    def with_segments(self, rows: pl.DataFrame, schema: Schema) -> Reference:
        """Return it with the segments that the schema tells apart, from the canonical rows that it was made of."""
        named = rows.with_columns(pl.col(SEGMENT + name).alias(FEATURE + name) for name in schema.segments)
        return replace(self, segments=profile_segments(named, schema, self.grids))

    def features_in_season(self, months: Iterable[int]) -> Profile:
        """Return the features to compare rows from some calendar months with: those of these and neighbouring months.

        Without a season, or if the reference has no such months, all of the reference's.
        """
        there = [self.months[month] for month in self.months_like(months)]
        return reduce(Profile.merge, there) if there else self.profile.features

    def months_like(self, months: Iterable[int]) -> list[int]:
        """Return the months of the reference to compare rows from some calendar months with, in order.

        None where all of the reference is compared with.
        """
        wanted = {(month + step - 1) % 12 + 1 for month in months for step in (-1, 0, 1)}
        return sorted(wanted & self.months.keys())


def as_logged(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return rows of the event log with datetimes and embeddings read from the texts that the log stores."""
    read: dict[Kind, Callable[[pl.Series], pl.Series]] = {
        Kind.EMBEDDING: vectors_of,
        Kind.DATETIME: partial(typed_values, kind=Kind.DATETIME),
    }
    there = [(FEATURE + name, read[kind]) for name, kind in schema.features.items() if kind in read]
    texts = [(name, convert) for name, convert in there if name in rows.columns and rows[name].dtype == pl.String]
    return rows.with_columns(convert(rows[name]) for name, convert in texts)


def layout_of(rows: pl.DataFrame, schema: Schema) -> tuple[dict[str, Grid], dict[str, Anchor]]:
    """Choose the grids and anchors for all later profiles, from canonical rows of the reference."""
    grids: dict[str, Grid] = {}
    anchors: dict[str, Anchor] = {}
    kinds = {FEATURE + name: kind for name, kind in schema.features.items()}
    if schema.task is Task.REGRESSION:
        kinds |= dict.fromkeys(TARGETS, Kind.NUMERIC)
    for name in sorted(kinds.keys() & set(rows.columns)):
        kind, values = kinds[name], rows[name]
        if kind is Kind.NUMERIC:
            grids[name] = grid_for(values)
        elif kind in COMPOSITE:
            if kind is Kind.EMBEDDING and (anchor := anchor_of(values)) is not None:
                anchors[name] = anchor
            for part, there in parts_of(_spaced(values), kind, anchors.get(name)).items():
                if there.dtype != pl.String:
                    grids[f"{name}/{part}"] = grid_for(there)
    for name in rows.columns:
        if name.startswith(SCORE) and (grid := grid_for_scores(rows[name])) != Grid():
            grids[name + LOGIT] = grid
    return grids, anchors


def _spaced(values: pl.Series) -> pl.Series:
    return values.gather_every(max(len(values) // _SAMPLE_ROWS, 1))


def grid_for(values: pl.Series) -> Grid:
    """Choose a grid for numbers: centred on the median, scaled by half the 16-84 % range, rounded to a power of two.

    Whole numbers up to 256 keep the plain grid, on which they are exact, unless more than half of them are equal. That
    number, or the only one of a constant column, becomes the centre, so that every other number differs from it. Looks
    at evenly spaced rows; the plain grid without finite numbers.
    """
    there = _spaced(values).cast(pl.Float64, strict=False).drop_nulls().to_numpy()
    finite = there[np.isfinite(there)]
    if not len(finite):
        return Grid()
    ordered = np.sort(finite / 4)  # a quarter never overflows
    low, middle, high = (_quantile(ordered, share) * 4 for share in (0.16, 0.5, 0.84))
    small = bool((finite == np.rint(finite)).all()) and float(np.abs(finite).max()) <= _EXACT_INTEGERS
    if small and not _is_usual(middle, finite):
        return Grid()
    with np.errstate(over="ignore"):
        spread = (high / 2 - low / 2) or float(np.std(finite / 2) * 2)
    spread = spread or abs(middle) * _CONSTANT_SPREAD
    if not (math.isfinite(spread) and spread > 0):
        return Grid()
    scale = 2.0 ** max(min(round(math.log2(spread)), 1000), -1000)
    return Grid(middle + 0.0, scale)


def grid_for_scores(values: pl.Series) -> Grid:
    """Choose a grid for the logits of scores: the plain one, unless they lie within so few cells that these merge them.

    Then it is centred on their median, and its scale is about half their 16-84 % range.

    >>> grid_for_scores(pl.Series([0.1, 0.5, 0.9])), grid_for_scores(pl.Series([0.2689, 0.2690, 0.2691])).scale
    (Grid(centre=0.0, scale=1.0), 0.00048828125)
    """
    there = _spaced(values).cast(pl.Float64, strict=False).drop_nulls().to_numpy()
    there = there[(there > 0.0) & (there < 1.0)]
    if not len(there):
        return Grid()
    ordered = np.sort(logit(there))
    low, middle, high = (_quantile(ordered, share) for share in (0.16, 0.5, 0.84))
    spread = (high - low) / 2
    if not 0 < spread < abs(middle) * _NARROW:
        return Grid()
    return Grid(middle, 2.0 ** round(math.log2(spread)))


def _is_usual(value: float, numbers: npt.NDArray[np.float64]) -> bool:
    """Whether more than half of some whole numbers are this one, and it is not 0, the centre of the plain grid."""
    if not value:
        return False
    return 2 * int((numbers == value).sum()) > len(numbers) and float(np.abs(numbers - value).max()) <= _EXACT_INTEGERS


def _quantile(ordered: npt.NDArray[np.float64], share: float) -> float:
    """The quantile of ascending values, shape (n,) with n above 0, as by `numpy.quantile`, which is slow to import."""
    at = (len(ordered) - 1) * share
    low, high = float(ordered[math.floor(at)]), float(ordered[math.ceil(at)])
    part = at - math.floor(at)
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)
