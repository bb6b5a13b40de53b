"""What is told of an alert: the alert as people see it, what happened to it, and the message that says so."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from driftline.events import span_text
from driftline.rules import Severity, number_text
from driftline.rules.findings import Findings
from driftline.statistics.figures import numbers
from driftline.text import visible

NO_VALUE = "no value"


class Event(enum.StrEnum):
    """What there is to say of an alert.

    *repeated* is said again while it goes on, *changed* when its rule was changed by configuration. *over* is said of
    what began and ended before anybody was told, as when history is loaded. *test* is said of no alert.
    """

    FIRED = "fired"
    REOPENED = "reopened"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    CORRECTED = "corrected"
    CHANGED = "changed"
    OVER = "over"
    TEST = "test"


GOING_ON = (Event.FIRED, Event.REOPENED, Event.REPEATED, Event.CHANGED)
"""What is said of an alert that fires."""

MARKS = {
    Event.FIRED: "⚠️ Alert: ",
    Event.REOPENED: "⚠️ Alert, again: ",
    Event.REPEATED: "⚠️ Alert, still: ",
    Event.RESOLVED: "✅ Resolved: ",
    Event.CORRECTED: "↩️ Corrected: ",
    Event.CHANGED: "⚠️ Alert, changed: ",
    Event.OVER: "☑️ Over: ",
    Event.TEST: "🔔 Test: ",
}


class Span(msgspec.Struct, frozen=True):
    """A half-open span of event time, UTC."""

    start: datetime
    end: datetime


class StepView(msgspec.Struct, frozen=True):
    """One step in an alert's life, wall-clock time."""

    at: datetime
    kind: str
    reason: str


class Acknowledgement(msgspec.Struct, frozen=True):
    """Who has taken an alert on, when (wall-clock time), and what they said of it."""

    by: str
    at: datetime
    reason: str


class AlertView(msgspec.Struct, frozen=True):
    """An alert: ``value`` as it was known when it fired, ``value_now`` as it is known for the same window today.

    ``low`` and ``high`` are its 95 % interval. ``bound`` is what was compared with the threshold: the end of an
    interval at the rule's one-sided ``confidence``; None where the value itself was. ``muted`` says why nobody is told
    of it at the moment; it is empty where they are. ``timezone`` is the model's, in which people read of it.
    """

    id: str
    model: str
    rule: str
    measure: str
    severity: str
    title: str
    status: Literal["firing", "resolved", "corrected"]
    window: Span
    span: Span
    value: float | None
    low: float | None
    high: float | None
    n: int
    threshold: float
    worst: float | None
    value_now: float | None
    fired_at: datetime
    ended_at: datetime | None
    findings: Findings | None
    history: list[StepView]
    acknowledged: Acknowledgement | None = None
    muted: str = ""
    bound: float | None = None
    confidence: float | None = None
    timezone: str = "UTC"


class Point(msgspec.Struct, frozen=True):
    """A measure in one window: where the window ends (event time), the value and its interval, None where unknown."""

    end: datetime
    value: float | None
    low: float | None
    high: float | None


class Notice(msgspec.Struct, frozen=True):
    """One thing that happened to an alert, said at a moment of wall-clock time.

    ``key`` is the same whenever the same thing is sent again. ``recent`` are the measure's last windows, oldest first,
    at most `RECENT_WINDOWS`. ``url`` shows the alert, or is empty. ``told`` is what this receiver was told of it
    before.
    """

    event: Event
    key: str
    said_at: datetime
    reason: str
    alert: AlertView
    recent: list[Point] = []
    url: str = ""
    told: Event | None = None


RECENT_WINDOWS = 60

MOST_LINES = 20
"""So many of the alerts that are over stand in a text; the others are counted."""


class Message(msgspec.Struct, frozen=True):
    """One message to a receiver, about one alert or several of one model; as JSON it is the body of a webhook.

    ``event``, ``reason``, ``alert`` and ``url`` are those of the first notice. ``title`` is one line without markup,
    ``text`` the whole in lines of plain text. ``key`` is the same whenever the same message is sent again.
    """

    version: int
    key: str
    event: Event
    title: str
    text: str
    reason: str
    alert: AlertView
    url: str
    notices: list[Notice]


