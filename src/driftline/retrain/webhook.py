"""Notify a webhook of what happens to challengers: each event at least once, repeated until it is accepted."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from driftline.errors import RefusedError, UnavailableError
from driftline.net.backoff import wait_seconds
from driftline.net.outgoing import post
from driftline.net.signatures import signed
from driftline.retrain.request import Stage
from driftline.retrain.views import RequestView, all_requests
from driftline.store.durable import replace_file
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
_FILE = "told.json"
_stages = msgspec.json.Decoder(list[str])


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
    """Notifies one address of the requests for one model; ``folder`` has the folders of runs, where it records that.

    ``Idempotency-Key`` is the request's id and the stage. A receiver that cannot be reached is tried again, less and
    less often, for three days; an event that it refuses is not sent again.
    """

    url: str
    secret: str
    state: State
    folder: Path
    now: Callable[[], datetime]
    rng: random.Random = field(default_factory=random.Random)
    _failed: int = 0
    _not_before: datetime | None = None

    def tell(self, model: str) -> None:
        """Post the events that were not accepted yet, the oldest first; raises `UnavailableError` if one is not now."""
        now = self.now()
        if self._not_before is not None and now < self._not_before:
            return
        try:
            for one in reversed(all_requests(self.state, model)):
                if now - one.changed_at < _GIVEN_UP_AFTER:
                    self._tell_of(one)
        except UnavailableError:
            self._failed += 1
            self._not_before = now + timedelta(seconds=wait_seconds(self._failed, self.rng))
            raise
        self._failed, self._not_before = 0, None

    def _tell_of(self, one: RequestView) -> None:
        path = self.folder / one.id / _FILE
        told = _stages.decode(path.read_bytes()) if path.exists() else []
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
            told = [*told, step.stage]
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, msgspec.json.encode(told))
            if refused is not None:
                raise refused
