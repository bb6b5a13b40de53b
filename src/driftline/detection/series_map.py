"""Which series a model has, fixed by its reference windows, and the values of these in any window.

A pass over stored profiles, once a window: what it gives is small and is stored with the window's summary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import TypeVar

import numpy as np

from driftline.detection.columns import CategoricalSeries, NumericSeries, gap_of, is_identifier
from driftline.detection.measures import (
    PerformanceSeries,
    coverage_series,
    default_measures,
    segment_series,
    volume_series,
    volumes,
)
from driftline.detection.series import Counted, Role, Series, SeriesKind, Values
from driftline.errors import UsageError
from driftline.events import MISSING_VALUE, Segment
from driftline.profiles import CategoricalColumn, Column, CompositeColumn, NumericColumn, Profile, WindowProfile
from driftline.profiles.naive import Naive
from driftline.profiles.parts import TIME_PART
from driftline.profiles.segments import SegmentProfile, SegmentProfiles

_ROLE_SHARES = {"performance": 0.3, "outputs": 0.2, "features": 0.4, "rows": 0.1}
_SEGMENTS_SHARE = 0.5
_SEGMENT_PERFORMANCE = 0.75
_MISSING_WEIGHT = 0.15
_LATENCY = "latency_seconds"

_Part = TypeVar("_Part", NumericColumn, CategoricalColumn)


@dataclass(frozen=True, slots=True)
class Observed:
    """What is stored of one window: the profile of its rows, and of its segments."""

    profile: WindowProfile = field(default_factory=WindowProfile)
    segments: SegmentProfiles = field(default_factory=SegmentProfiles)

    def merge(self, other: Observed) -> Observed:
        """Return what is known of both windows together, such as the hours of a day."""
        return Observed(self.profile.merge(other.profile), self.segments.merge(other.segments))


@dataclass(frozen=True, slots=True)
class ColumnSeries:
    """The series of a column, or of a ``part`` of a composite one. Of a column without ``shape`` only what is missing
    is known; parts have no series of what is missing, the column has. ``weight`` is that of all of them together.
    """

    role: Role
    column: str
    part: str
    weight: float
    shape: NumericSeries | CategoricalSeries | None

    def series(self) -> list[Series]:
        """The series, in the order of `counted`."""
        inner = self.shape.series() if self.shape is not None else []
        scale = self.weight / (1 - _MISSING_WEIGHT) if self.part else self.weight
        found = [replace(one, weight=one.weight * scale) for one in inner]
        if not self.part:
            found.append(
                Series(self.role, "", "missing", SeriesKind.MISSING, _MISSING_WEIGHT * self.weight, is_share=True)
            )
        return [replace(one, role=self.role, column=self.column, part=self.part) for one in found]

    def counted(self, windows: Sequence[Profile], *, gap: int | None = None) -> Counted:
        """What T windows say of the series; with a ``gap`` these are the reference windows."""
        columns = [one.columns.get(self.column) for one in windows]
        found = Counted([], [])
        if isinstance(self.shape, NumericSeries):
            found = self.shape.counted([_as(NumericColumn, one, self.part) for one in columns], gap=gap)
        elif self.shape is not None:
            found = self.shape.counted([_as(CategoricalColumn, one, self.part) for one in columns], gap=gap)
        if self.part:
            return found
        rows = np.array([one.rows for one in windows], np.float64)
        there = np.array([_present(one, self.shape) for one in columns], np.float64)
        return Counted([*found.y, np.maximum(rows - there, 0.0)], [*found.n, rows])


def _as(kind: type[_Part], column: Column | None, part: str) -> _Part:
    """The column or its part; an empty one where it is not there or of another type."""
    there = column.parts.get(part) if isinstance(column, CompositeColumn) and part else column
    return there if isinstance(there, kind) else kind()


def _present(column: Column | None, shape: NumericSeries | CategoricalSeries | None) -> int:
    """Rows with a value, an infinite one included: none where the column is gone or has become another type."""
    if isinstance(column, NumericColumn):
        return 0 if isinstance(shape, CategoricalSeries) else column.rows - column.missing - column.nan
    return 0 if column is None or isinstance(shape, NumericSeries) else column.rows - column.missing


@dataclass(frozen=True, slots=True)
class SegmentSeries:
    """The series of one segment: its share of the rows, and its performance."""

    segment: Segment
    weight: float
    performance: tuple[PerformanceSeries, ...]

    def series(self) -> list[Series]:
        """The series, in the order of `counted`."""
        own = _SEGMENT_PERFORMANCE if self.performance else 0.0
        measures = [one.series(self.weight * own / len(self.performance)) for one in self.performance]
        return [segment_series(self.segment, self.weight * (1 - own)), *measures]

    def counted(self, windows: Sequence[Observed]) -> Counted:
        """What T windows say of the series."""
        own = [
            one.segments.columns.get(self.segment.column, {}).get(self.segment.value, SegmentProfile())
            for one in windows
        ]
        y = [np.array([one.predictions for one in own], np.float64)]
        n = [np.array([one.profile.predictions for one in windows], np.float64)]
        for measure in self.performance:
            found = measure.counted([one.performance for one in own])
            y += found.y
            n += found.n
        return Counted(y, n)


@dataclass(frozen=True)
class SeriesMap:
    """The series of a model, in order: features, outputs, label, performance, rows, coverage, then those of segments.

    A plain value that can be encoded: the reference keeps it beside its profile. The weights add up to about 1.
    """

    columns: tuple[ColumnSeries, ...]
    performance: tuple[PerformanceSeries, ...]
    performance_weight: float
    rows_weight: float
    coverage: bool
    segments: tuple[SegmentSeries, ...]
    gap: int

    @classmethod
    def of(
        cls,
        reference: Sequence[Observed],
        *,
        measures: Sequence[str] | None = None,
        positive: str | None = None,
        naive: Naive | None = None,
        ignored: Iterable[str] = (),
    ) -> SeriesMap:
        """Fix the series by the reference windows, at least one.

        ``measures`` are those of performance that are watched (those that a check compares, if None), ``positive`` and
        ``naive`` what they need. Columns that are ``ignored`` have no series; the others share their part.
        """
        if not reference:
            raise UsageError("no reference window came; at least one is needed")
        profiles = [one.profile for one in reference]
        left_out = {*ignored, _LATENCY}
        features = _columns_of([one.features for one in profiles], Role.FEATURE, left_out)
        outputs = _columns_of([one.outputs for one in profiles], Role.PREDICTION, left_out)
        outputs += _columns_of([one.labels for one in profiles], Role.LABEL, left_out)
        whole = [one.performance for one in profiles]
        known = next((one for one in whole if one is not None), None)
        names = default_measures(known) if measures is None else tuple(measures)
        performance = _performance(names, whole, positive, naive, None)
        with_rows = any(one.predictions for one in profiles)
        segments = _segments_of(reference, names, positive, naive)
        there = {
            "performance": bool(performance),
            "outputs": bool(outputs),
            "features": bool(features),
            "rows": with_rows,
        }
        total = sum(share for name, share in _ROLE_SHARES.items() if there[name]) or 1.0
        total /= 1 - _SEGMENTS_SHARE if segments else 1.0
        share = {name: own / total for name, own in _ROLE_SHARES.items()}
        each_segment = _SEGMENTS_SHARE / len(segments) if segments else 0.0
        return cls(
            columns=(
                *_weighted(features, share["features"]),
                *_weighted(outputs, share["outputs"]),
            ),
            performance=performance,
            performance_weight=share["performance"],
            rows_weight=share["rows"] if with_rows else 0.0,
            coverage=with_rows and any(one.labelled for one in profiles),
            segments=tuple(replace(one, weight=each_segment) for one in segments),
            gap=gap_of(len(reference)),
        )

    @cached_property
    def series(self) -> tuple[Series, ...]:
        """The J series, in the order of `values`."""
        found = [one for column in self.columns for one in column.series()]
        found += [one.series(self.performance_weight / len(self.performance)) for one in self.performance]
        if self.rows_weight:
            own = self.rows_weight / (1 + self.coverage)
            found.append(volume_series(own))
            found += [coverage_series(own)] * self.coverage
        return (*found, *(one for segment in self.segments for one in segment.series()))

    def values(self, windows: Sequence[Observed]) -> Values:
        """The values in T windows, shape (T, J). A model without series gives shape (T, 0)."""
        return self._values(windows, None)

    def reference_values(self, reference: Sequence[Observed]) -> Values:
        """The values of the reference windows themselves, shape (T, J): what is new there is new against the others."""
        return self._values(reference, self.gap)

    def _values(self, windows: Sequence[Observed], gap: int | None) -> Values:
        profiles = [one.profile for one in windows]
        by_role = {
            Role.FEATURE: [one.features for one in profiles],
            Role.PREDICTION: [one.outputs for one in profiles],
            Role.LABEL: [one.labels for one in profiles],
        }
        found = [one.counted(by_role[one.role], gap=gap) for one in self.columns]
        found += [one.counted([profile.performance for profile in profiles]) for one in self.performance]
        if self.rows_weight:
            rows = np.array([one.predictions for one in profiles], np.float64)
            found.append(volumes(rows))
            if self.coverage:
                found.append(Counted([np.array([one.labelled for one in profiles], np.float64)], [rows]))
        found += [one.counted(windows) for one in self.segments]
        if not found:
            return Values(np.empty((len(windows), 0)), np.empty((len(windows), 0)))
        together = Counted([y for one in found for y in one.y], [n for one in found for n in one.n])
        return together.scored(self.series)


def _columns_of(windows: Sequence[Profile], role: Role, left_out: set[str]) -> list[ColumnSeries]:
    """The columns of the reference windows, each with a weight of 1."""
    found: list[ColumnSeries] = []
    for name in sorted({name for one in windows for name in one.columns} - left_out):
        columns = [one.columns[name] for one in windows if name in one.columns]
        found += _column_of(name, columns, role)
    return found


def _column_of(name: str, columns: Sequence[Column], role: Role) -> list[ColumnSeries]:
    if numeric := [one for one in columns if isinstance(one, NumericColumn)]:
        return [ColumnSeries(role, name, "", 1.0, NumericSeries.of(numeric))]
    if categorical := [one for one in columns if isinstance(one, CategoricalColumn)]:
        shape = None if is_identifier(categorical) else CategoricalSeries.of(categorical)
        return [ColumnSeries(role, name, "", 1.0, shape)]
    parts = sorted({part for one in columns if isinstance(one, CompositeColumn) for part in one.parts} - {TIME_PART})
    found = [ColumnSeries(role, name, "", 1.0, None)]
    for part in parts:
        there = [one.parts[part] for one in columns if isinstance(one, CompositeColumn) and part in one.parts]
        shapes = [one.shape for one in _column_of(part, there, role) if one.shape is not None]
        found += [ColumnSeries(role, name, part, (1 - _MISSING_WEIGHT) / len(parts), shape) for shape in shapes]
    return found


def _weighted(columns: Sequence[ColumnSeries], share: float) -> list[ColumnSeries]:
    """The columns with an equal part of a share of the budget each; parts of a column keep theirs of it."""
    whole = len({(one.role, one.column) for one in columns})
    return [replace(one, weight=one.weight * share / whole) for one in columns]


def _performance(
    names: Sequence[str],
    windows: Sequence[object],
    positive: str | None,
    naive: Naive | None,
    segment: Segment | None,
) -> tuple[PerformanceSeries, ...]:
    there: list[PerformanceSeries] = []
    for name in names:
        one = PerformanceSeries.of(name, windows, positive=positive, naive=naive, segment=segment)  # type: ignore[arg-type]
        if one is not None:
            there.append(one)
    return tuple(there)


def _segments_of(
    reference: Sequence[Observed], names: Sequence[str], positive: str | None, naive: Naive | None
) -> list[SegmentSeries]:
    """The series of the segments; of a column that no reference row has a value of, nothing is known to hold up."""
    pooled = reduce(SegmentProfiles.merge, (one.segments for one in reference), SegmentProfiles())
    found = []
    for segment in pooled.by_segment():
        if pooled.columns[segment.column].keys() == {MISSING_VALUE}:
            continue
        own = [one.segments.by_segment().get(segment, SegmentProfile()).performance for one in reference]
        found.append(SegmentSeries(segment, 1.0, _performance(names, own, positive, naive, segment)))
    return found
