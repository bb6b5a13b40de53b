"""What went wrong, in words for people: no SQL, no class of a library, no second line."""

from __future__ import annotations

import sqlalchemy as sa

from driftline.errors import DriftlineError
from driftline.text import cause, short

_LENGTH = 300
_DATABASE = {
    "database is locked": "the database is locked by another program",
    "database or disk is full": "the disk is full: the database cannot grow",
    "attempt to write a readonly database": "the database cannot be written: its file is read-only",
    "disk i/o error": "the database cannot be read or written: the disk reports an error",
    "unable to open database file": "the file of the database cannot be opened",
    "database disk image is malformed": "the file of the database is damaged; restore a backup",
}


def in_words(error: BaseException) -> str:
    """Say what an error means, in one line.

    >>> in_words(OSError(28, "No space left on device", "data/log"))
    'the disk is full (No space left on device): data/log'
    >>> in_words(sa.exc.OperationalError("INSERT …", {}, Exception("database is locked")))
    'the database is locked by another program'
    """
    if isinstance(error, sa.exc.DBAPIError):
        said = str(error.orig).lower()
        known = next((words for part, words in _DATABASE.items() if part in said), None)
        return known or short(f"the database did not take it: {error.orig}", _LENGTH)
    if isinstance(error, sa.exc.SQLAlchemyError):
        return "the database has too much to do"
    said = cause(error)
    if isinstance(error, DriftlineError):
        return short(str(error), _LENGTH)  # it has been put into words, with what it is about
    return short(said if said != str(error) else f"{type(error).__name__}: {error}", _LENGTH)
