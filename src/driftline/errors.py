"""Every error that Driftline raises on purpose.

::

    DriftlineError
    ├── UsageError (ValueError)         an argument, option or name that does not fit
    │   ├── UnknownNameError            a name that is not in the table of known names
    │   ├── ConflictError               a key or id that came before with another meaning
    │   ├── InUseError                  a folder that another driftline works in
    │   ├── UnsignedError               a message that does not come from who it has to come from
    │   ├── UnauthorizedError           somebody who has not signed in, or no longer may
    │   ├── ForbiddenError              somebody who has, and may not do this
    │   └── ConfigError                 a mistake in driftline.yaml: file, line, key
    ├── DataError (ValueError)          a file, frame or batch that cannot be read as what it should be
    │   ├── EventError                  one or more refused rows, each with index, field and reason
    │   └── DamagedError                a file of ours that is not what we wrote
    ├── CodecError (ValueError)         bytes that are not a state of ours
    ├── MergeError (ValueError)         two states that do not belong together
    ├── AlertsFound (RuntimeError)      a check found alerts, and was asked to raise for them
    ├── StorageError (RuntimeError)     the database or the log cannot be read or written
    │   └── LeaseLostError              another process holds by now what this one was working on
    ├── PanicError (RuntimeError)       a library below gave up in the middle of its work
    └── UnavailableError (ConnectionError)  a server that does not answer, or cannot take it now
        ├── UnreachableError            no connection, or no answer in time
        └── RefusedError                a server that will not take this message, however often it is sent

The text of an error says what came, what is allowed and what to do.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from driftline.lookalikes import differs_by, in_quotes, shown_all, twin


class DriftlineError(Exception):
    """Base of all errors raised by Driftline on purpose."""


class UsageError(DriftlineError, ValueError):
    """An argument, option or name that does not fit."""


class UnknownNameError(UsageError):
    """A name that is not in the table of known names.

    >>> raise UnknownNameError("statistic", "pis", ["psi", "js"])
    Traceback (most recent call last):
    ...
    driftline.errors.UnknownNameError: unknown statistic 'pis'; known: js, psi. Did you mean 'psi'?
    """

    def __init__(self, what: str, came: str, known: Iterable[str]) -> None:
        self.what, self.came, self.known = what, came, tuple(sorted(known))
        told = shown_all([*self.known, came])
        those = ", ".join(told[name] for name in self.known) or "none"
        unknown = f"unknown {what} {in_quotes(came, self.known)}"
        super().__init__(f"{unknown}; known: {those}.{did_you_mean(came, self.known)}")


class ConflictError(UsageError):
    """A key or id that came before with another meaning."""


class UnsignedError(UsageError):
    """A message that is not signed by who it has to come from."""


class UnauthorizedError(UsageError):
    """Somebody who has not signed in, or whose token is unknown, expired or revoked."""


class ForbiddenError(UsageError):
    """Somebody who has signed in, and whose role or models do not allow what they asked for."""


class InUseError(UsageError):
    """A folder of events and state that another driftline works in."""


class ConfigError(UsageError):
    """A mistake in a configuration file.

    Attributes: ``path`` of the file, ``line`` (1-based, None where unknown), ``key`` as a dotted path.
    """

    def __init__(self, reason: str, *, path: Path | None = None, line: int | None = None, key: str = "") -> None:
        self.reason, self.path, self.line, self.key = reason, path, line, key
        place = ":".join(str(part) for part in (path, line) if part is not None)
        super().__init__(": ".join(part for part in (place, key, reason) if part))


class DataError(DriftlineError, ValueError):
    """A file, frame or batch that cannot be read as what it should be."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """Why one row of a batch was refused: its 0-based index, the field (dotted) and the reason in words."""

    index: int
    field: str
    reason: str


class EventError(DataError):
    """One or more rows of a batch were refused; the batch was not taken."""

    def __init__(self, rows: Sequence[RefusedRow]) -> None:
        self.rows = tuple(rows)
        first = self.rows[0]
        more = f" (and {len(self.rows) - 1} more rows)" if len(self.rows) > 1 else ""
        super().__init__(f"row {first.index}, {first.field}: {first.reason}{more}")


class DamagedError(DataError):
    """A file of ours that is not what we wrote: it has to be restored."""


class CodecError(DriftlineError, ValueError):
    """Bytes that are not an encoded state, or of a version that this release does not know."""


class MergeError(DriftlineError, ValueError):
    """Two states that do not belong together, such as sketches on different grids."""


class AlertsFound(DriftlineError, RuntimeError):
    """A check found alerts, and was asked to raise for them; ``alerts`` has their texts, worst first."""

    def __init__(self, alerts: Sequence[str]) -> None:
        self.alerts = tuple(alerts)
        more = f" (and {len(self.alerts) - 1} more)" if len(self.alerts) > 1 else ""
        super().__init__(f"{self.alerts[0]}{more}")


class StorageError(DriftlineError, RuntimeError):
    """The database or the event log cannot be read or written."""


class LeaseLostError(StorageError):
    """Another process holds by now what this one was working on: nothing of that is stored."""


class PanicError(DriftlineError, RuntimeError):
    """A library below gave up in the middle of its work: a panic of Rust, which is no `Exception` by itself."""


class panics_as_errors(contextlib.ContextDecorator):  # noqa: N801 - a context manager, used as a verb
    """Raises a panic of a library below as a `PanicError`, so that whatever handles errors handles it too.

    Each library has a class of its own for its panics, and all of them are called ``PanicException``; none is an
    `Exception`. What ends a program on purpose (`KeyboardInterrupt`, `SystemExit`) goes on as it is.

    >>> with panics_as_errors():
    ...     raise type("PanicException", (BaseException,), {})("index out of bounds")
    Traceback (most recent call last):
    ...
    driftline.errors.PanicError: a library gave up: index out of bounds
    """

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and is_panic(error):
            raise PanicError(f"a library gave up: {error}") from error


def is_panic(error: BaseException) -> bool:
    """Whether this is the panic of a library: told by its name, since each library has a class of its own.

    >>> is_panic(type("PanicException", (BaseException,), {})("x")), is_panic(KeyboardInterrupt())
    (True, False)
    """
    return any(kind.__name__ == "PanicException" for kind in type(error).__mro__)


class UnavailableError(DriftlineError, ConnectionError):
    """A server that does not answer, or cannot take it now; ``retry_after`` is how many seconds it asks to wait."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class UnreachableError(UnavailableError):
    """No connection, or no answer in time."""


