"""The folders of retraining runs: what becomes of them when they are old, and when rows of them are to be forgotten."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import polars as pl

from driftline.errors import DriftlineError, StorageError, panics_as_errors
from driftline.profiles import Columns
from driftline.profiles.frame import identifiers
from driftline.retrain.kept import Runs
from driftline.retrain.registry.registry import Registry
from driftline.retrain.request import CANCELLABLE, Stage
from driftline.store.durable import replacing
from driftline.store.retraining import Retraining
from driftline.store.state import State
from driftline.text import cause

_TABLE = ".parquet"
_LOG = logging.getLogger("driftline")


def forget_in_runs(state: State, runs: Runs, model: str, columns: Columns, ids: Collection[str]) -> int | str:
    """Erase the rows with these ids from the folders of a model's runs; return how many.

    While a run is going on, it is returned in words which: it holds the rows that its challenger is judged by.
    A model that was trained on the rows is left as it is.
    """
    with state.read() as read:
        rows = Retraining(read.connection).rows(model)
    for row in rows:
        if Stage(row.stage) in CANCELLABLE:
            return f"request {row.id} of {model} is {row.stage}: it waits until that is over, or was cancelled"
    gone = 0
    for row in rows:
        runs.renew(row.id, _TABLE)
        files = sorted(runs.of(row.id).rglob(f"*{_TABLE}"))
        erased = {file: _without(file, columns.id or "id", ids) for file in files}
        runs.keep(row.id, [one.relative_to(runs.of(row.id)).as_posix() for one, number in erased.items() if number])
        gone += sum(erased.values())
    return gone


def drop_copies(state: State, runs: Runs) -> None:
    """Delete what this machine has of the rows of runs that are over, and of which the blobs have all that is kept.

    Rows are forgotten there, by one machine; on the others they would stay.
    """
    if runs.blobs is None or not runs.folder.is_dir():
        return
    with state.read() as read:
        over = {row.id for row in Retraining(read.connection).rows() if Stage(row.stage).over}
    for id in over & {one.name for one in runs.folder.iterdir()}:
        runs.drop_copies(id, _TABLE)


def _without(file: Path, column: str, ids: Collection[str]) -> int:
    """Write a file anew without the rows of some ids; one that has no such column, or is no table, is left."""
    try:
        with panics_as_errors():
            rows = pl.read_parquet(file, glob=False)
    except (OSError, pl.exceptions.PolarsError, DriftlineError) as error:
        _LOG.warning("the file %s of a run cannot be read, and is left as it is: %s", file, cause(error))
        return 0
    if column not in rows.columns:
        return 0
    left = rows.filter(~identifiers(rows[column]).is_in(list(ids)).fill_null(False))
    if left.height < rows.height:
        try:
            with replacing(file) as beside:
                left.write_parquet(beside)
        except OSError as error:
            raise StorageError(f"the rows of the run in {file} cannot be erased: {cause(error)}") from error
    return rows.height - left.height


def delete_old_runs(state: State, registry: Registry, runs: Runs, before: datetime, held: Collection[str]) -> int:
    """Delete the folders of runs that were over before a moment, wall-clock time; return how many.

    Those of the champion, and of the version that can be rolled back to, stay; so do the requests themselves, and
    every version in the registry.
    """
    with state.read() as read:
        rows = Retraining(read.connection).rows()
    old = [row for row in rows if Stage(row.stage).over and row.changed_at < before and row.model not in held]
    gone, live = 0, dict[str, set[str]]()
    for row in old:
        if row.version and row.model not in live:
            live[row.model] = set(registry.aliases(row.model).values())
        if row.version and row.version in live[row.model]:
            continue
        gone += runs.delete(row.id)
    return gone
