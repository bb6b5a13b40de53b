"""Holds the state and the log of a model together at the start: one of them may have come from a backup.

The state says how far each table of the log had come when it was last written. A log that is further, without the batch
that waits in the inbox after a crash, is newer than the state: the state is then recalled from the log. A log that has
not come so far has lost rows that were acknowledged: the start is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import reduce

import msgspec
import polars as pl

from driftline.errors import StorageError
from driftline.events import Label, Prediction
from driftline.monitoring.ingest import latency_of
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.planning import AHEAD
from driftline.profiles import NumericColumn, WindowProfile
from driftline.sketches import encode
from driftline.sketches.hashing import fingerprints
from driftline.store import inbox
from driftline.store.log import TABLES, Table, way_out
from driftline.store.predictions import label_marks
from driftline.store.runs import NO_MARK
from driftline.store.state import State, Work
from driftline.store.tables import EPOCH

_ROWS = 50_000
_LOG = logging.getLogger("driftline")


def agree(model: MonitoredModel, state: State, *, accept_loss: bool = False) -> MonitoredModel:
    """Return the model, to be recalled from its log where the state is older. The inbox never falls behind the log.

    Raises `StorageError` where the log has lost rows that the state knows; with ``accept_loss``, what is left of the
    log becomes the truth.
    """
    missing = model.log.missing_files(whole=accept_loss)
    if missing and not accept_loss:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise _lost(model, f"{missing[0]}{more} of the event log is gone or cut off")
    if missing:
        model.log.drop_missing_files()
    marks = model.log.last_seqs()
    with state.work() as work:
        known, behind = _compare(model, work, marks)
        inbox.raise_sequence(work.connection, max(marks.values()))
    lost = [table for table in TABLES if marks[table] < known[table]]
    if lost and not accept_loss:
        table = lost[0]
        raise _lost(
            model,
            f"the event log in {model.log.place.root} is older than the state: of its {table} the state knows batch "
            f"{known[table]}, and the log ends at {marks[table]}",
        )
    if behind or lost or missing:
        _LOG.warning("%s: the event log is not of the state's time; the state is recalled from it", model.name)
        return replace(model, rebuild=True, behind=True)
    return model


def _compare(model: MonitoredModel, work: Work, marks: Mapping[Table, int]) -> tuple[Mapping[Table, int], bool]:
    """Return how far each table had come for the state,
    and whether the log has what the state neither knows nor expects.
    """
    stored = work.models.get(model.name)
    assert stored is not None  # open_model stores it
    known = _marks(stored.log_marks)
    if known is not None:
        ahead = {seq for table, seq in marks.items() if seq > known[table]}
        return known, any(not inbox.has(work.connection, model.name, seq) for seq in ahead)
    # A state of an earlier release did not say. It knows how many batches there were, and whether there is any window.
    known, behind = dict(marks), max(marks.values()) > inbox.sequence(work.connection)
    if behind:
        known = dict.fromkeys(marks, 0)
    elif not any(marks.values()) and work.windows.count(model.name):
        return dict.fromkeys(marks, 1), False
    work.models.put(replace(stored, log_marks=msgspec.msgpack.encode(known)))
    return known, behind


def recall(model: MonitoredModel, work: Work, profiles: list[WindowProfile]) -> None:
    """Make the state know what the log knows: ids, labels, counts, the watermark. ``profiles`` are of all windows.

    What still waits (in the inbox, or for its prediction) waits anew, as far as the log does not have it.
    """
    name, log = model.name, model.log
    marks = log.last_seqs()
    stored, waiting = work.models.get(name), work.waiting_labels.all(name)
    assert stored is not None  # open_model stores it
    written, newest = log.written_at(), log.newest_time()
    arrived = stored.last_arrival or written
    work.predictions.drop(name)
    _recall_ids(model, work, arrived)
    _put_off_again(work, name, marks, waiting, arrived)
    counted, counters = log.counts(), work.counters.of(name)
    for key, number in counted.items():
        work.counters.add(name, *key, max(number - counters.get(key, 0), 0))
    latency = reduce(NumericColumn.merge, map(latency_of, profiles), NumericColumn())
    watermark = stored.watermark
    if written is not None and newest is not None:
        watermark = max(filter(None, (watermark, min(newest, written + AHEAD))))
    work.models.put(
        replace(
            stored,
            latency=encode(latency),
            watermark=watermark,
            last_arrival=arrived,
            log_marks=msgspec.msgpack.encode(marks),
        )
    )


def known_marks(work: Work, model: str) -> Mapping[Table, int] | None:
    """Return how far each table of the log has come for the state; what lies beyond is a batch that still waits."""
    stored = work.models.get(model)
    return None if stored is None else _marks(stored.log_marks)


def _marks(encoded: bytes | None) -> dict[Table, int] | None:
    return None if encoded is None else dict.fromkeys(TABLES, 0) | msgspec.msgpack.decode(encoded)


def _lost(model: MonitoredModel, what: str) -> StorageError:
    return StorageError(f"{model.name}: {what}. {way_out(model.name)}")


def _recall_ids(model: MonitoredModel, work: Work, arrived: datetime | None) -> None:
    """Make the state know the predictions of the log, each with its newest label."""
    for part in model.log.known_rows().iter_slices(_ROWS):
        times = part["time"].to_physical().to_numpy()
        work.predictions.put(
            model.name,
            fingerprints(part["id"]),
            times,
            label_marks(part["label"]),
            came=arrived or EPOCH,
            kept_for=model.config.labels.accepted_for,
        )


def _put_off_again(
    work: Work, model: str, marks: Mapping[Table, int], waiting: list[Label], arrived: datetime | None
) -> None:
    """Give what waits to the inbox anew, in its order, without what the log has of it."""
    rows = inbox.take_out(work.connection, model)
    work.waiting_labels.drop(model, [label.id for label in waiting])
    if left := _without_known_labels(work, model, waiting):
        inbox.put(work.connection, model, "labels", arrived or left[-1].time, left)
    for row in rows:
        events: list[Prediction] | list[Label] = row.labels or row.predictions
        if row.kind == "labels" and row.seq <= max(marks.values()):
            events = _without_known_labels(work, model, row.labels)
        elif row.kind == "predictions":
            events = [
                one for one in row.predictions if row.seq > marks["shadow" if one.role == "shadow" else "predictions"]
            ]
        if events:
            inbox.put(work.connection, model, row.kind, row.arrived_at, events)


def _without_known_labels(work: Work, model: str, labels: list[Label]) -> list[Label]:
    known = work.predictions.find(model, fingerprints(pl.Series([one.id for one in labels], dtype=pl.String)))
    return [one for one, mark in zip(labels, known.marks, strict=True) if mark == NO_MARK]
