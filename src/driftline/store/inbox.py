"""The inbox: a batch is durable here before it is acknowledged, and leaves when the log and the state have it."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from driftline.errors import ConflictError, DataError, RefusedRow
from driftline.events import Label, Prediction, refusal_reason
from driftline.store.counters import Counters
from driftline.store.database import file_problem, highest_number, raise_number, wait_turn
from driftline.store.sealed import KINDS, Kind, sealed, unsealed
from driftline.store.tables import ATTEMPTS, INBOX, QUARANTINE, RECEIPTS
from driftline.text import visible

POISONED = "poisoned_events"
"""The counter of accepted events that were set aside; its key is their kind."""

_LOG = logging.getLogger("driftline")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one request brought: checked events, rows set aside, and the sender's key, if there is one."""

    model: str
    kind: Kind
    arrived_at: datetime
    events: Sequence[Prediction] | Sequence[Label]
    refused: Sequence[tuple[RefusedRow, Any]] = ()
    key: str | None = None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A durable batch that waits to be processed; ``seq`` grows with arrival."""

    seq: int
    kind: Kind
    arrived_at: datetime
    predictions: list[Prediction]
    labels: list[Label]


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A refused row with its reason; ``row`` is the JSON as it came."""

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
        digest, set_aside = hashlib.sha256(delivery.body).digest(), _quarantined(delivery)
        with self._engine.begin() as connection:
            _wait_turn(connection, delivery.model)
            if delivery.key is not None:
                earlier = connection.execute(
                    sa.select(RECEIPTS.c.digest, RECEIPTS.c.accepted).where(
                        RECEIPTS.c.model == delivery.model,
                        RECEIPTS.c.kind == delivery.kind,
                        RECEIPTS.c.key == delivery.key,
                    )
                ).one_or_none()
                if earlier is not None:
                    if earlier.digest != digest:
                        raise ConflictError(
                            f"Idempotency-Key {delivery.key!r} came before with another body; take a new key"
                        )
                    return int(earlier.accepted)
                connection.execute(
                    RECEIPTS.insert().values(
                        model=delivery.model,
                        kind=delivery.kind,
                        key=delivery.key,
                        digest=digest,
                        accepted=len(delivery.events),
                        arrived_at=delivery.arrived_at,
                    )
                )
            if delivery.events:
                put(connection, delivery.model, delivery.kind, delivery.arrived_at, delivery.events)
            _set_aside(connection, delivery, set_aside)
        return len(delivery.events)

    def forget_receipts(self, before: datetime) -> None:
        """Forget the keys of deliveries that arrived before a moment; they are not sent again."""
        with self._engine.begin() as connection:
            connection.execute(RECEIPTS.delete().where(RECEIPTS.c.arrived_at < before))

    def refuse(self, model: str, reasons: Mapping[str, int]) -> None:
        """Count rows that were refused with their batch, by reason; they are the sender's to send again."""
        with self._engine.begin() as connection:
            _wait_turn(connection, model)
            for reason, rows in reasons.items():
                Counters(connection).add(model, "invalid_events", reason, rows)

    def take(self, model: str, *, most_events: int) -> list[InboxRow]:
        """Return the oldest batches of a model, at least one if there is any, up to about ``most_events`` events,
        of which a label counts as a quarter: it is small, and many are joined in not much more time than few.

        A batch whose bytes are damaged goes into quarantine, with its bytes.
        """
        rows: list[InboxRow] = []
        damaged: list[Any] = []
        events = 0.0
        with self._engine.connect().execution_options(readonly=True) as connection:
            found = connection.execute(
                sa.select(INBOX.c.seq, INBOX.c.kind, INBOX.c.arrived_at, INBOX.c.events, INBOX.c.body)
                .where(INBOX.c.model == model)
                .order_by(INBOX.c.seq)
                .limit(1000)
            )
            for row in found:
                size = row.events / 4 if row.kind == "labels" else row.events
                if (rows or damaged) and events + size > most_events:
                    break
                events += size
                if (decoded := _decoded(row)) is None:
                    damaged.append(row)
                else:
                    rows.append(decoded)
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

    def quarantined(self, model: str, *, most: int) -> list[QuarantinedRow]:
        """Return the newest rows that were set aside, newest first."""
        with self._engine.connect().execution_options(readonly=True) as connection:
            found = connection.execute(
                sa.select(QUARANTINE).where(QUARANTINE.c.model == model).order_by(QUARANTINE.c.id.desc()).limit(most)
            )
            return [
                QuarantinedRow(row.arrived_at, row.kind, row.row_index, row.field, row.reason, msgspec.Raw(row.row))
                for row in found
            ]


def done(connection: sa.Connection, model: str, rows: Sequence[InboxRow]) -> None:
    """Remove batches from the inbox, in the transaction that brings their effect into the state."""
    connection.execute(INBOX.delete().where(INBOX.c.seq.in_([row.seq for row in rows])))
    connection.execute(ATTEMPTS.delete().where(ATTEMPTS.c.model == model))


def _quarantined(delivery: Delivery) -> list[dict[str, Any]]:
    """Return the refused rows of a delivery as they are stored; made before the database is locked."""
    return [
        {
            "model": delivery.model,
            "kind": delivery.kind,
            "arrived_at": delivery.arrived_at,
            "row_index": refused.index,
            "field": refused.field,
            "reason": refused.reason,
            "row": _as_json(row),
        }
        for refused, row in delivery.refused
    ]


def _as_json(row: Any) -> bytes:
    """Return a row as JSON; what JSON does not have is shown as text."""
    try:
        return msgspec.json.encode(row)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return msgspec.json.encode(visible(_text_of(row)))


def _text_of(row: Any) -> str:
    try:
        return repr(row)
    except ValueError:  # of a whole number with too many digits
        return "a row that holds a whole number of thousands of digits"
    except RecursionError:
        return "a row that is nested too deeply to be shown"


def _set_aside(connection: sa.Connection, delivery: Delivery, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    connection.execute(QUARANTINE.insert(), rows)
    reasons = Counter(refusal_reason(delivery.kind, refused.field) for refused, _ in delivery.refused)
    for reason, number in reasons.items():
        Counters(connection).add(delivery.model, "invalid_events", reason, number)


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
    decoded = [_decoded(row) for row in found]
    _set_damaged_aside(connection, model, [row for row, one in zip(found, decoded, strict=True) if one is None])
    connection.execute(INBOX.delete().where(INBOX.c.model == model))
    connection.execute(ATTEMPTS.delete().where(ATTEMPTS.c.model == model))
    return [one for one in decoded if one is not None]


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
    wait_turn(connection, f"inbox of {model}")


def _decoded(row: Any) -> InboxRow | None:
    """Return a stored batch; None where its bytes are damaged."""
    try:
        events = unsealed(row.body, row.kind)
    except DataError:
        return None
    predictions = [one for one in events if isinstance(one, Prediction)]
    labels = [one for one in events if isinstance(one, Label)]
    return InboxRow(row.seq, row.kind, row.arrived_at, predictions, labels)


def _set_damaged_aside(connection: sa.Connection, model: str, rows: Sequence[Any]) -> None:
    """Move batches whose bytes are damaged into quarantine, as they are, and count their events."""
    for row in rows:
        connection.execute(INBOX.delete().where(INBOX.c.seq == row.seq))
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
