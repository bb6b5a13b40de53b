"""Known predictions, and labels that wait for theirs. Every statement on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
import sqlalchemy as sa

from driftline.events import Label
from driftline.store.statements import batches, put_values
from driftline.store.tables import PREDICTIONS, WAITING_LABELS

_LABEL = msgspec.msgpack.Decoder(str | float)


@dataclass(frozen=True, slots=True)
class KnownPrediction:
    """When a prediction was made, and its label as known now (None while it is not known)."""

    time: datetime
    label: str | float | None


class Predictions:
    """The statements on known predictions, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def known(self, model: str, ids: Iterable[str]) -> dict[str, KnownPrediction]:
        """Return those of the ids that are known predictions."""
        known: dict[str, KnownPrediction] = {}
        for some in batches(ids):
            found = self._connection.execute(
                sa.select(PREDICTIONS).where(PREDICTIONS.c.model == model, PREDICTIONS.c.id.in_(some))
            )
            for row in found:
                label = None if row.label is None else _LABEL.decode(row.label)
                known[row.id] = KnownPrediction(row.time, label)
        return known

    def put(self, model: str, known: Mapping[str, KnownPrediction]) -> None:
        """Store predictions, new or with another label."""
        rows = [
            {
                "model": model,
                "id": id,
                "time": one.time,
                "label": None if one.label is None else msgspec.msgpack.encode(one.label),
            }
            for id, one in known.items()
        ]
        put_values(self._connection, PREDICTIONS, rows, changed=("label",))

    def drop(self, model: str) -> None:
        """Forget all predictions of a model, to recall them from the log."""
        self._connection.execute(PREDICTIONS.delete().where(PREDICTIONS.c.model == model))


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

    def of(self, model: str, ids: Iterable[str]) -> dict[str, Label]:
        """Return those of the ids whose label came before their prediction."""
        waiting: dict[str, Label] = {}
        for some in batches(ids):
            found = self._connection.execute(
                sa.select(WAITING_LABELS).where(WAITING_LABELS.c.model == model, WAITING_LABELS.c.id.in_(some))
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
