"""The state: what is known of each model now, and what was known then.

Readers open a transaction of their own; what the worker changes together it changes in one `State.work`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from driftline.store.alerts import Alerts
from driftline.store.audit import Audit
from driftline.store.counters import Counters
from driftline.store.database import wait_turn, wipe
from driftline.store.detections import Detections
from driftline.store.feedback import Feedback
from driftline.store.forgetting import Forgettings
from driftline.store.judgements import Judgements
from driftline.store.leases import Fence
from driftline.store.models import Models
from driftline.store.predictions import Predictions, WaitingLabels
from driftline.store.retention import Retention
from driftline.store.runs import KeptParts
from driftline.store.summaries import Summaries
from driftline.store.tokens import Tokens
from driftline.store.windows import Windows


class State:
    """The state database of all models; `of` gives the part of one, whose transactions do not wait for others'.

    With a ``fence`` no transaction of `work` commits after another process has taken that lease.
    """

    def __init__(
        self, engine: sa.Engine, turn: str = "state", fence: Fence | None = None, kept: KeptParts | None = None
    ) -> None:
        self._engine, self._turn = engine, turn
        self.fence, self._kept = fence, kept or KeptParts()

    def of(self, model: str, fence: Fence | None = None) -> State:
        """Return the state as one model's: one transaction at a time changes it, whoever changes it."""
        return State(self._engine, f"state of {model}", fence, self._kept)

    def fenced(self, fence: Fence | None) -> State:
        """Return the same state, to be changed only as long as a lease is held."""
        return State(self._engine, self._turn, fence, self._kept)

    def let_go(self, model: str) -> None:
        """Keep nothing more of what was read of a model's ids: another process works on it."""
        self._kept.keep_only(model, ())

    def require_lease(self) -> None:
        """Raise `LeaseLostError` where the lease is another's by now."""
        if self.fence is not None:
            with self._engine.begin() as connection:
                self.fence.check(connection)

    @contextmanager
    def work(self) -> Iterator[Work]:
        """Open a transaction that may write; it commits at the end or leaves no trace."""
        with self._engine.begin() as connection:
            wait_turn(connection, self._turn)
            if self.fence is not None:
                self.fence.check(connection)
            yield Work(connection)

    @contextmanager
    def read(self) -> Iterator[Work]:
        """Open a transaction that reads the state as of one moment and blocks no writer."""
        with self._engine.connect().execution_options(readonly=True) as connection:
            yield Work(connection, self._kept)

    def wipe(self) -> bool:
        """Leave no byte in the database's file of rows that were deleted; return whether that was done."""
        return wipe(self._engine)


class Work:
    """All statements on the state within one transaction, by what they are about.

    ``kept`` spares reading again what does not change; it is for transactions that see only what is committed.
    """

    def __init__(self, connection: sa.Connection, kept: KeptParts | None = None) -> None:
        self.connection = connection
        self.models = Models(connection)
        self.predictions = Predictions(connection, kept)
        self.waiting_labels = WaitingLabels(connection)
        self.counters = Counters(connection)
        self.windows = Windows(connection)
        self.summaries = Summaries(connection)
        self.judgements = Judgements(connection)
        self.alerts = Alerts(connection)
        self.detections = Detections(connection)
        self.feedback = Feedback(connection)
        self.retention = Retention(connection)
        self.forgettings = Forgettings(connection)
        self.tokens = Tokens(connection)
        self.audit = Audit(connection)
