"""Alertmanager: alerts by its API v2; routing, grouping, silences and repetition are left to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from driftline.alerts.channels.wording import link
from driftline.alerts.message import GOING_ON, Event, Message, Notice, message_of, told
from driftline.outgoing import get, post
from driftline.text import visible

ALIVE_FOR = timedelta(minutes=5)
"""So long Alertmanager takes an alert for firing without hearing of it again."""

OVER_IN = timedelta(minutes=2)
"""So long after it hears of it an alert ends that an Alertmanager was killed with: longer than its usual group_wait."""


class Alertmanager:
    """Posts alerts to an Alertmanager, which has them when it answers 200.

    It forgets alerts when it restarts, and takes for ended what it does not hear of for `ALIVE_FOR`: so `keep` is to be
    called with all firing alerts every minute.

    An Alertmanager that was killed has forgotten, too, whom it told of an alert, and tells nobody of the end of an
    alert that it does not know. So an alert that ended in the meantime is posted as one that fires and is soon over.

    Labels are an alert's identity and never change; what changes stands in annotations.
    """

    def __init__(self, url: str, *, now: Callable[[], datetime]) -> None:
        self._address, self._now = url.rstrip("/"), now
        self._taken_at: datetime | None = None

    def send(self, message: Message) -> None:
        """Post the alerts of a message as they are now, but what is over; raises as `http.post` does."""
        self._post([notice for notice in message.notices if notice.event is not Event.OVER])

    def keep(self, notices: Sequence[Notice]) -> None:
        """Post those alerts again that are firing; nothing is sent where none is. Raises as `http.post` does."""
        self._post([notice for notice in notices if notice.alert.status == "firing"])

    def _post(self, notices: Sequence[Notice]) -> None:
        # The last that is said of an alert holds.
        latest = {notice.alert.id: notice for notice in notices}
        if latest:
            now = self._now()
            forgot = self._forgot if any(_just_ended(notice) for notice in latest.values()) else _nothing
            alerts = [alert_of(notice, now, forgotten=forgot(notice)) for notice in latest.values()]
            post(f"{self._address}/api/v2/alerts", msgspec.json.encode(alerts))
            self._taken_at = now

    @property
    def _forgot(self) -> Callable[[Notice], bool]:
        """Which alerts it was told of before it started."""
        status = get(f"{self._address}/api/v2/status", Status)
        return lambda notice: _just_ended(notice) and (self._taken_at or notice.alert.fired_at) < status.uptime


class Status(msgspec.Struct, frozen=True):
    """What Alertmanager says of itself; ``uptime`` is when it started."""

    uptime: datetime


def _just_ended(notice: Notice) -> bool:
    return notice.alert.status != "firing" and notice.told in GOING_ON


def _nothing(notice: Notice) -> bool:
    return False


def alert_of(notice: Notice, now: datetime, *, forgotten: bool = False) -> dict[str, object]:
    """An alert as Alertmanager takes it; one that ended but was ``forgotten`` has its end ahead."""
    alert = notice.alert
    ends_at = now + ALIVE_FOR if alert.status == "firing" else alert.ended_at or now
    if forgotten:
        ends_at = now + OVER_IN
    said = told(alert)
    annotations = {
        "summary": visible(alert.title),
        "description": message_of([notice], notice.key).text,
        "value": said.value,
        "value_now": said.value_now,
        "threshold": said.threshold,
        "window_start": alert.window.start.isoformat(),
        "window_end": alert.window.end.isoformat(),
        "outcome": alert.status,
        "reason": visible(notice.reason),
        "acknowledged_by": "" if alert.acknowledged is None else alert.acknowledged.by,
    }
    found: dict[str, object] = {
        "labels": {
            "alertname": alert.rule,
            "service": "driftline",
            "severity": alert.severity,
            "model": alert.model,
            "rule": alert.rule,
            "measure": alert.measure,
            "alert_id": alert.id,
        },
        "annotations": {name: text for name, text in annotations.items() if text},
        # Wall-clock time: Alertmanager shows how long ago it was, and an event time may be years ago.
        "startsAt": alert.fired_at,
        # It refuses an end before the start, which a clock that was set back would make.
        "endsAt": max(ends_at, alert.fired_at),
    }
    # One address that it cannot read would make it refuse all alerts of the request.
    return found | ({"generatorURL": url} if (url := link(notice.url)) else {})
