"""Recomputes every window of a model from the log, and says where the stored state differed: it must not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from msgspec import structs

from driftline.events import Window
from driftline.monitoring.agreement import known_marks, recall
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.segments import profile, window_row
from driftline.profiles import WindowProfile
from driftline.sketches import decode, encode
from driftline.store.retention import is_gone
from driftline.store.state import State
from driftline.store.windows import WindowRow

_Stored = tuple[bytes, bytes | None]
"""The encoded profile of a window, and its segments."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many windows were rebuilt from the log, and the starts of those that were not the same to the byte.

    ``left`` is how many windows were left as they were, of which events are no longer kept: the log cannot say them.
    """

    windows: int
    differing: tuple[datetime, ...]
    left: int = 0


def rebuild(
    model: MonitoredModel, state: State, progress: Callable[[int, int], None] = lambda done, of: None
) -> Rebuilt:
    """Replace all windows of a model by what the log says. The worker must not run meanwhile.

    Where the log is newer than the state, the state recalls the rest from it too. What the log has beyond what the
    state knows is otherwise a batch that still waits in the inbox: it is not counted here.

    Windows of which rows were deleted or forgotten are left as they are. Where the reference has changed, one that
    lost some rows comes from those that are left, and of one that lost all only what people are shown stays.
    ``progress`` is called with how many windows are done, of how many.
    """
    spec, held = model.config.window, Counter[tuple[Window, str]]()
    with state.read() as read:
        through = None if model.behind else known_marks(read, model.name)
        for time, version, number in model.log.times_and_versions(through):
            held[spec.window_of(time), version] += number
        before = {(row.window, row.version): row for row in read.windows.between(model.name)}
        stored_model, cut = read.models.get(model.name), read.retention.cut(model.name)
        forgotten = read.retention.forgotten(model.name)
    changed = stored_model is not None and not stored_model.fingerprint  # what profiles depend on
    gone = {key for key in before if is_gone(cut, key[0])}
    less = {key for key in before if (key[0].start, key[1]) in forgotten}
    left = set() if changed else gone | less
    keys = sorted(key for key in held.keys() - left if not is_gone(cut, key[0]))
    rows: list[WindowRow] = []
    profiles: list[WindowProfile] = []
    beside = Counter[Window]()  # rows of the versions that are left, whose labels are read with the others'
    for window, version in left:
        beside[window] += held[window, version]
    sizes = ((window, version, held[window, version] + beside[window]) for window, version in keys)
    logged = model.log.rows_by_window(sizes, through=through)
    for index, ((window, version), log_rows) in enumerate(zip(keys, logged, strict=True)):
        progress(index, len(keys))
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
        for window, version in (fresh.keys() | stored.keys()) - left - gone
        if not _same(fresh.get((window, version)), stored.get((window, version)))
    }
    with state.work() as work:
        work.windows.drop(model.name, shown_before=None if cut is None else cut.before)
        work.detections.forget_windows(model.name)
        for row in rows:
            work.windows.put(row)
        for key in left:
            work.windows.put(replace(before[key], settled=key in gone and before[key].settled))
        work.windows.recount(model.name)
        if model.behind:
            recall(model, work, [*profiles, *(decode(before[key].profile, WindowProfile) for key in left)])
    return Rebuilt(len(rows), tuple(sorted(differing)), len(left | gone))


def _same(fresh: _Stored | None, stored: _Stored | None) -> bool:
    """Tell whether a window is as it was; one of a release that did not know how late labels come lacks only that."""
    if fresh == stored or fresh is None or stored is None:
        return fresh == stored
    before = decode(stored[0], WindowProfile)
    if before.delays.counts or fresh[1] != stored[1]:
        return False
    return encode(structs.replace(decode(fresh[0], WindowProfile), delays=before.delays)) == encode(before)
