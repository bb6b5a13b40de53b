"""The event log: what is true of one model, in three append-only Delta tables, readable by Spark, DuckDB and Polars.

``predictions`` and ``shadow`` have the canonical columns of `driftline.profiles.frame`; ``labels`` has ``id``,
``label``, ``time`` and the ``prediction_time`` of the prediction that it belongs to (a label enters the log when its
prediction is there).
Every row carries ``seq``, the inbox row that caused it; the newest label of an id counts. Each append records the
highest ``seq`` in the table's own transaction, so that a drain that is repeated after a crash appends nothing twice.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Concatenate, Literal, ParamSpec, TypeVar

import msgspec
import polars as pl
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from driftline.errors import DataError, LeaseLostError, StorageError, panics_as_errors
from driftline.events import Schema, Window
from driftline.events.values import UNKNOWN_CLASSES_LIMIT
from driftline.profiles.frame import FEATURE, FIRST_LABEL, SCORE
from driftline.sources.files import open_delta
from driftline.store.blobs import Blobs, Folder, place_of
from driftline.store.columns import ColumnNames
from driftline.store.durable import make_folder, sync_file
from driftline.store.erasing import Erased, erase
from driftline.store.framed import TIME, target_type
from driftline.store.logged import LoggedLabel, LoggedPrediction, labels_frame, predictions_frame
from driftline.store.opening import open_table
from driftline.store.sums import DamagedError, NoSums, Sums
from driftline.store.tidy import LEASE, LOG, PROPERTIES, Tidier, files_of_versions, live_sizes, require_writer, sync

_APPLICATION = "driftline-inbox"
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)  # `tidy` sees to both
_TRIES = 5
_ROWS_TOGETHER, _WHOLE_ROWS_TOGETHER = 50_000, 5_000  # whole ones may have hundreds of features, or embeddings
_PLACE, _VERSION = "window\n", "version\n"  # no column of the log ends so
_LOG = logging.getLogger("driftline")

_P = ParamSpec("_P")
_T = TypeVar("_T")

Table = Literal["predictions", "labels", "shadow"]
TABLES: tuple[Table, ...] = ("predictions", "labels", "shadow")


class Mark(msgspec.Struct, frozen=True):
    """Where a table of the log stands: the highest inbox row in it, and its Delta version (None: no table)."""

    seq: int
    version: int | None


def _read_again(read: Callable[Concatenate[EventLog, _P], _T]) -> Callable[Concatenate[EventLog, _P], _T]:
    """Have a log read a second time where it fails: files may have been erased meanwhile, by whoever writes it.

    What is erased goes at once; what was only brought together stays for a minute.
    """

    @functools.wraps(read)
    def tried(log: EventLog, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return read(log, *args, **kwargs)
        except StorageError:
            return read(log, *args, **kwargs)

    return tried


class EventLog:
    """The log of one model in a folder or a bucket, called as the model. One writer at a time; others may read.

    Where several processes share the place, its writer is who holds the model's lease, with this ``token``, and has
    said so by `take_over`; the others are no ``writer``, and read anew whatever they read.
    """

    def __init__(self, place: Path | Blobs, schema: Schema, *, token: int | None = None, writer: bool = True) -> None:
        self.place = place_of(place)
        self._schema, self._model = schema, Path(self.place.root).name
        self._token, self._writer = token, writer
        self._tables: dict[Table, DeltaTable] = {}
        self._snapshots: dict[Table, DeltaTable] = {}  # what was read last, each at one version
        self._tidiers: dict[Table, Tidier] = {table: Tidier(self.place.within(table), token) for table in TABLES}
        self._synced: dict[Table, int] = {}  # the version of each table that is known to be on the disk
        self._reads: dict[Table, list[int]] = {table: [] for table in TABLES}  # the versions that are being read
        self._damaged: dict[Table, list[str]] = {}
        self._verified: dict[Table, int] = {}  # the version of each table whose files have all been read and are right
        self._target = target_type(schema)

    def for_readers(self) -> EventLog:
        """Return the log as one that another process writes."""
        return self if not self._writer else EventLog(self.place, self._schema, writer=False)

    def highest_token(self) -> int:
        """Return the highest token of a lease by which the log was written; 0 where it never was."""
        found = [0]
        for table in TABLES:
            opened = self._open(table)
            with self._told(table, "read"):
                found.append(0 if opened is None else opened.transaction_version(LEASE) or 0)
        return max(found)

    def take_over(self) -> None:
        """Shut out whoever wrote the log before: a commit that it is in the midst of fails from here on.

        Raises `LeaseLostError` where a later holder of the lease has done so.
        """
        for table in TABLES if self._token is not None else ():
            with self._told(table, "written"), panics_as_errors():
                self._take_over(table)

    def _take_over(self, table: Table) -> None:
        for _ in range(_TRIES):
            opened = self._open(table)
            if opened is None:
                return
            require_writer(opened, self._token)
            if opened.transaction_version(LEASE) == self._token:
                return
            try:
                opened.create_write_transaction(
                    actions=[],
                    mode="append",
                    schema=opened.schema(),
                    partition_by=[],
                    commit_properties=self._commit(),
                    post_commithook_properties=_NO_HOOKS,
                )
            except CommitFailedError:
                _LOG.info("the event log in %s was written meanwhile; looking again", self.place.uri(table))
            self._tables.pop(table, None)
        raise StorageError(f"the event log in {self.place.uri(table)} is written by somebody else all the time")

    def _commit(self, through: int | None = None) -> CommitProperties:
        """Return what a commit says of itself; it fails where another one has come before since the table was read."""
        said = [] if through is None else [Transaction(_APPLICATION, through)]
        said += [] if self._token is None else [Transaction(LEASE, self._token)]
        return CommitProperties(app_transactions=said, max_commit_retries=0)

    def last_seq(self, table: Table) -> int:
        """Return the highest inbox row that the table holds or has passed; 0 when it is new."""
        opened = self._open(table)
        if opened is None:
            return 0
        with self._told(table, "read"):
            return opened.transaction_version(_APPLICATION) or 0

    def last_seqs(self) -> dict[Table, int]:
        """Return the highest inbox row of each table."""
        return {table: self.last_seq(table) for table in TABLES}

    def missing_files(self, *, whole: bool = False) -> list[str]:
        """Return the files of the tables that are not there, or are not as long as they should be, by their addresses.

        With ``whole`` each is read, and those whose bytes are not as they were written are among them.
        """
        return [self.place.uri(name) for name in self._missing(whole=whole)]

    def _missing(self, *, whole: bool) -> list[str]:
        found: list[str] = []
        for table in TABLES:
            opened = self._open(table)
            if opened is None:
                continue
            with self._told(table, "read"), panics_as_errors():
                expected = live_sizes(opened)
                there = {one.name: one.size_bytes for one in self.place.within(table).list()}
                wrong = [name for name, size in expected.items() if there.get(name) != size]
                if whole:
                    wrong += [name for name in self._sums(table).damaged(expected) if name not in wrong]
            found += [f"{table}/{name}" for name in wrong]
        return found

    def require_undamaged(self) -> None:
        """Raise `StorageError` where a file was found damaged: nothing is read of a table that has one."""
        if found := [file for damaged in self._damaged.values() for file in damaged]:
            raise StorageError(damage_message(found, self._model))

    def drop_missing_files(self) -> None:
        """Have the tables speak of the files that are there, and no longer of the others."""
        for name in self._missing(whole=True):
            if self.place.find(name) is not None:
                self.place.put(f"{name}.broken", self.place.get(name))
                self.place.delete(name)
        for table in TABLES:
            opened = self._open(table)
            if opened is not None:
                with self._told(table, "written"), panics_as_errors():
                    opened.repair()
                    opened.update_incremental()
        self.sync()

    def written_at(self) -> datetime | None:
        """Return when the newest predictions were appended, as the store has it; None where there are none."""
        opened = self._open("predictions")
        if opened is None:
            return None
        with self._told("predictions", "read"):
            live = live_sizes(opened)
            return max(
                (one.modified for one in self.place.within("predictions").list() if one.name in live), default=None
            )

    @_read_again
    def newest_time(self) -> datetime | None:
        """Return the latest event time that the log has a prediction of."""
        with self._scan("predictions") as rows:
            found = None if rows is None else rows.select(pl.col("time").max()).collect().item()
        assert found is None or isinstance(found, datetime)
        return found

    @_read_again
    def known_rows(self) -> pl.DataFrame:
        """Return the id and the time of each prediction, and its newest label or null."""
        with self._scan("predictions") as predictions, self._scan("labels") as labels:
            if predictions is None:
                return pl.DataFrame(schema={"id": pl.String, "time": TIME, "label": self._target})
            mine = predictions.select("id", "time")
            if labels is None:
                return mine.with_columns(label=pl.lit(None, self._target)).collect()
            newest = labels.sort("seq", maintain_order=True).unique("id", keep="last", maintain_order=True)
            return mine.join(newest.select("id", "label"), on="id", how="left").collect()

    @_read_again
    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many predictions, shadows and labels there are, by the counters of the state that count them."""
        found: dict[tuple[str, str], int] = {}
        with self._scan("predictions") as live, self._scan("shadow") as shadows, self._scan("labels") as labels:
            for name, rows in (("predictions", live), ("shadow_predictions", shadows)):
                if rows is not None:
                    by_version = rows.group_by("version").len().collect()
                    found |= {(name, version): number for version, number in by_version.rows()}
            if labels is not None:
                every, first = labels.select(pl.len(), pl.col("id").n_unique().alias("first")).collect().row(0)
                found |= {("labels", ""): first, ("corrected_labels", ""): every - first}
        return found

    def sync(self) -> None:
        """Wait until all that was appended is on the disk; only then may the inbox forget it."""
        for table in TABLES:
            opened = self._open(table)
            if opened is not None and self._synced.get(table) != opened.version():
                with self._told(table, "written"):
                    self._sync(table, opened)

    def append_predictions(
        self,
        rows: Sequence[LoggedPrediction] | pl.DataFrame,
        *,
        through: int,
        table: Literal["predictions", "shadow"] = "predictions",
    ) -> None:
        """Append the rows that the log does not hold yet, and record that everything up to ``through`` is in."""
        if len(rows):
            frame = rows if isinstance(rows, pl.DataFrame) else predictions_frame(rows, self._schema)
            self._append(table, frame, through)

    def append_labels(self, rows: Sequence[LoggedLabel] | pl.DataFrame, *, through: int) -> None:
        """Append the rows that the log does not hold yet, and record that everything up to ``through`` is in."""
        if len(rows):
            frame = rows if isinstance(rows, pl.DataFrame) else labels_frame(rows, self._schema)
            self._append("labels", frame, through)

    def remove(self, table: Table, events: Collection[tuple[int, str]]) -> None:
        """Take events out again that cannot be processed, by inbox row and id: each file is looked at once.

        The table's history does not name them.
        """
        seqs, ids = pl.Series([seq for seq, _ in events]), pl.Series([id for _, id in events])
        there = pl.struct("seq", "id").is_in(pl.lit(pl.struct(seq=seqs, id=ids, eager=True)).implode())
        self.erase(table, pl.col("seq").is_in(pl.lit(seqs).implode()) & there)

    def erase(self, table: Table, gone: pl.Expr, *, most_files: int | None = None) -> Erased:
        """Take rows out for good; see `driftline.store.erasing`. Their bytes are gone after `delete_erased`."""
        opened = self._open(table)
        if opened is None:
            return Erased()
        with self._told(table, "written"), panics_as_errors():
            opened.update_incremental()
            require_writer(opened, self._token)
            try:
                erased = erase(opened, self._tidiers[table], gone, most_files=most_files)
            except DamagedError as error:
                self._damaged[table] = error.files
                self.require_undamaged()
                raise
            except (DeltaError, OSError, pl.exceptions.PolarsError):
                require_writer(opened, self._token)  # the next one may have committed first, or swept the new file
                raise
            if erased.files:
                self._sync(table, opened)
        return erased

    def delete_erased(self) -> bool:
        """Delete the files that no row of the log is read from; return whether all are gone, or somebody reads one."""
        gone = True
        for table in TABLES:
            if (opened := self._open(table)) is not None:
                with self._told(table, "written"), panics_as_errors():
                    require_writer(opened, self._token)
                    read = min(self._reads[table], default=None)
                    gone = self._tidiers[table].delete_all(opened, read=read) and gone
        return gone

    def table_schemas(self) -> dict[Table, str]:
        """Return the columns of the tables that there are, as JSON of Delta."""
        opened = {table: self._open(table) for table in TABLES}
        return {table: one.schema().to_json() for table, one in opened.items() if one is not None}

    def create_tables(self, schemas: Mapping[Table, str]) -> None:
        """Create empty tables with these columns: a copy of another log's, without its rows."""
        for table, columns in schemas.items():
            place = self.place.within(table)
            DeltaTable.create(place.root, DeltaSchema.from_json(columns), storage_options=place.table_options)

    def window_rows(
        self,
        window: Window,
        version: str,
        *,
        columns: Sequence[str] | None = None,
        through: Mapping[Table, int] | None = None,
    ) -> pl.DataFrame:
        """Return a window's predictions of one version, each with its newest label or null, in no certain order.

        Those that have labels come with the time of the first one, in the column `FIRST_LABEL`.

        ``columns`` narrows what is read of the predictions, for a caller that needs only some. ``through`` leaves out
        what was appended after these inbox rows.
        """
        [rows] = self._read_together([(window, version)], columns, through)
        return rows

    def rows_by_window(
        self,
        windows: Iterable[tuple[Window, str, int]],
        *,
        columns: Sequence[str] | None = None,
        through: Mapping[Table, int] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Return the rows of windows in order of time as `window_rows` does, each with how many rows it may have.

        Those that touch are read together while their rows are few: a read looks at the files, however little it takes.
        """
        for some in touching(windows, _ROWS_TOGETHER if columns is not None else _WHOLE_ROWS_TOGETHER):
            yield from self._read_together(some, columns, through)

    @_read_again
    def _read_together(
        self,
        windows: Sequence[tuple[Window, str]],
        columns: Sequence[str] | None,
        through: Mapping[Table, int] | None,
    ) -> list[pl.DataFrame]:
        """Return the rows of windows that touch, or of the versions of one."""
        span = Window(windows[0][0].start, windows[-1][0].end)
        starts = pl.Series(sorted({window.start for window, _ in windows}), dtype=TIME)

        def place(time: str) -> pl.Expr:
            if len(starts) == 1:
                return pl.lit(0, pl.UInt32).alias(_PLACE)
            return pl.lit(starts).search_sorted(pl.col(time), side="right").cast(pl.UInt32).alias(_PLACE) - 1

        with self._scan("predictions") as predictions, self._scan("labels") as labels:
            if predictions is None:
                return [pl.DataFrame()] * len(windows)
            versions = {version for _, version in windows}
            mine = _up_to(predictions, through, "predictions").filter(
                _inside(span), pl.col("version").is_in(sorted(versions))
            )
            there = mine.collect_schema().names()
            kept = there if columns is None else ["id", *(name for name in columns if name in there)]
            mine = mine.select(*kept, pl.col("version").alias(_VERSION), place("time"))
            if labels is None:
                mine = mine.with_columns(label=pl.lit(None, self._target))
            else:
                newest = (
                    _up_to(labels, through, "labels")
                    .filter(_inside(span, "prediction_time"))
                    .sort("seq", maintain_order=True)
                    .group_by("id", place("prediction_time"))
                    .agg(pl.col("label").last(), pl.col("time").first().alias(FIRST_LABEL))
                )
                mine = mine.join(newest, on=["id", _PLACE], how="left", maintain_order="left")
            rows = mine.collect()
        parts = rows.partition_by(_PLACE, _VERSION, maintain_order=True, include_key=False, as_dict=True)
        none = rows.clear().drop(_PLACE, _VERSION)
        places = {start: number for number, start in enumerate(starts)}
        return [parts.get((places[window.start], version), none) for window, version in windows]

    @_read_again
    def inputs_of(
        self, window: Window, columns: Sequence[str], *, through: Mapping[Table, int] | None = None
    ) -> pl.DataFrame:
        """Return some columns, and the ``version``, of a window's predictions of all versions; no label is read.

        Columns that the log does not have are left out. ``through`` is as for `window_rows`.
        """
        with self._scan("predictions") as predictions:
            if predictions is None:
                return pl.DataFrame(schema={"version": pl.String})
            mine = _up_to(predictions, through, "predictions").filter(_inside(window))
            there = set(mine.collect_schema().names())
            return mine.select("version", *(name for name in dict.fromkeys(columns) if name in there)).collect()

    def marks(self) -> dict[Table, Mark]:
        """Return where each table stands: what is read up to these marks is the same whenever it is read."""
        tables: tuple[Table, ...] = ("predictions", "labels")
        opened = {table: self._open(table) for table in tables}
        return {
            table: Mark(self.last_seq(table), one.version() if one is not None else None)
            for table, one in opened.items()
        }

    @_read_again
    def labelled_rows(self, span: Window, marks: Mapping[Table, Mark]) -> pl.DataFrame:
        """Return the predictions of a span of event time that had a label at the marks, in the order of the log.

        Each row has the newest label that it had then, and when that came (``labelled_at``, event time). Empty, without
        columns, where the log is.
        """
        with self._scan("predictions") as predictions, self._scan("labels") as labels:
            if predictions is None or labels is None:
                return pl.DataFrame()
            newest = (
                labels.filter(_inside(span, "prediction_time"), pl.col("seq") <= marks["labels"].seq)
                .sort("seq", maintain_order=True)
                .unique("id", keep="last", maintain_order=True)
                .select("id", "label", labelled_at="time")
            )
            mine = predictions.filter(_inside(span), pl.col("seq") <= marks["predictions"].seq)
            return mine.join(newest, on="id", how="inner", maintain_order="left").collect()

    @_read_again
    def rows_of(self, ids: Sequence[str]) -> pl.DataFrame:
        """Return the predictions with these ids, whenever they were, each with its newest label or null.

        Empty, without columns, where the log is.
        """
        wanted = pl.lit(pl.Series(ids, dtype=pl.String)).implode()
        with self._scan("predictions") as predictions, self._scan("labels") as labels:
            if predictions is None:
                return pl.DataFrame()
            mine = predictions.filter(pl.col("id").is_in(wanted))
            if labels is None:
                return mine.with_columns(label=pl.lit(None, self._target)).collect()
            newest = labels.filter(pl.col("id").is_in(wanted)).sort("seq", maintain_order=True)
            newest = newest.unique("id", keep="last", maintain_order=True).select("id", "label")
            return mine.join(newest, on="id", how="left", maintain_order="left").collect()

    @_read_again
    def times_of(self, ids: Sequence[str], through: Mapping[Table, int] | None) -> dict[Table, pl.DataFrame]:
        """Return when the rows with these ids were, by table; ``through`` as for `window_rows`.

        Those of predictions and shadows are times and versions. Tables that are not there are left out.
        """
        wanted, found = pl.lit(pl.Series(ids, dtype=pl.String)).implode(), dict[Table, pl.DataFrame]()
        for table in TABLES:
            with self._scan(table) as rows:
                if rows is not None:
                    mine = _up_to(rows, through, table).filter(pl.col("id").is_in(wanted))
                    found[table] = mine.select("time", *([] if table == "labels" else ["version"])).collect()
        return found

    @_read_again
    def shadow_rows(self, version: str) -> pl.DataFrame:
        """Return what a version said as a shadow, the first time for each id, in the order of the log."""
        with self._scan("shadow") as shadow:
            if shadow is None:
                return pl.DataFrame()
            mine = shadow.filter(version=version).sort("seq", maintain_order=True)
            return mine.unique("id", keep="first", maintain_order=True).collect()

    @_read_again
    def times_and_versions(self, through: Mapping[Table, int] | None = None) -> list[tuple[datetime, str, int]]:
        """Return every (time, version) that the log has predictions of, in order, and how many it has of them.

        ``through`` is as for `window_rows`.
        """
        with self._scan("predictions") as predictions:
            if predictions is None:
                return []
            known = _up_to(predictions, through, "predictions")
            return sorted(known.group_by("time", "version").len().collect().rows())

    def prediction_columns(self) -> list[str]:
        """Return the columns of the predictions table, by their canonical names; none before the first prediction."""
        opened = self._open("predictions")
        if opened is None:
            return []
        canonical = self._names(opened).canonical()
        return [canonical.get(one.name, one.name) for one in opened.schema().fields]

    @_read_again
    def count(self, table: Table) -> int:
        """Return how many rows the table has."""
        with self._scan(table) as rows:
            return 0 if rows is None else int(rows.select(pl.len()).collect().item())

    def _append(self, table: Table, frame: pl.DataFrame, through: int) -> None:
        """Append rows in one commit, which fails where another came first: what is in the log is then looked at again.

        So a writer that was paused in the midst of it, and whose rows another one has appended meanwhile, adds nothing.
        """
        for _ in range(_TRIES):
            opened = self._open(table)
            with self._told(table, "read"):
                if opened is not None and self._token is not None:
                    require_writer(opened, self._token)
            last = self.last_seq(table)
            rows = frame.filter(pl.col("seq") > last)
            if not len(rows):
                return
            with self._told(table, "written"), panics_as_errors():
                try:
                    with self._doubted(table):
                        opened = self._written(table, opened, rows, through)
                except DeltaError as error:
                    if not isinstance(error, CommitFailedError) and (opened is not None or self._open(table) is None):
                        raise
                    continue  # another was first: see what it has brought
                self._sync(table, opened)
            self._tidy(table, opened)
            return
        raise StorageError(f"the event log in {self.place.uri(table)} is written by somebody else all the time")

    def _written(self, table: Table, opened: DeltaTable | None, rows: pl.DataFrame, through: int) -> DeltaTable:
        names = self._names(opened)
        columns = [names.column(name) for name in rows.columns]
        self._refuse_too_many_scores(opened, columns)
        place = self.place.within(table)
        if opened is None and isinstance(self.place, Folder):
            make_folder(self.place.path)
        write_deltalake(
            opened if opened is not None else place.root,
            rows.rename(dict(zip(rows.columns, columns, strict=True))),
            mode="append" if opened is not None else "error",
            schema_mode="merge" if opened is not None else None,
            configuration=PROPERTIES if opened is None else None,
            storage_options=place.table_options,
            commit_properties=self._commit(through),
            post_commithook_properties=_NO_HOOKS,
            writer_properties=_writing(rows, names),
        )
        written = self._open(table)
        assert written is not None  # it was written
        written.update_incremental()
        return written

    @contextmanager
    def _doubted(self, table: Table) -> Iterator[None]:
        """Look at the table anew where a write failed: whether it came through is not known, and stands there."""
        try:
            yield
        except BaseException:
            self._tables.pop(table, None)
            raise

    def _sync(self, table: Table, opened: DeltaTable) -> None:
        """Bring onto the disk what versions have added since the last time; everything, the first time."""
        place, synced = self.place.within(table), self._synced.get(table)
        if isinstance(self.place, Folder) and isinstance(place, Folder):
            since = opened.version() if synced is None else synced + 1
            new = files_of_versions(place, range(since, opened.version() + 1))
            self._sums(table).add(file for file in new if "/" not in file)
            if synced is None:
                commits = [one.name for one in place.list(LOG) if one.name.endswith(".json")]
                sync(place, [*live_sizes(opened), *commits])
                sync_file(self.place.path)
            else:
                sync(place, new)
        self._synced[table] = opened.version()

    def _tidy(self, table: Table, opened: DeltaTable) -> None:
        """Keep the table small. What fails is logged and tried again after the next append: no event waits for it."""
        try:
            with panics_as_errors():
                self._tidiers[table].tidy(opened, read=min(self._reads[table], default=None))
        except LeaseLostError:
            raise
        except DamagedError as error:
            self._damaged[table] = error.files
        except Exception as error:  # noqa: BLE001 - the rows are in the log, and tidying can be done again
            place = self.place.within(table)
            _LOG.warning("the event log in %s is not tidied: %s; trying again", place.root, place.words(error))

    def _refuse_too_many_scores(self, opened: DeltaTable | None, columns: Sequence[str]) -> None:
        if len(self._schema.classes) > 1 or (opened is None and len(columns) <= UNKNOWN_CLASSES_LIMIT):
            return
        there = set() if opened is None else {one.name for one in opened.schema().fields}
        scores = {one for one in (*there, *columns) if one.startswith(SCORE)}
        if len(scores) > UNKNOWN_CLASSES_LIMIT and not set(columns) <= there:
            raise DataError(
                f"scores of {len(scores)} classes came; at most {UNKNOWN_CLASSES_LIMIT} are kept of a model whose "
                "reference does not show its classes"
            )

    def _names(self, opened: DeltaTable | None) -> ColumnNames:
        there = [] if opened is None else [one.name for one in opened.schema().fields]
        features = [FEATURE + name for name in self._schema.features]
        return ColumnNames(there, [*features, *(SCORE + name for name in self._schema.classes)])

    @contextmanager
    def _scan(self, table: Table) -> Iterator[pl.LazyFrame | None]:
        """Give a table's rows under their canonical names; no file of it is deleted until the block ends."""
        opened = self._open(table)
        if opened is None:
            yield None
            return
        version = opened.version()
        self._reads[table].append(version)
        try:
            self._verify(table, opened)
            with self._told(table, "read"):
                rows = pl.scan_delta(self._snapshot(table, version), storage_options=self.place.scan_options)
                yield rows.rename(self._names(opened).canonical())
        finally:
            self._reads[table].remove(version)

    def _snapshot(self, table: Table, version: int) -> DeltaTable:
        """Return the table as it is at a version, for readers alone.

        Appends change the table that is open. Polars looks at what it scans twice, for its files and for what is known
        of their values: a table that changes between the two ends in a panic.
        """
        known = self._snapshots.get(table)
        if known is None or known.version() != version:
            place = self.place.within(table)
            known = self._snapshots[table] = open_delta(place.root, version, place.table_options)
        return known

    def _verify(self, table: Table, opened: DeltaTable) -> None:
        """Read each file once, before a value of it is believed; raise `StorageError` for one that is damaged."""
        if self._verified.get(table) == opened.version():
            return
        with self._told(table, "read"):
            damaged = self._sums(table).damaged(live_sizes(opened))
        self._damaged[table] = [self.place.within(table).uri(name) for name in damaged]
        self.require_undamaged()
        self._verified[table] = opened.version()

    def _sums(self, table: Table) -> Sums | NoSums:
        return self._tidiers[table].sums

    def _open(self, table: Table) -> DeltaTable | None:
        if table not in self._tables or not self._writer:
            with self._told(table, "read"), panics_as_errors():
                try:
                    self._tables[table] = open_table(self.place.within(table))
                except TableNotFoundError:
                    return None
        return self._tables[table]

    @contextmanager
    def _told(self, table: Table, what: str) -> Iterator[None]:
        """Say which table it was that could not be read or written."""
        place = self.place.within(table)
        try:
            yield
        except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
            raise StorageError(f"the event log in {place.root} cannot be {what}: {place.words(error)}") from error


def _writing(rows: pl.DataFrame, names: ColumnNames) -> WriterProperties:
    """Return how a file is written: values that are all different gain nothing by a dictionary or by their extremes,
    which is most of what it costs to write them.
    """
    repeated = [name for name, kind in rows.schema.items() if name != "id" and kind != pl.Float64]
    return WriterProperties(
        compression="ZSTD",
        compression_level=1,
        default_column_properties=ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE"),
        column_properties={
            names.column(name): ColumnProperties(dictionary_enabled=True, statistics_enabled="CHUNK")
            for name in repeated
        },
    )


def log_of(storage: Blobs, model: str) -> Blobs:
    """Return where the log of a model is."""
    return storage.within("log").within(model)


def damage_message(files: Sequence[str], model: str) -> str:
    """Say of a model that files of its log are damaged, and what to do."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    file = "/".join(files[0].split("/")[-3:])
    return f"{file}{more} of the event log is damaged: its bytes are not those that were written. {way_out(model)}"


def way_out(model: str) -> str:
    """Return what to do where rows of a log are lost."""
    return (
        "Bring back the log and state.db from one backup, or go on with the rows that are left: "
        f"driftline rebuild {model} --accept-loss"
    )


def _up_to(rows: pl.LazyFrame, through: Mapping[Table, int] | None, table: Table) -> pl.LazyFrame:
    return rows if through is None else rows.filter(pl.col("seq") <= through[table])


def _inside(window: Window, time: str = "time") -> pl.Expr:
    return (pl.col(time) >= window.start) & (pl.col(time) < window.end)


def touching(windows: Iterable[tuple[Window, str, int]], most: int) -> Iterator[list[tuple[Window, str]]]:
    """Put windows, in order of time and each with its number of rows, together with those that they touch.

    Together they have at most so many rows, or are one.
    """
    some, rows = list[tuple[Window, str]](), 0
    for window, version, count in windows:
        if some and (rows + count > most or not (window == some[-1][0] or window.start == some[-1][0].end)):
            yield some
            some, rows = [], 0
        some.append((window, version))
        rows += count
    if some:
        yield some
