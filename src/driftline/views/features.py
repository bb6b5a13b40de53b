"""One feature of a model: its distribution in two windows, or in one and in the reference, and its drift over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce

import msgspec

from driftline.errors import UnknownNameError
from driftline.events import Segment, Window
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.segments import values_of
from driftline.monitoring.summary import DriftView, Stage
from driftline.profiles import Column, Reference, WindowProfile
from driftline.profiles.column import merge_columns
from driftline.sketches import decode
from driftline.statistics.drift import ColumnDrift, compare_columns
from driftline.store.state import Work
from driftline.store.windows import WindowRow
from driftline.views.stored import reference_of, schema_of

HISTORY = 120
"""So many windows of a feature are shown, the newest."""

_OFFERED = 5  # windows that are named where one was asked for that there is not


class FeatureWindow(msgspec.Struct, frozen=True):
    """One window of the history, as it was summed up; ``drift`` has every feature that was compared."""

    start: datetime
    end: datetime
    stage: Stage
    predictions: int
    drift: dict[str, DriftView]

    @property
    def window(self) -> Window:
        """The span of event time."""
        return Window(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two distributions: of a ``window``, or of the reference where that is None.

    ``versions`` has how many predictions the window has of each. Of a segment, ``problem`` says why its rows cannot be
    shown, and ``note`` what they lack.
    """

    window: Window | None
    column: Column | None
    versions: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class OfVersion:
    """The rows of one version in the shown window, compared with the other side."""

    version: str
    rows: int
    drift: ColumnDrift


@dataclass(frozen=True, slots=True)
class OfSegment:
    """The rows of one segment in the shown window, compared with the same segment of the other side.

    The p-value of ``drift`` is adjusted for all segments of the column; it is None where the window has no such row.
    """

    value: str
    rows: int
    drift: ColumnDrift | None


@dataclass(frozen=True, slots=True)
class FeatureView:
    """A feature. ``before`` and ``now`` are compared, each None without a judged window.

    ``history`` is by time, and of all rows; the others are of a ``segment`` where that was asked for. ``segments`` are
    those that can be asked for, by column, and ``by_segment`` has all of that column.
    """

    feature: str
    kind: str
    history: tuple[FeatureWindow, ...]
    before: Side | None
    now: Side | None
    compared: ColumnDrift | None
    versions: tuple[OfVersion, ...]
    segment: Segment | None = None
    by_segment: tuple[OfSegment, ...] = ()
    segments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_window = msgspec.msgpack.Decoder(FeatureWindow)


def feature_view(
    read: Work,
    config: ModelConfig,
    feature: str,
    *,
    window: datetime | None = None,
    against: datetime | None = None,
) -> FeatureView:
    """Return a feature in the window that starts at a moment.

    By default that is the newest judged one in which it was compared; before the first, the newest that was compared.

    It is compared with the window that starts ``against``, or with the reference, in its season. Raises
    `UnknownNameError` for a feature or a window that there is not.
    """
    stored = read.models.get(config.name)
    if stored is None:
        raise UnknownNameError(f"feature of {config.name}", feature, config.columns.features or ())
    schema = schema_of(stored)
    if feature not in schema.features or feature in schema.aside:
        known = [name for name in schema.features if name not in schema.aside]
        raise UnknownNameError(f"feature of {config.name}", feature, known)
    kind = schema.features[feature].value
    history = tuple(_window.decode(body) for body in read.summaries.between(config.name, newest=HISTORY))
    compared = [one for one in history if feature in one.drift]
    if window is None and compared:
        judged = [one for one in compared if one.stage == "judged"]
        window = (judged or compared)[-1].start
    if window is None:
        return FeatureView(feature, kind, history, None, None, None, (), segments=values_of(schema))
    rows = _rows(read, config.name, window, history)
    now = _side(rows, feature)
    reference = reference_of(stored)
    if against is None:
        before = Side(None, _of_reference(reference, config, feature, rows[0].window))
    else:
        before = _side(_rows(read, config.name, against, history), feature)
    versions = tuple(
        OfVersion(row.version, row.predictions, found)
        for row in rows
        if (found := compared_alone(before.column, _column([row], feature), config)) is not None
    )
    found = compared_alone(before.column, now.column, config)
    shown = versions if len(rows) > 1 else ()
    return FeatureView(feature, kind, history, before, now, found, shown, segments=values_of(schema))


def features_in(read: Work, config: ModelConfig, start: datetime, names: Sequence[str]) -> list[FeatureView]:
    """Return some features in one window beside the reference, without their history; those that are known there.

    Each profile of the window is decoded once, however many features there are.
    """
    stored, rows = read.models.get(config.name), read.windows.at(config.name, start)
    if stored is None or not rows or not names:
        return []
    schema, reference = schema_of(stored), reference_of(stored)
    columns = [decode(row.profile, WindowProfile).features.columns for row in rows]
    found = []
    for name in names:
        if name not in schema.features or name in schema.aside:
            continue
        there = [one[name] for one in columns if name in one]
        now = reduce(merge_columns, there) if there else None
        before = _of_reference(reference, config, name, rows[0].window)
        sides = Side(None, before), Side(rows[0].window, now, _predictions(rows))
        found.append(
            FeatureView(name, schema.features[name].value, (), *sides, compared_alone(before, now, config), ())
        )
    return found


def _rows(read: Work, model: str, start: datetime, history: Sequence[FeatureWindow]) -> list[WindowRow]:
    rows = read.windows.at(model, start)
    if not rows:
        known = [one.start.isoformat() for one in history[-_OFFERED:]]
        raise UnknownNameError(f"window of {model}", start.isoformat(), known)
    return rows


def _side(rows: Sequence[WindowRow], feature: str) -> Side:
    return Side(rows[0].window, _column(rows, feature), _predictions(rows))


def _predictions(rows: Sequence[WindowRow]) -> dict[str, int]:
    """Return how many predictions a window has of each version."""
    return {row.version: row.predictions for row in rows}


def _column(rows: Sequence[WindowRow], feature: str) -> Column | None:
    """Return the profile of a feature over the versions of a window; None where no row had it."""
    found = [decode(row.profile, WindowProfile).features.columns.get(feature) for row in rows]
    there = [one for one in found if one is not None]
    return reduce(merge_columns, there) if there else None


def _of_reference(reference: Reference, config: ModelConfig, feature: str, window: Window) -> Column | None:
    return reference.features_in_season(config.window.months_of(window)).columns.get(feature)


def compared_alone(before: Column | None, now: Column | None, config: ModelConfig) -> ColumnDrift | None:
    """Compare one column by itself: its p-value is not adjusted for other columns."""
    was, became = ({} if side is None else {"": side} for side in (before, now))
    return next(iter(compare_columns(was, became, config.floors).values()), None)
