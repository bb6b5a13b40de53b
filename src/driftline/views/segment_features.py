"""A feature in one segment: the rows of the windows that are shown, and of the reference, are read when asked for.

What was read is kept as long as it stays the same, so that pages that refresh, and several of them, read nothing again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce

from driftline.errors import DataError, UsageError
from driftline.events import Kind, Schema, Segment, Window
from driftline.monitoring.agreement import known_marks
from driftline.monitoring.model import fingerprint_of
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.segment_rows import Part, parts_of_reference, parts_of_window, too_many
from driftline.monitoring.segments import values_of
from driftline.net.limits import QueueFullError
from driftline.profiles import Column, Reference
from driftline.profiles.column import merge_columns
from driftline.statistics.drift import compare_columns
from driftline.store.forgetting import WAITING
from driftline.store.log import EventLog, Table
from driftline.store.models import ModelRow
from driftline.store.retention import gone_words, is_gone
from driftline.store.state import Work
from driftline.text.numbers import count
from driftline.views.features import FeatureView, OfSegment, OfVersion, Side, compared_alone
from driftline.views.stored import reference_of, schema_of

PATIENCE_SECONDS = 20.0
"""So long a page waits for its turn: one segment is read at a time, whatever is asked for."""

MOST_WAITING = 5
"""So many wait at once, others are sent away: each holds one of the few dozen threads that answer everything else."""

MOST_KEPT = 5_000
"""So many parts are kept, of a kilobyte for numbers and ten for texts: a side has one for each segment and version."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What there is to read, as the state says it: nothing of the state is held while rows are read.

    ``erasing`` says that rows are being taken out of the log which are already among the ``forgotten``.
    """

    config: ModelConfig
    stored: ModelRow
    feature: str
    segment: Segment
    schema: Schema
    reference: Reference
    through: Mapping[Table, int] | None
    gone: Mapping[Window, str]
    forgotten: Mapping[Window, int]
    erasing: bool

    @property
    def kind(self) -> Kind:
        """How the feature is profiled."""
        return self.schema.features[self.feature]


def wanted(read: Work, config: ModelConfig, found: FeatureView, segment: Segment) -> Wanted:
    """Return what there is to read of a segment in the windows that a feature is shown in."""
    stored, cut = read.models.get(config.name), read.retention.cut(config.name)
    assert stored is not None  # the feature was found
    windows = {one.window for one in (found.before, found.now) if one is not None and one.window is not None}
    return Wanted(
        config,
        stored,
        found.feature,
        segment,
        schema_of(stored),
        reference_of(stored),
        known_marks(read, config.name),
        {one: gone_words(cut) for one in windows if cut is not None and is_gone(cut, one)},
        {one: sum(read.retention.forgotten(config.name, one.start).values()) for one in windows},
        (asked := read.forgettings.next(config.name)) is not None and asked.state != WAITING,
    )


class SegmentReader:
    """Reads the segments of one column at a time, and keeps what it has read last."""

    def __init__(self, log: Callable[[ModelRow], EventLog], patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._log, self._patience = log, patience_seconds
        self._kept: dict[Hashable, list[Part]] = {}
        self._turn, self._waiting = threading.Lock(), threading.BoundedSemaphore(MOST_WAITING)

    def narrowed(self, found: FeatureView, asked: Wanted) -> FeatureView:
        """Return a feature, found of all rows, of the rows of a segment alone.

        A side that cannot be shown so has no column, and says why. Raises `QueueFullError` where others have been
        reading for too long.
        """
        assert found.before is not None  # else there is nothing to narrow
        assert found.now is not None
        assert found.now.window is not None
        before, parts_before = self._side(found.before, found.now.window, asked)
        now, parts_now = self._side(found.now, found.now.window, asked)
        narrow = replace(
            found, segment=asked.segment, before=before, now=now, compared=None, versions=(), by_segment=()
        )
        if parts_before is None or parts_now is None:
            return narrow
        config, value = asked.config, asked.segment.value
        narrow = replace(narrow, by_segment=_by_segment(parts_before, parts_now, asked))
        if before.problem or now.problem:
            return narrow
        versions = tuple(
            OfVersion(one.version, one.rows, drift)
            for one in parts_now
            if one.segment == value and (drift := compared_alone(before.column, one.column, config)) is not None
        )
        return replace(
            narrow,
            compared=compared_alone(before.column, now.column, config),
            versions=versions if len(found.now.versions) > 1 else (),
        )

    def _side(self, side: Side, shown: Window, asked: Wanted) -> tuple[Side, list[Part] | None]:
        """Return a side of the segment alone, and the parts of all segments, None where they cannot be had.

        ``shown`` is the window that is compared.
        """
        if side.window is None:
            return self._of_reference(side, shown, asked)
        window, rows, forgotten = side.window, sum(side.versions.values()), asked.forgotten[side.window]
        problem = asked.gone.get(window) or too_many(rows, asked.kind, "the window")
        if problem:
            return replace(side, column=None, problem=problem), None

        def read() -> list[Part]:
            log, by, through = self._log(asked.stored), asked.segment.column, asked.through
            return parts_of_window(log, window, asked.feature, by, asked.schema, asked.reference, through=through)

        key = (window, tuple(side.versions.items()), forgotten)
        parts = self._once(key, asked, read, keep=not (forgotten and asked.erasing))
        less, told = rows - sum(one.rows for one in parts), ""
        if less > 0:
            why = "were forgotten" if forgotten else "are no longer in the event log"
            told = f"{count(less)} of the {count(rows)} rows of the window {why}, and are in no segment"
        return _alone(replace(side, note=told), "the window", parts, asked), parts

    def _of_reference(self, side: Side, shown: Window, asked: Wanted) -> tuple[Side, list[Part] | None]:
        """Read the reference's file, if it is the one whose profile is stored, in the season of the shown window."""
        months = asked.reference.months_like(asked.config.window.months_of(shown))
        problem = too_many(asked.reference.profile.features.rows, asked.kind, "the reference")
        if problem:
            return replace(side, column=None, problem=problem), None

        def read() -> list[Part]:
            config = asked.config
            if fingerprint_of(config) != asked.stored.fingerprint:
                raise DataError(f"{config.reference} is not the file that was profiled; restart the service to take it")
            by = asked.segment.column
            return parts_of_reference(config, asked.feature, by, asked.schema, asked.reference, months)

        try:
            parts = self._once(("reference", *months), asked, read)
        except (DataError, UsageError) as error:
            return replace(side, column=None, problem=f"the rows of the reference are not at hand: {error}"), None
        what = "the reference, in the months of this season," if months else "the reference"
        return _alone(side, what, parts, asked), parts

    def _once(self, key: Hashable, asked: Wanted, read: Callable[[], list[Part]], *, keep: bool = True) -> list[Part]:
        """Read what is not known, one at a time; ``keep`` it as what this key stands for."""
        name = (asked.config.name, asked.stored.fingerprint, asked.feature, asked.segment.column, key)
        if (known := self._kept.get(name)) is not None:
            return known
        with self._my_turn():
            if (known := self._kept.get(name)) is None:
                known = read()
                if not keep:
                    return known
                if sum(len(parts) + 1 for parts in self._kept.values()) + len(known) >= MOST_KEPT:
                    self._kept.clear()
                self._kept[name] = known
            return known

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        busy = QueueFullError("rows of other segments are being read; try again later")
        if not self._waiting.acquire(blocking=False):
            raise busy
        try:
            if not self._turn.acquire(timeout=self._patience):
                raise busy
        finally:
            self._waiting.release()
        try:
            yield
        finally:
            self._turn.release()


def _alone(side: Side, what: str, parts: list[Part], asked: Wanted) -> Side:
    """Return a side, called ``what``, of the rows of the segment alone."""
    value = asked.segment.value
    problem = "" if _rows(parts, value) else f"{what} has no rows with {asked.segment.words}"
    return replace(side, column=_merged(parts, value), problem=problem)


def _by_segment(before: list[Part], now: list[Part], asked: Wanted) -> tuple[OfSegment, ...]:
    """Compare each segment of the column with the same one of the other side, all of them as one family of tests.

    Those without rows on both sides are left out.
    """
    values = [one for one in values_of(asked.schema)[asked.segment.column] if _rows(before, one) or _rows(now, one)]
    was, became = (
        {one: column for one in values if _rows(now, one) and (column := _merged(parts, one)) is not None}
        for parts in (before, now)
    )
    found = compare_columns(was, became, asked.config.floors)
    return tuple(OfSegment(one, _rows(now, one), found.get(one)) for one in values)


def _rows(parts: list[Part], value: str) -> int:
    return sum(one.rows for one in parts if one.segment == value)


def _merged(parts: list[Part], value: str) -> Column | None:
    there = [one.column for one in parts if one.segment == value and one.column is not None]
    return reduce(merge_columns, there) if there else None
