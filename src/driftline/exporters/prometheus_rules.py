"""Write Prometheus rules for the rules of a configuration, and unit tests of all rules for promtool."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from driftline.rules import Rule
from driftline.rules.topic import feature_measure
from driftline.text.numbers import exact

STALE_AFTER = "model:driftline_stale_after:seconds"
STALE_BY_DEFAULT = timedelta(days=2)
"""How long no event may arrive for a model without a configured limit; `driftline.rules.yml` has the same value."""

_EXAMPLES = {"segment": "season=winter", "version": "2"}
_RUNBOOK = "docs/prometheus.md#rules-of-driftlineyaml"
_BRIDGED = "5m"
_ACTION = re.compile(r"\{\{ (?:\$labels\.(?P<label>\w+)|(?P<value>\$value)[^}]*|(?P<braces>\"\{\{\")) \}\}")


@dataclass(frozen=True, slots=True)
class ModelAlerts:
    """The configured alerts of a model; ``window`` is the usual length of a window.

    ``docs`` is where the model is documented: the runbook of its rules; empty for that of all rules.
    """

    model: str
    window: timedelta
    stale_after: timedelta | None
    rules: Sequence[Rule]
    docs: str = ""


def groups_of(models: Iterable[ModelAlerts]) -> list[dict[str, Any]]:
    """Return the rule groups for the configured models; empty if nothing is configured.

    >>> [group] = groups_of([ModelAlerts("churn", timedelta(days=1), timedelta(hours=6), ())])
    >>> group["rules"]
    [{'record': 'model:driftline_stale_after:seconds', 'expr': '21600', 'labels': {'model': 'churn'}}]
    """
    models = list(models)
    rules = [
        {
            "record": STALE_AFTER,
            "expr": exact(stale_after.total_seconds()),
            "labels": {"model": literal(one.model)},
        }
        for one in models
        if (stale_after := _stale_after(one)) is not None
    ]
    rules += [_alert(one, rule) for one in models for rule in one.rules]
    return [{"name": "driftline-configured", "rules": rules}] if rules else []


def _stale_after(model: ModelAlerts) -> timedelta | None:
    """Return how long nothing may arrive, if that is not the default; else None."""
    if model.stale_after is not None:
        return model.stale_after
    return 2 * model.window if 2 * model.window > STALE_BY_DEFAULT else None


def _alert(model: ModelAlerts, rule: Rule) -> dict[str, Any]:
    subject = f"{literal(rule.name)}: {literal(rule.measure)} of {{{{ $labels.model }}}}"
    subject += "".join(f" ({name} {{{{ $labels.{name} }}}})" for name in _slice_labels(rule))
    _, feature = feature_measure(rule.measure) or ("", "")
    side, count = rule.comparison, '{{ $value | printf "%.0f" }}'
    return {
        "alert": rule.name,
        "expr": _expression(model.model, rule),
        "labels": {
            "severity": rule.severity.value,
            "service": "driftline",
            "measure": literal(rule.measure),
            "rule": literal(rule.name),
            **({"feature": literal(feature)} if feature else {}),
        },
        "annotations": {
            "summary": f"{subject} {side} threshold.",
            "description": f"{subject} is {side} {exact(rule.threshold)} in {count} judged windows in a row.",
            "runbook": literal(model.docs) or _RUNBOOK,
        },
    }


def _expression(model: str, rule: Rule) -> str:
    """Compare the windows in breach with ``for``, as Driftline's own alert does; five minutes bridge a restart."""
    by = ", ".join(("model", *_slice_labels(rule)))
    return f"max by ({by}) (last_over_time({_series(model, rule)}[{_BRIDGED}])) >= {rule.for_windows}"


def _slice_labels(rule: Rule) -> tuple[str, ...]:
    """Return the labels that distinguish the alerts of a rule: none where it judges all rows together."""
    return ("segment",) if rule.segment != "none" else ("version",) if rule.version != "all" else ()


def _series(model: str, rule: Rule, **more: str) -> str:
    labels = {"model": model, "monitor": rule.name, **more}
    return f"driftline_monitor_breaches{{{','.join(f'{name}={quoted(text)}' for name, text in labels.items())}}}"


def quoted(text: str) -> str:
    r"""Write a text as a string of PromQL.

    >>> print(quoted('a "b" \\ c'))
    "a \"b\" \\ c"
    """
    return json.dumps(text, ensure_ascii=False)


def literal(text: str) -> str:
    """Escape a text so that Prometheus' templates leave it as it is.

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
    """Return the document that ``promtool test rules`` reads: each case, and two points in time for each rule.

    ``groups`` and ``cases`` are those of ``templates/prometheus``.
    """
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
    tests = [_test(alerts[case["alert"]], case) for case in cases]
    tests += [_test(_alert(model, rule), _case(model, rule)) for model in models for rule in model.rules]
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
    """Expand a template as Prometheus does, with the few actions that our rules use."""

    def expand(found: re.Match[str]) -> str:
        if found["label"]:
            return labels[found["label"]]
        return value if found["value"] else "{{"

    return _ACTION.sub(expand, template)


def _case(model: ModelAlerts, rule: Rule) -> dict[str, Any]:
    """Return a test case with one window less than the alert needs, and then as many as it needs."""
    few, enough = rule.for_windows - 1, rule.for_windows
    slice = {name: _EXAMPLES[name] for name in _slice_labels(rule)}
    return {
        "name": f"{rule.name} of {model.model}",
        "interval": "5m",
        "series": {_series(model.model, rule, **slice): f"{few}x1 {enough}x3"},
        "quiet": "5m",
        "fires": "15m",
        "alerts": [{"labels": {"model": model.model, **slice}, "value": str(enough)}],
    }
