"""A batch, planned by column, does what its events do one by one; whatever their order, split and repetition."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftline.events import Label, Prediction, Schema, Task
from driftline.events.columns import LabelColumns, PredictionColumns, micros_of
from driftline.monitoring.planning import Gone, Plan, arrived, make_plan
from driftline.sketches.hashing import fingerprints
from driftline.store import runs
from driftline.store.framed import TIME, PredictionFrame
from driftline.store.inbox import InboxRow
from driftline.store.predictions import Predictions
from driftline.store.runs import KeptParts
from driftline.store.tables import KNOWN_PARTS, KNOWN_RUNS, METADATA
from tests.support.known import known_of, mark_of

NOTHING = Gone()
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACCEPTED = 5 * HOUR
KEPT = 8 * HOUR

Value = str | float


@dataclass(slots=True)
class Model:
    """The same rules, an event at a time, on dictionaries."""

    gone: Gone = NOTHING
    known: dict[str, tuple[datetime, Value | None]] = field(default_factory=dict)
    waiting: dict[str, Label] = field(default_factory=dict)
    predictions: list[tuple[int, str]] = field(default_factory=list)
    labels: list[tuple[int, datetime, str, datetime, Value]] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, row: InboxRow) -> None:
        """Take one inbox row in."""
        for one in row.predictions:
            if one.id in self.gone.forgotten:
                self.counts["invalid_events", "prediction.forgotten"] += 1
            elif self._is_cut(one.time):
                self.counts["invalid_events", "prediction.too_late"] += 1
            elif one.role == "shadow":
                self.counts["shadow_predictions", one.version] += 1
            elif one.id in self.known:
                self.counts["duplicate_events", "prediction"] += 1
            else:
                self.counts["predictions", one.version] += 1
                self.predictions.append((row.seq, one.id))
                self.known[one.id] = (one.time, None)
                if (label := self.waiting.pop(one.id, None)) is not None:
                    self._label(row.seq, label)
        for label in row.labels:
            if label.id in self.gone.forgotten:
                self.counts["invalid_events", "label.forgotten"] += 1
            elif label.id in self.known:
                self._label(row.seq, label)
            elif label.id in self.waiting and self.waiting[label.id].label == label.label:
                self.counts["duplicate_events", "label"] += 1
            else:
                self.waiting[label.id] = label
                self.counts["early_labels", ""] += 1

    def forget(self, gone: Gone) -> None:
        """Know nothing of what was forgotten; what was cut off is still known."""
        self.gone = gone
        for id in gone.forgotten:
            self.known.pop(id, None)
            self.waiting.pop(id, None)

    def _is_cut(self, time: datetime) -> bool:
        return self.gone.since is not None and time < self.gone.since

    def _label(self, seq: int, label: Label) -> None:
        time, said = self.known[label.id]
        if label.time - time > ACCEPTED or self._is_cut(time):
            self.counts["invalid_events", "label.too_late"] += 1
        elif said == label.label:
            self.counts["duplicate_events", "label"] += 1
        else:
            self.counts["labels" if said is None else "corrected_labels", ""] += 1
            self.labels.append((seq, time, label.id, label.time, label.label))
            self.known[label.id] = (time, label.label)


def prediction(id: str, hours: int, version: str = "v", role: Any = "live") -> Prediction:
    return Prediction(
        id=id,
        time=START + hours * HOUR,
        version=version,
        features={},
        prediction="a",
        score={},
        latency_seconds=None,
        role=role,
    )


IDS = st.sampled_from(["a", "b", "c", "an id that is longer than a word", "e", "\N{SNOWMAN}"])
HOURS = st.integers(0, 12)
SCHEMA = Schema(Task.MULTICLASS)
PREDICTIONS = st.builds(
    prediction, IDS, HOURS, st.sampled_from(["v", "w"]), st.sampled_from(["live", "live", "live", "shadow"])
)


def labels_of(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Label]:
    return st.builds(
        lambda id, hours, label: Label(id=id, time=START + hours * HOUR, label=label), IDS, st.integers(0, 20), values
    )


def rows_of(values: st.SearchStrategy[Value]) -> st.SearchStrategy[list[list[Sequence[Any]]]]:
    """Batches of inbox rows, each of which has predictions or labels."""
    row = st.one_of(st.lists(PREDICTIONS, min_size=1, max_size=4), st.lists(labels_of(values), min_size=1, max_size=4))
    return st.lists(st.lists(row, min_size=1, max_size=5), max_size=6)


@contextmanager
def connected() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    METADATA.create_all(engine, tables=[KNOWN_RUNS, KNOWN_PARTS])
    with engine.begin() as connection:
        yield connection
    engine.dispose()


class Work:
    """A state that has nothing but predictions."""

    def __init__(self, connection: sa.Connection) -> None:
        self.predictions = Predictions(connection, KeptParts())


def planned(
    work: Any,
    batch: Sequence[InboxRow],
    waiting: dict[str, Label],
    target: type[pl.Float64] | type[pl.String],
    gone: Gone = NOTHING,
) -> Plan:
    """What the worker does with a batch, without a log."""
    came = arrived(batch).without(gone)
    found = work.predictions.find("m", came.keys)
    wait = {id: one for id, one in waiting.items() if id in came.ids.to_list()}
    plan = make_plan(batch, came, found, wait, target, accepted_for=ACCEPTED)
    work.predictions.put("m", plan.keys, plan.times, plan.marks, came=batch[-1].arrived_at, kept_for=KEPT)
    for id in plan.matched:
        del waiting[id]
    waiting |= plan.waiting
    return plan


def batches_of(sent: list[list[Sequence[Any]]]) -> Iterator[list[InboxRow]]:
    numbers = itertools.count(1)
    for batch in sent:
        yield [
            InboxRow(
                number := next(numbers),
                "labels" if isinstance(events[0], Label) else "predictions",
                START + 30 * HOUR,
                (events, by_column(events), as_frame(by_column(events)))[number % 3],
            )
            for events in batch
        ]


def by_column(events: Sequence[Any]) -> Any:
    """The same events as a body that is plain brings them; shadows come one by one."""
    shared: dict[str, Any] = {"ids": [one.id for one in events], "times": [micros_of(one.time) for one in events]}
    if isinstance(events[0], Label):
        return LabelColumns(labels=[one.label for one in events], **shared)
    if any(one.role == "shadow" for one in events):
        return events
    return PredictionColumns(
        versions=[one.version for one in events],
        predictions=[one.prediction for one in events],
        latencies=[one.latency_seconds for one in events],
        features={},
        scores={},
        **shared,
    )


def as_frame(events: Any) -> Any:
    """The same predictions as a body of Arrow brings them."""
    if not isinstance(events, PredictionColumns):
        return events
    columns = {"id": events.ids, "time": pl.Series(events.times).cast(TIME), "version": events.versions}
    return PredictionFrame(pl.DataFrame(columns | {"prediction": events.predictions}))


def does_the_same(
    sent: list[list[Sequence[Any]]],
    target: type[pl.Float64] | type[pl.String],
    gone: Gone = NOTHING,
    gone_after: int = 0,
) -> None:
    """``gone`` is so after that many batches."""
    model, waiting = Model(), dict[str, Label]()
    predictions, labels, counts = [], [], Counter[tuple[str, str]]()
    with connected() as connection:
        work: Any = Work(connection)
        for index, batch in enumerate(batches_of(sent)):
            if index == gone_after:
                model.forget(gone)
                work.predictions.erase("m", fingerprints(pl.Series([*gone.forgotten], dtype=pl.String)))
                waiting = {id: one for id, one in waiting.items() if id not in gone.forgotten}
            for row in batch:
                model.take(row)
            plan = planned(work, batch, waiting, target, model.gone)
            predictions += zip(plan.predictions.seqs.tolist(), plan.predictions.ids.to_list(), strict=True)
            frame = plan.predictions.frame(SCHEMA)
            assert frame.select("seq", "id").rows() == predictions[len(predictions) - len(frame) :]
            assert frame["time"].to_physical().to_list() == plan.predictions.times.tolist()
            assert frame["version"].to_list() == plan.predictions.versions.to_list()
            labels += plan.labels.select("seq", "prediction_time", "id", "time", "label").rows()
            counts += Counter(plan.counts)
            assert plan.watermark == max(one.time for row in batch for one in [*row.predictions, *row.labels])
        assert (predictions, labels, counts, waiting) == (model.predictions, model.labels, model.counts, model.waiting)
        known = known_of(work, "m", ["not there", *model.known])
        assert known == {id: (time, mark_of(label)) for id, (time, label) in model.known.items()}


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows make several runs and parts."""
    monkeypatch.setattr(runs, "FULL", 4)
    monkeypatch.setattr(runs, "PART_ROWS", 2)
    monkeypatch.setattr(runs, "KEPT_FROM", 0)


