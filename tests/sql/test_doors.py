"""Connections, addresses, tables and queries; types and settings of databases; what is refused, and in which words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import driftline.sql
from driftline.errors import DataError, UsageError
from driftline.events import Kind, WindowSpec
from driftline.profiles import NumericColumn
from driftline.profiles.layout import Layout
from driftline.profiles.table import as_frame, from_frame, profile_batches
from driftline.sketches import Grid
from driftline.sql import counted, databases
from driftline.sql import given as given_module
from driftline.sql.counted import profile_counted
from driftline.sql.dialects import quoted
from driftline.sql.near import near_of
from tests.sql.filled import Filled, filled
from tests.sql.test_same_profiles import layout
from tests.support.postgresql import PASSWORD, PostgreSQL

__all__ = ["filled"]

X = {"x": Kind.NUMERIC}


def column(found: driftline.sql.SqlProfiles, name: str = "x") -> Any:
    (part,) = found.table.parts.values()
    return part.whole.features.columns[name]


# ---- laws of the parts ---------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-98, 98), st.floats(allow_nan=False))
def test_near_is_what_is_less_than_16_scales_away(centre: float, exponent: int, x: float) -> None:
    near = near_of(Grid(centre, 2.0**exponent))
    assert near is not None
    for number in (x, near.low, near.high, np.nextafter(near.low, 0.0), np.nextafter(near.high, 0.0)):
        with np.errstate(over="ignore"):
            scaled = (np.float64(number) - centre) / 2.0**exponent
        assert (near.low < number < near.high) == (abs(scaled) < 16)
        assert (near.zero_low <= number <= near.zero_high) == (abs(scaled) <= 2.0**-150)


def test_a_grid_without_rounded_moments_has_no_near() -> None:
    assert near_of(Grid(0.0, 0.3)) is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.integers(1, 9)), max_size=9), st.booleans())
def test_counted_rows_are_repeated_rows(some: list[tuple[float, int]], many: bool) -> None:
    values = pl.Series([value for value, _ in some], dtype=pl.Float64)
    counts = np.array([count for _, count in some], np.int64)
    repeated = pl.Series([value for value, count in some for _ in range(count)], dtype=pl.Float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counted, "_FEW", 0 if many else 100)
        found = profile_counted(lambda places: NumericColumn.of(values[places]), NumericColumn(), counts)
    assert found == NumericColumn.of(repeated)


# ---- tables, queries, statements ------------------------------------------------------------------------------------


def test_a_query_and_hostile_names(filled: Filled) -> None:
    name = 'x"; DROP TABLE rows; -- %s {} :x'
    table = filled.put(pl.DataFrame({name: [1.0, 2.0, None]}))
    common = f"  with t AS (SELECT * FROM {table}) SELECT * FROM t ; "
    for rows in (table, f"SELECT * FROM {table} -- all of them", common):
        assert column(driftline.sql.profile(filled.connection, rows, layout({name: Kind.NUMERIC})), name).missing == 1
    more = f"SELECT {quoted(name)} AS x FROM {table} WHERE {quoted(name)} > 1"
    assert column(driftline.sql.profile(filled.connection, more, layout(X))).rows == 1


@pytest.mark.parametrize(
    "rows", ["SELECT 1 AS x; SELECT 2 AS x", "SELECT 1 AS x) AS g; DROP TABLE kept; SELECT * FROM (SELECT 1"]
)
def test_one_statement_alone(filled: Filled, rows: str) -> None:
    kept = filled.put(pl.DataFrame({"x": [1.0]}))
    with pytest.raises((DataError, UsageError), match=r"statement|cannot be read"):
        driftline.sql.profile(filled.connection, rows.replace("kept", kept), layout(X))
    assert column(driftline.sql.profile(filled.connection, kept, layout(X))).rows == 1


def test_few_statements(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each column, one each for types, hours, rows and performance, however many windows there are."""
    asked: list[str] = []
    for kind in (databases._DuckDB, databases._PostgreSQL):

        def frames(self: Any, statement: str, answer: Any = kind.frames) -> Iterator[pl.DataFrame]:
            asked.append(statement)
            yield from answer(self, statement)

        monkeypatch.setattr(kind, "frames", frames)
    times = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 3, 1), "2h", eager=True)
    frame = pl.DataFrame({"t": times, "x": np.arange(len(times)) / 7, "y": ["a", "b", "c"] * 240 + ["a"]})
    made = layout({**X, "y": Kind.CATEGORICAL}, time="t", label="y", prediction="y")
    filled.assert_same(frame, Layout(made.columns, made.schema, {}, {}, WindowSpec("1d")))
    assert len(asked) <= 8


# ---- what is left out, what is refused -------------------------------------------------------------------------------


