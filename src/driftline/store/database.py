"""Opens the state database and brings it to this release's tables."""

from __future__ import annotations

import functools
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from driftline.errors import StorageError
from driftline.store.durable import make_folder, sync_file
from driftline.text import cause

_BUSY_SECONDS = 30
_ELSE = "; bring back a backup, or move it away: what the event log knows is recalled from there"
_WAYS_OUT = {"malformed": _ELSE, "not a database": _ELSE}


def open_database(url: str, *, sync_commits: bool = True) -> sa.Engine:
    """Open the database, creating it where it is a file that does not exist, and migrate it to the newest tables.

    With ``sync_commits`` a commit is on the disk before it returns. Without, the newest commits may be undone, in
    order, by a power failure (not by the end of the process): enough for what can be done again from what was synced.
    """
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False})
    sa.event.listen(engine, "connect", functools.partial(_prepare_sqlite, "FULL" if sync_commits else "NORMAL"))
    sa.event.listen(engine, "begin", functools.partial(_begin_immediately, engine, url))
    sa.event.listen(engine, "checkin", functools.partial(_end_write, url))
    try:
        if engine.url.database:
            file = Path(engine.url.database).absolute()
            make_folder(file.parent)
        migrate(engine)
        if engine.url.database:
            sync_file(file.parent)  # the new file's name
            _files[engine] = _identity(file)
    except (sa.exc.DBAPIError, OSError, CommandError) as error:
        said = error.orig if isinstance(error, sa.exc.DBAPIError) else cause(error)  # without its statement
        what_to_do = next((words for part, words in _WAYS_OUT.items() if part in str(said)), "")
        raise StorageError(f"the database {url} cannot be opened: {said}{what_to_do}") from error
    return engine


def migrate(engine: sa.Engine) -> None:
    """Apply the migrations that the database has not seen."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _prepare_sqlite(synchronous: str, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy says BEGIN itself, below
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")


def _identity(file: Path) -> tuple[Path, int, int]:
    stat = file.stat()
    return file, stat.st_dev, stat.st_ino


def file_problem(engine: sa.Engine) -> str | None:
    """Return why nothing may be written to an opened database, or None: its file is another by now.

    What is open is then a file without a name, which is gone with the process and all that was written to it.
    """
    opened = _files.get(engine)
    if opened is None:
        return None
    try:
        same = _identity(opened[0]) == opened
    except FileNotFoundError:
        return f"the file of the database is gone: {opened[0]}; bring it back, or start again"
    return None if same else f"the file of the database was replaced while it was in use: {opened[0]}; start again"


_files: weakref.WeakKeyDictionary[sa.Engine, tuple[Path, int, int]] = weakref.WeakKeyDictionary()


def is_writing(url: str) -> bool:
    """Return whether this process is in the midst of a write to a database that it opened by that address."""
    return _writes[url] > 0


_writes: Counter[str] = Counter()
_writes_lock = threading.Lock()
_WRITING = "driftline.writing"


def _begin_immediately(engine: sa.Engine, url: str, connection: sa.Connection) -> None:
    """Take the write lock at once: a read that later turns into a write could fail half way."""
    if connection.get_execution_options().get("readonly", False):
        connection.exec_driver_sql("BEGIN")
        return
    if (problem := file_problem(engine)) is not None:
        raise StorageError(problem)
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    if not connection.info.get(_WRITING):
        connection.info[_WRITING] = True
        with _writes_lock:
            _writes[url] += 1


def _end_write(url: str, _connection: Any, record: sa.pool.ConnectionPoolEntry) -> None:
    """Know that a write is over once its connection is given back, which is after its commit."""
    if record.info.pop(_WRITING, False):
        with _writes_lock:
            _writes[url] -= 1
