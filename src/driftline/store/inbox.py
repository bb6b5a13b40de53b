"""The inbox: a batch is durable here before it is acknowledged, and leaves when the log and the state have it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec
import sqlalchemy as sa

from driftline.errors import DataError, StorageError
from driftline.events import Label, Prediction
from driftline.store.counters import Counters
from driftline.store.database import file_problem, highest_number, raise_number, size_of, wait_turn
from driftline.store.deliveries import Delivery, Prepared, store_all, turn_of
from driftline.store.sealed import KINDS, Events, Kind, events_by_row, sealed, unsealed
from driftline.store.statements import batches
from driftline.store.tables import ATTEMPTS, INBOX, QUARANTINE, RECEIPTS

POISONED = "poisoned_events"
"""The counter of accepted events that were set aside; its key is their kind."""

UNAVAILABLE = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError, StorageError, OSError)
"""What says that nothing can be stored now, whatever it is: the database is away, locked or full."""

_MOST_BATCHES = 10_000
"""How many batches are taken at a time at most."""

_LOG = logging.getLogger("driftline")


@dataclass(frozen=True)
class InboxRow:
    """A durable batch that waits to be processed, of predictions or of labels; ``seq`` grows with arrival."""

    seq: int
    kind: Kind
    arrived_at: datetime
    events: Events

    @cached_property
    def predictions(self) -> list[Prediction]:
        """Its predictions one by one."""
        return [one for one in events_by_row(self.events) if isinstance(one, Prediction)]

    @cached_property
    def labels(self) -> list[Label]:
        """Its labels one by one."""
        return [one for one in events_by_row(self.events) if isinstance(one, Label)]


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A refused row with its reason; ``row`` is the JSON as it came, and ``id`` grows from row to row."""

    id: int
    arrived_at: datetime
    kind: str
    index: int
    field: str
    reason: str
    row: msgspec.Raw


