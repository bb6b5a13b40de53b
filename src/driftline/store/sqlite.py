"""What SQLite does otherwise: a file of this machine, in which one transaction writes at a time."""

from __future__ import annotations

import functools
import sqlite3
import threading
import time
import weakref
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from driftline import clock
from driftline.errors import StorageError
from driftline.store.durable import make_folder, sync_file

_BUSY_SECONDS = 30
_TRIES = 2
_SWITCH_SECONDS = 5.0
MICROSECONDS = "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
"""What time it is for the database, in microseconds since 1970, to the millisecond."""

_SEQUENCE = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))  # SQLite's own


def create(url: str, *, sync_commits: bool) -> sa.Engine:
    """Return an engine whose connections wait for the write lock, and take it at the beginning."""
    engine = _engine(url, timedelta(seconds=_BUSY_SECONDS))
    sa.event.listen(engine, "connect", functools.partial(_prepare, "FULL" if sync_commits else "NORMAL"))
    sa.event.listen(engine, "begin", functools.partial(_begin_immediately, engine, url))
    sa.event.listen(engine, "checkin", functools.partial(_end_write, url))
    return engine


def watch(url: str, patience: timedelta) -> sa.Engine:
    """Return an engine that reads, and does not wait long."""
    return _engine(url, patience)


def _engine(url: str, patience: timedelta) -> sa.Engine:
    return sa.create_engine(url, connect_args={"timeout": patience.total_seconds(), "check_same_thread": False})


def _prepare(synchronous: str, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy says BEGIN itself, below
    _use_wal(connection)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    # Some builds write zeros over all that is deleted: each batch of the inbox twice. `wipe` is for what must be gone.
    connection.execute("PRAGMA secure_delete = FAST")


def _use_wal(connection: Any) -> None:
    """Switch to a write-ahead log; while another connection does so, SQLite says at once that it is busy."""
    began = clock.monotonic_seconds()
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or clock.monotonic_seconds() - began > _SWITCH_SECONDS:
                raise
            time.sleep(0.01)


# ---- the file -------------------------------------------------------------------------------------------------------


def file_of(url: str) -> Path | None:
    """Return the file of a database; None for one in memory."""
    name = sa.make_url(url).database
    return Path(name) if name else None


def make_room(url: str) -> None:
    """Make the folder of a database."""
    if (file := file_of(url)) is not None:
        make_folder(file.absolute().parent)


def remember_file(engine: sa.Engine, url: str) -> None:
    """Bring the name of a new file onto the disk, and know the file again."""
    if (file := file_of(url)) is not None:
        sync_file(file.absolute().parent)
        _files[engine] = _identity(file.absolute())


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

# ---- writes ---------------------------------------------------------------------------------------------------------


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


def write_trouble(url: str, patience: timedelta) -> sa.exc.DBAPIError | None:
    """Return what a write would fail with, or None; the own writes of this process do not count."""
    file, trouble = file_of(url), None
    assert file is not None
    for _ in range(_TRIES):
        try:
            connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", patience.total_seconds(), uri=True)
        except sqlite3.Error as error:
            return sa.exc.OperationalError("", {}, error)
        try:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if is_writing(url):
                return None
            trouble = sa.exc.OperationalError("", {}, error)
        else:
            return None
        finally:
            connection.close()
    return trouble


# ---- nothing left ---------------------------------------------------------------------------------------------------


def wipe(engine: sa.Engine) -> bool:
    """Write the file anew without what was deleted, and empty its log; False while somebody reads what was before."""
    connection = engine.raw_connection()
    try:
        ours = connection.driver_connection
        assert ours is not None
        ours.execute("VACUUM")
        [(busy, *_)] = ours.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return not busy
    finally:
        connection.close()


# ---- numbers --------------------------------------------------------------------------------------------------------


def highest_number(connection: sa.Connection, table: sa.Table) -> int:
    """Return the highest number that a row of a table has ever had; 0 before the first."""
    found = connection.execute(sa.select(_SEQUENCE.c.seq).where(_SEQUENCE.c.name == table.name))
    return int(found.scalar() or 0)


def raise_number(connection: sa.Connection, table: sa.Table, least: int) -> None:
    """Have the next rows numbered above a number."""
    raised = connection.execute(_SEQUENCE.update().where(_SEQUENCE.c.name == table.name).values(seq=least))
    if not raised.rowcount:
        connection.execute(_SEQUENCE.insert().values(name=table.name, seq=least))
