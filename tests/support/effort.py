"""Counts what databases do: statements, and the steps of SQLite's machine, some for each row that it passes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

_STEPS_AT_ONCE = 20


@dataclass
class Effort:
    """Statements in their order, and steps, to the nearest twenty a statement."""

    statements: list[str] = field(default_factory=list)
    steps: int = 0

    @property
    def writes(self) -> list[str]:
        """The statements that change something."""
        return [one for one in self.statements if one.lstrip().split(None, 1)[0] in ("INSERT", "UPDATE", "DELETE")]


@contextmanager
def counted() -> Iterator[Effort]:
    """What all databases of this process do meanwhile."""
    effort, connections = Effort(), list[Any]()

    def step() -> None:
        effort.steps += _STEPS_AT_ONCE

    def watch(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(step, _STEPS_AT_ONCE)
        connections.append(connection)

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        effort.statements.append(statement)

    sa.event.listen(sa.Pool, "checkout", watch)
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield effort
    finally:
        sa.event.remove(sa.Pool, "checkout", watch)
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
        for connection in connections:
            with suppress(sqlite3.ProgrammingError):  # it is closed
                connection.set_progress_handler(None, 0)
