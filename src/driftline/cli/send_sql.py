"""The rows of a table or query of a database, as `driftline send` sends them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from driftline.environment import FROM_ENVIRONMENT, secret
from driftline.errors import DataError, UsageError, did_you_mean, lacks_column
from driftline.store.addresses import server_problem, without_secrets
from driftline.text import cause, visible

if TYPE_CHECKING:
    import polars as pl
    import sqlalchemy as sa

_SQLITE, _POSTGRESQL = "sqlite:", ("postgresql:", "postgresql+psycopg:")
_COLON = re.compile(r":")


class Wanted(NamedTuple):
    """Which rows: those of a query, or of a table; and the column that orders them, if there is one."""

    query: str | None
    table: str | None
    order_by: str | None


class Chunk(NamedTuple):
    """Some rows, and the order key of each as it is written down; None without an order."""

    frame: pl.DataFrame
    keys: Sequence[Any] | None


def is_database(source: str) -> bool:
    """Whether a source is the address of a database, or of a variable that holds one."""
    return source.startswith((_SQLITE, *_POSTGRESQL, FROM_ENVIRONMENT))


class Database:
    """A database that is only read. Its address is not repeated in a message with a password."""

    def __init__(self, source: str, wanted: Wanted) -> None:
        """Raises `UsageError` for an address or options that do not fit."""
        if (wanted.query is None) == (wanted.table is None):
            raise UsageError("of a database, say either --query SQL or --table NAME")
        address = secret(source)
        self.shown = source if address != source or source.startswith(_SQLITE) else without_secrets(source)
        self._url = _checked(address, source)
        self._wanted, self._engine, self.order_by = wanted, self._connected(), wanted.order_by
        if wanted.table is not None:
            try:
                self._take_table(wanted.table)
            except BaseException:
                self.close()
                raise

    @property
    def told(self) -> list[str]:
        """What tells these rows from others."""
        return [self.shown, self._wanted.query or "", self._wanted.table or "", self.order_by or ""]

    def chunks(self, after: Any, first: int, most: int) -> Iterator[Chunk]:
        """Yield the rows behind those up to the order key ``after``: first so many, then ``most`` at a time.

        Raises `DataError` for what the database refuses, and for an order key that is missing or comes again.
        """
        with self._asked(), self._engine.connect() as connection:
            streamed = connection.execution_options(stream_results=True, max_row_buffer=most)
            with streamed.execute(self._statement(None if after is None else _read_key(after))) as result:
                names = list(result.keys())
                place = self._place_of_key(names)
                if len({*names}) < len(names):
                    again = next(name for name in names if names.count(name) > 1)
                    raise DataError(f"the column {again!r} comes more than once; give each a name of its own")
                last, size = after, first
                while rows := result.fetchmany(size):
                    keys = None if place is None else [_written_key(row[place], names[place]) for row in rows]
                    if keys is not None:
                        last = _last_of(last, keys, names[place or 0])
                    yield Chunk(_frame(names, rows), keys)
                    size = most

    def columns(self) -> int:
        """Return how many columns the rows have."""
        import sqlalchemy as sa

        with self._asked(), self._engine.connect() as connection:
            empty = sa.select(sa.text("*")).select_from(self._from()).where(sa.false())
            return len(connection.execute(empty).keys())

    def _take_table(self, name: str) -> None:
        """Look at a table: without an order it is read in that of its primary key."""
        with self._asked():
            self._table = self._reflected(name)
        primary = list(self._table.primary_key.columns)
        if self.order_by is None and len(primary) == 1:
            self.order_by = primary[0].name

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    # ---- statements -------------------------------------------------------------------------------------------------

    def _from(self) -> sa.FromClause:
        import sqlalchemy as sa

        if self._wanted.query is None:
            return self._table
        query = _COLON.sub(r"\\:", self._wanted.query.strip().rstrip(";"))
        return sa.text(f"({query}\n) AS wanted")  # type: ignore[return-value]

    def _statement(self, after: Any) -> sa.Executable:
        import sqlalchemy as sa

        if self._wanted.query is not None and self.order_by is None:
            return sa.text(_COLON.sub(r"\\:", self._wanted.query))
        rows = sa.select(sa.text("*")).select_from(self._from())
        if self.order_by is None:
            return rows
        if self._wanted.table is not None and self.order_by not in self._table.c:
            raise UsageError(lacks_column(f"the table {self._wanted.table}", self.order_by, self._table.c.keys()))
        key: Any = sa.column(self.order_by) if self._wanted.table is None else self._table.c[self.order_by]
        return (rows if after is None else rows.where(key > after)).order_by(key)

    def _place_of_key(self, names: list[str]) -> int | None:
        if self.order_by is None:
            return None
        if self.order_by not in names:
            raise UsageError(lacks_column("the query", self.order_by, names))
        return names.index(self.order_by)

    def _reflected(self, name: str) -> sa.Table:
        import sqlalchemy as sa

        schema, _, table = name.rpartition(".")
        looked = sa.inspect(self._engine)
        known = [*looked.get_table_names(schema or None), *looked.get_view_names(schema or None)]
        if table not in known:
            raise UsageError(
                f"{visible(self.shown)} has no table {name!r}; it has: {', '.join(sorted(known)) or 'none'}."
                f"{did_you_mean(table, known)}"
            )
        return sa.Table(table, sa.MetaData(), schema=schema or None, autoload_with=self._engine)

    # ---- the connection ---------------------------------------------------------------------------------------------

    def _connected(self) -> sa.Engine:
        import sqlalchemy as sa

        try:
            engine = sa.create_engine(self._url, hide_parameters=True)
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{visible(self.shown)} needs {error.name}; install Driftline with its extra `postgres`"
            ) from error
        if engine.dialect.name == "postgresql":  # a query that writes is refused
            return engine.execution_options(postgresql_readonly=True)
        return engine

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Turn errors of the database into one line; they hold neither the address nor the values of a statement."""
        import sqlalchemy as sa

        try:
            yield
        except sa.exc.DBAPIError as error:
            said = " ".join(str(error.orig).split())
            raise DataError(f"{visible(self.shown)}: {visible(said)}") from error
        except sa.exc.SQLAlchemyError as error:
            raise DataError(f"{visible(self.shown)}: {visible(cause(error))}") from error