def test_what_sql_cannot_say_is_named(filled: Filled) -> None:
    frame = pl.DataFrame({"words": ["a b c"], "x": [1.0], "id": ["7"]})
    made = layout({"words": Kind.TEXT, "x": Kind.NUMERIC, "id": Kind.CATEGORICAL, "e": Kind.EMBEDDING})
    grids = {"feature.x": Grid(), "feature.words/length": Grid(), "feature.words": Grid()}
    found = filled.profile(frame, Layout(made.columns, made.schema, grids, {}, hashed=("id",)))
    assert (dict(found.layout.schema.features), dict(found.layout.grids)) == (X, {"feature.x": Grid()})
    assert found.layout.digest == layout(X, {"feature.x": Grid()}).digest
    stored = as_frame(found.table, found.layout)
    assert from_frame(stored, layout(X, {"feature.x": Grid()})) == found.table
    assert {name: reason.split(";")[0] for name, reason in found.left_out.items()} == {
        "e": "the parts of an embedding are made of each row",
        "id": "it is profiled by its keyed hashes, and the key stays here",
        "words": "the parts of a text are made of each row",
    }
    assert column(found).rows == 1


@pytest.mark.parametrize(
    ("given_as", "windows", "problem"),
    [
        ({"time": "t"}, True, "no column 't' of times"),
        ({"time": "x"}, True, "the times in 'x' have the type .*: give a query that casts them"),
    ],
)
def test_times_that_cannot_be_cut(filled: Filled, given_as: dict[str, str], windows: bool, problem: str) -> None:
    made = layout(X, **given_as)
    with pytest.raises(UsageError, match=problem):
        filled.profile(pl.DataFrame({"x": ["2024-01-01"]}), Layout(made.columns, made.schema, {}, {}, WindowSpec("1d")))


def test_too_many_windows_are_refused(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_module, "_MOST_WINDOWS", 50)
    made = layout(X, time="t")
    frame = pl.DataFrame({"t": pl.Series(["2024-01-01"]).str.to_datetime("%Y-%m-%d", time_unit="us"), "x": [1.0]})
    with pytest.raises(UsageError, match="more than 50 windows of 1min; profile them in parts"):
        filled.profile(frame, Layout(made.columns, made.schema, {}, {}, WindowSpec("1min")))


def test_no_such_table(filled: Filled) -> None:
    with pytest.raises(DataError, match=r"the database cannot be read: .*nowhere"):
        driftline.sql.profile(filled.connection, "nowhere", layout(X))
    filled.put(pl.DataFrame({"x": [1]}))  # the connection is as it was


def test_no_database() -> None:
    with pytest.raises(UsageError, match="a Connection came; allowed are a connection of DuckDB or of psycopg"):
        driftline.sql.profile(sqlite3.connect(":memory:"), "t", layout(X))
    with pytest.raises(UsageError, match="begins with none of postgresql://, duckdb: and env:"):
        driftline.sql.profile("mysql://host/db", "t", layout(X))
    with pytest.raises(UsageError, match="no rows came"):
        driftline.sql.profile(duckdb.connect(), " ", layout(X))


# ---- DuckDB ----------------------------------------------------------------------------------------------------------


def test_a_file_of_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.db"
    with duckdb.connect(file) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1.5 AS x")
    monkeypatch.setenv("ROWS", f"duckdb:{file}")
    for address in (f"duckdb:{file}", "env:ROWS"):
        assert column(driftline.sql.profile(address, "t", layout(X))).smallest == 1.5
    with pytest.raises(DataError, match=r"duckdb:.*gone.db cannot be read"):
        driftline.sql.profile(f"duckdb:{tmp_path / 'gone.db'}", "t", layout(X))


@pytest.mark.parametrize("kind", [Kind.NUMERIC, Kind.CATEGORICAL])
def test_every_type_of_duckdb_is_as_in_a_frame(kind: Kind) -> None:
    values = {
        **{name: f"n::{name}" for name in ("UBIGINT", "HUGEINT", "TINYINT", "FLOAT", "BOOLEAN", "VARCHAR")},
        "DECIMAL": "(n * 1.25)::DECIMAL(9, 3)",
        "DATE": "DATE '2024-01-01' + n::INT",
        "LIST": "[n]",
        "ENUM": "(n % 2)::VARCHAR::ENUM('0', '1')",
        "BLOB": "'a'::BLOB",
        "wide": "n::DECIMAL(30, 4)",
    }
    listed = ", ".join(f"CASE WHEN n < 9 THEN {value} END AS {name}" for name, value in values.items())
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE t AS SELECT {listed} FROM (SELECT unnest([0, 1, 2, 2, 3, 3, 9]) AS n)")
    made = layout(dict.fromkeys(values, kind))
    found = driftline.sql.profile(connection, "t", made)
    assert not found.left_out
    assert found.table == profile_batches([connection.table("t").pl()], made)


