"""Prepare for the templates what the page shows; every number on it is also in the API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from markupsafe import Markup

from driftline.alerts.message import AlertView, told
from driftline.charts import sparks
from driftline.events import WHOLE, Segment, Slice
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.summary import DriftView, MeasureView, WindowSummary
from driftline.rules import Rule
from driftline.rules.backtest import BUDGET
from driftline.rules.topic import CHANCE, STALENESS
from driftline.text.moments import page_span
from driftline.text.numbers import NOTHING, beside, exact, from_to, level, number_or_nothing
from driftline.views.values import ModelDetail, VerdictView, WindowView
from driftline.web.ui.asked import segment_key
from driftline.web.ui.delays import Delay, delay_shown
from driftline.web.ui.series import (
    COVERAGE,
    NOTHING_BESIDE,
    Beside,
    Chart,
    absent_measures,
    bounds_of,
    coverage_chart,
    latency_chart,
    measures_of,
    performance_chart,
    volume_chart,
)
from driftline.web.ui.state import Headline, Tone, headline, missing, severity, severity_rank

SPARK_WINDOWS = 60
"""So many windows are in a small chart beside a column."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A measure in the table: rounded for people, and the view with every digit for programs."""

    name: str
    view: MeasureView
    text: str
    interval: str


@dataclass(frozen=True, slots=True)
class Row:
    """A window in the table."""

    window: str
    summary: WindowSummary
    coverage: Cell
    cells: tuple[Cell, ...]
    verdicts: tuple[VerdictView, ...]


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A segment in the newest judged window; ``query`` shows its windows."""

    segment: Segment
    query: str
    summary: WindowSummary
    cell: Cell


@dataclass(frozen=True, slots=True)
class DriftRow:
    """A column compared with the reference in the newest judged window, and in the windows before."""

    name: str
    role: Literal["feature", "prediction", "label"]
    view: DriftView
    state: Literal["drifted", "stable", "not judged"]
    spark: Markup


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as the page shows it."""

    view: AlertView
    tone: Tone
    window: str
    span: str
    value: str
    interval: str
    value_now: str
    bar: Markup
    condition: str
    measure: str
    learns: bool = False
    """Whether it is an alert of the detector, to which people can say what is normal."""


@dataclass(frozen=True, slots=True)
class ModelPage:
    """All values on the page of one model."""

    model: ModelDetail
    config: ModelConfig
    zone: ZoneInfo
    headline: Headline
    open_alerts: tuple[Alert, ...]
    past_alerts: tuple[Alert, ...]
    charts: tuple[Chart, ...]
    more_charts: tuple[Chart, ...]
    coverage: Chart | None
    absent: tuple[tuple[str, str], ...]
    measures: tuple[str, ...]
    rows: tuple[Row, ...]
    hidden_windows: int
    judged: str
    drift: tuple[DriftRow, ...]
    missing: tuple[tuple[str, str], ...]
    slice: Slice
    query: str
    segments: tuple[SegmentRow, ...]
    operation: tuple[Chart, ...] = ()
    delay: Delay | None = None
    """How late labels come, in the newest windows of all rows."""


