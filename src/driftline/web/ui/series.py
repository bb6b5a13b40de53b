"""Turn windows into charts over time: the points of a measure, and the tooltip of each window."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup

from driftline.alerts.message import AlertView
from driftline.charts import lines
from driftline.monitoring.summary import DriftView, MeasureView, WindowSummary
from driftline.rules import Rule
from driftline.rules.topic import LATENCY
from driftline.statistics import CATALOGUE
from driftline.text.moments import page_span
from driftline.text.numbers import count, exact, from_to, number_or_nothing, p_words, percent_or_nothing
from driftline.views.features import FeatureWindow
from driftline.views.lines import VersionLine
from driftline.views.values import WindowView
from driftline.web.ui.state import SEVERITIES, severity

COVERAGE = "label_coverage"
HEIGHT = 260.0
SMALLER_HEIGHT = 150.0
COVERAGE_HEIGHT = 90.0
_DOT = " · "
_span = functools.lru_cache(2_000)(page_span)
"""A window in words, which every chart of a page has of the same windows."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its heading. ``summary`` says what the chart shows; ``notes`` explain its marks."""

    id: str
    title: str
    summary: str
    drawing: Markup
    notes: tuple[str, ...]
    legend: tuple[str, ...]
    lines: tuple[tuple[str, str], ...] = ()
    """The lines beside the first: the class of each, and what it is of."""

    ends: tuple[datetime, datetime] | None = None
    """The start of the first window and the end of the last."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What a chart shows beside the values of all rows: the ``reference``'s value, lines of versions, and events."""

    reference: Mapping[str, float] = field(default_factory=dict)
    versions: Sequence[VersionLine] = ()
    marks: Sequence[lines.Mark] = ()


NOTHING_BESIDE = Beside()


def measures_of(windows: Iterable[WindowView], rules: Iterable[Rule]) -> tuple[str, ...]:
    """Return the performance measures with a value in any window; those with a rule come first, in rule order."""
    found = dict.fromkeys(
        name for one in windows for name, view in one.summary.performance.items() if view.value is not None
    )
    first = dict.fromkeys(rule.measure for rule in rules if rule.measure in found)
    return tuple(dict.fromkeys([*first, *found]))


def bounds_of(measure: str) -> tuple[float | None, float | None]:
    """Return the least and greatest possible value of a measure; None where it is unbounded."""
    low, high = CATALOGUE[measure].range if measure in CATALOGUE else (-math.inf, math.inf)
    return low if math.isfinite(low) else None, high if math.isfinite(high) else None


def performance_chart(
    name: str,
    windows: Sequence[WindowView],
    alerts: Sequence[AlertView],
    rules: Sequence[Rule],
    zone: ZoneInfo,
    *,
    small: bool,
    beside: Beside = NOTHING_BESIDE,
) -> Chart:
    """Draw a performance measure over time, with its interval, thresholds and alerts, and what stands ``beside`` it."""
    return _chart(
        name,
        name,
        windows,
        [one for one in alerts if one.measure == name],
        [rule for rule in rules if rule.measure == name],
        zone,
        lambda one: one.performance.get(name) or MeasureView(None, None, None, 0, "no labelled rows"),
        SMALLER_HEIGHT if small else HEIGHT,
        beside=beside,
    )


def rule_chart(
    measure: str, windows: Sequence[WindowView], alerts: Sequence[AlertView], rules: Sequence[Rule], zone: ZoneInfo
) -> Chart:
    """Draw what rules on a measure have judged over time, whatever the measure is of; by the first of the rules."""
    said = {
        one.summary.start: verdict
        for one in windows
        for verdict in reversed(one.verdicts)
        if verdict.rule in {rule.name for rule in rules}
    }

    def read(one: WindowSummary) -> MeasureView:
        if one.start not in said:
            return one.performance.get(measure) or MeasureView(None, None, None, 0, "not judged yet")
        verdict = said[one.start]
        return MeasureView(verdict.value, verdict.low, verdict.high, verdict.n, verdict.reason)

    return _chart(measure, measure, windows, alerts, rules, zone, read, HEIGHT)


