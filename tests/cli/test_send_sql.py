"""`driftline send` from a database: SQLite and a real PostgreSQL, resumed by an order key, no password in sight."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from driftline.cli import send_sql
from driftline.cli.send_sql import Database, Wanted
from driftline.errors import DataError, UsageError
from tests.cli.test_send import home, interrupted, send, totals
from tests.support.postgresql import PASSWORD, PostgreSQL

__all__ = ["home"]

ROWS = 90


@pytest.fixture
def service(churn_address: str) -> str:
    return churn_address


class Filled(NamedTuple):
    """A database with rows: its address as one would say it, and as SQLAlchemy opens it."""

    said: str
    opened: str


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """A table `scored` with a primary key, and one `plain` without."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'rows.db'}"
        found = Filled(address, address)
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        address = server.new_database()
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
        found = Filled(address.replace(f":{PASSWORD}@", "@").replace("+psycopg", ""), address)
    engine = sa.create_engine(found.opened)
    with engine.begin() as connection:
        for name, primary in (("scored", True), ("plain", False)):
            table = sa.Table(
                name,
                sa.MetaData(),
                sa.Column("number", sa.Integer, primary_key=primary),
                sa.Column("time", sa.DateTime(timezone=True)),
                sa.Column("age", sa.Numeric(10, 2)),
                sa.Column("plan", sa.Text),
                sa.Column("prediction", sa.Integer),
                sa.Column("label", sa.Integer),
            )
            table.create(connection)
            connection.execute(table.insert(), rows(0, ROWS))
    engine.dispose()
    return found


def rows(begin: int, end: int) -> list[dict[str, Any]]:
    start = datetime(2024, 3, 1, tzinfo=UTC)
    return [
        {
            "number": number,
            "time": start + timedelta(minutes=number),
            "age": None if number % 9 == 0 else Decimal(f"{20 + number}.25"),
            "plan": "100% ::basic",
            "prediction": number % 2,
            "label": number % 2,
        }
        for number in range(begin, end)
    ]


def test_a_table_and_a_query_become_events_and_then_their_labels(
    service: str, filled: Filled, capsys: pytest.CaptureFixture[str]
) -> None:
    before = totals(service)
    query = (
        f"SELECT 'q-{uuid.uuid4()}-' || number AS id, time, age, plan, prediction, label FROM scored "
        "WHERE plan LIKE '100%' AND plan <> ':nothing' ORDER BY number;"
    )
    words = ("--query", query, "--json")
    code, said, error = send(capsys, service, filled.said, "--kind", "predictions", *words)
    assert (code, json.loads(said)) == (0, {"accepted": ROWS, "quarantined": 0, "resumed_from": 0})
    assert "without --order-by" in error
    assert send(capsys, service, filled.said, "--kind", "labels", *words)[0] == 0
    assert totals(service) == (before[0] + ROWS, before[1] + ROWS)
    code, _, error = send(capsys, service, filled.said, "--kind", "predictions", "--table", "scored")
    assert (code, error) == (0, "")
    assert totals(service)[0] == before[0] + 2 * ROWS


@pytest.mark.parametrize("words", [("--table", "scored"), ("--query", "SELECT * FROM plain", "--order-by", "number")])
def test_what_was_interrupted_goes_on_behind_the_last_key_and_counts_once(
    service: str,
    filled: Filled,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    """The rows have no ids for the service: the batch whose answer was not heard is known by its key alone."""
    before = totals(service)[0]
    with interrupted(monkeypatch, at=3):
        assert send(capsys, service, filled.said, "--kind", "predictions", *words)[0] == 130
    engine = sa.create_engine(filled.opened)
    with engine.begin() as connection:  # more rows have come, and old ones have gone
        for table in ("scored", "plain"):
            connection.execute(sa.text(f"DELETE FROM {table} WHERE number < 7"))
            late = sa.text(f"INSERT INTO {table} SELECT number + 100, time, age, plan, prediction, label FROM {table}")
            connection.execute(late)
    engine.dispose()
    code, said, _ = send(capsys, service, filled.said, "--kind", "predictions", *words, "--json")
    assert (code, json.loads(said)) == (0, {"accepted": 173, "quarantined": 0, "resumed_from": 40})
    assert totals(service)[0] == before + 60 + 113


def test_a_query_cannot_write(service: str, filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    writes = "DELETE FROM plain RETURNING number AS prediction"
    code, _, error = send(capsys, service, filled.said, "--kind", "predictions", "--query", writes)
    assert code == 2 and ("read-only" in error or "readonly" in error or "syntax error" in error)
    engine = sa.create_engine(filled.opened)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM plain")).scalar() == ROWS
    engine.dispose()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--table", "scoredd"], "has no table 'scoredd'; it has: plain, scored. Did you mean 'scored'?"),
        (["--table", "scored", "--order-by", "numbr"], "Did you mean 'number'?"),
        (["--query", "SELECT * FROM scored", "--order-by", "prediction"], "'prediction' has '0' more than once"),
        (["--query", "SELECT * FROM scored", "--order-by", "age"], "order key 'age' is"),
        (["--query", "SELECT nothing FROM scored"], "nothing"),
        (["--query", "SELECT 1 AS a, 2 AS a"], "the column 'a' comes more than once"),
        (["--table", "plain", "--query", "SELECT 1"], "say either --query SQL or --table NAME"),
        ([], "say either --query SQL or --table NAME"),
    ],
)
def test_a_mistake_is_one_line(
    service: str, filled: Filled, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    code, _, error = send(capsys, service, filled.said, "--kind", "predictions", *words)
    told = [line for line in error.splitlines() if "without --order-by" not in line]
    assert code == 2 and len(told) == 1 and PASSWORD not in error
    assert said in told[0] or "is missing in some rows" in told[0]


@pytest.mark.parametrize(
    ("source", "words", "said"),
    [
        ("postgresql://me:hidden@127.0.0.1:1/rows", ["--table", "t"], "the address holds a password"),
        ("postgresql+psycopg://me:hidden@127.0.0.1/", ["--table", "t"], "the address is not postgresql+psycopg://"),
        ("postgresql://me@127.0.0.1:1/rows", ["--table", "t"], "127.0.0.1:1/rows: connection failed"),
        ("env:ROWS", ["--table", "t"], "env:ROWS: connection failed"),
        ("env:OTHER", ["--table", "t"], "what env:OTHER holds is no address of a database"),
        ("env:NOBODY", ["--table", "t"], "the environment has no NOBODY"),
        ("sqlite:///nowhere.db", ["--table", "t"], "nowhere.db: there is no such file"),
        ("sqlite://", ["--table", "t"], "is sqlite:///FILE"),
        ("rows.parquet", ["--table", "t"], "--query, --table and --order-by are of a database"),
    ],
)
def test_an_address_that_does_not_fit_is_told_without_its_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, source: str, words: list[str], said: str
) -> None:
    monkeypatch.setenv("ROWS", "postgresql://me:hidden@127.0.0.1:1/rows")
    monkeypatch.setenv("OTHER", "mysql://me:hidden@127.0.0.1:1/rows")
    code, _, error = send(capsys, "http://127.0.0.1:9", source, "--kind", "labels", *words)
    assert code == 2 and said in error and error.count("\n") == 1 and "hidden" not in error
    assert not Path("nowhere.db").exists()


