"""The rows that are profiled inside a database: their columns, and how each row's window and version is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl
from msgspec.structs import replace

from driftline.errors import UsageError
from driftline.events import Window, WindowSpec
from driftline.profiles import Columns
from driftline.profiles.layout import Layout, read_rows
from driftline.profiles.table import Key
from driftline.sql.databases import Database, Type
from driftline.sql.dialects import is_time, quoted, values, window_number

TIMES = ("time", "instant", "date")
NUMBERS = ("real", "single", "whole", "decimal")
HOUR, _MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
_NAMES = (*NUMBERS, "text", "boolean", "date", "other")
_MOST_WINDOWS = 20_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Answer(NamedTuple):
    """Rows that a statement returned, in the order of their keys, and where the rows of each key begin."""

    frame: pl.DataFrame
    keys: list[Key]
    begins: list[int]

    def parts(self) -> Iterator[tuple[Key, slice]]:
        """Yield the keys and which rows are theirs."""
        ends = [*self.begins[1:], self.frame.height]
        for key, begin, end in zip(self.keys, self.begins, ends, strict=True):
            yield key, slice(begin, end)


class Given:
    """A table or query, as it stands behind FROM, and the layout that its rows are profiled by.

    ``keys`` are the expressions of the window, ``w``, and the version, ``v``, of each row.
    """

    def __init__(self, database: Database, source: str, layout: Layout) -> None:
        """Raises `UsageError` where rows cannot be cut into windows."""
        self.database, self.source, self.layout = database, source, layout
        self.dialect = database.dialect
        self.types: Mapping[str, Type] = database.types(source)
        self._windows: Mapping[int, Window] = {}
        self.keys = f"{self._window()} AS w, {self._version()} AS v"

    def column(self, name: str) -> str:
        """Return a column as an expression."""
        return f"given.{quoted(name)}"

    def value(self, name: str) -> str:
        """Return a column as an expression to group by; values are equal where they are equal in rows."""
        given = self.column(name)
        return self.dialect.text.format(given) if self.kind(name) == "text" else given

    def kind(self, name: str) -> str:
        """Return what a column's type is to us; see `Type`."""
        return self.types[name].kind

    def problem(self, name: str) -> str | None:
        """Return why a column cannot be counted by its values, in words; None if it can, or if there is no such one.

        PostgreSQL returns some values in another way than rows have them.
        """
        if name not in self.types:
            return None
        kind, words = self.types[name]
        told = kind in _NAMES and not (self.dialect.name == "PostgreSQL" and kind in ("other", "date", "decimal"))
        return None if told else f"the type {words} is not counted; cast it in a query"

    def hour(self, time: str) -> str:
        """Return the whole hours since 1970 of a column of times as an expression; NULL for none."""
        given, kind = self.column(time), self.kind(time)
        moment = f"CAST({given} AS TIMESTAMP)" if kind == "date" else given
        return f"CASE WHEN {is_time(given, kind)} THEN {self.dialect.hour.format(moment)} END"

    def counts(self, expressions: Sequence[str]) -> Iterator[Answer]:
        """Count the rows by the values of expressions, ``x0`` and so on; a key may come several times."""
        return self.answers(values(self.source, self.keys, expressions))

    def answers(self, statement: str) -> Iterator[Answer]:
        """Return what a statement returns by its ``w`` and ``v``; a key may come several times."""
        column = self.layout.columns.version
        only = self.reading(Columns(version=column), [])
        for frame in self.database.frames(statement):
            if not frame.height:
                continue
            named = pl.Series("v", [""]).new_from_index(0, frame.height)
            if column is not None:
                named = read_rows(pl.DataFrame({column: frame["v"]}), only)["version"].fill_null("").alias("v")
            known = frame.with_columns(pl.col("w").cast(pl.Int64), named, pl.col("rows").cast(pl.Int64)).sort("w", "v")
            begins = known.select((pl.struct("w", "v").rle_id().diff().fill_null(1) != 0).arg_true()).to_series()
            keys = [
                Key(None if place is None else self._windows[place], version)
                for place, version in known.select("w", "v")[begins.to_list()].rows()
            ]
            yield Answer(known, keys, begins.to_list())

    def reading(self, columns: Columns, features: Iterable[str]) -> Layout:
        """Return the layout by which some columns alone are read, each as the whole layout says; without windows."""
        schema = self.layout.schema
        kinds = {name: schema.features[name] for name in features}
        return Layout(
            replace(columns, missing=self.layout.columns.missing),
            replace(schema, features=kinds, segments={}, cluster=None, aside=()),
            {},
            {},
            readings=self.layout.readings,
        )

    def _window(self) -> str:
        time, spec = self.layout.columns.time, self.layout.windows
        if spec is None or time is None:
            return "CAST(NULL AS BIGINT)"
        if time not in self.types:
            raise UsageError(f"the rows have no column {time!r} of times; windows are cut by it")
        if self.kind(time) not in TIMES:
            raise UsageError(
                f"the times in {time!r} have the type {self.types[time].words}; a database cuts windows of timestamps "
                "and dates: give a query that casts them, as SELECT CAST(… AS TIMESTAMP) does"
            )
        asked = f"SELECT DISTINCT {self.hour(time)} AS hour FROM {self.source} AS given"
        hours = pl.concat(self.database.frames(asked))["hour"].cast(pl.Int64).drop_nulls()
        windows = windows_of(hours.sort().to_list(), spec)
        length = _one_length(windows)
        if length and self.dialect.steps and self.kind(time) != "date":
            first = (windows[0].start - _EPOCH) // _MICROSECOND
            self._windows = {(one.start - windows[0].start) // length: one for one in windows}
            step = self.dialect.steps.format(self.column(time), first=first, length=length // _MICROSECOND)
            return f"CASE WHEN {is_time(self.column(time), self.kind(time))} THEN {step} END"
        self._windows = dict(enumerate(windows))
        return window_number(self.column(time), self.kind(time), windows)

    def _version(self) -> str:
        name = self.layout.columns.version
        if name is None or name not in self.types:
            return "NULL"
        if (problem := self.problem(name)) is not None:
            raise UsageError(f"the version in {name!r}: {problem}")
        return self.value(name)


def _one_length(windows: Sequence[Window]) -> timedelta | None:
    """The length of windows of which each begins some lengths after the first; None for others."""
    lengths = {window.end - window.start for window in windows}
    if len(lengths) != 1:
        return None
    (length,) = lengths
    return length if all((window.start - windows[0].start) % length == timedelta() for window in windows) else None


def windows_of(hours: Sequence[int], spec: WindowSpec) -> list[Window]:
    """Return the windows, in order, that share a moment with hours since 1970, which ascend.

    >>> [window.start.hour for window in windows_of([2, 7], WindowSpec("3h"))]
    [0, 6]
    """
    found: list[Window] = []
    for hour in hours:
        time, end = _EPOCH + hour * HOUR, _EPOCH + (hour + 1) * HOUR
        time = max(time, found[-1].end) if found else time
        while time < end:
            found.append(spec.window_of(time))
            time = found[-1].end
        if len(found) > _MOST_WINDOWS:
            raise UsageError(
                f"the rows lie in more than {_MOST_WINDOWS:,} windows of {spec.length}; profile them in parts, by a "
                "query with WHERE, or in longer windows"
            )
    return found
