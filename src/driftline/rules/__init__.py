"""Rules: a rule and a measure give a verdict, verdicts give alerts. Pure functions: no input or output, no clock."""

from driftline.rules.expression import parse_expression
from driftline.rules.facts import WindowFacts, drifted_ratio, measured, verdict_on
from driftline.rules.held_against import held_against
from driftline.rules.history import (
    AlertMachine,
    AlertSpan,
    AlertState,
    Ending,
    JudgedWindow,
    Transition,
    TransitionKind,
    alerts_of,
    pending,
)
from driftline.rules.reconcile import Change, ChangeKind, Status, StoredAlert, apply, reconcile
from driftline.rules.rule import Rule, Severity
from driftline.rules.verdict import Coverage, State, Verdict, interval_confidence, judge

__all__ = [
    "AlertMachine",
    "AlertSpan",
    "AlertState",
    "Change",
    "ChangeKind",
    "Coverage",
    "Ending",
    "JudgedWindow",
    "Rule",
    "Severity",
    "State",
    "Status",
    "StoredAlert",
    "Transition",
    "TransitionKind",
    "Verdict",
    "WindowFacts",
    "alerts_of",
    "apply",
    "drifted_ratio",
    "held_against",
    "interval_confidence",
    "judge",
    "measured",
    "parse_expression",
    "pending",
    "reconcile",
    "verdict_on",
]
