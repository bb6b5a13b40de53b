"""Puts what there is to say of alerts into the outbox: when something happens to one, and as time goes by.

The stages (`driftline.alerts.stages`) decide who is notified; each channel's last notification is stored with it, so
that a restart neither repeats nor forgets anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import quote

import msgspec

from driftline.alerts.channels.alertmanager import ALIVE_FOR
from driftline.alerts.delivery import DIGEST_WAIT
from driftline.alerts.message import GOING_ON, RECENT_WINDOWS, Event, Notice, Point, StepView
from driftline.alerts.options import NotifyConfig
from driftline.alerts.stages import due, explained_because, is_told, rank, silenced_because, wanted
from driftline.alerts.view import OfModel, alert_view, with_its_window
from driftline.monitoring.alerting import AlertEvent
from driftline.rules import ChangeKind
from driftline.store.alerts import AlertRow, TransitionRow
from driftline.store.outbox import Outbox, SilenceRow, ToldRow
from driftline.store.state import State, Work

_MOMENT = timedelta(microseconds=1)
LIVE_WINDOWS = 2
COUNTED_FOR = timedelta(seconds=5)
"""More windows than these do not end in such a time by themselves: history is loaded, or labels of many days came."""

HELD_FOR = timedelta(seconds=1)
HELD_AT_MOST = timedelta(seconds=60)
"""So long what fires is held back after the last of them, and while there is one after the other."""

_EVENTS = {event.value: event for event in Event}


@dataclass(slots=True)
class _Known:
    """What an announcement rests on, within one transaction."""

    work: Work
    outbox: Outbox
    now: datetime
    silences: Sequence[SilenceRow]
    firing: Mapping[str, list[AlertRow]]  # by model, in the order of `rank`: what explains comes first
    told: dict[tuple[str, str], ToldRow] = field(default_factory=dict)
    notified: set[tuple[str, str]] = field(default_factory=set)
    """(channel, alert) of those that go on and of which the channel knows."""

    coming: dict[str, list[AlertRow]] = field(default_factory=dict)
    """By channel: alerts that it is soon notified of, firing or over."""

    @classmethod
    def of(cls, work: Work, now: datetime, alerts: Iterable[str] = ()) -> _Known:
        firing: dict[str, list[AlertRow]] = {}
        for row in sorted(work.alerts.find(status="firing"), key=rank):
            firing.setdefault(row.model, []).append(row)
        outbox = Outbox(work.connection)
        going_on = {row.id for rows in firing.values() for row in rows}
        told = outbox.told({*alerts, *going_on})
        notified = {key for key, row in told.items() if row.alert in going_on and row.event in GOING_ON}
        notified -= outbox.lost(going_on) if notified else set()
        return cls(work, outbox, now, outbox.silences(after=now), firing, told, notified)

    def muted(self, alert: AlertRow, channel: str) -> str:
        """Return why a channel is not notified of a firing alert, in words; empty where it is."""
        if silenced := silenced_because(alert, self.silences, self.now):
            return silenced
        others = self.firing.get(alert.model, ())
        return explained_because(alert, (one for one in others if (channel, one.id) in self.notified))

    def explained(self, over: AlertRow, channel: str) -> str:
        """Return which alert spares a channel one that is over:
        it knows, or will know, of one that went on at that time.
        """
        others = [one for one in self.firing.get(over.model, ()) if (channel, one.id) in self.notified]
        others += self.coming.get(channel, [])
        return explained_because(over, (one for one in others if _overlap(one, over)))

    def event_told(self, channel: str, alert: AlertRow) -> Event | None:
        row = self.told.get((channel, alert.id))
        return None if row is None else _EVENTS[row.event]


def _overlap(one: AlertRow, over: AlertRow) -> bool:
    return one.started_at < over.last_end and (one.status == "firing" or over.started_at < one.last_end)


class NotificationPlanner:
    """Announces alerts to the receivers of a configuration.

    ``base_url`` gives where the page is, for links; empty for none. ``ring`` is called after something was put into the
    outbox.
    """

    def __init__(
        self,
        receivers: Sequence[NotifyConfig],
        base_url: Callable[[], str],
        ring: Callable[[], None],
        models: Mapping[str, OfModel] | None = None,
    ) -> None:
        self._receivers, self._base_url, self._ring = receivers, base_url, ring
        self._models = models or {}
        self._held: dict[str, tuple[datetime, datetime]] = {}  # by model: since when, and when history came last
        self._judged: dict[str, list[tuple[datetime, int]]] = {}  # by model: when how many windows were judged lately
        self._untold: set[str] = set()  # models of which something is held back

    def announce(self, work: Work, events: Sequence[AlertEvent], now: datetime) -> None:
        """Say what happened to alerts, in the transaction in which it happened."""
        if not events:
            return
        known = _Known.of(work, now, (event.alert.id for event in events))
        for event in sorted(events, key=lambda event: rank(event.alert)):
            if event.before is not None:
                self._announce_change(known, event, event.before)
            elif event.alert.status == "firing":
                self._announce_firing(known, event)
            elif event.kind is ChangeKind.RESOLVED and self._is_news(known, event.alert):
                self._announce_over(known, event)
            else:
                self._announce_end(known, event)

    def _announce_firing(self, known: _Known, event: AlertEvent) -> None:
        kind = _EVENTS[event.kind.value]
        wanting = [one for one in self._receivers if self._wants(one, event.alert)]
        muted = {one.name: known.muted(event.alert, one.name) for one in wanting}
        alert = self._mute(known, event.alert, self._nobody(known, event.alert, muted))
        for receiver in wanting:
            if is_told(kind, known.event_told(receiver.name, alert), muted=bool(muted[receiver.name])):
                if self._is_held(alert.model, known.now) and kind is not Event.CHANGED:
                    known.coming.setdefault(receiver.name, []).append(alert)
                    self._untold.add(alert.model)
                else:
                    self._tell(known, receiver, alert, kind, event.reason)

    def _announce_change(self, known: _Known, event: AlertEvent, before: AlertRow) -> None:
        """Say that the rule of an alert that goes on was changed, to those who know of it.

        For those who no longer want it, it is over; and so is what an Alertmanager holds by its old severity.
        """
        over = replace(before, status="resolved", ended_at=known.now)
        for receiver in self._receivers:
            if known.event_told(receiver.name, before) not in GOING_ON:
                continue
            moved = receiver.kind == "alertmanager" and before.severity != event.alert.severity
            if moved or not self._wants(receiver, event.alert):
                self._tell(known, receiver, over, Event.RESOLVED, event.reason)
        self._announce_firing(known, event)

    def _announce_over(self, known: _Known, event: AlertEvent) -> None:
        """Notify once of what was over when it was first seen; pagers are left out."""
        silenced = silenced_because(event.alert, known.silences, known.now)
        if silenced:
            known.work.alerts.add_transition(TransitionRow(event.alert.id, known.now, "muted", silenced))
            return
        for receiver in self._receivers:
            if receiver.digest and self._wants(receiver, event.alert):
                before = known.event_told(receiver.name, event.alert)
                muted = known.explained(event.alert, receiver.name)
                if is_told(Event.OVER, before, muted=bool(muted)):
                    self._tell(known, receiver, event.alert, Event.OVER, event.reason)

    def _announce_end(self, known: _Known, event: AlertEvent) -> None:
        alert = self._mute(known, event.alert, "")
        if (kind := _EVENTS[event.kind.value]) in GOING_ON:
            return  # over when it is first seen: that it ended says all
        for receiver in self._receivers:
            told = known.event_told(receiver.name, alert)  # whoever knows of it hears of its end, by whatever severity
            if (told is not None or self._wants(receiver, alert)) and is_told(kind, told, muted=False):
                self._tell(known, receiver, alert, kind, event.reason)

    def _is_news(self, known: _Known, alert: AlertRow) -> bool:
        """Return whether an alert that is over was told to nobody, although nothing muted it:
        it came and went too fast.
        """
        knowing = [known.event_told(one.name, alert) for one in self._receivers if self._wants(one, alert)]
        return not alert.muted and all(event in (None, Event.CORRECTED) for event in knowing)

    # ---- history --------------------------------------------------------------------------------------------------

    @property
    def holding(self) -> bool:
        """Whether notifications are held back that `tick` will send."""
        return bool(self._held.keys() & self._untold)

    def count(self, model: str, windows: int, now: datetime) -> None:
        """Take note that so many windows were judged for the first time.

        Where that is more than time can bring, history is loaded: what fires is then held back, for it comes in parts,
        and the next may say that it is over.
        """
        lately = [(at, number) for at, number in self._judged.get(model, []) if at <= now < at + COUNTED_FOR]
        self._judged[model] = lately + ([(now, windows)] if windows else [])
        if windows and sum(number for _, number in self._judged[model]) > LIVE_WINDOWS:
            since, _ = self._held.get(model, (now, now))
            self._held[model] = (since, now)

    def _is_held(self, model: str, now: datetime) -> bool:
        since, last = self._held.get(model, (now, now))
        return model in self._held and last <= now < last + HELD_FOR and now < since + HELD_AT_MOST

    def _nobody(self, known: _Known, alert: AlertRow, muted: Mapping[str, str]) -> str:
        """Return why nobody is notified of an alert; empty where somebody is. ``muted`` has who wants it."""
        if muted:
            return next(iter(muted.values())) if all(muted.values()) else ""
        return silenced_because(alert, known.silences, known.now)

    def tick(self, state: State, now: datetime, states: Mapping[str, State] | None = None) -> None:
        """Say what has become due: silences that ended, receivers that are new, alerts that are to be repeated.

        ``states`` are those of the models that this process works on, by their names; None for all models.
        """
        self._held = {model: held for model, held in self._held.items() if self._is_held(model, now)}
        self._untold &= self._held.keys()
        with state.read() as read:
            models = {alert.model for alert, _, _ in self._due(_Known.of(read, now))}
        for model in sorted(models if states is None else models & states.keys()):
            with (state.of(model) if states is None else states[model]).work() as work:
                known = _Known.of(work, now)
                for before, muted, notices in self._due(known):
                    if before.model == model:
                        alert = self._mute(known, before, muted)
                        for receiver, event in notices:
                            self._tell(known, receiver, alert, event, self._why(known, alert, event))
            self._ring()

    def _due(self, known: _Known) -> list[tuple[AlertRow, str, list[tuple[NotifyConfig, Event]]]]:
        """Firing alerts whose muting has changed, or of which somebody is to be notified."""
        found = []
        for alert in (row for model, rows in known.firing.items() if model not in self._held for row in rows):
            muted: dict[str, str] = {}
            notices = []
            for receiver in self._receivers:
                if not self._wants(receiver, alert):
                    continue
                muted[receiver.name] = known.muted(alert, receiver.name)
                row = known.told.get((receiver.name, alert.id))
                event = due(
                    known.event_told(receiver.name, alert),
                    row.at if row is not None else None,
                    known.now,
                    muted=bool(muted[receiver.name]),
                    acknowledged=bool(alert.acknowledged_by),
                    repeat=receiver.repeat,
                )
                if event is not None:
                    notices.append((receiver, event))
                    known.notified.add((receiver.name, alert.id))
            if notices or self._nobody(known, alert, muted) != alert.muted:
                found.append((alert, self._nobody(known, alert, muted), notices))
        return found

    def _why(self, known: _Known, alert: AlertRow, event: Event) -> str:
        """Return why something is due: the rule's own reason where that was held back until now."""
        rows = known.work.alerts.transitions([alert.id]).get(alert.id, [])
        steps = [row for row in rows if row.kind != ChangeKind.UPDATED]
        held = bool(steps) and event is not Event.REPEATED and steps[-1].kind in GOING_ON
        return steps[-1].reason if held else _WHY[event]

    def notices_to_keep(self, state: State, receiver: NotifyConfig, now: datetime) -> list[Notice]:
        """Return what a receiver that forgets has to be sent repeatedly: all firing alerts that it wants, also muted
        ones.

        Those that ended within `ALIVE_FOR` while they were muted are there too, for it hears of their end from nobody
        else. What is about to be told is not: an alert comes by its own message first.
        """
        with state.read() as read:
            ended = read.alerts.ended_after(now - ALIVE_FOR)
            known = _Known.of(read, now, (row.id for row in ended))
            notices = []
            for alert in (row for rows in (*known.firing.values(), ended) for row in rows):
                told = known.event_told(receiver.name, alert)
                if not self._wants(receiver, alert):
                    continue
                muted = known.muted(alert, receiver.name) if alert.status == "firing" else ""
                ended_unheard = alert.ended_at is not None and told is None and alert.ended_at > alert.fired_at
                if told in GOING_ON if alert.status == "firing" and not muted else muted or ended_unheard:
                    row = replace(alert, muted=muted)
                    event = Event.REPEATED if alert.status == "firing" else Event.RESOLVED
                    notices.append(self._notice(known, row, event, _WHY.get(event, ""), now, told))
        return notices

    def _wants(self, receiver: NotifyConfig, alert: AlertRow) -> bool:
        return wanted(alert, receiver.severity, receiver.models)

    def _mute(self, known: _Known, alert: AlertRow, muted: str) -> AlertRow:
        """Store why nobody is notified of an alert, where that has changed."""
        if muted == alert.muted:
            return alert
        kind, reason = ("muted", muted) if muted else ("unmuted", f"no longer muted ({alert.muted})")
        if alert.status == "firing":
            known.work.alerts.add_transition(TransitionRow(alert.id, known.now, kind, reason))
        alert = replace(alert, muted=muted)
        known.work.alerts.put(alert)
        return alert

    def _tell(self, known: _Known, receiver: NotifyConfig, alert: AlertRow, event: Event, reason: str) -> None:
        before = known.told.get((receiver.name, alert.id))
        # A clock that was set back, or stood still, must not give two notices the same key.
        now = known.now if before is None else max(known.now, before.at + _MOMENT)
        notice = self._notice(known, alert, event, reason, now, known.event_told(receiver.name, alert))
        due_at = known.now
        if event is Event.OVER:  # short, for there may be many in a digest, which waits for more of them
            notice = msgspec.structs.replace(
                notice, recent=[], alert=msgspec.structs.replace(notice.alert, findings=None)
            )
            due_at += DIGEST_WAIT
            known.coming.setdefault(receiver.name, []).append(alert)
        known.outbox.add(receiver.name, alert.model, alert.id, msgspec.json.encode(notice), due_at)
        row = ToldRow(receiver.name, alert.id, event.value, now)
        known.outbox.put_told(row)
        known.told[receiver.name, alert.id] = row
        if event in GOING_ON:
            known.notified.add((receiver.name, alert.id))
        else:
            known.notified.discard((receiver.name, alert.id))

    def _notice(
        self, known: _Known, alert: AlertRow, event: Event, reason: str, now: datetime, told: Event | None = None
    ) -> Notice:
        recent = known.work.judgements.newest(alert.model, alert.rule, RECENT_WINDOWS, slice=alert.slice)
        steps = _steps(known.work.alerts.transitions([alert.id]).get(alert.id, []))
        if not steps or (steps[-1].kind, steps[-1].reason) != (event.value, reason):
            steps.append(StepView(now, event.value, reason))
        return Notice(
            event=event,
            key=f"{alert.id}-{event.value}-{now:%Y%m%dT%H%M%S%f}",
            said_at=now,
            reason=reason,
            alert=alert_view(alert, steps, with_its_window(known.work, alert, recent), self._models),
            recent=[Point(one.window_end, one.value, one.low, one.high) for one in recent],
            url=link(self._base_url(), alert.id),
            told=told,
        )


def _steps(rows: Sequence[TransitionRow]) -> list[StepView]:
    """Return all steps of an alert; of those that say how far it reaches, one for each window, only the newest."""
    reaches = ChangeKind.UPDATED.value
    newest = max((place for place, row in enumerate(rows) if row.kind == reaches), default=-1)
    return [
        StepView(row.at, row.kind, row.reason)
        for place, row in enumerate(rows)
        if row.kind != reaches or place == newest
    ]


_WHY = {
    Event.FIRED: "it is firing, and this receiver has not been told",
    Event.REOPENED: "it is firing again, and this receiver has not been told",
    Event.REPEATED: "it is still firing",
}


def link(base_url: str, alert: str) -> str:
    """Return where the page shows an alert; empty without a page."""
    return f"{base_url}/alerts/{quote(alert, safe='')}" if base_url else ""
