"""Recomputes every window of a model from the log, and says where the stored state differed: it must not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from driftline.monitoring.agreement import known_marks, recall
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.segments import profile, window_row
from driftline.profiles import WindowProfile
from driftline.store.state import State
from driftline.store.windows import WindowRow


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many windows the log has, and the starts of those whose stored profile was not the same to the byte."""

    windows: int
    differing: tuple[datetime, ...]


def rebuild(
    model: MonitoredModel, state: State, progress: Callable[[int, int], None] = lambda done, of: None
) -> Rebuilt:
    """Replace all windows of a model by what the log says. The worker must not run meanwhile.

    Where the log is newer than the state, the state recalls the rest from it too. What the log has beyond what the
    state knows is otherwise a batch that still waits in the inbox: it is not counted here.
    ``progress`` is called with how many windows are done, of how many.
    """
    spec = model.config.window
    with state.read() as read:
        through = None if model.behind else known_marks(read, model.name)
        keys = sorted({(spec.window_of(time), version) for time, version in model.log.times_and_versions(through)})
        before = {(row.window, row.version): row for row in read.windows.between(model.name)}
    rows: list[WindowRow] = []
    profiles: list[WindowProfile] = []
    for index, (window, version) in enumerate(keys):
        progress(index, len(keys))
        log_rows = model.log.window_rows(window, version, through=through)
        profiled = profile(log_rows, model.schema, model.reference)
        profiles.append(profiled.whole)
        known = before.get((window, version))
        # What has gone out of a window by remote write is followed by what is known now: its revision goes on.
        revision = 0 if known is None else known.revision
        rows.append(window_row(model.name, window, version, profiled, revision=revision))
    progress(len(keys), len(keys))
    stored = {key: (row.profile, row.segments) for key, row in before.items()}
    fresh = {(row.window, row.version): (row.profile, row.segments) for row in rows}
    differing = {
        window.start
        for window, version in fresh.keys() | stored.keys()
        if fresh.get((window, version)) != stored.get((window, version))
    }
    with state.work() as work:
        work.windows.drop(model.name)
        work.detections.forget_windows(model.name)
        for row in rows:
            work.windows.put(row)
        work.windows.recount(model.name)
        if model.behind:
            recall(model, work, profiles)
    return Rebuilt(len(rows), tuple(sorted(differing)))
