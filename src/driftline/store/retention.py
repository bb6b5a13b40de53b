"""What is no longer kept of each model, and what keeps it: cuts, holds, and rows that were forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from driftline.events import Window
from driftline.store.counters import SHOWN, Counters
from driftline.store.statements import as_row, batches, put_row, put_values
from driftline.store.tables import (
    BRIEFS,
    COUNTERS,
    CUTS,
    FORGOTTEN_ROWS,
    HOLDS,
    JUDGEMENTS,
    NOTIFICATIONS,
    QUARANTINE,
    SUMMARIES,
    WAITING_LABELS,
    WINDOWS,
)
from driftline.text.moments import moment

SETTLED = "settled_notices"
"""The counter, of no model, of notices that are not kept any more; its key is their channel and what became of them."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Since when a model has events: those of ``before`` (event time) were kept for a ``period`` such as *400d*.

    It is ``finished`` when neither log nor state has any of them. ``at`` is wall-clock time.
    """

    model: str
    before: datetime
    period: str
    at: datetime
    finished: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """Who has the events of a model held, why, and since when (wall-clock time): nothing of them is deleted."""

    model: str
    by: str
    reason: str
    at: datetime


class Retention:
    """The statements on these, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # ---- cuts -------------------------------------------------------------------------------------------------------

    def cut(self, model: str) -> Cut | None:
        """Return since when a model has events; None where it has all."""
        row = self._connection.execute(sa.select(CUTS).where(CUTS.c.model == model)).one_or_none()
        return None if row is None else as_row(Cut, row)

    def cuts(self) -> dict[str, Cut]:
        """Return since when models have events, by model; those that have all are left out."""
        return {row.model: as_row(Cut, row) for row in self._connection.execute(sa.select(CUTS))}

    def forgotten_windows(self) -> dict[str, tuple[int, int]]:
        """Return of how many windows of a model how many rows were forgotten; models without any are left out."""
        columns = (FORGOTTEN_ROWS.c.model, sa.func.count(), sa.func.sum(FORGOTTEN_ROWS.c.rows))
        found = self._connection.execute(sa.select(*columns).group_by(FORGOTTEN_ROWS.c.model))
        return {model: (int(windows), int(rows)) for model, windows, rows in found}

    def put_cut(self, cut: Cut) -> None:
        """Store since when a model has events."""
        put_row(self._connection, CUTS, cut)

    def first_start(self, model: str, since: datetime | None) -> datetime | None:
        """Return the start of the oldest window that begins at a moment or after it; None where there is none."""
        asked = sa.select(sa.func.min(WINDOWS.c.start)).where(WINDOWS.c.model == model)
        if since is not None:
            asked = asked.where(WINDOWS.c.start >= since)
        found: datetime | None = self._connection.execute(asked).scalar()
        return found

    # ---- holds ------------------------------------------------------------------------------------------------------

    def holds(self) -> dict[str, Hold]:
        """Return the holds by model."""
        return {row.model: as_row(Hold, row) for row in self._connection.execute(sa.select(HOLDS))}

    def put_hold(self, hold: Hold) -> None:
        """Hold the events of a model."""
        put_row(self._connection, HOLDS, hold)

    def end_hold(self, model: str) -> None:
        """Hold them no longer."""
        self._connection.execute(HOLDS.delete().where(HOLDS.c.model == model))

    # ---- windows whose rows are gone --------------------------------------------------------------------------------

    def forgotten(self, model: str, start: datetime | None = None) -> dict[tuple[datetime, str], int]:
        """Return how many rows of a window were forgotten, by its start and version; of one window, or of all."""
        asked = sa.select(FORGOTTEN_ROWS).where(FORGOTTEN_ROWS.c.model == model)
        if start is not None:
            asked = asked.where(FORGOTTEN_ROWS.c.start == start)
        return {(row.start, row.version): row.rows for row in self._connection.execute(asked)}

    def add_forgotten(self, model: str, rows: Mapping[tuple[datetime, str], int]) -> None:
        """Count rows that were forgotten."""
        values = [
            {"model": model, "start": start, "version": version, "rows": number}
            for (start, version), number in rows.items()
        ]
        put_values(self._connection, FORGOTTEN_ROWS, values, added=("rows",))

    # ---- what is deleted, some at a time ----------------------------------------------------------------------------

    def drop_waiting_labels(self, model: str, before: datetime) -> None:
        """Forget labels of before a moment that wait for a prediction, which cannot come any more."""
        self._connection.execute(
            WAITING_LABELS.delete().where(WAITING_LABELS.c.model == model, WAITING_LABELS.c.time < before)
        )

    def drop_windows(self, model: str, before: datetime) -> None:
        """Forget the windows that begin before a moment, with all that was said of them."""
        for table in (WINDOWS, SUMMARIES, BRIEFS, FORGOTTEN_ROWS):
            self._connection.execute(table.delete().where(table.c.model == model, table.c.start < before))
        self._connection.execute(
            JUDGEMENTS.delete().where(JUDGEMENTS.c.model == model, JUDGEMENTS.c.window_start < before)
        )
        Counters(self._connection).add(model, SHOWN, "", 1)

    def drop_quarantine(self, before: datetime, most: int, held: list[str]) -> int:
        """Delete those of the ``most`` oldest rows that were set aside before a moment (wall-clock); return how many.

        No other row is looked at.
        """
        oldest = sa.select(QUARANTINE.c.id, QUARANTINE.c.arrived_at).where(QUARANTINE.c.model.not_in(held))
        rows = self._connection.execute(oldest.order_by(QUARANTINE.c.id).limit(most))
        gone = [row.id for row in rows if row.arrived_at < before]
        for some in batches(gone):
            self._connection.execute(QUARANTINE.delete().where(QUARANTINE.c.id.in_(some)))
        return len(gone)

    def drop_notifications(self, before: datetime, most: int, firing: list[str]) -> int:
        """Delete some notices that were settled and due before a moment, and count them; return how many.

        Those of alerts that are ``firing`` stay: whether the newest of them has arrived is still asked.
        """
        table = NOTIFICATIONS
        some = (
            sa.select(table.c.id, table.c.channel, table.c.state, table.c.attempts)
            .where(table.c.state != "waiting", table.c.due_at < before, table.c.alert.not_in(firing))
            .order_by(table.c.id)
            .limit(most)
        )
        counts: dict[str, int] = {}
        rows = self._connection.execute(some).all()
        for row in rows:
            failed = row.attempts - (row.state == "delivered")
            for kind, by in ((row.state, 1), ("failed attempts", failed)):
                counts[f"{kind}/{row.channel}"] = counts.get(f"{kind}/{row.channel}", 0) + by
        for part in batches([row.id for row in rows]):
            self._connection.execute(table.delete().where(table.c.id.in_(part)))
        added = [{"model": "", "name": SETTLED, "key": key, "value": by} for key, by in counts.items() if by]
        put_values(self._connection, COUNTERS, added, added=("value",))
        return len(rows)


