"""From the read models to what the templates put on the page. No number is computed here that the API does not give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from markupsafe import Markup

from driftline.rules import Rule, interval_confidence, number_text
from driftline.service.config import ModelConfig
from driftline.service.summary import DriftView, MeasureView, WindowSummary
from driftline.service.ui import charts, words
from driftline.service.views import AlertView, ModelView, VerdictView, WindowView

COVERAGE = "label_coverage"
SHARES = frozenset({"accuracy", "precision", "recall", "f1", "roc_auc", COVERAGE})
ERRORS = frozenset({"log_loss", "mae", "rmse"})
SMALLER_HEIGHT = 150.0
COVERAGE_HEIGHT = 90.0
_SPARK_WINDOWS = 60
_DOT = " · "

Tone = Literal["page", "warning", "info", "ok", "unknown", "pending", "resolved", "corrected"]


@dataclass(frozen=True, slots=True)
class Headline:
    """The state of a model in words; ``tone`` picks icon and colour."""

    tone: Tone
    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its heading. ``summary`` says what a reader of the drawing sees first; ``notes`` explain marks."""

    id: str
    title: str
    summary: str
    drawing: Markup
    notes: tuple[str, ...]
    legend: tuple[str, ...]


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
class DriftRow:
    """A column against the reference in the newest judged window, with its way there."""

    name: str
    role: Literal["feature", "prediction", "label"]
    view: DriftView
    state: Literal["drifted", "stable", "not judged"]
    spark: Markup


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as shown."""

    view: AlertView
    tone: Tone
    window: str
    span: str
    value: str
    interval: str
    value_now: str
    bar: Markup
    condition: str


@dataclass(frozen=True, slots=True)
class ModelPage:
    """All of one model's page."""

    model: ModelView
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


def model_page(
    model: ModelView, config: ModelConfig, windows: Sequence[WindowView], alerts: Sequence[AlertView]
) -> ModelPage:
    """Bring together what the page of one model shows; ``windows`` in order of time."""
    zone = ZoneInfo(config.window.timezone)
    rules = {rule.name: rule for rule in config.rules}
    names = measures_of(windows, config.rules)
    ruled = {rule.measure for rule in config.rules}
    drawn = [_performance(name, windows, alerts, config, zone, small=name not in ruled) for name in names]
    judged = next((one for one in reversed(windows) if one.summary.stage == "judged"), None)
    shown = [_alert(one, rules.get(one.rule), zone) for one in alerts]
    return ModelPage(
        model=model,
        config=config,
        zone=zone,
        headline=headline(model, config.rules, windows, alerts),
        open_alerts=tuple(one for one in shown if one.view.status == "firing"),
        past_alerts=tuple(one for one in shown if one.view.status != "firing"),
        charts=tuple(chart for name, chart in zip(names, drawn, strict=True) if name in ruled),
        more_charts=tuple(chart for name, chart in zip(names, drawn, strict=True) if name not in ruled),
        coverage=_coverage(windows, alerts, config, zone) if model.labels and windows else None,
        absent=_absent(windows, names),
        measures=names,
        rows=tuple(_row(one, names, zone) for one in reversed(windows)),
        hidden_windows=max(model.windows - len(windows), 0),
        judged=words.span(judged.summary.start, judged.summary.end, zone) if judged is not None else "",
        drift=tuple(_drift_rows(judged.summary, windows)) if judged is not None else (),
        missing=tuple(_missing(model, config, windows, zone)),
    )


def measures_of(windows: Iterable[WindowView], rules: Iterable[Rule]) -> tuple[str, ...]:
    """The performance measures that have a value somewhere: those with a rule first, in the order of the rules."""
    found = dict.fromkeys(
        name for one in windows for name, view in one.summary.performance.items() if view.value is not None
    )
    first = dict.fromkeys(rule.measure for rule in rules if rule.measure in found)
    return tuple(dict.fromkeys([*first, *found]))


# ---- the state in words ---------------------------------------------------------------------------------------------