def message_of(notices: Sequence[Notice], key: str) -> Message:
    """Put notices, at least one, into one message, in their order; of what is over, the most severe comes first."""
    over = all(notice.event is Event.OVER for notice in notices)
    if over:
        notices = sorted(notices, key=lambda notice: (_severity_rank(notice.alert.severity), notice.alert.span.start))
    first = notices[0]
    title = MARKS[first.event] + visible(first.alert.title)
    if len(notices) > 1:
        title += f" (and {len(notices) - 1} more of {visible(first.alert.model)})"
    text = "\n\n".join(map(_text, notices))
    if over:
        title, text = over_title([notice.alert for notice in notices]), over_text([notice.alert for notice in notices])
    return Message(
        version=1,
        key=key,
        event=first.event,
        title=title,
        text=text,
        reason=first.reason,
        alert=first.alert,
        url=first.url,
        notices=list(notices),
    )


def _text(notice: Notice) -> str:
    first, *more = describe_alert(notice.alert)
    if notice.event in (Event.RESOLVED, Event.CORRECTED):
        more = [*more[:1], visible(notice.reason)]
    if notice.event is Event.CHANGED:
        more = [*more[:2], visible(notice.reason), *more[2:]]
    return "\n".join([MARKS[notice.event] + first, *more])


def over_title(alerts: Sequence[AlertView]) -> str:
    """One line on alerts of one model, at least one, that began and ended before anybody was told."""
    first = alerts[0]
    if len(alerts) == 1:
        return MARKS[Event.OVER] + visible(first.title)
    return f"{MARKS[Event.OVER]}{len(alerts)} alerts of {visible(first.model)} began and ended before they were seen"


def over_text(alerts: Sequence[AlertView]) -> str:
    """The same with a line for each alert; what is more than `MOST_LINES` is counted."""
    lines = [over_title(alerts)]
    for alert in alerts[:MOST_LINES]:
        said, where = told(alert), span_text(alert.span.start, alert.span.end, alert.timezone)
        name = f"{alert.model}: {alert.rule}" if len(alerts) == 1 else alert.rule
        number = f"{alert.measure} {said.value}{said.interval}, threshold {said.threshold}"
        lines.append(visible(f"{name} ({alert.severity}): {where}: {number}"))
    if len(alerts) > MOST_LINES:
        lines.append(f"and {len(alerts) - MOST_LINES} more")
    return "\n".join(lines)


def _severity_rank(severity: str) -> int:
    known = [one.value for one in Severity]
    return known.index(severity) if severity in known else len(known)


class Told(NamedTuple):
    """The numbers of an alert in words: those that differ have different texts, and the threshold is exact."""

    value: str
    low: str
    high: str
    value_now: str
    threshold: str

    @property
    def interval(self) -> str:
        """Both ends, in brackets behind a blank; empty where one is not known."""
        return "" if NO_VALUE in (self.low, self.high) else f" [{self.low}, {self.high}]"


def told(alert: AlertView) -> Told:
    """Say the numbers of an alert, each beside the others."""
    values = (alert.value, alert.low, alert.high, alert.value_now, alert.threshold)
    known = [value for value in values if value is not None and math.isfinite(value)]
    texts = dict(zip(known, numbers(*known), strict=True))
    threshold = texts.get(alert.threshold, NO_VALUE)
    if threshold != NO_VALUE and float(threshold.replace(",", "")) != alert.threshold:
        texts[alert.threshold] = number_text(alert.threshold)
    return Told(*(NO_VALUE if value is None else texts.get(value, NO_VALUE) for value in values))


def describe_alert(alert: AlertView) -> list[str]:
    """Say an alert in lines of plain text: title; where and when; number; then what changed and what did not.

    Names and values in it came from strangers: they neither make lines of their own nor act on a terminal.
    """
    said = told(alert)
    lines = [
        alert.title,
        f"{alert.model}: {alert.rule}: window {span_text(alert.window.start, alert.window.end, alert.timezone)}",
        f"{alert.measure} {said.value}{said.interval}, n = {alert.n}, threshold {said.threshold}",
    ]
    sentences = alert.findings.sentences if alert.findings is not None else ()
    return [visible(line) for line in (*lines, *sentences)]
