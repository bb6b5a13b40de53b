"""The one alert that rests on the clock: nothing arrives of a model any more, so that no window ever closes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from msgspec import structs

from driftline.events import Window
from driftline.monitoring.alerting import STALE_RULE, AlertEvent, fired_alert
from driftline.monitoring.options import ModelConfig
from driftline.rules import AlertSpan, ChangeKind, Rule, Status, Verdict
from driftline.rules import State as VerdictState
from driftline.rules.findings import Findings
from driftline.rules.topic import STALENESS
from driftline.store.alerts import AlertRow, TransitionRow
from driftline.store.state import State, Work
from driftline.text.durations import lengths
from driftline.text.moments import moment

_HOUR = timedelta(hours=1)


def check_arrivals(configs: Iterable[ModelConfig], state: State, now: datetime, started: datetime) -> list[AlertEvent]:
    """Return what has changed about the staleness of models; however many there are, the state is asked twice.

    ``now`` and ``started``, when the service started, are wall-clock time: what did not arrive while nobody could take
    it is not missed, and of a model that never received anything the wait begins at the start. To be stored and
    announced by `store_event`.
    """
    with state.read() as read:
        arrivals = read.models.last_arrivals()
        firing = {row.model: row for row in read.alerts.find(rule=STALE_RULE, status=Status.FIRING.value)}
    found = (_check(one, arrivals.get(one.name), firing.get(one.name), now, started) for one in configs)
    return [event for event in found if event is not None]


def _check(
    config: ModelConfig, last: datetime | None, open_alert: AlertRow | None, now: datetime, started: datetime
) -> AlertEvent | None:
    quiet_since = max(last or started, started)
    stale = config.stale_after is not None and now - quiet_since > config.stale_after
    if open_alert is not None:
        return _moved(config, open_alert, last, now)
    if stale:
        assert config.stale_after is not None
        alert = _alert(config, config.stale_after, last, started, now)
        return AlertEvent(ChangeKind.FIRED, alert, _said(config, last, started))
    return None


def _moved(config: ModelConfig, alert: AlertRow, last: datetime | None, now: datetime) -> AlertEvent | None:
    """Return what has become of an alert that fires; a new start of the service changes nothing about it."""
    ended = replace(alert, status=Status.RESOLVED.value, ended_at=now, last_end=now)
    if config.stale_after is None:
        return AlertEvent(ChangeKind.RESOLVED, ended, "`stale_after` is no longer configured")
    if last is not None and last != alert.started_at:
        return AlertEvent(
            ChangeKind.RESOLVED, ended, f"events arrive again: the newest on {moment(last, config.window.timezone)}"
        )
    threshold = config.stale_after / _HOUR
    if threshold == alert.threshold:
        return None
    before, after = lengths(alert.threshold * 3600, threshold * 3600)
    reason = f"the rule was changed: stale_after {before} → {after}"
    if now - alert.started_at <= config.stale_after:
        return AlertEvent(ChangeKind.RESOLVED, ended, reason)
    return AlertEvent(ChangeKind.CHANGED, replace(alert, threshold=threshold), reason, before=alert)


def _said(config: ModelConfig, last: datetime | None, started: datetime) -> str:
    if last is None:
        return f"nothing has ever arrived, and this service waits since {moment(started, config.window.timezone)}"
    return f"nothing has arrived since {moment(last, config.window.timezone)}"


def store_event(work: Work, event: AlertEvent, now: datetime) -> None:
    """Store the alert and its step."""
    work.alerts.put(event.alert)
    work.alerts.add_transition(TransitionRow(event.alert.id, now, event.kind.value, event.reason))


def _alert(
    config: ModelConfig, stale_after: timedelta, last: datetime | None, started: datetime, now: datetime
) -> AlertRow:
    rule = Rule(STALE_RULE, STALENESS, above=stale_after / _HOUR)
    since = last or started
    said = f"Of {config.name} {_said(config, last, started)}: no window closes, nothing is judged."
    silent = Window(since, now)
    hours = (now - since) / _HOUR
    verdict = Verdict(STALE_RULE, VerdictState.BREACH, hours, None, None, 0, rule.threshold, said)
    span = AlertSpan(rule, silent, silent, None, silent, verdict, worst=structs.replace(verdict, value=None))
    return fired_alert(config.name, span, Findings((), (), (), (said,)), "Model receives no events!", now)
