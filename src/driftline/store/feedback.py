"""What people said of a model's windows and alarms: stored events, who, when and why. Every statement on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from driftline.store.statements import as_row, batches, put_row
from driftline.store.tables import FEEDBACK


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """One thing that somebody said; ``kind`` is a `driftline.monitoring.feedback.FeedbackKind`.

    ``since`` and ``until`` are event time, half-open, where it is about a span; ``column`` and ``alert`` are empty
    where it is about none. ``at`` is wall-clock time. It is ``applied`` once windows were judged by it.
    """

    id: str
    model: str
    kind: str
    since: datetime | None
    until: datetime | None
    column: str
    alert: str
    reason: str
    by: str
    at: datetime
    applied: bool = False


class Feedback:
    """The statements on feedback, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, row: FeedbackRow) -> None:
        """Store what somebody said."""
        put_row(self._connection, FEEDBACK, row)

    def of(self, model: str) -> list[FeedbackRow]:
        """Everything that was said of a model, in the order in which it was said."""
        return self._find(FEEDBACK.c.model == model)

    def waiting(self, model: str) -> list[FeedbackRow]:
        """What was said of a model, and no window has been judged by yet, in the order in which it was said."""
        return self._find(FEEDBACK.c.model == model, sa.not_(FEEDBACK.c.applied))

    def waiting_models(self) -> set[str]:
        """The models of which something was said that no window has been judged by yet."""
        statement = sa.select(FEEDBACK.c.model).where(sa.not_(FEEDBACK.c.applied)).distinct()
        return {str(model) for (model,) in self._connection.execute(statement)}

    def mark_applied(self, ids: Iterable[str]) -> None:
        """Say that windows were judged by some feedback."""
        for part in batches(ids):
            self._connection.execute(FEEDBACK.update().where(FEEDBACK.c.id.in_(part)).values(applied=True))

    def _find(self, *where: sa.ColumnElement[bool]) -> list[FeedbackRow]:
        statement = sa.select(FEEDBACK).where(*where).order_by(FEEDBACK.c.at, FEEDBACK.c.id)
        return [as_row(FeedbackRow, row) for row in self._connection.execute(statement)]
