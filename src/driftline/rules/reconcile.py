"""Bring stored alerts up to date when windows are judged again, because labels came late or were corrected.

Both sides are compared as spans of event time, ``[first breach, end of last breach)``. A stored alert and a span of
the same rule are the same alert when they overlap; the oldest are matched first, each once, live alerts before
corrected ones, so that a second reconciliation finds the same pairs and nothing to do.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from driftline.events import Window
from driftline.rules.history import AlertSpan
from driftline.text.moments import moment


class Status(enum.StrEnum):
    """The state of a stored alert: still going on, over, or (*corrected*) a false one by what is known now."""

    FIRING = "firing"
    RESOLVED = "resolved"
    CORRECTED = "corrected"


class ChangeKind(enum.StrEnum):
    """What happens to a stored alert. People are notified of all but *updated*.

    *changed* means that its rule was edited in the configuration; `reconcile` never returns that.
    """

    FIRED = "fired"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    CORRECTED = "corrected"
    UPDATED = "updated"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """What `reconcile` needs of an alert in the store; ``started`` and ``last_end`` are its span, aware UTC."""

    id: str
    rule: str
    status: Status
    started: datetime
    last_end: datetime

    @property
    def window(self) -> Window:
        """The event time from the first breach to the end of the last."""
        return Window(self.started, self.last_end)


@dataclass(frozen=True, slots=True)
class Change:
    """A change to one alert. ``alert`` is None for one that is not stored yet, ``span`` None for a corrected one.

    A change with a span moves the stored alert onto it. A new span that has already ended gives two changes of the same
    alert: *fired* (or *reopened*), then *resolved*.
    """

    kind: ChangeKind
    alert: str | None
    span: AlertSpan | None
    reason: str


def reconcile(stored: Sequence[StoredAlert], spans: Sequence[AlertSpan], timezone: str = "UTC") -> list[Change]:
    """Return the changes that make the stored alerts agree with the spans: corrections first, then in order of time.

    Their reasons name windows in the ``timezone`` of the model.

    Laws: after `apply`, every span has exactly one alert that is not corrected, and `reconcile` returns nothing.
    """
    ordered = sorted(spans, key=lambda span: span.window)
    pairs = _match(stored, ordered)
    matched = {alert.id for alert in pairs.values()}
    changes = [
        Change(ChangeKind.CORRECTED, alert.id, None, _why_corrected(alert, ordered))
        for alert in _oldest_first(stored)
        if alert.status is not Status.CORRECTED and alert.id not in matched
    ]
    for index, span in enumerate(ordered):
        changes += _changes(pairs.get(index), span, timezone)
    return changes


def apply(stored: Sequence[StoredAlert], changes: Sequence[Change], new_id: Callable[[], str]) -> list[StoredAlert]:
    """Return the stored alerts after the changes; a store does the same with its rows."""
    alerts = {alert.id: alert for alert in stored}
    last_id = ""
    for change in changes:
        if change.span is None:
            assert change.alert is not None  # only a stored alert is corrected
            alerts[change.alert] = replace(alerts[change.alert], status=Status.CORRECTED)
            continue
        if change.kind is ChangeKind.FIRED:
            last_id = new_id()
        key = change.alert if change.alert is not None else last_id
        window = change.span.window
        status = _status_after(change, alerts.get(key))
        alerts[key] = StoredAlert(key, change.span.rule.name, status, window.start, window.end)
    return list(alerts.values())


def _oldest_first(stored: Sequence[StoredAlert]) -> list[StoredAlert]:
    return sorted(stored, key=lambda alert: (alert.started, alert.last_end, alert.id))


def _match(stored: Sequence[StoredAlert], spans: Sequence[AlertSpan]) -> dict[int, StoredAlert]:
    """Return the stored alert of each span, by the span's index."""
    pairs: dict[int, StoredAlert] = {}
    live = [alert for alert in _oldest_first(stored) if alert.status is not Status.CORRECTED]
    dead = [alert for alert in _oldest_first(stored) if alert.status is Status.CORRECTED]
    for candidates in (live, dead):
        for index, span in enumerate(spans):
            if index in pairs:
                continue
            same = next((alert for alert in candidates if _same(alert, span)), None)
            if same is not None:
                pairs[index] = same
                candidates.remove(same)
    return pairs


def _same(alert: StoredAlert, span: AlertSpan) -> bool:
    return alert.rule == span.rule.name and alert.window.overlaps(span.window)


def _why_corrected(alert: StoredAlert, spans: Sequence[AlertSpan]) -> str:
    if any(_same(alert, span) for span in spans):
        return "judged again, its windows belong to another alert that began earlier"
    return "judged again by what is known now, its windows are no longer a breach"


def _changes(alert: StoredAlert | None, span: AlertSpan, zone: str) -> list[Change]:
    if alert is None:
        return [Change(ChangeKind.FIRED, None, span, span.verdict.reason), *_resolved(None, span, zone)]
    if alert.status is Status.CORRECTED:
        reason = f"judged again, it is a breach after all: {span.verdict.reason}"
        return [Change(ChangeKind.REOPENED, alert.id, span, reason), *_resolved(alert.id, span, zone)]
    if alert.status is Status.FIRING and not span.firing:
        return _resolved(alert.id, span, zone)
    if alert.status is Status.RESOLVED and span.firing:
        reason = f"judged again, it has not ended: {span.verdict.reason}"
        return [Change(ChangeKind.REOPENED, alert.id, span, reason)]
    if alert.window != span.window:
        return [Change(ChangeKind.UPDATED, alert.id, span, _moved(span.window, zone))]
    return []


def _resolved(alert: str | None, span: AlertSpan, zone: str) -> list[Change]:
    if span.ended is None:
        return []
    reason = f"the window from {moment(span.ended.start, zone)} is ok again"
    if span.without_rows:
        reason = (
            f"{span.without_rows} windows in a row had no such rows, the last from {moment(span.ended.start, zone)}"
        )
    return [Change(ChangeKind.RESOLVED, alert, span, span.ended_by or reason)]


def _moved(window: Window, zone: str) -> str:
    return f"it now reaches from {moment(window.start, zone)} to {moment(window.end, zone)}"


def _status_after(change: Change, before: StoredAlert | None) -> Status:
    if change.kind is ChangeKind.RESOLVED:
        return Status.RESOLVED
    if change.kind is ChangeKind.UPDATED and before is not None:
        return before.status
    return Status.FIRING
