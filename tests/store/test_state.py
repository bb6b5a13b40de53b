"""The state port: what holds of the state in every database that it can be kept in, and that all say the same."""

from __future__ import annotations

import inspect
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from driftline.errors import ConflictError, RefusedRow, StorageError
from driftline.events import Label, Prediction, Segment, Slice
from driftline.store import database, inbox, sqlite
from driftline.store.alerts import AlertRow, TransitionRow
from driftline.store.counters import set_counter
from driftline.store.database import Watch, has_state, newest_revision, open_database, revision_of
from driftline.store.deliveries import Delivery
from driftline.store.detections import SINGLE_PART, WHOLE_PART, DetectionRow, DetectorRow, DetectorStateRow
from driftline.store.feedback import FeedbackRow
from driftline.store.inbox import Inbox
from driftline.store.judgements import Judgement
from driftline.store.models import ModelRow
from driftline.store.outbox import NotificationRow, Outbox, SilenceRow, ToldRow
from driftline.store.overview import Overview
from driftline.store.poison import begin_attempt
from driftline.store.retraining import Retraining, RetrainingRow
from driftline.store.state import State, Work
from driftline.store.tables import METADATA
from driftline.store.windows import WindowRow
from tests.support.known import known_of, mark_of, put_known
from tests.support.postgresql import PostgreSQL

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def engine(address: str) -> Iterator[sa.Engine]:
    engine = open_database(address)
    yield engine
    engine.dispose()


@pytest.fixture
def state(engine: sa.Engine) -> State:
    return State(engine)


def prediction(id: str) -> Prediction:
    return Prediction(
        id=id, time=NOON, version="v", features={"x": 1.0}, prediction="a", score={}, latency_seconds=None
    )


def delivery(*ids: str, model: str = "m", key: str | None = None, body: bytes = b"") -> Delivery:
    return Delivery(model, "predictions", NOON, [prediction(id) for id in ids], key=key, digest=body)


# ---- tables ---------------------------------------------------------------------------------------------------------


