"""What a check found: a value that prints, exports and raises."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from driftline.errors import AlertsFound, UnknownNameError
from driftline.profiles import Column, NumericColumn
from driftline.rules import Rule, Verdict
from driftline.rules.topic import feature_measure
from driftline.statistics import CalibrationBin, ColumnDrift, Measure
from driftline.statistics.correlation_change import Dependence

FAIL_ON = ("any", "drift", "performance", "quality", "rule", "never")
"""Which alerts fail a check."""

MOST_PAIRS = 1000
"""Pairs of label and prediction that a document has, the most frequent ones."""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows the two sides have."""

    reference: int
    current: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Share of rows without a usable value, 0 to 1; None for a side without the column."""

    reference: float | None
    current: float | None


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """One column of the files. Where nothing could be measured ``drift.value`` is None, and ``problem`` says why.

    ``role`` is feature, prediction, score or label; ``kind`` is numeric, categorical, datetime, text, embedding or
    unsupported. ``out_of_range`` and ``unseen`` are the shares of current rows, 0 to 1, beyond the reference's range
    and in categories that it never had; None where they have no meaning.
    """

    column: str
    role: str
    kind: str
    drift: ColumnDrift
    missing: Missing
    problem: str = ""
    changes: tuple[str, ...] = ()
    out_of_range: float | None = None
    unseen: float | None = None


@dataclass(frozen=True, slots=True)
class Positive:
    """The class ``name`` that precision, recall, F1, ROC AUC and a lone score speak of in a binary model.

    ``guessed`` is whether nobody said so, and ``by`` what it was guessed by, in words. ``doubt`` says, where the ROC
    AUC is below 0.5, that the score seems to be of the other class, and what to do; else it is empty.
    """

    name: str
    guessed: bool
    by: str = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """The performance on the rows of one segment: ``column`` has ``value`` there."""

    column: str
    value: str
    current: Mapping[str, Measure]
    reference: Mapping[str, Measure]


@dataclass(frozen=True, slots=True)
class Curves:
    """What performance is drawn from; where there are two, the reference's comes first, and what is unknown is empty.

    ``confusion`` counts the rows of each side by (label, prediction), at most `MOST_PAIRS` of these. ``calibration``
    and ``gains`` are of a binary model with scores; see `calibration_bins` and `gains`. ``errors`` are those of a
    regression, prediction - label; None for others.
    """

    confusion: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    calibration: tuple[tuple[CalibrationBin, ...], tuple[CalibrationBin, ...]] = ((), ())
    gains: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    errors: tuple[NumericColumn, NumericColumn] | None = None


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What a rule says of the current rows: it is in breach, all is well, or they do not let it judge."""

    rule: Rule
    verdict: Verdict

    @property
    def column(self) -> str | None:
        """The feature that the rule is on; None for a rule on all rows."""
        found = feature_measure(self.rule.measure)
        return None if found is None else found[1]


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that went wrong, with ``message`` in words.

    ``kind`` is drift (of values or relations), performance, quality (a column that is gone or changed its kind,
    values that went missing, ids that repeat), or rule: a rule of the configuration, ``of``, is in breach.
    """

    kind: Literal["drift", "performance", "quality", "rule"]
    column: str | None
    measure: str
    value: float | None
    threshold: float | None
    message: str
    of: RuleReport | None = None

    @property
    def rule(self) -> str | None:
        """The name of the rule; None for alerts of another kind."""
        return None if self.of is None else self.of.rule.name

    @property
    def severity(self) -> str | None:
        """The severity of the rule: page, warning or info; None for alerts of another kind."""
        return None if self.of is None else self.of.rule.severity.value

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The answer of a check. ``columns`` are worst first; ``performance`` is None without labels and
    predictions.

    ``reference_performance`` has the same measures of the reference rows, where those are labelled; ``classes`` those
    of each class, ``segments`` those of each segment, and ``curves`` what they are drawn from. ``duplicates`` are the
    shares of rows, or ids, that repeat an earlier one. ``notes`` are worth a word and are no alert. ``guesses`` are
    what was taken for granted without being told, among it the class that ``positive`` is, of a binary model.
    ``rules`` are what each rule says.
    """

    verdict: Literal["ok", "alert"]
    rows: RowCounts
    columns: Mapping[str, ColumnReport]
    performance: Mapping[str, Measure] | None
    reference_performance: Mapping[str, Measure] | None
    label_coverage: Measure | None
    alerts: tuple[Alert, ...]
    profiles: Mapping[str, tuple[Column | None, Column | None]] = field(default_factory=dict, repr=False)
    duplicates: Missing = Missing(None, None)
    classes: Mapping[str, Mapping[str, Measure]] = field(default_factory=dict)
    reference_classes: Mapping[str, Mapping[str, Measure]] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    dependence: Dependence | None = None
    notes: tuple[str, ...] = ()
    positive: Positive | None = None
    guesses: tuple[str, ...] = ()
    curves: Curves = field(default_factory=Curves, repr=False)
    rules: tuple[RuleReport, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON: numbers are finite or None."""
        return {
            "verdict": self.verdict,
            "rows": {"reference": self.rows.reference, "current": self.rows.current},
            "duplicates": {"reference": self.duplicates.reference, "current": self.duplicates.current},
            "columns": [_column(column) for column in self.columns.values()],
            "performance": None
            if self.performance is None
            else _measures(self.performance, self.reference_performance),
            "label_coverage": None if self.label_coverage is None else _measure(self.label_coverage),
            "classes": {name: _measures(now, self.reference_classes.get(name)) for name, now in self.classes.items()}
            or None,
            "segments": [
                {
                    "column": segment.column,
                    "value": segment.value,
                    "performance": _measures(segment.current, segment.reference),
                }
                for segment in self.segments
            ],
            "confusion": [
                {"label": label, "prediction": prediction, "reference": was, "current": now}
                for (label, prediction), (was, now) in self.curves.confusion.items()
            ]
            or None,
            "calibration": _both([[one._asdict() for one in side] for side in self.curves.calibration]),
            "gains": _both(self.curves.gains),
            "dependence": None if self.dependence is None else _dependence(self.dependence),
            "alerts": [_alert(alert) for alert in self.alerts],
            "rules": [_rule(one) for one in self.rules],
            "notes": list(self.notes),
            "positive": None if self.positive is None else _positive(self.positive),
            "guesses": list(self.guesses),
        }

    def to_json(self) -> str:
        """The report as one JSON document."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)

    def to_html(self, path: str | Path | None = None) -> str:
        """The report as one self-contained HTML page; also written to ``path``, if one is given."""
        from driftline.reports.report_html import render

        page = render(self.to_dict(), self.profiles, self.curves.errors)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def raise_for_alerts(self, kinds: str | Iterable[str] = "any") -> None:
        """Raise `AlertsFound` if there is an alert of these ``kinds``: any, drift, performance, quality, rule or
        never.

        "never" adds none to the others.
        """
        if found := self.alerts_of(kinds):
            raise AlertsFound([alert.message for alert in found])

    def alerts_of(self, kinds: str | Iterable[str]) -> tuple[Alert, ...]:
        """The alerts of some kinds, worst first; see `raise_for_alerts`."""
        asked = kinds_of_alerts(kinds)
        return tuple(alert for alert in self.alerts if "any" in asked or alert.kind in asked)

    def __repr__(self) -> str:
        drifted = sum(1 for column in self.columns.values() if column.drift.drifted)
        alerts = f"{len(self.alerts) or 'no'} alert{'' if len(self.alerts) == 1 else 's'}"
        rows = f"{self.rows.current:,} current rows against {self.rows.reference:,}"
        return f"<Report: {alerts}, {drifted} of {len(self.columns)} columns drifted, {rows}>"

    def __str__(self) -> str:
        """What the command prints, 80 columns wide."""
        import io

        from rich.console import Console

        from driftline.reports.report_text import renderables

        page = io.StringIO()
        console = Console(
            file=page, width=80, color_system=None, force_jupyter=False, highlight=False, markup=False, emoji=False
        )
        for part in renderables(self.to_dict(), self.profiles):
            console.print(part)
        return "\n".join(line.rstrip() for line in page.getvalue().splitlines())

    def _repr_html_(self) -> str:
        import html

        page = html.escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:640px;border:0"></iframe>'


def kinds_of_alerts(kinds: str | Iterable[str]) -> frozenset[str]:
    """One kind or several, of those in `FAIL_ON`.

    >>> sorted(kinds_of_alerts(["drift", "quality"])), sorted(kinds_of_alerts("any"))
    (['drift', 'quality'], ['any'])
    """
    asked = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in asked:
        if kind not in FAIL_ON:
            raise UnknownNameError("kind of alert", kind, FAIL_ON)
    return frozenset(asked)


def _alert(alert: Alert) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": alert.kind,
        "column": alert.column,
        "measure": alert.measure,
        "value": alert.value,
        "threshold": alert.threshold,
        "message": alert.message,
    }
    return found if alert.of is None else {**_rule(alert.of), **found}


