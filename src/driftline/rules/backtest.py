"""Backtests: which alerts would have fired over a history of verdicts, how often and how late. Pure functions.

Rules are judged on a year of history by the same verdicts and the same alert machine as live windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from driftline.events import Slice, Window
from driftline.rules.history import AlertSpan, Ending, JudgedWindow, alerts_of
from driftline.rules.rule import Rule
from driftline.rules.verdict import State

YEAR = timedelta(days=365.25)
BUDGET = "budget"
"""The rule name of alerts that the budgeted detector raises."""


class BacktestFinding(msgspec.Struct, frozen=True):
    """One finding of the detector: a column's series that moved.

    ``shift`` is how far, ``moved`` the same in words, ``lookback`` over how many windows, and ``chance`` how often
    chance alone moves it as far.
    """

    column: str
    series: str
    shift: float
    lookback: int
    chance: float
    role: str = "feature"
    moved: str = ""


class BacktestWindow(msgspec.Struct, frozen=True):
    """A window's span of event time, aware UTC, half-open."""

    start: datetime
    end: datetime


class BacktestAlert(msgspec.Struct, frozen=True):
    """An alert that would have fired: the ``window`` that notified, and ``until`` when (None: to the history's end)."""

    rule: str
    severity: str
    column: str | None
    window: BacktestWindow
    until: datetime | None
    value: float | None
    threshold: float
    suspected: str | None = None
    findings: tuple[BacktestFinding, ...] = ()
    slice: str = ""
    reason: str = ""


class RuleRecord(msgspec.Struct, frozen=True):
    """How one rule, or the detector (`BUDGET`), would have alerted over the history.

    ``delay_windows`` counts the windows from the change to the first alert after it, 1 for the first changed window;
    None where nothing fired after the change, or no change was named. ``states`` has one letter for each window, in
    order of time: `A` in alert, `b` a breach without an alert, `.` ok, `?` not judged.
    """

    rule: str
    severity: str
    alerts: int
    per_year: float | None
    judged: int
    delay_windows: int | None
    states: str


class BudgetRecord(msgspec.Struct, frozen=True):
    """The budget as stated and as spent, both in alarms a year; None where the history is too short to say."""

    stated: float
    per_year: float | None


class Changed(msgspec.Struct, frozen=True):
    """The moment at which the user says that something changed, and how many windows later an alert fired, if any."""

    at: datetime
    delay_windows: int | None


class Detail(msgspec.Struct, frozen=True):
    """What the detector adds to the verdict on a window in alert; ``kinds`` are the kinds of series that moved."""

    suspected: str | None
    findings: tuple[BacktestFinding, ...]
    sentences: tuple[str, ...] = ()
    reason: str = ""
    kinds: tuple[str, ...] = ()


class Backtest(msgspec.Struct, frozen=True):
    """A backtest: what would have fired over ``windows`` judged windows from ``start`` to ``end``.

    ``notes`` say in words which windows were not judged, and why.
    """

    model: str
    windows: int
    start: datetime | None
    end: datetime | None
    alerts: tuple[BacktestAlert, ...]
    per_year: float | None
    budget: BudgetRecord | None
    changed: Changed | None
    rules: tuple[RuleRecord, ...]
    timezone: str = "UTC"
    notes: tuple[str, ...] = ()
    against: Backtest | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """The verdicts of one rule, or of the detector, on one slice, in order of time.

    ``details`` are what the detector found, by the start of the window; at ``endings`` people have ended its alert.
    """

    rule: Rule
    slice: Slice
    judged: Sequence[JudgedWindow]
    details: Mapping[datetime, Detail] = field(default_factory=dict)
    endings: Sequence[Ending] = ()

    @property
    def spans(self) -> list[AlertSpan]:
        """The alerts that it amounts to."""
        return alerts_of(self.rule, self.judged, self.endings)