def early(id: str, *said: str) -> list[Label]:
    return [Label(id=id, time=START + HOUR, label=one) for one in said]


@settings(deadline=None, max_examples=80)
@given(rows_of(st.sampled_from(["yes", "no", ""])))
@example([[early("a", "yes", "no", "no")], [early("a", "no", "yes"), [prediction("a", 0)], early("a", "yes", "no")]])
@example([[early("a", "yes"), [prediction("a", 0), prediction("a", 1)]], [early("a", "no", "yes")]])
@example([[early("a", "yes")], [early("a", "no", "yes")], [[prediction("a", 9)], early("a", "yes")]])
def test_a_batch_does_what_its_events_do_one_by_one(sent: list[list[Sequence[Any]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        does_the_same(sent, pl.String)


@settings(deadline=None, max_examples=25)
@given(rows_of(st.sampled_from([0.0, -0.0, 1.5, -1e300, 5e-324])))
def test_numbers_are_joined_as_names_are(sent: list[list[Sequence[Any]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        does_the_same(sent, pl.Float64)


@settings(deadline=None, max_examples=40)
@given(rows_of(st.sampled_from(["yes", "no"])), st.none() | HOURS, st.sets(IDS, max_size=3), st.integers(0, 3))
@example([[[prediction("a", 0)]], [early("a", "yes"), [prediction("a", 9)]]], 4, set(), 1)
@example([[early("a", "yes")], [[prediction("a", 3), prediction("a", 5)]]], 4, set(), 0)
@example([[[prediction("a", 0)]], [[prediction("a", 9, role="shadow")], early("a", "yes")]], None, {"a"}, 1)
def test_what_is_gone_is_counted_and_does_nothing(
    sent: list[list[Sequence[Any]]], since: int | None, forgotten: set[str], after: int
) -> None:
    gone = Gone(None if since is None else START + since * HOUR, forgotten)
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        does_the_same(sent, pl.String, gone, after)


@settings(deadline=None, max_examples=25)
@given(rows_of(st.sampled_from(["yes", "no"])), st.integers(0, 3))
def test_ids_whose_hashes_begin_alike_are_different_ids(sent: list[list[Sequence[Any]]], alike: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        real = arrived.__globals__["fingerprints"]

        def begin_alike(ids: pl.Series) -> Any:
            keys = real(ids)
            keys[0] &= (1 << alike) - 1
            return keys

        patch.setattr("driftline.monitoring.planning.fingerprints", begin_alike)
        patch.setattr("tests.support.known.fingerprints", begin_alike)
        does_the_same(sent, pl.String)
