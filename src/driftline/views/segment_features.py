"""A feature in one segment: the rows of the windows that are shown, and of the reference, are read when asked for.

What was read is kept as long as it stays the same, so that pages that refresh, and several of them, read nothing again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

from driftline.errors import DataError, UsageError
from driftline.events import Kind, Schema, Segment, Window
from driftline.monitoring.agreement import known_marks
from driftline.monitoring.model import fingerprint_of
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.segment_rows import SegmentRows, rows_of_reference, rows_of_window, too_many
from driftline.net.limits import QueueFullError
from driftline.profiles import Column, Reference
from driftline.profiles.column import merge_columns
from driftline.store.log import EventLog, Table
from driftline.store.models import ModelRow
from driftline.store.retention import gone_words, is_gone
from driftline.store.state import Work
from driftline.text.numbers import count
from driftline.views.features import FeatureView, OfVersion, Side, compared_alone
from driftline.views.stored import reference_of, schema_of

PATIENCE_SECONDS = 20.0
"""So long a page waits for its turn: one segment is read at a time, whatever is asked for."""

_MOST_KEPT = 200


class _Read(NamedTuple):
    """What is shown of a side: its rows by version, and how many rows there are of all segments."""

    versions: Mapping[str, tuple[int, Column | None]]
    looked_at: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What there is to read, as the state says it: nothing of the state is held while rows are read."""

    config: ModelConfig
    stored: ModelRow
    feature: str
    segment: Segment
    schema: Schema
    reference: Reference
    through: Mapping[Table, int] | None
    gone: Mapping[Window, str]
    forgotten: Mapping[Window, int]

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
    )


class SegmentReader:
    """Reads segments one at a time, and keeps what it has read last."""

    def __init__(self, log: Callable[[ModelRow], EventLog], patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._log, self._patience = log, patience_seconds
        self._kept: dict[Hashable, _Read] = {}
        self._turn = threading.Lock()

    def narrowed(self, found: FeatureView, asked: Wanted) -> FeatureView:
        """Return a feature, found of all rows, of the rows of a segment alone.

        A side that cannot be shown so has no column, and says why. Raises `QueueFullError` where others have been
        reading for too long.
        """
        assert found.before is not None  # else there is nothing to narrow
        assert found.now is not None
        before, _ = self._side(found.before, found.now, asked)
        now, versions = self._side(found.now, found.now, asked)
        config, usable = asked.config, not before.problem and not now.problem
        drifts = [
            OfVersion(version, rows, drift)
            for version, (rows, column) in versions.items()
            if (drift := compared_alone(before.column, column, config)) is not None
        ]
        return replace(
            found,
            segment=asked.segment,
            before=before,
            now=now,
            compared=compared_alone(before.column, now.column, config) if usable else None,
            versions=tuple(drifts) if usable and len(found.now.versions) > 1 else (),
        )

    def _side(self, side: Side, now: Side, asked: Wanted) -> tuple[Side, Mapping[str, tuple[int, Column | None]]]:
        if side.window is None:
            return self._of_reference(side, now, asked), {}
        window, rows = side.window, sum(side.versions.values())
        problem = asked.gone.get(window) or too_many(rows, asked.kind, "the window")
        if problem:
            return replace(side, column=None, problem=problem), {}
        key = (window, tuple(side.versions.items()), asked.forgotten[window])

        def read() -> _Read:
            log, schema, reference = self._log(asked.stored), asked.schema, asked.reference
            found: SegmentRows = rows_of_window(
                log, window, asked.feature, asked.segment, schema, reference, through=asked.through
            )
            return _Read(found.versions, found.looked_at)

        came = self._once(key, asked, read)
        column = _merged([column for _, column in came.versions.values()])
        less = rows - came.looked_at
        told = ""
        if less > 0:
            why = "were forgotten" if asked.forgotten[window] else "are no longer in the event log"
            told = (
                f"{count(less)} of the {count(rows)} rows of the window {why}: which segment they were of is not known"
            )
        return replace(side, column=column, note=told), came.versions

    def _of_reference(self, side: Side, now: Side, asked: Wanted) -> Side:
        """Read the reference's file, if it is the one whose profile is stored, in the season of the shown window."""
        assert now.window is not None  # what is compared with the reference is a window
        months = asked.reference.months_like(asked.config.window.months_of(now.window))
        problem = too_many(asked.reference.profile.features.rows, asked.kind, "the reference")
        if problem:
            return replace(side, column=None, problem=problem)

        def read() -> _Read:
            if fingerprint_of(asked.config) != asked.stored.fingerprint:
                raise DataError(f"{asked.config.reference} is another file than the one that was profiled at the start")
            column = rows_of_reference(
                asked.config, asked.feature, asked.segment, asked.schema, asked.reference, months
            )
            return _Read({"": (0 if column is None else column.rows, column)}, 0)

        try:
            came = self._once(("reference", *months), asked, read)
        except (DataError, UsageError) as error:
            said = f"the rows of the reference are not at hand, and windows keep no profiles by segment: {error}"
            return replace(side, column=None, problem=said)
        return replace(side, column=_merged([column for _, column in came.versions.values()]))

    def _once(self, key: Hashable, asked: Wanted, read: Callable[[], _Read]) -> _Read:
        """Read what is not known, one at a time."""
        name = (asked.config.name, asked.stored.fingerprint, asked.feature, asked.segment, key)
        if (known := self._kept.get(name)) is not None:
            return known
        if not self._turn.acquire(timeout=self._patience):
            raise QueueFullError("rows of other segments are being read; try again later")
        try:
            if (known := self._kept.get(name)) is None:
                known = read()
                if len(self._kept) >= _MOST_KEPT:
                    self._kept.clear()
                self._kept[name] = known
            return known
        finally:
            self._turn.release()


def _merged(columns: list[Column | None]) -> Column | None:
    there = [one for one in columns if one is not None]
    return reduce(merge_columns, there) if there else None
