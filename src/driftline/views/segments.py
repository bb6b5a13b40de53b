"""Which segments of a model became worse in some windows, and what each adds to the change since the reference."""

from __future__ import annotations

from datetime import datetime
from functools import reduce

import msgspec

from driftline.errors import UnknownNameError, UsageError
from driftline.events import Task
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.segments import decoded_segments
from driftline.profiles import Performance
from driftline.profiles.performance import merge_performance
from driftline.profiles.segments import SegmentProfile, SegmentProfiles
from driftline.statistics.catalogue import CATALOGUE, performance_measures
from driftline.statistics.segment_changes import ColumnChange, segment_changes
from driftline.statistics.split import MEANS
from driftline.statistics.worse import Pair
from driftline.store.state import Work
from driftline.views.stored import reference_of, schema_of

MOST_WINDOWS = 120
"""The segments of at most so many windows are put together, the newest."""


class SegmentsChanged(msgspec.Struct, frozen=True):
    """The segments of some judged windows, against those of the reference.

    ``start`` and ``end`` are those of the first and the last of the ``windows``, None without one. ``measures`` are
    those that can be asked for: first the means over rows, whose change is split. ``problem`` says why ``columns`` is
    empty.
    """

    model: str
    measure: str
    measures: list[str]
    start: datetime | None
    end: datetime | None
    windows: int
    columns: list[ColumnChange]
    problem: str = ""


def segments_changed(
    read: Work,
    config: ModelConfig,
    *,
    measure: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    newest: int = 1,
) -> SegmentsChanged:
    """Compare the segments of the judged windows that start in [start, end), or of the ``newest`` ones.

    Raises `UsageError` for a span that ends before it begins, and `UnknownNameError` for a measure that the model has
    not.
    """
    if start is not None and end is not None and end <= start:
        raise UsageError(f"start={start.isoformat()} and end={end.isoformat()} came; a span ends after it begins")
    stored = read.models.get(config.name)
    if stored is None:
        return SegmentsChanged(config.name, measure or "", [], None, None, 0, [], "nothing has come for this model yet")
    schema, reference = schema_of(stored), reference_of(stored)
    known = _measures(schema.task, schema.positive)
    if measure and measure not in known:
        raise UnknownNameError("measure", measure, known)
    asked = measure or _usual(config, known)
    most = MOST_WINDOWS if start is not None or end is not None else min(max(newest, 1), MOST_WINDOWS)
    rows = read.windows.settled_segments(config.name, start=start, end=end, most=most)
    spans = sorted({window for window, _ in rows})
    now = reduce(SegmentProfiles.merge, (decoded_segments(body) for _, body in rows), SegmentProfiles())
    found: tuple[ColumnChange, ...] = ()
    problem = _problem(config, spans != [], reference.segments, now)
    if not problem:
        found = segment_changes(
            asked,
            _pairs(reference.segments, now),
            (_whole(reference.segments), _whole(now)),
            least_rows=config.floors.rows,
            positive=schema.positive,
            naive=reference.naive,
        )
    first, last = (spans[0].start, spans[-1].end) if spans else (None, None)
    return SegmentsChanged(config.name, asked, known, first, last, len(spans), list(found), problem)


def _measures(task: Task, positive: str | None) -> list[str]:
    fit = [name for name in performance_measures(task) if positive is not None or not CATALOGUE[name].one_class]
    return [*(name for name in fit if name in MEANS), *(name for name in fit if name not in MEANS)]


def _usual(config: ModelConfig, known: list[str]) -> str:
    """Return the measure of the first rule that speaks of one, else the first that is known."""
    return next((rule.measure for rule in config.rules if rule.measure in known), known[0])


def _problem(config: ModelConfig, judged: bool, before: SegmentProfiles, now: SegmentProfiles) -> str:
    if not config.columns.segments:
        return "this model has no segments; name their columns under columns: segments: in driftline.yaml"
    if not judged:
        return "no window was judged in this span; one is when its labels have come, or are overdue"
    if not before.columns:
        return "the reference's segments are not known yet: they are read when the service starts"
    if _whole(before) is None:
        return "the reference has no labels to compare with"
    return "" if _whole(now) is not None else "no row of these windows has a label"


def _pairs(before: SegmentProfiles, now: SegmentProfiles) -> dict[str, dict[str, Pair]]:
    none = SegmentProfile()
    return {
        column: {
            value: (
                before.columns.get(column, {}).get(value, none).performance,
                values.get(value, none).performance,
            )
            for value in sorted(values.keys() | before.columns.get(column, {}).keys())
        }
        for column, values in now.columns.items()
    }


def _whole(segments: SegmentProfiles) -> Performance | None:
    """Return the performance on all rows: every row is in one segment of each column."""
    for values in segments.columns.values():
        return reduce(merge_performance, (one.performance for one in values.values()), None)
    return None
