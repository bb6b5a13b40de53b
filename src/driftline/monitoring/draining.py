"""Takes batches from the inbox, and sets aside what keeps failing, so that the rest goes on."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from driftline.events import Prediction
from driftline.monitoring.ingest import work_in
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.poison import Open, find_poison, is_due
from driftline.monitoring.rehearsal import rehearse
from driftline.store.inbox import Inbox, InboxRow
from driftline.store.log import TABLES, Table
from driftline.store.poison import Poison, begin_attempt, events_of, set_poison_aside
from driftline.store.state import State
from driftline.text import visible

MOST_EVENTS = 50_000
"""How many events are processed at a time: bounds memory and the length of a write transaction."""

CAREFUL_EVENTS = 5_000
"""How many are processed at a time once a batch has failed: what is looked into then holds up other models shortly."""

_LOG = logging.getLogger("driftline")


def drain(model: MonitoredModel, inbox: Inbox, state: State, *, rehearsal: Open = rehearse) -> int:
    """Work the oldest batches of a model in; return how many batches that were (0: there is nothing to do).

    A batch that has failed three times, or has ended the process so often, is searched for the events that it fails on;
    these go into quarantine. The count stands in the state before each try.
    """
    rows = inbox.take(model.name, most_events=MOST_EVENTS)
    if not rows:
        return 0
    with state.work() as work:
        failures = begin_attempt(work.connection, model.name, rows[0].seq)
    if failures:
        rows = _beginning(rows, CAREFUL_EVENTS)
    if is_due(failures) and (found := find_poison(model, state, rows, rehearsal)):
        _remove_from_log(model, state, found)
        with state.work() as work:
            set_poison_aside(work.connection, model.name, found)
        why = visible(found[0].reason)
        _LOG.warning("%s: %d events were set aside, the first because %s", model.name, len(found), why)
        return len(rows)
    work_in(model, rows, state)
    return len(rows)


def _beginning(rows: list[InboxRow], most_events: int) -> list[InboxRow]:
    """Return the first rows, at least one, with about so many events."""
    events = list(accumulate(len(events_of(row)) for row in rows))
    return rows[: max(bisect_right(events, most_events), 1)]


def _remove_from_log(model: MonitoredModel, state: State, found: Sequence[Poison]) -> None:
    """Take out what an earlier try has brought into the log: the log has no event that the state does not know."""
    state.require_lease()
    last = model.log.last_seqs()
    for table in TABLES:
        mine = [one for one in found if _table_of(one) == table and one.row.seq <= last[table]]
        if mine:
            model.log.remove(table, [(one.row.seq, one.event.id) for one in mine])


def _table_of(one: Poison) -> Table:
    if not isinstance(one.event, Prediction):
        return "labels"
    return "shadow" if one.event.role == "shadow" else "predictions"
