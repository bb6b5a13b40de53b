"""Known predictions, and labels that wait for theirs. Every statement on them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import sqlalchemy as sa

from driftline.events import Label
from driftline.sketches.hashing import hash_texts
from driftline.store.runs import NO_MARK, Found, KeptParts, Rows, Runs, Words
from driftline.store.statements import batches, put_values
from driftline.store.tables import EPOCH, WAITING_LABELS

_LABEL = msgspec.msgpack.Decoder(str | float)


def label_marks(labels: pl.Series) -> Words:
    """Return the marks of labels, shape (n,): two labels have the same if they are the same; null has `NO_MARK`.

    That of a number is its bits, that of a name its hash.

    >>> label_marks(pl.Series([0.0, -0.0, None])).tolist(), hex(NO_MARK)
    ([0, 0, 9221120237041090560], '0x7ff8000000000000')
    """
    if labels.dtype == pl.Float64:
        bits: Words = (labels.to_numpy() + 0.0).view(np.uint64)
        return np.where(labels.is_null().to_numpy(), NO_MARK, bits)
    names = labels.drop_nulls().unique()  # of few classes: each is hashed once
    hashes = pl.Series(hash_texts(names.cast(pl.String)))
    marks: Words = labels.replace_strict(names, hashes, default=int(NO_MARK), return_dtype=pl.UInt64).to_numpy()
    return marks


class Predictions:
    """The statements on known predictions, within one transaction."""

    def __init__(self, connection: sa.Connection, kept: KeptParts | None = None) -> None:
        self._runs = Runs(connection, kept)

    def find(self, model: str, keys: Words) -> Found:
        """Return what is known of predictions, in the order of their keys: the `fingerprints` of their ids."""
        return self._runs.find(model, *keys)

    def put(
        self,
        model: str,
        keys: Words,
        times: npt.NDArray[np.int64],
        marks: Words,
        *,
        came: datetime,
        kept_for: timedelta,
    ) -> None:
        """Store predictions, new or with another label; ``times`` are in microseconds since 1970.

        They ``came`` at a moment, and are kept at least ``kept_for`` so long from then on, and from their event time.
        """
        if len(times):
            newest = EPOCH + timedelta(microseconds=int(times.max()))
            self._runs.put(model, Rows(keys[0], keys[1], times, marks), max(came, newest), kept_for=kept_for)

    def forget_oldest(self, model: str, before: datetime) -> int:
        """Forget some of those that came before a moment, a bounded number; return how many, 0 if there are none."""
        return self._runs.forget_oldest(model, before)

    def erase(self, model: str, keys: Words) -> None:
        """Leave nothing of some predictions, by their keys."""
        self._runs.erase(model, keys[0], keys[1])

    def drop(self, model: str) -> None:
        """Forget all predictions of a model, to recall them from the log."""
        self._runs.drop(model)


class WaitingLabels:
    """The statements on labels that came before their prediction, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def all(self, model: str) -> list[Label]:
        """Return all labels that wait for their prediction, in order of time."""
        found = self._connection.execute(
            sa.select(WAITING_LABELS).where(WAITING_LABELS.c.model == model).order_by(WAITING_LABELS.c.time)
        )
        return [Label(id=row.id, label=_LABEL.decode(row.label), time=row.time) for row in found]

    def of(self, model: str, ids: Collection[str] | pl.Series) -> dict[str, Label]:
        """Return those of the ids whose label came before their prediction. Where none does, it is one statement."""
        waiting: dict[str, Label] = {}
        asked = sa.select(WAITING_LABELS.c.id).where(WAITING_LABELS.c.model == model).limit(len(ids) + 1)
        those_there = set(self._connection.execute(asked).scalars())
        if not those_there:
            return {}
        few = those_there.intersection(ids) if len(those_there) <= len(ids) else ids
        for part in batches(few):
            found = self._connection.execute(
                sa.select(WAITING_LABELS).where(WAITING_LABELS.c.model == model, WAITING_LABELS.c.id.in_(part))
            )
            waiting |= {row.id: Label(id=row.id, label=_LABEL.decode(row.label), time=row.time) for row in found}
        return waiting

    def put(self, model: str, labels: Mapping[str, Label]) -> None:
        """Keep labels until their predictions come; a newer label of an id replaces the older."""
        rows = [
            {"model": model, "id": id, "time": one.time, "label": msgspec.msgpack.encode(one.label)}
            for id, one in labels.items()
        ]
        put_values(self._connection, WAITING_LABELS, rows)

    def drop(self, model: str, ids: Iterable[str]) -> None:
        """Forget labels that have found their prediction."""
        for some in batches(ids):
            self._connection.execute(
                WAITING_LABELS.delete().where(WAITING_LABELS.c.model == model, WAITING_LABELS.c.id.in_(some))
            )

    def drop_before(self, model: str, before: datetime) -> int:
        """Forget labels of before a moment that still wait for their prediction; return how many."""
        return self._connection.execute(
            WAITING_LABELS.delete().where(WAITING_LABELS.c.model == model, WAITING_LABELS.c.time < before)
        ).rowcount

    def count(self, model: str) -> int:
        """Return how many labels wait for their prediction."""
        statement = sa.select(sa.func.count()).select_from(WAITING_LABELS).where(WAITING_LABELS.c.model == model)
        return int(self._connection.execute(statement).scalar_one())