def volume_chart(windows: Sequence[WindowView], zone: ZoneInfo) -> Chart:
    """Draw over time how many predictions there were."""

    def read(one: WindowSummary) -> MeasureView:
        return MeasureView(float(one.predictions), None, None, one.predictions)

    return _chart("predictions", "Predictions", windows, [], [], zone, read, SMALLER_HEIGHT, low=0.0)


def latency_chart(windows: Sequence[WindowView], zone: ZoneInfo) -> Chart | None:
    """Draw over time the 95th percentile of the latencies; None where no prediction came with one."""
    if not any(one.summary.latency is not None for one in windows):
        return None

    def read(one: WindowSummary) -> MeasureView:
        return one.latency or MeasureView(None, None, None, 0, "no prediction came with a latency")

    return _chart(LATENCY, "Latency, 95th percentile, in seconds", windows, [], [], zone, read, SMALLER_HEIGHT)


def coverage_chart(
    windows: Sequence[WindowView], alerts: Sequence[AlertView], rules: Sequence[Rule], zone: ZoneInfo
) -> Chart:
    """Draw over time the share of predictions that have a label."""
    return _chart(
        COVERAGE,
        "Label coverage",
        windows,
        [one for one in alerts if one.measure == COVERAGE],
        [rule for rule in rules if rule.measure == COVERAGE],
        zone,
        lambda one: MeasureView(one.coverage.value, None, None, one.coverage.n, one.coverage.problem),
        COVERAGE_HEIGHT,
        whole_scale=True,
    )


def _chart(
    measure: str,
    title: str,
    windows: Sequence[WindowView],
    alerts: Sequence[AlertView],
    rules: Sequence[Rule],
    zone: ZoneInfo,
    read: Callable[[WindowSummary], MeasureView],
    height: float,
    *,
    whole_scale: bool = False,
    low: float | None = None,
    beside: Beside = NOTHING_BESIDE,
) -> Chart:
    names = {rule.name for rule in rules}
    then = {one.window.start: one.value for one in alerts if one.value != one.value_now}
    points = [
        _point(
            measure,
            one,
            read(one.summary),
            names,
            then.get(one.summary.start),
            zone,
            _covering(one.summary, alerts),
        )
        for one in windows
    ]
    levels = [lines.Level(rule.threshold, f"threshold {exact(rule.threshold)}") for rule in rules]
    levels = list({level.value: level for level in levels}.values())
    was = beside.reference.get(measure)
    if was is not None:
        levels.append(lines.Level(was, f"reference {number_or_nothing(was)}", "reference"))
    others = _version_lines(measure, beside.versions)
    shades = [_shade(one, zone) for one in alerts]
    return Chart(
        id=f"chart-{measure}",
        title=title,
        summary=_said(points),
        drawing=lines.line_chart(
            points,
            name=f"plot-{measure}",
            label=f"{title} over time. {_said(points)}",
            zone=zone,
            levels=levels,
            shades=shades,
            bounds=bounds_of(measure) if low is None else (low, None),
            whole=whole_scale,
            height=height,
            others=others,
            marks=beside.marks,
        ),
        notes=_notes(points),
        legend=_legend(points, shades),
        lines=tuple((f"other-{at % lines.LINE_STYLES}", line.label) for at, line in enumerate(others)),
        ends=(points[0].start, points[-1].end) if points else None,
    )


