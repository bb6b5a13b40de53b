"""The page of one alert: what it is, why, who knows of it, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from markupsafe import Markup
from msgspec.structs import replace

from driftline.alerts.message import AlertView, told
from driftline.charts import sparks
from driftline.errors import DriftlineError, UnknownNameError, UsageError
from driftline.events import Slice
from driftline.monitoring.explanation import Explanation
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.summary import MeasureView, WindowSummary
from driftline.rules import Rule
from driftline.rules.backtest import BUDGET
from driftline.rules.topic import CHANCE, STALENESS
from driftline.statistics.catalogue import CATALOGUE, Better
from driftline.text.moments import page_span
from driftline.text.numbers import beside, exact, from_to, level, number, number_or_nothing, percent
from driftline.views.features import FeatureView
from driftline.views.story import AlertStory, NoticeView, around
from driftline.views.values import WindowView
from driftline.web.ui import shown
from driftline.web.ui.advice import KINDS, Step, steps_for
from driftline.web.ui.asked import feature_query
from driftline.web.ui.feature import Drawn, drawn_over
from driftline.web.ui.rendering import Render
from driftline.web.ui.series import COVERAGE, Chart, bounds_of, measures_of, performance_chart, rule_chart

FEATURES_SHOWN = 6
FEATURES_DRAWN = 4
CATEGORIES_DRAWN = 5
SEGMENTS_SHOWN = 6
"""So many of the worst are shown as pictures."""

STEPS_SHOWN = 80
"""Of what happened to an alert the newest steps are told."""

DURATIONS = (("1h", "1 hour"), ("8h", "8 hours"), ("24h", "24 hours"), ("7d", "7 days"))
"""For how long an alert can be silenced here."""

DONE = {
    "acknowledge": "Acknowledged: messages about this alert are no longer repeated.",
    "silence": "Silenced: nobody is notified while the silence lasts.",
    "ask": "A challenger was asked for.",
    "accept": "Accepted as the new normal; the alert ends with the next pass of the worker.",
    "expected": "Noted as expected; the alert ends with the next pass of the worker.",
}
"""What is said after each action."""


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def model_config(self, model: str, /) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""

    def alert(self, id: str, /) -> AlertView:
        """Return one alert; raises `UnknownNameError` for an unknown one."""

    def story(self, id: str, /) -> AlertStory:
        """Return what there is to say of an alert besides itself; raises `UnknownNameError` for an unknown one."""

    def explanation(self, id: str, /) -> Explanation:
        """Explain one alert; raises `UnknownNameError` for an unknown one."""

    def features_in(self, model: str, start: datetime, names: Sequence[str], /) -> list[FeatureView]:
        """Return some features in the window that starts at a moment, beside the reference."""

    def windows(
        self,
        model: str,
        /,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        version: str | None = None,
        newest: int | None = None,
        segment: str | None = None,
    ) -> list[WindowView]:
        """Return the newest windows that start in [start, end), in order of time."""


class Acts(Protocol):
    """Does what people decide on the page; see `driftline.web.acting`."""

    def do(self, action: str, alert: AlertView, said: Mapping[str, str]) -> None:
        """Do it; raises a `DriftlineError` that says why it cannot be done."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of the window that the alert fired on: its measure in words and as a bar."""

    words: str
    query: str
    text: str
    interval: str
    n: int
    bar: Markup


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened to an alert, wall-clock time; ``receiver`` where somebody was told of it."""

    at: datetime
    what: str
    detail: str
    receiver: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class AlertPage:
    """All values on the page of one alert."""

    one: shown.Alert
    zone: ZoneInfo
    story: AlertStory
    suspected: str
    kind: tuple[str, str] | None
    sure: tuple[str, ...]
    origin: tuple[tuple[str, str], ...]
    rerun: Explanation | None
    chart: Chart | None
    features: tuple[shown.DriftRow, ...]
    drawn: Mapping[str, Drawn]
    segments: tuple[Segment, ...]
    segments_of: str
    timeline: tuple[Happened, ...]
    left_out: int
    steps: tuple[Step, ...]

    @property
    def feature_query(self) -> str:
        """The query by which a feature's page shows the rows of the alert."""
        return feature_query(self.one.view.window.start, self.one.view.slice.segment)

    @property
    def actions(self) -> tuple[str, ...]:
        """What people can do about it, as it is."""
        if self.one.view.status != "firing":
            return ()
        asks = ("ask",) if self.story.retrains else ()
        return ("acknowledge", "silence", *asks, *(("accept", "expected") if self.one.learns else ()))


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody has just sent with a form: what was done, or what is wrong with it."""

    done: str = ""
    problem: str = ""
    action: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)

    def of(self, action: str, name: str) -> str:
        """Return what was typed into a field of the form of an action; empty in other forms."""
        return self.fields.get(name, "") if action == self.action else ""


def alert_page(
    request: Request, views: Views, render: Render, alert: str, said: Said | None = None, status: int = 200
) -> Response:
    """Show one alert; ``said`` is the outcome of a form."""
    try:
        one = views.alert(alert)
        config = views.model_config(one.model)
    except UnknownNameError:
        return render(request, "missing_alert.html", status=404, came=alert)
    if said is None:
        said = Said(done=DONE.get(request.query_params.get("done", ""), ""))
    page = _page(views, config, one)
    return render(request, "alert.html", status=status, page=page, said=said, durations=DURATIONS, budget=BUDGET)


def _page(views: Views, config: ModelConfig, alert: AlertView) -> AlertPage:
    zone, story = ZoneInfo(config.window.timezone), views.story(alert.id)
    rule = next((one for one in config.rules if one.name == alert.rule), None)
    windows = _windows(views, alert)
    then = next((one.summary for one in windows if one.summary.start == alert.window.start), None)
    features = tuple(_features(alert, story, then, windows))
    known = [row.name for row in features if row.role == "feature"]
    kind = _suspected(alert, story)
    explained = _explained(views, alert)
    measure = _measure_of(alert, windows, config.rules)
    timeline = _timeline(alert, story.notices)
    return AlertPage(
        one=shown.alert_shown(alert, rule, zone),
        zone=zone,
        story=story,
        suspected=kind,
        kind=KINDS.get(kind),
        sure=tuple(_sure(alert, rule)),
        origin=tuple(_origin(alert, explained, rule, zone)),
        rerun=explained,
        chart=_chart(alert, windows, rule, measure, zone),
        features=features,
        drawn=dict(_drawn(views, alert, known[:FEATURES_DRAWN])),
        segments=tuple(_segments(story.segments, measure, rule, then)),
        segments_of=measure,
        timeline=tuple(timeline[-STEPS_SHOWN:]),
        left_out=max(len(timeline) - STEPS_SHOWN, 0),
        steps=tuple(steps_for(alert, kind, known, retrains=story.retrains)),
    )


def _suspected(alert: AlertView, story: AlertStory) -> str:
    """Return the kind that the alert was found to be, or that the detector suspects in its window; empty for none."""
    if alert.findings is not None and alert.findings.suspected:
        return alert.findings.suspected
    return story.suspicion.kind or "" if story.suspicion is not None else ""


def _windows(views: Views, alert: AlertView) -> list[WindowView]:
    """Return the windows around the alert, of the rows that it speaks of; none where these are not known any more."""
    start, end = around(alert)
    segment = None if alert.segment is None else f"{alert.segment.column}:{alert.segment.value}"
    try:
        return views.windows(
            alert.model, start=start, end=end, version=alert.version, segment=segment, newest=2 * shown.SPARK_WINDOWS
        )
    except UsageError:  # the version or the segment is not known any more
        return []


def _explained(views: Views, alert: AlertView) -> Explanation | None:
    try:
        return views.explanation(alert.id)
    except DriftlineError:  # what it rests on is gone, or cannot be read now: the page says the rest
        return None


def _measure_of(alert: AlertView, windows: Sequence[WindowView], rules: Sequence[Rule]) -> str:
    """Return the measure that is drawn: the alert's own, or of an alert of the detector the first that there is."""
    if alert.measure not in (CHANCE, STALENESS):
        return alert.measure
    return next(iter(measures_of(windows, rules)), "")


