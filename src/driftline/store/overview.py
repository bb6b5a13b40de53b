"""What is shown of all models at once, read in as many statements for one model as for five hundred."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from driftline.events import Slice
from driftline.store.tables import ALERTS, COUNTERS, MODELS, SUMMARIES, TRANSITIONS, WAITING_LABELS, WINDOWS

_EVERY = 2**31 - 1
_KEYS = 200  # keys of two columns in one statement: below every database's limit


class KnownModel(NamedTuple):
    """What is known of a model, without its schema and its reference."""

    watermark: datetime | None
    latency: bytes | None
    last_arrival: datetime | None


class NewestWindow(NamedTuple):
    """The newest window of a model that is settled, and how often it was, by version: while both stand, it stands."""

    start: datetime
    revisions: tuple[tuple[str, int], ...]


class Step(NamedTuple):
    """A step in an alert's life; ``id`` grows from step to step."""

    id: int
    model: str
    kind: str
    alert: str


class Overview:
    """The statements, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def models(self, only: str | None = None) -> dict[str, KnownModel]:
        """Return every model that is known, or the one that is asked for."""
        statement = sa.select(MODELS.c.model, MODELS.c.watermark, MODELS.c.latency, MODELS.c.last_arrival)
        if only is not None:
            statement = statement.where(MODELS.c.model == only)
        return {model: KnownModel(*rest) for model, *rest in self._connection.execute(statement)}

    def counters(self) -> dict[str, dict[tuple[str, str], int]]:
        """Return all counters, by model; then by name and key."""
        found: dict[str, dict[tuple[str, str], int]] = {}
        for model, name, key, value in self._connection.execute(sa.select(COUNTERS)):
            found.setdefault(model, {})[name, key] = value
        return found

    def waiting_labels(self) -> dict[str, int]:
        """Return how many labels wait for their prediction; models without any are left out."""
        statement = sa.select(WAITING_LABELS.c.model, sa.func.count().label("n")).group_by(WAITING_LABELS.c.model)
        return {row.model: int(row.n) for row in self._connection.execute(statement)}

    def firing(self) -> dict[str, int]:
        """Return how many alerts fire; models without any are left out."""
        statement = sa.select(ALERTS.c.model, sa.func.count().label("n")).where(ALERTS.c.status == "firing")
        return {row.model: int(row.n) for row in self._connection.execute(statement.group_by(ALERTS.c.model))}

    def newest_windows(self) -> dict[str, NewestWindow]:
        """Return the newest settled window of each model; models without one are left out."""
        one = WINDOWS.alias()
        start = (
            sa.select(sa.func.max(one.c.start))
            .where(one.c.model == MODELS.c.model, one.c.settled)
            .correlate(MODELS)
            .scalar_subquery()
        )
        # A limit keeps SQLite from putting the subquery into the join, where it passes all windows.
        newest = sa.select(MODELS.c.model, start.label("start")).limit(_EVERY).subquery()
        of_newest = sa.and_(WINDOWS.c.model == newest.c.model, WINDOWS.c.start == newest.c.start)
        statement = (
            sa.select(WINDOWS.c.model, WINDOWS.c.start, WINDOWS.c.version, WINDOWS.c.revision)
            .join_from(newest, WINDOWS, of_newest)
            .order_by(WINDOWS.c.model, WINDOWS.c.version)
        )
        found: dict[str, NewestWindow] = {}
        for model, start, version, revision in self._connection.execute(statement):
            before = found[model].revisions if model in found else ()
            found[model] = NewestWindow(start, (*before, (version, revision)))
        return found

    def summaries(self, starts: Mapping[str, datetime]) -> dict[str, dict[Slice, bytes]]:
        """Return what people are shown of one window of each of these models, by slice of its rows."""
        found: dict[str, dict[Slice, bytes]] = {}
        for keys in _parts(starts.items()):
            statement = sa.select(SUMMARIES.c.model, SUMMARIES.c.slice, SUMMARIES.c.body).where(
                sa.or_(*(sa.and_(SUMMARIES.c.model == model, SUMMARIES.c.start == start) for model, start in keys))
            )
            for model, slice, body in self._connection.execute(statement.order_by(SUMMARIES.c.slice)):
                found.setdefault(model, {})[slice] = body
        return found

    def steps(self, *, after: int) -> Iterator[Step]:
        """Return the steps in the lives of alerts that came after another, in order; 0 for all."""
        statement = (
            sa.select(TRANSITIONS.c.id, ALERTS.c.model, TRANSITIONS.c.kind, TRANSITIONS.c.alert)
            .join_from(TRANSITIONS, ALERTS, ALERTS.c.id == TRANSITIONS.c.alert)
            .where(TRANSITIONS.c.id > after)
        )
        return (Step(*row) for row in self._connection.execute(statement.order_by(TRANSITIONS.c.id)))


def _parts(keys: Iterable[tuple[str, datetime]]) -> Iterator[Sequence[tuple[str, datetime]]]:
    all_of_them = list(keys)
    for start in range(0, len(all_of_them), _KEYS):
        yield all_of_them[start : start + _KEYS]
