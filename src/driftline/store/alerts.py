"""Alerts, and the steps in their lives. Every statement on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from driftline.events import WHOLE, Slice
from driftline.store.counters import ALERT_CHANGES, Counters
from driftline.store.statements import as_row, batches, put_row, values_of
from driftline.store.tables import ALERTS, TRANSITIONS


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert. Value, interval and n are as they were known when it fired; ``findings`` is JSON of what changed."""

    id: str
    model: str
    rule: str
    measure: str
    severity: str
    title: str
    status: str
    started_at: datetime
    last_end: datetime
    window_start: datetime
    window_end: datetime
    value: float | None
    low: float | None
    high: float | None
    n: int
    threshold: float
    worst: float | None
    findings: bytes
    fired_at: datetime
    ended_at: datetime | None
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None
    acknowledged_reason: str = ""
    muted: str = ""
    bound: float | None = None
    confidence: float | None = None
    slice: Slice = WHOLE

    @property
    def name(self) -> str:
        """Its rule, and which rows it speaks of where these are not all."""
        return self.slice.titled(self.rule)

    @property
    def version(self) -> str:
        """The version that it speaks of; empty where it speaks of all."""
        return self.slice.version or ""

    @property
    def segment(self) -> str:
        """The segment that it speaks of, such as ``season=winter``; empty where it speaks of all rows."""
        return str(self.slice.segment or "")


@dataclass(frozen=True, slots=True)
class TransitionRow:
    """One step in an alert's life, with its reason in words."""

    alert: str
    at: datetime
    kind: str
    reason: str


def model_of_alert(connection: sa.Connection, alert: str) -> str | None:
    """Return the model that an alert is of; None for an unknown one."""
    found: str | None = connection.execute(sa.select(ALERTS.c.model).where(ALERTS.c.id == alert)).scalar_one_or_none()
    return found


class Alerts:
    """The statements on alerts, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(
        self,
        model: str | None = None,
        *,
        rule: str | None = None,
        slice: Slice | None = None,
        status: str | None = None,
        within: tuple[datetime | None, datetime | None] = (None, None),
        before: AlertRow | None = None,
        most: int | None = None,
    ) -> list[AlertRow]:
        """Return alerts, the newest window first: at most ``most``, and only those after ``before`` in this order.

        ``within`` are event times, open where None: an alert of which a part lies between them.
        """
        statement = sa.select(ALERTS).order_by(ALERTS.c.window_start.desc(), ALERTS.c.id)
        begin, end = within
        if model is not None:
            statement = statement.where(ALERTS.c.model == model)
        if rule is not None:
            statement = statement.where(ALERTS.c.rule == rule)
        if slice is not None:
            statement = statement.where(ALERTS.c.slice == slice)
        if status is not None:
            statement = statement.where(ALERTS.c.status == status)
        if begin is not None:
            statement = statement.where(ALERTS.c.last_end > begin)
        if end is not None:
            statement = statement.where(ALERTS.c.started_at < end)
        if before is not None:
            at, id = ALERTS.c.window_start, ALERTS.c.id
            statement = statement.where(
                sa.or_(at < before.window_start, sa.and_(at == before.window_start, id > before.id))
            )
        return [as_row(AlertRow, row) for row in self._connection.execute(statement.limit(most))]

    def count(self, model: str) -> dict[tuple[str, str], int]:
        """Return how many alerts of a model there are, by rule and status."""
        statement = sa.select(ALERTS.c.rule, ALERTS.c.status, sa.func.count().label("n")).where(ALERTS.c.model == model)
        found = self._connection.execute(statement.group_by(ALERTS.c.rule, ALERTS.c.status))
        return {(row.rule, row.status): int(row.n) for row in found}

    def ended_after(self, moment: datetime) -> list[AlertRow]:
        """Return alerts that fire no longer since a moment of wall-clock time."""
        statement = sa.select(ALERTS).where(ALERTS.c.status != "firing", ALERTS.c.ended_at > moment)
        return [as_row(AlertRow, row) for row in self._connection.execute(statement)]

    def put(self, row: AlertRow) -> None:
        """Store an alert, new or changed."""
        put_row(self._connection, ALERTS, row)
        Counters(self._connection).add(row.model, ALERT_CHANGES, "", 1)

    def add_transition(self, row: TransitionRow) -> None:
        """Store a step in the life of an alert, which is stored already."""
        self._connection.execute(TRANSITIONS.insert().values(values_of(row)))
        if (model := model_of_alert(self._connection, row.alert)) is not None:
            Counters(self._connection).add(model, ALERT_CHANGES, "", 1)

    def transitions(self, alerts: Iterable[str]) -> dict[str, list[TransitionRow]]:
        """Return the steps of each alert, oldest first."""
        steps: dict[str, list[TransitionRow]] = {}
        for some in batches(alerts):
            statement = sa.select(TRANSITIONS).where(TRANSITIONS.c.alert.in_(some)).order_by(TRANSITIONS.c.id)
            for row in self._connection.execute(statement):
                steps.setdefault(row.alert, []).append(as_row(TransitionRow, row))
        return steps

    def get(self, id: str) -> AlertRow | None:
        """Return one alert, if it is known."""
        row = self._connection.execute(sa.select(ALERTS).where(ALERTS.c.id == id)).one_or_none()
        return None if row is None else as_row(AlertRow, row)