def _chart(
    alert: AlertView, windows: Sequence[WindowView], rule: Rule | None, measure: str, zone: ZoneInfo
) -> Chart | None:
    if not measure or not windows:
        return None
    if alert.measure != measure:  # the detector's: no threshold of a rule is its own
        covering = replace(alert, measure=measure, value=None, value_now=None)
        return performance_chart(measure, windows, [covering], [], zone, small=True)
    own = [WindowView(one.summary, [said for said in one.verdicts if said.slice == alert.slice]) for one in windows]
    return rule_chart(measure, own, [alert], [rule] if rule is not None else [], zone)


# ---- how sure, and by what ------------------------------------------------------------------------------------------


def _sure(alert: AlertView, rule: Rule | None) -> Iterator[str]:
    """Say how sure the alert is, in sentences."""
    if alert.measure == CHANCE:
        said = "less often than once in a million" if (alert.value or 0) < 1e-6 else f"{number(alert.value or 0)} times"
        yield f"By chance as much would move {said} in the budget's period, over all columns and measures together."
        return
    if alert.measure == STALENESS or alert.value is None:
        return
    if alert.bound is None or alert.confidence is None:
        yield "The value itself was compared: this measure has no interval."
    else:
        side = "upper" if alert.bound < alert.threshold else "lower"
        yield (
            f"Not by chance: the {side} bound {beside(alert.bound, alert.threshold)} of {alert.measure} at "
            f"{level(alert.confidence)} confidence lies beyond the threshold, too."
        )
    if alert.n:
        yield f"It rests on {alert.n:,} row{'' if alert.n == 1 else 's'}."
    if rule is not None and rule.for_windows > 1:
        yield f"It was so in {rule.for_windows} windows in a row."


