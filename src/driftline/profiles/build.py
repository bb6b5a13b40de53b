"""Turn canonical rows into a profile: the only way from rows to states, for files, windows and rebuilds alike."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import polars as pl

from driftline.events import Kind, Schema, Task
from driftline.profiles.blocks import keys_of
from driftline.profiles.column import CategoricalTally, Column, CompositeTally, NumericTally
from driftline.profiles.delays import LabelDelays
from driftline.profiles.frame import FEATURE, FIRST_LABEL, SCORE, SEGMENT, identifiers
from driftline.profiles.parts import Anchor
from driftline.profiles.performance import Classification, Performance, Regression, merge_performance
from driftline.profiles.profile import Profile, WindowProfile
from driftline.sketches import Grid, compiled

LOGIT = "/logit"
"""The suffix of the name of a score's grid, which counts logits."""
MOST_SEGMENTS = 100
"""At most so many values of a segment column are profiled; a column with more is not a useful segment."""

_MOST_CORES = 8  # one thread fetches what they work on

_Tally = NumericTally | CategoricalTally | CompositeTally


def profile_rows(
    rows: pl.DataFrame, schema: Schema, grids: Mapping[str, Grid], anchors: Mapping[str, Anchor] | None = None
) -> WindowProfile:
    """Profile canonical rows (see `driftline.profiles.frame`), shape (n, columns); no rows give the identity."""
    profiler = Profiler(schema, grids, anchors or {})
    for task in profiler.tasks(rows).all:
        task()
    return profiler.profile()


class Tasks(NamedTuple):
    """The tasks of one batch, which may run in any order and at the same time.

    ``short`` ones call NumPy many times and would wait for the interpreter's lock at each call if they ran in several
    threads; ``long`` ones make few calls, which release the lock.
    """

    short: list[Callable[[], None]]
    long: list[Callable[[], None]]

    @property
    def all(self) -> list[Callable[[], None]]:
        """The tasks of both kinds."""
        return [*self.short, *self.long]


class Workers:
    """Runs the tasks of one batch after another on all cores, while the caller fetches the next batch.

    At most ``cores`` threads work, including the caller's. Leaving the context waits for tasks that have begun and
    drops the others.
    """

    def __init__(self, cores: int | None = None) -> None:
        count = min(cores or os.cpu_count() or 1, _MOST_CORES)
        self._pool = ThreadPoolExecutor(max(count - 1, 1), thread_name_prefix="driftline-profile")
        self._beside = max(count - 1, 1)
        self._waiting: deque[Callable[[], None]] = deque()
        self._running: list[Future[None]] = []

    def __enter__(self) -> Workers:
        """Return the workers; threads are started when there is work."""
        return self

    def __exit__(self, *raised: object) -> None:
        self._waiting.clear()
        self._pool.shutdown()

    def start(self, tasks: Tasks) -> None:
        """Finish the previous batch, then start the tasks of this one."""
        self.finish()
        self._waiting.extend(tasks.long)
        self._running = [self._pool.submit(self._work) for _ in range(min(self._beside, len(tasks.long)))]
        for task in tasks.short:
            task()

    def finish(self) -> None:
        """Work until no task is left; raises what a task raised."""
        self._work()
        for other in self._running:
            other.result()
        self._running = []

    def _work(self) -> None:
        while True:
            try:
                task = self._waiting.popleft()
            except IndexError:
                return
            task()


