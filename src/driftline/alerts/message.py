"""Notifications of an alert: the alert as people see it, what happened to it, and the message that says so."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from driftline.events import Segment, Slice
from driftline.rules import Severity
from driftline.rules.findings import Findings
from driftline.rules.topic import CHANCE, STALENESS
from driftline.text import short, visible
from driftline.text.durations import lengths
from driftline.text.moments import span
from driftline.text.numbers import exact, level, numbers

NO_VALUE = "no value"


class Event(enum.StrEnum):
    """What there is to say of an alert.

    *repeated* is said again while it goes on, *changed* when its rule was changed by configuration. *over* is said of
    what began and ended before anybody was notified, as when history is loaded. *test* is said of no alert.
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
    """Who has acknowledged an alert, when (wall-clock time), and what they said of it."""

    by: str
    at: datetime
    reason: str


class Newest(msgspec.Struct, frozen=True):
    """What a rule's measure is in the newest window that it could be judged by, as it is known now."""

    window: Span
    value: float
    low: float | None
    high: float | None
    n: int
    bound: float | None = None


class AlertView(msgspec.Struct, frozen=True):
    """An alert: ``value`` as it was known when it fired, ``value_now`` as it is known for the same window today.

    ``newest`` is the newest window's; it is None where none could be judged.

    ``low`` and ``high`` are its 95 % interval. ``bound`` is what was compared with the threshold: the end of an
    interval at the rule's one-sided ``confidence``; None where the value itself was. ``muted`` says why nobody is told
    of it at the moment; it is empty where they are. ``timezone`` is the model's, in which people read of it. It speaks
    of all rows, or of those of ``version`` or ``segment``.
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
    newest: Newest | None = None
    version: str | None = None
    segment: Segment | None = None
    docs: str = ""
    """Where its model is documented: the runbook of who is told of it; empty where nobody has said."""

    @property
    def slice(self) -> Slice:
        """Which rows of the windows it speaks of."""
        return Slice(self.version, self.segment)

    @property
    def name(self) -> str:
        """Its rule, and which rows it speaks of where these are not all."""
        return self.slice.titled(self.rule)

    @property
    def latest(self) -> Newest | None:
        """What has become of it while it goes on: the newest window, where that says something else."""
        if self.newest is None or self.status != "firing":
            return None
        return self.newest if (self.newest.window, self.newest.value) != (self.window, self.value) else None


class Point(msgspec.Struct, frozen=True):
    """A measure in one window: where the window ends (event time), the value and its interval, None where unknown."""

    end: datetime
    value: float | None
    low: float | None
    high: float | None


class Notice(msgspec.Struct, frozen=True):
    """One thing that happened to an alert, said at a moment of wall-clock time.

    ``key`` is the same whenever the same thing is sent again. ``recent`` are the measure's last windows, oldest first,
    at most `RECENT_WINDOWS`. ``url`` shows the alert, or is empty. ``told`` is this receiver's last notification of it
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

_LONGEST_NAME = 100
"""Signs of a model's name in a headline: what happened must be seen, too."""

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
    """Put notices, at least one, into one message: the most severe alert first, and else in their order.

    What is over comes in order of time.
    """
    over = all(notice.event is Event.OVER for notice in notices)
    if over:
        notices = sorted(notices, key=lambda notice: notice.alert.span.start)
    notices = sorted(notices, key=lambda notice: _severity_rank(notice.alert.severity))
    first = notices[0]
    title = headline(first.event, first.alert)
    if len(notices) > 1:
        title += f" (and {len(notices) - 1} more)"
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


def headline(event: Event, alert: AlertView) -> str:
    """Say in one line what happened to an alert: its model comes first, so that a list of subjects can be read down."""
    return f"{short(alert.model, _LONGEST_NAME)}: {MARKS[event]}{visible(alert.title)}"


def _text(notice: Notice) -> str:
    _, where, *more = describe_alert(notice.alert)
    where = where.removeprefix(f"{visible(notice.alert.model)}: ")
    if notice.event in (Event.RESOLVED, Event.CORRECTED):
        more = [visible(notice.reason)]
    if notice.event is Event.CORRECTED:
        said = told(notice.alert)
        more.append(visible(f"{notice.alert.measure} was {said.value}; as known now: {said.value_now}"))
    if notice.event is Event.CHANGED:
        more.insert(len(number_lines(notice.alert)), visible(notice.reason))
    if notice.event in GOING_ON and notice.alert.docs:
        more.append(f"Runbook: {visible(notice.alert.docs)}")
    return "\n".join([headline(notice.event, notice.alert), where, *more])


def over_title(alerts: Sequence[AlertView]) -> str:
    """Return one line on alerts of one model, at least one, that began and ended before anybody was notified."""
    first = alerts[0]
    if len(alerts) == 1:
        return headline(Event.OVER, first)
    model = short(first.model, _LONGEST_NAME)
    return f"{model}: {MARKS[Event.OVER]}{len(alerts)} alerts began and ended before they were seen"


