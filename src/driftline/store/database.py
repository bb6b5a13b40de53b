"""Opens the state database and brings it to this release's tables. What the kinds of it do differently is behind this.

An address is that of a file, ``sqlite:///FILE``, or of a server; see `driftline.store.addresses`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from driftline.errors import StorageError
from driftline.store import postgresql, sqlite
from driftline.store.addresses import is_server, resolved, without_secrets
from driftline.store.tables import EPOCH, INBOX, METADATA
from driftline.text import cause

_ELSE = "; bring back a backup, or move it away: what the event log knows is recalled from there"
_MIGRATIONS = Path(__file__).parent / "migrations"
_REVISION = sa.Table(  # Alembic's own
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
_WAYS_OUT = {"malformed": _ELSE, "not a database": _ELSE}


def open_database(address: str, *, sync_commits: bool = True) -> sa.Engine:
    """Open the database, creating it where it is a file that does not exist, and migrate it to the newest tables.

    With ``sync_commits`` a commit is on the disk before it returns. Without, the newest commits of a file may be
    undone, in order, by a power failure (not by the end of the process): enough for what can be done again from what
    was synced. A server has always synced them: it may fail while this process goes on.
    """
    url = resolved(address)
    engine = postgresql.create(url) if is_server(url) else sqlite.create(url, sync_commits=sync_commits)
    try:
        if is_server(url):
            migrate(engine)
        else:
            sqlite.make_room(url)
            migrate(engine)
            sqlite.remember_file(engine, url)
    except (sa.exc.DBAPIError, OSError, _UnknownMigrationError) as error:
        engine.dispose()
        said = error.orig if isinstance(error, sa.exc.DBAPIError) else cause(error)  # without its statement
        what_to_do = next((words for part, words in _WAYS_OUT.items() if part in str(said)), "")
        raise StorageError(f"the database {without_secrets(url)} cannot be opened: {said}{what_to_do}") from error
    return engine


class _UnknownMigrationError(LookupError):
    """The database has seen a migration that this release does not have."""


def migrate(engine: sa.Engine) -> None:
    """Apply the migrations that the database has not seen; one process at a time.

    One without tables gets those that all migrations come to.
    """
    with engine.begin() as connection:
        wait_turn(connection, "migrations")
        seen, newest = _revision(connection), newest_revision()
        if not seen and not set(sa.inspect(connection).get_table_names()) & {_REVISION.name, *METADATA.tables}:
            METADATA.create_all(connection, checkfirst=False)
            _REVISION.create(connection)
            connection.execute(_REVISION.insert().values(version_num=newest))
        elif seen != newest:
            _upgrade(connection)
        if _is_server(engine):
            postgresql.order_by_code_points(connection, METADATA)


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # a tenth of a service's start, and nothing is left to do at most of them
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise _UnknownMigrationError(cause(error)) from error


def migrate_database(address: str) -> tuple[str, str]:
    """Bring a database to the newest tables; return the newest migration that it had seen before, and has now."""
    before = ""
    if has_state(address):
        watch = Watch(address, timedelta(seconds=1))
        before = revision_of(watch.engine)
        watch.engine.dispose()
    engine = open_database(address)
    try:
        return before, revision_of(engine)
    finally:
        engine.dispose()


def revision_of(engine: sa.Engine) -> str:
    """Return the number of the newest migration that a database has seen; empty where it has seen none."""
    with engine.connect().execution_options(readonly=True) as connection:
        return _revision(connection)


def _revision(connection: sa.Connection) -> str:
    if not sa.inspect(connection).has_table(_REVISION.name):
        return ""
    return connection.execute(sa.select(_REVISION.c.version_num)).scalar() or ""


def newest_revision() -> str:
    """Return the number of the newest migration of this release, by the names of the files."""
    return max(file.stem for file in _MIGRATIONS.glob("versions/m*.py"))[1:5]


def has_state(address: str) -> bool:
    """Return whether a service has ever opened the database of an address. Raises `StorageError` where it is away."""
    url = resolved(address)
    if not is_server(url):
        file = sqlite.file_of(url)
        return file is not None and file.exists()
    engine = postgresql.create(url)
    try:
        return postgresql.has_tables(engine)
    except sa.exc.DBAPIError as error:
        raise StorageError(f"the database {without_secrets(url)} cannot be opened: {error.orig}") from error
    finally:
        engine.dispose()


def wait_turn(connection: sa.Connection, name: str) -> None:
    """Have one transaction at a time go on from here, among those that wait for the same name; SQLite always does."""
    if _is_server(connection):
        postgresql.wait_turn(connection, name)


def try_turn(connection: sa.Connection, name: str) -> bool:
    """Return whether the turn of a name was to be had without waiting, as for `wait_turn`."""
    return postgresql.try_turn(connection, name) if _is_server(connection) else True


def database_time(connection: sa.Connection) -> datetime:
    """Return what time it is for the database, to the microsecond where it is a server's."""
    words = postgresql.MICROSECONDS if _is_server(connection) else sqlite.MICROSECONDS
    return EPOCH + timedelta(microseconds=connection.execute(sa.text(words)).scalar_one())