def _origin(
    alert: AlertView, explained: Explanation | None, rule: Rule | None, zone: ZoneInfo
) -> Iterator[tuple[str, str]]:
    """Say where the threshold came from."""
    if alert.rule != BUDGET:
        if alert.measure == STALENESS:
            yield "Threshold", f"`alerts.stale_after` in driftline.yaml: {told(alert).threshold}"
            return
        yield "Threshold", f"{exact(alert.threshold)}, written in driftline.yaml"
        yield "Rule", f"{alert.rule}: {rule.words}" if rule is not None else f"{alert.rule}, configured no longer"
        return
    yield "Threshold", f"{exact(alert.threshold)} such alarms by chance in the budget's period"
    if explained is None or not explained.threshold.series:
        return
    origin = explained.threshold
    yield "Series", origin.series
    if (base := origin.baseline) is not None:
        yield "Held against", f"{base.windows} windows, {page_span(base.start, base.end, zone)}"
        yield "Season", origin.season or "none that these windows show"
    if origin.share is not None:
        yield "Its share of the budget", percent(origin.share)
    yield "Windows looked at together", f"{origin.lookback}"


# ---- pictures -------------------------------------------------------------------------------------------------------


def _features(
    alert: AlertView, story: AlertStory, then: WindowSummary | None, windows: Sequence[WindowView]
) -> Iterator[shown.DriftRow]:
    """Return the columns that moved most in the window that the alert fired on, the worst first."""
    if then is None:
        return
    named = [one.column for one in story.suspicion.findings] if story.suspicion is not None else []
    named += alert.findings.named if alert.findings is not None else ()
    place = {name: at for at, name in reversed(list(enumerate(dict.fromkeys(named))))}
    worst = sorted(then.drift.items(), key=lambda one: (place.get(one[0], len(place)), -one[1].severity))
    until = [one.summary for one in windows if one.summary.start <= then.start][-shown.SPARK_WINDOWS :]
    moved = [(name, view) for name, view in worst if name in place or view.drifted]
    for name, view in moved[:FEATURES_SHOWN]:
        yield shown.drift_row(name, "feature", view, [one.drift.get(name) for one in until])
    if then.prediction_drift is not None and then.prediction_drift.drifted:
        history = [one.prediction_drift for one in until]
        yield shown.drift_row("prediction", "prediction", then.prediction_drift, history)
    if then.label_drift is not None and then.label_drift.drifted:
        yield shown.drift_row("label", "label", then.label_drift, [one.label_drift for one in until])


