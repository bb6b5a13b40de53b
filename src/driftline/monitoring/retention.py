"""Deletes what is older than it is to be kept, of one model, a bounded piece at a time.

The age of an event is by event time, which goes on with the clock while nothing arrives: a history that was just sent
is not old. Whole windows are cut off: first it is stored since when there are events, from then on nothing older is
taken, and then log and state lose what is older.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from driftline.monitoring.model import MonitoredModel
from driftline.rules import Status
from driftline.store.keep import in_days
from driftline.store.models import ModelRow
from driftline.store.retention import Cut
from driftline.store.state import State

MOST_FILES = 1
"""How many files of the log one step writes anew: none is larger than twice `driftline.store.tidy.FULL_BYTES`."""

DRIFTLINE = "driftline"


def oldest_kept(model: MonitoredModel, stored: ModelRow | None, period: timedelta, now: datetime) -> datetime | None:
    """Return the start of the oldest window that is kept for a period; None where nothing came yet."""
    if stored is None or stored.watermark is None:
        return None
    since_then = timedelta() if stored.last_arrival is None else max(now - stored.last_arrival, timedelta())
    try:
        return model.config.window.window_of(stored.watermark + since_then - period).start
    except (OverflowError, ValueError):  # longer than the calendar
        return None


def delete_old_events(model: MonitoredModel, state: State, period: timedelta, now: datetime) -> bool:
    """Take the next step; return whether there is more to do. Nothing is done while somebody holds the model.

    ``now`` is wall-clock time. What waits in the inbox, or for the worker, is not older than it was said to be kept.
    """
    with state.read() as read:
        if model.name in read.retention.holds():
            return False
        cut = read.retention.cut(model.name)
        before = oldest_kept(model, read.models.get(model.name), period, now)
        if before is not None and (cut is None or before > cut.before):
            first = read.retention.first_start(model.name, None if cut is None else cut.before)
            is_due = first is not None and first < before
            if is_due and all(row.start >= before for row in read.windows.with_changed_labels(model.name)):
                cut = Cut(model.name, before, in_days(period), now, finished=False)
                reason = f"keep.events: {cut.period}"
            else:
                before = None
        else:
            before = None
    if cut is None or (cut.finished and before is None):
        return False
    if before is not None:
        with state.work() as work:
            work.retention.put_cut(cut)
            work.audit.add(now, DRIFTLINE, "delete events", model=model.name, subject=before.isoformat(), reason=reason)
    return not _finish(model, state, cut)


def _finish(model: MonitoredModel, state: State, cut: Cut) -> bool:
    """Delete some of what is older than a cut; return whether nothing is left."""
    old = pl.col("time") < cut.before
    if (
        model.log.erase("predictions", old, most_files=MOST_FILES).files
        or model.log.erase("shadow", old, most_files=MOST_FILES).files
        or model.log.erase("labels", pl.col("prediction_time") < cut.before, most_files=MOST_FILES).files
        or not model.log.delete_erased()
    ):
        return False
    with state.work() as work:
        work.retention.drop_waiting_labels(model.name, cut.before)
        work.retention.put_cut(replace(cut, finished=True))
    return True


def delete_old_windows(model: MonitoredModel, state: State, period: timedelta, now: datetime) -> None:
    """Delete windows, and what was said of them; none since the beginning of an alert that still fires."""
    with state.read() as read:
        before = oldest_kept(model, read.models.get(model.name), period, now)
        first = read.retention.first_start(model.name, None)
        if before is None or first is None or first >= before or model.name in read.retention.holds():
            return
        firing = read.alerts.find(model.name, status=Status.FIRING.value)
    before = min([before, *(one.started_at for one in firing)])
    with state.work() as work:
        work.retention.drop_windows(model.name, before)
        work.windows.recount(model.name)
        reason = f"keep.windows: {in_days(period)}"
        work.audit.add(now, DRIFTLINE, "delete windows", model=model.name, subject=before.isoformat(), reason=reason)
