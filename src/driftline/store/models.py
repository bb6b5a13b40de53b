"""Models: their schema, reference and watermark. Every statement on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from driftline.store.statements import as_row, put_row
from driftline.store.tables import MODELS


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What is stored of a model itself; ``schema`` and ``reference`` are encoded states."""

    model: str
    fingerprint: bytes
    rules: bytes
    schema: bytes
    reference: bytes
    watermark: datetime | None
    latency: bytes | None
    last_arrival: datetime | None = None
    log_marks: bytes | None = None


class Models:
    """The statements on models, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, model: str) -> ModelRow | None:
        """Return what is stored of a model, if anything."""
        row = self._connection.execute(sa.select(MODELS).where(MODELS.c.model == model)).one_or_none()
        return None if row is None else as_row(ModelRow, row)

    def fingerprint(self, model: str) -> bytes | None:
        """Return what the stored schema and reference were made of; None for a model that is not stored."""
        statement = sa.select(MODELS.c.fingerprint).where(MODELS.c.model == model)
        found: bytes | None = self._connection.execute(statement).scalar_one_or_none()
        return found

    def put(self, row: ModelRow) -> None:
        """Store a model, new or changed."""
        put_row(self._connection, MODELS, row)

    def last_arrivals(self) -> dict[str, datetime]:
        """Return when the newest event of each model arrived; models without any are left out."""
        statement = sa.select(MODELS.c.model, MODELS.c.last_arrival).where(MODELS.c.last_arrival.is_not(None))
        return {row.model: row.last_arrival for row in self._connection.execute(statement)}
