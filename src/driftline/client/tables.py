"""Read the tables that people have, in batches of Arrow: those of Polars, and all that export themselves to Arrow.

The SDK brings no library for that: it uses Polars for its own frames, and for others PyArrow or Polars, whichever the
user has.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from driftline.errors import DataError, UsageError, lacks_column

_INDEX = "__index_level_"  # as which pandas exports an index
_CELLS, _MOST_ROWS = 1_000_000, 50_000


class Table(Protocol):
    """Some rows, as they are sent."""

    @property
    def height(self) -> int:
        """How many rows there are."""

    def part(self, start: int, rows: int) -> Self:
        """Return some of the rows."""

    def body(self) -> bytes:
        """Return the rows as a stream of Arrow IPC: the same bytes whenever they are read in the same way."""


class Columns(NamedTuple):
    """Which columns of a frame are sent, by the names of an event's fields, and the values that all rows share."""

    named: Mapping[str, str]
    constant: Mapping[str, str] = {}


class PolarsTable:
    """A frame of Polars."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._frame.columns)

    @property
    def height(self) -> int:
        """How many rows there are."""
        return int(self._frame.height)

    def part(self, start: int, rows: int) -> PolarsTable:
        """Return some of the rows."""
        return PolarsTable(self._frame.slice(start, rows))

    def body(self) -> bytes:
        """Return the rows as Arrow IPC, without what other slices of the same memory would bring along."""
        import polars as pl

        buffer = io.BytesIO()
        self._frame.rechunk().write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
        return buffer.getvalue()

    def selected(self, columns: Columns) -> PolarsTable:
        """Return the columns under the names of fields."""
        import polars as pl

        named = [pl.col(column).alias(field) for field, column in columns.named.items()]
        return PolarsTable(self._frame.select(*named, *(pl.lit(v).alias(f) for f, v in columns.constant.items())))

    @classmethod
    def joined(cls, tables: Sequence[PolarsTable]) -> PolarsTable:
        """Return the rows of several as one table."""
        import polars as pl

        return tables[0] if len(tables) == 1 else cls(pl.concat([one._frame for one in tables], how="vertical_relaxed"))


class ArrowTable:
    """A table of PyArrow."""

    def __init__(self, table: Any) -> None:
        self._table = table

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._table.column_names)

    @property
    def height(self) -> int:
        """How many rows there are."""
        return int(self._table.num_rows)

    def part(self, start: int, rows: int) -> ArrowTable:
        """Return some of the rows."""
        return ArrowTable(self._table.slice(start, rows))

    def body(self) -> bytes:
        """Return the rows as Arrow IPC."""
        import pyarrow as pa

        whole, buffer = self._table.combine_chunks(), pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, whole.schema) as writer:
            writer.write_table(whole)
        return bytes(buffer.getvalue())

    def selected(self, columns: Columns) -> ArrowTable:
        """Return the columns under the names of fields."""
        import pyarrow as pa

        found = {field: self._table.column(column) for field, column in columns.named.items()}
        same = {field: pa.repeat(value, self.height) for field, value in columns.constant.items()}
        return ArrowTable(pa.table(found | same))

    @classmethod
    def joined(cls, tables: Sequence[ArrowTable]) -> ArrowTable:
        """Return the rows of several as one table."""
        import pyarrow as pa

        return tables[0] if len(tables) == 1 else cls(pa.concat_tables([one._table for one in tables]))


Some = TypeVar("Some", PolarsTable, ArrowTable)


class Source(NamedTuple):
    """A user's rows: the names of their columns, how many rows there are (None: not known yet), and the rows, once."""

    names: Sequence[str]
    total: int | None
    tables: Iterator[PolarsTable] | Iterator[ArrowTable]

    def batches(self, columns: Columns) -> Iterator[Table]:
        """Yield the columns in batches of so many rows as are sent at a time."""
        chosen = (table.selected(columns) for table in self.tables)
        yield from evenly(chosen, batch_rows(len(columns.named)))  # type: ignore[type-var]


