"""Who is notified of what: silences, inhibition, and the next notification of a channel. Pure functions of what is
known.

An alert is muted by a silence for everybody, and by another firing alert of its model that explains it for those who
were notified of that one. Nobody is notified of the start of an alert that is muted for them. Whoever was notified of
an alert is notified of its end and of its correction, muted or not. When an alert is muted no longer and still firing,
those who do not know of it are notified.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from driftline.alerts.message import GOING_ON, Event
from driftline.rules import Severity
from driftline.rules.topic import Topic, topic_of
from driftline.store.alerts import AlertRow
from driftline.store.outbox import SilenceRow
from driftline.text.moments import moment

MATCHED = ("id", "model", "rule", "measure", "severity", "version", "segment")
"""The fields of an alert that a silence can speak of."""


def matches(patterns: Mapping[str, str], alert: AlertRow) -> bool:
    """Return whether every pattern matches its field;
    ``*`` and ``?`` stand for any text and any character, upper case counts.
    """
    return all(fnmatch.fnmatchcase(getattr(alert, field), pattern) for field, pattern in patterns.items())


def silenced_because(alert: AlertRow, silences: Iterable[SilenceRow], now: datetime) -> str:
    """Return who silenced an alert for everybody, until when and why; empty where nobody did."""
    for silence in silences:
        if silence.starts_at <= now < silence.ends_at and matches(silence.match, alert):
            return f"silenced by {silence.by} until {moment(silence.ends_at)}: {silence.reason}"
    return ""


def explained_because(alert: AlertRow, notified: Iterable[AlertRow]) -> str:
    """Return which alert explains this one to a channel, in words; empty where none does.

    ``notified`` are alerts of its model that the channel was notified of, and that go on as long as this one does.
    """
    explaining = [other for other in notified if _explains(other, alert)]
    if explaining:  # the same one whatever their order, so that the reason does not change for nothing
        return f"{min(explaining, key=rank).name} is firing too, and explains it"
    return ""


def rank(alert: AlertRow) -> tuple[int, int, str]:
    """Return the place of an alert among others: what explains comes before what is explained."""
    return topic_of(alert.measure).rank, Severity(alert.severity).rank, alert.id


def _explains(one: AlertRow, other: AlertRow) -> bool:
    """Faults of the pipeline explain drift, bad performance explains drift, a graver alert a lesser on the measure.

    A lesser alert explains nothing: who takes it for a note would miss the graver one. Nor does one of a segment or a
    version, but of that same one.
    """
    if not one.slice.covers(other.slice):
        return False
    if one.model != other.model or Severity(one.severity).rank > Severity(other.severity).rank:
        return False
    if one.measure == other.measure:
        return one.severity != other.severity
    return topic_of(other.measure) is Topic.DRIFT and topic_of(one.measure) in (Topic.PIPELINE, Topic.PERFORMANCE)


def is_told(event: Event, told: Event | None, *, muted: bool) -> bool:
    """Return whether a channel is notified of this event; ``told`` is its last notification of the alert, or None."""
    if event is Event.RESOLVED:
        return told in GOING_ON
    if event is Event.CHANGED:
        return told in GOING_ON and not muted
    if event is Event.OVER:  # whoever was told that it was not true has to know that it was
        return told in (None, Event.CORRECTED) and not muted
    if event is Event.CORRECTED:
        return told is not None and told is not Event.CORRECTED
    return not muted


def due(
    told: Event | None,
    told_at: datetime | None,
    now: datetime,
    *,
    muted: bool,
    acknowledged: bool,
    repeat: timedelta | None,
) -> Event | None:
    """Return what a channel is notified of a firing alert to which nothing has happened, if anything.

    It is notified of an alert that it does not know of, and again after ``repeat``, unless it was acknowledged.
    """
    if muted:
        return None
    if told not in GOING_ON:
        return Event.FIRED if told is None else Event.REOPENED
    if repeat is not None and not acknowledged and told_at is not None and now - told_at >= repeat:
        return Event.REPEATED
    return None


def wanted(alert: AlertRow, severities: Sequence[Severity], models: Sequence[str]) -> bool:
    """Return whether a channel wants alerts of this severity and model; ``models`` are patterns, empty for all."""
    return alert.severity in severities and (
        not models or any(fnmatch.fnmatchcase(alert.model, pattern) for pattern in models)
    )
