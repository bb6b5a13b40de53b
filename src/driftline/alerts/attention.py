"""What people do about alerts: acknowledge one, and silence some for a while."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from driftline.alerts.stages import MATCHED
from driftline.errors import ConflictError, UnknownNameError, UsageError
from driftline.events import parse_duration
from driftline.rules import Status
from driftline.store.alerts import AlertRow, TransitionRow
from driftline.store.outbox import Outbox, SilenceRow
from driftline.store.state import State
from driftline.text.moments import given_moment

SOMEBODY = "api"
"""Who says what nobody has signed in for, and who gives no name."""

Words = Annotated[str, Meta(min_length=1, max_length=1000)]


class AcknowledgeBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who takes an alert on, and what they say of it."""

    by: Words
    reason: Words


class SilenceBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"duration": "for"}):
    """Which alerts are silenced (field to pattern), by whom and why, and until when or for how long."""

    match: Annotated[dict[str, Words], Meta(min_length=1)]
    by: Words
    reason: Words
    duration: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


def acknowledge(state: State, alert: str, body: AcknowledgeBody, now: datetime) -> AlertRow:
    """Store who has taken a firing alert on: it is not repeated any more. A later one takes its place."""
    with state.read() as read:
        model = _alert(read.alerts.get(alert), alert).model
    with state.of(model).work() as work:
        row = _alert(work.alerts.get(alert), alert)
        if row.status != Status.FIRING.value:
            raise ConflictError(f"alert {alert} is {row.status}; only a firing one can be acknowledged")
        row = replace(row, acknowledged_by=body.by, acknowledged_at=now, acknowledged_reason=body.reason)
        work.alerts.put(row)
        work.alerts.add_transition(TransitionRow(alert, now, "acknowledged", f"by {body.by}: {body.reason}"))
        work.audit.add(now, body.by, "acknowledge", model=row.model, subject=alert, reason=body.reason)
    return row


def _alert(row: AlertRow | None, alert: str) -> AlertRow:
    if row is None:
        raise UnknownNameError("alert", alert, ())
    return row


def add_silence(state: State, body: SilenceBody, now: datetime) -> SilenceRow:
    """Store a silence. It begins now unless it is said to begin later, and ends at or after a given time."""
    for field in body.match:
        if field not in MATCHED:
            raise UnknownNameError("field of an alert", field, MATCHED)
    starts = given_moment("starts_at", body.starts_at) if body.starts_at is not None else now
    if (body.duration is None) == (body.ends_at is None):
        came = "neither" if body.ends_at is None else "both"
        raise UsageError(f'{came} of `for` and `ends_at` came; give exactly one, such as "for": "2h"')
    if body.duration is not None:
        try:
            ends = given_moment("the end", starts + parse_duration(body.duration))
        except OverflowError:
            raise UsageError(f"`for` came as {body.duration!r}; let it end before the year 9999") from None
    else:
        assert body.ends_at is not None
        ends = given_moment("ends_at", body.ends_at)
    if ends <= max(starts, now):
        raise UsageError(f"the silence would be over at {ends.isoformat()}; let it end later")
    row = SilenceRow(secrets.token_hex(8), body.match, starts, ends, body.by, body.reason, now)
    with state.work() as work:
        Outbox(work.connection).put_silence(row)
        work.audit.add(now, body.by, "silence", subject=row.id, reason=body.reason)
    return row


def end_silence(state: State, id: str, now: datetime, *, by: str) -> SilenceRow:
    """End a silence now; one that is over stays as it is."""
    with state.work() as work:
        outbox = Outbox(work.connection)
        known: Mapping[str, SilenceRow] = {row.id: row for row in outbox.silences()}
        if id not in known:
            raise UnknownNameError("silence", id, ())
        row = known[id]
        if row.ends_at > now:
            row = replace(row, ends_at=now)
            outbox.put_silence(row)
            work.audit.add(now, by, "end silence", subject=id)
    return row