def test_the_migrations_make_the_tables_that_the_code_speaks_of(
    empty_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new database is made without them: both ways must come to the same, to the last default."""
    monkeypatch.setattr(database, "migrate", inspect.unwrap(database.migrate))
    made = open_database(empty_address)
    shape = _shape(made)
    with made.begin() as connection:
        METADATA.drop_all(connection)
        connection.execute(sa.text("DROP TABLE alembic_version"))
        database._upgrade(connection)
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    made.dispose()
    migrated = open_database(empty_address)
    assert _shape(migrated) == shape
    assert revision_of(migrated) == newest_revision()
    migrated.dispose()


def _shape(engine: sa.Engine) -> dict[str, Any]:
    """What a database says of itself, table by table, in any order of the columns."""
    seen = sa.inspect(engine)
    with engine.connect() as connection:
        revisions = connection.execute(sa.text("SELECT version_num FROM alembic_version")).all()
    shape: dict[str, Any] = {"revisions": [tuple(one) for one in revisions]}
    for table in seen.get_table_names():
        columns = {one["name"]: {**one, "type": repr(one["type"])} for one in seen.get_columns(table)}
        indexes = {str(one["name"]): one for one in seen.get_indexes(table)}
        others = (seen.get_pk_constraint(table), seen.get_unique_constraints(table), seen.get_check_constraints(table))
        shape[table] = (columns, indexes, seen.get_foreign_keys(table), *others)
    if engine.dialect.name == "sqlite":  # numbers that never come again: the inspector does not see it
        with engine.connect() as connection:
            asked = "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'"
            shape["numbered"] = {one for (one,) in connection.execute(sa.text(asked))}
    return shape


def test_an_empty_database_is_filled_once_whoever_comes_first(
    empty_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "migrate", inspect.unwrap(database.migrate))
    assert not has_state(empty_address)
    with ThreadPoolExecutor(4) as threads:
        revisions = list(threads.map(lambda _: _opened(empty_address), range(4)))
    assert len(set(revisions)) == 1
    assert revisions[0]
    assert has_state(empty_address)


class Taken:
    """A new SQLite file that somebody else writes to; ``at_rest`` lets go at a wait, else only time passes there."""

    def __init__(self, folder: Path, *, at_rest: bool) -> None:
        self.url = f"sqlite:///{folder / 'state.db'}"
        self.connection = sqlite3.connect(folder / "state.db", isolation_level=None)
        self.connection.execute("BEGIN IMMEDIATE")
        self.seconds, self.waits, self._at_rest = 0.0, 0, at_rest

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.waits += 1
        if self._at_rest:
            self.connection.execute("COMMIT")

    def monotonic_seconds(self) -> float:
        return self.seconds


@pytest.mark.parametrize("at_rest", [True, False])
def test_a_new_file_that_another_process_writes_to_is_waited_for_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_rest: bool
) -> None:
    """SQLite does not wait by itself where it is to switch to a write-ahead log: it is busy at once."""
    taken = Taken(tmp_path, at_rest=at_rest)
    monkeypatch.setattr(database, "migrate", inspect.unwrap(database.migrate))
    monkeypatch.setattr(sqlite, "time", taken)
    monkeypatch.setattr(sqlite, "clock", taken)
    with ExitStack() if at_rest else pytest.raises(StorageError, match="database is locked"):
        open_database(taken.url).dispose()
    assert taken.waits == 1 if at_rest else 5.0 < taken.seconds < 6.0
    taken.connection.close()


def _opened(address: str) -> str:
    engine = open_database(address)
    try:
        return revision_of(engine)
    finally:
        engine.dispose()


def test_opening_again_changes_nothing(address: str, state: State) -> None:
    with state.work() as work:
        work.counters.add("m", "n", "k", 2)
    again = open_database(address)
    with State(again).work() as work:
        work.counters.add("m", "n", "k", 3)
        assert work.counters.of("m") == {("n", "k"): 5}
    again.dispose()


def test_a_database_of_a_later_release_is_not_touched(empty_address: str) -> None:
    engine = open_database(empty_address)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StorageError, match="9999"):
        open_database(empty_address)


# ---- transactions ---------------------------------------------------------------------------------------------------


def test_work_that_fails_leaves_no_trace(state: State) -> None:
    def fails() -> None:
        with state.work() as work:
            put_known(work, "m", {"a": (NOON, None)})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with state.read() as read:
        assert known_of(read, "m", ["a"]) == {}


def test_a_reader_sees_one_moment_and_neither_waits_nor_is_waited_for(state: State) -> None:
    with state.work() as work:
        work.counters.add("m", "n", "", 1)
    with state.read() as read:
        assert read.counters.of("m") == {("n", ""): 1}
        with state.work() as work:
            work.counters.add("m", "n", "", 1)
            with state.read() as other:
                assert other.counters.of("m") == {("n", ""): 1}
        assert read.counters.of("m") == {("n", ""): 1}
    with state.read() as read:
        assert read.counters.of("m") == {("n", ""): 2}


def test_what_is_read_in_work_is_still_so_when_it_is_written(state: State) -> None:
    def count_up() -> None:
        for _ in range(20):
            with state.work() as work:
                before = work.counters.of("m").get(("n", ""), 0)
                set_counter(work.connection, "m", "n", before + 1)

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(count_up) for _ in range(4)]:
            done.result()
    with state.read() as read:
        assert read.counters.of("m") == {("n", ""): 80}


def test_batches_are_seen_in_the_order_of_their_numbers(engine: sa.Engine) -> None:
    """The log takes what has a lower number than it has for known: a batch that is seen late would be lost."""
    box = Inbox(engine)
    with engine.begin() as slow:
        inbox.put(slow, "m", "predictions", NOON, [prediction("first")])
        quick = threading.Thread(target=box.accept, args=(delivery("second"),))
        quick.start()
        quick.join(0.2)
        assert box.take("m", most_events=10) == []
    quick.join(30)
    taken = box.take("m", most_events=10)
    assert [row.predictions[0].id for row in taken] == ["first", "second"]
    assert [row.seq for row in taken] == [1, 2]


def test_a_key_counts_once_however_many_send_it_at_once(engine: sa.Engine) -> None:
    box, gate = Inbox(engine), threading.Barrier(4)

    def send(name: int) -> list[int]:
        box.accept(delivery("own", model=f"m{name}"))  # it is connected when it is to be at the same time as others
        answers = []
        for key in range(10):
            gate.wait(30)
            answers.append(box.accept(delivery("a", "b", key=f"k{key}", body=b"x")))
        return answers

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(send, range(4))) == [[2] * 10] * 4
    assert len(box.take("m", most_events=100)) == 10
    with pytest.raises(ConflictError, match="came before with another body"):
        box.accept(delivery("c", key="k0", body=b"y"))


def test_many_who_send_bad_rows_at_once_are_all_counted(engine: sa.Engine) -> None:
    """Reasons come in any order: nobody waits for another who waits for them."""
    box = Inbox(engine)

    def refuse(seed: int) -> None:
        reasons = [f"reason {number}" for number in range(8)]
        random.Random(seed).shuffle(reasons)
        refused = [(RefusedRow(0, f"field {one}", "bad"), {}) for one in reasons]
        box.accept(Delivery("m", "predictions", NOON, counted=dict.fromkeys(reasons, 1)))
        box.accept(Delivery("m", "predictions", NOON, [], refused))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(refuse, range(24)))
    with State(engine).read() as read:
        assert sum(read.counters.of("m").values()) == 24 * 16
    assert len(box.quarantined("m", most=1000)) == 24 * 8


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_a_number_is_never_given_twice(engine: sa.Engine) -> None:
    box = Inbox(engine)
    with engine.begin() as connection:
        assert inbox.sequence(connection) == 0
    box.accept(delivery("a"))
    box.accept(delivery("b"))
    with engine.begin() as connection:
        inbox.done(connection, "m", box.take("m", most_events=10))
        assert inbox.sequence(connection) == 2
        inbox.raise_sequence(connection, 1)
    box.accept(delivery("c"))
    [row] = box.take("m", most_events=10)
    assert row.seq == 3
    with engine.begin() as connection:
        inbox.raise_sequence(connection, 1000)
        assert inbox.sequence(connection) == 1000
    box.accept(delivery("d"))
    assert [row.seq for row in box.take("m", most_events=10)] == [3, 1001]


def test_the_first_number_is_above_what_a_log_holds(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        inbox.raise_sequence(connection, 7)
    Inbox(engine).accept(delivery("a"))
    assert [row.seq for row in Inbox(engine).take("m", most_events=10)] == [8]


# ---- texts ----------------------------------------------------------------------------------------------------------


def window(version: str, start: datetime = NOON) -> WindowRow:
    return WindowRow("m", start, version, start + HOUR, 1, 0, b"profile", labels_changed=False, settled=True)


def test_texts_are_in_the_order_of_their_code_points(state: State) -> None:
    versions = ["", "B", "Z", "_", "a", "b", "~", "é", "Ω", "漢", "🌧", "10", "9", "a b", "A", "ab", "a-b"]
    with state.work() as work:
        for one in versions:
            work.windows.put(window(one))
            work.summaries.put("m", NOON, Slice(one), b"s")
            work.counters.add("m", "predictions", one, 1)
    with state.read() as read:
        assert [row.version for row in read.windows.at("m", NOON)] == sorted(versions)
        found = Overview(read.connection)
        assert [one for one, _ in found.newest_windows().get("m", (NOON, ()))[1]] == []  # no such model yet
        assert list(found.summaries({"m": NOON})["m"]) == sorted(map(Slice, versions))


def test_what_no_text_holds_may_be_asked_for_and_is_not_there(state: State) -> None:
    with state.work() as work:
        assert work.alerts.get("a\0b") is None
        assert known_of(work, "m", ["\0"]) == {}
        work.feedback.add(
            FeedbackRow("f", "m", "accept", None, None, "", "", "a person wrote \0 here", "me", NOON, applied=False)
        )
        [row] = work.feedback.of("m")
    assert row.reason.startswith("a person wrote ")


@pytest.mark.parametrize("seed", range(3))
def test_the_longest_names_are_kept(state: State, seed: int) -> None:
    """256 characters of four bytes, and hardly any twice: what an index takes is bounded."""
    name = "".join(chr(random.Random(f"{seed} {place}").randrange(0x10000, 0x10FFFF)) for place in range(256))
    with state.work() as work:
        put_known(work, "m", {name: (NOON, name)})
        work.windows.put(window(name))
        work.summaries.put("m", NOON, Slice(version=name), b"s")
        work.counters.add("m", "predictions", name, 1)
    with state.read() as read:
        assert known_of(read, "m", [name]) == {name: (NOON, mark_of(name))}
        assert read.summaries.get("m", NOON, Slice(version=name)) == b"s"
        assert read.counters.versions("m") == [name]


@pytest.mark.parametrize("lowest", [False, True])
def test_a_breach_without_a_value_is_never_the_worst(state: State, lowest: bool) -> None:
    end = NOON + 9 * HOUR
    with state.work() as work:
        for hour, value in enumerate([None, 0.5, None]):
            start = NOON + hour * HOUR
            said = Judgement(
                "m", "low", start, start + HOUR, NOON, "breach", value, None, None, 9, 0.7, "", current=True
            )
            work.judgements.put(said)
        worst = work.judgements.worst_breach("m", "low", NOON, end, lowest=lowest)
    assert worst is not None
    assert worst.value == 0.5


def test_more_ids_than_a_statement_holds_are_found(state: State) -> None:
    labels = {str(index): Label(id=str(index), label="yes" if index % 2 else 0.5, time=NOON) for index in range(2345)}
    with state.work() as work:
        work.waiting_labels.put("m", labels)
    with state.read() as read:
        assert read.waiting_labels.of("m", [*labels, "unknown"]) == labels
        assert read.waiting_labels.of("m", [*labels][::2]) == {id: labels[id] for id in [*labels][::2]}


# ---- writes from outside --------------------------------------------------------------------------------------------


def test_a_database_that_can_be_written_has_no_trouble(address: str, state: State) -> None:
    watch = Watch(address, timedelta(seconds=0.1))
    assert watch.write_trouble() is None
    with state.work() as work:
        work.counters.add("m", "n", "", 1)
        assert watch.write_trouble() is None  # an own write is none
    watch.engine.dispose()


# ---- all say the same -----------------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.sampled_from(["", "a", "A", "b", "_", "é", "v1", "v10", "v2", "firing", "breach", "ok", "waiting", "expired"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
)
MOMENTS = st.one_of(
    st.integers(-3, 3).map(lambda hours: NOON + hours * HOUR),
    st.datetimes(datetime(1900, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)),
)
SLICES = st.one_of(
    st.just(Slice()),
    TEXTS.map(lambda one: Slice(version=one)),
    st.builds(Segment, TEXTS, TEXTS).map(lambda one: Slice(segment=one)),
)
NUMBERS = st.one_of(st.integers(0, 3), st.integers(0, 2**31 - 1))
FLOATS = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 5e-324, 1e308]), st.floats(allow_nan=False, allow_infinity=False))
_VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: NUMBERS,
    float: FLOATS,
    bytes: st.binary(max_size=4),
    bool: st.booleans(),
    datetime: MOMENTS,
    Slice: SLICES,
}
MODELS_OF_TWINS = st.sampled_from(["m", "n"])
PARTS = st.sampled_from([WHOLE_PART, SINGLE_PART])


def rows(kind: type[Any], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Rows of a table with whatever its columns hold; the models are few, so that rows meet."""
    hints = get_type_hints(kind)
    strategies = {}
    for field in fields(kind):
        hint, optional = hints[field.name], False
        if hint not in _VALUES and type(None) in getattr(hint, "__args__", ()):
            [hint] = [one for one in hint.__args__ if one is not type(None)]
            optional = True
        if field.name not in given and hint in _VALUES:
            strategies[field.name] = st.one_of(st.none(), _VALUES[hint]) if optional else _VALUES[hint]
    named = {"model": MODELS_OF_TWINS} if "model" in hints else {}
    return st.builds(kind, **strategies | named | given)


STATUSES = st.sampled_from(["firing", "resolved"])
STATES = st.sampled_from(["ok", "breach", "nodata"])
RULES = st.sampled_from(["low", "Low", "ä"])
STARTS = st.integers(-3, 3).map(lambda hours: NOON + hours * HOUR)
IDS = st.sampled_from(["a", "B", "c", "é", "10", "9"])


class Twins(RuleBasedStateMachine):
    """Two databases to which the same is done, and that answer the same."""

    pair: tuple[State, State]

    @initialize()
    def begin(self) -> None:
        for state in self.pair:
            with state.work() as work:
                for table in METADATA.tables.values():
                    work.connection.execute(table.delete())

    def same(self, do: Callable[[Work], Any]) -> Any:
        """Do it to both, and compare what comes of it."""
        answers = []
        for state in self.pair:
            with state.work() as work:
                answers.append(_plain(do(work)))
        assert answers[0] == answers[1]

    @rule(row=rows(ModelRow))
    def put_model(self, row: ModelRow) -> None:
        self.same(lambda work: work.models.put(row))

    @rule(row=rows(WindowRow, start=STARTS, version=st.sampled_from(["", "a", "B", "é"])))
    def put_window(self, row: WindowRow) -> None:
        self.same(lambda work: work.windows.put(row))

    @rule(
        row=rows(Judgement, rule=RULES, state=STATES, window_start=STARTS, slice=st.sampled_from([Slice(), Slice("v")]))
    )
    def put_judgement(self, row: Judgement) -> None:
        self.same(lambda work: work.judgements.put(row))

    @rule(row=rows(AlertRow, id=IDS, rule=RULES, status=STATUSES, window_start=STARTS), step=rows(TransitionRow))
    def put_alert(self, row: AlertRow, step: TransitionRow) -> None:
        def put(work: Work) -> None:
            work.alerts.put(row)
            work.alerts.add_transition(TransitionRow(row.id, step.at, step.kind, step.reason))

        self.same(put)

    @rule(model=MODELS_OF_TWINS, start=STARTS, slice=SLICES, body=st.binary(max_size=3))
    def put_summary(self, model: str, start: datetime, slice: Slice, body: bytes) -> None:
        self.same(lambda work: work.summaries.put(model, start, slice, body))

    @rule(model=MODELS_OF_TWINS, ids=st.dictionaries(IDS, st.tuples(MOMENTS, st.one_of(st.none(), TEXTS, FLOATS))))
    def put_predictions(self, model: str, ids: dict[str, tuple[datetime, Any]]) -> None:
        labels = {id: Label(id=id, label=one[1] or "", time=one[0]) for id, one in ids.items()}
        self.same(lambda work: (put_known(work, model, ids), work.waiting_labels.put(model, labels)))

    @rule(model=MODELS_OF_TWINS, ids=st.lists(IDS), before=STARTS)
    def drop_labels(self, model: str, ids: list[str], before: datetime) -> None:
        self.same(lambda work: (work.waiting_labels.drop(model, ids), work.waiting_labels.drop_before(model, before)))

    @rule(model=MODELS_OF_TWINS, name=st.sampled_from(["predictions", "N"]), key=TEXTS, by=NUMBERS)
    def count(self, model: str, name: str, key: str, by: int) -> None:
        self.same(lambda work: work.counters.add(model, name, key, by))

    @rule(rows_=st.lists(rows(DetectionRow, start=STARTS), max_size=3), detector=rows(DetectorRow))
    def detect(self, rows_: list[DetectionRow], detector: DetectorRow) -> None:
        self.same(lambda work: (work.detections.put_detector(detector), work.detections.put(rows_)))

    @rule(model=MODELS_OF_TWINS, since=STARTS, row=rows(DetectorStateRow, start=STARTS, part=PARTS), keep=STARTS)
    def remember(self, model: str, since: datetime, row: DetectorStateRow, keep: datetime) -> None:
        self.same(lambda work: work.detections.replace_states(model, since, [row], keep))

    @rule(row=rows(FeedbackRow, id=IDS), applied=st.lists(IDS))
    def feed_back(self, row: FeedbackRow, applied: list[str]) -> None:
        self.same(lambda work: (work.feedback.add(row), work.feedback.mark_applied(applied)))

    @rule(
        channel=st.sampled_from(["hook", "Mail"]), alert=IDS, body=st.binary(max_size=3), told=rows(ToldRow, alert=IDS)
    )
    def tell(self, channel: str, alert: str, body: bytes, told: ToldRow) -> None:
        def put(work: Work) -> None:
            outbox = Outbox(work.connection)
            outbox.add(channel, "m", alert, body, NOON)
            outbox.put_told(told)

        self.same(put)

    @rule(channel=st.sampled_from(["hook", "Mail"]), how=st.sampled_from(["delivered", "refused", "later"]))
    def deliver(self, channel: str, how: str) -> None:
        def settle(work: Work) -> None:
            outbox = Outbox(work.connection)
            ids = [row.id for row in outbox.waiting(channel, 1)]
            if how == "later" and ids:
                outbox.postpone(ids, batch=ids[0], due_at=NOON + HOUR, last_error="é", refused=True)
            else:
                outbox.settle(ids, state=how)

        self.same(settle)

    @rule(row=rows(SilenceRow, id=IDS, match=st.dictionaries(TEXTS, TEXTS, max_size=2)))
    def silence(self, row: SilenceRow) -> None:
        self.same(lambda work: Outbox(work.connection).put_silence(row))

    @rule(
        row=rows(RetrainingRow, stage=st.sampled_from(["asked", "running"])), after=st.sampled_from(["asked", "done"])
    )
    def retrain(self, row: RetrainingRow, after: str) -> None:
        def ask(work: Work) -> Any:
            requests = Retraining(work.connection)
            try:
                requests.add(row, busy=("asked", "running"))
            except ConflictError as error:
                return str(error)
            moved = requests.move(row.id, "asked", after, NOON, by="me", note="n", labels=7)
            requests.add_told(row.id, after)
            return moved, requests.say(row.id, "running", "going on"), requests.told([row.id, "none"])

        with_id = getattr(row, "id", "")
        if not any(_has_request(state, with_id) for state in self.pair):
            self.same(ask)

    @rule(model=MODELS_OF_TWINS, seq=NUMBERS)
    def attempt(self, model: str, seq: int) -> None:
        self.same(lambda work: begin_attempt(work.connection, model, seq))

    @rule(model=MODELS_OF_TWINS, start=STARTS, watermark=MOMENTS)
    def move_windows(self, model: str, start: datetime, watermark: datetime) -> None:
        def move(work: Work) -> None:
            work.windows.mark_settled(model, start)
            work.windows.mark_pushed(work.windows.to_push(model, 1))
            work.windows.assess_again_at(model, start + HOUR, watermark)
            work.windows.mark_labels_changed(model, start - HOUR)
            work.windows.recount(model)

        self.same(move)

    @rule(model=MODELS_OF_TWINS, rule_=RULES, start=STARTS, most=st.integers(1, 4), lowest=st.booleans())
    def ask(self, model: str, rule_: str, start: datetime, most: int, lowest: bool) -> None:
        for question in _questions(model, rule_, start, most, lowest):
            self.same(question)


def _has_request(state: State, id: str) -> bool:
    with state.read() as read:
        return any(row.id == id for row in Retraining(read.connection).rows())


def _questions(model: str, rule: str, start: datetime, most: int, lowest: bool) -> Iterator[Callable[[Work], Any]]:
    end = start + 2 * HOUR
    yield lambda work: (work.models.get(model), work.models.last_arrivals())
    yield lambda work: (work.windows.between(model), work.windows.at(model, start), work.windows.first_start(model))
    yield lambda work: (work.windows.starts_since(model, start), work.windows.labelled_within(model, start, end))
    yield lambda work: (work.windows.newest_settled_start(model), work.windows.judged_of_version(model, "B", start))
    yield lambda work: (work.windows.first_of_version(model, "é"), work.windows.last_of_version(model, "é"))
    yield lambda work: (work.windows.closed_after(model, start, end, most), work.windows.starts_to_assess(model, end))
    yield lambda work: (work.windows.with_changed_labels(model), work.windows.to_push(model, most))
    yield lambda work: work.windows.count(model)
    yield lambda work: [work.judgements.find(model, current=one) for one in (True, False)]
    yield lambda work: (work.judgements.find(model, rules=[rule]), work.judgements.newest(model, rule, most))
    yield lambda work: work.judgements.of_alerts(work.alerts.find(model))
    yield lambda work: work.judgements.of_rule(model, rule, newest_first=lowest, most=most)
    yield lambda work: work.judgements.worst_breach(model, rule, start, end, lowest=lowest)
    yield lambda work: work.judgements.breaches_in_a_row(model, rule, since=start if lowest else None)
    yield lambda work: sorted(work.judgements.slices(model, rule))
    yield lambda work: (work.alerts.find(), work.alerts.find(model, status="firing", within=(start, None), most=most))
    yield lambda work: [work.alerts.find(before=one) for one in work.alerts.find(most=1)]
    yield lambda work: work.alerts.transitions(one.id for one in work.alerts.find())
    yield lambda work: (work.summaries.between(model, newest=most), work.summaries.newest_start(model, Slice()))
    yield lambda work: (known_of(work, model, ["a", "é", "9"]), work.waiting_labels.of(model, ["a", "é"]))
    yield lambda work: (work.waiting_labels.count(model), sorted(str(one) for one in work.waiting_labels.all(model)))
    yield lambda work: (work.counters.of(model), work.counters.versions(model))
    yield lambda work: (work.detections.detector(model), work.detections.since(model, start))
    yield lambda work: (work.detections.newest_start(model), work.detections.said_between(model, start, end))
    yield lambda work: (
        work.detections.starts_between(model, start, end),
        work.detections.values_between(model, start, end),
    )
    yield lambda work: [work.detections.state_before(model, part, start) for part in (WHOLE_PART, SINGLE_PART)]
    yield lambda work: (work.feedback.of(model), work.feedback.waiting(model), work.feedback.waiting_models())
    yield lambda work: [
        (outbox.waiting("hook", most), outbox.count("waiting"), outbox.count_failed_attempts())
        for outbox in [Outbox(work.connection)]
    ]
    yield lambda work: (Outbox(work.connection).told(["a", "é"]), Outbox(work.connection).lost(["a", "B", "é"]))
    yield lambda work: Outbox(work.connection).silences(after=start if lowest else None)
    yield lambda work: (Retraining(work.connection).rows(model, most=most), Retraining(work.connection).counts())
    overviews: tuple[str, ...] = ("models", "counters", "waiting_labels", "firing", "newest_windows")
    yield lambda work: [getattr(Overview(work.connection), name)() for name in overviews]
    yield lambda work: (
        Overview(work.connection).summaries({model: start}),
        [(one.model, one.kind, one.alert) for one in Overview(work.connection).steps(after=0)],
    )


def _plain(answer: Any) -> Any:
    """Return an answer without the numbers that databases give by themselves: deleting all rows does not reset them."""
    if isinstance(answer, NotificationRow):
        return (
            answer.channel,
            answer.alert,
            answer.body,
            answer.attempts,
            answer.refusals,
            answer.due_at,
            answer.state,
        )
    if isinstance(answer, (list, tuple)):
        return [_plain(one) for one in answer]
    return answer


def test_every_database_gives_the_same_answers(postgresql: PostgreSQL) -> None:
    """SQLite, in memory, says what is right; a thing that only one of them does otherwise is found here."""
    engines = [open_database(one) for one in ("sqlite://", postgresql.cleared_database())]
    Twins.pair = (State(engines[0]), State(engines[1]))
    steps = settings(max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    try:
        run_state_machine_as_test(Twins, settings=steps)
    finally:
        for engine in engines:
            engine.dispose()