def distance_chart(history: Sequence[tuple[FeatureWindow, DriftView]], zone: ZoneInfo) -> Chart:
    """Draw over time how far a feature was from the reference, in units of its threshold: measures may differ."""

    def point(one: FeatureWindow, view: DriftView) -> lines.Point:
        ratio = view.value / view.threshold if view.value is not None and view.threshold else None
        parts = [_span(one.start, one.end, zone)]
        if view.value is None or view.threshold is None:
            parts.append(f"not judged: {view.reason}")
        else:
            parts.append(f"{view.measure} {number_or_nothing(view.value)}, threshold {exact(view.threshold)}")
        parts += [p_words(view.p_value)] if view.p_value is not None else []
        parts += [f"n = {count(one.predictions)}", "drifted" if view.drifted else "no drift"]
        return _feature_point(one, ratio, parts, drifted=view.drifted)

    points = [point(one, view) for one, view in history]
    drifted = sum(view.drifted for _, view in history)
    said = f"Drifted in {count(drifted)} of {count(len(history))} windows."
    levels = [lines.Level(1.0, "threshold")]
    return _feature_chart("distance", "Distance / threshold", said, points, zone, levels, HEIGHT, (0.0, None))


def missing_chart(history: Sequence[tuple[FeatureWindow, DriftView]], zone: ZoneInfo) -> Chart:
    """Draw over time the share of rows without a value of a feature, with that of the reference."""
    points = [
        _feature_point(
            one,
            view.missing_current,
            [_span(one.start, one.end, zone), f"missing {percent_or_nothing(view.missing_current)}"],
            drifted=False,
        )
        for one, view in history
    ]
    was = history[-1][1].missing_reference
    levels = [] if was is None else [lines.Level(was, f"reference {percent_or_nothing(was)}", "reference")]
    said = f"Newest {percent_or_nothing(history[-1][1].missing_current)}; reference {percent_or_nothing(was)}."
    return _feature_chart("missing", "Missing values", said, points, zone, levels, SMALLER_HEIGHT, (0.0, 1.0))


def unseen_chart(
    history: Sequence[tuple[FeatureWindow, DriftView]], zone: ZoneInfo, *, categories: bool, least: float
) -> Chart | None:
    """Draw over time the share of rows that are like none of the reference; None where no window knows it.

    Of ``categories`` the ``least`` share that counts as drift is a level.
    """
    known = [(one, view, view.unseen) for one, view in history if view.unseen is not None]
    if not known:
        return None
    what = "in categories that the reference did not have" if categories else "outside the range of the reference"
    points = [
        _feature_point(
            one,
            share,
            [_span(one.start, one.end, zone), f"{percent_or_nothing(share)} {what}", f"n = {count(one.predictions)}"],
            drifted=categories and view.drifted and share >= least,
        )
        for one, view, share in known
    ]
    shares = [share for _, _, share in known]
    said = f"Newest {percent_or_nothing(shares[-1])}, at most {percent_or_nothing(max(shares))} {what}."
    levels = [lines.Level(least, f"threshold {percent_or_nothing(least)}")] if categories else []
    title = "Unseen categories" if categories else "Outside the reference's range"
    return _feature_chart("unseen", title, said, points, zone, levels, SMALLER_HEIGHT, (0.0, 1.0))


def _feature_point(one: FeatureWindow, value: float | None, parts: Sequence[str], *, drifted: bool) -> lines.Point:
    kind: lines.Kind = "provisional" if one.stage == "open" else "breach" if drifted else "judged"
    return lines.Point(one.start, one.end, value, None, None, _DOT.join(parts), kind)


def _feature_chart(
    name: str,
    title: str,
    said: str,
    points: Sequence[lines.Point],
    zone: ZoneInfo,
    levels: Sequence[lines.Level],
    height: float,
    bounds: tuple[float | None, float | None],
) -> Chart:
    drawing = lines.line_chart(
        points,
        name=f"plot-{name}",
        label=f"{title} over time. {said}",
        zone=zone,
        levels=levels,
        bounds=bounds,
        height=height,
    )
    return Chart(f"chart-{name}", title, said, drawing, _notes(points), ())


def _version_lines(measure: str, versions: Sequence[VersionLine]) -> list[lines.Line]:
    """Return the lines of the versions that the measure has a value of."""
    found = []
    for one in versions:
        points = [
            lines.Point(window.start, window.end, view.value, None, None, "")
            for window in one.windows
            if (view := window.performance.get(measure)) is not None
        ]
        if any(point.value is not None for point in points):
            found.append(lines.Line(points, f"version {one.version}" if one.version else "no version"))
    return found


