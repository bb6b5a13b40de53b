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
from driftline.store.database import wait_turn
from driftline.store.detections import Detections
from driftline.store.feedback import Feedback
from driftline.store.judgements import Judgements
from driftline.store.models import Models
from driftline.store.predictions import Predictions, WaitingLabels
from driftline.store.runs import KeptParts
from driftline.store.summaries import Summaries
from driftline.store.tokens import Tokens
from driftline.store.windows import Windows


class State:
    """The state database of all models."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self._kept = engine, KeptParts()

    @contextmanager
    def work(self) -> Iterator[Work]:
        """Open a transaction that may write; it commits at the end or leaves no trace."""
        with self._engine.begin() as connection:
            wait_turn(connection, "state")
            yield Work(connection)

    @contextmanager
    def read(self) -> Iterator[Work]:
        """Open a transaction that reads the state as of one moment and blocks no writer."""
        with self._engine.connect().execution_options(readonly=True) as connection:
            yield Work(connection, self._kept)


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
        self.tokens = Tokens(connection)
        self.audit = Audit(connection)
