"""Databases with rows in them, and what all of them are held to: the profiles of the same rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import duckdb
import polars as pl
import pytest

import driftline.sql
from driftline.profiles.layout import Layout
from driftline.profiles.table import profile_batches
from driftline.sql.dialects import quoted
from tests.support.postgresql import PostgreSQL

_NUMBERS = itertools.count(1)
_TYPES = {
    pl.Float64(): "double precision",
    pl.Float32(): "real",
    pl.Int64(): "bigint",
    pl.Int16(): "smallint",
    pl.String(): "text",
    pl.Boolean(): "boolean",
    pl.Datetime("us"): "timestamp",
    pl.Datetime("us", "UTC"): "timestamptz",
    pl.Date(): "date",
}


class Filled:
    """A connection to a database that tables are put into."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def put(self, frame: pl.DataFrame) -> str:
        """Make a table of a frame, with a hostile name; return it, quoted."""
        name = quoted(f'{next(_NUMBERS)} "; DROP TABLE rows; --')
        self._make(name, frame)
        return name

    def _make(self, name: str, frame: pl.DataFrame) -> None:
        self.connection.execute(f"CREATE TEMP TABLE {name} AS FROM frame")

    def profile(self, frame: pl.DataFrame, layout: Layout) -> driftline.sql.SqlProfiles:
        return driftline.sql.profile(self.connection, self.put(frame), layout)

    def assert_same(self, frame: pl.DataFrame, layout: Layout) -> None:
        """All that is profiled in the database is as that of the rows, and nothing is left out."""
        found = self.profile(frame, layout)
        assert not found.left_out
        expected = profile_batches([frame], layout)
        assert list(found.table.parts) == list(expected.parts)
        for key, part in expected.parts.items():
            assert found.table.parts[key] == part, key


class FilledPostgreSQL(Filled):
    def _make(self, name: str, frame: pl.DataFrame) -> None:
        columns = ", ".join(f"{quoted(column)} {_TYPES[dtype]}" for column, dtype in frame.schema.items())
        self.connection.execute(f"CREATE TEMP TABLE {name} ({columns})")
        with self.connection.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN") as copy:
            for row in frame.iter_rows():
                copy.write_row(row)
        self.connection.commit()


@pytest.fixture(scope="session", params=["duckdb", "postgresql"])
def filled(request: pytest.FixtureRequest) -> Iterator[Filled]:
    """A real database of each kind."""
    if request.param == "duckdb":
        yield Filled(duckdb.connect())
        return
    import psycopg

    server: PostgreSQL = request.getfixturevalue("postgresql")
    with psycopg.connect(server.new_database().replace("+psycopg", "")) as connection:
        yield FilledPostgreSQL(connection)