def model_page(
    model: ModelDetail,
    config: ModelConfig,
    windows: Sequence[WindowView],
    alerts: Sequence[AlertView],
    *,
    slice: Slice = WHOLE,
    looked_at: int = 0,
    newest: Sequence[WindowView] = (),
    segments: Sequence[WindowSummary] = (),
    beside: Beside = NOTHING_BESIDE,
    alone: bool = False,
) -> ModelPage:
    """Prepare the page of one model; ``windows`` are in order of time, and of one ``slice`` of the rows.

    ``beside`` is what the charts of performance show beside it. ``alone`` says that the windows are those of a span
    that was asked for, so that others are not missed.

    ``looked_at`` is how many windows could have had rows of the slice; ``newest`` is the newest judged window of all
    rows where ``windows`` do not tell the state of the model, ``segments`` are those of the newest judged window.
    """
    zone = ZoneInfo(config.window.timezone)
    rules = {rule.name: rule for rule in config.rules}
    names = measures_of(windows, config.rules)
    mine = [rule for rule in config.rules if rule.judges(slice)]
    ruled = {rule.measure for rule in mine}
    of_slice = [WindowView(one.summary, [said for said in one.verdicts if said.slice == slice]) for one in windows]
    told = [one for one in alerts if one.slice == slice]
    drawn = [
        performance_chart(name, of_slice, told, mine, zone, small=name not in ruled, beside=beside) for name in names
    ]
    compared = windows if slice.segment is None else newest  # a segment has no distances
    judged = next((one for one in reversed(compared) if one.summary.stage == "judged"), None)
    shown = [alert_shown(one, rules.get(one.rule), zone) for one in alerts]
    return ModelPage(
        model=model,
        config=config,
        zone=zone,
        headline=headline(model, config.rules, newest or windows, alerts),
        open_alerts=tuple(
            sorted(
                (one for one in shown if one.view.status == "firing"), key=lambda one: severity_rank(one.view.severity)
            )
        ),
        past_alerts=tuple(one for one in shown if one.view.status != "firing"),
        charts=tuple(chart for name, chart in zip(names, drawn, strict=True) if name in ruled),
        more_charts=tuple(chart for name, chart in zip(names, drawn, strict=True) if name not in ruled),
        coverage=coverage_chart(of_slice, told, mine, zone) if model.labels and windows else None,
        absent=absent_measures(windows, names),
        measures=names,
        rows=tuple(_row(one, names, zone) for one in reversed(windows)),
        hidden_windows=max(model.windows - len(windows), 0)
        if not alone and (slice == WHOLE or len(windows) == looked_at)
        else 0,
        judged=page_span(judged.summary.start, judged.summary.end, zone) if judged is not None else "",
        drift=tuple(_drift_rows(judged.summary, windows if slice.segment is None else ()))
        if judged is not None
        else (),
        missing=tuple(missing(model, config, [*newest, *windows], zone)),
        slice=slice,
        query="" if slice == WHOLE else query_of(slice),
        segments=tuple(_segment_row(one, config.rules, names) for one in segments),
        operation=tuple(_operation(windows, zone)) if slice.segment is None else (),
        delay=None if model.label_delay is None else delay_shown(model.label_delay),
    )


def _operation(windows: Sequence[WindowView], zone: ZoneInfo) -> Iterable[Chart]:
    """Return the charts of volume and of latency."""
    if windows:
        yield volume_chart(windows, zone)
    if (latency := latency_chart(windows, zone)) is not None:
        yield latency


# ---- alerts ---------------------------------------------------------------------------------------------------------


def alert_shown(view: AlertView, rule: Rule | None, zone: ZoneInfo) -> Alert:
    """Prepare an alert; ``rule`` is the one that it is of, None where that is configured no longer."""
    interval = "" if view.low is None or view.high is None else f"95 % interval {from_to(view.low, view.high)}"
    if view.bound is not None and view.confidence is not None:
        side = "upper" if rule is None or rule.comparison == "below" else "lower"
        interval += f", {side} bound {beside(view.bound, view.threshold)} ({level(view.confidence)})"
    value, condition = _beside_or_nothing(view.value, view.threshold), rule.words if rule is not None else ""
    if view.measure == STALENESS:
        value, condition = told(view).value, f"no event for more than {told(view).threshold}"
    elif view.measure == CHANCE:
        condition = f"below {exact(view.threshold)} times in a budget's period"
    said = f"{view.measure} {value}, {interval or 'no interval'}, threshold {exact(view.threshold)}"
    tone: Tone = severity(view.severity) if view.status == "firing" else view.status
    return Alert(
        view=view,
        tone=tone,
        window=page_span(view.window.start, view.window.end, zone),
        span=page_span(view.span.start, view.span.end, zone),
        value=value,
        interval=interval,
        value_now=_beside_or_nothing(view.value_now, view.threshold),
        bar=sparks.interval_bar(
            view.value, view.low, view.high, view.threshold, bounds=bounds_of(view.measure), label=said
        ),
        condition=condition or f"{view.rule} (no longer in the configuration)",
        measure="without an event" if view.measure == STALENESS else view.measure,
        learns=view.rule == BUDGET,
    )


