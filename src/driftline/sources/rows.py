"""Read rows batch by batch, after a look at a sample: from frames, from streams of Arrow, from files.

`driftline.sources.files` opens files, folders and object stores as the classes of this module.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, Self, TypeVar

import polars as pl

from driftline.errors import DataError, UsageError
from driftline.sources.arrow import MOST_DIGITS, Gate, unread_series
from driftline.text import cause

_T = TypeVar("_T")

HEAD_ROWS = 16_384
_HEAD_CELLS, _LEAST_HEAD_ROWS = 2_000_000, 1_024
_HEAD_PARTS, _LEAST_HEAD_COLUMNS, _MOST_HEAD_COLUMNS = 4, 8, 100
_BATCH_CELLS, _CELL_BYTES = 4_000_000, 8
_LEAST_BATCH_ROWS, _MOST_BATCH_ROWS = 4_096, 262_144
_MOST_PARTS = 256  # a frame of one row takes as much memory as one of a hundred
_MESSAGE_LENGTH = 200
_HINTS = re.compile(r"\.?\s*(Consider setting|You might want to try|Detail:|This error occurred).*", re.DOTALL)
"""Advice in messages of libraries that does not help here: about their settings, and their tracebacks."""

_PRECISION = re.compile(r"precision=(\d+)")
_STUMBLES = (pl.exceptions.ComputeError, pl.exceptions.SchemaError, pl.exceptions.PanicException)


class Rows(Protocol):
    """A table that is read in order, in batches; every batch has the same columns.

    ``name`` is for messages. ``count`` is the number of rows, None if it is known only after reading. ``narrow`` says
    that reading some columns costs only these columns, and that it can be repeated. ``typed`` says that the types were
    given, and not guessed from texts. ``notes`` tell the user how the rows were read.
    """

    name: str
    schema: Mapping[str, pl.DataType]
    count: int | None
    narrow: bool
    typed: bool
    notes: Sequence[str]

    def sample(self) -> pl.DataFrame:
        """Return the first `HEAD_ROWS` rows with all columns; equal for all sources of the same rows."""

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield all rows of some columns, in batches."""

    def retyped(self, texts: Collection[str]) -> Rows:
        """Return the same rows with these columns as texts; use one or the other, since a stream is read only once.

        Texts of a text file are as written, such as "02139" and "17.0". In frames and typed files, whole numbers and
        categoricals become texts, and other types stay unchanged.
        """


def as_texts(schema: Mapping[str, pl.DataType], texts: Collection[str]) -> list[pl.Expr]:
    """Return the columns among ``texts`` that become texts without a loss, cast to texts."""
    return [
        pl.col(name).cast(pl.String)
        for name, dtype in schema.items()
        if name in texts and (dtype.is_integer() or dtype in (pl.Categorical, pl.Enum))
    ]


def _names(columns: Iterable[pl.Expr]) -> Iterator[str]:
    return (column.meta.output_name() for column in columns)