def is_shared(address: str) -> bool:
    """Return whether several processes can work with the database of an address: it is a server's."""
    return is_server(resolved(address))


def file_problem(engine: sa.Engine) -> str | None:
    """Return why nothing may be written to an opened database, or None: its file is gone, or is another by now."""
    return sqlite.file_problem(engine)


def wipe(engine: sa.Engine) -> bool:
    """Leave no byte of deleted rows in the file of a database; return whether that was done, or is to be done again.

    A server does so by itself (autovacuum).
    """
    return _is_server(engine) or sqlite.wipe(engine)


# ---- looks from outside ---------------------------------------------------------------------------------------------


class Watch:
    """Looks at a database from outside, without waiting longer than ``patience``; never migrates or creates it."""

    def __init__(self, address: str, patience: timedelta) -> None:
        self._url, self._patience = resolved(address), patience
        of_server = is_server(self._url)
        self.engine = postgresql.watch(self._url, patience) if of_server else sqlite.watch(self._url, patience)
        self.file = None if of_server else sqlite.file_of(self._url)
        """The file of the database; None where it is a server's."""

    def write_trouble(self) -> Exception | None:
        """Return what a write would fail with now, or None."""
        if _is_server(self.engine):
            return postgresql.write_trouble(self.engine, INBOX)
        return sqlite.write_trouble(self._url, self._patience)


def version_of(engine: sa.Engine) -> str:
    """Return what a database is, with its version, such as PostgreSQL 15.9."""
    with engine.connect().execution_options(readonly=True) as connection:
        name = "PostgreSQL" if _is_server(engine) else "SQLite"
        return f"{name} {'.'.join(map(str, connection.dialect.server_version_info or ()))}"


def size_of(engine: sa.Engine) -> int:
    """Return how many bytes a database takes."""
    words = "SELECT pg_database_size(current_database())"
    if not _is_server(engine):
        words = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    with engine.connect().execution_options(readonly=True) as connection:
        return int(connection.execute(sa.text(words)).scalar_one())


def clock_of(engine: sa.Engine) -> datetime | None:
    """Return what a server's clock says; None for a file, which has none of its own."""
    if not _is_server(engine):
        return None
    with engine.connect().execution_options(readonly=True) as connection:
        said: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return said.astimezone(UTC)


# ---- numbers --------------------------------------------------------------------------------------------------------


def highest_number(connection: sa.Connection, table: sa.Table) -> int:
    """Return a number that no row of a table had more than; 0 before the first."""
    if _is_server(connection):
        return postgresql.highest_number(connection, table)
    return sqlite.highest_number(connection, table)


def raise_number(connection: sa.Connection, table: sa.Table, least: int) -> None:
    """Have the next rows of a table numbered above a number, where they are not."""
    if highest_number(connection, table) >= least:
        return
    if _is_server(connection):
        postgresql.raise_number(connection, table, least)
    else:
        sqlite.raise_number(connection, table, least)


def _is_server(of: sa.Engine | sa.Connection) -> bool:
    return bool(of.dialect.name == "postgresql")
