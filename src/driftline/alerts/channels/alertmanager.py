"""Alertmanager: alerts by its API v2; routing, grouping and repetition are left to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from driftline.alerts.channel import ChannelKind
from driftline.alerts.channels.wording import link, runbook
from driftline.alerts.message import GOING_ON, AlertView, Event, Message, Notice, message_of, told
from driftline.environment import secret
from driftline.errors import RefusedError, UnavailableError
from driftline.fields import Text
from driftline.net.outgoing import delete, get, post
from driftline.text import visible

ALIVE_FOR = timedelta(minutes=5)
"""So long Alertmanager takes an alert for firing without hearing of it again."""

OVER_IN = timedelta(minutes=2)
"""So long after it hears of it an alert ends that an Alertmanager was killed with: longer than its usual group_wait."""


SILENCED_FOR = ALIVE_FOR
"""So long a silence of ours holds there without being prolonged."""

_CREATOR = "Driftline"
_SERVICE = "driftline"
_OURS = f'service="{_SERVICE}"'
"""Alertmanager looks for silences by what they ask of a label, word for word: so all of ours ask for this."""


class Alertmanager:
    """Posts alerts to an Alertmanager, which has them when it answers 200.

    It forgets alerts when it restarts, and takes for ended what it does not hear of for `ALIVE_FOR`: so `keep` is to be
    called with all firing alerts, and those that ended since, twice a minute. Alerts that are muted here are silenced
    there, each by a silence of its own that `keep` makes, prolongs and takes away; left alone it ends by itself.

    An Alertmanager that was killed has also forgotten whom it notified of an alert, and notifies nobody of the end of
    an alert that it does not know. So an alert that ended in the meantime is posted as one that fires and is soon over.

    Labels are an alert's identity and never change; what changes stands in annotations.
    """

    def __init__(self, url: str, *, now: Callable[[], datetime]) -> None:
        self._address, self._now = url.rstrip("/"), now
        self._taken_at: datetime | None = None
        self._silences: dict[str, Silence] | None = None  # by alert; None until it was asked

    def send(self, message: Message) -> None:
        """Post the alerts of a message as they are now, but what is over; raises as `http.post` does."""
        notices = [notice for notice in message.notices if notice.event is not Event.OVER]
        for notice in notices:
            self._lift(notice.alert.id)
        self._post(notices)

    def keep(self, notices: Sequence[Notice]) -> None:
        """Post all alerts again, those that ended with their end; nothing is sent where there is none.

        What is muted is silenced first. Where that cannot be done, alerts of which nobody was notified are not posted,
        and what was raised is raised after the others are. Raises as `http.post` does.
        """
        problem: UnavailableError | None = None
        try:
            self._agree_on_silences(notices)
        except UnavailableError as error:
            problem = error
            notices = [notice for notice in notices if not notice.alert.muted or notice.told in GOING_ON]
        self._post(notices)
        if problem is not None:
            raise problem

    def remember(self) -> bytes:
        """Return when it last took alerts."""
        return msgspec.json.encode(self._taken_at)

    def recall(self, memory: bytes) -> None:
        """Know when it last took alerts."""
        with contextlib.suppress(msgspec.MsgspecError):
            self._taken_at = msgspec.json.decode(memory, type=datetime | None)

    # ---- silences -------------------------------------------------------------------------------------------------

    def _agree_on_silences(self, notices: Sequence[Notice]) -> None:
        """Have exactly the muted ones of these alerts silenced, so that others' silences stay as they are."""
        muted = {notice.alert.id: notice.alert for notice in notices if notice.alert.muted}
        if not muted and (not notices or self._silences == {}):
            return
        self._silences = self._ask_for_silences()
        for notice in notices:
            if notice.alert.id not in muted:
                self._lift(notice.alert.id)
        now = self._now()
        for id, alert in muted.items():
            before = self._silences.get(id)
            if before is None or before.endsAt < now + SILENCED_FOR / 2 or before.comment != _comment(alert):
                post(f"{self._address}/api/v2/silences", msgspec.json.encode(_silence(alert, before, now)))
        self._silences |= {id: self._silences.get(id) or Silence() for id in muted}

    def _ask_for_silences(self) -> dict[str, Silence]:
        """Return the silences of ours that hold there, by the alert that they are for."""
        found = get(f"{self._address}/api/v2/silences?filter={quote(_OURS)}", list[Silence])
        mine = [one for one in found if one.createdBy == _CREATOR and one.status.state != "expired"]
        return {it.value: one for one in mine for it in one.matchers if it.name == "alert_id"}

    def _lift(self, id: str) -> None:
        """Take an alert's silence away, if there is one; before the first `keep` none is known.

        Where that fails the silence stays known, and the next `send` or `keep` tries again.
        """
        silence = (self._silences or {}).get(id)
        if self._silences is None or silence is None:
            return
        if not silence.id:  # it was made without saying its id
            silence = self._ask_for_silences().get(id, silence)
        if silence.id:
            try:
                delete(f"{self._address}/api/v2/silence/{quote(silence.id, safe='')}")
            except RefusedError:  # it is not there any more
                pass
            except UnavailableError:  # it may be over: who asks next for the silences that hold will know
                return
        self._silences.pop(id, None)

    def _post(self, notices: Sequence[Notice]) -> None:
        # The last that is said of an alert holds; one of another severity is another alert there.
        latest = {(notice.alert.id, notice.alert.severity): notice for notice in notices}
        if latest:
            now = self._now()
            forgot = self._forgot if any(_just_ended(notice) for notice in latest.values()) else _nothing
            alerts = [alert_of(notice, now, forgotten=forgot(notice)) for notice in latest.values()]
            post(f"{self._address}/api/v2/alerts", msgspec.json.encode(alerts))
            self._taken_at = now

    @property
    def _forgot(self) -> Callable[[Notice], bool]:
        """Which alerts were posted to it before it started."""
        status = get(f"{self._address}/api/v2/status", Status)
        return lambda notice: _just_ended(notice) and (self._taken_at or notice.alert.fired_at) < status.uptime