def _drawn(views: Views, alert: AlertView, names: Sequence[str]) -> Iterator[tuple[str, Drawn]]:
    """Draw both distributions of features: in the reference, and in the window that the alert fired on."""
    for found in views.features_in(alert.model, alert.window.start, names) if names else ():
        if (one := drawn_over(found)) is not None:
            yield found.feature, Drawn(one.drawing, one.categories[:CATEGORIES_DRAWN])


def _segments(
    segments: Sequence[WindowSummary], measure: str, rule: Rule | None, whole: WindowSummary | None
) -> Iterator[Segment]:
    """Return the segments of the window in which the measure is worst."""
    known = [(one, view) for one in segments if (view := _seen(one, measure)) is not None and view.value is not None]
    high_is_good = _is_better_high(measure, rule)
    known.sort(key=lambda pair: (pair[1].value or 0.0) if high_is_good else -(pair[1].value or 0.0))
    every = None if whole is None else _seen(whole, measure)
    for one, view in known[:SEGMENTS_SHOWN]:
        assert one.segment is not None and view.value is not None
        mark = rule.threshold if rule is not None else None if every is None else every.value
        name = "threshold" if rule is not None else "all rows"
        said = f"{measure} of {one.segment.words} {number(view.value)}"
        yield Segment(
            one.segment.words,
            shown.query_of(Slice(segment=one.segment)),
            number_or_nothing(view.value),
            from_to(view.low, view.high),
            view.n,
            Markup("")
            if mark is None
            else sparks.interval_bar(
                view.value, view.low, view.high, mark, bounds=bounds_of(measure), label=said, marker=name
            ),
        )


def _seen(one: WindowSummary, measure: str) -> MeasureView | None:
    return one.coverage if measure == COVERAGE else one.performance.get(measure)


def _is_better_high(measure: str, rule: Rule | None) -> bool:
    if rule is not None:
        return rule.comparison == "below"
    return measure not in CATALOGUE or CATALOGUE[measure].better is not Better.LOWER


# ---- the timeline ---------------------------------------------------------------------------------------------------


def _timeline(alert: AlertView, notices: Sequence[NoticeView]) -> list[Happened]:
    """Put steps and notices in order of time; of the steps that only extend the alert the newest stands for all."""
    reaches = [place for place, step in enumerate(alert.history) if step.kind == "updated"]
    steps = [
        Happened(step.at, step.kind, step.reason)
        for place, step in enumerate(alert.history)
        if step.kind != "updated" or place == reaches[-1]
    ]
    notified = [Happened(one.said_at, one.event.value, _outcome(one), one.receiver, one.state) for one in notices]
    return sorted([*steps, *notified], key=lambda one: one.at)  # of one moment the step comes first


def _outcome(one: NoticeView) -> str:
    tries = f"after {one.attempts} attempt{'' if one.attempts == 1 else 's'}"
    if one.state == "delivered":
        return "delivered" if one.attempts <= 1 else f"delivered {tries}"
    if one.state == "waiting":
        return "waiting to be sent" if not one.attempts else f"failing {tries}: {one.error}"
    return f"{'refused' if one.state == 'refused' else 'given up'} {tries}: {one.error}"
