"""Processes batches of the inbox: into the log, then into the windows' profiles, then out of the inbox.

`driftline.monitoring.draining` says which batch, and what becomes of one that keeps failing.

Each step can be repeated. If the process dies between two of them, the same inbox rows are planned again from the same
state, the log skips what it has, and nothing is lost or counted twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec

from driftline.events import Label, Prediction, Window
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.segments import Profiled, by_window, decoded_segments, profile, window_row
from driftline.profiles import NumericColumn, WindowProfile
from driftline.sketches import decode, encode
from driftline.store.counters import LABELS_UNTIL
from driftline.store.inbox import InboxRow, done
from driftline.store.logged import LoggedLabel, LoggedPrediction, predictions_frame
from driftline.store.predictions import KnownPrediction
from driftline.store.state import State, Work
from driftline.store.windows import KNOWN_WINDOWS

AHEAD = timedelta(minutes=10)
"""How far event time may run ahead of the clock: one sender whose clock is wrong closes no window of the others."""


@dataclass(frozen=True, slots=True)
class Gone:
    """What is not taken any more: predictions of before ``since`` (event time), and ids that were ``forgotten``."""

    since: datetime | None = None
    forgotten: Collection[str] = ()

    def why(self, id: str, predicted: datetime | None) -> str | None:
        """Return why an event is not taken, None where it is; ``predicted`` is the time of its prediction."""
        if id in self.forgotten:
            return "forgotten"
        return "too_late" if self.since is not None and predicted is not None and predicted < self.since else None


@dataclass(slots=True)
class Plan:
    """What some inbox rows amount to, given what was known before them."""

    predictions: list[LoggedPrediction] = field(default_factory=list)
    labels: list[LoggedLabel] = field(default_factory=list)
    shadows: list[LoggedPrediction] = field(default_factory=list)
    known: dict[str, KnownPrediction] = field(default_factory=dict)  # new, or with another label
    waiting: dict[str, Label] = field(default_factory=dict)  # labels whose prediction has not come
    matched: set[str] = field(default_factory=set)  # ids whose waiting label has found its prediction
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    watermark: datetime | None = None
    labels_until: datetime | None = None  # how far event time has come by the labels alone

    def count(self, name: str, key: str = "") -> None:
        """Count one event."""
        self.counts[name, key] = self.counts.get((name, key), 0) + 1

    def see(self, time: datetime, arrived: datetime) -> None:
        """Let event time come as far as an event says, and at most `AHEAD` of when it arrived."""
        time = min(time, arrived + AHEAD)
        self.watermark = max(self.watermark or time, time)

    def see_label(self, time: datetime, arrived: datetime) -> None:
        """Likewise for a label."""
        self.see(time, arrived)
        time = min(time, arrived + AHEAD)
        self.labels_until = max(self.labels_until or time, time)


_NOTHING = Gone()


def make_plan(
    rows: Sequence[InboxRow],
    known: Mapping[str, KnownPrediction],
    waiting: Mapping[str, Label],
    *,
    accepted_for: timedelta,
    gone: Gone = _NOTHING,
) -> Plan:
    """Decide, in the order of arrival, what each event does. Pure: the same rows on the same state give the same plan.

    What is ``gone`` is counted, and does nothing.

    The first prediction of an id counts, later ones are duplicates. The newest label of an id counts; one that says
    what is known already is a duplicate. A label more than ``accepted_for`` after its prediction is too late.
    """
    plan = Plan()
    known, waiting = dict(known), dict(waiting)
    for row in rows:
        for prediction in row.predictions:
            plan.see(prediction.time, row.arrived_at)
            if _is_gone(plan, gone, "prediction", prediction.id, prediction.time):
                continue
            if prediction.role == "shadow":  # kept for contests; no window speaks of it
                plan.count("shadow_predictions", prediction.version)
                plan.shadows.append(LoggedPrediction(row.seq, prediction))
                continue
            if prediction.id in known:
                plan.count("duplicate_events", "prediction")
                continue
            plan.count("predictions", prediction.version)
            plan.predictions.append(LoggedPrediction(row.seq, prediction))
            known[prediction.id] = plan.known[prediction.id] = KnownPrediction(prediction.time, None)
            if (label := waiting.pop(prediction.id, None)) is not None:
                plan.waiting.pop(prediction.id, None)
                plan.matched.add(prediction.id)
                _take_label(plan, known, row.seq, label, accepted_for)
        for label in row.labels:
            plan.see_label(label.time, row.arrived_at)
            if _is_gone(plan, gone, "label", label.id, known[label.id].time if label.id in known else None):
                continue
            if label.id in known:
                _take_label(plan, known, row.seq, label, accepted_for)
            else:
                _put_off_label(plan, waiting, label)
    return plan


def _is_gone(plan: Plan, gone: Gone, kind: str, id: str, predicted: datetime | None) -> bool:
    """Return whether an event is not taken any more; then it is counted."""
    if (why := gone.why(id, predicted)) is None:
        return False
    plan.count("invalid_events", f"{kind}.{why}")
    return True


def _put_off_label(plan: Plan, waiting: dict[str, Label], label: Label) -> None:
    if label.id in waiting and waiting[label.id].label == label.label:
        plan.count("duplicate_events", "label")
    else:
        waiting[label.id] = plan.waiting[label.id] = label
        plan.count("early_labels")


def _take_label(plan: Plan, known: dict[str, KnownPrediction], seq: int, label: Label, accepted_for: timedelta) -> None:
    prediction = known[label.id]
    if label.time - prediction.time > accepted_for:
        plan.count("invalid_events", "label.too_late")
        return
    if prediction.label == label.label:
        plan.count("duplicate_events", "label")
        return
    plan.count("labels" if prediction.label is None else "corrected_labels")
    plan.labels.append(LoggedLabel(seq, prediction.time, label))
    known[label.id] = plan.known[label.id] = replace(prediction, label=label.label)


def ids_of(rows: Sequence[InboxRow]) -> set[str]:
    """Return the ids that inbox rows speak of."""
    return {one.id for row in rows for one in row.predictions} | {one.id for row in rows for one in row.labels}


def work_in(model: MonitoredModel, rows: Sequence[InboxRow], state: State) -> None:
    """Bring the effect of inbox rows into the log and the state, and remove them from the inbox.

    What can fail because of what the rows say comes before the first of them is in the log.
    """
    ids = ids_of(rows)
    with state.read() as read:
        known, waiting = read.predictions.known(model.name, ids), read.waiting_labels.of(model.name, ids)
        cut, forgotten = (
            read.retention.cut(model.name),
            read.forgettings.known(model.name, ids, model.config.key.digest),
        )
    plan = make_plan(
        rows,
        known,
        waiting,
        accepted_for=model.config.labels.accepted_for,
        gone=Gone(None if cut is None else cut.before, forgotten),
    )
    profiles = profile_predictions(model, [row.prediction for row in plan.predictions])
    through = rows[-1].seq
    state.require_lease()
    model.log.append_predictions(plan.predictions, through=through)
    model.log.append_labels(plan.labels, through=through)
    model.log.append_predictions(plan.shadows, through=through, table="shadow")
    model.log.sync()
    with state.work() as work:
        work.predictions.put(model.name, plan.known)
        work.waiting_labels.drop(model.name, plan.matched)
        work.waiting_labels.put(model.name, plan.waiting)
        for (window, version), profiled in profiles.items():
            _merge_into_window(work, model, window, version, profiled)
        for start in {model.config.window.window_of(label.prediction_time).start for label in plan.labels}:
            work.windows.mark_labels_changed(model.name, start)
        for (name, key), by in plan.counts.items():
            work.counters.add(model.name, name, key, by)
        if plan.labels_until is not None:
            known_until = work.counters.moment(model.name, LABELS_UNTIL)
            work.counters.note(model.name, LABELS_UNTIL, max(plan.labels_until, known_until or plan.labels_until))
        watermark = _update_model(work, model, plan, profiles, rows[-1])
        stale = work.waiting_labels.drop_before(model.name, watermark - model.config.labels.accepted_for)
        work.counters.add(model.name, "invalid_events", "label.no_prediction", stale)
        done(work.connection, model.name, rows)


def profile_predictions(model: MonitoredModel, predictions: Sequence[Prediction]) -> dict[tuple[Window, str], Profiled]:
    """Profile predictions by window and version."""
    if not predictions:
        return {}
    frame = predictions_frame([LoggedPrediction(0, one) for one in predictions], model.schema)
    return {
        key: profile(part, model.schema, model.reference) for key, part in by_window(frame, model.config.window).items()
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
