"""The composition root: builds a service from its configuration, and runs its worker and its deliveries."""

from __future__ import annotations

import fcntl
import functools
import logging
import random
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from driftline import clock
from driftline.alerts.channel import Channel
from driftline.alerts.channels.alertmanager import Alertmanager
from driftline.alerts.delivery import Outcome, deliver_next, wait_seconds
from driftline.alerts.message import MARKS, Event, describe_alert, over_text
from driftline.alerts.planner import Announcer
from driftline.alerts.receivers import open_channel
from driftline.alerts.view import alert_view
from driftline.config.load import Config
from driftline.environment import secret
from driftline.errors import DriftlineError, InUseError, StorageError, UnavailableError, panics_as_errors
from driftline.exporters.remote_write import RemoteWriter
from driftline.monitoring.agreement import agree
from driftline.monitoring.alerting import AlertEvent, end_orphans
from driftline.monitoring.clock_jumps import JumpWatch, bring_back, move_along, move_late, moved_along
from driftline.monitoring.draining import drain
from driftline.monitoring.guesses import guesses_of
from driftline.monitoring.judging import judge_windows, refresh_labels
from driftline.monitoring.model import open_models, remember_fingerprint, remember_rules
from driftline.monitoring.pushing import push_windows
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.staleness import check_arrivals, store_event
from driftline.retrain.controller import open_loop, open_registry
from driftline.retrain.webhook import Teller
from driftline.rules import ChangeKind
from driftline.service.trouble import in_words
from driftline.store.database import open_database
from driftline.store.durable import make_folder
from driftline.store.inbox import Inbox
from driftline.store.outbox import Outbox
from driftline.store.state import State
from driftline.text import cause, visible
from driftline.views.reader import Views, timezones_of

IDLE_SECONDS = 1.0
HOLDING_SECONDS = 0.25
"""How long the worker rests, and how long while something that fires is held back because history is loaded."""

TIDY_EVERY = timedelta(hours=1)
KEEP_EVERY = timedelta(seconds=30)
"""How often Alertmanager is reminded: it forgets alerts when it restarts, and ends those that it hears no more of."""

RECEIPTS_KEPT = timedelta(days=7)
"""How long an Idempotency-Key is remembered."""

AFTER_TROUBLE_SECONDS = 2.0
_A_LITTLE = timedelta(seconds=1)  # by which two clocks may differ over one pass
_BEGINNINGS = (ChangeKind.FIRED, ChangeKind.REOPENED)
_INDENTED: dict[str, Any] = {"initial_indent": "   ", "subsequent_indent": "     "}
_WIDTH = 79  # of lines for people: a terminal has 80 columns
_LOG = logging.getLogger("driftline")


