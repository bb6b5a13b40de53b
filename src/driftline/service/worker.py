"""The worker: takes in what has arrived, judges it model by model, and says what has happened to alerts."""

from __future__ import annotations

import functools
import logging
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from driftline import clock
from driftline.alerts.message import MARKS, Event, describe_alert, over_text
from driftline.alerts.planner import NotificationPlanner
from driftline.alerts.view import alert_view
from driftline.config.load import Config
from driftline.errors import StorageError
from driftline.logs import about_model
from driftline.monitoring.alerting import AlertEvent
from driftline.monitoring.clock_jumps import JumpWatch, move_along, move_late, moved_along
from driftline.monitoring.draining import drain
from driftline.monitoring.judging import judge_windows, refresh_labels
from driftline.monitoring.model import MonitoredModel, remember_fingerprint, remember_rules
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.staleness import check_arrivals, store_event
from driftline.rules import ChangeKind
from driftline.service.jobs import Pass, Troubles
from driftline.store.inbox import Inbox
from driftline.store.state import State
from driftline.text import visible
from driftline.views.reader import timezones_of

TIDY_EVERY = timedelta(hours=1)
RECEIPTS_KEPT = timedelta(days=7)
"""How long an Idempotency-Key is remembered."""

_A_LITTLE = timedelta(seconds=1)  # by which two clocks may differ over one pass
_BEGINNINGS = (ChangeKind.FIRED, ChangeKind.REOPENED)
_INDENTED: dict[str, Any] = {"initial_indent": "   ", "subsequent_indent": "     "}
_WIDTH = 79  # of lines for people: a terminal has 80 columns
_LOG = logging.getLogger("driftline")


