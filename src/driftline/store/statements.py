"""What all statements on the state have in common: rows from and to tables, and lists of ids in parts."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import sqlalchemy as sa

_PARAMETERS = 500  # ids in one statement: below every database's limit

_Row = TypeVar("_Row")
_Id = TypeVar("_Id")


def as_row(kind: type[_Row], row: sa.Row[Any]) -> _Row:
    """Return a row of a table as its dataclass, whose fields are named as the columns."""
    mapping = row._mapping
    return kind(**{field.name: mapping[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def values_of(row: Any) -> dict[str, Any]:
    """Return the values of a dataclass by the names of the columns."""
    return {field.name: getattr(row, field.name) for field in fields(row)}


def put_row(connection: sa.Connection, table: sa.Table, row: Any) -> None:
    """Insert a row, or replace the one that has the same primary key."""
    put_rows(connection, table, [row])


def put_rows(connection: sa.Connection, table: sa.Table, rows: Iterable[Any]) -> None:
    """Insert rows, or replace those that have the same primary keys: one statement, however many rows."""
    put_values(connection, table, [values_of(row) for row in rows])


def put_values(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    changed: Collection[str] = (),
    added: Collection[str] = (),
) -> None:
    """Insert rows by the names of columns: one statement, however many rows.

    A row that has the same primary key is replaced; with ``changed`` only these columns of it are, and with ``added``
    these are added to what is there.
    """
    if not rows:
        return
    names = tuple(changed) or tuple(
        name for name in rows[0] if name not in table.primary_key.columns and name not in added
    )
    connection.execute(_upsert(connection.dialect.name, table, names, tuple(added)), rows)


@functools.cache
def _upsert(dialect: str, table: sa.Table, replaced: tuple[str, ...], added: tuple[str, ...]) -> Any:
    """Return the insert that replaces, or adds to, columns of a row that is there: dear to build."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    statement = insert(table)
    new: dict[str, Any] = {name: statement.excluded[name] for name in replaced}
    new |= {name: table.c[name] + statement.excluded[name] for name in added}
    return statement.on_conflict_do_update(index_elements=[column.name for column in table.primary_key], set_=new)


def batches(ids: Iterable[_Id]) -> Iterator[Sequence[_Id]]:
    """Yield ids in parts, each short enough for one statement."""
    all_of_them = list(ids)
    for start in range(0, len(all_of_them), _PARAMETERS):
        yield all_of_them[start : start + _PARAMETERS]
