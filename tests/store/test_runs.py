"""What is known of ids, in sorted runs: they know what a dictionary knows, and cost what they should."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.sketches.hashing import fingerprints
from driftline.store import runs
from driftline.store.addresses import resolved
from driftline.store.database import open_database
from driftline.store.runs import NO_MARK, KeptParts, Rows, Runs
from driftline.store.state import State
from driftline.store.tables import EPOCH, KNOWN_PARTS, KNOWN_RUNS
from tests.support.known import KEPT, known_of, mark_of, put_known

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PART_ROWS = 1024


@pytest.fixture
def state(address: str) -> Iterator[State]:
    engine = open_database(address)
    yield State(engine)
    engine.dispose()


def rows_of(numbers: range, mark: int = int(NO_MARK)) -> Rows:
    high, low = fingerprints(pl.Series([f"id {number}" for number in numbers], dtype=pl.String))
    size = len(numbers)
    return Rows(high, low, np.arange(size, dtype=np.int64), np.full(size, mark, np.uint64))


@contextmanager
def counted(connection: sa.Connection) -> Iterator[list[str]]:
    """The statements that a block executes, without those that begin a transaction."""
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("BEGIN", "SET")):
            said.append(statement)

    sa.event.listen(connection, "before_cursor_execute", note)
    yield said
    sa.event.remove(connection, "before_cursor_execute", note)


# ---- a dictionary ---------------------------------------------------------------------------------------------------

IDS = st.sampled_from("abcdefghijkl")
PUTS = st.tuples(st.dictionaries(IDS, st.sampled_from([None, "yes", "no"]), max_size=8), st.integers(0, 60))
STEPS = st.lists(st.one_of(PUTS, st.integers(0, 60), st.sets(IDS, max_size=3)), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_they_know_what_a_dictionary_knows_and_forget_nothing_too_early(state: State, steps: list[Any]) -> None:
    """A step puts ids on a day, erases some, or forgets what came before a day."""
    model: dict[str, tuple[datetime, str | None]] = {}
    came: dict[str, datetime] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "FULL", 8)
        patch.setattr(runs, "PART_ROWS", 2)
        patch.setattr(runs, "KEPT_FROM", 0)
        for step in [*steps, 0]:
            with state.work() as work:
                if isinstance(step, int):
                    before = NOON + step * DAY
                    while work.predictions.forget_oldest("m", before):
                        pass
                elif isinstance(step, set):
                    work.predictions.erase("m", fingerprints(pl.Series([*step], dtype=pl.String)))
                    model = {id: one for id, one in model.items() if id not in step}
                else:
                    ids, day = step
                    known = {id: (NOON + day * DAY, label) for id, label in ids.items()}
                    put_known(work, "m", known, came=NOON)
                    put_known(work, "other", dict.fromkeys(ids, (NOON, "other")))
                    model |= known
                    came |= {id: time for id, (time, _) in known.items()}
            with state.read() as read:
                found = known_of(read, "m", "abcdefghijkl")
            if isinstance(step, int):
                gone = model.keys() - found.keys()
                assert all(came[id] < before for id in gone)
                model = {id: one for id, one in model.items() if id not in gone}
            assert found == {id: (time, mark_of(label)) for id, (time, label) in model.items()}
    with state.work() as work:
        work.predictions.drop("m")
        work.predictions.drop("other")
        tables = (KNOWN_RUNS, KNOWN_PARTS)
        counts = [work.connection.execute(sa.select(sa.func.count()).select_from(one)).scalar_one() for one in tables]
    assert counts == [0, 0]


def test_what_is_older_than_a_run_covers_is_forgotten_whole(state: State) -> None:
    """Where few predictions come, too: a run covers a part of the time for which ids are kept."""
    days = range(0, 400, 4)
    with state.work() as work:
        for day in days:
            put_known(work, "m", {str(day): (NOON + day * DAY, None)})
            work.predictions.forget_oldest("m", NOON + day * DAY - KEPT)
        known = sorted(map(int, known_of(work, "m", map(str, days))))
        assert known == list(range(known[0], 400, 4))
        assert KEPT / DAY <= known[-1] - known[0] <= 1.3 * (KEPT / DAY)
        assert len(Runs(work.connection).of("m")) <= 16


def test_what_an_earlier_release_knew_is_brought_over(empty_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and numbers, of several models, in more runs than one."""
    url = resolved(empty_address)
    engine = sa.create_engine(url)
    said: list[str | float | None] = [None, "yes", "no", "", 0.0, -0.0, 2.5]
    config = Config()
    config.set_main_option("script_location", str(Path(runs.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0030")
        for model in ("m", "other"):
            connection.execute(
                sa.text(
                    "INSERT INTO models (model, fingerprint, rules, schema, reference, last_arrival) "
                    "VALUES (:model, :body, :body, :body, :body, 7)"
                ),
                {"model": model, "body": b""},
            )
            rows = [
                {"model": model, "id": f"{model} {place}", "time": place, "label": _packed(said[place % len(said)])}
                for place in range(50)
            ]
            connection.execute(sa.text("INSERT INTO predictions VALUES (:model, :id, :time, :label)"), rows)
    engine.dispose()
    monkeypatch.setattr(runs, "FULL", 20)
    monkeypatch.setattr(runs, "PART_ROWS", 8)
    newest = open_database(empty_address)
    with State(newest).work() as work:
        ids = [f"m {place}" for place in range(50)]
        assert known_of(work, "m", [*ids, "other 1"]) == {
            id: (EPOCH + timedelta(microseconds=place), mark_of(said[place % len(said)]))
            for place, id in enumerate(ids)
        }
        assert len(Runs(work.connection).of("m")) == 3
        put_known(work, "m", {"m 1": (NOON, "new")})
        assert known_of(work, "m", ["m 1", "m 2"]) == {
            "m 1": (NOON, mark_of("new")),
            "m 2": (EPOCH + timedelta(microseconds=2), mark_of("no")),
        }
    newest.dispose()


def _packed(label: str | float | None) -> bytes | None:
    return None if label is None else msgspec.msgpack.encode(label)


# ---- costs ----------------------------------------------------------------------------------------------------------


def test_few_ids_are_looked_up_in_few_parts(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PART_ROWS", PART_ROWS)
    monkeypatch.setattr(runs, "KEPT_FROM", 0)
    size = 20 * PART_ROWS
    with state.work() as work:
        known = Runs(work.connection)
        known.put("m", rows_of(range(size)), NOON, kept_for=DAY)
        assert work.connection.execute(sa.select(sa.func.count()).select_from(KNOWN_PARTS)).scalar_one() == 32
    kept = KeptParts()
    with state.read() as read:
        some = rows_of(range(3))
        with counted(read.connection) as said:
            assert Runs(read.connection, kept).find("m", some.high, some.low).known.all()
        assert len(said) == 2
        [run] = Runs(read.connection).of("m")
        assert 1 <= len(kept.of("m", run)) <= 3
        with counted(read.connection) as said:
            assert Runs(read.connection, kept).find("m", some.high, some.low).times.tolist() == [0, 1, 2]
        assert len(said) == 1  # which runs there are


def test_a_row_is_written_a_few_times_in_its_life(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    real = Runs._write

    def count(self: Runs, model: str, rows: Rows, *args: Any) -> None:
        nonlocal written
        written += len(rows.high)
        real(self, model, rows, *args)

    monkeypatch.setattr(Runs, "_write", count)
    batches, size = 256, 16
    with state.work() as work:
        known = Runs(work.connection)
        for batch in range(batches):
            known.put("m", rows_of(range(batch * size, (batch + 1) * size)), NOON, kept_for=DAY)
        there = known.of("m")
    assert sum(run.rows for run in there) == batches * size
    assert len(there) <= 6
    assert written <= 12 * batches * size


def test_a_full_run_is_never_written_again(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "FULL", 100)
    with state.work() as work:
        known = Runs(work.connection)
        known.put("m", rows_of(range(90)), NOON, kept_for=DAY)
        [first] = known.of("m")
        for batch in range(9, 40):
            known.put("m", rows_of(range(batch * 10, batch * 10 + 10)), NOON, kept_for=DAY)
        there = known.of("m")
        assert first in there
        assert max(run.rows for run in there) <= 100
        put_all = rows_of(range(400))
        assert known.find("m", put_all.high, put_all.low).known.all()


def test_where_nothing_is_due_nothing_is_written(state: State) -> None:
    with state.work() as work:
        put_known(work, "m", {"a": (NOON, None)})
        with counted(work.connection) as said:
            assert work.predictions.forget_oldest("m", NOON) == 0
            assert work.predictions.forget_oldest("nobody", NOON) == 0
        assert [one.split()[0] for one in said] == ["SELECT", "SELECT"]
        assert work.predictions.forget_oldest("m", NOON + DAY) == 1


def test_what_is_kept_of_runs_is_bounded_and_no_longer_kept_than_they_are_there(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PART_ROWS", PART_ROWS)
    monkeypatch.setattr(runs, "KEPT_FROM", 0)
    kept, body = KeptParts(3 * 24 * PART_ROWS), 24 * PART_ROWS
    with state.work() as work:
        Runs(work.connection).put("m", rows_of(range(8 * PART_ROWS)), NOON, kept_for=DAY)
    with state.read() as read:
        all_of_them = rows_of(range(8 * PART_ROWS))
        for _ in range(2):
            assert Runs(read.connection, kept).find("m", all_of_them.high, all_of_them.low).known.all()
        [run] = Runs(read.connection).of("m")
        sizes = sum(map(len, kept.of("m", run).values()))
        assert 1.5 * body <= sizes <= 3 * body
    with state.work() as work:
        work.predictions.drop("m")
    with state.read() as read:
        assert not Runs(read.connection, kept).find("m", all_of_them.high, all_of_them.low).known.any()
    assert kept.of("m", run) == {}


def test_nothing_is_kept_of_a_model_that_is_let_go(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT_FROM", 0)
    with state.work() as work:
        put_known(work, "m", {"a": (NOON, "yes")})
    statements = []
    for step in range(3):
        if step == 2:
            state.of("m").let_go("m")
        with state.of("m").read() as read, counted(read.connection) as said:
            assert known_of(read, "m", ["a"]) == {"a": (NOON, mark_of("yes"))}
        statements.append(len(said))
    assert statements == [2, 1, 2]  # the runs each time, and their parts


def test_work_that_fails_is_not_remembered(state: State) -> None:
    """Whoever reads meanwhile, and after another run has got its number."""
    for label in ("undone", "done"):
        try:
            with state.work() as work:
                put_known(work, "m", {"a": (NOON, label)})
                assert known_of(work, "m", ["a"]) == {"a": (NOON, mark_of(label))}
                if label == "undone":
                    raise ZeroDivisionError
        except ZeroDivisionError:
            with state.read() as read:
                assert known_of(read, "m", ["a"]) == {}
    with state.read() as read:
        assert known_of(read, "m", ["a"]) == {"a": (NOON, mark_of("done"))}