def _rule(found: RuleReport) -> dict[str, Any]:
    rule, verdict = found.rule, found.verdict
    return {
        "rule": rule.name,
        "severity": rule.severity.value,
        "measure": rule.measure,
        "column": found.column,
        "condition": rule.condition,
        "state": verdict.state.value,
        "value": verdict.value,
        "low": verdict.low,
        "high": verdict.high,
        "n": verdict.n,
        "threshold": verdict.threshold,
        "bound": verdict.bound,
        "confidence": verdict.confidence,
        "reason": verdict.reason,
    }


def _column(report: ColumnReport) -> dict[str, Any]:
    drift = report.drift
    return {
        "column": report.column,
        "role": report.role,
        "kind": report.kind,
        "drift": {
            "measure": drift.measure or None,
            "value": drift.value,
            "threshold": drift.threshold,
            "drifted": drift.drifted,
            "p_value": drift.p_value,
            "part": drift.part or None,
            "reason": drift.reason,
            "distances": dict(drift.distances),
            "p_values": dict(drift.p_values),
        },
        "missing": {"reference": report.missing.reference, "current": report.missing.current},
        "out_of_range": report.out_of_range,
        "unseen": report.unseen,
        "changes": list(report.changes),
        "problem": report.problem or None,
    }


def _positive(positive: Positive) -> dict[str, Any]:
    return {
        "class": positive.name,
        "guessed": positive.guessed,
        "by": positive.by or None,
        "doubt": positive.doubt or None,
    }


