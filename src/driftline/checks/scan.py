"""Profile the rows of both sides in one pass each: in constant memory, on all cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec.structs import replace

from driftline.checks.opening import Batches
from driftline.checks.reading import Input
from driftline.events import Kind, Task
from driftline.profiles import (
    Columns,
    NumericColumn,
    Performance,
    Profile,
    Profiler,
    WindowProfile,
    Workers,
    canonical,
    kind_of,
)
from driftline.profiles.frame import FEATURE, SCORE, TARGETS, score_columns, with_predictions
from driftline.profiles.layout import Layout
from driftline.profiles.missing import without_missing, without_missing_in
from driftline.profiles.naive import Naive, NaiveTally
from driftline.sketches import KeySample
from driftline.sketches.drawn import DrawnRows

SPACED_ROWS = 6_000
REPEATED_LEAST = 0.01
"""From this share on, repeated rows or ids are reported."""

_KEY_COLUMNS = 6


class SideProfile(msgspec.Struct):
    """The result of one pass over a side.

    ``nulls`` counts missing values by column of the file. ``mistyped`` counts texts in columns of numbers, and values
    left out because they are no score, time or number, as their column's role requires. ``sample`` has the canonical
    features (and a regression's targets) of rows spread over the whole side, at most twice `SPACED_ROWS`. ``keys``
    samples whole rows, or ids if there are any. ``days`` counts rows by day of the time column, in UTC. ``naive`` is
    the error of a naive forecast of the reference's labels.
    """

    rows: int = 0
    profile: WindowProfile = msgspec.field(default_factory=WindowProfile)
    segments: Mapping[str, Mapping[str, Performance]] = {}
    nulls: Counter[str] = msgspec.field(default_factory=Counter)
    mistyped: Counter[str] = msgspec.field(default_factory=Counter)
    sample: pl.DataFrame = msgspec.field(default_factory=pl.DataFrame)
    keys: KeySample = msgspec.field(default_factory=KeySample)
    days: Counter[date] = msgspec.field(default_factory=Counter)
    naive: Naive = msgspec.field(default_factory=Naive)

    def missing(self, column: str) -> float:
        """Return the share of rows without a value in a column, 0 to 1; 0 without rows."""
        return self.nulls[column] / self.rows if self.rows else 0.0

    @property
    def repeated(self) -> float | None:
        """The share of rows, or ids, that repeat an earlier one, 0 to 1; None where none were sampled."""
        return self.keys.repeated if self.keys.rows else None


def read_sides(
    sides: Sequence[Input], batches: Batches, layout: Layout, progress: Callable[[float], None]
) -> list[SideProfile]:
    """Profile the sides one after another.

    ``progress`` is called with the share of the work that is done, 0 to 1, if the number of rows is known.
    """
    with Workers() as workers:
        return [
            _read_side(side, batches, number, layout, workers, partial(_part_done, progress, number, len(sides)))
            for number, side in enumerate(sides)
        ]


def _part_done(progress: Callable[[float], None], number: int, sides: int, share: float) -> None:
    progress((number + share) / sides)


def _read_side(
    side: Input, batches: Batches, place: int, layout: Layout, workers: Workers, progress: Callable[[float], None]
) -> SideProfile:
    seen, groups, there = SideProfile(), batches.groups[place], batches.there[place]
    for number, group in enumerate(groups):
        first = number == 0
        part = _part(layout, group, first=first)
        reading = _Reading(side, part, seen, first=first, whole=len(groups) == 1, naive=first and place == 0)
        for batch in batches.take():
            reading.add(*side.typed(batch), workers)
            if side.rows.count:
                progress(min((number + reading.rows / side.rows.count) / len(groups), 1.0))
        workers.finish()
        reading.finish()
    if len(groups) > 1:  # back to the order of the schema
        order = {FEATURE + name: at for at, name in enumerate(layout.schema.features)}
        names: list[str] = sorted(seen.sample.columns, key=lambda name: order.get(name, len(order)))
        seen.sample = seen.sample.select(names)
    if len(groups) > 1 and layout.columns.id is None and seen.keys.repeated >= REPEATED_LEAST:
        seen.keys = _whole_rows(side, there)
    return seen


def _whole_rows(side: Input, there: list[str]) -> KeySample:
    """Sample whole rows: rows that are equal in some columns may differ in others."""
    keys = _Keys(None, len(there))
    for batch in side.rows.batches(there):
        keys.add(batch)
    return keys.sample


def _part(layout: Layout, group: Sequence[str], *, first: bool) -> Layout:
    features = {name: layout.schema.features[name] for name in group if name in layout.schema.features}
    columns = layout.columns if first else Columns()
    return replace(layout, columns=columns, schema=replace(layout.schema, features=features))


class _Reading:
    """Profiles one group of columns of one side, batch by batch."""

    def __init__(
        self, side: Input, layout: Layout, seen: SideProfile, *, first: bool, whole: bool, naive: bool
    ) -> None:
        self.rows = 0
        self._layout, self._seen = layout, seen
        self._profiler = Profiler(layout.schema, layout.grids, layout.anchors)
        self._numbers = {name for name, kind in layout.schema.features.items() if kind is Kind.NUMERIC}
        self._profiled = {name for name, kind in layout.schema.features.items() if kind is not Kind.UNSUPPORTED}
        columns = layout.columns
        self._parts = {columns.time: "time", columns.prediction: "prediction", columns.label: "label"} | {
            column: SCORE + name for name, column in score_columns(columns, layout.schema).items()
        }
        self._sample = _Sample(side.rows.count)
        self._naive = NaiveTally() if naive and layout.schema.task is Task.REGRESSION else None
        self._keys = _Keys(layout.columns.id, len(side.rows.schema) if whole else _KEY_COLUMNS) if first else None

    def add(self, batch: pl.DataFrame, lost: Mapping[str, int], workers: Workers) -> None:
        rows = canonical(batch, self._layout.columns, self._layout.schema)
        if self._layout.columns.prediction is None and self._layout.columns.label is not None:
            rows = with_predictions(rows, self._layout.schema)
        tasks = self._profiler.tasks(rows)
        if self._keys is not None:
            tasks.long.append(partial(self._keys.add, batch))
        if self._naive is not None:
            tasks.long.append(partial(self._naive.add, rows))
        workers.start(tasks)
        self._count_nulls(batch, lost, rows)
        self._count_days(rows)
        self._sample.add(pl.DataFrame(rows[name] for name in rows.columns if self._is_sampled(name)))
        self.rows += batch.height

    def _is_sampled(self, name: str) -> bool:
        return name.startswith(FEATURE) or (name in TARGETS and self._layout.schema.task is Task.REGRESSION)

    def _count_nulls(self, batch: pl.DataFrame, lost: Mapping[str, int], rows: pl.DataFrame) -> None:
        """Count missing values, and apart from them values that do not fit; ``lost`` counts failed conversions."""
        seen, missing = self._seen, self._layout.schema.missing
        seen.mistyped.update(lost)
        for name, dtype in batch.schema.items():
            part = self._parts.get(name)
            if name in self._profiled:  # the profile counts what is missing, see `finish`
                if name not in self._numbers or kind_of(dtype) is not Kind.CATEGORICAL:
                    continue
                part = FEATURE + name
            nulls = without_missing(batch[name], missing).null_count()
            seen.nulls[name] += nulls - lost.get(name, 0)
            if part is not None:
                seen.mistyped[name] += rows[part].null_count() - nulls

    def _count_days(self, rows: pl.DataFrame) -> None:
        if "time" in rows.columns:
            counted = rows["time"].drop_nulls().dt.date().value_counts(name="count")
            self._seen.days.update(dict(zip(counted[:, 0].to_list(), counted["count"].to_list(), strict=True)))

    def finish(self) -> None:
        seen, profile = self._seen, self._profiler.profile()
        sample = without_missing_in(self._sample.frame(), self._layout.schema.missing)
        for name in self._profiled & profile.features.columns.keys():
            column = profile.features.columns[name]
            gone = column.missing + (column.nan if isinstance(column, NumericColumn) else 0)
            seen.nulls[name] = gone - seen.mistyped[name]
        if self._keys is not None:
            seen.rows, seen.profile, seen.segments = self.rows, profile, self._profiler.segments()
            seen.keys, seen.sample = self._keys.sample, sample
            seen.naive = self._naive.naive() if self._naive is not None else Naive()
        else:
            columns = {**seen.profile.features.columns, **profile.features.columns}
            seen.profile = replace(seen.profile, features=Profile(self.rows, columns))
            seen.sample = seen.sample.hstack(sample)


class _Sample:
    """A sample of one row from each interval of a stream; intervals are doubled as rows become many.

    A known ``count`` of rows only saves keeping some that would be dropped: the rows are the same without it.
    """

    def __init__(self, count: int | None) -> None:
        self._drawn = DrawnRows(level=((count or 0) // (2 * SPACED_ROWS + 1)).bit_length())
        self._frames: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame) -> None:
        places = pl.Series(self._drawn.take(rows.height).tolist(), dtype=pl.UInt32)
        self._frames.append(pl.DataFrame(values[places] for values in rows))  # frame[places] would wait for decoding
        while self._drawn.kept > 2 * SPACED_ROWS:
            so_far = pl.concat(self._frames, how="vertical_relaxed")
            self._frames = [so_far.filter(self._drawn.halve().tolist())]

    def frame(self) -> pl.DataFrame:
        return pl.concat(self._frames, how="vertical_relaxed") if self._frames else pl.DataFrame()


class _Keys:
    """A sample of rows by the hash of their values in at most ``most`` columns, or of their ids if there are any."""

    def __init__(self, identifier: str | None, most: int) -> None:
        self.sample = KeySample()
        self._identifier, self._most = identifier, most

    def add(self, batch: pl.DataFrame) -> None:
        if self._identifier in batch.columns:
            batch = batch.select(pl.col(self._identifier)).drop_nulls()
        flat = {name: dtype for name, dtype in batch.schema.items() if not dtype.is_nested() and dtype != pl.Object}
        telling = sorted(flat, key=lambda name: not flat[name].is_float())[: self._most]
        if telling and batch.height:
            hashes: npt.NDArray[np.uint64] = batch.select(telling).hash_rows().to_numpy()
            self.sample = self.sample.merge(KeySample.of(hashes, self.sample))