def settled(connection: sa.Connection, kind: str) -> dict[str, int]:
    """Return how many notices of each channel that are not kept any more were of a kind."""
    rows = connection.execute(
        sa.select(COUNTERS.c.key, COUNTERS.c.value).where(
            COUNTERS.c.model == "", COUNTERS.c.name == SETTLED, COUNTERS.c.key.startswith(f"{kind}/", autoescape=True)
        )
    )
    return {row.key.partition("/")[2]: int(row.value) for row in rows}


def gone_words(cut: Cut) -> str:
    """Say of a cut what it took.

    >>> from datetime import UTC
    >>> gone_words(Cut("m", datetime(2025, 10, 27, tzinfo=UTC), "400d", datetime(2026, 12, 1, tzinfo=UTC), True))
    'rows before 2025-10-27 00:00 UTC were deleted by keep.events: 400d'
    """
    return f"rows before {moment(cut.before)} were deleted by keep.events: {cut.period}"


def held_words(hold: Hold) -> str:
    """Say by whom a model is held, since when, and why."""
    return f"by {hold.by} since {moment(hold.at)} ({hold.reason})"


def is_gone(cut: Cut | None, window: Window) -> bool:
    """Return whether the events of a window are no longer kept."""
    return cut is not None and window.start < cut.before
