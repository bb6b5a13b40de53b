"""The composition root: builds a service from its configuration, and runs its jobs. Nothing is decided here."""

from __future__ import annotations

import fcntl
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from driftline import clock
from driftline.alerts.message import Notice
from driftline.alerts.planner import NotificationPlanner
from driftline.alerts.receivers import open_channel
from driftline.config.load import Config
from driftline.environment import secret
from driftline.errors import InUseError, LeaseLostError, StorageError, UsageError
from driftline.exporters.remote_write import RemoteWriter
from driftline.monitoring.agreement import agree
from driftline.monitoring.alerting import end_orphans, names_of_rules
from driftline.monitoring.clock_jumps import bring_back
from driftline.monitoring.guesses import guesses_of
from driftline.monitoring.model import MonitoredModel, open_model, open_models
from driftline.retrain.controller import open_controller, open_registry
from driftline.retrain.kept import Runs
from driftline.retrain.webhook import RetrainingWebhook
from driftline.service.jobs import Job
from driftline.service.keeping import Housekeeping
from driftline.service.leases import (
    KEEP,
    NOTIFY,
    PUSH,
    RETRAIN,
    ROLES,
    Alone,
    LeaseKeeper,
    Role,
    Status,
    model_lease,
    shares_of,
    storage_name,
)
from driftline.service.priority import Senders
from driftline.service.steps import Deliveries, Orphans, Retraining, push, while_held
from driftline.service.worker import Worker
from driftline.store.database import Watch, is_shared, open_database
from driftline.store.durable import make_folder
from driftline.store.inbox import Inbox
from driftline.store.state import State, Work
from driftline.text import cause, visible
from driftline.views.reader import Views, told_of

_PATIENCE = timedelta(seconds=2)


