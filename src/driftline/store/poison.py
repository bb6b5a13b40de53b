"""Events that cannot be processed: how often their batch was tried, and where they are put so that the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from driftline.events import Label, Prediction
from driftline.store.counters import Counters
from driftline.store.inbox import POISONED, InboxRow
from driftline.store.sealed import sealed
from driftline.store.statements import put_values
from driftline.store.tables import ATTEMPTS, COUNTERS, INBOX, QUARANTINE
from driftline.text import visible

REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Poison:
    """An accepted event that the worker fails on: where it stands in its inbox row, and what was said of it."""

    row: InboxRow
    index: int
    reason: str

    @property
    def event(self) -> Prediction | Label:
        """The event itself."""
        return events_of(self.row)[self.index]


def events_of(row: InboxRow) -> Sequence[Prediction | Label]:
    """Return the events of an inbox row, of whichever kind."""
    return row.predictions if row.kind == "predictions" else row.labels


def begin_attempt(connection: sa.Connection, model: str, seq: int) -> int:
    """Record that the batch that begins with an inbox row is tried; return how often it was begun before.

    It is recorded before the try, so that a try that ends the process counts. `inbox.done` forgets it.
    """
    before = connection.execute(
        sa.select(ATTEMPTS.c.tried).where(ATTEMPTS.c.model == model, ATTEMPTS.c.seq == seq)
    ).scalar()
    put_values(connection, ATTEMPTS, [{"model": model, "seq": seq, "tried": (before or 0) + 1}])
    return before or 0


def set_poison_aside(connection: sa.Connection, model: str, found: Iterable[Poison]) -> None:
    """Move events from the inbox into quarantine, each with its reason, and count them. The batch starts anew."""
    by_row: dict[int, list[Poison]] = {}
    for one in found:
        by_row.setdefault(one.row.seq, []).append(one)
    for seq, poisons in by_row.items():
        row, bad = poisons[0].row, {one.index for one in poisons}
        left = [event for index, event in enumerate(events_of(row)) if index not in bad]
        if left:
            body = sealed(left)
            connection.execute(INBOX.update().where(INBOX.c.seq == seq).values(events=len(left), body=body))
        else:
            connection.execute(INBOX.delete().where(INBOX.c.seq == seq))
        connection.execute(QUARANTINE.insert(), [_quarantined(model, one) for one in poisons])
        Counters(connection).add(model, POISONED, row.kind, len(poisons))
    connection.execute(ATTEMPTS.delete().where(ATTEMPTS.c.model == model))


def poisoned(connection: sa.Connection) -> Mapping[str, int]:
    """Return how many events of each model the worker failed on and were set aside; models without any are left out."""
    total = sa.func.sum(COUNTERS.c.value)
    found = connection.execute(
        sa.select(COUNTERS.c.model, total).where(COUNTERS.c.name == POISONED).group_by(COUNTERS.c.model)
    )
    return {model: int(number) for model, number in found}


def _quarantined(model: str, one: Poison) -> dict[str, object]:
    return {
        "model": model,
        "kind": one.row.kind,
        "arrived_at": one.row.arrived_at,
        "row_index": one.index,
        "field": "",
        "reason": visible(f"the worker fails on it: {one.reason}"[:REASON_LENGTH]),
        "row": msgspec.json.encode(one.event),
    }
