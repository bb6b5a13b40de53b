"""What a check found: a value that prints, exports and raises."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from driftline.errors import AlertsFound
from driftline.export.report_html import render
from driftline.profiles import Column
from driftline.statistics import ColumnDrift, Measure


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
    """One column of the files. ``drift`` is None where nothing could be measured, and ``problem`` says why.

    ``role`` is feature, prediction, score or label; ``kind`` is numeric, categorical, datetime or
    unsupported.
    """

    column: str
    role: str
    kind: str
    drift: ColumnDrift | None
    missing: Missing
    problem: str = ""
    changes: tuple[str, ...] = ()
    out_of_range: float | None = None
    unseen: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """The performance on the rows of one segment: ``column`` has ``value`` there."""

    column: str
    value: str
    current: Mapping[str, Measure]
    reference: Mapping[str, Measure]


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that went wrong: ``kind`` is drift or performance; ``message`` has it in words."""

    kind: Literal["drift", "performance", "quality"]
    column: str | None
    measure: str
    value: float | None
    threshold: float | None
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Report:
    """The answer of a check. ``columns`` are worst first; ``performance`` is None without labels and
    predictions.

    ``reference_performance`` has the same measures of the reference rows, where those are labelled.
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
    dependence: Any = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON: numbers are finite or None."""
        before = self.reference_performance or {}
        return {
            "verdict": self.verdict,
            "rows": {"reference": self.rows.reference, "current": self.rows.current},
            "columns": [_column(column) for column in self.columns.values()],
            "performance": None
            if self.performance is None
            else {
                name: _measure(measure) | {"reference": _measure(before[name]) if name in before else None}
                for name, measure in self.performance.items()
            },
            "label_coverage": None if self.label_coverage is None else _measure(self.label_coverage),
            "alerts": [
                {
                    "kind": alert.kind,
                    "column": alert.column,
                    "measure": alert.measure,
                    "value": alert.value,
                    "threshold": alert.threshold,
                    "message": alert.message,
                }
                for alert in self.alerts
            ],
        }

    def to_json(self) -> str:
        """The report as one JSON document."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)

    def to_html(self, path: str | Path | None = None) -> str:
        """The report as one self-contained HTML page; also written to ``path``, if one is given."""
        page = render(self.to_dict(), self.profiles)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def raise_for_alerts(self) -> None:
        """Raise `AlertsFound` if there is an alert."""
        if self.alerts:
            raise AlertsFound([alert.message for alert in self.alerts])

    def _repr_html_(self) -> str:
        page = html.escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:640px;border:0"></iframe>'


def _column(report: ColumnReport) -> dict[str, Any]:
    drift = report.drift
    return {
        "column": report.column,
        "role": report.role,
        "kind": report.kind,
        "drift": None
        if drift is None
        else {
            "measure": drift.measure or None,
            "value": drift.value,
            "threshold": drift.threshold,
            "drifted": drift.drifted,
            "p_value": drift.p_value,
            "reason": drift.reason,
            "distances": dict(drift.distances),
        },
        "missing": {"reference": report.missing.reference, "current": report.missing.current},
        "changes": list(report.changes),
        "problem": report.problem or None,
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
