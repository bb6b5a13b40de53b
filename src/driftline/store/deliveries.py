"""Deliveries, and how many of them at a time are stored: what one request brought is durable with its receipt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from driftline.errors import ConflictError, RefusedRow
from driftline.events import refusal_reason
from driftline.store.counters import INVALID, Counters
from driftline.store.database import wait_turn
from driftline.store.sealed import Events, Kind, sealed
from driftline.store.statements import batches
from driftline.store.tables import INBOX, QUARANTINE, RECEIPTS
from driftline.text import visible


def turn_of(model: str) -> str:
    """Return the name by which those wait who number batches of a model: the log takes lower numbers for known."""
    return f"inbox of {model}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one request brought: checked events, rows set aside, and the sender's key, if there is one.

    ``digest`` tells a key's batch from others, and is of its body. ``counted`` are rows that were refused with their
    batch, by reason: they are the sender's to send again.
    """

    model: str
    kind: Kind
    arrived_at: datetime
    events: Events = ()
    refused: Sequence[tuple[RefusedRow, Any]] = ()
    key: str | None = None
    digest: bytes = b""
    counted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A delivery as it is stored; made before the database is locked."""

    delivery: Delivery
    body: bytes
    set_aside: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, delivery: Delivery) -> Prepared:
        """Encode a delivery."""
        body = sealed(delivery.events) if len(delivery.events) else b""
        return cls(delivery, body, _quarantined(delivery))

    @property
    def receipt(self) -> tuple[str, Kind, str]:
        """The key of its receipt."""
        return self.delivery.model, self.delivery.kind, self.delivery.key or ""


def store_all(connection: sa.Connection, prepared: Sequence[Prepared]) -> list[int | Exception]:
    """Store deliveries in their order; return the outcome of each."""
    for model in sorted({one.delivery.model for one in prepared}):  # in one order, so that no two wait for each other
        wait_turn(connection, turn_of(model))
    receipts = _receipts(connection, [one for one in prepared if one.delivery.key is not None])
    outcomes: list[int | Exception] = []
    new: list[Prepared] = []
    for one in prepared:
        earlier = None
        if one.delivery.key is not None:
            accepted = (one.delivery.digest, len(one.delivery.events))
            earlier = receipts.setdefault(one.receipt, accepted)
            earlier = None if earlier is accepted else earlier
        if earlier is None:
            new.append(one)
            outcomes.append(len(one.delivery.events))
        elif earlier[0] == one.delivery.digest:
            outcomes.append(earlier[1])
        else:
            said = f"Idempotency-Key {one.delivery.key!r} came before with another body; take a new key"
            outcomes.append(ConflictError(said))
    _insert(connection, new)
    return outcomes


def _receipts(connection: sa.Connection, keyed: Sequence[Prepared]) -> dict[tuple[str, Kind, str], tuple[bytes, int]]:
    """Return digest and answer of the receipts that there are for some deliveries."""
    keys: dict[tuple[str, Kind], list[str]] = {}
    for one in keyed:
        keys.setdefault(one.receipt[:2], []).append(one.receipt[2])
    found: dict[tuple[str, Kind, str], tuple[bytes, int]] = {}
    for (model, kind), some in keys.items():
        for part in batches(some):
            rows = connection.execute(
                sa.select(RECEIPTS.c.key, RECEIPTS.c.digest, RECEIPTS.c.accepted).where(
                    RECEIPTS.c.model == model, RECEIPTS.c.kind == kind, RECEIPTS.c.key.in_(part)
                )
            )
            found |= {(model, kind, row.key): (row.digest, int(row.accepted)) for row in rows}
    return found


def _insert(connection: sa.Connection, new: Sequence[Prepared]) -> None:
    """Insert deliveries: one statement a table, however many there are."""
    receipts = [
        {
            "model": one.delivery.model,
            "kind": one.delivery.kind,
            "key": one.delivery.key,
            "digest": one.delivery.digest,
            "accepted": len(one.delivery.events),
            "arrived_at": one.delivery.arrived_at,
        }
        for one in new
        if one.delivery.key is not None
    ]
    waiting = [
        {
            "model": one.delivery.model,
            "kind": one.delivery.kind,
            "arrived_at": one.delivery.arrived_at,
            "events": len(one.delivery.events),
            "body": one.body,
        }
        for one in new
        if one.body
    ]
    for table, rows in (
        (RECEIPTS, receipts),
        (INBOX, waiting),
        (QUARANTINE, [row for one in new for row in one.set_aside]),
    ):
        if rows:
            connection.execute(table.insert(), rows)
    counted: Counter[tuple[str, str]] = Counter()
    for one in new:
        reasons = Counter(refusal_reason(one.delivery.kind, refused.field) for refused, _ in one.delivery.refused)
        reasons.update(one.delivery.counted)
        counted.update({(one.delivery.model, reason): number for reason, number in reasons.items()})
    for (model, reason), number in sorted(counted.items()):
        Counters(connection).add(model, INVALID, reason, number)


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