def over_text(alerts: Sequence[AlertView]) -> str:
    """Return the same with a line for each alert; what is more than `MOST_LINES` is counted."""
    lines = [over_title(alerts)]
    for alert in alerts[:MOST_LINES]:
        said, where = told(alert), span(alert.span.start, alert.span.end, alert.timezone)
        number = f"{alert.measure} {said.value}{said.interval}, threshold {said.threshold}"
        if alert.measure in (STALENESS, CHANCE):
            [number] = number_lines(alert)
        lines.append(visible(f"{alert.name} ({alert.severity}): {where}: {number}"))
    if len(alerts) > MOST_LINES:
        lines.append(f"and {len(alerts) - MOST_LINES} more")
    return "\n".join(lines)


def _severity_rank(severity: str) -> int:
    known = [one.value for one in Severity]
    return known.index(severity) if severity in known else len(known)


class Told(NamedTuple):
    """The numbers of an alert in words: those that differ have different texts, and the threshold is exact.

    ``interval`` is both ends in brackets behind a blank, empty where one is not known; ``bound`` is what was compared,
    with its level, where the interval holds the threshold. ``latest_interval`` is both.
    """

    value: str
    low: str
    high: str
    value_now: str
    threshold: str
    interval: str
    bound: str
    latest: str
    latest_interval: str


def told(alert: AlertView) -> Told:
    """Say the numbers of an alert, each beside the others; those of a model that nothing arrives of as lengths."""
    latest = alert.latest
    newest = (None,) * 4 if latest is None else (latest.value, latest.low, latest.high, latest.bound)
    values = (alert.value, alert.low, alert.high, alert.value_now, alert.threshold, alert.bound, *newest)
    known = [value for value in values if value is not None and math.isfinite(value)]
    texts = dict(zip(known, _words(alert, known), strict=True))

    def said(value: float | None) -> str:
        return NO_VALUE if value is None else texts.get(value, NO_VALUE)

    def interval(low: float | None, high: float | None) -> str:
        return "" if NO_VALUE in (said(low), said(high)) else f" [{said(low)}, {said(high)}]"

    return Told(
        value=said(alert.value),
        low=said(alert.low),
        high=said(alert.high),
        value_now=said(alert.value_now),
        threshold=said(alert.threshold),
        interval=interval(alert.low, alert.high),
        bound=_bound(alert, (alert.low, alert.high, alert.bound), said(alert.bound)),
        latest=said(newest[0]),
        latest_interval=interval(*newest[1:3]) + _bound(alert, newest[1:], said(newest[3])),
    )


def _words(alert: AlertView, known: Sequence[float]) -> list[str]:
    if alert.measure == STALENESS:
        return list(lengths(*(max(value, 0.0) * 3600 for value in known)))
    texts = list(numbers(*known))
    if not math.isfinite(alert.threshold):
        return texts
    # People know the threshold as they wrote it.
    beside = texts[known.index(alert.threshold)]
    short = beside.rstrip("0").rstrip(".") if "." in beside and "e" not in beside else beside
    as_written = next((text for text in (short, beside) if _reads_as(text, alert.threshold)), exact(alert.threshold))
    return [
        as_written if value == alert.threshold else exact(value) if text == as_written else text
        for value, text in zip(known, texts, strict=True)
    ]


def _reads_as(text: str, number: float) -> bool:
    try:
        return float(text.replace(",", "")) == number
    except ValueError:
        return False


def _bound(alert: AlertView, ends: Sequence[float | None], said: str) -> str:
    """Return what was compared, where people would wonder: the interval that they see holds the threshold."""
    low, high, bound = ends
    if bound is None or alert.confidence is None or low is None or high is None:
        return ""
    if not low <= alert.threshold <= high:
        return ""
    return f", {'upper' if bound < alert.threshold else 'lower'} bound {said} ({level(alert.confidence)})"


def number_lines(alert: AlertView) -> list[str]:
    """Say the number of an alert beside its threshold; and where it goes on, of the newest window, then of the first.

    A model that nothing arrives of has no measure, but a length of time.
    """
    said, latest = told(alert), alert.latest
    if alert.measure == STALENESS:
        return [f"no event for {said.value}, threshold {said.threshold}"]
    if alert.measure == CHANCE:
        return [f"by chance {said.value} times in a budget's period; an alarm is below {said.threshold}"]
    first = f"{alert.measure} {said.value}{said.interval}{said.bound}, n = {alert.n}"
    if latest is None:
        return [f"{first}, threshold {said.threshold}"]
    newest = f"{alert.measure} {said.latest}{said.latest_interval}, n = {latest.n}, threshold {said.threshold}"
    return [newest, f"when it fired, window {_span(alert, alert.window)}: {first}"]


def _span(alert: AlertView, window: Span) -> str:
    return span(window.start, window.end, alert.timezone)


def describe_alert(alert: AlertView) -> list[str]:
    """Say an alert in lines of plain text: title; where and when; number; then what changed and what did not.

    Names and values in it came from strangers: they neither make lines of their own nor act on a terminal.
    """
    window = alert.window if alert.latest is None else alert.latest.window
    sentences = alert.findings.sentences if alert.findings is not None else ()
    where = f"{alert.model}: {alert.rule}: window {_span(alert, window)}"
    return [visible(line) for line in (alert.title, where, *number_lines(alert), *sentences)]