def _said(points: Sequence[lines.Point]) -> str:
    values = [(point.value, point) for point in points if point.value is not None and point.kind != "provisional"]
    if not values:
        return "No judged window has a value yet."
    newest, at = values[-1]
    low, high = min(value for value, _ in values), max(value for value, _ in values)
    return (
        f"Newest judged {number_or_nothing(newest)} ({at.label.split(_DOT)[0]}); lowest {number_or_nothing(low)}, "
        f"highest {number_or_nothing(high)} in {len(values)} judged window{'s' if len(values) > 1 else ''}."
    )


def _notes(points: Sequence[lines.Point]) -> tuple[str, ...]:
    if len(points) <= lines.MOST_POINTS:
        return ()
    return (f"{len(points)} windows are too many to draw: of neighbours, the lowest and the highest are shown.",)


def _legend(points: Sequence[lines.Point], shades: Sequence[lines.Shade]) -> tuple[str, ...]:
    """Return the marks that the legend of a chart explains."""
    kinds = {point.kind for point in points if point.value is not None}
    found = ["judged"] if kinds & {"judged", "breach"} else []
    found += ["band"] if any(point.low is not None for point in points) else []
    found += [kind for kind in ("breach", "provisional") if kind in kinds]
    found += ["then"] if any(point.then is not None for point in points) else []
    shaded = {shade.kind for shade in shades}
    found += [kind for kind in (*SEVERITIES, "resolved", "corrected") if kind in shaded]
    return tuple(found)


def _point(
    measure: str,
    window: WindowView,
    view: MeasureView,
    rules: set[str],
    then: float | None,
    zone: ZoneInfo,
    covering: Sequence[AlertView],
) -> lines.Point:
    one = window.summary
    verdicts = [verdict for verdict in window.verdicts if verdict.rule in rules]
    breach = any(verdict.state == "breach" for verdict in verdicts)
    parts = [_span(one.start, one.end, zone)]
    if view.value is None:
        parts.append(f"{measure}: no value, {view.problem}")
    else:
        parts.append(f"{measure} {number_or_nothing(view.value)}")
    if view.low is not None and view.high is not None:
        parts.append(f"95 % interval {from_to(view.low, view.high)}")
    parts += [f"n = {count(view.n)}", f"label coverage {percent_or_nothing(one.coverage.value)}"]
    if one.stage != "judged":
        parts.append(one.stage)
    elif verdicts:
        parts.append("breach" if breach else verdicts[0].state.replace("nodata", "not judged"))
    parts += [f"alert {alert.rule}, {alert.status}" for alert in covering]
    if then is not None and then != view.value:
        parts.append(f"known when the alert fired: {number_or_nothing(then)}")
    return lines.Point(
        start=one.start,
        end=one.end,
        value=view.value,
        low=view.low,
        high=view.high,
        label=_DOT.join(parts),
        kind="provisional" if one.stage != "judged" else "breach" if breach else "judged",
        then=then if then != view.value else None,
    )


def _covering(window: WindowSummary, alerts: Sequence[AlertView]) -> list[AlertView]:
    return [one for one in alerts if one.span.start <= window.start < one.span.end]


def _shade(alert: AlertView, zone: ZoneInfo) -> lines.Shade:
    kind = severity(alert.severity) if alert.status == "firing" else alert.status
    covers = page_span(alert.span.start, alert.span.end, zone)
    return lines.Shade(alert.span.start, alert.span.end, kind, f"Alert {alert.rule}, {alert.status}: {covers}")


def absent_measures(windows: Sequence[WindowView], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the measures without a value in any window, each with its newest reason."""
    found: dict[str, str] = {}
    for one in windows:
        for name, view in one.summary.performance.items():
            if name not in names:
                found[name] = view.problem
    return tuple(found.items())
