"""The event log: what is true of one model, in three append-only Delta tables, readable by Spark, DuckDB and Polars.

``predictions`` and ``shadow`` have the canonical columns of `driftline.profiles.frame`; ``labels`` has ``id``,
``label``, ``time`` and the ``prediction_time`` of the prediction that it belongs to (a label enters the log when its
prediction is there).
Every row carries ``seq``, the inbox row that caused it; the newest label of an id counts. Each append records the
highest ``seq`` in the table's own transaction, so that a drain that is repeated after a crash appends nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import DeltaError, TableNotFoundError

from driftline.errors import StorageError, panics_as_errors
from driftline.events import Kind, Label, Prediction, Schema, Task, Window
from driftline.profiles.frame import FEATURE, SCORE
from driftline.store.files import open_delta

_APPLICATION = "driftline-inbox"
_COMPACT_EVERY = 50
_TIME = pl.Datetime("us", "UTC")

Table = Literal["predictions", "labels", "shadow"]
TABLES: tuple[Table, ...] = ("predictions", "labels", "shadow")


class LoggedPrediction(msgspec.Struct, frozen=True):
    """A prediction with the inbox row that brought it."""

    seq: int
    prediction: Prediction


class LoggedLabel(msgspec.Struct, frozen=True):
    """A label with the inbox row that caused it to be logged, and the time of its prediction."""

    seq: int
    prediction_time: datetime
    label: Label


class Mark(msgspec.Struct, frozen=True):
    """Where a table of the log stands: the highest inbox row in it, and its Delta version (None: no table)."""

    seq: int
    version: int | None


def predictions_frame(rows: Sequence[LoggedPrediction], schema: Schema) -> pl.DataFrame:
    """Return predictions as rows of the log, in the canonical layout."""
    classes = sorted({*schema.classes, *(name for row in rows for name in row.prediction.score)})
    events = [row.prediction for row in rows]
    target = pl.Float64 if schema.task is Task.REGRESSION else pl.String
    columns = {
        "seq": pl.Series([row.seq for row in rows], dtype=pl.Int64),
        "id": pl.Series([event.id for event in events], dtype=pl.String),
        "time": pl.Series([event.time for event in events], dtype=_TIME),
        "version": pl.Series([event.version for event in events], dtype=pl.String),
        "prediction": pl.Series([event.prediction for event in events], dtype=target),
        "latency_seconds": pl.Series([event.latency_seconds for event in events], dtype=pl.Float64),
    }
    for name, kind in schema.features.items():
        dtype = pl.Float64 if kind is Kind.NUMERIC else pl.String
        columns[FEATURE + name] = pl.Series([event.features[name] for event in events], dtype=dtype)
    for name in classes:
        columns[SCORE + name] = pl.Series([event.score.get(name) for event in events], dtype=pl.Float64)
    return pl.DataFrame(columns)


class EventLog:
    """The log of one model in a folder. One writer at a time: the worker."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        self._folder, self._schema = folder, schema
        self._tables: dict[Table, DeltaTable] = {}
        self._target = pl.Float64 if schema.task is Task.REGRESSION else pl.String

    def last_seq(self, table: Table) -> int:
        """The highest inbox row that the table holds or has passed; 0 when it is new."""
        opened = self._open(table)
        return (opened.transaction_version(_APPLICATION) or 0) if opened is not None else 0

    def append_predictions(
        self,
        rows: Sequence[LoggedPrediction],
        *,
        through: int,
        table: Literal["predictions", "shadow"] = "predictions",
    ) -> None:
        """Append the rows that the log does not hold yet, and record that everything up to ``through`` is in."""
        if not rows:
            return
        last = self.last_seq(table)
        rows = [row for row in rows if row.seq > last]
        frame = predictions_frame(rows, self._schema)
        self._append(table, frame, through)

    def append_labels(self, rows: Sequence[LoggedLabel], *, through: int) -> None:
        """Append the rows that the log does not hold yet, and record that everything up to ``through`` is in."""
        last = self.last_seq("labels")
        rows = [row for row in rows if row.seq > last]
        frame = pl.DataFrame(
            {
                "seq": pl.Series([row.seq for row in rows], dtype=pl.Int64),
                "prediction_time": pl.Series([row.prediction_time for row in rows], dtype=_TIME),
                "id": pl.Series([row.label.id for row in rows], dtype=pl.String),
                "time": pl.Series([row.label.time for row in rows], dtype=_TIME),
                "label": pl.Series([row.label.label for row in rows], dtype=self._target),
            }
        )
        self._append("labels", frame, through)

    def remove(self, table: Table, seq: int, id: str) -> None:
        """Take one event out again that cannot be worked in."""
        opened = self._open(table)
        if opened is not None:
            with _told(self._folder / table, "written"), panics_as_errors():
                opened.delete("seq = {} AND id = '{}'".format(seq, id.replace("'", "''")))
                opened.update_incremental()

    def table_schemas(self) -> dict[Table, str]:
        """The columns of the tables that there are, as JSON of Delta."""
        opened = {table: self._open(table) for table in TABLES}
        return {table: one.schema().to_json() for table, one in opened.items() if one is not None}

    def create_tables(self, schemas: Mapping[Table, str]) -> None:
        """Create empty tables with these columns: a copy of another log's, without its rows."""
        for table, columns in schemas.items():
            DeltaTable.create(str(self._folder / table), DeltaSchema.from_json(columns))

    def window_rows(self, window: Window, version: str, *, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return a window's predictions of one version, each with its newest label or null, in the order of the log.

        ``columns`` narrows what is read of the predictions, for a caller that needs only some.
        """
        predictions = self._open("predictions")
        if predictions is None:
            return pl.DataFrame()
        inside = (pl.col("time") >= window.start) & (pl.col("time") < window.end)
        mine = pl.scan_delta(predictions).filter(inside, version=version)
        if columns is not None:
            there = set(mine.collect_schema().names())
            mine = mine.select("id", *(name for name in columns if name in there))
        labels = self._open("labels")
        if labels is None:
            return mine.with_columns(label=pl.lit(None, self._target)).collect()
        newest = (
            pl.scan_delta(labels)
            .filter((pl.col("prediction_time") >= window.start) & (pl.col("prediction_time") < window.end))
            .sort("seq", maintain_order=True)
            .unique("id", keep="last", maintain_order=True)
            .select("id", "label")
        )
        return mine.join(newest, on="id", how="left", maintain_order="left").collect()

    def marks(self) -> dict[Table, Mark]:
        """Where each table stands: what is read up to these marks is the same whenever it is read."""
        tables: tuple[Table, ...] = ("predictions", "labels")
        opened = {table: self._open(table) for table in tables}
        return {
            table: Mark(self.last_seq(table), one.version() if one is not None else None)
            for table, one in opened.items()
        }

    def labelled_rows(self, span: Window, marks: Mapping[Table, Mark]) -> pl.DataFrame:
        """Return the predictions of a span of event time that had a label at the marks, in the order of the log.

        Each row has the newest label that it had then, and when that came (``labelled_at``, event time). Empty, without
        columns, where the log is.
        """
        predictions, labels = self._open("predictions"), self._open("labels")
        if predictions is None or labels is None:
            return pl.DataFrame()
        newest = (
            pl.scan_delta(labels)
            .filter(
                (pl.col("prediction_time") >= span.start)
                & (pl.col("prediction_time") < span.end)
                & (pl.col("seq") <= marks["labels"].seq)
            )
            .sort("seq", maintain_order=True)
            .unique("id", keep="last", maintain_order=True)
            .select("id", "label", labelled_at="time")
        )
        inside = (pl.col("time") >= span.start) & (pl.col("time") < span.end)
        mine = pl.scan_delta(predictions).filter(inside & (pl.col("seq") <= marks["predictions"].seq))
        return mine.join(newest, on="id", how="inner", maintain_order="left").collect()

    def shadow_rows(self, version: str) -> pl.DataFrame:
        """Return what a version said as a shadow, the first time for each id, in the order of the log."""
        shadow = self._open("shadow")
        if shadow is None:
            return pl.DataFrame()
        mine = pl.scan_delta(shadow).filter(version=version).sort("seq", maintain_order=True)
        return mine.unique("id", keep="first", maintain_order=True).collect()

    def times_and_versions(self) -> list[tuple[datetime, str]]:
        """Every (time, version) that the log has predictions of, in order."""
        predictions = self._open("predictions")
        if predictions is None:
            return []
        found = pl.scan_delta(predictions).select("time", "version").unique().collect()
        return sorted(found.rows())

    def prediction_columns(self) -> list[str]:
        """The columns of the predictions table; none before the first prediction."""
        predictions = self._open("predictions")
        return [] if predictions is None else [one.name for one in predictions.schema().fields]

    def count(self, table: Table) -> int:
        """How many rows the table has."""
        opened = self._open(table)
        return 0 if opened is None else int(pl.scan_delta(opened).select(pl.len()).collect().item())

    def _append(self, table: Table, frame: pl.DataFrame, through: int) -> None:
        if not len(frame):
            return
        opened = self._open(table)
        with _told(self._folder / table, "written"), panics_as_errors():
            write_deltalake(
                opened if opened is not None else str(self._folder / table),
                frame,
                mode="append",
                schema_mode="merge",
                commit_properties=CommitProperties(app_transactions=[Transaction(_APPLICATION, through)]),
            )
            opened = self._open(table)
            if opened is not None:
                opened.update_incremental()
                if opened.version() % _COMPACT_EVERY == _COMPACT_EVERY - 1:
                    opened.optimize.compact()
                    opened.vacuum(dry_run=False)  # of files that no version of the last week needs

    def _open(self, table: Table) -> DeltaTable | None:
        if table not in self._tables:
            with _told(self._folder / table, "read"), panics_as_errors():
                try:
                    self._tables[table] = open_delta(str(self._folder / table))
                except TableNotFoundError:
                    return None
        return self._tables[table]


@contextmanager
def _told(folder: Path, what: str) -> Iterator[None]:
    """Say which table it was that could not be read or written."""
    try:
        yield
    except (DeltaError, OSError) as error:
        raise StorageError(f"the event log in {folder} cannot be {what}: {error}") from error
