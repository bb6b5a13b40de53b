"""Report a running ``driftline watch`` to people, programs and Prometheus."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from driftline.rules import (
    AlertState,
    Rule,
    Severity,
    State,
    Transition,
    TransitionKind,
    Verdict,
)
from driftline.text.durations import written
from driftline.text.numbers import beside, exact, level, number
from driftline.watching.schedule import FAILED, Evaluation, Monitor, Watching

# ---- people ------------------------------------------------------------------------------------------------


def introduction(watching: Watching, name: str, url: str) -> list[str]:
    """Return the lines printed at the start: what runs, how often, which alerts, and where the metrics are."""
    rules = [monitor.rule.expression for monitor in watching.monitors if monitor.rule is not FAILED]
    return [
        f"Watching {name} every {written(watching.every)}; Ctrl-C ends it",
        *(f"  {'alerts ' if not index else '       '}  {rule}" for index, rule in enumerate(rules)),
        *([] if rules else ["  alerts   none; add one with --alert 'accuracy < 0.75'"]),
        f"  metrics  {url}",
    ]


def lines_of(evaluation: Evaluation) -> list[str]:
    """Return the lines printed for one evaluation."""
    outcome = evaluation.outcome
    lines = [f"Model {one.name}: {_with_interval(one.value, one.low, one.high, one.n)}" for one in evaluation.measures]
    if outcome.skipped:
        runs = "1 run was" if outcome.skipped == 1 else f"{outcome.skipped} runs were"
        lines.insert(0, f"({runs} skipped: the evaluation before took longer than the time between two)")
    if outcome.measured is not None:
        lines += [f"Model not measured: {outcome.measured.problem}"] if outcome.measured.problem else []
        lines += [f"   {outcome.measured.left_out}"] if outcome.measured.left_out else []
    if outcome.failure:
        lines.append(f"Model evaluation failed: {outcome.failure}")
    for monitor, transition in evaluation.monitors:
        lines += _lines_of_monitor(monitor, transition, failed=bool(outcome.failure))
    return lines


def _lines_of_monitor(monitor: Monitor, transition: Transition | None, *, failed: bool) -> list[str]:
    rule, verdict = monitor.rule, monitor.verdict
    assert verdict is not None  # it was just judged
    if transition is not None and transition.kind is TransitionKind.RESOLVED:
        if rule is FAILED:
            return ["✅ Resolved: Model evaluation works again"]
        return [
            f"✅ Resolved: Model {rule.measure} no longer {rule.comparison} threshold",
            _detail(rule, verdict),
        ]
    if verdict.state is State.BREACH and monitor.machine.state is AlertState.FIRING:
        if rule is FAILED:
            return ["⚠️ Alert: Model evaluation failed!"]
        return [f"⚠️ Alert: {rule.title}", _detail(rule, verdict)]
    if verdict.state is State.BREACH:
        return [f"   pending: {rule.expression} (breach {monitor.machine.breaches} of {rule.for_windows})"]
    if verdict.state is State.NODATA:
        return [] if failed else [f"   not judged: {verdict.reason}"]
    if verdict.value is not None and rule.breached_by(verdict.value):
        return [_by_chance(rule, verdict)]
    return []


def _by_chance(rule: Rule, verdict: Verdict) -> str:
    """Say why a value beyond the threshold is no breach."""
    far, bound = "high" if rule.comparison == "below" else "low", verdict.bound
    assert bound is not None  # otherwise the value itself would have been compared
    because = f"{level(rule.confidence)}, n = {verdict.n}"
    return f"   no alert: by chance, {rule.measure} may be as {far} as {beside(bound, rule.threshold)} ({because})"


def _detail(rule: Rule, verdict: Verdict) -> str:
    value = _with_interval(verdict.value, verdict.low, verdict.high, verdict.n, rule.threshold)
    return f"   rule {rule.expression}: value {value}, threshold {exact(rule.threshold)}"


def _with_interval(
    value: float | None, low: float | None, high: float | None, n: int, threshold: float = math.nan
) -> str:
    if value is None:
        return "unknown"
    if low is None or high is None:
        return beside(value, threshold)
    return f"{beside(value, threshold)} ({number(low)} to {number(high)}, n = {n})"


# ---- telling programs --------------------------------------------------------------------------------------


def document(watching: Watching, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the JSON document of ``--json``: every evaluation, and the alerts that fired."""
    return {
        "model": watching.model,
        "verdict": "alert" if watching.fired else "ok",
        "every_seconds": watching.every.total_seconds(),
        "failures": watching.failures,
        "skipped": watching.skipped,
        "alerts": _alerts(evaluations),
        "evaluations": [_evaluation_document(one) for one in evaluations],
    }


