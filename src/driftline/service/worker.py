"""The worker: takes in what has arrived, judges it model by model, and says what has happened to alerts."""

from __future__ import annotations

import functools
import logging
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from driftline import clock
from driftline.alerts.message import MARKS, Event, describe_alert, over_text
from driftline.alerts.planner import NotificationPlanner
from driftline.alerts.view import alert_view
from driftline.config.load import Config
from driftline.errors import LeaseLostError, StorageError
from driftline.logs import about_model
from driftline.monitoring.alerting import AlertEvent
from driftline.monitoring.clock_jumps import JumpWatch, bring_back, move_along, move_late, moved_along
from driftline.monitoring.draining import drain
from driftline.monitoring.judging import judge_windows, refresh_labels
from driftline.monitoring.model import MonitoredModel, remember_fingerprint, remember_rules
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.staleness import check_arrivals, store_event
from driftline.rules import ChangeKind
from driftline.service.jobs import Pass, Troubles
from driftline.service.keeping import EventKeeper
from driftline.service.leases import Keeper, model_lease
from driftline.service.priority import Senders
from driftline.store.inbox import Inbox
from driftline.store.leases import Fence
from driftline.store.state import State
from driftline.text import visible
from driftline.views.reader import told_of

TIDY_EVERY = timedelta(hours=1)
PUT_OFF = timedelta(minutes=1)
"""As long as no event of a model has waited for longer, requests go before them."""

JUDGE_EVERY_SECONDS = 5.0
"""How long, at most, what was taken in waits to be judged while more of its model waits to be taken in."""

RECEIPTS_KEPT = timedelta(days=7)
"""How long an Idempotency-Key is remembered."""

_A_LITTLE = timedelta(seconds=1)  # by which two clocks may differ over one pass
_RETENTION = "retention"
_BEGINNINGS = (ChangeKind.FIRED, ChangeKind.REOPENED)
_INDENTED: dict[str, Any] = {"initial_indent": "   ", "subsequent_indent": "     "}
_WIDTH = 79  # of lines for people: a terminal has 80 columns
_LOG = logging.getLogger("driftline")