def _measure(measure: Measure) -> dict[str, Any]:
    return {
        "value": measure.value,
        "low": measure.low,
        "high": measure.high,
        "n": measure.n,
        "confidence": measure.confidence,
        "problem": measure.problem or None,
    }


def _measures(now: Mapping[str, Measure], before: Mapping[str, Measure] | None) -> dict[str, Any]:
    was = before or {}
    return {
        name: _measure(measure) | {"reference": _measure(was[name]) if name in was else None}
        for name, measure in now.items()
    }


def _both(sides: Sequence[Sequence[Any]]) -> dict[str, Any] | None:
    """The reference's and the current rows', as lists; None where neither has any."""
    before, now = (list(side) or None for side in sides)
    return {"reference": before, "current": now} if before or now else None


def _dependence(found: Dependence) -> dict[str, Any]:
    return {
        "measure": found.measure,
        "value": found.value,
        "threshold": found.threshold,
        "drifted": found.drifted,
        "p_value": found.p_value,
        "problem": found.problem or None,
        "reason": found.reason,
        "pairs": [
            {
                "columns": list(pair.columns),
                "labels": list(pair.labels),
                "reference": pair.reference,
                "current": pair.current,
                "p_value": pair.p_value,
            }
            for pair in found.pairs
        ],
    }
