"""What PostgreSQL does otherwise: a server that comes and goes, in which many transactions write at a time.

The state relies on two things that SQLite gives by itself. One transaction changes what is known of a model at a time,
and rows of the inbox are seen in the order of their numbers. Both are kept by `wait_turn`. Writers read what is
committed when they read it (READ COMMITTED, so after they had waited); readers see one moment (REPEATABLE READ).
"""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from driftline.errors import StorageError, UsageError
from driftline.store.addresses import without_secrets

_CONNECT_SECONDS = 5
_BUSY_SECONDS = 30
_KEEPALIVE_SECONDS = 30
_ENCODING = "UTF8"
_PAUSED_SECONDS = 10
"""So long a process may think in the middle of a write: whoever is paused there must not hold up the others."""

MICROSECONDS = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
"""What time it is for the server, in microseconds since 1970."""

_TO_WATCH = 2  # the least that a connection may take; PostgreSQL's library knows no less


def create(url: str) -> sa.Engine:
    """Return an engine whose connections wait for each other, but not for ever, and are made anew where they broke."""
    engine = _engine(url, _CONNECT_SECONDS, timedelta(seconds=_BUSY_SECONDS))
    sa.event.listen(engine, "begin", _begin)
    return engine


def watch(url: str, patience: timedelta) -> sa.Engine:
    """Return an engine that reads, and does not wait long."""
    engine = _engine(url, _TO_WATCH, patience)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _engine(url: str, connect_seconds: int, patience: timedelta) -> sa.Engine:
    waits = {"connect_timeout": connect_seconds, "tcp_user_timeout": _KEEPALIVE_SECONDS * 1000, "keepalives_idle": 30}
    named = {} if "application_name" in sa.make_url(url).query else {"application_name": "driftline"}
    try:
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args={**waits, **named})
    except ModuleNotFoundError as error:
        raise UsageError("a state in PostgreSQL needs more packages: pip install 'driftline[postgres]'") from error
    prepare = functools.partial(_prepare, url, patience)
    sa.event.listen(engine, "connect", prepare, insert=True)  # before SQLAlchemy has a look: it takes text for granted
    return engine


def _prepare(url: str, patience: timedelta, connection: Any, _record: Any) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != _ENCODING:
        what_to_do = f"createdb --template=template0 --encoding={_ENCODING} NAME"
        raise StorageError(f"{without_secrets(url)} keeps text as {encoding}; allowed is {_ENCODING}: {what_to_do}")
    connection.autocommit = True
    for setting in (
        f"lock_timeout = {int(patience.total_seconds() * 1000)}",
        "default_transaction_isolation = 'read committed'",
        f"idle_in_transaction_session_timeout = '{_PAUSED_SECONDS}s'",
        f"tcp_keepalives_idle = {_KEEPALIVE_SECONDS}",  # a machine that is gone does not keep its locks for long
        "tcp_keepalives_interval = 10",
        "tcp_keepalives_count = 3",
    ):
        connection.execute(f"SET {setting}")
    # A commit is on the disk before it returns, whatever is usual on that server.
    off = "current_setting('synchronous_commit') = 'off'"
    connection.execute(f"SELECT set_config('synchronous_commit', 'on', false) WHERE {off}")
    connection.autocommit = False


def _begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("readonly", False):
        connection.exec_driver_sql(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; "
            "SET LOCAL idle_in_transaction_session_timeout = 0"  # a read that thinks for long holds up nobody
        )


# ---- locks ----------------------------------------------------------------------------------------------------------


def _lock_number(name: str) -> sa.ColumnElement[int]:
    """The number of a lock by its name; each schema of a database has its own."""
    return sa.func.hashtextextended(sa.func.current_schema().concat(f" driftline {name}"), 0)


def wait_turn(connection: sa.Connection, name: str) -> None:
    """Wait until no other transaction has the turn of that name; it ends with the transaction, once that is seen."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_lock_number(name))))


def try_turn(connection: sa.Connection, name: str) -> bool:
    """Take the turn of that name, as `wait_turn` does, unless another transaction has it; return whether it was had."""
    return bool(connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_lock_number(name)))).scalar_one())


def write_trouble(engine: sa.Engine, table: sa.Table) -> Exception | None:
    """Return what a write would fail with, or None: the server is away or only reads, or another holds the table."""
    try:
        with engine.connect() as connection:
            reads = connection.execute(sa.text("SHOW transaction_read_only")).scalar_one() == "on"
            connection.execute(sa.text(f"LOCK TABLE {table.name} IN ROW EXCLUSIVE MODE"))
            connection.rollback()
    except sa.exc.DBAPIError as error:
        return error
    return StorageError("the database only reads: it is a standby, or is set to") if reads else None


# ---- tables and numbers ---------------------------------------------------------------------------------------------

_OTHERWISE_ORDERED = sa.text("""
    SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_collation o ON o.oid = a.attcollation
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND o.collname <> 'C'
    AND a.attnum > 0 AND NOT a.attisdropped AND c.relname = ANY(:tables) ORDER BY 1, 2
""")


def order_by_code_points(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Have all text compared by code points, as SQLite does, whatever the language of the server."""
    found = connection.execute(_OTHERWISE_ORDERED, {"tables": list(metadata.tables)}).all()
    quote = connection.dialect.identifier_preparer.quote
    for table, column in found:
        words = f'ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} TYPE VARCHAR COLLATE "C"'
        connection.execute(sa.text(words))


def has_tables(engine: sa.Engine) -> bool:
    """Return whether a database has been migrated once."""
    return sa.inspect(engine).has_table("alembic_version")


def _sequence(connection: sa.Connection, table: sa.Table) -> sa.TableClause:
    [column] = table.primary_key.columns
    name = connection.execute(sa.select(sa.func.pg_get_serial_sequence(table.name, column.name))).scalar_one()
    return sa.table(sa.quoted_name(str(name), quote=False), sa.column("last_value"), sa.column("is_called"))


def highest_number(connection: sa.Connection, table: sa.Table) -> int:
    """Return the highest number that a row of a table has ever had, or higher after a crash; 0 before the first."""
    last, called = connection.execute(sa.select(_sequence(connection, table))).one()
    return int(last) if called else 0


def raise_number(connection: sa.Connection, table: sa.Table, least: int) -> None:
    """Have the next rows numbered above a number."""
    connection.execute(sa.select(sa.func.setval(_sequence(connection, table).name, least)))