def headline(
    model: ModelView, rules: Sequence[Rule], windows: Sequence[WindowView], alerts: Sequence[AlertView]
) -> Headline:
    """Say how the model is; *All well* only when every rule has judged the newest judged window, and found it well."""
    firing = sorted((one for one in alerts if one.status == "firing"), key=lambda one: _severity_rank(one.severity))
    if firing:
        more = f" and {len(firing) - 1} more" if len(firing) > 1 else ""
        return Headline(_severity(firing[0].severity), f"Firing: {firing[0].title}{more}", "")
    if not model.predictions:
        return Headline("unknown", "No events yet", "Nothing is known of this model.")
    if not rules:
        return Headline("unknown", "No rules", "Nothing can alert: this model has no rule.")
    if not model.labels:
        return Headline("unknown", "No labels yet", "How well the model does is not known without them.")
    judged = [one for one in windows if one.verdicts and one.summary.stage == "judged"]
    if not judged:
        return Headline("unknown", "No window judged yet", "The first verdict comes when a window has closed.")
    return _newest(judged[-1], rules)


def _newest(window: WindowView, rules: Sequence[Rule]) -> Headline:
    said = {one.rule: one for one in window.verdicts}
    breach = [rule for rule in rules if rule.name in said and said[rule.name].state == "breach"]
    silent = [rule for rule in rules if rule.name not in said or said[rule.name].state == "nodata"]
    if breach:
        text = f"Pending: {breach[0].expression}"
        return Headline("pending", text, f"{said[breach[0].name].reason}; not for long enough to alert.")
    if silent:
        reason = said[silent[0].name].reason if silent[0].name in said else "it has not been judged yet"
        return Headline("unknown", "Not known", f"{silent[0].expression}: {reason}.")
    return Headline("ok", "All well", "Every rule holds in the newest judged window.")


def _severity(name: str) -> Tone:
    for tone in _SEVERITIES:
        if tone == name:
            return tone
    return "warning"


_SEVERITIES: tuple[Tone, ...] = ("page", "warning", "info")


def _severity_rank(name: str) -> int:
    return _SEVERITIES.index(_severity(name))


def _missing(
    model: ModelView, config: ModelConfig, windows: Sequence[WindowView], zone: ZoneInfo
) -> Iterable[tuple[str, str]]:
    """What is not there yet, and what to do about it."""
    address = f"/api/v1/models/{model.name}"
    if not model.predictions:
        waiting = f" {model.waiting_events} events wait to be worked in." if model.waiting_events else ""
        yield "No events yet", f"Send predictions to POST {address}/predictions, or log them with driftline.Monitor.{waiting}"
        return
    if not model.labels:
        yield "No labels yet", f"Send what turned out to be true to POST {address}/labels, with the id of the prediction."
    if not any(one.summary.stage == "judged" for one in windows):
        newest = windows[-1].summary if windows else None
        until = f" (now: until event time passes {words.moment(newest.end, zone)})" if newest is not None else ""
        patience = words.duration(config.labels.expected_within)
        yield (
            "No window judged yet",
            f"A window is open for {config.window.words}{until}, then waits for its labels for at most {patience}.",
        )
    if not config.rules:
        yield "No rules", "Nothing can alert. Add a rule under alerts: rules: in driftline.yaml."


# ---- alerts ---------------------------------------------------------------------------------------------------------


def _alert(view: AlertView, rule: Rule | None, zone: ZoneInfo) -> Alert:
    level = f"{100 * interval_confidence(rule):g} % interval" if rule is not None else "interval"
    interval = "" if view.low is None or view.high is None else f"{level} {_from_to(view.low, view.high)}"
    value = words.number(view.value)
    said = f"{view.measure} {value}, {interval or 'no interval'}, threshold {number_text(view.threshold)}"
    tone: Tone = _severity(view.severity) if view.status == "firing" else view.status
    return Alert(
        view=view,
        tone=tone,
        window=words.span(view.window.start, view.window.end, zone),
        span=words.span(view.span.start, view.span.end, zone),
        value=value,
        interval=interval,
        value_now=words.number(view.value_now),
        bar=charts.interval_bar(
            view.value, view.low, view.high, view.threshold, bounds=_bounds(view.measure), label=said
        ),
        condition=rule.expression if rule is not None else f"{view.rule} (no longer in the configuration)",
    )


