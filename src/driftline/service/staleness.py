"""The one alert that rests on the clock: nothing arrives of a model any more, so that no window ever closes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec

from driftline.rules import ChangeKind, Rule, Status
from driftline.rules.findings import Findings
from driftline.rules.topic import STALENESS
from driftline.service.alerting import STALE_RULE, AlertEvent
from driftline.service.config import ModelConfig
from driftline.store.state import AlertRow, State, TransitionRow, Work

_HOUR = timedelta(hours=1)


def check_arrivals(config: ModelConfig, state: State, now: datetime) -> AlertEvent | None:
    """What has changed about a model's staleness; None where nothing has, or nothing ever arrived.

    ``now`` is wall-clock time. To be stored and announced by `store_event`.
    """
    with state.read() as read:
        stored = read.model(config.name)
        open_alert = next(iter(read.alerts(config.name, rule=STALE_RULE, status=Status.FIRING.value)), None)
    last = stored.last_arrival if stored is not None else None
    stale = config.stale_after is not None and last is not None and now - last > config.stale_after
    if open_alert is not None and (not stale or last != open_alert.started_at):
        reason = f"events arrive again: the newest on {last:%Y-%m-%d %H:%M} UTC"
        if config.stale_after is None:
            reason = "`stale_after` is no longer configured"
        ended = replace(open_alert, status=Status.RESOLVED.value, ended_at=now, last_end=now)
        return AlertEvent(ChangeKind.RESOLVED, ended, reason)
    if open_alert is None and stale:
        assert last is not None
        assert config.stale_after is not None
        reason = f"nothing has arrived since {last:%Y-%m-%d %H:%M} UTC"
        return AlertEvent(ChangeKind.FIRED, _alert(config, config.stale_after, last, now), reason)
    return None


def store_event(work: Work, event: AlertEvent, now: datetime) -> None:
    """Store the alert and its step."""
    work.put_alert(event.alert)
    work.add_transition(TransitionRow(event.alert.id, now, event.kind.value, event.reason))


def _alert(config: ModelConfig, stale_after: timedelta, last: datetime, now: datetime) -> AlertRow:
    rule = Rule(STALE_RULE, STALENESS, above=stale_after / _HOUR)
    sentence = (
        f"No event of {config.name} has arrived since {last:%Y-%m-%d %H:%M} UTC: no window closes, nothing is judged."
    )
    return AlertRow(
        id=hashlib.sha256(f"{config.name}\n{STALE_RULE}\n{last.isoformat()}\n{now.isoformat()}".encode()).hexdigest()[
            :16
        ],
        model=config.name,
        rule=STALE_RULE,
        measure=STALENESS,
        severity=rule.severity.value,
        title="Model receives no events!",
        status=Status.FIRING.value,
        started_at=last,
        last_end=now,
        window_start=last,
        window_end=now,
        value=(now - last) / _HOUR,
        low=None,
        high=None,
        n=0,
        threshold=rule.threshold,
        worst=None,
        findings=msgspec.json.encode(Findings((), (), (), (sentence,))),
        fired_at=now,
        ended_at=None,
    )