def _evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    outcome = evaluation.outcome
    return {
        "time": outcome.at.isoformat(),
        "seconds": outcome.seconds,
        "failure": outcome.failure or None,
        "problem": (outcome.measured.problem or None) if outcome.measured is not None else None,
        "measures": {
            one.name: {"value": one.value, "low": one.low, "high": one.high, "n": one.n or None}
            for one in evaluation.measures
        },
        "monitors": [
            {
                "rule": monitor.rule.name,
                "state": monitor.state.value,
                "alert": monitor.machine.state.value,
                "reason": monitor.verdict.reason,
            }
            for monitor, _ in evaluation.monitors
            if monitor.verdict is not None
        ],
    }


def _alerts(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    alerts: list[dict[str, Any]] = []
    open_alerts: dict[str, dict[str, Any]] = {}
    for monitor, transition in (pair for evaluation in evaluations for pair in evaluation.monitors):
        if transition is None:
            continue
        rule = monitor.rule
        if transition.kind is TransitionKind.RESOLVED:
            open_alerts.pop(rule.name)["resolved"] = transition.at.isoformat()
            continue
        verdict = transition.verdict
        open_alerts[rule.name] = {
            "rule": rule.name,
            "severity": rule.severity.value,
            "title": "Model evaluation failed!" if rule is FAILED else rule.title,
            "measure": rule.measure,
            "value": verdict.value,
            "low": verdict.low,
            "high": verdict.high,
            "bound": verdict.bound,
            "confidence": verdict.confidence,
            "threshold": rule.threshold,
            "fired": transition.at.isoformat(),
            "resolved": None,
        }
        alerts.append(open_alerts[rule.name])
    return alerts


class WatchMetrics(Collector):
    """The collector behind /metrics: it always shows one whole `Watching`, the last that was put into ``watching``."""

    def __init__(self, watching: Watching) -> None:
        self.watching = watching

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; a value that is not known has no series."""
        now = self.watching
        yield from _performance(now)
        firing = [monitor.rule.severity for monitor in now.monitors if monitor.machine.state is AlertState.FIRING]
        alerts = GaugeMetricFamily("driftline_alerts", "Alerts that are firing.", labels=["model", "severity"])
        for severity in Severity:
            alerts.add_metric([now.model, severity.value], firing.count(severity))
        yield alerts
        states = GaugeMetricFamily(
            "driftline_monitor_state",
            "1 for the state that a rule is in, 0 for the others.",
            labels=["model", "monitor", "state"],
        )
        for monitor in now.monitors:
            for state in State:
                states.add_metric([now.model, monitor.rule.name, state.value], float(monitor.state is state))
        yield states
        yield from _evaluations(now)


def _performance(now: Watching) -> Iterator[Metric]:
    labels = ["model", "version", "metric", "segment", "kind"]
    for suffix, words, field in (
        ("", "A measure of the model, from the last evaluation that gave one.", "value"),
        ("_ci_lower", "Lower bound of its two-sided 95 % interval.", "low"),
        ("_ci_upper", "Upper bound of its two-sided 95 % interval.", "high"),
        ("_samples", "Labelled rows that it rests on.", "n"),
    ):
        family = GaugeMetricFamily(f"driftline_performance{suffix}", words, labels=labels)
        for one in now.measures:
            number = getattr(one, field)
            if number is not None and not (field == "n" and not one.n):
                family.add_metric([now.model, now.version, one.name, "", "actual"], number)
        yield family


def _evaluations(now: Watching) -> Iterator[Metric]:
    summary = SummaryMetricFamily("request_processing_seconds", "Time of one evaluation.")
    summary.add_metric([], now.evaluations, now.seconds)
    yield summary
    for name, words, count in (
        ("driftline_evaluation_failures", "Evaluations that raised or returned no number.", now.failures),
        (
            "driftline_evaluations_skipped",
            "Evaluations skipped because the one before took too long.",
            now.skipped,
        ),
    ):
        yield CounterMetricFamily(name, words, value=count)
    yield GaugeMetricFamily(
        "driftline_evaluation_interval_seconds",
        "Time between two evaluations.",
        value=now.every.total_seconds(),
    )
    last = GaugeMetricFamily(
        "driftline_last_evaluation_timestamp_seconds", "When the last evaluation that gave a measure ended."
    )
    if now.measured_at is not None:
        last.add_metric([], now.measured_at.timestamp())
    yield last
