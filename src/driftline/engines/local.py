"""The engine of one machine: rows of files, batch by batch and on all cores, to profiles by window."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl

from driftline.errors import UsageError
from driftline.profiles.layout import Layout
from driftline.profiles.table import ProfileTable, profile_batch
from driftline.sources.profiled import holds_profiles
from driftline.sources.rows import Rows, readable

_MOST_CORES = 8
_AHEAD = 2  # batches a core, so that none waits while the next one is read

Progress = Callable[[float], None] | None
"""Is told the share of the work that is done, 0 to 1."""


def profile_sources(sources: Sequence[Rows], layout: Layout, progress: Progress = None) -> ProfileTable:
    """Profile the rows of some sources, each read once; a few batches and the profiles are in memory at a time.

    Raises `UsageError` for a source of profiles, and what reading the rows raises.
    """
    for rows in sources:
        if holds_profiles(rows.schema):
            raise UsageError(f"{rows.name} is a table of profiles, which are made already; name files of rows")
    return ProfileTable.of_all(_tables(_batches(sources, layout, progress), layout))


def sampled(rows: Rows, layout_columns: Iterable[str] = ()) -> pl.DataFrame:
    """Return the first rows of a source as they are profiled, to decide by them how they are read."""
    return as_written(rows, layout_columns).sample()


def as_written(rows: Rows, columns: Iterable[str]) -> Rows:
    """Return rows of a text file with their columns as they are written there: a reader guesses types by file."""
    return rows if rows.typed else rows.retyped([name for name in columns if name in rows.schema])


def _batches(sources: Sequence[Rows], layout: Layout, progress: Progress) -> Iterator[pl.DataFrame]:
    for number, source in enumerate(sources):
        rows, done = as_written(source, layout.reads), 0
        there = [name for name in layout.reads if name in rows.schema]
        if not there:
            asked = ", ".join(layout.reads)
            raise UsageError(f"{rows.name} has none of the columns that the reference has: {asked}")
        with readable(rows.name):
            for batch in rows.batches(there):
                yield batch
                done += batch.height
                if progress is not None and rows.count:
                    progress((number + min(done / rows.count, 1.0)) / len(sources))
        if progress is not None:
            progress((number + 1) / len(sources))


def _tables(batches: Iterable[pl.DataFrame], layout: Layout) -> Iterator[ProfileTable]:
    """The profiles of each batch; the next ones are worked on meanwhile."""
    cores = min(os.cpu_count() or 1, _MOST_CORES)
    begun: deque[Future[ProfileTable]] = deque()
    with ThreadPoolExecutor(cores, thread_name_prefix="driftline-profile") as pool:
        try:
            for batch in batches:
                begun.append(pool.submit(profile_batch, batch, layout))
                if len(begun) >= cores * _AHEAD:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for one in begun:
                one.cancel()
