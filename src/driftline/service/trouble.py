"""What went wrong, in words for people: no SQL, no class of a library, no second line."""

from __future__ import annotations

import re

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
_STATES = {
    "25006": "the database only reads: it is a standby, or is set to",
    "25P03": "the database ended a write that was paused",
    "40001": "the database has too much to do",
    "40P01": "the database has too much to do",
    "42501": "the database refuses it: its user may not do that",
    "42P01": "the tables of the database are gone; bring back a backup, or start again",
    "53100": "the disk is full: the database cannot grow",
    "53300": "the database has too many connections",
    "55P03": "the database is locked by another program",
    "57014": "the database took too long",
}
"""What PostgreSQL says by its codes (`SQLSTATE`)."""

_AWAY = ("08", "57P")
_FAILED = re.compile(r".*failed: (?:FATAL: +)?(.+)")


def in_words(error: BaseException) -> str:
    """Say what an error means, in one line.

    >>> in_words(OSError(28, "No space left on device", "data/log"))
    'the disk is full (No space left on device): data/log'
    >>> in_words(sa.exc.OperationalError("INSERT …", {}, Exception("database is locked")))
    'the database is locked by another program'
    """
    if isinstance(error, sa.exc.DBAPIError):
        said, code = str(error.orig).lower(), getattr(error.orig, "sqlstate", None) or ""
        known = next((words for part, words in _DATABASE.items() if part in said), None) or _STATES.get(code)
        if known is None and (_is_lost(error) or code.startswith(_AWAY)):
            why = _FAILED.findall(str(error.orig))
            return short(f"the database is away: {why[-1]}" if why else "the database is away", _LENGTH)
        return known or short(f"the database did not take it: {error.orig}", _LENGTH)
    if isinstance(error, sa.exc.SQLAlchemyError):
        return "the database has too much to do"
    said = cause(error)
    if isinstance(error, DriftlineError):
        return short(str(error), _LENGTH)  # it has been put into words, with what it is about
    return short(said if said != str(error) else f"{type(error).__name__}: {error}", _LENGTH)


def is_of_surroundings(error: BaseException) -> bool:
    """Return whether it is the disk's fault, the database's or a user's: it needs no trace."""
    if isinstance(error, sa.exc.DBAPIError):
        code = getattr(error.orig, "sqlstate", None)
        return type(error) is sa.exc.DatabaseError or isinstance(error, sa.exc.OperationalError) or code in _STATES
    return isinstance(error, (DriftlineError, OSError))


def _is_lost(error: sa.exc.DBAPIError) -> bool:
    """Return whether a server could not be connected to, or the connection broke: it had no chance to say a code."""
    return isinstance(error, sa.exc.OperationalError) and getattr(error.orig, "sqlstate", "") is None