def backtest_of(
    model: str,
    windows: Sequence[Window],
    tracks: Sequence[Track],
    *,
    changed: datetime | None = None,
    budget: float | None = None,
    timezone: str = "UTC",
    notes: tuple[str, ...] = (),
) -> Backtest:
    """Turn verdicts into alerts, and count how often, when and how late each rule would have fired.

    ``windows`` are all windows of the history, each once, in order of time; without any the backtest is empty.
    Alerts are sorted by the window that notified. ``budget`` is how many false alarms a year the detector may raise,
    None where it is off.

    Law: the alerts of a rule are those of `alerts_of` on the same verdicts.
    """
    alerts: list[BacktestAlert] = []
    records: list[RuleRecord] = []
    for track in tracks:
        spans = track.spans
        alerts += [_alert(track, span) for span in spans]
        records.append(_record(track, spans, changed, windows))
    alerts.sort(key=lambda alert: (alert.window.start, alert.rule, alert.slice))
    late = _delay([Window(alert.window.start, alert.window.end) for alert in alerts], windows, changed)
    return Backtest(
        model=model,
        windows=len(windows),
        start=windows[0].start if windows else None,
        end=windows[-1].end if windows else None,
        alerts=tuple(alerts),
        per_year=per_year(len(alerts), windows),
        budget=None if budget is None else _budget(budget, tracks),
        changed=None if changed is None else Changed(changed, late),
        rules=tuple(records),
        timezone=timezone,
        notes=notes,
    )


def _budget(stated: float, tracks: Sequence[Track]) -> BudgetRecord:
    """Compare the budget with the detector's alerts a year, over the windows that it could judge."""
    judged = [one for track in tracks if track.rule.name == BUDGET for one in track.judged]
    known = [one.window for one in judged if one.verdict.state is not State.NODATA]
    spans = [span for track in tracks if track.rule.name == BUDGET for span in track.spans]
    return BudgetRecord(stated, per_year(len(spans), known))


def per_year(alerts: int, windows: Sequence[Window]) -> float | None:
    """Return the number of alerts as a rate for each year that the windows cover; None without windows.

    >>> from datetime import UTC
    >>> day = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    >>> per_year(1, [day]), per_year(1, [])
    (365.25, None)
    """
    covered = sum((window.end - window.start for window in windows), timedelta())
    return alerts * (YEAR / covered) if covered else None


def _alert(track: Track, span: AlertSpan) -> BacktestAlert:
    detail = track.details.get(span.fired.start, Detail(None, ()))
    return BacktestAlert(
        rule=track.rule.name,
        severity=track.rule.severity.value,
        column=detail.findings[0].column if detail.findings else None,
        window=BacktestWindow(span.fired.start, span.fired.end),
        until=None if span.ended is None else span.ended.end,
        value=span.verdict.value,
        threshold=span.verdict.threshold,
        suspected=detail.suspected,
        findings=detail.findings,
        slice=str(track.slice.words),
        reason=" ".join(filter(None, (span.verdict.reason, *detail.sentences))),
    )


def _record(track: Track, spans: Sequence[AlertSpan], changed: datetime | None, every: Sequence[Window]) -> RuleRecord:
    """Count over the windows for which the rule has verdicts, or over ``every`` window if it has none."""
    windows = [one.window for one in track.judged] or list(every)
    verdicts = {one.window.start: one.verdict.state for one in track.judged}
    return RuleRecord(
        rule=track.slice.titled(track.rule.name),
        severity=track.rule.severity.value,
        alerts=len(spans),
        per_year=per_year(len(spans), windows),
        judged=sum(state is not State.NODATA for state in verdicts.values()),
        delay_windows=_delay([span.fired for span in spans], windows, changed),
        states="".join(_letter(window, spans, verdicts) for window in windows),
    )


def _letter(window: Window, spans: Sequence[AlertSpan], verdicts: Mapping[datetime, State]) -> str:
    for span in spans:
        if span.fired.start <= window.start and (span.ended is None or window.start < span.ended.start):
            return "A"
    state = verdicts.get(window.start, State.NODATA)
    return {State.OK: ".", State.BREACH: "b", State.NODATA: "?"}[state]


def _delay(fired: Sequence[Window], windows: Sequence[Window], changed: datetime | None) -> int | None:
    """Count the windows from the first changed one to the first that fired, both included; None if none fired.

    One that fired may be none of ``windows``, as an hour without rows is: it counts, too.
    """
    if changed is None:
        return None
    late = (
        len({one for one in windows if changed < one.end and one.start < fires.start}) + 1
        for fires in fired
        if fires.end > changed
    )
    return min(late, default=None)
