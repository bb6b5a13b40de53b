"""Rules on a check: the current rows are one window, evaluated as `driftline serve` evaluates its windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import structs
from msgspec.structs import replace

from driftline.checks.sides import Comparison
from driftline.errors import UnknownNameError
from driftline.results.check import RuleAlert, RuleReport
from driftline.rules import Rule, State, Verdict, WindowFacts, parse_expression, verdict_on
from driftline.rules.topic import OF_FEATURES, feature_measure
from driftline.sources.own import Replicates
from driftline.statistics import ColumnDrift
from driftline.statistics.catalogue import rule_measures
from driftline.text.numbers import figure

_OF_A_PART = "a file is judged as a whole; `driftline serve` judges segments and versions"
_NO_LABELS = "label_coverage cannot be had: the current rows have no column of labels"


def rules_of(rules: Iterable[Rule | str], own: Iterable[str] = ()) -> tuple[Rule, ...]:
    """Parse expressions such as ``accuracy < 0.75`` among rules; raise `UnknownNameError` for an unknown measure.

    >>> [rule.name for rule in rules_of(["accuracy < 75%", Rule("slow", "latency_p95", above=0.2)])]
    ['accuracy < 0.75', 'slow']
    """
    found = tuple(parse_expression(rule) if isinstance(rule, str) else rule for rule in rules)
    known = (*rule_measures(), *own)
    for rule in found:
        if rule.measure not in known and feature_measure(rule.measure) is None:
            raise UnknownNameError(f"measure of the rule {rule.name!r}", rule.measure, (*known, *_templates()))
    return found


def _templates() -> list[str]:
    return [f"{kind}.FEATURE" for kind in OF_FEATURES]


def require_features(rules: Iterable[Rule], features: Iterable[str]) -> None:
    """Refuse a rule on a feature that the reference does not have."""
    known = set(features)
    for rule in rules:
        _, feature = feature_measure(rule.measure) or ("", "")
        if feature and feature not in known:
            raise UnknownNameError(f"feature of the rule {rule.name!r}", feature, known)


def judged(
    rules: Sequence[Rule], sides: Comparison, drifts: Mapping[str, ColumnDrift], own: Mapping[str, Replicates]
) -> tuple[RuleReport, ...]:
    """Evaluate each rule on the current rows; the reports are in the order of the rules."""
    if not rules:
        return ()
    facts = WindowFacts(
        sides.now.profile,
        features={name: _reasoned(drift) for name, drift in drifts.items() if sides.role(name) == "feature"},
        prediction=_of(sides.columns.prediction, drifts),
        label=_of(sides.columns.label, drifts),
        positive=sides.layout.schema.positive,
        chance=sides.floors.chance,
        naive=sides.before.naive,
        own=own,
    )
    labelled = sides.columns.label in sides.types_now
    return tuple(_report(rule, _verdict(rule, facts, labelled=labelled)) for rule in rules)


def _of(column: str | None, drifts: Mapping[str, ColumnDrift]) -> ColumnDrift | None:
    return _reasoned(drifts[column]) if column is not None and column in drifts else None


def _reasoned(drift: ColumnDrift) -> ColumnDrift:
    return drift if drift.reason else replace(drift, reason=drift.problem)


def _verdict(rule: Rule, facts: WindowFacts, *, labelled: bool) -> Verdict:
    verdict, reason = verdict_on(rule, facts), ""
    if rule.segment != "none" or rule.version != "all":
        reason = _OF_A_PART
    elif rule.measure == "label_coverage" and not labelled:
        reason = _NO_LABELS
    if not reason:
        return verdict
    return replace(verdict, state=State.NODATA, value=None, low=None, high=None, bound=None, n=0, reason=reason)


def _report(rule: Rule, verdict: Verdict) -> RuleReport:
    found = feature_measure(rule.measure)
    return RuleReport(
        rule=rule.name,
        severity=rule.severity,
        measure=rule.measure,
        column=None if found is None else found[1],
        condition=rule.condition,
        state=verdict.state,
        value=verdict.value,
        low=verdict.low,
        high=verdict.high,
        n=verdict.n,
        threshold=verdict.threshold,
        bound=verdict.bound,
        confidence=verdict.confidence,
        reason=verdict.reason,
    )


def rule_alerts(rules: Iterable[RuleReport]) -> list[RuleAlert]:
    """Return the alerts of the rules that are in breach, the most severe first."""
    breached = [one for one in rules if one.state is State.BREACH]
    return [_alert(one) for one in sorted(breached, key=lambda one: one.severity.rank)]


def _alert(found: RuleReport) -> RuleAlert:
    message = f"rule {found.rule} ({found.severity}): {found.reason}"
    if found.low is not None and found.high is not None:
        message += f"; 95 % interval {figure(found.low)} to {figure(found.high)}"
    return RuleAlert(**structs.asdict(found), message=message)