class Worker:
    """Does everything with events and alerts that no request does, each step of it again where it was cut off.

    ``models`` are replaced in place as they change. ``ring`` says that the outbox has something new; ``tell`` gets a
    line of text for people whenever something happens to an alert. ``started`` is since when the service can take what
    arrives, and ``stopping`` whether it is to end.
    """

    def __init__(
        self,
        config: Config,
        models: dict[str, MonitoredModel],
        inbox: Inbox,
        state: State,
        announcer: NotificationPlanner,
        *,
        ring: Callable[[], None],
        tell: Callable[[str], None],
        started: datetime,
        stopping: Callable[[], bool],
    ) -> None:
        self.started, self.caught_up = started, True
        self._config, self._models, self._inbox, self._state = config, models, inbox, state
        self._announcer, self._ring, self._tell, self._stopping = announcer, ring, tell, stopping
        self._troubles = Troubles(kept="what has arrived is kept; ")
        self._jumps, self._jumped, self._steady = JumpWatch(), timedelta(), clock.steady()
        self._tidied: datetime | None = None
        self._looks: tuple[datetime, datetime] | None = None  # at the clock, the last two, by the steady one
        self._quiet: set[str] = set()
        self._behind = set(models)  # whose stored windows this release and these rules have yet to judge

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with models, or other parts, and keeps them from being processed, in words."""
        return self._troubles.words

    @property
    def warnings(self) -> dict[str, str]:
        """What is worth knowing and keeps nothing from being processed, in words."""
        return {"clock": self._jumps.words} if self._jumps.words else {}

    def step(self) -> Pass:
        """Make a pass over all models; the first one catches up with what was stored."""
        if not self.caught_up:
            for name in self._models:
                self.guard(name, functools.partial(self.catch_up, name))
            self.caught_up = True
        arrived = self._arrived()
        for name in self._models:
            if name in arrived or name not in self._quiet:
                self.guard(name, functools.partial(self.work, name))
        self.guard("clock", functools.partial(self.follow_the_clock, self._steady))
        self.guard("alerts", self._look_at_the_clock)
        if self._tidied is None or self._steady() - self._tidied >= TIDY_EVERY:
            self.guard("receipts", functools.partial(self._inbox.forget_receipts, clock.now() - RECEIPTS_KEPT))
            self._tidied = None if "receipts" in self.problems else self._steady()
        if self._models.keys() - self._quiet - self.problems.keys():
            return Pass.AGAIN
        if self.problems:
            return Pass.TROUBLED
        return Pass.HOLDING if self._announcer.holding else Pass.DONE

    def guard(self, name: str, step: Callable[[], None]) -> None:
        """Take a step; trouble with one model must not stop the others."""
        with about_model(name if name in self._models else ""):
            self._troubles.guard(name, step)

    def _arrived(self) -> set[str]:
        """Return the models that something has arrived of, or that somebody has said something of;
        all where it cannot be asked, so that each says so.
        """
        try:
            with self._state.read() as read:
                return self._inbox.waiting_models() | read.feedback.waiting_models()
        except Exception:  # noqa: BLE001 - a damaged file, a full disk: the worker must outlive whatever it is
            return set(self._models)

    def work(self, name: str) -> None:
        """Do what there is to do for one model, a bounded number of events: the others have their turn.

        It is quiet once there was nothing to take in; until something arrives of it there is no more.
        """
        self._quiet.discard(name)
        self._rebuild(name)
        worked = 0 if self._stopping() else drain(self._models[name], self._inbox, self._state)
        self._judge(name)
        if not worked:
            self._quiet.add(name)

    def catch_up(self, name: str) -> None:
        """Judge what was stored, before anything new is taken in."""
        self._rebuild(name)
        self._judge(name)

    def _rebuild(self, name: str) -> None:
        model = self._models[name]
        if model.rebuild:
            rebuild(model, self._state)
            remember_fingerprint(model, self._state)
            self._models[name] = replace(model, rebuild=False, behind=False)

    def _judge(self, name: str) -> None:
        model, unread, now = self._models[name], None, clock.now()
        try:
            refresh_labels(model, self._state)
        except StorageError as error:  # the log cannot be read: what needs no more than is known is judged all the same
            unread = error
        count = functools.partial(self._announcer.count, name, now=now)
        if name in self._behind:  # what is not settled is judged as this release and this configuration do it
            with self._state.work() as work:
                work.windows.assess_all(name)
        events = judge_windows(model, self._state, now, self._announcer.announce, count)
        if name in self._behind:  # a rule that was changed is told once, whatever there is to tell of the log
            self._models[name] = remember_rules(model, self._state)
            self._behind.discard(name)
        if events:
            self._ring()
        self._say_all(events)
        if unread is not None:
            raise unread
        model.log.require_undamaged()

    def follow_the_clock(self, steady: Callable[[], datetime]) -> None:
        """Go along with a clock that jumps: no span becomes longer or shorter by that."""
        now, stands, before = clock.now(), steady(), self._jumped
        first, last = self._looks or (stands, stands)
        self._looks = (last, stands)
        self._jumped = self._jumps.jump(now, stands)
        if self._jumped:
            _LOG.warning("%s", self._jumps.words or "the clock is back where it was at the start")
            within = stands - last + _A_LITTLE
            move_along(self._state, self._models, self._jumped, now, within)
            self.started = moved_along(self.started, self._jumped, now, within)
        elif before:  # a batch that came before may have been taken in only now
            move_late(self._state, self._models, before, now, stands - first + _A_LITTLE)

    def _look_at_the_clock(self) -> None:
        """Do what only the passing of time makes due: models that nothing arrives of, silences that end, repeats."""
        now = clock.now()
        for event in check_arrivals(self._config.models.values(), self._state, now, self.started):
            with self._state.work() as work:
                store_event(work, event, now)
                self._announcer.announce(work, [event], now)
            self._ring()
            self._say(event)
        self._announcer.tick(self._state, now)

    # ---- telling people ---------------------------------------------------------------------------------------------

    def _say_all(self, events: Sequence[AlertEvent]) -> None:
        over = [event.alert for event in events if event.kind in _BEGINNINGS and event.alert.status != "firing"]
        for event in events:
            if event.alert.id not in {alert.id for alert in over}:
                self._say(event)
        if over:
            views = [alert_view(alert, [], (), timezones_of(self._config)) for alert in over]
            first, *more = over_text(views).splitlines()
            self._tell("\n".join([first, *(textwrap.fill(line, _WIDTH, **_INDENTED) for line in more)]))

    def _say(self, event: AlertEvent) -> None:
        first, *more = describe_alert(alert_view(event.alert, [], (), timezones_of(self._config)))
        going_on = event.kind in _BEGINNINGS or event.before is not None
        lines = more if event.kind in _BEGINNINGS else [*more[: 2 if going_on else 1], visible(event.reason)]
        wrapped = (textwrap.fill(line, _WIDTH, **_INDENTED) for line in lines)
        self._tell("\n".join([MARKS[Event(event.kind.value)] + first, *wrapped]))
