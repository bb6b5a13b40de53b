"""The composition root: builds a service from its configuration, and runs its jobs. Nothing is decided here."""

from __future__ import annotations

import fcntl
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import IO

from driftline import clock
from driftline.alerts.message import Notice
from driftline.alerts.planner import NotificationPlanner
from driftline.alerts.receivers import open_channel
from driftline.config.load import Config
from driftline.environment import secret
from driftline.errors import InUseError, StorageError
from driftline.exporters.remote_write import RemoteWriter
from driftline.monitoring.agreement import agree
from driftline.monitoring.alerting import end_orphans, names_of_rules
from driftline.monitoring.clock_jumps import bring_back
from driftline.monitoring.guesses import guesses_of
from driftline.monitoring.model import open_models
from driftline.retrain.controller import open_controller, open_registry
from driftline.retrain.kept import Runs
from driftline.retrain.webhook import RetrainingWebhook
from driftline.service.jobs import Job
from driftline.service.steps import Deliveries, Retraining, push
from driftline.service.worker import Worker
from driftline.store.database import claim, open_database
from driftline.store.durable import make_folder
from driftline.store.inbox import Inbox
from driftline.store.outbox import Outbox
from driftline.store.state import State
from driftline.text import cause, visible
from driftline.views.reader import Views, timezones_of


class Service:
    """Everything that a running Driftline is made of. `start` begins to work; `stop` ends cleanly.

    ``tell`` is called with a line for people whenever something happens to an alert. ``accept_loss`` is a model whose
    log has lost rows, and which goes on with those that are left.
    """

    def __init__(
        self, config: Config, tell: Callable[[str], None] = lambda line: None, *, accept_loss: str | None = None
    ) -> None:
        self.config = config
        self._lock = ExitStack()
        self._lock.enter_context(_lock(Path(config.storage)))
        try:
            inbox = open_database(config.database)
            self._lock.callback(inbox.dispose)
            self._lock.enter_context(claim(inbox))
            self.inbox = Inbox(inbox)  # synced: 202 means durable
            state = open_database(config.database, sync_commits=False)
            self._lock.callback(state.dispose)
            self.state = State(state)  # done again from inbox and log
            self.models = {
                name: agree(one, self.state, accept_loss=name == accept_loss)
                for name, one in open_models(config.models, config.blobs, self.state).items()
            }
        except BaseException:
            self._lock.close()  # whoever mends what is wrong may start again
            raise
        self.tasks = {name: model.schema.task.value for name, model in self.models.items()}
        self.guesses = {name: guesses_of(one.config, one.schema, one.reference) for name, one in self.models.items()}
        self.views = Views(config, self.tasks, self.state, self.inbox, self.guesses)
        self.address = ""
        """Where the service can be reached, once it listens; links lead there unless `url` is configured."""
        self.loop = open_controller(
            config.retrain,
            self.models,
            self.state,
            open_registry(config.registry, Path(config.storage), config.blobs),
            Runs(Path(config.storage) / "runs", None if config.bucket is None else config.blobs.within("runs")),
            lambda line: tell(visible(line)),
            self._own_url,
        )
        self._receivers = {one.name: one for one in config.notify}
        self._announcer = NotificationPlanner(config.notify, self._own_url, self._ring, timezones_of(config))
        self._stopping = threading.Event()
        self.worker = Worker(
            config,
            self.models,
            self.inbox,
            self.state,
            self._announcer,
            ring=self._ring,
            tell=tell,
            started=clock.now(),
            stopping=self._stopping.is_set,
        )
        self._work = Job("worker", self.worker.step, self._stopping, waited_for=True)
        self._deliveries: list[Job] = []  # opened at the start: only then have their secrets to be there
        self._jobs: list[Job] = []

    def _own_url(self) -> str:
        return self.config.url or self.address

    @property
    def started(self) -> datetime:
        """Since when this service can take what arrives, wall-clock time."""
        return self.worker.started

    @property
    def caught_up(self) -> bool:
        """Whether what was stored at the start has been judged: until then windows may be missing from the answers."""
        return self.worker.caught_up

    @property
    def problems(self) -> dict[str, str]:
        """What keeps a model, or another part, from being processed, in words, by its name."""
        return self.worker.problems

    @property
    def warnings(self) -> dict[str, str]:
        """What is worth knowing and keeps nothing from being processed, in words."""
        return self.worker.warnings

    @property
    def idle(self) -> bool:
        """Whether everything that was accepted so far is processed and judged, and what fires is on its way."""
        return self._work.idle

    def start(self) -> None:
        """Start the worker, one delivery job a channel, and what else is configured."""
        self.worker.started = clock.now()
        channels = {name: open_channel(one, clock.now) for name, one in self._receivers.items()}
        self._deliveries = [
            Job(f"channel {name}", Deliveries(name, channel, self.state, self._firing(name)).step, self._stopping)
            for name, channel in channels.items()
        ]
        more = list(self._configured())
        bring_back(self.state, self.models, clock.now())
        with self.state.work() as work:
            Outbox(work.connection).forget_orphans(channels)
            known = {name: names_of_rules(one) for name, one in self.config.models.items()}
            self._announcer.announce(work, end_orphans(work, known, clock.now()), clock.now())
        self.worker.caught_up = False
        self._jobs = [self._work, *self._deliveries, *more]
        for job in self._jobs:
            job.start()

    def _configured(self) -> Iterator[Job]:
        if (remote := self.config.prometheus.remote_write) is not None:
            writer = RemoteWriter(secret(remote))
            yield Job("remote write", functools.partial(push, self.models, self.state, writer), self._stopping)
        tellers = {name: self._teller(name) for name, one in self.config.retrain.items() if one.tell is not None}
        if self.config.retrain:
            retraining = Retraining(self.loop, self.models, tellers)
            yield Job("retrain", retraining.step, self._stopping, waited_for=True)

    def _teller(self, name: str) -> RetrainingWebhook:
        tell = self.config.retrain[name].tell
        assert tell is not None
        key = "" if tell.secret is None else secret(tell.secret)
        return RetrainingWebhook(secret(tell.url), key, self.state, clock.now)

    def _firing(self, name: str) -> Callable[[], list[Notice]]:
        return lambda: self._announcer.notices_to_keep(self.state, self._receivers[name], clock.now())

    def wake(self) -> None:
        """Say that the inbox has something new."""
        self._work.ring()

    def _ring(self) -> None:
        """Say that the outbox has something new."""
        for job in self._deliveries:
            job.ring()

    def stop(self) -> None:
        """End the worker after the batch it is at; what waits in inbox and outbox is done after the next start."""
        self._stopping.set()
        for job in self._jobs:
            job.ring()
        for job in self._jobs:
            job.join()
        self._lock.close()


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