def test_a_collation_of_duckdb_does_not_join_texts() -> None:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t (sky VARCHAR COLLATE NOCASE)")
    connection.execute("INSERT INTO t VALUES ('a'), ('A'), ('a')")
    found = column(driftline.sql.profile(connection, "t", layout({"sky": Kind.CATEGORICAL})), "sky")
    assert dict(found.categories.counts) == {"A": 1, "a": 2}


def test_the_users_transaction_of_duckdb_goes_on() -> None:
    connection = duckdb.connect()
    connection.begin()
    connection.execute("CREATE TABLE t AS SELECT 1.5 AS x")
    assert column(driftline.sql.profile(connection, "t", layout(X))).rows == 1
    connection.rollback()
    with pytest.raises(DataError, match="t"):
        driftline.sql.profile(connection, "t", layout(X))
    connection.begin()  # none was left open


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture
def session(postgresql: PostgreSQL) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(postgresql.new_database().replace("+psycopg", "")) as connection:
        yield connection


def test_settings_of_a_session_round_nothing_and_stay(session: Any) -> None:
    session.execute("SET extra_float_digits = -15")
    session.execute("SET TimeZone = 'Asia/Kathmandu'")
    session.execute(
        "CREATE TEMP TABLE t AS SELECT 12345.678901234567::float8 AS x, '2024-01-01 20:00Z'::timestamptz AS t"
    )
    session.commit()
    made = layout(X, time="t")
    found = driftline.sql.profile(session, "t", Layout(made.columns, made.schema, {}, {}, WindowSpec("1d")))
    ((key, part),) = found.table.parts.items()
    number = part.whole.features.columns["x"]
    assert isinstance(number, NumericColumn)
    assert number.smallest == 12345.678901234567
    assert key.window is not None
    assert key.window.start.day == 1
    assert session.execute("SHOW extra_float_digits").fetchone() == ("-15",)
    assert session.execute("SHOW TimeZone").fetchone() == ("Asia/Kathmandu",)


def test_the_users_transaction_of_postgresql_goes_on_and_nothing_is_written(session: Any) -> None:
    session.execute("CREATE TABLE t (x float8); INSERT INTO t VALUES (1.5)")
    session.execute(
        "CREATE FUNCTION grown() RETURNS float8 LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO t VALUES (2.5); RETURN 1.0; END $$"
    )
    assert column(driftline.sql.profile(session, "t", layout(X))).rows == 1
    with pytest.raises(DataError, match="read-only transaction"):
        driftline.sql.profile(session, "SELECT grown() AS x", layout(X))
    session.execute("INSERT INTO t VALUES (3.5)")
    session.commit()
    assert session.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_types_of_postgresql(session: Any) -> None:
    session.execute("CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    session.execute('CREATE TABLE t (sky text COLLATE anycase, "padded" char(3), x numeric, odd json, day date)')
    session.execute("INSERT INTO t VALUES ('a', 'b', 1.25, '{}', '2024-01-01'), ('A', 'b', 'NaN', NULL, 'infinity')")
    kinds = {"sky": Kind.CATEGORICAL, "padded": Kind.CATEGORICAL, "x": Kind.NUMERIC}
    found = driftline.sql.profile(session, "t", layout({**kinds, "odd": Kind.CATEGORICAL, "day": Kind.CATEGORICAL}))
    assert dict(column(found, "sky").categories.counts) == {"A": 1, "a": 1}
    assert dict(column(found, "padded").categories.counts) == {"b  ": 2}
    assert (column(found).missing, column(found).smallest) == (1, 1.25)
    assert found.left_out == {
        name: f"the type {kind} is not counted; cast it in a query" for name, kind in (("day", "date"), ("odd", "json"))
    }
    cast = driftline.sql.profile(session, "SELECT day::text FROM t", layout({"day": Kind.CATEGORICAL}))
    assert not cast.left_out
    with pytest.raises(UsageError, match="the version in 'odd': the type json is not counted"):
        driftline.sql.profile(session, "t", layout(X, version="odd"))
    with pytest.raises(DataError, match="'x' comes more than once"):
        driftline.sql.profile(session, "SELECT 1 AS x, 2 AS x", layout(X))


def test_an_address_and_its_password(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    address = postgresql.new_database()
    query = "SELECT generate_series(1, 3) AS x"
    assert column(driftline.sql.profile(address, query, layout(X))).rows == 3
    monkeypatch.setenv("ROWS", address.replace(PASSWORD, "wrong-" + PASSWORD))
    with pytest.raises(DataError, match="cannot be read") as caught:
        driftline.sql.profile("env:ROWS", query, layout(X))
    assert PASSWORD not in str(caught.value)