class Worker:
    """Does everything with events and alerts that no request does, each step of it again where it was cut off.

    It works on those of the ``models`` whose leases the ``keeper`` holds. They are replaced in place: ``reopen`` opens
    one that was another's, under the state that it is given; those in ``opened`` need not be. ``ring`` says that the
    outbox has something new; ``tell`` gets a line of text for people whenever something happens to an alert.
    ``started`` is since when the service can take what arrives, and ``stopping`` whether it is to end.
    """

    def __init__(
        self,
        config: Config,
        models: dict[str, MonitoredModel],
        inbox: Inbox,
        state: State,
        announcer: NotificationPlanner,
        *,
        keeper: Keeper,
        opened: Iterable[str],
        reopen: Callable[[str, State], MonitoredModel],
        ring: Callable[[], None],
        tell: Callable[[str], None],
        started: datetime,
        stopping: Callable[[], bool],
        senders: Senders,
    ) -> None:
        self.started, self.caught_up = started, True
        self._config, self._models, self._inbox, self._state = config, models, inbox, state
        self._announcer, self._ring, self._tell, self._stopping = announcer, ring, tell, stopping
        self._keeper, self._reopen, self._senders = keeper, reopen, senders
        self._mine: dict[str, Fence | None] = dict.fromkeys(opened)
        """The models that it works on, with the leases under which they were opened."""
        self._troubles = Troubles(kept="what has arrived is kept; ")
        self._jumps, self._jumped, self._steady = JumpWatch(), timedelta(), clock.steady()
        self._tidied: datetime | None = None
        self._looks: tuple[datetime, datetime] | None = None  # at the clock, the last two, by the steady one
        self._quiet: set[str] = set()
        self._judged: dict[str, float] = {}
        self._unjudged: set[str] = set()
        """When each model was judged last, in seconds that only pass; and of which something was taken in since."""
        self._retention, self._asked, self._keeping = EventKeeper(config), set[str](), False
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
        """Make a pass over the models that it has; the first one of each catches up with what was stored."""
        self._change_hands()
        if not self.caught_up:
            for name in self._mine:
                self.guard(name, functools.partial(self.catch_up, name))
            self.caught_up = True
        arrived = self._arrived()
        for name in [*self._mine]:
            if name in arrived or name not in self._quiet:
                self.guard(name, functools.partial(self.work, name))
        self._keeping = False
        for name in [*self._mine]:
            if name not in self.problems and name not in self._unjudged:  # what goes was measured before
                self.guard(name, functools.partial(self._keep, name), part=_RETENTION)
        self.guard("clock", functools.partial(self.follow_the_clock, self._steady))
        self.guard("alerts", self._look_at_the_clock)
        if self._tidied is None or self._steady() - self._tidied >= TIDY_EVERY:
            self.guard("receipts", functools.partial(self._inbox.forget_receipts, clock.now() - RECEIPTS_KEPT))
            self.guard("copies of runs", functools.partial(self._retention.drop_copies, self._state))
            self._tidied = None if "receipts" in self.problems else self._steady()
        if self._keeping or self._mine.keys() - self._quiet - self.problems.keys():
            return Pass.AGAIN
        if self.problems:
            return Pass.TROUBLED
        return Pass.HOLDING if self._announcer.holding else Pass.DONE

    def guard(self, name: str, step: Callable[[], None], *, part: str = "") -> None:
        """Take a step; trouble with one model must not stop the others. One that is another's by now is no trouble.

        Trouble with a ``part`` of what is done for a model does not stop the rest of it.
        """

        def taken() -> None:
            try:
                if name not in self._models:
                    step()
                else:
                    with self._keeper.using(model_lease(name)) as fence:
                        if name not in self._mine or self._mine[name] == fence:
                            step()
            except LeaseLostError as error:
                _LOG.info("%s", error)
                self._let_go(name)

        with about_model(name if name in self._models else ""):
            self._troubles.guard(_part_of(name, part), taken)

    # ---- which models -----------------------------------------------------------------------------------------------

    def _change_hands(self) -> None:
        """Take over the models whose leases are held since, and let those go that are another's."""
        for name in self._models:
            with suppress(LeaseLostError), self._keeper.using(model_lease(name)) as fence:
                if name in self._mine and self._mine[name] == fence:
                    continue
                self._let_go(name)
                self.guard(name, functools.partial(self.take_over, name, fence))
        for name in self._models:  # with what is wrong with those that were held, and could not be taken over
            if (name in self._mine or name in self.problems) and not self._keeper.held(model_lease(name)):
                self._let_go(name)

    def take_over(self, name: str, fence: Fence | None) -> None:
        """Open a model anew, of which only the database and the log are known to be true, and judge what is stored."""
        self._mine.pop(name, None)
        if fence is not None:
            fence = self._outgrown(name, fence)
            state = self._state.of(name, fence)
            self._models[name] = self._reopen(name, state)
            self._behind.add(name)
            self._quiet.discard(name)
            bring_back(state, name, clock.now())
        self._mine[name] = fence
        if fence is not None and self.caught_up:
            self.catch_up(name)

    def _outgrown(self, name: str, fence: Fence) -> Fence:
        """Return the lease with a token above all that the log has seen: the database may be that of a backup."""
        highest = self._models[name].log.for_readers().highest_token()
        return fence if highest <= fence.token else self._keeper.outgrow(fence, highest)

    def _let_go(self, name: str) -> None:
        """Forget what is known of a model that another process works on."""
        self._mine.pop(name, None)
        self._unjudged.discard(name)
        for trouble in (name, _part_of(name, _RETENTION)):
            self._troubles.words.pop(trouble, None)
        self._state.let_go(name)
        if name in self._models:
            self._models[name] = replace(self._models[name], log=self._models[name].log.for_readers())

    def state_of(self, name: str) -> State:
        """Return the state of a model, to be changed under the lease under which it was opened."""
        return self._state.of(name, self._mine.get(name))

    def _arrived(self) -> set[str]:
        """Return the models that something has arrived of, or that somebody has said something of;
        all where it cannot be asked, so that each says so.
        """
        try:
            with self._state.read() as read:
                self._asked = read.forgettings.waiting_models()
                return self._inbox.waiting_models() | read.feedback.waiting_models()
        except Exception:  # noqa: BLE001 - a damaged file, a full disk: the worker must outlive whatever it is
            return set(self._models)

    # ---- the work on one --------------------------------------------------------------------------------------------

    def work(self, name: str) -> None:
        """Do what there is to do for one model, a bounded number of events: the others have their turn.

        It is judged once nothing more waits, and else every few seconds. It is quiet once there was nothing to take in;
        until something arrives of it there is no more.
        """
        self._quiet.discard(name)
        self._rebuild(name)
        began = clock.worked_seconds()
        try:
            worked = 0 if self._stopping() else drain(self._models[name], self._inbox, self.state_of(name))
        except LeaseLostError:
            raise
        except Exception:
            if name in self._unjudged:  # what was taken in before must not wait until more can be
                self._judge(name)
            raise
        oldest = self._inbox.oldest_of(name) if worked else None
        now = clock.monotonic_seconds()
        due = now - self._judged.get(name, -JUDGE_EVERY_SECONDS) >= JUDGE_EVERY_SECONDS
        if due or oldest is None or name in self.problems:
            self._judge(name)
        else:  # labels that are spread over windows would have each of them profiled again with each batch
            self._unjudged.add(name)
        if worked and (oldest is None or clock.now() - oldest < PUT_OFF):
            self._senders.let_pass(clock.worked_seconds() - began, self._stopping)
        if not worked:
            self._quiet.add(name)

    def _keep(self, name: str) -> None:
        """Delete some of what is too old, or is to be forgotten."""
        self._keeping |= self._retention.step(self._models[name], self.state_of(name), asked=name in self._asked)

    def catch_up(self, name: str) -> None:
        """Judge what was stored, before anything new is taken in."""
        self._rebuild(name)
        self._judge(name)

    def _rebuild(self, name: str) -> None:
        model, state = self._models[name], self.state_of(name)
        if model.rebuild:
            rebuild(model, state)
            remember_fingerprint(model, state)
            self._models[name] = replace(model, rebuild=False, behind=False)

    def _judge(self, name: str) -> None:
        model, state, unread, now = self._models[name], self.state_of(name), None, clock.now()
        try:
            refresh_labels(model, state)
        except LeaseLostError:
            raise
        except StorageError as error:  # the log cannot be read: what needs no more than is known is judged all the same
            unread = error
        count = functools.partial(self._announcer.count, name, now=now)
        if name in self._behind:  # what is not settled is judged as this release and this configuration do it
            with state.work() as work:
                work.windows.assess_all(name)
        events = judge_windows(model, state, now, self._announcer.announce, count)
        if name in self._behind:  # a rule that was changed is told once, whatever there is to tell of the log
            self._models[name] = remember_rules(model, state)
            self._behind.discard(name)
        self._judged[name] = clock.monotonic_seconds()
        self._unjudged.discard(name)
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
            for name in self._mine:
                move_along(self.state_of(name), name, self._jumped, now, within)
            self.started = moved_along(self.started, self._jumped, now, within)
        elif before:  # a batch that came before may have been taken in only now
            for name in self._mine:
                move_late(self.state_of(name), name, before, now, stands - first + _A_LITTLE)

    def _look_at_the_clock(self) -> None:
        """Do what only the passing of time makes due: models that nothing arrives of, silences that end, repeats."""
        now = clock.now()
        configs = [self._config.models[name] for name in self._mine]
        for event in check_arrivals(configs, self._state, now, self.started):
            with self.state_of(event.alert.model).work() as work:
                store_event(work, event, now)
                self._announcer.announce(work, [event], now)
            self._ring()
            self._say(event)
        self._announcer.tick(self._state, now, {name: self.state_of(name) for name in self._mine})

    # ---- telling people ---------------------------------------------------------------------------------------------

    def _say_all(self, events: Sequence[AlertEvent]) -> None:
        over = [event.alert for event in events if event.kind in _BEGINNINGS and event.alert.status != "firing"]
        for event in events:
            if event.alert.id not in {alert.id for alert in over}:
                self._say(event)
        if over:
            views = [alert_view(alert, [], (), told_of(self._config)) for alert in over]
            first, *more = over_text(views).splitlines()
            self._tell("\n".join([first, *(textwrap.fill(line, _WIDTH, **_INDENTED) for line in more)]))

    def _say(self, event: AlertEvent) -> None:
        first, *more = describe_alert(alert_view(event.alert, [], (), told_of(self._config)))
        going_on = event.kind in _BEGINNINGS or event.before is not None
        lines = more if event.kind in _BEGINNINGS else [*more[: 2 if going_on else 1], visible(event.reason)]
        wrapped = (textwrap.fill(line, _WIDTH, **_INDENTED) for line in lines)
        self._tell("\n".join([MARKS[Event(event.kind.value)] + first, *wrapped]))


def _part_of(name: str, part: str) -> str:
    return f"{name}: {part}" if part else name