def source_of(frame: Any) -> Source:
    """Return the rows of a frame of Polars or pandas, a table or reader of PyArrow, or of what exports itself to Arrow.

    Raises `UsageError` for anything else, and where a library is missing that this kind of frame needs.
    """
    polars, pyarrow = _library("polars"), _library("pyarrow")
    if polars is not None and isinstance(frame, polars.LazyFrame):
        raise UsageError("a LazyFrame came; collect() it first")
    if polars is not None and isinstance(frame, polars.DataFrame):
        return Source(frame.columns, frame.height, iter([PolarsTable(frame)]))
    kind = f"{type(frame).__module__.partition('.')[0]}.{type(frame).__qualname__}"
    if not hasattr(frame, "__arrow_c_stream__"):
        raise UsageError(f"a {kind} came; allowed is a frame of Polars or pandas, or what has __arrow_c_stream__")
    if pyarrow is None and (polars is None or kind.startswith("pandas.")):
        raise UsageError(f"a {kind} came, which needs pyarrow to be sent; pip install pyarrow, or log row by row")
    try:
        return _by_pyarrow(frame, pyarrow) if pyarrow is not None else _by_polars(frame, polars)
    except Exception as error:
        raise DataError(f"the {kind} cannot be read: {error}") from error


def _by_pyarrow(frame: Any, pyarrow: Any) -> Source:
    reader = pyarrow.RecordBatchReader.from_stream(frame)
    names = [name for name in reader.schema.names if not name.startswith(_INDEX)]
    count = getattr(frame, "num_rows", None)
    if not isinstance(count, int):
        count = len(frame) if hasattr(frame, "__len__") else None
    tables = (ArrowTable(pyarrow.Table.from_batches([batch]).select(names)) for batch in reader)
    return Source(names, count, tables)


def _by_polars(frame: Any, polars: Any) -> Source:
    whole = polars.DataFrame(frame)
    return Source(whole.columns, whole.height, iter([PolarsTable(whole)]))


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def batch_rows(columns: int) -> int:
    """Return how many rows of so many columns are sent at a time."""
    return max(1, min(_MOST_ROWS, _CELLS // max(columns, 1)))


def evenly(tables: Iterable[Some], most: int) -> Iterator[Some]:
    """Yield the rows in tables of ``most`` rows each, the last with what is left, however they came."""
    waiting: list[Some] = []
    height = 0
    for table in tables:
        start = 0
        while (missing := most - height) <= table.height - start:
            waiting.append(table.part(start, missing))
            yield waiting[0].joined(waiting)
            waiting, height, start = [], 0, start + missing
        if start < table.height:
            waiting.append(table.part(start, table.height - start))
            height += table.height - start
    if waiting:
        yield waiting[0].joined(waiting)


# ---- which columns --------------------------------------------------------------------------------------------------


class Names(NamedTuple):
    """Which columns play which part, as the user says it."""

    prediction: str | None = None
    score: str | Mapping[str, str] | None = None
    id: str | None = None
    label: str | None = None
    time: str | None = None
    version: str | None = None
    features: Sequence[str] | None = None


_FIELDS = ("id", "time", "version", "prediction", "score", "latency_seconds", "role")


def prediction_columns(names: Names, known: Sequence[str], version: str | None) -> Columns:
    """Return which columns are sent as predictions; ``version`` is that of rows without one.

    Without ``features``, all columns that play no other part are sent: the service takes those that it knows.
    """
    given = {"prediction": names.prediction, "id": names.id, "time": names.time, "version": names.version}
    named = {field: column for field, column in given.items() if column is not None}
    if isinstance(names.score, Mapping):
        named |= {f"score.{one}": column for one, column in names.score.items()}
    elif names.score is not None:
        named["score"] = names.score
    _require(named, known)
    taken = {*named.values()} | ({names.label} if names.label is not None else set())
    plain = {field: field for field in _FIELDS if field in known and field not in taken and field not in named}
    if isinstance(names.score, Mapping):
        plain.pop("score", None)
    if names.features is not None:
        features = {one: one for one in names.features}
        _require(features, known)
        if again := sorted(named.keys() & features.keys()):
            raise UsageError(f"the feature {again[0]!r} has the name of a field; rename the column")
        named = named | plain | features
    else:
        rest = (one for one in known if one not in taken and one not in named and one not in _FIELDS and one != "label")
        named = named | plain | {one: one for one in rest}
    alone = version is not None and "version" not in named
    return Columns(named, {"version": version} if alone and version is not None else {})


def label_columns(names: Names, known: Sequence[str]) -> Columns:
    """Return which columns are sent as labels. Raises `UsageError` where no column holds the ids of the predictions."""
    label, given = names.label or "label", names.id or ("id" if "id" in known else None)
    if given is None:
        raise UsageError("labels need the ids of their predictions; say id=, the column that holds them")
    named = {"id": given, "label": label}
    if (time := names.time or ("time" if "time" in known else None)) is not None:
        named["time"] = time
    _require(named, known)
    return Columns(named)


def _require(named: Mapping[str, str], known: Sequence[str]) -> None:
    for column in named.values():
        if column not in known:
            raise UsageError(lacks_column("the frame", str(column), known))
