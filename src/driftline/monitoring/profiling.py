"""Profiles a history where it lies: rows of files to a stored table of profiles by window."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from driftline.engines.local import profile_sources, sampled
from driftline.engines.stored import StoredProfiles
from driftline.errors import DataError, UsageError
from driftline.monitoring.hiding import opened
from driftline.monitoring.layouts import layout_of_setup
from driftline.monitoring.model import read_reference
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.setup import ModelSetup
from driftline.profiles.layout import Layout
from driftline.profiles.table import ProfileTable
from driftline.sources.far import store_options
from driftline.sources.files import files_of, open_rows
from driftline.sources.profiled import holds_profiles, is_profiles
from driftline.sources.rows import Rows, readable
from driftline.store.durable import replacing
from driftline.text.durations import length
from driftline.text.moments import span
from driftline.text.numbers import count, size

ENGINES = ("local", "spark")
"""Who can profile files: this machine with all its cores, or Spark, where it reads them."""

_SUFFIXES = (".parquet", ".pq")


class History(NamedTuple):
    """The rows of some files, opened, and the layout with which they are profiled."""

    sources: Sequence[Rows]
    layout: Layout


def profiled_by(
    engine: str,
    config: ModelConfig,
    paths: Sequence[str],
    progress: Callable[[float], None] | None = None,
    *,
    by_window: bool = True,
) -> StoredProfiles:
    """Profile files where they lie with one of `ENGINES`: what a stored table of them would hold, without storing it.

    Every engine makes the same of the same rows. Without ``by_window`` a model may have no times, and then all rows are
    one window. Raises what `open_history` and the engine raise, and `DataError` where there is nothing to judge.
    """
    if by_window:
        require_times(config)
    names = ", ".join(paths)
    if engine == "local":
        history = open_history(config, paths)
        table, layout = profile_sources(history.sources, history.layout, progress), history.layout
    else:
        from driftline.spark import profile_files  # which imports no Spark, and says in one line how to get one

        layout = layout_of_history(config, paths)
        table = profile_files(list(paths), layout)
    if by_window or not table.parts:
        require_windows(table, names)
    return StoredProfiles(table, layout, config.name, names)


def open_history(config: ModelConfig, paths: Sequence[str]) -> History:
    """Open files, folders, patterns or addresses, and decide how their rows are read by the first of them.

    Raises `UsageError` for what is not there, `DataError` for what is broken, and what `read_reference` raises.
    """
    sources = [opened(file, config) for path in paths for file in files_of(path)]
    return History(sources, _layout(config, sources))


def layout_of_history(config: ModelConfig, paths: Sequence[str]) -> Layout:
    """Return the layout of rows that another engine reads: decided by the first of them where they are within reach.

    Those of a database are under no path, and their types leave nothing open.
    """
    return _layout(config, _within_reach(config, paths))


def _within_reach(config: ModelConfig, paths: Sequence[str]) -> Iterator[Rows]:
    """The files of some paths, each opened when it is asked for; those up to the first that cannot be opened here."""
    for path in paths:
        try:
            for file in files_of(path):
                yield opened(file, config)
        except (DataError, UsageError):  # such as hdfs://, or a path of the cluster's own
            return


def _layout(config: ModelConfig, sources: Iterable[Rows]) -> Layout:
    schema, reference, _ = read_reference(config)
    setup = ModelSetup(config, schema, reference)
    layout = layout_of_setup(setup)
    for rows in sources:
        sample = sampled(rows, layout.reads)
        if sample.height:
            return layout_of_setup(setup, sample)
    return layout


def require_times(config: ModelConfig) -> None:
    """Raise `UsageError` for a model whose rows have no time, by which windows are cut."""
    if config.columns.time is None:
        raise UsageError(
            f"profiles are made by window, and models.{config.name}.columns.time is not set; name the column that "
            "tells when each row was predicted"
        )


def require_windows(table: ProfileTable, name: str) -> ProfileTable:
    """Return the table; raises `DataError` where no row has a time."""
    if all(key.window is None for key in table.parts):
        had = f"none of its {count(table.predictions)} rows has a time" if table.parts else "it has no rows"
        raise DataError(f"{name}: {had}; profiles are made by window of time")
    return table


class Summary(NamedTuple):
    """What a table of profiles is made of."""

    rows: int
    labelled: int
    without_time: int
    windows: int
    versions: int
    start: datetime | None
    end: datetime | None

    def lines(self, output: str, written: int, seconds: float) -> Iterator[str]:
        """Yield it in words, with where it was written to, how many bytes that took, 0 if unknown, and how long."""
        when = "" if self.start is None or self.end is None else f", {span(self.start, self.end)}"
        yield f"{count(self.rows)} rows, {count(self.labelled)} of them labelled{when}"
        if self.without_time:
            yield f"{count(self.without_time)} rows have no time that can be read: they are in no window"
        windows = f"{count(self.windows)} window{'s' if self.windows != 1 else ''}"
        versions = f"{count(self.versions)} version{'s' if self.versions != 1 else ''}"
        yield f"{windows} of {versions} written to {output}{f', {size(written)}' if written else ''}"
        yield f"in {length(seconds)}"


def summary_of(table: ProfileTable) -> Summary:
    """Count what a table of profiles is made of."""
    windows = [key.window for key in table.parts if key.window is not None]
    return Summary(
        rows=table.predictions,
        labelled=table.labelled,
        without_time=sum(part.whole.predictions for key, part in table.parts.items() if key.window is None),
        windows=len(set(windows)),
        versions=len({key.version for key in table.parts}),
        start=min((one.start for one in windows), default=None),
        end=max((one.end for one in windows), default=None),
    )


# ---- where to --------------------------------------------------------------------------------------------------------


def require_free(output: str) -> None:
    """Refuse to write to a place that is no Parquet file and no Delta table, or that holds something else.

    Only a table of profiles is replaced: a slip of the pen must not cost a file of rows.
    """
    if not _is_delta(output) and not output.lower().endswith(_SUFFIXES):
        allowed = "a file that ends in .parquet, or a folder that ends in / for a table of Delta Lake"
        raise UsageError(f"--output {output} came; allowed is {allowed}")
    if "://" in output:
        _require_profiles_at(output)
        return
    path = _written(output)
    if path.is_symlink():
        raise UsageError(f"--output {output} is a link that leads to itself; name another place")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {path.absolute().parent}; make it first")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UsageError(f"--output {output}: {path} is neither a file nor a folder; name another place")
    there = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if there and not is_profiles(path):
        raise UsageError(f"--output {output} is there, and is no table of profiles; name another place")
    if path.is_dir() and not _is_delta(output):
        raise UsageError(f"--output {output} is a folder; allowed is a file there, such as {output}/profiles.parquet")


def _require_profiles_at(address: str) -> None:
    try:
        columns = open_rows(address).schema
    except (DataError, UsageError):  # nothing is there, or what is wrong is said when it is written
        return
    if not holds_profiles(columns):
        raise UsageError(f"--output {address} is there, and is no table of profiles; name another place")


def write_profiles(frame: pl.DataFrame, output: str) -> int:
    """Write a stored table whole or not at all; return its size in bytes, 0 if that is not known.

    It is a file of Parquet, or a table of Delta Lake where the place ends in ``/`` or is one: then its next version.
    """
    with readable(output, foreign=True, done="written"):
        if _is_delta(output):
            others = {"schema_mode": "overwrite"}  # the columns of another release
            place, options = output.rstrip("/"), store_options(output)
            frame.write_delta(place, mode="overwrite", storage_options=options, delta_write_options=others)
            return 0
        if "://" in output:
            frame.write_parquet(output, storage_options=store_options(output))
            return 0
        path = _written(output)
        with replacing(path) as beside:
            frame.write_parquet(beside)
        return path.stat().st_size


def _written(output: str) -> Path:
    """What is written: where a link leads to, so that the link stays one."""
    return Path(os.path.realpath(output))


def _is_delta(output: str) -> bool:
    if "://" in output:
        return not output.lower().endswith(_SUFFIXES)
    return output.endswith("/") or (Path(output) / "_delta_log").is_dir()
