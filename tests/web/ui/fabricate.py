"""Read models as the service would give them, made without a service: monthly windows of Seattle's weather."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from driftline.alerts.message import AlertView, Span, StepView
from driftline.errors import UnknownNameError, UsageError
from driftline.events import WHOLE, Kind, Schema, Slice, Task, Window, WindowSpec
from driftline.monitoring.explanation import Explanation
from driftline.monitoring.options import LabelsConfig, ModelConfig
from driftline.monitoring.summary import DriftView, MeasureView, Stage, WindowSummary, brief_of
from driftline.profiles import Columns
from driftline.retrain.views import RequestView
from driftline.rules import (
    AlertSpan,
    JudgedWindow,
    Rule,
    Severity,
    State,
    Verdict,
    alerts_of,
    interval_confidence,
    judge,
)
from driftline.rules.backtest import Track
from driftline.rules.contest import judge_contest
from driftline.rules.contestants import Settings
from driftline.rules.findings import ColumnFinding, findings_of
from driftline.rules.trying import tried, try_rule
from driftline.statistics import Measure
from driftline.store.audit import AuditRow
from driftline.store.inbox import QuarantinedRow
from driftline.store.overview import Challenger, FiringAlert
from driftline.store.retraining import StepRow
from driftline.views.features import FeatureView
from driftline.views.fleet import POINTS, FleetRow, course_of
from driftline.views.lines import VersionLine
from driftline.views.rules import RulesView, RuleView, TriedView
from driftline.views.story import AlertStory
from driftline.views.values import ModelDetail, VerdictView, WindowView
from driftline.web.ui.system import Kept, Process, Receiver, SystemView, Waiting
from tests.rules.test_contest import binary

MODEL = "seattle-weather"
RULE = Rule("accuracy-low", "accuracy", below=0.75, severity=Severity.PAGE)
SPEC = WindowSpec("1mo", "America/Los_Angeles")
NOW = datetime(2026, 11, 23, 10, 21, tzinfo=UTC)

INCIDENT = (
    *(0.774, 0.786, 0.774, 0.300, 0.484, 0.733, 0.839, 0.774, 0.467, 0.387, 0.333, 0.323),
    *(0.355, 0.321, 0.290, 0.367, 0.516, 0.700, 0.839, 0.742, 0.633, 0.419, 0.367, 0.323),
    *(0.387, 0.286, 0.355, 0.433, 0.581, 0.767, 0.806, 0.710, 0.567, 0.387, 0.300, 0.290),
)
"""Accuracy by month from 2013-01 to 2015-12: rain is no longer called rain from April 2013 on."""

CORRECTED = tuple(max(value, 0.74 + 0.012 * (index % 6)) for index, value in enumerate(INCIDENT))
"""The same months with the corrected labels."""

FEATURES = ("precipitation", "temp_max", "temp_min", "wind")


@dataclass
class Fake:
    """What the page reads, in memory."""

    shown: dict[str, ModelDetail] = field(default_factory=dict)
    configs: dict[str, ModelConfig] = field(default_factory=dict)
    of_windows: dict[str, list[WindowView]] = field(default_factory=dict)
    of_alerts: dict[str, list[AlertView]] = field(default_factory=dict)
    of_requests: dict[str, list[RequestView]] = field(default_factory=dict)
    of_stories: dict[str, AlertStory] = field(default_factory=dict)
    of_explanations: dict[str, Explanation] = field(default_factory=dict)
    of_features: dict[str, FeatureView] = field(default_factory=dict)
    of_windows_then: dict[str, list[WindowView]] = field(default_factory=dict)
    of_versions: dict[str, list[VersionLine]] = field(default_factory=dict)
    of_references: dict[str, Mapping[str, float]] = field(default_factory=dict)
    of_quarantine: dict[str, list[QuarantinedRow]] = field(default_factory=dict)

    def model_config(self, model: str, /) -> ModelConfig:
        """As `Views.model_config`."""
        if model not in self.configs:
            raise UnknownNameError("model", model, self.configs)
        return self.configs[model]

    def models(self) -> list[ModelDetail]:
        """As `Views.models`."""
        return list(self.shown.values())

    def model(self, model: str, /) -> ModelDetail:
        """As `Views.model`."""
        return self.shown[model]

    def slice(self, model: str, /, *, version: str | None = None, segment: str | None = None) -> Slice:
        """As `Views.slice`."""
        assert not version and not segment, "the fabricated models are shown as a whole"
        return WHOLE

    def segments(self, model: str, /) -> list[WindowSummary]:
        """As `Views.segments`."""
        return []

    def windows(
        self,
        model: str,
        /,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        newest: int | None = None,
        version: str | None = None,
        segment: str | None = None,
    ) -> list[WindowView]:
        """As `Views.windows`."""
        found = [
            one
            for one in self.of_windows[model]
            if (start is None or one.summary.start >= start) and (end is None or one.summary.start < end)
        ]
        return found[-newest:] if newest else found

    def newest_judged(self, model: str, /) -> list[WindowView]:
        """As `Views.newest_judged`."""
        return [one for one in self.of_windows[model] if one.summary.stage == "judged"][-1:]

    def as_known_then(self, model: str, windows: Sequence[WindowView], slice: Slice, /) -> list[WindowView]:
        """As `Views.as_known_then`: what is known now, unless ``of_windows_then`` has what was known."""
        then = self.of_windows_then.get(model)
        starts = {one.summary.start for one in windows}
        return [*windows] if then is None else [one for one in then if one.summary.start in starts]

    def version_lines(self, model: str, start: datetime, end: datetime, /, *, most_windows: int) -> list[VersionLine]:
        """As `Views.version_lines`."""
        return self.of_versions.get(model, [])

    def reference_measures(self, model: str, /) -> Mapping[str, float]:
        """As `Views.reference_measures`."""
        return self.of_references.get(model, {})

    def alerts(
        self, model: str | None = None, /, *, status: str | None = None, limit: int | None = None
    ) -> list[AlertView]:
        """As `Views.alerts`."""
        found = [one for name, alerts in self.of_alerts.items() if model in (None, name) for one in alerts]
        return [one for one in found if status in (None, one.status)][:limit]

    def alert(self, id: str, /) -> AlertView:
        """As `Views.alert`."""
        for one in self.alerts():
            if one.id == id:
                return one
        raise UnknownNameError("alert", id, ())

    def requests(self, model: str, /) -> list[RequestView]:
        """As `Views.requests`."""
        return self.of_requests.get(model, [])

    def fleet(self, models: Collection[str] = (), /) -> list[FleetRow]:
        """As `Views.fleet`."""
        return [self._row(one) for name, one in self.shown.items() if not models or name in models]

    def _row(self, model: ModelDetail) -> FleetRow:
        windows, rules = self.of_windows[model.name], self.configs[model.name].rules
        judged = [one for one in windows if one.summary.stage == "judged"]
        course = course_of([brief_of(one.summary) for one in windows[-POINTS:]], rules)
        waiting = [one for one in self.requests(model.name) if one.stage == "waiting"]
        return FleetRow(
            config=self.configs[model.name],
            task=model.task,
            predictions=model.predictions,
            labels=model.labels,
            waiting_events=model.waiting_events,
            last_arrival=NOW - timedelta(minutes=9) if windows else None,
            course=course._replace(verdicts=tuple(judged[-1].verdicts) if judged else ()),  # type: ignore[arg-type]
            alerts=[
                FiringAlert(
                    one.model,
                    one.id,
                    one.rule,
                    one.severity,
                    one.title,
                    one.acknowledged.by if one.acknowledged else "",
                )
                for one in self.alerts(model.name, status="firing")
            ],
            challenger=Challenger(model.name, "waiting", waiting[0].id, waiting[0].version) if waiting else None,
            version=model.versions[-1] if model.versions else "",
        )

    def fleet_mark(self) -> tuple[int, ...]:
        """As `Views.fleet_mark`."""
        return (hash(repr((self.shown, self.of_alerts, self.of_requests))),)

    def model_mark(self, model: str, /) -> tuple[int, ...]:
        """As `Views.model_mark`."""
        return (hash(repr(vars(self))),)

    def alert_mark(self, id: str, /) -> tuple[int, ...]:
        """As `Views.alert_mark`."""
        return (hash(repr(vars(self))),)

    def schema(self, model: str, /) -> Schema | None:
        """As `Views.schema`."""
        return Schema(Task.MULTICLASS, dict.fromkeys(FEATURES, Kind.NUMERIC), ("drizzle", "rain", "sun"))

    def quarantined(
        self, model: str, /, *, most: int, before: int | None = None, row_bytes: int | None = None
    ) -> list[QuarantinedRow]:
        """As `Views.quarantined`."""
        found = [one for one in self.of_quarantine.get(model, []) if before is None or one.id < before]
        return [dataclasses.replace(one, row=msgspec.Raw(bytes(one.row)[:row_bytes])) for one in found[:most]]

    def refused(self, model: str, /) -> dict[str, int]:
        """As `Views.refused`."""
        return {"type": len(self.of_quarantine[model])} if self.of_quarantine.get(model) else {}

    def changes(self, *, limit: int, before: int | None = None, model: str | None = None) -> list[AuditRow]:
        """As `Views.changes`."""
        return [
            AuditRow(2, NOW, "ann", "hold", MODEL, "", "a <b>", "r1"),
            AuditRow(1, NOW, "bob", "silence", "", "s", "", ""),
        ]

    def story(self, id: str, /) -> AlertStory:
        """As `Views.story`."""
        return self.of_stories.get(id, AlertStory(None, [], [], []))

    def explanation(self, id: str, /) -> Explanation:
        """As `Views.explanation`."""
        if id not in self.of_explanations:
            raise UsageError("nothing is stored")
        return self.of_explanations[id]

    def features_in(self, model: str, start: datetime, names: Sequence[str], /) -> list[FeatureView]:
        """As `Views.features_in`."""
        return [self.of_features[name] for name in names if name in self.of_features]

    def rules(self, model: str, /) -> RulesView:
        """As `Views.rules`."""
        views, names = self.of_windows.get(model, []), {rule.name: rule for rule in self.configs[model].rules}
        judged = [one for one in views if one.verdicts]
        newest = judged[-1] if judged else None
        window = None if newest is None else Window(newest.summary.start, newest.summary.end)
        said = [] if newest is None else [(one.slice, _verdict(one)) for one in newest.verdicts]
        fired = self.of_alerts.get(model, [])
        return RulesView(
            window,
            [
                RuleView(
                    rule,
                    [(slice, one) for slice, one in said if one.rule == name],
                    sum(one.rule == name for one in fired),
                    sum(one.rule == name and one.status == "firing" for one in fired),
                    sum(one.rule == name and one.status == "corrected" for one in fired),
                )
                for name, rule in names.items()
            ],
        )

    def try_rule(self, model: str, rule: Rule, /) -> TriedView:
        """As `Views.try_rule`."""
        [configured] = [one for one in self.configs[model].rules if one.name == rule.name]
        judged: dict[Slice, list[JudgedWindow]] = {}
        for view in self.of_windows.get(model, []):
            for one in view.verdicts:
                if one.rule == rule.name:
                    window = Window(view.summary.start, view.summary.end)
                    judged.setdefault(one.slice, []).append(JudgedWindow(window, _verdict(one)))
        tracks = [Track(configured, slice, some) for slice, some in judged.items()] or [Track(configured, WHOLE, [])]
        before, after = try_rule(model, rule, tracks, SPEC.timezone)
        windows = [JudgedWindow(one.window, tried(rule, one.verdict)) for one in tracks[0].judged]
        return TriedView(configured, rule, before, after, tracks[0].slice, windows)

    def add(self, other: Fake) -> Fake:
        """Both."""
        for name in (
            *("shown", "configs", "of_windows", "of_alerts", "of_requests"),
            *("of_quarantine", "of_stories", "of_explanations"),
        ):
            getattr(self, name).update(getattr(other, name))
        return self


def _verdict(one: VerdictView) -> Verdict:
    ends = one.low, one.high, one.n, one.threshold, one.reason, one.bound, one.confidence
    return Verdict(one.rule, State(one.state), one.value, *ends)


def month(index: int) -> Window:
    """The window of a month, counted from January 2013."""
    return SPEC.window_of(datetime(2013 + index // 12, index % 12 + 1, 10, tzinfo=UTC))


def wilson(name: str, value: float, n: int, confidence: float) -> Measure:
    """An accuracy-like measure with its interval."""
    z = {0.95: 1.959964, 0.9: 1.644854}[round(confidence, 6)]
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return Measure(name, value, low=max(centre - half, 0.0), high=min(centre + half, 1.0), n=n, confidence=confidence)


def seen(measure: Measure) -> MeasureView:
    """A measure as shown."""
    return MeasureView(measure.value, measure.low, measure.high, measure.n, measure.problem)


def drift(value: float, threshold: float, measure: str, changes: Sequence[str] = (), reason: str = "") -> DriftView:
    """A comparison with the reference."""
    drifted = bool(changes)
    return DriftView(
        measure,
        value,
        threshold,
        drifted,
        1e-6 if drifted else 0.31,
        reason or _WHY[drifted],
        tuple(changes),
        0.0,
        0.0,
    )


_WHY = {
    True: "js 0.39 is over 0.1 and chance does not explain it (p < 0.001)",
    False: "within what chance explains",
}


def window_view(
    index: int,
    accuracy: float | None,
    *,
    stage: Stage = "judged",
    rules: Sequence[Rule] = (RULE,),
    features: Sequence[str] = FEATURES,
    labelled: int = 30,
) -> WindowView:
    """One month."""
    rng = random.Random(index)
    window = month(index)
    predictions = (window.end - window.start).days
    n = min(labelled, predictions)
    problem = "no labelled rows"
    performance = {
        name: MeasureView(None, None, None, 0, problem)
        if accuracy is None
        else seen(wilson(name, min(max(accuracy + shift, 0.0), 1.0), n, 0.95))
        for name, shift in (("accuracy", 0.0), ("precision", -0.06), ("recall", 0.03), ("f1", -0.02))
    }
    performance["roc_auc"] = MeasureView(None, None, None, n, "only one class came")
    if accuracy is not None:
        loss = 0.4 + 2.2 * (1 - accuracy)
        performance["log_loss"] = MeasureView(loss, loss * 0.8, loss * 1.3, n)
    wrong = accuracy is not None and accuracy < 0.55
    changes = ("rain 52 % → 0 % (gone)", "sun 32 % → 63 %", "fog 1.1 % → 33 %") if wrong else ()
    summary = WindowSummary(
        start=window.start,
        end=window.end,
        version="*",
        stage=stage,
        predictions=predictions,
        labelled=0 if accuracy is None else n,
        coverage=MeasureView(0.0 if accuracy is None else n / predictions, None, None, predictions),
        performance=performance,
        drift={
            name: drift(rng.uniform(0.02, 0.16), 0.2, "wasserstein")
            if name != "temp_min" or index % 17
            else drift(0.31, 0.2, "wasserstein", ("median 7.2 → 11.1",))
            for name in features
        },
        prediction_drift=drift(rng.uniform(0.02, 0.07), 0.1, "js"),
        label_drift=None
        if accuracy is None
        else drift(0.39, 0.1, "js", changes)
        if wrong
        else drift(rng.uniform(0.02, 0.08), 0.1, "js"),
    )
    verdicts = [verdict(one, accuracy, n) for one in rules] if stage == "judged" else []
    return WindowView(
        summary,
        [
            VerdictView(
                *(v.rule, v.state.value, v.value, v.low, v.high, v.n, v.threshold, v.reason, NOW),
                bound=v.bound,
                confidence=v.confidence,
            )
            for v in verdicts
        ],
    )


def verdict(rule: Rule, accuracy: float | None, n: int) -> Verdict:
    """What a rule says of an accuracy."""
    level = interval_confidence(rule)
    if accuracy is None:
        return judge(rule, Measure(rule.measure, confidence=level, problem="no labelled rows"))
    return judge(rule, wilson(rule.measure, accuracy, n, level))


def alerts_over(views: Sequence[WindowView], rule: Rule = RULE) -> list[AlertView]:
    """The alerts of a rule over windows, the newest first."""
    judged = [
        JudgedWindow(Window(view.summary.start, view.summary.end), _verdict(one))
        for view in views
        for one in view.verdicts
        if one.rule == rule.name
    ]
    by_start = {view.summary.start: view for view in views}
    spans = alerts_of(rule, judged)
    return [_alert(rule, span, by_start[span.fired.start], at) for at, span in enumerate(spans)][::-1]


def _alert(rule: Rule, span: AlertSpan, view: WindowView, at: int) -> AlertView:
    stable = ColumnFinding(True, False, (), "")
    label = view.summary.label_drift
    fired = NOW + timedelta(seconds=9 * at)
    history = [StepView(fired, "fired", span.verdict.reason)]
    if span.ended is not None:
        reason = f"the window of {span.ended.start.isoformat()} is ok again"
        history.append(StepView(fired + timedelta(seconds=3), "resolved", reason))
    return AlertView(
        id=f"{at:016x}",
        model=MODEL,
        rule=rule.name,
        measure=rule.measure,
        severity=rule.severity.value,
        title=rule.title,
        status="firing" if span.ended is None else "resolved",
        window=Span(span.fired.start, span.fired.end),
        span=Span(span.window.start, span.window.end),
        value=span.verdict.value,
        low=span.verdict.low,
        high=span.verdict.high,
        n=span.verdict.n,
        threshold=span.verdict.threshold,
        worst=span.worst.value,
        value_now=span.verdict.value,
        fired_at=fired,
        ended_at=None if span.ended is None else fired + timedelta(seconds=3),
        findings=findings_of(
            dict.fromkeys(FEATURES, stable),
            stable,
            ColumnFinding(True, label.drifted, label.changes, label.reason) if label is not None else None,
        ),
        history=history,
        bound=span.verdict.bound,
        confidence=span.verdict.confidence,
        timezone=SPEC.timezone,
    )


def corrected(
    alert: AlertView, value_now: float | None, status: Literal["corrected", "resolved"] = "corrected"
) -> AlertView:
    """An alert after the corrected labels have come."""
    reason = "judged again by what is known now, its windows are no longer a breach"
    later = NOW + timedelta(minutes=1)
    return AlertView(
        **{
            name: getattr(alert, name)
            for name in AlertView.__struct_fields__
            if name not in ("status", "value_now", "history", "ended_at")
        },
        status=status,
        value_now=value_now,
        ended_at=later,
        history=[*alert.history, StepView(later, "corrected", reason)],
    )


def config(name: str = MODEL, rules: Sequence[Rule] = (RULE,), spec: WindowSpec = SPEC) -> ModelConfig:
    """A configuration."""
    return ModelConfig(
        name=name,
        task=Task.MULTICLASS,
        columns=Columns(),
        positive=None,
        window=spec,
        labels=LabelsConfig(timedelta(days=7), timedelta(days=1500)),
        reference=Path("reference.parquet"),
        season="auto",
        rules=tuple(rules),
    )


def fake(
    views: Sequence[WindowView] = (),
    alerts: Sequence[AlertView] = (),
    *,
    name: str = MODEL,
    rules: Sequence[Rule] = (RULE,),
    corrected_labels: int = 0,
) -> Fake:
    """One model."""
    predictions = sum(view.summary.predictions for view in views)
    model = ModelDetail(
        name=name,
        task="multiclass",
        predictions=predictions,
        labels=sum(view.summary.labelled for view in views),
        corrected_labels=corrected_labels,
        duplicate_events=0,
        invalid_events=0,
        waiting_labels=0,
        waiting_events=0,
        windows=len(views),
        watermark=views[-1].summary.end - timedelta(hours=5) if views else None,
        firing=sum(alert.status == "firing" for alert in alerts),
        versions=["1"] if views else [],
        rules=[rule.expression for rule in rules],
    )
    return Fake({name: model}, {name: config(name, rules)}, {name: list(views)}, {name: list(alerts)})


def healthy() -> Fake:
    """Three good months."""
    return fake([window_view(index, INCIDENT[index]) for index in range(3)])


def firing() -> Fake:
    """All three years; the last alert has not ended, the newest two windows wait and are open."""
    views = [window_view(index, value) for index, value in enumerate(INCIDENT[:34])]
    views[16] = window_view(16, None)
    views += [
        window_view(34, 0.36, stage="waiting for labels", labelled=22),
        window_view(35, 0.25, stage="open", labelled=8),
    ]
    return fake(views, alerts_over(views))


def after_correction() -> Fake:
    """All three years after the corrected labels: every alert was none."""
    before = [window_view(index, value) for index, value in enumerate(INCIDENT)]
    after = [window_view(index, value) for index, value in enumerate(CORRECTED)]
    now = {view.summary.start: view.summary.performance["accuracy"].value for view in after}
    alerts = [corrected(alert, now[alert.window.start]) for alert in alerts_over(before)]
    return fake(after, alerts, corrected_labels=612)


def hostile() -> Fake:
    """Names that want to be markup."""
    bad = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>" + "w" * 300
    views = [window_view(index, INCIDENT[index], features=(bad, "{{ 7 * 7 }}")) for index in range(6)]
    alerts = alerts_over(views)
    changes = (f"{bad} 52 % → 0 % (gone)",)
    views = [
        WindowView(
            WindowSummary(
                **{
                    name: getattr(view.summary, name)
                    for name in WindowSummary.__struct_fields__
                    if name != "label_drift"
                },
                label_drift=drift(0.4, 0.1, "js", changes, reason=bad),
            ),
            view.verdicts,
        )
        for view in views
    ]
    rule = replace(RULE, name=bad)
    return fake(views, alerts, name=bad, rules=(rule, RULE))


def challenged() -> Fake:
    """A model with a challenger that waits for approval, and one that failed before it."""
    made = firing()
    old, new, rows = binary()
    contest = msgspec.json.encode(judge_contest(old, new, rows, Settings(measure="accuracy")))
    made.of_requests[MODEL] = [
        _request("r2", "waiting", "v2", "It is better. A person has to approve.", contest),
        _request("r1", "failed", "", "<b>train.py</b> raised KeyError", b"null"),
    ]
    return made


def _request(id: str, stage: str, version: str, note: str, contest: bytes) -> RequestView:
    return RequestView(
        id=id,
        model=MODEL,
        trigger="alert",
        reason="the alert accuracy-low is firing",
        by="driftline",
        asked_at=NOW,
        event_time=NOW,
        stage=stage,
        over=stage == "failed",
        changed_at=NOW,
        note=note,
        version=version,
        champion="v1" if version else "",
        live_from=None,
        contest=msgspec.Raw(contest),
        steps=[
            StepRow(NOW, "asked", "driftline", "the alert accuracy-low is firing"),
            StepRow(NOW, stage, "driftline", note),
        ],
    )


def a_fleet(copies: int = 1) -> Fake:
    """Models in all states, of two teams, so many of each; the first is well, and the last has no events."""
    made = Fake()
    for copy in range(copies):
        kinds = {"well": healthy(), "burning": firing(), "challenged": challenged(), "new": fake()}
        for place, (kind, one) in enumerate(kinds.items()):
            name = f"{kind}-{copy:03}"
            [alerts], [requests] = [*one.of_alerts.values()], [*one.of_requests.values()] or [[]]
            model = replace(one.shown[MODEL], name=name)
            settings = dataclasses.replace(one.configs[MODEL], name=name, team=f"team {place % 2}", tags=(kind, "all"))
            known = [replace(alert, model=name, id=f"{copy:08x}{place:04x}{alert.id[-4:]}") for alert in alerts]
            quiet = kind == "challenged"
            known = [replace(alert, status="resolved") if quiet else alert for alert in known]
            made.add(
                Fake({name: model}, {name: settings}, {name: one.of_windows[MODEL]}, {name: known}, {name: requests})
            )
    return made


def set_aside(number: int = 3) -> Fake:
    """A model with rows that were set aside, one of them long and one that wants to be markup."""
    made = healthy()
    rows = [b'{"id":"<script>alert(1)</script>","wind":"strong"}', b'{"id":"' + b"x" * 5000 + b'"}', b"\xff\x00"]
    made.of_quarantine[MODEL] = [
        QuarantinedRow(
            number - place,
            NOW - timedelta(minutes=place),
            "predictions" if place % 3 else "labels",
            place,
            "features.wind" if place % 2 else "",
            "came 'strong', a text; allowed is a number <b>",
            msgspec.Raw(rows[place % 3]),
        )
        for place in range(number)
    ]
    return made


def a_system() -> SystemView:
    """A service of two processes that has something wrong with it."""
    processes = [
        Process(role, "host", 100 + place, "http://127.0.0.1:8000", NOW, 1.5, place == 0, ("model a", "keep"))
        for place, role in enumerate(("api", "worker"))
    ]
    return SystemView(
        release="0.1.0",
        started=NOW - timedelta(hours=5),
        problems={MODEL: "its event log <b> is gone"},
        warnings={"poisoned": "2 events were set aside"},
        processes=processes,
        free_leases=("notify",),
        models=4,
        waiting=[Waiting(MODEL, 1200, NOW - timedelta(minutes=3))],
        waiting_events=1200,
        events_place="/var/lib/driftline",
        database="postgresql+psycopg://driftline@db/driftline",
        database_bytes=2_500_000_000,
        free_bytes=80_000_000_000,
        receivers=[Receiver("desk", "webhook", 12, 1, 2, 7, "503: try later")],
        kept=[Kept("events", "400d"), Kept("windows", "forever")],
        cuts=[],
        holds=[],
    )