def _beside_or_nothing(value: float | None, threshold: float) -> str:
    return NOTHING if value is None else beside(value, threshold)


# ---- tables ---------------------------------------------------------------------------------------------------------


def _row(window: WindowView, names: Sequence[str], zone: ZoneInfo) -> Row:
    one = window.summary
    nothing = MeasureView(None, None, None, 0, "no labelled rows")
    return Row(
        window=page_span(one.start, one.end, zone),
        summary=one,
        coverage=_cell(COVERAGE, one.coverage),
        cells=tuple(_cell(name, one.performance.get(name, nothing)) for name in names),
        verdicts=tuple(window.verdicts),
    )


def _segment_row(summary: WindowSummary, rules: Sequence[Rule], names: Sequence[str]) -> SegmentRow:
    """Return a segment with the measure of a rule on segments, else the first measure that is shown."""
    assert summary.segment is not None  # the summary is of a segment
    asked = [rule.measure for rule in rules if rule.segment != "none" and rule.measure != COVERAGE]
    name = next(iter([*asked, *names]), "accuracy")
    view = summary.performance.get(name, MeasureView(None, None, None, 0, "no labelled rows"))
    return SegmentRow(summary.segment, query_of(Slice(segment=summary.segment)), summary, _cell(name, view))


def query_of(slice: Slice) -> str:
    """Return the query of the page's address that selects a slice."""
    chosen = {"version": slice.version} if slice.version is not None else {}
    if slice.segment is not None:
        chosen["segment"] = segment_key(slice.segment)
    return urlencode(chosen)


def _cell(name: str, view: MeasureView) -> Cell:
    interval = from_to(view.low, view.high)
    return Cell(name, view, number_or_nothing(view.value), interval)


def _drift_rows(newest: WindowSummary, windows: Sequence[WindowView]) -> Iterable[DriftRow]:
    """Return the rows of the drift table: drifted features, other features, the prediction, the label."""
    recent = [one.summary for one in windows][-SPARK_WINDOWS:]
    features = sorted(newest.drift.items(), key=lambda item: (not item[1].drifted, -item[1].severity))
    for name, view in features:
        yield drift_row(name, "feature", view, [one.drift.get(name) for one in recent])
    if newest.prediction_drift is not None:
        views = [one.prediction_drift for one in recent]
        yield drift_row("prediction", "prediction", newest.prediction_drift, views)
    if newest.label_drift is not None:
        yield drift_row("label", "label", newest.label_drift, [one.label_drift for one in recent])


def drift_row(
    name: str,
    role: Literal["feature", "prediction", "label"],
    view: DriftView,
    history: Sequence[DriftView | None],
) -> DriftRow:
    """Prepare a row on one column; ``history`` are its distances in the windows up to that one, in order of time."""
    drifted = sum(one is not None and one.drifted for one in history)
    spark = (
        Markup("")
        if not history
        else sparks.sparkline(
            [_ratio(one) for one in history],
            marked=[one is not None and one.drifted for one in history],
            level=1.0,
            label=f"{name}: distance over threshold in the last {len(history)} windows; drifted in {drifted}",
        )
    )
    state: Literal["drifted", "stable", "not judged"] = (
        "drifted" if view.drifted else "stable" if view.value is not None else "not judged"
    )
    return DriftRow(name, role, view, state, spark)


def _ratio(view: DriftView | None) -> float | None:
    """Return a distance as a multiple of its threshold, which can be compared between measures."""
    if view is None or view.value is None or not view.threshold:
        return None
    return view.value / view.threshold
