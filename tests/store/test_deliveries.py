"""Group commit: what many requests bring is stored together, and each is answered as if it had been alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import ConflictError, RefusedRow
from driftline.events import Label, Prediction
from driftline.events.columns import LabelColumns, PredictionColumns
from driftline.store import deliveries
from driftline.store.database import open_database
from driftline.store.deliveries import Delivery
from driftline.store.inbox import Inbox
from driftline.store.state import State
from driftline.store.tables import COUNTERS, INBOX, METADATA, QUARANTINE, RECEIPTS

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


def columns(ids: Sequence[str]) -> PredictionColumns:
    every = len(ids)
    return PredictionColumns(
        ids=[*ids],
        times=[0] * every,
        versions=["v"] * every,
        features={"x": [1.5] * every},
        predictions=["a"] * every,
        scores={"a": [None] * every},
        latencies=[None] * every,
    )


def prediction(id: str) -> Prediction:
    return Prediction(
        id=id, time=NOON, version="v", features={"x": None}, prediction="a", score={}, latency_seconds=None
    )


IDS = st.lists(st.text("ab", min_size=1, max_size=2), max_size=3)
EVENTS: st.SearchStrategy[Any] = st.one_of(IDS.map(columns), IDS.map(lambda ids: [prediction(id) for id in ids]))
LABELS: st.SearchStrategy[Any] = IDS.map(
    lambda ids: LabelColumns(ids=ids, labels=["a"] * len(ids), times=[0] * len(ids))
) | IDS.map(lambda ids: [Label(id=id, label="a", time=NOON) for id in ids])
KEYS = st.sampled_from([None, "k1", "k2"])
BAD = st.lists(st.sampled_from(["id", "time"]).map(lambda name: (RefusedRow(0, name, "bad"), {"a": 1})), max_size=2)


def delivery_of(kind: Any, events: st.SearchStrategy[Any]) -> st.SearchStrategy[Delivery]:
    return st.builds(
        Delivery,
        st.sampled_from(["m", "n"]),
        st.just(kind),
        st.just(NOON),
        events,
        BAD,
        KEYS,
        st.sampled_from([b"1", b"2"]),
        st.dictionaries(st.sampled_from(["reason 1", "reason 2"]), st.integers(1, 3)),
    )


DELIVERIES = st.lists(delivery_of("predictions", EVENTS) | delivery_of("labels", LABELS), max_size=7)


@contextmanager
def inbox() -> Iterator[tuple[Inbox, sa.Engine]]:
    engine = sa.create_engine("sqlite://")
    METADATA.create_all(engine, tables=[INBOX, RECEIPTS, QUARANTINE, COUNTERS])
    yield Inbox(engine), engine
    engine.dispose()


def contents(engine: sa.Engine) -> list[Any]:
    """Everything that is stored, but for the numbers that the database gives."""
    with engine.connect().execution_options(readonly=True) as connection:
        return [
            connection.execute(sa.select(table).order_by(*order)).all()
            for table, order in (
                (INBOX, (INBOX.c.model, INBOX.c.seq)),
                (RECEIPTS, (RECEIPTS.c.model, RECEIPTS.c.kind, RECEIPTS.c.key)),
                (QUARANTINE, (QUARANTINE.c.id,)),
                (COUNTERS, (COUNTERS.c.model, COUNTERS.c.name, COUNTERS.c.key)),
            )
        ]


@settings(max_examples=25)
@given(DELIVERIES, st.lists(st.integers(1, 4), min_size=7, max_size=7))
def test_a_group_is_answered_and_stored_as_its_members_are_alone(sent: list[Delivery], sizes: list[int]) -> None:
    with inbox() as (together, one_engine), inbox() as (alone, other_engine):
        answers: list[Any] = []
        rest = list(sent)
        for size in sizes:
            answers += together.accept_all(rest[:size]) if rest else []
            rest = rest[size:]
        apart: list[Any] = []
        for one in sent[: len(answers)]:
            try:
                apart.append(alone.accept(one))
            except ConflictError as error:
                apart.append(error)
        assert list(map(repr, answers)) == list(map(repr, apart))
        assert contents(one_engine) == contents(other_engine)


def test_a_key_that_comes_twice_in_a_group_is_stored_once(address: str) -> None:
    engine = open_database(address)
    box = Inbox(engine)
    same = Delivery("m", "predictions", NOON, columns(["a", "b"]), key="k", digest=b"1")
    other = Delivery("m", "predictions", NOON, columns(["c"]), key="k", digest=b"2")
    first, second, third = box.accept_all([same, same, other])
    assert (first, second) == (2, 2)
    assert isinstance(third, ConflictError)
    assert box.waiting_events() == {"m": 2}
    assert box.accept(same) == 2
    engine.dispose()


def test_a_model_waits_since_its_first_batch(address: str) -> None:
    engine = open_database(address)
    box = Inbox(engine)
    for model, minute in (("n", 0), ("m", 1), ("m", 2)):
        box.accept(Delivery(model, "predictions", NOON + timedelta(minutes=minute), columns([f"{minute}"])))
    assert [box.oldest_of(model) for model in ("m", "n", "o")] == [NOON + timedelta(minutes=1), NOON, None]
    engine.dispose()


def test_what_is_wrong_with_one_fails_no_other(address: str) -> None:
    engine = open_database(address)
    box = Inbox(engine)
    good = [Delivery("m", "predictions", NOON, columns([id])) for id in ("a", "b")]
    odd: Any = Delivery("m", "predictions", NOON, [object()])  # which nothing encodes
    answers = box.accept_all([good[0], odd, good[1]])
    assert [answers[0], answers[2]] == [1, 1]
    assert isinstance(answers[1], TypeError)
    assert [row.predictions[0].id for row in box.take("m", most_events=10)] == ["a", "b"]
    engine.dispose()


def test_a_group_that_the_database_fails_leaves_nothing_and_fails_for_all(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_database(address)
    box = Inbox(engine)
    full = sa.exc.OperationalError("INSERT …", {}, Exception("database or disk is full"))
    real = deliveries._insert

    def fail(connection: sa.Connection, new: Any) -> None:
        real(connection, new)
        raise full

    monkeypatch.setattr(deliveries, "_insert", fail)
    sent = [Delivery("m", "predictions", NOON, columns([id]), key=id) for id in "abc"]
    assert box.accept_all(sent) == [full] * 3
    monkeypatch.undo()
    assert box.waiting_events() == {}
    assert box.accept_all(sent) == [1, 1, 1]
    with State(engine).read() as read:
        assert read.counters.of("m") == {}
    engine.dispose()


def test_a_group_waits_once_for_a_database_that_gives_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Busy:
        def begin(self) -> None:
            asked.append("begin")
            raise sa.exc.TimeoutError("QueuePool limit of size 5 overflow 10 reached")

    sent = [Delivery("m", "predictions", NOON, columns([id])) for id in "abc"]
    answers = Inbox(Busy()).accept_all(sent)  # type: ignore[arg-type]
    assert ([type(one) for one in answers], asked) == ([sa.exc.TimeoutError] * 3, ["begin"])


def test_a_group_takes_one_transaction_and_one_statement_a_table(address: str) -> None:
    engine = open_database(address)
    said: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    commits: list[Any] = []
    sa.event.listen(engine, "commit", commits.append)
    sent = [Delivery("m", "predictions", NOON, columns([str(at)]), key=str(at)) for at in range(100)]
    assert Inbox(engine).accept_all(sent) == [1] * 100
    assert len(commits) == 1
    assert len([one for one in said if "INSERT" in one]) == 2
    assert len(said) <= 8
    engine.dispose()


def test_batches_are_taken_without_reading_those_that_are_too_many(address: str) -> None:
    engine = open_database(address)
    box = Inbox(engine)
    box.accept_all([Delivery("m", "predictions", NOON, columns(["a"] * 40)) for _ in range(5)])
    assert [len(box.take("m", most_events=most)) for most in (1, 40, 79, 80, 1000)] == [1, 1, 1, 2, 5]
    assert box.take("other", most_events=10) == []
    engine.dispose()


def test_who_counts_what_waits_reads_no_batch() -> None:
    engine = open_database("sqlite://")
    Inbox(engine).accept_all([Delivery("m", "predictions", NOON, columns(["a"] * 40))])
    said: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    assert Inbox(engine).waiting_events() == {"m": 40}
    with engine.connect().execution_options(readonly=True) as connection:
        [plan] = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said[-1]}")]
    assert "COVERING INDEX inbox_by_model" in plan
    engine.dispose()