def _from_to(low: float, high: float) -> str:
    return f"{words.number(low)} to {words.number(high)}"


# ---- charts ---------------------------------------------------------------------------------------------------------


def _bounds(measure: str) -> tuple[float | None, float | None]:
    if measure in SHARES:
        return 0.0, 1.0
    return (0.0, None) if measure in ERRORS else (None, 1.0) if measure == "r2" else (None, None)


def _performance(
    name: str,
    windows: Sequence[WindowView],
    alerts: Sequence[AlertView],
    config: ModelConfig,
    zone: ZoneInfo,
    *,
    small: bool,
) -> Chart:
    return _chart(
        name,
        name,
        windows,
        [one for one in alerts if one.measure == name],
        [rule for rule in config.rules if rule.measure == name],
        zone,
        lambda one: one.performance.get(name) or MeasureView(None, None, None, 0, "no labelled rows"),
        SMALLER_HEIGHT if small else 260.0,
    )


def _coverage(
    windows: Sequence[WindowView], alerts: Sequence[AlertView], config: ModelConfig, zone: ZoneInfo
) -> Chart:
    return _chart(
        COVERAGE,
        "Label coverage",
        windows,
        [one for one in alerts if one.measure == COVERAGE],
        [rule for rule in config.rules if rule.measure == COVERAGE],
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
        _point(measure, one, read(one.summary), names, then.get(one.summary.start), zone, _covering(one.summary, alerts))
        for one in windows
    ]
    levels = [charts.Level(rule.threshold, f"threshold {number_text(rule.threshold)}") for rule in rules]
    levels = list({level.value: level for level in levels}.values())
    shades = [_shade(one, zone) for one in alerts]
    return Chart(
        id=f"chart-{measure}",
        title=title,
        summary=_said(points),
        drawing=charts.line_chart(
            points,
            name=f"plot-{measure}",
            label=f"{title} over time. {_said(points)}",
            zone=zone,
            levels=levels,
            shades=shades,
            bounds=_bounds(measure),
            whole=whole_scale,
            height=height,
        ),
        notes=_notes(points),
        legend=_legend(points, shades),
    )


def _said(points: Sequence[charts.Point]) -> str:
    values = [(point.value, point) for point in points if point.value is not None and point.kind != "provisional"]
    if not values:
        return "No judged window has a value yet."
    newest, at = values[-1]
    low, high = min(value for value, _ in values), max(value for value, _ in values)
    return (
        f"Newest judged {words.number(newest)} ({at.label.split(_DOT)[0]}); lowest {words.number(low)}, "
        f"highest {words.number(high)} in {len(values)} judged window{'s' if len(values) > 1 else ''}."
    )


def _notes(points: Sequence[charts.Point]) -> tuple[str, ...]:
    if len(points) <= charts.MOST_POINTS:
        return ()
    return (f"{len(points)} windows are too many to draw: of neighbours, the lowest and the highest are shown.",)


