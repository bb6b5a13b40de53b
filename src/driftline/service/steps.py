"""The steps of the other jobs: messages to receivers, samples for Prometheus, retraining."""

from __future__ import annotations

import dataclasses
import functools
import logging
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta

from driftline import clock
from driftline.alerts.channel import Channel, Forgetful, Remembering
from driftline.alerts.delivery import deliver_next
from driftline.alerts.message import Notice
from driftline.errors import LeaseLostError, UnavailableError
from driftline.exporters.remote_write import RemoteWriter
from driftline.logs import about_model
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.pushing import push_windows
from driftline.retrain.controller import RetrainingController
from driftline.retrain.webhook import RetrainingWebhook
from driftline.service.jobs import Pass, Troubles
from driftline.service.leases import Keeper
from driftline.store.leases import Fence
from driftline.store.outbox import Outbox
from driftline.store.state import State, Work

KEEP_EVERY = timedelta(seconds=30)
"""How often Alertmanager is reminded: it forgets alerts when it restarts, and ends those that it hears no more of."""

_LOG = logging.getLogger("driftline")


class Deliveries:
    """Sends what waits for one channel, and reminds a receiver that forgets.

    ``firing`` gives the notices of the alerts that are firing, and says which of them are muted.
    """

    def __init__(self, name: str, channel: Channel, state: State, firing: Callable[[], list[Notice]]) -> None:
        self._name, self._channel, self._state, self._firing = name, channel, state, firing
        self._rng, self._steady = random.Random(), clock.steady()
        self._kept: datetime | None = None
        self._known: tuple[Fence | None, bytes | None] | None = None
        """What is stored of the channel, and under which lease that was read."""

    def step(self, fence: Fence | None) -> Pass:
        """Send the next message that is due."""
        state = self._state.fenced(fence)
        state.require_lease()
        self._recall(state)
        try:
            return self._send(state)
        finally:
            self._remember(state)

    def _recall(self, state: State) -> None:
        """Have the channel know what its last holder knew, which may have been another process."""
        if not isinstance(self._channel, Remembering) or (self._known is not None and self._known[0] == state.fence):
            return
        with state.read() as read:
            memory = Outbox(read.connection).memory(self._name)
        if memory is not None:
            self._channel.recall(memory)
        self._known = (state.fence, memory or self._channel.remember())

    def _remember(self, state: State) -> None:
        if isinstance(self._channel, Remembering) and self._known is not None:
            memory = self._channel.remember()
            if memory != self._known[1]:
                with state.work() as work:
                    Outbox(work.connection).put_memory(self._name, memory)
                self._known = (state.fence, memory)

    def _send(self, state: State) -> Pass:
        outcome = deliver_next(state, self._name, self._channel, clock.now, self._rng)
        if isinstance(self._channel, Forgetful) and self._is_time_to_keep():
            try:
                self._channel.keep(self._firing())
            except UnavailableError as error:
                _LOG.warning("channel %s: %s; trying again", self._name, error)
        if not outcome.reached:
            return Pass.FAILED
        return Pass.AGAIN if outcome.tried else Pass.DONE

    def _is_time_to_keep(self) -> bool:
        if self._kept is not None and self._steady() - self._kept < KEEP_EVERY:
            return False
        self._kept = self._steady()
        return True


class Orphans:
    """Gives up what is for channels that there are no longer, and ends what is configured no longer: once a holder."""

    def __init__(self, state: State, channels: Collection[str], end: Callable[[Work], None]) -> None:
        self._state, self._channels, self._end = state, channels, end
        self._done: Fence | bool = False

    def step(self, fence: Fence | None) -> Pass:
        """Do it, unless this holder has."""
        if self._done != (fence or True):
            with self._state.fenced(fence).work() as work:
                Outbox(work.connection).forget_orphans(self._channels)
                self._end(work)
            self._done = fence or True
        return Pass.DONE


def while_held(keeper: Keeper, name: str, step: Callable[[Fence | None], Pass]) -> Callable[[], Pass]:
    """Return a step that is taken under a lease, and does nothing while another process holds it."""

    def taken() -> Pass:
        try:
            with keeper.using(name) as fence:
                return step(fence)
        except LeaseLostError:
            return Pass.DONE

    return taken


def push(models: Mapping[str, MonitoredModel], state: State, writer: RemoteWriter, fence: Fence | None) -> Pass:
    """Send windows that a receiver of Prometheus does not have yet."""
    return Pass.AGAIN if push_windows(models, state.fenced(fence), writer) else Pass.DONE


class Retraining:
    """Moves the requests of all models by one stage each; ``tellers`` say of the stages to others."""

    def __init__(
        self, loop: RetrainingController, models: Iterable[str], tellers: Mapping[str, RetrainingWebhook]
    ) -> None:
        self._loop, self._models, self._tellers = loop, models, tellers
        self._troubles = Troubles("retraining ")

    def step(self, fence: Fence | None) -> Pass:
        """Take the next step of each model; trouble with one must not stop the others."""
        moved: set[str] = set()
        loop = dataclasses.replace(self._loop, state=self._loop.state.fenced(fence))  # what it remembers is the same
        loop.state.require_lease()
        for name in self._models:
            with about_model(name):
                self._troubles.guard(name, functools.partial(self._step, loop, name, moved))
        return Pass.AGAIN if moved else Pass.DONE

    def _step(self, loop: RetrainingController, name: str, moved: set[str]) -> None:
        if loop.step(name, clock.now()):
            moved.add(name)
        if name in self._tellers:
            self._tellers[name].tell(name)
