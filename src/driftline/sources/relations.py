"""Read the relations of DuckDB: its tables and queries, in batches, without DuckDB being needed for anything else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from driftline.sources.rows import ReopenedRows, readable


def is_relation(rows: Any) -> bool:
    """Return whether rows are a relation of DuckDB."""
    return type(rows).__name__ == "DuckDBPyRelation"


def rows_of_relation(relation: Any, name: str, ignore: Collection[str] = ()) -> ReopenedRows:
    """Return the rows of a relation; its query is executed for the first rows, and again for all of them.

    A connection has one open result at a time. So each stream is read to its end or dropped before the next one is
    opened, and two relations of one connection can be compared. ``ignore`` columns are not read.
    """
    from arro3.core import RecordBatchReader

    with readable(name, foreign=True):
        empty = relation.limit(0)
        names: list[str] = RecordBatchReader.from_stream(empty).schema.names

    def opened(columns: Sequence[str]) -> Any:
        return relation.project(", ".join(_numbered(names, column) for column in columns))

    return ReopenedRows(opened, empty, name, None, ignore)


def _numbered(names: Sequence[str], column: str) -> str:
    """A column by its place: DuckDB does not tell "A" and "a" apart, and calls the second one "a_1" in Arrow."""
    quoted = column.replace('"', '""')
    return f'#{names.index(column) + 1} AS "{quoted}"'