def _legend(points: Sequence[charts.Point], shades: Sequence[charts.Shade]) -> tuple[str, ...]:
    """Which marks of the key are in the drawing."""
    kinds = {point.kind for point in points if point.value is not None}
    found = ["judged"] if kinds & {"judged", "breach"} else []
    found += ["band"] if any(point.low is not None for point in points) else []
    found += [kind for kind in ("breach", "provisional") if kind in kinds]
    found += ["then"] if any(point.then is not None for point in points) else []
    shaded = {shade.kind for shade in shades}
    found += ["alert"] if shaded & set(_SEVERITIES) else []
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
) -> charts.Point:
    one = window.summary
    verdicts = [verdict for verdict in window.verdicts if verdict.rule in rules]
    breach = any(verdict.state == "breach" for verdict in verdicts)
    parts = [words.span(one.start, one.end, zone)]
    if view.value is None:
        parts.append(f"{measure}: no value, {view.problem}")
    else:
        parts.append(f"{measure} {words.number(view.value)}")
    if view.low is not None and view.high is not None:
        parts.append(f"95 % interval {_from_to(view.low, view.high)}")
    parts += [f"n = {words.count(view.n)}", f"label coverage {words.share(one.coverage.value)}"]
    if one.stage != "judged":
        parts.append(one.stage)
    elif verdicts:
        parts.append("breach" if breach else verdicts[0].state.replace("nodata", "not judged"))
    parts += [f"alert {alert.rule}, {alert.status}" for alert in covering]
    if then is not None and then != view.value:
        parts.append(f"known when the alert fired: {words.number(then)}")
    return charts.Point(
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


def _shade(alert: AlertView, zone: ZoneInfo) -> charts.Shade:
    kind = _severity(alert.severity) if alert.status == "firing" else alert.status
    covers = words.span(alert.span.start, alert.span.end, zone)
    return charts.Shade(alert.span.start, alert.span.end, kind, f"Alert {alert.rule}, {alert.status}: {covers}")


def _absent(windows: Sequence[WindowView], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Measures that have no value in any window, with the newest reason."""
    found: dict[str, str] = {}
    for one in windows:
        for name, view in one.summary.performance.items():
            if name not in names:
                found[name] = view.problem
    return tuple(found.items())


# ---- tables ---------------------------------------------------------------------------------------------------------


def _row(window: WindowView, names: Sequence[str], zone: ZoneInfo) -> Row:
    one = window.summary
    nothing = MeasureView(None, None, None, 0, "no labelled rows")
    return Row(
        window=words.span(one.start, one.end, zone),
        summary=one,
        coverage=_cell(COVERAGE, one.coverage),
        cells=tuple(_cell(name, one.performance.get(name, nothing)) for name in names),
        verdicts=tuple(window.verdicts),
    )


def _cell(name: str, view: MeasureView) -> Cell:
    interval = "" if view.low is None or view.high is None else _from_to(view.low, view.high)
    return Cell(name, view, words.number(view.value), interval)


def _drift_rows(newest: WindowSummary, windows: Sequence[WindowView]) -> Iterable[DriftRow]:
    """Features first, those that drifted before the others; then the prediction and the label."""
    recent = [one.summary for one in windows][-_SPARK_WINDOWS:]
    features = sorted(newest.drift.items(), key=lambda item: (not item[1].drifted, -(_ratio(item[1]) or 0.0)))
    for name, view in features:
        yield _drift_row(name, "feature", view, [one.drift.get(name) for one in recent])
    if newest.prediction_drift is not None:
        views = [one.prediction_drift for one in recent]
        yield _drift_row("prediction", "prediction", newest.prediction_drift, views)
    if newest.label_drift is not None:
        yield _drift_row("label", "label", newest.label_drift, [one.label_drift for one in recent])


def _drift_row(
    name: str,
    role: Literal["feature", "prediction", "label"],
    view: DriftView,
    history: Sequence[DriftView | None],
) -> DriftRow:
    drifted = sum(one is not None and one.drifted for one in history)
    spark = charts.sparkline(
        [_ratio(one) for one in history],
        marked=[one is not None and one.drifted for one in history],
        level=1.0,
        label=f"{name}: distance over threshold in the last {len(history)} windows; drifted in {drifted}",
    )
    state: Literal["drifted", "stable", "not judged"] = (
        "drifted" if view.drifted else "stable" if view.value is not None else "not judged"
    )
    return DriftRow(name, role, view, state, spark)


def _ratio(view: DriftView | None) -> float | None:
    """How many thresholds a distance is; comparable from window to window even where another measure speaks."""
    if view is None or view.value is None or not view.threshold:
        return None
    return view.value / view.threshold


def moment_or_dash(time: datetime | None, zone: ZoneInfo) -> str:
    """A moment, or a dash where there is none."""
    return words.NOTHING if time is None else words.moment(time, zone)
