"""Notify a webhook of what happens to challengers: each event at least once, repeated until it is accepted."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from driftline.errors import RefusedError, UnavailableError
from driftline.net.backoff import wait_seconds
from driftline.net.outgoing import post
from driftline.net.signatures import signed
from driftline.retrain.request import Stage
from driftline.retrain.views import RequestView, all_requests
from driftline.store.retraining import AttemptsRow, Retraining
from driftline.store.state import State

TOLD = (
    Stage.WAITING,
    Stage.BAKING,
    Stage.PROMOTED,
    Stage.ROLLED_BACK,
    Stage.HELD,
    Stage.REFUSED,
    Stage.FAILED,
)
"""The stages that people and model servers are notified of."""

_GIVEN_UP_AFTER = timedelta(days=3)


class RetrainingEvent(msgspec.Struct, frozen=True):
    """The posted event: the stage that a request has reached, why, and the request."""

    event: str
    model: str
    version: str
    champion: str
    note: str
    at: datetime
    request: RequestView


@dataclass(slots=True)
class RetrainingWebhook:
    """Notifies one address of the requests of one model; what was sent, and what failed, stands in the state.

    ``Idempotency-Key`` is the request's id and the stage. A receiver that cannot be reached is tried again, less and
    less often, for three days; an event that it refuses is not sent again.
    """

    url: str
    secret: str
    state: State
    now: Callable[[], datetime]
    rng: random.Random = field(default_factory=random.Random)

    def tell(self, model: str) -> None:
        """Post the events that were not accepted yet, the oldest first; raises `UnavailableError` if one is not now."""
        now = self.now()
        recent = [one for one in all_requests(self.state, model) if now - one.changed_at < _GIVEN_UP_AFTER]
        with self.state.read() as read:
            known = Retraining(read.connection)
            before, told = known.attempts(model), known.told(one.id for one in recent)
        if before is not None and now < before.due_at:
            return
        try:
            for one in reversed(recent):
                self._tell_of(one, told.get(one.id, set()))
        except UnavailableError:
            failed = 1 if before is None else before.failed + 1
            due_at = now + timedelta(seconds=wait_seconds(failed, self.rng))
            with self.state.work() as work:
                Retraining(work.connection).put_attempts(AttemptsRow(model, failed, due_at))
            raise
        if before is not None:
            with self.state.work() as work:
                Retraining(work.connection).forget_attempts(model)

    def _tell_of(self, one: RequestView, told: set[str]) -> None:
        for step in one.steps:
            if Stage(step.stage) not in TOLD or step.stage in told:
                continue
            word = RetrainingEvent(step.stage, one.model, one.version, one.champion, step.note, step.at, one)
            body = msgspec.json.encode(word)
            key = {"Idempotency-Key": f"{one.id}-{step.stage.replace(' ', '-')}"}
            refused: RefusedError | None = None
            try:
                post(self.url, body, headers=key | signed(body, self.secret, self.now()), hidden=[self.secret])
            except RefusedError as error:
                refused = error
            told.add(step.stage)
            with self.state.work() as work:
                Retraining(work.connection).add_told(one.id, step.stage)
            if refused is not None:
                raise refused
