"""Deletes what is older than it is to be kept, and what is to be forgotten: a bounded piece at a time."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from pathlib import Path

from driftline import clock
from driftline.config.load import Config
from driftline.monitoring.forgetting import forget_next
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.retention import delete_old_events, delete_old_windows
from driftline.retrain.kept import Runs
from driftline.retrain.registry.registry import Registry
from driftline.retrain.runs import delete_old_runs, drop_copies, forget_in_runs
from driftline.rules import Status
from driftline.service.jobs import Pass
from driftline.store.leases import Fence
from driftline.store.state import State

LOOK_EVERY = timedelta(hours=1)
"""How often it is looked whether something has become too old: between two looks nothing is read."""

MOST_ROWS = 5_000
"""How many rows that were set aside, or notices, one step deletes."""


class EventKeeper:
    """What the worker of a model does for retention: it alone writes the log."""

    def __init__(self, config: Config) -> None:
        self._keep, self._steady = config.keep, clock.steady()
        self._runs = Runs.at(Path(config.storage), config.blobs)
        self._looked: dict[str, datetime] = {}

    def step(self, model: MonitoredModel, state: State, *, asked: bool) -> bool:
        """Take the next step for one model; return whether there is more to do. ``asked``: somebody has to forget."""
        now = clock.now()
        if asked:
            columns = model.config.columns
            from_runs = functools.partial(forget_in_runs, state, self._runs, model.name, columns)
            if forget_next(model, state, from_runs, now):
                return True
        looked = self._looked.get(model.name)
        if looked is not None and self._steady() - looked < LOOK_EVERY:
            return False
        period = self._keep.events.get(model.name)
        if period is not None and delete_old_events(model, state, period, now):
            return True
        if self._keep.windows is not None:
            delete_old_windows(model, state, self._keep.windows, now)
        self._looked[model.name] = self._steady()
        return False

    def drop_copies(self, state: State) -> None:
        """Delete copies of rows on this machine that are kept elsewhere: each process does that for its own."""
        drop_copies(state, self._runs)


class Housekeeping:
    """Deletes old rows that were set aside, notices and folders of runs: no model's worker has to."""

    def __init__(self, config: Config, state: State, registry: Registry) -> None:
        self._keep, self._state, self._registry = config.keep, state, registry
        self._runs, self._steady = Runs.at(Path(config.storage), config.blobs), clock.steady()
        self._looked: datetime | None = None

    def step(self, fence: Fence | None) -> Pass:
        """Take the next step, under the lease of these tasks."""
        if self._looked is not None and self._steady() - self._looked < LOOK_EVERY:
            return Pass.DONE
        if self._delete(self._state.fenced(fence), clock.now()):
            return Pass.AGAIN
        self._looked = self._steady()
        return Pass.DONE

    def _delete(self, state: State, now: datetime) -> bool:
        """Delete some; return whether there is more."""
        keep = self._keep
        with state.read() as read:
            held = sorted(read.retention.holds())
            firing = [one.id for one in read.alerts.find(status=Status.FIRING.value)]
        with state.work() as work:
            gone = 0
            if keep.quarantine is not None:
                gone = work.retention.drop_quarantine(now - keep.quarantine, MOST_ROWS, held)
            told = 0
            if keep.notifications is not None:
                told = work.retention.drop_notifications(now - keep.notifications, MOST_ROWS, firing)
        if keep.runs is not None:
            delete_old_runs(state, self._registry, self._runs, now - keep.runs, held)
        return MOST_ROWS in (gone, told)