def _checked(address: str, source: str) -> str | sa.URL:
    """Return the address as it is opened."""
    import sqlalchemy as sa

    if address.startswith(_SQLITE):
        if not address.startswith("sqlite:///") or not (path := address.removeprefix("sqlite:///").partition("?")[0]):
            raise UsageError("a database of SQLite is sqlite:///FILE, or sqlite:////FILE from the root")
        if not Path(path).is_file():
            raise UsageError(f"{path}: there is no such file")
        # a '#' in the name would end the address that SQLite reads, and with it the mode
        return sa.URL.create("sqlite", database=f"file:{quote(path)}", query={"mode": "ro", "uri": "true"})
    if not address.startswith(_POSTGRESQL):
        raise UsageError(f"what {source} holds is no address of a database; allowed are sqlite:///… and postgresql://…")
    if (problem := server_problem(address)) is not None:
        raise UsageError(f"the address {problem}")
    if source == address and urlsplit(address).password:
        raise UsageError(
            "the address holds a password, and other people see a command line; put the address into a variable and "
            "say env:NAME, or the password into PGPASSWORD or ~/.pgpass"
        )
    return f"postgresql+psycopg:{address.partition(':')[2]}"


# ---- order keys -----------------------------------------------------------------------------------------------------

_KEYS: Mapping[str, tuple[type, Callable[[Any], Any]]] = {
    "datetime": (datetime, datetime.fromisoformat),
    "date": (date, date.fromisoformat),
    "uuid": (uuid.UUID, uuid.UUID),
    "decimal": (Decimal, Decimal),
}


def _written_key(value: Any, name: str) -> Any:
    """Return an order key as JSON can hold it."""
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        return value
    for kind, (of, _) in _KEYS.items():
        if isinstance(value, of):
            return [kind, value.isoformat() if isinstance(value, date) else str(value)]
    if value is None:
        raise DataError(f"the order key {name!r} is missing in some rows; order by a column that all have")
    raise DataError(f"the order key {name!r} is a {type(value).__name__}; allowed are whole numbers, texts and times")


def _read_key(written: Any) -> Any:
    if not isinstance(written, list):
        return written
    kind, text = written
    return _KEYS[kind][1](text)


def _last_of(last: Any, keys: Sequence[Any], name: str) -> Any:
    """Return the last of some keys in order. Raises `DataError` where one comes again: rows could get lost there."""
    for key in keys:
        if key == last:
            raise DataError(
                f"the order key {name!r} has {visible(str(key))!r} more than once; order by a unique column"
            )
        last = key
    return last


# ---- values ---------------------------------------------------------------------------------------------------------


def _frame(names: Sequence[str], rows: Sequence[Any]) -> pl.DataFrame:
    import polars as pl

    columns = zip(*rows, strict=True)
    return pl.DataFrame([_series(name, list(column)) for name, column in zip(names, columns, strict=True)])


def _series(name: str, values: list[Any]) -> pl.Series:
    import polars as pl

    kinds = {type(value) for value in values} - {type(None)}
    if kinds & {Decimal, float}:
        values = [float(value) if isinstance(value, (Decimal, int)) else value for value in values]
    elif uuid.UUID in kinds:
        values = [None if value is None else str(value) for value in values]
    elif timedelta in kinds:
        values = [value.total_seconds() if isinstance(value, timedelta) else value for value in values]
    try:
        series = pl.Series(name, [] if kinds & {bytes, memoryview, dict} else values)
        if len(series) and series.dtype != pl.Int128:
            return series
    except (TypeError, ValueError, pl.exceptions.PolarsError, OverflowError):
        pass
    found = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise DataError(f"the column {name!r} holds {found}, which no event can; cast it in the query, or leave it out")
