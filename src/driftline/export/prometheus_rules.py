"""Prometheus rules for what a configuration says, and the unit tests of all rules, as promtool reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from driftline.rules import Rule
from driftline.rules.rule import number_text
from driftline.rules.topic import WINDOW_MEASURES

STALE_AFTER = "model:driftline_stale_after:seconds"
STALE_BY_DEFAULT = timedelta(days=2)
"""So long no event may arrive of a model of which the rules know nothing; it also stands in `driftline.rules.yml`."""

_RUNBOOK = "docs/prometheus.md#rules-of-driftlineyaml"
_LONGEST_SECONDS = 36_500 * 86_400  # Prometheus counts nanoseconds in 64 bits
_TESTED_SECONDS = 8 * 86_400
_FAR = 1e300
_ACTION = re.compile(r"\{\{ (?:\$labels\.(?P<label>\w+)|(?P<value>\$value)[^}]*|(?P<braces>\"\{\{\")) \}\}")


@dataclass(frozen=True, slots=True)
class ModelAlerts:
    """What a configuration says about the alerts of a model: ``window`` is its usual length."""

    model: str
    window: timedelta
    stale_after: timedelta | None
    rules: Sequence[Rule]


def groups_of(models: Iterable[ModelAlerts]) -> list[dict[str, Any]]:
    """Return the rule groups of what is configured: none where nothing is.

    >>> [group] = groups_of([ModelAlerts("churn", timedelta(days=1), timedelta(hours=6), ())])
    >>> group["rules"]
    [{'record': 'model:driftline_stale_after:seconds', 'expr': '21600', 'labels': {'model': 'churn'}}]
    """
    models = list(models)
    rules = [
        {
            "record": STALE_AFTER,
            "expr": number_text(stale_after.total_seconds()),
            "labels": {"model": literal(one.model)},
        }
        for one in models
        if (stale_after := _stale_after(one)) is not None
    ]
    rules += [_alert(one, rule) for one in models for rule in one.rules]
    return [{"name": "driftline-configured", "rules": rules}] if rules else []


def _stale_after(model: ModelAlerts) -> timedelta | None:
    """How long nothing may arrive, where that is not the default."""
    if model.stale_after is not None:
        return model.stale_after
    return 2 * model.window if 2 * model.window > STALE_BY_DEFAULT else None


def _alert(model: ModelAlerts, rule: Rule) -> dict[str, Any]:
    seconds = _for_seconds(model, rule)
    keep = min(int(model.window.total_seconds()) * rule.keep_firing_for, _LONGEST_SECONDS)
    subject = f"{literal(rule.name)}: {rule.measure} of {{{{ $labels.model }}}}"
    version = ", version {{ $labels.version }}" if "version" in _source(rule).by else ""
    side = "below" if rule.comparison == "below" else "above"
    what = f'{_source(rule).words} {{{{ $value | printf "%.4g" }}}}, {side} {number_text(rule.threshold)}'
    return {
        "alert": rule.name,
        "expr": _expression(model.model, rule),
        **({"for": duration(seconds)} if seconds else {}),
        **({"keep_firing_for": duration(keep)} if keep else {}),
        "labels": {
            "severity": rule.severity.value,
            "service": "driftline",
            "measure": rule.measure,
            "rule": literal(rule.name),
        },
        "annotations": {
            "summary": f"{subject} {side} threshold.",
            "description": f"{subject}{version}: {what}.",
            "runbook": _RUNBOOK,
        },
    }


def _for_seconds(model: ModelAlerts, rule: Rule) -> int:
    """For so long the gauges have to breach that ``for_windows`` windows have been judged.

    A gauge speaks of a window until the next one is judged: n windows in a row take n - 1 lengths of a window, and half
    a one more makes sure that the last of them has had its turn.
    """
    if rule.for_windows == 1:
        return 0
    return min(int(model.window.total_seconds()) * (2 * rule.for_windows - 1) // 2, _LONGEST_SECONDS)


@dataclass(frozen=True, slots=True)
class _Source:
    """Which series a measure is read from: an expression with ``%s`` for the matchers of labels, and what it keeps."""

    series: str
    by: tuple[str, ...]
    words: str = "it is"


_BY_VERSION = ("model", "version")
_DISTANCE = "the distance from the reference, in units of its threshold, is"
_SOURCES: Mapping[str, _Source] = {
    "label_coverage": _Source("driftline_label_coverage_ratio{%s}", ("model",)),
    "missing_ratio": _Source("driftline_feature_missing_ratio{%s}", ("model",), "the largest share is"),
    "drifted_features_ratio": _Source("driftline_drifted_features_ratio{%s}", _BY_VERSION),
    **{
        f"{what}_drift": _Source(
            f"driftline_{what}_drift_score{{%s}} / driftline_{what}_drift_threshold{{%s}}", _BY_VERSION, _DISTANCE
        )
        for what in ("prediction", "label")
    },
}


def _source(rule: Rule) -> _Source:
    if rule.measure in WINDOW_MEASURES:
        return _SOURCES[rule.measure]
    end = "upper" if rule.comparison == "below" else "lower"
    return _Source(f"driftline_performance_ci_{end}{{%s}}", _BY_VERSION, f"the {end} end of its 95 % interval is")


def _expression(model: str, rule: Rule) -> str:
    source, matchers = _source(rule), _matchers(model, rule)
    by = ", ".join(source.by)
    breach = f"max by ({by}) ({source.series.replace('%s', matchers)}) {rule.operator} {number_text(rule.threshold)}"
    if rule.least_coverage:
        covered = f"max by (model) (driftline_label_coverage_ratio{{model={quoted(model)}}})"
        breach += f" and on (model) {covered} >= {number_text(rule.least_coverage)}"
    if rule.min_samples <= 1 or rule.measure in WINDOW_MEASURES:
        return breach
    return f"{breach} and on ({by}) max by ({by}) (driftline_performance_samples{{{matchers}}}) >= {rule.min_samples}"


def _matchers(model: str, rule: Rule) -> str:
    if rule.measure in WINDOW_MEASURES:
        return f"model={quoted(model)}"
    return f'model={quoted(model)},metric={quoted(rule.measure)},segment="",kind="actual"'


def quoted(text: str) -> str:
    r"""Write a text as a string of PromQL.

    >>> print(quoted('a "b" \\ c'))
    "a \"b\" \\ c"
    """
    return json.dumps(text, ensure_ascii=False)


def literal(text: str) -> str:
    """Write a text so that it comes out of Prometheus' templates as it is.

    >>> literal("{{ $value }}")
    '{{ "{{" }} $value }}'
    """
    return text.replace("{{", '{{ "{{" }}')


def duration(seconds: int) -> str:
    """Write whole seconds as Prometheus does.

    >>> duration(129_600), duration(90), duration(0)
    ('1d12h', '1m30s', '0s')
    """
    found = ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        found += f"{count}{unit}" if count else ""
    return found or "0s"


# ---- unit tests --------------------------------------------------------------------------------------------


def unit_tests(
    groups: Sequence[Mapping[str, Any]], cases: Iterable[Mapping[str, Any]], models: Iterable[ModelAlerts]
) -> Any:
    """Return the document that ``promtool test rules`` reads: each case, and two moments for each configured rule.

    ``groups`` and ``cases`` are those of ``templates/prometheus``. A rule that has to breach for more than 8 days has
    no test: promtool would need minutes for it. Nor has one whose threshold is about as far as numbers go.
    """
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
    tests = [_test(alerts[case["alert"]], case) for case in cases]
    tests += [
        _test(_alert(model, rule), _case(model, rule, seconds))
        for model in models
        for rule in model.rules
        if (seconds := _for_seconds(model, rule)) <= _TESTED_SECONDS and abs(rule.threshold) < _FAR
    ]
    return {"rule_files": ["driftline.rules.yml"], "evaluation_interval": "5m", "tests": tests}


def _test(alert: Mapping[str, Any], case: Mapping[str, Any]) -> dict[str, Any]:
    expected = [_expected(alert, one) for one in case["alerts"]]
    moments: tuple[tuple[str, list[dict[str, Any]]], ...] = ((case["quiet"], []), (case["fires"], expected))
    return {
        "name": case.get("name", alert["alert"]),
        "interval": case.get("interval", "1m"),
        "input_series": [{"series": series, "values": values} for series, values in case["series"].items()],
        "alert_rule_test": [
            {"eval_time": moment, "alertname": alert["alert"], "exp_alerts": alerts} for moment, alerts in moments
        ],
    }


def _expected(alert: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    labels, value = one["labels"], one.get("value", "")
    return {
        "exp_labels": labels | {name: _expanded(text, labels, value) for name, text in alert["labels"].items()},
        "exp_annotations": {name: _expanded(text, labels, value) for name, text in alert["annotations"].items()},
    }


def _expanded(template: str, labels: Mapping[str, str], value: str) -> str:
    """What Prometheus makes of a template, as far as ours go."""

    def expand(found: re.Match[str]) -> str:
        if found["label"]:
            return labels[found["label"]]
        return value if found["value"] else "{{"

    return _ACTION.sub(expand, template)


def _case(model: ModelAlerts, rule: Rule, for_seconds: int) -> dict[str, Any]:
    good, bad = _values(rule)
    fires = 25 + 5 * -(-for_seconds // 300)
    points = fires // 5
    labels = {"model": model.model} | ({"version": "v1"} if "version" in _source(rule).by else {})
    return {
        "name": f"{rule.name} of {model.model}",
        "interval": "5m",
        "series": dict(_input_series(model.model, rule, labels, f"{good}x1 {bad}x{points}", points + 2)),
        "quiet": "5m",
        "fires": f"{fires}m",
        "alerts": [{"labels": labels, "value": f"{float(bad):.4g}"}],
    }


def _values(rule: Rule) -> tuple[str, str]:
    """A value on which the rule is quiet, which is the threshold itself, and one on which it is not."""
    step = abs(rule.threshold) / 10 or 0.1
    bad = float(f"{rule.threshold + (-step if rule.comparison == 'below' else step):.6g}")
    assert rule.breached_by(bad)
    return number_text(rule.threshold), number_text(bad)


def _input_series(
    model: str, rule: Rule, labels: Mapping[str, str], values: str, points: int
) -> Iterator[tuple[str, str]]:
    matchers = _matchers(model, rule) + (f",version={quoted(labels['version'])}" if "version" in labels else "")
    first, _, threshold = _source(rule).series.replace("%s", matchers).partition(" / ")
    yield first, values
    if threshold:
        yield threshold, f"1x{points}"
    if rule.least_coverage:
        yield f"driftline_label_coverage_ratio{{model={quoted(model)}}}", f"1x{points}"
    if rule.measure not in WINDOW_MEASURES:
        yield f"driftline_performance_samples{{{matchers}}}", f"{max(rule.min_samples, 1)}x{points}"