class Service:
    """Everything that a process of a running Driftline is made of. `start` begins to work; `stop` ends cleanly.

    ``tell`` is called with a line for people whenever something happens to an alert. ``accept_loss`` is a model whose
    log has lost rows, and which goes on with those that are left. With ``alone`` no other process may work meanwhile.

    Where the database is a server's, others work beside this one: each model, and each task of which there is one, has
    a lease. Otherwise the folder is locked, and there is one process.
    """

    def __init__(
        self,
        config: Config,
        tell: Callable[[str], None] = lambda line: None,
        *,
        role: Role = ROLES["all"],
        accept_loss: str | None = None,
        alone: bool = False,
    ) -> None:
        self.config, self.role, self.shared = config, role, is_shared(config.database)
        if role.name != "all" and not self.shared:
            raise UsageError(
                f"--role {role.name} came, and the database is {config.database}; several processes need one of a "
                "PostgreSQL: set `database: postgresql+psycopg://…`, or use --role all"
            )
        self.address = ""
        """Where the service can be reached, once it listens; links lead there unless `url` is configured."""
        self._tell, self._accept_loss, self._stopping = tell, accept_loss, threading.Event()
        self._jobs: list[Job] = []
        self._lock = ExitStack()
        self._lock.enter_context(_lock(Path(config.storage), shared=self.shared))
        try:
            inbox = open_database(config.database)
            self._lock.callback(inbox.dispose)
            self.inbox = Inbox(inbox)  # synced: 202 means durable
            state = open_database(config.database, sync_commits=False)
            self._lock.callback(state.dispose)
            self.state = State(state)  # done again from inbox and log
            self.models = self._opened()
            self.tasks = {name: model.schema.task.value for name, model in self.models.items()}
            self.guesses = {
                name: guesses_of(one.config, one.schema, one.reference) for name, one in self.models.items()
            }
            self.views = Views(config, self.tasks, self.state, self.inbox, self.guesses, self.models)
            self._compose()
            if isinstance(self.keeper, LeaseKeeper):
                self._lock.callback(self.keeper.stop)
                if alone:
                    self.keeper.take_all()
                else:
                    self.keeper.join()
                self._take_over()
        except BaseException:
            self._lock.close()  # whoever mends what is wrong may start again
            raise

    def _opened(self) -> dict[str, MonitoredModel]:
        opened = open_models(self.config.models, self.config.blobs, self.state, to_work=not self.shared)
        return opened if self.shared else {name: self._agreed(one, self.state) for name, one in opened.items()}

    def _agreed(self, model: MonitoredModel, state: State) -> MonitoredModel:
        return agree(model, state, accept_loss=model.name == self._accept_loss)

    def _compose(self) -> None:
        config = self.config
        self.senders = Senders()
        self.loop = open_controller(
            config.retrain,
            self.models,
            self.state,
            open_registry(config.registry, Path(config.storage), config.blobs),
            Runs.at(Path(config.storage), config.blobs),
            lambda line: self._tell(visible(line)),
            self._own_url,
        )
        self._receivers = {one.name: one for one in config.notify}
        self._announcer = NotificationPlanner(config.notify, self._own_url, self._ring, told_of(config))
        self.keeper = self._keeper()
        self.worker = Worker(
            config,
            self.models,
            self.inbox,
            self.state,
            self._announcer,
            keeper=self.keeper,
            opened=() if self.shared else self.models,
            reopen=self._reopen,
            ring=self._ring,
            tell=self._tell,
            started=clock.now(),
            stopping=self._stopping.is_set,
            senders=self.senders,
        )
        self._work = Job("worker", self.worker.step, self._stopping, waited_for=True)
        self._deliveries: list[Job] = []  # opened at the start: only then have their secrets to be there

    def _keeper(self) -> Alone | LeaseKeeper:
        if not self.shared:
            return Alone()
        return LeaseKeeper(
            Watch(self.config.database, _PATIENCE).engine,
            self.role,
            shares_of(self.role, self.models),
            storage_name(self.config.blobs.root),
            lambda: Status(dict(self.problems), dict(self.warnings), self.idle, self.address),
            self.wake,
        )

    def _reopen(self, name: str, state: State) -> MonitoredModel:
        """Open a model to work on it, of which nothing is known but what is stored."""
        model = open_model(self.config.models[name], self.config.blobs, state)
        return self._agreed(model, state)

    def _take_over(self) -> None:
        """Open what was taken first. What is wrong with it is said by who starts this process."""
        for name in self.models:
            with suppress(LeaseLostError), self.keeper.using(model_lease(name)) as fence:
                self.worker.take_over(name, fence)

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
        """What keeps a model, or another part, from being processed by this process, in words, by its name."""
        return self.worker.problems

    @property
    def warnings(self) -> dict[str, str]:
        """What is worth knowing and keeps nothing from being processed, in words."""
        return self.worker.warnings

    @property
    def idle(self) -> bool:
        """Whether everything that was accepted so far is processed and judged, and what fires is on its way.

        A process that does not work on models has nothing to do with that.
        """
        return not self.role.works or self._work.idle

    def start(self) -> None:
        """Start the worker, one delivery job a channel, and what else is configured, as far as it is of the role."""
        self.worker.started = clock.now()
        if not self.shared:
            for name in self.models:
                bring_back(self.state.of(name), name, clock.now())
        self._deliveries = [*self._channels()] if self.role.notifies else []
        more = [*self._configured()] if self.role.works else []
        self.worker.caught_up = not self.role.works
        self._jobs = [*([self._work] if self.role.works else []), *self._deliveries, *more]
        for job in self._jobs:
            job.start()

    def _channels(self) -> Iterator[Job]:
        channels = {name: open_channel(one, clock.now) for name, one in self._receivers.items()}
        orphans = Orphans(self.state, channels, self._end_orphans)
        with suppress(LeaseLostError), self.keeper.using(NOTIFY) as fence:
            orphans.step(fence)
        yield Job("orphans", while_held(self.keeper, NOTIFY, orphans.step), self._stopping)
        for name, channel in channels.items():
            deliveries = Deliveries(name, channel, self.state, self._firing(name))
            yield Job(f"channel {name}", while_held(self.keeper, NOTIFY, deliveries.step), self._stopping)

    def _end_orphans(self, work: Work) -> None:
        """End the alerts of what is configured no longer."""
        known = {name: names_of_rules(one) for name, one in self.config.models.items()}
        self._announcer.announce(work, end_orphans(work, known, clock.now()), clock.now())

    def _configured(self) -> Iterator[Job]:
        housekeeping = Housekeeping(self.config, self.state, self.loop.registry)
        yield Job("retention", while_held(self.keeper, KEEP, housekeeping.step), self._stopping)
        if (remote := self.config.prometheus.remote_write) is not None:
            pushed = functools.partial(push, self.models, self.state, RemoteWriter(secret(remote)))
            yield Job("remote write", while_held(self.keeper, PUSH, pushed), self._stopping)
        tellers = {name: self._teller(name) for name, one in self.config.retrain.items() if one.tell is not None}
        if self.config.retrain:
            retraining = Retraining(self.loop, self.models, tellers)
            step = while_held(self.keeper, RETRAIN, retraining.step)
            yield Job("retrain", step, self._stopping, waited_for=True)

    def _teller(self, name: str) -> RetrainingWebhook:
        tell = self.config.retrain[name].tell
        assert tell is not None
        key = "" if tell.secret is None else secret(tell.secret)
        return RetrainingWebhook(secret(tell.url), key, self.state, clock.now)

    def _firing(self, name: str) -> Callable[[], list[Notice]]:
        return lambda: self._announcer.notices_to_keep(self.state, self._receivers[name], clock.now())

    def state_of(self, name: str) -> State:
        """Return the state of a model, to be changed as long as this process may work on it."""
        return self.worker.state_of(name)

    def wake(self) -> None:
        """Say that the inbox has something new, or that what this process works on has changed."""
        self._work.ring()

    def _ring(self) -> None:
        """Say that the outbox has something new."""
        for job in self._deliveries:
            job.ring()

    def stop(self) -> None:
        """End the worker after the batch it is at; what waits in inbox and outbox is done after the next start."""
        self._stopping.set()
        with self._lock:
            for job in self._jobs:
                job.ring()
            for job in self._jobs:
                job.join()


def _lock(storage: Path, *, shared: bool) -> IO[str]:
    """Keep a second service off the same folder; those that share a database may share it."""
    try:
        make_folder(storage.absolute())
        lock = (storage / "lock").open("w")
    except OSError as error:
        raise StorageError(f"the folder {storage} cannot be written: {cause(error)}") from error
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise InUseError(f"{storage} is in use by another driftline; stop that one, or use another storage") from error
    return lock
