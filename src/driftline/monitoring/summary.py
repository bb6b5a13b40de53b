"""What people are shown of a window: computed once when the window is judged, then only read.

The API's JSON, the page and the metrics are all made of these values, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from driftline.events import ALL_VERSIONS, Kind, Segment, Slice, Window
from driftline.profiles import Profile, Reference, WindowProfile
from driftline.profiles.column import Column
from driftline.profiles.naive import Naive
from driftline.profiles.segments import SegmentProfile
from driftline.rules.facts import beyond_chance
from driftline.sources.own import Replicates
from driftline.statistics import Measure
from driftline.statistics.bootstrap import measure_of
from driftline.statistics.catalogue import headlines
from driftline.statistics.drift import ColumnDrift, EffectThresholds, compare_columns, severity_of
from driftline.statistics.performance import label_coverage, measures
from driftline.statistics.quantiles import latency_p95

Stage = Literal["open", "waiting for labels", "judged"]
"""A window is open until event time has passed its end, then waits for its labels, then is judged."""

FEATURE_PREFIX = "feature."


class MeasureView(msgspec.Struct, frozen=True):
    """A measure as shown: value and interval (95 %, two-sided) or null with the problem in words."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    problem: str = ""


class DriftView(msgspec.Struct, frozen=True):
    """How far a column is from the reference; ``changes`` in words, the largest first.

    ``unseen`` is the share of the rows whose category the reference did not have, or whose number is outside its range;
    None for other columns, for what could not be compared, and of a release that did not keep it.
    """

    measure: str
    value: float | None
    threshold: float | None
    drifted: bool
    p_value: float | None
    reason: str
    changes: tuple[str, ...]
    missing_reference: float | None
    missing_current: float | None
    unseen: float | None = None

    @property
    def beyond_chance(self) -> float | None:
        """The distance as a verdict takes it: at most the threshold where it is not significant."""
        return beyond_chance(self)

    @property
    def severity(self) -> float:
        """How loud the column is; see `ColumnDrift.severity`."""
        return severity_of(self.value, self.threshold, drifted=self.drifted, missing=self.missing_current)


class WindowSummary(msgspec.Struct, frozen=True):
    """One window of one version, or of all versions together (``*``), or of one of their segments.

    Of a segment the columns are not compared with the reference: ``drift`` is empty.
    """

    start: datetime
    end: datetime
    version: str
    stage: Stage
    predictions: int
    labelled: int
    coverage: MeasureView
    performance: dict[str, MeasureView]
    drift: dict[str, DriftView]  # by feature
    prediction_drift: DriftView | None
    label_drift: DriftView | None
    segment: Segment | None = None
    latency: MeasureView | None = None
    """The 95th percentile of the latencies, in seconds; None where no prediction came with one, and of a segment."""
    label_delays: tuple[tuple[int, int], ...] = ()
    """How many labels came within so many seconds, and not within the step before; empty of a segment."""


class WindowBrief(msgspec.Struct, frozen=True, array_like=True):
    """What a list of many models shows of one window of all rows: its summary without the columns.

    ``performance`` has the value, the two ends of the interval and the number of rows of each measure; of the
    ``compared`` columns some have ``drifted``.
    """

    start: datetime
    end: datetime
    stage: Stage
    predictions: int
    labelled: int
    coverage: float | None
    performance: dict[str, tuple[float | None, float | None, float | None, int]]
    compared: int
    drifted: int
    label_delays: tuple[tuple[int, int], ...] = ()


def brief_of(summary: WindowSummary) -> WindowBrief:
    """Return the brief of a summary."""
    columns = [*summary.drift.values(), summary.prediction_drift, summary.label_drift]
    compared = [one for one in columns if one is not None]
    return WindowBrief(
        start=summary.start,
        end=summary.end,
        stage=summary.stage,
        predictions=summary.predictions,
        labelled=summary.labelled,
        coverage=summary.coverage.value,
        performance={name: (one.value, one.low, one.high, one.n) for name, one in summary.performance.items()},
        compared=len(compared),
        drifted=sum(one.drifted for one in compared),
        label_delays=summary.label_delays,
    )