class RefusedError(UnavailableError):
    """A server that will not take this message, however often it is sent."""


def lacks_column(who: str, name: str, columns: Iterable[str], what: str = "", see: str = "") -> str:
    """Say that some rows have no such column, which ones they have, and which was probably meant.

    ``what`` follows the column's name, and ``see`` the names of the others.

    >>> lacks_column("rows.csv", "age", ["age ", "y"])
    "rows.csv has no column 'age'; it has 'age ', y. Did you mean 'age ', which differs by white space only?"
    """
    told = shown_all([*columns, name])
    has = ", ".join(told[one] for one in columns) or "none"
    hint = did_you_mean(name, columns)
    return f"{who} has no column {in_quotes(name, told)}{what}; it has {has}{see}{'.' if hint else ''}{hint}"


def did_you_mean(came: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or nothing.

    >>> did_you_mean("acuracy", ["accuracy", "recall"])
    " Did you mean 'accuracy'?"
    >>> did_you_mean("zzz", ["accuracy"])
    ''
    >>> did_you_mean("age", ["age ", "wage"])
    " Did you mean 'age ', which differs by white space only?"
    """
    if (alike := twin(came, names := list(known))) is not None:
        return f" Did you mean {in_quotes(alike, [came])}, which differs by {differs_by(alike, came)} only?"
    near = difflib.get_close_matches(came, names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
