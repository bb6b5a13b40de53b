"""Requests for challengers: every statement on them. A request moves by compare-and-set, and each move is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftline.errors import ConflictError, UnknownNameError
from driftline.store.audit import Audit
from driftline.store.statements import as_row, batches, put_row, put_values
from driftline.store.tables import RETRAINING, RETRAINING_ATTEMPTS, RETRAINING_STEPS, RETRAINING_TOLD

NO_CONTEST = NO_ROWS = b"null"


@dataclass(frozen=True, slots=True)
class RetrainingRow:
    """A request; ``event_time`` and ``live_from`` are event time, the other moments wall-clock time.

    ``contest`` is JSON, ``null`` until it was held, and ``rows`` that of the rows that were handed out. ``labels`` is
    how many labels the model had had at the request.
    """

    id: str
    model: str
    trigger: str
    reason: str
    by: str
    asked_at: datetime
    event_time: datetime
    stage: str
    changed_at: datetime
    note: str
    labels: int
    version: str = ""
    champion: str = ""
    contest: bytes = NO_CONTEST
    live_from: datetime | None = None
    rows: bytes = NO_ROWS


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step in the life of a request: when (wall-clock time), to which stage, by whom and why."""

    at: datetime
    stage: str
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class AttemptsRow:
    """How often a model's webhook could not be told, since it was; and when (wall-clock time) it is tried again."""

    model: str
    failed: int
    due_at: datetime


class Retraining:
    """The statements on these tables, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, row: RetrainingRow, *, busy: Collection[str]) -> None:
        """Store a new request. Raises `ConflictError` while another of its model is at one of the ``busy`` stages."""
        going_on = self.rows(row.model, stages=busy)
        if going_on:
            raise ConflictError(
                f"request {going_on[0].id} of {row.model} is going on ({going_on[0].stage}); wait for it"
            )
        self._connection.execute(RETRAINING.insert().values(_values(row)))
        self._add_step(row.id, StepRow(row.asked_at, row.stage, row.by, row.reason))

    def row(self, id: str) -> RetrainingRow:
        """Return a request by its id; raises `UnknownNameError`."""
        found = self._connection.execute(sa.select(RETRAINING).where(RETRAINING.c.id == id)).first()
        if found is None:
            raise UnknownNameError("request", id, ())
        return _row(found)

    def rows(
        self, model: str | None = None, *, stages: Collection[str] | None = None, most: int | None = None
    ) -> list[RetrainingRow]:
        """Return requests, the newest first."""
        statement = sa.select(RETRAINING).order_by(
            RETRAINING.c.asked_at.desc(), RETRAINING.c.event_time.desc(), RETRAINING.c.id.desc()
        )
        if model is not None:
            statement = statement.where(RETRAINING.c.model == model)
        if stages is not None:
            statement = statement.where(RETRAINING.c.stage.in_(list(stages)))
        return [_row(found) for found in self._connection.execute(statement.limit(most))]

    def move(self, id: str, before: str, after: str, at: datetime, *, by: str, note: str, **values: Any) -> bool:
        """Move a request from one stage to another, with its other values; False where it is elsewhere by now."""
        moved = self._connection.execute(
            RETRAINING.update()
            .where(RETRAINING.c.id == id, RETRAINING.c.stage == before)
            .values(stage=after, changed_at=at, note=note, **values)
        )
        if moved.rowcount:
            self._add_step(id, StepRow(at, after, by, note))
        return bool(moved.rowcount)

    def say(self, id: str, stage: str, note: str) -> bool:
        """Say how a request stands that stays at its stage; False where it is elsewhere by now."""
        said = self._connection.execute(
            RETRAINING.update().where(RETRAINING.c.id == id, RETRAINING.c.stage == stage).values(note=note)
        )
        return bool(said.rowcount)

    def steps(self, ids: Iterable[str]) -> dict[str, list[StepRow]]:
        """Return the steps of requests, in order."""
        found: dict[str, list[StepRow]] = {id: [] for id in ids}
        statement = sa.select(RETRAINING_STEPS).where(RETRAINING_STEPS.c.request.in_(list(found)))
        for row in self._connection.execute(statement.order_by(RETRAINING_STEPS.c.id)):
            found[row.request].append(StepRow(row.at, row.stage, row.by, row.note))
        return found

    def counts(self) -> dict[str, dict[tuple[str, str], int]]:
        """Return how many requests of each model there are by (trigger, stage)."""
        key = (RETRAINING.c.model, RETRAINING.c.trigger, RETRAINING.c.stage)
        found: dict[str, dict[tuple[str, str], int]] = {}
        for model, trigger, stage, count in self._connection.execute(sa.select(*key, sa.func.count()).group_by(*key)):
            found.setdefault(model, {})[trigger, stage] = int(count)
        return found

    def told(self, ids: Iterable[str]) -> dict[str, set[str]]:
        """Return the stages of requests that their webhook was told of; requests without any are left out."""
        found: dict[str, set[str]] = {}
        for some in batches(ids):
            statement = sa.select(RETRAINING_TOLD).where(RETRAINING_TOLD.c.request.in_(some))
            for row in self._connection.execute(statement):
                found.setdefault(row.request, set()).add(row.stage)
        return found

    def add_told(self, id: str, stage: str) -> None:
        """Say that the webhook was told of a stage; once more changes nothing."""
        put_values(self._connection, RETRAINING_TOLD, [{"request": id, "stage": stage}], changed=("stage",))

    def attempts(self, model: str) -> AttemptsRow | None:
        """Return how often a model's webhook could not be told, if it could not."""
        asked = sa.select(RETRAINING_ATTEMPTS).where(RETRAINING_ATTEMPTS.c.model == model)
        row = self._connection.execute(asked).one_or_none()
        return None if row is None else as_row(AttemptsRow, row)

    def put_attempts(self, row: AttemptsRow) -> None:
        """Store that a model's webhook could not be told."""
        put_row(self._connection, RETRAINING_ATTEMPTS, row)

    def forget_attempts(self, model: str) -> None:
        """Forget the attempts of a model, once its webhook was told."""
        self._connection.execute(RETRAINING_ATTEMPTS.delete().where(RETRAINING_ATTEMPTS.c.model == model))

    def _add_step(self, id: str, step: StepRow) -> None:
        self._connection.execute(RETRAINING_STEPS.insert().values(request=id, **_values(step)))
        model = self._connection.execute(sa.select(RETRAINING.c.model).where(RETRAINING.c.id == id)).scalar_one()
        Audit(self._connection).add(
            step.at, step.by, f"retraining {step.stage}", model=model, subject=id, reason=step.note
        )


def _row(found: sa.Row[Any]) -> RetrainingRow:
    return RetrainingRow(**{field.name: found._mapping[field.name] for field in fields(RetrainingRow)})


def _values(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}
