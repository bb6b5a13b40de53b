"""Turn windows into charts over time: the points of a measure, and the tooltip of each window."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from markupsafe import Markup

from driftline.alerts.message import AlertView
from driftline.charts import lines
from driftline.monitoring.summary import MeasureView, WindowSummary
from driftline.rules import Rule
from driftline.statistics import CATALOGUE
from driftline.text.moments import page_span
from driftline.text.numbers import count, exact, from_to, number_or_nothing, percent_or_nothing
from driftline.views.reader import WindowView
from driftline.web.ui.state import SEVERITIES, severity

COVERAGE = "label_coverage"
HEIGHT = 260.0
SMALLER_HEIGHT = 150.0
COVERAGE_HEIGHT = 90.0
_DOT = " · "


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its heading. ``summary`` says what the chart shows; ``notes`` explain its marks."""

    id: str
    title: str
    summary: str
    drawing: Markup
    notes: tuple[str, ...]
    legend: tuple[str, ...]


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
) -> Chart:
    """Draw a performance measure over time, with its interval, thresholds and alerts."""
    return _chart(
        name,
        name,
        windows,
        [one for one in alerts if one.measure == name],
        [rule for rule in rules if rule.measure == name],
        zone,
        lambda one: one.performance.get(name) or MeasureView(None, None, None, 0, "no labelled rows"),
        SMALLER_HEIGHT if small else HEIGHT,
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
            bounds=bounds_of(measure),
            whole=whole_scale,
            height=height,
        ),
        notes=_notes(points),
        legend=_legend(points, shades),
    )


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
    found += ["alert"] if shaded & set(SEVERITIES) else []
    found += [kind for kind in ("resolved", "corrected") if kind in shaded]
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
    parts = [page_span(one.start, one.end, zone)]
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