def summarize(
    window: Window,
    version: str,
    stage: Stage,
    profile: WindowProfile,
    reference: Reference,
    *,
    months: Sequence[int],
    positive: str | None,
    floors: EffectThresholds | None = None,
    more: Iterable[str] = (),
    compared: bool = True,
) -> WindowSummary:
    """Make the summary of a window's profile; ``months`` are the calendar months that the window touches.

    It has the headlines of performance, and ``more`` measures that somebody asked for; and how far its columns are from
    the reference, where they are to be ``compared``.
    """
    names = {*headlines(), *more}
    found = measures(profile.performance, positive=positive, names=names, naive=reference.naive)
    distances = compare(reference, profile, months, floors) if compared else {}
    drift = {name: _drift_view(one) for name, one in distances.items()}
    features = {name: one for name, one in drift.items() if name.startswith(FEATURE_PREFIX)}
    return WindowSummary(
        start=window.start,
        end=window.end,
        version=version,
        stage=stage,
        predictions=profile.predictions,
        labelled=profile.labelled,
        coverage=_measure_view(label_coverage(profile.labelled, profile.predictions)),
        performance={name: _measure_view(one) for name, one in found.items()},
        drift={name.removeprefix(FEATURE_PREFIX): one for name, one in features.items()},
        prediction_drift=drift.get("prediction"),
        label_drift=drift.get("label"),
        latency=_latency(profile),
        label_delays=tuple(profile.delays.counts.items()),
    )


def _latency(profile: WindowProfile) -> MeasureView | None:
    found = latency_p95(profile)
    return _measure_view(found) if found.n else None


def summarize_segment(
    window: Window,
    slice: Slice,
    stage: Stage,
    profile: SegmentProfile,
    *,
    positive: str | None,
    least: int,
    naive: Naive,
    more: Iterable[str] = (),
) -> WindowSummary:
    """Make the summary of a segment; a measure of fewer than ``least`` rows is no number, but says so."""
    found = measures(profile.performance, positive=positive, names={*headlines(), *more}, naive=naive)
    return WindowSummary(
        start=window.start,
        end=window.end,
        version=ALL_VERSIONS,
        stage=stage,
        predictions=profile.predictions,
        labelled=profile.labelled,
        coverage=_measure_view(if_enough(label_coverage(profile.labelled, profile.predictions), profile, least)),
        performance={name: _measure_view(if_enough(one, profile, least)) for name, one in found.items()},
        drift={},
        prediction_drift=None,
        label_drift=None,
        segment=slice.segment,
    )


def if_enough(measure: Measure, profile: SegmentProfile, least: int) -> Measure:
    """Return a measure of a segment, without its value where it rests on fewer than ``least`` rows, as in `check`.

    >>> if_enough(Measure("label_coverage", 0.5, n=12), SegmentProfile(predictions=12), 30).problem
    'too few rows: 12, where at least 30 are needed'
    """
    labelled = 0 if profile.performance is None else profile.performance.count
    rows = profile.predictions if measure.name == "label_coverage" else labelled
    if measure.value is None or rows >= least:
        return measure
    return Measure(measure.name, n=measure.n, problem=f"too few rows: {rows}, where at least {least} are needed")


def with_own(summary: WindowSummary, own: Mapping[str, Replicates]) -> WindowSummary:
    """Return the summary with measures of one's own beside the others."""
    views = {name: _measure_view(measure_of(name, found)) for name, found in own.items()}
    return msgspec.structs.replace(summary, performance={**summary.performance, **views}) if views else summary


def compare(
    reference: Reference, current: WindowProfile, months: Sequence[int], floors: EffectThresholds | None = None
) -> dict[str, ColumnDrift]:
    """Compare features (``feature.<name>``), the prediction and the label with the reference, as one family of tests.

    Features are compared in season, where the reference has one. Predictions and labels are compared with all of it:
    what a model learned to expect does not change with the month. Labels are compared only once there are some.
    """
    then = _columns(reference.features_in_season(months), reference.profile)
    now = _columns(current.features, current)
    targets = {"prediction", "label"}
    shared = {name: column for name, column in then.items() if name in now or name not in targets}
    present = {name: column for name, column in now.items() if name in then or name not in targets}
    return compare_columns(shared, present, floors)


def _columns(features: Profile, profile: WindowProfile) -> dict[str, Column]:
    columns = {FEATURE_PREFIX + name: column for name, column in features.columns.items()}
    for group, name in ((profile.outputs, "prediction"), (profile.labels, "label")):
        if name in group.columns:
            columns[name] = group.columns[name]
    return columns


def _measure_view(measure: Measure) -> MeasureView:
    return MeasureView(measure.value, measure.low, measure.high, measure.n, measure.problem)


def _drift_view(drift: ColumnDrift) -> DriftView:
    return DriftView(
        measure=drift.measure,
        value=drift.value,
        threshold=drift.threshold,
        drifted=drift.drifted,
        p_value=drift.p_value,
        reason=drift.reason or drift.problem,
        changes=tuple(drift.changes),
        missing_reference=drift.missing_reference,
        missing_current=drift.missing_current,
        unseen=_unseen(drift),
    )


def _unseen(drift: ColumnDrift) -> float | None:
    if drift.value is None:
        return None
    return drift.unseen if drift.kind == Kind.CATEGORICAL.value else drift.out_of_range
