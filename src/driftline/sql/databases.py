"""Read what a database answers, as frames; nothing is ever written there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import polars as pl

from driftline.environment import secret
from driftline.errors import DataError, UsageError
from driftline.sources.rows import StreamedRows, readable
from driftline.sql.dialects import DUCKDB, POSTGRESQL, Dialect, quoted

_POSTGRESQL, _DUCKDB = ("postgresql://", "postgres://", "postgresql+psycopg://"), "duckdb:"
_QUERY = re.compile(r"\s*(\(|(?:select|with|from|values|table)\b.*\s)", re.IGNORECASE | re.DOTALL)
_BATCH = 50_000

_OF_DUCKDB = {
    "DOUBLE": "real",
    "FLOAT": "single",
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT"), "whole"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"), "whole"),
    "VARCHAR": "text",
    "TIMESTAMP": "time",
    "TIMESTAMP WITH TIME ZONE": "instant",
    "DATE": "date",
}
_OF_POSTGRESQL = {
    **dict.fromkeys((20, 21, 23), "whole"),
    701: "real",
    700: "single",
    **dict.fromkeys((19, 25, 1042, 1043), "text"),
    1114: "time",
    1184: "instant",
    1082: "date",
    16: "boolean",
    1700: "decimal",
}


class Type(NamedTuple):
    """What is known of a column's type: *real*, *single*, *whole*, *text*, *time* without a zone, *instant*, *date* or
    something else, and its name in the database.
    """

    kind: str
    words: str


class Database(Protocol):
    """A database in which nothing changes while it is asked: everything is one snapshot."""

    dialect: Dialect

    def types(self, source: str) -> Mapping[str, Type]:
        """Return the columns of a source, as it stands behind FROM."""

    def frames(self, statement: str) -> Iterator[pl.DataFrame]:
        """Yield the rows that a statement returns, in batches."""


def source_of(rows: str) -> str:
    """Return a table's name, or a query, as it stands behind FROM.

    >>> source_of("sales.calls"), source_of("my table"), source_of("SELECT 1 AS x;")
    ('"sales"."calls"', '"my table"', '(SELECT 1 AS x\\n)')
    """
    if _QUERY.match(rows):
        return f"({rows.strip().rstrip(';').rstrip()}\n)"
    if not rows.strip():
        raise UsageError("no rows came; allowed is the name of a table, or a query: SELECT …")
    parts = re.findall(r'"(?:[^"]|"")+"|[^.]+', rows.strip())
    return ".".join(part if part.startswith('"') else quoted(part) for part in parts)


@contextmanager
def opened(connection: Any) -> Iterator[Database]:
    """Open a connection or an address for reading; connections stay open, and their transactions as they were.

    Raises `UsageError` for what is no database, `DataError` for what it refuses.
    """
    if isinstance(connection, str):
        with _connected(connection) as there, opened(there) as database:
            yield database
        return
    kind, home = type(connection).__name__, type(connection).__module__.partition(".")[0]
    if kind == "DuckDBPyConnection":
        with _snapshot_of_duckdb(connection):
            yield _DuckDB(connection)
    elif home == "psycopg":
        with _snapshot_of_postgresql(connection):
            yield _PostgreSQL(connection)
    else:
        raise UsageError(
            f"a {kind} came; allowed are a connection of DuckDB or of psycopg, or an address: "
            "postgresql://HOST/DATABASE, duckdb:FILE, or env:NAME of a variable that holds one"
        )


@contextmanager
def _connected(source: str) -> Iterator[Any]:
    address = secret(source)
    if address.startswith(_DUCKDB):
        connect, options = _library("duckdb", "duckdb").connect, dict[str, Any](read_only=True)
        address = address.removeprefix(_DUCKDB).removeprefix("//")
    elif address.startswith(_POSTGRESQL):
        connect, options = (
            _library("psycopg", "driftline[postgres]").connect,
            dict[str, Any](application_name="driftline"),
        )
        address = "postgresql://" + address.partition("://")[2]
    else:
        raise UsageError(
            f"{'the address' if source == address else source} begins with none of postgresql://, duckdb: and env:"
        )
    with readable(_shown(source), foreign=True):
        connection = connect(address, **options)
    try:
        yield connection
    finally:
        connection.close()


def _shown(source: str) -> str:
    """An address without a password."""
    host = urlsplit(source).hostname
    return f"the database at {host}" if host else source


def _library(name: str, package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"{name} is not installed: pip install '{package}'") from error


# ---- DuckDB ----------------------------------------------------------------------------------------------------------


@contextmanager
def _snapshot_of_duckdb(connection: Any) -> Iterator[None]:
    """A transaction, unless the user is in one: to begin another would abort that."""
    with readable("the database", foreign=True):
        one, other = (connection.sql("SELECT txid_current()").fetchall() for _ in range(2))
        if own := one != other:
            connection.begin()
    try:
        yield
    finally:
        if own:
            connection.rollback()


class _DuckDB:
    dialect = DUCKDB

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def types(self, source: str) -> dict[str, Type]:
        with readable("the database", foreign=True):
            _one_query(self._connection.extract_statements(f"SELECT * FROM {source} AS given"))
        rows = pl.concat(self.frames(f"SELECT column_name, column_type FROM (DESCRIBE FROM {source} AS given)"))
        return {name: Type(_OF_DUCKDB.get(words, "other"), words) for name, words in rows.rows()}

    def frames(self, statement: str) -> Iterator[pl.DataFrame]:
        with readable("the database", foreign=True):
            relation = self._connection.sql(statement)
        rows = StreamedRows(relation, "the database")
        empty = pl.DataFrame(schema=rows.schema)
        yield from rows.batches(list(rows.schema))
        yield empty


def _one_query(statements: Sequence[Any]) -> None:
    if len(statements) != 1:
        raise UsageError(f"{len(statements)} statements came; allowed is one query: SELECT …")


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------


@contextmanager
def _snapshot_of_postgresql(connection: Any) -> Iterator[None]:
    """A transaction, or a part of the user's, that is rolled back: its settings end with it."""
    with ExitStack() as undone:
        with readable("the database", foreign=True):
            level = "ISOLATION LEVEL REPEATABLE READ, " if connection.info.transaction_status.name == "IDLE" else ""
            undone.enter_context(connection.transaction(force_rollback=True))
            connection.execute(f"SET TRANSACTION {level}READ ONLY")
            connection.execute("SET LOCAL TimeZone = 'UTC'")
            connection.execute("SET LOCAL extra_float_digits = 1")  # or floats may come rounded
        yield


