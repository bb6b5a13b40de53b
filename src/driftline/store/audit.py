"""Who changed what, when and why: a row of every change that a person or a program asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from driftline.logs import current_request
from driftline.store.tables import AUDIT


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One change: ``subject`` is the id or name of what was changed. ``at`` is wall-clock time.

    ``model`` is empty where it is about none, ``reason`` where none was given, ``request`` (the id by which the log
    knows it) where it came by a command.
    """

    id: int
    at: datetime
    by: str
    action: str
    model: str
    subject: str
    reason: str
    request: str


class Audit:
    """The statements on changes, within one transaction: that of the change itself."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, at: datetime, by: str, action: str, *, model: str = "", subject: str = "", reason: str = "") -> None:
        """Store that somebody has changed something."""
        values = {"at": at, "by": by, "action": action, "model": model, "subject": subject, "reason": reason}
        self._connection.execute(sa.insert(AUDIT).values(values | {"request": current_request()}))

    def newest(self, most: int, *, before: int | None = None, model: str | None = None) -> list[AuditRow]:
        """Return the newest changes, or those before the one of an id; of one model or of all; the newest first."""
        statement = sa.select(AUDIT).order_by(AUDIT.c.id.desc()).limit(most)
        if before is not None:
            statement = statement.where(AUDIT.c.id < before)
        if model is not None:
            statement = statement.where(AUDIT.c.model == model)
        return [AuditRow(**row._mapping) for row in self._connection.execute(statement)]
