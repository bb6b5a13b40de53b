"""The state: what is known of each model now, and what was known then. Every statement on it stands here.

Readers open a transaction of their own; what the worker changes together it changes in one `State.work`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as upsert

from driftline.events import WHOLE, Label, Slice, Window
from driftline.store.tables import (
    ALERTS,
    COUNTERS,
    EPOCH,
    JUDGEMENTS,
    MODELS,
    PREDICTIONS,
    SUMMARIES,
    TRANSITIONS,
    WAITING_LABELS,
    WINDOWS,
)

_PARAMETERS = 500  # ids in one statement: below every database's limit
JUDGED_LATELY = 60
"""Windows among which the newest that a rule could judge is looked for."""

KNOWN_WINDOWS = "windows"
"""The counter of a model's windows: its one number that can become smaller, when they are built anew."""

JUDGED_AT = "judged_at"
"""What stands among the counters for the moment at which a window was judged last."""

VERDICTS = "verdicts"
"""The counter of verdicts that were stored, new or other than before: while it stands, all of them stand."""

_LABEL = msgspec.msgpack.Decoder(str | float)

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What is stored of a model itself; ``schema`` and ``reference`` are encoded states."""

    model: str
    fingerprint: bytes
    rules: bytes
    schema: bytes
    reference: bytes
    watermark: datetime | None
    latency: bytes | None
    last_arrival: datetime | None = None
    log_marks: bytes | None = None


@dataclass(frozen=True, slots=True)
class KnownPrediction:
    """When a prediction was made, and its label as known now (None while it is not known)."""

    time: datetime
    label: str | float | None


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window of one version. ``profile`` is the encoded `WindowProfile`, ``segments`` the `SegmentProfiles`."""

    model: str
    start: datetime
    version: str
    end: datetime
    predictions: int
    labelled: int
    profile: bytes
    labels_changed: bool
    settled: bool
    pushed: bool = False
    revision: int = 0
    assess_at: datetime | None = None
    segments: bytes | None = None

    @property
    def window(self) -> Window:
        """The span of event time."""
        return Window(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule said of a window at a moment. ``current`` is what is known now; the others, what was known then.

    ``low`` and ``high`` are the 95 % interval, ``bound`` what was compared, at the rule's one-sided ``confidence``.
    """

    model: str
    rule: str
    window_start: datetime
    window_end: datetime
    judged_at: datetime
    state: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    threshold: float
    reason: str
    current: bool
    bound: float | None = None
    confidence: float | None = None
    slice: Slice = WHOLE


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert. Value, interval and n are as they were known when it fired; ``findings`` is JSON of what changed."""

    id: str
    model: str
    rule: str
    measure: str
    severity: str
    title: str
    status: str
    started_at: datetime
    last_end: datetime
    window_start: datetime
    window_end: datetime
    value: float | None
    low: float | None
    high: float | None
    n: int
    threshold: float
    worst: float | None
    findings: bytes
    fired_at: datetime
    ended_at: datetime | None
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None
    acknowledged_reason: str = ""
    muted: str = ""
    bound: float | None = None
    confidence: float | None = None
    slice: Slice = WHOLE

    @property
    def name(self) -> str:
        """Its rule, and which rows it speaks of where these are not all."""
        return self.slice.titled(self.rule)

    @property
    def version(self) -> str:
        """The version that it speaks of; empty where it speaks of all."""
        return self.slice.version or ""

    @property
    def segment(self) -> str:
        """The segment that it speaks of, such as ``season=winter``; empty where it speaks of all rows."""
        return str(self.slice.segment or "")


@dataclass(frozen=True, slots=True)
class TransitionRow:
    """One step in an alert's life, with its reason in words."""

    alert: str
    at: datetime
    kind: str
    reason: str


class State:
    """The state database of all models."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def work(self) -> Iterator[Work]:
        """Open a transaction that may write; it commits at the end or leaves no trace."""
        with self._engine.begin() as connection:
            yield Work(connection)

    @contextmanager
    def read(self) -> Iterator[Work]:
        """Open a transaction that sees one moment and holds nobody up."""
        with self._engine.connect().execution_options(readonly=True) as connection:
            yield Work(connection)


class Work:
    """The statements, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    # ---- models -----------------------------------------------------------------------------------------------------

    def model(self, model: str) -> ModelRow | None:
        """What is stored of a model, if anything."""
        row = self.connection.execute(sa.select(MODELS).where(MODELS.c.model == model)).one_or_none()
        return None if row is None else _as(ModelRow, row)

    def put_model(self, row: ModelRow) -> None:
        """Store a model, new or changed."""
        self._put(MODELS, row)

    def last_arrivals(self) -> dict[str, datetime]:
        """When the newest event of each model arrived; models without any are left out."""
        statement = sa.select(MODELS.c.model, MODELS.c.last_arrival).where(MODELS.c.last_arrival.is_not(None))
        return {row.model: row.last_arrival for row in self.connection.execute(statement)}

    # ---- predictions and labels -------------------------------------------------------------------------------------

    def known_predictions(self, model: str, ids: Iterable[str]) -> dict[str, KnownPrediction]:
        """Those of the ids that are known predictions."""
        known: dict[str, KnownPrediction] = {}
        for some in _batches(ids):
            found = self.connection.execute(
                sa.select(PREDICTIONS).where(PREDICTIONS.c.model == model, PREDICTIONS.c.id.in_(some))
            )
            for row in found:
                label = None if row.label is None else _LABEL.decode(row.label)
                known[row.id] = KnownPrediction(row.time, label)
        return known

    def put_predictions(self, model: str, known: Mapping[str, KnownPrediction]) -> None:
        """Store predictions, new or with another label."""
        if known:
            statement = upsert(PREDICTIONS)
            self.connection.execute(
                statement.on_conflict_do_update(set_={"label": statement.excluded.label}),
                [
                    {
                        "model": model,
                        "id": id,
                        "time": one.time,
                        "label": None if one.label is None else msgspec.msgpack.encode(one.label),
                    }
                    for id, one in known.items()
                ],
            )

    def drop_predictions(self, model: str) -> None:
        """Forget all predictions of a model, to recall them from the log."""
        self.connection.execute(PREDICTIONS.delete().where(PREDICTIONS.c.model == model))

    def all_waiting_labels(self, model: str) -> list[Label]:
        """All labels that wait for their prediction, in order of time."""
        found = self.connection.execute(
            sa.select(WAITING_LABELS).where(WAITING_LABELS.c.model == model).order_by(WAITING_LABELS.c.time)
        )
        return [Label(id=row.id, label=_LABEL.decode(row.label), time=row.time) for row in found]

    def waiting_labels(self, model: str, ids: Iterable[str]) -> dict[str, Label]:
        """Those of the ids whose label came before their prediction."""
        waiting: dict[str, Label] = {}
        for some in _batches(ids):
            found = self.connection.execute(
                sa.select(WAITING_LABELS).where(WAITING_LABELS.c.model == model, WAITING_LABELS.c.id.in_(some))
            )
            waiting |= {row.id: Label(id=row.id, label=_LABEL.decode(row.label), time=row.time) for row in found}
        return waiting

    def put_waiting_labels(self, model: str, labels: Mapping[str, Label]) -> None:
        """Keep labels until their predictions come; a newer label of an id replaces the older."""
        if labels:
            statement = upsert(WAITING_LABELS)
            self.connection.execute(
                statement.on_conflict_do_update(
                    set_={"label": statement.excluded.label, "time": statement.excluded.time}
                ),
                [
                    {"model": model, "id": id, "time": one.time, "label": msgspec.msgpack.encode(one.label)}
                    for id, one in labels.items()
                ],
            )

    def drop_waiting_labels(self, model: str, ids: Iterable[str]) -> None:
        """Forget labels that have found their prediction."""
        for some in _batches(ids):
            self.connection.execute(
                WAITING_LABELS.delete().where(WAITING_LABELS.c.model == model, WAITING_LABELS.c.id.in_(some))
            )

    def drop_stale_labels(self, model: str, before: datetime) -> int:
        """Forget labels of before a moment that still wait for their prediction; return how many."""
        return self.connection.execute(
            WAITING_LABELS.delete().where(WAITING_LABELS.c.model == model, WAITING_LABELS.c.time < before)
        ).rowcount

    def count_waiting_labels(self, model: str) -> int:
        """How many labels wait for their prediction."""
        statement = sa.select(sa.func.count()).select_from(WAITING_LABELS).where(WAITING_LABELS.c.model == model)
        return int(self.connection.execute(statement).scalar_one())

    # ---- counters ---------------------------------------------------------------------------------------------------

    def count(self, model: str, name: str, key: str, by: int) -> None:
        """Add to a counter; counters only grow."""
        count(self.connection, model, name, key, by)

    def counters(self, model: str) -> dict[tuple[str, str], int]:
        """All counters of a model, by name and key."""
        found = self.connection.execute(sa.select(COUNTERS).where(COUNTERS.c.model == model))
        return {(row.name, row.key): row.value for row in found}

    def note(self, model: str, name: str, moment: datetime) -> None:
        """Keep the newest moment of a kind among the counters, as microseconds since 1970."""
        _set_counter(self.connection, model, name, (moment - EPOCH) // timedelta(microseconds=1))

    # ---- windows ----------------------------------------------------------------------------------------------------

    def windows(
        self,
        model: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        version: str | None = None,
    ) -> list[WindowRow]:
        """Windows in order of time: those that start in [start, end), of one version or all."""
        statement = sa.select(WINDOWS).where(WINDOWS.c.model == model).order_by(WINDOWS.c.start, WINDOWS.c.version)
        if start is not None:
            statement = statement.where(WINDOWS.c.start >= start)
        if end is not None:
            statement = statement.where(WINDOWS.c.start < end)
        if version is not None:
            statement = statement.where(WINDOWS.c.version == version)
        return [_as(WindowRow, row) for row in self.connection.execute(statement)]

    def window(self, model: str, start: datetime) -> list[WindowRow]:
        """The versions of one window."""
        statement = sa.select(WINDOWS).where(WINDOWS.c.model == model, WINDOWS.c.start == start)
        return [_as(WindowRow, row) for row in self.connection.execute(statement.order_by(WINDOWS.c.version))]

    def first_start(self, model: str) -> datetime | None:
        """The start of the oldest window; None before the first event."""
        statement = sa.select(sa.func.min(WINDOWS.c.start)).where(WINDOWS.c.model == model)
        found: datetime | None = self.connection.execute(statement).scalar()
        return found

    def labelled_within(self, model: str, start: datetime, end: datetime) -> int:
        """How many labelled rows the windows have that lie in [start, end)."""
        statement = sa.select(sa.func.sum(WINDOWS.c.labelled)).where(
            WINDOWS.c.model == model, WINDOWS.c.start >= start, WINDOWS.c.end <= end
        )
        return int(self.connection.execute(statement).scalar() or 0)

    def newest_settled_start(self, model: str) -> datetime | None:
        """The start of the newest window that has been judged; None before there is one."""
        statement = sa.select(sa.func.max(WINDOWS.c.start)).where(WINDOWS.c.model == model, WINDOWS.c.settled)
        found: datetime | None = self.connection.execute(statement).scalar_one()
        return found

    def judged_of_version(self, model: str, version: str, since: datetime) -> list[tuple[datetime, int]]:
        """Start and revision of the windows that end after ``since``, are judged, and have labels of the version."""
        statement = sa.select(WINDOWS.c.start, WINDOWS.c.revision).where(
            WINDOWS.c.model == model,
            WINDOWS.c.version == version,
            WINDOWS.c.end > since,
            WINDOWS.c.settled,
            WINDOWS.c.labelled > 0,
        )
        return [(start, revision) for start, revision in self.connection.execute(statement.order_by(WINDOWS.c.start))]

    def first_of_version(self, model: str, version: str) -> datetime | None:
        """The start of the oldest window that a version has answered in; None where it has answered none."""
        statement = sa.select(sa.func.min(WINDOWS.c.start)).where(
            WINDOWS.c.model == model, WINDOWS.c.version == version
        )
        found: datetime | None = self.connection.execute(statement).scalar()
        return found

    def last_of_version(self, model: str, version: str) -> datetime | None:
        """The end of the newest window that a version has answered in; None where it has answered none."""
        statement = sa.select(sa.func.max(WINDOWS.c.end)).where(WINDOWS.c.model == model, WINDOWS.c.version == version)
        found: datetime | None = self.connection.execute(statement).scalar()
        return found

    def starts_to_assess(self, model: str, watermark: datetime) -> list[datetime]:
        """The starts of the windows that have to be judged (again) at a watermark, in order."""
        due = sa.or_(WINDOWS.c.assess_at.is_(None), WINDOWS.c.assess_at <= watermark)
        statement = sa.select(WINDOWS.c.start).where(WINDOWS.c.model == model, sa.not_(WINDOWS.c.settled), due)
        return list(self.connection.execute(statement.distinct().order_by(WINDOWS.c.start)).scalars())

    def windows_with_changed_labels(self, model: str) -> list[WindowRow]:
        """The windows whose labelled part is older than the log."""
        statement = sa.select(WINDOWS).where(WINDOWS.c.model == model, WINDOWS.c.labels_changed)
        return [_as(WindowRow, row) for row in self.connection.execute(statement.order_by(WINDOWS.c.start))]

    def mark_labels_changed(self, model: str, start: datetime) -> None:
        """Say that a window has labels that its profile does not have yet."""
        self.connection.execute(
            WINDOWS.update()
            .where(WINDOWS.c.model == model, WINDOWS.c.start == start)
            .values(labels_changed=True, settled=False, assess_at=None)
        )

    def mark_settled(self, model: str, start: datetime) -> None:
        """Say that a window has been judged on all that is known."""
        self.connection.execute(
            WINDOWS.update()
            .where(WINDOWS.c.model == model, WINDOWS.c.start == start)
            .values(settled=True, pushed=False, revision=WINDOWS.c.revision + 1)
        )

    def assess_again_at(self, model: str, start: datetime, watermark: datetime) -> None:
        """Leave a window alone until the watermark comes to a moment, or the window changes."""
        self.connection.execute(
            WINDOWS.update().where(WINDOWS.c.model == model, WINDOWS.c.start == start).values(assess_at=watermark)
        )

    def assess_all(self, model: str) -> None:
        """Have the windows that are not settled judged again, where more than the windows themselves has changed."""
        self.connection.execute(
            WINDOWS.update().where(WINDOWS.c.model == model, sa.not_(WINDOWS.c.settled)).values(assess_at=None)
        )

    def unsettle_all(self, model: str) -> None:
        """Have every window judged again, after the rules have changed."""
        self.connection.execute(WINDOWS.update().where(WINDOWS.c.model == model).values(settled=False, assess_at=None))

    def put_window(self, row: WindowRow) -> None:
        """Store a window, new or changed: it has to be judged (again) at once."""
        self._put(WINDOWS, replace(row, assess_at=None))

    def drop_windows(self, model: str) -> None:
        """Forget all windows of a model, to rebuild them from the log."""
        self.connection.execute(WINDOWS.delete().where(WINDOWS.c.model == model))
        self.connection.execute(SUMMARIES.delete().where(SUMMARIES.c.model == model))

    def put_summary(self, model: str, start: datetime, slice: Slice, body: bytes) -> None:
        """Store what people are shown of a slice of a window's rows."""
        statement = upsert(SUMMARIES).values(model=model, start=start, slice=slice, body=body)
        self.connection.execute(statement.on_conflict_do_update(set_={"body": statement.excluded.body}))

    def summary(self, model: str, start: datetime, slice: Slice = WHOLE) -> bytes | None:
        """What people are shown of one window."""
        found: bytes | None = self.connection.execute(
            sa.select(SUMMARIES.c.body).where(
                SUMMARIES.c.model == model, SUMMARIES.c.start == start, SUMMARIES.c.slice == slice
            )
        ).scalar_one_or_none()
        return found

    def summaries(
        self,
        model: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        slice: Slice = WHOLE,
        newest: int | None = None,
    ) -> list[bytes]:
        """What people are shown of the windows that start in [start, end), or of its ``newest``, in order of time."""
        statement = sa.select(SUMMARIES.c.body).where(SUMMARIES.c.model == model, SUMMARIES.c.slice == slice)
        if start is not None:
            statement = statement.where(SUMMARIES.c.start >= start)
        if end is not None:
            statement = statement.where(SUMMARIES.c.start < end)
        latest_first = statement.order_by(SUMMARIES.c.start.desc()).limit(newest)
        return list(self.connection.execute(latest_first).scalars())[::-1]

    def count_windows(self, model: str) -> int:
        """How many windows a model has; counted one by one only in a state that nobody has opened yet."""
        counted = self.connection.execute(
            sa.select(COUNTERS.c.value).where(COUNTERS.c.model == model, COUNTERS.c.name == KNOWN_WINDOWS)
        ).scalar_one_or_none()
        if counted is not None:
            return int(counted)
        statement = sa.select(sa.func.count(WINDOWS.c.start.distinct())).where(WINDOWS.c.model == model)
        return int(self.connection.execute(statement).scalar_one())

    def recount_windows(self, model: str) -> None:
        """Count the windows of a model one by one, and keep the number; who adds one counts it from then on."""
        of_model = (COUNTERS.c.model == model, COUNTERS.c.name == KNOWN_WINDOWS)
        self.connection.execute(COUNTERS.delete().where(*of_model))
        _set_counter(self.connection, model, KNOWN_WINDOWS, self.count_windows(model))

    def versions(self, model: str) -> list[str]:
        """The versions that have made predictions, in order of name."""
        statement = sa.select(COUNTERS.c.key).where(
            COUNTERS.c.model == model, COUNTERS.c.name == "predictions", COUNTERS.c.value > 0
        )
        return sorted(self.connection.execute(statement).scalars())

    # ---- judgements and alerts --------------------------------------------------------------------------------------

    def judgements(
        self,
        model: str,
        *,
        rule: str | None = None,
        rules: Iterable[str] | None = None,
        slice: Slice | None = None,
        window_start: datetime | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        current: bool = True,
    ) -> list[Judgement]:
        """Judgements in order of window and of moment: what is known now, or with ``current=False`` all of them.

        Those of one window, or of the windows that start in [start, end). By the names of ``rules`` only those windows
        are read; without them the whole history is passed by. They are of one ``slice`` of the windows' rows, or
        without it of all that there are.
        """
        statement = sa.select(JUDGEMENTS).where(JUDGEMENTS.c.model == model)
        if rule is not None:
            statement = statement.where(JUDGEMENTS.c.rule == rule)
        if rules is not None:
            statement = statement.where(JUDGEMENTS.c.rule.in_(list(rules)))
        if slice is not None:
            statement = statement.where(JUDGEMENTS.c.slice == slice)
        if window_start is not None:
            statement = statement.where(JUDGEMENTS.c.window_start == window_start)
        if start is not None:
            statement = statement.where(JUDGEMENTS.c.window_start >= start)
        if end is not None:
            statement = statement.where(JUDGEMENTS.c.window_start < end)
        if current:
            statement = statement.where(JUDGEMENTS.c.current)
        statement = statement.order_by(JUDGEMENTS.c.window_start, JUDGEMENTS.c.id)
        return [_as(Judgement, row) for row in self.connection.execute(statement)]

    def newest_judgements(self, model: str, rule: str, most: int, *, slice: Slice = WHOLE) -> list[Judgement]:
        """What is known now of the newest windows that a rule has judged, in order of window."""
        statement = sa.select(JUDGEMENTS).where(
            JUDGEMENTS.c.model == model, JUDGEMENTS.c.rule == rule, JUDGEMENTS.c.slice == slice, JUDGEMENTS.c.current
        )
        newest = statement.order_by(JUDGEMENTS.c.window_start.desc(), JUDGEMENTS.c.id.desc()).limit(most)
        return [_as(Judgement, row) for row in self.connection.execute(newest)][::-1]

    def judgements_of(self, alerts: Sequence[AlertRow]) -> dict[str, list[Judgement]]:
        """What is known now, by alert: of the window that it fired on, then of the newest that its rule could judge.

        The newest is looked for among the last `JUDGED_LATELY` windows. Two statements, however many alerts.
        """
        found: dict[str, list[Judgement]] = {}
        newest: dict[tuple[str, str, Slice], Judgement] = {}
        for ids in _batches(row.id for row in alerts):
            for row in self.connection.execute(_of_its_window(ids)):
                found.setdefault(row.alert, []).append(_as(Judgement, row))
            for row in self.connection.execute(_newest_of_its_rule(ids)):
                newest[row.model, row.rule, row.slice] = _as(Judgement, row)
        for alert in alerts:
            if (one := newest.get((alert.model, alert.rule, alert.slice))) is not None:
                found.setdefault(alert.id, []).append(one)
        return found

    def verdicts(
        self,
        model: str,
        rule: str,
        *,
        slice: Slice = WHOLE,
        start: datetime | None = None,
        end: datetime | None = None,
        state: str | None = None,
        newest_first: bool = False,
        most: int,
    ) -> list[Judgement]:
        """What is known now of the windows in [start, end) that a rule could judge, or that are in one state."""
        statement = sa.select(JUDGEMENTS).where(
            JUDGEMENTS.c.model == model,
            JUDGEMENTS.c.rule == rule,
            JUDGEMENTS.c.slice == slice,
            JUDGEMENTS.c.current,
            JUDGEMENTS.c.state != "nodata" if state is None else JUDGEMENTS.c.state == state,
        )
        if start is not None:
            statement = statement.where(JUDGEMENTS.c.window_start >= start)
        if end is not None:
            statement = statement.where(JUDGEMENTS.c.window_start < end)
        order = JUDGEMENTS.c.window_start
        statement = statement.order_by(order.desc() if newest_first else order).limit(most)
        return [_as(Judgement, row) for row in self.connection.execute(statement)]

    def worst_breach(
        self, model: str, rule: str, start: datetime, end: datetime, *, slice: Slice = WHOLE, lowest: bool
    ) -> Judgement | None:
        """The breach of the lowest or highest value among the windows in [start, end), the oldest of equals."""
        order = JUDGEMENTS.c.value if lowest else JUDGEMENTS.c.value.desc()
        statement = sa.select(JUDGEMENTS).where(
            JUDGEMENTS.c.model == model,
            JUDGEMENTS.c.rule == rule,
            JUDGEMENTS.c.slice == slice,
            JUDGEMENTS.c.window_start >= start,
            JUDGEMENTS.c.window_start < end,
            JUDGEMENTS.c.current,
            JUDGEMENTS.c.state == "breach",
        )
        row = self.connection.execute(statement.order_by(order, JUDGEMENTS.c.window_start).limit(1)).one_or_none()
        return None if row is None else _as(Judgement, row)

    def breaches_in_a_row(self, model: str, rule: str, *, slice: Slice = WHOLE, since: datetime | None = None) -> int:
        """How many breaches of a rule there are since a window, or without one after the last window that was ok."""
        of_rule = (
            JUDGEMENTS.c.model == model,
            JUDGEMENTS.c.rule == rule,
            JUDGEMENTS.c.slice == slice,
            JUDGEMENTS.c.current,
        )
        if since is None:
            last_ok = (
                sa.select(JUDGEMENTS.c.window_start)
                .where(*of_rule, JUDGEMENTS.c.state == "ok")
                .order_by(JUDGEMENTS.c.window_start.desc())
                .limit(1)
            )
            ok_at = self.connection.execute(last_ok).scalar_one_or_none()
            after = [JUDGEMENTS.c.window_start > ok_at] if ok_at is not None else []
        else:
            after = [JUDGEMENTS.c.window_start >= since]
        statement = sa.select(sa.func.count()).where(*of_rule, JUDGEMENTS.c.state == "breach", *after)
        return int(self.connection.execute(statement).scalar_one())

    def put_judgement(self, row: Judgement) -> None:
        """Store what is known now; what was known before stays, no longer current."""
        self.retire_judgement(row)
        self.connection.execute(JUDGEMENTS.insert().values(_values(row)))

    def retire_judgement(self, row: Judgement) -> None:
        """Make what a rule said of a slice of a window a thing of the past."""
        self.connection.execute(
            JUDGEMENTS.update()
            .where(
                JUDGEMENTS.c.model == row.model,
                JUDGEMENTS.c.rule == row.rule,
                JUDGEMENTS.c.slice == row.slice,
                JUDGEMENTS.c.window_start == row.window_start,
                JUDGEMENTS.c.current,
            )
            .values(current=False)
        )

    def retire_judgements(self, model: str, rules: Iterable[str]) -> None:
        """Make the judgements of rules that are no longer configured a thing of the past."""
        self.connection.execute(
            JUDGEMENTS.update()
            .where(JUDGEMENTS.c.model == model, JUDGEMENTS.c.rule.not_in(list(rules)), JUDGEMENTS.c.current)
            .values(current=False)
        )

    def judged_slices(self, model: str, rule: str) -> set[Slice]:
        """The slices that a rule has judged, as far as that is known now, or has had an alert of."""
        statements = (
            sa.select(JUDGEMENTS.c.slice).where(
                JUDGEMENTS.c.model == model, JUDGEMENTS.c.rule == rule, JUDGEMENTS.c.current
            ),
            sa.select(ALERTS.c.slice).where(ALERTS.c.model == model, ALERTS.c.rule == rule),
        )
        return {found for one in statements for found in self.connection.execute(one.distinct()).scalars()}

    def alerts(
        self,
        model: str | None = None,
        *,
        rule: str | None = None,
        slice: Slice | None = None,
        status: str | None = None,
        within: tuple[datetime | None, datetime | None] = (None, None),
        before: AlertRow | None = None,
        most: int | None = None,
    ) -> list[AlertRow]:
        """Alerts, the newest window first; with ``most`` so many, and those that follow ``before`` in this order.

        ``within`` are event times, open where None: an alert of which a part lies between them.
        """
        statement = sa.select(ALERTS).order_by(ALERTS.c.window_start.desc(), ALERTS.c.id)
        begin, end = within
        if model is not None:
            statement = statement.where(ALERTS.c.model == model)
        if rule is not None:
            statement = statement.where(ALERTS.c.rule == rule)
        if slice is not None:
            statement = statement.where(ALERTS.c.slice == slice)
        if status is not None:
            statement = statement.where(ALERTS.c.status == status)
        if begin is not None:
            statement = statement.where(ALERTS.c.last_end > begin)
        if end is not None:
            statement = statement.where(ALERTS.c.started_at < end)
        if before is not None:
            at, id = ALERTS.c.window_start, ALERTS.c.id
            statement = statement.where(
                sa.or_(at < before.window_start, sa.and_(at == before.window_start, id > before.id))
            )
        return [_as(AlertRow, row) for row in self.connection.execute(statement.limit(most))]

    def alerts_ended_after(self, moment: datetime) -> list[AlertRow]:
        """Alerts that fire no longer since a moment of wall-clock time."""
        statement = sa.select(ALERTS).where(ALERTS.c.status != "firing", ALERTS.c.ended_at > moment)
        return [_as(AlertRow, row) for row in self.connection.execute(statement)]

    def put_alert(self, row: AlertRow) -> None:
        """Store an alert, new or changed."""
        self._put(ALERTS, row)

    def add_transition(self, row: TransitionRow) -> None:
        """Store a step in an alert's life."""
        self.connection.execute(TRANSITIONS.insert().values(_values(row)))

    def transitions(self, alerts: Iterable[str]) -> dict[str, list[TransitionRow]]:
        """The steps of each alert, oldest first."""
        steps: dict[str, list[TransitionRow]] = {}
        for some in _batches(alerts):
            statement = sa.select(TRANSITIONS).where(TRANSITIONS.c.alert.in_(some)).order_by(TRANSITIONS.c.id)
            for row in self.connection.execute(statement):
                steps.setdefault(row.alert, []).append(_as(TransitionRow, row))
        return steps

    def alert(self, id: str) -> AlertRow | None:
        """One alert, if it is known."""
        row = self.connection.execute(sa.select(ALERTS).where(ALERTS.c.id == id)).one_or_none()
        return None if row is None else _as(AlertRow, row)

    # ---- remote write ------------------------------------------------------------------------------------------------

    def windows_to_push(self, model: str, most: int) -> list[WindowRow]:
        """Settled windows whose measures have not gone out since, the oldest first."""
        statement = sa.select(WINDOWS).where(WINDOWS.c.model == model, WINDOWS.c.settled, sa.not_(WINDOWS.c.pushed))
        ordered = statement.order_by(WINDOWS.c.start, WINDOWS.c.version).limit(most)
        return [_as(WindowRow, row) for row in self.connection.execute(ordered)]

    def mark_pushed(self, rows: Iterable[WindowRow]) -> None:
        """Say that these have gone out, unless they were settled anew in the meantime."""
        for row in rows:
            self.connection.execute(
                WINDOWS.update()
                .where(
                    WINDOWS.c.model == row.model,
                    WINDOWS.c.start == row.start,
                    WINDOWS.c.version == row.version,
                    WINDOWS.c.revision == row.revision,
                )
                .values(pushed=True)
            )

    def _put(self, table: sa.Table, row: Any) -> None:
        statement = upsert(table).values(_values(row))
        keys = {column.name for column in table.primary_key}
        changed = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
        self.connection.execute(statement.on_conflict_do_update(index_elements=sorted(keys), set_=changed))


def count(connection: sa.Connection, model: str, name: str, key: str, by: int) -> None:
    """Add to a counter; counters only grow."""
    if by:
        statement = upsert(COUNTERS).values(model=model, name=name, key=key, value=by)
        connection.execute(statement.on_conflict_do_update(set_={"value": COUNTERS.c.value + by}))


def _set_counter(connection: sa.Connection, model: str, name: str, value: int) -> None:
    statement = upsert(COUNTERS).values(model=model, name=name, key="", value=value)
    connection.execute(statement.on_conflict_do_update(set_={"value": value}))


def _of_its_window(alerts: Sequence[str]) -> sa.Select[Any]:
    """The current judgements of the windows that alerts fired on, each with its alert."""
    its_window = sa.and_(
        JUDGEMENTS.c.model == ALERTS.c.model,
        JUDGEMENTS.c.rule == ALERTS.c.rule,
        JUDGEMENTS.c.slice == ALERTS.c.slice,
        JUDGEMENTS.c.window_start == ALERTS.c.window_start,
        JUDGEMENTS.c.current,
    )
    statement = sa.select(ALERTS.c.id.label("alert"), *(one for one in JUDGEMENTS.c if one.name != "id"))
    return statement.join_from(ALERTS, JUDGEMENTS, its_window).where(ALERTS.c.id.in_(alerts)).order_by(JUDGEMENTS.c.id)


def _newest_of_its_rule(alerts: Sequence[str]) -> sa.Select[Any]:
    """The newest current judgement with a value of each rule that has such alerts."""
    rules = (
        sa.select(ALERTS.c.model, ALERTS.c.rule, ALERTS.c.slice).where(ALERTS.c.id.in_(alerts)).distinct().subquery()
    )
    one = JUDGEMENTS.alias()
    lately = (
        sa.select(one.c.id, one.c.window_start, one.c.value, one.c.state)
        .where(
            one.c.model == rules.c.model,
            one.c.rule == rules.c.rule,
            one.c.slice == rules.c.slice,
            one.c.current,
        )
        .order_by(one.c.window_start.desc(), one.c.id.desc())
        .limit(JUDGED_LATELY)
        .correlate(rules)
        .subquery()
    )
    newest = (
        sa.select(lately.c.id)
        .where(lately.c.value.is_not(None), lately.c.state != "nodata")
        .order_by(lately.c.window_start.desc(), lately.c.id.desc())
        .limit(1)
        .correlate(rules)
        .scalar_subquery()
    )
    return sa.select(JUDGEMENTS).join_from(rules, JUDGEMENTS, JUDGEMENTS.c.id == newest)


def _batches(ids: Iterable[str]) -> Iterator[Sequence[str]]:
    all_of_them = list(ids)
    for start in range(0, len(all_of_them), _PARAMETERS):
        yield all_of_them[start : start + _PARAMETERS]


def _as(kind: type[_Row], row: sa.Row[Any]) -> _Row:
    mapping = row._mapping
    return kind(**{field.name: mapping[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def _values(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}
