"""What there is to say of an alert besides itself: what was found, who was told, and the windows around it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from driftline.alerts.message import AlertView, Event
from driftline.alerts.options import NotifyConfig
from driftline.alerts.stages import wanted
from driftline.monitoring.summary import WindowSummary
from driftline.retrain.views import RequestView
from driftline.rules.backtest import BacktestFinding, Detail
from driftline.store.alerts import AlertRow
from driftline.store.outbox import NotificationRow, Outbox
from driftline.store.overview import Overview
from driftline.store.state import Work

NOTICES_SHOWN = 60
"""Of the notices of an alert the newest ones are told."""

WINDOWS_SHOWN = 60
"""So many windows are shown around an alert."""

_SEGMENTS_READ = 500
_summary = msgspec.msgpack.Decoder(WindowSummary)


class _Said(msgspec.Struct, frozen=True):
    """The parts of a notice that its story needs."""

    event: Event
    said_at: datetime


_said = msgspec.json.Decoder(_Said)


class SuspicionView(msgspec.Struct, frozen=True):
    """What the detector suspects in a window: the kind (see `SuspectedKind`), why, and by falling evidence what moved.

    ``kind`` is None where the findings fit none.
    """

    kind: str | None
    reason: str
    findings: tuple[BacktestFinding, ...]


class NoticeView(msgspec.Struct, frozen=True):
    """One notice of an alert to a receiver, wall-clock time.

    ``state`` is *waiting*, *delivered*, *refused* or *expired*; ``error`` says why an attempt failed. ``due_at`` is
    when a waiting one is tried next.
    """

    receiver: str
    event: Event
    said_at: datetime
    state: str
    attempts: int
    due_at: datetime
    error: str


class ReceiverView(msgspec.Struct, frozen=True):
    """A receiver of the configuration: whether it wants to hear of an alert, and what it was told last, and when."""

    name: str
    kind: str
    wants: bool
    event: str | None
    at: datetime | None


class AlertStory(msgspec.Struct, frozen=True):
    """What there is to say of an alert; ``segments`` are those of the window that it fired on.

    ``requests`` are the challengers that were asked for since it fired, the newest first, and ``retrains`` says
    whether one can be asked for.
    """

    suspicion: SuspicionView | None
    notices: list[NoticeView]
    receivers: list[ReceiverView]
    segments: list[WindowSummary]
    requests: list[RequestView] = []
    retrains: bool = False


def suspicion_of(read: Work, row: AlertRow) -> SuspicionView | None:
    """Return what the detector found in the window that an alert fired on; None where it found nothing there."""
    known = read.detections.at(row.model, row.window_start)
    if known is None or known.said is None:
        return None
    detail = msgspec.msgpack.decode(known.said, type=Detail)
    return SuspicionView(detail.suspected, detail.reason, detail.findings)


def notices_of(read: Work, alert: str) -> list[NoticeView]:
    """Return the newest notices of an alert, in order of time."""
    return [_notice(row) for row in Outbox(read.connection).of_alert(alert, NOTICES_SHOWN)]


def _notice(row: NotificationRow) -> NoticeView:
    said = _said.decode(row.body)
    return NoticeView(row.channel, said.event, said.said_at, row.state, row.attempts, row.due_at, row.last_error)


def receivers_of(read: Work, receivers: Sequence[NotifyConfig], row: AlertRow) -> list[ReceiverView]:
    """Return all receivers, in the order of the configuration."""
    told = Outbox(read.connection).told_of(row.id, [one.name for one in receivers])
    return [
        ReceiverView(
            one.name,
            one.kind,
            wanted(row, one.severity, one.models),
            None if (last := told.get(one.name)) is None else last.event,
            None if last is None else last.at,
        )
        for one in receivers
    ]


def segments_of(read: Work, row: AlertRow) -> list[WindowSummary]:
    """Return the segments of the window that an alert fired on, sorted."""
    found = Overview(read.connection).summaries({row.model: row.window_start}).get(row.model, {})
    bodies = [body for slice, body in sorted(found.items()) if slice.segment is not None]
    return [_summary.decode(body) for body in bodies[:_SEGMENTS_READ]]


def around(alert: AlertView) -> tuple[datetime, datetime | None]:
    """Return from where to where windows are shown: some before it fired, and some after it ended."""
    length = alert.window.end - alert.window.start
    before = length * (WINDOWS_SHOWN // 2)
    if alert.status == "firing":
        return alert.span.start - before, None
    return alert.span.start - before, alert.span.end + length * (WINDOWS_SHOWN // 4)