class Profiler:
    """Profiles canonical rows batch by batch, in memory that does not grow with their number."""

    def __init__(self, schema: Schema, grids: Mapping[str, Grid], anchors: Mapping[str, Anchor]) -> None:
        self._schema, self._grids, self._anchors = schema, grids, anchors
        self._target = Kind.NUMERIC if schema.task is Task.REGRESSION else Kind.CATEGORICAL
        self._rows = self._labelled = 0
        self._features: dict[str, _Tally] = {}
        self._outputs: dict[str, _Tally] = {}
        self._labels: dict[str, _Tally] = {}
        self._performance: Performance | None = None
        self._delays = LabelDelays()
        self._segments: dict[str, dict[str, Performance]] = {}

    def tasks(self, rows: pl.DataFrame) -> Tasks:
        """Return the tasks for a batch; tasks of two batches must not run at the same time."""
        tasks = Tasks([], [])
        if not len(rows):
            return tasks
        self._rows += len(rows)
        features = ((name, FEATURE + name, kind) for name, kind in self._schema.inputs.items())
        outputs = [("latency_seconds", Kind.NUMERIC), ("prediction", self._target)]
        self._into(self._features, rows, features, tasks)
        self._into(self._outputs, rows, ((name, name, kind) for name, kind in outputs), tasks)
        scores = [name for name in rows.columns if name.startswith(SCORE)]
        for name in scores:
            given = rows[name].drop_nulls()
            if len(given):  # only those: which classes a batch names must not change the whole
                self._into(self._outputs, given.to_frame(), [(name, name, Kind.NUMERIC)], tasks)
        labelled = _labelled(rows)
        if len(labelled):
            self._labelled += len(labelled)
            self._into(self._labels, labelled, [("label", "label", self._target)], tasks)
            tasks.short.append(partial(self._judge, labelled, scores))
            if FIRST_LABEL in labelled.columns:
                tasks.short.append(partial(self._wait, labelled))
            for name in rows.columns:
                if name.startswith(SEGMENT):
                    tasks.short.append(partial(self._judge_segments, labelled, scores, name))
        return tasks

    def profile(self) -> WindowProfile:
        """Return the profile of all rows."""
        return WindowProfile(
            features=_profile(self._rows, self._features),
            outputs=_profile(self._rows, self._outputs),
            labels=_profile(self._labelled, self._labels),
            performance=self._performance,
            delays=self._delays,
        )

    def _into(
        self, tallies: dict[str, _Tally], rows: pl.DataFrame, columns: Iterable[tuple[str, str, Kind]], tasks: Tasks
    ) -> None:
        there = set(rows.columns)
        for name, column, kind in columns:
            if column in there and kind is not Kind.UNSUPPORTED:
                if name not in tallies:
                    tallies[name] = self._tally(column, kind)
                short = isinstance(tallies[name], NumericTally) and compiled.kernel() is None
                (tasks.short if short else tasks.long).append(partial(tallies[name].add, rows[column]))

    def _tally(self, column: str, kind: Kind) -> _Tally:
        if kind is Kind.NUMERIC:
            return NumericTally(self._grids.get(column, Grid()))
        if kind is Kind.CATEGORICAL:
            return CategoricalTally(self._schema.missing)
        return CompositeTally(kind, column, self._grids, self._anchors.get(column))

    def _judge(self, labelled: pl.DataFrame, scores: list[str]) -> None:
        performance = performance_of(labelled, self._schema, scores, self._grids)
        self._performance = merge_performance(self._performance, performance)

    def _wait(self, labelled: pl.DataFrame) -> None:
        self._delays = self._delays.merge(LabelDelays.of(labelled["time"], labelled[FIRST_LABEL]))

    def segments(self) -> dict[str, dict[str, Performance]]:
        """Return the performance by segment column and value, of at most `MOST_SEGMENTS` values of each column."""
        return self._segments

    def _judge_segments(self, labelled: pl.DataFrame, scores: list[str], column: str) -> None:
        found = self._segments.setdefault(column.removeprefix(SEGMENT), {})
        values = labelled[column].drop_nulls().unique().sort().to_list()
        new = [value for value in values if value not in found][: MOST_SEGMENTS - len(found)]
        looked_at = labelled.filter(pl.col(column).is_in([*found, *new]))
        for (value,), part in sorted(looked_at.partition_by(column, as_dict=True).items()):
            performance = performance_of(part, self._schema, scores, self._grids)
            merged = merge_performance(found.get(str(value)), performance)
            if merged is not None:
                found[str(value)] = merged


def _labelled(rows: pl.DataFrame) -> pl.DataFrame:
    if "label" not in rows.columns:
        return rows.clear()
    return rows.filter(pl.col("label").is_not_null()) if rows["label"].null_count() else rows


def _profile(rows: int, tallies: Mapping[str, _Tally]) -> Profile:
    columns: dict[str, Column] = {name: tallies[name].column() for name in sorted(tallies)}
    return Profile(rows, columns)


def performance_of(
    labelled: pl.DataFrame, schema: Schema, scores: Iterable[str], grids: Mapping[str, Grid]
) -> Performance | None:
    """Return the performance on labelled canonical rows, shape (n, columns); None without rows or predictions."""
    if not len(labelled) or "prediction" not in labelled.columns:
        return None
    keys = keys_of(clusters_of(labelled, schema), labelled["time"] if "time" in labelled.columns else None)
    if schema.task is Task.REGRESSION:
        grid = grids.get("label", Grid())
        return Regression.of(labelled["label"], labelled["prediction"], centre=grid.centre, keys=keys, unit=grid.scale)
    return Classification.of(
        labelled["label"],
        labelled["prediction"],
        {name.removeprefix(SCORE): labelled[name] for name in scores if labelled[name].count()},
        positive=schema.positive,
        grids={name.removeprefix(SCORE): grids[name + LOGIT] for name in scores if name + LOGIT in grids},
        keys=keys,
    )


def with_clusters(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the rows with a column ``cluster`` (see `clusters_of`), or as they are if there are no clusters."""
    clusters = clusters_of(rows, schema)
    return rows if clusters is None else rows.with_columns(clusters.alias("cluster"))


def clusters_of(rows: pl.DataFrame, schema: Schema) -> pl.Series | None:
    """Return the cluster of each row, as texts, from a column of its own or a feature; None without either."""
    if "cluster" in rows.columns:
        return rows["cluster"]
    column = FEATURE + (schema.cluster or "")
    return identifiers(rows[column]) if schema.cluster is not None and column in rows.columns else None