class Inbox:
    """The durable queue between the HTTP routes and the worker."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def file_problem(self) -> str | None:
        """Return why nothing can be accepted, where the file that was opened is gone or is another by now."""
        return file_problem(self._engine)

    def accept(self, delivery: Delivery) -> int:
        """Store a delivery and return how many events were accepted; when this returns they are on the disk.

        A key that was seen before with the same body returns the earlier answer and stores nothing.
        """
        [outcome] = self.accept_all([delivery])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def accept_all(self, deliveries: Sequence[Delivery]) -> list[int | Exception]:
        """Store deliveries in one transaction; return for each what `accept` would return or raise, were it alone.

        What is wrong with one of them fails no other; where the database is away or full, all of them fail.
        """
        try:
            prepared = [Prepared.of(one) for one in deliveries]
            with self._engine.begin() as connection:
                return store_all(connection, prepared)
        except UNAVAILABLE as error:
            return [error] * len(deliveries)
        except Exception as error:  # noqa: BLE001 - it is of one of them, and is raised to whoever sent that
            if len(deliveries) == 1:
                return [error]
            return [outcome for one in deliveries for outcome in self.accept_all([one])]

    def forget_receipts(self, before: datetime) -> None:
        """Forget the keys of deliveries that arrived before a moment; they are not sent again."""
        with self._engine.begin() as connection:
            connection.execute(RECEIPTS.delete().where(RECEIPTS.c.arrived_at < before))

    def take(self, model: str, *, most_events: int) -> list[InboxRow]:
        """Return the oldest batches of a model, at least one if there is any, up to about ``most_events`` events,
        of which a label counts as a quarter: it is small, and many are joined in not much more time than few.

        A batch whose bytes are damaged goes into quarantine, with its bytes.
        """
        rows: list[InboxRow] = []
        damaged: list[Any] = []
        with self._engine.connect().execution_options(readonly=True) as connection:
            if (last := _last_of(connection, model, most_events)) is None:
                return []
            found = connection.execute(
                sa.select(INBOX.c.seq, INBOX.c.kind, INBOX.c.arrived_at, INBOX.c.events, INBOX.c.body)
                .where(INBOX.c.model == model, INBOX.c.seq <= last)
                .order_by(INBOX.c.seq)
            )
            for row in found:
                if (one := decoded(row)) is None:
                    damaged.append(row)
                else:
                    rows.append(one)
        if damaged:
            with self._engine.begin() as connection:
                _set_damaged_aside(connection, model, damaged)
        return rows

    def waiting_models(self) -> set[str]:
        """Return the models that have something in the inbox."""
        with self._engine.connect().execution_options(readonly=True) as connection:
            return set(connection.execute(sa.select(INBOX.c.model).distinct()).scalars())

    def waiting_events(self) -> dict[str, int]:
        """Return how many events wait in the inbox, by model; models without any are left out."""
        with self._engine.connect().execution_options(readonly=True) as connection:
            found = connection.execute(sa.select(INBOX.c.model, sa.func.sum(INBOX.c.events)).group_by(INBOX.c.model))
            return {model: int(events) for model, events in found}

    def database_bytes(self) -> int:
        """Return how large the database is that the inbox is in."""
        return size_of(self._engine)

    def oldest_waiting(self) -> dict[str, datetime]:
        """Return since when the oldest batch of each model waits in the inbox; models without any are left out."""
        with self._engine.connect().execution_options(readonly=True) as connection:
            oldest = sa.select(INBOX.c.model, sa.func.min(INBOX.c.arrived_at).label("arrived_at")).group_by(
                INBOX.c.model
            )
            return {row.model: row.arrived_at for row in connection.execute(oldest)}

    def oldest_of(self, model: str) -> datetime | None:
        """Return since when the first batch of a model waits; None where none does. One row is read."""
        asked = sa.select(INBOX.c.arrived_at).where(INBOX.c.model == model).order_by(INBOX.c.seq).limit(1)
        with self._engine.connect().execution_options(readonly=True) as connection:
            found: datetime | None = connection.execute(asked).scalar()
            return found

    def quarantined(
        self, model: str, *, most: int, before: int | None = None, row_bytes: int | None = None
    ) -> list[QuarantinedRow]:
        """Return the newest rows that were set aside, newest first; or those before the one of an id.

        With ``row_bytes`` no more than so many bytes are read of each row, which is no JSON then if it is longer.
        """
        row = QUARANTINE.c.row if row_bytes is None else sa.func.substr(QUARANTINE.c.row, 1, row_bytes)
        columns = [one for one in QUARANTINE.c if one.name not in ("model", "row")]
        asked = sa.select(*columns, sa.type_coerce(row, sa.LargeBinary).label("row"))
        asked = asked.where(QUARANTINE.c.model == model).order_by(QUARANTINE.c.id.desc())
        if before is not None:
            asked = asked.where(QUARANTINE.c.id < before)
        with self._engine.connect().execution_options(readonly=True) as connection:
            return [
                QuarantinedRow(
                    row.id, row.arrived_at, row.kind, row.row_index, row.field, row.reason, msgspec.Raw(row.row)
                )
                for row in connection.execute(asked.limit(most))
            ]


def _last_of(connection: sa.Connection, model: str, most_events: int) -> int | None:
    """Return the number of the last of the oldest batches that have so many events together; the first is among them.

    The bodies are not read for that: who asks for a server's rows gets all of them at once.
    """
    found = connection.execute(
        sa.select(INBOX.c.seq, INBOX.c.kind, INBOX.c.events)
        .where(INBOX.c.model == model)
        .order_by(INBOX.c.seq)
        .limit(_MOST_BATCHES)
    )
    last, events = None, 0.0
    for row in found:
        events += row.events / 4 if row.kind == "labels" else row.events
        if last is not None and events > most_events:
            break
        last = int(row.seq)
    return last


def done(connection: sa.Connection, model: str, rows: Sequence[InboxRow]) -> None:
    """Remove batches from the inbox, in the transaction that brings their effect into the state."""
    for some in batches(row.seq for row in rows):
        connection.execute(INBOX.delete().where(INBOX.c.seq.in_(some)))
    connection.execute(ATTEMPTS.delete().where(ATTEMPTS.c.model == model))


def has(connection: sa.Connection, model: str, seq: int) -> bool:
    """Return whether a batch of a model still waits."""
    found = connection.execute(sa.select(INBOX.c.seq).where(INBOX.c.model == model, INBOX.c.seq == seq))
    return found.scalar() is not None


def sequence(connection: sa.Connection) -> int:
    """Return the highest number that a batch of any model has had."""
    return highest_number(connection, INBOX)


def raise_sequence(connection: sa.Connection, least: int) -> None:
    """Have the next batches numbered above what a log holds already: it would take them for known."""
    raise_number(connection, INBOX, least)


def take_out(connection: sa.Connection, model: str) -> list[InboxRow]:
    """Remove and return all batches of a model, in their order; those whose bytes are damaged go into quarantine."""
    _wait_turn(connection, model)
    found = connection.execute(sa.select(INBOX).where(INBOX.c.model == model).order_by(INBOX.c.seq)).all()
    batches = [decoded(row) for row in found]
    _set_damaged_aside(connection, model, [row for row, one in zip(found, batches, strict=True) if one is None])
    connection.execute(INBOX.delete().where(INBOX.c.model == model))
    connection.execute(ATTEMPTS.delete().where(ATTEMPTS.c.model == model))
    return [one for one in batches if one is not None]


def put(
    connection: sa.Connection,
    model: str,
    kind: Kind,
    arrived_at: datetime,
    events: Sequence[Prediction] | Sequence[Label],
) -> None:
    """Put a batch at the end."""
    _wait_turn(connection, model)
    connection.execute(
        INBOX.insert().values(
            model=model,
            kind=kind,
            arrived_at=arrived_at,
            events=len(events),
            body=sealed(events),
        )
    )


def _wait_turn(connection: sa.Connection, model: str) -> None:
    """Have batches of a model seen in the order of their numbers: the log takes lower ones for known."""
    wait_turn(connection, turn_of(model))


def decoded(row: Any) -> InboxRow | None:
    """Return a stored batch; None where its bytes are damaged."""
    try:
        return InboxRow(row.seq, row.kind, row.arrived_at, unsealed(row.body, row.kind))
    except DataError:
        return None


def _set_damaged_aside(connection: sa.Connection, model: str, rows: Sequence[Any]) -> None:
    """Move batches whose bytes are damaged into quarantine, as they are, and count their events."""
    for row in rows:
        if not connection.execute(INBOX.delete().where(INBOX.c.seq == row.seq)).rowcount:
            continue  # another has
        kind = row.kind if row.kind in KINDS else KINDS[0]
        said = {
            "model": model,
            "kind": kind,
            "arrived_at": row.arrived_at,
            "row_index": 0,
            "field": "",
            "reason": f"the stored bytes of this batch of {row.events} events are damaged; `body` has them in base64",
            "row": msgspec.json.encode({"body": bytes(row.body)}),
        }
        connection.execute(QUARANTINE.insert(), said)
        Counters(connection).add(model, POISONED, kind, row.events)
        _LOG.warning("%s: %d events were set aside, for their stored bytes are damaged", model, row.events)
