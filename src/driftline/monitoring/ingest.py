"""Processes batches of the inbox: into the log, then into the windows' profiles, then out of the inbox.

`driftline.monitoring.draining` says which batch, and what becomes of one that keeps failing.

Each step can be repeated. If the process dies between two of them, the same inbox rows are planned again from the same
state, the log skips what it has, and nothing is lost or counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import polars as pl

from driftline.events import Window
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.planning import AHEAD, Gone, Plan, arrived, make_plan
from driftline.monitoring.segments import decoded_segments, profile, window_row
from driftline.profiles import NumericColumn, WindowProfile
from driftline.profiles.by_window import Profiled, by_window, windows_of
from driftline.sketches import decode, encode
from driftline.store.counters import LABELS_UNTIL
from driftline.store.framed import target_type
from driftline.store.inbox import InboxRow, done
from driftline.store.state import State, Work
from driftline.store.windows import KNOWN_WINDOWS

REMEMBERED_LONGER = timedelta(days=1)
"""How much longer than labels are accepted for an id is known: what was sent in time may come late."""


def work_in(model: MonitoredModel, rows: Sequence[InboxRow], state: State) -> None:
    """Bring the effect of inbox rows into the log and the state, and remove them from the inbox.

    What can fail because of what the rows say comes before the first of them is in the log.
    """
    came, accepted_for = arrived(rows), model.config.labels.accepted_for
    with state.read() as read:
        cut = read.retention.cut(model.name)
        forgotten = read.forgettings.known(model.name, came.every_id, model.config.key.digest)
        came = came.without(Gone(None if cut is None else cut.before, forgotten))
        known = read.predictions.find(model.name, came.keys)
        waiting = read.waiting_labels.of(model.name, came.ids)
    plan = make_plan(rows, came, known, waiting, target_type(model.schema), accepted_for=accepted_for)
    predictions = plan.predictions.frame(model.schema)
    profiles = profile_predictions(model, predictions)
    through = rows[-1].seq
    state.require_lease()
    model.log.append_predictions(predictions, through=through)
    model.log.append_labels(plan.labels, through=through)
    model.log.append_predictions(plan.shadows, through=through, table="shadow")
    model.log.sync()
    with state.work() as work:
        work.predictions.put(
            model.name, plan.keys, plan.times, plan.marks, came=rows[-1].arrived_at, kept_for=accepted_for
        )
        work.waiting_labels.drop(model.name, plan.matched)
        work.waiting_labels.put(model.name, plan.waiting)
        for (window, version), profiled in profiles.items():
            _merge_into_window(work, model, window, version, profiled)
        for window in windows_of(plan.labels["prediction_time"], model.config.window):
            work.windows.mark_labels_changed(model.name, window.start)
        for (name, key), by in plan.counts.items():
            work.counters.add(model.name, name, key, by)
        if plan.labels_until is not None:
            known_until = work.counters.moment(model.name, LABELS_UNTIL)
            work.counters.note(model.name, LABELS_UNTIL, max(plan.labels_until, known_until or plan.labels_until))
        watermark = _update_model(work, model, plan, profiles, rows[-1])
        if max(model.log.last_seqs().values()) <= through:  # or rows that are in the log rest on what would go
            stale = work.waiting_labels.drop_before(model.name, watermark - accepted_for)
            work.counters.add(model.name, "invalid_events", "label.no_prediction", stale)
            work.predictions.forget_oldest(model.name, watermark - accepted_for - REMEMBERED_LONGER)
        done(work.connection, model.name, rows)


def profile_predictions(model: MonitoredModel, rows: pl.DataFrame) -> dict[tuple[Window, str], Profiled]:
    """Profile predictions, rows of the log, by window and version."""
    return {
        key: profile(part, model.schema, model.reference) for key, part in by_window(rows, model.config.window).items()
    }


def _merge_into_window(work: Work, model: MonitoredModel, window: Window, version: str, profiled: Profiled) -> None:
    versions = work.windows.at(model.name, window.start)
    work.counters.add(model.name, KNOWN_WINDOWS, "", int(not versions))
    stored = next((row for row in versions if row.version == version), None)
    whole, segments = profiled
    if stored is not None:
        whole = decode(stored.profile, WindowProfile).merge(whole)
        segments = decoded_segments(stored.segments).merge(segments)
    changed, revision = (stored.labels_changed, stored.revision) if stored is not None else (False, 0)
    merged = Profiled(whole, segments)
    work.windows.put(window_row(model.name, window, version, merged, labels_changed=changed, revision=revision))


def _update_model(
    work: Work,
    model: MonitoredModel,
    plan: Plan,
    profiles: Mapping[tuple[Window, str], Profiled],
    last: InboxRow,
) -> datetime:
    """Store the watermark, the latencies and how far the log has come; return the watermark."""
    stored = work.models.get(model.name)
    assert stored is not None  # open_model stores it
    latency = decode(stored.latency, NumericColumn) if stored.latency else NumericColumn()
    for profiled in profiles.values():
        latency = latency.merge(latency_of(profiled.whole))
    assert plan.watermark is not None  # an inbox row has at least one event
    watermark = plan.watermark
    if stored.watermark is not None:  # where the clock was ahead and has been put right, event time comes back with it
        watermark = max(watermark, min(stored.watermark, last.arrived_at + AHEAD))
        if watermark < stored.watermark:
            work.windows.assess_all(model.name)  # windows that were closed may be open again
    # The log may be further: a larger batch, of which this is the beginning, has failed after it was appended.
    marks = {table: min(seq, last.seq) for table, seq in model.log.last_seqs().items()}
    work.models.put(
        replace(
            stored,
            watermark=watermark,
            latency=encode(latency),
            last_arrival=last.arrived_at,
            log_marks=msgspec.msgpack.encode(marks),
        )
    )
    return watermark


def latency_of(profile: WindowProfile) -> NumericColumn:
    """Return the latencies of a window."""
    seconds = profile.outputs.columns.get("latency_seconds")
    return seconds if isinstance(seconds, NumericColumn) else NumericColumn()
