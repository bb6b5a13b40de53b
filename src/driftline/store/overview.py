"""What is shown of all models at once, read in as many statements for one model as for five hundred."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from driftline.events import Slice
from driftline.store.counters import JUDGED_AT, LABELS_UNTIL
from driftline.store.judgements import Judgement
from driftline.store.statements import as_row, batches
from driftline.store.tables import (
    ALERTS,
    AUDIT,
    BRIEFS,
    COUNTERS,
    INBOX,
    JUDGEMENTS,
    MODELS,
    RETRAINING,
    RETRAINING_STEPS,
    SUMMARIES,
    TRANSITIONS,
    WAITING_LABELS,
    WINDOWS,
    Moment,
)

_EVERY = 2**31 - 1
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
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


class FiringAlert(NamedTuple):
    """What a list of models says of an alert that fires; ``acknowledged_by`` is empty where nobody has taken it on."""

    model: str
    id: str
    rule: str
    severity: str
    title: str
    acknowledged_by: str


class Challenger(NamedTuple):
    """The newest request of a model at a stage."""

    model: str
    stage: str
    id: str
    version: str


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

    def mark(self) -> tuple[int, ...]:
        """Return numbers of which one is another whenever something has changed that is told of all models.

        They are counts that grow, and the newest steps of alerts, of requests and of people: one statement of which
        nothing is decoded.
        """
        moments = (JUDGED_AT, LABELS_UNTIL)  # the only ones that are no counts
        parts = (
            sa.select(sa.func.sum(COUNTERS.c.value)).where(COUNTERS.c.name.not_in(moments)),
            sa.select(sa.func.max(TRANSITIONS.c.id)),
            sa.select(sa.func.max(RETRAINING_STEPS.c.id)),
            sa.select(sa.func.max(AUDIT.c.id)),
            sa.select(sa.func.max(INBOX.c.seq)),
            sa.select(sa.func.min(INBOX.c.seq)),
        )
        columns = (sa.type_coerce(one.scalar_subquery(), sa.BigInteger) for one in parts)
        return tuple(int(one or 0) for one in self._connection.execute(sa.select(*columns)).one())

    def firing_alerts(self) -> dict[str, list[FiringAlert]]:
        """Return the alerts that fire, by model, those that fired last first."""
        columns = (ALERTS.c[name] for name in FiringAlert._fields)
        statement = sa.select(*columns).where(ALERTS.c.status == "firing").order_by(ALERTS.c.fired_at.desc())
        found: dict[str, list[FiringAlert]] = {}
        for row in self._connection.execute(statement.order_by(ALERTS.c.id)):
            found.setdefault(row.model, []).append(FiringAlert(*row))
        return found

    def challengers(self, stages: Iterable[str]) -> dict[str, dict[str, Challenger]]:
        """Return the newest request of each model at each of these stages."""
        of_stage = (RETRAINING.c.model, RETRAINING.c.stage)
        newest = sa.select(*of_stage, sa.func.max(RETRAINING.c.asked_at).label("asked_at")).group_by(*of_stage)
        last = newest.where(RETRAINING.c.stage.in_(list(stages))).subquery()
        is_last = sa.and_(*(RETRAINING.c[name] == last.c[name] for name in ("model", "stage", "asked_at")))
        columns = (RETRAINING.c[name] for name in Challenger._fields)
        statement = sa.select(*columns).join(last, is_last).order_by(RETRAINING.c.asked_at, RETRAINING.c.id)
        found: dict[str, dict[str, Challenger]] = {}
        for row in self._connection.execute(statement):
            found.setdefault(row.model, {})[row.stage] = Challenger(*row)
        return found

    def briefs(self, models: Iterable[str], most: int) -> dict[str, list[bytes]]:
        """Return what is shown of the ``most`` newest windows of each of these models in a list, in order of time."""
        found: dict[str, list[bytes]] = {}
        one = BRIEFS.alias()
        last = sa.select(one.c.start).where(one.c.model == MODELS.c.model).correlate(MODELS)
        least = last.order_by(one.c.start.desc()).limit(1).offset(most - 1).scalar_subquery()
        first = sa.func.coalesce(least, sa.literal(_FIRST, Moment))
        for some in batches(list(models)):
            # A limit keeps SQLite from putting the subquery into the join, where it passes all windows.
            since = sa.select(MODELS.c.model, first.label("start")).where(MODELS.c.model.in_(some)).limit(_EVERY)
            newest = since.subquery()
            statement = (
                sa.select(BRIEFS.c.model, BRIEFS.c.body)
                .join_from(newest, BRIEFS, sa.and_(BRIEFS.c.model == newest.c.model, BRIEFS.c.start >= newest.c.start))
                .order_by(BRIEFS.c.model, BRIEFS.c.start)
            )
            for model, body in self._connection.execute(statement):
                found.setdefault(model, []).append(body)
        return found

    def verdicts(self, windows: Mapping[str, tuple[datetime, Sequence[str]]]) -> dict[str, list[Judgement]]:
        """Return what these rules say now of one window of each of these models."""
        found: dict[str, list[Judgement]] = {}
        keys = [(model, start, rules) for model, (start, rules) in windows.items() if rules]
        for place in range(0, len(keys), _KEYS):
            of_one = (
                sa.and_(JUDGEMENTS.c.model == model, JUDGEMENTS.c.rule.in_(rules), JUDGEMENTS.c.window_start == start)
                for model, start, rules in keys[place : place + _KEYS]
            )
            statement = sa.select(JUDGEMENTS).where(sa.or_(*of_one), JUDGEMENTS.c.current)
            for row in self._connection.execute(statement.order_by(JUDGEMENTS.c.id)):
                found.setdefault(row.model, []).append(as_row(Judgement, row))
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