class Service:
    """Everything that a running Driftline is made of. `start` begins to work; `stop` ends cleanly.

    ``tell`` gets a line of text for people whenever something happens to an alert. ``accept_loss`` is a model whose log
    has lost rows, and which goes on with those that are left.
    """

    def __init__(
        self, config: Config, tell: Callable[[str], None] = lambda line: None, *, accept_loss: str | None = None
    ) -> None:
        self.config = config
        self._tell = tell
        self._lock = _lock(Path(config.storage))
        try:
            self.inbox = Inbox(open_database(config.database))  # synced: 202 means durable
            self.state = State(open_database(config.database, sync_commits=False))  # done again from inbox and log
            self.models = {
                name: agree(one, self.state, accept_loss=name == accept_loss)
                for name, one in open_models(config.models, Path(config.storage), self.state).items()
            }
        except BaseException:
            self._lock.close()  # whoever mends what is wrong may start again
            raise
        self.tasks = {name: model.schema.task.value for name, model in self.models.items()}
        self.guesses = {name: guesses_of(one.config, one.schema, one.reference) for name, one in self.models.items()}
        self.views = Views(config, self.tasks, self.state, self.inbox, self.guesses)
        self.problems: dict[str, str] = {}
        self._wake, self._stopping = threading.Event(), threading.Event()
        self.started = clock.now()
        """Since when this service can take what arrives, wall-clock time."""

        self.address = ""
        """Where the service can be reached, once it listens; links lead there unless `url` is configured."""
        self._channels: dict[str, Channel] = {}  # opened at the start: only then have its secrets to be there
        self._receivers = {one.name: one for one in config.notify}
        self._announcer = Announcer(config.notify, lambda: config.url or self.address, self._ring, timezones_of(config))
        self._new_messages = {name: threading.Event() for name in self._receivers}
        self._tellers: dict[str, Teller] = {}  # opened at the start, as channels are
        self._loop_trouble: dict[str, str] = {}
        self.loop = open_loop(
            config.retrain,
            self.models,
            self.state,
            open_registry(config.registry, Path(config.storage)),
            Path(config.storage) / "runs",
            lambda line: tell(visible(line)),
            lambda: config.url or self.address,
        )
        self._threads: list[threading.Thread] = []
        self._passed, self._caught_up = False, True
        self._jumps, self._jumped = JumpWatch(), timedelta()
        self._looks: tuple[datetime, datetime] | None = None  # at the clock, the last two, by the steady one
        self._quiet: set[str] = set()
        self._behind = set(self.models)  # whose stored windows this release and these rules have yet to judge

    @property
    def caught_up(self) -> bool:
        """Whether what was stored at the start has been judged: until then windows may be missing from the answers."""
        return self._caught_up

    @property
    def warnings(self) -> dict[str, str]:
        """What is worth knowing and keeps nothing from being worked in, in words."""
        return {"clock": self._jumps.words} if self._jumps.words else {}

    @property
    def idle(self) -> bool:
        """Whether everything that was accepted so far is worked in and judged, and what fires is on its way."""
        return not self._wake.is_set() and self._passed  # in this order: the worker takes them back in the other one

    def start(self) -> None:
        """Start the worker and one delivery thread a channel."""
        self.started = clock.now()
        self._channels = {name: open_channel(one, clock.now) for name, one in self._receivers.items()}
        for name, one in self.config.retrain.items():
            if (tell := one.tell) is not None:
                key = "" if tell.secret is None else secret(tell.secret)
                self._tellers[name] = Teller(secret(tell.url), key, self.state, self.loop.folder, clock.now)
        bring_back(self.state, self.models, clock.now())
        with self.state.work() as work:
            Outbox(work.connection).forget_orphans(self._channels)
            known = {name: {rule.name for rule in one.rules} for name, one in self.config.models.items()}
            self._announcer.announce(work, end_orphans(work, known, clock.now()), clock.now())
        self._threads = [threading.Thread(target=self._run_worker, name="driftline-worker")]
        self._threads += [
            threading.Thread(target=self._run_delivery, args=(name,), name=f"driftline-{name}", daemon=True)
            for name in self._channels
        ]
        if self.config.prometheus.remote_write is not None:
            writer = RemoteWriter(secret(self.config.prometheus.remote_write))
            run = functools.partial(self._run_remote_write, writer)
            self._threads.append(threading.Thread(target=run, name="driftline-remote-write", daemon=True))
        if self.config.retrain:
            self._threads.append(threading.Thread(target=self._run_loop, name="driftline-retrain"))
        self._caught_up = False
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that the inbox has something new."""
        self._wake.set()

    def stop(self) -> None:
        """End the worker after the batch it is at; what waits in inbox and outbox is done after the next start."""
        self._stopping.set()
        self._wake.set()
        for event in self._new_messages.values():
            event.set()
        for thread in self._threads:
            if not thread.daemon:
                thread.join()
        self._lock.close()

    # ---- worker -----------------------------------------------------------------------------------------------------

    def _run_worker(self) -> None:
        steady = clock.steady()
        tidied, self._looks = steady() - TIDY_EVERY, (steady(), steady())
        for name in self.models:
            self._guard(name, functools.partial(self._catch_up, name))
        self._caught_up = True
        while not self._stopping.is_set():
            self._passed = False  # before the bell is reset: `idle` must not be true in between
            self._wake.clear()
            arrived = self._arrived()
            for name in self.models:
                if name in arrived or name not in self._quiet:
                    self._guard(name, functools.partial(self._work, name))
            self._guard("clock", functools.partial(self._follow_the_clock, steady))
            self._guard("alerts", self._look_at_the_clock)
            if (now := steady()) - tidied >= TIDY_EVERY:
                self._guard("receipts", functools.partial(self.inbox.forget_receipts, clock.now() - RECEIPTS_KEPT))
                tidied = now
            self._passed = not self.problems and not self._announcer.holding
            rest = HOLDING_SECONDS if self._announcer.holding else IDLE_SECONDS
            self._wake.wait(AFTER_TROUBLE_SECONDS if self.problems else rest)

    def _guard(self, name: str, step: Callable[[], None]) -> None:
        """Take a step; trouble with one model must not stop the others."""
        try:
            with panics_as_errors():
                step()
        except (StorageError, OSError, sa.exc.OperationalError) as error:  # of the surroundings: it needs no trace
            self.problems[name] = in_words(error)
            _LOG.warning("%s: %s; what has arrived is kept; trying again", name, self.problems[name])
        except Exception as error:  # noqa: BLE001 - whatever it is: show it, keep the events, try again
            self.problems[name] = in_words(error)
            if type(error) is sa.exc.DatabaseError:  # none of its kinds: the file is damaged, which needs no trace
                _LOG.warning("%s: %s; what has arrived is kept; trying again", name, self.problems[name])
            else:
                _LOG.exception("%s: what has arrived is kept; trying again", name)
        else:
            self.problems.pop(name, None)

    def _arrived(self) -> set[str]:
        """The models that something has arrived of; all where the inbox cannot be asked, so that each says so."""
        try:
            return self.inbox.waiting_models()
        except Exception:  # noqa: BLE001 - a damaged file, a full disk: the worker must outlive whatever it is
            return set(self.models)

    def _work(self, name: str) -> None:
        """Do all that there is to do for one model; until something arrives of it there is no more."""
        self._quiet.discard(name)
        self._rebuild(name)
        worked = 1
        while worked:
            worked = 0 if self._stopping.is_set() else drain(self.models[name], self.inbox, self.state)
            self._judge(name)
        self._quiet.add(name)

    def _catch_up(self, name: str) -> None:
        """Judge what was stored, before anything new is worked in."""
        self._rebuild(name)
        self._judge(name)

    def _rebuild(self, name: str) -> None:
        model = self.models[name]
        if model.rebuild:
            rebuild(model, self.state)
            remember_fingerprint(model, self.state)
            self.models[name] = replace(model, rebuild=False, behind=False)

    def _judge(self, name: str) -> None:
        model, unread, now = self.models[name], None, clock.now()
        try:
            refresh_labels(model, self.state)
        except StorageError as error:  # the log cannot be read: what needs no more than is known is judged all the same
            unread = error
        count = functools.partial(self._announcer.count, name, now=now)
        if name in self._behind:  # what is not settled is judged as this release and this configuration do it
            with self.state.work() as work:
                work.assess_all(name)
        events = judge_windows(model, self.state, now, self._announcer.announce, count)
        if name in self._behind:  # a rule that was changed is told once, whatever there is to tell of the log
            self.models[name] = remember_rules(model, self.state)
            self._behind.discard(name)
        if events:
            self._ring()
        over = [event.alert for event in events if event.kind in _BEGINNINGS and event.alert.status != "firing"]
        for event in events:
            if event.alert.id not in {alert.id for alert in over}:
                self._say(event)
        if over:
            views = [alert_view(alert, [], (), timezones_of(self.config)) for alert in over]
            first, *more = over_text(views).splitlines()
            self._tell("\n".join([first, *(textwrap.fill(line, _WIDTH, **_INDENTED) for line in more)]))
        if unread is not None:
            raise unread
        model.log.require_undamaged()

    def _follow_the_clock(self, steady: Callable[[], datetime]) -> None:
        """Go along with a clock that jumps: no span becomes longer or shorter by that."""
        now, stands, before = clock.now(), steady(), self._jumped
        first, last = self._looks or (stands, stands)
        self._looks = (last, stands)
        self._jumped = self._jumps.jump(now, stands)
        if self._jumped:
            _LOG.warning("%s", self._jumps.words or "the clock is back where it was at the start")
            within = stands - last + _A_LITTLE
            move_along(self.state, self.models, self._jumped, now, within)
            self.started = moved_along(self.started, self._jumped, now, within)
        elif before:  # a batch that came before may have been worked in only now
            move_late(self.state, self.models, before, now, stands - first + _A_LITTLE)

    def _look_at_the_clock(self) -> None:
        """Do what only the passing of time makes due: models that nothing arrives of, silences that end, repeats."""
        now = clock.now()
        for event in check_arrivals(self.config.models.values(), self.state, now, self.started):
            with self.state.work() as work:
                store_event(work, event, now)
                self._announcer.announce(work, [event], now)
            self._ring()
            self._say(event)
        self._announcer.tick(self.state, now)

    def _ring(self) -> None:
        """Say that the outbox has something new."""
        for event in self._new_messages.values():
            event.set()

    def _say(self, event: AlertEvent) -> None:
        first, *more = describe_alert(alert_view(event.alert, [], (), timezones_of(self.config)))
        going_on = event.kind in _BEGINNINGS or event.before is not None
        lines = more if event.kind in _BEGINNINGS else [*more[: 2 if going_on else 1], visible(event.reason)]
        wrapped = (textwrap.fill(line, _WIDTH, **_INDENTED) for line in lines)
        self._tell("\n".join([MARKS[Event(event.kind.value)] + first, *wrapped]))

    def _run_loop(self) -> None:
        while not self._stopping.is_set():
            moved = False
            for name in self.models:
                try:
                    with panics_as_errors():
                        moved |= self.loop.step(name, clock.now())
                        if name in self._tellers:
                            self._tellers[name].tell(name)
                    self._loop_trouble.pop(name, None)
                except DriftlineError as error:
                    if self._loop_trouble.get(name) != str(error):  # each is told once, not once a second
                        _LOG.warning("retraining %s: %s; trying again", name, error)
                    self._loop_trouble[name] = str(error)
                except Exception:  # noqa: BLE001 - trouble with one model must not stop the others
                    _LOG.exception("retraining %s: trying again", name)
            if not moved:
                self._stopping.wait(IDLE_SECONDS)

    # ---- deliveries -------------------------------------------------------------------------------------------------

    def _run_delivery(self, name: str) -> None:
        rng, steady = random.Random(), clock.steady()
        unreached, kept = 0, None
        while not self._stopping.is_set():
            self._new_messages[name].clear()
            outcome = Outcome()
            try:
                with panics_as_errors():
                    outcome = deliver_next(self.state, name, self._channels[name], clock.now, rng)
                    if kept is None or steady() - kept >= KEEP_EVERY:
                        kept = steady()
                        self._keep(name)
            except UnavailableError as error:
                _LOG.warning("channel %s: %s; trying again", name, error)
            except Exception:  # noqa: BLE001 - a channel must outlive whatever its receiver does
                _LOG.exception("channel %s: trying again", name)
                outcome = Outcome(reached=False)
            unreached = 0 if outcome.reached else unreached + 1
            if unreached:
                self._stopping.wait(wait_seconds(unreached, rng))
            elif not outcome.tried:
                self._new_messages[name].wait(IDLE_SECONDS)

    def _run_remote_write(self, writer: RemoteWriter) -> None:
        rng = random.Random()
        failures = 0
        while not self._stopping.is_set():
            pushed = 0
            try:
                with panics_as_errors():
                    pushed = push_windows(self.models, self.state, writer)
                failures = 0
            except UnavailableError as error:
                failures += 1
                _LOG.warning("remote write: %s; trying again", error)
            except Exception:  # noqa: BLE001 - it must outlive whatever the receiver does
                failures += 1
                _LOG.exception("remote write: trying again")
            if not pushed:
                self._stopping.wait(wait_seconds(failures, rng) if failures else IDLE_SECONDS)

    def _keep(self, name: str) -> None:
        """Remind a receiver that forgets of the alerts that are firing, and of which of them nobody is to be told."""
        channel = self._channels[name]
        if isinstance(channel, Alertmanager):
            channel.keep(self._announcer.notices_to_keep(self.state, self._receivers[name], clock.now()))


def _lock(storage: Path) -> IO[str]:
    """Keep a second service off the same folder: the event log has one writer."""
    try:
        make_folder(storage.absolute())
        lock = (storage / "lock").open("w")
    except OSError as error:
        raise StorageError(f"the folder {storage} cannot be written: {cause(error)}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise InUseError(f"{storage} is in use by another driftline; stop that one, or use another storage") from error
    return lock
