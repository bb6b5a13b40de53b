"""A feature as programs are shown it: what its page is made of, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from driftline.events import Segment
from driftline.monitoring.summary import DriftView, Stage
from driftline.profiles import Column, NumericColumn
from driftline.reports.bars import Bars
from driftline.reports.drawn import bars_of_part
from driftline.statistics.drift import ColumnDrift
from driftline.views.features import FeatureView, FeatureWindow, Side

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
"""The quantiles of numbers that are told."""


class Facts(msgspec.Struct, frozen=True):
    """What is known of a column: None of one that is not there, and of what it has not.

    ``missing`` is the share of the rows without a value, 0 to 1. The others are of numbers; ``quantiles`` are by their
    share.
    """

    rows: int | None = None
    missing: float | None = None
    mean: float | None = None
    sd: float | None = None
    smallest: float | None = None
    largest: float | None = None
    quantiles: Mapping[str, float | None] = {}


class SideDocument(msgspec.Struct, frozen=True):
    """One side: a window, or the reference where ``start`` and ``end`` are null.

    Of a segment, ``problem`` says why its rows cannot be shown, and ``note`` what they lack.
    """

    start: datetime | None
    end: datetime | None
    facts: Facts
    problem: str
    note: str


class VersionDocument(msgspec.Struct, frozen=True):
    """The rows of one version in the window, compared with the other side."""

    version: str
    rows: int
    compared: ColumnDrift


class SegmentDocument(msgspec.Struct, frozen=True):
    """The rows of one segment in the window, compared with the same segment of the other side.

    Its p-value is adjusted for all segments of the column; it is null where the window has no such row.
    """

    value: str
    rows: int
    compared: ColumnDrift | None


class WindowDocument(msgspec.Struct, frozen=True):
    """One window of all rows: how far the feature was from the reference, adjusted for all columns; null if unknown."""

    start: datetime
    end: datetime
    stage: Stage
    predictions: int
    drift: DriftView | None


class BarsDocument(msgspec.Struct, frozen=True):
    """Shares of both sides, 0 to 1, in named bars, as the page draws them."""

    names: tuple[str, ...]
    before: tuple[float, ...]
    now: tuple[float, ...]


class FeatureDocument(msgspec.Struct, frozen=True):
    """A feature of a model. ``before`` and ``now`` are compared, null before the first window.

    ``verdict`` is the one of the window against the reference, adjusted for all columns; null of two windows, and of a
    ``segment``. ``compared`` is the comparison of this column alone. ``segments`` are all of the column of the segment
    that was asked for. ``history`` is of all rows.
    """

    model: str
    feature: str
    kind: str
    segment: Segment | None
    before: SideDocument | None
    now: SideDocument | None
    verdict: DriftView | None
    compared: ColumnDrift | None
    bars: BarsDocument | None
    versions: list[VersionDocument]
    segments: list[SegmentDocument]
    history: list[WindowDocument]


def feature_document(model: str, found: FeatureView) -> FeatureDocument:
    """Return a feature as programs are shown it."""
    bars = bars_between(found)
    shown = verdict_window(found)
    return FeatureDocument(
        model=model,
        feature=found.feature,
        kind=found.kind,
        segment=found.segment,
        before=_side(found.before),
        now=_side(found.now),
        verdict=None if shown is None else shown.drift.get(found.feature),
        compared=None if found.compared is None else _named(found, found.compared),
        bars=None if bars is None else BarsDocument(bars.names, bars.reference, bars.current),
        versions=[VersionDocument(one.version, one.rows, _named(found, one.drift)) for one in found.versions],
        segments=[
            SegmentDocument(one.value, one.rows, None if one.drift is None else _named(found, one.drift))
            for one in found.by_segment
        ],
        history=[
            WindowDocument(one.start, one.end, one.stage, one.predictions, one.drift.get(found.feature))
            for one in found.history
        ],
    )


def _named(found: FeatureView, drift: ColumnDrift) -> ColumnDrift:
    """Return a comparison with the name of the feature, which it does not have where one column is compared alone."""
    return msgspec.structs.replace(drift, column=found.feature)


def verdict_window(found: FeatureView) -> FeatureWindow | None:
    """Return the window of the history whose verdict is on what is shown: all its rows, against the reference."""
    if found.segment is not None or found.now is None or found.before is None or found.before.window is not None:
        return None
    window = found.now.window
    return next((one for one in found.history if window is not None and one.start == window.start), None)


def bars_between(found: FeatureView) -> Bars | None:
    """Return the bars of both sides; None where there is nothing to draw."""
    if found.before is None or found.now is None:
        return None
    part = found.compared.part if found.compared is not None else None
    return bars_of_part(found.before.column, found.now.column, part)


def facts_of(column: Column | None) -> Facts:
    """Return what is known of a column."""
    if column is None:
        return Facts()
    missing = column.absent / column.rows if column.rows else None
    if not isinstance(column, NumericColumn):
        return Facts(column.rows, missing)
    return Facts(
        column.rows,
        missing,
        column.mean,
        column.sd,
        column.smallest,
        column.largest,
        {str(share): _quantile(column, share) for share in QUANTILES},
    )


def _quantile(one: NumericColumn, share: float) -> float | None:
    """Return a quantile: none beyond all that came, for it is known only to within a cell of the grid."""
    found = one.sketch.quantile(share)
    if found is None or one.smallest is None or one.largest is None:
        return None
    return min(max(found, one.smallest), one.largest)


def _side(side: Side | None) -> SideDocument | None:
    if side is None:
        return None
    start, end = (None, None) if side.window is None else (side.window.start, side.window.end)
    return SideDocument(start, end, facts_of(side.column), side.problem, side.note)
