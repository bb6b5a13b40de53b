"""Pushes the measures of judged windows by remote write, each just before the end of its window in event time.

A window that is judged again, because labels came late, is pushed again. A server keeps what it has at a moment, so the
new values stand a millisecond later for each time, but never after the window's end: who asks for the newest at that
moment finds what is known now, and nothing of the next window.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from driftline.errors import RefusedError
from driftline.events import Slice
from driftline.exporters.remote_write import RemoteWriter, Series
from driftline.monitoring.summary import MeasureView, WindowSummary
from driftline.store.overview import Overview
from driftline.store.state import State, Work
from driftline.store.windows import WindowRow

MOST_WINDOWS = 100
LEAD_MILLISECONDS = 10_000
"""So long before its end a window's first values stand, and so often it can be corrected."""

_LOG = logging.getLogger("driftline")
_summary = msgspec.msgpack.Decoder(WindowSummary)


def push_windows(models: Iterable[str], state: State, writer: RemoteWriter) -> int:
    """Push what has not gone out since it was judged, `MOST_WINDOWS` a model at most; return how many that were.

    Windows that the receiver will never take, because it has no room for old samples, are counted and not tried again.
    Raises `UnavailableError` when it does not take them now.
    """
    pushed = 0
    for model in models:
        with state.read() as read:
            rows = read.windows.to_push(model, MOST_WINDOWS)
            found = _to_push(read, rows)
        taken, refused = _push(writer, found)
        with state.of(model, state.fence).work() as work:
            work.windows.mark_pushed(rows)
            work.counters.add(model, "pushed_windows", "taken", taken)
            work.counters.add(model, "pushed_windows", "refused", refused)
        pushed += len(rows)
    return pushed


_Found = list[tuple[WindowRow, list[WindowSummary]]]


def _to_push(read: Work, rows: Sequence[WindowRow]) -> _Found:
    """Return each row with its summary;
    the one of a window that was settled most often has those of the segments, too.
    """
    newest = {row.start: row for row in sorted(rows, key=lambda row: row.revision)}
    found: _Found = []
    for row in rows:
        bodies = Overview(read.connection).summaries({row.model: row.start}).get(row.model, {})
        mine = [Slice(row.version)] if Slice(row.version) in bodies else []
        segments = [slice for slice in bodies if slice.segment is not None] if newest[row.start] is row else []
        if mine:
            found.append((row, [_summary.decode(bodies[slice]) for slice in (*mine, *segments)]))
    return found


def _push(writer: RemoteWriter, found: _Found) -> tuple[int, int]:
    """Push windows together, or one by one where one of them is refused; return how many were taken and refused."""
    if not found:
        return 0, 0
    try:
        writer.push([one for row, summaries in found for each in summaries for one in series_of(row, each)])
    except RefusedError as error:
        if len(found) == 1:
            _LOG.warning("remote write: the window of %s is refused: %s", found[0][0].start.isoformat(), error)
            return 0, 1
        halves = (found[: len(found) // 2], found[len(found) // 2 :])
        counts = [_push(writer, half) for half in halves]
        return counts[0][0] + counts[1][0], counts[0][1] + counts[1][1]
    return len(found), 0


def series_of(row: WindowRow, summary: WindowSummary) -> Iterator[Series]:
    """Yield the series of one window of one version, or of a segment of all versions together, a sample each."""
    milliseconds = (
        int(row.end.timestamp() * 1000) - LEAD_MILLISECONDS + min(max(row.revision - 1, 0), LEAD_MILLISECONDS)
    )
    part = {"version": row.version} if summary.segment is None else {"segment": str(summary.segment)}
    labels = {"model": row.model, **part}

    def series(name: str, value: float | None, **more: str) -> Iterator[Series]:
        if value is not None:
            yield Series(f"driftline_window_{name}", {**labels, **more}, [(milliseconds, value)])

    def measure(name: str, view: MeasureView, **more: str) -> Iterator[Series]:
        yield from series(name, view.value, **more)
        yield from series(f"{name}_ci_lower", view.low, **more)
        yield from series(f"{name}_ci_upper", view.high, **more)

    yield from series("predictions", float(summary.predictions))
    yield from measure("label_coverage_ratio", summary.coverage)
    for metric, view in summary.performance.items():
        yield from measure("performance", view, metric=metric)
        yield from series("performance_samples", float(view.n), metric=metric)
    for feature, drift in summary.drift.items():
        yield from series("drift_score", drift.beyond_chance, feature=feature, method=drift.measure)
        yield from series("feature_missing_ratio", drift.missing_current, feature=feature)
    for name, output in (("prediction", summary.prediction_drift), ("label", summary.label_drift)):
        if output is not None:
            yield from series(f"{name}_drift_score", output.beyond_chance, method=output.measure)