def with_ignored(head: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return rows with all columns of a schema; a column that was not read holds only its type's name."""
    if len(schema) == head.width:
        return head
    left_out = [unread_series(name, str(schema[name]), head.height) for name in schema.keys() - head.schema.keys()]
    return head.with_columns(left_out).select(list(schema))


def batch_rows(columns: int, row_bytes: float = 0.0) -> int:
    """Return how many rows make a batch of some tens of megabytes, from the columns and the bytes of a row."""
    cells = max(columns, row_bytes / _CELL_BYTES, 1)
    return min(max(int(_BATCH_CELLS / cells), _LEAST_BATCH_ROWS), _MOST_BATCH_ROWS)


def head_rows(columns: int) -> int:
    """Return how many rows a sample has: `HEAD_ROWS`, and fewer for very many columns."""
    return min(max(_HEAD_CELLS // max(columns, 1), _LEAST_HEAD_ROWS), HEAD_ROWS)


class FrameRows:
    """The rows of a frame in memory."""

    narrow = typed = True

    def __init__(self, frame: pl.DataFrame, name: str, notes: Sequence[str] = ()) -> None:
        self.name = name
        self.notes: Sequence[str] = notes
        self.schema: Mapping[str, pl.DataType] = dict(frame.schema)
        self.count: int | None = frame.height
        self._frame = frame

    def sample(self) -> pl.DataFrame:
        """Return the first rows."""
        return self._frame.head(head_rows(self._frame.width))

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield slices of the frame; nothing is copied."""
        yield from self._frame.select(columns).iter_slices(batch_rows(len(columns)))

    def retyped(self, texts: Collection[str]) -> FrameRows:
        """Return the frame with whole numbers and categoricals as texts."""
        return FrameRows(self._frame.with_columns(as_texts(self._frame.schema, texts)), self.name, self.notes)


class ScannedRows:
    """The rows of a lazy frame, read by the streaming engine, with a few batches in memory at a time."""

    def __init__(
        self,
        scan: pl.LazyFrame,
        name: str,
        *,
        narrow: bool,
        typed: bool | None = None,
        again: Sequence[Callable[[], pl.LazyFrame]] = (),
        retype: Callable[[Collection[str]], ScannedRows] | None = None,
        notes: Sequence[str] = (),
        ignore: Collection[str] = (),
        kept: object = None,
    ) -> None:
        """Take the schema from the scan; if it cannot be read, from the next scan in ``again``; see `batches`.

        ``typed`` is as ``narrow`` unless given.
        ``retype`` opens a text file again with some columns as they are written. ``ignore`` are columns that `sample`
        does not read: they are missing there. ``kept`` is an object that must live as long as the rows. A scan in
        ``again`` may add to ``notes``.
        """
        self.name, self.narrow, self.typed = name, narrow, narrow if typed is None else typed
        self.notes: Sequence[str] = notes
        self._scan, self._again, self._retype, self._kept = scan, list(again), retype, kept
        self._ignore = frozenset(ignore)
        self._bytes: Mapping[str, float] = {}
        with readable(name):
            self.schema: Mapping[str, pl.DataType] = self._settled(lambda: dict(self._scan.collect_schema()))
            self.count: int | None = int(scan.select(pl.len()).collect().item()) if narrow else None

    def _settled(self, look: Callable[[], _T]) -> _T:
        """Return the result of ``look`` on the scan, or on the next scan on which it does not fail."""
        while True:
            try:
                return look()
            except _STUMBLES:
                if not self._again:
                    raise
                self._scan = self._again.pop(0)()

    def sample(self) -> pl.DataFrame:
        """Return the first rows; their memory determines the size of `batches`."""
        with readable(self.name):
            head = self._settled(self._head)
            self.schema = dict(head.schema)
        self._bytes = {name: head[name].estimated_size() / max(head.height, 1) for name in head.columns}
        return head

    def look(self, *, first: bool) -> None:
        """Raise for a type that turns out to be unreadable: by its name, or with ``first`` by reading a row."""
        names = [name for name in self.schema if name not in self._ignore]
        for name in names:
            if any(int(digits) > MOST_DIGITS for digits in _PRECISION.findall(str(self.schema[name]))):
                raise DataError(f"{self.name}: columns of type {self.schema[name]} are not read, such as {name!r}")
        if first:
            self._scan.select(names).head(1).collect()

    def _head(self) -> pl.DataFrame:
        """Return the first rows, read some columns at a time: even a few rows need the memory of a whole row group."""
        schema = self._scan.collect_schema()
        names = [name for name in schema if name not in self._ignore]
        size = min(max(-(-len(names) // _HEAD_PARTS), _LEAST_HEAD_COLUMNS), _MOST_HEAD_COLUMNS)
        size = size if self.narrow else max(len(names), 1)
        groups = [names[start : start + size] for start in range(0, len(names), size)]
        head = self._scan.head(head_rows(len(names)))
        parts = [head.select(group).collect(engine="streaming") for group in groups or [[]]]
        return with_ignored(pl.concat(parts, how="horizontal"), schema)

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the columns in batches; reading begins at the call.

        If a later row of a text file has a type that the first rows did not show, or is written in a way that Polars
        does not read, the rest comes from the next scan.
        """
        with readable(self.name):
            begun = self._stream(self._scan, columns)
        return self._batches(begun, columns)

    def retyped(self, texts: Collection[str]) -> ScannedRows:
        """Return the rows read again as texts; see `Rows`."""
        if all(self.schema.get(name, pl.String) == pl.String for name in texts):
            return self
        if self._retype is not None:
            return self._retype(texts)
        casts = as_texts(self.schema, texts)
        again = copy.copy(self)
        again._scan = self._scan.with_columns(casts)
        again._again = [partial(_cast_later, scan, casts) for scan in self._again]
        again.schema = {**self.schema, **dict.fromkeys(_names(casts), pl.String())}
        return again

    def _batches(self, begun: Iterator[pl.DataFrame], columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        done, again = 0, list(self._again)
        with readable(self.name):
            while True:
                try:
                    for batch in begun:
                        done += batch.height
                        yield batch
                    return
                except _STUMBLES:
                    if not again:
                        raise
                    begun = self._stream(again.pop(0)().slice(done), columns)

    def _stream(self, scan: pl.LazyFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        size = batch_rows(len(columns), sum(self._bytes.get(name, 0.0) for name in columns))
        return scan.select(columns).collect_batches(chunk_size=size, engine="streaming")


def _cast_later(scan: Callable[[], pl.LazyFrame], casts: Sequence[pl.Expr]) -> pl.LazyFrame:
    return scan().with_columns(casts)


class StreamedRows:
    """The rows of an Arrow stream that can be read once: a record batch reader."""

    count: int | None = None
    narrow, typed = False, True

    def __init__(self, stream: Any, name: str, ignore: Collection[str] = ()) -> None:
        from arro3.core import RecordBatchReader

        self.name = name
        self.notes: Sequence[str] = ()
        with readable(name, foreign=True):
            self._reader = RecordBatchReader.from_stream(stream)
            self._gate = Gate(self._reader.schema, ignore)
            empty = self._gate.frame(self._reader.schema.empty_table())
        self.schema: Mapping[str, pl.DataType] = dict(empty.schema)
        self._first: pl.DataFrame | None = None
        self._empty = empty
        self._casts: list[pl.Expr] = []

    def sample(self) -> pl.DataFrame:
        """Return the first rows; they are kept for `batches`."""
        wanted = head_rows(len(self.schema))
        if self._first is None:  # else the sample was taken before `retyped`
            with readable(self.name, foreign=True):
                self._first = self._read(wanted)
        return self._empty if self._first is None else self._first.head(wanted)

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield all rows, once: small batches of the stream are joined, and large ones are split."""
        size = batch_rows(len(columns))
        with readable(self.name, foreign=True):
            first, self._first = self._first, None
            rows = self._read(_LEAST_BATCH_ROWS) if first is None else first
            while rows is not None:
                yield from rows.select(columns).iter_slices(size)
                rows = self._read(_LEAST_BATCH_ROWS)

    def retyped(self, texts: Collection[str]) -> Self:
        """Return the rest of the stream, with whole numbers and categoricals as texts."""
        rest, casts = copy.copy(self), as_texts(self.schema, texts)
        rest._casts = [*self._casts, *casts]
        rest._empty = self._empty.with_columns(casts)
        rest._first = None if self._first is None else self._first.with_columns(casts)
        rest.schema = dict(rest._empty.schema)
        return rest

    def _read(self, least: int) -> pl.DataFrame | None:
        """Return the next rows, at least ``least`` if there are so many; None at the end."""
        found: list[pl.DataFrame] = []
        height = 0
        while height < least and (batch := self._next()) is not None:
            if batch.height:
                found.append(batch)
                height += batch.height
            if len(found) == _MOST_PARTS:
                found = [pl.concat(found, rechunk=True)]
        return pl.concat(found, rechunk=len(found) > 1) if found else None

    def _next(self) -> pl.DataFrame | None:
        try:
            return self._gate.frame(self._reader.read_next_batch()).with_columns(self._casts)
        except StopIteration:
            return None


class ReopenedRows:
    """The rows of a source that can open an Arrow stream of some columns any number of times."""

    typed = True

    def __init__(
        self,
        opened: Callable[[Sequence[str]], Any],
        empty: Any,
        name: str,
        count: int | None,
        ignore: Collection[str] = (),
    ) -> None:
        """Take the schema from an ``empty`` table; columns in ``ignore`` are not read."""
        self.name, self.count, self.narrow = name, count, count is not None
        self.notes: Sequence[str] = ()
        self._opened, self._ignore, self._texts = opened, frozenset(ignore), frozenset[str]()
        self.schema: Mapping[str, pl.DataType] = StreamedRows(empty, name).schema

    def sample(self) -> pl.DataFrame:
        """Return the first rows."""
        names = [name for name in self.schema if name not in self._ignore]
        return with_ignored(self._rows(names).sample(), self.schema)

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the columns in batches."""
        return self._rows(columns).batches(columns)

    def retyped(self, texts: Collection[str]) -> Self:
        """Return the rows with whole numbers and categoricals as texts."""
        again = copy.copy(self)
        again._texts = self._texts.union(texts)
        again.schema = {**self.schema, **dict.fromkeys(_names(as_texts(self.schema, texts)), pl.String())}
        return again

    def _rows(self, columns: Sequence[str]) -> StreamedRows:
        with readable(self.name, foreign=True):
            rows = StreamedRows(self._opened(columns), self.name)
        return rows.retyped(self._texts) if self._texts else rows


class readable:  # noqa: N801 - a context manager, used as a verb
    """Turns errors of reading into a `DataError` of one line that names the source.

    A ``foreign`` source may raise any exception. ``done`` is what cannot be done with it.
    """

    def __init__(self, name: str, *, foreign: bool = False, done: str = "read") -> None:
        self._name, self._foreign, self._done = name, foreign, done

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (DataError, UsageError)):
            return
        if isinstance(error, pl.exceptions.NoDataError):
            raise DataError(f"{self._name} is empty") from None
        ours = (pl.exceptions.PolarsError, OSError, ValueError, TypeError)
        panic = type(error).__name__ == "PanicException"  # each library in Rust has its own class
        if error is not None and (isinstance(error, ours) or panic or (self._foreign and isinstance(error, Exception))):
            words = " ".join(_HINTS.sub("", cause(error)).split())[:_MESSAGE_LENGTH] or type(error).__name__
            raise DataError(f"{self._name} cannot be {self._done}: {words}") from error