class Matcher(msgspec.Struct, frozen=True):
    """What a silence there asks of a label."""

    name: str = ""
    value: str = ""


class SilenceStatus(msgspec.Struct, frozen=True):
    """Whether a silence there holds: pending, active or expired."""

    state: str = ""


class Silence(msgspec.Struct, frozen=True):
    """A silence there, in its own words."""

    id: str = ""
    createdBy: str = ""  # noqa: N815 - as Alertmanager spells it
    comment: str = ""
    startsAt: datetime = datetime(1970, 1, 1, tzinfo=UTC)  # noqa: N815
    endsAt: datetime = datetime(1970, 1, 1, tzinfo=UTC)  # noqa: N815
    matchers: list[Matcher] = []
    status: SilenceStatus = SilenceStatus()


def _silence(alert: AlertView, before: Silence | None, now: datetime) -> dict[str, object]:
    """Return a silence for one alert, or the one that there is with a later end."""
    told = before is not None and bool(before.id)
    found: dict[str, object] = {
        "matchers": [
            {"name": name, "value": value, "isRegex": False, "isEqual": True}
            for name, value in (("service", _SERVICE), ("alert_id", alert.id))
        ],
        # It takes the past for now, and a clock of ours that is ahead must not make it wait.
        "startsAt": before.startsAt if before is not None and told else now - SILENCED_FOR,
        "endsAt": now + SILENCED_FOR,
        "createdBy": _CREATOR,
        "comment": _comment(alert),
    }
    return found | ({"id": before.id} if before is not None and told else {})


def _comment(alert: AlertView) -> str:
    return visible(alert.muted) or "muted"


class Status(msgspec.Struct, frozen=True):
    """What Alertmanager says of itself; ``uptime`` is when it started."""

    uptime: datetime


def _just_ended(notice: Notice) -> bool:
    return notice.alert.status != "firing" and notice.told in GOING_ON


def _nothing(notice: Notice) -> bool:
    return False


def alert_of(notice: Notice, now: datetime, *, forgotten: bool = False) -> dict[str, object]:
    """Return an alert as Alertmanager takes it; one that ended but was ``forgotten`` has its end ahead."""
    alert = notice.alert
    ends_at = now + ALIVE_FOR if alert.status == "firing" else alert.ended_at or now
    if forgotten:
        ends_at = now + OVER_IN
    said = told(alert)
    annotations = {
        "summary": f"{visible(alert.model)}: {visible(alert.title)}",
        "description": message_of([notice], notice.key).text,
        "value": said.value,
        "value_now": said.value_now if alert.latest is None else said.latest,
        "threshold": said.threshold,
        "window_start": alert.window.start.isoformat(),
        "window_end": alert.window.end.isoformat(),
        "outcome": alert.status,
        "reason": visible(notice.reason),
        "runbook_url": runbook(notice),
        "acknowledged_by": "" if alert.acknowledged is None else alert.acknowledged.by,
    }
    found: dict[str, object] = {
        "labels": {
            "alertname": alert.rule,
            "service": _SERVICE,
            "severity": alert.severity,
            "model": alert.model,
            "rule": alert.rule,
            "measure": alert.measure,
            "alert_id": alert.id,
            **{name: text for name, text in alert.slice.labels.items() if text},
        },
        "annotations": {name: text for name, text in annotations.items() if text},
        # Wall-clock time: Alertmanager shows how long ago it was, and an event time may be years ago.
        "startsAt": alert.fired_at,
        # It refuses an end before the start, which a clock that was set back would make.
        "endsAt": max(ends_at, alert.fired_at),
    }
    # One address that it cannot read would make it refuse all alerts of the request.
    return found | ({"generatorURL": url} if (url := link(notice.url)) else {})


def _open(section: Any, now: Callable[[], datetime]) -> Alertmanager:
    return Alertmanager(secret(section.alertmanager), now=now)


KIND = ChannelKind(
    Text,
    _open,
    addresses=("alertmanager",),
    holds=True,
    no_repeat="Alertmanager repeats by its own `repeat_interval`; leave it out",
)