def test_nothing_of_the_address_is_written_down_or_sent_but_its_place(
    filled: Filled, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    monkeypatch.setenv("ROWS", filled.opened)
    with interrupted(monkeypatch, at=2):
        send(capsys, service, "env:ROWS", "--kind", "predictions", "--table", "scored")
    [file] = home.rglob("*.json")
    assert json.loads(file.read_text())["key"] == 19 and PASSWORD not in file.read_text()


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a#b.db", "a%23b.db", "a b+c.db", "é%.db"])
def test_a_file_is_found_by_its_name_and_no_other_is_made(name: str, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / name)) as made:
        made.executescript("CREATE TABLE scored (id INTEGER PRIMARY KEY); INSERT INTO scored VALUES (7)")
    for wanted in (Wanted(None, "scored", None), Wanted("SELECT id FROM scored", None, "id")):
        database = Database(f"sqlite:///{tmp_path / name}", wanted)
        assert [chunk.frame.rows() for chunk in database.chunks(None, 9, 9)] == [[(7,)]]
        database.close()
    writes = Database(f"sqlite:///{tmp_path / name}", Wanted("DELETE FROM scored RETURNING id", None, None))
    with pytest.raises(DataError, match="readonly"):
        list(writes.chunks(None, 9, 9))
    writes.close()
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_each_batch_is_read_when_it_is_sent(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(filled.said, Wanted(None, "scored", None))
    sizes = [chunk.frame.height for chunk in database.chunks(None, 5, 20)]
    assert sizes == [5, 20, 20, 20, 20, 5]
    assert [chunk.frame.height for chunk in database.chunks(79, 20, 20)] == [10]
    assert database.columns() == 6 and database.order_by == "number"
    database.close()


MOMENT = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([Decimal("1.5"), None, Decimal(2)], pl.Float64),
        ([1, 2.5, Decimal(3)], pl.Float64),
        ([uuid.UUID(int=1), None], pl.String),
        ([timedelta(seconds=90)], pl.Float64),
        ([None, None], pl.Null),
        ([True, None], pl.Boolean),
        ([MOMENT, None], pl.Datetime("us", "UTC")),
        ([date(2024, 3, 1)], pl.Date),
        ([[1, 2], None], pl.List(pl.Int64)),
    ],
)
def test_values_of_a_database_are_sent_as_what_events_have(values: list[Any], kind: pl.DataType) -> None:
    series = send_sql._series("x", values)
    assert series.dtype == kind and series.null_count() == values.count(None)


@pytest.mark.parametrize("values", [[b"x"], [{"a": 1}], [1, "a"], [memoryview(b"x")], [2**80]])
def test_a_column_that_no_event_can_hold_is_named(values: list[Any]) -> None:
    with pytest.raises(DataError, match=r"the column 'x' holds .*cast it in the query"):
        send_sql._series("x", values)


@given(
    st.one_of(
        st.integers(),
        st.text(),
        st.datetimes(),
        st.datetimes(timezones=st.just(UTC)),
        st.dates(),
        st.uuids(),
        st.decimals(allow_nan=False, allow_infinity=False),
    )
)
def test_an_order_key_is_read_as_it_was_written(key: Any) -> None:
    written = json.loads(json.dumps(send_sql._written_key(key, "k")))
    assert send_sql._read_key(written) == key and type(send_sql._read_key(written)) is type(key)


@pytest.mark.parametrize("key", [None, 1.5, b"x", True])
def test_what_gives_no_order_is_refused(key: Any) -> None:
    with pytest.raises(DataError, match="the order key 'k' is"):
        send_sql._written_key(key, "k")


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> Any:
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr(sa, "create_engine", missing)
    with pytest.raises(UsageError, match="needs psycopg; install Driftline with its extra `postgres`"):
        Database("postgresql://me@127.0.0.1/rows", Wanted("SELECT 1", None, None))
