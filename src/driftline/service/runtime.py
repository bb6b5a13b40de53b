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
from datetime import timedelta
from pathlib import Path
from typing import IO

import msgspec

from driftline.alerts.channels.webhook import Webhook
from driftline.alerts.delivery import Channel, channels_for, deliver_next
from driftline.errors import StorageError, UsageError
from driftline.rules import ChangeKind
from driftline.service import clock
from driftline.service.alerting import AlertEvent
from driftline.service.config import Config
from driftline.service.ingest import drain
from driftline.service.judging import judge_windows, refresh_labels
from driftline.service.model import open_model, remember_fingerprint
from driftline.service.rebuild import rebuild
from driftline.service.views import StepView, Views, alert_view, describe_alert
from driftline.store.database import open_database
from driftline.store.inbox import Inbox
from driftline.store.state import State, Work

IDLE_SECONDS = 1.0
TIDY_EVERY = timedelta(hours=1)
RECEIPTS_KEPT = timedelta(days=7)
"""How long an Idempotency-Key is remembered."""

AFTER_TROUBLE_SECONDS = 2.0
_WIDTH = 79  # of lines for people: a terminal has 80 columns
_LOG = logging.getLogger("driftline")

_MARKS = {
    ChangeKind.FIRED: "⚠️ Alert: ",
    ChangeKind.REOPENED: "⚠️ Alert, again: ",
    ChangeKind.RESOLVED: "✅ Resolved: ",
    ChangeKind.CORRECTED: "↩️ Corrected: ",
}


class Service:
    """Everything that a running Driftline is made of. `start` begins to work; `stop` ends cleanly.

    ``tell`` gets a line of text for people whenever something happens to an alert.
    """

    def __init__(self, config: Config, tell: Callable[[str], None] = lambda line: None) -> None:
        self.config = config
        self._tell = tell
        self._lock = _lock(Path(config.storage))
        self.inbox = Inbox(open_database(config.database))  # synced: 202 means durable
        self.state = State(open_database(config.database, sync_commits=False))  # done again from inbox and log
        self.models = {name: open_model(one, config, self.state) for name, one in config.models.items()}
        tasks = {name: model.schema.task.value for name, model in self.models.items()}
        self.views = Views(config, tasks, self.state, self.inbox)
        self.problems: dict[str, str] = {}
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._channels: dict[str, Channel] = {}
        self._severities: dict[str, frozenset[str]] = {}
        for index, one in enumerate(config.notify, start=1):
            name = f"webhook-{index}"
            self._channels[name] = Webhook(one.webhook)
            self._severities[name] = frozenset(severity.value for severity in one.severity)
        self._new_messages = {name: threading.Event() for name in self._channels}
        self._threads: list[threading.Thread] = []
        self._passed = False

    @property
    def idle(self) -> bool:
        """Whether everything that was accepted so far is worked in and judged."""
        return self._passed and not self._wake.is_set()

    def start(self) -> None:
        """Start the worker and one delivery thread a channel."""
        self._threads = [threading.Thread(target=self._run_worker, name="driftline-worker")]
        self._threads += [
            threading.Thread(target=self._run_delivery, args=(name,), name=f"driftline-{name}", daemon=True)
            for name in self._channels
        ]
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
        tidied = clock.now() - TIDY_EVERY
        while not self._stopping.is_set():
            self._passed = False  # before the bell is reset: `idle` must not be true in between
            self._wake.clear()
            for name in self.models:
                self._guard(name, functools.partial(self._work, name))
            if (now := clock.now()) - tidied >= TIDY_EVERY:
                self._guard("receipts", functools.partial(self.inbox.forget_receipts, now - RECEIPTS_KEPT))
                tidied = now
            self._passed = not self.problems
            self._wake.wait(AFTER_TROUBLE_SECONDS if self.problems else IDLE_SECONDS)

    def _guard(self, name: str, step: Callable[[], None]) -> None:
        """Take a step; trouble with one model must not stop the others."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever it is: show it, keep the events, try again
            self.problems[name] = f"{type(error).__name__}: {error}"
            _LOG.exception("%s: what has arrived is kept; trying again", name)
        else:
            self.problems.pop(name, None)

    def _work(self, name: str) -> None:
        """Do all that there is to do for one model."""
        model = self.models[name]
        if model.rebuild:
            rebuild(model, self.state)
            remember_fingerprint(model, self.state)
            self.models[name] = model = replace(model, rebuild=False)
        while True:
            worked = 0 if self._stopping.is_set() else drain(model, self.inbox, self.state)
            refresh_labels(model, self.state)
            events = judge_windows(model, self.state, clock.now(), self._announce)
            for event in events:
                self._say(event)
            if not worked:
                return

    def _announce(self, work: Work, event: AlertEvent) -> None:
        """Put a message for each channel that wants it into the outbox."""
        body = msgspec.json.encode(_message(event))
        for channel in channels_for(event.alert.severity, self._severities):
            work.add_notification(channel, event.alert.id, body, clock.now())

    def _say(self, event: AlertEvent) -> None:
        for channel in self._new_messages.values():
            channel.set()
        first, *more = describe_alert(alert_view(event.alert, [], None))
        lines = more if event.kind in (ChangeKind.FIRED, ChangeKind.REOPENED) else [*more[:1], event.reason]
        wrapped = (textwrap.fill(line, _WIDTH, initial_indent="   ", subsequent_indent="     ") for line in lines)
        self._tell("\n".join([_MARKS[event.kind] + first, *wrapped]))

    # ---- deliveries -------------------------------------------------------------------------------------------------

    def _run_delivery(self, name: str) -> None:
        rng = random.Random()
        while not self._stopping.is_set():
            self._new_messages[name].clear()
            try:
                while not self._stopping.is_set() and deliver_next(
                    self.state, name, self._channels[name], clock.now(), rng
                ):
                    pass
            except Exception:  # noqa: BLE001 - a channel must outlive whatever its receiver does
                _LOG.exception("channel %s: trying again", name)
            self._new_messages[name].wait(IDLE_SECONDS)


def _message(event: AlertEvent) -> dict[str, object]:
    view = alert_view(event.alert, [StepView(clock.now(), event.kind.value, event.reason)], None)
    return {
        "version": 1,
        "event": event.kind.value,
        "text": _MARKS[event.kind] + "\n".join(describe_alert(view)),
        "reason": event.reason,
        "alert": view,
    }


def _lock(storage: Path) -> IO[str]:
    """Keep a second service off the same folder: the event log has one writer."""
    try:
        storage.mkdir(parents=True, exist_ok=True)
        lock = (storage / "lock").open("w")
    except OSError as error:
        raise StorageError(f"the folder {storage} cannot be written: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UsageError(f"{storage} is in use by another driftline; stop that one, or use another storage") from error
    return lock
