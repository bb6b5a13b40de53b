"""Requests to forget rows, from when they are asked to when no byte is left; and everything in the state that goes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from driftline.errors import UnknownNameError
from driftline.sketches.hashing import fingerprints
from driftline.store.inbox import InboxRow, decoded
from driftline.store.poison import events_of
from driftline.store.predictions import Predictions, WaitingLabels
from driftline.store.sealed import sealed
from driftline.store.statements import as_row, batches, put_row, put_values
from driftline.store.tables import FORGETTINGS, FORGOTTEN_IDS, INBOX, QUARANTINE

WAITING, ERASING, CLEANING, DONE, STOPPED = "waiting", "erasing", "cleaning", "done", "stopped"
_OPEN = (WAITING, ERASING, CLEANING)
_ROWS = 200
_IDS = msgspec.msgpack.Decoder(list[str])


@dataclass(frozen=True, slots=True)
class ForgettingRow:
    """A request: the ``ids`` (MessagePack) until they are gone, ``found`` (JSON) how many rows that were, by place.

    Moments are wall-clock time.
    """

    id: str
    model: str
    by: str
    reason: str
    asked_at: datetime
    ids: bytes | None
    number: int
    state: str = WAITING
    note: str = ""
    done_at: datetime | None = None
    found: bytes | None = None

    def names(self) -> list[str]:
        """Return the ids; none once they are gone."""
        return [] if self.ids is None else _IDS.decode(self.ids)


class Forgettings:
    """The statements on these, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def put(self, row: ForgettingRow) -> None:
        """Store a request, new or changed."""
        put_row(self._connection, FORGETTINGS, row)

    def of(self, model: str, *, most: int = 100) -> list[ForgettingRow]:
        """Return the newest requests of a model, newest first."""
        asked = sa.select(FORGETTINGS).where(FORGETTINGS.c.model == model)
        found = self._connection.execute(asked.order_by(FORGETTINGS.c.asked_at.desc(), FORGETTINGS.c.id).limit(most))
        return [as_row(ForgettingRow, row) for row in found]

    def get(self, id: str) -> ForgettingRow:
        """Return a request by its id; raises `UnknownNameError`."""
        found = self._connection.execute(sa.select(FORGETTINGS).where(FORGETTINGS.c.id == id)).one_or_none()
        if found is None:
            raise UnknownNameError("request", id, ())
        return as_row(ForgettingRow, found)

    def next(self, model: str) -> ForgettingRow | None:
        """Return the oldest request of a model that is not over."""
        asked = sa.select(FORGETTINGS).where(FORGETTINGS.c.model == model, FORGETTINGS.c.state.in_(_OPEN))
        found = self._connection.execute(asked.order_by(FORGETTINGS.c.asked_at, FORGETTINGS.c.id).limit(1)).first()
        return None if found is None else as_row(ForgettingRow, found)

    def waiting_models(self) -> set[str]:
        """Return the models with a request that is not over."""
        asked = sa.select(FORGETTINGS.c.model).where(FORGETTINGS.c.state.in_(_OPEN)).distinct()
        return set(self._connection.execute(asked).scalars())

    # ---- ids that come again ----------------------------------------------------------------------------------------

    def remember(self, model: str, digests: Iterable[bytes], at: datetime) -> None:
        """Keep the keyed hashes of ids, by which what comes of them later is known."""
        rows = [{"model": model, "digest": one, "at": at} for one in digests]
        put_values(self._connection, FORGOTTEN_IDS, rows)

    def known(self, model: str, ids: Collection[str] | pl.Series, digest: Callable[[str], bytes]) -> set[str]:
        """Return those of the ids that were forgotten; none is hashed of a model that never forgot any."""
        if (
            not len(ids)
            or self._connection.execute(
                sa.select(FORGOTTEN_IDS.c.model).where(FORGOTTEN_IDS.c.model == model).limit(1)
            ).first()
            is None
        ):
            return set()
        hashed = {digest(one): one for one in ids}
        found: set[str] = set()
        for some in batches(hashed):
            asked = sa.select(FORGOTTEN_IDS.c.digest).where(
                FORGOTTEN_IDS.c.model == model, FORGOTTEN_IDS.c.digest.in_(some)
            )
            found |= {hashed[bytes(one)] for one in self._connection.execute(asked).scalars()}
        return found

    # ---- what goes --------------------------------------------------------------------------------------------------

    def erase_known(self, model: str, ids: Collection[str]) -> None:
        """Forget predictions and waiting labels."""
        Predictions(self._connection).erase(model, fingerprints(pl.Series([*ids], dtype=pl.String)))
        WaitingLabels(self._connection).drop(model, ids)

    def erase_quarantined(self, model: str, carries: Callable[[bytes], bool]) -> int:
        """Delete the rows that were set aside of which ``carries`` is true of the JSON; return how many."""
        asked = sa.select(QUARANTINE.c.id, QUARANTINE.c.row).where(QUARANTINE.c.model == model)
        gone = [row.id for row in self._connection.execute(asked) if carries(bytes(row.row))]
        for some in batches(gone):
            self._connection.execute(QUARANTINE.delete().where(QUARANTINE.c.id.in_(some)))
        return len(gone)

    def erase_waiting(self, model: str, ids: Collection[str]) -> int:
        """Take events with these ids out of what waits in the inbox; return how many."""
        last, gone = 0, 0
        while True:
            asked = sa.select(INBOX).where(INBOX.c.model == model, INBOX.c.seq > last).order_by(INBOX.c.seq)
            rows = self._connection.execute(asked.limit(_ROWS)).all()
            if not rows:
                return gone
            last = rows[-1].seq
            gone += sum(self._without(one, ids) for row in rows if (one := decoded(row)) is not None)

    def _without(self, row: InboxRow, ids: Collection[str]) -> int:
        events: Any = events_of(row)
        left = [one for one in events if one.id not in ids]
        if not left:
            self._connection.execute(INBOX.delete().where(INBOX.c.seq == row.seq))
        elif len(left) < len(events):
            values = {"events": len(left), "body": sealed(left)}
            self._connection.execute(INBOX.update().where(INBOX.c.seq == row.seq).values(values))
        return len(events) - len(left)