class _PostgreSQL:
    dialect = POSTGRESQL

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def types(self, source: str) -> dict[str, Type]:
        with self._asked(f"SELECT * FROM {source} AS given LIMIT 0") as cursor:
            described = cursor.description
        names = [one.name for one in described]
        if len({*names}) < len(names):
            again = next(name for name in names if names.count(name) > 1)
            raise DataError(f"the column {again!r} comes more than once; give each a name of its own")
        return {one.name: Type(_OF_POSTGRESQL.get(one.type_code, "other"), one.type_display) for one in described}

    def frames(self, statement: str) -> Iterator[pl.DataFrame]:
        with self._asked(statement) as cursor:
            described = [(one.name, one.type_code) for one in cursor.description]
            rows: list[Any] | None = None
            while rows is None or rows:
                with readable("the database", foreign=True):
                    rows = cursor.fetchmany(_BATCH)
                columns = zip(*rows, strict=True) if rows else [()] * len(described)
                yield pl.DataFrame(_series(*one, column) for one, column in zip(described, columns, strict=True))

    @contextmanager
    def _asked(self, statement: str) -> Iterator[Any]:
        """Ask by a cursor of the server, which takes one statement and holds the rows."""
        with self._connection.cursor(name="driftline") as cursor:
            with readable("the database", foreign=True):
                cursor.execute(statement)
            yield cursor


_SERIES: Mapping[str, pl.DataType] = {
    "whole": pl.Int64(),
    "real": pl.Float64(),
    "single": pl.Float32(),
    "text": pl.String(),
    "time": pl.Datetime("us"),
    "instant": pl.Datetime("us", "UTC"),
    "date": pl.Date(),
    "boolean": pl.Boolean(),
}


def _series(name: str, code: int, values: Sequence[Any]) -> pl.Series:
    return pl.Series(name, values, dtype=_SERIES.get(_OF_POSTGRESQL.get(code, "text")), strict=False)
